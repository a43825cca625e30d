"""What every request passes before an application sees it: names, token, sizes and queues.

The token works as that of Jupyter: the printed URL holds it, a cookie keeps it. The Host header of
a request must name this server (DNS rebinding). A request that changes something must come from a
page of this server (cross-site request forgery).
"""

import asyncio
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from samplewise.strict_json import to_text

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 64 * 1024
"""Bytes of a request's body, unless its path is one for uploads."""
BODY_S = 10.0
"""Seconds in which a body must arrive, and in which an upload must go on."""
MAX_ACTIVE, MAX_WAITING = 32, 256
"""Requests that are answered at once, and that wait; others are refused with Retry-After."""
RETRY_S = 2
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(self)"),
)


@dataclass(frozen=True)
class Access:
    """Who may use an application, and how much they may send."""

    token: str | None
    """Token of the printed URL; None: anyone who reaches the server."""
    hosts: tuple[str, ...] = ()
    """Names of this server besides localhost and IP addresses, in lower case."""
    uploads: tuple[tuple[str, int], ...] = ()
    """Paths of uploads, and the bytes that each takes at most."""

    @property
    def cookie(self) -> str:
        """Name of the cookie; cookies do not tell ports apart, so each token has its own."""
        return f"samplewise-{hashlib.sha256((self.token or '').encode()).hexdigest()[:12]}"


class Guard:
    """An ASGI application that passes acceptable requests on and answers the others itself."""

    def __init__(self, app: Application, access: Access):
        self.app, self.access = app, access
        self._slots = asyncio.Semaphore(MAX_ACTIVE)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        send = _with_headers(send)
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await respond(send, *refusal)
            return
        if (location := self._redirect(scope)) is not None:
            await respond(
                send, 303, "", [(b"location", location), (b"set-cookie", self._cookie(scope))]
            )
            return
        try:
            receive = await self._bounded(scope, headers, receive)
        except BodyError as error:
            await respond(send, error.status, str(error), [(b"connection", b"close")])
            return
        if self._waiting >= MAX_WAITING:
            retry = [(b"retry-after", str(RETRY_S).encode())]
            await respond(send, 503, "too many requests wait; try again", retry)
            return
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._slots.release()

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return status and message for a request that may not be passed on."""
        host = headers.get("host", "")
        if not is_known_host(host, self.access.hosts):
            return 400, f"this server is not known as {host[:80]!r}; see --allow-host"
        if scope["method"] not in SAFE_METHODS:
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
                return 403, "the request comes from a page of another server"
            if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return 403, "the request comes from a page of another server"
        if self.access.token is None or self._presented(scope) is not None:
            return None
        if not same(cookie_of(headers, self.access.cookie), self.access.token):
            return 401, "open the link that was printed where the server was started"
        return None

    def _presented(self, scope: Scope) -> str | None:
        """Return the token in the URL of a page, if it is the right one."""
        if scope["method"] not in SAFE_METHODS or self.access.token is None:
            return None
        given = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token", "")
        return given if same(given, self.access.token) else None

    def _redirect(self, scope: Scope) -> bytes | None:
        """Return the URL without its token, which then is in no history and no screenshot."""
        if self._presented(scope) is None:
            return None
        pairs = parse_qsl(scope["query_string"].decode("latin-1"))
        rest = urlencode([(key, value) for key, value in pairs if key != "token"])
        path = re.sub(rb"^/+", b"/", scope.get("raw_path") or b"/")  # // would name another server
        return path + (f"?{rest}".encode() if rest else b"")

    def _cookie(self, scope: Scope) -> bytes:
        return set_cookie(self.access.cookie, self.access.token or "", scope)

    async def _bounded(self, scope: Scope, headers: dict[str, str], receive: Receive) -> Receive:
        """Return a body that is read and within its bound; an upload is bounded as it arrives."""
        uploads = dict(self.access.uploads)
        limit = uploads.get(scope["path"], MAX_BODY)
        claimed = headers.get("content-length", "0")
        if not claimed.isascii() or not claimed.isdigit():
            raise BodyError(400, "Content-Length is no number")
        if int(claimed) > limit:
            raise BodyError(413, f"a request here holds at most {limit} bytes")
        if scope["path"] in uploads:
            return _limited(receive, limit)
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(BODY_S):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise BodyError(400, "the connection ended")
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > limit:
                        raise BodyError(413, f"a request here holds at most {limit} bytes")
        except TimeoutError:
            raise BodyError(408, f"the request took more than {BODY_S:g} seconds") from None
        return _replay(bytes(body), receive)


class BodyError(Exception):
    """A body that is refused."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return ``body`` once, then what the connection says."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return pending.pop() if pending else await receive()

    return next_message


def _limited(receive: Receive, limit: int) -> Receive:
    """Return parts of a body until they exceed ``limit`` or take too long."""
    total = 0

    async def next_message() -> Message:
        nonlocal total
        try:
            async with asyncio.timeout(BODY_S):
                message = await receive()
        except TimeoutError:
            raise BodyError(408, f"the upload stood still for {BODY_S:g} seconds") from None
        total += len(message.get("body", b""))
        if total > limit:
            raise BodyError(413, f"an upload here holds at most {limit} bytes")
        return message

    return next_message


def _with_headers(send: Send) -> Send:
    """Add the security headers to a response."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {key.lower() for key, _ in message.get("headers", [])}
            extra = [pair for pair in HEADERS if pair[0] not in present]
            if b"cache-control" not in present:
                extra.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return with_headers


async def respond(
    send: Send, status: int, text: str, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send a whole response: an error as JSON, or an empty body."""
    body = to_text({"error": text}).encode() if text else b""
    start = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*start, *headers]})
    await send({"type": "http.response.body", "body": body})


def is_known_host(host: str, names: Iterable[str]) -> bool:
    """Return whether a Host header names this server: localhost, an IP address, or a given name.

    Addresses are accepted because no name service can point them elsewhere.
    """
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", host)
    if match is None:
        return False
    name = match[1].lower().strip("[]")
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def same(given: str, wanted: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def cookie_of(headers: dict[str, str], name: str) -> str:
    """Return a cookie of a request; empty if there is none."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def set_cookie(name: str, value: str, scope: Scope) -> bytes:
    """Return the header of a cookie that scripts and other sites do not see; kept for a month."""
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000{secure}".encode()

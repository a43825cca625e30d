"""Starting a server: where it listens, its token, and the link that is printed."""

import ipaddress
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from samplewise.errors import SamplewiseError
from samplewise.web.guard import Guard

LEAST_TOKEN = 16
"""Characters of a token that somebody chose."""
MAX_CONNECTIONS = 512


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str = "127.0.0.1"
    """Interface: 127.0.0.1 is this machine alone, 0.0.0.0 every network."""
    port: int = 8765
    """Port; 0: a free one."""
    token: str | None = None
    """Token; None: a new random one of 192 bits."""
    allow_host: tuple[str, ...] = ()
    """Names by which browsers reach the server."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def choose_token(address: Address) -> str:
    """Return the token of a server.

    Raises:
        ValueError: If other machines could reach the server and no token was given, or it is short.
    """
    if address.token is None:
        if not is_loopback(address.host):
            raise ValueError(
                f"host = {address.host}: other machines can reach it; choose a token with --token"
            )
        return secrets.token_urlsafe(24)
    if not re.fullmatch(rf"[A-Za-z0-9_.~-]{{{LEAST_TOKEN},200}}", address.token):
        raise ValueError(
            f"token must have {LEAST_TOKEN} to 200 letters, digits or -_.~; "
            "python -c 'import secrets; print(secrets.token_urlsafe(24))' prints one"
        )
    return address.token


def run_server(guard: Guard, address: Address, announce: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Args:
        guard: The application.
        address: Where to listen.
        announce: Called with the link as soon as connections are accepted.

    Raises:
        SamplewiseError: If the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address.host, address.port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SamplewiseError(
                f"cannot listen on {address.host}, port {address.port}: {reason}; choose another "
                "--port"
            ) from None
        listener.listen(MAX_CONNECTIONS)
        announce(link(address, listener.getsockname()[1], guard.access.token))
        config = uvicorn.Config(
            guard,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=3,
            ws="none",
        )
        server = uvicorn.Server(config)
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:  # uvicorn raises it again after a clean end
            return


def link(address: Address, port: int, token: str | None) -> str:
    """Return the URL to open; the first allowed name is taken for its host."""
    host = next(iter(address.allow_host), address.host)
    if host in ("0.0.0.0", "::"):  # noqa: S104
        host = "localhost"
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/" + ("" if token is None else f"?token={token}")

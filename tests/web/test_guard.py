"""What the guard refuses, whatever the application behind it does."""

import asyncio

import pytest
from starlette.testclient import TestClient
from tests.web.studies import TOKEN, run_apart

from samplewise.web import guard as guarding
from samplewise.web.guard import Access, Guard, is_known_host
from samplewise.web.serve import Address, choose_token, link


async def echo(scope, receive, send):
    """Answer with the number of bytes of the body."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body", False)
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": str(len(body)).encode()})


@pytest.fixture
def client():
    client = TestClient(Guard(echo, Access(TOKEN)), base_url="http://localhost")
    assert client.get(f"/?token={TOKEN}").status_code == 200
    return client


def test_the_link_gives_a_cookie_that_scripts_do_not_see_and_vanishes_from_the_address():
    client = TestClient(Guard(echo, Access(TOKEN)), base_url="http://localhost")
    assert client.get("/").status_code == 401
    assert client.get("/?token=another-token-of-no-one").status_code == 401
    answer = client.get(f"http://localhost//e.org/?token={TOKEN}&p=7", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/e.org/?p=7")
    assert "HttpOnly; SameSite=Lax" in answer.headers["set-cookie"]
    assert client.get("/").text == "0"
    assert client.post("/").status_code == 200
    other = TestClient(Guard(echo, Access("b" * 16)), base_url="http://localhost")
    other.cookies = client.cookies
    assert other.get("/").status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "localhost.e.org", "", "a b", "[::1", "1.2"])
def test_a_name_that_is_not_ours_is_refused(client, host):
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 400
    assert "not known as" in answer.json()["error"]


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("localhost", ()),
        ("127.0.0.1:8765", ()),
        ("[::1]:80", ()),
        ("ears.example", ("ears.example",)),
    ],
)
def test_our_own_names_are_known(host, names):
    assert is_known_host(host, names)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_change_from_another_page_is_refused(client, headers):
    assert client.post("/", headers=headers).status_code == 403
    assert client.get("/", headers=headers).status_code == 200
    assert client.post("/", headers={"origin": "http://localhost"}).status_code == 200


def test_every_response_has_the_headers_of_security(client):
    for answer in (client.get("/"), client.get("/", headers={"host": "evil.example"})):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"


def test_a_body_is_bounded_however_it_comes(client, monkeypatch):
    monkeypatch.setattr(guarding, "MAX_BODY", 1000)
    assert client.post("/", content=b"x" * 1000).text == "1000"
    assert client.post("/", content=b"x" * 1001).status_code == 413
    assert client.post("/", content=(b"x" * 100 for _ in range(11))).status_code == 413
    for length in ("-1", "1e3", "ten"):
        assert client.post("/", headers={"content-length": length}).status_code == 400


def call(guard, receive, status):
    """Send a request in ASGI; put its status into ``status``."""

    async def send(message):
        if message["type"] == "http.response.start":
            status.append((message["status"], dict(message["headers"]).get(b"retry-after")))

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    return guard(scope, receive, send)


def test_a_slow_body_is_given_up(monkeypatch):
    monkeypatch.setattr(guarding, "BODY_S", 0.05)

    async def never():
        await asyncio.sleep(10)

    status = []
    run_apart(call(Guard(echo, Access(None)), never, status))
    assert status == [(408, None)]


def test_the_queue_is_bounded_and_what_is_refused_may_come_again(monkeypatch):
    monkeypatch.setattr(guarding, "MAX_ACTIVE", 2)
    monkeypatch.setattr(guarding, "MAX_WAITING", 3)

    async def main():
        gate = asyncio.Event()

        async def slow(scope, receive, send):
            await gate.wait()
            await echo(scope, receive, send)

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        guard, status = Guard(slow, Access(None)), []
        requests = [asyncio.create_task(call(guard, receive, status)) for _ in range(100)]
        await asyncio.sleep(0.05)
        assert status == [(503, b"2")] * 95
        gate.set()
        await asyncio.gather(*requests)
        return status

    assert run_apart(main())[95:] == [(200, None)] * 5


def test_other_machines_need_a_token_that_somebody_chose():
    everywhere = "0.0.0.0"  # noqa: S104
    assert len(choose_token(Address())) >= 22  # 128 bits
    assert choose_token(Address()) != choose_token(Address())
    with pytest.raises(ValueError, match=r"host = 0.0.0.0: other machines .* --token"):
        choose_token(Address(everywhere))
    with pytest.raises(ValueError, match="token must have 16 to 200"):
        choose_token(Address(token="short"))  # noqa: S106
    assert choose_token(Address(everywhere, token="t" * 16)) == "t" * 16
    assert link(Address(everywhere), 80, "t") == "http://localhost:80/?token=t"
    assert link(Address("::1", allow_host=("a.example",)), 80, None) == "http://a.example:80/"

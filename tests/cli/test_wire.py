"""The wire of uploads, to a server that says what a test has it say."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from dragonbelly.cli.wire import Stopped, UploadWire, _Reply
from dragonbelly.client.blocking import run
from dragonbelly.client.wire import NoAnswer, Request
from tests.servers.ports import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Odd: \xe9\r\n\r\nok"


class Server:
    """One answer for each connection's requests, in turn; what came is kept, by connection."""

    def __init__(self, *connections: list[bytes]) -> None:
        self.came: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._connections = connections
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _serve(self) -> None:
        for answers in self._connections:
            connection, _ = self._listening.accept()
            with connection:
                connection.settimeout(10)
                self.came.append(b"")
                for answer in answers:
                    data = connection.recv(65536)
                    while data and b"!" not in data:  # the end of each request of these tests
                        data += connection.recv(65536)
                    self.came[-1] += data
                    connection.sendall(answer)

    def close(self) -> None:
        self._thread.join(20)
        self._listening.close()
        assert not self._thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def make(*connections: list[bytes]) -> Server:
        servers.append(Server(*connections))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadWire]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    wire = UploadWire(threading.Event())
    yield wire
    run(wire.close())


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def test_one_connection_after_the_other_request(serve: Callable[..., Server], wire: UploadWire) -> None:
    server = serve([OK, OK, OK])
    for n in range(3):
        answer = run(wire.ask(Request("POST", f"{server.url}/a?b={n}", {"X-Mine": "1"}, b"body!")))
        assert (answer.status, answer.body, answer.headers["x-odd"]) == (200, b"ok", "é")
    first = server.came[0].partition(b"!")[0]
    host = server.url.removeprefix("http://").encode()
    assert first == (
        b"POST /a?b=0 HTTP/1.1\r\nHost: " + host + b"\r\nX-Mine: 1\r\nContent-Length: 5\r\n\r\nbody"
    )


def test_one_that_was_closed_meanwhile(serve: Callable[..., Server], wire: UploadWire) -> None:
    server = serve([OK], [OK])
    for _ in range(2):
        assert run(wire.ask(Request("POST", server.url + "/", {}, b"!"))).status == 200
    assert len(server.came) == 2


def test_one_that_is_not_to_be_kept(serve: Callable[..., Server], wire: UploadWire) -> None:
    closing = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    server = serve([closing], [OK])
    assert run(wire.ask(Request("POST", server.url + "/", {}, b"!"))).status == 204
    assert run(wire.ask(Request("POST", server.url + "/", {}, b"!"))).status == 200


def test_a_stream(serve: Callable[..., Server], wire: UploadWire) -> None:
    server = serve([OK, OK])
    assert run(wire.send(Request("PUT", server.url + "/a"), pieces(b"ab", b"", b"cd!"), None)).status == 200
    assert run(wire.send(Request("PUT", server.url + "/a"), pieces(b"ab", b"cd!"), 5)).status == 200
    chunked, plain = server.came[0].split(b"PUT ")[1:]
    assert b"Transfer-Encoding: chunked" in chunked and b"Content-Length" not in chunked
    assert chunked.endswith(b"\r\n\r\n2\r\nab\r\n3\r\ncd!\r\n0\r\n\r\n")
    assert b"Content-Length: 5\r\n" in plain and plain.endswith(b"\r\n\r\nabcd!")


def test_what_comes_before_the_answer() -> None:
    reply = _Reply()
    reply.take(b"HTTP/1.1 103 Early Hints\r\nX-Early: yes\r\n\r\n")
    assert not reply.whole
    reply.take(OK)
    assert (reply.whole, reply.status, reply.body.whole) == (True, 200, b"ok")
    assert "x-early" not in reply.headers


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (OK, True),
        (OK.replace(b"X-Odd: \xe9", b"Connection: close"), False),
        (OK.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
    ],
)
def test_what_may_be_kept(answer: bytes, kept: bool) -> None:
    reply = _Reply()
    reply.take(answer)
    assert (reply.whole, reply.may_be_kept) == (True, kept)


def test_one_that_ends_with_the_connection(serve: Callable[..., Server], wire: UploadWire) -> None:
    server = serve([b"HTTP/1.0 507 Full\r\n\r\nno room"])
    answer = run(wire.ask(Request("POST", server.url + "/", {}, b"!")))
    assert (answer.status, answer.body) == (507, b"no room")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
    ],
)
def test_what_is_no_answer(serve: Callable[..., Server], wire: UploadWire, answer: bytes) -> None:
    server = serve([answer])
    with pytest.raises(NoAnswer) as caught:
        run(wire.ask(Request("POST", server.url + "/", {}, b"!")))
    assert caught.value.sent


def test_a_refusal_while_the_body_goes(serve: Callable[..., Server], wire: UploadWire) -> None:
    """It says why, closes, and reads no more."""
    server = serve([b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"])
    body = [b"!" + bytes(100_000)] * 200
    try:
        answer = run(wire.send(Request("PUT", server.url + "/"), pieces(*body), 200 * 100_001))
    except NoAnswer as error:  # the reset overtook it
        assert error.sent
    else:
        assert answer.status == 413


def test_nobody_there(wire: UploadWire) -> None:
    with pytest.raises(NoAnswer, match="refused") as caught:
        run(wire.ask(Request("GET", f"http://127.0.0.1:{free_port()}/")))
    assert not caught.value.sent


def test_one_that_does_not_answer_in_time(wire: UploadWire) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}/"
        with pytest.raises(NoAnswer, match=r"nothing came for 0\.1 s"):
            run(wire.ask(Request("GET", url, timeout=0.1)))
        with pytest.raises(NoAnswer, match=r"nothing was taken for 0\.1 s"):
            run(wire.send(Request("PUT", url, timeout=0.1), pieces(*[bytes(2**20)] * 64), 2**26))


def test_a_source_that_fails_leaves_no_connection(serve: Callable[..., Server], wire: UploadWire) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"!"
        raise ValueError("broken")

    server = serve([b""], [OK])
    with pytest.raises(ValueError, match="broken"):
        run(wire.send(Request("PUT", server.url + "/"), broken(), 100))
    assert run(wire.ask(Request("POST", server.url + "/", {}, b"!"))).status == 200


def test_what_httpx_does(wire: UploadWire, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wire._is_plain(Request("GET", "http://x/"))
    for url in ("https://x/", "http://me:pw@x/", "http://x/a b", "http://x/ä", "http://x", "http://x/\r\nA: b"):
        assert not wire._is_plain(Request("GET", url)), url
    for headers in ({"A": "b\r\nC: d"}, {"A": "ä"}, {"A b": "c"}):
        assert not wire._is_plain(Request("GET", "http://x/", headers)), headers
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert not UploadWire(threading.Event())._is_plain(Request("GET", "http://x/"))


def test_every_wait_ends_when_it_is_stopped() -> None:
    stopped = threading.Event()
    wire = UploadWire(stopped)
    stopped.set()
    with pytest.raises(Stopped):
        run(wire.sleep(60))

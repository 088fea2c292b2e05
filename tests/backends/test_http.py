"""One HTTP server that misbehaves in every way: each call ends in a bounded time, with the right error."""

import gzip
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from dragonbelly.backends.answers import SMALL
from dragonbelly.backends.connections import KEEP, MAX_HEADER
from dragonbelly.backends.http import HttpServer, base_of
from dragonbelly.backends.watch import Watch
from dragonbelly.bodies import BytesBody
from dragonbelly.errors import BackendFull, BackendRefused, BackendUnavailable, NoSuchObject
from dragonbelly.testing import reactor
from dragonbelly.testing.backend import Reader
from tests.servers.nginx import SAMPLE
from tests.servers.raw import Conversation, RawServer

TIMEOUT = 0.4
OK = b"HTTP/1.1 200 OK\r\n"
LARGE = b"x" * (8 * 1024 * 1024)

Behaviour = Callable[[Conversation], object]


def say(*pieces: bytes) -> Behaviour:
    """Answer every request with the same bytes."""

    def behave(conversation: Conversation) -> None:
        while True:
            for piece in pieces:
                conversation.say(piece)
            if not conversation.next_request():
                return

    return behave


def once(*pieces: bytes) -> Behaviour:
    """Answer and close."""
    return lambda conversation: [conversation.say(piece) for piece in pieces]


@contextmanager
def talking_to(behave: Behaviour) -> Iterator[tuple[RawServer, HttpServer]]:
    with RawServer(behave) as raw:
        server = HttpServer(reactor.start(), raw.url, timeout=TIMEOUT, idle_timeout=TIMEOUT)
        try:
            yield raw, server
        finally:
            reactor.run(server.close)
            assert reactor.run(watches) == []


async def watches() -> list[object]:
    """Timers of ours that are still set."""
    calls = reactor.start().getDelayedCalls()
    return [call for call in calls if isinstance(getattr(call.func, "__self__", None), Watch)]


def ask(server: HttpServer, method: str = "GET", **how: Any) -> Any:
    """The error, or the status."""

    async def work() -> Any:
        answer = await server.request(method, server.url("a/b") + "?md5=hush", **how)
        answer.dismiss()
        return answer.status

    return outcome(work)


def fetch(server: HttpServer) -> Any:
    """The error, or the bytes."""

    async def work() -> bytes:
        reader = Reader()
        answer = await server.request("GET", server.url("a/b"))
        answer.body().deliver(reader)
        return await reader.done

    return outcome(work)


def announced(server: HttpServer) -> Any:
    """The error, or the length that a HEAD tells."""

    async def work() -> int | None:
        return (await server.request("HEAD", server.url("a"))).length

    return outcome(work)


def listing(server: HttpServer, limit: int = 1000) -> Any:
    async def work() -> bytes:
        return await (await server.request("GET", server.url("a/b"))).content(limit)

    return outcome(work)


def outcome(work: Callable[[], Any]) -> Any:
    began = time.monotonic()
    try:
        return reactor.run(work)
    except Exception as error:
        return error
    finally:
        # Far below what any of the servers would wait: somebody else's load must not fail a test.
        assert time.monotonic() - began < 15


# --- headers


@pytest.mark.parametrize(
    "behave",
    [
        once(),
        once(b"H"),
        once(b"HELLO WORLD\r\n\r\n"),
        once(b"\x16\x03\x01\x00\xa5" * 10),
        once(b"HTTP/1.1 abc OK\r\n\r\n"),
        once(b"HTTP/1.1\r\n\r\n"),
        once(OK + b"no colon here\r\n\r\n"),
        Conversation.wait,
        lambda c: (c.say(OK + b"Content-Le"), c.wait()),
        lambda c: c.drip(OK + b"X-Long: " + b"x" * 200, 0.05),
        lambda c: (c.say(OK), c.flood(b"X-Flood: " + b"x" * 1000 + b"\r\n")),
        lambda c: (c.say(OK + b"X-Flood: "), c.flood(b"x" * 1000)),
        lambda c: (c.say(OK + b"X-Flood: 1\r\n"), c.flood(b" folded\r\n")),
        lambda c: c.flood(b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=lambda _: "",
)
def test_no_proper_answer(behave: Behaviour) -> None:
    with talking_to(behave) as (_, server):
        for method in ("GET", "HEAD", "DELETE"):
            assert isinstance(ask(server, method), BackendUnavailable)
        assert isinstance(ask(server, "PUT", body=BytesBody(b"12345")), BackendUnavailable)


def test_a_flood_of_headers_is_cut_off() -> None:
    said = 0

    def behave(conversation: Conversation) -> None:
        nonlocal said
        conversation.say(OK)
        while True:
            conversation.say(b"X-Flood: " + b"x" * 1000 + b"\r\n")
            said += 1011

    with RawServer(behave) as raw:
        # It is the size that ends it, long before the time.
        server = HttpServer(reactor.start(), raw.url, timeout=60, idle_timeout=60)
        assert isinstance(ask(server), BackendUnavailable)
        reactor.run(server.close)
    assert said > MAX_HEADER


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (204, BackendUnavailable),
        (206, BackendUnavailable),
        (301, BackendRefused),
        (302, BackendRefused),
        (304, BackendRefused),
        (307, BackendRefused),
        (400, BackendRefused),
        (401, BackendRefused),
        (403, BackendRefused),
        (404, NoSuchObject),
        (408, BackendUnavailable),
        (409, BackendRefused),
        (410, BackendRefused),
        (413, BackendRefused),
        (429, BackendUnavailable),
        (500, BackendUnavailable),
        (502, BackendUnavailable),
        (503, BackendUnavailable),
        (507, BackendFull),
        (599, BackendUnavailable),
        (600, BackendUnavailable),
        (999, BackendUnavailable),
    ],
)
def test_statuses(status: int, error: type[Exception]) -> None:
    answer = b"HTTP/1.1 %d Whatever\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n" % status
    with talking_to(say(answer)) as (raw, server):
        for method in ("GET", "HEAD", "DELETE"):
            found = ask(server, method)
            assert type(found) is error
            assert str(status) in str(found)
            assert f"{method} {raw.url}/a/b" in str(found)
            assert "hush" not in str(found)
        assert type(ask(server, "PUT", body=BytesBody(b""))) is error
        # Redirects were not followed, and the connection was used again.
        assert len(raw.heads) == 4
        assert raw.connections == 1


def test_what_is_asked_for() -> None:
    answer = OK + b"Set-Cookie: a=b; Path=/\r\nContent-Length: 2\r\n\r\nok"
    with talking_to(say(answer)) as (raw, server):
        assert fetch(server) == b"ok"
        assert ask(server, headers=[("X-More", "é")]) == 200
        lines = [line.lower() for line in raw.heads[-1].split(b"\r\n")]
        assert lines[0] == b"get /a/b?md5=hush http/1.1"
        assert b"host: 127.0.0.1:%d" % raw.port in lines
        assert b"accept-encoding: identity" in lines
        assert "x-more: é".encode() in lines
        assert not any(line.startswith((b"cookie", b"connection")) for line in lines)
        assert sum(line.startswith(b"accept-encoding") for line in lines) == 1
        assert raw.connections == 1


# --- bodies


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: many\r\n",
        b"Transfer-Encoding: rot13\r\n",
    ],
)
def test_no_length(fields: bytes) -> None:
    with talking_to(once(OK + fields + b"\r\nhello")) as (_, server):
        assert isinstance(fetch(server), BackendUnavailable)
        assert not isinstance(announced(server), int)


@pytest.mark.parametrize(
    ("behave", "text"),
    [
        (once(OK + b"Content-Length: 100\r\n\r\nshort"), ""),
        (once(OK + b"\r\nwithout a length"), "Content-Length"),
        (once(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "Content-Length"),
        (lambda c: (c.say(OK + b"\r\n"), c.flood(LARGE)), "Content-Length"),
        (lambda c: (c.say(OK + b"Content-Length: 100\r\n\r\nabc"), c.wait()), "stalled"),
        (lambda c: (c.say(OK + b"Content-Length: 999\r\n\r\n"), c.drip(b"x" * 999, 0.05)), "stalled"),
        (
            once(OK + b"Content-Encoding: gzip\r\nContent-Length: 25\r\n\r\n" + gzip.compress(b"hello")),
            "encoded",
        ),
        (once(OK + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\nxx"), "encoded"),
    ],
    ids=["short", "no length", "chunked", "endless", "stall", "drip", "gzip", "br"],
)
def test_bodies_that_are_none(behave: Behaviour, text: str) -> None:
    with talking_to(behave) as (_, server):
        error = fetch(server)
        assert isinstance(error, BackendUnavailable)
        assert text in str(error)


def test_more_than_was_announced() -> None:
    def behave(conversation: Conversation) -> None:
        conversation.say(OK + b"Content-Length: 5\r\n\r\nhello")
        conversation.flood(b"and more")

    with talking_to(behave) as (_, server):
        for _ in range(3):
            # What follows may hit the next request on that connection; it must not be taken for an answer.
            found = fetch(server)
            assert found == b"hello" or isinstance(found, BackendUnavailable)


def test_head_without_a_length() -> None:
    for header, expected in ((b"", None), (b"Content-Length: 7\r\n", 7)):
        with talking_to(say(OK + header + b"\r\n")) as (_, server):
            assert announced(server) == expected


def test_a_body_that_nobody_takes_is_dropped() -> None:
    async def work(server: HttpServer) -> Exception:
        body = (await server.request("GET", server.url("a"))).body()
        held: Deferred[None] = Deferred()
        reactor.start().callLater(3 * TIMEOUT, held.callback, None)
        await held
        reader = Reader()
        body.deliver(reader)
        try:
            await reader.done
        except BackendUnavailable as error:
            return error
        raise AssertionError

    def behave(conversation: Conversation) -> None:
        conversation.say(OK + b"Content-Length: %d\r\n\r\n" % len(LARGE))
        conversation.say(LARGE)

    with talking_to(behave) as (_, server):
        assert "given up" in str(reactor.run(lambda: work(server)))


def test_small_bodies_that_nobody_wants_do_not_cost_the_connection() -> None:
    for size, connections in ((SMALL, 1), (SMALL + 1, 3)):
        answer = b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
        with talking_to(say(answer)) as (raw, server):
            for _ in range(3):
                assert isinstance(ask(server), BackendRefused)
                reactor.run(lambda: pause(0.1))
            assert raw.connections == connections


@pytest.mark.parametrize("header", [b"", b"Content-Length: 99999999\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_an_error_with_an_endless_body(header: bytes) -> None:
    def behave(conversation: Conversation) -> None:
        conversation.say(b"HTTP/1.1 404 No\r\n" + header + b"\r\n")
        conversation.flood(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")

    with talking_to(behave) as (_, server):
        for _ in range(3):
            assert isinstance(ask(server), NoSuchObject)


async def pause(seconds: float) -> None:
    waited: Deferred[None] = Deferred()
    reactor.start().callLater(seconds, waited.callback, None)
    await waited


def test_a_reader_that_pauses_at_what_came_with_the_header() -> None:
    async def work(server: HttpServer) -> None:
        answer = await server.request("GET", server.url("a"))
        await pause(0.1)
        reader = Reader(pause=True)
        answer.body().deliver(reader)
        first = reader.size
        assert 0 < first < len(LARGE)
        await pause(0.1)
        assert reader.size == first
        reader.pause = False
        reader.resume()
        assert len(await reader.done) == len(LARGE)

    with talking_to(once(OK + b"Content-Length: %d\r\n\r\n" % len(LARGE) + LARGE)) as (_, server):
        reactor.run(lambda: work(server))


def test_giving_up_a_body_that_has_come_does_not_cost_the_next_request_its_connection() -> None:
    def behave(conversation: Conversation) -> None:
        conversation.say(OK + b"Content-Length: 5\r\n\r\nfirst")
        conversation.next_request()
        time.sleep(0.2)
        conversation.say(OK + b"Content-Length: 6\r\n\r\nsecond")

    async def work(server: HttpServer) -> bytes:
        first = await server.request("GET", server.url("a"))
        await pause(0.1)
        second = Deferred.fromCoroutine(server.request("GET", server.url("b")))
        await pause(0.1)
        reader = Reader(stop=True)
        first.body().deliver(reader)
        with pytest.raises(BackendUnavailable):
            await reader.done
        return await (await second).content()

    with talking_to(behave) as (raw, server):
        assert reactor.run(lambda: work(server)) == b"second"
        assert raw.connections == 1


# --- listings


def test_listings() -> None:
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with talking_to(say(chunked)) as (raw, server):
        assert listing(server) == b"abcde"
        assert listing(server, 5) == b"abcde"
        assert raw.connections == 1
        error = listing(server, 4)
        assert isinstance(error, BackendUnavailable)
        assert "more than 4 bytes" in str(error)


@pytest.mark.parametrize(
    "behave",
    [
        once(OK + b"\r\nuntil the end of the connection"),
        once(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        once(OK + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"),
        once(OK + b"Content-Length: 10\r\n\r\nabc"),
        lambda c: (c.say(OK + b"Transfer-Encoding: chunked\r\n\r\n"), c.flood(b"8\r\n12345678\r\n")),
        lambda c: (c.say(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), c.wait()),
    ],
    ids=["no length", "cut", "no chunk", "short", "endless", "stall"],
)
def test_listings_that_are_none(behave: Behaviour) -> None:
    with talking_to(behave) as (_, server):
        assert isinstance(listing(server), BackendUnavailable)


# --- uploads


def test_a_server_that_does_not_read() -> None:
    with talking_to(Conversation.wait) as (_, server):
        for _ in range(2):
            error = ask(server, "PUT", body=Endless(1 << 40))
            assert isinstance(error, BackendUnavailable)
            assert "does not read on" in str(error)


def test_a_server_that_closes_midway() -> None:
    with talking_to(once()) as (_, server):
        assert isinstance(ask(server, "PUT", body=Endless(1 << 40)), BackendUnavailable)


def read_away(conversation: Conversation, size: int) -> None:
    size -= len(conversation.left)
    while size > 0:
        size -= len(conversation.connection.recv(min(size, 1 << 20)))


def test_a_server_that_does_not_answer_an_upload() -> None:
    def behave(conversation: Conversation) -> None:
        read_away(conversation, 100_000)
        conversation.wait()

    with talking_to(behave) as (_, server):
        error = ask(server, "PUT", body=BytesBody(b"x" * 100_000))
        assert isinstance(error, BackendUnavailable)
        assert "no answer in time" in str(error)


def test_a_slow_upload_is_none_that_stalls() -> None:
    # It takes several times the timeouts, but it moves.
    def behave(conversation: Conversation) -> None:
        for _ in range(16):
            read_away(conversation, len(LARGE) // 16)
            conversation.left = b""
            time.sleep(TIMEOUT / 4)
        conversation.say(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    with talking_to(behave) as (_, server):
        assert ask(server, "PUT", body=Endless(len(LARGE)), expect=(201,)) == 201


@pytest.mark.parametrize(
    ("status", "error"), [(507, BackendFull), (403, BackendRefused), (201, BackendUnavailable)]
)
def test_an_answer_before_the_body(status: int, error: type[Exception]) -> None:
    def behave(conversation: Conversation) -> None:
        conversation.say(b"HTTP/1.1 %d Early\r\nContent-Length: 3\r\n\r\nno\n" % status)
        conversation.wait()

    with talking_to(behave) as (_, server):
        for _ in range(2):
            body = Endless(1 << 40)
            assert type(ask(server, "PUT", body=body, expect=(201,))) is error
            reactor.run(lambda: pause(0.1))  # the connection's end stops it, too
            assert body.stops == 1


def test_a_body_that_fails_passes_its_failure_on() -> None:
    class Broke(Exception):
        pass

    with talking_to(Conversation.wait) as (_, server):
        assert isinstance(ask(server, "PUT", body=Endless(1000, fails=Broke())), Broke)


def test_a_cancelled_upload() -> None:
    async def work(server: HttpServer, body: "Endless") -> None:
        sending = Deferred.fromCoroutine(server.request("PUT", server.url("a"), body=body))
        reactor.start().callLater(0.1, sending.cancel)
        await sending

    with talking_to(Conversation.wait) as (_, server):
        body = Endless(1 << 40)
        assert isinstance(outcome(lambda: work(server, body)), CancelledError)
        reactor.run(lambda: pause(0.1))
        assert body.stops == 1


@implementer(IBodyProducer)
class Endless:
    """Produces as long as it may; or fails."""

    def __init__(self, length: int, fails: Exception | None = None) -> None:
        self.length = length
        self.stops = 0
        self._left = length
        self._fails = fails
        self._paused = False
        self._done: Deferred[None] = Deferred()

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._consumer = consumer
        reactor.start().callLater(0, self._produce)
        return self._done

    def _produce(self) -> None:
        if self._fails is not None:
            self._done.errback(self._fails)
            return
        while self._left and not (self._paused or self.stops):
            piece = LARGE[: min(self._left, 65536)]
            self._left -= len(piece)
            self._consumer.write(piece)
        if not self._left:
            self._left = -1
            self._done.callback(None)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._left > 0:
            self._produce()

    def stopProducing(self) -> None:
        self.stops += 1


# --- connections


def test_a_connection_that_the_server_has_just_closed() -> None:
    def behave(conversation: Conversation) -> None:
        conversation.say(OK + b"Content-Length: 2\r\n\r\nok")
        conversation.next_request()  # ... and close, as if it had come too late

    with talking_to(behave) as (raw, server):
        for _ in range(4):
            assert fetch(server) == b"ok"
        assert raw.connections == 4


def test_a_new_connection_that_says_nothing_is_no_reason_to_try_again() -> None:
    with talking_to(once()) as (raw, server):
        assert isinstance(ask(server), BackendUnavailable)
        assert raw.connections == 1


def test_a_request_that_cannot_be_sent_leaves_no_timer() -> None:
    with talking_to(once()) as (raw, server):
        for method, url in (
            ("G T", server.url("a")),
            ("GET", f"{raw.url}/a b"),
            ("GET", f"{raw.url}/a\r\nX: y"),
        ):
            with pytest.raises(ValueError):
                reactor.run(lambda m=method, u=url: server.request(m, u))
        assert raw.heads == []


def test_nothing_listens() -> None:
    with talking_to(once()) as (raw, _):
        url = raw.url
    for base in (url, "http://does-not-exist.invalid", "http://[::1]:1"):
        server = HttpServer(reactor.start(), base, timeout=2)
        assert isinstance(ask(server), BackendUnavailable)
        reactor.run(server.close)


def test_tls_to_a_server_that_speaks_none() -> None:
    with talking_to(once(OK + b"\r\n")) as (raw, _):
        server = HttpServer(reactor.start(), raw.url.replace("http:", "https:"), timeout=TIMEOUT)
        assert isinstance(ask(server), BackendUnavailable)
        reactor.run(server.close)


def test_idle_connections_are_closed_before_the_server_does() -> None:
    [line] = [line for line in SAMPLE.read_text().splitlines() if "keepalive_timeout" in line]
    assert int(line.split()[1].removesuffix("s;")) > KEEP


# --- URLs


@pytest.mark.parametrize(
    "url",
    [
        "",
        "store1",
        "//store1",
        "ftp://store1",
        "http://",
        "http:///a",
        "http://u:p@store1",
        "http://store1?a=b",
        "http://store1/#",
        "http://store1/a b",
        "http://störe",
        "http://store1:port",
        "http://store1:99999",
        "http://store1\r\nX: y",
    ],
)
def test_no_base_url(url: str) -> None:
    with pytest.raises(ValueError):
        base_of(url)


def test_base_urls() -> None:
    assert base_of("http://store1/") == ("http://store1", "http://store1", "store1", "store1", 80, False)
    assert base_of("https://[::1]:8443/a/b//").url == "https://[::1]:8443/a/b"
    assert base_of("https://[::1]:8443").host == "::1"
    server = HttpServer(reactor.start(), "http://store1:8000/a/")
    assert server.url("b c/%?#é") == "http://store1:8000/a/b%20c/%25%3F%23%C3%A9"


def test_nothing_is_asked_elsewhere() -> None:
    async def elsewhere() -> object:
        return await server.request("GET", "http://127.0.0.1:1/a")

    with talking_to(once(OK + b"Content-Length: 0\r\n\r\n")) as (_, server):
        refused = outcome(elsewhere)
        assert isinstance(refused, ValueError)
        assert "is not at http://" in str(refused)

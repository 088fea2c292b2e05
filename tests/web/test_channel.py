"""What becomes of a request's body, told before it comes; and how long a client may take for anything."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.interfaces import IProtocolNegotiationFactory, ISSLTransport
from twisted.internet.task import Clock
from zope.interface import alsoProvides
from zope.interface.verify import verifyObject

from dragonbelly.config.limits import LimitsSection
from dragonbelly.units import Amount, Interval
from dragonbelly.web.channel import LINGER, LINGER_IDLE, SMALL_BODY
from tests.web.echo import LIMIT, Echo, make_echo
from tests.web.wire import Connection, Wire, answers, request

IDLE = 60.0
LIMITS = LimitsSection()


class Talk:
    """A connection to an echo on a clock."""

    def __init__(self, wire: Wire | None = None, limits: LimitsSection = LIMITS) -> None:
        self.clock = Clock()
        #: Limits that refused or closed something.
        self.limited: list[str] = []
        self.site, self.made = make_echo(self.clock, limits, self.limited.append)
        self.connection = Connection(self.site, wire)
        self.wire = self.connection.wire

    def head(self, method: str, target: str, *lines: str, version: str = "1.1") -> None:
        """Send headers only."""
        text = "\r\n".join([f"{method} {target} HTTP/{version}", "Host: h", *lines, "", ""])
        self.connection._methods.append(method)
        self.connection.feed(text.encode())

    def feed(self, data: bytes) -> None:
        self.connection.feed(data)

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.connection.settle()

    def heard(self) -> Any:
        return self.connection.heard()

    @property
    def timers(self) -> list[Any]:
        return list(self.clock.getDelayedCalls())

    @property
    def processed(self) -> list[Echo]:
        return self.made.processed


@pytest.fixture
def talk() -> Talk:
    return Talk()


def sizes(heard: Any) -> list[int]:
    return [said.json["size"] for said in heard]


# --- refused bodies --------------------------------------------------------------------------------------


class TestRefused:
    def test_a_large_one_is_answered_before_it_comes(self, talk: Talk) -> None:
        talk.head("PUT", "/refuse", f"Content-Length: {5 << 30}")
        (said,) = talk.heard()
        assert (said.status, said.early) == (200, ())
        assert said.headers["connection"] == "close"
        assert talk.wire.half_closed
        assert not talk.connection.closed

    def test_what_comes_of_it_is_dropped(self, talk: Talk) -> None:
        talk.head("PUT", "/refuse", f"Content-Length: {5 << 30}")
        for _ in range(100):
            talk.feed(b"GET /refuse HTTP/1.1\r\nHost: h\r\n\r\n" * 100)
        assert len(talk.processed) == 1
        assert len(talk.heard()) == 1
        channel = talk.connection.channel
        assert channel._buffer == b""
        assert channel._dataBuffer == []
        assert not talk.connection.closed

    def test_the_connection_lingers_until_nothing_comes_for_a_while(self, talk: Talk) -> None:
        talk.head("PUT", "/refuse", f"Content-Length: {5 << 30}")
        for _ in range(3):
            talk.wait(LINGER_IDLE - 0.1)
            talk.feed(b"x" * 1000)
        assert not talk.connection.closed
        talk.wait(LINGER_IDLE + 0.1)
        assert talk.connection.closed
        assert not talk.wire.aborted
        assert talk.timers == []

    def test_and_not_for_ever(self, talk: Talk) -> None:
        talk.head("PUT", "/refuse", f"Content-Length: {5 << 30}")
        for _ in range(int(LINGER) - 1):
            talk.wait(1)
            talk.feed(b"x")
        assert not talk.connection.closed
        talk.wait(1)
        assert talk.connection.closed
        assert talk.timers == []

    def test_the_answer_may_take_its_time(self, talk: Talk) -> None:
        talk.head("PUT", "/refuse?later", f"Content-Length: {5 << 30}")
        talk.feed(b"x" * 100_000)
        assert talk.heard() == []
        assert talk.connection.channel._dataBuffer == []
        assert talk.wire.producerState == "producing"
        talk.wait(1)
        assert [said.status for said in talk.heard()] == [200]
        assert talk.wire.half_closed

    def test_a_small_one_is_read_away_and_the_connection_lives_on(self, talk: Talk) -> None:
        talk.head("PUT", "/refuse", f"Content-Length: {SMALL_BODY}")
        talk.feed(b"x" * (SMALL_BODY - 1))
        assert talk.heard() == []
        talk.feed(b"x")
        (said,) = talk.heard()
        assert "connection" not in said.headers
        assert said.json["size"] == 0
        assert said.json["announced"] == SMALL_BODY
        assert [said.status for said in [talk.connection.ask("GET", "/refuse")]] == [200]
        assert not talk.wire.half_closed

    def test_one_byte_more_is_large(self, talk: Talk) -> None:
        talk.head("PUT", "/refuse", f"Content-Length: {SMALL_BODY + 1}")
        assert [said.headers.get("connection") for said in talk.heard()] == ["close"]

    def test_who_expects_to_be_told_is_told_at_once(self, talk: Talk) -> None:
        talk.head("PUT", "/refuse", "Content-Length: 5", "Expect: 100-Continue")
        (said,) = talk.heard()
        assert (said.status, said.early) == (200, ())
        assert said.headers["connection"] == "close"

    def test_one_without_a_length_counts_as_large(self, talk: Talk) -> None:
        talk.head("PUT", "/refuse", "Transfer-Encoding: chunked")
        (said,) = talk.heard()
        assert said.json["announced"] is None
        assert said.headers["connection"] == "close"
        talk.feed(b"5\r\nhello\r\nzz\r\n")
        assert talk.heard() == []

    def test_one_of_no_bytes_is_none(self, talk: Talk) -> None:
        talk.head("PUT", "/refuse", "Content-Length: 0", "Expect: 100-continue")
        (said,) = talk.heard()
        assert (said.json["announced"], said.early) == (0, ())
        assert "connection" not in said.headers

    def test_a_tls_connection_is_not_half_closed(self) -> None:
        wire = Wire()
        alsoProvides(wire, ISSLTransport)
        talk = Talk(wire)
        talk.head("PUT", "/refuse", f"Content-Length: {5 << 30}")
        assert len(talk.heard()) == 1
        assert not wire.half_closed
        assert not wire.disconnecting
        talk.wait(LINGER_IDLE)
        assert wire.disconnecting


# --- collected bodies ------------------------------------------------------------------------------------


class TestBuffered:
    @pytest.mark.parametrize("size", [0, 1, LIMIT])
    def test_up_to_its_limit_it_is_there(self, talk: Talk, size: int) -> None:
        said = talk.connection.ask("POST", "/buffer", None, b"x" * size)
        assert (said.status, said.json["size"]) == (200, size)

    def test_one_that_announces_more_is_not_waited_for(self, talk: Talk) -> None:
        talk.head("POST", "/buffer", f"Content-Length: {SMALL_BODY + 1}")
        (said,) = talk.heard()
        assert (said.status, said.json["oversized"], said.json["size"]) == (413, True, 0)
        assert said.headers["connection"] == "close"

    def test_one_that_announces_little_more_is_read_away(self, talk: Talk) -> None:
        talk.head("POST", "/buffer", f"Content-Length: {LIMIT + 1}")
        assert talk.heard() == []
        talk.feed(b"x" * (LIMIT + 1))
        assert [(said.status, said.json["size"]) for said in talk.heard()] == [(413, 0)]
        assert talk.connection.ask("GET", "/refuse").status == 200

    def test_chunks_up_to_the_limit(self, talk: Talk) -> None:
        talk.head("POST", "/buffer", "Transfer-Encoding: chunked")
        talk.feed(b"%x\r\n" % LIMIT + b"x" * LIMIT + b"\r\n0\r\n\r\n")
        assert sizes(talk.heard()) == [LIMIT]
        assert talk.connection.ask("GET", "/refuse").status == 200

    @pytest.mark.parametrize(
        "rest", [b"", b"\r\n0\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n", b"\r\nzz\r\n", b"nonsense"]
    )
    @pytest.mark.parametrize("target", ["/buffer", "/buffer?later"])
    def test_chunks_over_the_limit_whatever_comes_with_them(self, talk: Talk, rest: bytes, target: str) -> None:
        talk.head("POST", target, "Transfer-Encoding: chunked")
        talk.feed(b"%x\r\n" % (LIMIT + 1) + b"x" * (LIMIT + 1) + rest)
        talk.feed(b"more nonsense")
        if target.endswith("later"):
            talk.wait(1)
        (said,) = talk.heard()
        assert (said.status, said.json["size"]) == (413, 0)
        assert said.headers["connection"] == "close"
        assert talk.wire.half_closed

    def test_who_expects_to_be_told_to_go_on_is_told(self, talk: Talk) -> None:
        talk.head("POST", "/buffer", "Content-Length: 3", "Expect: 100-continue")
        assert talk.connection.said == b"HTTP/1.1 100 Continue\r\n\r\n"
        talk.feed(b"abc")
        (said,) = talk.heard()
        assert (said.early, said.json["size"]) == ((100,), 3)

    def test_http_1_0_knows_no_100(self, talk: Talk) -> None:
        talk.head("POST", "/buffer", "Content-Length: 3", "Expect: 100-continue", version="1.0")
        assert talk.connection.said == b""
        talk.feed(b"abc")
        assert sizes(talk.heard()) == [3]
        assert talk.connection.closed

    def test_malformed_chunks_within_the_limit(self, talk: Talk) -> None:
        talk.head("POST", "/buffer", "Transfer-Encoding: chunked")
        talk.feed(b"2\r\nab\r\nzz\r\n")
        assert [said.status for said in talk.heard()] == [400]
        assert talk.connection.closed
        assert talk.processed == []


# --- streamed bodies -------------------------------------------------------------------------------------


class TestStreamed:
    def test_all_of_it(self, talk: Talk) -> None:
        talk.head("PUT", "/stream", "Content-Length: 6")
        talk.feed(b"abc")
        (sink,) = talk.made.sinks
        assert (sink.data, sink.events) == (b"abc", [])
        talk.feed(b"def" + request("GET", "/refuse"))
        assert (sink.data, sink.events) == (b"abcdef", ["finished"])
        assert len(talk.processed) == 2

    def test_in_chunks(self, talk: Talk) -> None:
        talk.head("PUT", "/stream", "Transfer-Encoding: chunked")
        talk.feed(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
        (sink,) = talk.made.sinks
        assert (sink.data, sink.events) == (b"abcdef", ["finished"])
        assert sizes(talk.heard()) == [6]

    @pytest.mark.parametrize("lines", [[], ["Content-Length: 0"]])
    def test_none_of_it(self, talk: Talk, lines: list[str]) -> None:
        talk.head("PUT", "/stream", *lines)
        assert [sink.events for sink in talk.made.sinks] == [["finished"]]
        assert sizes(talk.heard()) == [0]

    def test_the_client_leaves_in_the_middle(self, talk: Talk) -> None:
        talk.head("PUT", "/stream", "Content-Length: 6")
        talk.feed(b"abc")
        talk.connection.leave()
        assert [sink.events for sink in talk.made.sinks] == [["aborted"]]
        assert talk.processed == []
        assert talk.timers == []

    def test_nonsense_in_the_middle(self, talk: Talk) -> None:
        talk.head("PUT", "/stream", "Transfer-Encoding: chunked")
        talk.feed(b"3\r\nabc\r\nzz\r\n")
        assert [sink.events for sink in talk.made.sinks] == [["aborted"]]
        assert [said.status for said in talk.heard()] == [400]

    def test_the_client_falls_silent(self, talk: Talk) -> None:
        talk.head("PUT", "/stream", "Content-Length: 6")
        talk.wait(IDLE)
        assert talk.connection.closed
        assert [sink.events for sink in talk.made.sinks] == [["aborted"]]
        assert talk.timers == []

    def test_it_may_take_its_time(self, talk: Talk) -> None:
        talk.head("PUT", "/stream", "Content-Length: 600")
        for _ in range(600):
            talk.wait(1)
            talk.feed(b"x")
        assert sizes(talk.heard()) == [600]

    def test_its_reader_may_pause(self, talk: Talk) -> None:
        talk.head("PUT", "/stream", "Content-Length: 6")
        (asked,) = talk.connection.channel.requests
        asked.pause()
        assert talk.wire.producerState == "paused"
        asked.resume()
        assert talk.wire.producerState == "producing"
        talk.feed(b"abcdef")
        # An answer that is out leaves nothing to pause.
        asked.pause()
        asked.resume()
        assert talk.wire.producerState == "producing"


# --- one after the other ---------------------------------------------------------------------------------


class TestPipelined:
    def test_answers_come_in_order(self, talk: Talk) -> None:
        data = (
            request("PUT", "/refuse?1later", None, b"abc")
            + request("POST", "/buffer?2", None, b"abcd")
            + request("GET", "/refuse?3later")
            + request("PUT", "/stream?4", None, b"abcde")
            + request("HEAD", "/refuse?5")
        )
        talk.feed(data)
        assert talk.connection.said == b""
        talk.wait(1)
        talk.wait(1)
        heard = answers(talk.connection.said, ["PUT", "POST", "GET", "PUT", "HEAD"])
        assert [said.json["uri"] for said in heard[:-1]] == [
            "/refuse?1later",
            "/buffer?2",
            "/refuse?3later",
            "/stream?4",
        ]
        assert [said.json["size"] for said in heard[:-1]] == [0, 4, 0, 5]
        assert heard[4].body == b""

    def test_a_thousand_in_one_packet(self, talk: Talk) -> None:
        talk.feed(request("GET", "/refuse") * 1000)
        assert len(answers(talk.connection.said, ["GET"] * 1000)) == 1000

    def test_after_one_that_is_refused_nothing_is_taken_for_a_request(self, talk: Talk) -> None:
        talk.feed(request("PUT", "/refuse", {"Content-Length": "70000"}) + request("DELETE", "/refuse"))
        assert [made.method for made in talk.processed] == [b"PUT"]
        assert len(answers(talk.connection.said, ["PUT"])) == 1

    def test_after_connection_close_nothing_is_taken(self, talk: Talk) -> None:
        talk.feed(request("GET", "/refuse", {"Connection": "close"}) + request("GET", "/refuse"))
        assert len(answers(talk.connection.said, ["GET"], closed=True)) == 1
        assert talk.connection.closed

    def test_who_sends_much_while_an_answer_is_made_is_held_back(self, talk: Talk) -> None:
        talk.feed(request("GET", "/refuse?later"))
        talk.feed(request("PUT", "/refuse", {"Content-Length": "70000"}) + b"x" * 20_000)
        assert talk.wire.producerState == "paused"
        talk.wait(1)
        assert talk.wire.producerState == "producing"
        assert len(talk.processed) == 2


# --- how many --------------------------------------------------------------------------------------------


class TestRequests:
    def test_the_last_one_says_so(self) -> None:
        talk = Talk(limits=LimitsSection(requests_per_connection=3))
        said = [talk.connection.ask("GET", "/refuse") for _ in range(3)]
        assert [one.headers.get("connection") for one in said] == [None, None, "close"]
        assert talk.connection.closed
        assert not talk.wire.aborted
        assert talk.timers == []

    def test_and_what_comes_behind_it_is_not_taken(self) -> None:
        talk = Talk(limits=LimitsSection(requests_per_connection=3))
        talk.feed(request("GET", "/refuse") * 5)
        assert len(talk.processed) == 3

    def test_no_limit(self) -> None:
        talk = Talk(limits=LimitsSection(requests_per_connection=0))
        talk.feed(request("GET", "/refuse") * 1000)
        assert len(talk.processed) == 1000


# --- time ------------------------------------------------------------------------------------------------


def drip(talk: Talk, data: bytes) -> int:
    """A byte a second until the server has enough: how many seconds that was."""
    for second in range(1, 1000):
        at = (second - 1) % len(data)
        talk.feed(data[at : at + 1])
        talk.wait(1)
        if talk.connection.closed:
            return second
    raise AssertionError("for ever")


class TestTime:
    def test_who_speaks_tls_is_told_at_once(self, talk: Talk) -> None:
        talk.feed(b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(194))
        assert talk.wire.value().startswith(b"HTTP/1.1 400 ")
        assert talk.wire.disconnecting
        assert talk.timers == []

    def test_behind_a_request_too(self, talk: Talk) -> None:
        talk.feed(request("GET", "/refuse") + b"\x16\x03\x01\x00")
        assert b"HTTP/1.1 400 " in talk.wire.value()
        assert talk.wire.disconnecting

    def test_headers_that_drip_are_cut_off(self, talk: Talk) -> None:
        assert drip(talk, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000) == LIMITS.header_time
        assert talk.wire.aborted
        assert talk.timers == []
        assert talk.limited == ["header_time"]

    def test_those_of_a_later_request_too(self, talk: Talk) -> None:
        assert talk.connection.ask("GET", "/refuse").status == 200
        talk.wait(IDLE - 1)
        assert drip(talk, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000) == LIMITS.header_time
        assert talk.timers == []

    def test_those_that_began_while_another_was_answered_too(self, talk: Talk) -> None:
        talk.feed(request("GET", "/refuse?later") + b"GET ")
        talk.wait(1)
        assert drip(talk, b"/ HTTP/1.1\r\n" + b"X: y\r\n" * 1000) == LIMITS.header_time

    @pytest.mark.parametrize("begun", [b"GET ", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX: y\r\nZ"])
    def test_those_that_began_in_one_packet_with_another_too(self, talk: Talk, begun: bytes) -> None:
        talk.feed(request("GET", "/refuse") + begun)
        talk.wait(LIMITS.header_time - 1)
        talk.feed(b"/")
        assert not talk.connection.closed
        talk.wait(1)
        assert talk.limited == ["header_time"]

    @pytest.mark.parametrize("target", ["/buffer", "/refuse"])
    def test_small_bodies_that_drip_are_cut_off(self, talk: Talk, target: str) -> None:
        talk.head("POST", target, "Content-Length: 900")
        assert drip(talk, b"x") == LIMITS.body_time
        assert talk.wire.aborted
        assert talk.limited == ["body_time"]
        assert talk.processed == []
        assert talk.timers == []

    def test_each_of_these_times_is_an_option(self) -> None:
        limits = LimitsSection(idle=Interval(9), header_time=Interval(5), body_time=Interval(7))
        assert drip(Talk(limits=limits), b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000) == 5
        talk = Talk(limits=limits)
        talk.head("POST", "/buffer", "Content-Length: 900")
        assert drip(talk, b"x") == 7
        talk = Talk(limits=limits)
        talk.wait(8)
        assert not talk.connection.closed
        talk.wait(1)
        assert talk.connection.closed

    def test_a_request_in_one_packet_needs_no_timer_for_its_headers(self, talk: Talk) -> None:
        set_: list[float] = []
        later = talk.connection.channel.callLater
        talk.connection.channel.callLater = lambda delay, call: (set_.append(delay), later(delay, call))[1]
        talk.connection.ask("GET", "/refuse")
        assert LIMITS.header_time not in set_
        talk.feed(b"GET /refuse")
        assert LIMITS.header_time in set_

    def test_silence_ends_a_connection(self, talk: Talk) -> None:
        talk.connection.ask("GET", "/refuse")
        talk.wait(IDLE - 1)
        assert not talk.connection.closed
        talk.wait(1)
        assert talk.connection.closed
        assert not talk.wire.aborted
        assert talk.timers == []

    def test_and_one_on_which_nothing_was_ever_said(self, talk: Talk) -> None:
        talk.wait(IDLE)
        assert talk.connection.closed
        assert talk.timers == []

    def test_silence_while_the_answer_is_made_is_no_silence(self, talk: Talk) -> None:
        talk.made.process = lambda self: self.clock.callLater(10 * IDLE, self.answer)  # type: ignore[method-assign,assignment]
        talk.head("GET", "/refuse")
        talk.wait(10 * IDLE)
        assert [said.status for said in talk.heard()] == [200]

    @pytest.mark.parametrize("connection", ["close", "keep-alive"])
    def test_who_does_not_read_the_answer_does_not_keep_it_for_ever(self, connection: str) -> None:
        talk = Talk()
        # Not settled: the transport waits for its reader, and so does not end.
        talk.connection.channel.dataReceived(request("GET", "/refuse", {"Connection": connection}))
        talk.clock.pump([1.0] * 100)
        assert talk.wire.aborted
        talk.connection.leave()
        assert talk.timers == []

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"GET",
            b"PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc",
            b"PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nabc",
            b"POST /buffer HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc",
            b"PUT /stream HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc",
            b"GET /refuse HTTP/1.1\r\nHost: h\r\n\r\nGET",
            b"GET /refuse HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            b"nonsense\r\n",
        ],
    )
    def test_no_timer_is_left_when_the_client_leaves(self, talk: Talk, data: bytes) -> None:
        talk.feed(data)
        talk.connection.leave()
        assert talk.timers == []

    def test_a_request_is_told_that_its_client_left(self, talk: Talk) -> None:
        talk.head("GET", "/refuse?later")
        talk.connection.leave()
        assert [made.gone for made in talk.processed] == [True]
        talk.wait(1)
        assert talk.heard() == []


# --- what is no request ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET /refuse HTTP/2.0\r\nHost: h\r\n\r\n",
        b"GET  /refuse HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /re fuse HTTP/1.1\r\nHost: h\r\n\r\n",
        b"G\x00T /refuse HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PUT /refuse HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"PUT /refuse HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        b"PUT /refuse HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"PUT /refuse HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PUT /refuse HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"PUT /refuse HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"PUT /refuse HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\nHost: h\r\n\r\n",
        b"GET /refuse HTTP/1.1\r\nX-Y: a\x00b\r\n\r\n",
        b"GET /refuse HTTP/1.1\r\nX-Y: a\rb\r\n\r\n",
        b"GET /refuse HTTP/1.1\r\nX Y: a\r\n\r\n",
    ],
)
def test_what_is_no_request_ends_the_connection(talk: Talk, head: bytes) -> None:
    talk.feed(head)
    assert [said.status for said in answers(talk.connection.said, ["GET"], closed=True)] == [400]
    assert talk.connection.closed
    assert talk.processed == []
    assert talk.timers == []


@pytest.mark.parametrize(
    "head",
    [
        b"GET /refuse HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"GET /refuse HTTP/1.1\r\nX: " + b"y" * 16_000 + b"\r\nZ: " + b"z" * 1000 + b"\r\n\r\n",
        b"GET /refuse HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000,
    ],
)
def test_headers_that_are_too_large(talk: Talk, head: bytes) -> None:
    talk.feed(head)
    assert [said.status for said in answers(talk.connection.said, ["GET"], closed=True)] == [431]
    assert talk.connection.closed
    assert talk.processed == []
    assert talk.timers == []
    assert talk.limited == ["header_size"]


def test_headers_of_each_request_count_for_themselves(talk: Talk) -> None:
    for _ in range(5):
        assert talk.connection.ask("GET", "/refuse", {"X": "x" * 10_000}).status == 200
    assert talk.limited == []


def test_the_size_of_headers_is_exact() -> None:
    limits = LimitsSection(header_size=Amount(2000))
    line, more = len("GET /refuse HTTP/1.1") + len("Host: localhost") + len("X: "), 4 * 32
    for size, status in ((2000 - line - more, 200), (2001 - line - more, 431)):
        talk = Talk(limits=limits)
        assert talk.connection.ask("GET", "/refuse", {"X": "x" * size}).status == status


def test_a_tls_client_is_offered_http_1_1(talk: Talk) -> None:
    verifyObject(IProtocolNegotiationFactory, talk.site)
    assert talk.site.acceptableProtocols() == [b"http/1.1"]

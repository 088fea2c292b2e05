"""Whatever bytes come, in whatever pieces: no exception, no hang, and the same well-formed answers."""

from __future__ import annotations

from typing import NamedTuple

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.web.echo import LIMIT, make_echo
from tests.web.wire import Connection, Said, answers


class Outcome(NamedTuple):
    said: bytes
    closed: bool
    half_closed: bool
    processed: list[bytes]
    sinks: list[list[str]]


def talk(pieces: list[bytes]) -> Outcome:
    """Send the pieces, then leave things to time; every timer must have run out by itself."""
    clock = Clock()
    site, made = make_echo(clock)
    connection = Connection(site)
    for piece in pieces:
        connection.feed(piece)
    for _ in range(400):
        if not clock.getDelayedCalls():
            break
        clock.advance(1)
        connection.settle()
    assert connection.closed, "the connection would live for ever"
    connection.settle()
    assert not clock.getDelayedCalls(), "something goes on after the connection was lost"
    for sink in made.sinks:
        assert len(sink.events) == 1
    return Outcome(
        connection.said,
        connection.closed,
        connection.wire.half_closed,
        [request.method + b" " + request.uri for request in made.processed],
        [sink.events for sink in made.sinks],
    )


def judge(outcome: Outcome) -> list[Said]:
    """All that was said, as answers to those that were asked; a last one may be a complaint."""
    methods = [line.split(b" ")[0].decode() for line in outcome.processed]
    # One who was told to go on, and did not, got nothing more.
    said = outcome.said.removesuffix(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        return answers(said, methods, closed=True)
    except AssertionError:
        return answers(said, [*methods, "GET"], closed=True)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    ends = sorted({min(a, len(data)) for a in at} | {len(data)})
    starts = [0, *ends[:-1]]
    return [data[start:end] for start, end in zip(starts, ends, strict=True) if start < end]


targets = st.builds(
    lambda path, later: path + later,
    st.sampled_from([b"/refuse", b"/buffer", b"/stream"]),
    st.sampled_from([b"", b"", b"?later"]),
)
sizes = st.one_of(st.integers(0, 40), st.sampled_from([LIMIT - 1, LIMIT, LIMIT + 1, 5000, 65536, 65537]))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that is right, or nearly."""
    method = draw(st.sampled_from([b"GET", b"HEAD", b"PUT", b"POST", b"PUT"]))
    lines = [b"%s %s %s" % (method, draw(targets), draw(st.sampled_from([b"HTTP/1.1"] * 9 + [b"HTTP/1.0"])))]
    lines.append(b"Host: h")
    if draw(st.integers(0, 5)) == 0:
        lines.append(b"Connection: close")
    body = b""
    if method in (b"PUT", b"POST"):
        size = draw(sizes)
        if draw(st.booleans()):
            lines.append(b"Content-Length: %d" % size)
            body = b"x" * size
        else:
            lines.append(b"Transfer-Encoding: chunked")
            for chunk in cut(b"y" * size, draw(st.lists(st.integers(1, 6000), max_size=4))):
                body += b"%x\r\n%s\r\n" % (len(chunk), chunk)
            body += draw(st.sampled_from([b"0\r\n\r\n"] * 5 + [b"0\r\nTrailer: t\r\n\r\n", b"zz\r\n", b""]))
        if draw(st.integers(0, 3)) == 0:
            lines.append(b"Expect: 100-continue")
    return b"\r\n".join([*lines, b"", body])


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    data = b"".join(draw(st.lists(requests(), min_size=1, max_size=4)))
    if draw(st.integers(0, 4)) == 0 and data:
        at = draw(st.integers(0, len(data) - 1))
        junk = draw(st.binary(min_size=0, max_size=8))
        data = data[:at] + junk + data[at + draw(st.integers(0, 3)) :]
    if draw(st.integers(0, 4)) == 0:
        data = data[: draw(st.integers(0, len(data)))]
    return data


@given(conversations(), st.lists(st.integers(0, 12_000), max_size=8))
@example(
    b"POST /buffer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"400\r\n" + b"x" * 1024 + b"\r\n400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n",
    [],
)
@example(
    b"POST /buffer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n"
    + b"x" * 1024
    + b"\r\nzz\r\n",
    [],
)
@example(b"PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", [])
@settings(deadline=None)
def test_the_same_answers_however_the_bytes_are_cut(data: bytes, at: list[int]) -> None:
    whole = talk([data])
    try:
        judge(whole)
    except h11.RemoteProtocolError as error:
        raise AssertionError(f"{whole.said!r}: {error}") from error
    assert talk(cut(data, at)) == whole


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4))
@settings(deadline=None)
def test_bytes_that_mean_nothing_at_all(data: bytes, at: list[int]) -> None:
    whole = talk([data])
    judge(whole)
    assert talk(cut(data, at)) == whole


def test_byte_by_byte() -> None:
    data = (
        b"PUT /stream HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
        b"POST /buffer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        b"PUT /refuse?later HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"
        b"GET /refuse HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    whole = talk([data])
    assert [said.status for said in judge(whole)] == [200] * 4
    assert talk([bytes([byte]) for byte in data]) == whole

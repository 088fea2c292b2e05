"""Bytes at random to both lanes at once.  ``make fuzz`` tries for longer."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from dragonbelly.web.lane import WAITING
from tests.hostile.lanes import HEADERS
from tests.hostile.test_fuzz import PIECES, SMALL, mutated, no_surprises
from tests.web.requests import ODD, PLAIN, get
from tests.web.twins import Twins, signed
from tests.web.wire import answers
from tests.web.world import NOW

#: Of answers to pages of other origins.
SHARED = HEADERS | {
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
    "vary",
    "www-authenticate",
}

CORPUS = [data.replace(b"files.example.com", b"open.test") for data in SMALL]
METHODS = [b"GET"] * 6 + [b"HEAD", b"PUT", b"PUT", b"POST", b"POST", b"PATCH", b"DELETE", b"OPTIONS", b"get"]
TARGETS = [
    *(b"/a", b"/a", b"/a", b"/%61", b"/b%20c/%C3%A9", b"/begun", b"/none", b"/new", b"/secret"),
    *(b"/", b"//", b"/../a", b"/a?", b"/a?b", b"/a#b", b"/-/x", b"/-/health", b"/%2d/x", b"/%zz", b"*", b"a"),
    *(b"/-/api/v1/uploads", b"/-/api/v1/files", b"/-/api/v1/files/a", b"/-/api/v1/uploads#x"),
    *(b"http://open.test/a", b"http://private.test/secret", b"open.test:80"),
    *(signed("secret"), signed("secret", expires=int(NOW) + 3), signed("new", "PUT")),
    *(b"/" + b"x" * 200, b"/" + b"%78" * 300, b"/" + b"y" * 900),
]
FIELDS = [
    *(b"Accept: */*", b"X:", b"X: \t y\t", b"X: \xe9", b"Cookie: a=b", b"X: " + b"y" * 300, b"X: y\r\n z"),
    *(
        b"Connection: keep-alive",
        b"Connection: close",
        b"Connection: x, Close",
        b"Connection: te",
        b"TE: trailers",
    ),
    *(b"Authorization: Bearer writer", b"Authorization: Bearer x", b"Authorization: Basic eDp5"),
    *(b"Origin: https://app.example.com", b"Origin: null", b"Sec-Fetch-Site: cross-site"),
    *(b"Expect: 100-continue", b"Expect: x", b"Upgrade: h2c", b"If-None-Match: *", b'If-Match: "x"'),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding : chunked"),
    *(b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: 07", b"Content-Length: 5, 5"),
    *(b"Content-Length: 70000", b"Content-Length: 300000", b"Content-Length: +5", b"Content-Length : 5"),
    *(b"Host: open.test", b"host:private.test", b"Host:", b"Host: a b", b"X\x00: y", b"X: \x0b", b"X: a\rb"),
]
BODIES = [
    b"",
    b"",
    b"hello",
    b'{"path": "a"}',
    b"5\r\nhello\r\n0\r\n\r\n",
    b"0\r\n\r\n",
    get(b"/hidden"),
    b" " * 3000,
]


@st.composite
def pieced_together(draw: st.DrawFn) -> bytes:
    """A request of plain and of odd parts."""
    version = draw(st.sampled_from([b"HTTP/1.1"] * 9 + [b"HTTP/1.0", b"HTTP/1.1 ", b"http/1.1"]))
    line = b" ".join([draw(st.sampled_from(METHODS)), draw(st.sampled_from(TARGETS)), version])
    hosts = draw(st.sampled_from([[b"Host: open.test"]] * 4 + [[b"Host: private.test"]] * 2 + [[]]))
    fields = [*hosts, *draw(st.lists(st.sampled_from(FIELDS), max_size=3))]
    body = draw(st.sampled_from(BODIES))
    if body and draw(st.integers(0, 3)):
        fields.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([line, *draw(st.permutations(fields)), b"", body])


@st.composite
def asked_of_both(draw: st.DrawFn) -> list[bytes | float]:
    """Pieces of some requests, changed or not, some of them more than once; and seconds between the pieces."""
    known = st.sampled_from([*PLAIN.values(), *ODD.values(), *CORPUS, get(), get()])
    some = draw(st.lists(st.one_of(known, pieced_together()), min_size=1, max_size=4))
    again = draw(st.lists(st.sampled_from(some), max_size=3))
    data = b"".join(some + again)
    if draw(st.booleans()):
        data = mutated(data, draw, [*PIECES, *FIELDS])
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=5))
    # As often as not where a request ends.
    ends = [match.end() for match in re.finditer(rb"\r\n\r\n", data)]
    cuts += draw(st.lists(st.sampled_from(ends), max_size=5)) if ends else []
    pieces: list[bytes | float] = []
    for start, end in pairwise(sorted({0, *cuts, len(data)})):
        pieces.append(data[start:end])
        pieces += draw(st.sampled_from([[]] * 6 + [[0.5], [2.0], [30.0]]))
    return pieces


@given(asked_of_both(), st.booleans())
@example([get() + b"G", 30.0, get()[1:]], False)
@example([get() + get()[:17], 30.0, get()[17:]], True)
@example([get(fields=b"Content-Length: 5\r\n")], False)
@example([get() + ODD["TLS"], b"\r\n"], False)
def test_both_lanes(pieces: list[bytes | float], shut_down: bool) -> None:
    """Whatever comes, in whatever pieces: no lane takes what the other does not, nor takes it for another."""
    # No two limits at one moment: which of them is first is chance.
    twins = Twins('[limits]\nbody_time = "50.3s"\nheader_time = "20.7s"\n')
    with no_surprises():
        client = twins.connect()
        lane = client.fast.channel
        for piece in pieces:
            if isinstance(piece, bytes):
                client.feed(piece)
                assert client.handed_over or len(lane._waiting) < 2 * WAITING + len(piece)
                assert len(lane._manner.block) <= twins.worlds[0].config.limits.header_size
            else:
                twins.advance(piece)
                client.settle()
        if shut_down:
            client.shut_down()
        for _ in range(75):  # everything that has a limit has one below
            if client.closed:
                break
            twins.advance(1)
            client.settle()
        assert client.closed or client.handed_over
        client.leave()
        twins.end()
    data = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    if b"HEAD" not in data:
        heard = client.said.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
        for one in answers(heard, ["GET"] * 1000, closed=True):
            assert one.status != 500
            assert set(one.headers) <= SHARED

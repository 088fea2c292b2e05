"""Which heads are plain, and what is read from them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from dragonbelly.config.limits import LimitsSection
from dragonbelly.units import Amount
from dragonbelly.web.heads import LINE_COST, read_fields, read_line
from tests.web.echo import make_echo
from tests.web.wire import Connection


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (b"GET / HTTP/1.1", ("GET", b"/")),
        (b"HEAD /a/b%20c?d=e&f HTTP/1.1", ("HEAD", b"/a/b%20c?d=e&f")),
        (b"PUT /!\"$&'()*+,-.:;<=>@[\\]^_`{|}~ HTTP/1.1", ("PUT", b"/!\"$&'()*+,-.:;<=>@[\\]^_`{|}~")),
        (b"POST /-/api/v1/uploads HTTP/1.1", ("POST", b"/-/api/v1/uploads")),
        (b"PATCH /%zz HTTP/1.1", ("PATCH", b"/%zz")),
        (b"DELETE //a HTTP/1.1", ("DELETE", b"//a")),
    ],
)
def test_plain_lines(line: bytes, read: tuple[str, bytes]) -> None:
    assert read_line(line) == read


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET",
        b"GET /",
        b"GET / HTTP/1.0",
        b"GET / HTTP/2.0",
        b"GET / HTTP/1.10",
        b"GET / http/1.1",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r",
        b" GET / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET /a\x00 HTTP/1.1",
        b"GET /a\x7f HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET http://h/a HTTP/1.1",
        b"get / HTTP/1.1",
        b"OPTIONS / HTTP/1.1",
        b"CONNECT / HTTP/1.1",
        b"BREW / HTTP/1.1",
    ],
)
def test_lines_for_somebody_else(line: bytes) -> None:
    assert read_line(line) is None


def test_plain_fields() -> None:
    block = (
        b"Host: Files.example.com:80\r\nX-A:b\r\nx-a: \t c d \t\r\nEmpty:\r\n"
        b"Old: \xe9\r\nCONTENT-LENGTH: 12\r\n\r\n"
    )
    fields = read_fields(block)
    assert fields is not None
    assert fields.headers == {
        "host": "Files.example.com:80",
        "x-a": "b, c d",
        "empty": "",
        "old": "é",
        "content-length": "12",
    }
    assert (fields.host, fields.length) == (b"Files.example.com:80", 12)


HOSTED = b"Host: h\r\n"


@pytest.mark.parametrize(
    "block",
    [
        HOSTED,
        HOSTED + b"Connection: keep-alive\r\n",
        HOSTED + b"Connection: Keep-Alive\r\n",
        HOSTED + b"Content-Length: 0\r\n",
        HOSTED + b"Content-Length: 999999999\r\n",
        b"host:h\r\n",
        b"Host: [::1]:80\r\n",
        b"Host: h.\r\n",
        HOSTED + b"TE: trailers\r\n",
        HOSTED + b"A: b:c\r\n",
        HOSTED + b"!#$%&'*+-.^_`|~09azAZ: x\r\n",
    ],
)
def test_blocks_that_are_plain(block: bytes) -> None:
    assert read_fields(block + b"\r\n") is not None


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"X: y\r\n",
        b"Host:\r\n",
        b"Host: a b\r\n",
        b"Host: a, b\r\n",
        b"Host: h/a\r\n",
        b"Host: u@h\r\n",
        b"Host: \xe9\r\n",
        HOSTED + b"Host: h\r\n",
        HOSTED + b"hOST: h\r\n",
        HOSTED + b"Connection: close\r\n",
        HOSTED + b"Connection: x, close\r\n",
        HOSTED + b"Connection: keep-alive\r\nConnection: close\r\n",
        HOSTED + b"Connection: upgrade\r\n",
        HOSTED + b"Connection:\r\n",
        HOSTED + b"Transfer-Encoding: chunked\r\n",
        HOSTED + b"Transfer-Encoding: identity\r\n",
        HOSTED + b"Transfer-Encoding:\r\n",
        HOSTED + b"transfer-encoding: chunked\r\nContent-Length: 0\r\n",
        HOSTED + b"Expect: 100-continue\r\n",
        HOSTED + b"Upgrade: h2c\r\n",
        HOSTED + b"Content-Length: 1\r\nContent-Length: 1\r\n",
        HOSTED + b"Content-Length: 1, 1\r\n",
        HOSTED + b"Content-Length:\r\n",
        HOSTED + b"Content-Length: +1\r\n",
        HOSTED + b"Content-Length: -1\r\n",
        HOSTED + b"Content-Length: 0x1\r\n",
        HOSTED + b"Content-Length: 1_0\r\n",
        HOSTED + b"Content-Length: \xb2\r\n",
        HOSTED + b"Content-Length: 1000000000\r\n",
        HOSTED + b"X : y\r\n",
        HOSTED + b"X Y: z\r\n",
        HOSTED + b": y\r\n",
        HOSTED + b"X\r\n",
        HOSTED + b"X: a\x00b\r\n",
        HOSTED + b"X: a\x7fb\r\n",
        HOSTED + b"X: a\x0bb\r\n",
        HOSTED + b"X: a\rb\r\n",
        HOSTED + b"X: a\nb\r\n",
        HOSTED + b"X\xe9: y\r\n",
        HOSTED + b"X: y\r\n z\r\n",
        HOSTED + b"X: y\r\n\tz\r\n",
        b" X: y\r\n" + HOSTED,
        b"Host: h\n",
        HOSTED + b"\r\n" + HOSTED,
    ],
)
def test_blocks_for_somebody_else(block: bytes) -> None:
    assert read_fields(block + b"\r\n") is None


@pytest.mark.parametrize("block", [HOSTED, HOSTED + b"\r", HOSTED + b"\r\n\r\n", HOSTED + b"\r\nX"])
def test_it_ends_with_one_empty_line(block: bytes) -> None:
    assert read_fields(block) is None


@given(st.lists(st.integers(0, 60), max_size=30))
@example([])
def test_a_head_counts_as_much_as_in_the_slow_lane_or_more(lengths: list[int]) -> None:
    """So what is too large there is too large here."""
    line = b"GET /refuse HTTP/1.1"
    block = HOSTED + b"".join(b"X: " + b"y" * length + b"\r\n" for length in lengths) + b"\r\n"
    fields = read_fields(block)
    assert fields is not None
    counted = len(line) + LINE_COST + fields.size
    site, _ = make_echo(Clock(), LimitsSection(header_size=Amount(counted)))
    connection = Connection(site)
    connection.feed(line + b"\r\n" + block)
    assert connection.said.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "value",
    [b"a" + b" " * 400_000 + b"b", b" \t" * 200_000 + b"\x00", b":" * 400_000 + b"\r", b"\t" * 400_000 + b"\n"],
    ids=["spaces", "spaces and NUL", "colons", "tabs"],
)
@pytest.mark.timeout(60)
def test_nothing_takes_longer_than_its_length(value: bytes) -> None:
    """A search that went back and forth would take hours for these."""
    read_fields(HOSTED + b"X: " + value + b"\r\n\r\n")
    read_fields((HOSTED + b"X: y\r\n" * 50_000) + value + b"\r\n\r\n")
    read_line(b"GET /" + value + b" HTTP/1.1")

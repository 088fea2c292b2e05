"""Requests as bytes: those that never leave the fast lane, and those that are handed over."""

from __future__ import annotations

from dragonbelly.web.channel import SMALL_BODY
from tests.web.test_door import signed as signed_for
from tests.web.twins import APP, OPEN, PRIVATE, signed
from tests.web.world import NOW

JSON = b'{"path": "new"}'


def ask(line: bytes, fields: bytes = b"", body: bytes = b"", host: bytes = OPEN) -> bytes:
    """A request in HTTP/1.1."""
    length = b"Content-Length: %d\r\n" % len(body) if body or line[:1] == b"P" else b""
    return line + b" HTTP/1.1\r\n" + host + length + fields + b"\r\n" + body


def get(target: bytes = b"/a", fields: bytes = b"", host: bytes = OPEN) -> bytes:
    return ask(b"GET " + target, fields, host=host)


TOKEN = b"Authorization: Bearer writer\r\n"
ORIGIN = b"Origin: " + APP.encode() + b"\r\n"

#: Requests that never leave the fast lane.
PLAIN = {
    "GET": get(),
    "GET of many fields": get(fields=b"Accept: */*\r\nUser-Agent: x/1 (y; z)\r\nCookie: a=b; c=d\r\n" * 3),
    "GET keep-alive": get(fields=b"Connection: Keep-Alive\r\n"),
    "GET, tabs and nothing": get(fields=b"A:\t\tb \t\r\nC:\r\n"),
    "GET, beyond ASCII": get(fields=b"A: \xe9\xff\r\n"),
    "GET, conditions": get(fields=b'If-None-Match: "x"\r\nRange: bytes=0-1\r\nTE: trailers\r\n'),
    "GET, length 0": get(fields=b"Content-Length: 0\r\n"),
    "HEAD": ask(b"HEAD /a"),
    "GET of another": get(b"/b%20c/%C3%A9"),
    "in another spelling": get(b"/%62%20c/%c3%a9"),
    "in a third": get(b"/b%20%63/%C3%a9"),
    "in a fourth": get(b"/%62%20%63/%C3%a9"),
    "in a fifth": get(b"/b%20%63/%c3%A9"),
    "GET of a long one": get(b"/" + b"x" * 200),
    "GET of nothing": get(b"/none"),
    "HEAD of nothing": ask(b"HEAD /none"),
    "GET of one that did not come": get(b"/begun"),
    "with a query": get(b"/a?b=c&signature=d"),
    "with an empty query": get(b"/a?"),
    "no name": get(b"/"),
    "no name at all": get(b"//"),
    "up": get(b"/../a"),
    "an escaped slash": get(b"/a%2fb"),
    "no escape": get(b"/a%zz"),
    "not UTF-8": get(b"/%ff"),
    "a name that is too long": get(b"/" + b"x/" * 1000),
    "a target that is too long": get(b"/" + b"%41" * 1100),
    "reserved": get(b"/-/x"),
    "nearly reserved": get(b"/-"),
    "health": get(b"/-/health"),
    "metrics": get(b"/-/metrics"),
    "another domain": get(host=b"Host: media.test\r\n"),
    "host with a port": get(host=b"Host: OPEN.test.:8080\r\n"),
    "no such host": get(host=b"Host: evil.test\r\n"),
    "private": get(b"/secret", host=PRIVATE),
    "private, a query": get(b"/secret?a=b", host=PRIVATE),
    "private, an empty query": get(b"/secret?", host=PRIVATE),
    "private, with a token": get(b"/secret", TOKEN, PRIVATE),
    "private, with a token that is none": get(b"/secret", b"Authorization: Bearer x\r\n", PRIVATE),
    "private, with a password": get(b"/secret", b"Authorization: Basic eDp5\r\n", PRIVATE),
    "private, with a token for a part": get(b"/secret", b"Authorization: Bearer shop\r\n", PRIVATE),
    "public, with a token": get(b"/a", TOKEN),
    "public, with a token that is none": get(b"/a", b"Authorization: Bearer x\r\n"),
    "signed": get(signed("secret"), host=PRIVATE),
    "signed, HEAD": ask(b"HEAD " + signed("secret"), host=PRIVATE),
    "signed, not there": get(signed("none"), host=PRIVATE),
    "signed for another": get(signed("other").replace(b"/other", b"/secret"), host=PRIVATE),
    "signed for another domain": get(signed_for("GET", "secret", "media").encode(), host=PRIVATE),
    "signed, and a token": get(signed("secret"), TOKEN, PRIVATE),
    "signed twice": get(signed("secret") + b"&signature=x", host=PRIVATE),
    "signed, expired": get(signed("secret", expires=int(NOW) - 1), host=PRIVATE),
    "signed to write": get(signed("secret", "PUT"), host=PRIVATE),
    "signed, of an open domain": get(signed("a")),
    "PUT, signed": ask(b"PUT " + signed("new", "PUT"), body=b"x", host=PRIVATE),
    "of an origin": get(fields=ORIGIN),
    "of an origin, HEAD": ask(b"HEAD /a", ORIGIN),
    "of an origin, not there": get(b"/none", ORIGIN),
    "of another origin": get(fields=b"Origin: https://evil.example.com\r\n"),
    "of no origin": get(fields=b"Origin: null\r\n"),
    "of two origins": get(fields=ORIGIN + ORIGIN),
    "of an odd origin": get(fields=b"Origin: \xff\t\xe9\r\n"),
    "PUT": ask(b"PUT /new", body=b"hello"),
    "PUT of nothing": ask(b"PUT /new"),
    "PUT without a length": b"PUT /new HTTP/1.1\r\n" + OPEN + b"\r\n",
    "PUT, as large as may be": ask(b"PUT /new", body=b"x" * SMALL_BODY),
    "PUT, conditions": ask(b"PUT /a", b"If-None-Match: *\r\n", b"x"),
    "PUT, digests": ask(b"PUT /new", b"Repr-Digest: sha-256=:AAAA:\r\nContent-MD5: x\r\n", b"x"),
    "PUT of a page": ask(b"PUT /new", b"Origin: https://evil.example.com\r\n", b"x"),
    "PUT by curl": ask(b"PUT /new", b"User-Agent: curl/8.0\r\n", b"x"),
    "PUT to nowhere": ask(b"PUT /new/", body=b"x"),
    "PUT with a token that is none": ask(b"PUT /new", b"Authorization: Bearer x\r\n", b"x"),
    "DELETE": ask(b"DELETE /begun"),
    "DELETE of nothing": ask(b"DELETE /none"),
    "POST to a file": ask(b"POST /a", body=b"x"),
    "PATCH of a file": ask(b"PATCH /a", body=b"x"),
    "a list": get(b"/-/api/v1/files?prefix=b"),
    "a file": get(b"/-/api/v1/files/a"),
    "HEAD of a list": ask(b"HEAD /-/api/v1/files"),
    "begin": ask(b"POST /-/api/v1/uploads", body=JSON),
    "begin, no JSON": ask(b"POST /-/api/v1/uploads", body=b"{"),
    "begin, much": ask(b"POST /-/api/v1/uploads", body=JSON + b" " * 100_000),
    "begin, nothing": ask(b"POST /-/api/v1/uploads"),
    "begin, of a page": ask(b"POST /-/api/v1/uploads", b"Sec-Fetch-Site: cross-site\r\n", JSON),
    "change": ask(b"PATCH /-/api/v1/files/a", body=b'{"attributes": {"b": "c"}}'),
}

#: Requests that are handed over, each for a reason of its own.
ODD = {
    "HTTP/1.0": b"GET /a HTTP/1.0\r\n" + OPEN + b"\r\n",
    "HTTP/1.0, no host": b"GET /a HTTP/1.0\r\n\r\n",
    "HTTP/1.0, keep-alive": b"GET /a HTTP/1.0\r\n" + OPEN + b"Connection: keep-alive\r\n\r\n",
    "absolute": get(b"http://open.test/a"),
    "absolute, of another host": get(b"http://private.test/secret", TOKEN),
    "asterisk": ask(b"OPTIONS *"),
    "a fragment": get(b"/a#b"),
    "a fragment, and a large body": ask(b"POST /-/api/v1/uploads#x", body=b"x" * 100_000),
    "close": get(fields=b"Connection: close\r\n"),
    "close in a list": get(fields=b"Connection: x, close\r\n"),
    "Expect": ask(b"POST /-/api/v1/uploads", b"Expect: 100-continue\r\n", JSON),
    "Expect of a PUT": ask(b"PUT /new", b"Expect: 100-continue\r\n", b"x"),
    "Expect of a GET": get(fields=b"Expect: 100-continue\r\n"),
    "chunks": ask(b"GET /a", b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n\r\n",
    "chunks of the API": b"POST /-/api/v1/uploads HTTP/1.1\r\n"
    + OPEN
    + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{   }\r\n0\r\n\r\n",
    "a body of a GET": ask(b"GET /a", body=get(b"/hidden")),
    "a body of a DELETE": ask(b"DELETE /none", body=get(b"/hidden")),
    "too large a body": ask(b"PUT /new", body=b"x" * (SMALL_BODY + 1)),
    "too large a body of the API": ask(b"POST /-/api/v1/uploads", body=b" " * (256 * 1024 + 1)),
    "no host": get(host=b""),
    "an empty host": get(host=b"Host:\r\n"),
    "two hosts": get(host=OPEN + OPEN),
    "a bad host": get(host=b"Host: a b\r\n"),
    "Upgrade": get(fields=b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    "two lengths": ask(b"PUT /new", b"Content-Length: 1\r\n", b"x"),
    "two headers too many": get(fields=b"X: " + b"y" * 17_000 + b"\r\n"),
    "a flood of headers": get(fields=b"X:\r\n" * 600),
    "a line that is too long": get(b"/" + b"x" * 17_000),
    "an empty line before": b"\r\n" + get(),
    "a preflight": ask(b"OPTIONS /a", ORIGIN + b"Access-Control-Request-Method: PUT\r\n"),
    "another method": ask(b"BREW /a"),
    "a bare LF": b"GET /a HTTP/1.1\n" + OPEN + b"\r\n",
    "a folded field": get(fields=b"X: y\r\n z\r\n"),
    "NUL": get(fields=b"X: \x00\r\n"),
    "TLS": b"\x16\x03\x01\x02\x00\x01",
    "half a line": b"GET /a HT",
    "half a head": b"GET /a HTTP/1.1\r\n" + OPEN,
}

#: What is asked of for the connection to be known well: it fills what is kept.
KNOWN = get() + get()

"""
Requests that nobody decent sends, and what is answered to each: data, for any listener that speaks HTTP/1.1.

``%BODY%`` stands for a request line of something that takes a body (see ``lanes``).  ``/hidden`` is only ever
asked for in what is no request: an answer that knows of it was given to one that was smuggled in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

HOST = b"Host: files.example.com\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: files.example.com\r\n\r\n"


class Case(NamedTuple):
    """
    ``data`` is sent; ``said`` are the statuses of a daemon's answers, ``node`` those of a storage node (None:
    not for nodes).  ``lives``: the connection takes another request afterwards.  ``tells`` is in the last
    answer of a daemon.
    """

    name: str
    data: bytes
    said: tuple[int, ...]
    lives: bool
    node: tuple[int, ...] | None
    tells: bytes = b""


CASES: list[Case] = []


def add(
    name: str,
    data: bytes,
    *said: int,
    lives: bool = False,
    node: int | tuple[int, ...] | None = -1,
    tells: bytes = b"",
) -> None:
    theirs = said if node == -1 else (node,) if isinstance(node, int) else node
    CASES.append(Case(name, data, said, lives, theirs, tells))


def get(target: bytes, headers: bytes = HOST, method: bytes = b"GET") -> bytes:
    return b"%s %s HTTP/1.1\r\n%s\r\n" % (method, target, headers)


def body(headers: bytes, data: bytes) -> bytes:
    return b"%BODY%\r\n" + HOST + headers + b"\r\n" + data


# --- targets that are no path: refused, and the connection lives on ---------------------------------------

for name, target in {
    "up": b"/../etc/passwd",
    "up in the middle": b"/a/../../etc/passwd",
    "up at the end": b"/a/..",
    "up, encoded": b"/%2e%2e/etc/passwd",
    "up, half encoded": b"/.%2E/etc/passwd",
    "here": b"/./a",
    "here, encoded": b"/a/%2e/b",
    "slash, encoded": b"/..%2fetc%2fpasswd",
    "slash, encoded in capitals": b"/..%2Fetc",
    "slash, encoded within a name": b"/a%2fb",
    "backslash": b"/..\\etc",
    "backslash, encoded": b"/..%5cetc",
    "backslash, encoded in capitals": b"/a%5Cb",
    "two slashes": b"//etc/passwd",
    "two slashes within": b"/a//b",
    "slash at the end": b"/a/",
    "nothing": b"/",
    "overlong dots": b"/%c0%ae%c0%ae/etc/passwd",
    "overlong dots in mixed case": b"/%C0%Ae%c0%aE/etc",
    "overlong dots, three bytes": b"/%e0%80%ae%e0%80%ae/a",
    "overlong slash": b"/..%c0%af..%c0%afetc",
    "overlong slash, four bytes": b"/a%f0%80%80%afb",
    "overlong NUL": b"/a%c0%80b",
    "surrogate": b"/%ed%a0%80",
    "beyond Unicode": b"/%f4%90%80%80",
    "half a character": b"/%c3",
    "no UTF-8": b"/%ff%fe",
    "NUL, encoded": b"/a%00.jpg",
    "CR LF, encoded": b"/a%0d%0aX-Injected:%20y",
    "LF, encoded": b"/a%0aX-Injected:%20y",
    "CR, encoded": b"/a%0dX-Injected:%20y",
    "escape character": b"/a%1b%5b31m",
    "delete character": b"/a%7f",
    "tab, encoded": b"/a%09b",
    "no escape": b"/a%zz",
    "half an escape": b"/a%2",
    "lone percent": b"/%",
    "percent u": b"/%u002e%u002e/a",
    "escape of an escape, broken": b"/%%32%65/a",
    "segment too long": b"/" + b"x" * 256,
    "path too long": b"/x" * 1500,
    "path of escapes too long": b"/" + b"%78" * 1300,
    "fragment": b"/a#b",
    "asterisk": b"*",
    "authority": b"files.example.com:80",
    "relative": b"a/b",
    "query alone": b"?a=b",
    "absolute, ftp": b"ftp://files.example.com/a",
    "absolute, javascript": b"javascript:alert(1)",
    "absolute, file": b"file:///etc/passwd",
    "absolute, up": b"http://files.example.com/../a",
    "absolute, with a fragment": b"http://files.example.com/a#b",
    "absolute, nothing": b"http://files.example.com",
}.items():
    for method in (b"GET", b"PUT", b"DELETE"):
        length = b"Content-Length: 0\r\n" if method == b"PUT" else b""
        add(f"target: {name} ({method.decode()})", get(target, HOST + length, method), 400, lives=True)

for name, target in {
    "a version's directory": b"/a/@01J9ZQ4Y7H8V5N3K2M1R0TXWCE/b",
    "a version's directory, encoded": b"/a/%4001J9ZQ4Y7H8V5N3K2M1R0TXWCE/b",
    "C1 control": b"/a%c2%85b",
    "reserved, encoded": b"/%2d/api/v1/files",
    "reserved, alone": b"/-",
}.items():
    add(f"target: {name}", get(target), 400, lives=True, node=None)

for name, target, tells in (
    ("twice encoded is a name", b"/%252e%252e/a", b"there is no file %2e%2e/a"),
    ("absolute, https", b"https://files.example.com/a", b"there is no file a"),
    ("absolute, capitals", b"HTTP://FILES.example.com/a", b"there is no file a"),
    ("absolute, port", b"http://files.example.com:8080/a", b"there is no file a"),
    ("absolute, trailing dot", b"http://files.example.com./a", b"there is no file a"),
    ("absolute, other host", b"http://other.example.com/a", b"no domain has the host other.example.com"),
    ("an absolute one within a path", b"/http:/files.example.com/a", b"there is no file http:/files"),
):
    add(f"target: {name}", get(target), 404, lives=True, tells=tells)

for name, target in {
    "absolute, user": b"http://user:pw@files.example.com/a",
    "absolute, no host": b"http:///a",
    "absolute, port of letters": b"http://files.example.com:http/a",
    "absolute, backslash in the host": b"http://files.example.com\\@evil.example.com/a",
    "absolute, half an IPv6": b"http://[::1/a",
}.items():
    add(f"target: {name}", get(target), 400, lives=True, node=None)

# --- lines that are no request: answered once, and the connection ends ------------------------------------

for name, data in {
    "CR LF raw in the target": b"GET /a\r\nX-Injected: y HTTP/1.1\r\n" + HOST + b"\r\n",
    "CR raw in the target": b"GET /a\rb HTTP/1.1\r\n" + HOST + b"\r\n",
    "LF raw in the target": b"GET /a\nb HTTP/1.1\r\n" + HOST + b"\r\n",
    "NUL raw in the target": b"GET /a\x00b HTTP/1.1\r\n" + HOST + b"\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
    "tab in the target": b"GET /a\tb HTTP/1.1\r\n" + HOST + b"\r\n",
    "two spaces": b"GET  /a HTTP/1.1\r\n" + HOST + b"\r\n",
    "tabs for spaces": b"GET\t/a\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "space before": b" GET /a HTTP/1.1\r\n" + HOST + b"\r\n",
    "space behind": b"GET /a HTTP/1.1 \r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /a\r\n",
    "HTTP/1.2": b"GET /a HTTP/1.2\r\n" + HOST + b"\r\n",
    "HTTP/2.0 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET /a HTTP/9.9\r\n" + HOST + b"\r\n",
    "HTTP/1.10": b"GET /a HTTP/1.10\r\n" + HOST + b"\r\n",
    "http in small letters": b"GET /a http/1.1\r\n" + HOST + b"\r\n",
    "no version": b"GET /a HTTP/\r\n" + HOST + b"\r\n",
    "another protocol": b"GET /a ICAP/1.0\r\n" + HOST + b"\r\n",
    "bare LF": b"GET /a HTTP/1.1\nHost: files.example.com\n\n\r\n",
    "bare LF between headers": b"GET /a HTTP/1.1\r\nHost: files.example.com\nX: y\r\n\r\n",
    "bare CR between headers": b"GET /a HTTP/1.1\r\nHost: files.example.com\rX: y\r\n\r\n",
    "two empty lines before": b"\r\n\r\nGET /a HTTP/1.1\r\n" + HOST + b"\r\n",
    "method with a NUL": b"G\x00T /a HTTP/1.1\r\n" + HOST + b"\r\n",
    "method in brackets": b"GET[] /a HTTP/1.1\r\n" + HOST + b"\r\n",
    "no method": b" /a HTTP/1.1\r\n" + HOST + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 300 + b"\r\n",
    "line too long": b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "header too long": get(b"/a", HOST + b"X: " + b"y" * 20_000 + b"\r\n"),
    "headers too long together": get(b"/a", HOST + (b"X: " + b"y" * 1000 + b"\r\n") * 17),
    "header flood": get(b"/a", HOST + b"X:\r\n" * 501),
    "folded header too long": get(b"/a", HOST + b"X: y\r\n" + b" " + b"y" * 1000 + b"\r\n" + b" z\r\n" * 9000),
    "header name with a space": get(b"/a", HOST + b"X Y: z\r\n"),
    "header name with a space behind": get(b"/a", HOST + b"X : z\r\n"),
    "header name with a tab behind": get(b"/a", HOST + b"X\t: z\r\n"),
    "header without a name": get(b"/a", HOST + b": z\r\n"),
    "header without a colon": get(b"/a", HOST + b"X\r\n"),
    "header name with NUL": get(b"/a", HOST + b"X\x00: z\r\n"),
    "header name beyond ASCII": get(b"/a", HOST + b"X\xe9: z\r\n"),
    "header value with NUL": get(b"/a", HOST + b"X: a\x00b\r\n"),
    "first header folded": b"GET /a HTTP/1.1\r\n Host: files.example.com\r\n" + HOST + b"\r\n",
    "length: negative": body(b"Content-Length: -1\r\n", b""),
    "length: signed": body(b"Content-Length: +5\r\n", b"hello"),
    "length: hexadecimal": body(b"Content-Length: 0x5\r\n", b"hello"),
    "length: underscore": body(b"Content-Length: 1_0\r\n", b"hello"),
    "length: fraction": body(b"Content-Length: 5.0\r\n", b"hello"),
    "length: exponent": body(b"Content-Length: 5e0\r\n", b"hello"),
    "length: empty": body(b"Content-Length:\r\n", b"hello"),
    "length: space within": body(b"Content-Length: 1 0\r\n", b"hello"),
    "length: list": body(b"Content-Length: 5, 5\r\n", b"hello"),
    "length: list of two": body(b"Content-Length: 5, 6\r\n", b"hello"),
    "length: digits of another script": body("Content-Length: \u0665\r\n".encode(), b"hello"),
    "length: superscript": body(b"Content-Length: \xb2\r\n", b"hello"),
    "length: twice the same": body(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"),
    "length: two": body(b"Content-Length: 5\r\nContent-Length: 50\r\n", b"hello" + HIDDEN),
    "length: two, zero first": body(b"Content-Length: 0\r\nContent-Length: 5\r\n", b"hello" + HIDDEN),
    "length: 5000 digits": body(b"Content-Length: " + b"9" * 5000 + b"\r\n", b""),
    "length and chunked": body(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "chunked and length": body(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n" + HIDDEN),
    "coding: space behind the name": body(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "coding: xchunked": body(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "coding: chunkedx": body(b"Transfer-Encoding: chunkedx\r\n", b"0\r\n\r\n" + HIDDEN),
    "coding: gzip, chunked": body(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "coding: chunked, identity": body(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n" + HIDDEN),
    "coding: chunked, chunked": body(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "coding: identity": body(b"Transfer-Encoding: identity\r\n", HIDDEN),
    "coding: identity and length": body(b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n", b"hello"),
    "coding: length and identity": body(b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n", b"hello"),
    "coding: chunked, then identity": body(
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n" + HIDDEN
    ),
    "coding: identity, then chunked": body(
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN
    ),
    "coding: chunked twice": body(
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN
    ),
    "coding: empty": body(b"Transfer-Encoding:\r\n", HIDDEN),
    "coding: quoted": body(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n" + HIDDEN),
    "coding: vertical tab": body(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "coding: with a parameter": body(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n" + HIDDEN),
    "coding: folded": body(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "coding: folded into another": body(b"X: y\r\n Transfer-Encoding: chunked\r\n", b""),
    "coding in HTTP/1.0": body(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n").replace(
        b"%BODY%", b"PUT /a HTTP/1.0"
    ),
    "length folded": body(b"Content-Length:\r\n 5\r\n", b"hello"),
    "header folded": get(b"/a", HOST + b"X: y\r\n z\r\n"),
    "header folded with a tab": get(b"/a", HOST + b"X: y\r\n\tz\r\n"),
    "host folded": get(b"/a", b"Host: files.example.com\r\n .evil.example.com\r\n"),
}.items():
    add(name, data, 400)

# --- chunks -----------------------------------------------------------------------------------------------

for name, data in {
    "size: no digits": b"xyz\r\nhello\r\n0\r\n\r\n",
    "size: empty": b"\r\nhello\r\n0\r\n\r\n",
    "size: negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "size: signed": b"+5\r\nhello\r\n0\r\n\r\n",
    "size: 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size: underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "size: space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "size: space behind": b"5 \r\nhello\r\n0\r\n\r\n",
    "size: bare LF": b"5\nhello\r\n0\r\n\r\n" + HIDDEN,
    "size: bare CR": b"5\rhello\r\n0\r\n\r\n" + HIDDEN,
    "size: too small": b"3\r\nhello\r\n0\r\n\r\n" + HIDDEN,
    "size: too large": b"6\r\nhello\r\n0\r\n\r\n" + HIDDEN,
    "size: quoted": b'"5"\r\nhello\r\n0\r\n\r\n',
    "size line too long": b"5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    "size of 2000 digits": b"0" * 1999 + b"5\r\nhello\r\n0\r\n\r\n",
    "extension with LF": b"5;a\n\r\nhello\r\n0\r\n\r\n" + HIDDEN,
    "extension with CR": b"5;a\rb\r\nhello\r\n0\r\n\r\n" + HIDDEN,
    "extension with NUL": b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    "end: bare LF": b"5\r\nhello\n0\r\n\r\n" + HIDDEN,
    "end: nothing": b"5\r\nhello0\r\n\r\n" + HIDDEN,
    "trailers too long": b"0\r\n" + (b"X: " + b"y" * 1000 + b"\r\n") * 70 + b"\r\n",
    "trailer too long": b"0\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
}.items():
    add(f"chunk {name}", body(b"Transfer-Encoding: chunked\r\n", data), 400)

add(
    "chunks",
    body(b"Transfer-Encoding: Chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    400,
    lives=True,
    node=201,
    tells=b"the body is not JSON",
)
add(
    "chunks: tab before the coding",
    body(b"Transfer-Encoding:\tchunked\t\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    400,
    lives=True,
    node=201,
)
add(
    "chunk extension",
    body(b"Transfer-Encoding: chunked\r\n", b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n'),
    400,
    lives=True,
    node=201,
)
add(
    "chunk size with zeros",
    body(b"Transfer-Encoding: chunked\r\n", b"0005\r\nhello\r\n00\r\n\r\n"),
    400,
    lives=True,
    node=201,
)
add(
    "chunk trailers",
    body(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\nContent-Length: 50\r\nHost: evil\r\n\r\n"),
    400,
    lives=True,
    node=201,
)
add("a request within a body", body(b"Content-Length: %d\r\n" % len(HIDDEN), HIDDEN), 400, lives=True, node=201)
add(
    "a request within a chunk",
    body(b"Transfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)),
    400,
    lives=True,
    node=201,
)
add("a request behind Connection: close", get(b"/a", HOST + b"Connection: close\r\n") + HIDDEN, 404)
add("a request behind close in a list", get(b"/a", HOST + b"Connection: x,close\r\n") + HIDDEN, 404)
add(
    "a request behind a second Connection",
    get(b"/a", HOST + b"Connection: x\r\nConnection: Close\r\n") + HIDDEN,
    404,
)
add("a request behind HTTP/1.0", b"GET /a HTTP/1.0\r\n" + HOST + b"\r\n" + HIDDEN, 404)
add("keep-alive in HTTP/1.0", b"GET /a HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n\r\n" + HIDDEN, 404)
add(
    "a body of a GET is no request",
    get(b"/a", HOST + b"Content-Length: %d\r\n" % len(HIDDEN)) + HIDDEN,
    404,
    lives=True,
)
add(
    "a chunked body of a GET is no request",
    get(b"/a", HOST + b"Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n" + HIDDEN,
    404,
)
add("a giant length", body(b"Content-Length: 99999999999999999999\r\n", HIDDEN), 413, node=507)
add("a giant body of a GET", get(b"/a", HOST + b"Content-Length: 99999999999999999999\r\n") + HIDDEN, 404)
add("an upload that is refused early", get(b"/a/", HOST + b"Content-Length: 70000\r\n", b"PUT") + HIDDEN, 400)
add(
    "an upload without a length",
    get(b"/a", HOST + b"Transfer-Encoding: chunked\r\n", b"PUT") + b"0\r\n\r\n" + HIDDEN,
    411,
    node=403,
)
add("Expect of something else", get(b"/a", HOST + b"Expect: 200-ok\r\n"), 404, lives=True)
add("Expect without a body", get(b"/a", HOST + b"Expect: 100-continue\r\n"), 404, lives=True)
add(
    "Upgrade to h2c",
    get(b"/a", HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
    404,
    lives=True,
)
add("one empty line before", b"\r\nGET /a HTTP/1.1\r\n" + HOST + b"\r\n", 404, lives=True)
add("500 headers", get(b"/a", HOST + b"X:\r\n" * 498), 404, lives=True)

# --- methods ----------------------------------------------------------------------------------------------

for method in (
    b"get",
    b"Get",
    b"TRACE",
    b"TRACK",
    b"DEBUG",
    b"BREW",
    b"PROPFIND",
    b"MOVE",
    b"COPY",
    b"MKCOL",
    b"G!T",
):
    add(f"method {method.decode()}", get(b"/a", method=method), 405, lives=True)
add("method CONNECT", get(b"files.example.com:443", method=b"CONNECT"), 400, lives=True, node=405)
add("method OPTIONS *", get(b"*", method=b"OPTIONS"), 400, lives=True, node=405)
add("another method in a header", get(b"/a", HOST + b"X-HTTP-Method-Override: DELETE\r\n"), 404, lives=True)

# --- Host -------------------------------------------------------------------------------------------------

for name, host in {
    "port": b"files.example.com:8080",
    "empty port": b"files.example.com:",
    "capitals": b"FILES.Example.COM",
    "trailing dot": b"files.example.com.",
    "IPv6": b"[2001:db8::1]:80",
    "spaces around": b"  files.example.com\t",
}.items():
    add(f"host: {name}", get(b"/a", b"Host: " + host + b"\r\n"), 404, lives=True, tells=b"there is no file a")

for name, host in {
    "another": b"evil.example.com",
    "empty": b"",
    "an end that is ours": b"evil-files.example.com",
    "a beginning that is ours": b"files.example.com.evil.example.com",
    "very long": b"x" * 9000,
    "two dots": b"files.example.com..",
}.items():
    add(
        f"host: {name}",
        get(b"/a", b"Host: " + host + b"\r\n"),
        404,
        lives=True,
        tells=b"no domain has the host",
    )

for name, host in {
    "user": b"user@files.example.com",
    "user and password": b"a:b@files.example.com",
    "port of letters": b"files.example.com:http",
    "two ports": b"files.example.com:80:80",
    "space within": b"files.example.com evil",
    "a path": b"files.example.com/a",
    "a URL": b"http://files.example.com",
    "a query": b"files.example.com?a",
    "half an IPv6": b"[::1",
    "IPv6 and more": b"[::1]x",
    "list": b"files.example.com, evil.example.com",
    "star": b"*",
    "beyond ASCII": "filés.example.com".encode(),
    "escaped": b"files%2eexample.com",
    "quotes": b'"files.example.com"',
}.items():
    add(f"host: {name}", get(b"/a", b"Host: " + host + b"\r\n"), 400, lives=True)
    add(
        f"host: {name} (PUT)",
        get(b"/a", b"Content-Length: 0\r\nHost: " + host + b"\r\n", b"PUT"),
        400,
        lives=True,
    )

add("host: none", get(b"/a", b""), 400, lives=True)
add("host: twice", get(b"/a", HOST + HOST), 400, lives=True)
add("host: two", get(b"/a", HOST + b"Host: evil.example.com\r\n"), 400, lives=True)
add("host: none in HTTP/1.0", b"GET /a HTTP/1.0\r\n\r\n", 404, tells=b"no domain has the host")
add(
    "host: bad beside an absolute target", get(b"http://files.example.com/a", b"Host: a b\r\n"), 400, lives=True
)
add("host: none beside an absolute target", get(b"http://files.example.com/a", b""), 400, lives=True)
add(
    "host with an underscore for the hyphen",
    get(b"/a", HOST + b"Host_: evil\r\nX_Forwarded_Host: evil\r\n"),
    404,
    lives=True,
)
add("host: bad, of health", get(b"/-/health", b"Host: a b\r\n"), 400, lives=True)

# --- what a PUT announces ---------------------------------------------------------------------------------

for name, header, status in (
    ("copies: none", b"Dragonbelly-Copies: 0", 422),
    ("copies: negative", b"Dragonbelly-Copies: -1", 422),
    ("copies: many", b"Dragonbelly-Copies: 9999", 422),
    ("copies: digits of another script", "Dragonbelly-Copies: \u0662".encode(), 422),
    ("copies: twice", b"Dragonbelly-Copies: 1\r\nDragonbelly-Copies: 2", 422),
    ("copies: 9000 digits", b"Dragonbelly-Copies: " + b"1" * 9000, 422),
    ("policy: none such", b"Dragonbelly-Policy: ../default", 422),
    ("policy: beyond ASCII", b"Dragonbelly-Policy: \xff\xfe", 422),
    ("expires: a word", b"Dragonbelly-Expires: tomorrow", 422),
    ("expires: no zone", b"Dragonbelly-Expires: 2030-01-01T00:00:00", 422),
    ("expires: year 0", b"Dragonbelly-Expires: 0000-01-01T00:00:00Z", 422),
    ("expires: year 1", b"Dragonbelly-Expires: 0001-01-01T00:00:00+14:00", 422),
    ("expires: the last day", b"Dragonbelly-Expires: 9999-12-31T23:59:59-14:00", 422),
    ("expires: passed", b"Dragonbelly-Expires: 2001-01-01T00:00:00Z", 422),
    ("attribute: no name", b"Dragonbelly-Attr-: x", 422),
    ("attribute: bad name", b"Dragonbelly-Attr-_a: x", 422),
    ("attribute: no UTF-8", b"Dragonbelly-Attr-A: \xff", 422),
    ("attribute: control", b"Dragonbelly-Attr-A: a\x1b[31m", 422),
    ("attribute: line separator", "Dragonbelly-Attr-A: a\u2028b".encode(), 422),
    ("attribute: too long", b"Dragonbelly-Attr-A: " + b"x" * 1025, 422),
    ("attributes: too many", b"\r\n".join(b"Dragonbelly-Attr-A%d: x" % n for n in range(33)), 422),
    ("another header of ours", b"Dragonbelly-Admin: yes", 422),
    ("digest: no base64", b"Repr-Digest: sha-256=:!!!:", 422),
    ("digest: too short", b"Repr-Digest: sha-256=:AAAA:", 422),
    ("digest: MD5 of another length", b"Content-MD5: AAAA", 422),
    ("type: no type", b"Content-Type: nonsense", 422),
    ("type: control", b"Content-Type: a/b\x01", 422),
    ("type: too long", b"Content-Type: a/" + b"b" * 300, 422),
    ("coding", b"Content-Encoding: gzip", 400),
    ("range", b"Content-Range: bytes 0-4/10", 400),
    ("condition", b'If-None-Match: "x"', 400),
    ("condition: list", b'If-Match: "a", "b"', 400),
    ("condition: open", b'If-Match: "a', 400),
):
    data = get(b"/announced", HOST + b"Content-Length: 5\r\n" + header + b"\r\n", b"PUT") + b"hello"
    add(f"announced {name}", data, status, lives=True, node=None)

# --- JSON -------------------------------------------------------------------------------------------------

for name, text, status in (
    ("nothing", b"", 422),
    ("no JSON", b"hello", 400),
    ("half", b'{"path": "a"', 400),
    ("more behind", b'{"path": "a"} {"path": "b"}', 400),
    ("a list", b'["path"]', 422),
    ("null", b"null", 422),
    ("a number", b"1", 422),
    ("another type", b'{"path": 1}', 422),
    ("another type within", b'{"path": "a", "attributes": {"a": {}}}', 422),
    ("an unknown field", b'{"path": "a", "admin": true}', 422),
    ("a field of another case", b'{"Path": "a"}', 422),
    ("NaN", b'{"path": "a", "size": NaN}', 400),
    ("infinity", b'{"path": "a", "size": Infinity}', 400),
    ("a fraction", b'{"path": "a", "size": 1.5}', 422),
    ("a giant exponent", b'{"path": "a", "size": 1e999}', 422),
    ("a negative size", b'{"path": "a", "size": -1}', 422),
    ("a giant size", b'{"path": "a", "size": 9223372036854775808}', 413),
    ("a size of 30 digits", b'{"path": "a", "size": ' + b"9" * 30 + b"}", 413),
    ("a size of 5000 digits", b'{"path": "a", "size": ' + b"9" * 5000 + b"}", 422),
    ("a size in quotes", b'{"path": "a", "size": "1"}', 422),
    ("a size of a boolean", b'{"path": "a", "size": true}', 422),
    ("a lone surrogate", b'{"path": "\\ud800"}', 400),
    ("a lone low surrogate", b'{"path": "\\udc00"}', 400),
    ("no UTF-8", b'{"path": "\xff"}', 400),
    ("overlong UTF-8", b'{"path": "\xc0\xae"}', 400),
    ("a raw control character", b'{"path": "a\x01"}', 400),
    ("a raw newline", b'{"path": "a\n"}', 400),
    ("an escaped NUL", b'{"path": "a\\u0000"}', 422),
    ("an escaped newline", b'{"path": "a\\nX-Injected: y"}', 422),
    ("up", b'{"path": "../a"}', 422),
    ("up, escaped", b'{"path": "\\u002e\\u002e/a"}', 422),
    ("up after a slash", b'{"path": "/../a"}', 422),
    ("backslash", b'{"path": "..\\\\a"}', 422),
    ("reserved", b'{"path": "-/api"}', 422),
    ("a path twice, the last one bad", b'{"path": "a", "path": "../a"}', 422),
    ("deep", b'{"path": ' + b"[" * 20_000, 422),
    ("deep in an unknown field", b'{"x": ' + b'{"x":' * 10_000, 422),
    ("deep list", b"[" * 20_000, 422),
    ("BOM", b'\xef\xbb\xbf{"path": "a"}', 400),
    ("UTF-16", '{"path": "a"}'.encode("utf-16"), 400),
    ("UTF-32", '{"path": "a"}'.encode("utf-32-be"), 400),
    ("single quotes", b"{'path': 'a'}", 400),
    ("a comment", b'{"path": "a"} // x', 400),
    ("a comma too much", b'{"path": "a",}', 400),
    ("too large", b'{"path": "' + b"x" * 300_000 + b'"}', 413),
    ("a header in a type", b'{"path": "a", "content_type": "a/b\\r\\nX-Injected: y"}', 422),
    ("a header in a policy", b'{"path": "a", "policy": "x\\r\\nX-Injected: y"}', 422),
    ("a header in an attribute", b'{"path": "a", "attributes": {"a": "x\\r\\nX-Injected: y"}}', 422),
    ("a header in an attribute's name", b'{"path": "a", "attributes": {"a\\r\\nX-Injected": "y"}}', 422),
):
    data = get(b"/-/api/v1/uploads", HOST + b"Content-Length: %d\r\n" % len(text), b"POST") + text
    add(f"JSON: {name}", data, status, lives=len(text) <= 65_536, node=None)

# --- queries ----------------------------------------------------------------------------------------------

for name, query, status in (
    ("unknown", b"x=1", 422),
    ("twice", b"limit=1&limit=2", 422),
    ("negative", b"limit=-1", 422),
    ("digits of another script", b"limit=%D9%A2", 422),
    ("giant", b"limit=99999999999999999999", 422),
    ("no name", b"=1", 422),
    ("no equals", b"limit", 400),
    ("no UTF-8", b"prefix=%ff", 400),
    ("raw bytes", b"prefix=\xa0", 400),
    ("semicolons", b"prefix=a;limit=1", 200),
    ("a header", b"prefix=a%0d%0aX-Injected:%20y", 200),
    ("up", b"prefix=../../", 200),
    ("a NUL", b"prefix=%00&after=%00", 200),
    ("a nonsense after", b"after=%F4%8F%BF%BF", 200),
    ("another domain", b"domain=other", 422),
):
    add(f"query: {name}", get(b"/-/api/v1/files?" + query), status, lives=True, node=None)
add(
    "query of a file",
    get(b"/a?%00%ff%0d%0aX-Injected:%20y&&&==%zz"),
    404,
    lives=True,
    node=400,
    tells=b"there is no file a",
)


def cases(node: bool) -> Iterator[Case]:
    """Those for a daemon, or for a storage node."""
    return (case for case in CASES if not node or case.node is not None)

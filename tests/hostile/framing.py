"""Where a request begins and ends: lines, headers, lengths, codings, chunks."""

from __future__ import annotations

from tests.hostile.case import HIDDEN, HOST, add, body, get

# --- headers over the limit: the same, with their own status ----------------------------------------------

for name, data in {
    "line too long": b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "header too long": get(b"/a", HOST + b"X: " + b"y" * 20_000 + b"\r\n"),
    "headers too long together": get(b"/a", HOST + (b"X: " + b"y" * 1000 + b"\r\n") * 17),
    "header flood": get(b"/a", HOST + b"X:\r\n" * 501),
}.items():
    add(name, data, 431)

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
add("450 headers", get(b"/a", HOST + b"X:\r\n" * 450), 404, lives=True)

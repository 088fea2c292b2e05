"""Targets, methods and hosts."""

from __future__ import annotations

from tests.hostile.case import HOST, add, get

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

"""What is announced, sent as JSON, and asked in queries."""

from __future__ import annotations

from tests.hostile.case import HOST, add, get

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

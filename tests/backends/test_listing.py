import pytest

from dragonbelly.backends.listing import Entry, of_autoindex, of_propfind

AUTOINDEX = rb"""[
{ "name":"a \"b\" \\ c", "type":"directory", "mtime":"Sun, 22 Nov 2026 08:08:39 GMT" },
{ "name":"caf\u00e9", "type":"file", "mtime":"Sun, 22 Nov 2026 08:08:39 GMT", "size":3 },
{ "name":"%41 #?", "type":"file", "mtime":"Sun, 22 Nov 2026 08:08:39 GMT", "size":0 },
{ "name":"socket", "type":"other", "mtime":"Sun, 22 Nov 2026 08:08:39 GMT" }
]"""


def test_autoindex() -> None:
    assert of_autoindex(AUTOINDEX) == [
        Entry('a "b" \\ c', True, 0),
        Entry("café", False, 3),
        Entry("%41 #?", False, 0),
    ]
    assert of_autoindex(b"[\n]\n") == []


def test_autoindex_leaves_out_what_is_no_name() -> None:
    listing = b'[{"name":"\xff","type":"file","size":1},{"name":"ok","type":"file","size":2}]'
    assert of_autoindex(listing) == [Entry("ok", False, 2)]
    for name in ("", ".", "..", "a/b", "..\\u002f..", "a\\u0000", "a\\nb"):
        assert of_autoindex(f'[{{"name":"{name}","type":"directory"}}]'.encode()) == []


@pytest.mark.parametrize(
    "listing",
    [
        b"",
        b"<html>",
        b"{}",
        b"[1]",
        b"[{}]",
        b'[{"name":1}]',
        b'[{"name":"a"',
        b"[" * 200_000,
        b'[{"name":"a","x":' + b"[" * 200_000,
        b'[{"name":"a","x":' + b'{"x":' * 200_000,
        b'[{"name":"a","type":"file","size":-1}]',
        b'[{"name":"a","type":"file","size":true}]',
        b'[{"name":"a","type":"file","size":1e9}]',
        b'[{"name":"a","type":"file","size":9223372036854775808}]',
        b'[{"name":"a","type":"file","size":' + b"9" * 5000 + b"}]",
        b'[{"name":"\\ud800","type":"file","size":1}]',
    ],
)
def test_no_autoindex(listing: bytes) -> None:
    with pytest.raises(ValueError):
        of_autoindex(listing)


def multistatus(*responses: str) -> bytes:
    return f'<?xml version="1.0"?><m:multistatus xmlns:m="DAV:">{"".join(responses)}</m:multistatus>'.encode()


def response(href: str, kind: str = "", size: str = "7") -> str:
    return (
        f"<m:response><m:href>{href}</m:href><m:propstat><m:prop><m:resourcetype>{kind}</m:resourcetype>"
        f"<m:getcontentlength>{size}</m:getcontentlength></m:prop></m:propstat></m:response>"
    )


def test_propfind() -> None:
    listing = multistatus(
        response("/store/a%20b/", "<m:collection/>"),
        response("/store/a%20b/deeper/", "<m:collection/>", ""),
        response("http://host:80/store/a%20b/%25%23%3F%C3%A9", size="0"),
        response("/store/a%20b/c&amp;d"),
        response("/store/a%20b/%FF"),
        response("/store/a%20b/e/f"),
        response("/elsewhere/g"),
        response("/store/a%20b/no-size", size="x"),
    )
    assert of_propfind(listing, "/store/a b/") == [
        Entry("deeper", True, 0),
        Entry("%#?é", False, 0),
        Entry("c&d", False, 7),
    ]


def test_sizes_of_propfind() -> None:
    for size in ("-1", "+1", "1.0", "", "\u0661", "9" * 5000, "9" * 19):
        assert of_propfind(multistatus(response("/a", size=size)), "/") == []


def test_the_first_of_several_counts() -> None:
    twice = (
        "<m:response><m:href>/a</m:href><m:href>/b</m:href><m:propstat><m:prop>"
        "<m:getcontentlength>1</m:getcontentlength></m:prop></m:propstat><m:propstat><m:prop>"
        "<m:getcontentlength>2</m:getcontentlength></m:prop></m:propstat></m:response>"
    )
    other = '<response xmlns="x:"><href>/c</href></response>'
    within = "<m:x>" + response("/d") + "</m:x>"
    assert of_propfind(multistatus(twice, other, within), "/") == [Entry("a", False, 1)]


@pytest.mark.parametrize(
    "listing",
    [
        b"",
        b"<a/>",
        b"<multistatus",
        b'<!DOCTYPE a [<!ENTITY b "c">]><m:multistatus xmlns:m="DAV:"/>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a><m:multistatus xmlns:m="DAV:"/>'.encode("utf-16"),
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><m:multistatus xmlns:m="DAV:"/>',
        multistatus("&b;"),
        multistatus("<a>" * 100, "</a>" * 100),
        multistatus("<!--" + "x" * 10_000_000 + "-->"),
        multistatus("<a " + "".join(f'b{n}=""' for n in range(100_000)) + "/>"),
    ],
)
def test_no_propfind(listing: bytes) -> None:
    with pytest.raises(ValueError):
        of_propfind(listing, "/")

"""
A storage server that lies, floods, drips and loops: each call to it ends in time, in little memory, with an
error that says whose fault it is.  Single HTTP exchanges that go wrong are in ``tests/backends/test_http``.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from dragonbelly.backends.dav import DavBackend, DavOptions
from dragonbelly.backends.node import NodeBackend, NodeOptions
from dragonbelly.bodies import BytesBody, read_small
from dragonbelly.errors import BackendError, BackendRefused, BackendUnavailable
from dragonbelly.model import Space, StoredKey
from dragonbelly.testing import reactor
from dragonbelly.testing.backend import make_key
from tests.servers.raw import Conversation, RawServer

Behaviour = Callable[[Conversation], object]

TIMEOUT = 0.3
OK = b"HTTP/1.1 200 OK\r\n"
KEY = make_key("media/a")
EVIL = b"\r\n2026-01-01T00:00:00+0000 [forged#info] all is well\x1b[31m"


def make(kind: str, url: str) -> Any:
    """``dav``, ``propfind`` (the same with another listing) or ``node``."""
    options: Any
    if kind == "node":
        options = NodeOptions(url=url, secret="hush")
        return NodeBackend(kind, options, reactor.start(), timeout=TIMEOUT, idle_timeout=TIMEOUT)
    options = DavOptions(url=url, listing="propfind" if kind == "propfind" else "autoindex")
    return DavBackend(kind, options, reactor.start(), timeout=TIMEOUT, idle_timeout=TIMEOUT)


@contextmanager
def talking_to(kind: str, behave: Behaviour) -> Iterator[tuple[RawServer, Any]]:
    with RawServer(behave) as raw:
        backend = make(kind, raw.url)
        try:
            yield raw, backend
        finally:
            reactor.run(backend.close)


async def walk(backend: Any, prefix: str = "") -> list[StoredKey]:
    return [stored async for stored in backend.keys(prefix)]


CALLS: dict[str, Callable[[Any], Any]] = {
    "stat": lambda backend: backend.stat(KEY),
    "read": lambda backend: read_small(backend, KEY),
    "write": lambda backend: backend.write(KEY, BytesBody(b"x" * 100_000)),
    "delete": lambda backend: backend.delete(KEY),
    "probe": lambda backend: backend.probe(),
    "keys": walk,
}


def outcome(backend: Any, call: str) -> Any:
    """The error, or what it gave; bounded in time."""
    began = time.monotonic()
    try:
        return reactor.run(lambda: CALLS[call](backend))
    except BackendError as error:
        return error
    finally:
        assert time.monotonic() - began < 15


def answering(answer: bytes) -> Behaviour:
    """The same to every request, however many there are."""

    def behave(conversation: Conversation) -> None:
        conversation.say(answer)
        while conversation.next_request():
            conversation.say(answer)

    return behave


def body(data: bytes, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(data), data)


# --- whatever is asked -------------------------------------------------------------------------------------

#: What no call takes for an answer.
NONSENSE: dict[str, Behaviour] = {
    "nothing": lambda c: None,
    "silence": Conversation.wait,
    "no HTTP": lambda c: c.say(EVIL + b"\r\n\r\n"),
    "a status that is none": answering(b"HTTP/1.1 " + EVIL[2:30] + b"\r\n\r\n"),
    "an endless header": lambda c: (c.say(OK), c.flood(b"X-Flood: " + b"x" * 1000 + b"\r\n")),
    "an endless line": lambda c: (c.say(OK + b"X-Flood: "), c.flood(b"x" * 1000)),
    "an endless reason": lambda c: c.flood(b"HTTP/1.1 200 " + b"x" * 1000),
    "a flood of 1xx": lambda c: c.flood(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    "a flood of 101": lambda c: c.flood(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    "a header that drips": lambda c: c.drip(OK + b"X-Drip: " + b"x" * 1000, 0.05),
    "a redirect to itself": answering(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
    "a redirect of uploads": answering(
        b"HTTP/1.1 307 X\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n"
    ),
    "forbidden": answering(body(EVIL, b"403 " + EVIL[2:])),
    "an error with an endless body": lambda c: (c.say(b"HTTP/1.1 500 X\r\n\r\n"), c.flood(b"x" * 65536)),
}


@pytest.mark.parametrize("kind", ["dav", "propfind", "node"])
@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense(kind: str, name: str) -> None:
    with talking_to(kind, NONSENSE[name]) as (raw, backend):
        for call in CALLS:
            if call == "probe" and kind != "node" and name in ("forbidden", "a redirect to itself"):
                continue  # any status but 5xx says that it is up
            if call == "probe" and kind != "node" and name == "a redirect of uploads":
                continue
            found = outcome(backend, call)
            assert isinstance(found, BackendUnavailable | BackendRefused), (call, found)
            assert_tells_nothing_raw(found)
        if "redirect" in name:
            # One request for each call: none was followed.
            assert len(raw.heads) <= len(CALLS)


def assert_tells_nothing_raw(error: Exception) -> None:
    assert str(error).isprintable(), str(error)
    assert len(str(error)) < 1000


# --- bodies ------------------------------------------------------------------------------------------------

BODIES: dict[str, Behaviour] = {
    "less than announced": lambda c: c.say(OK + b"Content-Length: 9\r\n\r\n[1"),
    "two lengths": answering(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]]"),
    "a negative length": answering(OK + b"Content-Length: -2\r\n\r\n[]"),
    "a length of a word": answering(OK + b"Content-Length: two\r\n\r\n[]"),
    "a length of 30 digits": lambda c: (
        c.say(OK + b"Content-Length: %s\r\n\r\n" % (b"9" * 30)),
        c.flood(b"x" * 65536),
    ),
    "a length of 5000 digits": answering(OK + b"Content-Length: %s\r\n\r\n" % (b"9" * 5000)),
    "a length and chunks": answering(
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
    ),
    "no end": lambda c: (c.say(OK + b"Content-Length: 1000000000000000\r\n\r\n"), c.flood(b"x" * 65536)),
    "no end, no length": lambda c: (c.say(OK + b"\r\n"), c.flood(b"x" * 65536)),
    "no end of chunks": lambda c: (
        c.say(OK + b"Transfer-Encoding: chunked\r\n\r\n"),
        c.flood(b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    ),
    "a chunk of 16 EiB": lambda c: (
        c.say(OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
        c.flood(b"x" * 65536),
    ),
    "a body that drips": lambda c: (c.say(OK + b"Content-Length: 1000\r\n\r\n"), c.drip(b"x" * 1000, 0.05)),
    "a gzip bomb": answering(body(gzip.compress(b"[" * 50_000_000), headers=b"Content-Encoding: gzip\r\n")),
    "a gzip bomb in a transfer coding": answering(
        body(gzip.compress(b"[" * 1_000_000), headers=b"Transfer-Encoding: gzip\r\n")
    ),
}


@pytest.mark.parametrize("kind", ["dav", "propfind", "node"])
@pytest.mark.parametrize("name", BODIES)
def test_bodies(kind: str, name: str) -> None:
    """What is read: objects and listings.  A flood is cut off by its size, one that drips by time."""
    with talking_to(kind, BODIES[name]) as (_, backend):
        for call in ("read", "keys"):
            found = outcome(backend, call)
            assert isinstance(found, BackendUnavailable | BackendRefused), (call, found)
            assert_tells_nothing_raw(found)


@pytest.mark.parametrize("kind", ["dav", "node"])
@pytest.mark.parametrize(
    "length",
    [
        b"Content-Length: -2",
        b"Content-Length: two",
        b"Content-Length: 2\r\nContent-Length: 3",
        b"Content-Length: " + b"9" * 30,
        b"Content-Length: " + b"9" * 5000,
        b"Content-Length: +2",
        "Content-Length: \u0662".encode(),
        b"X: y",
    ],
)
def test_sizes_that_are_none(kind: str, length: bytes) -> None:
    with talking_to(kind, answering(OK + length + b"\r\n\r\n")) as (_, backend):
        assert isinstance(outcome(backend, "stat"), BackendUnavailable)


@pytest.mark.parametrize("kind", ["dav", "node"])
def test_what_comes_behind_an_answer_is_no_answer(kind: str) -> None:
    """A second answer that nobody asked for must not be taken for that to the next question."""
    poison = OK + b"Content-Length: 3\r\n\r\n666"

    def behave(conversation: Conversation) -> None:
        answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        conversation.say(answer + poison)
        while conversation.next_request():
            conversation.say(answer + poison)

    with talking_to(kind, behave) as (_, backend):
        for _ in range(5):
            assert isinstance(outcome(backend, "stat"), BackendError)


@pytest.mark.parametrize("kind", ["dav", "node"])
def test_an_answer_before_the_question(kind: str) -> None:
    """Two in one breath: were the second late, nobody could tell it from the answer to the next question."""

    def behave(conversation: Conversation) -> None:
        answer = OK + b"Content-Length: 0\r\n\r\n"
        conversation.say(answer + OK + b"Content-Length: 666\r\n\r\n")
        conversation.next_request()
        conversation.wait(5)

    with talking_to(kind, behave) as (_, backend):
        outcome(backend, "delete")
        found = outcome(backend, "stat")
        assert not (found == 666 or getattr(found, "size", 0) == 666)


# --- listings ----------------------------------------------------------------------------------------------


def entry(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "type": "file", "size": 1, **more}


NAMES = [
    "..",
    ".",
    "",
    "../x",
    "/etc/passwd",
    "a/../../x",
    "a\nb",
    "a\x00",
    "a\x1b[31m",
    "x" * 1201,
]


def test_names_of_dav() -> None:
    listing = json.dumps([*(entry(name) for name in NAMES), entry("fine")]).encode()
    with talking_to("dav", answering(body(listing))) as (_, backend):
        assert outcome(backend, "keys") == [StoredKey("fine", 1)]


def test_names_of_propfind() -> None:
    hrefs = [
        "/../x",
        "http://evil/x/y",
        "//evil/x",
        "/a%2f..%2fb",
        "/a%00",
        "/a%0ab",
        "/%ff",
        "/fine",
        "mailto:x",
        "/",
    ]
    text = "".join(
        f"<response><href>{href}</href><propstat><prop><getcontentlength>1</getcontentlength></prop></propstat>"
        "</response>"
        for href in hrefs
    )
    listing = f'<multistatus xmlns="DAV:">{text}</multistatus>'.encode()
    with talking_to("propfind", answering(body(listing, b"207 X"))) as (_, backend):
        assert {found.key for found in outcome(backend, "keys")} <= {"fine", "x"}


def test_names_of_a_node() -> None:
    keys = [{"key": name, "size": 1} for name in [*NAMES, "fine"]]
    with talking_to("node", answering(body(json.dumps({"keys": keys}).encode()))) as (_, backend):
        assert outcome(backend, "keys") == [StoredKey("fine", 1)]


@pytest.mark.parametrize("size", ["-1", "9223372036854775808", "1e3", '"1"', "null", "9" * 5000])
def test_sizes_of_a_listing(size: str) -> None:
    for kind, listing in (
        ("node", f'{{"keys":[{{"key":"a","size":{size}}}]}}'),
        ("dav", f'[{{"name":"a","type":"file","size":{size}}}]'),
    ):
        with talking_to(kind, answering(body(listing.encode()))) as (_, backend):
            found = outcome(backend, "keys")
            assert isinstance(found, BackendUnavailable) or found == []


@pytest.mark.parametrize(
    "space", ['{"free":-1}', '{"total":1e300}', '{"total":%s}' % ("9" * 400), "[]", '{"free":"1"}']
)
def test_space_that_there_cannot_be(space: str) -> None:
    with talking_to("node", answering(body(space.encode()))) as (_, backend):
        assert isinstance(outcome(backend, "probe"), BackendUnavailable)
    with talking_to("node", answering(body(b'{"free":1,"total":2}'))) as (_, backend):
        assert outcome(backend, "probe") == Space(1, 2)


@pytest.mark.parametrize("cursor", ["a", "", "a/b", "\x00"])
def test_a_listing_that_goes_round_in_circles(cursor: str) -> None:
    page = json.dumps({"keys": [{"key": "b", "size": 1}], "next": cursor}).encode()
    with talking_to("node", answering(body(page))) as (raw, backend):
        assert isinstance(outcome(backend, "keys"), BackendUnavailable)
        assert len(raw.heads) < 4


@pytest.mark.parametrize("kind", ["dav", "propfind"])
def test_a_directory_that_is_in_itself(kind: str) -> None:
    """It has an end: no key is longer than 1,200 bytes."""

    def behave(conversation: Conversation) -> None:
        while True:
            target = conversation.head.split(b" ")[1].decode()
            if kind == "dav":
                conversation.say(body(json.dumps([{"name": "d" * 100, "type": "directory"}]).encode()))
            else:
                text = (
                    f'<multistatus xmlns="DAV:"><response><href>{target}{"d" * 100}/</href><propstat><prop>'
                    "<resourcetype><collection/></resourcetype></prop></propstat></response></multistatus>"
                )
                conversation.say(body(text.encode(), b"207 X"))
            while conversation.left or not conversation.next_request():
                if not conversation.left:
                    return
                conversation.left = b""  # the body of a PROPFIND

    with talking_to(kind, behave) as (raw, backend):
        assert outcome(backend, "keys") == []
        assert len(raw.heads) <= 13


@pytest.mark.parametrize(
    ("kind", "listing"),
    [
        ("dav", b"[" * 1_000_000),
        ("dav", b'[{"name":"a","x":' + b'{"x":' * 1_000_000),
        ("node", b'{"keys":[],"x":' + b"[" * 1_000_000),
        ("node", b'{"keys":[{"key":"\xff","size":1}]}'),
        ("node", b"\xef\xbb\xbf{}"),
        ("propfind", b'<multistatus xmlns="DAV:">' + b"<a>" * 1_000_000),
        ("propfind", b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><multistatus xmlns="DAV:"/>'),
        (
            "propfind",
            b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><multistatus xmlns="DAV:">&x;',
        ),
        ("propfind", '<!DOCTYPE a [<!ENTITY x "y">]><multistatus xmlns="DAV:"/>'.encode("utf-16")),
    ],
    ids=range(9),
)
def test_bombs(kind: str, listing: bytes) -> None:
    status = b"207 X" if kind == "propfind" else b"200 OK"
    with talking_to(kind, answering(body(listing, status))) as (_, backend):
        found = outcome(backend, "keys")
        assert isinstance(found, BackendUnavailable)
        assert_tells_nothing_raw(found)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))

BOMBS = {
    "lists": """of_autoindex(b'[' + b'[],' * 5_000_000 + b'1]')""",
    "entries": """of_autoindex(b'[' + b'{"name":"a"},' * 1_300_000 + b'{"name":"a"}]')""",
    "files": """of_autoindex(b'[' + b'{"name":"a","type":"file","size":1},' * 450_000 + b'{"name":"a"}]')""",
    "elements": """of_propfind(TOP + b'<a/>' * 4_000_000, '/')""",
    "names": """of_propfind(TOP + b''.join(b'<a%x/>' % n for n in range(700_000)), '/')""",
    "laughs": f"""of_propfind(b'<!DOCTYPE m [<!ENTITY l0 "{"ha" * 50}">{LAUGHS}]><m>&l11;</m>', '/')""",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_memory(bomb: str) -> None:
    """A listing of 16 MiB, a quarter of what is taken, in a process of its own."""
    code = (
        "import resource\n"
        "from dragonbelly.backends.listing import of_autoindex, of_propfind\n"
        """TOP = b'<multistatus xmlns="DAV:">'\n"""
        f"try: {BOMBS[bomb]}\n"
        "except ValueError: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=100, check=True)
    assert int(ran.stdout) < 600 * 1024


# --- the log -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dav", "node"])
def test_nothing_it_says_makes_a_line_of_the_log(kind: str) -> None:
    """Whatever is logged of a backend's error, and by the HTTP client itself, has no line of its own."""
    said: list[str] = []

    def hear(event: Any) -> None:
        said.append(str(event.get("log_format")) + repr(event.get("log_failure")) + str(event.get("error")))

    globalLogPublisher.addObserver(hear)
    try:
        for answer in (
            EVIL,
            OK + b"X: " + EVIL,
            b"HTTP/1.1 " + EVIL,
            OK + b"Content-Length: " + EVIL,
            body(EVIL),
        ):
            with talking_to(kind, answering(answer + b"\r\n\r\n")) as (_, backend):
                for call in CALLS:
                    found = outcome(backend, call)
                    if isinstance(found, BackendError):
                        assert_tells_nothing_raw(found)
    finally:
        globalLogPublisher.removeObserver(hear)
    assert not any(re.search(r"^2026.*forged", text, re.MULTILINE) for text in said)

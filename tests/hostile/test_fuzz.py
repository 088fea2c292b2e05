"""
Bytes at random where others have a say: requests, configurations, records.  ``make fuzz`` tries for longer.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.logger import LogLevel, globalLogPublisher

import dragonbelly
from dragonbelly.config import loads
from dragonbelly.errors import BadPath, BadRecord, ConfigError
from dragonbelly.model import Path
from dragonbelly.names import check_name
from dragonbelly.state import accounts
from tests.hostile.corpus import CASES, HOST
from tests.hostile.lanes import HEADERS
from tests.hostile.records import BROKEN
from tests.state.strategies import records
from tests.web.wire import Connection, answers
from tests.web.world import World


@contextmanager
def no_surprises() -> Iterator[None]:
    """Nothing that nobody expected is logged meanwhile."""
    surprises: list[Any] = []

    def hear(event: Any) -> None:
        if event.get("log_failure") is not None or event.get("log_level") is LogLevel.critical:
            surprises.append(event)

    globalLogPublisher.addObserver(hear)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(hear)
    assert surprises == []


def mutated(data: bytes, draw: st.DrawFn, pieces: list[bytes]) -> bytes:
    """With some bytes taken out, put in, doubled or turned over."""
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        put = draw(st.one_of(st.sampled_from(pieces), st.binary(max_size=4), st.just(data[at:end] * 2)))
        data = data[:at] + put + data[end:]
    return data


# --- requests ----------------------------------------------------------------------------------------------

PIECES = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"\x00",
        b"%",
        b"%00",
        b"%2f",
        b"..",
        b"/",
        b"\\",
        b"\xff",
        b",",
        b";",
    ),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", HOST),
    *(b"Connection: close\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"GET /a HTTP/1.1\r\n", b"PUT", b"http://h/"),
    *(b"/-/api/v1/uploads", b'{"path": "a"}', b"If-Match: *\r\n", b"Dragonbelly-Copies: 2\r\n"),
]
SMALL = [
    case.data.replace(b"%BODY%", b"POST /-/api/v1/uploads HTTP/1.1") for case in CASES if len(case.data) < 2000
]


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """A request or two of the corpus, changed."""
    data = b"".join(draw(st.lists(st.sampled_from(SMALL), min_size=1, max_size=3)))
    return mutated(data, draw, PIECES)


@given(conversations(), st.booleans(), st.integers(1, 200))
def test_requests(data: bytes, admin: bool, cut: int) -> None:
    """Whole or in pieces: the same well-formed answers, none of them an internal error."""
    said = []
    for pieces in ([data], [data[at : at + cut] for at in range(0, len(data), cut)]):
        world = World()
        with no_surprises():
            connection = Connection(world.admin if admin else world.public)
            connection.feed(*pieces)
            connection.leave()
        for member in world.store.memory.records:
            assert check_name(Path.of_member(member).name)
        said.append(connection.said)
        world.close()
    if b"HEAD" in data:
        return  # how long its answer is depends on the question
    for received in said:
        heard = received.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
        try:
            found = answers(heard, ["GET"] * 100, closed=True)
        except h11.RemoteProtocolError as error:
            raise AssertionError(f"{received!r}: {error}") from error
        assert all(one.status != 500 and set(one.headers) <= HEADERS for one in found)
    assert [line for line in said[0].splitlines() if line.startswith(b"HTTP/")] == [
        line for line in said[1].splitlines() if line.startswith(b"HTTP/")
    ]


# --- configuration -----------------------------------------------------------------------------------------

SAMPLE = (FilePath(dragonbelly.__file__).parent.parent / "etc/dragonbelly.toml").read_text()
PLAIN = "\n".join(line.removeprefix("#") for line in SAMPLE.splitlines() if "=" in line or "[" in line)
WORDS = sorted({word for word in PLAIN.replace('"', " ").replace("=", " ").split() if len(word) < 40})

scalars = st.one_of(
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.sampled_from(WORDS),
    st.text(max_size=20),
    st.sampled_from(
        ["1h", "-1h", "1e9h", "999999999999999999d", "1PiB", "9" * 400, "*", "", "tcp:0", "tcp:99999"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)
    ),
    max_leaves=6,
)


def written(value: object) -> str:
    """As TOML."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            safe = string.ascii_letters + string.digits + " .:/*-_"
            return '"' + "".join(c if c in safe else f"\\U{ord(c):08x}" for c in value) + '"'
        case list():
            return f"[{', '.join(map(written, value))}]"
        case dict():
            return "{" + ", ".join(f"{written(k)} = {written(v)}" for k, v in value.items()) + "}"
    return repr(value)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Sections and keys that there are, with values that there are not."""
    sections = [
        "state",
        "http",
        "domain.a",
        "policy.a",
        "backend.a",
        "backend.b",
        "upload",
        "replication",
        "delete",
    ]
    keys = sorted({line.split("=")[0].strip(" #[]") for line in SAMPLE.splitlines() if "=" in line})
    text = ""
    for section in draw(st.lists(st.sampled_from([*sections, "health", "audit"]), unique=True, max_size=4)):
        text += f"[{section}]\n"
        if section.startswith("backend"):
            text += 'url = "http://h"\nkind = "dav"\n' if draw(st.booleans()) else ""
        for key in draw(st.lists(st.sampled_from(keys), unique=True, max_size=4)):
            text += f"{written(key)} = {written(draw(values))}\n"
    return text


@given(documents())
@example('[backend.a]\nkind = "dav"\nurl = "http://[::1"\n')
@example('[backend.a]\nkind = "dav"\nurl = "http://h:99999"\n')
@example('[backend.a]\nkind = "dav"\nurl = "http://' + "x" * 70 + '"\n')
@example("[http]\ncache = " + "9" * 5000)
@example("x = " + "[" * 2_000)
@example("[" + "a." * 2_000 + "b]")
@example("x = 0x" + "f" * 2_000)
@example('[upload]\nlapse = "' + "9" * 5000 + 'h"')
@example('[upload]\nmax_size = "' + "9" * 400 + 'PiB"')
def test_a_configuration_at_random(text: str) -> None:
    try:
        loads(text)
    except ConfigError as error:
        assert str(error)


@given(st.data())
def test_a_configuration_with_mistakes(data: st.DataObject) -> None:
    pieces = [
        b"[",
        b"]",
        b'"',
        b"=",
        b"\n",
        b"{",
        b"}",
        b"#",
        b"[[x]]",
        b"-1",
        b"nan",
        b"\x00",
        b"'''",
        b"1e400",
    ]
    text = mutated(PLAIN.encode(), data.draw, pieces).decode(errors="replace")
    try:
        loads(text)
    except ConfigError as error:
        assert str(error)


# --- records -----------------------------------------------------------------------------------------------

MARKS = [
    bytes([n])
    for n in (0x80, 0x90, 0x93, 0xC0, 0xC1, 0xC4, 0xC6, 0xCB, 0xCF, 0xD3, 0xD9, 0xDB, 0xDC, 0xDD, 0xFF)
]


@st.composite
def stored(draw: st.DrawFn) -> bytes:
    """What may lie in Redis: a record, nearly one, or anything."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=60))
    return mutated(accounts.encode(draw(records)), draw, MARKS)


@given(stored())
def test_a_record_or_none(value: bytes) -> None:
    try:
        record = accounts.decode(Path("media", "a"), value)
    except BadRecord as error:
        assert error.detail.isprintable()
        return
    if record is not None and record.versions:
        assert accounts.decode(Path("media", "a"), accounts.encode(record)) == record


@given(stored())
@example(BROKEN["deep"])
def test_whatever_lies_there_is_answered(value: bytes) -> None:
    """A record that can be read may be strange; nobody stumbles over it, and the path beside is served."""
    world = World()
    try:
        world.put("beside", b"some bytes")
        world.store.memory.records["default/a"] = value
        for method, target in (
            ("GET", "/a"),
            ("GET", "/-/api/v1/files/a"),
            ("GET", "/-/api/v1/explain?path=a"),
            ("GET", "/-/api/v1/files"),
        ):
            said = world.ask(method, target, admin=True)
            assert said.status in (200, 302, 404, 503) or said.json["title"] == "Damaged record", said
        assert world.download("beside") == b"some bytes"
    finally:
        world.close()


# --- names -------------------------------------------------------------------------------------------------


@given(
    st.one_of(
        st.text(max_size=40), st.lists(st.sampled_from(["..", ".", "", "a", "-", "\x7f", "\\"])).map("/".join)
    )
)
def test_a_name_that_passes_cannot_leave_its_place(name: str) -> None:
    try:
        check_name(name)
    except BadPath:
        return
    place = FilePath("/root/of/all")
    assert str((place / name).resolve()).startswith(f"{place}/")


def test_it_would_be_noticed() -> None:
    with pytest.raises(AssertionError), no_surprises():
        world = World()
        world.store.broken = RuntimeError("nobody expects it")
        world.ask("GET", "/a")

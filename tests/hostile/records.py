"""Values of records that no daemon wrote."""

from __future__ import annotations

import msgspec

from tests.builders import vid

_encode = msgspec.msgpack.encode


def _one(**fields: object) -> list[object]:
    """A version with these fields in the place of proper ones."""
    version = {
        "id": vid(1),
        "state": 1,
        "since": 1_700_000_000,
        "size": 10,
        "sha256": None,
        "replicas": [["one", 1, 1_700_000_000, 0, None]],
        "content_type": None,
        "terms": None,
        "upload": None,
        "removals": 0,
    }
    return list((version | fields).values())


def _version(**fields: object) -> bytes:
    """A record of nothing else."""
    return _encode([[_one(**fields)], None, 0])


BROKEN: dict[str, bytes] = {
    "text": b"junk",
    "never a byte": b"\xc1",
    "cut": _version()[:-9],
    "more behind": _version() + b"\x00",
    "a map": _encode({"versions": []}),
    "a state that is none": _version(state=9),
    "a state of a word": _version(state="live"),
    "no utf8": _version(content_type="xyz").replace(b"xyz", b"\xff\xfe\xfd"),
    "a negative size": _version(size=-1),
    "a size of 64 bits": _version(size=2**64 - 1),
    "a time beyond all years": _version(since=2**60),
    "a digest too short": _version(sha256=b"x"),
    "an id that is none": _version(id="../../x"),
    "an id of 26 letters that is none": _version(id="\x00" + vid(1)[1:]),
    "a replica that is none": _version(replicas=[["one"]]),
    "two live ones": _encode([[_one(), _one(id=vid(2))], None, 0]),
    "a version twice": _encode([[_one(), _one(state=2)], None, 0]),
    "an upload that nobody announced": _version(state=0),
    "deep": b"\x94\x90\xc0\x00" + b"\x91" * 100_000 + b"\xc0",
    "a giant list": b"\x93\xdd\xff\xff\xff\xff",
    "giant bytes": b"\x93\x91\x9a\xc6\xff\xff\xff\xff",
}

"""
Storage keys: where a version lies on a backend.

``<domain>/<directory of path>/@<version>/<last segment of path>``; later placements of one version on a
backend it has left are told apart by a generation, ``@<version>.<n>``.  A key is never used twice, the
extension and the file name stay, and path and version can be read back from it.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from dragonbelly.ids import PATTERN
from dragonbelly.model import Path, Replica, Version

_MARK = re.compile(rf"@({PATTERN})(?:\.([1-9][0-9]{{0,5}}))?")

#: The object by which a daemon knows that a backend's storage is really there (an empty mount point answers
#: 404 as politely as a full disk).  Its first segment is no domain's name: domains have no leading dot.
MARKER = ".dragonbelly/backend"


#: Bytes of a key, at most.
KEY_MAX = 1200

#: What most keys are made of; to find that nothing is to be quoted takes ``quote`` twice as long.
_PLAIN = re.compile(r"[A-Za-z0-9_.~/@-]*")

_NO_TEXT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def is_key(text: str) -> bool:
    """Whether a backend could have been given it as a key (``IBackend`` says what one is)."""
    if len(text) > KEY_MAX or _NO_TEXT.search(text) or len(text.encode()) > KEY_MAX:
        return False
    return not {"", ".", ".."} & set(text.split("/"))


def looks_like_mark(segment: str) -> bool:
    """Whether a path's segment could be mistaken for the version directory."""
    return _MARK.fullmatch(segment) is not None


def storage_key(path: Path, version: str, generation: int = 0) -> str:
    directory, slash, last = path.name.rpartition("/")
    mark = f"@{version}.{generation}" if generation else f"@{version}"
    return f"{path.domain}/{directory}{slash}{mark}/{last}"


def quoted(key: str) -> str:
    """The key as the path of a URL, without a leading slash; ``@`` may stand there (RFC 3986, pchar)."""
    return key if _PLAIN.fullmatch(key) else quote(key, safe="/@")


def key_of(path: Path, version: Version, replica: Replica) -> str:
    """The key of one replica."""
    return replica.key or storage_key(path, version.id, replica.generation)


def parse_key(key: str) -> tuple[Path, str, int] | None:
    """Path, version and generation of a key of ours, None for any other."""
    segments = key.split("/")
    if len(segments) < 3:
        return None
    match = _MARK.fullmatch(segments[-2])
    if match is None:
        return None
    name = "/".join([*segments[1:-2], segments[-1]])
    return Path(segments[0], name), match[1], int(match[2] or 0)

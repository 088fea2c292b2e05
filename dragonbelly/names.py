"""What the name of a file may be, decoded: the rules, in one place.  Pure."""

from __future__ import annotations

import re

from dragonbelly.errors import BadPath
from dragonbelly.keys import looks_like_mark

#: Bytes of a decoded path, and of one of its segments (what file systems take for a name).
PATH_MAX, SEGMENT_MAX = 1024, 255

#: Unicode's category Cc.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def check_name(name: str) -> str:
    """The name, which came decoded (from JSON), if it is one of a file.  :raises BadPath: it is not."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise BadPath("the path has lone surrogates") from None
    if len(encoded) > PATH_MAX:
        raise BadPath(f"the path is longer than {PATH_MAX} bytes")
    if _CONTROL.search(name):
        raise BadPath("the path has a control character")
    if "\\" in name:
        raise BadPath("the path has a backslash")
    segments = name.split("/")
    for segment in segments:
        if not segment:
            raise BadPath("the path is empty" if len(segments) == 1 else "the path has an empty segment")
        if segment in (".", ".."):
            raise BadPath("the path has a . or .. segment")
        if len(segment.encode()) > SEGMENT_MAX:
            raise BadPath(f"a segment of the path is longer than {SEGMENT_MAX} bytes")
        if looks_like_mark(segment):
            raise BadPath("a segment of the path looks like a version's directory")
    if segments[0] == "-":
        raise BadPath("paths under /-/ are reserved")
    return name

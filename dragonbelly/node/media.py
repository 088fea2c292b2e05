"""Media types: which ones are kept and given out, and what a file without one is."""

from __future__ import annotations

import mimetypes
import re

_PLAIN = re.compile(r"[!-~]{1,127}/[ -~]{1,127}")
_TABLE = mimetypes.MimeTypes()  # Python's own, without the system's: the same on every node
_ENCODED = {".gz": "application/gzip", ".tgz": "application/gzip"}


def acceptable(text: str | None) -> str | None:
    """The media type, or None for one that is not fit for a header."""
    return text if text is not None and _PLAIN.fullmatch(text) else None


def by_name(name: str) -> str:
    """The media type that the extension stands for."""
    _, dot, last = name.rpartition(".")
    extension = f"{dot}{last}".lower()
    for table in (_ENCODED, _TABLE.types_map[True], _TABLE.types_map[False]):
        if extension in table:
            return table[extension]
    return "application/octet-stream"

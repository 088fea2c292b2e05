"""What fsspec is told of files and directories, and the system's errors for what they are not."""

from __future__ import annotations

import errno
import os
from typing import Any, NoReturn

from dragonbelly.client import Entry

Info = dict[str, Any]


def of_item(item: Entry | str) -> Info:
    """An item of a listing: a file, or what names have in common."""
    return directory(item.rstrip("/")) if isinstance(item, str) else describe(item)


def describe(entry: Entry) -> Info:
    return {
        "name": entry.path,
        "size": entry.size or 0,
        "type": "file",
        "created": entry.created,
        "version": entry.version,
        "sha256": entry.sha256,
        "content_type": entry.content_type,
        "attributes": entry.attributes,
    }


def directory(path: str) -> Info:
    return {"name": path, "size": 0, "type": "directory"}


def missing(path: str) -> NoReturn:
    """:raises FileNotFoundError:"""
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None


def is_directory(path: str) -> NoReturn:
    """:raises IsADirectoryError:"""
    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path) from None

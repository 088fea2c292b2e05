"""
From a raw request target to the name of a file, or a refusal.  The one place where this is decided.

Sources: RFC 9112 section 3.2 (forms of the target), RFC 3986 section 2.1 (percent-encoding).
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

from dragonbelly.errors import BadPath
from dragonbelly.names import PATH_MAX, check_name

#: Everything under this belongs to the service itself.
RESERVED = "/-/"

#: What most files are called: nothing is escaped, and none of the rules can be broken.
_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,254})+")

_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)", re.DOTALL)
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*?)\.?(?::[0-9]*)?")


class Target(NamedTuple):
    """
    A request target taken apart: ``path`` is the raw path from its first slash on, ``query`` what follows the
    first ``?`` (None without one), ``host`` the authority of an absolute form, which overrides the Host header.
    """

    path: bytes
    query: bytes | None
    host: bytes | None

    @property
    def reserved(self) -> bool:
        return self.path.startswith(RESERVED.encode())


def split_target(raw: bytes) -> Target:
    """:raises BadPath: neither an origin form nor an absolute one, or one without a proper host."""
    host = None
    if match := _ABSOLUTE.fullmatch(raw):
        host, raw = match[1], match[2]
        if not host or not is_authority(host):
            raise BadPath("the request target has no host, or one that is none")
        if not raw.startswith(b"/"):
            raw = b"/" + raw
    if not raw.startswith(b"/"):
        raise BadPath("the request target does not begin with a slash")
    if b"#" in raw:
        raise BadPath("the request target has a fragment")
    path, mark, query = raw.partition(b"?")
    return Target(path, query if mark else None, host)


def parse_name(raw: bytes) -> str:
    """
    The name of a file from a raw path with its first slash, decoded once.

    :raises BadPath: it is no name of a file; says which rule it breaks.
    """
    if len(raw) <= PATH_MAX and _PLAIN.fullmatch(raw):
        return raw[1:].decode()
    if len(raw) > 3 * PATH_MAX + 1:
        raise BadPath(f"the path is longer than {PATH_MAX} bytes")
    if not raw.startswith(b"/"):
        raise BadPath("the path does not begin with a slash")
    return check_name(decode(raw[1:]))


def decode(raw: bytes) -> str:
    """A raw path decoded once, as it is.  :raises BadPath: a broken escape, an encoded slash, not UTF-8."""
    if b"%" not in raw and raw.isascii():
        return raw.decode()
    if any(match[1] is None for match in _ESCAPE.finditer(raw)):
        raise BadPath("the path has a percent sign that is no escape")
    if b"%2f" in raw.lower():
        raise BadPath("the path has an encoded slash")
    decoded = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), raw)
    try:
        return decoded.decode()
    except UnicodeDecodeError:
        raise BadPath("the path is not UTF-8") from None


def quote_name(name: str) -> str:
    """A name as it stands in a URL, encoded by us."""
    return quote(name, safe="/")


def is_authority(text: bytes) -> bool:
    """Whether it is a host, with a port or without, or nothing at all."""
    return not text or host_name(text) != ""


def host_name(authority: bytes) -> str:
    """
    The host of an authority or Host header, without port, in lower case and without a trailing dot; empty when
    there is none.
    """
    match = _AUTHORITY.fullmatch(authority)
    return match[1].decode().lower() if match else ""

"""
What pages of other origins may do with our answers (the Fetch standard, "CORS protocol"): a pure rule, for the
daemon's public listener and for the node.

Only ``fetch`` and its like ask; pictures, links and downloads need none of it.  Credentials are never allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Headers = tuple[tuple[str, str], ...]

#: What an origin looks like; for messages.
EXPECTED = 'an origin such as "https://app.example.com" or "http://localhost:8000" (no path), or "*" for any'

#: Seconds that a browser may remember a preflight; Chromium takes two hours at most.
MAX_AGE = 7200

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def parse_origin(text: str) -> str:
    """
    An origin as browsers write it: in lower case, without the scheme's own port; or ``*``.

    :raises ValueError: it is none; the message says what was expected.
    """
    if text == "*":
        return text
    match = _ORIGIN.fullmatch(text.lower())
    if match is None or (match[3] is not None and not 0 < int(match[3]) < 65536):
        raise ValueError(EXPECTED)
    scheme, host, port = match.groups()
    return f"{scheme}://{host}" if port in (None, _DEFAULT_PORTS.get(scheme)) else f"{scheme}://{host}:{port}"


class Sharing(NamedTuple):
    """
    What may be asked by pages of other origins, and seen: ``methods``, request ``headers`` (in lower case, and
    those that start with one of ``prefixes``), and ``exposed`` headers of answers.
    """

    methods: tuple[str, ...]
    headers: tuple[str, ...]
    exposed: tuple[str, ...]
    prefixes: tuple[str, ...] = ()


class Cors:
    """``origins`` as ``parse_origin`` gives them; none: no answer is any different."""

    def __init__(self, origins: Iterable[str], sharing: Sharing) -> None:
        self._origins = frozenset(origins)
        self._sharing = sharing
        self._any = "*" in self._origins

    def preflight(self, method: str, headers: Mapping[str, str]) -> Headers | None:
        """
        What the 204 to a browser that asks whether it may carries, besides ``headers``; None when that is not
        the question, or the origin is not ours.  ``headers`` are the request's, by lower-case name.
        """
        asks = method == "OPTIONS" and "access-control-request-method" in headers
        if not asks or self._allowed(headers.get("origin")) is None:
            return None
        known = [*self._sharing.headers]
        for name in headers.get("access-control-request-headers", "")[:4096].lower().split(","):
            if self._is_prefixed(name.strip()):
                known.append(name.strip())
        return (
            ("Access-Control-Allow-Methods", ", ".join(self._sharing.methods)),
            ("Access-Control-Allow-Headers", ", ".join(known)),
            ("Access-Control-Max-Age", str(MAX_AGE)),
        )

    def headers(self, origin: str | None) -> Headers:
        """What every answer carries, whatever its status; ``origin`` is the request's."""
        if not self._origins:
            return ()
        allowed = self._allowed(origin)
        vary = () if self._any else (("Vary", "Origin"),)
        if allowed is None:
            return vary
        return (
            ("Access-Control-Allow-Origin", allowed),
            ("Access-Control-Expose-Headers", ", ".join(self._sharing.exposed)),
            *vary,
        )

    def _allowed(self, origin: str | None) -> str | None:
        if self._any:
            return "*"
        return origin if origin in self._origins else None

    def _is_prefixed(self, name: str) -> bool:
        # What comes from a client goes back only if it is a header's name, and nothing else.
        return name.startswith(self._sharing.prefixes) and re.fullmatch(r"[a-z0-9._-]{1,100}", name) is not None

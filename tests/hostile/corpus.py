"""
Requests that nobody decent sends, and what is answered to each: data, for any listener that speaks HTTP/1.1.

``%BODY%`` stands for a request line of something that takes a body (see ``lanes``).  ``/hidden`` is only ever
asked for in what is no request: an answer that knows of it was given to one that was smuggled in.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile import contents, framing, targets
from tests.hostile.case import CASES, HOST, Case

__all__ = ["CASES", "HOST", "Case", "cases", "contents", "framing", "targets"]


def cases(lane: str) -> Iterator[Case]:
    """Those for the lane ``node``, for ``admin``, which takes no names of others, or for any other."""
    for case in CASES:
        if lane == "node" and case.node is None:
            continue
        if lane == "admin" and case.name.startswith(("host", "target: abs", "target: an abs")):
            continue
        yield case

"""A page of a listing, with what lies deeper folded into prefixes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from dragonbelly.names import SEGMENT_MAX

#: Questions to the store for one page, and names in one answer: a folder of many files costs one question more.
QUESTIONS, BATCH = 200, 1000

#: Sorts behind all that can follow a folder's slash: no segment has room for so many of the last character.
_BEHIND = "\U0010ffff" * (SEGMENT_MAX // 4 + 1)


class Page(msgspec.Struct, frozen=True):
    """``next`` is what to give as ``after`` for the next page, None at the end."""

    names: list[str]
    prefixes: list[str]
    next: str | None


async def list_files(
    page: Callable[[str, int], Awaitable[list[str]]], prefix: str, delimiter: str, after: str, limit: int
) -> Page:
    """
    Up to ``limit`` names and prefixes together; ``page(after, n)`` gives the next names.  After a folded prefix
    the search goes on behind all names that begin with it.
    """
    names: list[str] = []
    prefixes: list[str] = []
    for _ in range(QUESTIONS):
        # One more than wanted tells whether there is a next page.
        asked = min(limit - len(names) - len(prefixes) + 1, BATCH)
        found = await page(after, asked)
        folder = None
        for name in found:
            if folder is not None and name.startswith(folder):
                continue
            if len(names) + len(prefixes) == limit:
                return Page(names, prefixes, after)
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            if cut < 0:
                names.append(name)
                after = name
            else:
                folder = name[: cut + 1]
                prefixes.append(folder)
                after = folder + _BEHIND
        if len(found) < asked:
            return Page(names, prefixes, None)
    return Page(names, prefixes, after)

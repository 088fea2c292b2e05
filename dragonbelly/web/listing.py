"""A page of a listing, with what lies deeper folded into prefixes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

#: Questions to the store for one page: every prefix folded costs one.
QUESTIONS = 200


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
        wanted = limit - len(names) - len(prefixes)
        # One more than wanted tells whether there is a next page.
        found = await page(after, wanted + 1)
        jumped = False
        for name in found:
            if len(names) + len(prefixes) == limit:
                return Page(names, prefixes, after)
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            if cut < 0:
                names.append(name)
                after = name
                continue
            folded = name[: cut + 1]
            prefixes.append(folded)
            # The last string there is with this prefix, for names are UTF-8 and compared by bytes.
            after = folded + "\U0010ffff" * 4
            jumped = True
            break
        if not jumped and len(found) <= wanted:
            return Page(names, prefixes, None)
    return Page(names, prefixes, after)

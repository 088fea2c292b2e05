"""GET as a decent client does it: where it is sent, with one retry (the rule is in ``outages``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import quote

from tests.chaos.calling import NoAnswer, call


class Got(NamedTuple):
    """
    ``body`` is None when there is no such file.  ``daemons`` are those whose word was taken.
    """

    body: bytes | None
    daemons: tuple[str, ...]
    retried: bool


class Failed(Exception):
    """Both tries failed; ``causes`` say how, ``tried`` are the URLs of copies that were tried."""

    def __init__(self, causes: list[str], tried: list[str]) -> None:
        super().__init__(", then ".join(causes))
        self.causes = causes
        self.tried = tried


def get(
    urls: Sequence[tuple[str, str]],
    path: str,
    pause: float = 0.0,
    on_gone: Callable[[str, str, float, str], None] = lambda daemon, path, asked, place: None,
) -> Got:
    """
    The file, from the daemons in this order: names and URLs.  ``pause`` is how many seconds after the redirect
    it is followed.  ``on_gone`` hears of each redirect to what is not there: by whom, and when that was asked.

    :raises Failed: both tries failed.
    """
    causes: list[str] = []
    asked: list[str] = []
    left = list(urls)
    places: list[str] = []
    tried: list[str] = []
    since = 0.0
    for _ in range(2):
        if not places:
            since = time.monotonic()
            try:
                places = _ask(left, path, asked, causes)
            except FileNotFoundError:
                return Got(None, tuple(asked[-1:]), bool(causes))
            if not places:
                continue
            time.sleep(pause)
        place = places.pop(0)
        tried.append(place)
        try:
            reply = call("GET", place)
        except NoAnswer as error:
            causes.append(f"store: {error.cause}")
            continue
        if reply.status == 200:
            return Got(reply.body, tuple(asked[-1:]), bool(causes))
        # It answers, and has it not: its copies are no better, another daemon may know more.
        causes.append(f"store: {reply.status}")
        if reply.status == 404:
            on_gone(asked[-1], path, since, place)
        places = []
    raise Failed(causes, tried)


def _ask(left: list[tuple[str, str]], path: str, asked: list[str], causes: list[str]) -> list[str]:
    """
    Where the next daemon says that the file is, best first; nothing when it fails.

    :raises FileNotFoundError: it says that there is none.
    """
    while left:
        name, url = left.pop(0)
        try:
            reply = call("GET", f"{url}/{quote(path)}")
        except NoAnswer as error:
            if error.cause == "refused":
                continue
            causes.append(f"daemon: {error.cause}")
            return []
        asked.append(name)
        if reply.status == 302:
            return [reply.headers["Location"], *reply.duplicates]
        if reply.status == 404:
            raise FileNotFoundError
        causes.append(f"daemon: {reply.status}")
        return []
    causes.append("no daemon: all refuse")
    return []

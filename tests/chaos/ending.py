"""
When all is healed: within a bounded time nothing is left to do, and then every byte is looked at.

Every path that was ever used is read through every daemon and from every copy that the API claims; contents are
compared byte for byte, and what a path may be follows from its history.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit

from tests.chaos.calling import NoAnswer, call
from tests.chaos.clients import Clients
from tests.chaos.contents import origin
from tests.chaos.history import LOST, WRONG_BYTES
from tests.chaos.reading import Failed, get

#: Seconds for which everything may take to come to rest after the last fault.
BOUND = 100.0


@dataclass
class Ending:
    """``settled`` is after how many seconds all was at rest, None if it never was; ``left`` what was left."""

    settled: float | None = None
    left: str = ""
    files: int = 0
    replicas: int = 0
    bytes: int = 0
    orphans: list[str] = field(default_factory=list)
    #: Temporary files of nginx processes that were killed: no objects, and nginx' own to clear.
    parts: int = 0


def end(clients: Clients, bound: float = BOUND) -> Ending:
    """Wait, then look.  What is wrong is reported to ``clients``."""
    ending = Ending()
    began = time.monotonic()
    books: dict[str, set[str]] = {}
    said = ""
    while time.monotonic() < began + bound:
        try:
            ending.left = _left(clients)
            if not ending.left:
                books = _books(clients)
                ending.left = _difference(books, clients.site.disk())
        except OSError as error:
            ending.left = repr(error)
        now = time.monotonic() - began
        if ending.left != said:
            said = ending.left
            clients.journal.write("left", after=round(now, 1), what=said)
        if not ending.left:
            ending.settled = now
            break
        time.sleep(0.2)
    else:
        clients.report("not settled", "", f"within {bound:g} s: {ending.left}")
        books = _books(clients)
    _read_everything(clients, ending)
    disk = clients.site.disk()
    ending.orphans = sorted(
        f"{store}: {key}" for store in disk for key in disk[store] - books.get(store, set())
    )
    for orphan in ending.orphans:
        clients.report("orphan", _path_of(orphan), f"no record knows of {orphan}")
    ending.parts = sum(len(list(store.uploads.iterdir())) for store in clients.site.stores.values())
    return ending


def _left(clients: Clients) -> str:
    """What the daemons say that is left to do."""
    for name, status in clients.site.statuses().items():
        thin, queue = status["thin"]["files"], status["queue"]["depth"]
        if thin or queue:
            return f"{name} counts {thin} thin files and {queue} in the queue"
    return ""


def _files(clients: Clients) -> list[Any]:
    daemon = next(iter(clients.site.daemons.values()))
    page = daemon.get_json("/-/api/v1/files?limit=10000")
    return [file for listed in page["files"] if (file := daemon.file(quote(listed["path"]))) is not None]


def _books(clients: Clients) -> dict[str, set[str]]:
    """The objects that the records tell of: the copies of all files, as the API claims them."""
    books: dict[str, set[str]] = {name: set() for name in clients.site.stores}
    for file in _files(clients):
        for replica in file["replicas"]:
            if replica["url"] is not None:
                books[replica["backend"]].add(_key(replica["url"]))
    return books


def _key(url: str) -> str:
    return unquote(urlsplit(url).path).removeprefix("/")


def _path_of(orphan: str) -> str:
    key = orphan.partition(": ")[2].split("/")
    return "/".join([*key[1:-2], key[-1]])


def _difference(books: dict[str, set[str]], disk: dict[str, set[str]]) -> str:
    missing = {name: sorted(books[name] - disk[name]) for name in books if books[name] - disk[name]}
    extra = {name: sorted(disk[name] - books[name]) for name in books if disk[name] - books[name]}
    return f"recorded and not there: {missing}, there and not recorded: {extra}" if missing or extra else ""


def _read_everything(clients: Clients, ending: Ending) -> None:
    for path in clients.history.paths:
        for name, daemon in clients.site.daemons.items():
            began = time.monotonic()
            try:
                got = get([(name, daemon.url)], path)
            except Failed as error:
                clients.report(LOST, path, f"in the end by {name}: {error}")
                continue
            ended = time.monotonic()
            if fault := clients.judge(path, got.body, began, ended, ()):
                clients.report(fault.kind, path, f"in the end by {name}: {fault.what}")
        _read_replicas(clients, path, ending)


def _read_replicas(clients: Clients, path: str, ending: Ending) -> None:
    daemon = next(iter(clients.site.daemons.values()))
    try:
        file = daemon.file(quote(path))
    except HTTPError as error:
        clients.report(LOST, path, f"in the end the API says {error}")
        return
    if file is None:
        return
    ending.files += 1
    owed, held = file["copies"]["owed"], file["copies"]["held"]
    good = [replica for replica in file["replicas"] if replica["state"] == "good"]
    if held < owed or len(good) != held or len({r["host"] for r in good}) < owed:
        clients.report("too few copies", path, json.dumps(file))
    for replica in good:
        ending.replicas += 1
        where = f"the copy on {replica['backend']}"
        try:
            reply = call("GET", replica["url"])
        except NoAnswer as error:
            clients.report(LOST, path, f"{where}: {error}")
            continue
        if reply.status != 200:
            clients.report(LOST, path, f"{where}: {reply.status}")
            continue
        ending.bytes += len(reply.body)
        found = origin(reply.body)
        if found is None or found[0] != path:
            clients.report(WRONG_BYTES, path, f"{where}: {len(reply.body)} bytes of no upload of it")
            continue
        upload = clients.history.find(path, found[1])
        if upload is None or upload.version != file["version"]:
            clients.report(WRONG_BYTES, path, f"{where} is of {found[1]}, which is not {file['version']}")

"""Redis, nginx stores and a daemon in front of them, as an operator has them; all of them real."""

from __future__ import annotations

import hashlib
import json
import re
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

import psutil

from dragonbelly.keys import MARKER
from tests.integration.asking import Reply, ask, eventually, follow
from tests.servers.daemon import Daemon
from tests.servers.nginx import NginxServer
from tests.servers.redis import RedisServer

T = TypeVar("T")

#: Where objects lie: keys by store.
Objects = dict[str, set[str]]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def private_stores() -> dict[str, NginxServer]:
    """Such as a private domain takes: they ask readers for signed links, too."""
    return {name: NginxServer(private=True) for name in ("one", "two", "three")}


class Site:
    """
    ``extra`` are further lines of the daemon's configuration, ``http`` of its section ``[http]``.  Tests that
    share a site use paths of their own.
    """

    def __init__(
        self,
        extra: str = "",
        *,
        stores: dict[str, NginxServer] | None = None,
        redis: RedisServer | None = None,
        http: str = "",
    ) -> None:
        self.redis = redis or RedisServer()
        self.stores = stores or {name: NginxServer() for name in ("one", "two", "three")}
        self.extra = extra
        self.http = http
        self.daemon = self.another()
        self._open = ExitStack()

    def another(self) -> Daemon:
        """One more daemon of this site, not started; whoever wants it closes it."""
        return Daemon(self.redis.url, self.stores, self.extra, http=self.http)

    def __enter__(self) -> Site:
        with ExitStack() as opened:
            parts: list[RedisServer | NginxServer | Daemon] = [self.redis, *self.stores.values(), self.daemon]
            for part in parts:
                opened.callback(part.close)
                part.start()
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    # --- as a client

    def url(self, path: str) -> str:
        return f"{self.daemon.url}/{quote(path)}"

    def begin(self, path: str, data: bytes, **headers: str) -> Reply:
        """The answer to a PUT; the body is not sent."""
        announced = {"Content-Length": str(len(data)), "Expect": "100-continue"}
        announced |= {name.replace("_", "-"): value for name, value in headers.items()}
        return ask("PUT", self.url(path), b"", announced)

    def put(self, path: str, data: bytes, **headers: str) -> str:
        """PUT, and PUT where that points to; the version's id."""
        begun = self.begin(path, data, **headers)
        assert begun.status in (302, 307), begun
        stored = ask("PUT", begun.headers["Location"], data)
        assert stored.status == 201, stored
        return begun.headers["Dragonbelly-Upload"]

    def get(self, path: str) -> bytes:
        answer = follow(self.url(path))
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.body[:500]!r}"
        return answer.body

    def complete(self, path: str, upload: str, **more: object) -> Reply:
        """What the API says of an upload."""
        return ask(
            "POST",
            f"{self.daemon.url}/-/api/v1/uploads/{upload}/complete",
            json.dumps({"path": path, **more}).encode(),
        )

    def file(self, path: str) -> Any:
        """The file's JSON; None when there is none."""
        return self.daemon.file(quote(path))

    # --- as an operator

    def store_of(self, url: str) -> str:
        """Which store a URL points to."""
        return next(name for name, store in self.stores.items() if urlsplit(url).port == store.port)

    def eventually(self, what: str, check: Callable[[], T], within: float = 20, path: str | None = None) -> T:
        """As the function; when it fails the daemon's log and the file's JSON are shown."""
        return eventually(what, check, within, lambda: self.evidence(path))

    def evidence(self, path: str | None) -> str:
        parts = []
        for name, look in {
            "file": lambda: self.file(path) if path is not None else None,
            "status": self.daemon.status,
            "disk": self.disk,
        }.items():
            try:
                parts.append(f"{name}: {json.dumps(look(), default=sorted)[:6000]}")
            except (OSError, ValueError) as error:
                parts.append(f"{name}: {error!r}")
        return "\n".join([*parts, f"log: …{self.daemon.log()[-6000:]}"])

    def copied(self, path: str, copies: int = 2, within: float = 20) -> Any:
        """The file's JSON once it has so many good copies, and nothing else."""

        def look() -> Any:
            file = self.file(path)
            assert file is not None
            good = [replica for replica in file["replicas"] if replica["state"] == "good"]
            return file if len(good) == len(file["replicas"]) == copies else None

        return self.eventually(f"{copies} copies of {path}", look, within, path)

    @property
    def config(self) -> Path:
        return self.daemon.directory / "dragonbelly.toml"

    def change(self, old: str, new: str) -> None:
        """Write something else in the configuration, which has it once."""
        text = self.config.read_text()
        assert text.count(old) == 1, f"{old!r} in {text}"
        self.config.write_text(text.replace(old, new))

    def hang_up(self, words: str = "was read again and is in force") -> str:
        """SIGHUP; the line of the log that says what came of it."""
        said = self.daemon.log().count(words)
        self.daemon.psutil().send_signal(signal.SIGHUP)
        self.eventually(f"the log says: {words}", lambda: self.daemon.log().count(words) > said, 60)
        return [line for line in self.daemon.log().splitlines() if words in line][-1]

    def metric(self, name: str) -> float:
        """The sum of all samples that begin like this; 0.0 if there are none."""
        text = ask("GET", f"{self.daemon.admin}/-/metrics").body.decode()
        found = re.findall(rf"^dragonbelly_{re.escape(name)}[^ ]* (\S+)$", text, re.MULTILINE)
        return sum(map(float, found))

    def workers(self) -> list[psutil.Process]:
        return self.daemon.psutil().children()

    def files(self) -> list[Any]:
        """The JSON of every file there is."""
        page = self.daemon.get_json("/-/api/v1/files?limit=10000")
        assert page["next"] is None
        return [file for listed in page["files"] if (file := self.file(listed["path"])) is not None]

    def books(self) -> Objects:
        """Which objects there are by the records: the good replicas of all files."""
        objects: Objects = {name: set() for name in self.stores}
        for file in self.files():
            for replica in file["replicas"]:
                assert replica["state"] == "good", file
                objects[replica["backend"]].add(unquote(urlsplit(replica["url"]).path).removeprefix("/"))
        return objects

    def disk(self) -> Objects:
        """Which objects there are on the stores' disks, but for the markers."""
        return {name: set(_files(store.root)) - {MARKER} for name, store in self.stores.items()}

    def settled(self, within: float = 30) -> list[Any]:
        """
        Wait until nothing is left to do, and the records, the counters of use and the disks tell the same:
        every object is a good copy of a live file, with its digest.  All files.
        """

        def look() -> list[Any]:
            status = self.daemon.status()
            assert status["thin"]["files"] == 0, status
            assert status["queue"]["depth"] == 0, status
            disk = self.disk()
            books = self.books()
            assert books == disk, f"recorded and not there: {_less(books, disk)}, extra: {_less(disk, books)}"
            for backend in status["backends"]:
                name = backend["name"]
                sizes = [(self.stores[name].root / key).stat().st_size for key in disk[name]]
                assert (backend["objects"], backend["bytes"]) == (len(sizes), sum(sizes)), backend
            for name, store in self.stores.items():
                assert not list(store.uploads.iterdir()), f"parts of uploads are left on {name}"
            return [True]

        self.eventually("the site is settled", look, within)
        files = self.files()
        for file in files:
            for replica in file["replicas"]:
                key = unquote(urlsplit(replica["url"]).path).removeprefix("/")
                data = (self.stores[replica["backend"]].root / key).read_bytes()
                # A single copy has no digest yet if its client announced none.
                assert file["sha256"] in (sha256(data), None if len(file["replicas"]) == 1 else ""), file
        return files


def _files(root: Path) -> list[str]:
    return [str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()]


def _less(one: Objects, other: Objects) -> Objects:
    return {name: more for name in one if (more := one[name] - other[name])}

"""Three daemons, one Redis, four nginx stores and a network between them that can be broken; all real."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any

from dragonbelly.keys import MARKER
from dragonbelly.model import Path as FilePath
from dragonbelly.model import Record, ReplicaState
from dragonbelly.state.accounts import decode
from dragonbelly.state.keys import Keys
from tests.chaos.filesystem import SmallFileSystem
from tests.chaos.schedule import DAEMONS, GRACE, LAPSE, LEASE, SMALL, STALE, STORES, link
from tests.servers.daemon import Daemon
from tests.servers.nginx import NginxServer
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer

#: Room of the store that can be filled.
MEBIBYTES = 12

#: Two of the stores want signed links for reading, too; two know the daemons by a credential alone.
PRIVATE = ("one", "two")
CREDENTIALS = {name: f"credential-of-the-daemons-for-{name}" for name in ("two", "three")}

_SECTIONS = f"""
[state]
redis = "redis://127.0.0.1:{{redis}}/0"
reply_timeout = "500ms"
stale = "{STALE}s"
[upload]
lapse = "{LAPSE}s"
min_rate = "64MiB"
[replication]
every = "200ms"
patience = "2s"
lease = "{LEASE:g}s"
[delete]
grace = "{GRACE}s"
[audit]
every = "5s"
read_every = "15s"
"""

_BACKEND = """\
[backend.{name}]
kind = "dav"
internal_url = "http://127.0.0.1:{port}"
"""


class ChaosSite:
    """
    ``appendfsync`` is Redis' setting.  With ``always`` no answer is given before the write is on disk.  With
    ``everysec`` a killed Redis mostly loses nothing either, since the kernel keeps what was written; but while
    an fsync of the second before is under way, Redis puts the write itself off, for up to 2 s, and answers all
    the same (``flushAppendOnlyFile`` in its aof.c): what is acknowledged then dies with the process.  So the
    promise that nothing acknowledged is lost can be asked of ``always`` only, which is what is used unless told
    otherwise.

    ``package`` is a directory with another copy of the product for the daemons to run.
    """

    def __init__(self, appendfsync: str = "always", package: Path | None = None) -> None:
        self._opened = ExitStack()
        with ExitStack() as made:
            self.redis = made.enter_context(
                closing(RedisServer("appendonly yes", f"appendfsync {appendfsync}", port=True))
            )
            self.small: SmallFileSystem | None = None
            self.why_not_small = ""
            try:
                self.small = SmallFileSystem(MEBIBYTES)
                made.callback(self.small.close)
            except OSError as error:
                self.why_not_small = str(error)
            self.stores: dict[str, NginxServer] = {}
            for name in STORES:
                data = self.small.root if self.small is not None and name == SMALL else None
                credential = CREDENTIALS.get(name)
                store = NginxServer(
                    private=name in PRIVATE, credential=credential, daemon=credential is None, data=data
                )
                self.stores[name] = made.enter_context(closing(store))
            self.links: dict[str, Proxy] = {}
            self.daemons: dict[str, Daemon] = {}
            environment = None if package is None else {**os.environ, "PYTHONPATH": str(package)}
            for name in DAEMONS:
                extra = self._link(name)
                daemon = Daemon(self.redis.url, self.stores, extra, environment=environment)
                self.daemons[name] = made.enter_context(closing(daemon))
            self._opened = made.pop_all()
        self._keys = Keys(64)

    def _link(self, daemon: str) -> str:
        """The ways of a daemon, and the configuration that leads there."""
        ways = {"redis": self.redis.port} | {name: store.port for name, store in self.stores.items()}
        for server, port in ways.items():
            self.links[link(daemon, server)] = Proxy(port)
        text = _SECTIONS.format(redis=self.links[link(daemon, "redis")].port)
        for name, store in self.stores.items():
            text += _BACKEND.format(name=name, port=self.links[link(daemon, name)].port)
            text += store.options_in_toml
        return text

    def __enter__(self) -> ChaosSite:
        try:
            self.redis.start()
            for store in self.stores.values():
                store.start()
            for way in self.links.values():
                self._opened.enter_context(way)
            for daemon in self.daemons.values():
                daemon.start(wait=False)
            for daemon in self.daemons.values():
                daemon.wait_until_it_answers(30)
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    # --- past the daemons

    def server(self, name: str) -> RedisServer | NginxServer | Daemon:
        if name == "redis":
            return self.redis
        return self.stores[name] if name in self.stores else self.daemons[name]

    def record(self, path: str) -> Record | None:
        """What Redis has of a path of the default domain.  :raises OSError: it does not answer."""
        key = FilePath("default", path)
        reply = self.redis.command("GET", self._keys.record(key))
        if not reply.startswith(b"$"):
            raise OSError(f"Redis says {reply[:100]!r}")
        length, _, value = reply[1:].partition(b"\r\n")
        return None if length == b"-1" else decode(key, value[: int(length)])

    def due(self, path: str) -> str:
        """When the replicators look at it next, unix s, as Redis says it; a dash for never."""
        key = FilePath("default", path)
        reply = self.redis.command("ZSCORE", self._keys.due(self._keys.partition(key)), key.member)
        return reply.decode(errors="replace").split("\r\n")[1] or "-"

    def holders(self, path: str) -> list[str]:
        """The stores that have a good copy of the live version by the record."""
        record = self.record(path)
        if record is None or record.live is None:
            return []
        return [r.backend for r in record.live.in_state(ReplicaState.GOOD, ReplicaState.LEAVING)]

    def store_of(self, url: str) -> str:
        """Which store a URL points to."""
        return next(name for name, store in self.stores.items() if url.startswith(store.url + "/"))

    def disk(self) -> dict[str, set[str]]:
        """The keys of the objects that are there, by store."""
        return {name: objects(store.root) for name, store in self.stores.items()}

    def statuses(self) -> dict[str, Any]:
        return {name: daemon.status() for name, daemon in self.daemons.items()}


def objects(root: Path) -> set[str]:
    """The keys of what lies there.  Directories may go meanwhile: ``Path.rglob`` fails at one that does."""
    files = (Path(directory, name) for directory, _, names in os.walk(root) for name in names)
    return {str(file.relative_to(root)) for file in files} - {MARKER}

"""
The state store on Redis, 6.2 or newer (design, section 3).

Whatever must hold together is one Lua script on one partition; the rest are plain commands, sent together
where there are many.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from dragonbelly.errors import BadRecord, Conflict, StartError, StateUnavailable
from dragonbelly.ids import ulid
from dragonbelly.interfaces import Claim, Counts, IStateStore, ITracked, Snapshot
from dragonbelly.model import FORMAT, BackendState, Path, Record, Use
from dragonbelly.state import accounts
from dragonbelly.state.address import Login, parse_url
from dragonbelly.state.boundary import fires
from dragonbelly.state.confirming import Confirming
from dragonbelly.state.connection import Connection
from dragonbelly.state.endpoints import endpoint
from dragonbelly.state.keys import Keys
from dragonbelly.state.protocol import Argument, Script, info_fields
from dragonbelly.state.tracking import TrackedRecords

#: The oldest Redis that will do.
OLDEST = (6, 2)

#: Keys or members in one command, at most, so that no single one holds the server up.
_BATCH = 500

#: What a partition is asked for beyond its even share of a page: names are spread evenly, but not exactly so.
_MARGIN = 8


def _script(name: str) -> Script:
    return Script(name, files("dragonbelly.state").joinpath(f"scripts/{name}.lua").read_bytes())


COMMIT = _script("commit")
CLAIM = _script("claim")
SETTLE = _script("settle")
SET_META = _script("set_meta")

#: The field of ``db:meta`` that tells this store from any other, and one that is written to see it arrive.
IDENTITY, CONFIRMED = "store", "confirmed"


@implementer(IStateStore)
class RedisStore:
    """
    ``login`` has the passwords that are not in the URL.  ``reply_timeout`` is in seconds;
    ``require_noeviction=False`` accepts a Redis that may evict records, for tests; ``random_bits(n)`` chooses
    where a claim begins, so that several daemons do not queue at the same partition;
    ``observe(command, seconds)`` hears how long Redis took.  With ``ack_replicas`` a ``confirm`` asks for so
    many replicas, for ``ack_timeout`` seconds at most.

    Nothing is connected before the first call.

    :raises ConfigError: the URL cannot be used.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        url: str,
        *,
        login: Login = Login(),
        partitions: int = 64,
        reply_timeout: float = 2.0,
        require_noeviction: bool = True,
        prefix: str = "db",
        ack_replicas: int = 0,
        ack_timeout: float = 1.0,
        random_bits: Callable[[int], int] = secrets.randbits,
        observe: Callable[[str, float], None] | None = None,
    ) -> None:
        address = parse_url(url, login)
        self.partitions = partitions
        self.identity = ""
        self._where = str(address)
        self._keys = Keys(partitions, prefix)
        self._require_noeviction = require_noeviction
        self._clock = reactor
        self._random_bits = random_bits

        def connection(timeout: float, **how: Any) -> Connection:
            return Connection(
                reactor,
                address,
                # Half of the time is for asking the sentinels.
                endpoint(reactor, address, timeout / 2),
                reply_timeout=timeout,
                observe=observe,
                **how,
            )

        self._redis = connection(reply_timeout)
        self._connections = [self._redis]
        self._tracked: list[TrackedRecords] = []
        self._make_tracked = lambda: TrackedRecords(
            reactor,
            self._keys,
            reply_timeout,
            lambda prepare: connection(reply_timeout, prepare=prepare, quiet=True),
            lambda: self._redis.run,
        )
        self._confirming: Confirming | None = None
        if ack_replicas:
            waits = connection(reply_timeout + ack_timeout)
            self._connections.append(waits)
            mark: Sequence[Argument] = ("HSET", self._keys.meta, CONFIRMED, "")
            self._confirming = Confirming(waits, mark, replicas=ack_replicas, timeout=ack_timeout)

    @property
    def run(self) -> str:
        return self._redis.run

    @fires
    async def ready(self) -> None:
        for connection in self._connections:
            await connection.connected()
        info = info_fields(await self._redis.execute("INFO"))
        unfit = unfitness(info, self._require_noeviction)
        if unfit is not None:
            raise StartError(f"Redis at {self._where}: {unfit}")
        if info.get("aof_enabled") == "0":
            self._log.warn(
                'Redis at {where}: appendonly is "no": when it ends, what it wrote since its last snapshot is '
                'lost; set "appendonly yes" in redis.conf and with CONFIG SET',
                where=self._where,
            )
        ours = {"format": FORMAT, "partitions": self.partitions}
        meta = self._keys.meta
        first: dict[str, str | int] = {**ours, IDENTITY: ulid(self._clock.seconds(), self._random_bits)}
        await self._redis.batch([("HSETNX", meta, field, value) for field, value in first.items()])
        *theirs, identity = await self._redis.execute("HMGET", meta, *ours, IDENTITY)
        for field, found in zip(ours, theirs, strict=True):
            if found != str(ours[field]).encode():
                raise StartError(
                    f"Redis at {self._where}: {meta} says {field} {(found or b'').decode(errors='replace')!r},"
                    f" this daemon is set to {ours[field]}; records would not be found"
                )
        self.identity = identity.decode(errors="replace")
        for connection in self._all:
            connection.proof = (("HGET", meta, IDENTITY), identity)

    @property
    def _all(self) -> list[Connection]:
        # Nobody waits for those of the tracked ones: a server that does not tell what changes will do without.
        return [*self._connections, *(tracked.connection for tracked in self._tracked)]

    def track(self) -> ITracked:
        tracked = self._make_tracked()
        self._tracked.append(tracked)
        tracked.connection.proof = self._redis.proof
        return tracked

    # --- records -------------------------------------------------------------------------------------------

    @fires
    async def get(self, path: Path) -> Snapshot:
        return accounts.snapshot(
            path, await self._redis.execute("GET", self._keys.record(path)) or accounts.ABSENT
        )

    @fires
    async def get_many(self, paths: Sequence[Path]) -> list[Snapshot | None]:
        commands = [("MGET", *map(self._keys.record, some)) for some in _batches(paths)]
        replies = await self._redis.batch(commands) if commands else []
        values = [value for reply in replies for value in reply]
        return [_snapshot_or_none(path, value) for path, value in zip(paths, values, strict=True)]

    @fires
    async def commit(self, path: Path, old: Snapshot, new: Record | None, due: float | None) -> Snapshot:
        entry = accounts.entry(path, old.token, new)
        keys, q = self._keys, self._keys.partition(path)
        reply = await self._redis.script(
            COMMIT,
            (keys.record(path), keys.ls(q), keys.due(q), keys.thin(q), keys.damaged(q), keys.use(q)),
            (
                old.token,
                entry.value,
                path.member,
                int(entry.listed),
                "" if entry.thin_since is None else entry.thin_since,
                int(entry.damaged),
                _seconds(due),
                *_use_changes(entry.use),
            ),
        )
        if reply != 1:
            raise Conflict(accounts.snapshot(path, reply))
        return accounts.snapshot(path, entry.value)

    # --- what is due ---------------------------------------------------------------------------------------

    @fires
    async def claim(self, limit: int, lease: float) -> list[Claim]:
        first = self._random_bits(32) % self.partitions
        due = [self._keys.due((first + n) % self.partitions) for n in range(self.partitions)]
        reply = await self._redis.script(CLAIM, due, (limit, _seconds(lease)))
        return [Claim(_path(member), token) for member, token in zip(reply[::2], reply[1::2], strict=True)]

    @fires
    async def settle(self, claim: Claim, due: float | None) -> Claim | None:
        key = self._keys.due(self._keys.partition(claim.path))
        token = await self._redis.script(SETTLE, (key,), (claim.path.member, claim.token, _seconds(due)))
        return None if token is None else Claim(claim.path, token)

    @fires
    async def hasten(self, paths: Sequence[Path]) -> None:
        shelves: defaultdict[int, list[str]] = defaultdict(list)
        for path in paths:
            shelves[self._keys.partition(path)].append(path.member)
        commands = [
            # Due since 1970: no need to ask Redis for its time first.
            ("ZADD", self._keys.due(q), *(word for member in some for word in (0, member)))
            for q, members in shelves.items()
            for some in _batches(members)
        ]
        if commands:
            await self._redis.batch(commands)

    @fires
    async def due(self, path: Path) -> float | None:
        due = self._keys.due(self._keys.partition(path))
        score, now = await self._redis.batch([("ZSCORE", due, path.member), ("TIME",)])
        return None if score is None else max(0.0, float(score) - _time(now))

    # --- going through all of it ---------------------------------------------------------------------------

    @fires
    async def walk(self, cursor: str | None, limit: int) -> tuple[list[Path], str | None]:
        # Over the keys themselves: no index can hide a record from it.
        run, (scan,) = self._resume(cursor, 1)
        scan, found = await self._redis.execute(
            "SCAN", scan, "MATCH", self._keys.record_pattern, "COUNT", max(1, limit)
        )
        paths = [path for key in found if (path := self._keys.path_of(key)) is not None]
        return paths, self._cursor(run, int(scan)) if int(scan) else None

    @fires
    async def waiting(self, cursor: str | None, limit: int) -> tuple[list[Path], str | None]:
        run, (shelf, scan) = self._resume(cursor, 2)
        found: dict[bytes, None] = {}
        end = 2 * self.partitions
        while shelf < end and len(found) < limit:
            key = (self._keys.thin if shelf % 2 else self._keys.due)(shelf // 2)
            reply, scored = await self._redis.execute("ZSCAN", key, scan, "COUNT", max(1, limit))
            found.update(dict.fromkeys(scored[::2]))
            scan = int(reply)
            shelf += scan == 0
        # Another server may have answered half-way: the cursor then sends the walk back to the beginning.
        done = shelf >= end and run == self.run
        return [_path(member) for member in found], None if done else self._cursor(run, shelf, scan)

    def _resume(self, cursor: str | None, numbers: int) -> tuple[str, list[int]]:
        """
        The server's run, and where to go on.

        A cursor of SCAN means nothing to a server that was started since (its hash seed is another), so a walk
        that meets one begins again rather than leave something out.
        """
        run = self.run
        was, *rest = (cursor or "").split(":")
        if cursor is None or was != run or len(rest) != numbers:
            return run, [0] * numbers
        return run, [int(number) for number in rest]

    @staticmethod
    def _cursor(run: str, *numbers: int) -> str:
        return ":".join([run, *map(str, numbers)])

    @fires
    async def damaged(self, limit: int) -> list[Path]:
        share = max(0, limit)
        replies = await self._redis.batch(
            [("SRANDMEMBER", self._keys.damaged(q), share) for q in range(self.partitions)]
        )
        return sorted({_path(member) for reply in replies for member in reply})[:share]

    @fires
    async def page(self, domain: str, prefix: str, after: str, limit: int) -> list[str]:
        start = Path(domain, prefix).member.encode()
        past = Path(domain, after).member.encode()
        # No UTF-8 has the byte 0xFF, so the last byte can always be counted up.
        end = b"(" + start[:-1] + bytes([start[-1] + 1])
        lows = dict.fromkeys(range(self.partitions), b"(" + past if past >= start else b"[" + start)
        share = limit // self.partitions + _MARGIN
        found: list[bytes] = []
        while lows and limit > 0:
            replies = await self._redis.batch(
                [("ZRANGEBYLEX", self._keys.ls(q), low, end, "LIMIT", 0, share) for q, low in lows.items()]
            )
            found = sorted({*found, *(member for reply in replies for member in reply)})
            last = found[limit - 1] if len(found) >= limit else None
            # Ask again where there may be more that belongs before the end of the page.
            lows = {
                q: b"(" + reply[-1]
                for q, reply in zip(lows, replies, strict=True)
                if len(reply) == share and (last is None or reply[-1] < last)
            }
        return [_path(member).name for member in found[: max(0, limit)]]

    # --- sums ----------------------------------------------------------------------------------------------

    @fires
    async def use(self) -> dict[str, Use]:
        total: dict[str, Use] = {}
        for reply in await self._redis.batch([("HGETALL", self._keys.use(q)) for q in range(self.partitions)]):
            for field, amount in zip(reply[::2], reply[1::2], strict=True):
                backend, _, unit = field.decode().rpartition(":")
                more = Use(bytes=int(amount)) if unit == "bytes" else Use(objects=int(amount))
                total = accounts.add(total, {backend: more})
        return total

    @fires
    async def counts(self) -> Counts:
        now = repr(_time(await self._redis.execute("TIME")))
        keys, each = self._keys, range(self.partitions)
        replies = await self._redis.batch(
            [
                *[("ZCARD", keys.ls(q)) for q in each],
                *[("ZCARD", keys.due(q)) for q in each],
                *[("ZCOUNT", keys.due(q), "-inf", now) for q in each],
                *[("ZCARD", keys.thin(q)) for q in each],
                *[("SCARD", keys.damaged(q)) for q in each],
                *[("ZRANGE", keys.thin(q), 0, 0, "WITHSCORES") for q in each],
            ]
        )
        n = self.partitions
        oldest = [float(reply[1]) for reply in replies[5 * n :] if reply]
        return Counts(
            files=sum(replies[:n]),
            queued=sum(replies[n : 2 * n]),
            overdue=sum(replies[2 * n : 3 * n]),
            thin=sum(replies[3 * n : 4 * n]),
            thin_since=int(min(oldest)) if oldest else None,
            damaged=sum(replies[4 * n : 5 * n]),
        )

    # --- what persons and daemons set ----------------------------------------------------------------------

    @fires
    async def operator_states(self) -> dict[str, BackendState]:
        reply = await self._redis.execute("HGETALL", self._keys.backends)
        states = {}
        for name, word in zip(reply[::2], reply[1::2], strict=True):
            try:
                states[name.decode()] = BackendState[word.decode().upper()]
            except (KeyError, UnicodeDecodeError):
                # Guessing could empty a backend, or send readers to one that was taken down.
                raise StateUnavailable(
                    f"Redis at {self._where}: {self._keys.backends} has an unknown state {word!r} for {name!r}"
                ) from None
        return states

    @fires
    async def set_operator_state(self, name: str, state: BackendState) -> None:
        await self._redis.execute("HSET", self._keys.backends, name, state.name.lower())

    @fires
    async def meta(self, field: str) -> str | None:
        value = await self._redis.execute("HGET", self._keys.meta, field)
        return None if value is None else value.decode(errors="replace")

    @fires
    async def set_meta(self, field: str, old: str | None, new: str) -> bool:
        values = (field, new) if old is None else (field, new, old)
        return bool(await self._redis.script(SET_META, (self._keys.meta,), values) == 1)

    def confirm(self) -> Deferred[None]:
        if self._confirming is None:
            return succeed(None)  # nearly always, and several times for each upload
        return self._confirming.confirm(self.run)

    @fires
    async def close(self) -> None:
        for connection in self._all:
            await connection.close()


def unfitness(info: Mapping[str, str], require_noeviction: bool) -> str | None:
    """What keeps a server with this ``INFO`` from being used, in words for the operator; or None."""
    version = info.get("redis_version", "")
    if tuple(int(n) for n in version.split(".")[:2] if n.isdigit()) < OLDEST:
        return f"version {version or 'unknown'} found, {'.'.join(map(str, OLDEST))} or newer needed"
    if info.get("cluster_enabled") == "1":
        return "it is a Redis Cluster, which is not supported yet"
    policy = info.get("maxmemory_policy")
    if require_noeviction and policy != "noeviction":
        return (
            f"maxmemory-policy is {policy}, so records would be lost when memory is short;"
            ' set "maxmemory-policy noeviction" in redis.conf or with CONFIG SET'
        )
    return None


def _seconds(delay: float | None) -> str:
    return "" if delay is None else repr(float(delay))


def _time(reply: Sequence[bytes]) -> float:
    """What ``TIME`` says, in unix s."""
    seconds, microseconds = reply
    return int(seconds) + int(microseconds) / 1_000_000


def _path(member: bytes) -> Path:
    # Only commit and hasten write members, and they encode them.
    return Path.of_member(member.decode())


def _snapshot_or_none(path: Path, value: bytes | None) -> Snapshot | None:
    try:
        return accounts.snapshot(path, value or accounts.ABSENT)
    except BadRecord:
        return None


def _use_changes(use: Mapping[str, Use]) -> Iterator[str | int]:
    for backend, change in use.items():
        for unit, amount in (("bytes", change.bytes), ("objects", change.objects)):
            if amount:
                yield f"{backend}:{unit}"
                yield amount


def _batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))

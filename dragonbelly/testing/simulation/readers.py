"""What clients were told, and whether what they are told now agrees with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragonbelly.keys import parse_key
from dragonbelly.model import Path, ReplicaState
from dragonbelly.state.tracking import BELIEVED
from dragonbelly.testing.simulation.judge import Floor, Judge

if TYPE_CHECKING:
    from dragonbelly.testing.simulation.process import Process

R = ReplicaState


class Readers(Judge):
    """Invariants 1, 6, 7 and 13."""

    def begins(self, path: Path) -> list[Floor]:
        """What was acknowledged when a read began."""
        return list(self.files[path].floors)

    def aborted(self, id: str, begun: float) -> None:
        """The client was told that its upload is over."""
        if begun > self.restarted_at:
            self.uploads[id].over, self.uploads[id].over_at = True, self.now

    def deletion_begins(self, path: Path) -> int:
        self.files[path].ends.append(self.now)
        return self.files[path].orders

    def deletion_unknown(self, path: Path) -> None:
        """Nobody knows whether it was done or will be: a frozen daemon takes its requests when it wakes."""
        self.files[path].ends.append(float("inf"))

    def deletion_acknowledged(self, process: Process, path: Path, order: int, begun: float) -> None:
        self._raise(path, order, None, begun)
        if begun > self.restarted_at:
            self.files[path].ended_by[process.clock] = (self.now, order, None)

    def live_acknowledged(self, path: Path, id: str, begun: float) -> None:
        self._raise(path, self.uploads[id].order, id, begun)

    def _raise(self, path: Path, order: float, id: str | None, begun: float) -> None:
        if begun <= self.restarted_at:
            return  # it rests on what the store may have lost meanwhile
        floors = self.files[path].floors
        if not floors or order > floors[-1][1] or (order == floors[-1][1] and id is None):
            floors.append((self.now, order, id))

    def redirected(
        self,
        process: Process,
        path: Path,
        url: str,
        others: list[str],
        floors: list[Floor],
        begun: float,
    ) -> None:
        """A reader that began then was sent to ``url``; ``others`` hold the same bytes."""
        away = self._lag(process, begun)
        lag = max(away, self._silence(process, begun))
        # What a daemon did itself it knows, whoever tells it.
        ended = None if away else self.files[path].ended_by.get(process.clock)
        if ended is not None and ended[0] > begun:
            ended = None
        for each in (url, *others):
            server, _, key = each.removeprefix("http://").partition(".test/")
            if server not in self.world.servers:
                return self.fail(13, f"GET {path.name} leads to {each}")
            parsed = parse_key(key)
            if parsed is None or parsed[0] != path:
                return self.fail(6, f"GET {path.name} leads to {each}")
            self._led(path, server, key, parsed[1], parsed[2], floors, begun, lag)
            if ended is not None and ended[0] > self.uploads[parsed[1]].revived:
                order = self.uploads[parsed[1]].order
                self.check(
                    order > ended[1], 7, f"GET {path.name} leads to {parsed[1]}, deleted by {process.name}"
                )
        return None

    def _led(
        self,
        path: Path,
        server: str,
        key: str,
        id: str,
        generation: int,
        floors: list[Floor],
        begun: float,
        lag: float,
    ) -> None:
        what = f"GET {path.name} leads to {id} on {server}"
        order, revived = self.uploads[id].order, self.uploads[id].revived
        # News of a change takes a while, too.
        since = begun - max(lag, self.world.lag)
        known = [f for f in floors if f[0] <= since and (f[2] is not None or f[0] > revived)]
        if known:
            _, floor, live = known[-1]
            self.check(
                order > floor or (order == floor and live == id), 7, f"{what}, and newer is acknowledged"
            )
        self.check(self._was_good(path, id, server, generation, since), 6, f"{what}, which is no good copy")
        if not lag:
            self.live_acknowledged(path, id, begun)
            if self._is_good(path, id, server):  # one that is leaving is read from only for want of another
                self.redirects[server, key] = begun
            self.check(self.excused(server, key, id), 6, f"{what}, and other bytes are there")

    def _is_good(self, path: Path, id: str, backend: str) -> bool:
        record = self.world.record(path)
        version = record.version(id) if record is not None else None
        replica = version.replica(backend) if version is not None else None
        return replica is not None and replica.state is R.GOOD

    def _was_good(self, path: Path, id: str, backend: str, generation: int, since: float) -> bool:
        """Whether the record said so at some time since."""
        past = self.files[path].past
        for n in range(len(past) - 1, -1, -1):
            record = past[n][1]
            live = record.live if record is not None else None
            if live is not None and live.id == id:
                replica = live.replica(backend)
                if (
                    replica is not None
                    and replica.generation == generation
                    and replica.state in (R.GOOD, R.LEAVING)
                ):
                    return True
            if past[n][0] < since:
                break
        return False

    def not_found(self, process: Process, path: Path, floors: list[Floor], begun: float) -> None:
        """A reader that began then was told that there is no such file."""
        known = [f for f in floors if f[0] <= begun - self._lag(process, begun)]
        if known and known[-1][2] is not None:
            ended = any(end >= known[-1][0] - self.world.slack for end in self.files[path].ends)
            self.check(ended, 1, f"GET {path.name}: 404, and {known[-1][2]} is acknowledged")

    def _lag(self, process: Process, begun: float) -> float:
        """By how much a daemon's answers may be old: only while its link to the store is cut."""
        store = process.store
        if store.lost or store.healthy_since > begun - self.world.slack:
            return self.world.stale + self.world.slack
        return 0.0

    def _silence(self, process: Process, begun: float) -> float:
        """
        By how much answers from memory may be old: nobody told the daemon that it is not told of changes, and
        its clock may have been set back, from which it believes the longer what it has.
        """
        longest = BELIEVED + 2 * self.world.skew
        since = [at for at in process.store.silences if at <= begun and self.now <= at + longest]
        return begun - since[0] + self.world.lag if since else 0.0

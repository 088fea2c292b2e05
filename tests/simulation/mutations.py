"""
The guards of the product, and how each is switched off: for each the simulation must find a violation.

A mutation takes a ``MonkeyPatch``; what it is called says which guard it takes away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace
from pytest import MonkeyPatch

from dragonbelly import lifecycle
from dragonbelly.cluster import choose
from dragonbelly.cluster.health import Health
from dragonbelly.errors import BackendError, BackendUnavailable, NoSuchObject, StateUnavailable
from dragonbelly.events import LAPSED, Abandoned, Condemned, Leaving, Placed, Verified
from dragonbelly.interfaces import Snapshot
from dragonbelly.ledger import Ledger
from dragonbelly.model import ReplicaState, VersionState
from dragonbelly.policies.copies import CopiesPolicy
from dragonbelly.replication import plan, replicator
from dragonbelly.replication.audit import Audit
from dragonbelly.replication.copy import Relay
from dragonbelly.replication.epoch import Epoch
from dragonbelly.replication.sweep import Sweeper
from dragonbelly.replication.verify import Seen, Verifier
from dragonbelly.state.cache import RecentRecords
from dragonbelly.state.memory import MemoryStore
from dragonbelly.web import redirects
from dragonbelly.web.prepared import Prepared

R, V = ReplicaState, VersionState

Mutation = Callable[[MonkeyPatch], None]

MUTATIONS: dict[str, Mutation] = {}


def without(guard: str) -> Callable[[Mutation], Mutation]:
    def register(mutation: Mutation) -> Mutation:
        MUTATIONS[guard] = mutation
        return mutation

    return register


# --- the store -------------------------------------------------------------------------------------------


@without("compare-and-swap")
def _(patch: MonkeyPatch) -> None:
    commit = MemoryStore.commit

    def overwrite(self: MemoryStore, path: Any, old: Snapshot, new: Any, due: Any) -> Any:
        return commit(self, path, Snapshot(old.record, self.records.get(path.member, b"")), new, due)

    patch.setattr(MemoryStore, "commit", overwrite)


@without("a lost reply is looked up")
def _(patch: MonkeyPatch) -> None:
    async def swap(self: Ledger, path: Any, old: Any, new: Any, due: Any) -> Snapshot:
        try:
            return await self.store.commit(path, old, new if new.versions else None, due)
        except StateUnavailable:
            return Snapshot(new, b"?")

    patch.setattr(Ledger, "_swap", swap)


@without("what is remembered is old after a while")
def _(patch: MonkeyPatch) -> None:
    def get(self: RecentRecords, path: Any, now: float) -> Any:
        return self._snapshots.get(path, (0.0, None))[1]

    patch.setattr(RecentRecords, "get", get)


@without("the store may have come back older")
def _(patch: MonkeyPatch) -> None:
    patch.setattr(Epoch, "agreed", property(lambda self: self._store.run != ""))


# --- uploads ---------------------------------------------------------------------------------------------


@without("the size of an upload")
def _(patch: MonkeyPatch) -> None:
    patch.setattr(Verifier, "_fits", lambda self, stat, upload: True)


@without("the digest of an upload")
def _(patch: MonkeyPatch) -> None:
    async def believe(self: Any, path: Any, version: Any, upload: Any, replica: Any, stat: Any, _: Any) -> Seen:
        return Seen(Verified(self._now, version.id, replica.backend, stat.size, stat.sha256))

    patch.setattr(Verifier, "_check", believe)


@without("a last look before an upload lapses")
def _(patch: MonkeyPatch) -> None:
    look = Verifier.look

    async def give_up(self: Verifier, path: Any, version: Any, *, final: bool = False, **how: Any) -> Seen:
        if final:
            return Seen(Abandoned(self._now, version.id, LAPSED))
        return await look(self, path, version, final=final, **how)

    patch.setattr(Verifier, "look", give_up)


@without("an upload that nobody can look at is not missing")
def _(patch: MonkeyPatch) -> None:
    stat = Verifier._stat

    async def missing(self: Verifier, *what: Any) -> Any:
        return await stat(self, *what) or False

    async def believed(self: Verifier, version: Any) -> bool:
        return True

    patch.setattr(Verifier, "_stat", missing)
    patch.setattr(Verifier, "_believed", believed)


@without("the conditions of an upload hold when it is live")
def _(patch: MonkeyPatch) -> None:
    patch.setattr(lifecycle, "holds", lambda upload, live: True)


@without("the order in which uploads were accepted")
def _(patch: MonkeyPatch) -> None:
    verified = lifecycle._verified

    def newest_wins(record: Any, event: Verified) -> Any:
        """The one that is verified last is the newest."""
        version = record.version(event.id)
        if version is not None and version.state is V.UPLOADING:
            rest = tuple(v for v in record.versions if v is not version)
            record = replace(record, versions=(version, *rest))
        return verified(record, event)

    patch.setitem(lifecycle._MOVES, Verified, newest_wins)


@without("predecessors stay until their successor has its copies")
def _(patch: MonkeyPatch) -> None:
    planned = plan._plan_live

    def satisfied(*what: Any) -> bool:
        planned(*what)
        return True

    patch.setattr(plan, "_plan_live", satisfied)


# --- copies ----------------------------------------------------------------------------------------------


@without("the digest of a copy")
def _(patch: MonkeyPatch) -> None:
    copy = replicator.copy

    async def blind(*where: Any, size: int, sha256: bytes | None, content_type: str | None) -> bytes:
        seen: bytes = await copy(*where, size=size, sha256=None, content_type=content_type)
        return sha256 or seen

    patch.setattr(replicator, "copy", blind)


@without("a look whether the copy is there")
def _(patch: MonkeyPatch) -> None:
    async def trusting(source: Any, source_key: str, target: Any, target_key: str, **what: Any) -> bytes:
        body = await source.read(source_key)
        relay = Relay(body, what["sha256"])
        await target.write(target_key, relay, what["content_type"])
        if relay.sha256 is None:
            raise BackendUnavailable("not whole")
        return relay.sha256

    patch.setattr(replicator, "copy", trusting)


@without("a server that does not answer has lost nothing")
def _(patch: MonkeyPatch) -> None:
    read = replicator.read_digest

    async def missing(*what: Any) -> Any:
        try:
            return await read(*what)
        except BackendError as error:
            raise NoSuchObject(str(error)) from error

    async def believed(self: Health, name: str) -> bool:
        return True

    patch.setattr(replicator, "read_digest", missing)
    patch.setattr(Health, "believed", believed)


@without("the marker of a backend")
def _(patch: MonkeyPatch) -> None:
    async def believed(self: Health, name: str) -> bool:
        return True

    async def seen(self: Health, backend: Any) -> None:
        return None

    patch.setattr(Health, "believed", believed)
    patch.setattr(Health, "_see_marker", seen)


@without("add before drop")
def _(patch: MonkeyPatch) -> None:
    place = CopiesPolicy.place

    def eager(self: CopiesPolicy, demand: Any, cluster: Any) -> Any:
        answer = place(self, demand, cluster)
        stay = {n for n in answer.keep if n not in cluster or cluster[n].counts}
        drop = {*answer.drop, *answer.keep} - stay
        return replace(answer, keep=tuple(sorted(stay)), drop=tuple(sorted(drop)))

    def drops(now: int, version: Any, placement: Any, cluster: Any, avoid: Any, *rest: Any) -> Any:
        for each in version.in_state(R.GOOD):
            if each.backend in placement.drop:
                yield Leaving(now, version.id, each.backend, each.generation)

    patch.setattr(CopiesPolicy, "place", eager)
    patch.setattr(plan, "_drops", drops)


@without("a lost copy stays if no good one is left")
def _(patch: MonkeyPatch) -> None:
    def bad(now: int, version: Any, *rest: Any) -> Any:
        for each in version.in_state(R.LOST):
            yield Condemned(now, version.id, each.backend, each.generation)

    patch.setattr(plan, "_bad", bad)


@without("a place that was left gets another key")
def _(patch: MonkeyPatch) -> None:
    placed = lifecycle._MOVES[Placed]

    def again(record: Any, event: Any) -> Any:
        after = placed(record, event)
        if after is record:
            return record
        version = after.version(event.id)
        first = tuple(replace(r, generation=0) if r.backend == event.backend else r for r in version.replicas)
        return lifecycle._put(after, replace(version, replicas=first))

    patch.setitem(lifecycle._MOVES, Placed, again)


@without("the grace")
def _(patch: MonkeyPatch) -> None:
    made = plan.plan

    def at_once(record: Any, cluster: Any, policy: Any, now: int, grace: int, *rest: Any, **how: Any) -> Any:
        return made(record, cluster, policy, now, 0, *rest, **how)

    patch.setattr("dragonbelly.ledger.plan", at_once)


# --- what others rely on ---------------------------------------------------------------------------------


@without("nobody is sent to a copy that is doubted")
def _(patch: MonkeyPatch) -> None:
    tier = choose._tier

    def any_tier(replica: Any, backend: Any) -> int | None:
        return tier(replace(replica, state=R.GOOD) if replica.state is R.SUSPECT else replica, backend)

    patch.setattr(choose, "_tier", any_tier)
    patch.setattr(redirects, "_READABLE", (*redirects._READABLE, R.SUSPECT))


@without("all files are looked at when a person says something")
def _(patch: MonkeyPatch) -> None:
    patch.setattr(Sweeper, "request", lambda self: None)


@without("the audit")
def _(patch: MonkeyPatch) -> None:
    async def idle(self: Audit) -> None:
        return None

    patch.setattr(Audit, "work", idle)


# --- redirects that are kept -----------------------------------------------------------------------------


@without("what this daemon wrote is not told as it was before")
def _(patch: MonkeyPatch) -> None:
    patch.setattr(
        Ledger, "on_change", property(lambda self: lambda path: None, lambda self, told: None), raising=False
    )


@without("what changed is forgotten")
def _(patch: MonkeyPatch) -> None:
    changed = Prepared._changed
    patch.setattr(Prepared, "_changed", lambda self, member: changed(self, None) if member is None else None)


@without("what was kept is forgotten after a lost connection")
def _(patch: MonkeyPatch) -> None:
    changed = Prepared._changed
    patch.setattr(Prepared, "_changed", lambda self, member: changed(self, member) if member else None)


@without("a reply that news overtook is not kept")
def _(patch: MonkeyPatch) -> None:
    came = Prepared._came

    def always(self: Prepared, path: Any, mark: object, *what: Any) -> None:
        self._marks[path.member] = mark
        came(self, path, mark, *what)

    patch.setattr(Prepared, "_came", always)


@without("what nobody vouches for is not believed")
def _(patch: MonkeyPatch) -> None:
    def find(self: Prepared, path: Any) -> Any:
        redirect = self._kept.of(path.member).get(path.member)
        return redirect if redirect is not None and redirect.until > self._clock.seconds() else None

    patch.setattr(Prepared, "find", find)

"""Is all well, once no more faults come?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragonbelly.keys import key_of, parse_key
from dragonbelly.model import BackendState, Path, Record, ReplicaState, Version

if TYPE_CHECKING:
    from dragonbelly.testing.simulation.world import World


#: Of one idle daemon, on the clock or to the store, at most.
CALLS = 30


def unwell(world: World) -> str | None:
    """What is not as it should be in a world without faults."""
    store = world.store
    if not world.tidy:
        return "the operator is not done"
    for name in world.names:
        if world.said(name) is not (BackendState.DRAIN if name == world.drained else BackendState.ALIVE):
            return f"{name} is still {world.said(name).name}"
    if (busy := _busy(world)) is not None:
        return busy
    expected: dict[str, dict[str, bytes]] = {name: {} for name in world.names}
    damaged: set[str] = set()
    for member in store.records:
        path = Path.of_member(member)
        record = world.record(path)
        assert record is not None
        live = record.live
        if live is not None and record.damaged and world.oracle.lost(path, live):
            damaged.add(member)
            continue
        if live is None or len(record.versions) > 1:
            return f"{member} has {[v.state.name for v in record.versions]}"
        if (why := _not_whole(world, record, live)) is not None:
            return f"{member}: {why}"
        for replica in live.replicas:
            expected[replica.backend][key_of(path, live, replica)] = world.oracle.uploads[live.id].data
    for name, server in world.servers.items():
        there = {
            key: data
            for key, data in server.disk.items()
            if (parsed := parse_key(key)) is not None and parsed[0].member not in damaged  # all of it is kept
        }
        if there != expected[name]:
            extra, missing = (
                sorted(there.keys() - expected[name].keys()),
                expected[name].keys() - there.keys(),
            )
            wrong = sorted(
                key for key in there.keys() & expected[name].keys() if there[key] != expected[name][key]
            )
            return f"{name} has {extra} too much, lacks {sorted(missing)}, and of {wrong} other bytes"
    for member, due in store._due.items():
        record = world.record(Path.of_member(member))
        if member in damaged:
            continue
        if record is None or (record.thin_since is None and not world.expires(Path.of_member(member))):
            return f"{member} is queued for {due.time - world.clock.rightNow:.0f} s from now"
    return None


def late(world: World, seconds: float) -> str | None:
    """A file that has waited so long for copies that it could have."""
    possible = len({server.host for name, server in world.servers.items() if name != world.drained})
    for member in world.store.records:
        record = world.record(Path.of_member(member))
        if record is None or record.live is None or record.thin_since is None or record.damaged:
            continue
        waited = world.clock.rightNow - record.thin_since
        if waited > seconds and world.owed(record.live) <= possible:
            return f"{member} waits for copies for {waited:.0f} s"
    return None


def _not_whole(world: World, record: Record, live: Version) -> str | None:
    states = {replica.state for replica in live.replicas}
    if states != {ReplicaState.GOOD}:
        return f"replicas are {sorted(state.name for state in states)}"
    hosts = {world.servers[replica.backend].host for replica in live.replicas}
    if any(replica.backend == world.drained for replica in live.replicas):
        return f"{world.drained} is not drained"
    possible = len({server.host for name, server in world.servers.items() if name != world.drained})
    if record.thin_since is not None and world.owed(live) > possible == len(hosts):
        return None  # as well as can be: what is too much on one host stays until there are enough
    if len(live.replicas) != min(world.owed(live), possible) or len(hosts) != len(live.replicas):
        return f"{len(live.replicas)} copies on {len(hosts)} hosts"
    return None


def _busy(world: World) -> str | None:
    """Whether something goes on that should have ended: nothing may grow."""
    for process in world.processes:
        replicator = process.daemon.replicator
        if replicator._visits or replicator._copying:
            return f"{process.name} works on {len(replicator._visits)} paths"
        if len(process.store._waiting) > CALLS:
            return f"{process.name} waits for {len(process.store._waiting)} answers of the store"
    if world.clock.waiting > CALLS * len(world.processes):
        return f"{world.clock.waiting} calls are on the clock"
    return None

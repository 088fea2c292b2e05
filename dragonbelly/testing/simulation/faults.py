"""What goes wrong: a seeded schedule of faults, each with its end; a seed has only some kinds of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dragonbelly.keys import MARKER
from dragonbelly.model import BackendState
from dragonbelly.testing.simulation.network import CRASH_AFTER, CRASH_BEFORE, LOST_REPLY, LOST_REQUEST, SLOW
from dragonbelly.testing.simulation.storage import MODES

if TYPE_CHECKING:
    from dragonbelly.testing.simulation.process import Process
    from dragonbelly.testing.simulation.storage import StorageServer
    from dragonbelly.testing.simulation.world import World

#: What may happen to a single call.
FATES = (CRASH_BEFORE, CRASH_AFTER, LOST_REQUEST, LOST_REPLY, SLOW)


class Faults:
    """``kinds`` are those of this seed; ``on`` until everything is to be healed."""

    def __init__(self, world: World) -> None:
        self._world = world
        random = world.random
        every: dict[str, Callable[[], None]] = {
            "daemon killed": self._kill,
            "daemon frozen": self._freeze,
            "daemon restarted": self._restart,
            "clock step": self._step,
            "network cut": self._cut_server,
            "store connection cut": self._cut_store,
            "news lost": self._silence,
            "store down": self._store_down,
            "store rolled back": self._roll_back,
            "store out of memory": self._fill_store,
            "server fault": self._server,
            "server fault again": self._server,
            "bits rot": self._rot,
            "object vanishes": self._vanish,
            "disk unmounted": self._unmount,
            "disk restored from a backup": self._restore,
            "disk replaced": self._replace,
            "operator says": self._say,
        }
        self._kinds = [(name, act) for name, act in every.items() if random.random() < 0.5]
        self.fates = tuple(fate for fate in FATES if random.random() < 0.6)
        self.rate = random.choice((0.0, 0.002, 0.01, 0.03))
        self.on = True
        self._pause = random.choice((0.7, 1.5, 4.0))
        self._soon()

    def _soon(self) -> None:
        self._world.clock.callLater(self._world.random.expovariate(1 / self._pause), self._act)

    def _act(self) -> None:
        if not self.on or not self._kinds:
            return
        _, act = self._world.random.choice(self._kinds)
        act()
        self._soon()

    def _for_a_while(self, seconds: float, end: Callable[[], None]) -> None:
        self._world.clock.callLater(self._world.delay(seconds), end)

    # --- daemons

    def _some_up(self) -> Process | None:
        up = [process for process in self._world.processes if process.up]
        return self._world.random.choice(up) if up else None

    def _kill(self) -> None:
        if (process := self._some_up()) is not None:
            self._world.count("daemon killed")
            process.crash()

    def _restart(self) -> None:
        if (process := self._some_up()) is not None:
            self._world.count("daemon restarted")
            self._world.note(f"{process.name} is stopped")
            process.stop()

    def _freeze(self) -> None:
        if (process := self._some_up()) is not None:
            self._world.count("daemon frozen")
            self._world.note(f"{process.name} is frozen")
            process.freeze()
            self._for_a_while(60.0, process.wake)

    def _step(self) -> None:
        if (process := self._some_up()) is not None:
            self._world.count("clock step")
            process.skew = process.clock.skew = self._world.random.uniform(-1, 1) * self._world.skew

    # --- the network and the store

    def _cut_server(self) -> None:
        if (process := self._some_up()) is not None:
            self._world.count("network cut")
            wire = process.wires[self._world.random.choice(self._world.names)]
            self._world.note(f"{process.name} does not reach {wire.name}")
            wire.cut = True
            self._for_a_while(40.0, lambda: setattr(wire, "cut", False))

    def _cut_store(self) -> None:
        if (process := self._some_up()) is not None:
            self._world.count("store connection cut")
            self._world.note(f"{process.name} does not reach the store")
            process.store.break_off(self._world.delay(30.0))

    def _silence(self) -> None:
        if (process := self._some_up()) is not None:
            self._world.count("news lost")
            self._world.note(f"{process.name} hears no news")
            process.store.fall_silent(dead=True)

    def _store_down(self) -> None:
        self._world.count("store down")
        self._world.restart_store(self._world.delay(20.0))

    def _fill_store(self) -> None:
        self._world.count("store out of memory")
        self._world.note("the store refuses writes")
        self._world.store_full = True
        self._for_a_while(20.0, lambda: setattr(self._world, "store_full", False))

    def _roll_back(self) -> None:
        if self._world.store.can_undo:
            self._world.count("store rolled back")
            self._world.restart_store(self._world.delay(10.0), self._world.random.randrange(1, 20))

    # --- storage servers

    def _some_server(self) -> StorageServer:
        return self._world.servers[self._world.random.choice(self._world.names)]

    def _server(self) -> None:
        server, mode = self._some_server(), self._world.random.choice(MODES)
        if server.mode:
            return
        self._world.count(f"server {mode}")
        self._world.note(f"{server.name} {mode}")
        server.mode = mode
        self._for_a_while(40.0, lambda: setattr(server, "mode", ""))

    def _some_object(self) -> tuple[StorageServer, str] | None:
        server = self._some_server()
        keys = [key for key in server.disk if key != MARKER]
        return (server, self._world.random.choice(keys)) if keys else None

    def _rot(self) -> None:
        if (found := self._some_object()) is not None:
            self._world.count("bits rot")
            self._world.note(f"{found[1]} on {found[0].name} rots")
            found[0].rot(found[1])

    def _vanish(self) -> None:
        if (found := self._some_object()) is not None:
            self._world.count("object vanishes")
            self._world.note(f"{found[1]} on {found[0].name} vanishes")
            found[0].vanish(found[1])

    def _unmount(self) -> None:
        server = self._some_server()
        if server.mounted:
            self._world.count("disk unmounted")
            self._world.note(f"{server.name} is unmounted")
            server.unmount()
            self._for_a_while(40.0, server.mount)

    def _restore(self) -> None:
        server = self._some_server()
        if self._world.random.random() < 0.6:
            server.back_up()
        else:
            self._world.count("disk restored from a backup")
            self._world.note(f"{server.name} is restored from a backup")
            server.restore()

    def _replace(self) -> None:
        """With what an operator does about it."""
        world, server = self._world, self._some_server()
        if any(not each.mounted or MARKER not in each.disk for each in world.servers.values()):
            return
        world.count("disk replaced")
        world.note(f"{server.name} gets an empty disk")
        server.replace()
        world.spawn(self._write_off(server.name))

    async def _write_off(self, name: str) -> None:
        """What the README tells the operator of a replaced disk to do."""
        world = self._world
        await world.sleep(world.delay(20.0))
        await world.insist(name, BackendState.DEAD)
        await world.sleep(10.0)
        await world.insist(name, BackendState.ALIVE)

    def _say(self) -> None:
        state = self._world.random.choice(
            (BackendState.ALIVE, BackendState.READONLY, BackendState.DRAIN, BackendState.DOWN)
        )
        name = self._world.random.choice(self._world.names)
        self._world.count(f"operator says {state.name.lower()}")
        self._world.spawn(self._world.say(name, state))

"""
How many connections there are on one set of listeners, and who has to go when there is no room.

A connection is idle while no request of it is worked on: it waits for the first byte, for the rest of its
headers or of a small body, or for the next request.  When a limit is reached, the one that has been idle for
the longest makes room; of the same address, if it is the limit of an address.  So an honest client gets in
while others hold connections that they do not use, and who drips his headers goes first, for only an answered
request makes a connection young again.  To refuse the new ones instead would hand the service to whoever came
first.  Only when all are busy is a new one closed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from dragonbelly.config.limits import LimitsSection
from dragonbelly.web.addresses import Addresses

#: Is told the name of a limit when it refuses or closes something.
Limited = Callable[[str], None]


class Connection(Protocol):
    def give_way(self) -> None:
        """Close: another one needs the room."""


class Seat:
    """The room that one connection takes."""

    __slots__ = ("connection", "share")

    def __init__(self, connection: Connection, share: Share | None) -> None:
        self.connection = connection
        self.share = share


class Share:
    """What one address has: ``taken`` seats, some of them idle, the longest first."""

    __slots__ = ("idle", "key", "taken")

    def __init__(self, key: str) -> None:
        self.key = key
        self.taken: set[Seat] = set()
        self.idle: OrderedDict[Seat, None] = OrderedDict()


class Connections:
    """Each method takes the same short time, however many there are."""

    def __init__(self, limits: LimitsSection, limited: Limited) -> None:
        self._most, self._most_per_address = limits.connections, limits.connections_per_address
        self._addresses = Addresses(limits.exempt)
        self._limited = limited
        self._taken: set[Seat] = set()
        self._idle: OrderedDict[Seat, None] = OrderedDict()
        self._shares: dict[str, Share] = {}
        #: Whether all are to end: each answer is the last of its connection.
        self.draining = False

    def __len__(self) -> int:
        return len(self._taken)

    def enter(self, connection: Connection, address: str) -> Seat | None:
        """A seat for a new connection, which is idle; None when there is no room."""
        key = self._addresses.of(address) if self._most_per_address else None
        share = self._shares.get(key) if key is not None else None
        if share is not None and len(share.taken) >= self._most_per_address:
            self._limited("connections_per_address")
            if not self._make_room(share.idle):
                return None
        if len(self._taken) >= self._most:
            self._limited("connections")
            if not self._make_room(self._idle):
                return None
        if key is not None:
            share = self._shares.setdefault(key, Share(key))  # looked up again: it may have ended meanwhile
        seat = Seat(connection, share)
        self._taken.add(seat)
        if share is not None:
            share.taken.add(seat)
        self.idle(seat)
        return seat

    def busy(self, seat: Seat | None) -> None:
        """A request of it is worked on."""
        if seat is None:
            return
        self._idle.pop(seat, None)
        if seat.share is not None:
            seat.share.idle.pop(seat, None)

    def heard(self, seat: Seat | None) -> None:
        """A request of it was answered, and it was idle before."""
        if seat is not None and seat in self._idle:
            self._idle.move_to_end(seat)
            if seat.share is not None:
                seat.share.idle.move_to_end(seat)

    def idle(self, seat: Seat | None) -> None:
        """It is answered."""
        if seat is not None and seat in self._taken:
            self._idle[seat] = None
            if seat.share is not None:
                seat.share.idle[seat] = None

    def leave(self, seat: Seat) -> None:
        """It has ended; may be told more than once."""
        if seat not in self._taken:
            return
        self.busy(seat)
        self._taken.remove(seat)
        if (share := seat.share) is not None:
            share.taken.remove(seat)
            if not share.taken:
                del self._shares[share.key]

    def dismiss_idle(self) -> None:
        """Close those that wait for nothing."""
        for seat in list(self._idle):
            self.busy(seat)  # once is enough
            seat.connection.give_way()

    def dismiss_all(self) -> None:
        for seat in list(self._taken):
            self.leave(seat)
            seat.connection.give_way()

    def _make_room(self, idle: OrderedDict[Seat, None]) -> bool:
        if not idle:
            return False
        seat = next(iter(idle))
        self.leave(seat)
        seat.connection.give_way()
        return True

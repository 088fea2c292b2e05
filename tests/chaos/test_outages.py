"""The rule of availability, on outages whose verdict is plain."""

from __future__ import annotations

from math import inf

import pytest

from tests.chaos.outages import TRUST, Outage, Outages

DAEMONS = ("daemon1", "daemon2", "daemon3")
HOLDERS = ("one", "two")

#: Long ago, before the interval in which a daemon may not know yet, just now.
LONG, EARLIER, NOW = 100.0 - TRUST - 10, 95.0, 99.5


def obstacles(*outages: Outage) -> str | None:
    made = Outages()
    made._outages.extend(outages)
    return made.obstacles(DAEMONS, HOLDERS, 100.0, 101.0)


@pytest.mark.parametrize(
    ("outages", "expected"),
    [
        ((), None),
        ((Outage("daemon1", NOW),), None),
        ((Outage("daemon1", NOW), Outage("daemon2", NOW)), "two things"),
        ((Outage("daemon1", EARLIER, refuses=True), Outage("daemon2", EARLIER, refuses=True)), None),
        ((Outage("daemon1", EARLIER, refuses=True), Outage("daemon2", NOW)), None),
        (tuple(Outage(d, EARLIER, refuses=True) for d in DAEMONS), "no daemon"),
        ((Outage("redis", EARLIER, until=99.0),), "no daemon"),
        ((Outage("redis", EARLIER, until=97.0),), None),
        (tuple(Outage(f"{d}>redis", EARLIER) for d in DAEMONS), "no daemon"),
        ((Outage("daemon1>redis", EARLIER),), None),
        ((Outage("one", NOW),), None),
        ((Outage("one", EARLIER),), None),
        ((Outage("one", NOW), Outage("two", NOW)), "no server"),
        ((Outage("one", NOW), Outage("three", NOW), Outage("four", NOW)), None),
        ((Outage("one", NOW), Outage("daemon1", EARLIER)), "two things"),
        ((Outage("one", EARLIER), Outage("daemon1", EARLIER)), None),
        (
            (Outage("one", EARLIER), Outage("daemon1", EARLIER), Outage("daemon2>two", 90, until=91)),
            "two things",
        ),
        ((Outage("one", LONG, until=inf), Outage("daemon1", LONG, refuses=True)), None),
        ((Outage("one", EARLIER), Outage("two", LONG, until=90.0)), None),
    ],
)
def test_what_excuses_a_get(outages: tuple[Outage, ...], expected: str | None) -> None:
    found = obstacles(*outages)
    assert (found is None) if expected is None else (found is not None and found.startswith(expected)), found


def test_a_server_that_it_was_sent_to_had_a_copy_then() -> None:
    made = Outages()
    made._outages += [Outage("one", NOW), Outage("daemon1", NOW)]
    assert made.obstacles(DAEMONS, ["two"], 100.0, 101.0) is None
    assert made.obstacles(DAEMONS, ["two"], 100.0, 101.0, ["one"]) is not None


def test_an_outage_has_an_end() -> None:
    outages = Outages()
    outage = outages.begin("one")
    assert outages.of(["one"], outage.since, outage.since) == [outage]
    outages.end(outage)
    assert outages.of(["one"], outage.until + 1, outage.until + 2) == []
    assert outages.of(["two"], 0, inf) == []

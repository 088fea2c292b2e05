"""
A simulation that hunts for what tests do not think of.

The real daemon (``dragonbelly.daemon.Daemon``: lifecycle, plan, replicator, health, files, API, audit) runs on
a store in memory and on simulated storage servers, several of them at once, in one process, on one clock and
one seeded random source; the same seed gives the same trace to the byte.  Clients put, overwrite, read and
delete while daemons are killed and frozen, calls and replies lost, clocks set wrong, disks rot, fill, vanish
and come back old, and the store loses its last writes.  An oracle knows every acknowledged call and checks the
invariants whenever a record or a disk changes; then everything is healed, and the world must become well.

    python -m dragonbelly.testing.simulation --seeds 0:1000
    python -m dragonbelly.testing.simulation --seed 17 --trace

How the best do it: FoundationDB, "Testing Distributed Systems w/ Deterministic Simulation" (Strange Loop 2014);
swarm testing (each seed has only some kinds of faults): Groce et al., ISSTA 2012.
"""

from dragonbelly.testing.simulation.judge import Violation
from dragonbelly.testing.simulation.run import Outcome, simulate, simulate_all

__all__ = ["Outcome", "Violation", "simulate", "simulate_all"]

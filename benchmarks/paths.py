"""The paths that are filled in and asked for: each is known by its number, here and in ``wrk.lua``."""

from __future__ import annotations

from math import gcd

DOMAIN = "media"


def name(n: int) -> str:
    """49 bytes up to the file of number 9,999,999; 55 with the domain before it."""
    return f"{n // 1000:04d}/{n:040d}.jpg"


def step(size: int) -> int:
    """
    How far to go from one of ``size`` paths to the next, round and round, so that each comes once and none is
    near the one before it.
    """
    step = int(size * 0.618) | 1
    while gcd(step, size) > 1:
        step += 2
    return step

"""Waiting for what real servers do in a while."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(check: Callable[[], bool], within: float = 10) -> None:
    """``check`` again and again until it is so; ``within`` is in seconds."""
    deadline = time.monotonic() + within
    while not check():
        assert time.monotonic() < deadline, f"not within {within:g} s"
        time.sleep(0.02)

"""Ports for servers that tests start."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable

#: Of several processes that run tests at the same time each has ports of its own.
_PROCESSES = 16
_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES

_random = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """
    A port of 127.0.0.1 that nobody listens on, never the same twice.  Not one that the system would choose
    (32768 and above on Linux): an outgoing connection could take it before the server does.
    """
    return drawn(lambda: _random.randrange(15_000 + _process, 32_000, _PROCESSES))


def drawn(draw: Callable[[], int]) -> int:
    """A port of 127.0.0.1 as ``draw`` gives them that nobody listens on, never the same twice."""
    while True:
        port = draw()
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port

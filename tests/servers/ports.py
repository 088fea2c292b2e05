"""Ports for servers that tests start."""

from __future__ import annotations

import random
import socket

_random = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """
    A port of 127.0.0.1 that nobody listens on, never the same twice.  Not one that the system would choose
    (32768 and above on Linux): an outgoing connection could take it before the server does.
    """
    while True:
        port = _random.randrange(15_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port

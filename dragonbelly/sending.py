"""Bytes that leave at once."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.abstract import FileDescriptor


class Sender:
    """
    Writes to a transport: at once, and not at the reactor's next turn, which takes two ``epoll_ctl`` and one
    more ``epoll_wait``.  What does not fit goes Twisted's way, and so does all under TLS, where the transport
    is something else, whose socket is not to be had.
    """

    __slots__ = ("_late", "_socket", "_transport")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._socket: socket.socket | None = None
        if isinstance(transport, FileDescriptor):
            self._socket = getattr(transport, "socket", None)
        self._late = False

    def __call__(self, data: bytes) -> None:
        if self._late:
            # Until what waits there is gone, or the order would be lost.
            self._late = bool(self._transport.dataBuffer or self._transport._tempDataBuffer)
        if self._socket is not None and not self._late:
            try:
                sent = self._socket.send(data)
            except OSError:
                sent = 0  # it is full; or else what is wrong is found again, and dealt with
            if sent == len(data):
                return
            self._late = True
            data = data[sent:]
        self._transport.write(data)

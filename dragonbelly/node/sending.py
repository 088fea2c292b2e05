"""
Sending part of a file to a client, as fast as it reads and no faster.

``twisted.web.static`` has producers for this.  They end a file that turns out short, or that cannot be read, as
if all were well; here the connection is cut, so that nobody takes half an object for a whole one.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IPullProducer
from twisted.logger import Logger
from twisted.web.http import Request
from zope.interface import implementer

#: Bytes that are read at a time.
CHUNK = 256 * 1024

_log = Logger()


def send(request: Request, fd: int, start: int, length: int, reactor: Any, idle: float) -> None:
    """
    Send ``length`` bytes of ``fd`` from ``start`` as the body, finish the request, and close ``fd``.

    The headers are set, and give the length.  A client that takes nothing for ``idle`` s is cut off.
    """
    sender = _Sender(request, fd, start, length, reactor, idle)
    if length <= CHUNK:
        sender.resumeProducing()  # all of it at once: not worth a producer
    else:
        sender.register()


@implementer(IPullProducer)
class _Sender:
    _registered = False
    _timer: IDelayedCall | None = None

    def __init__(self, request: Request, fd: int, offset: int, length: int, reactor: Any, idle: float) -> None:
        self._request = request
        self._fd = fd
        self._offset = offset
        self._left = length
        self._reactor = reactor
        self._idle = idle

    def register(self) -> None:
        self._registered = True
        self._timer = self._reactor.callLater(self._idle, self._cut)
        self._request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        if self._fd < 0:
            return
        if self._timer is not None:
            self._timer.reset(self._idle)
        if self._left:
            try:
                data = os.pread(self._fd, min(CHUNK, self._left), self._offset)
            except OSError as error:
                _log.error("a file cannot be read: {error}", error=error)
                data = b""
            if not data:
                self._cut()
                return
            self._offset += len(data)
            self._left -= len(data)
            self._request.write(data)
            if self._registered:
                return  # asked again when it has gone
        self.stopProducing()
        if self._registered:
            self._request.unregisterProducer()
        self._request.finish()

    def stopProducing(self) -> None:
        """The client has gone, or has it all."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _cut(self) -> None:
        self.stopProducing()
        transport: Any = self._request.transport
        transport.abortConnection()

"""What the operations need of the world: requests, answers, files, time.  Each kind of client has its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Request(NamedTuple):
    """``body`` is small and whole; what is streamed goes beside it."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    #: Seconds without any progress after which it has failed.
    timeout: float = 30.0


class Answer(NamedTuple):
    """Header names are in lower case; the body is whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Incoming(Protocol):
    """An answer whose body is still to come."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self) -> bytes:
        """
        Some more bytes, none at the end.

        :raises NoAnswer: the connection broke, or the answer is shorter than it said.
        """
        ...

    async def close(self) -> None:
        """No more is wanted; may be called twice."""
        ...


class NoAnswer(Exception):
    """
    The server could not be reached, or did not answer whole.  ``sent`` tells whether it may have heard the
    request.
    """

    def __init__(self, reason: str, sent: bool = True) -> None:
        super().__init__(reason)
        self.sent = sent


class Wire(Protocol):
    """
    All I/O of a client.  Redirects are not followed.  A blocking client's methods are coroutines that never
    wait: its thread does.

    :raises NoAnswer: from ``ask``, ``send`` and ``fetch``.
    """

    async def ask(self, request: Request) -> Answer: ...

    async def send(self, request: Request, chunks: AsyncIterator[bytes], length: int | None) -> Answer:
        """A request with a body that is streamed: ``length`` bytes, None: nobody knows how many."""
        ...

    async def fetch(self, request: Request) -> Incoming: ...

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call something that blocks, such as the reading of a file."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    async def close(self) -> None: ...


#: Bytes of an answer that is read whole.
ANSWER_MAX = 64 * 2**20


class Body:
    """The body of an answer, while it comes."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, chunk: bytes) -> None:
        """:raises NoAnswer: it is too much."""
        self._bytes += chunk
        if len(self._bytes) > ANSWER_MAX:
            raise NoAnswer(f"the answer is longer than {ANSWER_MAX} bytes")

    @property
    def whole(self) -> bytes:
        return bytes(self._bytes)

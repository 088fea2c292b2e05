"""The blocking client, on httpx."""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar, Unpack, overload

import httpx

from dragonbelly.client.core import Core, Options
from dragonbelly.client.model import Entry
from dragonbelly.client.over_httpx import LIMITS, built, no_answer, stream_headers
from dragonbelly.client.reading import Reading
from dragonbelly.client.source import CHUNK
from dragonbelly.client.wire import Answer, Body, Incoming, Request

P = ParamSpec("P")
T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What comes of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("an asynchronous source was given to the blocking client")


def iterate(items: AsyncIterator[T]) -> Iterator[T]:
    """The same for an asynchronous iterator."""
    while True:
        try:
            item = run(_next(items))
        except StopAsyncIteration:
            return
        yield item


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


class _Incoming:
    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = response.iter_raw(CHUNK)
        self.status = response.status_code
        self.headers = response.headers

    async def read(self) -> bytes:
        try:
            return next(self._chunks, b"")
        except httpx.HTTPError as error:
            raise no_answer(error) from None

    async def close(self) -> None:
        self._response.close()


class BlockingWire:
    """``Wire``, whose coroutines never wait."""

    def __init__(self, client: httpx.Client | None = None) -> None:
        self._http = client or httpx.Client(limits=LIMITS)

    async def ask(self, request: Request) -> Answer:
        return self._stream(request, dict(request.headers), request.body)

    async def send(self, request: Request, chunks: AsyncIterator[bytes], length: int | None) -> Answer:
        return self._stream(request, stream_headers(request, length), iterate(chunks))

    def _stream(
        self, request: Request, headers: dict[str, str], content: bytes | Iterator[bytes] | None
    ) -> Answer:
        try:
            with self._http.stream(
                request.method, request.url, headers=headers, content=content, timeout=request.timeout
            ) as response:
                body = Body()
                for chunk in response.iter_bytes():
                    body.add(chunk)
                return Answer(response.status_code, response.headers, body.whole)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise no_answer(error) from None

    async def fetch(self, request: Request) -> Incoming:
        try:
            asked = built(self._http, request)
            return _Incoming(self._http.send(asked, stream=True))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise no_answer(error) from None

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        return function(*arguments)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - nothing else waits in this thread

    async def close(self) -> None:
        self._http.close()


class Reader(io.RawIOBase):
    """A file to be read from any place on.  ``file`` is what is known of it."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self._reading = reading
        self.file = reading.file
        self.name = reading.file.path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._reading.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._reading.seek_from(offset, whence)

    def readinto(self, buffer: Any) -> int:
        chunk = run(self._reading.read(len(buffer)))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        if not self.closed:
            run(self._reading.close())
        super().close()


def _blocking(
    method: Callable[Concatenate[Core, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    @wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run(method(self.core, *args, **kwargs))

    return call


class Client:
    """
    ``url`` is a daemon's listener; its host says which domain.  ``domain`` names it instead, which admin
    listeners allow.  ``token`` is sent as ``Authorization: Bearer``.  ``timeout``: seconds without progress
    after which a server has failed (30); ``retries``: how often what is safe is tried again when there was no
    answer (4).  ``http`` is an httpx client to use, for proxies or certificates.  May be used by several
    threads; ``with`` or ``close`` ends its connections.
    """

    def __init__(self, url: str, *, http: httpx.Client | None = None, **options: Unpack[Options]) -> None:
        self.core = Core(BlockingWire(http), url, **options)

    put = _blocking(Core.put)
    get = _blocking(Core.get)
    download = _blocking(Core.download)
    stat = _blocking(Core.stat)
    set = _blocking(Core.set)
    delete = _blocking(Core.delete)
    page = _blocking(Core.page)
    sign = _blocking(Core.sign)

    @property
    def url(self) -> str:
        return self.core.url

    def open(self, path: str) -> io.BufferedReader:
        """A seekable binary file; its ``raw.file`` is what is known of it.  :raises NotFound:"""
        return io.BufferedReader(Reader(run(self.core.reading(path))), CHUNK)

    @overload
    def list(self, prefix: str = "", delimiter: Literal[""] = "") -> Iterator[Entry]: ...
    @overload
    def list(self, prefix: str = "", delimiter: str = "") -> Iterator[Entry | str]: ...
    def list(self, prefix: str = "", delimiter: str = "") -> Iterator[Entry | str]:
        """
        Files whose paths begin with ``prefix``, in order.  With the delimiter ``/`` only those whose rest has
        no slash; what the others have in common up to it comes once, as a str that ends with it.
        """
        return iterate(self.core.list(prefix, delimiter))

    def close(self) -> None:
        run(self.core.wire.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

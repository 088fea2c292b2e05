"""The client for asyncio, on httpx."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from dragonbelly.client.core import Core, Options
from dragonbelly.client.over_httpx import LIMITS, built, no_answer, stream_headers
from dragonbelly.client.reading import Seekable
from dragonbelly.client.source import CHUNK
from dragonbelly.client.wire import Answer, Body, Incoming, Request

T = TypeVar("T")


class _Incoming:
    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = response.aiter_raw(CHUNK)
        self.status = response.status_code
        self.headers = response.headers

    async def read(self) -> bytes:
        try:
            return await anext(self._chunks, b"")
        except httpx.HTTPError as error:
            raise no_answer(error) from None

    async def close(self) -> None:
        await self._response.aclose()


class AsyncioWire:
    """``Wire``."""

    def __init__(self, client: httpx.AsyncClient | None = None) -> None:
        self._http = client or httpx.AsyncClient(limits=LIMITS)

    async def ask(self, request: Request) -> Answer:
        return await self._stream(request, dict(request.headers), request.body)

    async def send(self, request: Request, chunks: AsyncIterator[bytes], length: int | None) -> Answer:
        return await self._stream(request, stream_headers(request, length), chunks)

    async def _stream(
        self, request: Request, headers: dict[str, str], content: bytes | AsyncIterator[bytes] | None
    ) -> Answer:
        try:
            async with self._http.stream(
                request.method, request.url, headers=headers, content=content, timeout=request.timeout
            ) as response:
                body = Body()
                async for chunk in response.aiter_bytes():
                    body.add(chunk)
                return Answer(response.status_code, response.headers, body.whole)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise no_answer(error) from None

    async def fetch(self, request: Request) -> Incoming:
        try:
            asked = built(self._http, request)
            return _Incoming(await self._http.send(asked, stream=True))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise no_answer(error) from None

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.to_thread(function, *arguments)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        await self._http.aclose()


class AsyncReader(Seekable):
    """Its ``read`` gives what can be awaited."""

    async def read(self, most: int = -1) -> bytes:
        """So many bytes, fewer at the end of the file; -1: all that is left.  :raises DownloadFailed:"""
        return await self._reading.read_all(most)

    async def close(self) -> None:
        await self._reading.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """What is left, piece by piece."""
        while chunk := await self._reading.read():
            yield chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncClient(Core):
    """
    ``url`` is a daemon's listener; its host says which domain.  ``domain`` names it instead, which admin
    listeners allow.  ``token`` is sent as ``Authorization: Bearer``.  ``timeout``: seconds without progress
    after which a server has failed (30); ``retries``: how often what is safe is tried again when there was no
    answer (4).  ``http`` is an httpx client to use, for proxies or certificates.  For one event loop;
    ``async with`` or ``close`` ends its connections.
    """

    def __init__(self, url: str, *, http: httpx.AsyncClient | None = None, **options: Unpack[Options]) -> None:
        super().__init__(AsyncioWire(http), url, **options)

    async def open(self, path: str) -> AsyncReader:
        """``async with await client.open(path) as file``: to be read from any place on.  :raises NotFound:"""
        return AsyncReader(await self.reading(path))

    async def close(self) -> None:
        await self.wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

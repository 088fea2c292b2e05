"""The three kinds of clients, called in the same way, so that one suite runs on all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol, TypeVar

from dragonbelly.client import AsyncClient, Client, TwistedClient
from dragonbelly.testing.reactor import run, start

T = TypeVar("T")


class Kind(Protocol):
    """``call`` calls a method of the client and waits for what comes of it."""

    name: str

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any: ...

    def on(self, thing: Any, method: str, *args: Any) -> Any:
        """The same on something that the client handed out."""
        ...

    def all(self, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        """All that an iterator gives."""
        ...

    def stream(self, chunks: list[bytes]) -> Any:
        """A source that can be read once."""
        ...

    def close(self) -> None: ...


async def _all(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


async def _stream(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


class Blocking:
    name = "blocking"

    def __init__(self, url: str, **options: Any) -> None:
        self.client = Client(url, **options)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.client, method)(*args, **kwargs)

    def on(self, thing: Any, method: str, *args: Any) -> Any:
        return getattr(thing, method)(*args)

    def all(self, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        return list(self.call(method, *args, **kwargs))

    def stream(self, chunks: list[bytes]) -> Any:
        return iter(chunks)

    def close(self) -> None:
        self.client.close()


class Asyncio:
    name = "asyncio"

    def __init__(self, url: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.client = self._runner.run(self._make(url, options))

    async def _make(self, url: str, options: Any) -> AsyncClient:
        return AsyncClient(url, **options)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._runner.run(getattr(self.client, method)(*args, **kwargs))

    def on(self, thing: Any, method: str, *args: Any) -> Any:
        result = getattr(thing, method)(*args)
        return self._runner.run(result) if asyncio.iscoroutine(result) else result

    def all(self, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        return self._runner.run(_all(getattr(self.client, method)(*args, **kwargs)))

    def stream(self, chunks: list[bytes]) -> Any:
        return _stream(chunks)

    def close(self) -> None:
        self._runner.run(self.client.close())
        self._runner.close()


class Twisted:
    name = "twisted"

    def __init__(self, url: str, **options: Any) -> None:
        start()
        self.client = TwistedClient(url, **options)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return run(lambda: getattr(self.client, method)(*args, **kwargs), 90)

    def on(self, thing: Any, method: str, *args: Any) -> Any:
        return run(lambda: getattr(thing, method)(*args), 90)

    def all(self, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        return run(lambda: _all(getattr(self.client, method)(*args, **kwargs)), 90)

    def stream(self, chunks: list[bytes]) -> Any:
        return _stream(chunks)

    def close(self) -> None:
        run(self.client.close)


KINDS = {kind.name: kind for kind in (Blocking, Asyncio, Twisted)}

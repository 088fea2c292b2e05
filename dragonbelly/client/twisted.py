"""The client for Twisted, on treq."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, Unpack, cast, overload

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IConsumer, IDelayedCall, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse
from zope.interface import implementer

from dragonbelly.client.core import Core, Options
from dragonbelly.client.model import Entry
from dragonbelly.client.reading import Seekable
from dragonbelly.client.wire import Answer, Body, Incoming, NoAnswer, Request

P = ParamSpec("P")
T = TypeVar("T")

#: Bytes of an answer that are kept while nobody reads them.
BUFFER = 2**20


@implementer(IBodyProducer)
class _Chunks:
    """A request's body; ``failed`` is why it could not be given whole.  ``moved`` is called at each chunk."""

    def __init__(self, chunks: AsyncIterator[bytes], length: int | None, moved: Callable[[], None]) -> None:
        self.length: Any = UNKNOWN_LENGTH if length is None else length
        self.failed: Exception | None = None
        self._chunks = chunks
        self._moved = moved
        self._work: Deferred[None] | None = None
        self._paused: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._work = Deferred.fromCoroutine(self._give(consumer))
        return self._work

    async def _give(self, consumer: IConsumer) -> None:
        try:
            async for chunk in self._chunks:
                self._moved()
                consumer.write(chunk)
                if self._paused is not None:
                    await self._paused
        except Exception as error:
            self.failed = error
            raise

    def pauseProducing(self) -> None:
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None and not paused.called:
            paused.callback(None)

    def stopProducing(self) -> None:
        if self._work is not None:
            self._work.cancel()

    async def end(self) -> None:
        """No more is wanted: until nothing reads it any more."""
        if self._work is not None and not self._work.called:
            ended: Deferred[None] = Deferred()
            self._work.addBoth(lambda _: ended.callback(None))
            self._work.cancel()
            await ended


class _Incoming(Protocol):
    """Bytes as they come; when too many wait for a reader the server has to."""

    def __init__(self, reactor: Any, response: IResponse, timeout: float) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._kept: list[bytes] = []
        self._waiting: Deferred[bytes] | None = None
        self._end: Failure | None = None
        self._paused = False
        self.status = int(response.code)
        self.headers = _headers(response)
        response.deliverBody(self)

    def dataReceived(self, data: bytes) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(data)
            return
        self._kept.append(data)
        if not self._paused and sum(map(len, self._kept)) > BUFFER:
            self._paused = True
            cast(IPushProducer, self.transport).pauseProducing()

    def connectionLost(self, reason: Failure = Failure(ConnectError())) -> None:
        self._end = reason
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            if reason.check(ResponseDone):
                waiting.callback(b"")
            else:
                waiting.errback(reason)

    async def read(self) -> bytes:
        if self._kept:
            data = b"".join(self._kept)
            self._kept.clear()
            if self._paused and self._end is None:
                self._paused = False
                cast(IPushProducer, self.transport).resumeProducing()
            return data
        if self._end is None:
            self._waiting = Deferred()
            waiting = self._waiting.addTimeout(self._timeout, self._reactor)
            try:
                return await waiting
            except TimeoutError:
                self._waiting = None
                raise NoAnswer(f"nothing came for {self._timeout:g} s") from None
            except Exception as error:
                raise _no_answer(error) from None
        if self._end.check(ResponseDone):
            return b""
        raise NoAnswer(self._end.getErrorMessage())

    async def close(self) -> None:
        self._kept.clear()
        if self._end is None and self.transport is not None:
            self._waiting = None
            self.transport.abortConnection() if hasattr(self.transport, "abortConnection") else (
                self.transport.loseConnection()
            )


class TwistedWire:
    """``Wire``, whose coroutines await Deferreds."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = 20
        self._pool.retryAutomatically = False  # a DELETE would be done twice
        self._client = HTTPClient(Agent(reactor, connectTimeout=10.0, pool=self._pool))

    async def ask(self, request: Request) -> Answer:
        return await self._whole(await self._request(request, request.body), request.timeout)

    async def send(self, request: Request, chunks: AsyncIterator[bytes], length: int | None) -> Answer:
        watch = _Watch(self._reactor, request.timeout)
        body = _Chunks(chunks, length, watch.moved)
        try:
            response = await self._request(request, body, watch)
        except NoAnswer:
            if body.failed is not None:
                raise body.failed from None
            raise
        finally:
            await body.end()
        return await self._whole(response, request.timeout)

    async def fetch(self, request: Request) -> Incoming:
        return _Incoming(self._reactor, await self._request(request), request.timeout)

    async def _request(self, request: Request, body: Any = None, watch: _Watch | None = None) -> IResponse:
        headers = Headers({name: [value] for name, value in request.headers.items()})
        watch = watch or _Watch(self._reactor, request.timeout)
        asked = self._client.request(
            request.method, request.url, headers=headers, data=body, allow_redirects=False, unbuffered=True
        )
        watch.watch(asked)
        try:
            return cast(IResponse, await asked)
        except CancelledError:
            if watch.over:
                raise NoAnswer(f"nothing came for {request.timeout:g} s") from None
            raise
        except Exception as error:
            if watch.over:
                raise NoAnswer(f"nothing came for {request.timeout:g} s") from None
            raise _no_answer(error) from None
        finally:
            watch.end()

    async def _whole(self, response: IResponse, seconds: float) -> Answer:
        incoming, body = _Incoming(self._reactor, response, seconds), Body()
        try:
            while chunk := await incoming.read():
                body.add(chunk)
        finally:
            await incoming.close()
        return Answer(incoming.status, incoming.headers, body.whole)

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *arguments)

    async def sleep(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)

    async def close(self) -> None:
        await self._pool.closeCachedConnections()


class _Watch:
    """Cancels a request that does not move any more; ``over`` tells that it did."""

    def __init__(self, reactor: Any, seconds: float) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._call: IDelayedCall | None = None
        self.over = False

    def watch(self, asked: Deferred[Any]) -> None:
        def give_up() -> None:
            self._call, self.over = None, True
            asked.cancel()

        if not asked.called:
            self._call = self._reactor.callLater(self._seconds, give_up)

    def moved(self) -> None:
        if self._call is not None:
            self._call.reset(self._seconds)

    def end(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None


def _headers(response: IResponse) -> dict[str, str]:
    raw = {
        name.lower().decode("latin-1"): values[-1].decode("latin-1")
        for name, values in response.headers.getAllRawHeaders()
    }
    if response.length is not UNKNOWN_LENGTH:  # Twisted keeps it to itself
        raw["content-length"] = str(response.length)
    return raw


def _no_answer(error: Exception) -> NoAnswer:
    reasons = getattr(error, "reasons", None)
    cause = reasons[0].value if reasons else error
    never_sent = isinstance(error, ConnectError | DNSLookupError | RequestNotSent)
    return NoAnswer(str(cause) or type(cause).__name__, sent=not never_sent)


def _deferred(
    method: Callable[Concatenate[Core, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[TwistedClient, P], Deferred[T]]:
    @wraps(method)
    def call(self: TwistedClient, /, *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        return Deferred.fromCoroutine(method(self.core, *args, **kwargs))

    return call


class TwistedReader(Seekable):
    """Its ``read`` gives what can be awaited."""

    def read(self, most: int = -1) -> Deferred[bytes]:
        """So many bytes, fewer at the end of the file; -1: all that is left."""
        return Deferred.fromCoroutine(self._reading.read_all(most))

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._reading.close())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """What is left, piece by piece, for a coroutine that awaits Deferreds."""
        while chunk := await self._reading.read():
            yield chunk


class TwistedClient:
    """
    Every method but ``list`` gives a Deferred.  ``url`` is a daemon's listener; its host says which domain.
    ``domain`` names it instead, which admin listeners allow.  ``token`` is sent as ``Authorization: Bearer``.
    ``timeout``: seconds without progress after which a server has failed (30); ``retries``: how often what is
    safe is tried again when there was no answer (4).  ``reactor``: None is the global one.
    """

    def __init__(self, url: str, *, reactor: Any = None, **options: Unpack[Options]) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.core = Core(TwistedWire(reactor), url, **options)

    put = _deferred(Core.put)
    get = _deferred(Core.get)
    download = _deferred(Core.download)
    stat = _deferred(Core.stat)
    set = _deferred(Core.set)
    delete = _deferred(Core.delete)
    page = _deferred(Core.page)
    sign = _deferred(Core.sign)

    @property
    def url(self) -> str:
        return self.core.url

    def open(self, path: str) -> Deferred[TwistedReader]:
        """A file to be read from any place on.  :raises NotFound:"""
        return Deferred.fromCoroutine(self._open(path))

    async def _open(self, path: str) -> TwistedReader:
        return TwistedReader(await self.core.reading(path))

    @overload
    def list(self, prefix: str = "", delimiter: Literal[""] = "") -> AsyncIterator[Entry]: ...
    @overload
    def list(self, prefix: str = "", delimiter: str = "") -> AsyncIterator[Entry | str]: ...
    def list(self, prefix: str = "", delimiter: str = "") -> AsyncIterator[Entry | str]:
        """
        Files whose paths begin with ``prefix``, in order, for ``async for`` in a coroutine that awaits
        Deferreds (``page`` gives Deferreds).  With the delimiter ``/`` only those whose rest has no slash; what
        the others have in common up to it comes once, as a str that ends with it.
        """
        return self.core.list(prefix, delimiter)

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.core.wire.close())

"""
What every ``IBackend`` must do.

Subclass ``BackendContract``, give it ``make_backend``, and ``stop_server`` and ``start_server`` if the server
can be stopped, and let pytest collect the subclass.  What clients do is done with real HTTP, unless
``client_put`` and ``client_get`` are overridden.
"""

from __future__ import annotations

import random
import unicodedata
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, ClassVar

import pytest
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dragonbelly.bodies import BytesBody
from dragonbelly.errors import BackendError, BackendUnavailable, NoSuchObject
from dragonbelly.ids import ulid
from dragonbelly.interfaces import IBackend
from dragonbelly.model import ObjectStat, Space, StoredKey, Target
from dragonbelly.testing import reactor as testing_reactor

MIB = 1024 * 1024
LARGE = random.Random(5).randbytes(5 * MIB)

#: Legal names of files that have tripped somebody up.
NAMES = [
    "with space",
    " space first and last ",
    "100%",
    "%41",
    "%2Fetc",
    "%25",
    "what?",
    "a?b=c&d",
    "a#b",
    "a+b",
    "a&b=c",
    "a;b",
    "a:b",
    "a,b",
    "it's",
    'a "quoted" name',
    "~tilde",
    "@at",
    "$dollar",
    "!*()",
    "[brackets]",
    "{braces}",
    "<b>&amp;</b>",
    "a|b^c`d",
    "-",
    "a...",
    "a..b",
    "index.html",
    "x.tar.gz",
    unicodedata.normalize("NFC", "café"),
    unicodedata.normalize("NFD", "café"),
    "日本語",
    "🐉",
    "x" * 255,
]


def make_key(name: str = "photo.jpg", directory: str = "media/d") -> str:
    """A key that was never used."""
    return f"{directory}/@{ulid(1_700_000_000, random.SystemRandom().getrandbits)}/{name}"


class BackendContract:
    """The suite; see the module."""

    #: Whether ``keys`` finds names that begin with a dot.
    finds_dot_names: ClassVar[bool] = True

    def make_backend(self) -> IBackend:
        """A backend without objects, closed afterwards.  Its timeouts are short: 2 s or less."""
        raise NotImplementedError

    def stop_server(self) -> None:
        """The server no longer answers."""
        pytest.skip("this backend's server cannot be stopped")

    def start_server(self) -> None:
        """It answers again, with the objects it had."""

    def run(self, work: Callable[[], Any]) -> Any:
        """Call ``work`` where the backend can run, and wait for what it gives."""
        return testing_reactor.run(work)

    def client_put(self, target: Target, data: bytes) -> int:
        """Upload as a client does; the status."""
        request = urllib.request.Request(
            target.url, data=data, method=target.method, headers=dict(target.headers)
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # nosec B310 # the tested backend's own URL
            return int(answer.status)

    def client_get(self, url: str, bytes_range: tuple[int, int] | None = None) -> bytes:
        """Download as a client does, all or from the first to the last byte of a range."""
        request = urllib.request.Request(url)
        if bytes_range is not None:
            request.add_header("Range", "bytes={}-{}".format(*bytes_range))
        with urllib.request.urlopen(request, timeout=10) as answer:  # nosec B310 # the tested backend's own URL
            assert answer.status == (200 if bytes_range is None else 206)
            data: bytes = answer.read()
            return data

    @pytest.fixture
    def backend(self) -> Iterator[IBackend]:
        backend = self.run(self.make_backend)
        yield backend
        self.run(backend.close)

    # --- short forms

    def write(self, backend: IBackend, key: str, data: bytes = b"some bytes") -> None:
        self.run(lambda: backend.write(key, BytesBody(data)))

    def read(self, backend: IBackend, key: str) -> bytes:
        async def work() -> bytes:
            body = await backend.read(key)
            reader = Reader()
            body.deliver(reader)
            data = await reader.done
            assert len(data) == body.size
            return data

        data: bytes = self.run(work)
        return data

    def stat(self, backend: IBackend, key: str) -> ObjectStat:
        stat: ObjectStat = self.run(lambda: backend.stat(key))
        return stat

    def keys(self, backend: IBackend, prefix: str = "") -> list[StoredKey]:
        async def work() -> list[StoredKey]:
            return [stored async for stored in backend.keys(prefix)]

        keys: list[StoredKey] = self.run(work)
        return keys

    def absent(self, backend: IBackend, key: str) -> bool:
        try:
            self.stat(backend, key)
        except NoSuchObject:
            return True
        return False

    # --- the interface

    def test_provides_the_interface(self, backend: IBackend) -> None:
        assert verifyObject(IBackend, backend)
        assert isinstance(backend.name, str)

    def test_probe(self, backend: IBackend) -> None:
        space = self.run(backend.probe)
        assert isinstance(space, Space)
        for number in (space.free, space.total):
            assert number is None or number >= 0

    # --- objects

    @pytest.mark.parametrize("size", [0, 1, 4096, 5 * MIB])
    def test_round_trip(self, backend: IBackend, size: int) -> None:
        key, data = make_key(), LARGE[:size]
        self.write(backend, key, data)
        assert self.stat(backend, key).size == size
        assert self.read(backend, key) == data

    @pytest.mark.parametrize("name", NAMES)
    def test_hostile_names(self, backend: IBackend, name: str) -> None:
        key, other = make_key(name), make_key(name, "media/with %20 ä?#/d")
        self.write(backend, key, b"one")
        self.write(backend, other, b"other")
        assert self.read(backend, key) == b"one"
        assert self.read(backend, other) == b"other"
        assert StoredKey(key, 3) in self.keys(backend, "media/d")
        assert StoredKey(other, 5) in self.keys(backend, "media/with %20 ä?#")
        assert self.client_get(backend.download_url(key)) == b"one"
        self.run(lambda: backend.delete(key))
        assert self.absent(backend, key)
        assert not self.absent(backend, other)

    def test_both_unicode_forms_are_two_objects(self, backend: IBackend) -> None:
        directory = make_key("").rstrip("/")
        forms = {unicodedata.normalize(form, "café") for form in ("NFC", "NFD")}
        for name in forms:
            self.write(backend, f"{directory}/{name}", name.encode())
        for name in forms:
            assert self.read(backend, f"{directory}/{name}") == name.encode()

    def test_dot_names(self, backend: IBackend) -> None:
        key = make_key(".hidden", "media/.well-known")
        self.write(backend, key)
        assert self.stat(backend, key).size == 10
        assert (key in [stored.key for stored in self.keys(backend)]) is self.finds_dot_names

    def test_the_same_write_again(self, backend: IBackend) -> None:
        key = make_key()
        self.write(backend, key, b"bytes")
        self.write(backend, key, b"bytes")
        assert self.read(backend, key) == b"bytes"

    def test_missing(self, backend: IBackend) -> None:
        for key in (make_key(), "media/never"):
            with pytest.raises(NoSuchObject):
                self.stat(backend, key)
            with pytest.raises(NoSuchObject):
                self.read(backend, key)

    def test_missing_below_a_file(self, backend: IBackend) -> None:
        key = make_key()
        self.write(backend, key)
        with pytest.raises(NoSuchObject):
            self.stat(backend, f"{key}/below")

    # --- delete

    def test_delete(self, backend: IBackend) -> None:
        key = make_key()
        self.write(backend, key)
        self.run(lambda: backend.delete(key))
        assert self.absent(backend, key)

    def test_absent_is_deleted(self, backend: IBackend) -> None:
        self.run(lambda: backend.delete(make_key()))
        self.run(lambda: backend.delete("media/never/there"))
        key = make_key()
        self.write(backend, key)
        self.run(lambda: backend.delete(key))
        self.run(lambda: backend.delete(key))
        assert self.absent(backend, key)

    def test_delete_leaves_everything_beside_it(self, backend: IBackend) -> None:
        directory = make_key("", "media/beside").rstrip("/")
        gone = f"{directory}/photo.jpg"
        beside = [
            make_key("photo.jpg", "media/beside"),
            f"{directory}.1/photo.jpg",
            "media/beside/photo.jpg",
            "media/beside/other/photo.jpg",
        ]
        for key in (gone, *beside):
            self.write(backend, key)
        self.run(lambda: backend.delete(gone))
        assert sorted(stored.key for stored in self.keys(backend, "media/beside")) == sorted(beside)

    @pytest.mark.parametrize("directory", ["plain", "@short", "@01J0000000000000000000000u", "@.1"])
    def test_delete_leaves_a_directory_that_is_no_version(self, backend: IBackend, directory: str) -> None:
        gone, beside = f"media/{directory}/gone", f"media/{directory}/beside"
        self.write(backend, gone)
        self.write(backend, beside)
        self.run(lambda: backend.delete(gone))
        assert self.absent(backend, gone)
        assert self.read(backend, beside) == b"some bytes"

    # --- the walk

    def test_keys(self, backend: IBackend) -> None:
        stored = {
            make_key("a", "media"): b"",
            make_key("a", "media/deep/er/still"): b"1",
            make_key("b", "media/deep"): b"22",
            make_key("c", "media/deeper"): b"333",
            make_key("d", "other"): b"4444",
            "other/adopted": b"55555",
        }
        for key, data in stored.items():
            self.write(backend, key, data)

        def expected(prefix: str) -> list[tuple[str, int]]:
            return sorted((key, len(data)) for key, data in stored.items() if key.startswith(prefix))

        def found(prefix: str) -> list[tuple[str, int]]:
            return sorted((found.key, found.size) for found in self.keys(backend, prefix))

        assert found("") == expected("")
        assert found("media") == expected("media/")
        assert found("media/deep") == expected("media/deep/")
        assert found("other") == expected("other/")
        assert found("nothing/here") == []

    def test_keys_of_nothing(self, backend: IBackend) -> None:
        assert self.keys(backend) == []

    def test_many_keys(self, backend: IBackend) -> None:
        keys = {make_key(f"{n}", "media/many") for n in range(150)}

        async def write() -> None:
            rest = sorted(keys)
            while rest:  # some at a time: a server that waits for its disk has others waiting meanwhile
                some, rest = rest[:10], rest[10:]
                await gatherResults([backend.write(key, BytesBody(b"x")) for key in some])

        self.run(write)
        found = [stored.key for stored in self.keys(backend, "media")]
        assert len(found) == 150
        assert set(found) == keys

    # --- clients

    def test_client_uploads(self, backend: IBackend) -> None:
        key = make_key("ä b?.txt")
        data = b"uploaded\x00\xff"
        target = backend.upload_target(key, size=len(data), content_type="text/plain")
        assert isinstance(target, Target)
        self.client_put(target, data)
        assert self.stat(backend, key).size == len(data)
        assert self.read(backend, key) == data

    def test_client_downloads(self, backend: IBackend) -> None:
        key = make_key()
        self.write(backend, key, LARGE[:100_000])
        url = backend.download_url(key)
        assert url == backend.download_url(key)
        assert self.client_get(url) == LARGE[:100_000]
        assert self.client_get(url, (10, 19)) == LARGE[10:20]
        assert self.client_get(url, (99_990, 200_000)) == LARGE[99_990:100_000]

    def test_urls_are_plain_text(self, backend: IBackend) -> None:
        urls = set()
        for name in NAMES:
            key = make_key(name)
            for url in (backend.download_url(key), backend.upload_target(key).url):
                assert url.isascii()
                assert not any(c <= " " or c in '"<>\\^`{|}#\x7f' for c in url)
                urls.add(url)
        assert len(urls) >= len(NAMES)

    # --- bodies that go wrong

    def test_a_body_that_fails_leaves_nothing(self, backend: IBackend) -> None:
        key = make_key()
        body = Broken(1 * MIB, after=LARGE[: MIB // 2])
        with pytest.raises((SourceBroke, BackendError)):
            self.run(lambda: backend.write(key, body))
        assert self.absent(backend, key)
        assert self.keys(backend) == []
        self.write(backend, key, b"whole")
        assert self.read(backend, key) == b"whole"

    def test_a_body_that_ends_early_leaves_nothing(self, backend: IBackend) -> None:
        key = make_key()
        body = BytesBody(b"short")
        body.length = 10
        with pytest.raises(Exception):  # noqa: B017 -- whatever it is: it must be no success
            self.run(lambda: backend.write(key, body))
        assert self.absent(backend, key)

    def test_a_cancelled_write_leaves_nothing(self, backend: IBackend) -> None:
        key = make_key()
        body = Broken(1 * MIB, after=LARGE[: MIB // 2], fails=False)

        async def work() -> None:
            writing = backend.write(key, body)
            await _later(0.2)
            writing.cancel()
            await writing

        with pytest.raises(CancelledError):
            self.run(work)
        assert body.stopped
        assert self.absent(backend, key)

    def test_a_cancelled_question(self, backend: IBackend) -> None:
        key = make_key()
        self.write(backend, key)

        async def work() -> None:
            for ask in (backend.stat, backend.read, backend.delete):
                asking = ask(key)
                asking.cancel()
                with suppress(CancelledError):
                    await asking

        self.run(work)
        another = make_key()
        self.write(backend, another, b"on")
        assert self.read(backend, another) == b"on"

    # --- reading

    def test_a_slow_reader_is_waited_for(self, backend: IBackend) -> None:
        key = make_key()
        self.write(backend, key, LARGE)

        async def work() -> None:
            reader = Reader(pause=True)
            (await backend.read(key)).deliver(reader)
            for _ in range(3):
                before = reader.size
                await _later(0.1)
                # What was under way when it paused may still come, in one piece.
                assert reader.size - before <= 2 * MIB
                paused_at = reader.size
                await _later(0.1)
                assert reader.size == paused_at < len(LARGE)
                reader.resume()
            reader.pause = False
            reader.resume()
            assert await reader.done == LARGE

        self.run(work)

    def test_a_reader_that_stops(self, backend: IBackend) -> None:
        key = make_key()
        self.write(backend, key, LARGE)

        async def work() -> None:
            reader = Reader(stop=True)
            (await backend.read(key)).deliver(reader)
            with pytest.raises(Exception) as caught:
                await reader.done
            assert not isinstance(caught.value, ResponseDone)
            assert reader.size < len(LARGE)

        self.run(work)
        assert self.read(backend, key) == LARGE

    @pytest.mark.parametrize("size", [0, 100, 5 * MIB])
    def test_abandoned_bodies(self, backend: IBackend, size: int) -> None:
        key = make_key()
        self.write(backend, key, LARGE[:size])

        async def work() -> None:
            for _ in range(30):
                (await backend.read(key)).abandon()
            (await backend.read(key)).abandon()
            assert (await backend.stat(key)).size == size

        self.run(work)
        assert self.read(backend, key) == LARGE[:size]

    # --- at once

    def test_many_at_once(self, backend: IBackend) -> None:
        objects = {make_key(): LARGE[n : n + 50_000] for n in range(30)}

        async def one(key: str, data: bytes) -> bytes:
            await backend.write(key, BytesBody(data))
            assert (await backend.stat(key)).size == len(data)
            reader = Reader()
            (await backend.read(key)).deliver(reader)
            return await reader.done

        work = [lambda k=k, d=d: Deferred.fromCoroutine(one(k, d)) for k, d in objects.items()]
        assert self.run(lambda: gatherResults([start() for start in work])) == list(objects.values())

    def test_the_same_key_at_once(self, backend: IBackend) -> None:
        key = make_key()
        self.run(lambda: gatherResults([backend.write(key, BytesBody(LARGE[:50_000])) for _ in range(5)]))
        assert self.read(backend, key) == LARGE[:50_000]

    # --- a server that is away

    def test_away_is_not_missing(self, backend: IBackend) -> None:
        key = make_key()
        self.write(backend, key)

        async def walk() -> None:
            async for _ in backend.keys():
                pass

        calls: list[Callable[[], Any]] = [
            lambda: backend.stat(key),
            lambda: backend.stat(make_key()),
            lambda: backend.read(key),
            lambda: backend.write(make_key(), BytesBody(b"x")),
            lambda: backend.write(make_key(), BytesBody(LARGE)),
            lambda: backend.delete(make_key()),
            backend.probe,
            walk,
        ]
        self.stop_server()
        try:
            for call in calls:
                with pytest.raises(BackendUnavailable):
                    self.run(call)
        finally:
            self.start_server()
        assert self.read(backend, key) == b"some bytes"


def _later(seconds: float) -> Deferred[None]:
    return deferLater(testing_reactor.start(), seconds, lambda: None)


class SourceBroke(Exception):
    """What ``Broken`` fails with."""


@implementer(IBodyProducer)
class Broken:
    """A body of ``length`` bytes that fails after some of them, or just does not go on."""

    def __init__(self, length: int, after: bytes, fails: bool = True) -> None:
        self.length = length
        self.stopped = False
        self._some = after
        self._fails = fails

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        async def produce() -> None:
            consumer.write(self._some)
            await _later(0.1)
            raise SourceBroke

        if self._fails:
            return Deferred.fromCoroutine(produce())
        consumer.write(self._some)
        return Deferred()

    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None:
        self.stopped = True


class Reader(Protocol):
    """Collects a body; ``pause`` or ``stop`` after each piece."""

    def __init__(self, pause: bool = False, stop: bool = False) -> None:
        self.done: Deferred[bytes] = Deferred()
        self.size = 0
        self.pause = pause
        self._stop = stop
        self._pieces: list[bytes] = []

    def resume(self) -> None:
        if not self.done.called:
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        assert not self.done.called, "bytes after the end"
        self._pieces.append(data)
        self.size += len(data)
        if self._stop:
            self.transport.stopProducing()  # type: ignore[union-attr]
        elif self.pause:
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ResponseDone):
            self.done.callback(b"".join(self._pieces))
        else:
            self.done.errback(reason)

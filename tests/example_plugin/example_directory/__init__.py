"""
Objects in a directory that a web server serves: ``kind = "directory"``.

The daemon reads and writes the files itself; clients are sent to the web server, which has to take their PUTs:
nginx, which checks their links as with Dragonbelly's sample.  File operations block, so this is for disks that
are quick to answer.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlsplit

import msgspec
from twisted.internet.defer import CancelledError, Deferred, execute
from twisted.internet.interfaces import IConsumer, IPushProducer, IReactorTime
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from dragonbelly.backends.secure_link import signed
from dragonbelly.errors import BackendFull, BackendRefused, BackendUnavailable, ConfigError, NoSuchObject
from dragonbelly.interfaces import IBackend, IBackendFactory, IObjectBody
from dragonbelly.keys import looks_like_mark
from dragonbelly.model import ObjectStat, Space, StoredKey, Target
from dragonbelly.secret import Secret

PIECE = 256 * 1024

#: Where the daemon's own writes grow; the first segment of a key is never this.
INCOMING = ".incoming"


class DirectoryOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str
    url: str
    secret: Secret


@implementer(IPlugin, IBackendFactory)
class DirectoryFactory:
    kind = "directory"
    options = DirectoryOptions

    def make(self, name, options, reactor):
        if not Path(options.path).is_absolute():
            raise ConfigError(f'path: found "{options.path}", expected an absolute path')
        return DirectoryBackend(name, options, reactor)


@implementer(IBackend)
class DirectoryBackend:
    download_base = None  # ask for each
    link_expires = None  # whoever may read needs no signature

    def __init__(self, name: str, options: DirectoryOptions, reactor: IReactorTime) -> None:
        self.name = name
        self._root = Path(options.path)
        self._url = options.url.rstrip("/")
        self._secret = options.secret
        self._reactor = reactor
        self._writes = 0

    # --- for clients

    def download_url(self, key, expires=None) -> str:
        return f"{self._url}/{quote(key)}"

    def upload_target(self, key, *, size=None, content_type=None, expires=None) -> Target:
        expires = int(self._reactor.seconds() + 3600) if expires is None else expires
        path = f"{urlsplit(self._url).path}/{key}"
        return Target("PUT", f"{self.download_url(key)}?{signed(self._secret, 'PUT', path, expires)}")

    # --- for the daemon

    def stat(self, key):
        return execute(self._stat, key)

    def _stat(self, key: str) -> ObjectStat:
        path = self._path(key)
        if not path.is_file():
            raise NoSuchObject(key)
        return ObjectStat(path.stat().st_size)

    def read(self, key):
        return execute(lambda: FileBody(self._path(key), self._stat(key).size))

    def write(self, key, body, content_type=None):
        return Deferred.fromCoroutine(self._write(key, body))

    async def _write(self, key: str, body: IBodyProducer) -> None:
        path = self._path(key)
        self._writes += 1
        incoming = self._root / INCOMING / f"{os.getpid()}-{self._writes}"
        try:
            incoming.parent.mkdir(exist_ok=True)
            with incoming.open("xb") as file:
                await body.startProducing(Intake(file))
            if incoming.stat().st_size != body.length:
                raise BackendUnavailable(f"{key}: the body is not of the length it said")
            path.parent.mkdir(parents=True, exist_ok=True)
            incoming.replace(path)
        except CancelledError:
            body.stopProducing()
            raise
        except OSError as error:
            raise self._meaning(error) from error
        finally:
            incoming.unlink(missing_ok=True)

    def delete(self, key):
        return execute(self._delete, key)

    def _delete(self, key: str) -> None:
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
            if looks_like_mark(path.parent.name) and path.parent.is_dir():
                path.parent.rmdir()
        except NotADirectoryError:
            pass
        except OSError as error:
            raise self._meaning(error) from error

    def probe(self):
        return execute(self._probe)

    def _probe(self) -> Space:
        self._check_there()
        usage = shutil.disk_usage(self._root)
        return Space(usage.free, usage.total)

    async def keys(self, prefix="") -> AsyncIterator[StoredKey]:
        self._check_there()
        for directory, directories, names in os.walk(self._root / prefix):
            if Path(directory) == self._root and INCOMING in directories:
                directories.remove(INCOMING)
            for name in names:
                key = str(Path(directory, name).relative_to(self._root))
                with suppress(NoSuchObject):  # removed meanwhile
                    yield StoredKey(key, self._stat(key).size)
        # A walk that ends because the directory went away is not a walk that is through.
        self._check_there()

    def close(self):
        return execute(lambda: None)

    # --- within

    def _path(self, key: str) -> Path:
        self._check_there()
        segments = key.split("/")
        if any(segment in ("", ".", "..") for segment in segments) or segments[0] == INCOMING:
            raise BackendRefused(f"no key: {key!r}")
        return self._root.joinpath(*segments)

    def _check_there(self) -> None:
        # A directory that is not mounted says nothing about the objects in it.
        if not self._root.is_dir():
            raise BackendUnavailable(f"{self._root} is not there")

    def _meaning(self, error: OSError) -> Exception:
        full = error.errno in (ENOSPC, EDQUOT)
        return (BackendFull if full else BackendUnavailable)(f"{self.name}: {error}")


@implementer(IConsumer)
class Intake:
    """Takes a body into a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        if not self._file.closed:  # a producer that was stopped may have a last word
            self._file.write(data)

    def registerProducer(self, producer, streaming) -> None:
        """It is always ready for more."""

    def unregisterProducer(self) -> None:
        """It is always ready for more."""


@implementer(IObjectBody, IPushProducer)
class FileBody:
    """A file in pieces, as its reader wants them; the reader's transport."""

    def __init__(self, path: Path, size: int) -> None:
        self.size = size
        self._file = path.open("rb")
        self._protocol = None
        self._paused = self._running = False

    def deliver(self, protocol) -> None:
        self._protocol = protocol
        protocol.makeConnection(self)
        self._run()

    def abandon(self) -> None:
        self._file.close()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if not self._running:
            self._run()

    def stopProducing(self) -> None:
        self._end(BackendUnavailable("the reader stopped"))

    loseConnection = abortConnection = stopProducing

    def _run(self) -> None:
        self._running = True
        while not (self._paused or self._file.closed):
            if piece := self._file.read(PIECE):
                self._protocol.dataReceived(piece)
            else:
                self._end(ResponseDone())
        self._running = False

    def _end(self, why: Exception) -> None:
        if not self._file.closed:
            self._file.close()
            self._protocol.connectionLost(Failure(why))

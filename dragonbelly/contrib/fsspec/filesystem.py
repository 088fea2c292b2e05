"""The file system: fsspec's operations, each by one or two questions to a client."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import re
import shutil
import weakref
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from fsspec.asyn import AsyncFileSystem, _run_coros_in_chunks, sync_wrapper
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.core import get_compression
from fsspec.utils import isfilelike, tokenize

from dragonbelly.client import AsyncClient, AsyncReader, File, environment
from dragonbelly.client.core import Options
from dragonbelly.client.errors import BadRequest, NotFound, PreconditionFailed
from dragonbelly.client.reading import Reading
from dragonbelly.contrib.fsspec.info import Info, describe, directory, is_directory, missing, of_item
from dragonbelly.contrib.fsspec.opened import ReadFile, WriteFile, layered

Clients = dict[asyncio.AbstractEventLoop, AsyncClient]

#: Files that are dealt with at a time: more would only wait for each other's connections.
BATCH = 32

#: Bytes of a file that is copied by way of memory: such a copy can go to another server when one fails.
SMALL = 8 * 2**20

#: A URL that means a server, where a path belongs.
_SERVER = re.compile(r"dragonbelly://[^/]*:\d*(/|$)")

#: What fsspec's base class knows, and what is of no effect as no listings are kept.
_FSSPEC = {"use_listings_cache", "listings_expiry_time", "max_paths"}


class DragonbellyFileSystem(AsyncFileSystem):  # type: ignore[misc]  # fsspec has no types
    """
    ``dragonbelly://path/in/the/domain``.  ``server`` is a daemon's listener, else the environment's
    ``DRAGONBELLY_URL``; ``token``, else ``DRAGONBELLY_TOKEN``; ``domain``, else ``DRAGONBELLY_DOMAIN``.  These,
    ``timeout`` and ``retries`` are those of ``dragonbelly.client.AsyncClient``.  ``batch_size``: how many files
    at a time.

    There are no directories, only names with slashes, as in object stores: one is there as long as something is
    below it, and need not be made.  A path may be a file and have others below it: then it is a file.  Nothing
    is cached: what was written can be read, and is listed, at once.

    ``put``, ``pipe`` and ``open`` for writing also take what ``Core.put`` does: ``content_type``,
    ``attributes``, ``copies``, ``policy``, ``expires``, ``wait_copies``, ``wait``, ``if_match``.

    :raises ValueError: no server is known.
    """

    protocol = "dragonbelly"
    root_marker = ""

    def __init__(
        self,
        server: str | None = None,
        *,
        asynchronous: bool = False,
        loop: Any = None,
        batch_size: int = BATCH,
        **options: Any,
    ) -> None:
        unknown = options.keys() - Options.__annotations__.keys() - _FSSPEC
        if unknown:
            raise TypeError(
                f"dragonbelly:// has no option {', '.join(sorted(unknown))}, only server, "
                f"{', '.join(Options.__annotations__)} and batch_size"
            )
        super().__init__(
            asynchronous=asynchronous,
            loop=loop,
            batch_size=batch_size,
            **{name: value for name, value in options.items() if name in _FSSPEC},
        )
        outside = environment.said(os.environ)
        server = server or outside.get("url")
        if not server:
            raise ValueError(
                "which Dragonbelly?  Say it with storage_options={'server': 'http://media.example.com'}, "
                "or DRAGONBELLY_URL in the environment"
            )
        self._options: Options = {n: v for n, v in options.items() if n not in _FSSPEC}  # type: ignore[assignment]
        self._options.setdefault("token", outside.get("token"))
        self._options.setdefault("domain", outside.get("domain"))
        self._server = server
        AsyncClient(server, **self._options)  # whatever is wrong with these is said now
        #: Connections belong to the loop that made them.
        self._clients: Clients = {}
        weakref.finalize(self, _close, self._clients, os.getpid()).atexit = False

    @property
    def client(self) -> AsyncClient:
        """The client of the running loop."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            for ended in [one for one in self._clients if one.is_closed()]:
                del self._clients[ended]
            client = self._clients[loop] = AsyncClient(self._server, **self._options)
        return client

    @property
    def fsid(self) -> str:
        return f"dragonbelly-{tokenize(self._server, self._options.get('domain'))}"

    # --- names

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return super()._strip_protocol(path).lstrip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        if _SERVER.match(path):
            raise ValueError(
                f"{path}: what follows dragonbelly:// is a path in the domain.  The server is told with "
                "storage_options={'server': 'http://host:port'} or DRAGONBELLY_URL; "
                "a path that looks like one is written dragonbelly:///…"
            )
        return {}

    # --- looking

    async def _info(self, path: str, **kwargs: Any) -> Info:
        path = self._strip_protocol(path)
        if not path:
            return directory(path)
        try:
            return describe(await self.client.stat(path))
        except NotFound:
            if await self._below(path):
                return directory(path)
            missing(path)

    async def _below(self, path: str) -> bool:
        """Whether there is anything below it."""
        page = await self.client.page(prefix=f"{path}/", limit=1)
        return bool(page.files)

    async def _stat(self, path: str) -> File:
        """:raises IsADirectoryError:"""
        if not path:
            is_directory(path)
        try:
            return await self.client.stat(path)
        except NotFound:
            if await self._below(path):
                is_directory(path)
            missing(path)

    async def _exists(self, path: str, **kwargs: Any) -> bool:
        try:
            await self._info(path)
        except (FileNotFoundError, BadRequest):  # anything else says nothing about it
            return False
        return True

    async def _isfile(self, path: str) -> bool:
        path = self._strip_protocol(path)
        try:
            return bool(path) and bool(await self.client.stat(path))
        except (NotFound, BadRequest):
            return False

    async def _isdir(self, path: str) -> bool:
        path = self._strip_protocol(path)
        return not path or (await self._below(path) and not await self._isfile(path))

    async def _ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Info] | list[str]:
        path = self._strip_protocol(path)
        found = [of_item(item) async for item in self.client.list(f"{path}/" if path else "", "/")]
        if not found and path:
            found = [describe(await self.client.stat(path))]
        return found if detail else [info["name"] for info in found]

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        prefix: str = "",
        **kwargs: Any,
    ) -> dict[str, Info] | list[str]:
        """By one flat listing; ``prefix`` is what the names below ``path`` begin with."""
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        path = self._strip_protocol(path)
        start = f"{path}/" if path else ""
        files: dict[str, Info] = {}
        directories: dict[str, Info] = {}
        async for item in self.client.list(start + prefix, "/" if maxdepth == 1 else ""):
            info = of_item(item)
            name = info["name"]
            above = name[len(start) :].split("/")[: -1 if info["type"] == "file" else None]
            if info["type"] == "file" and (maxdepth is None or len(above) < maxdepth):
                files[name] = info
            for depth in range(1, len(above[:maxdepth]) + 1):
                name = start + "/".join(above[:depth])
                directories.setdefault(name, directory(name))
        if path:
            try:
                files[path] = describe(await self.client.stat(path))
            except (NotFound, BadRequest):
                if directories or files:
                    directories[path] = directory(path)
        found = {**directories, **files} if withdirs else files
        return {name: found[name] for name in sorted(found)} if detail else sorted(found)

    async def _du(
        self, path: str, total: bool = True, maxdepth: int | None = None, **kwargs: Any
    ) -> int | dict[str, int]:
        found = await self._find(path, maxdepth=maxdepth, detail=True)
        sizes = {name: info["size"] for name, info in found.items()}  # type: ignore[union-attr]
        return sum(sizes.values()) if total else sizes

    def created(self, path: str) -> datetime:
        """When the version that is there now came."""
        return self.info(path)["created"]  # type: ignore[no-any-return]

    modified = created

    def ukey(self, path: str) -> str:
        """The version: another one means that the file was written."""
        return self.info(path)["version"]  # type: ignore[no-any-return]

    def checksum(self, path: str) -> int:
        """The version, as a number."""
        return int.from_bytes(self.ukey(path).encode())

    async def _url(self, path: str) -> str:
        """Where readers go: Dragonbelly sends them on."""
        return (await self._stat(self._strip_protocol(path))).url

    url = sync_wrapper(_url)

    async def _sign(self, path: str, expiration: int | None = None, **kwargs: Any) -> str:
        """
        Where the bytes are now: a link that is signed if the storage server wants that, for as long as the
        backend's configuration says.

        :raises NotImplementedError: for another time, ``expiration``.
        """
        if expiration is not None:
            raise NotImplementedError("how long links hold is set for each backend, and cannot be chosen here")
        file = await self._stat(self._strip_protocol(path))
        if not file.sources:
            raise OSError(errno.EAGAIN, "no copy of the file can be reached", path)
        return file.sources[0]

    sign = sync_wrapper(_sign)

    # --- reading

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        return await self.client.get(self._strip_protocol(path), start, end)

    async def _cat(self, path: Any, recursive: bool = False, **kwargs: Any) -> Any:
        if recursive:  # what is found below includes directories, which have no bytes
            files = await self._files(path)
            path = files if files != [self._strip_protocol(path)] else files[0]
        return await super()._cat(path, **kwargs)

    async def _get_file(self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, **kwargs: Any) -> None:
        """``lpath`` is there when it is whole and right; or a binary file that is open for writing."""
        rpath = self._strip_protocol(rpath)
        try:
            if isfilelike(lpath):
                await self._get_into(rpath, lpath, callback)
            else:
                await asyncio.to_thread(os.makedirs, Path(lpath).parent, exist_ok=True)
                await self.client.download(rpath, lpath, progress=_progress(callback))
        except (NotFound, BadRequest):
            if isfilelike(lpath) or not await self._isdir(rpath):
                raise
            await asyncio.to_thread(os.makedirs, lpath, exist_ok=True)

    async def _get_into(self, path: str, out: Any, callback: Any) -> None:
        async with await self.client.open(path) as reader:
            told = _progress(callback)
            async for chunk in reader:
                await asyncio.to_thread(out.write, chunk)
                told(reader.tell(), reader.file.size)

    # --- writing

    async def _put_content(self, path: str, content: Any, mode: str, options: dict[str, Any]) -> File:
        if mode not in ("overwrite", "create"):
            raise ValueError(f"mode is 'overwrite' or 'create', not {mode!r}")
        try:
            return await self.client.put(path, content, if_none_match=mode == "create", **options)
        except PreconditionFailed as error:
            if mode == "create":
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from error
            raise

    async def _pipe_file(self, path: str, value: Any, mode: str = "overwrite", **options: Any) -> None:
        await self._put_content(self._strip_protocol(path), value, mode, options)

    async def _put_file(
        self,
        lpath: str,
        rpath: str,
        mode: str = "overwrite",
        callback: Any = DEFAULT_CALLBACK,
        **options: Any,
    ) -> None:
        if not await asyncio.to_thread(Path(lpath).is_dir):
            options["progress"] = _progress(callback)
            await self._put_content(self._strip_protocol(rpath), Path(lpath), mode, options)

    async def _cp_file(self, path1: str, path2: str, **options: Any) -> None:
        """
        The bytes pass through here: there is no server that copies.  Type and attributes go with them.

        :raises shutil.SameFileError: both are the same; who moves it would lose it.
        """
        options.pop("onerror", None)  # slips in from ``mv`` of fsspec until 2025
        path1, path2 = self._strip_protocol(path1), self._strip_protocol(path2)
        if path1 == path2:
            raise shutil.SameFileError(f"{path1} is to be copied onto itself")
        try:
            reader = await self.client.open(path1)
        except (NotFound, BadRequest):
            if await self._isdir(path1):
                return
            raise
        async with reader:
            file = reader.file
            content = await reader.read() if (file.size or 0) <= SMALL else reader
            kept = {"content_type": file.content_type, "attributes": file.attributes}
            await self._put_content(path2, content, "overwrite", {**kept, **options})

    async def _rm_file(self, path: str, **kwargs: Any) -> None:
        path = self._strip_protocol(path)
        if not path:
            is_directory(path)
        try:
            await self.client.delete(path)
        except NotFound:
            if await self._below(path):
                is_directory(path)
            raise

    async def _rm(
        self,
        path: Any,
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        if recursive:
            names = await self._files(path, maxdepth)
        else:
            names = await self._expand_path(path)
        await _run_coros_in_chunks(
            [self._rm_file(name) for name in names], batch_size=batch_size or self.batch_size, nofiles=True
        )

    async def _files(self, path: Any, maxdepth: int | None = None) -> list[str]:
        """
        All files at and below a path, a pattern, or several.

        :raises FileNotFoundError: there are none.
        """
        names: set[str] = set()
        for one in await self._expand_path(path):
            names.update(await self._find(one, maxdepth=maxdepth))
        if not names:
            missing(str(path))
        return sorted(names)

    # --- files that are open

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """As fsspec says.  A ``with`` that is left by an exception calls the upload off."""
        if "r" in mode:
            return super().open(path, mode, block_size, cache_options, compression, **kwargs)
        text: dict[str, Any] | None = None
        if "b" not in mode:
            text = {name: kwargs.pop(name) for name in ("encoding", "errors", "newline") if name in kwargs}
        compression = get_compression(path, compression)
        mode = mode.replace("b", "").replace("t", "") + "b"
        return layered(super().open(path, mode, block_size, cache_options, **kwargs), compression, text)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> ReadFile | WriteFile:
        if mode == "rb":
            return ReadFile(self, path, block_size, cache_options=cache_options, **options)
        if mode not in ("wb", "xb"):
            raise io.UnsupportedOperation(f"mode {mode!r}: files are written as a whole, with 'wb' or 'xb'")
        if not path:
            is_directory(path)
        create = mode == "xb"
        if create and self.isfile(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        return WriteFile(self, path, create=create, autocommit=autocommit, options=options)

    async def open_async(self, path: str, mode: str = "rb", **kwargs: Any) -> AsyncReader:
        """Only for reading; ``pipe_file`` and ``put_file`` write."""
        if mode != "rb":
            raise io.UnsupportedOperation(f"mode {mode!r}: only 'rb'")
        return await self.client.open(self._strip_protocol(path))

    async def _part(
        self, file: File, avoid: frozenset[str], start: int, end: int
    ) -> tuple[bytes, File, frozenset[str]]:
        """Bytes of this version, and what is known now of it and its servers."""
        reading = Reading(self.client, file, avoid, place=start, end=end)
        try:
            return await reading.read_all(), reading.file, reading.avoid
        finally:
            await reading.close()


def _progress(callback: Any) -> Callable[[int, int | None], None]:
    def progress(done: int, size: int | None) -> None:
        if size is not None:
            callback.set_size(size)
        callback.absolute_update(done)

    return progress


def _close(clients: Clients, process: int) -> None:
    """End their connections; nobody waits for it, as this may be called anywhere."""
    if os.getpid() != process:  # the connections are the parent's
        return
    for loop, client in clients.items():
        closing = client.close()
        try:
            asyncio.run_coroutine_threadsafe(closing, loop)
        except RuntimeError:  # it is closed
            closing.close()

"""Files that are open: read in blocks, written as a whole when they are closed."""

from __future__ import annotations

import errno
import io
import warnings
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fsspec.asyn import sync
from fsspec.compression import compr
from fsspec.spec import AbstractBufferedFile

from dragonbelly.contrib.fsspec.info import describe

if TYPE_CHECKING:
    from dragonbelly.client import File
    from dragonbelly.contrib.fsspec.filesystem import DragonbellyFileSystem

#: Bytes that are fetched at a time, and how many such blocks are kept.
BLOCK, BLOCKS = 4 * 2**20, 16

#: Bytes of an upload that wait in memory; more of them in a temporary file.
SPOOL = 8 * 2**20


class ReadFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """
    All bytes are of the version that was there when it was opened; ``version``: which one that has to be.
    ``cache_type`` is one of fsspec's.

    :raises FileNotFoundError, IsADirectoryError:
    :raises OSError: ESTALE, there is another version by now.
    """

    DEFAULT_BLOCK_SIZE = BLOCK

    def __init__(
        self,
        fs: DragonbellyFileSystem,
        path: str,
        block_size: int | str | None = None,
        *,
        cache_type: str = "blockcache",
        cache_options: dict[str, Any] | None = None,
        version: str | None = None,
        size: int | None = None,
    ) -> None:
        file: File = sync(fs.loop, fs._stat, path)
        if version not in (None, file.version):
            raise OSError(errno.ESTALE, f"it was overwritten: version {version} is wanted", path)
        self._file = file
        self._avoid: frozenset[str] = frozenset()
        if cache_options is None and cache_type == "blockcache":
            cache_options = {"maxblocks": BLOCKS}
        super().__init__(
            fs,
            path,
            "rb",
            block_size,
            cache_type=cache_type,
            cache_options=cache_options,
            size=file.size or 0,
            version=file.version,  # kept in ``kwargs``: a pickle is opened with it
        )

    @property
    def details(self) -> dict[str, Any]:
        return describe(self._file)

    def read(self, length: int | None = -1) -> bytes:
        # Some caches (fsspec's blockcache until 2025) fail when they are asked for more than there is.
        left = max(self.size - self.loc, 0)
        return super().read(left if length is None or length < 0 else min(length, left))  # type: ignore[no-any-return]

    def _fetch_range(self, start: int, end: int) -> bytes:
        data: bytes
        # Two threads may be here (fsspec's caches read ahead): what either learns is right.
        data, self._file, self._avoid = sync(
            self.fs.loop, self.fs._part, self._file, self._avoid, start, min(end, self.size)
        )
        return data


class WriteFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """
    The bytes wait here, and are uploaded by ``close``, or by ``commit`` without ``autocommit``.  A ``with``
    that is left by an exception, ``discard``, and being forgotten call it off.  ``file`` is what became of it.
    """

    closed: bool

    def __init__(
        self,
        fs: DragonbellyFileSystem,
        path: str,
        *,
        create: bool,
        autocommit: bool,
        options: dict[str, Any],
    ) -> None:
        super().__init__(fs, path, "wb", autocommit=autocommit)
        self.buffer = SpooledTemporaryFile(SPOOL)  # noqa: SIM115 - until commit or discard
        self.file: File | None = None
        self._mode = "create" if create else "overwrite"
        self._options = options

    def flush(self, force: bool = False) -> None:
        """Nothing goes out before the end."""
        if self.closed:
            raise ValueError("Flush on closed file")

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if self.autocommit:
                self.commit()

    def commit(self) -> None:
        """Does nothing if it was called off, or done."""
        self.closed = True
        if not self.buffer.closed:
            with self.buffer as content:
                content.seek(0)
                self.file = sync(
                    self.fs.loop, self.fs._put_content, self.path, content, self._mode, self._options
                )

    def discard(self) -> None:
        self.closed = True
        self.buffer.close()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        if not self.closed:  # of a file that was never closed nobody knows whether it is whole
            self.discard()
            warnings.warn(f"{self.path} was not closed, and so is not uploaded", ResourceWarning, stacklevel=2)


class Compressed(io.BufferedIOBase):
    """Compresses into a file, and ends with it, one way or the other: compressors leave the file open."""

    def __init__(self, file: WriteFile, compression: str) -> None:
        self._file = file
        self._compressor = compr[compression](file, mode="w")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._compressor.write(data)  # type: ignore[no-any-return]

    def close(self) -> None:
        if not self.closed:
            try:
                if not self._file.closed:
                    self._compressor.close()
                    self._file.close()
            finally:
                super().close()

    def discard(self) -> None:
        self._file.discard()
        self.close()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        if not self.closed:
            self._file.__del__()
            self.close()


class Text(io.TextIOWrapper):
    """Text into such a file."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.buffer.discard()  # type: ignore[attr-defined]
        self.close()

    def __del__(self) -> None:
        with suppress(ValueError):  # it never became one
            if not self.closed:
                self.buffer.__del__()  # type: ignore[attr-defined]


def layered(file: WriteFile, compression: str | None, text: dict[str, Any] | None) -> Any:
    """``text``: None for bytes, else the arguments of ``TextIOWrapper``."""
    try:
        inner = file if compression is None else Compressed(file, compression)
        return inner if text is None else Text(inner, **text)  # type: ignore[arg-type]
    except BaseException:
        file.discard()
        raise

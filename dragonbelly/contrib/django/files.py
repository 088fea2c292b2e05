"""What ``Storage.open`` gives."""

from __future__ import annotations

import tempfile
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from django.core.files.base import File

if TYPE_CHECKING:
    from dragonbelly.contrib.django.storage import DragonbellyStorage

#: Bytes of a file that is being written which are kept in memory; the rest is on disk until it is closed.
IN_MEMORY = 2**20

MODES = ("rb", "wb")


class DragonbellyFile(File):  # type: ignore[type-arg]
    """
    A file of the storage.  ``rb``: seekable, only what is read is fetched.  ``wb``: uploaded when it is closed,
    in place of the file that may be there; never when its ``with`` block failed.
    """

    file: IO[bytes]

    def __init__(self, storage: DragonbellyStorage, name: str, mode: str) -> None:
        self._storage = storage
        super().__init__(self._opened(name, mode), name)
        self.mode = mode

    def _opened(self, name: str, mode: str) -> IO[bytes]:
        if mode == "rb":
            return self._storage.client.open(self._storage.path_of(name))
        if mode == "wb":
            self._storage.path_of(name)
            return tempfile.SpooledTemporaryFile(IN_MEMORY)
        raise ValueError(
            f"{name}: Dragonbelly's files are opened with mode 'rb' or 'wb', not {mode!r}; for text wrap it in "
            "io.TextIOWrapper, and save() replaces a file as a whole"
        )

    @property
    def size(self) -> int:
        if self.closed:
            return self._storage.size(self._name)
        place = self.file.tell()
        try:
            return self.file.seek(0, 2)
        finally:
            self.file.seek(place)

    def open(self, mode: str | None = None, *args: Any, **kwargs: Any) -> Self:
        """From its beginning; once more if it was closed."""
        if not self.closed and mode in (None, self.mode):
            self.seek(0)
            return self
        mode = mode or self.mode
        opened = self._opened(self._name, mode)
        self.close()
        self.file, self.mode = opened, mode
        return self

    def close(self) -> None:
        if self.closed:
            return
        try:
            if self.mode == "wb":
                self._storage.replace(self._name, self.file)
        finally:
            self.file.close()

    @property
    def _name(self) -> str:
        assert self.name is not None
        return self.name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.file.close()
        self.close()

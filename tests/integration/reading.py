"""Readers who go on all the time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from types import TracebackType

from tests.integration.asking import follow
from tests.integration.site import Site


class Readers:
    """
    While the block runs, files are read round about; at its end every answer must have had the file's bytes.
    ``files`` are contents by path.
    """

    def __init__(self, site: Site, files: Mapping[str, bytes], count: int = 2) -> None:
        self.reads = 0
        self.wrong: list[str] = []
        self._site = site
        self._files = files
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(n,), daemon=True) for n in range(count)]

    def _read(self, offset: int) -> None:
        paths = sorted(self._files)
        for path in itertools.cycle(paths[offset * len(paths) // len(self._threads) :] + paths):
            if self._end.is_set():
                return
            try:
                answer = follow(self._site.url(path))
            except OSError as error:
                self.wrong.append(f"{path}: {error!r}")
            else:
                if answer.status != 200 or answer.body != self._files[path]:
                    self.wrong.append(f"{path}: {answer.status} {answer.body[:200]!r}")
            self.reads += 1

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(60)
        if kind is None:
            assert self.reads > 0
            assert not self.wrong, f"{len(self.wrong)} of {self.reads} reads failed: {self.wrong[:5]}"

"""``kill -9`` of the daemon at random moments, while files are put, overwritten and deleted."""

from __future__ import annotations

import os
import random
import threading
import time

import pytest

from tests.integration.asking import ask, eventually, follow
from tests.integration.site import Site

pytestmark = pytest.mark.servers

EXTRA = """
[upload]
lapse = "3s"
min_rate = "64MiB"
[replication]
every = "100ms"
patience = "1s"
lease = "2s"
"""


class Writer(threading.Thread):
    """
    Works on paths of its own, one call after the other.  ``possible`` are the contents that a path may have, by
    what was acknowledged and what was not: None for no file.
    """

    def __init__(self, site: Site, number: int, seed: int) -> None:
        super().__init__(daemon=True)
        self._site = site
        self._random = random.Random(f"{seed} {number}")
        # So many that on a fast machine few overwrites are refused (429): after a DELETE that leaves no file.
        self.paths = [f"w{number}/{n}.bin" for n in range(12)]
        self.possible: dict[str, set[bytes | None]] = {path: {None} for path in self.paths}
        self.acknowledged = 0
        self.stored = 0
        self.failed = 0
        self.wrong: list[str] = []
        self.end = threading.Event()

    def run(self) -> None:
        while not self.end.is_set():
            path = self._random.choice(self.paths)
            try:
                act = self._random.choices([self._overwrite, self._remove, self._read], [6, 1, 3])[0]
                act(path)
                self.acknowledged += 1
            except OSError:
                self.failed += 1
                time.sleep(0.02)
            except Exception as error:  # the thread's end must not pass for the end of its work
                self.wrong.append(f"{path}: {error!r}")
                return

    def _overwrite(self, path: str) -> None:
        data = self._random.randbytes(self._random.choice((10, 5000, 200_000)))
        # From now on it may come alive, answered or not.
        self.possible[path] = self.possible[path] | {data}
        begun = self._site.begin(path, data)
        if begun.status in (429, 503):
            raise OSError(begun.status)
        upload = begun.headers["Dragonbelly-Upload"]
        if ask("PUT", begun.headers["Location"], data).status != 201:
            raise OSError("not stored")
        if self._random.random() < 0.5:
            done = self._site.complete(path, upload).status == 200
        else:
            done = ask("HEAD", self._site.url(path)).headers["ETag"] == f'"{upload}"'
        if not done:
            raise OSError("not seen")
        self.possible[path] = {data}
        self.stored += 1

    def _remove(self, path: str) -> None:
        self.possible[path] = self.possible[path] | {None}
        status = ask("DELETE", self._site.url(path)).status
        if status == 204:
            self.possible[path] = {None}
        elif status != 404:
            raise OSError(status)

    def _read(self, path: str) -> None:
        answer = follow(self._site.url(path))
        if answer.status == 503:
            raise OSError(answer.status)
        content = answer.body if answer.status == 200 else None
        if content not in self.possible[path]:
            self.wrong.append(
                f"{path}: {answer.status}, none of the {len(self.possible[path])} contents possible"
            )


def get_on(writers: list[Writer], files: int) -> None:
    """Wait until each has stored so many more, or found something wrong."""
    begun = [writer.stored for writer in writers]

    def look() -> bool:
        for writer, before in zip(writers, begun, strict=True):
            assert writer.wrong or writer.stored >= before + files, f"{writer.stored - before} files stored"
        return True

    eventually("every writer gets on", look, within=60)


def test_the_work_goes_on_after_kill_9_at_any_moment() -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    chance = random.Random(seed)
    with Site(EXTRA) as site:
        writers = [Writer(site, number, seed) for number in range(3)]
        for writer in writers:
            writer.start()
        try:
            for _ in range(5):
                get_on(writers, 3)  # on a slow machine it takes longer
                time.sleep(chance.uniform(0.1, 1.0))
                site.daemon.kill()
                site.daemon.start()
            get_on(writers, 10)
        finally:
            for writer in writers:
                writer.end.set()
            for writer in writers:
                writer.join(60)
        assert not any(writer.is_alive() for writer in writers)
        assert [wrong for writer in writers for wrong in writer.wrong] == [], f"seed {seed}"
        assert all(writer.acknowledged > 10 and writer.stored >= 25 for writer in writers), f"seed {seed}"
        assert sum(writer.failed for writer in writers) > 0, "no call was hit: the kills prove nothing"

        files = {file["path"]: file for file in site.settled()}
        for writer in writers:
            for path, possible in writer.possible.items():
                content = site.get(path) if path in files else None
                assert content in possible, f"{path} is not what was acknowledged (seed {seed})"
        assert len(files) > 5
        assert all(len(file["replicas"]) == 2 for file in files.values())

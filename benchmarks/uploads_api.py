"""
Whole uploads by the API, so many at once: ``POST uploads``, the bytes to the storage server, ``complete``.

Run: ``python -m benchmarks.uploads_api HOST:PORT FILES [--size 4096] [--at-once 16] [--first 0]``; a line of
JSON says what came of it.  One process, on connections that are kept.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from itertools import islice
from urllib.parse import urlsplit

from benchmarks import paths
from benchmarks.connections import PATIENCE, Pool, status, wait


@dataclass(frozen=True)
class Uploaded:
    """``cpu`` is this process's, in s."""

    files: int
    seconds: float
    cpu: float


class Uploads:
    """Each goes through three requests; the job of each is the number of its file and what is asked."""

    def __init__(self, server: str, size: int, at_once: int) -> None:
        self._server, self._at_once = server, at_once
        self._pools = {server: self._pool(server)}
        self._bytes = bytes(size)
        self.done = 0

    def _pool(self, server: str) -> Pool:
        host, _, port = server.rpartition(":")
        return Pool((host, int(port)), self._at_once)

    def run(self, numbers: range) -> None:
        """:raises RuntimeError: an answer that was not expected."""
        left = iter(numbers)
        for n in islice(left, self._at_once):
            self._begin(n)
        end = self.done + len(numbers)
        while self.done < end:
            before = self.done
            wait([one for pool in self._pools.values() for one in pool.all], PATIENCE, self._answered)
            for n in islice(left, self.done - before):
                self._begin(n)

    def _begin(self, n: int) -> None:
        self._post("uploads", {"path": paths.name(n), "size": len(self._bytes)}, (n, "begin", ""))

    def _post(self, what: str, fields: dict[str, object], job: tuple[int, str, str]) -> None:
        self._send(self._server, "POST", f"/-/api/v1/{what}", json.dumps(fields).encode(), job)

    def _send(self, server: str, method: str, target: str, body: bytes, job: object) -> None:
        pool = self._pools.get(server) or self._pools.setdefault(server, self._pool(server))
        kind = "Content-Type: application/json\r\n" if method == "POST" else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: {server}\r\n{kind}Content-Length: {len(body)}\r\n\r\n"
        pool.send(head.encode() + body, job)

    def _answered(self, job: object, answer: bytes) -> None:
        assert isinstance(job, tuple)
        n, what, upload = job
        expected = {"begin": 201, "put": 201, "complete": 200}[what]
        if status(answer) != expected:
            raise RuntimeError(f"{what}: expected {expected}, found {answer[:500]!r}")
        if what == "begin":
            begun = json.loads(answer.partition(b"\r\n\r\n")[2])
            place = urlsplit(begun["targets"][0]["url"])
            self._send(
                place.netloc, "PUT", f"{place.path}?{place.query}", self._bytes, (n, "put", begun["upload"])
            )
        elif what == "put":
            self._post(f"uploads/{upload}/complete", {"path": paths.name(n)}, (n, "complete", upload))
        else:
            self.done += 1

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("server")
    parser.add_argument("files", type=int)
    parser.add_argument("--size", type=int, default=4096, help="bytes of each file")
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--first", type=int, default=0, help="the number of the first file")
    arguments = parser.parse_args()
    uploads = Uploads(arguments.server, arguments.size, arguments.at_once)
    began, before = time.perf_counter(), time.process_time()
    uploads.run(range(arguments.first, arguments.first + arguments.files))
    found = Uploaded(arguments.files, time.perf_counter() - began, time.process_time() - before)
    uploads.close()
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()

"""
How often a busy daemon tells of a file once another daemon has answered its ``DELETE``.

    python -m benchmarks --only behind

Both daemons keep redirects; wrk asks one of them for others as fast as it goes.  A client reads a file there,
deletes it at the other one, and reads it again at once.
"""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from urllib.parse import urlsplit

from benchmarks import paths
from benchmarks.figure import Figure, Row
from benchmarks.pinning import cores, on
from benchmarks.settings import Settings
from benchmarks.site import Site, warm
from benchmarks.wrk import Requests, command

#: Other files, that wrk asks for.
OTHERS = 10_000

#: Seconds of wrk at most: it is ended when all are deleted.
MOST = 600


def _asking(opened: ExitStack, url: str) -> Callable[[str, str], int]:
    """The status of what is asked on a connection that is kept."""
    connection = opened.enter_context(closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)))

    def ask(method: str, path: str) -> int:
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    return ask


@contextmanager
def _busy(url: str, requests: Requests) -> Iterator[None]:
    with on(cores().load), subprocess.Popen(command(url, requests, MOST), stdout=subprocess.DEVNULL) as load:
        try:
            yield
            if load.poll() is not None:
                raise RuntimeError(f"wrk ended early with {load.returncode}")
        finally:
            load.kill()


def figures(settings: Settings) -> Row:
    count = settings.deletes
    behind: list[float] = []
    with Site() as site, ExitStack() as opened:
        writer, reader = site.daemon(cache=settings.hot), site.daemon(cache=settings.hot)
        site.fill(count + OTHERS)
        warm(reader.url, Requests(size=count + OTHERS))
        write, read = _asking(opened, writer.url), _asking(opened, reader.url)
        with _busy(reader.url, Requests(first=count, size=OTHERS)):
            for n in range(count):
                path = "/" + paths.name(n)
                found = read("GET", path), write("DELETE", path)
                answered = time.perf_counter()
                if found != (302, 204):
                    raise RuntimeError(f"{path}: expected 302 and 204, found {found}")
                late = 0.0
                while read("GET", path) == 302:
                    late = time.perf_counter() - answered
                    if late > 10:
                        raise RuntimeError(f"{path}: still told of after {late:.0f} s")
                if late:
                    behind.append(late)
    yield Figure(
        "behind",
        "files told of once another daemon's DELETE was answered",
        len(behind),
        f"of {count:,}",
        note=f"by a busy daemon; for {1000 * max(behind, default=0):.1f} ms at most",
    )

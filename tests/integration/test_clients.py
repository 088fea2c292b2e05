"""
What HTTP clients make of a redirected PUT: each stores exactly the bytes or fails visibly, and none leaves a
live file with other bytes.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest
import requests
import treq
import urllib3

from dragonbelly.testing.reactor import run
from tests.integration.asking import ask
from tests.integration.site import Site

pytestmark = pytest.mark.servers

EXTRA = '[upload]\nlapse = "2s"\nmin_rate = "64MiB"\n'

OLD = b"the old version"
DATA = os.urandom(1 << 20)
TIMEOUT = 5.0


def pieces() -> Iterator[bytes]:
    for start in range(0, len(DATA), 1 << 16):
        yield DATA[start : start + (1 << 16)]


def opened() -> BinaryIO:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the client reads and closes it, or the test's end does
    file.write(DATA)
    file.seek(0)
    return file


def with_curl(*arguments: str, stdin: bytes | None = None) -> int:
    """The status that curl ends with; 0 when it fails by itself."""
    command = ["curl", "-sS", "-L", "--max-time", str(TIMEOUT), "-o", os.devnull, "-w", "%{http_code}"]
    ended = subprocess.run([*command, *arguments], input=stdin, stdout=subprocess.PIPE, timeout=60, check=False)
    return int(ended.stdout) if ended.returncode == 0 else 0


def curl_file(url: str, *arguments: str) -> int:
    with tempfile.TemporaryDirectory() as directory:
        (file := Path(directory) / "data").write_bytes(DATA)
        return with_curl(*[argument.replace("FILE", str(file)) for argument in arguments], url)


def with_urllib(url: str) -> int:
    try:
        return int(urllib.request.urlopen(urllib.request.Request(url, DATA, method="PUT"), timeout=5).status)
    except urllib.error.HTTPError as error:
        return error.code


def with_treq(url: str) -> int:
    async def put() -> int:
        answer = await treq.put(url, DATA, timeout=TIMEOUT, persistent=False)
        await answer.content()
        return int(answer.code)

    return run(put)


def with_urllib3(url: str, body: object, **headers: str) -> int:
    with urllib3.PoolManager(timeout=TIMEOUT, retries=urllib3.Retry(3, read=0)) as pool:
        return pool.request("PUT", url, body=body, headers=headers).status  # type: ignore[arg-type]


#: Each gives the status that its user sees, or raises.
CLIENTS: dict[str, Callable[[str], int]] = {
    "requests, file": lambda url: requests.put(url, opened(), timeout=TIMEOUT).status_code,
    "requests, bytes": lambda url: requests.put(url, DATA, timeout=TIMEOUT).status_code,
    "requests, generator": lambda url: requests.put(url, pieces(), timeout=TIMEOUT).status_code,
    "httpx, bytes": lambda url: (
        httpx.put(url, content=DATA, follow_redirects=True, timeout=TIMEOUT).status_code
    ),
    "httpx, iterator": lambda url: (
        httpx.put(url, content=pieces(), follow_redirects=True, timeout=TIMEOUT).status_code
    ),
    "httpx, iterator of a length": lambda url: (
        httpx.put(
            url,
            content=pieces(),
            headers={"Content-Length": str(len(DATA))},
            follow_redirects=True,
            timeout=TIMEOUT,
        ).status_code
    ),
    "urllib3, bytes": lambda url: with_urllib3(url, DATA),
    "urllib3, open file": lambda url: with_urllib3(url, opened()),
    "curl -T": lambda url: curl_file(url, "-T", "FILE"),
    "curl --data-binary": lambda url: curl_file(url, "-X", "PUT", "--data-binary", "@FILE"),
    "curl -T -": lambda url: with_curl("-T", "-", url, stdin=DATA),
    "urllib": with_urllib,
    "treq": with_treq,
}

#: Those that store the file; an announcement of the length and one status or the other is all that they need.
STORING = {
    "requests, file",
    "requests, bytes",
    "httpx, bytes",
    "urllib3, bytes",
    "curl -T",
    "curl --data-binary",
}


@pytest.mark.parametrize("existing", [True, False], ids=["existing path", "new path"])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_put_stores_exactly_the_bytes_or_fails_visibly(
    site: Site, name: str, client: str, existing: bool
) -> None:
    if existing:
        site.put(name, OLD)
        assert site.get(name) == OLD
    try:
        status: object = CLIENTS[client](site.url(name))
    except Exception as error:  # whatever a library raises is visible
        status = error
    said_done = isinstance(status, int) and 200 <= status < 300

    def nothing_pending() -> bool:
        file = site.file(name)
        return file is None or not any(upload["state"] == "uploading" for upload in file["uploads"])

    site.eventually("the uploads are files, or over", nothing_pending, path=name)
    answer = ask("GET", site.url(name))
    if said_done:
        assert site.get(name) == DATA, status
    elif existing:
        assert site.get(name) in (OLD, DATA), status
    else:
        assert answer.status == 404 or site.get(name) == DATA, status
    assert said_done is (client in STORING), status


def test_a_chunked_upload_is_told_that_its_length_is_needed(site: Site, name: str) -> None:
    assert requests.put(site.url(name), pieces(), timeout=TIMEOUT).status_code == 411


def test_a_large_upload_straight_at_the_daemon_is_not_kept(site: Site, name: str) -> None:
    """A client that sends without asking gets its answer; the bytes cost the daemon no memory."""
    process = site.daemon.psutil()
    before = process.memory_info().rss
    with subprocess.Popen(["head", "-c", str(256 << 20), "/dev/zero"], stdout=subprocess.PIPE) as zeros:
        answer = httpx.put(
            site.url(name),
            content=iter(lambda: zeros.stdout.read(1 << 20), b""),  # type: ignore[union-attr]
            headers={"Content-Length": str(256 << 20), "Expect": ""},
            timeout=60,
        )
    assert answer.status_code == 307
    assert process.memory_info().rss - before < 16 << 20

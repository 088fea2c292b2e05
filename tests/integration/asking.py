"""What a client does by hand: one HTTP request, curl, and waiting for what must come."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(
    method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None, timeout: float = 20
) -> Reply:
    """One request on a connection of its own; redirects are not followed.  :raises OSError: no answer."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.netloc, timeout=timeout)
    target = where.path + (f"?{where.query}" if where.query else "")
    try:
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    except http.client.HTTPException as error:
        raise OSError(f"{method} {url}: {error!r}") from error
    finally:
        connection.close()


def follow(url: str, headers: dict[str, str] | None = None) -> Reply:
    """GET, and GET where that points to."""
    answer = ask("GET", url, headers=headers)
    return ask("GET", answer.headers["Location"]) if answer.status == 302 else answer


def curl(*arguments: str, stdin: bytes | None = None) -> bytes:
    """What curl prints.  :raises CalledProcessError: its exit status is not 0."""
    command = ["curl", "--silent", "--show-error", "--max-time", "60", *arguments]
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, timeout=90, check=True).stdout


def eventually(
    what: str,
    check: Callable[[], T],
    within: float = 20,
    evidence: Callable[[], str] = lambda: "",
) -> T:
    """
    ``check`` again and again until it gives something true.  A failed assertion or a connection error means
    not yet; when the time is over the last one is told, with the ``evidence``.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            last: object = check()
            if last:
                return last  # type: ignore[return-value]
        except (AssertionError, OSError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}\nlast: {last}\n{evidence()}")
        time.sleep(0.05)

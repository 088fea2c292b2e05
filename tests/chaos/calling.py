"""One HTTP request of a client, and how it can fail."""

from __future__ import annotations

import http.client
import re
from typing import NamedTuple
from urllib.parse import urlsplit

#: Not 127.0.0.1, which the storage servers know as the daemons': a client may neither delete nor overwrite.
SOURCE = "127.0.0.2"

#: Seconds that a client waits for a server.
PATIENCE = 3.0

_DUPLICATE = re.compile(r"<([^>]*)>;\s*rel=duplicate")


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def duplicates(self) -> list[str]:
        """Where else the same bytes are (RFC 6249), best first."""
        return _DUPLICATE.findall(self.headers.get("Link", ""))


class NoAnswer(Exception):
    """``cause`` is one of: refused, timeout, cut."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def call(
    method: str,
    url: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    timeout: float = PATIENCE,
    whole: int | None = None,
) -> Reply:
    """
    A request on a connection of its own; nothing is followed.  ``whole`` announces a longer body than is sent:
    the connection ends after it.

    :raises NoAnswer: none, or not all of it.
    """
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.netloc, timeout=timeout, source_address=(SOURCE, 0))
    target = where.path + (f"?{where.query}" if where.query else "")
    headers = dict(headers or {})
    if whole is not None:
        headers["Content-Length"] = str(whole)
    try:
        connection.request(method, target, body, headers)
        if whole is not None:
            raise NoAnswer("cut")
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    except ConnectionRefusedError:
        raise NoAnswer("refused") from None
    except TimeoutError:
        raise NoAnswer("timeout") from None
    except (OSError, http.client.HTTPException):
        raise NoAnswer("cut") from None
    finally:
        connection.close()

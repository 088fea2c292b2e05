"""Clients that ask for one file all the time, and write down whatever is no answer."""

from __future__ import annotations

import http.client
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Load:
    """
    ``fresh`` clients come on a new connection each time, ``kept`` ones keep theirs as long as they may.
    ``answers`` counts the redirects, ``failures`` says what else there was.
    """

    def __init__(self, url: str, fresh: int = 4, kept: int = 4) -> None:
        self._where = urlsplit(url)
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.answers = 0
        self.reconnected = 0
        self.failures: list[str] = []
        self._clients = [threading.Thread(target=self._ask_fresh) for _ in range(fresh)]
        self._clients += [threading.Thread(target=self._ask_kept) for _ in range(kept)]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for client in self._clients:
            client.join(60)

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._where.netloc, timeout=60)

    def _ask(self, connection: http.client.HTTPConnection) -> bool:
        """Whether the connection may be used again.  :raises OSError, HTTPException: no answer."""
        connection.request("GET", self._where.path)
        answer = connection.getresponse()
        answer.read()
        with self._lock:
            if answer.status == 302:
                self.answers += 1
            else:
                self.failures.append(f"{answer.status} {answer.reason}")
        return not answer.will_close

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self.failures.append(repr(error))

    def _ask_fresh(self) -> None:
        while not self._over.is_set():
            connection = self._connection()
            try:
                self._ask(connection)
            except (OSError, http.client.HTTPException) as error:
                self._failed(error)
            finally:
                connection.close()

    def _ask_kept(self) -> None:
        connection, used = self._connection(), False
        while not self._over.is_set():
            try:
                again = self._ask(connection)
            except (OSError, http.client.HTTPException) as error:
                if not used:
                    self._failed(error)
                # An idle connection may end as it is used: then one asks again (RFC 9112 section 9.3.1).
                again = False
            used = again
            if not again:
                with self._lock:
                    self.reconnected += 1
                connection.close()
                connection = self._connection()
        connection.close()

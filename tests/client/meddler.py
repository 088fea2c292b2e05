"""An HTTP proxy that meddles: loses requests or replies, answers by itself, cuts bodies."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

#: What is done with a request: None: passed on.  "lose request", "lose reply", "cut" (half of the body of the
#: reply), (status, body) in its place, or what makes another body of it.
Fate = str | tuple[int, bytes] | Callable[[bytes], bytes] | None
Rule = Callable[[str, str], Fate]


class Meddler:
    """
    In front of ``target``; ``rule(method, path)`` says what becomes of a request; all are ``seen``, with
    their ``headers``.  ``connections``: how many clients made.
    """

    def __init__(self, target: str, rule: Rule) -> None:
        self.seen: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.rule = rule
        place = urlsplit(target)
        meddler = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                meddler.connections += 1
                super().setup()

            def _pass(self) -> None:
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                meddler.seen.append((self.command, self.path))
                meddler.headers.append(dict(self.headers.items()))
                fate = meddler.rule(self.command, self.path)
                if fate == "lose request":
                    self.close_connection = True
                    return
                if isinstance(fate, tuple):
                    self._answer(fate[0], {"Content-Type": "application/problem+json"}, fate[1])
                    return
                upstream = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
                try:
                    headers = dict(self.headers.items())
                    upstream.request(self.command, self.path, body or None, headers)
                    reply = upstream.getresponse()
                    data, said = reply.read(), dict(reply.getheaders())
                finally:
                    upstream.close()
                if fate == "lose reply":
                    self.close_connection = True
                    return
                self._answer(reply.status, said, fate(data) if callable(fate) else data, cut=fate == "cut")

            def _answer(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if cut:
                    self.close_connection = True
                self.wfile.write(data[: len(data) // 2] if cut else data)

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self._pass
                raise AttributeError(name)

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Meddler:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count(self, method: str, part: str = "") -> int:
        return sum(method == m and part in path for m, path in self.seen)


def first(n: int, method: str, part: str, fate: Fate) -> Rule:
    """The first ``n`` of such requests meet this fate."""
    left = [n]

    def rule(asked: str, path: str) -> Fate:
        if asked == method and part in path and left[0] > 0:
            left[0] -= 1
            return fate
        return None

    return rule

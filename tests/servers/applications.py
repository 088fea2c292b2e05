"""Servers of web applications, each in a thread of the test or in a process of its own."""

from __future__ import annotations

import os
import socketserver
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.validate import validator

import uvicorn
import werkzeug.serving

from tests.servers.ports import free_port
from tests.servers.process import ServerProcess


@contextmanager
def werkzeug_server(app: Any) -> Iterator[str]:
    """Flask's own server; its URL."""
    with _running(werkzeug.serving.make_server("127.0.0.1", free_port(), app, threaded=True)) as url:
        yield url


@contextmanager
def wsgiref_server(app: Any) -> Iterator[str]:
    """The standard library's, with its validator between; its URL."""

    class Server(socketserver.ThreadingMixIn, WSGIServer):
        pass

    class Handler(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

    server = make_server("127.0.0.1", free_port(), validator(app), Server, Handler)
    with _running(server) as url:
        yield url


@contextmanager
def _running(server: Any) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()


@contextmanager
def uvicorn_server(app: Any, protocol: str) -> Iterator[str]:
    """Its URL; ``protocol`` is ``h11`` or ``httptools``."""
    port = free_port()
    config = uvicorn.Config(app, "127.0.0.1", port, http=protocol, log_level="critical")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "uvicorn did not start"
            assert time.monotonic() < deadline, "uvicorn did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "a request keeps uvicorn from ending"


class Example(ServerProcess):
    """An example of ours: ``python -m`` and these arguments, in its directory; ``PORT`` stands for the port."""

    def __init__(self, directory: Path, arguments: list[str], environment: dict[str, str]) -> None:
        super().__init__()
        self.port = free_port()
        self.home = directory
        self.arguments = [argument.replace("PORT", str(self.port)) for argument in arguments]
        self.environment = environment

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | self.environment
        self.spawn([sys.executable, "-m", *self.arguments], cwd=self.home, env=environment)
        self.wait_until_it_answers(20)
        return self

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

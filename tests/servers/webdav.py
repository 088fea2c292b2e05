"""A small WebDAV server in the test's own reactor, for what nginx' core module lacks: PROPFIND."""

from __future__ import annotations

import shutil
import tempfile
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote

from twisted.protocols.policies import WrappingFactory
from twisted.web import http, static
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from dragonbelly.testing import reactor


class WebDavServer:
    """Files below ``root``; ``url`` has a path, as many WebDAV servers' URLs have."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="webdav-"))
        self.root = self.directory / "objects"
        self.root.mkdir()
        self.port = 0
        self._listening: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/remote%20files/dav"

    def start(self) -> None:
        reactor.run(self._listen)

    def stop(self) -> None:
        reactor.run(self._stop)

    def clear(self) -> None:
        shutil.rmtree(self.root)
        self.root.mkdir()

    def __enter__(self) -> WebDavServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    def _listen(self) -> None:
        site = Site(_Objects(self.root, "/remote files/dav/"), reactor=reactor.start())
        self._factory = WrappingFactory(site)  # knows the connections that are open
        self._listening = reactor.start().listenTCP(self.port, self._factory, interface="127.0.0.1")
        self.port = self._listening.getHost().port

    def _stop(self) -> Any:
        for connection in list(self._factory.protocols):
            connection.transport.abortConnection()
        return self._listening.stopListening()


class _Objects(Resource):
    isLeaf = True

    def __init__(self, root: Path, base: str) -> None:
        super().__init__()
        self._root = root
        self._base = base

    def _file(self, request: Request) -> Path:
        return self._root / unquote(request.path.decode("ascii")).removeprefix(self._base)

    def render_GET(self, request: Request) -> Any:
        file = self._file(request)
        if not file.is_file():
            return _answer(request, http.NOT_FOUND)
        sending = static.File(str(file), defaultType="application/octet-stream")
        sending.contentEncodings = {}  # it would call a .gz file encoded
        return sending.render_GET(request)

    def render_PUT(self, request: Request) -> bytes:
        file = self._file(request)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(request.content.read())
        return _answer(request, http.CREATED)

    def render_DELETE(self, request: Request) -> bytes:
        file = self._file(request)
        if request.path.endswith(b"/") and file.is_dir():
            shutil.rmtree(file)
        elif file.is_file():
            file.unlink()
        else:
            return _answer(request, http.NOT_FOUND)
        return _answer(request, http.NO_CONTENT)

    def render_PROPFIND(self, request: Request) -> bytes:
        directory = self._file(request)
        assert request.getHeader("depth") == "1"
        assert b"getcontentlength" in request.content.read()
        if not directory.is_dir():
            return _answer(request, http.NOT_FOUND)
        responses = [_response(unquote(request.path.decode("ascii")), None)]
        for entry in directory.iterdir():
            href = f"{self._base}{entry.relative_to(self._root)}"
            size = None if entry.is_dir() else entry.stat().st_size
            responses.append(_response(href if size is not None else f"{href}/", size))
        request.setHeader("content-type", "application/xml; charset=utf-8")
        request.setResponseCode(http.MULTI_STATUS)
        return f'<d:multistatus xmlns:d="DAV:">{"".join(responses)}</d:multistatus>'.encode()


def _answer(request: Request, status: int) -> bytes:
    request.setResponseCode(status)
    return b""


def _response(path: str, size: int | None) -> str:
    kind = "<d:collection/>" if size is None else ""
    length = "" if size is None else f"<d:getcontentlength>{size}</d:getcontentlength>"
    return (
        f"<d:response><d:href>{escape(quote(path))}</d:href><d:propstat><d:prop>"
        f"<d:resourcetype>{kind}</d:resourcetype>{length}</d:prop>"
        "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
    )

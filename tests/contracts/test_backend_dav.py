"""The contract on real nginx, as the shipped configuration sets it up, and on a server that has PROPFIND."""

from collections.abc import Iterator

import pytest

from dragonbelly.backends.dav import DavBackend, DavOptions
from dragonbelly.testing import reactor
from dragonbelly.testing.backend import BackendContract
from tests.servers.nginx import NginxServer
from tests.servers.webdav import WebDavServer

BY_CREDENTIAL = {"private": True, "daemon": False, "credential": "only-what-the-daemon-shows-makes-it-one"}


@pytest.fixture(
    scope="module", params=[{}, {"private": True}, BY_CREDENTIAL], ids=["open", "private", "credential"]
)
def server(request: pytest.FixtureRequest) -> Iterator[NginxServer]:
    with NginxServer(**request.param) as running:
        yield running


@pytest.mark.servers
class TestDavBackend(BackendContract):
    finds_dot_names = False  # nginx leaves them out of its listings

    @pytest.fixture(autouse=True)
    def _server(self, server: NginxServer) -> Iterator[None]:
        self.server = server
        yield
        server.clear()

    def make_backend(self) -> DavBackend:
        options = DavOptions(**self.server.options)  # type: ignore[arg-type]
        return DavBackend("dav", options, reactor.start(), timeout=2, idle_timeout=2)

    def stop_server(self) -> None:
        self.server.kill()

    def start_server(self) -> None:
        self.server.start()


@pytest.fixture(scope="module")
def webdav() -> Iterator[WebDavServer]:
    with WebDavServer() as running:
        yield running


class TestDavBackendWithPropfind(BackendContract):
    @pytest.fixture(autouse=True)
    def _server(self, webdav: WebDavServer) -> Iterator[None]:
        self.server = webdav
        yield
        webdav.clear()

    def make_backend(self) -> DavBackend:
        options = DavOptions(url=self.server.url, listing="propfind")
        return DavBackend("dav", options, reactor.start(), timeout=2, idle_timeout=2)

    def stop_server(self) -> None:
        self.server.stop()

    def start_server(self) -> None:
        self.server.start()

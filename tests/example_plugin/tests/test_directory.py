import shutil

import pytest
from example_directory import DirectoryFactory, DirectoryOptions
from zope.interface.verify import verifyObject

from dragonbelly.interfaces import IBackendFactory
from dragonbelly.secret import Secret
from dragonbelly.testing import reactor
from dragonbelly.testing.backend import BackendContract
from tests.servers.nginx import NginxServer


def test_the_factory():
    assert verifyObject(IBackendFactory, DirectoryFactory())


@pytest.fixture(scope="module")
def server():
    with NginxServer() as running:
        yield running


class TestDirectory(BackendContract):
    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.root = server.root
        self.elsewhere = server.directory / "unmounted"
        self.server = server
        yield
        server.clear()

    def make_backend(self):
        options = DirectoryOptions(str(self.root), self.server.url, Secret(self.server.secret))
        return DirectoryFactory().make("here", options, reactor.start())

    def stop_server(self):
        shutil.move(self.root, self.elsewhere)

    def start_server(self):
        shutil.move(self.elsewhere, self.root)

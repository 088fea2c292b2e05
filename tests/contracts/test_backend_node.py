"""The contract on a listening node, public and private."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock
from zope.interface.verify import verifyObject

from dragonbelly.backends.node import NodeBackend, NodeFactory, NodeOptions
from dragonbelly.bodies import BytesBody
from dragonbelly.errors import BackendFull, BackendRefused, BackendUnavailable, ConfigError, NoSuchObject
from dragonbelly.interfaces import IBackendFactory
from dragonbelly.secret import Secret
from dragonbelly.testing import reactor
from dragonbelly.testing.backend import BackendContract, make_key
from tests.node.running import SECRET, RunningNode


@pytest.mark.servers
class TestNodeBackend(BackendContract):
    @pytest.fixture(autouse=True, params=[False, True], ids=["public", "private"])
    def _node(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
        with RunningNode(tmp_path / "root", private=request.param) as self.node:
            yield

    def make_backend(self) -> NodeBackend:
        options = NodeOptions(url=self.node.url, secret=SECRET.decode(), private=self.node.options["private"])
        return NodeBackend("node", options, reactor.start(), timeout=2, idle_timeout=2)

    def stop_server(self) -> None:
        self.node.stop()

    def start_server(self) -> None:
        self.node.start()

    # --- what a node does beyond the contract

    def test_the_digest_is_known_without_reading(self, backend: NodeBackend) -> None:
        key = make_key()
        self.write(backend, key, b"bytes")
        assert self.stat(backend, key).sha256 == sha256(b"bytes").digest()

    def test_the_room_is_told(self, backend: NodeBackend) -> None:
        space = self.run(backend.probe)
        assert 0 < space.free < space.total

    def test_other_bytes_are_refused(self, backend: NodeBackend) -> None:
        key = make_key()
        self.write(backend, key, b"bytes")
        with pytest.raises(BackendRefused):
            self.write(backend, key, b"other")
        assert self.read(backend, key) == b"bytes"

    def test_the_media_type_is_kept(self, backend: NodeBackend) -> None:
        key = make_key("photo.jpg")
        self.run(lambda: backend.write(key, BytesBody(b"x"), "text/x-strange; charset=utf-8"))
        url = backend.download_url(key)
        answer = self.node.ask("HEAD", url.removeprefix(self.node.url))
        assert answer.headers["content-type"] == "text/x-strange; charset=utf-8"

    def test_keys_come_in_pages(self, backend: NodeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dragonbelly.backends.node.PAGE", 2)
        keys = sorted(make_key(name, f"media/{name}") for name in "abcde")
        for key in keys:
            self.write(backend, key)
        assert [stored.key for stored in self.keys(backend)] == keys

    def test_a_wrong_secret_is_refused_and_not_missing(self, backend: NodeBackend) -> None:
        options = NodeOptions(url=self.node.url, secret="another")
        wrong = NodeBackend("node", options, reactor.start(), timeout=2)
        for ask in (wrong.probe, lambda: wrong.delete("k"), lambda: wrong.write("k", BytesBody(b""))):
            with pytest.raises(BackendRefused):
                self.run(ask)

    def test_no_root_is_not_missing(self, backend: NodeBackend) -> None:
        """An unmounted disk must not look like one without objects."""
        key = make_key()
        self.write(backend, key)
        self.node.root.rename(self.node.root.with_name("elsewhere"))
        for mounted in (False, True):
            if mounted:
                self.node.root.mkdir()  # as an empty mount point is
            for ask in (backend.stat, backend.read, backend.delete):
                with pytest.raises(BackendUnavailable):
                    self.run(lambda ask=ask: ask(key))
            with pytest.raises(BackendUnavailable):
                self.keys(backend)


@pytest.mark.servers
def test_full(tmp_path: Path) -> None:
    with RunningNode(tmp_path, reserve=2**60) as node:
        backend = NodeBackend("n", NodeOptions(node.url, secret=SECRET.decode()), reactor.start())
        with pytest.raises(BackendFull):
            reactor.run(lambda: backend.write("d/k", BytesBody(b"bytes")))
        assert reactor.run(backend.probe).free == 0
        with pytest.raises(NoSuchObject):
            reactor.run(lambda: backend.stat("d/k"))
        reactor.run(backend.close)


class TestUrls:
    def test_public_downloads_are_plain(self) -> None:
        backend = NodeBackend("n", NodeOptions("http://a/", Secret("s"), "http://b"), reactor.start())
        assert backend.download_url("d/ä b") == "http://a/d/%C3%A4%20b"
        assert backend.upload_target("d/k", content_type="a/b\r\nX: y").headers == ()
        assert backend.upload_target("d/k", content_type="a/b").headers == (("Content-Type", "a/b"),)

    def test_private_downloads_stay_the_same_for_a_while(self) -> None:
        clock = MemoryReactorClock()
        options = NodeOptions("http://a", secret=Secret("s"), private=True)
        backend = NodeBackend("n", options, clock)
        urls = set()
        for now in range(0, 3600, 60):
            url = backend.download_url("d/k")
            expires = int(url.partition("expires=")[2].partition("&")[0])
            assert expires >= now + 3600
            urls.add(url)
            clock.advance(60)
        assert len(urls) <= 5
        assert "expires=5&" in backend.download_url("d/k", expires=5)


class TestFactory:
    def test_provides_the_interface(self) -> None:
        assert verifyObject(IBackendFactory, NodeFactory())

    def test_a_url_that_is_none(self) -> None:
        with pytest.raises(ConfigError, match="ftp://a"):
            NodeFactory().make("n", NodeOptions(url="ftp://a", secret=Secret("s")), reactor.start())

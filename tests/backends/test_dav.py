"""What is peculiar to ``dav`` and to nginx; all the rest is in the contract."""

import shutil
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from dragonbelly.backends.dav import PLACEHOLDER, DavBackend, DavFactory, DavOptions
from dragonbelly.bodies import BytesBody
from dragonbelly.errors import (
    BackendError,
    BackendRefused,
    BackendUnavailable,
    ConfigError,
    NoSuchObject,
)
from dragonbelly.interfaces import IBackend, IBackendFactory
from dragonbelly.model import Space, Target
from dragonbelly.secret import Secret
from dragonbelly.testing import reactor
from dragonbelly.testing.backend import LARGE, MIB, Broken, Reader, make_key
from dragonbelly.units import Interval
from tests.servers.nginx import NginxServer
from tests.servers.raw import RawServer

CREDENTIAL = "only-what-the-daemon-shows-makes-it-one"


def make(url: str, **options: Any) -> DavBackend:
    return DavBackend("dav", DavOptions(url=url, **options), reactor.start(), timeout=1, idle_timeout=1)


@pytest.fixture
def nginx(request: pytest.FixtureRequest) -> Iterator[NginxServer]:
    with NginxServer(**getattr(request, "param", {})) as running:
        yield running


@pytest.fixture
def backend(nginx: NginxServer) -> Iterator[DavBackend]:
    backend = make(**nginx.options)
    yield backend
    reactor.run(backend.close)


def write(backend: DavBackend, key: str, data: bytes = b"some bytes") -> None:
    reactor.run(lambda: backend.write(key, BytesBody(data)))


def walk(backend: DavBackend, prefix: str = "") -> list[str]:
    async def work() -> list[str]:
        return [stored.key async for stored in backend.keys(prefix)]

    return sorted(reactor.run(work))


def client(url: str, method: str = "GET", data: bytes | None = None) -> int:
    request = urllib.request.Request(url, data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


# --- the factory


def test_factory() -> None:
    factory = DavFactory()
    assert verifyObject(IBackendFactory, factory)
    assert factory.kind == "dav"
    backend = factory.make("store1", DavOptions(url="http://store1"), reactor.start())
    assert verifyObject(IBackend, backend)
    assert backend.name == "store1"


@pytest.mark.parametrize("options", [{"url": "store1"}, {"url": "http://store1", "internal_url": "http://a b"}])
def test_a_url_that_is_none(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"backend store1: .*http://"):
        DavFactory().make("store1", DavOptions(**options), reactor.start())


# --- URLs


def test_clients_are_sent_to_the_url_and_the_daemon_goes_to_the_internal_one() -> None:
    backend = make("https://files.example.com/a%20b/", internal_url="http://10.0.0.1:8000")
    assert backend.download_url("m/@x/ä?") == "https://files.example.com/a%20b/m/@x/%C3%A4%3F"
    assert backend.upload_target("m/f") == Target("PUT", "https://files.example.com/a%20b/m/f")


def test_signed_urls() -> None:
    backend = make("http://s", private=True, secure_link_secret="hush", secure_link_expires=Interval(60))
    url = backend.download_url("m/f")
    expires = int(url.rpartition("=")[2])
    assert time.time() + 59 <= expires <= time.time() + 76
    assert backend.download_url("m/f", 1_800_000_000).endswith("&expires=1800000000")
    assert backend.upload_target("m/f", expires=1_800_000_000).url.endswith("&expires=1800000000")
    assert backend.upload_target("m/f", expires=1_800_000_000).url != backend.download_url("m/f", 1_800_000_000)
    assert "hush" not in url


def test_uploads_alone_are_signed_unless_the_server_is_private() -> None:
    backend = make("http://s", secure_link_secret="hush")
    assert backend.download_url("m/f") == backend.download_url("m/f", 1_800_000_000) == "http://s/m/f"
    assert "?md5=" in backend.upload_target("m/f").url


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"private": True}, "found private = true without a secure_link_secret"),
        ({"secure_link_secret": PLACEHOLDER}, "found the secure_link_secret of the sample"),
        ({"credential": "x" * 31}, "found a credential of 31 characters, expected 32 or more"),
        ({"credential": "hush" * 8 + "\r\nX: y"}, "found a credential of 38 characters"),
        ({"credential": "hush" * 8 + "é"}, "found a credential of 33 characters"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^backend store1: {said}") as mistake:
        DavFactory().make("store1", DavOptions(url="http://store1", **options), reactor.start())
    assert "hush" not in str(mistake.value)


# --- the credential


@pytest.mark.parametrize("listing", ["autoindex", "propfind"])
def test_the_daemon_shows_the_credential_with_whatever_it_asks(listing: str) -> None:
    with RawServer(
        lambda conversation: conversation.say(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    ) as raw:
        backend = make("http://public", internal_url=raw.url, credential=Secret(CREDENTIAL), listing=listing)
        calls: list[Callable[[], Any]] = [
            lambda: reactor.run(lambda: backend.stat("m/f")),
            lambda: reactor.run(lambda: backend.read("m/f")),
            lambda: reactor.run(lambda: backend.write("m/f", BytesBody(b"x"))),
            lambda: reactor.run(lambda: backend.delete("m/f")),
            lambda: walk(backend),
        ]
        for call in calls:
            with pytest.raises(BackendRefused) as refused:
                call()
            assert CREDENTIAL not in "".join(traceback.format_exception(refused.value))
        reactor.run(backend.probe)
        reactor.run(backend.close)
        assert len(raw.heads) == len(calls) + 1
        for head in raw.heads:
            assert head.count(b"Authorization: Bearer " + CREDENTIAL.encode()) == 1
    shown = [backend, backend._options, vars(backend)["_options"], backend.download_url("m/f")]
    assert CREDENTIAL not in f"{shown!r} {backend.upload_target('m/f')!r}"


# --- nginx


@pytest.mark.servers
def test_what_lies_on_the_disk(nginx: NginxServer, backend: DavBackend) -> None:
    key = make_key("ä b.txt", "media/2024")
    write(backend, key)
    file = nginx.root / key
    assert file.read_bytes() == b"some bytes"
    reactor.run(lambda: backend.delete(key))
    assert not file.parent.exists()
    assert file.parent.parent.is_dir()
    assert files_below(nginx.uploads) == []


@pytest.mark.servers
def test_a_delete_that_was_cut_short_is_finished_by_the_next(nginx: NginxServer, backend: DavBackend) -> None:
    key = make_key()
    write(backend, key)
    (nginx.root / key).unlink()
    reactor.run(lambda: backend.delete(key))
    assert not (nginx.root / key).parent.exists()


def files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.servers
def test_uploads_that_are_cut_leave_no_stray_file(nginx: NginxServer, backend: DavBackend) -> None:
    key = make_key()
    with pytest.raises(Exception):  # noqa: B017 -- the body's own
        reactor.run(lambda: backend.write(key, Broken(MIB, after=LARGE[: MIB // 2])))
    deadline = time.monotonic() + 5
    while files_below(nginx.uploads) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert files_below(nginx.directory / "objects") == files_below(nginx.uploads) == []


@pytest.mark.servers
def test_a_server_that_cannot_store(nginx: NginxServer, backend: DavBackend) -> None:
    shutil.rmtree(nginx.uploads)
    nginx.uploads.write_text("no directory")
    with pytest.raises(BackendUnavailable, match=r"500.*full"):
        write(backend, make_key())


@pytest.mark.servers
def test_a_frozen_server(nginx: NginxServer, backend: DavBackend) -> None:
    key = make_key()
    write(backend, key, LARGE)
    nginx.pause()
    try:
        # The kernel took the request to delete: it happens when the server wakes.  The error does not say no.
        for call, subject in ((backend.stat, key), (backend.read, key), (backend.delete, make_key())):
            with pytest.raises(BackendUnavailable):
                reactor.run(lambda call=call, subject=subject: call(subject))  # type: ignore[misc]
        for body in (BytesBody(b"x"), BytesBody(LARGE)):
            with pytest.raises(BackendUnavailable):
                reactor.run(lambda body=body: backend.write(make_key(), body))  # type: ignore[misc]
        with pytest.raises(BackendUnavailable):
            reactor.run(backend.probe)
    finally:
        nginx.resume()
    assert reactor.run(lambda: backend.stat(key)).size == len(LARGE)


@pytest.mark.servers
@pytest.mark.parametrize("nginx", [{"limit_rate": "512k"}], indirect=True)
def test_killed_while_it_sends(nginx: NginxServer, backend: DavBackend) -> None:
    key = make_key()
    write(backend, key, LARGE)

    async def work() -> None:
        reader = Reader()
        (await backend.read(key)).deliver(reader)
        started: Deferred[None] = Deferred()
        reactor.start().callLater(0.2, started.callback, None)
        await started
        assert 0 < reader.size < len(LARGE)
        nginx.kill()
        await reader.done

    with pytest.raises(BackendUnavailable):
        reactor.run(work)


@pytest.mark.servers
@pytest.mark.parametrize("nginx", [{"listing": False}], indirect=True)
def test_no_listing_is_an_error_and_no_emptiness(nginx: NginxServer, backend: DavBackend) -> None:
    with pytest.raises(BackendRefused):
        walk(backend)


@pytest.mark.servers
def test_no_root_is_an_error_and_no_emptiness(nginx: NginxServer, backend: DavBackend) -> None:
    nginx.root.rmdir()
    with pytest.raises(BackendRefused, match="root"):
        walk(backend)


@pytest.mark.servers
def test_a_directory_that_vanishes_during_the_walk(nginx: NginxServer, backend: DavBackend) -> None:
    keys = [make_key(str(n), f"media/{n}") for n in range(4)]
    for key in keys:
        write(backend, key)

    async def work() -> list[str]:
        found = []
        async for stored in backend.keys():
            found.append(stored.key)
            for key in keys:
                if key not in found:
                    await backend.delete(key)
        return found

    assert len(reactor.run(work)) == 1


@pytest.mark.servers
@pytest.mark.parametrize("nginx", [{"daemon": False}, {"daemon": False, "private": True}], indirect=True)
def test_what_a_client_may_not(nginx: NginxServer, backend: DavBackend) -> None:
    """This machine is a client's here, even one that knows the secret."""
    key = make_key()
    target = backend.upload_target(key)
    assert client(target.url, "PUT", b"once") == 201
    # A link that was used once does not overwrite what came of it.
    assert client(target.url, "PUT", b"twice") == 409
    assert client(backend.download_url(key)) == 200
    assert client(backend.download_url(key), "HEAD") == 200
    with pytest.raises(BackendRefused):
        reactor.run(lambda: backend.delete(key))
    with pytest.raises(BackendRefused):
        walk(backend)
    directory = key.rpartition("/")[0]
    for path in (f"{directory}/", "media/", ""):
        assert client(f"{nginx.url}/{path}") == 403
        assert client(f"{nginx.url}/{path}", "DELETE") == 403
        assert client(f"{nginx.url}/{path}", "PUT", b"x") == 403
    assert (nginx.root / key).read_bytes() == b"once"
    assert reactor.run(backend.probe) == Space()


@pytest.mark.servers
def test_a_daemon_cannot_remove_more_than_a_version(nginx: NginxServer, backend: DavBackend) -> None:
    write(backend, make_key())
    for path in ("media/d/", "media/", "", "media", "media/d"):
        assert client(f"{nginx.url}/{path}", "DELETE") in (403, 405, 409)
    assert len(files_below(nginx.root)) == 1


@pytest.mark.servers
@pytest.mark.parametrize("nginx", [{"private": True, "secret": "it's a secret"}], indirect=True)
def test_signed_links(nginx: NginxServer, backend: DavBackend) -> None:
    key, other = make_key("a b%?.txt"), make_key()
    write(backend, key)
    write(backend, other)
    link = backend.download_url(key)
    plain, _, query = link.partition("?")
    assert client(link) == 200
    assert client(link, "HEAD") == 200
    assert client(plain) == 403
    assert client(link, "PUT", b"x") == 403
    assert client(link, "DELETE") == 403
    assert client(f"{backend.download_url(other).partition('?')[0]}?{query}") == 403
    assert client(link + "0") == 403
    assert client(backend.download_url(key, int(time.time()) - 1)) == 403
    assert client(backend.upload_target(make_key(), expires=int(time.time()) - 1).url, "PUT", b"x") == 403
    assert client(backend.upload_target(make_key()).url, "PUT", b"x") == 201


@pytest.mark.servers
@pytest.mark.parametrize("nginx", [{"private": True}], indirect=True)
def test_a_wrong_secret_or_clock_is_no_missing_object(nginx: NginxServer) -> None:
    class Late:
        """A reactor an hour behind."""

        def __getattr__(self, name: str) -> Any:
            return getattr(reactor.start(), name)

        def seconds(self) -> float:
            return time.time() - 2 * 3600

    wrong = make(nginx.url, secure_link_secret="another")
    late = DavBackend(
        "late", DavOptions(url=nginx.url, secure_link_secret=Secret(nginx.secret)), Late(), timeout=1
    )
    for backend in (wrong, late):
        with pytest.raises(BackendRefused):
            reactor.run(lambda backend=backend: backend.stat(make_key()))  # type: ignore[misc]
        reactor.run(backend.close)


@pytest.mark.servers
@pytest.mark.parametrize("nginx", [{"private": True}], indirect=True)
def test_a_url_with_a_path(nginx: NginxServer) -> None:
    backend = make(**nginx.options | {"url": f"{nginx.url}/a%20part/"})
    key = make_key("ä?")
    write(backend, key)
    assert (nginx.root / "a part" / key).is_file()
    assert walk(backend) == [key]
    assert client(backend.download_url(key)) == 200
    reactor.run(lambda: backend.delete(key))
    with pytest.raises(NoSuchObject):
        reactor.run(lambda: backend.stat(key))
    reactor.run(backend.close)


# --- servers that are not nginx


@pytest.mark.parametrize(
    ("status", "up"),
    [(200, True), (204, True), (301, True), (403, True), (404, True), (500, False), (503, False)],
)
def test_probe(status: int, up: bool) -> None:
    answer = b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status
    with RawServer(lambda conversation: conversation.say(answer)) as raw:
        backend = make(raw.url)
        try:
            assert reactor.run(backend.probe) == Space()
            assert up
        except BackendUnavailable:
            assert not up
        reactor.run(backend.close)


@pytest.mark.parametrize("listing", ["autoindex", "propfind"])
@pytest.mark.parametrize("status", [200, 207])
def test_a_listing_that_is_none(listing: str, status: int) -> None:
    page = b"<html>Index of /</html>"
    answer = b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n" % (status, len(page)) + page
    with RawServer(lambda conversation: conversation.say(answer)) as raw:
        backend = make(raw.url, listing=listing)
        with pytest.raises(BackendError):
            walk(backend)
        reactor.run(backend.close)


def test_stat_without_a_length() -> None:
    with RawServer(lambda conversation: conversation.say(b"HTTP/1.1 200 OK\r\n\r\n")) as raw:
        backend = make(raw.url)
        with pytest.raises(BackendUnavailable, match="Content-Length"):
            reactor.run(lambda: backend.stat("m/f"))
        reactor.run(backend.close)

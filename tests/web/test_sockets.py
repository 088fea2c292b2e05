"""The same site on real sockets: large bodies that nobody wants, and TLS."""

from __future__ import annotations

import datetime
import os
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dragonbelly.starting import listen
from dragonbelly.testing import reactor
from dragonbelly.web import channel
from tests.web.wire import answers
from tests.web.world import World

pytestmark = pytest.mark.servers

GIB = 1 << 30
RSS_GROWTH = 16 << 20


@contextmanager
def serving(endpoint: str = "tcp:0:interface=127.0.0.1", settings: str = "") -> Iterator[int]:
    """The port of a public listener.  Files go by a world's clock, connections by the real one."""
    worlds: list[World] = []
    ports: list[Any] = []

    async def start() -> int:
        world = World(settings)
        worlds.append(world)
        world.public.reactor = world.public.site.reactor = reactor.start()
        ports.append(listen(reactor.start(), endpoint, world.public))
        number: int = ports[0].getHost().port
        return number

    async def stop() -> None:
        await ports[0].stopListening()
        worlds[0].close()

    number = reactor.run(start)
    try:
        yield number
    finally:
        reactor.run(stop)


def curl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["curl", "-sS", "--max-time", "60", "-o", "/dev/null", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


class Watch(threading.Thread):
    """The most memory that this process, where the site runs, took meanwhile; and the files that it wrote."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process()
        self._over = threading.Event()
        self.before = self.most = self._process.memory_info().rss
        self._written = self._process.io_counters().write_bytes
        self.written = 0

    def run(self) -> None:
        while not self._over.wait(0.005):
            self.most = max(self.most, self._process.memory_info().rss)

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(10)
        self.written = self._process.io_counters().write_bytes - self._written

    @property
    def growth(self) -> int:
        return self.most - self.before


@pytest.fixture
def gibibyte(tmp_path: Path) -> Path:
    path = tmp_path / "gibibyte"
    with path.open("wb") as file:
        file.truncate(GIB)
    return path


def test_curl_puts_a_gibibyte_straight_at_the_daemon(gibibyte: Path) -> None:
    with serving() as port, Watch() as watch:
        done = curl(
            "-H",
            "Expect:",
            "-T",
            str(gibibyte),
            "-w",
            "%{http_code} %{redirect_url}",
            f"http://127.0.0.1:{port}/a",
        )
    status, _, location = done.stdout.partition(" ")
    assert status == "302", done
    assert ".test/default/" in location
    assert watch.growth < RSS_GROWTH
    assert watch.written < RSS_GROWTH


def test_curl_waits_for_a_100_that_never_comes(gibibyte: Path) -> None:
    with serving() as port:
        done = curl("-T", str(gibibyte), "-w", "%{http_code} %{size_upload}", f"http://127.0.0.1:{port}/a")
    assert done.stdout == "302 0", done


def test_a_client_that_sends_all_before_it_listens() -> None:
    """No reset overtakes the answer: a client that reads only when it is done still finds it."""
    with serving() as port, Watch() as watch:
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        with connection:
            connection.sendall(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % GIB)
            piece = bytes(1 << 20)
            for _ in range(GIB // len(piece)):
                connection.sendall(piece)
            said = b""
            while more := connection.recv(65536):
                said += more
    (answer,) = answers(said, ["PUT"], closed=True)
    assert answer.status == 307
    assert answer.headers["connection"] == "close"
    assert watch.growth < RSS_GROWTH


def test_a_chunked_body_without_an_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "LINGER_IDLE", 0.2)
    with serving() as port, Watch() as watch:
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        with connection:
            connection.sendall(
                b"POST /-/api/v1/uploads HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            piece = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
            for _ in range(1000):
                connection.sendall(piece)
            connection.settimeout(20)
            said = b""
            while more := connection.recv(65536):
                said += more
            # Silence now: the server closes for good, and soon resets what still comes.
            with pytest.raises(OSError):
                for _ in range(100):
                    time.sleep(0.5)
                    connection.sendall(b"x")
    (answer,) = answers(said, ["POST"], closed=True)
    assert answer.status == 413
    assert watch.growth < RSS_GROWTH


# --- limits ----------------------------------------------------------------------------------------------


class TestLimits:
    SETTINGS = "[limits]\nconnections = 50\nconnections_per_address = 5\nexempt = []\n"

    def test_who_drips_makes_room_for_the_others(self) -> None:
        with serving(settings=self.SETTINGS) as port:
            slow = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(30)]
            for connection in slow[-5:]:
                connection.sendall(b"GET / HT")
            for connection in slow[:25]:
                assert connection.recv(1) == b""  # not by a reset
            for _ in range(5):
                assert curl("-w", "%{http_code}", f"http://127.0.0.1:{port}/a").stdout == "404"
            assert slow[-5].recv(1) == b""
            for connection in slow:
                connection.close()

    @pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
    def test_over_tls_too(self, tls: str) -> None:
        with serving(tls, self.SETTINGS) as port:
            slow = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(10)]
            for connection in slow[:5]:
                with suppress(ConnectionResetError):  # in the middle of a handshake there is no other way
                    assert connection.recv(1) == b""
            assert curl("-k", "-w", "%{http_code}", f"https://127.0.0.1:{port}/a").stdout == "404"
            for connection in slow:
                connection.close()

    @pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
    def test_who_does_not_close_his_side_is_cut_off(self, tls: str) -> None:
        """Over TLS both have to say good-bye."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        settings = self.SETTINGS + 'idle = "1h"\n'
        with serving(tls, settings) as port:
            first = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=20))
            first.sendall(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            assert first.recv(65536).startswith(b"HTTP/1.1 404 ")
            others = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(5)]
            assert first.recv(1) == b""
            # Nothing is answered to that, and there is no more to come but the end of the connection.
            assert select.select([first], [], [], 20)[0]
            with pytest.raises(ConnectionResetError):
                os.read(first.fileno(), 1)
            for connection in (first, *others):
                connection.close()

    def test_headers_in_time(self) -> None:
        with serving(settings='[limits]\nheader_time = "300ms"\n') as port:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                connection.sendall(b"GET / HT")
                with pytest.raises(ConnectionResetError):
                    connection.recv(1)
            assert curl("-w", "%{http_code}", f"http://127.0.0.1:{port}/a").stdout == "404"

    def test_the_size_of_headers(self) -> None:
        with serving() as port:
            done = curl("-H", f"X: {'x' * 17_000}", "-w", "%{http_code}", f"http://127.0.0.1:{port}/a")
        assert done.stdout == "431", done

    def test_a_client_that_goes_on_after_the_last_request(self) -> None:
        """curl comes again on another connection."""
        with serving(settings="[limits]\nrequests_per_connection = 2\n") as port:
            done = curl("-w", "%{http_code} %{num_connects}\n", f"http://127.0.0.1:{port}/[1-5]")
        assert done.stdout.split("\n")[:5] == ["404 1", "404 0", "404 1", "404 0", "404 1"], done


# --- TLS -------------------------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path) -> str:
    """An endpoint with a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "certificate").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return f"ssl:0:interface=127.0.0.1:privateKey={tmp_path / 'key'}:certKey={tmp_path / 'certificate'}"


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
def test_curl_over_tls(tls: str, tmp_path: Path) -> None:
    """With ALPN, as curl and browsers ask; and a large body in vain, which cannot be half-closed there."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(64 << 20)
    with serving(tls) as port:
        url = f"https://127.0.0.1:{port}"
        for alpn in ("--alpn", "--no-alpn"):
            assert curl("-k", alpn, "-w", "%{http_code} %{http_version}", f"{url}/a").stdout == "404 1.1"
            done = curl("-k", alpn, "-H", "Expect:", "-T", str(large), "-w", "%{http_code}", f"{url}/b")
            assert done.stdout == "302", done


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
def test_a_tls_client_that_knows_other_protocols_too(tls: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        serving(tls) as port,
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain) as connection,
    ):
        assert connection.selected_alpn_protocol() == "http/1.1"
        connection.sendall(b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        said = b""
        while more := connection.recv(65536):
            said += more
    assert [answer.status for answer in answers(said, ["GET"], closed=True)] == [404]


def test_nothing_is_left_open(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    with serving() as port:
        curl(f"http://127.0.0.1:{port}/a")
    before = descriptors()
    with serving() as port:
        for _ in range(5):
            curl(f"http://127.0.0.1:{port}/a")
    for _ in range(50):
        if descriptors() <= before:
            break
        time.sleep(0.1)
    assert descriptors() <= before

"""The same site on real sockets: large bodies that nobody wants, and TLS."""

from __future__ import annotations

import datetime
import os
import re
import select
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dragonbelly.starting import listen
from dragonbelly.testing import reactor
from dragonbelly.web import channel
from dragonbelly.web.lane import Lane
from tests.hostile.test_fuzz import no_surprises
from tests.integration.asking import eventually
from tests.web.wire import Said, answers, request
from tests.web.world import World

pytestmark = pytest.mark.servers

GIB = 1 << 30
RSS_GROWTH = 16 << 20


class Served(NamedTuple):
    """A public listener: the ``world`` behind it, the factory's ``port`` of Twisted's, what was handed over."""

    world: World
    port: Any
    handed_over: list[Any]


@contextmanager
def served(
    endpoint: str = "tcp:0:interface=127.0.0.1",
    settings: str = "",
    prepare: Callable[[World], Any] = lambda world: None,
) -> Iterator[Served]:
    """Files go by a world's clock, connections by the real one."""

    async def start() -> Served:
        world = World(settings)
        prepare(world)
        world.public.reactor = world.public.site.reactor = reactor.start()
        handed_over: list[Any] = []
        build = world.public.site.buildProtocol

        def hand_over(address: Any) -> Any:
            handed_over.append(build(address))
            return handed_over[-1]

        world.public.site.buildProtocol = hand_over
        return Served(world, listen(reactor.start(), endpoint, world.public), handed_over)

    made = reactor.run(start)

    async def stop() -> None:
        await made.port.stopListening()
        made.world.close()

    try:
        yield made
    finally:
        reactor.run(stop)


@contextmanager
def serving(endpoint: str = "tcp:0:interface=127.0.0.1", settings: str = "") -> Iterator[int]:
    """The port of a public listener."""
    with served(endpoint, settings) as made:
        yield made.port.getHost().port


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


# --- the fast lane on every kind of socket ---------------------------------------------------------------

#: On one connection, one behind the other.
ASKED = (
    *(("GET", "/a", b""), ("HEAD", "/a", b""), ("GET", "/none", b""), ("GET", "/a", b""), ("PUT", "/b", b"x")),
    *(("POST", "/-/api/v1/uploads", b'{"path": "c"}'), ("DELETE", "/none", b""), ("GET", "/a", b"")),
)
STATUSES = [302, 302, 404, 302, 307, 201, 404, 302]
PIPELINE = b"".join(request(method, target, None, body) for method, target, body in ASKED)


def store(world: World) -> None:
    world.put("a", b"hello")
    assert world.download("a") == b"hello"


class Client:
    """A connection to a listener, of whatever kind it is; ``room`` bytes may wait to be read."""

    def __init__(self, made: Served, room: int | None = None) -> None:
        host = made.port.getHost()
        port, path = getattr(host, "port", None), getattr(host, "name", None)
        self.plain = socket.socket(socket.AF_INET if port else socket.AF_UNIX)
        self.plain.settimeout(30)
        if room is not None:
            self.plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.plain.connect(("127.0.0.1", port) if port else path)
        self.socket = self.plain

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def secure(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(self.plain)

    def send(self, requests: list[bytes]) -> None:
        for one in requests:  # each in a piece of its own: who sends half a head is handed over
            self.socket.sendall(one)

    def rest(self) -> bytes:
        said = b""
        while more := self.socket.recv(65536):
            said += more
        return said

    def hear(self, methods: list[str]) -> list[Said]:
        """So many answers."""
        said = b""
        while said.count(b"HTTP/1.1 ") < len(methods) or not _whole(said, methods):
            more = self.socket.recv(65536)
            assert more, said
            said += more
        return answers(said, methods)


def _whole(said: bytes, methods: list[str]) -> bool:
    try:
        return len(answers(said, methods)) == len(methods)
    except AssertionError:
        return False


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
class TestEverySocket:
    @pytest.fixture(params=["tcp", "ssl", "unix", "haproxy"])
    def kind(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def endpoint(self, kind: str, tls: str, tmp_path: Path) -> str:
        tcp = "tcp:0:interface=127.0.0.1"
        return {"tcp": tcp, "ssl": tls, "unix": f"unix:{tmp_path / 's'}", "haproxy": f"haproxy:{tcp}"}[kind]

    @staticmethod
    def connect(kind: str, made: Served, room: int | None = None) -> Client:
        client = Client(made, room)
        if kind == "ssl":
            client.secure()
        elif kind == "haproxy":
            client.socket.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n")
        return client

    def test_one_behind_the_other(self, kind: str, endpoint: str) -> None:
        with no_surprises(), served(endpoint, prepare=store) as made, self.connect(kind, made) as client:
            methods = [method for method, _, _ in ASKED]
            for _ in range(2):
                client.socket.sendall(PIPELINE)
                assert [said.status for said in client.hear(methods)] == STATUSES
            for method, target, body in ASKED:
                client.socket.sendall(request(method, target, None, body))
                client.hear([method])
            assert made.handed_over == []
            client.socket.sendall(request("GET", "/a", {"Connection": "close"}))
            (said,) = answers(client.rest(), ["GET"], closed=True)
            assert said.status == 302
            assert len(made.handed_over) == 1

    def test_where_it_comes_from(self, kind: str, endpoint: str) -> None:
        """The limits count whom the proxy tells of."""
        settings = "[limits]\nanonymous_writes = 1\nanonymous_burst = 1\nexempt = []\n"
        with served(endpoint, settings) as made:
            said: list[int] = []
            for host in (b"192.0.2.1", b"192.0.2.1", b"192.0.2.3"):
                with Client(made) as client:
                    if kind == "ssl":
                        client.secure()
                    elif kind == "haproxy":
                        client.socket.sendall(b"PROXY TCP4 %b 192.0.2.2 1234 80\r\n" % host)
                    client.socket.sendall(request("PUT", "/b", None, b"x"))
                    said.append(client.hear(["PUT"])[0].status)
            assert said == {"unix": [307] * 3, "haproxy": [307, 429, 307]}.get(kind, [307, 429, 429])
            assert made.handed_over == []

    @pytest.mark.parametrize("odd", [False, True])
    def test_who_has_said_all(self, kind: str, endpoint: str, odd: bool) -> None:
        """
        He closes his side at once, and hears all that he asked for; but where Twisted ends both sides together,
        which is soon as well.
        """
        data = PIPELINE + (request("GET", "/a", {"Expect": "x"}) if odd else b"")
        with no_surprises(), served(endpoint, prepare=store) as made, self.connect(kind, made) as client:
            client.socket.sendall(data)
            client.socket.shutdown(socket.SHUT_WR)
            if kind in ("ssl", "haproxy"):
                with suppress(OSError):
                    client.rest()
                eventually("he is gone", lambda: len(made.world.public.connections) == 0)
                return
            said = answers(client.rest(), [*(method for method, _, _ in ASKED), "GET"], closed=True)
            assert [one.status for one in said] == STATUSES + [302] * odd
            assert len(made.handed_over) == odd

    def test_who_reads_late(self, kind: str, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """All answers come in order, and whole, though each write takes but a part; and few wait at a time."""
        waited: list[int] = []
        pause = Lane.pauseProducing

        def paused(lane: Lane) -> None:
            waited.append(len(lane._waiting))
            pause(lane)

        monkeypatch.setattr(Lane, "pauseProducing", paused)
        count = 600
        data = [request("GET", f"/{n}") + request("GET", "/a") for n in range(count)]
        with no_surprises(), served(endpoint, prepare=store) as made:
            made.port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            with self.connect(kind, made, 4096) as client:
                sending = threading.Thread(target=client.send, args=(data,), daemon=True)
                sending.start()
                if kind == "ssl":
                    sending.join(30)  # one at a time may use it
                eventually("the lane waits for its client", lambda: waited)
                said = b""
                while said.count(b"HTTP/1.1 ") < 2 * count or not said.endswith(b"Content-Length: 0\r\n\r\n"):
                    more = client.socket.recv(3000)
                    assert more
                    said += more
                sending.join(30)
        names = re.findall(rb'"there is no file (\d+)"|Location: http://s\d.test/default/@\w+/(a)\r\n', said)
        assert [name or b"a" for name, _ in names] == [name for n in range(count) for name in (b"%d" % n, b"a")]
        assert max(waited) < 2 * 65536 + 1000

    def test_who_leaves_with_answers_under_way(self, kind: str, endpoint: str) -> None:
        with no_surprises(), served(endpoint, prepare=store) as made:
            for _ in range(3):
                with self.connect(kind, made, 4096) as client:
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.socket.sendall(request("GET", "/none") * 200)
            eventually("all are gone", lambda: len(made.world.public.connections) == 0)
            assert made.handed_over == []


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

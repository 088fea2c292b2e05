"""``twistd dragonbelly-node`` as a process."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import dragonbelly
from dragonbelly.node.signature import sign
from tests.servers.redis import free_port
from tests.waiting import until

pytestmark = pytest.mark.servers

CHECKOUT = Path(dragonbelly.__file__).parent.parent
SECRET = b"a secret of the test"


def twistd(*options: str) -> list[str]:
    return [str(Path(sys.executable).with_name("twistd")), *options]


def environment() -> dict[str, str]:
    # twisted.plugin looks for plugins on sys.path only, which an editable install is not on.
    return {**os.environ, "PYTHONPATH": str(CHECKOUT)}


class Process:
    """A node in the foreground."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        (directory / "secret").write_bytes(SECRET + b"\n")
        self.process: subprocess.Popen[str] | None = None

    def start(self, *more: str) -> None:
        self.process = subprocess.Popen(
            twistd(
                *("-n", "dragonbelly-node", "--root", "root", "--secret-file", "secret"),
                *("--listen", f"tcp:{self.port}:interface=127.0.0.1", *more),
            ),
            cwd=self.directory,
            env=environment(),
            text=True,
            stdout=(self.directory / "log").open("a"),
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                self.connect().close()
                return
            except ConnectionRefusedError:
                assert self.process.poll() is None, (self.directory / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(how)
        return process.wait(20)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def ask(self, method: str, key: str, body: bytes | None = None, signed: bool = True) -> tuple[int, bytes]:
        query = f"?{sign(SECRET, method, key, int(time.time()) + 60)}" if signed else ""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{key}{query}", body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    yield process
    if process.process is not None:
        process.end(signal.SIGKILL)


def test_it_serves_and_stops(node: Process) -> None:
    node.start("--reserve", "1MiB", "--name", "n1")
    assert node.ask("PUT", "d/k", b"bytes")[0] == 201
    assert node.ask("GET", "d/k", signed=False) == (200, b"bytes")
    assert node.end(signal.SIGTERM) in (0, -signal.SIGTERM)
    assert not (node.directory / "twistd.pid").exists()
    log = (node.directory / "log").read_text()
    assert f"127.0.0.1:{node.port}" in log or str(node.port) in log
    assert "n1" in log
    assert "signature" not in log


def test_killed_in_the_middle_of_an_upload(node: Process) -> None:
    node.start("--private")
    assert node.ask("PUT", "d/k", b"bytes")[0] == 201
    query = sign(SECRET, "PUT", "d/half", int(time.time()) + 60)
    unfinished = node.directory / "root" / "-"
    with node.connect() as connection:
        head = f"PUT /d/half?{query} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 500)
        until(lambda: any(unfinished.iterdir()))
        node.end(signal.SIGKILL)
    assert len(list(unfinished.iterdir())) == 1
    node.start("--private")
    assert node.ask("GET", "d/half")[0] == 404
    assert list(unfinished.iterdir()) == []
    assert node.ask("GET", "d/k") == (200, b"bytes")
    assert node.ask("GET", "d/k", signed=False)[0] == 403


def test_pages_of_two_origins(node: Process) -> None:
    node.start("--origin", "https://a.test", "--origin", "https://B.test:443")
    for origin, told in (("https://a.test", True), ("https://b.test", True), ("https://c.test", False)):
        request = urllib.request.Request(f"http://127.0.0.1:{node.port}/d/k", headers={"Origin": origin})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        assert refused.value.code == 404
        assert refused.value.headers["Access-Control-Allow-Origin"] == (origin if told else None)
        assert refused.value.headers["Vary"] == "Origin"
        refused.value.close()


def test_its_limits(node: Process) -> None:
    node.start("--connections-per-address", "1", "--exempt", "::1", "--header-time", "500ms")
    first = node.connect()
    second = node.connect()
    second.sendall(b"GET / HTTP/1.1\r\n")
    # The first was idle, and makes room; the second does not come to an end.
    assert first.recv(1) == b""
    with pytest.raises(ConnectionResetError):
        second.recv(1)
    assert node.ask("GET", "d/k", signed=False)[0] == 404


@pytest.mark.parametrize("daemonise", [False, True])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--root": None}, "--root is missing"),
        ({"--secret-file": None}, "--secret-file is missing"),
        ({"--secret-file": "none"}, "cannot read the secret file none"),
        ({"--secret-file": "empty"}, "the secret file empty is empty"),
        ({"--reserve": "1XB"}, "--reserve 1XB"),
        ({"--origin": "https://a/b"}, "--origin https://a/b: expected an origin such as"),
        ({"--connections": "0"}, "connections: found 0, expected a whole number, at least 1"),
        ({"--header-time": "soon"}, 'header-time: found "soon", expected a duration such as'),
        ({"--exempt": "10.0.0.1/8"}, 'exempt[0]: found "10.0.0.1/8", expected a network such as'),
        ({"--listen": "carrier:pigeon"}, "--listen carrier:pigeon"),
        ({"--listen": "in use"}, "cannot listen on"),
        ({"--root": "/proc/root"}, "cannot store files in /proc/root"),
        ({"--root": "empty"}, "cannot store files in"),
    ],
)
def test_what_keeps_it_from_starting(
    tmp_path: Path, change: dict[str, str | None], says: str, daemonise: bool
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "empty").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options: dict[str, str | None] = {"--root": "root", "--secret-file": "secret"}
        options |= {"--listen": f"tcp:{free_port()}:interface=127.0.0.1"} | change
        if options["--listen"] == "in use":
            options["--listen"] = f"tcp:{port}:interface=127.0.0.1"
        given = [word for name, value in options.items() if value is not None for word in (name, value)]
        done = subprocess.run(
            twistd(*(["--logfile", "log"] if daemonise else ["-n"]), "dragonbelly-node", *given),
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.returncode == 1
    output = done.stdout + done.stderr
    lines = [line for line in output.splitlines() if says in line]
    assert len(lines) == 1, output
    assert "Traceback" not in output
    # The process in the background tells the one in front first, and then tidies up.
    deadline = time.monotonic() + 10
    while (tmp_path / "twistd.pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)

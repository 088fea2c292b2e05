"""SIGHUP: another configuration takes over while clients go on asking, or none does and all stays as it was."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.asking import Reply, ask, curl, eventually
from tests.integration.load import Load
from tests.integration.site import Site
from tests.servers.ports import free_port
from tests.servers.process import listens

pytestmark = pytest.mark.servers

#: How many there are.
WORKERS = pytest.mark.parametrize("site", [1, 2], indirect=True, ids=["one process", "two workers"])


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with Site(http=f"workers = {request.param}") as site:
        site.put("a", b"some bytes")
        site.get("a")
        yield site


def children(site: Site) -> set[int]:
    return {worker.pid for worker in site.workers()}


@WORKERS
def test_under_load_nobody_is_refused(site: Site) -> None:
    with Load(site.url("a")) as load:
        for seconds in (1, 2, 3):
            asked = load.answers
            site.eventually("there is load", lambda asked=asked: load.answers > asked + 100)
            http = "" if seconds == 1 else f'cache_control = "max-age={seconds - 1}"\n'
            site.change(f"[http]\n{http}", f'[http]\ncache_control = "max-age={seconds}"\n')
            site.hang_up()
            asked = load.answers
            site.eventually("it goes on", lambda asked=asked: load.answers > asked + 100)
        site.eventually("the kept ones come again", lambda: load.reconnected >= 4)
    assert load.failures == []
    seen = {ask("GET", site.url("a")).headers["Cache-Control"] for _ in range(30)}
    assert seen == {"max-age=3"}
    assert "Traceback" not in site.daemon.log(), site.daemon.log()


class Waiting(threading.Thread):
    """A client that waits until the file ``b``, of which two copies are owed, has three."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        version = site.put("b", b"more bytes")
        before = site.metric('redis_seconds_count{command="GET"}')
        self._body = json.dumps({"path": "b"}).encode()
        self._url = f"{site.daemon.url}/-/api/v1/uploads/{version}/complete?copies=3&timeout=50s"
        self.answers: list[Reply] = []
        self.start()
        # Nobody else asks.
        site.eventually("it waits", lambda: site.metric('redis_seconds_count{command="GET"}') > before + 3)

    def run(self) -> None:
        self.answers.append(ask("POST", self._url, self._body, timeout=90))


@WORKERS
def test_who_waits_gets_the_answer_from_whom_was_asked(site: Site) -> None:
    waiting = Waiting(site)
    before = children(site)
    site.hang_up()
    assert waiting.is_alive()
    site.daemon.send_json("PATCH", "/-/api/v1/files/b", {"copies": 3})
    waiting.join(90)
    assert [(answer.status, answer.headers["Connection"]) for answer in waiting.answers] == [(200, "close")]
    site.eventually("those before have ended", lambda: not before & children(site))


@WORKERS
def test_and_before_it_is_stopped(site: Site) -> None:
    everybody = [site.daemon.psutil(), *site.workers()]
    site.redis.pause()
    with socket.create_connection(("127.0.0.1", site.daemon.public), timeout=60) as client:
        client.sendall(b"GET /b HTTP/1.1\r\nHost: localhost\r\n\r\n")
        ours = client.getsockname()[1]

        def accepted() -> bool:
            there = [seen.raddr for process in everybody for seen in process.net_connections("tcp4")]
            return ours in [address.port for address in there if address]

        eventually("it is accepted", accepted)
        everybody[0].terminate()
        eventually("it is to stop", lambda: "Received SIGTERM" in site.daemon.log())
        site.redis.resume()
        # 503, if it took too long: an answer all the same.
        assert client.recv(65536)[:12] in (b"HTTP/1.1 404", b"HTTP/1.1 503")
    assert site.daemon.running.wait(20) in (0, -15)


@WORKERS
def test_who_asks_for_nothing_is_let_go(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.daemon.public), timeout=60) as idle:
        idle.sendall(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 302")
        site.hang_up()
        assert idle.recv(1) == b""


@WORKERS
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('colour = "red"', "unknown key"),
        ("cache_control = 7", "found 7"),
        ("[state]\npartitions = 32", "this daemon is set to 32"),
    ],
)
def test_a_mistake_leaves_all_as_it_was(site: Site, line: str, reason: str) -> None:
    before = children(site)
    text = site.config.read_text()
    if line.startswith("[state]\n"):
        site.change("[state]\n", line + "\n")
    else:
        site.change("[http]\n", f"[http]\n{line}\n")
    with Load(site.url("a")) as load:
        assert reason in site.hang_up("all goes on as before")
        asked = load.answers
        site.eventually("it goes on", lambda: load.answers > asked + 50)
    assert load.failures == []
    assert children(site) == before
    site.config.write_text(text)
    site.hang_up()
    assert site.get("a") == b"some bytes"


@WORKERS
def test_ports_come_and_go(site: Site) -> None:
    more, taken = free_port(), free_port()
    here = "interface=127.0.0.1"
    old = f'listen = ["tcp:{site.daemon.public}:{here}"]'
    both = f'listen = ["tcp:{site.daemon.public}:{here}", "tcp:{more}:{here}"]'
    site.change(old, both)
    site.hang_up()
    for port in (site.daemon.public, more):
        assert ask("GET", f"http://127.0.0.1:{port}/a").status == 302

    with socket.create_server(("127.0.0.1", taken)):
        site.change(both, f'listen = ["tcp:{taken}:{here}"]')
        assert f"cannot listen on tcp:{taken}" in site.hang_up("all goes on as before")
        for port in (site.daemon.public, more):
            assert ask("GET", f"http://127.0.0.1:{port}/a").status == 302

    site.change(f"tcp:{taken}", f"tcp:{more}")
    site.hang_up()
    assert ask("GET", f"http://127.0.0.1:{more}/a").status == 302
    # Workers that are leaving still have it, for a moment.
    site.eventually("the first is closed", lambda: not listens(site.daemon.public))


@pytest.mark.parametrize("site", [1], indirect=True)
def test_from_one_process_to_workers_and_back(site: Site) -> None:
    with Load(site.url("a")) as load:
        for before, after in ((1, 3), (3, 2), (2, 1)):
            site.change(f"workers = {before}", f"workers = {after}")
            site.hang_up()
            number = after if after > 1 else 0
            site.eventually(
                f"there are {number} workers", lambda number=number: len(children(site)) == number, 60
            )
            asked = load.answers
            site.eventually("it goes on", lambda asked=asked: load.answers > asked + 50)
    assert load.failures == []


# --- other kinds of sockets


def certify(directory: Path, name: str) -> None:
    """A key, and a certificate that it signed itself."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"]
    files = ["-keyout", directory / "key", "-out", directory / "certificate"]
    subprocess.run([*command, *files], check=True, capture_output=True, timeout=60)


def certified(port: int) -> bytes:
    """The certificate that is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain) as connection,
    ):
        shown = connection.getpeercert(binary_form=True)
        assert shown
        return shown


@WORKERS
def test_a_renewed_certificate_and_a_unix_socket(site: Site, tmp_path: Path) -> None:
    port, path = free_port(), site.daemon.directory / "socket"
    certify(tmp_path, "first")
    tls = f"ssl:{port}:interface=127.0.0.1:privateKey={tmp_path}/key:certKey={tmp_path}/certificate"
    site.change('listen = ["', f'listen = ["{tls}", "unix:{path}", "')
    site.hang_up()
    first = certified(port)
    assert curl("-k", "-w", "%{http_code}", f"https://127.0.0.1:{port}/a").endswith(b"302")

    certify(tmp_path, "second")
    site.hang_up()
    assert {certified(port) for _ in range(10)}.isdisjoint({first})
    for _ in range(2):
        assert curl("--unix-socket", str(path), "-w", "%{http_code}", "http://localhost/a").endswith(b"302")
        site.hang_up()

    (tmp_path / "key").write_text("no key")
    assert "ssl:" in site.hang_up("all goes on as before")
    assert certified(port) != first
    site.daemon.stop()
    assert not path.exists()

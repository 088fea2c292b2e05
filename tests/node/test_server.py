"""A listening node and real HTTP, decent and otherwise."""

import base64
import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from dragonbelly.config.limits import LimitsSection
from dragonbelly.node.sending import CHUNK
from dragonbelly.node.server import make_node
from dragonbelly.node.signature import sign
from dragonbelly.node.store import Store
from dragonbelly.testing import reactor
from dragonbelly.units import Interval
from tests.node.running import SECRET, RunningNode
from tests.waiting import until

pytestmark = pytest.mark.servers

MARK = "@01ARZ3NDEKTSV4RRFFQ69G5FAV"
KEY = f"d/a/{MARK}/photo 1.jpg"
MIB = 1024 * 1024


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    with RunningNode(tmp_path / "root") as node:
        yield node


def path(key: str = KEY) -> str:
    return f"/{quote(key)}"


def digest_field(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256(data).digest()).decode()}:"


class TestPut:
    def test_created_and_there(self, node: RunningNode) -> None:
        answer = node.ask("PUT", node.signed("PUT", KEY), b"bytes", {"Content-Type": "image/x-test"})
        assert (answer.status, answer.headers["repr-digest"]) == (201, digest_field(b"bytes"))
        answer = node.ask("GET", path())
        assert (answer.status, answer.body) == (200, b"bytes")
        assert answer.headers["content-type"] == "image/x-test"
        assert answer.headers["repr-digest"] == digest_field(b"bytes")
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "date" in answer.headers

    def test_without_a_type_it_is_the_extensions(self, node: RunningNode) -> None:
        for name, type_ in {
            "a.jpg": "image/jpeg",
            "a.tar.gz": "application/gzip",
            "a": "application/octet-stream",
        }.items():
            node.put(f"d/{name}", b"x")
            answer = node.ask("HEAD", f"/d/{name}")
            assert answer.headers["content-type"] == type_
            assert "content-encoding" not in answer.headers

    def test_never_overwritten(self, node: RunningNode) -> None:
        assert [node.put(KEY, data) for data in (b"one", b"one", b"two")] == [201, 204, 409]
        assert node.ask("GET", path()).body == b"one"
        assert node.files() == [KEY]

    def test_empty(self, node: RunningNode) -> None:
        assert node.put(KEY, b"") == 201
        answer = node.ask("GET", path())
        assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")

    def test_chunked(self, node: RunningNode) -> None:
        assert node.put(KEY, iter([b"one ", b"two"])) == 201
        assert node.ask("GET", path()).body == b"one two"

    def test_a_part_is_refused(self, node: RunningNode) -> None:
        assert node.put(KEY, b"x", Content_Range="bytes 0-0/10") == 400
        assert node.files() == []

    @pytest.mark.parametrize("closing", [socket.SHUT_RDWR, socket.SHUT_WR])
    def test_cut_half_way(self, node: RunningNode, closing: int) -> None:
        with node.connect() as connection:
            head = f"PUT {node.signed('PUT', KEY)} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
            connection.sendall(head.encode() + b"x" * 999)
            until(lambda: len(node.files()) == 1)
            assert node.ask("GET", path()).status == 404
            connection.shutdown(closing)
            until(lambda: node.files() == [])
        assert node.ask("GET", path()).status == 404
        assert not (node.root / "d").exists()

    @pytest.mark.parametrize(
        "chunks", [b"5\r\nbytes\r\n", b"5\r\nbytesXX0\r\n\r\n", b"zz\r\n", b"5\r\nbytes\r\n0\r\n"]
    )
    def test_bad_chunks(self, node: RunningNode, chunks: bytes) -> None:
        head = f"PUT {node.signed('PUT', KEY)} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        with node.connect() as connection:
            connection.sendall(head.encode() + chunks)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        until(lambda: node.files() == [])

    def test_a_node_that_stops_leaves_nothing(self, node: RunningNode) -> None:
        with node.connect() as connection:
            head = f"PUT {node.signed('PUT', KEY)} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
            connection.sendall(head.encode() + b"x" * 999)
            until(lambda: len(node.files()) == 1)
            node.stop()
            until(lambda: node.files() == [])

    def test_no_room_is_said_before_the_body(self, tmp_path: Path) -> None:
        with RunningNode(tmp_path, reserve=2**60) as node, node.connect() as connection:
            head = f"PUT {node.signed('PUT', KEY)} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
            connection.sendall(f"{head}Content-Length: 1000000\r\n\r\n".encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 507 ")

    def test_no_room_in_the_middle(self, node: RunningNode, monkeypatch: pytest.MonkeyPatch) -> None:
        write = os.write

        def full(fd: int, data: memoryview) -> int:
            if "/-/" in str(Path(f"/proc/self/fd/{fd}").readlink()):
                raise OSError(28, "No space left on device")
            return write(fd, data)

        monkeypatch.setattr(os, "write", full)
        assert node.put(KEY, b"x" * MIB) == 507
        assert node.files() == []

    def test_a_large_body_costs_no_memory(self, node: RunningNode) -> None:
        block = os.urandom(MIB)
        node.put("d/warm", block)
        process, most = psutil.Process(), 0
        before = process.memory_info().rss

        def body() -> Iterator[bytes]:
            nonlocal most
            for _ in range(64):
                yield block
                most = max(most, process.memory_info().rss - before)

        assert node.put(KEY, body(), Content_Length=str(64 * MIB)) == 201
        assert (node.root / KEY).stat().st_size == 64 * MIB
        assert most < 16 * MIB

    def test_with_curl(self, node: RunningNode, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_bytes(os.urandom(3 * MIB))
        url = f"{node.url}{node.signed('PUT', KEY)}"
        for expected in ("201", "204"):
            command = ["curl", "-sS", "-v", "-H", "Expect: 100-continue", "-w", "%{http_code}", "-T", file, url]
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
            assert done.stdout == expected
            assert "100 Continue" in done.stderr
        assert (node.root / KEY).read_bytes() == file.read_bytes()

    def test_curl_learns_of_a_refusal_before_it_sends(self, node: RunningNode, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_bytes(os.urandom(3 * MIB))
        command = ["curl", "-sS", "-w", "%{http_code} %{size_upload}", "-H", "Expect: 100-continue", "-T", file]
        done = subprocess.run(
            [*command, f"{node.url}{path()}"], capture_output=True, text=True, timeout=20, check=True
        )
        assert done.stdout.splitlines()[-1] == "403 0"


class TestGet:
    @pytest.fixture(autouse=True)
    def _stored(self, node: RunningNode) -> None:
        self.data = os.urandom(CHUNK * 3 + 17)
        assert node.put(KEY, self.data) == 201

    def test_whole(self, node: RunningNode) -> None:
        assert node.ask("GET", path()).body == self.data

    @pytest.mark.parametrize(
        "slice_",
        [slice(0, 1), slice(10, 20), slice(5, CHUNK + 6), slice(1, CHUNK * 3 + 16), slice(CHUNK, CHUNK * 2)],
    )
    def test_ranges(self, node: RunningNode, slice_: slice) -> None:
        answer = node.ask("GET", path(), headers={"Range": f"bytes={slice_.start}-{slice_.stop - 1}"})
        assert (answer.status, answer.body) == (206, self.data[slice_])
        size = len(self.data)
        assert answer.headers["content-range"] == f"bytes {slice_.start}-{slice_.stop - 1}/{size}"

    def test_a_range_beyond_the_end(self, node: RunningNode) -> None:
        answer = node.ask("GET", path(), headers={"Range": f"bytes={len(self.data)}-"})
        assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{len(self.data)}")

    def test_going_on_later(self, node: RunningNode) -> None:
        tag = node.ask("HEAD", path()).headers["etag"]
        for condition, status in ((tag, 206), ('"other"', 200)):
            answer = node.ask("GET", path(), headers={"Range": "bytes=5-", "If-Range": condition})
            assert (answer.status, answer.body) == (status, self.data[5 if status == 206 else 0 :])

    def test_unchanged(self, node: RunningNode) -> None:
        first = node.ask("GET", path())
        for headers in (
            {"If-None-Match": first.headers["etag"]},
            {"If-Modified-Since": first.headers["last-modified"]},
        ):
            answer = node.ask("GET", path(), headers=headers)
            assert (answer.status, answer.body) == (304, b"")
            assert answer.headers["etag"] == first.headers["etag"]
        assert node.ask("GET", path(), headers={"If-None-Match": '"x"'}).status == 200

    def test_head(self, node: RunningNode) -> None:
        get, head = node.ask("GET", path()), node.ask("HEAD", path(), headers={"Range": "bytes=0-1"})
        assert head.body == b""
        assert head.headers | {"date": ""} == get.headers | {"date": ""}

    def test_one_connection_for_all(self, node: RunningNode) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=20)
        for method, target, status in [
            ("HEAD", path(), 200),
            ("GET", path(), 200),
            ("GET", "/d/none", 404),
            ("HEAD", "/d/none", 404),
            ("PUT", node.signed("PUT", "d/new"), 201),
            ("PUT", path(), 403),
            ("DELETE", node.signed("DELETE", "d/new"), 204),
            ("GET", node.signed("GET", "-/space"), 200),
            ("GET", path(), 200),
        ]:
            if connection.sock is not None:
                local = connection.sock.getsockname()
            connection.request(method, target, body=b"some bytes" if method == "PUT" else None)
            answer = connection.getresponse()
            data = answer.read()
            assert answer.status == status
            if target != path() or method != "HEAD":
                assert connection.sock.getsockname() == local
        assert data == self.data
        connection.close()

    def test_a_reader_that_stalls_is_cut_off(self, tmp_path: Path) -> None:
        with RunningNode(tmp_path / "impatient", limits=LimitsSection(idle=Interval(0.3))) as node:
            node.put("d/large", os.urandom(8 * MIB))
            with node.connect() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.sendall(b"GET /d/large HTTP/1.1\r\nHost: h\r\n\r\n")
                assert connection.recv(10) == b"HTTP/1.1 2"
                until(lambda: open_below(node.root) == 0)
                with pytest.raises(ConnectionResetError):
                    while connection.recv(65536):
                        pass

    def test_a_file_that_shrinks_is_no_success(self, node: RunningNode) -> None:
        node.put("d/large", os.urandom(16 * MIB))
        with node.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /d/large HTTP/1.1\r\nHost: h\r\n\r\n")
            received = len(connection.recv(10))
            os.truncate(node.root / "d/large", 100)
            with pytest.raises(ConnectionResetError):
                while piece := connection.recv(65536):
                    received += len(piece)
            assert received < 16 * MIB
        assert open_below(node.root) == 0

    def test_a_client_that_leaves(self, node: RunningNode) -> None:
        node.put("d/large", os.urandom(16 * MIB))
        with node.connect() as connection:
            connection.sendall(b"GET /d/large HTTP/1.1\r\nHost: h\r\n\r\n")
            connection.recv(10)
        until(lambda: open_below(node.root) == 0)


def open_below(root: Path) -> int:
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            count += str(link.readlink()).startswith(str(root))
        except FileNotFoundError:
            continue
    return count


class TestDelete:
    def test_delete(self, node: RunningNode) -> None:
        node.put(KEY, b"bytes")
        assert node.ask("DELETE", node.signed("DELETE", KEY)).status == 204
        assert node.ask("GET", path()).status == 404
        assert not (node.root / "d/a" / MARK).exists()
        assert node.ask("DELETE", node.signed("DELETE", KEY)).status == 404


class TestSignatures:
    @pytest.fixture(autouse=True)
    def _stored(self, node: RunningNode) -> None:
        node.put(KEY, b"bytes")

    @pytest.mark.parametrize(
        ("method", "target"),
        [
            ("PUT", "/d/new"),
            ("DELETE", path()),
            ("GET", "/-/space"),
            ("GET", "/-/keys"),
            ("HEAD", "/-/keys"),
        ],
    )
    def test_needed(self, node: RunningNode, method: str, target: str) -> None:
        assert node.ask(method, target).status == 403
        assert node.files() == [KEY]

    @pytest.mark.parametrize(
        ("signed", "asked"),
        [
            (("PUT", KEY), ("DELETE", KEY)),
            (("GET", KEY), ("DELETE", KEY)),
            (("DELETE", f"{KEY}2"), ("DELETE", KEY)),
            (("PUT", KEY), ("PUT", "d/new")),
            (("GET", "-/keys"), ("GET", "-/space")),
        ],
    )
    def test_for_something_else(
        self, node: RunningNode, signed: tuple[str, str], asked: tuple[str, str]
    ) -> None:
        query = node.signed(*signed).partition("?")[2]
        answer = node.ask(asked[0], f"{path(asked[1])}?{query}")
        assert (answer.status, answer.body) == (
            403,
            b"the signature is not one for this method, key and expiry\n",
        )
        assert node.files() == [KEY]

    def test_expired(self, node: RunningNode) -> None:
        answer = node.ask("DELETE", node.signed("DELETE", KEY, int(time.time()) - 1))
        assert (answer.status, answer.body) == (403, b"the signed URL has expired\n")

    def test_a_later_expiry(self, node: RunningNode) -> None:
        target = node.signed("DELETE", KEY, 1000).replace("expires=1000", f"expires={int(time.time()) + 99}")
        assert node.ask("DELETE", target).status == 403

    def test_another_secret(self, node: RunningNode) -> None:
        query = sign(SECRET + b"x", "DELETE", KEY, int(time.time()) + 60)
        assert node.ask("DELETE", f"{path()}?{query}").status == 403

    def test_a_private_node(self, tmp_path: Path) -> None:
        with RunningNode(tmp_path / "private", private=True) as node:
            node.put(KEY, b"bytes")
            for method in ("GET", "HEAD"):
                assert node.ask(method, path()).status == 403
                assert node.ask(method, "/d/none").status == 403
                assert node.ask(method, node.signed("PUT", KEY)).status == 403
                assert node.ask(method, node.signed("GET", KEY)).status == 200

    def test_a_secret_is_needed(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="secret"):
            make_node(reactor.start(), Store(tmp_path), b"")


class TestOwnQuestions:
    def test_space(self, node: RunningNode) -> None:
        answer = node.ask("GET", node.signed("GET", "-/space"))
        space = json.loads(answer.body)
        assert answer.headers["content-type"] == "application/json"
        assert 0 < space["free"] < space["total"]

    def test_keys(self, node: RunningNode) -> None:
        for n in range(5):
            node.put(f"d/ä {n}", b"x" * n)
        found, after = [], ""
        while after is not None:
            target = node.signed("GET", "-/keys") + f"&prefix=d&limit=2&after={quote(after)}"
            page = json.loads(node.ask("GET", target).body)
            found += [(stored["key"], stored["size"]) for stored in page["keys"]]
            after = page["next"]
        assert found == [(f"d/ä {n}", n) for n in range(5)]

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=x", "limit=-1", "prefix=..", "after=%00", "prefix=d&after=e"]
    )
    def test_keys_refuses(self, node: RunningNode, query: str) -> None:
        assert node.ask("GET", f"{node.signed('GET', '-/keys')}&{query}").status == 400

    def test_no_other(self, node: RunningNode) -> None:
        assert node.ask("GET", node.signed("GET", "-/other")).status == 404
        assert node.ask("GET", node.signed("GET", "-")).status == 404
        for method in ("PUT", "DELETE"):
            for key in ("-/x", "-", "-/space"):
                answer = node.ask(method, node.signed(method, key))
                assert answer.status == 405
                assert answer.headers["allow"] == "GET, HEAD, PUT, DELETE"
        assert node.files() == []

    def test_unfinished_uploads_cannot_be_read(self, node: RunningNode) -> None:
        (node.root / "-/name").write_text("half")
        for target in ("/-/name", node.signed("GET", "-/name")):
            assert node.ask("GET", target).status in (403, 404)

    @pytest.mark.parametrize("method", ["POST", "OPTIONS", "PROPFIND", "MOVE", "TRACE"])
    def test_no_other_methods(self, node: RunningNode, method: str) -> None:
        assert node.ask(method, "/d/k").status == 405


class TestHostile:
    @pytest.mark.parametrize(
        "target",
        [
            b"/../etc/passwd",
            b"/d/../../etc/passwd",
            b"/%2e%2e/%2e%2e/etc/passwd",
            b"/..%2f..%2fetc%2fpasswd",
            b"/..%5c..%5cetc",
            b"//etc/passwd",
            b"/d//k",
            b"/d/",
            b"/",
            b"/d/k%00.jpg",
            b"/d/\x01",
            b"/d/%0d%0aX:%20y",
            b"/%ff%fe",
            b"/%c0%ae%c0%ae/etc/passwd",
            b"/d/%",
            b"*",
            b"d/k",
            b"http://h",
            b"/" + b"x" * 256,
            b"/" + b"x/" * 700 + b"x",
            b"/x?" + b"y" * 8000,
            b"/d/k?expires=1&expires=2",
        ],
    )
    @pytest.mark.parametrize("method", [b"GET", b"PUT"])
    def test_targets(self, node: RunningNode, method: bytes, target: bytes) -> None:
        head = b"%b %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % (method, target)
        assert node.raw(head).startswith(b"HTTP/1.1 400 ")
        assert node.files() == []

    @pytest.mark.parametrize(
        "data",
        [
            b"\r\n" * 10,
            b"GET\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 600 + b"\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
            b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
            b"PUT /d/k HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"PUT /d/k HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
            b"PUT /d/k HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        ],
    )
    def test_nonsense(self, node: RunningNode, data: bytes) -> None:
        with node.connect() as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                received = connection.recv(65536)
            except OSError:
                received = b""
        assert received == b"" or received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
        assert node.files() == []
        assert node.ask("GET", "/d/none").status == 404

    def test_silence(self, tmp_path: Path) -> None:
        with RunningNode(tmp_path / "impatient", limits=LimitsSection(idle=Interval(0.3))) as node:
            put = f"PUT {node.signed('PUT', KEY)} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf"
            for start in (b"", b"GET /d HT", b"GET /d HTTP/1.1\r\nHost: h\r\n", put.encode()):
                assert node.raw(start) == b""
            until(lambda: node.files() == [])
            assert node.raw(b"GET /d/none HTTP/1.1\r\nHost: h\r\n\r\n").startswith(b"HTTP/1.1 404 ")


def test_errors_of_the_disk_are_not_answers(
    node: RunningNode, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    node.put(KEY, b"bytes")

    def broken(*args: object, **more: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("dragonbelly.node.store.os.fstat", broken)
        assert node.ask("GET", path()).status == 500
    assert node.ask("GET", path()).status == 200

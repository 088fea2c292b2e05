"""The load generators: their schedule, and where an answer ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.connections import Pool, wait, whole
from benchmarks.constant_rate import drive, gets
from benchmarks.wrk import Load, Requests, told
from tests.servers.ports import free_port

ANSWER = b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 3\r\n\r\nabc"
REQUESTS = [b"GET /%d HTTP/1.1\r\n\r\n" % n for n in range(1000)]


class TestGets:
    def test_at_random_and_each_once(self) -> None:
        once = gets("localhost:1", first=1000, size=10, once=True)
        asked = [next(once) for _ in range(10)]
        assert len(set(asked)) == 10
        assert next(once) == asked[0]
        assert all(request.startswith(b"GET /0001/") for request in asked)
        assert next(gets("localhost:1", first=1000, size=10, once=True, skip=9)) == asked[9]
        some = gets("localhost:1", first=0, size=10, once=False)
        assert len({next(some) for _ in range(200)}) == 10


class TestAnswers:
    @given(st.integers(0, len(ANSWER) - 1))
    def test_a_part_is_not_the_whole(self, length: int) -> None:
        assert not whole(ANSWER[:length])

    def test_the_whole(self) -> None:
        assert whole(ANSWER)
        assert whole(b"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n")
        assert whole(b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n")

    def test_one_without_a_length_has_no_end(self) -> None:
        with pytest.raises(ValueError, match="without Content-Length"):
            whole(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


class Answering:
    """
    A server that gives these answers to all requests of a connection, one after the other, each ``after`` some
    seconds.
    """

    def __init__(self, *answers: bytes, after: float = 0.0) -> None:
        self._answers = answers
        self._after = after
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = self._listening.getsockname()
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(ConnectionResetError):
            for answer in self._answers:
                if not connection.recv(1 << 16):
                    return
                time.sleep(self._after)
                self.send(connection, answer)

    def send(self, connection: socket.socket, answer: bytes) -> None:
        connection.sendall(answer)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@contextmanager
def answering(*answers: bytes, kind: type[Answering] = Answering, after: float = 0.0) -> Iterator[Answering]:
    server = kind(*answers, after=after)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def pools() -> Iterator[list[Pool]]:
    made: list[Pool] = []
    yield made
    for pool in made:
        pool.close()


class TestDrive:
    def test_what_waits_for_a_connection_waits_from_when_it_was_due(self) -> None:
        with answering(*[ANSWER] * 21, after=0.02) as server:  # one is asked for before
            found = drive(server.address, REQUESTS[:20], 1000, connections=1)
        assert found.requests == 20
        # One after the other, and the last one due after 19 ms.
        assert found.seconds >= 20 * 0.02
        assert found.worst >= 20 * 20 - 19
        assert found.p50 >= 10 * 20 - 10
        assert found.rate == pytest.approx(20 / found.seconds)

    def test_each_is_sent_when_it_is_due(self) -> None:
        with answering(*[ANSWER] * 20) as server:
            found = drive(server.address, REQUESTS[:20], 100)
        assert found.requests == 20
        assert found.seconds >= 0.19

    def test_without_a_rate_all_are_due(self) -> None:
        with answering(*[ANSWER] * 1000) as server:
            found = drive(server.address, REQUESTS, 0, connections=2)
            assert server.connections == 2
        assert found.requests == 1000

    def test_in_pieces(self) -> None:
        class Slowly(Answering):
            def send(self, connection: socket.socket, answer: bytes) -> None:
                for n in range(len(answer)):
                    connection.sendall(answer[n : n + 1])
                    time.sleep(0.001)

        with answering(*[ANSWER] * 3, kind=Slowly) as server:
            assert drive(server.address, REQUESTS[:2], 0, connections=1).requests == 2

    def test_a_connection_that_the_server_closes_is_made_anew(self) -> None:
        closing = ANSWER.replace(b"Location", b"Connection: close\r\nLocation")
        with answering(closing) as server:
            assert drive(server.address, REQUESTS[:3], 0, connections=1).requests == 3
            assert server.connections >= 3

    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "expected 302, found HTTP/1.1 404"),
            (b"HTTP/1.1 302 Found\r\n\r\nContent-Length: 0\r\n", "without Content-Length: HTTP/1.1 302"),
            (b"SSH-2.0 302\r\nContent-Length: 0\r\n\r\n", "expected 302, found SSH"),
            (b"HTTP/1.1 302 " + b"x" * 70_000, "more than 65536 bytes"),
            (b"", "no answer in time, after 0 bytes of it"),
        ],
    )
    def test_another_answer_ends_it(self, answer: bytes, why: str) -> None:
        with answering(answer, b"") as server, pytest.raises(RuntimeError, match=why):
            drive(server.address, REQUESTS[:1], 0, patience=0.2)

    def test_one_that_does_not_come_ends_it(self) -> None:
        with (
            answering(ANSWER, ANSWER, b"", b"") as server,
            pytest.raises(RuntimeError, match=r"no answer within 0\.2 s, after 1 of 2"),
        ):
            drive(server.address, REQUESTS[:2], 0, connections=1, patience=0.2)

    def test_one_that_goes_ends_it(self) -> None:
        with (
            answering(ANSWER, ANSWER) as server,
            pytest.raises(RuntimeError, match="closed after 0 bytes of an answer"),
        ):
            drive(server.address, REQUESTS[:2], 0, connections=1)

    def test_nobody_is_there(self) -> None:
        with pytest.raises(RuntimeError, match="no connection: Connection refused"):
            drive(("127.0.0.1", free_port()), REQUESTS, 0)


class TestPool:
    def test_a_connection_that_the_server_closes_is_made_anew(self, pools: list[Pool]) -> None:
        with answering(ANSWER.replace(b"Location", b"Connection: close\r\nLocation")) as server:
            pools.append(Pool(server.address, 1))
            got: list[object] = []
            for n in range(3):
                pools[0].send(b"GET / HTTP/1.1\r\n\r\n", n)
                while len(got) <= n:
                    wait(pools[0].all, 5, lambda job, answer: got.append(job))
            assert got == [0, 1, 2]
            assert server.connections >= 3


class TestWrk:
    def test_what_it_told(self) -> None:
        assert told('Running\n{"requests": 5, "seconds": 2.0, "bytes": 1, "failed": 0}\n')["requests"] == 5

    @pytest.mark.parametrize(
        "output", ["unable to connect", '{"requests": 5, "failed": 1}', '{"requests": 0, "failed": 0}']
    )
    def test_what_means_nothing(self, output: str) -> None:
        with pytest.raises(RuntimeError):
            told(output)

    def test_a_load(self) -> None:
        load = Load(requests=1000, seconds=2.0, cpu=0.5)
        assert (load.rate, load.cpu_each, load.busy) == (500, 500, 0.25)

    def test_requests_as_the_script_wants_them(self) -> None:
        assert Requests(size=10).arguments == ["GET", "random", "0", "10", "0", "0"]
        first, size, step, skip = map(int, Requests("PUT", 5, 100, once=True, skip=7).arguments[2:])
        assert (first, size, skip) == (5, 100, 7)
        assert step > 1

"""The load generators: their schedule, and where an answer ends."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.connections import Pool, wait, whole
from benchmarks.constant_rate import Schedule, drive, gets
from benchmarks.wrk import Load, Requests, told

ANSWER = b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 3\r\n\r\nabc"


class TestSchedule:
    def test_each_has_its_time(self) -> None:
        schedule = Schedule(rate=200, total=4)
        assert [schedule.due(n) for n in range(4)] == pytest.approx([0, 0.005, 0.01, 0.015])

    def test_without_a_rate_all_are_due(self) -> None:
        assert Schedule(rate=0, total=9).due(8) == 0

    def test_gets_at_random_and_each_once(self) -> None:
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
    """A server that gives these answers to all requests of a connection, one after the other."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
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
                connection.sendall(answer)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def pools() -> Iterator[list[Pool]]:
    made: list[Pool] = []
    yield made
    for pool in made:
        pool.close()


class TestDrive:
    def test_what_waits_for_a_connection_waits_from_when_it_was_due(self, pools: list[Pool]) -> None:
        """The clock is the test's: it goes on by 50 ms at each look."""
        server = Answering(*[ANSWER] * 20)
        pools.append(Pool(server.address, 1))
        looks = itertools.count()
        found = drive(
            pools[0],
            gets("x", 0, 10, once=False),
            Schedule(rate=1000, total=20),
            lambda: next(looks) * 0.05,
        )
        server.close()
        assert found.requests == 20
        # One at a time, and all due at nearly once: the last waits for all before it, the middle one half as
        # long.
        assert found.worst >= 50 * 20
        assert found.p50 == pytest.approx(found.worst / 2, rel=0.2)

    def test_another_status_ends_it(self, pools: list[Pool]) -> None:
        server = Answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        pools.append(Pool(server.address, 1))
        with pytest.raises(RuntimeError, match=r"expected 302, found b'HTTP/1\.1 404"):
            drive(pools[0], gets("x", 0, 10, once=False), Schedule(0, 1), lambda: 0.0)
        server.close()

    def test_a_connection_that_the_server_closes_is_made_anew(self, pools: list[Pool]) -> None:
        server = Answering(ANSWER.replace(b"Location", b"Connection: close\r\nLocation"))
        pools.append(Pool(server.address, 1))
        got: list[object] = []
        for n in range(3):
            pools[0].send(b"GET / HTTP/1.1\r\n\r\n", n)
            while len(got) <= n:
                wait(pools[0].all, 5, lambda job, answer: got.append(job))
        server.close()
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

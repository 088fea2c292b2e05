"""Digests that are computed in a thread: the same ones, in bounded memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from dragonbelly.replication.copy import Relay
from dragonbelly.replication.hashing import BATCH, BEHIND, Hashing, Threads, threads_of
from dragonbelly.testing import reactor
from tests.replication.test_copy import Body, Intake
from tests.waiting import until

PIECE = bytes(range(256)) * 1024


class ByHand:
    """Work is done when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], None], Deferred[None]]] = []
        self.most = 0

    def __call__(self, work: Callable[[], None]) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self.waiting.append((work, done))
        self.most = max(self.most, len(self.waiting))
        return done

    def work(self) -> None:
        work, done = self.waiting.pop(0)
        work()
        done.callback(None)

    def fail(self) -> None:
        self.waiting.pop(0)[1].errback(MemoryError())


def relayed(pieces: int, threads: ByHand) -> tuple[Relay, Body, Intake, list[Any]]:
    body, intake = Body(pieces * len(PIECE)), Intake()
    relay = Relay(body, sha256(PIECE * pieces).digest(), threads)
    results: list[Any] = []
    relay.startProducing(intake).addBoth(results.append)
    return relay, body, intake, results


@given(st.lists(st.integers(0, 3 * BATCH), max_size=6), st.lists(st.booleans(), max_size=12))
def test_it_is_the_digest_of_all_in_order(sizes, turns):
    threads = ByHand()
    hashing = Hashing(threads, lambda: None)
    whole = b""
    for n, size in enumerate(sizes):
        piece = bytes([n]) * size
        whole += piece
        hashing.add(piece)
        if n < len(turns) and turns[n] and threads.waiting:
            threads.work()
    results: list[Any] = []
    hashing.digest().addBoth(results.append)
    while threads.waiting:
        threads.work()
    assert results == [sha256(whole).digest()]
    assert threads.most <= 1


def test_a_reader_that_is_faster_than_the_hashing_waits():
    threads = ByHand()
    relay, body, _, results = relayed(20, threads)
    while "pause" not in body.said:
        body.send(PIECE)
    kept = relay._received
    assert BEHIND < kept <= BEHIND + len(PIECE)
    # Whoever takes the bytes may want more: that does not help.
    relay.pauseProducing()
    relay.resumeProducing()
    assert body.said == ["pause"]
    threads.work()
    assert body.said == ["pause", "resume"]
    relay.pauseProducing()
    threads.work()
    assert body.said == ["pause", "resume", "pause"]
    relay.resumeProducing()
    assert body.said[-1] == "resume"
    assert results == []


def test_the_last_byte_waits_for_the_hashing():
    threads = ByHand()
    relay, body, intake, results = relayed(6, threads)
    for _ in range(6):
        body.send(PIECE)
    body.end()
    assert (len(intake.pieces), results) == (5, [])
    threads.work()
    assert (b"".join(intake.pieces), results) == (PIECE * 6, [None])
    assert relay.sha256 == sha256(PIECE * 6).digest()


def test_a_copy_that_was_ended_meanwhile():
    threads = ByHand()
    relay, body, intake, results = relayed(6, threads)
    for _ in range(6):
        body.send(PIECE)
    body.end()
    relay.stopProducing()
    threads.work()
    assert (len(intake.pieces), results, relay.sha256) == (5, [], None)


def test_nothing_is_hashed_of_a_copy_that_was_given_up():
    threads = ByHand()
    relay, body, _, results = relayed(20, threads)
    while "pause" not in body.said:
        body.send(PIECE)
    [_] = threads.waiting
    relay.stopProducing()
    relay.end()
    threads.work()
    assert (threads.waiting, results, relay.sha256) == ([], [], None)


@pytest.mark.parametrize("late", [True, False])
def test_a_thread_that_fails(late):
    threads = ByHand()
    relay, body, intake, results = relayed(6, threads)
    for n in range(6):
        body.send(PIECE)
        if n == 4 and not late:
            threads.fail()
    body.end()
    if late:
        threads.fail()
    [failure] = results
    assert failure.check(MemoryError)
    assert isinstance(relay.error, MemoryError)
    assert len(intake.pieces) == 5


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "hashing"]


def test_threads_of_a_reactor():
    threads = threads_of(reactor.start())

    async def digest() -> bytes:
        hashing = Hashing(threads, lambda: None)
        for _ in range(20):
            hashing.add(PIECE)
        return await hashing.digest()

    assert ours() == []
    assert reactor.run(digest) == sha256(PIECE * 20).digest()
    assert len(ours()) == max(1, len(os.sched_getaffinity(0)) - 1)
    threads.stop()
    until(lambda: ours() == [])
    assert reactor.run(digest) == sha256(PIECE * 20).digest(), "whoever goes on has them again"
    threads.stop()
    until(lambda: ours() == [])
    assert threads_of(Clock()) is None


def test_what_was_given_to_threads_is_done_before_they_end():
    threads, done, results = Threads(reactor.start(), 1), [], []
    wait = threading.Event()

    def give() -> None:
        for n in range(3):
            work = threads(lambda n=n: done.append((wait.wait(10), n, threading.current_thread().name)))
            work.addBoth(results.append)
        threads(lambda: 1 // 0).addBoth(lambda failure: results.append(failure.type))
        threads.stop()

    reactor.run(give)
    wait.set()
    until(lambda: len(results) == 4)
    assert results == [None, None, None, ZeroDivisionError]
    assert done == [(True, n, "hashing") for n in range(3)]
    until(lambda: ours() == [])

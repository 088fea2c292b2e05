"""Bytes from one server to another, with everything that can go wrong on the way."""

from __future__ import annotations

from hashlib import md5, sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IBodyProducer
from zope.interface.verify import verifyObject

from dragonbelly.errors import (
    BackendFull,
    BackendRefused,
    BackendUnavailable,
    DigestMismatch,
    NoSuchObject,
)
from dragonbelly.model import ObjectStat
from dragonbelly.replication.copy import SMALL, Relay, SourceFailed, copy, read_digest
from tests.builders import FaultyBackend, begun, done

BIG = bytes(range(256)) * 2048  # eight pieces
KEY, THERE = "media/@x/from", "media/@x/to"


class Body:
    """A body in the test's hands; also the reader's transport."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.protocol: Any = None
        self.said: list[str] = []

    def deliver(self, protocol: Any) -> None:
        assert self.protocol is None
        self.protocol = protocol
        protocol.makeConnection(self)

    def abandon(self) -> None:
        self.said.append("abandoned")

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def end(self, why: Exception | None = None) -> None:
        self.protocol.connectionLost(Failure(why or ResponseDone()))

    def pauseProducing(self) -> None:
        self.said.append("pause")

    def resumeProducing(self) -> None:
        self.said.append("resume")

    def stopProducing(self) -> None:
        # As the real one does: at once.
        if "stop" not in self.said:
            self.said.append("stop")
            self.end(BackendUnavailable("the reader stopped"))


class Intake:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)


def relayed(size: int, digest: bytes | None = None) -> tuple[Relay, Body, Intake, list[Any]]:
    body, intake = Body(size), Intake()
    relay = Relay(body, digest)
    results: list[Any] = []
    relay.startProducing(intake).addBoth(results.append)
    return relay, body, intake, results


# --- the relay -------------------------------------------------------------------------------------------


def test_it_is_a_body():
    assert verifyObject(IBodyProducer, Relay(Body(3), None))


@pytest.mark.parametrize("digest", [None, sha256(b"abcdef").digest()], ids=["unknown", "known"])
def test_bytes_go_through(digest):
    relay, body, intake, results = relayed(6, digest)
    assert relay.length == 6
    body.send(b"ab")
    body.send(b"cde")
    assert intake.pieces == [b"ab", b"cde"]
    body.send(b"f")
    # The last byte waits for the verdict.
    assert (intake.pieces, results) == ([b"ab", b"cde"], [])
    body.end()
    assert (b"".join(intake.pieces), results) == (b"abcdef", [None])
    assert relay.sha256 == sha256(b"abcdef").digest()
    assert relay.error is None


def test_nothing_is_kept():
    relay, body, intake, _ = relayed(10_000)
    for _ in range(99):
        body.send(b"x" * 100)
        assert len(b"".join(intake.pieces)) == relay._received
        assert relay._last == b""


def test_an_empty_object():
    relay, body, intake, results = relayed(0, sha256(b"").digest())
    body.end()
    assert (intake.pieces, results) == ([], [None])
    assert relay.sha256 == sha256(b"").digest()


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=9), st.data())
@settings(deadline=None)
def test_what_is_not_as_expected_never_goes_through_whole(pieces, data):
    whole = b"".join(pieces)
    size = data.draw(st.just(len(whole)) | st.integers(0, len(whole) + 3))
    right = data.draw(st.booleans())
    ends_well = data.draw(st.booleans())
    relay, body, intake, results = relayed(size, sha256(whole if right else whole + b"!").digest())
    for piece in pieces:
        body.send(piece)
    body.end(None if ends_well else ConnectionDone())
    through = b"".join(intake.pieces)
    if right and ends_well and size == len(whole):
        assert (through, results) == (whole, [None])
    else:
        assert len(through) < size or size == 0
        assert isinstance(relay.error, BackendUnavailable | DigestMismatch)
        [failure] = results
        assert failure.value is relay.error
        assert relay.sha256 is None


def test_a_corrupt_source():
    relay, body, intake, _ = relayed(4, sha256(b"good").digest())
    body.send(b"go")
    body.send(b"xd")
    body.end()
    assert isinstance(relay.error, DigestMismatch)
    assert b"".join(intake.pieces) == b"go"


def test_no_faster_than_it_is_taken():
    relay, body, _, _ = relayed(9)
    relay.pauseProducing()
    relay.resumeProducing()
    assert body.said == ["pause", "resume"]


def test_when_the_target_is_gone_the_source_is_stopped_and_not_blamed():
    relay, body, intake, results = relayed(9)
    body.send(b"abc")
    relay.stopProducing()
    assert body.said == ["stop"]
    body.send(b"def")
    body.end(BackendUnavailable("late"))
    assert (results, relay.error, intake.pieces) == ([], None, [b"abc"])  # never fires: IBodyProducer


def test_cancelling_stops_the_source():
    body = Body(9)
    relay = Relay(body, None)
    producing = relay.startProducing(Intake())
    body.send(b"abc")
    results: list[Any] = []
    producing.addErrback(results.append)
    producing.cancel()
    assert body.said == ["stop"]
    assert results[0].check(CancelledError)
    assert relay.error is None


# --- digests ---------------------------------------------------------------------------------------------


def backend(name: str = "s", data: bytes | None = None, **options: Any) -> FaultyBackend:
    made = FaultyBackend(name, **options)
    if data is not None:
        made.objects[KEY] = data
    return made


def test_what_lies_there():
    digest = done(read_digest(backend(data=BIG), KEY, len(BIG), md5=True))
    assert (digest.size, digest.sha256.digest(), digest.md5.digest()) == (
        len(BIG),
        sha256(BIG).digest(),
        md5(BIG).digest(),
    )
    assert done(read_digest(backend(data=b""), KEY, 0)).size == 0
    with pytest.raises(NoSuchObject):
        done(read_digest(backend(), KEY, 1))


def reading(body: Body) -> FaultyBackend:
    made = backend()
    made.read = lambda key: succeed(body)
    return made


def test_an_object_that_breaks_off():
    body = Body(9)
    _, results = begun(read_digest(reading(body), KEY, 9))
    body.send(b"abc")
    body.end(ConnectionDone())
    assert results[0].check(BackendUnavailable)


def test_an_object_of_another_size_is_not_read():
    """A server that announces an exabyte could send for ever."""
    body = Body(10**18)
    _, results = begun(read_digest(reading(body), KEY, 9))
    assert results[0].size == 10**18
    assert body.said == ["abandoned"]


def test_giving_a_digest_up():
    body = Body(9)
    waiting, results = begun(read_digest(reading(body), KEY, 9))
    body.send(b"abc")
    waiting.cancel()
    assert body.said == ["stop"]
    assert results[0].check(CancelledError), "it is not the server's fault"


# --- copies ----------------------------------------------------------------------------------------------


def copying(source: Any, target: Any, data: bytes = BIG, **how: Any) -> Any:
    expected = {"size": len(data), "sha256": sha256(data).digest(), "content_type": None, **how}
    return copy(source, KEY, target, THERE, **expected)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("data", [b"", b"x", BIG])
def test_a_copy(known, digests, data):
    source, target = backend("s", data), backend("t", digests=digests)
    digest = done(copying(source, target, data, **({} if known else {"sha256": None})))
    assert digest == sha256(data).digest()
    assert target.objects == {THERE: data}
    assert target.asked("write", "stat") == [("write", THERE), ("stat", THERE)]


def test_a_copy_over_the_same():
    source, target = backend("s", BIG), backend("t")
    target.objects[THERE] = BIG
    done(copying(source, target))
    assert target.objects == {THERE: BIG}


@pytest.mark.parametrize("error", [NoSuchObject("?"), BackendUnavailable("?"), BackendRefused("?"), OSError()])
def test_a_source_that_cannot_be_read(error):
    source, target = backend("s", BIG), backend("t")
    source.failing["read"] = error
    with pytest.raises(SourceFailed) as caught:
        done(copying(source, target))
    assert caught.value.error is error
    assert target.calls == []


def test_a_source_of_another_size():
    body = Body(len(BIG) - 1)
    target = backend("t")
    with pytest.raises(SourceFailed) as caught:
        done(copying(reading(body), target))
    assert isinstance(caught.value.error, DigestMismatch)
    assert body.said == ["abandoned"]
    assert target.calls == []


#: Objects of either way: that which is read whole before it is written, and that which passes.
BOTH = pytest.mark.parametrize("data", [BIG[:SMALL], BIG], ids=["whole", "passing"])


@BOTH
def test_a_corrupt_source_never_becomes_a_copy(data):
    source, target = backend("s", data), backend("t")
    source.corrupt(KEY)
    with pytest.raises(SourceFailed) as caught:
        done(copying(source, target, data))
    assert isinstance(caught.value.error, DigestMismatch)
    assert target.objects == {}


@BOTH
@pytest.mark.parametrize("why", [BackendUnavailable("gone"), None], ids=["gone", "as if it were all"])
def test_a_source_that_dies_on_the_way(data, why):
    body = Body(len(data))
    target = backend("t")
    _, results = begun(copying(reading(body), target, data))
    body.send(data[:1000])
    body.end(why)
    assert results[0].check(SourceFailed)
    assert isinstance(results[0].value.error, BackendUnavailable)
    assert target.objects == {}


class Ending(FaultyBackend):
    """Takes some, then answers with an error and tells the body, as an HTTP client does."""

    def __init__(self, error: Exception | None, tells: bool = True) -> None:
        super().__init__("t")
        self.error = error
        self.tells = tells

    def write(self, key: str, body: Any, content_type: str | None = None) -> Deferred[Any]:
        body.startProducing(Intake())
        if self.tells:
            body.stopProducing()
        return fail(self.error) if self.error is not None else succeed(None)


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("error", [BackendFull("?"), BackendRefused("?"), BackendUnavailable("?")])
def test_a_target_that_ends_it_is_the_one_to_blame(error, tells):
    body = Body(len(BIG))
    with pytest.raises(type(error)) as caught:
        done(copying(reading(body), Ending(error, tells)))
    assert caught.value is error
    assert body.said == ["stop"]


def test_a_target_that_wants_nothing():
    body = Body(len(BIG))
    target = backend("t")
    target.failing["write"] = BackendFull("?")
    with pytest.raises(BackendFull):
        done(copying(reading(body), target))
    assert body.said == ["abandoned"]


def test_a_target_that_says_yes_before_it_has_all():
    body = Body(len(BIG))
    with pytest.raises(BackendUnavailable):
        done(copying(reading(body), Ending(None)))
    assert body.said == ["stop"]


def test_a_target_that_stores_nothing_and_says_yes():
    source, target = backend("s", BIG), backend("t")
    target.lies = True
    with pytest.raises(NoSuchObject):
        done(copying(source, target))


@pytest.mark.parametrize(
    "stat", [ObjectStat(len(BIG) - 1), ObjectStat(0), ObjectStat(len(BIG), sha256(b"other").digest())]
)
def test_a_target_that_stores_something_else(stat):
    source, target = backend("s", BIG), backend("t")
    target.stat = lambda key: succeed(stat)
    with pytest.raises(BackendUnavailable):
        done(copying(source, target))


def test_a_target_that_cannot_be_asked_afterwards():
    source, target = backend("s", BIG), backend("t")
    target.failing["stat"] = BackendUnavailable("?")
    with pytest.raises(BackendUnavailable):
        done(copying(source, target))


def test_cancelling_a_copy_whose_source_just_failed():
    """Who cancels wants no other source to be tried."""

    class Slow(FaultyBackend):
        def write(self, key: str, body: Any, content_type: str | None = None) -> Deferred[Any]:
            body.startProducing(Intake()).addErrback(lambda _: None)
            return Deferred()

    body = Body(len(BIG))
    waiting, results = begun(copying(reading(body), Slow("t")))
    body.end(BackendUnavailable("gone"))
    assert results == []
    waiting.cancel()
    assert results[0].check(CancelledError)


@BOTH
@pytest.mark.parametrize("moment", ["read", "write", "body", "stat"])
def test_cancelling_a_copy(moment, data):
    source, target = backend("s", data), backend("t")
    body = Body(len(data))
    if moment == "body":
        source = reading(body)
    elif moment == "read":
        source.hold("read")
    else:
        target.hold(moment)
    waiting, results = begun(copying(source, target, data))
    if moment == "body":
        body.send(data[:1000])
    assert results == []
    waiting.cancel()
    assert results[0].check(CancelledError)
    if moment == "body":
        assert body.said == ["stop"]
    if moment != "stat":
        assert target.objects == {}

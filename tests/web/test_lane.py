"""The fast lane beside the slow one: whatever is asked, the same bytes come back, at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred

from dragonbelly.errors import StateUnavailable
from dragonbelly.web.channel import GIVE_WAY, HALF_CLOSED
from dragonbelly.web.lane import WAITING
from dragonbelly.web.message import Answer
from tests.hostile.corpus import CASES
from tests.hostile.test_fuzz import no_surprises
from tests.web.requests import KNOWN, ODD, ORIGIN, PLAIN, ask, get
from tests.web.twins import PRIVATE, Client, Twins, signed
from tests.web.wire import Wire, answers
from tests.web.world import NOW, World


@pytest.fixture
def make_twins() -> Iterator[Callable[..., Twins]]:
    """Makes twins, who are compared once more, and closed, in the end."""
    made: list[Twins] = []

    def make(*args: Any, **kwargs: Any) -> Twins:
        made.append(Twins(*args, **kwargs))
        return made[-1]

    yield make
    for twins in made:
        twins.end()


@pytest.fixture
def twins(make_twins: Callable[..., Twins]) -> Twins:
    return make_twins()


@pytest.fixture
def slow(twins: Twins) -> Twins:
    """Who have to think about ``/begun`` until they are told to ``answer``."""
    twins.think_about(b"/begun")
    return twins


def by_name(requests: dict[str, bytes]) -> Any:
    return pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in requests.items()])


def judged(client: Client) -> None:
    """All that was said is well formed."""
    said = client.said.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    answers(said, ["GET"] * 1000, closed=True)


class TestTheSame:
    @by_name(PLAIN)
    def test_plain(self, twins: Twins, data: bytes) -> None:
        """Cold, and known; alone, and one behind the other."""
        client = twins.connect()
        client.feed(data, data, KNOWN, data, data + data + KNOWN)
        assert len(client.statuses) == 9
        assert not client.handed_over
        twins.advance(1.5)
        client.feed(data)
        assert not client.handed_over
        assert not client.closed
        if not data.startswith(b"HEAD"):
            judged(client)
        client.leave()

    @by_name(ODD)
    def test_odd(self, twins: Twins, data: bytes) -> None:
        client = twins.connect()
        client.feed(KNOWN)
        assert not client.handed_over
        client.feed(data)
        assert client.handed_over
        client.feed(get())
        judged(client)
        client.leave()
        # At once, and behind others.
        client = twins.connect()
        client.feed(KNOWN + data + get())
        assert client.handed_over
        judged(client)
        client.leave()

    def test_hostile(self, twins: Twins) -> None:
        """The whole corpus; what is answered to each is elsewhere, on real sockets."""
        for case in CASES:
            data = case.data.replace(b"files.example.com", b"open.test")
            data = data.replace(b"%BODY%", b"POST /-/api/v1/uploads HTTP/1.1")
            for pieces in ([KNOWN, data, get()], [data + get()]):
                client = twins.connect()
                client.feed(*pieces)
                judged(client)
                client.leave()

    def test_all_plain_ones_in_one_piece(self, twins: Twins) -> None:
        data = [data for data in PLAIN.values() if len(data) < 3000]
        client = twins.connect()
        client.feed(b"".join(data))
        assert len(client.statuses) == len(data)
        client.feed(b"".join(reversed(data)))
        assert len(client.statuses) == 2 * len(data)
        assert not client.handed_over
        client.leave()

    @by_name({name: data for name, data in (PLAIN | ODD).items() if len(data) < 300})
    def test_byte_by_byte(self, twins: Twins, data: bytes) -> None:
        client = twins.connect()
        client.feed(*(bytes([byte]) for byte in data + get()))
        assert client.handed_over
        client.leave()

    @by_name({name: data for name, data in PLAIN.items() if data[:1] == b"P" and data[-4:] != b"\r\n\r\n"})
    def test_the_body_comes_later(self, twins: Twins, data: bytes) -> None:
        head, _, body = data.partition(b"\r\n\r\n")
        client = twins.connect()
        client.feed(head + b"\r\n\r\n", body[:-1], body[-1:], get())
        client.feed(get() + head + b"\r\n\r\n" + body[:1], body[1:] + get())
        assert len(client.statuses) == 5
        assert not client.handed_over
        client.leave()

    @given(
        st.lists(st.sampled_from([*PLAIN.values(), *ODD.values()]), min_size=1, max_size=6),
        st.lists(st.integers(0, 4000), max_size=6),
    )
    def test_cut_anywhere(self, requests: list[bytes], cuts: list[int]) -> None:
        twins = Twins()
        client = twins.connect()
        data = b"".join(requests)
        ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
        client.feed(*(data[start:end] for start, end in pairwise(ends)))
        client.leave()
        twins.end()

    def test_what_is_kept_is_given_to_each_as_he_asks(self, twins: Twins) -> None:
        """By lines that lead to one redirect, from connections with other fields."""
        clients = [twins.connect() for _ in range(3)]
        for _ in range(2):
            clients[0].feed(get())
            clients[1].feed(get(fields=ORIGIN))
            clients[2].feed(get(host=PRIVATE))
            clients[2].feed(get(host=b"Host: evil.test\r\n"))
        for client in clients:
            assert not client.handed_over
            client.leave()

    def test_a_signature_ends(self, twins: Twins) -> None:
        client = twins.connect()
        data = get(signed("secret", expires=int(NOW) + 30), host=PRIVATE)
        for seconds in (0, 10, 15, 5, 1):
            twins.advance(seconds)
            client.feed(data, data)
        assert client.statuses == [302] * 6 + [403] * 4
        assert not client.handed_over
        client.leave()

    def test_a_file_that_comes_and_goes(self, twins: Twins) -> None:
        client = twins.connect()
        for _ in range(2):
            client.feed(get(b"/begun"), get())
            twins.each(lambda world: world.ask("DELETE", "/a", {"Host": "open.test"}).status)
            client.feed(get(), get(b"/begun"))

            def put(world: World) -> str:
                said = world.ask("PUT", "/a", {"Host": "open.test"}, b"x")
                world.upload(said.location, b"x")
                return said.location

            twins.each(put)
            client.feed(get(), get(), ask(b"HEAD /a"))
        assert not client.handed_over
        client.leave()

    def test_servers_that_go_and_come(self, twins: Twins) -> None:
        def away(names: str) -> None:
            def set_(world: World) -> None:
                for storage in world.stores:
                    storage.away = storage.name in names
                for _ in range(3):
                    world.probe()

            twins.each(set_)

        client = twins.connect()
        client.feed(get())
        for names in ("s1", "s1 s2", "s1 s2 s3", "s3", ""):
            away(names)
            # The fast lane draws once more, when it finds that there is none that is good.
            twins.each(lambda world: setattr(world.daemon.public_site.redirects, "_random", lambda: 0.4))
            client.feed(get(), get(b"/b%20c/%C3%A9"), get(), ask(b"HEAD /a"), ask(b"PUT /new", body=b"x"))
        assert not client.handed_over
        client.leave()

    def test_the_store_goes_and_comes(self, twins: Twins) -> None:
        client = twins.connect()
        client.feed(get())
        for away in (True, False, True, False):
            twins.each(lambda world, away=away: setattr(world.store, "away", away))  # type: ignore[misc]
            client.feed(get(), get(), get(b"/none"), ask(b"PUT /new", body=b"x"), get(b"/b%20c/%C3%A9"))
            twins.advance(1)
        assert not client.handed_over
        client.leave()

    @pytest.mark.parametrize("cache", [0, 1])
    def test_however_much_is_kept(self, make_twins: Callable[..., Twins], cache: int) -> None:
        twins = make_twins(http=f"cache = {cache}\n")
        client = twins.connect()
        for name in (b"/a", b"/b%20c/%C3%A9", b"/a", b"/a"):
            client.feed(get(name))
        assert not client.handed_over
        client.leave()

    def test_not_open_yet(self, make_twins: Callable[..., Twins]) -> None:
        twins = make_twins()
        client = twins.connect()
        client.feed(get())
        twins.each(lambda world: setattr(world.daemon.public, "open", False))
        client.feed(get(b"/none"), get(b"/b%20c/%C3%A9"), ask(b"PUT /new"), get(b"/-/health"))
        client.leave()
        twins.each(lambda world: setattr(world.daemon.public, "open", True))


class TestLimits:
    @pytest.mark.parametrize("most", [1, 2, 3, 0])
    @pytest.mark.parametrize("at_once", [True, False])
    def test_requests_of_a_connection(self, make_twins: Callable[..., Twins], most: int, at_once: bool) -> None:
        twins = make_twins(f"[limits]\nrequests_per_connection = {most}\n")
        client = twins.connect()
        data = [get(), get(b"/none"), get(), get(b"/b%20c/%C3%A9"), get()]
        client.feed(*([b"".join(data)] if at_once else data))
        assert client.closed == bool(most)
        assert len(client.statuses) == (most or 5)
        assert client.handed_over == bool(most)
        client.leave()

    @pytest.mark.parametrize("count", [0, 1, 14, 20])
    def test_the_size_of_a_head(self, make_twins: Callable[..., Twins], count: int) -> None:
        """To the byte where the slow lane refuses, and never more is taken here."""
        fields = b"".join(b"X%d:\r\n" % n for n in range(count))
        fields = b"A: " + b"x" * 1000 + b"\r\n" + fields
        size = len(get(fields=fields)) + 30 * (count + 4)
        for more in (-40, -1, 0, 1, 40):
            twins = make_twins(f"[limits]\nheader_size = {size + more}\n", stored=False)
            client = twins.connect()
            client.feed(get(fields=fields))
            client.leave()

    def test_a_line_and_fields_that_are_known_are_measured_together(self, make_twins: Any) -> None:
        twins = make_twins("[limits]\nheader_size = 1024\n")
        first, second = twins.connect(), twins.connect()
        line, fields = b"/" + b"%78" * 200, b"A: " + b"y" * 280 + b"\r\n"
        first.feed(get(line), get(line))
        second.feed(get(fields=fields), get(fields=fields))
        assert not first.handed_over
        assert first.statuses + second.statuses == [302] * 4
        second.feed(get(line, fields))
        assert second.statuses[2:] == [431]
        first.leave()
        second.leave()

    @pytest.mark.parametrize("limits", ["", 'body_time = "90s"', 'idle = "5s"\nbody_time = "7s"'])
    def test_a_body_that_does_not_come(self, make_twins: Callable[..., Twins], limits: str) -> None:
        twins = make_twins(f"[limits]\n{limits}\n")
        for drip in (b"", b"x"):
            client = twins.connect()
            client.feed(get() + ask(b"PUT /new", body=b"x" * 500)[:-450])
            for _ in range(100):
                twins.advance(1)
                client.settle()
                client.feed(drip)
            assert client.closed
            assert not client.handed_over
            client.leave()

    def test_a_body_that_comes_in_time(self, twins: Twins) -> None:
        client = twins.connect()
        data = ask(b"PUT /new", body=b"x" * 50)
        for _ in range(3):
            client.feed(data[:-1])
            twins.advance(50)
            client.feed(data[-1:])
        assert client.statuses == [307] * 3
        client.leave()

    def test_who_says_nothing(self, twins: Twins) -> None:
        quiet, asked = twins.connect(), twins.connect()
        for _ in range(59):
            twins.advance(1)
            asked.feed(get())
        twins.advance(1)
        quiet.compare()
        assert quiet.closed
        assert not asked.closed
        quiet.settle()
        for _ in range(60):
            twins.advance(1)
            asked.settle()
        assert asked.closed
        assert not asked.fast.wire.aborted
        for client in (quiet, asked):
            client.leave()

    @pytest.mark.parametrize("limit", ["connections = 3", "connections_per_address = 3\nexempt = []"])
    def test_who_makes_room(self, make_twins: Callable[..., Twins], limit: str) -> None:
        twins = make_twins(f"[limits]\n{limit}\n")
        clients = [twins.connect() for _ in range(3)]
        clients[0].feed(get(b"/none"))
        clients[2].feed(get())
        clients[0].feed(get())
        # As it is busy, it stays; so do those that were heard lately.
        twins.each(lambda world: world.store.stuck.add("page"))
        clients[1].feed(get(b"/-/api/v1/files"))
        others = [twins.connect() for _ in range(2)]
        for client in (*clients, *others):
            client.compare()
        assert [client.closed for client in clients] == [True, False, True]
        assert not any(client.fast.wire.aborted for client in clients)
        clients[0].fast.channel.dataReceived(get())
        for client in (*clients, *others):
            client.settle()
            client.leave()

    def test_who_does_not_let_go_is_cut_off(self, make_twins: Callable[..., Twins]) -> None:
        twins = make_twins("[limits]\nconnections = 1\n")
        first = twins.connect()
        first.feed(get())
        other = twins.connect()
        first.compare()
        assert first.closed
        assert not first.fast.wire.aborted
        twins.advance(GIVE_WAY)
        first.compare()
        assert first.fast.wire.aborted
        for client in (first, other):
            client.leave()

    def test_there_is_no_room(self, make_twins: Callable[..., Twins]) -> None:
        twins = make_twins("[limits]\nconnections = 1\n")
        twins.each(lambda world: world.store.stuck.add("page"))
        busy = twins.connect()
        busy.feed(get(b"/-/api/v1/files"))
        other = twins.connect()
        assert other.closed
        assert other.fast.wire.aborted
        for client in (busy, other):
            client.leave()

    @pytest.mark.parametrize("data", [get(b"/-/api/v1/files"), get(b"/-/api/v1/files") + get() + get()])
    def test_handed_over_while_seated(self, make_twins: Callable[..., Twins], data: bytes) -> None:
        """The one seat goes along."""
        twins = make_twins("[limits]\nconnections = 2\n")
        clients = [twins.connect(), twins.connect()]
        clients[0].feed(b"GET /a HT")
        clients[1].feed(get(fields=b"Expect: x\r\n"))
        assert all(client.handed_over for client in clients)
        twins.each(lambda world: len(world.daemon.public_site.connections))
        assert len(twins.worlds[0].daemon.public_site.connections) == 2
        third = twins.connect()
        assert [client.closed for client in clients] == [True, False]
        for client in (*clients, third):
            client.settle()
            client.leave()


class TestWhileAnAnswerIsUnderWay:
    def test_the_others_wait_their_turn(self, slow: Twins) -> None:
        client = slow.connect()
        client.feed(get() + get(b"/begun") + get() + get(b"/none"), get(), get() + get()[:-1], get()[-1:])
        assert client.statuses == [302]
        slow.answer()
        client.compare()
        assert client.statuses == [302, 404, 302, 404, 302, 302, 302]
        assert not client.handed_over
        client.leave()

    @pytest.mark.parametrize("odd", [name for name in ODD if "too large" not in name and "flood" not in name])
    def test_an_odd_one_waits_too(self, slow: Twins, odd: str) -> None:
        client = slow.connect()
        client.feed(get(b"/begun"), get() + ODD[odd] + get())
        assert client.statuses == []
        assert not client.handed_over
        slow.answer()
        client.compare()
        assert client.handed_over
        client.leave()

    def test_no_more_is_read_than_may_wait(self, slow: Twins) -> None:
        client = slow.connect()
        client.feed(get(b"/begun"))
        lane = client.fast.channel
        sent = 1
        while client.fast.wire.producerState == "producing":
            client.fast.feed(get())
            sent += 1
            assert len(lane._waiting) <= WAITING + len(get())
        assert sent > WAITING // len(get())
        slow.answer()
        assert client.fast.wire.producerState == "producing"
        assert client.statuses == [404] + [302] * (sent - 1)
        assert lane._waiting == b""
        client.fast.leave()
        client.slow.leave()
        slow.alike = False

    def test_the_clock_does_not_run_meanwhile(self, slow: Twins) -> None:
        client = slow.connect()
        client.feed(get(b"/begun"))
        slow.advance(59)
        slow.advance(59)
        client.compare()
        assert not client.closed
        slow.answer()
        for _ in range(59):
            slow.advance(1)
            client.settle()
        assert not client.closed
        slow.advance(1)
        client.compare()
        assert client.closed
        client.leave()

    @pytest.mark.parametrize("call", ["get", "page"])
    @pytest.mark.parametrize("method", [b"GET", b"DELETE"])
    def test_who_leaves_takes_the_work_along(self, twins: Twins, call: str, method: bytes) -> None:
        twins.each(lambda world: world.store.stuck.add(call))
        target = b"/-/api/v1/files" if call == "page" else b"/none"
        client = twins.connect()
        client.feed(ask(method + b" " + target) + get())
        client.leave()
        twins.each(lambda world: world.store.cancelled)
        assert not client.handed_over

    def test_a_record_that_is_being_read_for_one_who_left(self, twins: Twins) -> None:
        prepared = twins.worlds[0].daemon.public_site.prepared
        waiting: list[Any] = []
        prepared.tracked.ask = lambda path, told: waiting.append(told)  # type: ignore[method-assign]
        client = twins.connect()
        client.fast.feed(get(b"/none") + get())
        (told,) = waiting
        client.fast.leave()
        client.slow.leave()
        told(StateUnavailable("too late"))
        assert client.said == b""
        assert prepared._marks == {}

    def test_a_backend_that_stumbles(self, twins: Twins) -> None:
        def break_(world: World) -> None:
            for storage in world.stores:
                storage.download_base = "no\r\nURL"

        twins.each(break_)
        client = twins.connect()
        client.feed(get(), get() + get())
        assert client.statuses == [500] * 3
        client.leave()

    def test_work_that_is_given_up_by_somebody_else(self, twins: Twins) -> None:
        """Nobody waits for ever for an answer that does not come."""

        def give_up(world: World) -> None:
            prepared = world.daemon.public_site.prepared
            prepared.tracked.ask = lambda path, told: told(CancelledError())  # type: ignore[method-assign]

        client = twins.connect()
        client.feed(get())
        twins.each(give_up)
        client.feed(get() + get(b"/none") + get())
        assert client.fast.wire.aborted
        assert client.statuses == [302, 302]
        client.leave()

    def test_an_answer_for_one_who_left(self, twins: Twins) -> None:
        """Work that cannot be stopped ends later: nothing is said on a connection that is lost."""
        waiting: list[Deferred[Any]] = []

        def begin(world: World) -> None:
            accept = world.daemon.ledger.accept

            async def slowly(path: Any, announced: Any) -> Any:
                waiting.append(Deferred())
                with pytest.raises(CancelledError):
                    await waiting[-1]
                return await accept(path, announced)

            world.daemon.ledger.accept = slowly  # type: ignore[method-assign]
            world.daemon.uploads._counted = lambda caller: (None, "", 0)  # type: ignore[assignment, method-assign]

        twins.each(begin)
        client = twins.connect()
        client.feed(ask(b"PUT /new", body=b"x") + get())
        with no_surprises():
            client.leave()
        assert len(waiting) == 2
        assert client.said == b""

    def test_an_answer_that_cannot_be_said_is_the_last(self, twins: Twins) -> None:
        """What comes behind it would be taken for it."""

        async def answer(question: Any) -> Answer:
            return Answer(200, (("X", "a\r\nb: c" if question.method == "DELETE" else "d"),))

        twins.worlds[0].daemon.public.answer = answer  # type: ignore[method-assign]
        client = twins.connect()
        client.fast.feed(get() + get(b"/none") + ask(b"DELETE /a") + get() + get(b"/none"))
        assert client.statuses == [302, 200]
        assert client.fast.wire.aborted
        client.fast.leave()
        client.slow.leave()
        twins.alike = False


class TestDraining:
    """Where only the order of the fields may differ."""

    @staticmethod
    def heard(client: Client) -> list[Any]:
        return [answers(each.said, ["GET"] * 9, each.closed) for each in (client.fast, client.slow)]

    @pytest.mark.parametrize("known", [b"", get()])
    @pytest.mark.parametrize(
        "data",
        [
            get(),
            get(b"/none"),
            get() + get(),
            get(b"/none") + get(),
            ask(b"PUT /new", body=b"x"),
            ODD["chunks"],
        ],
    )
    def test_the_next_answer_is_the_last(self, twins: Twins, known: bytes, data: bytes) -> None:
        client = twins.connect()
        client.feed(known)
        twins.each(lambda world: setattr(world.daemon.public_site.connections, "draining", True))
        client.fast.feed(data)
        client.slow.feed(data)
        fast, slow = self.heard(client)
        assert fast == slow
        assert len(fast) == (2 if known else 1)
        assert fast[-1].headers["connection"] == "close"
        assert client.fast.closed == client.slow.closed
        client.fast.leave()
        client.slow.leave()

    def test_that_of_who_waits_for_one(self, slow: Twins) -> None:
        client = slow.connect()
        client.feed(get() + get(b"/begun") + get())
        slow.each(lambda world: setattr(world.daemon.public_site.connections, "draining", True))
        slow.answer()
        for each in (client.fast, client.slow):
            said = answers(each.said, ["GET"] * 2, each.closed)
            assert [one.status for one in said] == [302, 404]
            assert each.closed
            each.leave()


class TestWhoHasSaidAll:
    """He closes his side, and listens still; or he has left, and nobody can tell."""

    @pytest.mark.parametrize(
        "data", [b"", get(), get() + get(b"/none"), get()[:-1], ask(b"PUT /new", body=b"x")[:-1]]
    )
    def test_when_nothing_is_under_way(self, twins: Twins, data: bytes) -> None:
        client = twins.connect()
        client.feed(data)
        client.shut_down()
        assert client.closed
        client.leave()

    def test_he_hears_what_he_asked_for(self, slow: Twins) -> None:
        client = slow.connect()
        client.feed(get() + get(b"/begun") + get() + get(b"/begun") + ask(b"HEAD /a"))
        client.shut_down()
        for _ in range(2):
            assert not client.closed
            slow.advance(HALF_CLOSED - 1)
            client.compare()
            slow.answer()
            client.settle()
        assert client.statuses == [302, 404, 302, 404, 302]
        assert client.closed
        assert not client.fast.wire.aborted
        client.leave()

    @pytest.mark.parametrize("odd", ["HTTP/1.0", "chunks", "Expect", "half a head", "too large a body"])
    def test_odd_things_too(self, slow: Twins, odd: str) -> None:
        for behind in (b"", get(b"/begun")):
            client = slow.connect()
            client.feed(get(b"/begun") + ODD[odd] + behind)
            client.shut_down()
            assert not client.closed
            while slow.thinking:
                slow.answer()
                client.settle()
            assert client.handed_over
            assert client.closed
            client.leave()

    def test_not_for_ever(self, slow: Twins) -> None:
        client = slow.connect()
        client.feed(get() + get(b"/begun") + get())
        client.shut_down()
        slow.advance(HALF_CLOSED)
        client.compare()
        assert client.closed
        client.settle()
        slow.answer()
        assert client.statuses == [302]
        client.leave()

    def test_who_does_not_read(self, make_twins: Callable[..., Twins]) -> None:
        twins = make_twins(wire=Narrow)
        client = twins.connect()
        wire = client.fast.wire
        assert isinstance(wire, Narrow)
        client.fast.feed(get() * 100)
        client.fast.shut_down()
        for _ in range(10):
            wire.read()
        assert not client.fast.closed
        twins.advance(HALF_CLOSED)
        twins.advance(GIVE_WAY)
        assert wire.aborted
        client.fast.leave()
        client.slow.leave()
        twins.alike = False


class Narrow(Wire):
    """A client who reads nothing until ``read``; whoever writes is stopped when ``ROOM`` bytes wait."""

    ROOM = 2000

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unread = 0

    def write(self, data: bytes) -> None:
        super().write(data)
        self.unread += len(data)
        if self.unread > self.ROOM and self.producer is not None:
            self.producer.pauseProducing()

    def read(self) -> None:
        self.unread = 0
        if self.producer is not None:
            self.producer.resumeProducing()


class TestWhoDoesNotRead:
    def test_no_more_is_said_than_there_is_room(self, make_twins: Callable[..., Twins]) -> None:
        twins = make_twins(wire=Narrow)
        client = twins.connect()
        wire = client.fast.wire
        assert isinstance(wire, Narrow)
        client.fast.feed((get() + get(b"/none") + ask(b"POST /a", body=b"x")) * 20)
        assert wire.producerState == "paused"
        client.fast.feed(get())  # what was read already, as TLS does
        for _ in range(60):
            assert wire.unread < Narrow.ROOM + 1000
            wire.read()
        assert client.statuses == [302, 404, 405] * 20 + [302]
        assert wire.producerState == "producing"
        assert not client.handed_over
        client.fast.leave()
        client.slow.leave()
        twins.alike = False

    def test_what_was_read_already_waits(self, make_twins: Callable[..., Twins]) -> None:
        """TLS hands out what it has, though told to pause."""
        twins = make_twins(wire=Narrow)
        client = twins.connect()
        wire = client.fast.wire
        assert isinstance(wire, Narrow)
        while wire.producerState == "producing":
            client.fast.feed(get())
        heard = len(client.statuses)
        client.fast.feed(get())
        assert len(client.statuses) == heard
        wire.read()
        assert len(client.statuses) == heard + 1
        client.fast.leave()
        client.slow.leave()
        twins.alike = False

    def test_an_odd_one_waits_until_he_does(self, make_twins: Callable[..., Twins]) -> None:
        twins = make_twins(wire=Narrow)
        client = twins.connect()
        wire = client.fast.wire
        assert isinstance(wire, Narrow)
        client.fast.feed(get(b"/none") * 10 + ODD["chunks"] + get())
        assert not client.handed_over
        while wire.producerState == "paused":
            assert not client.handed_over or client.statuses[10:]
            wire.read()
        assert client.handed_over
        assert client.statuses == [404] * 10 + [302]
        assert wire.half_closed
        client.fast.leave()
        client.slow.leave()
        twins.alike = False

    def test_he_is_cut_off(self, make_twins: Callable[..., Twins]) -> None:
        twins = make_twins(wire=Narrow)
        client = twins.connect()
        client.fast.feed(get() * 100)
        for _ in range(61):
            twins.advance(1)
        assert client.fast.closed
        assert client.fast.wire.aborted
        client.fast.leave()
        client.slow.leave()
        twins.alike = False


class TestWhereItComesFrom:
    def test_a_proxy_tells_it_before_anything_else(self, make_twins: Callable[..., Twins]) -> None:
        """As the ``haproxy:`` endpoint does; by then the connection is there already."""
        twins = make_twins("[limits]\nconnections_per_address = 1\nexempt = []\n")
        first, other = twins.connect("192.0.2.1"), twins.connect("192.0.2.2")
        client = twins.connect("10.0.0.1")
        for connection in (client.fast, client.slow):
            connection.wire.peerAddr = IPv4Address("TCP", "192.0.2.1", 1)
        client.feed(get(), get())
        first.settle()
        assert (first.closed, other.closed, client.closed) == (True, False, False)
        assert client.statuses == [302, 302]
        assert not client.handed_over
        for each in (first, other, client):
            each.leave()

    def test_and_there_is_no_room(self, make_twins: Callable[..., Twins]) -> None:
        twins = make_twins("[limits]\nconnections_per_address = 1\nexempt = []\n")
        twins.each(lambda world: world.store.stuck.add("page"))
        busy, client = twins.connect("192.0.2.1"), twins.connect("10.0.0.1")
        busy.feed(get(b"/-/api/v1/files"))
        for connection in (client.fast, client.slow):
            connection.wire.peerAddr = IPv4Address("TCP", "192.0.2.1", 1)
        client.fast.feed(get())
        client.slow.feed(get())
        assert client.fast.wire.aborted
        assert client.fast.said == b""
        busy.leave()
        client.leave()

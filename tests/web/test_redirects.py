"""Redirects: where a file's readers are sent, byte by byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from twisted.internet.task import Clock

from dragonbelly.backends.memory import MemoryBackend
from dragonbelly.cluster.members import Cluster, Member
from dragonbelly.config import loads
from dragonbelly.errors import BackendUnavailable
from dragonbelly.metrics import Metrics
from dragonbelly.model import BackendState, BackendView, Observed, Path, Replica, ReplicaState, Version
from dragonbelly.web import redirects
from dragonbelly.web.redirects import Redirects
from tests import builders
from tests.builders import replicas, vid

NOW = 1_790_000_000.0
ID = vid(1)
PATH = Path("media", "a/b c.jpg")
KEY = f"media/a/@{ID}/b%20c.jpg"

CONFIG = loads(
    '[http]\ncache_control = "public, max-age=60"\n[domain.media]\nhosts = ["*"]\nanonymous = ["read"]\n'
    '[domain.safe]\nhosts = ["safe.test"]\nanonymous = []\nlink_expires = "1h"\n'
    '[backend.a]\nkind = "dav"\nurl = "http://a.test"\nprivate = true\n'
)


def live(*said: str, **changes: Any) -> Version:
    return builders.live(*said, **{"sha256": None, **changes})


def adopt(*held: Replica) -> Version:
    return msgspec.structs.replace(live(), replicas=held)


class Backend(MemoryBackend):
    """``signs``: its URLs are, each by itself, and end."""

    def __init__(self, name: str, signs: bool = False, lasts: float | None = None) -> None:
        super().__init__(name)
        self.link_expires = lasts
        if signs:
            self.download_base = None

    def download_url(self, key: str, expires: int | None = None) -> str:
        url = super().download_url(key)
        return url if self.download_base is not None else f"{url}?by={self.name}&until={expires}"


class Draws:
    """What is left to chance, as a test says."""

    def __init__(self) -> None:
        self.next = 0.0

    def __call__(self) -> float:
        return self.next


class Place:
    """Some storage servers, and the redirects to them."""

    def __init__(self, *backends: MemoryBackend, weights: dict[str, float] | None = None) -> None:
        self.clock, self.random, self.metrics = Clock(), Draws(), Metrics()
        self.clock.rightNow = NOW
        self.cluster = Cluster(
            Member(
                backend,
                BackendView(
                    backend.name,
                    host=backend.name,
                    zone="",
                    weight=(weights or {}).get(backend.name, 1.0),
                    observed=Observed.UP,
                ),
            )
            for backend in backends
        )
        self.redirects = Redirects(self.cluster, CONFIG, self.clock, self.random, self.metrics)

    def said(self, file: Version, draw: float = 0.0, path: Path = PATH) -> bytes | None:
        """The lines for a reader."""
        self.random.next = draw
        redirect = self.redirects.make(path, file)
        way = self.redirects.draw(redirect)
        return self.redirects.lines(redirect, way) if way is not None else None

    def order(self, file: Version, draw: float = 0.0) -> list[str]:
        """The servers that he hears of, the first one first."""
        said = self.said(file, draw)
        assert said is not None
        return [part.partition(b".test/")[0].decode() for part in said.split(b"http://")[1:]]


def lines(*urls: str, rest: str = "", cache: str = "public, max-age=60") -> bytes:
    link = ", ".join(f"<{url}>; rel=duplicate" for url in urls[1:])
    said = [
        f"Location: {urls[0]}",
        *([f"Link: {link}"] if link else []),
        f'ETag: "{ID}"',
        f"Cache-Control: {cache}",
    ]
    return "".join(f"{line}\r\n" for line in said).encode() + rest.encode()


def url(name: str, key: str = KEY) -> str:
    return f"http://{name}.test/{key}"


@pytest.fixture
def place() -> Place:
    return Place(*map(Backend, "abc"))


class TestWhatIsSaid:
    @pytest.mark.parametrize(
        ("held", "urls"),
        [
            (("a:good",), "a"),
            (("b:good",), "b"),
            (("a:good", "b:good"), "ab"),
            (("b:good", "a:good"), "ba"),
            (("a:good", "b:good", "c:good"), "abc"),
        ],
    )
    def test_byte_by_byte(self, place: Place, held: tuple[str, ...], urls: str) -> None:
        assert place.said(live(*held)) == lines(*map(url, urls))

    def test_a_digest(self, place: Place) -> None:
        file = live("a:good", sha256=bytes(32))
        assert place.said(file) == lines(url("a"), rest=f"Repr-Digest: sha-256=:{'A' * 43}=:\r\n")

    @pytest.mark.parametrize(
        ("name", "key"),
        [
            ("x", f"media/@{ID}/x"),
            ("é/ü%", f"media/%C3%A9/@{ID}/%C3%BC%25"),
            ("a@b/c,;=+", f"media/a@b/@{ID}/c%2C%3B%3D%2B"),
            ("<>\"/'", f"media/%3C%3E%22/@{ID}/%27"),
            ("%s%b%%/{0}", f"media/%25s%25b%25%25/@{ID}/%7B0%7D"),
            ("?/#", f"media/%3F/@{ID}/%23"),
        ],
    )
    @pytest.mark.parametrize("signs", [False, True])
    def test_names(self, name: str, key: str, signs: bool) -> None:
        place = Place(Backend("a", signs), Backend("b", signs))
        ends = [f"?by={server}&until=None" if signs else "" for server in "ab"]
        said = place.said(live("a:good", "b:good"), path=Path("media", name))
        assert said == lines(*(url(server, key) + end for server, end in zip("ab", ends, strict=True)))

    def test_who_reads_as_it_was_and_who_was_taken_away(self, place: Place) -> None:
        """Others than good copies that serve are told of only where there is no better."""
        held = ("a:missing", "b:good", "c:suspect")
        assert place.order(live(*held)) == ["b"]
        assert place.order(live("a:leaving@1700000000", "b:good")) == ["b", "a"]
        assert place.order(live("a:leaving@1700000000", "b:missing")) == ["a"]
        assert place.said(live("a:missing", "b:lost", "c:condemned")) is None
        assert place.said(live()) is None

    def test_generations(self, place: Place) -> None:
        """A copy that came back to a server lies under a key of its own."""
        said = place.said(live("a:good", "b.2:good"))
        assert said == lines(url("a"), url("b", KEY.replace(ID, f"{ID}.2")))
        same = place.said(live("a.2:good", "b.2:good"))
        assert same == lines(*(url(name, KEY.replace(ID, f"{ID}.2")) for name in "ab"))

    def test_keys_of_their_own(self, place: Place) -> None:
        adopted = Replica("a", ReplicaState.GOOD, key="old/place é")
        file = adopt(adopted, *replicas("b:good"))
        assert place.said(file) == lines(url("a", "old/place%20%C3%A9"), url("b"))
        assert place.said(adopt(adopted)) == lines(url("a", "old/place%20%C3%A9"))

    def test_a_server_that_left_the_configuration(self, place: Place) -> None:
        assert place.order(live("gone:good", "b:good")) == ["b"]
        assert place.said(live("gone:good")) is None
        place.cluster.say({"gone": BackendState.DEAD})
        assert place.order(live("gone:good", "b:good")) == ["b"]
        with pytest.raises(BackendUnavailable):
            place.redirects.url(PATH, live("gone:good"), replicas("gone:good")[0])

    def test_one_url(self, place: Place) -> None:
        file = live("b.1:good")
        assert place.redirects.url(PATH, file, file.replicas[0]) == url("b", KEY.replace(ID, f"{ID}.1"))


class TestWhoIsFirst:
    def test_each_in_his_turn_with_the_others_behind(self, place: Place) -> None:
        file = live("a:good", "b:good", "c:good")
        assert [place.order(file, draw) for draw in (0, 0.3, 0.34, 0.6, 0.67, 0.999)] == [
            *(
                ["a", "b", "c"],
                ["a", "b", "c"],
                ["b", "a", "c"],
                ["b", "a", "c"],
                ["c", "a", "b"],
                ["c", "a", "b"],
            )
        ]

    @pytest.mark.parametrize("signs", [False, True])
    def test_by_weight(self, signs: bool) -> None:
        place = Place(*(Backend(name, signs) for name in "abc"), weights={"a": 1, "b": 6, "c": 3})
        file = live("a:good", "b:good", "c:good")
        first = Counter(place.order(file, draw / 1000)[0] for draw in range(1000))
        assert first == {"a": 100, "b": 600, "c": 300}
        counted = place.metrics.redirected
        assert [counted(name).n for name in "abc"] == [0, 0, 0], "who sends it counts it"

    def test_the_tally_is_of_the_first(self, place: Place) -> None:
        redirect = place.redirects.make(PATH, live("a:good", "b:good"))
        for draw in (0.1, 0.6, 0.7):
            place.random.next = draw
            way = place.redirects.draw(redirect)
            assert way is not None
            way.tally.n += 1
        assert [place.metrics.redirected(name).n for name in "ab"] == [1, 2]


class TestHealth:
    """What was made stays, and takes the way that is there now."""

    @pytest.fixture
    def first(self, place: Place) -> Callable[[], tuple[str, bool] | None]:
        place.random.next = 0.0
        redirect = place.redirects.make(PATH, live("a:good", "b:good"))

        def draw() -> tuple[str, bool] | None:
            way = place.redirects.draw(redirect)
            if way is None:
                return None
            said = place.redirects.lines(redirect, way)
            assert said.endswith(redirect.rest)
            return said.partition(b"http://")[2][:1].decode(), way.last_resort

        return draw

    def test_what_is_seen(self, place: Place, first: Callable[[], Any]) -> None:
        assert first() == ("a", False)
        place.cluster.observe("a", Observed.UNREACHABLE)
        assert first() == ("b", False)
        place.cluster.observe("b", Observed.UNREACHABLE)
        assert first() == ("a", True)
        place.cluster.observe("b", Observed.UP)
        assert first() == ("b", False)
        place.cluster.observe("a", Observed.UP)
        assert first() == ("a", False)

    def test_what_people_say(self, place: Place, first: Callable[[], Any]) -> None:
        place.cluster.say({"a": BackendState.DEAD})
        assert first() == ("b", False)
        place.cluster.say({"a": BackendState.DEAD, "b": BackendState.DEAD})
        assert first() is None
        place.cluster.say({"a": BackendState.DOWN, "b": BackendState.DEAD})
        assert first() == ("a", True)
        place.cluster.say({})
        assert first() == ("a", False)


class TestHowLong:
    def test_for_ever(self, place: Place) -> None:
        assert place.redirects.make(PATH, live("a:good")).until == float("inf")

    def test_until_a_link_would_be_good_for_less_than_is_promised(self) -> None:
        place = Place(Backend("a", True, lasts=600), Backend("b", True, lasts=1200), Backend("c"))
        redirect = place.redirects.make(PATH, live("a:good", "b:good", "c:good"))
        way = place.redirects.draw(redirect)
        assert way is not None
        said = place.redirects.lines(redirect, way)
        until = [int(part.split(b">")[0].split(b"\r")[0]) for part in said.split(b"until=")[1:]]
        assert len(until) == 2
        assert redirect.until == min(until[0] - 600, until[1] - 1200)
        assert redirect.until >= NOW
        assert f"http://c.test/{KEY}>; rel=duplicate\r\n".encode() in said
        # The same until then, and another from then on.
        place.clock.rightNow = redirect.until - 1
        assert place.redirects.make(PATH, live("a:good", "b:good", "c:good")).urls == redirect.urls
        place.clock.rightNow = redirect.until + 1
        later = place.redirects.make(PATH, live("a:good", "b:good", "c:good"))
        assert later.urls != redirect.urls
        assert later.until > redirect.until

    def test_of_a_private_domain(self) -> None:
        place = Place(Backend("a", True))
        file = live("a:good")
        redirect = place.redirects.make(Path("safe", "x"), file)
        assert redirect.until < NOW + 3600
        said = place.said(file, path=Path("safe", "x"))
        assert said is not None
        assert b"\r\nCache-Control: private, max-age=60\r\n" in said

    def test_for_some_shorter(self, place: Place) -> None:
        redirect = place.redirects.make(PATH, live("a:good"))
        assert redirect.shorter(float("inf")) is redirect
        other = redirect.shorter(NOW + 5)
        assert (other.until, redirect.until) == (NOW + 5, float("inf"))
        assert (other.route, other.key, other.rest) == (redirect.route, redirect.key, redirect.rest)


class TestWhatABackendMayGive:
    @pytest.mark.parametrize(
        "base",
        [
            "http://a\r\nX: y/",
            "http://a b/",
            "http://a\x00/",
            "http://a\x7f/",
            "http://é/",
            "ftp://a/",
            "//a/",
            "",
        ],
    )
    @pytest.mark.parametrize("whole", [False, True])
    def test_nothing_but_a_url(self, base: str, whole: bool) -> None:
        backend = Backend("a")
        if whole:
            backend.download_base = None
            backend.download_url = lambda key, expires=None: base + "x"  # type: ignore[method-assign]
        else:
            backend.download_base = base
        place = Place(backend)
        for _ in range(2):
            with pytest.raises(ValueError, match="what is no URL"):
                place.redirects.make(PATH, live("a:good"))


class TestShared:
    def test_routes_are(self, place: Place) -> None:
        first = place.redirects.make(PATH, live("a:good", "b:good"))
        second = place.redirects.make(Path("media", "other"), live("a:good", "b:good", number=2))
        assert first.route is second.route
        assert place.redirects.make(PATH, live("b:good", "a:good")).route is not first.route
        assert place.said(live("b:good", "a:good")) == lines(url("b"), url("a"))

    def test_and_bounded(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redirects, "ROUTES", 2)
        held = [
            ("a:good",),
            ("b:good",),
            ("a:good", "b:good"),
            ("c:good", "a:good"),
            ("a:leaving",),
            ("b.1:good",),
        ]
        for _ in range(2):
            for each in held:
                expected = [said[0] for said in each]
                assert place.order(live(*each)) == expected
                assert len(place.redirects._plain) <= 2
                assert len(place.redirects._routes) <= 2

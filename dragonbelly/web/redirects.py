"""
Redirects to the servers that hold a file, made in two steps: what is the same for every reader once, and then
which server this reader is sent to.

A ``Route`` is what all files with replicas on the same servers have in common, and a ``Redirect`` is one
file's. Where nothing is signed, the URLs of a file differ only in what stands before its storage key: so a file
needs its key alone, which is written between the ``parts`` of the way that was drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import inf
from operator import itemgetter

import msgspec

from dragonbelly.cluster.choose import choices, draw
from dragonbelly.cluster.members import Cluster
from dragonbelly.config.values import Config
from dragonbelly.digests import repr_digest
from dragonbelly.interfaces import IClock
from dragonbelly.keys import key_of, quoted, storage_key
from dragonbelly.metrics import Metrics, Tally
from dragonbelly.model import ClusterView, Path, Replica, ReplicaState, Version
from dragonbelly.signing import steady

#: Routes that are shared; there are as many as ways to put replicas on servers.
ROUTES = 10_000

#: What a backend may give as a URL: it goes into a header as it is.
_URL = re.compile(rb"https?://[!-~]+")

#: Replicas that somebody may be sent to.
_GOOD = ReplicaState.GOOD
_READABLE = (_GOOD, ReplicaState.LEAVING)


class Way:
    """One of the servers a reader may be sent to first, with the others that hold the same bytes behind it."""

    __slots__ = ("last_resort", "lines", "parts", "pick", "tally")

    def __init__(self, order: Sequence[int], bases: Sequence[bytes], tally: Tally, last_resort: bool) -> None:
        self.tally = tally
        self.last_resort = last_resort
        starts = [b"Location: ", b"\r\nLink: <", *[b">; rel=duplicate, <"] * (len(order) - 2)][: len(order)]
        end = b"\r\n" if len(order) == 1 else b">; rel=duplicate\r\n"  # RFC 6249
        #: With a storage key between each two.
        self.parts = (*(start + bases[n] for start, n in zip(starts, order, strict=True)), end)
        #: The same for whole URLs, which ``pick`` puts in order.
        self.lines = b"%b".join((*starts, end))
        self.pick: Callable[[Sequence[bytes]], tuple[bytes, ...]] = (
            itemgetter(*order) if len(order) > 1 else lambda urls: (urls[order[0]],)
        )


class Route:
    """Where the readers of files with such ``replicas`` are sent; ``bases`` are their URLs up to the key."""

    __slots__ = ("bases", "marks", "replicas", "view", "ways")

    def __init__(self, replicas: tuple[Replica, ...], bases: tuple[bytes, ...]) -> None:
        self.replicas = replicas
        self.bases = bases
        self.view: ClusterView | None = None
        self.ways: tuple[Way, ...] = ()
        self.marks: list[float] = []

    def lay(self, view: ClusterView, tally: Callable[[str], Tally]) -> None:
        """Find the ways anew, as the cluster is now."""
        number = {id(replica): n for n, replica in enumerate(self.replicas)}
        possible = choices(self.replicas, view)
        self.ways = tuple(
            Way(
                [number[id(choice.best)], *(number[id(other)] for other in choice.others)],
                self.bases,
                tally(choice.best.backend),
                choice.last_resort,
            )
            for choice in possible
        )
        self.marks = list(accumulate(view[choice.best.backend].weight for choice in possible))
        self.view = view


class Redirect(msgspec.Struct, gc=False, eq=False):
    """
    One file's.  ``key`` goes behind the bases of the route; ``urls``, if not None, are whole instead, one for
    each of its replicas.  ``rest`` are the lines that are the same for all readers.  ``until`` (unix s) it may
    be used.  It is in no cycle, and there are many: the collector need not look.
    """

    member: str
    route: Route
    key: bytes
    urls: tuple[bytes, ...] | None
    rest: bytes
    until: float
    lines: tuple[bytes, ...] = ()
    used: bool = False

    def shorter(self, until: float) -> Redirect:
        """The same for those who may be sent there until then at most."""
        if until >= self.until:
            return self
        return Redirect(self.member, self.route, self.key, self.urls, self.rest, until)


class Redirects:
    """Makes them, and draws the way of each reader.  ``random`` gives numbers in [0, 1)."""

    def __init__(
        self, cluster: Cluster, config: Config, clock: IClock, random: Callable[[], float], metrics: Metrics
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._random = random
        self._tally = metrics.redirected
        self._links = {name: domain.link_expires for name, domain in config.domains.items() if domain.private}
        cache = config.http.cache_control
        self._cache_control = {
            name: _private(cache) if name in self._links else cache for name in config.domains
        }
        self._plain: dict[tuple[str, ...], Route | None] = {}
        self._routes: dict[object, Route] = {}

    def make(self, path: Path, version: Version) -> Redirect:
        """The one of a live version.  It is good until its links would be good for less than promised."""
        id, sha256 = version.id, version.sha256
        digest = f"Repr-Digest: {repr_digest(sha256)}\r\n" if sha256 is not None else ""
        rest = f'ETag: "{id}"\r\nCache-Control: {self._cache_control[path.domain]}\r\n{digest}'.encode()
        names = tuple(
            [r.backend for r in version.replicas if r.state is _GOOD and not r.generation and r.key is None]
        )
        if len(names) == len(version.replicas):
            # Nearly all: good copies under the same key everywhere.
            route = self._plain[names] if names in self._plain else self._plain_route(names, version.replicas)
            if route is not None:
                key = quoted(storage_key(path, id)).encode()
                return Redirect(path.member, route, key, None, rest, inf)
        return self._by_urls(path, version, rest)

    def _plain_route(self, names: tuple[str, ...], replicas: Sequence[Replica]) -> Route | None:
        """The one of URLs that are a base and a key; None: they are not, somewhere."""
        known = [self._cluster.backend(name) for name in names if self._cluster.has(name)]
        bases = [backend.download_base.encode() for backend in known if backend.download_base is not None]
        for base in bases:
            _check_url(base)
        whole = len(bases) == len(names)
        if len(self._plain) >= ROUTES:
            self._plain.clear()  # those in use stay in use
        self._plain[names] = Route(tuple(replicas), tuple(bases)) if whole else None
        return self._plain[names]

    def _by_urls(self, path: Path, version: Version, rest: bytes) -> Redirect:
        now = self._clock.seconds()
        until = inf
        places: list[Replica] = []
        urls: list[bytes] = []
        for replica in version.replicas:
            if replica.state in _READABLE and self._cluster.has(replica.backend):
                url, left = self._url(path, version, replica, now)
                until = min(until, left)
                places.append(replica)
                urls.append(url)
        return Redirect(path.member, self._route(places), b"", tuple(urls), rest, until)

    def url(self, path: Path, version: Version, replica: Replica) -> str:
        """Where a client reads one replica.  :raises BackendUnavailable: its backend is not configured."""
        url, _ = self._url(path, version, replica, self._clock.seconds())
        return url.decode()

    def draw(self, redirect: Redirect) -> Way | None:
        """The way of one reader; None: there is none."""
        route = redirect.route
        if route.view is not self._cluster.view:
            route.lay(self._cluster.view, self._tally)
        ways = route.ways
        if len(ways) > 1:
            return ways[draw(route.marks, self._random)]
        return ways[0] if ways else None

    @staticmethod
    def lines(redirect: Redirect, way: Way) -> bytes:
        """The headers of the answer."""
        if redirect.urls is None:
            return redirect.key.join(way.parts) + redirect.rest
        return way.lines % way.pick(redirect.urls) + redirect.rest

    def _url(self, path: Path, version: Version, replica: Replica, now: float) -> tuple[bytes, float]:
        """With the time (unix s) until which it is what a new reader gets."""
        backend = self._cluster.backend(replica.backend)
        lasts = self._links.get(path.domain, backend.link_expires)
        expires = steady(now, lasts, path.member) if lasts is not None else None
        url = backend.download_url(key_of(path, version, replica), expires).encode()
        _check_url(url)
        return url, inf if lasts is None or expires is None else expires - lasts

    def _route(self, places: Sequence[Replica]) -> Route:
        """The one of whole URLs."""
        key = tuple([(replica.backend, replica.state) for replica in places])
        route = self._routes.get(key)
        if route is None:
            if len(self._routes) >= ROUTES:
                self._routes.clear()
            route = self._routes[key] = Route(tuple(places), (b"",) * len(places))
        return route


def _check_url(url: bytes) -> None:
    if not _URL.fullmatch(url):
        raise ValueError(f"a backend gave what is no URL: {url!r}")


def _private(cache_control: str) -> str:
    """For answers that are one reader's (RFC 9111 section 5.2.2.7)."""
    others = [part for part in cache_control.split(",") if part.strip().lower() not in ("public", "private")]
    return ",".join(["private", *others]) if others != ["no-store"] else "no-store"

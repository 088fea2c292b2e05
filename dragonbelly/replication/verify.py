"""Has an upload come, and is it what was announced?  Seen on the storage servers, never taken on trust."""

from __future__ import annotations

from collections import OrderedDict

import msgspec
from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError

from dragonbelly.cluster.health import Health
from dragonbelly.cluster.members import Cluster
from dragonbelly.config.values import Config
from dragonbelly.errors import BackendError, NoSuchObject
from dragonbelly.events import DIGEST, LAPSED, SIZE, Abandoned, Verified
from dragonbelly.interfaces import IClock
from dragonbelly.keys import key_of
from dragonbelly.model import BackendState, ObjectStat, Observed, Path, Replica, ReplicaState, Upload, Version
from dragonbelly.replication.copy import read_digest

#: Bytes that are read at once, while a reader waits, to check a digest that the server cannot tell.
READ_AT_ONCE = 8 * 1024 * 1024

#: Uploads that are read at a time, whoever asks and however often.
READERS = 4

#: Answers about uploads that are remembered for the next reader.
REMEMBERED = 10_000

#: Seconds that readers wait for an answer about an upload: a storage server that does not answer must not hold
#: up those of a file that others have too.
GLANCE = 2.0


class Seen(msgspec.Struct, frozen=True):
    """
    ``event`` is what follows from what was seen, if anything does.  ``unknown``: a server that may have the
    upload did not answer.  ``unread``: it is there, and its digest was not checked yet.
    """

    event: Verified | Abandoned | None = None
    unknown: bool = False
    unread: bool = False


class _Question:
    """A question under way, which goes on though those who asked leave."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._waiting: list[Deferred[Seen]] = []
        self._seen: Seen | None = None

    async def answer(self, now: float, clock: IClock) -> Seen:
        """The answer, or that nobody knows if it does not come in time."""
        if self._seen is not None or now >= self._until:
            return self._seen or Seen(unknown=True)
        waiting: Deferred[Seen] = Deferred()
        self._waiting.append(waiting)
        try:
            return await waiting.addTimeout(self._until - now, clock)
        except TimeoutError:
            return Seen(unknown=True)

    def answered(self, seen: Seen) -> None:
        self._seen = seen
        for waiting in self._waiting:
            if not waiting.called:
                waiting.callback(seen)


class Verifier:
    """Looks at the storage servers; commits nothing."""

    def __init__(self, cluster: Cluster, health: Health, config: Config, clock: IClock) -> None:
        self._cluster = cluster
        self._health = health
        self._max_size = int(config.upload.max_size)
        self._clock = clock
        self._readers = DeferredSemaphore(READERS)
        self._asking: dict[tuple[Path, str], _Question] = {}
        self._answers: OrderedDict[str, float] = OrderedDict()

    async def look(
        self, path: Path, version: Version, *, final: bool = False, read_at_most: int | None = None
    ) -> Seen:
        """
        Ask every backend that the upload may have gone to.  ``final``: it cannot come any more, so nothing
        seen means that it lapsed.  A digest that no server tells is computed from the bytes, if they are no
        more than ``read_at_most`` (None: always).
        """
        upload = version.upload
        assert upload is not None
        unknown, wrong = False, ""
        # One after the other: nearly all uploads are at the first.
        for replica in version.in_state(ReplicaState.MISSING):
            answer = await self._stat(path, version, replica)
            if answer is None:
                unknown = True
            elif isinstance(answer, ObjectStat):
                if not self._fits(answer, upload):
                    wrong = wrong or SIZE
                    continue
                seen = await self._check(path, version, upload, replica, answer, read_at_most)
                if not isinstance(seen.event, Abandoned):
                    return seen
                wrong = seen.event.reason  # the next may have what this one has not
        if wrong and not unknown:
            return Seen(Abandoned(self._now, version.id, wrong))
        if final and not unknown and await self._believed(version):
            return Seen(Abandoned(self._now, version.id, LAPSED))
        return Seen(unknown=unknown)

    async def _believed(self, version: Version) -> bool:
        """Whether there is really nothing, before an upload is given up for it."""
        for replica in version.in_state(ReplicaState.MISSING):
            dead = self._cluster.view[replica.backend].state is BackendState.DEAD
            if not dead and not await self._health.believed(replica.backend):
                return False
        return True

    async def glance(self, path: Path, version: Version) -> Seen:
        """
        The same for a reader who waits: one question at a time per upload, the others wait for its answer; a
        "not yet" is believed for a tenth of the upload's age, at most 1 s.  Nobody waits longer than
        ``GLANCE``.
        """
        now = self._clock.seconds()
        if now < self._answers.get(version.id, 0.0):
            return Seen()
        key = (path, version.id)
        question = self._asking.get(key)
        if question is None:
            question = self._asking[key] = _Question(now + GLANCE)
            asked = Deferred.fromCoroutine(self.look(path, version, read_at_most=READ_AT_ONCE))
            asked.addBoth(self._answered, key, version)
        return await question.answer(now, self._clock)

    def _answered(self, result: object, key: tuple[Path, str], version: Version) -> None:
        seen = result if isinstance(result, Seen) else Seen(unknown=True)
        if seen.event is None:
            now = self._clock.seconds()
            self._remember(version.id, now + min(1.0, max(0.0, now - version.since) / 10))
        self._asking.pop(key).answered(seen)

    def _remember(self, id: str, until: float) -> None:
        self._answers[id] = until
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)

    @property
    def _now(self) -> int:
        return int(self._clock.seconds())

    async def _stat(self, path: Path, version: Version, replica: Replica) -> ObjectStat | bool | None:
        """What is there; False: nothing; None: nobody knows."""
        view = self._cluster.view.get(replica.backend)
        if view is not None and view.state is BackendState.DEAD:
            return False
        if view is None or not view.reachable:
            return None
        try:
            return await self._cluster.backend(replica.backend).stat(key_of(path, version, replica))
        except NoSuchObject:
            # It counts only from a server that answers properly otherwise.
            return False if self._cluster.view[replica.backend].observed is not Observed.UNREACHABLE else None
        except BackendError as error:
            self._health.doubt(replica.backend, error)
            return None

    def _fits(self, stat: ObjectStat, upload: Upload) -> bool:
        return stat.size <= self._max_size if upload.size is None else stat.size == upload.size

    async def _check(
        self,
        path: Path,
        version: Version,
        upload: Upload,
        replica: Replica,
        stat: ObjectStat,
        read_at_most: int | None,
    ) -> Seen:
        sha256, md5_fits = stat.sha256, upload.md5 is None
        if not md5_fits or (upload.sha256 is not None and sha256 is None):
            if read_at_most is not None and stat.size > read_at_most:
                return Seen(unread=True)
            backend = self._cluster.backend(replica.backend)
            try:
                digest = await self._readers.run(
                    lambda: Deferred.fromCoroutine(
                        read_digest(backend, key_of(path, version, replica), stat.size, upload.md5 is not None)
                    )
                )
            except BackendError as error:
                self._health.doubt(replica.backend, error)
                return Seen(unknown=True)
            if digest.size != stat.size:
                return Seen(unknown=True)  # it says now one thing, now another
            sha256 = digest.sha256.digest()
            md5_fits = digest.md5 is None or digest.md5.digest() == upload.md5
        if not md5_fits or upload.sha256 not in (None, sha256):
            return Seen(Abandoned(self._now, version.id, DIGEST))
        return Seen(Verified(self._now, version.id, replica.backend, stat.size, sha256))

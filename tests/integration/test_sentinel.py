"""
Two daemons on a Redis with replicas and sentinels, ``ack_replicas = 1``: what clients were told outlives it.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.integration.asking import ask, eventually, follow
from tests.integration.site import Site
from tests.servers.daemon import Daemon
from tests.servers.redis import RedisServer
from tests.servers.sentinel import WatchedRedis, role

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

EXTRA = '[state]\nredis = "{url}"\nack_replicas = 1\nack_timeout = "500ms"\n'

#: Seconds from the end of a master to the first write that is acknowledged by the next, at most.
RECOVERY = 15


class Client(threading.Thread):
    """
    Puts and deletes files of its own, through either daemon, and keeps a journal.  ``possible`` are the
    contents that a path may have by what was acknowledged and what was not: None for no file.
    """

    def __init__(self, daemons: list[Daemon], number: int, seed: int) -> None:
        super().__init__(daemon=True)
        self._daemons = daemons
        self._random = random.Random(f"{seed} {number}")
        self._number = number
        self._files = 0
        self.possible: dict[str, set[bytes | None]] = {}
        self.acknowledged: list[float] = []
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.end = threading.Event()

    def run(self) -> None:
        while not self.end.is_set():
            try:
                acknowledged = self._act()
            except OSError:
                acknowledged = None
                self.answers["no answer"] += 1
            except Exception as error:  # the thread's end must not pass for the end of its work
                self.wrong.append(repr(error))
                return
            if acknowledged:
                self.acknowledged.append(time.monotonic())
            else:
                time.sleep(0.05)

    def _act(self) -> bool:
        """Whether it was acknowledged."""
        known = [path for path, contents in self.possible.items() if contents != {None}]
        draw = self._random.random()
        if not known or draw < 0.6:
            self._files += 1
            return self._put(f"c{self._number}/{self._files}.bin")
        path = self._random.choice(known)
        return self._put(path) if draw < 0.85 else self._remove(path)

    def _status(self, what: str, method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
        answer = ask(method, url, body)
        self.answers[f"{what} {answer.status}"] += 1
        return answer.status, answer.body

    def _put(self, path: str) -> bool:
        data = self._random.randbytes(self._random.choice((10, 3000, 50_000)))
        self.possible[path] = self.possible.get(path, {None}) | {data}
        api = f"{self._random.choice(self._daemons).url}/-/api/v1/uploads"
        status, body = self._status(
            "begin", "POST", api, json.dumps({"path": path, "size": len(data)}).encode()
        )
        if status != 201:
            return False
        upload = json.loads(body)
        assert ask("PUT", upload["targets"][0]["url"], data).status == 201
        done = f"{self._random.choice(self._daemons).url}/-/api/v1/uploads/{upload['upload']}/complete"
        if self._status("complete", "POST", done, json.dumps({"path": path}).encode())[0] != 200:
            return False
        self.possible[path] = {data}
        return True

    def _remove(self, path: str) -> bool:
        self.possible[path] = self.possible[path] | {None}
        status, _ = self._status("delete", "DELETE", f"{self._random.choice(self._daemons).url}/{path}")
        # A 404 is an acknowledgement as well: an earlier attempt that was not answered may have done it.
        if status not in (204, 404):
            return False
        self.possible[path] = {None}
        return True


class Scene:
    """Redis and its watchers, three stores, two daemons, and clients that do not stop."""

    def __init__(self, replicas: int = 2) -> None:
        self.redis = WatchedRedis("appendonly yes", "appendfsync always", replicas=replicas)
        extra = EXTRA.format(url=self.redis.url)
        self.site = Site(extra, redis=self.redis)  # type: ignore[arg-type]
        self.other = self.site.another()
        self.seed = random.SystemRandom().getrandbits(32)

    def __enter__(self) -> Scene:
        try:
            self.site.__enter__()
            self.other.start()
        except BaseException:
            self.other.close()
            raise
        self.daemons = [self.site.daemon, self.other]
        self.clients = [Client(self.daemons, number, self.seed) for number in range(4)]
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *error: object) -> None:
        for client in self.clients:
            client.end.set()
        self.other.close()
        self.site.__exit__(None, None, None)

    @property
    def acknowledged(self) -> list[float]:
        return sorted(moment for client in self.clients for moment in list(client.acknowledged))

    def acknowledges(self, more: int, since: float, within: float = 60) -> list[float]:
        """When so many more writes were acknowledged, after the moment ``since``: those moments."""

        def enough() -> list[float] | None:
            for client in self.clients:
                assert client.is_alive(), client.wrong
            after = [moment for moment in self.acknowledged if moment > since]
            return after if len(after) >= more else None

        return eventually(f"{more} writes are acknowledged", enough, within, self.evidence)

    def evidence(self) -> str:
        logs = "\n".join(daemon.log()[-4000:] for daemon in self.daemons)
        return f"seed {self.seed}\n{self.answers()}\n{logs}\n{self.redis.log()}"

    def answers(self) -> dict[str, int]:
        return dict(sorted(sum((client.answers for client in self.clients), Counter()).items()))

    def check(self, title: str, recovery: float | None = None) -> None:
        """End the clients, and compare what they were told with what is there."""
        for client in self.clients:
            client.end.set()
        for client in self.clients:
            client.join(60)
            assert not client.is_alive()
            assert client.wrong == [], f"seed {self.seed}"
        eventually("the daemons are well", lambda: all(daemon.answers() for daemon in self.daemons))
        files = deleted = 0
        lost = []
        for client in self.clients:
            for path, possible in client.possible.items():
                files += None not in possible
                deleted += possible == {None}
                for daemon in self.daemons:
                    answer = follow(f"{daemon.url}/{path}")
                    content = answer.body if answer.status == 200 else None
                    if answer.status not in (200, 404) or content not in possible:
                        lost.append(f"{path}: {answer.status}, {len(possible)} contents possible")
        took = f", first write after {recovery:.2f} s" if recovery is not None else ""
        print(  # noqa: T201  # the figures
            f"\n{title}: {len(self.acknowledged)} writes acknowledged, {files} files and {deleted} deletes to "
            f"hold{took}; {self.answers()}"
        )
        assert lost == [], f"seed {self.seed}\n{self.evidence()}"
        assert files > 10
        assert deleted > 1


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        yield scene


@pytest.mark.parametrize("failure", ["killed", "frozen"])
def test_the_master_fails_in_the_middle(scene: Scene, failure: str) -> None:
    redis, old = scene.redis, scene.redis.first
    scene.acknowledges(60, since=0)
    began = time.monotonic()
    old.kill() if failure == "killed" else old.pause()
    # Not what it acknowledged with its last breath, but what it took to find another.
    redis.failed_over(old)
    recovered = scene.acknowledges(1, since=began + 0.5)[0] - began
    scene.acknowledges(60, since=time.monotonic())
    # It comes back, and takes itself for the master until the sentinels see it.
    old.start() if failure == "killed" else old.resume()
    scene.acknowledges(60, since=time.monotonic())
    redis.until(lambda: role(old) == "slave", "the old master follows the new one", 60)
    scene.acknowledges(30, since=time.monotonic())
    scene.check(f"master {failure}", recovered)
    assert recovered < RECOVERY


def test_the_master_takes_with_it_what_no_replica_has() -> None:
    with Scene(replicas=1) as scene:
        redis, old, replica = scene.redis, scene.redis.first, scene.redis.replicas[0]
        scene.acknowledges(60, since=0)
        replica.kill()
        time.sleep(2)  # the clients do not stop to ask
        began = time.monotonic()
        old.kill()
        replica.start()
        redis.failed_over(old)
        old.start()  # as the replica without which nothing is acknowledged
        recovered = scene.acknowledges(1, since=began)[0] - began
        scene.acknowledges(60, since=time.monotonic())
        scene.check("master killed with what only it had", recovered)


def test_without_replicas_nothing_is_acknowledged_and_everything_read(scene: Scene) -> None:
    """A master that is cut off from the others: what it takes now is lost when another takes its place."""
    scene.acknowledges(60, since=0)
    servers: list[RedisServer] = scene.redis.replicas
    (path, data) = scene.site.daemon.url, b"to be read"
    scene.site.put("read.txt", data)
    assert follow(f"{path}/read.txt").body == data
    for replica in servers:
        replica.pause()
    # What is under way may have been confirmed before.
    time.sleep(1)
    before = scene.answers()
    frozen = time.monotonic()
    reads = 0
    while time.monotonic() < frozen + 4:
        for daemon in scene.daemons:
            assert follow(f"{daemon.url}/read.txt").body == data
            reads += 1
    assert [moment for moment in scene.acknowledged if moment > frozen] == []
    meanwhile = Counter(scene.answers()) - Counter(before)
    assert meanwhile
    assert all(answer.endswith(" 503") for answer in meanwhile), meanwhile
    for daemon in scene.daemons:
        assert daemon.status()["unconfirmed"] == "0 of 1 replicas had it within 0.5 s"
        assert daemon.log().count("writes are answered with 503, files can be read: 0 of 1 replicas") == 1
    for replica in servers:
        replica.resume()
    back = time.monotonic()
    recovered = scene.acknowledges(1, since=back)[0] - back
    scene.acknowledges(30, since=back)
    print(f"\nreplicas frozen: {reads} reads, {sum(meanwhile.values())} answers 503")  # noqa: T201
    scene.check("replicas frozen", recovered)

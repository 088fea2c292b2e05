"""``[http] workers``: several processes serve, are watched, and are counted as one."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from tests.integration.asking import ask, curl, eventually
from tests.integration.load import Load
from tests.integration.site import Site
from tests.servers.daemon import TWISTD, Daemon
from tests.servers.process import listens
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

REQUEST = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(http="workers = 2") as site:
        site.put("a", b"some bytes")
        site.get("a")
        site.eventually("all workers serve", lambda: serving(site) == 2)
        yield site


def serving(site: Site) -> int:
    return int(site.daemon.get_json("/-/health")["workers"])


def redirects(site: Site) -> float:
    return site.metric('requests_total{kind="file_get",status="302"}')


def connected(site: Site) -> dict[int, socket.socket]:
    """A connection to each worker, which has answered on it, by its process."""
    own: dict[int, socket.socket] = {}

    def all_of_them() -> bool:
        connection = socket.create_connection(("127.0.0.1", site.daemon.public), timeout=60)
        connection.sendall(REQUEST)
        assert connection.recv(65536).startswith(b"HTTP/1.1 302")
        port = connection.getsockname()[1]
        for worker in site.workers():
            ports = {seen.raddr.port for seen in worker.net_connections("tcp4") if seen.raddr}
            if port in ports and worker.pid not in own:
                own[worker.pid] = connection
                return len(own) == 2
        connection.close()
        return False

    eventually("a connection to each worker", all_of_them)
    return own


def test_one_that_is_killed_comes_back_and_the_others_go_on(site: Site) -> None:
    one, other = (own := connected(site))
    psutil.Process(one).kill()
    with own[one] as cut, suppress(ConnectionResetError):  # or the end
        assert cut.recv(1) == b""
    with own[other] as kept:
        for _ in range(20):
            kept.sendall(REQUEST)
            assert kept.recv(65536).startswith(b"HTTP/1.1 302")
            assert ask("GET", site.url("a")).status == 302
    site.eventually("there are two again", lambda: serving(site) == 2)
    assert one not in {worker.pid for worker in site.workers()}
    assert re.search(r"worker \d ended \(.*signal 9.*\) and is started again in 0.5 s", site.daemon.log())
    assert site.metric("worker_ends_total") == 1


def test_one_that_ends_again_and_again_is_given_time(site: Site) -> None:
    first = site.workers()[0].pid
    stays = site.workers()[1].pid
    psutil.Process(first).kill()
    for _ in range(2):
        known = {first, stays}
        (fresh,) = site.eventually(
            "it is started again", lambda known=known: {w.pid for w in site.workers()} - known
        )
        psutil.Process(fresh).kill()
        first = fresh
    site.eventually("the log tells of three ends", lambda: site.daemon.log().count("is started again in") == 3)
    assert re.findall(r"is started again in (\S+) s", site.daemon.log()) == ["0.5", "1.0", "2.0"]
    assert site.get("a") == b"some bytes"


def test_under_load_only_those_notice_that_were_connected_to_it(site: Site) -> None:
    clients = 4
    with Load(site.url("a"), fresh=clients, kept=clients) as load:
        asked = load.answers
        site.eventually("there is load", lambda: load.answers > asked + 100)
        site.workers()[0].kill()
        site.eventually("there are two again", lambda: serving(site) == 2 and site.metric("worker_ends_total"))
        asked = load.answers
        site.eventually("it goes on", lambda: load.answers > asked + 100)
    # Each client asks for one thing at a time, and was not refused.
    assert len(load.failures) <= 2 * clients
    assert not [failure for failure in load.failures if "Refused" in failure or failure.startswith("5")]


def test_they_are_counted_as_one_and_no_count_is_lost_by_a_reload(site: Site) -> None:
    before = redirects(site)
    own = connected(site)
    for connection in own.values():
        connection.close()
    asked = redirects(site)
    assert asked >= before + 2  # and those that were needed to meet both
    with Load(site.url("a"), fresh=2, kept=2) as load:
        site.eventually("there is load", lambda: load.answers > 100)
        first = {worker.pid for worker in site.workers()}
        site.daemon.psutil().send_signal(signal.SIGHUP)
        last = asked
        while first & {worker.pid for worker in site.workers()}:
            now = redirects(site)
            assert now >= last
            last = now
    assert load.failures == []
    assert redirects(site) == asked + load.answers
    assert site.metric("redirects_total") == redirects(site)
    assert site.metric("worker_ends_total") == 0
    assert site.metric("workers") == 2
    assert site.metric("files") == 1


def test_what_one_counted_that_was_killed_stays_counted(site: Site) -> None:
    for _ in range(20):
        ask("GET", site.url("a"))
    before = redirects(site)
    for worker in site.workers():
        worker.kill()
    site.eventually("there are two again", lambda: site.metric("worker_ends_total") == 2)
    assert redirects(site) >= before
    assert ask("GET", site.url("a")).status == 302
    site.eventually("it is counted", lambda: redirects(site) == before + 1)


def test_who_waits_for_copies_hastens_the_daemon(site: Site) -> None:
    site.change('every = "200ms"\npatience', 'every = "1h"\npatience')
    site.hang_up()
    site.eventually("those before have ended", lambda: len(site.workers()) == 2)
    version = site.put("b", b"more bytes")
    url = f"{site.daemon.url}/-/api/v1/uploads/{version}/complete?copies=2&timeout=60s"
    done = ask("POST", url, json.dumps({"path": "b"}).encode(), timeout=90)
    assert done.status == 200, done


def ended(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != "zombie" for process in processes)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_none_is_left_when_it_is_stopped(site: Site, number: signal.Signals) -> None:
    all_of_them = site.workers()
    with Load(site.url("a"), fresh=2, kept=2) as load:
        site.eventually("there is load", lambda: load.answers > 50)
        site.daemon.end(number)
        assert ended(all_of_them)
    assert not listens(site.daemon.public)
    assert "Traceback" not in site.daemon.log(), site.daemon.log()


def test_none_is_left_when_the_daemon_is_killed(site: Site) -> None:
    all_of_them = site.workers()
    site.daemon.kill()
    eventually("they are gone", lambda: ended(all_of_them))


def test_while_redis_is_away_at_the_start_clients_are_told() -> None:
    with Site(http="workers = 2", redis=RedisServer("appendonly yes")) as site:
        site.daemon.stop()
        site.redis.stop()
        site.daemon.start(wait=False)
        eventually("503", lambda: ask("GET", site.url("a")).status == 503, evidence=site.daemon.log)
        assert ask("GET", f"{site.daemon.admin}/-/health").status == 503
        site.redis.start()
        site.eventually("it is ready", site.daemon.answers)
        site.eventually("all serve", lambda: serving(site) == 2)
        assert ask("GET", site.url("a")).status == 404


def test_the_option_is_above_the_file() -> None:
    with Site(http="workers = 3") as site:
        site.daemon.stop()
        site.daemon.arguments += ["--workers", "2"]
        site.daemon.start()
        site.eventually("all serve", lambda: serving(site) == 2)
        assert len(site.workers()) == 2
        assert curl("-w", "%{http_code}", site.url("none")).endswith(b"404")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workers", "2"], "--workers goes with --config"),
        (["--config", "x", "--workers", "0"], "expected a number from 1 to"),
        (["--config", "x", "--workers", "many"], "expected a number from 1 to"),
    ],
)
def test_mistakes(arguments: list[str], words: str) -> None:
    daemon = Daemon(arguments=arguments)
    daemon.program = [str(TWISTD), "--pidfile=", "-n"]
    try:
        daemon.start(wait=False)
        assert daemon.running.wait(20) not in (0, None)
        (line,) = daemon.log().splitlines()
        assert words in line
    finally:
        daemon.close()

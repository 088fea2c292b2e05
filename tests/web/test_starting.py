"""What keeps the service from starting is one line, and an exit status that is not 0."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage

from dragonbelly.errors import StartError
from dragonbelly.starting import cannot_start, endpoint, give_up, listen
from dragonbelly.testing import reactor


def test_an_endpoint() -> None:
    assert isinstance(endpoint(MemoryReactorClock(), "tcp:8080:interface=127.0.0.1"), TCP4ServerEndpoint)


@pytest.mark.parametrize("text", ["", "8080", "tcp", "tcp:x", "none:8080", "tcp:8080:colour=red", "ssl:8443"])
def test_no_endpoint(text: str) -> None:
    with pytest.raises(StartError, match="is no endpoint") as refused:
        endpoint(MemoryReactorClock(), text)
    assert str(refused.value).startswith(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "backlog"),
    [
        ("tcp:8080", 1024),
        ("tcp6:8080:interface=\\:\\:1", 1024),
        ("haproxy:tcp:8080", 1024),
        ("tcp:8080:backlog=7", 7),
        ("tcp:8080:interface=127.0.0.1:backlog=7", 7),
    ],
)
def test_a_hundred_clients_at_once_need_not_knock_twice(text: str, backlog: int) -> None:
    memory: Any = MemoryReactorClock()
    listen(memory, text, Factory())
    ((_, _, waiting, _),) = memory.tcpServers
    assert waiting == backlog


def test_a_unix_socket_lets_as_many_wait(tmp_path: Path) -> None:
    memory: Any = MemoryReactorClock()
    listen(memory, f"unix:{tmp_path}/socket:mode=600", Factory())
    assert memory.unixServers[0][2] == 1024


def test_listening() -> None:
    memory: Any = MemoryReactorClock()
    factory = Factory()
    listen(memory, "tcp:8080:interface=127.0.0.1", factory)
    ((port, listening, _, interface),) = memory.tcpServers
    assert (port, listening, interface) == (8080, factory, "127.0.0.1")


def listened(text: str) -> str | None:
    """What went wrong."""

    async def work() -> str | None:
        try:
            port = listen(reactor.start(), text, Factory())
        except StartError as error:
            return str(error)
        await port.stopListening()  # type: ignore[misc]
        return None

    return reactor.run(work)


@pytest.mark.servers
class TestOnARealReactor:
    def test_a_port_that_is_free(self) -> None:
        assert listened("tcp:0:interface=127.0.0.1") is None

    def test_one_that_is_in_use(self) -> None:
        async def open_one() -> Any:
            return listen(reactor.start(), "tcp:0:interface=127.0.0.1", Factory())

        port = reactor.run(open_one)
        number = port.getHost().port
        try:
            said = listened(f"tcp:{number}:interface=127.0.0.1")
        finally:
            reactor.run(port.stopListening)
        assert said is not None
        assert said.startswith(f"cannot listen on tcp:{number}:interface=127.0.0.1: ")
        assert "in use" in said
        assert "\n" not in said

    @pytest.mark.parametrize("text", ["tcp:70000", "tcp:0:interface=192.0.2.1", "unix:/none/at/all"])
    def test_one_that_there_cannot_be(self, text: str) -> None:
        said = listened(text)
        assert said is not None
        assert said.startswith(f"cannot listen on {text}: ")
        assert "\n" not in said


def test_giving_up_is_one_line() -> None:
    with pytest.raises(SystemExit, match=r"^dragonbelly: no such thing$"):
        give_up("no such thing")


def of_twistd(**given: Any) -> usage.Options:
    """The service's options, under those of ``twistd``."""
    options, parent = usage.Options(), usage.Options()
    parent.update(given)
    options.parent = parent
    return options


def test_what_cannot_start_leaves_no_pid_file(tmp_path: Path) -> None:
    pid_file = tmp_path / "twistd.pid"
    pid_file.write_text("1")
    for _ in range(2):
        with pytest.raises(SystemExit, match=r"^dragonbelly: no such thing$"):
            cannot_start(StartError("no such thing"), of_twistd(nodaemon=True, pidfile=str(pid_file)))
        assert not pid_file.exists()


@pytest.mark.parametrize("options", [None, usage.Options(), of_twistd(nodaemon=True, pidfile=None)])
def test_nor_needs_one(options: usage.Options | None) -> None:
    with pytest.raises(SystemExit, match=r"^dragonbelly: no such thing$"):
        cannot_start(StartError("no such thing"), options)


def test_a_daemon_tells_the_process_that_the_user_sees() -> None:
    error = StartError("no such thing")
    with pytest.raises(StartError) as raised:
        cannot_start(error, of_twistd(nodaemon=False, pidfile="/none"))
    assert raised.value is error


@pytest.mark.parametrize("when", ["before", "while"])
def test_giving_up_later_ends_with_a_status(when: str) -> None:
    program = f"""
from twisted.internet import reactor
from dragonbelly.starting import give_up_later
reactor.addSystemEventTrigger("during", "shutdown", print, "stopped in good order")
if {when == "before"}:
    give_up_later(reactor)
else:
    reactor.callLater(0, give_up_later, reactor)
reactor.callLater(20, print, "went on")
reactor.run()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "stopped in good order\n", "")

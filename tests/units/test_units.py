"""``etc/*.service``: systemd understands them, they give nothing away, and what they run lives with them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.asking import ask, curl, eventually, follow
from tests.servers.ports import free_port
from tests.servers.process import ServerProcess
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

ETC = Path(__file__).parents[2] / "etc"
CONFINED = Path(__file__).with_name("confined.py")
PROGRAMS = Path(sys.executable).parent
UNITS = ("dragonbelly.service", "dragonbelly-node.service")

#: Tenths of the points that ``systemd-analyze security`` gives, 0 (sealed) to 100; the network alone is 10.
EXPOSURE = 15


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", [*UNITS, "dragonbelly.socket"])
def test_systemd_understands_it(name: str, tmp_path: Path) -> None:
    for each in (*UNITS, "dragonbelly.socket"):
        (tmp_path / each).write_text((ETC / each).read_text().replace("/opt/dragonbelly/bin", str(PROGRAMS)))
    unit = tmp_path / name
    seen = analyze("verify", "--recursive-errors=no", "--man=no", unit)
    assert [line for line in (seen.stdout + seen.stderr).splitlines() if name in line] == []
    assert seen.returncode == 0, seen


@pytest.mark.parametrize("name", UNITS)
def test_little_is_exposed(name: str) -> None:
    seen = analyze("security", "--offline=yes", "--no-pager", f"--threshold={EXPOSURE}", ETC / name)
    assert seen.returncode == 0, seen.stdout


class Confined(ServerProcess):
    """What a unit starts, with the system calls that it leaves it, and less if it has more ``lines``."""

    def __init__(self, unit: str, port: int, *arguments: str, lines: str = "") -> None:
        super().__init__()
        self.unit = self.directory / unit
        self.unit.write_text((ETC / unit).read_text() + lines)
        self.port = port
        self.arguments = arguments

    def start(self) -> Confined:
        twistd = [str(PROGRAMS / "python"), str(PROGRAMS / "twistd"), "-n", "--pidfile="]
        self.spawn([sys.executable, CONFINED, self.unit, *twistd, *self.arguments])
        self.wait_until_it_answers(20)
        return self

    def answers(self) -> bool:
        try:
            return ask("GET", f"http://127.0.0.1:{self.port}/").status > 0
        except OSError:
            return False


def certificate(directory: Path) -> Path:
    """A key, and a certificate that it signed itself."""
    key, signed, both = (directory / name for name in ("key", "signed", "both"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", signed], check=True, capture_output=True, timeout=60)
    both.write_text(key.read_text() + signed.read_text())
    return both


@pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two workers"])
@pytest.mark.parametrize(
    ("scheme", "lines"), [("https", ""), ("http", "MemoryDenyWriteExecute=yes\n")], ids=["tls", "no tls"]
)
def test_a_store_lives_with_what_they_forbid(tmp_path: Path, scheme: str, lines: str, workers: int) -> None:
    """As they are, with TLS; without it, with what their comment says can be added."""
    public, admin, store = free_port(), free_port(), free_port()
    (secret := tmp_path / "secret").write_text("a secret of the test")
    here = "interface=127.0.0.1"
    where = f"tcp:{admin}:{here}"
    if scheme == "https":
        pem = certificate(tmp_path)
        where = f"ssl:{admin}:{here}:privateKey={pem}:certKey={pem}"
    (config := tmp_path / "config").write_text(
        f'[http]\nlisten = ["tcp:{public}:{here}"]\nadmin = ["{where}"]\nworkers = {workers}\n'
        f'[policy.default]\ncopies = 1\n[domain.all]\nhosts = ["*"]\nanonymous = ["read", "write"]\n'
        f'[backend.store1]\nkind = "node"\nurl = "http://127.0.0.1:{store}"\nsecret = {{ file = "{secret}" }}\n'
    )
    node = ["dragonbelly-node", "--root", str(tmp_path / "files"), "--secret-file", str(secret)]
    node += ["--listen", f"tcp:{store}:{here}"]
    daemon = ["dragonbelly", "--config", str(config)]
    with RedisServer("appendonly yes", port=True) as redis, ExitStack() as stack:
        config.write_text(f'[state]\nredis = "{redis.url}"\n' + config.read_text())
        both = [
            stack.enter_context(Confined("dragonbelly-node.service", store, *node, lines=lines)),
            stack.enter_context(Confined("dragonbelly.service", public, *daemon, lines=lines)),
        ]

        def ready() -> bool:
            return b'"ok"' in curl("--insecure", f"{scheme}://127.0.0.1:{admin}/-/health")

        eventually("it is ready", ready, evidence=both[1].log)
        (file := tmp_path / "a.bin").write_bytes(os.urandom(300_000))
        curl("--fail", "-LT", str(file), f"http://127.0.0.1:{public}/a.bin")
        assert follow(f"http://127.0.0.1:{public}/a.bin").body == file.read_bytes()
        both[1].running.send_signal(signal.SIGHUP)
        eventually("it is reloaded", lambda: "is in force" in both[1].log(), 60, evidence=both[1].log)
        assert follow(f"http://127.0.0.1:{public}/a.bin").body == file.read_bytes()
        for one in both:
            assert one.stop() in (0, -15), one.log()
            assert "Traceback" not in one.log(), one.log()


def test_what_is_confined_is_so(tmp_path: Path) -> None:
    """Else the test before would say nothing."""
    tries = (
        "import mmap, os, socket\n"
        "for forbidden in (lambda: mmap.mmap(-1, 4096, prot=7), lambda: os.setuid(os.getuid()),\n"
        "                  lambda: os.nice(1), lambda: socket.socket(socket.AF_NETLINK)):\n"
        "    try:\n"
        "        forbidden()\n"
        "    except OSError as error:\n"
        "        print(error.errno)\n"
    )
    unit = tmp_path / "unit"
    unit.write_text((ETC / UNITS[0]).read_text() + "MemoryDenyWriteExecute=yes\n")
    command = [sys.executable, CONFINED, unit, sys.executable, "-c", tries]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert seen.stdout.split() == [str(errno.EPERM)] * 3 + [str(errno.EAFNOSUPPORT)]

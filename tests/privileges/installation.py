"""An installation that every user can read, as one in ``/opt`` is, and what root starts of it."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import Requirement

from tests.servers.ports import drawn
from tests.servers.process import ServerProcess

ROOT = Path(__file__).parents[2]

#: Whom twistd becomes: a user that every system has.
USER = pwd.getpwnam("nobody")

#: For ``subprocess``: as that user.
AS_USER: dict[str, Any] = {"user": USER.pw_uid, "group": USER.pw_gid, "extra_groups": []}


def needed(name: str, found: set[str]) -> set[str]:
    """A distribution, and all that it depends on."""
    found.add(name)
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        extras = {"extra": "tls"}  # Twisted's, the only one there is
        if requirement.marker is not None and not requirement.marker.evaluate(extras):
            continue
        if requirement.name not in found:
            needed(requirement.name, found)
    return found


class Installed:
    """
    The package and its dependencies, copied: a checkout may lie where nobody else can look.  So may the
    interpreter.
    """

    def __init__(self, directory: Path) -> None:
        packages = directory / "packages"
        for name in needed("dragonbelly", set()) - {"dragonbelly"}:
            for file in distribution(name).files or ():
                source = Path(str(file.locate()))
                if ".." not in file.parts and source.exists():
                    (packages / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, packages / file)
        shutil.copytree(ROOT / "dragonbelly", packages / "dragonbelly")
        shutil.copytree(ROOT / "twisted" / "plugins", packages / "twisted/plugins", dirs_exist_ok=True)
        self.environment = {**os.environ, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"}
        self.python = Path(sys.executable).resolve()
        if not self._is_for_all():
            self._copy_python(directory / "python")
            assert self._is_for_all(), f"{USER.pw_name} can use neither this Python nor a copy of it"

    def command(self, *arguments: str) -> list[str]:
        return [str(self.python), "-c", "from twisted.scripts.twistd import run; run()", *arguments]

    def _is_for_all(self) -> bool:
        command = [self.python, "-c", "import ssl"]
        try:
            ended = subprocess.run(command, cwd="/", env=self.environment, **AS_USER, check=False)
        except PermissionError:
            return False
        return ended.returncode == 0

    def _copy_python(self, to: Path) -> None:
        library = Path(sysconfig.get_path("stdlib"))
        ignored = shutil.ignore_patterns("site-packages", "test", "idlelib", "tkinter", "ensurepip", "config-*")
        shutil.copytree(library, to / "lib" / library.name, ignore=ignored)
        for shared in library.parent.glob("libpython*.so*"):
            shutil.copy(shared, to / "lib")
        (to / "bin").mkdir()
        self.python = Path(shutil.copy(self.python, to / "bin"))
        self.environment["LD_LIBRARY_PATH"] = str(to / "lib")


#: Ports that ``low_port`` has given already.
def low_port() -> int:
    """A port of 127.0.0.1 that is root's to open, and free; never the same twice."""
    return drawn(lambda: random.SystemRandom().randrange(600, 1024))


class Twistd(ServerProcess):
    """
    ``twistd --uid nobody`` of an installation, in the foreground.  ``home`` belongs to the user it becomes, its
    own directory to root.  ``as_user``: started by that user, who need not become anybody.
    """

    def __init__(self, installed: Installed, *, port: int, admin: int = 0, as_user: bool = False) -> None:
        super().__init__()
        self.directory.chmod(0o755)
        self.home = self.directory / "home"
        self.home.mkdir()
        os.chown(self.home, USER.pw_uid, USER.pw_gid)
        self.installed = installed
        self.arguments: tuple[str, ...] = ()
        self.port, self.admin = port, admin
        self.as_user = as_user

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def secret(self, content: str) -> Path:
        """A file that root alone can read."""
        path = self.directory / "secret"
        path.touch(mode=0o600)
        path.write_text(content)
        return path

    def start(self, wait: bool = True) -> Twistd:
        become = [] if self.as_user else ["--uid", USER.pw_name]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.installed.command("-n", *become, *self.arguments),
                cwd=self.directory,
                env=self.installed.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **(AS_USER if self.as_user else {}),
            )
        if wait:
            self.wait_until_it_answers(20)
        return self

    def answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def refused(self) -> str:
        """It must not start: its last words, in one line."""
        self.start(wait=False)
        assert self.running.wait(20) not in (0, None), self.log()
        self.process = None
        assert "Traceback" not in self.log(), self.log()
        (words,) = [line for line in self.log().splitlines() if "dragonbelly: " in line]
        return words

    def processes(self) -> list[psutil.Process]:
        mine = psutil.Process(self.running.pid)
        return [mine, *mine.children(recursive=True)]

    def threads(self) -> Iterator[dict[str, str]]:
        """What Linux says of each thread of each process (proc_pid_status(5))."""
        for process in self.processes():
            for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
                fields = (line.split(":", 1) for line in status.read_text().splitlines())
                yield {name: value.strip() for name, value in fields} | {"process": str(process.pid)}

    def close(self) -> None:
        children = self.processes()[1:] if self.process is not None else []
        if self.process is not None and self.running.poll() is None:
            self.stop()
        _, left = psutil.wait_procs(children, timeout=10)
        for child in left:
            child.kill()
        super().close()

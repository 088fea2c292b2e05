"""A real nginx as a storage server for a test, configured by the sample that we ship."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Self

from dragonbelly.backends.dav import PLACEHOLDER
from tests.servers.ports import free_port
from tests.servers.process import ServerProcess, listens

SAMPLE = Path(__file__).parents[2] / "etc" / "nginx-storage.conf"


def system_binary() -> str:
    """The ``nginx`` of PATH, or of where Debian puts it."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise FileNotFoundError("nginx is not on PATH: install the Debian package nginx")
    return found


class NginxServer(ServerProcess):
    """
    nginx on a free port of 127.0.0.1; what it keeps is in a directory of its own, removed by ``close``.

    ``secret`` is what links are signed with, one of its own unless given; ``private`` makes it ask for them
    when reading, too.  ``limit_rate`` (``"64k"``, bytes per second and connection) makes slow readers.
    ``listing=False`` turns the listing of directories off.  ``daemon=False`` makes this machine no daemon's:
    nothing is deleted or listed from here, unless with the ``credential``.  ``data`` is where objects and
    uploads are, if not in its own directory: a file system to fill, say.  Pages of ``origin`` (``*``: of any)
    may use ``fetch``.  ``settings`` are further lines of the ``server`` block.
    """

    log_name = "error.log"

    def __init__(
        self,
        *settings: str,
        secret: str | None = None,
        private: bool = False,
        credential: str | None = None,
        limit_rate: str | None = None,
        listing: bool = True,
        daemon: bool = True,
        data: Path | None = None,
        origin: str | None = None,
    ) -> None:
        super().__init__()
        self.binary = system_binary()
        self.root = (data or self.directory) / "objects"
        self.uploads = (data or self.directory) / "uploads"
        self.port = free_port()
        self.secret = secret or f"the secret of {self.port}"
        self.private = private
        self.credential = credential
        self.limit_rate = limit_rate
        self.listing = listing
        self.daemon = daemon
        self.settings = settings
        self.origin = origin
        self.root.mkdir()
        self.uploads.mkdir()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, str | bool]:
        """The options of a ``dav`` backend for it."""
        options: dict[str, str | bool] = {"url": self.url, "secure_link_secret": self.secret}
        if self.private:
            options["private"] = True
        if self.credential is not None:
            options["credential"] = self.credential
        return options

    @property
    def options_in_toml(self) -> str:
        # A string of JSON is one of TOML.
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in self.options.items())

    def start(self) -> Self:
        """Start it and wait until it takes connections, with whatever objects it had."""
        configuration = self.directory / "nginx.conf"
        configuration.write_text(self.configuration())
        error_log = self.directory / "error.log"
        self.process = subprocess.Popen(
            [self.binary, "-p", str(self.directory), "-c", str(configuration), "-e", str(error_log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wait_until_it_answers()
        return self

    def configuration(self) -> str:
        """The whole nginx.conf: the sample, changed as it says, in the least that goes around it."""
        sample = _replaced(SAMPLE.read_text(), r"listen 8000;", f"listen 127.0.0.1:{self.port};")
        extra = list(self.settings)
        if self.limit_rate is not None:
            extra.append(f"limit_rate {self.limit_rate};")
        sample = _replaced(sample, r"root   /srv/dragonbelly/objects;", f"root {self.root}; {' '.join(extra)}")
        sample = _replaced(sample, r"path /srv/dragonbelly/uploads;", f"path {self.uploads};")
        sample = _replaced(sample, PLACEHOLDER, self.secret)
        if self.private:
            sample = _replaced(sample, r'("~\^\(GET\|HEAD\) ") +1;', r"\1 0;")
        if self.credential is not None:
            sample = _replaced(sample, r'# ("~\^Bearer )CHANGE-THIS-CREDENTIAL', rf"\1{self.credential}")
        if self.origin is not None:
            sample = sample.replace("#cors ", "")
            if self.origin == "*":
                sample = _replaced(sample, r'"https://app.example.com" .*', "")
                sample = _replaced(sample, r"(cors_origin \{\s+default) .*", r'\1 "*";')
            else:
                sample = _replaced(sample, r"https://app.example.com", self.origin)
        if not self.listing:
            sample = _replaced(sample, r"autoindex on;", "", count=2)
        if not self.daemon:
            # Nobody's (RFC 5737): the other addresses of this machine are clients'.
            sample = _replaced(sample, r"127\.0\.0\.1  1;", "192.0.2.1 1;")
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = " ".join(
            f"{kind}_temp_path {self.directory}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi")
        )
        # One process: a SIGKILL or SIGSTOP is meant for all of it.
        return f"""\
daemon off; master_process off; {user}
pid {self.directory}/pid;
events {{ worker_connections 1024; }}
http {{
    {temporary}
    access_log {self.directory}/access.log;
    types {{ text/plain txt; image/jpeg jpg; text/html html; }}
{sample}
}}
"""

    def clear(self) -> None:
        """Remove all objects."""
        for entry in self.root.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def requests(self) -> list[str]:
        """The lines of the access log."""
        path = self.directory / "access.log"
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def answers(self) -> bool:
        return listens(self.port)


def _replaced(text: str, pattern: str, by: str, count: int = 1) -> str:
    """The sample with so many places changed; a sample that has not these places is a mistake."""
    changed, found = re.subn(pattern, by, text)
    assert found == count, f"{pattern!r} is {found} times in {SAMPLE.name}, not {count} times"
    return changed

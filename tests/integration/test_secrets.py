"""
Whatever happens to a daemon, its secrets stay where they are meant to be: everything that it and its nodes ever
wrote, answered or show of themselves is searched for them.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from dragonbelly.signing import Permission, SigningKey, signed_query
from dragonbelly.tokens import SIGNING_KEY, TOKEN, digest, make_secret, token_stanza
from tests.integration.asking import Reply, ask, eventually
from tests.servers.daemon import TWISTD, Daemon
from tests.servers.nginx import NginxServer
from tests.servers.node import NodeServer
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("dragonbelly")

#: How a daemon is started, and the files that it logs to.
STARTS = {
    "log to stdout": [str(TWISTD), "--pidfile=", "-n"],
    "log to a file": [str(TWISTD), "--pidfile=", "-n", "--logfile=twistd.log"],
    "every event": [str(TWISTD), "--pidfile=", "-n", "--logger=tests.servers.events.all_of_them"],
}


LOGS = ("log", "twistd.log", "events.json")


def forms(secret: str) -> set[bytes]:
    """A secret as it may stand in other texts; in base64 at any place of what is encoded."""
    raw = secret.encode()
    found = {
        raw,
        raw.hex().encode(),
        raw.hex().upper().encode(),
        quote(secret, safe="").encode(),
        quote(secret).encode(),
        json.dumps(secret)[1:-1].encode(),
        repr(secret)[1:-1].encode(),
    }
    for shift in range(3):
        whole = (len(raw) + shift) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            found.add(encode(b"\0" * shift + raw)[-(-shift * 8 // 6) : whole])
    return found


def test_forms() -> None:
    for before in (b"", b"a", b"ab", b"abc"):
        for after in (b"", b"x", b"yz"):
            text = b64encode(before + b"p\xc3\xa4ss/word?" + after)
            assert any(form in text for form in forms("päss/word?")), (before, after)


class Watched:
    """A site of nginx, a node, Redis and a daemon, with a secret of every kind; ``heard`` is all it said."""

    def __init__(self, program: list[str]) -> None:
        self.token, self.admin = make_secret(TOKEN), make_secret(TOKEN)
        self.wrong = f"dbt_wrong_{secrets.token_hex(16)}"
        self.key = SigningKey("k1", make_secret(SIGNING_KEY).encode())
        self.redis_password = f"Redis/pass:word@{secrets.token_hex(16)}"
        self.node_secret = f"node secret {secrets.token_hex(16)}"
        self.dav_secret = f"dav-secret-{secrets.token_hex(16)}"
        self.credential = f"credential-{secrets.token_hex(32)}"
        self.heard: list[tuple[str, bytes]] = []
        self.redis = RedisServer(f'requirepass "{self.redis_password}"', "appendonly yes")
        self.nginx = NginxServer(secret=self.dav_secret, private=True, credential=self.credential)
        self.node = NodeServer(self.node_secret, "--private")
        environment = {
            **os.environ,
            "SIGNING_KEY": self.key.secret.decode(),
            "PYTHONPATH": str(ROOT),
        }
        self.daemon = Daemon(self.redis.url, {"one": self.nginx}, self.configuration(), environment=environment)
        self.daemon.program = program
        self.meant = {
            self.daemon.directory / "dragonbelly.toml",
            self.password_file,
            self.node.secret_file,
            self.nginx.directory / "nginx.conf",
            self.redis.directory / "redis.conf",
        }
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(f"{self.redis_password}\n")

    @property
    def password_file(self) -> Path:
        return self.redis.directory / "password"

    @property
    def secrets(self) -> dict[str, str]:
        return {
            "token": self.token,
            "admin's token": self.admin,
            "wrong token": self.wrong,
            "digest of the token": digest(self.token),
            "signing key": self.key.secret.decode(),
            "Redis' password": self.redis_password,
            "node's secret": self.node_secret,
            "secret of nginx": self.dav_secret,
            "credential for nginx": self.credential,
        }

    def configuration(self) -> str:
        return "\n".join(
            (
                f'[state]\nredis = "{self.redis.url}"\nredis_password = {{ file = "{self.password_file}" }}',
                "stale = 0\nreply_timeout = '500ms'",
                "[domain.private]\nhosts = ['*']\nanonymous = []",
                f"[backend.two]\nkind = 'node'\nurl = '{self.node.url}'\nprivate = true",
                f"secret = {{ file = '{self.node.secret_file}' }}",
                token_stanza("writer", digest(self.token), ["read", "list", "write"]),
                token_stanza("boss", digest(self.admin), ["admin"]),
                f"[[signing_key]]\nid = '{self.key.id}'\nsecret = {{ env = 'SIGNING_KEY' }}\n",
            )
        )

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        token: str | None = None,
        admin: bool = False,
        **headers: str,
    ) -> Reply:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        said = ask(method, (self.daemon.admin if admin else self.daemon.url) + path, body, given)
        self.hear(f"{method} {path}", said)
        return said

    def hear(self, what: str, said: Reply) -> None:
        self.heard.append((what, f"{said.status}\n{said.headers}\n".encode() + said.body))

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            command,
            cwd=self.daemon.directory,
            env={**os.environ, "DRAGONBELLY_URL": self.daemon.url, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        self.heard.append((f"{command[1:3]}", done.stdout + done.stderr))
        return done

    def look_at_processes(self) -> None:
        """What everybody on the machine sees of them."""
        for server in (self.daemon, self.node):
            process = psutil.Process(server.running.pid)
            for one in (process, *process.children(recursive=True)):
                title = Path(f"/proc/{one.pid}/cmdline").read_bytes() + one.name().encode()
                assert title
                self.heard.append((f"title of {one.pid}", title))

    def look_at_files(self) -> None:
        """All that was written, but for what is meant to have a secret."""
        for server in (self.daemon, self.node, self.nginx, self.redis):
            for file in server.directory.rglob("*"):
                if file.is_file() and file not in self.meant:
                    self.heard.append((str(file), file.read_bytes()))

    def log(self) -> str:
        files = [self.daemon.directory / name for name in LOGS]
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def logged(self, text: str) -> None:
        eventually(f"the log says {text!r}", lambda: text in self.log(), evidence=self.log)

    def put(self, path: str, data: bytes) -> None:
        begun = self.ask(
            "PUT", path, b"", token=self.token, Content_Length=str(len(data)), Expect="100-continue"
        )
        assert begun.status == 307, begun
        stored = ask("PUT", begun.headers["Location"], data)
        self.hear("PUT there", stored)
        assert stored.status == 201, stored

    def found(self) -> list[str]:
        """Where which secret was found."""
        return [
            f"{name} in {where}: {text[max(0, text.index(form) - 60) :][:200]!r}"
            for where, text in self.heard
            for name, secret in self.secrets.items()
            for form in forms(secret)
            if form in text
        ]


@pytest.fixture(params=STARTS, ids=list(STARTS))
def site(request: pytest.FixtureRequest) -> Iterator[Watched]:
    site = Watched(STARTS[request.param])
    with ExitStack() as opened:
        for part in (site.redis, site.nginx, site.node, site.daemon):
            opened.callback(part.close)
            part.start()
        yield site


def test_no_secret_is_shown_anywhere(site: Watched) -> None:
    used(site)
    misused(site)
    site.look_at_processes()
    with_a_wrong_password_of_redis(site)
    without_redis(site)
    without_a_backend(site)
    assert site.daemon.stop() in (0, -15)
    assert site.node.stop() in (0, -15)
    site.look_at_files()
    assert len(site.heard) > 80
    assert site.found() == []
    for name in LOGS:
        for server in (site.daemon, site.node):
            if (file := server.directory / name).exists():
                # Whoever has a signed link may use it.
                assert b"signature=" not in file.read_bytes()
                assert b"md5=" not in file.read_bytes()


def used(site: Watched) -> None:
    """As it is meant: everything works."""
    token = site.token
    for n in range(4):
        site.put(f"/a/{n}.txt", b"hello")
        read = site.ask("GET", f"/a/{n}.txt", token=token)
        assert read.status == 302
        got = ask("GET", read.headers["Location"])
        site.hear("GET there", got)
        assert got.body == b"hello"
    assert site.ask("GET", "/-/api/v1/files", token=token).status == 200
    assert site.ask("GET", "/-/api/v1/files/a/0.txt", token=token).status == 200
    sign = site.ask("POST", "/-/api/v1/sign", b'{"method": "GET", "path": "a/0.txt"}', token=token)
    assert site.ask("GET", json.loads(sign.body)["url"]).status == 302
    begun = site.ask("POST", "/-/api/v1/uploads", b'{"path": "b.txt"}', token=token)
    assert begun.status == 201
    assert site.ask("GET", "/-/api/v1/status", token=site.admin, admin=True).status == 200
    for path in ("health", "metrics", "api/v1/status", "api/v1/backends", "api/v1/explain?path=a/0.txt"):
        assert site.ask("GET", f"/-/{path}", admin=True).status == 200
    for path in ("api/v1/audit", "api/v1/damaged"):
        site.ask("GET", f"/-/{path}", admin=True)
    assert site.run(COMMAND, "ls", DRAGONBELLY_TOKEN=token).stdout == b"a/\n"


def misused(site: Watched) -> None:
    query = signed_query(site.key, Permission("GET", "private", "a/0.txt", 2_000_000_000))
    forged = signed_query(SigningKey("k1", b"x" * 32), Permission("GET", "private", "a/0.txt", 2_000_000_000))
    over = signed_query(site.key, Permission("GET", "private", "a/0.txt", 1))
    assert site.ask("GET", f"/a/0.txt?{query}").status == 302
    for wrong in (query[:-1], query + "A", query.replace("key=k1", "key=k2"), forged, over, f"{query}&{query}"):
        assert site.ask("GET", f"/a/0.txt?{wrong}").status == 403
    assert site.ask("PUT", f"/a/0.txt?{query}", b"x").status == 403
    for token in (site.wrong, site.token[:-1], site.token + "x", f"{site.token} {site.token}"):
        for method in ("GET", "PUT", "DELETE"):
            assert site.ask(method, "/a/0.txt", b"", token=token).status == 401
        assert site.ask("GET", "/-/api/v1/status", token=token, admin=True).status == 401
    for scheme in ("Basic", "Digest", "Bearer:", "Token"):
        assert site.ask("GET", "/a/0.txt", Authorization=f"{scheme} {site.token}").status == 401
    assert site.ask("POST", "/-/api/v1/sign", b"{", token=site.token).status == 400
    with suppress(OSError):  # a header that is too long
        site.ask("GET", "/a/0.txt", Authorization=f"Bearer {site.token}", X="y" * 70_000)
    site.ask("PUT", "/short.txt", b"xy", token=site.token, Repr_Digest="sha-256=:AAAA:")
    unsigned = site.ask("GET", "/a/0.txt", token=site.token).headers["Location"]
    for method in ("GET", "PUT", "DELETE"):
        said = ask(method, unsigned.replace("=", "=1", 1), b"")
        site.hear(f"{method} there, tampered with", said)
        assert said.status in (403, 410)
    assert site.run(COMMAND, "ls", DRAGONBELLY_TOKEN=site.wrong).returncode == 1
    assert site.run(COMMAND, "rm", "a/0.txt", "--token-file", site.password_file).returncode in (1, 2)


def with_a_wrong_password_of_redis(site: Watched) -> None:
    old, new = site.redis_password, "another one"
    site.redis.command("CONFIG", "SET", "requirepass", new, password=old)
    site.redis.command("CLIENT", "KILL", "TYPE", "normal", password=new)
    site.logged("WRONGPASS")
    assert site.ask("GET", "/a/0.txt", token=site.token).status == 503
    assert site.ask("GET", "/-/health", admin=True).status == 503
    site.redis.command("CONFIG", "SET", "requirepass", old, password=new)
    eventually("it is back", lambda: site.ask("GET", "/a/0.txt", token=site.token).status == 302)


def without_redis(site: Watched) -> None:
    site.redis.kill()
    for method in ("GET", "PUT", "DELETE"):
        assert site.ask(method, "/a/1.txt", b"", token=site.token).status == 503
    assert site.ask("GET", "/-/api/v1/status", admin=True).status == 503
    site.redis.start()
    eventually("it is back", lambda: site.ask("GET", "/a/0.txt", token=site.token).status == 302)


def without_a_backend(site: Watched) -> None:
    for server in (site.node, site.nginx):
        server.kill()
    for method in ("GET", "PUT"):
        site.ask(method, "/a/2.txt", b"", token=site.token)
    eventually(
        "both are missed",
        lambda: site.ask("GET", "/-/api/v1/status", admin=True).body.count(b"unreachable") >= 2,
    )
    assert site.ask("PUT", "/c.txt", b"x", token=site.token).status == 503
    # One whose secret is another now: it refuses what the daemon signs.
    site.node.secret_file.write_text("another secret")
    site.node.start()
    site.nginx.start()
    eventually(
        "one of them is back",
        lambda: site.ask("GET", "/-/api/v1/status", admin=True).body.count(b"unreachable") < 2,
    )
    site.ask("GET", "/-/metrics", admin=True)


def test_no_mistake_of_a_configuration_shows_one() -> None:
    site = Watched([])
    try:
        wrongly_configured(site)
        assert site.found() == []
    finally:
        for part in (site.redis, site.nginx, site.node, site.daemon):
            part.close()


def wrongly_configured(site: Watched) -> None:
    whole = (site.daemon.directory / "dragonbelly.toml").read_text()
    password = f'redis_password = {{ file = "{site.password_file}" }}'
    key = "secret = { env = 'SIGNING_KEY' }"
    broken: dict[str, tuple[str, str]] = {
        "unknown key": (password, f"redis_pasword = '{site.redis_password}'"),
        "in the URL too": (site.redis.url, site.redis.url.replace("//", f"//:{quote(site.redis_password)}@")),
        "a list": (password, f"redis_password = ['{site.redis_password}']"),
        "in a wrong place": ("[[token]]", f"[[token]]\nsecret = '{site.token}'"),
        "no digest": (digest(site.token), str(site.token)),
        "no string": (key, f"secret = ['{site.key.secret.decode()}']"),
        "no file": (key, "secret = { file = '/nowhere' }"),
        "not in the environment": (key, "secret = { env = 'NOWHERE_AT_ALL' }"),
        "not closed": (key, f"secret = '{site.key.secret.decode()}"),
        "a URL with a login": (site.node.url, site.node.url.replace("//", f"//me:{site.node_secret[-32:]}@")),
    }
    file = site.daemon.directory / "broken.toml"
    site.meant.add(file)
    for name, (old, new) in broken.items():
        assert old in whole, name
        file.write_text(whole.replace(old, new, 1))
        environment = {"SIGNING_KEY": site.key.secret.decode()}
        assert site.run(COMMAND, "check", file, **environment).returncode == 2, name
    started = site.run(TWISTD, "--pidfile=", "-n", "dragonbelly", "--config", file, **environment)
    assert started.returncode == 1


def test_it_finds_what_is_shown() -> None:
    """The search itself."""
    site = Watched([])
    shown: list[Any] = []
    for name, secret in site.secrets.items():
        for form in forms(secret):
            site.heard = [("somewhere", b"<" + form + b">")]
            shown += [line for line in site.found() if line.startswith(f"{name} in somewhere")][:1]
    assert len(shown) == sum(len(forms(secret)) for secret in site.secrets.values())
    for part in (site.redis, site.nginx, site.node, site.daemon):
        part.close()

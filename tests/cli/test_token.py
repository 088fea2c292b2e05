"""Tokens from ``dragonbelly token new`` to the last refusal: with the command, and with the Python clients."""

from __future__ import annotations

import re
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import psutil
import pytest

from dragonbelly.client.errors import Denied, Forbidden, Unauthorized
from tests.cli.conftest import Command
from tests.client.kinds import KINDS, Kind
from tests.integration.asking import ask
from tests.integration.site import Site, private_stores
from tests.servers.redis import RedisServer

DOMAINS = '[domain.private]\nhosts = ["*"]\nanonymous = []\n'


def shown(done: subprocess.CompletedProcess[str]) -> str:
    """The secret that stderr shows."""
    assert done.returncode == 0, done.stderr
    (secret,) = re.findall(r"^ +(dbt_\S+)$", done.stderr, re.MULTILINE)
    return str(secret)


@pytest.fixture
def offline(tmp_path: Path) -> Command:
    return Command(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:1")


class TestMaking:
    def test_a_token(self, offline: Command) -> None:
        done = offline(
            "token", "new", "shop", "--scope=list", "--scope=read", "--domain=media", "--prefix=a b/ü"
        )
        secret = shown(done)
        assert len(secret) == 4 + 43, "256 bits in base64"
        assert tomllib.loads(done.stdout) == {
            "token": [
                {
                    "name": "shop",
                    "sha256": sha256(secret.encode()).hexdigest(),
                    "scopes": ["list", "read"],
                    "domains": ["media"],
                    "prefixes": ["a b/ü"],
                }
            ]
        }
        assert secret not in done.stdout
        assert shown(offline("token", "new", "shop")) != secret

    def test_secrets_in_files_of_their_own(self, offline: Command) -> None:
        token, key = (offline.directory / name for name in ("token", "key"))
        first = offline("token", "new", "shop", "--secret-file", token)
        second = offline("signing-key", "new", "k1", "--secret-file", "key")
        for done, file in ((first, token), (second, key)):
            assert done.returncode == 0
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert file.read_text().strip() not in done.stdout + done.stderr
        assert (
            tomllib.loads(first.stdout)["token"][0]["sha256"]
            == sha256(token.read_text().strip().encode()).hexdigest()
        )
        assert tomllib.loads(second.stdout) == {"signing_key": [{"id": "k1", "secret": {"file": str(key)}}]}
        before = token.read_text()
        again = offline("token", "new", "shop", "--secret-file", token)
        assert (again.returncode, again.stdout, token.read_text()) == (1, "", before)
        assert again.stderr == f"dragonbelly: {token}: File exists\n"

    @pytest.mark.parametrize("key", [("token", "new"), ("signing-key", "new")])
    @pytest.mark.parametrize("name", ["", "a b", "-x", 'a"', "x" * 101, "ä"])
    def test_names_that_no_configuration_takes(self, offline: Command, key: tuple[str, ...], name: str) -> None:
        done = offline(*key, "--", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert "a name of letters" in done.stderr

    @pytest.mark.parametrize(
        "option", ["--prefix=/a", "--prefix=", "--prefix=a\nb", "--domain=A B", "--scope=all"]
    )
    def test_what_else_no_configuration_takes(self, offline: Command, option: str) -> None:
        done = offline("token", "new", "x", option)
        assert (done.returncode, done.stdout) == (2, "")

    def test_check_takes_both(self, offline: Command) -> None:
        made = [
            offline("token", "new", "shop", "--domain", "private", "--prefix", "shop/").stdout,
            offline("token", "new", "any", "--domain", "*", "--scope", "admin").stdout,
            offline("signing-key", "new", "k2").stdout,
            offline("signing-key", "new", "k1", "--secret-file", "k1").stdout,
        ]
        secret = 'private = true\nsecure_link_secret = "x"\n'
        backend = f'[backend.a]\nkind = "dav"\nurl = "http://a"\n{secret}[policy.default]\ncopies = 1\n'
        (offline.directory / "my.toml").write_text(DOMAINS + backend + "".join(made))
        done = offline("check", "my.toml")
        assert (done.returncode, done.stderr) == (0, "")
        for text in (
            "token    shop: read, list, write; domains private; paths shop/…",
            "keys     k2 signs, k1",
        ):
            assert f"{text}\n" in done.stdout


class Private:
    """A site whose one domain is private; ``secrets`` are its tokens by name."""

    def __init__(self, command: Command) -> None:
        names = {
            "writer": [],
            "reader": ["--scope", "read", "--scope", "list"],
            "shop": ["--prefix", "shop/"],
            "admin": ["--scope", "admin"],
        }
        made = {name: command("token", "new", name, *options) for name, options in names.items()}
        self.secrets = {name: shown(done) for name, done in made.items()}
        self.site = Site(DOMAINS + "".join(done.stdout for done in made.values()), stores=private_stores())


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Private]:
    made = Private(Command(tmp_path_factory.mktemp("tokens"), "", ""))
    with made.site:
        yield made


@pytest.fixture
def command(private: Private, tmp_path: Path) -> Command:
    daemon = private.site.daemon
    return Command(tmp_path, daemon.url, daemon.admin)


@pytest.mark.servers
class TestWithTheCommand:
    def test_put_ls_get_rm(self, private: Private, command: Command) -> None:
        (command.directory / "a.txt").write_text("hello")
        given = {"DRAGONBELLY_TOKEN": private.secrets["writer"]}
        for arguments, out in (
            (("put", "a.txt", "dir/a.txt"), ""),
            (("ls", "-r", "dir"), "dir/a.txt\n"),
            (("get", "dir/a.txt", "-"), "hello"),
            (("rm", "dir/a.txt"), ""),
        ):
            done = command(*arguments, **given)
            assert (done.returncode, done.stdout) == (0, out), done.stderr

    @pytest.mark.parametrize(
        "arguments",
        [("put", "a.txt", "a.txt"), ("ls",), ("get", "a.txt", "b.txt"), ("rm", "a.txt"), ("info", "a")],
    )
    def test_without_one_it_says_where_to_say_it(
        self, private: Private, command: Command, arguments: tuple[str, ...]
    ) -> None:
        (command.directory / "a.txt").write_text("hello")
        done = command(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = [line for line in done.stderr.splitlines() if "token" in line]
        assert re.fullmatch(
            r"dragonbelly: this takes a token with the scope (read|list|write): say it with "
            r"\$DRAGONBELLY_TOKEN, --token-file or the file .*/\.config/dragonbelly\.toml",
            line,
        )

    def test_a_wrong_one_is_named_by_where_it_came_from(self, private: Private, command: Command) -> None:
        (command.directory / "a.txt").write_text("hello")
        (command.directory / "my.toml").write_text('token = "wrong"\n')
        (command.directory / "my.toml").chmod(0o600)
        (command.directory / "token").write_text("wrong\n")
        for arguments, environment, where in (
            ((), {"DRAGONBELLY_TOKEN": "wrong"}, r"\$DRAGONBELLY_TOKEN"),
            (("--config-file", "my.toml"), {}, "my.toml: token"),
            (("--token-file", "token"), {"DRAGONBELLY_TOKEN": private.secrets["writer"]}, "token"),
        ):
            for name in (("ls",), ("put", "a.txt", "a.txt"), ("rm", "a.txt")):
                done = command(*name, *arguments, **environment)
                assert done.returncode == 1
                assert re.search(
                    rf"^dragonbelly: this token is not known \(it is from {where}\)$", done.stderr, re.M
                )
                assert "wrong" not in done.stderr

    def test_what_it_lacks_is_said_and_that_it_takes_another(self, private: Private, command: Command) -> None:
        (command.directory / "a.txt").write_text("hello")
        given = {"DRAGONBELLY_TOKEN": private.secrets["reader"]}
        lacks = "the token reader lacks the scope write (it is from $DRAGONBELLY_TOKEN); it takes another one"
        for arguments in (("put", "a.txt", "a.txt"), ("rm", "a.txt"), ("set", "a.txt", "--copies", "1")):
            done = command(*arguments, **given)
            assert (done.returncode, done.stdout) == (1, "")
            assert lacks in done.stderr
        done = command("put", "a.txt", "other/", DRAGONBELLY_TOKEN=private.secrets["shop"])
        assert "a.txt to other/a.txt: the token shop is for paths that begin with shop/" in done.stderr
        assert command("put", "a.txt", "shop/", DRAGONBELLY_TOKEN=private.secrets["shop"]).returncode == 0

    def test_it_is_in_no_command_line(self, private: Private, command: Command) -> None:
        """As a file, or in the environment; one that is in the command line anyway is warned about."""
        secret = private.secrets["writer"]
        (command.directory / "token").write_text(f"{secret}\n")
        running = command.popen("put", "--token-file", "token", "-", "stdin.txt", stdin=subprocess.PIPE)
        try:
            assert secret not in " ".join(psutil.Process(running.pid).cmdline())
        finally:
            running.communicate(b"hello", timeout=60)
        assert running.returncode == 0
        assert command("get", "--token-file", "token", "stdin.txt", "-").stdout == "hello"
        done = command("ls", "--token", secret)
        assert done.returncode == 0
        assert done.stderr == "dragonbelly: others on this machine can see a --token (ps): use --token-file\n"

    def test_mistakes_with_files(self, command: Command) -> None:
        (command.directory / "empty").write_text("\n")
        (command.directory / "bytes").write_bytes(b"\xff")
        for file, said in (
            ("none", "cannot read the secret file none: No such file or directory"),
            ("empty", "the secret file empty is empty"),
            ("bytes", "a token is made of printable ASCII characters"),
        ):
            done = command("ls", "--token-file", file)
            assert (done.returncode, done.stdout) == (2, "")
            assert said in done.stderr
        assert command("ls", "--token-file", "empty", "--token", "x").returncode == 2


@pytest.mark.servers
@pytest.mark.parametrize("kind", sorted(KINDS))
class TestWithTheClients:
    def client(self, private: Private, kind: str, token: str | None) -> Kind:
        return KINDS[kind](private.site.daemon.url, token=token)  # type: ignore[return-value]

    def test_all_of_it(self, private: Private, kind: str) -> None:
        client = self.client(private, kind, private.secrets["writer"])
        path = f"{kind}/a.txt"
        client.call("put", path, b"hello")
        assert client.call("get", path) == b"hello"
        assert [entry.path for entry in client.all("list", f"{kind}/")] == [path]
        client.call("delete", path)
        client.close()

    @pytest.mark.parametrize(
        ("token", "error", "says"),
        [
            (None, Unauthorized, "this takes a token with the scope write"),
            ("wrong", Unauthorized, "this token is not known"),
            ("reader", Forbidden, "the token reader lacks the scope write"),
            ("shop", Forbidden, "the token shop is for paths that begin with shop/"),
        ],
    )
    def test_errors(
        self, private: Private, kind: str, token: str | None, error: type[Denied], says: str
    ) -> None:
        secret = private.secrets.get(token, token) if token is not None else None
        client = self.client(private, kind, secret)
        for call in (("put", "a.txt", b"x"), ("delete", "a.txt")):
            with pytest.raises(error) as caught:
                client.call(*call)
            assert str(caught.value) == says
            assert caught.value.status == (401 if error is Unauthorized else 403)
            assert isinstance(caught.value, PermissionError)
        client.close()


@pytest.mark.servers
def test_operators_elsewhere_take_a_token(private: Private, tmp_path: Path) -> None:
    """The admin listener of a daemon that is not on loopback alone."""
    admin = Command(tmp_path, "", "")("token", "new", "boss", "--scope", "admin")
    redis = RedisServer()
    site = Site(DOMAINS + admin.stdout, redis=redis, stores=private_stores())
    file = site.daemon.directory / "dragonbelly.toml"
    text = file.read_text()
    here = f'admin = ["tcp:{site.daemon.admin_port}:interface=127.0.0.1"]'
    assert here in text
    file.write_text(text.replace(here, f'admin = ["tcp:{site.daemon.admin_port}"]'))
    with site:
        command = Command(tmp_path, site.daemon.url, site.daemon.admin)
        for name in ("status", "backends"):
            done = command(name)
            assert done.returncode == 1
            assert "this takes a token with the scope admin: say it with $DRAGONBELLY_TOKEN" in done.stderr
            assert command(name, DRAGONBELLY_TOKEN=shown(admin)).returncode == 0
        assert ask("GET", f"{site.daemon.admin}/-/metrics").status == 401

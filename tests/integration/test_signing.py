"""A private domain behind applications that sign, as the README says it; and on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent

import pytest

from dragonbelly.client import Client, Signer
from dragonbelly.contrib.redirects import Redirects
from dragonbelly.tokens import SIGNING_KEY, TOKEN, digest, make_secret, signing_key_stanza, token_stanza
from tests.cli.conftest import Command
from tests.contrib.applications import with_flask, with_starlette
from tests.integration.asking import ask, curl, follow
from tests.integration.site import Site, private_stores
from tests.servers.applications import uvicorn_server, wsgiref_server

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parents[2]

WRITER, READER, KEY = make_secret(TOKEN), make_secret(TOKEN), make_secret(SIGNING_KEY)

EXTRA = "".join(
    (
        '[domain.private]\nhosts = ["*"]\nanonymous = []\n',
        token_stanza("writer", digest(WRITER), ["read", "list", "write"]),
        token_stanza("reader", digest(READER), ["read"]),
        signing_key_stanza("k1", KEY),
    )
)


@pytest.fixture(scope="module")
def private() -> Iterator[Site]:
    with Site(EXTRA, stores=private_stores()) as site:
        with Client(site.daemon.url, token=WRITER) as client:
            for path in ("mine/ä b.txt", "yours/a.txt"):
                client.put(path, b"hello")
        yield site


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_redirects_of_an_application_are_signed(private: Site, kind: str) -> None:
    signer = Signer(private.daemon.url, "private", "k1", KEY)
    redirects = Redirects(private.daemon.url, prefix="/media/", locate=signer)
    with ExitStack() as stack:
        if kind == "wsgi":
            url = stack.enter_context(wsgiref_server(with_flask(redirects)))
        else:
            url = stack.enter_context(uvicorn_server(with_starlette(redirects), "h11"))
        for path in ("/media/mine/%C3%A4%20b.txt", "/guarded?path=mine/%C3%A4%20b.txt"):
            said = ask("GET", url + path)
            assert (said.status, said.headers["Cache-Control"]) == (302, "private, no-store")
            assert said.headers["Location"] == signer("mine/ä b.txt")
            assert follow(said.headers["Location"]).body == b"hello"
            assert ask("GET", said.headers["Location"].partition("?")[0]).status == 401
        assert ask("GET", f"{url}/media/yours/a.txt").status == 403


class TestOnTheCommandLine:
    @pytest.fixture
    def command(self, private: Site, tmp_path: Path) -> Command:
        return Command(tmp_path, private.daemon.url, private.daemon.admin)

    def test_to_read_and_to_upload(self, private: Site, command: Command) -> None:
        done = command("sign", "mine/ä b.txt", DRAGONBELLY_TOKEN=READER)
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
        assert curl("--fail", "-L", done.stdout.strip()) == b"hello"
        options = ("--method", "PUT", "--max-size", "1kB", "--type", "text/plain", "--expires-in", "5m")
        done = command("sign", "new.txt", *options, DRAGONBELLY_TOKEN=WRITER)
        url = done.stdout.strip()
        assert "max-size=1000&type=text%2Fplain" in url
        (file := command.directory / "new.txt").write_bytes(b"new")
        curl("--fail", "-LT", str(file), "-H", "Content-Type: text/plain", url)
        assert command("get", "new.txt", "-", DRAGONBELLY_TOKEN=READER).stdout == "new"

    @pytest.mark.parametrize(
        ("arguments", "token", "status", "says"),
        [
            (("a",), None, 1, "this takes a token with the scope read: say it with $DRAGONBELLY_TOKEN"),
            (("a", "--method", "PUT"), "reader", 1, "lacks the scope write (it is from $DRAGONBELLY_TOKEN)"),
            (("a", "--max-size", "5"), "reader", 1, "this is for PUT"),
            (("a", "--expires-in", "8d"), "reader", 1, "expires_in"),
            (("a", "--expires-in", "soon"), "reader", 2, 'a duration such as "15m"'),
            (("a", "--method", "PUT", "--max-size", "big"), "reader", 2, 'a size such as "5GiB"'),
            (("a", "--method", "DELETE"), "reader", 2, "GET"),
            (("",), "reader", 2, "it is empty"),
        ],
    )
    def test_refusals(
        self, command: Command, arguments: tuple[str, ...], token: str | None, status: int, says: str
    ) -> None:
        done = command("sign", *arguments, **({"DRAGONBELLY_TOKEN": READER} if token else {}))
        assert (done.returncode, done.stdout) == (status, "")
        assert says in done.stderr


def test_the_code_of_the_readme(private: Site) -> None:
    section = (ROOT / "README.rst").read_text().split("\nPrivate files\n=", 1)[1]
    lines = section.split(".. code-block:: python\n", 1)[1].splitlines()[1:]
    end = next(n for n, line in enumerate(lines) if line and not line.startswith(" "))
    code = dedent("\n".join(lines[:end]))
    assert "http://127.0.0.1:8080" in code
    done = subprocess.run(
        [sys.executable, "-c", code.replace("http://127.0.0.1:8080", private.daemon.url)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DRAGONBELLY_TOKEN": WRITER, "SIGNING_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    asked, made, upload = done.stdout.split()
    for url in (asked, made):
        assert follow(url).body == b"signed"
    begun = ask(
        "PUT", upload, b"", {"Content-Length": "5", "Content-Type": "application/pdf", "Expect": "100-continue"}
    )
    assert ask("PUT", begun.headers["Location"], b"%PDF-").status == 201

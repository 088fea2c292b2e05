"""Secrets: where they may stand, and that they do not show themselves."""

from __future__ import annotations

import pytest
from twisted.internet.testing import MemoryReactorClock

from dragonbelly.cli.admin import Admin
from dragonbelly.cli.server import Server
from dragonbelly.client import Client
from dragonbelly.config import loads
from dragonbelly.secret import Secret
from dragonbelly.state.redis import RedisStore
from dragonbelly.web.callers import Caller


def test_where_it_may_be(tmp_path, monkeypatch):
    (file := tmp_path / "secret").write_text(" hush\n")
    monkeypatch.setenv("HUSH", "hush")
    for found in ("hush", {"file": str(file)}, {"env": "HUSH"}):
        assert Secret.parse(found) == "hush"


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ("", "a secret: a string,"),
        (" ", "a secret: a string,"),
        (7, "a secret: a string,"),
        ({}, "a secret: a string,"),
        ({"file": "a", "env": "b"}, "a secret: a string,"),
        ({"flie": "a"}, "a secret: a string,"),
        ({"file": "/nowhere/s"}, "cannot read the secret file /nowhere/s: No such file"),
        ({"env": "NOT_THERE_AT_ALL"}, "the environment has no NOT_THERE_AT_ALL"),
    ],
)
def test_mistakes(found, says):
    with pytest.raises(ValueError, match=says):
        Secret.parse(found)


@pytest.mark.parametrize(("content", "says"), [(b" \n", "is empty"), (b"\xff", "is not UTF-8")])
def test_a_file_with_none(tmp_path, content, says):
    (file := tmp_path / "secret").write_bytes(content)
    with pytest.raises(ValueError, match=says):
        Secret.parse({"file": str(file)})


def test_it_does_not_show_itself():
    assert "hush" not in repr(Secret("hush"))
    assert "hush" not in repr([Secret("hush")])
    assert "hush" not in f"{Secret('hush')!r}"


HUSH = "hush" * 8

CONFIGURATION = f"""
[state]
redis = "redis://me@127.0.0.1"
redis_password = "{HUSH}"
[[token]]
name = "shop"
sha256 = "{HUSH.encode().hex()}"
scopes = ["read"]
[[signing_key]]
id = "k1"
secret = "{HUSH}"
[backend.a]
kind = "dav"
url = "http://a"
secure_link_secret = "{HUSH}"
[backend.b]
kind = "node"
url = "http://b"
secret = "{HUSH}"
"""


def test_nothing_that_holds_one_shows_it():
    config = loads(CONFIGURATION)
    backends = config.make_backends(MemoryReactorClock())
    store = RedisStore(MemoryReactorClock(), config.state.redis, login=config.state.login)
    holders = [
        config,
        *(getattr(config, name) for name in type(config).__struct_fields__),
        config.state.login,
        *(section.options for section in config.backends.values()),
        *backends.values(),
        store,
        *vars(store).values(),
        *(value for connection in store._connections for value in vars(connection).values()),
        Caller(config.tokens[0]),
        Server("http://a", HUSH, None),
        Client("http://a", token=HUSH),
        Client("http://a", token=HUSH).core,
        Admin("http://a", token=HUSH),
        config.signing_keys[0],
    ]
    for holder in holders:
        shown = f"{holder!r} {holder} {[holder]}"
        assert "hush" not in shown, shown
        assert HUSH.encode().hex() not in shown, shown

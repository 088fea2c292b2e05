"""Whom a command talks to."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragonbelly.cli import main
from dragonbelly.cli.server import Server, find
from dragonbelly.errors import ConfigError


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("URL", "ADMIN_URL", "TOKEN", "DOMAIN"):
        monkeypatch.delenv(f"DRAGONBELLY_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def written(home: Path, text: str, name: str = "dragonbelly.toml", mode: int = 0o600) -> Path:
    file = home / name
    file.write_text(text)
    file.chmod(mode)
    return file


def test_nothing_is_said() -> None:
    assert find("url", {}, None) == Server("http://127.0.0.1:8080", None, None)
    assert find("admin", {}, None) == Server("http://127.0.0.1:8081", None, None)


ALL = 'url = "http://file:1/"\nadmin = "http://file:2"\ntoken = "of the file"\ndomain = "file"\n'


def test_the_first_that_says_something_counts(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(home, ALL)
    assert find("url", {}, None) == Server("http://file:1", "of the file", "file")
    assert find("admin", {}, None) == Server("http://file:2", "of the file", "file")
    for name, value in {
        "URL": "http://environment:1",
        "ADMIN_URL": "http://environment:2",
        "TOKEN": "of the environment",
        "DOMAIN": "environment",
    }.items():
        monkeypatch.setenv(f"DRAGONBELLY_{name}", value)
    assert find("url", {}, None) == Server("http://environment:1", "of the environment", "environment")
    assert find("admin", {}, None).url == "http://environment:2"
    options: dict[str, str | None] = {"url": "http://option:1", "token": "of the option", "domain": None}
    assert find("url", options, None) == Server("http://option:1", "of the option", "environment")
    assert capsys.readouterr().err == ""


def test_another_file(home: Path) -> None:
    other = written(home, 'url = "https://other"', "other.toml")
    assert find("url", {}, str(other)).url == "https://other"


def test_the_usual_place(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(home))
    (home / ".config").mkdir()
    written(home / ".config", 'url = "http://home"')
    assert find("url", {}, None).url == "http://home"


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_token_that_others_can_read(home: Path, capsys: pytest.CaptureFixture[str], mode: int) -> None:
    file = written(home, ALL, mode=mode)
    assert find("url", {}, None).token == "of the file"
    assert capsys.readouterr().err == (
        f"dragonbelly: {file} has a token and others can read it: chmod 600 {file}\n"
    )
    written(home, 'url = "http://x"', mode=mode)
    find("url", {}, None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('uri = "http://x"', "there is no key 'uri', only url, admin, token, domain"),
        ("[url]\nx = 1", "url: a text was expected"),
        ('token = ""', "token: a text was expected, not ''"),
        ("url = http", "is not TOML: "),
        ('url = "\udcff"', "is not TOML: "),
        ('url = "media.example.com"', "url: 'media.example.com' is no address of a server"),
        ('token = "a\\nb"', "token: a token is made of printable ASCII characters"),
    ],
)
def test_files_with_mistakes(home: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    file = home / "dragonbelly.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    file.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        find("url", {}, None)
    assert said in str(caught.value) and str(file) in str(caught.value)
    assert main(["ls"]) == 2
    assert said in capsys.readouterr().err


def test_files_that_cannot_be_read(home: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        find("url", {}, str(home / "none"))
    with pytest.raises(ConfigError, match="Is a directory"):
        find("url", {}, str(home))


def test_mistakes_elsewhere_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--url: 'x' is no address"):
        find("admin", {"admin": "x"}, None)
    monkeypatch.setenv("DRAGONBELLY_TOKEN", "ä")
    with pytest.raises(ConfigError, match=r"\$DRAGONBELLY_TOKEN: a token is made of"):
        find("url", {}, None)

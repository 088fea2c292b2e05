"""A configuration for another process: what was read once need not be read again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dragonbelly.config import Source
from dragonbelly.errors import ConfigError

TEXT = """
[backend.s1]
kind = "node"
url = "http://127.0.0.1:1"
secret = { file = "%s" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("a secret of the test\n")
    (file := tmp_path / "dragonbelly.toml").write_text(TEXT % (tmp_path / "secret"))
    return file


def test_secrets_go_with_it(file: Path) -> None:
    source = Source.of(file)
    first = source.config()
    sent = msgspec.msgpack.encode(source)
    file.unlink()
    (file.parent / "secret").unlink()
    received = msgspec.msgpack.decode(sent, type=Source)
    assert received == source
    assert received.config().backends["s1"].options == first.backends["s1"].options
    assert first.backends["s1"].options.secret == "a secret of the test"


def test_it_shows_none(file: Path) -> None:
    source = Source.of(file)
    source.config()
    assert source.secrets
    assert "test" not in repr(source).replace(str(file), "")


def test_a_secret_that_changed_is_another_source(file: Path) -> None:
    one, other = Source.of(file), Source.of(file)
    one.config()
    (file.parent / "secret").write_text("another secret")
    other.config()
    assert one != other


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Source.of(file.with_name("none"))

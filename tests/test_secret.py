"""Secrets: where they may stand, and that they do not show themselves."""

from __future__ import annotations

import pytest

from dragonbelly.secret import Secret


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

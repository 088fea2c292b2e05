"""What is no run is refused before anything is started."""

from __future__ import annotations

import sys

import pytest

from tests.chaos.__main__ import main


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--seconds", value] for value in ("-5", "0", "nan", "inf", "x")),
        ["--pace", "0"],
        *(["--runs", value] for value in ("0", "-1", "x")),
        ["--nonsense"],
    ],
)
def test_mistakes(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["chaos", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err

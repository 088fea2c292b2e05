"""Every event that a daemon logs, of all levels and with all fields, for ``twistd --logger``."""

from __future__ import annotations

from pathlib import Path

from twisted.logger import ILogObserver, jsonFileLogObserver


def all_of_them() -> ILogObserver:
    """An observer that writes them to ``events.json`` in the current directory."""
    return jsonFileLogObserver(Path("events.json").open("a", encoding="utf-8"))

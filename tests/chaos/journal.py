"""What was begun and what came of it, on disk as it happens: one JSON object a line, times monotonic."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path


class Journal:
    """Used from all threads; each line is written before the call returns."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._out = file.open("w", buffering=1)

    def write(self, event: str, **fields: object) -> None:
        """Values that JSON does not know are written as text."""
        line = {"t": round(time.monotonic() - self._began, 4), "event": event, **fields}
        with self._lock:
            self._out.write(json.dumps(line, default=str) + "\n")

    def of(self, path: str) -> list[str]:
        """The lines of one path, and the faults among them."""
        with self._lock:
            lines = self.file.read_text().splitlines()
        return [line for line in lines if (told := json.loads(line)).get("path") == path or "fault" in told]

    def close(self) -> None:
        self._out.close()

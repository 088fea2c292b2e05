"""A command that believes in a terminal."""

from __future__ import annotations

import os
import pty
import select
import termios
import time
from pathlib import Path

from tests.cli.conftest import COMMAND, Command


class Terminal:
    """
    ``command``, or another ``program``, with stdin and stderr on a terminal, stdout as well if ``whole``;
    ``columns`` is how wide that is.  ``shown`` is what it shows.
    """

    def __init__(
        self,
        command: Command,
        *arguments: str | Path,
        whole: bool = False,
        program: str | Path = COMMAND,
        columns: int = 80,
    ) -> None:
        self._mine, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, columns))
        self.shown = ""
        self.process = command.popen(
            *arguments,
            program=program,
            stdin=theirs,
            stderr=theirs,
            stdout=theirs if whole else None,
            start_new_session=True,
        )
        os.close(theirs)

    def until(self, text: str | None, within: float = 60) -> str:
        """Read until it shows this; None: until it ends."""
        ends = time.monotonic() + within
        while text is None or text not in self.shown:
            assert time.monotonic() < ends, self.shown
            if not select.select([self._mine], [], [], 0.5)[0]:
                continue
            try:
                data = os.read(self._mine, 65536)
            except OSError:  # Linux says so when nobody has the other end any more
                data = b""
            if not data:
                assert text is None, f"{text!r} is not in {self.shown!r}"
                break
            self.shown += data.decode(errors="replace")
        return self.shown

    def type(self, text: str) -> None:
        os.write(self._mine, text.encode())

    def end(self) -> int:
        """Its exit status."""
        try:
            self.until(None)
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self._mine)

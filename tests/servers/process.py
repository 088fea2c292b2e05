"""A server that a test runs in a process of its own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Started:
    """What is started by ``with``, and closed at its end."""

    def start(self) -> Self:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ServerProcess(Started):
    """
    What they have in common: a directory that ``close`` removes, signals, and the log.  ``start`` is theirs.
    """

    #: The file that it logs to, in its directory.
    log_name = "log"

    def __init__(self) -> None:
        # Not pytest's tmp_path: the path of a unix socket must be shorter than 108 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-"))
        self.process: subprocess.Popen[bytes] | None = None

    def answers(self) -> bool:
        """Whether it can be used."""
        raise NotImplementedError

    def spawn(self, command: Sequence[str | Path], **how: Any) -> None:
        """Run it in its directory (unless ``cwd`` is another), and have it log."""
        with (self.directory / self.log_name).open("ab") as log:
            self.process = subprocess.Popen(
                command, **({"cwd": self.directory} | how), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_until_it_answers(self, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not self.answers():
            if self.running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{type(self).__name__} did not start:\n{self.log()}")
            time.sleep(0.01)

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "not started"
        return self.process

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        return self.end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: as when the machine fails."""
        self.end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: it takes connections and answers nothing."""
        self.running.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.running.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """End it, and leave nothing behind."""
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self) -> str:
        path = self.directory / self.log_name
        return path.read_text(errors="replace") if path.exists() else ""

    def end(self, signal_number: int) -> int:
        process = self.running
        process.send_signal(signal_number)
        if signal_number != signal.SIGKILL:
            process.send_signal(signal.SIGCONT)  # a frozen one would not hear of it
        try:
            status = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        self.process = None
        return status

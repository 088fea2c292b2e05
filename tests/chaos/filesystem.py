"""A file system of a few MiB, where the machine allows one: it can be filled."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path


class SmallFileSystem:
    """A tmpfs of its own.  :raises OSError: this machine lets us mount none."""

    def __init__(self, mebibytes: int) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="chaos-tmpfs-"))
        try:
            _run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=755", "chaos", str(self.root))
        except OSError:
            self.root.rmdir()
            raise
        self._filler = self.root / "filler"

    def fill(self) -> None:
        """Take all room that is left."""
        with self._filler.open("ab", buffering=0) as filler:
            piece = 1 << 16
            while piece:
                try:
                    filler.write(bytes(piece))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece >>= 1

    def relieve(self) -> None:
        """Give it back."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """What had files open there must have ended."""
        if os.path.ismount(self.root):
            try:
                _run("umount", str(self.root))
            except OSError:
                _run("umount", "--lazy", str(self.root))
        with suppress(FileNotFoundError):
            self.root.rmdir()


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired as error:
        raise OSError(str(error)) from error
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")

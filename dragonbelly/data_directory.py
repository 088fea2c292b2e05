"""The directory of a daemon without a configuration: whose it is, and the secrets in it."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import IO

from dragonbelly.errors import StartError

#: The file of a data directory that has the SHA-256 of the token.
TOKEN_FILE = "token.sha256"  # nosec B105 # a file's name


def take(directory: Path) -> IO[str]:
    """The lock of the directory, held until it is closed.  :raises StartError: somebody else has it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("a+")
    except OSError as error:
        raise StartError(f"{directory} cannot be written: {error.strerror}") from error
    try:
        _lock(lock, directory)
    except StartError:
        lock.close()
        raise
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def see_that_it_is_free(directory: Path) -> None:
    """Makes nothing.  :raises StartError: somebody else has the lock of the directory."""
    with suppress(OSError), (directory / "lock").open() as lock:
        _lock(lock, directory)


def _lock(lock: IO[str], directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        raise StartError(
            f"{directory} is in use by another Dragonbelly (process {holder}); stop it, or give another --data"
        ) from None


def make_node_secret(path: Path) -> None:
    """The secret that a node's URLs are signed with; made at the first start."""
    if not path.exists():
        _write(path, secrets.token_urlsafe(32))


def read_digest(directory: Path) -> str | None:
    """
    The SHA-256 of the directory's token; None if there is none yet.

    :raises StartError: it cannot be read, or is none.
    """
    file = directory / TOKEN_FILE
    try:
        digest = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{file} cannot be read: {error}") from None
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise StartError(f"{file} has no SHA-256 of a token: start once with --new-token")
    return digest


def write_digest(directory: Path, digest: str) -> None:
    """In the place of the one before.  :raises OSError: it cannot be written."""
    _write(directory / TOKEN_FILE, digest)


def _write(file: Path, text: str) -> None:
    """All of it or nothing, and for nobody else to read."""
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(f"{text}\n")
    fresh.replace(file)

"""The secret that a node and its daemons share, in a file."""

from __future__ import annotations

from pathlib import Path

from dragonbelly.errors import ConfigError


def read_secret(path: Path) -> bytes:
    """
    The file's content without white space around it.

    :raises ConfigError: it cannot be read, or there is nothing in it.
    """
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"cannot read the secret file {path}: {error.strerror}") from error
    if not secret:
        raise ConfigError(f"the secret file {path} is empty")
    return secret

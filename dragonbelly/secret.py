"""Secrets of the configuration: written there, in a file, or in the environment; never shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from dragonbelly.errors import ConfigError

EXPECTED = 'a secret: a string, { file = "/path" } or { env = "NAME" }'


class Secret(str):
    """A text that does not show itself in a ``repr``, and so in no log and no traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(…)"

    @classmethod
    def parse(cls, found: object, read: Callable[[Path], bytes] | None = None) -> Self:
        """
        As it stands in the file: the text, or where it is; ``read_secret`` unless ``read`` reads it.

        :raises ValueError: it is none, or there is none; the message says what was expected.
        """
        match found:
            case str() if found.strip():
                return cls(found)
            case {"file": str(path), **others} if not others:
                try:
                    return cls((read or read_secret)(Path(path)).decode())
                except ConfigError as error:
                    raise ValueError(f"a secret, but {error}") from None
                except UnicodeDecodeError:
                    raise ValueError(f"a secret, but the file {path} is not UTF-8") from None
            case {"env": str(name), **others} if not others:
                if text := os.environ.get(name, "").strip():
                    return cls(text)
                raise ValueError(f"a secret, but the environment has no {name}")
        raise ValueError(EXPECTED)


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

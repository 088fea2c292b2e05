"""
Tokens and signing keys: how they are made, and how they stand in a configuration.

Of a token the configuration has the SHA-256 alone: nobody guesses 256 random bits, so it needs no slow hash,
and whoever reads the file cannot use it.  What it begins with is for programs that look for secrets where none
should be.
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256

from dragonbelly.secret import Secret

#: What they begin with.
TOKEN, SIGNING_KEY = "dbt_", "dbk_"

#: Bytes of chance in each.
SIZE = 32


def make_secret(prefix: str, random: Callable[[int], bytes] = secrets.token_bytes) -> Secret:
    """A new one; ``random`` gives so many bytes."""
    return Secret(prefix + urlsafe_b64encode(random(SIZE)).rstrip(b"=").decode())


def digest(secret: str) -> str:
    """By which a configuration knows a token."""
    return sha256(secret.encode()).hexdigest()


def token_stanza(
    name: str,
    sha256: str,
    scopes: Sequence[str],
    domains: Sequence[str] = (),
    prefixes: Sequence[str] = (),
) -> str:
    """``[[token]]``, in TOML."""
    fields: dict[str, object] = {"name": name, "sha256": sha256, "scopes": list(scopes)}
    if domains:
        fields["domains"] = list(domains)
    if prefixes:
        fields["prefixes"] = list(prefixes)
    return _stanza("token", {key: toml(value) for key, value in fields.items()})


def signing_key_stanza(id: str, secret: str, file: str | None = None) -> str:
    """``[[signing_key]]``, in TOML; the secret is in ``file``, if there is one."""
    where = toml(secret) if file is None else f"{{ file = {toml(file)} }}"
    return _stanza("signing_key", {"id": toml(id), "secret": where})


def toml(value: object) -> str:
    """A text, or a list of texts without control characters, as TOML has it."""
    return json.dumps(value, ensure_ascii=False)


def _stanza(table: str, fields: dict[str, str]) -> str:
    return f"[[{table}]]\n" + "".join(f"{key} = {value}\n" for key, value in fields.items())

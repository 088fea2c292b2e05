"""Where a Redis is: the URL of ``[state] redis = ...``, and the endpoint that it means."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from dragonbelly.errors import ConfigError

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class RedisAddress:
    """
    One Redis: a host and port, or the path of a unix socket.  ``cafile`` is a PEM file of the only
    authorities to trust; without it the system's are.  Neither ``repr`` nor ``str`` shows the password.
    """

    host: str | None = None
    port: int = 6379
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    cafile: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{self.path}" + (f"?db={self.db}" if self.db else "")
        host = f"[{self.host}]" if ":" in (self.host or "") else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"


def parse_url(url: str) -> RedisAddress:
    """
    ``redis://[user:password@]host[:port][/db]``, ``rediss://...[?cafile=/path.pem]`` or
    ``unix://[user:password@]/path.sock[?db=n]``.

    :raises ConfigError: with the reason, which never repeats the URL: there may be a password in any part of
        one that is written wrong.
    """
    if url.startswith("sentinel://"):
        raise _wrong("sentinel:// is not supported yet")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _wrong("the port is no number up to 65535, or the user or password has a character like / ? # [ ]"
                     " that must be written as %2F %3F %23 %5B %5D") from None  # fmt: skip
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise _wrong("it begins with none of redis://, rediss:// and unix://")
    if parts.fragment:
        raise _wrong("a # in the user or password must be written as %23")
    username, password = _credentials(parts)
    if parts.scheme == "unix":
        options = _options(parts, "db")
        if parts.hostname or not parts.path.startswith("/"):
            raise _wrong("unix:// takes an absolute path, as in unix:///run/redis.sock")
        return RedisAddress(
            path=unquote(parts.path), db=_database(options.get("db", "0")), username=username, password=password
        )
    options = _options(parts, *(["cafile"] if parts.scheme == "rediss" else []))
    if not parts.hostname:
        raise _wrong("it names no host")
    return RedisAddress(
        host=parts.hostname,
        port=6379 if port is None else port,
        db=_database(parts.path.removeprefix("/") or "0"),
        username=username,
        password=password,
        tls=parts.scheme == "rediss",
        cafile=options.get("cafile"),
    )


def endpoint(reactor: Any, address: RedisAddress) -> IStreamClientEndpoint:
    """
    How to connect there; over TLS the certificate must be valid for the host's name.

    :raises ConfigError: the file of authorities cannot be used.
    """
    if address.path is not None:
        return UNIXClientEndpoint(reactor, address.path)
    assert address.host is not None
    plain = HostnameEndpoint(reactor, address.host, address.port)
    if not address.tls:
        return plain
    trust = trustRootFromCertificates(_authorities(address.cafile)) if address.cafile else None
    return wrapClientTLS(optionsForClientTLS(address.host, trustRoot=trust), plain)


def _authorities(cafile: str) -> list[Certificate]:
    try:
        blocks = _PEM.findall(FilePath(cafile).read_bytes())
        certificates = [Certificate.loadPEM(block) for block in blocks]
    except OSError as error:
        raise _wrong(f"cafile cannot be read: {error}") from error
    except Exception as error:  # pyOpenSSL and cryptography each have errors of their own
        raise _wrong(f"cafile {cafile} holds no valid certificate: {error}") from error
    if not certificates:
        raise _wrong(f"cafile {cafile} holds no certificate in PEM")
    return certificates


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    if "@" not in parts.netloc:
        return None, None
    if not parts.password:
        raise _wrong(
            "there is a user and no password: write user:password@, or :password@ for the default user"
        )
    return unquote(parts.username or "") or None, unquote(parts.password)


def _options(parts: SplitResult, *known: str) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not set(options) <= set(known):
        allowed = " and ".join(known) or "none"
        raise _wrong(f"an option after the ? is unknown for {parts.scheme}:// (known: {allowed})")
    return options


def _database(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise _wrong("the database is not a whole number")
    return int(text)


def _wrong(reason: str) -> ConfigError:
    return ConfigError(f"URL of Redis: {reason}")

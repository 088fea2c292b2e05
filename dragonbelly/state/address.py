"""Where a Redis is: the URL of ``[state] redis = ...``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from dragonbelly.errors import ConfigError

#: Where a sentinel listens unless the URL says so.
SENTINEL_PORT = 26379

# Not urlsplit's: to it several hosts are one, with a port that is no number.
_SENTINEL = re.compile(
    r"sentinel://(?:(?P<user>[^/?#@:]*)(?::(?P<password>[^/?#@:]*))?@)?"
    r"(?P<places>[^/?#@]*)(?:/(?P<name>[^/?#]*)(?:\?(?P<query>[^?#]*))?)?"
)
_PLACE = re.compile(r"(?:\[(?P<ip>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:]+))(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True)
class RedisAddress:
    """
    One Redis: a host and port, the path of a unix socket, or the ``name`` by which the ``sentinels`` at these
    hosts and ports know it.  ``cafile`` is a PEM file of the only authorities to trust; without it the system's
    are.  Neither ``repr`` nor ``str`` shows a password.
    """

    host: str | None = None
    port: int = 6379
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    cafile: str | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    name: str = ""
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        if self.sentinels:
            places = ",".join(host_and_port(host, port) for host, port in self.sentinels)
            return f"sentinel://{places}/{self.name}" + (f"?db={self.db}" if self.db else "")
        if self.path is not None:
            return f"unix://{self.path}" + (f"?db={self.db}" if self.db else "")
        where = host_and_port(self.host or "", self.port)
        return f"{'rediss' if self.tls else 'redis'}://{where}/{self.db}"


def host_and_port(host: str, port: int) -> str:
    """As it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Login(NamedTuple):
    """Passwords that stand beside the URL, and not in it: Redis', and the sentinels'."""

    password: str | None = None
    sentinel_password: str | None = None

    def __repr__(self) -> str:
        return "Login(…)"


def parse_url(url: str, login: Login = Login()) -> RedisAddress:
    """
    ``redis://[user:password@]host[:port][/db]``, ``rediss://...[?cafile=/path.pem]``,
    ``unix://[user:password@]/path.sock[?db=n]`` or
    ``sentinel://[user:password@]host[:port],.../name[?db=n&sentinel_username=user&sentinel_password=password]``.

    :raises ConfigError: with the reason, which never repeats the URL: there may be a password in any part of
        one that is written wrong.
    """
    if url.startswith("sentinel://"):
        return _sentinels(url, login)
    if login.sentinel_password is not None:
        raise wrong("there is a password of sentinels, and it does not begin with sentinel://")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong("the port is no number up to 65535, or the user or password has a character like / ? # [ ]"
                     " that must be written as %2F %3F %23 %5B %5D") from None  # fmt: skip
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise wrong("it begins with none of redis://, rediss://, unix:// and sentinel://")
    if parts.fragment:
        raise wrong("a # in the user or password must be written as %23")
    username, password = None, login.password
    if "@" in parts.netloc:
        username, password = _credentials(parts.username, parts.password, login.password)
    if parts.scheme == "unix":
        options = _options("unix", parts.query, "db")
        if parts.hostname or not parts.path.startswith("/"):
            raise wrong("unix:// takes an absolute path, as in unix:///run/redis.sock")
        return RedisAddress(
            path=unquote(parts.path), db=_database(options.get("db", "0")), username=username, password=password
        )
    options = _options(parts.scheme, parts.query, *(["cafile"] if parts.scheme == "rediss" else []))
    if not parts.hostname:
        raise wrong("it names no host")
    return RedisAddress(
        host=parts.hostname,
        port=6379 if port is None else port,
        db=_database(parts.path.removeprefix("/") or "0"),
        username=username,
        password=password,
        tls=parts.scheme == "rediss",
        cafile=options.get("cafile"),
    )


def _sentinels(url: str, login: Login) -> RedisAddress:
    match = _SENTINEL.fullmatch(url)
    if match is None:
        raise wrong("sentinel:// takes hosts separated by commas, a / and the master's name; a character like"
                    " : / ? # @ in user or password must be written as %3A %2F %3F %23 %40")  # fmt: skip
    if not re.fullmatch("[A-Za-z0-9._-]+", match["name"] or ""):  # what Redis takes for one
        raise wrong("sentinel:// takes the master's name after the hosts: sentinel://h1,h2,h3/mymaster")
    username, password = None, login.password
    if match["user"] is not None:
        username, password = _credentials(match["user"], match["password"], login.password)
    options = _options("sentinel", match["query"] or "", "db", "sentinel_username", "sentinel_password")
    if login.sentinel_password is not None and "sentinel_password" in options:
        raise wrong("there is a sentinel_password in it, and another one beside it: leave one out")
    sentinel_password = login.sentinel_password or options.get("sentinel_password")
    if "sentinel_username" in options and not sentinel_password:
        raise wrong("there is a sentinel_username and no sentinel_password")
    return RedisAddress(
        db=_database(options.get("db", "0")),
        username=username,
        password=password,
        sentinels=tuple(_place(text) for text in match["places"].split(",")),
        name=match["name"],
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=sentinel_password,
    )


def _place(text: str) -> tuple[str, int]:
    match = _PLACE.fullmatch(text)
    if match is None:
        raise wrong("a sentinel is host, host:port, [address] or [address]:port, with commas between them")
    port = int(match["port"] or SENTINEL_PORT)
    if not 0 < port < 65536:
        raise wrong("the port of a sentinel is no number from 1 to 65535")
    return match["ip"] or match["host"], port


def _credentials(user: str | None, written: str | None, beside: str | None) -> tuple[str | None, str]:
    """What stands before the ``@``, and the password that stands elsewhere, if one does."""
    if written and beside is not None:
        raise wrong("there is a password in it, and another one beside it: leave one out")
    password = unquote(written) if written else beside
    if not password:
        raise wrong("there is a user and no password: write user:password@, or :password@ for the default user")
    return unquote(user or "") or None, password


def _options(scheme: str, query: str, *known: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not set(options) <= set(known):
        allowed = " and ".join(known) or "none"
        raise wrong(f"an option after the ? is unknown for {scheme}:// (known: {allowed})")
    return options


def _database(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise wrong("the database is not a whole number")
    return int(text)


def wrong(reason: str) -> ConfigError:
    """A mistake in the URL, which is not to be repeated."""
    return ConfigError(f"URL of Redis: {reason}")

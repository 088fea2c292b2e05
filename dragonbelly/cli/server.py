"""Whom a command talks to: from its options, the environment or a file, in this order."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import click

from dragonbelly.cli.admin import Admin
from dragonbelly.cli.terminal import error_text, message
from dragonbelly.client import Client, environment
from dragonbelly.client.address import base_url, check_token
from dragonbelly.client.environment import VARIABLES
from dragonbelly.client.errors import Denied, Unauthorized
from dragonbelly.errors import ConfigError
from dragonbelly.secret import read_secret

#: The two listeners of a daemon: where each is unless something is said, and how it is named elsewhere.
Listener = Literal["url", "admin"]
DEFAULTS: dict[Listener, str] = {"url": "http://127.0.0.1:8080", "admin": "http://127.0.0.1:8081"}
NAMES = {"url": "The daemon's listener", "admin": "The admin listener of a daemon"}


@dataclass(frozen=True)
class Server:
    """One listener, and who asks there; ``token_from`` is where the token was found."""

    url: str
    token: str | None = field(repr=False)
    domain: str | None
    token_from: str = field(default="", compare=False)

    def client(self) -> Client:
        return Client(self.url, token=self.token, domain=self.domain)

    def admin(self) -> Admin:
        return Admin(self.url, token=self.token, domain=self.domain)

    def told(self, error: Exception) -> str:
        """What the server says; where it wants another token, what can be done."""
        if not isinstance(error, Denied):
            return error_text(error)
        if self.token is None:
            if isinstance(error, Unauthorized):
                return f"{error}: say it with ${VARIABLES['token']}, --token-file or the file {_usual_place()}"
            return str(error)
        another = "" if isinstance(error, Unauthorized) else "; it takes another one"
        return f"{error} (it is from {self.token_from}){another}"


def asks(listener: Listener) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options that say whom a command talks to; it is given a ``server`` in their place."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--url",
            metavar="URL",
            help=f"{NAMES[listener]}; else ${VARIABLES[listener]}, `{listener}` in the file, or "
            f"{DEFAULTS[listener]}.",
        )
        @click.option(
            "--token-file",
            metavar="FILE",
            help=f"The token is in it; else ${VARIABLES['token']}, or `token` in the file.",
        )
        @click.option("--token", metavar="TOKEN", help="The token itself, which others on this machine see.")
        @click.option(
            "--domain",
            metavar="NAME",
            help=f"If the URL's host does not say it; else ${VARIABLES['domain']}, or `domain` in the file.",
        )
        @click.option(
            "--config-file",
            metavar="FILE",
            help="Else ~/.config/dragonbelly.toml.",
        )
        @wraps(command)
        def call(
            *args: Any,
            url: str | None,
            token: str | None,
            token_file: str | None,
            domain: str | None,
            config_file: str | None,
            **more: Any,
        ) -> Any:
            if token is not None:
                if token_file is not None:
                    raise click.UsageError("--token and --token-file: only one of them")
                message("others on this machine can see a --token (ps): use --token-file")
            given = {listener: url, "token": token, "domain": domain}
            server = find(listener, given, config_file, token_file)
            try:
                return command(*args, server=server, **more)
            except Denied as error:
                message(server.told(error))
                return 1

        return call

    return decorate


def find(
    listener: Listener, options: dict[str, str | None], config_file: str | None, token_file: str | None = None
) -> Server:
    """:raises ConfigError: something has a mistake; says where."""
    kept, file = read(config_file)
    outside = environment.said(os.environ)
    found: dict[str, tuple[str, str]] = {}
    for key in (listener, "token", "domain"):
        option = "--url" if key == listener else f"--{key}"
        for value, where in (
            (options.get(key), option),
            (outside.get(key), f"${VARIABLES[key]}"),
            (kept.get(key), f"{file}: {key}"),
        ):
            if value:
                found[key] = value, where
                break
    url, where = found.get(listener, (DEFAULTS[listener], ""))
    token, token_where = found.get("token", (None, ""))
    if token_file is not None:
        token, token_where = _read_token(token_file), token_file
    try:
        url = base_url(url)
        where = token_where
        if token is not None:
            check_token(token)
    except ValueError as error:
        raise ConfigError(f"dragonbelly: {where}: {error}") from None
    return Server(url, token, found.get("domain", (None, ""))[0], token_where)


def _read_token(file: str) -> str:
    """:raises ConfigError: there is none."""
    try:
        return read_secret(Path(file)).decode(errors="replace")
    except ConfigError as error:
        raise ConfigError(f"dragonbelly: --token-file: {error}") from None


def read(name: str | None) -> tuple[dict[str, str], Path]:
    """What a file says, and which it is; one that was not asked for may be missing.  :raises ConfigError:"""
    file = Path(name) if name is not None else _usual_place()
    try:
        with file.open("rb") as opened:
            said = tomllib.load(opened)
            mode = os.fstat(opened.fileno()).st_mode
    except FileNotFoundError:
        if name is None:
            return {}, file
        raise ConfigError(f"dragonbelly: there is no file {file}") from None
    except OSError as error:
        raise ConfigError(f"dragonbelly: {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"dragonbelly: {file} is not TOML: {error}") from None
    for key, value in said.items():
        if key not in VARIABLES:
            raise ConfigError(f"dragonbelly: {file}: there is no key {key!r}, only {', '.join(VARIABLES)}")
        if not isinstance(value, str) or not value:
            raise ConfigError(f"dragonbelly: {file}: {key}: a text was expected, not {value!r}")
    if "token" in said and mode & (stat.S_IRGRP | stat.S_IROTH):
        click.echo(
            f"dragonbelly: {file} has a token and others can read it: chmod 600 {file}",
            err=True,
        )
    return said, file


def _usual_place() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "dragonbelly.toml"

"""``dragonbelly token new`` and ``signing-key new``: secrets, and what a configuration is to say of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from dragonbelly.cli.terms import PATH
from dragonbelly.config.checks import is_domain_name, is_name
from dragonbelly.tokens import SIGNING_KEY, TOKEN, digest, make_secret, signing_key_stanza, token_stanza

SCOPES = ("read", "list", "write", "admin")


class Name(click.ParamType[str]):
    """What the configuration takes for one."""

    name = "name"

    def __init__(self, of_domain: bool = False) -> None:
        self._of_domain = of_domain

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> str:
        if not (is_domain_name(value) or value == "*" if self._of_domain else is_name(value)):
            letters = "small letters" if self._of_domain else "letters"
            expected = f"a name of {letters}, digits, '.', '_' and '-', 100 at most"
            raise click.BadParameter(f"{expected}, was expected, not {value!r}", context, param)
        return str(value)


class Prefix(click.ParamType[str]):
    """The beginning of a path."""

    name = "prefix"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> str:
        text = PATH.convert(value, param, context)
        if text.startswith("/") or not text.isprintable():
            expected = "the beginning of a path such as photos/, without a slash in front, was expected"
            raise click.BadParameter(f"{expected}, not {value!r}", context, param)
        return text


secret_file = click.option(
    "--secret-file",
    metavar="FILE",
    help="Write the secret into this new file, which only you can read, and do not show it.",
)


@click.group(short_help="Make tokens.")
def token() -> None:
    """Tokens: who shows one may do what it is for."""


@token.command("new", short_help="Make a token.")
@click.argument("name", type=Name())
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    default=("read", "list", "write"),
    help="What it may do; may be repeated.  [default: read, list and write]",
)
@click.option(
    "--domain",
    "domains",
    metavar="NAME",
    type=Name(of_domain=True),
    multiple=True,
    help="Where; may be repeated.  [default: all]",
)
@click.option(
    "--prefix",
    "prefixes",
    metavar="PREFIX",
    type=Prefix(),
    multiple=True,
    help="To which paths: those that begin with it; may be repeated.  [default: all]",
)
@secret_file
def new_token(
    name: str,
    scopes: tuple[str, ...],
    domains: tuple[str, ...],
    prefixes: tuple[str, ...],
    secret_file: str | None,
) -> int:
    """
    Make a token.  stdout is what to append to the daemon's configuration, which knows only its SHA-256:

        dragonbelly token new shop --prefix shop/ >> /etc/dragonbelly.toml

    The secret itself is shown once, on stderr.  NAME is what logs and refusals call it.
    """
    secret = make_secret(TOKEN)
    if secret_file is None:
        click.echo(f"The token {name}, which is shown this one time:\n\n    {secret}\n", err=True)
        click.echo("Its owner keeps it, for example in DRAGONBELLY_TOKEN (docs/cli.rst).", err=True)
    else:
        _write(secret_file, secret)
        click.echo(f"The token {name} is in {secret_file}.", err=True)
    click.echo("The configuration of the daemons, which have to be restarted then, needs:\n", err=True)
    click.echo(token_stanza(name, digest(secret), tuple(dict.fromkeys(scopes)), domains, prefixes), nl=False)
    return 0


@click.group("signing-key", short_help="Make keys that URLs are signed with.")
def signing_key() -> None:
    """Keys that URLs are signed with: the first of a configuration signs, all of them are accepted."""


@signing_key.command("new", short_help="Make a key.")
@click.argument("id", type=Name())
@secret_file
def new_signing_key(id: str, secret_file: str | None) -> int:
    """
    Make a key that URLs are signed with.  stdout is what the daemon's configuration needs, in front of older
    keys.  ID is public, and stands in each URL.  The secret is in it, unless --secret-file names a file for it.
    """
    secret = make_secret(SIGNING_KEY)
    if secret_file is not None:
        _write(secret_file, secret)
        secret_file = str(Path(secret_file).absolute())
    else:
        click.echo("There is a secret in this: nobody else may read the configuration (chmod 600).", err=True)
    click.echo("The configuration of the daemons, which have to be restarted then, needs:\n", err=True)
    click.echo(signing_key_stanza(id, secret, secret_file), nl=False)
    return 0


def _write(file: str, secret: str) -> None:
    """:raises OSError: it cannot be written, or is there."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(f"{secret}\n")

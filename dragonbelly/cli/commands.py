"""The commands, each in a module of its own but for the small ones."""

from __future__ import annotations

import click

from dragonbelly import __version__
from dragonbelly.cli.audit import audit
from dragonbelly.cli.backends import backends
from dragonbelly.cli.check import check
from dragonbelly.cli.completion import completion
from dragonbelly.cli.explain import explain
from dragonbelly.cli.files import info, rm, set_, sign
from dragonbelly.cli.get import get
from dragonbelly.cli.listing import ls
from dragonbelly.cli.put import put
from dragonbelly.cli.status import status
from dragonbelly.cli.token import signing_key, token


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="dragonbelly %(version)s")
def commands() -> None:
    """
    Redirector-based, replicated storage on plain web servers.

    \b
    Exit status:
      0    done
      1    some of it failed, was refused, or is not there
      2    the command line or the configuration has a mistake
      3    the server did not answer, or not now
      130  interrupted (Ctrl-C)

    `audit` has its own: see dragonbelly audit --help.
    """


for command in (
    *(put, get, ls, info, set_, sign, rm),
    *(status, backends, explain, audit),
    *(check, token, signing_key, completion),
):
    commands.add_command(command)

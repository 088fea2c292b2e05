"""The commands, each in a module of its own but for the small ones."""

from __future__ import annotations

import click

from dragonbelly import __version__
from dragonbelly.cli.audit import audit
from dragonbelly.cli.check import check


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="dragonbelly %(version)s")
def commands() -> None:
    """Redirector-based, replicated storage on plain web servers."""


commands.add_command(check)
commands.add_command(audit)

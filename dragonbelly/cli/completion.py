"""``dragonbelly completion``: what a shell reads to complete the command's options."""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class, shell_complete

VARIABLE = "_DRAGONBELLY_COMPLETE"


@click.command(short_help="Print what makes a shell complete this command.")
@click.argument("shell", type=click.Choice(["bash", "zsh"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the completion for SHELL, for its start-up file: eval "$(dragonbelly completion bash)"."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "dragonbelly", VARIABLE).source())
    return 0


def completes(commands: click.Command) -> bool:
    """Whether a shell called to have something completed; then it is."""
    asked = os.environ.get(VARIABLE)
    if not asked:
        return False
    shell_complete(commands, {}, "dragonbelly", VARIABLE, asked)
    return True

"""The ``dragonbelly`` command.  Exit status 2: the command line or the configuration has a mistake."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dragonbelly.errors import ConfigError

#: What the command is made with; the daemon needs none of it.
_LIBRARIES = ("click", "rich", "httpx")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    The exit status of a command that ran.

    :raises SystemExit: it did not: ``--help``, ``--version``, or a command line that has a mistake.
    """
    try:
        import click

        from dragonbelly.cli.commands import commands
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _LIBRARIES:
            raise
        print(f"dragonbelly: this command needs {library}: pip install 'dragonbelly[cli]'", file=sys.stderr)
        return 2
    try:
        with commands.make_context(
            "dragonbelly", list(sys.argv[1:] if arguments is None else arguments)
        ) as context:
            return int(commands.invoke(context) or 0)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except click.exceptions.Exit as ended:
        raise SystemExit(ended.exit_code) from None

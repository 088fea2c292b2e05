"""The ``dragonbelly`` command.  What its exit statuses mean is in ``docs/cli.rst``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dragonbelly.errors import ConfigError

#: What the command is made with; the daemon needs none of it.
_LIBRARIES = ("click", "rich", "httpx")

DONE, FAILED, MISTAKE, AWAY, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """
    The exit status of a command that ran.

    :raises SystemExit: it did not: ``--help``, ``--version``, or a command line that has a mistake.
    """
    try:
        import click

        from dragonbelly.cli.commands import commands
        from dragonbelly.cli.completion import completes
        from dragonbelly.cli.terminal import message
        from dragonbelly.client.errors import Error, NotDragonbelly, Unavailable
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _LIBRARIES:
            raise
        print(f"dragonbelly: this command needs {library}: pip install 'dragonbelly[cli]'", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        return INTERRUPTED
    try:
        if completes(commands):
            return DONE
        with commands.make_context(
            "dragonbelly", list(sys.argv[1:] if arguments is None else arguments)
        ) as context:
            status = int(commands.invoke(context) or 0)
        sys.stdout.flush()
        return status
    except ConfigError as error:
        print(error, file=sys.stderr)
        return MISTAKE
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except click.exceptions.Exit as ended:
        raise SystemExit(ended.exit_code) from None
    except (click.Abort, KeyboardInterrupt):
        message("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has enough; what is left in the buffer goes nowhere, without a word.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Error as error:
        message(str(error))
        return AWAY if isinstance(error, Unavailable | NotDragonbelly) else FAILED
    except OSError as error:
        message(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
        return FAILED

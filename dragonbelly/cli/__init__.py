"""The ``dragonbelly`` command.  What its exit statuses mean is in ``docs/cli.rst``."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from dragonbelly.errors import ConfigError

#: What the command is made with; the daemon needs none of it.
_LIBRARIES = ("click", "rich", "httpx")

DONE, FAILED, MISTAKE, AWAY, INTERRUPTED = 0, 1, 2, 3, 130


class Ended(KeyboardInterrupt):
    """Ended with ``kill``, or because the terminal is gone: what was begun is cleaned up as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.status = 128 + number


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
    _prepare()
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
    except (click.Abort, KeyboardInterrupt) as error:
        with suppress(OSError):  # the terminal may be gone
            message("interrupted")
        return error.status if isinstance(error, Ended) else INTERRUPTED
    except BrokenPipeError:
        _forget_output()  # whoever read has enough
        return DONE
    except Error as error:
        message(str(error))
        return AWAY if isinstance(error, Unavailable | NotDragonbelly) else FAILED
    except OSError as error:
        _forget_output()
        message(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
        return FAILED


def _prepare() -> None:
    """What is closed leads nowhere, so that no socket gets its number; signals end it in good order."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 - as long as the process is
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores one
                signal.signal(number, _end)


def _forget_output() -> None:
    """What cannot be written is not kept: Python would try once more at its end, and fail with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(number)

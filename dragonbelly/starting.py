"""Starting under ``twistd``: what goes wrong ends in one line and an exit status that is not 0."""

from __future__ import annotations

import atexit
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from dragonbelly.cors import parse_origin
from dragonbelly.errors import StartError

#: Connections that may wait to be accepted.  With Twisted's 50, half of a hundred that come at once are not
#: heard, and ask again a second later.  The system has a limit of its own (net.core.somaxconn).
BACKLOG = 1024

_OWN_KINDS = re.compile(r"(haproxy:)?(tcp6?|ssl|unix):")


def give_up(message: str) -> NoReturn:
    """End with one line while the service is being made; ``twistd`` would show a traceback, or its usage."""
    raise SystemExit(f"dragonbelly: {message}")


def origin_option(text: str) -> str:
    """The value of an option ``--origin``; ends with one line when it is none."""
    try:
        return parse_origin(text)
    except ValueError as error:
        give_up(f"--origin {text}: expected {error}")


def cannot_start(error: Exception, options: usage.Options | None) -> NoReturn:
    """
    End with one line while the service is being started.  ``options`` are the service's own; their parent's
    are ``twistd``'s.
    """
    twistd = options.parent if options is not None and options.parent is not None else {"nodaemon": True}
    if not twistd["nodaemon"]:
        # The process that the user sees waits for an exception, and reports it in one line, cut short.
        Logger().critical("dragonbelly: {reason}", reason=str(error))
        raise error
    if twistd.get("pidfile"):
        with suppress(OSError):  # with --uid it is another's by now, and twistd will find it stale
            Path(str(twistd["pidfile"])).unlink()  # twistd leaves it
    give_up(str(error))


def give_up_later(reactor: Any) -> None:
    """End while the reactor runs; whoever calls this has logged why."""

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # twistd has no way to be told an exit status

    atexit.register(leave)
    if reactor.running:
        reactor.stop()
    else:
        reactor.callWhenRunning(reactor.stop)


def check_installation() -> None:
    """
    To be called by the user who will serve.  Modules are imported late, too: what cannot be read would show as
    something else, such as a host name that is not found.

    :raises StartError: he cannot read Python's own modules, or ours.
    """
    for file in (Path(os.__file__), Path(__file__)):
        try:
            file.open("rb").close()
        except PermissionError as error:
            who = f"the user {os.getuid()}, who is to serve"
            raise StartError(f"{file} cannot be read by {who}: install it where that user may read") from error
        except OSError:
            pass  # not a file of its own: an archive


def endpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    """:raises StartError: that is no endpoint."""
    try:
        made: IStreamServerEndpoint = serverFromString(reactor, _with_backlog(description))
    except Exception as error:  # each kind of endpoint has errors of its own for what it cannot read
        raise StartError(f"{description} is no endpoint: {error}") from error
    return made


def _with_backlog(description: str) -> str:
    """An endpoint of Twisted's own kinds, with room for all who come at once, unless it says for how many."""
    if not _OWN_KINDS.match(description) or ":backlog=" in description:
        return description
    return f"{description}:backlog={BACKLOG}"


def listen(reactor: Any, description: str, factory: IProtocolFactory) -> IListeningPort:
    """Listen at once.  :raises StartError: it is no endpoint, or the address is taken."""
    return listen_on(endpoint(reactor, description), description, factory)


def listen_on(where: IStreamServerEndpoint, description: str, factory: IProtocolFactory) -> IListeningPort:
    """The same on an endpoint that was made of the ``description``."""
    ports: list[IListeningPort] = []
    refused: list[Failure] = []
    listening = maybeDeferred(where.listen, factory)
    listening.addCallbacks(ports.append, refused.append)
    if not ports:
        reason = refused[0].getErrorMessage() if refused else "it takes too long"
        raise StartError(f"cannot listen on {description}: {reason}")
    return ports[0]


def open_ports(
    reactor: Any, sites: Iterable[tuple[str, IProtocolFactory]], options: usage.Options | None
) -> list[IListeningPort]:
    """
    Listen on each endpoint with its factory, or end: see ``cannot_start``.

    For ``privilegedStartService``: root alone may open ports below 1024, and ``twistd --uid`` becomes another
    user right after it.  Nobody is answered before the reactor runs, which is later still.
    """
    try:
        return [listen(reactor, where, site) for where, site in sites]
    except StartError as error:
        cannot_start(error, options)

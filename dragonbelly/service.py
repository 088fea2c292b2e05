"""``twistd dragonbelly``: the options, and which of the two services they ask for."""

from __future__ import annotations

import signal
from pathlib import Path

from msgspec.structs import replace
from twisted.application.service import IService
from twisted.python import usage

from dragonbelly import __version__
from dragonbelly.config import Config, Source
from dragonbelly.config.values import WORKERS_MAX
from dragonbelly.embedded import Embedded
from dragonbelly.errors import ConfigError
from dragonbelly.listening import Listening
from dragonbelly.starting import give_up, origin_option

#: Where everything is kept without a configuration, in the current directory.
DATA = "dragonbelly-data"


class Options(usage.Options):
    """The command line."""

    synopsis = "[--config FILE | --data DIR] [options]"
    longdesc = (
        "With --config: the daemon, as the file says.  Without: everything that is needed to try it, for this "
        "machine alone unless --listen says otherwise, with its data in DIR."
    )
    optParameters = [
        ["config", None, None, "The configuration, a TOML file; see etc/dragonbelly.toml."],
        ["data", None, None, f"Without --config: where everything is kept [default: {DATA}]."],
        ["listen", None, None, "Where files and API are served, a Twisted endpoint [default: port 8080]."],
        ["admin", None, None, "Where operators are served, a Twisted endpoint [default: port 8081]."],
        ["workers", None, None, "With --config: processes that serve files and API; else what the file says."],
        ["host", None, None, "What others call this machine, if --listen is not on loopback: name or address."],
    ]
    optFlags = [["new-token", None, "Make another token for others than this machine, and show it."]]

    def __init__(self) -> None:
        super().__init__()
        self.origins: list[str] = []

    def opt_origin(self, origin: str) -> None:
        """Without --config: pages of it (https://host[:port], or *) may use fetch; may be given again."""
        self.origins.append(origin_option(origin))

    def opt_version(self) -> None:
        """Display Dragonbelly's version and exit."""
        raise SystemExit(f"dragonbelly {__version__}")


def makeService(options: Options) -> IService:
    """What ``twistd`` runs."""
    from twisted.internet import reactor

    if options["config"] is None:
        if options["workers"] is not None:
            give_up("--workers goes with --config: without it one process serves")
        return Embedded(
            reactor,
            Path(options["data"] or DATA),
            options["listen"],
            options["admin"],
            options,
            options.origins,
            options["host"],
            bool(options["new-token"]),
        )
    alone = ("data", "listen", "admin", "host", "new-token")
    if options.origins or any(options[name] for name in alone):
        names = ", ".join(f"--{name}" for name in alone)
        give_up(f"{names} and --origin go without --config; with it, the file says all that")
    # twistd may change its directory before the file is read again
    file, workers = Path(options["config"]).absolute(), _workers(options["workers"])

    def read() -> tuple[Source, Config]:
        source = Source.of(file)
        config = source.config()
        return source, replace(config, http=replace(config.http, workers=workers or config.http.workers))

    try:
        listening = Listening(reactor, read, options)
    except ConfigError as error:
        give_up(str(error))
    # Not in a thread: a handler runs between two instructions of the reactor's own.
    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(listening.reload))  # type: ignore[attr-defined]
    return listening


def _workers(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= WORKERS_MAX:
        give_up(f"--workers {text}: expected a number from 1 to {WORKERS_MAX}")
    return int(text)

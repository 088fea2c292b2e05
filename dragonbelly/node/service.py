"""
``twistd dragonbelly-node``: one storage node as a process of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python import usage

from dragonbelly import descriptors
from dragonbelly.config.checks import check_exempt
from dragonbelly.config.limits import LimitsSection
from dragonbelly.config.reading import Reader
from dragonbelly.errors import ConfigError, StartError
from dragonbelly.node.server import make_node
from dragonbelly.node.store import Store
from dragonbelly.secret import read_secret
from dragonbelly.starting import cannot_start, check_installation, endpoint, give_up, open_ports, origin_option
from dragonbelly.units import Size

_log = Logger()

DEFAULTS = LimitsSection()


class Options(usage.Options):
    """The command line."""

    optParameters = [
        ["root", None, None, "Directory where the files lie; made if need be."],
        ["listen", None, "tcp:8090:interface=127.0.0.1", "Where to listen: a Twisted endpoint string."],
        ["secret-file", None, None, "File with the secret that URLs are signed with."],
        ["reserve", None, "0", "Room of the file system that is never given away, such as 1GiB."],
        ["name", None, "node", "What the node is called in the log."],
        ["connections", None, str(DEFAULTS.connections), "How many there may be; then the idlest is closed."],
        [
            "connections-per-address",
            None,
            str(DEFAULTS.connections_per_address),
            "Of one address; 0: no limit.",
        ],
        ["header-time", None, str(DEFAULTS.header_time), "How long the headers of a request may take."],
    ]
    optFlags = [["private", None, "Reading needs a signed URL, too."]]

    reserve: Size
    secret: bytes
    limits: LimitsSection

    def __init__(self) -> None:
        super().__init__()
        self.origins: list[str] = []
        self.exempt: list[str] = []

    def opt_origin(self, origin: str) -> None:
        """Pages of it (https://host[:port], or *) may read and upload with fetch; may be given again."""
        self.origins.append(origin_option(origin))

    def opt_exempt(self, network: str) -> None:
        """
        Connections of it (10.0.0.0/8) are not counted by address; may be given again.
        [default: loopback, where a reverse proxy may be]
        """
        self.exempt.append(network)

    def postOptions(self) -> None:
        for required in ("root", "secret-file"):
            if not self[required]:
                give_up(f"--{required} is missing")
        # twistd may change its directory before the service starts
        self["root"] = str(Path(self["root"]).absolute())
        try:
            self.reserve = Size.parse(int(self["reserve"]) if self["reserve"].isdigit() else self["reserve"])
        except ValueError as error:
            give_up(f"--reserve {self['reserve']}: expected {error}")
        self.limits = self._limits()
        try:
            self.secret = read_secret(Path(self["secret-file"]))
        except ConfigError as error:
            give_up(str(error))

    def _limits(self) -> LimitsSection:
        found: dict[str, object] = {
            "connections": _number(self["connections"]),
            "connections_per_address": _number(self["connections-per-address"]),
            "header_time": _number(self["header-time"]),
            "exempt": self.exempt or list(DEFAULTS.exempt),
        }
        reader = Reader("options")
        try:
            limits = reader.struct(LimitsSection, found, ())
            check_exempt(limits, reader, ())
        except ConfigError as error:
            give_up(str(error).replace("_", "-"))
        return limits


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text


class NodeService(Service):
    """A node that listens while the service runs."""

    name = "dragonbelly-node"
    _port: IListeningPort | None = None

    def __init__(self, reactor: Any, options: Options) -> None:
        self._reactor = reactor
        self._options = options
        self._store = Store(Path(options["root"]), options.reserve)

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        options = self._options
        factory = make_node(
            self._reactor,
            self._store,
            options.secret,
            private=bool(options["private"]),
            limits=options.limits,
            origins=options.origins,
        )
        [self._port] = open_ports(self._reactor, [(options["listen"], factory)], options)

    def startService(self) -> None:
        if self._port is None:  # ``twist``, unlike ``twistd``, knows no privileges
            self.privilegedStartService()
        assert self._port is not None
        try:
            check_installation()
            most = self._options.limits.connections
            descriptors.allow(2 * most, f"--connections {most}, each with a file,")
            # Not earlier: the directory is made by the user who will write to it.
            leftovers = self._store.prepare()
        except StartError as error:
            cannot_start(error, self._options)
        super().startService()
        _log.info(
            "node {name}: files in {root}, {leftovers} unfinished uploads removed, listens on {address}",
            name=self._options["name"],
            root=self._options["root"],
            leftovers=leftovers,
            address=self._port.getHost(),
        )

    def stopService(self) -> Deferred[None]:
        super().stopService()
        port, self._port = self._port, None
        return (port.stopListening() if port is not None else None) or succeed(None)


def makeService(options: Options) -> IService:
    """What ``twistd`` runs."""
    from twisted.internet import reactor

    try:
        endpoint(reactor, options["listen"])
    except StartError as error:
        give_up(f"--listen {error}")
    return NodeService(reactor, options)

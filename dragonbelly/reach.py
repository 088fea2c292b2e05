"""Who reaches a daemon without a configuration: this machine alone, or others, whose changes take a token."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

from dragonbelly.config.checks import interface_of, is_local
from dragonbelly.errors import StartError

#: Interfaces that are all of them, and where the machine itself finds what listens there.
_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # nosec B104 # only recognised

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


class Reach(NamedTuple):
    """
    ``public`` and ``admin`` are endpoint strings, and ``others_read`` and ``others_operate`` whether others
    than this machine reach them.  Storage nodes listen on ``interface``; clients find them at ``host``, the
    daemon at ``inside``.
    """

    public: str
    admin: str
    others_read: bool
    others_operate: bool
    interface: str
    host: str
    inside: str

    @property
    def takes_token(self) -> bool:
        return self.others_read or self.others_operate

    @property
    def scopes(self) -> Sequence[str]:
        """What the token is for."""
        return ("read", "list", "write", *(["admin"] if self.others_operate else []))


def reach(public: str, admin: str, host: str | None) -> Reach:
    """
    A TCP endpoint without an interface is on loopback.

    :raises StartError: nobody could find the storage nodes, or ``host`` is no name or address.
    """
    public, admin = _with_interface(public), _with_interface(admin)
    others_read, others_operate = not is_local(public), not is_local(admin)
    if host is not None and not (others_read or others_operate):
        raise StartError(f"--host {host} is for others than this machine, and none of them reaches {public}")
    # Where the operator said so, and then writing takes a token.
    interface = (interface_of(public) or "0.0.0.0") if others_read else "127.0.0.1"  # nosec B104
    if host is None:
        if others_read and interface in _WILDCARDS:
            raise StartError(
                f"{public} is every interface: say with --host NAME-OR-ADDRESS what clients call this machine, "
                "or name one interface"
            )
        host = interface
    elif not _is_host(host):
        raise StartError(f"--host {host}: expected a host name or an IP address, without a port")
    inside = _WILDCARDS.get(interface, interface)
    return Reach(public, admin, others_read, others_operate, interface, host, inside)


def _with_interface(where: str) -> str:
    if not where.startswith(("tcp:", "tcp4:", "tcp6:")) or "interface=" in where:
        return where
    loopback = r"\:\:1" if where.startswith("tcp6:") else "127.0.0.1"
    return f"{where}:interface={loopback}"


def _is_host(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return _HOST.fullmatch(text) is not None

"""
Clients of Dragonbelly: ``Client`` (blocking), ``AsyncClient`` (asyncio) and ``TwistedClient``, with the same
operations and the same errors (``dragonbelly.client.errors``).  ``Core`` has them with their docstrings.
``Signer`` signs URLs without asking.

``pip install 'dragonbelly[client]'``; the one for Twisted needs nothing more than the daemon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dragonbelly.client import errors
from dragonbelly.client.errors import Error
from dragonbelly.client.model import UNSET, Copies, Entry, File, Page, Replica
from dragonbelly.client.signer import Signer

if TYPE_CHECKING:
    from dragonbelly.client.asynchronous import AsyncClient, AsyncReader
    from dragonbelly.client.blocking import Client, Reader
    from dragonbelly.client.twisted import TwistedClient, TwistedReader

__all__ = (
    "UNSET",
    "AsyncClient",
    "AsyncReader",
    "Client",
    "Copies",
    "Entry",
    "Error",
    "File",
    "Page",
    "Reader",
    "Replica",
    "Signer",
    "TwistedClient",
    "TwistedReader",
    "errors",
)

_HOMES = {
    "Client": "blocking",
    "Reader": "blocking",
    "AsyncClient": "asynchronous",
    "AsyncReader": "asynchronous",
    "TwistedClient": "twisted",
    "TwistedReader": "twisted",
}


def __getattr__(name: str) -> Any:
    """Each kind is imported when it is asked for: one needs httpx, another Twisted."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise ModuleNotFoundError(
            f"{name} needs httpx: pip install 'dragonbelly[client]'", name="httpx"
        ) from None

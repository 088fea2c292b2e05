"""``dragonbelly backends``: which there are, and what a person says of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from dragonbelly.cli.admin import Admin, as_json
from dragonbelly.cli.server import Server, asks
from dragonbelly.cli.status import shown_backends
from dragonbelly.cli.terminal import confirm, count, message, printer, size
from dragonbelly.client.errors import NotFound

#: What becomes of a backend, and of what it ``{holds}``.
MEANINGS = {
    "alive": "It serves its {holds}, and takes files.",
    "readonly": "It serves its {holds}, and takes nothing new.",
    "drain": "Its {holds} are copied elsewhere, then removed from it after [delete] grace (15 min unless it "
    "is configured); it takes nothing new.  `dragonbelly backends` says drained when it is empty.",
    "down": "Nobody is sent to its {holds} for a while, unless no other copy can be reached; they still count "
    "as copies.  It takes nothing new.",
    "dead": "It is gone for good: its {holds} are WRITTEN OFF, and made again elsewhere from other copies.  "
    "What has no other copy is lost.",
}


@click.command(short_help="The storage servers; drain one, or say that it is dead.")
@click.argument("state", required=False, type=click.Choice(list(MEANINGS)))
@click.argument("name", required=False)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json_", is_flag=True, help="As JSON.")
@asks("admin")
def backends(server: Server, state: str | None, name: str | None, yes: bool, as_json_: bool) -> int:
    """
    List the backends; or say that the backend NAME is alive, readonly, drain, down or dead, after a question
    that says what it means.

    Exit status 1: the daemon says no, or you do.
    """
    if state is not None and name is None:
        raise click.UsageError(f"which backend is {state}?  Its NAME is missing")
    with server.admin() as daemon:
        if state is None or name is None:
            said = daemon.ask("GET", "backends")["backends"]
        else:
            confirm(f"{name}: {_meaning(daemon, name, state)}\nIs that meant?", yes)
            said = daemon.ask("PATCH", _resource(name), {"state": state})
            message(f"{name} is {said['state']}")
    if as_json_:
        click.echo(as_json(said))
    elif state is None:
        printer().print(shown_backends(said))
    return 0


def _resource(name: str) -> str:
    return f"backends/{quote(name, safe='')}"


def _meaning(daemon: Admin, name: str, state: str) -> str:
    """:raises NotFound: there is no such backend."""
    try:
        found: dict[str, Any] = daemon.ask("GET", _resource(name))
    except NotFound as error:
        found = error.problem
        if "objects" not in found:
            raise
        found["state"] = "not in the configuration"
    was = "" if found["state"] == "alive" else f"  Until now it is {found['state']}."
    return MEANINGS[state].format(holds=f"{count(found['objects'], 'object')} ({size(found['bytes'])})") + was

"""``dragonbelly status``: the whole in figures, once or live."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dragonbelly.cli.admin import as_json
from dragonbelly.cli.server import Server, asks
from dragonbelly.cli.terminal import Cropped, count, printer, size
from dragonbelly.client.errors import Unavailable
from dragonbelly.units import Duration

#: Seconds between two looks, unless it is said.
EVERY = 2.0

#: Damaged files that are named.
NAMED = 20

#: What stands out on a terminal.
_COLOURS = {"alive": "green", "up": "green", "dead": "red", "unreachable": "red", "full": "yellow"}


@click.command(short_help="Files, copies that are owed, and backends, in figures.")
@click.option(
    "--watch",
    metavar="[SECONDS]",
    type=click.FloatRange(min=0.1, max=3600),
    is_flag=False,
    flag_value=EVERY,
    help="Again and again, until Ctrl-C.",
)
@click.option("--json", "as_json_", is_flag=True, help="As JSON; with --watch an object a line.")
@asks("admin")
def status(server: Server, watch: float | None, as_json_: bool) -> int:
    """Files, copies that are owed, work that waits, and backends."""
    with server.admin() as daemon:
        if watch is not None:
            _watch(lambda: daemon.ask("GET", "status"), watch, as_json_)
        said = daemon.ask("GET", "status")
        some = {"limit": str(NAMED)}
        damaged = daemon.ask("GET", "damaged", query=some)["files"] if said["damaged"] and not as_json_ else []
    if as_json_:
        click.echo(as_json(said))
    else:
        printer().print(shown(said, damaged))
    return 0


def _watch(look: Any, every: float, as_json_: bool) -> None:
    """Until somebody interrupts it; a daemon may be away for a while."""
    console = printer()
    live = None
    if console.is_terminal and not as_json_:
        live = Live(console=Console(highlight=False), auto_refresh=False)
    try:
        if live is not None:
            live.start()
        while True:
            try:
                said = look()
                now: Any = shown(said)
            except Unavailable as error:
                if live is None:
                    click.echo(f"dragonbelly: {error}", err=True)
                said, now = None, Text(str(error), "red")
            if live is not None:
                live.update(Cropped(now), refresh=True)
            elif said is not None and as_json_:
                click.echo(as_json(said, indent=None))
            elif said is not None:
                console.print(now)
            time.sleep(every)
    finally:
        if live is not None:
            live.stop()


def shown(said: dict[str, Any], damaged: Sequence[dict[str, Any]] = ()) -> Group:
    """What the API says, for a person; ``damaged`` are some of the files without a good copy."""
    thin, queue = said["thin"], said["queue"]
    lines = Table.grid(padding=(0, 2))
    lines.add_row("files", f"{said['files']:,}")
    lines.add_row("copies", f"{said['objects']:,}, {size(said['bytes'])}")
    age = "" if thin["oldest_age"] is None else f", the oldest for {Duration(thin['oldest_age'])}"
    lines.add_row("too few copies", Text(f"{count(thin['files'], 'file')}{age}", _if(thin["files"], "yellow")))
    lines.add_row("damaged", Text(count(said["damaged"], "file"), _if(said["damaged"], "red")))
    for file in damaged:
        lines.add_row("", Text(f"{file['domain']}/{file['path']}", "red"))
    if (more := said["damaged"] - len(damaged)) > 0 and damaged:
        lines.add_row("", f"and {more:,} more")
    lines.add_row("to be looked at", f"{count(queue['depth'], 'file')}, {queue['overdue']:,} overdue")
    epoch = said["epoch"]
    if not epoch["agreed"]:
        waits = ", ".join(epoch["waits_for"]) or "nobody"
        told = (
            f"nothing is removed until they agree: {count(epoch['records'], 'record')} read, waits for {waits}"
        )
        lines.add_row("records, storage", Text(told, "yellow"))
    if said["unconfirmed"]:
        lines.add_row("writes", Text(f"answered with 503: {said['unconfirmed']}", "red"))
    return Group(lines, Text(), shown_backends(said["backends"]))


def _if(number: int, colour: str) -> str:
    return colour if number else ""


def shown_backends(backends: list[dict[str, Any]]) -> Group:
    """A table, and why those that are away are."""
    away = [
        Text(f"{b['name']}: {b['reason'].removeprefix(b['name'] + ': ')}", "red")
        for b in backends
        if b["reason"]
    ]
    return Group(_table(backends), *away)


def _table(backends: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("BACKEND", "HOST", "ZONE", "STATE", "SEEN"):
        table.add_column(name, no_wrap=True)
    for name in ("OBJECTS", "BYTES", "FREE"):
        table.add_column(name, justify="right", no_wrap=True)
    for b in backends:
        state = "drained" if b["drained"] else b["state"]
        table.add_row(
            Text(b["name"]),
            Text(b["host"]),
            Text(b["zone"]),
            Text(state, _COLOURS.get(state, "yellow")),
            Text(b["observed"], _COLOURS.get(b["observed"], "")),
            f"{b['objects']:,}",
            size(b["bytes"]),
            "?" if b["free"] is None else size(b["free"]),
        )
    return table

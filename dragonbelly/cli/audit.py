"""``dragonbelly audit``: begin a round of the audit and follow it, or see what the last ones found."""

from __future__ import annotations

import json
import time
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from dragonbelly.cli.admin import Admin
from dragonbelly.cli.server import Server, asks
from dragonbelly.cli.terminal import message
from dragonbelly.cli.terms import PREFIX
from dragonbelly.client.errors import Error, Unavailable

#: Seconds between two looks at a round, how long a daemon may be away meanwhile (it may be restarted), and how
#: long the findings are given to be checked when the round is over.
POLL, AWAY, SETTLE = 0.5, 60.0, 15.0

#: Files without a good copy that are named; how long a copy that a person brought back is given to be found.
NAMED, FOUND_AGAIN = 20, 5.0

NOTHING, FOUND, FAILED, INCOMPLETE = range(4)

GOES_ON = "the round goes on when a daemon runs again; see: dragonbelly audit"

#: No file without a good copy.
NONE: dict[str, Any] = {"total": 0, "files": []}


@click.command(short_help="Look at what is stored, or see what was found.")
@click.option("--now", is_flag=True, help="Begin a round, and follow it to its end.")
@click.option("--cancel", is_flag=True, help="Call the round off that somebody began with --now.")
@click.option("--no-read", is_flag=True, help="Sizes only: do not read all bytes.")
@click.option("--json", "as_json", is_flag=True, help="The round as JSON.")
@click.argument("prefix", default="", type=PREFIX)
@asks("admin")
def audit(server: Server, now: bool, cancel: bool, no_read: bool, as_json: bool, prefix: str) -> int:
    """
    Look at every copy that there is and at every object on the storage servers, or at those of which
    <domain>/<path> begins with PREFIX (the domain of make run is "default").  What is wrong is repaired from a
    good copy; what belongs to nothing is removed.  Without --now: what the last rounds found.

    Findings go to stdout, one a line: when, what, backend, file, and what became of it; then the files that
    have no good copy, up to 20.

    Exit status 0: nothing was found.  1: something was, or some file has no good copy.  2: it could not be
    done, or was called off.  3: nothing was found, but some storage servers did not answer, or a round is still
    under way.
    """
    if not now and (prefix or no_read):
        raise click.UsageError("PREFIX and --no-read go with --now")
    if cancel and now:
        raise click.UsageError("--cancel and --now do not go together")
    with server.admin() as daemon:
        try:
            if cancel:
                daemon.ask("DELETE", "audit")
                return NOTHING
            if not now:
                said = daemon.ask("GET", "audit")
                return _report(said, _damaged(daemon), as_json)
            begun = daemon.ask("POST", "audit", {"prefix": prefix, "read": not no_read})["asked"]
            round = _follow(daemon, begun)
            left = _damaged(daemon) if round["damaged"] else NONE
        except (Error, _Failed) as error:
            message(str(error))
            return FAILED
        except KeyboardInterrupt:
            click.echo("the audit goes on; see: dragonbelly audit", err=True)
            return 130
    if as_json:
        click.echo(json.dumps(round, indent=2))
    else:
        _print_findings(round)
        _print_damaged(left)
    click.echo(_sum(round), err=True)
    if round["damaged"]:
        click.echo(f"files that have no good copy now: {left['total']}", err=True)
    return _status(round)


class _Failed(Exception):
    """The message is for the person."""


def _patiently(daemon: Admin, resource: str, query: dict[str, str] | None = None) -> Any:
    """What it shows, though it may be restarted meanwhile: a round is under way."""
    until = time.monotonic() + AWAY
    while True:
        try:
            return daemon.ask("GET", resource, query=query)
        except Unavailable as error:
            if time.monotonic() > until:
                raise _Failed(f"{error}; {GOES_ON}") from None
            time.sleep(POLL)


def _follow(daemon: Admin, begun: dict[str, Any]) -> dict[str, Any]:
    """The round at its end."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("files", total=None)
        waited = None
        while True:
            said = _patiently(daemon, "audit")
            round: dict[str, Any] = said["asked"]
            if round["number"] != begun["number"]:
                raise _Failed("somebody else began another audit meanwhile")
            if round["called_off"]:
                raise _Failed("the audit was called off")
            copies = f"{round['copies']} copies, {round['objects']} objects, {round['found']} findings; files"
            progress.update(task, description=copies, completed=round["files"], total=round["files_total"])
            if round["ended"]:
                break
            waits = said.get("waits")
            if waits and waits != waited:
                progress.console.print(
                    f"the audit waits {waits}", markup=False, highlight=False, soft_wrap=True
                )
            waited = waits
            time.sleep(POLL)
        until = time.monotonic() + SETTLE
        while any(f["outcome"] == "doubted" for f in round["findings"]) and time.monotonic() < until:
            progress.update(task, description="findings are being checked")
            time.sleep(POLL)
            round = _patiently(daemon, "audit")["asked"]
        until = time.monotonic() + FOUND_AGAIN
        while round["damaged"] and _damaged(daemon)["total"] and time.monotonic() < until:
            progress.update(task, description="good copies are being looked for")
            time.sleep(POLL)
    return round


def _damaged(daemon: Admin) -> dict[str, Any]:
    """How many files have no good copy, and which, up to ``NAMED``."""
    said: dict[str, Any] = _patiently(daemon, "damaged", {"limit": str(NAMED)})
    return said


def _report(said: Any, damaged: dict[str, Any], as_json: bool) -> int:
    """The last rounds, and the files without a good copy as they are now."""
    if as_json:
        click.echo(json.dumps({**said, "damaged": damaged}, indent=2))
    statuses = []
    for kind in ("regular", "asked"):
        round = said[kind]
        if round is None or round["number"] == 0:
            continue
        waits = said.get("waits")
        if round["called_off"]:
            state = f"called off {round['ended']}"
        elif round["ended"]:
            state = f"ended {round['ended']}"
        else:
            state = f"under way since {round['started']}" + (f", waits {waits}" if waits else "")
        click.echo(f"{kind} {round['number']}, {state}: {_sum(round)}", err=True)
        if not as_json:
            _print_findings(round)
        statuses.append(_status(round))
    if not statuses:
        click.echo("there was no round yet; dragonbelly audit --now begins one", err=True)
    if damaged["total"]:
        click.echo(f"files that have no good copy now: {damaged['total']}", err=True)
        statuses.append(FOUND)
        if not as_json:
            _print_damaged(damaged)
    return max(statuses, key=(NOTHING, INCOMPLETE, FAILED, FOUND).index, default=NOTHING)


def _print_findings(round: dict[str, Any]) -> None:
    for f in round["findings"]:
        click.echo(
            f"{f['at']}  {f['what']:<7}  {f['backend'] or '-'}  {f['domain']}/{f['path']}  {f['outcome']}"
        )


def _print_damaged(damaged: dict[str, Any]) -> None:
    """In the columns of the findings; there is no more to say of when, and of which copy."""
    for file in damaged["files"]:
        click.echo(f"-  damaged  -  {file['domain']}/{file['path']}  no good copy")
    if (more := damaged["total"] - len(damaged["files"])) > 0:
        click.echo(f"and {more} more: GET /-/api/v1/damaged", err=True)


def _sum(round: dict[str, Any]) -> str:
    text = (
        f"{round['copies']} copies of {round['files']} files and {round['objects']} objects were looked at, "
        f"{round['found']} findings"
    )
    if round["found"] > len(round["findings"]):
        text += f" (the last {len(round['findings'])} are kept)"
    if round["damaged"]:
        text += f"; {round['damaged']} files had no good copy before"
    if round["copies_unknown"]:
        text += f"; {round['copies_unknown']} copies could not be looked at"
    if round["backends_skipped"]:
        text += f"; not walked: {', '.join(round['backends_skipped'])}"
    return text


def _status(round: dict[str, Any]) -> int:
    if round["found"] or round["damaged"]:
        return FOUND
    if round["called_off"]:
        return FAILED
    complete = round["ended"] and not round["copies_unknown"] and not round["backends_skipped"]
    return NOTHING if complete else INCOMPLETE

"""``dragonbelly audit``: begin a round of the audit and follow it, or see what the last ones found."""

from __future__ import annotations

import json
import time
from typing import Any

import click
import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

#: Seconds between two looks at a round, how long a daemon may be away meanwhile (it may be restarted), and how
#: long the findings are given to be checked when the round is over.
POLL, AWAY, SETTLE = 0.5, 60.0, 15.0

NOTHING, FOUND, FAILED, INCOMPLETE = range(4)


@click.command(short_help="Look at what is stored, or see what was found.")
@click.option("--now", is_flag=True, help="Begin a round, and follow it to its end.")
@click.option("--no-read", is_flag=True, help="Sizes only: do not read all bytes.")
@click.option(
    "--url",
    envvar="DRAGONBELLY_URL",
    default="http://127.0.0.1:8081",
    show_default=True,
    help="The admin listener of a daemon; also $DRAGONBELLY_URL.",
)
@click.option("--json", "as_json", is_flag=True, help="The round as JSON.")
@click.argument("prefix", default="")
def audit(now: bool, no_read: bool, url: str, as_json: bool, prefix: str) -> int:
    """
    Look at every copy that there is and at every object on the storage servers, or at those of which
    <domain>/<path> begins with PREFIX.  What is wrong is repaired from a good copy; what belongs to nothing is
    removed.  Without --now: what the last rounds found.

    Findings go to stdout, one a line: when, what, backend, file, and what became of it.

    Exit status 0: nothing was found.  1: something was.  2: it could not be done, or was called off.  3:
    nothing was found, but some storage servers did not answer, or a round is still under way.
    """
    if not now and (prefix or no_read):
        raise click.UsageError("PREFIX and --no-read go with --now")
    try:
        client = httpx.Client(base_url=url.rstrip("/"), timeout=30.0)
    except httpx.InvalidURL as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    with client:
        daemon = _Daemon(client)
        try:
            if not now:
                return _report(daemon.ask("GET"), as_json)
            begun = daemon.ask("POST", {"prefix": prefix, "read": not no_read})["asked"]
            round = _follow(daemon, begun)
        except _Failed as error:
            click.echo(f"dragonbelly: {error}", err=True)
            return FAILED
        except KeyboardInterrupt:
            click.echo("the audit goes on; see: dragonbelly audit", err=True)
            return 130
    if as_json:
        click.echo(json.dumps(round, indent=2))
    else:
        _print_findings(round)
    click.echo(_sum(round), err=True)
    return _status(round)


class _Failed(Exception):
    """The message is for the person."""


class _Away(_Failed):
    """It may be back in a moment."""


class _Daemon:
    """Whom we ask."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def ask(self, method: str, body: object = None) -> Any:
        """:raises _Failed: it does not answer, or says no."""
        try:
            answer = self._client.request(method, "/-/api/v1/audit", json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _Away(f"no daemon answers at {self._client.base_url}: {error}") from None
        try:
            said = answer.json()
        except ValueError:
            raise _Failed(f"{self._client.base_url} answers {answer.status_code}, and is no daemon") from None
        if answer.status_code == 503:
            raise _Away(_detail(said))
        if not answer.is_success:
            raise _Failed(_detail(said))
        return said

    def patiently(self) -> Any:
        """The same, though it may be restarted meanwhile."""
        until = time.monotonic() + AWAY
        while True:
            try:
                return self.ask("GET")
            except _Away:
                if time.monotonic() > until:
                    raise
                time.sleep(POLL)


def _detail(said: Any) -> str:
    return str(said.get("detail") or said.get("title")) if isinstance(said, dict) else str(said)


def _follow(daemon: _Daemon, begun: dict[str, Any]) -> dict[str, Any]:
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
            said = daemon.patiently()
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
            round = daemon.patiently()["asked"]
    return round


def _report(said: Any, as_json: bool) -> int:
    """The last rounds."""
    if as_json:
        click.echo(json.dumps(said, indent=2))
    statuses = [NOTHING]
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
    if len(statuses) == 1:
        click.echo("there was no round yet; dragonbelly audit --now begins one", err=True)
    return max(statuses, key=(NOTHING, INCOMPLETE, FAILED, FOUND).index)


def _print_findings(round: dict[str, Any]) -> None:
    for f in round["findings"]:
        click.echo(
            f"{f['at']}  {f['what']:<7}  {f['backend'] or '-'}  {f['domain']}/{f['path']}  {f['outcome']}"
        )


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

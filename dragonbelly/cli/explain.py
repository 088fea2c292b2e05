"""``dragonbelly explain``: why a file is where it is, and what will become of it, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from dragonbelly.cli.admin import as_json
from dragonbelly.cli.server import Server, asks
from dragonbelly.cli.terminal import count, size
from dragonbelly.cli.terms import PATH
from dragonbelly.units import Duration


@click.command(short_help="Which rule and copy, what comes next and when, and why.")
@click.argument("path", type=PATH)
@click.option("--json", "as_json_", is_flag=True, help="As JSON.")
@asks("admin")
def explain(server: Server, path: str, as_json_: bool) -> int:
    """
    Say of the file PATH which rule and policy apply, which copy a GET would get and why, what the replicator
    will do next, and when.
    """
    query = {"path": path.removeprefix("/")}
    with server.admin() as daemon:
        if daemon.chosen is not None:
            query["domain"] = daemon.chosen
        said = daemon.ask("GET", "explain", query=query)
    if as_json_:
        click.echo(as_json(said))
        return 0
    for title, lines in told(said):
        click.echo(click.style(title, bold=True))
        for line in lines or ["nothing"]:
            click.echo(f"  {line}")
    return 0


def told(said: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """What the API says: titles, and lines below each."""
    yield (
        f"{said['path']} in the domain {said['domain']}: {said['state']}, {size(said['size'])}, version "
        f"{said['version']}",
        list(_standing(said)),
    )
    yield "Policy", list(_policy(said["policy"]))
    yield "Copies", [_replica(replica) for replica in said["replicas"]]
    yield "A GET", list(_get(said["get"]))
    if said["uploads"]:
        yield "Uploads under way", [_upload(upload) for upload in said["uploads"]]
    yield "What the replicator does next", list(_next(said["next"]))


def _standing(said: dict[str, Any]) -> Iterator[str]:
    copies = said["copies"]
    asked = "" if copies["asked"] is None else f", {copies['asked']} were asked for"
    enough = "that is enough" if copies["enough"] else "too few"
    yield f"{count(copies['held'], 'good copy', 'good copies')} of {copies['owed']}: {enough}{asked}"
    if copies["possible"] < copies["owed"]:
        yield f"only {copies['possible']} are possible with the servers there are"
    if said["damaged"]:
        yield "damaged: no copy is known to be good; every byte that is left is kept"
    if said["thin_since"] is not None:
        yield f"too few copies since {said['thin_since']}"


def _policy(policy: dict[str, Any]) -> Iterator[str]:
    options = ", ".join(f"{name} = {value}" for name, value in policy["options"].items())
    yield f"{policy['name']} ({policy['kind']}: {options}): {policy['why']}"
    if policy["unknown"] is not None:
        yield f"the file asks for {policy['unknown']}, which there is not (any more)"


def _replica(replica: dict[str, Any]) -> str:
    server = replica["backend_state"] or "not in the configuration"
    if replica["backend_observed"] not in (None, "up"):
        server += f", {replica['backend_observed']}"
    text = f"{replica['backend']} ({server}): {replica['state']}"
    if replica["version_state"] != "live":
        text += f", of the {replica['version_state']} version {replica['version']}"
    if replica["since"] is not None:
        text += f", since {replica['since']}"
    return text + (f"; readers are not sent there: {replica['why_not']}" if replica["why_not"] else "")


def _get(get: dict[str, Any]) -> Iterator[str]:
    yield f"is answered with {get['status']}: {get['why']}"
    for candidate in get["candidates"]:
        chance = f"{candidate['chance']:.0%}" if candidate["chance"] else "only if nothing better is left"
        yield f"{candidate['backend']}, {chance}: {candidate['url'] or 'it cannot be read there'}"
    if get["looks_for"]:
        yield f"before, it looks whether these uploads have arrived: {', '.join(get['looks_for'])}"


def _upload(upload: dict[str, Any]) -> str:
    where = ", ".join(upload["backends"]) or "nowhere"
    reason = "" if upload["reason"] is None else f" ({upload['reason']})"
    return (
        f"{upload['upload']}, {upload['state']}{reason}, {size(upload['size'])}, to {where}; accepted "
        f"{upload['accepted']}, lapses {upload['expires']}"
    )


def _next(next: dict[str, Any]) -> Iterator[str]:
    for act in (*next["moves"], *next["steps"]):
        yield act["text"]
    for wait in next["waits"]:
        where = "" if wait["backend"] is None else f" for {wait['backend']}"
        yield f"wait{where}: {wait['why']}"
    if next["due"] is not None:
        tried = f", after {count(next['tries'], 'try', 'tries')}" if next["tries"] else ""
        yield f"it is looked at {_when(next['due'])}{tried}"
    elif next["moves"] or next["steps"]:
        yield "it is not queued: the sweep that looks at all files finds it"
    if next["changes"] is not None:
        yield f"time alone changes what is to be done {_when(next['changes'])}"


def _when(moment: dict[str, Any]) -> str:
    """``{at, in}``: a time, and the seconds until then."""
    left = round(moment["in"])
    return f"in {Duration(left)}, {moment['at']}" if left > 0 else f"now (due since {moment['at']})"

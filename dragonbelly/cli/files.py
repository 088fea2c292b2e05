"""``dragonbelly info``, ``set``, ``sign`` and ``rm``: single files, and what they ask for."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import click
import msgspec

from dragonbelly.cli.listing import entries
from dragonbelly.cli.parallel import Share, Work
from dragonbelly.cli.server import Server, asks
from dragonbelly.cli.terminal import confirm, count, message, size
from dragonbelly.cli.terms import COPIES, NONE, PATH, Amount, Moment, OrNone, attributes
from dragonbelly.client import UNSET, File
from dragonbelly.client.errors import NotFound
from dragonbelly.signing import Method
from dragonbelly.units import Duration, Size


@click.command(short_help="All about a file.")
@click.argument("path", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@asks("url")
def info(server: Server, path: str, as_json: bool) -> int:
    """All about the file PATH, and where its copies are."""
    with server.client() as client:
        file = client.stat(path)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(file)))
    else:
        click.echo("\n".join(about(file)))
    return 0


def about(file: File) -> list[str]:
    """A file, a line for each thing."""
    copies = file.copies
    named: list[tuple[str, Any]] = [
        ("path", file.path),
        ("domain", file.domain),
        ("url", file.url),
        ("version", file.version),
        ("state", file.state + (", damaged: no copy is known to be good" if file.damaged else "")),
        ("size", "not known" if file.size is None else f"{file.size} bytes"),
        ("type", file.content_type),
        ("sha256", file.sha256),
        ("created", _time(file.created)),
        ("expires", _time(file.expires)),
        ("policy", file.policy),
        ("copies", f"{copies.held} of {copies.owed}" + ("" if copies.enough else ", too few")),
        ("too few since", _time(file.thin_since)),
        *(("attribute", f"{name}={value}") for name, value in file.attributes.items()),
        *(("copy", f"{r.backend}, {r.state}" + (f"  {r.url}" if r.url else "")) for r in file.replicas),
    ]
    return [f"{name:<14} {value}" for name, value in named if value is not None]


def _time(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"


@click.command("set", short_help="Change what a file asks for.")
@click.argument("path", type=PATH)
@click.option("--copies", metavar="N|none", type=OrNone(COPIES), help="How many copies are owed.")
@click.option(
    "--attr", metavar="NAME=VALUE", multiple=True, help="An attribute; NAME= removes it; may be repeated."
)
@click.option("--policy", metavar="NAME|none", type=OrNone(click.STRING), help="The replication policy.")
@click.option(
    "--expires", metavar="TIME|none", type=OrNone(Moment()), help="RFC 3339, or a duration such as 30d."
)
@asks("url")
def set_(server: Server, path: str, copies: Any, attr: tuple[str, ...], policy: Any, expires: Any) -> int:
    """Change what the file PATH asks for; none takes a value away, and what is not named stays."""
    asked = {"copies": copies, "policy": policy, "expires": expires}
    change = {name: None if value is NONE else value for name, value in asked.items() if value is not None}
    changed = {name: value or None for name, value in attributes(attr).items()}
    if not change and not changed:
        raise click.UsageError("nothing is to be changed: --copies, --attr, --policy, --expires")
    with server.client() as client:
        client.set(path, attributes=changed or UNSET, **change)
    return 0


@click.command(short_help="A URL that gives access to a file for a while.")
@click.argument("path", type=PATH)
@click.option(
    "--method",
    type=click.Choice(["GET", "PUT"]),
    default="GET",
    show_default=True,
    help="To read it, or to upload it.",
)
@click.option(
    "--expires-in",
    metavar="DURATION",
    type=Amount(Duration),
    default="1h",
    show_default=True,
    help="At least so long, 7d at most.",
)
@click.option("--max-size", metavar="SIZE", type=Amount(Size), help="What an upload may have, such as 10MB.")
@click.option("--type", "media_type", metavar="TYPE", help="The media type that an upload must have.")
@asks("url")
def sign(
    server: Server, path: str, method: Method, expires_in: int, max_size: int | None, media_type: str | None
) -> int:
    """
    Print a URL with which anybody may read the file PATH, or with --method PUT upload it.  You need not have
    the key, but the right to do that yourself.
    """
    with server.client() as client:
        url = client.sign(path, method, expires_in=expires_in, max_size=max_size, content_type=media_type)
    click.echo(url)
    return 0


@click.command(short_help="Delete files.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=PATH)
@click.option("-r", "recursive", is_flag=True, help="And all below each PATH.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option(
    "--jobs", metavar="N", type=click.IntRange(1, 64), default=16, show_default=True, help="At a time."
)
@asks("url")
def rm(server: Server, paths: tuple[str, ...], recursive: bool, yes: bool, jobs: int) -> int:
    """Delete each PATH; with -r all that is below, when you said yes to their number."""
    failed = 0
    with server.client() as client:
        names = list(paths)
        if recursive:
            names, bytes = [], 0
            for path in paths:
                before = len(names)
                for entry in entries(client, path):
                    names.append(entry.path)
                    bytes += entry.size or 0
                if len(names) == before:
                    message(f"there is nothing at {path or '/'}")
                    failed += 1
            if names:
                confirm(f"Delete {count(len(names), 'file')} ({size(bytes)}) at {server.url}?", yes)

        def do(name: str, share: Share) -> None:
            try:
                client.delete(name)
            except NotFound:
                if not recursive:  # somebody else was first
                    raise

        work: Work[str] = Work(
            do, lambda name, error: message(f"{name}: {server.told(error)}"), jobs, threading.Event()
        )
        work.all(dict.fromkeys(names))
    return 1 if failed or work.failures else 0

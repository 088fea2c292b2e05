"""``dragonbelly ls``, and what is below a path."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
import msgspec

from dragonbelly.cli.server import Server, asks
from dragonbelly.cli.terms import PREFIX
from dragonbelly.client import Client, Entry
from dragonbelly.client.errors import NotFound


def below(client: Client, path: str, delimiter: str = "") -> Iterator[Entry | str]:
    """The file of that path, and all whose path begins with it and a slash; all, if it is empty."""
    path = path.removeprefix("/")
    if path and not path.endswith("/"):
        try:
            yield client.stat(path)
        except NotFound as error:
            if error.problem.get("title") == "Unknown domain":
                raise
        path += "/"
    yield from client.list(path, delimiter)


def entries(client: Client, path: str) -> Iterator[Entry]:
    """The same without a delimiter."""
    for item in below(client, path):
        assert isinstance(item, Entry)
        yield item


@click.command(short_help="List files.")
@click.argument("prefix", default="", type=PREFIX)
@click.option("-l", "long", is_flag=True, help="With size in bytes, time, and media type.")
@click.option("-r", "recursive", is_flag=True, help="All below, not one level.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
@asks("url")
def ls(server: Server, prefix: str, long: bool, recursive: bool, as_json: bool) -> int:
    """
    List what lies below PREFIX (a path; its slash at the end may be left out), or everything.  What ends with /
    has more below it.

    Exit status 1: there is nothing.
    """
    found = False
    with server.client() as client:
        for item in below(client, prefix, "" if recursive else "/"):
            found = True
            if as_json:
                line = _as_json(item)
            else:
                line = _long(item) if long else item if isinstance(item, str) else item.path
            sys.stdout.write(line + "\n")
    if prefix and not found:
        click.echo(f"dragonbelly: there is nothing at {prefix}", err=True)
        return 1
    return 0


def _as_json(item: Entry | str) -> str:
    if isinstance(item, str):
        return msgspec.json.encode({"prefix": item}).decode()
    return msgspec.json.encode({name: getattr(item, name) for name in Entry.__struct_fields__}).decode()


def _long(item: Entry | str) -> str:
    if isinstance(item, str):
        return f"{'-':>15}  {'-':20}  {'-':24}  {item}"
    size = "?" if item.size is None else str(item.size)
    return f"{size:>15}  {item.created:%Y-%m-%dT%H:%M:%SZ}  {item.content_type or '-':24}  {item.path}"

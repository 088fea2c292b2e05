"""The words of a command line: paths, and what a file can ask for."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from dragonbelly.cli.terminal import printable
from dragonbelly.units import Duration, Size


class StoredPath(click.ParamType[str]):
    """A path in Dragonbelly.  An empty one is a variable that was not set, and never means everything."""

    name = "path"

    def __init__(self, may_be_empty: bool = False) -> None:
        self._may_be_empty = may_be_empty

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise click.BadParameter(f"{printable(value)} is not UTF-8", context, param) from None
        if not value and not self._may_be_empty:
            raise click.BadParameter("it is empty; / is all there is", context, param)
        return str(value)


class Moment(click.ParamType[Any]):
    """An RFC 3339 time, or how long from now on."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        if isinstance(value, datetime):
            return value
        try:
            if re.fullmatch(r"[0-9.]+(ms|d|h|m|s).*", value):
                return datetime.now(UTC) + timedelta(seconds=Duration.parse(value))
            parsed = datetime.fromisoformat(value)
            if parsed.tzinfo is not None:
                return parsed.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        expected = "a time such as 2030-01-31T00:00:00Z or a duration such as 30d was expected"
        raise click.BadParameter(f"{expected}, not {value!r}", context, param)


class Amount(click.ParamType[int]):
    """A duration in whole seconds or a size in bytes, written as in the configuration."""

    def __init__(self, type_: type[Duration] | type[Size]) -> None:
        self.name = type_.__name__.lower()
        self._type = type_

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int:
        try:
            return int(self._type.parse(int(value) if str(value).isdigit() else value))
        except ValueError as error:
            raise click.BadParameter(f"{error} was expected, not {value!r}", context, param) from None


class OrNone(click.ParamType[Any]):
    """What another type takes, or ``none``: which takes the value away."""

    def __init__(self, type: click.ParamType[Any]) -> None:
        self.name = f"{type.name}|none"
        self._type = type

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        return NONE if value in ("none", NONE) else self._type.convert(value, param, context)


#: A value that is to be taken away; None is one that was not given.
NONE = object()

PATH, PREFIX = StoredPath(), StoredPath(may_be_empty=True)

COPIES = click.IntRange(1, 100)


def attributes(given: tuple[str, ...]) -> dict[str, str]:
    """:raises click.BadParameter:"""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"NAME=VALUE was expected, not {text!r}", param_hint="--attr")
        if name in found:
            raise click.BadParameter(f"{name} is given twice", param_hint="--attr")
        found[name] = value
    return found

"""
From TOML to values, key by key, so that a mistake is told by file, key, what was found and what was expected.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, MutableMapping
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from dragonbelly.config.values import one_line, without_login
from dragonbelly.errors import ConfigError
from dragonbelly.secret import EXPECTED, Secret, read_secret
from dragonbelly.units import Duration, Size

S = TypeVar("S", bound=msgspec.Struct)

#: Where a value stands: names of tables and keys, and indices into arrays.
Key = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_CONFIDENTIAL = re.compile(r"secret|passw|token|key|credential", re.IGNORECASE)
#: Keys of a token and of a signing key that are none.
_PUBLIC = ("name", "id", "scopes", "domains", "prefixes")
_LONGEST = 80


class Reader:
    """Reads one file's tables into Structs.  ``secrets``: see ``dragonbelly.config.loads``."""

    def __init__(self, filename: str, secrets: MutableMapping[str, bytes] | None = None) -> None:
        self._filename = filename
        self._secrets = secrets if secrets is not None else {}

    def document(self, text: str) -> dict[str, Any]:
        """The whole file, as TOML."""
        try:
            return tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{self._filename}: this is not TOML: {one_line(error)}") from error

    def mistake(self, key: Key, found: object, expected: str) -> ConfigError:
        """``found`` is a value of the file, shown as there (unless it is confidential)."""
        return self.wrong(key, f"found {_shown(key, found)}, expected {expected}")

    def wrong(self, key: Key, what: str) -> ConfigError:
        return ConfigError(f"{self._filename}: {dotted(key)}: {one_line(what)}")

    def unknown(self, key: Key, known: Iterable[str]) -> ConfigError:
        """A key that nobody reads."""
        return self.wrong(key, f"found an unknown key, expected {choice(key[-1], known)}")

    def table(self, found: object, key: Key) -> dict[str, Any]:
        if not isinstance(found, dict):
            raise self.mistake(key, found, f"a table, [{dotted(key)}]")
        return found

    def struct(self, type_: type[S], found: object, key: Key, also: Iterable[str] = ()) -> S:
        """
        ``found`` as a ``type_``.  Keys that the type does not have are mistakes, but for those in ``also``,
        which somebody else reads.

        :raises ConfigError: with all its mistakes, a line each.
        """
        table = self.table(found, key)
        fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}
        mistakes = [
            self.unknown((*key, name), [*fields, *also])
            for name in table
            if name not in fields and name not in also
        ]
        values = {}
        for name, field in fields.items():
            try:
                if name in table:
                    values[field.name] = self.value(field.type, table[name], (*key, name))
                elif field.required:
                    raise self.wrong((*key, name), f"found nothing, expected {describe(field.type)}")
            except ConfigError as mistake:
                mistakes.append(mistake)
        if mistakes:
            raise ConfigError("\n".join(map(str, mistakes)))
        try:
            return type_(**values)
        except (ValueError, TypeError) as error:  # from the type's own __post_init__
            raise self.wrong(key, str(error)) from error

    def value(self, type_: Any, found: object, key: Key) -> Any:
        """``found`` as a value of any type that a Struct's field may have."""
        plain = _without_none(type_)
        if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
            return self.struct(plain, found, key)
        if get_origin(plain) is tuple and get_args(plain)[1:] == (...,) and isinstance(found, list):
            return tuple(self.value(get_args(plain)[0], item, (*key, i)) for i, item in enumerate(found))
        try:
            return msgspec.convert(found, type_, dec_hook=self._decode)
        except msgspec.ValidationError as error:
            told = isinstance(error.__cause__, ValueError)
            expected = str(error.__cause__) if told else describe(plain)
            inside = f" ({error})" if isinstance(found, list | dict) and not told else ""
            raise self.mistake(key, found, expected + inside) from error

    def _decode(self, type_: type, found: object) -> object:
        if issubclass(type_, Secret):
            return type_.parse(found, self._read_secret)
        if issubclass(type_, Duration | Size):
            return type_.parse(found)
        raise NotImplementedError(f"an option of type {type_}")

    def _read_secret(self, path: Path) -> bytes:
        if str(path) not in self._secrets:
            self._secrets[str(path)] = read_secret(path)
        return self._secrets[str(path)]


def dotted(key: Key) -> str:
    """A key as it is written in the file: ``backend.store1.url``, ``domain.media.rules[0].type``."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else json.dumps(part))
    return text


def choice(found: object, known: Iterable[str]) -> str:
    """What could have been meant: ``one of x, y (did you mean y?)``."""
    names = sorted(set(known))
    near = get_close_matches(str(found), names, n=1)
    listed = "one of " + ", ".join(names) if names else "none at all"
    return f"{listed} (did you mean {near[0]}?)" if near else listed


def describe(type_: Any) -> str:
    """A type in the operator's words."""
    type_ = _without_none(type_)
    if get_origin(type_) is Annotated:
        base, *notes = get_args(type_)
        return describe(base) + "".join(_limits(note) for note in notes if isinstance(note, msgspec.Meta))
    if get_origin(type_) is Literal:
        *most, last = (json.dumps(value) for value in get_args(type_))
        return f"{', '.join(most)} or {last}" if most else last
    if get_origin(type_) in (tuple, list):
        return f"an array, each item {describe(get_args(type_)[0])}"
    if get_origin(type_) is dict:
        return f"a table, each value {describe(get_args(type_)[1])}"
    if isinstance(type_, type):
        if issubclass(type_, Duration | Size):
            return type_.EXPECTED
        if issubclass(type_, Secret):
            return EXPECTED
        if issubclass(type_, msgspec.Struct | dict):
            return "a table"
    words = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}
    return words.get(type_, str(type_))


def _limits(meta: msgspec.Meta) -> str:
    words = {
        "ge": "at least",
        "gt": "more than",
        "le": "at most",
        "lt": "less than",
        "pattern": "matching",
        "min_length": "of a length of at least",
        "max_length": "of a length of at most",
    }
    given = ((text, getattr(meta, name)) for name, text in words.items())
    return "".join(f", {text} {value}" for text, value in given if value is not None)


def _without_none(type_: Any) -> Any:
    """The type of an option that may be left out: TOML has no null."""
    if get_origin(type_) in (Union, UnionType):
        others = [arg for arg in get_args(type_) if arg is not type(None)]
        return others[0] if len(others) == 1 else type_
    return type_


def _shown(key: Key, found: object) -> str:
    """A value as in the file, in one line of a bounded length."""
    if isinstance(found, dict):
        return "a table"
    # The second name is that of a section's key, but for those that have a name of their own.
    own = key[2:] if key[0] in ("backend", "policy", "domain") else key
    names = [part for part in own if isinstance(part, str)]
    if any(map(_CONFIDENTIAL.search, names)) and names[-1] not in _PUBLIC:
        return "a value that is not shown here"
    if key == ("state", "redis"):
        # There may be a password in any part of a URL that is written wrong.
        scheme = re.match(r"[a-z]+://", str(found))
        return f'"{scheme[0] if scheme else ""}…"'
    try:
        text = json.dumps(found, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(found)
    if "://" in text:
        # What a URL may hold that is nobody's business: a login, and a signature in the query.
        text = re.sub(r"\?[^\"]*", "?…", without_login(text))
    # A login without the slashes, too.
    text = re.sub(r"[^\s\"/]*:[^\s\"]*@", "…@", text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"

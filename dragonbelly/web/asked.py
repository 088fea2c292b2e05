"""What is asked of the API: JSON bodies and query parameters, checked by type, with the field named."""

from __future__ import annotations

import re
from typing import TypeVar
from urllib.parse import parse_qs

import msgspec

from dragonbelly.errors import BadField, BadPath, BadRequest
from dragonbelly.names import check_name
from dragonbelly.web.message import Question

T = TypeVar("T")


class UploadAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST uploads``."""

    path: str
    size: int | None = None
    sha256: str | None = None
    content_type: str | None = None
    attributes: dict[str, str] = {}
    copies: int | None = None
    policy: str | None = None
    expires: str | None = None
    create_only: bool = False
    if_match: str | None = None


class CompleteAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST uploads/<id>/complete``."""

    path: str
    size: int | None = None
    sha256: str | None = None


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``PATCH files/<path>``: what is absent stays, ``null`` takes a value away."""

    attributes: dict[str, str | None] | msgspec.UnsetType | None = msgspec.UNSET
    copies: int | msgspec.UnsetType | None = msgspec.UNSET
    policy: str | msgspec.UnsetType | None = msgspec.UNSET
    expires: str | msgspec.UnsetType | None = msgspec.UNSET


def decode(body: bytes, type: type[T]) -> T:
    """:raises BadField: the body is JSON of another shape; names the field.  :raises BadRequest: no JSON."""
    try:
        return msgspec.json.decode(body or b"{}", type=type)
    except msgspec.ValidationError as error:
        text, _, where = str(error).partition(" - at ")
        unknown = re.search(r"unknown field `(.*)`|missing required field `(.*)`", text)
        field = where.strip("`").removeprefix("$.") or None
        if unknown:
            field = unknown[1] or unknown[2]
        raise BadField(text, field=field) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None


def file_name(path: str) -> str:
    """The name of a file that a field tells.  :raises BadField: it is none."""
    try:
        return check_name(path.removeprefix("/"))
    except BadPath as error:
        raise BadField(error.detail, field="path") from None


class Query:
    """The parameters of a query, each at most once, none unknown."""

    def __init__(self, question: Question, *known: str) -> None:
        try:
            text = (question.target.query or b"").decode("ascii")
            values = parse_qs(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict")
        except (UnicodeDecodeError, ValueError):
            raise BadRequest("the query cannot be understood") from None
        for name, given in values.items():
            if name not in known:
                raise BadField(f"no such parameter; there are: {', '.join(known) or 'none'}", field=name)
            if len(given) > 1:
                raise BadField("given more than once", field=name)
        self._values = {name: given[0] for name, given in values.items()}

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name, default)

    def number(self, name: str, default: int, most: int) -> int:
        text = self._values.get(name)
        if text is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > most:
            raise BadField(f"a whole number up to {most} was expected, not {text!r}", field=name)
        return int(text)

    def seconds(self, name: str, default: float, most: float) -> float:
        text = self._values.get(name)
        if text is None:
            return default
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?s?", text) or float(text.rstrip("s")) > most:
            raise BadField(f"seconds up to {most:g} were expected, not {text!r}", field=name)
        return float(text.rstrip("s"))

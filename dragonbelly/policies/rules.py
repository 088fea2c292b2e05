"""
Which policy a file falls under: the one it names itself, else that of the first rule of its domain that
matches, else the domain's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from mimetypes import MimeTypes
from typing import Literal, NamedTuple

import msgspec

from dragonbelly.config.values import Config, Rule
from dragonbelly.interfaces import IReplicationPolicy
from dragonbelly.model import Path

#: The policy of what belongs to no domain any more.
DEFAULT = "default"

#: Names told of, at most: they come from clients.
_TOLD = 1_000

# Python's own table and not the system's, so that all daemons guess the same.
_TYPES = MimeTypes().types_map[True]


def media_type(name: str, content_type: str | None) -> str | None:
    """``type/subtype`` in lower case, as announced or else as the name's extension suggests."""
    if content_type is not None:
        return content_type.partition(";")[0].strip().lower()
    stem, dot, extension = name.rpartition("/")[2].rpartition(".")
    return _TYPES.get(f".{extension.lower()}") if stem and dot else None


def path_glob(pattern: str) -> re.Pattern[str]:
    """``*`` and ``?`` stay within a segment, ``**`` does not; ``**/`` is also no directory at all."""
    parts = re.split(r"((?:(?<=/)|^)\*\*/|\*\*|\*|\?)", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part) or re.escape(part) for part in parts), re.DOTALL)


def type_glob(pattern: str) -> re.Pattern[str]:
    """``*`` is any text, in upper or lower case."""
    return re.compile(".*".join(map(re.escape, pattern.lower().split("*"))), re.DOTALL)


class _Matcher(NamedTuple):
    """A rule, compiled.  A condition on what is not known of a file does not hold."""

    rule: Rule
    match: re.Pattern[str] | None
    type: re.Pattern[str] | None

    def holds(self, name: str, media: str | None, size: int | None) -> bool:
        rule = self.rule
        return (
            (self.match is None or self.match.fullmatch(name) is not None)
            and (self.type is None or (media is not None and self.type.fullmatch(media) is not None))
            and (rule.larger is None or (size is not None and size > rule.larger))
            and (rule.smaller is None or (size is not None and size < rule.smaller))
        )


class Ruling(msgspec.Struct, frozen=True):
    """
    The name of a file's policy, and what decided: the file itself, a rule of its domain (``index`` counts from
    0), or the domain's default.
    """

    policy: str
    by: Literal["file", "rule", "domain"]
    index: int | None = None
    rule: Rule | None = None


class Rules:
    """
    The rules of all domains.  ``policies`` are the policies by name; ``unknown`` is told once of each policy
    that a file names and nobody has: its file is treated as if it named none.
    """

    def __init__(
        self,
        config: Config,
        policies: Mapping[str, IReplicationPolicy],
        unknown: Callable[[Path, str], None] = lambda path, named: None,
    ) -> None:
        self._policies = policies
        self._unknown = unknown
        self._told: set[str] = set()
        self._domains = {
            name: (domain.policy, [_compile(rule) for rule in domain.rules])
            for name, domain in config.domains.items()
        }

    def policy_for(
        self, path: Path, content_type: str | None, size: int | None, named: str | None = None
    ) -> IReplicationPolicy:
        """The policy of a file; ``named`` is the one that it asks for itself."""
        ruling = self.ruling(path, content_type, size, named)
        if named is not None and ruling.by != "file" and named not in self._told and len(self._told) < _TOLD:
            self._told.add(named)
            self._unknown(path, named)
        return self._policies[ruling.policy]

    def ruling(
        self, path: Path, content_type: str | None, size: int | None, named: str | None = None
    ) -> Ruling:
        """The same with what decided."""
        if named is not None and named in self._policies:
            return Ruling(named, "file")
        default, rules = self._domains.get(path.domain, (DEFAULT, []))
        media = media_type(path.name, content_type) if rules else None
        for index, matcher in enumerate(rules):
            if matcher.holds(path.name, media, size):
                return Ruling(matcher.rule.policy, "rule", index, matcher.rule)
        return Ruling(default, "domain")


def _compile(rule: Rule) -> _Matcher:
    return _Matcher(
        rule,
        path_glob(rule.match) if rule.match is not None else None,
        type_glob(rule.type) if rule.type is not None else None,
    )

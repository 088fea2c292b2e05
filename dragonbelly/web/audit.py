"""
The audit, for operators: begin a round, see how far it is and what it found, call it off; which files have no
good copy any more.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dragonbelly.config.values import Config
from dragonbelly.errors import BadField, BadPath, MethodNotAllowed
from dragonbelly.interfaces import IStateStore
from dragonbelly.model import Path, Version
from dragonbelly.names import check_name
from dragonbelly.replication.audit import AskedAudit, Audit
from dragonbelly.replication.audit_round import Finding, Round, outcome
from dragonbelly.web.announced import rfc3339
from dragonbelly.web.asked import Query, decode
from dragonbelly.web.message import Answer, Question, json_answer

#: Damaged files that are named: if nothing is said, and at most.
DAMAGED, DAMAGED_MAX = 1000, 10_000


class AuditAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST audit``: ``prefix`` is the beginning of ``<domain>/<path>``, empty for everything."""

    prefix: str = ""
    read: bool = True


class AuditApi:
    """The resource ``audit``."""

    def __init__(self, store: IStateStore, config: Config, regular: Audit, asked: AskedAudit) -> None:
        self._store = store
        self._domains = config.domains
        self._regular = regular
        self._asked = asked

    async def answer(self, question: Question) -> Answer:
        match question.method:
            case "GET" | "HEAD":
                return json_answer(
                    {
                        "asked": await self._show(await self._asked.last()),
                        "regular": await self._show(await self._regular.last()),
                        "waits": self._asked.waits(),
                    }
                )
            case "POST":
                asked = decode(question.body, AuditAsked)
                round = await self._asked.ask(self._prefix(asked.prefix), asked.read)
                return json_answer({"asked": await self._show(round)}, 202)
            case "DELETE":
                await self._asked.call_off()
                return Answer(204)
        raise MethodNotAllowed(f"{question.method} is not for audits", allow="GET, HEAD, POST, DELETE")

    async def damaged(self, question: Question) -> Answer:
        """The resource ``damaged``: files of which no copy is known to be good, in no order."""
        limit = Query(question, "limit").number("limit", DAMAGED, DAMAGED_MAX)
        paths = await self._store.damaged(limit)
        snapshots = await self._store.get_many(paths)
        return json_answer(
            {
                "total": (await self._store.counts()).damaged,
                "files": [
                    _damaged(path, snapshot.record.live)
                    for path, snapshot in zip(paths, snapshots, strict=True)
                    if snapshot is not None and snapshot.record is not None and snapshot.record.live is not None
                ],
            }
        )

    def _prefix(self, text: str) -> str:
        """With a slash after the domain, so that no other domain begins like it."""
        domain, _, prefix = text.removeprefix("/").partition("/")
        if not domain:
            return ""
        if domain not in self._domains:
            known = sorted(self._domains)
            raise BadField(
                f"a prefix begins with a domain, as in {known[0]}/{text.removeprefix('/')}; {domain!r} is "
                f"none, there are: {', '.join(known)}",
                field="prefix",
            )
        _check_beginning(prefix)
        return f"{domain}/{prefix}"

    async def _show(self, round: Round | None) -> dict[str, Any] | None:
        if round is None:
            return None
        paths = [Path.of_member(finding.path) for finding in round.findings]
        snapshots = await self._store.get_many(paths)
        return {
            "number": round.number,
            "prefix": round.prefix,
            "read": round.read,
            "started": rfc3339(round.started),
            "ended": rfc3339(round.ended),
            "called_off": round.called_off,
            "files": round.records,
            "files_total": round.total,
            "copies": round.replicas,
            "copies_unknown": round.unknown,
            "bytes": round.bytes,
            "damaged": round.damaged,
            "backends_walked": [name for name in round.walked if name not in round.skipped],
            "backends_skipped": round.skipped,
            "objects": round.objects,
            "objects_foreign": round.foreign,
            "found": round.found,
            "findings": [
                _finding(finding, outcome(finding, snapshot.record if snapshot is not None else None))
                for finding, snapshot in zip(round.findings, snapshots, strict=True)
            ],
        }


def _check_beginning(prefix: str) -> None:
    """:raises BadField: no path begins like that."""
    try:
        check_name(prefix)
    except BadPath:
        try:
            check_name(f"{prefix}x")  # its last segment may go on
        except BadPath as error:
            raise BadField(f"no path begins like that: {error.detail}", field="prefix") from None


def _damaged(path: Path, live: Version) -> dict[str, Any]:
    return {
        "domain": path.domain,
        "path": path.name,
        "version": live.id,
        "size": live.size,
        "replicas": [{"backend": r.backend, "state": r.state.name.lower()} for r in live.replicas],
    }


def _finding(finding: Finding, became: str) -> dict[str, Any]:
    path = Path.of_member(finding.path)
    return {
        "domain": path.domain,
        "path": path.name,
        "backend": finding.backend,
        "what": finding.what,
        "version": finding.version,
        "at": rfc3339(finding.at),
        "outcome": became,
    }

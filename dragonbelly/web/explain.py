"""
Why a file is where it is, and what will become of it: a pure function from what is known to what is shown.

The decisions are those of ``policies.rules``, ``cluster.choose`` and ``replication.plan``; here they are only
put into words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from dragonbelly.cluster.choose import tiers
from dragonbelly.config.values import PolicySection, Rule, plain
from dragonbelly.events import Condemned, Event, Expired, Found, Leaving, Lost, Placed, Removed, Thin
from dragonbelly.ids import created
from dragonbelly.model import (
    BackendState,
    BackendView,
    ClusterView,
    Observed,
    Path,
    Placement,
    Record,
    Replica,
    ReplicaState,
    Version,
)
from dragonbelly.policies.rules import Ruling
from dragonbelly.replication.plan import Check, Copy, Plan, Remove, Step, Verify
from dragonbelly.web.announced import rfc3339

R = ReplicaState


class Known(NamedTuple):
    """
    What an explanation rests on.  ``ruling``, ``policy`` and ``placement`` are those of the record's
    ``subject``, ``url`` tells where a replica of it is read; ``moves`` are committed first, then ``plan`` is
    left; ``due`` is in s from ``now`` (unix s), None: not queued.
    """

    path: Path
    record: Record
    cluster: ClusterView
    ruling: Ruling
    policy: PolicySection
    placement: Placement
    moves: tuple[Event, ...]
    plan: Plan
    due: float | None
    now: float
    url: Callable[[Replica], str | None]


def subject(record: Record) -> Version:
    """The version that is meant when a path is asked about: the live one, else the newest."""
    return record.live or record.versions[0]


def explain(known: Known) -> dict[str, Any]:
    """The answer, as JSON."""
    record, version = known.record, subject(known.record)
    return {
        "domain": known.path.domain,
        "path": known.path.name,
        "version": version.id,
        "state": version.state.name.lower(),
        "size": version.size,
        "content_type": version.content_type,
        "policy": _policy(known, version),
        "copies": {
            "owed": known.placement.owed,
            "held": len(version.in_state(R.GOOD)),
            "possible": known.placement.possible,
            "enough": known.placement.enough,
            "asked": version.asked.copies,
        },
        "damaged": record.damaged,
        "thin_since": rfc3339(record.thin_since),
        "replicas": [
            _replica(known, version, replica) for version in record.versions for replica in version.replicas
        ],
        "get": _get(known),
        "uploads": [_upload(version) for version in record.versions if version.upload is not None],
        "next": _next(known),
    }


# --- the policy ------------------------------------------------------------------------------------------


def _policy(known: Known, version: Version) -> dict[str, Any]:
    ruling, asked = known.ruling, version.asked.policy
    return {
        "name": known.policy.name,
        "kind": known.policy.kind,
        "options": msgspec.to_builtins(known.policy.options, enc_hook=plain),
        "by": ruling.by,
        "why": _why_policy(known.path.domain, ruling),
        "rule": None
        if ruling.rule is None
        else {"index": ruling.index, "text": _text(ruling.rule), **_conditions(ruling.rule)},
        # A policy that the file asks for, and nobody has (any more).
        "unknown": asked if ruling.by != "file" else None,
    }


def _why_policy(domain: str, ruling: Ruling) -> str:
    if ruling.by == "file":
        return "the file asks for it"
    if ruling.rule is None:
        return f"default of the domain {domain}"
    return f"domain.{domain}.rules[{ruling.index}]: {_text(ruling.rule)}"


def _text(rule: Rule) -> str:
    """A rule as it is written in the configuration."""
    given = {name: str(value) for name, value in _conditions(rule).items() if value is not None}
    for name in ("larger", "smaller"):
        if name in given:
            given[name] = str(getattr(rule, name))
    return ", ".join(f'{name} = "{value}"' for name, value in given.items())


def _conditions(rule: Rule) -> dict[str, Any]:
    return {
        "match": rule.match,
        "type": rule.type,
        "larger": None if rule.larger is None else int(rule.larger),
        "smaller": None if rule.smaller is None else int(rule.smaller),
    }


# --- readers ---------------------------------------------------------------------------------------------

#: What the tiers of ``cluster.choose`` have in common.
_TIERS = (
    "a good copy on a server that serves",
    "surplus, and whole until its grace ends: there is no good copy on a server that serves",
    "its server does not answer: there is nothing better",
    "its server was taken down: there is nothing better",
)

_NOT_READ = {
    R.MISSING: "the copy is not made yet",
    R.SUSPECT: "its bytes are doubted, and will be read again",
    R.LOST: "it is known not to be there",
    R.CONDEMNED: "it is being removed",
}


def _replica(known: Known, version: Version, replica: Replica) -> dict[str, Any]:
    backend = known.cluster.get(replica.backend)
    why_not = _why_not(known.record, version, replica, backend)
    if why_not is None and replica not in _first(version, known.cluster)[1]:
        why_not = _less_good(replica, backend)
    return {
        "version": version.id,
        "version_state": version.state.name.lower(),
        "backend": replica.backend,
        "state": replica.state.name.lower(),
        "since": rfc3339(replica.since or None),
        "host": backend.host if backend is not None else None,
        "zone": backend.zone if backend is not None else None,
        "backend_state": backend.state.name.lower() if backend is not None else None,
        "backend_observed": backend.observed.name.lower() if backend is not None else None,
        "counts": replica.state is R.GOOD and backend is not None and backend.counts,
        "readers": why_not is None,
        "why_not": why_not,
    }


def _why_not(record: Record, version: Version, replica: Replica, backend: BackendView | None) -> str | None:
    """Why nobody is ever sent there, as things are."""
    if version is not record.live:
        return "it is of a version that is not live"
    if backend is None:
        return f"there is no backend {replica.backend} in the configuration"
    if backend.state is BackendState.DEAD:
        return "the backend is dead"
    return _NOT_READ.get(replica.state)


def _less_good(replica: Replica, backend: BackendView | None) -> str:
    """Why readers are sent to others first."""
    if backend is not None and backend.state is BackendState.DOWN:
        return "the backend was taken down"
    if backend is not None and backend.observed is Observed.UNREACHABLE:
        return "the backend does not answer"
    return "it is surplus: there are good copies on other servers"


def _first(version: Version, cluster: ClusterView) -> tuple[int, list[Replica]]:
    """The tier that readers are sent to, and who is in it; none at all is one more tier, and empty."""
    ranked = tiers(version.replicas, cluster)
    return next(((n, replicas) for n, replicas in enumerate(ranked) if replicas), (len(ranked), []))


def _get(known: Known) -> dict[str, Any]:
    """What a GET would come to if it were asked now, and no upload had arrived."""
    record, live = known.record, known.record.live
    tier, best = _first(live, known.cluster) if live is not None else (0, [])
    if live is None:
        status, why = 404, "no version of it is live"
    elif record.damaged:
        status, why = 503, "no copy is known to be good"
    elif not best:
        status, why = 503, "no server that holds a copy can be reached"
    elif len(best) == 1:
        status, why = 302, _TIERS[tier]
    else:
        status, why = 302, f"one of {len(best)} at random, by weight: {_TIERS[tier]}"
    total = sum(known.cluster[replica.backend].weight for replica in best)
    candidates = []
    for n, replicas in enumerate(
        tiers(live.replicas, known.cluster) if live is not None and status == 302 else ()
    ):
        for replica in replicas:
            weight = known.cluster[replica.backend].weight
            candidates.append(
                {
                    "backend": replica.backend,
                    "url": known.url(replica),
                    "tier": n,
                    "weight": weight,
                    "chance": round(weight / total, 4) if n == tier else 0.0,
                }
            )
    return {
        "status": status,
        "why": why,
        "last_resort": status == 302 and tier > 0,
        "candidates": sorted(candidates, key=lambda c: (c["tier"], -c["weight"], c["backend"])),
        # It looks whether these have arrived before it chooses.
        "looks_for": [version.id for version in record.pending],
    }


def _upload(version: Version) -> dict[str, Any]:
    upload = version.upload
    assert upload is not None
    return {
        "upload": version.id,
        "state": version.state.name.lower(),
        "reason": upload.reason,
        "size": upload.size,
        "accepted": rfc3339(created(version.id)),
        "expires": rfc3339(upload.deadline),
        "backends": [replica.backend for replica in version.replicas],
    }


# --- the replicator --------------------------------------------------------------------------------------


def _next(known: Known) -> dict[str, Any]:
    plan = known.plan
    return {
        "moves": [_move(move) for move in known.moves],
        "steps": [_step(step) for step in plan.steps],
        "waits": [{"version": wait.id, "backend": wait.backend, "why": wait.why} for wait in plan.waits],
        "due": _moment(known, known.due),
        # When time alone will change what is to be done.
        "changes": _moment(known, plan.due),
        "tries": known.record.tries,
    }


def _moment(known: Known, delay: float | None) -> dict[str, Any] | None:
    return None if delay is None else {"at": rfc3339(known.now + delay), "in": round(delay, 3)}


def _move(move: Event) -> dict[str, Any]:
    match move:
        case Placed(backend=backend):
            word, text = "place", f"decide that a copy is made on {backend}"
        case Found(backend=backend):
            word, text = "keep", f"count the copy on {backend} again"
        case Leaving(backend=backend):
            word, text = "leave", f"send no more readers to the copy on {backend}: it is surplus"
        case Condemned(backend=backend):
            word, text = "condemn", f"decide that what lies on {backend} is removed"
        case Lost(backend=backend):
            word, text = "lose", f"write the copy on {backend} off: the backend is dead"
        case Removed(backend=backend):
            word, text = "forget", f"forget the object on {backend}: the backend is dead"
        case Expired():
            word, text = "expire", "delete the file: its time is over"
        case Thin(thin=True):
            word, text = "thin", "note that it has fewer good copies than it is owed"
        case Thin():
            word, text = "enough", "note that it is no longer short of copies"
        case _:
            raise AssertionError(f"no plan has such a move: {move}")
    return {
        "do": word,
        "version": getattr(move, "id", None),
        "backend": getattr(move, "backend", None),
        "text": text,
    }


def _step(step: Step) -> dict[str, Any]:
    match step:
        case Verify(final=True):
            return _done(step, "verify", None, "look for the upload once more, and give it up", final=True)
        case Verify():
            return _done(step, "verify", None, "look whether the upload has come", final=False)
        case Copy(backend=backend, sources=sources):
            text = f"copy it to {backend}, from {' or else '.join(sources)}"
            return _done(step, "copy", backend, text, **{"from": list(sources)})
        case Check(backend=backend):
            return _done(step, "check", backend, f"read what lies on {backend}, to see whether it is good")
        case Remove(backend=backend):
            return _done(step, "remove", backend, f"remove the object on {backend}")
    raise AssertionError(f"no plan has such a step: {step}")


def _done(step: Step, word: str, backend: str | None, text: str, **more: Any) -> dict[str, Any]:
    return {"do": word, "version": step.id, "backend": backend, **more, "text": text}

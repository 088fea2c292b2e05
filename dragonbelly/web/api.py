"""The REST API of uploads and files, ``/-/api/v1``.  JSON, sizes in bytes, times in RFC 3339 UTC."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.task import deferLater

from dragonbelly.errors import (
    BadField,
    Lapsed,
    MethodNotAllowed,
    Mismatch,
    NotFound,
    PreconditionFailed,
)
from dragonbelly.events import ABORTED, DELETED, DIGEST, PRECONDITION, SIZE, Abandoned
from dragonbelly.ids import created, is_ulid
from dragonbelly.interfaces import IClock, Snapshot
from dragonbelly.ledger import Announced, Ledger
from dragonbelly.model import Path, Record, ReplicaState, Terms, Version, VersionState
from dragonbelly.replication.plan import demand
from dragonbelly.replication.verify import Verifier
from dragonbelly.state.promise import Promise
from dragonbelly.web import announced
from dragonbelly.web.asked import Change, CompleteAsked, Query, UploadAsked, decode, file_name
from dragonbelly.web.callers import Caller
from dragonbelly.web.files import Domains, Files, live_version, show_uploads
from dragonbelly.web.guard import Guard
from dragonbelly.web.listing import Page, list_files
from dragonbelly.web.message import Answer, Question, json_answer
from dragonbelly.web.open_uploads import OpenUploads
from dragonbelly.web.paths import parse_name, quote_name
from dragonbelly.web.sign import SignApi

PREFIX = "/-/api/v1/"

#: Seconds that a ``complete`` may wait for copies, at most.
WAIT_MAX = 300.0
_WAIT_STEP = 0.1

#: Names in a page of a listing: if nothing is said, and at most.
PAGE, PAGE_MAX = 1000, 10_000


class FilesApi:
    """
    Uploads and files.  On the admin listener the query may name a ``domain``.  ``replicate`` has what is due
    looked at now.
    """

    def __init__(
        self,
        ledger: Ledger,
        verifier: Verifier,
        files: Files,
        domains: Domains,
        guard: Guard,
        uploads: OpenUploads,
        sign: SignApi,
        replicate: Callable[[], None],
        clock: IClock,
    ) -> None:
        self._ledger = ledger
        self._verifier = verifier
        self._files = files
        self._domains = domains
        self._guard = guard
        self._uploads = uploads
        self._sign = sign
        self._replicate = replicate
        self._clock = clock

    async def answer(self, question: Question, admin: bool = False) -> Answer:
        """:raises ClientError: which becomes problem details."""
        resource = question.target.path.removeprefix(PREFIX.encode())
        if resource == b"files":
            _only(question, "GET")
            return await self._list(question, admin)
        if resource.startswith(b"files/"):
            return await self._file(question, resource.removeprefix(b"files"), admin)
        if resource == b"sign":
            _only(question, "POST")
            return self._sign.answer(question, admin)
        if resource == b"uploads":
            _only(question, "POST")
            return await self._begin(question, admin)
        if match := re.fullmatch(rb"uploads/([^/]+)(/complete)?", resource):
            id = match[1].decode("latin-1")
            if not is_ulid(id):
                raise NotFound("that is no id of an upload")
            if match[2]:
                _only(question, "POST")
                async with Promise(self._ledger.store):
                    return await self._complete(question, id, admin)
            _only(question, "DELETE")
            async with Promise(self._ledger.store):
                return await self._abort(question, id, admin)
        raise NotFound("the API has no such resource")

    def _domain(self, question: Question, query: Query, admin: bool) -> str:
        return self._domains.asked(question, query.text("domain"), admin)

    # --- uploads

    async def _begin(self, question: Question, admin: bool) -> Answer:
        query = Query(question, "domain")
        asked = decode(question.body, UploadAsked)
        path = Path(self._domain(question, query, admin), file_name(asked.path))
        self._guard.demand(question.caller, "write", path)
        if asked.size is not None and asked.size < 0:
            raise BadField("a size is 0 or more", field="size")
        version, places = await self._uploads.accept(
            question.caller,
            path,
            Announced(
                size=asked.size,
                sha256=announced.sha256_hex(asked.sha256),
                content_type=announced.content_type(asked.content_type),
                terms=announced.terms(
                    asked.attributes, asked.copies, asked.policy, announced.moment(asked.expires)
                ),
                create_only=asked.create_only,
                if_match=asked.if_match,
            ),
        )
        assert version.upload is not None
        targets = [
            self._ledger.cluster.backend(backend).upload_target(
                key, size=version.size, content_type=version.content_type, expires=version.upload.deadline
            )
            for backend, key in places
        ]
        return json_answer(
            {
                "upload": version.id,
                "targets": [{"method": t.method, "url": t.url, "headers": dict(t.headers)} for t in targets],
                "expires": announced.rfc3339(version.upload.deadline),
            },
            201,
            (("Location", f"{PREFIX}uploads/{version.id}"),),
        )

    async def _complete(self, question: Question, id: str, admin: bool) -> Answer:
        query = Query(question, "domain", "copies", "timeout")
        copies = query.number("copies", 1, announced.COPIES_MAX)
        deadline = self._clock.seconds() + query.seconds("timeout", 30.0, WAIT_MAX)
        asked = decode(question.body, CompleteAsked)
        path = Path(self._domain(question, query, admin), file_name(asked.path))
        self._guard.demand(question.caller, "write", path)
        sha256 = announced.sha256_hex(asked.sha256)
        # As a rule it was begun here a moment ago.
        snapshot = self._ledger.remembered(path)
        if snapshot is None or not _is_open(snapshot, id):
            snapshot = await self._ledger.read(path)
        version = _upload(snapshot, id)
        if version.state is VersionState.UPLOADING:
            claimed = _claimed(version, asked.size, sha256)
            seen = await self._verifier.look(path, claimed)
            if seen.event is not None:
                snapshot = await self._files.commit(path, snapshot, seen.event)
            else:
                snapshot = await self._ledger.read(path)
            version = _upload(snapshot, id)
            # It may be uploading all the same: where it was seen was called dead meanwhile.
            if version.state is VersionState.UPLOADING:
                detail = (
                    "a storage server that may have it does not answer" if seen.unknown else "not there yet"
                )
                return json_answer({"upload": id, "state": "uploading", "detail": detail}, 202)
        _still_good(version, asked.size, sha256)
        while True:
            held = len(version.in_state(ReplicaState.GOOD))
            over = version.state is not VersionState.LIVE  # superseded: no more copies will be made of it
            if held >= copies or over or self._clock.seconds() >= deadline:
                break
            # Somebody waits for it: not only at the next tick.
            self._replicate()
            await deferLater(self._clock, _WAIT_STEP)
            snapshot = await self._ledger.read(path)
            version = _upload(snapshot, id)
        return json_answer(self._show(question.caller, path, snapshot, version), 200 if held >= copies else 202)

    async def _abort(self, question: Question, id: str, admin: bool) -> Answer:
        query = Query(question, "domain", "path")
        path = Path(self._domain(question, query, admin), file_name(query.text("path")))
        self._guard.demand(question.caller, "write", path)
        snapshot = await self._ledger.read(path)
        version = _upload(snapshot, id)
        if version.state is VersionState.UPLOADING:
            snapshot = await self._files.commit(path, snapshot, Abandoned(self._ledger.now, id, ABORTED))
            after = snapshot.record.version(id) if snapshot.record is not None else None
            if after is None or after.state is VersionState.ABANDONED:
                return Answer(204)
            version = after
        if version.state in (VersionState.LIVE, VersionState.SUPERSEDED):
            raise Mismatch("the upload is complete already; delete the file instead")
        return Answer(204)

    # --- files

    async def _file(self, question: Question, raw: bytes, admin: bool) -> Answer:
        query = Query(question, "domain")
        path = Path(self._domain(question, query, admin), parse_name(raw))
        reads = question.method in ("GET", "HEAD")
        self._guard.demand(question.caller, "read" if reads else "write", path)
        match question.method:
            case "GET" | "HEAD":
                return self._shown(question.caller, path, await self._files.read(path))
            case "PATCH":
                change = decode(question.body, Change)
                await self._files.read(path)
                snapshot = await self._ledger.change(path, lambda v: _changed(v.asked, change))
                return self._shown(question.caller, path, snapshot)
            case "DELETE":
                await self._ledger.delete(path)
                return Answer(204)
        raise MethodNotAllowed(f"{question.method} is not for files", allow="GET, HEAD, PATCH, DELETE")

    async def _list(self, question: Question, admin: bool) -> Answer:
        query = Query(question, "domain", "prefix", "delimiter", "after", "limit")
        delimiter = query.text("delimiter")
        if delimiter not in ("", "/"):
            raise BadField("the delimiter is / or nothing", field="delimiter")
        domain = self._domain(question, query, admin)
        prefix = query.text("prefix").removeprefix("/")
        self._guard.demand(question.caller, "list", Path(domain, prefix))
        limit = query.number("limit", PAGE, PAGE_MAX) or PAGE
        page: Page = await list_files(
            lambda after, n: self._ledger.store.page(domain, prefix, after, n),
            prefix,
            delimiter,
            query.text("after"),
            limit,
        )
        snapshots = await self._ledger.store.get_many([Path(domain, name) for name in page.names])
        shown = []
        for name, snapshot in zip(page.names, snapshots, strict=True):
            record = snapshot.record if snapshot is not None else None
            if record is not None and record.live is not None:
                shown.append({"path": name, **_summary(record.live), "damaged": record.damaged})
        return json_answer({"files": shown, "prefixes": page.prefixes, "next": page.next})

    # --- what is shown

    def _shown(self, caller: Caller, path: Path, snapshot: Snapshot) -> Answer:
        live = live_version(path, snapshot)
        return json_answer(self._show(caller, path, snapshot, live), headers=(("ETag", f'"{live.id}"'),))

    def _show(self, caller: Caller, path: Path, snapshot: Snapshot, version: Version) -> dict[str, Any]:
        record = snapshot.record or Record()
        view = self._ledger.cluster.view
        policy = self._ledger.policy(path, version)
        placement = policy.place(demand(version), view)
        good = version.in_state(ReplicaState.GOOD)
        # Who may change a file is shown it, too; but a link of a private domain is a right to read.
        reads = self._guard.may(caller, "read", path)
        return {
            "domain": path.domain,
            "path": path.name,
            "url": "/" + quote_name(path.name),
            "state": version.state.name.lower(),
            **_summary(version),
            "expires": announced.rfc3339(version.asked.expires),
            "policy": policy.name,
            "copies": {
                "owed": placement.owed,
                "held": len(good),
                "possible": placement.possible,
                "enough": placement.enough,
                "asked": version.asked.copies,
            },
            "damaged": version is record.live and record.damaged,
            "thin_since": announced.rfc3339(record.thin_since),
            "replicas": [
                {
                    "backend": replica.backend,
                    "host": view[replica.backend].host if replica.backend in view else None,
                    "state": replica.state.name.lower(),
                    "url": self._url(path, version, replica) if reads else None,
                }
                for replica in version.replicas
            ],
            "uploads": show_uploads(record),
        }

    def _url(self, path: Path, version: Version, replica: Any) -> str | None:
        good = replica.state is ReplicaState.GOOD
        return self._files.shown_url(path, version, replica) if good else None


def _summary(version: Version) -> dict[str, Any]:
    return {
        "version": version.id,
        "size": version.size,
        "content_type": version.content_type,
        "sha256": version.sha256.hex() if version.sha256 is not None else None,
        "created": announced.rfc3339(created(version.id)),
        "attributes": version.asked.attributes,
    }


def _only(question: Question, method: str) -> None:
    if question.method != method and not (question.method == "HEAD" and method == "GET"):
        raise MethodNotAllowed(f"{question.method} is not for this resource", allow=method)


def _is_open(snapshot: Snapshot, id: str) -> bool:
    version = snapshot.record.version(id) if snapshot.record is not None else None
    return version is not None and version.state is VersionState.UPLOADING


def _upload(snapshot: Snapshot, id: str) -> Version:
    """:raises Lapsed, Mismatch, PreconditionFailed: the upload is over, and why."""
    version = snapshot.record.version(id) if snapshot.record is not None else None
    if version is None:
        raise Lapsed("the upload is not known (any more): it lapsed, or the path is another one")
    if version.state is VersionState.DELETED:
        raise Lapsed("the file was deleted")
    if version.state is not VersionState.ABANDONED:
        return version
    reason = version.upload.reason if version.upload is not None else None
    match reason:
        case "size":
            assert version.upload is not None
            raise Mismatch("the size is not what was announced", reason=SIZE, announced=version.upload.size)
        case "digest":
            raise Mismatch("the digest is not what was announced", reason=DIGEST)
        case "precondition":
            raise PreconditionFailed("another upload of the path came first", reason=PRECONDITION)
        case "deleted":
            raise Lapsed("the path was deleted after the upload began", reason=DELETED)
    raise Lapsed(f"the upload is over: {reason}", reason=reason)


def _claimed(version: Version, size: int | None, sha256: bytes | None) -> Version:
    """
    The upload with what the client says at the end, which must not be other than what it said first.

    :raises Mismatch: it is.
    """
    upload = version.upload
    assert upload is not None
    if upload.size is not None and size not in (None, upload.size):
        raise Mismatch("the size is not the one announced first", reason=SIZE, announced=upload.size)
    if upload.sha256 is not None and sha256 not in (None, upload.sha256):
        raise Mismatch("the digest is not the one announced first", reason=DIGEST)
    upload = msgspec.structs.replace(
        upload,
        size=upload.size if size is None else size,
        sha256=upload.sha256 if sha256 is None else sha256,
    )
    return msgspec.structs.replace(version, upload=upload)


def _still_good(version: Version, size: int | None, sha256: bytes | None) -> None:
    """A ``complete`` for what somebody else saw first: what it claims must be so."""
    if size is not None and size != version.size:
        raise Mismatch("the size is another", reason=SIZE, found=version.size)
    if sha256 is not None and version.sha256 is not None and sha256 != version.sha256:
        raise Mismatch("the digest is another", reason=DIGEST)


def _changed(terms: Terms, change: Change) -> Terms:
    attributes = dict(terms.attributes)
    if change.attributes is None:
        attributes = {}
    elif not isinstance(change.attributes, msgspec.UnsetType):
        for name, value in change.attributes.items():
            if value is None:
                attributes.pop(name, None)
            else:
                attributes[name] = value
    copies = terms.copies if isinstance(change.copies, msgspec.UnsetType) else change.copies
    policy = terms.policy if isinstance(change.policy, msgspec.UnsetType) else change.policy
    expires = (
        terms.expires if isinstance(change.expires, msgspec.UnsetType) else announced.moment(change.expires)
    )
    return announced.terms(attributes, copies, policy, expires) or Terms()

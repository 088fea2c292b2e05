"""Files by HTTP: GET and HEAD are answered with a redirect, PUT with one to a server that takes the upload."""

from __future__ import annotations

from dragonbelly.config.values import Config
from dragonbelly.errors import (
    BackendUnavailable,
    BadField,
    BadRecord,
    MethodNotAllowed,
    NoBackend,
    NoGoodCopy,
    NotFound,
    StateUnavailable,
    UnknownDomain,
)
from dragonbelly.events import Abandoned, Event, Verified
from dragonbelly.interfaces import Snapshot
from dragonbelly.ledger import Ledger
from dragonbelly.metrics import Metrics
from dragonbelly.model import Path, Record, Replica, Version, VersionState
from dragonbelly.replication.verify import Verifier
from dragonbelly.web import announced
from dragonbelly.web.callers import is_local
from dragonbelly.web.guard import Guard
from dragonbelly.web.message import Answer, Question
from dragonbelly.web.open_uploads import OpenUploads
from dragonbelly.web.paths import host_name, parse_name
from dragonbelly.web.prepared import Prepared
from dragonbelly.web.redirects import Redirects

ALLOW = "GET, HEAD, PUT, DELETE"


class Domains:
    """
    Which domain a request is for, by its host.

    A domain where everybody on this machine may write would be open to every page that is shown there, if "*"
    were also the names that a page's owner can point at this machine (DNS rebinding).
    """

    def __init__(self, config: Config) -> None:
        self._by_host = {host.lower(): name for name, domain in config.domains.items() for host in domain.hosts}
        self.names = frozenset(config.domains)
        other = config.domains.get(self._by_host.get("*", ""))
        self._local_only = other is not None and "write" in other.anonymous and not other.allow_anonymous_write

    def of(self, question: Question) -> str:
        """:raises UnknownDomain: nobody has this host."""
        return self.of_host(question.target.host if question.target.host is not None else question.host)

    def of_host(self, authority: bytes) -> str:
        """:raises UnknownDomain: nobody has this host."""
        host = host_name(authority)
        name = self._by_host.get(host)
        if name is None and self._local_only and host and not is_local(host):
            raise UnknownDomain(
                f"where everybody on this machine may write, {host} has to stand in the hosts of a domain"
            )
        name = name or self._by_host.get("*")
        if name is None:
            raise UnknownDomain(f"no domain has the host {host or '(none)'}")
        return name

    def asked(self, question: Question, named: str, admin: bool) -> str:
        """
        The one that is named, which only an operator may, or else that of the host.

        :raises BadField: there is none of this name, or it may not be named here.
        """
        if not named:
            return self.of(question)
        if not admin:
            raise BadField("on this listener the host decides", field="domain")
        if named not in self.names:
            known = ", ".join(sorted(self.names))
            raise BadField(f"there is no domain {named!r}, only {known}", field="domain")
        return named


def live_version(path: Path, snapshot: Snapshot) -> Version:
    """:raises NotFound: nothing is live; says what became of its uploads."""
    record = snapshot.record or Record()
    if record.live is None:
        raise NotFound(f"there is no file {path.name}", uploads=show_uploads(record) or None)
    return record.live


def show_uploads(record: Record) -> list[dict[str, str | None]]:
    """The uploads that are no file, or not yet: for those who wonder why."""
    return [
        {
            "upload": version.id,
            "state": version.state.name.lower(),
            "reason": version.upload.reason,
            "expires": announced.rfc3339(version.upload.deadline),
        }
        for version in record.versions
        if version.upload is not None
    ]


class Files:
    """The handlers; each takes a question and gives an answer or raises a ``ClientError``."""

    def __init__(
        self,
        ledger: Ledger,
        verifier: Verifier,
        domains: Domains,
        guard: Guard,
        uploads: OpenUploads,
        config: Config,
        redirects: Redirects,
        prepared: Prepared,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._verifier = verifier
        self._domains = domains
        self._guard = guard
        self._uploads = uploads
        self._upload_redirect = config.http.upload_redirect
        self._redirects = redirects
        self._prepared = prepared
        self._metrics = metrics

    async def answer(self, question: Question) -> Answer:
        path = Path(self._domains.of(question), parse_name(question.target.path))
        match question.method:
            case "GET" | "HEAD":
                self._guard.read(question, path)
                return await self.get(path)
            case "PUT":
                self._guard.write(question, path)
                return await self.put(path, question)
            case "DELETE":
                self._guard.demand(question.caller, "write", path)
                await self._ledger.delete(path)
                return Answer(204)
        raise MethodNotAllowed(f"{question.method} is not for files", allow=ALLOW)

    # --- reading

    async def get(self, path: Path) -> Answer:
        redirect = self._prepared.find(path)
        if redirect is None:
            try:
                snapshot = await self.read(path)
            except StateUnavailable:
                if (redirect := self._prepared.stale(path)) is None:
                    raise
                self._metrics.stale.inc()
            else:
                if snapshot.record is not None and snapshot.record.damaged:
                    raise NoGoodCopy(f"no copy of {path.name} is known to be good", retry_after=60)
                redirect = self._prepared.find(path) or self._redirects.make(path, live_version(path, snapshot))
        way = self._redirects.draw(redirect)
        if way is None:
            raise NoBackend(f"no storage server that holds {path.name} can be reached", retry_after=5)
        if way.last_resort:
            self._metrics.last_resorts.inc()
        way.tally.n += 1
        lines = self._redirects.lines(redirect, way).decode().splitlines()
        return Answer(302, tuple((name, value) for name, _, value in (line.partition(": ") for line in lines)))

    async def read(self, path: Path) -> Snapshot:
        """
        The record of a file that is there, after a look whether an upload that came later has arrived.

        :raises NotFound: nothing is live; says what became of its uploads.
        :raises StateUnavailable: nobody knows.
        """
        try:
            snapshot, current = await self._prepared.read(path), True
        except (StateUnavailable, BadRecord):
            # By another connection; and it says what is wrong with a record.
            snapshot, current = await self._ledger.recall(path)
        if current:
            snapshot = await self._see_uploads(path, snapshot)
        else:
            self._metrics.stale.inc()
        live_version(path, snapshot)
        return snapshot

    async def _see_uploads(self, path: Path, snapshot: Snapshot) -> Snapshot:
        """The record after a look at its uploads, so that a client reads what it has just written."""
        for version in snapshot.record.pending if snapshot.record is not None else ():
            seen = await self._verifier.glance(path, version)
            try:
                if seen.event is not None:
                    snapshot = await self.commit(path, snapshot, seen.event)
                elif seen.unread:
                    await self._ledger.store.hasten([path])
            except StateUnavailable:
                break  # what was live a moment ago still is, as far as anybody knows
            live = snapshot.record.live if snapshot.record is not None else None
            if live is not None and live.id == version.id:
                break  # those accepted before it come too late; not so if its condition did not hold
        return snapshot

    async def commit(self, path: Path, snapshot: Snapshot, event: Verified | Abandoned) -> Snapshot:
        """Commit what became of an upload, unless somebody else did."""

        def events(record: Record) -> list[Event]:
            version = record.version(event.id)
            return [event] if version is not None and version.state is VersionState.UPLOADING else []

        snapshot, _ = await self._ledger.commit(path, snapshot, events)
        return snapshot

    def shown_url(self, path: Path, version: Version, replica: Replica) -> str | None:
        """The same for those who only look; None when its backend left the configuration."""
        try:
            return self._redirects.url(path, version, replica)
        except BackendUnavailable:
            return None

    # --- writing

    async def put(self, path: Path, question: Question) -> Answer:
        version, targets = await self._uploads.accept(question.caller, path, announced.from_put(question))
        backend, key = targets[0]
        assert version.upload is not None
        target = self._ledger.cluster.backend(backend).upload_target(
            key, size=version.size, content_type=version.content_type, expires=version.upload.deadline
        )
        return Answer(
            self._put_status(question),
            (
                ("Location", target.url),
                ("Dragonbelly-Upload", version.id),
                ("Cache-Control", "no-store"),
                ("Content-Type", "text/plain"),
            ),
            b"Send the file to the Location, with PUT (curl: add -L).\n",
        )

    def _put_status(self, question: Question) -> int:
        """302 for clients known to send a PUT again after one; many others turn it into a GET: 307 for them."""
        if self._upload_redirect != "auto":
            return int(self._upload_redirect)
        agent = question.headers.get("user-agent", "")
        # ``curl -T`` sends no type; ``curl --data-binary`` sends one, and no body after a 302.
        if agent.startswith("curl/"):
            return 307 if "content-type" in question.headers else 302
        return 302 if agent.startswith("Mozilla/") else 307

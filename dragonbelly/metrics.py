"""What the service counts, for Prometheus.  One registry a service, so that tests can run several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from dragonbelly.interfaces import Counts
from dragonbelly.model import BackendState, ClusterView, Observed, Use

#: Latencies of Redis, in s.
_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


#: The options of ``[limits]`` and ``[upload]`` that refuse or close something.
LIMITS = (
    "connections",
    "connections_per_address",
    "header_size",
    "header_time",
    "body_time",
    "json_size",
    "path_length",
    "attributes",
    "attribute_size",
    "max_size",
    "open_uploads",
    "open_uploads_per_address",
    "anonymous_writes",
)


class Tally:
    """Counts what happens too often for a counter with a lock; added to its counter when somebody looks."""

    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0


class _Tallies:
    """Comes before all counters in a registry, and so is asked before them."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[Counter, tuple[str, ...]], Tally] = {}

    def of(self, counter: Counter, *labels: str) -> Tally:
        return self._tallies.setdefault((counter, labels), Tally())

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> list[Metric]:
        for (counter, labels), tally in self._tallies.items():
            n, tally.n = tally.n, 0
            counter.labels(*labels).inc(n)
        return []


class Metrics:
    """The names are the documentation; ``render`` is the text that Prometheus reads."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._tallies = _Tallies()
        registry.register(self._tallies)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"dragonbelly_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"dragonbelly_{name}", text, labels, registry=registry)

        self.requests = counter("requests", "Answers by kind of request and status", "kind", "status")
        self._limited = counter("limited", "What a limit refused or closed, by its option", "limit")
        for limit in LIMITS:
            self._limited.labels(limit)
        self.redirects = counter("redirects", "Readers sent to a backend", "backend")
        self.last_resorts = counter("last_resorts", "Readers sent to a backend that looks away")
        self.uploads = counter("uploads", "Uploads by what became of them", "outcome")
        for outcome in ("verified", "size", "digest", "precondition", "lapsed", "aborted", "deleted"):
            self.uploads.labels(outcome)  # known from the start, so that a rate can be taken
        self.copies = counter("copies", "Copies made on a backend", "backend")
        self.copied_bytes = counter("copied_bytes", "Bytes copied to a backend", "backend")
        self.removals = counter("removals", "Objects removed from a backend", "backend")
        self.audited = counter("audited_replicas", "Copies looked at by the audit")
        self.audited_bytes = counter("audited_bytes", "Bytes read by the audit")
        self.findings = counter("audit_findings", "What the audit found wrong", "what")
        for what in ("missing", "size", "digest", "record"):
            self.findings.labels(what)
        self.orphans = counter("orphans_removed", "Objects removed that no record knew", "backend")
        self.failures = counter("backend_failures", "Failures of a backend by reason", "backend", "reason")
        self.visits = counter("visits", "Paths that the replicator looked at, by what came of it", "outcome")
        self.redis = Histogram(
            "dragonbelly_redis_seconds",
            "Time to the answer, by command",
            ("command",),
            registry=registry,
            buckets=_BUCKETS,
        )
        self.stale = counter("stale_answers", "Answers from memory while Redis was away")
        self.busy = gauge("replicator_busy", "Paths being looked at now")
        self._files = gauge("files", "Live files")
        self._queued = gauge("queue_depth", "Paths that have a time to be looked at")
        self._overdue = gauge("queue_overdue", "Paths that should have been looked at by now")
        self._thin = gauge("thin_files", "Files with fewer good copies than owed")
        self._thin_age = gauge("thin_oldest_seconds", "Since when the oldest thin file has been thin")
        self._damaged = gauge("damaged_files", "Files of which no copy is known to be good")
        self._agreed = gauge(
            "epoch_agreed", "Whether records and storage were compared: else nothing is removed"
        )
        self._confirmed = gauge(
            "writes_confirmed",
            "Whether ack_replicas replicas of Redis confirm: else every write is answered 503",
        )
        self._bytes = gauge("backend_bytes", "Bytes on a backend by the records", "backend")
        self._objects = gauge("backend_objects", "Objects on a backend by the records", "backend")
        self._state = gauge("backend_state", "1 for what a person said of a backend", "backend", "state")
        self._observed = gauge("backend_observed", "1 for how a backend is seen", "backend", "observed")
        self._store = gauge("store_up", "Whether the state store answers")
        self.workers = gauge("workers", "Workers that serve; 0 where one process does it all")
        self.worker_ends = counter("worker_ends", "Workers that ended by themselves, and were started again")

    def answered(self, kind: str, status: int) -> Tally:
        """To count ``requests`` with."""
        return self._tallies.of(self.requests, kind, str(status))

    def redirected(self, backend: str) -> Tally:
        """To count ``redirects`` with."""
        return self._tallies.of(self.redirects, backend)

    def limit(self, name: str | None) -> None:
        """Something was refused or closed for the option ``name``; None: it was no limit."""
        if name is not None:
            self._limited.labels(name).inc()

    def set_store(self, counts: Counts | None, use: dict[str, Use], now: float) -> None:
        """What the store says; None when it does not answer, and the figures stay what they were."""
        self._store.set(counts is not None)
        if counts is None:
            return
        self._files.set(counts.files)
        self._queued.set(counts.queued)
        self._overdue.set(counts.overdue)
        self._thin.set(counts.thin)
        self._damaged.set(counts.damaged)
        self._thin_age.set(0 if counts.thin_since is None else max(0.0, now - counts.thin_since))
        # What is not in ``use`` any more would keep its last figures.
        self._bytes.clear()
        self._objects.clear()
        for name, used in use.items():
            self._bytes.labels(name).set(used.bytes)
            self._objects.labels(name).set(used.objects)

    def set_agreed(self, agreed: bool) -> None:
        self._agreed.set(agreed)

    def set_confirmed(self, confirmed: bool) -> None:
        self._confirmed.set(confirmed)

    def set_cluster(self, cluster: ClusterView) -> None:
        self._state.clear()
        self._observed.clear()
        for name, backend in cluster.items():
            for state in BackendState:
                self._state.labels(name, state.name.lower()).set(backend.state is state)
            for observed in Observed:
                self._observed.labels(name, observed.name.lower()).set(backend.observed is observed)

    def render(self, others: Sequence[bytes] = ()) -> bytes:
        """With what ``others`` have counted; what is not a count is ours alone to say."""
        mine = generate_latest(self.registry)
        return total([mine, *others]) if others else mine


def total(texts: Iterable[bytes]) -> bytes:
    """The counters and histograms of all ``texts`` summed up; whatever else there is from the first."""
    sums = _Sums()
    for number, text in enumerate(texts):
        for family in text_string_to_metric_families(text.decode()):
            if number == 0 or family.type in ("counter", "histogram"):
                sums.add(family)
    return generate_latest(sums)


class _Sums(Collector):
    """Families of metrics, each sample the sum of those that were added."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self._sums: dict[str, dict[tuple[str, frozenset[tuple[str, str]]], float]] = {}

    def add(self, family: Metric) -> None:
        self._families.setdefault(family.name, family)
        sums = self._sums.setdefault(family.name, {})
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            sums[key] = sums.get(key, 0.0) + sample.value

    def collect(self) -> Iterator[Metric]:
        for name, family in self._families.items():
            metric = Metric(name, family.documentation, family.type)
            for (sample, labels), value in self._sums[name].items():
                metric.add_sample(sample, dict(labels), value)
            yield metric

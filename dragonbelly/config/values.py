"""
What a configuration says, as frozen values.  The sections are those of the file, with their defaults.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dragonbelly.config.limits import LimitsSection
from dragonbelly.errors import ConfigError
from dragonbelly.interfaces import (
    IBackend,
    IBackendFactory,
    IReplicationPolicy,
    IReplicationPolicyFactory,
)
from dragonbelly.secret import Secret
from dragonbelly.signing import SigningKey
from dragonbelly.state.address import Login
from dragonbelly.units import Amount, Duration, Interval, Size

#: More processes than there are cores gain nothing.
WORKERS_MAX = 256


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file."""


class StateSection(Section, frozen=True, kw_only=True):
    """Where Redis is, and how long it may be away."""

    redis: str = "redis://127.0.0.1:6379/0"
    #: Those of the URL, if they do not stand there.
    redis_password: Secret | None = None
    sentinel_password: Secret | None = None
    partitions: Annotated[int, Meta(ge=1, le=4096)] = 64
    reply_timeout: Interval = Interval(2)
    #: How long GETs are answered from what is cached while Redis is away.
    stale: Duration = Duration(60)
    require_noeviction: bool = True
    #: How many replicas of Redis must have a change before a client is told that it is made, and how long
    #: they may take.
    ack_replicas: Annotated[int, Meta(ge=0, le=100)] = 0
    ack_timeout: Interval = Interval(1)

    @property
    def login(self) -> Login:
        return Login(self.redis_password, self.sentinel_password)

    def __repr__(self) -> str:
        fields = msgspec.structs.asdict(self) | {"redis": without_login(self.redis)}
        return f"StateSection({', '.join(f'{name}={value!r}' for name, value in fields.items())})"


class HttpSection(Section, frozen=True, kw_only=True):
    """The listeners, as Twisted endpoint strings, and how clients are answered."""

    listen: tuple[str, ...] = ("tcp:8080",)
    admin: tuple[str, ...] = ("tcp:8081:interface=127.0.0.1",)
    upload_redirect: Literal["auto", "302", "307"] = "auto"
    cache_control: str = "no-store"
    #: Pages of these may use files and API with ``fetch``.
    origins: tuple[str, ...] = ()
    #: Processes that serve ``listen``; with 1 the one that was started does it all.
    workers: Annotated[int, Meta(ge=1, le=WORKERS_MAX)] = 1
    #: Answers kept in memory, and for how long one may be used.
    cache: Annotated[int, Meta(ge=0)] = 100_000
    cache_age: Interval = Interval(600)


class Rule(Section, frozen=True, kw_only=True):
    """A policy for the files of a domain that meet every condition given; there is one at least."""

    match: str | None = None
    type: str | None = None
    larger: Size | None = None
    smaller: Size | None = None
    policy: str


class DomainSection(Section, frozen=True, kw_only=True):
    """
    A namespace of paths.  ``hosts`` are in lower case, without ports; ``*`` is any other host.  ``anonymous``
    is what everybody may do, without a token.
    """

    hosts: tuple[str, ...]
    policy: str = "default"
    rules: tuple[Rule, ...] = ()
    anonymous: tuple[Literal["read", "list", "write"], ...] = ("read",)
    #: Whether everybody may write though the listener is not on loopback.
    allow_anonymous_write: bool = False
    #: How long the storage servers' links are good, at least, that readers of a private domain are sent to.
    link_expires: Interval = Interval(300)

    @property
    def private(self) -> bool:
        """Whether a reader needs a token or a signature."""
        return "read" not in self.anonymous


class TokenSection(Section, frozen=True, kw_only=True):
    """
    Who has the secret of which this is the SHA-256 may do what ``scopes`` say in ``domains`` (``*``: in all),
    to paths that begin with one of ``prefixes``.  ``admin`` is all of it everywhere.
    """

    name: str
    sha256: str
    scopes: tuple[Literal["read", "list", "write", "admin"], ...]
    domains: tuple[str, ...] = ("*",)
    prefixes: tuple[str, ...] = ("",)

    def __repr__(self) -> str:
        # Without the digest: it stands in the configuration, and nowhere else.
        return f"TokenSection(name={self.name!r}, scopes={self.scopes!r})"


class SigningKeySection(Section, frozen=True, kw_only=True):
    """A key that URLs are signed with: the first one signs, all are accepted."""

    id: str
    secret: Secret


class UploadSection(Section, frozen=True, kw_only=True):
    """An upload may take ``lapse + size / min_rate`` (bytes a second)."""

    lapse: Interval = Interval(3600)
    min_rate: Amount = Amount(128 * 2**10)
    max_size: Amount = Amount(50 * 2**30)

    def longest(self, size: int) -> float:
        """Seconds that an upload of so many bytes may take."""
        return self.lapse + size / self.min_rate


class ReplicationSection(Section, frozen=True, kw_only=True):
    """How the replicator works."""

    every: Interval = Interval(1)
    concurrency: Annotated[int, Meta(ge=1)] = 16
    per_backend: Annotated[int, Meta(ge=1)] = 4
    #: Bytes a second of all copies, and of those from or to one backend; 0: no limit.
    bandwidth: Size = Size(0)
    bandwidth_per_backend: Size = Size(0)
    #: How much later copies may be made while uploads come.
    uploads_first: Duration = Duration(0)
    lease: Interval = Interval(60)
    #: How long an unreachable backend's copies still count before they are made up elsewhere.
    patience: Duration = Duration(300)


class DeleteSection(Section, frozen=True, kw_only=True):
    grace: Duration = Duration(900)


class AuditSection(Section, frozen=True, kw_only=True):
    """How often and how fast everything that is stored is looked at; ``every = 0``: never by itself."""

    every: Duration = Duration(86400)
    #: Replicas, and objects, a second.
    rate: Annotated[float, Meta(gt=0, le=1_000_000)] = 200.0
    #: How often a round reads all bytes; 0: never.
    read_every: Duration = Duration(30 * 86400)
    #: Bytes a second that are read.
    bandwidth: Amount = Amount(20 * 2**20)


class HealthSection(Section, frozen=True, kw_only=True):
    """How backends are probed."""

    every: Interval = Interval(2)
    timeout: Interval = Interval(1.5)


class PolicyCommon(Section, frozen=True, kw_only=True):
    """What every policy has, whatever its kind."""

    kind: str = "copies"


class BackendCommon(Section, frozen=True, kw_only=True):
    """What every backend has, whatever its kind; ``host`` is its name unless given."""

    kind: str
    host: str | None = None
    zone: str = "default"
    weight: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0


class PolicySection(msgspec.Struct, frozen=True):
    """A policy: its kind's factory, and that kind's own options."""

    name: str
    kind: str
    options: Any
    factory: IReplicationPolicyFactory

    def __repr__(self) -> str:
        return f"PolicySection(name={self.name!r}, kind={self.kind!r}, options={self.options!r})"


class BackendSection(msgspec.Struct, frozen=True):
    """A storage server: its kind's factory, and that kind's own options, which may hold secrets."""

    name: str
    kind: str
    host: str
    zone: str
    weight: float
    options: Any
    factory: IBackendFactory

    def __repr__(self) -> str:
        shown = ("name", "kind", "host", "zone", "weight")
        return f"BackendSection({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration, checked.  Domains, policies and backends by name, in the order of the file."""

    filename: str
    state: StateSection
    http: HttpSection
    limits: LimitsSection
    domains: Mapping[str, DomainSection]
    policies: Mapping[str, PolicySection]
    backends: Mapping[str, BackendSection]
    tokens: tuple[TokenSection, ...]
    signing_keys: tuple[SigningKey, ...]
    upload: UploadSection
    replication: ReplicationSection
    delete: DeleteSection
    audit: AuditSection
    health: HealthSection

    def make_policies(self) -> dict[str, IReplicationPolicy]:
        """:raises ConfigError: options contradict each other."""
        made = {}
        for name, section in self.policies.items():
            try:
                made[name] = section.factory.make(name, section.options)
            except ConfigError as error:
                raise ConfigError(f"{self.filename}: policy.{name}: {one_line(error)}") from error
        return made

    def make_backends(self, reactor: object) -> dict[str, IBackend]:
        """:raises ConfigError: options contradict each other."""
        made = {}
        for name, section in self.backends.items():
            try:
                made[name] = section.factory.make(name, section.options, reactor)
            except ConfigError as error:
                raise ConfigError(f"{self.filename}: backend.{name}: {one_line(error)}") from error
        return made

    def fingerprint(self) -> str:
        """
        Changes with whatever decides where copies lie, and with nothing else: when it is not what it was,
        every file has to be looked at again.
        """
        placement = {
            "domains": {
                name: (domain.policy, [msgspec.structs.asdict(rule) for rule in domain.rules])
                for name, domain in self.domains.items()
            },
            "policies": {name: (policy.kind, policy.options) for name, policy in self.policies.items()},
            "backends": {name: (b.host, b.zone, b.weight) for name, b in self.backends.items()},
        }
        text = msgspec.json.encode(placement, enc_hook=plain, order="deterministic")
        return hashlib.sha256(text).hexdigest()[:32]


def without_login(text: str) -> str:
    """A URL without users and passwords; any other text as it is."""
    return re.sub(r"(\b\w*password=)[^&]*", r"\1…", re.sub(r"//.*@", "//…@", text, flags=re.DOTALL))


def one_line(error: object) -> str:
    return " ".join(str(error).split())


def plain(value: object) -> object:
    """The number that a duration or a size is, for JSON."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value)
    return str(value)

"""
The configuration: a TOML file, read once into frozen values.

Mistakes are a ``ConfigError``, those of the first section that has some: a line for each names the file, the
key, what was found and what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from dragonbelly.config.checks import check
from dragonbelly.config.limits import LimitsSection
from dragonbelly.config.reading import Reader, choice
from dragonbelly.config.values import (
    AuditSection,
    BackendCommon,
    BackendSection,
    Config,
    DeleteSection,
    DomainSection,
    HealthSection,
    HttpSection,
    PolicyCommon,
    PolicySection,
    ReplicationSection,
    SigningKeySection,
    StateSection,
    TokenSection,
    UploadSection,
)
from dragonbelly.errors import ConfigError
from dragonbelly.interfaces import IBackendFactory, IReplicationPolicyFactory
from dragonbelly.plugins import backend_factories, policy_factories
from dragonbelly.signing import SigningKey

__all__ = ["Config", "Source", "load", "loads"]

PLAIN: dict[str, type[msgspec.Struct]] = {
    "state": StateSection,
    "http": HttpSection,
    "limits": LimitsSection,
    "upload": UploadSection,
    "replication": ReplicationSection,
    "delete": DeleteSection,
    "audit": AuditSection,
    "health": HealthSection,
}
NAMED = ("domain", "policy", "backend")
LISTS = ("token", "signing_key")


class Source(msgspec.Struct):
    """
    What a configuration is made of: its text, and what stands in the files of secrets that it names.  Each is
    read once, by who may; another process, or another user, need not be able to.
    """

    filename: str
    text: str
    secrets: dict[str, bytes] = {}

    @classmethod
    def of(cls, path: str | PathLike[str]) -> Source:
        """:raises ConfigError: the file cannot be read."""
        filename = fspath(path)
        try:
            return cls(filename, Path(filename).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{filename}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{filename}: this is not UTF-8 at byte {error.start}") from error

    def config(self) -> Config:
        """:raises ConfigError: it has a mistake, or a secret cannot be read."""
        return loads(self.text, self.filename, secrets=self.secrets)

    def __repr__(self) -> str:
        return f"Source({self.filename!r})"


def load(path: str | PathLike[str]) -> Config:
    """:raises ConfigError: the file cannot be read, or has a mistake."""
    return Source.of(path).config()


def loads(
    text: str,
    filename: str = "<configuration>",
    *,
    backends: Mapping[str, IBackendFactory] | None = None,
    policies: Mapping[str, IReplicationPolicyFactory] | None = None,
    secrets: MutableMapping[str, bytes] | None = None,
) -> Config:
    """
    ``backends`` and ``policies`` are the kinds there are; those of all plugins unless given.  ``secrets`` is
    what stands in files of secrets, by their paths; of those that are not there it is read, and put there.
    """
    reader = Reader(filename, secrets)
    document = reader.document(text)
    for name in document:
        if name not in PLAIN and name not in NAMED and name not in LISTS:
            raise reader.unknown((name,), [*PLAIN, *NAMED, *LISTS])
    backends = backend_factories() if backends is None else backends
    policies = policy_factories() if policies is None else policies
    plain: dict[str, Any] = {
        name: reader.struct(type_, document.get(name, {}), (name,)) for name, type_ in PLAIN.items()
    }
    tables = {name: reader.table(document.get(name, {}), (name,)) for name in NAMED}
    config = Config(
        filename=filename,
        domains=_frozen(_domains(reader, tables["domain"])),
        policies=_frozen(_policies(reader, tables["policy"], policies)),
        backends=_frozen(_backends(reader, tables["backend"], backends)),
        tokens=reader.value(tuple[TokenSection, ...], document.get("token", []), ("token",)),
        signing_keys=_signing_keys(reader, document.get("signing_key", [])),
        **plain,
    )
    check(config, reader)
    return config


def _frozen(values: dict[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(values)


def _domains(reader: Reader, tables: dict[str, Any]) -> dict[str, DomainSection]:
    if not tables:
        return {"default": DomainSection(hosts=("*",))}
    domains = {}
    for name, table in tables.items():
        domain = reader.struct(DomainSection, table, ("domain", name))
        hosts = tuple(host.lower().removesuffix(".") for host in domain.hosts)
        domains[name] = msgspec.structs.replace(domain, hosts=hosts)
    return domains


def _policies(
    reader: Reader, tables: dict[str, Any], kinds: Mapping[str, IReplicationPolicyFactory]
) -> dict[str, PolicySection]:
    policies = {}
    for name, table in {"default": {}, **tables}.items():
        common, options = _with_options(reader, PolicyCommon, table, ("policy", name), kinds)
        policies[name] = PolicySection(name, common.kind, options, kinds[common.kind])
    return policies


def _backends(
    reader: Reader, tables: dict[str, Any], kinds: Mapping[str, IBackendFactory]
) -> dict[str, BackendSection]:
    backends = {}
    for name, table in tables.items():
        common, options = _with_options(reader, BackendCommon, table, ("backend", name), kinds)
        host = common.host if common.host is not None else name
        backends[name] = BackendSection(
            name, common.kind, host, common.zone, common.weight, options, kinds[common.kind]
        )
    return backends


def _signing_keys(reader: Reader, found: object) -> tuple[SigningKey, ...]:
    sections = reader.value(tuple[SigningKeySection, ...], found, ("signing_key",))
    return tuple(SigningKey(section.id, section.secret.encode()) for section in sections)


def _with_options(
    reader: Reader, common_type: Any, found: object, key: tuple[str, str], kinds: Mapping[str, Any]
) -> tuple[Any, Any]:
    """A table that has the keys that all kinds have, and those of its own kind."""
    table = reader.table(found, key)
    common_names = {field.encode_name for field in msgspec.structs.fields(common_type)}
    # The kind comes first: before it is known nobody can tell which of the other keys are right.
    kind = reader.struct(common_type, {k: v for k, v in table.items() if k == "kind"}, key).kind
    if kind not in kinds:
        raise reader.mistake((*key, "kind"), kind, choice(kind, kinds))
    options_type = kinds[kind].options
    own_names = {field.encode_name for field in msgspec.structs.fields(options_type)} - common_names
    common = reader.struct(common_type, table, key, also=own_names)
    own = {name: value for name, value in table.items() if name not in common_names}
    return common, reader.struct(options_type, own, key)

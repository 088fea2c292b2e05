"""
What one value of a configuration says of another, and texts that have a form of their own.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from twisted.internet.endpoints import serverFromString

from dragonbelly.config.limits import LimitsSection
from dragonbelly.config.reading import Key, Reader, choice
from dragonbelly.config.values import Config, Rule, without_login
from dragonbelly.cors import parse_origin
from dragonbelly.errors import ConfigError
from dragonbelly.model import BackendView, Demand
from dragonbelly.signing import SECRET_MIN
from dragonbelly.state.address import parse_url

_DOMAIN = re.compile(r"[a-z0-9][a-z0-9._-]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HOST = re.compile(r"\*|[a-z0-9_.-]+|\[[0-9a-f:.]+\]")
_TYPE_GLOB = re.compile(r"\*|[^/;\s]+/[^/;\s]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")

#: Bytes of headers below which ordinary browsers are refused.
HEADER_MIN = 1024

_STALE = "while Redis is away, readers may be sent to what was removed"


def check(config: Config, reader: Reader) -> None:
    """:raises ConfigError: the first mistake."""
    _check_redis(config, reader)
    _check_http(config, reader)
    _check_limits(config, reader)
    _check_backends(config, reader)
    for name in config.policies:
        _check_name(reader, ("policy", name), _NAME, name)
    _check_domains(config, reader)
    _check_tokens(config, reader)
    _check_signing_keys(config, reader)
    _check_anonymous(config, reader)
    config.make_policies()


def doubts(config: Config) -> list[str]:
    """What is no mistake, but most likely not what was meant: a line each."""
    cluster = {b.name: BackendView(b.name, b.host, b.zone, b.weight) for b in config.backends.values()}
    lines = []
    for name, policy in config.make_policies().items():
        best = policy.place(Demand(seed=""), cluster)
        placed = policy.place(Demand(seed="", held=best.add), cluster)
        options = config.policies[name].options
        zones = len({backend.zone for backend in cluster.values()})
        owes = f"policy.{name}: owes {placed.owed} copies"
        if not placed.enough:
            lines.append(f"{owes}, but these backends can hold {placed.possible}")
        elif getattr(options, "spread", None) == "zone" and zones < placed.owed:
            lines.append(f"{owes}, each in a zone of its own; zones there are: {zones}")
    lines += _doubtful_places(config)
    grace, stale = config.delete.grace, config.state.stale
    if grace < stale:
        lines.append(f"delete.grace: {grace:g} s is less than state.stale, {stale:g} s: {_STALE}")
    return lines


def _doubtful_places(config: Config) -> list[str]:
    """Backends that may be one storage, or on one machine."""
    storages: dict[str, list[str]] = {}
    machines: dict[str, list[str]] = {}
    for name, backend in config.backends.items():
        url = getattr(backend.options, "internal_url", None) or getattr(backend.options, "url", None)
        if not isinstance(url, str):
            continue
        storages.setdefault(url.rstrip("/"), []).append(name)
        machines.setdefault(urlsplit(url).hostname or "", []).append(name)
    lines = [
        f"backend.{', '.join(names)}: all at {without_login(url)}, so they are one storage, and its copies one"
        for url, names in storages.items()
        if len(names) > 1
    ]
    for machine, names in machines.items():
        hosts = {config.backends[name].host for name in names}
        if len(hosts) > 1:
            lines.append(
                f"backend.{', '.join(names)}: all at {machine}, yet on {len(hosts)} hosts; "
                f"if it is one machine, give them the same host"
            )
    return lines


def _check_redis(config: Config, reader: Reader) -> None:
    try:
        parse_url(config.state.redis, config.state.login)
    except ConfigError as error:
        raise reader.mistake(("state", "redis"), config.state.redis, f"a {error}") from error


def _check_http(config: Config, reader: Reader) -> None:
    for field in ("listen", "admin"):
        for index, endpoint in enumerate(getattr(config.http, field)):
            reason = _endpoint_mistake(endpoint)
            if reason is not None:
                expected = f'an endpoint such as "tcp:8080:interface=127.0.0.1": {reason}'
                raise reader.mistake(("http", field, index), endpoint, expected)
    for index, origin in enumerate(config.http.origins):
        try:
            parse_origin(origin)
        except ValueError as error:
            raise reader.mistake(("http", "origins", index), origin, str(error)) from error
    if not _HEADER_VALUE.fullmatch(config.http.cache_control):
        raise reader.mistake(("http", "cache_control"), config.http.cache_control, "a header's value")


def _check_limits(config: Config, reader: Reader) -> None:
    check_exempt(config.limits, reader, ("limits",))
    if config.limits.header_size < HEADER_MIN:
        raise reader.mistake(
            ("limits", "header_size"), str(config.limits.header_size), f"{HEADER_MIN} bytes or more"
        )


def check_exempt(limits: LimitsSection, reader: Reader, key: Key) -> None:
    for index, network in enumerate(limits.exempt):
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            expected = f'a network such as "10.0.0.0/8": {error}'
            raise reader.mistake((*key, "exempt", index), network, expected) from error


def _endpoint_mistake(text: str) -> str | None:
    if re.match("(haproxy:)?systemd:", text):
        return None  # knows its sockets only when systemd starts us
    try:
        # Endpoints keep the reactor for when they listen; none is needed to read their strings.
        serverFromString(None, text)
    except Exception as error:  # each kind of endpoint has errors of its own, OpenSSL's for a key among them
        return str(error) or type(error).__name__
    return None


def _check_backends(config: Config, reader: Reader) -> None:
    if not config.backends:
        raise reader.wrong(("backend",), "found none, expected at least one backend, [backend.NAME]")
    zones: dict[str, tuple[str, str]] = {}
    for name, backend in config.backends.items():
        key = ("backend", name)
        _check_name(reader, key, _NAME, name)
        for field in ("host", "zone"):
            _check_name(reader, (*key, field), _NAME, getattr(backend, field))
        zone, other = zones.setdefault(backend.host, (backend.zone, name))
        if zone != backend.zone:
            expected = f'"{zone}" as for {other}, which is on the same host {backend.host}'
            raise reader.mistake((*key, "zone"), backend.zone, expected)
        for field in ("url", "internal_url"):
            url = getattr(backend.options, field, None)
            if isinstance(url, str) and not _is_web_url(url):
                expected = "an http:// or https:// URL with a host, without user, query and fragment"
                raise reader.mistake((*key, field), url, expected)


def _is_web_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    plain = re.fullmatch(r"[!-~]+", text) is not None and not (url.query or url.fragment or url.username)
    return plain and url.scheme in ("http", "https") and bool(url.hostname) and port != 0


def _check_domains(config: Config, reader: Reader) -> None:
    owners: dict[str, str] = {}
    for name, domain in config.domains.items():
        key = ("domain", name)
        _check_name(reader, key, _DOMAIN, name)
        if not domain.hosts:
            raise reader.mistake((*key, "hosts"), [], 'at least one host, "*" for any')
        for index, host in enumerate(domain.hosts):
            if not _HOST.fullmatch(host):
                raise reader.mistake((*key, "hosts", index), host, 'a host name without port, or "*" for any')
            owner = owners.setdefault(host, f"domain.{name}.hosts[{index}]")
            if owner != f"domain.{name}.hosts[{index}]":
                raise reader.mistake((*key, "hosts", index), host, f"a host that is not in {owner} too")
        _check_policy_name(config, reader, (*key, "policy"), domain.policy)
        for index, rule in enumerate(domain.rules):
            _check_rule(config, reader, (*key, "rules", index), rule)


def _check_tokens(config: Config, reader: Reader) -> None:
    names: set[str] = set()
    for index, token in enumerate(config.tokens):
        key: Key = ("token", index)
        _check_own_name(reader, (*key, "name"), token.name, names, "a name that no other token has")
        if not _SHA256.fullmatch(token.sha256):
            raise reader.wrong(
                (*key, "sha256"),
                "found no SHA-256, expected 64 hexadecimal digits (dragonbelly token new makes both)",
            )
        if not token.scopes:
            raise reader.mistake((*key, "scopes"), [], "one of read, list, write, admin, at least")
        for n, domain in enumerate(token.domains):
            if domain != "*" and domain not in config.domains:
                raise reader.mistake((*key, "domains", n), domain, choice(domain, [*config.domains, "*"]))
        for field in ("domains", "prefixes"):
            if not getattr(token, field):
                raise reader.mistake((*key, field), [], "one at least; leave it out for all")
        for n, prefix in enumerate(token.prefixes):
            if prefix.startswith("/"):
                expected = 'the beginning of a path such as "photos/", without a leading slash'
                raise reader.mistake((*key, "prefixes", n), prefix, expected)


def _check_signing_keys(config: Config, reader: Reader) -> None:
    ids: set[str] = set()
    for index, signing_key in enumerate(config.signing_keys):
        key: Key = ("signing_key", index)
        _check_own_name(reader, (*key, "id"), signing_key.id, ids, "an id that no other key has")
        if len(signing_key.secret) < SECRET_MIN:
            raise reader.wrong(
                (*key, "secret"), f"found {len(signing_key.secret)} bytes, expected {SECRET_MIN} or more"
            )


def _check_anonymous(config: Config, reader: Reader) -> None:
    """What everybody may do must have been meant."""
    exposed = [where for where in config.http.listen if not is_local(where)]
    for name, domain in config.domains.items():
        key: Key = ("domain", name)
        if exposed and "write" in domain.anonymous and not domain.allow_anonymous_write:
            raise reader.mistake(
                (*key, "anonymous"),
                list(domain.anonymous),
                f"no write, for others than this machine reach {exposed[0]}; if everybody there may write, say "
                "allow_anonymous_write = true",
            )
        if domain.private:
            for backend in config.backends.values():
                if not getattr(backend.options, "private", True):
                    raise reader.wrong(
                        ("backend", backend.name, "private"),
                        f"found false, but domain.{name} is private (its anonymous has no read), and this "
                        "server would give its files to everybody; expected true, and the server set up for it",
                    )
    exposed = [where for where in config.http.admin if not is_local(where)]
    if exposed and not any("admin" in token.scopes for token in config.tokens):
        raise reader.mistake(
            ("http", "admin"),
            list(config.http.admin),
            f"loopback only, or a [[token]] with the scope admin: others than this machine reach {exposed[0]}",
        )


def is_local(endpoint: str) -> bool:
    """Whether nobody but this machine reaches what listens there, by what the endpoint string says."""
    kind = endpoint.partition(":")[0]
    if kind == "unix":
        return True
    if kind not in ("tcp", "tcp4", "tcp6", "ssl"):
        return False  # nobody knows
    interface = interface_of(endpoint)
    try:
        return interface == "localhost" or ipaddress.ip_address(interface).is_loopback
    except ValueError:
        return False


def interface_of(endpoint: str) -> str:
    """The interface that an endpoint string names, unescaped; "" if none, which is all of them."""
    match = re.search(r":interface=((?:[^:\\]|\\.)*)", endpoint)
    return match[1].replace("\\", "") if match else ""


def _check_rule(config: Config, reader: Reader, key: Key, rule: Rule) -> None:
    _check_policy_name(config, reader, (*key, "policy"), rule.policy)
    if all(condition is None for condition in (rule.match, rule.type, rule.larger, rule.smaller)):
        raise reader.wrong(key, "found no condition, expected match, type, larger or smaller")
    if rule.match is not None and (not rule.match or rule.match.startswith("/")):
        raise reader.mistake((*key, "match"), rule.match, 'a path such as "thumbs/**", without a leading slash')
    if rule.type is not None and not _TYPE_GLOB.fullmatch(rule.type):
        raise reader.mistake((*key, "type"), rule.type, 'a media type such as "image/png" or "video/*"')
    if rule.larger is not None and rule.smaller is not None and rule.smaller - rule.larger < 2:
        raise reader.mistake((*key, "smaller"), str(rule.smaller), f"more than larger, which is {rule.larger}")


def _check_policy_name(config: Config, reader: Reader, key: Key, name: str) -> None:
    if name not in config.policies:
        raise reader.mistake(key, name, choice(name, config.policies))


def _check_own_name(reader: Reader, key: Key, name: str, others: set[str], expected: str) -> None:
    """``others`` are those before it, which it joins."""
    _check_name(reader, key, _NAME, name)
    if name in others:
        raise reader.mistake(key, name, expected)
    others.add(name)


def is_name(text: str) -> bool:
    """Whether a token, a key, a policy, a backend … may be called that."""
    return _is_name(_NAME, text)


def is_domain_name(text: str) -> bool:
    return _is_name(_DOMAIN, text)


def _is_name(form: re.Pattern[str], text: str) -> bool:
    return form.fullmatch(text) is not None and len(text) <= 100


def _check_name(reader: Reader, key: Key, form: re.Pattern[str], name: str) -> None:
    if not _is_name(form, name):
        letters = "small letters" if form is _DOMAIN else "letters"
        raise reader.mistake(key, name, f"a name of {letters}, digits, '.', '_' and '-', 100 at most")

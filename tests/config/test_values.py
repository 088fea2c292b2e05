import msgspec
import pytest

from dragonbelly.config import load
from dragonbelly.errors import ConfigError
from dragonbelly.policies.copies import CopiesOptions, CopiesPolicy
from dragonbelly.units import Duration, Size
from dragonbelly.web.callers import Caller
from tests.config.kinds import SMALL, loads

MUCH = """
[state]
redis = "redis://admin:hush@redis.example.com/2"
stale = 0

[domain.media]
hosts = ["Media.Example.com.", "*"]
policy = "cheap"
rules = [
    { type = "video/*", policy = "large" },
    { match = "thumbs/**", larger = "1MiB", smaller = "2MiB", policy = "default" },
]

[domain.other]
hosts = ["[::1]", "127.0.0.1"]

[policy.cheap]
copies = 1

[policy.large]
kind = "copies"
copies = 3
spread = "zone"

[backend.store1]
kind = "shelf"
url = "http://store1.example.com"
host = "rack-1"
zone = "a"
weight = 2
secret = "hush"
link-key = "hush"

[backend.store2]
kind = "shelf"
url = "https://store2.example.com:8443/files/"
expires = "1h30m"

[upload]
lapse = "2h"
max_size = "10MB"

[replication]
patience = "30s"
"""


def test_what_is_not_written_is_the_default():
    config = loads(SMALL)
    assert config.state.redis == "redis://127.0.0.1:6379/0"
    assert (config.state.partitions, config.state.reply_timeout, config.state.stale) == (64, 2, 60)
    assert config.state.require_noeviction
    assert config.http.listen == ("tcp:8080",)
    assert config.http.admin == ("tcp:8081:interface=127.0.0.1",)
    assert (config.http.upload_redirect, config.http.cache_control) == ("auto", "no-store")
    assert (config.limits.idle, config.http.cache) == (60, 100_000)
    assert (config.upload.lapse, config.upload.min_rate, config.upload.max_size) == (
        3600,
        128 * 2**10,
        50 * 2**30,
    )
    replication = config.replication
    assert (replication.every, replication.lease, replication.patience) == (1, 60, 300)
    assert (replication.concurrency, replication.per_backend) == (16, 4)
    assert (replication.bandwidth, replication.bandwidth_per_backend) == (0, 0)
    assert config.delete.grace == 900
    assert (config.health.every, config.health.timeout) == (2, 1.5)
    assert list(config.domains) == ["default"]
    assert config.domains["default"].hosts == ("*",)
    assert config.domains["default"].rules == ()
    assert config.policies["default"].options == CopiesOptions(copies=2, spread="host")
    backend = config.backends["store1"]
    assert (backend.host, backend.zone, backend.weight) == ("store1", "default", 1.0)


def test_what_is_written():
    config = loads(MUCH)
    assert config.state.stale == 0
    assert list(config.domains) == ["media", "other"]
    media = config.domains["media"]
    assert media.hosts == ("media.example.com", "*")
    assert [rule.policy for rule in media.rules] == ["large", "default"]
    assert media.rules[1].larger == 2**20
    assert isinstance(media.rules[1].larger, Size)
    store1, store2 = config.backends.values()
    assert (store1.host, store1.zone, store1.weight, store1.options.link_key) == ("rack-1", "a", 2.0, "hush")
    assert isinstance(store1.weight, float)
    assert store2.options.expires == Duration(5400)
    assert list(config.policies) == ["default", "cheap", "large"]


def test_what_is_made_of_it():
    config = loads(MUCH)
    policies = config.make_policies()
    assert {name: type(policy) for name, policy in policies.items()} == dict.fromkeys(
        config.policies, CopiesPolicy
    )
    assert policies["large"].name == "large"
    assert config.make_backends(None)["store2"] == ("store2", config.backends["store2"].options)


def test_nothing_can_be_changed():
    config = loads(SMALL)
    with pytest.raises(AttributeError):
        config.state.partitions = 1
    with pytest.raises(TypeError):
        config.backends["store2"] = config.backends["store1"]


def test_secrets_are_not_shown():
    config = loads(MUCH)
    assert "hush" in config.state.redis
    for value in (config, config.state, config.backends, config.backends["store1"]):
        assert "hush" not in repr(value)
        assert "hush" not in str(value)
    assert "redis.example.com/2" in repr(config)


@pytest.mark.parametrize("found", ["'hush'", "{ env = 'HUSH' }", "{ file = '/FILE' }"])
def test_passwords_beside_the_url(found, tmp_path, monkeypatch):
    (tmp_path / "hush").write_text("hush\n")
    monkeypatch.setenv("HUSH", "hush")
    found = found.replace("/FILE", str(tmp_path / "hush"))
    passwords = f"redis_password = {found}\nsentinel_password = {found}\n"
    state = loads(f"[state]\nredis = 'sentinel://me@h/main'\n{passwords}{SMALL}").state
    assert state.login == ("hush", "hush")
    assert "hush" not in repr(state) + repr(state.login) + str(state)


def test_digests_of_tokens_are_not_shown():
    config = loads(f"[[token]]\nname = 'shop'\nsha256 = '{'ab' * 32}'\nscopes = ['read']\n{SMALL}")
    for value in (config, config.tokens, Caller(config.tokens[0])):
        assert "shop" in repr(value)
        assert "abab" not in repr(value)


def test_the_same_from_a_file(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("[backend.x]\nkind = 'shelf'")
    with pytest.raises(
        ConfigError, match=r"a.toml: backend.x.kind: found \"shelf\", expected one of .*dav.*node"
    ):
        load(path)
    path.write_text("[backend.x]\nkind = 'dav'\nurl = 'http://x'")
    assert load(path).filename == str(path)


# --- the fingerprint -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[domain.other]", "[domain.another]"),
        ('policy = "cheap"\nrules', 'policy = "large"\nrules'),
        ('type = "video/*"', 'type = "audio/*"'),
        ('larger = "1MiB"', 'larger = "1MB"'),
        ("copies = 1", "copies = 2"),
        ('spread = "zone"', 'spread = "host"'),
        ("[policy.cheap]", "[policy.cheaper]\n[policy.cheap]"),
        ("[backend.store2]", "[backend.store3]"),
        ('host = "rack-1"', 'host = "rack-2"'),
        ('zone = "a"', 'zone = "b"'),
        ("weight = 2", "weight = 3"),
    ],
)
def test_what_decides_placement_changes_the_fingerprint(old, new):
    assert MUCH.count(old) == 1
    assert loads(MUCH).fingerprint() != loads(MUCH.replace(old, new)).fingerprint()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stale = 0", "stale = 1"),
        ('"Media.Example.com."', '"www.example.com"'),
        ("https://store2", "https://new.store2"),
        ('secret = "hush"', ""),
        ('lapse = "2h"', 'lapse = "1h"'),
        ('patience = "30s"', ""),
        ("weight = 2", "weight = 2.0"),
        ('larger = "1MiB"', "larger = 1048576"),
        ("[policy.cheap]", "[policy.default]\ncopies = 2\n[policy.cheap]"),
    ],
)
def test_what_does_not_decide_placement_leaves_the_fingerprint(old, new):
    assert MUCH.count(old) == 1
    assert loads(MUCH).fingerprint() == loads(MUCH.replace(old, new)).fingerprint()


def test_the_order_of_rules_counts_and_that_of_backends_does_not():
    config = loads(MUCH)
    media = config.domains["media"]
    turned = msgspec.structs.replace(media, rules=media.rules[::-1])
    other = msgspec.structs.replace(config, domains={**config.domains, "media": turned})
    assert other.fingerprint() != config.fingerprint()
    other = msgspec.structs.replace(config, backends=dict(reversed(config.backends.items())))
    assert other.fingerprint() == config.fingerprint()

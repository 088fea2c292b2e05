from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactor

from dragonbelly.errors import ConfigError
from dragonbelly.state.address import Login, RedisAddress, parse_url
from dragonbelly.state.endpoints import endpoint


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://127.0.0.1", RedisAddress(host="127.0.0.1")),
        ("redis://127.0.0.1:6380/3", RedisAddress(host="127.0.0.1", port=6380, db=3)),
        ("redis://redis.example.com/", RedisAddress(host="redis.example.com")),
        ("redis://[::1]:7000/0", RedisAddress(host="::1", port=7000)),
        ("redis://:secret@h", RedisAddress(host="h", password="secret")),
        ("redis://me:p%40%2F%3A%23w@h/1", RedisAddress(host="h", db=1, username="me", password="p@/:#w")),
        (
            "rediss://me:pw@h:6390/2",
            RedisAddress(host="h", port=6390, db=2, username="me", password="pw", tls=True),
        ),
        ("rediss://h?cafile=/etc/ca.pem", RedisAddress(host="h", tls=True, cafile="/etc/ca.pem")),
        ("unix:///run/redis.sock", RedisAddress(path="/run/redis.sock")),
        ("unix:///run/a%20b.sock?db=2", RedisAddress(path="/run/a b.sock", db=2)),
        ("unix://me:pw@/run/redis.sock", RedisAddress(path="/run/redis.sock", username="me", password="pw")),
        (
            "sentinel://h1:26380,h2,[::1],[fe80::1]:7/main",
            RedisAddress(sentinels=(("h1", 26380), ("h2", 26379), ("::1", 26379), ("fe80::1", 7)), name="main"),
        ),
        (
            "sentinel://me:p%40%2F%3A%23w@h/a.b-c_1?db=3&sentinel_username=you&sentinel_password=q%26%3D",
            RedisAddress(
                db=3,
                username="me",
                password="p@/:#w",
                sentinels=(("h", 26379),),
                name="a.b-c_1",
                sentinel_username="you",
                sentinel_password="q&=",
            ),
        ),
        (
            "sentinel://:pw@h/main",
            RedisAddress(password="pw", sentinels=(("h", 26379),), name="main"),
        ),
    ],
)
def test_urls(url: str, address: RedisAddress) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "begins with none of"),
        ("127.0.0.1:6379", "begins with none of"),
        ("http://h", "begins with none of"),
        ("redis://", "names no host"),
        ("redis:///0", "names no host"),
        ("redis://h:port", "port"),
        ("redis://h:70000", "port"),
        ("redis://[::1", "%5B"),
        ("redis://h/zero", "database"),
        ("redis://h/-1", "database"),
        ("redis://h/0/1", "database"),
        ("redis://h?db=1", "unknown for redis://"),
        ("redis://h?cafile=/x", "unknown for redis://"),
        ("rediss://h?cafil=/x", "known: cafile"),
        ("redis://me@h", "no password"),
        ("redis://me:@h", "no password"),
        ("redis://me:s3cret#@h", "%23"),
        ("redis://me:s3cret/x@h", "%2F"),
        ("unix://run/redis.sock", "absolute path"),
        ("unix:redis.sock", "absolute path"),
        ("unix:///redis.sock?db=x", "database"),
        ("unix:///redis.sock?cafile=/x", "known: db"),
        ("sentinel://h1,h2", "name after the hosts"),
        ("sentinel://h1,h2/", "name after the hosts"),
        ("sentinel://h/s3cret name", "name after the hosts"),
        ("sentinel://h/main/0", "separated by commas"),
        ("sentinel:///main", "a sentinel is host"),
        ("sentinel://h1,,h2/main", "a sentinel is host"),
        ("sentinel://h1:s3cret/main", "a sentinel is host"),
        ("sentinel://h1:0/main", "port of a sentinel"),
        ("sentinel://h1:70000/main", "port of a sentinel"),
        ("sentinel://::1/main", "a sentinel is host"),
        ("sentinel://[::1/main", "a sentinel is host"),
        ("sentinel://me@h/main", "no password"),
        ("sentinel://me:@h/main", "no password"),
        ("sentinel://me:s3cret/x@h/main", "%2F"),
        ("sentinel://me:s3cret@x@h/main", "%40"),
        ("sentinel://me:s3cret#@h/main", "%23"),
        ("sentinel://h/main?db=x", "database"),
        ("sentinel://h/main?cafile=/x", "known: db and sentinel_username and sentinel_password"),
        ("sentinel://h/main?sentinel_username=me", "no sentinel_password"),
    ],
)
def test_mistakes(url: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    message = str(caught.value)
    assert reason in message
    assert "\n" not in message
    assert "s3cret" not in message


BESIDE = Login("p:w", "s:pw")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", (None, "p:w", None)),
        ("redis://me@h", ("me", "p:w", None)),
        ("redis://me:@h", ("me", "p:w", None)),
        ("rediss://m%40e@h", ("m@e", "p:w", None)),
        ("unix:///r.sock", (None, "p:w", None)),
        ("unix://me@/r.sock", ("me", "p:w", None)),
        ("sentinel://h/main", (None, "p:w", "s:pw")),
        ("sentinel://me@h/main?sentinel_username=you", ("me", "p:w", "s:pw")),
    ],
)
def test_passwords_beside_it(url: str, expected: tuple[str | None, ...]) -> None:
    address = parse_url(url, BESIDE if url.startswith("sentinel") else Login("p:w"))
    assert (address.username, address.password, address.sentinel_password) == expected


@pytest.mark.parametrize(
    ("url", "login", "reason"),
    [
        ("redis://:s3cret@h", Login("s3cret"), "another one beside it"),
        ("unix://me:s3cret@/r.sock", Login("s3cret"), "another one beside it"),
        ("sentinel://me:s3cret@h/main", Login("s3cret"), "another one beside it"),
        ("sentinel://h/main?sentinel_password=s3cret", BESIDE, "another one beside it"),
        ("redis://h", BESIDE, "it does not begin with sentinel://"),
        ("redis://me@h", Login(), "no password"),
        ("sentinel://me@h/main", Login(None, "s3cret"), "no password"),
    ],
)
def test_passwords_that_are_two_or_for_nobody(url: str, login: Login, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        parse_url(url, login)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:s3cret@h",
        "rediss://:s3cret@h:1/2",
        "unix://me:s3cret@/r.sock?db=1",
        "sentinel://me:s3cret@h/main?sentinel_password=s3cret",
    ],
)
def test_the_password_is_never_shown(url: str) -> None:
    address = parse_url(url)
    assert address.password == "s3cret"
    assert "s3cret" not in repr(address) + str(address) + f"{address}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:pw@[::1]/4", "redis://[::1]:6379/4"),
        ("rediss://h", "rediss://h:6379/0"),
        ("unix:///run/r.sock?db=2", "unix:///run/r.sock?db=2"),
        ("sentinel://me:pw@h1,[::1]:7/main?sentinel_password=pw", "sentinel://h1:26379,[::1]:7/main"),
        ("sentinel://h/main?db=1", "sentinel://h:26379/main?db=1"),
    ],
)
def test_how_it_is_shown(url: str, shown: str) -> None:
    assert str(parse_url(url)) == shown


def test_authorities_that_cannot_be_used(tmp_path: Path) -> None:
    empty, broken = tmp_path / "empty.pem", tmp_path / "broken.pem"
    empty.write_text("no certificate\n")
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for file, reason in ((tmp_path / "absent", "cannot be read"), (empty, "in PEM"), (broken, "no valid")):
        with pytest.raises(ConfigError, match=reason):
            endpoint(MemoryReactor(), parse_url(f"rediss://h?cafile={file}"), 1.0)

"""Who reaches a daemon without a configuration, by its endpoint strings."""

from __future__ import annotations

import pytest

from dragonbelly.errors import StartError
from dragonbelly.reach import reach
from dragonbelly.state.address import host_and_port

HERE = "tcp:8081"


@pytest.mark.parametrize(
    ("public", "host", "expected"),
    [
        ("tcp:8080", None, (False, "127.0.0.1", "127.0.0.1", "127.0.0.1")),
        ("tcp6:8080", None, (False, "127.0.0.1", "127.0.0.1", "127.0.0.1")),
        ("tcp:8080:interface=127.0.0.2", None, (False, "127.0.0.1", "127.0.0.1", "127.0.0.1")),
        ("unix:/run/x.sock", None, (False, "127.0.0.1", "127.0.0.1", "127.0.0.1")),
        ("tcp:8080:interface=10.0.0.5", None, (True, "10.0.0.5", "10.0.0.5", "10.0.0.5")),
        ("tcp:8080:interface=10.0.0.5", "media.test", (True, "10.0.0.5", "media.test", "10.0.0.5")),
        ("tcp:8080:interface=0.0.0.0", "media.test", (True, "0.0.0.0", "media.test", "127.0.0.1")),
        ("tcp6:8080:interface=\\:\\:", "2001:db8::1", (True, "::", "2001:db8::1", "::1")),
        ("ssl:443", "media.test", (True, "0.0.0.0", "media.test", "127.0.0.1")),
    ],
)
def test_where_nodes_listen_and_are_found(
    public: str, host: str | None, expected: tuple[bool, str, str, str]
) -> None:
    found = reach(public, HERE, host)
    assert (found.others_read, found.interface, found.host, found.inside) == expected
    assert found.takes_token is expected[0]


def test_what_the_token_is_for() -> None:
    assert reach("tcp:1:interface=10.0.0.5", HERE, None).scopes == ("read", "list", "write")
    assert reach(HERE, "tcp:1:interface=0.0.0.0", None).scopes == ("read", "list", "write", "admin")


def test_without_an_interface_it_is_loopback() -> None:
    assert reach("tcp:8080", "tcp6:8081", None)[:2] == (
        "tcp:8080:interface=127.0.0.1",
        "tcp6:8081:interface=\\:\\:1",
    )


@pytest.mark.parametrize(
    ("public", "host", "says"),
    [
        ("tcp:1:interface=0.0.0.0", None, "every interface"),
        ("tcp:1:interface=", None, "every interface"),
        ("tcp6:1:interface=\\:\\:", None, "every interface"),
        ("ssl:1", None, "every interface"),
        ("tcp:1", "media.test", "none of them reaches"),
        *(
            ("tcp:1:interface=0.0.0.0", host, "expected a host name or an IP address")
            for host in ("", "a:1", "http://a", "a/b", "a b", "-a", "[::1]", 'a"', "x" * 300)
        ),
    ],
)
def test_what_nobody_could_find(public: str, host: str | None, says: str) -> None:
    with pytest.raises(StartError, match=says):
        reach(public, HERE, host)


def test_in_a_url() -> None:
    assert host_and_port("::1", 80) == "[::1]:80"
    assert host_and_port("a.test", 80) == "a.test:80"

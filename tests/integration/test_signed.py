"""nginx with ``secure_link``: nothing is read or written without a link that the daemon signed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.asking import ask, curl
from tests.integration.site import Site
from tests.servers.nginx import NginxServer

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def signed() -> Iterator[Site]:
    with Site(stores={name: NginxServer(private=True) for name in ("one", "two", "three")}) as site:
        yield site
        site.settled()


def unsigned(url: str) -> str:
    assert "md5=" in url
    return url.partition("?")[0]


def test_curl_goes_the_whole_way_on_signed_links(signed: Site, tmp_path: Path) -> None:
    (file := tmp_path / "private.txt").write_bytes(b"private")
    curl("--fail", "-LT", str(file), signed.url("a/private ü.txt"))
    assert curl("--fail", "-L", signed.url("a/private ü.txt")) == b"private"
    signed.copied("a/private ü.txt")


def test_nothing_is_read_without_a_signature(signed: Site) -> None:
    signed.put("read.txt", b"private")
    where = ask("GET", signed.url("read.txt")).headers["Location"]
    assert ask("GET", where).body == b"private"
    assert ask("HEAD", where).status == 200
    assert ask("GET", unsigned(where)).status == 403
    flipped = where.replace("md5=", "md5=x")
    assert ask("GET", flipped).status == 403


def test_nothing_is_written_without_a_signature_or_with_that_of_another_method(signed: Site) -> None:
    begun = signed.begin("write.txt", b"private")
    where = begun.headers["Location"]
    assert ask("PUT", unsigned(where), b"foreign").status == 403
    assert ask("GET", where).status == 403
    assert ask("DELETE", where).status == 403
    assert ask("PUT", where, b"private").status == 201
    assert signed.get("write.txt") == b"private"
    to_read = ask("GET", signed.url("write.txt")).headers["Location"]
    assert ask("PUT", to_read, b"foreign").status == 403
    assert signed.get("write.txt") == b"private"


def test_the_link_of_one_object_is_no_link_to_another(signed: Site) -> None:
    signed.put("mine.txt", b"mine")
    signed.put("yours.txt", b"yours")
    mine = ask("GET", signed.url("mine.txt")).headers["Location"]
    yours = ask("GET", signed.url("yours.txt")).headers["Location"]
    assert ask("GET", f"{unsigned(yours)}?{mine.partition('?')[2]}").status == 403


def test_an_overwrite_and_a_deletion_leave_nothing(signed: Site) -> None:
    signed.put("over.txt", b"one")
    signed.copied("over.txt")
    signed.put("over.txt", b"two")
    assert signed.get("over.txt") == b"two"
    assert ask("DELETE", signed.url("over.txt")).status == 204
    signed.settled()

"""Files in and out with curl, copies on disk, overwriting under a reader."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.asking import ask, curl, follow
from tests.integration.site import Site, sha256
from tests.servers.nginx import NginxServer

pytestmark = pytest.mark.servers


def test_a_photo_put_with_curl_is_read_back_at_once_and_soon_has_two_copies(site: Site, tmp_path: Path) -> None:
    photo, back = tmp_path / "photo.jpg", tmp_path / "back.jpg"
    photo.write_bytes(os.urandom(300_000))
    curl("--fail", "-LT", str(photo), site.url("a/photo.jpg"))
    kind = curl("--fail", "-L", "-o", str(back), "-w", "%{content_type}", site.url("a/photo.jpg"))
    assert back.read_bytes() == photo.read_bytes()
    assert kind == b"image/jpeg"

    file = site.copied("a/photo.jpg", within=5)
    digest = sha256(photo.read_bytes())
    assert (file["sha256"], file["size"], file["state"]) == (digest, 300_000, "live")
    assert file["copies"]["owed"] == file["copies"]["held"] == 2
    assert file["copies"]["enough"] is True
    assert len({replica["host"] for replica in file["replicas"]}) == 2
    objects = [
        store.root / key
        for name, store in site.stores.items()
        for key in site.disk()[name]
        if key.endswith("/photo.jpg")
    ]
    assert len(objects) == 2
    assert {sha256(object.read_bytes()) for object in objects} == {digest}


@pytest.mark.parametrize(
    "path", ["plain.txt", "dir with space/ümläut %25 #?&+.txt", "深/い/パス", "a/@b/'\"<>", "%2e%2e.txt"]
)
def test_any_path_comes_back_under_its_name(site: Site, path: str) -> None:
    data = os.urandom(1000)
    whole = f"paths/{path}"
    site.put(whole, data)
    assert site.get(whole) == data
    assert site.copied(whole)["path"] == whole


def test_an_empty_file_is_a_file(site: Site) -> None:
    site.put("empty.txt", b"")
    assert site.get("empty.txt") == b""
    assert site.copied("empty.txt")["size"] == 0


def test_a_deleted_file_is_gone_from_answers_at_once_and_from_disk_later(site: Site) -> None:
    site.put("gone.txt", b"to be deleted")
    site.copied("gone.txt")
    assert curl("-o", os.devnull, "-w", "%{http_code}", "-X", "DELETE", site.url("gone.txt")) == b"204"
    assert follow(site.url("gone.txt")).status == 404
    assert ask("DELETE", site.url("gone.txt")).status == 404
    site.eventually(
        "its objects are gone",
        lambda: not any(key.endswith("/gone.txt") for keys in site.disk().values() for key in keys),
    )


def test_each_overwrite_is_read_at_once_and_only_the_last_one_stays_on_disk(site: Site) -> None:
    for n in range(5):
        data = f"version {n}".encode()
        site.put("often.txt", data)
        assert site.get("often.txt") == data
    site.eventually(
        "two objects are left",
        lambda: sum(key.endswith("/often.txt") for keys in site.disk().values() for key in keys) == 2,
        path="often.txt",
    )
    assert site.get("often.txt") == b"version 4"


def test_a_conditional_put_holds_what_it_says(site: Site) -> None:
    first = site.put("once.txt", b"first", If_None_Match="*")
    assert site.get("once.txt") == b"first"
    assert site.begin("once.txt", b"second", If_None_Match="*").status == 412
    assert site.begin("once.txt", b"second", If_Match='"01ARZ3NDEKTSV4RRFFQ69G5FAV"').status == 412
    second = site.put("once.txt", b"second", If_Match=f'"{first}"')
    assert site.get("once.txt") == b"second"
    assert ask("GET", site.url("once.txt")).headers["ETag"] == f'"{second}"'


def test_a_slow_reader_of_the_old_version_ends_with_the_old_bytes(tmp_path: Path) -> None:
    old, new = os.urandom(1 << 20), b"the new version"
    stores = {name: NginxServer(limit_rate="300k") for name in ("one", "two")}
    with Site(stores=stores) as site:
        site.put("slow.bin", old)
        site.eventually("the first version is live", lambda: site.file("slow.bin"), path="slow.bin")
        output = tmp_path / "read"
        with subprocess.Popen(["curl", "-sSfL", "-o", str(output), site.url("slow.bin")]) as reader:
            try:
                site.eventually(
                    "the reader is in the middle", lambda: output.exists() and output.stat().st_size > 100_000
                )
                site.put("slow.bin", new)
                assert site.get("slow.bin") == new
                assert reader.poll() is None, "the reader was to be slower than the overwrite"
                assert output.stat().st_size < len(old)
                assert reader.wait(30) == 0
            finally:
                reader.kill()
        assert output.read_bytes() == old
        (file,) = site.settled()
        assert file["sha256"] == sha256(new)
        assert site.get("slow.bin") == new

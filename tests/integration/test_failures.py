"""A storage server that fails, and comes back."""

from __future__ import annotations

import pytest

from tests.integration.asking import ask
from tests.integration.reading import Readers
from tests.integration.site import Site

pytestmark = pytest.mark.servers

EXTRA = '[delete]\ngrace = "2s"\n'


def fill(site: Site, count: int, prefix: str = "f") -> dict[str, bytes]:
    """So many files with their copies; contents by path."""
    files = {f"{prefix}/{n}.txt": f"{prefix} {n}".encode() * 100 for n in range(count)}
    for path, data in files.items():
        site.put(path, data)
        site.get(path)
    for path in files:
        site.copied(path)
    return files


def observed(site: Site, name: str) -> str:
    return str(site.daemon.backend(name)["observed"])


@pytest.mark.parametrize("failure", ["kill", "pause"])
def test_files_stay_readable_and_get_their_copies_elsewhere(failure: str) -> None:
    with Site(EXTRA) as site:
        files = fill(site, 20)
        failed = site.stores["two"]
        failed.kill() if failure == "kill" else failed.pause()
        # Probes come twice a second and may take as long; what goes beyond is for a busy machine.
        site.eventually("the failure is seen", lambda: observed(site, "two") == "unreachable", within=5)
        with Readers(site, files):
            for path in files:
                location = ask("GET", site.url(path)).headers["Location"]
                assert site.store_of(location) != "two"
            site.put("meanwhile.txt", b"put in meanwhile")
            assert site.get("meanwhile.txt") == b"put in meanwhile"

            def made_up() -> bool:
                for path in [*files, "meanwhile.txt"]:
                    file = site.file(path)
                    good = {r["backend"] for r in file["replicas"] if r["state"] == "good"}
                    assert good >= {"one", "three"}, file
                return True

            site.eventually("the copies are made up elsewhere", made_up)
            # Overwritten and deleted while one server that has the old bytes is away.
            site.put("f/0.txt", files["f/0.txt"])
            failed.start() if failure == "kill" else failed.resume()
            site.eventually("it is seen again", lambda: observed(site, "two") == "up")
            settled = site.settled()
        assert {file["path"] for file in settled} == {*files, "meanwhile.txt"}
        assert all(file["copies"]["held"] == len(file["replicas"]) == 2 for file in settled)


def test_what_was_deleted_while_a_server_was_away_is_gone_there_too() -> None:
    with Site() as site:
        files = fill(site, 6)
        site.stores["one"].kill()
        site.eventually("the failure is seen", lambda: observed(site, "one") == "unreachable", within=5)
        for path in files:
            assert ask("DELETE", site.url(path)).status == 204
        site.stores["one"].start()
        assert site.settled() == []
        assert not any(site.disk().values())


def test_a_corrupt_copy_is_no_source() -> None:
    """The bytes of one copy are damaged; a third copy is made from the other, and the damage is repaired."""
    with Site() as site:
        site.put("a.txt", b"right bytes")
        file = site.copied("a.txt")
        damaged = file["replicas"][0]["backend"]
        (key,) = site.disk()[damaged]
        (site.stores[damaged].root / key).write_bytes(b"wrong bytes")
        changed = ask("PATCH", f"{site.daemon.url}/-/api/v1/files/a.txt", b'{"copies": 3}')
        assert changed.status == 200, changed
        site.copied("a.txt", 3)
        # Each of the three is compared with the digest there.
        assert [file["size"] for file in site.settled()] == [11]


def test_a_storage_that_is_not_mounted_is_not_taken_for_empty() -> None:
    with Site() as site:
        files = fill(site, 20)  # some of them are there, whatever the hash says
        store = site.stores["one"]
        away = store.root.rename(store.directory / "away")
        store.root.mkdir()
        site.eventually("it is seen", lambda: observed(site, "one") == "unreachable", within=5)
        for path, data in files.items():
            assert site.get(path) == data
        assert not any(store.root.rglob("*")), "something was written beside the disk"
        store.root.rmdir()
        away.rename(store.root)
        site.eventually("it is back", lambda: observed(site, "one") == "up")
        assert len(site.settled()) == len(files)

"""What lies on a storage server, against what the records know of it."""

from __future__ import annotations

import pytest

from dragonbelly.events import DELETED, LAPSED, Deleted, Expired
from dragonbelly.ids import ulid
from dragonbelly.keys import storage_key
from dragonbelly.lifecycle import apply
from dragonbelly.model import Record, Terms
from dragonbelly.replication.objects import deleted, is_forgotten, of_key
from tests.builders import DATA, NOW, PATH, V, live, record, upload, version


def made(at: float, generation: int = 0):
    """An object of a version that was made at that moment."""
    found = of_key(storage_key(PATH, ulid(at, lambda bits: 7), generation), len(DATA))
    assert found is not None
    return found


def is_new(there: Record, at: float) -> bool:
    """Whether an object of an unknown version made then may have been forgotten, whenever that was."""
    return is_forgotten(there, "a", made(at), 0)


@pytest.mark.parametrize(
    "key",
    [
        "media/../@{}/x",
        "media/./@{}/x",
        "media/a/../@{}/x",
        "media//@{}/x",
        "media/@{}/..",
        "media/@{}/",
        "media/-/@{}/x",
        "media/a\\b/@{}/x",
        "media/@{}/a\nb",
        "media/@{}/a\x00",
        "media/@{}/a\x85b",
        "media/@{}/" + "x" * 256,
        "media/" + "a/" * 520 + "@{}/x",
        "media/@{0}/@{0}/x",
    ],
)
def test_a_key_of_what_no_file_is_called_is_none_of_ours(key):
    assert of_key(key.format(ulid(NOW, lambda bits: 7)), 1) is None


class TestForgotten:
    def test_only_since_then(self):
        assert is_forgotten(Record(), "a", made(NOW), NOW)
        assert not is_forgotten(Record(), "a", made(NOW - 1), NOW)

    @pytest.mark.parametrize(
        "end",
        [
            version(9, V.DELETED, "b:good", since=NOW),
            version(9, V.ABANDONED, "b:missing", since=NOW, upload=upload(reason=DELETED)),
        ],
    )
    def test_what_was_made_before_a_delete_ended_then(self, end):
        for there in (record(end), record(live("b:good", number=10), end)):
            assert deleted(there) == NOW
            assert not is_new(there, NOW - 500)
            assert not is_new(there, NOW)
            assert is_new(there, NOW + 1)

    def test_the_last_one_counts(self):
        ends = [version(n, V.DELETED, "b:good", since=NOW + n) for n in (7, 9, 8)]
        assert deleted(record(*ends)) == NOW + 9
        assert deleted(Record()) == 0

    @pytest.mark.parametrize(
        "other",
        [
            version(9, V.SUPERSEDED, "b:good", since=NOW),
            version(9, V.ABANDONED, "b:missing", since=NOW, upload=upload(reason=LAPSED)),
            version(9, V.UPLOADING, "b:missing", since=NOW),
            live("b:good", number=9, since=NOW),
        ],
    )
    def test_no_other_end_is_one_of_the_path(self, other):
        assert deleted(record(other)) == 0
        assert is_new(record(other), NOW - 500)

    def test_a_delete_ends_uploads_and_files_alike(self):
        waiting = version(1, V.UPLOADING, "b:missing", since=NOW - 9)
        for there in (record(waiting), record(live("b:good", since=NOW - 9))):
            after = apply(there, Deleted(NOW))
            assert not is_new(after, NOW - 5)
            assert is_new(after, NOW + 1)

    def test_an_expiry_ends_nothing_that_came_after_its_file(self):
        """Nor, then, what came after it and was forgotten."""
        old = live("b:good", number=2, since=NOW - 50, terms=Terms(expires=NOW))
        older = version(1, V.UPLOADING, "b:missing", since=NOW - 60)
        after = apply(record(old, older), Expired(NOW, old.id))
        assert [v.state for v in after.versions] == [V.DELETED, V.ABANDONED]
        assert is_new(after, NOW - 5)


def forgotten(world, data: bytes = b"newer"):
    """A file that was replaced by one which the store forgets, while its servers are away."""
    saved = world.save()
    newer = world.file(data)
    servers = [world.backends[name] for name in world.held()]
    for server in servers:
        server.away = True
    world.advance(3)
    world.roll_back(saved)
    world.advance(2)
    assert world.live().id != newer.id
    return newer, servers


def come_back(world, servers) -> None:
    assert not world.daemon.ledger.epoch.agreed
    for server in servers:
        server.away = False
    world.advance(60)
    assert world.daemon.ledger.epoch.agreed


def test_what_was_forgotten_and_deleted_since_stays_gone(world):
    """Nothing of it was looked at yet when the path was deleted."""
    world.file(b"old")
    _, servers = forgotten(world)
    world.delete()
    world.advance(60)
    come_back(world, servers)
    assert world.record() is None or world.record().live is None
    world.advance(900, step=1)
    assert world.record() is None


def test_what_was_forgotten_outlives_the_expiry_of_what_it_replaced(world):
    world.file(b"old", terms=Terms(expires=NOW + 60))
    newer, servers = forgotten(world)
    world.advance(60)
    assert world.record().live is None
    come_back(world, servers)
    assert world.live().id == newer.id
    assert {world.bytes_of(world.live(), name) for name in world.held()} == {b"newer"}

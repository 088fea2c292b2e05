import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragonbelly.errors import BadRecord
from dragonbelly.model import Path, Record, Replica, ReplicaState, Use, Version, VersionState
from dragonbelly.state import accounts
from dragonbelly.testing.state import ID, record
from tests.state.strategies import records

PATH = Path("media", "a")


def test_nothing_is_stored_for_nothing() -> None:
    for nothing in (None, Record(), Record(thin_since=5)):
        assert accounts.encode(nothing) == accounts.ABSENT
        assert accounts.entry(PATH, b"", nothing) == (b"", False, None, False, {})
    assert accounts.snapshot(PATH, b"") == (None, b"")


@settings(deadline=None)
@given(records)
def test_written_and_read_again(record: Record) -> None:
    value = accounts.encode(record)
    assert accounts.decode(PATH, value) == (record if record.versions else None)


def test_a_damaged_value_names_the_path() -> None:
    for value in (b"\xc1", b"\xff", b"abc", b"\x93\x91\x91\xa1\xff\xc0\x00"):
        with pytest.raises(BadRecord, match="media/a"):
            accounts.decode(PATH, value)


def test_a_field_from_a_newer_daemon_is_left_alone() -> None:
    """Fields are appended: an older daemon reads the ones that it knows."""
    value = accounts.encode(record())
    assert value[0] == 0x93
    newer = b"\x94" + value[1:] + b"\x2a"
    assert accounts.decode(PATH, newer) == record()


def test_listed_is_live() -> None:
    for state in VersionState:
        assert accounts.entry(PATH, b"", record(state)).listed is (state is VersionState.LIVE)


def test_use_changes_by_the_difference() -> None:
    old = record(
        VersionState.LIVE, Replica("a", ReplicaState.GOOD), Replica("b", ReplicaState.MISSING), size=10
    )
    new = record(VersionState.LIVE, Replica("b", ReplicaState.GOOD), Replica("c", ReplicaState.LOST), size=10)
    entry = accounts.entry(PATH, accounts.encode(old), new)
    assert entry.use == {"a": Use(-10, -1), "b": Use(10, 0)}
    assert accounts.entry(PATH, accounts.encode(old), old).use == {}
    assert accounts.entry(PATH, accounts.encode(old), None).use == {"a": Use(-10, -1), "b": Use(0, -1)}


def test_use_of_several_versions() -> None:
    good = (Replica("a", ReplicaState.GOOD),)
    both = Record(
        (
            Version(ID, VersionState.LIVE, 0, 10, replicas=good),
            Version(ID, VersionState.SUPERSEDED, 0, 5, replicas=good),
        )
    )
    assert accounts.footprint(both) == {"a": Use(15, 2)}


@settings(deadline=None)
@given(st.lists(records, max_size=6))
def test_changes_add_up_to_what_is_there(history: list[Record]) -> None:
    use: dict[str, Use] = {}
    value = b""
    for new in history:
        entry = accounts.entry(PATH, value, new)
        use, value = accounts.add(use, entry.use), entry.value
    assert use == accounts.footprint(accounts.decode(PATH, value))

"""
What every ``IStateStore`` must do.

Subclass ``StateStoreContract``, give it ``make_store``, ``run``, ``plant`` and ``elapse``, and let pytest
collect the subclass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from zope.interface.verify import verifyObject

from dragonbelly.errors import BadRecord, Conflict, StateUnavailable
from dragonbelly.interfaces import Claim, Counts, IStateStore, ITracked, Snapshot
from dragonbelly.model import (
    BackendState,
    Path,
    Record,
    Replica,
    ReplicaState,
    Terms,
    Upload,
    Use,
    Version,
    VersionState,
)
from dragonbelly.state.keys import partition

ID = "01J00000000000000000000000"
PHOTO = Path("media", "a/photo.jpg")

_Test = Callable[["StateStoreContract", IStateStore], Coroutine[Any, Any, None]]


def record(
    state: VersionState = VersionState.LIVE,
    *replicas: Replica,
    size: int | None = 10,
    thin: int | None = None,
    id: str = ID,
) -> Record:
    """A record of one version."""
    upload = Upload(deadline=0) if state in (VersionState.UPLOADING, VersionState.ABANDONED) else None
    return Record((Version(id, state, since=0, size=size, replicas=replicas, upload=upload),), thin_since=thin)


def _on_store(test: _Test) -> Callable[[StateStoreContract], None]:
    """Run a test on a store of its own, in the place where stores run."""

    def call(self: StateStoreContract) -> None:
        async def body() -> None:
            store = self.make_store()
            try:
                await store.ready()
                await test(self, store)
            finally:
                await store.close()

        self.run(body)

    call.__name__ = test.__name__
    call.__doc__ = test.__doc__
    return call


class StateStoreContract:
    """The suite; see the module."""

    def make_store(self) -> IStateStore:
        """An empty store, 64 partitions."""
        raise NotImplementedError

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine to its end, where the store can run."""
        raise NotImplementedError

    async def plant(self, store: IStateStore, path: Path, value: bytes) -> None:
        """Put raw bytes where the record of ``path`` is kept."""
        raise NotImplementedError

    async def elapse(self, store: IStateStore, seconds: float) -> None:
        """Let time pass for the store, not less than that."""
        raise NotImplementedError

    @_on_store
    async def test_provides_the_interface(self, store: IStateStore) -> None:
        assert verifyObject(IStateStore, store)
        assert store.partitions == 64

    @_on_store
    async def test_ready_again(self, store: IStateStore) -> None:
        await store.ready()

    # --- records -------------------------------------------------------------------------------------------

    @_on_store
    async def test_absent(self, store: IStateStore) -> None:
        assert await store.get(PHOTO) == Snapshot(None, b"")
        assert await store.get_many([]) == []
        assert await store.get_many([PHOTO]) == [Snapshot(None, b"")]

    @_on_store
    async def test_commit_and_read_again(self, store: IStateStore) -> None:
        full = Record(
            (
                Version(
                    ID,
                    VersionState.LIVE,
                    since=1_700_000_000,
                    size=1 << 40,
                    sha256=bytes(range(32)),
                    replicas=(
                        Replica("store1", ReplicaState.GOOD, 5),
                        Replica("store2", ReplicaState.SUSPECT, 6, 1, "k"),
                    ),
                    content_type="image/jpeg",
                    terms=Terms({"an": "attribute", "0012": "é"}, copies=3, policy="large", expires=7),
                    removals=1,
                ),
            ),
            thin_since=9,
            tries=2,
        )
        committed = await put(store, PHOTO, full)
        assert committed.record == full
        assert await store.get(PHOTO) == committed
        assert await store.get_many([PHOTO, Path("media", "b")]) == [committed, Snapshot(None, b"")]

    @_on_store
    async def test_replace(self, store: IStateStore) -> None:
        first = await put(store, PHOTO, record())
        second = await store.commit(PHOTO, first, record(size=20), None)
        assert second.record == record(size=20)
        assert second.token != first.token
        assert await store.get(PHOTO) == second

    @_on_store
    async def test_conflict_tells_what_is_there(self, store: IStateStore) -> None:
        first = await put(store, PHOTO, record())
        second = await store.commit(PHOTO, first, record(size=20), None)
        for stale in (first, Snapshot(None, b"")):
            conflict = await conflict_of(store, PHOTO, stale, record(size=30))
            assert conflict.current == second
        assert await store.get(PHOTO) == second

    @_on_store
    async def test_conflict_with_a_record_that_went(self, store: IStateStore) -> None:
        first = await put(store, PHOTO, record())
        await store.commit(PHOTO, first, None, None)
        conflict = await conflict_of(store, PHOTO, first, record(size=30))
        assert conflict.current == Snapshot(None, b"")
        assert await store.get(PHOTO) == Snapshot(None, b"")

    @_on_store
    async def test_a_conflict_changes_nothing(self, store: IStateStore) -> None:
        first = await put(store, PHOTO, record(VersionState.UPLOADING), due=1000.0)
        await store.commit(PHOTO, first, record(VersionState.UPLOADING, size=11), None)
        before = await everything(store)
        new = record(VersionState.LIVE, Replica("store1", ReplicaState.GOOD), thin=5)
        await conflict_of(store, PHOTO, first, new, due=0.0)
        assert await everything(store) == before
        assert await store.claim(10, 1000) == []

    @_on_store
    async def test_no_update_is_lost(self, store: IStateStore) -> None:
        snapshot = await put(store, PHOTO, record(size=0))
        tries = [store.commit(PHOTO, snapshot, record(size=n), None) for n in range(1, 6)]
        outcomes = []
        for attempt in tries:
            try:
                outcomes.append(await attempt)
            except Conflict as conflict:
                outcomes.append(conflict.current)
        assert len({outcome.token for outcome in outcomes}) == 1
        assert await store.get(PHOTO) == outcomes[0]

    @_on_store
    async def test_removal(self, store: IStateStore) -> None:
        for new in (None, Record(), Record(thin_since=3, tries=4)):
            held = record(VersionState.LIVE, Replica("store1", ReplicaState.GOOD), thin=5)
            first = await put(store, PHOTO, held, due=0.0)
            gone = await store.commit(PHOTO, first, new, None)
            assert gone == Snapshot(None, b"")
            assert await store.get(PHOTO) == gone
            assert await store.counts() == Counts(0, 0, 0, 0, None)
            assert await store.use() == {}
            assert not await walked(store)
            assert await waiting(store) == set()

    @_on_store
    async def test_removal_of_nothing(self, store: IStateStore) -> None:
        assert await store.commit(PHOTO, Snapshot(None, b""), None, None) == Snapshot(None, b"")

    @_on_store
    async def test_a_damaged_record_is_said_to_be_one(self, store: IStateStore) -> None:
        good = await put(store, Path("media", "good"), record())
        for damage in (b"\xc1", b"not msgpack at all", b"\x93\x90\xc0\x00x", b"\x93\x91\x91\xa1\xff\xc0\x00"):
            await self.plant(store, PHOTO, damage)
            assert await damaged(store, PHOTO)
            assert await store.get_many([PHOTO, Path("media", "good")]) == [None, good]
            assert await walked(store) == {PHOTO, Path("media", "good")}
            try:
                await store.commit(PHOTO, Snapshot(None, b""), record(), 0.0)
            except BadRecord:
                pass
            else:
                raise AssertionError("a damaged record was overwritten")
            assert await damaged(store, PHOTO), "it is left as it is"

    @_on_store
    async def test_names_are_kept_apart(self, store: IStateStore) -> None:
        names = [
            "a",
            "a/",
            "a/b",
            "ab",
            "a b",
            "A",
            "é",
            "e\u0301",
            "日本/語",
            "\U0001f409",
            "x*?[y]",
            "{1}",
            ":f:",
            "%2F",
        ]
        paths = [Path(domain, name) for domain in ("media", "media2") for name in names]
        for size, path in enumerate(paths):
            await put(store, path, record(size=size), due=0.0)
        for size, path in enumerate(paths):
            assert (await store.get(path)).record == record(size=size)
        assert [s.record for s in await store.get_many(paths) if s] == [
            record(size=n) for n in range(len(paths))
        ]
        assert await walked(store) == set(paths)
        assert {claim.path for claim in await store.claim(100, 1000)} == set(paths)

    # --- due, claim, settle --------------------------------------------------------------------------------

    @_on_store
    async def test_due_now_is_claimed_once(self, store: IStateStore) -> None:
        await put(store, PHOTO, record(), due=0.0)
        [claim] = await store.claim(10, 1000)
        assert claim.path == PHOTO
        assert await store.claim(10, 1000) == []
        assert (await store.counts())[:3] == (1, 1, 0)

    @_on_store
    async def test_due_later_is_not_claimed(self, store: IStateStore) -> None:
        await put(store, PHOTO, record(), due=1000.0)
        assert await store.claim(10, 1000) == []
        assert (await store.counts())[:3] == (1, 1, 0)

    @_on_store
    async def test_due_in_a_moment(self, store: IStateStore) -> None:
        await put(store, PHOTO, record(), due=0.2)
        assert await store.claim(10, 1000) == []
        await self.elapse(store, 0.25)
        assert [claim.path for claim in await store.claim(10, 1000)] == [PHOTO]

    @_on_store
    async def test_a_commit_replaces_the_due_time(self, store: IStateStore) -> None:
        snapshot = await put(store, PHOTO, record(), due=0.0)
        snapshot = await store.commit(PHOTO, snapshot, record(size=20), 1000.0)
        assert await store.claim(10, 1000) == []
        await store.commit(PHOTO, snapshot, record(size=30), 0.0)
        assert len(await store.claim(10, 1000)) == 1

    @_on_store
    async def test_a_commit_may_leave_the_due_time(self, store: IStateStore) -> None:
        never = await put(store, Path("media", "never"), record(), due=None)
        await store.commit(Path("media", "never"), never, record(size=20), None)
        snapshot = await put(store, PHOTO, record(), due=0.0)
        await store.commit(PHOTO, snapshot, record(size=20), None)
        assert [claim.path for claim in await store.claim(10, 1000)] == [PHOTO]

    @_on_store
    async def test_a_removal_with_a_due_time_keeps_it(self, store: IStateStore) -> None:
        snapshot = await put(store, PHOTO, record(), due=None)
        await store.commit(PHOTO, snapshot, None, 0.0)
        assert [claim.path for claim in await store.claim(10, 1000)] == [PHOTO]

    @_on_store
    async def test_a_claim_has_a_limit(self, store: IStateStore) -> None:
        paths = {Path("media", str(n)) for n in range(200)}
        for path in paths:
            await put(store, path, record(), due=0.0)
        assert await store.claim(0, 1000) == []
        taken = []
        while claims := await store.claim(70, 1000):
            assert len(claims) <= 70
            taken += claims
        assert Counter(claim.path for claim in taken) == Counter(paths)

    @_on_store
    async def test_every_path_has_its_turn(self, store: IStateStore) -> None:
        """However often the same paths come due again, none waits for ever."""
        paths = {Path("media", str(n)) for n in range(20)}
        await store.hasten(list(paths))
        seen: set[Path] = set()
        for _ in range(2000):
            [claim] = await store.claim(1, 1000)
            assert await store.settle(claim, 0.0)
            seen.add(claim.path)
            if seen == paths:
                return
        raise AssertionError(f"never claimed: {paths - seen}")

    @_on_store
    async def test_a_lapsed_lease(self, store: IStateStore) -> None:
        await put(store, PHOTO, record(), due=0.0)
        [late] = await store.claim(10, 0.2)
        assert await store.claim(10, 1000) == []
        await self.elapse(store, 0.25)
        [claim] = await store.claim(10, 1000)
        assert claim.path == PHOTO
        assert not await store.settle(late, 0.0), "somebody else has it now"
        assert await store.claim(10, 1000) == []
        assert await store.settle(claim, None)
        assert (await store.counts()).queued == 0

    @_on_store
    async def test_late_but_nobody_took_it(self, store: IStateStore) -> None:
        await put(store, PHOTO, record(), due=0.0)
        [claim] = await store.claim(10, 0.01)
        await self.elapse(store, 0.05)
        assert await store.settle(claim, 1000.0)
        assert (await store.counts())[1:3] == (1, 0)

    @_on_store
    async def test_settle(self, store: IStateStore) -> None:
        await put(store, PHOTO, record(), due=0.0)
        [claim] = await store.claim(10, 1000)
        assert await store.settle(claim, 0.0)
        [again] = await store.claim(10, 1000)
        assert await store.settle(again, 1000.0)
        assert await store.claim(10, 1000) == []
        assert not await store.settle(again, None), "a claim is settled once"
        assert (await store.counts()).queued == 1

    @_on_store
    async def test_settling_for_another_lease_renews_the_claim(self, store: IStateStore) -> None:
        await put(store, PHOTO, record(), due=0.0)
        [claim] = await store.claim(10, 1000.0)
        renewed = await store.settle(claim, 2000.0)
        assert renewed is not None and renewed.path == PHOTO
        assert await store.settle(claim, None) is None, "the token before is worth nothing"
        assert await store.settle(renewed, 0.0) is not None
        assert [again.path for again in await store.claim(10, 1000.0)] == [PHOTO]

    @_on_store
    async def test_settle_for_good(self, store: IStateStore) -> None:
        await put(store, PHOTO, record(), due=0.0)
        [claim] = await store.claim(10, 1000)
        assert await store.settle(claim, None)
        assert not await store.settle(claim, None)
        assert not await store.settle(claim, 0.0)
        assert (await store.counts())[:5] == (1, 0, 0, 0, None)

    @_on_store
    async def test_settle_of_what_moved_meanwhile(self, store: IStateStore) -> None:
        snapshot = await put(store, PHOTO, record(), due=0.0)
        [claim] = await store.claim(10, 1000)
        await store.hasten([PHOTO])
        assert not await store.settle(claim, None)
        [claim] = await store.claim(10, 1000)
        await store.commit(PHOTO, snapshot, record(size=20), 500.0)
        assert not await store.settle(claim, None)
        assert (await store.counts())[1:3] == (1, 0)

    @_on_store
    async def test_settle_of_what_was_committed_without_a_due_time(self, store: IStateStore) -> None:
        snapshot = await put(store, PHOTO, record(), due=0.0)
        [claim] = await store.claim(10, 1000)
        await store.commit(PHOTO, snapshot, record(size=20), None)
        assert await store.settle(claim, 0.0)

    @_on_store
    async def test_settle_of_what_was_never_claimed(self, store: IStateStore) -> None:
        assert not await store.settle(Claim(PHOTO, b"1700000000"), 0.0)
        assert (await store.counts()).queued == 0

    @_on_store
    async def test_hasten(self, store: IStateStore) -> None:
        await store.hasten([])
        paths = [Path("media", str(n)) for n in range(1200)]
        await put(store, paths[0], record(), due=1000.0)
        await store.hasten(paths)
        assert (await store.counts())[:3] == (1, 1200, 1200)
        assert {claim.path for claim in await store.claim(2000, 1000)} == set(paths)

    @_on_store
    async def test_due(self, store: IStateStore) -> None:
        assert await store.due(PHOTO) is None
        snapshot = await put(store, PHOTO, record(), due=1000.0)
        assert await store.due(Path("media2", PHOTO.name)) is None
        due = await store.due(PHOTO)
        assert due is not None and 900 < due <= 1000
        await self.elapse(store, 0.2)
        later = await store.due(PHOTO)
        assert later is not None and later <= due - 0.2
        await store.hasten([PHOTO])
        assert await store.due(PHOTO) == 0
        [claim] = await store.claim(10, 500)
        lease = await store.due(PHOTO)
        assert lease is not None and 400 < lease <= 500
        assert await store.settle(claim, None)
        assert await store.due(PHOTO) is None, "it has a record, and nothing to do"
        await store.commit(PHOTO, snapshot, None, 100.0)
        gone = await store.due(PHOTO)
        assert gone is not None and 0 < gone <= 100, "queued, and without a record"

    # --- going through all of it ---------------------------------------------------------------------------

    @_on_store
    async def test_walk_finds_every_record(self, store: IStateStore) -> None:
        """Whether it is listed, due, or neither."""
        states = [VersionState.LIVE, VersionState.UPLOADING, VersionState.DELETED]
        paths = [Path("media", f"f{n}") for n in range(300)]
        for n, path in enumerate(paths):
            await put(store, path, record(states[n % 3]), due=0.0 if n % 2 else None)
        for limit in (1, 7, 1000):
            assert await walked(store, limit) == set(paths)

    @_on_store
    async def test_walk_while_records_come_and_go(self, store: IStateStore) -> None:
        stay = {Path("media", f"stay{n}") for n in range(200)}
        for path in stay:
            await put(store, path, record())
        seen: set[Path] = set()
        cursor: str | None = None
        for n in range(100_000):
            found, cursor = await store.walk(cursor, 10)
            seen |= set(found)
            if cursor is None:
                break
            if n < 100:
                passing = Path("media", f"passing{n}")
                snapshot = await put(store, passing, record())
                await store.commit(passing, snapshot, None, None)
        assert stay <= seen

    @_on_store
    async def test_waiting(self, store: IStateStore) -> None:
        await put(store, Path("media", "content"), record())
        expected = set()
        for n in range(300):
            path = Path("media", f"w{n}")
            # due, thin, both
            await put(store, path, record(thin=n if n % 3 else None), due=1000.0 if n % 3 != 1 else None)
            expected.add(path)
        for limit in (1, 50, 1000):
            assert await waiting(store, limit) == expected

    @_on_store
    async def test_page_lists_what_is_live(self, store: IStateStore) -> None:
        for n, state in enumerate(VersionState):
            await put(store, Path("media", f"{n}-{state.name}"), record(state))
        assert await store.page("media", "", "", 10) == ["1-LIVE"]

    @_on_store
    async def test_page_follows_the_record(self, store: IStateStore) -> None:
        snapshot = await put(store, PHOTO, record(VersionState.UPLOADING))
        assert await store.page("media", "", "", 10) == []
        snapshot = await store.commit(PHOTO, snapshot, record(VersionState.LIVE), None)
        assert await store.page("media", "", "", 10) == [PHOTO.name]
        assert (await store.counts()).files == 1
        snapshot = await store.commit(PHOTO, snapshot, record(VersionState.DELETED), None)
        assert await store.page("media", "", "", 10) == []
        assert (await store.counts()).files == 0

    @_on_store
    async def test_page_by_domain_prefix_and_after(self, store: IStateStore) -> None:
        names = ["a", "a/", "a/b", "a/b/c", "a0", "ab", "b", "é", "日本", "日本語", "\uffff", "\U0001f409"]
        for name in names:
            await put(store, Path("media", name), record())
        for name in ("a", "zebra"):
            await put(store, Path("media2", name), record())
            await put(store, Path("medi", name), record())

        async def page(prefix: str = "", after: str = "", limit: int = 100) -> list[str]:
            return await store.page("media", prefix, after, limit)

        assert sorted(names, key=str.encode) == names
        assert await page() == names
        assert await page(prefix="a") == names[:6]
        assert await page(prefix="a/") == names[1:4]
        assert await page(prefix="a/", after="a/b") == ["a/b/c"]
        assert await page(prefix="a/", after="a/b/c") == []
        assert await page(prefix="a/", after="A") == names[1:4]
        assert await page(prefix="a/", after="b") == []
        assert await page(after="ab") == names[6:]
        assert await page(after="aa") == names[5:]
        assert await page(prefix="日本") == ["日本", "日本語"]
        assert await page(limit=3) == names[:3]
        assert await page(limit=0) == []
        assert await page(prefix="nothing") == []
        assert await store.page("media2", "", "", 10) == ["a", "zebra"]
        assert await store.page("other", "", "", 10) == []

    @_on_store
    async def test_page_after_page(self, store: IStateStore) -> None:
        names = sorted(f"{n:x}" for n in range(0, 4000, 7))
        for name in names:
            await put(store, Path("media", name), record())
        for limit in (1, 10, 64, 500, 1000):
            found: list[str] = []
            while page := await store.page("media", "", found[-1] if found else "", limit):
                assert len(page) <= limit
                found += page
                if limit == 1 and len(found) > 20:
                    break
            assert found == names[: len(found)]
            assert limit == 1 or found == names

    @_on_store
    async def test_page_of_names_that_share_a_partition(self, store: IStateStore) -> None:
        """The even spread over partitions is likely, and not certain."""
        names = [n for n in map(str, range(20_000)) if partition(f"media/{n}", store.partitions) == 5][:150]
        assert len(names) == 150
        for name in [*names, "1"]:
            await put(store, Path("media", name), record())
        assert await store.page("media", "", "", 100) == sorted({*names, "1"})[:100]

    # --- sums ----------------------------------------------------------------------------------------------

    @_on_store
    async def test_use_by_state_of_the_replica(self, store: IStateStore) -> None:
        replicas = [Replica(state.name, state) for state in ReplicaState]
        snapshot = await put(store, PHOTO, record(VersionState.LIVE, *replicas, size=10))
        assert await store.use() == {
            "MISSING": Use(0, 1),
            "GOOD": Use(10, 1),
            "SUSPECT": Use(10, 1),
            "LEAVING": Use(10, 1),
            "CONDEMNED": Use(10, 1),
        }
        snapshot = await store.commit(
            PHOTO, snapshot, record(VersionState.LIVE, *replicas[:2], size=None), None
        )
        assert await store.use() == {"MISSING": Use(0, 1), "GOOD": Use(0, 1)}
        await store.commit(PHOTO, snapshot, record(VersionState.LIVE), None)
        assert await store.use() == {}

    @_on_store
    async def test_use_is_the_sum_over_all_records(self, store: IStateStore) -> None:
        paths = [Path("media", str(n)) for n in range(40)]
        snapshots = {path: Snapshot(None, b"") for path in paths}
        for n in range(160):
            path = paths[n * 7 % len(paths)]
            replicas = tuple(Replica(f"store{(n + k) % 5}", ReplicaState((n + k) % 6)) for k in range(n % 4))
            versions = tuple(
                Version(
                    f"{ID[:-1]}{k}",
                    VersionState.SUPERSEDED,
                    0,
                    None if n % 5 == 0 else n << 30,
                    replicas=replicas,
                )
                for k in range(n % 3)
            )
            snapshots[path] = await store.commit(path, snapshots[path], Record(versions), None)
        objects: Counter[str] = Counter()
        size: Counter[str] = Counter()
        for snapshot in await store.get_many(list(await walked(store))):
            assert snapshot is not None and snapshot.record is not None
            for version in snapshot.record.versions:
                for replica in version.replicas:
                    if replica.state is not ReplicaState.LOST:
                        objects[replica.backend] += 1
                        if replica.state is not ReplicaState.MISSING:
                            size[replica.backend] += version.size or 0
        assert objects
        assert await store.use() == {name: Use(size[name], count) for name, count in objects.items()}

    @_on_store
    async def test_use_of_a_huge_file(self, store: IStateStore) -> None:
        size = (1 << 53) + 1  # no float
        for n in range(2):
            await put(
                store,
                Path("media", str(n)),
                record(VersionState.LIVE, Replica("b", ReplicaState.GOOD), size=size),
            )
        assert await store.use() == {"b": Use(2 * size, 2)}

    @_on_store
    async def test_counts(self, store: IStateStore) -> None:
        assert await store.counts() == Counts(0, 0, 0, 0, None)
        await put(store, Path("media", "1"), record(thin=1_700_000_500), due=0.0)
        two = await put(store, Path("media", "2"), record(thin=1_700_000_100), due=1000.0)
        await put(store, Path("media", "3"), record(VersionState.UPLOADING, thin=1_700_000_200), due=1000.0)
        await put(store, Path("media", "4"), record())
        assert await store.counts() == Counts(3, 3, 1, 3, 1_700_000_100, damaged=3)
        await store.commit(Path("media", "2"), two, record(), None)
        assert await store.counts() == Counts(3, 3, 1, 2, 1_700_000_200, damaged=3)

    @_on_store
    async def test_damaged(self, store: IStateStore) -> None:
        """A live version without a good copy, for as long as that is so."""
        assert await store.damaged(10) == []
        lost = record(VersionState.LIVE, Replica("a", ReplicaState.LOST))
        paths = [Path("media", str(n)) for n in range(3)]
        snapshots = [await put(store, path, lost) for path in paths]
        for state in (ReplicaState.GOOD, ReplicaState.LEAVING):
            await put(store, PHOTO, record(VersionState.LIVE, Replica("a", state)))
        await put(store, Path("media", "uploading"), record(VersionState.UPLOADING))
        assert sorted(await store.damaged(10)) == paths
        assert len(await store.damaged(2)) == 2
        assert (await store.counts()).damaged == 3
        await store.commit(paths[0], snapshots[0], None, None)
        await store.commit(
            paths[1], snapshots[1], record(VersionState.LIVE, Replica("a", ReplicaState.GOOD)), None
        )
        assert await store.damaged(10) == paths[2:]
        assert (await store.counts()).damaged == 1

    @_on_store
    async def test_a_run_has_a_name_and_answers_can_be_confirmed(self, store: IStateStore) -> None:
        assert store.run
        await put(store, PHOTO, record())
        await store.confirm()

    # --- what persons and daemons set ----------------------------------------------------------------------

    @_on_store
    async def test_operator_states(self, store: IStateStore) -> None:
        assert await store.operator_states() == {}
        for n, state in enumerate(BackendState):
            await store.set_operator_state(f"störe{n}", state)
        assert await store.operator_states() == {f"störe{n}": state for n, state in enumerate(BackendState)}
        await store.set_operator_state("störe0", BackendState.DRAIN)
        assert (await store.operator_states())["störe0"] is BackendState.DRAIN

    @_on_store
    async def test_meta(self, store: IStateStore) -> None:
        assert await store.meta("epoch") is None
        assert not await store.set_meta("epoch", "1", "2")
        assert await store.set_meta("epoch", None, "0012")
        assert not await store.set_meta("epoch", None, "3")
        assert not await store.set_meta("epoch", "12", "3")
        assert await store.meta("epoch") == "0012"
        assert await store.set_meta("epoch", "0012", "")
        assert await store.set_meta("epoch", "", "é")
        assert await store.meta("epoch") == "é"

    # --- what changes --------------------------------------------------------------------------------------

    @_on_store
    async def test_a_reader_provides_the_interface(self, store: IStateStore) -> None:
        reader, other = await self._reader(store), await self._reader(store)
        for each in (reader, other):
            assert verifyObject(ITracked, each.tracked)

    @_on_store
    async def test_a_reader_reads_what_is_there(self, store: IStateStore) -> None:
        reader = await self._reader(store)
        assert await reader.tracked.get(PHOTO) == Snapshot(None, b"")
        committed = await put(store, PHOTO, record())
        assert await reader.tracked.get(PHOTO) == committed == await store.get(PHOTO)

    @_on_store
    async def test_a_reader_says_that_something_is_no_record(self, store: IStateStore) -> None:
        reader = await self._reader(store)
        await self.plant(store, PHOTO, b"\xc1")
        try:
            await reader.tracked.get(PHOTO)
        except BadRecord:
            return
        raise AssertionError("it passed for a record")

    @_on_store
    async def test_a_change_is_told_to_all_who_read_it(self, store: IStateStore) -> None:
        first = await put(store, PHOTO, record())
        readers = [await self._reader(store) for _ in range(2)]
        for reader in readers:
            await reader.tracked.get(PHOTO)
        await store.commit(PHOTO, first, record(size=20), None)
        for reader in readers:
            await self._told(store, reader, PHOTO)
            assert reader.told == [PHOTO.member]

    @_on_store
    async def test_what_is_to_be_done_when_all_is_told(self, store: IStateStore) -> None:
        reader, done = await self._reader(store), list[str]()
        for n in range(3):

            def told(_: object, n: int = n) -> None:
                done.append(f"told {n}")
                reader.tracked.after(lambda: done.append(f"after {n}"))

            reader.tracked.ask(PHOTO, told)
        await self._until(store, lambda: len(done) == 6)
        for n in range(3):
            assert done.index(f"told {n}") < done.index(f"after {n}")

    @_on_store
    async def test_what_appears_and_what_goes_is_told(self, store: IStateStore) -> None:
        reader = await self._reader(store)
        snapshot = await reader.tracked.get(PHOTO)
        for new in (record(), None, record(size=30)):
            reader.told.clear()
            snapshot = await store.commit(PHOTO, snapshot, new, None)
            await self._told(store, reader, PHOTO)
            assert await reader.tracked.get(PHOTO) == snapshot

    @_on_store
    async def test_every_change_is_told_be_it_read_or_not(self, store: IStateStore) -> None:
        reader, other = await self._reader(store), Path("media", "other")
        await reader.tracked.get(PHOTO)
        for size in (20, 30, 40):
            for path in (PHOTO, other):
                reader.told.clear()
                await put(store, path, record(size=size))
                await self._told(store, reader, path)
                assert reader.told == [path.member]

    @_on_store
    async def test_what_did_not_change_is_not_told(self, store: IStateStore) -> None:
        """What is due, and when, is no part of a record; nor is a commit that lost."""
        reader, other = await self._reader(store), Path("media", "other")
        snapshots = [await put(store, path, record(), due=0.0) for path in (PHOTO, other)]
        for path in (PHOTO, other):
            await reader.tracked.get(path)
            await self._told(store, reader, path)
        reader.told.clear()
        await store.hasten([PHOTO])
        for claim in await store.claim(10, 100.0):
            await store.settle(claim, None)
        await conflict_of(store, PHOTO, Snapshot(None, b""), record(size=20))
        await store.commit(other, snapshots[1], record(size=20), None)
        await self._told(store, reader, other)
        assert reader.told == [other.member]

    @_on_store
    async def test_a_reader_knows_how_long_it_may_be_believed(self, store: IStateStore) -> None:
        reader = await self._reader(store)
        tracked, proven = reader.tracked, reader.tracked.proven
        assert 0 < proven < tracked.until
        await self._until(store, lambda: tracked.proven > proven)
        assert tracked.until > tracked.proven

    async def _reader(self, store: IStateStore) -> _Reader:
        """One that is told what changes."""
        reader = _Reader(store.track())

        async def reads() -> bool:
            try:
                await reader.tracked.get(Path("media", "nothing"))
            except StateUnavailable:
                return False
            return reader.tracked.until > 0

        while not await reads():
            await self.elapse(store, 0.01)
        reader.told.clear()
        return reader

    async def _told(self, store: IStateStore, reader: _Reader, path: Path) -> None:
        await self._until(store, lambda: path.member in reader.told)

    async def _until(self, store: IStateStore, check: Callable[[], bool]) -> None:
        for _ in range(1000):
            if check():
                return
            await self.elapse(store, 0.01)
        raise AssertionError("it did not come")


class _Reader:
    """A reader, and what it was told."""

    def __init__(self, tracked: ITracked) -> None:
        self.tracked = tracked
        self.told: list[str | None] = []
        tracked.changed = self.told.append


async def put(store: IStateStore, path: Path, new: Record, due: float | None = None) -> Snapshot:
    """Commit over whatever is there."""
    return await store.commit(path, await store.get(path), new, due)


async def conflict_of(
    store: IStateStore, path: Path, old: Snapshot, new: Record | None, due: float | None = None
) -> Conflict:
    try:
        await store.commit(path, old, new, due)
    except Conflict as conflict:
        return conflict
    raise AssertionError("no conflict")


async def damaged(store: IStateStore, path: Path) -> bool:
    try:
        await store.get(path)
    except BadRecord:
        return True
    return False


async def walked(store: IStateStore, limit: int = 100) -> set[Path]:
    """All that a whole walk came by, at least once each."""
    seen: set[Path] = set()
    cursor: str | None = None
    while True:
        found, cursor = await store.walk(cursor, limit)
        seen.update(found)
        if cursor is None:
            return seen


async def waiting(store: IStateStore, limit: int = 100) -> set[Path]:
    seen: set[Path] = set()
    cursor: str | None = None
    while True:
        found, cursor = await store.waiting(cursor, limit)
        seen.update(found)
        if cursor is None:
            return seen


async def everything(store: IStateStore) -> tuple[object, ...]:
    """All that can be asked of a store."""
    paths = sorted(await walked(store))
    return (
        await store.get_many(paths),
        await store.page("media", "", "", 1 << 20),
        await store.use(),
        await store.counts(),
        await waiting(store),
    )

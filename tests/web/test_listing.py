"""Pages of a listing, compared with a plain model of one."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed

from dragonbelly.errors import BadPath
from dragonbelly.interfaces import Snapshot
from dragonbelly.model import Path, Record, Version, VersionState
from dragonbelly.names import check_name
from dragonbelly.web.listing import QUESTIONS, Page, list_files
from tests.web.test_uploads_api import is_problem
from tests.web.wire import Said
from tests.web.world import NOW, World

MakeWorld = Callable[..., World]


class Names:
    """A store's index; ``asked`` are the questions put to it."""

    def __init__(self, names: set[str], prefix: str) -> None:
        self._names = sorted(name for name in names if name.startswith(prefix))
        self.asked: list[tuple[str, int]] = []

    def page(self, after: str, limit: int) -> Deferred[list[str]]:
        assert limit > 0
        self.asked.append((after, limit))
        return succeed([name for name in self._names if name > after][:limit])


def one_page(names: Names, prefix: str, delimiter: str, after: str, limit: int) -> Page:
    pages: list[Page] = []
    Deferred.fromCoroutine(list_files(names.page, prefix, delimiter, after, limit)).addCallback(pages.append)
    return pages[0]


def model(names: set[str], prefix: str, delimiter: str) -> tuple[list[str], list[str]]:
    """All names and all folded prefixes, sorted."""
    plain, folded = set(), set()
    for name in names:
        if name.startswith(prefix):
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                folded.add(prefix + rest[: rest.index(delimiter) + 1])
            else:
                plain.add(name)
    return sorted(plain), sorted(folded)


def is_name(name: str) -> bool:
    try:
        check_name(name)
    except BadPath:
        return False
    return True


segments = st.text(st.sampled_from("ab0.!~-é\ue000\U00010000\U0010ffff"), min_size=1, max_size=4)
file_names = (
    st.lists(segments | st.just("\U0010ffff" * 63), min_size=1, max_size=4).map("/".join).filter(is_name)
)
LAST = "\U0010ffff"


@given(
    st.sets(file_names, max_size=30),
    st.one_of(st.just(""), segments, segments.map("{}/".format), file_names),
    st.sampled_from(["", "/"]),
    st.integers(1, 7),
)
@example({f"a/{LAST * 63}/b", f"a/{LAST * 5}", "a/b", "b"}, "", "/", 1)
@example({"a", "a/b", "a0", "a.b", "a/b/c"}, "a", "/", 2)
@settings(deadline=None)
def test_pages_lose_nothing_and_repeat_nothing(
    names: set[str], prefix: str, delimiter: str, limit: int
) -> None:
    index = Names(names, prefix)
    found: list[str] = []
    folded: list[str] = []
    after = ""
    for _ in range(100):
        page = one_page(index, prefix, delimiter, after, limit)
        assert 0 < len(page.names) + len(page.prefixes) <= limit or page.next is None
        found += page.names
        folded += page.prefixes
        if page.next is None:
            break
        assert page.next > after
        after = page.next
    else:
        raise AssertionError("no end")
    assert (found, folded) == model(names, prefix, delimiter)


@given(st.sets(file_names, max_size=20), file_names, st.integers(1, 30))
def test_what_comes_after_a_name(names: set[str], after: str, limit: int) -> None:
    page = one_page(Names(names, ""), "", "", after, limit)
    expected = sorted(name for name in names if name > after)
    assert page.names == expected[:limit]
    assert (page.next is None) == (len(expected) <= limit)


def test_the_questions_of_a_page_are_bounded() -> None:
    names = {f"{n:06}/{m}" for n in range(QUESTIONS * 2) for m in range(3)}
    index = Names(names, "")
    folded: list[str] = []
    after: str | None = ""
    pages = 0
    while after is not None:
        index.asked.clear()
        page = one_page(index, "", "/", after, 10_000)
        assert len(index.asked) <= QUESTIONS
        folded += page.prefixes
        after = page.next
        pages += 1
    assert folded == sorted({name.partition("/")[0] + "/" for name in names})


def test_a_large_folder_is_not_read_through() -> None:
    names = {f"a/{n:05}" for n in range(20_000)} | {"b"}
    index = Names(names, "")
    page = one_page(index, "", "/", "", 10)
    assert page == Page(["b"], ["a/"], None)
    assert sum(limit for _, limit in index.asked) < 100


# --- by HTTP ---------------------------------------------------------------------------------------------


def fill(world: World, *names: str) -> None:
    """Live files without any objects."""
    for name in names:
        version = Version("01J9ZQ4Y7H8V5N3K2M1R0TXWCE", VersionState.LIVE, int(NOW), size=1)
        world.store.memory.commit(Path("default", name), Snapshot(None, b""), Record((version,)), None)


def ask(world: World, **parameters: str | int) -> Said:
    return world.api("GET", f"files?{urlencode(parameters)}" if parameters else "files")


class TestByHttp:
    NAMES = ("a", "a b+c&d", "docs/1.txt", "docs/2.txt", "docs/old/1.txt", "docs.zip", "é/ü", "z/\U0001f31e")

    def test_all(self, world: World) -> None:
        fill(world, *self.NAMES)
        said = ask(world)
        assert said.status == 200
        assert said.headers["cache-control"] == "no-store"
        assert [file["path"] for file in said.json["files"]] == sorted(self.NAMES)
        assert said.json["prefixes"] == []
        assert said.json["next"] is None
        assert said.json["files"][0] == {
            "path": "a",
            "version": "01J9ZQ4Y7H8V5N3K2M1R0TXWCE",
            "size": 1,
            "content_type": None,
            "sha256": None,
            "created": "2024-10-12T06:37:41Z",
            "attributes": {},
            "damaged": True,  # the record that the test made has no replica
        }

    def test_nothing(self, world: World) -> None:
        assert ask(world).json == {"files": [], "prefixes": [], "next": None}

    def test_a_folder(self, world: World) -> None:
        fill(world, *self.NAMES)
        said = ask(world, prefix="docs/", delimiter="/").json
        assert [file["path"] for file in said["files"]] == ["docs/1.txt", "docs/2.txt"]
        assert said["prefixes"] == ["docs/old/"]
        said = ask(world, delimiter="/").json
        assert [file["path"] for file in said["files"]] == ["a", "a b+c&d", "docs.zip"]
        assert said["prefixes"] == ["docs/", "z/", "é/"]

    def test_a_slash_before_a_prefix_is_none_of_it_as_with_paths(self, world: World) -> None:
        fill(world, *self.NAMES)
        for delimiter in ("", "/"):
            assert ask(world, prefix="/docs/", delimiter=delimiter) == ask(
                world, prefix="docs/", delimiter=delimiter
            )

    @pytest.mark.parametrize("delimiter", ["", "/"])
    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    def test_page_by_page(self, world: World, delimiter: str, limit: int) -> None:
        fill(world, *self.NAMES)
        found: list[str] = []
        folded: list[str] = []
        after = ""
        for _ in range(20):
            said = ask(world, delimiter=delimiter, limit=limit, after=after).json
            assert len(said["files"]) + len(said["prefixes"]) <= limit
            found += [file["path"] for file in said["files"]]
            folded += said["prefixes"]
            if said["next"] is None:
                break
            after = said["next"]
        assert (found, folded) == model(set(self.NAMES), "", delimiter)

    def test_only_what_is_live(self, world: World) -> None:
        world.put("a", b"x")
        assert ask(world).json["files"] == []
        world.download("a")
        assert [file["path"] for file in ask(world).json["files"]] == ["a"]
        world.ask("DELETE", "/a")
        assert ask(world).json["files"] == []

    def test_a_damaged_record_hides_no_other(self, world: World) -> None:
        fill(world, "a", "b", "c")
        world.store.memory.records["default/b"] = b"nonsense"
        assert [file["path"] for file in ask(world).json["files"]] == ["a", "c"]

    @pytest.mark.parametrize(
        ("query", "status", "field"),
        [
            ("delimiter=.", 422, "delimiter"),
            ("delimiter=//", 422, "delimiter"),
            ("limit=x", 422, "limit"),
            ("limit=-1", 422, "limit"),
            ("limit=10001", 422, "limit"),
            ("limit=1&limit=2", 422, "limit"),
            ("limit=%C2%B2", 422, "limit"),
            ("offset=5", 422, "offset"),
            ("prefix", 400, None),
            ("prefix=%ff", 400, None),
            ("prefix=%ed%a0%80", 400, None),
        ],
    )
    def test_what_it_refuses(self, world: World, query: str, status: int, field: str | None) -> None:
        assert is_problem(world.api("GET", f"files?{query}"), status, field)

    @pytest.mark.parametrize("prefix", ["", "%00", "%0d%0a", "..", "/", "%2e%2e%2f", quote("\U0010ffff")])
    def test_any_prefix_may_be_asked_for(self, world: World, prefix: str) -> None:
        fill(world, "a")
        said = world.api("GET", f"files?prefix={prefix}&after={prefix}&delimiter=/")
        assert said.status == 200

    def test_methods(self, world: World) -> None:
        assert is_problem(world.api("DELETE", "files"), 405)
        assert world.api("HEAD", "files").body == b""

    def test_while_the_store_is_away(self, world: World) -> None:
        world.store.away = True
        said = ask(world)
        assert is_problem(said, 503)
        assert int(said.headers["retry-after"]) > 0

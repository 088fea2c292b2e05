import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonbelly.model import Path
from dragonbelly.policies.rules import Rules, Ruling, media_type, path_glob, type_glob
from tests.config.kinds import SMALL, loads

CONFIG = """
[domain.media]
hosts = ["*"]
policy = "plain"
rules = [
    { match = "thumbs/**", policy = "cheap" },
    { type = "video/*", larger = "1MB", policy = "large" },
    { type = "video/*", policy = "default" },
    { larger = "1GB", policy = "large" },
    { smaller = "10B", policy = "cheap" },
]
[domain.other]
hosts = ["other"]
[policy.plain]
[policy.cheap]
[policy.large]
"""


@pytest.fixture
def rules():
    config = loads(SMALL + CONFIG)
    return Rules(config, config.make_policies())


@pytest.mark.parametrize(
    ("name", "content_type", "size", "policy"),
    [
        ("a/b.jpg", None, None, "plain"),
        ("thumbs/a/b.mp4", "video/mp4", 10**10, "cheap"),  # the first that matches
        ("thumbs", None, None, "plain"),
        ("x.mp4", None, 10**6 + 1, "large"),
        ("x.mp4", None, 10**6, "default"),  # larger, not as large
        ("x.mp4", None, None, "default"),  # of an unknown size
        ("x.mp4", "application/octet-stream", None, "plain"),  # what is announced counts
        ("x", "Video/MP4; codecs=x", None, "default"),
        ("x.iso", None, 10**9 + 1, "large"),
        ("x.iso", None, 10, "plain"),
        ("x.iso", None, 9, "cheap"),
        ("x.iso", None, 0, "cheap"),
    ],
)
def test_the_first_rule_that_matches_wins(rules, name, content_type, size, policy):
    assert rules.policy_for(Path("media", name), content_type, size).name == policy


def test_what_decided_is_told(rules):
    media = Path("media", "x.mp4")
    assert rules.ruling(media, None, 5, "large") == Ruling("large", "file")
    second = rules.ruling(media, None, 10**7)
    assert (second.policy, second.by, second.index) == ("large", "rule", 1)
    assert second.rule.type == "video/*"
    assert rules.ruling(media, None, 10**7, "unknown") == second
    assert rules.ruling(Path("media", "x"), None, None) == Ruling("plain", "domain")
    assert rules.ruling(Path("removed", "x"), None, None) == Ruling("default", "domain")


def test_domains_have_rules_of_their_own(rules):
    assert rules.policy_for(Path("other", "thumbs/x.mp4"), None, 0).name == "default"
    assert rules.policy_for(Path("removed", "x"), None, 0).name == "default"


def test_a_file_that_names_its_policy():
    told = []
    config = loads(SMALL + CONFIG)
    rules = Rules(config, config.make_policies(), lambda path, named: told.append((path, named)))
    path = Path("media", "thumbs/x")
    assert rules.policy_for(path, None, None, "large").name == "large"
    assert told == []
    assert rules.policy_for(path, None, None, "largest").name == "cheap"
    assert rules.policy_for(path, None, None, "largest").name == "cheap"
    assert told == [(path, "largest")]


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("a/*", ["a/b", "a/"], ["a", "a/b/c", "xa/b"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b/a/c"]),
        ("**/a", ["a", "b/a", "c/b/a"], ["xa", "a/b"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb"]),
        ("**", ["a", "a/b", "a\nb"], []),
        ("*.jpg", ["a.jpg", ".jpg"], ["a/b.jpg", "ajpg", "a.jpgx"]),
        ("**.jpg", ["a.jpg", "a/b.jpg"], ["a.png"]),
        ("a?c", ["abc", "aßc"], ["ac", "a/c", "abbc"]),
        ("a.[b]+", ["a.[b]+"], ["a.b", "axb"]),
        ("a**/b", ["axy/b", "a/x/b"], ["ab"]),
    ],
)
def test_globs_of_paths(pattern, matching, others):
    glob = path_glob(pattern)
    for name in matching:
        assert glob.fullmatch(name), name
    for name in others:
        assert not glob.fullmatch(name), name


@given(st.text(st.characters(exclude_characters="*?", exclude_categories=["Cs"])), st.text())
def test_a_glob_without_wildcards_matches_itself_alone(pattern, other):
    glob = path_glob(pattern)
    assert glob.fullmatch(pattern)
    assert bool(glob.fullmatch(other)) is (pattern == other)


def test_globs_of_types():
    assert type_glob("Image/*").fullmatch("image/svg+xml")
    assert not type_glob("image/*").fullmatch("video/image")
    assert type_glob("*/xml").fullmatch("text/xml")
    assert type_glob("*").fullmatch("a/b")
    assert isinstance(type_glob("image/svg+xml"), re.Pattern)
    assert not type_glob("image/svg+xml").fullmatch("image/svgxml")


@pytest.mark.parametrize(
    ("name", "announced", "known"),
    [
        ("a/b.JPG", None, "image/jpeg"),
        ("b.tar.html", None, "text/html"),
        ("b.unknown", None, None),
        ("html", None, None),
        (".html", None, None),
        ("a.html/b", None, None),
        ("b.jpg", "Text/Plain ;charset=utf-8", "text/plain"),
    ],
)
def test_media_types(name, announced, known):
    assert media_type(name, announced) == known

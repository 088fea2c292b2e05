"""What a file asks for itself, and what the rules of its domain ask; domains by host."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.integration.asking import Reply, ask, follow
from tests.integration.site import Site

pytestmark = pytest.mark.servers

EXTRA = """
[policy.default]
copies = 2
[policy.large]
copies = 3
[policy.cheap]
copies = 1
[domain.media]
hosts = ["media.example.com", "127.0.0.1"]
anonymous = ["read", "list", "write"]
rules = [{ type = "video/*", policy = "large" }, { match = "thumbs/**", policy = "cheap" }]
[domain.other]
hosts = ["other.example.com"]
anonymous = ["read", "list", "write"]
"""


def change(site: Site, path: str, **terms: object) -> Any:
    answer = ask("PATCH", f"{site.daemon.url}/-/api/v1/files/{quote(path)}", json.dumps(terms).encode())
    assert answer.status == 200, answer
    return json.loads(answer.body)


def at(site: Site, method: str, path: str, host: str, body: bytes | None = None) -> Reply:
    return ask(method, site.url(path), body, {"Host": host})


def test_a_rule_by_type_gives_three_copies(site: Site) -> None:
    site.put("announced.bin", b"a film", Content_Type="video/mp4")
    site.put("by-name.mp4", b"another film")
    for path in ("announced.bin", "by-name.mp4"):
        file = site.copied(path, 3)
        assert (file["policy"], file["copies"]["owed"]) == ("large", 3)
        assert len({replica["host"] for replica in file["replicas"]}) == 3


def test_a_rule_by_path_gives_one_copy(site: Site) -> None:
    site.put("thumbs/small.txt", b"small")
    assert site.copied("thumbs/small.txt", 1)["policy"] == "cheap"


def test_a_file_asks_for_more_itself_and_then_for_less(site: Site) -> None:
    site.put("asked.txt", b"asked", Dragonbelly_Copies="3")
    assert site.copied("asked.txt", 3)["copies"]["asked"] == 3
    change(site, "asked.txt", copies=1)
    assert site.get("asked.txt") == b"asked"
    site.copied("asked.txt", 1)
    change(site, "asked.txt", copies=3)
    site.copied("asked.txt", 3)
    change(site, "asked.txt", copies=None)
    assert site.copied("asked.txt", 2)["copies"]["asked"] is None
    assert site.get("asked.txt") == b"asked"


def test_a_file_names_a_policy_itself(site: Site) -> None:
    site.put("named.mp4", b"a film of no worth", Dragonbelly_Policy="cheap")
    assert site.copied("named.mp4", 1)["policy"] == "cheap"
    change(site, "named.mp4", policy=None)
    assert site.copied("named.mp4", 3)["policy"] == "large"


def test_attributes_come_back(site: Site) -> None:
    site.put(
        "attributes.txt",
        b"x",
        Dragonbelly_Attr_Camera="Röntgen".encode().decode("latin-1"),
        Dragonbelly_Attr_Shot="12",
    )
    site.get("attributes.txt")
    assert site.file("attributes.txt")["attributes"] == {"camera": "Röntgen", "shot": "12"}
    changed = change(site, "attributes.txt", attributes={"shot": None, "title": "Hände"})
    assert changed["attributes"] == {"camera": "Röntgen", "title": "Hände"}
    assert site.file("attributes.txt")["attributes"] == {"camera": "Röntgen", "title": "Hände"}


def test_a_file_that_expires_is_gone(site: Site) -> None:
    moment = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
    site.put("expires.txt", b"for a moment", Dragonbelly_Expires=moment)
    assert site.get("expires.txt") == b"for a moment"
    site.eventually("it is gone", lambda: follow(site.url("expires.txt")).status == 404, path="expires.txt")


def test_domains_are_apart(site: Site) -> None:
    site.put("same.txt", b"of media")
    begun = at(site, "PUT", "same.txt", "Other.example.com:8080", b"of other")
    assert begun.status == 307, begun
    assert ask("PUT", begun.headers["Location"], b"of other").status == 201
    assert site.get("same.txt") == b"of media"
    there = at(site, "GET", "same.txt", "other.example.com")
    assert ask("GET", there.headers["Location"]).body == b"of other"
    assert at(site, "GET", "same.txt", "media.example.com").status == 302
    assert at(site, "GET", "same.txt", "nobody.example.com").status == 404
    assert at(site, "DELETE", "same.txt", "other.example.com").status == 204
    assert at(site, "GET", "same.txt", "other.example.com").status == 404
    assert site.get("same.txt") == b"of media"


def test_a_listing_has_the_live_files_of_the_domain(site: Site) -> None:
    for path in ("list/a.txt", "list/b/c.txt", "list/b/d.txt", "list/e.txt"):
        site.put(path, path.encode())
        site.get(path)
    page = site.daemon.get_json("/-/api/v1/files?prefix=list/&delimiter=/&domain=media")
    assert [file["path"] for file in page["files"]] == ["list/a.txt", "list/e.txt"]
    assert page["prefixes"] == ["list/b/"]

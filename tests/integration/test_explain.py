"""What ``GET explain`` says of files on a real site, and that it comes true."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from dragonbelly.model import Path
from dragonbelly.state.keys import Keys
from tests.integration.asking import Reply, ask, follow
from tests.integration.site import Site

pytestmark = pytest.mark.servers

EXTRA = """
[domain.media]
hosts = ["*"]
anonymous = ["read", "list", "write"]
rules = [
    { match = "thumbs/**", policy = "cheap" },
    { type = "video/*", larger = "10B", policy = "large" },
]
[policy.cheap]
copies = 1
[policy.large]
copies = 3
"""


def explain(site: Site, path: str) -> Reply:
    return ask("GET", f"{site.daemon.admin}/-/api/v1/explain?domain=media&path={quote(path)}")


def explained(site: Site, path: str) -> Any:
    answer = explain(site, path)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def test_a_file_in_good_and_in_bad_days() -> None:
    with Site(EXTRA) as site:
        site.put("a b/é.txt", b"hello")
        site.copied("a b/é.txt")
        site.settled()
        shown = explained(site, "a b/é.txt")
        assert shown["policy"]["why"] == "default of the domain media"
        assert shown["copies"] == {"owed": 2, "held": 2, "possible": 2, "enough": True, "asked": None}
        assert shown["next"] == {
            "moves": [],
            "steps": [],
            "waits": [],
            "due": None,
            "changes": None,
            "tries": 0,
        }
        for candidate in shown["get"]["candidates"]:
            assert ask("GET", candidate["url"]).body == b"hello"
            assert (candidate["chance"], candidate["tier"]) == (0.5, 0)

        site.put("thumbs/x.jpg", b"thumb")
        site.put("film.mp4", b"a film of some length")
        site.copied("film.mp4", 3)
        assert explained(site, "thumbs/x.jpg")["policy"]["rule"]["text"] == 'match = "thumbs/**"'
        assert explained(site, "film.mp4")["policy"]["rule"]["index"] == 1

        # One of three servers goes: where three are owed nothing can be done but wait.
        site.stores["two"].stop()
        site.eventually("it is seen", lambda: site.daemon.backend("two")["observed"] == "unreachable")

        def waits() -> Any:
            shown = explained(site, "film.mp4")
            return shown if shown["next"]["waits"] and shown["next"]["due"] and shown["next"]["tries"] else None

        shown = site.eventually("it waits", waits, path="film.mp4")
        [away] = [replica for replica in shown["replicas"] if replica["backend"] == "two"]
        assert (away["readers"], away["why_not"]) == (False, "the backend does not answer")
        assert [candidate["chance"] for candidate in shown["get"]["candidates"]] == [0.5, 0.5, 0.0]
        assert shown["next"]["waits"][-1]["why"].startswith("it has fewer good copies than it is owed")
        assert 0 < shown["next"]["due"]["in"] <= 20
        # It looks again as soon as the server is back.
        site.stores["two"].start()
        site.eventually("nothing waits", lambda: not explained(site, "film.mp4")["next"]["waits"], within=40)


def test_an_upload_that_does_not_come() -> None:
    with Site(EXTRA) as site:
        begun = site.begin("never", b"x" * 100)
        shown = explained(site, "never")
        assert (shown["state"], shown["get"]["status"]) == ("uploading", 404)
        assert shown["get"]["looks_for"] == [begun.headers["Dragonbelly-Upload"]]
        assert [step["do"] for step in shown["next"]["steps"]] == ["verify"]
        assert shown["next"]["due"]["in"] <= 5
        assert shown["uploads"][0]["size"] == 100
        assert follow(site.url("never")).status == 404


def test_no_record_and_one_that_is_none() -> None:
    with Site(EXTRA) as site:
        absent = explain(site, "nothing")
        assert absent.status == 404
        assert "there is no record of nothing in the domain media" in json.loads(absent.body)["detail"]
        site.redis.command("SET", Keys(64).record(Path("media", "bad")), "junk")
        bad = explain(site, "bad")
        assert (bad.status, bad.headers["Content-Type"]) == (500, "application/problem+json")
        assert "the record of 'media/bad' cannot be decoded" in json.loads(bad.body)["detail"]
        assert ask("GET", f"{site.daemon.url}/-/api/v1/explain?path=bad").status == 404

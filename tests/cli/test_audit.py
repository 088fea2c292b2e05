"""``dragonbelly audit`` against a daemon that says what a test has it say."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
import pytest

from dragonbelly.cli import audit as module
from dragonbelly.cli import main

ROUND = {
    "number": 3,
    "prefix": "",
    "read": True,
    "started": "2026-01-01T00:00:00Z",
    "ended": "2026-01-01T00:00:09Z",
    "called_off": False,
    "files": 5,
    "files_total": 5,
    "copies": 10,
    "copies_unknown": 0,
    "bytes": 100,
    "damaged": 0,
    "backends_walked": ["a", "b"],
    "backends_skipped": [],
    "objects": 10,
    "objects_foreign": 2,
    "found": 0,
    "findings": [],
}
FINDING = {
    "domain": "media",
    "path": "a/photo.jpg",
    "backend": "store1",
    "what": "size",
    "version": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "at": "2026-01-01T00:00:05Z",
    "outcome": "repaired",
}
LINE = "2026-01-01T00:00:05Z  size     store1  media/a/photo.jpg  repaired\n"


class Daemon:
    """Gives ``answers`` one after the other, the last one again and again."""

    def __init__(self):
        self.damaged = {"total": 0, "files": []}
        self.answers = []
        self.asked = []

    def say(self, status=200, **body):
        self.answers.append(httpx.Response(status, json=body))

    def away(self):
        self.answers.append(httpx.ConnectError("refused"))

    def __call__(self, request):
        if request.url.path.endswith("/damaged"):
            assert dict(request.url.params) == {"limit": "20"}
            damaged = self.damaged.pop(0) if isinstance(self.damaged, list) else self.damaged
            return httpx.Response(200, json=damaged)
        body = json.loads(request.content) if request.content else None
        self.asked.append((request.method, str(request.url), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content)


def named(total, *paths):
    return {"total": total, "files": [{"domain": "media", "path": path} for path in paths]}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    time = [0.0]
    monkeypatch.setattr(module.time, "sleep", lambda seconds: time.__setitem__(0, time[0] + seconds))
    monkeypatch.setattr(module.time, "monotonic", lambda: time[0])
    monkeypatch.setenv("DRAGONBELLY_URL", "http://files:8080")  # which is another listener
    monkeypatch.delenv("DRAGONBELLY_ADMIN_URL", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")


@pytest.fixture
def daemon(monkeypatch):
    daemon = Daemon()
    client = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **how: client(transport=httpx.MockTransport(daemon), **how))
    return daemon


def begin(daemon, **changes):
    daemon.say(202, asked={**ROUND, "ended": None, **changes})


def rounds(daemon, *changes):
    for each in changes:
        daemon.say(asked={**ROUND, **each}, regular=None)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ({}, 0),
        ({"found": 1, "findings": [FINDING]}, 1),
        ({"damaged": 1}, 1),
        ({"copies_unknown": 1}, 3),
        ({"backends_skipped": ["b"]}, 3),
        ({"copies_unknown": 1, "found": 1, "findings": [FINDING]}, 1),
    ],
)
def test_the_status_tells_what_was_found(daemon, capsys, end, status):
    begin(daemon)
    rounds(daemon, {"ended": None, "files": 2}, {"ended": None, "files": 4}, end)
    assert main(["audit", "--now"]) == status
    said = capsys.readouterr()
    assert said.out == (LINE if "findings" in end else "")
    assert "10 copies of 5 files and 10 objects were looked at" in said.err
    assert daemon.asked[0] == (
        "POST",
        "http://127.0.0.1:8081/-/api/v1/audit",
        {"prefix": "", "read": True},
    )
    assert [method for method, _, _ in daemon.asked[1:]] == ["GET"] * 3


def test_of_a_part_and_elsewhere(daemon, monkeypatch):
    begin(daemon)
    rounds(daemon, {})
    assert main(["audit", "--now", "--no-read", "--url", "http://there:1/", "media/a"]) == 0
    assert daemon.asked[0] == ("POST", "http://there:1/-/api/v1/audit", {"prefix": "media/a", "read": False})
    monkeypatch.setenv("DRAGONBELLY_ADMIN_URL", "http://elsewhere:2")
    daemon.answers.clear()
    begin(daemon)
    rounds(daemon, {})
    assert main(["audit", "--now"]) == 0
    assert daemon.asked[-1][1] == "http://elsewhere:2/-/api/v1/audit"


def test_files_without_a_good_copy_are_named(daemon, capsys):
    daemon.damaged = named(3, "a", "b/c")
    lines = "-  damaged  -  media/a  no good copy\n-  damaged  -  media/b/c  no good copy\n"
    begin(daemon)
    rounds(daemon, {"damaged": 3})
    assert main(["audit", "--now"]) == 1
    said = capsys.readouterr()
    assert said.out == lines
    assert "3 files had no good copy before\nfiles that have no good copy now: 3\n" in said.err
    assert "and 1 more: GET /-/api/v1/damaged\n" in said.err
    # They may have become so since the last round.
    daemon.answers.clear()
    daemon.say(asked=ROUND, regular=None)
    assert main(["audit"]) == 1
    said = capsys.readouterr()
    assert said.out == lines
    assert "files that have no good copy now: 3\n" in said.err
    assert main(["audit", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["damaged"] == daemon.damaged


def test_a_copy_that_was_brought_back_is_given_time_to_be_found(daemon, capsys):
    daemon.damaged = [named(2, "a", "b"), named(1, "b"), named(0), named(0)]
    begin(daemon)
    rounds(daemon, {"damaged": 2})
    assert main(["audit", "--now"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith("2 files had no good copy before\nfiles that have no good copy now: 0\n")
    assert daemon.damaged == []


def test_call_off(daemon, capsys):
    daemon.answers.append(httpx.Response(204))
    assert main(["audit", "--cancel"]) == 0
    assert daemon.asked == [("DELETE", "http://127.0.0.1:8081/-/api/v1/audit", None)]
    assert capsys.readouterr() == ("", "")


def test_as_json(daemon, capsys):
    begin(daemon)
    rounds(daemon, {"found": 1, "findings": [FINDING]})
    assert main(["audit", "--now", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {**ROUND, "found": 1, "findings": [FINDING]}


def test_what_is_still_being_checked_is_waited_for(daemon, capsys):
    begin(daemon)
    doubted = {"found": 1, "findings": [{**FINDING, "outcome": "doubted"}]}
    rounds(daemon, doubted, doubted, {"found": 1, "findings": [FINDING]})
    assert main(["audit", "--now"]) == 1
    assert capsys.readouterr().out == LINE
    # Not for ever.
    daemon.answers.clear()
    begin(daemon)
    rounds(daemon, doubted)
    assert main(["audit", "--now"]) == 1
    assert capsys.readouterr().out.endswith("doubted\n")


def test_a_daemon_that_is_restarted_meanwhile(daemon):
    begin(daemon)
    rounds(daemon, {"ended": None})
    daemon.away()
    daemon.away()
    daemon.say(503, detail="the service is starting")
    rounds(daemon, {})
    assert main(["audit", "--now"]) == 0


def test_one_that_does_not_come_back(daemon, capsys):
    begin(daemon)
    daemon.away()
    assert main(["audit", "--now"]) == 2
    assert capsys.readouterr().err.endswith(
        "no answer from http://127.0.0.1:8081: refused; "
        "the round goes on when a daemon runs again; see: dragonbelly audit\n"
    )


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (409, {"detail": "another audit is under way"}, "another audit is under way"),
        (422, {"title": "Field refused"}, "Field refused"),
        (503, {"detail": "the state store is away"}, "the state store is away"),
    ],
)
def test_what_the_daemon_says_no_to(daemon, capsys, status, body, said):
    daemon.say(status, **body)
    assert main(["audit", "--now"]) == 2
    assert capsys.readouterr().err == f"dragonbelly: {said}\n"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://x", "nonsense", "http://[::1"])
def test_nobody_there(url, capsys):
    assert main(["audit", "--now", "--url", url]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_something_else_there(daemon, capsys):
    daemon.answers.append(httpx.Response(404, text="<html>"))
    assert main(["audit", "--now"]) == 2
    assert capsys.readouterr().err == (
        "dragonbelly: http://127.0.0.1:8081 answers 404, and not as Dragonbelly does: is that its address?\n"
    )


@pytest.mark.parametrize("changes", [{"number": 4}, {"called_off": True}])
def test_one_that_is_not_ours_any_more(daemon, changes):
    begin(daemon)
    rounds(daemon, changes)
    assert main(["audit", "--now"]) == 2


def test_interrupted(daemon, capsys, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", interrupt)
    begin(daemon)
    rounds(daemon, {"ended": None})
    assert main(["audit", "--now"]) == 130
    assert capsys.readouterr().err.endswith("the audit goes on; see: dragonbelly audit\n")


def test_what_the_last_ones_found(daemon, capsys):
    daemon.say(
        asked={**ROUND, "found": 1, "findings": [FINDING]}, regular={**ROUND, "number": 7, "ended": None}
    )
    assert main(["audit"]) == 1
    said = capsys.readouterr()
    assert said.out == LINE
    assert said.err.splitlines()[0].startswith("regular 7, under way since 2026-01-01T00:00:00Z: 10 copies")
    assert said.err.splitlines()[1].startswith("asked 3, ended 2026-01-01T00:00:09Z: ")
    daemon.answers.clear()
    daemon.say(asked=None, regular={**ROUND, "number": 0})
    assert main(["audit"]) == 0
    assert capsys.readouterr() == ("", "there was no round yet; dragonbelly audit --now begins one\n")


@pytest.mark.parametrize(
    ("changes", "status", "state"),
    [
        ({"called_off": True}, 2, "called off 2026-01-01T00:00:09Z: "),
        ({"called_off": True, "found": 1, "findings": [FINDING]}, 1, "called off 2026-01-01T00:00:09Z: "),
        ({"called_off": True, "copies_unknown": 1}, 2, "called off 2026-01-01T00:00:09Z: "),
        ({"ended": None}, 3, "under way since 2026-01-01T00:00:00Z: "),
        ({"ended": None, "damaged": 1}, 1, "under way since 2026-01-01T00:00:00Z: "),
    ],
)
def test_one_that_did_not_come_to_its_end(daemon, capsys, changes, status, state):
    daemon.say(asked={**ROUND, **changes}, regular=ROUND)
    assert main(["audit"]) == status
    assert capsys.readouterr().err.splitlines()[1].startswith(f"asked 3, {state}")


def test_what_it_waits_for_is_said_once(daemon, capsys):
    waits = "until records and storage were compared (b does not answer)"
    begin(daemon)
    waiting = {"asked": {**ROUND, "ended": None}, "regular": None, "waits": waits}
    daemon.say(**waiting)
    daemon.say(**waiting)
    rounds(daemon, {})
    assert main(["audit", "--now"]) == 0
    assert capsys.readouterr().err.count(f"the audit waits {waits}\n") == 1
    daemon.answers.clear()
    daemon.say(**waiting)
    assert main(["audit"]) == 3
    assert f"asked 3, under way since 2026-01-01T00:00:00Z, waits {waits}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["media/a"],
        ["--no-read"],
        ["--now", "a", "b"],
        ["--nwo"],
        ["--now", "--cancel"],
        ["--cancel", "a"],
    ],
)
def test_mistakes(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["audit", *arguments])
    assert caught.value.code == 2
    assert "Usage: dragonbelly audit" in capsys.readouterr().err


@pytest.mark.parametrize("library", ["click", "rich", "httpx"])
def test_without_its_libraries(library):
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from dragonbelly.cli import main; sys.exit(main(['--version']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr == f"dragonbelly: this command needs {library}: pip install 'dragonbelly[cli]'\n"

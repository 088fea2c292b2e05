"""``status``, ``backends`` and ``explain`` on a real site, and the rest of what operators type."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from dragonbelly.cli.backends import MEANINGS
from dragonbelly.cli.explain import told
from tests.cli.conftest import COMMAND, Command
from tests.cli.pseudo_terminal import Terminal
from tests.integration.site import Site
from tests.servers.ports import free_port

pytestmark = pytest.mark.servers


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Command]]:
    """A site that may be changed."""
    with Site() as site:
        yield site, Command(tmp_path_factory.mktemp("own"), site.daemon.url, site.daemon.admin)


def states(site: Site, which: str = "state") -> dict[str, str]:
    return {backend["name"]: backend[which] for backend in site.daemon.status()["backends"]}


def test_status(command: Command, site: Site) -> None:
    done = command("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert "too few copies" in done.stdout
    assert [line.split()[:5] for line in done.stdout.splitlines()[-3:]] == [
        [name, name, "default", "alive", "up"] for name in ("one", "three", "two")
    ]
    said = json.loads(command("status", "--json").stdout)
    assert {backend["name"] for backend in said["backends"]} == {"one", "two", "three"}


def test_status_names_what_is_wrong(own: tuple[Site, Command]) -> None:
    site, command = own
    assert command("put", "--wait-copies", "2", "-", "a/b", input=b"12345").returncode == 0
    for store in site.stores.values():
        for copy in store.root.rglob("b"):
            if copy.is_file():
                copy.write_bytes(b"other")
    assert command("audit", "--now").returncode == 1
    site.eventually("it is known to be damaged", lambda: site.daemon.status()["damaged"] == 1)
    done = command("audit")
    assert done.returncode == 1
    assert "-  damaged  -  default/a/b  no good copy\n" in done.stdout
    site.stores["one"].stop()
    site.eventually("it is away", lambda: "unreachable" in states(site, "observed").values())
    shown = command("status").stdout
    assert "default/a/b" in shown
    assert shown.splitlines()[-1].startswith("one: ")
    assert command("backends").stdout.splitlines()[-1] == shown.splitlines()[-1]


def test_the_listener_for_files_is_told_from_the_admin_one(own: tuple[Site, Command]) -> None:
    site, command = own
    for arguments in ("status", "audit", "audit --now", "backends"):
        done = command(*arguments.split(), "--url", site.daemon.url)
        assert done.returncode in (1, 2)
        assert f"a daemon answers at {site.daemon.url}, but this is not its admin listener" in done.stderr


def test_status_live(command: Command) -> None:
    terminal = Terminal(command, "status", "--watch", "0.2", whole=True)
    terminal.until("BACKEND")
    terminal.until("\x1b[2K")  # drawn again in its place
    terminal.type("\x03")
    terminal.process.send_signal(2)
    assert terminal.end() == 130
    process = command.popen("status", "--json", "--watch", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as out:
        for _ in range(2):
            assert json.loads(out.readline())["files"] >= 0
    process.send_signal(2)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_narrow_terminals(command: Command) -> None:
    """A table is as wide as it is, and the terminal wraps it; what is drawn again and again is cut."""
    for arguments in (["backends"], ["status"]):
        terminal = Terminal(command, *arguments, whole=True, columns=30)
        assert terminal.end() == 0
        said = re.sub(r"\x1b\[[0-9;]*m", "", terminal.shown)
        assert re.search(r"^BACKEND +HOST +ZONE +STATE +SEEN +OBJECTS +BYTES +FREE\s*$", said, re.MULTILINE)
        assert re.search(r"^one +\S+ +\S+ +alive +up ", said, re.MULTILINE)
    live = Terminal(command, "status", "--watch", "0.2", whole=True, columns=30)
    live.until("\x1b[2K")
    live.process.send_signal(2)
    assert live.end() == 130
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in live.shown.splitlines()]
    assert any(line.startswith("BACKEND ") for line in lines)
    assert max(len(line) for line in lines) <= 30


def test_status_while_the_daemon_is_away(own: tuple[Site, Command]) -> None:
    site, command = own
    terminal = Terminal(command, "status", "--watch", "0.2", whole=True)
    terminal.until("BACKEND")
    site.daemon.stop()
    terminal.until("no answer from")
    terminal.shown = ""
    site.daemon.start()
    terminal.until("BACKEND")
    terminal.process.send_signal(2)
    assert terminal.end() == 130


@pytest.mark.parametrize("arguments", ["status", "backends", "backends drain one --yes", "explain x"])
def test_no_daemon(command: Command, arguments: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = command(*arguments.split(), "--url", url)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"dragonbelly: no answer from {url}: [Errno 111] Connection refused\n"


def test_backends(own: tuple[Site, Command]) -> None:
    site, command = own
    assert command("put", "--wait-copies", "2", "-", "a/b", input=b"bytes").returncode == 0
    done = command("backends")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4
    held = [backend["objects"] for backend in json.loads(command("backends", "--json").stdout)]
    assert sorted(held) == [0, 1, 1]
    for state in ("readonly", "down", "drain", "alive"):
        done = command("backends", state, "one", "--yes")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", f"dragonbelly: one is {state}\n")
        assert states(site) == {"one": state, "two": "alive", "three": "alive"}
    assert json.loads(command("backends", "down", "two", "--yes", "--json").stdout)["state"] == "down"


def test_a_question_comes_first(own: tuple[Site, Command]) -> None:
    site, command = own
    assert command("put", "--wait-copies", "2", "-", "a/b", input=b"12345").returncode == 0
    holder = site.file("a/b")["replicas"][0]["backend"]
    no = Terminal(command, "backends", "dead", holder)
    no.until("Is that meant? [y/N]")
    assert f"{holder}: It is gone for good: its 1 object (5 bytes) are WRITTEN OFF" in no.shown
    no.type("n\n")
    assert no.end() == 1
    assert "nothing was done" in no.shown
    stopped = Terminal(command, "backends", "dead", holder)
    stopped.until("[y/N]")
    stopped.type("\x04")
    assert stopped.end() == 130
    done = command("backends", "dead", holder)  # nobody can be asked
    assert done.returncode == 2
    assert "say --yes" in done.stderr
    assert set(states(site).values()) == {"alive"}
    yes = Terminal(command, "backends", "dead", holder)
    yes.until("[y/N]")
    yes.type("y\n")
    assert yes.end() == 0
    assert states(site)[holder] == "dead"


def test_what_the_daemon_says_no_to(own: tuple[Site, Command]) -> None:
    site, command = own
    done = command("backends", "drain", "nobody", "--yes")
    assert done.returncode == 1
    assert done.stderr == "dragonbelly: there is no backend nobody, only one, three, two\n"
    assert command("backends", "dead", "one", "--yes").returncode == 0
    site.stores["one"].stop()
    done = command("backends", "alive", "one", "--yes")  # 409
    assert done.returncode == 1
    assert "one cannot be marked as ours" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["backends", "drain"], "Its NAME is missing"),
        (["backends", "gone", "one"], "'gone' is not one of"),
        (["status", "--watch", "0"], "--watch"),
        (["explain"], "Missing argument"),
        (["nonsense"], "No such command"),
        (["--url", "http://x", "status"], "No such option"),
    ],
)
def test_mistakes(command: Command, arguments: list[str], said: str) -> None:
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_the_meanings_are_those_of_the_daemon(own: tuple[Site, Command]) -> None:
    _, command = own
    assert all(command("backends", state, "one", "--yes").returncode == 0 for state in MEANINGS)


def test_explain(own: tuple[Site, Command]) -> None:
    _, command = own
    assert command("put", "--wait-copies", "2", "-", "a/b.txt", input=b"bytes").returncode == 0
    done = command("explain", "/a/b.txt")
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout
    assert "a/b.txt in the domain default: live, 5 bytes, version " in text
    assert "2 good copies of 2: that is enough" in text
    assert "default (copies: copies = 2, spread = host): default of the domain default" in text
    assert "is answered with 302: one of 2 at random, by weight" in text
    assert text.count(", 50%: http://") == 2
    said = json.loads(command("explain", "a/b.txt", "--json").stdout)
    assert said["path"] == "a/b.txt"
    assert command("explain", "a/b.txt", "--domain", "default").returncode == 0
    done = command("explain", "a/b.txt", "--domain", "other")
    assert done.returncode == 1 and "there is no domain 'other'" in done.stderr
    done = command("explain", "nothing")
    assert done.returncode == 1 and "there is no record of nothing" in done.stderr


def test_explain_what_is_to_be_done(own: tuple[Site, Command]) -> None:
    site, command = own
    assert command("put", "--wait-copies", "2", "-", "a/b", input=b"bytes").returncode == 0
    first, second = (replica["backend"] for replica in site.file("a/b")["replicas"])
    third = next(name for name in site.stores if name not in (first, second))
    assert command("backends", "readonly", third, "--yes").returncode == 0
    assert command("backends", "down", first, "--yes").returncode == 0
    text = command("explain", "a/b").stdout
    assert f"{first} (down): good" in text
    assert "readers are not sent there: the backend was taken down" in text
    assert f"{second}, 100%: http://" in text
    assert f"{first}, only if nothing better is left: http://" in text
    assert command("backends", "dead", first, "--yes").returncode == 0

    def look() -> Any:
        text = command("explain", "a/b").stdout
        return text if "1 good copy of 2: too few" in text else None

    text = site.eventually("the copy is written off", look)
    assert "only 1 are possible with the servers there are" in text
    assert "wait" in text.partition("What the replicator does next")[2]


def test_explain_an_upload() -> None:
    """What the API may say, and a site at rest does not."""
    said = {
        "domain": "media",
        "path": "a",
        "version": "V2",
        "state": "uploading",
        "size": None,
        "content_type": None,
        "policy": {
            "name": "default",
            "kind": "copies",
            "options": {"copies": 2},
            "by": "domain",
            "why": "default of the domain media",
            "rule": None,
            "unknown": "large",
        },
        "copies": {"owed": 2, "held": 0, "possible": 3, "enough": False, "asked": 3},
        "damaged": True,
        "thin_since": "2026-01-01T00:00:00Z",
        "replicas": [
            {
                "version": "V1",
                "version_state": "superseded",
                "backend": "gone",
                "state": "condemned",
                "since": "2026-01-01T00:00:00Z",
                "host": None,
                "zone": None,
                "backend_state": None,
                "backend_observed": None,
                "counts": False,
                "readers": False,
                "why_not": "it is of a version that is not live",
            }
        ],
        "get": {
            "status": 404,
            "why": "no version of it is live",
            "last_resort": False,
            "candidates": [],
            "looks_for": ["V2"],
        },
        "uploads": [
            {
                "upload": "V2",
                "state": "uploading",
                "reason": None,
                "size": 2_000_000,
                "accepted": "2026-01-01T00:00:00Z",
                "expires": "2026-01-01T01:00:00Z",
                "backends": ["one", "two"],
            }
        ],
        "next": {
            "moves": [{"do": "thin", "version": None, "backend": None, "text": "note that it is short"}],
            "steps": [{"do": "copy", "version": "V2", "backend": "one", "text": "copy it to one"}],
            "waits": [{"version": "V2", "backend": "two", "why": "it is full"}],
            "due": {"at": "2026-01-01T00:00:10Z", "in": 9.7},
            "changes": {"at": "2026-01-01T00:00:00Z", "in": -3.0},
            "tries": 2,
        },
    }
    assert [(title, *lines) for title, lines in told(said)] == [
        (
            "a in the domain media: uploading, ?, version V2",
            "0 good copies of 2: too few, 3 were asked for",
            "damaged: no copy is known to be good; every byte that is left is kept",
            "too few copies since 2026-01-01T00:00:00Z",
        ),
        (
            "Policy",
            "default (copies: copies = 2): default of the domain media",
            "the file asks for large, which there is not (any more)",
        ),
        (
            "Copies",
            "gone (not in the configuration): condemned, of the superseded version V1, since "
            "2026-01-01T00:00:00Z; readers are not sent there: it is of a version that is not live",
        ),
        (
            "A GET",
            "is answered with 404: no version of it is live",
            "before, it looks whether these uploads have arrived: V2",
        ),
        (
            "Uploads under way",
            "V2, uploading, 2.0 MB, to one, two; accepted 2026-01-01T00:00:00Z, lapses 2026-01-01T01:00:00Z",
        ),
        (
            "What the replicator does next",
            "note that it is short",
            "copy it to one",
            "wait for two: it is full",
            "it is looked at in 10s, 2026-01-01T00:00:10Z, after 2 tries",
            "time alone changes what is to be done now (due since 2026-01-01T00:00:00Z)",
        ),
    ]


def test_completion_in_bash(command: Command) -> None:
    """As bash has it when Tab is pressed."""
    program = f"""
    PATH={COMMAND.parent}:$PATH
    eval "$(dragonbelly completion bash)"
    complete -p dragonbelly
    COMP_WORDS=(dragonbelly backends dr) COMP_CWORD=2
    _dragonbelly_completion dragonbelly dr backends
    echo "${{COMPREPLY[@]}}"
    COMPREPLY=() COMP_WORDS=(dragonbelly put --wait) COMP_CWORD=2
    _dragonbelly_completion dragonbelly --wait put
    echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", program],
        env=command.environment,
        cwd=command.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    registered, state, option = done.stdout.splitlines()
    assert registered.startswith("complete ") and registered.endswith(" dragonbelly")
    assert (state, option) == ("drain", "--wait-copies")


def test_completion_in_zsh(command: Command) -> None:
    """As zsh has it when Tab is pressed, in a terminal.  ``make servers`` installs zsh."""
    zsh = Terminal(command, "-f", "-i", whole=True, program="zsh")
    # What is typed is shown as well: the words to wait for are typed with quotes in them.
    zsh.type(f"PATH={COMMAND.parent}:$PATH; TERM=dumb; PS1='> '; autoload -Uz compinit && compinit -u -D\n")
    zsh.type('eval "$(dragonbelly completion zsh)"; echo $_comps[dragonbelly] regis""tered\n')
    zsh.until("_dragonbelly_completion registered")
    for typed, completed in (("backends dr", "drain"), ("put --wait", "--wait-copies"), ("exp", "explain")):
        # The word after the command that Enter runs is what Tab made of it.
        zsh.type(f"dragonbelly() {{ echo made ${{@[-1]}}; }}\ndragonbelly {typed}")
        zsh.type("\t")
        zsh.until(f"{completed} ")
        zsh.type("\n")
        zsh.until(f"made {completed}")
        zsh.type("unfunction dragonbelly\n")
    # Where there are several, all are shown, with what they are.
    zsh.type("dragonbelly s\t\t")
    zsh.until("Change what a file asks for.")
    zsh.type("\x15exit 7\n")
    assert zsh.end() == 7


def test_completion_for_zsh(command: Command) -> None:
    done = command("completion", "zsh")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("#compdef dragonbelly\n")
    assert command("completion", "fish").returncode == 2

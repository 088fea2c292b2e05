"""``dragonbelly put`` to a real site."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.pseudo_terminal import Terminal
from tests.client.meddler import Meddler
from tests.integration.asking import eventually
from tests.integration.site import Site
from tests.servers.ports import free_port

pytestmark = pytest.mark.servers


def paths(site: Site, prefix: str) -> list[str]:
    page: Any = site.daemon.get_json(f"/-/api/v1/files?prefix={prefix}&limit=10000")
    return [file["path"] for file in page["files"]]


def test_a_file(site: Site, command: Command, name: str) -> None:
    (command.directory / "photo.jpg").write_bytes(b"picture")
    done = command("put", "photo.jpg", f"/{name}/a.jpg")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("1 file, 7 bytes in ")
    assert site.get(f"{name}/a.jpg") == b"picture"
    assert site.file(f"{name}/a.jpg")["content_type"] == "image/jpeg"


def test_terms(site: Site, command: Command, name: str) -> None:
    (command.directory / "a").write_bytes(b"a")
    told = "--attr camera=x100 --attr by=me=you --copies 3 --type text/x-odd --expires 30d --policy default"
    done = command("put", *told.split(), "--wait-copies", "2", "-q", "a", f"{name}/a")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    file = site.file(f"{name}/a")
    assert file["attributes"] == {"camera": "x100", "by": "me=you"}
    assert (file["copies"]["asked"], file["content_type"], file["policy"]) == (3, "text/x-odd", "default")
    assert file["copies"]["held"] >= 2
    assert file["expires"] > file["created"]


def test_stdin(site: Site, command: Command, name: str) -> None:
    done = command("put", "-", f"{name}/piped.txt", input=b"from a pipe" * 100_000)
    assert done.returncode == 0, done.stderr
    assert site.get(f"{name}/piped.txt") == b"from a pipe" * 100_000
    assert command("put", "-", f"{name}/empty", input=b"").returncode == 0
    assert site.get(f"{name}/empty") == b""


def test_a_named_pipe(site: Site, command: Command, name: str) -> None:
    os.mkfifo(command.directory / "fifo")
    process = command.popen("put", "fifo", f"{name}/a", stderr=subprocess.DEVNULL)
    (command.directory / "fifo").write_bytes(b"through a pipe")
    assert process.wait(60) == 0
    assert site.get(f"{name}/a") == b"through a pipe"


def tree(root: Path) -> None:
    (root / "deep/er").mkdir(parents=True)
    for file in ("a.txt", "deep/b & c.txt", "deep/er/é%2F?#.txt", "empty"):
        (root / file).write_text(file if file != "empty" else "")
    (root / "link").symlink_to("a.txt")
    (root / "deep/loop").symlink_to(root)
    os.mkfifo(root / "fifo")


TREE = ["a.txt", "deep/b & c.txt", "deep/er/é%2F?#.txt", "empty", "link"]


@pytest.mark.parametrize(
    ("sources", "to", "below"),
    [
        (["tree"], "", ""),
        (["tree"], "/", "tree/"),
        (["tree/"], "/", "tree/"),
        (["tree/."], "/", ""),
        (["tree/../tree"], "/new/", "new/tree/"),
    ],
)
def test_a_directory(site: Site, command: Command, name: str, sources: list[str], to: str, below: str) -> None:
    tree(command.directory / "tree")
    done = command("put", *sources, name + to)
    assert done.returncode == 0, done.stderr
    assert paths(site, f"{name}/") == [f"{name}/{below}{file}" for file in TREE]
    assert site.get(f"{name}/{below}link") == b"a.txt"
    assert "deep/loop is left out: a link to a directory\n" in done.stderr
    assert "fifo is left out: no regular file\n" in done.stderr
    assert "5 files, " in done.stderr


def test_several(site: Site, command: Command, name: str) -> None:
    tree(command.directory / "tree")
    (command.directory / "b").write_bytes(b"b")
    assert command("put", "b", "tree", name).returncode == 0
    assert paths(site, f"{name}/") == [f"{name}/b", *(f"{name}/tree/{file}" for file in TREE)]


def test_what_fails_is_named_and_the_others_go_on(site: Site, command: Command, name: str) -> None:
    root = command.directory / "tree"
    tree(root)
    (root / "back\\slash").write_bytes(b"refused by the server")
    (root / "gone").symlink_to("nowhere")
    Path(os.fsdecode(bytes(root) + b"/\xff")).write_bytes(b"its name is no text")
    done = command("put", "tree", "missing", f"{name}/")
    assert done.returncode == 1
    assert paths(site, f"{name}/") == [f"{name}/tree/{file}" for file in TREE]
    assert f"tree/back\\slash to {name}/tree/back\\slash: path: the path has a backslash\n" in done.stderr
    assert "tree/gone: No such file or directory\n" in done.stderr
    assert "missing: No such file or directory\n" in done.stderr
    assert ": its name is not UTF-8\n" in done.stderr
    assert done.stderr.endswith("dragonbelly: 4 files failed\n")
    # Also when nothing else is said.
    done = command("put", "-q", "missing", f"{name}/")
    assert (done.returncode, done.stderr) == (
        1,
        "dragonbelly: missing: No such file or directory\ndragonbelly: 1 file failed\n",
    )


def test_only_where_there_is_none(site: Site, command: Command, name: str) -> None:
    (command.directory / "a").write_bytes(b"new")
    assert command("put", "--if-none-match", "-", f"{name}/a", input=b"old").returncode == 0
    done = command("put", "--if-none-match", "a", f"{name}/a")
    assert done.returncode == 1
    assert f"a to {name}/a: " in done.stderr
    assert site.get(f"{name}/a") == b"old"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a"], "Missing argument"),
        (["-", "x/"], "does not end with /"),
        (["-", "a", "x"], "goes alone"),
        (["a", "../a", "x"], "would both become x/a"),
        (["--copies", "0", "a", "x"], "--copies"),
        (["--attr", "camera", "a", "x"], "NAME=VALUE was expected, not 'camera'"),
        (["--attr", "a=b", "--attr", "a=c", "a", "x"], "a is given twice"),
        (["--expires", "tomorrow", "a", "x"], "a duration such as 30d was expected, not 'tomorrow'"),
        (["--expires", "2030-01-01T00:00:00", "a", "x"], "was expected, not '2030-"),
        (["--jobs", "0", "a", "x"], "--jobs"),
    ],
)
def test_mistakes(command: Command, arguments: list[str], said: str) -> None:
    (command.directory / "a").write_bytes(b"")
    done = command("put", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_what_the_server_refuses(command: Command, name: str) -> None:
    (command.directory / "a").write_bytes(b"")
    done = command("put", "--policy", "nonsense", "a", f"{name}/a")
    assert done.returncode == 1
    assert "policy: " in done.stderr and "nonsense" in done.stderr


def test_no_server(command: Command) -> None:
    for n in range(20):
        (command.directory / str(n)).write_bytes(b"")
    url = f"http://127.0.0.1:{free_port()}"
    done = command("put", *map(str, range(20)), "x/", "--url", url)
    assert done.returncode == 3
    assert done.stderr.endswith(f"no answer from {url}: [Errno 111] Connection refused\n")
    assert done.stderr.count("Connection refused") == 1  # not for each file


def test_a_server_that_is_another(site: Site, command: Command) -> None:
    (command.directory / "a").write_bytes(b"")
    url = next(iter(site.stores.values())).url
    done = command("put", "a", "x", "--url", url)
    assert done.returncode == 3
    assert "not as Dragonbelly does: is that its address?" in done.stderr


def test_a_server_that_takes_no_more(site: Site, command: Command, name: str) -> None:
    """A reply is lost, and what was asked is asked again; a storage server fails, and another takes it."""
    (command.directory / "a").write_bytes(b"bytes")
    lost = []

    def rule(method: str, path: str) -> Any:
        if path.split("?")[0].endswith("/complete") and not lost:
            lost.append(path)
            return "lose reply"
        return None

    with Meddler(site.daemon.url, rule) as meddler:
        done = command("put", "a", f"{name}/a", "--url", meddler.url)
    assert done.returncode == 0, done.stderr
    assert lost
    assert site.get(f"{name}/a") == b"bytes"


def test_the_progress_is_shown_on_a_terminal(site: Site, command: Command, name: str) -> None:
    tree(command.directory / "tree")
    (command.directory / "tree/big").write_bytes(os.urandom(40_000_000))
    terminal = Terminal(command, "put", "tree", name)
    assert terminal.end() == 0
    assert "/6 files" in terminal.shown
    assert "MB/s" in terminal.shown and "40.0" in terminal.shown
    quiet = Terminal(command, "put", "-q", "tree/a.txt", f"{name}/")
    assert quiet.end() == 0
    assert quiet.shown == ""


def test_interrupted(site: Site, command: Command, name: str) -> None:
    """Nothing half-done is left: neither a file nor an upload."""
    os.mkfifo(command.directory / "fifo")
    terminal = Terminal(command, "put", "-q", "fifo", f"{name}/a")
    with (command.directory / "fifo").open("wb") as fifo:
        fifo.write(os.urandom(2_000_000))
        fifo.flush()
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.end() == 130  # though more could come
    assert "interrupted" in terminal.shown and "Traceback" not in terminal.shown
    assert site.file(f"{name}/a") is None


def test_a_server_that_hangs(command: Command) -> None:
    """Ctrl-C ends it all the same."""
    (command.directory / "a").write_bytes(b"")
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        terminal = Terminal(command, "put", "a", "x", "--url", url)
        accepted, _ = hanging.accept()
        with accepted:
            accepted.recv(100)
            terminal.type("\x03")
            os.killpg(terminal.process.pid, signal.SIGINT)
            assert terminal.end() == 130


def test_many_at_a_time(site: Site, command: Command, name: str) -> None:
    (command.directory / "many").mkdir()
    for n in range(300):
        (command.directory / f"many/{n:03}").write_bytes(os.urandom(n))
    done = command("put", "many", name)
    assert done.returncode == 0, done.stderr
    assert "300 files, 44.9 kB in " in done.stderr
    assert paths(site, f"{name}/") == [f"{name}/{n:03}" for n in range(300)]
    done = command("get", "-r", name, "back")
    assert done.returncode == 0, done.stderr
    for n in range(300):
        assert (command.directory / f"back/{n:03}").read_bytes() == (
            command.directory / f"many/{n:03}"
        ).read_bytes()
    done = command("rm", "-r", "--yes", name)
    assert (done.returncode, done.stderr) == (0, "")
    eventually("all are gone", lambda: not paths(site, f"{name}/"), 10, lambda: "")

"""``get``, ``ls``, ``info``, ``set`` and ``rm`` on a real site."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dragonbelly.cli.get import place, safe
from dragonbelly.cli.terminal import printable
from tests.cli.conftest import COMMAND, Command
from tests.cli.pseudo_terminal import Terminal
from tests.client.meddler import Meddler
from tests.integration.site import Site, sha256
from tests.waiting import until


@pytest.fixture
def stored(command: Command, name: str) -> str:
    """The name of a directory with three files."""
    for path in ("a.txt", "b/c.txt", "b.txt"):
        assert command("put", "-", f"{name}/{path}", input=path.encode()).returncode == 0
    return name


@pytest.mark.servers
def test_get(command: Command, stored: str) -> None:
    here = command.directory
    for to, where in (([], "a.txt"), (["copy"], "copy"), ([str(here / "in")], "in/a.txt")):
        (here / "in").mkdir(exist_ok=True)
        done = command("get", f"{stored}/a.txt", *to)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (here / where).read_bytes() == b"a.txt"
    done = command("get", f"/{stored}/b/c.txt", "-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "b/c.txt", "")
    assert sorted(file.name for file in here.iterdir()) == ["a.txt", "copy", "in"]  # no parts are left


@pytest.mark.servers
def test_get_all_below(command: Command, stored: str) -> None:
    done = command("get", "-r", stored, "to/here")
    assert (done.returncode, done.stderr) == (0, "3 files, 17 bytes\n")
    root = command.directory / "to/here"
    found = {str(file.relative_to(root)): file.read_text() for file in root.rglob("*") if file.is_file()}
    assert found == {file: file for file in ("a.txt", "b/c.txt", "b.txt")}
    assert command("get", "-r", "-q", f"{stored}/b/", "only").returncode == 0
    assert [file.name for file in (command.directory / "only").iterdir()] == ["c.txt"]
    assert command("get", "-r", "-q", f"{stored}/a.txt", "only").returncode == 0
    assert (command.directory / "only/a.txt").read_text() == "a.txt"
    # Not what only begins alike.
    assert command("get", "-r", f"{stored}/a", "none").returncode == 1
    assert not (command.directory / "none").exists()
    for to in ("-", "none"):
        done = command("get", f"{stored}/b", to)
        assert done.returncode == 1
        assert done.stderr == f"dragonbelly: there is no file {stored}/b; with -r all files below it\n"


@pytest.mark.servers
def test_get_stays_where_it_was_sent(command: Command, stored: str) -> None:
    """A link that was there leads elsewhere; a file is where a directory would have to be."""
    (command.directory / "elsewhere").mkdir()
    (command.directory / "to").mkdir()
    (command.directory / "to/b").symlink_to(command.directory / "elsewhere")
    done = command("get", "-r", stored, "to")
    assert done.returncode == 1
    assert f"{stored}/b/c.txt: " in done.stderr and "leads out of to" in done.stderr
    assert list((command.directory / "elsewhere").iterdir()) == []
    assert (command.directory / "to/a.txt").read_text() == "a.txt"
    (command.directory / "to/b").unlink()
    (command.directory / "to/b").write_text("mine")
    done = command("get", "-r", stored, "to")
    assert done.returncode == 1
    assert done.stderr.endswith("2 files, 10 bytes\ndragonbelly: 1 file failed\n")
    assert (command.directory / "to/b").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("a/b", "a/b"),
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
        ("/etc/passwd", "%/etc/passwd"),
        ("a//b/.", "a/%/b/%2E"),
        ("a\0b\nc\\d", "a%00b%0Ac%5Cd"),
        ("...", "..."),
    ],
)
def test_names_that_servers_do_not_give(name: str, where: str) -> None:
    assert place(Path("/root/of"), name) == Path("/root/of") / where


@pytest.mark.parametrize(
    ("name", "shown"), [("ü ☃", "ü ☃"), ("a\x1b[0m\n\x9b", "a\\x1b[0m\\x0a\\x9b"), ("\udcff", "\\xff")]
)
def test_what_is_printed_of_names(name: str, shown: str) -> None:
    assert printable(name) == shown


def test_one_segment_is_one_segment() -> None:
    assert safe("a/../b") == "a%2F..%2Fb"


@pytest.mark.servers
@pytest.mark.parametrize("resume", [False, True])
def test_get_with_a_disk_that_is_full(command: Command, name: str, resume: bool) -> None:
    """A limit on the size of files stands in for it: the error comes from the same place."""
    data = os.urandom(3_000_000)
    assert command("put", "-", f"{name}/big", input=data).returncode == 0
    done = subprocess.run(
        [COMMAND, "get", f"{name}/big", *(["--resume"] if resume else [])],
        cwd=command.directory,
        env=command.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
    )
    assert done.returncode == 1
    kept = "; what came is kept for --resume" if resume else ""
    assert done.stderr == f"dragonbelly: big: File too large{kept}\n"
    assert len(list(command.directory.iterdir())) == (1 if resume else 0)
    if resume:
        assert command("get", f"{name}/big", "--resume").returncode == 0
        assert [file.name for file in command.directory.iterdir()] == ["big"]
        assert sha256((command.directory / "big").read_bytes()) == sha256(data)


#: A file system of 1 MB of its own: that is full, then larger.  With ``get`` as arguments.
_SMALL = """
mkdir full && mount -t tmpfs -o size=1m none full && cd full
"$@"; echo "exit $?, left: $(ls -A)"
"$@" --resume; echo "exit $?, left: $(ls -A)"
mount -o remount,size=8m none . && "$@" --resume; echo "exit $?, left: $(ls -A)"
sha256sum <big
"""


@pytest.mark.servers
def test_get_onto_a_file_system_that_is_full(command: Command, name: str) -> None:
    """Mounted where nobody else sees it; where that may not be, a limit stands in for it as above."""
    data = os.urandom(3_000_000)
    assert command("put", "-", f"{name}/big", input=data).returncode == 0
    unshare = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*unshare, "mount", "-t", "tmpfs", "none", command.directory], check=False).returncode:
        test_get_with_a_disk_that_is_full(command, f"{name}-limited", resume=True)
        return
    done = subprocess.run(
        [*unshare, "sh", "-c", _SMALL, "sh", COMMAND, "get", f"{name}/big"],
        cwd=command.directory,
        env=command.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    failed, kept, whole, digest = done.stdout.splitlines()
    assert failed == "exit 1, left: "
    assert kept.startswith("exit 1, left: .big.") and kept.endswith(".part")
    assert whole == "exit 0, left: big"
    assert digest.split()[0] == sha256(data)
    told = "dragonbelly: big: No space left on device"
    assert done.stderr == f"{told}\n{told}; what came is kept for --resume\n"


@pytest.mark.servers
def test_get_into_a_device_that_is_full(command: Command, stored: str) -> None:
    """It is written to, through a link that stays; and so is stdout."""
    link = command.directory / "full"
    link.symlink_to("/dev/full")
    done = command("get", f"{stored}/a.txt", "full")
    assert (done.returncode, done.stderr) == (1, "dragonbelly: full: No space left on device\n")
    assert link.is_symlink() and link.is_char_device()
    for arguments in (["get", f"{stored}/a.txt", "-"], ["ls"], ["info", f"{stored}/a.txt"], ["status"]):
        with open("/dev/full", "wb") as full:  # noqa: PTH123
            process = command.popen(*arguments, stdout=full, stderr=subprocess.PIPE)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (1, b"dragonbelly: No space left on device\n")


@pytest.mark.servers
def test_get_into_a_pipe(command: Command, stored: str) -> None:
    """As with ``>(…)`` of a shell: it is not replaced by a file."""
    os.mkfifo(command.directory / "pipe")
    process = command.popen("get", f"{stored}/a.txt", "pipe", stderr=subprocess.PIPE)
    try:
        assert (command.directory / "pipe").read_bytes() == b"a.txt"
        assert process.communicate(timeout=60) == (None, b"")
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert (command.directory / "pipe").is_fifo()
    assert command("get", f"{stored}/a.txt", "pipe", "--resume").returncode == 2
    (command.directory / "to/b.txt").parent.mkdir()
    os.mkfifo(command.directory / "to/b.txt")
    done = command("get", "-r", stored, "to")
    assert done.returncode == 1
    assert f"{stored}/b.txt: only a file can be replaced, and this is a device or a pipe\n" in done.stderr
    assert (command.directory / "to/b.txt").is_fifo()


@pytest.mark.servers
def test_get_through_a_link(command: Command, stored: str) -> None:
    """As with cp: what it leads to becomes the file, and the link stays."""
    (command.directory / "real").mkdir()
    link = command.directory / "link"
    link.symlink_to("real/file")
    for path in ("a.txt", "b.txt"):
        assert command("get", f"{stored}/{path}", "link").returncode == 0
        assert link.is_symlink() and link.read_text() == path
    assert [file.name for file in (command.directory / "real").iterdir()] == ["file"]


@pytest.mark.servers
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("resume", [False, True])
def test_get_that_is_ended(
    site: Site, command: Command, name: str, number: signal.Signals, resume: bool
) -> None:
    """With Ctrl-C, with ``kill``, or by its terminal, which is gone."""
    assert command("put", "-", f"{name}/big", input=bytes(1_000_000)).returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = f"127.0.0.1:{silent.getsockname()[1]}".encode()

        def rule(method: str, path: str) -> Any:
            """The storage servers answer nothing."""
            return lambda data: re.sub(rb'(?<="url":"http://)[0-9.:]+', there, data)

        with Meddler(site.daemon.url, rule) as meddler:
            process = command.popen(
                "get",
                f"{name}/big",
                *(["--resume"] if resume else []),
                "--url",
                meddler.url,
                stderr=subprocess.PIPE,
                # Under nohup, or in some CI, it would be ignored, and rightly so.
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
            )
            try:
                until(lambda: list(command.directory.glob(".big.*.part")) != [], within=60)
                process.send_signal(number)
                _, err = process.communicate(timeout=60)
            finally:
                process.kill()
                process.wait()
    assert (process.returncode, err) == (128 + number, b"dragonbelly: interrupted\n")
    assert len(list(command.directory.iterdir())) == resume


@pytest.mark.servers
def test_names_that_are_not_utf8(command: Command, name: str) -> None:
    """An argument of any bytes is a mistake that is named, and a file's name does not steer the terminal."""
    bad = os.fsdecode(b"o/bad\xff")
    for arguments in (["get", bad], ["ls", bad], ["info", bad], ["rm", bad], ["explain", bad], ["audit", bad]):
        done = command(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert "o/bad\\xff is not UTF-8" in done.stderr
    (command.directory / "in").mkdir()
    for file in (os.fsdecode(b"bad\xff"), "red\x1b[31m", "new\nline"):
        (command.directory / "in" / file).write_text("x")
    done = command("put", "in", name)
    assert done.returncode == 1
    assert "dragonbelly: in/bad\\xff: its name is not UTF-8\n" in done.stderr
    assert f"dragonbelly: in/red\\x1b[31m to {name}/red\\x1b[31m: path: " in done.stderr
    assert f"dragonbelly: in/new\\x0aline to {name}/new\\x0aline: path: " in done.stderr


@pytest.mark.servers
def test_a_path_that_is_empty_is_not_everything(command: Command, stored: str) -> None:
    (command.directory / "file").write_text("x")
    for arguments in (
        ["rm", "-r", "--yes", ""],
        ["rm", "-r", "-y", stored, ""],
        ["put", "file", ""],
        ["get", ""],
    ):
        done = command(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "it is empty; / is all there is" in done.stderr
    assert len(command("ls", "-r", stored).stdout.splitlines()) == 3
    assert f"{stored}/" in command("ls", "").stdout.splitlines()


@pytest.mark.servers
def test_streams_that_are_closed(command: Command, stored: str) -> None:
    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", line, "sh", COMMAND, stored],
            cwd=command.directory,
            env=command.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    for line in (
        '"$1" ls "$2" >&-',
        '"$1" get "$2/a.txt" - >&-',
        '"$1" put "$2" "$2" 2>&- || "$1" ls >&- 2>&-',
    ):
        done = run(line)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = run('"$1" put - "$2/new" <&-')
    assert done.returncode == 2
    assert "stdin is closed" in done.stderr
    done = run('"$1" rm -r "$2" <&-')
    assert done.returncode == 2
    assert "say --yes" in done.stderr
    assert len(command("ls", "-r", stored).stdout.splitlines()) == 3


@pytest.mark.servers
def test_get_into_what_is_no_place(command: Command, stored: str) -> None:
    done = command("get", f"{stored}/a.txt", "no/such/place")
    assert done.returncode == 1
    assert done.stderr == "dragonbelly: no/such/place: No such file or directory\n"
    done = command("get", f"{stored}/a.txt", "-", "--resume")
    assert done.returncode == 2
    done = command("get", "-r", stored)
    assert done.returncode == 2


@pytest.mark.servers
def test_ls(command: Command, stored: str) -> None:
    assert command("ls", stored).stdout.splitlines() == [f"{stored}/{n}" for n in ("a.txt", "b.txt", "b/")]
    assert command("ls", f"{stored}/b/").stdout == f"{stored}/b/c.txt\n"
    assert command("ls", f"{stored}/a.txt").stdout == f"{stored}/a.txt\n"
    assert command("ls", "-r", f"/{stored}").stdout.splitlines() == [
        f"{stored}/{n}" for n in ("a.txt", "b.txt", "b/c.txt")
    ]
    assert f"{stored}/" in command("ls").stdout.splitlines()
    lines = command("ls", "-l", stored).stdout.splitlines()
    size, time, kind, path = lines[0].split()
    assert (size, kind, path) == ("5", "text/plain", f"{stored}/a.txt")
    assert time.endswith("Z")
    assert lines[2].split() == ["-", "-", "-", f"{stored}/b/"]
    listed: list[Any] = [json.loads(line) for line in command("ls", "--json", stored).stdout.splitlines()]
    assert [item.get("path") or item["prefix"] for item in listed] == [
        f"{stored}/{n}" for n in ("a.txt", "b.txt", "b/")
    ]
    assert listed[0]["sha256"] == sha256(b"a.txt")


@pytest.mark.servers
def test_ls_of_nothing(command: Command, name: str) -> None:
    done = command("ls", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"dragonbelly: there is nothing at {name}\n"


@pytest.mark.servers
@pytest.mark.parametrize("arguments", ["ls", "get {name}/big -", "info {name}/big"])
def test_a_reader_that_has_enough(command: Command, name: str, arguments: str) -> None:
    assert command("put", "-", f"{name}/big", input=bytes(3_000_000)).returncode == 0
    process = command.popen(
        *arguments.format(name=name).split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0


@pytest.mark.servers
def test_info(command: Command, stored: str) -> None:
    done = command("info", f"{stored}/a.txt")
    assert done.returncode == 0
    told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert told["path"] == f"{stored}/a.txt"
    assert told["sha256"] == sha256(b"a.txt")
    assert told["size"] == "5 bytes"
    assert told["state"] == "live"
    file = json.loads(command("info", "--json", f"{stored}/a.txt").stdout)
    assert (file["path"], file["copies"]["owed"]) == (f"{stored}/a.txt", 2)
    assert file["replicas"][0]["url"].startswith("http://")


@pytest.mark.servers
def test_set(site: Site, command: Command, stored: str) -> None:
    path = f"{stored}/a.txt"
    told = "--copies 3 --attr a=1 --attr b=2 --policy default --expires 2099-01-01T00:00:00+01:00"
    done = command("set", path, *told.split())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    file = site.file(path)
    assert (file["copies"]["asked"], file["attributes"]) == (3, {"a": "1", "b": "2"})
    assert file["expires"] == "2098-12-31T23:00:00Z"
    assert command("set", path, "--attr", "a=").returncode == 0
    assert site.file(path)["attributes"] == {"b": "2"}
    assert site.file(path)["copies"]["asked"] == 3
    assert command("set", path, *["--copies", "none", "--policy", "none", "--expires", "none"]).returncode == 0
    file = site.file(path)
    assert (file["copies"]["asked"], file["expires"], file["attributes"]) == (None, None, {"b": "2"})
    assert command("set", path).returncode == 2
    done = command("set", path, "--policy", "nonsense")
    assert done.returncode == 1
    assert done.stderr.startswith("dragonbelly: policy: ")


@pytest.mark.servers
@pytest.mark.parametrize("arguments", [["get", "x/a"], ["info", "x/a"], ["set", "x/a", "--copies", "1"]])
def test_what_is_not_there(command: Command, arguments: list[str]) -> None:
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "dragonbelly: there is no file x/a\n"
    assert list(command.directory.iterdir()) == []


@pytest.mark.servers
def test_rm(site: Site, command: Command, stored: str) -> None:
    done = command("rm", f"{stored}/a.txt", f"{stored}/nothing", f"{stored}/b.txt")
    assert done.returncode == 1
    assert done.stderr == f"dragonbelly: {stored}/nothing: there is no file {stored}/nothing\n"
    assert command("ls", "-r", stored).stdout == f"{stored}/b/c.txt\n"
    # A directory is no file.
    assert command("rm", f"{stored}/b").returncode == 1
    assert command("ls", "-r", stored).stdout == f"{stored}/b/c.txt\n"


@pytest.mark.servers
def test_rm_all_below(site: Site, command: Command, stored: str) -> None:
    done = command("rm", "-r", stored)  # nobody can be asked
    assert done.returncode == 2
    assert f"Delete 3 files (17 bytes) at {site.daemon.url}?" in done.stderr and "--yes" in done.stderr
    no = Terminal(command, "rm", "-r", stored)
    no.until("Delete 3 files (17 bytes)")
    no.type("n\n")
    assert no.end() == 1
    assert "nothing was done" in no.shown
    assert len(command("ls", "-r", stored).stdout.splitlines()) == 3
    yes = Terminal(command, "rm", "-r", f"{stored}/b")
    yes.until("Delete 1 file (7 bytes)")
    yes.type("y\n")
    assert yes.end() == 0
    assert command("ls", "-r", stored).stdout.splitlines() == [f"{stored}/a.txt", f"{stored}/b.txt"]
    done = command("rm", "-r", "--yes", f"{stored}/b", stored)
    assert done.returncode == 1
    assert done.stderr == f"dragonbelly: there is nothing at {stored}/b\n"
    assert command("ls", stored).returncode == 1


@pytest.mark.servers
def test_a_copy_that_is_wrong(site: Site, command: Command, name: str) -> None:
    """What the storage servers give is not the file: nothing is left, and it is said."""
    assert command("put", "-", f"{name}/a", input=b"right").returncode == 0

    def rule(method: str, path: str) -> Any:
        return (lambda data: data.replace(sha256(b"right").encode(), b"0" * 64)) if "/files/" in path else None

    with Meddler(site.daemon.url, rule) as meddler:
        for to in ("there", "-"):
            done = command("get", f"{name}/a", to, "--url", meddler.url)
            assert done.returncode == 1
            assert "have not the digest" in done.stderr
    assert list(command.directory.iterdir()) == []


@pytest.mark.servers
def test_a_command_starts_without_the_reactor(command: Command) -> None:
    """And without a configuration of the daemon: it only needs httpx."""
    code = (
        "import sys; from dragonbelly.cli import main; main(['ls', '--url', 'http://127.0.0.1:1']); "
        "sys.exit('twisted.internet.reactor' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0

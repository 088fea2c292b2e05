from pathlib import Path

import pytest

from dragonbelly import __version__
from dragonbelly.cli import main

SAMPLE = Path(__file__).parents[2] / "etc" / "dragonbelly.toml"


def test_check_says_what_a_configuration_means(capsys):
    assert main(["check", str(SAMPLE)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    for line in (
        "state    redis://127.0.0.1:6379/0, 64 partitions",
        "files    tcp:8080",
        "domain   media: media.example.com, *; policy default; everybody may read",
        "         type video/*, larger 100MB: policy large",
        "policy   large: copies, copies 3, spread zone",
        "backend  store1: dav on host store1, zone a, weight 1",
    ):
        assert f"{line}\n" in said.out


def test_check_says_what_is_wrong(capsys, tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("[http]\nlisten = 8080")
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{path}: http.listen: found 8080, expected an array, each item a string\n"


def test_check_says_what_does_not_fit_together(capsys, tmp_path):
    path = tmp_path / "my.toml"
    path.write_text('[http]\nadmin = ["tcp:8081"]\n[backend.a]\nkind = "dav"\nurl = "http://a"\n')
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"{path}: http.admin: ")
    assert len(said.err.splitlines()) == 1


def test_check_doubts(capsys, tmp_path):
    path = tmp_path / "my.toml"
    backends = "".join(f"[backend.{name}]\nkind = 'dav'\nurl = 'http://{name}'\n" for name in "ab")
    path.write_text(f"[policy.many]\ncopies = 3\n[policy.wide]\nspread = 'zone'\n{backends}")
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"{path}: policy.many: owes 3 copies, but these backends can hold 2",
        f"{path}: policy.wide: owes 2 copies, each in a zone of its own; zones there are: 1",
    ]


def test_check_doubts_what_may_be_one_storage_or_one_machine(capsys, tmp_path):
    path = tmp_path / "my.toml"

    def said(**backends):
        path.write_text(
            "".join(f"[backend.{name}]\nkind = 'dav'\n{lines}\n" for name, lines in backends.items())
        )
        assert main(["check", str(path)]) == 0
        return capsys.readouterr().err.splitlines()

    one = "url = 'http://10.0.0.1:8000'"
    assert said(a=one, b="url = 'http://10.0.0.2:8000'") == []
    assert (
        said(a=one + "\nhost = 'h'", b="url = 'http://10.0.0.1:8001'\nhost = 'h'", c="url = 'http://x'") == []
    )
    assert said(a=one, b="url = 'http://10.0.0.1:8001'") == [
        f"{path}: backend.a, b: all at 10.0.0.1, yet on 2 hosts; if it is one machine, give them the same host"
    ]
    assert said(a=one + "\nhost = 'h'", b=one[:-1] + "/'\nhost = 'h'", c="url = 'http://x'") == [
        f"{path}: backend.a, b: all at http://10.0.0.1:8000, so they are one storage, and its copies one"
    ]
    # What the daemon talks to decides: a proxy may be in front of all.
    proxy = "url = 'http://files.example.com/{0}'\ninternal_url = 'http://10.0.0.{0}'"
    assert said(a=proxy.format(1), b=proxy.format(2)) == []


def test_check_shows_all_mistakes_of_a_section(capsys, tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("[http]\nlisten = 8080\nidel = 1\nupload_redirect = 303\n[upload]\nmax_size = 0\n")
    assert main(["check", str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.removeprefix(f"{path}: ").partition(":")[0] for line in lines] == [
        "http.idel",
        "http.listen",
        "http.upload_redirect",
    ]


def test_check_doubts_a_short_grace(capsys, tmp_path):
    """A daemon that was cut off from Redis pointed to removed objects."""
    path = tmp_path / "my.toml"
    backend = "[backend.a]\nkind = 'dav'\nurl = 'http://a'\n[policy.default]\ncopies = 1\n"

    def said(grace: str, stale: str) -> list[str]:
        path.write_text(f"[delete]\ngrace = '{grace}'\n[state]\nstale = '{stale}'\n{backend}")
        assert main(["check", str(path)]) == 0
        return capsys.readouterr().err.splitlines()

    assert said("1m", "1m") == []
    [line] = said("1m", "2m")
    assert line.startswith(f"{path}: delete.grace: 60 s is less than state.stale, 120 s: ")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:hush@h", "redis://…@h"),
        (
            "sentinel://me:hush@h1,h2/main?db=1&sentinel_password=hush",
            "sentinel://…@h1,h2/main?db=1&sentinel_password=…",
        ),
        ("sentinel://h1,h2/main?sentinel_password=hush&db=1", "sentinel://h1,h2/main?sentinel_password=…&db=1"),
    ],
)
def test_secrets_are_not_shown(capsys, tmp_path, url, shown):
    path = tmp_path / "my.toml"
    path.write_text(
        f"[state]\nredis = '{url}'\n[backend.a]\nkind = 'dav'\nurl = 'http://a'\nsecure_link_secret = 'hush'\n"
    )
    assert main(["check", str(path)]) == 0
    said = capsys.readouterr()
    assert "hush" not in said.out + said.err
    assert f"state    {shown}, 64 partitions" in said.out


@pytest.mark.parametrize(
    ("arguments", "status"), [([], 2), (["chekc"], 2), (["--version"], 0), (["--help"], 0)]
)
def test_the_command_line(arguments, status, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == status
    said = capsys.readouterr()
    assert status or f"dragonbelly {__version__}\n" == said.out or "check" in said.out

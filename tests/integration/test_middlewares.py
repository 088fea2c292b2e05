"""
Flask and Starlette behind their real servers, in front of a real Dragonbelly: who may read a file reads its
bytes by following the redirects, and nobody else does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.parse import quote, quote_from_bytes, urlsplit

import pytest
import requests

from dragonbelly.contrib.redirects import Redirects
from tests.contrib.applications import with_flask, with_starlette
from tests.integration.asking import ask
from tests.integration.site import Site
from tests.servers.applications import Example, uvicorn_server, werkzeug_server, wsgiref_server

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parents[2]

SERVERS = ("werkzeug", "wsgiref", "h11", "httptools")


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, site: Site) -> Iterator[str]:
    redirects = Redirects(site.daemon.url, prefix="/media/")
    with ExitStack() as stack:
        match request.param:
            case "werkzeug":
                url = stack.enter_context(werkzeug_server(with_flask(redirects)))
            case "wsgiref":
                url = stack.enter_context(wsgiref_server(with_flask(redirects)))
            case protocol:
                url = stack.enter_context(uvicorn_server(with_starlette(redirects), protocol))
        yield url


def get(url: str, **more: object) -> requests.Response:
    return requests.get(url, timeout=20, **more)  # type: ignore[arg-type]


PATHS = [
    "a.jpg",
    "a b+c&d.jpg",
    "Bücher/Łódź/本.pdf",
    "100%.txt",
    "%2e%2e",
    "what?#.txt",
    "Ã¼",
    "\U0001f409/x;y=z",
]


@pytest.mark.parametrize("path", PATHS)
def test_who_may_read_a_file_reads_its_bytes(server: str, site: Site, name: str, path: str) -> None:
    path, data = f"mine/{name}/{path}", os.urandom(50_000)
    site.put(path, data)
    for url in (f"{server}/media/{quote(path)}", f"{server}/guarded?path={quote(path)}"):
        answer = get(url)
        assert (answer.status_code, answer.content) == (200, data), url
        assert answer.history[0].status_code == 302
        assert answer.history[0].headers["Location"] == site.url(path)
        assert answer.history[0].headers["Cache-Control"] == "private, no-store"
        part = get(url, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, data[10:20])
        head = requests.head(url, timeout=20, allow_redirects=True)
        assert (head.status_code, head.headers["Content-Length"]) == (200, "50000")


def test_a_views_cookie_stays_and_its_body_goes(server: str) -> None:
    answer = get(f"{server}/guarded?path=mine/a", allow_redirects=False)
    assert answer.cookies["seen"] == "yes"
    assert answer.headers["Content-Length"] == "0"
    assert answer.content == b""
    assert not {"ETag", "X-Dragonbelly-Redirect"} & set(answer.headers)


def test_who_may_not_read_a_file_hears_nothing_of_where_it_is(server: str, site: Site, name: str) -> None:
    site.put(f"yours/{name}", b"secret")
    for url in (f"{server}/media/yours/{name}", f"{server}/forbidden"):
        for method in ("GET", "HEAD"):
            answer = ask(method, url)
            assert answer.status == 403
            assert "Location" not in answer.headers
            assert "X-Dragonbelly-Redirect" not in answer.headers
            assert site.daemon.url.encode() not in answer.body


def test_a_permission_may_answer_itself(server: str) -> None:
    answer = ask("GET", f"{server}/media/login/a")
    assert (answer.status, urlsplit(answer.headers["Location"]).path) == (303, "/login")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "../etc/passwd",
        "mine/../yours/a",
        "mine/%2e%2e/yours/a",
        "mine//a",
        "mine/%5c..%5cyours",
        "mine/a%0d%0aSet-Cookie:%20x=1",
        "mine/a%00",
        "mine/" + "a" * 300,
        "-/api/v1/backends",
    ],
)
def test_what_is_no_file_is_not_found(server: str, path: str) -> None:
    answer = ask("GET", f"{server}/media/{path}")
    assert answer.status == 404
    assert not {"location", "set-cookie"} & {header.lower() for header in answer.headers}


@pytest.mark.parametrize("path", ["mine/%ff", "mine/%c0%ae%c0%ae/a", "mine/%ed%a0%80"])
def test_what_is_not_utf8_leads_nowhere(server: str, site: Site, path: str) -> None:
    """Werkzeug's server puts U+FFFD in its place, and that is a name like others; the rest is refused."""
    answer = ask("GET", f"{server}/media/{path}")
    if answer.status == 302:
        assert answer.headers["Location"].startswith(f"{site.daemon.url}/mine/%EF%BF%BD")
        answer = ask("GET", answer.headers["Location"])
    assert answer.status == 404


def test_files_are_only_read(server: str) -> None:
    for method in ("POST", "PUT", "DELETE"):
        answer = ask(method, f"{server}/media/mine/a", b"x")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "value",
    [
        b"../yours/a",
        b"//evil.example.com/",
        b"https://evil.example.com/",
        b"a\r\nSet-Cookie: x=1",
        b"B\xc3\xbccher",
    ],
)
def test_a_mistake_of_a_view_is_a_500(server: str, value: bytes) -> None:
    answer = ask("GET", f"{server}/as-it-is?value={quote_from_bytes(value)}")
    assert answer.status == 500
    assert not {"location", "set-cookie", "x-dragonbelly-redirect"} & {name.lower() for name in answer.headers}
    assert b"secret" not in answer.body


def test_a_form_leads_to_a_file(server: str, site: Site, name: str) -> None:
    site.put(f"mine/{name}", b"receipt")
    answer = requests.post(f"{server}/form", data={"name": name}, timeout=20)
    assert (answer.status_code, answer.content) == (200, b"receipt")
    assert answer.history[0].status_code == 303


def test_a_stream_without_an_end_is_dropped(server: str, site: Site, name: str) -> None:
    """Its view holds up neither this client, on the same connection, nor others, nor the server's end."""
    site.put(f"mine/{name}", b"x" * 1000)
    with requests.Session() as session:
        for _ in range(3):
            assert session.get(f"{server}/endless?path=mine/{name}", timeout=20).content == b"x" * 1000
    assert get(f"{server}/stream").status_code == 200


def test_all_else_is_the_applications(server: str) -> None:
    answer = get(f"{server}/stream")
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (200, b"x" * 1_000_000, '"x"')
    assert get(f"{server}/mediax/a").json() == {"path": "mediax/a"}
    assert requests.post(f"{server}/x/media/a", timeout=20).json() == {"path": "x/media/a"}
    assert get(f"{server}/broken").status_code == 500


# --- what the README says, and the examples


def readme_blocks() -> tuple[str, str]:
    """The code to paste: for Flask, for Starlette."""
    section = (ROOT / "README.rst").read_text().split("\nIn front of any WSGI or ASGI application\n", 1)[1]
    section = re.split(r"\n\n\n(?=\S)", section)[0]
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", section)
    flask, starlette = map(dedent, blocks)
    return flask, starlette


@pytest.mark.parametrize("kind", ["flask", "starlette"])
def test_the_code_to_paste_works(site: Site, kind: str, name: str) -> None:
    flask, starlette = readme_blocks()
    code = flask if kind == "flask" else starlette
    assert "http://127.0.0.1:8080" in code
    pasted: dict[str, Any] = {"__name__": "pasted"}
    exec(code.replace("http://127.0.0.1:8080", site.daemon.url), pasted)
    site.put(f"public/{name}", b"logo")
    site.put("members/plan.pdf", b"plan")
    serve = werkzeug_server(pasted["app"]) if kind == "flask" else uvicorn_server(pasted["app"], "h11")
    with serve as url:
        assert get(f"{url}/media/public/{name}").content == b"logo"
        assert get(f"{url}/media/members/plan.pdf").status_code == 403
        if kind == "flask":
            assert get(f"{url}/plan").status_code == 403
            session = (
                pasted["app"].session_interface.get_signing_serializer(pasted["app"]).dumps({"member": "ann"})
            )
            assert get(f"{url}/plan", cookies={"session": session}).content == b"plan"


EXAMPLE_COMMANDS = {
    "wsgi": ["flask", "--app", "app.py", "run", "--port", "PORT"],
    "asgi": ["uvicorn", "--port", "PORT", "app:app"],
}


@pytest.mark.parametrize("kind", EXAMPLE_COMMANDS)
def test_the_example_does_what_it_says(site: Site, kind: str, name: str) -> None:
    for path in ("public/logo.png", "members/plan.pdf", "letters/Zoë.txt"):
        site.put(path, f"{kind} {path}".encode())
    environment = {"DRAGONBELLY_URL": site.daemon.url}
    with (
        Example(ROOT / "examples" / kind, EXAMPLE_COMMANDS[kind], environment) as example,
        requests.Session() as session,
    ):

        def read(path: str) -> tuple[int, bytes]:
            answer = session.get(example.url + path, timeout=20)
            return answer.status_code, answer.content if answer.ok else b""

        assert read("/media/public/logo.png") == (200, f"{kind} public/logo.png".encode())
        for path in ("/plan", "/media/members/plan.pdf", "/letters/Zoë", "/media/letters/Zoë.txt"):
            assert read(path) == (403, b"")
        assert session.post(f"{example.url}/login/Zoë", timeout=20).status_code == 204
        assert read("/plan") == read("/media/members/plan.pdf") == (200, f"{kind} members/plan.pdf".encode())
        assert read("/letters/Zoë") == (200, f"{kind} letters/Zoë.txt".encode())
        assert read("/letters/Ann") == read("/media/letters/Zoë.txt") == (403, b"")
        assert read("/media/public/none.png") == (404, b"")

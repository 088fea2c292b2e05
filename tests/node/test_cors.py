"""A real node and pages of other origins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dragonbelly.testing import reactor
from tests.node.running import Answer, RunningNode

pytestmark = pytest.mark.servers

APP = "https://app.example.com"
KEY = "d/@01ARZ3NDEKTSV4RRFFQ69G5FAV/k.txt"
EXPOSED = "ETag, Content-Length, Content-Range, Accept-Ranges, Repr-Digest"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    with RunningNode(tmp_path / "root", origins=["http://localhost:8000", APP]) as node:
        yield node


def shares(answer: Answer, origin: str = APP) -> bool:
    given = {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}
    assert answer.headers["vary"] == "Origin"
    if not given:
        return False
    assert given == {"access-control-allow-origin": origin, "access-control-expose-headers": EXPOSED}
    return True


def test_a_preflight_to_the_byte(node: RunningNode) -> None:
    target = node.signed("PUT", KEY)
    said = node.raw(
        f"OPTIONS {target} HTTP/1.1\r\nHost: h\r\nOrigin: {APP}\r\nAccess-Control-Request-Method: PUT\r\n"
        "Access-Control-Request-Headers: content-type\r\nConnection: close\r\n\r\n".encode()
    )
    head, _, body = said.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    assert (status, body) == ("HTTP/1.1 204 No Content", b"")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert len(headers) == len(lines)
    assert {name: value for name, value in headers.items() if name not in ("date", "connection")} == {
        "access-control-allow-origin": APP,
        "access-control-expose-headers": EXPOSED.lower(),
        "access-control-allow-methods": "get, head, put",
        "access-control-allow-headers": "content-type, range, if-match, if-none-match, if-modified-since, "
        "if-unmodified-since, if-range",
        "access-control-max-age": "7200",
        "vary": "origin",
    }


def test_every_answer_says_it(node: RunningNode) -> None:
    origin = {"Origin": APP}
    put = node.signed("PUT", KEY)
    for method, target, body, headers, status in [
        ("PUT", f"/{KEY}", b"hello", {}, 403),
        ("PUT", put, b"hello", {"Content-Type": "text/plain"}, 201),
        ("PUT", put, b"hello", {}, 204),
        ("PUT", put, b"other", {}, 409),
        ("GET", f"/{KEY}", None, {}, 200),
        ("HEAD", f"/{KEY}", None, {}, 200),
        ("GET", f"/{KEY}", None, {"Range": "bytes=1-2"}, 206),
        ("GET", f"/{KEY}", None, {"Range": "bytes=9-"}, 416),
        ("GET", "/d/nothing", None, {}, 404),
        ("GET", "/d//x", None, {}, 400),
        ("POST", "/d/x", b"x", {}, 405),
    ]:
        answer = node.ask(method, target, body, origin | headers)
        assert answer.status == status, (method, target, answer)
        assert shares(answer), (method, target)
    answer = node.ask("GET", f"/{KEY}", None, {"Origin": APP, "If-None-Match": answer_tag(node)})
    assert (answer.status, shares(answer)) == (304, True)


def answer_tag(node: RunningNode) -> str:
    return node.ask("HEAD", f"/{KEY}").headers["etag"]


def test_other_origins_and_other_questions(node: RunningNode) -> None:
    asked = {"Origin": "https://evil.test", "Access-Control-Request-Method": "PUT"}
    answer = node.ask("OPTIONS", f"/{KEY}", None, asked)
    assert (answer.status, shares(answer)) == (405, False)
    for origin in ("null", "https://evil.test", f"{APP}.evil.test"):
        answer = node.ask("GET", f"/{KEY}", None, {"Origin": origin})
        assert (answer.status, shares(answer)) == (404, False)
    answer = node.ask("OPTIONS", f"/{KEY}", None, {"Origin": APP})
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PUT, DELETE")


def test_any_origin(tmp_path: Path) -> None:
    with RunningNode(tmp_path / "root", origins=["*"]) as node:
        answer = node.ask("GET", "/d/nothing", None, {"Origin": "null"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "vary" not in answer.headers


def test_nothing_is_said_unless_it_is_asked_for(tmp_path: Path) -> None:
    with RunningNode(tmp_path / "root") as node:
        for answer in (
            node.ask("GET", "/d/nothing", None, {"Origin": APP}),
            node.ask("OPTIONS", f"/{KEY}", None, {"Origin": APP, "Access-Control-Request-Method": "PUT"}),
        ):
            assert answer.status in (404, 405)
            assert not [n for n in answer.headers if n.startswith("access-control-") or n == "vary"]


def test_no_origin(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no path"):
        RunningNode(tmp_path / "root", origins=["https://app.example.com/"]).start()
    assert reactor.start().running

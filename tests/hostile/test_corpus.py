"""Every request of the corpus, over TCP, to every listener there is: its answer, and what comes behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import h11
import pytest

from tests.hostile.corpus import Case, cases
from tests.hostile.lanes import HEADERS, Lane, node_lane, site_lane
from tests.integration.site import Site
from tests.node.running import RunningNode
from tests.web.wire import Said, answers

pytestmark = pytest.mark.servers

LANES = ("public", "admin", "node")

EXTRA = """
[domain.media]
hosts = ["files.example.com", "[2001:db8::1]", "[0:0:0:0:0:0:0:1]"]
anonymous = ["read", "list", "write"]
"""


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Lane]]:
    """The lanes by name; in the end none of the requests was a surprise to anybody, and nothing was stored."""
    with Site(EXTRA) as site, RunningNode(tmp_path_factory.mktemp("node")) as node:
        made = (
            site_lane("public", site.daemon.public),
            site_lane("admin", site.daemon.admin_port),
            node_lane(node.port, node.signed),
        )
        yield {lane.name: lane for lane in made}
        log = site.daemon.log()
        assert "Traceback" not in log
        assert "Unhandled" not in log
        assert not re.search("injected|hidden", log, re.IGNORECASE), log
        assert all(file.startswith("d/k") for file in node.files())
        assert site.daemon.status()["queue"]["depth"] == 0


def heard(received: bytes, data: bytes) -> list[Said]:
    """The answers, which are well formed; of a HEAD there is none here."""
    try:
        return answers(received, ["GET"] * 10, closed=True)
    except h11.RemoteProtocolError as error:
        raise AssertionError(f"{received!r} to {data[:300]!r}: {error}") from error


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}: {case.name}") for name in LANES for case in cases(name)],
)
def test_answer(lanes: dict[str, Lane], name: str, case: Case) -> None:
    lane = lanes[name]
    received = lane.tell(case.data)
    said = heard(received, case.data)
    behind = (404,) if case.lives else ()
    assert [one.status for one in said] == [*lane.statuses(case), *behind], received
    assert (b"canary" in received) is case.lives
    assert b"hidden" not in received
    for one in said:
        assert set(one.headers) <= HEADERS
        assert "location" not in one.headers
        assert all(value.isascii() and value.isprintable() for value in one.headers.values())
        assert one.status < 500 or one.status == 507
        assert b"Traceback" not in one.body
        if one.body and not lane.node and one.headers.get("content-type") == "application/problem+json":
            assert json.loads(one.body)["status"] == one.status
    if not lane.node:
        assert case.tells in b"".join(one.body for one in said[: len(case.said)])

"""
Whatever a client says: it is sent to registered storage servers only, by their public names, and hears nothing
of what is within.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile.lanes import HEADERS, Lane, site_lane
from tests.integration.site import Site
from tests.servers.nginx import NginxServer
from tests.web.wire import Said, answers

pytestmark = pytest.mark.servers

#: What clients are told; nothing listens there.
PUBLIC = {"one": "http://files-one.example.com", "two": "http://files-two.example.com:8080/store"}

EVIL = (
    *(
        "evil.example.net",
        "evil.example.net:80",
        "http://evil.example.net/x",
        "127.0.0.1",
        "localhost",
        "[::1]",
    ),
    *("//evil.example.net", "/\\evil.example.net", "evil.example.net, files-one.example.com", "*", "0", "\xff"),
    *(
        "for=1.2.3.4;host=evil.example.net;proto=https",
        "/-/api/v1/status",
        "javascript:alert(1)",
        "file:///etc/passwd",
    ),
)
NAMES = (
    *("X-Forwarded-Host", "X-Forwarded-Server", "X-Forwarded-Proto", "X-Forwarded-For", "X-Forwarded-Port"),
    *(
        "X-Forwarded-Prefix",
        "X-Forwarded-Scheme",
        "X-Forwarded-Path",
        "Forwarded",
        "Via",
        "X-Host",
        "X-Real-IP",
    ),
    *(
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Original-Host",
        "X-HTTP-Host-Override",
        "X-Backend",
        "X-Accel-Redirect",
    ),
    *("X-Sendfile", "X-HTTP-Method-Override", "Destination", "Referer", "Origin", "Location", "Link", "Host_"),
    *("Content-Location", "Base-URL", "Proxy", "Proxy-Connection", "True-Client-IP", "Surrogate-Capability"),
    *("Dragonbelly-Attr-Url", "Content-Type", "User-Agent", "If-Match", "Cookie", "Upgrade", "TE", "Range"),
)
HOSTS = (
    "files.example.com",
    "evil.example.net",
    "evil.example.net:666",
    "127.0.0.1:8081",
    "[::1]",
    "",
    "EVIL.example",
)
PATHS = (
    "there",
    "there",
    "new",
    "evil.example.net",
    "http:/evil.example.net",
    "@evil",
    "a;b",
    "a%20b",
    "a%3f%23",
)


class Within(NamedTuple):
    lane: Lane
    #: What nobody outside may hear of.
    secrets: list[str]


@pytest.fixture(scope="module")
def within() -> Iterator[Within]:
    stores = {name: NginxServer() for name in PUBLIC}
    extra = "".join(
        f'[backend.{name}]\nkind = "dav"\nurl = "{PUBLIC[name]}"\ninternal_url = "{store.url}"\n'
        f'secure_link_secret = "{store.secret}"\n'
        for name, store in stores.items()
    )
    with Site(extra, stores=stores) as site:
        begun = site.begin("there", b"some bytes")
        location = begun.headers["Location"].partition("?")[0]
        [name] = [name for name, base in PUBLIC.items() if location.startswith(base)]
        place = stores[name].root / unquote(location.removeprefix(f"{PUBLIC[name]}/"))
        place.parent.mkdir(parents=True)
        place.write_bytes(b"some bytes")
        site.copied("there")
        secrets = [str(site.redis.socket), str(site.redis.directory), str(site.daemon.directory)]
        secrets += [f":{port}" for port in (site.daemon.admin_port, *(store.port for store in stores.values()))]
        yield Within(site_lane("public", site.daemon.public), secrets)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    path, api = draw(st.sampled_from(PATHS)), "/-/api/v1/"
    body = b""
    method, target = draw(
        st.sampled_from(
            [
                *[(method, f"/{path}") for method in ("GET", "GET", "PUT", "POST", "OPTIONS", "DELETES")],
                ("GET", f"{api}files/{path}"),
                ("GET", f"{api}files?prefix={path}"),
                ("GET", f"{api}status"),
                ("POST", f"{api}uploads"),
                ("GET", "/-/health"),
                ("GET", "/-/metrics"),
            ]
        )
    )
    if draw(st.integers(0, 3)) == 0:
        target = f"{draw(st.sampled_from(['http', 'https', 'HTTP']))}://{draw(st.sampled_from(HOSTS))}{target}"
    lines = [f"{method} {target} HTTP/1.1", f"Host: {draw(st.sampled_from(HOSTS))}"]
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    lines += [f"{name}: {draw(st.sampled_from(EVIL))}" for name in names]
    if method == "POST":
        fields = {"path": path.replace("%", "")}
        if draw(st.booleans()):
            fields["url"] = "http://evil.example.net"
        body = json.dumps(fields).encode()
    if method in ("PUT", "POST"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def urls(said: Said) -> list[str]:
    """Every URL of another server that a client is told to go to; a path alone is on the one that it asked."""
    found = [said.headers["location"]] if "location" in said.headers else []
    found += re.findall("<([^>]*)>", said.headers.get("link", ""))
    if said.headers.get("content-type") == "application/json":
        found += re.findall(r'"url":"([^"]*)"', said.body.decode())
    return [url for url in found if not re.match(r"/[^/\\]", url)]


@given(st.lists(requests(), min_size=1, max_size=3))
def test_where_a_client_is_sent(within: Within, asked: list[bytes]) -> None:
    received = within.lane.tell(b"".join(asked))
    heard = answers(received, ["GET"] * 5, closed=True)
    assert len(heard) == len(asked) + 1
    for said in heard:
        for url in urls(said):
            parts = urlsplit(url)
            assert any(url.startswith(f"{base}/") for base in PUBLIC.values()), url
            assert parts.netloc in {urlsplit(base).netloc for base in PUBLIC.values()}
        assert set(said.headers) <= HEADERS
        shown = repr(said.headers) + said.body.decode()
        for secret in within.secrets:
            assert secret not in shown, (secret, shown)
        evil = [
            value
            for name, value in said.headers.items()
            if name not in ("location", "link") and "evil" in value
        ]
        assert evil == []


def test_there_is_something_to_be_seen(within: Within) -> None:
    """Else the test above would prove nothing."""
    host = b"Host: files.example.com\r\n"
    received = within.lane.tell(
        b"GET /there HTTP/1.1\r\n%s\r\nPUT /x HTTP/1.1\r\n%sContent-Length: 0\r\n\r\n"
        b"GET /-/api/v1/files/there HTTP/1.1\r\n%s\r\n" % (host, host, host)
    )
    read, put, file, _ = answers(received, ["GET"] * 4, closed=True)
    assert len(urls(read)) == 2
    assert len(urls(put)) == 1
    assert len(urls(file)) == 2

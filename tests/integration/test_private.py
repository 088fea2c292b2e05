"""
A private domain on real servers: nginx stores that know the daemon by a credential alone, and a node.  Whoever
asks from here is a client.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from dragonbelly.backends.secure_link import signed
from dragonbelly.node.signature import sign
from tests.integration.asking import Reply, ask, curl
from tests.integration.site import Site
from tests.servers.nginx import NginxServer
from tests.servers.node import NodeServer

pytestmark = pytest.mark.servers

#: Seconds that links are good at least, and at most.
EXPIRES, EXPIRES_AT_MOST = 5, 7

TOKEN, CREDENTIAL, NODE_SECRET = (
    "the secret of a token",
    "the-credential-of-the-only-daemon-there-is",
    "a node's",
)
SIGNING_SECRET = "the secret of the key that signs URLs"
READER = {"Authorization": f"Bearer {TOKEN}"}

EXTRA = f"""
[domain.private]
hosts = ["*"]
anonymous = []
link_expires = "{EXPIRES}s"
[policy.default]
copies = 3
[audit]
rate = 1000
bandwidth = "1GiB"
[[token]]
name = "shop"
sha256 = "{sha256(TOKEN.encode()).hexdigest()}"
scopes = ["read", "list", "write"]
[[signing_key]]
id = "k1"
secret = "{SIGNING_SECRET}"
[backend.three]
kind = "node"
private = true
secret = "{NODE_SECRET}"
url = """

METHODS = ("GET", "HEAD", "PUT", "DELETE", "PROPFIND", "COPY", "MOVE", "MKCOL")


class PrivateSite(Site):
    """A site of two nginx and a node; ``heard`` are the answers to all that was asked with ``hear``."""

    def __init__(self) -> None:
        self.node = NodeServer(NODE_SECRET, "--private")
        stores = {
            name: NginxServer(private=True, daemon=False, credential=f"{CREDENTIAL}-{name}")
            for name in ("one", "two")
        }
        super().__init__(f'{EXTRA}"{self.node.url}"\n', stores=stores)
        self.heard: list[tuple[str, str, Reply]] = []

    def roots(self) -> dict[str, Path]:
        return {name: store.root for name, store in self.stores.items()} | {"three": self.node.root}

    def store(self, path: str, data: bytes) -> None:
        """Put it and wait for its copies."""
        self.put(path, data, **READER)
        assert ask("GET", self.url(path), headers=READER).status == 302
        self.copied(path, 3)

    def links(self, path: str) -> list[str]:
        """All links to the bytes of a file that somebody who may read it is given."""
        answer = ask("GET", self.url(path), headers=READER)
        assert answer.status == 302, answer
        others = re.findall(r"<([^>]*)>; rel=duplicate", answer.headers["Link"])
        assert len(others) == 2
        found = [answer.headers["Location"], *others]
        api = f"/-/api/v1/files/{quote(path)}"
        for shown in (
            json.loads(ask("GET", self.daemon.url + api, headers=READER).body),
            self.daemon.get_json(api),
        ):
            found += [replica["url"] for replica in shown["replicas"]]
        assert len(found) == 9
        return found

    def hear(self, method: str, url: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        """Ask, and keep what was said."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        answer = ask(method, url, data, headers)
        self.heard.append((method, urlsplit(url).path, answer))
        return answer


@pytest.fixture(scope="module")
def private() -> Iterator[PrivateSite]:
    site = PrivateSite()
    try:
        site.node.start()
        with site:
            yield site
    finally:
        site.node.close()


def with_query(url: str, **changes: str) -> str:
    """The link with other values of its parameters."""
    for name, value in changes.items():
        url = re.sub(rf"\b{name}=[^&]*", f"{name}={value}", url)
    return url


def expiry(url: str) -> int:
    return int(parse_qs(urlsplit(url).query)["expires"][0])


# --- reading


def test_without_a_token_nobody_learns_anything(private: PrivateSite) -> None:
    private.store("secret/a.txt", b"private")
    for path in ("secret/a.txt", "secret/none.txt"):
        for method in ("GET", "HEAD", "DELETE"):
            answer = ask(method, private.url(path))
            assert answer.status == 401
            assert not {"location", "link", "etag", "repr-digest"} & {name.lower() for name in answer.headers}
        assert private.begin(path, b"x").status == 401
        for method, resource in (
            ("GET", f"files/{path}"),
            ("GET", "files"),
            ("POST", "uploads"),
            ("POST", "sign"),
        ):
            answer = ask(
                method,
                f"{private.daemon.url}/-/api/v1/{resource}",
                json.dumps({"path": path} | ({"method": "GET"} if resource == "sign" else {})).encode(),
            )
            assert answer.status == 401, resource
            assert b"@" not in answer.body


def test_a_reader_is_given_links_for_a_short_while(private: PrivateSite) -> None:
    private.store("short.txt", b"private")
    before = time.time()
    links = private.links("short.txt")
    now = time.time()
    assert {urlsplit(link).port for link in links} == {
        *(store.port for store in private.stores.values()),
        private.node.port,
    }
    for link in links:
        assert before + EXPIRES <= expiry(link) <= now + EXPIRES_AT_MOST
        assert ask("GET", link).body == b"private"
        assert ask("HEAD", link).status == 200
        part = ask("GET", link, headers={"Range": "bytes=2-3"})
        assert (part.status, part.body) == (206, b"iv")
    with_curl = curl("--fail", "-L", "-H", f"Authorization: Bearer {TOKEN}", private.url("short.txt"))
    assert with_curl == b"private"
    for link in links:
        private.eventually(f"{link} expires", lambda link=link: ask("GET", link).status == 403)  # type: ignore[misc]
    assert ask("GET", private.links("short.txt")[0]).body == b"private"


def test_a_link_is_for_reading_this_file_until_then(private: PrivateSite) -> None:
    for path in ("mine.txt", "yours.txt"):
        private.store(path, path.encode())
    mine = {urlsplit(link).port: link for link in private.links("mine.txt")}
    yours = {urlsplit(link).port: link for link in private.links("yours.txt")}
    before = objects(private)
    for port, link in mine.items():
        plain, _, query = link.partition("?")
        assert ask("GET", plain).status == 403
        assert ask("GET", f"{yours[port].partition('?')[0]}?{query}").status == 403
        for later in (1, 3600):
            assert ask("GET", with_query(link, expires=str(expiry(link) + later))).status == 403
        for tampered in (with_query(link, md5="A" * 22, signature="A" * 43), link.replace("expires", "expire")):
            assert ask("GET", tampered).status == 403
        for method in METHODS[2:]:
            for depth in ("0", "infinity"):
                headers = {"Depth": depth, "Destination": f"{plain}2"}
                assert ask(method, link, b"foreign", headers).status in (403, 405), (method, link)
        for other in mine.keys() - {port}:
            server = urlsplit(mine[other]).netloc
            assert ask("GET", urlsplit(link)._replace(netloc=server).geturl()).status == 403
    assert objects(private) == before


def objects(site: PrivateSite) -> dict[Path, bytes]:
    return {
        file: file.read_bytes() for root in site.roots().values() for file in root.rglob("*") if file.is_file()
    }


# --- what the daemon does on private servers


@pytest.mark.parametrize("backend", ["one", "three"])
def test_a_copy_that_rots_is_found_and_made_again(private: PrivateSite, backend: str) -> None:
    path, data = f"rot/{backend}.bin", b"0123456789" * 1000
    private.store(path, data)
    rotten = disk(private, path)[backend]
    rotten.write_bytes(data[:-1] + b"X")
    assert ask("POST", f"{private.daemon.admin}/-/api/v1/audit", b"{}").status == 202

    def whole() -> bool:
        assert all(replica["state"] == "good" for replica in private.file(path)["replicas"])
        return (
            not rotten.exists() and [copy.read_bytes() for copy in disk(private, path).values()] == [data] * 3
        )

    private.eventually("it is whole again", whole, 30, path)


def disk(site: PrivateSite, path: str) -> dict[str, Path]:
    """Where the copies of a file are, by backend."""
    return {
        replica["backend"]: site.roots()[replica["backend"]]
        / unquote(urlsplit(replica["url"]).path).lstrip("/")
        for replica in site.file(path)["replicas"]
    }


def test_what_is_deleted_leaves_nothing(private: PrivateSite) -> None:
    private.store("gone/a.txt", b"one")
    private.store("gone/a.txt", b"two")
    assert ask("GET", private.links("gone/a.txt")[0]).body == b"two"
    assert ask("DELETE", private.url("gone/a.txt"), headers=READER).status == 204

    def gone() -> bool:
        return not any(file.name == "a.txt" and "gone" in file.parts for file in objects(private))

    private.eventually("the objects are removed", gone, 30)


# --- signed URLs of the daemon


def url_signed(site: PrivateSite, **asked: object) -> str:
    answer = ask("POST", f"{site.daemon.url}/-/api/v1/sign", json.dumps(asked).encode(), READER)
    assert answer.status == 200, answer
    return site.daemon.url + str(json.loads(answer.body)["url"])


def test_a_signed_url_to_read(private: PrivateSite) -> None:
    private.store("signed/ä b.txt", b"private")
    url = url_signed(private, method="GET", path="signed/ä b.txt", expires_in=600)
    assert curl("--fail", "-L", url) == b"private"
    assert curl("--fail", "-L", "-r", "1-2", url) == b"ri"
    assert b"302" in curl("-I", url)
    for answer in (ask("GET", url), ask("HEAD", url)):
        assert expiry(answer.headers["Location"]) <= time.time() + EXPIRES_AT_MOST
    plain, _, query = url.partition("?")
    assert ask("GET", plain).status == 401
    assert ask("GET", f"{private.url('short.txt')}?{query}").status == 403
    assert ask("GET", with_query(url, expires=str(expiry(url) + 1))).status == 403
    for method in ("PUT", "DELETE"):
        assert ask(method, url, b"x").status in (401, 403)
    short = url_signed(private, method="GET", path="signed/ä b.txt", expires_in=1)
    private.eventually("it expires", lambda: ask("GET", short).status == 403)


def test_a_signed_url_to_upload(private: PrivateSite, tmp_path: Path) -> None:
    path = "signed/upload.txt"
    url = url_signed(private, method="PUT", path=path, max_size=10, content_type="text/plain")
    (small := tmp_path / "small").write_bytes(b"0123456789")
    (large := tmp_path / "large").write_bytes(b"0123456789a")

    def upload(file: Path, type: str, where: str = url) -> bytes:
        written = ("-o", "/dev/null", "-w", "%{http_code}")
        return curl(*written, "-L", "-H", f"Content-Type: {type}", "-T", str(file), where)

    assert upload(large, "text/plain") == b"413"
    assert upload(small, "text/html") == b"403"
    assert upload(small, "text/plain", url.replace("upload.txt", "other.txt")) == b"403"
    assert upload(small, "text/plain", with_query(url, **{"max-size": "11"})) == b"403"
    assert upload(small, "text/plain") == b"201"
    assert ask("GET", url).status in (401, 403)
    assert curl("--fail", "-L", "-H", f"Authorization: Bearer {TOKEN}", private.url(path)) == small.read_bytes()


# --- what is given away


class Given(NamedTuple):
    """A link to a storage server, and what was asked when it was given."""

    method: str
    path: str
    url: str


def given(site: PrivateSite) -> list[Given]:
    found = []
    ports = {store.port for store in site.stores.values()} | {site.node.port}
    for method, path, answer in site.heard:
        said = f"{answer.headers} {answer.body.decode()}"
        for url in re.findall(r'https?://[^\s"<>\\]+', said):
            if urlsplit(url).port in ports and "?" in url:
                found.append(Given(method, path, url))
    return found


def signed_for(site: PrivateSite, url: str) -> list[str]:
    """The methods that a storage server takes a link for, by its own rule."""
    parts = urlsplit(url)
    path, expires = unquote(parts.path), expiry(url)
    if parts.port == site.node.port:
        return [m for m in METHODS if sign(NODE_SECRET.encode(), m, path[1:], expires) == parts.query]
    secret = next(store.secret for store in site.stores.values() if store.port == parts.port)
    return [m for m in METHODS if signed(secret, m, path, expires) == parts.query]


def scenario(site: PrivateSite) -> None:
    """Everything that can be asked, by clients and by operators."""
    hear, public, admin = site.hear, site.daemon.url, site.daemon.admin
    begun = hear("PUT", f"{public}/all/a.txt", b"", READER | {"Content-Length": "3", "Expect": "100-continue"})
    assert hear("PUT", begun.headers["Location"], b"one").status == 201
    assert hear("PUT", begun.headers["Location"], b"two").status == 409
    upload = json.loads(
        hear("POST", f"{public}/-/api/v1/uploads", {"path": "all/b.txt", "size": 3}, READER).body
    )
    assert hear("PUT", upload["targets"][-1]["url"], b"two").status == 201
    complete = f"{public}/-/api/v1/uploads/{upload['upload']}/complete?copies=3&timeout=20"
    assert hear("POST", complete, {"path": "all/b.txt"}, READER).status == 200
    hear("POST", f"{public}/-/api/v1/uploads", {"path": "all/never.txt", "size": 3}, READER)
    for method in ("GET", "HEAD", "OPTIONS", "POST", "PATCH", "DELETE", "PROPFIND"):
        for name in ("all/b.txt", "all/none.txt", "all/../b.txt", "all/%2e%2e/b", "-/keys", "-/space"):
            for headers in ({}, READER):
                if method != "DELETE" or not headers:
                    hear(method, f"{public}/{name}", None, headers)
    site.copied("all/a.txt", 3)
    for host in (public, admin):
        for resource in (
            *("files", "files?prefix=all/", "files?delimiter=/", "files/all/a.txt", "files/all/none.txt"),
            *("backends", "backends/one", "backends/three", "status", "damaged", "audit", "nothing"),
            *("explain?path=all/a.txt", "explain?path=all/never.txt"),
        ):
            for method in ("GET", "HEAD"):
                hear(method, f"{host}/-/api/v1/{resource}", None, READER if host == public else None)
        for resource in ("health", "metrics", "nothing"):
            hear("GET", f"{host}/-/{resource}")
        hear("PATCH", f"{host}/-/api/v1/files/all/a.txt", {"attributes": {"a": "b"}}, READER)
        for method in ("GET", "PUT"):
            hear("POST", f"{host}/-/api/v1/sign", {"method": method, "path": "all/a.txt"}, READER)
    hear("PATCH", f"{admin}/-/api/v1/backends/one", {"state": "readonly"})
    hear("PATCH", f"{admin}/-/api/v1/backends/one", {"state": "alive"})
    hear("GET", f"{public}/all/b.txt", None, READER)


def test_no_answer_gives_more_than_was_asked_for(private: PrivateSite) -> None:
    scenario(private)
    links = given(private)
    assert {link.method for link in links} >= {"GET", "HEAD", "PUT", "POST", "PATCH"}
    before = objects(private)
    for link in links:
        uploading = link.method == "PUT" or (link.method, link.path) == ("POST", "/-/api/v1/uploads")
        assert signed_for(private, link.url) == (["PUT"] if uploading else ["GET", "HEAD"]), link
        # One object's, and no directory's and nothing of a node's own.
        assert re.fullmatch(r"/private/all/@[0-9A-Z]{26}(\.1)?/\w+\.txt", unquote(urlsplit(link.url).path)), (
            link
        )
    for url in {link.url for link in links}:
        base, _, query = url.partition("?")
        server = base.partition("/private/")[0]
        assert ask("DELETE", url).status in (403, 405)
        for place in (
            base.rpartition("/")[0] + "/",
            f"{server}/private/all/",
            f"{server}/",
            f"{server}/-/keys",
        ):
            for method in ("GET", "DELETE", "PUT", "PROPFIND"):
                assert ask(method, f"{place}?{query}", b"").status in (400, 403, 405), (method, place)
        assert ask("PUT", url, b"foreign").status in (403, 409) or "never" in url
    assert {file: data for file, data in objects(private).items() if "never" not in file.name} == before


def test_no_secret_is_ever_said(private: PrivateSite) -> None:
    scenario(private)
    secrets = [CREDENTIAL, NODE_SECRET, SIGNING_SECRET, *(store.secret for store in private.stores.values())]
    said = [f"{answer.headers} {answer.body.decode()}" for _, _, answer in private.heard]
    said += [private.daemon.log(), (private.node.directory / "log").read_text()]
    said += [line for store in private.stores.values() for line in store.requests()]
    said += [(store.directory / "error.log").read_text() for store in private.stores.values()]
    for text in said:
        assert not [secret for secret in secrets if secret in text], text
    assert any(
        "DELETE" in line or "HEAD" in line for store in private.stores.values() for line in store.requests()
    )

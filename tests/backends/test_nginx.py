"""The sample configuration of nginx: whom it lets do what.  This machine is a client's here, mostly."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from dragonbelly.backends.secure_link import signed
from tests.servers.nginx import NginxServer

pytestmark = pytest.mark.servers

MARK = "@01ARZ3NDEKTSV4RRFFQ69G5FAV"
STORED, OTHER, NEW = (f"media/d/{MARK}/{name}" for name in ("stored.txt", "other.txt", "new.txt"))
DIRECTORIES = (f"media/d/{MARK}/", "media/d/", "media/", "")
BYTES = b"0123456789"
CREDENTIAL = "only-what-the-daemon-shows-makes-it-one"
METHODS = (
    "GET",
    "HEAD",
    "PUT",
    "DELETE",
    "PROPFIND",
    "COPY",
    "MOVE",
    "MKCOL",
    "LOCK",
    "PATCH",
    "POST",
    "OPTIONS",
)
WRITES = [method for method in METHODS if method not in ("GET", "HEAD")]


class Server(NginxServer):
    """Two objects are stored."""

    def stock(self) -> None:
        self.clear()
        for key in (STORED, OTHER):
            (self.root / key).parent.mkdir(parents=True, exist_ok=True)
            (self.root / key).write_bytes(BYTES)

    def objects(self) -> dict[str, bytes]:
        return {str(p.relative_to(self.root)): p.read_bytes() for p in self.root.rglob("*") if p.is_file()}

    def sign(self, method: str, key: str, expires: float = 600, secret: str | None = None) -> str:
        """The query of a link for so many seconds from now."""
        return signed(secret or self.secret, method, f"/{key}", int(time.time() + expires))

    def ask(
        self,
        method: str,
        key: str,
        query: str = "",
        body: bytes | None = None,
        raw: bool = False,
        **headers: str,
    ) -> tuple[int, bytes]:
        """``key`` is encoded, unless it is ``raw`` as it goes into the request."""
        target = f"/{key if raw else quote(key)}{'?' if query else ''}{query}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def status(self, method: str, key: str, query: str = "", body: bytes | None = None, **headers: str) -> int:
        return self.ask(method, key, query, body, **headers)[0]


@pytest.fixture(scope="module", params=[False, True], ids=["open", "private"])
def running(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(daemon=False, private=request.param, credential=CREDENTIAL) as running:
        yield running


@pytest.fixture
def nginx(running: Server) -> Server:
    running.stock()
    return running


@pytest.fixture
def untouched(nginx: Server) -> Iterator[None]:
    """In the end everything lies there as it did."""
    before = nginx.objects()
    yield
    assert nginx.objects() == before
    assert list(nginx.uploads.iterdir()) == []


# --- uploads


def test_an_upload_is_for_whoever_has_the_link(nginx: Server) -> None:
    assert nginx.status("PUT", NEW, nginx.sign("PUT", NEW), BYTES) == 201
    assert nginx.objects()[NEW] == BYTES


@pytest.mark.usefixtures("untouched")
def test_an_upload_with_anything_but_its_link(nginx: Server) -> None:
    good = nginx.sign("PUT", NEW)
    md5, expires = good.split("&")
    later = f"expires={int(expires.partition('=')[2]) + 1}"
    queries = {
        "none": "",
        "expired": nginx.sign("PUT", NEW, -1),
        "of another path": nginx.sign("PUT", OTHER + "2"),
        "of a path above": nginx.sign("PUT", NEW.rpartition("/")[0]),
        "of a longer path": nginx.sign("PUT", NEW + "x"),
        "of another server": nginx.sign("PUT", NEW, secret="the secret of another"),
        "of none": nginx.sign("PUT", NEW, secret=" "),
        "made longer": f"{md5}&{later}",
        "made longer, with another word": f"{good}&{later}".replace(expires, later),
        "tampered": good.replace("md5=", "md5=A"),
        "of other bytes": good[:4] + ("B" if good[4] == "A" else "A") + good[5:],
        "without an expiry": md5,
        "without a signature": expires,
        "empty": "md5=&expires=",
        "of hexadecimal digits": f"md5={'0' * 32}&{expires}",
        "in capitals": good.upper(),
    } | {f"for {method}": nginx.sign(method, NEW) for method in METHODS if method != "PUT"}
    for name, query in queries.items():
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-Forwarded-For": "127.0.0.2"}):
            assert nginx.status("PUT", NEW, query, b"foreign", **headers) == 403, name


@pytest.mark.usefixtures("untouched")
def test_a_link_is_for_one_upload(nginx: Server) -> None:
    for headers in ({}, {"If-Match": "*"}, {"Overwrite": "T"}):
        assert nginx.status("PUT", STORED, nginx.sign("PUT", STORED), b"again", **headers) == 409
    # Whether something is stored there is nobody's business.
    assert nginx.status("PUT", STORED, "", b"again") == 403


@pytest.mark.usefixtures("untouched")
def test_a_link_is_for_one_file(nginx: Server) -> None:
    query = nginx.sign("PUT", NEW)
    for key in (STORED, OTHER, NEW + ".txt", f"media/{MARK}/new.txt", f"other/d/{MARK}/new.txt", "new.txt"):
        assert nginx.status("PUT", key, query, b"foreign") == 403


@pytest.mark.usefixtures("untouched")
def test_a_part_or_a_directory_is_no_upload(nginx: Server) -> None:
    assert nginx.status("PUT", NEW, nginx.sign("PUT", NEW), b"x", **{"Content-Range": "bytes 0-0/2"}) == 501
    for directory in DIRECTORIES:
        assert nginx.status("PUT", directory, nginx.sign("PUT", directory), b"x") == 403


# --- reading


@pytest.mark.usefixtures("untouched")
def test_reading(nginx: Server) -> None:
    for query in ("", nginx.sign("GET", OTHER), nginx.sign("PUT", STORED), nginx.sign("GET", STORED, -1)):
        for method in ("GET", "HEAD"):
            assert nginx.status(method, STORED, query) == (403 if nginx.private else 200)
            assert nginx.status(method, "media/nothing.txt", query) == (403 if nginx.private else 404)
    query = nginx.sign("GET", STORED)
    assert nginx.ask("GET", STORED, query) == (200, BYTES)
    assert nginx.ask("HEAD", STORED, query) == (200, b"")
    assert nginx.ask("GET", STORED, query, Range="bytes=2-4") == (206, b"234")
    assert nginx.ask("GET", STORED, query, Range="bytes=-3") == (206, b"789")
    assert nginx.status("GET", STORED, query, Range="bytes=10-") == 416
    status, parts = nginx.ask("GET", STORED, query, Range="bytes=0-0,5-5")
    assert status == 206
    assert b"bytes 5-5/10" in parts


@pytest.mark.usefixtures("untouched")
def test_what_is_signed_to_be_read_is_only_read(nginx: Server) -> None:
    for method in WRITES:
        for key in (STORED, OTHER, NEW):
            for headers in (
                {},
                {"Depth": "infinity"},
                {"Destination": f"{nginx.url}/{NEW}"},
                {"X-HTTP-Method-Override": "DELETE"},
            ):
                assert nginx.status(method, key, nginx.sign("GET", key), b"", **headers) in (403, 405), method


# --- deleting, listing and the rest of DAV


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("GET", "HEAD", "PUT")])
def test_a_client_does_nothing_else_whatever_it_has(nginx: Server, method: str) -> None:
    """Not even with the secret."""
    for key in (STORED, STORED.rpartition("/")[0], *DIRECTORIES, NEW):
        for query in ("", *(nginx.sign(verb, key) for verb in ("GET", "PUT", method))):
            for depth in ("0", "1", "infinity"):
                headers = {"Depth": depth, "Destination": f"{nginx.url}/{NEW}", "Overwrite": "T"}
                status = nginx.status(method, key, query, b"" if method in ("PUT", "POST") else None, **headers)
                assert status in (403, 405), (key, query)


@pytest.mark.usefixtures("untouched")
def test_a_client_lists_nothing(nginx: Server) -> None:
    for directory in DIRECTORIES:
        for query in ("", nginx.sign("GET", directory), nginx.sign("GET", directory.rstrip("/"))):
            for method in ("GET", "HEAD"):
                status, body = nginx.ask(method, directory, query)
                assert status == 403
                assert b"stored.txt" not in body


# --- the daemon


def test_the_daemon_is_known_by_its_credential(nginx: Server) -> None:
    daemon = {"Authorization": f"Bearer {CREDENTIAL}"}
    assert nginx.status("GET", "media/d/", nginx.sign("GET", "media/d/"), **daemon) == 200
    assert nginx.status("PUT", STORED, nginx.sign("PUT", STORED), b"again", **daemon) == 204
    assert nginx.status("DELETE", STORED, nginx.sign("DELETE", STORED), **daemon) == 204
    directory = f"media/d/{MARK}/"
    assert nginx.status("DELETE", directory, nginx.sign("DELETE", directory), **daemon) == 204
    assert nginx.objects() == {}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "field",
    [
        *(
            "",
            "Bearer",
            CREDENTIAL,
            f"Bearer {CREDENTIAL}x",
            f"Bearer x{CREDENTIAL}",
            f"Bearer {CREDENTIAL[:-1]}",
        ),
        *(f"Basic {CREDENTIAL}", f"Bearer {CREDENTIAL.upper()}", f"Bearer x, Bearer {CREDENTIAL}", "1"),
    ],
)
def test_the_credential_is_no_other(nginx: Server, field: str) -> None:
    assert nginx.status("DELETE", STORED, nginx.sign("DELETE", STORED), Authorization=field) == 403
    assert nginx.status("GET", "media/", nginx.sign("GET", "media/"), Authorization=field) == 403
    assert nginx.status("PUT", STORED, nginx.sign("PUT", STORED), b"x", Authorization=field) == 409


@pytest.mark.parametrize("by", ["address", "credential"])
def test_the_daemon_signs_as_well(by: str) -> None:
    """Whoever comes from its address, through a proxy on its machine for one, is not the daemon by that."""
    daemon = {"Authorization": f"Bearer {CREDENTIAL}"} if by == "credential" else {}
    with Server(daemon=by == "address", credential=CREDENTIAL) as nginx:
        nginx.stock()
        before = nginx.objects()
        signs(nginx, daemon)
        assert nginx.objects() == before
        assert nginx.status("DELETE", STORED, nginx.sign("DELETE", STORED), **daemon) == 204


def signs(nginx: Server, daemon: dict[str, str]) -> None:
    for query in ("", nginx.sign("GET", STORED), nginx.sign("PUT", STORED), nginx.sign("DELETE", STORED, -1)):
        assert nginx.status("DELETE", STORED, query, **daemon) == 403
    for query in ("", nginx.sign("GET", STORED), nginx.sign("DELETE", STORED)):
        assert nginx.status("PUT", STORED, query, b"x", **daemon) == 403
        assert nginx.status("PUT", NEW, query, b"x", **daemon) == 403
    for directory in DIRECTORIES:
        for query in ("", nginx.sign("GET", STORED), nginx.sign("GET", directory, -1)):
            assert nginx.status("GET", directory, query, **daemon) == 403
            assert nginx.status("DELETE", directory, query, **daemon) == 403


# --- paths


def ways(key: str) -> Iterator[str]:
    """Requests for ``key`` that are written otherwise, or lead there by way of another."""
    domain, directory, mark, name = key.split("/")
    for up in ("..", "%2e%2e", ".%2E", "%2E."):
        yield f"{domain}/{directory}/x/{up}/{mark}/{name}"
        yield f"{up}/{key}"
        yield f"{domain}/{directory}/{MARK}/other.txt/{up}/{up}/{mark}/{name}"
        yield f"{domain}/{directory}/{MARK}/other.txt%2f{up}%2F{name}"
        yield f"{domain}%2f{directory}/{MARK}/x/{up}/{name}"
    yield f"/{key}"
    yield key.replace("/", "//")
    yield key.replace("/", "/./")
    yield key.replace("/", "/%2e/")
    yield key.replace("/", "%2f")
    yield key.replace("/", "%2F%2f")
    yield key.replace("@", "%40")
    yield "".join(f"%{ord(c):02x}" for c in key)
    yield f"./{key}"
    yield f"{key}#fragment"


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("signed_for", [OTHER, NEW, f"media/d/{MARK}/other.txt/../stored.txt", f"/{STORED}"])
def test_a_link_does_not_lead_elsewhere_however_it_is_written(nginx: Server, signed_for: str) -> None:
    for way in ways(STORED):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            if method in ("GET", "HEAD") and not nginx.private:
                continue  # all may
            for verb in (method, "GET", "PUT"):
                status, _ = nginx.ask(
                    method, way, nginx.sign(verb, signed_for), b"x" if method == "PUT" else None, True
                )
                assert status in (400, 403), (method, way)


@pytest.mark.usefixtures("untouched")
def test_what_is_signed_is_the_path_that_it_means(nginx: Server) -> None:
    """As nginx decodes it."""
    found = {way: nginx.ask("PUT", way, nginx.sign("PUT", STORED), b"x", raw=True)[0] for way in ways(STORED)}
    assert set(found.values()) == {409, 403, 400}
    assert found[STORED.replace("@", "%40")] == found[f"media/d/x/%2e%2e/{MARK}/stored.txt"] == 409
    for way, status in found.items():
        read = nginx.ask("GET", way, nginx.sign("GET", STORED), raw=True)[0]
        assert (read == 200) is (status == 409) or not nginx.private, way
        assert nginx.ask("DELETE", way, nginx.sign("PUT", STORED), raw=True)[0] in (400, 403)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "path", ["../secret", "%2e%2e/secret", "media/../../secret", "media/%2e%2e/%2e%2e/secret", "..%2fsecret"]
)
def test_nothing_is_outside_the_root(nginx: Server, path: str) -> None:
    outside = nginx.root.parent / "secret"
    outside.write_bytes(b"hush")
    for method in ("GET", "PUT", "DELETE"):
        for key in ("secret", "../secret", path):
            status, body = nginx.ask(
                method, path, nginx.sign(method, key), b"x" if method == "PUT" else None, True
            )
            # ``secret`` itself, below the root, is a good name that nobody has.
            assert status in (400, 403, 404) or (status, method) == (201, "PUT"), (method, path)
            assert b"hush" not in body
            (nginx.root / "secret").unlink(missing_ok=True)
    assert outside.read_bytes() == b"hush"


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("end", ["%0a", "%00", "%5c", ".", "%20", "%2f", "%0d%0aAuthorization:%20x"])
def test_odd_ends_of_a_path(nginx: Server, end: str) -> None:
    for base in (STORED, f"media/d/{MARK}/", "media/"):
        for verb in ("GET", "PUT", "DELETE"):
            for method in ("PUT", "DELETE", "PROPFIND"):
                query = nginx.sign(verb, base)
                assert nginx.ask(method, base + end, query, b"x" if method == "PUT" else None, True)[0] in (
                    400,
                    403,
                )


# --- the file itself


def test_it_has_its_secrets_in_one_place_each() -> None:
    text = Path("etc/nginx-storage.conf").read_text()
    assert text.count("CHANGE-THIS-SECRET") == text.count("CHANGE-THIS-CREDENTIAL") == 1

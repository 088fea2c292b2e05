"""Who may do what: everybody, tokens, signed URLs; on the public listener and on the operators'."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest

from dragonbelly.signing import Permission, SigningKey, signed_query
from tests.web.test_uploads_api import is_problem
from tests.web.wire import Said
from tests.web.world import NOW, World

pytestmark = pytest.mark.lanes

MakeWorld = Callable[..., World]

KEY = SigningKey("k2", b"n" * 32)
OLD = SigningKey("k1", b"o" * 32)

DOMAINS = """
[domain.open]
hosts = ["open.test"]
anonymous = ["read", "list", "write"]
allow_anonymous_write = true
[domain.media]
hosts = ["media.test"]
[domain.private]
hosts = ["private.test"]
anonymous = []
link_expires = "60s"
"""

TOKENS = "".join(
    f'[[token]]\nname = "{name}"\nsha256 = "{sha256(name.encode()).hexdigest()}"\nscopes = {scopes}\n{more}\n'
    for name, scopes, more in (
        ("reader", ["read", "list"], ""),
        ("writer", ["read", "list", "write"], ""),
        ("drop", ["write"], ""),
        ("shop", ["read", "list", "write"], 'domains = ["private"]\nprefixes = ["shop/", "news/"]'),
        ("admin", ["admin"], ""),
    )
)

KEYS = "".join(f'[[signing_key]]\nid = "{key.id}"\nsecret = "{key.secret.decode()}"\n' for key in (KEY, OLD))


@pytest.fixture
def world(make_world: MakeWorld) -> Iterator[World]:
    yield make_world(DOMAINS + TOKENS + KEYS)


def ask(
    world: World,
    method: str,
    path: str,
    body: Any = b"",
    *,
    host: str = "private.test",
    token: str | None = None,
    admin: bool = False,
    **headers: str,
) -> Said:
    given = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    return world.ask(method, path, given, body, admin=admin)


def stored(world: World, name: str, host: str = "private.test") -> None:
    said = ask(world, "PUT", f"/{name}", b"hello", host=host, token="writer")
    assert said.status == 307, said
    world.upload(said.location, b"hello")
    assert ask(world, "GET", f"/{name}", host=host, token="writer").status == 302


READS = [("GET", "/shop/a", b""), ("HEAD", "/shop/a", b""), ("GET", "/-/api/v1/files/shop/a", b"")]
LISTS = [("GET", "/-/api/v1/files", b""), ("GET", "/-/api/v1/files?prefix=shop/", b"")]
COMPLETE = "/-/api/v1/uploads/01HF7YAT00H5HRAD7MAWWD0J7C"
WRITES = [
    ("PUT", "/shop/a", b"x"),
    ("DELETE", "/shop/a", b""),
    ("POST", "/-/api/v1/uploads", b'{"path": "shop/a"}'),
    ("POST", f"{COMPLETE}/complete", b'{"path": "shop/a"}'),
    ("DELETE", f"{COMPLETE}?path=shop/a", b""),
    ("PATCH", "/-/api/v1/files/shop/a", b"{}"),
    ("DELETE", "/-/api/v1/files/shop/a", b""),
]


class TestEverybody:
    @pytest.mark.parametrize(
        ("host", "asked", "refused"),
        [
            ("open.test", READS + LISTS + WRITES, []),
            ("media.test", READS, LISTS + WRITES),
            ("private.test", [], READS + LISTS + WRITES),
        ],
    )
    def test_may_do_what_the_domain_says(self, world: World, host: str, asked: Any, refused: Any) -> None:
        for method, path, body in asked:
            assert ask(world, method, path, body, host=host).status not in (401, 403), (method, path)
        for method, path, body in refused:
            said = ask(world, method, path, body, host=host)
            assert said.status == 401, (method, path, said)
            scope = (
                "read" if (method, path, body) in READS else "list" if "files" in path and not body else "write"
            )
            if (method, path, body) in READS + LISTS:
                assert said.headers["www-authenticate"] == f'Bearer realm="dragonbelly", scope="{scope}"'
            if method != "HEAD":
                assert said.json["detail"].startswith("this takes a token with the scope "), said

    def test_whether_a_private_file_is_there_is_nobodys_business(self, world: World) -> None:
        stored(world, "there")
        there, gone = (ask(world, "GET", f"/{name}") for name in ("there", "gone"))
        assert (there.status, there.body) == (gone.status, gone.body)


class TestToken:
    @pytest.mark.parametrize(
        ("token", "asked", "refused"),
        [
            ("reader", READS + LISTS, WRITES),
            ("writer", READS + LISTS + WRITES, []),
            ("admin", READS + LISTS + WRITES, []),
            ("shop", [*READS, LISTS[1], *WRITES], [LISTS[0]]),
        ],
    )
    def test_may_do_what_it_says(self, world: World, token: str, asked: Any, refused: Any) -> None:
        for method, path, body in asked:
            assert ask(world, method, path, body, token=token).status not in (401, 403), (method, path)
        for method, path, body in refused:
            said = ask(world, method, path, body, token=token)
            assert said.status == 403, (method, path, said)
            assert "www-authenticate" not in said.headers

    def test_what_it_lacks_is_named(self, world: World) -> None:
        said = ask(world, "PUT", "/a", b"x", token="reader")
        assert is_problem(said, 403)
        assert said.json["detail"] == "the token reader lacks the scope write"
        assert said.json["scope"] == "write"
        said = ask(world, "PUT", "/a", b"x", token="shop", host="media.test")
        assert said.json["detail"] == "the token shop is not for the domain media"
        said = ask(world, "PUT", "/shopping", b"x", token="shop")
        assert said.json["detail"] == "the token shop is for paths that begin with shop/, news/"

    @pytest.mark.parametrize("path", ["/shop/../a", "/shop%2f..%2fa", "//shop/a", "/%73hop"])
    def test_a_prefix_is_of_the_path_as_it_is_stored(self, world: World, path: str) -> None:
        assert ask(world, "PUT", path, b"x", token="shop").status in (400, 403)

    @pytest.mark.parametrize(
        "wrong", ["", "reader2", "reade", "READER", "a b", "é", sha256(b"reader").hexdigest()]
    )
    @pytest.mark.parametrize("host", ["open.test", "private.test"])
    def test_one_that_is_not_known_is_no_anonymous(self, world: World, wrong: str, host: str) -> None:
        """Else a typing error shows late, and as something else."""
        said = ask(world, "GET", "/a", host=host, token=wrong)
        assert is_problem(said, 401)
        assert said.headers["www-authenticate"] == 'Bearer realm="dragonbelly", error="invalid_token"'
        assert wrong == "" or wrong not in said.body.decode()

    def test_other_schemes_are_not_ours(self, world: World) -> None:
        """Those of a proxy in front, for one."""
        said = world.ask("GET", "/a", {"Host": "open.test", "Authorization": "Basic YTpi"})
        assert said.status == 404

    def test_the_scheme_is_in_any_case(self, world: World) -> None:
        for scheme in ("bearer", "BEARER"):
            said = world.ask("GET", "/a", {"Host": "private.test", "Authorization": f"{scheme} reader"})
            assert said.status == 404

    def test_a_token_to_write_is_not_told_where_a_private_file_can_be_read(self, world: World) -> None:
        """What it changed is shown to it, too: the links of a private domain are a right to read."""
        stored(world, "a.txt")

        def shown(token: str) -> list[Said]:
            changed = ask(world, "PATCH", "/-/api/v1/files/a.txt", b"{}", token=token)
            complete = f"/-/api/v1/uploads/{changed.json['version']}/complete"
            return [changed, ask(world, "POST", complete, {"path": "a.txt"}, token=token)]

        for said in shown("drop"):
            assert said.status == 200
            assert [replica["state"] for replica in said.json["replicas"]].count("good") == 1
            assert {replica["url"] for replica in said.json["replicas"]} == {None}
        for said in shown("writer"):
            assert any(replica["url"] for replica in said.json["replicas"])

    def test_a_token_of_one_domain_says_nothing_of_another(self, world: World) -> None:
        stored(world, "shop/a", "media.test")
        assert ask(world, "DELETE", "/shop/a", token="shop", host="media.test").status == 403
        assert ask(world, "DELETE", "/shop/a", token="shop", host="private.test").status == 404


def signed(method: str, name: str, domain: str = "private", key: SigningKey = KEY, **conditions: Any) -> str:
    permission = Permission(method, domain, name, int(NOW) + 60, **conditions)  # type: ignore[arg-type]
    return f"/{name}?{signed_query(key, permission)}"


class TestSigned:
    def test_to_read(self, world: World) -> None:
        stored(world, "a.txt")
        for key in (KEY, OLD):
            for method in ("GET", "HEAD"):
                said = ask(world, method, signed("GET", "a.txt", key=key))
                assert said.status == 302
                assert "signature=" not in said.location, "ours is for us alone"

    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    def test_to_read_is_not_to_write(self, world: World, method: str) -> None:
        assert ask(world, method, signed("GET", "a.txt"), b"x").status in (401, 403)

    def test_of_another_file_domain_or_key(self, world: World) -> None:
        for name in ("a.txt", "b.txt"):
            stored(world, name)
        query = signed("GET", "a.txt").partition("?")[2]
        assert ask(world, "GET", f"/b.txt?{query}").status == 403
        assert ask(world, "GET", signed("GET", "a.txt", "media")).status == 403
        said = ask(world, "GET", signed("GET", "a.txt", key=SigningKey("k2", b"x" * 32)))
        assert is_problem(said, 403)
        assert "signature" in said.json["detail"]

    def test_when_its_time_is_over(self, world: World) -> None:
        stored(world, "a.txt")
        url = signed("GET", "a.txt")
        world.clock.advance(60)
        said = ask(world, "GET", url)
        assert (said.status, said.json["detail"]) == (403, "the signed URL has expired")

    @pytest.mark.parametrize(
        "query", ["signature=", "signature=&signature=", "signature=x&%zz", "signature=%FF"]
    )
    def test_nonsense(self, world: World, query: str) -> None:
        assert ask(world, "GET", f"/a.txt?{query}").status == 403
        assert ask(world, "GET", f"/a.txt?{query}" + "&a" * 5000).status == 403
        assert ask(world, "GET", f"/a.txt?{query}", host="media.test").status == 404, "nobody asked for one"

    def test_to_upload(self, world: World) -> None:
        url = signed("PUT", "a.txt", max_size=5, content_type="text/plain")
        said = ask(world, "PUT", url, b"hello", Content_Type="text/plain")
        assert said.status == 307
        world.upload(said.location, b"hello")
        assert ask(world, "GET", "/a.txt", token="reader").status == 302
        said = ask(world, "PUT", url, b"hello!", Content_Type="text/plain")
        assert (said.status, said.json["maximum"]) == (413, 5)
        for other in ({}, {"Content_Type": "text/html"}):
            said = ask(world, "PUT", url, b"hello", **other)
            assert (said.status, said.json["detail"]) == (
                403,
                "the URL is signed for the Content-Type text/plain",
            )
        assert ask(world, "GET", url).status == 403


class TestSign:
    def sign(self, world: World, token: str | None = "writer", **body: Any) -> Said:
        return ask(world, "POST", "/-/api/v1/sign", body, token=token)

    def test_it_gives_a_url_that_works(self, world: World) -> None:
        stored(world, "a/%C3%A4%20b.txt")
        said = self.sign(world, method="GET", path="a/ä b.txt", expires_in=600)
        assert said.status == 200
        assert ask(world, "GET", said.json["url"]).status == 302
        said = self.sign(world, method="PUT", path="c", max_size=9, content_type="text/plain")
        assert said.json["url"].startswith("/c?expires=")
        assert ask(world, "PUT", said.json["url"], b"x", Content_Type="text/plain").status == 307
        assert said.json["expires"] > "2026-"

    def test_a_page_gets_the_same_for_a_while(self, world: World) -> None:
        urls = set()
        for _ in range(20):
            urls.add(self.sign(world, method="GET", path="a", expires_in=3600).json["url"])
            world.clock.advance(30)
        assert len(urls) <= 2

    @pytest.mark.parametrize(
        ("token", "body", "status"),
        [
            (None, {"method": "GET", "path": "a"}, 401),
            ("reader", {"method": "PUT", "path": "a"}, 403),
            ("shop", {"method": "GET", "path": "a"}, 403),
            ("reader", {"method": "DELETE", "path": "a"}, 422),
            ("reader", {"method": "GET", "path": "a/../b"}, 422),
            ("reader", {"method": "GET", "path": "a", "expires_in": 0}, 422),
            ("reader", {"method": "GET", "path": "a", "expires_in": 8 * 86400}, 422),
            ("reader", {"method": "GET", "path": "a", "max_size": 5}, 422),
            ("reader", {"method": "GET", "path": "a", "content_type": "a/b"}, 422),
            ("writer", {"method": "PUT", "path": "a", "max_size": -1}, 422),
            ("writer", {"method": "PUT", "path": "a", "content_type": "a/b\r\nX: y"}, 422),
        ],
    )
    def test_what_it_refuses(self, world: World, token: str | None, body: Any, status: int) -> None:
        assert self.sign(world, token, **body).status == status

    def test_without_a_key(self, make_world: MakeWorld) -> None:
        world = make_world(DOMAINS + TOKENS)
        said = self.sign(world, method="GET", path="a")
        assert is_problem(said, 404)
        assert "[[signing_key]]" in said.json["detail"]


class TestPrivate:
    def test_its_answers_are_for_one_reader(self, make_world: MakeWorld) -> None:
        for setting, expected in (
            ("public, max-age=60", "private, max-age=60"),
            ("no-store", "no-store"),
            ("max-age=60", "private,max-age=60"),
        ):
            world = make_world(f'[http]\ncache_control = "{setting}"\n' + DOMAINS + TOKENS)
            stored(world, "a")
            assert ask(world, "GET", "/a", token="reader").headers["cache-control"] == expected

    def test_the_links_it_leads_to_are_short_lived(self, world: World) -> None:
        asked: list[int | None] = []
        for name in world.daemon.cluster.names:
            backend = world.storage(name)
            plain = backend.download_url

            def download_url(key: str, expires: int | None = None, plain: Any = plain) -> str:
                asked.append(expires)
                url: str = plain(key, expires)
                return url

            backend.download_url = download_url  # type: ignore[method-assign]
        for host in ("private.test", "media.test"):
            stored(world, "a", host)
        asked.clear()
        assert ask(world, "GET", "/a", token="reader").status == 302
        assert asked and all(e is not None and NOW + 60 <= e <= NOW + 76 for e in asked)
        asked.clear()
        assert ask(world, "GET", "/a", host="media.test").status == 302
        assert set(asked) == {None}


STATUS = "/-/api/v1/status"
DRAIN = ("PATCH", "/-/api/v1/backends/s1", b'{"state": "drain"}')
OPERATORS = [
    ("GET", STATUS, b""),
    ("GET", "/-/api/v1/backends", b""),
    ("GET", "/-/api/v1/audit", b""),
    ("POST", "/-/api/v1/audit", b"{}"),
    ("GET", "/-/api/v1/explain?path=a", b""),
    ("GET", "/-/api/v1/damaged", b""),
    ("GET", "/-/metrics", b""),
    ("POST", "/-/api/v1/backends/s1/adopt", b""),
    DRAIN,
]
ELSEWHERE = '[http]\nadmin = ["tcp:8081"]\n'


class TestOperators:
    @pytest.mark.parametrize("token", [None, "admin"])
    def test_nothing_of_theirs_is_on_the_public_listener(self, world: World, token: str | None) -> None:
        for method, path, body in [*OPERATORS, ("GET", "/-/health", b"")]:
            assert ask(world, method, path, body, token=token).status == 404, path

    def test_on_loopback_whoever_is_there_is_one(self, world: World) -> None:
        for method, path, body in OPERATORS:
            said = ask(world, method, path, body, host="127.0.0.1:8081", admin=True)
            assert said.status not in (401, 403), path
        assert ask(world, "GET", "/-/api/v1/files?domain=private", host="localhost", admin=True).status == 200

    def test_elsewhere_it_takes_a_token(self, make_world: MakeWorld) -> None:
        world = make_world(ELSEWHERE + DOMAINS + TOKENS)
        for method, path, body in OPERATORS:
            assert ask(world, method, path, body, admin=True).status == 401, path
            said = ask(world, method, path, body, admin=True, token="writer")
            assert is_problem(said, 403), path
            assert said.json["detail"] == "the token writer lacks the scope admin"
            assert ask(world, method, path, body, admin=True, token="admin").status not in (401, 403), path
        assert ask(world, "GET", "/-/api/v1/files?domain=private", admin=True).status == 401
        assert ask(world, "GET", "/-/health", admin=True).status == 200


class TestOtherSites:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.test"},
            {"Origin": "null"},
            {"Origin": "http://localhost:8081.evil.test"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
        ],
    )
    def test_their_pages_change_nothing(self, world: World, headers: dict[str, str]) -> None:
        for method, path, body in (DRAIN, OPERATORS[3], OPERATORS[7], ("DELETE", "/a", b"")):
            said = ask(world, method, path, body, host="localhost:8081", admin=True, **headers)
            assert is_problem(said, 403), path
        for method, path, body in WRITES:
            assert ask(world, method, path, body, host="open.test", **headers).status == 403, path
        # Reading is for CORS to allow; and who has a token is no browser that was only told to.
        assert ask(world, "GET", STATUS, host="localhost:8081", admin=True, **headers).status == 200
        assert ask(world, "PUT", "/a", b"x", token="writer", **headers).status == 307

    def test_our_own_do(self, world: World) -> None:
        for headers in ({"Origin": "http://localhost:8081"}, {"Sec_Fetch_Site": "same-origin"}, {}):
            said = ask(world, *DRAIN, host="localhost:8081", admin=True, **headers)
            assert said.status == 200

    def test_those_that_were_allowed_do(self, make_world: MakeWorld) -> None:
        for origins in ('"https://app.test"', '"*"'):
            world = make_world(f"[http]\norigins = [{origins}]\n" + DOMAINS)
            said = ask(world, "PUT", "/a", b"x", host="open.test", Origin="https://app.test")
            assert said.status == 307
            assert ask(world, *DRAIN, host="localhost", admin=True, Origin="https://app.test").status == 403

    @pytest.mark.parametrize(
        "host", ["evil.test", "evil.test:8081", "localhost.evil.test", "127.0.0.1.evil.test", "a b"]
    )
    def test_a_name_that_they_point_at_us_is_not_ours(self, world: World, host: str) -> None:
        """DNS rebinding: for the browser it is one site then."""
        for method, path, body in OPERATORS:
            assert ask(world, method, path, body, host=host, admin=True).status in (400, 403), path

    def test_nor_is_it_where_everybody_on_this_machine_may_write(self, make_world: MakeWorld) -> None:
        listen = '[http]\nlisten = ["tcp:8080:interface=127.0.0.1"]\n'
        domain = '[domain.own]\nhosts = ["*", "dev.test"]\nanonymous = ["read", "list", "write"]\n'
        world = make_world(listen + domain)
        for method, path, body in READS + LISTS + WRITES:
            said = ask(world, method, path, body, host="evil.test:8080", Origin="http://evil.test:8080")
            assert said.status == 404, path
            if method != "HEAD":
                assert "hosts" in said.json["detail"], path
        for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080", "dev.test"):
            assert ask(world, "PUT", "/a", b"x", host=host, Origin=f"http://{host}").status == 307, host

    @pytest.mark.parametrize(
        "host", ["localhost", "localhost:8081", "LOCALHOST.", "127.0.0.1", "[::1]:8081", "10.0.0.7"]
    )
    def test_names_of_this_machine(self, world: World, host: str) -> None:
        assert ask(world, "GET", STATUS, host=host, admin=True).status == 200

"""Signed URLs: asked for, made without asking, and used by those who have nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from dragonbelly.client import Signer, errors
from dragonbelly.tokens import SIGNING_KEY, TOKEN, digest, make_secret, signing_key_stanza, token_stanza
from tests.client.kinds import Kind
from tests.integration.asking import ask, follow
from tests.integration.site import Site, private_stores

TOKENS = {name: make_secret(TOKEN) for name in ("writer", "reader", "shop")}
KEY = make_secret(SIGNING_KEY)

CONFIGURATION = "".join(
    (
        '[domain.other]\nhosts = ["other.test"]\n',
        '[domain.private]\nhosts = ["*"]\nanonymous = []\n',
        token_stanza("writer", digest(TOKENS["writer"]), ["read", "list", "write"]),
        token_stanza("reader", digest(TOKENS["reader"]), ["read"]),
        token_stanza("shop", digest(TOKENS["shop"]), ["read", "write"], prefixes=["shop/"]),
        signing_key_stanza("k1", KEY),
    )
)


@pytest.fixture(scope="module")
def private() -> Iterator[Site]:
    with Site(CONFIGURATION, stores=private_stores()) as site:
        yield site


@pytest.fixture
def signer(private: Site) -> Signer:
    return Signer(private.daemon.url, "private", "k1", KEY)


@pytest.fixture
def writer(private: Site, kind: type[Kind]) -> Iterator[Kind]:
    client = kind(private.daemon.url, token=TOKENS["writer"])  # type: ignore[call-arg]
    yield client
    client.close()


def upload(url: str, data: bytes, **headers: str) -> int:
    """Two PUTs, the second where the first leads to; the status of the one that ended it."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    begun = ask("PUT", url, b"", {"Content-Length": str(len(data)), "Expect": "100-continue", **given})
    return begun.status if begun.status != 307 else ask("PUT", begun.headers["Location"], data).status


@pytest.mark.servers
class TestAsking:
    @pytest.mark.parametrize("path", ["a.txt", "Bücher/a b+c&d;100%.txt", "/slash.txt"])
    def test_to_read(self, writer: Kind, name: str, path: str) -> None:
        path = f"{path}-{name}"
        writer.call("put", path, b"hello")
        url = writer.call("sign", path, expires_in=60)
        assert ask("GET", url.partition("?")[0]).status == 401
        assert follow(url).body == b"hello"
        assert ask("HEAD", url).status == 302
        assert upload(url, b"x") == 403

    def test_to_upload(self, writer: Kind, name: str) -> None:
        path = f"{name}/a.txt"
        url = writer.call("sign", path, "PUT", max_size=5, content_type="text/plain")
        assert upload(url, b"hello!", Content_Type="text/plain") == 413
        assert upload(url, b"hello", Content_Type="text/html") == 403
        assert ask("GET", url).status == 403
        assert upload(url, b"hello", Content_Type="text/plain") == 201
        assert writer.call("get", path) == b"hello"

    @pytest.mark.parametrize(
        ("token", "asked", "error", "says"),
        [
            (None, {}, errors.Unauthorized, "scope read"),
            ("reader", {"path": "put"}, errors.Forbidden, "the token reader lacks the scope write"),
            ("shop", {}, errors.Forbidden, "paths that begin with shop/"),
            ("writer", {"expires_in": 0}, errors.BadRequest, "expires_in"),
            ("writer", {"expires_in": 8 * 86400}, errors.BadRequest, "expires_in"),
            ("writer", {"max_size": 5}, errors.BadRequest, "this is for PUT"),
            ("writer", {"path": "a/../b"}, errors.BadRequest, "path"),
        ],
    )
    def test_refusals(
        self,
        private: Site,
        kind: type[Kind],
        token: str | None,
        asked: dict[str, object],
        error: type,
        says: str,
    ) -> None:
        secret = TOKENS[token] if token is not None else None
        client = kind(private.daemon.url, token=secret)  # type: ignore[call-arg]
        given = {"path": "a.txt", **asked}
        method = ["PUT"] if given["path"] == "put" else []
        with pytest.raises(error, match=says):
            client.call("sign", given.pop("path"), *method, **given)
        client.close()

    def test_a_server_without_a_key(self, site: Site, client: Kind) -> None:
        with pytest.raises(errors.NotFound, match=r"\[\[signing_key\]\]"):
            client.call("sign", "a.txt")


@pytest.mark.servers
class TestOffline:
    def test_the_same_as_asking(self, signer: Signer, writer: Kind, name: str) -> None:
        for path, method, more in (
            (f"{name}/ä b.txt", "GET", {"expires_in": 86400}),
            (f"{name}/~x%2F.txt", "PUT", {"max_size": 7, "content_type": "image/png", "expires_in": 86400}),
        ):
            # They are the same for six hours; one of two tries is not at the end of them.
            assert any(
                signer.sign(path, method, **more) == writer.call("sign", path, method, **more)  # type: ignore[arg-type]
                for _ in range(2)
            )

    def test_it_opens_the_file_and_no_other(
        self, private: Site, signer: Signer, writer: Kind, name: str
    ) -> None:
        writer.call("put", f"{name}/a.txt", b"hello")
        writer.call("put", f"{name}/b.txt", b"hello")
        url = signer(f"{name}/a.txt")
        assert follow(url).body == b"hello"
        assert follow(signer.sign(f"/{name}/a.txt", expires_in=1)).body == b"hello"
        query = url.partition("?")[2]
        assert ask("GET", f"{private.daemon.url}/{name}/b.txt?{query}").status == 403
        assert ask("GET", url, headers={"Host": "other.test"}).status == 404, "open to all, and another domain"
        for wrong in (
            Signer(private.daemon.url, "other", "k1", KEY),
            Signer(private.daemon.url, "private", "k2", KEY),
            Signer(private.daemon.url, "private", "k1", KEY[:-1] + "x"),
        ):
            refused = ask("GET", wrong(f"{name}/a.txt"))
            assert refused.status == 403, json.loads(refused.body)

    def test_to_upload(self, signer: Signer, writer: Kind, name: str) -> None:
        url = signer.sign(f"{name}/a.txt", "PUT", max_size=5)
        assert upload(url, b"hello!") == 413
        assert upload(url, b"hello") == 201
        assert writer.call("get", f"{name}/a.txt") == b"hello"


class TestSigner:
    def signer(self, now: list[float], **options: int) -> Signer:
        return Signer("https://media.example.com/", "media", "k1", "s" * 32, clock=lambda: now[0], **options)

    def test_a_page_keeps_its_urls_for_a_quarter(self) -> None:
        now = [1_700_000_000.0]
        signer = self.signer(now, expires_in=3600)
        urls = []
        for second in range(0, 3600, 10):
            now[0] = 1_700_000_000.0 + second
            urls.append(signer("a.jpg"))
            expires = int(urls[-1].partition("expires=")[2].partition("&")[0])
            assert 3600 <= expires - now[0] <= 4500
        assert len(set(urls)) in (4, 5)
        assert urls == sorted(urls, key=urls.index)

    def test_what_it_looks_like(self) -> None:
        url = self.signer([1_700_000_000.0]).sign("/a b/ü.jpg")
        assert url.startswith("https://media.example.com/a%20b/%C3%BC.jpg?expires=1700003700&key=k1&signature=")

    @pytest.mark.parametrize("path", ["", "/", "a/../b", "a\n", "a//b", "x" * 300])
    def test_paths_that_no_file_has(self, path: str) -> None:
        with pytest.raises(errors.BadRequest, match=r"^path: "):
            self.signer([0.0])(path)

    def test_conditions_that_are_for_uploads(self) -> None:
        for more in ({"max_size": 1}, {"content_type": "a/b"}):
            with pytest.raises(errors.BadRequest, match="for PUT"):
                self.signer([0.0]).sign("a", **more)  # type: ignore[arg-type]
        with pytest.raises(errors.BadRequest, match="GET or PUT"):
            self.signer([0.0]).sign("a", "DELETE")  # type: ignore[arg-type]

    def test_what_is_no_signer(self) -> None:
        with pytest.raises(ValueError, match="no address"):
            Signer("media.example.com", "media", "k1", "s" * 32)
        with pytest.raises(ValueError, match="32 bytes or more, not 31") as caught:
            Signer("https://a", "media", "k1", "s" * 31)
        assert "sss" not in str(caught.value)
        for seconds in (0, -1, 604_801):
            with pytest.raises(ValueError, match="from 1 to 604800 seconds"):
                self.signer([0.0], expires_in=seconds)
            with pytest.raises(ValueError, match="from 1 to 604800 seconds"):
                self.signer([0.0]).sign("a", expires_in=seconds)

    def test_it_does_not_show_its_secret(self) -> None:
        assert "sss" not in f"{self.signer([0.0])!r} {vars(self.signer([0.0]))}"

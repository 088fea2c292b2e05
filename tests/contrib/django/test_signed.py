"""Files of a private domain in Django: its URLs and redirects are signed, and nothing else leads there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile, File
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

from dragonbelly.contrib.django import DragonbellyManifestStaticStorage, DragonbellyStorage, redirect_to
from dragonbelly.tokens import SIGNING_KEY, TOKEN, digest, make_secret, signing_key_stanza, token_stanza
from tests.integration.asking import ask, follow
from tests.integration.site import Site, private_stores

TOKEN_SECRET, KEY = make_secret(TOKEN), make_secret(SIGNING_KEY)

pytestmark = pytest.mark.servers


def original(request: HttpRequest, name: str) -> HttpResponse:
    if "of" not in request.GET:
        return redirect_to(f"kept/{name}")
    file: File[bytes] = File(None, name)
    file.storage = DragonbellyStorage(location="kept/", domain="private")  # type: ignore[attr-defined]
    return redirect_to(file)


urlpatterns = [path("original/<path:name>", original)]


@pytest.fixture(scope="module")
def private() -> Iterator[Site]:
    with Site(
        '[domain.private]\nhosts = ["*"]\nanonymous = []\n'
        + token_stanza("django", digest(TOKEN_SECRET), ["read", "list", "write"])
        + signing_key_stanza("k1", KEY),
        stores=private_stores(),
    ) as site:
        yield site


@pytest.fixture
def signed(private: Site) -> Iterator[dict[str, Any]]:
    options = {
        "url": private.daemon.url,
        "token": TOKEN_SECRET,
        "signing_key": {"id": "k1", "secret": KEY, "domain": "private"},
        "signed_for": 600,
    }
    with override_settings(
        DRAGONBELLY=options,
        MIDDLEWARE=["dragonbelly.contrib.django.DragonbellyMiddleware"],
        ROOT_URLCONF=__name__,
        STORAGES=dict(settings.STORAGES),
    ):
        yield options


def test_a_url_opens_the_file(signed: dict[str, Any], name: str) -> None:
    storage = DragonbellyStorage(location=name)
    storage.save("Bild 1ü.txt", ContentFile(b"hello"))
    url = storage.url("Bild 1ü.txt")
    assert follow(url).body == b"hello"
    assert ask("GET", url.partition("?")[0]).status == 401
    assert url in (storage.url("Bild 1ü.txt"), storage.url("Bild 1ü.txt")), "as long as the page is shown"
    with storage.open("Bild 1ü.txt") as file:
        assert file.read() == b"hello"
    assert storage.url(None) == f"{signed['url']}/{name}/"


@pytest.mark.parametrize("of", ["", "?of=model"])
def test_redirect_to_leads_to_a_signed_url(signed: dict[str, Any], name: str, of: str) -> None:
    DragonbellyStorage(location="kept/").save(f"{name}/a.txt", ContentFile(b"hello"))
    answer = Client().get(f"/original/{name}/a.txt{of}")
    assert answer.status_code == 302
    assert answer["Cache-Control"] == "private, no-store"
    assert "signature=" in answer["Location"]
    assert follow(answer["Location"]).body == b"hello"


def test_media_url_leads_to_a_signed_url(signed: dict[str, Any], name: str) -> None:
    with override_settings(
        DRAGONBELLY={**signed, "base_url": "/media/", "location": "kept/"}, STORAGES=dict(settings.STORAGES)
    ):
        storage = DragonbellyStorage()
        storage.save(f"{name}/a.txt", ContentFile(b"hello"))
        assert storage.url(f"{name}/a.txt") == f"/media/{name}/a.txt", "who follows it is asked for permission"
        answer = Client().get(f"/media/{name}/a.txt")
        assert follow(answer["Location"]).body == b"hello"


def test_static_files_are_not_signed(signed: dict[str, Any], name: str) -> None:
    storage = DragonbellyManifestStaticStorage(location=f"{name}/")
    css, image = ContentFile(b"a { background: url(a.png) }"), ContentFile(b"png")
    storage.save("a.css", css)
    storage.save("a.png", image)
    assert all(
        not isinstance(done, Exception)
        for *_, done in storage.post_process({"a.css": (storage, "a.css"), "a.png": (storage, "a.png")})
    )
    assert "signature" not in storage.url("a.css")
    with storage.open(storage.hashed_files["a.css"]) as file:
        assert b"signature" not in file.read()


def test_the_domain_is_default_unless_said(signed: dict[str, Any]) -> None:
    key = {"id": "k1", "secret": KEY}
    for options, domain in (
        ({"signing_key": key}, "default"),
        ({"signing_key": key, "domain": "media"}, "media"),
        ({"signing_key": {**key, "domain": "x"}, "domain": "media"}, "x"),
    ):
        signer = DragonbellyStorage(**options).options.signer
        assert signer is not None
        assert signer.domain == domain
    assert DragonbellyStorage(signing_key=None).options.signer is None


def test_another_public_url(signed: dict[str, Any]) -> None:
    url = DragonbellyStorage(public_url="https://media.example.com").url("a.txt")
    assert url.startswith("https://media.example.com/a.txt?expires=")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"signing_key": KEY}, "signing_key: expected a dict"),
        ({"signing_key": {"id": "k1"}}, "signing_key: expected a dict with id and secret"),
        ({"signing_key": {"id": "k1", "secret": KEY, "key": KEY}}, "signing_key: expected a dict"),
        ({"signing_key": {"id": "k1", "secret": [KEY]}}, "expected strings"),
        ({"signing_key": {"id": "k1", "secret": KEY[:31]}}, "32 bytes or more, not 31"),
        ({"signed_for": 0}, "signed_for: expected seconds from 1 to 604800, found 0"),
        ({"signed_for": 604_801}, "signed_for: expected seconds"),
        ({"signed_for": "1h"}, "signed_for: expected seconds"),
    ],
)
def test_mistakes(signed: dict[str, Any], options: dict[str, Any], says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says) as caught:
        DragonbellyStorage(**options)
    assert KEY[4:20] not in str(caught.value)


def test_nothing_shows_the_key(signed: dict[str, Any]) -> None:
    options = DragonbellyStorage().options
    assert KEY not in repr(options)
    assert TOKEN_SECRET not in repr(options)

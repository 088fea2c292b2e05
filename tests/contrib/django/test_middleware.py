"""The middleware under WSGI and ASGI, on real servers, in front of a real Dragonbelly."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.test import override_settings
from django.test.client import RequestFactory

from dragonbelly.contrib.django import DragonbellyMiddleware, DragonbellyStorage, redirect_to
from dragonbelly.errors import BadPath
from tests.contrib.django.models import Picture
from tests.contrib.django.urls import Watched
from tests.integration.asking import ask, eventually
from tests.integration.site import Site
from tests.servers.applications import uvicorn_server, wsgiref_server

pytestmark = pytest.mark.servers

MIDDLEWARE = "dragonbelly.contrib.django.DragonbellyMiddleware"


def may_read(request: HttpRequest, name: str) -> bool | HttpResponse:
    if name.startswith("login/"):
        return HttpResponseRedirect("/login")
    if name.startswith("nowhere/"):
        raise Http404
    if name.startswith("denied/"):
        raise PermissionDenied
    if name.startswith("elsewhere/"):
        return redirect_to("shared/a.txt")
    if name.startswith("odd/"):
        return "yes"  # type: ignore[return-value]
    return name.startswith("mine/")


async def may_read_async(request: HttpRequest, name: str) -> bool | HttpResponse:
    return may_read(request, name)


@pytest.fixture(params=["wsgiref", "h11", "httptools"])
def server(request: pytest.FixtureRequest, allow: str | None) -> Iterator[str]:
    from django.core.wsgi import get_wsgi_application

    with override_settings(
        MIDDLEWARE=["django.middleware.common.CommonMiddleware", MIDDLEWARE],
        DRAGONBELLY={**settings.DRAGONBELLY, "location": "kept/", "base_url": "/media/", "allow": allow},
        STORAGES=dict(settings.STORAGES),
    ):
        if request.param == "wsgiref":
            with wsgiref_server(get_wsgi_application()) as url:
                yield url
        else:
            with uvicorn_server(get_asgi_application(), request.param) as url:
                yield url


@pytest.fixture(params=["may_read", "may_read_async"])
def allow(request: pytest.FixtureRequest) -> str | None:
    return f"{__name__}.{request.param}" if request.param else None


def get(url: str, **more: Any) -> requests.Response:
    return requests.get(url, timeout=20, **more)


NAMES = ["a.jpg", "a b+c&d.jpg", "Bücher/本.pdf", "100%.txt", "what?#.txt", "Ã¼"]


def test_who_may_read_a_file_reads_its_bytes(server: str, site: Site) -> None:
    for name in NAMES:
        data = os.urandom(5_000)
        name = default_storage.save(f"mine/{name}", ContentFile(data))
        assert default_storage.url(name) == f"/media/{quote(name)}"
        for path in (
            f"/media/{quote(name)}",
            f"/guarded?path=kept/{quote(name)}",
            f"/guarded-async?path=kept/{quote(name)}",
            f"/of-a-model?name={quote(name)}",
        ):
            answer = get(server + path)
            assert (answer.status_code, answer.content) == (200, data), path
            first = answer.history[0]
            assert first.status_code == 302
            assert first.headers["Location"] == f"{site.daemon.url}/kept/{quote(name)}"
            assert first.headers["Cache-Control"] == "private, no-store"
            assert "X-Dragonbelly-Redirect" not in first.headers
            head = requests.head(server + path, timeout=20, allow_redirects=True)
            assert (head.status_code, head.headers["Content-Length"]) == (200, "5000")


def test_who_may_not(server: str, site: Site, request: pytest.FixtureRequest) -> None:
    site.put("kept/yours/a", b"secret")
    for path, status in {
        "yours/a": 403,
        "denied/a": 403,
        "nowhere/a": 404,
        "mine/../yours/a": 404,
        "mine/%2e%2e/yours/a": 404,
        "mine//a": 404,
        "mine/a%0d%0aSet-Cookie:%20x=1": 404,
        "-/api/v1/backends": 404,
        "": 404,
    }.items():
        for method in ("GET", "HEAD"):
            answer = ask(method, f"{server}/media/{path}")
            assert answer.status == status, path
            assert not {"location", "set-cookie"} & {name.lower() for name in answer.headers}
    # Under WSGI Django takes what is not UTF-8 for a percent sign and digits: a name like others.
    for path in ("mine/%ff", "mine/%c0%ae%c0%ae/a"):
        answer = get(f"{server}/media/{path}")
        assert answer.status_code == 404
        assert bool(answer.history) == (request.node.callspec.params["server"] == "wsgiref")
    assert ask("POST", f"{server}/media/mine/a", b"x").status == 405


def test_a_permission_may_answer_itself(server: str, site: Site) -> None:
    answer = get(f"{server}/media/login/a", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login")
    site.put("shared/a.txt", b"shared")
    assert get(f"{server}/media/elsewhere/a").content == b"shared"
    assert get(f"{server}/media/odd/a").status_code == 500


@pytest.mark.parametrize("allow", [None], indirect=True)
def test_without_a_permission_all_may_read(server: str) -> None:
    default_storage.delete("a")
    default_storage.save("a", ContentFile(b"1"))
    answer = get(f"{server}/media/a")
    assert answer.content == b"1"
    assert "Cache-Control" not in answer.history[0].headers


def test_a_views_cookie_stays_and_its_body_goes(server: str) -> None:
    answer = get(f"{server}/guarded?path=a", allow_redirects=False)
    assert answer.cookies["seen"] == "yes"
    before = Watched.closed_ones
    answer = get(f"{server}/with-a-body", allow_redirects=False)
    assert (answer.status_code, answer.content) == (302, b"")
    assert answer.headers["Content-Length"] == "0"
    assert "Content-Disposition" not in answer.headers
    eventually("the view's file is closed", lambda: Watched.closed_ones == before + 1)


def test_all_else_is_the_views(server: str) -> None:
    answer = get(f"{server}/streamed")
    assert (answer.content, answer.headers["ETag"]) == (b"ab", '"x"')
    refused = get(f"{server}/as-it-is?path=a&status=403")
    assert (refused.status_code, refused.content) == (403, b"secret")
    assert "X-Dragonbelly-Redirect" not in refused.headers
    assert get(f"{server}/mediax/a").status_code == 404


def test_a_mistake_of_a_view_is_a_500(server: str) -> None:
    for path in ("../a", "//evil.example.com/", "https://evil.example.com/", "本", "ü", ""):
        answer = get(f"{server}/as-it-is?path={quote(path)}", allow_redirects=False)
        assert answer.status_code == 500, path
        assert b"secret" not in answer.content
        assert not {"Location", "X-Dragonbelly-Redirect"} & set(answer.headers)


# --- without servers -------------------------------------------------------------------------------------


def answered(path: str, **environ: Any) -> HttpResponse:
    middleware = DragonbellyMiddleware(lambda request: HttpResponse(b"the view's"))
    response = middleware(RequestFactory().get(path, **environ))
    assert isinstance(response, HttpResponse)
    return response


@pytest.mark.parametrize(
    ("media", "path", "redirected"),
    [
        ("/media/", "/media/a", True),
        ("/m/ä/", "/m/%C3%A4/a", True),
        ("/media/", "/other/a", False),
        ("/", "/media/a", False),
        ("https://media.example.com/", "/a", False),
        ("//media.example.com/", "//media.example.com/a", False),
    ],
)
def test_media_url(media: str, path: str, redirected: bool) -> None:
    with override_settings(MEDIA_URL=media):
        assert answered(path).status_code == (302 if redirected else 200)


def test_an_application_below_another_path() -> None:
    with override_settings(MEDIA_URL="/app/media/"):
        assert answered("/media/a", SCRIPT_NAME="/app").status_code == 302
        assert answered("/media/a", SCRIPT_NAME="/other").status_code == 200


def test_the_public_url_is_where_it_leads(site: Site) -> None:
    with override_settings(
        DRAGONBELLY={"url": site.daemon.url, "public_url": "https://media.example.com"},
        STORAGES=dict(settings.STORAGES),
    ):
        assert answered("/media/a")["Location"] == "https://media.example.com/a"


def test_a_file_of_another_storage_is_where_that_storage_is(site: Site) -> None:
    other = DragonbellyStorage(public_url="https://private.example.com", location="kept")
    paper = File(io.BytesIO(), "a b.txt")
    paper.storage = other  # type: ignore[attr-defined]
    middleware = DragonbellyMiddleware(lambda request: redirect_to(paper))
    answer = middleware(RequestFactory().get("/paper"))
    assert (answer.status_code, answer["Location"]) == (302, "https://private.example.com/kept/a%20b.txt")
    answer = DragonbellyMiddleware(lambda request: redirect_to("a"))(RequestFactory().get("/paper"))
    assert answer["Location"] == f"{site.daemon.url}/a"


def test_a_default_storage_that_is_another() -> None:
    memory = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
    with override_settings(STORAGES={**settings.STORAGES, "default": memory}):
        assert answered("/media/a")["Location"] == f"{settings.DRAGONBELLY['url']}/a"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allow": 7}, "found 7"),
        ({"allow": "nowhere.at_all"}, "found 'nowhere.at_all': No module named 'nowhere'"),
        ({"allow": f"{__name__}.MIDDLEWARE"}, "which cannot be called"),
        ({"public_url": "http://ä.example.com"}, "DragonbellyMiddleware: url: expected the public URL"),
    ],
)
def test_mistakes_in_settings(options: dict[str, Any], message: str) -> None:
    with (
        override_settings(DRAGONBELLY={**settings.DRAGONBELLY, **options}, STORAGES=dict(settings.STORAGES)),
        pytest.raises(ImproperlyConfigured, match=message),
    ):
        answered("/")


def test_what_leads_nowhere() -> None:
    with pytest.raises(ValueError, match="there is no file"):
        redirect_to(Picture().image)
    with pytest.raises(ValueError, match="not in a DragonbellyStorage"):
        redirect_to(ContentFile(b"", "a"))
    with pytest.raises(BadPath):
        redirect_to("a/../b")
    assert redirect_to("ä/b").headers["X-Dragonbelly-Redirect"].encode("latin-1") == "ä/b".encode()

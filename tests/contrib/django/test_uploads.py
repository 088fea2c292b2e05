"""Uploads past Django: what is signed, who may complete what, and what a form makes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.core import signing
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.validators import FileExtensionValidator
from django.http import HttpRequest
from django.test import Client, RequestFactory, override_settings
from django.urls import path

from dragonbelly.contrib.django import uploads
from dragonbelly.contrib.django.forms import DirectFileField
from dragonbelly.contrib.django.uploads import direct_upload
from tests.contrib.django.models import Picture
from tests.contrib.django.urls import urlpatterns as others
from tests.integration.site import Site
from tests.servers.ports import free_port

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("database")]

DATA = b"bytes that Django never sees" * 1000


def _by_user(request: HttpRequest, name: str) -> str:
    return f"of/{request.headers.get('X-Who', 'nobody')}/{name}"


urlpatterns = [
    *others,
    path(
        "upload", direct_upload("pictures/%Y", max_size=100_000, allowed_extensions=["PNG", "txt"]), name="up"
    ),
    path("other", direct_upload("papers"), name="other"),
    path("named", direct_upload(_by_user, max_length=40), name="named"),
    path("elsewhere", direct_upload(storage="staticfiles"), name="elsewhere"),
]


@pytest.fixture(autouse=True)
def with_sessions(configured: None) -> Iterator[None]:
    with override_settings(
        ROOT_URLCONF=__name__,
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
    ):
        yield


@pytest.fixture
def browser() -> Client:
    return Client()


def post(browser: Client, url: str = "/upload", status: int = 200, **asked: Any) -> Any:
    answer = browser.post(url, json.dumps(asked), "application/json")
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


def put(begun: Any, data: bytes = DATA) -> None:
    target = begun["targets"][0]
    answer = requests.request(target["method"], target["url"], headers=target["headers"], data=data, timeout=20)
    assert answer.status_code == 201


def uploaded(browser: Client, name: str = "a.png", url: str = "/upload") -> Any:
    begun = post(browser, url, name=name, size=len(DATA))
    put(begun)
    return post(browser, url, complete=begun["upload"])


class PictureForm(forms.ModelForm):  # type: ignore[type-arg]
    image = DirectFileField(upload="up", validators=[FileExtensionValidator(["png"])])

    class Meta:
        model = Picture
        fields = ("image",)


# --- there ------------------------------------------------------------------------------------------------


def test_from_the_browser_into_a_model(browser: Client, site: Site) -> None:
    done = uploaded(browser, "C:\\fakepath\\My Ä.png")
    assert requests.get(done["url"], timeout=20).content == DATA
    form = PictureForm({"image": done["result"]})
    assert form.is_valid(), form.errors
    form.save()
    picture = Picture.objects.get(pk=form.instance.pk)
    assert re.fullmatch(r"pictures/20\d\d/My_Ä_\w{7}\.png", picture.image.name)
    assert type(form.cleaned_data["image"]) is str
    assert picture.image.size == len(DATA)
    assert default_storage.stat(picture.image.name).content_type == "image/png"  # type: ignore[attr-defined]
    assert done["name"] == picture.image.name.rpartition("/")[2]


def test_two_of_one_name(browser: Client) -> None:
    assert uploaded(browser)["url"] != uploaded(browser)["url"]


def test_a_lost_answer_is_asked_again(browser: Client) -> None:
    begun = post(browser, name="a.png", size=len(DATA))
    put(begun)
    once, again = (post(browser, complete=begun["upload"]) for _ in range(2))
    assert once["url"] == again["url"]


def test_a_directory_by_a_function(browser: Client) -> None:
    answer = browser.post(
        "/named",
        json.dumps({"name": "n" * 100 + ".txt", "size": 1}),
        "application/json",
        headers={"X-Who": "me"},
    )
    name = signing.loads(answer.json()["upload"], salt=uploads._UPLOAD)["name"]
    assert len(name) == 40
    assert name.startswith("of/me/nn") and name.endswith(".txt")


def test_aborted(browser: Client) -> None:
    begun = post(browser, name="a.png", size=len(DATA))
    put(begun)
    assert post(browser, abort=begun["upload"], status=204) is None
    assert "upload failed" in post(browser, complete=begun["upload"], status=410)["error"]


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "message"),
    [
        ({}, 400, "no size"),
        ({"name": "a.png"}, 400, "no size"),
        ({"name": "a.png", "size": "7"}, 400, "no size"),
        ({"name": "a.png", "size": True}, 400, "no size"),
        ({"name": "a.png", "size": -1}, 400, "no size"),
        ({"size": 1}, 400, "no name"),
        ({"name": 7, "size": 1}, 400, "no name"),
        ({"name": "..", "size": 1}, 400, "cannot be used"),
        ({"name": "", "size": 1}, 400, "cannot be used"),
        ({"name": "a/", "size": 1}, 400, "cannot be used"),
        ({"name": "a.png", "size": 100_001}, 413, "it has 100001 bytes, 100000 are allowed"),
        ({"name": "a.html", "size": 1}, 400, "these are: PNG, txt"),
        ({"name": "png", "size": 1}, 400, "these are: PNG, txt"),
        ({"name": "a.png.html", "size": 1}, 400, "these are: PNG, txt"),
        ({"complete": "x"}, 400, "no upload that was begun"),
        ({"complete": 7}, 400, "no upload that was begun"),
        ({"abort": None}, 400, "no upload that was begun"),
    ],
)
def test_what_is_refused(browser: Client, asked: Any, status: int, message: str) -> None:
    assert message in post(browser, status=status, **asked)["error"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_question(browser: Client, body: bytes) -> None:
    assert browser.post("/upload", body, "application/json").status_code == 400
    assert browser.get("/upload").status_code == 405


def test_names_stay_in_their_directory(browser: Client) -> None:
    for name in ("../../a.png", "/etc/a.png", "..\\a.png", "x/../../a.png", "a\n.png", "\0a.png", "a?#%.png"):
        begun = post(browser, name=name, size=1)
        chosen = signing.loads(begun["upload"], salt=uploads._UPLOAD)["name"]
        assert re.fullmatch(r"pictures/20\d\d/a_\w{7}\.png", chosen), name


def test_csrf() -> None:
    browser = Client(enforce_csrf_checks=True)
    answer = browser.post("/upload", json.dumps({"name": "a.png", "size": 1}), "application/json")
    assert answer.status_code == 403


def test_other_bytes_than_announced(browser: Client) -> None:
    begun = post(browser, name="a.png", size=len(DATA))
    put(begun, DATA + b"more")
    assert post(browser, complete=begun["upload"], status=409)["error"]


def test_a_name_that_is_taken_meanwhile(browser: Client) -> None:
    begun = post(browser, name="a.png", size=len(DATA))
    name = signing.loads(begun["upload"], salt=uploads._UPLOAD)["name"]
    assert default_storage.save(name, ContentFile(b"first")) == name
    put(begun)
    assert "faster" in post(browser, complete=begun["upload"], status=412)["error"]
    assert default_storage.open(name).read() == b"first"


def test_more_than_dragonbelly_takes(browser: Client) -> None:
    assert "too large" in post(browser, "/other", name="a", size=11 * 2**20, status=413)["error"]


def test_bytes_that_never_came(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "WAIT", 0.5)
    begun = post(browser, name="a.png", size=len(DATA))
    assert "not ready" in post(browser, complete=begun["upload"], status=503)["error"]
    put(begun)
    assert post(browser, complete=begun["upload"])["result"]


def test_no_server(browser: Client) -> None:
    with override_settings(
        DRAGONBELLY={"url": f"http://127.0.0.1:{free_port()}", "retries": 0}, STORAGES=dict(settings.STORAGES)
    ):
        assert "not ready" in post(browser, "/other", name="a.png", size=1, status=503)["error"]


def test_a_storage_of_another_kind(browser: Client) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"STORAGES\['staticfiles'\] is StaticFilesStorage"):
        post(browser, "/elsewhere", name="a.png", size=1)


# --- whose it is ------------------------------------------------------------------------------------------


def test_nobody_completes_anothers(browser: Client) -> None:
    begun = post(browser, name="a.png", size=len(DATA))
    put(begun)
    for asked in ({"complete": begun["upload"]}, {"abort": begun["upload"]}):
        assert "somebody else's" in post(Client(), status=403, **asked)["error"]
        assert "somebody else's" in post(browser, "/other", status=403, **asked)["error"]
    assert post(browser, complete=begun["upload"])["result"]


def test_a_user_and_their_sessions() -> None:
    me, her = (User.objects.get_or_create(username=name)[0] for name in ("me", "her"))
    here, there, other = Client(), Client(), Client()
    here.force_login(me)
    there.force_login(me)
    other.force_login(her)
    begun = post(here, name="a.png", size=len(DATA))
    put(begun)
    assert post(other, complete=begun["upload"], status=403)
    assert post(there, complete=begun["upload"])["result"]


def test_a_session_is_not_shown(browser: Client) -> None:
    begun = post(browser, name="a.png", size=1)
    key = browser.session.session_key
    assert key and key not in str(signing.loads(begun["upload"], salt=uploads._UPLOAD))


def test_what_was_changed_is_refused(browser: Client) -> None:
    begun = post(browser, name="a.png", size=len(DATA))
    put(begun)
    content = signing.loads(begun["upload"], salt=uploads._UPLOAD)
    forged = signing.dumps({**content, "name": "pictures/other.png"}, key="another", salt=uploads._UPLOAD)
    result = post(browser, complete=begun["upload"])["result"]
    for bad in (forged, begun["upload"][:-1], "x" + begun["upload"], result):
        assert post(browser, complete=bad, status=400)


def test_a_ticket_ends_with_the_upload(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = post(browser, name="a.png", size=1)
    monkeypatch.setattr("time.time", lambda: signing.loads(begun["upload"], salt=uploads._UPLOAD)["until"] + 1)
    assert "took too long" in post(browser, complete=begun["upload"], status=410)["error"]


# --- the form ---------------------------------------------------------------------------------------------


def errors_of(form: forms.BaseForm) -> str:
    assert not form.is_valid()
    return str(form.errors.get_json_data())


def test_what_a_form_refuses(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = post(browser, name="a.png", size=len(DATA))
    assert "not the result" in errors_of(PictureForm({"image": begun["upload"]}))
    assert "not the result" in errors_of(PictureForm({"image": "pictures/other.png"}))
    assert "required" in errors_of(PictureForm({"image": ""}))
    assert "required" in errors_of(PictureForm({}))
    assert "something else" in errors_of(PictureForm({"image": uploaded(browser, url="/other")["result"]}))
    assert "“txt” is not allowed" in errors_of(PictureForm({"image": uploaded(browser, "a.txt")["result"]}))
    result = uploaded(browser)["result"]
    assert PictureForm({"image": result}).is_valid()
    monkeypatch.setattr(uploads, "RESULT_AGE", -1)
    assert "too long ago" in errors_of(PictureForm({"image": result}))


def test_a_form_that_knows_who_asks(browser: Client) -> None:
    result = uploaded(browser)["result"]
    for client, valid in ((browser, True), (Client(), False)):
        request = RequestFactory().post("/")
        request.session = client.session
        form = PictureForm({"image": result})
        form.fields["image"].request = request  # type: ignore[attr-defined]
        assert form.is_valid() is valid


def test_a_name_that_is_too_long(browser: Client) -> None:
    class Short(forms.Form):
        image = DirectFileField(upload="/upload", max_length=10)

    assert "at most 10 characters" in errors_of(Short({"image": uploaded(browser)["result"]}))


def test_an_optional_field_keeps_what_is_there(browser: Client) -> None:
    class Optional(PictureForm):
        image = DirectFileField(upload="up", required=False)

    picture = Picture(paper="x")
    form = Optional({"image": ""}, instance=picture)
    assert form.is_valid() and not form.save().image
    first = PictureForm({"image": uploaded(browser)["result"]}, instance=picture).save().image.name
    edit = PictureForm({"image": ""}, instance=picture)
    assert edit.is_valid() and edit.save().image.name == first
    assert not edit.has_changed()
    html = str(PictureForm(instance=picture)["image"])
    assert f'<a href="{default_storage.url(first)}">' in html
    assert "required" not in html


def test_the_widget(browser: Client) -> None:
    form = PictureForm()
    html = str(form["image"])
    assert 'data-dragonbelly-upload="/upload"' in html
    assert '<input type="hidden" name="image">' in html
    assert 'required id="id_image"' in html
    assert 'for="id_image"' in form["image"].label_tag()
    assert not form.is_multipart()
    assert "dragonbelly/direct-upload.js" in str(form.media)


def test_a_form_with_another_mistake_keeps_the_file(browser: Client) -> None:
    done = uploaded(browser)
    html = str(PictureForm({"image": done["result"]})["image"])
    assert f'<input type="hidden" name="image" value="{done["result"]}">' in html
    assert f"<output>{done['name']}</output>" in html
    assert "required" not in html
    html = str(PictureForm({"image": '"><script>'})["image"])
    assert "script" not in html and "value" not in html.partition("progress")[0]


def test_without_sessions(site: Site) -> None:
    with override_settings(MIDDLEWARE=[]):
        assert uploaded(Client())["result"]

"""The code of the README that is there to be pasted."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import requests
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.files.base import ContentFile
from django.core.files.storage.handler import StorageHandler
from django.test import RequestFactory, override_settings
from django.urls import path

from dragonbelly.contrib.django import DragonbellyManifestStaticStorage, DragonbellyMiddleware
from dragonbelly.contrib.django.forms import DirectFileField
from dragonbelly.contrib.django.uploads import direct_upload
from tests.contrib.django.models import Picture
from tests.integration.site import Site

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("database")]

README = Path(__file__).parents[3] / "README.rst"


def blocks() -> list[str]:
    section = README.read_text().split("\nDjango\n======\n", 1)[1]
    section = re.split(r"\n\n\n(?=\S)", section)[0]
    found = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", section)
    return [dedent(block) for block in found]


def test_the_code_to_paste_works(site: Site, name: str) -> None:
    in_settings, in_views, in_urls = blocks()
    assert "http://127.0.0.1:8080" in in_settings
    pasted: dict[str, Any] = {}
    exec(in_settings.replace("http://127.0.0.1:8080", site.daemon.url), pasted)
    assert pasted["INSTALLED_APPS"][-1] in settings.INSTALLED_APPS
    assert pasted["MIDDLEWARE"][-1].rpartition(".")[2] == DragonbellyMiddleware.__name__
    with override_settings(STORAGES=pasted["STORAGES"], DRAGONBELLY=pasted["DRAGONBELLY"]):
        made = StorageHandler(pasted["STORAGES"])
        assert isinstance(made["staticfiles"], DragonbellyManifestStaticStorage)
        picture = Picture.objects.create(image=made["default"].save(f"{name}/a", ContentFile(b"picture")))
        views: dict[str, Any] = {"Photo": Picture}
        exec(in_views, views)
        middleware = DragonbellyMiddleware(lambda request: views["original"](request, picture.pk))
        request = RequestFactory().get("/original")
        request.user = AnonymousUser()
        assert "/accounts/login/" in middleware(request)["Location"]
        request.user = User(username="ann")
        answer = middleware(request)
        assert requests.get(answer["Location"], timeout=20).content == b"picture"
    names: dict[str, Any] = {"path": path, "direct_upload": direct_upload, "DirectFileField": DirectFileField}
    exec(in_urls, names)
    assert names["image"].upload == "upload"

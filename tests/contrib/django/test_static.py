"""``collectstatic``, and static files with digests in their names."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.files.storage import storages
from django.core.management import call_command
from django.templatetags.static import static
from django.test import override_settings

from dragonbelly.client import Client
from dragonbelly.contrib.django import DragonbellyManifestStaticStorage, DragonbellyStorage

pytestmark = pytest.mark.servers


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "css").mkdir()
    (tmp_path / "img").mkdir()
    (tmp_path / "img/a b.svg").write_text("<svg/>")
    (tmp_path / "img/font.eot").write_text("font")
    (tmp_path / "css/more.css").write_text("body { color: teal }")
    (tmp_path / "css/site.css").write_text(
        '@import url("more.css"); a { background: url("../img/a b.svg") } b { src: url(/static/img/font.eot) }'
    )
    return tmp_path


@pytest.fixture(params=["DragonbellyManifestStaticStorage", "DragonbellyStorage"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def configured(configured: None, files: Path, name: str, kind: str) -> Iterator[None]:
    chosen = {"BACKEND": f"dragonbelly.contrib.django.{kind}", "OPTIONS": {"location": name}}
    with override_settings(
        STORAGES={**settings.STORAGES, "staticfiles": chosen},
        STATICFILES_DIRS=[files],
        STATICFILES_FINDERS=["django.contrib.staticfiles.finders.FileSystemFinder"],
    ):
        storages._backends = settings.STORAGES  # Django 4.2 forgets OPTIONS that are overridden
        yield


def collect(**options: Any) -> str:
    said = io.StringIO()
    call_command("collectstatic", interactive=False, stdout=said, **options)
    return said.getvalue()


def test_collectstatic(kind: str, files: Path) -> None:
    manifest = kind == "DragonbellyManifestStaticStorage"
    assert "4 static files copied" in collect()
    assert "4 unmodified" in collect()
    (files / "css/more.css").write_text("body { color: olive }")
    os.utime(files / "css/more.css", (time.time() + 60,) * 2)
    said = collect()
    assert "1 static file copied" in said and "3 unmodified" in said
    url = static("css/site.css")
    assert url.endswith("/css/site.css") is not manifest
    answer = requests.get(url, timeout=20)
    assert staticfiles_storage.stat("css/site.css").content_type == "text/css"  # type: ignore[attr-defined]
    if manifest:
        assert "color: olive" in requests.get(static("css/more.css"), timeout=20).text
        assert '@import url("more.' in answer.text
        assert 'url("/static/img/font.' in answer.text
        assert "img/font.eot" not in answer.text
    assert requests.get(static("img/a b.svg"), timeout=20).text == "<svg/>"
    assert static("img/").endswith("/img/")


@pytest.mark.parametrize("kind", ["DragonbellyStorage"])
def test_collectstatic_clears(kind: str, files: Path) -> None:
    storage = DragonbellyStorage(location=staticfiles_storage.options.location)  # type: ignore[attr-defined]
    collect()
    (files / "img/font.eot").unlink()
    said = collect(clear=True)
    assert "3 static files copied" in said
    assert storage.listdir("img") == ([], ["a b.svg"])


@pytest.mark.parametrize("kind", ["DragonbellyManifestStaticStorage"])
def test_what_a_site_shows_is_there_while_it_is_collected_anew(
    kind: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect()
    before = staticfiles_storage.stat("staticfiles.json").version  # type: ignore[attr-defined]
    shown = static("css/site.css")
    deleted: list[str] = []
    monkeypatch.setattr(Client, "delete", lambda self, path: deleted.append(path))
    (files / "css/new.css").write_text("b { color: teal }")
    collect()
    assert deleted == []
    assert staticfiles_storage.stat("staticfiles.json").version != before  # type: ignore[attr-defined]
    assert static("css/site.css") == shown
    for url in (shown, static("css/new.css")):
        assert requests.get(url, timeout=20).status_code == 200
    staticfiles_storage.delete("css/new.css")
    assert [path.rpartition("/")[2] for path in deleted] == ["new.css"]


@pytest.mark.parametrize("kind", ["DragonbellyManifestStaticStorage"])
def test_files_that_are_not_to_be_overwritten_are_collected(kind: str, name: str) -> None:
    chosen = {**settings.STORAGES["staticfiles"], "OPTIONS": {"location": name, "allow_overwrite": False}}
    with override_settings(STORAGES={**settings.STORAGES, "staticfiles": chosen}):
        storages._backends = settings.STORAGES
        collect()
        assert "4 unmodified" in collect()
        assert requests.get(static("css/site.css"), timeout=20).status_code == 200


@pytest.mark.parametrize("kind", ["DragonbellyManifestStaticStorage"])
def test_a_manifest_is_read_by_another_process(kind: str, files: Path) -> None:
    collect()
    location = staticfiles_storage.options.location  # type: ignore[attr-defined]
    other = DragonbellyManifestStaticStorage(location=location)
    assert set(other.hashed_files) == {"css/site.css", "css/more.css", "img/a b.svg", "img/font.eot"}
    with other.open("staticfiles.json") as file:
        assert json.load(file)["paths"] == other.hashed_files
    with pytest.raises(ValueError, match="Missing staticfiles manifest entry"):
        other.url("css/unknown.css")
    for name in ("css/site.css", "img/a b.svg", "img/font.eot?#x", "css/more.css?v=1"):
        assert requests.get(other.url(name), timeout=20).status_code == 200, name
    assert other.options.allow_overwrite
    assert DragonbellyManifestStaticStorage().options.location == "static/"

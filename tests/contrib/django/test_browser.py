"""The example in Chromium: a picture goes to the storage server past Django, and is seen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from tests.integration.asking import eventually
from tests.integration.site import Site
from tests.integration.test_embedded import Embedded
from tests.servers.applications import Example
from tests.servers.chromium import Chromium
from tests.servers.nginx import NginxServer

pytestmark = pytest.mark.servers

EXAMPLE = Path(__file__).parents[3] / "examples/django"

FILE, SUBMIT = "input[type=file]", "button"


class Gallery(Example):
    """``ports`` are its own, known before the Dragonbelly that lets its pages upload is there."""

    def __init__(self) -> None:
        super().__init__(EXAMPLE, ["django", "runserver", "--noreload", "127.0.0.1:PORT"], {})
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "gallery.settings",
            "GALLERY_DATABASE": str(self.directory / "gallery.sqlite3"),
            "PYTHONUNBUFFERED": "1",
        }

    def on(self, dragonbelly: str) -> Gallery:
        self.environment["DRAGONBELLY_URL"] = dragonbelly
        self.manage("migrate")
        return self

    def manage(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=EXAMPLE,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | self.environment,
            check=True,
            capture_output=True,
            timeout=60,
        )


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with Chromium() as chromium:
        yield chromium


@pytest.fixture
def gallery() -> Iterator[Gallery]:
    gallery = Gallery()
    yield gallery
    gallery.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """More bytes than Django would take in a request that is no file."""
    path = tmp_path / "Drache grün.jpg"
    Image.frombytes("RGB", (1100, 1000), os.urandom(3_300_000)).save(path, quality=100, subsampling=0)
    assert path.stat().st_size > 3_000_000
    return path


SENT = """
    const sent = performance.getEntriesByType('resource').filter(e => e.initiatorType == 'xmlhttprequest');
    return sent.map(e => e.name);
"""


ASK = "document.querySelector('.dragonbelly-upload').dataset.dragonbellyUpload = arguments[0]"


def add(chromium: Chromium, title: str, file: Path) -> list[str]:
    """Choose, wait until it is there, and send the form; where its bytes went."""
    chromium.type("#id_title", title)
    chromium.choose(FILE, file)
    eventually("it is uploaded", lambda: state(chromium) == "Uploaded.", evidence=lambda: evidence(chromium))
    sent: list[str] = chromium.run(SENT)
    chromium.click(SUBMIT)
    return sent


def state(chromium: Chromium) -> Any:
    return chromium.run("return document.querySelector('output')?.textContent")


def evidence(chromium: Chromium) -> str:
    return f"{state(chromium)}\n{chromium.said()}\n{chromium.run('return document.body.innerHTML')[:3000]}"


def width(chromium: Chromium, title: str) -> Any:
    return chromium.run(
        "return [...document.images].find(i => i.alt == arguments[0] && i.complete)?.naturalWidth", title
    )


def seen(chromium: Chromium, title: str) -> None:
    eventually(
        "the picture is seen", lambda: width(chromium, title) == 1100, evidence=lambda: evidence(chromium)
    )


def test_past_django_to_nginx(chromium: Chromium, gallery: Gallery, picture: Path) -> None:
    stores = {name: NginxServer(origin=gallery.url) for name in ("one", "two", "three")}
    with Site(stores=stores) as site, gallery.on(site.daemon.url):
        chromium.open(gallery.url)
        assert chromium.run("return document.querySelector('form').enctype") != "multipart/form-data"
        (target,) = add(chromium, "nginx", picture)
        seen(chromium, "nginx")
        (file,) = site.files()
        assert re.fullmatch(r"photos/20\d\d/\d\d/Drache_grün_\w{7}\.jpg", file["path"])
        assert site.get(file["path"]) == picture.read_bytes()
        # By the storage server's log the browser brought it.
        store = stores[site.store_of(target)]
        puts = [line for line in store.requests() if '"PUT ' in line and "Chrome/" in line]
        assert len(puts) == 1
        assert '" 201 ' in puts[0] and f"PUT {urlsplit(target).path}" in puts[0]
        site.copied(file["path"])


def test_a_server_that_fails_and_the_original(chromium: Chromium, gallery: Gallery, picture: Path) -> None:
    """The first target takes nothing from this page: the next one does."""
    stores = {name: NginxServer(origin=gallery.url) for name in ("one", "two")}
    stores["three"] = NginxServer(origin="http://elsewhere.example.com")
    weights = f'[backend.three]\nkind = "dav"\nweight = 1000000.0\n{stores["three"].options_in_toml}'
    with Site(weights, stores=stores) as site, gallery.on(site.daemon.url):
        chromium.open(gallery.url)
        sent = add(chromium, "second", picture)
        assert any("OPTIONS " in line for line in stores["three"].requests())
        assert not any("PUT " in line and "Chrome/" in line for line in stores["three"].requests())
        assert site.store_of(sent[-1]) != "three"
        seen(chromium, "second")
        gallery.environment["DJANGO_SUPERUSER_PASSWORD"] = "dragon"
        gallery.manage("createsuperuser", "--noinput", "--username", "ann", "--email", "ann@example.com")
        chromium.click("li a")
        eventually("the door", lambda: "/accounts/login/" in chromium.url)
        chromium.type("[name=username]", "ann")
        chromium.type("[name=password]", "dragon")
        chromium.click("button")
        eventually(
            "the original",
            lambda: urlsplit(chromium.url).netloc != urlsplit(gallery.url).netloc,
            evidence=lambda: f"{chromium.url} {evidence(chromium)}\n{gallery.log()}",
        )
        assert "/photos/" in chromium.url
        assert chromium.run("return document.images[0].naturalWidth") == 1100


def test_without_a_configuration(chromium: Chromium, gallery: Gallery, picture: Path, tmp_path: Path) -> None:
    """As the README says: ``make run ARGS="--origin …"``; what is refused is told, and the next is taken."""
    bad = tmp_path / "page.html"
    bad.write_text("<script>")
    with Embedded(tmp_path / "data", "--origin", gallery.url) as daemon, gallery.on(daemon.url):
        chromium.open(gallery.url)
        chromium.choose(FILE, bad)
        eventually("it is refused", lambda: "Files of this kind are not allowed" in state(chromium))
        assert chromium.run("return document.querySelector('input[type=hidden][name=image]').value") == ""
        # A session that is over: whoever guards the view sends to the login.
        chromium.run(ASK, "/photos/1/original")
        chromium.choose(FILE, picture)
        eventually("it is told", lambda: "The upload failed: you must log in again" in state(chromium))
        chromium.run(ASK, "/upload")
        chromium.type("#id_title", "nodes")
        chromium.choose(FILE, picture)
        chromium.click(SUBMIT)  # at once: the form waits for its file
        seen(chromium, "nodes")
        assert chromium.run("return document.querySelectorAll('li').length") == 1

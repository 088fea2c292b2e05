"""Django with a site for its files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings

from dragonbelly.contrib.django import DragonbellyStorage
from tests.integration.site import Site

STORAGE = "dragonbelly.contrib.django.DragonbellyStorage"
DIRECTORY = tempfile.TemporaryDirectory(prefix="dragonbelly-django-")  # gone when Python ends
DATABASE = Path(DIRECTORY.name) / "db.sqlite3"

settings.configure(
    SECRET_KEY="of the tests",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.staticfiles",
        "dragonbelly.contrib.django",
        "tests.contrib.django",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}},
    STORAGES={
        "default": {"BACKEND": STORAGE},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    },
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    ROOT_URLCONF="tests.contrib.django.urls",
    STATIC_URL="/static/",
    MEDIA_URL="/media/",
    LOGGING_CONFIG=None,
    TIME_ZONE="Asia/Kolkata",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with Site('[upload]\nlapse = "60s"\nmax_size = "10MiB"\n') as site:
        yield site


@pytest.fixture(scope="session")
def database() -> Iterator[None]:
    call_command("migrate", run_syncdb=True, verbosity=0)
    yield
    from django.db import connections

    connections.close_all()


@pytest.fixture(autouse=True)
def configured(site: Site) -> Iterator[None]:
    """The settings as a project has them."""
    with override_settings(
        DRAGONBELLY={"url": site.daemon.url},
        STORAGES=dict(settings.STORAGES),  # made anew
    ):
        yield


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A directory for the files of one test."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name).strip("-")


@pytest.fixture
def storage(name: str) -> DragonbellyStorage:
    return DragonbellyStorage(location=name)

"""``manage.py check`` says what is wrong with the settings; it asks no server."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.http import HttpRequest
from django.test import override_settings

from tests.contrib.django.conftest import STORAGE
from tests.servers.ports import free_port

pytestmark = pytest.mark.servers

MIDDLEWARE = ["dragonbelly.contrib.django.DragonbellyMiddleware"]
STATIC = "dragonbelly.contrib.django.DragonbellyManifestStaticStorage"
MEMORY = "django.core.files.storage.InMemoryStorage"
ALLOW = f"{__name__}.may_read"


def may_read(request: HttpRequest, name: str) -> bool:
    return True


def said(default: dict[str, Any] | None = None, static: dict[str, Any] | None = None, **more: Any) -> list[str]:
    """The checks' words on settings with these ``OPTIONS``."""
    chosen: dict[str, Any] = {
        "MIDDLEWARE": MIDDLEWARE,
        "DRAGONBELLY": {"url": f"http://127.0.0.1:{free_port()}", "retries": 0},  # nobody is there
        "STORAGES": {
            "default": {"BACKEND": STORAGE, "OPTIONS": default or {}},
            "staticfiles": {"BACKEND": STATIC, "OPTIONS": static or {}},
        },
    }
    with override_settings(**{**chosen, **more}):
        return [f"{one.id} {one.msg}" for one in run_checks()]


def test_what_is_right() -> None:
    assert said() == []
    assert said({"location": "a", "base_url": "/media/"}, DRAGONBELLY={"url": "http://a", "allow": ALLOW}) == []
    assert said({"url": "http://a"}, {"url": "http://a"}, MIDDLEWARE=[], DRAGONBELLY={}) == []


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"default": {"urll": "x"}}, "E001 STORAGES['default']: Dragonbelly has no option 'urll'"),
        ({"static": {"copies": "3"}}, "E001 STORAGES['staticfiles']: Dragonbelly's copies: expected a number"),
        ({"DRAGONBELLY": "http://a"}, "E001 STORAGES['default']: DRAGONBELLY: expected a dict"),
        (
            {"default": {"url": "http://a"}, "static": {"url": "http://a"}, "DRAGONBELLY": {"alow": ALLOW}},
            "E001 STORAGES['default']: Dragonbelly has no option 'alow'",
        ),
        (
            {"DRAGONBELLY": {"url": "http://a", "allow": "nowhere.at_all"}},
            "E002 DRAGONBELLY['allow']: expected the dotted path of a function",
        ),
        (
            {"DRAGONBELLY": {}, "STORAGES": settings.STORAGES | {"default": {"BACKEND": MEMORY}}},
            "E002 Dragonbelly needs a url: DRAGONBELLY = ",
        ),
        (
            {"DRAGONBELLY": {"url": "http://a", "allow": ALLOW}, "MIDDLEWARE": []},
            "W001 DRAGONBELLY['allow'] is never asked: DragonbellyMiddleware is not in MIDDLEWARE",
        ),
        (
            {"DRAGONBELLY": {"url": "http://a", "allow": ALLOW}, "MEDIA_URL": ""},
            "W002 DRAGONBELLY['allow'] is never asked: MEDIA_URL is",
        ),
        (
            {"DRAGONBELLY": {"url": "http://a", "allow": ALLOW, "location": "x"}},
            "W003 The URLs of the default storage begin with 'http://a/x/'",
        ),
    ],
)
def test_mistakes(more: dict[str, Any], expected: str) -> None:
    assert said(**more)[0].startswith(f"dragonbelly.{expected}")


def test_manage_py_check() -> None:
    with override_settings(DRAGONBELLY={}), pytest.raises(SystemCheckError, match=r"\(dragonbelly.E001\)"):
        call_command("check", stdout=io.StringIO(), stderr=io.StringIO())

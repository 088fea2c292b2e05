"""
What ``manage.py check`` says of the settings, before a request does.  No server is asked: checks run with each
command, and where images are built there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.staticfiles.storage import ManifestFilesMixin
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InMemoryStorage, default_storage
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from dragonbelly.contrib.django.middleware import DragonbellyMiddleware, media_prefix
from dragonbelly.contrib.django.storage import DragonbellyStorage


def check_settings(**_: Any) -> list[CheckMessage]:
    """Errors of ``STORAGES`` and the middleware; warnings of an ``allow`` that guards nothing."""
    return [*_of_storages()] or [*_of_the_middleware()]


def _of_storages() -> Iterator[CheckMessage]:
    for alias, chosen in settings.STORAGES.items():
        kind = _imported(chosen.get("BACKEND"))
        if not issubclass(kind, DragonbellyStorage):
            continue
        options = dict(chosen.get("OPTIONS") or {})
        if issubclass(kind, ManifestFilesMixin):
            options["manifest_storage"] = InMemoryStorage()  # else it would be fetched
        try:
            kind(**options)
        except ImproperlyConfigured as error:
            yield Error(f"STORAGES[{alias!r}]: {error}", id="dragonbelly.E001")


def _of_the_middleware() -> Iterator[CheckMessage]:
    kinds = [kind for kind in map(_imported, settings.MIDDLEWARE) if issubclass(kind, DragonbellyMiddleware)]
    for kind in kinds:
        try:
            kind(_nobody)
        except ImproperlyConfigured as error:
            yield Error(str(error), id="dragonbelly.E002")
            return
    if not getattr(settings, "DRAGONBELLY", {}).get("allow"):
        return
    prefix = media_prefix()
    if not kinds:
        yield Warning(
            "DRAGONBELLY['allow'] is never asked: DragonbellyMiddleware is not in MIDDLEWARE.",
            id="dragonbelly.W001",
        )
    elif prefix is None:
        yield Warning(
            f"DRAGONBELLY['allow'] is never asked: MEDIA_URL is {settings.MEDIA_URL!r}.",
            hint="Give it a path of this site, such as '/media/'.",
            id="dragonbelly.W002",
        )
    elif isinstance(default_storage, DragonbellyStorage) and not _leads_under(default_storage, prefix):
        yield Warning(
            f"The URLs of the default storage begin with {default_storage.options.base!r}: "
            "those who follow them pass DRAGONBELLY['allow'] by.",
            hint=f"Give the storage the option base_url: {prefix!r}, as MEDIA_URL is.",
            id="dragonbelly.W003",
        )


def _leads_under(storage: DragonbellyStorage, prefix: str) -> bool:
    return urlsplit(storage.options.base_url or "").path.startswith(prefix)


def _nobody(request: HttpRequest) -> HttpResponse:
    raise AssertionError("a check sends no requests")


def _imported(name: Any) -> type:
    """What has this name in the settings; what is no class there is Django's affair, and none of ours."""
    try:
        found = import_string(name)
    except (ImportError, TypeError, AttributeError):
        return object
    return found if isinstance(found, type) else object

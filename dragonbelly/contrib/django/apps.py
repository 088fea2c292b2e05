"""For ``INSTALLED_APPS``: the field for direct uploads needs its template and its script."""

from __future__ import annotations

from django.apps import AppConfig


class DragonbellyConfig(AppConfig):
    name = "dragonbelly.contrib.django"
    label = "dragonbelly"
    verbose_name = "Dragonbelly"

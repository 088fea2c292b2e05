"""For ``INSTALLED_APPS``: the template and the script of direct uploads, and what ``manage.py check`` says."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import Tags, register


class DragonbellyConfig(AppConfig):
    name = "dragonbelly.contrib.django"
    label = "dragonbelly"
    verbose_name = "Dragonbelly"

    def ready(self) -> None:
        from dragonbelly.contrib.django.checks import check_settings  # views that it leads to need the apps

        register(check_settings, Tags.files)

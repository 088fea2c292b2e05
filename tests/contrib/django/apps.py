"""The tests as an application."""

from __future__ import annotations

from django.apps import AppConfig


class TestsConfig(AppConfig):
    name = "tests.contrib.django"
    label = "django_tests"

"""A model with files."""

from __future__ import annotations

from django.db import models


class Picture(models.Model):
    class Meta:
        app_label = "django_tests"

    image = models.ImageField(upload_to="pictures/%Y", width_field="width", height_field="height")
    paper = models.FileField(upload_to="papers", blank=True, max_length=60)
    width = models.IntegerField(null=True)
    height = models.IntegerField(null=True)

"""Models whose files are on Dragonbelly."""

from __future__ import annotations

import io
from typing import Any

import pytest
import requests
from django import forms
from django.core.files.base import ContentFile
from django.core.files.images import ImageFile
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from tests.contrib.django.models import Picture

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("database")]


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, "PNG")
    return file.getvalue()


class PictureForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Picture
        fields = ("image", "paper")


def test_a_form_with_an_image_and_a_file(name: str) -> None:
    image, paper = png(30, 20), b"%PDF" * 100_000  # the one in memory, the other in a temporary file
    form = PictureForm(
        {},
        {
            "image": SimpleUploadedFile(f"{name} ä.png", image, "image/png"),
            "paper": SimpleUploadedFile("a.pdf", paper),
        },
    )
    assert form.is_valid(), form.errors
    form.save()
    picture = Picture.objects.get(pk=form.instance.pk)
    assert picture.image.name.startswith("pictures/20") and picture.image.name.endswith("ä.png")
    assert (picture.width, picture.height) == (picture.image.width, picture.image.height) == (30, 20)
    assert (picture.image.size, picture.paper.size) == (len(image), len(paper))
    assert requests.get(picture.image.url, timeout=20).content == image
    with picture.paper.open() as file:
        assert file.read() == paper
    with picture.paper.open() as file:  # the same object, once more
        assert b"".join(file.chunks()) == paper
    with picture.image.open() as file:
        assert Image.open(file).size == (30, 20)


def test_a_file_is_saved_replaced_copied_and_deleted() -> None:
    picture = Picture()
    picture.image = ImageFile(io.BytesIO(png(1, 2)), name="a.png")
    picture.save()
    first = picture.image.name
    picture.image.save("a.png", ContentFile(png(3, 4)))
    assert picture.image.name != first
    assert (picture.image.width, picture.image.height) == (3, 4)
    storage = picture.image.storage
    other = Picture(image=first)
    with picture.image.open() as file:
        other.paper.save("copy.png", file)
    assert storage.open(other.paper.name).read() == png(3, 4)
    gone = picture.image.name
    picture.image.delete()
    assert not storage.exists(gone)
    assert storage.exists(first) and storage.exists(other.paper.name)


def test_a_long_name_is_cut() -> None:
    picture: Any = Picture()
    for _ in range(2):
        picture.paper.save("n" * 200 + ".txt", ContentFile(b"x"), save=False)
        assert len(picture.paper.name) <= 60
        assert picture.paper.name.endswith(".txt")


def test_what_is_no_picture_is_refused() -> None:
    form = PictureForm({}, {"image": SimpleUploadedFile("a.png", b"no picture")})
    assert not form.is_valid()
    assert "image" in form.errors

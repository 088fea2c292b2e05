"""A form's field for a file that the browser has uploaded by itself."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.utils.translation import gettext_lazy as _

from dragonbelly.contrib.django.uploads import Refused, Result, read_result


class DirectFileInput(forms.Widget):
    """
    A file input whose file goes to a storage server, with progress; what is sent with the form is the signed
    result.  The page needs ``{{ form.media }}``.
    """

    template_name = "dragonbelly/direct_file.html"
    needs_multipart_form = False

    class Media:
        js = ("dragonbelly/direct-upload.js",)

    def __init__(self, attrs: dict[str, Any] | None = None, upload: str = "") -> None:
        super().__init__(attrs)
        self.upload = upload

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        at = resolve_url(self.upload)
        result = _known(value, at)
        context["widget"].update(
            upload=at,
            value=value if result is not None else None,
            done=result.name.rpartition("/")[2] if result is not None else None,
            stored=value if getattr(value, "url", None) else None,
            texts={
                "busy": _("Uploading…"),
                "done": _("Uploaded."),
                "failed": _("The upload failed:"),
                "unreachable": _("no server could be reached."),
                "login": _("you must log in again: reload the page."),
            },
        )
        if result is not None:
            context["widget"]["attrs"].pop("required", None)
        return context

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        return data.get(name) or None

    def use_required_attribute(self, initial: Any) -> bool:
        return super().use_required_attribute(initial) and not initial


class DirectFileField(forms.FileField):
    """
    Gives the name of the uploaded file, to be stored in a ``FileField`` of a model; its bytes are not looked
    at.

    ``upload`` is the view made by ``direct_upload``: its name, or its path.  With ``request`` set, in the
    form's ``__init__`` say, only what the same user or session uploaded is taken.
    """

    widget = DirectFileInput

    def __init__(self, *, upload: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.upload = upload
        self.request: HttpRequest | None = None
        if isinstance(self.widget, DirectFileInput):
            self.widget.upload = upload

    def bound_data(self, data: Any, initial: Any) -> Any:
        return data or initial  # a form with another mistake keeps the file

    def to_python(self, data: Any) -> Any:
        if data in self.empty_values:
            return None
        try:
            result = read_result(str(data), resolve_url(self.upload), self.request)
        except Refused as refused:
            raise ValidationError(str(refused), code="invalid") from None
        if self.max_length is not None and len(result.name) > self.max_length:
            params = {"max": self.max_length, "length": len(result.name)}
            raise ValidationError(self.error_messages["max_length"], code="max_length", params=params)
        return _Uploaded(result)

    def clean(self, data: Any, initial: Any = None) -> Any:
        value = super().clean(data, initial)
        return value.name if isinstance(value, _Uploaded) else value


class _Uploaded:
    """What the validators of files look at."""

    def __init__(self, result: Result) -> None:
        self.name = result.name
        self.size = result.size


def _known(value: Any, at: str) -> Result | None:
    if not isinstance(value, str):
        return None
    try:
        return read_result(value, at)
    except Refused:
        return None

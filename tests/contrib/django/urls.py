"""Views that guard files."""

from __future__ import annotations

import io
from typing import Any

from django.core.files.storage import storages
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from dragonbelly.contrib.django import redirect_to
from tests.contrib.django.models import Picture


def guarded(request: HttpRequest) -> HttpResponse:
    response = redirect_to(request.GET["path"])
    response.set_cookie("seen", "yes")
    return response


async def guarded_async(request: HttpRequest) -> HttpResponse:
    return redirect_to(request.GET["path"])


def of_a_model(request: HttpRequest) -> HttpResponse:
    return redirect_to(Picture(paper=request.GET["name"]).paper)


class Watched(io.BytesIO):
    """``closed_ones`` counts those that were."""

    closed_ones = 0

    def close(self) -> None:
        if not self.closed:
            Watched.closed_ones += 1
        super().close()


def with_a_body(request: HttpRequest) -> Any:
    return FileResponse(Watched(b"secret"), filename="a.txt", headers={"X-Dragonbelly-Redirect": "a.txt"})


def streamed(request: HttpRequest) -> Any:
    return StreamingHttpResponse(iter([b"a", b"b"]), headers={"ETag": '"x"'})


def as_it_is(request: HttpRequest) -> HttpResponse:
    return HttpResponse(
        b"secret",
        status=int(request.GET.get("status", "200")),
        headers={"X-Dragonbelly-Redirect": request.GET["path"]},
    )


def saved(request: HttpRequest) -> HttpResponse:
    return HttpResponse(storages["default"].save(request.GET["name"], request.FILES["file"]))


urlpatterns = [
    path("guarded", guarded),
    path("guarded-async", guarded_async),
    path("of-a-model", of_a_model),
    path("with-a-body", with_a_body),
    path("streamed", streamed),
    path("as-it-is", as_it_is),
    path("saved", saved),
]

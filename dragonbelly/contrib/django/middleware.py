"""Redirects to files: a thin layer on ``dragonbelly.contrib.redirects``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import get_script_prefix
from django.utils.module_loading import import_string

from dragonbelly.contrib.django.options import Options
from dragonbelly.contrib.django.storage import DragonbellyStorage
from dragonbelly.contrib.redirects import HEADER, Answer, Redirects, header_value
from dragonbelly.errors import ConfigError

Verdict = bool | HttpResponseBase
Allow = Callable[[HttpRequest, str], Verdict | Awaitable[Verdict]]


class DragonbellyMiddleware:
    """
    A request under ``MEDIA_URL`` is answered with a redirect to the file of the default storage, if
    ``DRAGONBELLY["allow"]`` says so: the dotted path of a function of the request and the file's name that
    gives True, False (403) or a response, and may be async.  Without it all may read.

    A response of a view with the header ``X-Dragonbelly-Redirect`` becomes a redirect to that file.

    Its place is below the middlewares that ``allow`` and the views need, such as those of sessions and users.

    :raises ImproperlyConfigured: the settings do not say where the files are, or nothing can be called there.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        storage = _ours(default_storage)
        self._options = Options.of_settings({}) if storage is None else storage.options
        self._allow = _allow()
        self._made(None)  # a mistake shows at the start

    def __call__(self, request: HttpRequest) -> Any:
        if self._is_async:
            return self._answer_async(request)
        found = self._found(request)
        if isinstance(found, str):
            verdict = True if self._allow is None else self._sync_allow(request, found)
            found = self._judged(request, found, verdict)
        if found is None:
            found = self.get_response(request)
        return self._finished(request, found)

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        found = self._found(request)
        if isinstance(found, str):
            verdict = True if self._allow is None else await self._async_allow(request, found)
            found = self._judged(request, found, verdict)
        if found is None:
            found = await self.get_response(request)
        return self._finished(request, found)

    # --- requests

    @cached_property
    def _redirects(self) -> Redirects:
        # Not before the first request: who mounts the application is not known earlier, and MEDIA_URL, once
        # read, stays what it is.
        return self._made(media_prefix())

    def _made(self, prefix: str | None, options: Options | None = None) -> Redirects:
        options = options or self._options
        try:
            return Redirects(options.public, prefix=prefix, locate=options.signer)
        except ConfigError as error:
            raise ImproperlyConfigured(f"DragonbellyMiddleware: {error}") from None

    def _found(self, request: HttpRequest) -> str | HttpResponseBase | None:
        """The name of the file that is asked for; None: the request is for the views."""
        assert request.method is not None
        found = self._redirects.for_request(request.method, *_path(request))
        return _response(found) if isinstance(found, Answer) else found

    def _judged(self, request: HttpRequest, name: str, verdict: object) -> HttpResponseBase:
        assert request.method is not None
        if verdict is True:
            path = self._options.location + name
            return _response(self._redirects.redirect(request.method, path, guarded=self._allow is not None))
        if verdict is False:
            return _response(self._redirects.forbidden(request.method))
        if isinstance(verdict, HttpResponseBase):
            return verdict
        raise TypeError(f"DRAGONBELLY['allow']: expected True, False or a response, found {verdict!r}")

    @cached_property
    def _sync_allow(self) -> Callable[[HttpRequest, str], Any]:
        assert self._allow is not None
        return async_to_sync(self._allow) if iscoroutinefunction(self._allow) else self._allow

    @cached_property
    def _async_allow(self) -> Callable[[HttpRequest, str], Awaitable[Any]]:
        assert self._allow is not None
        # In a thread: it may ask the database.
        return self._allow if iscoroutinefunction(self._allow) else sync_to_async(self._allow)

    # --- responses

    def _finished(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if HEADER not in response.headers:
            return response
        assert request.method is not None
        redirects = self._redirects
        if isinstance(response, RedirectTo) and response.options is not None:
            redirects = self._made(None, response.options)
        answer = redirects.for_response(request.method, response.status_code, [*response.items()])
        if answer is None:
            del response.headers[HEADER]
            return response
        redirect = _response(answer)
        redirect.cookies = response.cookies
        # What the view opened is closed when the redirect is.
        redirect._resource_closers.extend(response._resource_closers)  # type: ignore[attr-defined]
        return redirect


class RedirectTo(HttpResponse):
    """``options`` are those of the storage that has the file; None: of the default one."""

    def __init__(self, path: str, options: Options | None = None) -> None:
        super().__init__(headers={HEADER: header_value(path)})
        self.options = options


def redirect_to(file: File[Any] | str) -> RedirectTo:
    """
    What a view returns that says yes: the middleware makes it a redirect to the file.

    ``file`` is that of a model, in any ``DragonbellyStorage``, or the path of one in the domain of the default
    storage.

    :raises ValueError: the model has no file, or it is in another storage.
    :raises BadPath: no file can have this path.
    """
    if isinstance(file, str):
        return RedirectTo(file)
    storage = _ours(getattr(file, "storage", None))
    if storage is None:
        raise ValueError(f"{file!r} is not in a DragonbellyStorage")
    if not file.name:
        raise ValueError("there is no file to redirect to")
    return RedirectTo(storage.path_of(file.name), storage.options)


def media_prefix() -> str | None:
    """``MEDIA_URL``, where requests are for files; None: it is empty, all of the site, or of another host."""
    url = settings.MEDIA_URL
    under = url.startswith("/") and not url.startswith("//") and url not in ("/", get_script_prefix())
    return url if under else None


def _ours(storage: Any) -> DragonbellyStorage | None:
    return storage if isinstance(storage, DragonbellyStorage) else None


def _allow() -> Allow | None:
    name = getattr(settings, "DRAGONBELLY", {}).get("allow")
    if name is None:
        return None
    expected = "DRAGONBELLY['allow']: expected the dotted path of a function such as 'gallery.views.may_read'"
    if not isinstance(name, str):
        raise ImproperlyConfigured(f"{expected}, found {name!r}")
    try:
        allow = import_string(name)
    except ImportError as error:
        raise ImproperlyConfigured(f"{expected}, found {name!r}: {error}") from error
    if not callable(allow):
        raise ImproperlyConfigured(f"{expected}, found {name!r}, which cannot be called")
    return allow  # type: ignore[no-any-return]


def _path(request: HttpRequest) -> tuple[str, bytes | None]:
    """The path with that of the application in front, as ``MEDIA_URL`` has it; and as the client sent it."""
    return request.path, getattr(request, "scope", {}).get("raw_path")


def _response(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))

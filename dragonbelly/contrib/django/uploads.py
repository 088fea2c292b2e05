"""
Uploads straight from browsers to storage servers: Django says where to and signs for it, and is told when it is
done.  The bytes pass it by.

What a browser holds meanwhile is signed: nobody chooses a path, completes another's upload, or puts a file into
a form that was uploaded for another one.
"""

from __future__ import annotations

import json
import logging
import pathlib
import posixpath
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from django.core import signing
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.storage import storages
from django.core.files.utils import validate_file_name
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST

from dragonbelly.client import errors
from dragonbelly.client.blocking import run
from dragonbelly.contrib.django.storage import DragonbellyStorage

#: Seconds in which a form with an uploaded file must be sent.
RESULT_AGE = 24 * 3600

#: Seconds that one request waits for the file to be there; the browser asks again.
WAIT = 20.0

#: What the name of a file in a model may be long, unless its field says otherwise.
MAX_LENGTH = 100

_UPLOAD, _RESULT, _SESSION = (f"dragonbelly.contrib.django.{what}" for what in ("upload", "result", "session"))

_log = logging.getLogger(__name__)

UploadTo = str | Callable[[HttpRequest, str], str]


class Result(NamedTuple):
    """A file that was uploaded: its name in the storage and its size in bytes."""

    name: str
    size: int


class Refused(Exception):
    """Why an upload, or its result, is not taken; for those who use the page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def direct_upload(
    upload_to: UploadTo = "",
    *,
    storage: str = "default",
    max_size: int | None = None,
    allowed_extensions: Collection[str] | None = None,
    max_length: int = MAX_LENGTH,
) -> Callable[[HttpRequest], HttpResponse]:
    """
    A view for the script of ``DirectFileField``; who may use it is said by decorators, such as
    ``login_required``.  It is protected against CSRF.

    :param upload_to: as of a model's field; a function is called with the request and the file's name.
    :param storage: its alias in ``STORAGES``.
    :param max_size: bytes that a file may have.
    :param allowed_extensions: as ``FileExtensionValidator`` has them: ``("jpg", "png")``.
    """

    @csrf_protect
    @require_POST
    def view(request: HttpRequest) -> HttpResponse:
        try:
            asked = _asked(request)
            if "complete" in asked:
                return complete_upload(request, asked["complete"])
            if "abort" in asked:
                return abort_upload(request, asked["abort"])
            return begin_upload(
                request,
                asked.get("name"),
                asked.get("size"),
                upload_to=upload_to,
                storage=storage,
                max_size=max_size,
                allowed_extensions=allowed_extensions,
                max_length=max_length,
            )
        except Refused as refused:
            return JsonResponse({"error": str(refused)}, status=refused.status)

    return view


def begin_upload(
    request: HttpRequest,
    name: object,
    size: object,
    *,
    upload_to: UploadTo = "",
    storage: str = "default",
    max_size: int | None = None,
    allowed_extensions: Collection[str] | None = None,
    max_length: int = MAX_LENGTH,
) -> JsonResponse:
    """
    Where the file with this name, as the browser tells it, may go: ``targets`` with ``method``, ``url`` and
    ``headers``, best first, and the signed ``upload`` with which it is completed.

    :raises Refused:
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise Refused(400, _("The upload has no size."))
    if max_size is not None and size > max_size:
        text = _("The file is too large: it has %(size)d bytes, %(most)d are allowed.")
        raise Refused(413, text % {"size": size, "most": max_size})
    ours = _storage(storage)
    chosen = _name(request, name, ours, upload_to, max_length)
    extension = pathlib.PurePath(chosen).suffix[1:].lower()
    if allowed_extensions is not None and extension not in {one.lower() for one in allowed_extensions}:
        text = _("Files of this kind are not allowed; these are: %(allowed)s.")
        raise Refused(400, text % {"allowed": ", ".join(allowed_extensions)})
    path = ours.path_of(chosen)
    wanted = {"path": path, "size": size, "create_only": True, **ours.asked_of(path)}
    with _refusing():
        begun = run(ours.client.core.begin({key: value for key, value in wanted.items() if value is not None}))
    upload = {
        "name": chosen,
        "size": size,
        "upload": begun.upload,
        "until": begun.expires.timestamp(),
        "storage": storage,
        "of": _owner(request),
        "at": request.path,
    }
    targets = [
        {"method": target.method, "url": target.url, "headers": target.headers} for target in begun.targets
    ]
    return JsonResponse({"upload": signing.dumps(upload, salt=_UPLOAD), "targets": targets})


def complete_upload(request: HttpRequest, upload: object) -> JsonResponse:
    """
    The bytes of what ``begin_upload`` signed are there: ``result`` is signed, for a ``DirectFileField``.  May
    be asked again when the answer was lost, or 503.

    :raises Refused:
    """
    begun, ours = _begun(request, upload)
    asked = {"size": begun["size"], "copies": ours.options.wait_copies, "wait": WAIT}
    with _refusing():
        run(ours.client.core.complete(ours.path_of(begun["name"]), begun["upload"], **asked))
    result = {key: begun[key] for key in ("name", "size", "of", "at")}
    return JsonResponse(
        {
            "result": signing.dumps(result, salt=_RESULT),
            "name": posixpath.basename(begun["name"]),
            "url": ours.url(begun["name"]),
        }
    )


def abort_upload(request: HttpRequest, upload: object) -> HttpResponse:
    """The upload is not to become a file.  :raises Refused:"""
    begun, ours = _begun(request, upload)
    with _refusing():
        run(ours.client.core.abort(ours.path_of(begun["name"]), begun["upload"]))
    return HttpResponse(status=204)


def read_result(result: str, at: str, request: HttpRequest | None = None) -> Result:
    """
    What ``complete_upload`` signed.

    :param at: the path of the view that the upload went through.
    :param request: who must have uploaded it; None: whoever was given the result.
    :raises Refused: it is none, of another view or user, or too old.
    """
    try:
        signed = signing.loads(result, salt=_RESULT, max_age=RESULT_AGE)
    except signing.SignatureExpired:
        raise Refused(410, _("The file was uploaded too long ago: choose it again.")) from None
    except signing.BadSignature:
        raise Refused(400, _("This is not the result of an upload.")) from None
    if signed["at"] != at or (request is not None and signed["of"] != _owner(request)):
        raise Refused(403, _("This file was uploaded for something else."))
    return Result(signed["name"], signed["size"])


# --- in detail


def _asked(request: HttpRequest) -> dict[str, Any]:
    try:
        asked = json.loads(request.body)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise Refused(400, _("The request is no JSON object."))
    return asked


def _storage(alias: str) -> DragonbellyStorage:
    storage = storages[alias]
    if not isinstance(storage, DragonbellyStorage):
        raise ImproperlyConfigured(
            f"direct uploads need a DragonbellyStorage; STORAGES[{alias!r}] is {type(storage).__qualname__}"
        )
    return storage


def _name(
    request: HttpRequest, name: object, storage: DragonbellyStorage, upload_to: UploadTo, max_length: int
) -> str:
    """A name in the storage that nobody else is given meanwhile; directory and all."""
    if not isinstance(name, str):
        raise Refused(400, _("The upload has no name."))
    try:
        # Only the last segment: the browser says nothing of directories.
        plain = posixpath.basename(name.replace("\\", "/"))
        if callable(upload_to):
            wanted = upload_to(request, plain)
        else:
            wanted = posixpath.join(datetime.now().strftime(str(upload_to)), plain)
        validate_file_name(wanted, allow_relative_path=True)
        directory, file = posixpath.split(storage.generate_filename(wanted))
        extension = "".join(pathlib.PurePath(file).suffixes)
        # Two who upload an IMG_0001.jpg at once would learn at its end that one was in vain.
        other = storage.get_alternative_name(file.removesuffix(extension), extension)
        with _refusing():
            chosen = storage.get_available_name(posixpath.join(directory, other), max_length)
        storage.path_of(chosen)
    except SuspiciousFileOperation:
        raise Refused(400, _("The file's name cannot be used: give it another one.")) from None
    return chosen


def _begun(request: HttpRequest, upload: object) -> tuple[dict[str, Any], DragonbellyStorage]:
    try:
        begun = signing.loads(upload, salt=_UPLOAD) if isinstance(upload, str) else None
    except signing.BadSignature:
        begun = None
    if not isinstance(begun, dict):
        raise Refused(400, _("This is no upload that was begun here."))
    if begun["of"] != _owner(request) or begun["at"] != request.path:
        raise Refused(403, _("This upload is somebody else's."))
    if begun["until"] < time.time():
        raise Refused(410, _("The upload took too long: choose the file again."))
    return begun, _storage(begun["storage"])


def _owner(request: HttpRequest) -> str:
    """Who asks: a user, else a session, which is made if there is none, else nobody in particular."""
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return f"user {user.pk}"
    session = getattr(request, "session", None)
    if session is None:
        return ""
    if session.session_key is None:
        session.create()
    # Scripts of the page read what we sign: not the key itself.
    return "session " + salted_hmac(_SESSION, session.session_key).hexdigest()


@contextmanager
def _refusing() -> Iterator[None]:
    """What the server has against it, for those who use the page."""
    try:
        yield
    except (errors.NotYet, errors.Unavailable) as error:
        _log.warning("upload: %s", error)
        raise Refused(503, _("The storage is not ready: try again.")) from None
    except (errors.Mismatch, errors.Over, errors.NotFound) as error:
        raise Refused(error.status or 410, _("The upload failed: %s") % error) from None
    except errors.PreconditionFailed:
        raise Refused(412, _("Somebody else was faster: choose the file again.")) from None
    except errors.TooLarge as error:
        raise Refused(413, _("The file is too large: %s") % error) from None
    except errors.Error as error:
        _log.error("upload: %s", error)
        raise Refused(502, _("The storage refuses the upload.")) from None

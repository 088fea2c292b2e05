"""What can go wrong for a client, by what it can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Error(Exception):
    """
    Base of all.  ``status`` is the HTTP status, None when there was no answer; ``problem`` what the server
    said, as problem details (RFC 9457), empty when it said nothing of the kind.
    """

    def __init__(
        self, message: str, *, status: int | None = None, problem: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.problem = dict(problem or {})

    def __str__(self) -> str:
        return self.message


class BadRequest(Error, ValueError):
    """The server does not take the path, an attribute, a policy, … that was given: another one is needed."""


class NotFound(Error, FileNotFoundError):
    """There is no such file."""


class PreconditionFailed(Error):
    """``if_none_match`` or ``if_match`` does not hold: somebody else was first."""


class Denied(Error, PermissionError):
    """The server does not let this be done: ``Unauthorized`` or ``Forbidden``."""


class Unauthorized(Denied):
    """It takes a token, and there is none, or one that is not known."""


class Forbidden(Denied):
    """The token is known, and not for this; or a signed URL is not, or not any more."""


class TooLarge(Error):
    """The file is larger than the server takes."""


class Mismatch(Error):
    """What arrived is not what was announced: the file stays what it was."""


class Over(Error):
    """The upload is over: it lapsed, was called off, or the file was deleted meanwhile."""


class NotYet(Error, TimeoutError):
    """The file is there, and has not so many copies within the time given."""


class Unavailable(Error, ConnectionError):
    """No answer, or "not now", as often as it was tried.  ``sent``: it may have been done all the same."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        problem: Mapping[str, Any] | None = None,
        sent: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, problem=problem)
        self.sent = sent
        self.retry_after = retry_after


class UploadFailed(Error):
    """No storage server took the file.  ``causes`` are (server, what it said), in the order they were tried."""

    def __init__(self, message: str, causes: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.causes = causes


class DownloadFailed(Error, OSError):
    """No storage server gave the whole file."""


class WrongBytes(DownloadFailed):
    """What came is not the file: a copy is bad, or something between here and there."""


class Changed(Error):
    """The source gave other bytes, or another number of them, than when it was looked at first."""


class NotDragonbelly(Error):
    """Something answers there that is no Dragonbelly."""


#: By status of the API.
_BY_STATUS: dict[int, type[Error]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: BadRequest,
    409: Mismatch,
    410: Over,
    411: BadRequest,
    412: PreconditionFailed,
    413: TooLarge,
    414: BadRequest,
    421: BadRequest,
    422: BadRequest,
    431: BadRequest,
}


def of_answer(status: int, problem: Mapping[str, Any], retry_after: float | None = None) -> Error:
    """The error of an answer that is not the one hoped for."""
    message = str(problem.get("detail") or problem.get("title") or f"the answer is {status}")
    if field := problem.get("field"):
        message = f"{field}: {message}"
    kind = _BY_STATUS.get(status)
    if kind is not None:
        return kind(message, status=status, problem=problem)
    if status in (429, 500, 502, 503, 504):
        return Unavailable(message, status=status, problem=problem, retry_after=retry_after)
    return Error(message, status=status, problem=problem)

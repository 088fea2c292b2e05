"""
What can go wrong, by meaning.

Every error that reaches a client carries the HTTP status it becomes; it is turned into a response in one
place (``web.site``).  Errors of storage servers tell three answers apart: it is not there, it did not
answer, it refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dragonbelly.interfaces import Snapshot


class DragonbellyError(Exception):
    """Base of all of them."""


# --- what a client is told -------------------------------------------------------------------------------


class ClientError(DragonbellyError):
    """
    An answer that is not what the client asked for.

    ``status`` is the HTTP status, ``title`` the short text of the kind of problem, the message what
    happened this time; ``retry_after`` is in seconds; ``limit`` is the option that set the limit, if it was
    one; ``extra`` goes into the problem details (RFC 9457).
    """

    status = 400
    title = "Bad request"

    def __init__(
        self, detail: str, *, retry_after: int | None = None, limit: str | None = None, **extra: object
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.limit = limit
        self.extra = extra


class BadRequest(ClientError):
    """The request cannot be understood."""


class BadPath(ClientError):
    """A request target that is no path of a file; the message says which rule it breaks."""

    title = "Path refused"


class BadField(ClientError):
    """A value of the wrong type or out of range; ``extra["field"]`` names it."""

    status = 422
    title = "Field refused"


class UnknownDomain(ClientError):
    """No domain has this host."""

    status = 404
    title = "Unknown domain"


class NotFound(ClientError):
    status = 404
    title = "Not found"


class MethodNotAllowed(ClientError):
    status = 405
    title = "Method not allowed"


class LengthRequired(ClientError):
    """
    A PUT without ``Content-Length``.

    Without an announced length nobody can tell a file from what is left of a stream that an HTTP library
    sent twice (it sends nothing the second time, and reports success).
    """

    status = 411
    title = "Length required"


class PreconditionFailed(ClientError):
    status = 412
    title = "Precondition failed"


class TooLarge(ClientError):
    status = 413
    title = "Too large"


class Mismatch(ClientError):
    """An upload that is not what was announced."""

    status = 409
    title = "Upload differs from what was announced"


class NotYet(ClientError):
    """Something has to end first."""

    status = 409
    title = "Not yet"


class Lapsed(ClientError):
    """An upload that can no longer become a file: its deadline passed, it was aborted, or it was refused."""

    status = 410
    title = "Upload is over"


class TooManyRequests(ClientError):
    """One client asks for more than its share; later it may."""

    status = 429
    title = "Too many requests"


class TooManyVersions(ClientError):
    status = 429
    title = "Too many uploads of one path"


class NoBackend(ClientError):
    """No storage server can serve or take this file now."""

    status = 503
    title = "No storage server available"


class NoGoodCopy(ClientError):
    """No copy of the file is known to be good.  Whatever is left of it is kept."""

    status = 503
    title = "No good copy"


class StateUnavailable(ClientError):
    """Redis did not answer.  Says nothing about whether a commit happened: read again."""

    status = 503
    title = "State store unavailable"

    def __init__(self, detail: str, *, retry_after: int | None = 2, **extra: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **extra)


class Unconfirmed(StateUnavailable):
    """
    Redis did it, and fewer replicas than ``[state] ack_replicas`` are known to have it: it may be undone when
    that Redis fails.  Asked again, it may turn out to be done.
    """

    title = "Not confirmed"


# --- storage servers -------------------------------------------------------------------------------------


class BackendError(DragonbellyError):
    """Base of what a backend can answer instead of doing it.  ``reason`` is a short word for metrics."""

    reason = "error"


class NoSuchObject(BackendError):
    """It answered, and there is nothing under that key.  Final."""

    reason = "missing"


class BackendUnavailable(BackendError):
    """It did not answer, or not properly.  Says nothing about the object; worth a retry."""

    reason = "unavailable"


class BackendFull(BackendError):
    """It has no room.  Worth a retry elsewhere."""

    reason = "full"


class BackendRefused(BackendError):
    """It answered that it will not.  A retry of the same call gives the same answer."""

    reason = "refused"


class DigestMismatch(BackendError):
    """The bytes that came are not those of the record: a corrupt source, or a damaged transfer."""

    reason = "digest"


# --- the state store -------------------------------------------------------------------------------------


class Conflict(DragonbellyError):
    """The record is not what the caller read.  ``current`` is what it is."""

    def __init__(self, current: Snapshot) -> None:
        super().__init__("the record changed meanwhile")
        self.current = current


class BadRecord(ClientError):
    """A record that cannot be decoded.  It is left as it is."""

    status = 500
    title = "Damaged record"


class IllegalMove(DragonbellyError):
    """An event that the lifecycle has no move for.  The record stays as it is."""


# --- starting --------------------------------------------------------------------------------------------


class ConfigError(DragonbellyError):
    """Mistakes in the configuration; the message has a line for each, for the operator."""


class StartError(DragonbellyError):
    """Something that keeps the service from starting; the message is one line for the operator."""

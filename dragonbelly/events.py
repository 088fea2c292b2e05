"""
What happens to a file: values that say what was seen or asked, and when (``now``, in unix s).  What becomes of
the record is in ``dragonbelly.lifecycle``.
"""

from __future__ import annotations

import msgspec

from dragonbelly.model import Terms, Upload

# Why an upload was abandoned, where others ask for it.
PRECONDITION = "precondition"
LAPSED = "lapsed"
ABORTED = "aborted"
DELETED = "deleted"
SIZE = "size"
DIGEST = "digest"


class Event(msgspec.Struct, frozen=True):
    """Something that happened at ``now``."""

    now: int


class Accepted(Event, frozen=True):
    """An upload was asked for; ``targets`` are the backends that may get its first copies."""

    id: str
    targets: tuple[str, ...]
    upload: Upload
    content_type: str | None = None
    terms: Terms | None = None


class Verified(Event, frozen=True):
    """A backend was seen to hold the upload, as announced: ``size`` bytes, ``sha256`` if anybody knows."""

    id: str
    backend: str
    size: int
    sha256: bytes | None = None


class Abandoned(Event, frozen=True):
    """The upload came to nothing: it lapsed, was aborted, or was not what was announced."""

    id: str
    reason: str


class Deleted(Event, frozen=True):
    """The file was deleted: ends every version accepted before."""


class Expired(Event, frozen=True):
    """The live version ``id`` came to its end: uploads that were accepted after it go on."""

    id: str


class Changed(Event, frozen=True):
    """The terms of the live version ``id`` were changed."""

    id: str
    terms: Terms | None


class Adopted(Event, frozen=True):
    """
    An object of ``size`` bytes was found that the record does not know: the store has forgotten a write.  It
    becomes what it may have been: an upload that came, to be verified until ``deadline``, or a copy, to be
    checked.
    """

    id: str
    backend: str
    generation: int
    size: int
    deadline: int


class Placed(Event, frozen=True):
    """A copy is to be made there.  Committed before the copy, so that no object is ever without a record."""

    id: str
    backend: str


class ReplicaEvent(Event, frozen=True):
    """Something about one replica; one of another ``generation`` is another object, and not meant."""

    id: str
    backend: str
    generation: int


class Copied(ReplicaEvent, frozen=True):
    """A copy was made and verified; ``sha256`` is of the bytes that went through."""

    sha256: bytes | None


class Found(ReplicaEvent, frozen=True):
    """A doubted or leaving replica turned out to be good, or is needed again."""


class Doubted(ReplicaEvent, frozen=True):
    """A replica's bytes are not those of the record."""


class Lost(ReplicaEvent, frozen=True):
    """A replica is not there (its server says so, or is dead), or has other bytes: ``why``, in words."""

    why: str = "is gone"


class Hashed(ReplicaEvent, frozen=True):
    """The bytes of a good replica were read, and nobody had said yet what their digest is."""

    sha256: bytes


class Leaving(ReplicaEvent, frozen=True):
    """A good replica is surplus: readers are no longer sent there."""


class Refused(ReplicaEvent, frozen=True):
    """The copy that was to be made there never will be; one that is there by now is not meant."""


class Condemned(ReplicaEvent, frozen=True):
    """A replica's object is going to be removed."""


class Removed(ReplicaEvent, frozen=True):
    """
    The object of a replica is gone: of a condemned or lost one, or of any of a version that is over (which
    has no way back, so its replicas are not condemned one by one).
    """


class Tried(Event, frozen=True):
    """A visit of the replicator left something undone."""


class Thin(Event, frozen=True):
    """Whether the live version has fewer good copies than it is owed."""

    thin: bool

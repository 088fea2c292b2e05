"""``POST sign``: a signed URL for those who cannot sign themselves."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from dragonbelly.config.values import Config
from dragonbelly.errors import BadField, NotFound
from dragonbelly.interfaces import IClock
from dragonbelly.model import Path
from dragonbelly.signing import EXPIRES, EXPIRES_MAX, Permission, signed_url, steady
from dragonbelly.web import announced
from dragonbelly.web.asked import Query, decode, file_name
from dragonbelly.web.files import Domains
from dragonbelly.web.guard import Guard
from dragonbelly.web.message import Answer, Question, json_answer


class SignAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST sign``.  ``expires_in`` is in s, at least so many; the rest is for PUT."""

    method: Literal["GET", "PUT"]
    path: str
    expires_in: Annotated[int, msgspec.Meta(ge=1, le=EXPIRES_MAX)] = EXPIRES
    max_size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    content_type: str | None = None


class SignApi:
    """The resource ``sign``.  Whoever may read or write may let somebody else do so."""

    def __init__(self, domains: Domains, guard: Guard, config: Config, clock: IClock) -> None:
        self._domains = domains
        self._guard = guard
        self._keys = config.signing_keys
        self._clock = clock

    def answer(self, question: Question, admin: bool) -> Answer:
        """:raises NotFound: there is no key."""
        query = Query(question, "domain")
        asked = decode(question.body, SignAsked)
        path = Path(self._domains.asked(question, query.text("domain"), admin), file_name(asked.path))
        self._guard.demand(question.caller, "write" if asked.method == "PUT" else "read", path)
        for field in ("max_size", "content_type"):
            if asked.method != "PUT" and getattr(asked, field) is not None:
                raise BadField("this is for PUT", field=field)
        if not self._keys:
            raise NotFound("URLs cannot be signed: the configuration has no [[signing_key]]")
        permission = Permission(
            asked.method,
            path.domain,
            path.name,
            steady(self._clock.seconds(), asked.expires_in),
            asked.max_size,
            announced.content_type(asked.content_type),
        )
        return json_answer(
            {
                "method": asked.method,
                "url": signed_url("", self._keys[0], permission),
                "expires": announced.rfc3339(permission.expires),
            }
        )

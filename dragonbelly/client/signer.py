"""Signed URLs without asking anybody, for those who have a key of the daemons' configuration.  No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable

from dragonbelly.client.address import base_url
from dragonbelly.client.errors import BadRequest
from dragonbelly.errors import BadPath
from dragonbelly.names import check_name
from dragonbelly.signing import (
    EXPIRES,
    EXPIRES_MAX,
    SECRET_MIN,
    Method,
    Permission,
    SigningKey,
    signed_url,
    steady,
)


class Signer:
    """
    ``url`` is the daemons' listener as readers reach it, and ``domain`` what its host's domain is called in
    their configuration (``[domain.NAME]``).  ``key_id`` and ``secret`` are those of a ``[[signing_key]]``.
    URLs are good for ``expires_in`` seconds, unless said otherwise; ``clock`` gives unix seconds.

    ``signer(path)`` is the URL to read a file at, as ``locate`` of ``dragonbelly.contrib.redirects`` wants it.

    :raises ValueError: one of them is wrong; says which.
    """

    def __init__(
        self,
        url: str,
        domain: str,
        key_id: str,
        secret: str,
        *,
        expires_in: int = EXPIRES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url = base_url(url)
        self.domain = domain
        self._key = SigningKey(key_id, secret.encode())
        if len(self._key.secret) < SECRET_MIN:
            raise ValueError(f"the secret of a key has {SECRET_MIN} bytes or more, not {len(self._key.secret)}")
        self._expires_in = _checked(expires_in)
        self._clock = clock

    def __repr__(self) -> str:
        return f"Signer({self.url!r}, {self.domain!r}, {self._key.id!r})"

    def __call__(self, path: str) -> str:
        return self.sign(path)

    def sign(
        self,
        path: str,
        method: Method = "GET",
        *,
        expires_in: int | None = None,
        max_size: int | None = None,
        content_type: str | None = None,
    ) -> str:
        """
        A URL with which anybody may read that file (``GET``, which is HEAD, too), or upload it (``PUT``: at
        most ``max_size`` bytes, and of ``content_type``, where they are given), for ``expires_in`` seconds or
        up to a quarter longer: it stays the same for that quarter, so that browsers may keep what a page shows.

        :raises BadRequest: no file can have this path, or the conditions are not for reading.
        """
        try:
            name = check_name(path.removeprefix("/"))
        except BadPath as error:
            raise BadRequest(f"path: {error}", problem={"field": "path", "detail": str(error)}) from None
        if method not in ("GET", "PUT"):
            raise BadRequest(f"method: GET or PUT was expected, not {method!r}")
        if method == "GET" and (max_size is not None or content_type is not None):
            raise BadRequest("max_size and content_type are for PUT")
        lasts = self._expires_in if expires_in is None else _checked(expires_in)
        expires = steady(self._clock(), lasts)
        permission = Permission(method, self.domain, name, expires, max_size, content_type)
        return signed_url(self.url, self._key, permission)


def _checked(seconds: int) -> int:
    if not 1 <= seconds <= EXPIRES_MAX:
        raise ValueError(f"expires_in: from 1 to {EXPIRES_MAX} seconds (a week) were expected, not {seconds!r}")
    return seconds

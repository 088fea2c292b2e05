"""Who asks: somebody with a token, an operator on a listener that only operators reach, or anybody."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Literal

import msgspec

from dragonbelly.config.values import TokenSection
from dragonbelly.errors import ClientError
from dragonbelly.web.paths import host_name

Scope = Literal["read", "list", "write", "admin"]

#: Methods that change nothing (RFC 9110 section 9.2.1).
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Unauthorized(ClientError):
    """It takes a token, and there is none, or none that is known.  ``challenge`` is ``WWW-Authenticate``."""

    status = 401
    title = "Unauthorized"

    def __init__(self, detail: str, *, scope: Scope | None = None, error: str | None = None) -> None:
        # RFC 6750 section 3
        parts = [f'error="{error}"'] if error is not None else []
        parts += [f'scope="{scope}"'] if scope is not None else []
        super().__init__(detail, scope=scope)
        self.challenge = ", ".join(['Bearer realm="dragonbelly"', *parts])


class Forbidden(ClientError):
    """Whoever asks is known, and may not do this."""

    status = 403
    title = "Forbidden"


class Caller(msgspec.Struct, frozen=True):
    """
    ``token`` is what was shown, None for anybody; ``trusted``: it is an operator, who may do everything;
    ``address`` is where the connection comes from, "" if that has no address.
    """

    token: TokenSection | None = None
    trusted: bool = False
    address: str = ""

    @property
    def name(self) -> str | None:
        """For logs and limits; None for anybody."""
        return self.token.name if self.token is not None else None

    @property
    def is_admin(self) -> bool:
        return self.trusted or (self.token is not None and "admin" in self.token.scopes)


ANYBODY = Caller()


class Callers:
    """
    Tells who asks on one listener.  ``trusted``: whoever reaches it is an operator.

    A browser reaches what its user does, and does what any page asks for.  So a listener that trusts takes no
    name for itself that a page's owner could point at it (DNS rebinding), and what would change something is
    not taken from pages of other sites unless a token came along, which no browser adds by itself.
    """

    def __init__(
        self, tokens: Iterable[TokenSection], *, trusted: bool = False, origins: Iterable[str] = ()
    ) -> None:
        self._tokens = [(bytes.fromhex(token.sha256), token) for token in tokens]
        self._trusted = trusted
        self._origins = frozenset(origins)

    def of(self, method: str, host: bytes, headers: Mapping[str, str], address: str) -> Caller:
        """
        :raises Unauthorized: a token that is not known.
        :raises Forbidden: a page of another site asks.
        """
        authorization = headers.get("authorization")
        if authorization is not None:
            scheme, _, secret = authorization.partition(" ")
            if scheme.lower() == "bearer":
                return Caller(self._token(secret.strip()), self._trusted, address)
        # HTTP/1.0 has no Host, and browsers always send one.
        if self._trusted and host and not is_local(host_name(host)):
            raise Forbidden(
                "this listener is for operators, and takes the names of this machine only: localhost, or an IP "
                "address"
            )
        if method not in SAFE:
            self._refuse_other_sites(host, headers)
        return Caller(None, self._trusted, address)

    def _token(self, secret: str) -> TokenSection:
        shown = sha256(secret.encode()).digest()
        found = None
        for digest, token in self._tokens:
            # All of them, in the same time.
            if hmac.compare_digest(digest, shown):
                found = token
        if found is None:
            raise Unauthorized("this token is not known", error="invalid_token")
        return found

    def _refuse_other_sites(self, host: bytes, headers: Mapping[str, str]) -> None:
        origin = headers.get("origin")
        if origin is not None:
            if origin.partition("://")[2].encode() == host.lower() or origin in self._origins:
                return
            if "*" in self._origins:
                return
        elif headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            return
        raise Forbidden(
            "a page of another site may change nothing here without a token (see [http] origins)"
            if origin is None
            else f"a page of {origin[:100]!r} may change nothing here without a token (see [http] origins)"
        )


def is_local(host: str) -> bool:
    """Whether the ``host_name`` of a request is one that nobody else can give to this machine."""
    name = host.strip("[]")
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

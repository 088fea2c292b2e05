"""Who may do what: rights of everybody, of tokens, and of signed URLs."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from urllib.parse import parse_qsl

from dragonbelly.config.values import Config
from dragonbelly.errors import TooLarge, TooManyRequests
from dragonbelly.interfaces import IClock
from dragonbelly.model import Path
from dragonbelly.signing import BadSignature, Permission, check
from dragonbelly.web.addresses import Addresses
from dragonbelly.web.callers import Caller, Forbidden, Scope, Unauthorized
from dragonbelly.web.message import Question
from dragonbelly.web.throttle import Throttle

#: Bytes of a query that may be a signature's.
QUERY_MAX = 4096


class Guard:
    """One for all listeners; each method returns, or raises what the client is told."""

    def __init__(self, config: Config, clock: IClock) -> None:
        self._domains = config.domains
        self._keys = config.signing_keys
        self._clock = clock
        limits = config.limits
        self._addresses = Addresses(limits.exempt)
        self._writes = Throttle(limits.anonymous_writes, limits.anonymous_burst)

    def demand(self, caller: Caller, scope: Scope, path: Path) -> None:
        """
        ``path`` may be a prefix, for ``list``.

        :raises Unauthorized: it takes a token.
        :raises Forbidden: the token is not good for this.
        :raises TooManyRequests: everybody may, and this one writes too fast.
        """
        if not self.may(caller, scope, path):
            raise self._refusal(caller, scope, path)
        if scope == "write":
            self._slow_down(caller)

    def demand_admin(self, caller: Caller) -> None:
        """:raises Unauthorized, Forbidden: not an operator."""
        if not caller.is_admin:
            raise self._refusal(caller, "admin")

    def read(self, question: Question, path: Path) -> None:
        """GET and HEAD of a file.  :raises Unauthorized, Forbidden: see ``demand``."""
        if "read" in self._domains[path.domain].anonymous:
            return
        if not self.may(question.caller, "read", path) and self._permission(question, path) is None:
            raise self._refusal(question.caller, "read", path)

    def write(self, question: Question, path: Path) -> None:
        """
        PUT of a file.

        :raises Unauthorized, Forbidden, TooManyRequests: see ``demand``.
        :raises TooLarge: it is more than the URL was signed for.
        """
        if self.may(question.caller, "write", path):
            self._slow_down(question.caller)
            return
        permission = self._permission(question, path)
        if permission is None:
            raise self._refusal(question.caller, "write", path)
        most, size = permission.max_size, question.announced
        if most is not None and size is not None and size > most:
            raise TooLarge(f"{size} bytes announced, and the URL is signed for {most} at most", maximum=most)
        content_type = permission.content_type
        if content_type is not None and question.headers.get("content-type") != content_type:
            raise Forbidden(f"the URL is signed for the Content-Type {content_type}")

    def may(self, caller: Caller, scope: Scope, path: Path) -> bool:
        """Whether ``demand`` would let it pass, but for how fast it comes."""
        if caller.is_admin or scope in self._domains[path.domain].anonymous:
            return True
        token = caller.token
        return (
            token is not None
            and scope in token.scopes
            and ("*" in token.domains or path.domain in token.domains)
            and path.name.startswith(token.prefixes)
        )

    def _slow_down(self, caller: Caller) -> None:
        """Who writes without a token, because everybody may, does it at a rate."""
        if caller.token is not None or caller.trusted:
            return
        address = self._addresses.of(caller.address)
        wait = self._writes.take(address, self._clock.seconds()) if address is not None else 0.0
        if wait:
            raise TooManyRequests(
                "too many requests that change something come from this address without a token",
                retry_after=ceil(wait),
                limit="anonymous_writes",
            )

    def _refusal(self, caller: Caller, scope: Scope, path: Path | None = None) -> Unauthorized | Forbidden:
        if caller.token is None:
            return Unauthorized(f"this takes a token with the scope {scope}", scope=scope)
        token = caller.token
        if scope not in token.scopes or path is None:
            return Forbidden(f"the token {token.name} lacks the scope {scope}", scope=scope)
        if not ("*" in token.domains or path.domain in token.domains):
            return Forbidden(f"the token {token.name} is not for the domain {path.domain}", scope=scope)
        allowed = ", ".join(token.prefixes)
        return Forbidden(f"the token {token.name} is for paths that begin with {allowed}", scope=scope)

    def _permission(self, question: Question, path: Path) -> Permission | None:
        return self.permission(question.method, path, question.target.query)

    def permission(self, method: str, path: Path, query: bytes | None) -> Permission | None:
        """What a URL with this query is signed for, None if it is not.  :raises Forbidden: not for this."""
        if not query or b"signature=" not in query:
            return None
        try:
            return check(self._keys, method, path.domain, path.name, _parameters(query), self._clock.seconds())
        except BadSignature as error:
            raise Forbidden(str(error)) from None


def _parameters(query: bytes) -> Mapping[str, str]:
    """:raises BadSignature: a parameter is there twice, or cannot be read."""
    if len(query) > QUERY_MAX:
        raise BadSignature("the query is too long")
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except (UnicodeDecodeError, ValueError):
        raise BadSignature("the query cannot be understood") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise BadSignature("a parameter is there twice")
    return parameters

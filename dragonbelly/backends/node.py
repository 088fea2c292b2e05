"""
``node``: our own small storage server as a backend.

Everything but reading a public node is signed with the secret that the node has too; see ``node.signature``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import msgspec
from twisted.internet.defer import Deferred
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from dragonbelly.backends.http import Answer, HttpBackend
from dragonbelly.digests import of_repr_digest
from dragonbelly.errors import BackendUnavailable, NoSuchObject
from dragonbelly.interfaces import IBackend, IBackendFactory, IObjectBody
from dragonbelly.keys import is_key, quoted
from dragonbelly.model import ObjectStat, Space, StoredKey, Target
from dragonbelly.node.listing import Page
from dragonbelly.node.media import acceptable
from dragonbelly.node.signature import KEYS, SPACE, sign
from dragonbelly.secret import Secret
from dragonbelly.signing import steady
from dragonbelly.units import Interval

#: Keys that are asked for at a time.
PAGE = 1000

T = TypeVar("T")


class NodeOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    ``url`` is what clients are sent to, ``internal_url`` what the daemon talks to (``url`` unless set).

    ``secret`` is the node's; so is ``private``: whether reading needs a signature too.  A signed URL is good
    for ``link_expires`` at least, unless it is of a private domain.
    """

    url: str
    secret: Secret
    internal_url: str | None = None
    private: bool = False
    link_expires: Interval = Interval(3600)


@implementer(IBackend)
class NodeBackend(HttpBackend):
    """:raises ConfigError: a URL is none."""

    def __init__(self, name: str, options: NodeOptions, reactor: Any, **timeouts: float) -> None:
        super().__init__(name, reactor, options.url, options.internal_url, **timeouts)
        self._options = options
        self._secret = options.secret.encode()
        self.download_base = None if options.private else f"{self._public}/"
        self.link_expires = options.link_expires if options.private else None

    def download_url(self, key: str, expires: int | None = None) -> str:
        url = f"{self._public}/{quoted(key)}"
        return f"{url}?{self._sign('GET', key, expires)}" if self._options.private else url

    def upload_target(
        self, key: str, *, size: int | None = None, content_type: str | None = None, expires: int | None = None
    ) -> Target:
        url = f"{self._public}/{quoted(key)}?{self._sign('PUT', key, expires)}"
        return Target("PUT", url, _content_type(content_type))

    def stat(self, key: str) -> Deferred[ObjectStat]:
        async def stat() -> ObjectStat:
            answer = await self._ask("HEAD", key)
            answer.dismiss()
            if (size := answer.length) is None:
                raise BackendUnavailable(f"{answer.what}: an answer without Content-Length")
            return ObjectStat(size, _sha256(answer.header("repr-digest")))

        return Deferred.fromCoroutine(stat())

    def read(self, key: str) -> Deferred[IObjectBody]:
        async def read() -> IObjectBody:
            return (await self._ask("GET", key)).body()

        return Deferred.fromCoroutine(read())

    def write(self, key: str, body: IBodyProducer, content_type: str | None = None) -> Deferred[None]:
        async def write() -> None:
            target = f"{self._server.url(key)}?{self._sign('PUT', key)}"
            headers = _content_type(content_type)
            answer = await self._server.request("PUT", target, headers=headers, body=body, expect=(201, 204))
            answer.dismiss()

        return Deferred.fromCoroutine(write())

    def delete(self, key: str) -> Deferred[None]:
        async def delete() -> None:
            try:
                answer = await self._ask("DELETE", key, 204)
            except NoSuchObject:
                return
            answer.dismiss()

        return Deferred.fromCoroutine(delete())

    def probe(self) -> Deferred[Space]:
        async def probe() -> Space:
            return await self._json(await self._ask("GET", SPACE), Space)

        return Deferred.fromCoroutine(probe())

    async def keys(self, prefix: str = "") -> AsyncIterator[StoredKey]:
        after: str | None = ""
        while after is not None:
            query = urlencode({"prefix": prefix.strip("/"), "after": after, "limit": PAGE})
            page = await self._json(await self._ask("GET", KEYS, query=f"&{query}"), Page)
            for stored in page.keys:
                if is_key(stored.key):
                    yield stored
            if page.next is not None and _order(page.next) <= _order(after):
                raise BackendUnavailable(f"{self.name}: its listing goes round in circles")
            after = page.next

    async def _ask(self, method: str, key: str, expect: int = 200, query: str = "") -> Answer:
        # Always signed: a node that is private though we believe it is not must not look broken.
        url = f"{self._server.url(key)}?{self._sign(method, key)}{query}"
        return await self._server.request(method, url, expect=(expect,))

    async def _json(self, answer: Answer, type: type[T]) -> T:
        try:
            return msgspec.json.decode(await answer.content(), type=type)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BackendUnavailable(f"{answer.what}: not a node's answer: {error}") from error

    def _sign(self, method: str, key: str, expires: int | None = None) -> str:
        if expires is None:
            expires = steady(self._reactor.seconds(), self._options.link_expires)
        return sign(self._secret, method, key, expires)


@implementer(IBackendFactory)
class NodeFactory:
    kind = "node"
    options = NodeOptions

    def make(self, name: str, options: object, reactor: object) -> IBackend:
        return cast(IBackend, NodeBackend(name, cast(NodeOptions, options), reactor))


def _order(key: str) -> list[bytes]:
    """Keys come in the order of their segments' bytes."""
    return [segment.encode() for segment in key.split("/")]


def _content_type(text: str | None) -> tuple[tuple[str, str], ...]:
    known = acceptable(text)
    return () if known is None else (("Content-Type", known),)


def _sha256(field: str | None) -> bytes | None:
    """The digest in a ``Repr-Digest``; None if there is none that could be one."""
    try:
        return None if field is None else of_repr_digest(field)
    except ValueError:
        return None

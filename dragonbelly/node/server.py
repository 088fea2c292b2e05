"""
The small storage server: objects by HTTP, signed.

    GET, HEAD /<key>       the object; ranges, preconditions; signed if the node is private
    PUT       /<key>       201 stored, 204 was stored already, 409 other bytes are, 507 no room; signed
    DELETE    /<key>       204, 404; signed
    GET       /-/space     {"free", "total"} in bytes; signed
    GET       /-/keys      ?prefix=&after=&limit=: {"keys": [{"key", "size"}], "next"}; signed

A stored object never changes, and an upload is seen whole or not at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES, RESPONSES, HTTPFactory, datetimeToString
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import directlyProvides

from dragonbelly.config.limits import LimitsSection
from dragonbelly.cors import Cors, Headers, Sharing, parse_origin
from dragonbelly.digests import repr_digest
from dragonbelly.errors import BadRequest, ClientError, MethodNotAllowed, NotFound
from dragonbelly.node import media
from dragonbelly.node.conditions import select
from dragonbelly.node.incoming import Incoming
from dragonbelly.node.listing import MAX_LIMIT
from dragonbelly.node.sending import send
from dragonbelly.node.signature import KEYS, RESERVED, SPACE, check
from dragonbelly.node.store import Store
from dragonbelly.node.target import Target, parse_target
from dragonbelly.web.listener import make_factory
from dragonbelly.web.request import Intake, Refuse, Request, Stream

#: What pages of other origins may ask and see.
SHARING = Sharing(
    methods=("GET", "HEAD", "PUT"),
    headers=(
        "content-type",
        "range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "if-range",
    ),
    exposed=("ETag", "Content-Length", "Content-Range", "Accept-Ranges", "Repr-Digest"),
)

METHODS = ("GET", "HEAD", "PUT", "DELETE")

_LIMIT = re.compile(r"[1-9][0-9]{0,5}")

_log = Logger()

T = TypeVar("T")


class Node:
    """What the requests to one node share."""

    def __init__(
        self, reactor: Any, store: Store, secret: bytes, private: bool, idle: float, cors: Cors
    ) -> None:
        self.reactor = reactor
        self.store = store
        self.idle = idle
        self.cors = cors
        self._secret = secret
        self._private = private

    def authorize(self, method: str, target: Target) -> None:
        """:raises Forbidden: this needs another signature."""
        public = method in ("GET", "HEAD") and not target.key.startswith(f"{RESERVED}/")
        if self._private or not public:
            check(self._secret, method, target.key, target.query, self.reactor.seconds())

    def in_thread(self, work: Callable[[], T]) -> Deferred[T]:
        """Do what waits for the disk."""
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), work)


def make_node(
    reactor: Any,
    store: Store,
    secret: bytes,
    *,
    private: bool = False,
    limits: LimitsSection | None = None,
    origins: Iterable[str] = (),
) -> HTTPFactory:
    """
    A node, to listen with.

    :param store: where the objects lie; prepared before the first request.
    :param secret: what URLs are signed with; not empty.
    :param private: whether reading needs a signature too.
    :param limits: what clients may take; those of connections, headers and times.
    :param origins: pages of these may read and upload with ``fetch``.
    :raises ValueError: without a secret, or an origin that is none.
    """
    if not secret:
        raise ValueError("a node needs a secret")
    cors = Cors(map(parse_origin, origins), SHARING)
    limits = limits or LimitsSection()
    node = Node(reactor, store, secret, private, limits.idle, cors)

    def request(channel: Any) -> NodeRequest:
        return NodeRequest(channel, node)

    directlyProvides(request, INonQueuedRequestFactory)
    return make_factory(request, reactor, limits)


class NodeRequest(Request):
    """One request to a node."""

    _target: Target
    _refusal: Exception | None = None
    _incoming: Incoming | None = None
    _preflight: Headers | None = None

    def __init__(self, channel: Any, node: Node) -> None:
        super().__init__(channel)
        self._node = node

    def intake(self) -> Intake:
        # What can be refused is refused before the body comes.
        try:
            self.authority()
            method = self.method.decode("latin-1")
            if method == "OPTIONS":
                self._preflight = self._node.cors.preflight(method, self.all_headers())
                if self._preflight is not None:
                    return Refuse()
            if method not in METHODS:
                raise MethodNotAllowed(f"a node knows {', '.join(METHODS)}")
            self._target = parse_target(self.uri)
            if method in ("PUT", "DELETE") and self._target.key.split("/")[0] == RESERVED:
                raise MethodNotAllowed(f"/{RESERVED}/ is the node's own")
            self._node.authorize(method, self._target)
            if method == "PUT":
                if self.header("content-range") is not None:
                    raise BadRequest("an object is stored whole")
                self._incoming = self._node.store.receive(self.announced)
                return Stream(self._incoming)
        except Exception as error:
            self._refusal = error
        return Refuse()

    def process(self) -> None:
        Deferred.fromCoroutine(self._process()).addErrback(self._crashed)

    async def _process(self) -> None:
        try:
            if self._preflight is not None:
                for name, value in self._preflight:
                    self.setHeader(name.encode(), value.encode())
                self._answer(204)
                return
            if self._refusal is not None:
                raise self._refusal
            if self._incoming is not None:
                await self._put(self._incoming)
            elif self.method == b"DELETE":
                await self._node.in_thread(lambda: self._node.store.remove(self._target.key))
                self._answer(204)
            elif self._target.key == SPACE:
                self._json(self._node.store.space())
            elif self._target.key == KEYS:
                await self._keys()
            elif self._target.key.split("/")[0] == RESERVED:
                raise NotFound("a node answers no such question")
            else:
                self._get()
        except ClientError as error:
            if isinstance(error, MethodNotAllowed):
                self.setHeader(b"Allow", ", ".join(METHODS).encode())
            self._text(error.status, error.detail)

    def _crashed(self, failure: Failure) -> None:
        _log.failure("{method} {key}", failure, method=self.method, key=self._key_or_none())
        if not self.startedWriting:
            self._text(500, "internal error")
        elif self.channel is not None:
            # Closed in the middle: nobody may take what was sent for all.
            transport: Any = self.transport
            transport.abortConnection()

    def _key_or_none(self) -> str | None:
        # never the URI: it is signed
        return self._target.key if hasattr(self, "_target") else None

    def _get(self) -> None:
        found = self._node.store.find(self._target.key)
        try:
            part = select(self.header, found.size, found.tag, found.modified, ranges=self.method == b"GET")
            self.setHeader(b"ETag", found.tag.encode())
            self.setHeader(b"Last-Modified", datetimeToString(found.modified))
            self.setHeader(b"Accept-Ranges", b"bytes")
            if found.sha256 is not None:
                self.setHeader(b"Repr-Digest", repr_digest(found.sha256).encode())
            if part.status == 206:
                last = part.start + part.length - 1
                self.setHeader(b"Content-Range", b"bytes %d-%d/%d" % (part.start, last, found.size))
            elif part.status == 416:
                self.setHeader(b"Content-Range", b"bytes */%d" % found.size)
        except BaseException:
            os.close(found.fd)
            raise
        if part.status not in (200, 206):
            os.close(found.fd)
            self._text(part.status, RESPONSES[part.status].decode())
            return
        self._headers(part.status, found.content_type, part.length)
        if self.method == b"HEAD":
            os.close(found.fd)
            self.finish()
        else:
            send(self, found.fd, part.start, part.length, self._node.reactor, self._node.idle)

    async def _put(self, incoming: Incoming) -> None:
        if incoming.error is not None:
            raise incoming.error
        store, key = self._node.store, self._target.key
        content_type = media.acceptable(self.header("content-type"))
        # Goes on when the client leaves: what was received whole is kept.
        new = await self._node.in_thread(lambda: store.publish(incoming, key, content_type))
        self.setHeader(b"Repr-Digest", repr_digest(incoming.sha256).encode())
        self._answer(201 if new else 204)

    async def _keys(self) -> None:
        query = self._target.query
        limit = query.get("limit", "1000")
        if not _LIMIT.fullmatch(limit):
            raise BadRequest("limit is a number of keys")
        prefix, after, at_most = query.get("prefix", ""), query.get("after", ""), min(int(limit), MAX_LIMIT)
        self._json(await self._node.in_thread(lambda: self._node.store.page(prefix, after, at_most)))

    def _json(self, value: object) -> None:
        self._answer(200, "application/json", msgspec.json.encode(value))

    def _text(self, status: int, text: str) -> None:
        self._answer(status, "text/plain; charset=utf-8", f"{text}\n".encode())

    def _answer(self, status: int, content_type: str = "", body: bytes = b"") -> None:
        if self.channel is None:
            return  # the client has gone meanwhile
        self._headers(status, content_type, len(body))
        self.write(body)
        self.finish()

    def _headers(self, status: int, content_type: str, length: int) -> None:
        self.setResponseCode(status)
        self.setHeader(b"Date", datetimeToString(self._node.reactor.seconds()))
        if status not in NO_BODY_CODES:
            self.setHeader(b"Content-Length", b"%d" % length)
        if content_type and status not in NO_BODY_CODES:
            self.setHeader(b"Content-Type", content_type.encode("latin-1"))
            self.setHeader(b"X-Content-Type-Options", b"nosniff")
        for name, value in self._node.cors.headers(self.header("origin")):
            self.setHeader(name.encode(), value.encode())

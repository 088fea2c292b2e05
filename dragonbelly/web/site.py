"""
The HTTP side: requests become questions, answers and errors become responses.  The one place where an error
gets its response, and where a request is routed to files, API or admin.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.web import http
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import implementer

from dragonbelly import __version__
from dragonbelly.config.limits import LimitsSection
from dragonbelly.cors import Cors, Sharing, parse_origin
from dragonbelly.errors import BadPath, BadRecord, ClientError, NotFound, StateUnavailable, TooLarge
from dragonbelly.metrics import Metrics
from dragonbelly.web.admin import Admin
from dragonbelly.web.announced import ATTRIBUTE_PREFIX, TERMS
from dragonbelly.web.api import PREFIX, FilesApi
from dragonbelly.web.callers import Callers
from dragonbelly.web.files import Files
from dragonbelly.web.listener import HttpListener, make_factory
from dragonbelly.web.message import Answer, Question, problem
from dragonbelly.web.paths import split_target
from dragonbelly.web.request import Buffer, Intake, Refuse, Request

#: What pages of other origins may ask and see.
SHARING = Sharing(
    methods=("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"),
    headers=(
        "authorization",
        "content-type",
        "if-match",
        "if-none-match",
        "repr-digest",
        "content-digest",
        "content-md5",
        *sorted(TERMS),
    ),
    prefixes=(ATTRIBUTE_PREFIX,),
    exposed=("ETag", "Location", "Dragonbelly-Upload", "Repr-Digest", "Link", "Retry-After"),
)

SERVER = f"dragonbelly/{__version__}".encode()


class Router:
    """
    Where a question goes.  ``admin`` is None on the public listener.  Nothing but health and metrics is
    answered before it is ``open``.  ``callers`` tells who asks.  Pages of ``origins`` may ask with ``fetch``.
    """

    log = Logger()
    open = False

    def __init__(
        self,
        files: Files,
        api: FilesApi,
        callers: Callers,
        metrics: Metrics,
        admin: Admin | None = None,
        origins: Iterable[str] = (),
    ) -> None:
        self.cors = Cors(map(parse_origin, origins), SHARING)
        self._files = files
        self._api = api
        self._callers = callers
        self._admin = admin
        self._metrics = metrics
        self._answered = lru_cache(maxsize=256)(metrics.answered)

    async def answer(self, question: Question) -> Answer:
        """Always an answer: every error is turned into one here."""
        kind = "api" if question.target.reserved else "file"
        try:
            if (preflight := self._preflight(question)) is not None:
                answer = preflight
            elif not self.open and question.target.path not in (b"/-/health", b"/-/metrics"):
                raise StateUnavailable("the service is starting")
            else:
                # Who only asks whether we are well may be anybody.
                if question.target.path != b"/-/health":
                    question = self._with_caller(question)
                answer = await (self._files.answer if kind == "file" else self._reserved)(question)
        except ClientError as error:
            answer = problem(error)
            self._metrics.limit(error.limit)
            # Of a damaged record the ledger has said it, once.
            if error.status >= 500 and error.retry_after is None and not isinstance(error, BadRecord):
                self.log.error(
                    "{method} {path}: {error}",
                    method=question.method,
                    path=question.target.path,
                    error=error.detail,
                )
        except CancelledError:
            raise
        except Exception:
            self.log.failure("{method} {path}", method=question.method, path=question.target.path)
            answer = problem(_Internal("the request could not be answered; the log says why"))
        self._count(kind, question.method, answer)
        return answer

    def _with_caller(self, question: Question) -> Question:
        host = question.target.host if question.target.host is not None else question.host
        caller = self._callers.of(question.method, host, question.headers, question.address)
        return msgspec.structs.replace(question, caller=caller)

    def _preflight(self, question: Question) -> Answer | None:
        """The answer to a browser that asks whether it may; None when that is not the question."""
        target = question.target
        if target.reserved and not target.path.startswith(PREFIX.encode()):
            return None
        headers = self.cors.preflight(question.method, question.headers)
        return None if headers is None else Answer(204, headers)

    def refuse(self, method: str, error: ClientError) -> Answer:
        """The answer to what cannot be made a question of."""
        answer = problem(error)
        self._metrics.limit(error.limit)
        self._count("bad", method, answer)
        return answer

    def _count(self, kind: str, method: str, answer: Answer) -> None:
        self._answered(f"{kind}_{_METHODS.get(method, 'other')}", answer.status).n += 1

    async def _reserved(self, question: Question) -> Answer:
        if self._admin is not None and (answer := await self._admin.answer(question, self.open)) is not None:
            return answer
        if question.target.path.startswith(PREFIX.encode()):
            return await self._api.answer(question, admin=self._admin is not None)
        raise NotFound("there is no such resource")


#: Methods that get a label of their own in the metrics: what clients make up must not make time series.
_METHODS = {name: name.lower() for name in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS")}


#: With what Twisted has no words for (RFC 9110 section 15.5.21, RFC 6585 section 4).
_PHRASES = {**http.RESPONSES, 422: b"Unprocessable Content", 429: b"Too Many Requests"}


def phrase(status: int) -> bytes:
    """The words of a status line."""
    return _PHRASES.get(status, b"Unknown Status")


class _Internal(ClientError):
    status = 500
    title = "Internal error"


def make_site(router: Router, reactor: Any, limits: LimitsSection, metrics: Metrics) -> HttpListener:
    """The factory of connections to be put on listeners; they are counted together."""
    return make_factory(_Requests(router, reactor, limits.json_size), reactor, limits, metrics.limit)


@implementer(INonQueuedRequestFactory)
class _Requests:
    """Makes the requests of one site."""

    def __init__(self, router: Router, clock: Any, json_size: int) -> None:
        self._router, self._clock, self._json_size = router, clock, json_size

    def __call__(self, channel: http.HTTPChannel) -> SiteRequest:
        request = SiteRequest(channel)
        request.router, request.clock, request.json_size = self._router, self._clock, self._json_size
        return request


class SiteRequest(Request):
    """One request of a client."""

    router: Router
    clock: Any
    json_size: int

    def intake(self) -> Intake:
        # Only the API reads bodies; everything else is answered without.
        try:
            api = split_target(self.uri).path.startswith(PREFIX.encode())
        except BadPath:
            api = False
        return Buffer(self.json_size) if api else Refuse()

    def process(self) -> None:
        answering = Deferred.fromCoroutine(self._answer())
        # A client that departs cancels its work.
        gone = self.notifyFinish()
        gone.addErrback(lambda _: answering.cancel())
        answering.addCallback(self._send)
        answering.addErrback(self._give_up)

    async def _answer(self) -> Answer:
        try:
            question = self._question()
        except ClientError as error:
            return self.router.refuse(self.method.decode("latin-1"), error)
        return await self.router.answer(question)

    def _question(self) -> Question:
        if self.oversized:
            most = int(self.json_size)
            raise TooLarge(f"a body of at most {most} bytes is taken here", limit="json_size", maximum=most)
        return Question(
            method=self.method.decode("latin-1"),
            target=split_target(self.uri),
            host=self.authority(),
            headers=self.all_headers(),
            announced=self.announced,
            body=self.body,
            address=getattr(self.getClientAddress(), "host", ""),
        )

    def _send(self, answer: Answer) -> None:
        if self._disconnected:
            return
        self.setResponseCode(answer.status, phrase(answer.status))
        headers = self.responseHeaders
        headers.setRawHeaders(b"Server", [SERVER])
        headers.setRawHeaders(b"Date", [http.datetimeToString(self.clock.seconds())])
        for name, value in (*answer.headers, *self.router.cors.headers(self.header("origin"))):
            headers.addRawHeader(name.encode(), value.encode())
        if answer.status != 204:
            headers.setRawHeaders(b"Content-Length", [str(len(answer.body)).encode()])
        if answer.body and self.method != b"HEAD":
            self.write(answer.body)
        self.finish()

    def _give_up(self, failure: Any) -> None:
        if failure.check(CancelledError) and self._disconnected:
            return
        Router.log.failure("sending an answer", failure)
        if self.channel is not None:
            self.channel.forceAbortClient()

"""Redirects to files in front of a WSGI application (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from dragonbelly.contrib.redirects import Answer, Headers, Redirects

if TYPE_CHECKING:
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

    Allow = Callable[[WSGIEnvironment, str], bool | WSGIApplication]


class RedirectMiddleware:
    """
    ``app`` with redirects to files.

    ``allow(environ, name)`` is asked for each file under the prefix, with its name below that.  It says True,
    False (403), or gives a WSGI application, such as a response object, that answers instead.
    """

    def __init__(self, app: WSGIApplication, redirects: Redirects, allow: Allow | None = None) -> None:
        self.app = app
        self.redirects = redirects
        self.allow = allow

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        path = environ.get("PATH_INFO", "").encode("latin-1").decode(errors="surrogateescape")
        found = self.redirects.for_request(method, path)
        view = _View(self.redirects, method, start_response)
        if found is None:
            return view.run(self.app, environ)
        if isinstance(found, str):
            verdict = True if self.allow is None else self.allow(environ, found)
            if verdict is True:
                found = self.redirects.redirect(method, found, guarded=self.allow is not None)
            elif verdict is False:
                found = self.redirects.forbidden(method)
            elif callable(verdict):
                return view.run(verdict, environ)
            else:
                raise TypeError(f"allow: expected True, False or a WSGI application, found {verdict!r}")
        start_response(found.line, found.headers)
        return [found.body]


class _View:
    """The response of the application to one request: it may say late, or anew, that it is a redirect."""

    def __init__(self, redirects: Redirects, method: str, start_response: StartResponse) -> None:
        self._redirects = redirects
        self._method = method
        self._start_response = start_response
        self._started = False
        self._handed_over = False
        self._answer: Answer | None = None
        self._chunks: Iterable[bytes] = ()

    def run(self, app: WSGIApplication, environ: WSGIEnvironment) -> Iterable[bytes]:
        self._chunks = app(environ, self.start)
        if not self._started or self._answer is not None:
            return self
        # As it came: a server may know it for a file, or ask for its length.
        self._handed_over = True
        return self._chunks

    def start(
        self, status: str, headers: Headers, exc_info: ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        answer = self._redirects.for_response(self._method, int(status[:3]), headers)
        if answer is not None and self._handed_over:
            # Its body is out of our hands: as when the headers were sent already.
            if exc_info is None or exc_info[1] is None:
                raise RuntimeError("start_response was called twice")
            raise exc_info[1].with_traceback(exc_info[2])
        if answer is not None:
            status, headers = answer.line, answer.headers
        else:
            headers = self._redirects.kept(headers)
        write = self._start_response(status, headers, *([] if exc_info is None else [exc_info]))
        self._started = True
        self._answer = answer
        return write if answer is None else lambda data: None

    def __iter__(self) -> Iterator[bytes]:
        # The view may call ``start`` as late as with its first chunk.
        if self._answer is None:
            for chunk in self._chunks:
                if self._answer is not None:
                    break
                yield chunk
        if self._answer is not None:
            yield self._answer.body

    def close(self) -> None:
        if close := getattr(self._chunks, "close", None):
            close()

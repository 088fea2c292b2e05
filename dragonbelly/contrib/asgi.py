"""Redirects to files in front of an ASGI 3 application."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from dragonbelly.contrib.redirects import Answer, Redirects

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

Verdict = bool | Application
Allow = Callable[[Scope, str], Verdict | Awaitable[Verdict]]


class RedirectMiddleware:
    """
    ``app`` with redirects to files.

    ``allow(scope, name)`` is asked for each file under the prefix, with its name below that.  It says True,
    False (403), or gives an ASGI application, such as a response object, that answers instead.  May be async.
    """

    def __init__(self, app: Application, redirects: Redirects, allow: Allow | None = None) -> None:
        self.app = app
        self.redirects = redirects
        self.allow = allow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        found = self.redirects.for_request(method, _path(scope), scope.get("raw_path"))
        view = _View(self.redirects, method, send)
        if found is None:
            await self.app(scope, receive, view)
            return
        if isinstance(found, str):
            verdict = await self._verdict(scope, found)
            if verdict is True:
                found = self.redirects.redirect(method, found, guarded=self.allow is not None)
            elif verdict is False:
                found = self.redirects.forbidden(method)
            elif callable(verdict):
                await verdict(scope, receive, view)
                return
            else:
                raise TypeError(f"allow: expected True, False or an ASGI application, found {verdict!r}")
        await _answer(send, found)

    async def _verdict(self, scope: Scope, name: str) -> Verdict:
        if self.allow is None:
            return True
        verdict = self.allow(scope, name)
        return await verdict if inspect.isawaitable(verdict) else verdict


class _View:
    """``send`` for the application's response to one request."""

    def __init__(self, redirects: Redirects, method: str, send: Send) -> None:
        self._redirects = redirects
        self._method = method
        self._send = send
        self._answered = False

    async def __call__(self, message: Message) -> None:
        if self._answered:
            await _let_others_run()
            return
        if message["type"] == "http.response.start":
            headers = [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())
            ]
            answer = self._redirects.for_response(self._method, message["status"], headers)
            if answer is not None:
                self._answered = True
                await _answer(self._send, answer)
                return
            message = {**message, "headers": _encoded(self._redirects.kept(headers))}
        await self._send(message)


def _path(scope: Scope) -> str:
    """Below the place where the application is mounted, which ``path`` has in front with most servers."""
    return str(scope["path"]).removeprefix(str(scope.get("root_path", "")).rstrip("/"))


async def _answer(send: Send, answer: Answer) -> None:
    # Names in lower case, as ASGI wants them.
    headers = _encoded([(name.lower(), value) for name, value in answer.headers])
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _let_others_run() -> None:
    """What is swallowed slows no view down: one that streams without an end would be alone on the loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return  # another kind of loop, which has its own idea of a pause
    await asyncio.sleep(0)

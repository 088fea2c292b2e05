"""The same small application in Flask and in Starlette, behind the middleware, for real servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import flask
from starlette import applications, requests, responses, routing

from dragonbelly.contrib import asgi, wsgi
from dragonbelly.contrib.redirects import Redirects, header_value

HEADER = "X-Dragonbelly-Redirect"


def verdict(name: str) -> bool | None:
    """Whose file this is; None: the permission answers itself."""
    return None if name.startswith("login/") else name.startswith("mine/")


def with_flask(redirects: Redirects) -> Any:
    app = flask.Flask(__name__)

    @app.get("/guarded")
    def guarded() -> flask.Response:
        response = flask.Response("secret", headers={HEADER: header_value(flask.request.args["path"])})
        response.set_cookie("seen", "yes")
        response.add_etag()
        return response

    @app.get("/as-it-is")
    def as_it_is() -> flask.Response:
        return flask.Response("secret", headers={HEADER: flask.request.args["value"]})

    @app.get("/forbidden")
    def forbidden() -> flask.Response:
        return flask.Response("no", 403, headers={HEADER: "mine/a"})

    @app.post("/form")
    def form() -> flask.Response:
        return flask.Response("secret", headers={HEADER: "mine/" + flask.request.form["name"]})

    @app.get("/endless")
    def endless() -> flask.Response:
        def chunks() -> Iterator[bytes]:
            while True:
                yield b"secret"

        return flask.Response(chunks(), headers={HEADER: flask.request.args["path"]})

    @app.get("/stream")
    def stream() -> flask.Response:
        return flask.Response((b"x" * 1000 for _ in range(1000)), headers={"ETag": '"x"'})

    @app.route("/broken")
    def broken() -> flask.Response:
        raise LookupError("a view failed")

    @app.route("/<path:path>", methods=["GET", "POST"])
    def everything(path: str) -> flask.Response:
        return flask.jsonify({"path": path})

    def allow(environ: Any, name: str) -> Any:
        answer = verdict(name)
        return flask.redirect("/login", 303) if answer is None else answer

    app.wsgi_app = wsgi.RedirectMiddleware(app.wsgi_app, redirects, allow)  # type: ignore[method-assign]
    return app


def with_starlette(redirects: Redirects) -> Any:
    async def guarded(request: requests.Request) -> responses.Response:
        headers = {HEADER: header_value(request.query_params["path"]), "ETag": '"x"'}
        response = responses.PlainTextResponse("secret", headers=headers)
        response.set_cookie("seen", "yes")
        return response

    async def as_it_is(request: requests.Request) -> responses.Response:
        return responses.PlainTextResponse("secret", headers={HEADER: request.query_params["value"]})

    async def forbidden(request: requests.Request) -> responses.Response:
        return responses.PlainTextResponse("no", 403, headers={HEADER: "mine/a"})

    async def form(request: requests.Request) -> responses.Response:
        name = (await request.body()).decode().removeprefix("name=")
        return responses.PlainTextResponse("secret", headers={HEADER: f"mine/{name}"})

    async def endless(request: requests.Request) -> responses.Response:
        async def chunks() -> AsyncIterator[bytes]:
            while True:
                yield b"secret"

        return responses.StreamingResponse(chunks(), headers={HEADER: request.query_params["path"]})

    async def stream(request: requests.Request) -> responses.Response:
        return responses.StreamingResponse((b"x" * 1000 for _ in range(1000)), headers={"ETag": '"x"'})

    async def broken(request: requests.Request) -> responses.Response:
        raise LookupError("a view failed")

    async def everything(request: requests.Request) -> responses.Response:
        return responses.Response(
            json.dumps({"path": request.path_params["path"]}), media_type="application/json"
        )

    async def allow(scope: Any, name: str) -> Any:
        answer = verdict(name)
        return responses.RedirectResponse("/login", 303) if answer is None else answer

    app = applications.Starlette(
        routes=[
            routing.Route("/guarded", guarded),
            routing.Route("/as-it-is", as_it_is),
            routing.Route("/forbidden", forbidden),
            routing.Route("/form", form, methods=["POST"]),
            routing.Route("/endless", endless),
            routing.Route("/stream", stream),
            routing.Route("/broken", broken),
            routing.Route("/{path:path}", everything, methods=["GET", "POST"]),
        ]
    )
    app.add_middleware(asgi.RedirectMiddleware, redirects=redirects, allow=allow)
    return app

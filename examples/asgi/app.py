"""
A site with files for everybody and files for members, in Starlette.  The files are in Dragonbelly::

    make run                                                # a Dragonbelly on http://127.0.0.1:8080
    pip install . starlette itsdangerous uvicorn
    uvicorn --app-dir examples/asgi --port 5000 app:app     # this, on http://127.0.0.1:5000

    curl -LT logo.png http://127.0.0.1:8080/public/logo.png
    curl -LT plan.pdf http://127.0.0.1:8080/members/plan.pdf
    curl -L http://127.0.0.1:5000/media/public/logo.png
    curl -L http://127.0.0.1:5000/plan                          # 403
    curl -c jar -X POST http://127.0.0.1:5000/login/ann
    curl -b jar -L http://127.0.0.1:5000/plan
"""

import os

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dragonbelly.contrib.asgi import RedirectMiddleware
from dragonbelly.contrib.redirects import Redirects, header_value


async def index(request):
    return PlainTextResponse("Log in with POST /login/<name>, read /plan, /letters/<name> and /media/.\n")


async def login(request):  # a real one asks for a password
    request.session["member"] = request.path_params["name"]
    return Response(status_code=204)


async def plan(request):
    if "member" not in request.session:
        raise HTTPException(403)
    return Response(headers={"X-Dragonbelly-Redirect": "members/plan.pdf"})


async def letter(request):
    name = request.path_params["name"]
    if request.session.get("member") != name:
        raise HTTPException(403)
    return Response(headers={"X-Dragonbelly-Redirect": header_value(f"letters/{name}.txt")})


async def allow(scope, name):
    return name.startswith("public/") or (name.startswith("members/") and "member" in scope["session"])


redirects = Redirects(os.environ.get("DRAGONBELLY_URL", "http://127.0.0.1:8080"), prefix="/media/")
app = Starlette(
    routes=[
        Route("/", index),
        Route("/login/{name}", login, methods=["POST"]),
        Route("/plan", plan),
        Route("/letters/{name}", letter),
    ],
    middleware=[
        Middleware(SessionMiddleware, secret_key=os.urandom(32).hex()),
        Middleware(RedirectMiddleware, redirects=redirects, allow=allow),
    ],
)

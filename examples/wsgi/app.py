"""
A site with files for everybody and files for members, in Flask.  The files are in Dragonbelly::

    make run                                    # a Dragonbelly on http://127.0.0.1:8080
    pip install . flask
    flask --app examples/wsgi/app.py run        # this, on http://127.0.0.1:5000

    curl -LT logo.png http://127.0.0.1:8080/public/logo.png
    curl -LT plan.pdf http://127.0.0.1:8080/members/plan.pdf
    curl -L http://127.0.0.1:5000/media/public/logo.png
    curl -L http://127.0.0.1:5000/plan                          # 403
    curl -c jar -X POST http://127.0.0.1:5000/login/ann
    curl -b jar -L http://127.0.0.1:5000/plan
"""

import os

from flask import Flask, Response, abort, session

from dragonbelly.contrib.redirects import Redirects, header_value
from dragonbelly.contrib.wsgi import RedirectMiddleware

app = Flask(__name__)
app.secret_key = os.urandom(32)


@app.get("/")
def index():
    return "Log in with POST /login/<name>, read /plan, /letters/<name> and /media/.\n"


@app.post("/login/<name>")
def login(name):  # a real one asks for a password
    session["member"] = name
    return "", 204


@app.get("/plan")
def plan():
    if "member" not in session:
        abort(403)
    return Response(headers={"X-Dragonbelly-Redirect": "members/plan.pdf"})


@app.get("/letters/<name>")
def letter(name):
    if session.get("member") != name:
        abort(403)
    return Response(headers={"X-Dragonbelly-Redirect": header_value(f"letters/{name}.txt")})


def allow(environ, name):
    with app.request_context(environ):
        return name.startswith("public/") or (name.startswith("members/") and "member" in session)


redirects = Redirects(os.environ.get("DRAGONBELLY_URL", "http://127.0.0.1:8080"), prefix="/media/")
app.wsgi_app = RedirectMiddleware(app.wsgi_app, redirects, allow)

"""
Uploads that are not what was announced, or never come: the file stays what it was, and the API says why.  That
nothing of them is left on disk in the end is seen when the fixture ends.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import time
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from dragonbelly.backends.secure_link import signed
from tests.integration.asking import ask
from tests.integration.site import Site

pytestmark = pytest.mark.servers

EXTRA = '[upload]\nlapse = "2s"\nmin_rate = "64MiB"\n'

OLD = b"the old version"


def upload_told(site: Site, path: str, upload: str) -> Any:
    """What the file's JSON tells of an upload that was abandoned."""

    def look() -> Any:
        file = site.file(path)
        return next((u for u in file["uploads"] if u["upload"] == upload and u["state"] == "abandoned"), None)

    return site.eventually("the upload is abandoned", look, path=path)


def refused(site: Site, path: str, upload: str, status: int, reason: str, **claims: object) -> None:
    """``complete`` says that the upload came to nothing, and why."""
    answer = site.complete(path, upload, **claims)
    problem = json.loads(answer.body)
    assert (answer.status, problem.get("reason")) == (status, reason), answer
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.fixture
def old(site: Site, name: str) -> str:
    """A path that has a live version."""
    site.put(name, OLD)
    assert site.get(name) == OLD
    return name


def test_an_upload_cut_half_way(site: Site, old: str) -> None:
    begun = site.begin(old, bytes(1 << 20))
    where = urlsplit(begun.headers["Location"])
    with socket.create_connection((str(where.hostname), where.port or 80)) as connection:
        connection.sendall(
            f"PUT {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: {1 << 20}\r\n\r\n".encode()
        )
        connection.sendall(bytes(1 << 19))
    assert site.get(old) == OLD
    assert upload_told(site, old, begun.headers["Dragonbelly-Upload"])["reason"] == "lapsed"
    refused(site, old, begun.headers["Dragonbelly-Upload"], 410, "lapsed")
    assert site.get(old) == OLD


@pytest.mark.parametrize("size", [0, 999, 1001])
def test_an_upload_of_another_length_than_announced(site: Site, old: str, size: int) -> None:
    begun = site.begin(old, bytes(1000))
    assert ask("PUT", begun.headers["Location"], bytes(size)).status == 201
    assert site.get(old) == OLD
    assert upload_told(site, old, begun.headers["Dragonbelly-Upload"])["reason"] == "size"
    refused(site, old, begun.headers["Dragonbelly-Upload"], 409, "size")
    assert site.get(old) == OLD


@pytest.mark.parametrize("kind", ["repr", "md5", "sha256"])
def test_an_upload_of_another_digest_than_announced(site: Site, old: str, kind: str) -> None:
    announced, sent = b"what was announced", b"what was sent, too"
    sha256 = hashlib.sha256(announced)
    if kind == "sha256":  # through the API
        answer = ask(
            "POST",
            f"{site.daemon.url}/-/api/v1/uploads",
            json.dumps({"path": old, "size": len(announced), "sha256": sha256.hexdigest()}).encode(),
        )
        assert answer.status == 201, answer
        told = json.loads(answer.body)
        upload, where = told["upload"], told["targets"][0]["url"]
    else:
        digest = base64.b64encode(
            sha256.digest() if kind == "repr" else hashlib.md5(announced, usedforsecurity=False).digest()
        ).decode()
        headers = {"Repr_Digest": f"sha-256=:{digest}:"} if kind == "repr" else {"Content_MD5": digest}
        begun = site.begin(old, announced, **headers)
        upload, where = begun.headers["Dragonbelly-Upload"], begun.headers["Location"]
    assert ask("PUT", where, sent).status == 201
    assert site.get(old) == OLD
    assert upload_told(site, old, upload)["reason"] == "digest"
    refused(site, old, upload, 409, "digest")


@pytest.mark.parametrize("kind", ["repr", "md5"])
def test_an_upload_of_the_digest_announced(site: Site, old: str, kind: str) -> None:
    new = b"the new version"
    if kind == "repr":
        headers = {"Repr_Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(new).digest()).decode()}:"}
    else:
        headers = {"Content_MD5": base64.b64encode(hashlib.md5(new, usedforsecurity=False).digest()).decode()}
    site.put(old, new, **headers)
    assert site.get(old) == new


def test_an_upload_that_never_comes(site: Site, old: str) -> None:
    upload = site.begin(old, b"never sent").headers["Dragonbelly-Upload"]
    assert site.complete(old, upload).status == 202
    assert upload_told(site, old, upload)["reason"] == "lapsed"
    refused(site, old, upload, 410, "lapsed")
    assert site.get(old) == OLD


def test_an_upload_that_comes_too_late(site: Site, old: str) -> None:
    late = b"too late"
    begun = site.begin(old, late)
    upload = begun.headers["Dragonbelly-Upload"]
    upload_told(site, old, upload)
    # The link has ended; but a server whose clock is behind takes it.
    link = urlsplit(begun.headers["Location"])
    (store,) = [store for store in site.stores.values() if store.port == link.port]
    assert store.secret is not None
    query = signed(store.secret, "PUT", unquote(link.path), int(time.time()) + 60)
    assert ask("PUT", link._replace(query=query).geturl(), late).status == 201
    assert site.get(old) == OLD
    refused(site, old, upload, 410, "lapsed")
    assert site.get(old) == OLD
    assert site.get(old) == OLD


def test_an_upload_to_a_new_path_that_never_comes_leaves_no_file(site: Site, name: str) -> None:
    upload = site.begin(name, b"never sent").headers["Dragonbelly-Upload"]
    assert ask("GET", site.url(name)).status == 404
    site.eventually("it lapses", lambda: site.complete(name, upload).status == 410, path=name)
    assert ask("GET", site.url(name)).status == 404


def test_an_aborted_upload(site: Site, old: str) -> None:
    begun = site.begin(old, b"to be aborted")
    upload = begun.headers["Dragonbelly-Upload"]
    abort = f"{site.daemon.url}/-/api/v1/uploads/{upload}?path={old}"
    assert ask("DELETE", abort).status == 204
    assert ask("PUT", begun.headers["Location"], b"to be aborted").status == 201
    assert site.get(old) == OLD
    refused(site, old, upload, 410, "aborted")


def test_an_upload_deleted_under_way_does_not_come_back(site: Site, old: str) -> None:
    begun = site.begin(old, b"new")
    assert ask("DELETE", site.url(old)).status == 204
    assert ask("PUT", begun.headers["Location"], b"new").status == 201
    assert ask("GET", site.url(old)).status == 404
    refused(site, old, begun.headers["Dragonbelly-Upload"], 410, "deleted")
    assert ask("GET", site.url(old)).status == 404


def test_the_order_of_acceptance_decides_and_not_that_of_arrival(site: Site, old: str) -> None:
    first, second = site.begin(old, b"first"), site.begin(old, b"second")
    assert ask("PUT", second.headers["Location"], b"second").status == 201
    assert site.get(old) == b"second"
    assert ask("PUT", first.headers["Location"], b"first").status == 201
    answer = site.complete(old, first.headers["Dragonbelly-Upload"])
    assert json.loads(answer.body)["state"] == "superseded", answer
    assert site.get(old) == b"second"


def test_a_verified_upload_waits_for_its_copies_if_asked_to(site: Site, name: str) -> None:
    begun = site.begin(name, b"two copies, please")
    assert ask("PUT", begun.headers["Location"], b"two copies, please").status == 201
    answer = ask(
        "POST",
        f"{site.daemon.url}/-/api/v1/uploads/{begun.headers['Dragonbelly-Upload']}/complete?copies=2&timeout=20",
        json.dumps({"path": name}).encode(),
    )
    assert answer.status == 200, answer
    assert json.loads(answer.body)["copies"]["held"] == 2

"""How clients upload: as they should, and in all the ways that they should not."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

from tests.chaos.calling import NoAnswer, Reply, call
from tests.chaos.contents import content
from tests.chaos.history import Upload

API = "/-/api/v1"

#: What the client, who keeps the books of that, does to the path between the acceptance and the upload.
DELETED, OVERTAKEN = "deleted under way", "overtaken"

#: Weight and name of each way.
WAYS = {
    "plain": 8,
    "digest announced": 3,
    "API": 6,
    "two servers": 1,
    "create only": 1,
    "sent twice": 1,
    "wrong digest": 1,
    "too short": 1,
    "too long": 1,
    "cut half-way": 2,
    "never sent": 2,
    "aborted": 1,
    "wrong size at the end": 1,
    DELETED: 1,
    OVERTAKEN: 1,
}

#: Only where asked for: sent when the daemons should have given it up and cleared away what there was.
LATE = "much too late"

_THROUGH_API = ("API", "two servers", "aborted", "wrong size at the end")

#: What of an upload must never be seen, and why.
_NEVER = {
    "wrong digest": "its digest is not the one announced",
    "too short": "its length is not the one announced",
    "too long": "its length is not the one announced",
    "cut half-way": "it was cut half-way",
    "aborted": "it was aborted",
}


class Begun(NamedTuple):
    """An upload that was accepted: its id, and where it may go, best first."""

    id: str
    targets: list[str]


class Uploading:
    """
    One upload.  ``url`` is a daemon's, ``upload`` its line in the history, ``way`` one of ``WAYS``.  Each step
    raises ``NoAnswer`` when nobody knows whether it was done; what is left of the upload is in the history.
    """

    def __init__(self, url: str, upload: Upload, way: str, size: int, random: Random) -> None:
        self.url = url
        self.upload = upload
        self.way = way
        self.data = content(upload.path, upload.op, size)
        self._random = random
        upload.why_never = _NEVER.get(way, "")

    def begin(self) -> Begun | Reply:
        """What was accepted, else the refusal."""
        reply = self._through_api() if self.way in _THROUGH_API else self._put()
        if reply.status in (302, 307):
            begun = Begun(reply.headers["Dragonbelly-Upload"], [reply.headers["Location"]])
        elif reply.status == 201:
            told = json.loads(reply.body)
            begun = Begun(told["upload"], [target["url"] for target in told["targets"]])
        else:
            return reply
        self.upload.accepted = time.monotonic()
        self.upload.version = begun.id
        return begun

    def _put(self) -> Reply:
        size = len(self.data) + {"too short": 1, "too long": -1}.get(self.way, 0)
        headers = {"Content-Length": str(size), "Expect": "100-continue"}
        if self.way in ("digest announced", "wrong digest"):
            announced = self.data if self.way == "digest announced" else self.data + b"!"
            digest = base64.b64encode(hashlib.sha256(announced).digest()).decode()
            headers["Repr-Digest"] = f"sha-256=:{digest}:"
        if self.way == "create only":
            headers["If-None-Match"] = "*"
        return call("PUT", f"{self.url}/{quote(self.upload.path)}", b"", headers)

    def _through_api(self) -> Reply:
        asked: dict[str, Any] = {"path": self.upload.path}
        if self.way != "wrong size at the end" and self._random.random() < 0.7:
            asked["size"] = len(self.data)
        if self._random.random() < 0.3:
            asked["sha256"] = hashlib.sha256(self.data).hexdigest()
        if self._random.random() < 0.1:
            asked["copies"] = 3
        return call("POST", f"{self.url}{API}/uploads", json.dumps(asked).encode())

    def send(self, begun: Begun) -> bool:
        """Whether a storage server says that it has it (which is no proof)."""
        if self.way == "never sent":
            return False
        if self.way == "aborted":
            aborted = call("DELETE", f"{self.url}{API}/uploads/{begun.id}?path={quote(self.upload.path)}")
            if aborted.status != 204:
                return False
        if self.way == "cut half-way":
            call("PUT", begun.targets[0], self.data[: len(self.data) // 2], whole=len(self.data))
        self.upload.sent = True
        if self.way == "two servers":
            stored = [self._store(target) for target in begun.targets[:2]]
            return any(stored)
        stored_at = next((target for target in begun.targets[:2] if self._store(target)), None)
        if self.way == "sent twice" and stored_at is not None:
            self._send_again(stored_at)
        return stored_at is not None

    def _store(self, target: str) -> bool:
        try:
            return call("PUT", target, self.data).status == 201
        except NoAnswer:
            return False

    def _send_again(self, target: str) -> None:
        """Other bytes to the same place, of no upload: the storage server must refuse them."""
        call("PUT", target, bytes(len(self.data)))

    def complete(self, url: str, copies: int) -> Reply:
        """What a daemon says of it, at its ``url``."""
        asked: dict[str, Any] = {"path": self.upload.path}
        if self.way == "wrong size at the end":
            asked["size"] = len(self.data) + 1
        where = f"{url}{API}/uploads/{self.upload.version}/complete"
        if copies > 1:
            where += f"?copies={copies}&timeout=3s"
        return call("POST", where, json.dumps(asked).encode(), timeout=5)

    def shown(self, url: str) -> bool:
        """Whether a daemon shows it as the file."""
        reply = call("HEAD", f"{url}/{quote(self.upload.path)}")
        return reply.status == 302 and reply.headers["ETag"] == f'"{self.upload.version}"'

"""Clients: they put, overwrite, read and delete, are slow and sometimes wrong, and tell the oracle."""

from __future__ import annotations

import base64
from hashlib import sha256
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

from dragonbelly.errors import BackendError
from dragonbelly.model import Path
from dragonbelly.testing.simulation.judge import Upload
from dragonbelly.testing.simulation.storage import DOWN, FROZEN
from dragonbelly.web.api import PREFIX
from dragonbelly.web.message import Answer, Question
from dragonbelly.web.paths import split_target

if TYPE_CHECKING:
    from dragonbelly.testing.simulation.process import Process
    from dragonbelly.testing.simulation.world import World

#: Sizes of files; one that has none is a case of its own.
SIZES = (0, 1, 20, 20, 300)


class Client:
    """One client: one call after the other."""

    def __init__(self, world: World, calls: int) -> None:
        self._world = world
        self._left = calls
        self.done = world.spawn(self._run())

    async def _run(self) -> None:
        world = self._world
        weights = list(accumulate([world.reads, *(weight for weight, _ in _CALLS)]))
        calls = [Client.get, *(call for _, call in _CALLS)]
        while self._left > 0:
            await world.sleep(world.random.expovariate(1 / world.pause))
            await world.random.choices(calls, cum_weights=weights)[0](self)

    # --- how it asks

    async def _ask(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: Any = None, size: int = 0
    ) -> tuple[Process, Answer | None]:
        """Some daemon's answer, None if there was none."""
        world = self._world
        self._left -= 1
        world.calls += 1
        process = world.random.choice(world.processes)
        data = b"" if body is None else msgspec.json.encode(body)
        question = Question(
            method, split_target(target.encode()), b"localhost", headers or {}, size or len(data), data
        )
        answer = await process.ask(question)
        if world.trace is not None:
            world.note(f"{method} {target} at {process.name}: {_shown(answer)}")
        world.reached(
            f"{method} {'api' if target.startswith(PREFIX) else 'file'} {answer.status if answer else '-'}"
        )
        if answer is not None and answer.status == 500:
            world.oracle.fail(0, f"{method} {target} is answered with 500: {answer.body!r}")
        return process, answer

    async def _api(self, method: str, resource: str, body: Any = None) -> tuple[Process, Answer | None]:
        return await self._ask(method, PREFIX + resource, None, body)

    def _path(self) -> Path:
        return self._world.random.choice(self._world.paths)

    # --- reading

    async def get(self) -> None:
        world, path, begun = self._world, self._path(), self._world.clock.rightNow
        floors = world.oracle.begins(path)
        process, answer = await self._ask("GET", f"/{path.name}")
        if answer is None:
            return
        if answer.status == 302:
            headers = dict(answer.headers)
            links = headers.get("Link", "")
            others = [link.split(">")[0].lstrip(" <") for link in links.split(",") if link]
            world.oracle.redirected(process, path, headers["Location"], others, floors, begun)
        elif answer.status == 404:
            world.oracle.not_found(process, path, floors, begun)

    async def show(self) -> None:
        path = self._path()
        await self._api("GET", f"files/{path.name}")

    async def list_some(self) -> None:
        await self._api("GET", "files?prefix=d/&delimiter=/")

    # --- writing

    def _upload(self, path: Path) -> tuple[Upload, dict[str, str]]:
        """What it is going to put, and how it announces that."""
        world, random = self._world, self._world.random
        data = random.randbytes(random.choice(SIZES))
        upload = Upload(path, data, 0, size=len(data))
        number = world.announce(upload)
        headers = {"content-length": str(len(data)), "dragonbelly-attr-n": number}
        if random.random() < 0.5:
            upload.sha256 = sha256(data).digest()
            headers["repr-digest"] = f"sha-256=:{base64.b64encode(upload.sha256).decode()}:"
        chance = random.random()
        if chance < 0.06:
            upload.create_only = True
            headers["if-none-match"] = "*"
        elif chance < 0.12:
            record = world.record(path)
            if record is not None and record.live is not None:
                upload.if_match = record.live.id
                headers["if-match"] = f'"{record.live.id}"'
        elif chance < 0.2:
            headers["dragonbelly-copies"] = str(random.choice((1, 2, 3)))
        elif chance < 0.24:
            headers["dragonbelly-expires"] = world.moment(random.choice((5, 40, 200)))
            world.oracle.files[path].ends.append(float("inf"))
        if upload.size and random.random() < 0.05:
            upload.size += 1  # and this is not what will come
            headers["content-length"] = str(upload.size)
        return upload, headers

    async def put(self) -> None:
        path = self._path()
        upload, headers = self._upload(path)
        _, answer = await self._ask("PUT", f"/{path.name}", headers, size=upload.size or 0)
        if answer is None or answer.status not in (302, 307):
            return
        given = dict(answer.headers)
        sent = await self._send(upload, [given["Location"]])
        if sent and self._world.random.random() < 0.7:
            await self._complete(path, given["Dragonbelly-Upload"], upload)

    async def upload(self) -> None:
        path = self._path()
        upload, headers = self._upload(path)
        body: dict[str, Any] = {"path": path.name, "attributes": {"n": headers["dragonbelly-attr-n"]}}
        if self._world.random.random() < 0.7:
            body["size"] = upload.size
        else:
            upload.size = None
        if upload.sha256 is not None:
            body["sha256"] = upload.sha256.hex()
        if upload.create_only:
            body["create_only"] = True
        if upload.if_match is not None:
            body["if_match"] = upload.if_match
        if "dragonbelly-copies" in headers:
            body["copies"] = int(headers["dragonbelly-copies"])
        _, answer = await self._api("POST", "uploads", body)
        if answer is None or answer.status != 201:
            return
        begun = msgspec.json.decode(answer.body)
        if self._world.random.random() < 0.06:
            await self._abort(path, begun["upload"])
            return
        if await self._send(upload, [target["url"] for target in begun["targets"]]):
            await self._complete(path, begun["upload"], upload)

    async def _abort(self, path: Path, id: str) -> None:
        begun = self._world.clock.rightNow
        _, answer = await self._api("DELETE", f"uploads/{id}?path={path.name}")
        if answer is not None and answer.status == 204:
            self._world.oracle.aborted(id, begun)

    async def _complete(self, path: Path, id: str, upload: Upload) -> None:
        world = self._world
        copies = world.random.choice((1, 1, 2))
        claims: dict[str, Any] = {"path": path.name}
        if world.random.random() < 0.04:
            world.count("wrong size claimed")
            claims["size"], upload.misclaimed = len(upload.data) + 1, True
        for _ in range(3):
            begun = world.clock.rightNow
            _, answer = await self._api("POST", f"uploads/{id}/complete?copies={copies}&timeout=2", claims)
            if answer is not None and answer.status == 200:
                file = msgspec.json.decode(answer.body)
                good = sum(replica["state"] == "good" for replica in file["replicas"])
                world.oracle.check(good >= copies, 1, f"complete of {id}: {good} copies of {copies}")
                if file["state"] == "live":
                    world.oracle.live_acknowledged(path, id, begun)
                return
            if answer is not None and answer.status not in (202, 503):
                return
            await world.sleep(2.0)

    async def _send(self, upload: Upload, urls: list[str]) -> bool:
        """Send the bytes to one of the servers: whether the client has reason to think that it worked."""
        world, random = self._world, self._world.random
        fate = random.random()
        if fate < 0.06:
            world.count("upload never sent")
            return False
        data = upload.data
        for url in urls:
            name, _, key = url.removeprefix("http://").partition(".test/")
            server = world.servers[name]
            if fate < 0.1:
                world.count("upload cut half-way")  # nginx keeps nothing of it
                return False
            if fate < 0.16:
                world.count("upload late")
                world.clock.callLater(world.delay(80.0), self._arrive, name, key, data, upload)
                return False
            if fate < 0.2:
                world.count("upload sent twice")
                world.clock.callLater(world.delay(60.0), self._arrive, name, key, data, upload)
            if server.mode in (DOWN, FROZEN):
                continue
            await world.sleep(world.delay(0.5))
            if self._arrive(name, key, data, upload):
                return True
        return False

    def _arrive(self, name: str, key: str, data: bytes, upload: Upload) -> bool:
        server = self._world.servers[name]
        if server.mode in (DOWN, FROZEN):
            return False
        self._world.note(f"upload of {len(data)} bytes to {name} {key}")
        try:
            server.put(key, data, self._world.clock.rightNow)
        except BackendError:
            return False
        if data != upload.data and server.disk.get(key) == data:
            server.harmed.add(key)  # a fault changed what it sent first, and that is the file by now
        return True

    # --- changing

    async def delete(self) -> None:
        world, path = self._world, self._path()
        order, begun = world.oracle.deletion_begins(path), world.clock.rightNow
        target = f"/{path.name}" if world.random.random() < 0.5 else f"{PREFIX}files/{path.name}"
        process, answer = await self._ask("DELETE", target)
        if answer is not None and answer.status == 204:
            world.oracle.deletion_acknowledged(process, path, order, begun)
        elif answer is None or answer.status >= 500:
            world.oracle.deletion_unknown(path)

    async def change(self) -> None:
        world, path = self._world, self._path()
        change: dict[str, Any] = {"copies": world.random.choice((1, 2, 3, None))}
        if world.random.random() < 0.15:
            change["expires"] = world.moment(world.random.choice((5, 60)))
            world.oracle.files[path].ends.append(float("inf"))
        await self._api("PATCH", f"files/{path.name}", change)


def _shown(answer: Answer | None) -> str:
    if answer is None:
        return "no answer"
    return f"{answer.status} {dict(answer.headers).get('Location') or answer.body.decode()[:300]}".strip()


_CALLS = (
    (8, Client.show),
    (3, Client.list_some),
    (15, Client.put),
    (7, Client.upload),
    (5, Client.delete),
    (5, Client.change),
)

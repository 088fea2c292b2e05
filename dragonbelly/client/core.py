"""
The operations, for all kinds of clients: what is asked in which order, what is tried again, and what an answer
means.  No I/O: that is the wire's.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from os import PathLike
from typing import Any, Literal, TypedDict, TypeVar, overload
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from dragonbelly import __version__
from dragonbelly.client import download
from dragonbelly.client.address import base_url, check_token
from dragonbelly.client.errors import Error, NotDragonbelly, NotYet, Unavailable, UploadFailed, of_answer
from dragonbelly.client.model import UNSET, Begun, Entry, File, Page, Signed, Target
from dragonbelly.client.reading import Reading
from dragonbelly.client.source import Content, Progress, Source
from dragonbelly.client.wire import Answer, NoAnswer, Request, Wire
from dragonbelly.signing import EXPIRES, Method

T = TypeVar("T")

API = "/-/api/v1/"

#: Names asked for at a time.
PAGE = 1000

#: Seconds before the first retry; each later one waits twice as long, within the second.
PAUSE, PAUSE_MAX = 0.2, 5.0

#: A time as it is to be given.
EXAMPLE = "datetime.now(UTC) + timedelta(days=1)"

#: Seconds that one ``complete`` may wait for copies: shorter than proxies wait for an answer.
WAIT = 20.0


class Options(TypedDict, total=False):
    """What a client may be given beside the URL; see ``Core``."""

    token: str | None
    domain: str | None
    timeout: float
    retries: int


class Core:
    """
    ``url`` is a daemon's listener, with the host that names the domain.  ``domain`` names it instead, which
    admin listeners allow.  ``token`` is sent as ``Authorization: Bearer``.  ``timeout``: seconds without
    progress after which a server has failed; ``retries``: how often what is safe is tried again when there was
    no answer.
    """

    def __init__(
        self,
        wire: Wire,
        url: str,
        *,
        token: str | None = None,
        domain: str | None = None,
        timeout: float = 30.0,
        retries: int = 4,
    ) -> None:
        self.wire = wire
        self.url = base_url(url)
        self._domain = domain
        self._headers = {"User-Agent": f"dragonbelly/{__version__}", "Accept": "application/json"}
        if token is not None:
            check_token(token)
            self._headers["Authorization"] = f"Bearer {token}"
        self.timeout = timeout
        self._retries = retries

    # --- reading

    async def stat(self, path: str) -> File:
        """All that is known of a file.  :raises NotFound:"""
        return self._file(await self._ask("GET", "files/" + _quoted(path)))

    async def reading(self, path: str) -> Reading:
        """The file as it is now, to be read; nothing of it was yet."""
        return Reading(self, await self.stat(path))

    async def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """
        All bytes, checked against the file's digest; or those from ``start`` to ``end``, which count as in a
        slice: only they are fetched, and there is nothing to check them against.

        :raises NotFound, DownloadFailed:
        """
        if start is not None or end is not None:
            return await self._part(await self.stat(path), start, end)
        pieces: list[bytes] = []
        async for chunk in download.chunks(self, path, pieces.clear):
            pieces.append(chunk)
        return b"".join(pieces)

    async def _part(self, file: File, start: int | None, end: int | None) -> bytes:
        first, last, _ = slice(start, end).indices(file.size or 0)
        reading = Reading(self, file, place=first, end=last)
        try:
            return await reading.read_all()
        finally:
            await reading.close()

    async def download(
        self, path: str, to: str | PathLike[str], *, resume: bool = False, progress: Progress | None = None
    ) -> File:
        """
        Write the file to ``to``, which appears when it is whole and right, or not at all.  ``resume``: what
        came before something failed is kept beside it, and the next call goes on from there if the file is
        still the same.

        :raises NotFound, DownloadFailed:
        :raises OSError: it cannot be written, or ``to`` is a directory, a device or a pipe.
        """
        return await download.to_file(self, path, to, resume, progress)

    async def page(self, prefix: str = "", delimiter: str = "", after: str = "", limit: int = PAGE) -> Page:
        """Up to ``limit`` of a listing; ``after`` is ``next`` of the page before."""
        query = {"prefix": prefix, "delimiter": delimiter, "after": after, "limit": str(limit)}
        answer = await self._ask("GET", "files", query={name: value for name, value in query.items() if value})
        return self._decode(answer, Page)

    async def pages(self, prefix: str = "", delimiter: str = "") -> AsyncIterator[Page]:
        after = ""
        while True:
            page = await self.page(prefix, delimiter, after)
            yield page
            if page.next is None:
                return
            after = page.next

    @overload
    def list(self, prefix: str = "", delimiter: Literal[""] = "") -> AsyncIterator[Entry]: ...
    @overload
    def list(self, prefix: str = "", delimiter: str = "") -> AsyncIterator[Entry | str]: ...
    async def list(self, prefix: str = "", delimiter: str = "") -> AsyncIterator[Entry | str]:
        """
        Files whose paths begin with ``prefix``, in order.  With the delimiter ``/`` only those whose rest has
        no slash; what the others have in common up to it comes once, as a str that ends with it.
        """
        async for page in self.pages(prefix, delimiter):
            named: list[tuple[str, Entry | str]] = [(entry.path, entry) for entry in page.files]
            named += [(name, name) for name in page.prefixes]
            for _, item in sorted(named, key=lambda pair: pair[0]):
                yield item

    # --- changing

    async def set(
        self,
        path: str,
        *,
        attributes: Mapping[str, str | None] | None = UNSET,
        copies: int | None = UNSET,
        policy: str | None = UNSET,
        expires: datetime | None = UNSET,
    ) -> File:
        """
        Change what a file asks for.  None takes a value away: all attributes, or one of them.  It is never sent
        twice.

        :raises NotFound, BadRequest, Denied:
        :raises Unavailable: no answer; if ``sent``, it may have been done or not.
        """
        change: dict[str, Any] = {
            "attributes": dict(attributes)
            if attributes is not UNSET and attributes is not None
            else attributes,
            "copies": copies,
            "policy": policy,
            "expires": expires if expires is UNSET else _moment(expires),
        }
        body = {name: value for name, value in change.items() if value is not UNSET}
        return self._file(await self._ask("PATCH", "files/" + _quoted(path), body=body, again=False))

    async def sign(
        self,
        path: str,
        method: Method = "GET",
        *,
        expires_in: int = EXPIRES,
        max_size: int | None = None,
        content_type: str | None = None,
    ) -> str:
        """
        A URL with which anybody may read that file, there or not (``GET``), or upload it (``PUT``: at most
        ``max_size`` bytes, and of ``content_type``, where they are given), for ``expires_in`` seconds or up to
        a quarter longer.  ``Signer`` makes them without asking.

        :raises BadRequest: no file can have this path, or that is no time.
        :raises Denied: whoever asks may not do it either.
        :raises NotFound: the server has no key.
        """
        asked = {
            "path": _name(path),
            "method": method,
            "expires_in": expires_in,
            "max_size": max_size,
            "content_type": content_type,
        }
        body = {name: value for name, value in asked.items() if value is not None}
        return self.url + self._decode(await self._ask("POST", "sign", body=body), Signed).url

    async def delete(self, path: str) -> None:
        """
        Never sent twice.

        :raises NotFound, Denied:
        :raises Unavailable: no answer; if ``sent``, it may have been done or not.
        """
        await self._ask("DELETE", "files/" + _quoted(path), again=False)

    async def put(
        self,
        path: str,
        content: Content,
        *,
        content_type: str | None = None,
        attributes: Mapping[str, str] | None = None,
        copies: int | None = None,
        policy: str | None = None,
        expires: datetime | None = None,
        wait_copies: int = 1,
        wait: float = 60.0,
        if_none_match: bool = False,
        if_match: str | None = None,
        progress: Progress | None = None,
    ) -> File:
        """
        Upload a file, and wait until it is there with ``wait_copies`` good copies, for ``wait`` seconds at
        most.

        ``content``: bytes, a binary file, the path (``PathLike``) of one, or an iterable of bytes.
        ``if_none_match``: only if there is no such file; ``if_match``: only in place of that version.
        ``progress(sent, size)`` is called as the bytes go; it begins again when another server is tried.

        :raises UploadFailed: no server took it.
        :raises Changed: the content changed while it was read.
        :raises PreconditionFailed, BadRequest, TooLarge, Over, Denied:
        :raises NotYet: the file is there, and has too few copies yet.
        :raises Unavailable: no answer; the file may be there or not.
        """
        asked: dict[str, Any] = {
            "path": _name(path),
            "content_type": content_type,
            "attributes": dict(attributes) if attributes else None,
            "copies": copies,
            "policy": policy,
            "expires": _moment(expires),
            "create_only": if_none_match or None,
            "if_match": if_match,
        }
        if isinstance(content, PathLike):
            file = await self.wire.call(open, content, "rb")
            try:
                return await self._put(Source(file, progress), asked, wait_copies, wait)
            finally:
                await self.wire.call(file.close)
        return await self._put(Source(content, progress), asked, wait_copies, wait)

    async def _put(self, source: Source, asked: Mapping[str, Any], copies: int, wait: float) -> File:
        path = asked["path"]
        wanted = {"size": source.size, **asked}
        begun = await self.begin({name: value for name, value in wanted.items() if value is not None})
        try:
            await self.upload(begun, source)
        except Exception:
            with suppress(Error):  # else it lapses
                await self.abort(path, begun.upload)
            raise
        return await self.complete(
            path, begun.upload, size=source.sent, sha256=source.sha256, copies=copies, wait=wait
        )

    # --- uploads, step by step

    async def begin(self, asked: Mapping[str, Any]) -> Begun:
        """``asked`` is the body of ``POST uploads``.  One that nobody hears of lapses, so it is asked again."""
        return self._decode(await self._ask("POST", "uploads", body=asked), Begun)

    async def upload(self, begun: Begun, source: Source) -> None:
        """
        Send the bytes to one of the targets.

        :raises UploadFailed: none takes them, or the first one failed and they cannot be sent again.
        """
        causes: list[tuple[str, str]] = []
        for target in begun.targets:
            server = urlsplit(target.url).netloc
            if not source.again:
                raise UploadFailed(
                    f"{_told(causes)}; a stream cannot be sent to another server: give a file, or bytes",
                    tuple(causes),
                )
            try:
                answer = await self._send(target, source)
            except NoAnswer as error:
                causes.append((server, str(error)))
                continue
            if answer.status in (200, 201, 204):
                return
            causes.append((server, f"it answers {answer.status}"))
        raise UploadFailed(f"no storage server took the file: {_told(causes)}", tuple(causes))

    async def _send(self, target: Target, source: Source) -> Answer:
        headers = {"User-Agent": self._headers["User-Agent"], **target.headers}
        request = Request(target.method, target.url, headers, timeout=self.timeout)
        chunks = source.chunks(self.wire)
        try:
            answer = await self.wire.send(request, chunks, source.size)
        finally:
            await chunks.aclose()  # type: ignore[attr-defined]
        if source.sha256 is None and answer.status < 300:
            raise NoAnswer(f"it says {answer.status}, and has not read the file")
        return answer

    async def complete(
        self,
        path: str,
        upload: str,
        *,
        size: int | None = None,
        sha256: str | None = None,
        copies: int = 1,
        wait: float = 60.0,
    ) -> File:
        """
        Say that the bytes are there, as often as it takes to be heard: asked twice it is done once.

        :raises NotYet: not within ``wait`` seconds.
        """
        asked = {"path": path, "size": size, "sha256": sha256}
        body = {name: value for name, value in asked.items() if value is not None}
        left, pause = wait, PAUSE
        while True:
            share = min(left, WAIT)
            query = {"copies": str(copies), "timeout": f"{max(share, 0):.3f}s"}
            answer = await self._ask(
                "POST", f"uploads/{upload}/complete", query=query, body=body, patience=share, also=(202,)
            )
            if answer.status == 200:
                return self._file(answer)
            said = self._json(answer)
            uploading = said.get("state") == "uploading"
            if uploading:
                # The server looked once and did not wait.
                await self.wire.sleep(min(pause, max(left, 0)))
                share, pause = pause, min(2 * pause, PAUSE_MAX)
            left -= share
            if left <= 0:
                if uploading:
                    raise NotYet(f"{path} has not been seen on a storage server yet: {said.get('detail')}")
                held = said.get("copies", {}).get("held")
                raise NotYet(
                    f"{path} is there, with {held} of {copies} copies so far", status=202, problem=said
                )

    async def abort(self, path: str, upload: str) -> None:
        """The upload is not to become a file."""
        await self._ask("DELETE", f"uploads/{upload}", query={"path": path})

    # --- asking

    async def _ask(
        self,
        method: str,
        resource: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        again: bool = True,
        patience: float = 0.0,
        also: tuple[int, ...] = (),
    ) -> Answer:
        """
        An answer that says yes, or one of ``also``.  ``again``: whether it does no harm if it is done twice;
        what never reached the server is asked again in any case.
        """
        asked = dict(query or {})
        if self._domain is not None:
            asked["domain"] = self._domain
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = Request(
            method,
            self.url + API + resource + (f"?{urlencode(asked)}" if asked else ""),
            headers,
            msgspec.json.encode(body) if body is not None else None,
            self.timeout + patience,
        )
        for left in range(self._retries, -1, -1):
            pause = min(PAUSE * 2 ** (self._retries - left), PAUSE_MAX)
            try:
                answer = await self.wire.ask(request)
            except NoAnswer as error:
                failed = Unavailable(f"no answer from {self.url}: {error}", sent=error.sent)
                if not left or (error.sent and not again):
                    raise failed from None
            else:
                if (200 <= answer.status < 300 and answer.status != 202) or answer.status in also:
                    return answer
                refused = self._refusal(answer)
                if not isinstance(refused, Unavailable) or not left or not again:
                    raise refused
                if refused.retry_after is not None:
                    pause = min(max(pause, refused.retry_after), PAUSE_MAX)
            # Not all at once: those who failed together would come back together.
            await self.wire.sleep(pause * (0.5 + random.random()))  # nosec B311 # nothing to guess
        raise AssertionError("unreachable")

    def _refusal(self, answer: Answer) -> Error:
        try:
            problem = self._json(answer)
        except NotDragonbelly as error:
            if answer.status in (502, 503, 504):  # a proxy in front of it
                return Unavailable(str(error), status=answer.status)
            return error
        after = answer.headers.get("retry-after", "")
        return of_answer(answer.status, problem, float(after) if after.isdigit() else None)

    def _json(self, answer: Answer) -> dict[str, Any]:
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise NotDragonbelly(
                f"{self.url} answers {answer.status}, and not as Dragonbelly does: is that its address?",
                status=answer.status,
            ) from None

    def _decode(self, answer: Answer, type: type[T]) -> T:
        try:
            return msgspec.json.decode(answer.body, type=type)
        except msgspec.DecodeError as error:
            raise NotDragonbelly(
                f"{self.url} does not answer as Dragonbelly does ({error}): is that its address?",
                status=answer.status,
            ) from None

    def _file(self, answer: Answer) -> File:
        file = self._decode(answer, File)
        return msgspec.structs.replace(file, url=self.url + file.url)


def _name(path: str) -> str:
    """The server says what is wrong with a path; what JSON would make another of never reaches it."""
    if not isinstance(path, str):
        raise TypeError(f"a path in Dragonbelly is a str, not {type(path).__name__}: {path!r}")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise of_answer(400, {"detail": "the path is not valid Unicode", "field": "path"}) from None
    return path


def _quoted(path: str) -> str:
    # "." and ".." would never reach the server.
    name = _name(path).removeprefix("/")
    if any(segment in (".", "..") for segment in name.split("/")):
        raise of_answer(400, {"detail": "the path has a . or .. segment", "field": "path"})
    return quote(name, safe="/")


def _moment(at: datetime | None) -> str | None:
    if at is None:
        return None
    if not isinstance(at, datetime):
        raise TypeError(f"a time is a datetime, not {type(at).__name__}: {EXAMPLE}, for one")
    if at.tzinfo is None:
        raise ValueError(f"a time needs a time zone: {EXAMPLE}, for one")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _told(causes: list[tuple[str, str]]) -> str:
    return "; ".join(f"{server}: {what}" for server, what in causes) or "there is none"

"""
A web server with DAV's PUT and DELETE as storage: nginx with its core ``dav`` module is the reference.

``etc/nginx-storage.conf`` is the server's side.  What nginx is like (1.22): PUT is a temporary file and a
rename, so a part is never seen; 201 is not durable (it calls no fsync); a full disk is a 500; a listing leaves
out names that begin with a dot; ``DELETE /d/`` removes a whole tree.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Literal, cast
from urllib.parse import unquote, urlsplit

import msgspec
from twisted.internet.defer import Deferred
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from dragonbelly.backends.http import Answer, HttpBackend
from dragonbelly.backends.listing import PROPFIND, Entry, of_autoindex, of_propfind
from dragonbelly.backends.secure_link import signed
from dragonbelly.bodies import BytesBody
from dragonbelly.errors import BackendRefused, BackendUnavailable, ConfigError, NoSuchObject
from dragonbelly.interfaces import IBackend, IBackendFactory, IObjectBody
from dragonbelly.keys import is_key, looks_like_mark, quoted
from dragonbelly.model import ObjectStat, Space, StoredKey, Target
from dragonbelly.secret import Secret
from dragonbelly.signing import steady
from dragonbelly.units import Interval

#: Directories that wait to be listed, at most: they are kept in memory.
DIRECTORIES = 2_000_000


class DavOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    ``url`` is what clients are sent to, ``internal_url`` what the daemon talks to (``url`` unless set).

    ``secure_link_secret`` signs URLs as nginx' ``secure_link`` checks them: all that the daemon goes to itself,
    those that clients upload to, and, if the server is ``private``, those that they read from.  One of a
    private server is good for ``secure_link_expires`` at least, unless it is of a private domain.

    ``credential`` tells the server that it is the daemon who asks; clients never get it.  ``listing`` is how
    directories are listed: by ``autoindex_format json``, or by PROPFIND.
    """

    url: str
    internal_url: str | None = None
    secure_link_secret: Secret | None = None
    secure_link_expires: Interval = Interval(3600)
    private: bool = False
    credential: Secret | None = None
    listing: Literal["autoindex", "propfind"] = "autoindex"


@implementer(IBackend)
class DavBackend(HttpBackend):
    """:raises ConfigError: a URL or the credential is none, or a secret is missing or everybody's."""

    def __init__(self, name: str, options: DavOptions, reactor: Any, **timeouts: float) -> None:
        super().__init__(name, reactor, options.url, options.internal_url, **timeouts)
        self._options = options
        if (mistake := _mistake(options)) is not None:
            raise ConfigError(f"backend {name}: {mistake}")
        self.download_base = None if options.private else f"{self._public}/"
        self.link_expires = options.secure_link_expires if options.private else None
        credential = options.credential
        self._authorization = () if credential is None else (("Authorization", f"Bearer {credential}"),)

    def download_url(self, key: str, expires: int | None = None) -> str:
        if not self._options.private:
            return f"{self._public}/{quoted(key)}"
        if expires is None:
            expires = steady(self._reactor.seconds(), self._options.secure_link_expires)
        return self._signed("GET", self._public, key, expires)

    def upload_target(
        self, key: str, *, size: int | None = None, content_type: str | None = None, expires: int | None = None
    ) -> Target:
        return Target("PUT", self._signed("PUT", self._public, key, expires))

    def stat(self, key: str) -> Deferred[ObjectStat]:
        return Deferred.fromCoroutine(self._stat(key))

    def read(self, key: str) -> Deferred[IObjectBody]:
        return Deferred.fromCoroutine(self._read(key))

    def write(self, key: str, body: IBodyProducer, content_type: str | None = None) -> Deferred[None]:
        # Without the type: nginx goes by the extension, which the key keeps.
        return Deferred.fromCoroutine(self._write(key, body))

    def delete(self, key: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self._delete(key))

    def probe(self) -> Deferred[Space]:
        return Deferred.fromCoroutine(self._probe())

    async def keys(self, prefix: str = "") -> AsyncIterator[StoredKey]:
        """
        Walks the directories, one listing at a time.

        With ``autoindex`` objects below or with a name that begins with a dot do not come: absence from this
        walk does not mean that an object is gone.
        """
        top = prefix.strip("/")
        pending = [top]
        while pending:
            directory = pending.pop()
            try:
                entries = await self._list(directory)
            except NoSuchObject as error:
                if not directory:
                    raise BackendRefused(f"{error}: its root cannot be listed") from None
                continue  # never there, or removed since its parent was listed
            if len(pending) + len(entries) > DIRECTORIES:
                raise BackendUnavailable(f"{self.name}: more than {DIRECTORIES} directories are to be listed")
            for entry in entries:
                key = f"{directory}/{entry.name}" if directory else entry.name
                if not is_key(key):
                    continue
                if entry.directory:
                    pending.append(key)
                else:
                    yield StoredKey(key, entry.size)

    async def _stat(self, key: str) -> ObjectStat:
        answer = await self._request("HEAD", key)
        size = answer.length
        if size is None:
            raise BackendUnavailable(f"{answer.what}: an answer without Content-Length")
        return ObjectStat(size)

    async def _read(self, key: str) -> IObjectBody:
        return (await self._request("GET", key)).body()

    async def _write(self, key: str, body: IBodyProducer) -> None:
        answer = await self._request("PUT", key, body=body, expect=(200, 201, 204, 500))
        answer.dismiss()
        if answer.status == 500:
            raise BackendUnavailable(f"{answer.what}: 500, as nginx says when its disk is full, too")

    async def _delete(self, key: str) -> None:
        await self._remove(key)
        directory = key.rpartition("/")[0]
        # nginx removes whatever is below a directory: only ever one that is a version's, by its very name.
        if looks_like_mark(directory.rpartition("/")[2]):
            await self._remove(f"{directory}/")

    async def _remove(self, key: str) -> None:
        try:
            answer = await self._request("DELETE", key, expect=(200, 202, 204))
        except NoSuchObject:
            return
        answer.dismiss()

    async def _probe(self) -> Space:
        answer = await self._request("HEAD", "", expect=range(200, 500))
        answer.dismiss()
        return Space()

    async def _list(self, directory: str) -> list[Entry]:
        path = f"{directory}/" if directory else ""
        if self._options.listing == "autoindex":
            answer = await self._request("GET", path)
        else:
            body = BytesBody(PROPFIND)
            answer = await self._request("PROPFIND", path, headers=_PROPFIND, body=body, expect=(207,))
        content = await answer.content()
        try:
            if self._options.listing == "autoindex":
                return of_autoindex(content)
            return of_propfind(content, _decoded(self._server.base, path))
        except ValueError as error:
            raise BackendUnavailable(f"{answer.what}: no {self._options.listing} listing: {error}") from error

    async def _request(
        self, method: str, key: str, headers: tuple[tuple[str, str], ...] = (), **how: Any
    ) -> Answer:
        # Always signed, reading too: a server that is private though we believe it is not must not look broken.
        url = self._signed(method, self._server.base, key)
        return await self._server.request(method, url, headers=(*self._authorization, *headers), **how)

    def _signed(self, method: str, base: str, key: str, expires: int | None = None) -> str:
        url = f"{base}/{quoted(key)}"
        secret = self._options.secure_link_secret
        if secret is None:
            return url
        if expires is None:
            expires = int(self._reactor.seconds() + self._options.secure_link_expires)
        return f"{url}?{signed(secret, method, _decoded(base, key), expires)}"


#: What etc/nginx-storage.conf has in the place of a secret.
PLACEHOLDER = "CHANGE-THIS-SECRET"

#: Neither special in a header nor in a regular expression of nginx' configuration.
_CREDENTIAL = re.compile(r"[A-Za-z0-9_-]{32,}")

_PROPFIND = (("Depth", "1"), ("Content-Type", "application/xml; charset=utf-8"))


def _mistake(options: DavOptions) -> str | None:
    """What does not fit together; never shows a secret."""
    if options.private and options.secure_link_secret is None:
        return "found private = true without a secure_link_secret, expected the one that the server has"
    if options.secure_link_secret == PLACEHOLDER:
        return f"found the secure_link_secret of the sample, {PLACEHOLDER}, expected one that nobody knows"
    if options.credential is not None and not _CREDENTIAL.fullmatch(options.credential):
        return (
            f"found a credential of {len(options.credential)} characters, expected 32 or more, each a letter, "
            "a digit, '-' or '_'; openssl rand -hex 32 makes one"
        )
    return None


def _decoded(base: str, key: str) -> str:
    """The decoded path of a key's URL."""
    return f"{unquote(urlsplit(base).path)}/{key}"


@implementer(IBackendFactory)
class DavFactory:
    kind = "dav"
    options = DavOptions

    def make(self, name: str, options: object, reactor: object) -> IBackend:
        return cast(IBackend, DavBackend(name, cast(DavOptions, options), reactor))

"""
From an application's request or response to a redirect to a file: rules without I/O, for any framework.

There are two.  A request under a prefix (``/media/``) is answered with a redirect to the file of that name.  A
response with the header ``X-Dragonbelly-Redirect: <path>``, which a view sets, becomes a redirect to that file;
the header itself never leaves.  Either way the name passes the product's own rules (``web.paths``), and what a
permission was asked for is what the Location says.

Header lists are as in WSGI: names and values are ``str`` whose characters stand for bytes (PEP 3333, "Unicode
Issues").

Sources: PEP 3333, RFC 9110 (sections 8, 10.2.2, 15.4, 15.5.6), RFC 2047.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

from dragonbelly.errors import BadPath, ConfigError, DragonbellyError
from dragonbelly.names import check_name
from dragonbelly.web.paths import decode, host_name, quote_name

HEADER = "X-Dragonbelly-Redirect"

#: Redirects that nobody may keep: a permanent one would outlive the permission.
STATUSES = (302, 307)

Headers = list[tuple[str, str]]

_log = logging.getLogger(__name__)

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_URL = re.compile(r"https?://[!-~]+")
_USER = re.compile(r"[^/]*//[^/?#]*@")
_ENCODED_WORD = re.compile(r"=\?[^?]*\?[bqBQ]\?.*\?=", re.DOTALL)

#: What a view's response says of its body, which is dropped, and of where to go, which we say.
_OF_THE_BODY = re.compile(
    r"(?i:accept-ranges|digest|etag|last-modified|location|repr-digest|trailer|transfer-encoding"
    r"|content-(?:digest|disposition|encoding|language|length|location|md5|range|type))"
)


_PLAIN = ("Content-Type", "text/plain; charset=utf-8")


class BadRedirect(DragonbellyError):
    """A redirect that the application asks for and that cannot be: a mistake in its code."""


class Answer(NamedTuple):
    """A whole response."""

    status: int
    headers: Headers
    body: bytes

    @property
    def line(self) -> str:
        """The status as WSGI wants it."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"


class Redirects:
    """
    Where the files are, and which requests and responses become redirects to them.

    ``url`` is the public URL of the Dragonbelly domain, with a path when a proxy puts it under one.  ``prefix``
    is the path, plain text, under which requests are answered with a redirect (None: none).  ``header`` is the
    name of the response header that a view sets.  ``status`` is 302 or 307.

    ``locate`` gives the URL for a checked name of a file (decoded, no slash in front) where the plain one does
    not do, because it needs a signature, say.

    :raises ConfigError: one of them is wrong; the message says which, what is expected and what was found.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str | None = None,
        header: str = HEADER,
        status: int = 302,
        locate: Callable[[str], str] | None = None,
    ) -> None:
        self.base = _checked_base(url)
        self.prefix = None if prefix is None else _checked_prefix(prefix)
        if not _TOKEN.fullmatch(header):
            raise ConfigError(f"header: expected the name of a header such as {HEADER}, found {header!r}")
        self.header = header.lower()
        if status not in STATUSES:
            raise ConfigError(f"status: expected 302 or 307, found {status!r}")
        self.status = status
        self._locate = locate

    # --- a request

    def for_request(self, method: str, path: str, raw: bytes | None = None) -> str | Answer | None:
        """
        The name of the file that is asked for; an answer that says why there is none; None when the request is
        for the application.

        :param path: below the application's root, decoded; bytes that are not UTF-8 as lone surrogates.
        :param raw: the whole path as the client sent it, if the server tells.
        """
        if self.prefix is None or not path.startswith(self.prefix):
            return None
        try:
            # Servers decode leniently: an encoded slash has become one, bytes that are not UTF-8 are replaced.
            if raw is not None and not decode(raw.partition(b"?")[0]).endswith(path):
                raise BadPath("the server decodes the path in another way")
            name = check_name(path.removeprefix(self.prefix))
        except BadPath:
            return refusal(method, 404, b"There is no such file.\n")
        if method not in ("GET", "HEAD"):
            return refusal(method, 405, b"Files are only read here.\n", ("Allow", "GET, HEAD"))
        return name

    def forbidden(self, method: str) -> Answer:
        """The answer when the permission said no."""
        return refusal(method, 403, b"This file is not for you.\n")

    def redirect(self, method: str, name: str, *, guarded: bool) -> Answer:
        """
        To the file with this checked name; ``guarded`` says that a permission was asked.  The request's query
        stays here: it was meant for the application, and must not mix with that of a signature.
        """
        try:
            location = self.location(name)
        except BadRedirect as error:
            return _mistake(method, error)
        private = guarded or self._locate is not None
        return _to(self.status, location, [("Cache-Control", "private, no-store")] if private else [])

    # --- a response

    def for_response(self, method: str, status: int, headers: Headers) -> Answer | None:
        """
        The redirect that a view asks for.  None when it does not, or when its status is not 200: a refusal
        stays one.  Send ``kept(headers)`` then.

        Cookies and other headers of the view stay, what described its body goes.  A mistake in the header is
        logged and gives a 500.
        """
        values = [value for name, value in headers if name.lower() == self.header]
        if not values or status != 200:
            return None
        try:
            if len(values) > 1:
                raise BadRedirect(f"the response has {len(values)} headers {self.header}, expected one")
            location = self.location(self.name_in(values[0]))
        except BadRedirect as error:
            return _mistake(method, error)
        others = [(name, value) for name, value in self.kept(headers) if not _OF_THE_BODY.fullmatch(name)]
        if not any(name.lower() == "cache-control" for name, _ in others):
            others.append(("Cache-Control", "private, no-store"))
        # A file is read, whatever was done before (RFC 9110, section 15.4.4).
        return _to(self.status if method in ("GET", "HEAD") else 303, location, others)

    def kept(self, headers: Headers) -> Headers:
        """Without the header."""
        return [(name, value) for name, value in headers if name.lower() != self.header]

    def name_in(self, value: str) -> str:
        """
        The name of a file in the header's value: plain text in UTF-8, not percent-encoded.  It may have a slash
        in front.

        :raises BadRedirect: it is none; says why.
        """
        try:
            name = value.encode("latin-1").decode()
        except UnicodeError:
            raise BadRedirect(
                f"{self.header}: {value[:200]!r} is not the UTF-8 of a path; make it with header_value(path)"
            ) from None
        if _ENCODED_WORD.fullmatch(name):
            raise BadRedirect(
                f"{self.header}: {name[:200]!r} was encoded as mail is; make it with header_value(path)"
            )
        try:
            return check_name(name.removeprefix("/"))
        except BadPath as error:
            raise BadRedirect(
                f"{self.header}: expected the path of a file, found {name[:200]!r}: {error}"
            ) from None

    # --- the one place where a Location is made

    def plain_url(self, name: str) -> str:
        return self.base + quote_name(name)

    def location(self, name: str) -> str:
        """:raises BadRedirect: ``locate`` gave something else than a URL."""
        if self._locate is None:
            return self.plain_url(name)
        url = self._locate(name)
        if not isinstance(url, str) or not _URL.fullmatch(url):
            raise BadRedirect(
                f"locate: expected an http or https URL in ASCII for {name!r}, found {url!r:.200}"
            )
        return url


def header_value(path: str) -> str:
    """
    What a view sets the header to.  A path in ASCII may be given as it is; of any other each byte of its UTF-8
    becomes a character, which WSGI, Starlette and Django hand on unchanged.

    :raises BadPath: no file can have this name.
    """
    check_name(path.removeprefix("/"))
    return path.encode().decode("latin-1")


def refusal(method: str, status: int, text: bytes, *more: tuple[str, str]) -> Answer:
    """An answer in words, without them for HEAD."""
    headers = [_PLAIN, ("Content-Length", str(len(text))), ("Cache-Control", "no-store"), *more]
    return Answer(status, headers, b"" if method == "HEAD" else text)


def _mistake(method: str, error: BadRedirect) -> Answer:
    _log.error("%s", error)
    return refusal(method, 500, b"The application made a mistake; its log says which.\n")


def _to(status: int, location: str, headers: Iterable[tuple[str, str]]) -> Answer:
    # A type even of nothing: wsgiref.validate wants one.
    return Answer(status, [*headers, ("Location", location), _PLAIN, ("Content-Length", "0")], b"")


def _checked_base(url: str) -> str:
    """The URL with a slash at its end.  :raises ConfigError:"""

    def wrong(why: str) -> ConfigError:
        return ConfigError(
            f"url: expected the public URL of a Dragonbelly domain such as https://media.example.com, "
            f"found {url!r}: {why}"
        )

    if isinstance(url, str) and _USER.match(url):
        # Not shown: a message ends in a log.
        raise ConfigError("url: it has a user or a password, which every client would see; leave them out")
    if not isinstance(url, str) or not _URL.fullmatch(url):
        raise wrong("it is not http:// or https:// and a host, in ASCII")
    if "?" in url or "#" in url:
        raise wrong("it has a query or a fragment")
    try:
        parts = urlsplit(url)
        _ = parts.port  # it may be no number
    except ValueError as error:
        raise wrong(str(error)) from None
    if not host_name(parts.netloc.encode()):
        raise wrong("it has no proper host")
    path = parts.path.removesuffix("/")
    if path:
        try:
            path = "/" + quote_name(check_name(decode(path[1:].encode())))
        except BadPath as error:
            raise wrong(str(error)) from None
    return f"{parts.scheme}://{parts.netloc}{path}/"


def _checked_prefix(prefix: str) -> str:
    """:raises ConfigError: it is none."""
    expected = "prefix: expected a path such as /media/, with a slash at both ends, plain text"
    if not isinstance(prefix, str) or len(prefix) < 3 or prefix[0] != "/" or prefix[-1] != "/":
        raise ConfigError(f"{expected}; found {prefix!r}")
    try:
        check_name(prefix[1:-1])
    except BadPath as error:
        raise ConfigError(f"{expected}; found {prefix!r}: {error}") from None
    if "%" in prefix:
        raise ConfigError(f"{expected}; found {prefix!r}: it is percent-encoded")
    return prefix

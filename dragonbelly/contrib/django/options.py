"""What is said in the settings: ``DRAGONBELLY``, and ``OPTIONS`` of a storage, which win over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from dragonbelly.client.address import base_url
from dragonbelly.client.signer import Signer
from dragonbelly.errors import BadPath
from dragonbelly.names import check_name
from dragonbelly.signing import EXPIRES, EXPIRES_MAX
from dragonbelly.web.paths import quote_name

#: What ``DRAGONBELLY`` may have beside the options of a storage; the middleware's.
OF_THE_MIDDLEWARE = frozenset({"allow"})


def _is_number(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _are_texts(value: object) -> bool:
    return value is None or (
        isinstance(value, Mapping) and all(isinstance(text, str) for pair in value.items() for text in pair)
    )


#: What an option must be, in words and as a rule; addresses are looked at by themselves.
_EXPECTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "domain": ("a string", _is_text),
    "location": ("a directory such as 'media/'", lambda value: isinstance(value, str)),
    "policy": ("a string", _is_text),
    "copies": ("a number from 1 on", lambda value: value is None or _is_number(value, 1)),
    "wait_copies": ("a number from 1 on", lambda value: _is_number(value, 1)),
    "attributes": ("a dict of strings", _are_texts),
    "allow_overwrite": ("True or False", lambda value: isinstance(value, bool)),
    "timeout": ("seconds, more than none", _is_seconds),
    "retries": ("a number from 0 on", lambda value: _is_number(value, 0)),
    "signed_for": (
        f"seconds from 1 to {EXPIRES_MAX}",
        lambda value: _is_number(value, 1) and value <= EXPIRES_MAX,
    ),
}

#: What a ``signing_key`` has; the domain may be left out.
_KEY = ("id", "secret", "domain")


@dataclass(frozen=True, kw_only=True)
class Options:
    """
    ``url`` is where Django talks to the daemon, ``public_url`` where browsers find the files (None: there,
    too); ``base_url`` is what ``Storage.url`` begins with (None: the public URL and the location; ``/media/``
    when the middleware guards them).  ``location`` is a directory for all files of a storage.  ``attributes``,
    ``policy``, ``copies`` are asked for with each file, ``wait_copies`` are there when ``save`` returns.  With
    a ``signing_key`` (``id``, ``secret``, and the ``domain`` as the daemon calls it, if not ``domain`` or
    ``default``) URLs are signed, and good for ``signed_for`` seconds.

    :raises ImproperlyConfigured: one of them is wrong; says which and what is expected.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    domain: str | None = None
    public_url: str | None = None
    base_url: str | None = None
    location: str = ""
    policy: str | None = None
    copies: int | None = None
    wait_copies: int = 1
    attributes: Mapping[str, str] | None = None
    allow_overwrite: bool = False
    timeout: float = 30.0
    retries: int = 4
    signing_key: Mapping[str, str] | None = field(default=None, repr=False)
    signed_for: int = EXPIRES
    #: Gives the URL of a path; None: they are not signed.
    signer: Signer | None = field(default=None, init=False)

    @classmethod
    def of_settings(cls, given: Mapping[str, Any]) -> Self:
        """Those given, the others from ``settings.DRAGONBELLY``."""
        common = getattr(settings, "DRAGONBELLY", {})
        if not isinstance(common, Mapping):
            raise ImproperlyConfigured(f"DRAGONBELLY: expected a dict, found {common!r}")
        known = {option.name for option in fields(cls) if option.init}
        for name in [*common, *given]:
            if name not in known and (name in given or name not in OF_THE_MIDDLEWARE):
                raise ImproperlyConfigured(
                    f"Dragonbelly has no option {name!r}; there are {', '.join(sorted(known))}"
                )
        chosen = {name: value for name, value in common.items() if name in known} | dict(given)
        if not chosen.get("url"):
            raise ImproperlyConfigured(
                "Dragonbelly needs a url: DRAGONBELLY = {'url': 'http://127.0.0.1:8080'} in the settings, "
                "or in the OPTIONS of the storage"
            )
        return cls(**chosen)

    def __post_init__(self) -> None:
        for name in ("url", "public_url"):
            value = getattr(self, name)
            if value is not None:
                try:
                    base_url(value)
                except (ValueError, TypeError, AttributeError) as error:
                    raise ImproperlyConfigured(f"Dragonbelly's {name}: {error}") from None
        if "@" in urlsplit(self.public).netloc:
            raise ImproperlyConfigured(
                "Dragonbelly's public_url (url, if there is none) has a password, which everybody would see"
            )
        if self.base_url is not None and not str(self.base_url).endswith("/"):
            raise ImproperlyConfigured(
                f"Dragonbelly's base_url: expected a URL with a slash at its end such as /media/, "
                f"found {self.base_url!r}"
            )
        for name, (expected, holds) in _EXPECTED.items():
            value = getattr(self, name)
            if not holds(value):
                raise ImproperlyConfigured(f"Dragonbelly's {name}: expected {expected}, found {value!r}")
        if self.copies is not None and self.wait_copies > self.copies:
            raise ImproperlyConfigured(
                f"Dragonbelly's wait_copies: expected at most copies, which is {self.copies}; "
                f"found {self.wait_copies}"
            )
        location = self.location.strip("/")
        if location:
            try:
                check_name(location)
            except BadPath as error:
                raise ImproperlyConfigured(
                    f"Dragonbelly's location: expected a directory such as 'media/', "
                    f"found {self.location!r}: {error}"
                ) from None
        object.__setattr__(self, "location", f"{location}/" if location else "")
        object.__setattr__(self, "signer", self._signer())

    def _signer(self) -> Signer | None:
        key = self.signing_key
        if key is None:
            return None
        if not isinstance(key, Mapping) or not {"id", "secret"} <= set(key) <= set(_KEY):
            raise ImproperlyConfigured(
                "Dragonbelly's signing_key: expected a dict with id and secret, and domain if need be; what is "
                "there is not shown here"
            )
        if not all(isinstance(text, str) and text for text in key.values()):
            raise ImproperlyConfigured("Dragonbelly's signing_key: expected strings; one of them is none")
        domain = key.get("domain") or self.domain or "default"
        try:
            return Signer(self.public, domain, key["id"], key["secret"], expires_in=self.signed_for)
        except ValueError as error:
            raise ImproperlyConfigured(f"Dragonbelly's signing_key: {error}") from None

    @property
    def public(self) -> str:
        """The URL of the domain for browsers, without a slash at its end."""
        return base_url(self.public_url or self.url)

    @property
    def base(self) -> str:
        """What the URLs of this storage's files begin with."""
        return self.base_url or f"{self.public}/{quote_name(self.location)}"

"""Kinds of backends and policies for the tests: what is said must not depend on the plugins there are."""

from typing import Annotated

import msgspec

from dragonbelly import config
from dragonbelly.errors import ConfigError
from dragonbelly.policies.copies import CopiesFactory
from dragonbelly.units import Duration


class ShelfOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    internal_url: str | None = None
    secret: str | None = None
    expires: Duration = Duration(3600)
    depth: Annotated[int, msgspec.Meta(ge=1)] | None = None
    tags: dict[str, int] = {}
    link_key: str | None = msgspec.field(default=None, name="link-key")


class ShelfFactory:
    kind = "shelf"
    options = ShelfOptions

    def make(self, name, options, reactor):
        if options.secret == "":
            raise ConfigError("the secret\nis empty")
        return (name, options)


class SternOptions(msgspec.Struct, frozen=True):
    strict: bool = True

    def __post_init__(self):
        if not self.strict:
            raise ValueError("found false, and it cannot be")


class SternFactory:
    kind = "stern"
    options = SternOptions

    def make(self, name, options):
        raise ConfigError("it refuses everything")


BACKENDS = {factory.kind: factory for factory in (ShelfFactory(),)}
POLICIES = {factory.kind: factory for factory in (CopiesFactory(), SternFactory())}

#: The least that can be written.
SMALL = """
[backend.store1]
kind = "shelf"
url = "http://store1.example.com"
"""


def loads(text, filename="x.toml"):
    return config.loads(text, filename, backends=BACKENDS, policies=POLICIES)

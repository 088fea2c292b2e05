"""What the environment says of a server and of who asks there: one set of variables for all who read it."""

from __future__ import annotations

from collections.abc import Mapping

#: Each may be unset or empty, which is the same.
VARIABLES = {
    "url": "DRAGONBELLY_URL",
    "admin": "DRAGONBELLY_ADMIN_URL",
    "token": "DRAGONBELLY_TOKEN",  # nosec B105 # a variable's name
    "domain": "DRAGONBELLY_DOMAIN",
}


def said(environment: Mapping[str, str]) -> dict[str, str]:
    """What it says, by the names of ``VARIABLES``."""
    return {key: environment[name] for key, name in VARIABLES.items() if environment.get(name)}

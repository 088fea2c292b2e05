"""
Kinds of backends and policies, found with ``twisted.plugin`` in ``twisted.plugins``.

Built-in kinds are declared there like a third party's.
"""

from __future__ import annotations

from typing import Any

from twisted.plugin import getPlugins

from dragonbelly.errors import ConfigError
from dragonbelly.interfaces import IBackendFactory, IReplicationPolicyFactory


def backend_factories() -> dict[str, IBackendFactory]:
    """By kind.  :raises ConfigError: two plugins claim one kind, or none is found."""
    return _by_kind(IBackendFactory)


def policy_factories() -> dict[str, IReplicationPolicyFactory]:
    """By kind.  :raises ConfigError: two plugins claim one kind, or none is found."""
    return _by_kind(IReplicationPolicyFactory)


def _by_kind(interface: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for factory in getPlugins(interface):
        other = found.setdefault(factory.kind, factory)
        if other is not factory:
            both = f"{_where(other)} and {_where(factory)}"
            raise ConfigError(f'two plugins claim the kind "{factory.kind}": {both}')
    if not found:
        # An editable install maps packages one by one and hides twisted/plugins from twisted.plugin.
        raise ConfigError(
            "no plugin is found in twisted.plugins, not even the built-in ones: dragonbelly is not installed"
            " properly (an editable install needs --config-settings editable_mode=compat)"
        )
    return found


def _where(factory: object) -> str:
    return f"{type(factory).__module__}.{type(factory).__qualname__}"

import subprocess
import sys
from pathlib import Path

import pytest
from zope.interface.verify import verifyObject

from dragonbelly import plugins
from dragonbelly.errors import ConfigError
from dragonbelly.interfaces import IBackendFactory, IReplicationPolicyFactory
from dragonbelly.policies.copies import CopiesFactory

ROOT = Path(__file__).parents[2]


def test_the_built_in_ones_are_found():
    backends = plugins.backend_factories()
    assert {"dav", "node"} <= set(backends)
    for kind, factory in backends.items():
        assert verifyObject(IBackendFactory, factory)
        assert factory.kind == kind
    policies = plugins.policy_factories()
    assert isinstance(policies["copies"], CopiesFactory)
    assert verifyObject(IReplicationPolicyFactory, policies["copies"])


def test_two_of_one_kind(monkeypatch):
    monkeypatch.setattr(plugins, "getPlugins", lambda _: [CopiesFactory(), CopiesFactory()])
    where = "dragonbelly.policies.copies.CopiesFactory"
    with pytest.raises(ConfigError, match=f'^two plugins claim the kind "copies": {where} and {where}$'):
        plugins.policy_factories()


def test_none_at_all(monkeypatch):
    monkeypatch.setattr(plugins, "getPlugins", lambda _: [])
    with pytest.raises(ConfigError, match="not installed"):
        plugins.backend_factories()


def test_reading_a_configuration_installs_no_reactor():
    """Else ``twistd --reactor`` could not choose one any more."""
    code = """if True:
        import sys
        from dragonbelly.config import load
        load("etc/dragonbelly.toml")
        print("twisted.internet.reactor" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr

"""``etc/dragonbelly.toml`` documents every option, and says what is true."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from dragonbelly.backends.dav import DavOptions
from dragonbelly.backends.node import NodeOptions
from dragonbelly.config import PLAIN, load, loads
from dragonbelly.config.checks import doubts
from dragonbelly.config.values import BackendCommon, DomainSection, PolicyCommon, Rule
from dragonbelly.policies.copies import CopiesOptions

SAMPLE = Path(__file__).parents[2] / "etc" / "dragonbelly.toml"

TABLES = {
    **PLAIN,
    "domain.media": DomainSection,
    "policy.default": (PolicyCommon, CopiesOptions),
    "backend.store1": (BackendCommon, DavOptions),
    "backend.store3": (BackendCommon, NodeOptions),
}


def types(table):
    return TABLES[table] if isinstance(TABLES[table], tuple) else (TABLES[table],)


def sections():
    """The text of each table of the sample."""
    parts = re.split(r"^\[([a-z0-9.]+)\]$", SAMPLE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_it_loads():
    config = load(SAMPLE)
    assert [backend.kind for backend in config.backends.values()] == ["dav", "dav", "node"]
    assert doubts(config) == []


@pytest.mark.parametrize("table", TABLES)
def test_every_option_is_there(table):
    text = sections()[table]
    for type_ in types(table):
        for field in msgspec.structs.fields(type_):
            if table == "backend.store3" and type_ is BackendCommon:
                continue  # said once, at the first backend
            assert re.search(rf"^#?{field.encode_name} = ", text, re.MULTILINE), field.encode_name


def test_every_condition_of_a_rule_is_there():
    text = sections()["domain.media"]
    for field in msgspec.structs.fields(Rule):
        assert re.search(rf"\b{field.encode_name} = |^#.* {field.encode_name}\b", text, re.MULTILINE), (
            field.name
        )


@pytest.mark.parametrize("table", TABLES)
def test_what_is_commented_out_is_the_default(table):
    from dragonbelly.config.reading import Reader

    fields = {field.encode_name: field for type_ in types(table) for field in msgspec.structs.fields(type_)}
    for line in re.findall(r"^#([a-z_]+ = .*)$", sections()[table], re.MULTILINE):
        ((name, found),) = tomllib.loads(line).items()
        field = fields[name]  # a name that is not an option fails here
        value = Reader("sample").value(field.type, found, (table, name))
        if field.default is not None:  # else the sample shows how it would look
            default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
            assert value == default, name


def test_the_whole_with_everything_uncommented():
    text = re.sub(r"^#([a-z_]+ = )", r"\1", SAMPLE.read_text(), flags=re.MULTILINE)
    text = re.sub(r"^(rules = \[\]|zone = \"default\"|sentinel_password = .*)$", "", text, flags=re.MULTILINE)
    assert loads(text).fingerprint() == load(SAMPLE).fingerprint()

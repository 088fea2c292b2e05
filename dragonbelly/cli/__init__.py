"""The ``dragonbelly`` command.  Exit status 2: the command line or the configuration has a mistake."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import msgspec

from dragonbelly import __version__
from dragonbelly.config import load
from dragonbelly.config.checks import doubts
from dragonbelly.config.values import Config, without_login
from dragonbelly.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="dragonbelly", description="Redirector-based, replicated storage on plain web servers."
    )
    parser.add_argument("--version", action="version", version=f"dragonbelly {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    check = commands.add_parser("check", help="read a configuration and say what it means, or what is wrong")
    check.add_argument("file", metavar="FILE", help="for example etc/dragonbelly.toml")
    check.set_defaults(run=_check)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2


def _check(options: argparse.Namespace) -> int:
    config = load(options.file)
    # Only to see whether the options of each backend fit together: nothing is started, and nobody is asked.
    from twisted.internet import reactor

    config.make_backends(reactor)
    print("\n".join(summary(config)))
    for doubt in doubts(config):
        print(f"{config.filename}: {doubt}", file=sys.stderr)
    return 0


def summary(config: Config) -> list[str]:
    """What a configuration means, a line for each thing."""
    lines = [
        f"state    {without_login(config.state.redis)}, {config.state.partitions} partitions",
        f"files    {', '.join(config.http.listen) or 'nowhere'}",
        f"admin    {', '.join(config.http.admin) or 'nowhere'}",
    ]
    for name, domain in config.domains.items():
        lines.append(f"domain   {name}: {', '.join(domain.hosts)}; policy {domain.policy}")
        for rule in domain.rules:
            conditions = [
                f"{field} {value}"
                for field in ("match", "type", "larger", "smaller")
                if (value := getattr(rule, field)) is not None
            ]
            lines.append(f"         {', '.join(conditions)}: policy {rule.policy}")
    for name, policy in config.policies.items():
        options = msgspec.structs.asdict(policy.options)
        shown = ", ".join(f"{option} {value}" for option, value in options.items())
        lines.append(f"policy   {name}: {policy.kind}, {shown}")
    for b in config.backends.values():
        lines.append(f"backend  {b.name}: {b.kind} on host {b.host}, zone {b.zone}, weight {b.weight:g}")
    return lines

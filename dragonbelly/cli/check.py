"""``dragonbelly check``: what a configuration means, or what is wrong with it."""

from __future__ import annotations

import click
import msgspec

from dragonbelly.config import load
from dragonbelly.config.checks import doubts
from dragonbelly.config.values import Config, without_login


@click.command(short_help="Read a configuration and say what it means, or what is wrong.")
@click.argument("file")
def check(file: str) -> int:
    """
    Read the configuration FILE, for example etc/dragonbelly.toml, and say what it means, or what is wrong.

    Exit status 0, or 2 if it has a mistake.
    """
    config = load(file)
    # Only to see whether the options of each backend fit together: nothing is started, and nobody is asked.
    from twisted.internet import reactor

    config.make_backends(reactor)
    click.echo("\n".join(summary(config)))
    for doubt in doubts(config):
        click.echo(f"{config.filename}: {doubt}", err=True)
    return 0


def summary(config: Config) -> list[str]:
    """What a configuration means, a line for each thing."""
    lines = [
        f"state    {without_login(config.state.redis)}, {config.state.partitions} partitions",
        f"files    {', '.join(config.http.listen) or 'nowhere'}",
        f"admin    {', '.join(config.http.admin) or 'nowhere'}",
    ]
    for name, domain in config.domains.items():
        everybody = ", ".join(domain.anonymous) or "do nothing"
        lines.append(
            f"domain   {name}: {', '.join(domain.hosts)}; policy {domain.policy}; everybody may {everybody}"
        )
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
    for token in config.tokens:
        where = "" if "*" in token.domains else f"; domains {', '.join(token.domains)}"
        below = "" if "" in token.prefixes else f"; paths {', '.join(f'{p}…' for p in token.prefixes)}"
        lines.append(f"token    {token.name}: {', '.join(token.scopes)}{where}{below}")
    if config.signing_keys:
        first, *others = (key.id for key in config.signing_keys)
        lines.append(f"keys     {', '.join([f'{first} signs', *others])}")
    return lines

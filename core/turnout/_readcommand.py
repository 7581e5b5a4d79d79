"""`turnout read`: the events of a payload that somebody has saved."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from turnout.errors import Refusal
    from turnout.source import Source

__all__ = ["HERE", "read", "refusal_line"]

HERE = "turnout.toml"
"""The configuration that is taken when none is named."""


@click.command()
@click.argument("source")
@click.argument("file", default="-", metavar="[FILE|-]")
@click.option("--config", metavar="turnout.toml", help="The configuration; by default the turnout.toml here.")
@click.option("--settings", metavar="FILE.json", help="A JSON object of the source's settings.")
def read(source: str, file: str, config: str | None, settings: str | None) -> None:
    """Write the events of a saved payload as JSON lines.

    SOURCE is a source of the configuration, or a plugin. The payload may be packed with gzip. What can't be read is
    told on stderr, with its place in the payload; the rest goes on. Exit 1 when there was such a part, 2 for a wrong
    command line or configuration.
    """
    from turnout import _json
    from turnout.cli import opened, standard_output
    from turnout.errors import Refusal
    from turnout.source import events_of

    configured = _source(source, config, settings)
    with opened(file) as stream:
        payload = stream.read()
    out, refused = standard_output(), 0
    for found in events_of(configured, payload):
        if isinstance(found, Refusal):
            refused += 1
            out.flush()
            click.echo(refusal_line(found), err=True)
        else:
            out.write(_json.encode(found) + b"\n")
    out.flush()
    sys.exit(1 if refused else 0)


def _source(name: str, config: str | None, settings: str | None) -> Source:
    """Return the source that a command line names."""
    from turnout.config import load_config
    from turnout.source import configured_source
    from turnout.strictjson import load_object

    given = {} if settings is None else load_object(Path(settings), "settings")
    if config is not None:
        return configured_source(name, load_config(config), given)
    if Path(HERE).exists():
        configuration = load_config(HERE)
        if name in configuration.sources:
            return configured_source(name, configuration, given)
    return configured_source(name, None, given)


def refusal_line(refusal: Refusal) -> str:
    """Return a line that says what can't be read, and where."""
    place = f"{refusal.reason.path}: " if refusal.reason.path else ""
    text = f"turnout: {place}{refusal.reason.message} [{refusal.reason.code}]"
    return "".join(one if one.isprintable() else "?" for one in text)

"""`turnout new`: a destination package of one's own."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

__all__ = ["new"]


@click.command()
@click.argument("name")
@click.option(
    "--into",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="The package's folder, new or empty. Default: turnout-NAME, here.",
)
@click.option("--vendor", metavar="TEXT", help="The vendor's name for people, as in 'Acme Analytics'. Default: NAME.")
def new(name: str, folder: Path | None, vendor: str | None) -> None:
    """Write a package turnout-NAME with a destination of your own, ready to install and to change.

    It has settings, a rule of each kind, endpoints, a simulator, cases with snapshots, the contract test and a CI file.
    It installs, passes its tests, and is typed; the vendor in it is made up. Exit 2 when the name is taken or can't be
    a package's, or when the folder is not empty.
    """
    from turnout.scaffold import names_of, scaffold

    names = names_of(name, vendor)
    folder = folder or Path(names.distribution)
    written = scaffold(name, folder, vendor)
    click.echo(f"{folder}: wrote {len(written)} files of {names.distribution}. Go on with:\n")
    click.echo(f"  cd {shlex.quote(str(folder))} && pip install --editable '.[dev]'")
    click.echo("  pytest")
    click.echo(f"  turnout plan --config examples/turnout.toml -d {names.key} examples/events.jsonl")

"""The command `turnout case`: making cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from turnout._group import Group

if TYPE_CHECKING:
    from turnout.newcase import NewCase

__all__ = ["case"]

_WORDS = {
    "inside": "part of the text",
    "key": "secret",
    "page": "part of the path",
    "query": "part of the query",
    "site": "address",
    "url": "part of the address",
}


@click.group(cls=Group)
def case() -> None:
    """Make cases of recorded events, and of payloads of sources."""


@case.command()
@click.argument("file", metavar="FILE|-")
@click.option("-d", "--destination", help="The plugin that maps the event.")
@click.option("--source", help="The source that reads it, for a saved payload instead of an event.")
@click.option("--line", type=click.IntRange(min=1), help="The line of the event; by default the first that has one.")
@click.option("--settings", metavar="FILE.json", help="A JSON object of the destination's settings.")
@click.option("--name", help="What the case is called; by default after the event's type and name.")
@click.option("--into", metavar="FOLDER", help="The folder of cases; by default tests/cases or cases.")
@click.option("--doc", default="", metavar="TEXT", help="What the case shows.")
def add(
    file: str,
    destination: str | None,
    source: str | None,
    line: int | None,
    settings: str | None,
    name: str | None,
    into: str | None,
    doc: str,
) -> None:
    """Make a case, with its snapshot, of a recorded event or payload.

    An event is a line of a file of JSON lines. A payload of a source is a whole file, or the line that --line names.

    Secrets and personal data (ids, names, emails, phones, addresses, tokens, texts in traits) are replaced by stand-ins
    of the same form; the places are listed. What drives the mapping stays. Nothing is overwritten. What is personal in
    a payload, the events say that are read of it.
    """
    from turnout._hang import patrolled
    from turnout.cli import opened
    from turnout.newcase import make, make_of_payload, payload_of, recorded
    from turnout.strictjson import load_object

    given = {} if settings is None else load_object(Path(settings), "settings")
    if (destination is None) == (source is None):
        raise click.UsageError("Name the destination of an event with -d, or the source of a payload with --source.")
    said, folder = "standard input" if file == "-" else file, None if into is None else Path(into)
    with opened(file) as stream:
        if source is not None and line is None:
            taken, place = payload_of(stream.read(), said), said
        else:
            taken, place = recorded(stream, said, line)
    with patrolled():
        if source is not None:
            made = make_of_payload(taken, source, given, name=name, into=folder, doc=doc)
        else:
            made = make(taken, destination or "", given, name=name, into=folder, doc=doc)
    for path in made.write():
        click.echo(f"wrote  {path}")
    _tell(made, place)


def _tell(made: NewCase, place: str) -> None:
    from turnout._checkscreen import clean

    for plan in made.plans:
        reason, requests = plan["reason"], len(plan["requests"])
        why = f" ({reason['code']}): {reason['message']}" if reason else f", {requests} request{'s'[: requests != 1]}"
        click.echo(clean(f"{place}: {plan['outcome']}{why}"))
        if plan["outcome"] == "invalid":
            click.echo("The case pins that this event is refused.")
    if made.told is not None:
        events, refused = len(made.told["events"]), len(made.told["refused"])
        click.echo(f"{place}: {events} event{'s'[: events != 1]}" + (f", {refused} refused" if refused else ""))
    click.echo("Stand-ins:" if made.stood or made.settings else "There was nothing to replace.")
    rows = [(f"setting {key}", "secret") for key in made.settings]
    rows += [(clean(one.path) or "the event", _WORDS.get(one.kind, one.kind)) for one in made.stood]
    width = max((len(path) for path, _ in rows), default=0)
    for path, kind in rows:
        click.echo(f"  {path:{width}}  {kind}")
    click.echo("The rest is as it was: read both files before you share them.")

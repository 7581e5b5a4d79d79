"""What `turnout diff` shows: progress while it compares, then the ways in which events change."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from turnout import _json
from turnout.corpus import Corpus
from turnout.impact import Change, Found, Impact, Kind, Verdict, Way

__all__ = ["following", "show", "show_json"]

_LONGEST = 60
_LISTED = 12
_SIGNS = {
    Kind.ITEM_ADDED: "[green]+[/]",
    Kind.FIELD_ADDED: "[green]+[/]",
    Kind.ITEM_REMOVED: "[red]-[/]",
    Kind.FIELD_REMOVED: "[red]-[/]",
}
_NAMES = {
    Kind.REQUESTS: "requests",
    Kind.ORDER: "order of the items, by rule",
    Kind.KEY: "idempotency key",
    Kind.RULE: "made by the rule",
}
_COLOURS = {"lost": "red", "gained": "green"}


@contextlib.contextmanager
def following(corpus: Corpus) -> Iterator[Callable[[int], None]]:
    """Yield what is to be told how many lines are done; a terminal shows it as a bar."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("comparing", total=corpus.size)

        def follow(lines: int) -> None:
            bar.update(task, completed=corpus.position, description=f"{lines:,} lines")

        yield follow


def show_json(impact: Impact, labels: tuple[str, str]) -> None:
    """Write one JSON object with everything; `labels` say what either side was given."""
    told = impact.to_dict()
    for side, label in zip(("before", "after"), labels, strict=True):
        told[side] = {"given": label, **told[side]}
    click.echo(_json.compact(told))


def show(impact: Impact, labels: tuple[str, str], limit: int) -> None:
    """Show the summary and at most `limit` ways."""
    console = Console(highlight=False)
    sides = zip(("before", "after"), labels, (impact.before, impact.after), strict=True)
    same = impact.before.python == impact.after.python
    for name, label, side in sides:
        own = "" if side.plugin.endswith(f" of turnout {side.turnout}") else f", turnout {side.turnout}"
        versions = side.plugin + own + ("" if same else f", Python {side.python}")
        _print(console, f"{name:8}{_plain(label)}[dim]{' ' if label else ''}({_plain(versions)})[/]")
    for note in impact.notes:
        _print(console, f"[yellow]{_plain(note)}[/]")
    _print(console, f"\n[bold]{impact.summary}[/]")
    for number, way in enumerate(impact.ways[:limit], 1):
        _show_way(console, number, way)
    rest = len(impact.ways) - limit
    if rest > 0:
        _print(console, f"\n… and {rest:,} more way{'' if rest == 1 else 's'} (--limit, --json)")
    if impact.other:
        _print(console, f"… and {impact.other:,} changes in still other ways, which are only counted")
    _show_problems(console, impact)


def _show_way(console: Console, number: int, way: Way) -> None:
    events = f"{way.events:,} event{'' if way.events == 1 else 's'}"
    _print(console, f"\n{number}. [{_COLOURS.get(way.kind, 'default')}]{events}: {_plain(_title(way))}[/]")
    _print(console, f"   [dim]first: {_plain(way.place)}, message {_plain(way.message_id or '?')}[/]")
    shown = list(zip(way.changes, way.found, strict=True))[:_LISTED]
    for place, pairs in groupby(shown, key=lambda pair: _where(pair[0])):
        if place:
            _print(console, f"   {_plain(place)}")
        for change, found in pairs:
            _print(console, f"     {_SIGNS.get(change.kind, '[yellow]~[/]')} {_plain(_told(change, found))}")
    if len(way.changes) > _LISTED:
        _print(console, f"     … and {len(way.changes) - _LISTED:,} more (--json)")


def _title(way: Way) -> str:
    if way.kind == "lost":
        return f"no longer sent ({_outcome(way.after)})"
    if way.kind == "gained":
        return f"newly sent (before: {_outcome(way.before)})"
    if way.kind == "outcome":
        return f"{_outcome(way.before)} → {_outcome(way.after)}"
    if all(change.kind is Kind.REQUEST for change in way.changes):
        return "the request around the items"
    return {"items": "items", "fields": "fields", "values": "values", "rules": "rules, with the same items"}[way.kind]


def _outcome(verdict: Verdict) -> str:
    path = f" at {verdict.path}" if verdict.path else ""
    return f"{verdict.outcome}, {verdict.code}{path}" if verdict.code else verdict.outcome


def _where(change: Change) -> str:
    if change.kind is Kind.REQUEST:
        return f"to {change.endpoint}"
    return f"{change.rule} → {change.endpoint}" if change.rule else change.endpoint


def _told(change: Change, found: Found) -> str:
    """Return a change as one line, with the values of the example."""
    if change.kind in (Kind.ITEM_ADDED, Kind.ITEM_REMOVED):
        return f"item {_value(found.now if change.kind is Kind.ITEM_ADDED else found.was)}"
    name = _NAMES.get(change.kind, _path(change, found))
    if change.kind is Kind.FIELD_ADDED:
        return f"{name}: {_value(found.now)}"
    if change.kind is Kind.FIELD_REMOVED:
        return f"{name}: {_value(found.was)}"
    return f"{name}: {_value(found.was)} → {_value(found.now)}"


def _path(change: Change, found: Found) -> str:
    """Return a path, with that of the example where more than positions are left open in it."""
    key = found.path.rpartition("/")[2]
    return f"{change.path} ({key})" if change.path.endswith("/*") and not key.isdigit() else change.path


def _value(value: Any) -> str:
    text = _json.compact(value).decode()
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _show_problems(console: Console, impact: Impact) -> None:
    if not impact.unreadable:
        return
    number = impact.unreadable
    _print(console, f"\n[yellow]{number:,} line{' or event' if number == 1 else 's or events'} can't be read:[/]")
    for problem in impact.problems:
        path = f"{problem.path}: " if problem.path else ""
        _print(console, f"   {_plain(f'{problem.place}: {path}{problem.message} [{problem.code}]')}")
    if number > len(impact.problems):
        _print(console, "   … (turnout validate shows them all)")


def _print(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)


def _plain(text: str) -> str:
    """Return text whose brackets rich doesn't take for markup, without control characters."""
    return escape("".join(one if one.isprintable() else "?" for one in text))

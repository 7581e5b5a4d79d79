"""The command `validate`: events against the common spec, and against a tracking plan."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from turnout.errors import Refusal
    from turnout.event import Event
    from turnout.plan import Violation
    from turnout.trackingplan import TrackingPlan

__all__ = ["validate"]

_ROWS = 100


@click.command()
@click.argument("file", default="-", metavar="[FILE|-]")
@click.option("--plan", metavar="FILE", help="A tracking plan, JSON or YAML, to check the events against as well.")
@click.option("--show-values", is_flag=True, help="Show the values that violate the plan; they may be personal data.")
@click.option("--json", "as_json", is_flag=True, help="Write the problems as JSON lines.")
def validate(file: str, plan: str | None, show_values: bool, as_json: bool) -> None:
    """Check events against the common spec; every problem with its line and JSON Pointer.

    With --plan also against a tracking plan: a line for each violation, and a summary of what is violated how often.
    Nothing is taken out or blocked here. Exit 0 when all events are good, 1 when one is not.
    """
    from turnout.trackingplan import TrackingPlan

    screen = _Screen(file, None if plan is None else TrackingPlan.load(plan), show_values, as_json)
    for place, found in _events(file):
        screen.take(place, found)
    screen.finish()
    sys.exit(1 if screen.bad else 0)


def _events(file: str) -> Iterator[tuple[str, Event | Refusal]]:
    """Yield the events of a file, each with its place."""
    from turnout.cli import opened
    from turnout.dispatcher import Dispatcher
    from turnout.reading import records

    dispatcher = Dispatcher({})
    with opened(file) as stream:
        for record in records(stream):
            found = iter([record.refusal]) if record.refusal else dispatcher.read_body(record.raw)
            for number, one in enumerate(found, 1):
                yield (record.place if number == 1 else f"{record.place}, event {number}"), one


class _Screen:
    """What was found so far: the problems are written as they come, the summary at the end."""

    def __init__(self, file: str, plan: TrackingPlan | None, show_values: bool, as_json: bool) -> None:
        self._file = file
        self._plan = plan
        self._show_values = show_values
        self._as_json = as_json
        self._good = self._refused = self._violating = 0
        self._kinds: Counter[tuple[str, str, str]] = Counter()

    @property
    def bad(self) -> int:
        """Return how many events are not good."""
        return self._refused + self._violating

    def take(self, place: str, found: Event | Refusal) -> None:
        """Count an event, and write what is wrong with it."""
        from turnout.errors import Refusal

        place = place if self._plan is None else _placed(self._file, place)
        if isinstance(found, Refusal):
            self._refused += 1
            reason = found.reason
            self._write(place, {"code": reason.code, "message": reason.message, "path": reason.path})
            return
        violations = self._plan.check(found, show_values=self._show_values) if self._plan else []
        self._good += not violations
        self._violating += bool(violations)
        for one in violations:
            self._violated(place, one)

    def _violated(self, place: str, one: Violation) -> None:
        from turnout._planwords import kind
        from turnout._pointer import general

        told = {"code": one.code, "message": one.message, "path": one.path}
        self._write(place, told | {"event": one.event, "keyword": one.keyword or None, "mode": one.mode})
        what = kind(one.keyword) if one.keyword else "unplanned" if one.code == "plan_unplanned" else "not checkable"
        self._kinds[one.event, general(one.path or ""), what] += 1

    def _write(self, place: str, problem: dict[str, Any]) -> None:
        from turnout import _json
        from turnout._pointer import steps

        if self._as_json:
            click.echo(_json.compact({"place": place, **problem}))
            return
        event = f"{problem['event']}: " if "event" in problem else ""
        path, message = problem["path"] or "", problem["message"]
        name = f"`{'.'.join(steps(path))}` "
        told = f"{path} {message.removeprefix(name)}" if event and message.startswith(name) else message
        colon = f"{path}: " if path and told is message else ""
        click.echo(_plain(f"{place}: {event}{colon}{told} [{problem['code']}]"))

    def finish(self) -> None:
        """Write the summary, unless the output is JSON."""
        if self._as_json:
            return
        if self._kinds:
            self._table()
        violating = "" if self._plan is None else f", {self._violating} violating the plan"
        total = self._good + self.bad
        events = "event" if total == 1 else "events"
        click.echo(f"{total} {events}: {self._good} good, {self._refused} refused{violating}")

    def _table(self) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table("event", "path", "violation", box=None)
        table.add_column("times", justify="right")
        rows = sorted(self._kinds.items(), key=lambda row: (-row[1], row[0]))
        for (event, path, what), times in rows[:_ROWS]:
            table.add_row(escape(_plain(event)), escape(_plain(path)), what, f"{times:,}")
        console = Console(highlight=False)
        console.print()
        console.print(table)
        if len(rows) > _ROWS:
            console.print(f"… and {len(rows) - _ROWS:,} more kinds (--json writes every violation)")


def _placed(file: str, place: str) -> str:
    """Return a place with its file, as `events.jsonl:3`, so that editors find it."""
    name = "stdin" if file == "-" else file
    return f"{name}:{place.removeprefix('line ')}" if place.startswith("line ") else f"{name}: {place}"


def _plain(text: str) -> str:
    """Return a text without what moves a terminal's cursor, which a key of an event may hold."""
    return "".join(one if one.isprintable() else "?" for one in text)

"""What `turnout send` shows: progress while it runs, then each event or the summary."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from turnout import _json
from turnout.dispatcher import Dispatcher
from turnout.hooks import Tally
from turnout.inputs import Inputs
from turnout.mapping import showable
from turnout.packing import pack
from turnout.plan import Plan, Settled, Violation
from turnout.reading import records
from turnout.reasons import Outcome

__all__ = ["Screen", "called", "run"]

_BAD = (Outcome.INVALID, Outcome.FAILED, Outcome.DEAD)
_COLOURS = {Outcome.DELIVERED: "green", Outcome.DROPPED: "yellow"}
_SHOWN = 10


def run(dispatcher: Dispatcher, stream: BinaryIO, *, each: bool, as_json: bool) -> int:
    """Send the events of a stream, show their outcomes, and return the exit code (130 after Ctrl-C)."""
    screen = Screen(each, as_json)
    # asyncio would only cancel at the next await, which a read from standard input never reaches.
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        asyncio.run(_run(dispatcher, stream, screen))
    except KeyboardInterrupt:
        screen.finish()
        click.echo("Interrupted: what is not in the summary was not settled, and may have been sent.", err=True)
        return 130
    finally:
        signal.signal(signal.SIGINT, before)
    screen.finish()
    return 1 if screen.bad else 0


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


class Screen:
    """What has been settled so far, shown as it comes or at the end."""

    def __init__(self, each: bool, as_json: bool) -> None:
        self.each = each
        self.as_json = as_json
        self.tally = Tally()
        self.violations: Counter[tuple[str, str, str]] = Counter()
        """How often events violated the tracking plan, by destination, reason code and mode."""
        self.bad: list[Settled] = []
        """The first events that were refused or not delivered."""

    def settle(self, progress: Progress, outcome: Settled, call: str, plan: Plan) -> None:
        """Count an outcome and show it, if each is to be shown."""
        self.tally.turnout_settled(outcome)
        for note in plan.notes:
            if isinstance(note, Violation):
                self.violations[plan.destination, note.code.value, note.mode] += 1
        if outcome.outcome in _BAD and len(self.bad) <= _SHOWN:
            self.bad.append(outcome)
        if self.as_json:
            click.echo(_json.compact(outcome.to_dict()))
        elif self.each:
            _show(_console(progress), outcome, call, plan)

    def finish(self) -> None:
        """Show the summary, unless the output is JSON."""
        if not self.as_json:
            _summary(self.tally, self.bad, self.each)
            if self.violations:
                _violations(self.violations)


async def _run(dispatcher: Dispatcher, stream: BinaryIO, screen: Screen) -> None:
    with _progress() as progress:
        task = progress.add_task("sending", total=None)
        calls: deque[str] = deque()
        async for outcome, plan in dispatcher.stream_plans(_plans(dispatcher, stream, calls)):
            progress.advance(task)
            screen.settle(progress, outcome, calls.popleft(), plan)


def _plans(dispatcher: Dispatcher, stream: BinaryIO, calls: deque[str]) -> Iterator[list[Plan]]:
    """Yield the plans of each event, and note what each is called: delivery lets go of the event itself."""
    inputs = Inputs()
    for record in records(stream):
        if record.refusal:
            rows = iter([dispatcher.refused(record.refusal, record.place)])
        else:
            rows = dispatcher.plan_body(record.raw, record.place, inputs)
        for row in rows:
            calls.extend(called(plan) for plan in row)
            yield row


def called(plan: Plan) -> str:
    """Return what a person would call the event of a plan."""
    event = plan.event
    if event is None:
        return "?"
    return f"{event.type} {event.event or event.name or event.group_id or ''}".strip()


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _console(progress: Progress) -> Console:
    """Return the console that keeps the progress bar whole, where both are on one terminal."""
    if sys.stdout.isatty() and sys.stderr.isatty():
        return progress.console
    return Console(highlight=False)


def _show(console: Console, outcome: Settled, call: str, plan: Plan) -> None:
    colour = _COLOURS.get(outcome.outcome, "red")
    console.print(f"[{colour}]{outcome.outcome:9}[/] {outcome.destination}  [bold]{_plain(call)}[/]", soft_wrap=True)
    for request in pack(showable(plan)):
        names = ", ".join(_item_name(item.data) for item in request.items)
        console.print(f"          → {request.method} {request.endpoint.name}: {_plain(names)}", soft_wrap=True)
    if outcome.reason and outcome.outcome is not Outcome.DELIVERED:
        console.print(f"          {_plain(outcome.reason.message)} [dim]({outcome.reason.code})[/]", soft_wrap=True)


def _item_name(data: bytes) -> str:
    """Return what a person would call an item: its event type, or what it is about."""
    item = _json.read(data)
    if not isinstance(item, dict):
        return str(item)
    for key in ("event_type", "event", "eventTypeId", "group_value", "global_user_id", "name"):
        if isinstance(item.get(key), str):
            return str(item[key])
    users = (item.get(key) for key in ("user_id", "userId", "user", "device_id", "anonymousId", "key"))
    if user := next(filter(None, users), None):
        return f"user {user}"
    return next((value for value in item.values() if isinstance(value, str)), "?")


def _plain(text: str) -> str:
    """Return text whose brackets rich doesn't take for markup, without control characters."""
    shown = "".join(one if one.isprintable() else "?" for one in text)
    return escape(shown)


def _summary(tally: Tally, bad: Iterable[Settled], each: bool) -> None:
    console = Console(highlight=False)
    table = Table("destination", "outcome", "reason", box=None)
    table.add_column("events", justify="right")
    for row in tally.settled():
        table.add_row(row.destination, row.outcome.value, row.code.value if row.code else "", f"{row.times:,}")
    if not table.row_count:
        console.print("No events.")
        return
    console.print(table)
    for number, outcome in enumerate(() if each else bad):
        if number == _SHOWN:
            console.print("… (--json shows them all)")
            break
        message = outcome.reason.message if outcome.reason else ""
        console.print(
            f"[red]{outcome.outcome}[/] {outcome.destination} {_plain(outcome.message_id or '?')}: {_plain(message)}",
            soft_wrap=True,
        )


def _violations(counted: Mapping[tuple[str, str, str], int]) -> None:
    table = Table("destination", "tracking plan", "mode", box=None)
    table.add_column("violations", justify="right")
    for row, times in sorted(counted.items()):
        table.add_row(*row, f"{times:,}")
    Console(highlight=False).print(table)

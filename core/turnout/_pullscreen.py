"""What `turnout pull` shows: progress on stderr, what can't be read, and with --send the summary of `turnout send`."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from turnout import _json
from turnout._readcommand import refusal_line
from turnout._sendscreen import Screen, called
from turnout.cli import standard_output
from turnout.errors import Refusal
from turnout.plan import Plan, Settled
from turnout.pulling import Pulled
from turnout.source import Checkpoint

__all__ = ["PullScreen"]


class PullScreen:
    """Shows a pull as it goes on; use it as a context manager.

    `writes` says that events go to stdout: a bar on the same terminal would be in their way.
    """

    def __init__(self, *, writes: bool) -> None:
        console = Console(stderr=True)
        hidden = not console.is_terminal or (writes and sys.stdout is not None and sys.stdout.isatty())
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[events]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=hidden)
        self._task = self._progress.add_task("pulling", total=None, events="0 events")
        self._sending = Screen(each=False, as_json=False)
        self._sent = False
        self._refused = 0
        self._events = 0

    def __enter__(self) -> PullScreen:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def bad(self) -> bool:
        """Return whether something could not be read, accepted or delivered."""
        return bool(self._refused or self._sending.bad)

    def refuse(self, refusal: Refusal) -> None:
        """Show what could not be read or accepted."""
        self._refused += 1
        self._progress.console.print(refusal_line(refusal), markup=False, highlight=False, soft_wrap=True)

    def write(self, events: list[dict[str, Any]]) -> None:
        """Write events to stdout, a line each."""
        out = standard_output()
        for event in events:
            out.write(_json.encode(event) + b"\n")
        out.flush()

    def settle(self, outcome: Settled, plan: Plan) -> None:
        """Count what became of an event."""
        self._sent = True
        self._sending.settle(self._progress, outcome, called(plan), plan)

    def progress(self, pulled: Pulled, reached: Checkpoint | None) -> None:
        """Move the bar."""
        self._events = pulled.events
        events = f"{pulled.events:,} events"
        if reached is not None and reached.total is not None:
            self._progress.update(self._task, events=events, completed=reached.done or 0.0, total=reached.total)
        else:
            self._progress.update(self._task, events=events)

    def finish(self, *, whole: bool) -> None:
        """Show the summary of what was sent; else, on a terminal, how much there was.

        `whole` says that the pull came to its end: only then nothing means that there is nothing new.
        """
        if self._sent:
            self._sending.finish()
        elif self._progress.console.is_terminal and (whole or self._events):
            count = f"{self._events:,} event{'' if self._events == 1 else 's'}" if self._events else "no new events"
            self._progress.console.print(f"pulled: {count}", highlight=False)

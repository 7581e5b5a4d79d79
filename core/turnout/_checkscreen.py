"""What `turnout check` shows: the cases that are not as their snapshots say, what changed in them, and the counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from turnout.checking import Result, Status, Suite
from turnout.differences import Difference, shorten

__all__ = ["Screen", "clean", "many", "shown"]

_MOST = 50
_STYLES = {
    Status.PASSED: "green",
    Status.CHANGED: "red",
    Status.NEW: "yellow",
    Status.WRONG: "red",
    Status.ORPHAN: "red",
    Status.WRITTEN: "cyan",
    Status.RENEWED: "cyan",
    Status.DELETED: "cyan",
}
_MARKS = {"added": ("+", "green"), "missing": ("-", "red"), "changed": ("~", "yellow"), "moved": (">", "yellow")}
_KINDS = (Status.CHANGED, Status.NEW, Status.WRONG)


class Screen:
    """Writes results as they come, and the counts at the end; `quiet` writes no differences."""

    def __init__(self, suite: Suite, *, quiet: bool) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._suite = suite
        self._quiet = quiet
        self._counts: Counter[Status] = Counter()
        self._folders: dict[Path, Counter[Status]] = {}
        self._alike = 0

    def show(self, result: Result) -> None:
        """Write one result, if there is something to say about it."""
        self._counts[result.status] += 1
        if result.status not in (Status.ORPHAN, Status.DELETED):
            self._folders.setdefault(result.path.parent, Counter())[result.status] += 1
        if result.status is not Status.PASSED:
            for line in _lines(result, self._console.width - 1, brief=self._quiet):
                self._console.print(line)
        if result.alike:
            self._alike += 1
            for line in _twins(result):
                self._console.print(line)

    def finish(self, seconds: float, *, stopped: bool) -> None:
        """Write how many cases of each folder and in all are how, and what to do next."""
        if not self._quiet:
            for folder, counts in self._folders.items():
                self._console.print(_row(folder.as_posix(), counts))
        bad = any(self._counts[status] for status in (*_KINDS, Status.ORPHAN))
        summary = f"{self._total()} ({seconds:.1f} s)"
        self._console.print(Text(summary, style="bold red" if bad else "bold green"))
        for line in self._advice(stopped=stopped):
            self._console.print(Text(line))

    def _total(self) -> str:
        counts = self._counts
        total = sum(number for status, number in counts.items() if status not in (Status.ORPHAN, Status.DELETED))
        parts = [f"{counts[status]:,} {status.value}" for status in Status if counts[status] and status in _OF_CASES]
        text = f"{many(total, 'case')}: {', '.join(parts) or 'none was checked'}"
        for status, words in ((Status.ORPHAN, "without a case"), (Status.DELETED, "without a case deleted")):
            if counts[status]:
                text += f"; {many(counts[status], 'snapshot')} {words}"
        return text

    def _advice(self, *, stopped: bool) -> Iterator[str]:
        if stopped:
            yield "Stopped at the first that is not good (--fail-fast)."
        if self._suite.left_out and not self._quiet:
            yield f"{many(self._suite.left_out, 'case')} left out (-k)."
        if self._alike:
            yield f"{many(self._alike, 'case')} with equal values in one event: swapped fields might go unnoticed."
        if self._counts[Status.CHANGED] or self._counts[Status.NEW] or self._counts[Status.ORPHAN]:
            yield "If that is meant, write the snapshots with --update, and read what changed in them."


_OF_CASES = frozenset(Status) - {Status.ORPHAN, Status.DELETED}


def shown(result: Result, width: int = 100) -> str:
    """Return what is shown for one result, as plain text of about `width` characters a line."""
    return "\n".join(line.plain for line in _lines(result, width, brief=False))


def _row(folder: str, counts: Counter[Status]) -> Text:
    line = Text(clean(folder))
    for status in Status:
        if counts[status]:
            line.append("  ")
            line.append(f"{counts[status]:,} {status.value}", style=_STYLES[status])
    return line


def _lines(result: Result, width: int, *, brief: bool) -> Iterator[Text]:
    done = result.status in (Status.WRITTEN, Status.RENEWED)
    path = result.snapshot if done else result.path
    yield Text(f"{result.status.value:8} ", style=f"bold {_STYLES[result.status]}").append(clean(path.as_posix()))
    if brief:
        return
    if result.doc and result.differences:
        yield Text(f"  {clean(result.doc)}", style="dim")
    if result.message:
        yield Text(f"  {clean(result.message)}")
    for one in result.differences[:_MOST]:
        yield from _difference(one, width)
    if len(result.differences) > _MOST:
        yield Text(f"  … and {len(result.differences) - _MOST:,} more (--json shows all)")


def _difference(one: Difference, width: int) -> Iterator[Text]:
    mark, style = _MARKS[one.kind]
    head = Text("  ").append(mark, style=f"bold {style}").append(f" {clean(one.path or 'the whole')}")
    if one.kind == "moved":
        yield head.append(f"  (was {clean(one.was)})")
        return
    room = max(20, width - 10)
    was, now = shorten(_json(one.was), _json(one.now), room)
    yield head
    if one.kind != "added":
        yield Text("      was ").append(was if one.kind == "changed" else _start(_json(one.was), room), style="red")
    if one.kind != "missing":
        yield Text("      is  ").append(now if one.kind == "changed" else _start(_json(one.now), room), style="green")


def _twins(result: Result) -> Iterator[Text]:
    for one in result.alike:
        line = Text(f"{'alike':8} ", style="bold yellow").append(clean(result.path.as_posix()))
        many = f", event {one.event}" if one.event > 1 else ""
        yield line.append(f"{many}: {clean(' = '.join(one.paths))} = {_start(_json(one.value), 40)}")


def _start(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _json(value: object) -> str:
    return clean(json.dumps(value, ensure_ascii=False))


def clean(text: str) -> str:
    """Return a text without what could move a terminal's cursor, as JSON would escape it."""
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)


def many(number: int, noun: str) -> str:
    """Return a number with what it counts, in the plural where that is due."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

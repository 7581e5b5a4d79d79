"""Comparing what two sides make of the same lines: a piece of the corpus becomes a tally."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from typing import Any

import msgspec

from turnout._changes import (
    Change,
    Changes,
    Found,
    Kind,
    Mapped,
    Verdict,
    changes_of,
    generalised,
    values,
)
from turnout._json import compact, pointer
from turnout._sides import About, Local, Remote, Run, Side, judged, mapped, opened
from turnout.errors import Refusal
from turnout.mapping import quietly
from turnout.plan import Plan
from turnout.reading import Record
from turnout.reasons import Code, Outcome

__all__ = ["WAYS", "Pair", "Problem", "Seen", "Shape", "Tally"]

WAYS = 10_000
"""So many ways of changing are kept apart; the events of further ones are only counted."""

_MANY = 1_000
_VARIANTS = 5
"""More ways than these that differ only in keys of inner objects become one, in the end or when there are many ways."""

_INNER = re.compile(r"(?<=[^/])/[^/]*$")
_PROBLEMS = 10
_DIFFERENCES = 100
_LONGEST = 1000
_PLANNED = Outcome.PLANNED.value
_NOTHING = Mapped(None, Verdict(Outcome.INVALID.value, Code.BAD_REQUEST.value), [], {}, "There is no such event.")
"""Stands for an event that only the other side finds in a batch body."""


class Shape(msgspec.Struct, frozen=True):
    """What the changes of several events have in common: what became of them, and the changes without values."""

    before: Verdict
    after: Verdict
    changes: tuple[Change, ...]

    @property
    def folded(self) -> Shape:
        """Return the shape with `*` also for keys of inner objects, which often are the sender's own."""
        opened = set(map(_opened, self.changes))
        return Shape(self.before, self.after, tuple(sorted(opened, key=lambda one: one.rank)))


class Seen(msgspec.Struct):
    """How often a shape was met, and the first event that has it: its number, place, id, and values for each change."""

    events: int
    at: int
    place: str
    message_id: str | None
    found: tuple[Found, ...]


class Folded(msgspec.Struct):
    """Many shapes that differ in nothing but keys of inner objects: the first of them, and what all have in common."""

    first: Shape
    seen: Seen
    common: set[Change]

    def take(self, shape: Shape, seen: Seen) -> None:
        """Take in another shape of the same kind, or another piece of the corpus."""
        self.seen.events += seen.events
        self.common.intersection_update(shape.changes)

    def way(self) -> tuple[Shape, Seen]:
        """Return one shape for all, with `*` for the keys that are not common to them."""
        values: Changes = {}
        for change, found in zip(self.first.changes, self.seen.found, strict=True):
            values.setdefault(change if change in self.common else _opened(change), found)
        ordered = tuple(sorted(values, key=lambda one: one.rank))
        shape = Shape(self.first.before, self.first.after, ordered)
        seen = msgspec.structs.replace(self.seen, found=tuple(values[change] for change in ordered))
        return shape, seen


class Problem(msgspec.Struct, frozen=True):
    """A line that can't be read as an event: its place, and why (reason code, sentence, JSON Pointer)."""

    place: str
    code: str
    message: str
    path: str | None = None


class Tally(msgspec.Struct):
    """What came of comparing a piece of the corpus, or all of it; in the order of the corpus."""

    lines: int = 0
    events: int = 0
    changed: int = 0
    lost: int = 0
    gained: int = 0
    unreadable: int = 0
    problems: list[Problem] = []
    ways: dict[Shape, Seen] = {}
    folded: dict[Shape, Folded] = {}
    """Shapes of which there were so many variants that they are one way now."""
    fold_at: int = _MANY
    other: int = 0
    """How many changes were not kept apart any more."""

    def add(self, later: Tally) -> None:
        """Take in what came of the piece that follows."""
        for shape, seen in later.ways.items():
            seen.at += self.events
            self._take(shape, seen)
        self.lines += later.lines
        self.events += later.events
        self.changed += later.changed
        self.lost += later.lost
        self.gained += later.gained
        self.unreadable += later.unreadable
        self.other += later.other
        self.problems += later.problems[: _PROBLEMS - len(self.problems)]
        if len(self.ways) > self.fold_at:
            self._fold()
            self.fold_at = max(_MANY, 2 * len(self.ways))  # where nothing can be folded, don't try all the time

    def _take(self, shape: Shape, seen: Seen) -> None:
        folded = self.folded.get(shape.folded) if self.folded else None
        known = self.ways.get(shape)
        if folded is not None:
            folded.take(shape, seen)
        elif known is not None:
            known.events += seen.events
        elif len(self.ways) + len(self.folded) < WAYS:
            self.ways[shape] = seen
        else:
            self.other += seen.events

    def _fold(self) -> None:
        """Make one of shapes that differ in nothing but keys of inner objects, where there are many of them."""
        variants = Counter(shape.folded for shape in self.ways)
        for shape, seen in [*self.ways.items()]:
            folded = shape.folded
            if variants[folded] > _VARIANTS:
                del self.ways[shape]
                known = self.folded.get(folded)
                if known is None:
                    self.folded[folded] = Folded(shape, seen, set(shape.changes))
                else:
                    known.take(shape, seen)

    def told(self) -> list[tuple[Shape, Seen]]:
        """Return the ways in which events change, each with its events and the first of them."""
        self._fold()
        return [*self.ways.items(), *(folded.way() for folded in self.folded.values())]

    def refuse(self, problem: Problem) -> None:
        """Count what can't be read."""
        self.unreadable += 1
        if len(self.problems) < _PROBLEMS:
            self.problems.append(problem)

    def change(self, shape: Shape, place: str, message_id: str | None, found: Sequence[Found]) -> None:
        """Count a way in which an event changes."""
        seen = self.ways.get(shape)
        if seen is not None:
            seen.events += 1
        elif len(self.ways) < WAYS:
            self.ways[shape] = Seen(1, self.events, place, message_id, tuple(map(_clipped, found)))
        else:
            self.other += 1


class Pair:
    """Both sides, ready to map; it has to be ended. Raises `ConfigError` and `TurnoutError`."""

    def __init__(self, before: Side, after: Side, run: Run) -> None:
        with ExitStack() as stack:
            self.before = opened(before, run)
            stack.callback(self.before.end)
            self.after = opened(after, run)
            stack.pop_all()
        one, other = self.before.about, self.after.about
        self.carries = one.carries or other.carries
        self._requests = _requests(one, other)
        self._split = {name for name, limits in one.limits.items() if other.limits.get(name, limits) != limits}

    def end(self) -> None:
        """End what was started for either side."""
        self.before.end()
        self.after.end()

    def tally(self, records: Sequence[Record]) -> Tally:
        """Return what came of comparing both sides over the events of these records."""
        tally = Tally(len(records))
        with quietly():
            if isinstance(self.before, Local) and isinstance(self.after, Local):
                self._map_here(self.before, self.after, records, tally)
            else:
                self._map_apart(records, tally)
        return tally

    def _map_here(self, before: Local, after: Local, records: Sequence[Record], tally: Tally) -> None:
        """Normalise each event once, and map it on both sides."""
        for record in _readable(records, tally):
            for number, found in enumerate(before.reader.read_body(record.raw), 1):
                if isinstance(found, Refusal):
                    tally.refuse(_problem(_placed(record, number), found))
                    continue
                one, other = before.plan(found), after.plan(found)
                if self._requests or self._split or not _alike(one, other):
                    self._compare(tally, _placed(record, number), mapped(one), mapped(other))
                tally.events += 1

    def _map_apart(self, records: Sequence[Record], tally: Tally) -> None:
        """Have one side or both mapped by other processes, at the same time."""
        readable = list(_readable(records, tally))
        rows = self._rows([record.raw for record in readable])
        for record, before, after in zip(readable, *rows, strict=True):
            for number, (one, other) in enumerate(zip_longest(before, after, fillvalue=_NOTHING), 1):
                place = _placed(record, number)
                if one.refusal and other.refusal:
                    tally.refuse(Problem(place, one.verdict.code or "", one.refusal, one.verdict.path))
                    continue
                self._compare(tally, place, one, other)
                tally.events += 1

    def _rows(self, lines: list[bytes]) -> list[list[list[Mapped]]]:
        """Return what the events of each line become on either side."""
        sides = (self.before, self.after)
        for side in sides:
            if isinstance(side, Remote):
                side.ask(lines)
        mine = {id(side): side.mapped(lines) for side in sides if isinstance(side, Local)}
        return [side.fetch() if isinstance(side, Remote) else mine[id(side)] for side in sides]

    def _compare(self, tally: Tally, place: str, one: Mapped, other: Mapped) -> None:
        """Count the ways in which an event changes, if it does."""
        same = one.items == other.items and one.requests == other.requests
        found: Changes = {} if same else changes_of(one, other)
        message_id = one.message_id or other.message_id
        if found or one.verdict != other.verdict:
            _tell(tally, Shape(one.verdict, other.verdict, ()), found, place, message_id)
        around = [name for name in self._requests if name in one.requests and name in other.requests]
        for name in around:
            _tell(tally, _AROUND, self._requests[name], place, message_id)
        tally.changed += bool(found or around or one.verdict != other.verdict)
        tally.lost += one.verdict.outcome == _PLANNED != other.verdict.outcome
        tally.gained += one.verdict.outcome != _PLANNED == other.verdict.outcome


_AROUND = Shape(Verdict(_PLANNED), Verdict(_PLANNED), ())
"""The shape of a change that is around the items, whatever the event."""


def _opened(change: Change) -> Change:
    return msgspec.structs.replace(change, path=_INNER.sub("/*", change.path))


def _tell(tally: Tally, shape: Shape, found: Changes, place: str, message_id: str | None) -> None:
    ordered = sorted(found, key=lambda one: one.rank)[:_DIFFERENCES]
    whole = Shape(shape.before, shape.after, tuple(ordered))
    tally.change(whole, place, message_id, [found[one] for one in ordered])


def _readable(records: Sequence[Record], tally: Tally) -> Iterator[Record]:
    for record in records:
        if record.refusal:
            tally.refuse(_problem(record.place, record.refusal))
        else:
            yield record


def _placed(record: Record, number: int) -> str:
    return f"{record.place}, event {number}" if number > 1 else record.place


def _problem(place: str, refusal: Refusal) -> Problem:
    return Problem(place, refusal.reason.code.value, refusal.reason.message, refusal.reason.path)


def _alike(one: Plan, other: Plan) -> bool:
    """Tell whether two plans say the same, comparing bytes only."""
    if one.outcome is not other.outcome or len(one.items) != len(other.items):
        return False
    if one.reason is not None and other.reason is not None and judged(one) != judged(other):
        return False
    return all(
        mine.data == theirs.data
        and mine.rule == theirs.rule
        and mine.key == theirs.key
        and mine.endpoint.name == theirs.endpoint.name
        for mine, theirs in zip(one.items, other.items, strict=True)
    )


def _requests(one: About, other: About) -> dict[str, Changes]:
    """Return what differs around the items, for each endpoint of both sides where something does."""
    found: dict[str, Changes] = {}
    for name, was in one.requests.items():
        leaves = list(values(was, other.requests[name])) if name in other.requests else []
        if leaves:
            found[name] = {
                Change(Kind.REQUEST, name, "", generalised(path)): Found(pointer(path), old, new)
                for _, path, old, new in leaves
            }
    return found


def _clipped(found: Found) -> Found:
    return Found(found.path, _short(found.was), _short(found.now))


def _short(value: Any) -> Any:
    """Return a value, or its beginning as text when it is long."""
    text = value if isinstance(value, str) else compact(value).decode()
    return value if len(text) <= _LONGEST else text[:_LONGEST] + "…"

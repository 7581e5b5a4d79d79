"""What a change of settings, or of a plugin's version, does to recorded events.

impact = diff(lines, Acme({"api_key": "k"}), Acme({"api_key": "k", "track_named_pages": True}))
print(impact.summary)              # 412 of 10,000 events change, in 3 ways; 2 would no longer be sent
for way in impact.ways:
    print(way.events, way.place, way.changes)
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

import msgspec

from turnout._changes import Change, Found, Kind, Verdict
from turnout._comparers import Comparers
from turnout._comparing import Pair, Problem, Seen, Shape, Tally
from turnout._json import compact, encode_source
from turnout._sides import About, Elsewhere, Run, Side
from turnout.errors import Refusal
from turnout.event import Event
from turnout.normalise import EventLike
from turnout.reading import Record
from turnout.reasons import Outcome

__all__ = ["Change", "Elsewhere", "Found", "Impact", "Kind", "Problem", "Side", "Verdict", "Way", "diff"]

_PLANNED = Outcome.PLANNED.value
_LINES = 500
_BYTES = 1_000_000
"""A piece of the corpus has at most so many lines, and its last one begins within so many bytes."""
_ALONE = 4
"""So many pieces are compared sooner than another process has started."""


class Way(msgspec.Struct, frozen=True):
    """One way in which events change: what became of them before and after, and what differs, without the values.

    The first event that changes so stands for all: `place` (file and line), `message_id`, and `found`, the values there
    of each of `changes`.
    """

    events: int
    before: Verdict
    after: Verdict
    changes: tuple[Change, ...]
    place: str
    message_id: str | None
    found: tuple[Found, ...]

    @property
    def kind(self) -> str:
        """Return the weightiest thing in it: lost, gained, outcome, items, fields, values or rules."""
        if self.before.outcome != self.after.outcome:
            sides = self.before.outcome, self.after.outcome
            return {_PLANNED: "lost"}.get(sides[0], {_PLANNED: "gained"}.get(sides[1], "outcome"))
        if self.before != self.after:
            return "outcome"
        return _NAMES[min(self.changes, key=lambda one: one.rank).kind]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        pairs = zip(self.changes, self.found, strict=True)
        return {
            "kind": self.kind,
            "events": self.events,
            "before": msgspec.to_builtins(_verdict(self.before)),
            "after": msgspec.to_builtins(_verdict(self.after)),
            "example": {"place": self.place, "message_id": self.message_id},
            "changes": [_change(change, found) for change, found in pairs],
        }


_NAMES = {
    Kind.ITEM_REMOVED: "items",
    Kind.ITEM_ADDED: "items",
    Kind.REQUEST: "items",
    Kind.REQUESTS: "items",
    Kind.ORDER: "items",
    Kind.FIELD_REMOVED: "fields",
    Kind.FIELD_ADDED: "fields",
    Kind.VALUE: "values",
    Kind.KEY: "values",
    Kind.RULE: "rules",
}
_RANKS = {"lost": 0, "gained": 0, "outcome": 1, "items": 2, "fields": 3, "values": 4, "rules": 5}


class Impact(msgspec.Struct, frozen=True):
    """What changes between two sides over a corpus.

    An event can change in several ways: what differs around its items (a URL, a header) is a way of its own.
    """

    before: About
    after: About
    events: int
    """The events that could be read on at least one side."""
    changed: int
    """How many of them change in any way."""
    lost: int
    """How many would no longer be sent."""
    gained: int
    """How many would be sent that are not sent before."""
    unreadable: int
    """How many lines, or events of a batch body, can't be read as an event."""
    problems: tuple[Problem, ...]
    """The first of those."""
    ways: tuple[Way, ...]
    """The weightiest first: events lost and gained, items, fields, values; then by the number of events."""
    other: int
    """How many more changes there are, in ways beyond the first 10,000."""
    notes: tuple[str, ...]
    """What is not compared, as sentences."""

    @property
    def summary(self) -> str:
        """Return it as one line, such as `412 of 10,000 events change, in 3 ways; 2 would no longer be sent`."""
        if not self.changed:
            none = f"None of {self.events:,} events changes" if self.events > 1 else "The one event does not change"
            return none if self.events else "No events"
        number = f"more than {len(self.ways):,}" if self.other else f"{len(self.ways):,}"
        ways = f"{number} way{'' if number == '1' else 's'}"
        verb = "changes" if self.changed == 1 else "change"
        told = [f"{self.changed:,} of {_counted(self.events)} {verb}, in {ways}"]
        moved = [f"{self.lost:,} would no longer be sent"] if self.lost else []
        moved += [f"{self.gained:,} would be sent that {_be(self.gained)} not sent now"] if self.gained else []
        return "; ".join([*told, *([", ".join(moved)] if moved else [])])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON; the keys are always the same, in the same order."""
        return {
            "summary": self.summary,
            "before": _about(self.before),
            "after": _about(self.after),
            "events": self.events,
            "changed": self.changed,
            "lost": self.lost,
            "gained": self.gained,
            "unreadable": self.unreadable,
            "problems": msgspec.to_builtins(self.problems),
            "notes": list(self.notes),
            "ways": [way.to_dict() for way in self.ways],
            "other": self.other,
        }


def _counted(events: int) -> str:
    return f"{events:,} event{'' if events == 1 else 's'}"


def _be(number: int) -> str:
    return "is" if number == 1 else "are"


def _about(side: About) -> dict[str, str]:
    return {"plugin": side.plugin, "turnout": side.turnout, "python": side.python}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {"outcome": verdict.outcome, "code": verdict.code, "path": verdict.path}


def _change(change: Change, found: Found) -> dict[str, Any]:
    return {
        "kind": change.kind.value,
        "endpoint": change.endpoint or None,
        "rule": change.rule or None,
        "path": change.path,
        "example": {"path": found.path, "before": found.was, "after": found.now},
    }


def diff(
    lines: Iterable[EventLike | Record],
    before: Side,
    after: Side,
    *,
    jobs: int = 1,
    now: datetime | None = None,
    progress: Callable[[int], None] | None = None,
) -> Impact:
    """Return what changes for the events of `lines` when `after` maps them instead of `before`.

    `lines` are events or batch bodies, in any form that `Dispatcher.plan` takes, or records of `turnout.reading`. They
    are read a piece at a time, so that there may be any number of them. Both sides map the same normalised event, with
    the clock at `now` (by default the present) and a hash of the text for a missing message id.

    With `jobs` above 1, so many processes compare; the result is the same. A destination that carries something over
    between events (sessions) needs them in order, and is compared by one process. `progress` is called with the number
    of lines done so far.

    Raises `ConfigError` when another environment can't be used, and `TurnoutError` when a side has not one destination,
    can't be given to other processes, or when a process has ended.
    """
    run = Run(now or datetime.now(UTC), secrets.token_bytes(16))
    total = Tally()
    pair = Pair(before, after, run)
    try:
        comparers = Comparers(1 if pair.carries else jobs, before, after, run)
        for tally in _tallies(pair, comparers, _pieces(_records(lines))):
            total.add(tally)
            if progress is not None:
                progress(total.lines)
    finally:
        pair.end()
    return _impact(pair, total)


def _records(lines: Iterable[EventLike | Record]) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        if isinstance(line, Record):
            yield line
            continue
        try:
            # A normalised event is written out with what the normaliser has found, so that it is found again.
            raw = compact(line.to_dict()) if isinstance(line, Event) else encode_source(line)
            yield Record(f"line {number}", raw)
        except Refusal as refusal:
            yield Record(f"line {number}", b"", refusal)


def _pieces(records: Iterable[Record]) -> Iterator[list[Record]]:
    piece: list[Record] = []
    size = 0
    for record in records:
        piece.append(record)
        size += len(record.raw)
        if len(piece) == _LINES or size >= _BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _tallies(pair: Pair, comparers: Comparers, pieces: Iterator[list[Record]]) -> Iterator[Tally]:
    """Return the tallies of the pieces: from other processes where that is worth starting them."""
    head = list(islice(pieces, _ALONE + 1))
    pieces = chain(head, pieces)
    if comparers.jobs == 1 or len(head) <= _ALONE:
        return map(pair.tally, pieces)
    return comparers.tallies(pieces)


def _impact(pair: Pair, total: Tally) -> Impact:
    found = ((_way(shape, seen), seen.at) for shape, seen in total.told())
    ways = sorted(found, key=lambda one: (_RANKS[one[0].kind], -one[0].events, one[1]))
    counts = {name: getattr(total, name) for name in ("events", "changed", "lost", "gained", "unreadable", "other")}
    return Impact(
        before=pair.before.about,
        after=pair.after.about,
        problems=tuple(total.problems),
        ways=tuple(way for way, _ in ways),
        notes=tuple(_notes(pair.before.about, pair.after.about)),
        **counts,
    )


def _way(shape: Shape, seen: Seen) -> Way:
    return Way(seen.events, shape.before, shape.after, shape.changes, seen.place, seen.message_id, seen.found)


def _notes(before: About, after: About) -> Iterator[str]:
    """Yield a sentence for what differs between the sides and can't be shown."""
    differing = [name for name, mark in before.secrets.items() if after.secrets.get(name, mark) != mark]
    if differing:
        names = ", ".join(f"'{name}'" for name in differing)
        yield f"The sides differ in the secret {names}, which is shown as *** and not compared."
    for name in sorted(before.requests.keys() ^ after.requests.keys()):
        yield f"The endpoint '{name}' is only there {'before' if name in before.requests else 'after'}."

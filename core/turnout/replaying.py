"""Events delivered once more: a cursor that is moved back, or events of a file that go into the log.

rewind(log, "amplitude", since_ms=...)
feed(log, settings, records(stream))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext

import msgspec

from turnout.accepting import Acceptor, Receipt, now_ms
from turnout.dedupe import Seen, key_of
from turnout.dispatcher import Dispatcher
from turnout.errors import ConfigError, Refusal, did_you_mean
from turnout.event import Event
from turnout.log import Log, LogError
from turnout.reading import Record
from turnout.reasons import Reason
from turnout.settings import Config

__all__ = ["Fed", "Rewound", "feed", "rewind"]

_GROUP = 500
_TOLD = 10


class Rewound(msgspec.Struct, frozen=True):
    """A cursor that was moved back, or would be."""

    destination: str
    position: int
    """The first event that is delivered once more."""
    cursor: int
    """The last event that the destination was done with."""
    parked: int
    """How many events wait at the destination; they stay, also those that are delivered once more."""

    @property
    def events(self) -> int:
        """Return how many events are delivered once more."""
        return self.cursor - self.position + 1


def rewind(
    log: Log, destination: str, *, position: int | None = None, since_ms: int | None = None, dry: bool = False
) -> Rewound:
    """Move a cursor back, so that `position`, or what was accepted since a time, is delivered once more.

    Raises `ConfigError` for an unknown destination and for a position that is no longer in the log or still to come,
    and `LogError` while a process delivers: it keeps its place in memory.
    """
    _check_known(log, destination)
    with nullcontext() if dry else log.own("deliver"):
        cursor = log.register(destination).position
        start = _since(log, since_ms or 0, cursor) if position is None else _checked(log, position, cursor)
        rewound = Rewound(destination, start, cursor, log.parked(destination))
        if rewound.events and not dry:
            log.move(destination, start - 1)
    return rewound


def _check_known(log: Log, destination: str) -> None:
    known = log.destinations()
    if destination not in known:
        hint = did_you_mean(destination, known) or f" There are: {', '.join(known) or 'none'}."
        raise ConfigError(f"The log knows no destination '{destination}': nothing was delivered to it yet.{hint}")


def _since(log: Log, since_ms: int, cursor: int) -> int:
    """Return the first position that was accepted since a time."""
    # Counted from the end as it was before: what comes in meanwhile only moves the start further back.
    last = log.last()
    start = last + 1 - sum(len(keys) for _, keys in log.keys(since_ms))
    return min(max(start, log.first()), cursor + 1)


def _checked(log: Log, position: int, cursor: int) -> int:
    first = log.first()
    if position > cursor:
        done = f"the destination is done with the events up to {cursor}" if cursor else "nothing was delivered yet"
        raise ConfigError(f"Position {position} is still to come: {done}. Give a position that it has had.")
    if position < first:
        kept = f"the oldest event in the log is {first}" if first <= log.last() else "the log holds no events any more"
        raise ConfigError(f"Position {position} is no longer there: {kept}.")
    return position


class Fed(msgspec.Struct):
    """What became of the events of a file, or would become of them."""

    accepted: int = 0
    """They are in the log now."""
    duplicates: int = 0
    """Copies of what was accepted before, within `dedupe_hours`, or of an earlier event of the same file."""
    refused: int = 0
    """They can't be accepted."""
    faults: list[tuple[str, Reason]] = []
    """Place and reason of the first that were refused."""


def feed(
    log: Log | None,
    settings: Config,
    records: Iterable[Record],
    *,
    again: bool = False,
    dry: bool = False,
    clock: Callable[[], int] = now_ms,
) -> Fed:
    """Accept the events of a stream into a log, and return what became of them.

    `again` also takes what was accepted before. An event without a message id gets a new one each time, so a copy of
    it can't be told. A dry run may do without a log. Raises `LogError` when another process accepts into it, or when
    there is no room; what was kept before is durable, and is not kept twice by the next run.
    """
    fed = Fed()
    with _taking(log, settings, again, dry, clock) as take:
        for group in _groups(records):
            try:
                receipts = take([found for _, found in group])
            except LogError as error:
                kept = f"The {fed.accepted:,} events before it were kept. Give the same file again to go on"
                raise type(error)(f"{error} {kept}." if fed.accepted else str(error)) from None
            for (place, _), receipt in zip(group, receipts, strict=True):
                _count(fed, place, receipt)
    return fed


def _groups(records: Iterable[Record]) -> Iterator[list[tuple[str, Event | Refusal]]]:
    """Yield the events of records, each with its place, some hundred at a time."""
    dispatcher = Dispatcher({})
    group: list[tuple[str, Event | Refusal]] = []
    for record in records:
        for number, found in enumerate([record.refusal] if record.refusal else dispatcher.read_body(record.raw), 1):
            group.append((record.place if number == 1 else f"{record.place}, event {number}", found))
            if len(group) == _GROUP:
                yield group
                group = []
    if group:
        yield group


def _count(fed: Fed, place: str, receipt: Receipt) -> None:
    if receipt.reason is not None:
        fed.refused += 1
        if len(fed.faults) < _TOLD:
            fed.faults.append((place, receipt.reason))
    elif receipt.duplicate:
        fed.duplicates += 1
    else:
        fed.accepted += 1


_Take = Callable[[list[Event | Refusal]], list[Receipt]]


@contextmanager
def _taking(log: Log | None, settings: Config, again: bool, dry: bool, clock: Callable[[], int]) -> Iterator[_Take]:
    """Yield what accepts a group of events: the log's acceptor, or for a dry run one that only looks."""
    if dry or log is None:
        yield _Looking(None if again else log, settings, clock).take
        return
    with Acceptor(log, settings, clock) as acceptor:
        if again:
            acceptor.seen = _seen(settings)
        yield acceptor.accept


def _seen(settings: Config) -> Seen:
    return Seen(int(settings.dedupe_hours * 3_600_000), settings.dedupe_megabytes * 1_000_000)


class _Looking:
    """Tells what an acceptor would do, without the role and without keeping anything."""

    def __init__(self, log: Log | None, settings: Config, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._seen = _seen(settings)
        since = clock() - int(settings.dedupe_hours * 3_600_000)
        for at_ms, keys in log.keys(since) if log else ():
            for key in keys:
                self._seen.add(key, at_ms)

    def take(self, events: list[Event | Refusal]) -> list[Receipt]:
        """Return the receipts that the events would get."""
        return [self._receipt(event) for event in events]

    def _receipt(self, event: Event | Refusal) -> Receipt:
        if isinstance(event, Refusal):
            return Receipt(None, reason=event.reason)
        key = key_of(event.write_key or event.project_id or "", event.message_id)
        return Receipt(event.message_id, duplicate=not self._seen.add(key, self._clock()))

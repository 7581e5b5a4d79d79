"""Dead letters, looked at and repeated: what `turnout dlq` does, as calls.

query = DeadQuery(destination="amplitude", code=Code.VENDOR_REFUSED)
for letter in log.dead(query):
    print(line(letter, secrets(dispatcher, letter.destination)))
replay(log, query, dispatcher=dispatcher)
purge(log, query)
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import msgspec

from turnout._json import read
from turnout._limits import Limits
from turnout._redact import MASK
from turnout._times import iso
from turnout.accepting import now_ms
from turnout.dispatcher import Dispatcher
from turnout.errors import Refusal
from turnout.event import Event
from turnout.inputs import Inputs
from turnout.log import DeadLetter, DeadQuery, Log, Parked, Settlement, StoredItem
from turnout.normalise import Normaliser
from turnout.plan import Plan, reason_dict
from turnout.reasons import Code, Outcome, Reason
from turnout.settings import redact

__all__ = ["Replayed", "Stays", "called", "line", "purge", "replay", "secrets", "when"]

_AT_ONCE = 200
_ROLE = "replay"
_HARMFUL = (Code.PROCESS_DIED, Code.PLUGIN_TOO_SLOW)
_NO_LIMIT = 1 << 30
"""Bytes: an event that was accepted has passed the limit already."""


def secrets(dispatcher: Dispatcher | None, destination: str) -> frozenset[str] | None:
    """Return what must not be shown of a destination's letters; None when that destination isn't configured."""
    if dispatcher is None or destination not in dispatcher.destinations:
        return None
    return frozenset(value for one in dispatcher.destinations.values() for value in one.config.secret_values)


def line(letter: DeadLetter, hide: Iterable[str] | None) -> dict[str, Any]:
    """Return a dead letter as plain data: event and items decoded, times as ISO 8601.

    The texts of `hide` are masked. A rule may have put a secret into an item: when nobody can tell which texts are
    secret (None), the items come without their data.
    """
    told = {
        "message_id": letter.message_id,
        "user": letter.user,
        "reason": reason_dict(letter.reason),
        "event": _decoded(letter.event),
        "items": [_item(item, shown=hide is not None) for item in letter.items],
    }
    masked = _masked(told, frozenset(hide or ()))
    about = {
        "id": letter.id,
        "at": when(letter.at_ms),
        "destination": letter.destination,
        "position": letter.position or None,
        "outcome": letter.outcome.value,
        "attempts": letter.attempts,
        "version": letter.version,
    }
    return {**about, **masked}


def when(at_ms: int) -> str:
    """Return a time as ISO 8601."""
    try:
        return iso(datetime.fromtimestamp(at_ms / 1000, UTC))
    except (ValueError, OverflowError, OSError):
        return f"{at_ms} ms"


def called(letter: DeadLetter) -> str:
    """Return what a person would call the letter's event: `track Order Completed`."""
    event = _decoded(letter.event)
    if not isinstance(event, dict):
        return "?"
    name = next((event[key] for key in ("event", "name", "groupId") if isinstance(event.get(key), str)), "")
    return f"{event.get('type', '?')} {name}".strip()


def _item(item: StoredItem, *, shown: bool) -> dict[str, Any]:
    data = _decoded(item.data) if shown else None
    return {"endpoint": item.endpoint, "rule": item.rule, "key": item.key, "data": data}


def _decoded(raw: bytes) -> Any:
    """Return the value of a JSON text, the text itself where it is none, and None for an empty one."""
    if not raw:
        return None
    try:
        return read(raw)
    except Refusal:
        return raw.decode("utf-8", "replace")


def _masked(value: Any, hide: frozenset[str]) -> Any:
    if not hide:
        return value
    if isinstance(value, str):
        return redact(value, hide)
    if isinstance(value, dict):
        return {redact(key, hide): _masked(inner, hide) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, hide) for inner in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return MASK if is_number and str(value) in hide else value


class Stays(msgspec.Struct):
    """Letters that can't be replayed, for one reason."""

    destination: str
    code: Code | None
    """The code of the mapping's reason; None for what has nothing to do with the event."""
    message: str
    """The reason of the first one."""
    first: int
    """Its id."""
    letters: int = 0


class Replayed(msgspec.Struct):
    """What came of a replay, or would come of it."""

    parked: Counter[str] = msgspec.field(default_factory=Counter)
    """For each destination, the letters that are on their way again."""
    dropped: Counter[str] = msgspec.field(default_factory=Counter)
    """For each destination, those for which its settings now send nothing, on purpose: they count as dropped."""
    stays: list[Stays] = []
    """The others, by destination and reason."""
    damaged: dict[int, str] = {}
    """Those that can't be read, by id, each with a sentence that says why; they stay too."""


def replay(
    log: Log,
    query: DeadQuery,
    *,
    dispatcher: Dispatcher | None = None,
    clock: Callable[[], int] = now_ms,
    dry: bool = False,
) -> Replayed:
    """Put dead letters back on their way to the destination that they died at, and tell what came of each.

    The items of a letter are parked again as they were, with their keys; an event that could not be mapped is mapped
    again, without what earlier events had left for it. A running delivery picks them up. Letters go in the order in
    which they died; one that can't be replayed stays. Without a dispatcher nothing can be mapped, and nobody can tell
    whether a destination is still configured. An event whose mapping ended the process or didn't come back is only
    mapped when the query names it, by id or reason. One that can't be read keeps no other from going.

    A kill in between leaves some letters twice, parked and dead; none is lost. Raises `LogError` when another process
    replays or purges.
    """
    run = _Run(log, dispatcher, clock, named=query.ids is not None or query.code is not None)
    with nullcontext() if dry else log.own(_ROLE):
        # Those of now: what is refused once more while this runs has a new id.
        damaged = run.result.damaged
        for ids in _pieces([letter.id for letter in log.dead(query, damaged=damaged.__setitem__)]):
            found = log.dead(DeadQuery(ids=ids), damaged=damaged.__setitem__)
            letters = sorted(found, key=lambda letter: letter.destination)
            for destination, group in itertools.groupby(letters, key=lambda letter: letter.destination):
                run.take(destination, list(group), dry)
    return run.result


def purge(log: Log, query: DeadQuery) -> int:
    """Delete dead letters for good, also those that can't be read, and return how many there were.

    Their events stay counted as dead. Raises `LogError` when another process replays or purges.
    """
    with log.own(_ROLE):
        damaged: dict[int, str] = {}
        ids = [letter.id for letter in log.dead(query, damaged=damaged.__setitem__)]
        return sum(log.bury(some) for some in _pieces([*ids, *damaged]))


def _pieces(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]


class _Run:
    """One replay: what it has found out so far."""

    def __init__(self, log: Log, dispatcher: Dispatcher | None, clock: Callable[[], int], *, named: bool) -> None:
        self.result = Replayed()
        self._log = log
        self._dispatcher = dispatcher
        self._clock = clock
        self._named = named
        self._cursors = frozenset(log.destinations())
        self._stays: dict[tuple[str, Code | None, str], Stays] = {}
        self._normaliser = Normaliser(limits=Limits(event_bytes=_NO_LIMIT))

    def take(self, destination: str, letters: Sequence[DeadLetter], dry: bool) -> None:
        """Replay some letters of one destination."""
        park: list[Parked] = []
        done: list[int] = []
        counts: Counter[tuple[Outcome, Code | None]] = Counter()
        for letter in letters:
            found = self._again(letter)
            if isinstance(found, Stays):
                self._stay(found)
                continue
            done.append(letter.id)
            counts[letter.outcome, letter.reason.code] -= 1
            if isinstance(found, Parked):
                park.append(found)
            else:
                counts[Outcome.DROPPED, found.code] += 1
        self.result.parked[destination] += len(park)
        self.result.dropped[destination] += len(done) - len(park)
        if done and not dry:
            self._log.settle(destination, Settlement(park=park, bury=done, counts=counts))

    def _stay(self, found: Stays) -> None:
        known = self._stays.setdefault((found.destination, found.code, "" if found.code else found.message), found)
        if known is found:
            self.result.stays.append(found)
        known.letters += 1

    def _again(self, letter: DeadLetter) -> Parked | Reason | Stays:
        """Return what to park for a letter, why it is dropped now, or why it stays."""
        if problem := self._lacks(letter):
            return Stays(letter.destination, None, problem, letter.id)
        if letter.items:
            return self._parked(letter, letter.items, letter.user)
        plan = self._mapped(letter)
        if plan.outcome is Outcome.PLANNED:
            items = [StoredItem(item.endpoint.name, item.data, item.key, item.rule) for item in plan.items]
            return self._parked(letter, items, plan.user)
        reason = plan.reason or Reason(Code.NOTHING_TO_MAP, "")
        if plan.outcome is Outcome.DROPPED:
            return reason
        return Stays(letter.destination, reason.code, reason.message, letter.id)

    def _lacks(self, letter: DeadLetter) -> str | None:
        """Return what a letter needs to be replayed and doesn't have, None when it has everything."""
        if letter.destination not in self._cursors:
            return "no delivery knows this destination; start `turnout deliver` with it once"
        target = self._dispatcher.destinations.get(letter.destination) if self._dispatcher else None
        if self._dispatcher and target is None:
            return "this destination is not in the configuration"
        if not letter.items:
            return self._unmappable(letter)
        gone = {item.endpoint for item in letter.items} - target.endpoints.keys() if target else ()
        return f"the plugin has no endpoint {', '.join(sorted(gone))} any more" if gone else None

    def _unmappable(self, letter: DeadLetter) -> str | None:
        if self._dispatcher is None:
            return "the event has to be mapped again, which needs a configuration (--config)"
        if not letter.event:
            return "the event can't be read any more"
        if letter.reason.code in _HARMFUL and not self._named:
            return f"mapping it did harm before; --id or --reason {letter.reason.code} maps it all the same"
        return None

    def _mapped(self, letter: DeadLetter) -> Plan:
        dispatcher = self._dispatcher
        assert dispatcher is not None
        event: Event | Refusal
        try:
            event = self._normaliser.event(letter.event)
        except Refusal as refusal:
            event = refusal
        return dispatcher.plan_at(letter.destination, event, Inputs())

    def _parked(self, letter: DeadLetter, items: list[StoredItem], user: str) -> Parked:
        return Parked(
            user=user,
            position=letter.position,
            message_id=letter.message_id or "",
            items=items,
            due_ms=self._clock(),
            reason=letter.reason,
            event=letter.event,
        )

"""Holds what the vendor got against what was accepted: what is lost, repeated, out of order, or counted wrongly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from chaos_events import line, number_of, user_of

from turnout.dispatcher import Dispatcher
from turnout.inputs import Inputs
from turnout.log import DeadLetter, DeadQuery, Log
from turnout.reasons import Code, Outcome

__all__ = ["Accepted", "Verdicts", "inversions", "judge", "read_accepted", "read_journal"]

_ENDS = (Outcome.DELIVERED, Outcome.DEAD, Outcome.DROPPED, Outcome.INVALID, Outcome.FAILED)


class Accepted(msgspec.Struct):
    """What the sender was told: the numbers of the events that are safe, and those that were kept twice."""

    numbers: set[int]
    twice: set[int]


class Effect(msgspec.Struct, frozen=True):
    """One item that took effect, or was ignored by the vendor as a copy."""

    path: str
    insert_id: str
    device: str
    digest: str


class Verdicts(msgspec.Struct):
    """What one destination made of the accepted events."""

    accepted: int
    delivered: int
    dropped: int
    dead: Counter[str]
    pending: int
    lost: list[str]
    """Insert ids of items that neither took effect nor are in a dead letter."""
    strange: list[str]
    """Insert ids that took effect though no accepted event has them."""
    double: list[str]
    """Keyed items that took effect twice."""
    changed: list[str]
    """Items that were not the same at each attempt."""
    inverted: list[tuple[str, int, int]]
    """User, and two events of theirs of which the later one took effect first."""
    innocent: list[str]
    """Message ids of dead letters whose event did nothing wrong."""
    unexplained: list[str]
    """Message ids of dead letters without a reason or without their event."""
    repeated: int
    """Events of which some item was sent again though it had taken effect."""
    copies: int
    """Items that were sent again though they had taken effect."""
    miscounted: str
    """How the log's counts differ from what was received; empty when they agree."""
    faults: Counter[tuple[str, str]]

    @property
    def violations(self) -> dict[str, int]:
        """Return how often each promise was broken."""
        found = {
            "lost": len(self.lost),
            "taken though never accepted": len(self.strange),
            "effective twice": len(self.double),
            "changed between attempts": len(self.changed),
            "inversions": len(self.inverted),
            "dead without fault": len(self.innocent),
            "dead without reason or event": len(self.unexplained),
            "miscounted": int(bool(self.miscounted)),
            "pending": self.pending,
        }
        return {name: times for name, times in found.items() if times}


def read_accepted(path: Path) -> Accepted:
    """Return what the accepting process has written down."""
    positions: dict[int, set[str]] = defaultdict(set)
    for told in path.read_text().splitlines():
        number, position = told.split()
        positions[int(number)].add(position)
    return Accepted(set(positions), {number for number, kept in positions.items() if len(kept - {"-"}) > 1})


def read_journal(path: Path) -> tuple[list[Effect], Counter[tuple[str, str]]]:
    """Return the effects in order, and the faults that were met, with what had taken effect by then."""
    effects, faults = [], Counter[tuple[str, str]]()
    for told in path.read_text().splitlines():
        if told.startswith("!"):
            _, kind, after = told.split()
            faults[kind, after] += 1
        else:
            effects.append(Effect(*told.split()))
    return effects, faults


def judge(log: Log, name: str, dispatcher: Dispatcher, seed: int, accepted: Accepted, journal: Path) -> Verdicts:
    """Return what is to be said of one destination."""
    effects, faults = read_journal(journal)
    letters = list(log.dead(DeadQuery(destination=name)))
    taken = Counter(effect.insert_id for effect in effects)
    planned, dropped = _planned(dispatcher, name, seed, accepted.numbers)
    expected = {key for keys in planned.values() for key in keys}
    dead = _dead_keys(letters, planned)
    copies = sum(taken.values()) - len(taken)
    counts = log.counts().get(name, {})
    return Verdicts(
        accepted=len(accepted.numbers),
        delivered=sum(number for (outcome, _), number in counts.items() if outcome is Outcome.DELIVERED),
        dropped=dropped,
        dead=Counter(f"{letter.outcome.value} {letter.reason.code.value}" for letter in letters),
        pending=log.last() - log.register(name).position + log.parked(name),
        lost=sorted(expected - taken.keys() - dead),
        strange=sorted(taken.keys() - expected),
        double=_double(effects),
        changed=_changed(effects),
        inverted=inversions(effects, partial(user_of, seed)),
        innocent=[_message_id(letter) for letter in letters if _innocent(letter)],
        unexplained=[str(one.message_id) for one in letters if not (one.event and one.reason.message)],
        repeated=len({number_of(key): times for key, times in taken.items() if times > 1}),
        copies=copies,
        miscounted=_miscounted(log, name, len(accepted.numbers), letters),
        faults=faults,
    )


def _planned(dispatcher: Dispatcher, name: str, seed: int, numbers: set[int]) -> tuple[dict[str, list[str]], int]:
    """Return the insert ids that each accepted event becomes, by message id, and how many events become nothing."""
    inputs, planned, dropped = Inputs(), {}, 0
    for number in sorted(numbers):
        event = dispatcher.normaliser.event(line(seed, number))
        plan = dispatcher.plan_at(name, event, inputs)
        dropped += plan.outcome is Outcome.DROPPED
        planned[event.message_id] = [_insert_id(item.data) for item in plan.items]
    return planned, dropped


def _insert_id(data: bytes) -> str:
    found: dict[str, Any] = msgspec.json.decode(data)
    return str(found["insert_id"])


def _dead_keys(letters: list[DeadLetter], planned: dict[str, list[str]]) -> set[str]:
    """Return the insert ids in dead letters: of the items, or all of an event that could not be mapped."""
    dead: set[str] = set()
    for letter in letters:
        items = [_insert_id(item.data) for item in letter.items]
        dead.update(items or planned.get(_message_id(letter), []))
    return dead


def _message_id(letter: DeadLetter) -> str:
    """Return the message id of the event in a dead letter, which tells it also where the letter doesn't."""
    event: dict[str, Any] = msgspec.json.decode(letter.event or b"{}")
    return str(letter.message_id or event.get("messageId"))


def _innocent(letter: DeadLetter) -> bool:
    """Return whether an event is dead that the vendor has not refused for what is in it."""
    return letter.reason.code is not Code.VENDOR_REFUSED or "event_properties" not in letter.reason.message


def _double(effects: list[Effect]) -> list[str]:
    """Return the keyed items that the vendor could not tell to be the same: it compares insert id and device."""
    devices: dict[str, set[str]] = defaultdict(set)
    for effect in effects:
        if effect.path != "/identify":
            devices[effect.insert_id].add(effect.device)
    return sorted(key for key, found in devices.items() if len(found) > 1)


def _changed(effects: list[Effect]) -> list[str]:
    digests: dict[str, set[str]] = defaultdict(set)
    for effect in effects:
        digests[effect.insert_id].add(effect.digest)
    return sorted(key for key, found in digests.items() if len(found) > 1)


def inversions(effects: Iterable[Effect], owner_of: Callable[[int], str]) -> list[tuple[str, int, int]]:
    """Return, for each first effect behind one of a later event of the same user, user and both events."""
    seen: set[str] = set()
    latest: dict[str, int] = {}
    found = []
    for effect in effects:
        if effect.insert_id in seen:
            continue
        seen.add(effect.insert_id)
        number = number_of(effect.insert_id)
        user = owner_of(number)
        if number < latest.get(user, -1):
            found.append((user, number, latest[user]))
        latest[user] = max(number, latest.get(user, -1))
    return found


def _miscounted(log: Log, name: str, accepted: int, letters: list[DeadLetter]) -> str:
    """Return how `received = delivered + dead + dropped + pending` fails; empty when it holds."""
    counts = log.counts().get(name, {})
    ends = sum(number for (outcome, _), number in counts.items() if outcome in _ENDS)
    pending = log.last() - log.register(name).position + log.parked(name)
    dead = sum(number for (outcome, _), number in counts.items() if outcome in (_ENDS[1], *_ENDS[3:]))
    if log.last() != accepted:
        return f"{accepted} accepted, {log.last()} in the log"
    if ends + pending != log.last():
        return f"{log.last()} received, {ends} ended and {pending} pending"
    return "" if dead == len(letters) else f"{dead} counted as dead, {len(letters)} dead letters"

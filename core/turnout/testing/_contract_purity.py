"""Checks that a mapping is a function of its event and its settings, and of nothing else."""

from __future__ import annotations

from typing import Any

import msgspec

from turnout._json import pointer
from turnout.dispatcher import Dispatcher
from turnout.event import Event
from turnout.normalise import Normaliser
from turnout.plan import Plan
from turnout.testing import _contract_events as events
from turnout.testing._contract_elsewhere import answers_elsewhere
from turnout.testing._contract_spying import spied
from turnout.testing._contract_subject import NOW, Entry, Looked, Subject, rules_of, seen
from turnout.testing._contract_words import Broken, NothingToSee, difference

__all__ = [
    "gives_the_same_answer_elsewhere",
    "gives_the_same_answer_twice",
    "ignores_the_order_of_keys",
    "leaves_the_event_alone",
    "reads_nothing_but_the_event",
    "takes_null_as_absent",
]

_ABSENT_WHEN_NULL = ("anonymousId", "userId", "groupId", "previousId", "name", "category", "channel", "projectId")


def leaves_the_event_alone(subject: Subject) -> None:
    """Compare an event's content before and after it was mapped."""
    if not subject.kind.pure:
        raise NothingToSee(
            f"{subject.kind.__name__} has not `pure = True`: it gets a private copy of every event, and can't reach "
            "the event itself. If no rule changes its event, state `pure = True`: it saves the copy."
        )
    subject.each(_check_untouched)


def _check_untouched(entry: Entry, plan: Plan, _: Looked) -> None:
    event = Normaliser(clock=lambda: NOW).event(msgspec.json.encode(entry.event))
    before = _content(event)
    entry.plan(event)
    if changed := difference(before, _content(event)):
        mend = "Make a new object instead, {**event.properties, …}; or take `pure = True` out of the class."
        raise Broken(f"mapping changed the event, {changed}", mend, where=rules_of(plan), event=entry.event)


def _content(event: Event) -> Any:
    return msgspec.to_builtins(event, str_keys=True, enc_hook=repr)


def gives_the_same_answer_twice(subject: Subject) -> None:
    """Map every event twice in a row, and once more, in the opposite order, with a destination that is new."""
    subject.each(_check_twice)
    fresh: dict[int, Dispatcher] = {}
    for entry, plan in reversed(subject.planned):
        if id(entry.dispatcher) not in fresh:
            fresh[id(entry.dispatcher)] = subject.dispatcher(entry.settings)
        again = msgspec.structs.replace(entry, dispatcher=fresh[id(entry.dispatcher)])
        _compare(entry, plan, again.plan(), "a new destination with the same settings gives another answer")


def _check_twice(entry: Entry, plan: Plan, _: Looked) -> None:
    _compare(entry, plan, entry.plan(), "the second time the answer is another")


def _compare(entry: Entry, plan: Plan, again: Plan, words: str) -> None:
    if changed := difference(seen(plan), seen(again)):
        mend = "Keep nothing in the instance or module that one event leaves for the next; take what is in the event."
        raise Broken(f"{words}, {changed}", mend, where=rules_of(plan), event=entry.event)


def reads_nothing_but_the_event(subject: Subject) -> None:
    """Watch which functions are called while events are mapped: none may read a clock, chance or a file."""
    package = subject.kind.__module__.partition(".")[0]
    subject.each(lambda entry, plan, _: _check_spied(entry, plan, package))


_READS = (
    "Take times from the event (event.timestamp), ids from event.message_id, and what comes from files or "
    "the environment from the settings, read once in configured()."
)
_PRINTS = "Take the print() out, or use logging: standard output belongs to commands such as turnout plan."


def _check_spied(entry: Entry, plan: Plan, package: str) -> None:
    found = spied(entry.plan, package)
    if found is not None:
        mend = _PRINTS if found.function == "print" else _READS
        where = f"{found.place}; {rules_of(plan)}"
        raise Broken(f"mapping calls {found.function}", mend, where=where, event=entry.event)


def gives_the_same_answer_elsewhere(subject: Subject) -> None:
    """Map every event in another process, with another clock, time zone and hash seed, and compare."""
    others = answers_elsewhere(subject.name, [entry for entry, _ in subject.planned])
    for (entry, plan), other in zip(subject.planned, others, strict=True):
        if changed := difference(seen(plan), other):
            mend = (
                "Sort what comes out of a set, don't use hash(), and take times as UTC from the event: "
                "event.timestamp_ms, event.timestamp."
            )
            found = f"another process (other time zone, hash seed and clock) gives another answer, {changed}"
            raise Broken(found, mend, where=rules_of(plan), event=entry.event)


def ignores_the_order_of_keys(subject: Subject) -> None:
    """Map every event once more with the keys of its objects in the opposite order."""
    subject.each(_check_turned)


def _check_turned(entry: Entry, plan: Plan, _: Looked) -> None:
    if changed := difference(seen(plan), seen(entry.plan(events.backwards(entry.event)))):
        mend = "A JSON object has no order: sort where you make a list of one, and choose keys by name."
        found = f"with the event's keys in the opposite order the answer is another, {changed}"
        raise Broken(found, mend, where=rules_of(plan), event=entry.event)


def takes_null_as_absent(subject: Subject) -> None:
    """Compare what null and absence give, for ids, names, `integrations` and the context; and look for nulls made."""
    subject.each(_check_nulls)


def _check_nulls(entry: Entry, plan: Plan, looked: Looked) -> None:
    if not events.has_null(entry.event):
        _check_no_null(entry, plan)
    for path, _ in events.leaves(entry.event):
        place = (id(entry.dispatcher), rules_of(plan), path)
        if _is_mapped(path) and place not in looked:
            looked.add(place)
            _check_alike(entry, path)


def _check_no_null(entry: Entry, plan: Plan) -> None:
    for number, item in enumerate(plan.items):
        made = msgspec.json.decode(item.data)
        found = next((path for path, value in events.leaves(made) if value is None), None)
        if found is not None:
            place = f"rule '{item.rule}', endpoint '{item.endpoint.name}', item {number}, {pointer(found)}"
            mend = "Leave the field out when its value is None; compile_copies does."
            raise Broken("an item has a null, and the event has none", mend, where=place, event=entry.event)


def _check_alike(entry: Entry, path: tuple[str | int, ...]) -> None:
    absent = seen(entry.plan(events.without(entry.event, path)))
    null = seen(entry.plan(events.replaced(entry.event, path, None)))
    if changed := difference(events.without_nulls(absent), events.without_nulls(null)):
        place = pointer(path)
        mend = "Ask for the value (event.user_id is None), not for the key in event.to_dict() or event.raw."
        found = f"null at {place} gives another answer than no {place}, {changed}"
        raise Broken(found, mend, where=place, event=entry.event)


def _is_mapped(path: tuple[str | int, ...]) -> bool:
    """Return whether the house rule holds for a place: inside properties and traits null says something."""
    if any(isinstance(part, int) for part in path):
        return False
    if len(path) == 1:
        return path[0] in _ABSENT_WHEN_NULL
    return path[0] == "integrations" or (path[0] == "context" and path[1] not in ("traits", "protocols", "consent"))

"""Checks of what a mapping makes: items that are JSON, fit their endpoints, and carry their keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from turnout._json import pointer
from turnout.endpoint import Item
from turnout.packing import Request, written
from turnout.plan import Plan
from turnout.reasons import Outcome
from turnout.testing import _contract_events as events
from turnout.testing._contract_subject import Entry, Looked, Subject, place_of, rules_of
from turnout.testing._contract_words import Broken, NothingToSee, shown

__all__ = ["items_fit_their_endpoints", "keys_are_stable_and_distinct", "makes_clean_json"]

_NOT_JSON = re.compile(r"is not a JSON value|surrogate|A key of an object must be a string")
_NO_NUMBERS = ("NaN", "Infinity", "1e999")
_FILLER, _LONG = "x" * 50, "x" * 24_000


def makes_clean_json(subject: Subject) -> None:
    """Read every item as strict JSON, and look for nulls where a text is no number."""
    subject.each(_check_json, also_unplanned=True)
    subject.each(_check_numbers)


def _check_json(entry: Entry, plan: Plan, _: Looked) -> None:
    if plan.reason is not None and plan.outcome is Outcome.FAILED and _NOT_JSON.search(plan.reason.message):
        mend = "Make text, numbers, booleans, lists and objects with text as keys: sorted(values), str(value)."
        raise Broken(f"an item is not JSON: {plan.reason.message}", mend, event=entry.event)
    for item in plan.items:
        _check_strict(entry, item)


def _check_strict(entry: Entry, item: Item) -> None:
    try:
        text = item.data.decode()
        json.loads(text, object_pairs_hook=_once, parse_constant=_refused).__str__().encode()
        item.endpoint.envelope.decode(item.endpoint.envelope.join([item.data]))
    except Exception as error:
        found = f"an item is not clean JSON ({error or type(error).__name__}): {item.data[:200]!r}"
        mend = "Make items with self.<endpoint>.item(value) alone, and give `shared` no field that `value` has."
        raise Broken(found, mend, where=place_of(item), event=entry.event) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(key for key in keys if keys.count(key) > 1)}' stands there twice")
    return made


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _check_numbers(entry: Entry, plan: Plan, looked: Looked) -> None:
    """Put texts that Python reads as NaN and infinity where numbers are: encoded, these become null."""
    if events.has_null(entry.event):
        return
    for path, value in events.leaves(entry.event):
        where = (id(entry.dispatcher), rules_of(plan), path)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or path[0] not in ("properties", "traits") or where in looked:
            continue
        looked.add(where)
        known = {place for _, place in _nulls(plan)}
        for text in _NO_NUMBERS:
            event = events.replaced(entry.event, path, text)
            for item, place in _nulls(entry.plan(event)):
                if place in known:  # of these, `takes_null_as_absent` says what is wrong
                    continue
                found = f"'{text}' at {pointer(path)} makes a null at {place}: NaN and infinity are no JSON"
                mend = "Ask math.isfinite() of a number that was read from text, and leave out what is none."
                raise Broken(found, mend, where=place_of(item), event=event)


def _nulls(plan: Plan) -> Iterator[tuple[Item, str]]:
    for item in plan.items:
        if b"null" in item.data:
            made = events.leaves(msgspec.json.decode(item.data))
            yield from ((item, pointer(path)) for path, value in made if value is None)


def items_fit_their_endpoints(subject: Subject) -> None:
    """Look at the endpoint and the size of every item, also of events that are as large as events may be."""
    subject.each(_check_sizes)


def _check_sizes(entry: Entry, plan: Plan, looked: Looked) -> None:
    _check_fit(entry, entry.event, plan)
    for path, event in _large(entry.event):
        place = (id(entry.dispatcher), rules_of(plan), path)
        if place not in looked:
            looked.add(place)
            _check_fit(entry, event, entry.plan(event))


def _large(event: dict[str, Any]) -> Iterator[tuple[events.Path, dict[str, Any]]]:
    """Yield the event with one long text at a time, where it has texts, and with many properties."""
    for name in ("properties", "traits"):
        if isinstance(event.get(name), dict) and event[name]:
            yield (name,), {**event, name: {**event[name], **{f"filler_{number}": _FILLER for number in range(300)}}}
    for path, value in events.leaves(event):
        if isinstance(value, str) and value and path[0] in ("properties", "traits", "name", "event", "context"):
            yield path, events.replaced(event, path, _LONG)


def _check_fit(entry: Entry, event: dict[str, Any], plan: Plan) -> None:
    declared = entry.destination.endpoints
    for item in plan.items:
        if declared.get(item.endpoint.name) is not item.endpoint:
            mend = "Declare it as an attribute of the class, and make items with self.<endpoint>.item(…)."
            found = f"an item belongs to an endpoint that is not declared: '{item.endpoint.name}'"
            raise Broken(found, mend, where=place_of(item), event=event)
    for request in plan.requests:
        _check_size(entry, event, request)


def _check_size(entry: Entry, event: dict[str, Any], request: Request) -> None:
    endpoint, limits = request.endpoint, request.endpoint.batch
    data = written(endpoint, request.items)
    size, largest = len(endpoint.envelope.join(data)), max(map(len, data))
    found = ""
    if size > limits.bytes or len(data) > limits.items:
        found = f"a request has {size:,} bytes and {len(data)} items; it may have {limits.bytes:,} and {limits.items}"
    elif 0 < limits.item_bytes < largest:
        found = f"an item has {largest:,} bytes; it may have {limits.item_bytes:,}"
    if found:
        mend = "Make items with self.<endpoint>.item(…), which refuses one that is too large by itself."
        raise Broken(found, mend, where=place_of(request.items[0]), event=event)


def keys_are_stable_and_distinct(subject: Subject) -> None:
    """Compare the keys of an event's items with each other, with a resent copy's, and with another event's."""
    subject.each(_check_keys)
    if not any(item.endpoint.keyed for _, plan in subject.planned for item in plan.items):
        raise NothingToSee("No endpoint has idempotency keys: all of them state `keyed=False`.")


def _check_keys(entry: Entry, plan: Plan, _: Looked) -> None:
    for item in plan.items:
        _check_key(entry, item)
    _check_distinct(entry, plan)
    _check_stable(entry, plan)


def _check_key(entry: Entry, item: Item) -> None:
    where, keyed = place_of(item), item.endpoint.keyed
    if keyed and not item.key:
        mend = (
            "Give one made of the message id, self.<endpoint>.item({…, 'id': event.message_id}, key=event.message_id); "
            "where the vendor has none, state it: Endpoint(…, keyed=False)."
        )
        raise Broken("an item has no idempotency key", mend, where=where, event=entry.event)
    if not keyed and item.key:
        mend = "Take `keyed=False` from the endpoint, or `key=` from the item."
        raise Broken(f"an item has the key '{item.key}', and its endpoint says that it has none", mend, where=where)
    if item.key and msgspec.json.encode(item.key)[1:-1] not in item.data:
        mend = "Put the same text into the item, in the field by which the vendor tells copies apart."
        raise Broken(f"the vendor never sees the key '{item.key}'", mend, where=where, event=entry.event)


def _check_distinct(entry: Entry, plan: Plan) -> None:
    seen: dict[tuple[str, str | None], Item] = {}
    for item in plan.items:
        if not item.key:
            continue
        if (item.endpoint.name, item.key) in seen:
            found = f"two items of one event have the key '{item.key}': the vendor drops the second as a copy"
            mend = 'Number the further ones: f"{event.message_id}-1".'
            raise Broken(found, mend, where=place_of(item), event=entry.event)
        seen[item.endpoint.name, item.key] = item


def _check_stable(entry: Entry, plan: Plan) -> None:
    later = {"sentAt": "2026-01-02T04:04:06.789Z", "receivedAt": "2026-01-02T04:04:06.789Z"}
    resent = entry.plan({**entry.event, **later})
    other = entry.plan({**entry.event, "messageId": f"{str(entry.event['messageId'])[:80]}-other"})
    mend = "Make the key of event.message_id and of the item's number, and of nothing else."
    for item, again in zip(plan.items, resent.items, strict=False):
        if item.key != again.key:
            found = f"a library that sends an event once more gets another key: '{item.key}', then '{again.key}'"
            raise Broken(found, mend, where=place_of(item), event=entry.event)
    keys = {(item.endpoint.name, item.key) for item in plan.items if item.key}
    for item in other.items:
        if (item.endpoint.name, item.key) in keys:
            found = (
                f"an event with another messageId gets the same key, {shown(item.key)}: it would be dropped as a copy"
            )
            raise Broken(found, mend, where=place_of(item), event=entry.event)

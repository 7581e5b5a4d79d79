"""What is different between two plans of one event: items paired with each other, and the leaves that differ."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Any

import msgspec

from turnout._json import pointer, read

__all__ = [
    "Change",
    "Changes",
    "Found",
    "Kind",
    "Mapped",
    "MappedItem",
    "Verdict",
    "changes_of",
    "generalised",
    "values",
    "verdict",
]

_PLANNED = "planned"
_POSITION = re.compile(r"/\d+(?=/|$)")
_ALIGNED = 2_500
"""Up to so many pairs of items are compared with each other to find those that belong together."""

_NESTED = (dict, list)
"""What may hold 1 for true, or for 1.0, and be equal all the same."""

Path = tuple[str | int, ...]


class Kind(StrEnum):
    """What kind of change it is, the weightiest first."""

    ITEM_REMOVED = "item_removed"
    """An item is no longer made."""
    ITEM_ADDED = "item_added"
    """An item is made that was not made before."""
    REQUEST = "request"
    """The request around the items differs: method, URL, headers or envelope."""
    REQUESTS = "requests"
    """The same number of items goes in another number of requests."""
    ORDER = "order"
    """The same items come in another order."""
    FIELD_REMOVED = "field_removed"
    """An item has a field, or an element of a list, no longer."""
    FIELD_ADDED = "field_added"
    """An item has a new field, or a new element of a list."""
    VALUE = "value"
    """A field has another value."""
    KEY = "key"
    """The idempotency key differs, and nothing else in the item shows it."""
    RULE = "rule"
    """Another rule makes the item."""


class MappedItem(msgspec.Struct, frozen=True, array_like=True):
    """One item of a plan, without secrets: its endpoint's name, rule, idempotency key and JSON text."""

    endpoint: str
    rule: str
    key: str | None
    data: bytes


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """What became of an event, and why: reason code, and the JSON Pointer with `*` for positions."""

    outcome: str
    code: str | None = None
    path: str | None = None


class Mapped(msgspec.Struct, frozen=True, array_like=True):
    """What a plan says, in a form that can go from one process to another."""

    message_id: str | None
    verdict: Verdict
    items: list[MappedItem]
    requests: dict[str, int]
    """How many requests the items make, by endpoint."""
    refusal: str = ""
    """Why the event can't be accepted at all; empty for one that can."""


class Change(msgspec.Struct, frozen=True):
    """One change without the values: `path` is a JSON Pointer with `*` for positions in lists.

    `endpoint` and `rule` are empty where there is none to name; so is `path` for an item as a whole.
    """

    kind: Kind
    endpoint: str = ""
    rule: str = ""
    path: str = ""

    @property
    def rank(self) -> tuple[int, str, str, str]:
        """Return what changes are sorted by, the weightiest first."""
        return _RANK[self.kind], self.endpoint, self.rule, self.path


_RANK = {kind: number for number, kind in enumerate(Kind)}


class Found(msgspec.Struct, frozen=True):
    """The values of a change in one event: where exactly, what was there before, what is there now.

    A value is None also where nothing is there; the kind of the change tells which.
    """

    path: str
    was: Any = None
    now: Any = None


Changes = dict[Change, Found]


def verdict(outcome: str, code: str | None = None, path: str | None = None) -> Verdict:
    """Return a verdict, its path with `*` for positions."""
    return Verdict(outcome, code, _POSITION.sub("/*", path) if path else None)


def changes_of(before: Mapped, after: Mapped) -> Changes:
    """Return what differs between the items of two plans, each change with its first occurrence."""
    found: Changes = {}
    pairs = _aligned(before.items, after.items)
    for was, now in pairs:
        _tell_pair(found, was, now)
    if _PLANNED == before.verdict.outcome == after.verdict.outcome:
        _tell_order(found, before.items, after.items, pairs)
        _tell_requests(found, before, after)
    return found


def values(was: Any, now: Any) -> Iterator[tuple[Kind, Path, Any, Any]]:
    """Yield each leaf that differs between two JSON values: its kind, its path, and both values."""
    return _leaves(was, now, ())


def _leaves(was: Any, now: Any, path: Path) -> Iterator[tuple[Kind, Path, Any, Any]]:
    if isinstance(was, dict) and isinstance(now, dict):
        yield from _members(was, now, path)
    elif isinstance(was, list) and isinstance(now, list):
        yield from _elements(was, now, path)
    elif type(was) is not type(now) or was != now:  # true is not 1, nor 1 the same text as 1.0
        yield Kind.VALUE, path, was, now


def _members(was: dict[str, Any], now: dict[str, Any], path: Path) -> Iterator[tuple[Kind, Path, Any, Any]]:
    for key, value in was.items():
        if key not in now:
            yield Kind.FIELD_REMOVED, (*path, key), value, None
        elif (other := now[key]).__class__ is not value.__class__ or other != value or value.__class__ in _NESTED:
            yield from _leaves(value, other, (*path, key))
    for key, value in now.items():
        if key not in was:
            yield Kind.FIELD_ADDED, (*path, key), None, value


def _elements(was: list[Any], now: list[Any], path: Path) -> Iterator[tuple[Kind, Path, Any, Any]]:
    """Yield the leaves that differ between two lists; what stands alike at the start and at the end is paired."""
    start = _alike(was, now) if len(was) != len(now) else 0
    end = _alike(was[start:][::-1], now[start:][::-1]) if len(was) != len(now) else 0
    old, new = was[start : len(was) - end], now[start : len(now) - end]
    shared = min(len(old), len(new))
    for number in range(shared):
        yield from _leaves(old[number], new[number], (*path, start + number))
    for number, value in enumerate(old[shared:], start + shared):
        yield Kind.FIELD_REMOVED, (*path, number), value, None
    for number, value in enumerate(new[shared:], start + shared):
        yield Kind.FIELD_ADDED, (*path, number), None, value


def _alike(was: Sequence[Any], now: Sequence[Any]) -> int:
    """Return how many elements are the same from the start."""
    number = 0
    for one, other in zip(was, now, strict=False):
        if next(values(one, other), None) is not None:
            break
        number += 1
    return number


def generalised(path: Iterable[str | int]) -> str:
    """Return the JSON Pointer of a path, with `*` for positions in lists."""
    return pointer(["*" if isinstance(part, int) else part for part in path])


def _tell_pair(found: Changes, was: MappedItem | None, now: MappedItem | None) -> None:
    item = was or now
    assert item is not None
    endpoint, rule = item.endpoint, now.rule if now else item.rule
    if was is None or now is None:
        kind = Kind.ITEM_ADDED if was is None else Kind.ITEM_REMOVED
        whole = read(item.data)
        found.setdefault(Change(kind, endpoint, rule), Found("", whole if was else None, whole if now else None))
        return
    if was.rule != now.rule:
        found.setdefault(Change(Kind.RULE, endpoint, rule), Found("", was.rule, now.rule))
    leaves = list(values(read(was.data), read(now.data))) if was.data != now.data else []
    for kind, path, old, new in leaves:
        found.setdefault(Change(kind, endpoint, rule, generalised(path)), Found(pointer(path), old, new))
    if was.key != now.key and not leaves:
        found.setdefault(Change(Kind.KEY, endpoint, rule), Found("", was.key, now.key))


def _tell_order(found: Changes, was: list[MappedItem], now: list[MappedItem], pairs: Iterable[tuple[Any, Any]]) -> None:
    """Note when paired items come in another order."""
    old_places, new_places = ({id(item): place for place, item in enumerate(side)} for side in (was, now))
    paired = (pair for pair in pairs if None not in pair)
    places = sorted((old_places[id(old)], new_places[id(new)]) for old, new in paired)
    if any(one[1] > other[1] for one, other in pairwise(places)):
        before = [was[place].rule for place, _ in places]
        after = [now[place].rule for place in sorted(place for _, place in places)]
        found[Change(Kind.ORDER)] = Found("", before, after)


def _tell_requests(found: Changes, before: Mapped, after: Mapped) -> None:
    """Note when as many items of an endpoint go in another number of requests."""
    for endpoint, number in before.requests.items():
        other = after.requests.get(endpoint)
        if other not in (None, number) and _count(before, endpoint) == _count(after, endpoint):
            found[Change(Kind.REQUESTS, endpoint)] = Found("", number, other)


def _count(mapped: Mapped, endpoint: str) -> int:
    return sum(item.endpoint == endpoint for item in mapped.items)


Pair = tuple[MappedItem | None, MappedItem | None]


def _aligned(was: Sequence[MappedItem], now: Sequence[MappedItem]) -> list[Pair]:
    """Return the items paired: the equal ones, then those of one rule, then those that another rule makes alike."""
    marks = [(item.endpoint, item.rule, item.key) for item in was]
    if len(set(marks)) == len(was) and marks == [(item.endpoint, item.rule, item.key) for item in now]:
        return [*zip(was, now, strict=True)]
    pairs, old, new = _matched(was, now, lambda item: item)
    groups: dict[tuple[str, str], tuple[list[MappedItem], list[MappedItem]]] = defaultdict(lambda: ([], []))
    for side, items in enumerate((old, new)):
        for item in items:
            groups[item.endpoint, item.rule][side].append(item)
    old, new = [], []
    for mine, theirs in groups.values():
        for one, other in _nearest(mine, theirs):
            if one is not None and other is not None:
                pairs.append((one, other))
            else:
                old += [one] if one is not None else []
                new += [other] if other is not None else []
    for same in (lambda item: (item.endpoint, item.data), _keyed):
        matched, old, new = _matched(old, new, same)
        pairs += matched
    return [*pairs, *((item, None) for item in old), *((None, item) for item in new)]


def _keyed(item: MappedItem) -> Any:
    return None if item.key is None else (item.endpoint, item.key)


def _matched(
    was: Sequence[MappedItem], now: Sequence[MappedItem], mark: Any
) -> tuple[list[Pair], list[MappedItem], list[MappedItem]]:
    """Return the pairs of items with the same mark (None: no mark), in order, and what is left of both."""
    waiting: dict[Any, deque[MappedItem]] = defaultdict(deque)
    for item in now:
        if (marked := mark(item)) is not None:
            waiting[marked].append(item)
    pairs: list[Pair] = []
    old = []
    taken = set()
    for item in was:
        marked = mark(item)
        if marked is not None and waiting[marked]:
            other = waiting[marked].popleft()
            taken.add(id(other))
            pairs.append((item, other))
        else:
            old.append(item)
    return pairs, old, [item for item in now if id(item) not in taken]


def _nearest(was: Sequence[MappedItem], now: Sequence[MappedItem]) -> list[Pair]:
    """Return the items of one rule paired by idempotency key or by their order, whichever leaves less different."""
    matched, old, new = _matched(was, now, _keyed)
    by_key = [*matched, *_in_order(old, new)]
    if not matched or len(by_key) == 1 or len(was) * len(now) > _ALIGNED:
        return by_key
    in_order = _in_order(was, now)
    return in_order if in_order != by_key and _apart(in_order) < _apart(by_key) else by_key


def _apart(pairs: Iterable[Pair]) -> int:
    return sum(_distance(one, other) for one, other in pairs if one is not None and other is not None)


def _in_order(was: Sequence[MappedItem], now: Sequence[MappedItem]) -> list[Pair]:
    """Return the items paired in their order; of the longer side those stay alone without which least differs."""
    shared = min(len(was), len(now))
    if len(was) == len(now) or not shared or len(was) * len(now) > _ALIGNED:
        alone: list[Pair] = [(item, None) for item in was[shared:]]
        return [*zip(was, now, strict=False), *alone, *((None, item) for item in now[shared:])]
    if len(was) > len(now):
        return [(two, one) for one, two in _in_order(now, was)]
    return _spread(was, now)


def _spread(few: Sequence[MappedItem], many: Sequence[MappedItem]) -> list[Pair]:
    """Return each of `few` paired with one of `many`, in order, so that the sum of the changes is least."""
    spare = len(many) - len(few)
    best: list[list[tuple[int, int]]] = [[(0, 0)] * (spare + 1)]
    for row, item in enumerate(few):
        line: list[tuple[int, int]] = []
        for skipped in range(spare + 1):
            total = best[-1][skipped][0] + _distance(item, many[row + skipped])
            line.append(min((total, skipped), line[-1]) if line else (total, skipped))
        best.append(line)
    pairs: list[Pair] = []
    skipped, end = spare, len(many)
    for row in range(len(few) - 1, -1, -1):
        skipped = best[row + 1][skipped][1]
        pairs += [(None, item) for item in many[row + skipped + 1 : end]]
        end = row + skipped
        pairs.append((few[row], many[end]))
    return [*((None, item) for item in many[:end]), *reversed(pairs)]


def _distance(one: MappedItem, other: MappedItem) -> int:
    return (one.key != other.key) + _leaves_apart(one.data, other.data)


def _leaves_apart(one: bytes, other: bytes) -> int:
    return sum(1 for _ in values(read(one), read(other)))

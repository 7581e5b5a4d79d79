"""What differs between two outputs of a mapping: item by item, field by field.

Items are matched by rule and number and, where some came or went, by what they hold; so are the elements of lists. What
is left are the fields that really differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Any

import msgspec
from msgspec import UNSET

from turnout._json import compact, pointer
from turnout._likeness import LARGEST, Pairs, alike, in_common, paired, size, with_rest
from turnout._payload import Path
from turnout.endpoint import BoundEndpoint, Item
from turnout.plan import Plan

__all__ = ["EVENT", "Difference", "Output", "Target", "differences", "fields_of", "request_of", "requests"]

_decode = msgspec.json.Decoder().decode
_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_FEW = 40
"""Of so many items at most every leaf is compared to find out which belong together."""
_ITEMS = "\x00items"
_ENCODED_ITEMS = compact(_ITEMS)


class Target(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """One place in what an event becomes.

    `part` is `event` (whether it is sent at all), `item` (a field of an item; with the path "" the item as a whole, or
    the value of one that is no object), `endpoint` (where the item goes), `key` (its idempotency key), `request` (URL,
    headers and envelope at an endpoint) or `new` (an item that this event doesn't become). An item is told by its
    `rule` and its `number` among the items of that rule, from 1. `path` is a JSON Pointer; `-` in it stands for an
    element that was not in the list. The value of a whole item is the name of its endpoint.
    """

    part: str
    rule: str = ""
    number: int = 0
    path: str = ""
    endpoint: str = ""


EVENT = Target("event")
"""Whether the event is sent at all."""


class Difference(msgspec.Struct, frozen=True, gc=False):
    """A place that differs, with its value before and after; UNSET where it isn't there.

    It is not `sure` where elements of a list were changed and moved at once, and belong together by likeness only.
    """

    target: Target
    before: Any
    after: Any
    sure: bool = True


class Output:
    """What an event becomes, taken apart as far as is asked for."""

    __slots__ = ("_leaves", "_parts", "_sizes", "_values", "plan", "rules", "state")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        reason = plan.reason
        self.state = (plan.outcome, reason and reason.code, reason and reason.path)
        self.rules: dict[str, list[Item]] = {}
        for item in plan.items:
            self.rules.setdefault(item.rule, []).append(item)
        self._values: dict[int, Any] = {}
        self._parts: dict[int, dict[str, Any]] = {}
        self._sizes: dict[int, int] = {}
        self._leaves: dict[int, set[Any]] = {}

    def value(self, item: Item) -> Any:
        """Return an item as plain data."""
        found = self._values.get(id(item), UNSET)
        if found is UNSET:
            found = self._values[id(item)] = _decode(item.data)
        return found

    def parts(self, item: Item) -> dict[str, Any]:
        """Return the JSON texts of the fields of an item that is an object."""
        found = self._parts.get(id(item))
        if found is None:
            found = self._parts[id(item)] = _split(item.data)
        return found

    def size(self, item: Item) -> int:
        """Return how many leaves an item has."""
        found = self._sizes.get(id(item))
        if found is None:
            found = self._sizes[id(item)] = size(self.value(item))
        return found

    def leaves(self, item: Item) -> set[Any]:
        """Return the paths and values in an item, for telling how much two have in common."""
        found = self._leaves.get(id(item))
        if found is None:
            found = self._leaves[id(item)] = _leaves(self.value(item))
        return found

    def at(self, target: Target, path: Iterable[str]) -> Any:
        """Return the value at a place of an item, its endpoint or its key; UNSET where there is none."""
        item = self.rules[target.rule][target.number - 1]
        if target.part == "endpoint":
            return item.endpoint.name
        if target.part == "key":
            return _set(item.key)
        first, *rest = path
        part = self.parts(item).get(first) if item.data[:1] == b"{" else None
        value = UNSET if part is None else _decode(part)
        for key in rest:
            value = value.get(key, UNSET) if value.__class__ is dict else UNSET
        return value

    def texts(self, item: Item) -> set[Any]:
        """Return the same, but what stands deeper than two levels as JSON text, which is quicker."""
        found = self._leaves.get(id(item))
        if found is None:
            found = self._leaves[id(item)] = set(self._texts(item))
        return found

    def _texts(self, item: Item) -> Iterator[tuple[str, str, bytes]]:
        if item.data[:1] != b"{":
            yield "", "", item.data
            return
        for key, text in self.parts(item).items():
            told = bytes(text)
            if told[:1] == b"{":
                yield from ((key, name, bytes(inner)) for name, inner in _split(told).items())
            else:
                yield key, "", told

    def about(self) -> dict[str, Any]:
        """Return outcome and reason as plain data."""
        reason = self.plan.reason
        told = {"outcome": self.plan.outcome.value}
        return told if reason is None else told | {"code": reason.code.value, "message": reason.message}


def fields_of(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the path and the value of each leaf: scalars, and objects and lists that are empty."""
    if value and value.__class__ is dict:
        for key, inner in value.items():
            yield from fields_of(inner, (*path, key))
    elif value and value.__class__ is list:
        for number, inner in enumerate(value):
            yield from fields_of(inner, (*path, number))
    else:
        yield path, value


def differences(base: Output, other: Output) -> list[Difference]:
    """Return what differs in what becomes of the event, without the requests around the items."""
    if base.state != other.state:
        return [Difference(EVENT, base.about(), other.about())]
    old, new = base.plan.items, other.plan.items
    if len(old) == len(new) and all(map(_same, old, new)):
        return []
    found: list[Difference] = []
    for rule in dict.fromkeys((*base.rules, *other.rules)):
        _rule(rule, base, other, found)
    return found


def _same(one: Item, two: Item) -> bool:
    return (
        one.data == two.data and one.rule == two.rule and one.key == two.key and one.endpoint.name == two.endpoint.name
    )


def _rule(rule: str, base: Output, other: Output, found: list[Difference]) -> None:
    """Add what differs in the items of a rule."""
    old, new = base.rules.get(rule, []), other.rules.get(rule, [])
    moves: Moves = {}
    pairs = _matched_items(old, new, base, other, moves)
    for here, there in pairs:
        if here is not None and there is not None:
            if old[here].data != new[there].data:
                known = moves.get(here) if here == there else None
                _fields(rule, here + 1, known or _moved(old[here], new[there], base, other), found)
            _item(rule, here + 1, old[here], new[there], found)
            if old[here].data == new[there].data and len(old) == len(new) and here != there:
                found.append(Difference(Target("item", rule, here + 1), here + 1, there + 1))
        elif here is not None:
            found.append(Difference(Target("item", rule, here + 1), old[here].endpoint.name, UNSET))
        elif there is not None:
            found.append(Difference(Target("new", rule, there + 1), UNSET, new[there].endpoint.name))


def _fields(rule: str, number: int, moved: Moved, found: list[Difference]) -> None:
    for path, *values in moved:
        found.append(Difference(_field(rule, number, path), *values))


@lru_cache(maxsize=65_536)
def _field(rule: str, number: int, path: Path) -> Target:
    """Return the target of a field; the same is asked for again and again."""
    return Target("item", rule, number, pointer(path))


def _moved(old: Item, new: Item, base: Output, other: Output) -> Moved:
    """Return the leaves that differ in two items; only those fields are read whose texts do."""
    moved: Moved = []
    if old.data[:1] != b"{" or new.data[:1] != b"{":
        _compare((), base.value(old), other.value(new), moved)
        return moved
    here, there = base.parts(old), other.parts(new)
    for key, one in here.items():
        two = there.get(key)
        if two is None:
            moved += _gone((key,), _decode(one))
        elif one != two:
            _compare((key,), _decode(one), _decode(two), moved)
    for key, two in there.items():
        if key not in here:
            moved += _came((key,), _decode(two))
    return moved


def _item(rule: str, number: int, old: Item, new: Item, found: list[Difference]) -> None:
    if old.key != new.key:
        found.append(Difference(Target("key", rule, number), _set(old.key), _set(new.key)))
    if old.endpoint.name != new.endpoint.name:
        found.append(Difference(Target("endpoint", rule, number), old.endpoint.name, new.endpoint.name))


def _set(key: str | None) -> Any:
    return UNSET if key is None else key


Moved = list[tuple[Path, Any, Any, bool]]
"""Paths of leaves that differ, with both values, and whether it is sure that these belong together."""
Moves = dict[int, Moved]
"""What differs in an item and the one with its number."""


def _matched_items(old: Sequence[Item], new: Sequence[Item], base: Output, other: Output, moves: Moves) -> Pairs:
    """Return which items belong together, without those that are the same; None stands for one that isn't there.

    `moves` gets what was found of items with the same number.
    """
    if len(old) == len(new):
        differing = [number for number, (one, two) in enumerate(zip(old, new, strict=True)) if not _same(one, two)]
        changed = [number for number in differing if old[number].data != new[number].data]
        if len(changed) < 2 or all(_resemble(one, old, new, base, other, moves) for one in changed):
            return [(number, number) for number in differing]
    told = Output.leaves if len(old) <= _FEW else Output.texts
    here = [told(base, one) for one in old]
    known = dict(zip((one.data for one in old), here, strict=True))
    there = [known.get(one.data) or told(other, one) for one in new]
    shared = set.intersection(*here) if len(here) > 1 else set()
    found = paired([one - shared for one in here], [one - shared for one in there])
    return with_rest(found, [one.data for one in old], [one.data for one in new])


def _resemble(number: int, old: Sequence[Item], new: Sequence[Item], base: Output, other: Output, moves: Moves) -> bool:
    """Return what `alike` says of two items with the same number, without gathering their leaves."""
    one, two = old[number], new[number]
    moved = moves[number] = _moved(one, two, base, other)
    if any(key.__class__ is int for path, *_ in moved for key in path):  # elements may be compared across places
        value, after = base.value(one), other.value(two)
        return in_common(value, after) * 2 >= max(size(value), size(after))
    gone, came = (sum(each[side] is UNSET for each in moved) for side in (2, 1))
    had = base.size(one)
    return (had - len(moved) + came) * 2 >= max(had, had - gone + came)


def _compare(path: Path, old: Any, new: Any, moved: Moved) -> None:
    """Add each leaf that differs."""
    kind = old.__class__
    if kind is new.__class__ and kind is dict:
        _compare_objects(path, old, new, moved)
    elif kind is new.__class__ and kind is list:
        _compare_lists(path, old, new, moved)
    elif _leaf(old) and _leaf(new):
        if kind is not new.__class__ or old != new:
            moved.append((path, old, new, True))
    else:
        moved += _gone(path, old)
        moved += _came(path, new)


def _leaf(value: Any) -> bool:
    return value.__class__ not in (dict, list) or not value


def _gone(path: Path, old: Any) -> Moved:
    return [(where, one, UNSET, True) for where, one in fields_of(old, path)]


def _came(path: Path, new: Any) -> Moved:
    return [(where, UNSET, one, True) for where, one in fields_of(new, path)]


def _compare_objects(path: Path, old: dict[str, Any], new: dict[str, Any], moved: Moved) -> None:
    for key, one in old.items():
        two = new.get(key, UNSET)
        kind = one.__class__
        if kind is two.__class__ and kind is not dict and kind is not list and one == two:
            continue  # nearly all of them
        if two is UNSET:
            moved += _gone((*path, key), one)
        else:
            _compare((*path, key), one, two, moved)
    if not new.keys() <= old.keys():
        for key, one in new.items():
            if key not in old:
                moved += _came((*path, key), one)


def _compare_lists(path: Path, old: list[Any], new: list[Any], moved: Moved) -> None:
    """Add what differs in two lists; equal elements belong together, wherever they stand."""
    here, there = [compact(one) for one in old], [compact(one) for one in new]
    if here == there:
        return
    pairs = _matched(here, there)
    order = [two for _, two in sorted(pairs)]
    if order != sorted(order):
        moved.append((path, old, new, True))
    matched, met = {one for one, _ in pairs}, {two for _, two in pairs}
    left = [one for one in range(len(old)) if one not in matched]
    came = [two for two in range(len(new)) if two not in met]
    start, coupled = len(moved), [*_coupled(left, came, old, new)]
    for one, two in coupled:
        if one is not None and two is not None:
            _compare((*path, one), old[one], new[two], moved)
        elif one is not None:
            moved += _gone((*path, one), old[one])
        elif two is not None:
            moved += _came((*path, "-"), new[two])
    if max(len(left), len(came)) > 1 and any(one != two for one, two in coupled):
        moved[start:] = [(where, before, after, False) for where, before, after, _ in moved[start:]]


def _matched(here: Sequence[bytes], there: Sequence[bytes]) -> list[tuple[int, int]]:
    """Return pairs of equal elements: those at the front and at the end first, then wherever they stand."""
    front, least = 0, min(len(here), len(there))
    while front < least and here[front] == there[front]:
        front += 1
    back = 0
    while back < least - front and here[-1 - back] == there[-1 - back]:
        back += 1
    pairs = [(number, number) for number in range(front)]
    places: dict[bytes, list[int]] = {}
    for number in reversed(range(front, len(there) - back)):
        places.setdefault(there[number], []).append(number)
    for number in range(front, len(here) - back):
        if places.get(here[number]):
            pairs.append((number, places[here[number]].pop()))
    return [*pairs, *((len(here) - 1 - number, len(there) - 1 - number) for number in range(back))]


def _coupled(
    left: list[int], came: list[int], old: list[Any], new: list[Any]
) -> Iterable[tuple[int | None, int | None]]:
    """Yield which of the unequal elements belong together: those with most in common, else one by one in order."""
    plain = all(_leaf(old[one]) for one in left) or all(_leaf(new[two]) for two in came)
    if plain or len(left) * len(came) > LARGEST:
        yield from zip_longest(left, came) if len(left) == len(came) else _unpaired(left, came)
        return
    here, there = {one: _leaves(old[one]) for one in left}, {two: _leaves(new[two]) for two in came}
    if len(left) == len(came) and all(alike(here[one], there[two]) for one, two in zip(left, came, strict=True)):
        yield from zip(left, came, strict=True)
        return
    for one, own in here.items():
        likest = max(there, key=lambda two: len(there[two] & own), default=None)
        if likest is not None and there[likest] & own:
            del there[likest]
            yield one, likest
        else:
            yield one, None
    yield from ((None, two) for two in there)


def _unpaired(left: list[int], came: list[int]) -> Pairs:
    return [*((one, None) for one in left), *((None, two) for two in came)]


def _leaves(value: Any) -> set[Any]:
    """Return the paths and values in a value, for telling how much two have in common."""
    return {(path, compact(one)) for path, one in fields_of(value)}


def request_of(endpoint: BoundEndpoint) -> dict[str, Any]:
    """Return what surrounds the items of an endpoint, by JSON Pointer: method, URL, headers, and body without items.

    What URL and body take from an item is one of its fields; in the URL its name stands for it.
    """
    envelope = msgspec.structs.replace(endpoint.envelope, field="", left_out=frozenset())
    body = envelope.decode(envelope.join([_ENCODED_ITEMS]))
    whole = {"method": endpoint.method, "url": endpoint.target, "headers": endpoint.sent_headers, "body": body}
    return {pointer(path): value for path, value in fields_of(whole) if value != _ITEMS}


def requests(base: Output, other: Output) -> Iterator[Difference]:
    """Yield what differs around the items: at the endpoints that both outputs go to."""
    there = {item.endpoint.name: item.endpoint for item in other.plan.items}
    for name, endpoint in {item.endpoint.name: item.endpoint for item in base.plan.items}.items():
        if name in there and not _bound_alike(endpoint, there[name]):
            old, new = request_of(endpoint), request_of(there[name])
            for path in dict.fromkeys((*old, *new)):
                before, after = old.get(path, UNSET), new.get(path, UNSET)
                if before != after:
                    yield Difference(Target("request", endpoint=name, path=path), before, after)


def _bound_alike(one: BoundEndpoint, two: BoundEndpoint) -> bool:
    return one is two or (
        one.target == two.target and one.sent_headers == two.sent_headers and one.envelope == two.envelope
    )

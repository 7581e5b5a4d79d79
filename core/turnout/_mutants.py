"""Mutants: a destination that maps almost as it should, made from outside of any configured one.

A mutant is a class made at run time on top of the plugin's own. Nothing of the plugin is edited: its rules are called
as always, and what comes back is altered, or they are called when they should not be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, cast

import msgspec
from msgspec import UNSET

from turnout._json import compact, read
from turnout._links import KEY
from turnout._perturb import other
from turnout._pointer import remove, steps
from turnout._trial import told
from turnout.destination import Destination, Made, Rule, Rules, RuleSet, declared_rules
from turnout.endpoint import Item
from turnout.event import Event
from turnout.inputs import Carried
from turnout.normalise import Normaliser
from turnout.platforms import PLATFORMS, SERVER, platform_of

__all__ = ["CONDITIONS", "Kind", "Mutable", "Mutant", "mutable", "stars_in"]


class Kind(StrEnum):
    """What is wrong with a mutant."""

    RULE = "rule"
    """The rule is not there."""
    WHEN = "when"
    """The settings that the rule depends on are ignored."""
    EVENT = "event"
    """The rule runs for track calls of any name."""
    PLATFORMS = "platforms"
    """The rule runs on every platform."""
    SWAP = "swap"
    """Two fields of its items have each other's values."""
    FIELD = "field"
    """A field of its items is missing."""
    FALLBACK = "fallback"
    """A field is not taken from one of the places that it falls back to."""
    CONSTANT = "constant"
    """A field that is always the same is something else."""
    KEY = "key"
    """Its items have another idempotency key."""
    ENDPOINT = "endpoint"
    """Its items go to another endpoint."""


CONDITIONS = (Kind.WHEN, Kind.EVENT, Kind.PLATFORMS)


class Mutant(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong with a rule on a platform (with a condition of it on any).

    `path` is a field of its items, `second` the field that it is swapped with, or the place of the event that it no
    longer falls back to.
    """

    destination: str
    rule: str
    platform: str
    kind: Kind
    path: str = ""
    second: str = ""
    fixed: tuple[str, ...] = ()
    """For a path that ends with an open key: the names beside it that are not open."""

    @property
    def id(self) -> str:
        """Its name, which stays the same as long as the rule and its fields are called so."""
        place = f"{self.rule}@{self.platform}" if self.platform else self.rule
        return " ".join(filter(None, (self.destination, place, self.kind.value, self.path, self.second)))

    @property
    def text(self) -> str:
        """What is wrong, in words."""
        path, second = self.path or "the item", self.second
        words = {
            Kind.RULE: "is not there",
            Kind.WHEN: "runs whatever the settings say",
            Kind.EVENT: "runs for track calls of any name",
            Kind.PLATFORMS: "runs on every platform",
            Kind.SWAP: f"has {path} and {second} the wrong way round",
            Kind.FIELD: f"leaves out {path}",
            Kind.FALLBACK: f"doesn't take {path} from {second}",
            Kind.CONSTANT: f"has something else for {path}",
            Kind.KEY: "has another idempotency key",
            Kind.ENDPOINT: "sends to another endpoint",
        }
        return words[self.kind]


class Mutable(Destination):
    """A destination that can be mutated: what `mutable` puts on top of a plugin's class. It is for one thread."""

    mutant: Mutant | None = None
    _own: Mapping[str, RuleSet]
    _asked: tuple[Event, Carried | None]

    def be(self, mutant: Mutant | None) -> None:
        """Map as this mutant from now on; None: as the plugin does."""
        if "_own" not in self.__dict__:
            self._own = self.rules
        self.mutant, self._twin = mutant, None
        self.rules = self._condition_ignored(mutant) if mutant and mutant.kind in CONDITIONS else dict(self._own)
        self._server_rules = self.rules[SERVER]

    @property
    def twin(self) -> Destination:
        """Return the same mutant with every secret replaced, for showing what it makes."""
        made = super().twin
        if isinstance(made, Mutable) and made.mutant != self.mutant:
            made.be(self.mutant)
        return made

    def prepare(self, event: Event, carried: Carried | None) -> Any:
        """Return what the rules get, and keep what it is made of."""
        self._asked = event, carried
        return super().prepare(event, carried)

    def rules_for(self, event: Event) -> Rules:
        """Return the rules that are on for this event, one of them altered."""
        rules, mutant = super().rules_for(event), self.mutant
        place = platform_of(event) if self.device_mode else SERVER
        if mutant is None or mutant.kind in CONDITIONS or mutant.platform != place:
            return rules
        if mutant.kind is Kind.RULE:
            return tuple(one for one in rules if one[0] != mutant.rule)
        return tuple((name, self._altered(method, mutant) if name == mutant.rule else method) for name, method in rules)

    def _condition_ignored(self, mutant: Mutant) -> dict[str, RuleSet]:
        own: Any = type(self)
        made = object.__new__(_unconditional(own, mutant.rule, mutant.kind))
        made.__dict__.update(self.__dict__)
        return {platform: made._rule_set(platform) for platform in self._own}

    def _altered(self, method: Callable[[Any], Made], mutant: Mutant) -> Callable[[Any], Made]:
        def altered(subject: Any) -> Any:
            made = method(subject)
            if mutant.kind is Kind.FALLBACK:
                return self._without_fallback(made, method, mutant)
            if isinstance(made, Item):
                return self._changed(made, mutant)
            if not isinstance(made, Iterable) or isinstance(made, str | bytes | Mapping):
                return made
            return [self._changed(one, mutant) if isinstance(one, Item) else one for one in made]

        return altered

    def _changed(self, item: Item, mutant: Mutant) -> Item:
        if mutant.kind is Kind.ENDPOINT:
            names = list(self.endpoints)
            target = self.endpoints[names[(names.index(item.endpoint.name) + 1) % len(names)]]
            return target.item(read(item.data), key=item.key)
        if mutant.kind is Kind.KEY:
            return item if item.key is None else _with_key(item, f"{item.key}~")
        value = read(item.data)
        change = {Kind.SWAP: _swap, Kind.FIELD: _leave_out, Kind.CONSTANT: _change}[mutant.kind]
        return Item(item.endpoint, compact(change(value, mutant)), item.key)

    def _without_fallback(self, made: Made, method: Callable[[Any], Made], mutant: Mutant) -> Any:
        """Return what a rule has made, a field as it is when one place of the event is hidden from the rule."""
        items = _listed(made)
        event, carried = self._asked
        hidden = _without(event, mutant.second)
        if hidden is None:
            return items
        others = [one for one in _listed(method(super().prepare(hidden, carried))) if isinstance(one, Item)]
        if len(others) != sum(isinstance(one, Item) for one in items):
            return others
        rest = iter(others)
        return [_taken(one, next(rest), mutant) if isinstance(one, Item) else one for one in items]


@lru_cache(maxsize=64)
def mutable(kind: type[Destination]) -> type[Mutable]:
    """Return a class that maps as `kind` does, and can be mutated."""
    told_ = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return cast("type[Mutable]", type(kind.__name__, (Mutable, kind), told_))


@lru_cache(maxsize=256)
def _unconditional(kind: type[Destination], rule: str, ignored: Kind) -> type[Destination]:
    """Return a class in which a condition of a rule is ignored."""
    mark = next(one for one in declared_rules(kind) if one.id == rule)
    when = None if ignored is Kind.WHEN else mark.when
    event = None if ignored is Kind.EVENT else mark.event
    platforms = PLATFORMS if ignored is Kind.PLATFORMS else mark.platforms
    method = getattr(kind, rule)

    def again(self: Any, subject: Any) -> Any:
        return method(self, subject)

    marked: Any = again
    marked.__turnout_rule__ = Rule(mark.id, mark.call_types, when, event, platforms, mark.aside, mark.doc)
    return type(kind.__name__, (kind,), {rule: again, "__module__": kind.__module__})


def _listed(made: Made) -> list[Any]:
    if made is None or isinstance(made, Item):
        return [] if made is None else [made]
    return list(made)


def _without(event: Event, path: str) -> Event | None:
    """Return an event without the values at a path, None when it has none there."""
    value = told(event)
    if not remove(value, list(_found(value, steps(path)))):
        return None
    return Normaliser(clock=lambda: event.received_at, new_id=lambda _: event.message_id).event(compact(value))


def _taken(item: Item, hidden: Item, mutant: Mutant) -> Item:
    """Return an item with a field as another one has it."""
    value, source = read(item.data), read(hidden.data)
    path = steps(mutant.path)
    for place in dict.fromkeys((*_found(value, path), *_found(source, path))):
        _put(value, place, _at(source, place))
    return Item(item.endpoint, compact(value), item.key)


def _with_key(item: Item, key: str) -> Item:
    """Return an item with another key, also where it holds that."""
    return Item(item.endpoint, compact(_replaced(read(item.data), item.key, key)), key)


def _replaced(value: Any, old: Any, new: Any) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(one, old, new) for key, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, old, new) for one in value]
    return new if value == old else value


def _leave_out(value: Any, mutant: Mutant) -> Any:
    if not mutant.path:
        return None
    remove(value, list(_found(value, steps(mutant.path), mutant.fixed)))
    return value


def _change(value: Any, mutant: Mutant) -> Any:
    if not mutant.path:
        return _something_else(value)
    for place in list(_found(value, steps(mutant.path))):
        _put(value, place, _something_else(_at(value, place)))
    return value


def _something_else(value: Any) -> Any:
    changed = other(value, 1)
    return "something else" if changed is UNSET else changed


def _swap(value: Any, mutant: Mutant) -> Any:
    """Return an item in which two fields have each other's value; those in the elements of a list do so in each."""
    first, second = steps(mutant.path), steps(mutant.second)
    shared = stars_in(mutant.path)
    for place in list(_found(value, first[:shared])):
        one, two = (*place, *first[shared:]), (*place, *second[shared:])
        values = _at(value, one), _at(value, two)
        _put(value, one, values[1])
        _put(value, two, values[0])
    return value


def stars_in(path: str) -> int:
    """Return how many steps of a path lead to the innermost list on it."""
    return max((number for number, step in enumerate(steps(path), start=1) if step == "*"), default=0)


_Place = tuple[str, ...]


def _found(value: Any, path: Sequence[str], fixed: Collection[str] = (), place: _Place = ()) -> Iterator[_Place]:
    """Yield the places in a value that a path names: `*` is any position, `{key}` any key that is not `fixed`."""
    if not path:
        yield place
        return
    step, rest = path[0], path[1:]
    if isinstance(value, list):
        numbers = range(len(value)) if step == "*" else ()
        for number in numbers:
            yield from _found(value[number], rest, fixed, (*place, str(number)))
    elif isinstance(value, dict):
        names = [name for name in value if name not in fixed] if step == KEY else [step] if step in value else []
        for name in names:
            yield from _found(value[name], rest, fixed, (*place, name))


def _at(value: Any, place: _Place) -> Any:
    """Return the value at a place, UNSET when there is none."""
    for step in place:
        if isinstance(value, list) and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return UNSET
    return value


def _put(value: Any, place: _Place, new: Any) -> None:
    """Put a value at a place, or take away what is there; objects on the way are made."""
    if new is UNSET:
        remove(value, [place])
        return
    for step in place[:-1]:
        inner = value[int(step)] if isinstance(value, list) else value.get(step)
        if not isinstance(inner, dict | list):
            inner = {}
            value[step] = inner
        value = inner
    if isinstance(value, list):
        value[int(place[-1])] = new
    else:
        value[place[-1]] = new

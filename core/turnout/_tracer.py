"""How a lineage is found: one place after the other is changed, and what moved is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

import msgspec
from msgspec import UNSET

from turnout._groups import Grouped, families
from turnout._json import compact, pointer
from turnout._output import EVENT, Difference, Output, Target, differences, fields_of, requests
from turnout._payload import Path, Payload, Place
from turnout._perturb import other, values
from turnout._pointer import steps
from turnout._redact import MASK, redact
from turnout._times import iso
from turnout._trial import Trial
from turnout._variants import Variant, further_variants, variants
from turnout.destination import Destination
from turnout.lineage import CONDITION, COPIED, DERIVED, Change, Edge, Lineage, Source
from turnout.reasons import Outcome

__all__ = ["Tracer", "ends", "equal", "words_in"]

_KINDS = (COPIED, DERIVED, CONDITION)
_PARTS = ("event", "item", "endpoint", "key", "request", "new")
_LATER = timedelta(days=397, milliseconds=1)


class Tracer:
    """One event whose places are changed, and what was found so far."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.payload = trial, trial.payload
        self.base = trial.output(self.payload.text)
        self.fields = dict(_places_of(self.base))
        """The places of the output, with their values."""
        self.plain = {one for one in self.fields if _has_keys_only(one)}
        self.unstable = {one.target for one in differences(self.base, trial.output(self.payload.text))}
        self.sources = {path: Source("event", pointer(path)) for path in self.payload.places}
        self.numbers = {path: number for number, path in enumerate(self.payload.places)}
        self.leaves = list(self.payload.leaves())
        self.taken = {place.value for place in self.payload.places.values() if _plain(place.value)}
        self.found: dict[tuple[Source, Target], Edge] = {}
        self.reached: dict[Source, set[Target]] = {}
        """The targets of what was found, by source."""
        self.alone: dict[Source, set[Target]] = {}
        """Those of them that the source moves by itself."""
        self.lost: dict[Path, dict[Target, Any]] = {}
        """What the deletion of each value moved, with what stood there then."""
        self.tried: dict[Variant, dict[Target, Any]] = {}
        """What each change of a setting moves, with what stands there then."""
        self.another = {path: other(place.value, self.numbers[path], self.taken) for path, place in self._leaves()}
        """Another value for each place that holds nothing else."""
        self.fragile: set[Path] = {("type",)}
        """The places at which another value keeps something from being sent."""

    def lineage(self, *, together: bool = True, jointly: bool = True) -> Lineage:
        """Change everything that is declared and return what was found; not `together`: only one after the other.

        Not `jointly`: settings only one after the other.
        """
        from turnout._fallbacks import follow_fallbacks
        from turnout._jointly import change_jointly
        from turnout._together import change_hidden, delete_together

        self.change_values()
        self.change_settings()
        self.change_circumstances()
        if self.base.plan.outcome is Outcome.PLANNED:
            follow_fallbacks(self)
            if together:
                needed = delete_together(self)
                change_hidden(self)
                if jointly:
                    change_jointly(self, needed)
        self._drop_containers()
        unread = tuple(self.sources[path].name for path in self.leaves if self.sources[path] not in self.reached)
        return Lineage(self.base.plan, tuple(self._in_order()), unread, tuple(sorted(self.unstable)))

    def change_values(self) -> None:
        """Change every value of the event in every declared way; of many at like places, as `_groups` says."""
        many = families(self.payload)
        grouped = {path for family in many for path in family}
        for path in self.payload.places:
            for after in islice(self._ways(path), 1 if path in grouped else None):
                self._change(path, after)
        for family in many:
            self._change_family(family)

    def _ways(self, path: Path) -> Iterator[Any]:
        return values(path, self.payload.places[path].value, self.numbers[path], self.taken)

    def _change(self, path: Path, after: Any) -> None:
        """Keep what a change of one value moves."""
        text = self.payload.cut(path) if after is UNSET else self.payload.changed(path, after)
        moved = differences(self.base, self.trial.output(text))
        if after is UNSET:
            self.lost[path] = {one.target: one.after for one in moved}
        elif after == self.another.get(path, UNSET) and any(ends(one.target, one.after) for one in moved):
            self.fragile.add(path)
        self.note(self.sources[path], self.payload.places[path].value, after, moved)

    def _change_family(self, family: list[Path]) -> None:
        """Change values in all ways but the first; alone only those which could move more than is known."""
        further = {path: [*self._ways(path)][1:] for path in family}
        for way in range(max(map(len, further.values()))):
            changes = {path: ways[way] for path, ways in further.items() if way < len(ways)}
            grouped = Grouped([*changes])
            for number, paths in grouped.groups:
                text = self.payload.altered({path: changes[path] for path in paths})
                grouped.keep(number, differences(self.base, self.trial.output(text)))
            for path, after in changes.items():
                moved = grouped.may_move(path)
                if moved is None or self._more(self.sources[path], after, moved):
                    self._change(path, after)
                elif after is UNSET:
                    self.lost[path] = dict(moved)

    def _more(self, source: Source, after: Any, moved: Collection[Target]) -> bool:
        """Return whether a change that moves these places would say more than is known of its source."""
        told = {one for one in moved if one not in self.unstable}
        known = self.reached.get(source, set())
        edges = [self.found[source, one] for one in told & known] if after is UNSET else []
        return not told <= known or any(one.kind == CONDITION and one.after is not UNSET for one in edges)

    def _leaves(self) -> Iterator[tuple[Path, Place]]:
        return ((path, self.payload.places[path]) for path in self.leaves)

    def change(self, path: Path, after: Any) -> Change:
        """Return the change of one value to `after`."""
        return Change(self.sources[path], self.payload.places[path].value, after)

    def harmless(self, path: Path) -> bool:
        """Return whether what is sent is still sent without a value."""
        return not any(ends(target, after) for target, after in self.lost[path].items())

    def change_settings(self) -> None:
        """Change every setting; the schema is asked about those changes that move something."""
        base = self.trial.destination
        for variant in (
            *variants(base),
            *further_variants(base, words_in(self.payload), lambda one: bool(self._moved_by(one))),
        ):
            quickly = self._moved_by(variant.quick)
            self.tried[variant] = {one.target: one.after for one in quickly}
            if quickly and variant.checked is not None:
                moved = self._moved_by(variant.checked)
                self.note(Source("setting", variant.name), variant.before, variant.after, moved)

    def _moved_by(self, variant: Destination) -> list[Difference]:
        output = self.trial.output(self.payload.text, variant)
        return [*differences(self.base, output), *requests(self.base, output)]

    def change_circumstances(self) -> None:
        """Change the clock, the made message id, and what earlier events left."""
        trial = self.trial
        self._otherwise(Source("made", "clock"), iso(trial.now), iso(trial.now + _LATER), now=trial.now + _LATER)
        made = other(trial.message_id, 0)
        self._otherwise(Source("made", "message_id"), trial.message_id, made, message_id=made)
        if trial.carried is not None:
            for name in trial.carried.__struct_fields__:
                before = getattr(trial.carried, name)
                after = other(before, 1)
                carried = msgspec.structs.replace(trial.carried, **{name: after})
                self._otherwise(Source("inputs", name), before, after, carried=carried)

    def _otherwise(self, source: Source, before: Any, after: Any, **changed: Any) -> None:
        output = self.trial.otherwise(**changed).output(self.payload.text)
        self.note(source, before, after, differences(self.base, output))

    def note(
        self, source: Source, before: Any, after: Any, moved: Iterable[Difference], given: tuple[Change, ...] = ()
    ) -> None:
        """Keep the edges that a change shows, of several for one place the one that says most."""
        for one in moved:
            if one.target in self.unstable:
                continue
            edge = Edge(source, one.target, _kind(before, after, one), before, after, one.before, one.after, given)
            known = self.found.get((source, one.target))
            if known is None or (known.given == given and _says_more(edge, known)):
                self.found[source, one.target] = edge
                self.reached.setdefault(source, set()).add(one.target)
                if not given:
                    self.alone.setdefault(source, set()).add(one.target)

    def values_at(self, text: bytes, targets: Iterable[Target]) -> dict[Target, Any]:
        """Return the values at places of the explained output when the event has another text.

        The places of an item that is not made are left out; nothing is left when the event is not sent.
        """
        output = self.trial.output(text)
        if output.state != self.base.state:
            return {}
        if all(self._direct(one, output) for one in targets):
            return {one: output.at(one, steps(one.path)) for one in targets}
        moved = {one.target: one.after for one in differences(self.base, output)}
        return {one: moved.get(one, self.fields.get(one, UNSET)) for one in targets if not _item_lost(one, moved)}

    def _direct(self, target: Target, output: Output) -> bool:
        """Return whether a place is where it was: no list leads to it, and its rule made as many items."""
        rule = target.rule
        return target in self.plain and len(self.base.rules[rule]) == len(output.rules.get(rule, ()))

    def _drop_containers(self) -> None:
        """Drop the edges of objects and lists that the values in them have as well."""
        below: dict[Path, set[Target]] = {}
        for path, source in self.sources.items():
            mine = self.reached.get(source, set())
            for end in range(1, len(path)):
                below.setdefault(path[:end], set()).update(mine)
        for path, targets in below.items():
            for target in self.reached.get(self.sources[path], set()) & targets:
                del self.found[self.sources[path], target]

    def _in_order(self) -> list[Edge]:
        """Return the edges in the order of the output, then of the input; secrets masked."""
        config = self.trial.destination.config
        secret = {one for source, one in self.found if one != EVENT and _secret(source, config.secret_names)}
        places = {target: number for number, target in enumerate(self.fields)}
        order = {source: number for number, source in enumerate(self.sources.values())}
        last = len(places) + len(order)

        def key(edge: Edge) -> tuple[Any, ...]:
            target, source = edge.target, edge.source
            return _PARTS.index(target.part), places.get(target, last), target, order.get(source, last), source

        hidden = [
            _masked(edge, _secret(edge.source, config.secret_names), edge.target in secret)
            for edge in sorted(self.found.values(), key=key)
        ]
        return _without(config.secret_values, hidden)


def _has_keys_only(target: Target) -> bool:
    """Return whether no list leads to a place of an item."""
    return not any(key.isdecimal() for key in steps(target.path)) and target.path + target.part != "item"


def _item_lost(target: Target, moved: dict[Target, Any]) -> bool:
    return moved.get(Target("item", target.rule, target.number)) is UNSET


def words_in(payload: Payload) -> list[str]:
    """Return what settings may name: keys of properties and traits, one of a text, one of a number, and a path."""
    words = []
    for name in ("properties", "traits"):
        given = payload.value.get(name)
        for kind in (str, int | float):
            held = given.items() if isinstance(given, dict) else ()
            words += [key for key, one in held if key and isinstance(one, kind) and not isinstance(one, bool)][:1]
    deepest = max(payload.leaves(), key=len, default=())
    return [*dict.fromkeys(words), ".".join(map(str, deepest))]


def _plain(value: Any) -> bool:
    return value.__class__ not in (dict, list)


def _places_of(output: Output) -> Iterator[tuple[Target, Any]]:
    """Yield the places of an output with their values, item by item as they would be sent."""
    numbers: dict[str, int] = {}
    for item in output.plan.items:
        number = numbers[item.rule] = numbers.get(item.rule, 0) + 1
        for path, value in fields_of(output.value(item)):
            yield Target("item", item.rule, number, pointer(path)), value
        yield Target("endpoint", item.rule, number), item.endpoint.name
        if item.key is not None:
            yield Target("key", item.rule, number), item.key


def _kind(before: Any, after: Any, moved: Difference) -> str:
    if moved.before is UNSET or moved.after is UNSET or moved.target == EVENT:
        return CONDITION
    present = before is not UNSET and after is not UNSET
    return COPIED if present and _says(moved.before, before) and _says(moved.after, after) else DERIVED


def _says_more(edge: Edge, known: Edge) -> bool:
    """Return whether an edge tells more than a known one of the same places: of two conditions, what a loss means."""
    if edge.kind == known.kind == CONDITION:
        return edge.after is UNSET and known.after is not UNSET
    return _KINDS.index(edge.kind) < _KINDS.index(known.kind)


def _says(told: Any, value: Any) -> bool:
    """Return whether an output is a value, as itself or as text, or is a text that contains it."""
    if isinstance(told, bool) or isinstance(value, bool) or value is None or not _plain(value):
        return equal(told, value)
    if not isinstance(told, str):
        return bool(told == value)
    text = value if isinstance(value, str) else compact(value).decode()
    return told == text or (len(text) > 2 and text in told)


def equal(one: Any, two: Any) -> bool:
    """Return whether two values are the same JSON, or both aren't there."""
    return one is two or (one is not UNSET and two is not UNSET and compact(one) == compact(two))


def ends(target: Target, after: Any) -> bool:
    """Return whether a difference keeps the event, or an item of it, from being sent."""
    return target == EVENT or (target.part == "item" and not target.path and after is UNSET)


def _secret(source: Source, secret_names: Collection[str]) -> bool:
    return source.kind == "setting" and source.name in secret_names


def _masked(edge: Edge, source: bool, target: bool) -> Edge:
    """Return an edge without the values of its source, of its target."""
    if not (source or target):
        return edge
    names = ("before", "after") * source + ("output_before", "output_after") * target
    return msgspec.structs.replace(edge, **{name: MASK for name in names if getattr(edge, name)})


def _without(secrets: Collection[str], edges: list[Edge]) -> list[Edge]:
    """Return the edges with every secret masked that a rule has put into an output."""
    outputs = {str(value) for edge in edges for value in (edge.output_before, edge.output_after)}
    text = "\n".join(outputs)
    if redact(text, secrets) == text:
        return edges
    return [
        msgspec.structs.replace(
            edge,
            output_before=_redacted(edge.output_before, secrets),
            output_after=_redacted(edge.output_after, secrets),
        )
        for edge in edges
    ]


def _redacted(value: Any, secrets: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {_redacted(key, secrets): _redacted(one, secrets) for key, one in value.items()}
    if isinstance(value, list):
        return [_redacted(one, secrets) for one in value]
    return redact(value, secrets) if isinstance(value, str) else value

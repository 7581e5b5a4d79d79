"""What only counts together with something else: two settings, a setting and a value, two values that move nothing.

Of two flags either of which is enough, none moves anything while the other is on; of two that are both needed, none
while the other is off. So settings, and values that moved nothing so far, are changed in groups such that any two are
in one group. What moves then, though none of a group moves it alone, is brought down to the fewest that move it. The
settings are also changed all at once while the other values are gone, and while they are others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import UNSET

from turnout._output import Difference, Output, Target, differences
from turnout._payload import Path
from turnout._together import fewest, groups
from turnout._tracer import Tracer, ends
from turnout._variants import Variant, changed, combined
from turnout.lineage import Change, Source
from turnout.reasons import Outcome

__all__ = ["change_jointly"]

_FEW = 12
"""A change of a setting that moves more places than these is left out: it would hide what others do."""
_MOST = 8
"""So many things that count together are looked for at most."""
_Member = Variant | Path
"""What is changed: a setting, or the value at a path."""
_Values = Mapping[Path, Any]


def change_jointly(tracer: Tracer, needed: Iterable[Sequence[Path]]) -> None:
    """Change settings and values in groups; `needed` are values of which one has to stay for the event to be sent."""
    joint = _Joint(tracer)
    idle = [path for path in tracer.leaves if path not in tracer.fragile and joint.is_idle(path)]
    for group in groups([*joint.settings, *idle]):
        joint.search(group, {})
    joint.search(joint.others, {})
    gone = {path: UNSET for path in tracer.leaves if tracer.harmless(path)}
    for some in needed:
        if gone.keys() >= set(some):
            del gone[some[0]]
    joint.search(joint.settings, gone)
    joint.search(joint.settings, {path: tracer.another[path] for path in tracer.leaves if path not in tracer.fragile})


class _Joint:
    """Changes of one event and of its destination's settings, and how many finds are still to be told."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer, self.trial = tracer, tracer.trial
        self.left = _MOST
        self.finds: list[tuple[set[Any], set[Target]]] = []
        """What counts together, with what it moves."""
        secret = self.trial.destination.config.secret_names
        by_name: dict[str, list[Variant]] = {}
        for one, moved in tracer.tried.items():
            if not one.routing and one.name not in secret and _is_quiet(moved):
                by_name.setdefault(one.name, []).append(one)
        self.settings: list[_Member] = [mine[0] for mine in by_name.values()]
        self.others: list[_Member] = [mine[-1] for mine in by_name.values()]
        """The same settings, with the last instead of the first of their changes."""

    def is_idle(self, path: Path) -> bool:
        """Return whether no change of a value has moved anything so far."""
        return self.tracer.sources[path] not in self.tracer.reached

    def search(self, group: list[_Member], values: _Values) -> None:
        """Keep what the members of a group move only together; or each with others of these `values` changed."""
        known = {*self.tracer.unstable}.union(*(self.tracer.tried[one] for one in group if isinstance(one, Variant)))
        there = {*map(_key, group), *values}
        known.update(*(moved for some, moved in self.finds if some <= there))
        if values and self._output([], values).plan.outcome is not Outcome.PLANNED:
            return
        while self.left and len(group) + len(values) > 1:
            moved = self._moved(group, values)
            surprising = [one for one in moved if one.sure and one.target not in known]
            if not surprising:
                return
            one = next((one for one in surprising if ends(one.target, one.after)), surprising[0])
            self.left -= 1
            some, beside = self._least(one.target, group, values)
            found = {one.target, *self._keep(some, beside)}
            self.finds.append(({*map(_key, some), *beside}, found))
            known |= found
            if ends(one.target, one.after):
                group = [member for member in group if member is not some[0]]

    def _least(self, target: Target, group: list[_Member], values: _Values) -> tuple[list[_Member], _Values]:
        """Return the fewest members, with the fewest values changed, that move a place."""
        some = fewest(group, partial(self._moves, target, values))
        paths = fewest([*values], lambda few: self._moves(target, {path: values[path] for path in few}, some))
        return some, {path: values[path] for path in paths}

    def _moves(self, target: Target, values: _Values, group: list[_Member]) -> bool:
        return any(one.target == target and one.sure for one in self._moved(group, values))

    def _moved(self, group: Sequence[_Member], values: _Values) -> list[Difference]:
        """Return what the members of a group move together while values are changed."""
        if not group:
            return []
        return differences(self._output([], values) if values else self.tracer.base, self._output(group, values))

    def _output(self, group: Sequence[_Member], values: _Values) -> Output:
        settings = [one for one in group if isinstance(one, Variant)]
        paths = {one: self.tracer.another[one] for one in group if not isinstance(one, Variant)}
        changes = {**values, **paths}
        text = self.trial.payload.altered(changes) if changes else self.trial.payload.text
        return self.trial.output(text, combined(self.trial.destination, settings))

    def _keep(self, some: Sequence[_Member], beside: _Values) -> set[Target]:
        """Keep what all of these move when the others are changed; return everything that they move so."""
        members = [*some, *(path for path in beside if path not in some)]
        settings = {one.name: one.after for one in some if isinstance(one, Variant)}
        if len(members) < 2 or (settings and changed(self.trial.destination, settings) is None):
            return set()
        every = self._output(some, beside)
        moved = [self._moved_last(member, some, beside, every) for member in members]
        common = set.intersection(*({one.target for one in mine} for mine in moved))
        for one in settings:
            common -= self.tracer.alone.get(Source("setting", one), set())
        for member, mine in zip(members, moved, strict=True):
            (change,) = self._changes([member], beside)
            given = tuple(self._changes([one for one in members if one is not member], beside))
            told = [one for one in mine if one.target in common]
            self.tracer.note(change.source, change.before, change.after, told, given)
        return {one.target for mine in moved for one in mine}

    def _moved_last(self, member: _Member, some: Sequence[_Member], beside: _Values, every: Output) -> list[Difference]:
        """Return what a member moves when the others are changed already."""
        rest = [one for one in some if one is not member]
        left = {path: after for path, after in beside.items() if path != member}
        return [one for one in differences(self._output(rest, left), every) if one.sure]

    def _changes(self, members: Iterable[_Member], beside: _Values) -> Iterator[Change]:
        for one in members:
            if isinstance(one, Variant):
                yield Change(Source("setting", one.name), one.before, one.after)
            else:
                yield self.tracer.change(one, beside[one] if one in beside else self.tracer.another[one])


def _key(member: _Member) -> Any:
    return member.name if isinstance(member, Variant) else member


def _is_quiet(moved: Mapping[Target, Any]) -> bool:
    """Return whether a change of a setting moves little, and what is sent is still sent."""
    return len(moved) <= _FEW and not any(ends(target, after) for target, after in moved.items())

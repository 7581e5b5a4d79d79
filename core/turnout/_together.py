"""Values that only count together, and values whose part others hide."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from msgspec import UNSET

from turnout._fallbacks import halved
from turnout._output import Difference, Target, differences
from turnout._payload import Path
from turnout._tracer import Tracer, ends, equal
from turnout.reasons import Outcome

__all__ = ["change_hidden", "delete_together", "fewest", "groups"]

_One = TypeVar("_One")
_SOMEBODY: tuple[Path, ...] = (("userId",), ("anonymousId",))
"""Of these nearly every call needs one; to know that beforehand saves looking for it."""


def delete_together(tracer: Tracer) -> list[list[Path]]:
    """Delete values in groups, and keep what moves though no value of the group moves it alone.

    Returns groups of values of which one has to stay for the event to be sent.
    """
    alone = {path: _moved_alone(tracer, path) for path in tracer.leaves if tracer.harmless(path)}
    needed: list[list[Path]] = []
    _delete_group(tracer, [path for path in _SOMEBODY if path in alone], alone, needed)
    _delete_group(tracer, [path for path in alone if tracer.sources[path] not in tracer.reached], alone, needed)
    for group in groups([*alone]):
        _delete_group(tracer, group, alone, needed)
    return needed


def groups(paths: Sequence[_One]) -> Iterator[list[_One]]:
    """Yield groups such that any two of the paths are in one of them together: all of them, and halves."""
    yield list(paths)
    for bit in range((len(paths) - 1).bit_length()):
        for side in (0, 1):
            yield [path for number, path in enumerate(paths) if number >> bit & 1 == side]


def _delete_group(
    tracer: Tracer, group: list[Path], alone: Mapping[Path, Collection[Target]], needed: list[list[Path]]
) -> None:
    """Keep what moves only together.

    `alone` is what each value moves by itself; `needed` are values of which one has to stay for the event to be sent.
    """
    while len(group := _spared(group, needed)) > 1:
        moved = _moved_without(tracer, group)
        known = {*tracer.unstable}.union(*(alone[path] for path in group))
        surprising = [one for one in moved if one.target not in known and one.sure]
        ending = [one for one in surprising if ends(one.target, one.after)][:1]
        for one in ending or surprising:
            few = fewest(group, partial(_moves_without, tracer, one.target))
            _note_together(tracer, few, one.target)
        if not ending:
            return
        needed.append(few)


def _spared(group: list[Path], needed: list[list[Path]]) -> list[Path]:
    """Return a group without one value of each of those that it holds completely."""
    for some in needed:
        if set(some) <= set(group):
            group = [path for path in group if path != some[0]]
    return group


def _moved_alone(tracer: Tracer, path: Path) -> set[Target]:
    """Return what a value moves by itself: by its loss or, a field that survives that, by another value."""
    fields = (one for one in tracer.reached.get(tracer.sources[path], ()) if one in tracer.fields)
    return {*tracer.lost[path], *fields}


def _moved_without(tracer: Tracer, group: Collection[Path]) -> list[Difference]:
    return differences(tracer.base, tracer.trial.output(tracer.payload.altered(dict.fromkeys(group, UNSET))))


def _moves_without(tracer: Tracer, target: Target, group: list[Path]) -> bool:
    return any(one.target == target and one.sure for one in _moved_without(tracer, group))


def fewest(group: list[_One], moves: Callable[[list[_One]], bool]) -> list[_One]:
    """Return those of a group that move something together, and don't when one of them is left out."""
    kept, size = group, len(group)
    while size:
        start = 0
        while start < len(kept):
            rest = kept[:start] + kept[start + size :]
            if moves(rest):
                kept = rest
            else:
                start += size
        size //= 2
    return kept


def _note_together(tracer: Tracer, few: list[Path], target: Target) -> None:
    """Keep for each of the values what its deletion moves when the others are gone."""
    both = tracer.payload.altered(dict.fromkeys(few, UNSET))
    for path in few:
        others = [one for one in few if one != path]
        text = tracer.payload.altered(dict.fromkeys(others, UNSET))
        before, after = (tracer.values_at(one, [target]).get(target, UNSET) for one in (text, both))
        moved = [Difference(target, before, after)]
        if target not in tracer.fields or equal(before, after):
            moved = [one for one in differences(tracer.trial.output(text), tracer.trial.output(both)) if one.sure]
        given = tuple(tracer.change(one, UNSET) for one in others)
        tracer.note(tracer.sources[path], tracer.payload.places[path].value, UNSET, moved, given)


def change_hidden(tracer: Tracer) -> None:
    """Change the values that moved nothing so far while others are changed, for what those hide."""
    steady = [path for path in tracer.leaves if path not in tracer.fragile]
    for group in groups([path for path in steady if tracer.sources[path] in tracer.reached]):
        hidden = [path for path in steady if tracer.sources[path] not in tracer.reached]
        for path, after in _shown(tracer, hidden, group):
            few = fewest(group, partial(_still, tracer, path, after))
            given = tuple(tracer.change(one, tracer.another[one]) for one in few)
            moved = _shift(tracer, few, path, after)
            tracer.note(tracer.sources[path], tracer.payload.places[path].value, after, moved, given)


def _shown(tracer: Tracer, hidden: list[Path], group: list[Path]) -> list[tuple[Path, Any]]:
    """Return those values, with what they become, that move something while all of a group is changed."""
    if not hidden or not group:
        return []
    state = {path: tracer.another[path] for path in group}
    output = tracer.trial.output(tracer.payload.altered(state))

    def changed(some: list[Path]) -> bool:
        text = tracer.payload.altered(state | {path: tracer.another[path] for path in some})
        return bool(differences(output, tracer.trial.output(text)))

    def deleted(some: list[Path]) -> bool:
        text = tracer.payload.altered(state | dict.fromkeys(some, UNSET))
        return bool(differences(output, tracer.trial.output(text)))

    if output.plan.outcome is not Outcome.PLANNED:
        return []
    found = [(path, tracer.another[path]) for path in halved(hidden, changed)]
    left = [path for path in hidden if path not in dict(found)]
    return [*found, *((path, UNSET) for path in halved(left, deleted))]


def _shift(tracer: Tracer, group: Sequence[Path], path: Path, after: Any) -> list[Difference]:
    """Return what a value moves while all of a group is changed."""
    state = {path: tracer.another[path] for path in group}
    outputs = (tracer.trial.output(tracer.payload.altered(one)) for one in (state, {**state, path: after}))
    return [one for one in differences(*outputs) if one.sure]


def _still(tracer: Tracer, path: Path, after: Any, group: list[Path]) -> bool:
    return bool(_shift(tracer, group, path, after))

"""Values that only count together, and values whose part others hide."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

from msgspec import UNSET

from turnout._fallbacks import halved
from turnout._json import read
from turnout._output import Difference, Target, differences
from turnout._payload import Path, Payload
from turnout._tracer import Tracer, ends, equal
from turnout.reasons import Outcome

__all__ = ["change_hidden", "delete_together"]


def delete_together(tracer: Tracer) -> None:
    """Delete values in groups, and keep what moves though no value of the group moves it alone."""
    harmless = [path for path in tracer.leaves if tracer.harmless(path)]
    _delete_group(tracer, [path for path in harmless if tracer.sources[path] not in tracer.reached])
    for group in _groups(harmless):
        _delete_group(tracer, group)


def _groups(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield groups such that any two of the paths are in one of them together: all of them, and halves."""
    yield list(paths)
    for bit in range((len(paths) - 1).bit_length()):
        for side in (0, 1):
            yield [path for number, path in enumerate(paths) if number >> bit & 1 == side]


def _delete_group(tracer: Tracer, group: list[Path]) -> None:
    """Keep what moves only together; when that ends the event, go on with one of those values left in place."""
    while len(group) > 1:
        moved = _moved_without(tracer, group)
        known = {*tracer.unstable}.union(*(_known(tracer, path) for path in group))
        surprising = [one.target for one in moved if one.target not in known and one.sure]
        ending = [one.target for one in moved if ends(one.target, one.after) and one.target in surprising]
        for target in ending[:1] or surprising:
            fewest = _fewest(group, partial(_moves_without, tracer, target))
            _note_together(tracer, fewest, target)
        if not ending:
            return
        group = [path for path in group if path != fewest[0]]


def _known(tracer: Tracer, path: Path) -> set[Target]:
    """Return what a value moves by itself: by its loss or, a field that survives that, by another value."""
    fields = (one for one in tracer.reached.get(tracer.sources[path], ()) if one in tracer.fields)
    return {*tracer.lost[path], *fields}


def _moved_without(tracer: Tracer, group: Collection[Path]) -> list[Difference]:
    return differences(tracer.base, tracer.trial.output(tracer.payload.cut_all(group)))


def _moves_without(tracer: Tracer, target: Target, group: list[Path]) -> bool:
    return any(one.target == target and one.sure for one in _moved_without(tracer, group))


def _fewest(group: list[Path], moves: Callable[[list[Path]], bool]) -> list[Path]:
    """Return values of a group that move something together, and don't when one of them is left out."""
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


def _note_together(tracer: Tracer, fewest: list[Path], target: Target) -> None:
    """Keep for each of the values what its deletion moves when the others are gone."""
    both = tracer.payload.cut_all(fewest)
    for path in fewest:
        others = [one for one in fewest if one != path]
        text = tracer.payload.cut_all(others)
        before, after = (tracer.values_at(one, [target]).get(target, UNSET) for one in (text, both))
        moved = [Difference(target, before, after)]
        if target not in tracer.fields or equal(before, after):
            moved = [one for one in differences(tracer.trial.output(text), tracer.trial.output(both)) if one.sure]
        given = tuple(tracer.change(one, UNSET) for one in others)
        tracer.note(tracer.sources[path], tracer.payload.places[path].value, UNSET, moved, given)


def change_hidden(tracer: Tracer) -> None:
    """Change the values that moved nothing so far while others are changed, for what those hide."""
    steady = [path for path in tracer.leaves if path not in tracer.fragile]
    for group in _groups([path for path in steady if tracer.sources[path] in tracer.reached]):
        hidden = [path for path in steady if tracer.sources[path] not in tracer.reached]
        for path, after in _shown(tracer, hidden, group):
            fewest = _fewest(group, partial(_still, tracer, path, after))
            given = tuple(tracer.change(one, tracer.another[one]) for one in fewest)
            moved = _shift(tracer, fewest, path, after)
            tracer.note(tracer.sources[path], tracer.payload.places[path].value, after, moved, given)


def _shown(tracer: Tracer, hidden: list[Path], group: list[Path]) -> list[tuple[Path, Any]]:
    """Return those values, with what they become, that move something while all of a group is changed."""
    if not hidden or not group:
        return []
    payload = _state(tracer, group)
    output = tracer.trial.output(payload.text)

    def changed(some: list[Path]) -> bool:
        text = payload.changed_all({path: tracer.another[path] for path in some})
        return bool(differences(output, tracer.trial.output(text)))

    def deleted(some: list[Path]) -> bool:
        return bool(differences(output, tracer.trial.output(payload.cut_all(some))))

    if output.plan.outcome is not Outcome.PLANNED:
        return []
    found = [(path, tracer.another[path]) for path in halved(hidden, changed)]
    left = [path for path in hidden if path not in dict(found)]
    return [*found, *((path, UNSET) for path in halved(left, deleted))]


def _state(tracer: Tracer, group: Sequence[Path]) -> Payload:
    return Payload(read(tracer.payload.changed_all({path: tracer.another[path] for path in group})))


def _shift(tracer: Tracer, group: Sequence[Path], path: Path, after: Any) -> list[Difference]:
    """Return what a value moves while all of a group is changed."""
    payload = _state(tracer, group)
    text = payload.cut(path) if after is UNSET else payload.changed(path, after)
    return [one for one in differences(tracer.trial.output(payload.text), tracer.trial.output(text)) if one.sure]


def _still(tracer: Tracer, path: Path, after: Any, group: list[Path]) -> bool:
    return bool(_shift(tracer, group, path, after))

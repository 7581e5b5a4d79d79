"""What a destination is questioned with because of a suite: shapes of settings, and specimens; and what these show.

The specimens of the spec run no rule that is for a name, or for properties, which the spec doesn't have. For such a
rule the events of the cases that run it are specimens too: a few of them, the most different ones first, each as it is
(and without values that are alike) and the first ones also with everything that the spec knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from turnout._json import compact, pointer, read
from turnout._links import platform_at
from turnout._output import Output, fields_of
from turnout._payload import Payload, placed
from turnout._perturb import other
from turnout._pointer import general
from turnout._processes import shared_out
from turnout._shapes import shapes, values_of
from turnout._survey import Survey, further, survey, trial_with
from turnout._trial import told
from turnout.cases import Case
from turnout.checking import Prepared, prepared, quiet
from turnout.destination import Destination, Rule, declared_rules, load_destination
from turnout.inputs import Inputs
from turnout.platforms import SERVER
from turnout.specimens import Specimen, specimen

__all__ = ["Ground", "ground", "rule_platforms"]

_MOST, _WHOLE = 6, 2
"""So many events of cases are taken for a rule on a platform, and so many of them also with all of the spec."""
_TRIED = 24
"""So many are tried; what runs a rule in its case may need what the events before it have left."""
_PRESCRIBED = (("type",), ("event",), ("channel",), ("context", "library", "name"))
_LOT = 50
_Place = tuple[str, str]
"""A platform and a rule."""


class Ground(msgspec.Struct, frozen=True):
    """What a destination is questioned with, and what that shows."""

    shapes: Sequence[Destination]
    own: Sequence[Specimen]
    """The specimens that are events of cases."""
    survey: Survey


class Run(msgspec.Struct, frozen=True):
    """An event of a case that runs a rule on a platform which no specimen of the spec runs."""

    place: _Place
    name: str
    event: dict[str, Any]
    settings: Mapping[str, Any]
    fields: frozenset[str]
    """The fields of the rule's items, each with the kind of its value."""
    places: frozenset[str]
    """The places of the event."""


def ground(plugin: str, cases: Sequence[Case], jobs: int = 1) -> Ground:
    """Return what the cases of a destination's plugin give to question it with.

    Raises `ConfigError` for a case that is wrong, and `PluginError` for a destination that can't be loaded.
    """
    kind = load_destination(plugin)
    made = shapes(cases, kind, plugin)
    shown = survey(made, jobs)
    missing = _declared(kind) - {(one.platform, one.rule) for one in shown.fields}
    if not missing:
        return Ground(made, (), shown)
    paths = sorted({case.path for case in cases})
    lots = [paths[begin : begin + _LOT] for begin in range(0, len(paths), _LOT)]
    runs: dict[_Place, list[Run]] = {}
    for one in chain.from_iterable(shared_out(Finder(missing), lots, jobs if len(lots) > 3 else 1, "looked at cases")):
        runs.setdefault(one.place, []).append(one)
    taken = _Taken(made, kind, plugin)
    own = [taken.take(mine) for _, mine in sorted(runs.items())]
    every = {one.name: one for each in own for one in each}
    return Ground(taken.shapes, tuple(every.values()), further(shown, taken.shapes, own, set(runs), jobs))


def rule_platforms(kind: type[Destination], rule: Rule) -> Iterator[str]:
    """Yield the platforms on which a rule can run; of a destination without platforms the server, if it is for that."""
    knows_devices = "device" in values_of(kind.settings).get("connection_mode", ())
    alone = (SERVER,) if SERVER in rule.platforms else rule.platforms
    for platform in rule.platforms if knows_devices else alone:
        if not set(rule.call_types) <= set(kind.ignored.get(platform, ())):
            yield platform


def _declared(kind: type[Destination]) -> set[_Place]:
    return {(platform, one.id) for one in declared_rules(kind) for platform in rule_platforms(kind, one)}


class Finder:
    """Finds events of cases that run rules which no specimen runs."""

    def __init__(self, missing: set[_Place]) -> None:
        self._missing = missing

    def __call__(self, paths: Iterable[Path]) -> list[Run]:
        """Return each event of these cases, once for each such rule."""
        with quiet():
            return [run for one in prepared(paths) for run in self._runs(one)]

    def _runs(self, one: Prepared) -> Iterator[Run]:
        case, inputs = one.case, Inputs()
        plans = (
            plan
            for event in case.events
            for each in one.dispatcher.plan_body(_encoded(event), "", inputs)
            for plan in each
        )
        for number, plan in enumerate(plans, start=1):
            output = Output(plan)
            if plan.event is None or plan.target is None or not output.rules:
                continue
            name = " ".join(
                filter(None, (f"case {_told(case.path)}", case.profile, f"event {number}" if number > 1 else ""))
            )
            event, platform = told(plan.event), platform_at(plan.target, output)
            for rule in output.rules:
                if (platform, rule) in self._missing:
                    yield Run((platform, rule), name, event, case.settings, _fields(output, rule), _places(event))


def _encoded(event: Any) -> bytes:
    return msgspec.json.encode(event)


def _told(path: Path) -> str:
    return "/".join(path.with_suffix("").parts[-2:])


def _fields(output: Output, rule: str) -> frozenset[str]:
    every = (one for item in output.rules[rule] for one in fields_of(output.value(item)))
    return frozenset(f"{general(pointer(path))} {type(value).__name__}" for path, value in every)


def _places(event: dict[str, Any]) -> frozenset[str]:
    return frozenset(general(pointer(path)) for path in Payload(event).places)


class _Taken:
    """Events that are taken as specimens, and the settings with which they run their rules."""

    def __init__(self, made: Sequence[Destination], kind: type[Destination], plugin: str) -> None:
        self.shapes = list(made)
        self._kind, self._plugin = kind, plugin

    def take(self, runs: Sequence[Run]) -> list[Specimen]:
        """Return specimens of the runs of one rule: those most different from each other, then some as a whole."""
        running = ((one, self._running(one, one.event)) for one in islice(_different(runs), _TRIED))
        taken = [*islice(((one, found) for one, found in running if found is not None), _MOST)]
        made = [each for one, found in taken for each in _with_distinct(one.name, one, one.event, found)]
        for one, _ in taken[:_WHOLE]:
            whole = _with_all(one.event)
            found = self._running(one, whole)
            if found is not None:
                made += _with_distinct(f"{one.name} with all of the spec", one, whole, found)
        return made

    def _running(self, run: Run, event: dict[str, Any]) -> Destination | None:
        """Return the shape with which an event runs a rule; if only its own settings do, these are one more."""
        for one in self.shapes:
            if _made_fields(one, run.place, event):
                return one
        own = self._kind(dict(run.settings), id=self._plugin, environ={})
        if not _made_fields(own, run.place, event):
            return None
        self.shapes.append(own)
        return own


def _made_fields(destination: Destination, place: _Place, event: dict[str, Any]) -> frozenset[str]:
    """Return the fields of a rule's items as `Run` has them; none when it doesn't run."""
    trial = trial_with(destination, event)
    output = trial.output(trial.payload.text)
    here = place[1] in output.rules and platform_at(destination, output) == place[0]
    return _fields(output, place[1]) if here else frozenset()


def _with_distinct(name: str, run: Run, event: dict[str, Any], destination: Destination) -> Iterator[Specimen]:
    """Yield an event, and the same without values that are alike, as far as the rule makes the same fields of it.

    Values that are alike would hide that two fields are swapped.
    """
    yield Specimen(name, event)
    fields, made = _made_fields(destination, run.place, event), event
    taken = {compact(value) for _, value in fields_of(event)}
    seen: set[bytes] = set()
    for number, path in enumerate(Payload(event).leaves()):
        value = Payload(event).places[path].value
        if compact(value) in seen and path not in _PRESCRIBED and not isinstance(value, dict | list):
            after = other(value, number, {*map(read, taken)})
            changed = placed(made, path, after)
            if _made_fields(destination, run.place, changed) == fields:
                made, value = changed, after
                taken.add(compact(after))
        seen.add(compact(value))
    if made is not event:
        yield Specimen(f"{name} with distinct values", made)


def _different(runs: Sequence[Run]) -> Iterator[Run]:
    """Yield runs, first those with most fields, else places, that are new; last those least unlike the ones before."""
    fields: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()
    taken: list[Run] = []
    left = list({(one.fields, one.places): one for one in reversed(runs)}.values())[::-1]
    while left:
        best = max(left, key=lambda one: (len(one.fields - fields), len(one.places - places), _distance(one, taken)))
        left.remove(best)
        taken.append(best)
        fields |= best.fields
        places |= best.places
        yield best


def _distance(run: Run, others: Sequence[Run]) -> int:
    return min((len(run.places ^ one.places) + len(run.fields ^ one.fields) for one in others), default=0)


def _with_all(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event with all that the spec knows of its call; where it comes from stays as it is."""
    whole = specimen(event["type"])
    context = event.get("context")
    if not isinstance(context, dict) or "library" not in context:
        del whole["context"]["library"]
    return _laid_over(whole, event)


def _laid_over(value: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    made = {**value, **other}
    for key in value.keys() & other.keys():
        if isinstance(value[key], dict) and isinstance(other[key], dict):
            made[key] = _laid_over(value[key], other[key])
    return made

"""Trying mutants on cases, and those that no case notices on specimens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from turnout._json import pointer
from turnout._links import is_open, platform_at
from turnout._mutants import CONDITIONS, Kind, Mutable, Mutant, mutable
from turnout._output import Output, fields_of
from turnout._payload import Payload
from turnout._pointer import general
from turnout._survey import Witness, chosen, trial_with
from turnout._trial import Trial
from turnout.cases import Case, Plans
from turnout.checking import quiet
from turnout.destination import Destination, declared_rules, load_destination, rebuilt
from turnout.errors import PluginError
from turnout.event import CALL_TYPES
from turnout.inputs import Inputs
from turnout.plan import Plan
from turnout.specimens import Specimen

__all__ = ["Indexer", "Killer", "Shown", "Verdict"]

_KEPT = 400
"""So many cases stay configured in a process."""
RuleFields = Mapping[tuple[str, str], frozenset[str]]
"""The fields of the items of each rule on a platform."""


class Shown(msgspec.Struct, frozen=True):
    """What a case (one variant of it) has, to know which mutants it may notice."""

    path: Path
    variant: int
    destination: str
    calls: frozenset[tuple[str, str]]
    """The platform and the type of each event."""
    places: frozenset[str]
    """The places of its events."""
    fields: RuleFields


class Verdict(msgspec.Struct, frozen=True):
    """What came of a mutant: killed by a case; else shown by a specimen with the settings of a shape, or by nothing."""

    mutant: Mutant
    killer: Path | None = None
    specimen: str = ""
    shape: int = 0
    event: Mapping[str, Any] = {}


class Indexer:
    """Tells what cases have; it is called with the files of some."""

    def __call__(self, paths: Iterable[Path]) -> list[Shown]:
        """Return what each variant of these cases has."""
        with quiet():
            return [_shown(path, *one) for path in paths for one in enumerate(Case.load(path).each())]


def _shown(path: Path, number: int, case: Case) -> Shown:
    dispatcher, inputs = case.dispatcher(), Inputs()
    calls: set[tuple[str, str]] = set()
    fields: dict[tuple[str, str], frozenset[str]] = {}
    for event in case.events:
        for plans in dispatcher.plan_body(msgspec.json.encode(event), "", inputs):
            for plan in plans:
                if plan.event is not None and plan.target is not None:
                    output = Output(plan)
                    platform = platform_at(plan.target, output)
                    calls.add((platform, plan.event.type))
                    for place, mine in _fields(output, platform).items():
                        fields[place] = fields.get(place, frozenset()) | mine
    events = [event for event in case.events if isinstance(event, dict)]
    places = frozenset(general(pointer(one)) for event in events for one in Payload(event).places)
    return Shown(path, number, case.destination, frozenset(calls), places, fields)


def _fields(output: Output, platform: str) -> dict[tuple[str, str], frozenset[str]]:
    return {
        (platform, rule): frozenset(
            general(pointer(path)) for item in items for path, _ in fields_of(output.value(item))
        )
        for rule, items in output.rules.items()
    }


class Killer:
    """Tries mutants: on the cases that may notice, then on specimens."""

    def __init__(
        self,
        index: Sequence[Shown],
        shapes: Mapping[str, Sequence[Destination]],
        witnesses: Mapping[str, Witness],
        own: Mapping[str, Sequence[Specimen]],
    ) -> None:
        self._index = index
        self._shapes = shapes
        self._own = own
        """The specimens of each destination that are events of cases."""
        self._witnesses = witnesses
        """What shows a mutant where no whole specimen does, by its id."""
        self._cases: dict[tuple[Path, int], _Bench] = {}
        self._specimens: dict[str, _Specimens] = {}

    def __reduce__(self) -> tuple[type[Killer], tuple[Any, ...]]:
        return Killer, (self._index, self._shapes, self._witnesses, self._own)

    def __call__(self, mutants: Iterable[Mutant]) -> list[Verdict]:
        """Return what comes of each."""
        with quiet():
            return [self._verdict(one) for one in mutants]

    def _verdict(self, mutant: Mutant) -> Verdict:
        for shown in self._noticing(mutant):
            if self._bench(shown).notices(mutant):
                return Verdict(mutant, shown.path)
        if mutant.destination not in self._specimens:
            name = mutant.destination
            self._specimens[name] = _Specimens(self._shapes[name], self._own[name])
        return self._specimens[mutant.destination].verdict(mutant, self._witnesses.get(mutant.id))

    def _noticing(self, mutant: Mutant) -> list[Shown]:
        """Return the cases that may notice a mutant, those first that most likely do."""
        calls = _calls(type(self._shapes[mutant.destination][0]), mutant.rule)
        mine = [
            one
            for one in self._index
            if one.destination == mutant.destination
            and may_show(mutant, calls, one.calls, one.fields)
            and (mutant.kind is not Kind.FALLBACK or mutant.second in one.places)
        ]
        if mutant.kind is Kind.FALLBACK:
            # In a small event there is less that comes first.
            return sorted(mine, key=lambda one: len(one.places))
        # Those that are configured already cost nothing.
        return sorted(mine, key=lambda one: (one.path, one.variant) not in self._cases)

    def _bench(self, shown: Shown) -> _Bench:
        key = shown.path, shown.variant
        if key not in self._cases:
            if len(self._cases) >= _KEPT:
                self._cases.clear()
            self._cases[key] = _Bench(Case.load(shown.path).each()[shown.variant])
        return self._cases[key]


def _calls(kind: type[Destination], rule: str) -> tuple[str, ...]:
    return next(one.call_types for one in declared_rules(kind) if one.id == rule)


def may_show(mutant: Mutant, call_types: Sequence[str], calls: Iterable[tuple[str, str]], fields: RuleFields) -> bool:
    """Return whether plans with these fields, of events of these calls, may differ for a mutant."""
    if mutant.kind in CONDITIONS:
        return any(call in call_types for _, call in calls)
    mine = fields.get((mutant.platform, mutant.rule))
    if mine is None or not mutant.path:
        return mine is not None
    if is_open(mutant.path):
        return any(path.startswith(mutant.path.partition("{")[0]) for path in mine)
    return mutant.path in mine or (mutant.kind is Kind.SWAP and mutant.second in mine) or mutant.kind is Kind.FALLBACK


class _Bench:
    """A case whose destination can be mutated, with what its plans are without that."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._dispatcher = case.dispatcher(_mutable_one)
        self._destination = cast(Mutable, self._dispatcher.destinations[case.destination])
        self._plans = self._planned(None)

    def notices(self, mutant: Mutant) -> bool:
        """Return whether the snapshot of the case would not be what it is."""
        try:
            return self._planned(mutant) != self._plans
        except (KeyError, PluginError, msgspec.ValidationError):
            return True  # an item without a field (or a text) that its endpoint needs can't be packed: no such plan

    def _planned(self, mutant: Mutant | None) -> Plans:
        self._destination.be(mutant)
        return self._case.plan(self._dispatcher)


def _mutable_one(name: str) -> type[Destination]:
    plugin: Any = load_destination(name)
    return mutable(plugin)


class _Specimens:
    """The specimens of a destination with all the settings that its suite is about, each plan of them once."""

    def __init__(self, shapes: Sequence[Destination], own: Sequence[Specimen]) -> None:
        plugin: Any = type(shapes[0])
        self._own = own
        self._kind: Any = plugin
        kind = mutable(plugin)
        self._shapes = [cast(Mutable, rebuilt(kind, one.id, one.config)) for one in shapes]
        self._shown = [one for call_type in CALL_TYPES for one in self._of(call_type)]

    def _of(self, call_type: str) -> Iterator[tuple[int, str, Trial, RuleFields, bool]]:
        """Yield shape, name and trial of a specimen, its fields, and whether its plan is one that was not there yet."""
        trials: dict[str, Trial] = {}
        seen: set[Any] = set()
        for number, (destination, specimens) in enumerate(chosen(self._shapes, call_type, self._own)):
            for one in specimens:
                trial = trials.setdefault(one.name, trial_with(destination, one.event))
                output = trial.output(trial.payload.text, destination)
                key = one.name, _compared(output.plan)
                fields = _fields(output, platform_at(destination, output)) if key not in seen else {}
                yield number, one.name, trial, fields, key not in seen
                seen.add(key)

    def verdict(self, mutant: Mutant, witness: Witness | None) -> Verdict:
        """Return the verdict on a mutant that no case notices; a `witness` may show it where no specimen does."""
        calls = _calls(self._kind, mutant.rule)
        for number, name, trial, fields, new in self._shown:
            event = trial.payload.value
            asked = (new or mutant.kind in CONDITIONS) and may_show(mutant, calls, [("", event["type"])], fields)
            if asked and self._differs(self._shapes[number], trial, mutant):
                return Verdict(mutant, None, name, number, event)
        if witness is not None:
            shape, event = self._shapes[witness.shape], dict(witness.event)
            if self._differs(shape, trial_with(shape, event), mutant):
                return Verdict(mutant, None, witness.specimen, witness.shape, event)
        return Verdict(mutant)

    def _differs(self, destination: Mutable, trial: Trial, mutant: Mutant) -> bool:
        destination.be(None)
        before = _compared(trial.plan(trial.payload.text, destination))
        destination.be(mutant)
        after = _compared(trial.plan(trial.payload.text, destination))
        destination.be(None)
        return before != after


def _compared(plan: Plan) -> tuple[Any, ...]:
    """Return what a snapshot shows of a plan, secrets aside."""
    return plan.outcome, plan.reason, tuple((one.rule, one.endpoint.name, one.data) for one in plan.items)

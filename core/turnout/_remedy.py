"""The smallest change that would send an event that is not sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

import msgspec
from msgspec import UNSET

from turnout._groups import families
from turnout._json import compact, pointer, read
from turnout._output import Output
from turnout._payload import Path, Payload, placed
from turnout._perturb import values
from turnout._trial import Trial
from turnout._variants import Variant, changed, variants
from turnout.destination import Destination
from turnout.event import CALL_TYPES
from turnout.lineage import Change, Remedy, Source
from turnout.mapping import quietly
from turnout.plan import Plan
from turnout.reasons import Code, Outcome
from turnout.specimens import specimen

__all__ = ["remedy"]

_GATES = (Code.INTEGRATION_DISABLED, Code.HANDLED_ON_DEVICE)
_MOST_STEPS = 12
"""How many first changes of two are gone on from at most."""
_MOST_PAIRS = 1500
"""How many pairs of settings are tried at most."""


class _Step(msgspec.Struct, frozen=True):
    """One change, with the text and the destination that it leads to."""

    change: Change
    text: bytes
    destination: Destination


def remedy(trial: Trial) -> Remedy | None:
    """Return the smallest change that sends the event: one, else two; None when there is none among the declared.

    One change is an entry of `integrations` switched on, a setting, a value of the event changed or deleted, or one
    added, in this order; the call type is only changed where it is wrong. Two are a change that leads to another
    reason and one more, or two settings.
    """
    with quietly():
        base = trial.output(trial.payload.text)
        found, others, steps = _single(trial, base)
        if found is not None:
            return _told(trial, [found], others)
        pair = _further(trial, steps) or (_pair_of_settings(trial) if _by_settings(base.plan) else [])
        return _told(trial, pair, []) if pair else None


def _by_settings(plan: Plan) -> bool:
    """Return whether settings can have a part in it that an event isn't sent."""
    supported = plan.reason is None or plan.reason.code is not Code.CALL_TYPE_UNSUPPORTED
    return plan.event is not None and supported


def _single(trial: Trial, base: Output) -> tuple[_Step | None, list[_Step], list[_Step]]:
    """Return the first change that sends the event, the first of each other place, and those that change the reason."""
    sending: dict[Source, _Step] = {}
    steps: dict[Any, _Step] = {base.state: _NOTHING}
    for step in _changes(trial, base.plan):
        output = trial.output(step.text, step.destination)
        if output.plan.outcome is not Outcome.PLANNED:
            if output.plan.event is not None or base.plan.event is None:  # else it is worse than before
                steps.setdefault(output.state, step)
        elif step.change.source not in sending and _holds(trial, step):
            sending[step.change.source] = step
    del steps[base.state]
    first, *others = sending.values() or (None,)
    return first, [one for one in others if one is not None], list(steps.values())


_NOTHING = _Step(Change(Source("event", ""), UNSET, UNSET), b"", None)  # type: ignore[arg-type]


def _holds(trial: Trial, step: _Step) -> bool:
    """Return whether a change of settings is one that the schema allows."""
    change = step.change
    return change.source.kind != "setting" or changed(trial.destination, {change.source.name: change.after}) is not None


def _further(trial: Trial, steps: list[_Step]) -> list[_Step]:
    """Return two changes, the first of which leads to another reason."""
    for first in steps[:_MOST_STEPS]:
        if not _holds(trial, first):
            continue
        state = trial.otherwise(destination=first.destination, value=read(first.text))
        reason = trial.output(first.text, first.destination).plan
        for second in _changes(state, reason):
            if second.change.source == first.change.source:
                continue
            sent = state.plan(second.text, second.destination).outcome is Outcome.PLANNED
            if sent and _holds(state, second):
                return [first, second]
    return []


def _pair_of_settings(trial: Trial) -> list[_Step]:
    text, tried = trial.payload.text, 0
    every = [*variants(trial.destination)]
    for number, one in enumerate(every):
        for two in every[number + 1 :]:
            if one.name == two.name or one.routing or two.routing:
                continue
            tried += 1
            if tried > _MOST_PAIRS:
                return []
            both = two.upon(one.quick)
            if both is not None and trial.plan(text, both).outcome is Outcome.PLANNED:
                first, second = _by_setting(one, text), _Step(_change_of(two), text, both)
                if _holds(trial, first) and _holds(trial.otherwise(destination=one.quick), second):
                    return [first, second]
    return []


def _changes(trial: Trial, plan: Plan) -> Iterator[_Step]:
    """Yield every single change, the likeliest first."""
    code, path = (plan.reason.code, plan.reason.path) if plan.reason else (None, None)
    if code in _GATES:
        yield from _gate_opened(trial)
    if plan.event is not None:
        yield from (_by_setting(one, trial.payload.text) for one in variants(trial.destination))
    yield from _event_changes(trial, path)


def _by_setting(variant: Variant, text: bytes) -> _Step:
    return _Step(_change_of(variant), text, variant.quick)


def _change_of(variant: Variant) -> Change:
    return Change(Source("setting", variant.name), variant.before, variant.after)


def _gate_opened(trial: Trial) -> Iterator[_Step]:
    """Yield the entry of `integrations` switched on, and the destination taken out of `_metadata.bundled`."""
    value, name = trial.payload.value, trial.destination.name
    yield _added(trial, ("integrations", name), True)
    metadata = value.get("_metadata")
    bundled = metadata.get("bundled") if isinstance(metadata, dict) else None
    if isinstance(bundled, list):
        yield _added(trial, ("_metadata", "bundled"), [one for one in bundled if one != name])


def _event_changes(trial: Trial, path: str | None) -> Iterator[_Step]:
    """Yield the values of the event changed or deleted, first the one that the reason names; then those added."""
    payload = trial.payload
    call_type = payload.value.get("type")
    known = specimen(call_type) if isinstance(call_type, str) and call_type in CALL_TYPES else {}
    example = Payload(known)
    leaves, idle = set(payload.leaves()), set(_idle(trial))
    for one in sorted(payload.places, key=lambda one: (pointer(one) != path, one not in leaves)):
        if one != ("type",) and one not in idle:
            yield from _value_changes(trial, one, example)
    missing = [one for one in example.leaves() if one not in payload.places and not _blocked(payload, one)]
    for one in sorted(missing, key=lambda one: (pointer(one) != path, len(one))):
        yield _added(trial, one, example.places[one].value)
    if not known:
        yield from (_added(trial, ("type",), word) for word in sorted(CALL_TYPES, key=_unlike(call_type)))


def _idle(trial: Trial) -> Iterator[Path]:
    """Yield the values at like places of long lists that make no difference when all of them are changed at once."""
    base = trial.output(trial.payload.text)
    for family in families(trial.payload):
        ways = {path: [*values(path, trial.payload.places[path].value, len(path), ())] for path in family}
        every = range(max(map(len, ways.values())))
        together = ({path: mine[way] for path, mine in ways.items() if way < len(mine)} for way in every)
        if all(trial.output(trial.payload.altered(one)).state == base.state for one in together):
            yield from family


def _unlike(word: Any) -> Callable[[str], float]:
    """Return how little a call type is like a word."""
    return lambda one: -SequenceMatcher(None, one, str(word).lower()).ratio()


def _blocked(payload: Payload, path: Path) -> bool:
    """Return whether something that is no object stands on the way to a path."""
    outer = (payload.places[path[:end]].value for end in range(1, len(path)) if path[:end] in payload.places)
    return not all(isinstance(one, dict) for one in outer)


def _value_changes(trial: Trial, path: Path, example: Payload) -> Iterator[_Step]:
    payload, place = trial.payload, trial.payload.places[path]
    source = Source("event", pointer(path))
    if path in example.places and type(example.places[path].value) is not type(place.value):
        yield _added(trial, path, example.places[path].value)
    for after in values(path, place.value, len(path), ()):
        text = payload.cut(path) if after is UNSET else payload.changed(path, after)
        yield _Step(Change(source, place.value, after), text, trial.destination)


def _added(trial: Trial, path: Path, after: Any) -> _Step:
    place = trial.payload.places.get(path)
    text = compact(placed(trial.payload.value, path, after))
    change = Change(Source("event", pointer(path)), UNSET if place is None else place.value, after)
    return _Step(change, text, trial.destination)


def _told(trial: Trial, steps: list[_Step], others: list[_Step]) -> Remedy:
    last, secrets = steps[-1], trial.destination.config.secret_names
    plan = trial.plan(last.text, _real(trial, steps))
    requests: list[Mapping[str, Any]] = plan.to_dict()["requests"]
    return Remedy(
        tuple(one.change.masked(secrets) for one in steps),
        tuple(requests),
        tuple(one.change.masked(secrets) for one in others),
    )


def _real(trial: Trial, steps: list[_Step]) -> Destination | None:
    """Return the destination with the settings of the steps, as its schema configures it."""
    settings = {one.change.source.name: one.change.after for one in steps if one.change.source.kind == "setting"}
    return changed(trial.destination, settings) if settings else None

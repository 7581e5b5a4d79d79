"""What cases pin of what could be pinned: each place that matters is changed in a case, and its plan has to notice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from turnout._json import pointer
from turnout._links import Link, Names, platform_at
from turnout._output import Difference, Output, differences, requests
from turnout._perturb import other, values
from turnout._processes import shared_out
from turnout._shapes import kinds
from turnout._times import iso
from turnout._tracer import words_in
from turnout._trial import Trial, trial_of
from turnout._variants import Variant, variants_of
from turnout.cases import Case
from turnout.checking import Prepared, prepared, quiet
from turnout.inputs import Carried, Inputs
from turnout.lineage import Source
from turnout.plan import Plan

__all__ = ["Goals", "Pinned", "RuleAt", "SettingValue", "pinned"]

_FIRST = 300
"""So many cases are looked at before the others, which are then only asked for what is still missing."""
_LOT = 25
_LATER = timedelta(days=397, milliseconds=1)


class RuleAt(msgspec.Struct, frozen=True, order=True):
    """A rule on a platform."""

    destination: str
    rule: str
    platform: str


class SettingValue(msgspec.Struct, frozen=True, order=True):
    """What counts of a setting's value, as in `on`, `set` or `EU`."""

    destination: str
    setting: str
    value: str


class Goals(msgspec.Struct, frozen=True):
    """What cases are asked for: links of each destination, and values of settings."""

    links: frozenset[tuple[str, Link]]
    values: frozenset[SettingValue]

    def without(self, found: Pinned) -> Goals:
        """Return what is still missing."""
        return Goals(self.links - found.links, self.values - found.values)


class Pinned(msgspec.Struct):
    """What cases were found to pin."""

    links: set[tuple[str, Link]] = set()
    values: set[SettingValue] = set()
    rules: set[RuleAt] = set()

    def add(self, other: Pinned) -> None:
        """Take over what others pin."""
        self.links |= other.links
        self.values |= other.values
        self.rules |= other.rules


def pinned(paths: Sequence[Path], goals: Goals, jobs: int = 1) -> Pinned:
    """Return which of the goals the cases in these files pin, and the rules that they run.

    Raises `ConfigError` for a case that is wrong.
    """
    found = Pinned()
    # The largest events have most to show; what they pin is not asked of the others.
    ordered = sorted(paths, key=lambda path: (-path.stat().st_size, path))
    for part in (ordered[:_FIRST], ordered[_FIRST:]):
        lots = [part[begin : begin + _LOT] for begin in range(0, len(part), _LOT)]
        for one in shared_out(Asker(goals.without(found)), lots, jobs if len(lots) > 3 else 1, "looked at cases"):
            found.add(one)
    return found


class Asker:
    """Asks cases what they pin; what one has pinned is not asked of the next."""

    def __init__(self, goals: Goals) -> None:
        self._goals = goals
        self._left: dict[str, set[Link]] = {}
        for destination, link in goals.links:
            self._left.setdefault(destination, set()).add(link)
        self._values = set(goals.values)

    def __reduce__(self) -> tuple[type[Asker], tuple[Goals]]:
        return Asker, (self._goals,)

    def __call__(self, paths: Iterable[Path]) -> Pinned:
        """Return what the cases in these files pin."""
        found = Pinned()
        with quiet():
            for one in prepared(paths):
                for plan, trial in _planned(one):
                    self._ask(one.case, plan, trial, found)
        self._values -= found.values
        return found

    def _ask(self, case: Case, plan: Plan, trial: Trial, found: Pinned) -> None:
        base = trial.output(trial.payload.text)
        if base.plan.outcome is not plan.outcome:
            return  # a tracking plan decided, not the mapping
        platform = platform_at(trial.destination, base)
        found.rules.update(RuleAt(case.destination, rule, platform) for rule in base.rules)
        left = self._left.get(case.destination, set())
        wanted = {link for link in left if link.platform in ("", platform) and _could(link, base)}
        values_ = {one for one in self._values if one.destination == case.destination} - found.values
        if not wanted and not values_:
            return
        asking = _Asking(trial, base, wanted)
        asking.change_values()
        asking.change_circumstances()
        mine = kinds(trial.destination)
        asking.change_settings({one.setting for one in values_ if mine[one.setting] == one.value})
        found.links.update((case.destination, link) for link in asking.found)
        mattering = {SettingValue(case.destination, name, mine[name]) for name in asking.mattering}
        found.values.update(mattering & values_)
        left -= asking.found


def _could(link: Link, base: Output) -> bool:
    """Return whether an output could have a link: it has the rule, or it would have an item of it."""
    target = link.target
    return not target.rule or target.rule in base.rules or (target.part == "item" and not target.path)


def _planned(one: Prepared) -> Iterator[tuple[Plan, Trial]]:
    """Yield each plan of a case with its trial, what carries over from event to event kept."""
    inputs = Inputs()
    for event in one.case.events:
        for plans in one.dispatcher.plan_body(msgspec.json.encode(event), "", inputs):
            for plan in plans:
                trial = trial_of(plan) or _of_refused(one, event, plan)
                if trial is not None:
                    yield plan, trial


def _of_refused(one: Prepared, event: Any, plan: Plan) -> Trial | None:
    """Return the trial of an event that was not accepted, None for one of a batch."""
    destination = one.dispatcher.destinations[plan.destination]
    if not isinstance(event, dict) or "batch" in event or plan.event is not None:
        return None
    return Trial(destination, event, one.case.now, plan.message_id or "")


def _replaced(trial: Trial, name: str, after: Any) -> Carried | None:
    return None if trial.carried is None else msgspec.structs.replace(trial.carried, **{name: after})


class _Asking:
    """One event whose places are changed as far as it is asked for, and the links that show themselves."""

    def __init__(self, trial: Trial, base: Output, wanted: set[Link]) -> None:
        self._trial, self._base, self._wanted = trial, base, wanted
        self._names = Names(trial, base) if wanted else None
        self._sources = {link.source for link in wanted}
        self.found: set[Link] = set()
        self.mattering: set[str] = set()
        """The settings whose change was noticed."""

    def change_values(self) -> None:
        """Change the values of the event that have a part in what is wanted."""
        if self._names is None:
            return
        payload = self._trial.payload
        taken = {place.value for place in payload.places.values() if place.value.__class__ not in (dict, list)}
        for number, (path, place) in enumerate(payload.places.items()):
            source = Source("event", pointer(path))
            if Source("event", self._names.sources[source.name]) in self._sources:
                for after in values(path, place.value, number, taken):
                    text = payload.cut(path) if after is UNSET else payload.changed(path, after)
                    self._note(source, after, differences(self._base, self._trial.output(text)))

    def change_circumstances(self) -> None:
        """Change the clock, the made message id, and what earlier events left, where that is wanted."""
        trial = self._trial
        self._otherwise("made", "clock", iso(trial.now + _LATER), now=trial.now + _LATER)
        made = other(trial.message_id, 0) if trial.message_id else "made"
        self._otherwise("made", "message_id", made, message_id=made)
        for name in trial.carried.__struct_fields__ if trial.carried is not None else ():
            after = other(getattr(trial.carried, name), 1)
            self._otherwise("inputs", name, after, carried=_replaced(trial, name, after))

    def _otherwise(self, kind: str, name: str, after: Any, **changed: Any) -> None:
        source = Source(kind, name)
        if source in self._sources:
            output = self._trial.otherwise(**changed).output(self._trial.payload.text)
            self._note(source, after, differences(self._base, output))

    def change_settings(self, names: set[str]) -> None:
        """Change those settings that are wanted, and those of these names."""
        for name in sorted(names | {one.name for one in self._sources if one.kind == "setting"}):
            for variant in variants_of(self._trial.destination, name, words_in(self._trial.payload)):
                self._change_setting(variant)

    def _change_setting(self, variant: Variant) -> None:
        quick = self._trial.output(self._trial.payload.text, variant.quick)
        if not self._moved(quick) or variant.checked is None:
            return
        output = self._trial.output(self._trial.payload.text, variant.checked)
        self._note(Source("setting", variant.name), variant.after, self._moved(output))
        if variant.name not in self.mattering and output.plan.to_dict() != self._base.plan.to_dict():
            self.mattering.add(variant.name)

    def _moved(self, output: Output) -> list[Difference]:
        return [*differences(self._base, output), *requests(self._base, output)]

    def _note(self, source: Source, after: Any, moved: Iterable[Difference]) -> None:
        """Keep those links that are wanted."""
        links = (self._names.link(source, one.target, after) for one in moved) if self._names is not None else ()
        self.found.update(link for link in links if link in self._wanted)

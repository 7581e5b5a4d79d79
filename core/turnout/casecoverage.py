"""What a suite of cases pins of a mapping, asked of any destination: its rules, the values of its settings, its edges.

from turnout.casecoverage import coverage
from turnout.checking import find

found = coverage(find([Path("tests/cases")]))
found.percent               # 97.2
found.destinations[0].edges # each edge, and whether a case pins it

An *edge* leads from one place of the input (a value of the event, a setting) to one place of the output. Which there
are is found on specimens, which are made from the spec, under the settings that occur in the cases, and with each
single setting changed: `turnout.lineage` says how. Of a rule that none of them runs (as of a name that the spec lacks)
a few events of the cases that run it are specimens too. A case *pins* an edge when its plan changes, where a snapshot
shows it, as soon as that place of its event or of its settings is changed. Rules and edges count for each platform.

What can't be pinned is no edge here: secrets (a snapshot shows `***`), and what turnout itself works out before a
destination sees the event (the time from four places, the id of an event without one), which counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from turnout._ground import ground, rule_platforms
from turnout._links import Link
from turnout._pinning import Goals, Pinned, RuleAt, SettingValue, pinned
from turnout._shapes import settings_told, values_of
from turnout._survey import Witness
from turnout.alike import Alike, alike
from turnout.cases import Case
from turnout.checking import Suite
from turnout.destination import Rule, declared_rules, load_destination
from turnout.sourcecases import destination_cases

__all__ = ["AlikeIn", "CaseCoverage", "DestinationCoverage", "EdgeUse", "RuleUse", "ValueUse", "coverage"]


class RuleUse(msgspec.Struct, frozen=True):
    """A rule on a platform: whether a case has an item of it."""

    rule: str
    platform: str
    used: bool
    when: tuple[str, ...]
    """The settings that it depends on, each with `not ` in front when it must be off."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"rule": self.rule, "platform": self.platform, "used": self.used, "when": list(self.when)}


class ValueUse(msgspec.Struct, frozen=True):
    """A value of a setting: whether it is that of a case whose plan it decides on.

    `value` is the word of a choice, `on` or `off` of a flag, else `set` or `not set` (`default` or `another`).
    """

    setting: str
    value: str
    used: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"setting": self.setting, "value": self.value, "used": self.used}


class EdgeUse(msgspec.Struct, frozen=True):
    """An edge: whether a case pins it, and what shows it otherwise.

    `link` names its two ends so that they are the same in any event: a position in a list is `*`, a key that the
    mapping doesn't look at `{key}`, and one that a setting names the setting's name in braces.
    """

    link: Link
    used: bool
    specimen: str
    """The name of a specimen that shows it (see `turnout.specimens`)."""
    settings: Mapping[str, Any]
    """The settings that it does so with, where they are not the default; secrets are left out."""
    event: Mapping[str, Any]
    """The specimen, changed where that shows the edge: an event for the case that is missing."""
    before: Any
    after: Any
    given: tuple[str, ...]
    """What is changed in the specimen beforehand, in words."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; the event only of an edge that no case pins."""
        told = {**self.link.to_dict(), "used": self.used}
        if self.used:
            return told
        told |= {"specimen": self.specimen, "settings": dict(self.settings), "given": list(self.given)}
        changed = {name: value for name in ("before", "after") if (value := getattr(self, name)) is not UNSET}
        return told | {"event": dict(self.event)} | changed


class DestinationCoverage(msgspec.Struct, frozen=True):
    """What the cases of one destination pin."""

    destination: str
    cases: int
    rules: tuple[RuleUse, ...]
    values: tuple[ValueUse, ...]
    edges: tuple[EdgeUse, ...]
    without_effect: tuple[str, ...]
    """The settings whose change no specimen shows in a plan."""
    unseen: tuple[str, ...] = ()
    """The rules that no specimen and no single event of a case has an item of: their edges and mutants don't count."""

    @property
    def parts(self) -> dict[str, Sequence[RuleUse | ValueUse | EdgeUse]]:
        """What counts, by its name."""
        return {"rules": self.rules, "setting values": self.values, "edges": self.edges}

    @property
    def percent(self) -> float:
        """How much of it is used, in percent."""
        return percent(one for part in self.parts.values() for one in part)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "destination": self.destination,
            "cases": self.cases,
            "percent": self.percent,
            "rules": [one.to_dict() for one in self.rules],
            "values": [one.to_dict() for one in self.values],
            "edges": [one.to_dict() for one in self.edges],
            "without_effect": list(self.without_effect),
            "unseen": list(self.unseen),
        }


class AlikeIn(msgspec.Struct, frozen=True):
    """A value that stands twice in an event of a case, which can't tell those places apart."""

    path: Path
    alike: Alike

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        one = self.alike
        return {"case": self.path.as_posix(), "event": one.event, "value": one.value, "paths": list(one.paths)}


class CaseCoverage(msgspec.Struct, frozen=True):
    """What cases pin, for each destination that they are of."""

    destinations: tuple[DestinationCoverage, ...]
    alike: tuple[AlikeIn, ...]

    @property
    def percent(self) -> float:
        """How much is used of all that counts, in percent; 100 only when nothing is missing, 0 without any case."""
        return (
            0.0
            if not self.destinations
            else percent(one for each in self.destinations for part in each.parts.values() for one in part)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "percent": self.percent,
            "destinations": [one.to_dict() for one in self.destinations],
            "alike": [one.to_dict() for one in self.alike],
        }


def percent(uses: Iterable[RuleUse | ValueUse | EdgeUse]) -> float:
    """Return how many of these are used, in percent with one digit; 100 only when all are."""
    every = [one.used for one in uses]
    return 100.0 if all(every) else int(1000 * sum(every) / len(every)) / 10


def coverage(cases: Suite | Iterable[Path], *, jobs: int = 1) -> CaseCoverage:
    """Return what cases pin; `cases` are their files, or what `turnout.checking.find` found. Nothing is compared.

    Cases of sources are left out. With `jobs` above 1 so many processes work on it. Raises `ConfigError` for a case
    that is wrong, and `PluginError` for a destination that can't be loaded.
    """
    loaded = destination_cases(cases.cases if isinstance(cases, Suite) else cases)
    paths = tuple(one.path for one in loaded)
    by_plugin: dict[str, list[Case]] = {}
    for case in (each for one in loaded for each in one.each()):
        by_plugin.setdefault(case.destination, []).append(case)
    surveys = {name: _Surveyed(name, mine, jobs) for name, mine in sorted(by_plugin.items())}
    goals = Goals(
        frozenset((name, link) for name, one in surveys.items() for link in one.survey.links),
        frozenset(SettingValue(name, *value) for name, one in surveys.items() for value in one.survey.values),
    )
    found = pinned(paths, goals, jobs)
    return CaseCoverage(
        tuple(one.coverage(found) for one in surveys.values()),
        tuple(AlikeIn(case.path, one) for each in by_plugin.values() for case in each for one in alike(case)),
    )


class _Surveyed:
    """A destination with its cases, and what specimens, of the spec and of the cases, show of it."""

    def __init__(self, plugin: str, cases: Sequence[Case], jobs: int) -> None:
        self.plugin, self.kind = plugin, load_destination(plugin)
        self.cases = len({case.path for case in cases})
        found = ground(plugin, cases, jobs)
        self.shapes, self.survey = found.shapes, found.survey

    def coverage(self, found: Pinned) -> DestinationCoverage:
        """Return what was found to be pinned of all that could be."""
        shown = self.survey
        links = sorted(shown.links.items(), key=lambda one: _order(one[0]))
        return DestinationCoverage(
            self.plugin,
            self.cases,
            tuple(self._rules(found)),
            tuple(
                ValueUse(name, value, SettingValue(self.plugin, name, value) in found.values)
                for name, values in values_of(self.kind.settings).items()
                for value in values
                if (name, value) in shown.values
            ),
            tuple(self._edge(link, witness, (self.plugin, link) in found.links) for link, witness in links),
            tuple(name for name in values_of(self.kind.settings) if name not in {one for one, _ in shown.values}),
            tuple(one.id for one in declared_rules(self.kind) if one.id not in {field.rule for field in shown.fields}),
        )

    def _rules(self, found: Pinned) -> Iterator[RuleUse]:
        for one in declared_rules(self.kind):
            for platform in rule_platforms(self.kind, one):
                used = RuleAt(self.plugin, one.id, platform) in found.rules
                yield RuleUse(one.id, platform, used, _conditions(one))

    def _edge(self, link: Link, witness: Witness, used: bool) -> EdgeUse:
        edge = witness.edge
        given = tuple(
            f"{'without' if one.after is UNSET else 'with another'} {one.source}"
            for one in (edge.given if edge else ())
        )
        return EdgeUse(
            link,
            used,
            witness.specimen,
            settings_told(self.shapes[witness.shape]),
            witness.whole if used else witness.event,
            edge.before if edge else UNSET,
            edge.after if edge else UNSET,
            given,
        )


def _order(link: Link) -> tuple[Any, ...]:
    return link.target.rule, link.platform, link.target, link.source


def _conditions(rule: Rule) -> tuple[str, ...]:
    return rule.settings or (("a function of the settings",) if rule.when else ())

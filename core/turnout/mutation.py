"""Whether a suite of cases would notice if a mapping were wrong: it is made wrong, in one place after the other.

from turnout.checking import find
from turnout.mutation import mutate

score = mutate(find([Path("tests/cases")]))
score.percent        # how many of the mutants are noticed
score.survivors      # those that are not: what is wrong with each, and how a case would notice

A *mutant* is the configured destination with one thing wrong in one rule on one platform: the rule is missing; its
condition (settings, event name, platforms) is ignored; two fields of its items are swapped; a field is left out; it no
longer falls back to one of the places that it is taken from; a constant is something else; the idempotency key is
another; its items go to another endpoint. Fields and fallbacks are those that specimens show (see
`turnout.casecoverage`). Two fields are swapped when both can hold the same kind of value.

A mutant is *killed* when the plan of some case is not what it was. It is *equivalent*, and doesn't count, when neither
a case nor a specimen shows a difference, nor (for a fallback) a specimen without what stands before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import chain, combinations
from operator import ne
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from turnout._casefiles import SURVIVORS, suite_folders
from turnout._ground import ground
from turnout._links import KEY, is_open
from turnout._mutants import Kind, Mutant, stars_in
from turnout._mutating import Indexer, Killer, Shown, Verdict
from turnout._pointer import steps
from turnout._processes import shared_out
from turnout._shapes import settings_told, values_of
from turnout._survey import Field, Survey, Witness
from turnout.cases import Case
from turnout.checking import Suite
from turnout.destination import Destination, declared_endpoints, declared_rules, load_destination
from turnout.errors import ConfigError
from turnout.platforms import PLATFORMS
from turnout.sourcecases import destination_cases
from turnout.strictjson import load_file

__all__ = ["Score", "Stale", "Survivor", "explained_in", "load_explained", "mutants_of", "mutate"]

_LOT = 400
_ALIKE = 0.6
"""What two words of ids must have in common for the one to be a slip of the other."""
_MOST_OTHERS = 2
_One = TypeVar("_One")


class Survivor(msgspec.Struct, frozen=True):
    """A mutant that no case notices, and what shows it: a specimen, mapped with these settings."""

    mutant: Mutant
    specimen: str
    settings: Mapping[str, Any]
    event: Mapping[str, Any]
    why: str = ""
    """Why it may survive, as the list of explained survivors says; empty for one that isn't in it."""

    @property
    def advice(self) -> str:
        """How a case would notice."""
        return _ADVICE[self.mutant.kind].format(path=self.mutant.path or "the item", second=self.mutant.second)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; the event only where it is not explained."""
        told = {"id": self.mutant.id, "text": self.mutant.text, "why": self.why or None, "advice": self.advice}
        shown = {"specimen": self.specimen, "settings": dict(self.settings)}
        return told | shown | ({} if self.why else {"event": dict(self.event)})


_ADVICE = {
    Kind.RULE: "a case with an item of the rule",
    Kind.WHEN: "a case for which the rule would have an item, with settings that keep it off",
    Kind.EVENT: "a track call with a name that the rule is not for",
    Kind.PLATFORMS: "a call from a platform that the rule is not for",
    Kind.SWAP: "a case in which {path} and {second} are not the same",
    Kind.FIELD: "a case in which {path} is there",
    Kind.FALLBACK: "a case in which {path} is taken from {second}, with nothing that comes before it",
    Kind.CONSTANT: "a case in which {path} is there",
    Kind.KEY: "a case with an item of the rule",
    Kind.ENDPOINT: "a case with an item of the rule",
}


class Stale(msgspec.Struct, frozen=True):
    """The id of an explained survivor that is none, and the sentence that says why and what to do."""

    id: str
    why: str


class Score(msgspec.Struct, frozen=True):
    """What came of the mutants of a suite."""

    killed: int
    equivalent: int
    """How many make no difference for any case or specimen; they don't count."""
    survivors: tuple[Survivor, ...]
    stale: tuple[Stale, ...]
    """What is in the list of explained survivors and is none: a case notices it, or there is no such mutant."""
    by_kind: Mapping[str, tuple[int, int]]
    """For each kind of mutant how many were killed, of how many that count."""

    @property
    def unexplained(self) -> tuple[Survivor, ...]:
        """The survivors that nobody has explained."""
        return tuple(one for one in self.survivors if not one.why)

    @property
    def percent(self) -> float:
        """How many are killed of those that are not explained, in percent; 100 only when all are."""
        missed = len(self.unexplained)
        return int(1000 * self.killed / (self.killed + missed)) / 10 if missed else 100.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "percent": self.percent,
            "killed": self.killed,
            "equivalent": self.equivalent,
            "kinds": {kind: {"killed": killed, "of": of} for kind, (killed, of) in self.by_kind.items()},
            "survivors": [one.to_dict() for one in self.survivors],
            "stale": [{"id": one.id, "why": one.why} for one in self.stale],
        }


def mutate(
    cases: Suite | Iterable[Path], *, explained: Mapping[str, str] | None = None, jobs: int = 1, whole: bool = True
) -> Score:
    """Return whether cases notice mutants of their destinations; `cases` are files, or what `checking.find` found.

    What their snapshots say is taken to be what they plan; cases of sources are left out. `explained` are survivors
    that are known, by their id, with a sentence that says why; by default those in `survivors.json` in the folders of
    the cases. An id that there is no mutant of is only stale when the suite is `whole`. With `jobs` above 1 so many
    processes work on it.

    Raises `ConfigError` for a case that is wrong, and `PluginError` for a destination that can't be loaded.
    """
    loaded = destination_cases(cases.cases if isinstance(cases, Suite) else cases)
    paths = tuple(one.path for one in loaded)
    known = explained_in(paths) if explained is None else explained
    by_plugin: dict[str, list[Case]] = {}
    for case in (each for one in loaded for each in one.each()):
        by_plugin.setdefault(case.destination, []).append(case)
    index = list(chain.from_iterable(shared_out(Indexer(), _lots(paths, 25), jobs, "looked at cases")))
    grounds = {name: ground(name, mine, jobs) for name, mine in sorted(by_plugin.items())}
    shaped = {name: one.shapes for name, one in grounds.items()}
    surveys = {name: one.survey for name, one in grounds.items()}
    mutants = [one for name, shown in surveys.items() for one in mutants_of(name, shown, _present(index, name))]
    killer = Killer(index, shaped, dict(_chained(surveys)), {name: one.own for name, one in grounds.items()})
    verdicts = list(chain.from_iterable(shared_out(killer, _lots(mutants, _LOT), jobs, "tried mutants")))
    return _score(verdicts, shaped, known, whole)


def _lots(every: Sequence[_One], size: int) -> list[Sequence[_One]]:
    return [every[begin : begin + size] for begin in range(0, len(every), size)]


def _score(
    verdicts: Sequence[Verdict], shaped: Mapping[str, Sequence[Destination]], known: Mapping[str, str], whole: bool
) -> Score:
    counted = [one for one in verdicts if one.killer is not None or one.specimen]
    survivors = tuple(
        Survivor(
            one.mutant,
            one.specimen,
            settings_told(shaped[one.mutant.destination][one.shape]),
            one.event,
            known.get(one.mutant.id, ""),
        )
        for one in counted
        if one.killer is None
    )
    stale = tuple(_stale(verdicts, known, whole))
    kinds = {kind: [one for one in counted if one.mutant.kind is kind] for kind in Kind}
    by_kind = {kind.value: (sum(one.killer is not None for one in mine), len(mine)) for kind, mine in kinds.items()}
    killed = sum(one.killer is not None for one in counted)
    return Score(killed, len(verdicts) - len(counted), survivors, stale, by_kind)


def _stale(verdicts: Sequence[Verdict], known: Collection[str], whole: bool) -> Iterator[Stale]:
    """Yield what is explained without surviving; that there is no such mutant only of a `whole` suite."""
    there = {one.mutant.id: one for one in verdicts}
    for name in known:
        found = there.get(name)
        if found is None:
            if whole:
                near = _near(name, [one for one, verdict in there.items() if one not in known and _lives(verdict)])
                near = near or _near(name, [one for one in there if one not in known])
                advice = f"Did you mean '{near}'?" if near else "Take it out of the list."
                yield Stale(name, f"There is no such mutant. {advice}")
        elif found.killer is not None:
            yield Stale(name, f"{found.killer.as_posix()} notices it. Take it out of the list.")
        elif not found.specimen:
            yield Stale(name, "It changes no plan of a case or a specimen. Take it out of the list.")


def _lives(verdict: Verdict) -> bool:
    return verdict.killer is None and bool(verdict.specimen)


def _near(name: str, ids: Iterable[str]) -> str:
    """Return the id that most likely was meant: as many words as `name`, each the same or much like it."""
    words = name.split()
    alike = {one: _likeness(words, one.split()) for one in ids}
    best = max(alike, key=lambda one: alike[one], default="")
    return best if best and alike[best] else ""


def _likeness(one: Sequence[str], two: Sequence[str]) -> float:
    """Return how like two ids are; 0 for those that have little to do with each other."""
    if len(one) != len(two) or sum(map(ne, one, two)) > _MOST_OTHERS:
        return 0.0
    ratios = [1.0 if a == b else SequenceMatcher(None, a, b).ratio() for a, b in zip(one, two, strict=True)]
    return sum(ratios) if min(ratios) >= _ALIKE else 0.0


# Which mutants there are


def _present(index: Iterable[Shown], plugin: str) -> set[Field]:
    """Return the fields that items of cases have."""
    mine = [one.fields.items() for one in index if one.destination == plugin]
    return {Field(platform, rule, path) for each in mine for (platform, rule), paths in each for path in paths}


def mutants_of(plugin: str, shown: Survey, present: Collection[Field]) -> list[Mutant]:
    """Return the mutants of a destination, as far as specimens show its rules and fields.

    Two fields that are `present` in no case are not swapped: that they can be left out tells enough.
    """
    kind = load_destination(plugin)
    places = sorted({(one.rule, one.platform) for one in shown.fields})
    made = [*_conditions(plugin, kind)]
    for rule, platform in places:
        fields = [one for one in sorted(shown.fields) if (one.rule, one.platform) == (rule, platform)]
        made.append(Mutant(plugin, rule, platform, Kind.RULE))
        if (platform, rule) in shown.keyed:
            made.append(Mutant(plugin, rule, platform, Kind.KEY))
        if len(declared_endpoints(kind)) > 1:
            made.append(Mutant(plugin, rule, platform, Kind.ENDPOINT))
        made += _of_fields(plugin, fields, shown, present)
    return made + [
        _fallback(plugin, field, source)
        for field, source in sorted(shown.chains)
        if not is_open(field.path) and source and not is_open(source)
    ]


def _fallback(plugin: str, field: Field, source: str) -> Mutant:
    return Mutant(plugin, field.rule, field.platform, Kind.FALLBACK, field.path, source)


def _chained(surveys: Mapping[str, Survey]) -> Iterator[tuple[str, Witness]]:
    """Yield the ids of mutants that lose a fallback, each with what shows that there is one."""
    for name, shown in surveys.items():
        yield from ((_fallback(name, *key).id, witness) for key, witness in shown.chains.items())


def _conditions(plugin: str, kind: type[Destination]) -> Iterator[Mutant]:
    devices = "device" in values_of(kind.settings).get("connection_mode", ())
    for rule in declared_rules(kind):
        if rule.when is not None:
            yield Mutant(plugin, rule.id, "", Kind.WHEN)
        if rule.event is not None:
            yield Mutant(plugin, rule.id, "", Kind.EVENT)
        if devices and set(rule.platforms) != set(PLATFORMS):
            yield Mutant(plugin, rule.id, "", Kind.PLATFORMS)


def _of_fields(plugin: str, fields: Sequence[Field], shown: Survey, present: Collection[Field]) -> Iterator[Mutant]:
    """Yield the mutants of the fields of a rule on a platform."""
    plain = [one for one in fields if not is_open(one.path)]
    for one in plain:
        yield Mutant(plugin, one.rule, one.platform, Kind.FIELD, one.path)
        if one not in shown.taken:
            yield Mutant(plugin, one.rule, one.platform, Kind.CONSTANT, one.path)
    for one, two in combinations(plain, 2):
        alike = shown.kinds[one] & shown.kinds[two] - _ALWAYS
        if alike and _beside(one.path, two.path) and (one in present or two in present):
            yield Mutant(plugin, one.rule, one.platform, Kind.SWAP, one.path, two.path)
    for outer in sorted({one.path.partition("/{")[0] for one in fields if is_open(one.path)}):
        beside = {steps(one.path.removeprefix(outer))[0] for one in plain if one.path.startswith(f"{outer}/")}
        path = f"{outer}/{KEY}"
        yield Mutant(plugin, fields[0].rule, fields[0].platform, Kind.FIELD, path, "", tuple(sorted(beside)))


_ALWAYS = {"NoneType", "dict", "list"}
"""Kinds of which all values are alike: null, and what is empty."""


def _beside(one: str, two: str) -> bool:
    """Return whether two fields stand in the same element of the same list, or both in none."""
    stars = stars_in(one)
    return stars == stars_in(two) and steps(one)[:stars] == steps(two)[:stars]


# Survivors that are known


def explained_in(paths: Iterable[Path]) -> dict[str, str]:
    """Return the explained survivors beside cases: those of `survivors.json` in their folders, and above in `cases`.

    Raises `ConfigError` for a file that is no object of ids and sentences.
    """
    found: dict[str, str] = {}
    folders = {folder for path in paths for folder in suite_folders(path)}
    for folder in sorted(folders):
        if (folder / SURVIVORS).is_file():
            found |= load_explained(folder / SURVIVORS)
    return found


def load_explained(path: Path) -> dict[str, str]:
    """Return the explained survivors in a file; raises `ConfigError` when it is no object of ids and sentences."""
    told = load_file(path, "explained survivors")
    for key, why in told.items():
        if not isinstance(why, str) or not why.strip():
            raise ConfigError(f"{path}: '{key}' needs a sentence that says why no case has to notice it.")
    return told

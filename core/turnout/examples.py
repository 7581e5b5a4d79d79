"""Examples for the page of a destination: cases, which are tested, so that what the page shows is true."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from turnout._casefiles import snapshot_of
from turnout._configure import names_by_key, secrets_of, texts
from turnout._json import compact
from turnout.cases import Case, Plans
from turnout.checking import find
from turnout.destination import Destination, declared_rules
from turnout.errors import ConfigError
from turnout.mapping import quietly
from turnout.settings import Section, redact
from turnout.sourcecases import destination_cases

__all__ = ["ExampleDoc", "examples", "masked", "shipped_cases"]

_MASK = "***"


class ExampleDoc(msgspec.Struct, frozen=True):
    """A case as an example: events, the settings they are mapped with, and the plan of each."""

    name: str
    """The name of the case."""
    doc: str
    """What it shows."""
    rules: list[str]
    """The rules that made something in it."""
    settings: dict[str, Any]
    """The settings that it gives, each secret as `***`."""
    events: list[Any]
    """The events, as they came in."""
    plans: Plans
    """A line of `turnout plan` for each event, as an object."""


class _Request(msgspec.Struct):
    rules: list[str]


class _Plan(msgspec.Struct):
    requests: list[_Request]


def examples(kind: type[Destination], plugin: str, folder: Path) -> list[ExampleDoc]:
    """Return for each rule of a destination a case below `folder` in which it runs, in the order of the rules.

    It is one of few events, in which few other rules run, with few settings, and of middling size. One that is the best
    for several rules stands there once. Raises `ConfigError` when the folder isn't there, or has a case that is
    wrong.
    """
    cases = [(case, _rules(case, kind)) for case in _cases(plugin, folder)]
    chosen: dict[Path, Case] = {}
    for rule in declared_rules(kind):
        running = [(case, rules) for case, rules in cases if rule.id in rules]
        if running:
            case = _telling(running)
            chosen.setdefault(case.path, case)
    return [_example(case, kind) for case in chosen.values()]


def _telling(running: list[tuple[Case, set[str]]]) -> Case:
    """Return the case that shows best what its rule does."""
    weights = [(len(case.events), len(rules), len(case.settings)) for case, rules in running]
    lightest = min(weights)
    plain = [case for (case, _), weight in zip(running, weights, strict=True) if weight == lightest]
    return sorted(plain, key=lambda case: (len(compact(case.events)), case.path))[len(plain) // 2]


def shipped_cases(kind: type) -> Path | None:
    """Return the folder `cases` in the package of a plugin's class, None when it ships no cases."""
    package = sys.modules.get(kind.__module__.partition(".")[0])
    folders = [Path(place) / "cases" for place in getattr(package, "__path__", ())]
    return next((folder for folder in folders if folder.is_dir()), None)


def _cases(plugin: str, folder: Path) -> list[Case]:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder of cases.")
    loaded = (case.each()[0] for case in destination_cases(find([folder]).cases))
    return [case for case in loaded if case.destination == plugin]


def _rules(case: Case, kind: type[Destination]) -> set[str]:
    """Return the rules that run in a case, by its snapshot, which is much quicker than to plan it."""
    try:
        plans = msgspec.json.decode(snapshot_of(case.path).read_bytes(), type=list[_Plan])
    except (OSError, msgspec.MsgspecError):
        plans = msgspec.convert(_plans(case, kind), list[_Plan])
    return {rule for plan in plans for request in plan.requests for rule in request.rules}


def _plans(case: Case, kind: type[Destination]) -> Plans:
    try:
        with quietly():
            return case.plan(case.dispatcher(lambda _: kind))
    except ConfigError as error:
        raise ConfigError(f"{case.path}: {error}") from None


def _example(case: Case, kind: type[Destination]) -> ExampleDoc:
    plans = _plans(case, kind)
    settings, (doc, events, plans) = masked(kind.settings, case.settings, [case.doc, case.events, plans])
    rules = dict.fromkeys(rule for plan in plans for request in plan["requests"] for rule in request["rules"])
    return ExampleDoc(case.path.stem, doc, list(rules), settings, events, plans)


def masked(kind: type[Section], settings: dict[str, Any], shown: Any) -> tuple[dict[str, Any], Any]:
    """Return settings with each secret as `***`, and JSON values in which those secrets don't stand."""
    schema = kind()
    secret = {key for key, name in names_by_key(schema).items() if name in secrets_of(schema)}
    hide = frozenset(texts(settings[key] for key in secret & settings.keys()))
    told = {key: _MASK if key in secret else value for key, value in settings.items()}
    return _redacted(told, hide), _redacted(shown, hide)


def _redacted(value: Any, secrets: Iterable[str]) -> Any:
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, dict):
        return {key: _redacted(inner, secrets) for key, inner in value.items()}
    return [_redacted(inner, secrets) for inner in value] if isinstance(value, list) else value

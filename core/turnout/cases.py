"""Case files: an event (or several) with settings, whose plan is kept as a snapshot."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from turnout._casefiles import destination_of
from turnout._profiles import profiled
from turnout._times import parse
from turnout.config import DeliverSettings, LogSettings, SendSettings
from turnout.destination import Destination, load_destination
from turnout.dispatcher import Dispatcher
from turnout.errors import ConfigError, did_you_mean
from turnout.inputs import Inputs
from turnout.strictjson import load_file
from turnout.trackingplan import TrackingPlan

__all__ = ["Case", "Pinned", "Plans", "Told", "dump"]

_KEYS = ("doc", "rules", "destination", "settings", "profile", "profiles", "tracking_plan", "event", "events", "now")
_NOW = "2026-01-01T00:00:00Z"

Plans = list[dict[str, Any]]
"""One plan for each event and destination, as `turnout plan` writes it."""
Told = dict[str, list[dict[str, Any]]]
"""What a source reads: `events`, and `refused`, each with `code`, `message` and `path`."""
Pinned = Plans | Told | dict[str, Plans] | dict[str, Told]
"""What a snapshot holds: plans, or what a source reads; for a case with several profiles that of each by its name."""


class Case(msgspec.Struct, frozen=True):
    """One case: `events` mapped by the plugin `destination` with `settings`, the clock standing at `now`."""

    path: Path
    destination: str
    settings: dict[str, Any]
    """The settings, laid over those of the profile if the case names one."""
    events: list[Any]
    now: datetime
    doc: str = ""
    rules: tuple[str, ...] = ()
    """The ids of the rules that the case is about."""
    profile: str = ""
    """The name of the settings profile, empty when there is none."""
    tracking_plan: Path | None = None
    """The file of the tracking plan that judges the events."""
    variants: tuple[Case, ...] = ()
    """The same case with each of its `profiles`; empty for a case that has not several."""

    @classmethod
    def load(cls, path: Path) -> Case:
        """Return the case in a file; raises `ConfigError` that names the file and the key."""
        return cls.of(path, load_file(path, "case"))

    @classmethod
    def of(cls, path: Path, told: dict[str, Any]) -> Case:
        """Return the case that a file with the object `told` is."""
        if "payload" in told:
            raise ConfigError(f"{path}: is the case of a source, and has no plan. turnout.sourcecases loads it.")
        for key in told:
            if key not in _KEYS:
                raise ConfigError(f"{path}: '{key}' is no key of a case.{did_you_mean(key, (*_KEYS, 'payload'))}")
        destination, doc = told.get("destination", destination_of(path)), told.get("doc", "")
        if not isinstance(destination, str) or not isinstance(doc, str):
            raise ConfigError(f"{path}: 'destination' and 'doc' must be strings.")
        settings = told.get("settings", {})
        if not isinstance(settings, dict):
            raise ConfigError(f"{path}: 'settings' must be an object.")
        rules = tuple(_strings(told, "rules", path))
        plan = _plan(told, path)
        case = cls(path, destination, settings, _events(told, path), _now(told, path), doc, rules, tracking_plan=plan)
        return _with_profiles(case, told)

    def each(self) -> tuple[Case, ...]:
        """Return the case for each of its profiles; the case itself when it has not several."""
        return self.variants or (self,)

    def dispatcher(self, load: Callable[[str], type[Destination]] = load_destination) -> Dispatcher:
        """Return a dispatcher with the destination of this case; raises `ConfigError` for wrong settings.

        A case with several profiles has no dispatcher of its own: ask those that `each` returns. `load` finds the
        destination's class.
        """
        if self.variants:
            raise ConfigError(f"{self.path}: the case has several profiles. Take each of its variants.")
        kind = load(self.destination)
        try:
            destination = kind(self.settings, id=self.destination, environ={})
        except ConfigError as error:
            if not self.profile:
                raise
            raise ConfigError(f"With the profile '{self.profile}': {error}") from None
        plan = TrackingPlan.load(self.tracking_plan) if self.tracking_plan else None
        return Dispatcher([destination], clock=lambda: self.now, new_id=_hash, tracking_plan=plan, **_sections())

    def plan(self, dispatcher: Dispatcher | None = None) -> Plans:
        """Return the plan of each event, as `turnout plan` writes it; `dispatcher` is one for equal settings."""
        dispatcher, inputs = dispatcher or self.dispatcher(), Inputs()
        return [
            plan.to_dict()
            for event in self.events
            for plans in dispatcher.plan_body(msgspec.json.encode(event), "", inputs)
            for plan in plans
        ]

    def pinned(self, dispatcher: Callable[[Case], Dispatcher] | None = None) -> Pinned:
        """Return what the snapshot of this case has to hold; `dispatcher` gives one for a case (default: its own)."""
        make = dispatcher or Case.dispatcher
        if not self.variants:
            return self.plan(make(self))
        return {variant.profile: variant.plan(make(variant)) for variant in self.variants}


def dump(pinned: Pinned) -> str:
    """Return plans as the text of a snapshot: JSON with two blanks, a line for each value."""
    return json.dumps(pinned, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _events(told: dict[str, Any], path: Path) -> list[Any]:
    if ("event" in told) == ("events" in told):
        raise ConfigError(f"{path}: a case has either 'event' or 'events'.")
    events = told["events"] if "events" in told else [told["event"]]
    if not isinstance(events, list) or not events:
        raise ConfigError(f"{path}: 'events' must be a list with at least one event.")
    return events


def _plan(told: dict[str, Any], path: Path) -> Path | None:
    name = told.get("tracking_plan")
    if name is not None and (not isinstance(name, str) or not name):
        raise ConfigError(f"{path}: 'tracking_plan' must be the file of a tracking plan, from the case's folder.")
    return path.parent / name if name else None


def _now(told: dict[str, Any], path: Path) -> datetime:
    now = parse(str(told.get("now", _NOW)))
    if now is None:
        raise ConfigError(f"{path}: 'now' must be a time such as {_NOW}.")
    return now


def _strings(told: dict[str, Any], key: str, path: Path) -> list[str]:
    given = told.get(key, [])
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise ConfigError(f"{path}: '{key}' must be a list of strings.")
    return given


def _with_profiles(case: Case, told: dict[str, Any]) -> Case:
    """Return the case with the settings of its profile, or with a variant for each of its profiles."""
    found = profiled(case.path, told, case.settings, lambda: load_destination(case.destination).settings)
    variants = tuple(msgspec.structs.replace(case, settings=mine, profile=name) for name, mine in found.items())
    return variants[0] if "profile" in told else msgspec.structs.replace(case, variants=variants)


@functools.cache
def _sections() -> dict[str, Any]:
    """Return the sections of a configuration at their defaults; a suite needs them for thousands of dispatchers."""
    kinds = {"send": SendSettings, "log": LogSettings, "deliver": DeliverSettings}
    return {name: kind.configure({}, owner=f"[{name}]") for name, kind in kinds.items()}


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:32]

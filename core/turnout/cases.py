"""Case files: an event (or several) with settings, whose plan is kept as a snapshot."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from turnout._times import parse
from turnout.destination import load_destination
from turnout.dispatcher import Dispatcher
from turnout.errors import ConfigError, did_you_mean
from turnout.inputs import Inputs
from turnout.strictjson import load_object

__all__ = ["Case", "dump"]

_KEYS = ("doc", "rules", "destination", "settings", "event", "events", "now")
_NOW = "2026-01-01T00:00:00Z"


class Case(msgspec.Struct, frozen=True):
    """One case: `events` mapped by the plugin `destination` with `settings`, the clock standing at `now`."""

    path: Path
    destination: str
    settings: dict[str, Any]
    events: list[Any]
    now: datetime
    doc: str = ""
    rules: tuple[str, ...] = ()
    """The ids of the rules that the case is about."""

    @classmethod
    def load(cls, path: Path) -> Case:
        """Return the case in a file; raises `ConfigError` that names the file and the key."""
        told = load_object(path, "case")
        for key in told:
            if key not in _KEYS:
                raise ConfigError(f"{path}: '{key}' is no key of a case.{did_you_mean(key, _KEYS)}")
        if ("event" in told) == ("events" in told):
            raise ConfigError(f"{path}: a case has either 'event' or 'events'.")
        events = told["events"] if "events" in told else [told["event"]]
        if not isinstance(events, list) or not events:
            raise ConfigError(f"{path}: 'events' must be a list with at least one event.")
        settings = told.get("settings", {})
        now = parse(str(told.get("now", _NOW)))
        if now is None:
            raise ConfigError(f"{path}: 'now' must be a time such as {_NOW}.")
        destination, doc = told.get("destination", path.parent.name), told.get("doc", "")
        if not isinstance(destination, str) or not isinstance(doc, str):
            raise ConfigError(f"{path}: 'destination' and 'doc' must be strings.")
        rules = told.get("rules", [])
        if not isinstance(rules, list) or not all(isinstance(rule, str) for rule in rules):
            raise ConfigError(f"{path}: 'rules' must be a list of strings.")
        return cls(path, destination, settings, events, now, doc, tuple(rules))

    def dispatcher(self) -> Dispatcher:
        """Return a dispatcher with the destination of this case; raises `ConfigError` for wrong settings."""
        destination = load_destination(self.destination)(self.settings, id=self.destination, environ={})
        return Dispatcher([destination], clock=lambda: self.now, new_id=_hash)

    def plan(self) -> list[dict[str, Any]]:
        """Return the plan of each event, as `turnout plan` writes it."""
        dispatcher, inputs = self.dispatcher(), Inputs()
        return [
            plan.to_dict()
            for event in self.events
            for plans in dispatcher.plan_body(msgspec.json.encode(event), "", inputs)
            for plan in plans
        ]


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:32]


def dump(plans: list[dict[str, Any]]) -> str:
    """Return plans as the text of a snapshot: JSON with two blanks, a line for each value."""
    return json.dumps(plans, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"

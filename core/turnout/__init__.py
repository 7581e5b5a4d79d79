"""turnout: one event in, every destination right.

The names in `__all__` are the public ones; they are under semantic versioning. `docs/reference/python.md` lists them.
Each is imported when it is first used, so that `import turnout` costs next to nothing.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:  # as checkers know it; importing it would take 15 ms
    from typing import Any

    from turnout._times import epoch_ms
    from turnout.answer import Answer, Fate, Reader, Verdict, read_gateway, read_status, retry_after
    from turnout.copies import Copy, Derived, compile_copies
    from turnout.destination import Destination, Made, load_destination, rule
    from turnout.dispatcher import Dispatcher
    from turnout.endpoint import Auth, Batch, Endpoint, Item, basic, bearer, share
    from turnout.envelope import ITEM, ITEMS, Body, form_body, json_body, setting
    from turnout.errors import ConfigError, Drop, FetchError, PluginError, Refusal, SettingsError, TurnoutError
    from turnout.event import CALL_TYPES, Context, Event
    from turnout.explanation import Explanation, explain
    from turnout.hooks import Tally, hookimpl
    from turnout.impact import Elsewhere, Impact, diff
    from turnout.inputs import Carried, DeviceIds, Inputs
    from turnout.normalise import EventLike, Limits, Normaliser
    from turnout.packing import Request
    from turnout.plan import Judgement, Note, Plan, Settled, Violation
    from turnout.platforms import PLATFORMS, platform_of
    from turnout.pulling import Pulled, Sink, pull, pull_async
    from turnout.reasons import Code, Outcome, Reason
    from turnout.sending import Fetcher
    from turnout.settings import Config, Section, Settings
    from turnout.source import (
        Checkpoint,
        Found,
        Payload,
        Source,
        SourceSettings,
        decoded,
        events_of,
        load_source,
        unpacked,
        wanted,
    )
    from turnout.trackingplan import TrackingPlan

__version__ = "0.1.0"

_PLACES = {
    "turnout._times": ("epoch_ms",),
    "turnout.answer": ("Answer", "Fate", "Reader", "Verdict", "read_gateway", "read_status", "retry_after"),
    "turnout.copies": ("Copy", "Derived", "compile_copies"),
    "turnout.destination": ("Destination", "Made", "load_destination", "rule"),
    "turnout.dispatcher": ("Dispatcher",),
    "turnout.endpoint": ("Auth", "Batch", "Endpoint", "Item", "basic", "bearer", "share"),
    "turnout.envelope": ("ITEM", "ITEMS", "Body", "form_body", "json_body", "setting"),
    "turnout.errors": ("ConfigError", "Drop", "FetchError", "PluginError", "Refusal", "SettingsError", "TurnoutError"),
    "turnout.event": ("CALL_TYPES", "Context", "Event"),
    "turnout.explanation": ("Explanation", "explain"),
    "turnout.hooks": ("Tally", "hookimpl"),
    "turnout.impact": ("Elsewhere", "Impact", "diff"),
    "turnout.inputs": ("Carried", "DeviceIds", "Inputs"),
    "turnout.normalise": ("Limits", "Normaliser", "EventLike"),
    "turnout.packing": ("Request",),
    "turnout.plan": ("Judgement", "Note", "Plan", "Settled", "Violation"),
    "turnout.platforms": ("PLATFORMS", "platform_of"),
    "turnout.pulling": ("Pulled", "Sink", "pull", "pull_async"),
    "turnout.reasons": ("Code", "Outcome", "Reason"),
    "turnout.sending": ("Fetcher",),
    "turnout.settings": ("Config", "Section", "Settings"),
    "turnout.source": (
        "Checkpoint",
        "Found",
        "Payload",
        "Source",
        "SourceSettings",
        "decoded",
        "events_of",
        "load_source",
        "unpacked",
        "wanted",
    ),
    "turnout.trackingplan": ("TrackingPlan",),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "CALL_TYPES",
    "ITEM",
    "ITEMS",
    "PLATFORMS",
    "Answer",
    "Auth",
    "Batch",
    "Body",
    "Carried",
    "Checkpoint",
    "Code",
    "Config",
    "ConfigError",
    "Context",
    "Copy",
    "Derived",
    "Destination",
    "DeviceIds",
    "Dispatcher",
    "Drop",
    "Elsewhere",
    "Endpoint",
    "Event",
    "EventLike",
    "Explanation",
    "Fate",
    "FetchError",
    "Fetcher",
    "Found",
    "Impact",
    "Inputs",
    "Item",
    "Judgement",
    "Limits",
    "Made",
    "Normaliser",
    "Note",
    "Outcome",
    "Payload",
    "Plan",
    "PluginError",
    "Pulled",
    "Reader",
    "Reason",
    "Refusal",
    "Request",
    "Section",
    "Settings",
    "SettingsError",
    "Settled",
    "Sink",
    "Source",
    "SourceSettings",
    "Tally",
    "TrackingPlan",
    "TurnoutError",
    "Verdict",
    "Violation",
    "__version__",
    "basic",
    "bearer",
    "compile_copies",
    "decoded",
    "diff",
    "epoch_ms",
    "events_of",
    "explain",
    "form_body",
    "hookimpl",
    "json_body",
    "load_destination",
    "load_source",
    "platform_of",
    "pull",
    "pull_async",
    "read_gateway",
    "read_status",
    "retry_after",
    "rule",
    "setting",
    "share",
    "unpacked",
    "wanted",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'turnout' has no attribute '{name}'")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

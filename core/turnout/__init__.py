"""turnout: one event in, every destination right.

The names below are the public ones; they are under semantic versioning. `docs/reference/python.md` lists them.
"""

from turnout.answer import Answer, Fate, Reader, Verdict, read_status
from turnout.copies import Copy, compile_copies
from turnout.destination import CALL_TYPES, Destination, Made, load_destination, rule
from turnout.dispatcher import Dispatcher, Source
from turnout.endpoint import ITEMS, Auth, Batch, Body, Endpoint, Item, basic, bearer, form_body, json_body, setting, share
from turnout.errors import ConfigError, Drop, PluginError, Refusal, SettingsError, TurnoutError
from turnout.event import Context, Event
from turnout.hooks import hookimpl
from turnout.normalise import Limits, Normaliser
from turnout.packing import Request
from turnout.plan import Note, Plan, Settled
from turnout.reasons import Code, Outcome, Reason
from turnout.settings import Config, Settings
from turnout._times import epoch_ms

__version__ = "0.1.0"

__all__ = [
    "CALL_TYPES",
    "ITEMS",
    "Answer",
    "Auth",
    "Batch",
    "Body",
    "Code",
    "Config",
    "ConfigError",
    "Context",
    "Copy",
    "Destination",
    "Dispatcher",
    "Drop",
    "Endpoint",
    "Event",
    "Fate",
    "Item",
    "Limits",
    "Made",
    "Normaliser",
    "Note",
    "Outcome",
    "Plan",
    "PluginError",
    "Reader",
    "Reason",
    "Refusal",
    "Request",
    "Settings",
    "SettingsError",
    "Settled",
    "Source",
    "TurnoutError",
    "Verdict",
    "__version__",
    "basic",
    "bearer",
    "compile_copies",
    "epoch_ms",
    "form_body",
    "hookimpl",
    "json_body",
    "load_destination",
    "read_status",
    "rule",
    "setting",
    "share",
]

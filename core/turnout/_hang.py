"""Mappings that don't come back: which rule of which plugin hangs, where it is, and on which event."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from turnout.destination import Destination, origin
from turnout.errors import PluginError
from turnout.event import Event
from turnout.mapping import map_event
from turnout.plan import Plan
from turnout.reasons import Code, Outcome, Reason
from turnout.watchdog import Patrol, Place, TooLong

__all__ = ["SECONDS", "Hang", "patrol", "patrolled"]

SECONDS = 5.0
"""How long a mapping may last where somebody waits for it; it takes microseconds."""


class Hang(msgspec.Struct, frozen=True):
    """A mapping that was interrupted since it did not come back."""

    rule: str
    """The id of the rule that hangs; empty for `prepare()`."""
    event: Event
    destination: Destination
    place: Place | None
    """Where in the plugin it was."""
    seconds: float

    @classmethod
    def of(cls, error: TooLong) -> Hang:
        """Return what hung; `error` has interrupted `map_event`, whose variables it has."""
        call = error.call
        package = _package(type(call["destination"]).__module__)
        place = next((one for one in error.places if _package(one.module) == package), None)
        return cls(call.get("rule", ""), call["event"], call["destination"], place, error.seconds)

    @property
    def part(self) -> str:
        """What of the plugin hangs, as messages name it."""
        return f"rule '{self.rule}'" if self.rule else "prepare()"

    @property
    def message(self) -> str:
        """The sentence that says which rule of which plugin hangs, and where."""
        whole = f"{self.part} of destination '{self.destination.id}' ({origin(type(self.destination))})"
        where = f": it was at {self.place}" if self.place else ""
        return f"{whole} did not come back within {self.seconds:g} s{where}."

    @property
    def given(self) -> Any:
        """The event as plain data."""
        return msgspec.json.decode(self.event.raw) if self.event.raw else {}

    @property
    def plan(self) -> Plan:
        """The plan of the event: it failed."""
        user = self.event.user_id or self.event.anonymous_id or ""
        reason = Reason(Code.PLUGIN_TOO_SLOW, self.message)
        name = self.destination.id
        return Plan(self.event.message_id, name, Outcome.FAILED, reason, [], user, self.event, self.destination)


def _package(module: str) -> str:
    return module.partition(".")[0]


def patrol(seconds: float = SECONDS) -> Patrol:
    """Return a context in which a mapping that lasts longer is interrupted: it raises `TooLong`."""
    return Patrol(seconds, map_event)


@contextmanager
def patrolled(seconds: float = SECONDS) -> Iterator[None]:
    """Inside, a mapping that lasts longer raises `PluginError`, which says what hangs on which event."""
    try:
        with patrol(seconds):
            yield
    except TooLong as error:
        hang = Hang.of(error)
        raise PluginError(f"The event '{hang.event.message_id}': {hang.message}") from None

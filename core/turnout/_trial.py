"""One event at one destination, to be mapped again and again with something changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from turnout._json import compact, read
from turnout._output import Output
from turnout._payload import Payload
from turnout._times import iso
from turnout.destination import Destination
from turnout.errors import Refusal
from turnout.event import Event
from turnout.inputs import Carried, Inputs
from turnout.mapping import map_event
from turnout.normalise import EventLike, Normaliser
from turnout.plan import Plan
from turnout.reasons import Outcome
from turnout.watchdog import TooLong

__all__ = ["Trial", "told", "trial_of"]

_MOST_HANGS = 4
"""So many changes are waited for at most with which a mapping does not come back."""
_LONG = 60


class Trial:
    """An event as its sender wrote it, with everything that its mapping depends on held fast.

    `now` is the time of the clock and `message_id` the one that is made, where the event has none of its own;
    `carried` is what earlier events left.
    """

    def __init__(
        self,
        destination: Destination,
        value: dict[str, Any] | Payload,
        now: datetime,
        message_id: str,
        carried: Carried | None = None,
        hanging: list[str] | None = None,
    ) -> None:
        self.destination = destination
        self.payload = value if isinstance(value, Payload) else Payload(value)
        self.now, self.message_id = now, message_id
        self.carried = carried
        self.hanging = hanging
        """With which changes the mapping did not come back: sentences; None: then `TooLong` is raised."""
        self.event: Callable[[EventLike], Event] = Normaliser(clock=lambda: now, new_id=lambda _: message_id).event
        """Returns the event of a text; raises `Refusal`."""

    def plan(self, text: bytes, destination: Destination | None = None) -> Plan:
        """Return the plan for a changed text, or at a changed destination, by the code that plans and sends."""
        target = destination or self.destination
        try:
            event = self.event(text)
        except Refusal as refusal:
            return Plan(self.message_id, target.id, Outcome.INVALID, refusal.reason, [], "", None, target)
        carried = self.carried or Inputs().carry(target, event) if target.carries else None
        try:
            return map_event(target, event, carried)
        except TooLong as error:
            if self.hanging is None:
                raise
            return self._interrupted(error, text, target)

    def _interrupted(self, error: TooLong, text: bytes, target: Destination) -> Plan:
        """Return the plan of a mapping that did not come back; raises the error where that was so of some before."""
        from turnout._hang import Hang

        hang, changes = Hang.of(error), self._changes(text, target)
        assert self.hanging is not None
        if not changes or len(self.hanging) >= _MOST_HANGS:
            raise error
        self.hanging.append(f"Where {' and '.join(changes)}, {hang.message}")
        return hang.plan

    def _changes(self, text: bytes, target: Destination) -> list[str]:
        """Return in which way a text and a destination are others, as messages say it."""
        from turnout.differences import differences

        mine, other = self.destination.config, target.config
        changed = [one for one in differences(self.payload.value, read(text)) if one.kind != "moved"]
        told = [f"{one.path} is {'gone' if one.kind == 'missing' else _shown(one.now)}" for one in changed]
        masked = other.masked()
        return told + [f"the setting {one} is {_shown(masked[one])}" for one in mine if mine[one] != other[one]]

    def output(self, text: bytes, destination: Destination | None = None) -> Output:
        """Return the same, ready to be compared."""
        return Output(self.plan(text, destination))

    def otherwise(self, **changed: Any) -> Trial:
        """Return the same trial with another `destination`, `value`, `now`, `message_id` or `carried`."""
        kept = {name: getattr(self, name) for name in ("destination", "now", "message_id", "carried", "hanging")}
        return Trial(**({"value": self.payload} | kept | changed))


def _shown(value: Any) -> str:
    text = compact(value).decode()
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def told(event: Event) -> dict[str, Any]:
    """Return an event as its sender wrote it, with the time of its arrival where somebody else stamped that."""
    value: dict[str, Any] = read(event.raw)
    again = Normaliser(clock=lambda: event.received_at, new_id=lambda _: event.message_id).event(event.raw)
    return value if again.received_at == event.received_at else {**value, "receivedAt": iso(event.received_at)}


def trial_of(plan: Plan) -> Trial | None:
    """Return the trial of the event and the destination that a plan is of; None for an event that was not accepted."""
    event, destination = plan.event, plan.target
    if event is None or destination is None:
        return None
    return Trial(destination, told(event), event.received_at, event.message_id, plan.carried)

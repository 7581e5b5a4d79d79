"""What became of one event at one destination: the `Plan` before sending, and the `Settled` outcome after."""

from __future__ import annotations

from typing import Any

import msgspec

from turnout.destination import Destination
from turnout.endpoint import Item
from turnout.event import Event
from turnout.inputs import Carried
from turnout.packing import Request, pack
from turnout.reasons import Code, Outcome, Reason

__all__ = ["Judgement", "Note", "Plan", "Settled", "Violation", "let_go"]


class Note(msgspec.Struct, frozen=True):
    """Something that a rule left out on purpose and that a person should know: `message` and JSON Pointer."""

    message: str
    path: str | None = None


class Violation(Note, frozen=True, kw_only=True):
    """What the tracking plan finds wrong with an event; `message` never holds a value of it.

    `path` leads to the value, or to where it is missing.
    """

    code: Code
    """`plan_violation`, or `plan_unplanned` for a call that the plan doesn't have."""
    event: str
    """What the call is named: an event's name, else `identify`, or `page Pricing`."""
    keyword: str = ""
    """The keyword of JSON Schema that was violated, as in `required`; empty for an unplanned call."""
    mode: str = "observe"
    """What is done: `observe` (nothing), `strip` (the value is taken out where it can be) or `block` (the event is)."""
    stripped: bool = False
    """Whether the value was taken out."""


class Judgement(msgspec.Struct, frozen=True):
    """What a tracking plan makes of one event."""

    event: Event
    """As it came."""
    kept: Event
    """As it goes on: without what was taken out of it."""
    violations: tuple[Violation, ...] = ()
    reason: Reason | None = None
    """Why it is blocked; None when it goes on."""


class Plan(msgspec.Struct, gc=False):
    """The items that one event becomes at one destination, or the reason why there are none.

    `user` is the key by which order is kept: `userId`, else `anonymousId`.
    """

    message_id: str | None
    destination: str
    outcome: Outcome
    reason: Reason | None = None
    items: list[Item] = []
    user: str = ""
    event: Event | None = None
    """The event that was mapped; None when it could not be accepted."""
    target: Destination | None = None
    notes: tuple[Note, ...] = ()
    """What rules left out on purpose, and why; before that, each `Violation` of the tracking plan."""
    carried: Carried | None = None
    """What earlier events had left for the mapping of this one."""

    @property
    def requests(self) -> list[Request]:
        """Return the requests that hold the items of this event only."""
        return pack(self.items)

    def to_dict(self, *, show_secrets: bool = False) -> dict[str, Any]:
        """Return the line that `turnout plan` writes for it (contract 5.1), as plain data."""
        from turnout.mapping import showable

        items = self.items if show_secrets else showable(self)
        return {
            "message_id": self.message_id,
            "destination": self.destination,
            "outcome": self.outcome.value,
            "reason": reason_dict(self.reason),
            "requests": [request.to_dict(show_secrets=show_secrets) for request in pack(items)],
        }


def let_go(plans: list[Plan]) -> list[Plan]:
    """Return the same plans without their event: hundreds of events would only fill memory."""
    for plan in plans:
        plan.event = None
    return plans


class Settled(msgspec.Struct, frozen=True):
    """The outcome of one event at one destination after `send`."""

    message_id: str | None
    destination: str
    outcome: Outcome
    reason: Reason | None = None
    items: int = 0
    """How many items it became."""
    attempts: int = 0
    """How many requests carried the item that took the most."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "message_id": self.message_id,
            "destination": self.destination,
            "outcome": self.outcome.value,
            "reason": reason_dict(self.reason),
            "items": self.items,
            "attempts": self.attempts,
        }


def reason_dict(reason: Reason | None) -> dict[str, Any] | None:
    """Return a reason as plain data, or None."""
    if reason is None:
        return None
    return {"code": reason.code.value, "message": reason.message, "path": reason.path}

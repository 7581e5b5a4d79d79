"""What every rule works with: one call, with what several rules need worked out once."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from turnout import Event, Item, share
from turnout_amplitude.context import option
from turnout_amplitude.properties import about_user
from turnout_amplitude.values import text_of

if TYPE_CHECKING:
    from turnout_amplitude.destination import Amplitude

__all__ = ["Call", "event_groups"]

_NO_OPTIONS: dict[str, Any] = {}
_ORDER = re.compile(r"order[ _]?completed|completed[ _]?order", re.IGNORECASE)


class Call:
    """One event on its way to Amplitude: its options, its ids and the fields that all its items share."""

    __slots__ = ("_amplitude", "_count", "_fields", "_own", "_shared", "event", "is_order", "options")

    def __init__(self, amplitude: Amplitude, event: Event) -> None:
        self._amplitude = amplitude
        self._fields: dict[str, Any] | None = None
        self.event = event
        self.is_order = event.event is not None and is_order(event.event)
        options = event.integrations.get(amplitude.name)
        self.options: dict[str, Any] = options if options.__class__ is dict else _NO_OPTIONS

    def identity(self) -> dict[str, Any]:
        """Return ids, time, context and session: what events and identifications have in common; a new dict."""
        return self._amplitude.context(self.event, self.options)

    def event_item(self, own: dict[str, Any]) -> Item:
        """Return an item for the events endpoint: the main event first, then the others of the same call.

        `own` holds what is the event's own: `event_type`, `event_properties` unless there are none, native revenue.
        The main event's `insert_id` is the message id, the others' has `-1`, `-2`, … behind it (AMP-GEN-07).
        """
        if self._fields is not None:
            return self._further_item(own)
        own["insert_id"] = self.event.message_id
        fields = self._fields = self._event_fields()
        fields.update(own)
        self._own = own
        self._count = 0
        return self._amplitude.target.item(fields, key=self.event.message_id)

    def _further_item(self, own: dict[str, Any]) -> Item:
        """Return an item for another event of the call; what it shares with the first is encoded once."""
        if self._count == 0:
            shared = {key: value for key, value in (self._fields or {}).items() if key not in self._own}
            self._shared = share(shared)
        self._count += 1
        own["insert_id"] = insert_id = f"{self.event.message_id}-{self._count}"
        return self._amplitude.target.item(own, self._shared, key=insert_id)

    def _event_fields(self) -> dict[str, Any]:
        """Return a new dict of the fields that all events of this call have (AMP-ORDER-13)."""
        amplitude, event, options = self._amplitude, self.event, self.options
        fields = amplitude.context(event, options)
        user_properties = about_user(event, amplitude.config)
        if user_properties:
            fields["user_properties"] = user_properties
        if options:
            groups = event_groups(options.get("groups"))
            if groups:
                fields["groups"] = groups
            event_id = option(options, "event_id", "eventId")
            if event_id.__class__ is int:
                fields["event_id"] = event_id
        return fields


@lru_cache(maxsize=4096)
def is_order(name: str) -> bool:
    """Return whether an event's name is one of an order's: `Order Completed`, `completed_order`, … (AMP-ORDER-01)."""
    return _ORDER.fullmatch(name) is not None


def event_groups(groups: Any) -> dict[str, Any]:
    """Return the option `groups` as Amplitude takes it: type -> text or list of texts (AMP-TRACK-02, AMP-IDENT-07).

    Anything but an object is ignored; so are entries that hold no text, number or boolean.
    """
    if groups.__class__ is not dict:
        return {}
    made: dict[str, Any] = {}
    for kind, value in groups.items():
        if isinstance(value, list):
            texts = [text for one in value if (text := text_of(one)) is not None]
            if texts and kind:
                made[kind] = texts
        elif kind and (text := text_of(value)) is not None:
            made[kind] = text
    return made

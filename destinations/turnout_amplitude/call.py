"""What every rule works with: one call, with what several rules need worked out once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice, repeat
from typing import Any

import msgspec

from turnout import Carried, Event, Item, share
from turnout_amplitude.context import ContextReader

__all__ = ["Call", "Shape", "options_of"]

_NO_OPTIONS: dict[str, Any] = {}


class Shape(msgspec.Struct, frozen=True):
    """What differs between platforms for every call."""

    platform: str
    """`server`, `browser`, `ios` or `android`."""
    item: Callable[[dict[str, Any], bytes, str], Item]
    """Makes items for the endpoint of its events."""
    context: ContextReader
    """Makes what events and identifications have in common."""
    fields: ContextReader
    """Makes what all events of a call have in common."""
    further: Callable[[Event], int]
    """Counts the events that a call becomes beside its main one."""


class Call(msgspec.Struct, gc=False):
    """One event on its way to Amplitude: its options, and the items that it becomes.

    Its main event has the message id as `insert_id`, the others have `-1`, `-2`, … behind it in the order in which
    they are made (AMP-GEN-07, AMP-ORDER-08). What a browser sends aside (attribution) is numbered after these, since it
    depends on the session: a message's own events keep their ids when it is mapped once more, as in a replay. Without
    a main event the first one aside stands in for it.
    """

    shape: Shape
    event: Event
    options: dict[str, Any]
    carried: Carried | None = None
    has_main: bool = True
    """Whether a main event comes; False for a page call that only identifies."""
    others: int = 0
    """How many further events there are so far."""
    asides: int = 0
    """How many events there are aside so far."""
    fields: dict[str, Any] | None = None
    """The fields of the main event, once it is made; the first `shared` of them are what all events of it share."""
    shared: int | bytes = 0
    """How many of `fields` are shared; once more events are known to come, these fields encoded."""

    @property
    def new_session(self) -> bool:
        """Return whether the call is the first of a session of its device (AMP-CTX-18)."""
        return self.carried is None or self.carried.new_session

    def identity(self) -> dict[str, Any]:
        """Return ids, time, context and session: what events and identifications have in common; a new dict."""
        return self.shape.context(self.event, self.options, self.carried)

    def event_item(
        self,
        event_type: str | None,
        properties: dict[str, Any],
        native: dict[str, Any] | None = None,
        several: bool = False,
    ) -> Item:
        """Return an item for the events endpoint: the main event first, then the others of the same call.

        `native` are further fields of the event, such as `revenue`. `several` says that more events of the call come.
        """
        if self.fields is not None:
            return self.further_items(event_type, [properties], [native or _NO_OPTIONS])[0]
        event, shape = self.event, self.shape
        self.fields = fields = shape.fields(event, self.options, self.carried)
        shared = b""
        if several:
            self.shared = shared = share(fields)
            fields = {}
        else:
            self.shared = len(fields)
        fields["event_type"] = event_type
        fields["insert_id"] = message_id = event.message_id
        if properties:
            fields["event_properties"] = properties
        if native:
            fields.update(native)
        item: Item = shape.item(fields, shared, message_id)
        return item

    def further_items(
        self,
        event_type: str | None,
        properties: Iterable[dict[str, Any]],
        native: Iterable[dict[str, Any]] = repeat(_NO_OPTIONS),
    ) -> list[Item]:
        """Return items for more events of the call; what all of them share is encoded once."""
        shared = self.shared
        if isinstance(shared, int):
            self.shared = shared = share(dict(islice((self.fields or {}).items(), shared)))
        message_id, make = self.event.message_id, self.shape.item
        items = []
        for number, (each, fields) in enumerate(zip(properties, native, strict=False), start=self.others + 1):
            insert_id = f"{message_id}-{number}"
            own: dict[str, Any] = {"event_type": event_type, "insert_id": insert_id}
            if each:
                own["event_properties"] = each
            if fields:
                own.update(fields)
            items.append(make(own, shared, insert_id))
        self.others += len(items)
        return items

    def revenue_item(self, properties: dict[str, Any]) -> Item:
        """Return the revenue event of a device: who, when, where as the main one, without its groups (AMP-REV-23)."""
        fields = self.shape.fields(self.event, self.options, self.carried)
        fields.pop("groups", None)
        fields["event_properties"] = properties
        self.others += 1
        return self._other("revenue_amount", fields, self.others)

    def identify_aside(self, user_properties: dict[str, Any]) -> Item:
        """Return a `$identify` event that goes beside the call."""
        fields = self.identity()
        fields["user_properties"] = user_properties
        number = self.asides + self.has_main
        self.asides += 1
        if number:
            number += self.shape.further(self.event)
        return self._other("$identify", fields, number)

    def identify_item(self, user_properties: dict[str, Any], groups: dict[str, Any]) -> Item:
        """Return the main event of an identify or group call on a device (AMP-IDENT-04)."""
        fields = self.identity()
        fields["event_type"] = "$identify"
        fields["insert_id"] = self.event.message_id
        if user_properties:
            fields["user_properties"] = user_properties
        if groups:
            fields["groups"] = groups
        item: Item = self.shape.item(fields, b"", self.event.message_id)
        return item

    def _other(self, event_type: str, fields: dict[str, Any], number: int) -> Item:
        insert_id = f"{self.event.message_id}-{number}" if number else self.event.message_id
        fields["event_type"] = event_type
        fields["insert_id"] = insert_id
        item: Item = self.shape.item(fields, b"", insert_id)
        return item


def options_of(event: Event, name: str) -> dict[str, Any]:
    """Return the options under `integrations` for the destination `name`; an empty dict where there are none."""
    options = event.integrations.get(name)
    return options if options.__class__ is dict else _NO_OPTIONS

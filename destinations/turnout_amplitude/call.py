"""What every rule works with: one call, with what several rules need worked out once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice, repeat
from typing import Any

import msgspec

from turnout import Event, Item, share
from turnout_amplitude.context import context_reader, option
from turnout_amplitude.properties import OPERATORS, add_campaign
from turnout_amplitude.values import text_of

__all__ = ["Call", "event_fields", "event_groups", "options_of"]

_LONG = 2**63
_NO_OPTIONS: dict[str, Any] = {}


class Call(msgspec.Struct, gc=False):
    """One event on its way to Amplitude: its options, and the items that it becomes."""

    amplitude: Any
    event: Event
    options: dict[str, Any]
    items: int = 0
    fields: dict[str, Any] = {}
    """The fields of the first event; the first `shared` of them are what all events of the call share."""
    shared: int | bytes = 0
    """How many of `fields` are shared; once there is a second event, these fields encoded."""

    def identity(self) -> dict[str, Any]:
        """Return ids, time, context and session: what events and identifications have in common; a new dict."""
        fields: dict[str, Any] = self.amplitude.context(self.event, self.options)
        return fields

    def event_item(
        self, event_type: str | None, properties: dict[str, Any], native: dict[str, Any] | None = None
    ) -> Item:
        """Return an item for the events endpoint: the main event first, then the others of the same call.

        The main event's `insert_id` is the message id, the others' has `-1`, `-2`, … behind it (AMP-GEN-07).
        `native` are further fields of the event, such as `revenue`.
        """
        if self.items:
            return self.further_items(event_type, [properties], [native or {}])[0]
        event = self.event
        self.items = 1
        self.fields = fields = self.amplitude.fields(event, self.options)
        self.shared = len(fields)
        fields["event_type"] = event_type
        fields["insert_id"] = event.message_id
        if properties:
            fields["event_properties"] = properties
        if native:
            fields.update(native)
        item: Item = self.amplitude.target.item(fields, b"", event.message_id)
        return item

    def further_items(
        self,
        event_type: str | None,
        properties: Iterable[dict[str, Any]],
        native: Iterable[dict[str, Any]] = repeat(_NO_OPTIONS),
    ) -> list[Item]:
        """Return items for more events of the call; what all of them share is encoded once."""
        if isinstance(self.shared, int):
            self.shared = share(dict(islice(self.fields.items(), self.shared)))
        message_id, make = self.event.message_id, self.amplitude.target.item
        items = []
        for each, fields in zip(properties, native, strict=False):
            insert_id = f"{message_id}-{self.items}"
            self.items += 1
            own = {"event_type": event_type, "insert_id": insert_id, **fields}
            if each:
                own["event_properties"] = each
            items.append(make(own, self.shared, insert_id))
        return items


def options_of(event: Event, name: str) -> dict[str, Any]:
    """Return the options under `integrations` for the destination `name`; an empty dict where there are none."""
    options = event.integrations.get(name)
    return options if options.__class__ is dict else _NO_OPTIONS


def event_fields(
    anonymous_first: bool, raw_agent: bool, utm: bool, query: tuple[str, ...]
) -> Callable[[Event, dict[str, Any]], dict[str, Any]]:
    """Return the function that makes the fields of all events of a call, from event and options (AMP-ORDER-13).

    Its user properties are `context.traits`, `id`, UTM and the query string: AMP-CTX-22, AMP-IDENT-14, AMP-CTX-13,
    AMP-TRACK-04; `query` are the names that `map_query_params` gives user properties.
    """
    read = context_reader(anonymous_first, raw_agent)

    def fields(event: Event, options: dict[str, Any]) -> dict[str, Any]:
        made = read(event, options)
        user = event.context.traits.copy()
        if event.user_id is not None:
            user["id"] = event.user_id
        if utm:
            add_campaign(user, event.context.campaign)
        if query and event.context.page.search:
            user.update(dict.fromkeys(query, event.context.page.search))
        if user:
            made["user_properties"] = user if OPERATORS.isdisjoint(user) else {"$set": user}
        if options:
            groups = event_groups(options.get("groups"))
            if groups:
                made["groups"] = groups
            event_id = option(options, "event_id", "eventId")
            if event_id.__class__ is int and -_LONG <= event_id < _LONG:
                made["event_id"] = event_id
        return made

    return fields


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

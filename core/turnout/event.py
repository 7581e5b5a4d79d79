"""The event of the common spec: a page, screen, identify, track, group, alias or delete call, normalised."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from turnout._context import Context
from turnout._json import Object, compact, fresh, too_deep
from turnout._times import UNSET, iso

__all__ = ["CALL_TYPES", "Context", "Event"]

CALL_TYPES = ("page", "screen", "identify", "track", "group", "alias", "delete")
"""The call types of the common spec."""

_Text = Annotated[str, msgspec.Meta(min_length=1)] | None
_OBJECTS = ("properties", "traits", "integrations", "metadata")
_IDS = {
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "groupId": "group_id",
    "previousId": "previous_id",
}
_WORDS = frozenset({*_IDS, "event", "name", "category"})
_LOCAL = ("receivedAt", "projectId", "writeKey")


class Event(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    eq=False,
    gc=False,
    rename="camel",
    forbid_unknown_fields=True,
):
    """One event, with typed fields for what the spec knows and everything else in `raw` and `to_dict()`.

    It is made by `turnout.Normaliser`, never changes, pickles, and equals another event when both carry the
    same keys and values. What is absent, null or (for ids and names) `""` is None.

    The usual keys stand first, as in `Context`, which says why.
    """

    type: Literal["track", "identify", "page", "screen", "group", "alias", "delete"]
    """The call: page, screen, identify, track, group, alias or delete."""
    event: _Text = None
    """The name of a track call."""
    message_id: Annotated[str, msgspec.Meta(min_length=1)] = ""
    """The key for deduplication, 1 to 100 characters; made when missing."""
    user_id: _Text = None
    """The id of the known user; an integer has become text."""
    anonymous_id: _Text = None
    """The visitor's id before it is known who it is; an integer has become text."""
    timestamp: datetime = UNSET
    """When it happened, corrected for the sender's clock (aware, UTC, milliseconds)."""
    sent_at: datetime | None = None
    """When it was sent, by the sender's clock (aware, UTC, milliseconds)."""
    integrations: Object = msgspec.field(default_factory=dict)
    """Which destinations get the event, and options for them; `{}` when absent.

    It is the root object, else what the places of old libraries say."""
    context: Context = msgspec.field(default_factory=Context)
    """Where the event comes from; never None, nor are its objects."""
    properties: Object = msgspec.field(default_factory=dict)
    """The properties of a track, page or screen call; `{}` when absent or null. Don't change it."""
    traits: Object = msgspec.field(default_factory=dict)
    """The traits of an identify call (the user's) or a group call (the group's); `{}` when absent or null.

    Those of an identify call that has none at its root are in `context.traits`, as RudderStack's libraries write it.
    Don't change it."""
    channel: str | None = None
    """`server`, `browser` or `mobile`, from old libraries."""
    original_timestamp: datetime = UNSET
    """When it happened by the sender's clock (aware, UTC, milliseconds)."""
    received_at: datetime = UNSET
    """When it arrived (aware, UTC, milliseconds)."""
    group_id: _Text = None
    """The group of a group call."""
    previous_id: _Text = None
    """The former id of an alias call."""
    name: _Text = None
    """The name of a page or screen call."""
    category: _Text = None
    """The category of a page or screen call."""
    metadata: Object = msgspec.field(default_factory=dict, name="_metadata")
    """`_metadata`: among others `bundled`, the destinations that the device has served already."""
    version: int | float | str | None = None
    """The version of the sender's message format."""
    project_id: str | None = None
    """The id of the project at the server."""
    write_key: str | None = None
    """The sender's write key."""
    timestamp_ms: int = msgspec.field(default=0, name=" timestampMs")
    """`timestamp` in milliseconds since 1970-01-01T00:00:00Z."""
    raw: bytes = msgspec.field(default=b"", name=" raw")
    """The JSON text it came as, after a batch's common keys were merged into it."""

    brackets: None = msgspec.field(default=None, name=" brackets")
    """How many brackets open in `raw` (an int, which no JSON can set); None: objects nest at most nine deep."""

    def too_deep(self, limit: int) -> str | None:
        """Return the JSON Pointer of an object or list below `limit` levels of properties or traits, or None.

        `properties`, `traits` and `context.traits` are level 1. It costs next to nothing for usual events.
        """
        brackets: int | None = self.brackets
        if (9 if brackets is None else brackets) <= limit:
            return None
        parts = (
            ("/properties", self.properties),
            ("/traits", self.traits),
            ("/context/traits", self.context.traits),
        )
        found = ((place, too_deep(value, limit)) for place, value in parts)
        return next((place + below for place, below in found if below is not None), None)

    def to_dict(self) -> dict[str, Any]:
        """Return every key that the event came with, the normalised ones in their final form.

        It is a new structure on each call, yours to change. Times are ISO 8601 with milliseconds and `Z`.
        Normalising it again gives an equal event.
        """
        data: dict[str, Any] = msgspec.json.decode(self.raw)
        for key, attribute in _IDS.items():
            if getattr(self, attribute) is not None:
                data[key] = getattr(self, attribute)
        data["messageId"] = self.message_id
        if self.integrations and data.get("integrations") is None:
            data["integrations"] = fresh(self.integrations)
        if self.traits and data.get("traits") is None:
            data["traits"] = fresh(self.traits)
        data["timestamp"] = iso(self.timestamp)
        data["originalTimestamp"] = iso(self.original_timestamp)
        data["receivedAt"] = iso(self.received_at)
        if self.sent_at is not None:
            data["sentAt"] = iso(self.sent_at)
        return data

    def forwarded(self) -> dict[str, Any]:
        """Return what the next server gets of the event, where events themselves are passed on: yours to change.

        It is `to_dict()` without what counts for this server alone (`receivedAt`, `projectId`, `writeKey`), and
        without keys of the root that say nothing: null, and `""` for ids and names.
        """
        data = self.to_dict()
        for key in _LOCAL:
            data.pop(key, None)
        silent = [key for key, value in data.items() if value is None or (value == "" and key in _WORDS)]
        for key in silent:
            del data[key]
        return data

    def copy(self) -> Event:
        """Return an equal event that shares no object and no list with this one."""
        objects = {name: fresh(getattr(self, name)) for name in _OBJECTS}
        return msgspec.structs.replace(self, context=self.context.copy(), **objects)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return compact(self.to_dict(), order="sorted") == compact(other.to_dict(), order="sorted")

    def __repr__(self) -> str:
        named = f", event={self.event!r}" if self.event else ""
        return f"Event(type={self.type!r}, message_id={self.message_id!r}{named})"

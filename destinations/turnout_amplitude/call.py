"""What every rule works with: one call, with what several rules need worked out once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from turnout import Code, Event, Item, Refusal, share
from turnout_amplitude.values import session_id, text_of

if TYPE_CHECKING:
    from turnout_amplitude.destination import Amplitude

__all__ = ["Call", "event_groups"]

_NO_OPTIONS: dict[str, Any] = {}

# HTTP V2 documentation, "Invalid device and user ids": such a value is answered with a 400.
_REFUSED_IDS = frozenset(
    "anonymous|nil|none|null|n/a|na|undefined|unknown|00000000-0000-0000-0000-000000000000|{}|lmy47d|0|-1".split("|")
)


class Call:
    """One event on its way to Amplitude: its options, its ids and the fields that all its items share."""

    __slots__ = ("_amplitude", "_count", "_shared", "device_id", "event", "fields", "options", "user_properties")

    def __init__(self, amplitude: Amplitude, event: Event) -> None:
        self._amplitude = amplitude
        self._count = 0
        self._shared: bytes | None = None
        self.event = event
        options = event.integrations.get(amplitude.name)
        self.options: dict[str, Any] = options if options.__class__ is dict else _NO_OPTIONS
        self.user_properties: dict[str, Any] | None = None

    def option(self, *spellings: str) -> Any:
        """Return the first of these options that is there, or None."""
        return next((self.options[key] for key in spellings if self.options.get(key) is not None), None)

    @property
    def identity(self) -> dict[str, Any]:
        """Return ids, time, context and session: what events and identifications have in common.

        Raises `Refusal` when there is neither user nor device (AMP-GEN-04), or Amplitude is documented to
        refuse an id.
        """
        event = self.event
        device_id, path = self._amplitude.device_id(event)
        fields = self._amplitude.context(event)
        if event.user_id is not None:
            fields["user_id"] = _accepted(event.user_id, "/userId")
        elif device_id is None:
            message = "Amplitude needs a userId, or a device id (context.device.id or anonymousId)."
            raise Refusal(Code.NO_USER_ANON_ID, message)
        if device_id is not None:
            fields["device_id"] = _accepted(device_id, path)
        fields["time"] = event.timestamp_ms
        if self.options:
            session = session_id(self.option("session_id", "sessionId"))
            if session is not None:
                fields["session_id"] = session
        return fields

    def event_item(self, event_type: str, properties: dict[str, Any], **native: Any) -> Item:
        """Return an item for the events endpoint: the main event first, then the others of the same call.

        The main event's `insert_id` is the message id, the others' has `-1`, `-2`, … behind it (AMP-GEN-07).
        `native` are further fields of the event, such as `revenue`.
        """
        if self._shared is None:
            self._shared = self._share()
        insert_id = f"{self.event.message_id}-{self._count}" if self._count else self.event.message_id
        self._count += 1
        own = {"event_type": event_type, "insert_id": insert_id, **native}
        if properties:
            own["event_properties"] = properties
        return self._amplitude.target.item(own, self._shared, key=insert_id)

    def _share(self) -> bytes:
        """Return the fields that all events of this call have, encoded once (AMP-ORDER-13)."""
        fields = self.identity
        if self.user_properties:
            fields["user_properties"] = self.user_properties
        if self.options:
            groups = event_groups(self.options.get("groups"))
            if groups:
                fields["groups"] = groups
            event_id = self.option("event_id", "eventId")
            if event_id.__class__ is int:
                fields["event_id"] = event_id
        return share(fields)


def _accepted(value: str, path: str) -> str:
    if value in _REFUSED_IDS or value.lower() in _REFUSED_IDS:
        message = f"Amplitude refuses the id {msgspec.json.encode(value).decode()}. Send the user's real id, or none."
        raise Refusal(Code.VENDOR_WOULD_REFUSE, message, path)
    return value


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

"""The normaliser: what a sender wrote becomes an `Event`, or a `Refusal` that says why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from msgspec.structs import force_setattr

from turnout import _slow
from turnout._batch import Body
from turnout._json import encode_source
from turnout._limits import Limits
from turnout._times import EPOCH, UNSET, milliseconds, utc
from turnout.errors import Refusal
from turnout.event import Event
from turnout.reasons import Code

__all__ = ["EventLike", "Limits", "Normaliser"]

EventLike = bytes | str | Mapping[str, Any] | Event
"""What an event may be given as: JSON text, a mapping, or an event that was normalised before."""

_quick = msgspec.json.Decoder(Event).decode
_QUICK_DEPTH = 9
"""How deep the quick decoder may nest: `context.consent.categoryPreferences`, and five levels below it."""
_TIMES = {
    "timestamp": "timestamp",
    "originalTimestamp": "original_timestamp",
    "sentAt": "sent_at",
    "receivedAt": "received_at",
}
_NEEDS_USER = frozenset({"track", "identify", "page", "screen", "group"})


class _Root(msgspec.Struct):
    """What an event's text says of its traits: `{}` is an answer, absent and null are none."""

    traits: Any = None


_root = msgspec.json.Decoder(_Root).decode


def _now() -> datetime:
    return datetime.now(UTC)


def _uuid(_raw: bytes) -> str:
    return str(uuid4())


class Normaliser:
    """Turns payloads into events. It keeps nothing between calls, pickles, and threads may share it.

    `clock` gives the present as an aware datetime, `new_id` a message id for a JSON text that has none
    (default: a UUID 4), `limits` what an event may measure.
    """

    __slots__ = ("_keys", "_message_id", "_quick_bytes", "clock", "limits", "new_id")

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] | None = None,
        new_id: Callable[[bytes], str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.clock = clock or _now
        self.new_id = new_id or _uuid
        self.limits = limits or Limits()
        self._keys, self._message_id = self.limits.keys, self.limits.message_id
        self._quick_bytes = self.limits.event_bytes if self.limits.depth >= _QUICK_DEPTH else 0

    def event(self, source: EventLike, arrival: datetime | None = None) -> Event:
        """Return the normalised event of a JSON text or a mapping; an `Event` is returned as it is.

        `arrival` (UTC, whole milliseconds) is when the event came in: it replaces what the sender says of that. Raises
        `Refusal` with a code of the spec, a sentence and a JSON Pointer.
        """
        if type(source) is not bytes:
            if isinstance(source, Event):
                return source
            source = encode_source(source)
        if len(source) > self._quick_bytes:
            return self._finished(_slow.call(source, self.limits), source, arrival)
        try:
            event = _quick(source)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._finished(_slow.call(source, self.limits), source, arrival)
        # Nearly all events are complete track calls with a message id and the sender's own stamps, and from a log with
        # the time of their arrival: what follows is what `_finished` would do for them.
        time, sent, received = event.timestamp, event.sent_at, arrival or event.received_at
        if (
            event.event is None
            or event.type != "track"
            or sent is None
            or time is UNSET
            or event.original_timestamp is not UNSET
            or (event.user_id is None and event.anonymous_id is None)
            or not 0 < len(event.message_id) <= self._message_id
            or len(source) > self._keys
            or not time.tzinfo is sent.tzinfo is UTC
            or time.microsecond % 1000
            or sent.microsecond % 1000
            or (received is not UNSET and (received.tzinfo is not UTC or received.microsecond % 1000))
        ):
            return self._finished(event, source, arrival)
        force_setattr(event, "raw", source)
        force_setattr(event, "original_timestamp", time)
        if received is UNSET:
            force_setattr(event, "received_at", sent)
        else:
            force_setattr(event, "received_at", received)
            try:
                time = received - (sent - time)
            except OverflowError:
                raise _overflow(event) from None
            force_setattr(event, "timestamp", time)
        since = time - EPOCH
        force_setattr(event, "timestamp_ms", (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000)
        return event

    def plain(self, text: bytes | memoryview) -> Event | None:
        """Return the event of a JSON text that needs nothing but to be normalised later, None for any other.

        It is complete and within its limits, has a message id and times far from the ends of the calendar; its own
        times and texts are still as they came. What gets None may be good as well: `event` tells.
        """
        if len(text) > self._quick_bytes or len(text) > self.limits.keys:
            return None
        try:
            event = _quick(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        time, sent = event.timestamp, event.sent_at
        near = 2 <= time.year <= 9998 or time is UNSET
        if (
            near
            and (sent is None or 2 <= sent.year <= 9998)
            and 0 < len(event.message_id) <= self.limits.message_id
            and (event.event is not None if event.type == "track" else event.type in _NEEDS_USER - {"group"})
            and (event.user_id is not None or event.anonymous_id is not None)
            and event.original_timestamp is UNSET
        ):
            return event
        return None

    def _finished(self, event: Event, raw: bytes, arrival: datetime | None = None) -> Event:
        """Return the same event, checked for what its call needs, with what the sender left out filled in."""
        if not _complete(event):
            raise _slow.unfit(raw)
        limits = self.limits
        if len(raw) > limits.keys:  # an object never has more keys than bytes
            _slow.count_keys(event.properties, event.traits, limits)
        if event.type == "identify" and not event.traits and event.context.traits and _root(raw).traits is None:
            force_setattr(event, "traits", event.context.traits)  # where RudderStack's libraries put them
        force_setattr(event, "raw", raw)
        if arrival is not None:
            force_setattr(event, "received_at", arrival)
        if not event.message_id:
            force_setattr(event, "message_id", self.new_id(raw))
        elif len(event.message_id) > limits.message_id:
            raise _too_long(event.message_id, limits)
        try:
            self._set_times(event)
        except OverflowError:
            raise _overflow(event) from None
        return event

    def _set_times(self, event: Event) -> None:
        """Set the four times: `timestamp = receivedAt - (sentAt - originalTimestamp)`, with its fallbacks."""
        given, received = event.sent_at, event.received_at
        time, original = event.timestamp, event.original_timestamp
        sent = given and utc(given)
        received = utc(received) if received is not UNSET else sent or utc(self.clock())
        if original is not UNSET:
            original = utc(original)
            time = utc(time) if time is not UNSET else _corrected(original, sent, received)
        elif time is UNSET:
            original = time = received
        else:
            original = utc(time)
            time = original if sent is received else _corrected(original, sent, received)
        if sent is not given:
            force_setattr(event, "sent_at", sent)
        force_setattr(event, "received_at", received)
        force_setattr(event, "original_timestamp", original)
        force_setattr(event, "timestamp", time)
        force_setattr(event, "timestamp_ms", milliseconds(time))

    def batch(
        self, source: bytes | str | Mapping[str, Any] | Body, arrival: datetime | None = None
    ) -> Iterator[Event | Refusal]:
        """Return an iterator of an `Event` or a `Refusal` for each item of a batch body, in its order.

        The body is `{"batch": [...]}`; its `context` and `integrations` are merged into every item (what the
        item has wins), its `sentAt`, `timestamp`, `receivedAt` and `writeKey` go to the items that have none.
        `arrival` as for `event`. Raises `Refusal` for the body itself: `bad_request`, `empty_batch`, or the code of the
        key at fault.
        """
        body = source if isinstance(source, Body) else Body.read(source)
        return (self._item(body, index, arrival) for index in range(len(body.items)))

    def _item(self, body: Body, index: int, arrival: datetime | None) -> Event | Refusal:
        try:
            text = body.spliced(index)
            if text is not None:
                event = self.event(text, arrival)
                if body.agrees(event):
                    return event
            return self.event(body.source(index), arrival)
        except Refusal as refusal:
            refusal.source = body.told(index)
            return refusal


def _corrected(original: datetime, sent: datetime | None, received: datetime) -> datetime:
    return original if sent is None else received - (sent - original)


def _complete(event: Event) -> bool:
    """Tell whether the event has the ids and the name that its call type needs."""
    type_ = event.type
    if type_ == "track":
        return event.event is not None and (event.user_id is not None or event.anonymous_id is not None)
    if type_ in _NEEDS_USER:
        known = event.user_id is not None or event.anonymous_id is not None
        return known and (type_ != "group" or event.group_id is not None)
    return event.user_id is not None


def _too_long(message_id: str, limits: Limits) -> Refusal:
    message = (
        f"`messageId` has {len(message_id):,} characters, and {limits.message_id} are allowed. "
        "Give a shorter one, or none: then one is made."
    )
    return Refusal(Code.MESSAGE_ID_TOO_LONG, message, "/messageId")


def _overflow(event: Event) -> Refusal:
    for key, name in _TIMES.items():
        try:
            utc(getattr(event, name) or UNSET)
        except OverflowError:
            message = f"`{key}` is outside the years 1 to 9999 in UTC. Correct it."
            return Refusal(Code.TIMESTAMP_INVALID, message, f"/{key}")
    message = (
        "The times lead out of the years 1 to 9999 (timestamp = receivedAt - (sentAt - originalTimestamp)). "
        "Check all three."
    )
    return Refusal(Code.TIMESTAMP_INVALID, message, "/timestamp")

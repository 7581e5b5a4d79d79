"""The Segment destination: one endpoint, and a rule for each call."""

from __future__ import annotations

from typing import Any

from turnout import (
    ITEMS,
    Batch,
    Carried,
    Code,
    Config,
    Destination,
    Drop,
    Endpoint,
    Event,
    Item,
    Refusal,
    basic,
    json_body,
    rule,
)
from turnout_segment.answers import read_batch
from turnout_segment.settings import SegmentSettings

__all__ = ["Segment"]

# Its own libraries know Segment by this key of `integrations`: false keeps an event from Segment altogether.
_OF_LIBRARIES = "Segment.io"


def _address(config: Config) -> str:
    host = "events.eu1.segmentapis.com" if config.region == "EU" else "api.segment.io"
    return f"https://{host}/v1/batch"


def _compresses(config: Config) -> bool:
    return bool(config.gzip)


class Segment(Destination):
    """Segment, through its HTTP tracking API.

    A call is passed on whole: every key that it came with, also those that turnout doesn't know, with its ids, its
    `messageId`, its `integrations` and its `_metadata`. What counts for this server alone stays here: `receivedAt`,
    `projectId`, and the sender's write key. So does what says nothing: null at the root, and empty ids and names.

    Segment computes `timestamp = receivedAt - (sentAt - timestamp)` for what it gets, and calls what it got
    `originalTimestamp`. The event's own `sentAt` says when its first request was sent: with it, the time that the event
    has spent on its way would be added to its `timestamp`. Therefore it is not passed on. `timestamp` is the corrected
    one, and Segment keeps it; `originalTimestamp` goes along for a server that reads it, as turnout does. So a chain of
    two turnouts loses nothing but the stamps `sentAt` and `receivedAt` of the first request.

    Segment also answers 200 to events that it drops, without saying so. What it is documented to drop is refused here
    before, so that it has an outcome: by the checks that every event goes through, and by the limit of 32 KB. What it
    drops for other reasons (a source that is switched off, a wrong write key, its tracking plan) is seen at Segment
    alone. `delivered` says that Segment has taken the request.

    Segment drops copies of a `messageId` within about a day, so that a retry does no harm.

    The key `Segment.io` in `integrations`, by which Segment's libraries know it, counts as well: false keeps the event
    here.

    An event of a browser or a phone that has no `context.ip` may get the address that the request came from, which is
    turnout's. The gateway of a turnout that is next has `client_ip` in its source to switch that off.
    """

    name = "Segment"
    api = 1
    settings = SegmentSettings
    pure = True

    batch = Endpoint(
        "POST",
        _address,
        body=json_body({"batch": ITEMS}),
        auth=basic("write_key"),
        batch=Batch(items=2500, bytes=500_000, item_bytes=32 * 1024),
        read=read_batch,
        gzip=_compresses,
        doc="Calls of every type.",
    )

    def prepare(self, event: Event, carried: Carried | None) -> dict[str, Any]:
        """Return the message as Segment gets it; raise `Drop` where `integrations` says `Segment.io: false`."""
        if event.integrations.get(_OF_LIBRARIES) is False:
            told = f"integrations switches {_OF_LIBRARIES} off: so Segment's libraries call it."
            raise Drop(Code.INTEGRATION_DISABLED, told, f"/integrations/{_OF_LIBRARIES}")
        message = event.forwarded()
        message.pop("sentAt", None)
        return message

    @rule("track")
    def tracked(self, message: dict[str, Any]) -> Item:
        """A track call, whole."""
        return self._item(message)

    @rule("page")
    def page_viewed(self, message: dict[str, Any]) -> Item:
        """A page call, whole."""
        return self._item(message)

    @rule("screen")
    def screen_viewed(self, message: dict[str, Any]) -> Item:
        """A screen call, whole."""
        return self._item(message)

    @rule("identify")
    def identified(self, message: dict[str, Any]) -> Item:
        """An identify call, whole. Traits that came in `context.traits` alone stand at the root as well, where Segment
        looks: there alone when both are over 32 KB.
        """
        try:
            return self.batch.item(message, key=message["messageId"])
        except Refusal:
            context = message.get("context") or {}
            if context.get("traits") and context["traits"] == message.get("traits"):
                del context["traits"]
            return self._item(message)

    @rule("group")
    def grouped(self, message: dict[str, Any]) -> Item:
        """A group call, whole."""
        return self._item(message)

    @rule("alias")
    def aliased(self, message: dict[str, Any]) -> Item:
        """An alias call, whole."""
        return self._item(message)

    @rule("delete", when="forward_deletions")
    def deleted(self, message: dict[str, Any]) -> Item:
        """A delete call, whole, for a turnout that is next."""
        return self._item(message)

    def _item(self, message: dict[str, Any]) -> Item:
        """Return the item; an event that came as large as one may be goes without the stamp that it has gained."""
        try:
            return self.batch.item(message, key=message["messageId"])
        except Refusal:
            del message["originalTimestamp"]
            return self.batch.item(message, key=message["messageId"])

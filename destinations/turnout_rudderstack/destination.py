"""The RudderStack destination: one endpoint, and a rule for each call."""

from __future__ import annotations

from typing import Any

from turnout import (
    ITEMS,
    Batch,
    Carried,
    Code,
    Config,
    Destination,
    Endpoint,
    Event,
    Item,
    Refusal,
    basic,
    json_body,
    rule,
)
from turnout_rudderstack.answers import read_batch
from turnout_rudderstack.settings import RudderStackSettings

__all__ = ["RudderStack"]


def _address(config: Config) -> str:
    return f"{config.data_plane_url}/v1/batch"


def _compresses(config: Config) -> bool:
    return bool(config.gzip)


class RudderStack(Destination):
    """RudderStack, through the HTTP API of a data plane.

    A call is passed on whole: every key that it came with, also those that turnout doesn't know, with its ids, its
    `messageId`, its `integrations` and its `_metadata`. What counts for this server alone stays here: `receivedAt`,
    `projectId`, and the sender's write key. So does what says nothing: null at the root, and empty ids and names.

    RudderStack keeps a `timestamp` as it is, so the corrected one goes there, with `originalTimestamp` and `sentAt`
    beside it. It looks for the traits of an identify call in `context.traits`; they go there, and stay at the root as
    well if there is room for both.

    One event without ids fails its whole batch, and ids count without the blanks around them. Such an event is refused
    here, before it can spoil anything. If RudderStack refuses a batch all the same, it is halved until the event at
    fault stands alone.

    What RudderStack answers 200 to it has stored; what its destinations make of it later is not seen here. It drops
    copies of a `messageId` where the deployment has deduplication on. Where it has not, an event whose answer got lost
    may be there twice.
    """

    name = "RudderStack"
    api = 1
    settings = RudderStackSettings
    pure = True

    batch = Endpoint(
        "POST",
        _address,
        body=json_body({"batch": ITEMS}),
        auth=basic("write_key"),
        # The server takes 4,096,000 bytes, unpacked; the documentation says 4 MB, and 32 KB for an event.
        batch=Batch(items=10_000, bytes=4_000_000, item_bytes=32 * 1024),
        read=read_batch,
        gzip=_compresses,
        doc="Calls of every type.",
    )

    def prepare(self, event: Event, carried: Carried | None) -> dict[str, Any]:
        """Return the message as RudderStack gets it; raise `Refusal` for one whose ids are blank."""
        if not ((event.user_id or "").strip() or (event.anonymous_id or "").strip()):
            path = "/anonymousId" if event.user_id is None else "/userId"
            message = "RudderStack refuses ids of blanks alone, and with them every event of the request. Give an id."
            raise Refusal(Code.VENDOR_WOULD_REFUSE, message, path)
        return event.forwarded()

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
        """An identify call, whole, with its traits in `context.traits` too: there alone when both are over 32 KB."""
        traits = message.get("traits")
        if not traits:
            return self._item(message)
        context = message.get("context") or {}
        known = context.get("traits") or {}
        message = {**message, "context": {**context, "traits": {**known, **traits}}}
        try:
            return self.batch.item(message, key=message["messageId"])
        except Refusal:
            del message["traits"]
            return self._item(message)

    @rule("group")
    def grouped(self, message: dict[str, Any]) -> Item:
        """A group call, whole; its traits, the group's, stay at the root."""
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
        """Return the item; an event that came as large as one may be goes without the stamps that it has gained."""
        try:
            return self.batch.item(message, key=message["messageId"])
        except Refusal:
            for stamp in ("originalTimestamp", "sentAt"):
                message.pop(stamp, None)
            return self.batch.item(message, key=message["messageId"])

"""Track calls: the event, its properties, and revenue as native fields of the same event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnout import Code, Config, Destination, Item, Refusal, rule
from turnout_amplitude.call import Call
from turnout_amplitude.orders import is_order
from turnout_amplitude.properties import added_properties, query_properties
from turnout_amplitude.revenue import native_revenue
from turnout_amplitude.values import amount

__all__ = ["TrackRules", "removed_properties"]

_ALWAYS_REMOVED = ("event_id", "amplitude_event_type")
_PLACES = ("country", "language")

# HTTP V2 documentation: names that may not be ingested.
_RESERVED = frozenset(
    {
        "[Amplitude] Start Session",
        "[Amplitude] End Session",
        "[Amplitude] Revenue",
        "[Amplitude] Revenue (Verified)",
        "[Amplitude] Revenue (Unverified)",
        "[Amplitude] Merged User",
    }
)

if TYPE_CHECKING:
    _Base = Destination
else:
    _Base = object


def is_no_order(name: str) -> bool:
    """Return whether an event's name is none of an order's."""
    return not is_order(name)


class TrackRules(_Base):
    """One track call, one event."""

    removed: tuple[str, ...]
    """The properties that never go out (AMP-TRACK-06, AMP-CTX-23)."""
    query: bool
    """Whether `map_query_params` has entries."""

    @rule("track", event=is_no_order)
    def tracked(self, call: Call) -> Item:
        """Send the event under its own name, with its properties; on the server with native revenue fields.

        AMP-TRACK-01, AMP-GEN-11, AMP-GEN-12, AMP-TRACK-02 to AMP-TRACK-06, AMP-CTX-23, AMP-SESS-04. Revenue: AMP-REV-01
        to AMP-REV-08, AMP-REV-15, AMP-REV-21, AMP-REV-24. Orders have rules of their own.
        """
        event, shape = call.event, call.shape
        name, properties = event.event, event.properties
        if name in _RESERVED:
            message = f"Amplitude keeps the event name {name!r} for itself. Call the event something else."
            raise Refusal(Code.VENDOR_WOULD_REFUSE, message, "/event")
        if shape.platform != "server":
            added = added_properties(event, self.config, shape.platform)
            return call.event_item(name, {**properties, **added} if added else properties, _out_of_session(call))
        removed, native = self.removed, None
        if "revenue" in properties and (revenue := amount(properties["revenue"])):
            native, mapped = native_revenue(revenue, properties)
            removed += mapped
        if not properties.keys().isdisjoint(removed):
            properties = properties.copy()
            for key in removed:
                if key in properties:
                    del properties[key]
        if self.query:
            properties = {**properties, **query_properties(event, self.config, "event_properties")}
        return call.event_item(name, properties, native)

    @rule("track", event=is_order, platforms=("ios", "android"))
    def order_tracked(self, call: Call) -> Item:
        """Send an order of a mobile device as any other event, with its products. AMP-ORDER-09."""
        return self.tracked(call)


def _out_of_session(call: Call) -> dict[str, Any] | None:
    """Return the session -1 of a mobile event with the option `outOfSession` (AMP-SESS-04, AMP-SESS-05)."""
    if call.shape.platform != "browser" and call.options.get("outOfSession") is True:
        return {"session_id": -1}
    return None


def removed_properties(config: Config) -> tuple[str, ...]:
    """Return the properties that never go out with these settings (AMP-TRACK-06, AMP-CTX-23)."""
    return _ALWAYS_REMOVED if config.use_custom_amplitude_properties else _ALWAYS_REMOVED + _PLACES

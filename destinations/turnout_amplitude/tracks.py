"""Track calls: the event, its properties, and revenue as native fields of the same event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnout import Code, Config, Destination, Item, Refusal, rule
from turnout_amplitude.call import Call
from turnout_amplitude.orders import is_order
from turnout_amplitude.properties import query_properties
from turnout_amplitude.values import amount, text_of, whole

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
        """Send the event under its own name, with its properties and native revenue fields.

        AMP-TRACK-01, AMP-GEN-11, AMP-GEN-12, AMP-TRACK-02, AMP-TRACK-03, AMP-TRACK-04, AMP-TRACK-06, AMP-CTX-23.
        Revenue: AMP-REV-01 to AMP-REV-08, AMP-REV-15, AMP-REV-21, AMP-REV-24. Orders have rules of their own.
        """
        event = call.event
        if event.event in _RESERVED:
            message = f"Amplitude keeps the event name {event.event!r} for itself. Call the event something else."
            raise Refusal(Code.VENDOR_WOULD_REFUSE, message, "/event")
        properties = event.properties
        removed, native = self.removed, None
        if "revenue" in properties and (revenue := amount(properties["revenue"])):
            native, mapped = native_revenue(revenue, properties)
            removed += mapped
        if not properties.keys().isdisjoint(removed):
            properties = properties.copy()
            for key in removed:
                properties.pop(key, None)
        if self.query:
            properties = {**properties, **query_properties(event, self.config, "event_properties")}
        return call.event_item(event.event, properties, native)


def removed_properties(config: Config) -> tuple[str, ...]:
    """Return the properties that never go out with these settings (AMP-TRACK-06, AMP-CTX-23)."""
    return _ALWAYS_REMOVED if config.use_custom_amplitude_properties else _ALWAYS_REMOVED + _PLACES


def native_revenue(revenue: float, properties: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the native revenue fields of an event (AMP-REV-03 to -05) and the properties they replace (AMP-REV-06).

    A property whose value could not be mapped is no mapped property: it stays, as the seed says of all remaining ones.
    Amplitude takes whole quantities only, so with 2.5 of something the revenue alone is native.
    """
    native: dict[str, Any] = {"revenue": revenue}
    mapped: tuple[str, ...] = ()
    price = amount(properties.get("price"))
    if price is not None:
        given = amount(properties.get("quantity"))
        quantity = 1 if given is None else whole(given)
        if quantity is not None:
            native["price"], native["quantity"] = price, quantity
            mapped = ("price",) if given is None else ("price", "quantity")
    for field, other in (("productId", "product_id"), ("revenueType", "revenue_type")):
        text = text_of(properties.get(field)) or text_of(properties.get(other))
        if text is not None:
            native[field] = text
            mapped += (field, other)
    return native, mapped

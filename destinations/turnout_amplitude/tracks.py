"""Track calls: the event, its properties, and revenue as native fields of the same event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnout import Config, Destination, Item, rule
from turnout_amplitude.call import Call
from turnout_amplitude.properties import query_properties
from turnout_amplitude.values import amount, text_of, whole

__all__ = ["TrackRules", "removed_properties"]

_ALWAYS_REMOVED = ("event_id", "amplitude_event_type")
_PLACES = ("country", "language")
_MAPPED = ("price", "quantity", "productId", "product_id", "revenueType", "revenue_type")

if TYPE_CHECKING:
    _Base = Destination
else:
    _Base = object


class TrackRules(_Base):
    """One track call, one event."""

    removed: tuple[str, ...]
    """The properties that never go out (AMP-TRACK-06, AMP-CTX-23)."""

    @rule("track")
    def tracked(self, call: Call) -> Item | None:
        """Send the event under its own name, with its properties and native revenue fields.

        AMP-TRACK-01, AMP-GEN-11, AMP-GEN-12, AMP-TRACK-02, AMP-TRACK-03, AMP-TRACK-04, AMP-TRACK-06, AMP-CTX-23.
        Revenue: AMP-REV-02 to AMP-REV-08. Orders have rules of their own.
        """
        if call.is_order:
            return None
        event, config = call.event, self.config
        properties = event.properties
        own: dict[str, Any] = {"event_type": event.event}
        removed = self.removed
        revenue = properties.get("revenue")
        if revenue is not None and (revenue := amount(revenue)):
            own.update(native_revenue(revenue, properties))
            removed += _MAPPED
        if not properties.keys().isdisjoint(removed):
            properties = properties.copy()
            for key in removed:
                if key in properties:
                    del properties[key]
        if config.map_query_params:
            properties = {**properties, **query_properties(event, config, "event_properties")}
        if properties:
            own["event_properties"] = properties
        return call.event_item(own)


def removed_properties(config: Config) -> tuple[str, ...]:
    """Return the properties that never go out with these settings (AMP-TRACK-06, AMP-CTX-23)."""
    return _ALWAYS_REMOVED if config.use_custom_amplitude_properties else _ALWAYS_REMOVED + _PLACES


def native_revenue(revenue: float, properties: dict[str, Any]) -> dict[str, Any]:
    """Return the native revenue fields of an event (AMP-REV-03, AMP-REV-04, AMP-REV-05)."""
    native: dict[str, Any] = {"revenue": revenue}
    price = properties.get("price")
    if price is not None and (price := amount(price)) is not None:
        quantity = amount(properties.get("quantity"))
        native["price"] = price
        native["quantity"] = 1 if quantity is None else whole(quantity)
    product_id = text_of(properties.get("productId")) or text_of(properties.get("product_id"))
    if product_id is not None:
        native["productId"] = product_id
    kind = text_of(properties.get("revenueType")) or text_of(properties.get("revenue_type"))
    if kind is not None:
        native["revenueType"] = kind
    return native

"""Track calls: the event, its properties, and revenue as native fields of the same event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnout import Destination, Item, rule
from turnout_amplitude.call import Call
from turnout_amplitude.orders import is_order
from turnout_amplitude.properties import about_user, query_properties
from turnout_amplitude.values import amount, first_text

__all__ = ["TrackRules"]

_ALWAYS_REMOVED = ("event_id", "amplitude_event_type")
_PLACES = ("country", "language")
_MAPPED = ("price", "quantity", "productId", "product_id", "revenueType", "revenue_type")

if TYPE_CHECKING:
    _Base = Destination
else:
    _Base = object


class TrackRules(_Base):
    """One track call, one event."""

    @rule("track")
    def tracked(self, call: Call) -> Item | None:
        """Send the event under its own name, with its properties and native revenue fields.

        AMP-TRACK-01, AMP-GEN-11, AMP-GEN-12, AMP-TRACK-02, AMP-TRACK-03, AMP-TRACK-04, AMP-TRACK-06, AMP-CTX-23.
        Revenue: AMP-REV-02 to AMP-REV-08. Orders have rules of their own.
        """
        event = call.event
        name = event.event or ""
        if is_order(name):
            return None
        properties = event.properties
        removed = [key for key in self._removed() if key in properties]
        native: dict[str, Any] = {}
        if "revenue" in properties and (revenue := amount(properties["revenue"])):
            native = native_revenue(revenue, properties)
            removed += [key for key in _MAPPED if key in properties]
        if removed:
            properties = {key: value for key, value in properties.items() if key not in removed}
        if self.config.map_query_params:
            properties = {**properties, **query_properties(event, self.config, "event_properties")}
        call.user_properties = about_user(event, self.config)
        return call.event_item(name, properties, **native)

    def _removed(self) -> tuple[str, ...]:
        if self.config.use_custom_amplitude_properties:
            return _ALWAYS_REMOVED
        return _ALWAYS_REMOVED + _PLACES


def native_revenue(revenue: float, properties: dict[str, Any]) -> dict[str, Any]:
    """Return the native revenue fields of an event (AMP-REV-03, AMP-REV-04, AMP-REV-05)."""
    native: dict[str, Any] = {"revenue": revenue}
    price = amount(properties.get("price"))
    if price is not None:
        quantity = amount(properties.get("quantity"))
        native["price"] = price
        native["quantity"] = 1 if quantity is None else quantity
    for field, spellings in (("productId", ("productId", "product_id")), ("revenueType", ("revenueType", "revenue_type"))):
        text = first_text(properties, *spellings)
        if text is not None:
            native[field] = text
    return native

"""Revenue of track calls: native fields on the server, a second event on devices (section 11 of the rule book).

Orders have rules of their own; see `orders.py`. Amplitude multiplies price and quantity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnout import Destination, Event, Item, rule
from turnout_amplitude.call import Call
from turnout_amplitude.orders import is_order
from turnout_amplitude.values import amount, text_of, whole

__all__ = ["RevenueRules", "native_revenue", "price_logged"]

_DEVICES = ("browser", "ios", "android")

# The keys that name the product and the kind of revenue, by platform; where there are several, the first present one.
_PRODUCT_IDS = {"browser": ("product_id", "productId"), "ios": ("product_id", "productId"), "android": ("productId",)}
_REVENUE_TYPES = {
    "browser": ("revenueType", "revenue_type"),
    "ios": ("revenue_type", "revenueType"),
    "android": ("revenueType",),
}

if TYPE_CHECKING:
    _Base = Destination
else:
    _Base = object


def native_revenue(revenue: float, properties: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the native revenue fields of an event (AMP-REV-03 to -05) and the properties they replace (AMP-REV-06).

    A property whose value could not be mapped is no mapped property: it stays, as the seed says of all remaining ones.
    Amplitude takes whole quantities only, so with 2.5 of something the revenue alone is native.
    """
    native: dict[str, Any] = {"revenue": revenue}
    mapped: tuple[str, ...] = ()
    if (price := amount(properties.get("price"))) is not None:
        given = amount(properties.get("quantity"))
        quantity = 1 if given is None else whole(given)
        if quantity is not None:
            native["price"], native["quantity"] = price, quantity
            mapped = ("price",) if given is None else ("price", "quantity")
    if "productId" in properties or "product_id" in properties:
        text = text_of(properties.get("productId")) or text_of(properties.get("product_id"))
        if text is not None:
            native["productId"] = text
            mapped += ("productId", "product_id")
    if "revenueType" in properties or "revenue_type" in properties:
        text = text_of(properties.get("revenueType")) or text_of(properties.get("revenue_type"))
        if text is not None:
            native["revenueType"] = text
            mapped += ("revenueType", "revenue_type")
    return native, mapped


class RevenueRules(_Base):
    """The revenue event of devices."""

    @rule("track", platforms=_DEVICES)
    def revenue_logged(self, call: Call) -> Item | None:
        """Send a second event `revenue_amount` with the amount, the product and receipts.

        With `use_log_revenue_v2` it also has the revenue's type and the call's other properties. A browser's order has
        its revenue on its own events instead. AMP-REV-01, AMP-REV-02, AMP-REV-08 to AMP-REV-23.
        """
        properties, platform = call.event.properties, call.shape.platform
        price = price_logged(call.event, platform)
        if price is None:
            return None
        if not self.config.use_log_revenue_v2:
            return call.revenue_item(_first_form(properties, platform, *price))
        return call.revenue_item(_second_form(properties, platform, *price))


def price_logged(event: Event, platform: str) -> tuple[str, float] | None:
    """Return the price with the property that it comes from, None when the call has no revenue event.

    Revenue (on mobile also `total`, and also a zero) is what makes a revenue event; then `price` counts first, so
    the order is price, revenue, and on mobile total (AMP-REV-02, AMP-REV-08, AMP-REV-14, AMP-REV-22).
    """
    properties = event.properties
    if platform == "browser" and is_order(event.event or ""):
        return None
    names = ("price", "revenue") if platform == "browser" else ("price", "revenue", "total")
    amounts = {name: found for name in names if (found := amount(properties.get(name))) is not None}
    if platform == "browser" and not amounts.get("revenue"):
        return None
    if "revenue" not in amounts and "total" not in amounts:
        return None
    return next(iter(amounts.items()))


def _first_form(properties: dict[str, Any], platform: str, source: str, price: float) -> dict[str, Any]:
    """Return the properties of the first form: amount, product and receipts, nothing else (AMP-REV-17 to -20).

    A quantity that is given stays, also when revenue stands in for the price.
    """
    quantity = amount(properties.get("quantity"))
    made: dict[str, Any] = {"$price": price, "$quantity": 1 if quantity is None else quantity}
    made |= _named(properties, {"$productId": _PRODUCT_IDS[platform]})[0]
    if platform != "browser":
        made |= _named(properties, {"$receipt": ("receipt",)})[0]
    if platform == "android":
        made |= _named(properties, {"$receiptSig": ("receiptSignature",)})[0]
    return made


def _second_form(properties: dict[str, Any], platform: str, source: str, price: float) -> dict[str, Any]:
    """Return the properties of the second form, with what the call has beside them (AMP-REV-10, -11, -16).

    A property that one of the special ones was taken from does not go out again; one that was not (`revenue`
    beside a `price`, a quantity that was set to 1) is an ordinary property.
    """
    made: dict[str, Any] = {"$price": price, "$quantity": 1}
    mapped = {source}
    quantity = amount(properties.get("quantity")) if source == "price" else None
    if quantity is not None:
        made["$quantity"] = quantity
        mapped.add("quantity")
    wanted = {"$productId": _PRODUCT_IDS[platform], "$revenueType": _REVENUE_TYPES[platform]} | _receipt(
        properties, platform
    )
    named, used = _named(properties, wanted)
    rest = {key: value for key, value in properties.items() if key not in mapped and key not in used}
    return rest | made | named


def _receipt(properties: dict[str, Any], platform: str) -> dict[str, tuple[str, ...]]:
    """Return which properties are receipts: never on browsers, on Android only both together (AMP-REV-15)."""
    if platform == "ios":
        return {"$receipt": ("receipt",)}
    both = text_of(properties.get("receipt")) and text_of(properties.get("receiptSignature"))
    return {"$receipt": ("receipt",), "$receiptSig": ("receiptSignature",)} if platform == "android" and both else {}


def _named(properties: dict[str, Any], wanted: dict[str, tuple[str, ...]]) -> tuple[dict[str, Any], set[str]]:
    """Return each special property that one of its names gives a text, and the names that are used up so."""
    made: dict[str, Any] = {}
    used: set[str] = set()
    for special, names in wanted.items():
        text = next((found for name in names if (found := text_of(properties.get(name))) is not None), None)
        if text is not None:
            made[special] = text
            used.update(names)
    return made, used

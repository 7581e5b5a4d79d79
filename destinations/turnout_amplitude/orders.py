"""Order Completed: the order and its products, and which of them carry the revenue."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from turnout import Destination, Event, Item, rule
from turnout_amplitude.call import Call
from turnout_amplitude.properties import added_properties, appended_properties
from turnout_amplitude.values import amount, first_text, whole

__all__ = ["OrderRules", "is_order", "products_of"]

_ORDER = re.compile(r"order[ _]?completed|completed[ _]?order", re.IGNORECASE)
_SPLIT = ("server", "browser")
_KEPT = ("sku", "name", "price", "category")

if TYPE_CHECKING:
    _Base = Destination
else:
    _Base = object


def is_order(name: str) -> bool:
    """Return whether an event's name is one of an order's: `Order Completed`, `completed_order`, … (AMP-ORDER-01)."""
    return _ORDER.fullmatch(name) is not None


class OrderRules(_Base):
    """An order becomes one event for the order and one for each product, or one event in all.

    So it is on the server and on browsers, with the revenue in native fields on both (AMP-ORDER-05). Mobile devices
    send an order as any other event; see `tracks.py`.
    """

    adds: bool
    """Whether a setting adds properties to events."""

    @rule("track", when="not track_products_once", event=is_order, platforms=_SPLIT)
    def ordered(self, call: Call) -> Item:
        """Send the order with all its properties except `products`.

        It carries the order's revenue, unless each product does. AMP-ORDER-01, AMP-ORDER-02, AMP-ORDER-04,
        AMP-ORDER-06, AMP-ORDER-10, AMP-ORDER-12.
        """
        order = call.event.properties
        properties, products = order.copy(), products_of(call.event)
        properties.pop("products", None)
        split = self.config.track_revenue_per_product and products
        return self._order(call, properties, {} if split else _order_revenue(order), bool(products))

    @rule("track", when="not track_products_once", event=is_order, platforms=_SPLIT)
    def product_purchased(self, call: Call) -> list[Item]:
        """Send `Product Purchased` for each product, with all its keys; null and other non-objects are skipped.

        With `track_revenue_per_product` each carries its own revenue. AMP-ORDER-03, AMP-ORDER-05, AMP-ORDER-07,
        AMP-ORDER-08, AMP-ORDER-13, AMP-ORDER-14.
        """
        products, order = products_of(call.event), call.event.properties
        shown = products
        if call.shape.platform == "browser" and self.config.append_fields_to_event_props:
            appended = appended_properties(call.event, self.config)  # AMP-TRACK-05: on every logged event
            shown = [{**one, **appended} for one in products]
        if not self.config.track_revenue_per_product:
            return call.further_items("Product Purchased", shown)
        return call.further_items("Product Purchased", shown, [_product_revenue(one, order) for one in products])

    @rule("track", when="track_products_once", event=is_order, platforms=_SPLIT)
    def ordered_once(self, call: Call) -> Item:
        """Send the order as one event that keeps its products, each reduced to a few keys.

        It carries the revenue, unless `track_revenue_per_product` is on as well. AMP-ORDER-11, AMP-ORDER-10.
        """
        properties = dict(call.event.properties)
        if isinstance(properties.get("products"), list):
            properties["products"] = [_reduced(product) for product in products_of(call.event)]
        else:
            properties.pop("products", None)
        none = self.config.track_revenue_per_product
        return self._order(call, properties, {} if none else _order_revenue(call.event.properties))

    def _order(self, call: Call, properties: dict[str, Any], native: dict[str, Any], several: bool = False) -> Item:
        event = call.event
        if self.adds:
            properties |= added_properties(event, self.config, call.shape.platform)
        return call.event_item(event.event, properties, native, several)


def products_of(event: Event) -> list[dict[str, Any]]:
    """Return the products of an order that are objects."""
    products = event.properties.get("products")
    return [product for product in products if product.__class__ is dict] if isinstance(products, list) else []


def _order_revenue(properties: dict[str, Any]) -> dict[str, Any]:
    """Return revenue, else total, with the order's type or `Purchase` (AMP-ORDER-12, AMP-ORDER-06)."""
    revenue = amount(properties.get("revenue")) or amount(properties.get("total"))
    if not revenue:
        return {}
    return {
        "revenue": revenue,
        "revenueType": first_text(properties, "revenueType", "revenue_type") or "Purchase",
    }


def _product_revenue(product: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
    """Return price, quantity and their product; nothing without a price or a quantity (AMP-ORDER-05, -07, -14)."""
    price, quantity = amount(product.get("price")), amount(product.get("quantity"))
    if price is None or not quantity or (revenue := _multiplied(price, quantity)) is None:
        return {}
    native: dict[str, Any] = {"revenue": revenue}
    if (pieces := whole(quantity)) is not None:  # Amplitude takes whole quantities only
        native.update(price=price, quantity=pieces)
    product_id = first_text(product, "productId", "product_id")
    if product_id is not None:
        native["productId"] = product_id
    kinds = (first_text(one, "revenueType", "revenue_type") for one in (order, product))
    native["revenueType"] = next((kind for kind in kinds if kind), "Purchase")
    return native


def _multiplied(price: float, quantity: float) -> float | None:
    """Return price x quantity, or None when that is more than a double can hold."""
    try:
        revenue = price * quantity
        return revenue if math.isfinite(revenue) else None
    except OverflowError:
        return None


def _reduced(product: dict[str, Any]) -> dict[str, Any]:
    """Return a product with productId, sku, name, price, quantity (by default 1) and category only."""
    kept = {key: product[key] for key in _KEPT if product.get(key) is not None}
    product_id = next((product[key] for key in ("productId", "product_id") if product.get(key) is not None), None)
    if product_id is not None:
        kept["productId"] = product_id
    quantity = product.get("quantity")
    kept["quantity"] = 1 if quantity is None else quantity
    return kept

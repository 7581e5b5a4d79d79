"""What the values of a specimen look like: a form for each place of an event, and the calls that Segment's spec names.

In a text `{n}` stands for a number that no other value of the event has. An int or float stands for such a number
itself; true and false stay what they are.
"""

from __future__ import annotations

from typing import Any

__all__ = ["CALLS", "FILLED", "FORMS", "LIBRARIES", "OPTIONS"]

_UUID = "00000000-0000-4000-8000-00000{n:07}"
_ADDRESS = {
    "street": "{n} Example Street",
    "city": "City {n}",
    "region": "Region {n}",
    "state": "State {n}",
    "postalCode": "{n:05}",
    "country": "Country {n}",
}
_PERSON = {
    "id": "person-{n}",
    "email": "person{n}@example.com",
    "name": "Person {n}",
    "firstName": "First {n}",
    "lastName": "Last {n}",
    "username": "name{n}",
    "phone": "+46 70 000 {n}",
    "title": "Title {n}",
    "gender": "gender {n}",
    "description": "Description {n}",
    "website": "https://person.example.com/{n}",
    "avatar": "https://img.example.com/person/{n}.png",
    "age": 0,
    "birthday": "1980-01-01T00:00:00.{n:03}Z",
    "createdAt": "2025-05-06T07:08:09.{n:03}Z",
    "address": _ADDRESS,
    "company": {
        "id": "company-{n}",
        "name": "Company {n}",
        "industry": "Industry {n}",
        "employee_count": 0,
        "plan": "company plan {n}",
    },
    "logins": 0,
    "score": 0.5,
    "subscribed": True,
    "trial": False,
    "interests": ["interest {n}", "interest {n}"],
}
_GROUP = {
    "id": "group-trait-{n}",
    "name": "Group {n}",
    "email": "group{n}@example.com",
    "phone": "+46 8 000 {n}",
    "description": "Description {n}",
    "website": "https://group.example.com/{n}",
    "avatar": "https://img.example.com/group/{n}.png",
    "industry": "Industry {n}",
    "plan": "plan {n}",
    "employees": 0,
    "createdAt": "2024-03-04T05:06:07.{n:03}Z",
    "address": _ADDRESS,
    "active": True,
}
_PRODUCT = {
    "product_id": "product-{n}",
    "sku": "SKU-{n}",
    "category": "Category {n}",
    "name": "Product {n}",
    "brand": "Brand {n}",
    "variant": "variant {n}",
    "coupon": "COUPON{n}",
    "url": "https://shop.example.com/product/{n}",
    "image_url": "https://img.example.com/product/{n}.png",
    "price": 0.5,
    "quantity": 0,
    "position": 0,
}
_PRODUCTS = {"products": [_PRODUCT, _PRODUCT]}
_MONEY = {"revenue": 0.5, "shipping": 0.5, "tax": 0.5, "discount": 0.5, "coupon": "COUPON{n}", "currency": "EUR"}
_ORDER = {"order_id": "order-{n}", "affiliation": "Shop {n}", "total": 0.5, **_MONEY}
_SHARE = {"share_via": "channel {n}", "share_message": "Message {n}", "recipient": "friend{n}@example.com"}
_STEP = {"checkout_id": "checkout-{n}", "step": 0, "shipping_method": "Method {n}", "payment_method": "Card {n}"}
_COUPON = {"order_id": "order-{n}", "cart_id": "cart-{n}", "coupon_id": "coupon-{n}"}
_NAMED_COUPON = {**_COUPON, "coupon_name": "Coupon {n}"}
_PROMOTION = {"promotion_id": "promotion-{n}", "creative": "banner {n}", "name": "Promotion {n}", "position": "top {n}"}
_FILTER = {"type": "type {n}", "value": "value {n}"}
_WISH = {"wishlist_id": "wishlist-{n}", "wishlist_name": "Wishlist {n}", **_PRODUCT}
_BUILD = {"version": "1.{n}", "build": "{n}"}
_PUSH = {"name": "Campaign {n}", "medium": "push {n}", "content": "Content {n}", "source": "Source {n}"}
_LIST = {"list_id": "list-{n}", "category": "Category {n}"}

CALLS: dict[str, dict[str, Any]] = {
    "Products Searched": {"query": "query {n}"},
    "Product List Viewed": {**_LIST, **_PRODUCTS},
    "Product List Filtered": {**_LIST, "filters": [_FILTER, _FILTER], "sorts": [_FILTER], **_PRODUCTS},
    "Promotion Viewed": _PROMOTION,
    "Promotion Clicked": _PROMOTION,
    "Product Clicked": _PRODUCT,
    "Product Viewed": {**_PRODUCT, "currency": "EUR", "value": 0.5},
    "Product Added": {"cart_id": "cart-{n}", **_PRODUCT},
    "Product Removed": {"cart_id": "cart-{n}", **_PRODUCT},
    "Cart Viewed": {"cart_id": "cart-{n}", **_PRODUCTS},
    "Checkout Started": {"order_id": "order-{n}", "affiliation": "Shop {n}", "value": 0.5, **_MONEY, **_PRODUCTS},
    "Checkout Step Viewed": _STEP,
    "Checkout Step Completed": _STEP,
    "Payment Info Entered": {"order_id": "order-{n}", **_STEP},
    "Order Completed": {"checkout_id": "checkout-{n}", "subtotal": 0.5, **_ORDER, **_PRODUCTS},
    "Order Updated": {**_ORDER, **_PRODUCTS},
    "Order Cancelled": {**_ORDER, **_PRODUCTS},
    "Order Refunded": {"order_id": "order-{n}", "total": 0.5, "currency": "EUR", **_PRODUCTS},
    "Coupon Entered": _COUPON,
    "Coupon Applied": {**_NAMED_COUPON, "discount": 0.5},
    "Coupon Removed": {**_NAMED_COUPON, "discount": 0.5},
    "Coupon Denied": {**_NAMED_COUPON, "reason": "reason {n}"},
    "Product Added to Wishlist": _WISH,
    "Product Removed from Wishlist": _WISH,
    "Wishlist Product Added to Cart": {**_WISH, "cart_id": "cart-{n}"},
    "Product Shared": {**_SHARE, **_PRODUCT},
    "Cart Shared": {**_SHARE, "cart_id": "cart-{n}", "products": [{"product_id": "product-{n}"}]},
    "Product Reviewed": {
        "product_id": "product-{n}",
        "review_id": "review-{n}",
        "review_body": "Review {n}",
        "rating": "{n}",
    },
    "Application Installed": _BUILD,
    "Application Opened": {
        "from_background": True,
        "url": "app://open/{n}",
        "referring_application": "app {n}",
        **_BUILD,
    },
    "Application Updated": {"previous_version": "0.{n}", "previous_build": "{n}", **_BUILD},
    "Install Attributed": {"provider": "Provider {n}", "campaign": {**_PUSH, "ad_group": "Group {n}"}},
    "Push Notification Tapped": {"action": "Action {n}", "campaign": _PUSH},
    "Deep Link Opened": {"provider": "Provider {n}", "url": "app://link/{n}"},
}
"""Track calls of Segment's spec, e-commerce and mobile, each with its properties."""

OPTIONS: dict[str, Any] = {
    "session_id": 0,
    "event_id": 0,
    "event_type": "type {n}",
    "groups": {"company": "group {n}", "sport": ["sport {n}", "sport {n}"]},
    "outOfSession": True,
    "paying": "paying {n}",
    "start_version": "1.{n}",
}
"""Options for one destination below `integrations`, as libraries send them."""

_TRACKED = {
    "revenue": 0.5,
    "value": 0.5,
    "currency": "EUR",
    "plan": "plan {n}",
    "receipt": "receipt {n}",
    "receiptSignature": "signature {n}",
    "revenueType": "type {n}",
    "seats": 0,
    "beta": True,
    "archived": False,
    "tags": ["tag {n}", "tag {n}", "tag {n}"],
    "country": "Country {n}",
    "language": "language {n}",
    "experiment": {"name": "Experiment {n}", "arm": "arm {n}"},
    **_PRODUCT,
}
_SEEN = {
    "name": "Property name {n}",
    "path": "/property/{n}",
    "referrer": "https://referrer.example.org/property/{n}",
    "search": "?property={n}",
    "title": "Property title {n}",
    "url": "https://www.example.com/property/{n}",
    "keywords": ["keyword {n}", "keyword {n}"],
    "country": "Country {n}",
    "language": "language {n}",
    "columns": 0,
    "dark": True,
}
_QUERY = (
    "?utm_source=source{n}&utm_medium=medium{n}&utm_campaign=campaign{n}"
    "&utm_term=term{n}&utm_content=content{n}&gclid=click{n}"
)
_AGENT = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{n}.0 Safari/537"
)

FORMS: dict[str, Any] = {
    "/messageId": "message-{n}",
    "/userId": "user-{n}",
    "/anonymousId": _UUID,
    "/groupId": "group-{n}",
    "/previousId": "previous-{n}",
    "/event": "Report {n} Exported",
    "/name": "Name {n}",
    "/category": "Category {n}",
    "/version": "2.{n}",
    "/integrations": {"All": True},
    "/_metadata": {"bundled": ["Segment.io"], "unbundled": ["Elsewhere"], "nodeVersion": "22.{n}"},
    "/context/active": True,
    "/context/direct": True,
    "/context/ip": "203.0.113.{small}",
    "/context/locale": "sv-SE-{n}",
    "/context/timezone": "Europe/Example_{n}",
    "/context/userAgent": _AGENT,
    "/context/app/version": "3.{n}.1",
    "/context/app/namespace": "com.example.app{n}",
    "/context/device/id": _UUID,
    "/context/device/advertisingId": _UUID,
    "/context/device/idfa": _UUID,
    "/context/device/adTrackingEnabled": True,
    "/context/library/name": "analytics-example",
    "/context/library/version": "4.{n}.2",
    "/context/location/latitude": "latitude",
    "/context/location/longitude": "longitude",
    "/context/location/speed": 0.5,
    "/context/network/bluetooth": False,
    "/context/network/cellular": True,
    "/context/network/wifi": False,
    "/context/os/version": "18.{n}",
    "/context/page/path": "/page/{n}",
    "/context/page/referrer": "https://referrer.example.org/page/{n}",
    "/context/page/search": _QUERY,
    "/context/page/url": "https://www.example.com/page/{n}?amp_device_id=device{n}",
    "/context/referrer/url": "https://ads.example.org/{n}",
    "/context/referrer/link": "https://ads.example.org/link/{n}",
    "/context/screen/density": 0.5,
    "/context/userAgentData/mobile": False,
    "/context/userAgentData/wow64": True,
    "/context/traits": _PERSON,
    "/context/protocols": {"sourceId": "source-{n}", "violations": [{"path": "path {n}"}]},
    "/context/consent/categoryPreferences": {"Advertising": True, "Analytics": False},
    "/context/sessionId": "{n}",
}
"""The forms of what the schemas leave open, by JSON Pointer; anything else is `<key> {n}`."""

FILLED: dict[str, Any] = {
    "track/properties": _TRACKED,
    "page/properties": _SEEN,
    "screen/properties": _SEEN,
    "identify/traits": _PERSON,
    "group/traits": _GROUP,
}
"""The objects that depend on the call: `<call type>/<key>`."""

_DEVICE = ("app", "device", "ip", "library", "locale", "location", "network", "os", "screen", "timezone", "traits")
LIBRARIES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "browser": (
        "analytics.js",
        {},
        ("campaign", "ip", "library", "locale", "page", "timezone", "userAgent", "userAgentData"),
    ),
    "ios": (
        "analytics-ios",
        {"os": {"name": "iOS"}, "device": {"manufacturer": "Apple", "type": "ios"}},
        _DEVICE,
    ),
    "android": (
        "analytics-android",
        {"os": {"name": "Android"}, "device": {"type": "android"}},
        (*_DEVICE, "userAgent"),
    ),
    "server": ("analytics-python", {}, ("library",)),
}
"""For each platform its library's name, what its context says for sure, and the keys of context that it fills."""

"""The six calls and an order, with rudder-sdk-python."""

import os

from rudderstack.analytics.client import Client

analytics = Client(os.environ["WRITE_KEY"], host=os.environ["GATEWAY"])

analytics.identify("user-211", {"plan": "plan-212"}, anonymous_id="anon-213")
analytics.group("user-211", "group-214", {"kind": "kind-215", "label": "label-216"})
analytics.page("user-211", "Shop-217", "Cart-218", {"url": "https://shop.example/219"})
analytics.screen("user-211", "App-220", "Scan-221", {"zoom": 222})
analytics.track("user-211", "Report Exported", {"format": "pdf-223"}, anonymous_id="anon-213")
analytics.track(
    "user-211",
    "Order Completed",
    {
        "order_id": "order-224",
        "revenue": 225.5,
        "products": [
            {"product_id": "sku-226", "price": 22.7, "quantity": 228},
            {"product_id": "sku-229", "price": 23.1, "quantity": 232},
        ],
    },
)
analytics.alias("anon-233", "user-211")

analytics.shutdown()  # sends what is still waiting

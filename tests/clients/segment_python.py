"""The six calls and an order, with segment-analytics-python."""

import os

from segment.analytics import Client

analytics = Client(os.environ["WRITE_KEY"], host=os.environ["GATEWAY"])

analytics.identify("user-11", {"plan": "plan-12"}, anonymous_id="anon-13")
analytics.group("user-11", "group-14", {"kind": "kind-15", "label": "label-16"})
analytics.page("user-11", "Shop-17", "Cart-18", {"url": "https://shop.example/19"})
analytics.screen("user-11", "App-20", "Scan-21", {"zoom": 22})
analytics.track("user-11", "Report Exported", {"format": "pdf-23"}, anonymous_id="anon-13")
analytics.track(
    "user-11",
    "Order Completed",
    {
        "order_id": "order-24",
        "revenue": 25.5,
        "products": [
            {"product_id": "sku-26", "price": 2.7, "quantity": 28},
            {"product_id": "sku-29", "price": 3.1, "quantity": 32},
        ],
    },
)
analytics.alias("anon-33", "user-11")

analytics.shutdown()  # sends what is still waiting

"""Print what the real segment-analytics-python client sends for visits to a shop, one batch body a line.

    python examples/capture.py > captured.jsonl

A catcher on loopback stands in for the tracking API and keeps every body byte for byte; `turnout` expands
such lines into their events. The first lines of `examples/events.jsonl` were made so, once, with client
2.4.0. The lines after them are single events, written by hand in the shapes of the browser, iOS, Android and
Node libraries. Every person, shop and address in here is invented.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from segment.analytics.client import Client

__all__ = ["Catcher", "capture", "main", "visit"]

MAREN = {"user_id": "usr_48213", "anonymous_id": "5f0c7a1e-6a3b-4c1d-9e58-2f1d4b7a9c03"}
TOMAS = {"user_id": "usr_51907", "anonymous_id": "c2b96d04-18f7-4be2-8a6d-7d30e5f1a846"}


class Catcher(ThreadingHTTPServer):
    """A tracking API on a free loopback port that says yes to everything; `bodies` holds what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Catch)
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        """The address to give to a client as its host."""
        return f"http://127.0.0.1:{self.server_port}"


class _Catch(BaseHTTPRequestHandler):
    server: Catcher

    def do_POST(self) -> None:  # the name is http.server's
        """Keep the body and answer as the tracking API does."""
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        answer = b'{"success": true}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay silent about what went well."""


@contextmanager
def _serving() -> Iterator[Catcher]:
    with Catcher() as catcher:
        thread = threading.Thread(target=catcher.serve_forever, daemon=True)
        thread.start()
        try:
            yield catcher
        finally:
            catcher.shutdown()
            thread.join()


def capture() -> list[bytes]:
    """Return the batch bodies, in the order in which they were sent; each scene below is one batch."""
    with _serving() as catcher:
        visit(Client("example-write-key", host=catcher.url, max_retries=0))
        return catcher.bodies


def visit(client: Client) -> None:
    """Send everything that happens in the shop, a batch for each scene, and wait until it has been sent."""
    for scene in SCENES:
        scene(client)
        client.flush()
    client.join()


def _visit() -> dict[str, Any]:
    """A context as a shop's server copies it from a request; new each time, as the client writes into it."""
    return {
        "ip": "203.0.113.24",
        "locale": "nb-NO",
        "timezone": "Europe/Oslo",
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
        "campaign": {"name": "autumn-rain", "source": "newsletter", "medium": "email", "content": "hero"},
    }


def _sign_up(client: Client) -> None:
    client.identify(**MAREN, traits=MAREN_TRAITS, context=_visit())
    client.page(**MAREN, category="Catalogue", name="Rain Jackets", properties=RAIN_JACKETS, context=_visit())


def _shop(client: Client) -> None:
    client.track(**MAREN, event="Product Viewed", properties=JACKET, context=_visit())
    client.track(**MAREN, event="Product Added", properties={"cart_id": "cart_7731", **JACKET}, context=_visit())


def _order(client: Client) -> None:
    client.track(**MAREN, event="Order Completed", properties=ORDER, context=_visit())


def _work(client: Client) -> None:
    client.identify(**TOMAS, traits={"name": "Tomas Brekkhus", "email": "tomas@example.org", "logins": 1})
    client.group(**TOMAS, group_id="org_2205", traits=ORGANISATION)
    client.screen(**TOMAS, category="Account", name="Team Members", properties={"members": 14, "pending": None})
    client.alias(previous_id="lead_90417", user_id="usr_51907")


MAREN_TRAITS = {
    "firstName": "Maren",
    "lastName": "Solvikhaug",
    "email": "maren.solvikhaug@example.com",
    "phone": "+1-202-555-0143",
    "createdAt": datetime(2024, 3, 8, 9, 41, 17, tzinfo=UTC),
    "address": {"street": "Havtåkeveien 7", "city": "Bergen", "postalCode": "5000", "country": "Norway"},
    "newsletter": True,
    "logins": 1,
    "sizes": {"jacket": "M", "boots": 39},
}
RAIN_JACKETS = {
    "url": "https://shop.example.com/catalogue/rain-jackets?sort=new",
    "path": "/catalogue/rain-jackets",
    "referrer": "https://mail.example.net/",
    "search": "?sort=new",
    "title": "Rain jackets | Regnbod",
}
JACKET = {
    "product_id": "prd_1180",
    "sku": "RJ-1180-M-PETROL",
    "category": "Rain Jackets",
    "name": "Stormfugl Shell",
    "brand": "Regnbod",
    "variant": "petrol",
    "price": Decimal("189.00"),
    "quantity": 1,
    "currency": "EUR",
    "url": "https://shop.example.com/p/1180",
}
BOOTS = {
    "product_id": "prd_2043",
    "sku": "RB-2043-39",
    "category": "Boots",
    "name": "Tidevann Boot",
    "brand": "Sjøbris",
    "price": Decimal("74.50"),
    "quantity": 2,
}
SOCKS = {
    "product_id": "prd_3309",
    "sku": "WS-3309-39",
    "category": "Socks",
    "name": "Lam Wool Socks, grey & green",
    "price": Decimal("12.90"),
    "quantity": 3,
    "coupon": "THREE4TWO",
}
ORDER = {
    "checkout_id": "chk_60121",
    "order_id": "ord_100482",
    "affiliation": "Web shop",
    "subtotal": Decimal("376.70"),
    "total": Decimal("366.60"),
    "revenue": Decimal("351.70"),
    "shipping": Decimal("9.90"),
    "tax": Decimal("5.00"),
    "discount": Decimal("25.00"),
    "coupon": "AUTUMN25",
    "currency": "EUR",
    "products": [JACKET, BOOTS, SOCKS],
}
ORGANISATION = {
    "kind": "company",
    "name": "Brekkhus Kennels",
    "industry": "Animal care",
    "employees": 14,
    "plan": "team",
}
SCENES: tuple[Callable[[Client], None], ...] = (_sign_up, _shop, _order, _work)


def main() -> None:
    """Write the captured bodies to standard output, one a line."""
    for body in capture():
        sys.stdout.buffer.write(body + b"\n")


if __name__ == "__main__":
    main()

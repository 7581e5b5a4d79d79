"""Write 10,000 distinct track events or five-product orders as JSON lines, the same ones for the same seed.

    python benchmarks/generate.py track > tracks.jsonl
    python benchmarks/generate.py order --count 500 --seed 7 > orders.jsonl

Sizes and fields follow the events that the reference figures were measured with: about 1.56 KB a track and
about 2.82 KB an order (compact JSON; a KB is 1000 bytes), with every common key of `context`. Four libraries
share the events evenly; about 2,000 user agents differ. Sizes go to standard error.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["KINDS", "event", "lines", "main", "mix"]

KINDS = ("track", "order")
COUNT = 10_000
SEED = 20_240_229
START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
ORDER_EVERY = 10
"""One event in ten of the 90/10 mix is an order."""

LIBRARIES = (
    ("analytics.js", "npm:next-1.81.1"),
    ("analytics-ios", "4.1.8"),
    ("analytics-android", "4.11.3"),
    ("analytics-python", "2.3.4"),
)
EVENTS = ("Product Viewed", "Product Added", "Product Clicked", "Promotion Viewed", "Subscription Renewed")
PLACES = (
    ("Bergen", "Norway", "nb-NO", "Europe/Oslo", 60.39, 5.32),
    ("Gent", "Belgium", "nl-BE", "Europe/Brussels", 51.05, 3.72),
    ("Leeds", "United Kingdom", "en-GB", "Europe/London", 53.8, -1.55),
    ("Aarhus", "Denmark", "da-DK", "Europe/Copenhagen", 56.16, 10.2),
    ("Graz", "Austria", "de-AT", "Europe/Vienna", 47.07, 15.44),
)
DEVICES = {
    "analytics.js": ("Apple", "MacBookPro18,3", "desktop", "macOS", "15"),
    "analytics-ios": ("Apple", "iPhone15,3", "ios", "iOS", "18"),
    "analytics-android": ("Google", "Pixel 9", "android", "Android", "16"),
    "analytics-python": ("Dell", "XPS 13 9340", "desktop", "Linux", "6"),
}
WINDOWS, WEBKIT = "Windows NT 10.0; Win64; x64", "(KHTML, like Gecko)"
CHROME = f"AppleWebKit/537.36 {WEBKIT} Chrome/{{major}}.0.0.0"
IPHONE = "iPhone; CPU iPhone OS 18_{minor} like Mac OS X"
SAFARI = "Version/18.{minor} Mobile/15E148 Safari/604.1"
CFNETWORK = "CFNetwork/{major} Darwin/24.{minor}"
AGENTS = {
    "analytics.js": (
        f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {CHROME} Safari/537.36",
        f"Mozilla/5.0 (Linux; Android 10; K) {CHROME} Mobile Safari/537.36",
        f"Mozilla/5.0 ({WINDOWS}) {CHROME} Safari/537.36 Edg/{{major}}.0.{{build}}.{{patch}}",
        f"Mozilla/5.0 ({WINDOWS}; rv:{{major}}.0) Gecko/20100101 Firefox/{{major}}.0",
        f"Mozilla/5.0 ({IPHONE}) AppleWebKit/605.1.15 {WEBKIT} {SAFARI}",
    ),
    "analytics-ios": (f"Regnbod/7.{{minor}}.{{patch}} (com.example.regnbod; iOS 18.{{minor}}) {CFNETWORK}",),
    "analytics-android": ("Dalvik/2.1.0 (Linux; U; Android 16; Pixel 9 Build/BP2A.{build}.{patch})",),
    "analytics-python": ("Mozilla/5.0 (X11; Linux x86_64; rv:{major}.0) Gecko/20100101 Firefox/{major}.0",),
}
CATEGORIES = ("Rain Jackets", "Boots", "Socks", "Backpacks", "Headlamps", "Tents", "Stoves")
BRANDS = ("Regnbod", "Sjøbris", "Tidevann", "Northmoor", "Kestrel Works")
COLOURS = ("petrol", "moss", "slate", "amber", "coral")
NOUNS = ("Shell", "Parka", "Boot", "Liner", "Pack", "Lamp", "Tarp")
WORDS = ("storm", "harbour", "fell", "tide", "ridge", "drift", "ember", "granite")
SOURCES = ("newsletter", "partner-blog", "search", "social")


def lines(kind: str, count: int = COUNT, seed: int = SEED) -> list[bytes]:
    """Return `count` distinct events of a kind (`track` or `order`), each one line of compact JSON."""
    rng = random.Random(f"{seed}:{kind}")
    return [_encode(event(kind, rng, number)) for number in range(count)]


def mix(tracks: list[bytes], orders: list[bytes], seed: int = SEED) -> list[bytes]:
    """Return as many events as `tracks` holds, nine tenths of them tracks and one tenth orders, shuffled."""
    tenth = len(tracks) // ORDER_EVERY
    mixed = tracks[: len(tracks) - tenth] + orders[:tenth]
    random.Random(f"{seed}:mix").shuffle(mixed)
    return mixed


def event(kind: str, rng: random.Random, number: int) -> dict[str, Any]:
    """Return one event as its SDK would send it, with every common key of `context`."""
    library = rng.choice(LIBRARIES)
    called = START + timedelta(milliseconds=number * 250 + rng.randrange(250))
    user, anonymous = f"usr_{rng.randrange(10_000, 99_999)}", _uuid(rng)
    message = _uuid(rng)
    name = "Order Completed" if kind == "order" else rng.choice(EVENTS)
    return {
        "type": "track",
        "event": name,
        "messageId": f"ajs-next-{message}" if library[0] == "analytics.js" else message,
        "userId": user,
        "anonymousId": anonymous,
        "timestamp": _time(called),
        "sentAt": _time(called + timedelta(milliseconds=rng.randrange(20, 900))),
        "integrations": {},
        "context": _context(rng, library, user),
        "properties": _order(rng) if kind == "order" else _track(rng, name),
    }


def _context(rng: random.Random, library: tuple[str, str], user: str) -> dict[str, Any]:
    city, country, locale, timezone, latitude, longitude = rng.choice(PLACES)
    maker, model, device_type, system, version = DEVICES[library[0]]
    return {
        "library": {"name": library[0], "version": library[1]},
        "app": {
            "name": "Regnbod",
            "version": f"7.{rng.randrange(9)}",
            "build": str(rng.randrange(2000, 3000)),
        },
        "device": {"id": _uuid(rng), "manufacturer": maker, "model": model, "type": device_type},
        "os": {"name": system, "version": f"{version}.{rng.randrange(9)}"},
        "network": {
            "bluetooth": False,
            "carrier": "Example Tele",
            "cellular": True,
            "wifi": rng.random() < 0.5,
        },
        "location": {
            "city": city,
            "country": country,
            "latitude": round(latitude + rng.random() / 10, 4),
            "longitude": round(longitude + rng.random() / 10, 4),
        },
        "page": _page(rng),
        "campaign": {"name": f"{rng.choice(WORDS)}-sale", "source": rng.choice(SOURCES), "medium": "email"},
        "screen": {"width": 1080, "height": 2340, "density": 2.75},
        "userAgent": _agent(rng, library[0]),
        "locale": locale,
        "timezone": timezone,
        "ip": f"203.0.113.{rng.randrange(1, 255)}",
        "traits": {
            "email": f"{user}@example.com",
            "plan": rng.choice(("basic", "club")),
            "logins": rng.randrange(400),
        },
    }


def _page(rng: random.Random) -> dict[str, Any]:
    path = f"/{rng.choice(WORDS)}/{rng.randrange(1000, 9999)}"
    search = f"?ref={rng.choice(WORDS)}"
    return {
        "path": path,
        "referrer": "https://search.example.net/",
        "search": search,
        "title": f"{rng.choice(WORDS).title()} {rng.choice(NOUNS)}",
        "url": f"https://shop.example.com{path}{search}",
    }


def _agent(rng: random.Random, library: str) -> str:
    return rng.choice(AGENTS[library]).format(
        major=rng.randrange(120, 146),
        minor=rng.randrange(7),
        build=rng.randrange(6000, 6020),
        patch=rng.randrange(9),
    )


def _product(rng: random.Random, position: int) -> dict[str, Any]:
    number = rng.randrange(1000, 9999)
    return {
        "product_id": f"prd_{number}",
        "sku": f"{rng.choice(WORDS)[:2].upper()}-{number}-{rng.randrange(36, 48)}",
        "category": rng.choice(CATEGORIES),
        "name": f"{rng.choice(WORDS).title()} {rng.choice(NOUNS)}",
        "brand": rng.choice(BRANDS),
        "variant": rng.choice(COLOURS),
        "price": round(rng.uniform(4, 400), 2),
        "quantity": rng.randrange(1, 4),
        "position": position,
    }


def _track(rng: random.Random, name: str) -> dict[str, Any]:
    """Return 16 properties; the two of a sale are there only for a renewal, one event in five."""
    sale = {"revenue": round(rng.uniform(5, 90), 2), "revenueType": "Renewal"}
    browsing = {"list_id": f"list_{rng.randrange(100)}", "in_stock": rng.random() < 0.9}
    return {
        **_product(rng, rng.randrange(1, 25)),
        "currency": "EUR",
        "value": round(rng.uniform(4, 400), 2),
        "cart_id": f"cart_{rng.randrange(10_000)}",
        "coupon": None if rng.random() < 0.5 else f"{rng.choice(WORDS).upper()}10",
        "experiment": {"name": "list-layout", "arm": rng.choice("ab")},
        **(sale if name == "Subscription Renewed" else browsing),
    }


def _order(rng: random.Random) -> dict[str, Any]:
    products = [
        {
            **_product(rng, position),
            "url": f"https://shop.example.com/gear/{rng.randrange(1000, 9999)}",
            "image_url": f"https://img.example.com/large/{rng.randrange(1000, 9999)}-front.jpg",
        }
        for position in range(1, 6)
    ]
    subtotal = round(sum(product["price"] * product["quantity"] for product in products), 2)
    return {
        "checkout_id": f"chk_{rng.randrange(100_000)}",
        "order_id": f"ord_{rng.randrange(1_000_000)}",
        "affiliation": "Web shop",
        "subtotal": subtotal,
        "total": round(subtotal + 12.4, 2),
        "revenue": subtotal,
        "shipping": 7.5,
        "tax": 4.9,
        "discount": 0,
        "coupon": f"{rng.choice(WORDS).upper()}10",
        "currency": "EUR",
        "products": products,
    }


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _encode(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _sizes(kind: str, sized: list[bytes]) -> Iterator[str]:
    sizes = [len(line) for line in sized]
    yield f"{len(sized):,} events of kind {kind}, {len(set(sized)):,} distinct"
    yield f"bytes: mean {statistics.mean(sizes):.0f}, min {min(sizes)}, max {max(sizes)}"


def main() -> None:
    """Write the events of one kind to standard output, and their sizes to standard error."""
    parser = argparse.ArgumentParser(description="Write seeded benchmark events as JSON lines.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED)
    chosen = parser.parse_args()
    made = lines(chosen.kind, chosen.count, chosen.seed)
    sys.stdout.buffer.write(b"".join(line + b"\n" for line in made))
    print(*_sizes(chosen.kind, made), sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()

"""The events of a chaos run: the same one for the same seed and number, of several hundred users.

A user's library stays the same, and event `number` belongs to the stream `number % STREAMS`: a stream's users are its
own, so that the numbers of one user's events rise in the order in which they are accepted.
"""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import Any

import generate

__all__ = ["STREAMS", "USERS", "event_of", "line", "number_of", "user_of"]

STREAMS = 4
USERS = 400
_LIBRARIES = ("analytics.js", "analytics-ios", "analytics-android", "analytics-python")


def line(seed: int, number: int) -> bytes:
    """Return event `number` as JSON: a track, an order, an identify; refused by the vendor, or switched off."""
    rng = random.Random(f"{seed}:{number}")
    kind = rng.choices(("track", "order", "identify", "refused", "off"), (66, 12, 17, 3, 2))[0]
    return event_of(user_of(seed, number), number, kind, rng)


def event_of(user: str, number: int, kind: str, rng: random.Random) -> bytes:
    """Return event `number` of a user (`user-0001`) as JSON, of one of the kinds of `line`."""
    event = generate.event("order" if kind == "order" else "track", rng, number)
    library = _LIBRARIES[int(user[5:]) % len(_LIBRARIES)]
    event |= {"messageId": f"m-{number}", "userId": user, "timestamp": _time(number)}
    event["anonymousId"] = f"anonymous-{user}"
    event["context"]["library"] = {"name": library, "version": "1.0.0"}
    event["context"]["device"].pop("id")
    event["context"]["userAgent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"
    _change(event, kind, number)
    return json.dumps(event, separators=(",", ":")).encode()


def _change(event: dict[str, Any], kind: str, number: int) -> None:
    if kind == "identify":
        del event["event"], event["properties"]
        event |= {"type": "identify", "traits": {"logins": number, "plan": "club"}}
    elif kind == "refused":
        event["properties"] |= {"refuse": True}
    elif kind == "off":
        event["integrations"] = {"All": False}


def user_of(seed: int, number: int) -> str:
    """Return the user of event `number`."""
    stream = number % STREAMS
    return f"user-{stream + STREAMS * random.Random(f'{seed}:user:{number}').randrange(USERS // STREAMS):04}"


def number_of(insert_id: str) -> int:
    """Return the number of the event that an item's insert id (`m-17`, `m-17-2`) comes from."""
    return int(insert_id.split("-")[1])


def _time(number: int) -> str:
    moment: datetime = generate.START + timedelta(milliseconds=number * 250)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

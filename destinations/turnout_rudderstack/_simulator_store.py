"""What RudderStack's gateway and processor add to an event before they store it.

Sources: rudder-server (`gateway/handle.go`, the processor's timestamp code).
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

__all__ = ["enriched", "has_ids", "id_of"]

Message = dict[str, Any]


def id_of(message: Message, key: str) -> str:
    """Return an id as the server reads it: made a text, without blanks around it; empty when there is none."""
    value = message.get(key)
    if value is None or isinstance(value, dict | list):
        return ""
    return (value if isinstance(value, str) else str(value)).strip()


def has_ids(message: Message) -> bool:
    """Return whether the event has one of the ids that every event needs."""
    return bool(id_of(message, "userId") or id_of(message, "anonymousId"))


def enriched(message: Message, received: datetime, address: str) -> Message:
    """Return the event as it is stored: with ids, times, and where the request came from."""
    made = {**message, "messageId": _message_id(message), "rudderId": _rudder_id(message)}
    for key in ("userId", "anonymousId"):
        if message.get(key) is not None:
            made[key] = id_of(message, key)
    made.setdefault("request_ip", address)
    return {**made, **_times(message, received)}


def _message_id(message: Message) -> str:
    told = message.get("messageId")
    return told.strip() if isinstance(told, str) and told.strip() else str(uuid4())


def _rudder_id(message: Message) -> str:
    pair = f"{id_of(message, 'userId')}:{id_of(message, 'anonymousId')}"
    return str(UUID(bytes=hashlib.md5(pair.encode("utf-8", "replace"), usedforsecurity=False).digest()))


def _times(message: Message, received: datetime) -> dict[str, str]:
    """Return the four times. A `timestamp` that can be read stays; else it is made from the other three."""
    received = _time(message.get("receivedAt")) or received
    original = _time(message.get("originalTimestamp")) or received
    sent = _time(message.get("sentAt")) or received
    time = _time(message.get("timestamp")) or _corrected(original, sent, received)
    times = {"receivedAt": received, "originalTimestamp": original, "sentAt": sent, "timestamp": time}
    return {key: one.isoformat(timespec="milliseconds").replace("+00:00", "Z") for key, one in times.items()}


def _corrected(original: datetime, sent: datetime, received: datetime) -> datetime:
    try:
        return received - (sent - original)
    except OverflowError:
        return received


def _time(value: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None

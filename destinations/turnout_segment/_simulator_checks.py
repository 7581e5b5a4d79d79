"""What Segment drops at its ingest, by its own codes, and how it sets the times of what it keeps.

Sources: the discard table and the spec pages. Where a code is made up here, `docs/simulators.md` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

__all__ = ["CALLS", "discard_code", "timed"]

CALLS = ("identify", "track", "page", "screen", "group", "alias")
_IDS = ("userId", "anonymousId")
_LONGEST_ID = 100

Message = dict[str, Any]


def discard_code(message: Any) -> str | None:
    """Return the code under which Segment drops a message without a word, None for one that it keeps."""
    if not isinstance(message, dict) or message.get("type") not in CALLS:
        return "bad_request"
    checks = (_ids, _shape, _CHECKS.get(message["type"], _nothing))
    return next((code for check in checks if (code := check(message))), None)


def _ids(message: Message) -> str | None:
    ids = [message.get(key) for key in _IDS]
    if any(one is not None and not isinstance(one, str) for one in ids):
        return "id_not_string"
    if not any(ids):
        return "no_user_anon_id"
    message_id = message.get("messageId")
    if message_id is not None and not isinstance(message_id, str):
        return "bad_request"
    return "message_id_too_long" if len(message_id or "") > _LONGEST_ID else None


def _shape(message: Message) -> str | None:
    for key, code in _OBJECTS.items():
        if message.get(key) is not None and not isinstance(message[key], dict):
            return code
    device = (message.get("context") or {}).get("device")
    told = device.get("advertisingId") if isinstance(device, dict) else None
    return None if told is None or isinstance(told, str) else "device_advertisingid_should_be_string"


_OBJECTS = {
    "properties": "properties_not_object",
    "traits": "traits_not_object",
    "context": "bad_request",
    "integrations": "bad_request",
}


def _nothing(message: Message) -> str | None:
    return None


def _track(message: Message) -> str | None:
    event = message.get("event")
    if event is None or event == "":
        return "event_not_defined"
    return None if isinstance(event, str) else "event_not_string"


def _named(message: Message) -> str | None:
    for key in ("name", "category"):
        value = message.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            return f"{key}_not_string"
    return None


def _group(message: Message) -> str | None:
    return None if isinstance(message.get("groupId"), str) and message["groupId"] else "id_required"


def _alias(message: Message) -> str | None:
    return None if message.get("userId") else "id_required"


_CHECKS: dict[str, Callable[[Message], str | None]] = {
    "track": _track,
    "page": _named,
    "screen": _named,
    "group": _group,
    "alias": _alias,
}


def timed(message: Message, received: datetime) -> Message:
    """Return the message with the server's four times: `timestamp = receivedAt - (sentAt - originalTimestamp)`.

    What the payload calls `timestamp` is the original one, the arrival where it is missing or can't be read. Without
    `sentAt` nothing is corrected.
    """
    original = _time(message.get("timestamp")) or received
    sent = _time(message.get("sentAt"))
    time = original if sent is None else _corrected(original, sent, received)
    times = {"originalTimestamp": original, "receivedAt": received, "timestamp": time}
    return {**message, **{key: _written(time) for key, time in times.items()}}


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


def _written(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")

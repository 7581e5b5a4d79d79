"""What Split's Events API makes of an event: whether it is malformed, and what is found out later."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["found_later", "malformed", "stored"]

_STRICT = re.compile(r"[a-zA-Z0-9][-_.a-zA-Z0-9]{0,62}")
_OF_SDKS = re.compile(r"[a-zA-Z0-9][-_.:a-zA-Z0-9]{0,79}")
_MOST_PROPERTIES = 300
_LARGEST = 32_768
_LONGEST_KEY = 250
_FIRST_MS = 10**11  # 1973; what is smaller are seconds, or nonsense


def malformed(event: Any, *, strict: bool) -> str | None:
    """Return what is wrong with the form of an event, so that its request is refused; None when nothing is."""
    if not isinstance(event, dict):
        return "an event must be an object"
    for name in ("eventTypeId", "trafficTypeName", "key"):
        if not isinstance(event.get(name), str) or not event[name]:
            return f"{name} must be a text"
    if not (_STRICT if strict else _OF_SDKS).fullmatch(event["eventTypeId"]):
        return f"eventTypeId {event['eventTypeId']!r} does not match the pattern"
    if not _is_number(event.get("value", 0), none=True):
        return "value must be a number"
    if not isinstance(event.get("timestamp", 0), int) or isinstance(event.get("timestamp", 0), bool):
        return "timestamp must be a whole number"
    if not isinstance(event.get("properties", {}), dict):
        return "properties must be an object"
    return None


def found_later(
    event: dict[str, Any],
    *,
    environments: Mapping[str, str] | None,
    of_key: str | None,
    traffic_types: Mapping[str, str] | None,
) -> str | None:
    """Return why an event that was answered with 202 is dropped without a word; None when it is kept."""
    environment = event.get("environmentName")
    if environments is not None and environment not in environments:
        return f"no environment {environment!r}"
    if of_key is not None and environment != of_key:
        return f"the key is not of the environment {environment!r}"
    if traffic_types is not None and event["trafficTypeName"] not in traffic_types:
        return f"no traffic type {event['trafficTypeName']!r}"
    if event.get("timestamp", _FIRST_MS) < _FIRST_MS:
        return "timestamp is not in milliseconds"
    if len(event["key"]) > _LONGEST_KEY:
        return f"key has more than {_LONGEST_KEY} characters"
    if _size(event.get("properties") or {}) > _LARGEST:
        return f"properties have more than {_LARGEST:,} bytes"
    return None


def stored(event: dict[str, Any], now: int) -> dict[str, Any]:
    """Return an event as it is kept: at most 300 properties, null for those of another type, and a time."""
    properties = list((event.get("properties") or {}).items())[:_MOST_PROPERTIES]
    clean = {name: value if _is_scalar(value) else None for name, value in properties}
    return {"timestamp": now, **event, **({"properties": clean} if clean else {})}


def _size(properties: Mapping[str, Any]) -> int:
    texts = (value for value in properties.values() if isinstance(value, str))
    return 1024 + sum(len(text.encode()) for text in (*properties, *texts))


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _is_number(value: Any, *, none: bool) -> bool:
    return (none and value is None) or (isinstance(value, int | float) and not isinstance(value, bool))

"""The fields of an exported event, one by one: ids, time, context, and what an Amplitude needs to have it back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from turnout import Code, Refusal

__all__ = ["context_of", "ids_of", "message_id_of", "object_at", "options_of", "time_of", "with_revenue"]

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}.*", re.ASCII)
_LONGEST_ID = 100
_CONTEXT: dict[str, tuple[str, ...]] = {
    "ip_address": ("ip",),
    "os_name": ("os", "name"),
    "os_version": ("os", "version"),
    "device_id": ("device", "id"),
    "device_type": ("device", "type"),
    "device_model": ("device", "model"),
    "device_brand": ("device", "brand"),
    "device_manufacturer": ("device", "manufacturer"),
    "version_name": ("app", "version"),
    "city": ("location", "city"),
    "country": ("location", "country"),
    "region": ("location", "region"),
    "location_lat": ("location", "latitude"),
    "location_lng": ("location", "longitude"),
    "device_carrier": ("network", "carrier"),
}
"""Where a field of an exported event goes in `context`."""
_COORDINATES = ("latitude", "longitude")
_REST = ("amplitude_id", "app", "platform", "library", "language", "device_family", "dma", "event_id", "session_id")
"""Fields without a place in the common spec; they stand in `context.amplitude`."""
_REVENUE = ("revenue", "price", "quantity", "productId", "revenueType", "currency")
"""Properties that Amplitude's SDKs write with a `$`, and other vendors without it."""


def ids_of(told: Mapping[str, Any], path: str) -> dict[str, str]:
    """Return the user's id and the device's; raises `Refusal` when there is neither."""
    found = {}
    for name, key in (("user_id", "userId"), ("device_id", "anonymousId")):
        value = told.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise Refusal(Code.FIELD_INVALID, f"`{name}` must be a text.", f"{path}/{name}")
        found[key] = str(value)
    if not found:
        raise Refusal(Code.NO_USER_ANON_ID, "The event has neither a `user_id` nor a `device_id`.", path)
    return found


def message_id_of(told: Mapping[str, Any]) -> str:
    """Return what tells this event from every other, the same in every export."""
    for name in ("uuid", "$insert_id"):
        value = told.get(name)
        if isinstance(value, str) and 0 < len(value) <= _LONGEST_ID:
            return value
    return hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()[:32]


def time_of(told: Mapping[str, Any], path: str) -> str:
    """Return the time of an event: UTC, with six digits of a second, of which three are kept; raises `Refusal`."""
    for name in ("event_time", "client_event_time", "server_received_time", "server_upload_time"):
        value = told.get(name)
        if value is None:
            continue
        time = _instant(value)
        if time is None:
            raise Refusal(Code.TIMESTAMP_INVALID, f"`{name}` is no time as exports have it.", f"{path}/{name}")
        return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise Refusal(Code.TIMESTAMP_INVALID, "The event has no `event_time`.", f"{path}/event_time")


def _instant(value: Any) -> datetime | None:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def with_revenue(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the properties, and those of a revenue event also under the names that other vendors know."""
    found = {name: properties[f"${name}"] for name in _REVENUE if properties.get(f"${name}") is not None}
    return {**found, **properties}


def object_at(told: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    """Return the object of that name, empty for none; raises `Refusal` for anything else."""
    value = told.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(Code.FIELD_INVALID, f"`{name}` must be an object.", f"{path}/{name}")
    return value


def context_of(told: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the context; the user's properties are its traits, and what has no place there stands in `amplitude`."""
    context: dict[str, Any] = {"library": {"name": "amplitude-export"}}
    for name, place in _CONTEXT.items():
        value = told.get(name)
        if value is None or value == "" or isinstance(value, bool) or not isinstance(value, str | int | float):
            continue
        if place[-1] not in _COORDINATES:
            value = str(value)
        elif isinstance(value, str):
            continue
        if len(place) == 1:
            context[place[0]] = value
        else:
            context.setdefault(place[0], {})[place[1]] = value
    traits = object_at(told, "user_properties", path)
    if traits:
        context["traits"] = traits
    rest = {name: told[name] for name in _REST if told.get(name) is not None}
    return context | ({"amplitude": rest} if rest else {})


def options_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an Amplitude destination needs to put the event back where it was."""
    options: dict[str, Any] = {}
    session = told.get("session_id")
    if isinstance(session, int) and not isinstance(session, bool) and session > 0:
        options["session_id"] = session
    groups = told.get("groups")
    if isinstance(groups, dict) and groups:
        options["groups"] = groups
    return options

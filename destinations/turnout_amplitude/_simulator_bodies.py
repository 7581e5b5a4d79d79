"""The bodies of Amplitude's errors, and the parts of a request that are JSON inside a form."""

from __future__ import annotations

from typing import Any

from turnout.testing import Answer, Call
from turnout_amplitude._simulator_checks import Problem
from turnout_amplitude._simulator_limits import too_many

__all__ = [
    "ERRORS",
    "count_properties",
    "error_body",
    "form_options",
    "listed",
    "options_of",
    "problem_body",
    "throttled_body",
    "too_large",
]

_KINDS = {
    "missing": ("events_with_missing_fields", "Request missing required field"),
    "invalid": ("events_with_invalid_fields", "Invalid field values on some events"),
    "length": ("events_with_invalid_id_lengths", "Invalid id length for user_id or device_id"),
}
ERRORS = {
    400: "Invalid JSON request body",
    403: "Forbidden",
    404: "Invalid request path",
    405: "Method not allowed",
    413: "Payload too large",
    414: "URI too long",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service unavailable",
    504: "Gateway timeout",
}


def problem_body(found: dict[int, list[Problem]]) -> dict[str, Any]:
    """Return the body of a 400: the maps of field -> indexes, and the first kind's error."""
    maps: dict[str, dict[str, list[int]]] = {}
    for place, problems in found.items():
        for kind, field in dict.fromkeys(problems):
            maps.setdefault(kind, {}).setdefault(field, []).append(place)
    errors = [error for kind, (_, error) in _KINDS.items() if kind in maps]
    return error_body(errors[0]) | {key: maps[kind] for kind, (key, _) in _KINDS.items() if kind in maps}


def error_body(error: str, *, code: int = 400, **more: Any) -> dict[str, Any]:
    """Return an error's body."""
    return {"code": code, "error": error, **more}


def too_large() -> Answer:
    """Return the documented 413."""
    return Answer(413, error_body(ERRORS[413], code=413))


def options_of(value: Any) -> dict[str, Any] | None:
    """Return the options of a request, None when they are not an object with a whole `min_id_length`."""
    options = {} if value is None else value
    least = options.get("min_id_length", 5) if isinstance(options, dict) else "wrong"
    fits = least is None or (isinstance(least, int) and not isinstance(least, bool) and least >= 0)
    return options if fits else None


def form_options(text: str) -> dict[str, Any]:
    """Return the options of a form, empty when they can't be read."""
    # Real traffic holds `options=undefined`, so what can't be read counts as no options.
    options = options_of(_read(text))
    return options if options is not None else {}


def listed(text: str) -> list[Any]:
    """Return the items of a form's JSON text; empty when it is no JSON object or array."""
    value = _read(text)
    if isinstance(value, dict):
        return [value]
    return value if isinstance(value, list) else []


def _read(text: str) -> Any:
    try:
        return Call(method="", path="", body=text.encode("utf-8", "replace")).json()
    except ValueError:
        return None


def count_properties(item: dict[str, Any]) -> int:
    """Return how many group properties one group identification changes."""
    properties = item.get("group_properties") or {}
    return sum(
        len(value) if name.startswith("$") and isinstance(value, dict) else 1 for name, value in properties.items()
    )


def throttled_body(call: Call) -> dict[str, Any]:
    """Return a 429's body that names every user and device of the request."""
    body = call.decoded()
    items = body.get("events", body.get("identification")) if isinstance(body, dict) else None
    listed_items = items if isinstance(items, list) else [items]
    events = [item if isinstance(item, dict) else {} for item in listed_items]
    eps = 1000 if call.path == "/batch" else 30
    users = {event["user_id"]: eps + 1 for event in events if isinstance(event.get("user_id"), str)}
    devices = {event["device_id"]: eps + 1 for event in events if isinstance(event.get("device_id"), str)}
    return too_many(eps, users, devices, list(range(len(events))))

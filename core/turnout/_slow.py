"""The way of an event that the quick decoder refuses: read it untyped, coerce it, or say what is wrong."""

from __future__ import annotations

from typing import Any

from msgspec.structs import force_setattr

from turnout import _coerce
from turnout._explain import refusal
from turnout._json import article, compact, read, too_deep
from turnout._limits import Limits
from turnout.errors import Refusal, did_you_mean
from turnout.event import CALL_TYPES, Event
from turnout.reasons import Code

__all__ = ["call", "count_keys", "unfit"]


def call(raw: bytes, limits: Limits) -> Event:
    """Return the event of a JSON text, coerced but not yet completed; raise `Refusal`."""
    value = read(raw)
    if not isinstance(value, dict):
        message = f"An event must be an object, but is {article(value)}. Send one JSON object for each event."
        raise Refusal(Code.BAD_REQUEST, message, "")
    brackets = _measure(value, raw, limits)
    type_ = _call_type(value)
    try:
        event = _coerce.event(value, type_)
        force_setattr(event, "brackets", brackets)
        return event
    except _coerce.UnfitError as unfit:
        raise refusal(value, type_, unfit.path) from None


def unfit(raw: bytes) -> Refusal:
    """Return the refusal of an event that lacks an id or a name, but could be decoded quickly."""
    value = read(raw)
    return refusal(value, value["type"], [])


def _measure(value: dict[str, Any], raw: bytes, limits: Limits) -> int:
    """Raise `Refusal` when the event is too large in any way; return how many brackets open in it."""
    count_keys(value.get("properties"), value.get("traits"), limits)
    if len(raw) > limits.event_bytes and (size := len(compact(value))) > limits.event_bytes:
        message = (
            f"The event has {size:,} bytes, and {limits.event_bytes:,} are allowed. "
            "Send fewer properties, or several events."
        )
        raise Refusal(Code.EVENT_TOO_LARGE, message, "")
    brackets = raw.count(b"{") + raw.count(b"[")
    deep = too_deep(value, limits.depth) if brackets > limits.depth else None
    if deep is not None:
        message = f"Objects and lists nest deeper than {limits.depth} levels here. Flatten them."
        raise Refusal(Code.NESTING_TOO_DEEP, message, deep)
    return brackets


def count_keys(properties: Any, traits: Any, limits: Limits) -> None:
    """Raise `Refusal` when one of the two is an object with too many keys."""
    for name, value in (("properties", properties), ("traits", traits)):
        if isinstance(value, dict) and len(value) > limits.keys:
            message = f"`{name}` has {len(value):,} keys, and {limits.keys:,} are allowed. Send several events."
            raise Refusal(Code.TOO_MANY_PROPERTIES, message, f"/{name}")


def _call_type(value: dict[str, Any]) -> str:
    type_ = value.get("type")
    if type_ is None or type_ == "":
        known = ", ".join(CALL_TYPES)
        message = f"The event has no `type`. Give one of {known}."
        if "batch" in value:
            message = "The object has no `type`, but a `batch`. Read a batch body with `Normaliser.batch`."
        raise Refusal(Code.TYPE_NOT_DEFINED, message, "/type")
    if isinstance(type_, str) and type_ in CALL_TYPES:
        return type_
    if isinstance(type_, str):
        near = did_you_mean(type_, CALL_TYPES) or f" Known are {', '.join(CALL_TYPES)}."
        message = f"{type_[:40]!r} is no call type.{near}"
    else:
        message = f"`type` must be a string, but is {article(type_)}. Give one of {', '.join(CALL_TYPES)}."
    raise Refusal(Code.TYPE_UNKNOWN, message, "/type")

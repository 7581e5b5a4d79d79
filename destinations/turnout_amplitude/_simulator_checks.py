"""What Amplitude accepts: the documented keys of events, identifications and mappings.

Source: Amplitude's HTTP V2, Batch, Identify, Group Identify and User Mapping API pages. Where a page is
silent, the assumption is named in `docs/simulators.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import msgspec

__all__ = [
    "DEVICE_FIELDS",
    "EVENTS",
    "GEO_FIELDS",
    "GROUP_IDENTIFICATIONS",
    "IDENTIFICATIONS",
    "MAPPINGS",
    "USER_OPERATIONS",
    "Kind",
    "Problem",
    "Rules",
    "find_problems",
]

Problem = tuple[str, str]
"""(`missing`, `invalid` or `length`; the field)."""
Fields = Mapping[str, Callable[[object], bool]]


class Rules(msgspec.Struct, frozen=True):
    """What a request's options and the simulator's settings ask of every item."""

    min_id_length: int = 5
    strict: bool = True


DEVICE_FIELDS = (
    "platform",
    "os_name",
    "os_version",
    "device_brand",
    "device_manufacturer",
    "device_model",
    "carrier",
)
GEO_FIELDS = ("country", "region", "city", "dma")

RESERVED_EVENT_TYPES = frozenset(
    {
        "[Amplitude] Start Session",
        "[Amplitude] End Session",
        "[Amplitude] Revenue",
        "[Amplitude] Revenue (Verified)",
        "[Amplitude] Revenue (Unverified)",
        "[Amplitude] Merged User",
    }
)
INVALID_IDS = frozenset(
    {
        "",
        "-1",
        "0",
        "00000000-0000-0000-0000-000000000000",
        "anonymous",
        "lmy47d",
        "n/a",
        "na",
        "nil",
        "none",
        "null",
        "undefined",
        "unknown",
        "{}",
    }
)
USER_OPERATIONS = frozenset(
    {
        "$add",
        "$append",
        "$clearAll",
        "$postInsert",
        "$preInsert",
        "$prepend",
        "$remove",
        "$set",
        "$setOnce",
        "$unset",
    }
)
GROUP_OPERATIONS = frozenset({"$add", "$append", "$prepend", "$set", "$setOnce", "$unset"})

MAX_DEPTH = 40
_LONG = 2**63


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_LONG <= value < _LONG


def _is_number(value: object) -> bool:
    return isinstance(value, float) or _is_whole(value)


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_properties(value: object) -> bool:
    return isinstance(value, dict) and _within_depth(value, MAX_DEPTH)


def _is_groups(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    values = [each for given in value.values() for each in (given if isinstance(given, list) else [given])]
    return all(_is_text(each) or _is_number(each) for each in values)


def _texts_of(*names: str) -> Callable[[object], bool]:
    def is_texts(value: object) -> bool:
        return isinstance(value, dict) and all(_is_text(value.get(name, "")) for name in names)

    return is_texts


_COMMON: Fields = {
    **dict.fromkeys(("user_id", "device_id", *DEVICE_FIELDS, *GEO_FIELDS), _is_text),
    **dict.fromkeys(("language", "ip", "app_version", "version_name", "library", "insert_id"), _is_text),
    **dict.fromkeys(("idfa", "idfv", "adid", "android_id", "android_app_set_id", "user_agent"), _is_text),
    "time": _is_whole,
    "session_id": _is_whole,
    "location_lat": _is_number,
    "location_lng": _is_number,
    "user_properties": _is_properties,
    "groups": _is_groups,
}
EVENT_FIELDS: Fields = {
    **_COMMON,
    **dict.fromkeys(("event_type", "productId", "revenueType", "currency", "partner_id"), _is_text),
    "event_properties": _is_properties,
    "group_properties": _is_properties,
    "$skip_user_properties_sync": _is_flag,
    "price": _is_amount,
    "revenue": _is_amount,
    "quantity": _is_whole,
    "event_id": _is_whole,
    "plan": _texts_of("branch", "source", "version", "versionId"),
    "ingestion_metadata": _texts_of("source_name", "source_version"),
}
IDENTIFICATION_FIELDS: Fields = {**_COMMON, "paying": _is_scalar, "start_version": _is_text}
GROUP_FIELDS: Fields = {"group_type": _is_text, "group_value": _is_text, "group_properties": _is_properties}
MAPPING_FIELDS: Fields = {"user_id": _is_text, "global_user_id": _is_text, "unmap": _is_flag}


def _check_event(event: dict[str, Any], rules: Rules) -> Iterator[Problem]:
    event_type = event.get("event_type")
    if event_type is None or event_type == "":
        yield "missing", "event_type"
    elif isinstance(event_type, str) and event_type in RESERVED_EVENT_TYPES:
        yield "invalid", "event_type"
    yield from _types(event, EVENT_FIELDS)
    yield from _ids(event, rules)
    yield from _operations(event, "user_properties", USER_OPERATIONS, rules)
    if event_type == "$groupidentify":
        yield from _operations(event, "group_properties", GROUP_OPERATIONS, rules)
    yield from _revenue(event)


def _check_identification(item: dict[str, Any], rules: Rules) -> Iterator[Problem]:
    yield from _types(item, IDENTIFICATION_FIELDS)
    yield from _ids(item, rules)
    yield from _operations(item, "user_properties", USER_OPERATIONS, rules)


def _check_group(item: dict[str, Any], rules: Rules) -> Iterator[Problem]:
    yield from (("missing", name) for name in ("group_type", "group_value") if item.get(name) in (None, ""))
    yield from _types(item, GROUP_FIELDS)
    yield from _operations(item, "group_properties", GROUP_OPERATIONS, rules)


def _check_mapping(item: dict[str, Any], rules: Rules) -> Iterator[Problem]:
    yield from _types(item, MAPPING_FIELDS)
    if item.get("user_id") in (None, ""):
        yield "missing", "user_id"
    if item.get("unmap") is True:
        if rules.strict and item.get("global_user_id") is not None:
            yield "invalid", "global_user_id"
    elif item.get("global_user_id") in (None, ""):
        yield "missing", "global_user_id"


def _types(item: dict[str, Any], fields: Fields) -> Iterator[Problem]:
    for name, fits in fields.items():
        value = item.get(name)
        if value is not None and not fits(value):
            yield "invalid", name


def _ids(item: dict[str, Any], rules: Rules) -> Iterator[Problem]:
    given = {name: item[name] for name in ("user_id", "device_id") if item.get(name) is not None}
    if not given:
        yield "missing", "user_id"
        yield "missing", "device_id"
    for name, value in given.items():
        if not isinstance(value, str):
            continue
        if value.strip().lower() in INVALID_IDS:
            yield "invalid", name
        elif len(value) < rules.min_id_length:
            yield "length", name


def _operations(item: dict[str, Any], name: str, known: frozenset[str], rules: Rules) -> Iterator[Problem]:
    properties = item.get(name)
    used = properties.keys() & USER_OPERATIONS if isinstance(properties, dict) else set()
    if not used or not isinstance(properties, dict) or not rules.strict:
        return
    mixed = len(used) < len(properties) or not used <= known
    clears = "$clearAll" in used and len(properties) > 1
    if mixed or clears or not all(_operand_fits(op, properties[op]) for op in used):
        yield "invalid", name


def _operand_fits(operation: str, operand: object) -> bool:
    if operation == "$clearAll":
        return True
    if not isinstance(operand, dict):
        return False
    return operation != "$add" or all(_is_number(value) for value in operand.values())


def _revenue(event: dict[str, Any]) -> Iterator[Problem]:
    price, quantity = event.get("price"), event.get("quantity")
    if _is_number(price) and _is_whole(quantity) and math.isinf(cast(float, price) * cast(int, quantity)):
        yield "invalid", "price"


def _within_depth(value: object, left: int) -> bool:
    if isinstance(value, dict):
        return left > 0 and all(_within_depth(each, left - 1) for each in value.values())
    if isinstance(value, list):
        return left > 0 and all(_within_depth(each, left - 1) for each in value)
    return True


class Kind(msgspec.Struct, frozen=True):
    """One kind of item: the parameter that holds it, how many a request may have, its keys and its check."""

    parameter: str
    most: int
    fields: Fields
    check: Callable[[dict[str, Any], Rules], Iterator[Problem]]


EVENTS = Kind("events", 2000, EVENT_FIELDS, _check_event)
IDENTIFICATIONS = Kind("identification", 2000, IDENTIFICATION_FIELDS, _check_identification)
GROUP_IDENTIFICATIONS = Kind("identification", 1024, GROUP_FIELDS, _check_group)
MAPPINGS = Kind("mapping", 2000, MAPPING_FIELDS, _check_mapping)


def find_problems(
    items: list[dict[str, Any]], kind: Kind, rules: Rules, *, only_first: bool
) -> dict[int, list[Problem]]:
    """Return what Amplitude refuses, by the item's index; with `only_first` that of the first bad item."""
    found: dict[int, list[Problem]] = {}
    for place, item in enumerate(items):
        if problems := list(kind.check(item, rules)):
            found[place] = problems
            if only_first:
                break
    return found

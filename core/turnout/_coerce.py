"""Coercion: nulls, integer ids, sloppy times, text coordinates and the like, as the types of `Event`.

Everything here accepts exactly what the JSON Schemas accept; a test holds both against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from math import isfinite
from typing import Any

import msgspec

from turnout import _times
from turnout._context import Brand, Context, Device
from turnout._json import Object, compact
from turnout.event import Event

__all__ = ["UnfitError", "event"]

Convert = Callable[[Any], Any]
_NUMERIC = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch


class UnfitError(Exception):
    """A value that the spec doesn't allow; `path` leads to it."""

    def __init__(self) -> None:
        self.path: list[str | int] = []


def event(value: dict[str, Any], type_: str) -> Event:
    """Return the `Event` of a decoded object; raise `UnfitError` for a key that the call owns."""
    known: dict[str, Any] = {"type": type_}
    owned = _COMMON | _OWNED[type_]
    for key, (name, convert) in _EVENT.items():
        given = value.get(key)
        if given is not None:
            known[name] = _converted(convert, given, key) if key in owned else _if_fit(convert, given)
    if value.get("integrations") is None:
        known["integrations"] = _old_integrations(value)
    return Event(**{name: given for name, given in known.items() if given is not None})


def _converted(convert: Convert, value: Any, key: str | int) -> Any:
    try:
        return convert(value)
    except UnfitError as unfit:
        unfit.path.insert(0, key)
        raise


def _if_fit(convert: Convert, value: Any) -> Any:
    try:
        return convert(value)
    except UnfitError:
        return None


def _id(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise UnfitError
    return str(int(value))


def _name(value: Any) -> str | None:
    if not isinstance(value, str):
        raise UnfitError
    return value or None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnfitError
    return compact(value).decode()


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise UnfitError
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnfitError
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnfitError
    return value


def _version(value: Any) -> Any:
    return value if isinstance(value, str) else _number(value)


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnfitError
    return value


def _size(value: Any) -> int | float | None:
    if not isinstance(value, str):
        return _number(value)
    if not _NUMERIC(value):
        raise UnfitError
    return int(value) if value.isdecimal() and len(value) < 16 else _finite(value)


def _coordinate(value: Any) -> float | None:
    """Return a number or numeric text as a float, None for anything else (AMP-CTX-25)."""
    if isinstance(value, str):
        return _finite(value) if _NUMERIC(value.strip()) else None
    return None if isinstance(value, bool) or not isinstance(value, int | float) else _finite(value)


def _finite(value: str | float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None


def _time(value: Any) -> datetime:
    time = _times.parse(value) if isinstance(value, str) else None
    if time is None:
        raise UnfitError
    return time


def _locale(value: Any) -> str | None:
    if not isinstance(value, dict):
        return _text(value)
    language = value.get("language")
    return None if language is None else _converted(_text, language, "language")


def _brands(value: Any) -> tuple[Brand, ...]:
    if not isinstance(value, list):
        raise UnfitError
    return tuple(_converted(_brand, item, index) for index, item in enumerate(value))


def _leaf(kind: type[msgspec.Struct]) -> Convert:
    """Return the conversion of an object to a struct: at once when nothing in it is odd, else key by key."""
    key_by_key = _part(kind)

    def convert(value: Any) -> Any:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return key_by_key(value)

    return convert


def _part(kind: type[msgspec.Struct]) -> Convert:
    """Return the conversion of an object to a struct; it leaves out what the struct doesn't know."""
    table = {field.encode_name: (field.name, _conversion(kind, field)) for field in msgspec.structs.fields(kind)}

    def convert(value: Any) -> Any:
        known: dict[str, Any] = {}
        for key, inner in _object(value).items():
            if inner is not None and key in table:
                name, conversion = table[key]
                known[name] = _converted(conversion, inner, key)
        return kind(**known)

    return convert


def _conversion(kind: type[msgspec.Struct], field: msgspec.structs.FieldInfo) -> Convert:
    special = _SPECIAL.get((kind, field.name)) or _BY_TYPE.get(field.type)
    return special or _leaf(field.type)


_BY_TYPE: dict[Any, Convert] = {
    str | None: _text,
    bool | None: _flag,
    float | None: _coordinate,
    int | float | None: _size,
    Object: _object,
    tuple[Brand, ...]: _brands,
}
_SPECIAL: dict[tuple[type[msgspec.Struct], str], Convert] = {
    (Device, "advertising_id"): _string,
    (Context, "locale"): _locale,
}
_brand = _part(Brand)

_EVENT: dict[str, tuple[str, Convert]] = {
    "messageId": ("message_id", _id),
    "userId": ("user_id", _id),
    "anonymousId": ("anonymous_id", _id),
    "groupId": ("group_id", _id),
    "previousId": ("previous_id", _id),
    "event": ("event", _name),
    "name": ("name", _name),
    "category": ("category", _name),
    "properties": ("properties", _object),
    "traits": ("traits", _object),
    "context": ("context", _part(Context)),
    "integrations": ("integrations", _object),
    "timestamp": ("timestamp", _time),
    "originalTimestamp": ("original_timestamp", _time),
    "sentAt": ("sent_at", _time),
    "receivedAt": ("received_at", _time),
    "channel": ("channel", _text),
    "version": ("version", _version),
    "projectId": ("project_id", _text),
    "writeKey": ("write_key", _text),
    "_metadata": ("metadata", _object),
}
_NAMED = frozenset({"name", "category", "properties"})
_OWNED: dict[str, frozenset[str]] = {
    "page": _NAMED,
    "screen": _NAMED,
    "identify": frozenset({"traits"}),
    "track": frozenset({"event", "properties"}),
    "group": frozenset({"groupId", "traits"}),
    "alias": frozenset({"previousId"}),
    "delete": frozenset(),
}
_COMMON = frozenset(_EVENT) - frozenset().union(*_OWNED.values())


def _old_integrations(value: dict[str, Any]) -> dict[str, Any] | None:
    """Return what old libraries say: `context.integrations`, else `options.providers` and `options.all`."""
    options = _dict(value.get("options"))
    found = {**_dict(options.get("providers")), **_dict(_dict(value.get("context")).get("integrations"))}
    if isinstance(options.get("all"), bool) and "all" not in map(str.lower, found):
        found["All"] = options["all"]
    return found or None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

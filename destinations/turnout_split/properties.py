"""The properties and the value of an event, as Split takes them.

Sources: the Events API (values are text, numbers, booleans and null), and the limits of Split's SDKs: 300 properties;
32,768 bytes, counted as 1,024 and the lengths of names and texts. RudderStack flattens with dots, too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from turnout import Code, Event, Note, Refusal

__all__ = ["LARGEST", "check_size", "context_reader", "first_number", "flat", "kept"]

MOST = 300
LARGEST = 32_768
_EMPTY_SIZE = 1024
_NUMBER = re.compile(r"\s*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*", re.ASCII)

Properties = dict[str, Any]
_Leaf = tuple[int, tuple[str, ...], Any]


def flat(properties: Mapping[str, Any]) -> Properties:
    """Return the properties with objects flattened (`{"a": {"b": 1}}` becomes `a.b`) and lists as JSON text.

    Of two that come to one name the one stays that stood less deep.
    """
    if not any(value.__class__ in (dict, list) for value in properties.values()):
        return dict(properties)
    leaves = sorted(_leaves(properties, ()), key=lambda leaf: leaf[:2], reverse=True)
    return {".".join(path): value for _, path, value in leaves}


def _leaves(properties: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[_Leaf]:
    for name, value in properties.items():
        if value.__class__ is dict:
            yield from _leaves(value, (*path, name))
        else:
            yield len(path), (*path, name), _json(value) if value.__class__ is list else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def kept(properties: Properties) -> tuple[Properties, Note | None]:
    """Return at most 300 properties, the first by name, and a note on those that were left out."""
    if len(properties) <= MOST:
        return properties, None
    names = sorted(properties)
    message = f"Split takes {MOST} properties; {len(names) - MOST} were left out, from {names[MOST]!r} on."
    return {name: properties[name] for name in names[:MOST]}, Note(message, "/properties")


def check_size(properties: Properties) -> None:
    """Raise `Refusal` for properties that are too large together for Split."""
    texts = (value for value in properties.values() if isinstance(value, str))
    size = _EMPTY_SIZE + _bytes(properties) + _bytes(texts)
    if size > LARGEST:
        message = f"The properties come to {size:,} bytes as Split counts; it takes {LARGEST:,}. Send fewer or shorter."
        raise Refusal(Code.VENDOR_WOULD_REFUSE, message, "/properties")


def _bytes(texts: Iterable[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def first_number(properties: Mapping[str, Any], names: Iterable[str]) -> int | float | None:
    """Return the number of the first of these properties that is one, or a text that is one as a whole; else None."""
    return next((number for name in names if (number := _number(properties.get(name))) is not None), None)


def _number(value: Any) -> int | float | None:
    if value.__class__ in (int, float):
        return value
    if value.__class__ is not str or not _NUMBER.fullmatch(value):
        return None
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def context_reader(places: Mapping[str, str]) -> Callable[[Event], Properties]:
    """Return a function that reads places of an event (`context.os.name`) into properties of the names given."""
    paths = [(place.split("."), name) for place, name in places.items()]

    def read(event: Event) -> Properties:
        whole = event.to_dict()
        found = {name: _at(whole, path) for path, name in paths}
        return {name: value for name, value in found.items() if value is not None}

    return read


def _at(value: Any, path: Iterable[str]) -> Any:
    for part in path:
        if value.__class__ is not dict:
            return None
        value = value.get(part)
    return value

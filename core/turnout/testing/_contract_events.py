"""Events for the contract suite: those that it looks at, and what may be changed in them without changing an answer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from turnout.destination import Destination
from turnout.specimens import specimens

__all__ = [
    "ODD_VALUES",
    "Path",
    "backwards",
    "corpus",
    "has_null",
    "leaves",
    "places",
    "replaced",
    "smallest",
    "stamped",
    "without",
    "without_nulls",
]

Path = tuple[str | int, ...]

ODD_VALUES: list[Any] = [
    *("12", "1e5", ".", "-0", "١٢", "1e999", "NaN", "Infinity", " ", "\x00", "\u202e", "😀", "x" * 5000, "2016-02"),
    *(True, False, 0, -1, 1.0, 0.1, 1e308, -1e308, 5e-324, 2**53 + 1, 2**63, 10**40),
    *([], {}, [[]], [{}], [None], [[[[[["deep"]]]]]], {"": None}, {"a.b": {"$set": []}}),
]
"""Values that are legal somewhere in an event, and that nobody expects there; make a copy before you change one."""


def corpus(destination: Destination) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the specimens for a destination, each with its name; no two have a message id in common."""
    for each in specimens(destination=destination, parts=False):
        yield each.name, stamped(each.event, each.name)


def stamped(event: Mapping[str, Any], message_id: str) -> dict[str, Any]:
    """Return the event with a message id and with all its times, so that no clock has a part in it."""
    made = {"timestamp": "2026-01-02T03:04:05.678Z", **event, "messageId": message_id}
    return made | {"sentAt": "2026-01-02T03:04:06.789Z", "receivedAt": "2026-01-02T03:04:06.789Z"}


def backwards(value: Any) -> Any:
    """Return a JSON value with the keys of every object in the opposite order."""
    if isinstance(value, dict):
        return {key: backwards(inner) for key, inner in reversed(value.items())}
    return [backwards(inner) for inner in value] if isinstance(value, list) else value


def has_null(value: Any) -> bool:
    """Return whether a JSON value is or holds null."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(has_null, inner))


def without_nulls(value: Any) -> Any:
    """Return a JSON value without the members of objects that are null."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value inside a JSON value that is no object and no list, with its path."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of everything inside a JSON value, objects and lists included."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from places(inner, (*path, key))


def replaced(event: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """Return the event with another value at a path; what is beside the path is shared."""
    made, holder = _opened(event, path)
    holder[path[-1]] = value
    return made


def without(event: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the event without what is at a path; what is beside the path is shared."""
    made, holder = _opened(event, path)
    del holder[path[-1]]
    return made


def _opened(event: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], Any]:
    """Return a copy of the event whose objects and lists on the way to `path` are new, and the last one of these."""
    made: dict[str, Any] = dict(event)
    holder: Any = made
    for key in path[:-1]:
        holder[key] = copy.copy(holder[key])
        holder = holder[key]
    return made, holder


_KEPT = {"type", "messageId", "timestamp", "sentAt", "receivedAt"}


def smallest(event: dict[str, Any], shows: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return what is left of an event when everything is taken out without which it still shows something."""
    # Large parts first; of a list the last elements first, since taking one out moves those behind it.
    for path in sorted(places(event), key=_parts_first):
        if path[0] not in _KEPT and _has(event, path) and shows(less := without(event, path)):
            event = less
    return event


def _parts_first(path: Path) -> tuple[int, int]:
    last = path[-1]
    return len(path), -last if isinstance(last, int) else 0


def _has(event: Any, path: Path) -> bool:
    for key in path:
        if isinstance(event, list) and isinstance(key, int):
            if key >= len(event):
                return False
        elif not isinstance(event, dict) or key not in event:
            return False
        event = event[key]
    return True

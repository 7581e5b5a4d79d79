"""Events for the contract suite: those that it looks at, and what may be changed in them without changing an answer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from turnout.event import CALL_TYPES

__all__ = [
    "backwards",
    "corpus",
    "has_null",
    "leaves",
    "minimal",
    "replaced",
    "stamped",
    "without",
    "without_nulls",
]

Path = tuple[str | int, ...]


def corpus() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield events of every call, each with its name; no two have a message id in common."""
    for call_type in CALL_TYPES:
        yield f"minimal {call_type}", stamped(minimal(call_type), f"minimal-{call_type}")
    for number, event in enumerate(_sampled()):
        yield f"sample {number}", stamped(event, f"sample-{number}")


def _sampled(count: int = 60) -> list[dict[str, Any]]:
    from hypothesis import given, settings

    from turnout.testing.strategies import usual_events

    found: list[dict[str, Any]] = []

    @settings(max_examples=count, derandomize=True, database=None, deadline=None)
    @given(usual_events)
    def collect(event: dict[str, Any]) -> None:
        found.append(event)

    collect()
    return found


def minimal(call_type: str) -> dict[str, Any]:
    """Return the smallest event of a call type."""
    more = {
        "track": {"event": "Report Exported"},
        "group": {"groupId": "group-1"},
        "alias": {"previousId": "previous-1"},
    }
    return {"type": call_type, "userId": "user-1", **more.get(call_type, {})}


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


def replaced(event: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """Return the event with another value at a path."""
    return _changed(event, path, lambda holder, key: holder.__setitem__(key, value))


def without(event: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the event without what is at a path."""
    return _changed(event, path, lambda holder, key: holder.__delitem__(key))


def _changed(event: Mapping[str, Any], path: Path, change: Callable[[Any, Any], object]) -> dict[str, Any]:
    made = copy.deepcopy(dict(event))
    holder: Any = made
    for key in path[:-1]:
        holder = holder[key]
    change(holder, path[-1])
    return made

"""Values that stand twice in an event: a case that has them can't tell whether a rule took the right one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from turnout._json import pointer
from turnout.cases import Case
from turnout.event import CALL_TYPES
from turnout.sourcecases import SourceCase

__all__ = ["Alike", "alike"]

_WORDS: dict[str | int, tuple[str, ...]] = {"type": CALL_TYPES, "channel": ("server", "browser", "mobile")}


class Alike(msgspec.Struct, frozen=True):
    """One value at several places of one event: the event's number in the case (from 1), and the JSON Pointers."""

    event: int
    value: str | int | float
    paths: tuple[str, ...]


def alike(case: Case | SourceCase) -> list[Alike]:
    """Return the values that more than one string or number of an event of `case` has, in the order of the events.

    A number and its text are alike, since ids and texts are read as text. What doesn't count: true, false and null, the
    empty string (it is as good as absent), words that the spec prescribes (such as `type`), and equal values in
    different events of a case, which may belong together. Of a source's case, the parts of a list are its events.
    """
    return [one for number, event in enumerate(case.events, start=1) for one in _in_event(number, event)]


def _in_event(number: int, event: Any) -> Iterator[Alike]:
    places: dict[str, list[str]] = {}
    values: dict[str, Any] = {}
    for path, value in _leaves(event, ()):
        text = value if isinstance(value, str) else json.dumps(int(value) if value == int(value) else value)
        values.setdefault(text, value)
        places.setdefault(text, []).append(pointer(path))
    for text, paths in places.items():
        if len(paths) > 1:
            yield Alike(number, values[text], tuple(paths))


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _leaves(inner, (*path, position))
    elif value not in (None, "") and not isinstance(value, bool) and not _prescribed(path, value):
        yield path, value


def _prescribed(path: tuple[str | int, ...], value: object) -> bool:
    """Return whether the spec says which words can stand here, and this is one of them."""
    inside = path[2:] if path[0] == "batch" else path
    return len(inside) == 1 and value in _WORDS.get(inside[0], ())

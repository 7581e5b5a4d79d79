"""The JSON text of an event with the place of every value in it, so that one place can be changed without the rest.

Changing a place costs one copy of the text; nothing is decoded or encoded again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from turnout._json import compact

__all__ = ["Path", "Payload", "Place", "placed"]

Path = tuple[str | int, ...]
"""A path of keys and positions."""


class Place(msgspec.Struct, gc=False):
    """Where a value stands in the text: from `start` to `end`; cutting out `cut` removes it with its key and comma."""

    value: Any
    start: int
    end: int
    cut: tuple[int, int]


class Payload:
    """An event as plain data, its compact text, and the places of the values in it by path, outer ones first.

    What stands at the paths of `gone` is left out of text and places; all other paths stay what they were, and
    `altered` doesn't know of it.
    """

    __slots__ = ("gone", "places", "text", "value")

    def __init__(self, value: dict[str, Any], gone: Collection[Path] = ()) -> None:
        self.value = value
        self.gone = gone
        self.places: dict[Path, Place] = {}
        pieces: list[bytes] = []
        self._write(value, (), pieces, 0)
        self.text = b"".join(pieces)

    def _write(self, value: Any, path: Path, pieces: list[bytes], at: int) -> int:
        """Append the text of a value that begins at `at`; return where it ends."""
        if not _holds(value):
            text = compact(value)
            pieces.append(text)
            return at + len(text)
        named = value.__class__ is dict
        inner: list[tuple[int, Place]] = []
        for key, one in value.items() if named else enumerate(value):
            if self.gone and (*path, key) in self.gone:
                continue
            begin = at
            opening = (b"," if inner else b"{" if named else b"[") + (compact(key) + b":" if named else b"")
            pieces.append(opening)
            place = Place(one, at + len(opening), 0, (begin, 0))
            self.places[(*path, key)] = place
            at = place.end = self._write(one, (*path, key), pieces, place.start)
            inner.append((begin, place))
        if not inner:
            pieces.append(b"{}" if named else b"[]")
            return at + 2
        pieces.append(b"}" if named else b"]")
        for number, (begin, place) in enumerate(inner):
            # The first takes the comma behind it with it, any other the comma before it.
            behind = inner[1][0] + 1 if number == 0 and len(inner) > 1 else place.end
            place.cut = (begin + 1 if number == 0 else begin, behind)
        return at + 1

    def changed(self, path: Path, value: Any) -> bytes:
        """Return the text with another value at a place."""
        place = self.places[path]
        return self.text[: place.start] + compact(value) + self.text[place.end :]

    def cut(self, path: Path) -> bytes:
        """Return the text without the value at a place."""
        start, end = self.places[path].cut
        return self.text[:start] + self.text[end:]

    def altered(self, changes: Mapping[Path, Any]) -> bytes:
        """Return the text with several changes, none of them inside another; UNSET takes a value away."""
        copies: dict[Path, Any] = {}
        lists = []
        for path, value in changes.items():
            inside = self._copy(path[:-1], copies)
            if value is not UNSET or inside.__class__ is list:
                inside[path[-1]] = value
            else:
                del inside[path[-1]]
            if value is UNSET and inside.__class__ is list:
                lists.append(inside)
        for inside in lists:
            inside[:] = [one for one in inside if one is not UNSET]
        return compact(copies.get((), self.value))

    def _copy(self, path: Path, copies: dict[Path, Any]) -> Any:
        """Return the object or list at a path, copied with what it stands in."""
        if path not in copies:
            if path:
                outer = self._copy(path[:-1], copies)
                outer[path[-1]] = copies[path] = outer[path[-1]].copy()
            else:
                copies[path] = self.value.copy()
        return copies[path]

    def leaves(self) -> Iterator[Path]:
        """Yield the paths of what holds nothing else: scalars, and objects and lists that are empty."""
        return (path for path, place in self.places.items() if not _holds(place.value))


def _holds(value: Any) -> bool:
    return value.__class__ in (dict, list) and bool(value)


def placed(value: Any, path: Path, new: Any) -> Any:
    """Return a JSON value with `new` at a path, the objects on the way to it made where they are missing."""
    if not path:
        return new
    key, rest = path[0], path[1:]
    if value.__class__ is list and isinstance(key, int):
        return [*value[:key], placed(value[key] if key < len(value) else None, rest, new), *value[key + 1 :]]
    inner = value if value.__class__ is dict else {}
    return {**inner, key: placed(inner.get(key), rest, new)}

"""The declared set of perturbations: what a value of an event, and what a setting, is changed to."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from marshmallow import fields, validate
from msgspec import UNSET

from turnout._payload import Path
from turnout._times import iso, parse
from turnout.event import CALL_TYPES

__all__ = ["further_values", "other", "setting_values", "values"]

_SHIFT = timedelta(days=397, hours=1, minutes=1, seconds=1, milliseconds=1)
_KEPT = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://|[?&][\w.~-]+=")
_NUMERIC = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_LOWER, _UPPER, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
_LIBRARIES = ("analytics.js", "analytics-ios", "analytics-android", "analytics-python")
_KNOWN: Mapping[Path, tuple[str, ...]] = {("type",): CALL_TYPES, ("context", "library", "name"): _LIBRARIES}
"""Places at which a word means something to every destination, with these words."""


def values(path: Path, value: Any, number: int, taken: Collection[Any]) -> Iterator[Any]:
    """Yield what a value is changed to; UNSET stands for being deleted.

    A text: another of the same form, the same with other digits, the same in capitals (or in small letters), "", a
    numeric text (of a numeric one: a text that is none); where the spec knows the words, each of them. A number:
    another, 0, one of the other sign, one with a fraction (of a fraction: a whole one). A boolean: the other. A list:
    two elements swapped, the first one twice (its elements have paths of their own). Null and what is empty:
    something. `number` and `taken`, the values of the event, make new values unlike all others.
    """
    if path in _KNOWN:
        yield from (word for word in _KNOWN[path] if word != value)
    changed = other(value, number, taken)
    if changed is not UNSET and path != ("type",):
        yield changed
    yield UNSET
    if path == ("integrations",) and isinstance(value, dict):
        yield {**value, "All": False}
    if isinstance(value, str) and path != ("type",):
        yield from _texts(value, number)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _numbers(value)
    elif isinstance(value, list) and value:
        yield from _lists(value)


def other(value: Any, number: int, taken: Collection[Any] = ()) -> Any:
    """Return another value of the same kind, unlike all that are taken; UNSET for what holds values of its own."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return _other_text(value, number, taken)
    if isinstance(value, int | float):
        return _other_number(value, number, taken)
    if value is None or value in ([], {}):
        marker = f"marker {number}"
        return [marker] if value == [] else {"marker": marker} if value == {} else marker
    return UNSET


def _other_text(text: str, number: int, taken: Collection[Any]) -> str:
    time = parse(text) if text[:1].isdigit() else None
    if time is not None:
        try:
            return iso(time + _SHIFT + timedelta(milliseconds=number))
        except OverflowError:
            return iso(time - _SHIFT - timedelta(milliseconds=number))
    for turn in range(number, number + 8):
        made = _kept(text, lambda part, turn=turn: part.translate(_turned(turn)))
        if made != text and made not in taken:
            return made
    return f"{text}x{number}"


def _kept(text: str, change: Any) -> str:
    """Return a text with everything changed but the scheme of an address and the names of its parameters."""
    pieces, end = [], 0
    for kept in _KEPT.finditer(text):
        pieces += [change(text[end : kept.start()]), kept[0]]
        end = kept.end()
    return "".join([*pieces, change(text[end:])])


def _turned(number: int, letters: bool = True) -> dict[int, int]:
    """Return the table that moves digits, and letters, on by some places of the alphabet."""
    places, digits = number % 24 + 1, number % 8 + 1
    if not letters:
        return str.maketrans(_DIGITS, _DIGITS[digits:] + _DIGITS[:digits])
    alphabets = ((_LOWER, places), (_UPPER, places), (_DIGITS, digits))
    turned = "".join(every[count:] + every[:count] for every, count in alphabets)
    return str.maketrans(_LOWER + _UPPER + _DIGITS, turned)


def _other_number(value: float, number: int, taken: Collection[Any]) -> float:
    if isinstance(value, int):
        made = value + 1 + number
        while made in taken:
            made += 1
        return made
    half = value / 2 + (number + 1) / 1024
    return half if half != value else half + 1


def _texts(text: str, number: int) -> Iterator[Any]:
    numeric = _NUMERIC.fullmatch(text) is not None
    if not numeric and parse(text) is None:
        digits = _kept(text, lambda part: part.translate(_turned(number, letters=False)))
        if digits != text:
            yield digits
    capitals = _kept(text, str.upper if text != text.upper() else str.lower)
    if capitals != text:
        yield capitals
    if text:
        yield ""
    yield f"text {number}" if numeric else str(9_000_000 + number)


def _numbers(value: float) -> Iterator[Any]:
    if value:
        yield 0
    yield -value or -1
    try:
        yield value + 0.5 if isinstance(value, int) or value.is_integer() else math.trunc(value)
    except OverflowError:
        return  # an integer that no double can hold


def _lists(value: list[Any]) -> Iterator[Any]:
    place = next((number for number, one in enumerate(value) if one != value[0]), None)
    if place is not None:
        yield [value[place], *value[1:place], value[0], *value[place + 1 :]]
    yield [value[0], *value]


def setting_values(name: str, field: fields.Field[Any], value: Any) -> Iterator[Any]:
    """Yield what a setting is changed to; a schema may refuse some of these.

    A choice: each other one. A flag: the other. A number: two others, and its bounds. A text: another of the same form,
    and "". A list: without each entry, and with a new one. An object: without each entry, with each entry's value
    changed, and with a new entry. Nothing set: something.
    """
    choices = _choices(field)
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, list):
        yield from ([*value[:number], *value[number + 1 :]] for number in range(len(value)))
        yield [*value, f"marker-{name}"]
    elif isinstance(value, Mapping):
        yield from _entries(name, dict(value), choices)
    elif choices:
        yield from (choice for choice in (*choices, _default(field)) if choice != value and choice is not None)
    elif isinstance(value, int | float):
        yield from _bounded(field, value)
    else:
        yield from _words(name, value)


def further_values(name: str, field: fields.Field[Any], value: Any, words: Sequence[str]) -> Iterator[Any]:
    """Yield what a list or an object of a setting is changed to with words of an event, all in one.

    `words` are keys and paths with dots: what such settings hold.
    """
    further = [word for word in words if word not in value] if isinstance(value, list | Mapping) else []
    if further and isinstance(value, list):
        yield [*value, *further]
    elif further and not _choices(field):
        yield {**value, **{word: f"marker-{name}-{number}" for number, word in enumerate(further)}}


def _choices(field: fields.Field[Any]) -> tuple[Any, ...]:
    own: tuple[Any, ...] = tuple(getattr(field, "choices", ()))
    allowed = (one.choices for one in field.validators if isinstance(one, validate.OneOf))
    return own or next((tuple(one) for one in allowed), ())


def _default(field: fields.Field[Any]) -> Any:
    default = field.load_default
    return default() if callable(default) else None


def _words(name: str, value: Any) -> Iterator[Any]:
    if not isinstance(value, str):
        yield from () if value is not None else (f"marker-{name}", 1, True)
    elif value:
        yield _other_text(value, len(name), ())
        yield ""
    else:
        yield f"marker-{name}"
        yield f"https://marker.example/{name}"


def _bounded(field: fields.Field[Any], value: float) -> Iterator[Any]:
    least, most = getattr(field, "minimum", None), getattr(field, "maximum", None)
    for one in (value + 7, value - 1, least, most):
        if one is not None and one != value and (least is None or one >= least) and (most is None or one <= most):
            yield one


def _entries(name: str, value: dict[str, Any], choices: tuple[Any, ...]) -> Iterator[Any]:
    for key in value:
        yield {kept: one for kept, one in value.items() if kept != key}
        others = choices or (f"marker-{name}",)
        yield from (value | {key: one} for one in others if one != value[key])
    yield from (value | {f"marker-{name}": choice} for choice in choices or ("marker",))

"""What a decoded event violates of a JSON Schema of the spec: the same errors as a reference validator, at once.

A validator of the whole standard costs a millisecond for an event, and more to import than a refusal should take. The
spec needs few keywords; `turnout_specs.validator` stays the reference, and tests compare the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

__all__ = ["Path", "Violation", "violations"]

Path = tuple[str | int, ...]
Schema = Mapping[str, Any]


class Violation(msgspec.Struct, frozen=True):
    """One error: where it is, the keyword that says so with what it asks for, and what is there instead."""

    path: Path
    keyword: str
    expected: Any
    instance: Any


def violations(value: Any, schema: Schema, path: Path = ()) -> Iterator[Violation]:
    """Yield every error of a value, in the order of the schema; one without references."""
    for keyword, expected in schema.items():
        check = _CHECKS.get(keyword)
        if check is not None:
            yield from check(value, expected, path)


def _type(value: Any, expected: Any, path: Path) -> Iterator[Violation]:
    names = (expected,) if isinstance(expected, str) else expected
    if not any(_IS[name](value) for name in names):
        yield Violation(path, "type", expected, value)


def _is_integer(value: Any) -> bool:
    return value.__class__ is int or (value.__class__ is float and value.is_integer())


_IS: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: value.__class__ in (int, float),
    "integer": _is_integer,
}


def _all(value: Any, expected: list[Schema], path: Path) -> Iterator[Violation]:
    for one in expected:
        yield from violations(value, one, path)


def _any(value: Any, expected: list[Schema], path: Path) -> Iterator[Violation]:
    if all(next(violations(value, one, path), None) for one in expected):
        yield Violation(path, "anyOf", expected, value)


def _properties(value: Any, expected: Mapping[str, Schema], path: Path) -> Iterator[Violation]:
    if isinstance(value, dict):
        for key, one in expected.items():
            if key in value:
                yield from violations(value[key], one, (*path, key))


def _required(value: Any, expected: list[str], path: Path) -> Iterator[Violation]:
    if isinstance(value, dict):
        yield from (Violation(path, "required", expected, value) for key in expected if key not in value)


def _items(value: Any, expected: Schema, path: Path) -> Iterator[Violation]:
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from violations(one, expected, (*path, number))


def _at_least(value: Any, expected: int, path: Path) -> Iterator[Violation]:
    if isinstance(value, str) and len(value) < expected:
        yield Violation(path, "minLength", expected, value)


_search = cache(re.compile)


def _pattern(value: Any, expected: str, path: Path) -> Iterator[Violation]:
    if isinstance(value, str) and not _search(expected).search(value):
        yield Violation(path, "pattern", expected, value)


def _equal(value: Any, expected: str, path: Path) -> Iterator[Violation]:
    if value != expected:
        yield Violation(path, "const", expected, value)


def _one_of(value: Any, expected: list[str], path: Path) -> Iterator[Violation]:
    if value not in expected:
        yield Violation(path, "enum", expected, value)


_CHECKS: dict[str, Callable[[Any, Any, Path], Iterator[Violation]]] = {
    "type": _type,
    "allOf": _all,
    "anyOf": _any,
    "properties": _properties,
    "required": _required,
    "items": _items,
    "minLength": _at_least,
    "pattern": _pattern,
    "const": _equal,
    "enum": _one_of,
}

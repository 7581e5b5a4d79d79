"""The settings that a suite of cases is about: one of each shape of its cases, and their like with one change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from turnout._configure import names_by_key
from turnout._fields import is_set
from turnout._variants import changed, variants
from turnout.cases import Case
from turnout.destination import Destination
from turnout.errors import ConfigError
from turnout.settings import SettingDoc, Settings, describe

__all__ = ["kind_of", "kinds", "settings_told", "shapes", "values_of"]

ON, OFF, SET, NOT_SET, DEFAULT, ANOTHER = "on", "off", "set", "not set", "default", "another"
_FLAGS = ("true or false", "boolean")
Shape = tuple[tuple[str, str], ...]
"""Each setting with what counts of its value."""


def kind_of(one: SettingDoc, value: Any) -> str:
    """Return what counts of a setting's value.

    That is on or off of a flag and the word of a choice; else whether it is set, or another value than by default.
    """
    if isinstance(value, bool):
        return ON if value else OFF
    if _is_choice(one):
        return str(value)
    if is_set(one.default):
        return DEFAULT if value == one.default else ANOTHER
    return SET if is_set(value) else NOT_SET


def values_of(schema: type[Settings]) -> dict[str, tuple[str, ...]]:
    """Return what can count of each setting's value; a setting that must be given can't be not set."""
    return {one.name: _values(one) for one in _described(schema)}


def _values(one: SettingDoc) -> tuple[str, ...]:
    if one.type in _FLAGS or isinstance(one.default, bool):
        return (ON, OFF)
    if _is_choice(one):
        return tuple(dict.fromkeys((*one.choices, *(() if one.required else (str(one.default),)))))
    if is_set(one.default):
        return (DEFAULT, ANOTHER)
    return (SET,) if one.required else (SET, NOT_SET)


def _is_choice(one: SettingDoc) -> bool:
    return bool(one.choices) and not isinstance(one.default, dict)


@lru_cache(maxsize=64)
def _described(schema: type[Settings]) -> tuple[SettingDoc, ...]:
    return tuple(describe(schema))


def kinds(destination: Destination) -> dict[str, str]:
    """Return what counts of each setting of a destination."""
    return {one.name: kind_of(one, destination.config[one.name]) for one in _described(destination.settings)}


def shape_of(destination: Destination) -> Shape:
    """Return the same as a key."""
    return tuple(kinds(destination).items())


def settings_told(destination: Destination) -> dict[str, Any]:
    """Return the settings that are not at their default, for a person; secrets and what is routing are left out."""
    fields = destination.settings().load_fields
    config = destination.config
    return {
        one.name: config[one.name]
        for one in _described(destination.settings)
        if not one.secret and config[one.name] != one.default and not fields[one.name].metadata.get("routing")
    }


def shapes(cases: Iterable[Case], kind: type[Destination], plugin: str) -> list[Destination]:
    """Return destinations with the settings of the cases, one for each shape, plainest first; and with single changes.

    Of the plainest one (and of the same in the other connection mode, where the destination knows two) each setting is
    changed in turn, as the schema allows. Raises `ConfigError` for settings that are wrong, with the case.
    """
    found: dict[Shape, Destination] = {}
    for case in _distinct(cases, kind.settings):
        made = _configured(case, kind, plugin)
        found.setdefault(shape_of(made), made)
    if not found:
        return []
    plain = min(found.values(), key=lambda one: len(one.config.given))
    for base in _modes(plain):
        found.setdefault(shape_of(base), base)
        for variant in variants(base, ()):
            if variant.checked is not None:
                found.setdefault(shape_of(variant.checked), variant.checked)
    first = shape_of(plain)
    return [found[shape] for shape in sorted(found, key=lambda one: _distance(one, first))]


def _modes(plain: Destination) -> Iterator[Destination]:
    yield plain
    for mode in ("cloud", "device"):
        if plain.config.get("connection_mode", mode) != mode:
            other = changed(plain, {"connection_mode": mode})
            if other is not None:
                yield other


def _distance(one: Shape, other: Shape) -> int:
    return sum(mine != theirs for mine, theirs in zip(one, other, strict=True))


def _configured(case: Case, kind: type[Destination], plugin: str) -> Destination:
    try:
        return kind(case.settings, id=plugin, environ={})
    except ConfigError as error:
        raise ConfigError(f"{case.path}: {error}") from None


def _distinct(cases: Iterable[Case], schema: type[Settings]) -> Iterator[Case]:
    """Yield the cases without those whose settings only differ in words; nothing is configured for that."""
    described = {one.name: one for one in _described(schema)}
    known = names_by_key(schema())
    seen: set[bytes] = set()
    for case in cases:
        told = {known.get(key, key): value for key, value in case.settings.items()}
        kinds = {name: kind_of(described[name], value) for name, value in told.items() if name in described}
        key = msgspec.json.encode(kinds, order="sorted")
        if key not in seen:
            seen.add(key)
            yield case

"""Settings for the contract suite: valid ones, made from a schema, and what else each setting may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from marshmallow import fields, validate

from turnout._fields import is_set
from turnout.destination import Destination, declared_rules
from turnout.errors import SettingsError
from turnout.settings import Settings
from turnout.testing._contract_words import NothingToSee

__all__ = ["main_variants", "single_variants", "valid_settings", "values_of", "with_canaries"]

_DEVICE = {"connection_mode": "device"}
_FORMS = (
    *("0123456789abcdef0123456789abcdef", "5e8f0c1a-7b2d-4f3e-9a6b-1c2d3e4f5a6b", "someone@vendor.example"),
    *("1234567890", "2026-01-01", "US", "a"),
)


def values_of(name: str, field: fields.Field[Any]) -> list[Any]:
    """Return values that a setting accepts, the most ordinary one first and none of them twice."""
    accepted: dict[str, Any] = {}
    for value in _candidates(name, field):
        try:
            read = field.deserialize(value)
        except Exception:  # noqa: S112 - whatever a field of its author's raises, it doesn't accept the value
            continue
        accepted.setdefault(repr(read), value)
    return list(accepted.values())


def _candidates(name: str, field: fields.Field[Any]) -> Iterator[Any]:
    word = name.replace("_", "-")
    choices = tuple(getattr(field, "choices", ()))
    yield from choices
    for validator in field.validators:
        yield from _validated(word, validator)
    yield from (True, False, f"{word}-1", f"https://{word}.example", f"{word}-2")
    bounds = [getattr(field, bound, None) for bound in ("minimum", "maximum")]
    yield from (bound for bound in bounds if bound is not None)
    yield from (1, 30, 0, 2.5, [f"{word}-1", f"{word}-2"], [])
    yield from ({f"{word}-1": choice} for choice in choices or (f"{word}-2",))
    yield from ({}, *_FORMS)


def _validated(word: str, validator: object) -> Iterator[Any]:
    """Yield what a validator of marshmallow's accepts."""
    if isinstance(validator, validate.OneOf):
        yield from validator.choices
    elif isinstance(validator, validate.Range):
        yield from (bound for bound in (validator.min, validator.max) if bound is not None)
    elif isinstance(validator, validate.Length):
        size = validator.equal or validator.min or validator.max or len(word)
        yield (f"{word}-" + "0123456789" * (size // 10 + 1))[:size]
    elif isinstance(validator, validate.Regexp):
        yield _matching(str(validator.regex.pattern))


@lru_cache
def _matching(pattern: str) -> str:
    """Return the simplest text that matches a pattern, of plain characters if it can be."""
    from hypothesis import HealthCheck, find, settings, strategies
    from hypothesis.errors import HypothesisException

    quiet = settings(database=None, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    try:
        plain = strategies.characters(min_codepoint=33, max_codepoint=126)
        found: str = find(strategies.from_regex(pattern, alphabet=plain), lambda _: True, settings=quiet)
    except HypothesisException:
        found = find(strategies.from_regex(pattern), lambda _: True, settings=quiet)
    return found


def valid_settings(kind: type[Destination], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `given`, completed with a value for each required setting; raises `NothingToSee` when none fits.

    Those are also made that the schema finds missing although it doesn't state them as required.
    """
    known = kind.settings().load_fields
    left = {name: values_of(name, field) for name, field in known.items() if field.required}
    while True:
        made = {name: values[0] for name, values in left.items() if values}
        settings = kind.settings.overlay(made, given or {})
        try:
            kind.settings.configure(settings)
        except SettingsError as error:
            if not _moved_on(left, known, error, given or {}):
                raise NothingToSee(f"No valid settings could be made: {error}") from None
        else:
            return settings


def _moved_on(
    left: dict[str, list[Any]], known: Mapping[str, fields.Field[Any]], error: SettingsError, given: Mapping[str, Any]
) -> bool:
    """Take the next value for each setting that an error names; return whether there was any."""
    before = {name: len(values) for name, values in left.items()}
    for name in error.errors:
        if name in left:
            left[name] = left[name][1:] or left[name]
        elif name in known and name not in given:
            left[name] = [value for value in values_of(name, known[name]) if is_set(value)]
    return before != {name: len(values) for name, values in left.items()}


def with_canaries(kind: type[Destination], settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings with a telling value in every secret, and these values by name.

    A secret that accepts no such value keeps the one it has.
    """
    made, canaries = dict(settings), {}
    for name, field in kind.settings().load_fields.items():
        if not field.metadata.get("secret"):
            continue
        for canary in (f"canary/{name}+Q7=x&y", f"canary{name}Q7x".replace("_", ""), None):
            value = made.get(name) if canary is None else canary
            if isinstance(value, str) and value and _accepted(kind, kind.settings.overlay(made, {name: value})):
                made = kind.settings.overlay(made, {name: value})
                canaries[name] = value
                break
    return made, canaries


def _accepted(kind: type[Destination], settings: Mapping[str, Any]) -> bool:
    try:
        kind.settings.configure(settings)
    except SettingsError:
        return False
    return True


def main_variants(kind: type[Destination], settings: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the settings under which every event is looked at, each with the words for them.

    They are the settings themselves, every flag on and every flag off, in each connection mode.
    """
    known = kind.settings().load_fields
    flags = [name for name, field in known.items() if values_of(name, field) == [True, False]]
    looks: list[tuple[str, dict[str, Any]]] = [("the settings as they are", {})]
    if flags:
        looks.append(("every flag on", dict.fromkeys(flags, True)))
        looks.append(("every flag off", dict.fromkeys(flags, False)))
    for words, changes in looks:
        yield words, kind.settings.overlay(settings, changes)
        if has_device_mode(kind):
            yield f"{words}, connection_mode = device", kind.settings.overlay(settings, changes | _DEVICE)


def has_device_mode(kind: type[Destination]) -> bool:
    """Return whether the destination can map as the vendor's own libraries do."""
    field = kind.settings().load_fields.get("connection_mode")
    return field is not None and "device" in values_of("connection_mode", field)


def single_variants(kind: type[Destination], settings: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the settings with one of them changed, for each value, and with what each rule's condition asks for."""
    own = {name: field for name, field in kind.settings().load_fields.items() if name not in Settings().load_fields}
    for name, field in own.items():
        for value in values_of(name, field)[: max(3, len(getattr(field, "choices", ())))]:
            if value != settings.get(name):
                yield f"{name} = {value!r}", _with(kind, settings, {name: value})
    for rule in declared_rules(kind):
        asked = {name.removeprefix("not "): not name.startswith("not ") for name in rule.settings}
        changes = {name: _switched(name, own[name], on) for name, on in asked.items() if name in own}
        if "server" not in rule.platforms and has_device_mode(kind):
            changes |= _DEVICE
        if changes:
            yield f"what the rule '{rule.id}' asks for", _with(kind, settings, changes)


def _switched(name: str, field: fields.Field[Any], on: bool) -> Any:
    return next((value for value in (*values_of(name, field), "") if bool(value) is on), None)


def _with(kind: type[Destination], settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with `changes`, and with the settings that these require."""
    known = kind.settings().load_fields
    needed = {}
    for name in changes:
        other = known[name].metadata.get("requires")
        if other and other not in changes:
            needed[other] = _switched(other, known[other], on=True)
    return kind.settings.overlay(settings, needed | dict(changes))

"""The JSON Schemas of a tracking plan: how they are checked once, and what makes one error of each key at fault."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from typing import Any, cast

import referencing
from jsonschema import (
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
    FormatChecker,
)
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing.exceptions import Unresolvable

from turnout._json import pointer
from turnout._planwords import complaint
from turnout._times import parse
from turnout.errors import ConfigError, did_you_mean

__all__ = ["KEYWORDS", "Path", "Schema", "check_schema", "closed", "validator"]

Schema = dict[str, Any] | bool
"""A JSON Schema: an object, true (anything) or false (nothing)."""

Path = tuple[str | int, ...]
_DRAFTS: dict[str, Any] = {
    "http://json-schema.org/draft-04/schema": Draft4Validator,
    "http://json-schema.org/draft-06/schema": Draft6Validator,
    "http://json-schema.org/draft-07/schema": Draft7Validator,
    "https://json-schema.org/draft/2019-09/schema": Draft201909Validator,
    "https://json-schema.org/draft/2020-12/schema": Draft202012Validator,
}
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_USUAL = "http://json-schema.org/draft-07/schema"
_BY_NAME = ("properties", "patternProperties", "definitions", "$defs", "dependentSchemas", "dependencies")
_SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_ONE = ("additionalProperties", "items", "contains", "not", "if", "then", "else", "propertyNames", "additionalItems")
_UNEVALUATED = ("unevaluatedItems", "unevaluatedProperties")
KEYWORDS = frozenset({"definitions", "$defs"}).union(*(kind.VALIDATORS for kind in _DRAFTS.values()))
"""The keywords that say something of a value, and those under which schemas stand for others."""
_LOWERED = {name.lower(): name for name in sorted(KEYWORDS) if not name.startswith("$")}
_OPEN = frozenset({"$ref", "allOf", "anyOf", "oneOf", "if", "additionalProperties", "unevaluatedProperties"})
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+")


def check_schema(schema: Schema, file: str, path: Path, definitions: Mapping[str, Any], *, own: bool) -> None:
    """Raise `ConfigError` for a schema that can't be used; `file` and `path` say where it stands.

    `definitions` are those that the plan has for all its schemas. `own` says that it was written for a plan in
    turnout's form, where a keyword that is nearly one of JSON Schema is taken for a mistake.
    """
    try:
        _kind(_draft(schema, file, path)).check_schema(schema, format_checker=FormatChecker(formats=[]))
    except SchemaError as error:
        where = pointer((*path, *error.absolute_path))
        raise ConfigError(f"{file}: {where}: is not a JSON Schema: {_wrong(error)}") from None
    for place, part in _parts(schema, path):
        _check_patterns(part, file, place)
        if own:
            _check_keywords(part, file, place)
        if isinstance(part.get("$ref"), str):
            _check_reference(part, schema, definitions, file, (*place, "$ref"))


def _wrong(error: SchemaError) -> str:
    if error.absolute_path and error.absolute_path[-1] == "type" and isinstance(error.instance, str):
        hint = did_you_mean(error.instance, _TYPES) or f" Known: {', '.join(_TYPES)}."
        return f"'{error.instance}' is no type.{hint}"
    return f"this {complaint(error)}."


def _parts(schema: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield a schema and all that stand in it, each with its path."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for name in (*_ONE, *_UNEVALUATED):
        yield from _parts(schema.get(name), (*path, name))
    for name in _SEVERAL:
        several = schema.get(name)
        for index, part in enumerate(several if isinstance(several, list) else ()):
            yield from _parts(part, (*path, name, index))
    for name in _BY_NAME:
        for key, part in _members(schema, name).items():
            yield from _parts(part, (*path, name, key))


def _members(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    members = schema.get(name)
    return members if isinstance(members, dict) else {}


def _check_patterns(part: Mapping[str, Any], file: str, place: Path) -> None:
    named = _members(part, "patternProperties")
    patterns = [("pattern", part["pattern"])] if isinstance(part.get("pattern"), str) else []
    for last, pattern in [*patterns, *((key, key) for key in named)]:
        try:
            re.compile(pattern)
        except re.error as error:
            where = pointer((*place, last) if last == "pattern" else (*place, "patternProperties", last))
            raise ConfigError(f"{file}: {where}: {pattern!r} is no pattern that Python can read: {error}.") from None


def _check_keywords(part: Mapping[str, Any], file: str, place: Path) -> None:
    """Refuse a misspelt keyword, which JSON Schema would quietly pass over."""
    for key in part:
        if key not in KEYWORDS and (near := difflib.get_close_matches(key.lower(), _LOWERED, n=1, cutoff=0.8)):
            meant = f"Did you mean '{_LOWERED[near[0]]}'?"
            raise ConfigError(f"{file}: {pointer((*place, key))}: '{key}' is no keyword of JSON Schema. {meant}")


def _check_reference(
    part: Mapping[str, Any], schema: Schema, definitions: Mapping[str, Any], file: str, place: Path
) -> None:
    reference, checker = part["$ref"], validator(schema, definitions)
    where = f"{file}: {pointer(place)}: '{reference}'"
    try:
        for _ in checker.evolve(schema=dict(part)).iter_errors({}):
            pass
    except RecursionError:
        raise ConfigError(f"{where} leads back to itself without an end.") from None
    except Unresolvable:
        if reference.startswith("#"):
            raise ConfigError(f"{where} leads nowhere in this schema. Put what it names under 'definitions'.") from None
        advice = "Put it under 'definitions' and write '#/definitions/…'."
        raise ConfigError(f"{where} is not in this file, and nothing is fetched. {advice}") from None


def closed(schema: Schema, planned: frozenset[str] = frozenset()) -> Schema:
    """Return a schema that allows only the properties that it lists, in the objects of its objects and lists as well.

    `planned` are others that are allowed. What says itself what more may come (`additionalProperties`), or refers
    to or combines schemas, stays as it is.
    """
    if not isinstance(schema, dict) or _OPEN & schema.keys():
        return schema
    made = dict(schema)
    listed = _members(schema, "properties")
    if "properties" in schema:
        made["properties"] = {**dict.fromkeys(planned, True), **{name: closed(one) for name, one in listed.items()}}
        made["additionalProperties"] = False
    if isinstance(schema.get("items"), dict):
        made["items"] = closed(schema["items"])
    return made


def validator(schema: Schema, definitions: Mapping[str, Any]) -> Any:
    """Return what checks values against a schema that `check_schema` has found to be good; nothing is ever fetched."""
    kind = _kind(_identifier(schema))
    return kind(_with(schema, definitions), registry=referencing.Registry(), format_checker=_formats())


def _with(schema: Schema, definitions: Mapping[str, Any]) -> Schema:
    """Return the schema with the plan's definitions beside its own."""
    if not isinstance(schema, dict) or not definitions:
        return schema
    shared = {name: {**group, **_members(schema, name)} for name, group in definitions.items()}
    return {**schema, **shared}


def _identifier(schema: Schema) -> str:
    told = schema.get("$schema") if isinstance(schema, dict) else None
    if not isinstance(told, str):
        return _USUAL
    plain = told.removesuffix("#")
    return next((known for known in _DRAFTS if known.partition(":")[2] == plain.partition(":")[2]), plain)


def _draft(schema: Schema, file: str, path: Path) -> str:
    identifier = _identifier(schema)
    if identifier not in _DRAFTS:
        known = ", ".join(_DRAFTS)
        raise ConfigError(f"{file}: {pointer((*path, '$schema'))}: {identifier!r} is no known draft. Known: {known}.")
    return identifier


@cache
def _kind(identifier: str) -> Any:
    """Return the validator class of a draft, with one error for each key that is missing, unplanned or misnamed."""
    own = {
        "required": _required,
        "properties": _properties,
        "patternProperties": _patterns,
        "additionalProperties": _additional,
        "propertyNames": _names,
        "multipleOf": _multiple,
    }
    base, made = _DRAFTS[identifier], cast("Any", extend)
    return made(base, {name: check for name, check in own.items() if name in base.VALIDATORS})


def _required(validator: Any, required: list[str], instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        yield from (ValidationError("", path=[name]) for name in required if name not in instance)


def _properties(validator: Any, listed: dict[str, Schema], instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for name, part in listed.items():
            if name in instance:
                yield from _property(validator, instance, name, part)


def _patterns(validator: Any, patterns: dict[str, Schema], instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, part in patterns.items():
            for name in instance:
                if re.search(pattern, name):
                    yield from _property(validator, instance, name, part)


def _property(validator: Any, instance: dict[str, Any], name: str, schema: Schema) -> Iterator[ValidationError]:
    if schema is False:  # jsonschema forgets where the value stands
        return iter([ValidationError("", path=[name], instance=instance[name], validator="false")])
    errors: Iterator[ValidationError] = validator.descend(instance[name], schema, path=name, schema_path=name)
    return errors


def _additional(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict) or allowed is True:
        return
    listed, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name in instance:
        if name in listed or any(re.search(pattern, name) for pattern in patterns):
            continue
        if allowed is False:
            yield ValidationError("", path=[name], instance=instance[name])
        else:
            yield from validator.descend(instance[name], allowed, path=name)


def _names(validator: Any, names: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    for name in instance if isinstance(instance, dict) else ():
        if next(iter(validator.descend(name, names)), None) is not None:
            yield ValidationError("", path=[name], instance=instance[name])


def _multiple(validator: Any, step: int | float, instance: Any, schema: Any) -> Iterator[ValidationError]:
    # As written, 19.99 is a multiple of 0.01; as doubles they aren't.
    if validator.is_type(instance, "number") and (_exact(instance) / _exact(step)).denominator != 1:
        yield ValidationError("")


def _exact(number: int | float) -> Fraction:
    return Fraction(repr(number)) if isinstance(number, float) else Fraction(number)


@cache
def _formats() -> FormatChecker:
    """Return the formats that are checked; JSON Schema leaves that open, and others are passed over."""
    made = FormatChecker(formats=["date", "email", "ipv4", "ipv6", "uuid"])
    made.checks("date-time")(lambda value: not isinstance(value, str) or _is_instant(value))
    made.checks("uri")(lambda value: not isinstance(value, str) or _URI.fullmatch(value) is not None)
    return made


def _is_instant(text: str) -> bool:
    return _RFC_3339.fullmatch(text) is not None and parse(text) is not None

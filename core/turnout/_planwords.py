"""What JSON Schema finds wrong with a value, in plain words; the value itself is shown only on demand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, cast

from jsonschema.exceptions import SchemaError, ValidationError, best_match

from turnout._json import article
from turnout.errors import did_you_mean

__all__ = ["complaint", "hint", "kind", "meant"]

Fault = ValidationError | SchemaError

_LISTED = 5
_LONGEST = 60
_ABSENT = "required"
_TYPES = {
    "object": "an object",
    "array": "a list",
    "boolean": "a boolean",
    "string": "a string",
    "number": "a number",
    "integer": "an integer",
    "null": "null",
}
_KINDS = {
    "required": "missing",
    "type": "wrong type",
    "additionalProperties": "not in the plan",
    "unevaluatedProperties": "not in the plan",
    "false": "not in the plan",
    "propertyNames": "name not allowed",
    "enum": "value not allowed",
    "const": "value not allowed",
    "pattern": "wrong pattern",
    "format": "wrong format",
}


def complaint(error: Fault, *, value: bool = False) -> str:
    """Return what is wrong, as words that go on from a value's name: `must be a number, but is a string`.

    With `value`, the value at fault is shown, cut to 60 characters.
    """
    said = _SAID.get(str(error.validator or "false"))
    told = said(error) if said else f"does not fit `{error.validator}` in the plan"
    if not value or error.validator == _ABSENT:
        return told
    return f"{told}; it is {_shown(error.instance)}"


def kind(keyword: str) -> str:
    """Return what sort of violation a keyword of JSON Schema finds, for a summary."""
    return _KINDS.get(keyword, keyword)


def hint(error: Fault) -> str:
    """Return ` Did you mean 'total'?` for a name that the plan doesn't have, where it has one like it."""
    if error.validator != "additionalProperties" or not isinstance(error.schema, dict):
        return ""
    return meant(str(error.absolute_path[-1]), tuple(error.schema.get("properties", ())))


@lru_cache(maxsize=4096)
def meant(word: str, known: tuple[str, ...]) -> str:
    """Return ` Did you mean 'x'?` for the nearest known word, or nothing; looking among hundreds takes milliseconds."""
    return did_you_mean(word, known)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _either(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _type(error: Fault) -> str:
    return _must_be([error.validator_value], error.instance)


def _must_be(told: Iterable[Any], instance: Any) -> str:
    names = [name for one in told for name in ([one] if isinstance(one, str) else one)]
    if names == ["integer"] and isinstance(instance, float):
        return "must be an integer, but has a fraction"
    return f"must be {_either(_TYPES.get(name, name) for name in dict.fromkeys(names))}, but is {article(instance)}"


def _forms(error: Fault) -> str:
    context = error.context or ()
    if not context:
        return "fits several forms of the plan, and must fit exactly one"
    if all(one.validator == "type" and not one.path for one in context):
        return _must_be((one.validator_value for one in context), error.instance)
    nearest = best_match([cast("ValidationError", error)])
    told = "fits none of the forms that the plan allows"
    if nearest is None or nearest is error:
        return told
    below = list(nearest.absolute_path)[len(error.absolute_path) :]
    place = f"`{'.'.join(map(str, below))}` " if below else ""
    return f"{told}; the nearest: {place}{complaint(nearest)}"


def _enum(error: Fault) -> str:
    allowed: Any = error.validator_value
    more = f" ({len(allowed)} in all)" if len(allowed) > _LISTED else ""
    return f"must be {_either(_shown(one) for one in allowed[:_LISTED])}{more}"


def _say(text: str) -> Callable[[Fault], str]:
    """Return what makes a complaint of a keyword's value in the plan."""
    return lambda error: text.format(_shown(error.validator_value))


def _have(bound: str, one: str, several: str) -> Callable[[Fault], str]:
    return lambda error: f"must have {bound} {error.validator_value} {one if error.validator_value == 1 else several}"


def _format(error: Fault) -> str:
    return f"must have the format {error.validator_value}"


def _least(error: Fault) -> str:
    return _bound(error, "exclusiveMinimum", "at least", "more than")


def _most(error: Fault) -> str:
    return _bound(error, "exclusiveMaximum", "at most", "less than")


def _bound(error: Fault, exclusive: str, usual: str, strict: str) -> str:
    schema: Any = error.schema
    return f"must be {strict if schema.get(exclusive) is True else usual} {error.validator_value}"  # draft 4 says true


_SAID: dict[str, Callable[[Fault], str]] = {
    "false": _say("is not in the plan"),
    "type": _type,
    "anyOf": _forms,
    "oneOf": _forms,
    "enum": _enum,
    "format": _format,
    "minimum": _least,
    "maximum": _most,
    "required": _say("is missing, and the plan requires it"),
    "additionalProperties": _say("is not in the plan"),
    "unevaluatedProperties": _say("holds properties that are not in the plan"),
    "propertyNames": _say("has a name that the plan does not allow"),
    "const": _say("must be {}"),
    "pattern": _say("must match the pattern {}"),
    "exclusiveMinimum": _say("must be more than {}"),
    "exclusiveMaximum": _say("must be less than {}"),
    "multipleOf": _say("must be a multiple of {}"),
    "minLength": _have("at least", "character", "characters"),
    "maxLength": _have("at most", "character", "characters"),
    "minItems": _have("at least", "item", "items"),
    "maxItems": _have("at most", "item", "items"),
    "uniqueItems": _say("must not have the same item twice"),
    "contains": _say("has no item of the kind that the plan asks for"),
    "minProperties": _have("at least", "property", "properties"),
    "maxProperties": _have("at most", "property", "properties"),
    "not": _say("has a form that the plan excludes"),
    "dependentRequired": _say("lacks a property that the plan requires beside another"),
    "dependencies": _say("lacks a property that the plan requires beside another"),
}

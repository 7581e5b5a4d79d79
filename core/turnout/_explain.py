"""The precise refusal of an event: what the JSON Schema says, as code, sentence and JSON Pointer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turnout._json import article, pointer
from turnout._violations import Violation, violations
from turnout.errors import Refusal
from turnout.reasons import Code

__all__ = ["refusal"]

_TIMES = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
_IDS = ("messageId", "userId", "anonymousId", "groupId", "previousId")
_CODES = {
    **dict.fromkeys(_IDS, Code.ID_NOT_STRING),
    "event": Code.EVENT_NOT_STRING,
    "name": Code.NAME_NOT_STRING,
    "category": Code.CATEGORY_NOT_STRING,
    "properties": Code.PROPERTIES_NOT_OBJECT,
    "traits": Code.TRAITS_NOT_OBJECT,
    "context": Code.CONTEXT_INVALID,
    "integrations": Code.INTEGRATIONS_NOT_OBJECT,
    **dict.fromkeys(_TIMES, Code.TIMESTAMP_INVALID),
}
_CONTEXT_CODES = {
    ("context",): Code.CONTEXT_NOT_OBJECT,
    ("context", "traits"): Code.TRAITS_NOT_OBJECT,
    ("context", "device", "advertisingId"): Code.DEVICE_ADVERTISING_ID_NOT_STRING,
}
_ORDER = {key: index for index, key in enumerate(_CODES)}
_ADVICE = {
    Code.ID_NOT_STRING: "Send ids as strings.",
    Code.TIMESTAMP_INVALID: "Write ISO 8601, such as 2024-05-17T08:30:00.000Z.",
    Code.EVENT_NOT_STRING: "Name what was done, such as 'Order Completed'.",
    Code.EVENT_NOT_DEFINED: "Name what was done, such as 'Order Completed'.",
    Code.NO_USER_ANON_ID: "Give `userId`, `anonymousId` or both.",
    Code.ID_REQUIRED: "Give it as a non-empty string.",
    Code.NAME_NOT_STRING: "Send a string, or leave it out.",
    Code.CATEGORY_NOT_STRING: "Send a string, or leave it out.",
}
_WORDS = {"object": "an object", "array": "a list", "boolean": "a boolean", "string": "a string"}
_WORDS |= {"number": "a number", "integer": "an integer", "null": "null"}


def refusal(value: dict[str, Any], call_type: str, path: Sequence[str | int]) -> Refusal:
    """Return why a decoded event isn't accepted; `path` leads to the value that coercion could not use."""
    from turnout_specs import resolved

    errors = sorted(violations(value, resolved(call_type)), key=_rank)
    if not errors:
        return _impossible_time(value, path)
    return _told(errors[0], value, call_type)


def _rank(error: Violation) -> tuple[int, int, str]:
    """Sort what is wrong at a key (in the order of the codes) before what is missing."""
    path = list(error.path)
    place = _ORDER.get(str(path[0]), len(_ORDER)) if path else len(_ORDER) + 1
    return place, len(path), pointer(path)


def _told(error: Violation, value: dict[str, Any], call_type: str) -> Refusal:
    path = list(error.path)
    if not path:
        return _missing(error, value, call_type)
    if path[0] in ("userId", "groupId", "event") and error.instance in (None, ""):
        return _lacking(str(path[0]), call_type)
    code = _code(path)
    name = f"`{'.'.join(map(str, path))}`"
    return Refusal(code, f"{name} {_complaint(error)}. {_advice(code)}", pointer(path))


def _code(path: list[str | int]) -> Code:
    special = _CONTEXT_CODES.get(tuple(map(str, path)))
    return special or _CODES.get(str(path[0]), Code.FIELD_INVALID)


def _complaint(error: Violation) -> str:
    if error.keyword == "pattern":
        what = "a time that can be read" if error.path[0] in _TIMES else "a number"
        return f"must be {what}, but is the text {str(error.instance)[:40]!r}"
    expected: Any = error.expected
    types = [_WORDS[name] for name in ([expected] if isinstance(expected, str) else expected)]
    words = " or ".join(filter(None, (", ".join(types[:-1]), types[-1])))
    return f"must be {words}, but is {article(error.instance)}"


def _a(call_type: str) -> str:
    return f"{'An' if call_type[0] in 'ai' else 'A'} {call_type}"


def _advice(code: Code) -> str:
    return _ADVICE.get(code, "Send it so, or leave it out.")


def _missing(error: Violation, value: dict[str, Any], call_type: str) -> Refusal:
    if error.keyword == "anyOf":
        message = f"{_a(call_type)} call has neither a `userId` nor an `anonymousId`. {_advice(Code.NO_USER_ANON_ID)}"
        return Refusal(Code.NO_USER_ANON_ID, message)
    required: Any = error.expected
    return _lacking(next(key for key in required if key not in value), call_type)


def _lacking(key: str, call_type: str) -> Refusal:
    code = Code.EVENT_NOT_DEFINED if key == "event" else Code.ID_REQUIRED
    return Refusal(code, f"{_a(call_type)} call has no `{key}`. {_advice(code)}", f"/{key}")


def _impossible_time(value: dict[str, Any], path: Sequence[str | int]) -> Refusal:
    key = str(path[0])
    message = (
        f"`{key}` is no possible time: {str(value[key])[:40]!r}. It is 29 February of a common year, "
        "or outside the years 1 to 9999 in UTC. Correct it."
    )
    return Refusal(Code.TIMESTAMP_INVALID, message, f"/{key}")

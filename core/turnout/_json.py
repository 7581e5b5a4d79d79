"""Free-form JSON: its types for the quick decoder, strict reading, strict Python values, depth, copies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from math import inf, isfinite, isinf
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import orjson

from turnout.errors import Refusal
from turnout.reasons import Code

__all__ = [
    "NotJsonError",
    "Object",
    "article",
    "compact",
    "dumps",
    "encode",
    "encode_source",
    "fresh",
    "pointer",
    "read",
    "strict",
    "too_deep",
]

if TYPE_CHECKING:
    Object = dict[str, Any]
else:
    _value = int | float | str | bool | None
    for _ in range(5):
        # Five levels are told apart by type, which costs nothing; what is deeper goes the slow way, where
        # its depth is counted. A type without an end would let the quick decoder accept any depth.
        _value = int | float | str | bool | None | list[_value] | dict[str, _value]
    Object = dict[str, _value]

compact = msgspec.json.encode
dumps = orjson.dumps
"""The quick encoder; a TypeError means that `encode` has to look at the value."""


class NotJsonError(TypeError):
    """A Python value that JSON can't say."""


def encode(value: Any) -> bytes:
    """Return a value as compact JSON: orjson is quicker, msgspec writes integers of any size.

    Raises `NotJsonError`, a TypeError, that names the place.
    """
    try:
        return dumps(value)
    except TypeError:
        pass
    try:
        return compact(strict(value))
    except Refusal as refusal:
        raise NotJsonError(f"{refusal}{f' ({refusal.reason.path})' if refusal.reason.path else ''}") from None


_decode = msgspec.json.Decoder().decode
_DEPTH = 200
_DIGITS = 4300
_SURROGATES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|\\u[dD][c-fC-F][0-9a-fA-F]{2}"
).finditer
_TOO_DEEP = "Objects and lists are nested too deeply to be read. Flatten them."


def read(raw: bytes) -> Any:
    """Return the value of a JSON text; raise `Refusal` when it is not JSON, not UTF-8, or holds 1e999.

    Of duplicate keys the last wins. Integers keep every digit, up to 4,300 of them; floats are IEEE doubles.
    """
    try:
        return _decode(raw)
    except RecursionError:
        raise Refusal(Code.NESTING_TOO_DEEP, _TOO_DEEP) from None
    except UnicodeDecodeError:
        raise Refusal(Code.BAD_REQUEST, _not_utf8(raw)) from None
    except msgspec.ValidationError:
        raise Refusal(Code.NUMBER_OUT_OF_RANGE, _OUT_OF_RANGE, _place_of_infinity(raw)) from None
    except msgspec.DecodeError as error:
        raise Refusal(Code.BAD_REQUEST, _malformed(raw, str(error))) from None


_OUT_OF_RANGE = (
    "A number is out of range: no double can hold it, or it is an integer of more than 4,300 digits. "
    "Send it as a string."
)


def _place_of_infinity(raw: bytes) -> str | None:
    """Return the pointer of the first number that is out of range, where the text can be read otherwise."""
    try:
        value = json.loads(raw, parse_int=lambda digits: inf if len(digits) > _DIGITS else 0)
    except (ValueError, RecursionError):
        return None
    level: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while level:
        for path, number in level:
            if isinstance(number, float) and isinf(number):
                return pointer(path)
        level = [inner for path, outer in level for inner in _inner(path, outer)]
    return None


def _not_utf8(raw: bytes) -> str:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return f"The input is not UTF-8 (byte {error.start}). Encode the JSON text as UTF-8."
    return "A string of the input can't be decoded. Encode the JSON text as UTF-8."


def _malformed(raw: bytes, message: str) -> str:
    if not raw.strip():
        return "The input is empty. Send one JSON object for each event."
    if raw.startswith(b"\xef\xbb\xbf"):
        return "The input starts with a byte order mark (byte 0). Send UTF-8 without it."
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in raw[:4]:
        return "The input looks like UTF-16. Send UTF-8."
    half = _half_pair(raw) if "surrogate" in message or "truncated" in message else None
    if half is not None:
        return f"A \\u escape is half of a surrogate pair (byte {half}). Send both, or UTF-8."
    text = message.removeprefix("JSON is malformed: ")
    if "truncated" in text:
        text = f"it ends too early (byte {len(raw)})"
    lone = ", all of it on one line" if raw.strip() == b"{" else ""
    return f"The input is not JSON: {text}. Send one JSON object for each event{lone}."


def encode_source(source: object) -> bytes:
    """Return the JSON text of what an event is given as: bytes, str, or a mapping of strict JSON values.

    Raises `Refusal` (`bad_request`, or what `strict` says).
    """
    if isinstance(source, str):
        try:
            return source.encode()
        except UnicodeEncodeError as error:
            message = f"The text holds half of a surrogate pair (character {error.start}). Remove it."
            raise Refusal(Code.BAD_REQUEST, message) from None
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, Mapping):
        return compact(strict(source))
    message = f"An event is a JSON text or a mapping, not {type(source).__name__}. Give one of these."
    raise Refusal(Code.BAD_REQUEST, message)


def _half_pair(raw: bytes) -> int | None:
    """Return where a text escapes one half of a surrogate pair without the other, None for nowhere."""
    for escape in _SURROGATES(raw):
        if escape[0] != b"\\\\" and not escape[1]:
            return escape.start()
    return None


def pointer(parts: Iterator[str | int] | list[str | int] | tuple[str | int, ...]) -> str:
    """Return the JSON Pointer (RFC 6901) of a path of keys and positions."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def article(value: object) -> str:
    """Return the JSON word for a value, with its article; the value itself stays out of messages."""
    if value is None:
        return "null"
    words = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return words.get(type(value), "an object")


def too_deep(value: Any, limit: int) -> str | None:
    """Return the pointer of an object or list below the depth `limit`, or None; `value` has depth 1."""
    level: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    for _ in range(limit):
        found = (inner for path, outer in level for inner in _inner(path, outer))
        level = [(path, inner) for path, inner in found if isinstance(inner, dict | list)]
        if not level:
            return None
    return pointer(level[0][0])


def _inner(path: tuple[str | int, ...], value: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield what an object or a list holds, each with its path."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key), inner


def fresh(value: Any) -> Any:
    """Return a copy of a JSON value that shares no object and no list with it."""
    if isinstance(value, dict):
        return {key: fresh(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [fresh(inner) for inner in value]
    return value


def strict(value: Any, path: tuple[str | int, ...] = ()) -> Any:
    """Return a Python value as plain JSON values: new dicts and lists, times and UUIDs as text.

    Raises `Refusal` with a pointer for what JSON can't say: keys that aren't strings, NaN and infinity, sets,
    bytes, other objects, lone surrogates, and for what is nested in more than 200 levels (also in a circle).
    """
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, int | float):
        return _number(value, path)
    if isinstance(value, datetime | date | UUID):
        return value.isoformat() if isinstance(value, date) else str(value)
    if not isinstance(value, Mapping | list | tuple):
        raise Refusal(Code.FIELD_INVALID, _not_json(value), pointer(path))
    if len(path) >= _DEPTH:
        raise Refusal(Code.NESTING_TOO_DEEP, _TOO_DEEP, pointer(path))
    if isinstance(value, Mapping):
        return {_key(key, path): strict(inner, (*path, key)) for key, inner in value.items()}
    return [strict(inner, (*path, index)) for index, inner in enumerate(value)]


def _text(value: str, path: tuple[str | int, ...]) -> str:
    if value.isascii():
        return str.__str__(value)
    try:
        value.encode()
    except UnicodeEncodeError:
        message = "A string holds half of a surrogate pair, which UTF-8 can't carry. Remove it."
        raise Refusal(Code.FIELD_INVALID, message, pointer(path)) from None
    return str.__str__(value)


def _number(value: float, path: tuple[str | int, ...]) -> int | float:
    if isinstance(value, int):
        if value.bit_length() <= 14_000:  # the decoder's limit of 4,300 digits, a little below it
            return int(value)
    elif isfinite(value):
        return float(value)
    raise Refusal(Code.NUMBER_OUT_OF_RANGE, _OUT_OF_RANGE, pointer(path))


def _key(key: object, path: tuple[str | int, ...]) -> str:
    if not isinstance(key, str):
        message = f"A key of an object must be a string, but is {type(key).__name__} {key!r:.40}."
        raise Refusal(Code.FIELD_INVALID, message, pointer(path))
    return _text(key, path)


def _not_json(value: object) -> str:
    return (
        f"A {type(value).__name__} is not a JSON value. "
        "Give strings, numbers, booleans, None, lists and dicts (times and UUIDs become text)."
    )

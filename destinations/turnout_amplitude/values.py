"""Reading amounts, texts, ids and times out of what people send."""

from __future__ import annotations

import math
import re
from typing import Any

from turnout import epoch_ms

__all__ = ["amount", "first_text", "numeric", "session_id", "text_of", "whole"]

_LEADING = re.compile(r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_WHOLE = re.compile(_LEADING.pattern + r"\s*")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LONG = 2**63  # HTTP V2 documentation: session_id is a long, quantity an int


def amount(value: Any) -> int | float | None:
    """Return a number out of a revenue, total, price or quantity, or None (AMP-REV-01, -21).

    Numbers pass, booleans don't; a text loses `$` and `,` and is read as the decimal number that it starts with.
    """
    kind = value.__class__
    if kind is float or kind is int:  # JSON has no infinity, so a float of an event is finite
        return value  # type: ignore[no-any-return]
    if kind is str:
        found = _LEADING.match(value.replace("$", "").replace(",", ""))
        return _number(found[1]) if found else None
    return None


def numeric(value: Any) -> int | float | None:
    """Return a number, or the number that a text is as a whole, or None (AMP-IDENT-13)."""
    if value.__class__ is str:
        found = _WHOLE.fullmatch(value)
        return _number(found[1]) if found else None
    return amount(value)


def _number(text: str) -> int | float | None:
    if _INTEGER.fullmatch(text) and len(text) < 300:
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else None


def whole(number: float) -> int | None:
    """Return a number as the 64-bit integer that a quantity has to be, or None when it is none."""
    if number.__class__ is float and not number.is_integer():
        return None
    return int(number) if -_LONG <= number < _LONG else None


def text_of(value: Any) -> str | None:
    """Return a scalar as the text that stands for it in JSON, or None for null, "" and containers (AMP-GROUP-08)."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    return None


def first_text(values: dict[str, Any], *keys: str) -> str | None:
    """Return the text of the first of these keys that has one."""
    for key in keys:
        found = text_of(values.get(key))
        if found is not None:
            return found
    return None


def session_id(value: Any) -> int | None:
    """Return a session id in ms, -1 for what can't be read, None for what isn't there (AMP-SESS-01 to -03)."""
    if value is None or value == "":
        return None
    found: int | None = None
    if value.__class__ is int or (value.__class__ is float and value.is_integer()):
        found = int(value)
    elif value.__class__ is str:
        if not (value.isascii() and value.isdigit()):
            found = epoch_ms(value)
        elif len(value) < 300:
            found = int(value)
    return found if found is not None and -_LONG <= found < _LONG else -1

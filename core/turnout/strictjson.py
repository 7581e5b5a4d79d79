"""JSON files that people write by hand: settings and cases. Duplicate keys, NaN and 1e999 are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from turnout._json import read, strict
from turnout.errors import ConfigError, Refusal

__all__ = ["load_object"]


def load_object(path: Path, what: str) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises `ConfigError` that names the file and says what is wrong: missing, not UTF-8, not JSON (with the line),
    a duplicate key, a number that no double can hold, or no object. `what` is a word for the object.
    """
    try:
        raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}.") from None
    try:
        read(raw)
        loaded = json.loads(raw, object_pairs_hook=_no_duplicates)
        loaded = strict(loaded)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    except (Refusal, _DuplicateError) as error:
        raise ConfigError(f"{path}: {_located(raw, str(error))}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: the {what} must be a JSON object.")
    return loaded


class _DuplicateError(ValueError):
    pass


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise _DuplicateError(f"the key {json.dumps(key)} stands twice in one object. Keep one of them.")
        made[key] = value
    return made


def _located(raw: bytes, message: str) -> str:
    """Return the message with line and column where the standard library can tell them."""
    try:
        json.loads(raw)
    except json.JSONDecodeError as error:
        return f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
    except (ValueError, RecursionError):
        pass
    return message

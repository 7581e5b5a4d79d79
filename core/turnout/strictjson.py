"""Objects in files that people write by hand: settings, cases, profiles. Duplicate keys, NaN and 1e999 are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from turnout._json import read, strict
from turnout.errors import ConfigError, Refusal

__all__ = ["load_file", "load_object", "read_file"]

_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"?|//[^\r\n]*|/\*.*?\*/|/\*', re.DOTALL)
_MARK = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|[{}]')


def load_file(path: Path, what: str) -> dict[str, Any]:
    """Return the object in a JSON file that may hold comments (`//` and `/* */`), or in a YAML file (`.yaml`, `.yml`).

    Raises `ConfigError` as `load_object` does, for YAML also when PyYAML is not installed.
    """
    if path.suffix in (".yaml", ".yml"):
        from turnout._yaml import load_yaml

        return load_yaml(path, what)
    return load_object(path, what, comments=True)


def load_object(path: Path, what: str, *, comments: bool = False) -> dict[str, Any]:
    """Return the JSON object in a file; with `comments`, `//` and `/* */` may stand in it wherever a blank may.

    Raises `ConfigError` that names the file and says what is wrong: missing, not UTF-8, not JSON (with the line),
    a duplicate key, a number that no double can hold, or no object. `what` is a word for the object.
    """
    raw = read_file(path)
    if comments and b"/" in raw:
        raw = _without_comments(raw, path)
    try:
        read(raw)
        loaded = json.loads(raw, object_pairs_hook=_no_duplicates)
        loaded = strict(loaded)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    except _DuplicateError as error:
        key, place = json.dumps(error.key), _second(raw.decode(), error.key)
        raise ConfigError(f"{path}: the key {key} stands twice in one object{place}. Keep one of them.") from None
    except Refusal as error:
        place = f"{error.reason.path}: " if error.reason.path else ""
        raise ConfigError(f"{path}: {place}{_located(raw, str(error))}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: the {what} must be a JSON object.")
    return loaded


def read_file(path: Path) -> bytes:
    """Return the bytes of a file without a byte order mark; raises `ConfigError` when it can't be read."""
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}.") from None


def _without_comments(raw: bytes, path: Path) -> bytes:
    """Return the text with blanks for comments, so that every place stays where it is."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw

    def blank(found: re.Match[str]) -> str:
        piece = found[0]
        if piece == "/*":
            where = _place(text, found.start())
            raise ConfigError(f"{path}: is not JSON: the comment that begins here has no end{where}.")
        return re.sub(r"[^\r\n]", " ", piece) if piece.startswith("/") else piece

    return _TOKEN.sub(blank, text).encode()


def _place(text: str, position: int) -> str:
    line, begin = text.count("\n", 0, position) + 1, text.rfind("\n", 0, position)
    return f" (line {line}, column {position - begin})"


class _DuplicateError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise _DuplicateError(key)
        made[key] = value
    return made


def _second(text: str, key: str) -> str:
    """Return the place where `key` stands for the second time in one object of a JSON text."""
    seen: list[bool] = []
    for found in _MARK.finditer(text):
        if found[0] == "{":
            seen.append(False)
        elif found[0] == "}":
            seen.pop()
        elif found[2] is not None and json.loads(found[1]) == key:
            if seen[-1]:
                return _place(text, found.start())
            seen[-1] = True
    return ""


def _located(raw: bytes, message: str) -> str:
    """Return the message with line and column where the standard library can tell them."""
    try:
        json.loads(raw, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        return f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
    except _ConstantError as error:
        return f"is not JSON: it has no {error}. Write a number, or a text."
    except (ValueError, RecursionError):
        pass
    return message


class _ConstantError(ValueError):
    pass


def _no_constant(name: str) -> None:
    raise _ConstantError(name)

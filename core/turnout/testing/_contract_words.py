"""How a check of the contract suite says what it found: a house rule that is broken, or nothing to look at."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from turnout._json import pointer

__all__ = ["Broken", "NothingToSee", "difference", "shown"]

_LONGEST_EVENT = 4000


class Broken(Exception):
    """A rule of the house is broken: what was found, where, with which event, and how to mend it."""

    def __init__(self, found: str, mend: str, *, where: str = "", event: Any = None) -> None:
        super().__init__(found)
        self.found = found
        self.mend = mend
        self.where = where
        self.event = event

    def told(self, house_rule: str, subject: str) -> str:
        """Return the message: the rule, and a line for each thing that is known."""
        lines = [house_rule, f"  plugin  {subject}", f"  found   {self.found}"]
        if self.where:
            lines.append(f"  where   {self.where}")
        if self.event is not None:
            lines.append(f"  event   {_event(self.event)}")
        return "\n".join([*lines, f"  mend    {self.mend}"])


class NothingToSee(Exception):
    """A check had nothing to look at; the sentence says what was missing."""


def _event(event: Any) -> str:
    text = event if isinstance(event, str) else json.dumps(msgspec.to_builtins(event), ensure_ascii=False)
    return text if len(text) <= _LONGEST_EVENT else f"{text[:_LONGEST_EVENT]}… ({len(text):,} characters)"


_ABSENT = object()


def difference(one: Any, other: Any, path: tuple[str | int, ...] = ()) -> str:
    """Return the first place in which two JSON values differ and both values there; empty when they are equal."""
    if type(one) is not type(other) or not isinstance(one, dict | list):
        if type(one) is type(other) and one == other:
            return ""
        return f"{pointer(path) or 'the whole'}: {shown(one)} and {shown(other)}"
    keys = dict.fromkeys([*_keys(one), *_keys(other)])
    pairs = ((key, _at(one, key), _at(other, key)) for key in keys)
    return next((found for key, left, right in pairs if (found := difference(left, right, (*path, key)))), "")


def _keys(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else list(range(len(value)))


def _at(value: Any, key: Any) -> Any:
    if isinstance(value, dict):
        return value.get(key, _ABSENT)
    return value[key] if key < len(value) else _ABSENT


def shown(value: Any) -> str:
    """Return a JSON value as a message shows it: on one line, and short."""
    if value is _ABSENT:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 200 else text[:197] + "..."

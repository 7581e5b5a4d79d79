"""How a check of the contract suite says what it found: a house rule that is broken, or nothing to look at."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from turnout.differences import Difference, differences

__all__ = ["Broken", "NothingToSee", "difference", "shown", "told_difference"]

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


def difference(one: Any, other: Any) -> str:
    """Return the first place in which two JSON values differ, with what is there; empty when they are equal."""
    if msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted"):
        return ""
    found = differences(one, other)
    return told_difference(found[0]) if found else ""


def told_difference(found: Difference) -> str:
    """Return one difference as a message tells it."""
    place = found.path or "the whole"
    if found.kind == "moved":
        return f"{place}: it was at {found.was}"
    sides = {"added": f"nothing and {shown(found.now)}", "missing": f"{shown(found.was)} and nothing"}
    return f"{place}: {sides.get(found.kind, f'{shown(found.was)} and {shown(found.now)}')}"


def shown(value: Any) -> str:
    """Return a JSON value as a message shows it: on one line, and short."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 200 else text[:197] + "..."

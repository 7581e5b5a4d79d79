"""How a check of the contract suite says what it found: a house rule that is broken, or nothing to look at."""

from __future__ import annotations

import json
from typing import Any

import msgspec

__all__ = ["Broken", "NothingToSee"]

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

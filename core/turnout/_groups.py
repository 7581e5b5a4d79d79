"""Long lists: a change is tried on many of their elements at once, and on each alone only where that could show more.

Of a hundred products every price is changed in the first declared way, one after the other. The further ways are tried
on halves of the prices: for each bit of their numbers on those that have it, and on those that haven't. Any two prices
are apart in one of these groups. So a place that one price moves doesn't move in some group that holds another, and
for a price are left only the places that moved in every group that holds it. Where it is not known to move all of
these, it is changed alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from turnout._json import pointer
from turnout._output import Difference, Target
from turnout._payload import Path, Payload
from turnout._pointer import general

__all__ = ["Grouped", "families"]

_LONG = 16
"""Up to so many values at like places are changed one by one."""


def families(payload: Payload) -> list[list[Path]]:
    """Return the leaves that stand at like places of elements of lists, where these are many."""
    found: dict[str, list[Path]] = {}
    for path in payload.leaves():
        if any(step.__class__ is int for step in path):
            found.setdefault(general(pointer(path)), []).append(path)
    return [family for family in found.values() if len(family) > _LONG]


class Grouped:
    """What one way of changing the values of a family moves when it is tried on groups of them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._bits = (len(paths) - 1).bit_length()
        self._groups = {path: self._of(number) for number, path in enumerate(paths)}
        self._ended = 0
        """The groups, as bits, that tell nothing: what they move can't be told apart."""
        self._moved: dict[Target, int] = {}
        """For each place the groups that moved it, as bits."""
        self._after: dict[Target, Any] = {}

    def _of(self, number: int) -> int:
        """Return the groups that hold the value with this number, as bits."""
        return sum(1 << (2 * bit + (number >> bit & 1)) for bit in range(self._bits))

    @property
    def groups(self) -> Iterable[tuple[int, list[Path]]]:
        """Return each group: its number, and the paths in it."""
        every = range(2 * self._bits)
        return [(group, [path for path, mine in self._groups.items() if mine >> group & 1]) for group in every]

    def keep(self, group: int, moved: Sequence[Difference]) -> None:
        """Keep what a group has moved; where items or elements came or went it may be at any place."""
        if not all(one.sure and one.target.part in ("item", "key", "endpoint") and _inside(one) for one in moved):
            self._ended |= 1 << group
        for one in moved:
            self._moved[one.target] = self._moved.get(one.target, 0) | 1 << group
            self._after[one.target] = one.after

    def may_move(self, path: Path) -> Mapping[Target, Any] | None:
        """Return the places that a value may move alone, with what would stand there; None: any."""
        mine = self._groups[path]
        if self._ended & mine == mine:
            return None
        return {one: self._after[one] for one in self._by_pattern(mine)}

    def _by_pattern(self, mine: int) -> Iterable[Target]:
        patterns = self.__dict__.get("_patterns")
        if patterns is None:
            patterns = self._patterns = self._sorted()
        return [one for pattern, each in patterns.items() if (pattern | self._ended) & mine == mine for one in each]

    def _sorted(self) -> dict[int, list[Target]]:
        found: dict[int, list[Target]] = {}
        for target, groups in self._moved.items():
            found.setdefault(groups, []).append(target)
        return found


def _inside(one: Difference) -> bool:
    """Return whether a difference is a field, not an item as a whole or an element that came."""
    return bool(one.target.path or one.target.part != "item") and not one.target.path.endswith("/-")

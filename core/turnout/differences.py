"""What changed between two JSON values: only the places that differ, lists aligned so that one more shifts nothing."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from turnout._json import pointer

__all__ = ["Difference", "Pair", "align", "differences", "shorten"]

Pair = tuple[int | None, int | None]
"""The positions of an element before and after; None where it is not there."""

_Path = tuple[str | int, ...]
_ALIKE = 0.2
"""Two objects that share less than this part of their leaves are two, not one that changed."""
_LARGEST = 2_500
"""Blocks with more pairs than this are aligned from the front: comparing all of them would take too long."""


class Difference(msgspec.Struct, frozen=True):
    """One place that differs: `added`, `missing`, `changed` or `moved`.

    `path` is a JSON Pointer: into what is there now, for what is missing into what was. `was` and `now` are the values;
    None for what was not there. For what moved, `was` is the pointer that it had.
    """

    kind: str
    path: str
    was: Any = None
    now: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, without the side on which nothing was there."""
        sides = {"added": ("now",), "missing": ("was",)}.get(self.kind, ("was", "now"))
        return {"kind": self.kind, "path": self.path, **{side: getattr(self, side) for side in sides}}


def differences(was: Any, now: Any) -> list[Difference]:
    """Return where `now` differs from `was`; elements of lists that came, went or moved first.

    Numbers differ when their texts do (1 and 1.0), and true is not 1.
    """
    found = list(_compare(was, now, ()))
    return [one for whole, one in found if whole] + [one for whole, one in found if not whole]


def _compare(was: Any, now: Any, path: _Path) -> Iterator[tuple[bool, Difference]]:
    """Yield each difference, and whether it is an element of a list as a whole."""
    if isinstance(was, dict) and isinstance(now, dict):
        yield from _objects(was, now, path)
    elif isinstance(was, list) and isinstance(now, list):
        yield from _lists(was, now, path)
    elif _text(was) != _text(now):
        yield False, Difference("changed", pointer(path), was, now)


def _objects(was: dict[str, Any], now: dict[str, Any], path: _Path) -> Iterator[tuple[bool, Difference]]:
    for key in [*was, *(key for key in now if key not in was)]:
        here = (*path, key)
        if key not in now:
            yield False, Difference("missing", pointer(here), was=was[key])
        elif key not in was:
            yield False, Difference("added", pointer(here), now=now[key])
        else:
            yield from _compare(was[key], now[key], here)


def _lists(was: list[Any], now: list[Any], path: _Path) -> Iterator[tuple[bool, Difference]]:
    pairs = align(was, now)
    gone = {i: _text(was[i]) for i, j in pairs if i is not None and j is None}
    for i, j in pairs:
        if i is None and j is not None:
            from_ = next((old for old, text in gone.items() if text == _text(now[j])), None)
            if from_ is None:
                yield True, Difference("added", pointer((*path, j)), now=now[j])
            else:
                del gone[from_]
                yield True, Difference("moved", pointer((*path, j)), pointer((*path, from_)), pointer((*path, j)))
        elif i is not None and j is not None:
            yield from _compare(was[i], now[j], (*path, j))
    for i in gone:
        yield True, Difference("missing", pointer((*path, i)), was=was[i])


def align(was: list[Any], now: list[Any]) -> list[Pair]:
    """Return which element of `was` is which of `now`, in order: equal ones, and between them those most alike."""
    before, after = [_text(one) for one in was], [_text(one) for one in now]
    pairs: list[Pair] = []
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    for kind, i, i_end, j, j_end in blocks:
        if kind == "equal":
            pairs += zip(range(i, i_end), range(j, j_end), strict=True)
        else:
            inner = _block(was[i:i_end], now[j:j_end])
            pairs += [(None if a is None else a + i, None if b is None else b + j) for a, b in inner]
    return pairs


def _block(was: list[Any], now: list[Any]) -> list[Pair]:
    """Align elements none of which is equal to one on the other side."""
    if len(was) * len(now) > _LARGEST or not any(isinstance(one, dict | list) for one in (*was, *now)):
        longest = range(max(len(was), len(now)))
        return [(n if n < len(was) else None, n if n < len(now) else None) for n in longest]
    return _best(_likenesses(was, now), len(was), len(now))


def _best(likeness: list[list[float]], rows: int, columns: int) -> list[Pair]:
    """Return the pairs in order whose likenesses come to most; those that are hardly alike stay alone."""
    most = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            pair = likeness[i][j] + most[i + 1][j + 1] if likeness[i][j] >= _ALIKE else 0.0
            most[i][j] = max(pair, most[i + 1][j], most[i][j + 1])
    pairs: list[Pair] = []
    i = j = 0
    while i < rows and j < columns:
        if likeness[i][j] >= _ALIKE and most[i][j] == likeness[i][j] + most[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif most[i][j] == most[i + 1][j]:
            pairs.append((i, None))
            i += 1
        else:
            pairs.append((None, j))
            j += 1
    return pairs + [(n, None) for n in range(i, rows)] + [(None, n) for n in range(j, columns)]


def _likenesses(was: list[Any], now: list[Any]) -> list[list[float]]:
    """Return how much of each pair is equal, from 0 to 1: of their leaves, or of their keys where that is more."""
    before, after = [_counted(one) for one in was], [_counted(one) for one in now]
    return [[max(_share(a, b) for a, b in zip(one, other, strict=True)) for other in after] for one in before]


def _counted(value: Any) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    keys = value.items() if isinstance(value, dict) else ()
    return Counter(_leaves(value)), Counter((key, _text(inner)) for key, inner in keys)


def _share(was: Counter[tuple[str, str]], now: Counter[tuple[str, str]]) -> float:
    return (was & now).total() / (max(was.total(), now.total()) or 1)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each leaf with its path, without the positions in lists: an element may have moved."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}/{key}")
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _leaves(inner, f"{path}/*")
    else:
        yield path, _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def shorten(was: str, now: str, width: int) -> tuple[str, str]:
    """Return two texts cut to `width` characters each, so that the first place where they differ stays in sight."""
    if len(was) <= width and len(now) <= width:
        return was, now
    first = next((n for n, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))
    begin = max(0, min(first - width // 3, max(len(was), len(now)) - width))
    return _cut(was, begin, width), _cut(now, begin, width)


def _cut(text: str, begin: int, width: int) -> str:
    head, tail = "…" if begin else "", "…" if begin + width < len(text) else ""
    return head + text[begin + len(head) : begin + width - len(tail)] + tail

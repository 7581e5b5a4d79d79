"""How much two things have in common, and which of many belong together because of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["LARGEST", "Pairs", "alike", "in_common", "paired", "size", "with_rest"]

LARGEST = 2_500
"""So many pairs are compared at most to find out which belong together; beyond, they are taken in order."""
Pairs = list[tuple[int | None, int | None]]


def in_common(one: Any, two: Any) -> int:
    """Return how many leaves of two values are the same at the same place."""
    kind = one.__class__
    if kind is not two.__class__:
        return 0
    if one and kind is dict:
        return sum([in_common(inner, two[key]) for key, inner in one.items() if key in two])
    if one and kind is list:
        return sum(map(in_common, one, two))
    return int(one == two)


def size(value: Any) -> int:
    """Return how many leaves a value has."""
    if value and value.__class__ is dict:
        return sum(map(size, value.values()))
    if value and value.__class__ is list:
        return sum(map(size, value))
    return 1


def alike(one: set[Any], two: set[Any]) -> bool:
    """Return whether half of what the larger one has is in both."""
    return len(one & two) * 2 >= max(len(one), len(two))


def paired(here: list[set[Any]], there: list[set[Any]]) -> list[tuple[int, int]]:
    """Return the pairs, both sides in order, of what has most in common: from both ends, then between them."""
    front, least = 0, min(len(here), len(there))
    while front < least and alike(here[front], there[front]):
        front += 1
    back = 0
    while back < least - front and alike(here[-1 - back], there[-1 - back]):
        back += 1
    rows, columns = len(here) - front - back, len(there) - front - back
    pairs = [(number, number) for number in range(front)]
    pairs += [(len(here) - 1 - number, len(there) - 1 - number) for number in range(back)]
    if rows * columns > LARGEST:
        return [*pairs, *((front + number, front + number) for number in range(min(rows, columns)))]
    common = [[len(one & two) for two in there[front : front + columns]] for one in here[front : front + rows]]
    return [*pairs, *((front + row, front + column) for row, column in _best(common, rows, columns))]


def _best(common: list[list[int]], rows: int, columns: int) -> list[tuple[int, int]]:
    """Return the pairs, both sides in order, that have most in common together."""
    score = [[0] * (columns + 1) for _ in range(rows + 1)]
    for row in reversed(range(rows)):
        for column in reversed(range(columns)):
            paired = common[row][column] and common[row][column] + score[row + 1][column + 1]
            score[row][column] = max(paired, score[row + 1][column], score[row][column + 1])
    pairs, row, column = [], 0, 0
    while row < rows and column < columns:
        if common[row][column] and score[row][column] == common[row][column] + score[row + 1][column + 1]:
            pairs.append((row, column))
            row, column = row + 1, column + 1
        elif score[row][column] == score[row + 1][column]:
            row += 1
        else:
            column += 1
    return pairs


def with_rest(pairs: list[tuple[int, int]], old: Sequence[bytes], new: Sequence[bytes]) -> Pairs:
    """Return the pairs with what is left over: equal items that moved, then one by one if as many left as came."""
    here, there = {one for one, _ in pairs}, {two for _, two in pairs}
    left = [one for one in range(len(old)) if one not in here]
    came = [two for two in range(len(new)) if two not in there]
    made: Pairs = [*pairs]
    for one in [*left]:
        twin = next((two for two in came if new[two] == old[one]), None)
        if twin is not None:
            made.append((one, twin))
            left.remove(one)
            came.remove(twin)
    if len(left) == len(came):
        return [*made, *zip(left, came, strict=True)]
    return [*made, *((one, None) for one in left), *((None, two) for two in came)]

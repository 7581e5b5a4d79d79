"""JSON Pointers as steps, and taking out of a document what one leads to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["general", "remove", "steps"]

_INDICES = re.compile(r"/(?:0|[1-9][0-9]*)(?=/|$)")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


def steps(pointer: str) -> list[str]:
    """Return the keys and positions of a JSON Pointer."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def general(pointer: str) -> str:
    """Return a JSON Pointer with `*` for each position in a list, which tells the items of a list alike."""
    return _INDICES.sub("/*", pointer)


def remove(document: Any, pointers: Iterable[Sequence[str]]) -> bool:
    """Take out of `document` what each of these steps leads to, and return whether there was anything."""
    # From the end: an item that is taken out of a list moves only those behind it.
    removed = [_remove(document, one) for one in sorted(pointers, key=_place, reverse=True)]
    return any(removed)


def _place(path: Sequence[str]) -> list[tuple[int, str]]:
    return [(int(step) if _INDEX.fullmatch(step) else -1, step) for step in path]


def _remove(document: Any, path: Sequence[str]) -> bool:
    """Take the value at `path` out of `document` and return whether there was one."""
    for step in path[:-1]:
        document = _member(document, step)
    return _take(document, path[-1])


def _member(document: Any, step: str) -> Any:
    if isinstance(document, dict):
        return document.get(step)
    if isinstance(document, list) and _is_index(step, document):
        return document[int(step)]
    return None


def _take(document: Any, step: str) -> bool:
    if isinstance(document, dict) and step in document:
        del document[step]
        return True
    if isinstance(document, list) and _is_index(step, document):
        del document[int(step)]
        return True
    return False


def _is_index(step: str, items: list[Any]) -> bool:
    return _INDEX.fullmatch(step) is not None and int(step) < len(items)

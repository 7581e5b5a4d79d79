"""Straight copies from an event into a vendor's object, as one table that is compiled once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

import msgspec

from turnout.errors import PluginError, did_you_mean
from turnout.event import Event

__all__ = ["Copy", "Derived", "compile_copies"]

_PATH = re.compile(r"[a-z_]+(\.[a-z_]+){0,2}")


class Copy(msgspec.Struct, frozen=True):
    """One row: `source` is a path of attributes (`context.os.name`), `target` the vendor's key.

    `doc` and `rules` (ids of the rules that ask for it) are for the generated page.
    """

    source: str
    target: str
    rules: tuple[str, ...] = ()
    doc: str = ""


class Derived(msgspec.Struct, frozen=True):
    """A row for the generated page that takes more than a copy: `doc` says what happens on the way."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    rules: tuple[str, ...]
    doc: str


def compile_copies(
    copies: Iterable[Copy], constants: Mapping[str, str | int | float | bool] | None = None
) -> Callable[[Event], dict[str, Any]]:
    """Return a function that makes a new dict of `constants` and of all rows whose source is not None.

    The rows become straight code once, so a row costs one attribute and one comparison. Raises `PluginError`
    when a path is not one of an event's.
    """
    lines = ["def copied(event):", f"    made = {dict(constants or {})!r}"]
    groups: dict[str, list[Copy]] = {}
    for row in copies:
        _check(row.source)
        groups.setdefault(row.source.rpartition(".")[0], []).append(row)
    for number, (parent, rows) in enumerate(groups.items()):
        lines.append(f"    part{number} = event{'.' * bool(parent)}{parent}")
        for row in rows:
            lines.append(f"    value = part{number}.{row.source.rpartition('.')[2]}")
            lines.append(f"    if value is not None: made[{row.target!r}] = value")
    lines.append("    return made")
    namespace: dict[str, Any] = {}
    exec("\n".join(lines), namespace)  # noqa: S102 - every part was checked against the event's own attributes
    return cast("Callable[[Event], dict[str, Any]]", namespace["copied"])


def _check(source: str) -> None:
    if not _PATH.fullmatch(source):
        raise PluginError(f"'{source}' is not a path of an event, such as context.os.name.")
    kind: Any = Event
    for part in source.split("."):
        known = _attributes(kind)
        if part not in known:
            raise PluginError(f"An event has no '{source}': '{part}' is unknown.{did_you_mean(part, known)}")
        kind = known[part]


@lru_cache
def _attributes(kind: Any) -> dict[str, Any]:
    """Return the attributes of a struct with their types; working them out takes milliseconds."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return {}
    return {field.name: field.type for field in msgspec.structs.fields(kind)}

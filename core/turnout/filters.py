"""The hook plugin `filter`: leaves out events, or parts of them, before any destination sees them.

[hooks.filter]
block_events = ["Heartbeat"]
remove = ["/context/ip", "/context/location"]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError, validates, validates_schema

from turnout._pointer import remove, steps
from turnout.errors import Drop, did_you_mean
from turnout.hooks import hookimpl
from turnout.reasons import Code
from turnout.settings import Section, names

if TYPE_CHECKING:
    from turnout.event import Event

__all__ = ["EventFilter", "FilterSettings"]

_CALL_TYPES = ("page", "screen", "identify", "track", "group", "alias", "delete")
_POINTER = re.compile(r"(/([^~/]|~[01])*)+")
_KEPT = ("/type", "/event", "/messageId", "/timestamp", "/originalTimestamp", "/sentAt", "/receivedAt")


class FilterSettings(Section):
    """The settings of the hook plugin `filter`."""

    allow_events = names("Only track calls with one of these event names pass; empty: all do.")
    block_events = names("Track calls with one of these event names are dropped.")
    block_types = names("Calls of these types (page, identify, ...) are dropped.")
    remove = names("JSON Pointers of what is taken out of every event, as in `/context/ip`.")

    @validates("block_types")
    def _check_types(self, value: list[str], **_: Any) -> None:
        for word in value:
            if word not in _CALL_TYPES:
                hint = did_you_mean(word, _CALL_TYPES) or f" There are: {', '.join(_CALL_TYPES)}."
                raise ValidationError(f"must be a list of call types; {word!r} is none.{hint}")

    @validates("remove")
    def _check_pointers(self, value: list[str], **_: Any) -> None:
        for pointer in value:
            if not _POINTER.fullmatch(pointer):
                raise ValidationError(f"must be a list of JSON Pointers such as '/context/ip'; {pointer!r} is none.")
            if pointer in _KEPT:
                raise ValidationError(f"can't take out {pointer!r}: no event can do without it.")

    @validates_schema
    def _check_both(self, data: Mapping[str, Any], **_: Any) -> None:
        both = sorted(set(data["allow_events"]) & set(data["block_events"]))
        if both:
            raise ValidationError(f"must not name {both[0]!r}, which allow_events names: keep one.", "block_events")


class EventFilter:
    """Drops events by name or call type (outcome `dropped`, code `filtered`), and takes parts out of others.

    `settings` are those of `FilterSettings`; names are compared exactly. Raises `SettingsError`.
    """

    settings = FilterSettings

    def __init__(self, settings: Mapping[str, Any] | None = None, *, environ: Mapping[str, str] | None = None) -> None:
        self.config = config = self.settings.configure(settings or {}, owner="hook 'filter'", environ=environ)
        self._allowed = frozenset(config.allow_events)
        self._blocked = frozenset(config.block_events)
        self._types = frozenset(config.block_types)
        self._removed = [steps(pointer) for pointer in config.remove]

    @hookimpl
    def turnout_before_mapping(self, event: Event) -> dict[str, Any] | None:
        """Drop the event, return it without what is to be removed, or None when nothing changes."""
        if event.type in self._types:
            raise Drop(Code.FILTERED, f"The filter's block_types names '{event.type}'.", "/type")
        if event.type == "track":
            self._check_name(event.event or "")
        return self._without(event) if self._removed else None

    def _check_name(self, name: str) -> None:
        if name in self._blocked:
            raise Drop(Code.FILTERED, f"The filter's block_events names {name!r}.", "/event")
        if self._allowed and name not in self._allowed:
            raise Drop(Code.FILTERED, f"The filter's allow_events doesn't name {name!r}.", "/event")

    def _without(self, event: Event) -> dict[str, Any] | None:
        changed = event.to_dict()
        return changed if remove(changed, self._removed) else None

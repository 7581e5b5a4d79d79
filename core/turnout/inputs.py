"""What carries over from event to event: sessions, and device ids that the host has made (contract 5.4).

Mapping is pure, so it can't remember anything. What it needs of earlier events is worked out before it runs, is
handed to it as a frozen `Carried`, and is kept in an `Inputs` that the caller owns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from turnout.errors import Refusal, TurnoutError
from turnout.reasons import Code

if TYPE_CHECKING:
    from turnout.destination import Destination
    from turnout.event import Event

__all__ = ["Carried", "DeviceIds", "Inputs", "ProviderError"]

DeviceIds = Callable[["Event"], str | None]
"""A host's `device_id_provider`: the id that it keeps for the event's device, or None when it has none yet.

It may have a method `regenerate(anonymous_id)`, which `Dispatcher.reset` calls."""


@runtime_checkable
class _Regenerates(Protocol):
    def regenerate(self, anonymous_id: str) -> object: ...


class ProviderError(Refusal):
    """The host's `device_id_provider` raised, or gave back something that is no id."""


class Carried(msgspec.Struct, frozen=True):
    """What a mapping may know beside its event."""

    device_id: str | None = None
    """The id that the host's `device_id_provider` has for this device."""
    new_session: bool = True
    """Whether this event is the first of a session of its device."""
    session_start_ms: int = 0
    """When the session began, in ms since 1970 on the events' own timestamps."""


class _Session(msgspec.Struct, frozen=True, array_like=True):
    start: int
    last: int


class _Kept(msgspec.Struct):
    """What is kept for one destination; the entry that was used last stands last."""

    device_ids: dict[str, str] = {}
    sessions: dict[str, _Session] = {}

    def entries(self) -> dict[str, Any]:
        """Return everything under one key each."""
        made: dict[str, Any] = {_DEVICE_ID + owner: found for owner, found in self.device_ids.items()}
        return made | {_SESSION + device: [one.start, one.last] for device, one in self.sessions.items()}


_DEVICE_ID, _SESSION = "device_id:", "session:"


class Inputs:
    """What earlier events left behind for later ones, by destination; the caller owns it.

    Hand the same object to `Dispatcher.plan` event after event. It runs on the events' timestamps, so that the
    same events give the same items whenever they are mapped. Keep one for each ordered stream (a file, a
    partition); it is not for several threads at once. It pickles, and `to_dict` and `from_dict` store it as
    JSON. At most `limit` devices are kept for each destination: the one that was silent longest is forgotten
    first, and its next event begins a session.
    """

    __slots__ = ("_changed", "_kept", "limit")

    def __init__(self, *, limit: int = 50_000) -> None:
        if limit < 1:
            raise TurnoutError(f"Inputs(limit={limit}): at least one device has to be kept.")
        self.limit = limit
        self._kept: dict[str, _Kept] = {}
        self._changed: dict[str, dict[str, Any]] = {}

    def carry(self, destination: Destination, event: Event, provider: DeviceIds | None = None) -> Carried:
        """Return what `destination` may know when it maps `event`; `remember` keeps the event once it is mapped.

        Raises `ProviderError` when the provider fails.
        """
        kept = self._kept.get(destination.id)
        if kept is None:
            kept = self._kept[destination.id] = _Kept()
        changed = self._changed.get(destination.id)
        device_id = self._device_id(kept, changed, destination, event, provider)
        device = destination.device_of(event, Carried(device_id))
        if device is None:
            return Carried(device_id)
        before, now = kept.sessions.get(device), event.timestamp_ms
        if before is None or now - before.last > destination.session_gap_ms:
            return Carried(device_id, True, now)
        return Carried(device_id, False, before.start)

    def remember(self, destination: Destination, event: Event, carried: Carried) -> None:
        """Let an event count as one of its device's session; `carried` is what `carry` returned for it."""
        device = destination.device_of(event, carried)
        if device is None:
            return
        kept, changed = self._kept[destination.id], self._changed.get(destination.id)
        before, now = kept.sessions.pop(device, None), event.timestamp_ms
        last = now if before is None else max(now, before.last)  # an event that comes late ends no session
        kept.sessions[device] = _Session(carried.session_start_ms, last)
        if changed is not None:
            changed[_SESSION + device] = [carried.session_start_ms, last]
        self._bound(kept.sessions, _SESSION, changed)

    def _device_id(
        self,
        kept: _Kept,
        changed: dict[str, Any] | None,
        destination: Destination,
        event: Event,
        provider: DeviceIds | None,
    ) -> str | None:
        owner = event.anonymous_id or event.context.device.id or event.user_id
        nothing = provider is None and not kept.device_ids
        if nothing or owner is None or not destination.wants_device_id(event):
            return None
        found = kept.device_ids.pop(owner, None)
        if found is None and provider is not None:
            found = _provided(provider, event)
        if found is not None:
            kept.device_ids[owner] = found
            if changed is not None:
                changed[_DEVICE_ID + owner] = found
            self._bound(kept.device_ids, _DEVICE_ID, changed)
        return found

    def _bound(self, entries: dict[str, Any], kind: str, changed: dict[str, Any] | None) -> None:
        """Drop the entries that were used longest ago, beyond the limit."""
        while len(entries) > self.limit:
            oldest = next(iter(entries))
            del entries[oldest]
            if changed is not None:
                changed[kind + oldest] = None

    def changes(self, destination: str) -> dict[str, Any]:
        """Return the entries of a destination that changed since this was called last, None for one that is gone.

        The first call returns all of them. Together, in order, they make what `restore` takes.
        """
        changed = self._changed.get(destination)
        kept = self._kept.get(destination)
        self._changed[destination] = {}
        if changed is not None:
            return changed
        return kept.entries() if kept else {}

    def restore(self, destination: str, entries: Mapping[str, Any]) -> None:
        """Set what is kept for a destination to stored entries; raises `TurnoutError` when they are something else."""
        kept = _Kept()
        try:
            for key, value in entries.items():
                if key.startswith(_DEVICE_ID):
                    kept.device_ids[key.removeprefix(_DEVICE_ID)] = msgspec.convert(value, str)
                else:
                    kept.sessions[key.removeprefix(_SESSION)] = msgspec.convert(value, _Session)
        except msgspec.ValidationError as error:
            raise TurnoutError(f"These are no stored Inputs: {error}.") from None
        kept.sessions = dict(sorted(kept.sessions.items(), key=lambda one: one[1].last))
        self._kept[destination] = kept
        self._changed[destination] = {}

    def forget(self, anonymous_id: str, destination: str | None = None) -> None:
        """Forget the made device id of `anonymous_id` and the sessions of both, everywhere or at one destination.

        For an event without `anonymousId`, its `context.device.id` stands in for it, else `userId`.
        """
        for name, kept in self._kept.items():
            if destination in (None, name):
                made = kept.device_ids.pop(anonymous_id, None)
                for device in (anonymous_id, made):
                    kept.sessions.pop(device or "", None)
                gone = {_DEVICE_ID + anonymous_id: None, _SESSION + anonymous_id: None, f"{_SESSION}{made}": None}
                self._changed.get(name, {}).update(gone)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        data: dict[str, Any] = msgspec.to_builtins({"limit": self.limit, "destinations": self._kept})
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Inputs:
        """Return what `to_dict` gave; raises `TurnoutError` when it is something else."""
        try:
            stored = msgspec.convert(data, _Stored)
        except msgspec.ValidationError as error:
            raise TurnoutError(f"These are no stored Inputs: {error}.") from None
        made = cls(limit=stored.limit)
        made._kept = stored.destinations
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Inputs) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        devices = {name: len(kept.sessions) for name, kept in self._kept.items()}
        return f"<Inputs: sessions by destination {devices}>"


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    limit: int
    destinations: dict[str, _Kept]


def _provided(provider: DeviceIds, event: Event) -> str | None:
    try:
        found: object = provider(event)
    except Exception as error:
        message = f"The device_id_provider raised {type(error).__name__}: {error}"
        raise ProviderError(Code.PLUGIN_RAISED, message) from error
    if found is None or found == "":
        return None
    if not isinstance(found, str):
        message = f"The device_id_provider gave back {type(found).__name__}; it gives a text or None."
        raise ProviderError(Code.PLUGIN_BAD_RESULT, message)
    return found


def regenerate(provider: DeviceIds | None, anonymous_id: str) -> None:
    """Have the host make a new device id, when its provider can."""
    if isinstance(provider, _Regenerates):
        provider.regenerate(anonymous_id)

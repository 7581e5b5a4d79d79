"""The device id: which one counts, on each platform (section 7 of the rule book).

| platform | first present wins |
| --- | --- |
| server | `context.device.id`, `anonymousId`; with `prefer_anonymous_id_for_device_id` in the other order |
| browser | URL parameter (if enabled), generated id, `anonymousId`; with prefer-anonymous `anonymousId` comes first |
| ios, android | advertising id (if enabled), generated id; never `anonymousId` |

"Generated id" is what Amplitude's own library would have made: the host's `device_id_provider` gives it, failing
that `context.device.id` stands in for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turnout import Carried, Config, Event
from turnout_amplitude.urls import query_value

__all__ = ["DeviceFinder", "advertising_id", "device_finder"]

DeviceFinder = Callable[[Event, Carried | None], str | None]
_ZEROS = frozenset("0-")  # 00000000-0000-0000-0000-000000000000


def device_finder(platform: str, config: Config) -> DeviceFinder:
    """Return the function that finds the device id of an event on a device platform.

    The server's stands in `context.py`, where it is inlined (AMP-DEV-01, AMP-DEV-02, AMP-DEV-11).
    """
    if platform == "browser":
        return _browser(config.prefer_anonymous_id_for_device_id, config.device_id_from_url_param)
    return _advertised if config.use_advertising_id_for_device_id else _generated


def _browser(anonymous_first: bool, from_url: bool) -> DeviceFinder:
    """Return the finder for browsers (AMP-DEV-03 to AMP-DEV-06)."""

    def find(event: Event, carried: Carried | None) -> str | None:
        if anonymous_first and event.anonymous_id:
            return event.anonymous_id
        in_url = query_value(event, "amp_device_id") if from_url else None
        return in_url or _generated(event, carried) or event.anonymous_id

    return find


def _generated(event: Event, carried: Carried | None) -> str | None:
    """Return the id that the host has made, else `context.device.id` (AMP-DEV-07, -08, -13, -14)."""
    made = carried.device_id if carried is not None else None
    return made or event.context.device.id or None


def _advertised(event: Event, carried: Carried | None) -> str | None:
    """Return the advertising id, else the generated id (AMP-DEV-09, AMP-DEV-10)."""
    return advertising_id(event.context.device, checked=True) or _generated(event, carried)


def advertising_id(device: Any, *, checked: bool) -> str | None:
    """Return `advertisingId`, else `idfa` of old clients, None when there is none.

    `checked` (on mobile platforms): all zeros, and any id while `adTrackingEnabled` is false, count as missing
    (AMP-DEV-12).
    """
    if not checked:
        return device.advertising_id or device.idfa or None
    if device.ad_tracking_enabled is False:
        return None
    found: tuple[str | None, ...] = (device.advertising_id, device.idfa)
    return next((one for one in found if one and not _ZEROS.issuperset(one)), None)

"""Platforms: which library an event comes from, for destinations that map differently for each (contract 5.2).

A destination that does so has the setting `connection_mode`. With `cloud` every event is mapped by the server
rules, whatever its library; with `device` as the vendor's own library on that platform would have sent it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnout.event import Event

__all__ = ["PLATFORMS", "SERVER", "platform_of"]

SERVER = "server"
PLATFORMS = (SERVER, "browser", "ios", "android")
"""The platforms that rules can be written for."""

_LIBRARIES = {"analytics.js": "browser", "analytics-ios": "ios", "analytics-android": "android"}


def platform_of(event: Event) -> str:
    """Return the platform of an event in device mode: by `context.library.name`, `server` for any other library."""
    return _LIBRARIES.get(event.context.library.name or "", SERVER)

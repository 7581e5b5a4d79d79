"""What every event and every identification carries: who, when, where from (section 8 of the rule book)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from turnout import Config, Copy, Event, compile_copies
from turnout_amplitude.useragent import parse

__all__ = ["COPIES", "DERIVED", "Derived", "context_reader"]

COPIES = (
    Copy("context.ip", "ip", ("AMP-CTX-01",)),
    Copy("context.device.model", "device_model", ("AMP-CTX-02",)),
    Copy("context.device.brand", "device_brand", ("AMP-CTX-02",)),
    Copy("context.device.manufacturer", "device_manufacturer", ("AMP-CTX-02",)),
    Copy("context.os.name", "os_name", ("AMP-CTX-03",)),
    Copy("context.os.version", "os_version", ("AMP-CTX-03",)),
    Copy("context.network.carrier", "carrier", ("AMP-CTX-04",)),
    Copy("context.app.version", "app_version", ("AMP-CTX-05", "AMP-IDENT-06")),
    Copy("context.location.country", "country", ("AMP-CTX-06",)),
    Copy("context.location.region", "region", ("AMP-CTX-06",)),
    Copy("context.location.city", "city", ("AMP-CTX-06",)),
    Copy("context.location.latitude", "location_lat", ("AMP-CTX-25",), "Numeric text becomes a number."),
    Copy("context.location.longitude", "location_lng", ("AMP-CTX-25",), "Numeric text becomes a number."),
    Copy("context.locale", "language", ("AMP-CTX-07", "AMP-CTX-08"), "Of an object, its `language`."),
)
"""Straight copies; context keys without a row here or below are dropped (AMP-CTX-19)."""


class Derived(msgspec.Struct, frozen=True):
    """A row of the context table that takes more than a copy, for the generated page."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    rules: tuple[str, ...]
    doc: str


DERIVED = (
    Derived(("userId",), ("user_id",), ("AMP-GEN-05", "AMP-IDENT-01"), "As text."),
    Derived(
        ("context.device.id", "anonymousId"),
        ("device_id",),
        ("AMP-DEV-01", "AMP-DEV-02"),
        "The first that is present; with `prefer_anonymous_id_for_device_id` in the other order.",
    ),
    Derived(("timestamp",), ("time",), ("AMP-GEN-06",), "Milliseconds since the epoch."),
    Derived(("messageId",), ("insert_id",), ("AMP-GEN-07",), "Further events of one call get `-1`, `-2`, …"),
    Derived(
        ("traits.address", "context.traits.address", "properties.country"),
        ("country", "region", "city"),
        ("AMP-CTX-06", "AMP-IDENT-15"),
        "Where `context.location` has none; `properties` for the country only.",
    ),
    Derived(
        ("context.library.name", "context.device.type", "context.os.name"),
        ("platform",),
        ("AMP-CTX-09",),
        "By the library; else the device's type, the system in small letters, or the library's name.",
    ),
    Derived(
        ("context.userAgent",),
        ("os_name", "os_version", "device_model"),
        ("AMP-CTX-10",),
        "Browser, its major version and the system; for the library `analytics.js` only.",
    ),
    Derived(
        ("context.device.advertisingId", "context.device.idfa", "context.device.id"),
        ("idfa", "idfv", "adid"),
        ("AMP-CTX-11",),
        "`idfa` and `idfv` for iOS, `adid` for Android.",
    ),
    Derived((), ("library",), ("AMP-CTX-12",), "Always `turnout`."),
    Derived(
        ("integrations.Amplitude.session_id",),
        ("session_id",),
        ("AMP-SESS-01", "AMP-SESS-02", "AMP-SESS-03", "AMP-SESS-05", "AMP-IDENT-19"),
        "Also `sessionId`. Digits and ISO 8601 become milliseconds, anything else -1; `outOfSession` is ignored.",
    ),
    Derived(
        ("integrations.Amplitude.event_id",),
        ("event_id",),
        ("AMP-CTX-20",),
        "Also `eventId`. Integers only; events only.",
    ),
    Derived(
        ("context.campaign",),
        ("user_properties.utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"),
        ("AMP-CTX-13",),
        "With `track_utm_properties`.",
    ),
    Derived(
        ("context.traits",),
        ("user_properties",),
        ("AMP-CTX-22", "AMP-IDENT-14"),
        "On track, page and screen, with `id` = `userId`.",
    ),
    Derived(("context.userAgent",), ("user_agent",), ("AMP-CTX-21",), "With `include_raw_user_agent`."),
)

_LIBRARIES = {"analytics.js": "Web", "analytics-ios": "iOS", "analytics-android": "Android"}
_SPELLINGS = {"web": "Web", "ios": "iOS", "android": "Android"}
_NO_ADDRESS: dict[str, Any] = {}

_copied = compile_copies(COPIES)


def context_reader(config: Config) -> Callable[[Event], dict[str, Any]]:
    """Return the function that makes the context fields of an event with these settings."""
    raw_agent = config.include_raw_user_agent

    def read(event: Event) -> dict[str, Any]:
        fields = _copied(event)
        fields["library"] = "turnout"
        context = event.context
        device = context.device
        library = context.library.name
        place = platform(library, device.type, context.os.name)
        if place is not None:
            fields["platform"] = place
        if library == "analytics.js" and context.user_agent:
            _read_agent(fields, context.user_agent)
        if raw_agent and context.user_agent:
            fields["user_agent"] = context.user_agent
        _advertising(fields, event, place)
        if event.type != "group":
            _address(fields, event)
        return fields

    return read


@lru_cache(maxsize=1024)
def platform(library: str | None, device_type: str | None, os_name: str | None) -> str | None:
    """Return the platform in cloud mode (AMP-CTX-09)."""
    if library in _LIBRARIES:
        return _LIBRARIES[library]
    found = device_type or (os_name.lower() if os_name else library)
    return _SPELLINGS.get(found.lower(), found) if found else None


def _read_agent(fields: dict[str, Any], user_agent: str) -> None:
    """Let the user agent decide on system and device of web events, over `context.os` (AMP-CTX-10)."""
    agent = parse(user_agent)
    if agent.browser is not None:
        fields["os_name"] = agent.browser
        fields.pop("os_version", None)
        if agent.major is not None:
            fields["os_version"] = agent.major
    if agent.system is not None:
        fields["device_model"] = agent.system


def _advertising(fields: dict[str, Any], event: Event, place: str | None) -> None:
    """Add the advertising ids of the platform's family, never both (AMP-CTX-11)."""
    device = event.context.device
    family = place if place in ("iOS", "Android") else _SPELLINGS.get((event.context.os.name or "").lower())
    advertising = device.advertising_id or device.idfa
    if family == "iOS":
        if advertising:
            fields["idfa"] = advertising
        if device.id:
            fields["idfv"] = device.id
    elif family == "Android" and advertising:
        fields["adid"] = advertising


def _address(fields: dict[str, Any], event: Event) -> None:
    """Fill location fields that `context.location` leaves open (AMP-CTX-06, AMP-IDENT-15).

    The traits of a group call are the group's, so their address is not the user's and is not read.
    """
    traits, context_traits, properties = event.traits, event.context.traits, event.properties
    if not (traits or context_traits or "country" in properties):
        return
    addresses = [traits.get("address"), context_traits.get("address")]
    for key in ("country", "region", "city"):
        if not fields.get(key):
            found = [address.get(key) for address in addresses if isinstance(address, dict)]
            if key == "country":
                found.append(properties.get("country"))
            first = next((one for one in found if isinstance(one, str) and one), None)
            if first is not None:
                fields[key] = first

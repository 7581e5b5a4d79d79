"""What every event and every identification carries: who, when, where from (section 8 of the rule book)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from turnout import Carried, Code, Config, Context, Copy, Derived, Event, Refusal, compile_copies
from turnout_amplitude.device import advertising_id, device_finder
from turnout_amplitude.properties import add_campaign, unmixed
from turnout_amplitude.useragent import parse
from turnout_amplitude.values import session_id, text_of

__all__ = ["COPIES", "DERIVED", "ContextReader", "context_reader", "event_groups"]

COPIES = (
    Copy("user_id", "user_id", ("AMP-GEN-05", "AMP-IDENT-01"), "As text."),
    Copy("timestamp_ms", "time", ("AMP-GEN-06",), "`timestamp` in milliseconds since the epoch."),
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


DERIVED = (
    Derived(
        ("context.device.id", "anonymousId"),
        ("device_id",),
        ("AMP-DEV-01", "AMP-DEV-02", "AMP-DEV-11"),
        "Server: the first that is present; with `prefer_anonymous_id_for_device_id` in the other order.",
    ),
    Derived(
        ("context.page.search", "context.page.url", "context.device.id", "anonymousId"),
        ("device_id",),
        ("AMP-DEV-03", "AMP-DEV-04", "AMP-DEV-05", "AMP-DEV-06"),
        "Browser: the URL parameter `amp_device_id` with `device_id_from_url_param`, the id that the host's "
        "`device_id_provider` has made (failing that `context.device.id`), `anonymousId`; "
        "with `prefer_anonymous_id_for_device_id` the last comes first.",
    ),
    Derived(
        (
            "context.device.advertisingId",
            "context.device.idfa",
            "context.device.adTrackingEnabled",
            "context.device.id",
        ),
        ("device_id",),
        tuple(f"AMP-DEV-{number:02}" for number in (7, 8, 9, 10, 12, 13, 14)),
        "iOS, Android: the advertising id with `use_advertising_id_for_device_id` (not when it is all zeros, or "
        "tracking is off), then the id that the host's `device_id_provider` has made, failing that "
        "`context.device.id`; never `anonymousId`.",
    ),
    Derived(
        ("messageId",),
        ("insert_id",),
        ("AMP-GEN-07", "AMP-ORDER-08"),
        "Further events of one call get `-1`, `-2`, … in their order, and behind them what goes aside (attribution).",
    ),
    Derived(
        ("traits.address", "context.traits.address", "properties.country"),
        ("country", "region", "city"),
        ("AMP-CTX-06", "AMP-IDENT-15"),
        "Server: where `context.location` has none; `properties` for the country only.",
    ),
    Derived(
        ("context.library.name", "context.device.type", "context.os.name"),
        ("platform",),
        ("AMP-CTX-09",),
        "By the library; on the server else the device's type, the system in small letters, or the library's name.",
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
        "`idfa` and `idfv` for iOS, `adid` for Android; in device mode not all zeros, and not when tracking is off.",
    ),
    Derived((), ("library",), ("AMP-CTX-12",), "Always `turnout`."),
    Derived(
        ("integrations.Amplitude.session_id",),
        ("session_id",),
        ("AMP-SESS-01", "AMP-SESS-02", "AMP-SESS-03", "AMP-SESS-05", "AMP-IDENT-19"),
        "Also `sessionId`. Digits and ISO 8601 become milliseconds, anything else -1.",
    ),
    Derived(
        ("integrations.Amplitude.outOfSession",),
        ("session_id",),
        ("AMP-SESS-04", "AMP-SESS-05"),
        "iOS, Android: -1 on the tracked event when it is true.",
    ),
    Derived(
        ("integrations.Amplitude.event_id",),
        ("event_id",),
        ("AMP-CTX-20",),
        "Also `eventId`. Integers only; events only, and no `$identify`.",
    ),
    Derived(
        ("context.campaign",),
        ("user_properties.utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"),
        ("AMP-CTX-13",),
        "Server: with `track_utm_properties`; not on group calls. Browsers: see the rule `utm_captured`.",
    ),
    Derived(
        ("context.traits",),
        ("user_properties",),
        ("AMP-CTX-22", "AMP-IDENT-14"),
        "Server: on track, page and screen, with `id` = `userId`.",
    ),
    Derived(
        ("context.location.latitude", "context.location.longitude"),
        ("location_lat", "location_lng"),
        ("AMP-CTX-24", "AMP-MOB-03"),
        "iOS, Android: not without `enable_location_listening`.",
    ),
    Derived((), ("app_version",), ("AMP-CTX-26",), "Browser: `version_name`, when it is set."),
    Derived(("context.userAgent",), ("user_agent",), ("AMP-CTX-21",), "With `include_raw_user_agent`."),
)

_LIBRARIES: dict[str | None, str] = {
    "analytics.js": "Web",
    "analytics-ios": "iOS",
    "analytics-android": "Android",
}
_SPELLINGS = {"web": "Web", "ios": "iOS", "android": "Android"}

# HTTP V2 documentation, "Invalid device and user ids": such a value is answered with a 400.
_REFUSED_IDS = frozenset(
    [
        "anonymous",
        "nil",
        "none",
        "null",
        "n/a",
        "na",
        "undefined",
        "unknown",
        "00000000-0000-0000-0000-000000000000",
        "{}",
        "lmy47d",
        "0",
        "-1",
    ]
)

_SUSPECTS = frozenset(letter for text in _REFUSED_IDS for letter in (text[0], text[0].upper())) | set(" \t\n\r\f\v")

_NO_CAMPAIGN = Context().campaign
"""What an event without a campaign has."""

_LONG = 2**63

_copied = compile_copies(COPIES, {"library": "turnout"})


ContextReader = Callable[[Event, dict[str, Any], Carried | None], dict[str, Any]]
"""Makes fields of an event, its Amplitude options, and what earlier events left for it."""


def context_reader(place: str, config: Config, *, events: bool = False) -> ContextReader:
    """Return the function that makes what events and identifications have in common on a platform.

    That is: ids, time, context, session. With `events` it also makes what all events of a call have (AMP-ORDER-13):
    groups, event id, and on the server user properties. The function raises `Refusal` when there is neither user nor
    device (AMP-GEN-04), or when Amplitude is documented to refuse an id.
    """
    return _server_reader(config, events) if place == "server" else _device_reader(place, config, events)


def _server_reader(config: Config, events: bool) -> ContextReader:
    """Return the reader for server rules: straight code, since it runs for every event.

    User properties of events are `context.traits`, `id`, UTM and the query string (AMP-CTX-22, AMP-IDENT-14,
    AMP-CTX-13, AMP-TRACK-04).
    """
    anonymous_first = config.prefer_anonymous_id_for_device_id
    raw_agent, utm = config.include_raw_user_agent, config.track_utm_properties
    query = tuple(name for name, where in config.map_query_params.items() if where == "user_properties")

    def read(event: Event, options: dict[str, Any], carried: Carried | None) -> dict[str, Any]:
        fields = _copied(event)
        context, user_id = event.context, event.user_id
        device, traits, os_name = context.device, context.traits, context.os.name
        first, second = device.id, event.anonymous_id  # AMP-DEV-01
        device_id = second or first if anonymous_first else first or second  # AMP-DEV-02
        if device_id:
            fields["device_id"] = device_id
            if device_id[0] in _SUSPECTS and device_id.strip().lower() in _REFUSED_IDS:
                raise _refused(device_id, _place_of(device_id, event))
        if user_id is None:
            if not device_id:
                raise Refusal(Code.NO_USER_ANON_ID, _NOBODY)
        elif user_id[0] in _SUSPECTS and user_id.strip().lower() in _REFUSED_IDS:
            raise _refused(user_id, "/userId")
        library = context.library.name
        if (place := _LIBRARIES.get(library) or _place(library, device.type, os_name)) is not None:
            fields["platform"] = place
        if agent := context.user_agent:
            if library == "analytics.js":
                _read_agent(fields, agent)
            if raw_agent:
                fields["user_agent"] = agent
        family = place
        if place != "iOS" and place != "Android":
            family = _SPELLINGS.get(os_name.lower()) if os_name else None
        if family is not None:
            _advertising(fields, device, family, checked=False)
        if "country" in event.properties or "address" in traits or "address" in event.traits:
            _address(fields, event)
        if events:
            user = traits.copy()
            if user_id is not None:
                user["id"] = user_id
            if utm and (campaign := context.campaign) is not _NO_CAMPAIGN:
                add_campaign(user, campaign)
            if query and context.page.search:
                user.update(dict.fromkeys(query, context.page.search))
            if user:
                fields["user_properties"] = unmixed(user) if query or "$" in "".join(traits) else user
        if options:
            _add_options(fields, options, events)
        return fields

    return read


def _device_reader(place: str, config: Config, events: bool) -> ContextReader:
    """Return the reader for a platform in device mode; no user properties go with events (AMP-CTX-22)."""
    find_device, add_platform = device_finder(place, config), _PLATFORMS[place]
    raw_agent = config.include_raw_user_agent
    unplaced = place in ("ios", "android") and not config.enable_location_listening  # AMP-CTX-24
    version = config.version_name if place == "browser" else ""  # AMP-CTX-26

    def read(event: Event, options: dict[str, Any], carried: Carried | None) -> dict[str, Any]:
        fields = _copied(event)
        device_id, context = find_device(event, carried), event.context
        if device_id:
            fields["device_id"] = device_id
            _check_device(device_id, event)
        if event.user_id is not None:
            _check_user(event.user_id)
        elif not device_id:
            raise Refusal(Code.NO_USER_ANON_ID, _NO_DEVICE)
        add_platform(fields, context)
        if raw_agent and context.user_agent:
            fields["user_agent"] = context.user_agent
        if unplaced:
            fields.pop("location_lat", None)
            fields.pop("location_lng", None)
        if version:
            fields["app_version"] = version
        if options:
            _add_options(fields, options, events)
        return fields

    return read


def _add_options(fields: dict[str, Any], options: dict[str, Any], events: bool) -> None:
    """Add the session, and to events groups and event id (AMP-SESS-01 to -03, AMP-TRACK-02, AMP-CTX-20)."""
    session = session_id(option(options, "session_id", "sessionId"))
    if session is not None:
        fields["session_id"] = session
    if not events:
        return
    groups = event_groups(options.get("groups"))
    if groups:
        fields["groups"] = groups
    event_id = option(options, "event_id", "eventId")
    if event_id.__class__ is int and -_LONG <= event_id < _LONG:
        fields["event_id"] = event_id


def event_groups(groups: Any) -> dict[str, Any]:
    """Return the option `groups` as Amplitude takes it: type -> text or list of texts (AMP-TRACK-02, AMP-IDENT-07).

    Anything but an object is ignored; so are entries that hold no text, number or boolean.
    """
    if groups.__class__ is not dict:
        return {}
    made: dict[str, Any] = {}
    for kind, value in groups.items():
        if isinstance(value, list):
            texts = [text for one in value if (text := text_of(one)) is not None]
            if texts and kind:
                made[kind] = texts
        elif kind and (text := text_of(value)) is not None:
            made[kind] = text
    return made


def _browser(fields: dict[str, Any], context: Context) -> None:
    """Add the platform of browsers (AMP-CTX-09, AMP-CTX-10), and what a phone's app in a browser says (AMP-CTX-11)."""
    fields["platform"] = "Web"
    if context.user_agent:
        _read_agent(fields, context.user_agent)
    family = _SPELLINGS.get((context.os.name or "").lower())
    if family is not None:
        _advertising(fields, context.device, family, checked=False)


def _ios(fields: dict[str, Any], context: Context) -> None:
    fields["platform"] = "iOS"
    _advertising(fields, context.device, "iOS", checked=True)


def _android(fields: dict[str, Any], context: Context) -> None:
    fields["platform"] = "Android"
    _advertising(fields, context.device, "Android", checked=True)


_PLATFORMS = {"browser": _browser, "ios": _ios, "android": _android}
_NOBODY = "Amplitude needs a userId, or a device id (context.device.id or anonymousId)."
_NO_DEVICE = "Amplitude needs a userId or a device id, and this platform's device id is missing (see its page)."


def _check_device(device_id: str, event: Event) -> None:
    if device_id.strip().lower() in _REFUSED_IDS:
        raise _refused(device_id, _place_of(device_id, event))


def _check_user(user_id: str) -> None:
    if user_id.strip().lower() in _REFUSED_IDS:
        raise _refused(user_id, "/userId")


def _place_of(device_id: str, event: Event) -> str | None:
    """Return where a device id that Amplitude refuses came from; None when the event doesn't hold it as it is."""
    device = event.context.device
    places = {
        event.anonymous_id: "/anonymousId",
        device.advertising_id: "/context/device/advertisingId",
        device.idfa: "/context/device/idfa",
        device.id: "/context/device/id",
    }
    return places.get(device_id)


def option(options: dict[str, Any], snake: str, camel: str) -> Any:
    """Return an option by either spelling, or None."""
    value = options.get(snake)
    return options.get(camel) if value is None else value


def _refused(value: str, path: str | None) -> Refusal:
    message = f"Amplitude refuses the id {msgspec.json.encode(value).decode()}. Send the user's real id, or none."
    return Refusal(Code.VENDOR_WOULD_REFUSE, message, path)


def _place(library: str | None, device_type: str | None, os_name: str | None) -> str | None:
    """Return the platform in cloud mode of a library that says none itself (AMP-CTX-09)."""
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


def _advertising(fields: dict[str, Any], device: Any, family: str, *, checked: bool) -> None:
    """Add the advertising ids of the platform's family, never both (AMP-CTX-11, AMP-DEV-12)."""
    advertising = advertising_id(device, checked=checked)
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
    if event.type == "group":
        traits = {}
    addresses = [traits.get("address"), context_traits.get("address")]
    for key in ("country", "region", "city"):
        if not fields.get(key):
            found = [address.get(key) for address in addresses if isinstance(address, dict)]
            if key == "country":
                found.append(properties.get("country"))
            first = next((one for one in found if isinstance(one, str) and one), None)
            if first is not None:
                fields[key] = first

"""The Amplitude destination: endpoints, and the rules of all topics together."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from turnout import (
    ITEMS,
    Batch,
    Carried,
    Code,
    Config,
    Destination,
    Endpoint,
    Event,
    Refusal,
    basic,
    form_body,
    json_body,
    platform_of,
    setting,
)
from turnout_amplitude.answers import read_deletions, read_events, read_form
from turnout_amplitude.attribution import AttributionRules
from turnout_amplitude.call import Call, Shape, options_of
from turnout_amplitude.context import COPIES, DERIVED, context_reader
from turnout_amplitude.device import device_finder
from turnout_amplitude.groups import GroupRules
from turnout_amplitude.identity import IdentityRules
from turnout_amplitude.orders import OrderRules, is_order, products_of
from turnout_amplitude.pages import PageRules, pages_sent
from turnout_amplitude.properties import Operations
from turnout_amplitude.revenue import RevenueRules, price_logged
from turnout_amplitude.settings import AmplitudeSettings
from turnout_amplitude.tracks import TrackRules, removed_properties

__all__ = ["Amplitude"]

_SESSIONS = ("page", "track", "identify", "group")
_MAPPED = (*_SESSIONS, "screen")

# HTTP V2 documentation: "object depth must not exceed 40 layers".
_DEEPEST = 40
_EVENTS = {"api_key": setting("api_key"), "events": ITEMS, "options": {"min_id_length": 1}}


def _api(path: str) -> Callable[[Config], str]:
    def url(config: Config) -> str:
        host = "api.eu.amplitude.com" if config.endpoint == "EU" else "api2.amplitude.com"
        return f"https://{host}{path}"

    return url


def _usermap(config: Config) -> str:
    host = "api.eu.amplitude.com" if config.endpoint == "EU" else "api.amplitude.com"
    return f"https://{host}/usermap"


def _deletions(config: Config) -> str:
    host = "analytics.eu.amplitude.com" if config.endpoint == "EU" else "amplitude.com"
    return f"https://{host}/api/2/deletions/users"


def _queue(config: Config) -> Batch:
    """Return the queue of Amplitude's browser library (AMP-HTTP-11)."""
    if not config.batch_events:
        return Batch(items=2000, bytes=1_000_000)
    return Batch(min(2000, config.event_upload_threshold), 1_000_000, config.event_upload_period_millis)


class Amplitude(
    AttributionRules, PageRules, TrackRules, OrderRules, RevenueRules, IdentityRules, GroupRules, Destination
):
    """Amplitude, through its HTTP V2, Batch, Identify, Group Identify, User Mapping and User Privacy APIs.

    In cloud mode events are mapped by the server rules, whatever library they come from. In device mode
    (`connection_mode = "device"`) those of `analytics.js`, `analytics-ios` and `analytics-android` become the requests
    that Amplitude's own libraries would have sent from there. Every call type is handled, except `screen` from browsers
    and `page` from mobile devices (AMP-GEN-03). `integrations` decide first whether an event goes here at all
    (AMP-GEN-01). An event needs a user or a device (AMP-GEN-04). What is null or missing leaves its field out
    (AMP-GEN-10), and context keys without a row below are dropped (AMP-CTX-19). Mapping is a function of event,
    settings and what earlier events left, and changes none of them (AMP-GEN-09).

    The host's `flush` sends what its streams gather, and `reset` forgets the made device id (AMP-MOB-01, AMP-MOB-02).

    Answers are read event by event: what a 400 names is refused and the rest goes out again, whom a 429 names waits, a
    413 or 403 splits, any other 429 and 5xx are retried, a wrong key stops everything (AMP-HTTP-12).
    """

    name = "Amplitude"
    ignored: ClassVar = {"browser": ("screen",), "ios": ("page",), "android": ("page",)}
    api = 1
    settings = AmplitudeSettings
    pure = True
    table = (*COPIES, *DERIVED)

    events = Endpoint(
        "POST",
        _api("/2/httpapi"),
        body=json_body(_EVENTS),
        batch=Batch(items=2000, bytes=1_000_000),
        read=read_events,
        doc="Events (HTTP V2). AMP-HTTP-01, AMP-GEN-08.",
    )
    batch = Endpoint(
        "POST",
        _api("/batch"),
        body=json_body(_EVENTS),
        batch=Batch(items=2000, bytes=20_000_000),
        read=read_events,
        doc="Events, with `send_to_batch_endpoint`. AMP-HTTP-02.",
    )
    browser_events = Endpoint(
        "POST",
        "https://api2.amplitude.com/2/httpapi",
        body=json_body(_EVENTS),
        batch=_queue,
        read=read_events,
        doc="Events of browsers in device mode, always in the US. AMP-HTTP-01, AMP-HTTP-07, AMP-HTTP-10, AMP-HTTP-11.",
    )
    mobile_events = Endpoint(
        "POST",
        "https://api2.amplitude.com/2/httpapi",
        body=json_body(_EVENTS),
        batch=Batch(items=2000, bytes=1_000_000),
        read=read_events,
        doc="Events of iOS and Android in device mode, always in the US. AMP-HTTP-01, AMP-HTTP-07.",
    )
    identify = Endpoint(
        "POST",
        _api("/identify"),
        body=form_body({"api_key": setting("api_key"), "identification": ITEMS, "options": {"min_id_length": 1}}),
        batch=Batch(items=2000, bytes=1_000_000),
        read=read_form,
        keyed=False,
        doc="User properties and group membership. AMP-HTTP-03, AMP-HTTP-09.",
    )
    groupidentify = Endpoint(
        "POST",
        _api("/groupidentify"),
        body=form_body({"api_key": setting("api_key"), "identification": ITEMS}),
        batch=Batch(items=1024, bytes=1_000_000),
        read=read_form,
        keyed=False,
        doc="Group properties. AMP-HTTP-04.",
    )
    mobile_groupidentify = Endpoint(
        "POST",
        "https://api2.amplitude.com/groupidentify",
        body=form_body({"api_key": setting("api_key"), "identification": ITEMS}),
        batch=Batch(items=1024, bytes=1_000_000),
        read=read_form,
        keyed=False,
        doc="Group properties from Android in device mode, always in the US. AMP-HTTP-04, AMP-HTTP-07.",
    )
    usermap = Endpoint(
        "POST",
        _usermap,
        body=form_body({"api_key": setting("api_key"), "mapping": ITEMS}),
        batch=Batch(items=2000, bytes=1_000_000),
        read=read_form,
        keyed=False,
        doc="Alias and unmapping. AMP-HTTP-05.",
    )
    deletions = Endpoint(
        "POST",
        _deletions,
        body=json_body({"user_ids": ITEMS, "requester": "turnout", "ignore_invalid_id": "true"}),
        auth=basic("api_key", "secret_key"),
        batch=Batch(items=100),
        read=read_deletions,
        keyed=False,
        doc="User deletion, on the analytics host. AMP-HTTP-08, AMP-DEL-01.",
    )

    def configured(self) -> None:
        """Work out once what every call of a platform needs."""
        config = self.config
        targets = {
            "server": self.batch if config.send_to_batch_endpoint else self.events,
            "browser": self.browser_events,
            "ios": self.mobile_events,
            "android": self.mobile_events,
        }
        self.shapes = {
            place: Shape(
                place,
                targets[place].item,
                context_reader(place, config),
                context_reader(place, config, events=True),
                self._further,
            )
            for place in self.rules
        }
        self.operations = {place: Operations(config, place) for place in self.rules}
        self.find_in_browser = device_finder("browser", config)
        self.server = self.shapes["server"]
        self.removed = removed_properties(config)
        self.query = bool(config.map_query_params)
        self.adds = bool(config.map_query_params or config.append_fields_to_event_props)

    def wants_device_id(self, event: Event) -> bool:
        """Return whether Amplitude's library would have made a device id for this event (AMP-DEV-03, -07, -08)."""
        return platform_of(event) != "server" and event.type in _MAPPED

    def device_of(self, event: Event, carried: Carried) -> str | None:
        """Return the device of a browser's event, whose sessions decide on attribution (AMP-CTX-18)."""
        if platform_of(event) != "browser" or event.type not in _SESSIONS:
            return None
        return self.find_in_browser(event, carried) or event.user_id

    def prepare(self, event: Event, carried: Carried | None) -> Call:
        """Return the call that the rules work with; raise `Refusal` for what Amplitude finds nested too deeply."""
        if event.brackets is not None and (deep := event.too_deep(_DEEPEST)) is not None:
            message = f"Amplitude refuses objects that nest deeper than {_DEEPEST} levels. Flatten them."
            raise Refusal(Code.VENDOR_WOULD_REFUSE, message, deep)
        options = options_of(event, self.name) if event.integrations else {}
        if not self.device_mode:
            return Call(self.server, event, options)
        shape = self.shapes[platform_of(event)]
        return Call(shape, event, options, carried, event.type != "page" or pages_sent(event, self.config) > 0)

    def _further(self, event: Event) -> int:
        """Return how many events a browser's call becomes beside its main one."""
        if event.type == "page":
            return max(0, pages_sent(event, self.config) - 1)
        if event.type != "track":
            return 0
        if is_order(event.event or ""):
            return 0 if self.config.track_products_once else len(products_of(event))
        return 0 if price_logged(event, "browser") is None else 1

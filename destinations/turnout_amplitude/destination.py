"""The Amplitude destination: endpoints, and the rules of all topics together."""

from __future__ import annotations

from collections.abc import Callable

from turnout import (
    ITEMS,
    Batch,
    Code,
    Config,
    Destination,
    Endpoint,
    Event,
    Refusal,
    basic,
    form_body,
    json_body,
    setting,
)
from turnout_amplitude.answers import read_events, read_form
from turnout_amplitude.call import Call, event_fields, options_of
from turnout_amplitude.context import COPIES, DERIVED, context_reader
from turnout_amplitude.groups import GroupRules
from turnout_amplitude.identity import IdentityRules
from turnout_amplitude.orders import OrderRules
from turnout_amplitude.pages import PageRules
from turnout_amplitude.properties import Operations
from turnout_amplitude.settings import AmplitudeSettings
from turnout_amplitude.tracks import TrackRules, removed_properties

__all__ = ["Amplitude"]

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


class Amplitude(PageRules, TrackRules, OrderRules, IdentityRules, GroupRules, Destination):
    """Amplitude, through its HTTP V2, Batch, Identify, Group Identify, User Mapping and User Privacy APIs.

    Events are mapped by the server rules (cloud mode), whatever library they come from; every call type is handled
    (AMP-GEN-03). `integrations` decide first whether an event goes here at all (AMP-GEN-01). An event needs a user or a
    device (AMP-GEN-04). What is null or missing leaves its field out (AMP-GEN-10), and context keys without a row
    below are dropped (AMP-CTX-19). Mapping is a function of event and settings and changes neither (AMP-GEN-09).

    Answers are read event by event: what a 400 names is refused and the rest goes out again, a 413 splits, 429 and
    5xx are retried, a wrong key stops everything (AMP-HTTP-12).
    """

    name = "Amplitude"
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
    identify = Endpoint(
        "POST",
        _api("/identify"),
        body=form_body({"api_key": setting("api_key"), "identification": ITEMS, "options": {"min_id_length": 1}}),
        batch=Batch(items=2000, bytes=1_000_000),
        read=read_form,
        doc="User properties and group membership. AMP-HTTP-03, AMP-HTTP-09.",
    )
    groupidentify = Endpoint(
        "POST",
        _api("/groupidentify"),
        body=form_body({"api_key": setting("api_key"), "identification": ITEMS}),
        batch=Batch(items=1024, bytes=1_000_000),
        read=read_form,
        doc="Group properties. AMP-HTTP-04.",
    )
    usermap = Endpoint(
        "POST",
        _usermap,
        body=form_body({"api_key": setting("api_key"), "mapping": ITEMS}),
        batch=Batch(items=2000, bytes=1_000_000),
        read=read_form,
        doc="Alias and unmapping. AMP-HTTP-05.",
    )
    deletions = Endpoint(
        "POST",
        _deletions,
        body=json_body({"user_ids": ITEMS, "requester": "turnout", "ignore_invalid_id": "true"}),
        auth=basic("api_key", "secret_key"),
        batch=Batch(items=100),
        doc="User deletion, on the analytics host. AMP-HTTP-08, AMP-DEL-01.",
    )

    def configured(self) -> None:
        """Choose the events endpoint and the readers once."""
        self.target = self.batch if self.config.send_to_batch_endpoint else self.events
        config = self.config
        query = tuple(name for name, place in config.map_query_params.items() if place == "user_properties")
        flags = (config.prefer_anonymous_id_for_device_id, config.include_raw_user_agent)
        self.context = context_reader(*flags)
        self.fields = event_fields(*flags, config.track_utm_properties, query)
        self.removed = removed_properties(config)
        self.query = bool(config.map_query_params)
        self.operations = Operations(config)

    def prepare(self, event: Event) -> Call:
        """Return the call that the rules work with; raise `Refusal` for what Amplitude finds nested too deeply."""
        if event.brackets is not None and (deep := event.too_deep(_DEEPEST)) is not None:
            message = f"Amplitude refuses objects that nest deeper than {_DEEPEST} levels. Flatten them."
            raise Refusal(Code.VENDOR_WOULD_REFUSE, message, deep)
        return Call(self, event, options_of(event, self.name) if event.integrations else {})

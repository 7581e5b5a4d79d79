"""The settings of the Split destination: those of events, then those of segments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from marshmallow import ValidationError, validates, validates_schema

from turnout.settings import Config, Settings, choice, flag, integer, mapping, names, text
from turnout_split.names import event_type, is_segment_name

__all__ = ["SplitSettings"]


class SplitSettings(Settings):
    """Settings of the Split destination: `sdk_key` is for events, the others with `key` in their names for segments."""

    send_events = flag("Send track calls as events, and page and screen calls when they are switched on.", default=True)
    sdk_key = text(
        "SDK API key (server-side or client-side) of the environment, for events. An admin API key does not work.",
        secret=True,
        routing=True,
    )
    environment = text("Name of the environment of events, as in `Prod-Default`.")
    traffic_type = text("Traffic type of events whose key is the `userId`; empty: none are sent.", default="user")
    anonymous_traffic_type = text("Traffic type of events whose key is the `anonymousId`; empty: none are sent.")
    track_pages = flag("Send page calls as events.")
    track_screens = flag("Send screen calls as events.")
    event_type_prefix = text("What event types begin with, as in `amp.`.")
    event_type_length = integer(
        "How many characters an event type may have; a longer one is cut. Split's pages say 63 and 80.",
        default=63,
        minimum=1,
        maximum=80,
    )
    value_properties = names(
        "Properties that an event's value is taken from: the first that is a number, or a text that is one.",
        default=["revenue", "value", "total"],
    )
    context_properties = mapping(
        "Further properties, from places of the event: `context.os.name` -> `os_name`. A property of that name stays."
    )
    retry_unknown_outcomes = flag(
        "Send events again when no answer came and they may have arrived. Split drops no copies: on, an event may "
        "count twice; off, it may be lost, and is a dead letter.",
        default=True,
        routing=True,
    )
    sync_segments = flag("Bring the members of audiences and cohorts into segments, as identify calls tell them.")
    admin_api_key = text(
        "Admin API key, for segments; sent as a bearer token. An SDK API key does not work.", secret=True, routing=True
    )
    harness_api_key = text(
        "API key of an account that was moved to Harness, instead of `admin_api_key`; sent as `x-api-key`.",
        secret=True,
        routing=True,
    )
    workspace_id = text("Id of the workspace (project) of the segments.", routing=True)
    environment_id = text("Id of the environment whose segments get the keys.", routing=True)
    traffic_type_id = text("Id of the traffic type of new segments. A segment keeps the one it has.", routing=True)
    member_id = choice(
        "Which id of an identify call is the key in a segment.", ["user_id", "anonymous_id"], default="user_id"
    )
    create_segments = flag(
        "Create and activate a segment before its keys change; off, it has to be there.", default=True
    )
    segment_names = mapping("Names of segments for audiences and cohorts: `[Amplitude] Buyers: 7f3` -> `buyers`.")

    @validates("segment_names")
    def _check_names(self, value: Mapping[str, str], **_: Any) -> None:
        for cohort, name in value.items():
            if not is_segment_name(name):
                rule = "a name begins with a letter and has letters, digits, - and _ only"
                raise ValidationError(f"has the name {name!r} for {cohort!r}, which Split refuses: {rule}.")

    @validates_schema
    def _check_complete(self, data: Mapping[str, Any], **_: Any) -> None:
        problems = {name: [words] for name, words in _missing(data)}
        if problems:
            raise ValidationError(problems)

    def warnings(self, config: Config) -> Iterable[str]:
        """Yield a sentence when nothing at all is switched on."""
        if not config.send_events and not config.sync_segments:
            yield "send_events and sync_segments are both off: nothing is sent to Split."


def _missing(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if data["send_events"]:
        for name in ("sdk_key", "environment"):
            if not data[name]:
                yield name, "is required for events: give it, or switch send_events off."
        if not data["traffic_type"].strip() and not data["anonymous_traffic_type"].strip():
            yield "traffic_type", "is required for events, or anonymous_traffic_type: events of no type can't be sent."
    if len(event_type(data["event_type_prefix"], 80)) >= data["event_type_length"]:
        yield "event_type_prefix", "leaves no room for names: all events would be of one type. Shorten it."
    if data["sync_segments"]:
        for name in ("workspace_id", "environment_id", "traffic_type_id"):
            if not data[name]:
                yield name, "is required with sync_segments: give it a value."
        if not data["admin_api_key"] and not data["harness_api_key"]:
            yield "admin_api_key", "is required with sync_segments, or harness_api_key: give one of them."
        if data["admin_api_key"] and data["harness_api_key"]:
            yield "harness_api_key", "must not be given beside admin_api_key: keep one."

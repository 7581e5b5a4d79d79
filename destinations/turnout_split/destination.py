"""The Split destination: endpoints, and the rules of both topics together."""

from __future__ import annotations

from typing import ClassVar

from turnout import ITEM, ITEMS, Batch, Derived, Destination, Endpoint, bearer, json_body, setting
from turnout_split.answers import read_activation, read_creation, read_events, read_keys
from turnout_split.events import EventRules
from turnout_split.properties import context_reader
from turnout_split.segments import SegmentRules
from turnout_split.settings import SplitSettings

__all__ = ["Split"]

_ADMIN = "https://api.split.io/internal/api/v2/segments"
_KEYS = json_body({"keys": ITEMS["key"], "comment": "turnout"})
_HARNESS = {"x-api-key": setting("harness_api_key")}
_FULL = Batch(items=10_000, bytes=1_000_000)


class Split(EventRules, SegmentRules, Destination):
    """Split (Harness FME), through its Events API and the segments of its Admin API.

    Events go out in bulk. Split answers 202 before it looks at them: an event with a wrong traffic type or environment
    is lost there without a word, and `delivered` says no more than that Split has it. Split drops no copies;
    `retry_unknown_outcomes` says what becomes of events when no answer came.

    With `sync_segments` the members of audiences and cohorts become keys of segments. Two forms of identify calls tell
    of them. As Segment's audiences have it: `context.personas` is `{"computation_class": "audience", "computation_key":
    "buyers"}`, and the trait `buyers` is true for who enters and false for who leaves; `computation_size`, the number
    of all members, may stand beside that. As Amplitude's cohort sync has it: `context.integration.name` is `Amplitude
    Cohort Sync`, and each trait called `[Amplitude] <name> (<id>)` is true or false.

    A membership takes three requests: the segment is created, activated in the environment, and gets or loses the key;
    each of them may be repeated without harm. Memberships that go together share their requests, up to 10,000 keys in
    one: from a log, as many as `events_at_once` and `events_in_flight` in `[deliver]` let. Two names of cohorts can
    come to the same name of a segment, which would then hold both: `segment_names` tells them apart.

    Both APIs have keys of their own: events need an SDK API key, segments an admin API key.
    """

    name = "Split"
    api = 1
    settings = SplitSettings
    pure = True
    table: ClassVar = (
        Derived(("userId", "anonymousId"), ("key", "trafficTypeName"), (), "an event for each id with a traffic type"),
        Derived(("event", "name", "category"), ("eventTypeId",), (), "with `event_type_prefix`, cleaned and cut"),
        Derived(("timestamp",), ("timestamp",), (), "in milliseconds"),
        Derived(("properties",), ("value",), (), "the first number of `value_properties`"),
        Derived(("properties",), ("properties",), (), "objects flattened with dots, lists as JSON text; 300 at most"),
        Derived(("context",), ("properties",), (), "the places that `context_properties` names"),
    )

    events = Endpoint(
        "POST",
        "https://events.split.io/api/events/bulk",
        body=json_body(ITEMS),
        auth=bearer("sdk_key"),
        batch=Batch(items=5000, bytes=1_000_000),
        read=read_events,
        keyed=False,
        resend=lambda config: bool(config.retry_unknown_outcomes),
        doc="Events, in bulk.",
    )
    creations = Endpoint(
        "POST",
        f"{_ADMIN}/ws/{{workspace_id}}/trafficTypes/{{traffic_type_id}}",
        body=json_body(ITEM),
        auth=bearer("admin_api_key"),
        headers=_HARNESS,
        read=read_creation,
        keyed=False,
        once=True,
        doc="New segments; one that exists stays as it is.",
    )
    activations = Endpoint(
        "POST",
        f"{_ADMIN}/{{environment_id}}/{{item.segment}}",
        body=json_body(ITEM),
        auth=bearer("admin_api_key"),
        headers=_HARNESS,
        read=read_activation,
        keyed=False,
        once=True,
        doc="Segments that are to be there in the environment.",
    )
    uploads = Endpoint(
        "PUT",
        f"{_ADMIN}/{{environment_id}}/{{item.segment}}/uploadKeys?replace=false",
        body=_KEYS,
        auth=bearer("admin_api_key"),
        headers=_HARNESS,
        batch=_FULL,
        read=read_keys,
        keyed=False,
        once=True,
        doc="Keys that go into a segment.",
    )
    removals = Endpoint(
        "PUT",
        f"{_ADMIN}/{{environment_id}}/{{item.segment}}/removeKeys",
        body=_KEYS,
        auth=bearer("admin_api_key"),
        headers=_HARNESS,
        batch=_FULL,
        read=read_keys,
        keyed=False,
        once=True,
        doc="Keys that go out of a segment.",
    )

    def configured(self) -> None:
        """Work out once which ids become keys, and what is read from the context."""
        config = self.config
        types = (
            ("user_id", "/userId", config.traffic_type.strip().lower()),
            ("anonymous_id", "/anonymousId", config.anonymous_traffic_type.strip().lower()),
        )
        self.traffic_types = tuple(one for one in types if one[2])
        self.further = context_reader(config.context_properties) if config.context_properties else None

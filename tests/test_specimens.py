"""Specimens: events made from the schemas, which fit them, tell their values apart, and are the same each time."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from turnout import (
    CALL_TYPES,
    Destination,
    Endpoint,
    Event,
    Item,
    Normaliser,
    Settings,
    json_body,
    load_destination,
    rule,
)
from turnout.envelope import ITEMS
from turnout.settings import mapping, names, text
from turnout.specimens import Specimen, specimen, specimens
from turnout_specs import schema, validator

EVERY = list(specimens(0, load_destination("amplitude")))


def values(event: Any) -> Iterator[Any]:
    """Yield the texts and numbers of an event."""
    if isinstance(event, dict | list):
        for inner in event.values() if isinstance(event, dict) else event:
            yield from values(inner)
    elif not isinstance(event, bool):
        yield event


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_a_specimen_is_an_event_whose_values_are_all_different(one: Specimen) -> None:
    """It fits its schema, is accepted, and no two of its texts and numbers are alike."""
    assert list(validator(one.event["type"]).iter_errors(one.event)) == []
    assert Normaliser().event(one.event).type == one.event["type"]
    assert [value for value, count in Counter(map(str, values(one.event))).items() if count > 1] == []


def test_names_tell_specimens_apart() -> None:
    """No name stands twice, and each can be the name of a file."""
    told = [one.name for one in EVERY]
    assert len(told) == len(set(told))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in told)


def test_the_same_arguments_give_the_same_specimens() -> None:
    """Nothing is drawn by chance."""
    assert list(specimens(3)) == list(specimens(3))


def test_another_seed_gives_other_values() -> None:
    """Only booleans, currencies, the call type, a destination's name and what a library is called stay."""
    stays = {"EUR", "Segment.io", "Elsewhere", "analytics-example", *CALL_TYPES}
    for call_type in CALL_TYPES:
        first, second = (set(map(str, values(specimen(call_type, seed)))) for seed in (0, 1))
        assert first & second <= stays


def known(part: dict[str, Any], defs: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the JSON Pointers of everything that a schema names."""
    part = (
        {**defs[part["$ref"].rpartition("/")[2]], **part} if part.get("$ref", "").rpartition("/")[2] in defs else part
    )
    if "properties" in part and "string" not in part.get("type", ()):
        for key, inner in part["properties"].items():
            yield from known(inner, defs, f"{path}/{key}")
    elif path:
        yield path


def at(event: Any, path: str) -> Any:
    for key in path.split("/")[1:]:
        event = event[key]
    return event


@pytest.mark.parametrize("call_type", CALL_TYPES)
def test_every_key_of_the_schema_is_filled(call_type: str) -> None:
    """What the schemas name is there, and isn't empty."""
    whole = schema(call_type)
    common = whole["$defs"]["urn:turnout:spec:common"]
    paths = [*known(common, common["$defs"]), *known(whole, common["$defs"])]
    assert len(paths) > 80
    event = specimen(call_type)
    for path in paths:
        assert at(event, path) not in (None, "", {}, []), path


def test_each_part_is_left_out_in_turn() -> None:
    """For each optional key, and each key of the context, there is the whole event without it."""
    by_name = {one.name: one.event for one in EVERY}
    whole = by_name["track"]
    assert "userId" not in by_name["track_without_user_id"]
    assert {**by_name["track_without_sent_at"], "sentAt": whole["sentAt"]} == whole
    context = by_name["track_without_context_user_agent"]["context"]
    assert {**context, "userAgent": whole["context"]["userAgent"]} == whole["context"]
    assert "track_without_event" not in by_name
    assert "alias_without_user_id" not in by_name


def test_parts_can_be_left_away() -> None:
    """Without them there are a few dozen instead of hundreds."""
    few = [one.name for one in specimens(parts=False)]
    assert not [name for name in few if "without" in name]
    assert 40 < len(few) < 100 < len(EVERY)


@pytest.mark.parametrize("call_type", CALL_TYPES)
def test_there_is_one_with_only_what_is_required(call_type: str) -> None:
    """Nothing more can be taken away from it."""
    event = next(one.event for one in EVERY if one.name == f"{call_type}_minimal")
    for key in event:
        assert list(validator(call_type).iter_errors({name: event[name] for name in event if name != key})), key


def test_libraries_send_what_they_send() -> None:
    """The library's name, its platform's context, and no key that only servers write."""
    by_name = {one.name: one.event for one in EVERY}
    browser, ios = by_name["track_from_browser"], by_name["track_from_ios"]
    assert (browser["context"]["library"]["name"], ios["context"]["library"]["name"]) == (
        "analytics.js",
        "analytics-ios",
    )
    assert "device" not in browser["context"]
    assert ios["context"]["os"]["name"] == "iOS"
    assert set(by_name["track_from_server"]["context"]) == {"library"}
    assert "receivedAt" not in ios


@pytest.mark.parametrize(
    "name", ["Order Completed", "Product Viewed", "Cart Shared", "Coupon Denied", "Application Opened"]
)
def test_the_calls_of_the_spec_are_there(name: str) -> None:
    """Each track call that Segment's spec names, with its properties."""
    event = next(one.event for one in EVERY if one.event.get("event") == name)
    assert event["properties"]
    assert next(one.name for one in EVERY if one.event is event) == "track_" + name.lower().replace(" ", "_")


class WordySettings(Settings):
    """Settings that hold names."""

    key = text("A key.", secret=True, default="never-shown")
    trait = text("A trait.", default="Loyalty Tier")
    lists = names("Traits.", default=["points"])
    places = mapping("Where.", default={"coupon": "context.page.title"})


class Wordy(Destination):
    """Knows traits by name."""

    name = "Wordy Inc."
    settings = WordySettings
    out = Endpoint("POST", "https://wordy.example", body=json_body(ITEMS))

    @rule("track")
    def tracked(self, event: Event) -> Item:
        """An item."""
        return self.out.item({"is": event.event})


def test_a_destination_adds_its_options_and_the_names_in_its_settings() -> None:
    """Options stand under its key; each name in its settings is an event, a property and a trait; no secret is one."""
    made = {one.name: one.event for one in specimens(0, Wordy)}
    assert made["track_with_options"]["integrations"]["Wordy Inc."]["session_id"]
    assert made["track_named_loyalty_tier"]["event"] == "Loyalty Tier"
    assert made["track_named_points"]["properties"]["points"]
    assert made["identify_named_coupon"]["traits"]["coupon"]
    assert "never-shown" not in json.dumps([*made.values()])


def test_a_configured_destination_adds_the_names_that_it_was_given() -> None:
    """Configured settings count, not the defaults."""
    made = {one.name for one in specimens(0, Wordy({"trait": "tier", "lists": [], "places": {}}))}
    assert "track_named_tier" in made
    assert "track_named_points" not in made


def test_an_unknown_call_type_is_refused() -> None:
    """With the call types that there are."""
    with pytest.raises(ValueError, match=r"'trak' is no call type\. Known are page"):
        specimen("trak")

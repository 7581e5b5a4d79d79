"""Tracking plans: what violates one, what is done about it, and that it is done the same way everywhere."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from turnout import (
    ITEMS,
    ConfigError,
    Destination,
    Dispatcher,
    Endpoint,
    Event,
    Inputs,
    Judgement,
    Normaliser,
    Note,
    TrackingPlan,
    Violation,
    hookimpl,
    json_body,
    rule,
)
from turnout.accepting import Acceptor, now_ms
from turnout.cases import Case
from turnout.checking import prepared
from turnout.cli import main
from turnout.config import DeliverSettings
from turnout.deliver import Delivery
from turnout.log import DeadQuery
from turnout.metrics import text
from turnout.reasons import Code, Outcome
from turnout.sqlite_log import SqliteLog

Make = Callable[..., dict[str, Any]]

ORDER = {
    "type": "object",
    "required": ["order_id"],
    "additionalProperties": False,
    "properties": {
        "order_id": {"type": "string"},
        "total": {"type": "number", "minimum": 0},
        "currency": {"enum": ["USD", "EUR"]},
        "products": {
            "type": "array",
            "items": {"type": "object", "properties": {"price": {"type": "number"}, "sku": {"type": "string"}}},
        },
        "ship~to/by": {"type": "object", "properties": {"a/b": {"type": "string"}}},
    },
}


def shop(**given: Any) -> dict[str, Any]:
    """Return a plan with one event."""
    return {"name": "Shop", "events": {"Sold": {"properties": ORDER}}, **given}


def plan(**given: Any) -> TrackingPlan:
    return TrackingPlan(shop(**given))


def told(violations: Any) -> list[tuple[str | None, str]]:
    return [(one.path, one.keyword) for one in violations]


def properties_of(plans: Any) -> list[dict[str, Any]]:
    """Return what the little vendor would get of an event, without its name and id."""
    items = [item for one in plans for request in one.to_dict()["requests"] for item in request["body"]["events"]]
    return [{key: value for key, value in item.items() if key not in ("name", "id")} for item in items]


WRONG = {"order_id": "o-1", "total": "12,50", "colour": "red", "products": [{"price": 1.5}, {"price": "2", "sku": 3}]}
WRONG_PATHS = [
    ("/properties/total", "type"),
    ("/properties/products/1/price", "type"),
    ("/properties/products/1/sku", "type"),
    ("/properties/colour", "additionalProperties"),
]


# The three modes


def test_observe_reports_and_lets_the_event_go_on(bench: Any, call: Make) -> None:
    """The default: the vendor gets all of it; each violation is a note of the plan, with its pointer."""
    (planned,) = bench.dispatcher(tracking_plan=plan()).plan(call("m-1", **WRONG))
    assert planned.outcome is Outcome.PLANNED
    assert properties_of([planned]) == [WRONG]
    assert sorted(told(planned.notes)) == sorted(WRONG_PATHS)
    assert all(isinstance(one, Violation) and isinstance(one, Note) for one in planned.notes)
    assert {(one.code, one.mode, one.stripped, one.event) for one in planned.notes} == {
        (Code.PLAN_VIOLATION, "observe", False, "Sold")
    }


def test_strip_takes_out_what_violates_and_nothing_else(bench: Any, call: Make) -> None:
    """Unplanned and of a wrong type, inside objects and lists as well."""
    (planned,) = bench.dispatcher(tracking_plan=plan(mode="strip")).plan(call("m-1", **WRONG))
    assert properties_of([planned]) == [{"order_id": "o-1", "products": [{"price": 1.5}, {}]}]
    assert sorted(told(planned.notes)) == sorted(WRONG_PATHS)
    assert all(one.stripped and one.mode == "strip" for one in planned.notes)


def test_strip_only_reports_what_is_missing(bench: Any, call: Make) -> None:
    """Nothing can be taken out that isn't there."""
    (planned,) = bench.dispatcher(tracking_plan=plan(mode="strip")).plan(call("m-1", total=3))
    assert properties_of([planned]) == [{"total": 3}]
    assert [(one.path, one.stripped) for one in planned.notes] == [("/properties/order_id", False)]


def test_block_drops_the_event_with_a_reason(bench: Any, call: Make) -> None:
    """Outcome `dropped`, code `plan_violation`, the pointer of the first violation; all of them are notes."""
    (planned,) = bench.dispatcher(tracking_plan=plan(mode="block")).plan(call("m-1", **WRONG))
    assert planned.to_dict() == {
        "message_id": "m-1",
        "destination": "acme",
        "outcome": "dropped",
        "reason": {
            "code": "plan_violation",
            "message": "The tracking plan 'Shop' blocks it: `properties.colour` is not in the plan. "
            "There are 3 more violations.",
            "path": "/properties/colour",
        },
        "requests": [],
    }
    assert (planned.user, planned.event.event, len(planned.notes)) == ("user-m-1", "Sold", 4)


@pytest.mark.parametrize("mode", ["observe", "strip", "block"])
def test_a_good_event_goes_on_as_it_is(bench: Any, call: Make, mode: str) -> None:
    """Without notes, and it is the same object: nothing is copied."""
    good = {"order_id": "o-1", "total": 5, "currency": "EUR", "products": [], "ship~to/by": {"a/b": "x"}}
    dispatcher = bench.dispatcher(tracking_plan=plan(mode=mode))
    (planned,) = dispatcher.plan(call("m-1", **good))
    assert (properties_of([planned]), planned.notes, planned.reason) == ([good], (), None)
    event = dispatcher.normaliser.event(call("m-1", **good))
    assert dispatcher.judge(event).kept is event


def test_an_events_own_mode_wins_over_the_plans_and_the_option_over_both() -> None:
    """So one event can be blocked while the others are watched, and all of them only watched in a test system."""
    document = shop(mode="strip")
    document["events"]["Sold"] = {"mode": "block", "properties": ORDER}
    event = Normaliser().event({"type": "track", "event": "Sold", "userId": "u"})
    modes = [TrackingPlan(document, mode=mode).check(event)[0].mode for mode in ("", "observe")]
    assert modes == ["block", "observe"]


# Law 1: events are never changed


@pytest.mark.parametrize("mode", ["observe", "strip", "block"])
def test_the_event_itself_is_never_changed(call: Make, mode: str) -> None:
    """Neither its objects, nor its text, nor what it makes of itself."""
    event = Normaliser().event(call("m-1", **WRONG))
    before = (event.copy(), event.raw, json.dumps(event.to_dict()))
    plan(mode=mode).judge(event)
    assert (event, event.raw, json.dumps(event.to_dict())) == before


def test_what_was_stripped_is_gone_from_the_text_as_well(call: Make) -> None:
    """A destination that forwards events gets the same as one that reads properties; all else stays."""
    source = call("m-1", **WRONG) | {
        "context": {"traits": {"age": "old", "city": "Bonn"}, "page": {"path": "/cart"}, "custom": {"k": 1}},
        "timestamp": "2026-02-03T04:05:06.789Z",
        "sentAt": "2026-02-03T04:05:07.000Z",
        "receivedAt": "2026-02-03T04:05:09.000Z",
        "unknown": [1, {"deep": None}],
    }
    document = {
        "rules": {
            "events": [
                {"name": "Sold", "rules": {"properties": {"properties": ORDER}}},
            ],
            "global": {
                "properties": {
                    "context": {"properties": {"traits": {"properties": {"age": {"type": "number"}}}}},
                },
            },
        }
    }
    event = Normaliser().event(source)
    kept = TrackingPlan(document, mode="strip").judge(event).kept
    expected = event.to_dict()
    del expected["context"]["traits"]["age"], expected["properties"]["total"], expected["properties"]["colour"]
    expected["properties"]["products"][1] = {}
    assert kept.to_dict() == expected
    assert kept.properties == expected["properties"]
    assert kept.context.traits == {"city": "Bonn"}
    assert kept.context.page.path == "/cart"
    assert (kept.message_id, kept.timestamp, kept.timestamp_ms) == (
        event.message_id,
        event.timestamp,
        event.timestamp_ms,
    )
    assert Normaliser().event(kept.to_dict()) == kept
    assert pickle.loads(pickle.dumps(kept)) == kept


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab~/", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/01", max_size=2), inner, max_size=3),
    max_leaves=12,
)
LEAF = {"type": ["string", "null"]}
TREE = {
    "type": "object",
    "additionalProperties": False,
    "definitions": {
        "tree": {
            "anyOf": [
                LEAF,
                {"type": "array"},
                {"type": "object"},
            ],
            "items": LEAF,
            "additionalProperties": LEAF,
        }
    },
    "properties": {
        "a": {"$ref": "#/definitions/tree"},
        "a/": {"$ref": "#/definitions/tree"},
        "~": {"type": "object", "additionalProperties": False, "properties": {"0": {"type": "array", "items": LEAF}}},
        "1": {"type": "array", "items": {"type": "array", "items": LEAF}},
    },
}


@given(st.dictionaries(st.sampled_from(["a", "a/", "~", "1", "b", "~1", ""]), VALUES, max_size=5))
def test_what_was_stripped_violates_no_more(properties: dict[str, Any]) -> None:
    """Whatever an event holds: every pointer led to what it named, and nothing else was taken out."""
    event = Normaliser().event({"type": "track", "event": "E", "userId": "u", "properties": properties})
    plan = TrackingPlan({"mode": "strip", "events": {"E": {"properties": TREE}}})
    judged = plan.judge(event)
    again = plan.judge(judged.kept)
    assert again.violations == ()
    assert again.kept.to_dict()["properties"] == again.kept.properties
    assert (judged.kept is event) == (not judged.violations)


# What is judged


def test_a_pointer_escapes_what_it_must(call: Make) -> None:
    """`~` and `/` in keys, and positions in lists."""
    event = Normaliser().event(call("m-1", order_id="o", **{"ship~to/by": {"a/b": 5}, "c~/d": 1}))
    found = plan(mode="strip").judge(event)
    assert sorted(told(found.violations)) == [
        ("/properties/c~0~1d", "additionalProperties"),
        ("/properties/ship~0to~1by/a~1b", "type"),
    ]
    assert found.kept.properties == {"order_id": "o", "ship~to/by": {}}


def test_items_are_taken_out_of_a_list_from_its_end() -> None:
    """What is removed moves nothing that is still to be removed."""
    schema = {"properties": {"tags": {"type": "array", "items": {"type": "string"}}}}
    event = Normaliser().event(
        {"type": "track", "event": "E", "userId": "u", "properties": {"tags": [1, "a", 2, *"bcdefgh", 3, "i", 4]}}
    )
    judged = TrackingPlan({"mode": "strip", "events": {"E": {"properties": schema}}}).judge(event)
    assert judged.kept.properties == {"tags": list("abcdefghi")}
    assert [one.path for one in judged.violations] == [f"/properties/tags/{at}" for at in (0, 2, 10, 12)]


def test_what_is_outside_of_properties_and_traits_is_only_reported() -> None:
    """The rest of an event belongs to the spec, and no destination could do without it."""
    whole = {"required": ["anonymousId"], "properties": {"context": {"properties": {"ip": {"type": "null"}}}}}
    document = {"rules": {"events": [{"name": "E", "rules": whole}]}}
    event = Normaliser().event({"type": "track", "event": "E", "userId": "u", "context": {"ip": "192.0.2.1"}})
    judged = TrackingPlan(document, mode="strip").judge(event)
    assert [(one.path, one.stripped) for one in judged.violations] == [("/anonymousId", False), ("/context/ip", False)]
    assert judged.kept is event


def test_traits_of_identify_and_group_are_judged() -> None:
    """Each by its own schema."""
    document = {
        "identify": {"mode": "strip", "traits": {"properties": {"age": {"type": "integer"}}}},
        "group": {"traits": {"required": ["plan"]}},
    }
    tracking = TrackingPlan(document)
    known = {"type": "identify", "userId": "u", "traits": {"age": 1.5, "name": "Ann"}}
    judged = tracking.judge(Normaliser().event(known))
    assert (told(judged.violations), judged.kept.traits) == ([("/traits/age", "type")], {"name": "Ann"})
    assert judged.violations[0].event == "identify"
    group = Normaliser().event({"type": "group", "userId": "u", "groupId": "g"})
    assert told(tracking.judge(group).violations) == [("/traits/plan", "required")]


def test_pages_and_screens_are_judged_by_name() -> None:
    """What is said of all pages holds for each of them; one that isn't named in the plan is unplanned."""
    document = {
        "page": {
            "mode": "block",
            "properties": {"required": ["path"]},
            "names": {"Pricing": {"mode": "observe", "properties": {"required": ["variant"]}}, "": {}},
        },
        "screen": {"names": {"Home": {}}},
    }
    tracking = TrackingPlan(document)

    def found(kind: str, **given: Any) -> list[tuple[str, str, str | None, str]]:
        event = Normaliser().event({"type": kind, "userId": "u", **given})
        return [(one.event, one.code.value, one.path, one.mode) for one in tracking.check(event)]

    assert found("page", name="Pricing") == [
        ("page Pricing", "plan_violation", "/properties/variant", "observe"),
        ("page Pricing", "plan_violation", "/properties/path", "observe"),
    ]
    assert found("page") == [("page", "plan_violation", "/properties/path", "block")]
    assert found("page", name="Help", properties={"path": "/"}) == [("page Help", "plan_unplanned", "/name", "observe")]
    assert found("screen", name="Home") == []
    assert found("screen") == [("screen", "plan_unplanned", "/name", "observe")]


def test_context_can_have_a_schema(call: Make) -> None:
    """Beside the properties; a null in it is as good as nothing."""
    document = {
        "events": {"Sold": {"context": {"required": ["locale", "ip"], "properties": {"ip": {"type": "string"}}}}}
    }
    event = Normaliser().event(call("m-1") | {"context": {"ip": None, "app": {"name": "x"}}})
    assert told(TrackingPlan(document).check(event)) == [("/context/locale", "required"), ("/context/ip", "required")]


@pytest.mark.parametrize("kind", ["page", "screen", "identify", "group", "alias", "delete"])
def test_calls_of_which_the_plan_says_nothing_are_not_judged(kind: str) -> None:
    """A plan with events only is one of track calls."""
    source = {"type": kind, "userId": "u", "groupId": "g", "previousId": "p", "name": "N"}
    assert plan(unplanned="block").check(source) == []


def test_a_plan_without_events_judges_no_track_call(call: Make) -> None:
    """`events: {}` says that there are none; without `events` the plan is of something else."""
    assert TrackingPlan({"identify": {}}).check(call("m-1")) == []
    (only,) = TrackingPlan({"events": {}}).check(call("m-1"))
    assert only.code is Code.PLAN_UNPLANNED


def test_null_in_properties_is_a_value_and_at_the_root_is_none(call: Make) -> None:
    """Law 9."""
    document = {"events": {"Sold": {"properties": {"properties": {"a": {"type": "string"}}, "required": ["a"]}}}}
    assert told(TrackingPlan(document).check(call("m-1", a=None))) == [("/properties/a", "type")]
    assert told(TrackingPlan(document).check(call("m-1") | {"properties": None})) == [("/properties/a", "required")]


# Unplanned events


def test_unplanned_events_are_reported_or_blocked_or_allowed(bench: Any, call: Make) -> None:
    """By the plan's `unplanned`; the default is to report."""
    event = call("m-1", event="Sould", a=1)
    observed, blocked, allowed = (
        bench.dispatcher(tracking_plan=plan(unplanned=word) if word else plan()).plan(event)[0]
        for word in ("", "block", "allow")
    )
    (note,) = observed.notes
    assert (observed.outcome, note.code, note.path, note.mode) == ("planned", "plan_unplanned", "/event", "observe")
    assert (blocked.outcome, blocked.reason.code, blocked.reason.path) == ("dropped", "plan_unplanned", "/event")
    assert blocked.reason.message == "The tracking plan 'Shop' blocks it: There is no event 'Sould' in the plan."
    assert (allowed.outcome, allowed.notes) == ("planned", ())


def test_check_says_which_name_was_probably_meant(call: Make) -> None:
    """For events and for properties; judging, on the way of every event, doesn't spend the time on it."""
    tracking = plan()
    (unplanned,) = tracking.check(call("m-1", event="sold"))
    assert unplanned.message == "There is no event 'sold' in the plan. Did you mean 'Sold'?"
    (extra,) = tracking.check(call("m-1", order_id="o", curency="USD"))
    assert extra.message == "`properties.curency` is not in the plan. Did you mean 'currency'?"
    assert "mean" not in tracking.judge(Normaliser().event(call("m-1", event="sold"))).violations[0].message


@pytest.mark.parametrize("form", ["own", "segment"])
def test_properties_that_a_plan_does_not_list_can_be_forbidden(call: Make, form: str) -> None:
    """Also in objects and lists below; not where a schema says itself what more may come."""
    item = {"properties": {"sku": {"type": "string"}}}
    schema = {
        "properties": {
            "total": {},
            "items": {"type": "array", "items": item},
            "free": {"properties": {"a": {}}, "additionalProperties": True},
            "any": {"allOf": [{"properties": {"b": {}}}]},
        }
    }
    own: dict[str, Any] = {"events": {"Sold": {"properties": schema}}, "mode": "strip"}
    whole = {"properties": {"properties": schema, "context": {"properties": {"ip": {}}}}}
    common = {"properties": {"properties": {"properties": {"tenant": {"type": "string"}}}}}
    segment = {"rules": {"events": [{"name": "Sold", "rules": whole}], "global": common}, "mode": "strip"}
    document = own if form == "own" else segment
    given = {"total": 1, "more": 2, "items": [{"sku": "s", "x": 1}], "free": {"z": 1}, "any": {"c": 1}}
    event = Normaliser().event(call("m-1", **given, tenant="t") | {"context": {"locale": "de"}})
    assert TrackingPlan(document).judge(event).violations == ()
    kept = TrackingPlan(document, unplanned_properties="forbid").judge(event).kept
    expected = {"total": 1, "items": [{"sku": "s"}], "free": {"z": 1}, "any": {"c": 1}}
    assert kept.properties == expected | ({"tenant": "t"} if form == "segment" else {})
    assert TrackingPlan(document | {"unplanned_properties": "forbid"}).judge(event).kept == kept


# Words

WORDS = [
    ({"type": "number"}, "5", "must be a number, but is a string"),
    ({"type": ["integer", "null"]}, True, "must be an integer or null, but is a boolean"),
    ({"type": ["integer", "string", "null"]}, [], "must be an integer, a string or null, but is a list"),
    ({"type": "integer"}, 1.5, "must be an integer, but has a fraction"),
    ({"type": "object"}, None, "must be an object, but is null"),
    ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "5", "must be a number or null, but is a string"),
    (
        {"anyOf": [{"type": "object", "required": ["a"]}, {"type": "string"}]},
        {"b": 1},
        "fits none of the forms that the plan allows; the nearest: `a` is missing, and the plan requires it",
    ),
    ({"oneOf": [{"minimum": 1}, {"minimum": 2}]}, 3, "fits several forms of the plan, and must fit exactly one"),
    ({"enum": ["USD", "EUR"]}, "Yen", 'must be "USD" or "EUR"'),
    ({"enum": list(range(10))}, 11, "must be 0, 1, 2, 3 or 4 (10 in all)"),
    ({"const": 4}, 5, "must be 4"),
    ({"pattern": "^[A-Z]{3}$"}, "usd", 'must match the pattern "^[A-Z]{3}$"'),
    ({"format": "email"}, "nobody", "must have the format email"),
    ({"format": "date-time"}, "2026-01-01", "must have the format date-time"),
    ({"format": "uri"}, "no address", "must have the format uri"),
    ({"minimum": 3}, 2, "must be at least 3"),
    ({"maximum": 3}, 4, "must be at most 3"),
    ({"exclusiveMinimum": 3}, 3, "must be more than 3"),
    ({"exclusiveMaximum": 3}, 3, "must be less than 3"),
    (
        {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3, "exclusiveMinimum": True},
        3,
        "must be more than 3",
    ),
    ({"multipleOf": 0.01}, 0.005, "must be a multiple of 0.01"),
    ({"minLength": 2}, "a", "must have at least 2 characters"),
    ({"maxLength": 2}, "abc", "must have at most 2 characters"),
    ({"minItems": 2}, [1], "must have at least 2 items"),
    ({"maxItems": 1}, [1, 2], "must have at most 1 item"),
    ({"uniqueItems": True}, [1, 1], "must not have the same item twice"),
    ({"contains": {"const": 1}}, [2], "has no item of the kind that the plan asks for"),
    ({"minProperties": 1}, {}, "must have at least 1 property"),
    ({"maxProperties": 0}, {"b": 1}, "must have at most 0 properties"),
    ({"not": {"type": "string"}}, "a", "has a form that the plan excludes"),
    ({"dependencies": {"b": ["c"]}}, {"b": 1}, "lacks a property that the plan requires beside another"),
    (False, 1, "is not in the plan"),
    (
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "unevaluatedProperties": False},
        {"b": 1},
        "holds properties that are not in the plan",
    ),
    (
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "prefixItems": [{"type": "string"}],
            "items": False,
        },
        ["a", 5],
        "does not fit `items` in the plan",
    ),
]


@pytest.mark.parametrize(("schema", "value", "words"), WORDS, ids=[words[:40] for _, _, words in WORDS])
def test_a_violation_is_told_in_plain_words(schema: Any, value: Any, words: str) -> None:
    """Each keyword of JSON Schema, and never the value; `show_values` adds it."""
    draft = schema.get("$schema") if isinstance(schema, dict) else None
    whole = {"properties": {"a": schema}} | ({"$schema": draft} if draft else {})
    tracking = TrackingPlan({"events": {"E": {"properties": whole}}})
    event = {"type": "track", "event": "E", "userId": "u", "properties": {"a": value}}
    (one,) = tracking.check(event)
    assert one.message == f"`properties.a` {words}."
    (shown,) = tracking.check(event, show_values=True)
    assert shown.message == f"`properties.a` {words}; it is {json.dumps(value)}."


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"multipleOf": 0.01}, 19.99),
        ({"multipleOf": 0.1}, 0.3),
        ({"multipleOf": 0.01}, 10**400),
        ({"format": "date-time"}, "2026-01-01T00:00:00+02:00"),
        ({"format": "date-time"}, 5),
        ({"format": "uri"}, "https://acme.example/a?b"),
        ({"format": "no-such-format"}, "x"),
        ({"type": "integer"}, 3.0),
        (True, {"x": 1}),
    ],
)
def test_what_looks_wrong_but_fits(schema: Any, value: Any) -> None:
    """Numbers are what they are written as, and a format that isn't known says nothing."""
    tracking = TrackingPlan({"events": {"E": {"properties": {"properties": {"a": schema}}}}})
    assert tracking.check({"type": "track", "event": "E", "userId": "u", "properties": {"a": value}}) == []


def test_names_can_be_restricted(call: Make) -> None:
    """The key at fault is named, and taken out."""
    schema = {"propertyNames": {"pattern": "^[a-z]+$"}}
    event = Normaliser().event(call("m-1", ok=1, NotOk=2))
    judged = TrackingPlan({"mode": "strip", "events": {"Sold": {"properties": schema}}}).judge(event)
    assert [one.message for one in judged.violations] == ["`properties.NotOk` has a name that the plan does not allow."]
    assert judged.kept.properties == {"ok": 1}


@pytest.mark.parametrize("words", [{"properties": {"old": False}}, {"patternProperties": {"^ol": False}}])
def test_the_schema_false_forbids_a_property(call: Make, words: dict[str, Any]) -> None:
    """Its pointer leads to it, so it can be taken out."""
    event = Normaliser().event(call("m-1", old=1, new=2))
    judged = TrackingPlan({"mode": "strip", "events": {"Sold": {"properties": words}}}).judge(event)
    assert (told(judged.violations), judged.kept.properties) == ([("/properties/old", "false")], {"new": 2})


def test_messages_hold_no_control_characters(call: Make) -> None:
    """A key can't fake a line of the log."""
    (one,) = plan().check(call("m-1", order_id="o", **{"a\x1b[2J\nb": 1}))
    assert one.message == "`properties.a?[2J?b` is not in the plan."
    (other,) = plan().check(call("m-1", event="A\nB"))
    assert other.message.startswith("There is no event 'A?B' in the plan.")


LOOP = {"if": {"type": "string"}, "then": {"$ref": "#/definitions/loop"}}


@pytest.mark.parametrize(("mode", "outcome"), [("observe", "planned"), ("strip", "planned"), ("block", "dropped")])
def test_a_schema_that_raises_is_a_violation(bench: Any, call: Make, mode: str, outcome: str) -> None:
    """It can't stop the event's way, and who finds such a value doesn't get round a plan that blocks."""
    schema = {"definitions": {"loop": LOOP}, "properties": {"a": {"$ref": "#/definitions/loop"}}}
    tracking = TrackingPlan({"mode": mode, "events": {"Sold": {"properties": schema}}})
    (planned,) = bench.dispatcher(tracking_plan=tracking).plan(call("m-1", a="x"))
    assert planned.outcome == outcome
    (note,) = planned.notes
    assert note.message == "`properties` can't be checked: its schema raised RecursionError."
    assert (note.path, note.stripped) == ("/properties", False)


# Segment's export

EXPORT = {
    "name": "workspaces/acme/tracking-plans/rs_1",
    "display_name": "Acme Web",
    "rules": {
        "events": [
            {
                "name": "Order Completed",
                "description": "An order was placed.",
                "version": 1,
                "rules": {
                    "$schema": "http://json-schema.org/draft-07/schema#",
                    "type": "object",
                    "properties": {
                        "context": {},
                        "traits": {},
                        "properties": {
                            "type": "object",
                            "properties": {"order_id": {"type": "string"}, "total": {"type": ["number", "null"]}},
                            "required": ["order_id"],
                        },
                    },
                    "required": ["properties"],
                },
            },
            {
                "name": "Order Completed",
                "version": 10,
                "rules": {
                    "$schema": "http://json-schema.org/draft-04/schema#",
                    "id": "/properties/order",
                    "properties": {"properties": {"id": "/properties/x", "required": ["checkout_id"]}},
                },
            },
            {"name": "Order Completed", "version": 9, "rules": {}},
            {"name": "Cart Viewed", "rules": None},
        ],
        "identify": {"properties": {"traits": {"properties": {"email": {"type": "string"}}, "required": ["email"]}}},
        "group": {},
        "global": {"properties": {"context": {"required": ["app"]}}},
        "identify_traits": [],
        "group_traits": [],
    },
    "create_time": "2026-01-01T00:00:00Z",
}


def test_segments_export_is_read_as_it_is() -> None:
    """Schemas of whole events, the traits of identify calls, and what holds for all calls."""
    tracking = TrackingPlan(EXPORT)
    assert tracking.name == "Acme Web"
    track = {"type": "track", "userId": "u", "event": "Order Completed", "context": {"app": {"name": "a"}}}
    first = track | {"context": {"app": {}, "protocols": {"event_version": 1}}, "properties": {"total": "5"}}
    assert told(tracking.check(first)) == [("/properties/total", "type"), ("/properties/order_id", "required")]
    assert told(tracking.check(track)) == [("/properties/checkout_id", "required")]
    assert tracking.check(track | {"context": {"app": {}, "protocols": {"event_version": "9"}}}) == []
    assert told(tracking.check(track | {"context": {"app": {}, "protocols": {"event_version": 7}}})) == [
        ("/properties/checkout_id", "required")
    ]
    assert told(tracking.check({"type": "track", "userId": "u", "event": "Cart Viewed"})) == [
        ("/context/app", "required")
    ]
    assert told(tracking.check({"type": "identify", "userId": "u"})) == [
        ("/traits/email", "required"),
        ("/context/app", "required"),
    ]
    assert told(tracking.check({"type": "alias", "userId": "u", "previousId": "p"})) == [("/context/app", "required")]
    (unplanned,) = tracking.check(track | {"event": "Order Complete"})
    assert unplanned.message == "There is no event 'Order Complete' in the plan. Did you mean 'Order Completed'?"


def test_the_list_of_segments_public_api_is_read_as_well() -> None:
    """A rule for each call, with its type and key."""
    total = {"properties": {"properties": {"properties": {"total": {"type": "number"}}}}}
    rules = [
        {"type": "TRACK", "key": "Sold", "version": 1, "jsonSchema": total},
        {"type": "COMMON", "jsonSchema": {"required": ["anonymousId"]}},
        {"type": "IDENTIFY", "jsonSchema": {"properties": {"traits": {"required": ["email"]}}}},
        {"type": "PAGE", "key": "Home", "jsonSchema": {"properties": {"properties": {"required": ["path"]}}}},
    ]
    tracking = TrackingPlan({"rules": rules})
    sold = {"type": "track", "event": "Sold", "userId": "u", "properties": {"total": "1"}}
    assert told(tracking.check(sold)) == [("/properties/total", "type"), ("/anonymousId", "required")]
    assert told(tracking.check({"type": "identify", "userId": "u", "anonymousId": "a"})) == [
        ("/traits/email", "required")
    ]
    home = {"type": "page", "anonymousId": "a", "name": "Home"}
    assert told(tracking.check(home)) == [("/properties/path", "required")]
    assert tracking.check(home | {"name": "Other"}) == []


def test_what_two_schemas_say_is_told_once() -> None:
    """The event's and the one for all events."""
    same = {"properties": {"properties": {"required": ["total"]}}}
    tracking = TrackingPlan({"rules": {"events": [{"name": "E", "rules": same}], "global": same}})
    assert len(tracking.check({"type": "track", "event": "E", "userId": "u"})) == 1


# Plans that are wrong

BAD_PLANS = [
    ({"evnts": {}}, "/evnts: is no key of a tracking plan. Did you mean 'events'?"),
    ({"mode": "blok"}, "/mode: must be one of 'observe', 'strip', 'block', not 'blok'. Did you mean 'block'?"),
    ({"unplanned": "strip"}, "/unplanned: must be one of 'observe', 'block', 'allow', not 'strip'."),
    ({"unplanned_properties": True}, "/unplanned_properties: must be one of 'allow', 'forbid', not true."),
    ({"name": []}, "/name: must be text, not a list."),
    ({"events": []}, "/events: must be an object, not a list."),
    ({"events": {"A/B": 5}}, "/events/A~1B: must be an object, not 5."),
    ({"events": {"A": {"mode": ["block"]}}}, "/events/A/mode: must be one of 'observe', 'strip', 'block', not a list."),
    (
        {"events": {"A": {"property": {}}}},
        "/events/A/property: is no key of a tracking plan. Did you mean 'properties'?",
    ),
    (
        {"events": {"A": {"traits": {}}}},
        "/events/A/traits: is no key of a tracking plan. There are: mode, description, version, context, properties.",
    ),
    ({"events": {"A": {"properties": "string"}}}, "/events/A/properties: must be a JSON Schema, not 'string'."),
    (
        {"events": {"A": {"properties": {"total": {"type": "number"}}}}},
        "/events/A/properties: is a list of names and no JSON Schema. "
        'Write {"type": "object", "properties": {"total": …}}.',
    ),
    (
        {"events": {"A": {"properties": {"type": "objct"}}}},
        "/events/A/properties/type: is not a JSON Schema: 'objct' is no type. Did you mean 'object'?",
    ),
    (
        {"events": {"A": {"properties": {"properties": {"a": {"type": "text"}}}}}},
        "/events/A/properties/properties/a/type: is not a JSON Schema: 'text' is no type. "
        "Known: array, boolean, integer, null, number, object, string.",
    ),
    (
        {"events": {"A": {"properties": {"required": "total"}}}},
        "/events/A/properties/required: is not a JSON Schema: this must be a list, but is a string.",
    ),
    (
        {"events": {"A": {"properties": {"properties": {"a": {"minimun": 1}}}}}},
        "/events/A/properties/properties/a/minimun: 'minimun' is no keyword of JSON Schema. Did you mean 'minimum'?",
    ),
    (
        {"events": {"A": {"properties": {"properties": {"a": {"pattern": "("}}}}}},
        "/events/A/properties/properties/a/pattern: '(' is no pattern that Python can read: "
        "missing ), unterminated subpattern at position 0.",
    ),
    (
        {"events": {"A": {"properties": {"$ref": "#/definitions/money"}}}, "definitions": {"mony": {}}},
        "/events/A/properties/$ref: '#/definitions/money' leads nowhere in this schema. "
        "Put what it names under 'definitions'.",
    ),
    (
        {"events": {"A": {"properties": {"items": {"$ref": "https://acme.example/money.json#/a"}}}}},
        "/events/A/properties/items/$ref: 'https://acme.example/money.json#/a' is not in this file, and nothing is "
        "fetched. Put it under 'definitions' and write '#/definitions/…'.",
    ),
    (
        {"identify": {"traits": {"definitions": {"a": {"$ref": "#/definitions/a"}}}}},
        "/identify/traits/definitions/a/$ref: '#/definitions/a' leads back to itself without an end.",
    ),
    ({"definitions": {"a": {"type": 5}}}, "/definitions/a/type: is not a JSON Schema: "),
    (
        {"page": {"properties": {"$schema": "http://json-schema.org/draft-03/schema#", "required": True}}},
        "/page/properties/$schema: 'http://json-schema.org/draft-03/schema' is no known draft.",
    ),
    ({"rules": 5}, "/rules: must be an object, not 5."),
    ({"rules": {"events": {}, "global": None}}, ""),
    ({"rules": {"events": {"A": {}}}}, "/rules/events: must be a list of events, not an object."),
    ({"rules": {"events": [5]}}, "/rules/events/0: must be an object, not 5."),
    ({"rules": {"events": [{"rules": {}}]}}, "/rules/events/0/name: must be the event's name, not null."),
    ({"rules": {"events": [{"name": "A", "version": []}]}}, "/rules/events/0/version: must be text, not a list."),
    ({"rules": {"events": [{"name": "A", "rules": {"type": 1}}]}}, "/rules/events/0/rules/type: is not a JSON Schema"),
    (
        {"rules": [{"type": "track"}]},
        "/rules/0/type: must be one of TRACK, IDENTIFY, GROUP, PAGE, SCREEN, COMMON, not 'track'.",
    ),
    ({"rules": [{"type": "TRACK"}]}, "/rules/0/key: must be the event's name, not null."),
]


@pytest.mark.parametrize(("document", "sentence"), BAD_PLANS, ids=[sentence[:50] for _, sentence in BAD_PLANS])
def test_a_wrong_plan_is_told_with_its_pointer(document: dict[str, Any], sentence: str) -> None:
    """File, JSON Pointer, what is wrong, and what to write; when it is loaded, not when an event comes."""
    if not sentence:
        TrackingPlan(document)
        return
    with pytest.raises(ConfigError) as caught:
        TrackingPlan(document, file="plan.json")
    assert str(caught.value).startswith(f"plan.json: {sentence}")


@pytest.mark.parametrize("word", ["x-note", "description", "example", "title", "comment", "owner", "id", "deprecated"])
def test_annotations_are_no_mistakes(word: str) -> None:
    """Only what is nearly a keyword is taken for one."""
    TrackingPlan({"events": {"A": {"properties": {"type": "object", word: "text"}}}})


def test_what_a_schema_holds_as_data_is_not_read_as_a_schema() -> None:
    """`enum`, `const`, `default` and `examples` may hold anything, and a property may have any name."""
    data = {"$ref": "https://acme.example/", "requird": 1}
    names = {"$ref": {"type": "string"}, "requird": {}, "enum": {"enum": [data]}}
    schema = {"properties": names, "const": data, "default": data, "examples": [data]}
    TrackingPlan({"events": {"A": {"properties": schema}}})


def test_an_option_that_is_wrong_is_told() -> None:
    """As in the file."""
    with pytest.raises(ConfigError, match=r"mode must be one of 'observe', 'strip', 'block', not 'stripe'\. Did you"):
        TrackingPlan({}, mode="stripe")


def test_definitions_of_the_plan_hold_for_all_its_schemas() -> None:
    """A schema's own win."""
    money, text_ = {"type": "number"}, {"type": "string"}
    schema = {"properties": {"a": {"$ref": "#/definitions/money"}, "b": {"$ref": "#/definitions/code"}}}
    own = schema | {"definitions": {"money": text_}}
    tracking = TrackingPlan(
        {
            "definitions": {"money": money, "code": text_},
            "events": {"A": {"properties": schema}, "B": {"properties": own}},
        }
    )
    events = [{"type": "track", "userId": "u", "event": name, "properties": {"a": "1", "b": "2"}} for name in "AB"]
    assert [told(tracking.check(event)) for event in events] == [[("/properties/a", "type")], []]


# Files


def test_a_plan_is_read_from_json_and_yaml(tmp_path: Path) -> None:
    """JSON may hold comments; the file's name stands for a plan without one."""
    (tmp_path / "web.json").write_text('{"version": 3, // a note\n "events": {"Sold": {}}}', encoding="utf-8")
    (tmp_path / "web.yaml").write_text("name: Web\nevents:\n  Sold:\n    mode: block\n", encoding="utf-8")
    plans = [TrackingPlan.load(tmp_path / name) for name in ("web.json", "web.yaml")]
    assert [(one.name, one.version) for one in plans] == [("web", "3"), ("Web", "")]
    assert repr(plans[1]) == f"<TrackingPlan 'Web' of {tmp_path / 'web.yaml'}>"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no such file."),
        ("[]", "the tracking plan must be a JSON object."),
        ('{"events": {"A": {}, "A": {}}}', 'the key "A" stands twice in one object (line 1, column 22). Keep one'),
        ("{", "is not JSON: "),
        ('{"mode": "x"}', "/mode: must be one of"),
    ],
)
def test_a_file_that_is_no_plan_is_told(tmp_path: Path, content: str | None, sentence: str) -> None:
    """With its name in front."""
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        TrackingPlan.load(path)
    assert str(caught.value).startswith(f"{path}: {sentence}")


# The dispatcher: one path


class Forwards(Destination):
    """Sends events as they are."""

    name = "Forwards"
    pure = True
    events = Endpoint("POST", "https://forwards.example/", body=json_body({"events": ITEMS}))

    @rule("track", "identify")
    def forwarded(self, event: Event) -> Any:
        """The whole event."""
        return self.events.item(event.to_dict())


def test_all_destinations_get_the_same(bench: Any, acme: Any, call: Make) -> None:
    """Two that map alike, and one that forwards the text."""
    targets = [acme({"api_key": f"key-{name}"}, id=name) for name in ("one", "two")]
    dispatcher = bench.dispatcher(*targets, Forwards(id="raw"), tracking_plan=plan(mode="strip"))
    plans = dispatcher.plan(call("m-1", order_id="o-1", colour="red"))
    assert properties_of(plans[:2]) == [{"order_id": "o-1"}] * 2
    (item,) = plans[2].items
    assert json.loads(item.data)["properties"] == {"order_id": "o-1"}
    assert [told(one.notes) for one in plans] == [[("/properties/colour", "additionalProperties")]] * 3


@pytest.mark.parametrize(("mode", "outcomes"), [("block", ["dropped", "planned"]), ("strip", ["planned", "planned"])])
def test_exempt_destinations_get_every_event_as_it_came(
    bench: Any, acme: Any, call: Make, mode: str, outcomes: list[str]
) -> None:
    """An archive, for example; it has no notes either."""
    targets = [acme({"api_key": "key-1234"}, id="one"), Forwards(id="archive")]
    dispatcher = bench.dispatcher(*targets, tracking_plan=plan(mode=mode), exempt=["archive"])
    governed, archived = dispatcher.plan(call("m-1", order_id="o-1", colour="red"))
    assert [governed.outcome, archived.outcome] == outcomes
    assert json.loads(archived.items[0].data)["properties"] == {"order_id": "o-1", "colour": "red"}
    assert (len(governed.notes), archived.notes) == (1, ())
    again = pickle.loads(pickle.dumps(dispatcher.destinations)), dispatcher.exempt
    assert again[1] == {"archive"}


def test_an_exempt_destination_must_be_there(bench: Any) -> None:
    """A slip would let everything through."""
    with pytest.raises(ConfigError, match=r"There is no destination 'acne'\. Did you mean 'acme'\?"):
        bench.dispatcher(tracking_plan=plan(), exempt=["acne"])


class Enriches:
    """A hook that needs what the plan keeps, and adds what it would not allow."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.planned: list[Any] = []

    @hookimpl
    def turnout_before_mapping(self, event: Event) -> Any:
        self.seen.append(dict(event.properties))
        changed = event.to_dict()
        changed["properties"]["enriched"] = True
        return changed

    @hookimpl
    def turnout_planned(self, event: Any, plan: Any) -> None:
        self.planned.append((event.properties, plan.outcome.value, len(plan.notes)))


def test_hooks_come_after_the_plan(bench: Any, call: Make) -> None:
    """A plan is about what the product sends: a hook gets what is left of it, and nothing of what is blocked."""
    hook = Enriches()
    dispatcher = bench.dispatcher(tracking_plan=plan(mode="strip", unplanned="block"), hooks=[hook])
    plans = dispatcher.plan(call("m-1", order_id="o-1", colour="red"))
    plans += dispatcher.plan(call("m-2", event="Other", a=1))
    assert hook.seen == [{"order_id": "o-1"}]
    assert properties_of(plans) == [{"order_id": "o-1", "enriched": True}]
    assert hook.planned == [({"order_id": "o-1", "enriched": True}, "planned", 1), ({"a": 1}, "dropped", 1)]


@pytest.mark.parametrize("exempt", [(), ("archive",)])
def test_plan_and_plan_at_agree(bench: Any, acme: Any, call: Make, exempt: tuple[str, ...]) -> None:
    """What `plan` says for all destinations is what delivery from a log does for each of them."""
    targets = [acme({"api_key": "key-1234"}, id="one"), Forwards(id="archive")]
    for mode in ("observe", "strip", "block"):
        dispatcher = bench.dispatcher(*targets, tracking_plan=plan(mode=mode), exempt=exempt)
        for source in (
            call("m-1", **WRONG),
            call("m-2", order_id="o"),
            call("m-3", event="Other"),
            call("m-4", "page"),
        ):
            event = dispatcher.normaliser.event(source)
            for form in (event, dispatcher.judge(event)):
                single = [dispatcher.planner(name)(form, Inputs()) for name in ("one", "archive")]
                assert [(one.to_dict(), one.notes) for one in single] == [
                    (one.to_dict(), one.notes) for one in dispatcher.plan(event)
                ]


def test_without_a_plan_every_event_goes_on(bench: Any, call: Make) -> None:
    """`judge` says so, and the shortest way to a plan is taken."""
    dispatcher = bench.dispatcher()
    event = dispatcher.normaliser.event(call("m-1"))
    assert dispatcher.judge(event) == Judgement(event, event)
    assert dispatcher.plan(event)[0].notes == ()


def test_a_bad_event_is_invalid_and_not_judged(bench: Any) -> None:
    """The spec comes first."""
    (planned,) = bench.dispatcher(tracking_plan=plan(unplanned="block")).plan({"type": "track", "userId": "u"})
    assert (planned.outcome, planned.reason.code, planned.notes) == ("invalid", "event_not_defined", ())


def test_a_dispatcher_with_a_plan_pickles(bench: Any, acme: Any, call: Make) -> None:
    """A worker judges as its parent does."""
    targets = [acme({"api_key": "key-1234"}, id="one"), Forwards(id="archive")]
    dispatcher = Dispatcher(targets, tracking_plan=TrackingPlan(EXPORT, mode="block"), exempt=["archive"])
    event = call("m-1", event="Order Completed", total="x") | {"receivedAt": "2026-01-01T00:00:00Z"}
    before = [one.to_dict() for one in dispatcher.plan(event)]
    again = pickle.loads(pickle.dumps(dispatcher))
    assert [one.to_dict() for one in again.plan(event)] == before
    assert [one["outcome"] for one in before] == ["dropped", "planned"]


def test_notes_of_rules_come_after_violations(bench: Any, call: Make) -> None:
    """Both are kept."""

    class Leaves(Forwards):
        """Leaves something out."""

        @rule("track")
        def left(self, event: Event) -> Any:
            """Nothing but a note."""
            return [Note("left out", "/properties/x")]

    (planned,) = bench.dispatcher(Leaves(), tracking_plan=plan()).plan(call("m-1", order_id=5))
    assert [type(one).__name__ for one in planned.notes] == ["Violation", "Note"]


def test_violations_are_logged_without_values(bench: Any, call: Make, caplog: pytest.LogCaptureFixture) -> None:
    """As warnings, once for each event; of many the first five. What is blocked has an outcome that says so."""
    dispatcher = bench.dispatcher(tracking_plan=plan(mode="strip"))
    with caplog.at_level(logging.WARNING, "turnout"):
        dispatcher.plan(call("m-1", order_id="o", total="secret-value"))
        dispatcher.plan(call("m-2", order_id="o", **{f"extra{number}": number for number in range(8)}))
        bench.dispatcher(tracking_plan=plan(mode="block")).plan(call("m-3"))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == (
        "m-1 violates the tracking plan 'Shop': `properties.total` must be a number, but is a string. It is taken out."
    )
    assert len(lines) == 7
    assert lines[-1] == "m-2 violates the tracking plan 'Shop': there are 3 more violations."
    assert not any("secret-value" in line or "m-3" in line for line in lines)


# Send, and delivery from a log


def test_send_drops_and_strips(bench: Any, call: Make) -> None:
    """The vendor gets what the plan leaves."""
    document = shop(mode="strip", unplanned="block")
    settled = bench.dispatcher(tracking_plan=TrackingPlan(document)).send(
        [call("m-1", order_id="o-1", colour="red"), call("m-2", event="Other"), call("m-3", order_id="o-3")]
    )
    assert [(one.message_id, one.outcome.value, one.reason and one.reason.code.value) for one in settled] == [
        ("m-1", "delivered", None),
        ("m-2", "dropped", "plan_unplanned"),
        ("m-3", "delivered", None),
    ]
    (entry,) = bench.vendor.ledger
    assert [item.get("colour") for item in entry.body["events"]] == [None, None]


@pytest.fixture
def log(tmp_path: Path) -> Any:
    """A log in a new file."""
    made = SqliteLog(tmp_path / "turnout.log")
    yield made
    made.close()


def delivered(dispatcher: Dispatcher, log: SqliteLog) -> Delivery:
    """Deliver until nothing is left."""

    async def run() -> Delivery:
        delivery, stop = Delivery(dispatcher, log), asyncio.Event()
        task = asyncio.create_task(delivery.run(stop))
        async with asyncio.timeout(60):
            while not delivery.empty():
                await asyncio.sleep(0.005)
        stop.set()
        await task
        return delivery

    return asyncio.run(run())


def accept(dispatcher: Dispatcher, log: SqliteLog, events: list[dict[str, Any]]) -> None:
    with Acceptor(log, dispatcher.log_settings, now_ms) as acceptor:
        receipts = acceptor.accept([dispatcher.normaliser.event(event) for event in events])
    assert all(receipt.accepted for receipt in receipts)


QUICK = DeliverSettings.configure({"poll_seconds": 0.01, "timeout_seconds": 5.0}, owner="[deliver]")


def test_delivery_from_a_log_keeps_to_the_plan(bench: Any, acme: Any, call: Make, log: SqliteLog) -> None:
    """Everything is accepted; what is blocked is counted as dropped at each destination, and is no dead letter."""
    targets = [acme({"api_key": "key-1234"}, id=name) for name in ("one", "two", "archive")]
    document = shop(mode="strip", unplanned="block")
    document["events"]["Refunded"] = {"mode": "block", "properties": ORDER}
    options: dict[str, Any] = {"deliver": QUICK, "exempt": ["archive"]}
    dispatcher = bench.dispatcher(*targets, tracking_plan=TrackingPlan(document), **options)
    events = [
        call("m-1", order_id="o-1", colour="red", total="x"),
        call("m-2", event="Other"),
        call("m-3", event="Refunded", total=4),
        call("m-4", order_id="o-4"),
    ]
    accept(dispatcher, log, events)
    delivery = delivered(dispatcher, log)
    counts = {
        name: {
            f"{outcome.value} {code.value if code else ''}".strip(): times for (outcome, code), times in found.items()
        }
        for name, found in log.counts().items()
    }
    governed = {"delivered": 2, "dropped plan_unplanned": 1, "dropped plan_violation": 1}
    assert {name: {key: times for key, times in found.items() if times} for name, found in counts.items()} == {
        "one": governed,
        "two": governed,
        "archive": {"delivered": 4},
    }
    items = [item for entry in bench.vendor.ledger for item in entry.body["events"] if item["id"] == "m-1"]
    assert sorted("colour" in item for item in items) == [False, False, True]
    assert log.count_dead(DeadQuery()) == 0
    metrics = text(delivery)
    for name in ("one", "two"):
        assert (
            f'turnout_plan_violations_total{{code="plan_violation",destination="{name}",mode="strip"}} 2.0' in metrics
        )
        assert (
            f'turnout_plan_violations_total{{code="plan_violation",destination="{name}",mode="block"}} 1.0' in metrics
        )
        assert (
            f'turnout_plan_violations_total{{code="plan_unplanned",destination="{name}",mode="block"}} 1.0' in metrics
        )
    assert 'violations_total{code="plan_violation",destination="archive"' not in metrics


def test_delivery_logs_each_kind_of_violation_once(
    bench: Any, acme: Any, call: Make, log: SqliteLog, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it is that goes wrong with every event fills no disk; the positions of a list are one kind."""
    targets = [acme({"api_key": "key-1234"}, id=name) for name in ("one", "two")]
    dispatcher = bench.dispatcher(*targets, tracking_plan=plan(mode="strip", unplanned="block"), deliver=QUICK)
    good = {"order_id": "o"}
    events = [call(f"m-{number}", **good, products=[{"sku": 1}, {"sku": 2}]) for number in range(3)]
    events += [call(f"n-{number}", event="Other") for number in range(3)]
    accept(dispatcher, log, events)
    with caplog.at_level(logging.WARNING, "turnout"):
        delivered(dispatcher, log)
    assert [record.getMessage() for record in caplog.records] == [
        "m-0 violates the tracking plan 'Shop': `properties.products.0.sku` must be a string, but is a number. "
        "It is taken out. More of this kind are only counted.",
        "n-0 violates the tracking plan 'Shop': There is no event 'Other' in the plan. The event is blocked. "
        "More of this kind are only counted.",
    ]


def test_what_was_blocked_can_be_replayed_with_a_mended_plan(bench: Any, call: Make, log: SqliteLog) -> None:
    """The log keeps the event as it came."""
    dispatcher = bench.dispatcher(tracking_plan=plan(unplanned="block"), deliver=QUICK)
    accept(dispatcher, log, [call("m-1", event="New", a=1)])
    delivered(dispatcher, log)
    assert bench.vendor.kept == []
    log.move("acme", 0)
    mended = shop(unplanned="block")
    mended["events"]["New"] = {}
    delivered(bench.dispatcher(tracking_plan=TrackingPlan(mended), deliver=QUICK), log)
    assert bench.vendor.kept == ["m-1"]


def test_a_pattern_that_takes_for_ever_stops_nobody(bench: Any, call: Make, log: SqliteLog) -> None:
    """Within `mapping_seconds` the check is interrupted: the event fails, the others go on."""
    schema = {"properties": {"a": {"pattern": "^(x+x+)+y$"}}}
    tracking = TrackingPlan({"events": {"Sold": {"properties": schema}}})
    limits = DeliverSettings.configure({"poll_seconds": 0.01, "mapping_seconds": 0.5}, owner="[deliver]")
    dispatcher = bench.dispatcher(tracking_plan=tracking, deliver=limits)
    accept(dispatcher, log, [call("m-1", a="x" * 60), call("m-2", a="xxy")])
    delivered(dispatcher, log)
    (letter,) = log.dead(DeadQuery())
    assert (letter.message_id, letter.reason.code) == ("m-1", "plugin_too_slow")
    assert letter.reason.message == "The check against the tracking plan did not come back within 0.5 s."
    assert bench.vendor.kept == ["m-2"]


# The command line and turnout.toml


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widget: Path) -> Path:
    """A working folder with a plan, and a configuration below it."""
    folder = tmp_path / "home"
    (folder / "conf").mkdir(parents=True)
    monkeypatch.chdir(folder)
    (folder / "conf" / "plan.json").write_text(json.dumps(shop(mode="strip", unplanned="block")), encoding="utf-8")
    return folder


def configure(home: Path, section: str) -> None:
    target = '[destinations.widget]\nplugin = "widget"\ntoken = "tok-1234"\n'
    (home / "conf" / "turnout.toml").write_text(f"[tracking_plan]\n{section}\n{target}", encoding="utf-8")


def run(*args: str, given: list[Any] | None = None) -> Result:
    text = "".join(json.dumps(event) + "\n" for event in given or [])
    result = CliRunner().invoke(main, list(args), input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


CONFIG = ("--config", "conf/turnout.toml")


def test_a_configuration_names_its_plan(home: Path, call: Make, caplog: pytest.LogCaptureFixture) -> None:
    """From the folder of the file; `turnout plan` writes the contract's lines, and violations as warnings."""
    configure(home, 'path = "plan.json"')
    with caplog.at_level(logging.WARNING, "turnout"):
        result = run("plan", "-d", "widget", *CONFIG, given=[call("m-1", order_id="o", x=1), call("m-2", event="No")])
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert list(first) == ["message_id", "destination", "outcome", "reason", "requests"]
    assert first["requests"][0]["body"]["all"] == [{"name": "Sold", "id": "m-1", "order_id": "o"}]
    assert (second["outcome"], second["reason"]["code"]) == ("dropped", "plan_unplanned")
    assert result.exit_code == 0
    assert [record.getMessage() for record in caplog.records] == [
        "m-1 violates the tracking plan 'Shop': `properties.x` is not in the plan. It is taken out."
    ]


@pytest.mark.parametrize(
    ("section", "outcomes"),
    [
        ("", ["planned", "planned"]),
        ('path = "plan.json"', ["planned", "dropped"]),
        ('path = "plan.json"\nmode = "block"\nunplanned = "allow"', ["dropped", "planned"]),
        ('path = "plan.json"\nmode = "block"\nexempt = ["widget"]', ["planned", "planned"]),
        ('path = "plan.json"\nmode = "observe"\nunplanned = "observe"', ["planned", "planned"]),
    ],
)
def test_the_section_wins_over_the_plan(home: Path, call: Make, section: str, outcomes: list[str]) -> None:
    """Its modes, and its exemptions."""
    configure(home, section)
    result = run("plan", "-d", "widget", *CONFIG, given=[call("m-1", order_id="o", x=1), call("m-2", event="No")])
    assert [json.loads(line)["outcome"] for line in result.stdout.splitlines()] == outcomes


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ('path = "no.json"', "conf/no.json: there is no such file."),
        ('path = "plan.json"\nmode = "stripp"', "must be one of 'observe', 'strip', 'block', not 'stripp'"),
        ('path = "plan.json"\nexempt = ["wigdet"]', "there is no destination 'wigdet'. Did you mean 'widget'?"),
        ('plan = "plan.json"', "'plan' is not a setting."),
    ],
)
def test_a_wrong_section_is_one_sentence(home: Path, section: str, sentence: str) -> None:
    """On stderr, with exit code 2."""
    configure(home, section)
    result = run("plan", "-d", "widget", *CONFIG)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_plan_given_in_code_wins_over_the_configuration(home: Path, call: Make) -> None:
    """Also none at all."""
    configure(home, 'path = "plan.json"')
    options = [{}, {"tracking_plan": None}, {"tracking_plan": TrackingPlan({"events": {}}, unplanned="block")}]
    outcomes = [
        Dispatcher.from_config("conf/turnout.toml", **one).plan(call("m-1", order_id="o"))[0].outcome.value
        for one in options
    ]
    assert outcomes == ["planned", "planned", "dropped"]


def test_sends_summary_counts_violations(home: Path, call: Make, bench: Any) -> None:
    """By destination, code and mode, below the outcomes."""
    import turnout.testing

    class Vendor(turnout.testing.Simulator):
        def routes(self) -> dict[str, Any]:
            return {"POST /in": lambda call: turnout.testing.Answer(200, {})}

    with Vendor().serve() as url:
        configure(home, f'path = "plan.json"\n[destinations.other]\nplugin = "widget"\ntoken = "t"\nbase_url = "{url}"')
        events = [call("m-1", order_id="o", x=1, y=2), call("m-2", event="No")]
        result = run("send", "-d", "other", *CONFIG, given=events)
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows == [
        ["destination", "outcome", "reason", "events"],
        ["other", "delivered", "1"],
        ["other", "dropped", "plan_unplanned", "1"],
        ["destination", "tracking", "plan", "mode", "violations"],
        ["other", "plan_unplanned", "block", "1"],
        ["other", "plan_violation", "strip", "2"],
    ]
    assert result.exit_code == 0


VALIDATE = ("validate", "--plan", "conf/plan.json")


def test_validate_with_a_plan_names_line_event_and_pointer(home: Path, call: Make) -> None:
    """A line for each violation, in words and without values; a summary by event and kind; exit 1."""
    events = [
        call("m-1", order_id="o-1"),
        call("m-2", order_id=7, products=[{"price": "secret-1"}, {"price": "secret-2"}]),
        call("m-3", event="Sould"),
        {"type": "track", "event": "Sold"},
    ]
    (home / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events), encoding="utf-8")
    result = run(*VALIDATE, "events.jsonl")
    lines = result.stdout.splitlines()
    assert lines[:5] == [
        "events.jsonl:2: Sold: /properties/order_id must be a string, but is a number. [plan_violation]",
        "events.jsonl:2: Sold: /properties/products/0/price must be a number, but is a string. [plan_violation]",
        "events.jsonl:2: Sold: /properties/products/1/price must be a number, but is a string. [plan_violation]",
        "events.jsonl:3: Sould: /event: There is no event 'Sould' in the plan. Did you mean 'Sold'? [plan_unplanned]",
        "events.jsonl:4: A track call has neither a `userId` nor an `anonymousId`. Give `userId`, `anonymousId` or "
        "both. [no_user_anon_id]",
    ]
    assert [line.split() for line in lines[5:]] == [
        [],
        ["event", "path", "violation", "times"],
        ["Sold", "/properties/products/*/price", "wrong", "type", "2"],
        ["Sold", "/properties/order_id", "wrong", "type", "1"],
        ["Sould", "/event", "unplanned", "1"],
        ["4", "events:", "1", "good,", "1", "refused,", "2", "violating", "the", "plan"],
    ]
    assert result.exit_code == 1
    assert "secret" not in result.stdout
    shown = run(*VALIDATE, "--show-values", "events.jsonl").stdout
    assert 'but is a string; it is "secret-1". [plan_violation]' in shown


def test_validate_with_a_plan_writes_json_lines(home: Path, call: Make) -> None:
    """`--json`: also the event, the keyword and the mode; no summary."""
    result = run(*VALIDATE, "--json", given=[call("m-1"), call("m-2", event="No"), {"type": "track", "userId": "u"}])
    missing, unplanned, refused = (json.loads(line) for line in result.stdout.splitlines())
    assert missing == {
        "place": "stdin:1",
        "code": "plan_violation",
        "message": "`properties.order_id` is missing, and the plan requires it.",
        "path": "/properties/order_id",
        "event": "Sold",
        "keyword": "required",
        "mode": "strip",
    }
    assert (unplanned["place"], unplanned["code"], unplanned["keyword"]) == ("stdin:2", "plan_unplanned", None)
    assert refused == {
        "place": "stdin:3",
        "code": "event_not_defined",
        "message": refused["message"],
        "path": "/event",
    }


def test_validate_of_good_events_with_a_plan(home: Path, call: Make) -> None:
    """Exit 0; an element of an array has its number, an event of a batch as well."""
    good = run(*VALIDATE, given=[call("m-1", order_id="o")])
    assert (good.exit_code, good.stdout) == (0, "1 event: 1 good, 0 refused, 0 violating the plan\n")
    array = CliRunner().invoke(
        main, [*VALIDATE, "-"], input=json.dumps([{"batch": [call("m-1", order_id="o"), call("m-2")]}])
    )
    assert array.stdout.startswith("stdin: element 1, event 2: Sold: /properties/order_id is missing")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "turnout: bad.json: there is no such file."), ("{}}", "turnout: bad.json: is not JSON: Extra data")],
)
def test_validate_with_a_bad_plan(home: Path, content: str | None, sentence: str) -> None:
    """One sentence, exit 2, before any event is read."""
    if content:
        (home / "bad.json").write_text(content, encoding="utf-8")
    result = run("validate", "--plan", "bad.json", "no-such-events.jsonl")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(sentence)


def test_validate_prints_no_control_characters_of_a_plan(home: Path, call: Make) -> None:
    """Neither in the lines nor in the summary."""
    result = run(*VALIDATE, given=[call("m-1", order_id="o", **{"a\x1b[2J": 1}), call("m-2", event="N\x1b[2J[red]o")])
    assert "\x1b" not in result.stdout
    assert "[red]o" in result.stdout


# Cases


def a_case(home: Path, name: str, **given: Any) -> Path:
    """Write a case for the widget; the plan lies two folders above."""
    folder = home / "cases" / "widget"
    folder.mkdir(parents=True, exist_ok=True)
    (home / "plan.json").write_text(json.dumps(shop(mode="strip")), encoding="utf-8")
    path = folder / f"{name}.json"
    case = {"settings": {"token": "tok-1234"}, "now": "2026-01-01T00:00:00Z", **given}
    path.write_text(json.dumps(case), encoding="utf-8")
    return path


def test_a_case_can_name_a_plan(home: Path, call: Make) -> None:
    """From its own folder; a case with equal settings and no plan is not judged by it."""
    event = call("m-1", order_id="o-1", colour="red")
    judged = a_case(home, "judged", event=event, tracking_plan="../../plan.json")
    plain = a_case(home, "plain", event=event)
    found = {one.case.path: one.case.plan(one.dispatcher) for one in prepared([judged, plain])}
    bodies = {path: plans[0]["requests"][0]["body"]["all"][0] for path, plans in found.items()}
    assert bodies[judged] == {"name": "Sold", "id": "m-1", "order_id": "o-1"}
    assert bodies[plain] == {"name": "Sold", "id": "m-1", "order_id": "o-1", "colour": "red"}
    assert Case.load(judged).plan() == found[judged]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (5, "'tracking_plan' must be the file of a tracking plan, from the case's folder."),
        ("", "'tracking_plan' must be the file of a tracking plan, from the case's folder."),
        ("no.json", "no.json: there is no such file."),
    ],
)
def test_a_case_with_a_wrong_plan_is_told(home: Path, call: Make, given: Any, sentence: str) -> None:
    """With the file that is wrong."""
    path = a_case(home, "wrong", event=call("m-1"), tracking_plan=given)
    with pytest.raises(ConfigError) as caught:
        Case.load(path).plan()
    assert str(caught.value).endswith(sentence)

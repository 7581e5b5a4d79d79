"""The JSON Schemas of the common spec, and that the quick path, the slow path and the schemas agree."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from jsonschema import Draft202012Validator

from turnout import _coerce, _times
from turnout._violations import violations
from turnout.errors import Refusal
from turnout.event import Context, Event
from turnout.normalise import Normaliser
from turnout.reasons import Code
from turnout.testing.strategies import events, good_events, times
from turnout_specs import CALL_TYPES, resolved, schema, validator

NORMALISER = Normaliser()
THOROUGH = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
BESIDE_THE_SCHEMA = {
    Code.MESSAGE_ID_TOO_LONG,
    Code.EVENT_TOO_LARGE,
    Code.TOO_MANY_PROPERTIES,
    Code.NESTING_TOO_DEEP,
}
quick = msgspec.json.Decoder(Event).decode


def common(call_type: str = "track") -> dict[str, Any]:
    found: dict[str, Any] = schema(call_type)["$defs"]["urn:turnout:spec:common"]
    return found


def impossible_times(event: dict[str, Any]) -> list[str]:
    """Return the keys whose time fits the pattern and is none: leap days and instants out of range."""
    keys = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
    return [key for key in keys if isinstance(event.get(key), str) and _times.parse(event[key]) is None]


@pytest.mark.parametrize("call_type", CALL_TYPES)
def test_each_schema_is_valid_draft_2020_12(call_type: str) -> None:
    """Every schema is a valid draft 2020-12 schema."""
    Draft202012Validator.check_schema(schema(call_type))


@pytest.mark.parametrize("call_type", CALL_TYPES)
def test_each_schema_stands_alone(call_type: str) -> None:
    """A schema's references all lead into the schema itself, so any validator can use it."""
    bundled = schema(call_type)
    text = json.dumps(bundled)
    for reference in re.findall(r'"\$ref": "([^"]+)"', text):
        uri, _, place = reference.partition("#")
        target = bundled["$defs"]["urn:turnout:spec:common"]
        assert uri in ("", "urn:turnout:spec:common")
        for key in place.split("/")[1:]:
            target = target[key]
        assert target


@pytest.mark.parametrize("call_type", CALL_TYPES)
def test_each_property_is_described(call_type: str) -> None:
    """Every property of every schema has a description."""

    def visit(part: dict[str, Any]) -> None:
        for name, inner in part.get("properties", {}).items():
            assert inner.get("description"), name
        inside = [
            *part.get("properties", {}).values(),
            *part.get("$defs", {}).values(),
            *part.get("anyOf", []),
        ]
        for inner in [*inside, *([part["items"]] if "items" in part else [])]:
            visit(inner)

    visit(schema(call_type))


def test_schema_is_a_private_copy() -> None:
    """Changing a schema that was returned changes no other."""
    schema("track").clear()
    assert schema("track")["$id"] == "urn:turnout:spec:track"


def test_unknown_call_type_is_named() -> None:
    """An unknown call type is a ValueError that lists the known ones."""
    with pytest.raises(ValueError, match=r"'trak' is no call type.*track"):
        schema("trak")


def test_validator_is_made_once() -> None:
    """The reference validator of a call type is kept."""
    assert validator("page") is validator("page")


def _names(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def test_context_schema_and_struct_know_the_same_keys() -> None:
    """Every context key of the schema is a typed attribute, and the other way round."""
    described = common()["$defs"]["context"]["properties"]
    typed = _names(Context)
    assert set(described) == set(typed)
    for key, kind in typed.items():
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            assert set(described[key]["properties"]) == set(_names(kind)), key


def test_event_schemas_and_struct_know_the_same_keys() -> None:
    """Every root key of the schemas is a typed attribute of Event, and the other way round."""
    described = set(common()["properties"]).union(*(schema(call)["properties"] for call in CALL_TYPES))
    assert described == {name for name in _names(Event) if not name.startswith(" ")}


def test_schema_and_code_share_the_time_pattern() -> None:
    """The pattern of times in the schema is the one that the parser uses."""
    assert common()["$defs"]["time"]["pattern"] == _times.TIME


@settings(THOROUGH, max_examples=300)
@given(good_events)
def test_generated_good_events_are_accepted(event: dict[str, Any]) -> None:
    """What the schema describes is accepted."""
    assert validator(event["type"]).is_valid(event)
    if not impossible_times(event):
        try:
            NORMALISER.event(event)
        except Refusal as refusal:
            assert refusal.reason.code in BESIDE_THE_SCHEMA | {Code.TIMESTAMP_INVALID}  # noqa: PT017


@THOROUGH
@given(events)
@example({"type": "track", "event": "", "userId": True, "context": {"userAgentData": {"brands": [{"brand": []}, 5]}}})
@example({"type": "page", "userId": 5.0, "context": {"screen": {"width": "wide", "height": False}}, "sentAt": "soon"})
@example({"type": "group", "anonymousId": None, "groupId": "", "traits": [], "version": float("nan")})
@example({"type": "trak"})
def test_violations_are_those_of_the_reference_validator(event: dict[str, Any]) -> None:
    """What is wrong is told as jsonschema tells it: the same places, keywords and values, in the same order."""
    for call_type in CALL_TYPES:
        told = [
            (one.path, one.keyword, one.expected, repr(one.instance)) for one in violations(event, resolved(call_type))
        ]
        assert told == [
            (tuple(one.absolute_path), one.validator, one.validator_value, repr(one.instance))
            for one in validator(call_type).iter_errors(event)
        ]


@THOROUGH
@given(events)
@example({"type": "track", "event": "e", "userId": "u", "timestamp": "2015-02-29"})
@example({"type": "track", "event": "e", "userId": 5.0})
@example({"type": "track", "event": "e", "userId": 5.5})
@example({"type": "identify", "userId": "", "anonymousId": None})
@example({"type": "group", "userId": "u", "groupId": None})
@example({"type": "alias", "anonymousId": "u"})
def test_normaliser_and_schema_agree(event: dict[str, Any]) -> None:
    """The normaliser accepts exactly what the schema accepts, but for limits and impossible times.

    And where the quick decoder accepts an event, the slow way gives it the same typed fields.
    """
    described = event.get("type") in CALL_TYPES and validator(event["type"]).is_valid(event)
    try:
        NORMALISER.event(event)
    except Refusal as refusal:
        code = refusal.reason.code
        beside = code in BESIDE_THE_SCHEMA or code is Code.TIMESTAMP_INVALID
        assert not described or beside, refusal  # noqa: PT017
    else:
        assert described
        compare_both_ways(msgspec.json.encode(event))


def compare_both_ways(raw: bytes) -> None:
    try:
        at_once = quick(raw)
    except msgspec.DecodeError:
        return
    slowly = _coerce.event(msgspec.json.decode(raw), at_once.type)
    for field in msgspec.structs.fields(Event):
        one, other = getattr(at_once, field.name), getattr(slowly, field.name)
        one = _times.utc(one) if isinstance(one, datetime) else one
        assert repr(one) == repr(other), field.name


@settings(max_examples=2000, deadline=None)
@given(times)
@example("2015-02-02T00:00:00.9999995Z")
def test_time_pattern_and_parser_agree(text: str) -> None:
    """A time is read exactly when the pattern fits, but for 29 February and the ends of the calendar."""
    fits = re.search(_times.TIME, text) is not None
    read = _times.parse(text) is not None
    assert fits or not read
    if fits and not read:
        assert re.match(r"[0-9]{4}-0?2-29|0001-0?1-0?1|9999-12-31", text)

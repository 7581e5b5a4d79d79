"""Hypothesis strategies: events as senders write them, slightly broken ones, and hostile ones.

They are made from the JSON Schemas of the common spec. They need the extra `turnout[testing]`.

    @given(good_events)
    def test_every_event_gets_an_outcome(event):
        (plan,) = Dispatcher([Acme({"api_key": "k-1"})]).plan(event)
        assert plan.outcome is not Outcome.FAILED
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from turnout.testing._contract_events import ODD_VALUES
from turnout_specs import CALL_TYPES, schema

__all__ = [
    "bad_events",
    "events",
    "good_events",
    "hostile_events",
    "hostile_values",
    "json_values",
    "texts",
    "times",
    "usual_events",
]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
"""Short texts of any characters."""
numbers = st.one_of(
    st.integers(-5, 5),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1.0, 1e22, 10**400, -0.0]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts, st.just(""))
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
"""Any JSON value."""
objects = st.dictionaries(texts, json_values, max_size=4)

_digits = st.integers(0, 99)
times = st.one_of(
    st.datetimes().map(lambda time: time.isoformat() + "Z"),
    st.sampled_from(
        [
            "2015-2-02T00:30:12.984Z",
            "2016-01-01",
            "2016-01-01T10:20",
            "2016-01-01 10:20:30,5 +0000",
            "2016-01-01T10:20:30.123456789+01",
            "2016-01-01t10:20:30z",
            "2016-02-30T00:00:00Z",
            "2016-01-01T24:00:00Z",
            "2016-01-01T10:20:30Z\n",
            "0000-01-01",
            "٢٠١٦-01-01",
            "1451606400",
            "",
        ]
    ),
    st.builds(
        "{:04}-{}-{}{}{}:{}:{}{}{}".format,
        st.integers(0, 9999),
        _digits,
        _digits,
        st.sampled_from("Tt _"),
        _digits,
        _digits,
        _digits,
        st.sampled_from(["", ".", ".5", ",25", ".123456", ".1234567", "." + "9" * 20]),
        st.sampled_from(["", "Z", "z", " Z", "+01", "+0130", "-01:30", "+24:00", "+1", "x"]),
    ),
)
"""Times as senders write them, and texts that are nearly times."""

_USUAL_TIME = st.datetimes().map(lambda time: time.isoformat() + "Z")


def _good(part: dict[str, Any], whole: dict[str, Any], tidy: bool) -> st.SearchStrategy[Any]:
    """Return what a schema allows; tidy: without nulls, unknown keys and values of two kinds."""
    if "$ref" in part:
        defs = whole["$defs"]["urn:turnout:spec:common"]["$defs"]
        part = defs[part["$ref"].rpartition("/")[2]]
    if "const" in part:
        return st.just(part["const"])
    if "pattern" in part and "number" not in part["type"]:
        return _USUAL_TIME
    if "pattern" in part:
        return st.integers(0, 4000) if tidy else st.sampled_from([320, 2.5, "480", "+.5e2", "1e999", None])
    if "type" not in part:
        return st.floats(-180, 180) if tidy else json_values
    kinds = [part["type"]] if isinstance(part["type"], str) else part["type"]
    if tidy:
        kinds = ["string"] if "string" in kinds else [kind for kind in kinds if kind != "null"]
    return st.one_of([_kind(kind, part, whole, tidy) for kind in kinds])


def _kind(kind: str, part: dict[str, Any], whole: dict[str, Any], tidy: bool) -> st.SearchStrategy[Any]:
    if kind == "object" and "properties" in part:
        known = {key: _good(inner, whole, tidy) for key, inner in part["properties"].items()}
        return st.fixed_dictionaries({}, optional=known if tidy else {**known, "unknown": json_values})
    if kind == "array":
        return st.lists(_good(part["items"], whole, tidy), max_size=2)
    return {
        "object": objects,
        "string": texts.filter(bool) if tidy or "minLength" in part else texts,
        "number": numbers,
        "integer": st.integers(-(2**60), 2**60),
        "boolean": st.booleans(),
        "null": st.none(),
    }[kind]


def _call(call_type: str, tidy: bool) -> st.SearchStrategy[dict[str, Any]]:
    whole = schema(call_type)
    properties = {**whole["$defs"]["urn:turnout:spec:common"]["properties"], **whole["properties"]}
    fields = {key: _good(part, whole, tidy) for key, part in properties.items()}
    needed = {key: fields.pop(key) for key in whole["required"]}
    fields.pop("userId", None)
    needed["userId"] = texts.filter(bool) if tidy else st.one_of(texts.filter(bool), st.integers(0, 10**20))
    more = {} if tidy else {"options": json_values, "extra": json_values}
    return st.fixed_dictionaries(needed, optional={**fields, **more})


_GOOD = {(call_type, tidy): _call(call_type, tidy) for call_type in CALL_TYPES for tidy in (True, False)}

usual_events = st.sampled_from(CALL_TYPES).flatmap(lambda call_type: _GOOD[call_type, True])
"""Events without anything odd."""

good_events = usual_events | st.sampled_from(CALL_TYPES).flatmap(lambda call_type: _GOOD[call_type, False])
"""Events that the schemas allow, with every known key, nulls, integer ids and unknown keys."""


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every container and key inside a value."""
    found = []
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            found += [(value, key), *_places(inner)]
    return found


hostile_values = st.one_of(st.sampled_from(ODD_VALUES).map(copy.deepcopy), json_values, times)
"""Values that are legal somewhere in an event, and that nobody expects there."""


@st.composite
def _mutated(draw: st.DrawFn) -> dict[str, Any]:
    event = copy.deepcopy(draw(good_events))
    for _ in range(draw(st.integers(1, 2))):
        container, key = draw(st.sampled_from(_places(event)))
        container[key] = draw(hostile_values)
    return event


@st.composite
def _wild(draw: st.DrawFn) -> dict[str, Any]:
    call_type = draw(st.sampled_from(CALL_TYPES))
    whole = schema(call_type)
    keys = sorted({*whole["$defs"]["urn:turnout:spec:common"]["properties"], *whole["properties"]})
    event = draw(st.dictionaries(st.sampled_from(keys), hostile_values, max_size=6))
    return {**event, "type": call_type}


bad_events = st.one_of(_mutated(), _wild())
"""Events in which anything may be wrong."""

events = st.one_of(good_events, bad_events)
"""Good and bad events."""


_NEEDED = {"type", "userId", "anonymousId", "groupId", "previousId", "event", "messageId"}


def hostile_events(bases: Sequence[Mapping[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for events that look like one of `bases`, with up to five values that nobody expects.

    Ids and the names of track calls stay, so that most of them are accepted and get to the mapping. Nothing
    is changed in `bases`. Take events with the keys that a mapping reads, such as those of its cases.
    """
    return st.sampled_from(list(bases)).flatmap(_spoilt)


@st.composite
def _spoilt(draw: st.DrawFn, base: Mapping[str, Any]) -> dict[str, Any]:
    event = copy.deepcopy(dict(base))
    for _ in range(draw(st.integers(1, 5))):
        places = [place for place in _places(event) if place[0] is not event or place[1] not in _NEEDED]
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        if isinstance(container, dict) and draw(st.integers(0, 4)) == 0:
            del container[key]
        else:
            container[key] = draw(hostile_values)
    return event

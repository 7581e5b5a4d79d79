"""Amplitude in cloud mode, calls and transport: what the case files can't show."""

from __future__ import annotations

import base64
import copy
import json
import logging
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import turnout
from turnout import Dispatcher, Outcome, SettingsError
from turnout.testing import Answer
from turnout_amplitude import Amplitude
from turnout_amplitude.answers import read_events, read_form
from turnout_amplitude.simulator import AmplitudeSimulator

KEY = "key-4f1d0b"
SECRET = "sec-77aa90"
OPERATORS = {"$set", "$setOnce", "$add", "$append", "$prepend"}
PAGES = ("track_all_pages", "track_categorized_pages", "track_named_pages")
EVERYTHING = {
    **dict.fromkeys(PAGES, True),
    "enable_alias": True,
    "secret_key": SECRET,
    "group_type_trait": "kind",
    "group_value_trait": "label",
}
NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def dispatcher(given: dict[str, Any] | None = None, **options: Any) -> Dispatcher:
    return Dispatcher([Amplitude({"api_key": KEY, **(given or {})}, id="amplitude")], **options)


def plan(event: Any, given: dict[str, Any] | None = None) -> dict[str, Any]:
    return dispatcher(given).plan(event)[0].to_dict()


def call(kind: str, **more: Any) -> dict[str, Any]:
    """Return a complete call of this type."""
    own: dict[str, dict[str, Any]] = {
        "track": {"event": "Train Boarded"},
        "group": {"groupId": "grp-1", "traits": {"kind": "depot", "label": "North"}},
        "alias": {"previousId": "old-1"},
    }
    event = {"type": kind, "messageId": "m-1", "userId": "u-417", "timestamp": "2025-03-04T05:06:07.089Z"}
    return {**event, **own.get(kind, {}), **more}


def items(planned: dict[str, Any], endpoint: str = "events") -> list[dict[str, Any]]:
    """Return the events of a plan, or its identifications at this endpoint."""
    bodies = [request["body"] for request in planned["requests"] if request["endpoint"] == endpoint]
    return [item for body in bodies for item in (body["events"] if "events" in body else [body["identification"]])]


def error_of(given: dict[str, Any]) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        Amplitude(given, id="amplitude")
    return caught.value


# Settings


@pytest.mark.parametrize("given", [{}, {"api_key": ""}, {"api_key": None}, {"apiKey": ""}])
def test_api_key_is_required(given: dict[str, Any]) -> None:
    """Without an api_key nothing can be configured; the error names destination and setting. AMP-GEN-02."""
    error = error_of(given)
    assert "destination 'amplitude'" in str(error)
    assert list(error.errors) == ["api_key"]


@pytest.mark.parametrize("value", [7, True, ["key"], {"key": "x"}, 1.5])
def test_api_key_is_text(value: Any) -> None:
    """An api_key that is no text is refused, and the value is not repeated. AMP-GEN-02."""
    error = error_of({"api_key": value})
    assert list(error.errors) == ["api_key"]
    assert repr(value) not in error.errors["api_key"][0]


@pytest.mark.parametrize("value", ["UK", "EU1", "e u", "api.eu.amplitude.com", "us-east", 5, True, ["EU"], {}])
def test_unknown_region_is_refused(value: Any) -> None:
    """A typo in endpoint must not send data of the EU to the US. AMP-HTTP-06."""
    assert list(error_of({"api_key": KEY, "endpoint": value}).errors) == ["endpoint"]


@pytest.mark.parametrize(
    ("region", "host"),
    [("EU", "api.eu"), ("eU", "api.eu"), ("EUROPE", "api.eu"), ("us", "api2"), ("North_America", "api2")],
)
def test_region_in_any_case(region: str, host: str) -> None:
    """Regions and their synonyms count in any case. AMP-HTTP-06."""
    request = plan(call("track"), {"endpoint": region})["requests"][0]
    assert request["url"] == f"https://{host}.amplitude.com/2/httpapi"


@pytest.mark.parametrize("name", [*PAGES, "track_all_pages_v2", "send_to_batch_endpoint", "enable_alias"])
@pytest.mark.parametrize("value", ["yes", 1, 0, [], {}])
def test_switches_are_booleans(name: str, value: Any) -> None:
    """A switch that is no boolean is refused by its name."""
    assert list(error_of({"api_key": KEY, name: value}).errors) == [name]


@pytest.mark.parametrize("name", ["traits_to_increment", "traits_to_set_once", "traits_to_append", "traits_to_prepend"])
@pytest.mark.parametrize("value", [[7], {"logins": True}, 7, True])
def test_lists_of_traits_are_lists_of_texts(name: str, value: Any) -> None:
    """A list of traits that is something else is refused by its name."""
    assert list(error_of({"api_key": KEY, name: value}).errors) == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [("page_event_verb", "Opened"), ("group_type_trait", 7), ("group_value_trait", ["a"]), ("secret_key", 7)],
)
def test_other_wrong_settings(name: str, value: Any) -> None:
    """Each wrong setting is refused by its name."""
    assert list(error_of({"api_key": KEY, name: value}).errors) == [name]


def test_unknown_setting_names_the_nearest() -> None:
    """A misspelt setting is refused, with the name that was meant."""
    assert "Did you mean 'track_named_pages'?" in str(error_of({"api_key": KEY, "track_named_page": True}))


def test_errors_hide_secrets() -> None:
    """An error about one setting does not show the secret in another."""
    error = error_of({"api_key": KEY, "secret_key": SECRET, "endpoint": f"{KEY}{SECRET}"})
    assert KEY not in str(error)
    assert SECRET not in str(error)


# Transport


@pytest.mark.parametrize(
    ("kind", "paths"),
    [
        ("track", ["/2/httpapi"]),
        ("page", ["/2/httpapi"]),
        ("screen", ["/2/httpapi"]),
        ("identify", ["/identify"]),
        ("group", ["/identify", "/groupidentify"]),
        ("alias", ["/usermap"]),
        ("delete", ["/api/2/deletions/users"]),
    ],
)
@pytest.mark.parametrize("region", ["US", "EU"])
def test_base_url_replaces_every_host(kind: str, paths: list[str], region: str) -> None:
    """base_url stands in place of every host of either region; the paths stay. AMP-HTTP-01 to -08."""
    base = {"base_url": "http://127.0.0.1:8090/proxy", "endpoint": region}
    urls = [request["url"] for request in plan(call(kind), EVERYTHING | base)["requests"]]
    assert urls == [f"http://127.0.0.1:8090/proxy{path}" for path in paths]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=5)


@given(traits=objects, user=texts.filter(lambda text: len(text) > 10))
def test_forms_carry_every_character(traits: dict[str, Any], user: str) -> None:
    """The bytes of a form hold pure ASCII and decode to exactly the traits that were given. AMP-HTTP-09."""
    event = call("identify", userId=user, traits=traits, context={"library": {"name": "L&=%+"}})
    request = dispatcher().plan(event)[0].requests[0]
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    fields = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    assert [name for name, _ in fields] == ["api_key", "identification", "options"]
    told = json.loads(dict(fields)["identification"])
    expected = {**traits, "id": user}
    mixed = any(name.startswith("$") for name in traits)
    assert told["user_properties"] == ({"$set": expected} if mixed else expected)
    assert told["user_id"] == user
    assert json.loads(dict(fields)["options"]) == {"min_id_length": 1}


def _operator_names() -> set[str]:
    return OPERATORS | {"$unset", "$remove", "$preInsert", "$postInsert", "$clearAll"}


def test_body_of_events() -> None:
    """The body of events is JSON with key, events and options, and nothing else. AMP-HTTP-01, AMP-GEN-08."""
    request = dispatcher().plan(call("track"))[0].requests[0]
    body = json.loads(request.body)
    assert list(body) == ["api_key", "events", "options"]
    assert body["api_key"] == KEY
    assert body["options"] == {"min_id_length": 1}
    assert [event["event_type"] for event in body["events"]] == ["Train Boarded"]


def test_batch_body_is_the_same() -> None:
    """`/batch` gets byte for byte what `/2/httpapi` would get. AMP-HTTP-02."""
    page = call("page", name="Settings", category="Merchant", properties={"a": [1, None]})
    plain = dispatcher(EVERYTHING).plan(page)[0].requests
    batch = dispatcher({**EVERYTHING, "send_to_batch_endpoint": True}).plan(page)[0].requests
    assert [request.body for request in batch] == [request.body for request in plain]
    assert [urlsplit(request.url).path for request in batch] == ["/batch"]


@pytest.mark.parametrize("kind", ["track", "page", "screen", "identify", "group", "alias", "delete"])
def test_secrets_are_masked_unless_asked_for(kind: str) -> None:
    """What a plan shows of any call holds no secret; the real request, and `show_secrets`, do."""
    planned = dispatcher(EVERYTHING).plan(call(kind))[0]
    shown, whole = json.dumps(planned.to_dict()), json.dumps(planned.to_dict(show_secrets=True))
    pair = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
    for secret in (KEY, SECRET, pair):
        assert secret not in shown
    assert (pair if kind == "delete" else KEY) in whole
    sent = planned.requests[0]
    assert (f"Basic {pair}" == sent.headers["authorization"]) if kind == "delete" else KEY.encode() in sent.body


def test_a_text_that_equals_the_key_is_not_masked() -> None:
    """Masking is by place: a trait that happens to equal the key is shown as it will be sent."""
    shown = items(plan(call("identify", traits={"note": KEY})), "identify")
    assert shown[0]["user_properties"] == {"note": KEY, "id": "u-417"}


# Ids and times that JSON cases can't hold


@pytest.mark.parametrize(
    ("given", "sent"),
    [(48213, "48213"), (2**70, str(2**70)), (-7, "-7"), (UUID(int=5), str(UUID(int=5))), ("ü-1", "ü-1")],
)
def test_ids_become_text(given: Any, sent: str) -> None:
    """Whole numbers of any size and UUIDs become text. AMP-GEN-05."""
    assert items(plan(call("track", userId=given)))[0]["user_id"] == sent


@pytest.mark.parametrize("value", [True, False, 1.5, [], {}, float("nan"), b"bytes", object()])
@pytest.mark.parametrize("name", ["userId", "anonymousId"])
def test_wrong_ids_are_refused(name: str, value: Any) -> None:
    """An id of another type makes the event invalid, with a pointer to it. AMP-GEN-05."""
    planned = plan(call("track", **{name: value}))
    assert planned["outcome"] == "invalid"
    assert planned["reason"]["path"] == f"/{name}"
    assert planned["requests"] == []


def test_time_of_python_datetimes() -> None:
    """A datetime's offset counts, as it does in text. AMP-GEN-06."""
    at = datetime(2025, 3, 4, 7, 6, 7, 89000, tzinfo=timezone(timedelta(hours=2)))
    assert items(plan(call("track", timestamp=at)))[0]["time"] == 1741064767089


def test_missing_time_is_the_clock() -> None:
    """Without any time the injected clock decides. AMP-GEN-06."""
    event = call("track")
    del event["timestamp"]
    planned = dispatcher(clock=lambda: NOW).plan(event)[0].to_dict()
    assert items(planned)[0]["time"] == int(NOW.timestamp() * 1000)


@settings(max_examples=50)
@given(at=st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)), hours=st.integers(-12, 14))
def test_time_is_whole_milliseconds(at: datetime, hours: int) -> None:
    """Whatever the offset, time is the same integer of milliseconds. AMP-GEN-06."""
    zone = timezone(timedelta(hours=hours))
    sent = items(plan(call("track", timestamp=at.replace(tzinfo=UTC).astimezone(zone).isoformat())))[0]["time"]
    assert type(sent) is int
    assert sent == (at - datetime(1970, 1, 1)) // timedelta(milliseconds=1)


# Invariants of every call


kinds = st.sampled_from(["track", "page", "screen", "identify", "group", "alias", "delete"])
names = st.none() | st.sampled_from(["", " ", "Settings", "a  b", "Ünï", "None"])


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """Return a call of any type with random contents, mostly ones that can be mapped."""
    event = call(draw(kinds), anonymousId=draw(st.none() | st.just("anon-1")))
    event |= {"name": draw(names), "category": draw(names)}
    event |= {"properties": draw(st.none() | objects), "traits": draw(objects)}
    event["context"] = {"traits": draw(objects), "page": {"search": "?a=1"}, "campaign": {"source": "letter"}}
    event["integrations"] = {"Amplitude": {"groups": draw(values), "session_id": draw(values)}}
    return event


EVERY_OPTION = EVERYTHING | {"map_query_params": {"q": "event_properties", "p": "user_properties"}}


@given(event=calls())
def test_events_are_never_changed(event: dict[str, Any]) -> None:
    """The event stays as it was, given or normalised; mapped again it makes the same bytes. AMP-GEN-09."""
    before = copy.deepcopy(event)
    target = dispatcher(EVERY_OPTION)
    first = target.plan(event)[0]
    assert event == before
    assert first.outcome is not Outcome.FAILED
    normal = first.event
    assert normal is not None
    told = normal.to_dict()
    again = target.plan(normal)[0]
    assert normal.to_dict() == told
    assert [request.body for request in again.requests] == [request.body for request in first.requests]
    other = dispatcher(EVERY_OPTION).plan(json.dumps(event))[0]
    assert [request.body for request in other.requests] == [request.body for request in first.requests]


@given(event=calls())
def test_every_item_is_complete(event: dict[str, Any]) -> None:
    """Each item has its ids, whole milliseconds and no null among its fields. AMP-GEN-04, -06, -10."""
    planned = plan(event, EVERY_OPTION)
    for item in items(planned) + items(planned, "identify"):
        assert item["user_id"] == "u-417"
        assert item.get("device_id") == event["anonymousId"]
        assert type(item["time"]) is int
        assert None not in item.values()
        assert all(item.get(name) for name in ("insert_id", "library"))


@given(event=calls())
def test_the_simulator_accepts_every_request(event: dict[str, Any]) -> None:
    """Amplitude, as it is documented, takes every request of every plan."""
    simulator = AmplitudeSimulator()
    for request in dispatcher(EVERY_OPTION).plan(event)[0].requests:
        answer = simulator.check(request.method, urlsplit(request.url).path, request.headers, request.body)
        assert answer.status == 200, (answer.body, request.body)


# Pages and screens


@given(
    kind=st.sampled_from(["page", "screen"]),
    on=st.sets(st.sampled_from(PAGES)),
    verb=st.sampled_from(["Loaded", "Viewed"]),
    name=names,
    category=names,
    message=st.sampled_from(["m-1", "x", "m-1-1"]),
)
def test_page_events(kind: str, on: set[str], verb: str, name: str | None, category: str | None, message: str) -> None:
    """Every setting that is on and whose part is there makes its own event. AMP-PAGE-01 to -09."""
    given = dict.fromkeys(on, True) | {"page_event_verb": verb}
    planned = plan(call(kind, name=name, category=category, messageId=message), given)
    noun, first = kind.capitalize(), verb if kind == "page" else "Viewed"
    called, sorted_ = (name or "").strip(), (category or "").strip()
    expected = [f"Loaded a {noun}"] if "track_all_pages" in on else []
    if "track_categorized_pages" in on and sorted_:
        expected.append(f"{first} {sorted_} {noun}")
    if "track_named_pages" in on and called:
        expected.append(f"{first} {sorted_} {called} {noun}" if sorted_ else f"{first} {called} {noun}")
    sent = items(planned)
    assert [event["event_type"] for event in sent] == expected
    assert planned["outcome"] == ("planned" if expected else "dropped")
    own = [message, f"{message}-1", f"{message}-2"]
    assert [event["insert_id"] for event in sent] == own[: len(sent)]
    for event in sent:
        assert event.get("event_properties", {}) == {
            key: value for key, value in (("name", name), ("category", category)) if value
        }


# Identify


lists = st.lists(st.sampled_from(["a", "b", "c", "d", "id", "utm_source", "$set", "$add"]), unique=True)
traits_of = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e", "id", "utm_source", "$set", "$add"]),
    st.sampled_from([1, -2.5, "3", "many", True, None, "", ["x"], {"y": 1}]),
)


@given(
    traits=traits_of,
    chosen=st.tuples(lists, lists, lists, lists),
    groups=st.none() | st.just({"sports": "golf"}),
    known=st.booleans(),
)
def test_operators_never_mix_with_plain_keys(
    traits: dict[str, Any], chosen: tuple[list[str], ...], groups: dict[str, str] | None, known: bool
) -> None:
    """All operators or all plain, each trait once, and only bad increments are lost. AMP-IDENT-08 to -13."""
    names = ("traits_to_increment", "traits_to_set_once", "traits_to_append", "traits_to_prepend")
    event = call("identify", anonymousId="anon-1", traits=traits, integrations={"Amplitude": {"groups": groups}})
    event |= {} if known else {"userId": None}
    sent = items(plan(event, dict(zip(names, chosen, strict=True))), "identify")[0].get("user_properties", {})
    used = sent.keys() & _operator_names()
    assert not used or used == sent.keys()
    assert used <= OPERATORS
    found = {key: (operator, value) for operator, part in sent.items() for key, value in part.items()} if used else {}
    assert found or len(sent) == len({*sent})
    assert (found or {key: ("$set", value) for key, value in sent.items()}) == _expected(traits, chosen, groups, known)
    assert len(found) == sum(map(len, sent.values())) if used else True


def _expected(
    traits: dict[str, Any], chosen: tuple[list[str], ...], groups: dict[str, str] | None, known: bool
) -> dict[str, tuple[str, Any]]:
    """Return operator and value of each property: a trait that an operation uses wins over a group of its name."""
    made = {key: ("$set", value) for key, value in (groups or {}).items()}
    for key, value in {**traits, **({"id": "u-417"} if known else {})}.items():
        operator = _operator(key, chosen)
        if operator == "$add":
            if _numeric(value):
                made[key] = (operator, float(value))
        elif operator != "$set" or key not in made:
            made[key] = (operator, value)
    return made


def _operator(key: str, chosen: tuple[list[str], ...]) -> str:
    order = zip(("$add", "$setOnce", "$append", "$prepend"), chosen, strict=True)
    return next((operator for operator, listed in order if key in listed), "$set")


def _numeric(value: Any) -> bool:
    return value == "3" or (isinstance(value, int | float) and not isinstance(value, bool))


def test_increment_of_no_number_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The log names message, destination and pointer of a dropped increment, not its value. AMP-IDENT-13."""
    with caplog.at_level(logging.WARNING, logger="turnout"):
        plan(call("identify", traits={"a/b~c": "rather many"}), {"traits_to_increment": ["a/b~c"]})
    (record,) = caplog.records
    assert record.name == "turnout"
    assert "m-1 at amplitude" in record.getMessage()
    assert "/traits/a~1b~0c" in record.getMessage()
    assert "rather many" not in record.getMessage()


def test_big_increments_keep_every_digit() -> None:
    """Integers beyond 64 bits are added as they are, numeric texts too. AMP-IDENT-13."""
    traits = {"number": 10**30 + 1, "text": str(10**25 + 1), "endless": "9" * 400}
    sent = items(plan(call("identify", traits=traits), {"traits_to_increment": list(traits)}), "identify")[0]
    assert sent["user_properties"]["$add"] == {"number": 10**30 + 1, "text": 10**25 + 1}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"raw", object()])
def test_traits_that_json_cannot_hold(value: Any) -> None:
    """A trait that JSON can't hold makes the call invalid, with a pointer to it."""
    planned = plan(call("identify", traits={"list": [0, value]}))
    assert planned["outcome"] == "invalid"
    assert planned["reason"]["path"] == "/traits/list/1"


# Groups


@given(
    kind=st.none() | st.sampled_from(["", "Line", 7, True, ["x"], {}]),
    label=st.none() | st.sampled_from(["", "Blue 7", 2.5, False, [], {"a": 1}]),
    configured=st.tuples(st.booleans(), st.booleans()),
)
def test_group_is_mapped_or_legacy(kind: Any, label: Any, configured: tuple[bool, bool]) -> None:
    """Both settings and both traits make a group, anything less the legacy one. AMP-GROUP-01, -02, -05."""
    given = {
        key: value
        for key, value, on in zip(("group_type_trait", "group_value_trait"), ("kind", "label"), configured, strict=True)
        if on
    }
    traits = {key: value for key, value in (("kind", kind), ("label", label)) if value is not None}
    planned = plan(call("group", traits={**traits, "size": 20}), given)
    usable = all(isinstance(one, str | int | float) and one != "" for one in (kind, label))
    mapped = all(configured) and usable
    assert [request["endpoint"] for request in planned["requests"]] == ["identify", "groupidentify"][: 1 + mapped]
    membership = items(planned, "identify")[0]
    expected = {_text(kind): _text(label)} if mapped else {"[Segment] Group": "grp-1"}
    assert membership["groups"] == membership["user_properties"] == expected
    if mapped:
        (described,) = items(planned, "groupidentify")
        assert described == {
            "group_type": _text(kind),
            "group_value": _text(label),
            "group_properties": {**traits, "size": 20},
        }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# The gate


@given(
    entries=st.dictionaries(
        st.sampled_from(["Amplitude", "amplitude", "All", "Actions Amplitude"]),
        st.sampled_from([True, False, None, "no", 0, {}, {"session_id": 1}, []]),
    )
)
def test_gate(entries: dict[str, Any]) -> None:
    """The destination's own entry decides unless it is null, then All, by default true. AMP-GEN-01."""
    own, every = entries.get("Amplitude"), entries.get("All")
    passes = own is not False if own is not None else every is not False
    assert plan(call("track", integrations=entries))["outcome"] == ("planned" if passes else "dropped")


# Delivery: what the answers mean (AMP-HTTP-12)


def deliver(simulator: AmplitudeSimulator, events: list[dict[str, Any]], given: dict[str, Any] | None = None) -> Any:
    target = dispatcher(given, transport=httpx.ASGITransport(app=simulator))
    return target.send(events)


def numbered(kind: str, count: int) -> list[dict[str, Any]]:
    return [call(kind, messageId=f"m-{number}", userId=f"u-{number:04}") for number in range(1, count + 1)]


def requests_to(simulator: AmplitudeSimulator, path: str) -> list[Any]:
    return [entry for entry in simulator.ledger if entry.path == path]


def test_deletions_go_a_hundred_at_a_time() -> None:
    """A request deletes at most 100 users. AMP-DEL-01."""
    simulator = AmplitudeSimulator(secret_key=SECRET)
    outcomes = deliver(simulator, numbered("delete", 101), {"secret_key": SECRET})
    assert {outcome.outcome for outcome in outcomes} == {Outcome.DELIVERED}
    sizes = [len(entry.body["user_ids"]) for entry in requests_to(simulator, "/api/2/deletions/users")]
    assert sizes == [100, 1]


@pytest.mark.parametrize("kind", ["track", "identify", "group", "alias", "delete"])
def test_wrong_key_is_a_matter_of_settings(kind: str) -> None:
    """A refused key is blamed on the settings, and not shown. AMP-HTTP-12."""
    simulator = AmplitudeSimulator(api_keys={"another-key"})
    (outcome,) = deliver(simulator, [call(kind)], EVERYTHING)
    assert outcome.outcome is Outcome.DEAD
    assert outcome.reason.code == "credentials_refused"
    assert KEY not in outcome.reason.message
    assert SECRET not in outcome.reason.message


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(("kind", "path"), [("track", "/2/httpapi"), ("identify", "/identify")])
def test_old_answer_to_a_wrong_key(kind: str, path: str, status: int) -> None:
    """The text `invalid api_key` is a refused key, whatever the status, for all events and at once. AMP-HTTP-12."""
    simulator = AmplitudeSimulator()
    simulator.script(path, [Answer(status, "invalid api_key")])
    outcomes = deliver(simulator, numbered(kind, 3))
    assert [outcome.reason.code for outcome in outcomes] == ["credentials_refused"] * 3
    assert len(requests_to(simulator, path)) == 1


@pytest.mark.parametrize("mode", ["all", "first"])
def test_refused_event_does_not_stop_the_others(mode: Any) -> None:
    """A 400 that names indexes drops these and sends the rest again at once. AMP-HTTP-12."""
    simulator = AmplitudeSimulator(index_mode=mode)
    events = numbered("track", 5)
    for bad in (1, 3):
        events[bad]["context"] = {"device": {"id": "silenced-1"}}
    simulator.silenced_devices.add("silenced-1")
    outcomes = deliver(simulator, events)
    assert [outcome.outcome.value for outcome in outcomes] == [
        "delivered",
        "dead",
        "delivered",
        "dead",
        "delivered",
    ]
    assert outcomes[1].reason.code == "vendor_refused"
    assert [event["insert_id"] for event in simulator.events] == ["m-1", "m-3", "m-5"]


def test_too_large_is_split() -> None:
    """A 413 halves the request and sends the halves, each event once. AMP-HTTP-12."""
    simulator = AmplitudeSimulator()
    simulator.fail(413, path="/2/httpapi")
    outcomes = deliver(simulator, numbered("track", 4))
    assert {outcome.outcome for outcome in outcomes} == {Outcome.DELIVERED}
    assert len(requests_to(simulator, "/2/httpapi")) == 3
    assert [event["insert_id"] for event in simulator.events] == ["m-1", "m-2", "m-3", "m-4"]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_server_errors_are_retried_without_harm(status: int) -> None:
    """A retry has the same insert ids, so what was stored before the error is not doubled. AMP-HTTP-12."""
    simulator = AmplitudeSimulator()
    simulator.fail(status, path="/2/httpapi", after_store=True)
    (outcome,) = deliver(simulator, [call("page", name="Map", category="City")], EVERYTHING)
    assert outcome.outcome is Outcome.DELIVERED
    assert outcome.attempts == 2
    assert [event["insert_id"] for event in simulator.events] == ["m-1", "m-1-1", "m-1-2"]


@pytest.mark.parametrize("status", [400, 403, 414])
@pytest.mark.parametrize("kind", ["track", "identify", "alias"])
def test_refusals_are_not_retried(kind: str, status: int) -> None:
    """Other errors are final: one attempt, and the vendor's words in the reason. AMP-HTTP-12."""
    simulator = AmplitudeSimulator()
    simulator.fail(status, html=True)
    (outcome,) = deliver(simulator, [call(kind)], EVERYTHING)
    assert outcome.outcome is Outcome.DEAD
    assert outcome.attempts == 1
    assert f"HTTP {status}" in outcome.reason.message


# Who a 429 names, and what a firewall objects to

A_REFUSAL = {"error": "Too many requests for some devices and users", "eps_threshold": 30, "code": 429}


def judged(body: Any, count: int = 3, read: Any = read_events, status: int = 429, **headers: str) -> list[Any]:
    """Return fate, wait and whether only the item itself waits, for each of the items of a request."""
    text = body if isinstance(body, str) else json.dumps(A_REFUSAL | body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    verdicts = read(turnout.Answer(status, named, text.encode()), count)
    return [(verdict.fate.value, verdict.wait, verdict.own) for verdict in verdicts]


GO = ("resend", None, False)
HALVES = ("split", None, False)


@pytest.mark.parametrize(("read", "seconds"), [(read_events, 30.0), (read_form, 15.0)])
def test_a_throttled_user_holds_up_nobody_else(read: Any, seconds: float) -> None:
    """Named by index, they alone wait; by id alone, the request is split until theirs is left. AMP-HTTP-12."""
    users = {"throttled_users": {"u-7": 31}, "throttled_devices": {}}
    waits = ("retry", seconds, True)
    assert judged(users | {"throttled_events": [1]}, read=read) == [GO, waits, GO]
    assert judged(users, read=read) == [HALVES] * 3
    assert judged(users | {"throttled_events": []}, 1, read) == [waits]


@pytest.mark.parametrize("key", ["throttled_users", "throttled_devices", "exceeded_daily_quota_users"])
@pytest.mark.parametrize("ids", [{"u-7": 31, "u-8": 32}, ["u-7", "u-8"]])
def test_when_as_many_are_throttled_as_there_are_items_nothing_goes_out_at_once(key: str, ids: Any) -> None:
    """Halves would tell nothing new, and ask a vendor that has had enough for each of them. AMP-HTTP-12."""
    waits = ("retry", 3600.0 if "quota" in key else 15.0, True)
    assert judged({key: ids}, 2, read_form) == [waits] * 2
    assert judged({key: ids}, 3, read_form) == [HALVES] * 3


@pytest.mark.parametrize("body", [{}, {"throttled_users": {}, "throttled_events": []}, "<html>slow down</html>", ""])
def test_a_429_that_names_nobody_is_for_all(body: Any) -> None:
    """Also a page of a proxy. AMP-HTTP-12."""
    assert judged(body) == [("retry", 30.0, False)] * 3


@pytest.mark.parametrize("quota", ["exceeded_daily_quota_users", "exceeded_daily_quota_devices"])
def test_a_used_up_quota_waits_an_hour(quota: str) -> None:
    """Not whoever is throttled beside it: the next answer tells them apart. AMP-HTTP-12."""
    used_up = {quota: {"u-7": 500_001}}
    assert judged(used_up | {"throttled_events": [2]}) == [GO, GO, ("retry", 3600.0, True)]
    assert judged(used_up) == [HALVES] * 3
    assert judged(used_up, 1) == [("retry", 3600.0, True)]
    both = judged(used_up | {"throttled_devices": {"d-4": 31}, "throttled_events": [0, 2]})
    assert both == [("retry", 30.0, True), GO, ("retry", 30.0, True)]


def test_retry_after_goes_before_the_usual_wait() -> None:
    """No page promises it, but whoever stands in front of Amplitude may send it. AMP-HTTP-12."""
    assert judged({}, 1, retry_after="7") == [("retry", 7.0, False)]
    assert judged({"throttled_events": [0]}, 2, read_form, retry_after="120") == [("retry", 120.0, True), GO]


@pytest.mark.parametrize("index", [-1, 3, True, "1", 1.0, None])
def test_an_index_that_is_none_names_nobody(index: Any) -> None:
    """Then the request is split. AMP-HTTP-12."""
    assert judged({"events_with_invalid_fields": {"time": [index]}}, status=400) == [HALVES] * 3


@pytest.mark.parametrize("kind", ["track", "identify", "alias", "group"])
def test_what_a_firewall_objects_to_is_refused_alone(kind: str) -> None:
    """A 403 names nothing: the request is halved, and one event is a dead letter. AMP-HTTP-12."""
    simulator = AmplitudeSimulator()
    path = {"track": "/2/httpapi", "identify": "/identify", "alias": "/usermap", "group": "/identify"}[kind]
    simulator.script(path, [403, 403, 403, None, None])
    outcomes = deliver(simulator, numbered(kind, 4), {"enable_alias": True})
    assert [outcome.outcome.value for outcome in outcomes] == ["dead", "delivered", "delivered", "delivered"]
    assert "HTTP 403" in outcomes[0].reason.message


def test_a_user_who_cannot_be_deleted_is_refused_alone() -> None:
    """A 400 to a hundred users is halved; the others are deleted. AMP-DEL-01."""
    simulator = AmplitudeSimulator(secret_key=SECRET)
    simulator.script("/api/2/deletions/users", [400, None, 400, None, 400])
    outcomes = deliver(simulator, numbered("delete", 4), {"secret_key": SECRET})
    assert [outcome.outcome.value for outcome in outcomes] == ["delivered", "delivered", "delivered", "dead"]


def test_a_page_is_no_answer_to_a_deletion() -> None:
    """A 200 of somebody else's is tried again. AMP-DEL-01."""
    simulator = AmplitudeSimulator(secret_key=SECRET)
    simulator.add_user("u-0001")
    simulator.script("/api/2/deletions/users", [Answer(200, "<html>welcome</html>")])
    (outcome,) = deliver(simulator, numbered("delete", 1), {"secret_key": SECRET})
    assert (outcome.outcome.value, outcome.attempts) == ("delivered", 2)
    assert len(simulator.deletions) == 1

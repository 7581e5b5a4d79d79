"""The Amplitude simulator answers as Amplitude's API is documented to, for good input and for bad."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnout.testing import Answer
from turnout_amplitude.simulator import AmplitudeSimulator

JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
NOW = 1_700_000_000.0
DAY = 24 * 3600.0
TEXT_KEYS = """
app_version version_name platform os_name os_version device_brand device_manufacturer
device_model carrier country region city dma productId revenueType ip idfa idfv adid android_id
android_app_set_id insert_id partner_id library user_agent
"""
EVENT: dict[str, Any] = {"user_id": "user-1", "device_id": "device-1", "event_type": "Signed Up"}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sim(clock: Clock) -> AmplitudeSimulator:
    return AmplitudeSimulator(clock=clock)


def send(sim: AmplitudeSimulator, *events: Any, path: str = "/2/httpapi", **more: Any) -> Answer:
    body = {"api_key": "key-1", "events": list(events)} | more
    return sim.check("POST", path, JSON, json.dumps(body).encode())


def form(sim: AmplitudeSimulator, path: str, items: Any, **more: str) -> Answer:
    name = "mapping" if path == "/usermap" else "identification"
    fields = {"api_key": "key-1", name: json.dumps(items)} | more
    return sim.check("POST", path, FORM, urlencode(fields).encode())


def nested(layers: int) -> Any:
    return {"a": nested(layers - 1)} if layers > 1 else {"a": 1}


def invalid(*fields: str, at: int = 0) -> dict[str, Any]:
    return {
        "code": 400,
        "error": "Invalid field values on some events",
        "events_with_invalid_fields": {field: [at] for field in fields},
    }


def missing(*fields: str, at: int = 0) -> dict[str, Any]:
    return {
        "code": 400,
        "error": "Request missing required field",
        "events_with_missing_fields": {field: [at] for field in fields},
    }


# Events: what is accepted


@pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
def test_accepted_events(sim: AmplitudeSimulator, path: str) -> None:
    """A 200 counts the events, the bytes and the time; the events are stored in order."""
    answer = send(sim, EVENT, EVENT | {"event_type": "Signed In"}, path=path)
    size = len(json.dumps({"api_key": "key-1", "events": [EVENT, EVENT | {"event_type": "Signed In"}]}))
    assert answer.status == 200
    assert answer.body == {
        "code": 200,
        "events_ingested": 2,
        "payload_size_bytes": size,
        "server_upload_time": 1_700_000_000_000,
    }
    assert [event["event_type"] for event in sim.events] == ["Signed Up", "Signed In"]


def test_every_documented_key_is_known(sim: AmplitudeSimulator) -> None:
    """An event with every documented key is stored as it was sent, and no key is unknown."""
    event = EVENT | {name: f"the {name}" for name in TEXT_KEYS.split()}
    event |= {"time": 1, "session_id": -1, "event_id": 7, "price": 1.5, "quantity": 2, "revenue": 3.0}
    event |= {"location_lat": 1.0, "location_lng": -2, "currency": "EUR", "language": "Klingon"}
    event |= {"event_properties": {"a": None}, "user_properties": {"b": [1]}, "groups": {"team": ["x", "y"]}}
    event |= {"plan": {"branch": "b", "versionId": "v"}, "ingestion_metadata": {"source_name": "s"}}
    event |= {"$skip_user_properties_sync": False}
    assert send(sim, event).status == 200
    assert sim.events == [event | {"amplitude_id": 1}]
    assert sim.unknown_keys == set()


def test_unknown_keys_are_tolerated_and_listed(sim: AmplitudeSimulator) -> None:
    """Unknown keys do not refuse an event; they can be read, so that a contract test finds them."""
    assert send(sim, EVENT | {"product_id": 1}, client_upload_time="2024-01-01T00:00:00Z").status == 200
    form(sim, "/identify", {"user_id": "user-1", "usr": 1})
    assert sim.unknown_keys == {"product_id", "usr"}


def test_what_amplitude_fills_in(sim: AmplitudeSimulator) -> None:
    """Time, device id (a hash of the user id), the sender's address and the language's name are filled in."""
    send(sim, {"user_id": "user-1", "event_type": "A", "ip": "$remote", "language": "de_DE"})
    send(sim, {"user_id": "user-1", "event_type": "B", "language": None})
    first, second = sim.events
    assert (first["time"], first["ip"], first["language"]) == (1_700_000_000_000, "127.0.0.1", "German")
    assert first["device_id"] == second["device_id"] != "user-1"
    assert "language" not in second


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ({"price": 2.5, "quantity": 4, "revenue": 99}, 10.0),
        ({"price": 2.5}, 2.5),
        ({"price": -3, "quantity": 2}, -6),
        ({"price": 2.5, "revenue": 99}, 99),
        ({"revenue": 7.5}, 7.5),
    ],
)
def test_revenue(sim: AmplitudeSimulator, sent: dict[str, Any], stored: float) -> None:
    """Price times quantity wins over revenue; quantity counts as one."""
    send(sim, EVENT | sent)
    assert sim.events[0]["revenue"] == stored


def test_long_texts_are_cut(sim: AmplitudeSimulator) -> None:
    """A text over 1024 characters is cut wherever it stands, not refused."""
    long = "x" * 1025
    answer = send(sim, EVENT | {"event_type": long, "event_properties": {"a": [{"b": long}]}, "user_id": long})
    assert answer.status == 200
    event = sim.events[0]
    lengths = [len(event["event_type"]), len(event["event_properties"]["a"][0]["b"]), len(event["user_id"])]
    assert lengths == [1024] * 3


# Events: what is refused


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        (JSON, b"", "Missing request body"),
        (JSON, b"{", "Invalid JSON request body"),
        (JSON, b"[]", "Invalid JSON request body"),
        (JSON, b"null", "Invalid JSON request body"),
        (JSON, b'{"api_key":"k","events":[{"a":NaN}]}', "Invalid JSON request body"),
        (JSON, b'{"api_key":"k","events":[{"a":1e999}]}', "Invalid JSON request body"),
        (JSON, b'{"api_key":"k","events":["\xff"]}', "Invalid JSON request body"),
        (JSON, b"[" * 100_000, "Invalid JSON request body"),
        (FORM, b'{"api_key":"k","events":[]}', "Invalid JSON request body"),
        ({}, b'{"api_key":"k","events":[]}', "Invalid JSON request body"),
        (JSON, b'{"api_key":"k","events":{}}', "Invalid event JSON"),
        (JSON, b'{"api_key":"k","events":[1]}', "Invalid event JSON"),
        (JSON, b'{"api_key":"","events":[{}]}', "Invalid API key: "),
        (JSON, b'{"api_key":7,"events":[{}]}', "Invalid API key: 7"),
        (JSON, b'{"api_key":"k","events":[{}],"options":[]}', "Invalid JSON request body"),
        (JSON, b'{"api_key":"k","events":[{}],"options":{"min_id_length":"1"}}', "Invalid JSON request body"),
    ],
)
def test_bad_requests(sim: AmplitudeSimulator, headers: dict[str, str], body: bytes, error: str) -> None:
    """A request that is none is a 400 with the documented error and nothing stored."""
    assert sim.check("POST", "/2/httpapi", headers, body) == Answer(400, {"code": 400, "error": error})
    assert sim.events == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"events": [EVENT]}, "api_key"),
        ({"api_key": None, "events": [EVENT]}, "api_key"),
        ({"api_key": "k"}, "events"),
        ({"api_key": "k", "events": []}, "events"),
    ],
)
def test_missing_request_fields(sim: AmplitudeSimulator, body: dict[str, Any], field: str) -> None:
    """A missing key of the request is named by `missing_field`."""
    answer = sim.check("POST", "/2/httpapi", JSON, json.dumps(body).encode())
    expected = {"code": 400, "error": "Request missing required field", "missing_field": field}
    assert answer == Answer(400, expected)


def test_api_keys() -> None:
    """With keys given, another key is refused by its text; without, every one is accepted."""
    sim = AmplitudeSimulator(api_keys=["key-2"])
    assert send(sim, EVENT) == Answer(400, {"code": 400, "error": "Invalid API key: key-1"})
    assert send(sim, EVENT, api_key="key-2").status == 200
    assert send(AmplitudeSimulator(api_keys="key-1"), EVENT).status == 200


def test_regions() -> None:
    """A key of one region is invalid at the other region's host, and valid at hosts of others."""
    sim = AmplitudeSimulator(region="EU")
    body = json.dumps({"api_key": "k", "events": [EVENT]}).encode()
    statuses = [
        sim.check("POST", "/2/httpapi", JSON | {"Host": host}, body).status
        for host in ("api2.amplitude.com", "api.eu.amplitude.com:443", "127.0.0.1:8080")
    ]
    assert statuses == [400, 200, 200]


def test_paths_and_methods(sim: AmplitudeSimulator) -> None:
    """A path that does not exist is `Invalid request path`, a method that it does not know 405."""
    assert sim.check("POST", "/httpapi", JSON, b"{}") == Answer(400, {"code": 400, "error": "Invalid request path"})
    assert sim.check("GET", "/2/httpapi").status == 405


@pytest.mark.parametrize(("path", "limit"), [("/2/httpapi", 1_000_000), ("/batch", 20_000_000)])
def test_bytes_per_request(sim: AmplitudeSimulator, path: str, limit: int) -> None:
    """A request may have 1 MB, at batch 20 MB; one byte more is a 413 and nothing is stored."""
    body = json.dumps({"api_key": "k", "events": [EVENT]}).encode()
    assert sim.check("POST", path, JSON, body + b" " * (limit - len(body))).status == 200
    answer = sim.check("POST", path, JSON, body + b" " * (limit - len(body) + 1))
    assert answer == Answer(413, {"code": 413, "error": "Payload too large"})
    assert len(sim.events) == 1


def test_events_per_request(sim: AmplitudeSimulator) -> None:
    """2000 events are accepted, 2001 are a 413."""
    event = {"user_id": "user-1", "event_type": "A"}
    assert send(sim, *[event] * 2000, path="/batch").body["events_ingested"] == 2000
    assert send(sim, *[event] * 2001, path="/batch").status == 413
    assert len(sim.events) == 2000


@pytest.mark.parametrize("event_type", [None, ""])
def test_missing_event_type(sim: AmplitudeSimulator, event_type: str | None) -> None:
    """An event without a type is named by its index, and the good event beside it is not stored either."""
    answer = send(sim, EVENT, {"user_id": "user-1", "event_type": event_type})
    assert answer == Answer(400, missing("event_type", at=1))
    assert sim.events == []
    assert sim.users == []


def test_missing_ids(sim: AmplitudeSimulator) -> None:
    """An event needs a user id or a device id; null counts as absent."""
    assert send(sim, {"event_type": "A", "user_id": None}).body == missing("user_id", "device_id")
    assert send(sim, {"event_type": "A", "device_id": "device-1"}).status == 200


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("user_id", 12345),
        ("device_id", True),
        ("event_type", 5),
        ("event_type", {"a": 1}),
        ("event_type", "[Amplitude] Revenue"),
        ("event_type", "[Amplitude] Start Session"),
        ("time", "2024-01-01T00:00:00Z"),
        ("time", "1396381378"),
        ("time", 1396381378123.5),
        ("time", True),
        ("time", 2**63),
        ("session_id", "1396381378123"),
        ("event_id", 1.5),
        ("price", "9.99"),
        ("revenue", True),
        ("quantity", 1.5),
        ("location_lat", "52.5"),
        ("location_lng", []),
        ("platform", 1),
        ("language", {"language": "en"}),
        ("productId", 1),
        ("insert_id", 1),
        ("ip", 127),
        ("event_properties", []),
        ("event_properties", "a"),
        ("user_properties", [1]),
        ("groups", ["team"]),
        ("groups", {"team": {"a": 1}}),
        ("groups", {"team": [None]}),
        ("groups", {"team": True}),
        ("plan", "main"),
        ("plan", {"branch": 1}),
        ("ingestion_metadata", {"source_name": 1}),
        ("$skip_user_properties_sync", "true"),
    ],
)
def test_wrong_types(sim: AmplitudeSimulator, key: str, value: Any) -> None:
    """A key of a wrong type or format is named with the index of its event."""
    assert send(sim, EVENT, EVENT | {key: value}) == Answer(400, invalid(key, at=1))
    assert sim.events == []


@pytest.mark.parametrize("key", ["event_properties", "user_properties", "group_properties"])
def test_depth(sim: AmplitudeSimulator, key: str) -> None:
    """Properties may have 40 layers; more is an invalid field."""
    assert send(sim, EVENT | {key: nested(40)}).status == 200
    assert send(sim, EVENT | {key: nested(41)}).body == invalid(key)
    assert send(sim, EVENT | {key: {"a": [nested(39)]}}).body == invalid(key)


@pytest.mark.parametrize(
    "value",
    [
        "anonymous",
        "Anonymous",
        "nil",
        "none",
        "NULL",
        "n/a",
        "na",
        "undefined",
        "unknown",
        "",
        " ",
        "{}",
        "lmy47d",
        "0",
        "-1",
        "00000000-0000-0000-0000-000000000000",
    ],
)
@pytest.mark.parametrize("key", ["user_id", "device_id"])
def test_forbidden_ids(sim: AmplitudeSimulator, key: str, value: str) -> None:
    """Ids that mean nobody are refused, in any case, even with a good id beside them."""
    assert send(sim, EVENT | {key: value}, options={"min_id_length": 1}).body == invalid(key)


def test_short_ids(sim: AmplitudeSimulator) -> None:
    """An id has five characters, or as many as the request's options say."""
    expected = {
        "code": 400,
        "error": "Invalid id length for user_id or device_id",
        "events_with_invalid_id_lengths": {"user_id": [1]},
    }
    assert send(sim, EVENT, EVENT | {"user_id": "abcd"}) == Answer(400, expected)
    assert send(sim, EVENT | {"user_id": "abcd"}, options={"min_id_length": 4}).status == 200
    assert send(sim, EVENT | {"user_id": "abcd"}, options={"min_id_length": None}).status == 400
    assert send(sim, EVENT | {"user_id": "abcdefg"}, options={"min_id_length": 8}).status == 400


def test_several_kinds_of_error() -> None:
    """Every bad event is named, in the map of its kind; the error text is that of the first kind."""
    bad = [EVENT | {"time": "x"}, {"user_id": "abc"}, EVENT, EVENT | {"time": "y", "price": "z"}]
    assert send(AmplitudeSimulator(), *bad).body == {
        "code": 400,
        "error": "Request missing required field",
        "events_with_missing_fields": {"event_type": [1]},
        "events_with_invalid_fields": {"time": [0, 3], "price": [3]},
        "events_with_invalid_id_lengths": {"user_id": [1]},
    }


def test_index_mode_first() -> None:
    """In the other documented mode a 400 names the first bad event only; the next shows after it is gone."""
    sim = AmplitudeSimulator(index_mode="first")
    bad = [EVENT | {"time": "x"}, EVENT, EVENT | {"time": "y"}]
    assert send(sim, *bad).body == invalid("time", at=0)
    assert send(sim, *bad[1:]).body == invalid("time", at=1)
    assert send(sim, bad[1]).status == 200
    with pytest.raises(ValueError, match="'all' or 'first'"):
        AmplitudeSimulator(index_mode="some")  # type: ignore[arg-type]


def test_an_amount_that_no_number_holds(sim: AmplitudeSimulator) -> None:
    """Price times quantity beyond a double is refused, so that what is stored stays JSON."""
    assert send(sim, EVENT | {"price": 1e308, "quantity": 100}).body == invalid("price")


def test_silenced_devices(sim: AmplitudeSimulator) -> None:
    """Events of a blocked device are answered in the silenced form, with their indexes."""
    sim.silenced_devices.add("device-9")
    assert send(sim, EVENT, EVENT | {"device_id": "device-9"}).body == {
        "code": 400,
        "error": "Events silenced for device_id",
        "eps_threshold": 30,
        "silenced_devices": ["device-9"],
        "silenced_events": [1],
    }
    assert sim.events == []


# Deduplication


def test_duplicates_within_and_across_requests(sim: AmplitudeSimulator) -> None:
    """The same insert id on the same device is stored once, answered 200, and counted."""
    event = EVENT | {"insert_id": "m-1"}
    assert send(sim, event, event).body["events_ingested"] == 2
    send(sim, event, path="/batch")
    assert (len(sim.events), sim.duplicates) == (1, 2)
    assert sim.ledger[0].effect == {"events": 1, "duplicates": 1}


def test_what_is_no_duplicate(sim: AmplitudeSimulator, clock: Clock) -> None:
    """Another device, no insert id, or seven days later: stored again."""
    event = EVENT | {"insert_id": "m-1"}
    send(sim, event, event | {"device_id": "device-2"}, EVENT, EVENT)
    clock.now += 7 * DAY - 1
    send(sim, event)
    assert (len(sim.events), sim.duplicates) == (4, 1)
    clock.now += 1
    send(sim, event)
    assert (len(sim.events), sim.duplicates) == (5, 1)


def test_duplicates_without_a_device_id(sim: AmplitudeSimulator) -> None:
    """Without a device id the device is a hash of the user id, so users deduplicate for themselves."""
    for user in ("user-1", "user-1", "user-2"):
        send(sim, {"user_id": user, "event_type": "A", "insert_id": "m-1"})
    assert (len(sim.events), sim.duplicates) == (2, 1)


def test_a_refused_request_leaves_no_trace(sim: AmplitudeSimulator) -> None:
    """A 400 stores nothing: not even the insert ids of its good events."""
    event = EVENT | {"insert_id": "m-1", "user_properties": {"a": 1}}
    send(sim, event, EVENT | {"time": "x"})
    assert sim.state() == AmplitudeSimulator().state()
    send(sim, event)
    assert (len(sim.events), sim.duplicates) == (1, 0)


# Users, properties and groups


def test_property_operations(sim: AmplitudeSimulator) -> None:
    """Each operation does to the stored properties what it is documented to do."""
    form(sim, "/identify", {"user_id": "user-1", "user_properties": {"n": 1, "l": "a", "o": "old", "x": 1}})
    changes = {
        "$set": {"plan": "pro"},
        "$setOnce": {"o": "new", "first": 1},
        "$add": {"n": -0.5, "m": 2},
        "$append": {"l": ["b", "c"]},
        "$prepend": {"p": "z"},
        "$unset": {"x": "-"},
    }
    assert form(sim, "/identify", {"user_id": "user-1", "user_properties": changes}).status == 200
    more = {"$postInsert": {"l": ["a", "d", "d"]}, "$preInsert": {"p": ["y", "z"]}, "$remove": {"q": 1}}
    form(sim, "/identify", {"user_id": "user-1", "user_properties": more})
    form(sim, "/identify", {"user_id": "user-1", "user_properties": {"$remove": {"l": "b"}}})
    assert sim.users[0]["user_properties"] == {
        "n": 0.5,
        "m": 2,
        "l": ["a", "c", "d"],
        "o": "old",
        "plan": "pro",
        "first": 1,
        "p": ["y", "z"],
        "q": [],
    }
    form(sim, "/identify", {"user_id": "user-1", "user_properties": {"$clearAll": "-"}})
    assert sim.users[0]["user_properties"] == {}


@pytest.mark.parametrize(
    "properties",
    [
        {"$set": {"a": 1}, "b": 2},
        {"$append": {"a": 1}, "$foo": {}},
        {"$clearAll": "-", "$set": {"a": 1}},
        {"$set": "a"},
        {"$add": {"a": "1"}},
        {"$add": {"a": True}},
        {"$unset": ["a"]},
    ],
)
def test_operations_that_cannot_be(properties: dict[str, Any]) -> None:
    """Mixed and malformed operations are refused when strict; else what can be read takes effect."""
    strict, lenient = AmplitudeSimulator(), AmplitudeSimulator(strict=False)
    item = {"user_id": "user-1", "user_properties": properties}
    assert form(strict, "/identify", item).body == invalid("user_properties")
    assert send(strict, EVENT | {"user_properties": properties}).body == invalid("user_properties")
    assert strict.users == []
    assert form(lenient, "/identify", item).status == 200
    assert send(lenient, EVENT | {"user_properties": properties}).status == 200


def test_a_lenient_mix_sets_the_plain_keys() -> None:
    """When not strict, plain keys beside operations are set."""
    sim = AmplitudeSimulator(strict=False)
    form(sim, "/identify", {"user_id": "user-1", "user_properties": {"$add": {"n": 1, "s": "x"}, "b": 2}})
    assert sim.users[0]["user_properties"] == {"n": 1, "b": 2}


def test_adding_never_leaves_the_numbers(sim: AmplitudeSimulator) -> None:
    """`$add` beyond a double is dropped, so that the state stays JSON; to a text it starts from 0."""
    for amount in (1e308, 1e308):
        form(sim, "/identify", {"user_id": "user-1", "user_properties": {"$add": {"n": amount}}})
    send(sim, EVENT | {"user_properties": {"t": "text", "big": 10**400}})
    form(sim, "/identify", {"user_id": "user-1", "user_properties": {"$add": {"t": 2, "big": 1.5}}})
    assert sim.users[0]["user_properties"] == {"n": 1e308, "t": 2, "big": 1.5}


def test_events_set_user_properties(sim: AmplitudeSimulator) -> None:
    """Plain user properties of an event are set, unless it asks to leave the user alone."""
    send(sim, EVENT | {"user_properties": {"a": 1}, "city": "Oslo"})
    skipping = {"user_properties": {"a": 2}, "city": "Rome", "$skip_user_properties_sync": True}
    send(sim, EVENT | skipping)
    assert sim.users[0]["user_properties"] == {"a": 1}
    assert sim.users[0]["fields"] == {"city": "Oslo"}


def test_identify_events(sim: AmplitudeSimulator) -> None:
    """`$identify` changes the user, counts as no event, and deduplicates by insert id."""
    item = EVENT | {"event_type": "$identify", "insert_id": "m-1", "user_properties": {"$add": {"n": 1}}}
    send(sim, item, item)
    assert sim.events == []
    assert (len(sim.identifies), sim.duplicates) == (1, 1)
    assert sim.user("user-1") == sim.user(device_id="device-1") == sim.users[0]
    assert sim.users[0]["user_properties"] == {"n": 1}


def test_anonymous_devices_join_their_first_user(sim: AmplitudeSimulator) -> None:
    """What a device did before anybody was known on it becomes the first user's; a second user gets none."""
    send(sim, {"device_id": "device-1", "event_type": "A", "user_properties": {"a": 1}})
    form(sim, "/identify", {"user_id": "user-1", "device_id": "device-1", "user_properties": {"b": 2}})
    send(sim, EVENT | {"user_id": "user-2"})
    first, second = sim.users
    assert (first["user_id"], first["user_properties"]) == ("user-1", {"a": 1, "b": 2})
    assert (second["user_id"], second["user_properties"]) == ("user-2", {})
    assert [event["amplitude_id"] for event in sim.events] == [first["amplitude_id"], second["amplitude_id"]]


def test_an_anonymous_device_joins_a_known_user(sim: AmplitudeSimulator) -> None:
    """Of properties that both have, the known user's stay."""
    form(sim, "/identify", {"user_id": "user-1", "user_properties": {"a": "known"}})
    send(sim, {"device_id": "device-1", "event_type": "A", "user_properties": {"a": "anonymous", "b": 1}})
    send(sim, EVENT)
    (user,) = sim.users
    assert user["user_properties"] == {"a": "known", "b": 1}
    assert user["device_ids"] == ["device-1"]
    assert {event["amplitude_id"] for event in sim.events} == {user["amplitude_id"]}


def test_the_reset_trap_of_identify(sim: AmplitudeSimulator) -> None:
    """An identification that names one device or place field clears the others of its set."""
    fields = {"country": "Norway", "city": "Oslo", "platform": "Web", "os_name": "Linux", "language": "nb-NO"}
    form(sim, "/identify", {"user_id": "user-1", "paying": "true", "start_version": "1"} | fields)
    form(sim, "/identify", {"user_id": "user-1", "country": "United States", "app_version": "2"})
    kept = {name: value for name, value in sim.users[0]["fields"].items() if value is not None}
    assert kept == {
        "country": "United States",
        "platform": "Web",
        "os_name": "Linux",
        "language": "Norwegian",
        "paying": "true",
        "start_version": "1",
        "app_version": "2",
    }


def test_groups_of_users_and_events(sim: AmplitudeSimulator) -> None:
    """Groups join the user; five types a project and ten values an event are tracked, the rest not."""
    form(sim, "/identify", {"user_id": "user-1", "groups": {"team": "Reds", "org": ["a", 7]}})
    assert sim.users[0]["groups"] == {"team": ["Reds"], "org": ["a", "7"]}
    send(sim, EVENT | {"groups": {"team": [f"t{n}" for n in range(12)]}})
    assert sim.events[0]["groups"]["team"] == [f"t{n}" for n in range(10)]
    send(sim, EVENT | {"groups": {f"type{n}": "x" for n in range(5)}})
    assert list(sim.groups) == ["team", "org", "type0", "type1", "type2"]
    assert sim.store.untracked_groups == [("team", "t10"), ("team", "t11"), ("type3", "x"), ("type4", "x")]


# Identify


def test_identify_accepts_every_way_in(sim: AmplitudeSimulator) -> None:
    """A form, a multipart form and a query string say the same; an array holds several identifications."""
    one, fields = {"user_id": "user-1"}, {"api_key": "k", "identification": '{"user_id": "user-2"}'}
    assert form(sim, "/identify", one) == Answer(200, "success", effect={"identifies": 1})
    assert sim.check("GET", "/identify?" + urlencode(fields)).status == 200
    request = httpx.Request("POST", "http://a/", files={name: (None, text) for name, text in fields.items()})
    assert sim.check("POST", "/identify", dict(request.headers), request.read()).status == 200
    assert form(sim, "/identify", [{"user_id": "user-3"}, {"device_id": "device-4"}]).status == 200
    known = ["user-1", "user-2", "user-2", "user-3", None]
    assert [item.get("user_id") for item in sim.identifies] == known
    assert len(sim.users) == 4


@pytest.mark.parametrize("path", ["/identify", "/groupidentify", "/usermap"])
def test_form_endpoints_read_no_json_body(sim: AmplitudeSimulator, path: str) -> None:
    """A JSON body is read as no parameters at all."""
    body = {"api_key": "k", "identification": [{"user_id": "user-1"}], "mapping": [{"user_id": "user-1"}]}
    assert sim.check("POST", path, JSON, json.dumps(body).encode()) == Answer(400, "missing_event")
    assert sim.check("POST", path) == Answer(400, "missing_event")
    assert sim.check("GET", path) == Answer(400, "missing_event")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"a"', "null", "undefined", "{'user_id':'user-1'}"])
def test_identification_that_cannot_be_read(sim: AmplitudeSimulator, text: str) -> None:
    """An identification that is no JSON object or array is `missing_event`."""
    body = urlencode({"api_key": "k", "identification": text}).encode()
    assert sim.check("POST", "/identify", FORM, body) == Answer(400, "missing_event")


@pytest.mark.parametrize("path", ["/identify", "/groupidentify", "/usermap"])
@pytest.mark.parametrize("key", ["", "wrong"])
def test_form_endpoints_with_a_wrong_key(path: str, key: str) -> None:
    """A wrong key is told by the text `invalid api_key`."""
    sim = AmplitudeSimulator(api_keys=["key-1"])
    assert form(sim, path, {"user_id": "user-1"}, api_key=key) == Answer(400, "invalid api_key")


@pytest.mark.parametrize("options", ["undefined", "", "null", "7", '{"min_id_length": "x"}'])
def test_unreadable_form_options_are_tolerated(sim: AmplitudeSimulator, options: str) -> None:
    """Real traffic holds `options=undefined`; it counts as no options."""
    assert form(sim, "/identify", {"user_id": "user-1"}, options=options).status == 200
    assert form(sim, "/identify", {"user_id": "u-1"}, options=options).status == 400
    assert form(sim, "/identify", {"user_id": "u-1"}, options='{"min_id_length": 1}').status == 200


@pytest.mark.parametrize(
    ("item", "body"),
    [
        ({"user_properties": {}}, missing("user_id", "device_id")),
        ({"user_id": 7}, invalid("user_id")),
        ({"user_id": "user-1", "paying": []}, invalid("paying")),
        ({"user_id": "user-1", "start_version": 1}, invalid("start_version")),
        ({"user_id": "user-1", "groups": "a"}, invalid("groups")),
        ({"user_id": "user-1", "user_properties": nested(41)}, invalid("user_properties")),
        (7, {"code": 400, "error": "Invalid event JSON"}),
    ],
)
def test_refused_identifications(sim: AmplitudeSimulator, item: Any, body: dict[str, Any]) -> None:
    """A bad identification refuses its whole request, with the maps that events have."""
    assert form(sim, "/identify", [item, {"user_id": "user-2"}]) == Answer(400, body)
    assert sim.identifies == []


def test_form_sizes(sim: AmplitudeSimulator) -> None:
    """Identify takes 2000 items and 1 MB, group identify 1024 items and properties; a long query is 414."""
    assert form(sim, "/identify", [{"user_id": "user-1"}] * 2001).status == 413
    assert form(sim, "/identify", {"user_id": "user-1", "user_properties": {"a": "x" * 1_000_000}}).status == 413
    group = {"group_type": "t", "group_value": "v"}
    assert form(sim, "/groupidentify", [group] * 1024).status == 200
    assert form(sim, "/groupidentify", [group] * 1025).status == 413
    wide = group | {"group_properties": {"$set": {f"p{n}": n for n in range(1025)}}}
    assert form(sim, "/groupidentify", wide).status == 413
    assert form(sim, "/usermap", [{"user_id": "a", "unmap": True}] * 2001).status == 413
    assert sim.check("GET", "/identify?api_key=k&identification=" + "x" * 9000).status == 414


# Groups and mappings


def test_group_properties(sim: AmplitudeSimulator) -> None:
    """Group identify keeps plain properties and applies operations; it attaches no user."""
    group = {"group_type": "team", "group_value": "Reds"}
    assert form(sim, "/groupidentify", group | {"group_properties": {"n": 1, "tags": "a"}}).body == "success"
    operations = {"$add": {"n": 2}, "$append": {"tags": "b"}, "$setOnce": {"since": 2020}}
    form(sim, "/groupidentify", [group | {"group_properties": operations}, group | {"group_properties": None}])
    assert sim.groups == {"team": {"Reds": {"n": 3, "tags": ["a", "b"], "since": 2020}}}
    assert sim.users == []
    assert len(sim.group_identifies) == 3


@pytest.mark.parametrize(
    ("change", "body"),
    [
        ({"group_type": None}, missing("group_type")),
        ({"group_value": ""}, missing("group_value")),
        ({"group_value": ["a"]}, invalid("group_value")),
        ({"group_type": 5}, invalid("group_type")),
        ({"group_properties": [1]}, invalid("group_properties")),
        ({"group_properties": {"$set": {}, "a": 1}}, invalid("group_properties")),
        ({"group_properties": {"$remove": {"a": 1}}}, invalid("group_properties")),
    ],
)
def test_refused_group_identifications(sim: AmplitudeSimulator, change: dict[str, Any], body: dict[str, Any]) -> None:
    """A group identification needs a type and a value as text, and operations that groups know."""
    answer = form(sim, "/groupidentify", {"group_type": "team", "group_value": "Reds"} | change)
    assert answer == Answer(400, body)
    assert sim.groups == {}


def test_group_identify_events(sim: AmplitudeSimulator) -> None:
    """`$groupidentify` events set the properties of their groups; on other events they are ignored."""
    properties = {"groups": {"team": "Reds"}, "group_properties": {"$set": {"n": 1}}}
    send(sim, EVENT | {"event_type": "$groupidentify"} | properties)
    send(sim, EVENT | properties | {"group_properties": {"n": 2}})
    assert sim.groups == {"team": {"Reds": {"n": 1}}}
    assert len(sim.events) == 1
    mixed = {"event_type": "$groupidentify", "group_properties": {"$set": {}, "a": 1}}
    assert send(sim, EVENT | mixed).body == invalid("group_properties")


def test_mappings(sim: AmplitudeSimulator) -> None:
    """A mapping is made for an object or a list, by form or query, and taken back by unmap."""
    assert form(sim, "/usermap", {"user_id": "child-1", "global_user_id": "parent"}).body == "success"
    query = urlencode({"api_key": "k", "mapping": '[{"user_id": "child-2", "global_user_id": "parent"}]'})
    assert sim.check("GET", f"/usermap?{query}").status == 200
    assert sim.mappings == {"child-1": "parent", "child-2": "parent"}
    assert form(sim, "/usermap", [{"user_id": "child-1", "unmap": True}]).status == 200
    assert sim.mappings == {"child-2": "parent"}


@pytest.mark.parametrize(
    ("mapping", "body"),
    [
        ({"global_user_id": "parent"}, missing("user_id")),
        ({"user_id": "child"}, missing("global_user_id")),
        ({"user_id": "child", "unmap": False}, missing("global_user_id")),
        ({"user_id": "child", "unmap": True, "global_user_id": "parent"}, invalid("global_user_id")),
        ({"user_id": "child", "global_user_id": 7}, invalid("global_user_id")),
        ({"user_id": "child", "unmap": "true", "global_user_id": "p"}, invalid("unmap")),
    ],
)
def test_refused_mappings(sim: AmplitudeSimulator, mapping: dict[str, Any], body: dict[str, Any]) -> None:
    """A mapping has both ids as text, or one and unmap."""
    assert form(sim, "/usermap", mapping) == Answer(400, body)
    assert sim.mappings == {}


# Deletions

USERS = "/api/2/deletions/users"


def basic(key: str = "key-1", secret: str = "secret-1") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()}


def delete(sim: AmplitudeSimulator, **body: Any) -> Answer:
    return sim.check("POST", USERS, basic() | JSON, json.dumps(body).encode())


def test_deletion_needs_both_keys() -> None:
    """Without Basic authentication 401, with a wrong key or secret 403 with the documented body."""
    sim = AmplitudeSimulator(api_keys=["key-1"], secret_key="secret-1")
    sim.add_user("user-1")
    forbidden = {"code": 403, "message": "HTTP 403: Forbidden (Invalid API Key)", "status": "Forbidden"}
    for method, path in (("POST", USERS), ("GET", USERS), ("DELETE", f"{USERS}/1/2024-01-01")):
        assert sim.check(method, path).status == 401
        assert sim.check(method, path, basic(key="other")) == Answer(403, forbidden)
        assert sim.check(method, path, basic(secret="other")) == Answer(403, forbidden)
    assert AmplitudeSimulator().check("POST", USERS, basic(secret="")).status == 403
    assert delete(sim, user_ids=["user-1"]).status == 200


def test_a_deletion_job(sim: AmplitudeSimulator, clock: Clock) -> None:
    """A job is staged for a day, submitted three days before, and on its day the user and events are gone."""
    send(sim, EVENT, EVENT | {"user_id": "user-2", "device_id": "device-2"})
    answer = delete(sim, user_ids=["user-1"], requester="turnout", ignore_invalid_id="true")
    entry = {"amplitude_id": 1, "requested_on_day": "2023-11-14", "requester": "turnout", "user_id": "user-1"}
    job: dict[str, Any] = {
        "day": "2023-12-14",
        "status": "staging",
        "app": "12345",
        "active_scrub_done_date": None,
    }
    job |= {"amplitude_ids": [entry], "invalid_ids": []}
    assert answer == Answer(200, [job], effect={"deletions": 1})
    clock.now += 27 * DAY
    assert sim.deletions[0]["status"] == "submitted"
    assert len(sim.users) == 2
    clock.now += 3 * DAY
    assert sim.deletions[0]["status"] == "done"
    assert [user["user_id"] for user in sim.users] == ["user-2"]
    assert [event["user_id"] for event in sim.events] == ["user-2"]
    send(sim, EVENT)
    assert sim.users[-1]["amplitude_id"] == 3


def test_unknown_users_in_a_deletion(sim: AmplitudeSimulator) -> None:
    """An unknown id refuses the whole request, or is listed when it is to be ignored."""
    sim.add_user("user-1")
    assert delete(sim, user_ids=["user-1", "nobody"]).status == 400
    assert sim.deletions == []
    for flag in ({"ignore_invalid_id": True}, {"ignore_invalid_ids": "true"}, {"delete_from_org": "true"}):
        assert delete(sim, user_ids=["user-1", "nobody"], **flag).body[0]["invalid_ids"] == ["nobody"]
    nothing = delete(sim, user_ids=["nobody"], ignore_invalid_id=True)
    assert (nothing.status, list(nothing.body)) == (200, [" message"])


def test_deletion_by_amplitude_id_and_of_mapped_users(sim: AmplitudeSimulator) -> None:
    """Amplitude ids may be numbers or text; mapped ids are included when asked for."""
    for name in ("parent", "child", "other"):
        sim.add_user(name)
    form(sim, "/usermap", {"user_id": "child", "global_user_id": "parent"})
    body = delete(sim, user_ids=["parent"], amplitude_ids=["3"], include_mapped_user_ids=True).body
    assert [entry["user_id"] for entry in body[0]["amplitude_ids"]] == ["other", "parent", "child"]
    assert delete(sim, user_ids=["parent"]).body[0]["amplitude_ids"][0]["user_id"] == "parent"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"user_ids": "user-1"}',
        b'{"user_ids": [1]}',
        b'{"amplitude_ids": [true]}',
        b'{"amplitude_ids": [1.5]}',
        b'{"user_ids": ["user-1"], "requester": 7}',
        b'{"user_ids": ["user-1"], "ignore_invalid_id": "maybe"}',
        b'{"user_ids": ["user-1"], "ignore_invalid_id": []}',
        json.dumps({"user_ids": ["user-1"] * 101}).encode(),
    ],
)
def test_refused_deletions(sim: AmplitudeSimulator, body: bytes) -> None:
    """A deletion that is malformed, or has none or more than 100 ids, is a 400 and schedules nothing."""
    sim.add_user("user-1")
    answer = sim.check("POST", USERS, basic() | JSON, body)
    assert (answer.status, answer.body["status"]) == (400, "Bad Request")
    assert sim.deletions == []


def test_listing_and_revoking_deletions(sim: AmplitudeSimulator, clock: Clock) -> None:
    """Jobs are listed by day, and revoked while they are staging."""
    sim.add_user("user-1")
    sim.add_user("user-2")
    delete(sim, user_ids=["user-1", "user-2"])
    days = f"{USERS}?start_day=2023-12-01&end_day=2023-12-31"
    assert sim.check("GET", days, basic()).body == sim.deletions
    assert sim.check("GET", days.replace("2023-12", "2024-01"), basic()).body == []
    assert sim.check("DELETE", f"{USERS}/1/2023-12-13", basic()).status == 404
    assert sim.check("DELETE", f"{USERS}/1/2023-12-14", basic()).status == 200
    assert [entry["amplitude_id"] for entry in sim.deletions[0]["amplitude_ids"]] == [2]
    delete(sim, user_ids=["user-1"])
    assert sim.check("DELETE", f"{USERS}/1/2023-12-14", basic()).status == 200
    assert len(sim.deletions) == 1
    clock.now += 28 * DAY
    assert sim.check("DELETE", f"{USERS}/2/2023-12-14", basic()).status == 400


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?start_day=2024-01-01",
        "?start_day=x&end_day=y",
        "?start_day=2024-01-02&end_day=2024-01-01",
        "?start_day=2023-01-01&end_day=2023-12-31",
    ],
)
def test_refused_lists_of_deletions(sim: AmplitudeSimulator, query: str) -> None:
    """A list needs two days, in order, at most six months apart."""
    assert sim.check("GET", USERS + query, basic()).status == 400


# Rates


def test_events_over_the_rate(clock: Clock) -> None:
    """Over 30 events/s in 30 s a request is refused with the documented maps, until the window moves."""
    sim = AmplitudeSimulator(rate_limits=True, clock=clock)
    assert send(sim, *[EVENT] * 900).status == 200
    other = EVENT | {"user_id": "user-2", "device_id": "device-2"}
    assert send(sim, other, EVENT) == Answer(
        429,
        {
            "code": 429,
            "error": "Too many requests for some devices and users",
            "eps_threshold": 30,
            "throttled_devices": {"device-1": 31},
            "throttled_users": {"user-1": 31},
            "throttled_events": [1],
        },
    )
    assert len(sim.events) == 900
    assert send(sim, other).status == 200
    clock.now += 30
    assert send(sim, EVENT).status == 200


def test_the_daily_quota_of_batch(clock: Clock) -> None:
    """Over 500,000 events in 24 h of one id, batch answers 429 with the quota maps."""
    sim = AmplitudeSimulator(rate_limits=True, clock=clock)
    sim._rates["/batch"].daily = 3
    event = {"user_id": "user-1", "event_type": "A"}
    assert send(sim, event, event, event, path="/batch").status == 200
    clock.now += 3600
    answer = send(sim, event, path="/batch")
    assert answer.status == 429
    assert answer.body["exceeded_daily_quota_users"] == {"user-1": 4}
    assert answer.body["exceeded_daily_quota_devices"] == answer.body["throttled_users"] == {}
    assert answer.body["throttled_events"] == [0]
    clock.now += DAY
    assert send(sim, event, path="/batch").status == 200


def test_other_rates(clock: Clock) -> None:
    """Identifications, mappings (50/s over 30 s) and deletions (1/s) have rates of their own."""
    sim = AmplitudeSimulator(rate_limits=True, clock=clock)
    assert form(sim, "/identify", [{"user_id": "user-1"}] * 900).status == 200
    assert form(sim, "/identify", {"user_id": "user-1"}).body["throttled_users"] == {"user-1": 31}
    mappings = [{"user_id": "a", "global_user_id": "b"}] * 1500
    assert [form(sim, "/usermap", mappings).status, form(sim, "/usermap", mappings[0]).status] == [200, 429]
    assert [delete(sim, user_ids=["user-1"]).status for _ in range(2)] == [200, 429]
    clock.now += 30
    assert form(sim, "/usermap", mappings[0]).status == 200


# Faults and the server


@pytest.mark.parametrize("status", [400, 403, 413, 500, 502, 503, 504, 599])
def test_injected_errors(sim: AmplitudeSimulator, status: int) -> None:
    """An injected error has Amplitude's body and stores nothing."""
    sim.fail(status)
    answer = send(sim, EVENT)
    assert (answer.status, answer.body["code"]) == (status, status)
    assert sim.events == []


def test_injected_429_names_the_ids(sim: AmplitudeSimulator) -> None:
    """An injected 429 names every user, device and index of the request; garbage gets one as well."""
    sim.fail(429, times=4)
    body = send(sim, EVENT, {"user_id": "user-2", "event_type": "A"}).body
    assert body["throttled_users"] == {"user-1": 31, "user-2": 31}
    assert (body["throttled_devices"], body["throttled_events"]) == ({"device-1": 31}, [0, 1])
    assert form(sim, "/identify", {"user_id": "user-3"}).body["throttled_users"] == {"user-3": 31}
    assert sim.check("POST", "/batch", JSON, b"{").body["eps_threshold"] == 1000
    assert sim.check("POST", "/2/httpapi", JSON, b'{"events": 7}').status == 429


def test_500_after_store_and_a_retry(sim: AmplitudeSimulator) -> None:
    """After a 500 that had stored, a retry with the same insert id stores nothing twice."""
    sim.fail(500, after_store=True)
    event = EVENT | {"insert_id": "m-1"}
    assert [send(sim, event).status, send(sim, event).status] == [500, 200]
    assert (len(sim.events), sim.duplicates) == (1, 1)


def test_served_over_http() -> None:
    """Over TCP the same code answers; what was stored is there over HTTP too, keys masked."""
    sim = AmplitudeSimulator(api_keys=["hidden-key"], secret_key="hidden-secret")
    with sim.serve() as url, httpx.Client(base_url=url) as client:
        sent = {"api_key": "hidden-key", "events": [EVENT]}
        assert client.post("/2/httpapi", json=sent).json()["events_ingested"] == 1
        fields = {
            "api_key": "hidden-key",
            "identification": '{"user_id":"user-1","user_properties":{"a":"ä&b"}}',
        }
        assert client.post("/identify", data=fields).text == "success"
        gone = client.post(USERS, auth=("hidden-key", "hidden-secret"), json={"user_ids": ["user-1"]})
        assert gone.json()[0]["status"] == "staging"
        state, ledger = client.get("/_turnout/state"), client.get("/_turnout/ledger")
    assert state.json() == json.loads(json.dumps(sim.state()))
    assert state.json()["users"][0]["user_properties"] == {"a": "ä&b"}
    assert [entry["status"] for entry in ledger.json()] == [200, 200, 200]
    assert "hidden" not in ledger.text


def test_reset(sim: AmplitudeSimulator) -> None:
    """A reset forgets everything, what counts for deduplication included."""
    event = EVENT | {"insert_id": "m-1", "foo": 1}
    send(sim, event)
    sim.check("POST", "/_turnout/reset")
    assert (sim.events, sim.users, sim.ledger, sim.unknown_keys) == ([], [], [], set())
    send(sim, event)
    assert len(sim.events) == 1


# Hostile input: whatever comes, no 500 that was not asked for

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
ANYTHING = st.recursive(
    SCALARS | st.just(10**400),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
OPERATORS = (
    "$set",
    "$setOnce",
    "$add",
    "$append",
    "$prepend",
    "$preInsert",
    "$postInsert",
    "$remove",
    "$unset",
)
PROPERTIES = ANYTHING | st.dictionaries(st.sampled_from((*OPERATORS, "$clearAll", "a")), ANYTHING)
KEYS = """
user_id device_id event_type time event_properties user_properties groups group_properties price
quantity revenue location_lat language ip insert_id session_id event_id plan
$skip_user_properties_sync group_type group_value global_user_id unmap paying unknown
"""
ITEMS = st.fixed_dictionaries(
    {},
    optional={key: PROPERTIES if key.endswith("properties") else ANYTHING for key in KEYS.split()}
    | {
        "user_id": ANYTHING | st.just("user-1"),
        "event_type": st.sampled_from(["A", "$identify", "$groupidentify"]),
    },
)
PATHS = ("/2/httpapi", "/batch", "/identify", "/groupidentify", "/usermap", USERS)
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def fresh() -> list[AmplitudeSimulator]:
    return [AmplitudeSimulator(), AmplitudeSimulator(strict=False, index_mode="first", rate_limits=True)]


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def assert_unharmed(sim: AmplitudeSimulator, answer: Answer) -> None:
    assert answer.status in (200, 400, 401, 403, 413, 414)
    answer.encoded()
    for path in ("state", "ledger"):
        json.loads(sim.check("GET", f"/_turnout/{path}").encoded()[1], parse_constant=no_constant)


@RELAXED
@given(st.lists(ITEMS | ANYTHING, max_size=3) | ANYTHING, st.sampled_from(["/2/httpapi", "/batch"]), ANYTHING)
def test_no_event_breaks_it(events: Any, path: str, options: Any) -> None:
    """Any JSON as events is answered, and state and ledger stay readable."""
    for sim in fresh():
        for _ in range(2):
            body = json.dumps({"api_key": "k", "events": events, "options": options})
            assert_unharmed(sim, sim.check("POST", path, JSON, body.encode()))


@RELAXED
@given(st.lists(ITEMS | ANYTHING, max_size=3) | ITEMS, st.sampled_from(PATHS[2:5]), st.text())
def test_no_identification_breaks_it(items: Any, path: str, options: str) -> None:
    """Any JSON as identification or mapping is answered, and state and ledger stay readable."""
    for sim in fresh():
        assert_unharmed(sim, form(sim, path, items, options=options.encode("utf-8", "replace").decode()))


TYPED = st.fixed_dictionaries(
    {"user_id": st.sampled_from(["user-1", "user-2"]), "event_type": st.sampled_from(["A", "$identify"])},
    optional={
        "device_id": st.sampled_from(["device-1", "device-2"]),
        "insert_id": st.text(),
        "user_properties": st.dictionaries(st.sampled_from((*OPERATORS, "$clearAll", "a")), ANYTHING),
        "groups": st.dictionaries(st.text(), st.text() | st.lists(st.integers(-9, 9))),
        "price": st.floats(allow_nan=False, allow_infinity=False),
        "quantity": st.integers(-(2**63), 2**63 - 1),
        "language": st.text(),
    },
)


@RELAXED
@given(st.lists(TYPED, min_size=1, max_size=4))
def test_no_accepted_event_breaks_the_store(events: list[dict[str, Any]]) -> None:
    """Events that pass the checks, with any operands, leave a state that is JSON."""
    sim = AmplitudeSimulator(strict=False)
    for event in events:
        assert_unharmed(sim, send(sim, event))
        assert_unharmed(sim, form(sim, "/identify", event))
    assert len(sim.users) <= 2


@RELAXED
@given(ANYTHING | st.fixed_dictionaries({}, optional=dict.fromkeys(["user_ids", "requester"], ANYTHING)))
def test_no_deletion_breaks_it(body: Any) -> None:
    """Any JSON as a deletion is answered."""
    for sim in fresh():
        assert_unharmed(sim, sim.check("POST", USERS, basic() | JSON, json.dumps(body).encode()))


@RELAXED
@given(
    st.sampled_from(["GET", "POST", "DELETE"]),
    st.sampled_from(PATHS),
    st.binary(max_size=80),
    st.sampled_from([JSON, FORM, {}, {"content-type": "multipart/form-data; boundary=x"}, {"content-type": "\xff"}]),
    st.text(alphabet=st.characters(max_codepoint=255), max_size=30),
)
def test_no_bytes_break_it(method: str, path: str, body: bytes, headers: dict[str, str], noise: str) -> None:
    """Any bytes, under any content type, query and authorization, are answered."""
    for sim in fresh():
        answer = sim.check(method, f"{path}?{noise}", headers | {"authorization": f"Basic {noise}"}, body)
        assert answer.status in (200, 400, 401, 403, 405)
        sim.check("GET", "/_turnout/ledger").encoded()


@pytest.mark.parametrize("key", ["user_id", "event_type", "time", "groups", "event_properties", "foo", "plan"])
@pytest.mark.parametrize("layers", [45, 199, 250, 5000])
def test_nesting_anywhere(sim: AmplitudeSimulator, key: str, layers: int) -> None:
    """Deep nesting at any key is answered, and never exhausts the stack."""
    deep = '{"a":' * layers + "1" + "}" * layers
    body = f'{{"api_key":"k","events":[{{"user_id":"user-1","event_type":"A","{key}":{deep}}}]}}'
    assert_unharmed(sim, sim.check("POST", "/2/httpapi", JSON, body.encode()))
    identification = urlencode({"api_key": "k", "identification": f'{{"user_id":"user-1","{key}":{deep}}}'})
    assert_unharmed(sim, sim.check("POST", "/identify", FORM, identification.encode()))

"""The Segment simulator answers as Segment's API is documented to: nearly always 200, whatever it drops."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout.testing import Answer
from turnout_segment.simulator import SegmentSimulator

NOON = datetime(2026, 5, 6, 12, 0, 0, tzinfo=UTC)
BASIC = {"authorization": "Basic d2stOTE6"}  # wk-91:
OK = (200, {"success": True})


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sim(clock: Clock) -> SegmentSimulator:
    return SegmentSimulator(write_keys=["wk-91"], clock=clock)


def post(sim: SegmentSimulator, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = sim.check(
        "POST", path, {**BASIC, **{name.replace("_", "-"): text for name, text in headers.items()}}, data
    )
    return answer.status, answer.body


def message(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Tide Turned", "userId": f"u-{number}", "messageId": f"m-{number}", **more}


def codes(sim: SegmentSimulator) -> list[str]:
    return [one["code"] for one in sim.discarded]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *((f"/v1/{name}", name) for name in ("identify", "track", "page", "screen", "alias")),
        *(("/v1/i", "identify"), ("/v1/t", "track"), ("/v1/p", "page"), ("/v1/s", "screen"), ("/v1/a", "alias")),
    ],
)
def test_single_calls(sim: SegmentSimulator, path: str, kind: str) -> None:
    """The path says the type, long and short, also over what the body says."""
    assert post(sim, path, message(type="group", previousId="v-1"), content_type="text/plain") == OK
    assert [one["type"] for one in sim.events] == [kind]


@pytest.mark.parametrize("path", ["/v1/group", "/v1/g"])
def test_group_calls(sim: SegmentSimulator, path: str) -> None:
    """They need a group."""
    assert post(sim, path, message(1, groupId="g-1")) == OK
    assert post(sim, path, message(2)) == OK
    assert ([one["messageId"] for one in sim.events], codes(sim)) == (["m-1"], ["id_required"])


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/import", "/v1/b"])
def test_batches(sim: SegmentSimulator, path: str) -> None:
    """What the root says goes to each message; what a message says itself wins."""
    body = {
        "batch": [message(1, context={"ip": "192.0.2.1"}, integrations={"A": False}), message(2)],
        "context": {"ip": "192.0.2.2", "app": {"name": "Tides"}},
        "integrations": {"A": True, "B": False},
        "sentAt": "2026-05-06T11:59:30.000Z",
        "timestamp": "2026-05-06T11:59:00.000Z",
    }
    assert post(sim, path, body) == OK
    first, second = sim.events
    assert first["context"] == {"ip": "192.0.2.1", "app": {"name": "Tides"}}
    assert second["context"] == {"ip": "192.0.2.2", "app": {"name": "Tides"}}
    assert (first["integrations"], second["integrations"]) == ({"A": False, "B": False}, {"A": True, "B": False})
    assert {one["timestamp"] for one in sim.events} == {"2026-05-06T11:59:30.000Z"}


def test_nothing_is_answered_to_metrics(sim: SegmentSimulator) -> None:
    """Browsers send them; nothing is kept."""
    assert post(sim, "/v1/m", {"series": []}) == OK
    assert sim.state() == {"events": [], "discarded": [], "duplicates": 0}


@pytest.mark.parametrize(
    ("headers", "more", "kept"),
    [
        (BASIC, {}, True),
        ({"authorization": "Basic d2stOTE="}, {}, False),
        ({}, {"writeKey": "wk-91"}, True),
        ({"authorization": "Bearer token-5"}, {"writeKey": "wk-91"}, True),
        ({}, {}, False),
        ({}, {"writeKey": "wk-92"}, False),
        ({"authorization": "Basic d2stOTI6"}, {}, False),
    ],
)
def test_ways_to_say_the_key(sim: SegmentSimulator, headers: dict[str, str], more: dict[str, str], kept: bool) -> None:
    """Basic, in the body, and bearer with the key in the body; under any other key 200 is answered as well."""
    answer = sim.check("POST", "/v1/batch", headers, json.dumps({"batch": [message()], **more}).encode())
    assert (answer.status, answer.body) == OK
    assert (len(sim.events), codes(sim)) == ((1, []) if kept else (0, ["unknown_source"]))


def test_a_key_of_the_message_itself(sim: SegmentSimulator) -> None:
    """analytics.js writes it into every message; it is not kept."""
    sim.check("POST", "/v1/b", {}, json.dumps({"batch": [message(1, writeKey="wk-91"), message(2)]}).encode())
    assert (sim.events[0]["messageId"], "writeKey" in sim.events[0], codes(sim)) == ("m-1", False, ["unknown_source"])
    assert "wk-91" not in json.dumps(sim.state())


def test_gzip(sim: SegmentSimulator) -> None:
    """Bodies may be compressed; a broken one is a bad request."""
    packed = gzip.compress(json.dumps({"batch": [message()]}).encode())
    assert post(sim, "/v1/batch", packed, content_encoding="gzip") == OK
    assert post(sim, "/v1/batch", packed[:-4], content_encoding="gzip") == (400, "Bad Request")
    assert post(sim, "/v1/batch", packed) == (400, "Bad Request")
    assert len(sim.events) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"batch":[, ,]}', b'{"batch":[NaN]}', b"\xff"])
def test_what_is_not_json(sim: SegmentSimulator, body: bytes) -> None:
    """That, and what is too large, is all that Segment refuses."""
    assert post(sim, "/v1/batch", body) == (400, "Bad Request")
    assert post(sim, "/v1/track", body) == (400, "Bad Request")


def sized(size: int) -> bytes:
    empty = json.dumps(message(tide="")).encode()
    return empty[:-2] + b"x" * (size - len(empty)) + b'"}'


def test_sizes(sim: SegmentSimulator) -> None:
    """32,768 bytes an event, 500,000 a batch, to the byte; and 2,500 events: what is more is dropped."""
    assert post(sim, "/v1/track", sized(32_768)) == OK
    assert post(sim, "/v1/track", sized(32_769)) == (400, "Exceed payload limit")
    assert post(sim, "/v1/batch", b'{"batch":[%b]}' % sized(32_768)) == OK
    assert post(sim, "/v1/batch", b'{"batch":[%b]}' % sized(32_769)) == (400, "Exceed payload limit")
    body = b'{"batch":[%b]}' % b",".join([sized(30_000)] * 16)
    assert post(sim, "/v1/batch", body + b" " * (500_000 - len(body))) == OK
    assert post(sim, "/v1/batch", body + b" " * (500_001 - len(body))) == (400, "Bad Request")
    sim.reset()
    assert post(sim, "/v1/batch", {"batch": [message(number) for number in range(2502)]}) == OK
    assert (len(sim.events), codes(sim)) == (2500, ["batch_too_long"] * 2)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"userId": None}, "no_user_anon_id"),
        ({"userId": ""}, "no_user_anon_id"),
        ({"userId": 5}, "id_not_string"),
        ({"anonymousId": ["a"]}, "id_not_string"),
        ({"event": None}, "event_not_defined"),
        ({"event": ""}, "event_not_defined"),
        ({"event": 5}, "event_not_string"),
        ({"properties": []}, "properties_not_object"),
        ({"traits": "t"}, "traits_not_object"),
        ({"context": 1}, "bad_request"),
        ({"integrations": []}, "bad_request"),
        ({"context": {"device": {"advertisingId": 7}}}, "device_advertisingid_should_be_string"),
        ({"messageId": "m" * 101}, "message_id_too_long"),
        ({"messageId": 5}, "bad_request"),
        ({"type": "page", "name": ""}, "name_not_string"),
        ({"type": "page", "name": 5}, "name_not_string"),
        ({"type": "screen", "category": []}, "category_not_string"),
        ({"type": "alias", "userId": None, "anonymousId": "a"}, "id_required"),
        ({"type": "delete"}, "bad_request"),
        ({"type": None}, "bad_request"),
    ],
)
def test_what_is_dropped_without_a_word(sim: SegmentSimulator, more: dict[str, Any], code: str) -> None:
    """The answer is 200; a good message beside it is kept."""
    body = {"batch": [message(1), message(2, **more)]}
    assert post(sim, "/v1/batch", body) == OK
    assert (codes(sim), [one["messageId"] for one in sim.events]) == ([code], ["m-1"])


@pytest.mark.parametrize(
    ("body", "code"), [({"batch": []}, "empty_batch"), ({}, "bad_request"), ({"batch": 5}, "bad_request")]
)
def test_batches_without_messages(sim: SegmentSimulator, body: dict[str, Any], code: str) -> None:
    """200 as well."""
    assert post(sim, "/v1/batch", body) == OK
    assert (codes(sim), sim.events) == ([code], [])


def test_items_that_are_no_messages(sim: SegmentSimulator) -> None:
    """They are dropped one by one."""
    assert post(sim, "/v1/batch", {"batch": [None, 5, "m", [], message(), {}]}) == OK
    assert (codes(sim), len(sim.events)) == (["bad_request"] * 5, 1)


@pytest.mark.parametrize(
    ("stamps", "timestamp", "original"),
    [
        ({}, "2026-05-06T12:00:00.000Z", "2026-05-06T12:00:00.000Z"),
        ({"timestamp": "2026-05-01T00:00:00.000Z"}, "2026-05-01T00:00:00.000Z", "2026-05-01T00:00:00.000Z"),
        (
            {"timestamp": "2026-05-01T00:00:00+02:00", "sentAt": "2026-05-01T00:01:00.500+02:00"},
            "2026-05-06T11:58:59.500Z",
            "2026-04-30T22:00:00.000Z",
        ),
        (
            {"timestamp": "2026-05-01", "originalTimestamp": "2020-01-01"},
            "2026-05-01T00:00:00.000Z",
            "2026-05-01T00:00:00.000Z",
        ),
        ({"timestamp": "noon", "sentAt": 5}, "2026-05-06T12:00:00.000Z", "2026-05-06T12:00:00.000Z"),
        ({"timestamp": "9999-01-01", "sentAt": "0001-01-01"}, "2026-05-06T12:00:00.000Z", "9999-01-01T00:00:00.000Z"),
        ({"receivedAt": "2020-01-01"}, "2026-05-06T12:00:00.000Z", "2026-05-06T12:00:00.000Z"),
    ],
)
def test_times(sim: SegmentSimulator, stamps: dict[str, Any], timestamp: str, original: str) -> None:
    """timestamp = receivedAt - (sentAt - originalTimestamp); the payload's `timestamp` is the original one."""
    assert post(sim, "/v1/track", message(**stamps)) == OK
    [kept] = sim.events
    assert (kept["timestamp"], kept["originalTimestamp"]) == (timestamp, original)
    assert kept["receivedAt"] == "2026-05-06T12:00:00.000Z"


def test_copies(sim: SegmentSimulator, clock: Clock) -> None:
    """A message id counts once in 24 hours; a message without one gets one, and is new each time."""
    for hours in (0, 23, 2):
        clock.now += timedelta(hours=hours)
        assert post(sim, "/v1/track", message()) == OK
    assert (len(sim.events), sim.duplicates) == (2, 1)
    bare = {key: value for key, value in message().items() if key != "messageId"}
    assert [post(sim, "/v1/track", bare) for _ in range(2)] == [OK, OK]
    assert len({one["messageId"] for one in sim.events}) == 3


def test_suppressed_users(clock: Clock) -> None:
    """Their messages are dropped, with 200."""
    sim = SegmentSimulator(suppressed=["u-2"], clock=clock)
    assert post(sim, "/v1/batch", {"batch": [message(1), message(2)]}) == OK
    assert (codes(sim), [one["userId"] for one in sim.events]) == (["suppressed"], ["u-1"])


@pytest.mark.parametrize(
    ("limited", "headers"),
    [
        ("both", {"retry-after": "1", "x-ratelimit-reset": "1"}),
        ("retry-after", {"retry-after": "1"}),
        ("x-ratelimit-reset", {"x-ratelimit-reset": "1"}),
    ],
)
def test_the_rate(clock: Clock, limited: Any, headers: dict[str, str]) -> None:
    """More requests in a second than allowed get 429; the next second is a new one."""
    sim = SegmentSimulator(requests_per_second=2, limited=limited, clock=clock)
    answers = [sim.check("POST", "/v1/track", BASIC, json.dumps(message(number)).encode()) for number in range(3)]
    assert [one.status for one in answers] == [200, 200, 429]
    assert answers[-1] == Answer(429, "Too Many Requests", headers)
    clock.now += timedelta(seconds=1)
    assert post(sim, "/v1/track", message(4)) == OK
    assert len(sim.events) == 3


@pytest.mark.parametrize(
    ("region", "host", "status"),
    [
        ("US", "api.segment.io", 200),
        ("US", "events.eu1.segmentapis.com", 403),
        ("EU", "api.segment.io", 403),
        ("EU", "events.eu1.segmentapis.com", 200),
        ("EU", "127.0.0.1:8099", 200),
        (None, "api.segment.io", 200),
    ],
)
def test_regions(region: Any, host: str, status: int) -> None:
    """The other region's host refuses; a simulator at another address asks nothing."""
    assert post(SegmentSimulator(region=region), "/v1/track", message(), host=host)[0] == status


def test_paths_and_faults(sim: SegmentSimulator) -> None:
    """Errors are plain text."""
    assert (sim.check("POST", "/v2/batch").status, sim.check("GET", "/v1/batch").status) == (404, 405)
    sim.fail(503)
    assert post(sim, "/v1/track", message()) == (503, "Service Unavailable")
    sim.fail(500, after_store=True)
    assert post(sim, "/v1/track", message()) == (500, "Internal Server Error")
    assert (len(sim.events), sim.ledger[-1].effect) == (1, {"events": 1})


def test_it_is_served_and_reset() -> None:
    """`turnout simulate segment` finds it; a reset forgets everything, also the ids."""
    import httpx

    from turnout.plugins import SIMULATORS, load

    sim = load(SIMULATORS, "segment")()
    with sim.serve() as url:
        for _ in range(2):
            assert httpx.post(f"{url}/v1/track", json=message(), headers=BASIC).json() == {"success": True}
            assert httpx.get(f"{url}/_turnout/state").json()["events"][0]["messageId"] == "m-1"
            assert httpx.post(f"{url}/_turnout/reset").status_code == 200
            assert sim.state() == {"events": [], "discarded": [], "duplicates": 0}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    ["type", "userId", "anonymousId", "event", "messageId", "context", "integrations", "properties", "traits", "name",
     "timestamp", "sentAt", "writeKey", "groupId", "batch"]
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(st.dictionaries(keys, json_values) | json_values, max_size=4), st.dictionaries(keys, json_values))
def test_no_batch_breaks_it(items: list[Any], root: dict[str, Any]) -> None:
    """Whatever JSON comes is answered 200, and each message is kept, a copy, or dropped with a code."""
    sim = SegmentSimulator()
    assert post(sim, "/v1/batch", {**root, "batch": items}) == OK
    assert len(sim.events) + len(sim.discarded) + sim.duplicates == max(1, len(items))


@settings(max_examples=100)
@given(st.binary(max_size=60), st.sampled_from(["/v1/batch", "/v1/t"]), st.sampled_from(["gzip", "br", "identity"]))
def test_no_bytes_break_it(body: bytes, path: str, packing: str) -> None:
    """Whatever bytes come are answered."""
    assert post(SegmentSimulator(), path, body, content_encoding=packing)[0] in (200, 400)

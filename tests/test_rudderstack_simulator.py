"""The RudderStack simulator answers as the server's code does, in plain text and in the order of its checks."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout_rudderstack.simulator import RudderStackSimulator

NOON = datetime(2026, 5, 6, 12, 0, 0, tzinfo=UTC)
BASIC = {"authorization": "Basic d2stOTE6"}  # wk-91:
OFF = {"authorization": "Basic d2stOTI6"}  # wk-92:
OK = (200, "OK")
NO_KEY = (401, "failed to read writekey from header")
NO_IDS = (400, "request neither has anonymousId nor userId")


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
def sim(clock: Clock) -> RudderStackSimulator:
    return RudderStackSimulator(write_keys=["wk-91"], disabled=["wk-92"], suppressed=["u-gone"], clock=clock)


def post(sim: RudderStackSimulator, path: str, body: Any, headers: dict[str, str] = BASIC) -> tuple[int, Any]:
    answer = sim.check("POST", path, headers, body if isinstance(body, bytes) else json.dumps(body).encode())
    return answer.status, answer.body


def message(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Tide Turned", "userId": f"u-{number}", "messageId": f"m-{number}", **more}


@pytest.mark.parametrize("kind", ["identify", "track", "page", "screen", "group", "alias", "merge"])
def test_single_calls(sim: RudderStackSimulator, kind: str) -> None:
    """The path says the type, whatever the body says; what else it says is not looked at."""
    assert post(sim, f"/v1/{kind}", message(type="other", event=5, properties=[])) == OK
    assert [one["type"] for one in sim.events] == [kind]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/import"])
def test_batches(sim: RudderStackSimulator, path: str) -> None:
    """Only `batch` is read: what else the root says is lost."""
    body = {"batch": [message(1), message(2)], "context": {"ip": "192.0.2.2"}, "sentAt": "2026-05-06T11:00:00.000Z"}
    assert post(sim, path, body) == OK
    assert [one["messageId"] for one in sim.events] == ["m-1", "m-2"]
    assert "context" not in sim.events[0]
    assert sim.events[0]["sentAt"] == "2026-05-06T12:00:00.000Z"


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({}, NO_KEY),
        ({"authorization": "Bearer wk-91"}, NO_KEY),
        ({"authorization": "Basic d2stOTE="}, NO_KEY),
        ({"authorization": "Basic Og=="}, NO_KEY),
        ({"authorization": "Basic d2stOTM6"}, (401, "invalid write key")),
        (OFF, (404, "source is disabled")),
    ],
)
def test_keys(sim: RudderStackSimulator, headers: dict[str, str], answer: tuple[int, str]) -> None:
    """Basic authentication only; it is looked at first, before a body that is no JSON."""
    assert post(sim, "/v1/batch", b"{", headers) == answer
    assert post(sim, "/v1/batch", {"batch": [message()], "writeKey": "wk-91"}, headers) == answer
    assert sim.events == []


def test_any_key_where_none_is_named() -> None:
    """By default every key is a source's."""
    assert post(RudderStackSimulator(), "/v1/track", message(), OFF) == OK


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("/v1/batch", b"", (400, "request body is nil")),
        ("/v1/batch", b"{", (400, "invalid json")),
        ("/v1/batch", b"[]", (400, "invalid json")),
        ("/v1/batch", b"{}", (400, "empty batch payload")),
        ("/v1/batch", b'{"batch":[]}', (400, "empty batch payload")),
        ("/v1/batch", b'{"batch":5}', (400, "empty batch payload")),
        ("/v1/batch", b'{"batch":[5]}', (400, "event is not a valid rudder event")),
        ("/v1/track", b"", (400, "request body is nil")),
        ("/v1/track", b"[]", (400, "invalid json")),
        ("/v1/track", b'{"event":"e"}', NO_IDS),
    ],
)
def test_bad_requests(sim: RudderStackSimulator, path: str, body: bytes, answer: tuple[int, str]) -> None:
    """In the server's words."""
    assert post(sim, path, body) == answer


@pytest.mark.parametrize(
    "ids",
    [{}, {"userId": None}, {"userId": ""}, {"userId": " \t\u00a0"}, {"userId": {}, "anonymousId": []}],
)
def test_one_event_without_ids_fails_its_batch(sim: RudderStackSimulator, ids: dict[str, Any]) -> None:
    """Nothing of the batch is stored."""
    bad = {"type": "track", "event": "e", "messageId": "m-0", **ids}
    assert post(sim, "/v1/batch", {"batch": [message(1), bad, message(2)]}) == NO_IDS
    assert sim.events == []


def test_ids_are_texts_without_blanks(sim: RudderStackSimulator) -> None:
    """Numbers are taken, unlike at Segment; either id is enough."""
    assert post(sim, "/v1/batch", {"batch": [message(1, userId=5, anonymousId=" a ")]}) == OK
    [kept] = sim.events
    assert (kept["userId"], kept["anonymousId"]) == ("5", "a")
    assert post(sim, "/v1/track", message(2, userId=" ", anonymousId="b")) == OK


def test_what_is_added(sim: RudderStackSimulator) -> None:
    """A message id where there is none, the sender's address, an id of both ids, and the arrival."""
    bare = {"event": "e", "userId": "u-7", "anonymousId": "a-8"}
    assert post(sim, "/v1/batch", {"batch": [bare, {**bare, "messageId": "  "}, {**bare, "messageId": " m-9 "}]}) == OK
    first, second, third = sim.events
    assert len({first["messageId"], second["messageId"], "m-9"}) == 3
    assert third["messageId"] == "m-9"
    assert first["rudderId"] == second["rudderId"] == "4f20f3be-3093-4ca1-e6ce-df8c3a5c84b2"
    assert (first["request_ip"], first["receivedAt"]) == ("127.0.0.1", "2026-05-06T12:00:00.000Z")
    assert post(sim, "/v1/track", {**bare, "request_ip": "192.0.2.9", "userId": "u-8"}) == OK
    assert sim.events[-1]["request_ip"] == "192.0.2.9"
    assert sim.events[-1]["rudderId"] != first["rudderId"]


@pytest.mark.parametrize(
    ("stamps", "timestamp"),
    [
        ({}, "2026-05-06T12:00:00.000Z"),
        ({"timestamp": "2026-05-01T02:00:00+02:00", "sentAt": "2026-05-02"}, "2026-05-01T00:00:00.000Z"),
        (
            {"originalTimestamp": "2026-05-01T00:00:00Z", "sentAt": "2026-05-01T00:00:30.500Z"},
            "2026-05-06T11:59:29.500Z",
        ),
        ({"timestamp": "noon", "originalTimestamp": "2026-05-06T11:00:00Z"}, "2026-05-06T11:00:00.000Z"),
        ({"receivedAt": "2026-05-03T00:00:00Z"}, "2026-05-03T00:00:00.000Z"),
        ({"originalTimestamp": "9999-01-01", "sentAt": "0001-01-01"}, "2026-05-06T12:00:00.000Z"),
    ],
)
def test_times(sim: RudderStackSimulator, stamps: dict[str, str], timestamp: str) -> None:
    """A timestamp that can be read stays; else it is made of the others, and each that is missing is the arrival."""
    assert post(sim, "/v1/track", message(**stamps)) == OK
    [kept] = sim.events
    assert kept["timestamp"] == timestamp
    assert {"originalTimestamp", "sentAt", "receivedAt"} <= kept.keys()


def test_gzip(sim: RudderStackSimulator) -> None:
    """Bodies may be compressed; one that can't be read is the server's trouble, it says."""
    packed = gzip.compress(json.dumps({"batch": [message()]}).encode())
    assert post(sim, "/v1/batch", packed, {**BASIC, "content-encoding": "gzip"}) == OK
    assert post(sim, "/v1/batch", packed[:-4], {**BASIC, "content-encoding": "gzip"}) == (
        500,
        "failed to read body from request",
    )
    assert post(sim, "/v1/batch", packed) == (400, "invalid json")
    assert len(sim.events) == 1


def test_sizes(sim: RudderStackSimulator) -> None:
    """4,096,000 bytes, unpacked, to the byte; there is no limit for an event."""
    body = json.dumps({"batch": [message(note="x" * 50_000)]}).encode()
    assert post(sim, "/v1/batch", body + b" " * (4_096_000 - len(body))) == OK
    large = body + b" " * (4_096_001 - len(body))
    assert post(sim, "/v1/batch", large) == (413, "request size exceeds max limit")
    packed = {**BASIC, "content-encoding": "gzip"}
    assert post(sim, "/v1/batch", gzip.compress(large), packed) == (413, "request size exceeds max limit")
    assert len(sim.events) == 1


def test_checks_come_in_the_servers_order() -> None:
    """Ids before the rate, the rate before the size."""
    sim = RudderStackSimulator(events_per_second=1)
    large = [message(1, note="x" * 4_096_000), message(2)]
    assert post(sim, "/v1/batch", {"batch": [*large, {}]}) == NO_IDS
    assert post(sim, "/v1/batch", {"batch": large}) == (429, "max requests limit reached")
    assert post(sim, "/v1/batch", {"batch": large[:1]}) == (413, "request size exceeds max limit")


def test_the_rate(clock: Clock) -> None:
    """The whole request is dropped; the next second is a new one."""
    sim = RudderStackSimulator(events_per_second=3, clock=clock)
    pairs = [{"batch": [message(number), message(number + 1)]} for number in (1, 3, 5)]
    assert [post(sim, "/v1/batch", pair)[0] for pair in pairs[:2]] == [200, 429]
    clock.now += timedelta(seconds=1)
    assert post(sim, "/v1/batch", pairs[2]) == OK
    assert [one["messageId"] for one in sim.events] == ["m-1", "m-2", "m-5", "m-6"]


def test_suppressed_users(sim: RudderStackSimulator) -> None:
    """Their events are dropped, and the answer is 200."""
    assert post(sim, "/v1/batch", {"batch": [message(1), message(2, userId="u-gone")]}) == OK
    assert ([one["messageId"] for one in sim.events], [one["messageId"] for one in sim.dropped]) == (["m-1"], ["m-2"])
    assert sim.ledger[-1].effect == {"events": 1}


@pytest.mark.parametrize(("deduplicates", "kept"), [(False, 3), (True, 2)])
def test_copies(clock: Clock, deduplicates: bool, kept: int) -> None:
    """Where the deployment deduplicates, a message id counts once in an hour."""
    sim = RudderStackSimulator(deduplicates=deduplicates, clock=clock)
    for minutes in (0, 59, 2):
        clock.now += timedelta(minutes=minutes)
        assert post(sim, "/v1/track", message()) == OK
    assert (len(sim.events), sim.duplicates) == (kept, 3 - kept)


def test_paths_and_faults(sim: RudderStackSimulator) -> None:
    """Errors are plain text; the server says that it is well."""
    assert sim.check("GET", "/v1/batch").body == "invalid http request method"
    assert (sim.check("POST", "/v2/batch").status, sim.check("POST", "/v2/batch").body) == (404, "404 page not found")
    assert (sim.check("GET", "/health").status, sim.check("GET", "/version").status) == (200, 200)
    sim.fail(504)
    assert post(sim, "/v1/track", message()) == (504, "gateway timeout")
    sim.fail(500, after_store=True)
    assert post(sim, "/v1/track", message()) == (500, "failed to read body from request")
    assert (len(sim.events), sim.ledger[-1].effect) == (1, {"events": 1})


def test_it_is_served_and_reset() -> None:
    """`turnout simulate rudderstack` finds it; a reset forgets everything."""
    import httpx

    from turnout.plugins import SIMULATORS, load

    sim = load(SIMULATORS, "rudderstack")()
    with sim.serve() as url:
        assert httpx.post(f"{url}/v1/track", json=message(), headers=BASIC).text == "OK"
        assert httpx.get(f"{url}/_turnout/state").json()["events"][0]["messageId"] == "m-1"
        assert httpx.post(f"{url}/_turnout/reset").status_code == 200
    assert sim.state() == {"events": [], "dropped": [], "duplicates": 0}


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
    ["type", "userId", "anonymousId", "messageId", "timestamp", "originalTimestamp", "sentAt", "receivedAt",
     "request_ip", "batch"]
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(st.dictionaries(keys, json_values), max_size=4), st.dictionaries(keys, json_values))
def test_no_batch_breaks_it(items: list[Any], root: dict[str, Any]) -> None:
    """Whatever JSON comes is answered: all of a batch is stored, or nothing of it."""
    sim = RudderStackSimulator(deduplicates=True)
    status, _ = post(sim, "/v1/batch", {**root, "batch": items})
    assert len(sim.events) + sim.duplicates == (len(items) if status == 200 else 0)
    assert status in (200, 400)


@settings(max_examples=100)
@given(st.binary(max_size=60), st.sampled_from(["/v1/batch", "/v1/track"]), st.sampled_from(["gzip", "br", "identity"]))
def test_no_bytes_break_it(body: bytes, path: str, packing: str) -> None:
    """Whatever bytes come are answered."""
    assert post(RudderStackSimulator(), path, body, {**BASIC, "content-encoding": packing})[0] in (200, 400, 500)

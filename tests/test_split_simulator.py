"""The simulator of Split: what its pages say of the Events API and of segments, and what it assumes beside that."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from turnout.testing import Answer
from turnout_split.simulator import SplitSimulator

ADMIN = "/internal/api/v2"
GOOD = {
    "key": "u-1",
    "eventTypeId": "Bought",
    "trafficTypeName": "user",
    "environmentName": "Prod",
    "timestamp": 10**12,
}


def split(**options: Any) -> SplitSimulator:
    known: dict[str, Any] = {
        "sdk_keys": {"sdk-1": "Prod", "sdk-2": "Test"},
        "admin_keys": ["admin-1"],
        "environments": {"Prod": "env-1", "Test": "env-2"},
        "traffic_types": {"user": "tt-1", "account": "tt-2"},
        "workspaces": {"ws-1": "Shop"},
    }
    return SplitSimulator(**(known | options))


def post(simulator: SplitSimulator, value: Any, key: str = "sdk-1", path: str = "/api/events/bulk") -> Answer:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return simulator.check("POST", path, headers, data)


def ask(simulator: SplitSimulator, method: str, path: str, value: Any = None, **headers: str) -> Answer:
    sent = headers or {"authorization": "Bearer admin-1"}
    return simulator.check(method, ADMIN + path, sent, b"" if value is None else json.dumps(value).encode())


def prepared(**options: Any) -> SplitSimulator:
    """Return a Split with the segment `buyers`, which is active in env-1."""
    simulator = split(**options)
    assert ask(simulator, "POST", "/segments/ws/ws-1/trafficTypes/tt-1", {"name": "buyers"}).status == 200
    assert ask(simulator, "POST", "/segments/env-1/buyers").status == 200
    return simulator


# Events


def test_events_are_taken_singly_and_in_bulk() -> None:
    """202 without a body; what is stored is what was sent."""
    simulator = split()
    for answer in (post(simulator, [GOOD, GOOD]), post(simulator, GOOD, path="/api/events")):
        assert (answer.status, answer.encoded()[1]) == (202, b"")
    assert simulator.events == [GOOD] * 3


def test_copies_count_again() -> None:
    """Split drops none."""
    simulator = split()
    post(simulator, [GOOD])
    post(simulator, [GOOD])
    assert len(simulator.events) == 2


@pytest.mark.parametrize("key", ["admin-1", "sdk-3", ""])
def test_only_sdk_keys_send_events(key: str) -> None:
    """An admin key doesn't."""
    assert post(split(), [GOOD], key).status == 401
    assert split().check("POST", "/api/events/bulk", {"content-type": "application/json"}, b"[]").status == 401


@pytest.mark.parametrize("key", ["sdk-1", "admin-2", ""])
def test_only_admin_keys_change_segments(key: str) -> None:
    """An SDK key doesn't, in either header."""
    for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
        assert ask(split(), "GET", "/workspaces", **headers).status == 401
    assert ask(split(), "GET", "/workspaces", **{"x-api-key": "admin-1"}).status == 200


def test_without_known_keys_any_key_that_is_not_of_the_other_kind_does() -> None:
    """So that it can be tried without any set-up."""
    assert post(SplitSimulator(), [GOOD], "anything").status == 202
    assert post(SplitSimulator(admin_keys=["a"]), [GOOD], "a").status == 401
    assert ask(SplitSimulator(sdk_keys={"s": "Prod"}), "GET", "/workspaces", authorization="Bearer s").status == 401
    assert ask(SplitSimulator(), "GET", "/workspaces", authorization="Basic x").status == 401


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"eventTypeId": None}, "eventTypeId must be a text"),
        ({"eventTypeId": "two words"}, "does not match the pattern"),
        ({"eventTypeId": "_x"}, "does not match the pattern"),
        ({"eventTypeId": "a:b"}, "does not match the pattern"),
        ({"eventTypeId": "x" * 64}, "does not match the pattern"),
        ({"trafficTypeName": ""}, "trafficTypeName must be a text"),
        ({"key": 7}, "key must be a text"),
        ({"value": "7"}, "value must be a number"),
        ({"value": True}, "value must be a number"),
        ({"timestamp": "2026"}, "timestamp must be a whole number"),
        ({"timestamp": 1.5}, "timestamp must be a whole number"),
        ({"properties": []}, "properties must be an object"),
    ],
)
def test_a_malformed_event_refuses_its_request(change: dict[str, Any], words: str) -> None:
    """400, and nothing of the request is stored."""
    simulator = split()
    answer = post(simulator, [GOOD, GOOD | change])
    assert (answer.status, words in answer.body["message"]) == (400, True)
    assert simulator.events == []


@pytest.mark.parametrize("data", [b"", b"[", b"{}", b"7", b"[7]", b"[null]"])
def test_a_body_that_is_no_list_of_events_is_refused(data: bytes) -> None:
    """400."""
    assert post(split(), data).status == 400


def test_a_body_without_its_content_type_is_refused() -> None:
    """400."""
    answer = split().check("POST", "/api/events/bulk", {"authorization": "Bearer sdk-1"}, b"[]")
    assert answer.status == 400


def test_event_types_may_be_read_as_the_sdks_do() -> None:
    """80 characters, and colons."""
    loose = split(strict=False)
    assert post(loose, [GOOD | {"eventTypeId": "a:" + "x" * 78}]).status == 202
    assert post(loose, [GOOD | {"eventTypeId": "a:" + "x" * 79}]).status == 400


def test_a_large_body_is_refused() -> None:
    """413 above 1,000,000 bytes."""
    simulator = split()
    empty = len(json.dumps([GOOD | {"properties": {"x": ""}}]))
    assert post(simulator, [GOOD | {"properties": {"x": "y" * (1_000_000 - empty)}}]).status == 202
    assert post(simulator, [GOOD | {"properties": {"x": "y" * (1_000_001 - empty)}}]).status == 413


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"environmentName": "Prd"}, "no environment 'Prd'"),
        ({"environmentName": "Test"}, "the key is not of the environment 'Test'"),
        ({"trafficTypeName": "User"}, "no traffic type 'User'"),
        ({"timestamp": 1_700_000_000}, "timestamp is not in milliseconds"),
        ({"key": "k" * 251}, "key has more than 250 characters"),
        ({"properties": {"x": "y" * 31_744}}, "properties have more than 32,768 bytes"),
    ],
)
def test_what_is_found_later_is_dropped_without_a_word(change: dict[str, Any], reason: str) -> None:
    """202 all the same; the others of the request are kept."""
    simulator = split()
    assert post(simulator, [GOOD | change, GOOD]).status == 202
    assert simulator.events == [GOOD]
    assert simulator.dropped == [{"event": GOOD | change, "reason": reason}]
    assert simulator.ledger[0].effect == {"events": 1, "dropped": 1}


def test_an_event_is_stored_as_split_reads_it() -> None:
    """300 properties at most, null for what is no scalar, and the time of receipt where there is none."""
    simulator = split(clock=lambda: datetime(2026, 1, 2, tzinfo=UTC))
    given = {key: value for key, value in GOOD.items() if key != "timestamp"}
    many = {f"p{number}": number for number in range(301)}
    post(simulator, [given | {"properties": {"a": [1], "b": {}, "c": None, "d": False}}, GOOD | {"properties": many}])
    first, second = simulator.events
    assert (first["timestamp"], first["properties"]) == (
        1_767_312_000_000,
        {"a": None, "b": None, "c": None, "d": False},
    )
    assert len(second["properties"]) == 300


# Segments


def test_a_segment_is_created_activated_and_filled() -> None:
    """The answers have the form of the Admin API."""
    simulator = split(clock=lambda: datetime(2026, 1, 2, tzinfo=UTC))
    made = ask(simulator, "POST", "/segments/ws/ws-1/trafficTypes/tt-2", {"name": "buyers", "description": "Who buys"})
    assert made.body == {
        "name": "buyers",
        "description": "Who buys",
        "trafficType": {"id": "tt-2", "name": "account"},
        "creationTime": 1_767_312_000_000,
        "tags": [],
    }
    assert ask(simulator, "POST", "/segments/env-1/buyers").body == made.body
    assert ask(simulator, "PUT", "/segments/env-1/buyers/uploadKeys?replace=false", {"keys": ["a", "b"]}).status == 200
    removed = ask(simulator, "PUT", "/segments/env-1/buyers/removeKeys", {"keys": ["b", "c"]}).body
    assert (removed["code"], removed["message"]) == (200, "Deleted 1 keys")
    assert simulator.keys("env-1", "buyers") == {"a"}
    assert simulator.state()["keys"] == {"env-1": {"buyers": ["a"]}}


def test_a_segment_that_is_there_is_409() -> None:
    """To be created, and to be activated."""
    simulator = prepared()
    assert ask(simulator, "POST", "/segments/ws/ws-1/trafficTypes/tt-1", {"name": "buyers"}).status == 409
    assert ask(simulator, "POST", "/segments/env-1/buyers").status == 409
    assert ask(simulator, "POST", "/segments/env-2/buyers").status == 200


@pytest.mark.parametrize("name", ["1st", "[x]", "two words", "", "_x", "x.y", "é", 7, None])
def test_a_segment_needs_a_name_of_splits(name: Any) -> None:
    """400 for others."""
    assert ask(split(), "POST", "/segments/ws/ws-1/trafficTypes/tt-1", {"name": name}).status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/segments/ws/ws-2/trafficTypes/tt-1"),
        ("POST", "/segments/ws/ws-1/trafficTypes/tt-3"),
        ("POST", "/segments/env-3/buyers"),
        ("POST", "/segments/env-1/sellers"),
        ("PUT", "/segments/env-2/buyers/uploadKeys"),
        ("PUT", "/segments/env-1/sellers/uploadKeys"),
        ("PUT", "/segments/env-2/buyers/removeKeys"),
        ("GET", "/segments/env-2/buyers/keys"),
        ("GET", "/segments/ws/ws-2"),
        ("GET", "/environments/ws/ws-2"),
        ("DELETE", "/segments/env-2/buyers"),
        ("DELETE", "/segments/ws/ws-1/sellers"),
        ("GET", "/nothing"),
    ],
)
def test_what_is_not_there_is_404(method: str, path: str) -> None:
    """A workspace, a traffic type, an environment, a segment, and one that is not active."""
    answer = ask(prepared(), method, path, {"name": "x", "keys": ["k"]})
    assert (answer.status, answer.body["code"]) == (404, 404)


def test_keys_are_added_or_put_in_place_of_others() -> None:
    """By `replace`; a second chunk with replace=true would leave itself alone."""
    simulator = prepared()
    ask(simulator, "PUT", "/segments/env-1/buyers/uploadKeys?replace=true", {"keys": ["a", "b"]})
    ask(simulator, "PUT", "/segments/env-1/buyers/uploadKeys", {"keys": ["b", "c"]})
    assert simulator.keys("env-1", "buyers") == {"a", "b", "c"}
    ask(simulator, "PUT", "/segments/env-1/buyers/upload?replace=true", ["d"])
    assert simulator.keys("env-1", "buyers") == {"d"}


def test_limits_of_keys_are_exact() -> None:
    """10,000 in a request, 100,000 in a segment; what is refused changes nothing."""
    simulator = prepared()
    path = "/segments/env-1/buyers/uploadKeys"
    for start in range(0, 90_000, 10_000):
        assert ask(simulator, "PUT", path, {"keys": [f"k{start + number}" for number in range(10_000)]}).status == 200
    assert ask(simulator, "PUT", path, {"keys": [f"l{number}" for number in range(10_001)]}).status == 400
    assert ask(simulator, "PUT", path, {"keys": [f"l{number}" for number in range(9_999)]}).status == 200
    refused = ask(simulator, "PUT", path, {"keys": ["m1", "m2"]})
    assert (refused.status, refused.body["message"]) == (400, "a segment has at most 100000 keys")
    assert ask(simulator, "PUT", path, {"keys": ["m1"]}).status == 200
    assert len(simulator.keys("env-1", "buyers")) == 100_000


@pytest.mark.parametrize("keys", [[], None, "k", [7], [""], {"a": 1}])
def test_keys_are_a_list_of_texts(keys: Any) -> None:
    """400 for anything else."""
    for path in ("uploadKeys", "removeKeys"):
        assert ask(prepared(), "PUT", f"/segments/env-1/buyers/{path}", {"keys": keys}).status == 400


def test_a_body_that_is_no_json_is_400() -> None:
    """For every request that needs one."""
    for method, path in (("PUT", "/segments/env-1/buyers/removeKeys"), ("POST", "/segments/ws/ws-1/trafficTypes/tt-1")):
        assert ask(prepared(), method, path).status == 400


def test_what_is_there_can_be_listed() -> None:
    """In pages, where Split has pages."""
    simulator = prepared()
    ask(simulator, "PUT", "/segments/env-1/buyers/uploadKeys", {"keys": ["c", "a", "b"]})
    page = ask(simulator, "GET", "/segments/env-1/buyers/keys?limit=2&offset=1").body
    assert (page["keys"], page["count"], page["limit"], page["offset"]) == ([{"key": "b"}, {"key": "c"}], 3, 2, 1)
    segments = ask(simulator, "GET", "/segments/ws/ws-1").body
    assert ([one["name"] for one in segments["objects"]], segments["totalCount"]) == (["buyers"], 1)
    assert ask(simulator, "GET", "/workspaces").body["objects"] == [{"id": "ws-1", "name": "Shop"}]
    assert [one["id"] for one in ask(simulator, "GET", "/environments/ws/ws-1").body] == ["env-1", "env-2"]
    assert [one["name"] for one in ask(simulator, "GET", "/trafficTypes/ws/ws-1").body] == ["user", "account"]


def test_a_segment_is_deactivated_and_deleted() -> None:
    """First the one, then the other."""
    simulator = prepared()
    assert ask(simulator, "DELETE", "/segments/ws/ws-1/buyers").status == 409
    assert ask(simulator, "DELETE", "/segments/env-1/buyers").body is True
    assert ask(simulator, "DELETE", "/segments/ws/ws-1/buyers").body is True
    assert ask(simulator, "POST", "/segments/env-1/buyers").status == 404


def test_the_limit_counts_by_the_minute() -> None:
    """Each answer says what is left; 429 when the next minute begins."""
    now = [datetime(2026, 1, 2, 3, 4, 15, tzinfo=UTC)]
    simulator = split(requests_per_minute=2, clock=lambda: now[0])
    answers = [ask(simulator, "GET", "/workspaces") for _ in range(3)]
    assert [(one.status, one.headers["X-RateLimit-Remaining-Org"]) for one in answers] == [
        (200, "1"),
        (200, "0"),
        (429, "0"),
    ]
    assert answers[2].headers["X-RateLimit-Reset-Seconds-IP"] == "45"
    now[0] += timedelta(seconds=45)
    assert ask(simulator, "GET", "/workspaces").status == 200
    assert post(simulator, [GOOD]).status == 202


def test_reset_forgets_everything() -> None:
    """Events, segments, keys, and what counted."""
    simulator = prepared()
    post(simulator, [GOOD, GOOD | {"key": "k" * 251}])
    simulator.reset()
    assert simulator.state() == {"events": [], "dropped": [], "segments": {}, "keys": {}}


# Impressions


def test_the_webhook_posts_a_packed_array() -> None:
    """With every key that the webhook has; those that are not given are filled in."""
    sent: list[Any] = []

    def deliver(url: str, body: bytes, headers: Any) -> int:
        sent.append((url, json.loads(gzip.decompress(body)), dict(headers)))
        return 200

    simulator = split(deliver=deliver, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    posted = simulator.post_impressions("http://hook.example/x", [{"key": "u-1", "split": "f-1", "treatment": "on"}])
    [(url, [impression], headers)] = sent
    assert (url, headers["content-encoding"], headers["content-type"]) == (
        "http://hook.example/x", "gzip", "application/json",
    )  # fmt: skip
    assert set(impression) == {
        "key", "split", "environmentId", "environmentName", "treatment", "time", "bucketingKey", "label", "machineName",
        "machineIp", "splitVersionNumber", "sdk", "sdkVersion", "properties",
    }  # fmt: skip
    assert impression["time"] == 1767225600000
    assert (posted.statuses, posted.lost) == ([200], False)


@pytest.mark.parametrize(
    ("answers", "statuses", "lost"),
    [
        ([200], [200], False),
        ([503, 200], [503, 200], False),
        ([202, 204], [202, 204], True),
        ([0, 500], [0, 500], True),
    ],
)
def test_only_200_is_success_and_there_is_one_more_attempt(answers: list[int], statuses: list[int], lost: bool) -> None:
    """Then the batch is lost."""
    left = iter(answers)
    simulator = split(deliver=lambda *_: next(left))
    posted = simulator.post_impressions("http://hook.example/y", [])
    assert (posted.statuses, posted.lost, simulator.webhook.posted) == (statuses, lost, [posted])
    simulator.reset()
    assert simulator.webhook.posted == []


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", b'{"url": "http://127.0.0.1:9"}', b'{"url": "x", "impressions": [7]}']
)
def test_what_the_webhook_is_told_wrong(body: bytes) -> None:
    """400, over HTTP."""
    assert split().check("POST", "/simulator/impressions", {}, body).status == 400

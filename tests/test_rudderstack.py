"""Delivery to RudderStack: limits, its answers in plain text, ids that would sink a batch, and where traits go."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from forwarding import CALLS, TRIES, Picky, batches, compact, event, every_call, outcomes, sender, sizes
from test_consumer import accept, counts, dead, deliver, settings

from turnout import Answer, Dispatcher
from turnout.errors import SettingsError
from turnout.packing import pack
from turnout.sqlite_log import SqliteLog
from turnout.testing import Answer as Told
from turnout_rudderstack import RudderStack
from turnout_rudderstack.answers import read_batch
from turnout_rudderstack.simulator import RudderStackSimulator

KEY = "wk-7b93"
PLANE = "https://shop.dataplane.rudderstack.com"


def rudderstack(**given: Any) -> RudderStack:
    return RudderStack({"write_key": KEY, "data_plane_url": PLANE, **given})


def test_every_call_arrives() -> None:
    """In one request to the data plane, compressed, under the write key as Basic authentication."""
    vendor = RudderStackSimulator(write_keys=[KEY])
    settled = sender(rudderstack(), vendor).send(every_call())
    assert set(outcomes(settled).values()) == {"delivered"}
    assert [message["type"] for message in vendor.events] == [call["type"] for call in CALLS]
    [entry] = vendor.ledger
    assert (entry.host, entry.headers["content-encoding"]) == ("shop.dataplane.rudderstack.com", "gzip")


def test_without_gzip_the_body_is_plain() -> None:
    """A setting, for servers that don't read it."""
    vendor = RudderStackSimulator()
    sender(rudderstack(gzip=False), vendor).send([event(1)])
    assert "content-encoding" not in vendor.ledger[0].headers
    assert len(vendor.events) == 1


@pytest.mark.parametrize(
    ("url", "words"), [("", "is required"), ("shop.dataplane.rudderstack.com", "'data_plane_url' must be an address")]
)
def test_a_data_plane_is_an_address(url: str, words: str) -> None:
    """Without the scheme nobody knows how to reach it."""
    with pytest.raises(SettingsError, match=words):
        rudderstack(data_plane_url=url)


def test_the_timestamp_arrives_however_late_the_event_is_passed_on() -> None:
    """RudderStack keeps it, and the three others beside it; the arrival is its own."""
    vendor = RudderStackSimulator(clock=lambda: datetime(2026, 4, 9, tzinfo=UTC))
    stamps = {"sentAt": "2026-04-05T06:07:10.009Z", "receivedAt": "2026-04-05T06:09:10.109Z"}
    sender(rudderstack(), vendor).send([event(1, **stamps)])
    [stored] = vendor.events
    assert {key: stored[key] for key in ("timestamp", "originalTimestamp", "sentAt", "receivedAt")} == {
        "timestamp": "2026-04-05T06:09:08.109Z",
        "originalTimestamp": "2026-04-05T06:07:08.009Z",
        "sentAt": "2026-04-05T06:07:10.009Z",
        "receivedAt": "2026-04-09T00:00:00.000Z",
    }


# Ids


def test_an_event_with_blank_ids_spoils_no_batch() -> None:
    """RudderStack would refuse all of them for it: it is refused here, and its neighbours arrive in one request."""
    vendor = RudderStackSimulator()
    events = [event(1), event(2, userId=" \t"), event(3), event(4, userId="\u00a0", anonymousId="\n"), event(5)]
    settled = sender(rudderstack(), vendor).send(events)
    assert outcomes(settled) == {
        "m-1": "delivered",
        "m-2": "invalid/vendor_would_refuse",
        "m-3": "delivered",
        "m-4": "invalid/vendor_would_refuse",
        "m-5": "delivered",
    }
    assert batches(vendor) == [["m-1", "m-3", "m-5"]]


@pytest.mark.parametrize(
    "answer",
    [
        Told(400, "request neither has anonymousId nor userId"),
        Told(400, "event is not a valid rudder event"),
        Told(400, "invalid json"),
        Told(413, "request size exceeds max limit"),
    ],
)
def test_an_event_that_rudderstack_refuses_takes_no_other_with_it(answer: Told) -> None:
    """The request is halved until it stands alone; it alone is dead, in RudderStack's words, and order is kept."""
    vendor = Picky(answer, ["m-2", "m-6"])
    settled = sender(rudderstack(), vendor).send([event(number) for number in range(8)])
    refused = {"m-2": "dead/vendor_refused", "m-6": "dead/vendor_refused"}
    assert outcomes(settled) == {f"m-{number}": "delivered" for number in range(8)} | refused
    assert vendor.kept == [f"m-{number}" for number in (0, 1, 3, 4, 5, 7)]
    assert settled[2].reason.message == f"HTTP {answer.status}: {answer.body}"


# Limits


def of_size(number: int, size: int) -> dict[str, Any]:
    """Return an event whose message to RudderStack has exactly so many bytes, its stamps included."""
    [plan] = Dispatcher([rudderstack()]).plan(event(number, properties={"net": ""}))
    return event(number, properties={"net": "x" * (size - len(plan.items[0].data))})


def too_large(number: int) -> dict[str, Any]:
    """Return an event that is good by itself, and too large when its options stand where they belong."""
    return event(number, context={"integrations": {"Vero": {"tags": "x" * 20_000}}})


def test_a_request_has_at_most_4_000_000_bytes_before_compression() -> None:
    """To the byte, though they compress to next to nothing; RudderStack counts them unpacked."""
    frame = len('{"batch":[]}')
    fill = 4_000_000 - frame - 129 - 129 * 30_800
    events = [of_size(number, 30_800) for number in range(129)]
    for last, expected in ((fill, [4_000_000]), (fill + 1, [4_000_000 - fill - 1, frame + fill + 1])):
        vendor = RudderStackSimulator()
        settled = sender(rudderstack(), vendor).send([*events, of_size(129, last)])
        assert set(outcomes(settled).values()) == {"delivered"}
        assert sizes(vendor) == expected
        assert len(vendor.events) == 130
        assert int(vendor.ledger[0].headers["content-length"]) < 100_000


def test_a_batch_has_at_most_10_000_events() -> None:
    """RudderStack names no number; ours keeps requests to a size that is quick to send again."""
    dispatcher = Dispatcher([rudderstack()])
    items = [item for number in range(10_001) for plan in dispatcher.plan(event(number)) for item in plan.items]
    assert [len(request.items) for request in pack(items)] == [10_000, 1]


def test_an_event_has_at_most_32_kilobytes() -> None:
    """To the byte. One that was so large when it came goes without what turnout has added, its original timestamp."""
    vendor = RudderStackSimulator()
    stamp = len(',"originalTimestamp":"2026-04-05T06:07:08.009Z"')
    settled = sender(rudderstack(), vendor).send([of_size(1, 32_768), of_size(2, 32_769), of_size(3, 32_768 + stamp)])
    assert outcomes(settled) == {"m-1": "delivered", "m-2": "delivered", "m-3": "delivered"}
    sent = vendor.ledger[0].body["batch"]
    assert [len(compact(one)) for one in sent] == [32_768, 32_769 - stamp, 32_768]
    assert ["originalTimestamp" in one for one in sent] == [True, False, False]
    assert {one["timestamp"] for one in vendor.events} == {"2026-04-05T06:07:08.009Z"}


def test_an_event_that_has_grown_beyond_that_is_refused() -> None:
    """It is not sent, and its neighbours are delivered."""
    vendor = RudderStackSimulator()
    settled = sender(rudderstack(), vendor).send([event(1), too_large(2), event(3)])
    assert outcomes(settled) == {"m-1": "delivered", "m-2": "invalid/item_too_large", "m-3": "delivered"}
    assert batches(vendor) == [["m-1", "m-3"]]


def test_large_traits_stand_once() -> None:
    """Traits in both places are for those who look at the root; where there is no room for both, one place has them."""
    vendor = RudderStackSimulator()
    large, small = {"log": "y" * 16_500}, {"log": "z" * 16_000}
    calls = [
        {
            "type": "identify",
            "messageId": name,
            "userId": f"of {name}",
            "traits": traits,
            "context": {"ip": "192.0.2.7"},
        }
        for name, traits in (("m-large", large), ("m-small", small))
    ]
    settled = sender(rudderstack(), vendor).send(calls)
    assert set(outcomes(settled).values()) == {"delivered"}
    first, second = vendor.events
    assert ("traits" in first, first["context"]) == (False, {"ip": "192.0.2.7", "traits": large})
    assert (second["traits"], second["context"]["traits"]) == (small, small)


# Answers


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_trouble_that_passes_is_tried_again(status: int) -> None:
    """And then everything is there."""
    vendor = RudderStackSimulator()
    vendor.fail(status, headers={"retry-after": "0"})
    settled = sender(rudderstack(), vendor).send([event(1), event(2)])
    assert [(one.outcome.value, one.attempts) for one in settled] == [("delivered", 2)] * 2
    assert [message["messageId"] for message in vendor.events] == ["m-1", "m-2"]


def test_its_own_429_is_tried_again_after_the_usual_wait() -> None:
    """It names no time; nothing of the request was kept."""
    told = RudderStackSimulator(events_per_second=1).check(
        "POST", "/v1/batch", {"authorization": "Basic azo="}, b'{"batch":[{"userId":"u"},{"userId":"v"}]}'
    )
    assert (told.status, told.body) == (429, "max requests limit reached")
    verdicts = read_batch(Answer(429, {}, b"max requests limit reached"), 2)
    assert [(one.fate.value, one.wait, one.own) for one in verdicts] == [("retry", None, False)] * 2


@pytest.mark.parametrize(
    ("simulator", "words"),
    [
        ({"write_keys": ["wk-other"]}, "HTTP 401: invalid write key."),
        ({"disabled": [KEY]}, "HTTP 404: source is disabled."),
    ],
)
def test_no_event_is_blamed_for_the_source(simulator: dict[str, Any], words: str) -> None:
    """A wrong key and a source that is switched off are matters of the settings."""
    vendor = RudderStackSimulator(**simulator)
    settled = sender(rudderstack(), vendor).send([event(1), event(2)])
    assert set(outcomes(settled).values()) == {"dead/credentials_refused"}
    assert settled[0].reason.message == f"{words} Check write_key, data_plane_url, base_url and gzip."
    assert len(vendor.ledger) == 1


@pytest.mark.parametrize("words", ["invalid write key", "Failed to read writeKey from header\n"])
def test_the_documented_400_for_a_wrong_key_is_read_as_the_servers_401(words: str) -> None:
    """The documentation knows 400 alone: its words tell that no event is at fault."""
    verdicts = read_batch(Answer(400, {}, words.encode()), 3)
    assert {one.fate.value for one in verdicts} == {"setup"}
    other = read_batch(Answer(400, {}, b"event says: invalid write key"), 3)
    assert {one.fate.value for one in other} == {"split"}


@pytest.mark.parametrize("status", [302, 403, 405, 407, 415])
def test_other_answers_that_no_event_can_be_blamed_for(status: int) -> None:
    """A redirect, a refusal of the address or of gzip."""
    assert {one.fate.value for one in read_batch(Answer(status), 2)} == {"setup"}


@pytest.mark.parametrize("status", [402, 409, 418])
def test_any_other_refusal_is_final(status: int) -> None:
    """It is not tried again."""
    assert {one.fate.value for one in read_batch(Answer(status), 2)} == {"refused"}


def test_a_page_of_a_proxy_is_no_answer() -> None:
    """A 200 with HTML says nothing of what was stored: it is tried again."""
    vendor = RudderStackSimulator()
    vendor.fail(200, html=True, times=TRIES)
    settled = sender(rudderstack(), vendor).send([event(1)])
    assert outcomes(settled) == {"m-1": "dead/vendor_unavailable"}


@pytest.mark.parametrize("deduplicates", [True, False])
def test_a_retry_counts_once_where_the_deployment_deduplicates(deduplicates: bool) -> None:
    """The same message ids go out again; without deduplication they are there twice, as the page says."""
    vendor = RudderStackSimulator(deduplicates=deduplicates)
    vendor.fail(500, after_store=True)
    settled = sender(rudderstack(), vendor).send([event(1), event(2)])
    assert set(outcomes(settled).values()) == {"delivered"}
    assert batches(vendor) == [["m-1", "m-2"]] * 2
    assert [message["messageId"] for message in vendor.events] == ["m-1", "m-2"] * (1 if deduplicates else 2)


# Through a log


@pytest.fixture
def log(tmp_path: Path) -> Any:
    """A log in a new file."""
    made = SqliteLog(tmp_path / "turnout.log")
    yield made
    made.close()


def test_a_log_is_delivered_through_trouble(log: Any) -> None:
    """A 503, a 429, a lost answer on the way, and an event with blank ids among the others."""
    vendor = RudderStackSimulator(deduplicates=True)
    vendor.script("/v1/batch", [503, 429, {"status": 500, "after_store": True}])
    transport = httpx.ASGITransport(app=vendor)
    dispatcher = Dispatcher(
        [rudderstack()], deliver=settings(lanes=1, min_attempts=9, max_age_hours=1), transport=transport
    )
    events = [event(number, userId=f"user-{number % 3}") for number in range(40)]
    accept(dispatcher, log, [*events[:20], event(99, userId="  "), *events[20:]])
    deliver(dispatcher, log)
    assert counts(log, "rudderstack") == {"delivered": 40, "invalid/vendor_would_refuse": 1}
    assert [message["messageId"] for message in vendor.events] == [one["messageId"] for one in events]
    assert vendor.duplicates == 40
    assert dead(log) == [("m-99", "vendor_would_refuse")]


def test_a_source_that_is_off_burns_nothing(log: Any) -> None:
    """The destination rests and tries again; when the source is on, everything is delivered."""
    vendor = RudderStackSimulator()
    vendor.fail(404, body="source is disabled", times=5)
    transport = httpx.ASGITransport(app=vendor)
    dispatcher = Dispatcher([rudderstack()], deliver=settings(), transport=transport)
    accept(dispatcher, log, [event(number) for number in range(10)])
    deliver(dispatcher, log)
    assert counts(log, "rudderstack") == {"delivered": 10}
    assert len(vendor.events) == 10


def test_a_plan_shows_no_key() -> None:
    """Neither as it is nor in base64, and the body decoded from what would be sent."""
    [plan] = Dispatcher([rudderstack()]).plan(event(1, writeKey=KEY))
    [request] = plan.to_dict()["requests"]
    assert KEY not in json.dumps(request)
    assert request["headers"] == {
        "content-type": "application/json",
        "content-encoding": "gzip",
        "authorization": "Basic ***",
    }
    assert request["body"]["batch"][0]["messageId"] == "m-1"

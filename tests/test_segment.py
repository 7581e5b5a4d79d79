"""Delivery to Segment: limits, answers, times, and what its 200 says."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from forwarding import CALLS, TRIES, Picky, batches, compact, event, every_call, outcomes, sender, sizes
from test_consumer import accept, counts, dead, deliver, settings

from turnout import Answer, Dispatcher, Outcome
from turnout.packing import pack
from turnout.sqlite_log import SqliteLog
from turnout.testing import Answer as Told
from turnout_segment import Segment
from turnout_segment.answers import read_batch
from turnout_segment.simulator import SegmentSimulator

KEY = "wk-4d41"


def segment(**given: Any) -> Segment:
    return Segment({"write_key": KEY, **given})


def test_every_call_arrives() -> None:
    """In one request, under the write key as Basic authentication, and nothing is dropped."""
    vendor = SegmentSimulator(write_keys=[KEY])
    settled = sender(segment(), vendor).send(every_call())
    assert set(outcomes(settled).values()) == {"delivered"}
    assert [message["type"] for message in vendor.events] == [call["type"] for call in CALLS]
    assert len(vendor.ledger) == 1
    assert vendor.discarded == []


@pytest.mark.parametrize("gzip", [False, True])
def test_bodies_are_compressed_when_asked(gzip: bool) -> None:
    """Segment reads both; the header says which it is."""
    vendor = SegmentSimulator()
    sender(segment(gzip=gzip), vendor).send(every_call())
    [entry] = vendor.ledger
    assert entry.headers.get("content-encoding") == ("gzip" if gzip else None)
    assert (len(vendor.events), len(entry.body["batch"])) == (6, 6)


def test_the_timestamp_arrives_however_late_the_event_is_passed_on() -> None:
    """Segment's own correction finds nothing to correct: the sender's clock was, and the way takes no time."""
    later = datetime(2026, 4, 9, tzinfo=UTC)
    vendor = SegmentSimulator(clock=lambda: later)
    stamps = {"sentAt": "2026-04-05T06:07:10.009Z", "receivedAt": "2026-04-05T06:09:10.109Z"}
    sender(segment(), vendor).send([event(1, **stamps)])
    assert vendor.events[0]["timestamp"] == "2026-04-05T06:09:08.109Z"
    assert vendor.events[0]["receivedAt"] == "2026-04-09T00:00:00.000Z"


# Limits


def test_a_batch_has_at_most_2500_events() -> None:
    """The next one begins the next request; Segment would drop the surplus without a word."""
    dispatcher = Dispatcher([segment()])
    items = [item for number in range(2501) for plan in dispatcher.plan(event(number)) for item in plan.items]
    assert [len(request.items) for request in pack(items)] == [2500, 1]


def of_size(number: int, size: int) -> dict[str, Any]:
    """Return an event whose message to Segment has exactly so many bytes, its four stamps included."""
    [plan] = Dispatcher([segment()]).plan(event(number, properties={"net": ""}))
    return event(number, properties={"net": "x" * (size - len(plan.items[0].data))})


def too_large(number: int) -> dict[str, Any]:
    """Return an event that is good by itself, and too large when its options stand where they belong."""
    return event(number, context={"integrations": {"Vero": {"tags": "x" * 20_000}}})


def test_a_request_has_at_most_500_000_bytes() -> None:
    """To the byte: seventeen events fill a request, and one byte more begins the next."""
    frame = len('{"batch":[]}')
    fill = 500_000 - frame - 16 - 16 * 30_000
    events = [of_size(number, 30_000) for number in range(16)]
    for last, expected in ((fill, [500_000]), (fill + 1, [500_000 - fill - 1, frame + fill + 1])):
        vendor = SegmentSimulator()
        settled = sender(segment(), vendor).send([*events, of_size(16, last)])
        assert set(outcomes(settled).values()) == {"delivered"}
        assert sizes(vendor) == expected
        assert len(vendor.events) == 17


def test_an_event_has_at_most_32_kilobytes() -> None:
    """To the byte. One that was so large when it came goes without what turnout has added, its original timestamp."""
    vendor = SegmentSimulator()
    stamp = len(',"originalTimestamp":"2026-04-05T06:07:08.009Z"')
    settled = sender(segment(), vendor).send([of_size(1, 32_768), of_size(2, 32_769), of_size(3, 32_768 + stamp)])
    assert outcomes(settled) == {"m-1": "delivered", "m-2": "delivered", "m-3": "delivered"}
    sent = vendor.ledger[0].body["batch"]
    assert [len(compact(one)) for one in sent] == [32_768, 32_769 - stamp, 32_768]
    assert ["originalTimestamp" in one for one in sent] == [True, False, False]
    assert {one["timestamp"] for one in vendor.events} == {"2026-04-05T06:07:08.009Z"}


def test_an_event_that_has_grown_beyond_that_is_refused() -> None:
    """It is not sent, and its neighbours are delivered."""
    vendor = SegmentSimulator()
    settled = sender(segment(), vendor).send([event(1), too_large(2), event(3)])
    assert outcomes(settled) == {"m-1": "delivered", "m-2": "invalid/item_too_large", "m-3": "delivered"}
    assert batches(vendor) == [["m-1", "m-3"]]


def test_large_traits_stand_once() -> None:
    """Traits of the context alone are put at the root as well, where there is room for both; else only there."""
    vendor = SegmentSimulator()
    calls = [
        {
            "type": "identify",
            "messageId": name,
            "userId": f"of {name}",
            "context": {"ip": "192.0.2.7", "traits": traits},
        }
        for name, traits in (("m-large", {"log": "y" * 16_500}), ("m-small", {"log": "z" * 16_000}))
    ]
    settled = sender(segment(), vendor).send(calls)
    assert outcomes(settled) == {"m-large": "delivered", "m-small": "delivered"}
    first, second = vendor.events
    assert (first["traits"], first["context"]) == ({"log": "y" * 16_500}, {"ip": "192.0.2.7"})
    assert second["traits"] == second["context"]["traits"] == {"log": "z" * 16_000}


# Answers


BAD = Told(400, "Bad Request")


@pytest.mark.parametrize("answer", [BAD, Told(400, "Exceed payload limit"), Told(413, "")])
def test_an_event_that_is_refused_takes_no_other_with_it(answer: Told) -> None:
    """The request is halved until it stands alone; it alone is dead, in Segment's words, and order is kept."""
    vendor = Picky(answer, ["m-5"])
    settled = sender(segment(), vendor).send([event(number) for number in range(8)])
    assert outcomes(settled) == {f"m-{number}": "delivered" for number in range(8)} | {"m-5": "dead/vendor_refused"}
    assert vendor.kept == [f"m-{number}" for number in (0, 1, 2, 3, 4, 6, 7)]
    assert len(vendor.ledger) < 10
    assert f"HTTP {answer.status}" in settled[5].reason.message


@pytest.mark.parametrize("status", [408, 410, 425, 429, 460, 500, 502, 503, 504, 520])
def test_trouble_that_passes_is_tried_again(status: int) -> None:
    """And then everything is there, once."""
    vendor = SegmentSimulator()
    vendor.fail(status, headers={"retry-after": "0"})
    settled = sender(segment(), vendor).send([event(1), event(2)])
    assert [(one.outcome.value, one.attempts) for one in settled] == [("delivered", 2)] * 2
    assert [message["messageId"] for message in vendor.events] == ["m-1", "m-2"]


@pytest.mark.parametrize("status", [402, 406, 409, 411, 422, 451, 501, 505, 511])
def test_what_segment_says_for_good_is_final(status: int) -> None:
    """The table of its libraries: other statuses from 400 on, and three server errors, are not tried again."""
    vendor = SegmentSimulator()
    vendor.fail(status)
    settled = sender(segment(), vendor).send([event(1)])
    assert (outcomes(settled), len(vendor.ledger)) == ({"m-1": "dead/vendor_refused"}, 1)


@pytest.mark.parametrize("status", [301, 308, 401, 403, 404, 405, 407, 415])
def test_no_event_is_blamed_for_wrong_settings(status: int) -> None:
    """The destination rests until they are mended; the sentence names them, and not the key."""
    vendor = SegmentSimulator()
    vendor.fail(status, times=None, body=f"no {KEY}")
    settled = sender(segment(), vendor).send([event(1), event(2)])
    assert set(outcomes(settled).values()) == {"dead/credentials_refused"}
    assert settled[0].reason.message == f"HTTP {status}: no ***. Check write_key, region, base_url and gzip."
    assert len(vendor.ledger) == 1


def test_the_other_region_refuses() -> None:
    """A workspace in the EU is not reached in the US."""
    for region in ("US", "EU"):
        vendor = SegmentSimulator(region="EU")
        expected = "delivered" if region == "EU" else "dead/credentials_refused"
        assert outcomes(sender(segment(region=region), vendor).send([event(1)])) == {"m-1": expected}


def test_delivered_says_that_segment_has_the_request() -> None:
    """Under a wrong write key Segment answers 200, and keeps nothing: nobody but Segment can tell."""
    vendor = SegmentSimulator(write_keys=["wk-other"])
    assert outcomes(sender(segment(), vendor).send([event(1)])) == {"m-1": "delivered"}
    assert [one["code"] for one in vendor.discarded] == ["unknown_source"]
    assert vendor.events == []


@pytest.mark.parametrize("fault", [{"status": 500, "after_store": True}, {"drop_connection": True}])
def test_a_retry_counts_once(fault: dict[str, Any]) -> None:
    """The answer was lost: the same messages go out again, and Segment knows their ids."""
    vendor = SegmentSimulator()
    vendor.fail(**fault)
    settled = sender(segment(), vendor).send([event(1), event(2)])
    assert set(outcomes(settled).values()) == {"delivered"}
    assert batches(vendor) == [["m-1", "m-2"]] * 2
    assert [message["messageId"] for message in vendor.events] == ["m-1", "m-2"]
    assert vendor.duplicates == (2 if "after_store" in fault else 0)


def test_a_page_of_a_proxy_is_no_answer() -> None:
    """A 200 with HTML says nothing of what was stored: it is tried again."""
    vendor = SegmentSimulator()
    vendor.fail(200, html=True, times=TRIES)
    settled = sender(segment(), vendor).send([event(1)])
    assert outcomes(settled) == {"m-1": "dead/vendor_unavailable"}
    assert settled[0].reason.message.startswith("This is no answer of Segment: HTTP 200: <html>")


def wait(**headers: str) -> float | None:
    [verdict] = read_batch(Answer(429, {name.replace("_", "-"): text for name, text in headers.items()}), 1)
    assert (verdict.fate.value, verdict.reason and verdict.reason.code.value) == ("retry", "rate_limited")
    return verdict.wait


def test_both_ways_to_say_how_long_to_wait_are_read() -> None:
    """`Retry-After` wins; `X-RateLimit-Reset` is a number of seconds, or a time; an hour at most."""
    assert wait(retry_after="7") == 7
    assert wait(x_ratelimit_reset="8") == 8
    assert wait(retry_after="9", x_ratelimit_reset="80") == 9
    assert wait(retry_after="soon", x_ratelimit_reset="10") == 10
    assert wait(x_ratelimit_reset="999999") == 3600
    assert wait(retry_after="0", x_ratelimit_reset="11") == 0


def test_a_reset_may_be_a_time_since_1970() -> None:
    """In seconds or milliseconds; one that is over needs no wait."""
    until = int(time.time()) + 600
    assert 0 < (wait(x_ratelimit_reset=str(until)) or 0) <= 600
    assert 0 < (wait(x_ratelimit_reset=str(until * 1000)) or 0) <= 600
    assert wait(x_ratelimit_reset=str(until - 700)) == 0


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "٣", "9" * 16])
def test_a_reset_that_says_nothing_is_no_wait(text: str) -> None:
    """Then the usual backoff counts."""
    assert wait(x_ratelimit_reset=text) is None


def test_segments_rate_is_kept_to() -> None:
    """The simulator's own 429 with each of its headers; what was held up arrives."""
    for limited in ("both", "retry-after", "x-ratelimit-reset"):
        told = SegmentSimulator(requests_per_second=0, limited=limited).check("POST", "/v1/track", {}, b"{}")  # type: ignore[arg-type]
        [verdict] = read_batch(Answer(told.status, told.headers), 1)
        assert (verdict.fate.value, verdict.wait) == ("retry", 1.0)


# Through a log


@pytest.fixture
def log(tmp_path: Path) -> Any:
    """A log in a new file."""
    made = SqliteLog(tmp_path / "turnout.log")
    yield made
    made.close()


def test_a_log_is_delivered_through_trouble(log: Any) -> None:
    """A 503, a 429, a lost answer and a refusal on the way: each event is there once, one is a dead letter."""
    vendor = SegmentSimulator()
    vendor.script(
        "/v1/batch",
        [
            503,
            {"status": 429, "headers": {"x-ratelimit-reset": "0"}},
            {"status": 500, "after_store": True},
            None,
        ],
    )
    transport = httpx.ASGITransport(app=vendor)
    dispatcher = Dispatcher(
        [segment()], deliver=settings(lanes=1, min_attempts=9, max_age_hours=1), transport=transport
    )
    events = [event(number, userId=f"user-{number % 3}") for number in range(40)]
    accept(dispatcher, log, [*events, too_large(99)])
    deliver(dispatcher, log)
    assert counts(log, "segment") == {"delivered": 40, "invalid/item_too_large": 1}
    assert [message["messageId"] for message in vendor.events] == [one["messageId"] for one in events]
    assert vendor.duplicates == 40
    assert dead(log) == [("m-99", "item_too_large")]


def test_a_refused_event_of_a_log_is_a_dead_letter(log: Any) -> None:
    """Its mates and what its user sends later go on."""
    vendor = Picky(BAD, ["m-3", "m-11"])
    transport = httpx.ASGITransport(app=vendor)
    dispatcher = Dispatcher([segment()], deliver=settings(), transport=transport)
    accept(dispatcher, log, [event(number, userId=f"user-{number % 3}") for number in range(20)])
    deliver(dispatcher, log)
    assert counts(log, "segment") == {"delivered": 18, "dead/vendor_refused": 2}
    assert sorted(dead(log)) == [("m-11", "vendor_refused"), ("m-3", "vendor_refused")]
    for user in range(3):
        mine = [int(name[2:]) for name in vendor.kept if int(name[2:]) % 3 == user]
        assert mine == sorted(mine)


def test_a_plan_shows_no_key() -> None:
    """Neither as it is nor in base64; with show_secrets both."""
    [plan] = Dispatcher([segment()]).plan(event(1, writeKey=KEY))
    assert plan.outcome is Outcome.PLANNED
    shown = json.dumps(plan.to_dict())
    assert KEY not in shown
    assert plan.to_dict()["requests"][0]["headers"]["authorization"] == "Basic ***"
    assert plan.to_dict(show_secrets=True)["requests"][0]["headers"]["authorization"] == "Basic d2stNGQ0MTo="

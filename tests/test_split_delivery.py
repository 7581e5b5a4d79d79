"""Delivery to Split's simulator, now and through a log: what arrives, in which order, and what trouble becomes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from turnout import Dispatcher, Settled
from turnout.accepting import Acceptor, now_ms
from turnout.config import DeliverSettings, SendSettings
from turnout.deliver import Delivery
from turnout.log import DeadLetter, DeadQuery
from turnout.sqlite_log import SqliteLog
from turnout.testing import Answer
from turnout_split import Split
from turnout_split.simulator import SplitSimulator

ROOT = Path(__file__).parent.parent
SETTINGS = {
    "sdk_key": "sdk-1",
    "environment": "Prod-Default",
    "sync_segments": True,
    "admin_api_key": "admin-1",
    "workspace_id": "ws-1",
    "environment_id": "env-1",
    "traffic_type_id": "tt-user",
}
SEGMENTS = "/internal/api/v2/segments"


def vendor(**options: Any) -> SplitSimulator:
    """Return a Split that knows this one workspace."""
    known: dict[str, Any] = {
        "sdk_keys": {"sdk-1": "Prod-Default"},
        "admin_keys": ["admin-1"],
        "environments": {"Prod-Default": "env-1", "Staging": "env-2"},
        "traffic_types": {"user": "tt-user"},
        "workspaces": {"ws-1": "Shop"},
    }
    return SplitSimulator(**(known | options))


def dispatcher(simulator: SplitSimulator, attempts: int = 3, **settings: Any) -> Dispatcher:
    """Return a dispatcher whose requests reach the simulator in this process."""
    send = SendSettings.configure({"attempts": attempts})
    return Dispatcher([Split(SETTINGS | settings)], transport=httpx.ASGITransport(app=simulator), send=send)


def track(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": f"Event {number}", "userId": f"u-{number}", "messageId": f"m-{number}", **more}


def member(number: int | str, inside: bool = True, cohort: str = "Buyers", **personas: Any) -> dict[str, Any]:
    about = {"computation_class": "audience", "computation_key": cohort, **personas}
    return {
        "type": "identify",
        "userId": f"u-{number}",
        "messageId": f"m-{number}-{cohort}-{inside}",
        "traits": {cohort: inside},
        "context": {"personas": about},
    }


def outcomes(settled: Iterable[Settled]) -> Counter[str]:
    return Counter(f"{one.outcome}/{one.reason.code}" if one.reason else str(one.outcome) for one in settled)


def paths(simulator: SplitSimulator) -> list[str]:
    return [f"{one.method} {one.path.removeprefix(SEGMENTS)}" for one in simulator.ledger]


# Events


def test_events_arrive_in_bulk() -> None:
    """One request for many; 202 is delivered."""
    simulator = vendor()
    assert outcomes(dispatcher(simulator).send(track(number) for number in range(400))) == {"delivered": 400}
    assert [event["eventTypeId"] for event in simulator.events] == [f"Event_{number}" for number in range(400)]
    assert paths(simulator) == ["POST /api/events/bulk"]
    assert simulator.ledger[0].headers["authorization"] == "***"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"traffic_type": "customer"}, "no traffic type 'customer'"),
        ({"environment": "Prod"}, "no environment 'Prod'"),
        ({"environment": "Staging"}, "the key is not of the environment 'Staging'"),
    ],
)
def test_what_split_finds_out_later_counts_as_delivered(settings: dict[str, Any], reason: str) -> None:
    """202 comes before the event is looked at: nothing tells a sender that it was dropped."""
    simulator = vendor()
    assert outcomes(dispatcher(simulator, **settings).send([track(1)])) == {"delivered": 1}
    assert [one["reason"] for one in simulator.dropped] == [reason]


def test_a_bulk_request_holds_5000_events() -> None:
    """And no more."""
    simulator = vendor()
    target = dispatcher(simulator)

    async def run() -> list[Settled]:
        return [one async for one in target.stream((track(number) for number in range(5001)), chunk=6000)]

    assert outcomes(asyncio.run(run())) == {"delivered": 5001}
    assert [entry.effect for entry in simulator.ledger] == [{"events": 5000, "dropped": 0}, {"events": 1, "dropped": 0}]


def test_a_bulk_request_holds_a_megabyte() -> None:
    """The simulator takes no larger one."""
    simulator = vendor()
    events = [track(number, properties={"text": "x" * 29_000}) for number in range(100)]
    assert outcomes(dispatcher(simulator).send(events)) == {"delivered": 100}
    assert [entry.status for entry in simulator.ledger] == [202] * 3


def test_an_event_that_split_refuses_is_found_and_the_others_go_on() -> None:
    """A 400 names no event: smaller requests find the one at fault, and nothing counts twice."""
    simulator = vendor()
    events = [track(number) for number in range(9)]
    events[4]["event"] = "x" * 70
    settled = dispatcher(simulator, event_type_length=80).send(events)
    assert outcomes(settled) == {"delivered": 8, "dead/vendor_refused": 1}
    assert settled[4].reason is not None
    assert "does not match the pattern" in settled[4].reason.message
    assert sorted(event["key"] for event in simulator.events) == [f"u-{number}" for number in range(9) if number != 4]


@pytest.mark.parametrize("key", ["admin-1", "unknown"])
def test_an_admin_key_sends_no_events(key: str) -> None:
    """The two APIs have keys of their own; the reason says which key is meant."""
    simulator = vendor()
    [settled] = dispatcher(simulator, sdk_key=key).send([track(1)])
    assert outcomes([settled]) == {"dead/credentials_refused": 1}
    assert settled.reason is not None
    assert settled.reason.message == "Split refused sdk_key, which is an SDK API key of the environment (HTTP 401)."
    assert simulator.events == []


def test_a_request_that_is_too_large_for_split_is_halved() -> None:
    """413: every event arrives once, in smaller requests."""
    simulator = vendor()
    simulator.request_bytes = 700
    assert outcomes(dispatcher(simulator).send(track(number) for number in range(20))) == {"delivered": 20}
    assert len(simulator.events) == 20


@pytest.mark.parametrize(
    "fault", [{"status": 429}, {"status": 500}, {"status": 503, "html": True}, {"status": 200, "html": True}]
)
def test_trouble_that_passes_is_waited_for(fault: dict[str, Any]) -> None:
    """429, server errors, and a page that is no answer of Split's."""
    simulator = vendor()
    simulator.fail(**fault)
    assert outcomes(dispatcher(simulator).send([track(1)])) == {"delivered": 1}
    assert len(simulator.events) == 1


LOST = {"drop_connection": True, "after_store": True}
HANGS = {"hang": True, "after_store": True}


@pytest.mark.parametrize(("fault", "code"), [(LOST, "unreachable"), (HANGS, "timed_out")])
@pytest.mark.parametrize(("again", "times"), [(True, 2), (False, 1)])
def test_an_unknown_outcome_is_retried_as_the_setting_says(
    fault: dict[str, Any], code: str, again: bool, times: int
) -> None:
    """On, the event counts twice at Split, which drops no copies; off, it counts once, and is a dead letter."""
    simulator = vendor()
    simulator.fail(**fault)
    settled = dispatcher(simulator, retry_unknown_outcomes=again).send([track(1)])
    assert outcomes(settled) == ({"delivered": 1} if again else {f"dead/{code}": 1})
    assert len(simulator.events) == times


def test_garbage_is_no_harm() -> None:
    """An answer that nobody can read is judged by its status."""
    simulator = vendor()
    simulator.fail(418, body=b"\xff\xfe")
    assert outcomes(dispatcher(simulator).send([track(1)])) == {"dead/vendor_refused": 1}


# Segments


def test_members_come_into_their_segment() -> None:
    """It is created and activated once for all that go together, with the whole name as its description."""
    simulator = vendor()
    settled = dispatcher(simulator).send(member(number, cohort="[Amplitude] Buyers: 7f") for number in range(300))
    assert outcomes(settled) == {"delivered": 300}
    assert paths(simulator) == [
        "POST /ws/ws-1/trafficTypes/tt-user",
        "POST /env-1/Amplitude_Buyers_7f",
        "PUT /env-1/Amplitude_Buyers_7f/uploadKeys",
    ]
    assert simulator.keys("env-1", "Amplitude_Buyers_7f") == {f"u-{number}" for number in range(300)}
    [segment] = simulator.store.made["ws-1"].values()
    assert segment["description"] == "[Amplitude] Buyers: 7f"
    assert segment["trafficType"] == {"id": "tt-user", "name": "user"}


def test_a_sync_once_more_changes_nothing() -> None:
    """409 for the segment that is there and active; keys that are there stay."""
    simulator = vendor()
    events = [member(1), member(2), member(3), member(3, inside=False)]
    target = dispatcher(simulator)
    assert outcomes([*target.send(events), *target.send(events)]) == {"delivered": 8}
    assert Counter(entry.status for entry in simulator.ledger) == {200: 6, 409: 6}
    assert simulator.keys("env-1", "Buyers") == {"u-1", "u-2"}


def test_who_leaves_is_removed() -> None:
    """And who was never there does no harm."""
    simulator = vendor()
    target = dispatcher(simulator)
    target.send([member(number) for number in range(4)])
    assert outcomes(target.send([member(1, inside=False), member(9, inside=False)])) == {"delivered": 2}
    assert simulator.keys("env-1", "Buyers") == {"u-0", "u-2", "u-3"}


def test_the_last_word_on_a_user_counts() -> None:
    """In and out and in again, all in one go, beside others: the order of a user's changes is kept."""
    simulator = vendor()
    events = [
        *(member(1), member(2), member(1, inside=False)),
        *(member(3), member(2, inside=False), member(2), member(3, inside=False), member(4)),
    ]
    assert outcomes(dispatcher(simulator).send(events)) == {"delivered": 8}
    assert simulator.keys("env-1", "Buyers") == {"u-2", "u-4"}


def test_chunks_have_10_000_keys() -> None:
    """25,000 members that go together: the segment is created and activated, and takes three uploads."""
    simulator = vendor()
    target = dispatcher(simulator)
    events = [member(number) for number in range(25_000)]

    async def run() -> list[Settled]:
        return [one async for one in target.stream(events, chunk=30_000)]

    assert outcomes(asyncio.run(run())) == {"delivered": 25_000}
    uploads = [entry.body["keys"] for entry in simulator.ledger if entry.method == "PUT"]
    assert [len(keys) for keys in uploads] == [10_000, 10_000, 5_000]
    assert len(simulator.ledger) == 5
    assert len(simulator.keys("env-1", "Buyers")) == 25_000


def test_a_key_stands_once_in_a_request() -> None:
    """Also when its event came twice, or when it is the key of several users."""
    simulator = vendor()
    simulator.store.create("ws-1", {"id": "tt-user", "name": "user"}, {"name": "Buyers"}, 0)
    simulator.store.activate("env-1", "Buyers")
    events = [member(number) | {"anonymousId": f"a-{number % 2}"} for number in (1, 2, 3, 1)]
    settled = dispatcher(simulator, create_segments=False, member_id="anonymous_id").send(events)
    assert outcomes(settled) == {"delivered": 4}
    assert [entry.body["keys"] for entry in simulator.ledger] == [["a-1", "a-0"]]


def test_a_cohort_that_is_too_large_is_refused_before_anything_is_sent() -> None:
    """Its size says so: 100,000 keys are what a segment takes."""
    simulator = vendor()
    events = [member(number, computation_size=100_001) for number in range(50)]
    assert outcomes(dispatcher(simulator).send(events)) == {"invalid/vendor_would_refuse": 50}
    assert simulator.ledger == []


def test_a_segment_that_is_full_at_split_says_so_for_each_member() -> None:
    """Without a size it is Split that refuses, with its words; the request is not cut into ever smaller ones."""
    simulator = vendor()
    simulator.store.most_keys = 3
    settled = dispatcher(simulator).send(member(number) for number in range(100))
    assert outcomes(settled) == {"dead/vendor_refused": 100}
    assert "a segment has at most 3 keys" in str(settled[0].reason)
    assert len(simulator.ledger) == 3


def test_without_create_segments_a_missing_one_is_refused() -> None:
    """The reason has Split's words."""
    settled = dispatcher(vendor(), create_segments=False).send([member(1)])
    assert outcomes(settled) == {"dead/vendor_refused": 1}
    assert settled[0].reason is not None
    assert "no segment 'Buyers'" in settled[0].reason.message


@pytest.mark.parametrize("wrong", [{"workspace_id": "ws-2"}, {"traffic_type_id": "tt-2"}])
def test_a_wrong_workspace_or_traffic_type_is_a_matter_of_the_settings(wrong: dict[str, str]) -> None:
    """No event is blamed, and the sentence names the settings."""
    [settled] = dispatcher(vendor(), **wrong).send([member(1)])
    assert outcomes([settled]) == {"dead/credentials_refused": 1}
    assert "workspace_id or traffic_type_id" in str(settled.reason)


@pytest.mark.parametrize("key", [{"admin_api_key": "sdk-1"}, {"admin_api_key": "", "harness_api_key": "sdk-1"}])
def test_an_sdk_key_changes_no_segment(key: dict[str, str]) -> None:
    """The sentence says that it is the wrong kind of key; the events' own key is not touched by it."""
    simulator = vendor()
    settled = dispatcher(simulator, **key).send([member(1), track(2)])
    assert outcomes(settled) == {"dead/credentials_refused": 1, "delivered": 1}
    assert "no SDK API key" in str(settled[0].reason)


def test_a_key_of_harness_works_as_well() -> None:
    """It goes in a header of its own."""
    simulator = vendor(admin_keys=["har-1"])
    assert outcomes(dispatcher(simulator, admin_api_key="", harness_api_key="har-1").send([member(1)])) == {
        "delivered": 1
    }
    assert {entry.headers.get("x-api-key") for entry in simulator.ledger} == {"***"}
    assert not any("authorization" in entry.headers for entry in simulator.ledger)


def test_the_limit_of_the_admin_api_is_waited_for() -> None:
    """429 says when the next minute begins; longer than a minute `send` does not wait for anybody."""
    simulator = vendor()
    headers = {"X-RateLimit-Reset-Seconds-Org": "0", "X-RateLimit-Reset-Seconds-IP": "1"}
    simulator.fail(429, path=f"{SEGMENTS}/env-1/Buyers/uploadKeys", headers=headers)
    assert outcomes(dispatcher(simulator).send([member(1)])) == {"delivered": 1}
    simulator.fail(429, path=f"{SEGMENTS}/env-1/Buyers/uploadKeys", headers={"X-RateLimit-Reset-Seconds-Org": "61"})
    assert outcomes(dispatcher(simulator).send([member(2)])) == {"dead/rate_limited": 1}


@pytest.mark.parametrize("fault", [LOST, HANGS, {"status": 500, "after_store": True}])
@pytest.mark.parametrize("path", ["/ws/*", "/env-1/Buyers", "/env-1/Buyers/uploadKeys", "/env-1/Buyers/removeKeys"])
def test_each_request_for_a_segment_can_be_repeated(fault: dict[str, Any], path: str) -> None:
    """It took effect, and the answer was lost: once more does no harm, whatever is set for events."""
    simulator = vendor()
    simulator.fail(path=SEGMENTS + path, **fault)
    target = dispatcher(simulator, retry_unknown_outcomes=False)
    assert outcomes(target.send([member(1), member(2), member(2, inside=False)])) == {"delivered": 3}
    assert simulator.keys("env-1", "Buyers") == {"u-1"}


def test_the_first_of_a_cohort_may_be_one_who_leaves() -> None:
    """The segment is made for that as well, so that nobody's removal fails for want of it."""
    simulator = vendor()
    assert outcomes(dispatcher(simulator).send([member(1, inside=False), member(2)])) == {"delivered": 2}
    assert simulator.keys("env-1", "Buyers") == {"u-2"}


# Through a log


def deliver(
    tmp_path: Path, simulator: SplitSimulator, events: list[dict[str, Any]], **settings: Any
) -> tuple[dict[str, int], list[DeadLetter]]:
    """Accept events and deliver until nothing is left; return the counts of outcomes, and the dead letters."""
    quick = {"timeout_seconds": 5.0, "poll_seconds": 0.01, "max_age_hours": 0.0, "min_attempts": 4}
    quick |= {"setup_wait_seconds": 0.05}
    target = Dispatcher(
        [Split(SETTINGS | settings)],
        transport=httpx.ASGITransport(app=simulator),
        deliver=DeliverSettings.configure(quick, owner="[deliver]"),
    )
    log = SqliteLog(tmp_path / "turnout.log")
    with Acceptor(log, target.log_settings, now_ms) as acceptor:
        receipts = acceptor.accept([target.normaliser.event(event) for event in events])
    assert all(receipt.accepted for receipt in receipts)

    async def main() -> None:
        delivery, stop = Delivery(target, log), asyncio.Event()
        task = asyncio.create_task(delivery.run(stop))
        async with asyncio.timeout(60):
            while not delivery.empty():
                await asyncio.sleep(0.005)
        stop.set()
        await task

    asyncio.run(main())
    found = log.counts()["split"]
    letters = list(log.dead(DeadQuery()))
    log.close()
    return {
        f"{outcome}/{code}" if code else str(outcome): times for (outcome, code), times in found.items() if times
    }, letters


def test_through_a_log_members_and_events_arrive(tmp_path: Path) -> None:
    """Over all lanes: every key is in its segment, every event arrived, and the set-up is a few requests."""
    simulator = vendor()
    events = [one for number in range(600) for one in (member(number), track(number))]
    events += [member(number, inside=False) for number in range(0, 600, 3)]
    assert deliver(tmp_path, simulator, events) == ({"delivered": 1400}, [])
    assert simulator.keys("env-1", "Buyers") == {f"u-{number}" for number in range(600) if number % 3}
    assert len(simulator.events) == 600
    assert len(simulator.ledger) < 60


def test_through_a_log_nothing_is_uploaded_before_the_segment_is_there(tmp_path: Path) -> None:
    """While it can't be created, the keys wait behind it; then they come, in order."""
    simulator = vendor()
    simulator.script(f"{SEGMENTS}/ws/ws-1/trafficTypes/tt-user", [503, 429, None])
    simulator.script(f"{SEGMENTS}/env-1/Buyers", [500])
    events = [member(number) for number in range(5)] + [member(3, inside=False)]
    assert deliver(tmp_path, simulator, events) == ({"delivered": 6}, [])
    assert simulator.keys("env-1", "Buyers") == {"u-0", "u-1", "u-2", "u-4"}
    assert not any(entry.status == 404 for entry in simulator.ledger)


def test_through_a_log_a_wrong_key_burns_nothing(tmp_path: Path) -> None:
    """The destination rests until the key is taken again."""
    simulator = vendor()
    simulator.fail(401, path="/api/events/bulk", times=3)
    assert deliver(tmp_path, simulator, [track(number) for number in range(20)]) == ({"delivered": 20}, [])
    assert len(simulator.events) == 20


def test_through_a_log_trouble_ends_in_dead_letters_with_splits_words(tmp_path: Path) -> None:
    """A member of a cohort that Split refuses, and one whose vendor never comes back; the rest is delivered."""
    simulator = vendor()
    simulator.script(f"{SEGMENTS}/env-1/Odd/uploadKeys", [Answer(400, {"message": "no such key"})])
    simulator.fail(500, path=f"{SEGMENTS}/env-1/Down/uploadKeys", times=None)
    events = [member(1, cohort="Odd"), member(2, cohort="Down"), member(3), track(4)]
    counts, letters = deliver(tmp_path, simulator, events)
    assert counts == {"delivered": 2, "dead/vendor_refused": 1, "dead/vendor_unavailable": 1}
    words = {letter.user: letter.reason.message for letter in letters}
    assert "no such key" in words["u-1"]
    assert [item.data for letter in letters if letter.user == "u-2" for item in letter.items] == [
        b'{"segment":"Down","key":"u-2"}'
    ]


def test_through_a_log_an_unknown_outcome_is_a_dead_letter_when_it_is_not_retried(tmp_path: Path) -> None:
    """Of four requests one is lost after it took effect: its events are dead letters, and count once at Split."""
    simulator = vendor()
    simulator.fail(path="/api/events/bulk", **LOST)
    events = [track(number) for number in range(40)]
    counts, letters = deliver(tmp_path, simulator, events, retry_unknown_outcomes=False)
    assert counts == {"delivered": 40 - len(letters), "dead/unreachable": len(letters)}
    assert letters
    assert Counter(event["key"] for event in simulator.events) == {f"u-{number}": 1 for number in range(40)}


# The example

EXAMPLES = ROOT / "examples"


def test_the_example_runs_against_the_simulator(tmp_path: Path) -> None:
    """`turnout simulate split` takes what `turnout send --config examples/split.toml` sends it."""
    simulator = SplitSimulator()
    with simulator.serve() as url:
        text = (EXAMPLES / "split.toml").read_text(encoding="utf-8")
        (tmp_path / "split.toml").write_text(text.replace("http://127.0.0.1:8767", url), encoding="utf-8")
        command = [sys.executable, "-m", "turnout", "send", "--config", tmp_path / "split.toml", "--each"]
        done = subprocess.run([*command, EXAMPLES / "split.jsonl"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "→ POST events: Order_Completed, Order_Completed\n" in done.stdout
    assert "→ POST creations: frequent_buyers\n" in done.stdout
    assert "→ PUT uploads: user u-2\n" in done.stdout
    assert [event["key"] for event in simulator.events] == ["u-1", "a-1", "a-2"]
    assert simulator.keys("e5f6a7b8-environment", "frequent_buyers") == {"u-1", "u-2"}
    assert simulator.dropped == []


def test_the_example_is_planned_without_a_secret() -> None:
    """Neither of the two keys shows."""
    command = [sys.executable, "-m", "turnout", "plan", "--config", EXAMPLES / "split.toml", "-d", "split"]
    done = subprocess.run([*command, EXAMPLES / "split.jsonl"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "example-" not in done.stdout
    assert done.stdout.count("Bearer ***") == 11

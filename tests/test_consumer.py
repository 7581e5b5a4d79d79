"""Delivery over a log: nothing is lost, order is kept, and trouble stays where it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from turnout import Answer, Dispatcher, Fate, Reason, Verdict
from turnout.accepting import Acceptor, now_ms
from turnout.config import DeliverSettings, LogSettings
from turnout.deliver import Delivery
from turnout.log import DeadQuery, Log, LogFull, Parked, Room, Settlement, StoredItem
from turnout.reasons import Code
from turnout.sqlite_log import SqliteLog
from turnout_amplitude import Amplitude
from turnout_amplitude.simulator import AmplitudeSimulator

Make = Callable[..., dict[str, Any]]
QUICK = {
    "timeout_seconds": 0.5,
    "poll_seconds": 0.01,
    "setup_wait_seconds": 0.05,
    "grace_seconds": 5.0,
    "max_age_hours": 0.0,
    "min_attempts": 3,
}


@pytest.fixture
def log(tmp_path: Path) -> Any:
    """A log in a new file."""
    made = SqliteLog(tmp_path / "turnout.log")
    yield made
    made.close()


def settings(**given: Any) -> Any:
    return DeliverSettings.configure(QUICK | given, owner="[deliver]")


def accept(dispatcher: Dispatcher, log: Log, events: Iterable[dict[str, Any]]) -> None:
    """Put events into the log."""
    with Acceptor(log, dispatcher.log_settings, now_ms) as acceptor:
        receipts = acceptor.accept([dispatcher.normaliser.event(event) for event in events])
    assert all(receipt.accepted for receipt in receipts)


@contextlib.asynccontextmanager
async def delivering(dispatcher: Dispatcher, log: Log) -> AsyncIterator[Delivery]:
    """Deliver while the block runs."""
    delivery, stop = Delivery(dispatcher, log), asyncio.Event()
    task = asyncio.create_task(delivery.run(stop))
    try:
        yield delivery
    finally:
        stop.set()
        await task


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that other tasks bring about."""
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.005)


def deliver(dispatcher: Dispatcher, log: Log) -> None:
    """Deliver until nothing is left."""

    async def main() -> None:
        async with delivering(dispatcher, log) as delivery:
            await until(delivery.empty)

    asyncio.run(main())


def counts(log: Log, name: str = "acme") -> dict[str, int]:
    """Return how many events came to each outcome and code."""
    found = log.counts().get(name, {})
    return {f"{outcome}/{code}" if code else outcome.value: times for (outcome, code), times in found.items() if times}


def dead(log: Log) -> list[tuple[str | None, str]]:
    return [(letter.message_id, letter.reason.code.value) for letter in log.dead(DeadQuery())]


def test_what_was_accepted_is_delivered_once(bench: Any, call: Make, log: Log) -> None:
    """Every event, in requests within the endpoint's limits; a second delivery finds nothing to do."""
    dispatcher = bench.dispatcher(deliver=settings())
    accept(dispatcher, log, [call(f"m-{number}") for number in range(50)])
    deliver(dispatcher, log)
    assert sorted(bench.vendor.kept) == sorted(f"m-{number}" for number in range(50))
    assert max(len(ids) for ids in bench.sent()) == 3
    deliver(dispatcher, log)
    assert len(bench.vendor.kept) == 50
    assert counts(log) == {"delivered": 50}


@pytest.mark.parametrize("lanes", [1, 3])
def test_delivery_that_is_stopped_repeats_nothing(bench: Any, call: Make, log: Log, lanes: int) -> None:
    """Of events that were read together all are sent, once some are, or none; a second delivery sends the others."""
    dispatcher = bench.dispatcher(deliver=settings(lanes=lanes, events_at_once=1))
    names = [f"m-{number}" for number in range(40)]
    accept(dispatcher, log, [call(name) for name in names])

    async def main() -> None:
        async with delivering(dispatcher, log):
            await until(lambda: bool(bench.vendor.kept))

    asyncio.run(main())
    deliver(dispatcher, log)
    assert sorted(bench.vendor.kept) == sorted(names)


def test_every_outcome_is_counted_and_what_failed_is_a_dead_letter(bench: Any, call: Make, log: Log) -> None:
    """Dropped, refused by a rule, and a rule that raised; the event is kept with its letter."""
    dispatcher = bench.dispatcher(deliver=settings())
    sources = {"drop": "m-1", "refuse": "m-2", "raise": "m-3"}
    accept(dispatcher, log, [call(name, do=word) for word, name in sources.items()] + [call("m-4")])
    deliver(dispatcher, log)
    assert counts(log) == {
        "dropped/filtered": 1,
        "invalid/value_invalid": 1,
        "failed/plugin_raised": 1,
        "delivered": 1,
    }
    assert dead(log) == [("m-2", "value_invalid"), ("m-3", "plugin_raised")]
    (letter, _) = log.dead(DeadQuery())
    assert json.loads(letter.event)["properties"] == {"do": "refuse"}


def test_a_users_items_arrive_in_order(bench: Any, call: Make, log: Log) -> None:
    """Across endpoints and lanes, with many users."""
    dispatcher = bench.dispatcher(deliver=settings(lanes=3, events_at_once=7))
    events = [
        call(f"{user}-{number}", "track" if number % 3 else "identify", userId=f"u-{user}")
        for number in range(12)
        for user in range(9)
    ]
    accept(dispatcher, log, events)
    deliver(dispatcher, log)
    for user in range(9):
        mine = [kept for kept in bench.vendor.kept if kept.startswith(f"{user}-")]
        assert mine == [f"{user}-{number}" for number in range(12)]


def test_a_new_start_goes_on_where_the_last_one_left_off(bench: Any, call: Make, log: Log) -> None:
    """Stopped while the vendor hangs, what was not settled is delivered by the next start."""
    gate = asyncio.Event()

    async def hang(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()

    stuck = bench.dispatcher(transport=httpx.ASGITransport(app=hang), deliver=settings(grace_seconds=0.0))
    accept(stuck, log, [call(f"m-{number}") for number in range(20)])

    async def main() -> None:
        async with delivering(stuck, log) as delivery:
            await until(lambda: "acme" in delivery.consumers)

    asyncio.run(main())
    assert counts(log) == {}
    deliver(bench.dispatcher(deliver=settings()), log)
    assert sorted(bench.vendor.kept) == sorted(f"m-{number}" for number in range(20))
    assert counts(log) == {"delivered": 20}


def reading(acme: Any, read: Any) -> Any:
    """Return the little vendor with another reader of answers."""

    class Reading(acme):
        """Reads answers otherwise."""

        events = type(acme.events)(
            "POST", acme.events.url, body=acme.events.body, auth=acme.events.auth, batch=acme.events.limits, read=read
        )

    return Reading({"api_key": "key-1234"}, id="acme")


class Script:
    """Answers for single items: the n-th request that carries an item gets the n-th fate of its list.

    As at Amplitude, a request with an item that is not taken is not taken at all: the others are sent again.
    """

    def __init__(self, fates: dict[str, list[Verdict]]) -> None:
        self.fates = fates
        self.seen: list[str] = []
        self.taken: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer with the fate of each item."""
        events = json.loads((await receive())["body"])["events"]
        names = [event["id"] for event in events]
        self.seen += names
        special = {name: self.fates[name].pop(0) for name in names if self.fates.get(name)}
        usual = Verdict(Fate.RESEND if special else Fate.DELIVERED)
        if not special:
            self.taken += names
        verdicts = [special.get(name, usual) for name in names]
        told = [[verdict.fate.value, verdict.wait, verdict.own] for verdict in verdicts]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})

    @staticmethod
    def read(answer: Answer, count: int) -> list[Verdict]:
        """Read what `__call__` wrote."""
        told: Any = answer.json()
        reason = Reason(Code.VENDOR_REFUSED, "said no")
        return [Verdict(Fate(fate), reason, wait, own) for fate, wait, own in told]


LATER = Verdict(Fate.RETRY, wait=0.02, own=True)
AGAIN = Verdict(Fate.RETRY)
NO = Verdict(Fate.REFUSED)


def scripted(bench: Any, acme: Any, fates: dict[str, list[Verdict]], **given: Any) -> tuple[Dispatcher, Script]:
    script = Script(fates)
    destination = reading(acme, Script.read)
    return bench.dispatcher(destination, transport=httpx.ASGITransport(app=script), deliver=settings(**given)), script


def test_a_throttled_user_waits_and_the_others_go_on(bench: Any, acme: Any, call: Make, log: Log) -> None:
    """Their later events go behind; everybody's order is kept."""
    dispatcher, script = scripted(bench, acme, {"a-1": [LATER, LATER]})
    accept(dispatcher, log, [call(f"{user}-{number}", userId=user) for number in range(4) for user in ("a", "b", "c")])
    deliver(dispatcher, log)
    assert [one for one in script.taken if one.startswith("a")] == ["a-0", "a-1", "a-2", "a-3"]
    assert script.taken.index("b-3") < script.taken.index("a-1")
    assert counts(log) == {"delivered": 12}


def test_a_refused_item_is_a_dead_letter_and_the_rest_goes_on(bench: Any, acme: Any, call: Make, log: Log) -> None:
    """With the vendor's words and the item; an event of several items is dead when one of them is."""
    dispatcher, script = scripted(bench, acme, {"m-1": [NO]})
    accept(dispatcher, log, [call(f"m-{number}", userId="u") for number in range(3)])
    deliver(dispatcher, log)
    assert script.taken == ["m-0", "m-2"]
    assert counts(log) == {"delivered": 2, "dead/vendor_refused": 1}
    (letter,) = log.dead(DeadQuery())
    assert (letter.message_id, letter.reason.message, letter.attempts) == ("m-1", "said no", 1)
    assert json.loads(letter.items[0].data)["id"] == "m-1"
    assert json.loads(letter.event)["messageId"] == "m-1"


def test_an_item_that_fails_for_ever_is_given_up(bench: Any, acme: Any, call: Make, log: Log) -> None:
    """After the least number of attempts and the age; its user's later events then go out."""
    dispatcher, script = scripted(bench, acme, {"m-0": [AGAIN] * 50}, min_attempts=3)
    accept(dispatcher, log, [call("m-0", userId="u"), call("m-1", userId="u"), call("m-2", userId="v")])
    deliver(dispatcher, log)
    assert script.seen.count("m-0") == 3
    assert script.taken[-1] == "m-1" or script.taken[0] == "m-2"
    assert counts(log) == {"delivered": 2, "dead/vendor_refused": 1}


def test_pauses_that_the_vendor_asks_for_age_nothing(bench: Any, acme: Any, call: Make, log: Log) -> None:
    """However often, while an item without such a pause would have been given up."""
    dispatcher, script = scripted(bench, acme, {"m-0": [LATER] * 9}, min_attempts=3)
    accept(dispatcher, log, [call("m-0")])
    deliver(dispatcher, log)
    assert script.seen.count("m-0") == 10
    assert counts(log) == {"delivered": 1}


def test_a_destination_that_is_down_keeps_its_events(bench: Any, acme: Any, call: Make, log: Log) -> None:
    """Nothing is given up while requests fail and the age is not reached; then all of it is delivered."""
    down = {"yes": True}

    async def vendor(scope: Any, receive: Any, send: Any) -> None:
        if down["yes"]:
            raise OSError("gone")
        await bench.vendor(scope, receive, send)

    dispatcher = bench.dispatcher(transport=httpx.ASGITransport(app=vendor), deliver=settings(max_age_hours=1.0))
    accept(dispatcher, log, [call(f"m-{number}") for number in range(30)])

    async def main() -> None:
        async with delivering(dispatcher, log) as delivery:
            await until(lambda: bool(delivery.consumers) and delivery.consumers["acme"].breaker.state == "open")
            assert counts(log) == {}
            down["yes"] = False
            await until(delivery.empty)

    asyncio.run(main())
    assert sorted(bench.vendor.kept) == sorted(f"m-{number}" for number in range(30))
    assert counts(log) == {"delivered": 30}


def test_a_refused_key_pauses_and_burns_nothing(
    bench: Any, call: Make, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said loudly; once the key is good, every event is delivered."""
    bad = {"yes": True}

    async def vendor(scope: Any, receive: Any, send: Any) -> None:
        if not bad["yes"]:
            await bench.vendor(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"no such key"})

    dispatcher = bench.dispatcher(transport=httpx.ASGITransport(app=vendor), deliver=settings())
    accept(dispatcher, log, [call(f"m-{number}") for number in range(5)])

    async def main() -> None:
        async with delivering(dispatcher, log) as delivery:
            await until(lambda: bool(delivery.consumers) and delivery.consumers["acme"].attempts >= 4)
            assert delivery.consumers["acme"].breaker.state == "setup"
            bad["yes"] = False
            await until(delivery.empty)

    asyncio.run(main())
    assert counts(log) == {"delivered": 5}
    assert "destination 'acme' is paused: HTTP 401: no such key" in caplog.text


def test_bad_tls_pauses_and_burns_nothing(bench: Any, call: Make, log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """It is no fault of an event; once the vendor can be trusted, every event is delivered."""
    bad = {"yes": True}

    class Distrust(httpx.ASGITransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if bad["yes"]:
                why = ssl.SSLCertVerificationError("self-signed certificate")
                raise httpx.ConnectError("self-signed certificate", request=request) from why
            return await super().handle_async_request(request)

    dispatcher = bench.dispatcher(transport=Distrust(app=bench.vendor), deliver=settings(max_age_hours=0.0))
    accept(dispatcher, log, [call(f"m-{number}") for number in range(5)])

    async def main() -> None:
        async with delivering(dispatcher, log) as delivery:
            await until(lambda: bool(delivery.consumers) and delivery.consumers["acme"].attempts >= 7)
            assert delivery.consumers["acme"].breaker.state == "setup"
            bad["yes"] = False
            await until(delivery.empty)

    asyncio.run(main())
    assert counts(log) == {"delivered": 5}
    assert "destination 'acme' is paused: The connection to acme.example failed: self-signed" in caplog.text


def test_pauses_of_a_vendor_that_has_too_much_do_not_count(bench: Any, call: Make, log: Log) -> None:
    """Its 429 says not for how long; the time until it takes something again makes no event too old."""
    bench.vendor.fail(429, times=4)
    dispatcher = bench.dispatcher(deliver=settings(max_age_hours=0.0005, min_attempts=1))
    accept(dispatcher, log, [call("m-1")])
    deliver(dispatcher, log)
    assert counts(log) == {"delivered": 1}


def test_three_destinations_are_independent(bench: Any, acme: Any, call: Make, log: Log) -> None:
    """One is dead and one hangs: the third has everything."""

    async def vendor(scope: Any, receive: Any, send: Any) -> None:
        host = dict(scope["headers"])[b"host"].decode()
        if host == "dead.example":
            raise OSError("gone")
        if host == "slow.example":
            await asyncio.sleep(60)
        await bench.vendor(scope, receive, send)

    kinds = [acme({"api_key": "k", "base_url": f"http://{name}.example"}, id=name) for name in ("dead", "slow", "good")]
    dispatcher = bench.dispatcher(
        *kinds, transport=httpx.ASGITransport(app=vendor), deliver=settings(grace_seconds=0.0, max_age_hours=1.0)
    )
    accept(dispatcher, log, [call(f"m-{number}") for number in range(40)])

    async def main() -> None:
        async with delivering(dispatcher, log):
            await until(lambda: counts(log, "good") == {"delivered": 40})

    asyncio.run(main())
    assert len(bench.vendor.kept) == 40
    assert counts(log, "dead") == counts(log, "slow") == {}


def test_a_mapping_that_breaks_delivery_itself_harms_nobody_else(bench: Any, acme: Any, call: Make, log: Log) -> None:
    """A destination whose endpoint's reader is no function of ours is retried, the other one is served."""

    class Odd(acme):
        """Maps to what can't be counted."""

        def rules_for(self, event: Any) -> Any:
            raise MemoryError("no room")

    dispatcher = bench.dispatcher(
        acme({"api_key": "k"}, id="good"), Odd({"api_key": "k"}, id="odd"), deliver=settings()
    )
    accept(dispatcher, log, [call("m-1")])
    deliver(dispatcher, log)
    assert counts(log, "good") == {"delivered": 1}
    assert counts(log, "odd") == {"failed/plugin_raised": 1}


def test_a_mapping_that_never_comes_back_is_interrupted(bench: Any, acme: Any, call: Make, log: Log) -> None:
    """Its event is a dead letter, the others are delivered."""

    class Endless(acme):
        """Has a rule that hangs."""

        def prepare(self, event: Any, carried: Any) -> Any:
            while event.message_id == "m-1":
                pass
            return event

    dispatcher = bench.dispatcher(Endless({"api_key": "k"}, id="acme"), deliver=settings(mapping_seconds=0.2))
    accept(dispatcher, log, [call(f"m-{number}") for number in range(3)])
    deliver(dispatcher, log)
    assert counts(log) == {"delivered": 2, "failed/plugin_too_slow": 1}
    (letter,) = log.dead(DeadQuery())
    assert json.loads(letter.event)["messageId"] == "m-1"


def test_a_copy_is_not_accepted_twice(bench: Any, call: Make, log: Log) -> None:
    """By source and message id, also after a restart; another source may use the same id."""
    dispatcher = bench.dispatcher(deliver=settings())
    events = [
        dispatcher.normaliser.event(event) for event in (call("m-1"), call("m-1"), {**call("m-1"), "writeKey": "w"})
    ]
    for expected in ([1, None, 2], [None, None, None]):
        with Acceptor(log, dispatcher.log_settings, now_ms) as acceptor:
            receipts = acceptor.accept(events)
        assert [receipt.position for receipt in receipts] == expected
        assert all(receipt.accepted for receipt in receipts)
    assert log.last() == 2


def test_an_accepted_event_is_the_same_event_later(bench: Any, call: Make, log: Log) -> None:
    """What was made at acceptance (message id, times) is kept, whatever the clock says at delivery."""
    dispatcher = bench.dispatcher(deliver=settings())
    event = dispatcher.normaliser.event({"type": "track", "userId": 7, "event": "Sold", "context": {"ip": None}})
    with Acceptor(log, dispatcher.log_settings, now_ms) as acceptor:
        acceptor.accept([event])
    (kept,) = log.read(0)
    again = dispatcher.normaliser.event(kept.data)
    assert (again.message_id, again.timestamp_ms, again.user_id) == (event.message_id, event.timestamp_ms, "7")


def test_a_parked_event_that_was_damaged_is_a_dead_letter_and_the_rest_goes_on(
    bench: Any, call: Make, tmp_path: Path
) -> None:
    """The event itself is in the letter, so that it can be mapped once more."""
    log = SqliteLog(tmp_path / "turnout.log")
    dispatcher = bench.dispatcher(deliver=settings())
    accept(dispatcher, log, [call(f"m-{number}", userId="u") for number in range(3)])
    first = log.read(0)[0]
    log.register("acme")
    item = StoredItem("events", b'{"id":"m-0"}', "m-0", "tracked")
    waits = Parked(user="u", position=1, message_id="m-0", items=[item], due_ms=1, event=first.data)
    log.settle("acme", Settlement(position=1, park=[waits]))
    with closing(sqlite3.connect(log.path)) as connection, connection:
        connection.execute("UPDATE parked SET items = 'x'")
    deliver(dispatcher, log)
    assert counts(log) == {"dead/bad_request": 1, "delivered": 2}
    [letter] = log.dead(DeadQuery())
    assert (letter.message_id, letter.event, letter.items) == ("m-0", first.data, [])
    assert "Replay it" in letter.reason.message
    assert sorted(bench.vendor.kept) == ["m-1", "m-2"]
    log.close()


def test_sessions_go_on_after_a_restart(log: Log) -> None:
    """What carries over is kept with the cursor: the second start knows the device."""
    simulator = AmplitudeSimulator()
    destination = Amplitude({"api_key": "k", "connection_mode": "device"}, id="amplitude")
    dispatcher = Dispatcher([destination], transport=httpx.ASGITransport(app=simulator), deliver=settings())
    for number in range(2):
        event = {
            "type": "track",
            "event": "Seen",
            "messageId": f"m-{number}",
            "anonymousId": "anon-1",
            "timestamp": f"2026-01-01T00:0{number}:00Z",
            "context": {"library": {"name": "analytics.js"}, "page": {"search": "?utm_source=letter"}},
        }
        accept(dispatcher, log, [event])
        deliver(dispatcher, log)
    sent = [event["event_type"] for entry in simulator.ledger for event in entry.body["events"]]
    assert sent == ["$identify", "Seen", "Seen"]


def test_two_deliveries_on_one_log_are_refused(bench: Any, log: Log) -> None:
    """The second one is told who has it."""
    dispatcher = bench.dispatcher(deliver=settings())

    async def main() -> None:
        async with delivering(dispatcher, log) as delivery:
            await until(lambda: bool(delivery.consumers))
            with pytest.raises(Exception, match="deliver"):
                await Delivery(dispatcher, log).run(asyncio.Event())

    asyncio.run(main())


def test_a_rate_limit_holds(bench: Any, acme: Any, call: Make, log: Log) -> None:
    """With `max_requests_per_second`, requests are spread; nothing is lost."""
    destination = acme({"api_key": "k", "max_requests_per_second": 200.0, "max_events_per_second": 1000.0}, id="acme")
    dispatcher = bench.dispatcher(destination, deliver=settings())
    accept(dispatcher, log, [call(f"m-{number}") for number in range(30)])
    deliver(dispatcher, log)
    assert counts(log) == {"delivered": 30}


@pytest.mark.parametrize("more", [[], [LATER]])
def test_parked_events_of_one_user_are_woken_once(bench: Any, acme: Any, call: Make, log: Log, more: list[Any]) -> None:
    """Also when they need several batches of a lane, and when the first of them has to wait once more."""
    dispatcher, script = scripted(bench, acme, {"m-0": [LATER], "m-5": more}, lanes=1, events_at_once=4)
    accept(dispatcher, log, [call(f"m-{number}", userId="u") for number in range(12)])
    deliver(dispatcher, log)
    assert script.taken == [f"m-{number}" for number in range(12)]
    assert counts(log) == {"delivered": 12}


class Counting(SqliteLog):
    """Counts how often somebody asks for what is due."""

    asked = 0

    def due(self, *given: Any) -> Any:
        """Return the same, and count."""
        self.asked += 1
        return super().due(*given)


def test_while_the_vendor_asks_for_a_pause_nobody_looks_for_what_is_due(
    bench: Any, acme: Any, call: Make, tmp_path: Path
) -> None:
    """A parked event whose time has come is in a lane then, until the pause ends: the log has nothing else to tell."""
    pause = Verdict(Fate.RETRY, wait=3600.0)
    given = {"lanes": 1, "poll_seconds": 1000.0, "grace_seconds": 0.0}
    dispatcher, script = scripted(bench, acme, {"a-0": [LATER, pause]}, **given)
    log = Counting(tmp_path / "turnout.log")
    accept(dispatcher, log, [call("a-0")])

    async def main() -> None:
        async with delivering(dispatcher, log):
            await until(lambda: len(script.seen) == 2)
            before = log.asked
            await asyncio.sleep(0.2)
            assert log.asked - before <= 2

    asyncio.run(main())
    assert log.parked("acme") == 1
    log.close()


def test_whose_time_comes_while_another_waits_for_its_answer_is_not_slept_over(
    bench: Any, acme: Any, call: Make, log: Log
) -> None:
    """However seldom new events are looked for, and although one that was due before is still on its way."""
    given = {"lanes": 2, "poll_seconds": 1000.0, "grace_seconds": 0.0, "timeout_seconds": 60.0}
    fates = {"a-0": [LATER], "b-0": [Verdict(Fate.RETRY, wait=0.5, own=True)]}
    dispatcher, script = scripted(bench, acme, fates, **given)

    async def vendor(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        if b'"a-0"' in message["body"] and "a-0" in script.seen:
            await asyncio.Event().wait()  # its second answer never comes

        async def whole() -> Any:
            return message

        await script(scope, whole, send)

    dispatcher.transport = httpx.ASGITransport(app=vendor)
    other = next(name for name in "bcdefghijklmnopqrstuvwxyz" if hash(name) % 2 != hash("a") % 2)
    accept(dispatcher, log, [call("a-0", userId="a"), call("b-0", userId=other)])

    async def main() -> None:
        async with delivering(dispatcher, log):
            await until(lambda: "b-0" in script.taken)

    asyncio.run(main())
    assert script.taken == ["b-0"]


def test_what_is_parked_asks_a_vendor_of_whom_nobody_else_wants_anything(
    bench: Any, acme: Any, call: Make, log: Log
) -> None:
    """When all that was on its way is given up, nothing but a parked event finds out that the vendor answers again."""
    gone = Verdict(Fate.RETRY, wait=0.0)
    fates = {"a-0": [Verdict(Fate.RETRY, wait=0.2, own=True)], "b-0": [gone] * 5}
    dispatcher, script = scripted(bench, acme, fates, min_attempts=5, lanes=1)
    accept(dispatcher, log, [call("a-0", userId="a")])

    async def main() -> None:
        async with delivering(dispatcher, log) as delivery:
            await until(lambda: log.parked("acme") == 1)
            await asyncio.to_thread(accept, dispatcher, log, [call("b-0", userId="b")])
            await until(delivery.empty)

    asyncio.run(main())
    assert script.taken == ["a-0"]
    assert dead(log) == [("b-0", "vendor_refused")]


def test_a_user_is_let_go_only_when_nothing_waits(bench: Any, acme: Any, call: Make, tmp_path: Path) -> None:
    """An event that is parked while the log is asked about its user stays in front of later ones."""

    class Slow(SqliteLog):
        """Takes its time to say what waits."""

        def behind(self, destination: str, user: str, limit: int = 100) -> list[Parked]:
            found = super().behind(destination, user, limit)
            if limit == 1:
                time.sleep(0.2)
            return found

    log = Slow(tmp_path / "turnout.log")
    dispatcher, script = scripted(bench, acme, {"m-0": [LATER], "m-2": [LATER]}, lanes=1, events_at_once=2)
    accept(dispatcher, log, [call(f"m-{number}", userId="u") for number in range(9)])
    deliver(dispatcher, log)
    assert script.taken == [f"m-{number}" for number in range(9)]
    assert counts(log) == {"delivered": 9}
    log.close()


def test_a_parked_item_of_an_endpoint_that_is_gone_is_a_dead_letter(
    bench: Any, acme: Any, call: Make, log: Log
) -> None:
    """With its event, and the destination goes on."""
    dispatcher = bench.dispatcher(acme({"api_key": "k"}, id="acme"), deliver=settings())
    accept(dispatcher, log, [call("m-0", userId="u"), call("m-1", userId="u")])
    log.register("acme")
    item = StoredItem("vanished", b"{}", None, "tracked")
    parked = Parked(user="u", position=1, message_id="m-0", items=[item], due_ms=1, event=b'{"x":1}')
    log.settle("acme", Settlement(position=1, park=[parked]))
    deliver(dispatcher, log)
    assert counts(log) == {"delivered": 1, "dead/endpoint_gone": 1}
    (letter,) = log.dead(DeadQuery())
    assert (letter.event, letter.items) == (b'{"x":1}', [item])


POISON = """
import asyncio, os, sys
import httpx
from turnout import ITEMS, Destination, Dispatcher, Endpoint, Settings, json_body, rule
from turnout.deliver import Delivery
from turnout.sqlite_log import SqliteLog

class Poisoned(Destination):
    name = "Poisoned"
    settings = Settings
    events = Endpoint("POST", "https://poisoned.example", body=json_body(ITEMS))

    @rule("track")
    def tracked(self, event):
        if event.event == "Poison":
            os._exit(3)
        return self.events.item({"id": event.message_id})

async def main():
    log = SqliteLog(sys.argv[1])
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    delivery, stop = Delivery(Dispatcher([Poisoned({})], transport=transport), log), asyncio.Event()
    task = asyncio.create_task(delivery.run(stop))
    while not await asyncio.to_thread(delivery.empty):
        await asyncio.sleep(0.01)
    stop.set()
    await task

asyncio.run(main())
"""


def test_an_event_that_kills_the_process_takes_three_with_it_and_no_more(bench: Any, call: Make, log: Log) -> None:
    """Then it is a dead letter, and all others are delivered."""
    dispatcher = bench.dispatcher(deliver=settings())
    accept(dispatcher, log, [call(f"m-{number}", event="Poison" if number == 7 else "Sold") for number in range(20)])
    codes = []
    while not codes or codes[-1]:
        codes.append(subprocess.run([sys.executable, "-c", POISON, log.path], check=False).returncode)
        assert len(codes) < 6
    assert codes == [3, 3, 3, 0]
    assert dead(log) == [("m-7", "process_died")]
    assert counts(log, "poisoned") == {"delivered": 19, "failed/process_died": 1}


def test_a_full_disk_holds_delivery_up_and_loses_nothing(
    bench: Any, call: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for room, says so, and goes on."""
    monkeypatch.setattr("turnout.consumer._FULL_WAIT", 0.01)

    class Full(SqliteLog):
        """Has no room three times."""

        left = 3

        def settle(self, destination: str, settlement: Settlement) -> list[int]:
            if self.left:
                self.left -= 1
                raise LogFull("no room")
            return super().settle(destination, settlement)

    log = Full(tmp_path / "turnout.log")
    dispatcher = bench.dispatcher(deliver=settings())
    accept(dispatcher, log, [call(f"m-{number}") for number in range(5)])
    deliver(dispatcher, log)
    assert counts(log) == {"delivered": 5}
    assert sorted(bench.vendor.kept) == [f"m-{number}" for number in range(5)]
    assert "destination 'acme' waits: no room" in caplog.text
    log.close()


def test_what_everybody_has_had_goes_when_the_log_fills_up(bench: Any, call: Make, tmp_path: Path) -> None:
    """With `max_megabytes`, before `keep_hours` are over; what is needed stays."""
    log = SqliteLog(tmp_path / "turnout.log")
    dispatcher = bench.dispatcher(
        deliver=settings(), log=LogSettings.configure({"max_megabytes": 1, "path": "x"}, owner="[log]")
    )
    for batch in range(40):
        texts = [random.Random(batch * 100 + number).randbytes(9000).hex() for number in range(3)]
        accept(dispatcher, log, [call(f"m-{batch}-{at}", do="drop", noise=text) for at, text in enumerate(texts)])
    deliver(dispatcher, log)
    assert log.first() > 1
    assert counts(log) == {"dropped/filtered": 120}
    log.close()


def test_a_log_that_is_full_has_room_soon_after_it_was_delivered(
    bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At the next look at the disk, and not only when what is too old goes: until then senders are refused."""
    monkeypatch.setattr("turnout.deliver._LOOK_EVERY", 0.01)
    monkeypatch.setattr("turnout.deliver._LOOKS", 10**9)
    log = SqliteLog(tmp_path / "turnout.log", max_bytes=1_000_000)
    dispatcher = bench.dispatcher(
        deliver=settings(), log=LogSettings.configure({"max_megabytes": 1, "path": "x"}, owner="[log]")
    )

    async def main() -> None:
        stop, begun = asyncio.Event(), asyncio.Event()
        delivering = asyncio.create_task(Delivery(dispatcher, log).run(stop, begun.set))
        await begun.wait()
        batches = 0
        async with asyncio.timeout(60):
            while log.first() == 1:
                with contextlib.suppress(LogFull):
                    await asyncio.to_thread(accept, dispatcher, log, _noisy(str(batches), 10))
                batches += 1
        stop.set()
        await delivering

    asyncio.run(main())
    log.close()


class Narrow(SqliteLog):
    """On a disk of 100 MB, of which others have taken all but 8."""

    def room(self) -> Room:
        return Room(8_000_000 - self.size(), 100_000_000)


def _noisy(name: str, count: int) -> list[dict[str, Any]]:
    """Return events of 18 KB that can't be compressed much, and that a vendor never gets."""
    texts = [random.Random(f"{name}-{number}").randbytes(9000).hex() for number in range(count)]
    call = {"type": "track", "event": "Sold", "userId": "u-1"}
    return [
        {**call, "messageId": f"m-{name}-{number}", "properties": {"do": "drop", "noise": text}}
        for number, text in enumerate(texts)
    ]


def test_what_everybody_has_had_goes_when_the_disk_is_nearly_full(
    bench: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before `keep_hours` are over: the oldest, and only as much as is lacking."""
    log = Narrow(tmp_path / "turnout.log")
    dispatcher = bench.dispatcher(deliver=settings())
    for batch in range(50):
        accept(dispatcher, log, _noisy(str(batch), 10))
    assert log.room().free < 3_000_000
    deliver(dispatcher, log)
    assert 1 < log.first() < log.last() == 500
    assert log.room().free >= 5_000_000
    assert counts(log) == {"dropped/filtered": 500}
    assert caplog.text.count("what every destination has had goes before its keep_hours") == 1
    log.close()


def test_what_one_still_needs_stays_on_a_full_disk(bench: Any, tmp_path: Path) -> None:
    """Though another one has had it."""
    log = Narrow(tmp_path / "turnout.log")
    dispatcher = bench.dispatcher(deliver=settings())
    log.register("slow")
    for batch in range(50):
        accept(dispatcher, log, _noisy(str(batch), 10))
    log.settle("slow", Settlement(position=20))
    deliver(dispatcher, log)
    assert (log.first(), log.last(), log.states()["slow"].pending) == (21, 500, 480)
    log.close()


def test_a_disk_that_does_not_tell_its_room_deletes_nothing(bench: Any, tmp_path: Path) -> None:
    """What was delivered stays for `keep_hours`."""

    class Silent(SqliteLog):
        def room(self) -> None:
            return None

    log = Silent(tmp_path / "turnout.log")
    dispatcher = bench.dispatcher(deliver=settings())
    accept(dispatcher, log, _noisy("only", 10))
    deliver(dispatcher, log)
    assert (log.first(), counts(log)) == (1, {"dropped/filtered": 10})
    log.close()


def test_a_destination_with_too_many_dead_letters_rests_until_some_are_gone(
    bench: Any, call: Make, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost and nothing is read meanwhile; the log says what to do."""
    dispatcher = bench.dispatcher(deliver=settings(max_dead_letters=3))
    accept(dispatcher, log, [call(f"bad-{number}", do="refuse") for number in range(3)])

    async def main() -> None:
        async with delivering(dispatcher, log) as delivery:
            await until(lambda: "it rests" in caplog.text)
            accept(dispatcher, log, [call("good")])
            await asyncio.sleep(0.1)
            assert not delivery.empty()
            assert bench.vendor.kept == []
            log.bury([next(log.dead(DeadQuery())).id])
            await until(delivery.empty)

    asyncio.run(main())
    assert bench.vendor.kept == ["good"]
    assert "has 3 dead letters, as many as [deliver] max_dead_letters allows: it rests. Look at them" in caplog.text
    assert "has 2 dead letters: it goes on" in caplog.text


def test_too_many_dead_letters_are_noticed_at_the_start(bench: Any, call: Make, log: Log) -> None:
    """A restart does not begin to count anew."""
    plain = bench.dispatcher(deliver=settings())
    accept(plain, log, [call("bad", do="refuse")])
    deliver(plain, log)
    accept(plain, log, [call("good")])
    strict = bench.dispatcher(deliver=settings(max_dead_letters=1))

    async def main() -> None:
        async with delivering(strict, log) as delivery:
            await asyncio.sleep(0.1)
            assert not delivery.empty()

    asyncio.run(main())
    assert bench.vendor.kept == []

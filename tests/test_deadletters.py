"""Dead letters, replay and `turnout log`: the calls, and the command line over them."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from turnout._logscreen import letters as show
from turnout.accepting import Acceptor, now_ms
from turnout.cli import main
from turnout.config import DeliverSettings, LogSettings
from turnout.deadletters import called, line, purge, replay, secrets, when
from turnout.deliver import Delivery
from turnout.errors import ConfigError
from turnout.log import DeadLetter, DeadQuery, Entries, Log, LogError, Settlement, StoredItem
from turnout.logstatus import forget, left, status
from turnout.reading import Record
from turnout.reasons import Code, Outcome, Reason
from turnout.replaying import feed, rewind
from turnout.sqlite_log import SqliteLog

Make = Callable[..., dict[str, Any]]
Run = Callable[..., Result]
DAY = 86_400_000
QUICK = DeliverSettings.configure({"poll_seconds": 0.01, "timeout_seconds": 0.5}, owner="[deliver]")
LOG = LogSettings.configure({}, owner="[log]")
REFUSED = Reason(Code.VENDOR_REFUSED, "HTTP 400: no such thing")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    """A log in a new file, with the destination `acme`."""
    made = SqliteLog(tmp_path / "turnout.log")
    made.register("acme")
    yield made
    made.close()


def item(name: str) -> StoredItem:
    return StoredItem("events", json.dumps({"id": name, "name": "Sold"}).encode(), f"key-{name}", "tracked")


def text(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


def letter(event: dict[str, Any] | bytes, **given: Any) -> DeadLetter:
    """Return a letter of an event, by default one that the vendor has refused."""
    about = {"message_id": None, "user": ""}
    if isinstance(event, dict):
        about = {"message_id": event["messageId"], "user": event.get("userId", "")}
        given.setdefault("items", [item(event["messageId"])])
    raw = text(event) if isinstance(event, dict) else event
    return DeadLetter(**{"reason": REFUSED, "at_ms": now_ms(), "event": raw, "attempts": 1, **about, **given})


def failed(event: dict[str, Any], code: Code = Code.PLUGIN_RAISED, **given: Any) -> DeadLetter:
    """Return a letter of an event that could not be mapped."""
    return letter(event, outcome=Outcome.FAILED, reason=Reason(code, "it broke"), items=[], attempts=0, **given)


def bury(log: Log, *letters: DeadLetter, name: str = "acme") -> None:
    """Keep letters as a delivery does: with their counts."""
    log.register(name)
    for one in letters:
        log.settle(name, Settlement(dead=[one], counts={(one.outcome, one.reason.code): 1}))


def counts(log: Log, name: str = "acme") -> dict[str, int]:
    found = log.counts().get(name, {})
    return {f"{outcome}/{code}" if code else outcome.value: times for (outcome, code), times in found.items() if times}


def ids(log: Log) -> list[int]:
    return [one.id for one in log.dead(DeadQuery())]


def accept(log: Log, *events: dict[str, Any]) -> None:
    records = (Record(f"line {number}", text(event)) for number, event in enumerate(events, 1))
    assert feed(log, LOG, records).accepted == len(events)


def deliver(dispatcher: Any, log: Log) -> None:
    """Deliver until nothing is left."""

    async def run() -> None:
        delivery, stop = Delivery(dispatcher, log), asyncio.Event()
        task = asyncio.create_task(delivery.run(stop))
        async with asyncio.timeout(30):
            while not delivery.empty():
                await asyncio.sleep(0.005)
        stop.set()
        await task

    asyncio.run(run())


# What is shown


def test_a_line_has_everything_decoded(acme: Any, call: Make) -> None:
    """Event and items as JSON values, the time as ISO 8601."""
    made = letter(call("m-1"), id=7, destination="acme", position=3, at_ms=0, version="acme of x 1.0")
    assert line(made, ()) == {
        "id": 7,
        "at": "1970-01-01T00:00:00.000Z",
        "destination": "acme",
        "position": 3,
        "outcome": "dead",
        "attempts": 1,
        "version": "acme of x 1.0",
        "message_id": "m-1",
        "user": "user-m-1",
        "reason": {"code": "vendor_refused", "message": "HTTP 400: no such thing", "path": None},
        "event": call("m-1"),
        "items": [
            {"endpoint": "events", "rule": "tracked", "key": "key-m-1", "data": {"id": "m-1", "name": "Sold"}},
        ],
    }


def test_secrets_are_masked_wherever_they_stand(bench: Any, call: Make, acme: Any) -> None:
    """In texts, keys and numbers of event and items; what is shown is still JSON."""
    dispatcher = bench.dispatcher(acme({"api_key": "key-1234"}), acme({"api_key": "777"}, id="other"))
    stored = [StoredItem("events", b'{"key-1234": "a key-1234 b", "n": 777, "ok": [true, 7770, 1.5, null]}')]
    made = letter(call("m-1", token="key-1234"), items=stored)
    shown = line(made, secrets(dispatcher, "acme"))
    assert shown["items"][0]["data"] == {"***": "a *** b", "n": "***", "ok": [True, 7770, 1.5, None]}
    assert shown["event"]["properties"] == {"token": "***"}
    assert "key-1234" in json.dumps(line(made, ()))


def test_items_are_not_shown_when_nobody_can_tell_what_is_secret(bench: Any, call: Make) -> None:
    """Without a dispatcher, or for a destination that it doesn't have, they come without their data."""
    assert secrets(None, "acme") is None
    assert secrets(bench.dispatcher(), "gone") is None
    shown = line(letter(call("m-1")), None)
    assert (shown["items"][0]["data"], shown["event"]) == (None, call("m-1"))


@pytest.mark.parametrize(("raw", "shown"), [(b"", None), (b"{bad", "{bad"), (b"\xff", "�"), (b"[1]", [1])])
def test_an_event_that_is_no_json_is_shown_as_it_is(raw: bytes, shown: object) -> None:
    """Empty is null; text is text; nothing raises, and nothing is called by a name it doesn't have."""
    assert line(letter(raw), ())["event"] == shown
    assert called(letter(raw)) == "?"


def test_events_are_called_by_what_people_know() -> None:
    """The call, and the name that it has."""
    assert called(letter({"messageId": "m", "type": "track", "event": "Sold"})) == "track Sold"
    assert called(letter({"messageId": "m", "type": "page", "event": 3, "name": "Home"})) == "page Home"
    assert called(letter({"messageId": "m", "type": "group", "groupId": "g-1"})) == "group g-1"
    assert called(letter({"messageId": "m", "type": "identify"})) == "identify"


def test_a_time_beyond_the_calendar_is_shown_too() -> None:
    """A damaged time is no traceback."""
    assert when(2**62) == f"{2**62} ms"


# Replay


def test_a_replayed_letter_is_parked_as_it_was_and_no_longer_dead(log: SqliteLog, call: Make) -> None:
    """The same items under the same keys, due now; the count of its old outcome loses it."""
    bury(log, letter(call("m-1"), position=0), letter(call("m-2")))
    done = replay(log, DeadQuery(ids=[1]), clock=lambda: 5000)
    assert (done.parked, done.stays) == ({"acme": 1}, [])
    [parked] = log.due("acme", 5000)
    assert (parked.items, parked.user, parked.message_id) == ([item("m-1")], "user-m-1", "m-1")
    assert (parked.attempts, parked.active_ms, parked.due_ms, parked.reason) == (0, 0, 5000, REFUSED)
    assert (ids(log), counts(log)) == ([2], {"dead/vendor_refused": 1})


def test_a_dry_replay_changes_nothing(log: SqliteLog, bench: Any, call: Make) -> None:
    """It tells the same as the replay itself."""
    bury(log, letter(call("m-1")), failed(call("m-2")), failed(call("m-3", do="raise")), failed(call("m-4", do="drop")))
    before = counts(log)
    dry = replay(log, DeadQuery(), dispatcher=bench.dispatcher(), dry=True)
    assert (ids(log), counts(log), log.parked("acme")) == ([1, 2, 3, 4], before, 0)
    assert replay(log, DeadQuery(), dispatcher=bench.dispatcher()) == dry


def test_what_could_not_be_mapped_is_mapped_again(log: SqliteLog, bench: Any, call: Make) -> None:
    """With the settings of now: to items, to an outcome of its own, or it stays; every count is right."""
    events = [call("m-1"), call("m-2", do="drop"), call("m-3", do="refuse"), call("m-4", do="raise")]
    bury(log, *map(failed, events))
    done = replay(log, DeadQuery(), dispatcher=bench.dispatcher())
    assert (done.parked, done.dropped) == ({"acme": 1}, {"acme": 1})
    assert [(one.code, one.first, one.letters) for one in done.stays] == [
        (Code.VALUE_INVALID, 3, 1),
        (Code.PLUGIN_RAISED, 4, 1),
    ]
    [parked] = log.due("acme", now_ms())
    assert [one.endpoint for one in parked.items] == ["events"]
    assert (parked.user, parked.message_id, ids(log)) == ("user-m-1", "m-1", [3, 4])
    assert counts(log) == {"failed/plugin_raised": 2, "dropped/filtered": 1}


def test_reasons_to_stay_are_counted_by_code(log: SqliteLog, bench: Any, call: Make) -> None:
    """With the words and the id of the first one."""
    bury(log, *(failed(call(f"m-{number}", do="refuse")) for number in range(3)))
    [stays] = replay(log, DeadQuery(), dispatcher=bench.dispatcher()).stays
    assert (stays.destination, stays.first, stays.letters, stays.message) == ("acme", 1, 3, "no such value")


def test_letters_that_can_not_be_replayed_stay(log: SqliteLog, bench: Any, call: Make) -> None:
    """No event, no mapping, no endpoint, no destination, no cursor: each says why, and none is lost."""
    gone = StoredItem("old", b"{}")
    bury(log, letter(b"", items=[]), letter(b"{bad", items=[]), letter(call("m-3"), items=[gone]))
    bury(log, letter(call("m-4")), name="other")
    bury(log, letter(call("m-5")), name="left")
    log.forget("left")
    before = ids(log)
    done = replay(log, DeadQuery(), dispatcher=bench.dispatcher())
    told = {one.first: one.message for one in done.stays}
    assert told.keys() == {1, 2, 3, 4, 5}
    assert "can't be read" in told[1]
    assert "JSON" in told[2]
    assert "no endpoint old" in told[3]
    assert "not in the configuration" in told[4]
    assert "no delivery knows" in told[5]
    assert (ids(log), log.parked("acme")) == (before, 0)


def test_without_a_dispatcher_items_go_out_and_events_stay(log: SqliteLog, call: Make) -> None:
    """Items need no mapping."""
    bury(log, letter(call("m-1")), failed(call("m-2")))
    done = replay(log, DeadQuery())
    assert done.parked == {"acme": 1}
    assert [(one.first, "--config" in one.message) for one in done.stays] == [(2, True)]


@pytest.mark.parametrize("code", [Code.PROCESS_DIED, Code.PLUGIN_TOO_SLOW])
def test_an_event_whose_mapping_did_harm_is_only_mapped_when_it_is_named(
    log: SqliteLog, bench: Any, call: Make, code: Code
) -> None:
    """By its id or its reason: a replay of everything must not die of it, or hang."""
    bury(log, failed(call("m-1"), code))
    dispatcher = bench.dispatcher()
    for query in (DeadQuery(), DeadQuery(destination="acme")):
        assert replay(log, query, dispatcher=dispatcher).stays[0].code is None
    for named in (DeadQuery(code=code), DeadQuery(ids=[1])):
        assert not replay(log, named, dispatcher=dispatcher, dry=True).stays


def test_letters_go_in_the_order_in_which_they_died(log: SqliteLog, call: Make) -> None:
    """More than fit in one settlement, of one user; what waits already stays ahead."""
    bury(log, *(letter(call(f"m-{number}", userId="u-1")) for number in range(450)))
    assert replay(log, DeadQuery()).parked == {"acme": 450}
    assert [one.message_id for one in log.behind("acme", "u-1", 1000)] == [f"m-{number}" for number in range(450)]
    assert len(log.due("acme", now_ms())) == 1
    assert ids(log) == []


def test_the_filters_choose_what_is_replayed(log: SqliteLog, call: Make) -> None:
    """By destination, reason, time (until excluded) and id."""
    other = Reason(Code.RATE_LIMITED, "slow down")
    bury(log, letter(call("m-1"), at_ms=1000), letter(call("m-2"), at_ms=2000, reason=other))
    bury(log, letter(call("m-3"), at_ms=3000), name="b")
    wanted = {
        DeadQuery(destination="b"): {"b": 1},
        DeadQuery(code=Code.RATE_LIMITED): {"acme": 1},
        DeadQuery(since_ms=2000): {"acme": 1, "b": 1},
        DeadQuery(until_ms=2000): {"acme": 1},
        DeadQuery(ids=(1, 3)): {"acme": 1, "b": 1},
        DeadQuery(ids=()): {},
        DeadQuery(destination="acme", code=Code.RATE_LIMITED, until_ms=2000): {},
    }
    assert {query: replay(log, query, dry=True).parked for query in wanted} == wanted


def test_a_replay_reaches_the_vendor_and_every_event_has_one_outcome(log: SqliteLog, bench: Any, call: Make) -> None:
    """Refused, mended at the vendor, replayed, delivered; received = outcomes all along."""
    bench.vendor.fail(status=400, times=None)
    dispatcher = bench.dispatcher(deliver=QUICK)
    accept(log, *(call(f"m-{number}") for number in range(5)), call("m-5", do="raise"))
    deliver(dispatcher, log)
    assert counts(log) == {"dead/vendor_refused": 5, "failed/plugin_raised": 1}
    bench.vendor.reset()
    replay(log, DeadQuery(), dispatcher=dispatcher)
    assert sum(counts(log).values()) + log.parked("acme") == 6
    deliver(dispatcher, log)
    assert sorted(bench.vendor.kept) == [f"m-{number}" for number in range(5)]
    assert counts(log) == {"failed/plugin_raised": 1, "delivered": 5}


def test_a_running_delivery_picks_a_replay_up(log: SqliteLog, bench: Any, call: Make, tmp_path: Path) -> None:
    """From another process's connection, without a restart; what the user sends next waits its turn."""
    dispatcher = bench.dispatcher(deliver=QUICK)
    bury(log, letter(call("m-1", userId="u-1")))

    async def run() -> None:
        delivery, stop = Delivery(dispatcher, log), asyncio.Event()
        task = asyncio.create_task(delivery.run(stop))
        elsewhere = SqliteLog(log.path)
        await asyncio.to_thread(replay, elsewhere, DeadQuery())
        elsewhere.close()
        async with asyncio.timeout(30):
            while not delivery.empty():
                await asyncio.sleep(0.005)
        stop.set()
        await task

    asyncio.run(run())
    assert (bench.vendor.kept, counts(log)) == (["m-1"], {"delivered": 1})


def test_a_letter_that_dies_again_is_not_replayed_in_the_same_run(log: SqliteLog, bench: Any, call: Make) -> None:
    """It has a new id, which the run doesn't have: a vendor that refuses it for good ends nothing."""

    class Refusing(SqliteLog):
        def settle(self, destination: str, settlement: Settlement) -> list[int]:
            made = super().settle(destination, settlement)
            for parked in self.due(destination, now_ms()):
                again = letter(call(parked.message_id))
                super().settle(destination, Settlement(unpark=[parked.id], dead=[again]))
            return made

    busy = Refusing(log.path)
    bury(busy, letter(call("m-1")), letter(call("m-2")))
    assert replay(busy, DeadQuery()).parked == {"acme": 2}
    assert ids(busy) == [3, 4]
    busy.close()


DYING = """
import os, signal, sys
from turnout.deadletters import replay
from turnout.log import DeadQuery
from turnout.sqlite_log import SqliteLog

class Dying(SqliteLog):
    left = int(sys.argv[2])

    def settle(self, destination, settlement):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().settle(destination, settlement)

replay(Dying(sys.argv[1]), DeadQuery())
"""


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_kill_loses_and_doubles_nothing(log: SqliteLog, call: Make, times: int) -> None:
    """A letter is either parked or dead, whenever the process dies; the next replay goes on."""
    names = [f"m-{number}" for number in range(500)]
    bury(log, *(letter(call(name, userId="u-1")) for name in names))
    done = subprocess.run([sys.executable, "-c", DYING, log.path, str(times)], check=False)
    assert done.returncode == -9
    left, parked = [one.message_id for one in log.dead(DeadQuery())], log.behind("acme", "u-1", 2000)
    assert left == names[200 * times :]
    assert [one.message_id for one in parked] == names[: 200 * times]
    assert replay(log, DeadQuery()).parked == {"acme": len(left)}
    assert {one.items[0].key for one in log.behind("acme", "u-1", 2000)} == {f"key-{name}" for name in names}
    assert (ids(log), log.parked("acme") + sum(counts(log).values())) == ([], 500)


def test_only_one_process_replays_or_purges(log: SqliteLog, call: Make) -> None:
    """Two at a time would send every letter twice; a dry run disturbs nobody."""
    bury(log, letter(call("m-1")))
    other = SqliteLog(log.path)
    with other.own("replay"):
        for work in (replay, purge):
            with pytest.raises(LogError, match="replay"):
                work(log, DeadQuery())
        assert replay(log, DeadQuery(), dry=True).parked == {"acme": 1}
    other.close()
    assert ids(log) == [1]


def test_purged_letters_are_gone_and_stay_counted(log: SqliteLog, call: Make) -> None:
    """Their events came to that end."""
    bury(log, *(letter(call(f"m-{number}")) for number in range(3)))
    assert purge(log, DeadQuery(ids=[1, 3, 99])) == 2
    assert (ids(log), counts(log)) == ([2], {"dead/vendor_refused": 3})


# Cursors, files, status


def filled(log: Log, *times: int) -> None:
    """Append two events for each time."""
    for number, at_ms in enumerate(times):
        keys = [bytes([number, copy]) * 8 for copy in range(2)]
        log.append(Entries([b"{}", b"{}"], keys, at_ms))


def test_a_cursor_goes_back_to_a_position_or_a_time(log: SqliteLog) -> None:
    """The position itself is delivered once more; a dry run leaves it."""
    filled(log, 1000, 2000, 3000)
    log.settle("acme", Settlement(position=6))
    done = rewind(log, "acme", position=2, dry=True)
    assert (done.position, done.cursor, done.events, log.register("acme").position) == (2, 6, 5, 6)
    rewind(log, "acme", position=2)
    assert log.register("acme").position == 1
    log.settle("acme", Settlement(position=6))
    assert [rewind(log, "acme", since_ms=at, dry=True).position for at in (0, 1000, 1001, 3000, 3001)] == [
        1,
        1,
        3,
        5,
        7,
    ]
    assert rewind(log, "acme", since_ms=3001).events == 0
    assert log.register("acme").position == 6


def test_a_cursor_never_goes_forward(log: SqliteLog) -> None:
    """That would skip events: a position still to come is refused, a time of such events changes nothing."""
    filled(log, 1000, 2000, 3000)
    with pytest.raises(Exception, match="nothing was delivered yet"):
        rewind(log, "acme", position=1)
    log.settle("acme", Settlement(position=3))
    with pytest.raises(Exception, match="Position 4 is still to come: the destination is done with the events up to 3"):
        rewind(log, "acme", position=4)
    assert rewind(log, "acme", since_ms=3000).events == 0
    assert log.register("acme").position == 3


def test_a_cursor_goes_back_to_what_is_still_there(log: SqliteLog) -> None:
    """A deleted position is refused with the oldest one; a time before it means the oldest one."""
    filled(log, 1000, 2000)
    log.settle("acme", Settlement(position=4))
    log.retain(age_ms=500, now_ms=2000)
    with pytest.raises(Exception, match="Position 2 is no longer there: the oldest event in the log is 3"):
        rewind(log, "acme", position=2)
    assert rewind(log, "acme", since_ms=0, dry=True).position == 3
    log.retain(age_ms=0, now_ms=9000)
    with pytest.raises(Exception, match="the log holds no events any more"):
        rewind(log, "acme", position=2)
    assert rewind(log, "acme", since_ms=0).events == 0


def test_a_cursor_is_not_moved_under_a_delivery(log: SqliteLog) -> None:
    """It keeps its place in memory and would go on from there."""
    filled(log, 1000)
    log.settle("acme", Settlement(position=2))
    other = SqliteLog(log.path)
    with other.own("deliver"):
        with pytest.raises(LogError, match="deliver"):
            rewind(log, "acme", position=1)
        assert rewind(log, "acme", position=1, dry=True).events == 2
    other.close()
    assert log.register("acme").position == 2


def test_an_unknown_destination_gets_no_cursor(log: SqliteLog) -> None:
    """Asking for one must not make it."""
    with pytest.raises(Exception, match="Did you mean 'acme'"):
        rewind(log, "acmee", position=1)
    assert log.destinations() == ["acme"]


def records(*sources: Any) -> list[Record]:
    made = [source if isinstance(source, bytes) else text(source) for source in sources]
    return [Record(f"line {number}", raw) for number, raw in enumerate(made, 1)]


def test_events_are_fed_once(log: SqliteLog, call: Make) -> None:
    """Copies within the file and of what was accepted before are told; `again` takes the latter, not the former."""
    given = records(call("m-1"), call("m-2"), call("m-1"))
    assert (feed(log, LOG, given, dry=True).accepted, log.last()) == (2, 0)
    first, second = feed(log, LOG, given), feed(log, LOG, given)
    assert [(one.accepted, one.duplicates) for one in (first, second)] == [(2, 1), (0, 3)]
    dry, again = feed(log, LOG, given, again=True, dry=True), feed(log, LOG, given, again=True)
    assert [(one.accepted, one.duplicates) for one in (dry, again)] == [(2, 1), (2, 1)]
    assert log.last() == 4
    assert feed(log, LOG, given, dry=True).duplicates == 3


def test_batches_are_fed_and_faults_are_told_with_their_place(log: SqliteLog, call: Make) -> None:
    """Line and place within the batch; at most ten in words, all in numbers."""
    given = records({"batch": [call("m-1"), {"type": "track"}]}, b"nonsense", *[b"{}"] * 12)
    for dry in (True, False):
        fed = feed(log, LOG, given, dry=dry)
        assert (fed.accepted, fed.refused, len(fed.faults)) == (1, 14, 10)
        assert [place for place, _ in fed.faults[:2]] == ["line 1, event 2", "line 2"]
    assert log.last() == 1


def test_a_full_log_says_what_it_took(tmp_path: Path, call: Make) -> None:
    """And the same file goes on where it stopped, once there is room."""
    full = SqliteLog(tmp_path / "small.log", max_bytes=400_000)
    noise = random.Random(1)
    given = records(*(call(f"m-{number}", text=noise.randbytes(300).hex()) for number in range(3000)))
    with pytest.raises(LogError, match=r"The ([\d,]+) events before it were kept. Give the same file again"):
        feed(full, LOG, given)
    kept = full.last()
    assert kept > 0
    full.max_bytes = None
    fed = feed(full, LOG, given)
    assert (fed.duplicates, fed.accepted) == (kept, 3000 - kept)
    full.close()


def test_feeding_needs_the_role_and_looking_does_not(log: SqliteLog, call: Make) -> None:
    """A service that accepts holds it; the sentence names what has it."""
    with Acceptor(SqliteLog(log.path), LOG, now_ms) as acceptor:
        with pytest.raises(LogError, match="accept"):
            feed(log, LOG, records(call("m-1")))
        assert feed(log, LOG, records(call("m-1")), dry=True).accepted == 1
        acceptor.log.close()


def test_a_forgotten_destination_keeps_no_events_in_the_log(log: SqliteLog, call: Make) -> None:
    """Its dead letters stay; a dry run changes nothing."""
    filled(log, 1000, 2000)
    bury(log, letter(call("m-1")))
    log.register("other")
    log.settle("other", Settlement(position=4, counts={(Outcome.DELIVERED, None): 4}))
    assert left(log, ["other"]) == ["acme"]
    assert log.retain(age_ms=0, now_ms=9000) == 0
    dry = forget(log, "acme", configured=["other"], dry=True)
    assert (dry.pending, dry.dead, log.destinations()) == (4, 1, ["acme", "other"])
    assert forget(log, "acme", configured=["other"]) == dry
    assert (left(log, ["other"]), log.count_dead(DeadQuery())) == ([], 1)
    assert log.retain(age_ms=0, now_ms=9000) == 4


def test_a_destination_that_is_in_use_is_not_forgotten(log: SqliteLog) -> None:
    """One of the configuration would begin anew; an unknown one is told what there is; a delivery has it in memory."""
    with pytest.raises(ConfigError, match=r"'acme' stands in the configuration.*Take it out there first"):
        forget(log, "acme", configured=["acme"])
    with pytest.raises(ConfigError, match=r"The log knows no destination 'acmee'. Did you mean 'acme'?"):
        forget(log, "acmee")
    other = SqliteLog(log.path)
    with closing(other), other.own("deliver"), pytest.raises(LogError, match="can't be opened to deliver"):
        forget(log, "acme")
    assert log.destinations() == ["acme"]


def test_the_status_tells_what_each_destination_has_to_do(log: SqliteLog, call: Make) -> None:
    """Cursor, behind, parked, dead, counts; a configured one that never began is there, and gets no cursor."""
    assert status(log)["first"] is status(log)["last"] is None
    filled(log, 1000, 2000)
    log.settle(
        "acme", Settlement(position=1, counts={(Outcome.DELIVERED, None): 1, (Outcome.DROPPED, Code.FILTERED): 0})
    )
    bury(log, letter(call("m-1")))
    replay(log, DeadQuery())
    bury(log, letter(call("m-2")))
    found = status(log, ["acme", "later"])
    assert {key: found[key] for key in ("first", "last", "events", "dead")} == {
        "first": 1,
        "last": 4,
        "events": 4,
        "dead": 1,
    }
    assert found["size"] == log.size() > 0
    assert found["destinations"] == [
        {
            "destination": "acme",
            "cursor": 1,
            "received": 4,
            "behind": 3,
            "parked": 1,
            "dead": 1,
            "counts": [
                {"outcome": "dead", "code": "vendor_refused", "events": 1},
                {"outcome": "delivered", "code": None, "events": 1},
            ],
        },
        {
            "destination": "later",
            "cursor": None,
            "received": 4,
            "behind": 4,
            "parked": 0,
            "dead": 0,
            "counts": [],
        },
    ]
    assert log.destinations() == ["acme"]


# The command line

CONFIG = """
[log]
path = "turnout.log"

[destinations.widget]
plugin = "widget"
token = "tok-1234"
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widget: Path) -> Run:
    """Runs the command line in this process, in a folder with a configuration."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("turnout.toml").write_text(CONFIG, encoding="utf-8")

    def call(*args: str, given: bytes | None = None) -> Result:
        result = CliRunner(env={"COLUMNS": "120"}).invoke(main, list(args), input=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        return result

    return call


@pytest.fixture
def letters(run: Run, call: Make) -> Iterator[SqliteLog]:
    """The log of that folder, with three letters of `widget` and one of `old`, which isn't configured."""
    made = SqliteLog("turnout.log")
    now = now_ms()
    secret = StoredItem("events", b'{"name": "Sold", "token": "tok-1234"}', "m-1", "tracked")
    bury(made, letter(call("m-1"), items=[secret], at_ms=now - 3 * DAY), name="widget")
    bury(made, failed(call("m-2", event="Explode"), at_ms=now - 2 * DAY), name="widget")
    bury(made, failed(call("m-3", event="Mended"), at_ms=now - DAY // 2), name="widget")
    bury(made, letter(call("m-4"), at_ms=now), name="old")
    yield made
    made.close()


def told(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def listed(result: Result) -> list[int]:
    return [row["id"] for row in told(result)]


def test_list_shows_letters_and_a_summary(run: Run, letters: SqliteLog) -> None:
    """A row for each, then how many of each reason."""
    result = run("dlq", "list")
    rows = [row.split() for row in result.stdout.splitlines()]
    assert rows[0] == ["id", "when", "destination", "message", "id", "event", "reason"]
    assert [(row[0], row[3:]) for row in rows[1:5]] == [
        ("1", ["widget", "m-1", "track", "Sold", "vendor_refused"]),
        ("2", ["widget", "m-2", "track", "Explode", "plugin_raised"]),
        ("3", ["widget", "m-3", "track", "Mended", "plugin_raised"]),
        ("4", ["old", "m-4", "track", "Sold", "vendor_refused"]),
    ]
    assert rows[-3:] == [
        ["old", "dead", "vendor_refused", "1"],
        ["widget", "dead", "vendor_refused", "1"],
        ["widget", "failed", "plugin_raised", "2"],
    ]
    assert result.exit_code == 0


def test_list_has_a_limit_and_json_has_none(run: Run, letters: SqliteLog) -> None:
    """The summary counts all; JSON gives a line for each letter, without its event."""
    limited = run("dlq", "list", "--limit", "1").stdout
    assert "… and 3 more" in limited
    assert "m-2" not in limited
    assert "… and 4 more" in run("dlq", "list", "--limit", "0").stdout
    assert listed(run("dlq", "list", "--json", "--limit", "2")) == [1, 2]
    [first, *_] = told(run("dlq", "list", "--json"))
    assert list(first) == ["id", "at", "destination", "message_id", "event", "outcome", "reason", "attempts"]
    assert (first["event"], first["reason"]["code"]) == ("track Sold", "vendor_refused")


@pytest.mark.parametrize(
    ("args", "found"),
    [
        ("", [1, 2, 3, 4]),
        ("-d widget", [1, 2, 3]),
        ("--destination old", [4]),
        ("--reason plugin_raised", [2, 3]),
        ("--reason rate_limited", []),
        ("--since 60h", [2, 3, 4]),
        ("--since 2.5d", [2, 3, 4]),
        ("--until 60h", [1]),
        ("--since 1w --until 1d", [1, 2]),
        ("--since 1970-01-01", [1, 2, 3, 4]),
        ("--until 1970-01-01T00:00:00Z", []),
        ("--since 999999999w", [1, 2, 3, 4]),
        ("--id 1 --id 3", [1, 3]),
        ("--id 1 --id 4 -d old", [4]),
        ("-d widget --reason plugin_raised --since 1d", [3]),
    ],
)
def test_every_command_takes_the_filters(run: Run, letters: SqliteLog, args: str, found: list[int]) -> None:
    """They mean the same for each."""
    words = args.split()
    assert listed(run("dlq", "list", "--json", *words)) == found
    assert listed(run("dlq", "export", *words)) == found
    assert told(run("dlq", "purge", "--json", *words)) == [{"done": False, "letters": len(found)}]
    [planned] = told(run("dlq", "replay", "--json", *words))
    assert planned["replayed"] + planned["stay"] == len(found)
    assert ids(letters) == [1, 2, 3, 4]


COMMANDS = (("list",), ("export",), ("replay",), ("purge",), ("replay", "--yes"), ("purge", "--yes"))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("-d widgte", "There is no destination 'widgte'. Did you mean 'widget'?"),
        ("-d zzz", "There is no destination 'zzz'. There are: old, widget."),
        ("--reason vendor_refusd", "there is no reason code 'vendor_refusd'. Did you mean 'vendor_refused'?"),
        ("--reason zzz", "there is no reason code 'zzz'. docs/reference/reasons.md lists them all."),
        ("--since yesterday", "--since: 'yesterday' is no time. Write it as 2026-01-31T12:00:00Z, or as an age"),
        ("--until 2026-02-30", "--until: '2026-02-30' is no time."),
        ("--since -2h", "--since: '-2h' is no time."),
        ("--id 9", "There is no dead letter 9."),
        ("--id 0", "--id"),
        ("--id 99999999999999999999", "--id"),
        ("--id x", "--id"),
        ("--colour", "--colour"),
        ("--config none.toml", "none.toml: there is no such file."),
        ("--log none.log", "none.log: there is no such log."),
        ("--log .", ".: is a folder"),
        ("--log turnout.toml", "is no log of turnout"),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(
    run: Run, letters: SqliteLog, command: tuple[str, ...], args: str, message: str
) -> None:
    """Exit 2; nothing on standard output."""
    result = run("dlq", *command, *args.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr.replace(f"{Path.cwd()}: is", ".: is")
    assert len(result.stderr.splitlines()) == 1
    assert ids(letters) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "command",
    ["dlq list", "dlq show 1", "dlq export", "dlq replay", "dlq purge", "log status", "replay -d widget --from 1"],
)
def test_without_a_log_every_command_says_how_to_name_one(run: Run, command: str) -> None:
    """No configuration, one without a log, a log that isn't there yet, one of a newer turnout, another file."""
    result = run(*command.split())
    assert "turnout.log: there is no such log. It is made when the first event is accepted." in result.stderr
    assert not Path("turnout.log").exists()
    SqliteLog("newer.log").close()
    with sqlite3.connect("newer.log") as connection:
        connection.execute("UPDATE meta SET value = 99 WHERE key = 'version'")
    connection.close()
    newer = run(*command.split(), "--log", "newer.log")
    assert "newer turnout" in newer.stderr
    Path("turnout.toml").write_text("[send]\nattempts = 1\n", encoding="utf-8")
    none = run(*command.split())
    assert "turnout.toml: no log is configured. Add [log]" in none.stderr
    Path("turnout.toml").unlink()
    missing = run(*command.split())
    assert "There is no turnout.toml here. Name a configuration with --config, or a log with --log." in missing.stderr
    assert {one.exit_code for one in (result, newer, none, missing)} == {2}


DAMAGES = [
    "reason = x'00'",
    "outcome = 'deaf'",
    "items = x'c1'",
    "user = cast(x'ff' AS text)",
    "at_ms = x'00'",
    "event = 7",
    "version = x'00'",
]


def damage(how: str, where: str = "id = 2") -> None:
    """Spoil dead letters in the file."""
    with sqlite3.connect("turnout.log") as connection:
        connection.execute(f"UPDATE dead SET {how} WHERE {where}")
    connection.close()


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_letter_blocks_none_of_the_others(run: Run, letters: SqliteLog, how: str) -> None:
    """It is named on stderr, with what deletes it, and the exit code is 1.

    The commands once ended at it with 2; but one bad record may not keep people from all others.
    """
    damage(how)
    lists = run("dlq", "list", "--json")
    assert listed(lists) == [1, 3, 4]
    exported = run("dlq", "export", "-o", "out.jsonl")
    assert [json.loads(line)["id"] for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()] == [1, 3, 4]
    dry = run("dlq", "replay")
    assert "1 dead letter that can't be read would stay\n" in dry.stdout
    replayed = run("dlq", "replay", "--yes", "--json")
    assert told(replayed)[0]["damaged"] == [2]
    assert told(replayed)[0]["replayed"] == 2
    for result in (lists, exported, dry, replayed):
        assert result.exit_code == 1
        assert result.stderr.count("turnout.log: the dead letter 2 can't be read: ") == 1
        assert result.stderr.endswith("To delete it: turnout dlq purge --id 2\n")
    with pytest.raises(LogError, match="the dead letter 2 can't be read"):
        list(letters.dead(DeadQuery()))


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_letter_can_be_deleted(run: Run, letters: SqliteLog, how: str) -> None:
    """By its id, or with all others of the same filters."""
    damage(how)
    assert run("dlq", "purge", "--id", "2", "--yes").stdout == "1 dead letter deleted\n"
    assert run("dlq", "list").exit_code == 0
    damage(how, "id = 3")
    assert run("dlq", "purge", "-d", "widget", "--yes").stdout == "2 dead letters deleted\n"
    assert ids(letters) == [4]


def test_where_every_letter_is_damaged_nobody_says_that_there_is_none(run: Run, letters: SqliteLog) -> None:
    """Each is named; `show` has nothing to show, and ends with 2."""
    damage("reason = x'00'", "1")
    result = run("dlq", "list")
    assert (result.exit_code, result.stdout) == (1, "No dead letter can be read.\n")
    assert [line.rpartition(" ")[2] for line in result.stderr.splitlines()] == ["1", "2", "3", "4"]
    assert run("dlq", "replay").stdout.startswith("4 dead letters that can't be read would stay\n")
    shown = run("dlq", "show", "3")
    assert (shown.exit_code, "dead letter 3 can't be read" in shown.stderr) == (2, True)


def test_a_narrow_screen_shows_every_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folded, with what stands in it: none of them vanishes."""
    monkeypatch.setenv("COLUMNS", "40")
    reason = Reason(Code.CREDENTIALS_REFUSED, "a wrong key")
    made = DeadLetter(id=7, destination="warehouse", message_id="m-1", event=b'{"type":"page"}', reason=reason)
    show([made], None, as_json=False)
    listed = capsys.readouterr().out.partition("\n\n")[0]
    assert all(part in listed for part in ("7", "1970", "ware", "m-1", "page", "cred"))
    assert max(map(len, listed.splitlines())) <= 40


def test_show_has_everything_that_is_known(run: Run, letters: SqliteLog) -> None:
    """For people; the secret in the item is masked."""
    shown = run("dlq", "show", "1").stdout
    assert "dead letter  1\n" in shown
    assert "outcome      dead: vendor_refused\nreason       HTTP 400: no such thing\nattempts     1\n" in shown
    assert 'event:\n{\n  "type": "track",' in shown
    assert 'item 1, endpoint events, rule tracked:\n{\n  "name": "Sold",\n  "token": "***"\n}\n' in shown
    assert "tok-1234" in run("dlq", "show", "1", "--show-secrets").stdout


def test_show_as_json_is_the_line_of_the_export(run: Run, letters: SqliteLog) -> None:
    """One letter, one line."""
    assert run("dlq", "show", "1", "--json").stdout == run("dlq", "export", "--id", "1").stdout


def test_show_keeps_the_terminal_whole(run: Run, letters: SqliteLog, call: Make) -> None:
    """What moves a cursor, and what rich takes for markup, comes out as text."""
    nasty = call("m\x1b[31m", event="\x1b]0;x\x07 [red]\x9b", userId="u\r\u202e")
    bury(letters, letter(nasty, reason=Reason(Code.VENDOR_REFUSED, "no\x1b[2J\nway")), name="widget")
    for result in (run("dlq", "show", "5"), run("dlq", "list")):
        assert not {"\x1b", "\x07", "\x9b", "\r"} & set(result.stdout)
    assert "[red]" in run("dlq", "list").stdout


def test_show_without_a_configuration_leaves_items_out(run: Run, letters: SqliteLog) -> None:
    """Nobody can tell what is secret there; the same for a destination that isn't configured."""
    for args in (("1", "--log", "turnout.log"), ("4",)):
        shown = run("dlq", "show", *args)
        assert (shown.exit_code, "Not shown" in shown.stdout, "tok-1234" in shown.stdout) == (0, True, False)
    assert told(run("dlq", "export", "--log", "turnout.log", "--id", "1"))[0]["items"][0]["data"] is None


def test_show_of_an_event_that_is_lost(run: Run, letters: SqliteLog) -> None:
    """The letter is shown all the same."""
    bury(letters, letter(b"", items=[]), name="widget")
    assert "event:\nIt can't be read any more.\n" in run("dlq", "show", "5").stdout


@pytest.mark.parametrize("args", [("99",), ("x",), ("0",), ()])
def test_show_needs_a_letter(run: Run, letters: SqliteLog, args: tuple[str, ...]) -> None:
    """Exit 2 with a sentence."""
    result = run("dlq", "show", *args)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)


def test_export_masks_what_the_configuration_calls_secret(run: Run, letters: SqliteLog) -> None:
    """Everything else is there, one JSON line for each letter."""
    first, *_, last = told(run("dlq", "export"))
    assert first["items"] == [
        {"endpoint": "events", "rule": "tracked", "key": "m-1", "data": {"name": "Sold", "token": "***"}}
    ]
    assert (first["event"]["messageId"], first["attempts"], first["outcome"]) == ("m-1", 1, "dead")
    assert (last["destination"], last["items"][0]["data"]) == ("old", None)
    assert told(run("dlq", "export", "--show-secrets"))[0]["items"][0]["data"]["token"] == "tok-1234"


def test_export_writes_a_file(run: Run, letters: SqliteLog) -> None:
    """Which is replaced; nothing is left of it after a mistake before the first line."""
    Path("out.jsonl").write_text("old", encoding="utf-8")
    assert run("dlq", "export", "--id", "99", "-o", "out.jsonl").exit_code == 2
    assert Path("out.jsonl").read_text(encoding="utf-8") == "old"
    result = run("dlq", "export", "-o", "out.jsonl")
    assert (result.exit_code, result.output) == (0, "")
    assert Path("out.jsonl").read_text(encoding="utf-8") == run("dlq", "export").stdout
    assert "none/out: can't be written" in run("dlq", "export", "-o", "none/out").stderr


def test_a_setting_that_can_not_be_read_stops_what_would_need_it(run: Run, letters: SqliteLog) -> None:
    """A secret that isn't known can't be masked; `list` and `purge` need none."""
    Path("turnout.toml").write_text(CONFIG.replace("tok-1234", "${WIDGET_TOKEN}"), encoding="utf-8")
    for command in (("show", "1"), ("export",), ("replay",)):
        result = run("dlq", *command)
        assert (result.exit_code, "WIDGET_TOKEN" in result.stderr) == (2, True)
    assert run("dlq", "list").exit_code == run("dlq", "purge").exit_code == 0


def test_replay_is_dry_until_it_is_told(run: Run, letters: SqliteLog) -> None:
    """What goes out, what stays and why; exit 1 while something stays."""
    dry = run("dlq", "replay")
    assert dry.stdout.splitlines() == [
        "widget: 2 dead letters would go out once more",
        "old: 1 dead letter would stay (the first: 4): this destination is not in the configuration",
        "widget: 1 dead letter would stay (the first: 2): rule 'tracked' of destination 'widget' (turnout_widget of "
        "turnout-widget 3.2.1) raised LookupError: no such widget for *** [plugin_raised]",
        "Nothing was done. Add --yes to do it.",
    ]
    assert (dry.exit_code, ids(letters), letters.parked("widget")) == (1, [1, 2, 3, 4], 0)
    done = run("dlq", "replay", "--yes")
    assert done.stdout.splitlines()[0] == "widget: 2 dead letters go out once more"
    assert "Nothing was done" not in done.stdout
    assert (done.exit_code, ids(letters), letters.parked("widget")) == (1, [2, 4], 2)
    assert counts(letters, "widget") == {"failed/plugin_raised": 1}


def test_replay_as_json(run: Run, letters: SqliteLog) -> None:
    """Numbers, and for what stays the reason."""
    result = run("dlq", "replay", "--id", "3", "--json", "--yes")
    none = {"stay": 0, "stays": [], "damaged": []}
    assert told(result) == [{"done": True, "replayed": 1, "dropped": 0, **none}]
    assert result.exit_code == 0
    [stays] = told(run("dlq", "replay", "--id", "4", "--json"))[0]["stays"]
    assert stays == {
        "destination": "old",
        "code": None,
        "message": "this destination is not in the configuration",
        "first": 4,
        "letters": 1,
    }


def test_replay_without_a_configuration(run: Run, letters: SqliteLog) -> None:
    """Items go out; an event that has to be mapped says what it needs."""
    done = run("dlq", "replay", "--log", "turnout.log", "--yes")
    assert sorted(done.stdout.splitlines()[:2]) == [
        "old: 1 dead letter goes out once more",
        "widget: 1 dead letter goes out once more",
    ]
    assert "needs a configuration (--config)" in done.stdout
    assert ids(letters) == [2, 3]


def test_replay_of_what_is_dropped_now(run: Run, letters: SqliteLog, call: Make) -> None:
    """A settled matter: it is no dead letter any more."""
    bury(letters, failed(call("m-9", "page")), name="widget")
    dry, done = run("dlq", "replay", "--id", "5"), run("dlq", "replay", "--id", "5", "--yes")
    assert "widget: 1 dead letter would be dropped: its settings send nothing for it now" in dry.stdout
    assert "widget: 1 dead letter is dropped: its settings send nothing for it now" in done.stdout
    assert (done.exit_code, 5 in ids(letters)) == (0, False)


def test_purge_is_dry_until_it_is_told(run: Run, letters: SqliteLog) -> None:
    """It says how many."""
    dry = run("dlq", "purge", "-d", "widget")
    assert dry.stdout == "3 dead letters would be deleted for good. Nothing was done. Add --yes to do it.\n"
    assert ids(letters) == [1, 2, 3, 4]
    assert run("dlq", "purge", "-d", "widget", "--yes").stdout == "3 dead letters deleted\n"
    assert told(run("dlq", "purge", "--yes", "--json")) == [{"done": True, "letters": 1}]
    assert ids(letters) == []


def test_no_letters_is_no_mistake(run: Run) -> None:
    """Exit 0, and a sentence."""
    SqliteLog("turnout.log").close()
    for command in COMMANDS[:1] + COMMANDS[2:]:
        result = run("dlq", *command)
        assert (result.exit_code, result.stdout) == (0, "No dead letters.\n")
    assert run("dlq", "export").output == run("dlq", "list", "--json").output == ""


def test_a_file_is_fed_and_can_be_fed_again(run: Run, call: Make) -> None:
    """Dry by default; then accepted, then known as copies; refused ones make exit 1."""
    Path("events.jsonl").write_bytes(text(call("m-1")) + b"\n" + text(call("m-2")) + b"\n{}\n")
    dry = run("replay", "events.jsonl")
    assert dry.stdout.splitlines()[0] == "2 events would be accepted, 1 refused"
    assert dry.stdout.splitlines()[1].startswith("line 3: ")
    assert (dry.exit_code, Path("turnout.log").exists()) == (1, False)
    assert run("replay", "events.jsonl", "--yes").stdout.startswith("2 events accepted, 1 refused\n")
    [copies] = told(run("replay", "events.jsonl", "--json"))
    assert [copies[key] for key in ("done", "accepted", "duplicates", "refused")] == [False, 0, 2, 1]
    assert [fault["place"] for fault in copies["faults"]] == ["line 3"]
    assert run("replay", "events.jsonl", "--yes", "--again").stdout.startswith("2 events accepted, 1 refused\n")
    made = SqliteLog("turnout.log")
    assert made.last() == 4
    made.close()


def test_a_file_may_come_from_standard_input(run: Run, call: Make) -> None:
    """As an array, a batch body, or lines; `-` names it."""
    array = json.dumps([call("m-1"), {"batch": [call("m-2"), call("m-3")]}]).encode()
    result = run("replay", "-", "--yes", "--log", "other.log", given=array)
    assert (result.exit_code, result.stdout) == (0, "3 events accepted\n")
    assert Path("other.log").exists()
    assert run("replay", "-", "--yes", given=b"").stdout == "0 events accepted\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("", "Name a file to feed, or a destination"),
        ("events.jsonl -d widget --from 1", "one of them"),
        ("events.jsonl --from 1", "not for a file"),
        ("events.jsonl --since 2h", "not for a file"),
        ("-d widget", "Say from where: --from POSITION, or --since TIME."),
        ("-d widget --from 1 --since 2h", "Say from where"),
        ("-d widget --from 1 --again", "--again is for a file"),
        ("-d widget --from 0", "--from"),
        ("-d widget --from x", "--from"),
        ("-d widget --since soon", "--since: 'soon' is no time."),
        ("-d widget --from 9", "Position 9 is still to come: the destination is done with the events up to 2."),
        ("-d widgte --from 1", "The log knows no destination 'widgte': nothing was delivered to it yet. Did you mean"),
        ("none.jsonl", "none.jsonl: there is no such file."),
        ("none.jsonl --yes", "none.jsonl: there is no such file."),
        (".", ".: can't be read"),
    ],
)
def test_a_mistake_in_replay_is_one_sentence(run: Run, args: str, message: str) -> None:
    """Exit 2; nothing happens."""
    made = SqliteLog("turnout.log")
    made.register("widget")
    filled(made, 1000)
    made.settle("widget", Settlement(position=2))
    result = run("replay", *args.split())
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert message in result.stderr
    assert (made.last(), made.register("widget").position) == (2, 2)
    made.close()


def test_what_a_configured_destination_has_not_had_stays(run: Run) -> None:
    """Also when delivery has never run for it, and what others have had is deleted at once."""
    config = Path("turnout.toml").read_text(encoding="utf-8").replace("[log]\n", "[log]\nkeep_hours = 0.0\n")
    assert "keep_hours = 0.0" in config
    again = config[config.index("[destinations.widget]") :].replace("[destinations.widget]", "[destinations.later]")
    Path("turnout.toml").write_text(f"{config}\n{again}", encoding="utf-8")
    made = SqliteLog("turnout.log")
    filled(made, 1000)
    last = made.last()
    run("deliver", "-d", "widget", "--until-empty")
    assert sorted(made.destinations()) == ["later", "widget"]
    assert (made.states()["widget"].pending, made.states()["later"].pending, made.last()) == (0, 2, last)
    assert made.first() == 1
    made.close()


def test_a_destination_is_forgotten_when_it_is_told(run: Run, call: Make) -> None:
    """Delivery says that it is there; dry by default, with what it means; one of the configuration stays."""
    made = SqliteLog("turnout.log")
    made.register("gone")
    filled(made, 1000)
    bury(made, letter(call("m-1")), name="gone")
    assert "keeps all events for 'gone', which the configuration doesn't have" in run("deliver", "--until-empty").stderr
    dry = run("log", "forget", "gone")
    assert (dry.exit_code, dry.stdout.splitlines()) == (
        0,
        [
            "gone: would be taken out of the log; 2 events had not come to it yet.",
            "1 dead letter of it stays: turnout dlq purge -d gone",
            "Nothing was done. Add --yes to do it.",
        ],
    )
    assert told(run("log", "forget", "gone", "--yes", "--json")) == [
        {"done": True, "destination": "gone", "pending": 2, "dead": 1}
    ]
    assert made.destinations() == ["widget"]
    kept = run("log", "forget", "widget", "--yes")
    assert (kept.exit_code, kept.stdout) == (2, "")
    assert "'widget' stands in the configuration" in kept.stderr
    assert "keeps all events" not in run("deliver", "--until-empty").stderr
    made.close()


def test_a_cursor_is_moved_back_when_it_is_told(run: Run, call: Make) -> None:
    """Dry by default, with the warning; parked events are named."""
    made = SqliteLog("turnout.log")
    made.register("widget")
    filled(made, 1000, now_ms())
    made.settle("widget", Settlement(position=4))
    bury(made, letter(call("m-1")), name="widget")
    replay(made, DeadQuery())
    dry = run("replay", "-d", "widget", "--from", "2")
    assert dry.stdout.splitlines() == [
        "widget: 3 events would be delivered once more, from position 2 up to 4.",
        "What has no idempotency key at the vendor gets there twice; its outcomes are counted once more.",
        "1 event waits there already and stays; if it is one of these, both copies go out.",
        "Nothing was done. Add --yes to do it.",
    ]
    assert (dry.exit_code, made.register("widget").position) == (0, 4)
    assert told(run("replay", "-d", "widget", "--since", "1h", "--yes", "--json")) == [
        {"done": True, "destination": "widget", "from": 3, "to": 4, "events": 2, "parked": 1}
    ]
    assert made.register("widget").position == 2
    assert run("replay", "-d", "widget", "--since", "1s", "--yes").stdout == (
        "widget: nothing to deliver once more, its cursor is at 2.\n"
    )
    made.close()


def test_roles_that_others_hold_are_named(run: Run, letters: SqliteLog, call: Make) -> None:
    """A delivery, an acceptance and a replay that run: exit 2, and nothing is changed."""
    filled(letters, 1000)
    letters.settle("widget", Settlement(position=2))
    Path("events.jsonl").write_bytes(text(call("m-1")))
    wants = {
        "deliver": ("replay", "-d", "widget", "--from", "1", "--yes"),
        "accept": ("replay", "events.jsonl", "--yes"),
        "replay": ("dlq", "replay", "--yes"),
    }
    for role, command in wants.items():
        with letters.own(role):
            result = run(*command)
        assert (result.exit_code, result.stdout, f"to {role}" in result.stderr) == (2, "", True)
    assert (ids(letters), letters.last(), letters.register("widget").position) == ([1, 2, 3, 4], 2, 2)


def test_log_status_is_shown(run: Run, letters: SqliteLog) -> None:
    """The table, and the same as JSON with the path."""
    filled(letters, 1000)
    shown = run("log", "status")
    assert shown.exit_code == 0
    assert "events: 2 (positions 1 to 2); dead letters: 4\n" in shown.stdout
    assert [" ".join(row.split()) for row in shown.stdout.splitlines()[3:]] == [
        "destination cursor behind parked dead outcomes",
        "old 0 2 0 1 dead vendor_refused 1",
        "widget 0 2 0 3 dead vendor_refused 1",
        "failed plugin_raised 2",
    ]
    [found] = told(run("log", "status", "--json"))
    assert (found["path"], found["last"], [one["destination"] for one in found["destinations"]]) == (
        "turnout.log",
        2,
        ["old", "widget"],
    )


def test_log_status_of_a_new_log(run: Run) -> None:
    """Configured destinations are there; without a configuration there is none."""
    SqliteLog("turnout.log").close()
    assert "widget            -       0" in run("log", "status").stdout
    shown = run("log", "status", "--log", "turnout.log").stdout
    assert "events: 0 (none); dead letters: 0" in shown
    assert "No destination was served from it yet." in shown


def test_the_groups_know_the_nearest_command(run: Run) -> None:
    """As the top level does; and each has help, also the commands that are imported late."""
    assert "Did you mean 'list'?" in run("dlq", "lst").stderr
    assert "Did you mean 'status'?" in run("log", "statsu").stderr
    assert "Did you mean 'dlq'?" in run("dql").stderr
    for command in (
        "dlq",
        "dlq list",
        "dlq show",
        "dlq export",
        "dlq replay",
        "dlq purge",
        "replay",
        "log",
        "log status",
    ):
        assert run(*command.split(), "--help").exit_code == 0
    assert {"dlq", "log", "replay", "plan"} <= set(run("--help").stdout.split())


def test_the_help_imports_nothing_heavy() -> None:
    """It has to be quick: no log, no table, no HTTP."""
    code = (
        "import sys; from turnout.cli import main; main(['--help'], standalone_mode=False); "
        "heavy = {'rich', 'sqlite3', 'zstandard', 'httpx', 'marshmallow', 'jsonschema', 'turnout.dispatcher'}; "
        "sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_replay_from_another_process(run: Run, letters: SqliteLog) -> None:
    """The command as people call it, on a log that this process has open."""
    command = [sys.executable, "-m", "turnout", "dlq", "replay", "--log", "turnout.log", "--id", "1", "--yes", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["replayed"]) == (0, 1)
    assert letters.waiting_users("widget") == {"user-m-1"}


def test_ages_are_counted_from_now(run: Run, letters: SqliteLog, call: Make) -> None:
    """A letter of this moment is younger than a day, and none is younger than a millisecond to come."""
    bury(letters, letter(call("m-9"), at_ms=time.time_ns() // 1_000_000 - 5 * 60_000), name="widget")
    assert listed(run("dlq", "list", "--json", "--since", "10m", "--until", "4m")) == [5]
    assert listed(run("dlq", "list", "--json", "--since", "300000ms", "--until", "200s")) == []

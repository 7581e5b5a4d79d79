"""What every log keeps to: the conformance suite of the protocol `turnout.log.Log`.

A further implementation joins with one entry in `LOGS`. The file is also the program of the processes that the tests
start: `python tests/test_log.py TASK KIND PLACE`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from turnout.log import (
    Accepted,
    Cursor,
    DeadLetter,
    DeadQuery,
    Entries,
    Log,
    LogError,
    Parked,
    Settlement,
    State,
    StoredItem,
)
from turnout.reasons import Code, Outcome, Reason
from turnout.sqlite_log import SqliteLog

LOGS: dict[str, Callable[[Path], Log]] = {"sqlite": lambda place: SqliteLog(place / "log.db")}
"""For each kind of log, what opens the one that lives in a folder."""

Open = Callable[[], Log]
SLOW = Reason(Code.VENDOR_UNAVAILABLE, "503 of the vendor")
REFUSED = Reason(Code.VENDOR_REFUSED, "no such product", "/properties/sku")


@pytest.fixture(params=LOGS)
def kind(request: pytest.FixtureRequest) -> str:
    """The name of an implementation."""
    return str(request.param)


@pytest.fixture
def opened(kind: str, tmp_path: Path) -> Iterator[Open]:
    """Opens the log of this test, each time anew; all are closed at the end."""
    logs: list[Log] = []

    def open_log() -> Log:
        logs.append(LOGS[kind](tmp_path))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close()


@pytest.fixture
def log(opened: Open) -> Log:
    """An empty log."""
    return opened()


def event(number: int) -> bytes:
    """Return the event that the tests keep at a position."""
    return b'{"messageId":"m-%d","padding":"%s"}' % (number, b"." * (number % 50))


def key(number: int) -> bytes:
    """Return the deduplication key of the event at a position."""
    return number.to_bytes(16, "big")


def fill(log: Log, count: int, at_ms: int = 0) -> int:
    """Append events in one go and return the first position."""
    numbers = range(log.last() + 1, log.last() + 1 + count)
    return log.append(Entries([event(number) for number in numbers], [key(number) for number in numbers], at_ms))


def everything(log: Log, after: int = 0, **limits: int) -> list[Accepted]:
    """Return all events behind a position, read bit by bit."""
    found: list[Accepted] = []
    while some := log.read(found[-1].position if found else after, **limits):
        found += some
    return found


def written(first: int, last: int) -> list[Accepted]:
    """Return what has to be read between two positions, both included."""
    return [Accepted(number, event(number)) for number in range(first, last + 1)]


def wait(user: str, position: int = 1, **given: Any) -> Parked:
    """Return an event of a user that waits."""
    items = given.pop("items", [StoredItem("events", b'{"id":%d}' % position, f"key-{position}", "tracked")])
    return Parked(user=user, position=position, message_id=f"m-{position}", items=items, **given)


def letter(position: int = 1, **given: Any) -> DeadLetter:
    """Return a dead letter."""
    return DeadLetter(**{"position": position, "reason": REFUSED, "event": event(position), **given})


def park(log: Log, *parked: Parked, at: str = "a") -> list[int]:
    """Park events and return their ids."""
    return log.settle(at, Settlement(park=parked))


def positions(found: Sequence[Parked] | Sequence[Accepted]) -> list[int]:
    """Return where events stand."""
    return [each.position for each in found]


# Appending and reading


def test_a_new_log_is_empty(log: Log) -> None:
    """Positions start at 1."""
    assert (log.first(), log.last(), log.read(0), log.destinations(), log.counts()) == (1, 0, [], [], {})
    assert list(log.keys(0)) == []


def test_events_stand_in_the_order_of_their_appends_without_a_gap(log: Log) -> None:
    """`append` returns the first position, and positions grow by one with every event."""
    assert [fill(log, count) for count in (3, 1, 600, 2)] == [1, 4, 5, 605]
    assert (log.first(), log.last()) == (1, 606)
    assert everything(log) == written(1, 606)


def test_positions_go_on_after_a_restart(log: Log, opened: Open) -> None:
    """A log that is opened again has what was appended, and goes on behind it."""
    fill(log, 5)
    log.close()
    again = opened()
    assert fill(again, 2) == 6
    assert everything(again) == written(1, 7)


def test_an_append_of_nothing_changes_nothing(log: Log) -> None:
    """It returns where the next event will stand."""
    fill(log, 2)
    assert log.append(Entries([])) == 3
    assert log.last() == 2


@pytest.mark.parametrize("after", [0, 1, 9, 10, 11, 24, 25, 30])
@pytest.mark.parametrize("events", [1, 7, 10, 500])
def test_a_read_starts_behind_any_position_and_ends_at_its_number_of_events(log: Log, after: int, events: int) -> None:
    """Appends of ten, ten and five events don't show in what is read."""
    for count in (10, 10, 5):
        fill(log, count)
    assert log.read(after, events=events) == written(after + 1, min(25, after + events))
    assert everything(log, after, events=events) == written(after + 1, 25)


def test_a_read_ends_at_about_its_bytes(log: Log) -> None:
    """It gives at least one event, however large, and goes over the size by one event at most."""
    log.append(Entries([b"x" * 1_000] * 10))
    assert [len(log.read(0, size=size)) for size in (1, 999, 1_000, 1_001, 2_500, 100_000)] == [1, 1, 1, 2, 3, 10]


def test_an_event_is_any_bytes(log: Log) -> None:
    """Empty ones, zeros and large ones come back as they were."""
    events = [b"", b"\x00\xff", "Sjøbris ☂".encode(), os.urandom(300_000), b"z" * 5_000_000, b"last"]
    log.append(Entries(events))
    assert [each.data for each in everything(log)] == events


def test_keys_come_back_with_their_time_since_a_moment(log: Log) -> None:
    """They are for deduplication after a restart: oldest first, from the moment on."""
    for at_ms in (1_000, 2_000, 2_000, 3_000):
        fill(log, 2, at_ms)
    log.append(Entries([b"without a key"], at_ms=4_000))
    found = [(at_ms, one) for at_ms, keys in log.keys(2_000) for one in keys]
    assert found == [
        (at_ms, key(number)) for number, at_ms in zip(range(3, 9), (2_000,) * 4 + (3_000,) * 2, strict=True)
    ]
    assert list(log.keys(3_001)) == []


@pytest.mark.parametrize("keys", [[b"k" * 16], [b"k" * 15] * 2])
def test_keys_that_are_not_those_of_the_events_are_refused(log: Log, keys: list[bytes]) -> None:
    """There is one of 16 bytes for each event."""
    with pytest.raises(ValueError, match="one key of 16 bytes for each event"):
        log.append(Entries([b"a", b"b"], keys))
    assert log.last() == 0


# Destinations


def test_a_new_destination_starts_at_the_oldest_event_or_behind_the_newest(log: Log) -> None:
    """One that is known keeps its place."""
    fill(log, 4)
    assert log.register("a") == Cursor(0)
    assert log.register("b", at_end=True) == Cursor(4)
    log.settle("a", Settlement(position=3))
    assert log.register("a", at_end=True) == Cursor(3)
    assert log.destinations() == ["a", "b"]


def test_a_destination_starts_at_the_oldest_event_that_is_left(log: Log) -> None:
    """What was deleted before it came isn't counted as its own."""
    fill(log, 4, at_ms=1)
    fill(log, 2, at_ms=9)
    log.retain(age_ms=5, now_ms=10)
    assert log.register("a") == Cursor(log.first() - 1)


def test_a_destination_without_a_cursor_is_named(log: Log) -> None:
    """Nothing is settled, marked or moved for one that was never registered, or was forgotten."""
    calls: list[Callable[[], object]] = [
        lambda: log.settle("nobody", Settlement(dead=[letter()])),
        lambda: log.mark("nobody", trying=1),
        lambda: log.begin("nobody"),
        lambda: log.move("nobody", 0),
    ]
    for call in calls:
        with pytest.raises(LogError, match="'nobody' has no cursor"):
            call()
    assert log.count_dead(DeadQuery()) == 0


def test_deaths_are_counted_until_delivery_ends_as_it_should(log: Log, opened: Open) -> None:
    """Which event was tried alone, and by how many processes that died, is known after a restart."""
    fill(log, 3)
    log.register("a")
    assert log.begin("a") == Cursor(0)
    log.mark("a", trying=2)
    log.close()
    again = opened()
    assert again.begin("a") == Cursor(0, {}, trying=2, tried=1, deaths=1)
    again.settle("a", Settlement(position=1))
    again.mark("a", trying=2, tried=1)
    assert again.begin("a") == Cursor(1, {}, trying=2, tried=2, deaths=2)
    again.mark("a", trying=0)
    assert again.begin("a") == Cursor(1, {}, trying=0, tried=0, deaths=3)
    again.end("a")
    assert again.begin("a") == Cursor(1)


def test_a_cursor_is_moved_back_and_its_parked_events_stay(log: Log) -> None:
    """What lies behind the new place is delivered once more."""
    fill(log, 5)
    log.register("a")
    log.settle("a", Settlement(position=5, park=[wait("u", 2)], inputs={"session": 7}))
    log.move("a", 1)
    assert log.register("a") == Cursor(1, {"session": 7})
    assert log.parked("a") == 1
    log.move("a", 4)
    assert log.register("a").position == 4


@pytest.mark.parametrize("position", [-1, 6])
def test_a_cursor_goes_to_no_place_that_never_was(log: Log, position: int) -> None:
    """It would miss the events to come."""
    fill(log, 5)
    log.register("a")
    with pytest.raises(LogError, match=f"no position {position}; the last one is 5"):
        log.move("a", position)
    with pytest.raises(LogError, match=f"no position {position}; the last one is 5"):
        log.settle("a", Settlement(position=position))
    assert log.register("a").position == 0


def test_a_forgotten_destination_leaves_its_dead_letters_only(log: Log) -> None:
    """Cursor, inputs, parked events and counts go; another destination keeps its own."""
    fill(log, 2)
    done = Settlement(
        position=2,
        inputs={"session": 1},
        park=[wait("u")],
        dead=[letter()],
        counts={(Outcome.DEAD, Code.VENDOR_REFUSED): 1},
    )
    for destination in ("a", "b"):
        log.register(destination)
        log.settle(destination, done)
    log.forget("a")
    log.forget("never was there")
    assert log.destinations() == ["b"]
    assert (log.parked("a"), log.waiting_users("a"), log.next_due("a"), log.due("a", 10)) == (0, set(), None, [])
    assert list(log.counts()) == ["b"]
    assert log.count_dead(DeadQuery(destination="a")) == 1
    assert log.register("a") == Cursor(0)
    assert log.parked("b") == 1


# Settling


def test_a_cursor_never_goes_back_when_it_is_settled(log: Log) -> None:
    """An answer that comes late can't undo what was done; None leaves the cursor where it is."""
    fill(log, 9)
    log.register("a")
    for position in (4, 2, None, 3):
        log.settle("a", Settlement(position=position))
        assert log.register("a").position == 4


def test_inputs_are_renewed_one_by_one(log: Log, opened: Open) -> None:
    """None takes one out; any JSON value comes back as it was."""
    log.register("a")
    values: dict[str, Any] = {"a": 1, "b": [1.5, None, True], "c": {"ü": {"x": []}}, "d": "text", "e": 2**63, "f": 0}
    log.settle("a", Settlement(inputs=values))
    log.settle("a", Settlement(inputs={"a": None, "d": "new", "never": None}))
    log.close()
    assert opened().register("a").inputs == {key: value for key, value in values.items() if key != "a"} | {"d": "new"}


def test_counts_add_up(log: Log) -> None:
    """Of every destination, by outcome and code."""
    one, two = (Outcome.DELIVERED, None), (Outcome.DEAD, Code.VENDOR_REFUSED)
    for destination in ("a", "b"):
        log.register(destination)
    for counts in ({one: 3}, {one: 4, two: 1}, {}):
        log.settle("a", Settlement(counts=counts))
    log.settle("b", Settlement(counts={two: 2}))
    assert log.counts() == {"a": {one: 7, two: 1}, "b": {two: 2}}


class Breaks(dict[Any, Any]):
    """Counts that can't be read to their end."""

    def items(self) -> Any:
        """Yield one, then break."""
        yield (Outcome.DELIVERED, None), 1
        raise RuntimeError("in the middle")


def test_a_settlement_that_breaks_leaves_nothing(log: Log) -> None:
    """Not the cursor, no input, nothing parked or taken out, no dead letter, no count."""
    fill(log, 5)
    log.register("a")
    (held,) = park(log, wait("u"))
    log.mark("a", trying=1)
    before = (log.register("a"), log.behind("a", "u"))
    whole = {"position": 3, "inputs": {"k": 1}, "park": [wait("v")], "unpark": [held], "dead": [letter()]}
    with pytest.raises(RuntimeError, match="in the middle"):
        log.settle("a", Settlement(**whole, counts=Breaks()))
    with pytest.raises(LogError, match="parked event 77 of 'a' isn't there"):
        log.settle("a", Settlement(**whole | {"park": [wait("v"), wait("w", id=77)]}))
    assert (log.register("a"), log.behind("a", "u")) == before
    assert (log.waiting_users("a"), log.count_dead(DeadQuery()), log.counts()) == ({"u"}, 0, {})
    assert park(log, wait("v")) > [held]


# Parked events


def test_a_parked_event_comes_back_whole(log: Log, opened: Open) -> None:
    """With its items, those that were refused, its reason and its numbers."""
    log.register("a")
    items = [StoredItem("events", b"{}", None, "rule"), StoredItem("people", b"\x00", "key")]
    full = wait("ü\x00", 3, items=items, due_ms=5, attempts=2, active_ms=70, reason=SLOW, refused=items[:1])
    bare = wait("", 4, items=[])
    first, second = park(log, full, bare)
    assert 0 < first < second
    log.close()
    full.id, bare.id = first, second
    again = opened()
    assert again.due("a", 5) == [bare, full]
    assert again.behind("a", "ü\x00") == [full]


def test_only_the_first_event_of_a_user_is_due(log: Log) -> None:
    """Later ones wait behind it, whatever their own time; other users and destinations don't."""
    log.register("a")
    log.register("b")
    park(log, wait("u", 1, due_ms=50), wait("u", 2), wait("v", 3, due_ms=20), wait("u", 4, due_ms=10))
    park(log, wait("u", 1), at="b")
    assert [positions(log.due("a", now)) for now in (10, 20, 49, 50)] == [[], [3], [3], [3, 1]]
    assert (log.next_due("a"), log.next_due("b"), log.next_due("c")) == (20, 0, None)
    assert positions(log.behind("a", "u")) == [1, 2, 4]
    assert positions(log.behind("a", "u", limit=2)) == [1, 2]
    assert (log.waiting_users("a"), log.parked("a"), log.parked("b")) == ({"u", "v"}, 4, 1)


def test_due_events_are_limited_and_the_longest_due_come_first(log: Log) -> None:
    """So nobody is forgotten where more are due than are taken at once."""
    log.register("a")
    park(log, *(wait(f"u-{number}", number, due_ms=number * 7 % 10) for number in range(1, 10)))
    assert positions(log.due("a", 9, limit=4)) == [3, 6, 9, 2]


def test_a_renewed_event_keeps_its_place(log: Log) -> None:
    """It is known by its id; only what may change does, and its id isn't among the new ones."""
    log.register("a")
    first, second = park(log, wait("u", 1), wait("u", 2))
    left = [StoredItem("events", b"left")]
    renewed = wait("u", 1, id=first, items=left, due_ms=99, attempts=1, active_ms=5, reason=SLOW)
    assert park(log, renewed, wait("u", 3)) > [second]
    assert log.behind("a", "u", limit=1) == [renewed]
    assert positions(log.behind("a", "u")) == [1, 2, 3]
    assert (log.due("a", 98), positions(log.due("a", 99))) == ([], [1])


def test_the_next_event_of_a_user_has_its_turn_when_the_first_is_done(log: Log) -> None:
    """Also when new ones are parked with the same settlement: they go behind."""
    log.register("a")
    first, second, third = park(log, wait("u", 1, due_ms=9), wait("u", 2), wait("u", 3))
    (fourth,) = log.settle("a", Settlement(unpark=[first], park=[wait("u", 4)]))
    assert positions(log.due("a", 0)) == [2]
    log.settle("a", Settlement(unpark=[third]))
    assert positions(log.due("a", 0)) == [2]
    log.settle("a", Settlement(unpark=[second, first, 12345]))
    assert positions(log.due("a", 0)) == [4]
    (fifth,) = log.settle("a", Settlement(unpark=[fourth], park=[wait("u", 5, due_ms=3)]))
    assert (fifth > fourth, log.next_due("a"), positions(log.behind("a", "u"))) == (True, 3, [5])


def test_one_destination_cannot_touch_the_parked_events_of_another(log: Log) -> None:
    """Ids are looked for at the destination that settles."""
    log.register("a")
    log.register("b")
    (held,) = park(log, wait("u"))
    log.settle("b", Settlement(unpark=[held]))
    with pytest.raises(LogError, match=f"parked event {held} of 'b' isn't there"):
        park(log, wait("u", id=held), at="b")
    assert positions(log.due("a", 0)) == [1]


# Dead letters


def test_a_dead_letter_comes_back_whole(log: Log, opened: Open) -> None:
    """At the destination that settled it."""
    log.register("a")
    full = letter(
        7,
        message_id="m-7",
        user="u",
        outcome=Outcome.INVALID,
        attempts=3,
        at_ms=5,
        items=[StoredItem("events", b"{}", "key", "rule")],
        version="amplitude 1.2",
    )
    log.settle("a", Settlement(dead=[full, letter(0)]))
    log.close()
    found, bare = opened().dead(DeadQuery())
    assert 0 < found.id < bare.id
    full.id, full.destination = found.id, "a"
    assert found == full
    assert (bare.position, bare.message_id, bare.items) == (0, None, [])


def test_dead_letters_are_found_by_what_a_query_names(log: Log) -> None:
    """By destination, code, time (the beginning included, the end not) and ids, and by all of them at once."""
    for destination in ("a", "b"):
        log.register(destination)
        letters = [letter(number, at_ms=number * 10, reason=(REFUSED, SLOW)[number % 2]) for number in range(1, 5)]
        log.settle(destination, Settlement(dead=letters))
    ids = [found.id for found in log.dead(DeadQuery())]
    assert ids == sorted(ids)
    queries = {
        DeadQuery(): range(8),
        DeadQuery(destination="b"): range(4, 8),
        DeadQuery(destination="c"): (),
        DeadQuery(code=SLOW.code): (0, 2, 4, 6),
        DeadQuery(since_ms=20): (1, 2, 3, 5, 6, 7),
        DeadQuery(until_ms=20): (0, 4),
        DeadQuery(since_ms=20, until_ms=40, destination="a"): (1, 2),
        DeadQuery(ids=(ids[6], ids[1], 999)): (1, 6),
        DeadQuery(ids=()): (),
        DeadQuery(ids=tuple(ids), code=REFUSED.code, destination="b", since_ms=30): (7,),
    }
    for query, expected in queries.items():
        assert [found.id for found in log.dead(query)] == [ids[number] for number in expected], query
        assert log.count_dead(query) == len(expected), query
    assert [found.id for found in log.dead(DeadQuery(), limit=3)] == ids[:3]
    assert list(log.dead(DeadQuery(), limit=0)) == []


def test_many_dead_letters_are_yielded_while_they_are_buried(log: Log) -> None:
    """A replay buries as it goes, and meets each of them once."""
    log.register("a")
    log.settle("a", Settlement(dead=[letter(number) for number in range(1, 1_202)]))
    seen = []
    for found in log.dead(DeadQuery(), limit=1_200):
        seen.append(found.position)
        assert log.bury([found.id, found.id]) == 1
    assert seen == list(range(1, 1_201))
    assert [found.position for found in log.dead(DeadQuery())] == [1_201]
    assert log.bury(iter([])) == log.bury([1]) == 0


# Retention


def test_what_a_destination_needs_stays(log: Log) -> None:
    """The slowest one decides, and without age or size nothing is deleted."""
    for at_ms in range(10):
        fill(log, 10, at_ms)
    log.register("fast")
    log.register("slow")
    log.settle("fast", Settlement(position=100))
    log.settle("slow", Settlement(position=35))
    assert log.retain(now_ms=1_000_000) == 0
    deleted = log.retain(age_ms=0, now_ms=1_000_000)
    assert 0 < deleted <= 35
    assert log.first() == deleted + 1
    assert everything(log) == written(deleted + 1, 100)
    assert log.register("slow").position == 35


def test_only_events_beyond_the_age_are_deleted(log: Log) -> None:
    """One that is just as old as allowed stays."""
    for at_ms in (100, 200, 300):
        fill(log, 10, at_ms)
    assert log.retain(age_ms=800, now_ms=1_000) <= 10
    assert everything(log)[-20:] == written(11, 30)


def test_with_force_a_destination_is_moved_on_and_what_it_lost_is_told(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning names each destination and how many events it will never get."""
    for at_ms in range(4):
        fill(log, 10, at_ms)
    log.register("slow")
    log.register("done")
    log.settle("slow", Settlement(position=5, park=[wait("u", 3)]))
    log.settle("done", Settlement(position=40))
    assert log.retain(age_ms=0, now_ms=1_000, force=True) == 40
    assert (log.first(), log.last(), log.read(0)) == (41, 40, [])
    assert (log.register("slow").position, log.register("done").position) == (40, 40)
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "35 events were deleted before slow got them."
    ]
    assert log.parked("slow") == 1


def test_positions_go_on_when_everything_was_deleted(log: Log, opened: Open) -> None:
    """Also after a restart: no position is ever given twice."""
    fill(log, 7)
    assert log.retain(age_ms=0, now_ms=1_000) == 7
    log.close()
    again = opened()
    assert (again.first(), again.last()) == (8, 7)
    assert again.register("a") == Cursor(7)
    assert fill(again, 1) == 8
    assert everything(again) == written(8, 8)


def test_a_log_is_brought_down_to_a_size(log: Log) -> None:
    """The oldest events go, the room is given back, and the newest stay."""
    noise = random.Random(5)
    for _ in range(40):
        log.append(Entries([noise.randbytes(2_000) for _ in range(50)]))
    before = log.size()
    deleted = log.retain(size=1_000_000, now_ms=0)
    assert before >= 4_000_000 > 1_000_000 >= log.size()
    assert 0 < deleted < 2_000
    assert positions(everything(log)) == list(range(deleted + 1, 2_001))


def test_the_room_that_is_left_is_told_or_it_is_not(log: Log) -> None:
    """Never more than the whole disk."""
    room = log.room()
    assert room is None or room.free < room.total


# Several threads, several processes


def test_threads_append_and_read_at_once(log: Log) -> None:
    """Every append stands in one piece, its events are where it was told, and no reader sees a gap."""
    told: dict[int, bytes] = {}
    faults: list[str] = []

    def write(name: int) -> None:
        for number in range(40):
            events = [b"%d-%d-%d" % (name, number, each) for each in range(1 + number % 5)]
            first = log.append(Entries(events))
            told.update(zip(range(first, first + len(events)), events, strict=True))

    def look() -> None:
        after = 0
        while after < 4 * 40 * 3:
            found = log.read(after, events=7)
            if positions(found) != list(range(after + 1, after + 1 + len(found))):
                faults.append(f"after {after}: {positions(found)}")
                return
            after += len(found)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    threads += [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert {each.position: each.data for each in everything(log)} == told
    assert sorted(told) == list(range(1, 4 * 40 * 3 + 1))


def start(task: str, kind: str, place: Path) -> subprocess.Popen[str]:
    """Start this file as a process of its own."""
    command = [sys.executable, __file__, task, kind, str(place)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a process and return the rest of what it wrote."""
    rest, _ = process.communicate()
    return rest


def test_one_process_appends_and_another_settles(log: Log, kind: str, tmp_path: Path) -> None:
    """Neither disturbs the other."""
    log.register("a")
    process = start("append", kind, tmp_path)
    position = 0
    while position < APPENDED:
        found = log.read(position, events=50)
        assert found == written(position + 1, position + len(found))
        if found:
            position = found[-1].position
            counts = {(Outcome.DELIVERED, None): len(found)}
            log.settle("a", Settlement(position=position, counts=counts, inputs={"at": position}))
    finish(process)
    assert process.returncode == 0
    assert (log.register("a"), log.last()) == (Cursor(APPENDED, {"at": APPENDED}), APPENDED)
    assert log.counts() == {"a": {(Outcome.DELIVERED, None): APPENDED}}


@pytest.mark.skipif(sys.platform == "win32", reason="There is no SIGKILL on Windows.")
def test_nothing_that_was_reported_is_missing_after_a_kill(opened: Open, kind: str, tmp_path: Path) -> None:
    """What `append` returned for is there, without a gap, and no event is torn; five kills on one log."""
    for reports in (1, 2, 13, 29, 40):
        process = start("append_on", kind, tmp_path)
        assert process.stdout
        told = [process.stdout.readline() for _ in range(reports)]
        process.send_signal(signal.SIGKILL)
        told += [line for line in finish(process).splitlines(keepends=True) if line.endswith("\n")]
        log = opened()
        assert log.last() >= int(told[-1])
        assert everything(log) == written(1, log.last())
        assert [one for _, keys in log.keys(0) for one in keys] == [key(number + 1) for number in range(log.last())]
        log.close()


@pytest.mark.skipif(sys.platform == "win32", reason="There is no SIGKILL on Windows.")
def test_a_settlement_is_whole_or_not_there_after_a_kill(opened: Open, kind: str, tmp_path: Path) -> None:
    """Cursor, inputs, counts, dead letters and parked events tell the same story."""
    for reports in (1, 17, 30):
        process = start("settle_on", kind, tmp_path)
        assert process.stdout
        told = [int(process.stdout.readline()) for _ in range(reports)]
        process.send_signal(signal.SIGKILL)
        finish(process)
        log = opened()
        cursor = log.register("a")
        assert cursor.position >= told[-1]
        assert cursor.inputs == {"at": cursor.position}
        assert log.counts()["a"] == {(Outcome.DEAD, None): cursor.position}
        assert [dead.position for dead in log.dead(DeadQuery())] == list(range(1, cursor.position + 1))
        assert positions(log.behind("a", "u")) == [cursor.position]
        log.close()


def test_a_role_is_held_once(log: Log, opened: Open) -> None:
    """Not twice in one process either; another role is free, and so is this one when the context ends."""
    with log.own("deliver"), log.own("accept"):
        for holder in (log, opened()):
            with pytest.raises(LogError, match="to deliver: this process has it already"), holder.own("deliver"):
                pass
    with log.own("deliver"):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="There is no SIGKILL on Windows.")
def test_a_role_ends_with_its_process(log: Log, kind: str, tmp_path: Path) -> None:
    """As long as a process has it, it is named; when that is killed, the role is free."""
    process = start("own", kind, tmp_path)
    assert process.stdout
    assert process.stdout.readline() == "owned\n"
    with pytest.raises(LogError, match=f"the process {process.pid} has it"), log.own("deliver"):
        pass
    process.send_signal(signal.SIGKILL)
    finish(process)
    with log.own("deliver"):
        pass


def test_a_closed_log_says_so(opened: Open) -> None:
    """It may be closed twice; whatever else is asked of it is an error that says what to do."""
    log = opened()
    fill(log, 2)
    log.register("a")
    log.close()
    log.close()
    calls: list[Callable[[], object]] = [
        lambda: log.append(Entries([b"{}"])),
        lambda: log.read(0),
        log.first,
        log.last,
        lambda: list(log.keys(0)),
        log.destinations,
        lambda: log.register("a"),
        lambda: log.settle("a", Settlement()),
        lambda: log.due("a", 0),
        lambda: list(log.dead(DeadQuery())),
        lambda: log.bury([1]),
        log.counts,
        lambda: log.retain(age_ms=0, now_ms=9),
    ]
    for call in calls:
        with pytest.raises(LogError, match="the log is closed"):
            call()


# A model of a log, against the log


NAMES = st.sampled_from(["a", "b"])
USERS = st.sampled_from(["u", "v", "w"])
SMALL = st.integers(min_value=0, max_value=20)
COUNTED = [(Outcome.DELIVERED, None), (Outcome.DEAD, Code.VENDOR_REFUSED), (Outcome.DROPPED, Code.FILTERED)]


class Told:
    """What a destination has come to, in plain values."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.inputs: dict[str, Any] = {}
        self.begun = self.trying = self.tried = self.deaths = 0
        self.fresh = False
        self.counts: Counter[tuple[Outcome, Code | None]] = Counter()
        self.parked: list[Parked] = []

    def cursor(self) -> Cursor:
        """Return the cursor that the log should have."""
        return Cursor(self.position, self.inputs, self.trying, self.tried, self.deaths)

    def heads(self) -> list[Parked]:
        """Return each user's first parked event."""
        return list({each.user: each for each in reversed(self.parked)}.values())


class LogMachine(RuleBasedStateMachine):
    """Does the same to a log and to lists, and compares everything that can be asked."""

    kind = ""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.log = LOGS[self.kind](Path(self.folder.name))
        self.events: list[tuple[bytes, bytes, int]] = []
        self.gone = 0
        self.told: dict[str, Told] = {}
        self.letters: list[DeadLetter] = []

    def teardown(self) -> None:
        self.log.close()
        self.folder.cleanup()

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.log = LOGS[self.kind](Path(self.folder.name))

    @rule(count=st.integers(0, 6), at_ms=SMALL, data=st.binary(max_size=20))
    def append(self, count: int, at_ms: int, data: bytes) -> None:
        added = [(data + event(len(self.events) + each), key(len(self.events) + each), at_ms) for each in range(count)]
        entries = Entries([each[0] for each in added], [each[1] for each in added], at_ms)
        assert self.log.append(entries) == len(self.events) + 1
        self.events += added

    @rule(after=st.integers(0, 40), events=st.integers(1, 9))
    def read(self, after: int, events: int) -> None:
        start = max(after, self.gone)
        expected = [Accepted(start + 1 + number, each[0]) for number, each in enumerate(self.events[start:])]
        assert self.log.read(after, events=events) == expected[:events]

    @rule(name=NAMES, at_end=st.booleans())
    def register(self, name: str, at_end: bool) -> None:
        told = self.told.setdefault(name, Told(len(self.events) if at_end else self.gone))
        assert self.log.register(name, at_end=at_end) == told.cursor()

    @rule(name=NAMES, data=st.data())
    def settle(self, name: str, data: st.DataObject) -> None:
        if (told := self.told.get(name)) is None:
            return
        settlement = self.settlement(told, data)
        new = iter(self.log.settle(name, settlement))
        told.position = max(told.position, settlement.position or 0)
        told.inputs = {k: v for k, v in (told.inputs | dict(settlement.inputs)).items() if v is not None}
        told.counts.update(dict(settlement.counts))
        told.parked = [each for each in told.parked if each.id not in settlement.unpark]
        for each in settlement.park:
            self.park(told, each, new)
        assert list(new) == []
        for each in settlement.dead:
            each.destination = name
        self.letters += settlement.dead

    @staticmethod
    def park(told: Told, parked: Parked, new: Iterator[int]) -> None:
        places = {each.id: place for place, each in enumerate(told.parked)}
        if parked.id:
            told.parked[places[parked.id]] = parked
        else:
            parked.id = next(new)
            assert parked.id > max(places, default=0)
            told.parked.append(parked)

    def settlement(self, told: Told, data: st.DataObject) -> Settlement:
        held = {each.id: each for each in told.parked}
        ids = data.draw(st.lists(st.sampled_from(sorted(held)), unique=True)) if held else []
        middle = data.draw(st.integers(0, len(ids)))
        due = data.draw(SMALL)
        renewed = [wait(held[each].user, held[each].position, id=each, due_ms=due, attempts=1) for each in ids[middle:]]
        parked = [wait(user, number, due_ms=due) for number, user in enumerate(data.draw(st.lists(USERS, max_size=3)))]
        reason = data.draw(st.sampled_from([SLOW, REFUSED]))
        return Settlement(
            position=data.draw(st.none() | st.integers(0, len(self.events))),
            inputs=data.draw(st.dictionaries(st.sampled_from("xyz"), st.none() | SMALL | st.text(), max_size=2)),
            park=renewed + parked,
            unpark=ids[:middle],
            dead=[letter(due, at_ms=due, reason=reason) for _ in range(data.draw(st.integers(0, 2)))],
            counts=data.draw(st.dictionaries(st.sampled_from(COUNTED), st.integers(1, 5))),
        )

    @rule(name=NAMES, trying=SMALL, tried=SMALL)
    def mark(self, name: str, trying: int, tried: int) -> None:
        if told := self.told.get(name):
            told.trying, told.tried, told.fresh = trying, tried, bool(trying)
            self.log.mark(name, trying=trying, tried=tried)

    @rule(name=NAMES)
    def deliver(self, name: str) -> None:
        if told := self.told.get(name):
            told.deaths += told.begun
            told.tried += bool(told.begun and told.fresh)
            told.begun, told.fresh = 1, False
            assert self.log.begin(name) == told.cursor()

    @rule(name=NAMES)
    def stop(self, name: str) -> None:
        if told := self.told.get(name):
            told.begun = told.trying = told.tried = told.deaths = 0
            told.fresh = False
            self.log.end(name)

    @rule(name=NAMES, data=st.data())
    def move(self, name: str, data: st.DataObject) -> None:
        if told := self.told.get(name):
            told.position = data.draw(st.integers(0, len(self.events)))
            told.trying = told.tried = told.deaths = 0
            told.fresh = False
            self.log.move(name, told.position)

    @rule(name=NAMES)
    def forget(self, name: str) -> None:
        self.log.forget(name)
        self.told.pop(name, None)

    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from([each.id for each in self.letters] + [10**6]), max_size=3))
        left = [each for each in self.letters if each.id not in ids]
        assert self.log.bury(ids) == len(self.letters) - len(left)
        self.letters = left

    @rule(age_ms=SMALL, now_ms=SMALL, force=st.booleans())
    def retain(self, age_ms: int, now_ms: int, force: bool) -> None:
        deleted = self.log.retain(age_ms=age_ms, now_ms=now_ms, force=force)
        needed = min((told.position for told in self.told.values()), default=len(self.events))
        assert all(each[2] < now_ms - age_ms for each in self.events[self.gone : self.gone + deleted])
        assert force or not deleted or self.gone + deleted <= needed
        self.gone += deleted
        for told in self.told.values():
            if deleted and told.position < self.gone:
                lost = self.gone - told.position
                told.counts[Outcome.DROPPED, Code.DELETED_UNREAD] += lost
                told.position = self.gone
                told.trying = told.tried = told.deaths = 0
                told.fresh = False

    @rule(name=NAMES, code=st.sampled_from([None, SLOW.code, REFUSED.code]), since=st.none() | SMALL, until=SMALL)
    def ask(self, name: str, code: Code | None, since: int | None, until: int) -> None:
        query = DeadQuery(destination=name, code=code, since_ms=since, until_ms=until)
        expected = [
            each.id
            for each in self.letters
            if each.destination == name and code in (None, each.reason.code) and (since or 0) <= each.at_ms < until
        ]
        assert [each.id for each in self.log.dead(query)] == expected
        assert self.log.count_dead(query) == len(expected)

    @invariant()
    def compare(self) -> None:
        assert (self.log.first(), self.log.last()) == (self.gone + 1, len(self.events))
        assert self.log.destinations() == sorted(self.told)
        counts = {name: dict(told.counts) for name, told in self.told.items() if told.counts}
        assert self.log.counts() == counts
        found = list(self.log.dead(DeadQuery()))
        for known, each in zip(self.letters, found, strict=True):
            known.id = known.id or each.id
        assert found == self.letters

    @invariant()
    def compare_keys(self) -> None:
        found = Counter((at_ms, one) for at_ms, keys in self.log.keys(10) for one in keys)
        assert found == Counter((at_ms, one) for _, one, at_ms in self.events[self.gone :] if at_ms >= 10)

    @invariant()
    def compare_parked(self) -> None:
        for name in ("a", "b"):
            told = self.told.get(name, Told(0))
            heads = sorted(told.heads(), key=lambda each: (each.due_ms, each.id))
            assert self.log.due(name, 10) == [each for each in heads if each.due_ms <= 10]
            assert self.log.next_due(name) == min((each.due_ms for each in heads), default=None)
            assert self.log.waiting_users(name) == {each.user for each in heads}
            assert self.log.parked(name) == len(told.parked)
            assert self.log.behind(name, "u") == [each for each in told.parked if each.user == "u"]


def test_a_log_does_what_plain_lists_do(kind: str) -> None:
    """Random operations, restarts included, give the same answers as a model of lists."""
    machine = type("Machine", (LogMachine,), {"kind": kind})
    run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=30, deadline=None))


# The other processes


APPENDED = 1_500


def append_in_process(log: Log, end: int | None) -> None:
    """Append batches and report each one's last position once it is durable."""
    noise = random.Random(log.last())
    while end is None or log.last() < end:
        count = noise.randint(1, 60)
        fill(log, count if end is None else min(count, end - log.last()))
        print(log.last(), flush=True)


def settle_in_process(log: Log) -> None:
    """Append and settle one event after another, and report each settled position."""
    while True:
        at = log.register("a").position + 1
        if log.last() < at:
            fill(log, 1)
        done = [each.id for each in log.behind("a", "u")]
        counts = {(Outcome.DEAD, None): 1}
        parts = {"inputs": {"at": at}, "park": [wait("u", at)], "unpark": done, "dead": [letter(at)]}
        log.settle("a", Settlement(position=at, counts=counts, **parts))
        print(at, flush=True)


def main(task: str, kind: str, place: str) -> None:
    """Do one of the tasks of the other processes."""
    log = LOGS[kind](Path(place))
    if task == "own":
        with log.own("deliver"):
            print("owned", flush=True)
            sys.stdin.read()
    elif task == "settle_on":
        settle_in_process(log)
    else:
        append_in_process(log, APPENDED if task == "append" else None)
    log.close()


if __name__ == "__main__":
    main(*sys.argv[1:])


def test_states_add_up_at_every_moment(log: Log) -> None:
    """received = counts + pending: while events wait, after a cursor went back, and after a forced deletion."""
    log.append(Entries([b"1", b"2", b"3", b"4"], [], 1))
    log.register("a")
    log.settle(
        "a",
        Settlement(
            position=3,
            park=[Parked(user="u", position=2, message_id="m", items=[])],
            counts={(Outcome.DELIVERED, None): 1, (Outcome.DROPPED, Code.FILTERED): 1},
        ),
    )
    assert log.states()["a"] == State(4, 2, 1, {(Outcome.DELIVERED, None): 1, (Outcome.DROPPED, Code.FILTERED): 1})
    log.move("a", 1)
    assert (log.states()["a"].received, log.states()["a"].pending) == (6, 4)
    log.retain(age_ms=0, now_ms=10, force=True)
    state = log.states()["a"]
    assert state.counts[Outcome.DROPPED, Code.DELETED_UNREAD] == 3
    assert state.received == state.pending + sum(state.counts.values())

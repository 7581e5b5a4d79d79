"""The log in an SQLite file: its room on disk, damage, full disks, files that can't be used, older schemas."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

from turnout._sqlite_reader import SqliteReader
from turnout.log import Accepted, DeadLetter, DeadQuery, Entries, LogError, LogFull, Parked, Settlement, StoredItem
from turnout.reasons import Code, Outcome, Reason
from turnout.sqlite_log import SqliteLog

DEAD = DeadLetter(reason=Reason(Code.VENDOR_REFUSED, "no such product"), event=b"{}")


def noise(count: int, size: int = 1_000, seed: int = 1) -> list[bytes]:
    """Return events that can't be compressed."""
    random = Random(seed)
    return [random.randbytes(size) for _ in range(count)]


def waiting(count: int) -> list[Parked]:
    """Return events of as many users that wait."""
    items = [StoredItem("events", b"x" * 1_000)]
    return [Parked(user=f"u-{each}", position=1, message_id="m", items=items) for each in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log of a test is."""
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    """An empty log."""
    with closing(SqliteLog(path)) as log:
        yield log


@contextmanager
def plain(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file behind the log's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def elsewhere(path: Path) -> str:
    """Return the last position as a process of its own finds it, which then closes the log."""
    code = f"from turnout.sqlite_log import SqliteLog; log = SqliteLog({str(path)!r}); print(log.last()); log.close()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_a_log_that_is_opened_twice_in_a_process_keeps_its_locks(log: SqliteLog, path: Path) -> None:
    """Else the next process that closes it would delete what is being written, and accepted events with it."""
    log.append(Entries([b'{"first": 1}']))
    for kind in (SqliteLog, SqliteReader):
        kind(path).close()
        before = int(elsewhere(path))
        assert log.append(Entries([b'{"again": 2}'])) == before + 1
        assert elsewhere(path) == str(before + 1)


def refusal(path: Path, kind: type[SqliteLog] = SqliteLog) -> str:
    """Return the sentence with which a file is refused."""
    with pytest.raises(LogError) as caught:
        kind(path)
    return str(caught.value)


# Rows


def test_an_append_is_one_compressed_row(log: SqliteLog, path: Path) -> None:
    """A row has the first position, the count, and the events in a fraction of their bytes."""
    log.append(Entries([b'{"event":"Product Viewed"}' * 20] * 100, [b"k" * 16] * 100, at_ms=7))
    log.append(Entries([b"{}"]))
    with plain(path) as connection:
        rows = connection.execute("SELECT first, count, at_ms, length(keys), length(events) FROM batches").fetchall()
    assert [row[:4] for row in rows] == [(1, 100, 7, 1_600), (101, 1, 0, 0)]
    assert rows[0][4] < 1_000


def test_a_large_append_is_several_rows_in_one_transaction(log: SqliteLog, path: Path) -> None:
    """A reader doesn't have to unpack all of it for a few events; their keys stay beside them."""
    events, keys = [b"%d" % each * 200_000 for each in range(50)], [each.to_bytes(16, "big") for each in range(50)]
    assert log.append(Entries(events, keys)) == 1
    with plain(path) as connection:
        assert connection.execute("SELECT count(*) FROM batches").fetchone()[0] > 1
    assert [each.data for each in log.read(0, size=10**9)] == events
    assert [one for _, some in log.keys(0) for one in some] == keys


def test_a_read_unpacks_no_row_that_it_does_not_return(log: SqliteLog, path: Path) -> None:
    """Rows before and behind what is asked for may be damaged: nothing is noticed of it."""
    for _ in range(5):
        log.append(Entries(noise(10)))
    with plain(path) as connection:
        connection.execute("UPDATE batches SET events = x'00' WHERE first IN (1, 11, 41)")
    assert [each.data for each in log.read(20, events=20)] == noise(10) * 2


# Damage


def test_a_damaged_row_is_told_and_the_others_are_read(
    log: SqliteLog, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its events come with empty data, so that each of them can be accounted for; it is told once, with positions."""
    for _ in range(6):
        log.append(Entries(noise(10)))
    with plain(path) as connection:
        connection.execute("UPDATE batches SET events = x'00ff' WHERE first = 11")
        connection.execute("UPDATE batches SET events = substr(events, 1, 50) WHERE first = 31")
        connection.execute(
            "UPDATE batches SET events = (SELECT events FROM batches WHERE first = 1), count = 9 WHERE first = 51"
        )
    expected = (noise(10) + [b""] * 10) * 2 + noise(10) + [b""] * 9
    for _ in range(2):
        assert log.read(0) == [Accepted(number, data) for number, data in enumerate(expected, 1)]
    told = [f"{path}: the events {first} to {last} can't be read" for first, last in ((11, 20), (31, 40), (51, 59))]
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [str(path)] * 3
    assert all(record.getMessage().startswith(text) for record, text in zip(caplog.records, told, strict=True))
    assert [each.partition(": the file")[0] for each in log.check()] == told


def test_one_flipped_bit_is_noticed(log: SqliteLog, path: Path) -> None:
    """What is kept has a checksum: an event never comes back as another one."""
    log.append(Entries(noise(3)))
    with plain(path) as connection:
        blob = bytearray(connection.execute("SELECT events FROM batches").fetchone()[0])
        blob[len(blob) // 2] ^= 1
        connection.execute("UPDATE batches SET events = ?", (blob,))
    assert [each.data for each in log.read(0)] == [b""] * 3
    assert len(log.check()) == 1


@pytest.mark.parametrize("size", [20, 500, 3_000])
def test_any_damaged_page_costs_its_own_events_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """Whichever page is garbage: the log says that it can't be used, or each event comes back as it was, or empty.

    What is lost is told once, however it is read.
    """
    whole = tmp_path / "whole.db"
    events = [each for number in range(60) for each in noise(4, size, number)]
    with closing(SqliteLog(whole)) as log:
        for start in range(0, len(events), 4):
            log.append(Entries(events[start : start + 4]))
        assert log.check() == []
    data, unusable, lost = whole.read_bytes(), 0, []
    for page in range(len(data) // 4_096):
        (tmp_path / "log.db").write_bytes(data[: page * 4_096] + b"\xa5" * 4_096 + data[(page + 1) * 4_096 :])
        try:
            lost.append(_read_damaged(tmp_path / "log.db", events))
        except LogError:
            unusable += 1
        assert len(caplog.records) <= 1
        caplog.clear()
    assert unusable < 8
    assert max(lost) < len(events) * 0.6
    assert sum(lost) > len(events) / 2


def _read_damaged(path: Path, events: list[bytes]) -> int:
    """Return how many events can't be read any more."""
    with closing(SqliteLog(path)) as log:
        found: list[Accepted] = []
        while some := log.read(len(found), events=50):
            found += some
        assert [each.position for each in found] == list(range(1, len(events) + 1))
        assert all(each.data in (b"", data) for each, data in zip(found, events, strict=True))
        lost = sum(not each.data for each in found)
        assert not lost or log.check()
        return lost


def test_a_damaged_dead_letter_is_named(log: SqliteLog, path: Path) -> None:
    """It isn't left out in silence."""
    log.register("a")
    log.settle("a", Settlement(dead=[DEAD]))
    with plain(path) as connection:
        connection.execute("UPDATE dead SET outcome = 'x'")
    with pytest.raises(LogError, match=r"the dead letter 1 can't be read: .*It is damaged"):
        list(log.dead(DeadQuery()))


@pytest.mark.parametrize("column", ["items", "refused", "reason"])
def test_a_damaged_parked_event_has_lost_its_items(
    log: SqliteLog, path: Path, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named, and stands among the others as one that has none."""
    log.register("a")
    log.settle("a", Settlement(park=waiting(2)))
    with plain(path) as connection:
        connection.execute(f"UPDATE parked SET {column} = 'x' WHERE id = 1")
    damaged, whole = log.due("a", 0)
    assert (damaged.id, damaged.lost, damaged.items) == (1, True, [])
    assert (whole.id, whole.lost, len(whole.items)) == (2, False, 1)
    assert log.behind("a", damaged.user) == [damaged]
    assert "the parked event 1 can't be read" in caplog.text


# Room


def test_deleted_events_give_their_room_back(log: SqliteLog) -> None:
    """The file becomes shorter, and what is left is whole."""
    for _ in range(60):
        log.append(Entries(noise(100)))
    log.register("a")
    log.settle("a", Settlement(position=5_500))
    before = log.size()
    assert log.retain(age_ms=0, now_ms=1_000) == 5_500
    assert before > 6_000_000 > 1_000_000 > log.size()
    assert [each.data for each in log.read(0, events=1_000)] == noise(100) * 5
    assert log.check() == []


def test_the_size_is_reached_with_the_fewest_rows(log: SqliteLog) -> None:
    """Not one more than needed; what a destination needs stays all the same."""
    for _ in range(40):
        log.append(Entries(noise(100)))
    log.register("a")
    log.settle("a", Settlement(position=1_000))
    assert log.retain(size=10**9, now_ms=0) == 0
    assert log.retain(size=2_000_000, now_ms=0) == 1_000
    log.settle("a", Settlement(position=4_000))
    log.retain(size=2_000_000, now_ms=0)
    assert 1_850_000 < log.size() <= 2_000_000


def test_at_its_size_a_log_takes_no_more_events_but_settles(path: Path) -> None:
    """It says which limit was reached; when events were deleted it goes on."""
    with closing(SqliteLog(path, max_bytes=500_000)) as log:
        log.register("a")
        reached = "has reached its size of 500,000 bytes, and nothing of this batch was kept"
        with pytest.raises(LogFull, match=reached):
            keep_appending(log, 50, 1_000)
        with pytest.raises(LogFull, match=reached):
            log.append(Entries([]))  # which would take no room
        kept = log.last()
        assert kept in range(300, 500, 50)
        log.settle("a", Settlement(position=kept, park=waiting(300), dead=[DEAD] * 500))
        assert (log.parked("a"), log.register("a").position) == (300, kept)
        with pytest.raises(LogFull):
            log.append(Entries([b"{}"]))
        assert log.retain(age_ms=0, now_ms=1_000) == kept
        log.settle("a", Settlement(unpark=[each.id for each in log.due("a", 0)]))
        assert log.append(Entries(noise(50))) == kept + 1


def keep_appending(log: SqliteLog, count: int, size: int) -> None:
    """Append until it is refused, or far beyond that."""
    for _ in range(5_000):
        log.append(Entries(noise(count, size)))


def fill_up(log: SqliteLog) -> int:
    """Append until the disk is full, in ever smaller pieces, and return the last position."""
    for size in (200_000, 10_000, 100):
        with pytest.raises(LogFull, match="the disk is full, and nothing of this was kept"):
            keep_appending(log, 1, size)
    return log.last()


def limit(log: SqliteLog, room: int) -> None:
    """Leave a file room for so many more pages: what a full disk is to SQLite."""
    pages = log._writer.execute("PRAGMA page_count").fetchone()[0]
    log._writer.execute(f"PRAGMA max_page_count = {pages + room}").fetchall()


def test_a_full_file_keeps_nothing_of_an_append_and_goes_on_when_there_is_room(log: SqliteLog) -> None:
    """The position isn't used up; settling and deleting still work."""
    log.register("a")
    limit(log, 200)
    last = fill_up(log)
    log.settle("a", Settlement(position=last, counts={(Outcome.DELIVERED, None): last}))
    assert log.retain(age_ms=0, now_ms=1_000) == last
    assert log.append(Entries(noise(10))) == last + 1
    assert [each.data for each in log.read(0)] == noise(10)
    assert log.check() == []


def test_where_even_a_settlement_finds_no_room_nothing_of_it_is_kept(log: SqliteLog, path: Path) -> None:
    """The reserve is given up first; then the error says that the disk is full."""
    log.register("a")
    limit(log, 20)
    with pytest.raises(LogFull, match="the disk is full"):
        log.settle("a", Settlement(park=waiting(500), counts={(Outcome.DELIVERED, None): 1}))
    assert (log.parked("a"), log.counts()) == (0, {})
    assert not Path(f"{path}-reserve").exists()
    assert log.settle("a", Settlement(park=waiting(5))) == [1, 2, 3, 4, 5]


def test_the_reserve_is_made_again_before_anything_is_appended(log: SqliteLog, path: Path) -> None:
    """It takes its room for real from the moment on when a log is opened."""
    reserve = Path(f"{path}-reserve")
    assert reserve.stat().st_size == 8_000_000
    reserve.unlink()
    log.append(Entries([b"{}"]))
    assert reserve.stat().st_size == 8_000_000


@pytest.fixture(params=[24, 26])
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system in memory of so many MB: how much of the `-wal` isn't in the file yet, when it is full, differs."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount") or "/bin/mount"
    command = [mount, "-t", "tmpfs", "-o", f"size={request.param}m", "tmpfs", str(place)]
    if not sys.platform.startswith("linux") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip(
            "A small tmpfs can't be mounted: run this test as root on Linux, in a container with CAP_SYS_ADMIN."
        )
    yield place
    subprocess.run([shutil.which("umount") or "/bin/umount", str(place)], check=True)


def hog_disk(place: Path) -> None:
    """Take the last byte of a small disk."""
    with (place / "hog").open("wb", buffering=0) as hog, pytest.raises(OSError, match="No space left"):
        hog.writelines(b"x" * 512 for _ in range(50_000))


def test_on_a_full_disk_events_are_refused_settled_and_deleted(small_disk: Path) -> None:
    """A real one: the reserve is what settling and deleting live on, and it is there again afterwards."""
    path = small_disk / "log.db"
    reserve = Path(f"{path}-reserve")
    with closing(SqliteLog(path)) as log:
        log.register("a")
        last = fill_up(log)
        hog_disk(small_disk)
        assert reserve.exists()
        with pytest.raises(LogFull, match="the disk is full"):
            log.append(Entries([]))  # which would take no room
        for _ in range(20):
            log.settle("a", Settlement(park=waiting(20), dead=[DEAD] * 20, counts={(Outcome.DEAD, None): 1}))
        assert (log.parked("a"), log.count_dead(DeadQuery()), reserve.exists()) == (400, 400, False)
        with pytest.raises(LogFull, match="the disk is full"):
            log.append(Entries([b"{}"]))
        log.settle("a", Settlement(position=last))
        size = log.size()
        assert log.retain(age_ms=0, now_ms=1_000) == last
        assert log.size() < size / 2
        assert log.append(Entries([])) == last + 1
        assert log.append(Entries(noise(10))) == last + 1
        assert reserve.exists()
        assert log.check() == []
    with closing(SqliteLog(path)) as log:
        assert [each.data for each in log.read(last)] == noise(10)
        assert log.parked("a") == 400


@pytest.mark.parametrize("filled", [True, False])
def test_a_log_on_a_full_disk_is_opened_and_read(small_disk: Path, filled: bool) -> None:
    """Whether it had filled the disk itself or not, its reserve gives SQLite's own files their room."""
    path = small_disk / "log.db"
    with closing(SqliteLog(path)) as log:
        log.register("a")
        log.append(Entries(noise(1_000)))
        last = fill_up(log) if filled else log.last()
    hog_disk(small_disk)
    with closing(SqliteLog(path)) as log:
        with pytest.raises(LogFull, match="the disk is full"):
            log.append(Entries([b"{}"]))
        assert len(log.read(0, events=last, size=10**9)) == last
        log.settle("a", Settlement(position=last, dead=[DEAD] * 500))
        assert log.count_dead(DeadQuery()) == 500


@pytest.mark.parametrize("size", [45_000, 900_000])
@pytest.mark.parametrize("megabytes", [3, 1_000])
def test_what_was_accepted_is_settled_on_a_full_disk_to_the_last_event(
    small_disk: Path, size: int, megabytes: int
) -> None:
    """Whoever filled it: the reserve has room for all of the `-wal`, which has to be moved into the file first."""
    with closing(SqliteLog(small_disk / "log.db")) as log:
        log.register("a")
        with suppress(LogFull):
            for _ in range(megabytes * 1_000_000 // size + 1):
                log.append(Entries(noise(1, size)))
        hog_disk(small_disk)
        for position in range(log.last() + 1):
            log.settle("a", Settlement(position=position, counts={(Outcome.DELIVERED, None): 1}))
        for _ in range(200):
            log.settle("a", Settlement(dead=[DEAD] * 5))
        assert log.count_dead(DeadQuery()) == 1_000
        assert log.retain(age_ms=0, now_ms=1_000) == log.last()


# Files that can't be used


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """With a path that would do."""
    assert refusal(tmp_path) == f"{tmp_path}: is a folder. Give the path of a file, such as {tmp_path / 'turnout.db'}."


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It isn't made in silence: the path may be mistyped."""
    assert refusal(tmp_path / "no" / "log.db").endswith(f"the folder {tmp_path / 'no'} isn't there. Make it first.")


@pytest.mark.parametrize("name", ["a\0b", "a" * 300])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    """As one sentence, like every other."""
    told = refusal(tmp_path / name)
    assert "no file can be called so. Give another path." in told or "can't be opened" in told


@pytest.mark.parametrize("content", [b"garbage " * 1_000, b"x", b"SQLite format 3\x00" + b"\xff" * 4_000])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    """It could be a file of another program, or a log whose beginning was overwritten."""
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: is no log of turnout, or its beginning is damaged. Give another path")
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_log_with_a_damaged_beginning_is_refused(log: SqliteLog, path: Path) -> None:
    """The header is where SQLite sees what it is."""
    log.append(Entries([b"{}"]))
    log.close()
    path.write_bytes(b"\x00" * 100 + path.read_bytes()[100:])
    assert "its beginning is damaged. Give another path, or restore a copy" in refusal(path)


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    """Even one that has tables of the same names."""
    with plain(path) as connection:
        connection.execute("CREATE TABLE meta (key, value)")
    content = path.read_bytes()
    assert refusal(path) == f"{path}: is an SQLite file, but no log of turnout. Give the path of another file."
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_log(path: Path) -> None:
    """A file made by mktemp, or a log whose making was cut short."""
    path.touch()
    with closing(SqliteLog(path)) as log:
        assert log.append(Entries([b"{}"])) == 1


def test_a_file_that_may_not_be_written_is_refused(ordinary: Path) -> None:
    """With what to do about it."""
    path = ordinary / "log.db"
    SqliteLog(path).close()
    path.chmod(0o444)
    assert refusal(path).startswith(f"{path}: can't be written. Make the file and its folder writable for this user (")


def test_a_folder_that_may_not_be_read_is_named(ordinary: Path) -> None:
    """It may have a log in it."""
    ordinary.chmod(0)
    assert refusal(ordinary / "log.db").startswith(f"{ordinary / 'log.db'}: can't be opened. Make the file and its")


def test_a_file_that_may_not_be_read_is_refused(ordinary: Path) -> None:
    """With what to do about it."""
    path = ordinary / "log.db"
    SqliteLog(path).close()
    path.chmod(0)
    assert refusal(path).startswith(f"{path}: can't be opened. Make the file and its folder readable and writable")


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_may_not_be_written_is_refused(ordinary: Path, there: bool) -> None:
    """SQLite needs its own files beside the log."""
    path = ordinary / "log.db"
    if there:
        SqliteLog(path).close()
    ordinary.chmod(0o555)
    assert "Make the file and its folder" in refusal(path)


def test_a_role_needs_a_lock_that_may_be_written(ordinary: Path) -> None:
    """It names the lock."""
    place = ordinary / "log.db-deliver.lock"
    place.touch()
    place.chmod(0)
    with closing(SqliteLog(ordinary / "log.db")) as log, pytest.raises(LogError) as caught, log.own("deliver"):
        pass
    assert str(caught.value) == f"{place}: can't be opened: Permission denied. Make it writable for this user."


def test_a_log_that_is_held_by_another_is_busy_not_broken(log: SqliteLog, path: Path) -> None:
    """Somebody who writes for too long is told apart from damage."""
    log._writer.execute("PRAGMA busy_timeout = 1")
    with plain(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogError, match=r"another process has been writing for .* seconds\. Try again, or end it"):
            log.append(Entries([b"{}"]))
        assert log.read(0) == []
    assert log.append(Entries([b"{}"])) == 1


# Versions


def test_a_file_of_a_newer_version_is_refused(log: SqliteLog, path: Path) -> None:
    """And stays what it is."""
    log.close()
    with plain(path) as connection:
        connection.execute("UPDATE meta SET value = 7 WHERE key = 'version'")
    newer = (
        f"{path}: was written by a newer turnout (schema 7; this one knows up to {SqliteLog.version}). Update turnout."
    )
    assert refusal(path) == newer
    with plain(path) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone() == (7,)


def add_version_column(connection: sqlite3.Connection) -> None:
    """Make a made-up schema 1 of a made-up schema 0, which had no versions in its dead letters."""
    connection.execute("ALTER TABLE dead ADD COLUMN version TEXT NOT NULL DEFAULT 'unknown'")


class Migrating(SqliteLog):
    """A log whose first schema was another one."""

    migrations: ClassVar[dict[int, Callable[[sqlite3.Connection], None]]] = {0: add_version_column}


class Failing(SqliteLog):
    """A log whose migration breaks in the middle."""

    @staticmethod
    def _break(connection: sqlite3.Connection) -> None:
        add_version_column(connection)
        connection.execute("DELETE FROM nowhere")

    migrations: ClassVar[dict[int, Callable[[sqlite3.Connection], None]]] = {0: _break}


def test_a_file_of_an_older_version_is_migrated_whole_or_not_at_all(log: SqliteLog, path: Path) -> None:
    """What it holds stays; when a step breaks, the file is as before and can be migrated later."""
    log.append(Entries(noise(5)))
    log.register("a")
    log.settle("a", Settlement(position=3, dead=[DEAD]))
    log.close()
    with plain(path) as connection:
        connection.execute("ALTER TABLE dead DROP COLUMN version")
        connection.execute("UPDATE meta SET value = 0 WHERE key = 'version'")
    assert "no such table: nowhere" in refusal(path, Failing)
    for _ in range(2):
        with closing(Migrating(path)) as migrated:
            assert [letter.version for letter in migrated.dead(DeadQuery())] == ["unknown"]
            assert [each.data for each in migrated.read(0)] == noise(5)
            assert migrated.register("a").position == 3
    with closing(SqliteLog(path)) as again:
        assert again.last() == 5


# Opening at once


def test_several_may_make_one_log_at_once(path: Path) -> None:
    """Whoever comes first makes it, the others find it."""
    logs: list[SqliteLog] = []
    faults: list[Any] = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        try:
            logs.append(SqliteLog(path))
            logs[-1].append(Entries([b"{}"] * 3))
        except Exception as error:
            faults.append(error)

    for _ in range(5):
        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        assert [each.last() for each in logs] == [24] * 8
        for each in logs:
            each.close()
        logs.clear()
        for file in path.parent.iterdir():
            file.unlink()


def test_an_append_reaches_the_disk_before_it_returns(log: SqliteLog) -> None:
    """SQLite is told to wait for the disk with every transaction."""
    asked = [log._writer.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert asked == ["wal", 2]


def test_a_log_names_its_file(log: SqliteLog, path: Path) -> None:
    """It can be told from another one in a message."""
    assert repr(log) == f"SqliteLog({str(path)!r})"

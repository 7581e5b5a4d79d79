"""The log in one SQLite file, for a single machine: durable appends, cursors, parked events and dead letters.

    log = SqliteLog("turnout.db")
    with log.own("deliver"):
        cursor = log.register("amplitude")
        accepted = log.read(cursor.position)

Beside the file stand SQLite's own `-wal` and `-shm`, one `-<role>.lock` for each role, and `-reserve`: eight megabytes
that are freed when the disk is full, so that settling and deleting still work. Several processes may use one file.

Events are kept as one compressed row for each append. A row that can't be read any more (a damaged disk) is logged
as an error, and `read` gives its events with empty data: their positions stay, so that each can be accounted for,
and the rows behind it are read as ever.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec

from turnout._json import encode
from turnout._sqlite_file import (
    BUSY_SECONDS,
    Damaged,
    Reserve,
    check_place,
    connected,
    hold,
    is_full,
    is_new,
    make_tables,
    no_room,
    one,
    told,
    transact,
    used,
)
from turnout._sqlite_rows import (
    AT_ONCE,
    LAST,
    PARKED,
    ROW,
    Rows,
    keys_in,
    letter_row,
    letters_in,
    parked_in,
    parked_state,
    readable,
    rows_of,
)
from turnout.log import (
    Accepted,
    Cursor,
    DeadLetter,
    DeadQuery,
    Entries,
    LogError,
    LogFull,
    Parked,
    Room,
    Settlement,
    State,
)
from turnout.reasons import Code, Outcome

__all__ = ["SqliteLog"]

_T = TypeVar("_T")
_CALL = 65_536
"""Bytes that must be left within `max_bytes` for the log to count as having room."""
_ROWS = 32
"""Rows that `read` looks up in one go: it seldom needs more."""
_logger = logging.getLogger("turnout")

_EARLY, _USUAL = 50, 1000
"""Pages in the `-wal` after which SQLite moves them into the file: while the disk is full, and otherwise."""
_OLDEST = "SELECT first, count, at_ms, length(keys) + length(events) FROM batches ORDER BY first LIMIT ?"


class SqliteLog:
    """A `turnout.log.Log` in the SQLite file at `path`, which is made when it isn't there.

    Beyond `max_bytes` of data `append` raises `LogFull`, while settling goes on. Raises `LogError` when the file
    can't be used: it says why, and what to do. `vfs` names another file layer of SQLite, for tests.
    """

    version: ClassVar[int] = 1
    """The schema that is written; a file of an older one is migrated when it is opened."""
    migrations: ClassVar[dict[int, Callable[[sqlite3.Connection], None]]] = {}
    """For each older schema, what makes the next one of it."""

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int | None = None, vfs: str | None = None) -> None:
        self.path = Path(path).absolute()
        self.max_bytes = max_bytes
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._reserve = Reserve(self.path)
        self._rows = Rows(self.path, self._select)
        self._closed = self._saving = False
        check_place(self.path)
        with told(self.path):
            self._writer, self._reader = self._spared(lambda: connected(self.path, self._prepare, vfs))
        self._thrifty(not self._reserve.make())

    def __repr__(self) -> str:
        return f"SqliteLog({str(self.path)!r})"

    def append(self, entries: Entries) -> int:
        """Keep events for good and return the position of the first one.

        Raises `LogFull` when the disk is full or `max_bytes` are reached; then none of them was kept. With no events it
        only finds out whether there is room.
        """
        rows = list(rows_of(entries))

        def insert(writer: sqlite3.Connection) -> int:
            if not self._reserve.make() or not (rows or self._reserve.beside()):
                raise no_room(self.path)
            self._thrifty(False)
            first = following = int(one(writer, LAST)) + 1
            for count, keys, events in rows:
                row = (following, count, entries.at_ms, keys, events)
                writer.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?)", row)
                following += count
            self._check_room(writer, 0 if rows else _CALL)
            return first

        return self._write(insert, spare=False)

    def read(self, after: int, *, events: int = 500, size: int = 4_000_000) -> list[Accepted]:
        """Return the events behind a position, in order: at most so many, and about so many bytes.

        The data of an event that can't be read any more is empty.
        """
        found: list[Accepted] = []
        following = max(after, 0) + 1
        while size > 0 and len(found) < events:
            most = min(events - len(found), _ROWS)
            try:
                heads = self._rows.heads(following, most)
            except Damaged:
                if found:
                    return found
                raise
            for first, count in heads:
                start = max(following - first, 0)
                some = self._rows.row(first, count)[start : start + events - len(found)]
                sizes = list(accumulate(map(len, some)))
                fitting = bisect_left(sizes, size) + 1  # the one that is too much is the last
                found.extend(map(Accepted, range(first + start, first + start + count), some[:fitting]))
                size -= sizes[-1] if sizes else 0
                if len(found) == events or size <= 0:
                    return found
                following = first + count
            if len(heads) < most:  # the end, or damage: what lies behind is found by who reads on
                break
        return found

    def first(self) -> int:
        """Return the position of the oldest event that is still there; one behind `last` when there is none."""
        oldest = self._select("SELECT first FROM batches ORDER BY first LIMIT 1")
        return int(oldest[0][0]) if oldest else self.last() + 1

    def last(self) -> int:
        """Return the position of the newest event ever appended; 0 before the first."""
        return int(self._select(LAST)[0][0])

    def keys(self, since_ms: int) -> Iterator[tuple[int, Sequence[bytes]]]:
        """Yield time and deduplication keys of the batches that were accepted since then, oldest first."""
        after = (since_ms, 0)
        query = "SELECT at_ms, first, keys FROM batches WHERE (at_ms, first) > (?, ?) ORDER BY at_ms, first LIMIT ?"
        while rows := self._select(query, *after, AT_ONCE):
            for at_ms, _, keys in rows:
                if keys:
                    yield at_ms, keys_in(keys)
            after = rows[-1][:2]

    def destinations(self) -> list[str]:
        """Return the ids of the destinations that have a cursor, sorted."""
        return [row[0] for row in self._select("SELECT destination FROM cursors ORDER BY destination")]

    def register(self, destination: str, *, at_end: bool = False) -> Cursor:
        """Return a destination's cursor; a new one starts at the oldest event, or behind the newest."""

        def insert(writer: sqlite3.Connection) -> Cursor:
            start = last = int(one(writer, LAST))
            if not at_end:
                start = int(one(writer, "SELECT coalesce(min(first) - 1, ?) FROM batches", last))
            values = (destination, start, start)
            writer.execute("INSERT OR IGNORE INTO cursors (destination, position, origin) VALUES (?, ?, ?)", values)
            return self._cursor(writer, destination)

        return self._write(insert)

    def settle(self, destination: str, settlement: Settlement) -> list[int]:
        """Keep a settlement, all of it or nothing, and return the ids of the newly parked events.

        Raises `LogFull` when there is no room even for that, and `LogError` when the destination isn't registered,
        the position isn't in the log, or a parked event that is to be renewed isn't there.
        """

        def keep(writer: sqlite3.Connection) -> list[int]:
            self._advance(writer, destination, settlement.position)
            _keep_inputs(writer, destination, settlement)
            _unpark(writer, destination, settlement.unpark)
            parked = [self._park(writer, destination, parked) for parked in settlement.park]
            writer.executemany(_INSERT_DEAD, [letter_row(destination, letter) for letter in settlement.dead])
            writer.executemany("DELETE FROM dead WHERE id = ?", [(one,) for one in settlement.bury])
            _add_counts(writer, destination, settlement)
            return [identifier for identifier in parked if identifier]

        return self._write(keep)

    def begin(self, destination: str) -> Cursor:
        """Write down that a process begins to deliver, and return the cursor.

        When the one before has not said `end`, its death is counted in `deaths`; and in `tried`, if it was mapping an
        event alone.
        """

        def update(writer: sqlite3.Connection) -> Cursor:
            # A negative `trying` was being mapped when a process before died; one that has just begun maps nothing yet.
            statement = """UPDATE cursors SET deaths = deaths + begun, tried = tried + (begun AND trying > 0),
                trying = -abs(trying), begun = 1 WHERE destination = ?"""
            writer.execute(statement, (destination,))
            return self._cursor(writer, destination)

        return self._write(update)

    def end(self, destination: str) -> None:
        """Write down that delivery ends as it should: `trying`, `tried` and `deaths` become 0."""
        statement = "UPDATE cursors SET begun = 0, trying = 0, tried = 0, deaths = 0 WHERE destination = ?"
        self._write(lambda writer: writer.execute(statement, (destination,)))

    def mark(self, destination: str, *, trying: int, tried: int = 0) -> None:
        """Write down that an event is about to be mapped alone; 0: that none is any more.

        It outlives this process, but not a power cut: it is there for the death of the process, and costs no sync.
        """

        def update(writer: sqlite3.Connection) -> None:
            self._cursor(writer, destination)
            statement = "UPDATE cursors SET trying = ?, tried = ? WHERE destination = ?"
            writer.execute(statement, (trying, tried, destination))

        self._write(update, synced=False)

    def move(self, destination: str, position: int) -> None:
        """Set a cursor, also back: what lies behind it is delivered once more. Parked events stay.

        It clears `trying`, `tried` and `deaths`. Raises `LogError` for a position that the log never had.
        """

        def update(writer: sqlite3.Connection) -> None:
            self._cursor(writer, destination)
            self._check_position(writer, position)
            # Events that come once more are received once more.
            moved = "UPDATE cursors SET origin = origin + ? - position, position = ?, trying = 0, tried = 0, deaths = 0"
            writer.execute(f"{moved} WHERE destination = ?", (position, position, destination))

        self._write(update)

    def forget(self, destination: str) -> None:
        """Take out a destination: cursor, inputs, parked events and counts, not its dead letters."""

        def delete(writer: sqlite3.Connection) -> None:
            for table in ("cursors", "inputs", "parked", "counts"):
                writer.execute(f"DELETE FROM {table} WHERE destination = ?", (destination,))  # noqa: S608

        self._write(delete)

    def due(self, destination: str, now_ms: int, limit: int = 500) -> list[Parked]:
        """Return the parked events that may be tried now: of each user the first, when its time has come.

        Those that have been due for longest come first.
        """
        query = f"{PARKED} WHERE head AND destination = ? AND due_ms <= ? ORDER BY due_ms, id LIMIT ?"
        return [parked_in(self.path, row) for row in self._select(query, destination, now_ms, limit)]

    def behind(self, destination: str, user: str, limit: int = 100) -> list[Parked]:
        """Return a user's parked events in order, the first one included."""
        query = f"{PARKED} WHERE destination = ? AND user = ? ORDER BY id LIMIT ?"
        return [parked_in(self.path, row) for row in self._select(query, destination, user, limit)]

    def waiting_users(self, destination: str) -> set[str]:
        """Return the users that have parked events."""
        return {row[0] for row in self._select("SELECT user FROM parked WHERE head AND destination = ?", destination)}

    def next_due(self, destination: str) -> int | None:
        """Return when the next parked event may be tried, None without any."""
        rows = self._select("SELECT min(due_ms) FROM parked WHERE head AND destination = ?", destination)
        return None if rows[0][0] is None else int(rows[0][0])

    def parked(self, destination: str) -> int:
        """Return how many events are parked."""
        return int(self._select("SELECT count(*) FROM parked WHERE destination = ?", destination)[0][0])

    def dead(
        self, query: DeadQuery, *, limit: int | None = None, damaged: Callable[[int, str], None] | None = None
    ) -> Iterator[DeadLetter]:
        """Yield dead letters, oldest first.

        For one that can't be read `damaged` is called with its id and a sentence that says why, and the others follow;
        without it, `LogError` is raised. It counts for the limit.
        """
        wanted, values = _where(query)
        after, left = 0, sys.maxsize if limit is None else limit
        text = f"SELECT id FROM dead WHERE id > ? AND {wanted} ORDER BY id LIMIT ?"  # noqa: S608
        while left > 0 and (ids := [row[0] for row in self._select(text, after, *values, min(left, AT_ONCE))]):
            yield from letters_in(self.path, self._select, ids, damaged)
            after, left = ids[-1], left - len(ids)

    def count_dead(self, query: DeadQuery) -> int:
        """Return how many dead letters a query means."""
        wanted, values = _where(query)
        return int(self._select(f"SELECT count(*) FROM dead WHERE {wanted}", *values)[0][0])  # noqa: S608

    def bury(self, ids: Iterable[int]) -> int:
        """Delete dead letters and return how many there were."""
        listed = encode(list(ids)).decode()
        statement = "DELETE FROM dead WHERE id IN (SELECT value FROM json_each(?))"
        return self._write(lambda writer: writer.execute(statement, (listed,)).rowcount)

    def states(self) -> dict[str, State]:
        """Return where each destination stands, all of them read at one moment."""
        found: dict[str, State] = {}
        for destination, origin, position, parked, last, tally in self._select(_STATES):
            counts: dict[tuple[Outcome, Code | None], int] = {}
            with readable(self.path, f"count of '{destination}'"):
                for outcome, code, number in msgspec.json.decode(tally):
                    counts[Outcome(outcome), Code(code) if code else None] = number
            found[destination] = State(last - origin, last - position + parked, parked, counts)
        return found

    def counts(self) -> dict[str, dict[tuple[Outcome, Code | None], int]]:
        """Return, for each destination, the counts of all settlements."""
        found: dict[str, dict[tuple[Outcome, Code | None], int]] = {}
        for destination, outcome, code, number in self._select("SELECT * FROM counts"):
            with readable(self.path, f"count of '{destination}'"):
                found.setdefault(destination, {})[Outcome(outcome), Code(code) if code else None] = number
        return found

    def retain(self, *, age_ms: int | None = None, size: int | None = None, now_ms: int, force: bool = False) -> int:
        """Delete the oldest events beyond an age or a size, and return how many.

        What a destination still needs stays, unless `force` is given: then its cursor is moved to what is left, and
        a warning is logged that says how many events it has lost. Events are deleted by whole appends; their room
        is given back to the disk.
        """
        horizon = None if age_ms is None else now_ms - age_ms
        deleted, lost = 0, Counter[str]()
        while True:
            some, missed = self._write(lambda writer: _delete_oldest(writer, horizon, size, force))
            deleted += some
            lost.update(missed)
            if not some:
                break
        for destination, number in lost.items():
            _logger.warning("%s: %d events were deleted before %s got them.", self.path, number, destination)
        if deleted or (size is not None and self.size() > size):
            self._give_back()
        return deleted

    def size(self) -> int:
        """Return the bytes that the log takes on disk: the file and its `-wal`, not the reserve."""
        total = 0
        for name in (self.path, f"{self.path}-wal"):
            with suppress(FileNotFoundError):
                total += os.stat(name).st_size
        return total

    def room(self) -> Room | None:
        """Return what is left of the disk beside the reserve; None when the file system doesn't say."""
        return self._reserve.room()

    def check(self) -> list[str]:
        """Return a sentence for each damage found in the whole file; it takes as long as reading all of it."""
        try:
            found = [f"{self.path}: {row[0]}" for row in self._select("PRAGMA quick_check") if row[0] != "ok"]
        except Damaged as error:
            found = [str(error)]
        return [*found, *self._rows.damages()]

    @contextmanager
    def own(self, role: str, lost: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold a role (`accept`, `deliver`) alone while the context lasts; the kernel ends it with the process.

        Raises `LogError` that names the process that has it. `lost` is never called.
        """
        handle = hold(self.path, role)
        try:
            yield
        finally:
            os.close(handle)

    def close(self) -> None:
        """Close the log; it may be called twice. Any other call raises `LogError` from then on."""
        with self._writing, self._reading:
            if not self._closed:
                self._closed = True
                self._reader.close()
                self._writer.close()

    def _prepare(self, writer: sqlite3.Connection) -> None:
        """Make the schema, or what it has become since the file was made."""
        if is_new(writer, self.path):
            make_tables(writer)
            found = self.version
        else:
            found = int(one(writer, "SELECT value FROM meta WHERE key = 'version'"))
        if found > self.version:
            known = f"this one knows up to {self.version}"
            raise LogError(f"{self.path}: was written by a newer turnout (schema {found}; {known}). Update turnout.")
        for version in range(found, self.version):
            self.migrations[version](writer)
        writer.execute("INSERT OR REPLACE INTO meta VALUES ('version', ?)", (self.version,))

    def _select(self, query: str, *values: Any) -> list[Any]:
        with self._reading, told(self.path):
            self._check_open()
            return self._reader.execute(query, values).fetchall()

    def _write(self, work: Callable[[sqlite3.Connection], _T], *, spare: bool = True, synced: bool = True) -> _T:
        """Return what `work` does in one transaction, with the help of the reserve when the disk is full."""
        with self._writing, told(self.path):
            self._check_open()
            if not spare:
                return transact(self._writer, work)
            with nullcontext() if synced else self._unsynced():
                return self._spared(lambda: transact(self._writer, work))

    @contextmanager
    def _unsynced(self) -> Iterator[None]:
        """Let commits go without a sync. NORMAL, since OFF would leave out those of a checkpoint as well."""
        self._writer.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._writer.execute("PRAGMA synchronous = FULL")

    def _spared(self, work: Callable[[], _T]) -> _T:
        """Return what `work` does; when the disk is full, the reserve is given up for it."""
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not (is_full(error) and self._reserve.release()):
                raise
        if hasattr(self, "_writer"):
            self._thrifty(True)
        return work()

    def _thrifty(self, on: bool) -> None:
        """Keep the `-wal` from growing into the room of the reserve while there is none: checkpoint early."""
        if on != self._saving:
            self._saving = on
            self._writer.execute(f"PRAGMA wal_autocheckpoint = {_EARLY if on else _USUAL}")
        if on:
            with suppress(sqlite3.OperationalError):
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _check_open(self) -> None:
        if self._closed:
            raise LogError(f"{self.path}: the log is closed. Open it again with SqliteLog.")

    def _check_room(self, writer: sqlite3.Connection, wanted: int) -> None:
        if self.max_bytes is not None and used(writer) + wanted > self.max_bytes:
            raise LogFull(
                f"{self.path}: the log has reached its size of {self.max_bytes:,} bytes, and nothing of this batch "
                "was kept. Let the destinations catch up, delete what they are done with, or raise the limit."
            )

    def _check_position(self, writer: sqlite3.Connection, position: int) -> None:
        last = int(one(writer, LAST))
        if not 0 <= position <= last:
            raise LogError(f"{self.path}: there is no position {position}; the last one is {last}.")

    def _cursor(self, connection: sqlite3.Connection, destination: str) -> Cursor:
        query = "SELECT position, abs(trying), tried, deaths FROM cursors WHERE destination = ?"
        found = connection.execute(query, (destination,)).fetchone()
        if found is None:
            raise LogError(f"{self.path}: '{destination}' has no cursor. Register it first.")
        rows = connection.execute("SELECT key, value FROM inputs WHERE destination = ?", (destination,))
        inputs = {key: msgspec.json.decode(value) for key, value in rows.fetchall()}
        return Cursor(found[0], inputs, *found[1:])

    def _advance(self, writer: sqlite3.Connection, destination: str, position: int | None) -> None:
        if position is not None:
            self._check_position(writer, position)
        if one(writer, "SELECT count(*) FROM cursors WHERE destination = ?", destination) == 0:
            raise LogError(f"{self.path}: '{destination}' has no cursor. Register it first.")
        if position is not None:
            statement = "UPDATE cursors SET position = max(position, ?) WHERE destination = ?"
            writer.execute(statement, (position, destination))

    def _park(self, writer: sqlite3.Connection, destination: str, parked: Parked) -> int:
        """Return the id of a newly parked event, 0 for one that was renewed."""
        state = parked_state(parked)
        if not parked.id:
            place = (destination, parked.user, destination, parked.user, parked.position, parked.message_id)
            return int(writer.execute(_INSERT_PARKED, (*place, *state, parked.event)).lastrowid or 0)
        if not writer.execute(_RENEW_PARKED, (*state, parked.id, destination)).rowcount:
            raise LogError(f"{self.path}: the parked event {parked.id} of '{destination}' isn't there any more.")
        return 0

    def _give_back(self) -> None:
        """Shorten the file by what is free in it, bit by bit, so that appends get their turn."""
        for _ in range(self._free() // AT_ONCE + 1):
            with self._writing, suppress(sqlite3.OperationalError):
                self._check_open()
                # `execute` would take one step of it, which frees one page.
                self._writer.executescript(f"PRAGMA incremental_vacuum({AT_ONCE}); PRAGMA wal_checkpoint(PASSIVE)")
        with self._writing, suppress(sqlite3.OperationalError):
            self._check_open()
            # It waits for readers of other processes, and appends wait for it: not for long.
            self._writer.executescript("PRAGMA busy_timeout = 200")
            try:
                self._writer.executescript("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._writer.executescript(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1_000:.0f}")

    def _free(self) -> int:
        return int(self._select("PRAGMA freelist_count")[0][0])


_INSERT_PARKED = """INSERT INTO parked (destination, user, head, position, message_id, due_ms, attempts, active_ms,
    reason, items, refused, event) VALUES (?, ?, NOT EXISTS (SELECT 1 FROM parked WHERE destination = ? AND user = ?),
    ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_RENEW_PARKED = """UPDATE parked SET due_ms = ?, attempts = ?, active_ms = ?, reason = ?, items = ?, refused = ?
    WHERE id = ? AND destination = ?"""
_NEXT_HEAD = """UPDATE parked SET head = 1 WHERE id =
    (SELECT id FROM parked WHERE destination = ? AND user = ? ORDER BY id LIMIT 1)"""
_STATES = f"""SELECT c.destination, c.origin, c.position,
    (SELECT count(*) FROM parked p WHERE p.destination = c.destination), ({LAST}),
    (SELECT json_group_array(json_array(outcome, code, number)) FROM counts n WHERE n.destination = c.destination)
    FROM cursors c ORDER BY c.destination"""  # noqa: S608 - made of constants
_INSERT_DEAD = """INSERT INTO dead (destination, position, message_id, user, outcome, code, reason, attempts, at_ms,
    event, items, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_ADD_COUNT = """INSERT INTO counts VALUES (?, ?, ?, ?)
    ON CONFLICT (destination, outcome, code) DO UPDATE SET number = number + excluded.number"""


def _keep_inputs(writer: sqlite3.Connection, destination: str, settlement: Settlement) -> None:
    for key, value in settlement.inputs.items():
        if value is None:
            writer.execute("DELETE FROM inputs WHERE destination = ? AND key = ?", (destination, key))
        else:
            writer.execute("INSERT OR REPLACE INTO inputs VALUES (?, ?, ?)", (destination, key, encode(value)))


def _unpark(writer: sqlite3.Connection, destination: str, ids: Sequence[int]) -> None:
    users = dict[str, None]()
    for identifier in ids:
        query = "SELECT user FROM parked WHERE id = ? AND destination = ?"
        for (user,) in writer.execute(query, (identifier, destination)).fetchall():
            users[user] = None
            writer.execute("DELETE FROM parked WHERE id = ?", (identifier,))
    writer.executemany(_NEXT_HEAD, [(destination, user) for user in users])


def _add_counts(writer: sqlite3.Connection, destination: str, settlement: Settlement) -> None:
    for (outcome, code), number in settlement.counts.items():
        writer.execute(_ADD_COUNT, (destination, outcome.value, code.value if code else "", number))


def _where(query: DeadQuery) -> tuple[str, list[Any]]:
    """Return the condition that a query means, and its values; `since_ms` is included, `until_ms` is not."""
    ids = None if query.ids is None else encode(list(query.ids)).decode()
    conditions = {
        "destination = ?": query.destination,
        "code = ?": None if query.code is None else query.code.value,
        "at_ms >= ?": query.since_ms,
        "at_ms < ?": query.until_ms,
        "id IN (SELECT value FROM json_each(?))": ids,
    }
    given = {condition: value for condition, value in conditions.items() if value is not None}
    return " AND ".join(given) or "1", list(given.values())


def _delete_oldest(
    writer: sqlite3.Connection, horizon: int | None, size: int | None, force: bool
) -> tuple[int, dict[str, int]]:
    """Delete some of the oldest rows and return how many events they had, and how many of them each one misses."""
    settled = None if force else one(writer, "SELECT min(position) FROM cursors")
    taken, page, end = used(writer), int(one(writer, "PRAGMA page_size")), 0
    deleted = freed = 0
    for first, count, at_ms, length in writer.execute(_OLDEST, (AT_ONCE,)).fetchall():
        old = horizon is not None and at_ms < horizon
        if not (old or (size is not None and taken - freed > size)) or (
            settled is not None and first + count - 1 > settled
        ):
            break
        freed += -(-length // page) * page
        end, deleted = first + count - 1, deleted + count
        if freed > ROW:
            break
    writer.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'last'", (end,))
    writer.execute("DELETE FROM batches WHERE first <= ?", (end,))
    behind = writer.execute("SELECT destination, ? - position FROM cursors WHERE position < ?", (end, end)).fetchall()
    lost = [(name, Outcome.DROPPED.value, Code.DELETED_UNREAD.value, number) for name, number in behind]
    writer.executemany(_ADD_COUNT, lost)
    writer.execute("UPDATE cursors SET position = ?, trying = 0, tried = 0, deaths = 0 WHERE position < ?", (end, end))
    return deleted, dict(behind)

"""The log in one SQLite file, for a single machine: durable appends, cursors, parked events and dead letters.

    log = SqliteLog("turnout.db")
    with log.own("deliver"):
        cursor = log.register("amplitude")
        accepted = log.read(cursor.position)

Beside the file stand SQLite's own `-wal` and `-shm`, one `-<role>.lock` for each role, and `-reserve`: two megabytes
that are freed when the disk is full, so that settling and deleting still work. Several processes may use one file.

Events are kept as one compressed row for each append. A row that can't be read any more (a damaged disk) is logged
as an error, and `read` gives its events with empty data: their positions stay, so that each can be accounted for,
and the rows behind it are read as ever.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec
import zstandard

from turnout._json import encode
from turnout.log import (
    Accepted,
    Cursor,
    DeadLetter,
    DeadQuery,
    Entries,
    LogError,
    LogFull,
    Parked,
    Settlement,
    State,
    StoredItem,
)
from turnout.reasons import Code, Outcome, Reason

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["SqliteLog"]

_T = TypeVar("_T")
_logger = logging.getLogger("turnout")

_APPLICATION = 0x7475726E
"""Marks an SQLite file as a log of turnout: "turn"."""
_HEADER = b"SQLite format 3\x00"
_PAGE = 4096
_BUSY_SECONDS = 15.0
_KEY = 16
_ROW = 4_000_000
"""An append of more bytes is kept as several rows, so that a reader never has to unpack much more than it wants."""
_MOST = 32_768
"""No zstd frame unpacks to more than this many times its bytes; a damaged one may say so, and would take all memory."""
_ROWS_CACHED = 4
_AT_ONCE = 500
"""How many rows are fetched, or deleted in one transaction."""

_SETTINGS = ("synchronous = FULL", "fullfsync = ON", "secure_delete = OFF", "journal_size_limit = 4194304")

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE batches (
    first INTEGER PRIMARY KEY, count INTEGER NOT NULL, at_ms INTEGER NOT NULL, keys BLOB NOT NULL, events BLOB NOT NULL
);
CREATE INDEX batches_at ON batches (at_ms);
CREATE TABLE cursors (
    destination TEXT PRIMARY KEY, position INTEGER NOT NULL,
    origin INTEGER NOT NULL, begun INTEGER NOT NULL DEFAULT 0, trying INTEGER NOT NULL DEFAULT 0,
    tried INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE inputs (
    destination TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (destination, key)
) WITHOUT ROWID;
CREATE TABLE parked (
    id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL, user TEXT NOT NULL, head INTEGER NOT NULL,
    position INTEGER NOT NULL, message_id TEXT NOT NULL, due_ms INTEGER NOT NULL, attempts INTEGER NOT NULL,
    active_ms INTEGER NOT NULL, reason BLOB NOT NULL, items BLOB NOT NULL, refused BLOB NOT NULL,
    event BLOB NOT NULL
);
CREATE INDEX parked_users ON parked (destination, user, id);
CREATE INDEX parked_due ON parked (destination, due_ms, id) WHERE head;
CREATE TABLE dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL, position INTEGER NOT NULL, message_id TEXT,
    user TEXT NOT NULL, outcome TEXT NOT NULL, code TEXT NOT NULL, reason BLOB NOT NULL, attempts INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, event BLOB NOT NULL, items BLOB NOT NULL, version TEXT NOT NULL
);
CREATE INDEX dead_destinations ON dead (destination, id);
CREATE TABLE counts (
    destination TEXT NOT NULL, outcome TEXT NOT NULL, code TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (destination, outcome, code)
) WITHOUT ROWID;
INSERT INTO meta VALUES ('last', 0);
"""

_pack = msgspec.msgpack.encode
_unpack_events = msgspec.msgpack.Decoder(list[bytes]).decode
_unpack_items = msgspec.msgpack.Decoder(list[StoredItem]).decode
_unpack_reason = msgspec.msgpack.Decoder(Reason | None).decode


class _Contexts(threading.local):
    """zstd's, one of each for a thread: they take long to make, and no two threads may use one."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()

_LAST = """SELECT max(value, coalesce((SELECT first + count - 1 FROM batches ORDER BY first DESC LIMIT 1), 0))
    FROM meta WHERE key = 'last'"""
_HEADS = """SELECT first, count FROM batches WHERE first >=
    coalesce((SELECT first FROM batches WHERE first <= ?1 ORDER BY first DESC LIMIT 1), 0) AND first + count > ?1
    ORDER BY first LIMIT ?2"""
_NEXT = "SELECT first FROM batches WHERE first >= ? ORDER BY first LIMIT 1"
_OLDEST = "SELECT first, count, at_ms, length(keys) + length(events) FROM batches ORDER BY first LIMIT ?"
_PARKED = """SELECT id, user, position, message_id, due_ms, attempts, active_ms, reason, items, refused, event
    FROM parked"""
_DEAD = """SELECT id, destination, position, message_id, user, outcome, reason, attempts, at_ms, event, items, version
    FROM dead"""


class SqliteLog:
    """A `turnout.log.Log` in the SQLite file at `path`, which is made when it isn't there.

    Beyond `max_bytes` of data `append` raises `LogFull`, while settling goes on. Raises `LogError` when the file
    can't be used: it says why, and what to do.
    """

    version: ClassVar[int] = 1
    """The schema that is written; a file of an older one is migrated when it is opened."""
    migrations: ClassVar[dict[int, Callable[[sqlite3.Connection], None]]] = {}
    """For each older schema, what makes the next one of it."""

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int | None = None) -> None:
        self.path = Path(path).absolute()
        self.max_bytes = max_bytes
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._reserve = _Reserve(self.path)
        self._rows = _Rows()
        self._damaged: set[int] = set()
        self._hole = range(0)
        self._closed = False
        _check_place(self.path)
        with _told(self.path):
            self._writer, self._reader = self._spared(self._open)
        self._reserve.make()

    def __repr__(self) -> str:
        return f"SqliteLog({str(self.path)!r})"

    def append(self, entries: Entries) -> int:
        """Keep events for good and return the position of the first one.

        Raises `LogFull` when the disk is full or `max_bytes` are reached; then none of them was kept.
        """
        rows = list(_rows(entries))

        def insert(writer: sqlite3.Connection) -> int:
            if not self._reserve.make():
                raise _full(self.path)
            first = following = int(_one(writer, _LAST)) + 1
            for count, keys, events in rows:
                row = (following, count, entries.at_ms, keys, events)
                writer.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?)", row)
                following += count
            self._check_room(writer)
            return first

        return self._write(insert, spare=False)

    def read(self, after: int, *, events: int = 500, size: int = 4_000_000) -> list[Accepted]:
        """Return the events behind a position, in order: at most so many, and about so many bytes.

        The data of an event that can't be read any more is empty.
        """
        found: list[Accepted] = []
        following = max(after, 0) + 1
        for first, count in self._heads(following, events):
            row = self._row(first, count)
            for position in range(max(following, first), first + len(row)):
                if len(found) == events or size <= 0:
                    return found
                data = row[position - first]
                found.append(Accepted(position, data))
                size -= len(data)
        return found

    def first(self) -> int:
        """Return the position of the oldest event that is still there; one behind `last` when there is none."""
        oldest = self._select("SELECT first FROM batches ORDER BY first LIMIT 1")
        return int(oldest[0][0]) if oldest else self.last() + 1

    def last(self) -> int:
        """Return the position of the newest event ever appended; 0 before the first."""
        return int(self._select(_LAST)[0][0])

    def keys(self, since_ms: int) -> Iterator[tuple[int, Sequence[bytes]]]:
        """Yield time and deduplication keys of the batches that were accepted since then, oldest first."""
        after = (since_ms, 0)
        query = "SELECT at_ms, first, keys FROM batches WHERE (at_ms, first) > (?, ?) ORDER BY at_ms, first LIMIT ?"
        while rows := self._select(query, *after, _AT_ONCE):
            for at_ms, _, keys in rows:
                if keys:
                    yield at_ms, [keys[start : start + _KEY] for start in range(0, len(keys), _KEY)]
            after = rows[-1][:2]

    def destinations(self) -> list[str]:
        """Return the ids of the destinations that have a cursor, sorted."""
        return [row[0] for row in self._select("SELECT destination FROM cursors ORDER BY destination")]

    def register(self, destination: str, *, at_end: bool = False) -> Cursor:
        """Return a destination's cursor; a new one starts at the oldest event, or behind the newest."""

        def insert(writer: sqlite3.Connection) -> Cursor:
            start = last = int(_one(writer, _LAST))
            if not at_end:
                start = int(_one(writer, "SELECT coalesce(min(first) - 1, ?) FROM batches", last))
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
            writer.executemany(_INSERT_DEAD, [_dead_row(destination, letter) for letter in settlement.dead])
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
            statement = "UPDATE cursors SET deaths = deaths + begun, tried = tried + (begun AND trying), begun = 1"
            writer.execute(f"{statement} WHERE destination = ?", (destination,))
            return self._cursor(writer, destination)

        return self._write(update)

    def end(self, destination: str) -> None:
        """Write down that delivery ends as it should: `trying`, `tried` and `deaths` become 0."""
        statement = "UPDATE cursors SET begun = 0, trying = 0, tried = 0, deaths = 0 WHERE destination = ?"
        self._write(lambda writer: writer.execute(statement, (destination,)))

    def mark(self, destination: str, *, trying: int, tried: int = 0) -> None:
        """Write down that an event is about to be mapped alone; 0: that none is any more."""

        def update(writer: sqlite3.Connection) -> None:
            self._cursor(writer, destination)
            statement = "UPDATE cursors SET trying = ?, tried = ? WHERE destination = ?"
            writer.execute(statement, (trying, tried, destination))

        self._write(update)

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
        query = f"{_PARKED} WHERE head AND destination = ? AND due_ms <= ? ORDER BY due_ms, id LIMIT ?"
        return [self._parked(row) for row in self._select(query, destination, now_ms, limit)]

    def behind(self, destination: str, user: str, limit: int = 100) -> list[Parked]:
        """Return a user's parked events in order, the first one included."""
        query = f"{_PARKED} WHERE destination = ? AND user = ? ORDER BY id LIMIT ?"
        return [self._parked(row) for row in self._select(query, destination, user, limit)]

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

    def dead(self, query: DeadQuery, *, limit: int | None = None) -> Iterator[DeadLetter]:
        """Yield dead letters, oldest first."""
        wanted, values = _where(query)
        after, left = 0, sys.maxsize if limit is None else limit
        text = f"{_DEAD} WHERE id > ? AND {wanted} ORDER BY id LIMIT ?"
        while left > 0 and (rows := self._select(text, after, *values, min(left, _AT_ONCE))):
            yield from map(self._letter, rows)
            after, left = rows[-1][0], left - len(rows)

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
        for destination, origin, position, parked, last, told in self._select(_STATES):
            counts: dict[tuple[Outcome, Code | None], int] = {}
            with self._readable(f"count of '{destination}'"):
                for outcome, code, number in msgspec.json.decode(told):
                    counts[Outcome(outcome), Code(code) if code else None] = number
            found[destination] = State(last - origin, last - position + parked, parked, counts)
        return found

    def counts(self) -> dict[str, dict[tuple[Outcome, Code | None], int]]:
        """Return, for each destination, the counts of all settlements."""
        found: dict[str, dict[tuple[Outcome, Code | None], int]] = {}
        for destination, outcome, code, number in self._select("SELECT * FROM counts"):
            with self._readable(f"count of '{destination}'"):
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

    def check(self) -> list[str]:
        """Return a sentence for each damage found in the whole file; it takes as long as reading all of it."""
        try:
            found = [f"{self.path}: {row[0]}" for row in self._select("PRAGMA quick_check") if row[0] != "ok"]
        except _Damaged as error:
            found = [str(error)]
        following = 1
        while heads := self._heads(following, _AT_ONCE):
            for first, count in heads:
                self._row(first, count, fresh=True)
                following = first + count
                if first in self._damaged:
                    found.append(_damage(self.path, first, count))
        return found

    @contextmanager
    def own(self, role: str, lost: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold a role (`accept`, `deliver`) alone while the context lasts; the kernel ends it with the process.

        Raises `LogError` that names the process that has it. `lost` is never called.
        """
        handle = _hold(self.path, role)
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

    def _open(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        """Return a connection that writes and one that reads, to a file that has the schema."""
        with ExitStack() as stack:
            writer, reader = (stack.enter_context(closing(_connect(self.path))) for _ in range(2))
            if _is_new(writer, self.path):
                writer.execute(f"PRAGMA page_size = {_PAGE}")
                writer.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _write_ahead(writer, self.path)
            for setting in _SETTINGS:
                writer.execute(f"PRAGMA {setting}")
            self._transact(writer, self._prepare)
            reader.execute("PRAGMA query_only = ON")
            stack.pop_all()
        return writer, reader

    def _prepare(self, writer: sqlite3.Connection) -> None:
        """Make the schema, or what it has become since the file was made."""
        if _is_new(writer, self.path):
            for statement in _SCHEMA.split(";"):
                writer.execute(statement)
            writer.execute(f"PRAGMA application_id = {_APPLICATION}")
            found = self.version
        else:
            found = int(_one(writer, "SELECT value FROM meta WHERE key = 'version'"))
        if found > self.version:
            known = f"this one knows up to {self.version}"
            raise LogError(f"{self.path}: was written by a newer turnout (schema {found}; {known}). Update turnout.")
        for version in range(found, self.version):
            self.migrations[version](writer)
        writer.execute("INSERT OR REPLACE INTO meta VALUES ('version', ?)", (self.version,))

    def _select(self, query: str, *values: Any) -> list[Any]:
        with self._reading, _told(self.path):
            self._check_open()
            return self._reader.execute(query, values).fetchall()

    def _write(self, work: Callable[[sqlite3.Connection], _T], *, spare: bool = True) -> _T:
        """Return what `work` does in one transaction, with the help of the reserve when the disk is full."""
        with self._writing, _told(self.path):
            self._check_open()
            if not spare:
                return self._transact(self._writer, work)
            return self._spared(lambda: self._transact(self._writer, work))

    def _spared(self, work: Callable[[], _T]) -> _T:
        """Return what `work` does; when the disk is full, the reserve is given up for it."""
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not (_is_full(error) and self._reserve.release()):
                raise
        return work()

    @staticmethod
    def _transact(writer: sqlite3.Connection, work: Callable[[sqlite3.Connection], _T]) -> _T:
        writer.execute("BEGIN IMMEDIATE")
        try:
            result = work(writer)
            writer.execute("COMMIT")
        except BaseException:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            raise
        return result

    def _check_open(self) -> None:
        if self._closed:
            raise LogError(f"{self.path}: the log is closed. Open it again with SqliteLog.")

    def _check_room(self, writer: sqlite3.Connection) -> None:
        if self.max_bytes is not None and _used(writer) > self.max_bytes:
            raise LogFull(
                f"{self.path}: the log has reached its size of {self.max_bytes:,} bytes, and nothing of this batch "
                "was kept. Let the destinations catch up, delete what they are done with, or raise the limit."
            )

    def _check_position(self, writer: sqlite3.Connection, position: int) -> None:
        last = int(_one(writer, _LAST))
        if not 0 <= position <= last:
            raise LogError(f"{self.path}: there is no position {position}; the last one is {last}.")

    def _cursor(self, connection: sqlite3.Connection, destination: str) -> Cursor:
        query = "SELECT position, trying, tried, deaths FROM cursors WHERE destination = ?"
        found = connection.execute(query, (destination,)).fetchone()
        if found is None:
            raise LogError(f"{self.path}: '{destination}' has no cursor. Register it first.")
        rows = connection.execute("SELECT key, value FROM inputs WHERE destination = ?", (destination,))
        inputs = {key: msgspec.json.decode(value) for key, value in rows.fetchall()}
        return Cursor(found[0], inputs, *found[1:])

    def _advance(self, writer: sqlite3.Connection, destination: str, position: int | None) -> None:
        if position is not None:
            self._check_position(writer, position)
        if _one(writer, "SELECT count(*) FROM cursors WHERE destination = ?", destination) == 0:
            raise LogError(f"{self.path}: '{destination}' has no cursor. Register it first.")
        if position is not None:
            statement = "UPDATE cursors SET position = max(position, ?) WHERE destination = ?"
            writer.execute(statement, (position, destination))

    def _park(self, writer: sqlite3.Connection, destination: str, parked: Parked) -> int:
        """Return the id of a newly parked event, 0 for one that was renewed."""
        state = (parked.due_ms, parked.attempts, parked.active_ms)
        blobs = (_pack(parked.reason), _pack(parked.items), _pack(parked.refused))
        if not parked.id:
            place = (destination, parked.user, destination, parked.user, parked.position, parked.message_id)
            return int(writer.execute(_INSERT_PARKED, (*place, *state, *blobs, parked.event)).lastrowid or 0)
        if not writer.execute(_RENEW_PARKED, (*state, *blobs, parked.id, destination)).rowcount:
            raise LogError(f"{self.path}: the parked event {parked.id} of '{destination}' isn't there any more.")
        return 0

    def _parked(self, row: Sequence[Any]) -> Parked:
        identifier, user, position, message_id, due_ms, attempts, active_ms, reason, items, refused, event = row
        with self._readable(f"parked event {identifier}"):
            return Parked(
                id=identifier,
                user=user,
                position=position,
                message_id=message_id,
                items=_unpack_items(items),
                due_ms=due_ms,
                attempts=attempts,
                active_ms=active_ms,
                reason=_unpack_reason(reason),
                refused=_unpack_items(refused),
                event=event,
            )

    def _letter(self, row: Sequence[Any]) -> DeadLetter:
        identifier, destination, position, message_id, user, outcome, reason, attempts, at_ms, event, items, by = row
        with self._readable(f"dead letter {identifier}"):
            return DeadLetter(
                id=identifier,
                destination=destination,
                position=position,
                message_id=message_id,
                user=user,
                outcome=Outcome(outcome),
                reason=msgspec.msgpack.decode(reason, type=Reason),
                attempts=attempts,
                at_ms=at_ms,
                event=event,
                items=_unpack_items(items),
                version=by,
            )

    @contextmanager
    def _readable(self, what: str) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError) as error:
            wrong = f"the {what} can't be read: {error}"
            raise LogError(f"{self.path}: {wrong}. It is damaged, or a newer turnout has written it.") from None

    def _heads(self, following: int, limit: int) -> list[tuple[int, int]]:
        """Return the first position and the count of rows, from the one that holds the position `following`."""
        for at_most in (limit, 1):
            with suppress(_Damaged):
                return self._select(_HEADS, following, at_most)
        # The page that leads to this row is damaged, and its neighbours are lost with it.
        hole = self._hole
        if following not in hole:
            self._hole = hole = range(following, self._next(following))
            self._lament(following, len(hole))
        return [(following, hole.stop - following)]

    def _next(self, position: int) -> int:
        """Return the first position behind damaged pages: ever further ahead, then halving."""
        end = self.last() + 1
        low, step = position, 1
        while low + step < end and not self._reaches(low + step):
            low, step = low + step, step * 2
        high = min(low + step, end)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._reaches(middle) else (middle, high)
        rows = self._select(_NEXT, high)
        return int(rows[0][0]) if rows else end

    def _reaches(self, position: int) -> bool:
        with suppress(_Damaged):
            return bool(self._select(_NEXT, position))
        return False

    def _row(self, first: int, count: int, *, fresh: bool = False) -> Sequence[bytes]:
        """Return the events of a row; empty ones for a damaged one, none for one that was deleted meanwhile."""
        if first in self._hole or (first in self._damaged and not fresh):
            return [b""] * count
        row = None if fresh else self._rows.get(first)
        if row is not None:
            return row
        try:
            found = self._select("SELECT events FROM batches WHERE first = ?", first)
            if not found:
                return ()
            row = _unpacked(found[0][0], count)
        except (_Damaged, ValueError, TypeError, zstandard.ZstdError):
            return self._lament(first, count)
        self._rows.put(first, row)
        return row

    def _lament(self, first: int, count: int) -> Sequence[bytes]:
        if first not in self._damaged:
            self._damaged.add(first)
            _logger.error("%s", _damage(self.path, first, count))
        return [b""] * count

    def _give_back(self) -> None:
        """Shorten the file by what is free in it, bit by bit, so that appends get their turn."""
        for _ in range(self._free() // _AT_ONCE + 1):
            with self._writing, suppress(sqlite3.OperationalError):
                self._check_open()
                # `execute` would take one step of it, which frees one page.
                self._writer.executescript(f"PRAGMA incremental_vacuum({_AT_ONCE}); PRAGMA wal_checkpoint(PASSIVE)")
        with self._writing, suppress(sqlite3.OperationalError):
            self._check_open()
            # It waits for readers of other processes, and appends wait for it: not for long.
            self._writer.executescript("PRAGMA busy_timeout = 200")
            try:
                self._writer.executescript("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._writer.executescript(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1_000:.0f}")

    def _free(self) -> int:
        return int(self._select("PRAGMA freelist_count")[0][0])


class _Damaged(LogError):
    """Pages of the file make no sense."""


class _Rows:
    """The rows that were unpacked last: readers read on."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rows: dict[int, list[bytes]] = {}

    def get(self, first: int) -> list[bytes] | None:
        with self.lock:
            return self.rows.get(first)

    def put(self, first: int, row: list[bytes]) -> None:
        with self.lock:
            self.rows[first] = row
            if len(self.rows) > _ROWS_CACHED:
                del self.rows[next(iter(self.rows))]


class _Reserve:
    """A file that only takes room, until the room is needed."""

    size = 2_000_000

    def __init__(self, path: Path) -> None:
        self.path = Path(f"{path}-reserve")

    def make(self) -> bool:
        """Return whether it is there, after an attempt to make it; false only on a full disk."""
        with suppress(FileNotFoundError):
            if os.stat(self.path).st_size >= self.size:
                return True
        try:
            with self.path.open("wb") as file:
                # What can be compressed takes no room on some file systems.
                file.write(os.urandom(self.size))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.release()
            return error.errno not in (errno.ENOSPC, errno.EDQUOT)
        return True

    def release(self) -> bool:
        """Give its room back and return whether there was any."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True


_INSERT_PARKED = """INSERT INTO parked (destination, user, head, position, message_id, due_ms, attempts, active_ms,
    reason, items, refused, event) VALUES (?, ?, NOT EXISTS (SELECT 1 FROM parked WHERE destination = ? AND user = ?),
    ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_RENEW_PARKED = """UPDATE parked SET due_ms = ?, attempts = ?, active_ms = ?, reason = ?, items = ?, refused = ?
    WHERE id = ? AND destination = ?"""
_NEXT_HEAD = """UPDATE parked SET head = 1 WHERE id =
    (SELECT id FROM parked WHERE destination = ? AND user = ? ORDER BY id LIMIT 1)"""
_STATES = f"""SELECT c.destination, c.origin, c.position,
    (SELECT count(*) FROM parked p WHERE p.destination = c.destination), ({_LAST}),
    (SELECT json_group_array(json_array(outcome, code, number)) FROM counts n WHERE n.destination = c.destination)
    FROM cursors c ORDER BY c.destination"""  # noqa: S608 - made of constants
_INSERT_DEAD = """INSERT INTO dead (destination, position, message_id, user, outcome, code, reason, attempts, at_ms,
    event, items, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_ADD_COUNT = """INSERT INTO counts VALUES (?, ?, ?, ?)
    ON CONFLICT (destination, outcome, code) DO UPDATE SET number = number + excluded.number"""


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _write_ahead(writer: sqlite3.Connection, path: Path) -> None:
    """Turn on the write-ahead log; SQLite doesn't wait by itself for another process that does the same."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            mode = _one(writer, "PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
    if mode != "wal":
        raise LogError(f"{path}: this file system can't hold a log (journal mode {mode}). Use a local disk.")


def _one(connection: sqlite3.Connection, query: str, *values: Any) -> Any:
    return connection.execute(query, values).fetchone()[0]


def _rows(entries: Entries) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield count, keys and events of each row that entries are kept as."""
    events, keys = entries.events, entries.keys
    if keys and (len(keys) != len(events) or any(len(key) != _KEY for key in keys)):
        raise ValueError(f"Entries have one key of {_KEY} bytes for each event, or no keys.")
    start = 0
    while start < len(events):
        end, size = start + 1, len(events[start])
        while end < len(events) and size < _ROW:
            size += len(events[end])
            end += 1
        yield end - start, b"".join(keys[start:end]), _packed(events[start:end])
        start = end


def _packed(events: Sequence[bytes]) -> bytes:
    return _contexts.compressor.compress(_pack(events))


def _unpacked(blob: bytes, count: int) -> list[bytes]:
    if zstandard.frame_content_size(blob) > len(blob) * _MOST:
        raise ValueError("more bytes than it can hold")
    row = _unpack_events(_contexts.decompressor.decompress(blob))
    if len(row) != count:
        raise ValueError(f"{len(row)} events instead of {count}")
    return row


def _damage(path: Path, first: int, count: int) -> str:
    what = f"the events {first} to {first + count - 1} can't be read: the file is damaged there"
    return f"{path}: {what}. The others can; restore these from a copy, or let their sender repeat them."


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


def _dead_row(destination: str, letter: DeadLetter) -> tuple[Any, ...]:
    return (
        destination,
        letter.position,
        letter.message_id,
        letter.user,
        letter.outcome.value,
        letter.reason.code.value,
        _pack(letter.reason),
        letter.attempts,
        letter.at_ms,
        letter.event,
        _pack(letter.items),
        letter.version,
    )


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
    settled = None if force else _one(writer, "SELECT min(position) FROM cursors")
    used, page, end = _used(writer), int(_one(writer, "PRAGMA page_size")), 0
    deleted = freed = 0
    for first, count, at_ms, length in writer.execute(_OLDEST, (_AT_ONCE,)).fetchall():
        old = horizon is not None and at_ms < horizon
        if not (old or (size is not None and used - freed > size)) or (
            settled is not None and first + count - 1 > settled
        ):
            break
        freed += -(-length // page) * page
        end, deleted = first + count - 1, deleted + count
        if freed > _ROW:
            break
    writer.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'last'", (end,))
    writer.execute("DELETE FROM batches WHERE first <= ?", (end,))
    behind = writer.execute("SELECT destination, ? - position FROM cursors WHERE position < ?", (end, end)).fetchall()
    lost = [(name, Outcome.DROPPED.value, Code.DELETED_UNREAD.value, number) for name, number in behind]
    writer.executemany(_ADD_COUNT, lost)
    writer.execute("UPDATE cursors SET position = ?, trying = 0, tried = 0, deaths = 0 WHERE position < ?", (end, end))
    return deleted, dict(behind)


def _used(writer: sqlite3.Connection) -> int:
    """Return the bytes of the pages that hold something."""
    pages = _one(writer, "PRAGMA page_count") - _one(writer, "PRAGMA freelist_count")
    return int(pages * _one(writer, "PRAGMA page_size"))


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise LogError(f"{path}: is a folder. Give the path of a file, such as {path / 'turnout.db'}.")
    if not path.parent.is_dir():
        raise LogError(f"{path}: the folder {path.parent} isn't there. Make it first.")
    with suppress(OSError), path.open("rb") as file:
        # SQLite takes a very short file for an empty one, and would write over it.
        if file.read(len(_HEADER)) not in (b"", _HEADER):
            raise LogError(f"{path}: {_FIXES[sqlite3.SQLITE_NOTADB]}.")


def _is_new(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether a file has nothing in it yet; raises LogError when it has something that isn't a log."""
    if not _one(connection, "SELECT count(*) FROM sqlite_master"):
        return True
    # In this order: another process may be making the log, and its tables and its mark come at once.
    if _one(connection, "PRAGMA application_id") != _APPLICATION:
        raise LogError(f"{path}: is an SQLite file, but no log of turnout. Give the path of another file.")
    return False


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into sentences that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _clear(path, error) from error


_FIXES = {
    sqlite3.SQLITE_BUSY: f"another process has been writing for {_BUSY_SECONDS:.0f} seconds. Try again, or end it",
    sqlite3.SQLITE_READONLY: "can't be written. Make the file and its folder writable for this user",
    sqlite3.SQLITE_CANTOPEN: "can't be opened. Make the file and its folder readable and writable for this user",
    sqlite3.SQLITE_NOTADB: "is no log of turnout, or its beginning is damaged. Give another path, or restore a copy",
    sqlite3.SQLITE_CORRUPT: "is damaged. Restore a copy, or save what can be read with sqlite3's .recover",
    sqlite3.SQLITE_IOERR: "the disk fails to read or write it. Look at the disk",
}


def _clear(path: Path, error: sqlite3.Error) -> LogError:
    if _is_full(error):
        return _full(path)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    kind = _Damaged if code == sqlite3.SQLITE_CORRUPT else LogError
    return kind(f"{path}: {_FIXES.get(code, 'SQLite cannot use it')} ({error}).")


def _full(path: Path) -> LogFull:
    todo = "Make room on it, or delete what the destinations are done with"
    return LogFull(f"{path}: the disk is full, and nothing of this was kept. {todo}.")


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


def _hold(path: Path, role: str) -> int:
    """Return the open file whose lock is the role; the process's number stands in it."""
    place = f"{path}-{role}.lock"
    try:
        handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise LogError(f"{place}: can't be opened: {error.strerror}. Make it writable for this user.") from None
    try:
        _lock(handle)
    except OSError as error:
        pid = os.read(handle, 20)
        os.close(handle)
        if isinstance(error, BlockingIOError | PermissionError):
            raise _owned(path, role, pid) from None
        raise LogError(f"{place}: can't be locked: {error.strerror}. Keep the log on a local disk.") from None
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
    return handle


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        # Windows locks bytes against reading: one that is far behind the number of the process.
        os.lseek(handle, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _owned(path: Path, role: str, pid: bytes) -> LogError:
    number = pid.decode(errors="replace") or "unknown"
    who = "this process has it already" if number == str(os.getpid()) else f"the process {number} has it"
    return LogError(f"{path}: can't be opened to {role}: {who}. Only one may at a time; end that one first.")

"""The rows of `sqlite_log.py`: how events, parked events and dead letters are packed, and what damage leaves of them.

Events are kept as one compressed row for each append. `Rows` reads them, also around pages that can't be read.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from turnout._json import encode
from turnout._sqlite_file import Damaged
from turnout.log import DeadLetter, Entries, LogError, Parked, StoredItem
from turnout.reasons import Reason

__all__ = [
    "AT_ONCE",
    "LAST",
    "PARKED",
    "ROW",
    "Rows",
    "Unreadable",
    "keys_in",
    "letter_row",
    "letters_in",
    "parked_in",
    "parked_state",
    "readable",
    "rows_of",
]

_logger = logging.getLogger("turnout")

ROW = 4_000_000
"""An append of more bytes is kept as several rows, so that a reader never has to unpack much more than it wants."""
AT_ONCE = 500
"""How many rows are fetched, or deleted in one transaction."""
_KEY = 16
_MOST = 32_768
"""No zstd frame unpacks to more than this many times its bytes; a damaged one may say so, and would take all memory."""
_ROWS_CACHED = 4

LAST = """SELECT max(value, coalesce((SELECT first + count - 1 FROM batches ORDER BY first DESC LIMIT 1), 0))
    FROM meta WHERE key = 'last'"""
PARKED = """SELECT id, user, position, message_id, due_ms, attempts, active_ms, reason, items, refused, event
    FROM parked"""
_LETTER = "id, destination, position, message_id, user, outcome, reason, attempts, at_ms, event, items, version"
_DEAD = f"SELECT {_LETTER} FROM dead WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"  # noqa: S608
_HEADS = """SELECT first, count FROM batches WHERE first >=
    coalesce((SELECT first FROM batches WHERE first <= ? ORDER BY first DESC LIMIT 1), 0) AND first + count > ?
    ORDER BY first LIMIT ?"""
_NEXT = "SELECT first FROM batches WHERE first >= ? ORDER BY first LIMIT 1"

_pack = msgspec.msgpack.encode
_unpack_events = msgspec.msgpack.Decoder(list[bytes]).decode
_unpack_items = msgspec.msgpack.Decoder(list[StoredItem]).decode
_unpack_reason = msgspec.msgpack.Decoder(Reason | None).decode


class Unreadable(LogError):
    """A row makes no sense; the others may."""


class _Contexts(threading.local):
    """zstd's, one of each for a thread: they take long to make, and no two threads may use one."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def rows_of(entries: Entries) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield count, keys and events of each row that entries are kept as."""
    events, keys = entries.events, entries.keys
    if keys and (len(keys) != len(events) or any(len(key) != _KEY for key in keys)):
        raise ValueError(f"Entries have one key of {_KEY} bytes for each event, or no keys.")
    start = 0
    while start < len(events):
        end, size = start + 1, len(events[start])
        while end < len(events) and size < ROW:
            size += len(events[end])
            end += 1
        yield end - start, b"".join(keys[start:end]), _packed(events[start:end])
        start = end


def keys_in(blob: bytes) -> list[bytes]:
    """Return the keys of a row, one by one."""
    return [blob[start : start + _KEY] for start in range(0, len(blob), _KEY)]


class Rows:
    """The rows of events in the file at `path`, read by `select`: it returns the rows of a query with its values.

    What can't be read is logged once, and its events come back empty.
    """

    def __init__(self, path: Path, select: Callable[..., list[Any]]) -> None:
        self._path, self._select = path, select
        self._cache = _Cache()
        self._damaged: set[int] = set()
        self._hole = range(0)

    def heads(self, following: int, limit: int) -> list[tuple[int, int]]:
        """Return the first position and the count of rows, from the one that holds the position `following`."""
        for at_most in (limit, 1):
            with suppress(Damaged):
                return self._select(_HEADS, following, following, at_most)
        # The page that leads to this row is damaged, and its neighbours are lost with it.
        hole = self._hole
        if following not in hole:
            self._hole = hole = range(following, self._next(following))
            self._lament(following, len(hole))
        return [(following, hole.stop - following)]

    def row(self, first: int, count: int, *, fresh: bool = False) -> Sequence[bytes]:
        """Return the events of a row; empty ones for a damaged one, none for one that was deleted meanwhile."""
        if first in self._hole or (first in self._damaged and not fresh):
            return [b""] * count
        row = None if fresh else self._cache.get(first)
        if row is not None:
            return row
        try:
            found = self._select("SELECT events FROM batches WHERE first = ?", first)
            if not found:
                return ()
            row = _unpacked(found[0][0], count)
        except (Damaged, ValueError, TypeError, zstandard.ZstdError):
            return self._lament(first, count)
        self._cache.put(first, row)
        return row

    def damages(self) -> Iterator[str]:
        """Read all rows afresh, and yield a sentence for each one that can't be."""
        following = 1
        while heads := self.heads(following, AT_ONCE):
            for first, count in heads:
                self.row(first, count, fresh=True)
                following = first + count
                if first in self._damaged:
                    yield _damage(self._path, first, count)

    def _next(self, position: int) -> int:
        """Return the first position behind damaged pages: ever further ahead, then halving."""
        end = int(self._select(LAST)[0][0]) + 1
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
        with suppress(Damaged):
            return bool(self._select(_NEXT, position))
        return False

    def _lament(self, first: int, count: int) -> Sequence[bytes]:
        if first not in self._damaged:
            self._damaged.add(first)
            _logger.error("%s", _damage(self._path, first, count))
        return [b""] * count


class _Cache:
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


@contextmanager
def readable(path: Path, what: str) -> Iterator[None]:
    """Turn what goes wrong when a row is unpacked into a sentence that names it."""
    try:
        yield
    except (ValueError, TypeError) as error:
        wrong = f"the {what} can't be read: {error}"
        raise Unreadable(f"{path}: {wrong}. It is damaged, or a newer turnout has written it.") from None


def parked_state(parked: Parked) -> tuple[Any, ...]:
    """Return the columns of a parked event that change while it waits, from `due_ms` to `refused`."""
    blobs = (_pack(parked.reason), _pack(parked.items), _pack(parked.refused))
    return (parked.due_ms, parked.attempts, parked.active_ms, *blobs)


def parked_in(path: Path, row: Sequence[Any]) -> Parked:
    """Return the parked event of a row that `PARKED` has found."""
    identifier, user, position, message_id, due_ms, attempts, active_ms, reason, items, refused, event = row
    parked = Parked(
        id=identifier,
        user=user,
        position=position,
        message_id=message_id,
        items=[],
        due_ms=due_ms,
        attempts=attempts,
        active_ms=active_ms,
        event=event,
    )
    try:
        with readable(path, f"parked event {identifier}"):
            parked.items, parked.refused = _unpack_items(items), _unpack_items(refused)
            parked.reason = _unpack_reason(reason)
    except Unreadable as error:
        _logger.error("%s", error)
        parked.items, parked.lost = [], True
    return parked


def letter_row(destination: str, letter: DeadLetter) -> tuple[Any, ...]:
    """Return the columns of a dead letter, without its id."""
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


def letters_in(
    path: Path, select: Callable[..., list[Any]], ids: Sequence[int], damaged: Callable[[int, str], None] | None
) -> Iterator[DeadLetter]:
    """Yield the dead letters of some ids, in their order; those that are gone are left out.

    `damaged` is given the id of one that can't be read, and why; without it, `LogError` is raised.
    """
    for identifier, fetch in _fetched(select, ids):
        try:
            with readable(path, f"dead letter {identifier}"):
                found = [_letter_in(row) for row in fetch()]
        except Unreadable as error:
            if damaged is None:
                raise
            damaged(identifier, str(error))
        else:
            yield from found


def _fetched(select: Callable[..., list[Any]], ids: Sequence[int]) -> Iterator[tuple[int, Callable[[], list[Any]]]]:
    """Yield ids, each with what returns its rows: when they can't be had together, each is asked for alone."""
    try:
        rows = select(_DEAD, encode(list(ids)).decode())
    except LogError:
        for identifier in ids:
            yield identifier, partial(_alone, select, identifier)
    else:
        for row in rows:
            yield row[0], partial(list, [row])


def _alone(select: Callable[..., list[Any]], identifier: int) -> list[Any]:
    """Return the row of a dead letter; raises ValueError when SQLite can't make sense of it."""
    try:
        return select(_DEAD, encode([identifier]).decode())
    except LogError as error:
        if isinstance(error.__cause__, sqlite3.DatabaseError):
            raise ValueError(str(error.__cause__)) from None
        raise


def _letter_in(row: Sequence[Any]) -> DeadLetter:
    """Return the dead letter of a row that `_DEAD` has found; raises ValueError when it is damaged."""
    fields = dict(zip(_LETTER.split(", "), row, strict=True))
    fields["reason"] = msgspec.msgpack.decode(fields["reason"], type=Reason)
    fields["items"] = _unpack_items(fields["items"])
    return msgspec.convert(fields, DeadLetter, builtin_types=(bytes,))

"""The file of `sqlite_log.py`: opening it, the reserve beside it, the locks of its roles, and errors in clear words."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from turnout.log import LogError, LogFull, LogHeld, Room

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = [
    "BUSY_SECONDS",
    "Damaged",
    "Reserve",
    "check_place",
    "connected",
    "hold",
    "is_full",
    "is_new",
    "make_tables",
    "no_room",
    "one",
    "told",
    "transact",
    "used",
]

_T = TypeVar("_T")

BUSY_SECONDS = 15.0
_APPLICATION = 0x7475726E
"""Marks an SQLite file as a log of turnout: "turn"."""
_HEADER = b"SQLite format 3\x00"
_JOURNAL = bytes.fromhex("d9d505f920a163d7")
_PAGE = 4096
_SHORTEST = 512
"""SQLite takes a file of fewer bytes for an empty one."""

# In this order: the second one reads the file, and may repair it, for which the disk has to be waited for in full.
_SETTINGS = ("fullfsync = ON", "synchronous = FULL", "secure_delete = OFF", "journal_size_limit = 4194304")

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


class Damaged(LogError):
    """Pages of the file make no sense."""


def check_place(path: Path) -> None:
    """Raise `LogError` where no log can be: in a folder's place, in no folder, in the place of another file."""
    if "\0" in str(path):
        raise LogError(f"{str(path)!r}: no file can be called so. Give another path.")
    try:
        if path.is_dir():
            raise LogError(f"{path}: is a folder. Give the path of a file, such as {path / 'turnout.db'}.")
        if not path.parent.is_dir():
            raise LogError(f"{path}: the folder {path.parent} isn't there. Make it first.")
    except OSError as error:
        raise LogError(f"{path}: {_FIXES[sqlite3.SQLITE_CANTOPEN]} ({error.strerror}).") from None
    # SQLite takes a very short file for an empty one, and would write over it. But a power cut while a log is made may
    # leave a file whose beginning is missing, and the journal with which SQLite empties it.
    if (
        _is_short(path)
        and _begins(path) not in (b"", _HEADER)
        and not _begins(Path(f"{path}-journal")).startswith(_JOURNAL)
    ):
        raise LogError(f"{path}: {_FIXES[sqlite3.SQLITE_NOTADB]}.")


def _is_short(path: Path) -> bool:
    """Return whether SQLite would take a file that holds something for an empty one.

    No other file may be opened here: closing it would give up the locks that this process has on a log, whereupon the
    next process that ends would delete the `-wal` under it.
    """
    with suppress(OSError):
        return 0 < path.stat().st_size < _SHORTEST
    return False


def _begins(path: Path) -> bytes:
    """Return the first bytes of a file; none when it isn't there, or can't be read."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(_HEADER))
    return b""


def connected(
    path: Path, prepare: Callable[[sqlite3.Connection], None], vfs: str | None = None
) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """Return a connection that writes and one that reads, to a file in which `prepare` has made the schema."""
    with ExitStack() as stack:
        writer, reader = (stack.enter_context(closing(_connect(path, vfs))) for _ in range(2))
        # Before anything is written: a beginning of the file that the disk hasn't got yet is lost with all behind it.
        for setting in _SETTINGS:
            writer.execute(f"PRAGMA {setting}")
        if is_new(writer, path):
            writer.execute(f"PRAGMA page_size = {_PAGE}")
            writer.execute("PRAGMA auto_vacuum = INCREMENTAL")
        _write_ahead(writer, path)
        transact(writer, prepare)
        reader.execute("PRAGMA query_only = ON")
        stack.pop_all()
    return writer, reader


def is_new(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether a file has nothing in it yet; raises LogError when it has something that isn't a log."""
    if not one(connection, "SELECT count(*) FROM sqlite_master"):
        return True
    # In this order: another process may be making the log, and its tables and its mark come at once.
    if one(connection, "PRAGMA application_id") != _APPLICATION:
        raise LogError(f"{path}: is an SQLite file, but no log of turnout. Give the path of another file.")
    return False


def make_tables(writer: sqlite3.Connection) -> None:
    """Make the tables of an empty log, and mark the file as one."""
    for statement in _SCHEMA.split(";"):
        writer.execute(statement)
    writer.execute(f"PRAGMA application_id = {_APPLICATION}")


def transact(writer: sqlite3.Connection, work: Callable[[sqlite3.Connection], _T]) -> _T:
    """Return what `work` does in one transaction: all of it, or nothing when it raises."""
    writer.execute("BEGIN IMMEDIATE")
    try:
        result = work(writer)
        writer.execute("COMMIT")
    except BaseException:
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        raise
    return result


def one(connection: sqlite3.Connection, query: str, *values: Any) -> Any:
    """Return the first value of the first row; there always is one, unless the file is damaged."""
    row = connection.execute(query, values).fetchone()
    if row is None:
        error = sqlite3.DatabaseError("a row that every log has is missing")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error
    return row[0]


def used(writer: sqlite3.Connection) -> int:
    """Return the bytes of the pages that hold something."""
    pages = one(writer, "PRAGMA page_count") - one(writer, "PRAGMA freelist_count")
    return int(pages * one(writer, "PRAGMA page_size"))


class Reserve:
    """A file that only takes room, until the room is needed.

    On a full disk the `-wal` (4 MB, and a commit that came last) first has to be moved into the file, which grows by as
    much; what settling needs is on top of that.
    """

    size = 8_000_000
    beyond = 2_000_000
    """What must be free beside it: making it may not take the room that settling needs."""

    def __init__(self, path: Path) -> None:
        self.path = Path(f"{path}-reserve")

    def make(self) -> bool:
        """Return whether it is there, after an attempt to make it; false only on a full disk."""
        with suppress(FileNotFoundError):
            if os.stat(self.path).st_size >= self.size:
                return True
        with suppress(OSError):
            if shutil.disk_usage(self.path.parent).free < self.size + self.beyond:
                return False
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

    def beside(self) -> bool:
        """Return whether there is room beside it, as far as the file system says."""
        try:
            return shutil.disk_usage(self.path.parent).free >= self.beyond
        except OSError:
            return True

    def room(self) -> Room | None:
        """Return what is left beside it, as if it were there; None when the file system doesn't say."""
        try:
            disk = shutil.disk_usage(self.path.parent)
        except OSError:
            return None
        return Room(disk.free - (0 if self.path.exists() else self.size), disk.total)

    def release(self) -> bool:
        """Give its room back and return whether there was any."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True


def hold(path: Path, role: str) -> int:
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


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into sentences that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _clear(path, error) from error


def is_full(error: sqlite3.Error) -> bool:
    """Return whether an error means that the disk is full."""
    return getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


def no_room(path: Path) -> LogFull:
    """Return the error that says that the disk is full."""
    todo = "Make room on it, purge dead letters, or delete what the destinations are done with"
    return LogFull(f"{path}: the disk is full, and nothing of this was kept. {todo}.")


_FIXES = {
    sqlite3.SQLITE_BUSY: f"another process has been writing for {BUSY_SECONDS:.0f} seconds. Try again, or end it",
    sqlite3.SQLITE_READONLY: "can't be written. Make the file and its folder writable for this user",
    sqlite3.SQLITE_CANTOPEN: "can't be opened. Make the file and its folder readable and writable for this user",
    sqlite3.SQLITE_NOTADB: "is no log of turnout, or its beginning is damaged. Give another path, or restore a copy",
    sqlite3.SQLITE_CORRUPT: "is damaged. Restore a copy, or save what can be read with sqlite3's .recover",
    sqlite3.SQLITE_IOERR: "the disk fails to read or write it. Look at the disk",
}


def _clear(path: Path, error: sqlite3.Error) -> LogError:
    if is_full(error):
        return no_room(path)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    kind = Damaged if code == sqlite3.SQLITE_CORRUPT else LogError
    return kind(f"{path}: {_FIXES.get(code, 'SQLite cannot use it')} ({error}).")


def _connect(path: Path, vfs: str | None) -> sqlite3.Connection:
    place = str(path) if vfs is None else f"{path.as_uri()}?vfs={vfs}"
    return sqlite3.connect(
        place, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=vfs is not None
    )


def _write_ahead(writer: sqlite3.Connection, path: Path) -> None:
    """Turn on the write-ahead log; SQLite doesn't wait by itself for another process that does the same."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            mode = one(writer, "PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
    if mode != "wal":
        raise LogError(f"{path}: this file system can't hold a log (journal mode {mode}). Use a local disk.")


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


def _owned(path: Path, role: str, pid: bytes) -> LogHeld:
    number = pid.decode(errors="replace") or "unknown"
    who = "this process has it already" if number == str(os.getpid()) else f"the process {number} has it"
    return LogHeld(f"{path}: can't be opened to {role}: {who}. Only one may at a time; end that one first.")

"""A log of `sqlite_log.py` for somebody who only looks at it: nothing is written, and no right to write is needed.

SQLite reads a file beside a process that writes it when there is the `-shm`, or it may make one (`mode=ro`). Where the
`-wal` has nothing in it, as after every orderly end, it needs none (`immutable=1`), as long as nobody writes: that is
looked at after each query, which is repeated if somebody does.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from turnout._sqlite_file import BUSY_SECONDS, Reserve, check_place, is_new, told
from turnout._sqlite_rows import Rows
from turnout.log import Cursor, LogError
from turnout.sqlite_log import SqliteLog

__all__ = ["SqliteReader"]

_T = TypeVar("_T")
_Still = tuple[int, int, int]
_PENDING = "what was written last is not in it yet"
_FIXES = {
    sqlite3.SQLITE_CANTOPEN: "can't be opened. Make the file readable for this user",
    sqlite3.SQLITE_READONLY: f"{_PENDING}, and putting it there takes the right to write. Copy it with its -journal",
}
_COPY = f"{_PENDING}, but in its -wal, which SQLite reads only where it may write. Copy both to a folder of your own"


class SqliteReader(SqliteLog):
    """The log in the SQLite file at `path`, which has to be there; whatever would change it raises `LogError`.

    Raises `LogError` when the file can't be read: it says why, and what to do.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:  # nothing of what the other does, which writes
        self.path = Path(path).absolute()
        self.max_bytes = None
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._reserve = Reserve(self.path)
        self._rows = Rows(self.path, self._select)
        self._closed = self._saving = False
        check_place(self.path)
        with self._explained(), told(self.path):
            self._open()
        try:
            self._check_version()
        except BaseException:
            self.close()
            raise

    def register(self, destination: str, *, at_end: bool = False) -> Cursor:
        """Return the cursor of a destination that has one; else, raise `LogError`."""
        return self._read(lambda reader: self._cursor(reader, destination))

    def _open(self) -> None:
        """Connect in the way that the file needs now."""
        self._still = _still(self.path)
        way = "mode=ro" if self._still is None else "mode=ro&immutable=1"
        place = f"{self.path.as_uri()}?{way}"
        connection = sqlite3.connect(
            place, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
        )
        self._reader = self._writer = connection

    def _check_version(self) -> None:
        with self._explained():
            new = self._read(lambda reader: is_new(reader, self.path))
        if new:
            raise LogError(f"{self.path}: is empty. It becomes a log when the first event is accepted.")
        found = int(self._select("SELECT value FROM meta WHERE key = 'version'")[0][0])
        if found != self.version:
            newer = found > self.version
            todo = "Update turnout" if newer else "Run turnout deliver once, which brings it up to date"
            other = f"{'a newer' if newer else 'an older'} turnout (schema {found}; this one reads {self.version})"
            raise LogError(f"{self.path}: was written by {other}. {todo}.")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Let an error at the first look say what it means for somebody who may not write."""
        try:
            yield
        except LogError as error:
            code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
            pending = code == sqlite3.SQLITE_CANTOPEN and self._still is None and os.access(self.path, os.R_OK)
            if fix := _COPY if pending else _FIXES.get(code):
                raise LogError(f"{self.path}: {fix} ({error.__cause__}).") from error.__cause__
            raise

    def _select(self, query: str, *values: Any) -> list[Any]:
        return self._read(lambda reader: reader.execute(query, values).fetchall())

    def _read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return what `work` reads, of a file that nobody has begun to write meanwhile."""
        with self._reading, told(self.path):
            self._check_open()
            while True:
                try:
                    found = work(self._reader)
                except sqlite3.Error:
                    if not self._stirred():
                        raise
                else:
                    if not self._stirred():
                        return found
                self._reader.close()
                self._open()

    def _stirred(self) -> bool:
        """Return whether somebody has begun to write a file of which SQLite was told that nobody does."""
        return self._still is not None and _still(self.path) != self._still

    def _write(self, work: Callable[[sqlite3.Connection], _T], *, spare: bool = True, synced: bool = True) -> _T:
        raise LogError(f"{self.path}: is open for reading only. Open it with SqliteLog to write.")


def _still(path: Path) -> _Still | None:
    """Return what would be different had a file been written since; None when not everything is in it."""
    for beside in (f"{path}-wal", f"{path}-journal"):
        with suppress(FileNotFoundError):
            if os.stat(beside).st_size:
                return None
    with suppress(FileNotFoundError):
        found = os.stat(path)
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None

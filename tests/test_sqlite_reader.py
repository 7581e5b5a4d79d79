"""A log that is only looked at: which files are read where nothing may be written, and what is said of the others."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from turnout._sqlite_reader import SqliteReader
from turnout.cli import main
from turnout.log import DeadLetter, DeadQuery, Entries, LogError, Settlement
from turnout.logstatus import status
from turnout.reasons import Code, Outcome, Reason
from turnout.sqlite_log import SqliteLog

LETTER = DeadLetter(reason=Reason(Code.VENDOR_REFUSED, "no such size"), event=b'{"event":"Hat Sold"}', message_id="m-3")


def filled(path: Path) -> SqliteLog:
    """Return an open log with three events, one of which is a dead letter of `acme`."""
    log = SqliteLog(path)
    log.append(Entries([b"{}", b"[]", b'""']))
    log.register("acme")
    log.settle("acme", Settlement(position=1, dead=[LETTER], counts={(Outcome.DEAD, Code.VENDOR_REFUSED): 1}))
    return log


def read(path: Path) -> tuple[int, int, int, int]:
    """Return the last position, and of `acme` the cursor, what is behind it and what is dead."""
    with closing(SqliteReader(path)) as log:
        found = status(log)
    [acme] = found["destinations"]
    return found["last"], acme["cursor"], acme["behind"], acme["dead"]


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Take the right to write from a folder and its files while the block runs."""
    for one in folder.iterdir():
        one.chmod(0o444)
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(0o755)
        for one in folder.iterdir():
            one.chmod(0o644)


def copied(log: Path, folder: Path, *endings: str) -> Path:
    """Copy the files of a log that is open, as a process that was killed leaves them."""
    folder.mkdir()
    for ending in endings:
        shutil.copy(f"{log}{ending}", folder / f"log.db{ending}")
    return folder / "log.db"


# What can be read


def test_a_log_that_was_closed_is_read_where_nothing_may_be_written(ordinary: Path) -> None:
    """As from a copy or a backup: its cursors, counts and dead letters; nothing appears beside it."""
    filled(ordinary / "log.db").close()
    before = names(ordinary)
    with locked(ordinary):
        assert read(ordinary / "log.db") == (3, 1, 2, 1)
        with closing(SqliteReader(ordinary / "log.db")) as log:
            assert [one.message_id for one in log.dead(DeadQuery())] == ["m-3"]
            assert [one.data for one in log.read(1)] == [b"[]", b'""']
    assert names(ordinary) == before


def test_a_log_is_read_beside_the_process_that_writes_it(ordinary: Path) -> None:
    """The newest is there, although this user may write neither the file nor the others beside it."""
    with closing(filled(ordinary / "log.db")) as log, locked(ordinary):
        assert read(ordinary / "log.db") == (3, 1, 2, 1)
        log.append(Entries([b"{}"]))
        assert read(ordinary / "log.db") == (4, 1, 3, 1)


def test_a_log_that_was_killed_is_read_where_its_files_are_together(ordinary: Path) -> None:
    """What stands in the -wal alone counts."""
    with closing(filled(ordinary / "log.db")):
        path = copied(ordinary / "log.db", ordinary / "copy", "", "-wal", "-shm")
    with locked(path.parent):
        assert read(path) == (3, 1, 2, 1)


def test_a_look_leaves_nothing_behind(tmp_path: Path) -> None:
    """Also where it may write: no -wal and no -shm of another user, in the way of the one who delivers."""
    filled(tmp_path / "log.db").close()
    before = names(tmp_path)
    assert read(tmp_path / "log.db") == (3, 1, 2, 1)
    assert names(tmp_path) == before


def test_what_is_written_meanwhile_is_read(tmp_path: Path) -> None:
    """A reader that began while nobody wrote notices when somebody does, and when that one has ended."""
    filled(tmp_path / "log.db").close()
    with closing(SqliteReader(tmp_path / "log.db")) as reader:
        assert reader.last() == 3
        with closing(SqliteLog(tmp_path / "log.db")) as log:
            log.append(Entries([b"{}"]))
            assert reader.last() == 4
            log.append(Entries([b"{}"]))
            assert reader.last() == 5
        assert reader.last() == 5
    with closing(SqliteReader(tmp_path / "log.db")) as reader:
        assert reader.last() == 5
        with closing(SqliteLog(tmp_path / "log.db")) as log:
            log.append(Entries([b"{}"]))
        assert reader.last() == 6


# What can't be read


def refusal(path: Path) -> str:
    """Return the sentence with which a file is refused."""
    with pytest.raises(LogError) as caught:
        SqliteReader(path)
    return str(caught.value)


def test_a_wal_without_its_index_can_not_be_read_where_nothing_may_be_written(ordinary: Path) -> None:
    """SQLite would show an older log: it is refused, with what to do."""
    with closing(filled(ordinary / "log.db")):
        path = copied(ordinary / "log.db", ordinary / "copy", "", "-wal")
    with locked(path.parent):
        told = refusal(path)
    assert told.startswith(f"{path}: what was written last is not in it yet, but in its -wal, which SQLite reads only ")
    assert "Copy both to a folder of your own (" in told
    assert read(path) == (3, 1, 2, 1)


def test_a_file_that_may_not_be_read_is_named(ordinary: Path) -> None:
    """It takes no right to write."""
    filled(ordinary / "log.db").close()
    (ordinary / "log.db").chmod(0)
    assert refusal(ordinary / "log.db").startswith(f"{ordinary / 'log.db'}: can't be opened. Make the file readable")


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (99, "was written by a newer turnout (schema 99; this one reads 1). Update turnout."),
        (0, "was written by an older turnout (schema 0; this one reads 1). Run turnout deliver once, which"),
    ],
)
def test_a_log_of_another_schema_is_refused(tmp_path: Path, version: int, expected: str) -> None:
    """To bring an old one up to date takes the right to write."""
    filled(tmp_path / "log.db").close()
    with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'version'", (version,))
    assert expected in refusal(tmp_path / "log.db")


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    """An empty file, another one, and an SQLite file of somebody else; none is changed."""
    path = tmp_path / "log.db"
    path.touch()
    assert refusal(path) == f"{path}: is empty. It becomes a log when the first event is accepted."
    assert path.read_bytes() == b""
    path.write_bytes(b"x" * 5000)
    assert "is no log of turnout" in refusal(path)
    path.unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE other (x)")
    assert "is an SQLite file, but no log of turnout" in refusal(path)
    assert names(tmp_path) == ["log.db"]


@pytest.mark.parametrize(
    "work",
    [
        lambda log: log.append(Entries([b"{}"])),
        lambda log: log.settle("acme", Settlement(position=2)),
        lambda log: log.bury([1]),
        lambda log: log.retain(age_ms=0, now_ms=10**15),
    ],
)
def test_nothing_is_written(tmp_path: Path, work: Callable[[SqliteReader], object]) -> None:
    """Whatever would change the log is refused; a destination without a cursor gets none."""
    filled(tmp_path / "log.db").close()
    with closing(SqliteReader(tmp_path / "log.db")) as log:
        with pytest.raises(LogError, match="is open for reading only"):
            work(log)
        with pytest.raises(LogError, match="'other' has no cursor"):
            log.register("other")
    assert read(tmp_path / "log.db") == (3, 1, 2, 1)


# The commands


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("log status", "acme              1       2       0     1  dead vendor_refused 1"),
        ("dlq list", "Hat Sold"),
        ("dlq show 1", "no such size"),
        ("dlq export", '"message_id":"m-3"'),
    ],
)
def test_commands_that_look_do_not_write(tmp_path: Path, command: str, expected: str) -> None:
    """They read the log as it is, and leave it and its folder as they were."""
    path = tmp_path / "log.db"
    filled(path).close()
    (tmp_path / "log.db-reserve").unlink()
    before = (names(tmp_path), path.read_bytes(), path.stat().st_mtime_ns)
    shown = CliRunner().invoke(main, [*command.split(), "--log", str(path)])
    assert (shown.exit_code, expected in shown.stdout) == (0, True), shown.output
    assert (names(tmp_path), path.read_bytes(), path.stat().st_mtime_ns) == before

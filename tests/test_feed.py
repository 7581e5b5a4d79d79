"""`feed.py`: the events of a log, decoded."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from turnout import Refusal
from turnout.feed import Feed
from turnout.log import Entries
from turnout.normalise import Normaliser
from turnout.sqlite_log import SqliteLog


@pytest.mark.parametrize("readers", [1, 2])
def test_an_event_that_the_log_has_lost_says_so(tmp_path: Path, readers: int) -> None:
    """Not that its sender had sent nothing; what to do stands there."""
    path = tmp_path / "log.db"
    with closing(SqliteLog(path)) as log:
        log.append(Entries([b'{"type": "track"}']))
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE batches SET events = x'00'")
        [lost] = log.read(0)
        [found] = Feed(log, Normaliser().event, readers=readers).decoded([lost])
    assert isinstance(found, Refusal)
    assert str(found).startswith("The log is damaged where this event was, and it can't be read any more. Restore")

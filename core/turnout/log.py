"""The log: what was accepted, in order, and how far each destination has come (contract 5.5).

`Log` is the protocol that every implementation keeps; `sqlite_log.py` has the one for a single machine. Nothing above
it knows which one it works with, and one conformance suite (tests/test_log.py) runs against each.

    log.append(entries)                    # durable when it returns
    cursor = log.register("amplitude")
    for accepted in log.read(cursor.position, events=500): ...
    log.settle("amplitude", Settlement(position=..., parked=[...], dead=[...], counts={...}))

Positions are numbers from 1 that grow with every event; a cursor is the position of the last event that a
destination is done with. An event that has to wait is *parked*: its cursor moves on, and its user's later events go
behind it. Times are milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from turnout.errors import TurnoutError
from turnout.reasons import Code, Outcome, Reason
from turnout.settings import Config

__all__ = [
    "SERVED",
    "Accepted",
    "Counts",
    "Cursor",
    "DeadLetter",
    "DeadQuery",
    "Entries",
    "Log",
    "LogError",
    "LogFull",
    "LogHeld",
    "Parked",
    "Room",
    "Settlement",
    "State",
    "StoredItem",
    "open_log",
]


SERVED = "served"
"""The role of a process that delivers for a gateway, beside `deliver`: it ends by itself when that is gone."""


class LogError(TurnoutError):
    """The log can't be used: unreadable, damaged, of a newer version, or in use by another process."""


class LogHeld(LogError):
    """Another process has the role that was asked for."""


class LogFull(LogError):
    """There is no room for more: the disk is full, or the log has reached its size. Nothing of the batch was kept."""


class Entries(msgspec.Struct, frozen=True):
    """Events that are appended together: all of them, or none."""

    events: Sequence[bytes]
    """The normalised events as JSON texts."""
    keys: Sequence[bytes] = ()
    """For each event, 16 bytes that stand for its source and message id, for deduplication after a restart."""
    at_ms: int = 0
    """When they were accepted."""


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """One event of the log."""

    position: int
    data: bytes


class StoredItem(msgspec.Struct, frozen=True, array_like=True):
    """An item as it is kept: its endpoint's name, the encoded object, its idempotency key, and its rule."""

    endpoint: str
    data: bytes
    key: str | None = None
    rule: str = ""


class Parked(msgspec.Struct, kw_only=True):
    """One event that waits at a destination, with the items that the vendor doesn't have yet."""

    id: int = 0
    """The log's number for it, in the order in which they were parked; 0 before it is kept."""
    user: str
    position: int
    message_id: str
    items: list[StoredItem]
    due_ms: int = 0
    """When it may be tried again; 0 behind another one of the same user, whose turn it is first."""
    attempts: int = 0
    """How many requests have carried it."""
    active_ms: int = 0
    """How long it has been retried so far; time in pauses that the vendor asked for doesn't count."""
    reason: Reason | None = None
    """Why it waits."""
    refused: list[StoredItem] = []
    """Items of the same event that the vendor has refused: the event ends as a dead letter."""
    lost: bool = False
    """Whether the log is damaged where its items were: then it has none here, and ends as a dead letter."""
    event: bytes = b""
    """The event as JSON text, for its dead letter: the log may have let go of it by then."""


class DeadLetter(msgspec.Struct, kw_only=True):
    """An event that a destination will not get, with what is needed to understand and to repeat it."""

    id: int = 0
    destination: str = ""
    position: int = 0
    """The event's position; 0 for one that is no longer in the log."""
    message_id: str | None = None
    user: str = ""
    outcome: Outcome = Outcome.DEAD
    """`dead`, `invalid` or `failed`."""
    reason: Reason
    """Why, in the vendor's words where it was the vendor; without secrets."""
    attempts: int = 0
    at_ms: int = 0
    event: bytes = b""
    """The event as JSON text."""
    items: list[StoredItem] = []
    """The items that were refused or given up; empty when it could not be mapped."""
    version: str = ""
    """The plugin with its version."""


class DeadQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are meant; what is None doesn't matter."""

    destination: str | None = None
    code: Code | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    ids: Sequence[int] | None = None


class Cursor(msgspec.Struct, frozen=True):
    """How far a destination has come."""

    position: int = 0
    """The last event that it is done with; 0 before the first."""
    inputs: Mapping[str, Any] = {}
    """What carried over up to there: key -> JSON value (see `Settlement.inputs`)."""
    trying: int = 0
    """The position that was being mapped alone when the process wrote this down; 0 when none was."""
    tried: int = 0
    """How many processes have ended, one after the other, while `trying` was this position."""
    deaths: int = 0
    """How many processes have ended, one after the other, without saying so."""


Counts = Mapping[tuple[Outcome, Code | None], int]
"""How many events came to an outcome, by reason code."""


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What a destination has got done; it is kept as a whole or not at all."""

    position: int | None = None
    """The new cursor; None leaves it where it is. It never goes back here."""
    inputs: Mapping[str, Any] = {}
    """Entries of what carries over that have changed; None as a value takes one out."""
    park: Sequence[Parked] = ()
    """Events to park, in order (id 0), or parked ones that go on waiting (by id: they are renewed)."""
    unpark: Sequence[int] = ()
    """The ids of parked events that are done."""
    dead: Sequence[DeadLetter] = ()
    """New dead letters."""
    bury: Sequence[int] = ()
    """The ids of dead letters that go with it, as when they are replayed."""
    counts: Counts = {}
    """The events that came to their end with this settlement."""


class State(msgspec.Struct, frozen=True):
    """Where a destination stands: `received` = the sum of `counts` + `pending`, at every moment."""

    received: int
    """The events that were for it so far; one that is delivered once more, after its cursor went back, counts again."""
    pending: int
    """The events that have not come to their end: behind the cursor, or parked."""
    parked: int
    counts: Counts


class Room(msgspec.Struct, frozen=True):
    """What is left of the disk that a log is on, in bytes."""

    free: int
    """What events can still take; what the log keeps in reserve doesn't count, and below 0 it lacks that too."""
    total: int
    """The whole disk."""


class Log(Protocol):
    """A durable, ordered record of accepted events. Its methods may be called from several threads.

    A destination without a cursor has nothing parked and nothing due; to change one raises `LogError` ("… has no
    cursor"), but for `register` and `forget`. So does every method once the log is closed.
    """

    def append(self, entries: Entries) -> int:
        """Keep events for good and return the position of its first event.

        It is durable when this returns. Raises `LogFull`, and then none of them was kept; ValueError for keys that are
        not one of 16 bytes for each event, or none at all. An append of nothing finds out whether there is room.
        """
        ...

    def read(self, after: int, *, events: int = 500, size: int = 4_000_000) -> list[Accepted]:
        """Return the events behind a position, in order: at most so many, and about so many bytes."""
        ...

    def first(self) -> int:
        """Return the position of the oldest event that is still there; one behind `last` when there is none."""
        ...

    def last(self) -> int:
        """Return the position of the newest event ever appended; 0 before the first."""
        ...

    def keys(self, since_ms: int) -> Iterator[tuple[int, Sequence[bytes]]]:
        """Yield time and deduplication keys of the batches that were accepted since then, oldest first."""
        ...

    def destinations(self) -> list[str]:
        """Return the ids of the destinations that have a cursor."""
        ...

    def register(self, destination: str, *, at_end: bool = False) -> Cursor:
        """Return a destination's cursor; a new one starts at the oldest event, or behind the newest."""
        ...

    def settle(self, destination: str, settlement: Settlement) -> list[int]:
        """Keep a settlement, all of it or nothing, and return the ids of the newly parked events.

        Raises `LogFull` when there is no room even for that, and `LogError` for a position that the log never had and
        for a parked event that is to be renewed and isn't there, at this destination. An id in `unpark` or `bury` that
        isn't there is done with.
        """
        ...

    def begin(self, destination: str) -> Cursor:
        """Write down that a process begins to deliver, and return the cursor.

        When the one before has not said `end`, its death is counted in `deaths`; and in `tried`, if it was mapping an
        event alone.
        """
        ...

    def end(self, destination: str) -> None:
        """Write down that delivery ends as it should: `trying`, `tried` and `deaths` become 0."""
        ...

    def mark(self, destination: str, *, trying: int, tried: int = 0) -> None:
        """Write down that an event is about to be mapped alone; 0: that none is any more."""
        ...

    def move(self, destination: str, position: int) -> None:
        """Set a cursor, also back: what lies behind it is delivered once more. Parked events stay.

        Raises `LogError` for a position that the log never had: below 0, or beyond the last one.
        """
        ...

    def forget(self, destination: str) -> None:
        """Take out a destination, if there is one: cursor, inputs, parked events and counts, not its dead letters."""
        ...

    def due(self, destination: str, now_ms: int, limit: int = 500) -> list[Parked]:
        """Return the parked events that may be tried now: of each user the first, when its time has come.

        What has been due for longest comes first.
        """
        ...

    def behind(self, destination: str, user: str, limit: int = 100) -> list[Parked]:
        """Return a user's parked events in order, the first one included."""
        ...

    def waiting_users(self, destination: str) -> set[str]:
        """Return the users that have parked events."""
        ...

    def next_due(self, destination: str) -> int | None:
        """Return when the next parked event may be tried, None without any."""
        ...

    def parked(self, destination: str) -> int:
        """Return how many events are parked."""
        ...

    def dead(
        self, query: DeadQuery, *, limit: int | None = None, damaged: Callable[[int, str], None] | None = None
    ) -> Iterator[DeadLetter]:
        """Yield dead letters, oldest first.

        For one that can't be read `damaged` is called with its id and a sentence that says why, and the others follow;
        without it, `LogError` is raised. It counts for the limit.
        """
        ...

    def count_dead(self, query: DeadQuery) -> int:
        """Return how many dead letters a query means."""
        ...

    def bury(self, ids: Iterable[int]) -> int:
        """Delete dead letters and return how many there were."""
        ...

    def states(self) -> dict[str, State]:
        """Return where each destination stands, all of them read at one moment."""
        ...

    def counts(self) -> dict[str, dict[tuple[Outcome, Code | None], int]]:
        """Return, for each destination of which anything was counted, the counts of all settlements."""
        ...

    def retain(self, *, age_ms: int | None = None, size: int | None = None, now_ms: int, force: bool = False) -> int:
        """Delete the oldest events beyond an age or a size, and return how many.

        What a destination still needs stays, unless `force` is given: then it is counted there as dropped
        (`deleted_unread`), and the logger `turnout` says so. Parked events and dead letters keep what they need
        themselves.
        """
        ...

    def size(self) -> int:
        """Return the bytes that the log takes on disk."""
        ...

    def room(self) -> Room | None:
        """Return what is left of the disk; None where that can't be told."""
        ...

    def own(self, role: str, lost: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        """Hold a role (`accept`, `deliver`) alone while the context lasts.

        Raises `LogHeld` when another process has it, which its words name, or this one does already. `lost` is called
        when it is taken away, which a log on one machine never does.
        """
        ...

    def close(self) -> None:
        """Close the log; it may be called twice."""
        ...


def open_log(settings: Config, *, read_only: bool = False) -> Log:
    """Return the log that the section `[log]` names, opened or made; raises `LogError` when there is none.

    With `read_only` it is never made, needs no right to write, and raises `LogError` for what would change it.
    """
    if not settings.path:
        raise LogError('No log is configured. Add to the configuration: [log] and path = "turnout.log".')
    if read_only:
        from turnout._sqlite_reader import SqliteReader

        return SqliteReader(settings.path)
    from turnout.sqlite_log import SqliteLog

    return SqliteLog(settings.path, max_bytes=settings.max_megabytes * 1_000_000 or None)

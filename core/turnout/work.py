"""What delivery over a log keeps of each event while it is on its way."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from turnout.endpoint import Item
from turnout.log import DeadLetter, Parked, StoredItem
from turnout.reasons import Code, Outcome, Reason

__all__ = ["NO_REASON", "Chunk", "Work", "parked", "stored"]

NO_REASON = Reason(Code.VENDOR_REFUSED, "")


class Work(msgspec.Struct, gc=False):
    """One event on its way: the items that the vendor doesn't have yet, and what came of the others."""

    user: str
    position: int
    message_id: str
    items: list[Item]
    chunk: Chunk | None = None
    parked_id: int = 0
    attempts: int = 0
    active_ms: int = 0
    refused: tuple[StoredItem, ...] = ()
    reason: Reason | None = None
    due_ms: int = 0
    count: int = 0
    event: bytes = b""
    lost: bool = False
    """Whether its items can't be read any more."""

    @property
    def dead(self) -> bool:
        """Return whether it ends as a dead letter."""
        return self.lost or bool(self.refused)


class Chunk(msgspec.Struct):
    """Events that were read together, and how many of them are still on their way."""

    last: int
    left: int = 0
    inputs: dict[str, Any] = {}
    park: list[Parked] = []
    dead: list[DeadLetter] = []
    delivered: int = 0
    counts: Counter[tuple[Outcome, Code | None]] = msgspec.field(default_factory=Counter)
    size: int = 0
    begun: bool = False


def stored(item: Item) -> StoredItem:
    """Return an item as the log keeps it."""
    return StoredItem(item.endpoint.name, item.data, item.key, item.rule)


def parked(work: Work) -> Parked:
    """Return an event as the log keeps it while it waits."""
    return Parked(
        id=work.parked_id,
        user=work.user,
        position=work.position,
        message_id=work.message_id,
        items=[stored(item) for item in work.items],
        due_ms=work.due_ms,
        attempts=work.attempts,
        active_ms=work.active_ms,
        reason=work.reason,
        refused=[*work.refused],
        event=work.event,
    )

"""Reading a log for several destinations: what one of them has read and decoded, the others need not."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from turnout.errors import Refusal
from turnout.event import Event
from turnout.log import Accepted, Log

__all__ = ["Feed", "Told"]

_KEPT = 8


class Told(msgspec.Struct, frozen=True):
    """One event of the log: as it is kept, and normalised."""

    position: int
    data: bytes
    event: Event | Refusal


class Feed:
    """Returns the events of a log in chunks; destinations at the same place share a chunk.

    `normalise` makes an `Event` of a JSON text, or raises `Refusal`.
    """

    def __init__(self, log: Log, normalise: Callable[[bytes], Event], events: int = 500) -> None:
        self.log = log
        self.events = events
        self._normalise = normalise
        self._chunks: OrderedDict[int, list[Told]] = OrderedDict()
        self._reading = asyncio.Lock()

    async def behind(self, position: int) -> list[Told]:
        """Return the events behind a position, at most `events`; an empty list when there are none yet."""
        async with self._reading:
            found = self._chunks.get(position)
            if found is not None and (len(found) == self.events or self.log.last() == found[-1].position):
                self._chunks.move_to_end(position)
                return found
            accepted = await asyncio.to_thread(self.log.read, position, events=self.events)
            told = [Told(one.position, one.data, self._event(one)) for one in accepted]
            if told:
                self._chunks[position] = told
                while len(self._chunks) > _KEPT:
                    self._chunks.popitem(last=False)
            return told

    def _event(self, accepted: Accepted) -> Event | Refusal:
        try:
            return self._normalise(accepted.data)
        except Refusal as refusal:
            return refusal

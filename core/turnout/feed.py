"""Reading a log for several destinations: what one of them has read and decoded, the others need not."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from turnout.errors import Refusal
from turnout.event import Event
from turnout.log import Accepted, Log
from turnout.plan import Judgement
from turnout.reasons import Code

__all__ = ["Feed"]

_KEPT = 4
_LOST = (
    "The log is damaged where this event was, and it can't be read any more. "
    "Restore the log from a copy, or let the sender repeat the event."
)


class Feed:
    """Returns the events of a log in chunks; destinations at the same place share what is decoded.

    `normalise` makes an `Event` of a JSON text, or raises `Refusal`. `judge` says what the tracking plan makes of it,
    where there is one. `readers` is how many destinations read: with one alone nothing is kept, since hundreds of
    decoded events would only fill the processor's caches.
    """

    def __init__(
        self,
        log: Log,
        normalise: Callable[[bytes], Event],
        *,
        judge: Callable[[Event], Judgement] | None = None,
        readers: int = 1,
        events: int = 250,
    ) -> None:
        self.log = log
        self.events = events
        self._normalise = normalise
        self._judge = judge
        self._shared = readers > 1
        self._chunks: OrderedDict[int, list[Accepted]] = OrderedDict()
        self._decoded: dict[int, Event | Refusal] = {}
        self._judged: dict[int, Judgement] = {}
        self._reading = asyncio.Lock()

    async def behind(self, position: int) -> list[Accepted]:
        """Return the events behind a position, at most `events`; an empty list when there are none yet."""
        async with self._reading:
            found = self._chunks.get(position)
            if found is not None and (len(found) == self.events or self.log.last() == found[-1].position):
                self._chunks.move_to_end(position)
                return found
            told = await asyncio.to_thread(self.log.read, position, events=self.events)
            if told and self._shared:
                self._keep(position, told)
            return told

    def _keep(self, position: int, told: list[Accepted]) -> None:
        self._chunks[position] = told
        while len(self._chunks) > _KEPT:
            _, old = self._chunks.popitem(last=False)
            self._forget(old)

    def _forget(self, old: Iterable[Accepted]) -> None:
        for accepted in old:
            self._decoded.pop(accepted.position, None)
            self._judged.pop(accepted.position, None)

    def decoded(self, records: Sequence[Accepted]) -> list[Event | Refusal]:
        """Return the event of each record, normalised; or the refusal of one that can't be."""
        if not self._shared:
            return [*map(self._read, records)]
        found = self._decoded
        for one in records:
            if one.position not in found:
                found[one.position] = self._read(one)
        return [found[one.position] for one in records]

    def _read(self, accepted: Accepted) -> Event | Refusal:
        try:
            return self._normalise(accepted.data) if accepted.data else Refusal(Code.BAD_REQUEST, _LOST)
        except Refusal as refusal:
            return refusal

    @property
    def judges(self) -> bool:
        """Return whether a tracking plan judges the events."""
        return self._judge is not None

    def judged(self, accepted: Accepted, event: Event | Refusal) -> Event | Refusal | Judgement:
        """Return what the tracking plan makes of the event of a record, where there is a plan."""
        if self._judge is None or isinstance(event, Refusal):
            return event
        found = self._judged.get(accepted.position)
        if found is None:
            found = self._judge(event)
            if self._shared:
                self._judged[accepted.position] = found
        return found

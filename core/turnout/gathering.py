"""Gathering the events of a live stream into chunks, for as long as they may wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from turnout.plan import Plan, let_go

__all__ = ["Gatherer"]


class Gatherer:
    """Cuts a live stream of plans into chunks.

    A chunk ends when it has `chunk` events, when an endpoint's `Batch.linger_ms` has passed since its first item
    (at once for an endpoint without one), when a destination's `Batch.items` have come together, at `flush`, and at
    the end of the stream.
    """

    def __init__(self, plans: AsyncIterator[list[Plan]], chunk: int, clock: Callable[[], float] | None = None) -> None:
        self._plans = plans
        self._chunk = chunk
        self._loop = asyncio.get_running_loop()
        self._clock = clock or self._loop.time
        self._flushed = asyncio.Event()
        self._rows: list[list[Plan]] = []
        self._counts: dict[int, int] = {}
        self._due: float | None = None

    def flush(self, destination: str | None = None) -> None:
        """End the chunk now, if it holds an item for this destination (None: for any); from any thread."""
        self._loop.call_soon_threadsafe(self._flush, destination)

    def _flush(self, destination: str | None) -> None:
        if any(plan.items and destination in (None, plan.destination) for row in self._rows for plan in row):
            self._flushed.set()

    async def chunks(self) -> AsyncGenerator[list[list[Plan]], None]:
        """Yield the chunks, none of them empty."""
        coming: asyncio.Task[list[Plan] | None] | None = None
        try:
            while True:
                coming = coming or asyncio.ensure_future(anext(self._plans, None))
                if not await self._arrives(coming):
                    yield self._taken()
                    continue
                row, coming = coming.result(), None
                if row is None:
                    break
                if self._add(row):
                    yield self._taken()
            if self._rows:
                yield self._taken()
        finally:
            if coming is not None:
                coming.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await coming

    async def _arrives(self, coming: asyncio.Task[list[Plan] | None]) -> bool:
        """Return whether the next event came before the chunk had to go."""
        waiting = asyncio.ensure_future(self._flushed.wait())
        left = None
        if self._rows:  # outcomes that need no delivery wait for nobody
            left = 0.0 if self._due is None else max(0.0, self._due - self._clock())
        try:
            await asyncio.wait({coming, waiting}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        return coming.done() and not self._flushed.is_set()

    def _add(self, row: list[Plan]) -> bool:
        """Take one event's plans, and return whether the chunk is full."""
        full = False
        for plan in let_go(row):
            for item in plan.items:
                batch = item.endpoint.batch
                due = self._clock() + batch.linger_ms / 1000
                self._due = due if self._due is None else min(self._due, due)
                count = self._counts[id(item.endpoint)] = self._counts.get(id(item.endpoint), 0) + 1
                full = full or count >= batch.items
        self._rows.append(row)
        return full or len(self._rows) >= self._chunk

    def _taken(self) -> list[list[Plan]]:
        rows, self._rows, self._counts, self._due = self._rows, [], {}, None
        self._flushed.clear()
        return rows

"""Delivery of a log to all destinations: a consumer for each, none of which can harm another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from turnout._limits import Limits
from turnout.accepting import now_ms
from turnout.consumer import Consumer
from turnout.dispatcher import Dispatcher
from turnout.feed import Feed
from turnout.log import Log, LogError, LogFull
from turnout.normalise import Normaliser
from turnout.trackingplan import Reporter

__all__ = ["Delivery", "now_ms"]

_logger = logging.getLogger("turnout")
_AGAIN = 5.0
_LOOK_EVERY = 5.0
_LOOKS = 12
"""How often log and disk are looked at, in seconds; every so many looks, what is too old goes."""
_FILLED = 0.8
_LOW, _SHARE, _LEAST = 64_000_000, 0.05, 4_000_000
"""A disk is nearly full with less than so many bytes and this part of it free; and always below `_LEAST`, since a log
needs some to accept anything."""
_ROOM = 4096
"""Bytes that an event may have gained since it was accepted: the stamps of the log."""


class Delivery:
    """Takes the destinations of a dispatcher through a log, each at its own pace."""

    def __init__(self, dispatcher: Dispatcher, log: Log, clock: Callable[[], int] = now_ms) -> None:
        self.dispatcher = dispatcher
        self.log = log
        self.clock = clock
        self.consumers: dict[str, Consumer] = {}
        self._told = False
        normaliser = dispatcher.normaliser
        limits = Limits(event_bytes=normaliser.limits.event_bytes + _ROOM)
        self._normaliser = Normaliser(clock=normaliser.clock, new_id=normaliser.new_id, limits=limits)

    async def run(self, stop: asyncio.Event, begun: Callable[[], object] = lambda: None) -> None:
        """Deliver until `stop` is set; then finish what is on its way within `grace_seconds`, and leave the rest.

        `begun` is called once it is certain that this process delivers. Raises `LogError` when another one delivers
        from this log, or when the log fails.
        """
        with self.log.own("deliver"):
            for name in self.dispatcher.destinations:  # before anything is deleted that one of them needs
                await asyncio.to_thread(self.log.register, name)
            begun()
            plan, readers = self.dispatcher.tracking_plan, len(self.dispatcher.destinations)
            judge = Reporter(plan).judge if plan else None
            feed = Feed(self.log, self._normaliser.event, judge=judge, readers=readers)
            tasks = [asyncio.create_task(self._serve(name, feed, stop)) for name in self.dispatcher.destinations]
            tasks.append(asyncio.create_task(self._retain(stop)))
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def empty(self) -> bool:
        """Return whether every destination is through with everything that is in the log now."""
        states = self.log.states()
        mine = [states.get(name) for name in self.dispatcher.destinations]
        return all(state is not None and not state.pending for state in mine)

    async def _serve(self, name: str, feed: Feed, stop: asyncio.Event) -> None:
        """Run one destination's consumer; if it fails, say so and begin again from the log."""
        while not stop.is_set():
            consumer = self.consumers[name] = self._consumer(name, feed)
            try:
                await consumer.run(stop)
            except LogError:
                raise
            except Exception:
                _logger.exception("Delivery to '%s' failed; it goes on in %g s.", name, _AGAIN)
                await _sleep(_AGAIN, stop)

    def _consumer(self, name: str, feed: Feed) -> Consumer:
        dispatcher = self.dispatcher
        return Consumer(
            self.log,
            feed,
            dispatcher.destinations[name],
            dispatcher.planner(name),
            dispatcher.deliver_settings,
            transport=dispatcher.transport,
            clock=self.clock,
            seconds=time.monotonic if self.clock is now_ms else None,
            settled=dispatcher.observe if dispatcher.hooks.settled else None,
            governed=name not in dispatcher.exempt,
        )

    async def _retain(self, stop: asyncio.Event) -> None:
        """Delete what everybody has had, when it is old or its room is needed."""
        looks, last = 0, False
        while not last:
            last = stop.is_set()
            try:
                if last or looks % _LOOKS == 0:
                    await asyncio.to_thread(self._trim)
                await asyncio.to_thread(self._make_room)
            except LogFull as error:
                _logger.warning("Nothing could be deleted: %s", error)
            looks += 1
            await _sleep(_LOOK_EVERY, stop)

    def _trim(self) -> None:
        age = int(self.dispatcher.log_settings.keep_hours * 3_600_000)
        self.log.retain(age_ms=age, now_ms=self.clock())

    def _make_room(self) -> None:
        """While log or disk are nearly full, delete the oldest of what everybody has had, no more than is lacking."""
        size = int(self.dispatcher.log_settings.max_megabytes * 1_000_000 * _FILLED)
        if 0 < size < self.log.size():
            self.log.retain(size=size, now_ms=self.clock())
        lacking = _lacking(self.log)
        while lacking > 0 and self.log.retain(size=max(self.log.size() - lacking, 0), now_ms=self.clock()):
            if not self._told:
                self._told = True
                _logger.warning("The disk is nearly full: what every destination has had goes before its keep_hours.")
            before, lacking = lacking, _lacking(self.log)
            if lacking >= before:  # another program takes it, or a reader holds the file up: look again later
                break


def _lacking(log: Log) -> int:
    """Return how many bytes the disk has too few for a log that goes on accepting."""
    room = log.room()
    return 0 if room is None else max(min(_LOW, int(room.total * _SHARE)), _LEAST) - room.free


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass

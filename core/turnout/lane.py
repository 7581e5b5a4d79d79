"""A lane of a destination: the events of some users, sent in order, one request for each endpoint at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from turnout.answer import Fate, Verdict
from turnout.endpoint import Item
from turnout.exchange import again, all_delivered, backoff
from turnout.packing import Request, waves
from turnout.reasons import Code, Reason
from turnout.work import NO_REASON, Work, stored

if TYPE_CHECKING:
    from turnout.consumer import Consumer

__all__ = ["Lane"]

_DELIVERED, _REFUSED, _RETRY, _SETUP, _SPLIT = Fate.DELIVERED, Fate.REFUSED, Fate.RETRY, Fate.SETUP, Fate.SPLIT
_ENOUGH = 500
"""Events for which a lane waits while more are at hand: a request costs as much as mapping fifty of them."""
_IN_PLACE = 3
"""How often a request is tried before its items are parked, while the vendor takes others."""


class Lane:
    """Sends the events of some users, one request for each endpoint at a time."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.queue: deque[Work] = deque()
        """The events to send; who adds some calls `wake`."""
        self._filled = asyncio.Event()
        self._closed = False
        self._ready: Sequence[Work] = ()
        self._by_item: dict[int, Work] | None = None
        self._taken: list[tuple[Item, ...]] = []
        """Requests of which the vendor took every item, as long as that is not written down in the events."""
        self._waiting: dict[str, int] = {}

    def wake(self) -> None:
        """Look again whether there is enough to send."""
        self._filled.set()

    def close(self) -> None:
        """End `run` after what was begun; the rest stays in the log.

        Of events that were read together all are sent, once some are: the log moves on behind all of them or none.
        """
        self._closed = True
        self.queue = deque(work for work in self.queue if work.chunk and work.chunk.begun)
        self._filled.set()

    async def run(self) -> None:
        """Send what is put, until `close`."""
        most = self._consumer.settings.events_at_once
        consumer = self._consumer
        while await self._gathered(min(most, _ENOUGH)):
            consumer.sending += 1
            try:
                await self._send([self.queue.popleft() for _ in range(min(most, len(self.queue)))])
            finally:
                consumer.sending -= 1

    async def _gathered(self, enough: int) -> bool:
        """Wait until there is something to send, and for more as long as it may wait; return False when all is done."""
        clock, since = asyncio.get_running_loop().time, None
        while not self._closed:
            left, waiting = None, len(self.queue)
            if waiting and not self._consumer.filling:
                since = clock() if since is None else since
                left = since + self._linger() - clock()
            if waiting >= enough or (left is not None and left <= 0):
                return True
            if waiting and self._consumer.crowded and (waiting >= enough // 2 or not self._consumer.sending):
                return True
            self._filled.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._filled.wait()
        return bool(self.queue)

    def _linger(self) -> float:
        """Return for how many seconds what is queued may wait for more: none, when a batch is full."""
        if not self._consumer.lingers:
            return 0.0
        batches = [item.endpoint.batch for work in self.queue for item in work.items]
        full = any(number >= batch.items for batch, number in Counter(batches).items())
        return 0.0 if full else min((batch.linger_ms for batch in batches), default=0) / 1000

    async def _send(self, works: Sequence[Work]) -> None:
        consumer = self._consumer
        for work in works:
            if work.chunk:
                work.chunk.begun = True
        self._ready = ready = self._unheld(works) if consumer.held else works
        self._by_item, self._taken, self._waiting = None, [], {}
        for wave in waves([(work.user, tuple(work.items)) for work in ready]):
            lines: dict[int, list[Request]] = {}
            for request in wave:
                lines.setdefault(id(request.endpoint), []).append(request)
            await asyncio.gather(*(self._line(line) for line in lines.values()))
        if self._by_item is None and sum(map(len, self._taken)) == sum(len(work.items) for work in ready):
            for work in ready:
                items = work.items
                work.attempts += 1 if len(items) == 1 else len({id(item.endpoint) for item in items})
                items.clear()
            consumer.all_done(ready)
        else:
            self._works()
            for work in ready:
                if work.items:
                    self._wait(work)
                else:
                    consumer.done(work)
        consumer.returned([work.user for work in ready if work.parked_id])
        self._ready, self._by_item, self._taken = (), None, []

    def _works(self) -> dict[int, Work]:
        """Return the event of each item that was to be sent; what the vendor took so far is written down in them.

        Mostly everything is taken, and then nobody needs to know.
        """
        if self._by_item is None:
            self._by_item = {id(item): work for work in self._ready for item in work.items}
        taken, self._taken = self._taken, []
        for items in taken:
            self._delivered(items, self._by_item)
        return self._by_item

    def _unheld(self, works: Iterable[Work]) -> list[Work]:
        """Return the events that may go out now; those of users that wait go behind what waits."""
        consumer, ready = self._consumer, []
        for work in works:
            if work.user in consumer.held and not work.parked_id:
                consumer.park(work, 0)
            elif work.user in consumer.stalled and work.parked_id:
                consumer.returned([work.user])
            else:
                ready.append(work)
        return ready

    def _wait(self, work: Work) -> None:
        """Park an event of which something is left to send."""
        due = self._waiting.pop(work.user, 0)
        if work.parked_id and not due:
            return  # it stays parked as it was, behind the one before it
        self._consumer.park(work, due)

    async def _line(self, requests: Sequence[Request]) -> None:
        for request in requests:
            queue = deque([request.items])
            while queue:
                items = queue.popleft()
                if self._waiting or items is not request.items:
                    items = tuple(item for item in items if self._may_go(item))
                if items:
                    queue.extendleft(reversed(await self._try(items)))

    def _may_go(self, item: Item) -> bool:
        """Return whether an item is still to be sent: not when its user has to wait."""
        work = self._works()[id(item)]
        return work.user not in self._waiting and item in work.items

    async def _try(self, items: tuple[Item, ...]) -> list[tuple[Item, ...]]:
        """Send one request, again and again while the vendor is down; return what has to be sent next, in order."""
        consumer, breaker = self._consumer, self._consumer.breaker
        tried = 0
        while True:
            await consumer.requests.take(1)
            await consumer.events.take(len(items))
            probing = await breaker.enter()
            started = consumer.clock()
            try:
                verdicts, answered = await consumer.exchange.attempt(items)
                consumer.attempts += 1
                tried += 1
                whole = self._whole(verdicts, answered)
            finally:
                if probing:
                    breaker.leave()
            if whole is None:
                return self._judged(items, verdicts, consumer.clock() - started)
            if self._waited(items, whole, tried, consumer.clock() - started):
                return []
            works = self._works()
            items = tuple(item for item in items if item in works[id(item)].items)
            if not items:
                return []
            if whole.fate is _RETRY and not breaker.open:
                await asyncio.sleep(0 if whole.wait is not None or _is_limit(whole) else backoff(tried))

    def _whole(self, verdicts: Sequence[Verdict], answered: bool) -> Verdict | None:
        """Return the verdict of a request that failed as a whole; None when the vendor judged its items."""
        breaker, first = self._consumer.breaker, verdicts[0]
        if all(verdict.fate is _SETUP for verdict in verdicts):
            breaker.refused(first.reason or Reason(Code.CREDENTIALS_REFUSED, "The vendor refused the settings."))
            return first
        if not answered and first.fate is _REFUSED:
            breaker.failed(first.reason)
            return None
        if any(verdict.fate is not _RETRY or verdict.own for verdict in verdicts):
            breaker.succeeded()
            self._consumer.events.quiet()
            return None
        if _is_limit(first):
            self._consumer.events.slow_down()
            breaker.limited(first.wait)
            return first
        breaker.failed(first.reason)
        if first.wait is not None:
            breaker.pause(first.wait)
        return first

    def _waited(self, items: tuple[Item, ...], whole: Verdict, tried: int, took: int) -> bool:
        """Note a failed attempt; return True when the items are given up or parked, instead of tried in place."""
        if whole.fate is _SETUP:
            return False
        paused = whole.wait is not None or _is_limit(whole)
        for work in self._of(items):
            work.attempts += 1
            work.active_ms += took + (0 if paused else int(backoff(tried) * 1000))
            work.reason = whole.reason
            if self._too_old(work):
                self._refuse(work, [item for item in items if item in work.items], whole.reason)
        if self._consumer.breaker.open or tried < _IN_PLACE:
            return False
        for work in self._of(items):
            if work.items:
                self._hold(work, self._rest(whole, work.attempts))
        return True

    def _rest(self, whole: Verdict, attempts: int) -> float:
        """Return for how many seconds the events of a request wait that failed as a whole."""
        if whole.wait is not None:
            return whole.wait
        return self._consumer.breaker.left if _is_limit(whole) else backoff(attempts)

    def _too_old(self, work: Work) -> bool:
        settings = self._consumer.settings
        old = work.active_ms >= settings.max_age_hours * 3_600_000
        return bool(old and work.attempts >= settings.min_attempts)

    def _of(self, items: Iterable[Item]) -> list[Work]:
        works = self._works()
        return list({id(work): work for work in (works[id(item)] for item in items)}.values())

    def _judged(self, items: tuple[Item, ...], verdicts: Sequence[Verdict], took: int) -> list[tuple[Item, ...]]:
        """Write down what the vendor said of each item; return what has to be sent again, in order."""
        if all_delivered(verdicts):
            self._taken.append(items)
            return []
        works = self._works()
        left = []
        for work in self._of(items):
            work.attempts += 1
            work.active_ms += took
        for item, verdict in zip(items, verdicts, strict=True):
            work = works[id(item)]
            if verdict.fate is _DELIVERED:
                work.items.remove(item)
            elif verdict.fate in (_REFUSED, _SETUP):
                self._refuse(work, [item], verdict.reason)
            elif verdict.fate is _RETRY:
                work.reason = verdict.reason
                if verdict.wait is None and self._too_old(work):
                    self._refuse(work, [item], verdict.reason)
                else:
                    self._hold(work, backoff(work.attempts) if verdict.wait is None else verdict.wait)
            else:
                left.append(item)
        return list(again(tuple(left), split=any(verdict.fate is _SPLIT for verdict in verdicts)))

    def _delivered(self, items: Iterable[Item], works: Mapping[int, Work]) -> None:
        """Write down that the vendor took every item."""
        last = None
        for item in items:
            work = works[id(item)]
            if len(work.items) == 1:
                work.items.clear()
            else:
                work.items.remove(item)
            if work is not last:
                work.attempts += 1
                last = work

    def _refuse(self, work: Work, items: Iterable[Item], reason: Reason | None) -> None:
        for item in items:
            work.items.remove(item)
            work.refused = (*work.refused, stored(item))
        work.reason = reason or NO_REASON

    def _hold(self, work: Work, seconds: float) -> None:
        """Let a user wait: nothing of theirs goes out until then."""
        due = self._consumer.clock() + max(1, int(seconds * 1000))
        self._waiting[work.user] = max(due, self._waiting.get(work.user, 0))


def _is_limit(verdict: Verdict) -> bool:
    """Return whether a vendor found it too much: then the breaker holds back, for everybody."""
    return verdict.reason is not None and verdict.reason.code is Code.RATE_LIMITED

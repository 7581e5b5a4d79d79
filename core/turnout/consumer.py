"""Delivery of one destination over a log: read, map, send, settle; what has to wait is parked, and blocks nobody else.

The cursor moves in chunks, when every event of a chunk is delivered, dropped, dead or parked. Users are spread over
lanes, and a lane has one request for each endpoint under way: a user's items stay in order and hold up few others.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from turnout.answer import Fate, Verdict
from turnout.destination import Destination, origin
from turnout.endpoint import Item
from turnout.errors import Refusal
from turnout.event import Event
from turnout.exchange import Exchange, again, all_delivered, backoff
from turnout.feed import Feed
from turnout.inputs import Inputs
from turnout.log import Accepted, DeadLetter, Log, Parked, Settlement, StoredItem
from turnout.mapping import map_event
from turnout.pacing import Breaker, RateLimit
from turnout.packing import Request, waves
from turnout.plan import Plan, Settled
from turnout.reasons import Code, Outcome, Reason
from turnout.sending import Transport
from turnout.settings import Config
from turnout.watchdog import TooLong, Watchdog

__all__ = ["Consumer"]

_logger = logging.getLogger("turnout")
_DELIVERED, _REFUSED, _RETRY, _SETUP, _SPLIT = Fate.DELIVERED, Fate.REFUSED, Fate.RETRY, Fate.SETUP, Fate.SPLIT
_PLANNED, _DONE, _DEAD, _RETRYING = Outcome.PLANNED, Outcome.DELIVERED, Outcome.DEAD, Outcome.RETRYING
_DEATHS = 2
"""How many processes may die one after the other while they map the same event alone."""
_ENOUGH = 500
"""Events for which a lane waits while more are at hand: a request costs as much as mapping fifty of them."""
_IN_PLACE = 3
"""How often a request is tried before its items are parked, while the vendor takes others."""


_NO_REASON = Reason(Code.VENDOR_REFUSED, "")


class _Work(msgspec.Struct):
    """One event on its way: the items that the vendor doesn't have yet, and what came of the others."""

    user: str
    position: int
    message_id: str
    items: list[Item]
    chunk: _Chunk | None = None
    parked_id: int = 0
    attempts: int = 0
    active_ms: int = 0
    refused: list[StoredItem] = []
    reason: Reason | None = None
    due_ms: int = 0
    count: int = 0
    event: bytes = b""


class _Chunk(msgspec.Struct):
    """Events that were read together, and how many of them are still on their way."""

    last: int
    left: int = 0
    inputs: dict[str, Any] = {}
    park: list[Parked] = []
    dead: list[DeadLetter] = []
    delivered: int = 0
    counts: Counter[tuple[Outcome, Code | None]] = msgspec.field(default_factory=Counter)
    size: int = 0


class Consumer:
    """Takes one destination through a log, until `run` is told to stop.

    `plan` maps one event with what earlier ones left behind. `settings` is the section `[deliver]`. `clock` gives the
    time in milliseconds since 1970. `settled` is called with each outcome.
    """

    def __init__(
        self,
        log: Log,
        feed: Feed,
        target: Destination,
        plan: Callable[[Any, Inputs], Plan],
        settings: Config,
        *,
        transport: Transport | None = None,
        clock: Callable[[], int],
        settled: Callable[[Settled], None] | None = None,
    ) -> None:
        self.name = target.id
        self.target = target
        self.log = log
        self.feed = feed
        self.settings = settings
        self.clock = clock
        self.breaker = Breaker(target.id, self._seconds, settings.setup_wait_seconds)
        self.requests = RateLimit(target.config.get("max_requests_per_second", 0.0), self._seconds)
        self.events = RateLimit(target.config.get("max_events_per_second", 0.0), self._seconds)
        self.exchange = Exchange(target.id, target, settings.timeout_seconds, transport)
        self.held: set[str] = set()
        """The users whose events wait."""
        self.attempts = 0
        """How many requests were sent."""
        self._plan = plan
        self._settled = settled
        self._inputs = Inputs()
        self._window: deque[_Chunk] = deque()
        self._position = 0
        self._results: list[tuple[_Work, Outcome]] = []
        self._renewed: list[_Work] = []
        self._retrying: Counter[str] = Counter()
        self.stalled: set[str] = set()
        """Users whose first parked event has to wait again: the others that were woken with it don't go out."""
        self._returned: list[str] = []
        self.filling = False
        """Whether more events are at hand than lanes have yet: they wait for full requests."""
        self._looked = 0
        self._careful = 0
        self._suspect = 0
        self._tried = 0
        self._pending: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._lanes = [_Lane(self) for _ in range(settings.lanes)]
        self._version = origin(type(target))

    def _seconds(self) -> float:
        return self.clock() / 1000

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; then finish what is on its way, within `grace_seconds`, and settle it."""
        await self._start()
        async with self.exchange.sender:
            tasks = [asyncio.create_task(lane.run()) for lane in self._lanes]
            stopping = asyncio.create_task(self._wake_at(stop))
            try:
                await self._go_on(stop, tasks)
                await self._finish(tasks)
            finally:
                for task in (*tasks, stopping):
                    task.cancel()
                await asyncio.gather(*tasks, stopping, return_exceptions=True)
                await self._settle()
                await asyncio.to_thread(self.log.end, self.name)

    async def _start(self) -> None:
        await asyncio.to_thread(self.log.register, self.name)
        cursor = await asyncio.to_thread(self.log.begin, self.name)
        self._position = cursor.position
        self._inputs.restore(self.name, cursor.inputs)
        self.held = await asyncio.to_thread(self.log.waiting_users, self.name)
        self._looked = self.clock()
        self._careful = int(self.settings.events_in_flight) if cursor.deaths else 0
        self._suspect, self._tried = cursor.trying, cursor.tried

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._changed.set()

    async def _go_on(self, stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
        while not stop.is_set():
            self._changed.clear()
            moved = await self._settle()
            moved |= await self._wake_parked()
            moved |= await self._read_on()
            for task in tasks:
                if task.done():
                    task.result()
            if not moved:
                await self._nap()

    async def _nap(self) -> None:
        """Wait for something to do: a lane that has finished, a parked event that is due, new events."""
        idle = float(self.settings.poll_seconds if self._has_room() else 1.0)
        due = await asyncio.to_thread(self.log.next_due, self.name) if self.held else None
        wait = idle if due is None else max(0.005, min(idle, (due - self.clock()) / 1000))
        try:
            async with asyncio.timeout(wait):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _finish(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Let requests that are on their way come to their end."""
        for lane in self._lanes:
            lane.close()
        if tasks:
            await asyncio.wait(tasks, timeout=self.settings.grace_seconds)

    # Reading and mapping

    def _has_room(self) -> bool:
        on_their_way = sum(chunk.size for chunk in self._window)
        return on_their_way < int(self.settings.events_in_flight)

    async def _read_on(self) -> bool:
        """Read and map the next chunk, when there is one and room for it."""
        told = await self.feed.behind(self._position) if self._has_room() else []
        if not told:
            self._let_go()
            return False
        careful = self._careful > 0
        if careful:
            told = told[:1]
            self._careful -= 1
            await self._mark(told[0].position)
        chunk = _Chunk(told[-1].position, size=len(told))
        works = self._all_mapped(told, chunk)
        if careful and self._careful == 0:
            await asyncio.to_thread(self.log.mark, self.name, trying=0)
        if self.target.carries:
            chunk.inputs = self._inputs.changes(self.name)
        self._position = chunk.last
        self._window.append(chunk)
        self.filling = len(told) == self.feed.events
        self._spread(works)
        return True

    def _let_go(self) -> None:
        """Let lanes send what they have."""
        if self.filling:
            self.filling = False
            for lane in self._lanes:
                lane.wake()

    async def _mark(self, position: int) -> None:
        """Write down which event is being mapped: a process that dies of it finds out at its next start.

        After a death, events are mapped one by one for a while; one that two processes in a row were mapping when they
        died is not tried again. So an event that kills takes three processes with it, and a process that is killed from
        outside takes no event.
        """
        tried = self._tried if position == self._suspect else 0
        if tried < _DEATHS:
            await asyncio.to_thread(self.log.mark, self.name, trying=position, tried=tried)

    def _all_mapped(self, told: Sequence[Accepted], chunk: _Chunk) -> list[_Work]:
        """Return what has to be sent for the events of a chunk; a mapping that doesn't come back is interrupted.

        The time counts for the whole chunk, so the one that is interrupted gets a second try with time of its own.
        """
        works: list[_Work] = []
        left, slow = deque(told), 0
        with Watchdog(self.settings.mapping_seconds, map_event) as watchdog:
            while left:
                try:
                    work = self._mapped(left[0], chunk)
                except TooLong:
                    if slow == left[0].position:
                        self._interrupted(left.popleft(), chunk)
                    else:
                        slow = left[0].position
                    watchdog.again()
                    continue
                left.popleft()
                if work is not None:
                    works.append(work)
        return works

    def _interrupted(self, told: Accepted, chunk: _Chunk) -> None:
        seconds = self.settings.mapping_seconds
        message = f"The mapping at '{self.name}' ({self._version}) did not come back within {seconds:g} s."
        _logger.error("%s", message)
        self._note(self._failed(self.feed.event(told), Reason(Code.PLUGIN_TOO_SLOW, message)), told, chunk)

    def _mapped(self, told: Accepted, chunk: _Chunk) -> _Work | None:
        """Return what has to be sent for an event; note in its chunk what needs no sending."""
        event = self.feed.event(told)
        if self._suspect == told.position and self._tried >= _DEATHS:
            reason = Reason(Code.PROCESS_DIED, "Processes ended while they mapped this event; it is not tried again.")
            plan = self._failed(event, reason)
        else:
            plan = self._plan(event, self._inputs)
        if plan.outcome is not _PLANNED:
            self._note(plan, told, chunk)
            return None
        chunk.left += 1
        message_id = plan.message_id or ""
        return _Work(plan.user, told.position, message_id, plan.items, chunk, count=len(plan.items), event=told.data)

    def _failed(self, event: Event | Refusal, reason: Reason) -> Plan:
        """Return the plan of an event that is not mapped to its end."""
        if isinstance(event, Refusal):
            return Plan(None, self.name, Outcome.FAILED, reason)
        user = event.user_id or event.anonymous_id or ""
        return Plan(event.message_id, self.name, Outcome.FAILED, reason, [], user)

    def _note(self, plan: Plan, told: Accepted, chunk: _Chunk) -> None:
        reason = plan.reason or Reason(Code.NOTHING_TO_MAP, "")
        chunk.counts[plan.outcome, reason.code] += 1
        if plan.outcome is not Outcome.DROPPED:
            letter = DeadLetter(
                destination=self.name,
                position=told.position,
                message_id=plan.message_id,
                user=plan.user,
                outcome=plan.outcome,
                reason=reason,
                at_ms=self.clock(),
                event=told.data,
                version=self._version,
            )
            chunk.dead.append(letter)
        if self._settled:
            self._settled(Settled(plan.message_id, self.name, plan.outcome, plan.reason))

    def _spread(self, works: Iterable[_Work]) -> None:
        for work in works:
            self.lane_of(work.user).put(work)

    def lane_of(self, user: str) -> _Lane:
        """Return the lane of a user."""
        return self._lanes[zlib.crc32(user.encode("utf-8", "replace")) % len(self._lanes)]

    # Parked events

    async def _wake_parked(self) -> bool:
        """Put the parked events whose time has come back on their way, each user's in order."""
        if self.clock() - self._looked >= 1000:
            # `turnout dlq replay` parks events from another process.
            self._looked = self.clock()
            self.held |= await asyncio.to_thread(self.log.waiting_users, self.name)
        if not self.held or self.breaker.open:
            return False
        heads = await asyncio.to_thread(self.log.due, self.name, self.clock())
        woken = [head.user for head in heads if not self._retrying[head.user]]
        for user in woken:
            queue = await asyncio.to_thread(self.log.behind, self.name, user)
            self._retrying[user] += len(queue)
            self._spread(list(self._restored(queue)))
        return bool(woken)

    def _restored(self, queue: Sequence[Parked]) -> Iterator[_Work]:
        for parked in queue:
            work = _Work(
                parked.user,
                parked.position,
                parked.message_id,
                [],
                parked_id=parked.id,
                attempts=parked.attempts,
                active_ms=parked.active_ms,
                refused=list(parked.refused),
                reason=parked.reason,
                count=len(parked.items) + len(parked.refused),
                event=parked.event,
            )
            for one in parked.items:
                endpoint = self.target.endpoints.get(one.endpoint)
                if endpoint is not None:
                    work.items.append(Item(endpoint, one.data, one.key, one.rule))
                    continue
                message = f"{self._version} has no endpoint '{one.endpoint}' any more."
                work.reason = Reason(Code.ENDPOINT_GONE, message)
                work.refused.append(one)
            if work.items:
                yield work
            else:
                self.done(work)
                self.returned([work.user])

    # What lanes report

    def done(self, work: _Work) -> None:
        """Note that nothing of an event is left to send."""
        chunk = work.chunk
        if work.refused:
            self._say("is a dead letter", work)
        if chunk is None:
            self._results.append((work, _DEAD if work.refused else _DONE))
        else:
            chunk.left -= 1
            if work.refused:
                chunk.counts[_DEAD, work.reason.code if work.reason else None] += 1
                chunk.dead.append(self._letter(work))
            else:
                chunk.delivered += 1
        if self._settled:
            outcome, reason = (_DEAD, work.reason) if work.refused else (_DONE, None)
            self._settled(Settled(work.message_id, self.name, outcome, reason, work.count, work.attempts))

    def park(self, work: _Work, due_ms: int) -> None:
        """Let an event wait, and with it what its user sends later."""
        work.due_ms = due_ms
        self.held.add(work.user)
        self._say("waits", work)
        if work.chunk is None:
            self._renewed.append(work)
            self.stalled.add(work.user)
        else:
            self._pending[work.user] += 1
            work.chunk.park.append(_parked(work))
            work.chunk.left -= 1
        if self._settled:
            self._settled(Settled(work.message_id, self.name, _RETRYING, work.reason, work.count, work.attempts))

    def _say(self, what: str, work: _Work) -> None:
        """Write to the log what became of an event: ids and reasons, never what it holds."""
        if _logger.isEnabledFor(logging.INFO):
            reason = work.reason or _NO_REASON
            rule = work.items[0].rule if work.items else work.refused[-1].rule if work.refused else ""
            told = {"message_id": work.message_id, "destination": self.name, "rule": rule, "attempt": work.attempts}
            text = "%s at %s %s after %d attempts: %s (%s)"
            parts = (work.message_id, self.name, what, work.attempts, reason.message, reason.code)
            _logger.info(text, *parts, extra=told)

    def returned(self, users: Iterable[str]) -> None:
        """Note that a lane is through with parked events, whatever came of them; their users, one for each."""
        self._returned.extend(users)
        self._changed.set()

    def _letter(self, work: _Work) -> DeadLetter:
        return DeadLetter(
            destination=self.name,
            position=work.position,
            message_id=work.message_id,
            user=work.user,
            reason=work.reason or _NO_REASON,
            attempts=work.attempts,
            at_ms=self.clock(),
            event=work.event,
            items=work.refused,
            version=self._version,
        )

    # Settling

    async def _settle(self) -> bool:
        """Keep everything that has come to its end, in one go; return whether there was anything."""
        chunks = []
        while self._window and self._window[0].left == 0:
            chunks.append(self._window.popleft())
        results, self._results = self._results, []
        renewed, self._renewed = self._renewed, []
        returned, self._returned = self._returned, []
        if not (chunks or results or renewed or returned):
            return False
        settlement = self._settlement(chunks, results, renewed)
        await asyncio.to_thread(self.log.settle, self.name, settlement)
        self._retrying.subtract(returned)  # not before: the log would hand them out once more
        for user in returned:
            if not self._retrying[user]:
                del self._retrying[user]
                self.stalled.discard(user)
        for parked in (one for chunk in chunks for one in chunk.park):
            self._pending[parked.user] -= 1
        await self._release({work.user for work, _ in results})
        return True

    def _settlement(
        self, chunks: Sequence[_Chunk], results: Sequence[tuple[_Work, Outcome]], renewed: Sequence[_Work]
    ) -> Settlement:
        counts: Counter[tuple[Outcome, Code | None]] = Counter()
        inputs: dict[str, Any] = {}
        for chunk in chunks:
            counts.update(chunk.counts)
            counts[_DONE, None] += chunk.delivered
            inputs.update(chunk.inputs)
        for work, outcome in results:
            counts[outcome, work.reason.code if work.refused and work.reason else None] += 1
        return Settlement(
            position=chunks[-1].last if chunks else None,
            inputs=inputs,
            park=[*(one for chunk in chunks for one in chunk.park), *map(_parked, renewed)],
            unpark=[work.parked_id for work, _ in results],
            dead=[
                *(letter for chunk in chunks for letter in chunk.dead),
                *(self._letter(work) for work, _ in results if work.refused),
            ],
            counts=counts,
        )

    async def _release(self, users: set[str]) -> None:
        """Let users go of whom nothing waits any more."""
        for user in users & self.held:
            waits = bool(self._pending[user]) or bool(await asyncio.to_thread(self.log.behind, self.name, user, 1))
            if not waits and not self._pending[user]:  # one more may have been parked meanwhile
                self.held.discard(user)
                del self._pending[user]


def _stored(item: Item) -> StoredItem:
    return StoredItem(item.endpoint.name, item.data, item.key, item.rule)


def _parked(work: _Work) -> Parked:
    return Parked(
        id=work.parked_id,
        user=work.user,
        position=work.position,
        message_id=work.message_id,
        items=[_stored(item) for item in work.items],
        due_ms=work.due_ms,
        attempts=work.attempts,
        active_ms=work.active_ms,
        reason=work.reason,
        refused=work.refused,
        event=work.event,
    )


class _Lane:
    """Sends the events of some users, one request for each endpoint at a time."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._queue: deque[_Work] = deque()
        self._filled = asyncio.Event()
        self._closed = False
        self._works: dict[int, _Work] = {}
        self._waiting: dict[str, int] = {}

    def put(self, work: _Work) -> None:
        """Take an event to send."""
        self._queue.append(work)
        self._filled.set()

    def wake(self) -> None:
        """Look again whether there is enough to send."""
        self._filled.set()

    def close(self) -> None:
        """End `run` after what it is sending; what it has not begun stays in the log."""
        self._closed = True
        self._filled.set()

    async def run(self) -> None:
        """Send what is put, until `close`."""
        most = self._consumer.settings.events_at_once
        enough = min(most, _ENOUGH)
        while True:
            while not self._closed and len(self._queue) < (enough if self._consumer.filling else 1):
                self._filled.clear()
                await self._filled.wait()
            if self._closed:
                return
            await self._send([self._queue.popleft() for _ in range(min(most, len(self._queue)))])

    async def _send(self, works: Sequence[_Work]) -> None:
        consumer = self._consumer
        ready = []
        for work in works:
            if work.user in consumer.held and not work.parked_id:
                consumer.park(work, 0)
            elif work.user in consumer.stalled and work.parked_id:
                consumer.returned([work.user])
            else:
                ready.append(work)
        self._works = {id(item): work for work in ready for item in work.items}
        self._waiting = {}
        for wave in waves((work.user, list(work.items)) for work in ready):
            lines: dict[int, list[Request]] = {}
            for request in wave:
                lines.setdefault(id(request.endpoint), []).append(request)
            await asyncio.gather(*(self._line(line) for line in lines.values()))
        for work in ready:
            self._report(work)
        consumer.returned([work.user for work in ready if work.parked_id])

    def _report(self, work: _Work) -> None:
        if not work.items:
            self._consumer.done(work)
            return
        due = self._waiting.pop(work.user, 0)
        if work.parked_id and not due:
            return  # it stays parked as it was, behind the one before it
        self._consumer.park(work, due)

    async def _line(self, requests: Sequence[Request]) -> None:
        for request in requests:
            queue = deque([request.items])
            while queue:
                items = tuple(item for item in queue.popleft() if self._may_go(item))
                if items:
                    queue.extendleft(reversed(await self._try(items)))

    def _may_go(self, item: Item) -> bool:
        """Return whether an item is still to be sent: not when its user has to wait."""
        work = self._works[id(item)]
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
            items = tuple(item for item in items if item in self._works[id(item)].items)
            if not items:
                return []
            if whole.fate is _RETRY and not breaker.open:
                await asyncio.sleep(backoff(tried) if whole.wait is None else 0)

    def _whole(self, verdicts: Sequence[Verdict], answered: bool) -> Verdict | None:
        """Return the verdict of a request that failed as a whole; None when the vendor judged its items."""
        breaker, first = self._consumer.breaker, verdicts[0]
        if all(verdict.fate is _SETUP for verdict in verdicts):
            breaker.refused(first.reason or Reason(Code.CREDENTIALS_REFUSED, "The vendor refused the settings."))
            return first
        if any(verdict.fate is not _RETRY or verdict.own for verdict in verdicts):
            breaker.succeeded()
            self._consumer.events.quiet()
            return None
        if first.reason and first.reason.code is Code.RATE_LIMITED:
            breaker.succeeded()
            self._consumer.events.slow_down()
            breaker.pause(first.wait if first.wait is not None else 1.0)
            return first
        breaker.failed()
        if first.wait is not None:
            breaker.pause(first.wait)
        return first

    def _waited(self, items: tuple[Item, ...], whole: Verdict, tried: int, took: int) -> bool:
        """Note a failed attempt; return True when the items are given up or parked, instead of tried in place."""
        if whole.fate is _SETUP:
            return False
        for work in self._of(items):
            work.attempts += 1
            work.active_ms += took + (0 if whole.wait is not None else int(backoff(tried) * 1000))
            work.reason = whole.reason
            if self._too_old(work):
                self._refuse(work, [item for item in items if item in work.items], whole.reason)
        if self._consumer.breaker.open or tried < _IN_PLACE:
            return False
        for work in self._of(items):
            if work.items:
                self._hold(work, backoff(work.attempts) if whole.wait is None else whole.wait)
        return True

    def _too_old(self, work: _Work) -> bool:
        settings = self._consumer.settings
        old = work.active_ms >= settings.max_age_hours * 3_600_000
        return bool(old and work.attempts >= settings.min_attempts)

    def _of(self, items: Iterable[Item]) -> list[_Work]:
        return list({id(work): work for work in (self._works[id(item)] for item in items)}.values())

    def _judged(self, items: tuple[Item, ...], verdicts: Sequence[Verdict], took: int) -> list[tuple[Item, ...]]:
        """Write down what the vendor said of each item; return what has to be sent again, in order."""
        if all_delivered(verdicts):
            self._delivered(items)
            return []
        left = []
        for work in self._of(items):
            work.attempts += 1
            work.active_ms += took
        for item, verdict in zip(items, verdicts, strict=True):
            work = self._works[id(item)]
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

    def _delivered(self, items: Iterable[Item]) -> None:
        """Write down that the vendor took every item."""
        works = self._works
        last = None
        for item in items:
            work = works[id(item)]
            if len(work.items) == 1:
                work.items = []
            else:
                work.items.remove(item)
            if work is not last:
                work.attempts += 1
                last = work

    def _refuse(self, work: _Work, items: Iterable[Item], reason: Reason | None) -> None:
        for item in items:
            work.items.remove(item)
            work.refused = [*work.refused, _stored(item)]
        work.reason = reason or _NO_REASON

    def _hold(self, work: _Work, seconds: float) -> None:
        """Let a user wait: nothing of theirs goes out until then."""
        due = self._consumer.clock() + max(1, int(seconds * 1000))
        self._waiting[work.user] = max(due, self._waiting.get(work.user, 0))

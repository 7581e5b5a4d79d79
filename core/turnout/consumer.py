"""Delivery of one destination over a log: read, map, send, settle; what has to wait is parked, and blocks nobody else.

The cursor moves in chunks, when every event of a chunk is delivered, dropped, dead or parked. Users are spread over
lanes, and a lane has one request for each endpoint under way: a user's items stay in order and hold up few others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from turnout.destination import Destination, origin
from turnout.endpoint import Item
from turnout.errors import Refusal
from turnout.event import Event
from turnout.exchange import Exchange
from turnout.feed import Feed
from turnout.inputs import Inputs
from turnout.lane import Lane
from turnout.log import Accepted, DeadLetter, DeadQuery, Log, LogFull, Parked, Settlement, StoredItem
from turnout.mapping import map_event
from turnout.pacing import Breaker, RateLimit
from turnout.plan import Judgement, Plan, Settled, Violation
from turnout.reasons import Code, Outcome, Reason
from turnout.sending import Transport
from turnout.settings import Config
from turnout.trackingplan import TrackingPlan
from turnout.watchdog import TooLong, Watchdog
from turnout.work import NO_REASON, Chunk, Work, parked

__all__ = ["Consumer"]

_logger = logging.getLogger("turnout")
_PLANNED, _DONE, _DEAD, _RETRYING = Outcome.PLANNED, Outcome.DELIVERED, Outcome.DEAD, Outcome.RETRYING
_FULL_WAIT = 2.0
_LOOK_AGAIN = 1.0
"""Seconds after which it is looked again for what is due, while something that was due before is on its way."""
_LOST = Reason(
    Code.BAD_REQUEST, "The log is damaged where the items of this event waited. Replay it: it is mapped once more."
)
_MEND = "Look at them with `turnout dlq list`, then `turnout dlq replay` or `turnout dlq purge`."
_AHEAD = 64
"""Events that are decoded in one go."""
_DEATHS = 2
"""How many processes may die one after the other while they map the same event alone."""


class Consumer:
    """Takes one destination through a log, until `run` is told to stop.

    `plan` maps one event with what earlier ones left behind. `settings` is the section `[deliver]`. `clock` gives the
    time in milliseconds since 1970, `seconds` one that is never set back, for pauses and rates (default: `clock`).
    `settled` is called with each outcome. `governed` says whether the tracking plan of the feed counts here.
    """

    def __init__(
        self,
        log: Log,
        feed: Feed,
        target: Destination,
        plan: Callable[[Event | Refusal | Judgement, Inputs], Plan],
        settings: Config,
        *,
        transport: Transport | None = None,
        clock: Callable[[], int],
        seconds: Callable[[], float] | None = None,
        settled: Callable[[Settled], None] | None = None,
        governed: bool = True,
    ) -> None:
        self.name = target.id
        self.target = target
        self.log = log
        self.feed = feed
        self.settings = settings
        self.clock = clock
        seconds = seconds or (lambda: clock() / 1000)
        self.breaker = Breaker(target.id, seconds, settings.setup_wait_seconds)
        self.requests = RateLimit(target.config.get("max_requests_per_second", 0.0), seconds)
        self.events = RateLimit(target.config.get("max_events_per_second", 0.0), seconds)
        self.exchange = Exchange(target.id, target, settings.timeout_seconds, transport)
        self.held: set[str] = set()
        """The users whose events wait."""
        self.attempts = 0
        """How many requests were sent."""
        self.violations: Counter[tuple[str, str]] = Counter()
        """How often events violated the tracking plan, by reason code and mode."""
        self._plan = plan
        self._settled = settled
        self._governed = governed and feed.judges
        self._inputs = Inputs()
        self._window: deque[Chunk] = deque()
        self._position = 0
        self._results: list[tuple[Work, Outcome]] = []
        self._renewed: list[Work] = []
        self._retrying: Counter[str] = Counter()
        self.stalled: set[str] = set()
        """Users whose first parked event has to wait again: the others that were woken with it don't go out."""
        self._returned: list[str] = []
        self.filling = False
        """Whether more events are at hand than lanes have yet: they wait for full requests."""
        self.crowded = False
        """Whether so many events are on their way that nothing more is read."""
        self.sending = 0
        """How many lanes are sending."""
        self.lingers = any(endpoint.batch.linger_ms for endpoint in target.endpoints.values())
        """Whether items of an endpoint may wait for more."""
        self._letters = 0
        self._overflowing = False
        self._looked = 0
        self._careful = 0
        self._suspect = 0
        self._tried = 0
        self._pending: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._lanes = [Lane(self) for _ in range(settings.lanes)]
        self._version = origin(type(target))

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
        self._letters = await asyncio.to_thread(self.log.count_dead, DeadQuery(destination=self.name))
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
        if due is not None:
            left = (due - self.clock()) / 1000
            # What is due by now waits for lanes or the breaker, mostly; but others' time may come meanwhile.
            idle = max(0.005, min(idle, left)) if left > 0 else min(idle, _LOOK_AGAIN)
        try:
            async with asyncio.timeout(idle):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _finish(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Let requests that are on their way come to their end, with everything that was read before them."""
        begun = False
        for chunk in reversed(self._window):
            chunk.begun = begun = begun or chunk.begun
        for lane in self._lanes:
            lane.close()
        if tasks:
            await asyncio.wait(tasks, timeout=self.settings.grace_seconds)

    # Reading and mapping

    def _has_room(self) -> bool:
        on_their_way = sum(chunk.size for chunk in self._window)
        return on_their_way < int(self.settings.events_in_flight) and not self._overflows()

    def _overflows(self) -> bool:
        """Return whether there are as many dead letters as there may be: then nothing more is read."""
        most = int(self.settings.max_dead_letters)
        full = 0 < most <= self._letters
        if full is not self._overflowing:
            self._overflowing = full
            told = f"destination '{self.name}' has {self._letters:,} dead letters"
            if full:
                _logger.error("%s, as many as [deliver] max_dead_letters allows: it rests. %s", told, _MEND)
            else:
                _logger.warning("%s: it goes on", told)
        return full

    async def _read_on(self) -> bool:
        """Read and map the next chunk, when there is one and room for it."""
        if not self._has_room():
            self._crowd()
            return False
        self.crowded = False
        told = await self.feed.behind(self._position)
        if not told:
            self._let_go()
            return False
        careful = self._careful > 0
        if careful:
            told = told[:1]
            self._careful -= 1
            self._mark(told[0].position)
        chunk = Chunk(told[-1].position, size=len(told))
        works = self._all_mapped(told, chunk)
        chunk.left = len(works)
        if careful:
            self.log.mark(self.name, trying=0)
        if self.target.carries:
            chunk.inputs = self._inputs.changes(self.name)
        self._position = chunk.last
        self._window.append(chunk)
        self.filling = len(told) == self.feed.events
        self._spread(works)
        return True

    def _crowd(self) -> None:
        """Let lanes send what they have when it is worth a request, or when no other sends."""
        self.crowded = True
        for lane in self._lanes:
            lane.wake()

    def _let_go(self) -> None:
        """Let lanes send what they have."""
        if self.filling:
            self.filling = False
            for lane in self._lanes:
                lane.wake()

    def _mark(self, position: int) -> None:
        """Write down which event is being mapped: a process that dies of it finds out at its next start.

        After a death, events are mapped one by one for a while; one that two processes in a row were mapping when they
        died is not tried again. So an event that kills takes three processes with it, and a process that is killed from
        outside takes no event. It is done here and now, not in a thread: nothing else may happen between the mark and
        the mapping that it is about.
        """
        tried = self._tried if position == self._suspect else 0
        if tried < _DEATHS:
            self.log.mark(self.name, trying=position, tried=tried)

    def _all_mapped(self, told: Sequence[Accepted], chunk: Chunk) -> list[Work]:
        """Return what has to be sent for the events of a chunk; a mapping that doesn't come back is interrupted.

        The time counts for the whole chunk, so the one that is interrupted gets a second try with time of its own.
        """
        works: list[Work] = []
        with Watchdog(self.settings.mapping_seconds, map_event, TrackingPlan.judge) as watchdog:
            for one, event in self._read_ahead(told):
                try:
                    work = self._mapped(one, event, chunk)
                except TooLong:
                    watchdog.again()
                    work = self._mapped_again(one, event, chunk, watchdog)
                if work is not None:
                    works.append(work)
        return works

    def _read_ahead(self, told: Sequence[Accepted]) -> Iterator[tuple[Accepted, Event | Refusal]]:
        """Yield each record with its event; some are decoded in one go, as `Dispatcher.plans` does and says why."""
        for start in range(0, len(told), _AHEAD):
            ahead = told[start : start + _AHEAD]
            yield from zip(ahead, self.feed.decoded(ahead), strict=True)

    def _mapped_again(self, one: Accepted, event: Event | Refusal, chunk: Chunk, watchdog: Watchdog) -> Work | None:
        try:
            return self._mapped(one, event, chunk)
        except TooLong as error:
            watchdog.again()
            self._interrupted(one, event, chunk, judging=error.function is TrackingPlan.judge)
            return None

    def _interrupted(self, told: Accepted, event: Event | Refusal, chunk: Chunk, *, judging: bool) -> None:
        what = "The check against the tracking plan" if judging else f"The mapping at '{self.name}' ({self._version})"
        message = f"{what} did not come back within {self.settings.mapping_seconds:g} s."
        _logger.error("%s", message)
        self._note(self._failed(event, Reason(Code.PLUGIN_TOO_SLOW, message)), told, chunk)

    def _mapped(self, told: Accepted, event: Event | Refusal, chunk: Chunk) -> Work | None:
        """Return what has to be sent for an event; note in its chunk what needs no sending."""
        if self._suspect == told.position and self._tried >= _DEATHS:
            reason = Reason(Code.PROCESS_DIED, "Processes ended while they mapped this event; it is not tried again.")
            plan = self._failed(event, reason)
        else:
            plan = self._plan(self.feed.judged(told, event) if self._governed else event, self._inputs)
            if plan.notes:
                self._count(plan)
        if plan.outcome is not _PLANNED:
            self._note(plan, told, chunk)
            return None
        items = plan.items
        return Work(
            plan.user, told.position, plan.message_id or "", items, chunk, 0, 0, 0, (), None, 0, len(items), told.data
        )

    def _count(self, plan: Plan) -> None:
        for note in plan.notes:
            if isinstance(note, Violation):
                self.violations[note.code.value, note.mode] += 1

    def _failed(self, event: Event | Refusal, reason: Reason) -> Plan:
        """Return the plan of an event that is not mapped to its end."""
        if isinstance(event, Refusal):
            return Plan(None, self.name, Outcome.FAILED, reason)
        user = event.user_id or event.anonymous_id or ""
        return Plan(event.message_id, self.name, Outcome.FAILED, reason, [], user)

    def _note(self, plan: Plan, told: Accepted, chunk: Chunk) -> None:
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

    def _spread(self, works: Iterable[Work]) -> None:
        lanes = self._lanes
        count = len(lanes)
        for work in works:
            # A user has one lane as long as this process lives; a restart begins with empty lanes.
            lanes[hash(work.user) % count].queue.append(work)
        for lane in lanes:
            lane.wake()

    # Parked events

    async def _wake_parked(self) -> bool:
        """Put the parked events whose time has come back on their way, each user's in order."""
        if self.clock() - self._looked >= 1000:
            # `turnout dlq replay` parks events from another process.
            self._looked = self.clock()
            if self._overflowing:
                self._letters = await asyncio.to_thread(self.log.count_dead, DeadQuery(destination=self.name))
            self.held |= await asyncio.to_thread(self.log.waiting_users, self.name)
        if not self.held or (self.breaker.open and self._busy()):
            return False
        heads = await asyncio.to_thread(self.log.due, self.name, self.clock())
        woken = [head.user for head in heads if not self._retrying[head.user]]
        for user in woken:
            queue = await asyncio.to_thread(self.log.behind, self.name, user)
            self._retrying[user] += len(queue)
            self._spread(list(self._restored(queue)))
        return bool(woken)

    def _busy(self) -> bool:
        """Return whether a lane has something to send; with none, nobody finds out that a vendor answers again."""
        return self.sending > 0 or any(lane.queue for lane in self._lanes)

    def _restored(self, queue: Sequence[Parked]) -> Iterator[Work]:
        for entry in queue:
            work = Work(
                entry.user,
                entry.position,
                entry.message_id,
                [],
                parked_id=entry.id,
                attempts=entry.attempts,
                active_ms=entry.active_ms,
                refused=tuple(entry.refused),
                reason=_LOST if entry.lost else entry.reason,
                count=len(entry.items) + len(entry.refused),
                event=entry.event,
                lost=entry.lost,
            )
            for item in entry.items:
                self._take_back(work, item)
            if work.items:
                yield work
            else:
                self.done(work)
                self.returned([work.user])

    def _take_back(self, work: Work, item: StoredItem) -> None:
        """Bind an item to its endpoint again; one whose endpoint is gone can't be sent any more."""
        endpoint = self.target.endpoints.get(item.endpoint)
        if endpoint is not None:
            work.items.append(Item(endpoint, item.data, item.key, item.rule))
            return
        message = f"{self._version} has no endpoint '{item.endpoint}' any more."
        work.reason = Reason(Code.ENDPOINT_GONE, message)
        work.refused = (*work.refused, item)

    # What lanes report

    def all_done(self, works: Iterable[Work]) -> None:
        """Note that nothing of these events is left to send."""
        for work in works:
            chunk = work.chunk
            if chunk is None or work.refused or work.lost or self._settled:
                self.done(work)
            else:
                chunk.left -= 1
                chunk.delivered += 1

    def done(self, work: Work) -> None:
        """Note that nothing of an event is left to send."""
        chunk = work.chunk
        if work.dead:
            self._say("is a dead letter", work)
        if chunk is None:
            self._results.append((work, _DEAD if work.dead else _DONE))
        else:
            chunk.left -= 1
            if work.refused:
                chunk.counts[_DEAD, work.reason.code if work.reason else None] += 1
                chunk.dead.append(self._letter(work))
            else:
                chunk.delivered += 1
        if self._settled:
            outcome, reason = (_DEAD, work.reason) if work.dead else (_DONE, None)
            self._settled(Settled(work.message_id, self.name, outcome, reason, work.count, work.attempts))

    def park(self, work: Work, due_ms: int) -> None:
        """Let an event wait, and with it what its user sends later."""
        work.due_ms = due_ms
        self.held.add(work.user)
        self._say("waits", work)
        if work.chunk is None:
            self._renewed.append(work)
            self.stalled.add(work.user)
        else:
            self._pending[work.user] += 1
            work.chunk.park.append(parked(work))
            work.chunk.left -= 1
        if self._settled:
            self._settled(Settled(work.message_id, self.name, _RETRYING, work.reason, work.count, work.attempts))

    def _say(self, what: str, work: Work) -> None:
        """Write to the log what became of an event: ids and reasons, never what it holds."""
        if _logger.isEnabledFor(logging.INFO):
            reason = work.reason or NO_REASON
            rule = work.items[0].rule if work.items else work.refused[-1].rule if work.refused else ""
            told = {"message_id": work.message_id, "destination": self.name, "rule": rule, "attempt": work.attempts}
            text = "%s at %s %s after %d attempts: %s (%s)"
            parts = (work.message_id, self.name, what, work.attempts, reason.message, reason.code)
            _logger.info(text, *parts, extra=told)

    def returned(self, users: Iterable[str]) -> None:
        """Note that a lane is through with parked events, whatever came of them; their users, one for each."""
        self._returned.extend(users)
        self._changed.set()

    def _letter(self, work: Work) -> DeadLetter:
        return DeadLetter(
            destination=self.name,
            position=work.position,
            message_id=work.message_id,
            user=work.user,
            reason=work.reason or NO_REASON,
            attempts=work.attempts,
            at_ms=self.clock(),
            event=work.event,
            items=[*work.refused],
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
        await self._keep(settlement)
        self._letters += len(settlement.dead)
        self._retrying.subtract(returned)  # not before: the log would hand them out once more
        for user in returned:
            if not self._retrying[user]:
                del self._retrying[user]
                self.stalled.discard(user)
        for one in (one for chunk in chunks for one in chunk.park):
            self._pending[one.user] -= 1
        await self._release({work.user for work, _ in results})
        return True

    async def _keep(self, settlement: Settlement) -> None:
        """Keep a settlement; while the disk is full, wait for room: without it nothing else may go out."""
        while True:
            try:
                await asyncio.to_thread(self.log.settle, self.name, settlement)
                return
            except LogFull as error:
                _logger.error("destination '%s' waits: %s", self.name, error)
                await asyncio.sleep(_FULL_WAIT)

    def _settlement(
        self, chunks: Sequence[Chunk], results: Sequence[tuple[Work, Outcome]], renewed: Sequence[Work]
    ) -> Settlement:
        counts: Counter[tuple[Outcome, Code | None]] = Counter()
        inputs: dict[str, Any] = {}
        for chunk in chunks:
            counts.update(chunk.counts)
            counts[_DONE, None] += chunk.delivered
            inputs.update(chunk.inputs)
        for work, outcome in results:
            counts[outcome, work.reason.code if work.dead and work.reason else None] += 1
        return Settlement(
            position=chunks[-1].last if chunks else None,
            inputs=inputs,
            park=[*(one for chunk in chunks for one in chunk.park), *map(parked, renewed)],
            unpark=[work.parked_id for work, _ in results],
            dead=[
                *(letter for chunk in chunks for letter in chunk.dead),
                *(self._letter(work) for work, _ in results if work.dead),
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

"""Delivery of plans: pack into requests, send, read the answers item by item, settle each event's outcome."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from types import TracebackType

import msgspec

from turnout.answer import Fate, Verdict
from turnout.destination import Destination
from turnout.endpoint import Item
from turnout.exchange import LONGEST_WAIT, Exchange, again, backoff
from turnout.packing import Request, pack, waves
from turnout.plan import Plan, Settled
from turnout.reasons import Code, Outcome, Reason
from turnout.sending import Transport
from turnout.settings import Config

__all__ = ["Deliverer"]


class _State(msgspec.Struct):
    """How far one item has come: attempts, and why it was given up (None: it was delivered or is on its way).

    Of its attempts, `retries` are those after which it had to wait: halving a request takes many more, and none of
    those that an item may have.
    """

    attempts: int = 0
    retries: int = 0
    reason: Reason | None = None


class Deliverer:
    """Delivers plans now, from memory; use it with `async with`.

    `settings` is the `[send]` section: `timeout_seconds` an answer, `attempts` for each item.
    """

    def __init__(self, settings: Config, transport: Transport | None = None) -> None:
        self._settings = settings
        self._transport = transport
        self._lanes: dict[str, _Lane] = {}

    async def __aenter__(self) -> Deliverer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lane in self._lanes.values():
            await lane.sender.__aexit__(kind, error, trace)

    async def deliver(self, taken: Sequence[Sequence[Plan]]) -> AsyncIterator[tuple[Settled, Plan]]:
        """Yield the outcome of each plan, in order; `taken` holds a list for each event of a chunk."""
        states = await self._deliver_chunk([plan for row in taken for plan in row])
        for row in taken:
            for plan in row:
                yield _settled(plan, states), plan

    async def _deliver_chunk(self, plans: Sequence[Plan]) -> dict[int, _State]:
        states: dict[int, _State] = {id(item): _State() for plan in plans for item in plan.items}
        by_destination: dict[str, list[Plan]] = {}
        for plan in plans:
            if plan.items:
                by_destination.setdefault(plan.destination, []).append(plan)
        work = []
        for name, mine in by_destination.items():
            if name not in self._lanes:
                self._lanes[name] = _Lane(name, mine[0].target, self._settings, self._transport)
                await self._lanes[name].sender.__aenter__()
            work.append(self._lanes[name].deliver(mine, states))
        await asyncio.gather(*work)
        return states


def _settled(plan: Plan, states: dict[int, _State]) -> Settled:
    if plan.outcome is not Outcome.PLANNED:
        return Settled(plan.message_id, plan.destination, plan.outcome, plan.reason)
    mine = [states[id(item)] for item in plan.items]
    attempts = max(state.attempts for state in mine)
    reason = next((state.reason for state in mine if state.reason), None)
    outcome = Outcome.DEAD if reason else Outcome.DELIVERED
    return Settled(plan.message_id, plan.destination, outcome, reason, len(mine), attempts)


class _Lane:
    """The way to one destination: its own client, its own trouble."""

    def __init__(self, name: str, target: Destination | None, settings: Config, transport: Transport | None) -> None:
        self.exchange = Exchange(name, target, settings["timeout_seconds"], transport)
        self.sender = self.exchange.sender
        self._attempts: int = settings["attempts"]
        self._plans: Sequence[Plan] = ()
        self._setup: dict[int, Reason] = {}
        self._down = False

    async def deliver(self, plans: Sequence[Plan], states: dict[int, _State]) -> None:
        """Send the items of these plans; each item's state says what became of it."""
        self._plans = plans
        for wave in waves((plan.user, plan.items) for plan in plans):
            lines: dict[int, list[Request]] = {}
            for request in wave:
                lines.setdefault(id(request.endpoint), []).append(request)
            await asyncio.gather(*(self._line(line, states) for line in lines.values()))

    async def _line(self, requests: Sequence[Request], states: dict[int, _State]) -> None:
        """Send requests of one endpoint; users who are throttled alone wait until the others are through."""
        queue = deque(request.items for request in requests)
        held = _Held(self._plans)
        while queue or held.items:
            if not queue:
                await asyncio.sleep(held.wait)
                queue.extend(request.items for request in pack(held.items))
                held = _Held(self._plans)
            items = held.without(queue.popleft())
            if items:
                queue.extendleft(reversed(list(await self._try(items, states, held))))

    async def _try(self, items: tuple[Item, ...], states: dict[int, _State], held: _Held) -> Iterator[tuple[Item, ...]]:
        """Send these items once and return what has to be sent next, in order."""
        endpoint = items[0].endpoint
        # Endpoints may have keys of their own: one that was refused says nothing about the others.
        if (refused := self._setup.get(id(endpoint))) is not None:
            for item in items:
                states[id(item)].reason = refused
            return iter(())
        verdicts, answered = await self.exchange.attempt(items)
        self._down = self._down and not answered
        for item in items:
            states[id(item)].attempts += 1
        wait = self._judge(items, verdicts, states)
        retried = [item for item, verdict in zip(items, verdicts, strict=True) if verdict.fate is Fate.RETRY]
        if retried and all(verdict.own for verdict in verdicts if verdict.fate is Fate.RETRY):
            held.hold(retried, wait)
        elif wait > 0:
            await asyncio.sleep(wait)
        left = tuple(item for item, verdict in zip(items, verdicts, strict=True) if _open(item, verdict, states))
        return again(left, split=any(verdict.fate is Fate.SPLIT for verdict in verdicts))

    def _judge(self, items: Iterable[Item], verdicts: Iterable[Verdict], states: dict[int, _State]) -> float:
        """Write down what is final and return the seconds to wait before what is left."""
        wait = 0.0
        limit = 1 if self._down else self._attempts
        for item, verdict in zip(items, verdicts, strict=True):
            state = states[id(item)]
            if verdict.fate in (Fate.REFUSED, Fate.SETUP):
                state.reason = verdict.reason
            elif verdict.fate is Fate.RETRY:
                state.retries += 1
                asked = backoff(state.retries) if verdict.wait is None else verdict.wait
                if state.retries >= limit or asked > LONGEST_WAIT:
                    state.reason = verdict.reason
                    unreached = verdict.reason and verdict.reason.code in (Code.UNREACHABLE, Code.TIMED_OUT)
                    self._down = self._down or bool(unreached)
                else:
                    wait = max(wait, asked)
            if verdict.fate is Fate.SETUP and state.reason:
                self._setup[id(item.endpoint)] = state.reason
        return wait


class _Held:
    """Items of users who have to wait, in their order, and for how many seconds."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        self.items: list[Item] = []
        self.wait = 0.0
        self._plans = plans
        self._users: dict[int, str] = {}
        self._waiting: set[str] = set()

    def hold(self, items: Iterable[Item], wait: float) -> None:
        """Let the users of these items wait."""
        self._users = self._users or {id(item): plan.user for plan in self._plans for item in plan.items}
        self._waiting.update(self._users[id(item)] for item in items)
        self.wait = max(self.wait, wait)

    def without(self, items: tuple[Item, ...]) -> tuple[Item, ...]:
        """Return the items that may go; keep those that have to wait."""
        if not self._waiting:
            return items
        self.items += [item for item in items if self._users[id(item)] in self._waiting]
        return tuple(item for item in items if self._users[id(item)] not in self._waiting)


def _open(item: Item, verdict: Verdict, states: dict[int, _State]) -> bool:
    return verdict.fate in (Fate.RETRY, Fate.RESEND, Fate.SPLIT) and states[id(item)].reason is None

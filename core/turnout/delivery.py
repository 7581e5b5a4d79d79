"""Delivery of plans: pack into requests, send, read the answers item by item, settle each event's outcome."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from types import TracebackType

import msgspec

from turnout.answer import Answer, Fate, Verdict
from turnout.destination import Destination, origin
from turnout.endpoint import Item
from turnout.packing import Request, pack, waves
from turnout.plan import Plan, Settled
from turnout.reasons import Code, Outcome, Reason
from turnout.sending import Sender, Transport
from turnout.settings import Config, redact

__all__ = ["Deliverer"]

_logger = logging.getLogger("turnout")
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 60.0


class _State(msgspec.Struct):
    """How far one item has come: attempts, and why it was given up (None: it was delivered or is on its way)."""

    attempts: int = 0
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

    def __init__(
        self,
        name: str,
        target: Destination | None,
        settings: Config,
        transport: Transport | None,
    ) -> None:
        self.name = name
        self._secrets = target.config.secret_values if target else frozenset()
        self._origin = origin(type(target)) if target else "unknown"
        self.sender = Sender(settings["timeout_seconds"], transport)
        self._attempts: int = settings["attempts"]
        self._setup: dict[int, Reason] = {}
        self._down = False

    async def deliver(self, plans: Iterable[Plan], states: dict[int, _State]) -> None:
        """Send the items of these plans; each item's state says what became of it."""
        for wave in waves((plan.user, plan.items) for plan in plans):
            lines: dict[int, list[Request]] = {}
            for request in wave:
                lines.setdefault(id(request.endpoint), []).append(request)
            await asyncio.gather(*(self._line(line, states) for line in lines.values()))

    async def _line(self, requests: Sequence[Request], states: dict[int, _State]) -> None:
        for request in requests:
            queue = deque([request.items])
            while queue:
                queue.extendleft(reversed(list(await self._try(queue.popleft(), states))))

    async def _try(self, items: tuple[Item, ...], states: dict[int, _State]) -> Iterator[tuple[Item, ...]]:
        """Send these items once and return what has to be sent next, in order."""
        endpoint = items[0].endpoint
        # Endpoints may have keys of their own: one that was refused says nothing about the others.
        if (refused := self._setup.get(id(endpoint))) is not None:
            for item in items:
                states[id(item)].reason = refused
            return iter(())
        answer = await self.sender.send(Request(endpoint, items))
        self._down = self._down and isinstance(answer, Reason)
        for item in items:
            states[id(item)].attempts += 1
        verdicts = _progressing(self._read(items, answer))
        wait = self._judge(items, verdicts, states)
        if wait > 0:
            await asyncio.sleep(wait)
        return _again(items, verdicts, states)

    def _read(self, items: tuple[Item, ...], answer: Answer | Reason) -> Sequence[Verdict]:
        if isinstance(answer, Reason):
            return [Verdict(Fate.RETRY, answer)] * len(items)
        try:
            verdicts = items[0].endpoint.read(answer, len(items))
        except Exception as error:
            fault = f"raised {type(error).__name__}: {error} ({answer.words()})"
            return self._misread(Code.PLUGIN_RAISED, fault, len(items))
        if not isinstance(verdicts, Sequence) or not all(isinstance(one, Verdict) for one in verdicts):
            fault = f"gave no list of verdicts ({answer.words()})"
            return self._misread(Code.PLUGIN_BAD_RESULT, fault, len(items))
        if len(verdicts) != len(items):
            fault = f"gave {len(verdicts)} verdicts for {len(items)} items ({answer.words()})"
            return self._misread(Code.PLUGIN_BAD_RESULT, fault, len(items))
        return verdicts

    def _misread(self, code: Code, fault: str, count: int) -> list[Verdict]:
        message = self._redacted(f"Reading the answer of '{self.name}' ({self._origin}) {fault}")
        _logger.error("%s", message)
        return [Verdict(Fate.REFUSED, Reason(code, message))] * count

    def _redacted(self, text: str) -> str:
        # A lone surrogate would break whatever writes the reason.
        return redact(text, self._secrets).encode("utf-8", "replace").decode()

    def _judge(self, items: Iterable[Item], verdicts: Iterable[Verdict], states: dict[int, _State]) -> float:
        """Write down what is final and return the seconds to wait before what is left."""
        wait = 0.0
        limit = 1 if self._down else self._attempts
        for item, verdict in zip(items, verdicts, strict=True):
            state = states[id(item)]
            if verdict.fate in (Fate.REFUSED, Fate.SETUP):
                state.reason = self._final(verdict, Code.VENDOR_REFUSED, "refused it")
            elif verdict.fate is Fate.RETRY:
                asked = _backoff(state.attempts) if verdict.wait is None else verdict.wait
                if state.attempts >= limit or asked > _LONGEST_WAIT:
                    state.reason = self._final(verdict, Code.VENDOR_UNAVAILABLE, "did not take it")
                    self._down = self._down or state.reason.code in (Code.UNREACHABLE, Code.TIMED_OUT)
                else:
                    wait = max(wait, asked)
            if verdict.fate is Fate.SETUP and state.reason:
                self._setup[id(item.endpoint)] = state.reason
        return wait

    def _final(self, verdict: Verdict, code: Code, what: str) -> Reason:
        """Return why an item is given up, in the vendor's words without our secrets."""
        reason = verdict.reason or Reason(code, f"{self.name} {what}.")
        return msgspec.structs.replace(reason, message=self._redacted(reason.message))


def _progressing(verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
    """Return verdicts that can't go on for ever: what asks for the same request again counts as a retry."""
    fates = {verdict.fate for verdict in verdicts}
    if fates == {Fate.RESEND}:
        return [Verdict(Fate.RETRY)] * len(verdicts)
    if fates == {Fate.SPLIT} and len(verdicts) == 1:
        message = "The vendor finds a request with this item alone too large."
        return [Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, message))]
    return verdicts


def _backoff(attempts: int) -> float:
    """Return a random wait with full jitter, so that many senders don't come back at once."""
    return random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2.0**attempts))  # noqa: S311


def _again(
    items: tuple[Item, ...], verdicts: Sequence[Verdict], states: dict[int, _State]
) -> Iterator[tuple[Item, ...]]:
    """Yield the requests that have to be sent again, in the order of their items."""
    left = tuple(item for item, verdict in zip(items, verdicts, strict=True) if _open(item, verdict, states))
    if len(left) > 1 and any(verdict.fate is Fate.SPLIT for verdict in verdicts):
        half = len(left) // 2
        yield left[:half]
        yield left[half:]
    elif left:
        for request in pack(left):
            yield request.items


def _open(item: Item, verdict: Verdict, states: dict[int, _State]) -> bool:
    return verdict.fate in (Fate.RETRY, Fate.RESEND, Fate.SPLIT) and states[id(item)].reason is None

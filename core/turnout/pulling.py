"""Pulling: what a source fetches goes to a sink, and how far it came is remembered once the sink has it.

    pull(Flagsmith({"environment_key": "…"}), dispatcher.accept, {"identifier": ["u-1"]}, save=print)

A sink is a function of a list of events that returns when they are safe: `dispatcher.accept`, `dispatcher.send`,
`kept.extend`. When it raises, the pull ends, and the next one begins again behind the last checkpoint.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from turnout._json import encode, strict
from turnout.dispatcher import Dispatcher
from turnout.errors import ConfigError, FetchError, Refusal, TurnoutError
from turnout.inputs import Inputs
from turnout.plan import Plan, Settled
from turnout.reasons import Code, Outcome
from turnout.sending import Fetcher
from turnout.settings import redact
from turnout.source import Checkpoint, Found, Source, stamped
from turnout.strictjson import load_object

__all__ = ["Accepting", "Delivering", "Pulled", "Sink", "StateFile", "pull", "pull_async"]

_logger = logging.getLogger("turnout")

Sink = Callable[[list[dict[str, Any]]], object]
"""Takes events and returns when they are safe; it may be asynchronous."""

_AT_ONCE = 500
"""Events that are handed to the sink together at most."""
_NOT_FINAL = frozenset(
    {Code.VENDOR_UNAVAILABLE, Code.RATE_LIMITED, Code.CREDENTIALS_REFUSED, Code.UNREACHABLE, Code.TIMED_OUT}
)
"""Why an event was not delivered that may well be delivered another time."""


class Pulled(msgspec.Struct):
    """What a pull has done."""

    events: int = 0
    """How many events the sink has."""
    refused: int = 0
    """How many parts of what was fetched could not be read."""
    state: dict[str, Any] = {}
    """The state of the last checkpoint whose events the sink has: what the next pull begins with."""


def pull(source: Source, sink: Sink, options: Mapping[str, Any] | None = None, **given: Any) -> Pulled:
    """Fetch what there is, hand it to `sink`, and return what was done; `given` as for `pull_async`.

    Raises `TurnoutError` inside a running event loop; use `pull_async` there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(pull_async(source, sink, options, **given))
    raise TurnoutError("pull() can't wait inside a running event loop. Use: await pull_async(source, sink)")


async def pull_async(
    source: Source,
    sink: Sink,
    options: Mapping[str, Any] | None = None,
    *,
    state: Mapping[str, Any] | None = None,
    save: Callable[[dict[str, Any]], object] | None = None,
    refused: Callable[[Refusal], object] | None = None,
    progressed: Callable[[Pulled, Checkpoint | None], object] | None = None,
    fetch: Fetcher | None = None,
) -> Pulled:
    """Do the same from asyncio.

    `options` are those of the source's `options` schema. `state` is what the last pull has left; `save` is called with
    a new one when the sink has all events before it, `refused` for each part that could not be read, `progressed` when
    something came. `fetch` replaces the `Fetcher`, which has its timeout and transport. Raises `SettingsError` for
    wrong options, `FetchError` when a vendor does not hand out what it is asked for, and what the sink raises.
    """
    if not source.pulls():
        raise ConfigError(
            f"The source '{source.id}' fetches nothing by itself: hand it payloads, as turnout read does."
        )
    chosen = source.options.configure(options or {}, owner=f"source '{source.id}'", environ={})
    made = Fetcher(secrets=source.config.secret_values) if fetch is None else fetch
    run = _Run(source, sink, state or {}, save, refused, progressed)
    async with made as fetcher:
        found = source.pull(fetcher, chosen, dict(run.pulled.state))
        try:
            await run.take(found)
        finally:
            if inspect.isasyncgen(found):
                await found.aclose()
    return run.pulled


class _Run:
    """One pull: what has come and is not at the sink yet."""

    def __init__(
        self,
        source: Source,
        sink: Sink,
        state: Mapping[str, Any],
        save: Callable[[dict[str, Any]], object] | None,
        refused: Callable[[Refusal], object] | None,
        progressed: Callable[[Pulled, Checkpoint | None], object] | None,
    ) -> None:
        self.pulled = Pulled(state=dict(state))
        self._source, self._sink, self._save = source, sink, save
        self._refused, self._progressed = refused, progressed
        self._waiting: list[dict[str, Any]] = []

    async def take(self, found: AsyncIterator[Found | Checkpoint]) -> None:
        """Take everything that is fetched."""
        while (one := await self._next(found)) is not None:
            if isinstance(one, Checkpoint):
                await self._checkpoint(one)
            else:
                await self._event(one)
        await self._flush()

    async def _next(self, found: AsyncIterator[Found | Checkpoint]) -> Found | Checkpoint | None:
        try:
            return await anext(found, None)
        except Refusal as refusal:
            raise self._error(str(refusal)) from None
        except TurnoutError:
            raise
        except Exception as error:
            _logger.debug("The traceback:", exc_info=True)
            raise self._error(f"it raised {type(error).__name__}: {error}") from None

    def _error(self, what: str) -> FetchError:
        return FetchError(
            redact(f"The source '{self._source.id}' can't go on: {what}", self._source.config.secret_values)
        )

    async def _event(self, found: Found) -> None:
        event = found if isinstance(found, Refusal) else stamped(self._source, found)
        if isinstance(event, Refusal):
            self.pulled.refused += 1
            if self._refused:
                self._refused(event)
            return
        self._waiting.append(dict(event))
        if len(self._waiting) >= _AT_ONCE:
            await self._flush()

    async def _checkpoint(self, reached: Checkpoint) -> None:
        try:
            state = strict(reached.state)
        except Refusal as refusal:
            raise self._error(f"its state is no JSON: {refusal}") from None
        await self._flush()
        if self._save:
            self._save(state)
        self.pulled.state = state
        self._tell(reached)

    async def _flush(self) -> None:
        events, self._waiting = self._waiting, []
        if events:
            done = self._sink(events)
            if inspect.isawaitable(done):
                await done
            self.pulled.events += len(events)
            self._tell(None)

    def _tell(self, reached: Checkpoint | None) -> None:
        if self._progressed:
            self._progressed(self.pulled, reached)


class Accepting:
    """A sink that puts events into the log of a dispatcher; `refused` is called for each that can't be accepted."""

    def __init__(self, dispatcher: Dispatcher, refused: Callable[[Refusal], object]) -> None:
        self._dispatcher, self._refused = dispatcher, refused

    async def __call__(self, events: list[dict[str, Any]]) -> None:
        """Return when the events are durably in the log; raises as `Dispatcher.accept` does."""
        for receipt in await self._dispatcher.accept_async(events):
            if receipt.reason is not None:
                self._refused(Refusal(receipt.reason.code, receipt.reason.message, receipt.reason.path))


class Delivering:
    """A sink that delivers events now; `settled` is called with each outcome and its plan."""

    def __init__(self, dispatcher: Dispatcher, settled: Callable[[Settled, Plan], object]) -> None:
        self._dispatcher, self._settled = dispatcher, settled
        self._inputs = Inputs()

    async def __call__(self, events: list[dict[str, Any]]) -> None:
        """Return when each event has its outcome.

        What a vendor refuses is final. Raises `TurnoutError` when one could not be delivered for a reason that may
        pass: a vendor that is down, asks to slow down, or refuses the key.
        """
        missed: list[Settled] = []
        rows = (row for event in events for row in self._dispatcher.plan_body(event, "", self._inputs))
        async for outcome, plan in self._dispatcher.stream_plans(rows):
            self._settled(outcome, plan)
            if outcome.outcome is Outcome.DEAD and outcome.reason and outcome.reason.code in _NOT_FINAL:
                missed.append(outcome)
        if missed:
            first = missed[0]
            why = first.reason.message if first.reason else ""
            raise TurnoutError(f"{len(missed):,} events could not be delivered, as to '{first.destination}': {why}")


class StateFile:
    """The file in which the state of a source's pulls is kept, from one to the next: `{"source": id, "state": {…}}`."""

    def __init__(self, path: Path, source: str) -> None:
        self.path, self._source = path, source

    def load(self) -> dict[str, Any]:
        """Return the state, empty when there is no file.

        Raises `ConfigError` when it is something else, or can't be replaced later.
        """
        if not os.access(self.path.parent, os.W_OK):
            raise ConfigError(f"{self.path}: can't be written: its folder is missing or may not be written to.")
        if not self.path.exists():
            return {}
        told = load_object(self.path, "state")
        state = told.get("state")
        if not isinstance(state, dict):
            raise ConfigError(f"{self.path}: is no state of a source. Name another file with --state, or move it away.")
        if told.get("source") != self._source:
            other = json.dumps(told.get("source"))
            raise ConfigError(f"{self.path}: is the state of the source {other}, not of '{self._source}'.")
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file in one step, so that a crash leaves the old state or the new one."""
        text = encode({"source": self._source, "state": dict(state)})
        try:
            number, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(text + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self.path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)
                raise
        except OSError as error:
            raise ConfigError(f"{self.path}: the state can't be written: {error.strerror}.") from None

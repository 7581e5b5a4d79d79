"""Live streams: what comes one by one goes out in batches, as long as a destination lets it wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from turnout import ITEMS, Batch, Config, Destination, Endpoint, Event, Item, Settings, json_body, rule
from turnout.accepting import Acceptor, now_ms
from turnout.config import DeliverSettings
from turnout.deliver import Delivery
from turnout.settings import integer
from turnout.sqlite_log import SqliteLog

Make = Callable[..., dict[str, Any]]


class LazySettings(Settings):
    """How long it waits."""

    linger = integer("Milliseconds.", default=3_600_000)
    size = integer("Items.", default=100)


class Lazy(Destination):
    """Collects before it sends."""

    name = "Lazy"
    settings = LazySettings
    events = Endpoint(
        "POST",
        "https://acme.example/v1/p-1/events",
        body=json_body({"events": ITEMS}),
        batch=lambda config: Batch(items=config.size, linger_ms=config.linger),
    )

    @rule("track")
    def tracked(self, event: Event) -> Item:
        """An event."""
        return self.events.item({"id": event.message_id})


class Tap:
    """An async stream that a test feeds; it is told when everything fed so far was taken."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    async def events(self) -> AsyncIterator[Any]:
        """Yield what is fed, until None."""
        while (event := await self.queue.get()) is not None:
            yield event
            self.queue.task_done()

    async def feed(self, *events: Any) -> None:
        """Feed events, and wait until the stream has asked for more."""
        for event in events:
            self.queue.put_nowait(event)
        await self.queue.join()


def run(bench: Any, destination: Destination, steps: Callable[[Any, Tap, list[Any]], Any]) -> list[str]:
    """Stream while `steps` feeds the tap; return the ids that were settled."""

    async def main() -> list[str]:
        dispatcher, tap, settled = bench.dispatcher(destination), Tap(), []

        async def consume() -> None:
            async for outcome in dispatcher.stream(tap.events()):
                settled.append(outcome.message_id)

        consumer = asyncio.ensure_future(consume())
        await steps(dispatcher, tap, settled)
        tap.queue.put_nowait(None)
        await consumer
        return settled

    return asyncio.run(main())


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that other tasks bring about."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.001)


def test_what_lingers_goes_out_at_flush(bench: Any, call: Make) -> None:
    """Nothing is sent until the host flushes; then all of it, in one request."""

    async def steps(dispatcher: Any, tap: Tap, settled: list[Any]) -> None:
        await tap.feed(call("m-1"), call("m-2"))
        assert bench.sent() == []
        dispatcher.flush("lazy")
        await until(lambda: len(settled) == 2)
        assert bench.sent() == [["m-1", "m-2"]]
        dispatcher.flush()
        await tap.feed(call("m-3"))
        assert bench.sent() == [["m-1", "m-2"]]

    assert run(bench, Lazy({}), steps) == ["m-1", "m-2", "m-3"]
    assert bench.sent() == [["m-1", "m-2"], ["m-3"]]


def test_a_full_batch_goes_out_at_once(bench: Any, call: Make) -> None:
    """The number of items that the endpoint declares ends the wait."""

    async def steps(dispatcher: Any, tap: Tap, settled: list[Any]) -> None:
        await tap.feed(call("m-1"), call("m-2"), call("m-3"))
        await until(lambda: len(settled) == 2)

    assert run(bench, Lazy({"size": 2}), steps) == ["m-1", "m-2", "m-3"]
    assert bench.sent() == [["m-1", "m-2"], ["m-3"]]


@pytest.mark.parametrize("linger", [0, 5])
def test_what_has_waited_long_enough_goes_out(bench: Any, call: Make, linger: int) -> None:
    """After `linger_ms`, at once when there is none; no further event is needed."""

    async def steps(dispatcher: Any, tap: Tap, settled: list[Any]) -> None:
        await tap.feed(call("m-1"))
        await until(lambda: settled == ["m-1"])

    assert run(bench, Lazy({"linger": linger}), steps) == ["m-1"]


def test_outcomes_without_delivery_wait_for_nobody(bench: Any, call: Make) -> None:
    """A dropped event is settled although nothing is sent."""

    async def steps(dispatcher: Any, tap: Tap, settled: list[Any]) -> None:
        await tap.feed(call("m-1", "page"))
        await until(lambda: settled == ["m-1"])

    assert run(bench, Lazy({}), steps) == ["m-1"]
    assert bench.sent() == []


def test_flush_without_a_stream_sends_nothing(bench: Any) -> None:
    """An empty queue makes no request."""
    bench.dispatcher(Lazy({})).flush()
    assert bench.sent() == []


def test_an_abandoned_stream_ends_cleanly(bench: Any, call: Make) -> None:
    """A consumer that stops early leaves no task behind."""

    async def main() -> None:
        tap = Tap()
        for number in range(3):
            tap.queue.put_nowait(call(f"m-{number}"))
        stream = bench.dispatcher(Lazy({"linger": 0, "size": 1})).stream(tap.events())
        assert (await anext(stream)).message_id == "m-0"
        await stream.aclose()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})

    asyncio.run(main())


def test_limits_may_depend_on_settings() -> None:
    """`batch` may be a function of the settings."""
    assert Lazy({"size": 7, "linger": 8}).events.batch == Batch(items=7, linger_ms=8)
    assert Lazy.events.limits(Config({"size": 1, "linger": 2})) == Batch(items=1, linger_ms=2)


def test_events_of_a_log_wait_for_each_other_too(bench: Any, call: Make, tmp_path: Path) -> None:
    """Until a batch is full, or until its time has come; when delivery stops, they stay in the log."""
    one_lane = DeliverSettings.configure({"lanes": 1, "poll_seconds": 0.01}, owner="[deliver]")

    async def deliver(destination: Destination, ids: Sequence[str], requests: int) -> None:
        dispatcher, stop = bench.dispatcher(destination, deliver=one_lane), asyncio.Event()
        with closing(SqliteLog(tmp_path / "turnout.log")) as log:
            with Acceptor(log, dispatcher.log_settings, now_ms) as acceptor:
                acceptor.accept([dispatcher.normaliser.event(call(name)) for name in ids])
            task = asyncio.create_task(Delivery(dispatcher, log).run(stop))
            await until(lambda: len(bench.sent()) == requests)
            await asyncio.sleep(0.05)
            stop.set()
            await task

    asyncio.run(deliver(Lazy({"size": 4}), ["m-1", "m-2", "m-3"], 0))
    assert bench.sent() == []
    asyncio.run(deliver(Lazy({"size": 4}), ["m-4"], 1))
    asyncio.run(deliver(Lazy({"linger": 20}), ["m-5", "m-6"], 2))
    assert bench.sent() == [["m-1", "m-2", "m-3", "m-4"], ["m-5", "m-6"]]

"""One attempt at a request: verdicts for items of which equal ones were sent once, and requests without an answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from turnout import (
    ITEM,
    ITEMS,
    Answer,
    Batch,
    Destination,
    Dispatcher,
    Endpoint,
    Event,
    Fate,
    Item,
    Reason,
    Settings,
    Verdict,
    json_body,
    rule,
)
from turnout.accepting import Acceptor, now_ms
from turnout.config import DeliverSettings, SendSettings
from turnout.deliver import Delivery
from turnout.exchange import Exchange
from turnout.log import DeadQuery
from turnout.reasons import Code
from turnout.settings import flag
from turnout.sqlite_log import SqliteLog
from turnout.testing import Answer as Told
from turnout.testing import Call, Simulator


def read_named(answer: Answer, count: int) -> list[Verdict]:
    """Refuse the items that the answer names by their place in the body."""
    named = answer.json()
    refused = Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, "named"))
    return [refused if place in named else Verdict(Fate.DELIVERED) for place in range(count)]  # type: ignore[operator]


class CounterSettings(Settings):
    """Whether what may have been counted is sent again."""

    again = flag("Send again.", default=True)


class Counter(Destination):
    """A vendor that counts whatever it gets, copies as well."""

    name = "Counter"
    settings = CounterSettings
    pure = True
    counts = Endpoint(
        "POST",
        "https://counter.example/counts",
        body=json_body(ITEMS),
        batch=Batch(items=10),
        keyed=False,
        resend=lambda config: bool(config.again),
    )
    names = Endpoint(
        "POST",
        "https://counter.example/names",
        body=json_body({"names": ITEMS["name"]}),
        batch=Batch(items=10),
        read=read_named,
        keyed=False,
        once=True,
    )

    @rule("track")
    def counted(self, event: Event) -> Item:
        """One count."""
        return self.counts.item(event.event)

    @rule("page")
    def named(self, event: Event) -> Item:
        """One name."""
        return self.names.item({"name": event.name})


class Lists(Destination):
    """Puts names on lists that have URLs of their own."""

    name = "Lists"
    settings = CounterSettings
    put = Endpoint("POST", "https://lists.example/{item.list}", body=json_body(ITEM), keyed=False)
    all = Endpoint("POST", "https://lists.example/all", body=json_body(ITEM), keyed=False)

    @rule("track")
    def listed(self, event: Event) -> Item:
        """One name for one list."""
        return self.put.item({"list": event.event})

    @rule("page")
    def listed_everywhere(self, event: Event) -> Item:
        """One name for all of them."""
        return self.all.item({"name": event.name})


class CounterVendor(Simulator):
    """Counts."""

    def reset(self) -> None:
        super().reset()
        self.counted: list[str] = []

    def routes(self) -> dict[str, Any]:
        return {"POST /counts": self.count, "POST /names": lambda call: Told(200, [1])}

    def count(self, call: Call) -> Told:
        self.counted += call.json()
        return Told(202)


def track(name: str) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": f"user of {name}", "messageId": f"message of {name}"}


def dispatcher(vendor: CounterVendor, **settings: Any) -> Dispatcher:
    send = SendSettings.configure({"attempts": 2})
    return Dispatcher([Counter(settings)], transport=httpx.ASGITransport(app=vendor), send=send)


def test_a_verdict_belongs_to_every_copy_of_its_item() -> None:
    """The reader judges what stood in the body; each event with that item gets its verdict."""
    vendor = CounterVendor()
    names = ["a", "b", "a", "c", "b"]
    pages = [{"type": "page", "name": name, "userId": f"u-{place}"} for place, name in enumerate(names)]
    settled = dispatcher(vendor).send(pages)
    assert [one.outcome.value for one in settled] == ["delivered", "dead", "delivered", "delivered", "dead"]
    assert [entry.body for entry in vendor.ledger] == [{"names": ["a", "b", "c"]}]


SILENT: list[tuple[dict[str, Any], str]] = [({"hang": True}, "timed_out"), ({"drop_connection": True}, "unreachable")]


@pytest.mark.parametrize(("fault", "code"), SILENT)
def test_without_an_answer_items_are_sent_again(fault: dict[str, Any], code: str) -> None:
    """That is the default: at least once. The vendor may then have counted them twice."""
    vendor = CounterVendor()
    vendor.fail(after_store=True, **fault)
    [settled] = dispatcher(vendor).send([track("twice")])
    assert (settled.outcome.value, settled.attempts) == ("delivered", 2)
    assert vendor.counted == ["twice", "twice"]


@pytest.mark.parametrize(("fault", "code"), SILENT)
def test_with_resend_off_items_that_may_have_arrived_are_given_up(fault: dict[str, Any], code: str) -> None:
    """The dead letter says that they may have arrived; the vendor has counted them at most once."""
    vendor = CounterVendor()
    vendor.fail(after_store=True, **fault)
    [settled] = dispatcher(vendor, again=False).send([track("once")])
    assert (settled.outcome.value, settled.attempts) == ("dead", 1)
    assert settled.reason is not None
    assert settled.reason.code == code
    assert settled.reason.message.endswith(
        "The items may have arrived; they are not sent again, so that nothing counts twice."
    )
    assert vendor.counted == ["once"]


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_answer_that_asks_for_patience_is_no_silence(status: int, again: bool) -> None:
    """What the vendor has answered is judged by its reader, whatever `resend` says."""
    vendor = CounterVendor()
    vendor.fail(status)
    [settled] = dispatcher(vendor, again=again).send([track("patient")])
    assert (settled.outcome.value, vendor.counted) == ("delivered", ["patient"])


@contextlib.contextmanager
def full_port() -> Iterator[int]:
    """Give a port whose queue of connections is full: one more can't be made, and nothing says so."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(("127.0.0.1", port))
        yield port


def attempted(target: Counter, timeout: float) -> Verdict:
    async def run() -> Verdict:
        exchange = Exchange("counter", target, timeout)
        async with exchange.sender:
            verdicts, answered = await exchange.attempt((target.counts.item("x"),))
            assert not answered
            return verdicts[0]

    return asyncio.run(run())


def test_what_is_not_there_is_an_item_or_an_address() -> None:
    """A 404 refuses an item that is part of the URL; where all items share a URL, it is a matter of the settings."""
    lists = Lists()

    async def run() -> list[Verdict]:
        exchange = Exchange("lists", lists, 5.0, httpx.ASGITransport(app=CounterVendor()))
        async with exchange.sender:
            items = lists.put.item({"list": "gone"}), lists.all.item({"name": "Ada"})
            return [(await exchange.attempt((item,)))[0][0] for item in items]

    refused, misplaced = asyncio.run(run())
    assert (refused.fate, misplaced.fate) == (Fate.REFUSED, Fate.SETUP)
    assert misplaced.reason is not None
    assert "Compare base_url" in misplaced.reason.message


def test_what_cannot_have_arrived_is_sent_again() -> None:
    """A refused connection: nothing was sent, so that even with resend off it is tried again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    verdict = attempted(Counter({"again": False, "base_url": f"http://127.0.0.1:{port}"}), 5.0)
    assert verdict.fate is Fate.RETRY
    assert verdict.reason is not None
    assert verdict.reason.code is Code.UNREACHABLE


def test_a_connection_that_does_not_come_about_in_time_has_sent_nothing() -> None:
    """The time for a connection is over before the time for the answer is: it is known that nothing was sent."""
    with full_port() as port:
        verdict = attempted(Counter({"again": False, "base_url": f"http://127.0.0.1:{port}"}), 0.5)
    assert verdict.fate is Fate.RETRY
    assert verdict.reason is not None
    assert verdict.reason.code is Code.TIMED_OUT


def deliver(tmp_path: Path, vendor: CounterVendor, events: list[dict[str, Any]], ready: Callable[..., bool]) -> Any:
    """Deliver events through a log until `ready`, given the delivery, holds; give the log's dead letters."""
    quick = {"timeout_seconds": 5.0, "poll_seconds": 0.01, "lanes": 1, "events_at_once": 1}
    target = Dispatcher(
        [Counter({"again": False})],
        transport=httpx.ASGITransport(app=vendor),
        deliver=DeliverSettings.configure(quick, owner="[deliver]"),
    )
    log = SqliteLog(tmp_path / "turnout.log")
    with Acceptor(log, target.log_settings, now_ms) as acceptor:
        acceptor.accept([target.normaliser.event(event) for event in events])

    async def main() -> None:
        delivery, stop = Delivery(target, log), asyncio.Event()
        task = asyncio.create_task(delivery.run(stop))
        async with asyncio.timeout(30):
            while not ready(delivery):
                await asyncio.sleep(0.005)
        stop.set()
        await task

    asyncio.run(main())
    letters = list(log.dead(DeadQuery()))
    log.close()
    return letters


def test_through_a_log_each_event_is_counted_once_or_is_a_dead_letter(tmp_path: Path) -> None:
    """A lost answer leaves one dead letter; the events behind it are delivered."""
    vendor = CounterVendor()
    vendor.fail(drop_connection=True, after_store=True)
    events = [track(f"event {number}") for number in range(4)]
    letters = deliver(tmp_path, vendor, events, lambda delivery: delivery.empty())
    assert [(one.message_id, one.reason.code.value) for one in letters] == [("message of event 0", "unreachable")]
    assert sorted(vendor.counted) == [f"event {number}" for number in range(4)]
    assert json.loads(letters[0].items[0].data) == "event 0"


def test_a_silent_vendor_does_not_eat_the_log(tmp_path: Path) -> None:
    """After five requests without an answer the breaker is open: what follows waits, instead of being given up."""
    vendor = CounterVendor()
    vendor.fail(drop_connection=True, times=None)
    events = [track(f"event {number}") for number in range(40)]
    deliver(tmp_path, vendor, events, lambda told: any(one.breaker.open for one in told.consumers.values()))
    assert 5 <= len(vendor.ledger) < 40

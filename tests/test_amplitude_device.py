"""Amplitude in device mode, where a case can't show it: the host's provider, queues, reset, and the two regions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from turnout import Batch, Dispatcher, Event, Inputs, Plan
from turnout.cases import Case
from turnout.destination import declared_rules
from turnout_amplitude import Amplitude
from turnout_amplitude.simulator import AmplitudeSimulator

BROWSER_CASES = sorted((Path(__file__).parent / "cases" / "amplitude").glob("device_browser_*.json"))
LIBRARIES = {"browser": "analytics.js", "ios": "analytics-ios", "android": "analytics-android"}


def track(number: int, platform: str = "ios", **context: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": f"Seen {number}",
        "messageId": f"msg-{number}",
        "anonymousId": "anon-1",
        "timestamp": f"2026-01-01T00:00:{number:02}.000Z",
        "context": {"library": {"name": LIBRARIES[platform]}, **context},
    }


def amplitude(**given: Any) -> Amplitude:
    return Amplitude({"api_key": "key-1", "connection_mode": "device", **given})


def device_id(dispatcher: Dispatcher, event: dict[str, Any], inputs: Inputs | None = None) -> Any:
    (plan,) = dispatcher.plan(event, inputs)
    if not plan.requests:
        return plan.reason and plan.reason.code.value
    return plan.requests[0].to_dict()["body"]["events"][-1].get("device_id")


def made(event: Event) -> str:
    return "made-by-host"


@pytest.mark.parametrize(
    ("platform", "given", "context", "expected"),
    [
        ("ios", {}, {}, "made-by-host"),
        ("android", {}, {}, "made-by-host"),
        ("browser", {}, {}, "made-by-host"),
        ("browser", {"prefer_anonymous_id_for_device_id": True}, {}, "anon-1"),
        ("ios", {"prefer_anonymous_id_for_device_id": True}, {}, "made-by-host"),
        ("browser", {"device_id_from_url_param": True}, {"page": {"search": "?amp_device_id=in-url"}}, "in-url"),
        (
            "ios",
            {"use_advertising_id_for_device_id": True},
            {"device": {"advertisingId": "adv-1", "id": "stands-in"}},
            "adv-1",
        ),
    ],
)
def test_the_host_stands_in_for_amplitudes_library(
    platform: str, given: dict[str, Any], context: dict[str, Any], expected: str
) -> None:
    """Its id comes before `context.device.id`, and where the settings say so after others (AMP-DEV-03 to -14)."""
    dispatcher = Dispatcher([amplitude(**given)], device_id_provider=made)
    assert device_id(dispatcher, track(1, platform, **{"device": {"id": "stands-in"}, **context})) == expected


@pytest.mark.parametrize(("platform", "expected"), [("ios", "no_user_anon_id"), ("browser", "anon-1")])
def test_a_host_without_an_id_leaves_what_the_rule_book_says(platform: str, expected: str) -> None:
    """Mobile devices never fall back to `anonymousId`; without any id the event is refused (AMP-GEN-04)."""
    dispatcher = Dispatcher([amplitude()], device_id_provider=lambda event: None)
    assert device_id(dispatcher, track(1, platform)) == expected


class Phone:
    """A host that keeps the device id of one installation."""

    def __init__(self) -> None:
        self.generation = 1

    def __call__(self, event: Event) -> str:
        """Return the id."""
        return f"phone-{self.generation}"

    def regenerate(self, anonymous_id: str) -> None:
        """Make another id."""
        self.generation += 1


def test_reset_logs_a_user_out() -> None:
    """A new device id from the next event on; nothing is sent for it (AMP-MOB-02)."""
    simulator, inputs = AmplitudeSimulator(), Inputs()
    transport = httpx.ASGITransport(app=simulator)
    dispatcher = Dispatcher([amplitude()], device_id_provider=Phone(), transport=transport)
    dispatcher.send([track(1), track(2)], inputs)
    requests = len(simulator.ledger)
    dispatcher.reset("anon-1", inputs)
    assert len(simulator.ledger) == requests
    dispatcher.send([track(3)], inputs)
    sent = [event for entry in simulator.ledger for event in entry.body["events"]]
    assert [event["device_id"] for event in sent] == ["phone-1", "phone-1", "phone-2"]
    assert not any("user_properties" in event for event in sent)


def test_flush_uploads_the_queue_of_a_browser() -> None:
    """With `batch_events` the queue waits for its threshold or its age, or for flush (AMP-HTTP-11, AMP-MOB-01)."""
    simulator = AmplitudeSimulator()
    dispatcher = Dispatcher([amplitude(batch_events=True)], transport=httpx.ASGITransport(app=simulator))
    gate = asyncio.Event()

    async def clicks() -> AsyncIterator[dict[str, Any]]:
        yield track(1, "browser")
        yield track(2, "browser")
        assert not simulator.ledger
        dispatcher.flush("amplitude")
        await gate.wait()

    async def main() -> None:
        settled = 0
        async for outcome in dispatcher.stream(clicks()):
            assert outcome.outcome.value == "delivered"
            settled += 1
            if settled == 2:
                gate.set()

    asyncio.run(main())
    assert [len(entry.body["events"]) for entry in simulator.ledger] == [2]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Batch(items=2000, bytes=1_000_000, linger_ms=0)),
        ({"event_upload_threshold": 5}, Batch(items=2000, bytes=1_000_000, linger_ms=0)),
        ({"batch_events": True}, Batch(items=30, bytes=1_000_000, linger_ms=30_000)),
        (
            {"batch_events": True, "event_upload_threshold": 5, "event_upload_period_millis": 700},
            Batch(items=5, bytes=1_000_000, linger_ms=700),
        ),
        ({"batch_events": True, "event_upload_threshold": 9999}, Batch(items=2000, bytes=1_000_000, linger_ms=30_000)),
    ],
)
def test_the_queue_is_declared_as_batch_and_linger(given: dict[str, Any], expected: Batch) -> None:
    """Threshold and period count with `batch_events` only, and never beyond what the API takes (AMP-HTTP-11)."""
    assert amplitude(**given).browser_events.batch == expected


def test_a_threshold_cuts_what_is_sent() -> None:
    """Seven events of browsers go out as requests of at most three."""
    simulator = AmplitudeSimulator()
    destination = amplitude(batch_events=True, event_upload_threshold=3)
    dispatcher = Dispatcher([destination], transport=httpx.ASGITransport(app=simulator))
    dispatcher.send([track(number, "browser") for number in range(7)])
    assert [len(entry.body["events"]) for entry in simulator.ledger] == [3, 3, 1]


def test_devices_and_servers_may_share_a_destination() -> None:
    """With the EU as region, server events go there and device events stay in the US (AMP-HTTP-06, AMP-HTTP-07)."""
    dispatcher = Dispatcher([amplitude(endpoint="EU")])
    server = {**track(1), "context": {"library": {"name": "analytics-go"}}}
    hosts = [dispatcher.plan(event)[0].requests[0].url for event in (track(2, device={"id": "dev-1"}), server)]
    assert hosts == ["https://api2.amplitude.com/2/httpapi", "https://api.eu.amplitude.com/2/httpapi"]


def test_a_messages_own_events_keep_their_ids_in_any_session() -> None:
    """Mapped once more without its session, as in a replay, products and revenue have the same `insert_id` (law 4)."""
    order = track(1, "browser", page={"search": "?utm_source=letter", "referrer": "https://ref.example/x"})
    order |= {"event": "Order Completed", "properties": {"revenue": 5, "products": [{"sku": "a"}, {"sku": "b"}]}}
    dispatcher, inputs = Dispatcher([amplitude()]), Inputs()
    first, again = (ids(dispatcher.plan(order, inputs)) for _ in range(2))
    assert first == {"utm_captured": ["msg-1-3"], "ordered": ["msg-1"], "product_purchased": ["msg-1-1", "msg-1-2"]}
    assert again == {"ordered": ["msg-1"], "product_purchased": ["msg-1-1", "msg-1-2"]}


def ids(plans: list[Plan]) -> dict[str, list[str]]:
    """Return the `insert_id`s of a plan's events by the rule that made them."""
    found: dict[str, list[str]] = {}
    for request in plans[0].requests:
        events = request.to_dict()["body"].get("events", [])
        for rule, event in zip(request.rules, events, strict=False):
            found.setdefault(rule, []).append(event["insert_id"])
    return found


@pytest.mark.parametrize("path", BROWSER_CASES, ids=lambda path: path.stem)
def test_events_aside_are_numbered_behind_all_others(path: Path) -> None:
    """No two events of a call share an id, and what goes aside stands behind the call's own events."""
    case, inputs = Case.load(path), Inputs()
    aside = {rule.id for rule in declared_rules(Amplitude) if rule.aside}
    for event in case.events:
        for plans in case.dispatcher().plan_body(msgspec.json.encode(event), "", inputs):
            made = ids([plan for plan in plans if plan.requests][:1]) if plans[0].requests else {}
            numbers = {
                rule: [int(one.rpartition("-")[2]) for one in ones] for rule, ones in suffixed(made, event).items()
            }
            own = [number for rule, ones in numbers.items() if rule not in aside for number in ones]
            others = [number for rule, ones in numbers.items() if rule in aside for number in ones]
            assert sorted(own + others) == list(range(1, len(own + others) + 1))
            assert not own or not others or max(own) < min(others)


def suffixed(made: dict[str, list[str]], event: dict[str, Any]) -> dict[str, list[str]]:
    """Return the ids that are not the message id itself."""
    return {rule: [one for one in ones if one != str(event["messageId"])] for rule, ones in made.items()}

"""A chain of two turnouts: what the second one has in its log is what the first one accepted, but for the stamps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import configured, reached, served, settled
from test_consumer import deliver, settings

from turnout import CALL_TYPES, Destination, Dispatcher, Event, Normaliser
from turnout.accepting import Acceptor, now_ms
from turnout.config import LogSettings, SendSettings
from turnout.gateway import Gateway
from turnout.sections import GatewaySettings, HttpSourceSettings
from turnout.specimens import specimens
from turnout.sqlite_log import SqliteLog
from turnout.writekeys import WriteKeys
from turnout_rudderstack import RudderStack
from turnout_segment import Segment

FIRST, SECOND = "wk-first-31", "wk-second-32"
ARRIVED = datetime(2026, 1, 2, 9, 0, 0, 5000, tzinfo=UTC)
MUCH_LATER = datetime(2026, 1, 9, 9, 0, 0, 7000, tzinfo=UTC)
STAMPS = {"segment": {"receivedAt", "projectId", "sentAt"}, "rudderstack": {"receivedAt", "projectId"}}
"""What the second turnout says otherwise than the first, or not at all."""
NAMES = ("userId", "anonymousId", "groupId", "previousId", "event", "name", "category")

BOTH = pytest.mark.parametrize("vendor", ["segment", "rudderstack"])

ODD: list[dict[str, Any]] = [
    {"type": "track", "event": "Odd", "userId": "u-1", "unknown": {"keys": ["x", {"y": None}]}, "traits": 5},
    {"type": "track", "event": "Odd", "userId": 12345678901234567890, "properties": {"n": 10**30, "f": 0.1, "z": -0.0}},
    {"type": "page", "anonymousId": "a-2", "userId": None, "name": "", "category": None, "properties": {"p": None}},
    {"type": "identify", "userId": "u-3", "context": {"traits": {"only": "here"}}, "integrations": {}},
    {"type": "identify", "userId": "u-4", "traits": {"k": "root"}, "context": {"traits": {"k": "ctx", "l": "ctx-l"}}},
    {"type": "identify", "userId": "u-5", "traits": {}, "context": None},
    {
        "type": "screen",
        "userId": "u-6",
        "timestamp": "2026-01-01T00:00:00+05:30",
        "sentAt": "2026-01-01T00:00:09+05:30",
    },
    {"type": "group", "userId": "u-7", "groupId": 7, "timestamp": "2025-12-31", "originalTimestamp": "2025-12-30"},
    {"type": "alias", "userId": "ø⛴", "previousId": "\u202e", "context": {"integrations": {"Vero": {"t": "v"}}}},
    {"type": "track", "event": "Odd", "userId": "u-8", "_metadata": {"bundled": ["Hotjar"], "unbundled": []}},
    {
        "type": "track",
        "event": "Odd",
        "userId": "u-9",
        "integrations": {"All": False, "Segment": True, "RudderStack": {}},
    },
]


def forwarding(vendor: str, **given: Any) -> Destination:
    """Return a destination that passes on to the second turnout."""
    known = {"write_key": SECOND, "base_url": "http://second.example", "forward_deletions": True, **given}
    return Segment(known) if vendor == "segment" else RudderStack({"data_plane_url": "http://second.example", **known})


class Station:
    """A gateway with a log, in this process."""

    def __init__(self, folder: Path, source: str, key: str, arrival: datetime, **given: Any) -> None:
        self.log = SqliteLog(folder / f"{source}.log")
        self.acceptor = Acceptor(self.log, LogSettings.configure({}, owner="log"), now_ms)
        told = {"write_key": key, "allow_delete": True, "client_ip": False}
        told |= {name: given.pop(name) for name in list(given) if name in told}
        keys = WriteKeys({source: HttpSourceSettings.configure(told, owner="source")})
        gateway = Gateway(self.acceptor, keys, GatewaySettings.configure(given, owner="gateway"), clock=lambda: arrival)
        self.transport = httpx.ASGITransport(gateway, client=("203.0.113.250", 5123))

    def post(self, batch: list[dict[str, Any]], key: str) -> Any:
        """Return what the gateway answers to a batch."""

        async def main() -> httpx.Response:
            async with httpx.AsyncClient(transport=self.transport, base_url="http://first.example") as client:
                return await client.post("/v1/batch", json={"batch": batch, "writeKey": key})

        return asyncio.run(main()).json()

    def texts(self) -> list[bytes]:
        """Return what is in the log."""
        return [accepted.data for accepted in self.log.read(0, events=10_000)]

    def events(self) -> list[Event]:
        """Return the events of the log."""
        return [Normaliser().event(text) for text in self.texts()]


@contextmanager
def station(*given: Any, **more: Any) -> Iterator[Station]:
    made = Station(*given, **more)
    with made.acceptor:
        yield made
    made.log.close()


def sender(destination: Destination, second: Station) -> Dispatcher:
    send = SendSettings.configure({"attempts": 2}, owner="[send]")
    return Dispatcher([destination], send=send, transport=second.transport)


def told(event: Event, vendor: str) -> dict[str, Any]:
    """Return what an event says, but for the stamps, null and empty names."""
    found = {key: value for key, value in event.to_dict().items() if key not in STAMPS[vendor]}
    return {key: value for key, value in found.items() if value is not None and not (key in NAMES and value == "")}


def passed_on(event: Event, vendor: str) -> dict[str, Any]:
    """Return what the second turnout says of an event of the first: for RudderStack, traits are in two places."""
    found = told(event, vendor)
    if vendor == "rudderstack" and event.type == "identify" and event.traits:
        context = found.get("context") or {}
        found["context"] = {**context, "traits": {**(context.get("traits") or {}), **event.traits}}
    return found


def many() -> list[dict[str, Any]]:
    """Return events of every call with every key, and odd ones, each with a message id."""
    calls = [each.event for each in specimens()]
    return [{**call, "messageId": f"m-{number}"} for number, call in enumerate([*calls, *ODD])]


@BOTH
def test_nothing_is_lost_on_the_way(tmp_path: Path, vendor: str) -> None:
    """From a log to a log, a week later: keys, ids, times, integrations and _metadata, whatever the call."""
    with station(tmp_path, "first", FIRST, ARRIVED) as first, station(tmp_path, "second", SECOND, MUCH_LATER) as second:
        for number in range(0, len(many()), 100):
            assert first.post(many()[number : number + 100], FIRST) == {"success": True}
        dispatcher = Dispatcher([forwarding(vendor)], deliver=settings(), transport=second.transport)
        deliver(dispatcher, first.log)
        sent, arrived = first.events(), {event.message_id: event for event in second.events()}
        assert len(sent) == len(many())
        assert {event.type for event in sent} == set(CALL_TYPES)
        for event in sent:
            assert told(arrived[event.message_id], vendor) == passed_on(event, vendor)
        assert len(second.texts()) == len(sent)


@BOTH
def test_the_stamps_are_those_of_the_second(tmp_path: Path, vendor: str) -> None:
    """Its arrival, its source; the first one's write key, source and arrival are nowhere."""
    event = {
        "type": "track", "event": "Locked", "userId": "u-1", "messageId": "m-1", "writeKey": FIRST,
        "timestamp": "2026-01-02T08:59:00.000Z", "sentAt": "2026-01-02T08:59:30.000Z",
    }  # fmt: skip
    with station(tmp_path, "first", FIRST, ARRIVED) as first, station(tmp_path, "second", SECOND, MUCH_LATER) as second:
        first.post([event], FIRST)
        deliver(Dispatcher([forwarding(vendor)], deliver=settings(), transport=second.transport), first.log)
        [text], [found] = second.texts(), second.events()
    assert (found.project_id, found.received_at) == ("second", MUCH_LATER)
    assert found.timestamp.isoformat() == "2026-01-02T08:59:30.005000+00:00"
    assert found.original_timestamp.isoformat() == "2026-01-02T08:59:00+00:00"
    assert (found.sent_at is None) is (vendor == "segment")
    for word in (FIRST.encode(), SECOND.encode(), b"first", b"2026-01-02T09:00:00"):
        assert word not in text


@BOTH
def test_an_event_that_comes_again_counts_once(tmp_path: Path, vendor: str) -> None:
    """The message id goes along, so the second turnout knows it."""
    with station(tmp_path, "second", SECOND, MUCH_LATER) as second:
        for _ in range(2):
            [one] = sender(forwarding(vendor), second).send(
                [{"type": "page", "messageId": "m-1", "anonymousId": "a-1"}]
            )
            assert one.outcome == "delivered"
        assert len(second.texts()) == 1


@BOTH
def test_what_the_second_refuses_is_dead_at_the_first(tmp_path: Path, vendor: str) -> None:
    """It answers 200 and names the event: that one alone is dead, with the second one's words."""
    events = [
        {"type": kind, "userId": f"u-{number}", "messageId": f"m-{number}", "event": "Sluiced"}
        for number, kind in enumerate(["track", "delete", "track"])
    ]
    with station(tmp_path, "second", SECOND, MUCH_LATER, allow_delete=False) as second:
        outcomes = sender(forwarding(vendor), second).send(events)
        assert [one.outcome.value for one in outcomes] == ["delivered", "dead", "delivered"]
        assert outcomes[1].reason
        assert outcomes[1].reason.message == (
            "HTTP 200: The source 'second' may not delete users. Set allow_delete if nobody else has its write key. "
            "(delete_not_allowed)"
        )
        assert [event.message_id for event in second.events()] == ["m-0", "m-2"]


@BOTH
@pytest.mark.parametrize("limit", [{"max_batch_events": 3}, {"max_body_bytes": 1100}])
def test_the_limits_of_the_second_are_found(tmp_path: Path, vendor: str, limit: dict[str, int]) -> None:
    """Batches that are too long or too large for it come in several parts; order is kept."""
    events = [{"type": "track", "userId": f"u-{n}", "messageId": f"m-{n}", "event": "Sluiced"} for n in range(10)]
    with station(tmp_path, "second", SECOND, MUCH_LATER, **limit) as second:
        outcomes = sender(forwarding(vendor), second).send(events)
        assert {one.outcome.value for one in outcomes} == {"delivered"}
        assert [event.message_id for event in second.events()] == [f"m-{n}" for n in range(10)]


@BOTH
def test_a_wrong_key_is_a_matter_of_the_settings(tmp_path: Path, vendor: str) -> None:
    """The second turnout says 401; the sentence has its words and not the key."""
    with station(tmp_path, "second", SECOND, MUCH_LATER) as second:
        [one] = sender(forwarding(vendor, write_key="wk-wrong-33"), second).send(
            [{"type": "page", "userId": "u-1", "messageId": "m-1"}]
        )
    assert one.reason
    assert one.reason.code == "credentials_refused"
    assert "No source has this write key" in one.reason.message
    assert "wk-wrong-33" not in one.reason.message


@BOTH
def test_the_address_is_the_visitors(tmp_path: Path, vendor: str) -> None:
    """What the first one has seen of the visitor stays; without `client_ip` nobody makes up an address."""
    browser = {
        "type": "page", "anonymousId": "a-1", "messageId": "m-1",
        "context": {"library": {"name": "analytics.js", "version": "2"}, "ip": "198.51.100.4"},
    }  # fmt: skip
    bare = {**browser, "messageId": "m-2", "context": {"library": {"name": "analytics.js", "version": "2"}}}
    for client_ip, expected in ((False, [None]), (True, ["203.0.113.250"])):
        folder = tmp_path / str(client_ip)
        folder.mkdir()
        with station(folder, "second", SECOND, MUCH_LATER, client_ip=client_ip) as second:
            sender(forwarding(vendor), second).send([browser, bare])
            assert [event.context.ip for event in second.events()] == ["198.51.100.4", *expected]


@BOTH
def test_two_processes(tmp_path: Path, vendor: str) -> None:
    """`turnout serve` passes on to `turnout serve`: what was posted to the first is in the log of the second."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    events = [
        {"type": "track", "event": "Ferried", "userId": f"u-{n % 4}", "messageId": f"m-{n}", "properties": {"n": n}}
        for n in range(60)
    ]
    sources = {"sources": {"second": {"write_key": SECOND}}}
    with served(configured(folders[1], **sources), "--no-deliver") as second:
        target = {"plugin": vendor, "write_key": SECOND, "base_url": second.url}
        if vendor == "rudderstack":
            target["data_plane_url"] = second.url
        with served(configured(folders[0], destinations={"next": target})) as first:
            answer = first.post("/v1/batch", {"batch": events})
            assert answer.json() == {"success": True}
            reached(lambda: settled(folders[0], "next"), "the end of the first delivery")
    log = SqliteLog(folders[1] / "turnout.log")
    kept = [json.loads(accepted.data) for accepted in log.read(0, events=1000)]
    log.close()
    assert sorted(one["messageId"] for one in kept) == sorted(one["messageId"] for one in events)
    for user in range(4):
        mine = [one["properties"]["n"] for one in kept if one["userId"] == f"u-{user}"]
        assert mine == sorted(mine)

"""What the tests of the destinations that pass whole events on have in common."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import httpx

from turnout import Destination, Dispatcher
from turnout.config import SendSettings
from turnout.testing import Answer, Call, Simulator

TRIES = 3
"""How often an item is sent."""

CALLS: list[dict[str, Any]] = [
    {"type": "track", "event": "Net Mended", "properties": {"knots": 12}},
    {"type": "identify", "traits": {"boat": "Havella"}},
    {"type": "page", "name": "Catch"},
    {"type": "screen", "name": "Depth"},
    {"type": "group", "groupId": "fleet-8"},
    {"type": "alias", "previousId": "visitor-9"},
]


def event(number: int, **more: Any) -> dict[str, Any]:
    """Return a track call that no other number has."""
    return {
        "type": "track",
        "messageId": f"m-{number}",
        "userId": f"user-{number}",
        "event": "Net Hauled",
        "timestamp": "2026-04-05T06:07:08.009Z",
        **more,
    }


def every_call() -> list[dict[str, Any]]:
    """Return a call of each type."""
    calls = [{**event(number), **call} for number, call in enumerate(CALLS)]
    return [call if call["type"] == "track" else {k: v for k, v in call.items() if k != "event"} for call in calls]


def sender(destination: Destination, vendor: Any) -> Dispatcher:
    """Return a dispatcher whose requests reach a vendor in this process."""
    send = SendSettings.configure({"attempts": TRIES, "timeout_seconds": 5.0}, owner="[send]")
    return Dispatcher([destination], send=send, transport=httpx.ASGITransport(app=vendor))


def outcomes(settled: Iterable[Any]) -> dict[str, str]:
    """Return what became of each event: the outcome, and the code of its reason."""
    return {one.message_id: one.outcome.value + (f"/{one.reason.code.value}" if one.reason else "") for one in settled}


def batches(vendor: Simulator) -> list[list[str]]:
    """Return the message ids of each request that a vendor got, in order."""
    return [[message["messageId"] for message in entry.body["batch"]] for entry in vendor.ledger]


def sizes(vendor: Simulator) -> list[int]:
    """Return how many bytes each request would have plain."""
    return [len(compact(entry.body)) for entry in vendor.ledger]


def compact(value: Any) -> bytes:
    """Return JSON without blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class Picky(Simulator):
    """Fails a whole batch for an event that it doesn't like, with the status and the words of its vendor."""

    def __init__(self, answer: Answer, disliked: Sequence[str]) -> None:
        self.answer = answer
        self.disliked = set(disliked)
        self.kept: list[str] = []
        super().__init__()

    def routes(self) -> dict[str, Any]:
        return {"POST /v1/batch": self.take}

    def take(self, call: Call) -> Answer:
        found = [message["messageId"] for message in call.unpacked().json()["batch"]]
        if self.disliked & set(found):
            return self.answer
        self.kept += found
        return Answer(200, {"success": True})

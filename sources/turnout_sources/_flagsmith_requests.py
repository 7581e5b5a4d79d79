"""What Flagsmith's own integrations send for an identity: the requests for Amplitude, Segment and RudderStack."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlencode

__all__ = ["KINDS", "Evaluated", "Integration", "Sent", "integration_request"]

KINDS = ("amplitude", "segment", "rudderstack")
_SEGMENT = "1.4.post1"
_RUDDERSTACK = "2.1.4"


class Evaluated(NamedTuple):
    """One flag as an identity has it."""

    name: str
    enabled: bool
    value: Any


class Integration(NamedTuple):
    """One configured integration of an environment."""

    kind: str
    base_url: str
    api_key: str


class Sent(NamedTuple):
    """One request; always a POST."""

    url: str
    headers: dict[str, str]
    body: bytes


def integration_request(
    integration: Integration, identifier: str, flags: Iterable[Evaluated], now: str, message_id: str
) -> Sent:
    """Return the request of an integration; `now` is an ISO time, `message_id` a UUID."""
    base = integration.base_url.rstrip("/")
    if integration.kind == "amplitude":
        values = {one.name: one.value if one.enabled and one.value is not None else one.enabled for one in flags}
        return _amplitude(base, integration.api_key, identifier, values)
    if integration.kind == "segment":
        values = {one.name: one.value if one.enabled and one.value is not None else one.enabled for one in flags}
        return _segment(base, integration.api_key, identifier, values, now, message_id)
    values = {one.name: one.value if one.enabled and one.value else one.enabled for one in flags}
    return _rudderstack(base, integration.api_key, identifier, values, now, message_id)


def _amplitude(base: str, key: str, identifier: str, values: dict[str, Any]) -> Sent:
    identification = json.dumps([{"user_id": identifier, "user_properties": values}])
    body = urlencode({"api_key": key, "identification": identification}).encode()
    return Sent(f"{base}/identify", {"content-type": "application/x-www-form-urlencoded"}, body)


def _segment(base: str, key: str, identifier: str, values: dict[str, Any], now: str, message_id: str) -> Sent:
    event = {
        "integrations": {},
        "anonymousId": None,
        "timestamp": now,
        "context": {"library": {"name": "analytics-python", "version": _SEGMENT}},
        "type": "identify",
        "userId": identifier,
        "traits": values,
        "messageId": message_id,
    }
    headers = {"authorization": _basic(key), "content-type": "application/json"}
    agent = {"user-agent": f"analytics-python/{_SEGMENT}"}
    return Sent(f"{base}/v1/batch", headers | agent, json.dumps({"batch": [event], "sentAt": now}).encode())


def _rudderstack(base: str, key: str, identifier: str, values: dict[str, Any], now: str, message_id: str) -> Sent:
    library = {"name": "analytics-python", "version": _RUDDERSTACK}
    event = {
        "integrations": {"All": True},
        "anonymousId": None,
        "timestamp": now,
        "context": {"traits": values, "library": library},
        "type": "identify",
        "userId": identifier,
        "messageId": message_id,
        "channel": "server",
    }
    headers = {"authorization": _basic(key), "content-type": "application/json", "content-encoding": "gzip"}
    agent = {"user-agent": f"analytics-python/{_RUDDERSTACK}"}
    body = gzip.compress(json.dumps({"batch": [event], "sentAt": now}).encode())
    return Sent(f"{base}/v1/batch", headers | agent, body)


def _basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()

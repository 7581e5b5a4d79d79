"""A local Segment: the HTTP tracking API as it is documented.

    with SegmentSimulator().serve() as url:
        ...                             # send to url + "/v1/batch"

Sources: Segment's HTTP API page, its discard table, its libraries; `docs/simulators.md` lists what they leave open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

import msgspec

from turnout.testing import Answer, Call, Handler, Simulator
from turnout_segment._simulator_checks import CALLS, discard_code, timed

__all__ = ["SegmentSimulator"]

_HOSTS = {"api.segment.io": "US", "events.eu1.segmentapis.com": "EU"}
_SHORT = {"i": "identify", "t": "track", "p": "page", "s": "screen", "g": "group", "a": "alias"}
_EVENT_BYTES = 32 * 1024
_BATCH_BYTES = 500_000
_BATCH_EVENTS = 2500
_DAY_MS = 24 * 3600 * 1000
_TOO_LARGE = Answer(400, "Exceed payload limit")
_BAD = Answer(400, "Bad Request")
_MERGED = ("context", "integrations")
_ERRORS = {400: "Bad Request", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}

Limited = Literal["both", "retry-after", "x-ratelimit-reset"]


class _Batch(msgspec.Struct):
    """A batch in one scan: how large each event is can be seen."""

    batch: list[msgspec.Raw]


_batch = msgspec.json.Decoder(_Batch).decode


class SegmentSimulator(Simulator):
    """Segment on this machine; what took effect can be read from its attributes.

    * `write_keys`: the keys of its sources (None: every non-empty key). Events under any other are dropped, with 200.
    * `region`: `US` or `EU` refuses what is sent to the other region's host; None asks for no host.
    * `requests_per_second`: more get 429, with the headers that `limited` names: `retry-after`, `x-ratelimit-reset` or
      `both`.
    * `suppressed`: user ids whose events are dropped, with 200.
    * `clock`: the time, with its zone; it stamps events and moves deduplication and the rate.
    """

    secret_fields = frozenset({"writeKey"})

    def __init__(
        self,
        *,
        write_keys: Iterable[str] | None = None,
        region: Literal["US", "EU"] | None = None,
        requests_per_second: int | None = None,
        limited: Limited = "both",
        suppressed: Iterable[str] = (),
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        keys = [write_keys] if isinstance(write_keys, str) else write_keys
        self.write_keys = None if keys is None else frozenset(keys)
        self.region = region
        self.requests_per_second = requests_per_second
        self.limited = limited
        self.suppressed = set(suppressed)
        super().__init__(clock=clock)

    def reset(self) -> None:
        """Forget everything that was stored, the ledger, the faults and what counts toward the rate."""
        super().reset()
        self.events: list[dict[str, Any]] = []
        """The events that were kept, in order, without duplicates: as they were sent, with what Segment adds."""
        self.discarded: list[dict[str, Any]] = []
        """What was dropped, though the answer was 200: `code`, and the `message`."""
        self.duplicates = 0
        """How many events were dropped because their `messageId` had come within a day."""
        self._seen: dict[str, int] = {}
        self._second, self._requests = 0, 0

    def routes(self) -> Mapping[str, Handler]:
        """Return the paths for calls: the long ones, and the short ones of browsers."""
        singles = {f"POST /v1/{name}": self._single for name in (*CALLS, *_SHORT)}
        batches = {f"POST /v1/{name}": self._several for name in ("batch", "import", "b")}
        return {**singles, **batches, "POST /v1/m": lambda call: Answer(200, {"success": True})}

    def state(self) -> dict[str, Any]:
        """Return everything that took effect, as JSON values."""
        return {"events": self.events, "discarded": self.discarded, "duplicates": self.duplicates}

    def fault_body(self, status: int, call: Call) -> Any:
        """Return Segment's body for an error: plain text."""
        return _ERRORS.get(status, "error")

    def not_found(self, call: Call, allowed: list[str]) -> Answer:
        """Return 404, or 405 for a method that the path does not know, as plain text."""
        return Answer(405, "Method Not Allowed") if allowed else Answer(404, "Not Found")

    def _single(self, call: Call) -> Answer:
        read = self._read(call, _EVENT_BYTES)
        if isinstance(read, Answer):
            return read
        name = call.path.rpartition("/")[2]
        message = read.json() | {"type": _SHORT.get(name, name)}
        return self._ingest(call, message, [message])

    def _several(self, call: Call) -> Answer:
        read = self._read(call, _BATCH_BYTES)
        if isinstance(read, Answer):
            return read
        body = read.json()
        items = body.get("batch")
        if not isinstance(items, list) or not items:
            return self._dropped("empty_batch" if items == [] else "bad_request", body)
        if any(len(bytes(one)) > _EVENT_BYTES for one in _batch(read.body).batch):
            return _TOO_LARGE
        return self._ingest(call, body, [_merged(item, body) for item in items])

    def _read(self, call: Call, most: int) -> Call | Answer:
        """Return the call with its body unpacked, or why it is not looked at."""
        if self.region and _HOSTS.get(call.host, self.region) != self.region:
            return Answer(403, "Forbidden")
        if self._too_many():
            return Answer(429, _ERRORS[429], self._limits())
        try:
            call = call.unpacked(most)
            if len(call.body) > most:
                return _TOO_LARGE if most == _EVENT_BYTES else _BAD
            return call if isinstance(call.json(), dict) else _BAD
        except ValueError:
            return _BAD

    def _too_many(self) -> bool:
        if self.requests_per_second is None:
            return False
        second = self.now_ms() // 1000
        self._requests = self._requests + 1 if second == self._second else 1
        self._second = second
        return self._requests > self.requests_per_second

    def _limits(self) -> dict[str, str]:
        names = ("retry-after", "x-ratelimit-reset") if self.limited == "both" else (self.limited,)
        return dict.fromkeys(names, "1")

    def _ingest(self, call: Call, body: dict[str, Any], items: list[Any]) -> Answer:
        """Keep what is good, drop what is not, and answer 200 either way."""
        before = len(self.events)
        source = _key_of(call, body)
        for place, item in enumerate(items):
            code = "batch_too_long" if place >= _BATCH_EVENTS else self._code(item, source)
            if code is None:
                self._keep(item)
            else:
                self._drop(code, item)
        return Answer(200, {"success": True}, effect={"events": len(self.events) - before})

    def _code(self, item: Any, source: str | None) -> str | None:
        code = discard_code(item)
        if code is None and not self._knows(source or item.get("writeKey")):
            return "unknown_source"
        return "suppressed" if code is None and item.get("userId") in self.suppressed else code

    def _knows(self, key: Any) -> bool:
        return isinstance(key, str) and bool(key) and (self.write_keys is None or key in self.write_keys)

    def _keep(self, item: dict[str, Any]) -> None:
        now = self.now_ms()
        message_id = item.get("messageId") or str(uuid4())
        first = self._seen.get(message_id)
        if first is not None and now - first < _DAY_MS:
            self.duplicates += 1
            return
        self._seen[message_id] = now
        self.events.append(timed({**_without_key(item), "messageId": message_id}, self.clock()))

    def _drop(self, code: str, message: Any) -> None:
        self.discarded.append({"code": code, "message": _without_key(message)})

    def _dropped(self, code: str, message: Any) -> Answer:
        self._drop(code, message)
        return Answer(200, {"success": True})


def _without_key(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    return {key: value for key, value in message.items() if key != "writeKey"}


def _key_of(call: Call, body: dict[str, Any]) -> str | None:
    """Return the write key of a request: the user of Basic authentication, else what the body says."""
    pair = call.basic()
    key = pair[0] if pair else body.get("writeKey")
    return key if isinstance(key, str) else None


def _merged(item: Any, body: dict[str, Any]) -> Any:
    """Return an item of a batch with what the body's root gives to each; the item's own wins."""
    if not isinstance(item, dict):
        return item
    made = dict(item)
    for key in _MERGED:
        own, common = item.get(key), body.get(key)
        if isinstance(common, dict) and (own is None or isinstance(own, dict)):
            made[key] = {**common, **(own or {})}
    for key in ("sentAt", "timestamp"):
        if item.get(key) is None and body.get(key) is not None:
            made[key] = body[key]
    return made

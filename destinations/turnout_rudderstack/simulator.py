"""A local RudderStack data plane: its HTTP API as the server's code answers.

    with RudderStackSimulator().serve() as url:
        ...                             # send to url + "/v1/batch"

Sources: rudder-server's gateway and RudderStack's HTTP API page; `docs/simulators.md` lists what they leave open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from turnout.testing import Answer, Call, Handler, Simulator
from turnout_rudderstack._simulator_store import enriched, has_ids, id_of

__all__ = ["RudderStackSimulator"]

_CALLS = ("identify", "track", "page", "screen", "group", "alias", "merge")
_MOST_BYTES = 4000 * 1024
_HOUR_MS = 3600 * 1000
_OK = "OK"
_ERRORS = {
    429: "max requests limit reached",
    500: "failed to read body from request",
    503: "service unavailable",
    504: "gateway timeout",
}


class _RefusedError(Exception):
    """A request that is answered with a status and a text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.answer = Answer(status, text)


class RudderStackSimulator(Simulator):
    """A data plane on this machine; what took effect can be read from its attributes.

    * `write_keys`: the keys of its sources (None: every non-empty key); `disabled`: those of sources that are off.
    * `suppressed`: user ids whose events are dropped, with 200.
    * `events_per_second`: a request that goes beyond it gets 429, and nothing of it is kept.
    * `deduplicates`: drop copies of a `messageId` within an hour, as deployments may.
    * `clock`: the time, with its zone; it stamps events and moves deduplication and the rate.
    """

    def __init__(
        self,
        *,
        write_keys: Iterable[str] | None = None,
        disabled: Iterable[str] = (),
        suppressed: Iterable[str] = (),
        events_per_second: int | None = None,
        deduplicates: bool = False,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        keys = [write_keys] if isinstance(write_keys, str) else write_keys
        self.write_keys = None if keys is None else frozenset(keys)
        self.disabled = frozenset([disabled] if isinstance(disabled, str) else disabled)
        self.suppressed = set(suppressed)
        self.events_per_second = events_per_second
        self.deduplicates = deduplicates
        super().__init__(clock=clock)

    def reset(self) -> None:
        """Forget everything that was stored, the ledger, the faults and what counts toward the rate."""
        super().reset()
        self.events: list[dict[str, Any]] = []
        """The events that were stored, in order: as they were sent, with what RudderStack adds."""
        self.dropped: list[dict[str, Any]] = []
        """The events of suppressed users."""
        self.duplicates = 0
        """How many events were dropped because their `messageId` had come within an hour."""
        self._seen: dict[str, int] = {}
        self._second, self._counted = 0, 0

    def routes(self) -> Mapping[str, Handler]:
        """Return the paths for calls, and those that say that the server is well."""
        return {
            **{f"POST /v1/{name}": self._single for name in _CALLS},
            "POST /v1/batch": self._several,
            "POST /v1/import": self._several,
            "GET /health": lambda call: Answer(200, {"server": "UP"}),
            "GET /version": lambda call: Answer(200, {"Version": "simulated"}),
        }

    def state(self) -> dict[str, Any]:
        """Return everything that took effect, as JSON values."""
        return {"events": self.events, "dropped": self.dropped, "duplicates": self.duplicates}

    def fault_body(self, status: int, call: Call) -> Any:
        """Return RudderStack's body for an error: plain text."""
        return _ERRORS.get(status, "error")

    def not_found(self, call: Call, allowed: list[str]) -> Answer:
        """Return what the server answers to an unknown path, and to a method that the path doesn't know."""
        return Answer(400, "invalid http request method") if allowed else Answer(404, "404 page not found")

    def _single(self, call: Call) -> Answer:
        def read(body: Any) -> list[Any]:
            if not isinstance(body, dict):
                raise _RefusedError(400, "invalid json")
            return [body | {"type": call.path.rpartition("/")[2]}]

        return self._answered(call, read)

    def _several(self, call: Call) -> Answer:
        def read(body: Any) -> list[Any]:
            items = body.get("batch") if isinstance(body, dict) else None
            if not isinstance(items, list) or not items:
                raise _RefusedError(400, "empty batch payload" if isinstance(body, dict) else "invalid json")
            return items

        return self._answered(call, read)

    def _answered(self, call: Call, read: Callable[[Any], list[Any]]) -> Answer:
        """Answer a request: key, body, each event, suppression, rate, size, in the order of the server's own checks."""
        try:
            self._check_key(call)
            call = _unpacked(call)
            events = read(_json(call))
            for event in events:
                _check_event(event)
            self._check_rate(len(events))
            if len(call.body) > _MOST_BYTES:
                raise _RefusedError(413, "request size exceeds max limit")
        except _RefusedError as refused:
            return refused.answer
        return Answer(200, _OK, effect={"events": sum(self._keep(event, call.client) for event in events)})

    def _check_key(self, call: Call) -> None:
        pair = call.basic()
        if pair is None or not pair[0]:
            raise _RefusedError(401, "failed to read writekey from header")
        if pair[0] in self.disabled:
            raise _RefusedError(404, "source is disabled")
        if self.write_keys is not None and pair[0] not in self.write_keys:
            raise _RefusedError(401, "invalid write key")

    def _check_rate(self, count: int) -> None:
        second = self.now_ms() // 1000
        if second != self._second:
            self._second, self._counted = second, 0
        if self.events_per_second is not None and self._counted + count > self.events_per_second:
            raise _RefusedError(429, _ERRORS[429])
        self._counted += count

    def _keep(self, event: dict[str, Any], address: str) -> bool:
        """Store an event; return whether it is there now, and was not before."""
        if id_of(event, "userId") in self.suppressed:
            self.dropped.append(event)
            return False
        made = enriched(event, self.clock(), address)
        first = self._seen.get(made["messageId"])
        if self.deduplicates and first is not None and self.now_ms() - first < _HOUR_MS:
            self.duplicates += 1
            return False
        self._seen[made["messageId"]] = self.now_ms()
        self.events.append(made)
        return True


def _unpacked(call: Call) -> Call:
    try:
        return call.unpacked()
    except ValueError:
        raise _RefusedError(500, _ERRORS[500]) from None


def _json(call: Call) -> Any:
    if not call.body:
        raise _RefusedError(400, "request body is nil")
    try:
        return call.json()
    except ValueError:
        raise _RefusedError(400, "invalid json") from None


def _check_event(event: Any) -> None:
    if not isinstance(event, dict):
        raise _RefusedError(400, "event is not a valid rudder event")
    if not has_ids(event):
        raise _RefusedError(400, "request neither has anonymousId nor userId")

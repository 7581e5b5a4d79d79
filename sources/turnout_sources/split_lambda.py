"""Split's impressions webhook in a serverless function: behind an API gateway or a function URL, or called by itself.

    from turnout_sources.split_lambda import handler

    lambda_handler = handler(Dispatcher([amplitude]), {"send_as": "identify", "hook_secret": os.environ["SECRET"]})

It answers 200 when every event has come to its end, and 500 when something has to be sent again: Split repeats the
whole batch then, and what was delivered is known by its ids. What can't be read at all gets 400. It begins nothing that
it may not finish in time, and breaks off what takes longer than it has.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from math import isinf
from typing import Any

from turnout import Dispatcher, Outcome, Refusal, Settled
from turnout_sources._handing import again
from turnout_sources.split_impressions import SplitImpressions

__all__ = ["handler"]

_logger = logging.getLogger("turnout")
_ENDED = (Outcome.DELIVERED, Outcome.DROPPED)


def handler(
    dispatcher: Dispatcher, settings: Mapping[str, Any] | None = None, *, batch: int = 1000, reserve_ms: int = 3000
) -> Callable[[Any, Any], dict[str, Any]]:
    """Return a `lambda_handler(event, context)` that sends impressions to the destinations of a dispatcher.

    `settings` are those of the source `split_impressions`; with a `hook_secret` in them, a request has to carry it as
    the last part of its path or in the header `x-turnout-secret`. Events go out `batch` at a time; when less than
    `reserve_ms` are left, the rest is left to the next try, and so is what is still under way at half of that.
    """
    source = SplitImpressions(settings or {}, id="split_impressions")
    secret = source.config.hook_secret

    def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
        if secret and not _knows(event, secret):
            return _answer(401, {"message": "The secret is missing or wrong."})
        try:
            found = list(source.read(event))
        except Refusal as refusal:
            return _answer(400, {"code": refusal.reason.code, "message": refusal.reason.message})
        refused = [one for one in found if isinstance(one, Refusal)]
        events = [one for one in found if not isinstance(one, Refusal)]
        for one in refused:
            _logger.warning("An impression can't be read: %s (%s)", one, one.reason.path)
        if not events and refused and refused[0].reason.path in ("", "/body"):
            return _answer(400, {"code": refused[0].reason.code, "message": refused[0].reason.message})
        counts = {"events": len(events), "refused": len(refused), "sent": 0, "failed": 0}
        for first in range(0, len(events), batch):
            left = _left_ms(context)
            if left < reserve_ms:
                return _answer(500, {**counts, "message": "There was no time for the rest."})
            outcomes = _sent(dispatcher, events[first : first + batch], (left - reserve_ms / 2) / 1000)
            if outcomes is None:
                return _answer(500, {**counts, "message": "There was no time to wait for an answer."})
            good = sum(outcome.outcome in _ENDED for outcome in outcomes)
            counts["sent"] += good
            counts["failed"] += len(outcomes) - good
            if again(outcomes):
                return _answer(500, {**counts, "message": "Some events have to be sent again."})
        return _answer(200, counts)

    return lambda_handler


def _sent(dispatcher: Dispatcher, events: Sequence[Mapping[str, Any]], seconds: float) -> list[Settled] | None:
    """Deliver events and return their outcomes, None when that is not done within so many seconds."""

    async def send() -> list[Settled]:
        async with asyncio.timeout(None if isinf(seconds) else seconds):
            return await dispatcher.send_async(events)

    try:
        return asyncio.run(send())
    except TimeoutError:
        return None


def _left_ms(context: Any) -> float:
    left = getattr(context, "get_remaining_time_in_millis", None)
    return float(left()) if callable(left) else float("inf")


def _knows(event: Any, secret: str) -> bool:
    if not isinstance(event, Mapping):
        return False
    headers = event.get("headers")
    named = headers.items() if isinstance(headers, Mapping) else ()
    given = next((str(value) for name, value in named if str(name).lower() == "x-turnout-secret"), "")
    path = str(event.get("rawPath") or event.get("path") or "")
    last = path.rstrip("/").rpartition("/")[2]
    # Both are compared, so that it takes as long whichever is wrong.
    return hmac.compare_digest(_bytes(given), _bytes(secret)) | hmac.compare_digest(_bytes(last), _bytes(secret))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _answer(status: int, told: Mapping[str, Any]) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(told)}

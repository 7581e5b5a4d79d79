"""Split's impressions webhook, as an ASGI app of its own. (`turnout serve` takes it as well, at `/v1/hooks/<source>`.)

    app = ImpressionsWebhook(dispatcher, {"hook_secret": "…"})      # POST https://…/<secret>

Split counts nothing but 200 as success, repeats a batch once after 300 ms, and then forgets it: so events are handed on
before the answer, and a batch that could not be handed on gets 503.
"""

from __future__ import annotations

import hmac
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from turnout import Dispatcher, Refusal, SettingsError
from turnout_sources._handing import taker_async
from turnout_sources.split_impressions import SplitImpressions

__all__ = ["ImpressionsWebhook"]

_logger = logging.getLogger("turnout")

Message = MutableMapping[str, Any]
Sink = Callable[[Sequence[Mapping[str, Any]]], Awaitable[object] | object]
"""Takes a batch of events, at once or as a coroutine; when it raises, Split is asked to come again."""


class ImpressionsWebhook:
    """Takes batches of impressions; `sink` is a `Dispatcher` (its log, if it has one) or a function of events.

    `settings` are those of the source `split_impressions`; `hook_secret` has to be the last part of the path, or the
    header `x-turnout-secret`. `most` is how many bytes a body may have, as it comes.
    """

    def __init__(self, sink: Dispatcher | Sink, settings: Mapping[str, Any], *, most: int = 10_000_000) -> None:
        self._source = SplitImpressions(settings, id="split_impressions")
        if not self._source.config.hook_secret:
            raise SettingsError("source 'split_impressions': A webhook needs a hook_secret: anybody could post to it.")
        self._sink: Sink = taker_async(sink) if isinstance(sink, Dispatcher) else sink
        self._most = most

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, told = await self._answer(scope, receive)
        body = json.dumps(told).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 413:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Message, receive: Any) -> tuple[int, dict[str, Any]]:
        if scope["method"] != "POST":
            return 405, {"message": "Send impressions with POST."}
        if not self._knows(scope):
            return 401, {"message": "The secret is missing or wrong. Put it at the end of the path."}
        raw = await self._body(receive)
        if raw is None:
            return 413, {"message": f"The body has more than {self._most:,} bytes."}
        try:
            found = list(self._source.read(raw)) if raw.strip() else []
        except Refusal as refusal:
            return 400, {"code": refusal.reason.code, "message": refusal.reason.message}
        bad = [one for one in found if isinstance(one, Refusal)]
        events = [one for one in found if not isinstance(one, Refusal)]
        try:
            if events:
                done = self._sink(events)
                if inspect.isawaitable(done):
                    await done
        except Exception as error:
            _logger.error("%d events could not be handed on: %s: %s", len(events), type(error).__name__, error)
            return 503, {"message": "The impressions could not be kept. Send them again."}
        refused = [{"path": one.reason.path, "message": one.reason.message} for one in bad]
        return 200, {"events": len(events), "refused": refused}

    def _knows(self, scope: Message) -> bool:
        secret = self._source.config.hook_secret.encode()
        header = dict(scope["headers"]).get(b"x-turnout-secret", b"")
        last = scope["path"].rstrip("/").rpartition("/")[2].encode("utf-8", "surrogatepass")
        # Both are compared, so that it takes as long whichever is wrong.
        return hmac.compare_digest(header, secret) | hmac.compare_digest(last, secret)

    async def _body(self, receive: Any) -> bytes | None:
        pieces, size, more = [], 0, True
        while more:
            message = await receive()
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > self._most:
                return None
            more = message.get("more_body", False)
        return b"".join(pieces)

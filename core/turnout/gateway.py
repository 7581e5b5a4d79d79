"""The gateway: Segment's tracking API over a log, as an ASGI app. 200 means that the events are on the disk.

    with Acceptor(log, settings, now_ms) as acceptor:
        app = Gateway(acceptor, WriteKeys(sources), gateway_settings)

`turnout serve` runs it (see `serving.py`); another ASGI server can as well. Paths: `/v1/track` and so on for single
calls, `/v1/batch` and `/v1/import`, the short ones of browsers (`/v1/t`), and `/v1/projects/<write key>/settings`,
which analytics.js asks for before it sends. `/v1/hooks/<source>` takes the webhooks of vendors (see `webhooks.py`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from turnout._json import compact
from turnout._receiving import BodyError, GoneError, Receive, Room, read_body
from turnout.accepting import Acceptor
from turnout.errors import Refusal
from turnout.gatewaymetrics import Tally
from turnout.intake import Batch, Call, Kept, Single, Turns, ipv4
from turnout.log import LogError
from turnout.normalise import Normaliser
from turnout.reasons import Code, Reason
from turnout.settings import Config
from turnout.webhooks import HOOKS, Webhooks, kept_of
from turnout.writekeys import HttpSource, WriteKeys

__all__ = ["Gateway"]

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_BATCH = "batch"
_NOTHING = "metrics"
_SHORT = {"t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias"}
_LONG = ("track", "identify", "page", "screen", "group", "alias", "delete")
PATHS = {
    **{f"/v1/{short}": kind for short, kind in _SHORT.items()},
    **{f"/v1/{kind}": kind for kind in _LONG},
    **dict.fromkeys(("/v1/batch", "/v1/import", "/v1/b"), _BATCH),
    "/v1/m": _NOTHING,
}
"""The paths for calls, each with the type of its call."""

_DONE = b'{"success":true}'
_AGAIN_SECONDS = 1
_FULL_SECONDS = 5
_UNREADABLE = frozenset({Code.BAD_REQUEST, Code.NESTING_TOO_DEEP})
_LONG_PAYLOAD = 20_000
"""Bytes of a webhook that are read in a thread, so that other calls go on meanwhile."""
_ALWAYS_400 = _UNREADABLE | {Code.EVENT_TOO_LARGE, Code.BODY_TOO_LARGE}
"""Reasons for which `always_200` changes nothing: what is not JSON, and what is too large."""


class Answer(msgspec.Struct):
    """A status, a JSON body and more headers."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _RefusedError(Exception):
    """A request that is answered without looking at its events."""

    def __init__(self, status: int, code: Code, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.answer = Answer(status, told(Reason(code, message)), headers)
        self.code = code


class Gateway:
    """Takes calls from Segment's and RudderStack's libraries into a log.

    `keys` are the sources that may send, `settings` is the section `[gateway]`. `clock` gives the time of arrival, UTC.
    `hooks` are the sources whose vendors may send webhooks.
    """

    def __init__(
        self,
        acceptor: Acceptor,
        keys: WriteKeys,
        settings: Config,
        *,
        normaliser: Normaliser | None = None,
        clock: Callable[[], datetime] | None = None,
        hooks: Webhooks | None = None,
    ) -> None:
        self.hooks = hooks or Webhooks({})
        self.acceptor = acceptor
        self.keys = keys
        self.settings = settings
        self.normaliser = normaliser or Normaliser()
        self.tally = Tally()
        self.stopping = False
        """Set it, and every call gets 503: its sender comes back later."""
        self._clock = clock or _now
        self._turns = Turns()
        self._room = Room(int(settings.max_waiting_megabytes) * 1_000_000)
        self._origins = frozenset(settings.allowed_origins)

    @property
    def reading_bytes(self) -> int:
        """Return what has come of bodies that are being read, and what their calls will leave."""
        return self._room.taken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what it holds is durably in the log before it is told so."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        try:
            answer = await self._answer(scope, headers, receive)
        except GoneError:
            self.tally.request(0, time.perf_counter() - started)
            return
        except asyncio.CancelledError:
            if not self.stopping:
                raise
            answer = _stopping().answer  # its time to finish is over
        self.tally.request(answer.status, time.perf_counter() - started)
        await self._send(answer, headers, send)

    async def crowded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer that more connections are open than may be, whatever is asked."""
        message = "Too many connections are open. Send it again later."
        refused = _RefusedError(503, Code.TOO_BUSY, message, _later(_AGAIN_SECONDS), *_CLOSE)
        self.tally.refused(refused.code)
        self.tally.request(503, 0.0)
        await self._send(refused.answer, dict(scope["headers"]), send)

    async def _send(self, answer: Answer, headers: Mapping[bytes, bytes], send: Send) -> None:
        # A browser would ask the visitor of a page for a name and a password.
        page = not _BROWSERS.isdisjoint(headers)
        sent = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer.body)).encode()),
            *self._cors(headers.get(b"origin")),
            *(one for one in answer.headers if not (page and one[0] == b"www-authenticate")),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": sent})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Answer:
        path, method = scope["path"].rstrip("/"), scope["method"]
        kind = PATHS.get(path)
        try:
            if path.startswith(HOOKS):
                return await self._hooked(path, method, headers, receive)
            if kind is None:
                return self._page(path, method)
            if method == "OPTIONS":
                return Answer(204, b"", _PREFLIGHT)
            if method != "POST":
                raise _RefusedError(
                    405, Code.METHOD_NOT_ALLOWED, f"Send calls to {path} with POST.", (b"allow", b"POST")
                )
            return await self._taken(kind, scope, headers, receive)
        except _RefusedError as refused:
            self.tally.refused(refused.code)
            return refused.answer
        except BodyError as error:
            self.tally.refused(error.reason.code)
            return Answer(error.status, told(error.reason), _BESIDE.get(error.status, ()))

    def _page(self, path: str, method: str) -> Answer:
        """Return what is there beside the calls: the settings that analytics.js asks for."""
        parts = path.split("/")
        if method == "GET" and parts[1:3] == ["v1", "projects"] and parts[4:] == ["settings"]:
            if self.keys.source(parts[3]) is None:
                raise _unknown_key(401, "No source has this write key.")
            return Answer(200, compact(_library_settings(parts[3])))
        known = "/v1/track, /v1/identify, /v1/page, /v1/screen, /v1/group, /v1/alias and /v1/batch"
        raise _RefusedError(404, Code.NOT_FOUND, f"There is nothing at this path. Send calls to {known}.")

    async def _taken(self, kind: str, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Answer:
        """Read the body of a call and keep its events."""
        self._check_room()
        given, token = _credentials(headers.get(b"authorization"))
        source = None if given is None else self._source(given, token)
        most, seconds = int(self.settings.max_body_bytes), float(self.settings.body_seconds)
        raw = await read_body(receive, headers, most, seconds, self._room)
        if kind == _NOTHING:
            return Answer(200, _DONE)
        try:
            call = self._read(kind, raw)
        except Refusal as refusal:
            self.tally.refused(refusal.reason.code)
            return self._refused(refusal.reason)
        bad = call.refusal if isinstance(call, Single) else None
        if bad and not source and not call.write_key and bad.code in _UNREADABLE:
            self.tally.refused(bad.code)  # what can't be read may hold the key
            return Answer(400, told(bad))
        source = source or self._source(call.write_key, token)
        client = scope.get("client")
        return await self._kept(call, source, ipv4(client[0] if client else None))

    async def _hooked(self, path: str, method: str, headers: Mapping[bytes, bytes], receive: Receive) -> Answer:
        """Keep the events of a vendor's webhook; 200 when all that could be read of it is kept."""
        if method != "POST":
            message = "Send webhooks with POST."
            raise _RefusedError(405, Code.METHOD_NOT_ALLOWED, message, (b"allow", b"POST"))
        self._check_room()
        source = self.hooks.source(path, headers)
        if source is None:
            message = "No source takes this webhook: compare id, secret and hook_secret of the configuration."
            raise _RefusedError(401, Code.WRITE_KEY_UNKNOWN, message)
        most, seconds = int(self.settings.max_body_bytes), float(self.settings.body_seconds)
        raw = await read_body(receive, headers, most, seconds, self._room)
        given = source, raw, self.normaliser, self._clock()
        kept, lost = await asyncio.to_thread(kept_of, *given) if len(raw) > _LONG_PAYLOAD else kept_of(*given)
        await self._written(kept, source.id)
        if lost is not None:  # whoever sends it again may find the plugin mended
            return Answer(500 if lost.code is Code.PLUGIN_RAISED else 400, told(lost))
        if not kept.refused:
            return Answer(200, _DONE)
        rejected = [{"index": one.index, **_plain(one.reason)} for one in kept.refused]
        return Answer(200, compact({"success": True, "rejected": rejected}))

    def _check_room(self) -> None:
        """Raise an error when nothing more can be taken now."""
        if self.stopping:
            raise _stopping()
        self._check_waiting()

    def _check_waiting(self) -> None:
        if self.acceptor.waiting_bytes + self._room.taken > self._room.most:
            message = "Too many calls wait to be kept. Send it again later."
            raise _RefusedError(429, Code.TOO_BUSY, message, _later(_AGAIN_SECONDS))

    def _source(self, key: str | None, token: str | None) -> HttpSource:
        if not key:
            message = "The call has no write key. Send it as the user name of Basic authentication, or as `writeKey`."
            raise _unknown_key(401, message)
        source = self.keys.source(key)
        if source is None:
            raise _unknown_key(401, "No source has this write key. Compare it with those of the configuration.")
        if not source.admits(token):
            raise _unknown_key(401, f"The source '{source.id}' wants its bearer token in the authorization header.")
        return source

    def _read(self, kind: str, raw: bytes) -> Call:
        arrival = self._clock()
        if kind == _BATCH:
            return Batch(self.normaliser, raw, arrival, int(self.settings.max_batch_events), self._turns)
        return Single(self.normaliser, raw, kind, arrival)

    async def _kept(self, call: Call, source: HttpSource, address: str | None) -> Answer:
        self._room.taken += call.size
        try:
            self._check_waiting()
            kept = await call.kept(source, address)
        finally:
            self._room.taken -= call.size
        await self._written(kept, source.id)
        if not kept.refused and not call.surplus:
            return Answer(200, _DONE)
        if isinstance(call, Batch):
            return Answer(200, compact({"success": True, "rejected": self._rejected(call, kept, source)}))
        return self._refused(kept.refused[0].reason)

    async def _written(self, kept: Kept, source: str) -> None:
        """Return when the events are durably in the log, and count what became of each."""
        try:
            positions = await self.acceptor.keep(kept.texts, kept.keys)
        except LogError:
            message = "The events can't be kept now. Send them again later."
            raise _RefusedError(503, Code.LOG_UNAVAILABLE, message, _later(_FULL_SECONDS)) from None
        self.tally.kept(source, positions)
        for one in kept.refused:
            self.tally.refused(one.reason.code, source=source)

    def _rejected(self, batch: Batch, kept: Kept, source: HttpSource) -> list[dict[str, Any]]:
        """Return what a batch is told of the events that were not taken, with their places."""
        rejected = [{"index": one.index, "messageId": one.message_id, **_plain(one.reason)} for one in kept.refused]
        if batch.surplus:
            first, number = len(batch), batch.surplus
            self.tally.refused(Code.BATCH_TOO_LONG, number, source.id)
            message = f"A batch may have {first:,} events; the last {number:,} were not taken. Send them by themselves."
            reason = Reason(Code.BATCH_TOO_LONG, message)
            rejected.append({"index": first, "count": number, "messageId": None, **_plain(reason)})
        return rejected

    def _refused(self, reason: Reason) -> Answer:
        """Return the answer to a call that can't be accepted."""
        if self.settings.always_200 and reason.code not in _ALWAYS_400:
            return Answer(200, _DONE)
        return Answer(413 if reason.code is Code.BODY_TOO_LARGE else 400, told(reason))

    def _cors(self, origin: bytes | None) -> Sequence[tuple[bytes, bytes]]:
        if origin is None:
            return ()
        if "*" in self._origins:
            return _ANY_ORIGIN
        if origin.decode("latin-1") in self._origins:
            return ((b"access-control-allow-origin", origin), (b"vary", b"origin"), _EXPOSED)
        return ((b"vary", b"origin"),)


_CLOSE = ((b"connection", b"close"),)
_BROWSERS = frozenset({b"origin", b"sec-fetch-mode"})
"""Headers that only browsers send."""
_BESIDE = {408: _CLOSE, 429: ((b"retry-after", b"%d" % _AGAIN_SECONDS),)}
"""Headers of an answer to a body that was not read to its end, by status."""
_EXPOSED = (b"access-control-expose-headers", b"retry-after")
"""What pages may read of an answer beside its body."""
_ANY_ORIGIN = ((b"access-control-allow-origin", b"*"), _EXPOSED)
_PREFLIGHT = (
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    # analytics.js counts its retries in a header, RudderStack's library names the visitor in one.
    (
        b"access-control-allow-headers",
        b"authorization, content-type, content-encoding, x-retry-count, anonymousid",
    ),
    (b"access-control-max-age", b"86400"),
)


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _later(seconds: int) -> tuple[bytes, bytes]:
    return b"retry-after", str(seconds).encode()


def _stopping() -> _RefusedError:
    message = "The gateway is being stopped. Send it again."
    return _RefusedError(503, Code.LOG_UNAVAILABLE, message, _later(_AGAIN_SECONDS), *_CLOSE)


def _unknown_key(status: int, message: str) -> _RefusedError:
    return _RefusedError(status, Code.WRITE_KEY_UNKNOWN, message, (b"www-authenticate", b'Basic realm="turnout"'))


def _credentials(header: bytes | None) -> tuple[str | None, str | None]:
    """Return the write key and the bearer token of an authorization header.

    Basic: the user name, also without the colon. Raises an error for a header that is neither.
    """
    if header is None:
        return None, None
    scheme, _, value = header.decode("latin-1").strip().partition(" ")
    if scheme.lower() == "bearer":
        return None, value.strip()
    if scheme.lower() == "basic":
        try:
            plain = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise _unknown_key(
                401, "The Basic authentication can't be decoded. Send base64 of `<write key>:`."
            ) from None
        return plain.partition(":")[0], None
    raise _unknown_key(401, "The authorization header is neither Basic nor Bearer.")


def _plain(reason: Reason) -> dict[str, Any]:
    return {"code": reason.code.value, "message": reason.message, "path": reason.path}


def told(reason: Reason) -> bytes:
    """Return the body of an answer that refuses a request."""
    return compact({"success": False, **_plain(reason)})


def _library_settings(key: str) -> dict[str, Any]:
    """Return the settings of analytics.js for a source without destinations in the browser."""
    segment = {
        "apiKey": key,
        "unbundledIntegrations": [],
        "addBundledMetadata": True,
        "maybeBundledConfigIds": {},
        "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
    }
    return {
        "integrations": {"Segment.io": segment},
        "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }

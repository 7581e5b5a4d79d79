"""What one call of a sender holds, read for the source that sent it: what the log keeps, and what can't be accepted.

No HTTP here: `gateway.py` has that. An event is kept with the id of its source as `projectId` and without any write
key, so that no key gets into the log.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from datetime import datetime

import msgspec
from msgspec.structs import force_setattr

from turnout._batch import Body
from turnout._json import compact
from turnout._times import iso, parse
from turnout.accepting import stored
from turnout.body import told_message_id
from turnout.dedupe import key_of
from turnout.errors import Refusal
from turnout.event import Event
from turnout.normalise import Normaliser
from turnout.platforms import SERVER, platform_of
from turnout.reasons import Code, Reason
from turnout.writekeys import HttpSource

__all__ = ["Batch", "Call", "Kept", "Refused", "Single", "Turns", "ipv4"]

_raw_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_COPIES = 4_000_000
"""Bytes that the common keys of a batch may take, once each event has them."""
_TURN = 0.01
"""Seconds after which batches with events that need a look have let other calls have their turn."""


class Refused(msgspec.Struct, frozen=True):
    """An event that is not taken: its place in its call, why, and its message id as far as it can be read.

    An exception would hold on to everything that was at hand when it was raised.
    """

    index: int
    reason: Reason
    message_id: str | None = None


class Kept(msgspec.Struct):
    """What a call leaves: texts for the log with their keys for deduplication, and what is refused."""

    texts: list[bytes] = []
    keys: list[bytes] = []
    refused: list[Refused] = []


class Turns:
    """Shares an event loop between the batches that are being read, and leaves most of it to others."""

    def __init__(self) -> None:
        self._busy = 0
        self._since = 0.0

    def __enter__(self) -> Turns:
        self._busy += 1
        self._since = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._busy -= 1

    async def pause(self) -> None:
        """Let others have their turn when this one has lasted long enough."""
        if time.perf_counter() - self._since > _TURN / self._busy:
            await asyncio.sleep(0)
            self._since = time.perf_counter()


class Call:
    """One request of a sender, before it is known who it is."""

    write_key: str | None
    """The write key that the body holds, if it does."""
    surplus: int = 0
    """How many events behind the allowed number were not read."""
    size: int
    """About how many bytes it leaves."""

    async def kept(self, source: HttpSource, address: str | None) -> Kept:
        """Return what the call leaves in the log as one of `source`; `address` is where the request came from."""
        raise NotImplementedError


class Single(Call):
    """A request to a path such as `/v1/track`: one event; the path says of which type it is."""

    def __init__(self, normaliser: Normaliser, raw: bytes, kind: str, arrival: datetime) -> None:
        self.size, text = len(raw), raw.strip()
        if text[:1] == b"{" and text[-1:] == b"}" and len(text) > 2:
            text = text[:-1] + b',"type":"%b"}' % kind.encode()
        self.refusal: Reason | None = None
        """Why the event can't be accepted from anybody."""
        try:
            self._event = normaliser.event(text, arrival)
            self.write_key = self._event.write_key
        except Refusal as refusal:
            # Not the exception: it would hold on to the event, and through its traceback to itself.
            self.refusal, self.write_key = refusal.reason, _key_in(raw)

    async def kept(self, source: HttpSource, address: str | None) -> Kept:
        """Return what the call leaves."""
        kept = Kept()
        if self.refusal is None:
            _keep(kept, 0, self._event, source, address)
        else:
            kept.refused.append(Refused(0, self.refusal))
        return kept


class Batch(Call):
    """A batch body, with at most `most` events; raises `Refusal` for the body itself."""

    def __init__(self, normaliser: Normaliser, raw: bytes, arrival: datetime, most: int, turns: Turns) -> None:
        self._normaliser, self._arrival, self._turns = normaliser, arrival, turns
        self._body = body = Body.of_text(raw)
        self.surplus = max(0, len(body.items) - most)
        if self.surplus:
            body.items = body.items[:most]
        key = body.take("writeKey")
        self.write_key = key if isinstance(key, str) and key else _key_in(body.source(0))
        copies = len(compact(body.common)) * len(body.items) if body.common else 0
        if copies > _COPIES:
            message = (
                f"What the batch says for all of its events would take {copies:,} bytes once each of them has it, "
                f"and {_COPIES:,} are allowed. Send fewer events at a time."
            )
            raise Refusal(Code.BODY_TOO_LARGE, message, "")
        self.size = len(raw) + copies

    def __len__(self) -> int:
        return len(self._body.items)

    async def kept(self, source: HttpSource, address: str | None) -> Kept:
        """Return what the call leaves.

        Nearly all events of nearly all batches need no look of their own: they are decoded to see that they are good,
        and kept as they came, with the stamps of their arrival behind.
        """
        kept, normaliser, body = Kept(), self._normaliser, self._body
        texts, keys, plain = kept.texts, kept.keys, normaliser.plain
        addressed = bool(address) and source.settings.client_ip
        stamps = self._stamps(source) if not body.common.keys() - {"sentAt"} else None
        with self._turns as turns:
            for index, item in enumerate(body.items):
                text = memoryview(item)
                event = plain(text) if stamps else None
                if event is None:
                    self._look(kept, index, source, address)
                    await turns.pause()
                    continue
                seen = address if addressed and not event.context.ip and _on_device(event) else None
                if seen or event.write_key is not None:
                    text = memoryview(_rewritten(bytes(item), seen))
                texts.append(b"".join((text[:-1], stamps[event.sent_at is None])))  # type: ignore[index]
                keys.append(key_of(source.id, event.message_id))
        return kept

    def _stamps(self, source: HttpSource) -> tuple[bytes, bytes] | None:
        """Return what stands behind an event with a time of sending, and behind one without; None for a bad time."""
        stamps = b',"receivedAt":"%b","projectId":%b}' % (iso(self._arrival).encode(), compact(source.id))
        sent = self._body.common.get("sentAt")
        if sent is None:
            return stamps, stamps
        moment = parse(sent) if isinstance(sent, str) else None
        if moment is None or not 2 <= moment.year <= 9998:
            return None
        return stamps, b',"sentAt":%b' % compact(sent) + stamps

    def _look(self, kept: Kept, index: int, source: HttpSource, address: str | None) -> None:
        """Keep or refuse one event that needs a look of its own."""
        try:
            event = self._normaliser.event(self._body.source(index), self._arrival)
        except Refusal as refusal:
            kept.refused.append(_refused(index, refusal, bytes(self._body.items[index])))
        else:
            _keep(kept, index, event, source, address)


def _refused(index: int, refusal: Refusal, text: bytes) -> Refused:
    return Refused(index, refusal.reason, told_message_id(text, lambda _: None))


class _Key(msgspec.Struct, rename="camel"):
    write_key: str | None = None


_key = msgspec.json.Decoder(_Key).decode


def _key_in(raw: bytes) -> str | None:
    """Return the write key in the text of an event that may be bad in other ways."""
    try:
        return _key(raw).write_key
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _keep(kept: Kept, index: int, event: Event, source: HttpSource, address: str | None) -> None:
    settings = source.settings
    if event.type == "delete" and not settings.allow_delete:
        message = f"The source '{source.id}' may not delete users. Set allow_delete if nobody else has its write key."
        kept.refused.append(_refused(index, Refusal(Code.DELETE_NOT_ALLOWED, message, "/type"), event.raw))
        return
    force_setattr(event, "project_id", source.id)
    wants = bool(address) and settings.client_ip and not event.context.ip
    seen = address if wants and _on_device(event) else None
    if seen or event.write_key is not None:
        force_setattr(event, "raw", _rewritten(event.raw, seen))
    kept.texts.append(stored(event))
    kept.keys.append(key_of(source.id, event.message_id))


def _on_device(event: Event) -> bool:
    """Return whether the event comes from a visitor's own device, or asks for the address (`context.direct`)."""
    return platform_of(event) != SERVER or event.context.direct is True


def _rewritten(raw: bytes, address: str | None) -> bytes:
    """Return the text of an event without its write key, and with an address in its context."""
    keys = _raw_keys(raw)
    keys.pop("writeKey", None)
    if address:
        told = keys.get("context")
        context = _raw_keys(told) if told is not None and bytes(told) != b"null" else {}
        context["ip"] = msgspec.Raw(compact(address))
        keys["context"] = msgspec.Raw(compact(context))
    return compact(keys)


def ipv4(address: str | None) -> str | None:
    """Return an address in its usual form when it is an IPv4 one, else None: Segment adds no IPv6 address."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped) if found.ipv4_mapped else None
    return str(found)

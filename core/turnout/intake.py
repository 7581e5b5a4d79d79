"""What one call of a sender holds: its events, each read for the source that sent it, or why it can't be accepted.

No HTTP here: `gateway.py` has that. An event leaves with the id of its source as `projectId` and without any write key,
so that no key gets into the log.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import force_setattr

from turnout._batch import Body
from turnout._json import compact
from turnout.errors import Refusal
from turnout.event import Event
from turnout.normalise import Normaliser
from turnout.platforms import SERVER, platform_of
from turnout.reasons import Code
from turnout.writekeys import HttpSource

__all__ = ["Call", "batch_call", "ipv4", "single_call"]

_raw_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Call(msgspec.Struct):
    """The events of one request and the write key that it holds, if any; `batch`: whether it was a batch."""

    events: Sequence[Event | Refusal]
    write_key: str | None
    batch: bool
    surplus: int = 0
    """How many events behind the allowed number were not read."""

    def of(self, source: HttpSource, address: str | None) -> list[Event | Refusal]:
        """Return the events as those of a source; `address` is where the request came from."""
        return [_owned(event, source, address) if isinstance(event, Event) else event for event in self.events]


def single_call(normaliser: Normaliser, raw: bytes, kind: str, arrival: datetime) -> Call:
    """Return the call that a request to a path such as `/v1/track` makes; the path says of which type it is."""
    text = raw.strip()
    if text[:1] == b"{" and text[-1:] == b"}" and len(text) > 2:
        text = text[:-1] + b',"type":"%b"}' % kind.encode()
    try:
        event = normaliser.event(text, arrival)
    except Refusal as refusal:
        return Call([refusal], _key_in(raw), False)
    return Call([event], event.write_key, False)


def batch_call(normaliser: Normaliser, raw: bytes, arrival: datetime, most: int) -> Call:
    """Return the call that a batch body makes, with at most so many events; raise `Refusal` for the body itself."""
    body = Body.of_text(raw)
    surplus = max(0, len(body.items) - most)
    if surplus:
        body.items = body.items[:most]
    key = body.take("writeKey")
    if not isinstance(key, str) or not key:
        key = _key_in(body.source(0))
    return Call(list(normaliser.batch(body, arrival)), key, True, surplus)


class _Key(msgspec.Struct, rename="camel"):
    write_key: str | None = None


_key = msgspec.json.Decoder(_Key).decode


def _key_in(raw: bytes) -> str | None:
    """Return the write key in the text of an event that may be bad in other ways."""
    try:
        return _key(raw).write_key
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _owned(event: Event, source: HttpSource, address: str | None) -> Event | Refusal:
    settings = source.settings
    if event.type == "delete" and not settings.allow_delete:
        message = f"The source '{source.id}' may not delete users. Set allow_delete if nobody else has its write key."
        refusal = Refusal(Code.DELETE_NOT_ALLOWED, message, "/type")
        refusal.source = event.raw
        return refusal
    force_setattr(event, "project_id", source.id)
    wants = bool(address) and settings.client_ip and not event.context.ip
    seen = address if wants and _on_device(event) else None
    if seen or event.write_key is not None:
        force_setattr(event, "raw", _rewritten(event.raw, seen))
        force_setattr(event, "write_key", None)
    return event


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

"""What comes in: one event or a batch body, as text, bytes or a mapping, before anything is known of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import msgspec

from turnout._json import read
from turnout.errors import Refusal
from turnout.normalise import EventLike

__all__ = ["EventLike", "encoded", "hashed", "is_batch", "told_message_id"]


_LONGEST_NUMBER = 2_000
"""Bits of a number that is an id: of one much longer Python makes no text, but an error."""


class _Keys(msgspec.Struct):
    """The two keys that tell a batch body from an event."""

    type: msgspec.Raw = msgspec.Raw()
    batch: msgspec.Raw = msgspec.Raw()


_keys = msgspec.json.Decoder(_Keys).decode


def is_batch(source: EventLike) -> bool:
    """Return whether `source` is a batch body: an object with `batch` and without `type`."""
    if isinstance(source, Mapping):
        return "batch" in source and source.get("type") is None
    raw = encoded(source)
    if raw is None or b'"batch"' not in raw:
        return False
    try:
        keys = _keys(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return bool(bytes(keys.batch)) and bytes(keys.type) in (b"", b"null")


def encoded(source: EventLike) -> bytes | None:
    """Return the bytes of a JSON text, None for what is not a text or can't be encoded."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, str):
        return source.encode("utf-8", "surrogatepass")
    return None


def hashed(raw: bytes) -> str:
    """Return a message id made of a JSON text alone, so that the same text has the same id every time."""
    return hashlib.sha256(raw).hexdigest()[:32]


def told_message_id(source: EventLike, new_id: Callable[[bytes], str | None]) -> str | None:
    """Return the message id of an event that was refused, as far as it can be read; None where it can't."""
    raw = encoded(source)
    try:
        told = read(raw) if raw is not None else source
    except Refusal:
        return None
    if not isinstance(told, Mapping):
        return None
    own = told.get("messageId")
    if isinstance(own, int) and not isinstance(own, bool) and own.bit_length() < _LONGEST_NUMBER:
        return str(own)
    if isinstance(own, str) and own:
        return own
    return new_id(raw) if raw is not None else None

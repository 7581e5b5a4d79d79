"""What an event may measure."""

from __future__ import annotations

import msgspec

__all__ = ["Limits"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What an event may measure; the defaults are those of Segment's HTTP API (its libraries' 32 KB)."""

    event_bytes: int = 32 * 1024
    """Bytes of one event's JSON text, as received; a longer text counts as its compact form."""
    message_id: int = 100
    """Characters of `messageId`."""
    keys: int = 10_000
    """Keys of `properties`, and of `traits`."""
    depth: int = 64
    """Objects and lists inside each other, the event itself being the first."""

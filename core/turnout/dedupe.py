"""Deduplication at acceptance: what was accepted in the last hours is not accepted again."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

__all__ = ["Seen", "key_of"]

_ENTRY_BYTES = 150
"""What one remembered key takes in memory: the bytes object, its time, and its place in the dict."""


def key_of(source: str, message_id: str) -> bytes:
    """Return 16 bytes that stand for a source and a message id."""
    return blake2b(f"{source}\0{message_id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Seen:
    """The keys of what was accepted within `age_ms`; at most `max_bytes` of memory, then the oldest go first.

    `evicted` counts the keys that had to go before their time: a second copy of these would be accepted.
    """

    def __init__(self, age_ms: int, max_bytes: int) -> None:
        self.evicted = 0
        self._age_ms = age_ms
        self._most = max(1, max_bytes // _ENTRY_BYTES)
        self._times: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._times)

    def add(self, key: bytes, now_ms: int) -> bool:
        """Remember a key; return False when it was there already."""
        if key in self._times:
            return False
        self._times[key] = now_ms
        self._forget(now_ms)
        return True

    def remove(self, keys: Iterable[bytes]) -> None:
        """Forget keys whose events could not be kept after all."""
        for key in keys:
            self._times.pop(key, None)

    def _forget(self, now_ms: int) -> None:
        while self._times:
            oldest = next(iter(self._times))
            expired = self._times[oldest] < now_ms - self._age_ms
            if not expired and len(self._times) <= self._most:
                return
            self.evicted += not expired
            del self._times[oldest]

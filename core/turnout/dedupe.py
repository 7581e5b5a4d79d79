"""Deduplication at acceptance: what was accepted in the last hours is not accepted again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from hashlib import blake2b

__all__ = ["Seen", "key_of"]

_ENTRY_BYTES = 220
"""What one remembered key takes in memory, measured: the bytes object, and its places in a dict and a deque."""


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
        # Finding the first key of a dict from whose front much was deleted takes as long as walking over the holes.
        self._order: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._times)

    def add(self, key: bytes, now_ms: int) -> bool:
        """Remember a key; return False when it was there already."""
        if key in self._times:
            return False
        self._times[key] = now_ms
        self._order.append(key)
        self._forget(now_ms)
        return True

    def add_all(self, keys: Sequence[bytes], now_ms: int) -> list[bool]:
        """Remember keys; return for each whether it was new."""
        times, order, news = self._times, self._order, []
        for key in keys:
            new = key not in times
            news.append(new)
            if new:
                times[key] = now_ms
                order.append(key)
        self._forget(now_ms)
        return news

    def remove(self, keys: Iterable[bytes]) -> None:
        """Forget the keys that were added last: their events could not be kept after all."""
        gone = set(keys)
        while self._order and self._order[-1] in gone:
            self._times.pop(self._order.pop(), None)

    def _forget(self, now_ms: int) -> None:
        while self._order:
            oldest = self._order[0]
            expired = self._times[oldest] < now_ms - self._age_ms
            if not expired and len(self._times) <= self._most:
                return
            self.evicted += not expired
            del self._times[self._order.popleft()]

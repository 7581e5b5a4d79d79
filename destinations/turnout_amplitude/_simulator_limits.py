"""Amplitude's rate model: events per user and device over 30 seconds, and the daily quota of `/batch`."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

__all__ = ["Rates", "Window", "too_many"]

WINDOW_MS = 30_000
DAY_HOURS = 24
HOUR_MS = 3_600_000


class Window:
    """A sliding window: how much each key used in the last `length_ms`."""

    def __init__(self, length_ms: int) -> None:
        self._length_ms = length_ms
        self._used: dict[str, deque[tuple[int, int]]] = {}

    def used(self, key: str, now: int) -> int:
        """Return what `key` used within the window that ends now."""
        uses = self._used.get(key, deque())
        while uses and uses[0][0] <= now - self._length_ms:
            uses.popleft()
        return sum(amount for _, amount in uses)

    def use(self, key: str, now: int, amount: int) -> None:
        """Count `amount` for `key`."""
        self._used.setdefault(key, deque()).append((now, amount))

    def admit(self, key: str, now: int, amount: int, most: int) -> bool:
        """Count `amount` for `key` and return True, unless that would be more than `most`."""
        if self.used(key, now) + amount > most:
            return False
        self.use(key, now, amount)
        return True


class Rates:
    """Says 429 with the documented maps; counts what it lets through.

    `eps` is the documented number of events per second (30 for HTTP V2, 1000 for Batch), averaged over 30 s;
    `daily` the number of events per id and 24 h (in steps of an hour), None for no such quota.
    """

    def __init__(self, eps: int, daily: int | None = None) -> None:
        self.eps = eps
        self.daily = daily
        self._recent = Window(WINDOW_MS)
        self._hours: dict[str, Counter[int]] = {}

    def admit(self, items: Sequence[dict[str, Any]], now: int) -> dict[str, Any] | None:
        """Return the body of a 429, or None and count the items."""
        counts = Counter(_key(kind, item) for item in items for kind in _KINDS if item.get(kind) is not None)
        throttled = {key: eps for key, amount in counts.items() if (eps := self._eps(key, amount, now))}
        exceeded = {key: total for key, amount in counts.items() if (total := self._total(key, amount, now))}
        if throttled or exceeded:
            return self._refusal(items, throttled, exceeded)
        for key, amount in counts.items():
            self._recent.use(key, now, amount)
            self._hours.setdefault(key, Counter())[now // HOUR_MS] += amount
        return None

    def _eps(self, key: str, amount: int, now: int) -> int:
        total = self._recent.used(key, now) + amount
        return -(-total // 30) if total > self.eps * 30 else 0

    def _total(self, key: str, amount: int, now: int) -> int:
        if self.daily is None:
            return 0
        hours = self._hours.get(key, Counter())
        first = now // HOUR_MS - DAY_HOURS
        total = amount + sum(used for hour, used in hours.items() if hour > first)
        return total if total > self.daily else 0

    def _refusal(
        self, items: Sequence[dict[str, Any]], throttled: dict[str, int], exceeded: dict[str, int]
    ) -> dict[str, Any]:
        held = throttled.keys() | exceeded.keys()
        places = [at for at, item in enumerate(items) if any(_key(kind, item) in held for kind in _KINDS)]
        body = too_many(self.eps, _named(throttled, "user_id"), _named(throttled, "device_id"), places)
        if self.daily is not None:
            body["exceeded_daily_quota_users"] = _named(exceeded, "user_id")
            body["exceeded_daily_quota_devices"] = _named(exceeded, "device_id")
        return body


_KINDS = ("user_id", "device_id")


def too_many(eps: int, users: dict[str, int], devices: dict[str, int], events: list[int]) -> dict[str, Any]:
    """Return the documented body of a 429."""
    return {
        "code": 429,
        "error": "Too many requests for some devices and users",
        "eps_threshold": eps,
        "throttled_devices": devices,
        "throttled_users": users,
        "throttled_events": events,
    }


def _key(kind: str, item: dict[str, Any]) -> str:
    return f"{kind}:{item.get(kind)}"


def _named(counts: dict[str, int], kind: str) -> dict[str, int]:
    return {key.partition(":")[2]: count for key, count in counts.items() if key.startswith(f"{kind}:")}

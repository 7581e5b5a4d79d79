"""How fast a destination may be sent to: a circuit breaker for a vendor in trouble, and a rate limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from turnout.exchange import backoff
from turnout.reasons import Reason

__all__ = ["Breaker", "RateLimit"]

_logger = logging.getLogger("turnout")
_FAILURES = 5
_SETUP_WAIT = 60.0
_QUIET = 10.0


class Breaker:
    """Holds back requests to a vendor that doesn't answer well, and lets one through from time to time to see.

    It opens after five requests in a row have failed as a whole, and at once when the vendor refuses the key: then
    it says so in the log, and tries again after a minute. A success closes it. `clock` gives seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float], setup_wait: float = _SETUP_WAIT) -> None:
        self.name = name
        self.setup: Reason | None = None
        """Why the settings are wrong, while they are."""
        self._clock = clock
        self._setup_wait = setup_wait
        self._failures = 0
        self._until = 0.0
        self._probe = asyncio.Lock()

    @property
    def open(self) -> bool:
        """Return whether requests are held back."""
        return self._failures >= _FAILURES or self.setup is not None

    @property
    def state(self) -> str:
        """Return `closed`, `open`, or `setup` when the settings have to be mended."""
        return "setup" if self.setup else "open" if self.open else "closed"

    async def turn(self) -> float:
        """Wait until a request may be sent, and return the seconds that this took."""
        started = self._clock()
        while (left := self._until - self._clock()) > 0:
            await asyncio.sleep(left)
        return self._clock() - started

    async def enter(self) -> bool:
        """Wait for a turn; return True when the request is the one that tries an open breaker (then call `leave`)."""
        await self.turn()
        while self.open:
            await self._probe.acquire()
            await self.turn()
            if self.open:
                return True
            self._probe.release()
        return False

    def leave(self) -> None:
        """End the try of an open breaker."""
        self._probe.release()

    def succeeded(self) -> None:
        """Note that the vendor took or judged a request."""
        if self.open:
            _logger.warning("destination '%s': the vendor answers again", self.name)
        self._failures, self.setup = 0, None

    def failed(self) -> None:
        """Note that a request failed as a whole."""
        self._failures += 1
        if self._failures == _FAILURES:
            _logger.warning("destination '%s': %d requests in a row failed; trying now and then", self.name, _FAILURES)
        if self._failures >= _FAILURES:
            self.pause(backoff(self._failures - _FAILURES + 2))

    def refused(self, reason: Reason) -> None:
        """Note that the vendor refuses the settings; nothing is lost, and nothing goes out until they are mended."""
        if self.setup is None:
            _logger.error("destination '%s' is paused: %s Mend its settings.", self.name, reason.message)
        self.setup = reason
        self.pause(self._setup_wait)

    def pause(self, seconds: float) -> None:
        """Hold back every request for so long."""
        self._until = max(self._until, self._clock() + seconds)


class RateLimit:
    """Lets so many units through in a second, at most one second's worth at once; without a rate, any number.

    `rate` falls by 30 % at `slow_down`, and after ten seconds without one comes back by 10 % at each `quiet`, at most
    once in ten seconds and up to what was set.
    """

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self.limit = rate
        self.rate = rate
        self._clock = clock
        self._ready = clock()
        self._rise = 0.0

    async def take(self, units: int) -> None:
        """Wait until so many units may pass."""
        if not self.rate:
            return
        now = self._clock()
        self._ready = max(self._ready, now - 1.0)
        wait = self._ready - now
        self._ready += units / self.rate
        if wait > 0:
            await asyncio.sleep(wait)

    def slow_down(self) -> None:
        """Note that the vendor found it too much."""
        self.rate *= 0.7
        self._rise = self._clock() + _QUIET

    def quiet(self) -> None:
        """Note that the vendor has had nothing against it for a while."""
        if self.rate < self.limit and self._clock() >= self._rise:
            self.rate = min(self.limit, self.rate * 1.1)
            self._rise = self._clock() + _QUIET

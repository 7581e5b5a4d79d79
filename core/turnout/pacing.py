"""How fast a destination may be sent to: a circuit breaker for a vendor in trouble, and a rate limit."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from turnout.exchange import backoff
from turnout.reasons import Reason

__all__ = ["Breaker", "RateLimit"]

_logger = logging.getLogger("turnout")
_FAILURES = 5
_SETUP_WAIT = 60.0
_PATIENCE = 1.0
"""Seconds of the first pause after a refusal that names none."""
_GROWTH, _LONGEST = 0.05, 60.0
"""Of the time since the first refusal in a row, the part that the next pause takes; and the longest one in seconds."""
_CUT = 0.7
_BACK = 10.0
"""Seconds after which a rate is back where it was too much."""
_SAVED = 0.1
"""Seconds' worth that may be saved up while a vendor has found it too much."""
_LOOK = 0.1
_FADING = 0.9
"""What is left after a second of the most that has passed in one."""
_IDLE = 4.0
"""Beyond so many times what passes, a rate holds nothing back."""
_LEAST = 50.0


class Breaker:
    """Holds back requests to a vendor that doesn't answer well, and lets one through from time to time to see.

    It opens after five requests in a row have failed as a whole, and at once when the vendor refuses the key: then
    it says so in the log, and tries again after a minute. A success closes it. `clock` gives seconds.

    While a vendor finds everything too much (`limited`) and doesn't say for how long, one request at a time asks it:
    every second at first, then after pauses of a twentieth of the time that it has been so, in the end once a minute.
    So what is lost behind the moment at which it takes something again is at most a twentieth of the time before it.
    """

    def __init__(self, name: str, clock: Callable[[], float], setup_wait: float = _SETUP_WAIT) -> None:
        self.name = name
        self.setup: Reason | None = None
        """Why the settings are wrong, while they are."""
        self._clock = clock
        self._setup_wait = setup_wait
        self._failures = 0
        self._until = 0.0
        self._limited: float | None = None
        self._probe = asyncio.Lock()

    @property
    def open(self) -> bool:
        """Return whether requests are held back."""
        return self._failures >= _FAILURES or self.setup is not None

    @property
    def state(self) -> str:
        """Return `closed`, `open`, or `setup` when the settings have to be mended."""
        return "setup" if self.setup else "open" if self.open else "closed"

    @property
    def trying(self) -> bool:
        """Return whether only one request at a time may go."""
        return self.open or self._limited is not None

    @property
    def left(self) -> float:
        """Return for how many seconds every request is still held back."""
        return max(0.0, self._until - self._clock())

    async def turn(self) -> float:
        """Wait until a request may be sent, and return the seconds that this took."""
        started = self._clock()
        while left := self.left:
            await asyncio.sleep(left)
        return self._clock() - started

    async def enter(self) -> bool:
        """Wait for a turn; return True when the request is the one that tries whether it may go (then call `leave`)."""
        await self.turn()
        while self.trying:
            await self._probe.acquire()
            await self.turn()
            if self.trying:
                return True
            self._probe.release()
        return False

    def leave(self) -> None:
        """End the try."""
        self._probe.release()

    def succeeded(self) -> None:
        """Note that the vendor took or judged a request."""
        if self.open:
            _logger.warning("destination '%s': the vendor answers again", self.name)
        self._failures, self.setup, self._limited = 0, None, None

    def limited(self, wait: float | None = None) -> None:
        """Note that the vendor found a request too much as a whole; `wait` is the pause in seconds that it asks for."""
        since, now = self._limited, self._clock()
        self.succeeded()  # it answers
        if wait is not None:
            self.pause(wait)
            return
        self._limited = now if since is None else since
        if now >= self._until:  # else it was under way when the pause began, and says nothing new
            self.pause(min(_LONGEST, max(_PATIENCE, _GROWTH * (now - self._limited))))

    def failed(self, reason: Reason | None = None) -> None:
        """Note that a request failed as a whole, and why."""
        self._failures += 1
        if self._failures == _FAILURES:
            why = f" ({reason.message.rstrip('.')})" if reason else ""
            told = "destination '%s': %d requests in a row failed%s; it is tried now and then, and its events wait"
            _logger.warning(told, self.name, _FAILURES, why)
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
    """Lets so many units through in a second, at most one second's worth at once.

    `slow_down` takes away 30 % of the rate, at most once a second, as what is under way meanwhile says nothing new.
    Then, as long as the vendor takes requests (`quiet`), it rises along a cubic curve: fast at first, slower the nearer
    it comes to where it was too much, which it reaches after ten seconds; and if nothing is wrong there, ever faster
    beyond it (30 % more after ten seconds, ten times as much after half a minute), up to what was set. While the vendor
    takes nothing at all, the rate goes on falling, but what it comes back to stays what it was before.

    When none was set (0), any number passes, until `slow_down` takes the most that has passed in a second as its
    measure, but not less than 50 units: a destination that has had nothing to do says little about what its vendor can
    take.
    """

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self.limit = rate
        self.rate = rate
        self._clock = clock
        self._ready = clock()
        self._turn = asyncio.Lock()
        self._cut = self._since = 0.0
        self._top = self._low = rate
        self._taken = True
        self._second, self._passed, self._peak = 0, 0, 0.0

    async def take(self, units: int) -> None:
        """Wait until so many units may pass."""
        self._count(int(self._clock()), units)
        if not self.rate:
            return
        async with self._turn:
            self._ready = max(self._ready, self._clock() - (_SAVED if self._slowed else 1.0))
            while (wait := self._ready - self._clock()) > 0:
                await asyncio.sleep(min(wait, _LOOK))  # the rate may rise meanwhile
            self._ready += units / self.rate

    @property
    def _slowed(self) -> bool:
        return bool(self.rate) and self.rate != self.limit

    def _count(self, second: int, units: int) -> None:
        if second != self._second:
            idle = max(0, second - self._second - 1)
            self._peak = max(self._peak * _FADING, self._passed) * _FADING**idle
            self._second, self._passed = second, 0
        self._passed += units

    def slow_down(self) -> None:
        """Note that the vendor found it too much."""
        now = self._clock()
        if now < self._cut:
            return
        self._cut = now + 1.0
        most = max(_LEAST / _CUT, self._peak, self._passed)
        if not self.rate or (not self.limit and self.rate > _IDLE * most):
            self.rate = self._top = most
        elif self._taken:
            self._top = self.rate
        self.rate = self._low = max(self.rate * _CUT, min(self.limit / 10, _LEAST) if self.limit else _LEAST)
        self._top = max(self._top, self._low / _CUT)  # from the least there is a way up as well
        self._since, self._taken = now, False

    def quiet(self) -> None:
        """Note that the vendor took something."""
        if not self._slowed:
            return
        if not self._taken:
            self._taken, self._since = True, self._clock()
        now, before = self._clock(), self.rate
        curve = self._top + (self._top - self._low) * ((now - self._since) / _BACK - 1.0) ** 3
        self.rate = min(self.limit or math.inf, max(before, curve))
        if self._ready > now:
            self._ready = now + (self._ready - now) * before / self.rate

"""How fast a destination is sent to: the breaker and the rate limit, on a clock of their own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from turnout import pacing
from turnout.pacing import Breaker, RateLimit
from turnout.reasons import Code, Reason


class Clock:
    """A clock that sleeping moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(pacing.asyncio, "sleep", self.sleep)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def passing(limit: RateLimit, clock: Clock, units: int, times: int) -> float:
    """Return the seconds that so many takes last."""

    async def main() -> None:
        for _ in range(times):
            await limit.take(units)

    started = clock.now
    asyncio.run(main())
    return clock.now - started


def test_a_rate_lets_one_seconds_worth_through_and_then_so_many_a_second(clock: Clock) -> None:
    """One second's worth is saved up at most, however long nothing was sent."""
    limit = RateLimit(100.0, clock)
    assert passing(limit, clock, 10, 31) == pytest.approx(3.0)
    clock.now += 3600
    assert passing(limit, clock, 10, 31) == pytest.approx(2.0)


def test_without_a_rate_everything_passes(clock: Clock) -> None:
    limit = RateLimit(0.0, clock)
    assert passing(limit, clock, 1_000_000, 100) == 0
    limit.quiet()
    assert limit.rate == 0


def test_a_rate_falls_once_a_second_and_comes_back(clock: Clock) -> None:
    """Requests that were under way at the time don't make it fall further; it returns to what was set, no further."""
    limit = RateLimit(100.0, clock)
    for _ in range(4):
        limit.slow_down()
    assert limit.rate == pytest.approx(70.0)
    clock.now += 1
    limit.slow_down()
    assert limit.rate == pytest.approx(49.0)
    clock.now += 9
    limit.quiet()
    assert limit.rate == pytest.approx(49.0)
    for _ in range(20):
        clock.now += 10
        limit.quiet()
        limit.quiet()
    assert limit.rate == 100.0


def test_a_rate_never_falls_to_nothing(clock: Clock) -> None:
    """A vendor that goes on saying 429 is still asked."""
    for given, least in ((100.0, 10.0), (10_000.0, 50.0), (0.0, 50.0)):
        limit = RateLimit(given, clock)
        for _ in range(100):
            clock.now += 1
            limit.slow_down()
        assert limit.rate == pytest.approx(least)


def test_a_rate_that_was_not_set_is_learned(clock: Clock) -> None:
    """What passed in the last second is the measure; it rises again without end."""
    limit = RateLimit(0.0, clock)
    for _ in range(8):
        clock.now += 0.25
        passing(limit, clock, 500, 1)
    limit.slow_down()
    assert limit.rate == pytest.approx(0.7 * 2000)
    clock.now += 10
    limit.quiet()
    assert limit.rate == pytest.approx(1.1 * 0.7 * 2000)


def test_five_failures_in_a_row_open_the_breaker_and_a_success_closes_it(clock: Clock, caplog: Any) -> None:
    breaker = Breaker("acme", clock)
    for _ in range(4):
        breaker.failed()
    assert breaker.state == "closed"
    breaker.succeeded()
    for _ in range(5):
        breaker.failed(Reason(Code.VENDOR_UNAVAILABLE, "HTTP 503: back soon."))
    assert breaker.state == "open"
    breaker.succeeded()
    assert breaker.state == "closed"
    assert [record.message for record in caplog.records] == [
        "destination 'acme': 5 requests in a row failed (HTTP 503: back soon); "
        "it is tried now and then, and its events wait",
        "destination 'acme': the vendor answers again",
    ]


def test_an_open_breaker_lets_one_request_through_at_a_time(clock: Clock) -> None:
    """And never before its time has come."""

    async def main() -> None:
        breaker = Breaker("acme", clock, setup_wait=60.0)
        breaker.refused(Reason(Code.CREDENTIALS_REFUSED, "No such key."))
        started, trying = clock.now, [0]

        async def send() -> None:
            assert await breaker.enter()
            assert clock.now >= started + 60
            trying[0] += 1
            assert trying == [1]
            trying[0] -= 1
            breaker.leave()

        await asyncio.gather(*(send() for _ in range(5)))

    asyncio.run(main())

"""How fast a destination is sent to: the breaker and the rate limit, on a clock of their own."""

from __future__ import annotations

import asyncio
from itertools import pairwise
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


def taken(limit: RateLimit, clock: Clock, *seconds: float) -> list[float]:
    """Let the vendor take a request now and after each of so many seconds; return the rates then, in whole units."""
    limit.quiet()
    rates = []
    for more in seconds:
        clock.now += more
        limit.quiet()
        rates.append(round(limit.rate, 6))
    return rates


def test_a_rate_falls_once_a_second_and_comes_back(clock: Clock) -> None:
    """Requests that were under way at the time don't make it fall further; it returns to what was set, no further."""
    limit = RateLimit(100.0, clock)
    for _ in range(4):
        limit.slow_down()
    assert limit.rate == pytest.approx(70.0)
    assert taken(limit, clock, 1, 4, 5, 60) == [78.13, 96.25, 100.0, 100.0]


def test_a_rate_comes_back_fast_stays_where_it_was_too_much_and_goes_on(clock: Clock) -> None:
    """After ten seconds it is there, after twenty 30 % beyond, after forty nine times as fast: a cubic curve."""
    limit = RateLimit(0.0, clock)
    passing(limit, clock, 1_000, 1)
    limit.slow_down()
    assert limit.rate == pytest.approx(700.0)
    assert taken(limit, clock, 5, 3, 2, 2, 8, 10, 10) == [962.5, 997.6, 1_000.0, 1_002.4, 1_300.0, 3_400.0, 9_100.0]


def test_a_rate_stays_below_what_is_too_much_again(clock: Clock) -> None:
    """Where the vendor refuses next is where it goes back to: what a vendor allows is found, and kept to."""
    limit = RateLimit(0.0, clock)
    passing(limit, clock, 1_000, 1)
    limit.slow_down()
    taken(limit, clock, 5)
    limit.slow_down()
    assert limit.rate == pytest.approx(0.7 * 962.5)
    assert taken(limit, clock, 10) == [962.5]


def test_what_was_fine_before_a_vendor_refused_everything_is_fine_again(clock: Clock) -> None:
    """The rate falls as long as nothing is taken; then it is back within ten seconds, however long that was."""
    limit = RateLimit(0.0, clock)
    passing(limit, clock, 5_000, 1)
    for _ in range(60):
        clock.now += 1
        limit.slow_down()
    assert limit.rate == pytest.approx(50.0)
    assert taken(limit, clock, 1, 4, 5) == [pytest.approx(1_391.45), 4_381.25, 5_000.0]


def test_who_waits_gains_by_a_rate_that_rises(clock: Clock) -> None:
    """What was to wait for a second at the old rate goes out after three hundredths."""
    limit = RateLimit(0.0, clock)
    passing(limit, clock, 5_000, 1)
    for _ in range(60):
        clock.now += 1
        limit.slow_down()
    passing(limit, clock, 100, 1)
    assert taken(limit, clock, 1) == [pytest.approx(1_391.45)]
    assert passing(limit, clock, 10, 1) == pytest.approx(0.9 * 50 / 1_391.45)


def test_a_rate_does_not_rise_while_nothing_is_taken(clock: Clock) -> None:
    """Time alone says nothing."""
    limit = RateLimit(100.0, clock)
    limit.slow_down()
    clock.now += 3600
    assert taken(limit, clock, 0, 5) == [70.0, 96.25]


def test_a_rate_far_above_what_is_sent_says_nothing(clock: Clock) -> None:
    """When a vendor refuses after a long quiet time, what was sent lately is the measure, not what might have been."""
    limit = RateLimit(0.0, clock)
    passing(limit, clock, 1_000, 1)
    limit.slow_down()
    taken(limit, clock, 300)
    assert limit.rate > 1_000_000
    clock.now = float(int(clock.now))
    passing(limit, clock, 400, 1)
    limit.slow_down()
    assert limit.rate == pytest.approx(0.7 * 400)


def test_little_is_saved_up_while_a_vendor_finds_it_too_much(clock: Clock) -> None:
    """A tenth of a second's worth: what is left of a pause would be too much at once."""
    limit = RateLimit(1_000.0, clock)
    limit.slow_down()
    clock.now += 3600
    assert passing(limit, clock, 70, 11) == pytest.approx(0.9)


def test_a_rate_never_falls_to_nothing(clock: Clock) -> None:
    """A vendor that goes on saying 429 is still asked."""
    for given, least in ((100.0, 10.0), (10_000.0, 50.0), (0.0, 50.0)):
        limit = RateLimit(given, clock)
        for _ in range(100):
            clock.now += 1
            limit.slow_down()
        assert limit.rate == pytest.approx(least)


@pytest.mark.parametrize("given", [0.0, 10.0, 1_000.0])
def test_from_the_least_rate_there_is_a_way_up(clock: Clock, given: float) -> None:
    """Also when the vendor takes something between two refusals that are found at the lowest rate."""
    limit = RateLimit(given, clock)
    for _ in range(30):
        limit.slow_down()
        clock.now += 2
        limit.quiet()
        clock.now += 2
    least = limit.rate
    for _ in range(100):
        clock.now += 1
        limit.quiet()
    assert limit.rate >= min(10 * least, given or 1_000.0)


def test_a_clock_that_is_set_back_says_nothing_of_what_has_passed(clock: Clock) -> None:
    """The most that passed in a second stays what it was."""
    clock.now = 20_000.0
    limit = RateLimit(0.0, clock)
    for _ in range(5):
        passing(limit, clock, 100, 1)
        clock.now += 1
    clock.now -= 10_000
    passing(limit, clock, 100, 1)
    limit.slow_down()
    assert limit.rate == pytest.approx(70.0)


def test_a_rate_that_was_not_set_is_learned(clock: Clock) -> None:
    """The most that has passed in a second is the measure, a tenth less for each second since."""
    limit = RateLimit(0.0, clock)
    for _ in range(8):
        clock.now += 0.25
        passing(limit, clock, 500, 1)
    limit.slow_down()
    assert limit.rate == pytest.approx(0.7 * 2000)
    later = RateLimit(0.0, clock)
    clock.now = 2_000.0
    passing(later, clock, 2_000, 1)
    clock.now = 2_003.0
    passing(later, clock, 10, 1)
    later.slow_down()
    assert later.rate == pytest.approx(0.7 * 2000 * 0.81)


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


def asked(breaker: Breaker, clock: Clock, until: float) -> list[float]:
    """Return when a vendor that finds everything too much is asked, in seconds from now."""
    started, times = clock.now, []
    while clock.now - started < until:
        asyncio.run(breaker.turn())
        times.append(clock.now - started)
        breaker.limited()
    return times


def test_a_vendor_that_goes_on_finding_it_too_much_is_asked_ever_more_seldom(clock: Clock) -> None:
    """Every second at first, a twentieth of the time later then, and once a minute in the end."""
    times = asked(Breaker("acme", clock), clock, 24 * 3600.0)
    assert times[:21] == pytest.approx([*range(21)])
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert all(pause == pytest.approx(min(60, max(1, at * 0.05))) for at, pause in zip(times, pauses, strict=False))
    assert len(times) < 1_600


def test_what_a_vendor_takes_begins_the_pauses_anew(clock: Clock) -> None:
    """Also what it judges, and a pause that it asks for itself."""
    breaker = Breaker("acme", clock)
    for answer in (breaker.succeeded, lambda: breaker.limited(7.0)):
        assert asked(breaker, clock, 100.0)[-2:] != [1.0, 2.0]
        answer()
        asyncio.run(breaker.turn())
        assert asked(breaker, clock, 2.0)[:2] == pytest.approx([0.0, 1.0])


def test_a_refusal_that_was_under_way_lengthens_no_pause(clock: Clock) -> None:
    """Of requests that were sent at the same time, the first one tells all there is to know."""
    breaker = Breaker("acme", clock)
    asked(breaker, clock, 100.0)
    left = breaker.left
    clock.now += 1
    breaker.limited()
    assert breaker.left == pytest.approx(left - 1)


def test_a_vendor_that_finds_it_too_much_is_asked_by_one_at_a_time(clock: Clock) -> None:
    """The others go when it has taken that one."""

    async def main() -> None:
        breaker, under_way, most, tries = Breaker("acme", clock), 0, [], 0
        breaker.limited()

        async def send() -> None:
            nonlocal under_way, tries
            trying = await breaker.enter()
            under_way += 1
            most.append(under_way)
            tries += trying
            if tries == 3:
                breaker.succeeded()
            elif trying:
                breaker.limited()
            under_way -= 1
            if trying:
                breaker.leave()

        await asyncio.gather(*(send() for _ in range(9)))
        assert tries == 3
        assert most[:3] == [1, 1, 1]
        assert not breaker.trying

    asyncio.run(main())
    assert clock.now == pytest.approx(1_003.0)

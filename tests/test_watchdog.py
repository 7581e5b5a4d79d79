"""The watchdogs: which calls they interrupt, which they leave alone, and what else of the process goes on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from turnout.watchdog import Patrol, TooLong, Watchdog

SOON = 0.1
AGES = 30.0


def work(seconds: float, *, hidden: bool = False) -> str:
    """Take so long."""
    try:
        _waste(seconds)
    except Exception:
        if not hidden:
            raise
    return "done"


def _waste(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def _quiet_clock() -> Iterator[None]:
    """No timer is left behind."""
    yield
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


@pytest.mark.parametrize("kind", [Watchdog, Patrol])
def test_a_call_that_does_not_come_back_is_interrupted(kind: Any) -> None:
    """It says which function, with which variables and where; no `except Exception` keeps that back."""
    with pytest.raises(TooLong) as caught, kind(SOON, work):
        work(AGES, hidden=True)
    error = caught.value
    assert (error.function, error.call["seconds"], error.seconds) == (work, AGES, SOON)
    assert [(one.module, one.name) for one in error.places] == [(__name__, "_waste"), (__name__, "work")]
    assert str(error.places[0]) == f"{__name__}, line {error.places[0].line}, in _waste"


def test_a_patrol_leaves_short_calls_alone() -> None:
    """However long they last together, and although one is running whenever it passes by."""
    with Patrol(0.25, work):
        assert {work(0.005) for _ in range(120)} == {"done"}


def test_other_functions_may_last() -> None:
    """Only the watched ones are interrupted."""
    with Patrol(0.02, work):
        _waste(0.2)


def test_a_patrol_goes_on_after_it_has_interrupted() -> None:
    """The next call that hangs is interrupted as well."""
    with Patrol(SOON, work):
        for _ in range(2):
            with pytest.raises(TooLong):
                work(AGES)
        assert work(0.0) == "done"


def test_who_stands_in_a_debugger_is_left_alone() -> None:
    """At a breakpoint one thinks for as long as one wants."""
    for name in ("bdb", "pdb", "_pydevd_bundle.pydevd_frame"):
        debugger: dict[str, Any] = {"__name__": name}
        exec("def stop(waste): waste(0.3)", debugger)

        def stopped(stop: Any = debugger["stop"]) -> str:
            stop(_waste)
            return "gone on"

        with Patrol(0.05, stopped):
            assert stopped() == "gone on"


def test_another_timer_goes_on_behind_it() -> None:
    """That of pytest-timeout, say: it rings when its time has come, also while the patrol is on."""
    rung: list[str] = []
    former = signal.signal(signal.SIGALRM, lambda *_: rung.append("rung"))
    try:
        signal.setitimer(signal.ITIMER_REAL, AGES)
        with Patrol(SOON, work):
            assert work(0.0) == "done"
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= AGES
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with Patrol(SOON, work):
            _waste(0.5)
        _waste(0.1)
        assert rung == ["rung"]
        rung.clear()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with Patrol(AGES, work):
            _waste(0.1)
        _waste(0.1)
        assert rung == ["rung"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def test_a_watchdog_inside_a_patrol_leaves_it_on() -> None:
    """Delivery has its own, also where a command has one."""
    with Patrol(SOON, work):
        with pytest.raises(TooLong), Watchdog(SOON, work):
            work(AGES)
        with pytest.raises(TooLong):
            work(AGES)


@pytest.mark.parametrize("seconds", [0, SOON])
def test_where_there_is_no_alarm_nothing_is_interrupted(seconds: float) -> None:
    """With 0 seconds, and on another thread than the main one."""
    said: list[str] = []

    def run() -> None:
        with Patrol(seconds, work):
            said.append(work(0.3))

    if seconds:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    else:
        run()
    assert said == ["done"]

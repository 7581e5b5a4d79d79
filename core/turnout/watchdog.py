"""Watchdogs for plugin code that doesn't come back."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, TracebackType
from typing import Any

import msgspec

__all__ = ["Patrol", "Place", "TooLong", "Watchdog"]


_SOON = 0.01
_DEBUGGERS = ("bdb", "pdb", "pydevd")
"""The modules of debuggers: who stops at a breakpoint takes any time."""


class Place(msgspec.Struct, frozen=True):
    """Where a function was: its module, the line, and the function's name."""

    module: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}, in {self.name}"


class TooLong(BaseException):
    """A call of a function was interrupted; no `except Exception` of a plugin catches it.

    `function` is the one, `call` has its local variables, `places` lead from where it was up to that call, and
    `seconds` is how long it may last.
    """

    def __init__(
        self,
        function: Callable[..., object] | None = None,
        call: Mapping[str, Any] | None = None,
        places: tuple[Place, ...] = (),
        seconds: float = 0.0,
    ) -> None:
        super().__init__()
        self.function = function
        self.call = call or {}
        self.places = places
        self.seconds = seconds


class _Alarm:
    """Rings after so many seconds inside the context, and from then on every `again` seconds, if that isn't 0.

    It works on the main thread of a Unix process, through SIGALRM; elsewhere, or with 0 seconds, it does nothing.
    Another timer of the process goes on behind it.
    """

    def __init__(self, seconds: float, *functions: Callable[..., object], every: float = 0.0) -> None:
        self.seconds = seconds
        self._every = every
        self._codes = {function.__code__: function for function in functions}
        self._former: Any = None
        self._others = (0.0, 0.0)
        self._begin = 0.0
        self._on = False

    def _start(self) -> None:
        main = threading.current_thread() is threading.main_thread()
        self._on = bool(self.seconds) and main and hasattr(signal, "setitimer")
        if self._on:
            self._begin = time.monotonic()
            self._former = signal.signal(signal.SIGALRM, self._ring)
            self._others = signal.setitimer(signal.ITIMER_REAL, self.seconds, self._every)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._on:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if self._former is None else self._former)
        left, every = self._others
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - self._passed(), _SOON), every)

    def _passed(self) -> float:
        return time.monotonic() - self._begin

    def _ring(self, number: int, frame: FrameType | None) -> None:
        left, every = self._others
        if 0 < left < self._passed() and callable(self._former):
            self._others = (left + every if every else 0.0, every)
            self._former(number, frame)  # the other timer would have rung by now, such as that of pytest-timeout
        self._look(frame)

    def _look(self, frame: FrameType | None) -> None:
        raise NotImplementedError

    def _called(self, frame: FrameType | None) -> FrameType | None:
        """Return the call of one of the functions that is running, None when there is none."""
        return next((one for one in _upwards(frame) if one.f_code in self._codes), None)

    def _too_long(self, frame: FrameType | None, call: FrameType) -> TooLong:
        places = []
        for one in _upwards(frame):
            places.append(Place(str(one.f_globals.get("__name__")), one.f_lineno, one.f_code.co_name))
            if one is call:
                break
        return TooLong(self._codes[call.f_code], dict(call.f_locals), tuple(places), self.seconds)


class Watchdog(_Alarm):
    """Interrupts calls of functions that last longer than so many seconds, by raising `TooLong` in them.

    The time counts from the beginning of the context, or from `again`, for all calls together.
    """

    def __enter__(self) -> Watchdog:
        self._start()
        return self

    def again(self) -> None:
        """Begin to count anew."""
        if self._on:
            signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def _look(self, frame: FrameType | None) -> None:
        """Interrupt the function that is running; what is around it must not be torn."""
        call = self._called(frame)
        if call is not None:
            raise self._too_long(frame, call)
        signal.setitimer(signal.ITIMER_REAL, _SOON)


class Patrol(_Alarm):
    """Interrupts every single call of a function that lasts longer than so many seconds, by raising `TooLong` in it.

    It passes by every so many seconds, and interrupts the call that it has met the last time. So it costs nothing,
    however many calls there are, and one may take twice that time. A call that stands in a debugger is left alone.
    """

    def __init__(self, seconds: float, *functions: Callable[..., object]) -> None:
        super().__init__(seconds, *functions, every=seconds)
        self._met: FrameType | None = None

    def __enter__(self) -> Patrol:
        self._start()
        return self

    def _look(self, frame: FrameType | None) -> None:
        call = None if any(map(_of_debugger, _upwards(frame))) else self._called(frame)
        known, self._met = self._met, call
        if call is not None and call is known:
            self._met = None
            raise self._too_long(frame, call)


def _of_debugger(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__"))
    return name in _DEBUGGERS or name.startswith("_pydevd")


def _upwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back

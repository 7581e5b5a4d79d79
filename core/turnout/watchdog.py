"""A watchdog for plugin code that doesn't come back."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

__all__ = ["TooLong", "Watchdog"]


class TooLong(BaseException):
    """Plugin code was interrupted; no `except Exception` of a plugin catches it."""


class Watchdog:
    """Interrupts what runs inside its context for longer than so many seconds, by raising `TooLong` there.

    It works on the main thread of a Unix process, through SIGALRM; elsewhere, or with 0 seconds, it does nothing.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._before: object = None
        self._on = False

    def __enter__(self) -> Watchdog:
        main = threading.current_thread() is threading.main_thread()
        self._on = bool(self.seconds) and main and hasattr(signal, "setitimer")
        if self._on:
            self._before = signal.signal(signal.SIGALRM, _bite)
            self.again()
        return self

    def again(self) -> None:
        """Begin to count anew."""
        if self._on:
            signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)  # type: ignore[arg-type]


def _bite(number: int, frame: FrameType | None) -> None:
    raise TooLong

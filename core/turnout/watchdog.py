"""A watchdog for plugin code that doesn't come back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

__all__ = ["TooLong", "Watchdog"]


_SOON = 0.01


class TooLong(BaseException):
    """A function was interrupted; no `except Exception` of a plugin catches it. `function` is the one."""

    def __init__(self, function: Callable[..., object] | None = None) -> None:
        super().__init__()
        self.function = function


class Watchdog:
    """Interrupts calls of functions that last longer than so many seconds, by raising `TooLong` in them.

    The time counts from the beginning of the context, or from `again`. It works on the main thread of a Unix process,
    through SIGALRM; elsewhere, or with 0 seconds, it does nothing.
    """

    def __init__(self, seconds: float, *functions: Callable[..., object]) -> None:
        self.seconds = seconds
        self._codes = {function.__code__: function for function in functions}
        self._before: object = None
        self._on = False

    def __enter__(self) -> Watchdog:
        main = threading.current_thread() is threading.main_thread()
        self._on = bool(self.seconds) and main and hasattr(signal, "setitimer")
        if self._on:
            self._before = signal.signal(signal.SIGALRM, self._bite)
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

    def _bite(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the function that is running; what is around it must not be torn."""
        while frame is not None:
            if frame.f_code in self._codes:
                raise TooLong(self._codes[frame.f_code])
            frame = frame.f_back
        signal.setitimer(signal.ITIMER_REAL, _SOON)

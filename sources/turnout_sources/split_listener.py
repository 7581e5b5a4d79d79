"""Split's impression listener: every evaluation of a Python process, handed on in batches from a thread of its own.

    from splitio import get_factory
    from turnout_sources.split_listener import ImpressionListener

    listener = ImpressionListener(dispatcher, {"send_as": "identify"})
    factory = get_factory("SDK_KEY", config={"impressionListener": listener})

The SDK calls it in the middle of an evaluation, so it never blocks and never raises there.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from turnout import Dispatcher, Refusal
from turnout_sources._handing import taker
from turnout_sources.split_impressions import SplitImpressions

__all__ = ["ImpressionListener", "Sink"]

_logger = logging.getLogger("turnout")

Sink = Callable[[Sequence[Mapping[str, Any]]], object]
"""Takes a batch of events; what it raises counts as not taken."""


class ImpressionListener:
    """Hands impressions to a dispatcher, or to any function of a list of events.

    A `Dispatcher` with a log keeps them there, any other delivers them at once. `settings` are those of the source
    `split_impressions`. At most `most` impressions wait; what comes beyond is counted in `dropped`. A batch goes out
    when it has `batch` impressions, or `linger` seconds after its first one. What waits at the end of the process is
    handed on within `exit_seconds`. `failed` counts impressions whose batch was not taken, also at a second try.
    """

    def __init__(
        self,
        sink: Dispatcher | Sink,
        settings: Mapping[str, Any] | None = None,
        *,
        most: int = 10_000,
        batch: int = 500,
        linger: float = 1.0,
        exit_seconds: float = 5.0,
        retry_seconds: float = 1.0,
    ) -> None:
        self.dropped = 0
        self.failed = 0
        self._source = SplitImpressions(settings or {}, id="split_impressions")
        self._sink: Sink = taker(sink) if isinstance(sink, Dispatcher) else sink
        self._most, self._batch, self._linger = most, batch, linger
        self._exit_seconds, self._retry_seconds = exit_seconds, retry_seconds
        self._begin()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Start afresh: also in a forked process, where the thread is not, and what waits is the parent's."""
        self._waiting: deque[Any] = deque()
        self._changed = threading.Condition()
        self._busy = self._closed = False
        self._flushing = False
        self._thread: threading.Thread | None = None

    def log_impression(self, data: Any) -> None:
        """Take an impression from the SDK; it returns at once, and raises nothing."""
        with self._changed:
            if self._closed or len(self._waiting) >= self._most:
                self.dropped += 1
                return
            self._waiting.append(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="turnout-impressions", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Hand on what waits now, and return whether that was done within so many seconds."""
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not (self._waiting or self._busy), timeout)
            self._flushing = False
            return done

    def close(self) -> None:
        """Hand on what waits, within `exit_seconds`, and take no more."""
        if self._thread is not None:
            self.flush(self._exit_seconds)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        atexit.unregister(self.close)

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            try:
                self._hand_on(taken)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _next(self) -> list[Any] | None:
        """Wait for a batch; None when nothing will come any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            self._changed.wait_for(self._enough, self._linger)
            self._busy = True
            return [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]

    def _enough(self) -> bool:
        return len(self._waiting) >= self._batch or self._flushing or self._closed

    def _hand_on(self, taken: list[Any]) -> None:
        try:
            found = list(self._source.read(taken))
            events = [one for one in found if not isinstance(one, Refusal)]
            for one in found:
                if isinstance(one, Refusal):
                    _logger.warning("An impression can't be read: %s", one)
            if events:
                self._try_twice(events)
        except Exception as error:
            self.failed += len(taken)
            _logger.error("%d impressions could not be handed on: %s: %s", len(taken), type(error).__name__, error)

    def _try_twice(self, events: Sequence[Mapping[str, Any]]) -> None:
        try:
            self._sink(events)
        except Exception:
            time.sleep(self._retry_seconds)
            self._sink(events)

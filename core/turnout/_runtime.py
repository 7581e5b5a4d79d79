"""How the processes that run for long treat Python: its event loop, and its garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["run"]

_YOUNG = 3_000


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, on uvloop where it is installed.

    Events hold no cycles, requests do, with their bodies in them: Python looks for them every 3,000 objects instead of
    700, and not among what was there at the start. That saves 3 % of the time, and a higher number would take memory.
    """
    try:
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG, 10, 10)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(main)
    finally:
        main.close()  # Python would speak of one that Ctrl-C has kept from its beginning


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop

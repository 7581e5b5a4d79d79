"""Work that several processes share, each lot of it done by one of them; results come in the order of the lots."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from turnout.errors import TurnoutError

__all__ = ["cores", "shared_out"]

_Lot = TypeVar("_Lot")
_Result = TypeVar("_Result")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_out(work: Callable[[_Lot], _Result], lots: Sequence[_Lot], jobs: int, what: str) -> Iterator[_Result]:
    """Yield what `work` makes of each lot; with `jobs` above 1 and several lots, in so many processes.

    `work` is pickled once for each process. Raises `TurnoutError` when a process dies; `what` says what was going on.
    """
    if jobs < 2 or len(lots) < 2:
        yield from map(work, lots)
        return
    others = set(multiprocessing.active_children())
    # A forked process would inherit the locks of threads that it doesn't have.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(lots)), mp_context=context, initializer=_begin, initargs=(work,))
    done = False
    try:
        for future in [pool.submit(_do, lot) for lot in lots]:
            yield future.result()
        done = True
    except BrokenProcessPool:
        why = "a plugin ended it, or memory ran out. To see at which case, use one process (--jobs 1)"
        raise TurnoutError(f"A process that {what} has died: {why}.") from None
    finally:
        for child in () if done else set(multiprocessing.active_children()) - others:
            child.terminate()
        pool.shutdown()


_working: Callable[[Any], Any]


def _begin(work: Callable[[Any], Any]) -> None:
    """Prepare a process: it is ended by the one that started it, not by Ctrl-C."""
    global _working
    _working = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _do(lot: Any) -> Any:
    from turnout._hang import patrolled

    with patrolled():
        return _working(lot)

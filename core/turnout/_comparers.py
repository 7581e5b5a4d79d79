"""Pieces of a corpus compared by several processes, the tallies in the order of the pieces."""

from __future__ import annotations

import json
import pickle
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from turnout._comparing import Tally
from turnout._frames import Helper
from turnout._sides import Run, Side
from turnout.errors import TurnoutError
from turnout.reading import Record

__all__ = ["AHEAD", "Comparers"]

AHEAD = 2
"""So many pieces for each process are read before the tally of the first of them is taken."""

_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from turnout._diffworker import compare; compare()"


class Comparers:
    """At most `jobs` processes that compare; each is started when there is a piece for it."""

    def __init__(self, jobs: int, before: Side, after: Side, run: Run) -> None:
        self.jobs = jobs
        self._sides = (before, after, run)
        self._lock = threading.Lock()
        self._idle: list[Helper] = []
        self._started: list[Helper] = []
        self._ended = False

    def tallies(self, pieces: Iterable[Sequence[Record]]) -> Iterator[Tally]:
        """Yield the tally of each piece, in order; raises `TurnoutError` when other processes can't do it."""
        self._pickled = _pickled(self._sides)
        waiting: deque[Future[Tally]] = deque()
        with ThreadPoolExecutor(self.jobs) as threads:
            try:
                for piece in pieces:
                    waiting.append(threads.submit(self._tally, piece))
                    if len(waiting) == AHEAD * self.jobs:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                self._end()
                threads.shutdown(cancel_futures=True)

    def _tally(self, piece: Sequence[Record]) -> Tally:
        helper = self._taken()
        try:
            helper.send(pickle.dumps(piece))
            tally = _received(helper)
        except EOFError:
            places = f"{piece[0].place} to {piece[-1].place}"
            message = f"A worker process has ended while it compared {places}. Did a plugin end it, or memory run out?"
            raise TurnoutError(f"{message} Compare these lines alone, with one job, to see.") from None
        assert isinstance(tally, Tally)
        with self._lock:
            self._idle.append(helper)
        return tally

    def _taken(self) -> Helper:
        with self._lock:
            if self._ended:
                raise TurnoutError("The comparison was broken off.")
            if self._idle:
                return self._idle.pop()
            helper = Helper([sys.executable, "-c", _BOOT, json.dumps(sys.path)])
            self._started.append(helper)
        helper.send(self._pickled)
        _received(helper)
        return helper

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            for helper in self._started:
                helper.end()


def _pickled(sides: object) -> bytes:
    try:
        return pickle.dumps(sides)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TurnoutError(f"A side can't be given to other processes: {error}. Use one job.") from None


def _received(helper: Helper) -> object:
    """Return what a process answers; raises `TurnoutError` with the sentence that it says instead."""
    answer: object = pickle.loads(helper.receive())  # noqa: S301 - it comes from this program itself
    if isinstance(answer, str):
        raise TurnoutError(answer)
    return answer

"""A process that works for `turnout diff`: it maps with another environment's plugin, or compares both sides.

`python -m turnout._diffworker` maps. Over its pipes it gets a `Hello` and answers with an `Answer`; then it gets the
lines of one piece of the corpus after the other, and answers with what their events become.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from turnout._frames import Frames, own_pipes

__all__ = ["compare", "serve", "unpickled"]


@contextlib.contextmanager
def _asked() -> Iterator[Frames]:
    """Yield the streams to the process that started this one; when it has gone, that is the end."""
    # What turnout would log of an event stands in its plan, and what of settings the first process has logged.
    logging.getLogger("turnout").setLevel(logging.CRITICAL + 1)
    with contextlib.suppress(EOFError):
        yield own_pipes()


def serve() -> None:
    """Map lines for the process that started this one, until it has no more."""
    with _asked() as frames:
        _map(frames)


def _map(frames: Frames) -> None:
    from turnout._sides import PROTOCOL, Answer, Greeting, Hello, Local, made
    from turnout.errors import TurnoutError

    hello = frames.receive()
    try:
        if msgspec.msgpack.decode(hello, type=Greeting).protocol != PROTOCOL:
            raise TurnoutError("its turnout is another version, which can't be compared with. Install the same one.")
        told = msgspec.msgpack.decode(hello, type=Hello)
        side = told.side
        local = Local(made(side.destination, side.settings, side.config, told.run.now), told.run)
    except TurnoutError as error:
        frames.send(msgspec.msgpack.encode(Answer(error=str(error))))
        return
    frames.send(msgspec.msgpack.encode(Answer(local.about)))
    _answer(frames, lambda asked: msgspec.msgpack.encode(local.mapped(msgspec.msgpack.decode(asked, type=list[bytes]))))


def compare() -> None:
    """Compare pieces of the corpus for the process that started this one, until it has no more.

    Each answer is a tally, or the sentence that says why there is none; the first is None when both sides are ready.
    """
    from turnout._comparing import Pair
    from turnout._hang import patrolled
    from turnout.errors import TurnoutError

    def said(work: Callable[[], object]) -> bytes:
        try:
            with patrolled():
                return pickle.dumps(work())
        except TurnoutError as error:
            return pickle.dumps(str(error))

    with _asked() as frames:
        sides = frames.receive()
        pairs: list[Pair] = []
        frames.send(said(lambda: pairs.append(Pair(*unpickled(sides)))))
        _answer(frames, lambda asked: said(lambda: pairs[0].tally(unpickled(asked))))


def unpickled(data: bytes) -> Any:
    """Return what the process that started this one has pickled; raises `TurnoutError` when that can't be made here."""
    from turnout.errors import TurnoutError

    try:
        return pickle.loads(data)  # noqa: S301 - it comes from this program itself
    except (AttributeError, ImportError) as error:
        raise TurnoutError(f"A worker process can't make the destination: {error}. Use one job.") from None


def _answer(frames: Frames, work: Callable[[bytes], bytes]) -> None:
    while True:
        frames.send(work(frames.receive()))


if __name__ == "__main__":
    serve()

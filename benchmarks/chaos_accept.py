"""The accepting process of a chaos run: it is killed and started again, and notes what was accepted.

    python benchmarks/chaos_accept.py FOLDER SEED RATE

It goes on where its ledger ends: what was not acknowledged is sent again. `FOLDER/accepted` gets a line
`number position` for each event after `accept` returned (`number -` for one that was there already), `FOLDER/full` a
line for each time that the log was full. It ends when `FOLDER/stop` is there.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from chaos_events import STREAMS, line

from turnout.accepting import Acceptor, Receipt, now_ms
from turnout.config import load_config
from turnout.errors import Refusal
from turnout.event import Event
from turnout.log import LogFull, open_log
from turnout.normalise import Normaliser

__all__ = ["main"]


_MOST = 50


class HastyAcceptor(Acceptor):
    """A broken build: it says that events are kept, and keeps them a little later."""

    def accept(self, events: Sequence[Event | Refusal]) -> list[Receipt]:
        """Acknowledge before the commit."""
        threading.Timer(0.1, super().accept, [events]).start()
        return [Receipt(event.message_id, 0) for event in events if isinstance(event, Event)]


class Stream:
    """Sends the events of one stream, batch by batch, each of them until it is accepted."""

    def __init__(self, folder: Path, seed: int, rate: float, following: int, acceptor: Acceptor) -> None:
        self._folder, self._seed, self._rate, self._following = folder, seed, rate, following
        self._acceptor = acceptor
        self._normaliser = Normaliser()
        self._random = random.Random()
        self._accepted = os.open(folder / "accepted", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._full = os.open(folder / "full", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def run(self) -> None:
        """Send until the run is to stop."""
        count = _MOST  # what the process before kept and could not acknowledge is sent again, whatever comes
        while True:
            self._send([self._following + STREAMS * place for place in range(count)])
            if (self._folder / "stop").exists():
                return
            time.sleep(self._random.random() * 2 * count * STREAMS / self._rate)
            count = self._random.choice((1, 1, 2, 5, 20, _MOST))

    def _send(self, numbers: list[int]) -> None:
        events = [self._normaliser.event(line(self._seed, number)) for number in numbers]
        try:
            receipts = self._acceptor.accept(events)
        except LogFull:
            os.write(self._full, b"full\n")
            time.sleep(0.05)
            return
        told = [
            f"{n} {'-' if one.position is None else one.position}" for n, one in zip(numbers, receipts, strict=True)
        ]
        os.write(self._accepted, ("\n".join(told) + "\n").encode())
        os.fsync(self._accepted)
        if self._random.random() < 0.05:
            self._repeat(numbers)
        self._following = numbers[-1] + STREAMS

    def _repeat(self, numbers: list[int]) -> None:
        """Send once more what was accepted, as a client does that has missed the answer."""
        events = [self._normaliser.event(line(self._seed, number)) for number in numbers]
        try:
            receipts = self._acceptor.accept(events)
        except LogFull:  # it shared a commit with new events
            return
        twice = [f"{n} {one.position}" for n, one in zip(numbers, receipts, strict=True) if one.position]
        if twice:
            os.write(self._accepted, ("\n".join(twice) + "\n").encode())


def _following(folder: Path) -> list[int]:
    """Return the number with which each stream goes on."""
    following = list(range(STREAMS))
    if (folder / "accepted").exists():
        for told in (folder / "accepted").read_text().splitlines():
            number = int(told.split()[0])
            following[number % STREAMS] = max(following[number % STREAMS], number + STREAMS)
    return following


def main(arguments: list[str]) -> None:
    """Accept until the run is to stop."""
    folder, seed, rate = Path(arguments[0]), int(arguments[1]), float(arguments[2])
    settings = load_config(folder / "turnout.toml").log
    kind = HastyAcceptor if "--broken" in arguments else Acceptor
    with kind(open_log(settings), settings, now_ms) as acceptor:
        streams = [Stream(folder, seed, rate, following, acceptor) for following in _following(folder)]
        threads = [threading.Thread(target=stream.run) for stream in streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(0.3 if "--broken" in arguments else 0)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Hold users in order while the vendor answers as prescribed and delivery is killed, in rudder-server's way.

    python benchmarks/chaos_order.py [--users 50] [--events 40] [--kills 8] [--seed 1]

Each event has a list of answers (500, 500, 200; 429, 200; 400 ...): a request that carries it gets the next one of the
list, and the last one stays. `turnout deliver` is killed whenever some more events have been taken. In the end every
event whose list ends with 200 has to have taken effect, after all earlier ones of its user, and every other one has to
be a dead letter. Exit 1 when that is not so, 2 when the run did not work.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec
from chaos_check import inversions, read_journal
from chaos_events import event_of, number_of
from chaos_vendor import Recorder
from chaos_workers import ChaosError, Worker, configured, deliverer, end_on_signal, reached, settled

from turnout.accepting import Acceptor, now_ms
from turnout.config import load_config
from turnout.log import DeadQuery, Log
from turnout.normalise import Normaliser
from turnout.sqlite_log import SqliteLog
from turnout.testing import Answer

__all__ = ["main"]

ANSWERS = ((200,), (500, 200), (500, 500, 200), (429, 200), (429, 500, 200), (500, 429, 429, 200), (400,), (500, 400))
_OFTEN = (87, 1, 2, 3, 1, 1, 4, 1)
_ERRORS = {
    400: "Invalid field values on some events",
    429: "Too many requests for some devices and users",
    500: "Internal server error",
}


class Trial(msgspec.Struct, frozen=True):
    """So many users with so many events each, and the answers to each event."""

    users: int
    events: int
    seed: int

    @property
    def numbers(self) -> range:
        """The numbers of the events, in the order in which they are accepted."""
        return range(self.users * self.events)

    def user_of(self, number: int) -> str:
        """Return whose event it is."""
        return f"user-{number % self.users:04}"

    def event(self, number: int) -> bytes:
        """Return an event as JSON."""
        rng = random.Random(f"{self.seed}:order:{number}")
        (kind,) = rng.choices(("track", "identify", "order"), (70, 20, 10))
        return event_of(self.user_of(number), number, kind, rng)

    def answers(self, number: int) -> Sequence[int]:
        """Return what the vendor answers to an event, one time after the other; the last one stays."""
        (answers,) = random.Random(f"{self.seed}:answers:{number}").choices(ANSWERS, _OFTEN)
        return answers

    def refused(self, number: int) -> bool:
        """Return whether the vendor never takes an event."""
        return self.answers(number)[-1] == 400


class Prescriber(Recorder):
    """An Amplitude that answers what is prescribed for the events of a request: 500 before 400 before 429."""

    def __init__(self, path: Path, trial: Trial) -> None:
        self.trial = trial
        self.asked = Counter[int]()
        self.given = Counter[int]()
        self.path = path
        self._taken: set[int] = set()
        super().__init__(path)

    def taken(self) -> int:
        """Return how many events have taken effect."""
        return len(self._taken)

    def _refuse(self, items: list[dict[str, Any]], kind: Any, rules: Any) -> Answer | None:
        numbers = [number_of(item["insert_id"]) for item in items]
        following = {number: self._following(number) for number in numbers}
        for status in (500, 400, 429):
            places = [at for at, number in enumerate(numbers) if following[number] == status]
            if places:
                self.asked.update({numbers[at] for at in places})
                self.given[status] += 1
                return _answer(status, places)
        refused = super()._refuse(items, kind, rules)
        self._taken.update([] if refused else numbers)
        return refused

    def _following(self, number: int) -> int:
        answers = self.trial.answers(number)
        return answers[min(self.asked[number], len(answers) - 1)]


def _answer(status: int, places: list[int]) -> Answer:
    fields = {"events_with_invalid_fields": {"event_properties": places}} if status == 400 else {}
    throttled = {"throttled_events": places} if status == 429 else {}
    return Answer(status, {"code": status, "error": _ERRORS[status], **fields, **throttled})


def run(folder: Path, trial: Trial, kills: int, limit: float) -> bool:
    """Do one run in a folder, print its table, and return whether every promise was kept."""
    started = time.monotonic()
    vendor = Prescriber(folder / "cloud.journal", trial)
    with ExitStack() as stack:
        urls = {"cloud": stack.enter_context(vendor.serve())}
        config = configured(folder, folder / "log", urls, lanes=8, at_once=50, in_flight=400)
        log = stack.enter_context(closing(SqliteLog(folder / "log")))
        _accept(log, config, trial)
        worker = stack.enter_context(closing(deliverer(folder, config, vendor.taken)))
        _kill(worker, vendor, kills, limit)
        done = reached(lambda: settled(log, ["cloud"]), limit)
        dead = {number_of(str(letter.message_id)) for letter in log.dead(DeadQuery())}
    print(f"seed {trial.seed}: {trial.users} users with {trial.events} events, {worker.kills} kills, ", end="")
    print(f"{time.monotonic() - started:.0f} s{'' if done else ', NOT SETTLED within the limit'}")
    return _show(vendor, dead) and done


def _accept(log: Log, config: Path, trial: Trial) -> None:
    normaliser = Normaliser()
    with Acceptor(log, load_config(config).log, now_ms) as acceptor:
        acceptor.accept([normaliser.event(trial.event(number)) for number in trial.numbers])


def _kill(worker: Worker, vendor: Prescriber, kills: int, limit: float) -> None:
    """Kill it when about so many events were taken that the kills fall all over the run."""
    trial = vendor.trial
    dice = random.Random(f"{trial.seed}:kills")
    good = sum(not trial.refused(number) for number in trial.numbers)
    for kill in range(kills):
        wanted = int(good * (kill + dice.random()) / kills)
        if not reached(lambda wanted=wanted: vendor.taken() >= wanted, limit, every=0.002):
            raise ChaosError(f"{vendor.taken()} events were taken within {limit:g} seconds, not {wanted}")
        worker.kill()


def _show(vendor: Prescriber, dead: set[int]) -> bool:
    """Print what came of the events, and return whether every promise was kept."""
    trial = vendor.trial
    effects, _ = read_journal(vendor.path)
    taken = {number_of(effect.insert_id) for effect in effects}
    refused = {number for number in trial.numbers if trial.refused(number)}
    broken = {
        "lost": len(set(trial.numbers) - taken - dead),
        "dead though not refused": len(dead - refused),
        "taken though refused": len(taken & refused),
        "inversions": len(inversions(effects, trial.user_of)),
    }
    given = ", ".join(f"{status} {times}" for status, times in sorted(vendor.given.items()))
    copies = len(effects) - len({effect.insert_id for effect in effects})
    rows = {"answers given": given, "taken": len(taken), "dead": len(dead), "raw copies": copies, **broken}
    for label, value in rows.items():
        print(f"  {label:36} {value}{'  BROKEN' if broken.get(label) else ''}")
    return not any(broken.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, and return 0, 1 when a promise was broken, or 2 when the run did not work."""
    parser = argparse.ArgumentParser(description="Hold users in order while the vendor answers as prescribed.")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--events", type=int, default=40, help="of each user")
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds in which delivery has to get on")
    options = parser.parse_args(arguments)
    end_on_signal()
    trial = Trial(options.users, options.events, options.seed)
    try:
        with tempfile.TemporaryDirectory(prefix="turnout-chaos-") as name:
            return 0 if run(Path(name), trial, options.kills, options.limit) else 1
    except ChaosError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""Kill acceptance and delivery again and again, make the vendor fail, and see whether anything was lost.

    python benchmarks/chaos.py [--kills 20] [--seed 1] [--rate 400] [--keep FOLDER] [--no-disk]

Events with numbers are accepted in one process, delivered by `turnout deliver` in another to two Amplitudes (one in
cloud mode, one in device mode), which are simulated in a third that lives on. A seeded schedule ends the first two with
SIGKILL at random moments and orders faults at the vendor. Then everything is let run until the log is settled, and what
the vendor got is held against what the sender was told. A second, shorter run does so on a disk that is filled again
and again, where a small one can be mounted. Exit 1 when a promise was broken, 2 when the run did not work.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
from chaos_check import Accepted, Verdicts, judge, read_accepted
from chaos_disk import fill, show, small_disk
from chaos_workers import (
    AT_ONCE,
    HERE,
    IN_FLIGHT,
    ChaosError,
    Worker,
    configured,
    deliverer,
    end_on_signal,
    reached,
    settled,
)

from turnout.dispatcher import Dispatcher
from turnout.sqlite_log import SqliteLog

__all__ = ["Run", "folder", "main", "options", "report"]

NAMES = ("cloud", "device")
_STILL_FAILING = 5.0
"""Seconds for which the vendors still fail as ordered, when nothing more is accepted."""
_SOME = {"code": 429, "error": "Too many requests for some devices and users", "throttled_events": [0, 2, 5, 11]}
_KEY = {"code": 400, "error": "Invalid API key: key-chaos"}
FAULTS: dict[str, dict[str, Any]] = {
    "429 whole": {"status": 429, "body": {"code": 429, "error": "Too many requests"}},
    "429 all users": {"status": 429, "path": "/2/httpapi"},
    "429 some users": {"status": 429, "body": _SOME, "path": "/2/httpapi"},
    "500": {"status": 500, "times": 2},
    "500 after effect": {"status": 500, "after_store": True},
    "503 retry-after": {"status": 503, "headers": {"retry-after": "1"}},
    "html 502": {"status": 502, "html": True, "times": 3},
    "html 200": {"status": 200, "html": True},
    "refused key": {"status": 400, "body": _KEY},
    "stall": {"delay": 1.2},
    "hang": {"hang": True},
    "dropped": {"drop_connection": True, "times": 2},
    "dropped after effect": {"drop_connection": True, "after_store": True},
}


class Run:
    """One run: its folder, its three processes, and its dice."""

    def __init__(self, folder: Path, stack: ExitStack, options: argparse.Namespace, log: Path) -> None:
        self.folder, self.seed, self.limit, self.log = folder, int(options.seed), float(options.limit), log
        self.dice = random.Random(f"{self.seed}:chaos")
        self.kinds = [kind for kind in FAULTS if kind not in options.without]
        vendor = [str(HERE / "chaos_vendor.py"), str(folder), *NAMES]
        stack.enter_context(closing(Worker(folder, "vendor", vendor, lambda: 0)))
        if not reached((folder / "urls.json").exists, self.limit):
            raise ChaosError(f"the vendor did not come up within {self.limit:g} seconds")
        self.urls: dict[str, str] = json.loads((folder / "urls.json").read_text())
        self.config = self.configured()
        self.start(stack, options)

    def configured(self) -> Path:
        """Write the configuration, and return its path."""
        return configured(self.folder, self.log, self.urls)

    def start(self, stack: ExitStack, options: argparse.Namespace) -> None:
        """Start the processes that are killed."""
        accept = [str(HERE / "chaos_accept.py"), str(self.folder), str(self.seed), str(options.rate)]
        accept += ["--broken"] if options.broken else []
        self.accept = stack.enter_context(closing(Worker(self.folder, "accept", accept, self.accepted)))
        self.deliver = stack.enter_context(closing(deliverer(self.folder, self.config, self.delivered)))

    @property
    def kills(self) -> dict[str, int]:
        """How often which process was killed."""
        return {"accept": self.accept.kills, "deliver": self.deliver.kills}

    @property
    def interrupted(self) -> int:
        """How often delivery was ended."""
        return self.deliver.kills + self.deliver.ended

    def accepted(self) -> int:
        """Return how much was accepted, in any unit."""
        return _size(self.folder / "accepted")

    def delivered(self) -> int:
        """Return how much the vendors have taken, in any unit."""
        return sum(_size(self.folder / f"{name}.journal") for name in NAMES)

    def strike(self) -> None:
        """Order faults, and kill a process."""
        for name in NAMES:
            if self.dice.random() < 0.8:
                self.order(name, self.dice.choice(self.kinds))
        self.kill()

    def kill(self) -> None:
        """Kill one process: soon after its start, or some time after it has got something done."""
        worker = self.dice.choice([self.accept, self.deliver, self.deliver])
        if self.dice.random() < 0.75:
            worker.wait_for_progress(5.0)
        time.sleep(self.dice.random() * 0.4)
        worker.kill()

    def order(self, name: str, kind: str) -> None:
        """Order a fault at one vendor."""
        fault = {"path": self.dice.choice(["/2/httpapi", "/2/httpapi", "/identify"]), "headers": {}, **FAULTS[kind]}
        fault["headers"] = {**fault["headers"], "x-chaos": kind.replace(" ", "-")}
        self._ask(name, "faults", fault)

    def hold(self) -> None:
        """Let the vendors take nothing."""
        for name in NAMES:
            self._ask(name, "faults", {**FAULTS["refused key"], "times": None, "headers": {"x-chaos": "held"}})

    def let_go(self) -> None:
        """Take back every fault that was ordered."""
        for name in NAMES:
            self._ask(name, "reset")

    def _ask(self, name: str, what: str, options: object = None) -> None:
        httpx.post(f"{self.urls[name]}/_turnout/{what}", json=options, timeout=self.limit).raise_for_status()

    def finish(self) -> bool:
        """Accept no more, let delivery come to its end as long as it gets on, and return whether it did."""
        self.stop_sending()
        with closing(SqliteLog(self.log)) as log:
            # What is left of the faults could make pauses of minutes: each failure in a row doubles the next one.
            if not reached(lambda: settled(log, NAMES), _STILL_FAILING):
                self.let_go()
            left = -1
            while left != (left := sum(state.pending for state in log.states().values())):
                if reached(lambda: settled(log, NAMES), self.limit):
                    return True
        self.stop_delivering()
        return False

    def stop_sending(self) -> None:
        """See to it that nothing more is accepted."""
        (self.folder / "stop").touch()
        self.accept.wait(self.limit)

    def stop_delivering(self) -> None:
        """See to it that nothing more is delivered: what is judged has to stand still."""
        self.deliver.close()

    def verdicts(self) -> dict[str, Verdicts]:
        """Return what is to be said of each destination."""
        sys.path.insert(0, str(self.folder / "site"))
        dispatcher = Dispatcher.from_config(self.config)
        accepted = read_accepted(self.folder / "accepted")
        try:
            with closing(SqliteLog(self.log)) as log:
                return {name: self._judged(log, name, dispatcher, accepted) for name in NAMES}
        finally:
            sys.path.remove(str(self.folder / "site"))

    def _judged(self, log: SqliteLog, name: str, dispatcher: Dispatcher, accepted: Accepted) -> Verdicts:
        return judge(log, name, dispatcher, self.seed, accepted, self.folder / f"{name}.journal")

    def damage(self) -> list[str]:
        """Return what is damaged in the log."""
        with closing(SqliteLog(self.log)) as log:
            return log.check()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def run(folder: Path, options: argparse.Namespace) -> bool:
    """Do one run in a folder, print its table, and return whether every promise was kept."""
    started = time.monotonic()
    with ExitStack() as stack:
        one = Run(folder, stack, options, folder / "log")
        for _ in range(options.kills):
            one.strike()
        return report(one, one.finish(), time.monotonic() - started)


def run_full(folder: Path, options: argparse.Namespace) -> bool:
    """Do a shorter run on a disk that is filled again and again, where one can be mounted; else say so."""
    started, rounds = time.monotonic(), max(2, options.kills // 20)
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(folder / "disk", rounds))
        except OSError as error:
            print(f"\nfull disk: left out ({error})")
            return True
        one = Run(folder, stack, options, disk / "log")
        found = [fill(one, disk) for _ in range(rounds)]
        kept = report(one, one.finish(), time.monotonic() - started, "\nfull disk, ")
        return show(one, found) and kept


def report(one: Run, done: bool, seconds: float, title: str = "") -> bool:
    """Print what happened, and return whether every promise was kept."""
    kills = ", ".join(f"{times} {name}" for name, times in one.kills.items())
    told = f"{title}seed {one.seed}: {sum(one.kills.values())} kills ({kills}), {seconds:.0f} s"
    print(told if done else f"{told}, NOT SETTLED: delivery does not get on")
    damage = one.damage()
    for sentence in damage:
        print(f"  BROKEN: {sentence}")
    sound = [_show(name, found, one.interrupted) for name, found in one.verdicts().items()]
    return done and not damage and all(sound)


def _show(name: str, found: Verdicts, kills: int) -> bool:
    print(f"\n{name}")
    unanswered = sum(times for (_, after), times in found.faults.items() if after == "stored")
    most = kills * IN_FLIGHT + unanswered * AT_ONCE
    for label, value in _rows(found, most):
        print(f"  {label:36} {value}")
    broken = found.violations | ({"repeated too often": found.repeated} if found.repeated > most else {})
    for promise, times in broken.items():
        print(f"  BROKEN: {promise:28} {times}  {_examples(found, promise)}")
    return not broken


def _rows(found: Verdicts, most: int) -> Iterator[tuple[str, object]]:
    yield "faults met", ", ".join(f"{kind} {times}" for kind, times in sorted(_by_kind(found).items()))
    yield "accepted", f"{found.accepted:,}"
    yield "delivered", f"{found.delivered:,}"
    yield "dropped on purpose", f"{found.dropped:,}"
    yield "dead", ", ".join(f"{reason} {times}" for reason, times in sorted(found.dead.items())) or "0"
    yield "lost", len(found.lost)
    yield "effective twice", len(found.double)
    yield "inversions", len(found.inverted)
    yield "repeated events (raw copies)", f"{found.repeated:,} ({found.copies:,}); at most {most:,} events"


def _by_kind(found: Verdicts) -> Counter[str]:
    kinds = Counter[str]()
    for (kind, _), times in found.faults.items():
        kinds[kind] += times
    return kinds


def _examples(found: Verdicts, promise: str) -> str:
    fields: dict[str, Sequence[object]] = {
        "lost": found.lost,
        "taken though never accepted": found.strange,
        "effective twice": found.double,
        "changed between attempts": found.changed,
        "inversions": found.inverted,
        "dead without fault": found.innocent,
        "dead without reason or event": found.unexplained,
        "miscounted": [found.miscounted],
    }
    return ", ".join(map(str, fields.get(promise, [])[:5]))


@contextmanager
def folder(kept: Path | None) -> Iterator[Path]:
    """Make the folder of a run, which is removed in the end unless it is to be kept."""
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="turnout-chaos-") as name:
            yield Path(name)
    else:
        kept.mkdir(parents=True)
        yield kept


def options(about: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what a command line says."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=400.0, help="events that are accepted in a second, about")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds in which delivery has to get on")
    parser.add_argument("--without", action="append", default=[], choices=[*FAULTS], help="leave out a kind of fault")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave everything in this new folder")
    parser.add_argument("--no-disk", action="store_true", help="leave out the run on a full disk")
    parser.add_argument("--broken", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, and return 0, 1 when a promise was broken, or 2 when the run did not work."""
    chosen = options("Kill turnout again and again, and see whether anything was lost.", arguments)
    end_on_signal()
    try:
        with folder(chosen.keep) as place:
            parts = [place / "run", *([] if chosen.no_disk else [place / "full"])]
            for part in parts:
                part.mkdir()
            kept = [run(parts[0], chosen), *(run_full(part, chosen) for part in parts[1:])]
            return 0 if all(kept) else 1
    except ChaosError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

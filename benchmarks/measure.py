"""Measurements for `bench.py`: what raw events cost turnout, beside the floor, by stage and at start-up.

The times of the mapping are CPU times of this process, so that waiting for the core does not count. Floor and turnout
go through all events in turns. Raw events lie in memory for both, and the vendor's events for the floor, which has
nothing to do but to decode and encode them one after the other. turnout plans and packs in chunks, and keeps the plans
of a chunk as delivery does. The garbage collector runs as it does anywhere.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson

from turnout.dispatcher import Dispatcher
from turnout.inputs import Inputs
from turnout.mapping import map_event
from turnout.packing import waves
from turnout.plan import Plan
from turnout.reasons import Outcome
from turnout_amplitude import Amplitude

__all__ = [
    "CHUNK",
    "ONE",
    "SETUPS",
    "STAGES",
    "BenchError",
    "Spread",
    "Trial",
    "check",
    "dispatcher",
    "stages",
    "startup",
    "trial",
]

CHUNK = 500
"""Events that are planned before they are packed, as `Dispatcher.send` does."""
_SETTINGS = {"api_key": "example-api-key", "track_named_pages": True}
ONE = "one"
SETUPS: dict[str, list[dict[str, Any]]] = {
    ONE: [{}],
    "three alike": [{}, {"api_key": "second-key"}, {"api_key": "third-key"}],
    "three that differ": [
        {},
        {"prefer_anonymous_id_for_device_id": True},
        {"use_custom_amplitude_properties": True, "track_utm_properties": False},
    ],
    "one, device mode": [{"connection_mode": "device"}],
}
"""The Amplitudes of each set-up, by what they set beside the usual settings."""
STAGES = ("decode untyped", "normalise", "gate + map", "pack")
"""The first is for comparison: turnout decodes typed, within "normalise"."""

_clock = time.process_time_ns


class BenchError(Exception):
    """The events did not become what the benchmark is about, so its figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and minimum over the rounds, in the unit of the samples."""

    median: float
    least: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Return the spread of some samples."""
        return cls(statistics.median(samples), min(samples))


@dataclass(frozen=True, slots=True)
class Trial:
    """One workload: microseconds an event on both sides, and turnout's share of the floor (1.0: as fast)."""

    workload: str
    setup: str
    events: int
    floor: Spread
    turnout: Spread
    share: float
    items: int
    requests: int
    bytes_out: int

    @property
    def per_second(self) -> float:
        """Return the events a second that turnout maps on one core."""
        return 1e6 / self.turnout.median


def dispatcher(setup: str = ONE) -> Dispatcher:
    """Return a dispatcher with the Amplitude destinations of a set-up."""
    return Dispatcher(Amplitude(_SETTINGS | own, id=f"amplitude{number}") for number, own in enumerate(SETUPS[setup]))


def check(dispatch: Dispatcher, lines: Sequence[bytes], items: int) -> None:
    """Raise `BenchError` unless every event is planned everywhere and the first became `items` items."""
    for line in lines:
        for plan in dispatch.plan(line):
            if plan.outcome is not Outcome.PLANNED:
                raise BenchError(f"Event {plan.message_id} is {plan.outcome} at {plan.destination}: {plan.reason}")
    made = len(dispatch.plan(lines[0])[0].items)
    if made != items:
        raise BenchError(f"The first event became {made} items instead of {items}: {lines[0].decode()}")


def trial(workload: str, lines: Sequence[bytes], setup: str, rounds: int) -> Trial:
    """Return floor and turnout over the same events, measured in turns."""
    dispatch = dispatcher(setup)
    made = [[item.data for plan in row for item in plan.items] for row in dispatch.plans(lines)]
    vendor = [[*map(orjson.loads, datas)] for datas in made]
    floor, turnout = [], []
    for _ in range(rounds + 1):
        floor.append(_floor(lines, vendor))
        spent, requests, size = _pass(dispatch, lines)
        turnout.append(spent)
    floor, turnout = ([spent / len(lines) / 1e3 for spent in side[1:]] for side in (floor, turnout))
    share = statistics.median(low / high for low, high in zip(floor, turnout, strict=True))
    items = sum(map(len, vendor))
    return Trial(workload, setup, len(lines), Spread.of(floor), Spread.of(turnout), share, items, requests, size)


def _floor(lines: Sequence[bytes], vendor: Sequence[Sequence[Any]]) -> int:
    """Return nanoseconds of decoding the events and encoding what became of them."""
    gc.collect()
    started = _clock()
    for line, made in zip(lines, vendor, strict=True):
        orjson.loads(line)
        for one in made:
            orjson.dumps(one)
    return _clock() - started


def _pass(dispatch: Dispatcher, lines: Sequence[bytes]) -> tuple[int, int, int]:
    """Return nanoseconds from the events to the bodies of requests, how many of them there are, and their bytes."""
    requests = size = 0
    inputs = Inputs()
    gc.collect()
    started = _clock()
    for chunk in _chunks(lines):
        bodies = _pack([plan for row in dispatch.plans(chunk, inputs) for plan in row])
        requests, size = requests + len(bodies), size + sum(map(len, bodies))
    return _clock() - started, requests, size


def _pack(plans: Sequence[Plan]) -> list[bytes]:
    """Return the bodies of the requests for a chunk of plans, as delivery packs them."""
    by_destination: dict[str, list[Plan]] = {}
    for plan in plans:
        by_destination.setdefault(plan.destination, []).append(plan)
    return [
        request.body
        for mine in by_destination.values()
        for wave in waves((plan.user, plan.items) for plan in mine)
        for request in wave
    ]


def _chunks(lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(lines), CHUNK):
        yield lines[start : start + CHUNK]


def stages(lines: Sequence[bytes], rounds: int) -> dict[str, Spread]:
    """Return the cost of each stage for one destination, in microseconds an event."""
    dispatch = dispatcher()
    passes = [_stage_pass(dispatch, lines) for _ in range(rounds + 1)][1:]
    return {
        name: Spread.of([taken[number] / len(lines) / 1e3 for taken in passes]) for number, name in enumerate(STAGES)
    }


def _stage_pass(dispatch: Dispatcher, lines: Sequence[bytes]) -> list[int]:
    """Return the nanoseconds of each of `STAGES`."""
    normalise, (target,) = dispatch.normaliser.event, dispatch.destinations.values()
    taken = [0] * len(STAGES)
    gc.collect()
    for chunk in _chunks(lines):
        spent = [_clock()]
        for line in chunk:
            msgspec.json.decode(line)
        spent.append(_clock())
        events = [normalise(line) for line in chunk]
        spent.append(_clock())
        plans = [map_event(target, event) for event in events]
        spent.append(_clock())
        _pack(plans)
        spent.append(_clock())
        taken = [sum_ + after - before for sum_, before, after in zip(taken, spent, spent[1:], strict=False)]
    return taken


def startup(runs: int) -> dict[str, float]:
    """Return milliseconds: bare interpreter, `import turnout` on top of it, the whole of `turnout --help`."""
    bare, imported, helped = [], [], []
    for number in range(runs + 1):
        taken = [_elapsed(command) for command in (_python("pass"), _python("import turnout"), _help())]
        if number:
            bare.append(taken[0])
            imported.append(taken[1])
            helped.append(taken[2])
    lone = statistics.median(bare)
    return {
        "python": lone,
        "import turnout": statistics.median(imported) - lone,
        "turnout --help": statistics.median(helped),
    }


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _help() -> list[str]:
    """Return the installed command, or the same call where turnout is only on the path."""
    script = Path(sys.executable).with_name("turnout")
    if script.exists():
        return [str(script), "--help"]
    return [*_python("from turnout.cli import main; main()"), "--help"]


def _elapsed(command: Sequence[str], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace').strip()}")
    return (clock() - started) * 1e3

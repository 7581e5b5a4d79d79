"""Print how fast turnout maps raw events to Amplitude bodies on one core, beside the floor.

    python benchmarks/bench.py [--quick] [--json FILE]

Settings are the defaults and `track_named_pages`; nothing is tuned to the benchmark. With three Amplitudes that
differ in what the mapping reads, each maps every event; with three that differ in their keys only, one of them does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import generate
from measure import SETUPS, BenchError, Spread, Trial, check, dispatcher, stages, startup, trial
from report import Report, machine, text

__all__ = ["main", "run"]

ITEMS = {"track": 1, "order": 6}
"""An event becomes itself, an order also one `Product Purchased` for each of its five products."""


def pin() -> int | None:
    """Keep this process and its children on one core; return its number, or None where that can't be."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def workloads(count: int) -> dict[str, list[bytes]]:
    """Return the events of each workload, checked to become what the benchmark is about."""
    made = {kind: generate.lines(kind, count) for kind in generate.KINDS}
    for kind, items in ITEMS.items():
        check(dispatcher(), made[kind], items)
    return {**made, "90/10 mix": generate.mix(made["track"], made["order"])}


def run(count: int, rounds: int, runs: int) -> Report:
    """Return the report of `rounds` rounds over `count` events of each kind, and `runs` starts."""
    core = pin()
    lines = workloads(count)
    sizes = {kind: statistics.mean(map(len, some)) for kind, some in lines.items()}
    trials: list[Trial] = []
    costs: dict[str, dict[str, Spread]] = {}
    for name, some in lines.items():
        trials.extend(trial(name, some, setup, rounds) for setup in SETUPS)
        costs[name] = stages(some, rounds)
    trials.sort(key=lambda one: list(SETUPS).index(one.setup))
    return Report(machine(core), rounds, sizes, trials, costs, startup(runs))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, print the report and return 0, or 2 when an event or a command did not work."""
    parser = argparse.ArgumentParser(description="Measure turnout's mapping on one core, beside the floor.")
    parser.add_argument("--quick", action="store_true", help="few events and rounds: only to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    chosen = parser.parse_args(arguments)
    try:
        report = run(200, 2, 1) if chosen.quick else run(generate.COUNT, 7, 10)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(*text(report), sep="\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(report.to_dict(), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

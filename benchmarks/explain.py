"""Measure `explain`: how long it takes to find out what every field of an event's requests depends on.

    python benchmarks/explain.py [--quick] [--json FILE]

The events are those of `generate.py`, each another one; the destination is Amplitude with its default settings. The
times are CPU times of this process, for whole calls of `explain`. The first call is apart: it also makes the
destination once for each setting that is changed, which is kept for the calls after it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import generate

from turnout import Outcome, explain
from turnout_amplitude import Amplitude

__all__ = ["main", "run"]

MUST = 50.0
"""Milliseconds in which a track, an event with about 60 values, has to be explained."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the events of one kind took, in milliseconds."""

    kind: str
    events: int
    values: int
    edges: int
    first: float
    median: float
    p95: float


def values(event: Any) -> int:
    """Return how many values an event holds."""
    if isinstance(event, dict | list):
        return sum(map(values, event.values() if isinstance(event, dict) else event))
    return 1


def run(kind: str, count: int) -> Timing:
    """Return the timing of `count` events of a kind; raises `RuntimeError` when one of them isn't sent."""
    destination = Amplitude({"api_key": f"example-key-{kind}"})
    taken, edges, lines = [], 0, generate.lines(kind, count + 1)
    for line in lines:
        started = time.process_time()
        explanation = explain(destination, line)
        taken.append((time.process_time() - started) * 1000)
        edges = max(edges, len(explanation.edges))
        if explanation.outcome is not Outcome.PLANNED:
            raise RuntimeError(f"{explanation.message_id} is {explanation.outcome}: {explanation.reason}")
    first, *rest = taken
    most = max(values(json.loads(line)) for line in lines)
    return Timing(kind, count, most, edges, first, statistics.median(rest), _p95(rest))


def _p95(taken: Sequence[float]) -> float:
    return sorted(taken)[min(len(taken) - 1, round(len(taken) * 0.95))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the timings; return 0, or 1 when tracks take longer than they may."""
    parser = argparse.ArgumentParser(description="Measure how long turnout takes to explain an event.")
    parser.add_argument("--quick", action="store_true", help="few events: only to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    chosen = parser.parse_args(arguments)
    timings = [run(kind, 5 if chosen.quick else 200) for kind in generate.KINDS]
    print(f"{'kind':<8}{'events':>8}{'values':>8}{'edges':>8}{'first':>10}{'median':>10}{'p95':>10}  (milliseconds)")
    for one in timings:
        print(
            f"{one.kind:<8}{one.events:>8}{one.values:>8}{one.edges:>8}"
            f"{one.first:>10.1f}{one.median:>10.1f}{one.p95:>10.1f}"
        )
    met = timings[0].median < MUST
    print(f"a track is explained in less than {MUST:.0f} ms: {'met' if met else 'missed'}")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(one) for one in timings], indent=2) + "\n")
    return 0 if met or chosen.quick else 1


if __name__ == "__main__":
    sys.exit(main())

"""Measure `explain`: how long it takes to find out what every field of an event's requests depends on.

    python benchmarks/explain.py [--quick] [--json FILE]

The events are those of `generate.py`, or made of them, each another one; the destination is Amplitude. The times are
CPU times of this process, for whole calls of `explain`. The first call for a destination is apart: it also makes the
destination once for each setting that is changed, which is kept for the calls after it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import generate

from turnout import Outcome, explain
from turnout_amplitude import Amplitude

__all__ = ["main", "run"]

MUST = 50.0
"""Milliseconds in which an event with about 60 values has to be explained, whatever its call."""
LARGE = 150
"""Products of a large order."""
_SHOWN = ("product_id", "sku", "name", "price", "quantity")
_KEPT = ("ip", "library", "locale", "page", "userAgent", "timezone")


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


def page(event: dict[str, Any]) -> dict[str, Any]:
    """Return a page call with the properties of a track call."""
    rest = {name: value for name, value in event.items() if name != "event"}
    return {**rest, "type": "page", "name": event["event"]}


def identify(event: dict[str, Any]) -> dict[str, Any]:
    """Return an identify call with the properties of a track call as traits."""
    rest = {name: value for name, value in event.items() if name not in ("event", "properties")}
    return {**rest, "type": "identify", "traits": event["properties"]}


def order(event: dict[str, Any]) -> dict[str, Any]:
    """Return an order with its five products and about 60 values."""
    context = {name: value for name, value in event["context"].items() if name in _KEPT}
    products = [{name: one[name] for name in _SHOWN} for one in event["properties"]["products"]]
    return {**event, "context": context, "properties": {**event["properties"], "products": products}}


def large_order(event: dict[str, Any]) -> dict[str, Any]:
    """Return an order with many products, of which four values are told."""
    products = [
        {"sku": f"S-{number}-a", "name": f"Lamp {number}", "price": 10.25 + number, "quantity": 2 + number}
        for number in range(LARGE)
    ]
    return {**event, "properties": {**event["properties"], "products": products}}


KINDS: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "track": ("track", dict),
    "page": ("track", page),
    "identify": ("track", identify),
    "order": ("order", order),
    "order, whole": ("order", dict),
    "order, large": ("order", large_order),
}
"""What is measured: of which events of `generate.py` it is made, and how."""


def run(kind: str, count: int) -> Timing:
    """Return the timing of `count` events of a kind; raises `RuntimeError` when one of them isn't sent."""
    destination = Amplitude({"api_key": f"example-key-{kind}", "track_named_pages": True})
    made, change = KINDS[kind]
    taken, edges = [], 0
    every = [change(json.loads(line)) for line in generate.lines(made, count + 1)]
    for event in every:
        started = time.process_time()
        explanation = explain(destination, event)
        taken.append((time.process_time() - started) * 1000)
        edges = max(edges, len(explanation.edges))
        if explanation.outcome is not Outcome.PLANNED:
            raise RuntimeError(f"{explanation.message_id} is {explanation.outcome}: {explanation.reason}")
    first, *rest = taken
    return Timing(kind, count, max(map(values, every)), edges, first, statistics.median(rest), _p95(rest))


def _p95(taken: Sequence[float]) -> float:
    return sorted(taken)[min(len(taken) - 1, round(len(taken) * 0.95))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the timings; return 0, or 1 when events with about 60 values take longer than they may."""
    parser = argparse.ArgumentParser(description="Measure how long turnout takes to explain an event.")
    parser.add_argument("--quick", action="store_true", help="few events: only to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    chosen = parser.parse_args(arguments)
    timings = [run(kind, _count(kind, chosen.quick)) for kind in KINDS]
    print(f"{'kind':<14}{'events':>8}{'values':>8}{'edges':>8}{'first':>10}{'median':>10}{'p95':>10}  (milliseconds)")
    for one in timings:
        print(
            f"{one.kind:<14}{one.events:>8}{one.values:>8}{one.edges:>8}"
            f"{one.first:>10.1f}{one.median:>10.1f}{one.p95:>10.1f}"
        )
    met = all(one.median < MUST for one in timings if one.values < 70)
    print(f"events with about 60 values are explained in less than {MUST:.0f} ms: {'met' if met else 'missed'}")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(one) for one in timings], indent=2) + "\n")
    return 0 if met or chosen.quick else 1


def _count(kind: str, quick: bool) -> int:
    if kind == "order, large":
        return 1 if quick else 3
    return 3 if quick else 100


if __name__ == "__main__":
    sys.exit(main())

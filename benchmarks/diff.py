"""Print how fast `turnout diff` compares two settings of Amplitude over a corpus, and how much memory it takes.

    python benchmarks/diff.py [--quick] [--json FILE]

The corpus is nine tenths track events and one tenth orders of five products, 1.7 KB each. Three comparisons: with the
same settings, with one that changes every order, with one that changes every event. Each is run by a process of its
own, with one job and with four; a fourth of the corpus shows whether memory grows with it.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import generate
from report import machine

from turnout.corpus import Corpus
from turnout.impact import diff
from turnout_amplitude import Amplitude

__all__ = ["COMPARISONS", "JOBS", "main", "measure", "run", "write"]

COUNT = 200_000
JOBS = (1, 4)
SETTINGS = {"api_key": "example-api-key", "track_named_pages": True}
COMPARISONS: dict[str, dict[str, Any]] = {
    "nothing changes": {},
    "one event in ten changes": {"track_products_once": True},
    "every event changes": {"prefer_anonymous_id_for_device_id": True},
}
"""What the other side sets beside the usual settings."""


def write(path: Path, count: int) -> None:
    """Write so many events as JSON lines, the same ones each time, without holding them."""
    rng = random.Random(generate.SEED)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            kind = "order" if number % generate.ORDER_EVERY == 0 else "track"
            made = generate.event(kind, rng, number)
            file.write(json.dumps(made, ensure_ascii=False, separators=(",", ":")) + "\n")


def measure(comparison: str, path: str, jobs: int) -> dict[str, Any]:
    """Return the figures of one comparison, made by this process and those that it starts."""
    before, after = Amplitude(SETTINGS, id="a"), Amplitude(SETTINGS | COMPARISONS[comparison], id="a")
    started = time.perf_counter()
    impact = diff(Corpus([path]), before, after, jobs=jobs)
    taken = time.perf_counter() - started
    mine, theirs = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "comparison": comparison,
        "jobs": jobs,
        "events": impact.events,
        "changed": impact.changed,
        "ways": len(impact.ways),
        "events_per_second": round(impact.events / taken),
        "megabytes": round(mine / 1024),
        "megabytes_of_the_largest_job": round(theirs / 1024) if jobs > 1 else 0,
    }


def run(count: int) -> list[dict[str, Any]]:
    """Return the figures of every comparison with each number of jobs, over a fourth of the corpus and all of it."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in (count // 4, count):
            path = Path(folder, f"{size}.jsonl")
            write(path, size)
            for comparison in COMPARISONS:
                rows += [_apart(comparison, path, jobs) for jobs in JOBS]
    return rows


def _apart(comparison: str, path: Path, jobs: int) -> dict[str, Any]:
    """Return the figures of a comparison that a fresh process makes."""
    command = [sys.executable, __file__, "--one", comparison, str(path), str(jobs)]
    figures: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return figures


def text(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the report as lines."""
    lines = [f"{'comparison':26}{'events':>9}{'jobs':>6}{'events/s':>10}{'ways':>6}{'MB':>6}{'MB a job':>10}"]
    for row in rows:
        numbers = f"{row['events']:9,}{row['jobs']:6}{row['events_per_second']:10,}{row['ways']:6}"
        lines.append(f"{row['comparison']:26}{numbers}{row['megabytes']:6}{row['megabytes_of_the_largest_job']:10}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, print the report and return 0."""
    parser = argparse.ArgumentParser(description="Measure turnout diff over a generated corpus.")
    parser.add_argument("--quick", action="store_true", help="few events: only to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--one", nargs=3, metavar=("COMPARISON", "CORPUS", "JOBS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        comparison, path, jobs = chosen.one
        print(json.dumps(measure(comparison, path, int(jobs))))
        return 0
    print(", ".join(f"{name}: {value}" for name, value in machine(None).items()))
    rows = run(400 if chosen.quick else COUNT)
    print(*text(rows), sep="\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What `bench.py` prints and writes: tables of the figures, and each must of the plan as met or missed."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from measure import STAGES, Spread, Trial

__all__ = ["Must", "Report", "machine", "musts", "text"]

LIBRARIES = ("turnout", "msgspec", "orjson")
SHARES = {"one": (0.55, 1.0), "three alike": (0.40, 0.70), "three that differ": (0.40, 0.70)}
"""For each set-up of Amplitudes with a must, the share of the floor that the mix must reach, and the aim."""
STARTUP = {"import turnout": 100.0, "turnout --help": 250.0}
"""Milliseconds that must not be reached."""


@dataclass(frozen=True, slots=True)
class Must:
    """One figure that turnout has to reach, as text, and whether this run did."""

    figure: str
    measured: str
    must: str
    aim: str
    met: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one run found out. Spreads are microseconds an event, `startup` milliseconds."""

    machine: dict[str, str]
    rounds: int
    sizes: dict[str, float]
    trials: list[Trial]
    stages: dict[str, dict[str, Spread]]
    startup: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, the musts included."""
        return {**asdict(self), "musts": [asdict(must) for must in musts(self.trials, self.startup)]}


def machine(core: int | None) -> dict[str, str]:
    """Return what the figures were measured on and with."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "pinned to": "not pinned" if core is None else f"core {core}",
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: _version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "from the source tree"


def musts(trials: Iterable[Trial], startup: Mapping[str, float]) -> list[Must]:
    """Return each must that this benchmark can judge."""
    found = []
    for trial in trials:
        if trial.workload == "90/10 mix" and trial.setup in SHARES:
            must, aim = SHARES[trial.setup]
            figure = f"share of the floor, 90/10 mix, Amplitudes: {trial.setup}"
            met = trial.share >= must
            found.append(Must(figure, f"{trial.share:.0%}", f">= {must:.0%}", f"{aim:.0%}", met))
    for figure, limit in STARTUP.items():
        found.append(Must(figure, f"{startup[figure]:.0f} ms", f"< {limit:.0f} ms", "", startup[figure] < limit))
    return found


def text(report: Report) -> Iterator[str]:
    """Yield the lines that a person reads."""
    yield "  ".join(f"{name}: {value}" for name, value in report.machine.items())
    yield from _trials(report)
    yield from _stages(report)
    yield from _startup(report)
    yield "\nMusts"
    rows = [
        (must.figure, must.measured, must.must, must.aim or "-", "met" if must.met else "MISSED")
        for must in musts(report.trials, report.startup)
    ]
    yield from _table(("figure", "measured", "must", "aim", ""), rows)
    yield "Not measured here: durable acceptance and delivery, latency, memory (these need a log)."


def _trials(report: Report) -> Iterator[str]:
    sizes = ", ".join(f"{kind} {size:.0f}" for kind, size in report.sizes.items())
    yield f"\nRaw JSON line -> packed Amplitude bodies, us of CPU an event, {report.rounds} rounds"
    yield f"Mean bytes of an event: {sizes}"
    rows = [
        (
            trial.workload,
            trial.setup,
            f"{trial.floor.median:.2f} / {trial.floor.least:.2f}",
            f"{trial.turnout.median:.2f} / {trial.turnout.least:.2f}",
            f"{trial.per_second:,.0f}",
            f"{trial.share:.0%}",
            f"{trial.items / trial.events:.2f}",
            f"{trial.bytes_out / trial.events:,.0f}",
            str(trial.requests),
        )
        for trial in report.trials
    ]
    head = (
        "workload",
        "Amplitudes",
        "floor med / min",
        "turnout med / min",
        "events/s",
        "of the floor",
        "items",
        "bytes out",
        "requests",
    )
    yield from _table(head, rows)
    yield "Floor: orjson.loads of an event, orjson.dumps of its vendor events. Items and bytes are per event."


def _stages(report: Report) -> Iterator[str]:
    yield "\nCost by stage, one Amplitude, us an event (median / min); untyped decoding to compare"
    rows = [
        (workload, *(f"{spent[stage].median:.2f} / {spent[stage].least:.2f}" for stage in STAGES))
        for workload, spent in report.stages.items()
    ]
    yield from _table(("workload", *STAGES), rows)


def _startup(report: Report) -> Iterator[str]:
    yield "\nStart-up, median ms; 'import turnout' is what it adds to the bare interpreter"
    yield from _table(tuple(report.startup), [tuple(f"{taken:.0f}" for taken in report.startup.values())])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield aligned lines, the first column to the left and the others to the right."""
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        yield "  " + "   ".join(cells).rstrip()

"""Processes are killed while events are accepted and delivered: nothing is lost, and every user's order is kept.

The runs are those of `make chaos`, shorter. They start together and are limited by kills and events, not by time.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
LIMIT = 900
"""Seconds after which something hangs; a run takes half a minute."""
RUNS = {
    "short": ["chaos.py", "--kills", "20", "--seed", "1", "--limit", "300", "--no-disk"],
    "broken": ["chaos.py", "--kills", "12", "--seed", "1", "--limit", "300", "--no-disk", "--broken"],
    "gateway": ["chaos_gateway.py", "--kills", "8", "--seed", "1", "--limit", "300"],
    "hasty": ["chaos_gateway.py", "--kills", "8", "--seed", "2", "--limit", "300", "--broken"],
    "order": ["chaos_order.py", "--users", "50", "--events", "40", "--kills", "8", "--seed", "1", "--limit", "300"],
}
ATTACKS = (("gzip bomb", 413), ("endless chunks", 413), ("deep JSON", 400), ("slow head", 408), ("slow body", 408))

Runs = dict[str, "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    """The runs, started together; one that is not over in the end is interrupted, so that it ends its processes."""
    started = {name: _start(command) for name, command in RUNS.items()}
    yield started
    for one in started.values():
        with suppress(subprocess.TimeoutExpired):
            if one.poll() is None:
                one.send_signal(signal.SIGINT)
            one.communicate(timeout=60)
        one.kill()


def _start(command: list[str]) -> subprocess.Popen[str]:
    script, *options = command
    places = [str(ROOT / name) for name in ("core", "destinations", "sources", "specs")]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([*places, os.environ.get("PYTHONPATH", "")]))
    whole = [sys.executable, str(BENCHMARKS / script), *options]
    return subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


@pytest.fixture(scope="module")
def check() -> Iterator[ModuleType]:
    """The module that judges a run."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("chaos_check")
    finally:
        sys.path.remove(str(BENCHMARKS))


def told(one: subprocess.Popen[str]) -> str:
    """Return what a run has printed when it is over."""
    return one.communicate(timeout=LIMIT)[0]


def test_the_check_finds_events_out_of_order(check: ModuleType, tmp_path: Path) -> None:
    """The check sees it when it happens, once for each event that is late; a copy that comes later is none."""
    journal = tmp_path / "journal"
    lines = [f"/2/httpapi m-{number} device digest" for number in (0, 1, 4, 2, 0, 3)]
    journal.write_text("\n".join([*lines[:3], "! stall nothing", *lines[3:]]) + "\n")
    effects, faults = check.read_journal(journal)
    found = check.inversions(effects, lambda number: f"user-{number % 2}")
    assert found == [("user-0", 2, 4)]
    assert dict(faults) == {("stall", "nothing"): 1}


def test_order_is_kept_while_answers_are_as_prescribed(runs: Runs) -> None:
    """50 users with 40 events, answers 500, 429 and 400 among them, and 8 kills: 0 inversions, 0 lost."""
    output = told(runs["order"])
    assert runs["order"].returncode == 0, output
    assert "8 kills" in output
    assert all(f"{status} " in output for status in (400, 429, 500)), output


@pytest.mark.parametrize("name", ["broken", "hasty"])
def test_a_build_that_acknowledges_before_the_commit_is_found(runs: Runs, name: str) -> None:
    """The same runs with it lose events, say so, and fail."""
    output = told(runs[name])
    assert runs[name].returncode == 1, output
    assert "BROKEN: lost" in output


def test_nothing_is_lost_in_twenty_kills(runs: Runs) -> None:
    """Of both processes, while the vendors fail in thirteen ways; no other promise is broken either."""
    output = told(runs["short"])
    assert runs["short"].returncode == 0, output
    assert "20 kills" in output


def test_nothing_is_lost_through_the_gateway(runs: Runs) -> None:
    """While it and its delivery are killed, and others attack it; what got 200 arrives once, in order."""
    output = told(runs["gateway"])
    assert runs["gateway"].returncode == 0, output
    assert "8 kills" in output
    assert all(re.search(rf"answers to {attack} .*\b{status} \d", output) for attack, status in ATTACKS), output

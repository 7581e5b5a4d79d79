"""Mapping in another process: another clock, time zone and hash seed. Run as a program, it is that process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from turnout.testing._contract_words import Broken

if TYPE_CHECKING:
    from turnout.testing._contract_subject import Entry

__all__ = ["answers_elsewhere"]

_ZONES = ("Etc/GMT+12", "Etc/GMT-14")
"""The one that is farther from here is taken; a mapping that asks for the day is noticed by what it calls."""
_NOW = "2037-12-11T10:09:08+00:00"
_LONGEST = 120


def answers_elsewhere(name: str, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return what another process answers to the entries: one that differs from this one in everything else."""
    settings: list[dict[str, Any]] = []
    numbers: dict[int, int] = {}
    asked = []
    for entry in entries:
        if id(entry.dispatcher) not in numbers:
            numbers[id(entry.dispatcher)] = len(settings)
            settings.append(entry.settings)
        asked.append((numbers[id(entry.dispatcher)], entry.event))
    return _answer(msgspec.json.encode({"path": sys.path, "name": name, "settings": settings, "asked": asked}))


def _environment() -> dict[str, str]:
    """Return an environment with another time zone and another hash seed than this process has."""
    zone = _ZONES[time.localtime().tm_gmtoff < 0]
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    path = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "TZ": zone, "PYTHONHASHSEED": seed, "PYTHONPATH": path}


def _answer(payload: bytes) -> list[dict[str, Any]]:
    command = [sys.executable, "-c", "from turnout.testing._contract_elsewhere import main; main()"]
    try:
        process = subprocess.run(  # noqa: S603 - this very Python, with a constant program
            command, input=payload, env=_environment(), capture_output=True, timeout=_LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        raise Broken(f"a process that maps did not end within {_LONGEST} s", "Look for what waits.") from None
    if process.returncode != 0:
        lines = process.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        mend = "See that the package can be imported and configured in a Python that has just begun."
        raise Broken(f"in a process of its own it can't be used: {lines[-1]}", mend)
    answers: list[dict[str, Any]] = msgspec.json.decode(process.stdout)
    return answers


def main() -> None:
    """Read what to map from standard input, and write the answers to standard output."""
    asked = msgspec.json.decode(sys.stdin.buffer.read())
    sys.path[:] = asked["path"]
    output, sys.stdout = sys.stdout.buffer, sys.stderr  # what a plugin prints must not get between the answers

    from turnout.destination import load_destination
    from turnout.dispatcher import Dispatcher
    from turnout.testing._contract_subject import seen

    now = datetime.fromisoformat(_NOW)
    kind = load_destination(asked["name"])
    dispatchers = [Dispatcher([kind(settings, id=asked["name"])], clock=lambda: now) for settings in asked["settings"]]
    plans = [dispatchers[number].plan(msgspec.json.encode(event))[0] for number, event in asked["asked"]]
    output.write(msgspec.json.encode([seen(plan) for plan in plans]))
    output.flush()

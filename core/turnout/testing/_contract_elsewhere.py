"""Mapping in another process: another clock, time zone and hash seed. Run as a program, it is that process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from turnout.testing._contract_words import Broken

if TYPE_CHECKING:
    from turnout.testing._contract_subject import Entry

__all__ = ["answers_of"]

_PLACES = (
    # At any moment it is another day in these two zones.
    {"TZ": "Etc/GMT+12", "PYTHONHASHSEED": "1", "TURNOUT_CONTRACT_NOW": "2001-02-03T04:05:06+00:00"},
    {"TZ": "Etc/GMT-14", "PYTHONHASHSEED": "2", "TURNOUT_CONTRACT_NOW": "2037-12-11T10:09:08+00:00"},
)
_LONGEST = 120


def answers_of(name: str, entries: Sequence[Entry]) -> list[list[dict[str, Any]]]:
    """Return what two processes that differ in everything but their input answer to the entries."""
    settings: list[dict[str, Any]] = []
    numbers: dict[int, int] = {}
    asked = []
    for entry in entries:
        if id(entry.dispatcher) not in numbers:
            numbers[id(entry.dispatcher)] = len(settings)
            settings.append(entry.settings)
        asked.append((numbers[id(entry.dispatcher)], entry.event))
    payload = msgspec.json.encode({"path": sys.path, "name": name, "settings": settings, "asked": asked})
    running = [_started(place) for place in _PLACES]
    return [_answer(process, payload) for process in running]


def _started(place: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from turnout.testing._contract_elsewhere import main; main()"]
    return subprocess.Popen(  # noqa: S603 - this very Python, with a constant program
        command,
        env={**os.environ, **place, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _answer(process: subprocess.Popen[bytes], payload: bytes) -> list[dict[str, Any]]:
    try:
        out, errors = process.communicate(payload, timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Broken(f"a process that maps did not end within {_LONGEST} s", "Look for what waits.") from None
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines() or ["nothing"]
        mend = "See that the package can be imported and configured in a Python that has just begun."
        raise Broken(f"in a process of its own it can't be used: {lines[-1]}", mend)
    answers: list[dict[str, Any]] = msgspec.json.decode(out)
    return answers


def main() -> None:
    """Read what to map from standard input, and write the answers to standard output."""
    asked = msgspec.json.decode(sys.stdin.buffer.read())
    sys.path[:] = asked["path"]
    output, sys.stdout = sys.stdout.buffer, sys.stderr  # what a plugin prints must not get between the answers

    from turnout.destination import load_destination
    from turnout.dispatcher import Dispatcher
    from turnout.testing._contract_subject import seen

    now = datetime.fromisoformat(os.environ["TURNOUT_CONTRACT_NOW"])
    kind = load_destination(asked["name"])
    dispatchers = [Dispatcher([kind(settings, id=asked["name"])], clock=lambda: now) for settings in asked["settings"]]
    output.write(msgspec.json.encode([seen(dispatchers[number].plan(event)[0]) for number, event in asked["asked"]]))
    output.flush()

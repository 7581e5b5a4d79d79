"""The demo works as `make demo` runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parent.parent / "examples" / "demo.py"


def test_the_demo_shows_what_arrived_and_what_was_dropped() -> None:
    """Every example event is delivered to the local Amplitude or dropped with its reason; the exit code is 0."""
    done = subprocess.run([sys.executable, DEMO], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "→ POST events: Order Completed, Product Purchased" in done.stdout
    assert "(integration_disabled)" in done.stdout
    assert "Amplitude now holds 15 events" in done.stdout
    assert done.stdout.count("dropped ") >= 2
    assert not any(line.startswith(("invalid", "failed", "dead")) for line in done.stdout.splitlines())

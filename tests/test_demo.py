"""The demo works as `make demo` runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parent.parent / "examples" / "demo.py"


def test_the_demo_shows_what_arrived_and_what_was_dropped() -> None:
    """Every example event is delivered to the local Amplitudes, dropped with its reason, or one dead letter."""
    done = subprocess.run([sys.executable, DEMO], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "→ POST events: Order Completed, Product Purchased" in done.stdout
    assert "(integration_disabled)" in done.stdout
    assert "Amplitude now holds 15 events" in done.stdout
    assert done.stdout.count("dropped ") >= 2
    first, second = done.stdout.split("2. Run a gateway for SDKs")
    assert not any(line.startswith(("invalid", "failed", "dead")) for line in first.splitlines())
    assert "turnout serve" in second
    assert re.search(r"growth +dead +vendor_refused +1", second)
    assert re.search(r"growth +delivered +7", second)
    assert re.search(r"product +delivered +8", second)
    assert "1 dead letter" in second
    assert "pending" not in second

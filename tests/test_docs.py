"""The documentation says what the code does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from turnout.docs import rule_ids

ROOT = Path(__file__).parent.parent


def test_generated_pages_are_up_to_date() -> None:
    """Every generated page equals what the code makes now; `make docs` writes them."""
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_rule_ids_reads_ranges() -> None:
    """A docstring may name rules one by one, as a range, or shortened."""
    assert rule_ids("AMP-CTX-01, AMP-PAGE-04 to AMP-PAGE-06 and AMP-REV-02 to -03, AMP-ORDER-05, -07.") == [
        "AMP-CTX-01",
        "AMP-PAGE-04",
        "AMP-PAGE-05",
        "AMP-PAGE-06",
        "AMP-REV-02",
        "AMP-REV-03",
        "AMP-ORDER-05",
        "AMP-ORDER-07",
    ]

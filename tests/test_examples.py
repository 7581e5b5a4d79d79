"""The example configurations work against the simulators that they name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from turnout.cli import main
from turnout.plugins import SIMULATORS, load

EXAMPLES = Path(__file__).parent.parent / "examples"
EVENTS = EXAMPLES / "events.jsonl"


@pytest.mark.parametrize("vendor", ["segment", "rudderstack"])
def test_the_example_events_are_passed_on(vendor: str, tmp_path: Path) -> None:
    """Every event that integrations let through arrives, with the id that it came with."""
    simulator: Any = load(SIMULATORS, vendor)()
    config = EXAMPLES / f"{vendor}.toml"
    with simulator.serve() as url:
        settings = tmp_path / "settings.json"
        settings.write_bytes(msgspec.json.encode({"base_url": url}))
        words = ["send", "--config", str(config), "--settings", str(settings), "--each", str(EVENTS)]
        done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "example-write-key" not in done.output
    assert "page\n          → POST batch: user 0b7d2f9e-4c55-4f0a-b1c6-93e8a7d65f12\n" in done.output, (
        "a visitor without a user id"
    )
    ids = re.findall(r'"messageId": ?"([^"]+)"', EVENTS.read_text(encoding="utf-8"))
    arrived = [event["messageId"] for event in simulator.events]
    assert arrived == [one for one in ids if one in arrived]
    assert len(ids) - len(arrived) == done.output.count(f"dropped   {vendor} ")
    assert getattr(simulator, "discarded", []) == []


@pytest.mark.parametrize("vendor", ["segment", "rudderstack"])
def test_the_simulator_is_started_as_the_example_says(vendor: str) -> None:
    """The comment's port is the one of `base_url`, and its commands are turnout's."""
    text = (EXAMPLES / f"{vendor}.toml").read_text(encoding="utf-8")
    [port] = re.findall(rf"turnout simulate {vendor} --port (\d+) &", text)
    assert f'base_url = "http://127.0.0.1:{port}"' in text
    assert f"turnout send --config examples/{vendor}.toml" in text

"""The demo: events captured from a real SDK go to a local Amplitude, and you see what became of each.

Run it with `make demo`. It needs no account, and no network but loopback.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console

from turnout_amplitude.simulator import AmplitudeSimulator

HERE = Path(__file__).parent
TURNOUT = Path(sys.executable).with_name("turnout")


def main() -> int:
    """Serve the simulator, send the example events to it, and show what it stored."""
    console = Console(highlight=False)
    simulator = AmplitudeSimulator()
    with simulator.serve() as url, tempfile.TemporaryDirectory() as folder:
        # Any free port will do, so the base_url of turnout.toml is overridden here.
        settings = Path(folder, "settings.json")
        settings.write_bytes(msgspec.json.encode({"base_url": url}))
        console.print(f"A local Amplitude listens on {url}. Now:")
        console.print("[bold]turnout send --config examples/turnout.toml --each examples/events.jsonl[/]\n")
        command = [
            TURNOUT,
            "send",
            "--config",
            HERE / "turnout.toml",
            "--settings",
            settings,
            "--each",
            HERE / "events.jsonl",
        ]
        done = subprocess.run(command, check=False)
        console.print(
            f"\nAmplitude now holds {len(simulator.events)} events, {len(simulator.users)} users, "
            f"{len(simulator.groups)} groups and {len(simulator.mappings)} user mappings."
        )
        console.print("Look at the requests before they are sent:")
        console.print(
            "[bold]$ .venv/bin/turnout plan -d amplitude --config examples/turnout.toml examples/events.jsonl[/]",
            soft_wrap=True,
        )
        console.print(
            "Send them yourself, while [bold].venv/bin/turnout simulate amplitude[/] runs in another terminal:"
        )
        console.print(
            "[bold]$ .venv/bin/turnout send --config examples/turnout.toml --each examples/events.jsonl[/]",
            soft_wrap=True,
        )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

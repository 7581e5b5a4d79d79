"""The demo: events captured from a real SDK go to local Amplitudes, and you see what became of each.

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
EVENTS = HERE / "events.jsonl"
REFUSED = {"code": 400, "error": "Invalid field values on some events", "events_with_invalid_fields": {"time": [0]}}
"""What the second Amplitude says of the first event that it gets after its troubles."""


def main() -> int:
    """Run both halves of the demo and return the exit code."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        return send_now(console, Path(folder)) or deliver_from_a_log(console, Path(folder))


def send_now(console: Console, folder: Path) -> int:
    """Send the example events to a local Amplitude, and show for each what went out."""
    simulator = AmplitudeSimulator()
    with simulator.serve() as url:
        # Any free port will do, so the base_url of turnout.toml is overridden here.
        settings = folder / "settings.json"
        settings.write_bytes(msgspec.json.encode({"base_url": url}))
        console.print(f"[bold]1. Send events now.[/] A local Amplitude listens on {url}.")
        console.print("[bold]$ turnout send --config examples/turnout.toml --each examples/events.jsonl[/]\n")
        config = HERE / "turnout.toml"
        code = run("send", "--config", config, "--settings", settings, "--each", EVENTS)
    console.print(
        f"\nAmplitude now holds {len(simulator.events)} events, {len(simulator.users)} users, "
        f"{len(simulator.groups)} groups and {len(simulator.mappings)} user mappings."
    )
    console.print("Look at the requests before they are sent:")
    command = "turnout plan -d amplitude --config examples/turnout.toml examples/events.jsonl"
    console.print(f"[bold]$ .venv/bin/{command}[/]\n", soft_wrap=True)
    return code


def deliver_from_a_log(console: Console, folder: Path) -> int:
    """Keep the events in a log, deliver them to two Amplitudes of which one is in trouble, and show the outcomes."""
    product, growth = AmplitudeSimulator(), AmplitudeSimulator()
    growth.fail(503, times=2)
    growth.fail(drop_connection=True, after_store=True)
    growth.fail(400, path="/2/httpapi", body=REFUSED)
    with product.serve() as first, growth.serve() as second:
        text = (HERE / "deliver.toml").read_text(encoding="utf-8")
        text = text.replace("http://127.0.0.1:8765", first).replace("http://127.0.0.1:8766", second)
        config = folder / "deliver.toml"
        config.write_text(text.replace("demo.log", (folder / "demo.log").as_posix()), encoding="utf-8")
        console.print("[bold]2. Keep events in a log, and deliver them to two destinations.[/]")
        console.print("The second one answers 503 twice, cuts a connection, and refuses an event.")
        console.print("[bold]$ turnout replay --config examples/deliver.toml --yes examples/events.jsonl[/]")
        run("replay", "--config", config, "--yes", EVENTS)
        console.print("[bold]$ turnout deliver --config examples/deliver.toml --until-empty[/]")
        run("deliver", "--config", config, "--until-empty")
        console.print("\n[bold]$ turnout dlq list --config examples/deliver.toml[/]")
        run("dlq", "list", "--config", config)
    console.print(
        "\nNothing was lost, and nothing took effect twice. With a log of your own, [bold]turnout dlq show 1[/] "
        "shows a dead letter, and [bold]turnout dlq replay --yes[/] sends it again."
    )
    return 0 if len(growth.events) and len(product.events) else 1


def run(*arguments: object) -> int:
    """Run a command of turnout and return its exit code."""
    return subprocess.run([TURNOUT, *map(str, arguments)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

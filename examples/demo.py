"""The demo: events captured from a real SDK go to local Amplitudes, and you see what became of each.

Run it with `make demo`. It needs no account, and no network but loopback.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from capture import visit
from rich.console import Console
from segment.analytics.client import Client

from turnout.sqlite_log import SqliteLog
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
        return send_now(console, Path(folder)) or serve_an_sdk(console, Path(folder))


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


def serve_an_sdk(console: Console, folder: Path) -> int:
    """Let the real Python SDK send to a gateway, and deliver to two Amplitudes, of which one is in trouble."""
    product, growth = AmplitudeSimulator(), AmplitudeSimulator()
    growth.fail(503, times=2)
    growth.fail(drop_connection=True, after_store=True)
    growth.fail(400, path="/2/httpapi", body=REFUSED)
    with product.serve() as first, growth.serve() as second:
        text = (HERE / "serve.toml").read_text(encoding="utf-8")
        text = text.replace("http://127.0.0.1:8765", first).replace("http://127.0.0.1:8766", second)
        text = text.replace("port = 8080", "port = 0").replace("port = 9090", "port = 0")
        config = folder / "serve.toml"
        config.write_text(text.replace("demo.log", (folder / "demo.log").as_posix()), encoding="utf-8")
        console.print("[bold]2. Run a gateway for SDKs, and deliver to two destinations.[/]")
        console.print("The second one answers 503 twice, cuts a connection, and refuses an event.")
        console.print("[bold]$ turnout serve --config examples/serve.toml[/]")
        with serving(config) as url:
            console.print(f"[bold]>>> segment.analytics.Client('example-write-key', host='{url}')[/]")
            visit(Client("example-write-key", host=url))
            wait_for(folder / "demo.log")
        console.print("\n[bold]$ turnout dlq list --config examples/serve.toml[/]")
        run("dlq", "list", "--config", config)
    console.print(
        "\nNothing was lost, and nothing took effect twice. With a log of your own, [bold]turnout dlq show 1[/] "
        "shows a dead letter, and [bold]turnout dlq replay --yes[/] sends it again."
    )
    return 0 if len(growth.events) and len(product.events) else 1


@contextmanager
def serving(config: Path) -> Iterator[str]:
    """Run `turnout serve` while the block runs; gives the URL of the gateway. At its end it shows the outcomes."""
    command = [TURNOUT, "serve", "--config", config]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = process.stderr.readline()
        try:
            yield told.split()[-1].removesuffix("/v1")
        finally:
            process.terminate()
            process.wait()


def wait_for(log: Path) -> None:
    """Wait until every destination has what is in the log."""
    with closing(SqliteLog(log)) as opened:
        until = time.monotonic() + 60
        while any(state.pending for state in opened.states().values()) and time.monotonic() < until:
            time.sleep(0.05)


def run(*arguments: object) -> int:
    """Run a command of turnout and return its exit code."""
    return subprocess.run([TURNOUT, *map(str, arguments)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

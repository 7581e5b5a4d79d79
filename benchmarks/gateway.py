"""Measure the gateway: how many events a second it keeps durably, and how long a call takes.

    python benchmarks/gateway.py [--events N] [--json FILE]

`turnout serve --no-deliver` runs alone on one core. Clients in processes on other cores send the distinct tracks of
`generate.py`, each with an id of its own: in batches of 100 over eight connections, and as single calls over 64. A
second run sends at half the rate that was reached, evenly in time, and reports how long a call took (p50, p99); a third
one with delivery beside it, to a vendor that answers at once, from accepting to delivered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import generate
from endtoend import vendor

from turnout.sqlite_log import SqliteLog

__all__ = ["main"]

BATCH = 100
_CONFIGURATION = """
[log]
path = "{folder}/bench.log"
[gateway]
port = 0
admin_port = 0
[sources.bench]
write_key = "wk-bench"
[destinations.amplitude]
plugin = "amplitude"
api_key = "key-bench"
base_url = "{vendor}"
"""
_HEAD = b"POST %b HTTP/1.1\r\nhost: g\r\nauthorization: Basic d2stYmVuY2g6\r\ncontent-length: %d\r\n\r\n"


def cores() -> list[int]:
    """Return the cores that this process may use; the gateway gets the last one."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


@contextmanager
def gateway(folder: Path, vendor_url: str, *, deliver: bool) -> Iterator[tuple[str, int]]:
    """Run `turnout serve` on the last core, or with delivery on the last two; gives host:port and the process id."""
    (folder / "turnout.toml").write_text(_CONFIGURATION.format(folder=folder, vendor=vendor_url))
    command = [sys.executable, "-m", "turnout", "serve", "--config", str(folder / "turnout.toml")]
    command += [] if deliver else ["--no-deliver"]
    chosen = set(cores()[-2:] if deliver else cores()[-1:])
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, chosen)
    )
    assert process.stderr is not None
    try:
        told = process.stderr.readline()
        yield told.split("http://")[1].split("/")[0], process.pid
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def bodies(first: int, count: int, size: int) -> Iterator[bytes]:
    """Yield requests with so many events in all, `size` in each; 0: single calls."""
    lines = generate.lines("track", min(5_000, count))
    for start in range(first, first + count, size or 1):
        events = [
            lines[number % len(lines)].replace(b'"messageId":"', b'"messageId":"%d-' % number, 1)
            for number in range(start, min(first + count, start + (size or 1)))
        ]
        body = b'{"batch":[' + b",".join(events) + b"]}" if size else events[0]
        yield _HEAD % (b"/v1/batch" if size else b"/v1/track", len(body)) + body


def client(arguments: tuple[str, int, int, int, int, float]) -> tuple[float, float, list[float]]:
    """Send from one process; return when it began and ended, and how long each call took, in seconds."""
    address, first, count, size, connections, every = arguments
    if hasattr(os, "sched_setaffinity") and len(cores()) > 1:
        os.sched_setaffinity(0, cores()[:-2] or cores()[:1])
    requests = list(bodies(first, count, size))
    return asyncio.run(_send(address, requests, connections, every))


async def _send(
    address: str, requests: Sequence[bytes], connections: int, every: float
) -> tuple[float, float, list[float]]:
    host, port = address.split(":")
    waiting, taken = iter(enumerate(requests)), list[float]()
    started, wall = time.perf_counter(), time.time()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for number, request in waiting:
            due = started + number * every
            if (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            sent = time.perf_counter() if not every else due
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            taken.append(time.perf_counter() - sent)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(connections)))
    return wall, time.time(), taken


def load(address: str, first: int, count: int, size: int, connections: int, rate: float = 0.0) -> dict[str, float]:
    """Send events from two processes; return events a second, and the time of a call in ms (p50, p99, most)."""
    clients = 2
    every = clients * (size or 1) / rate if rate else 0.0
    share = count // clients
    jobs = [(address, first + one * share, share, size, connections // clients, every) for one in range(clients)]
    with multiprocessing.get_context("spawn").Pool(clients) as pool:
        done = pool.map(client, jobs)
    seconds = max(end for _, end, _ in done) - min(begin for begin, _, _ in done)
    taken = sorted(one * 1000 for _, _, times in done for one in times)
    return {
        "events/s": share * clients / seconds,
        "p50 ms": taken[len(taken) // 2],
        "p99 ms": taken[len(taken) * 99 // 100],
        "most ms": taken[-1],
    }


def cpu(process: int) -> float:
    """Return the seconds of CPU time that a process has taken, also in the kernel; 0 where that can't be told."""
    status = Path(f"/proc/{process}/stat")
    if not status.exists():
        return 0.0
    user, system = status.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> float:
    """Return the most memory that a process has taken, in MB."""
    status = Path(f"/proc/{process}/status")
    told = status.read_text() if status.exists() else "VmHWM: 0"
    return int(told.split("VmHWM:")[1].split()[0]) / 1024


def trial(name: str, count: int, size: int, connections: int) -> list[dict[str, Any]]:
    """Return what is reached as fast as it goes, and the times at half of that."""
    rows = []
    with (
        vendor() as url,
        tempfile.TemporaryDirectory() as folder,
        gateway(Path(folder), url, deliver=False) as (address, process),
    ):
        load(address, 0, max(count // 10, 2 * (size or 1)), size, connections)
        before = cpu(process)
        full = load(address, count, count, size, connections)
        core = {"us of CPU": (cpu(process) - before) * 1e6 / count, "MB": memory(process)}
        rows.append({"gateway alone": name, "load": "full", **full, **core})
        before = cpu(process)
        half = load(address, 3 * count, count // 2, size, connections, full["events/s"] / 2)
        core = {"us of CPU": (cpu(process) - before) * 2e6 / count, "MB": memory(process)}
        rows.append({"gateway alone": name, "load": "half", **half, **core})
    return rows


def through(count: int, rate: float) -> dict[str, Any]:
    """Return what goes through gateway and delivery, each a process on its own core, in batches of 100."""
    with vendor() as url, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with gateway(folder, url, deliver=True) as (address, _):
            started = time.perf_counter()
            found = load(address, 0, count, BATCH, 8, rate)
            with closing(SqliteLog(folder / "bench.log")) as log:
                while (state := log.states().get("amplitude")) is None or state.pending:
                    time.sleep(0.02)
            seconds = time.perf_counter() - started
    return {"events": count, "accepted/s": found["events/s"], "p99 ms": found["p99 ms"], "seconds in all": seconds}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it all, print a table and return 0."""
    parser = argparse.ArgumentParser(description="Measure the gateway on one core.")
    parser.add_argument("--events", type=int, default=200_000, help="events of each run (default: 200,000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    chosen = parser.parse_args(arguments)
    rows = trial("batches of 100", chosen.events, BATCH, 8) + trial("single calls", chosen.events // 5, 0, 64)
    _print(rows)
    most = rows[0]["events/s"]
    ways = [through(chosen.events, 0.0), through(chosen.events // 2, most / 2)]
    _print(ways)
    if chosen.json:
        chosen.json.write_text(json.dumps([*rows, *ways], indent=2) + "\n")
    return 0


def _print(rows: Sequence[dict[str, Any]]) -> None:
    head = list(rows[0])
    cells = [[_cell(row[key]) for key in head] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    print()
    for line in (head, *cells):
        print("  " + "   ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if value < 10 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    sys.exit(main())

"""Measure the durable way: events into a log, from there to vendors that answer at once.

    python benchmarks/endtoend.py [--events N] [--json FILE]

Accepting and delivering run one after the other, each in a process of its own that is pinned to one core; the vendor is
a process on another core that reads requests and answers 200. Events are the distinct tracks of `generate.py`, each
with an id of its own. Delivery begins with everything waiting in the log, so that `first after s` is the time of a
restart with such a backlog: from opening the log to the first events that the vendor has taken and the log knows of.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import generate

from turnout import Dispatcher
from turnout import _runtime as runtime
from turnout.accepting import Acceptor, now_ms
from turnout.config import DeliverSettings
from turnout.deliver import Delivery
from turnout.sqlite_log import SqliteLog
from turnout_amplitude import Amplitude

__all__ = ["main"]

BATCH = 100
VENDOR = """
import asyncio

BODY = b'{"code":200,"events_ingested":1,"payload_size_bytes":1,"server_upload_time":1}'
ANSWER = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(BODY) + BODY


class Vendor(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.left, self.head = transport, 0, b""

    def data_received(self, data):
        while data:
            if not self.left:
                head, found, rest = (self.head + data).partition(b"\\r\\n\\r\\n")
                if not found:
                    self.head = head
                    return
                length = head.lower().partition(b"content-length:")[2].partition(b"\\r\\n")[0]
                self.left, self.head, data = int(length), b"", rest
            taken = min(self.left, len(data))
            self.left, data = self.left - taken, data[taken:]
            if not self.left:
                self.transport.write(ANSWER)


async def main():
    server = await asyncio.get_running_loop().create_server(Vendor, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
"""


@contextmanager
def vendor() -> Iterator[str]:
    """Run a vendor that answers at once, and yield its URL."""
    process = subprocess.Popen([sys.executable, "-c", VENDOR], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def black_hole() -> Iterator[str]:
    """Yield the URL of a vendor that takes connections and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def pin() -> None:
    """Keep this process on one core and leave the others to the vendor."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[-1]})


def dispatcher(urls: Sequence[str]) -> Dispatcher:
    """Return a dispatcher with an Amplitude for each URL."""
    settings = DeliverSettings.configure({"grace_seconds": 0.0, "timeout_seconds": 60.0}, owner="[deliver]")
    kinds = [
        Amplitude({"api_key": f"key-{number}", "base_url": url}, id=f"a{number}") for number, url in enumerate(urls)
    ]
    return Dispatcher(kinds, deliver=settings)


def fill(dispatch: Dispatcher, log: SqliteLog, lines: Sequence[bytes], count: int) -> float:
    """Accept so many events in batches of 100, and return how many a second."""
    started = time.perf_counter()
    with Acceptor(log, dispatch.log_settings, now_ms) as acceptor:
        for first in range(0, count, BATCH):
            some = (lines[number % len(lines)] for number in range(first, min(count, first + BATCH)))
            fresh = (
                line.replace(b'"messageId":"', b'"messageId":"%d-' % (first + at), 1) for at, line in enumerate(some)
            )
            acceptor.accept([dispatch.normaliser.event(line) for line in fresh])
    return count / (time.perf_counter() - started)


def accepted(log: Path, count: int) -> tuple[float, float]:
    """Fill a log; return events accepted a second, and the most memory in MB."""
    pin()
    with closing(SqliteLog(log)) as opened:
        rate = fill(dispatcher([]), opened, generate.lines("track", min(10_000, count)), count)
    return rate, _memory()


def delivered(log: Path, urls: Sequence[str], watched: Sequence[int]) -> dict[str, float]:
    """Deliver what is in a log; return events a second at the watched destinations, seconds, and memory in MB."""
    pin()
    started = time.perf_counter()
    with closing(SqliteLog(log)) as opened:
        found: dict[str, float] = {}

        async def main() -> None:
            found.update(await _delivered(dispatcher(urls), opened, [f"a{number}" for number in watched], started))

        runtime.run(main())  # as `turnout deliver` does
        return found


async def _delivered(dispatch: Dispatcher, log: SqliteLog, watched: Sequence[str], started: float) -> dict[str, float]:
    count, first, tenth, stop = log.last(), 0.0, 0.0, asyncio.Event()
    task = asyncio.create_task(Delivery(dispatch, log).run(stop))
    while True:
        states = await asyncio.to_thread(log.states)
        left = [states[name].pending for name in watched if name in states] or [count]
        if not first and min(left) < count:
            first = time.perf_counter() - started
        if not tenth and max(left) <= count * 9 // 10:
            tenth = _memory()
        if not any(left):
            break
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - started
    stop.set()
    await task
    return {"delivered/s": count / seconds, "first after s": first, "MB at 10 %": tenth, "MB at the end": _memory()}


def trial(name: str, urls: Sequence[str], watched: Sequence[int], count: int) -> dict[str, Any]:
    """Return the figures of one set-up, with a log of its own."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "bench.log"
        rate, memory = _alone(accepted, log, count)
        found = {"set-up": name, "events": count, "accepted/s": rate, "MB accepting": memory}
        figures: dict[str, float] = _alone(delivered, log, urls, watched)
        return found | figures | {"log MB": log.stat().st_size / 1e6}


def _alone(function: Callable[..., Any], *arguments: object) -> Any:
    """Return what a function returns in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all set-ups, print a table and return 0."""
    parser = argparse.ArgumentParser(description="Measure accepting into a log and delivering from it, on one core.")
    parser.add_argument("--events", type=int, default=100_000, help="events of each set-up (default: 100,000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    chosen = parser.parse_args(arguments)
    with vendor() as url, black_hole() as hole:
        rows = [
            trial("one destination", [url], [0], chosen.events),
            trial("two destinations", [url] * 2, [0, 1], chosen.events),
            trial("the same and one that hangs", [url, url, hole], [0, 1], chosen.events),
            trial("three destinations", [url] * 3, [0, 1, 2], chosen.events),
        ]
    print(*_table(rows), sep="\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


def _table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "\nInto a log and from it to vendors that answer at once, one core"
    head = list(rows[0])
    cells = [[_cell(row[key]) for key in head] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for line in (head, *cells):
        yield "  " + "   ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if value < 10 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    sys.exit(main())

"""`turnout serve` as the process that its users have, for tests that load it, kill it and attack it."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from turnout.log import State
from turnout.sqlite_log import SqliteLog

LIMIT = 180
"""Seconds after which something hangs."""
PLAIN: dict[str, Any] = {"timeout": LIMIT, "verify": False}
"""What a client here needs: reading the certificates of the world would take longer than a call."""
WEB = "wk-web-81"
"""The write key of the source that every gateway here has."""

Tables = Mapping[str, Mapping[str, Any]]


def reached(holds: Callable[[], Any], what: str) -> None:
    """Wait until something holds; fail when it never does."""
    until = time.monotonic() + LIMIT
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"This never came: {what}")
        time.sleep(0.02)


def free_port() -> int:
    """Return a free port that no system gives to somebody who asks for any: it has to stay ours."""
    while True:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def configured(folder: Path, vendor: str = "http://127.0.0.1:9", **tables: Tables | Mapping[str, Any]) -> Path:
    """Write a `turnout.toml`: a log, a source, an Amplitude at `vendor`, and what `tables` say beside or instead."""
    usual: dict[str, dict[str, Any]] = {
        "log": {"path": str(folder / "turnout.log")},
        "gateway": {"port": 0, "admin_port": 0},
        "deliver": {"poll_seconds": 0.02},
        "sources": {"web": {"write_key": WEB}},
        "destinations": {"amplitude": {"plugin": "amplitude", "api_key": "key-82", "base_url": vendor}},
    }
    for name, table in tables.items():
        usual[name] = {**table} if name in ("sources", "destinations", "hooks") else {**usual.get(name, {}), **table}
    path = folder / "turnout.toml"
    path.write_text("\n".join(_lines(usual)), encoding="utf-8")
    return path


def _lines(tables: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Yield the lines of a TOML file; JSON's strings, numbers, booleans and lists are TOML's."""
    for name, value in tables.items():
        if isinstance(value, Mapping):
            yield f"[{place}{name}]"
            yield from _lines(value, f"{place}{name}.")
        else:
            yield f"{name} = {json.dumps(value)}"


class Served:
    """One process of `turnout serve`, in a session of its own, that answers when this returns.

    `options` are those of the command line, `files` is how many it may have open. What it and its delivery write is in
    `folder/serve.output`.
    """

    def __init__(self, config: Path, *options: str, files: tuple[int, int] | None = None) -> None:
        self.config = config
        self.path = config.parent / "serve.output"
        with self.path.open("ab") as output:
            before = output.tell()
            command = [sys.executable, "-m", "turnout", "serve", "--config", str(config), *options]
            if files:
                command = ["sh", "-c", 'ulimit -S -n $0; ulimit -H -n $1; shift; exec "$@"', *map(str, files), *command]
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )  # fmt: skip
        self.url, self.admin = self._urls(before)

    def _urls(self, before: int) -> tuple[str, str]:
        found: list[str] = []

        def told() -> bool:
            found[:] = re.findall(r"(?:calls|metrics) at (http://[^/\s]+)\S*\n", self.output[before:])
            assert self.process.poll() is None, self.output
            return len(found) == 2

        reached(told, "the URLs of the gateway")
        return found[0], found[1]

    @property
    def output(self) -> str:
        """What was written so far, to either stream."""
        return self.path.read_text(encoding="utf-8", errors="replace")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the gateway."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def post(self, path: str, body: Any, key: str = WEB, **headers: str) -> httpx.Response:
        """Return the answer to one call on a connection of its own."""
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        return httpx.post(f"{self.url}{path}", content=content, auth=(key, ""), headers=headers, **PLAIN)

    def health(self, path: str) -> httpx.Response:
        """Return the answer to a question at the admin port."""
        return httpx.get(f"{self.admin}{path}", **PLAIN)

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return each sample of /metrics by its name and labels."""
        text = self.health("/metrics").raise_for_status().text
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}

    def deliverer(self, *former: int) -> int:
        """Return the number of the process that delivers, once there is one that isn't one of the former ones."""
        lock, found = self.config.parent / "turnout.log-deliver.lock", [0]

        def delivers() -> bool:
            found[0] = int(lock.read_text() or 0) if lock.exists() else 0
            return found[0] not in (0, self.process.pid, *former) and runs(found[0])

        reached(delivers, f"a delivery process; {self.output}")
        return found[0]

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Return its exit code when it has ended; a negative one is the number of a signal."""
        return self.process.wait(LIMIT)

    def kill(self) -> None:
        """End it with SIGKILL; its delivery finds that out."""
        self.process.kill()
        self.process.wait(LIMIT)

    def close(self) -> None:
        """End it with everything that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LIMIT)


@contextmanager
def served(config: Path, *options: str, files: tuple[int, int] | None = None) -> Iterator[Served]:
    """Run `turnout serve` while the block runs."""
    one = Served(config, *options, files=files)
    try:
        yield one
    finally:
        one.close()


def state(folder: Path, destination: str = "amplitude") -> State | None:
    """Return where a destination stands in the log of a folder, None before its delivery has begun."""
    with closing(SqliteLog(folder / "turnout.log")) as log:
        return log.states().get(destination)


def settled(folder: Path, *destinations: str) -> bool:
    """Return whether every destination (by default Amplitude) is through with everything in the log of a folder."""
    states = [state(folder, name) for name in destinations or ("amplitude",)]
    return all(one is not None and not one.pending for one in states)


def runs(process: int) -> bool:
    """Return whether a process is running, as more than what is left of one that has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def memory(process: int, what: str) -> float:
    """Return the memory that a process has in use now (`VmRSS`), or had at most (`VmHWM`), in MB."""
    told = Path(f"/proc/{process}/status").read_text()
    return int(told.split(f"{what}:")[1].split()[0]) / 1024


def forget_peak(process: int) -> None:
    """Let the memory that a process had at most begin with what it has now."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


def track(number: object, **given: Any) -> dict[str, Any]:
    """Return a track call with that number in each of its values."""
    return {
        "type": "track",
        "event": f"Seat {number} Booked",
        "userId": f"u-{number}",
        "messageId": f"m-{number}",
    } | given

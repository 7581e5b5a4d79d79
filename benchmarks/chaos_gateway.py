"""Send over HTTP while the gateway and its delivery are killed again and again, and see whether anything was lost.

    python benchmarks/chaos_gateway.py [--kills 20] [--seed 1] [--rate 400] [--keep FOLDER]

As `chaos.py`, but events come through `turnout serve`: four clients send in order and try again as SDKs do, while ten
hostile ones attack (see `chaos_hostile.py`). What is killed is the gateway alone, its delivery process alone, or both
in the same moment. At each kill the figures of `/metrics` have to add up, and the gateway may not have taken more than
`MEGABYTES`. In the end it is stopped with SIGTERM, and the log may hold no event twice. Exit 1 when a promise was
broken, 2 when the run did not work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import chaos
import httpx
from chaos_clients import KEY
from chaos_events import number_of
from chaos_hostile import ATTACKS, CUT_OFF
from chaos_workers import HERE, ChaosError, Worker, configured, end_on_signal, reached
from prometheus_client.parser import text_string_to_metric_families

from turnout.sqlite_log import SqliteLog

__all__ = ["MEGABYTES", "Through", "main"]

MEGABYTES = 200
"""What the gateway may take at most; it begins with about 40."""

_GATEWAY = """
[gateway]
port = {port}
admin_port = {admin_port}
head_seconds = 1.0
body_seconds = 2.0
[sources.web]
write_key = "{key}"
"""
_WAYS = ("gateway", "gateway", "delivery", "delivery", "both")


class Through(chaos.Run):
    """One run through the gateway."""

    def configured(self) -> Path:
        """Write the configuration, and return its path."""
        port, admin_port = free_ports()
        self.url, self.admin = (f"http://127.0.0.1:{one}" for one in (port, admin_port))
        more = _GATEWAY.format(port=port, admin_port=admin_port, key=KEY)
        return configured(self.folder, self.log, self.urls, more, keep_hours=24.0)

    def start(self, stack: ExitStack, options: argparse.Namespace) -> None:
        """Start the gateway and its clients."""
        serve = [str(HERE / "chaos_serve.py"), str(self.config), *(["--broken"] if options.broken else [])]
        self.serve = stack.enter_context(closing(Worker(self.folder, "serve", serve, self.accepted)))
        clients = [str(HERE / "chaos_clients.py"), str(self.folder), str(self.seed), str(options.rate), self.url]
        self.clients = stack.enter_context(closing(Worker(self.folder, "clients", clients, self.accepted)))
        hostile = [str(HERE / "chaos_hostile.py"), str(self.folder), str(self.seed), self.url]
        self.hostile = stack.enter_context(closing(Worker(self.folder, "hostile", hostile, self.accepted)))
        self.ways = Counter(dict.fromkeys(_WAYS, 0))
        self.scrapes = self.wrong = self.megabytes = 0

    @property
    def kills(self) -> dict[str, int]:
        """How often what was killed."""
        return dict(self.ways)

    @property
    def interrupted(self) -> int:
        """How often delivery was ended: by a kill of its own, or with its gateway."""
        return sum(self.ways.values())

    def kill(self) -> None:
        """Kill the gateway, its delivery, or both: just so, or after something was accepted or delivered."""
        way = self.dice.choice(_WAYS)
        if self.dice.random() < 0.75:
            progress = self.dice.choice((self.accepted, self.delivered))
            before = progress()
            reached(lambda: progress() != before, 5.0, every=0.01)
        time.sleep(self.dice.random() * 0.4)
        self._scrape()
        self._check_senders()
        if way == "delivery":
            reached(lambda: self._deliverer() > 0, 5.0, every=0.01)
        delivering = self._deliverer() if way == "delivery" else 0
        if delivering:
            os.kill(delivering, signal.SIGKILL)
            self.serve.revive()
        else:
            way = "both" if way == "both" else "gateway"
            self.serve.kill(whole=way == "both")
        self.ways[way] += 1

    def _check_senders(self) -> None:
        for worker in (self.clients, self.hostile):
            if worker.process.poll() is not None:
                raise ChaosError(f"{worker.name} ended by itself with {worker.process.returncode}; see its output")

    def _deliverer(self) -> int:
        """Return the number of the process that delivers for this gateway, 0 when there is none now."""
        lock = Path(f"{self.log}-deliver.lock")
        found = int(lock.read_text() or 0) if lock.exists() else 0
        with suppress(OSError):
            parent = Path(f"/proc/{found}/stat").read_text().rpartition(")")[2].split()[1]
            return found if int(parent) == self.serve.process.pid else 0
        return 0

    def _scrape(self) -> None:
        """See whether the figures add up, when there are any, and how much memory was taken."""
        try:
            text = httpx.get(f"{self.admin}/metrics", timeout=self.limit).raise_for_status().text
        except httpx.TransportError:
            return
        told = Path(f"/proc/{self.serve.process.pid}/status").read_text()
        self.megabytes = max(self.megabytes, int(told.partition("VmHWM:")[2].split()[0]) // 1024)
        received, accounted = Counter[str](), Counter[str]()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "turnout_events_received_total":
                    received[sample.labels["destination"]] += int(sample.value)
                elif sample.name in ("turnout_events", "turnout_events_pending"):
                    accounted[sample.labels["destination"]] += int(sample.value)
        self.scrapes += 1
        self.wrong += received != accounted

    def stop_sending(self) -> None:
        """See to it that nothing more is accepted: each client ends with the call that it is at."""
        self._check_senders()
        (self.folder / "stop").touch()
        self.clients.wait(self.limit)
        self.hostile.wait(self.limit)

    def stop_delivering(self) -> None:
        """See to it that nothing more is delivered."""
        self.serve.close()

    def end(self) -> int:
        """Stop the gateway as its users do, and return its exit code."""
        self.serve.process.send_signal(signal.SIGTERM)
        return self.serve.process.wait(self.limit)

    def kept_twice(self) -> list[int]:
        """Return the numbers of the events that are more than once in the log."""
        times, after = Counter[int](), 0
        with closing(SqliteLog(self.log)) as log:
            while found := log.read(after):
                after = found[-1].position
                times.update(number_of(json.loads(accepted.data)["messageId"]) for accepted in found)
        return sorted(number for number, copies in times.items() if copies > 1)


def free_ports() -> list[int]:
    """Return two ports that no system gives to somebody who asks for any: they have to stay ours."""
    found: list[int] = []
    while len(found) < 2:
        port = random.randrange(20_000, 32_000)  # not seeded: two runs may go at a time
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found


def run(folder: Path, options: argparse.Namespace) -> bool:
    """Do one run in a folder, print its table, and return whether every promise was kept."""
    started = time.monotonic()
    with ExitStack() as stack:
        one = Through(folder, stack, options, folder / "log")
        if not reached(lambda: one.accepted() > 0, one.limit):
            raise ChaosError(f"nothing was accepted within {one.limit:g} seconds; see the output of serve")
        for _ in range(options.kills):
            one.strike()
        done = one.finish()
        code = one.end() if done else 0
        return chaos.report(one, done, time.monotonic() - started, "gateway, ") & show(one, code)


def show(one: Through, code: int) -> bool:
    """Print what the clients met, and return whether the promises of the gateway itself were kept."""
    met = json.loads((one.folder / "answers").read_text())
    attacks = json.loads((one.folder / "hostile").read_text())
    rows = {
        "answers": _listed(met["answers"]),
        **{f"answers to {attack}": _listed(attacks[attack]) for attack in ATTACKS},
        "scrapes that add up": f"{one.scrapes - one.wrong} of {one.scrapes}",
        "memory of the gateway at most": f"{one.megabytes} MB",
    }
    broken = {
        "kept twice": one.kept_twice(),
        "good events refused": met["refused"],
        "attacks that were not refused": _through(attacks),
        "figures that do not add up": [one.wrong] if one.wrong else [],
        f"more memory than {MEGABYTES} MB": [one.megabytes] if one.megabytes > MEGABYTES else [],
        "ended by SIGTERM with another code than 0": [code] if code else [],
    }
    print("\nthrough the gateway")
    for label, value in rows.items():
        print(f"  {label:36} {value}")
    for promise, found in broken.items():
        if found:
            print(f"  BROKEN: {promise:28} {len(found)}  {', '.join(map(str, found[:5]))}")
    return not any(broken.values())


def _listed(times: dict[str, int]) -> str:
    return ", ".join(f"{kind} {number:,}" for kind, number in sorted(times.items()))


def _through(attacks: dict[str, dict[str, int]]) -> list[str]:
    """Return the answers to attacks that are none of their defence's."""
    wrong = {attack: set(met) - {ATTACKS[attack], CUT_OFF} for attack, met in attacks.items()}
    return [f"{attack} {status}" for attack, found in wrong.items() for status in sorted(found)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, and return 0, 1 when a promise was broken, or 2 when the run did not work."""
    options = chaos.options("Kill the gateway again and again, and see whether anything was lost.", arguments)
    end_on_signal()
    try:
        with chaos.folder(options.keep) as folder:
            return 0 if run(folder, options) else 1
    except ChaosError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

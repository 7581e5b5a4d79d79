"""The processes of a chaos run, which are killed and started again, and the configuration that they share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from turnout.log import Log

__all__ = [
    "AT_ONCE",
    "HERE",
    "IN_FLIGHT",
    "ChaosError",
    "Worker",
    "configured",
    "deliverer",
    "end_on_signal",
    "reached",
    "settled",
]

HERE = Path(__file__).resolve().parent
IN_FLIGHT = 1000
AT_ONCE = 200
_CONFIGURATION = """
[log]
path = "{log}"
keep_hours = {keep_hours}
[deliver]
timeout_seconds = 0.5
lanes = {lanes}
events_at_once = {at_once}
events_in_flight = {in_flight}
max_age_hours = 1.0
setup_wait_seconds = 0.3
grace_seconds = 2.0
poll_seconds = 0.02
"""
_NUMBERS: dict[str, float] = {"keep_hours": 0.0, "lanes": 4, "at_once": AT_ONCE, "in_flight": IN_FLIGHT}
_DESTINATION = """
[destinations.{name}]
plugin = "chaos"
api_key = "key-chaos"
base_url = "{url}"
connection_mode = "{mode}"
max_events_per_second = 2000.0
"""
"""Without a rate of its own, a destination would get 50 events a second for minutes after a 429."""


class ChaosError(Exception):
    """The run itself does not work."""


class Worker:
    """A process that is killed and started again. `progress` tells how much it has done, in any unit."""

    def __init__(self, folder: Path, name: str, command: Sequence[str], progress: Callable[[], int]) -> None:
        self.name, self.kills, self.ended = name, 0, 0
        self.may_end = False
        self._command, self._progress = [sys.executable, *command], progress
        self._output = (folder / f"{name}.output").open("ab")
        places = [str(folder / "site"), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._environment = dict(os.environ, PYTHONPATH=os.pathsep.join(places))
        self.start()

    def start(self) -> None:
        """Start it."""
        self._started = self._progress()
        self.process = subprocess.Popen(
            self._command, stdout=self._output, stderr=self._output, env=self._environment, start_new_session=True
        )

    def kill(self, *, whole: bool = False) -> None:
        """End it with SIGKILL, perhaps with everything that it has started, and start it again at once."""
        self.revive()
        self._kill(whole)
        self.kills += 1
        self.start()

    def _kill(self, whole: bool) -> None:
        with suppress(ProcessLookupError):
            (os.killpg if whole else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def revive(self) -> None:
        """Start it again if it has ended by itself, as a supervisor does, where it may."""
        if self.process.poll() is None:
            return
        if not self.may_end:
            raise ChaosError(f"{self.name} ended by itself with {self.process.returncode}; see its output")
        self.ended += 1
        self.start()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended by itself."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ChaosError(f"{self.name} did not come to its end within {seconds:g} seconds") from None

    def close(self) -> None:
        """End it for good, with everything that it has started."""
        self._kill(whole=True)
        self._output.close()

    def wait_for_progress(self, seconds: float) -> None:
        """Wait until it has done something since it was started, or until so many seconds are over."""
        reached(lambda: self._progress() != self._started, seconds, every=0.01)


def configured(folder: Path, log: Path, urls: Mapping[str, str], more: str = "", **given: float) -> Path:
    """Write the configuration of a run, install its plugin in `folder/site`, and return the configuration's path.

    `more` are more tables; `given` may have other numbers than usual for `keep_hours`, `lanes`, `at_once` and
    `in_flight`.
    """
    _install_plugin(folder / "site")
    text = more + _CONFIGURATION.format(log=log, **_NUMBERS | given)
    for name, url in urls.items():
        text += _DESTINATION.format(name=name, url=url, mode="device" if name == "device" else "cloud")
    config = folder / "turnout.toml"
    config.write_text(text)
    return config


def _install_plugin(site: Path) -> None:
    about = site / "turnout_chaos-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: turnout-chaos\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[turnout.destinations]\nchaos = chaos_plugin:Chaos\n")


def deliverer(folder: Path, config: Path, progress: Callable[[], int]) -> Worker:
    """Start `turnout deliver`."""
    return Worker(folder, "deliver", ["-m", "turnout", "deliver", "--config", str(config)], progress)


def end_on_signal() -> None:
    """Let SIGTERM end this process as an error does: its processes are ended, and its disk is unmounted."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def settled(log: Log, names: Iterable[str]) -> bool:
    """Return whether every destination is through with everything that is in the log now."""
    states = log.states()
    return all(name in states and not states[name].pending for name in names)


def reached(condition: Callable[[], bool], seconds: float, every: float = 0.1) -> bool:
    """Wait until a condition holds, and return whether it did within so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(every)
    return True

"""The two sides of a comparison: a dispatcher of this process, or a plugin that another environment has."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

import turnout
from turnout._changes import Mapped, MappedItem, Verdict, verdict
from turnout._frames import Helper
from turnout.body import hashed
from turnout.destination import Destination, load_destination, origin
from turnout.dispatcher import Dispatcher
from turnout.endpoint import BoundEndpoint
from turnout.errors import ConfigError, Refusal, TurnoutError
from turnout.inputs import Inputs
from turnout.mapping import quietly, showable
from turnout.packing import pack
from turnout.plan import Plan
from turnout.settings import redact

__all__ = [
    "PROTOCOL",
    "About",
    "Answer",
    "Elsewhere",
    "Greeting",
    "Hello",
    "Local",
    "Remote",
    "Run",
    "Side",
    "judged",
    "made",
    "mapped",
    "opened",
    "splits",
]

PROTOCOL = 1
"""The version of what is said between this process and another environment's."""

_HIDDEN = ("PYTHONPATH", "PYTHONHOME")
"""What would let this environment's packages into another one."""

_PROBE = """
import json
found = ["", ""]
try:
    import turnout
    found[0] = turnout.__version__
    import turnout._diffworker, turnout._sides
except Exception as error:
    found[1] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""
"""Tells which turnout an environment has, and why it can't take part."""


class Run(msgspec.Struct, frozen=True):
    """What both sides share: the time that the clock shows, and a salt for the fingerprints of secrets."""

    now: datetime
    salt: bytes


class Standing(msgspec.Struct, frozen=True):
    """A clock that stands still, and can be pickled."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


class Elsewhere(msgspec.Struct, frozen=True):
    """A destination whose plugin is installed in another environment, which has a turnout of its own.

    `python` is that environment's interpreter. `destination` is one of the configuration file `config`; without that, a
    plugin. `settings` are laid over those of the configuration. `PYTHONPATH` doesn't reach the environment.
    """

    python: str
    destination: str
    settings: dict[str, Any] = {}
    config: str | None = None

    def __repr__(self) -> str:
        # Nobody knows yet which of the settings are secret.
        return f"Elsewhere({self.python!r}, {self.destination!r}, settings={sorted(self.settings)}, {self.config!r})"


class About(msgspec.Struct, frozen=True):
    """What one side is: which plugin of which version, and what its requests look like whatever the event."""

    plugin: str
    """Where the destination comes from, as `turnout_acme of turnout-acme 1.2.0`."""
    turnout: str
    """The version of turnout."""
    python: str
    """The version of Python."""
    carries: bool
    """Whether a mapping can depend on earlier events."""
    requests: dict[str, Any]
    """Method, URL, headers and envelope of each endpoint, without secrets."""
    limits: dict[str, list[int]]
    """What each endpoint's limits depend on; where they differ, requests may be split otherwise."""
    secrets: dict[str, str]
    """A salted fingerprint of each secret that is set."""


def made(destination: str, settings: Mapping[str, Any], config: str | None, now: datetime) -> Dispatcher:
    """Return a dispatcher with one destination, the clock standing at `now`; raises `ConfigError`.

    `destination` is one of the configuration file `config`, over whose settings `settings` are laid; without a file it
    is a plugin.
    """
    options: dict[str, Any] = {"clock": Standing(now), "new_id": hashed}
    if config is not None:
        return Dispatcher.from_config(config, only=[destination], settings=settings, **options)
    return Dispatcher({destination: load_destination(destination)(settings, id=destination)}, **options)


class Local:
    """One side, mapped in this process."""

    def __init__(self, side: Dispatcher | Destination, run: Run) -> None:
        self.dispatcher = side if isinstance(side, Dispatcher) else Dispatcher([side])
        if len(self.dispatcher.destinations) != 1:
            known = ", ".join(self.dispatcher.destinations) or "none"
            raise TurnoutError(f"A comparison needs one destination on each side; here are: {known}. Take one.")
        self.inputs = Inputs()
        self.reader = Dispatcher({}, clock=Standing(run.now), new_id=hashed)
        (self.target,) = self.dispatcher.destinations.values()
        self.about = about(self.target, run.salt)

    def plan(self, event: Any) -> Plan:
        """Return what an event becomes, with what earlier ones have left."""
        return self.dispatcher.plan(event, self.inputs)[0]

    def mapped(self, lines: Iterable[bytes]) -> list[list[Mapped]]:
        """Return what the events of each line become."""
        with quietly():
            return [[self._mapped(found) for found in self.reader.read_body(line)] for line in lines]

    def _mapped(self, found: Any) -> Mapped:
        if isinstance(found, Refusal):
            return mapped(self.dispatcher.refused(found)[0], str(found))
        return mapped(self.plan(found))

    def end(self) -> None:
        """Do nothing: there is nothing to end."""


class Remote:
    """One side, mapped by the plugin of another environment; raises `ConfigError` when that can't be."""

    def __init__(self, side: Elsewhere, run: Run) -> None:
        self.python = side.python
        _check(side.python)
        environ = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
        self._helper = Helper([side.python, "-P", "-m", "turnout._diffworker"], environ)
        try:
            self.about = self._greeted(side, run)
        except BaseException:
            self.end()
            raise

    def _greeted(self, side: Elsewhere, run: Run) -> About:
        try:
            self._helper.send(msgspec.msgpack.encode(Hello(PROTOCOL, run, side)))
            answer = msgspec.msgpack.decode(self._helper.receive(), type=Answer)
        except (EOFError, msgspec.DecodeError):
            raise ConfigError(f"{self.python}: its turnout did not answer. Is it another version? {_SAME}") from None
        if answer.error or answer.about is None:
            raise ConfigError(f"{self.python}: {answer.error}")
        return answer.about

    def ask(self, lines: list[bytes]) -> None:
        """Have the lines mapped; what comes of it is to be fetched before any more are asked for."""
        with self._listening():
            self._helper.send(msgspec.msgpack.encode(lines))

    def fetch(self) -> list[list[Mapped]]:
        """Return what the events of each line became; raises `TurnoutError` when the process has ended."""
        with self._listening():
            return msgspec.msgpack.decode(self._helper.receive(), type=list[list[Mapped]])

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, msgspec.DecodeError):
            message = f"{self.python}: the process that maps with its plugin has ended"
            raise TurnoutError(f"{message}. Try fewer lines to find the event that does it.") from None

    def end(self) -> None:
        """End the process."""
        self._helper.end()


class Greeting(msgspec.Struct):
    """What any version of turnout can read of a `Hello`."""

    protocol: int


class Hello(Greeting):
    """What another environment is told at first."""

    run: Run
    side: Elsewhere


class Answer(msgspec.Struct):
    """What another environment says at first: what it is, or what is wrong."""

    about: About | None = None
    error: str = ""


Side = Dispatcher | Destination | Elsewhere
"""What can be compared: a dispatcher with one destination, a destination, or one of another environment."""

_SAME = "Install the same version of turnout on both sides."


def opened(side: Side, run: Run) -> Local | Remote:
    """Return a side ready to map; raises `ConfigError` or `TurnoutError`."""
    return Remote(side, run) if isinstance(side, Elsewhere) else Local(side, run)


def _check(python: str) -> None:
    """Raise `ConfigError` unless there is an interpreter that has a turnout which can do its part."""
    environ = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the user has named
            [python, "-P", "-c", _PROBE], capture_output=True, check=False, env=environ, text=True, errors="replace"
        )
    except OSError as error:
        message = f"{python}: can't be run as a Python interpreter: {error.strerror}. Name the one of an environment"
        raise ConfigError(f"{message}, such as path/to/env/bin/python.") from None
    try:
        version, fault = json.loads((done.stdout.splitlines() or [""])[-1])
    except ValueError:
        told = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ConfigError(f"{python}: is no interpreter of Python 3.11 or later: {told}") from None
    pip = f"Run: {python} -m pip install"
    if not version:
        raise ConfigError(f"{python}: turnout is not installed there. {pip} turnout")
    if "No module named 'turnout." in fault:
        raise ConfigError(f"{python}: turnout {version} there is too old to be compared with. {pip} --upgrade turnout")
    if fault:
        broken = f"turnout {version} there can't be imported ({fault})"
        raise ConfigError(f"{python}: {broken}. {pip} --force-reinstall turnout")


def about(target: Destination, salt: bytes) -> About:
    """Return what a configured destination is."""
    endpoints = target.endpoints.items()
    return About(
        plugin=origin(type(target)),
        turnout=turnout.__version__,
        python=".".join(map(str, sys.version_info[:3])),
        carries=target.carries,
        requests={name: _request(endpoint) for name, endpoint in endpoints},
        limits={name: [one.batch.items, one.batch.bytes, one.envelope.overhead] for name, one in endpoints},
        secrets={name: _fingerprint(target.config[name], salt) for name in sorted(target.config.secret_names)},
    )


def _request(endpoint: BoundEndpoint) -> dict[str, Any]:
    """Return what stands around the items of an endpoint, null in their place."""
    shown = endpoint.masked
    return {
        "method": shown.method,
        "url": shown.target,
        "headers": dict(shown.sent_headers),
        "body": shown.envelope.decode(shown.envelope.join([b"null"])),
    }


def _fingerprint(value: object, salt: bytes) -> str:
    return hmac.new(salt, msgspec.json.encode(value), hashlib.sha256).hexdigest()


def mapped(plan: Plan, refusal: str = "") -> Mapped:
    """Return what a plan says, its secrets masked; `refusal` says why its event can't be accepted at all."""
    target = plan.target
    items = [MappedItem(one.endpoint.name, one.rule, _shown(one.key, target), one.data) for one in showable(plan)]
    return Mapped(plan.message_id, judged(plan), items, splits(plan), refusal)


def _shown(key: str | None, target: Destination | None) -> str | None:
    """Return an idempotency key without secrets."""
    if key is None or target is None or not any(secret in key.encode() for secret in target.secret_bytes):
        return key
    return redact(key, target.config.secret_values)


def judged(plan: Plan) -> Verdict:
    """Return what became of the event of a plan, and why."""
    reason = plan.reason
    return verdict(plan.outcome.value, reason.code.value, reason.path) if reason else Verdict(plan.outcome.value)


def splits(plan: Plan) -> dict[str, int]:
    """Return how many requests the items of a plan make, by endpoint."""
    if len(plan.items) == 1:
        return {plan.items[0].endpoint.name: 1}
    return dict(Counter(request.endpoint.name for request in pack(plan.items)))

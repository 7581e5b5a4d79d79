"""Faults: what a simulator was told in advance to do to the next matching requests, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from turnout.errors import ConfigError, did_you_mean
from turnout.testing._call import Answer

__all__ = ["Fault", "Faults", "fault_from", "faults_from_json", "steps"]

_HTML = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to do to the next matching requests instead of answering them.

    * `status`: answer with it; None lets the request be answered as usual (after `delay`).
    * `times`: to how many requests; None means to all from now on.
    * `path`: an exact path, or a pattern with `*`; None matches every path.
    * `after_store`: the request takes effect first, so that the client can't know that it did.
    * `html`: the body is an HTML page, as a load balancer's; `body` and `headers` replace the vendor's own.
    * `delay`: seconds to wait before the answer. `hang`: never answer. `drop_connection`: cut it.
    """

    status: int | None = None
    times: int | None = 1
    path: str | None = None
    after_store: bool = False
    html: bool = False
    delay: float = 0.0
    hang: bool = False
    drop_connection: bool = False
    body: Any = None
    headers: dict[str, str] = {}

    @property
    def silent(self) -> bool:
        """True when no answer is to be sent at all."""
        return self.hang or self.drop_connection

    @property
    def replaces(self) -> bool:
        """True when the request's own answer is not sent."""
        return self.silent or self.status is not None

    def described(self) -> dict[str, Any]:
        """Return what differs from a fault that does nothing, for the ledger."""
        plain = Fault()
        return {
            name: value for name in self.__struct_fields__ if (value := getattr(self, name)) != getattr(plain, name)
        }

    def answer(self, default_body: Any, effect: dict[str, Any]) -> Answer:
        """Return the answer that stands in for the vendor's; status 0 when there is none."""
        if self.silent or self.status is None:
            return Answer(0, None, {}, effect)
        if self.body is not None:
            return Answer(self.status, self.body, self.headers, effect)
        if self.html:
            page = _HTML.format(self.status)
            return Answer(self.status, page, {"content-type": "text/html"} | self.headers, effect)
        return Answer(self.status, default_body, self.headers, effect)


class Faults:
    """The faults that still wait for a request, in order."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Fault, int | None]] = []

    def add(self, fault: Fault) -> None:
        """Put a fault behind those that wait."""
        self._waiting.append((fault, fault.times))

    def take(self, path: str) -> Fault | None:
        """Return the first fault for this path and count it down, None when none matches."""
        for place, (fault, left) in enumerate(self._waiting):
            if fault.path is None or fnmatchcase(path, fault.path):
                if left is not None:
                    self._waiting[place : place + 1] = [(fault, left - 1)] if left > 1 else []
                return fault
        return None

    def waiting(self) -> list[dict[str, Any]]:
        """Return the faults that wait, with the number of times that are left."""
        return [fault.described() | {"times": left} for fault, left in self._waiting]


def fault_from(options: object) -> Fault:
    """Return a checked fault from its options; ConfigError says which one is wrong."""
    if isinstance(options, dict):
        for name in options:
            if name not in Fault.__struct_fields__:
                raise ConfigError(f"Unknown fault option {name!r}.{did_you_mean(str(name), Fault.__struct_fields__)}")
    try:
        fault = msgspec.convert(options, Fault)
    except msgspec.ValidationError as error:
        raise ConfigError(f"A fault's option is wrong: {error}.") from None
    _check(fault)
    return fault


def faults_from_json(value: object) -> list[Fault]:
    """Return the faults of a decoded JSON list (or of one object); all of them are checked first."""
    return [fault_from(options) for options in (value if isinstance(value, list) else [value])]


def steps(path: str, answers: Iterable[int | Answer | dict[str, Any] | None]) -> Sequence[Fault]:
    """Return one fault for each scripted answer; None and a plain status below 300 are answered as usual."""
    return [_step(path, answer) for answer in answers]


def _step(path: str, answer: int | Answer | dict[str, Any] | None) -> Fault:
    if answer is None or (isinstance(answer, int) and answer < 300):
        return Fault(path=path)
    if isinstance(answer, Answer):
        body = "" if answer.body is None else answer.body
        return Fault(path=path, status=answer.status, body=body, headers=answer.headers)
    return fault_from({"path": path} | (answer if isinstance(answer, dict) else {"status": answer}))


def _check(fault: Fault) -> None:
    if not fault.replaces and not fault.delay:
        raise ConfigError("A fault does nothing: give it a status, a delay, hang or drop_connection.")
    if fault.status is not None and not 200 <= fault.status <= 599:
        raise ConfigError(f"A fault's status has to be between 200 and 599, not {fault.status}.")
    if fault.times is not None and fault.times < 1:
        raise ConfigError(f"A fault's times has to be 1 or more, or null for always, not {fault.times}.")
    if not 0 <= fault.delay <= 86_400:
        raise ConfigError(f"A fault's delay has to be between 0 and 86400 seconds, not {fault.delay}.")

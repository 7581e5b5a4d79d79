"""Which calls a mapping makes that read something other than its event: clocks, chance, files, the network."""

from __future__ import annotations

import builtins
import datetime
import io
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import msgspec

from turnout.testing._contract_words import NothingToSee

__all__ = ["Spied", "spied"]

_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
_FUNCTIONS = (
    {getattr(time, name): f"time.{name}" for name in _CLOCKS}
    | {getattr(os, name): f"os.{name}" for name in ("urandom", "open", "listdir", "scandir", "stat", "system")}
    | {builtins.open: "open", io.open: "open", builtins.input: "input", socket.getaddrinfo: "socket.getaddrinfo"}
    | {builtins.print: "print"}
)
_NOW = {"now", "today", "utcnow"}
_CHANCE = {"random", "getrandbits"}
_SOCKET = {"connect", "connect_ex", "send", "sendall", "sendto", "bind"}
_SHARED: Any = random.random.__self__  # type: ignore[attr-defined]
"""The generator behind the functions of `random`; one with a seed of its own is nobody's chance."""
_ENVIRONMENT: CodeType = type(os.environ).__getitem__.__code__
_HARMLESS = ("logging", "importlib", "warnings", "linecache", "traceback")
"""Modules that read clocks and files on behalf of a rule that does neither."""
_MAPPING = "turnout.mapping"


class Spied(msgspec.Struct, frozen=True):
    """A call that a mapping must not make, and the place in the plugin from which it is made."""

    function: str
    place: str


def spied(work: Callable[[], object], package: str) -> Spied | None:
    """Return the first such call that mapping makes while `work` runs, None when it makes none.

    `package` is the plugin's; of the calls that lead there, its last one is the place. Raises `NothingToSee` while a
    profiler is running.
    """
    found: list[Spied] = []

    def watch(frame: FrameType, kind: str, called: Any) -> None:
        function = _named(kind, frame, called)
        if function and not found and (stack := _within_mapping(frame)):
            found.append(Spied(function, _place(stack, package)))

    before = sys.getprofile()
    if before is not None and not callable(before):
        raise NothingToSee("A profiler is running: what a mapping calls can't be watched beside it.")
    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(before)
    return found[0] if found else None


def _named(kind: str, frame: FrameType, called: Any) -> str:
    """Return the name of a function that reads something, empty for any other."""
    if kind == "call":
        return "os.environ" if frame.f_code is _ENVIRONMENT else ""
    if kind != "c_call":
        return ""
    owner, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
    if name in _NOW and isinstance(owner, type) and issubclass(owner, datetime.date):
        return f"{owner.__name__}.{name}"
    if name in _CHANCE and owner is _SHARED:
        return f"random.{name}"
    if name in _SOCKET and isinstance(owner, socket.socket):
        return f"socket.{name}"
    try:
        return _FUNCTIONS.get(called, "")
    except TypeError:
        return ""


def _within_mapping(frame: FrameType) -> list[FrameType]:
    """Return the frames from a call up to the mapping; none when nothing is mapped, or somebody else is to blame."""
    stack: list[FrameType] = []
    for each in _upwards(frame):
        module = str(each.f_globals.get("__name__", ""))
        if module == _MAPPING:
            return stack
        if module.partition(".")[0] in _HARMLESS or module.startswith("_frozen_importlib"):
            return []
        stack.append(each)
    return []


def _upwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(stack: list[FrameType], package: str) -> str:
    mine = [each for each in stack if str(each.f_globals.get("__name__", "")).partition(".")[0] == package]
    frame = (mine or stack)[0]
    return f"{frame.f_globals.get('__name__')}, line {frame.f_lineno}, in {frame.f_code.co_name}"

"""How a log stands: what is in it, how far each destination has come, and one that is to come no further."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import msgspec

from turnout.errors import ConfigError, did_you_mean
from turnout.log import DeadQuery, Log, State

__all__ = ["Forgotten", "forget", "left", "status"]


class Forgotten(msgspec.Struct, frozen=True):
    """A destination that was taken out of a log, or would be."""

    destination: str
    pending: int
    """How many events it still should have had."""
    dead: int
    """How many dead letters of it there are; they stay."""


def left(log: Log, configured: Iterable[str]) -> list[str]:
    """Return the destinations that a log keeps events for, although none of these."""
    wanted = frozenset(configured)
    return [name for name in log.destinations() if name not in wanted]


def forget(log: Log, destination: str, *, configured: Iterable[str] = (), dry: bool = False) -> Forgotten:
    """Take a destination out of a log, which keeps no events for it from then on; its dead letters stay.

    Raises `ConfigError` for an unknown destination and for one of `configured`, to which everything that the log still
    has would be delivered from the beginning, and `LogError` while a process delivers.
    """
    if destination in configured:
        raise ConfigError(
            f"'{destination}' stands in the configuration, so delivery would begin with the oldest event again. "
            "Take it out there first."
        )
    with nullcontext() if dry else log.own("deliver"):
        states = log.states()
        if destination not in states:
            hint = did_you_mean(destination, states) or f" There are: {', '.join(states) or 'none'}."
            raise ConfigError(f"The log knows no destination '{destination}'.{hint}")
        done = Forgotten(destination, states[destination].pending, log.count_dead(DeadQuery(destination=destination)))
        if not dry:
            log.forget(destination)
    return done


def status(log: Log, configured: Iterable[str] = ()) -> dict[str, Any]:
    """Return the state of a log as plain data.

    `size` is in bytes. Of a destination, `received` equals the sum of `counts`, `behind` (events that it hasn't read
    yet) and `parked`. `configured` names destinations that are listed although delivery to them has never begun:
    their `cursor` is null.
    """
    first, last = log.first(), log.last()
    states = log.states()
    names = dict.fromkeys([*states, *configured])
    begun = (_begun(log, name, states[name]) if name in states else _new(name, last - first + 1) for name in names)
    return {
        "size": log.size(),
        "first": first if first <= last else None,
        "last": last or None,
        "events": last - first + 1,
        "dead": log.count_dead(DeadQuery()),
        "destinations": list(begun),
    }


def _begun(log: Log, name: str, state: State) -> dict[str, Any]:
    counts = sorted(state.counts.items(), key=lambda count: (count[0][0].value, count[0][1] or ""))
    return {
        "destination": name,
        "cursor": log.register(name).position,
        "received": state.received,
        "behind": state.pending - state.parked,
        "parked": state.parked,
        "dead": log.count_dead(DeadQuery(destination=name)),
        "counts": [
            {"outcome": outcome.value, "code": code.value if code else None, "events": events}
            for (outcome, code), events in counts
            if events
        ],
    }


def _new(name: str, events: int) -> dict[str, Any]:
    waiting = {"received": events, "behind": events, "parked": 0, "dead": 0}
    return {"destination": name, "cursor": None, **waiting, "counts": []}

"""How a log stands: what is in it, and how far each destination has come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from turnout.log import DeadQuery, Log, State

__all__ = ["status"]


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

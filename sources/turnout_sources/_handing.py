"""Handing events on to a dispatcher, and whether they have to come again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from turnout import Code, Dispatcher, Outcome, Settled

__all__ = ["NotTakenError", "again", "taker", "taker_async"]

_AGAIN = frozenset(
    {Code.VENDOR_UNAVAILABLE, Code.UNREACHABLE, Code.TIMED_OUT, Code.RATE_LIMITED, Code.CREDENTIALS_REFUSED}
)
"""Reasons that may be gone at another try; what a vendor has refused for what it is stays refused."""

Events = Sequence[Mapping[str, Any]]


class NotTakenError(Exception):
    """Some events did not get through, and may at another try."""


def again(outcomes: Iterable[Settled]) -> list[Settled]:
    """Return the outcomes of events that may get through at another try."""
    return [one for one in outcomes if one.outcome is Outcome.DEAD and one.reason and one.reason.code in _AGAIN]


def taker(dispatcher: Dispatcher) -> Callable[[Events], object]:
    """Return what hands events to a dispatcher: into its log if it has one, else to the vendors.

    It raises `NotTakenError`, or what `accept` raises, when they have to come again.
    """

    def send(events: Events) -> None:
        _check(dispatcher.send(events))

    return dispatcher.accept if dispatcher.log_settings.path else send


def taker_async(dispatcher: Dispatcher) -> Callable[[Events], Awaitable[object]]:
    """Return the same for asyncio."""

    async def send(events: Events) -> None:
        _check(await dispatcher.send_async(events))

    return dispatcher.accept_async if dispatcher.log_settings.path else send


def _check(outcomes: Iterable[Settled]) -> None:
    left = again(outcomes)
    if left:
        raise NotTakenError(f"{len(left)} events did not get through: {left[0].reason and left[0].reason.message}")

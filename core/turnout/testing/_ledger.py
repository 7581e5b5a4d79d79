"""The ledger: what a simulator was asked, in order, and what came of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from turnout.testing._call import Call

__all__ = ["Entry", "entry_of"]

MASK = "***"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One request received.

    `number` counts from 1 and never repeats, `time` is in ms since the epoch, `status` is None when no
    answer was sent, `effect` is what the request changed, `fault` the fault that was applied to it.
    Secrets are masked.
    """

    number: int
    time: int
    method: str
    path: str
    query: dict[str, str]
    host: str
    headers: dict[str, str]
    body: Any
    status: int | None
    effect: dict[str, Any]
    fault: dict[str, Any] | None


def entry_of(
    call: Call,
    number: int,
    time: int,
    status: int | None,
    effect: dict[str, Any],
    fault: dict[str, Any] | None,
    secret_headers: Collection[str],
    secret_fields: Collection[str],
) -> Entry:
    """Return the entry for one call, with its secrets masked."""
    return Entry(
        number=number,
        time=time,
        method=call.method,
        path=call.path,
        query=_masked(call.args(), secret_fields),
        host=call.headers.get("host", ""),
        headers=_masked(call.headers, secret_headers),
        body=_masked(call.decoded(), secret_fields),
        status=status,
        effect=effect,
        fault=fault,
    )


def _masked(value: Any, secret: Collection[str]) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: MASK if name in secret else item for name, item in value.items()}

"""The destination of a chaos run: Amplitude, with the pauses after a 429 (30 s and 15 s) cut to half a second."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from turnout import Answer, Endpoint, Verdict
from turnout.answer import Reader
from turnout_amplitude import Amplitude

__all__ = ["Chaos"]

_LONGEST = 0.5


def _hastened(read: Reader) -> Reader:
    def read_hastened(answer: Answer, count: int) -> Sequence[Verdict]:
        return [
            one if one.wait is None else msgspec.structs.replace(one, wait=min(one.wait, _LONGEST))
            for one in read(answer, count)
        ]

    return read_hastened


def _copy(one: Endpoint) -> Endpoint:
    return Endpoint(one.method, one.url, body=one.body, auth=one.auth, batch=one.limits, read=_hastened(one.read))


class Chaos(Amplitude):
    """Amplitude, less patient."""

    events = _copy(Amplitude.events)
    browser_events = _copy(Amplitude.browser_events)
    mobile_events = _copy(Amplitude.mobile_events)
    identify = _copy(Amplitude.identify)

"""How Segment answers, and turnout's gateway in its place.

Sources: the HTTP API page; which statuses are tried again is the table of Segment's browser library.
"""

from __future__ import annotations

import time

from turnout import Answer, Code, Fate, Reason, Verdict, read_gateway, retry_after

__all__ = ["read_batch"]

_RETRIED = frozenset({408, 410, 425, 429, 460})
_FINAL = frozenset({501, 505, 511})
_HALVED = frozenset({400, 413})
_SETTINGS = frozenset({*range(300, 400), 401, 403, 404, 405, 407, 415})
"""Statuses for which no event is at fault: the write key, the region, the address, or gzip is."""
_LONGEST_WAIT = 3600.0
_MILLISECONDS, _SECONDS = 10**11, 10**8
"""From these numbers on, a time is one since 1970."""


def read_batch(answer: Answer, count: int) -> list[Verdict]:
    """Judge the events of a batch together: a 200 says that Segment has the request, and nothing of single events.
    A 400 or 413 halves the request, until the event at fault stands alone and is refused. Where turnout's gateway
    answers in Segment's place, its 200 names the events that it refused: they alone are. A 200 with an HTML page is
    none of Segment's. 401, 403, 404 and others that no event can be blamed for are a matter of the settings. 408, 410,
    425, 429, 460 and server errors are tried again, after `Retry-After`, else after `X-RateLimit-Reset`; not 501, 505
    and 511.
    """
    status = answer.status
    if 200 <= status < 300:
        strange = answer.body.lstrip().startswith(b"<")
        return [_strange(answer)] * count if strange else read_gateway(answer, count)
    if status in _HALVED:
        return [Verdict(Fate.SPLIT) if count > 1 else _refused(answer.words())] * count
    if status in _SETTINGS:
        return [_setup(answer)] * count
    if status in _RETRIED or (status >= 500 and status not in _FINAL):
        return [_later(answer)] * count
    return [_refused(answer.words())] * count


def _strange(answer: Answer) -> Verdict:
    """Return the verdict on a 200 with an HTML page, such as a proxy's: nobody knows what was stored."""
    return Verdict(Fate.RETRY, Reason(Code.VENDOR_UNAVAILABLE, f"This is no answer of Segment: {answer.words()}"))


def _later(answer: Answer) -> Verdict:
    """Return the verdict to try again; a 429 holds everything up, until the time that it names."""
    code = Code.RATE_LIMITED if answer.status == 429 else Code.VENDOR_UNAVAILABLE
    wait = retry_after(answer)
    return Verdict(Fate.RETRY, Reason(code, answer.words()), _reset(answer) if wait is None else wait)


def _reset(answer: Answer) -> float | None:
    """Return the seconds that `X-RateLimit-Reset` names: a number of seconds, or a time since 1970 (also in ms)."""
    text = answer.headers.get("x-ratelimit-reset", "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        return None
    number = float(text)
    if number >= _MILLISECONDS:
        number /= 1000
    if number >= _SECONDS:
        number -= time.time()
    return max(0.0, min(number, _LONGEST_WAIT))


def _refused(words: str) -> Verdict:
    return Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, words))


def _setup(answer: Answer) -> Verdict:
    words = f"{answer.words()}. Check write_key, region, base_url and gzip."
    return Verdict(Fate.SETUP, Reason(Code.CREDENTIALS_REFUSED, words))

"""How Split answers. Neither API says which item of a request is at fault.

Sources: Split's pages of the Events API and the Admin API. What they leave open is decided here: a 400 to events
stored nothing; a segment that exists is answered with 409.
"""

from __future__ import annotations

import msgspec

from turnout import Answer, Code, Fate, Reason, Verdict, read_status

__all__ = ["read_activation", "read_creation", "read_events", "read_keys"]

_RESETS = ("x-ratelimit-reset-seconds-org", "x-ratelimit-reset-seconds-ip")
_LONGEST_WAIT = 3600.0
_ELSEWHERE = frozenset({*range(300, 400), 404, 405})
"""Statuses of an address that is none of Split's, for which no event is at fault."""
_DELIVERED = Verdict(Fate.DELIVERED)


def read_events(answer: Answer, count: int) -> list[Verdict]:
    """Judge events together: 202 says that Split has them, not that it finds them valid. A 400 splits the request.

    A refused key stops everything, and so does an address where there is no Events API. A page of HTML is no answer of
    Split's, whatever its status, and is retried. Any other status is judged as everywhere.
    """
    if answer.status in (401, 403):
        return [_setup(answer, "Split refused sdk_key, which is an SDK API key of the environment")] * count
    if answer.status in _ELSEWHERE:
        return [_setup(answer, "Split has no Events API at this address: compare base_url")] * count
    if answer.status == 400 and count > 1:
        return [Verdict(Fate.SPLIT)] * count
    return _judged(answer, count)


def read_creation(answer: Answer, count: int) -> list[Verdict]:
    """Judge a new segment: 409 says that it is there already. A 404 or a refused key is a matter of the settings."""
    if answer.status == 409:
        return [_DELIVERED] * count
    if answer.status == 404:
        return [_setup(answer, "Split doesn't know workspace_id or traffic_type_id")] * count
    return _read_admin(answer, count)


def read_activation(answer: Answer, count: int) -> list[Verdict]:
    """Judge a segment's activation: 409 says that it is active already. A refused key is a matter of the settings."""
    return [_DELIVERED] * count if answer.status == 409 else _read_admin(answer, count)


def read_keys(answer: Answer, count: int) -> list[Verdict]:
    """Judge the keys of a segment together: Split takes all of them or none. 429 waits as long as Split says.

    A refused key is a matter of the settings. Any other status is judged as everywhere.
    """
    return _read_admin(answer, count)


def _read_admin(answer: Answer, count: int) -> list[Verdict]:
    if answer.status in (401, 403):
        return [_setup(answer, "Split refused the API key for segments, which is no SDK API key")] * count
    if answer.status in (400, 404, 422):  # the segment, a part of the address, or full for each of the keys
        return [Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, answer.words()))] * count
    verdicts = _judged(answer, count)
    if answer.status == 429:
        wait = max(filter(None, (verdicts[0].wait, *map(_seconds, map(answer.headers.get, _RESETS)))), default=None)
        return [msgspec.structs.replace(verdicts[0], wait=wait)] * count
    return verdicts


def _seconds(text: str | None) -> float | None:
    """Return the seconds of a header, an hour at most; None for one that is no number."""
    told = (text or "").strip()
    return min(float(told), _LONGEST_WAIT) if told.isascii() and told.isdigit() else None


def _judged(answer: Answer, count: int) -> list[Verdict]:
    if answer.status < 300 and answer.body.lstrip().startswith(b"<"):
        reason = Reason(Code.VENDOR_UNAVAILABLE, f"This is no answer of Split: {answer.words()}")
        return [Verdict(Fate.RETRY, reason)] * count
    return read_status(answer, count)


def _setup(answer: Answer, words: str) -> Verdict:
    return Verdict(Fate.SETUP, Reason(Code.CREDENTIALS_REFUSED, f"{words} (HTTP {answer.status})."))

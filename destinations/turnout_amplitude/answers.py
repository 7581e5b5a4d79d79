"""How Amplitude answers, item by item.

Source: HTTP V2 and Batch API documentation; the loop over `400` follows Amplitude's own Python SDK: drop the indexes
that the answer lists, send the rest again, and expect another 400 for the next bad one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from turnout import Answer, Code, Fate, Reason, Verdict, read_status, retry_after

__all__ = ["read_deletions", "read_events", "read_form"]

_INDEXED = ("events_with_invalid_fields", "events_with_missing_fields", "events_with_invalid_id_lengths")
_THROTTLED = ("throttled_users", "throttled_devices")
_QUOTAS = ("exceeded_daily_quota_users", "exceeded_daily_quota_devices")
_PAUSE = 30.0
_FORM_PAUSE = 15.0
_QUOTA_PAUSE = 3600.0


def read_events(answer: Answer, count: int) -> list[Verdict]:
    """Judge each event: a 400 refuses those that it names, and the others go out again; one that names none splits.

    A wrong key is a matter of the settings, also when the old text `invalid api_key` tells it, whatever the status.
    A 429 that names events or ids holds up those users only, else everything. A 403 is a firewall's: it splits, until
    what it objects to is refused alone. A 200 counts with Amplitude's own body alone. Any other status is judged as
    everywhere.
    """
    if answer.body.lstrip().lower().startswith(b"invalid api"):
        return [_setup(answer)] * count
    if answer.status == 400:
        return _bad_request(answer, count)
    if answer.status == 429:
        return _throttled(answer, count, _PAUSE)
    if answer.status == 403:
        return _halved(answer, count)
    told = answer.json()
    if answer.status == 200 and not (isinstance(told, Mapping) and told.get("code") == 200):
        return [_strange(answer)] * count
    return read_status(answer, count)


def _strange(answer: Answer) -> Verdict:
    """Return the verdict on a 200 that is not Amplitude's, such as a proxy's page: nobody knows what was stored."""
    return Verdict(Fate.RETRY, Reason(Code.VENDOR_UNAVAILABLE, f"This is no answer of Amplitude: {answer.words()}"))


def read_form(answer: Answer, count: int) -> list[Verdict]:
    """Judge the items of a form request together: a 400 or 403 splits it, until the one at fault is refused alone.

    A wrong key is told by the text `invalid api_key`, whatever the status (Segment's classic code checks it). A 429 is
    read as for events.
    """
    if b"invalid api" in answer.body.lower():
        return [_setup(answer)] * count
    if answer.status in (400, 403):
        return _halved(answer, count)
    if answer.status == 429:
        return _throttled(answer, count, _FORM_PAUSE)
    if answer.status == 200 and answer.body.lstrip().startswith(b"<"):
        return [_strange(answer)] * count
    return read_status(answer, count)


def read_deletions(answer: Answer, count: int) -> list[Verdict]:
    """Judge users that are to be deleted together: a 400 splits them, until the one at fault is refused alone.

    Here a 403 says that the keys are wrong. A 200 with a page of HTML is no answer of Amplitude's.
    """
    if answer.status == 400:
        return [_setup(answer)] * count if b"invalid api" in answer.body.lower() else _halved(answer, count)
    if answer.status == 200 and answer.body.lstrip().startswith(b"<"):
        return [_strange(answer)] * count
    return read_status(answer, count)


def _halved(answer: Answer, count: int) -> list[Verdict]:
    """Return the verdicts on a request that was refused without a word on which item is at fault."""
    return [Verdict(Fate.SPLIT)] * count if count > 1 else [_refused(answer.words())]


def _bad_request(answer: Answer, count: int) -> list[Verdict]:
    body = answer.json()
    told = body if isinstance(body, Mapping) else {}
    error = str(told.get("error", ""))
    if error.lower().startswith(("invalid api key", "invalid api_key")) or told.get("missing_field") == "api_key":
        return [_setup(answer)] * count
    named = _named(told, count)
    if named:
        resend = Verdict(Fate.RESEND)
        return [_refused(named[index]) if index in named else resend for index in range(count)]
    return _halved(answer, count)


def _named(told: Mapping[str, Any], count: int) -> dict[int, str]:
    """Return what the answer says of each event that it names by index."""
    named: dict[int, str] = {}
    error = str(told.get("error", "refused"))
    for key in _INDEXED:
        fields = told.get(key)
        for field, indexes in fields.items() if isinstance(fields, Mapping) else ():
            for index in _indexes(indexes, count):
                named[index] = f"HTTP 400: {error} ({key}: {field})"
    for index in _indexes(told.get("silenced_events"), count):
        named[index] = f"HTTP 400: {error} (silenced_events)"
    return named


def _throttled(answer: Answer, count: int, pause: float) -> list[Verdict]:
    """Return the verdicts of a 429: those that it names wait, the others go out again at once.

    Fewer ids than events, without the indexes of their events, split the request, until what is left is theirs alone.
    One whose daily quota is used up waits long, unless others are named beside it that need not.
    """
    body = answer.json()
    told = body if isinstance(body, Mapping) else {}
    named = set(_indexes(told.get("throttled_events"), count))
    ids = max(_number(told.get(key)) for key in (*_THROTTLED, *_QUOTAS))
    if 0 < ids < count and not named:
        return [Verdict(Fate.SPLIT)] * count
    wait = retry_after(answer)
    if wait is None:
        used_up = any(told.get(key) for key in _QUOTAS) and not any(told.get(key) for key in _THROTTLED)
        wait = _QUOTA_PAUSE if used_up else pause
    later = Verdict(Fate.RETRY, Reason(Code.RATE_LIMITED, answer.words()), wait, own=bool(named) or ids > 0)
    if not named:
        return [later] * count
    return [later if index in named else Verdict(Fate.RESEND) for index in range(count)]


def _number(ids: object) -> int:
    """Return how many ids an answer names: with a figure for each, or in a list."""
    return len(ids) if isinstance(ids, Mapping | list) else 0


def _indexes(value: object, count: int) -> Iterable[int]:
    if not isinstance(value, list):
        return ()
    return (index for index in value if type(index) is int and 0 <= index < count)


def _refused(words: str) -> Verdict:
    return Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, words))


def _setup(answer: Answer) -> Verdict:
    return Verdict(
        Fate.SETUP, Reason(Code.CREDENTIALS_REFUSED, f"Amplitude refused the API key (HTTP {answer.status}).")
    )

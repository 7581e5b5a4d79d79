"""How Amplitude answers, item by item.

Source: HTTP V2 and Batch API documentation; the loop over `400` follows Amplitude's own Python SDK: drop the indexes
that the answer lists, send the rest again, and expect another 400 for the next bad one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from turnout import Answer, Code, Fate, Reason, Verdict, read_status

__all__ = ["read_events", "read_form"]

_INDEXED = ("events_with_invalid_fields", "events_with_missing_fields", "events_with_invalid_id_lengths")
_PAUSE = 30.0
_QUOTA_PAUSE = 3600.0


def read_events(answer: Answer, count: int) -> list[Verdict]:
    """Judge each event: a 400 refuses those that it names, and the others go out again; one that names none splits.

    A wrong key is a matter of the settings, also when the old text `invalid api_key` tells it, whatever the status.
    A 429 that names events holds up their users only, else everything. A 403 refuses. A 200 counts with Amplitude's
    own body alone. Any other status is judged as everywhere.
    """
    if answer.body.lstrip().lower().startswith(b"invalid api"):
        return [_setup(answer)] * count
    if answer.status == 400:
        return _bad_request(answer, count)
    if answer.status == 429:
        return _throttled(answer, count)
    if answer.status == 403:
        return [_refused(answer.words())] * count
    told = answer.json()
    if answer.status == 200 and not (isinstance(told, Mapping) and told.get("code") == 200):
        return [_strange(answer)] * count
    return read_status(answer, count)


def _strange(answer: Answer) -> Verdict:
    """Return the verdict on a 200 that is not Amplitude's, such as a proxy's page: nobody knows what was stored."""
    return Verdict(Fate.RETRY, Reason(Code.VENDOR_UNAVAILABLE, f"This is no answer of Amplitude: {answer.words()}"))


def read_form(answer: Answer, count: int) -> list[Verdict]:
    """Judge the items of a form request together: a 400 splits it, until the one at fault is refused alone.

    A wrong key is told by the text `invalid api_key`, whatever the status (Segment's classic code checks it).
    """
    if b"invalid api" in answer.body.lower():
        return [_setup(answer)] * count
    if answer.status == 400 and count > 1:
        return [Verdict(Fate.SPLIT)] * count
    if answer.status == 429:
        return [Verdict(Fate.RETRY, Reason(Code.RATE_LIMITED, answer.words()), 15.0)] * count
    if answer.status == 200 and answer.body.lstrip().startswith(b"<"):
        return [_strange(answer)] * count
    return read_status(answer, count)


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
    return [Verdict(Fate.SPLIT) if count > 1 else _refused(answer.words())] * count


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


def _throttled(answer: Answer, count: int) -> list[Verdict]:
    body = answer.json()
    told = body if isinstance(body, Mapping) else {}
    quota = told.get("exceeded_daily_quota_users") or told.get("exceeded_daily_quota_devices")
    reason = Reason(Code.RATE_LIMITED, answer.words())
    named = set(_indexes(told.get("throttled_events"), count))
    pause = Verdict(Fate.RETRY, reason, _QUOTA_PAUSE if quota else _PAUSE, own=bool(named))
    if not named:
        return [pause] * count
    return [pause if index in named else Verdict(Fate.RESEND) for index in range(count)]


def _indexes(value: object, count: int) -> Iterable[int]:
    if not isinstance(value, list):
        return ()
    return (index for index in value if isinstance(index, int) and 0 <= index < count)


def _refused(words: str) -> Verdict:
    return Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, words))


def _setup(answer: Answer) -> Verdict:
    return Verdict(
        Fate.SETUP, Reason(Code.CREDENTIALS_REFUSED, f"Amplitude refused the API key (HTTP {answer.status}).")
    )

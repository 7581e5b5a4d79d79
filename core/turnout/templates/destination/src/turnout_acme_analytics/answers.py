"""How the vendor answers, event by event."""

from __future__ import annotations

from turnout import Answer, Code, Fate, Reason, Verdict, read_status

__all__ = ["read_events"]


def read_events(answer: Answer, count: int) -> list[Verdict]:
    """Read a 422 event by event: those that it names are refused, the rest is sent again. Else the status decides.

    Nothing of a request that is answered with 422 was stored.
    """
    if answer.status != 422:
        return read_status(answer, count)
    named = _named(answer, count)
    refused = Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, answer.words()))
    if named:
        return [refused if index in named else Verdict(Fate.RESEND) for index in range(count)]
    # Which ones are bad is not said: smaller requests find them.
    return [Verdict(Fate.SPLIT)] * count if count > 1 else [refused]


def _named(answer: Answer, count: int) -> set[int]:
    """Return the indexes in an answer such as `{"error": "name too long", "indexes": [1]}`; a strange one has none."""
    told = answer.json()
    indexes = told.get("indexes") if isinstance(told, dict) else None
    if not isinstance(indexes, list):
        return set()
    return {index for index in indexes if isinstance(index, int) and 0 <= index < count}

"""Broken in how they read answers."""

from __future__ import annotations

from collections.abc import Sequence

from broken.sound import Sound, events_url
from turnout import ITEMS, Answer, Batch, Code, Endpoint, Fate, Reader, Reason, Verdict, bearer, json_body, read_status


def endpoint(read: Reader) -> Endpoint:
    """Return the Events API with another reader."""
    return Endpoint(
        "POST",
        events_url,
        body=json_body({"events": ITEMS}),
        auth=bearer("api_key"),
        batch=Batch(items=100, bytes=20_000),
        read=read,
    )


def _unwary(answer: Answer, count: int) -> list[Verdict]:
    told: dict[str, list[int]] = answer.json()  # type: ignore[assignment]
    if answer.status == 400 and told.get("indexes"):
        return [Verdict(Fate.REFUSED)] * count
    return read_status(answer, count)


class Unwary(Sound):
    """Expects an answer to be an object."""

    events = endpoint(_unwary)


def _sparing(answer: Answer, count: int) -> list[Verdict]:
    return read_status(answer, 1)


class Sparing(Sound):
    """Gives one verdict for all items."""

    events = endpoint(_sparing)


def _partial(answer: Answer, count: int) -> list[Verdict]:
    told: dict[str, list[str]] = answer.json()  # type: ignore[assignment]
    if answer.status == 207:
        return [Verdict(Fate.DELIVERED if one == "ok" else Fate.REFUSED) for one in told["states"]]
    return read_status(answer, count)


class Partial(Sound):
    """Trusts what a 207 says of each item."""

    events = endpoint(_partial)


def _easy(answer: Answer, count: int) -> Sequence[Verdict]:
    return [Verdict(Fate.DELIVERED)] * count if answer.status == 400 else read_status(answer, count)


class Easy(Sound):
    """Takes a refusal for a success."""

    events = endpoint(_easy)


def _picky(answer: Answer, count: int) -> Sequence[Verdict]:
    if answer.status == 200 and answer.body != b"very good":
        return [Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, "not very good"))] * count
    return read_status(answer, count)


class Picky(Sound):
    """Takes a success for a refusal; what the vendor says when all is well, nobody knows."""

    events = endpoint(_picky)


def _rash(answer: Answer, count: int) -> Sequence[Verdict]:
    if answer.status >= 500:
        return [Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, answer.words()))] * count
    return read_status(answer, count)


class Rash(Sound):
    """Gives up items for a server error."""

    events = endpoint(_rash)


def _pushing(answer: Answer, count: int) -> Sequence[Verdict]:
    if answer.status == 429:
        return [Verdict(Fate.RETRY, Reason(Code.RATE_LIMITED, answer.words()), 1.0)] * count
    return read_status(answer, count)


class Pushing(Sound):
    """Comes back sooner than it was told."""

    events = endpoint(_pushing)

"""What a vendor answered, and what that means for each item of the request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

import msgspec

from turnout.reasons import Code, Reason

__all__ = ["Answer", "Fate", "Reader", "Verdict", "read_gateway", "read_status", "retry_after"]

_LONGEST_WORDS = 300
_LONGEST_WAIT = 3600.0
_HALVED = frozenset({400, 413, 422})
"""Statuses of a request that was refused whole, perhaps for one of its items."""


class Answer(msgspec.Struct, frozen=True):
    """One HTTP answer: `status`, `headers` with lower-case names, and the undecoded `body`."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    def json(self) -> object:
        """Return the decoded body, or None when it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def words(self) -> str:
        """Return status and body as one short line for people and dead letters."""
        text = " ".join(self.body.decode("utf-8", "replace").split())
        if len(text) > _LONGEST_WORDS:
            text = text[:_LONGEST_WORDS] + "…"
        return f"HTTP {self.status}: {text}" if text else f"HTTP {self.status}"


class Fate(StrEnum):
    """What happens to one item after an answer."""

    DELIVERED = "delivered"
    """The vendor has it."""
    REFUSED = "refused"
    """The vendor will never take it."""
    RETRY = "retry"
    """Send it again later."""
    RESEND = "resend"
    """Nothing is wrong with it: send it again at once, without the refused ones."""
    SPLIT = "split"
    """Send it again at once in a smaller request."""
    SETUP = "setup"
    """The settings are wrong (a refused key): no event is at fault."""


class Verdict(msgspec.Struct, frozen=True):
    """The fate of one item, with the reason and, for `RETRY`, the wait in seconds that the vendor wants.

    `own` says that the item itself has to wait (its user is throttled), rather than the whole destination.
    """

    fate: Fate
    reason: Reason | None = None
    wait: float | None = None
    own: bool = False


Reader = Callable[[Answer, int], Sequence[Verdict]]
"""Reads an answer to a request of n items into n verdicts, in the order of the items."""

_DELIVERED = Verdict(Fate.DELIVERED)


def read_status(answer: Answer, count: int) -> list[Verdict]:
    """Return the same verdict for each of `count` items, judged by the HTTP status alone.

    2xx is delivered; 400, 413 and 422 split a request of several items, until the one at fault is alone; 401, 403 and
    407 are a matter of the settings, and so are redirects, 404 and 405 (the address; where the URL holds a part of the
    item, a 404 refuses the item); 408, 425, 429 and 5xx are retried, after `Retry-After` if the answer has it; anything
    else is refused.
    """
    return [_verdict(answer, count)] * count


def read_gateway(answer: Answer, count: int) -> list[Verdict]:
    """Return the verdicts on a batch of `count` events that turnout's gateway has answered.

    Its 200 names the events that it refused: they alone are refused, and those that were too many for a batch are sent
    again. Any other answer is judged by its status. For destinations that speak the same protocol, and may have a
    gateway in their vendor's place.
    """
    verdicts = read_status(answer, count)
    told = answer.json() if answer.status == 200 else None
    rejected = told.get("rejected") if isinstance(told, Mapping) else None
    for one in rejected if isinstance(rejected, list) else ():
        index = one.get("index") if isinstance(one, Mapping) else None
        if type(index) is not int or not 0 <= index < count:
            continue
        if one.get("code") == Code.BATCH_TOO_LONG:
            verdicts[index:] = [Verdict(Fate.RESEND)] * (count - index)
        else:
            words = f"HTTP 200: {one.get('message', 'refused')} ({one.get('code', 'no code')})"
            verdicts[index] = Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, words))
    return verdicts


def _verdict(answer: Answer, count: int) -> Verdict:
    status = answer.status
    if 200 <= status < 300:
        return _DELIVERED
    if status in _HALVED and count > 1:
        return Verdict(Fate.SPLIT)
    if status in (401, 403, 407):
        return Verdict(Fate.SETUP, Reason(Code.CREDENTIALS_REFUSED, answer.words()))
    if 300 <= status < 400 or status in (404, 405):
        return Verdict(Fate.SETUP, Reason(Code.VENDOR_REFUSED, f"{answer.words()} (Compare base_url and region.)"))
    if status == 429:
        return Verdict(Fate.RETRY, Reason(Code.RATE_LIMITED, answer.words()), retry_after(answer))
    if status in (408, 425) or status >= 500:
        return Verdict(Fate.RETRY, Reason(Code.VENDOR_UNAVAILABLE, answer.words()), retry_after(answer))
    return Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, answer.words()))


def retry_after(answer: Answer, now: datetime | None = None) -> float | None:
    """Return the seconds of `Retry-After` (a number or an HTTP date), within 0 and an hour, or None."""
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_WAIT)
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, min((then - (now or datetime.now(UTC))).total_seconds(), _LONGEST_WAIT))

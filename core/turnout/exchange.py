"""One attempt at one request: send it, read the answer, and say what becomes of each item."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import msgspec

from turnout.answer import Answer, Fate, Verdict
from turnout.destination import Destination, origin
from turnout.endpoint import BoundEndpoint, Item
from turnout.packing import Request, pack, written
from turnout.reasons import Code, Reason
from turnout.sending import LONGEST_WAIT, Sender, Silence, Transport, backoff
from turnout.settings import redact

__all__ = ["LONGEST_WAIT", "Exchange", "again", "all_delivered", "backoff"]

_logger = logging.getLogger("turnout")
_DELIVERED = Fate.DELIVERED


class Exchange:
    """The way to one destination: a client of its own, and its answers read without its secrets."""

    def __init__(
        self, name: str, target: Destination | None, timeout_seconds: float, transport: Transport | None = None
    ) -> None:
        self.name = name
        self._secrets = target.config.secret_values if target else frozenset()
        self._origin = origin(type(target)) if target else "unknown"
        self.sender = Sender(timeout_seconds, transport)

    async def attempt(self, items: tuple[Item, ...]) -> tuple[Sequence[Verdict], bool]:
        """Send one request; return a verdict for each item, and whether there was an answer at all.

        What asks for the same request again counts as a retry, so that nothing goes on for ever. Reasons of final
        verdicts are complete and hold no secret.
        """
        answer = await self.sender.send(Request(items[0].endpoint, items))
        verdicts = self._verdicts(items, answer)
        if not all_delivered(verdicts):
            verdicts = [self._told(verdict) for verdict in _progressing(verdicts)]
        return verdicts, isinstance(answer, Answer)

    def _verdicts(self, items: tuple[Item, ...], answer: Answer | Reason) -> Sequence[Verdict]:
        endpoint = items[0].endpoint
        if isinstance(answer, Reason):
            return [_unanswered(endpoint, answer)] * len(items)
        if not endpoint.once:
            return self._read(endpoint, answer, len(items))
        sent = written(endpoint, items)
        verdicts = dict(zip(sent, self._read(endpoint, answer, len(sent)), strict=True))
        return [verdicts[item.data] for item in items]

    def _read(self, endpoint: BoundEndpoint, answer: Answer, count: int) -> Sequence[Verdict]:
        try:
            verdicts = endpoint.read(answer, count)
        except Exception as error:
            fault = f"raised {type(error).__name__}: {error} ({answer.words()})"
            return self._misread(Code.PLUGIN_RAISED, fault, count)
        if not isinstance(verdicts, Sequence) or not _are_verdicts(verdicts):
            fault = f"gave no list of verdicts ({answer.words()})"
            return self._misread(Code.PLUGIN_BAD_RESULT, fault, count)
        if len(verdicts) != count:
            fault = f"gave {len(verdicts)} verdicts for {count} items ({answer.words()})"
            return self._misread(Code.PLUGIN_BAD_RESULT, fault, count)
        if answer.status == 404 and endpoint.varies and verdicts[0].fate is Fate.SETUP:
            return [Verdict(Fate.REFUSED, verdicts[0].reason)] * count  # what isn't there is one item's, no address
        return verdicts

    def _misread(self, code: Code, fault: str, count: int) -> list[Verdict]:
        message = self._redacted(f"Reading the answer of '{self.name}' ({self._origin}) {fault}")
        _logger.error("%s", message)
        return [Verdict(Fate.REFUSED, Reason(code, message))] * count

    def _told(self, verdict: Verdict) -> Verdict:
        """Return a verdict whose reason is complete, in the vendor's words without our secrets."""
        if verdict.fate in (Fate.REFUSED, Fate.SETUP):
            reason = verdict.reason or Reason(Code.VENDOR_REFUSED, f"{self.name} refused it.")
        elif verdict.fate is Fate.RETRY:
            reason = verdict.reason or Reason(Code.VENDOR_UNAVAILABLE, f"{self.name} did not take it.")
        else:
            return verdict
        told = msgspec.structs.replace(reason, message=self._redacted(reason.message))
        return msgspec.structs.replace(verdict, reason=told)

    def _redacted(self, text: str) -> str:
        # A lone surrogate would break whatever writes the reason.
        return redact(text, self._secrets).encode("utf-8", "replace").decode()


def _are_verdicts(found: Sequence[object]) -> bool:
    """Return whether a reader gave verdicts; mostly it is the same one many times."""
    return {*map(type, found)} <= {Verdict} or all(isinstance(one, Verdict) for one in found)


def _unanswered(endpoint: BoundEndpoint, silence: Reason) -> Verdict:
    """Return what becomes of items that got no answer: they are sent again, unless that would count them twice."""
    if isinstance(silence, Silence) and silence.setup:
        return Verdict(Fate.SETUP, Reason(silence.code, silence.message))
    if endpoint.resends or (isinstance(silence, Silence) and not silence.sent):
        return Verdict(Fate.RETRY, Reason(silence.code, silence.message))
    message = f"{silence.message} The items may have arrived; they are not sent again, so that nothing counts twice."
    return Verdict(Fate.REFUSED, Reason(silence.code, message))


def all_delivered(verdicts: Sequence[Verdict]) -> bool:
    """Return whether a reader gave one and the same verdict for all items, and it is that they were delivered."""
    first = verdicts[0]
    return first.fate is _DELIVERED and verdicts.count(first) == len(verdicts)


def _progressing(verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
    fates = {verdict.fate for verdict in verdicts}
    if fates == {Fate.RESEND}:
        return [Verdict(Fate.RETRY)] * len(verdicts)
    if fates == {Fate.SPLIT} and len(verdicts) == 1:
        message = "The vendor finds a request with this item alone too large."
        return [Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, message))]
    return verdicts


def again(left: tuple[Item, ...], *, split: bool) -> Iterator[tuple[Item, ...]]:
    """Yield the requests in which items have to be sent again, in their order; `split`: in two halves."""
    if len(left) > 1 and split:
        half = len(left) // 2
        yield left[:half]
        yield left[half:]
    elif left:
        for request in pack(left):
            yield request.items

"""How RudderStack answers, and turnout's gateway in its place.

Sources: the gateway code of rudder-server, whose answers are plain text; the documentation, which knows 200 and 400.
"""

from __future__ import annotations

from turnout import Answer, Code, Fate, Reason, Verdict, read_gateway, read_status

__all__ = ["read_batch"]

_SETTINGS = frozenset({*range(300, 400), 401, 403, 404, 405, 407, 415})
"""Statuses for which no event is at fault: the write key, the source, the address, or gzip is."""
_OF_KEYS = (b"invalid write key", b"failed to read writekey")


def read_batch(answer: Answer, count: int) -> list[Verdict]:
    """Judge the events of a batch together, since one that is at fault fails all of them.
    A 400 or 413 halves the request, until the event at fault stands alone and is refused. A 200 is delivered. Where
    turnout's gateway answers in RudderStack's place, its 200 names the events that it refused: they alone are. A 200
    with an HTML page is none of RudderStack's. A refused write key, a disabled source (404) and a wrong address are a
    matter of the settings. 408, 425, 429 and server errors are tried again, after `Retry-After`.
    """
    status = answer.status
    if 200 <= status < 300:
        strange = answer.body.lstrip().startswith(b"<")
        return [_strange(answer)] * count if strange else read_gateway(answer, count)
    if status in _SETTINGS or (status == 400 and answer.body.strip().lower().startswith(_OF_KEYS)):
        return [_setup(answer)] * count
    if status in (400, 413):
        return [Verdict(Fate.SPLIT) if count > 1 else _refused(answer.words())] * count
    return read_status(answer, count)


def _strange(answer: Answer) -> Verdict:
    """Return the verdict on a 200 with an HTML page, such as a proxy's: nobody knows what was stored."""
    return Verdict(Fate.RETRY, Reason(Code.VENDOR_UNAVAILABLE, f"This is no answer of RudderStack: {answer.words()}"))


def _refused(words: str) -> Verdict:
    return Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, words))


def _setup(answer: Answer) -> Verdict:
    words = f"{answer.words()}. Check write_key, data_plane_url, base_url and gzip."
    return Verdict(Fate.SETUP, Reason(Code.CREDENTIALS_REFUSED, words))

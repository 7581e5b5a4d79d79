"""Handing pulled events to a running gateway: what `turnout pull --gateway` does, as a sink.

    pull(source, Posting("http://127.0.0.1:8080", write_key, refused=print), {"identifier": ["u-1"]})

Only one process accepts into a log. While a gateway does, others give it their events as any sender does: by
`/v1/batch`, with a write key. It answers when they are durably in its log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

from turnout._json import encode
from turnout.answer import Answer
from turnout.errors import ConfigError, Refusal, TurnoutError
from turnout.reasons import Code
from turnout.sending import Fetcher

__all__ = ["Posting"]

_PATH = "/v1/batch"
_LARGEST = 400_000
"""Bytes of a batch, as long as no single event is larger; a gateway takes 512,000 unless it is told otherwise."""
_LONGEST_ANSWER = 10_000_000
"""Bytes; one that refuses every event of a batch has less."""
_REASONS = {
    401: "it refuses the write key. Compare the source's write_key with that of the gateway's configuration",
    403: "it refuses the write key. Compare the source's write_key with that of the gateway's configuration",
    404: "there is no gateway at this address",
}


class _Rejected(msgspec.Struct):
    """What a gateway says of events that it did not take: one at `index`, or `count` from there on."""

    index: int
    code: str = ""
    message: str = ""
    path: str | None = None
    count: int | None = None


class _Told(msgspec.Struct):
    success: bool
    rejected: list[_Rejected] = []


class Posting:
    """A sink that hands events to the gateway at `url`; `refused` is called for each that it can't accept.

    `make` gives the `Fetcher` for the requests. Raises `ConfigError` for an address that is none.
    """

    def __init__(
        self,
        url: str,
        write_key: str,
        refused: Callable[[Refusal], object],
        make: Callable[[], Fetcher] | None = None,
    ) -> None:
        self._url, self._key, self._refused = _address(url), write_key, refused
        self._make = make or (lambda: Fetcher(secrets=[write_key]))

    async def __call__(self, events: list[dict[str, Any]]) -> None:
        """Return when the events are durably in the gateway's log; raises `TurnoutError` when they are not."""
        async with self._make() as fetch:
            for lot in _lots([_named(event) for event in events]):
                await self._post(fetch, lot)

    async def _post(self, fetch: Fetcher, lot: list[bytes]) -> None:
        answer = await self._answer(fetch, b'{"batch":[%b]}' % b",".join(lot))
        if answer.status == 413 and len(lot) > 1:
            half = len(lot) // 2
            await self._post(fetch, lot[:half])
            await self._post(fetch, lot[half:])
        elif answer.status == 413:
            self._refused(Refusal(Code.BODY_TOO_LARGE, f"The gateway takes no event of {len(lot[0]):,} bytes."))
        else:
            await self._settle(fetch, lot, self._told(answer))

    async def _answer(self, fetch: Fetcher, body: bytes) -> Answer:
        headers = {"content-type": "application/json"}
        given = {"content": body, "headers": headers, "auth": (self._key, "")}
        async with fetch.stream("POST", self._url + _PATH, **given) as (answer, pieces):
            told = bytearray()
            async for piece in pieces:
                told += piece
                if len(told) > _LONGEST_ANSWER:
                    break
            return Answer(answer.status, answer.headers, bytes(told))

    def _told(self, answer: Answer) -> _Told:
        """Return what a gateway answered; raises `TurnoutError` unless it is one and has taken the batch."""
        try:
            told = msgspec.json.decode(answer.body, type=_Told)
        except msgspec.DecodeError:
            told = _Told(success=False)
        if answer.status != 200 or not told.success:
            reason = _REASONS.get(answer.status, "its answer is not that of a gateway that has kept them")
            raise TurnoutError(f"{self._url} did not take the events: {reason} (status {answer.status}).")
        return told

    async def _settle(self, fetch: Fetcher, lot: list[bytes], told: _Told) -> None:
        for one in told.rejected:
            if one.count is not None:  # more than it takes in one batch
                await self._post(fetch, lot[one.index :])
            else:
                code = Code(one.code) if one.code in set(Code) else Code.BAD_REQUEST
                self._refused(Refusal(code, one.message, one.path))


def _address(url: str) -> str:
    """Return the address of a gateway without the path that all of its calls have."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        good = good and not (parts.query or parts.fragment)
    except ValueError:
        good = False
    if not good:
        raise ConfigError("A gateway's address is one such as http://127.0.0.1:8080, with its scheme and host.")
    return url.rstrip("/").removesuffix("/v1")


def _named(event: Mapping[str, Any]) -> bytes:
    """Return the text of an event with a message id, so that a request which is repeated counts once."""
    told = {key: value for key, value in event.items() if key != "projectId"}
    return encode(told if told.get("messageId") else {**told, "messageId": str(uuid4())})


def _lots(texts: list[bytes]) -> Iterator[list[bytes]]:
    """Yield the events in batches that a gateway takes."""
    lot: list[bytes] = []
    size = 0
    for text in texts:
        if lot and size + len(text) > _LARGEST:
            yield lot
            lot, size = [], 0
        lot.append(text)
        size += len(text) + 1
    if lot:
        yield lot

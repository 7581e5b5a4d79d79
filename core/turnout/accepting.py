"""Acceptance: events are checked, deduplicated and kept in the log before the sender is told."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from itertools import compress

import msgspec

from turnout._json import compact
from turnout._times import iso
from turnout.body import told_message_id
from turnout.dedupe import Seen, key_of
from turnout.errors import Refusal
from turnout.event import Event
from turnout.log import Entries, Log, LogError
from turnout.reasons import Reason
from turnout.settings import Config

__all__ = ["Acceptor", "Receipt", "now_ms", "stored"]

_logger = logging.getLogger("turnout")
_SILENCE = 10.0
"""Seconds after which it is said again whether the log can be written."""
_GROUP = 2000
"""Events that are kept with one commit at most."""


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Receipt(msgspec.Struct, frozen=True):
    """What became of one event at acceptance: it is in the log, it was there already, or it can't be accepted."""

    message_id: str | None
    """Its message id; of one that was refused, as far as it can be read."""
    position: int | None = None
    """Its position in the log; None for a copy or one that was refused."""
    duplicate: bool = False
    """Whether the same source had sent the same message id before."""
    reason: Reason | None = None
    """Why it was refused."""

    @property
    def accepted(self) -> bool:
        """Return whether the event is safe: kept now, or before."""
        return self.reason is None


class _Job(msgspec.Struct):
    """Events of one call, and who waits for them."""

    texts: Sequence[bytes]
    keys: Sequence[bytes]
    answer: Future[Sequence[int | None]]


class Acceptor:
    """Keeps events in a log; use it as a context manager. It may be used from several threads and event loops.

    Many calls share one commit: what comes while a commit is under way goes with the next one. `clock` gives
    milliseconds since 1970. `settings` is the section `[log]`.
    """

    def __init__(self, log: Log, settings: Config, clock: Callable[[], int]) -> None:
        self.log = log
        self.seen = Seen(int(settings.dedupe_hours * 3_600_000), settings.dedupe_megabytes * 1_000_000)
        self._clock = clock
        self._since = int(settings.dedupe_hours * 3_600_000)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._counting = threading.Lock()
        self._gatherings: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Gathering] = weakref.WeakKeyDictionary()
        self.waiting_bytes = 0
        """What waits to be kept, or is being kept."""
        self.writable = True
        """Whether the last commit was kept."""
        self._said, self._said_at = True, -_SILENCE

    def __enter__(self) -> Acceptor:
        self._own = self.log.own("accept")
        self._own.__enter__()
        for at_ms, keys in self.log.keys(self._clock() - self._since):
            for key in keys:
                self.seen.add(key, at_ms)
        self._thread = threading.Thread(target=self._write, name="turnout-accept", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._jobs.put(None)
        if self._thread:
            self._thread.join()
        self._own.__exit__(None, None, None)

    def accept(self, events: Sequence[Event | Refusal]) -> list[Receipt]:
        """Return a receipt for each event, once all that can be accepted are durably in the log.

        Raises `LogFull` when there is no room, and then none of them was kept.
        """
        texts, keys = _kept(events)
        size = self._wait_for(sum(map(len, texts)))
        try:
            return _receipts(events, self._submit(texts, keys).result())
        finally:
            self._wait_for(-size)

    async def accept_async(self, events: Sequence[Event | Refusal]) -> list[Receipt]:
        """Do the same from asyncio."""
        return _receipts(events, await self.keep(*_kept(events)))

    def check(self) -> bool:
        """Return whether events can be kept: as the last commit says, or after one that failed, what is true by now."""
        if not self.writable:
            with suppress(LogError):
                self.log.append(Entries([]))
                self._can_write(True)
        return self.writable

    def _can_write(self, can: bool, error: Exception | None = None) -> None:
        """Note whether the log can be written.

        It is said when it changes, and not more often than now and then: at the brink of a full log small calls are
        kept and large ones are not.
        """
        self.writable, now = can, time.monotonic()
        if can is not self._said and now - self._said_at >= _SILENCE:
            self._said, self._said_at = can, now
            if can:
                _logger.warning("Events are kept again.")
            else:
                _logger.error("Events can't be kept, and their senders are told so: %s", error)

    async def keep(self, texts: Sequence[bytes], keys: Sequence[bytes]) -> Sequence[int | None]:
        """Return the position of each text, once all are durably in the log; None for one that was kept before.

        `keys` tell which are the same, as `dedupe.key_of` makes them. Raises as `accept` does.
        """
        loop = asyncio.get_running_loop()
        gathering = self._gatherings.get(loop)
        if gathering is None:
            gathering = self._gatherings[loop] = _Gathering(loop, self._submit)
        size = self._wait_for(sum(map(len, texts)))
        try:
            return await gathering.keep(texts, keys)
        finally:
            self._wait_for(-size)

    def _wait_for(self, size: int) -> int:
        """Count so many bytes as waiting, from when a call comes to its answer; return them."""
        with self._counting:
            self.waiting_bytes += size
        return size

    def _submit(self, texts: Sequence[bytes], keys: Sequence[bytes]) -> Future[Sequence[int | None]]:
        answer: Future[Sequence[int | None]] = Future()
        if not texts:
            answer.set_result([])
            return answer
        self._jobs.put(_Job(texts, keys, answer))
        return answer

    def _write(self) -> None:
        """Keep what is submitted, group by group, until None comes."""
        while (job := self._jobs.get()) is not None:
            jobs, last = [job], False
            while sum(len(one.texts) for one in jobs) < _GROUP:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                    break
                jobs.append(more)
            self._keep(jobs)
            if last:
                return

    def _keep(self, jobs: Sequence[_Job]) -> None:
        now, add_all = self._clock(), self.seen.add_all
        texts: list[bytes] = []
        keys: list[bytes] = []
        fresh: list[list[bool]] = []
        for job in jobs:
            news = add_all(job.keys, now)
            fresh.append(news)
            if all(news):
                texts += job.texts
                keys += job.keys
            else:
                texts += compress(job.texts, news)
                keys += compress(job.keys, news)
        try:
            position = self.log.append(Entries(texts, keys, now)) if texts else 0
        except Exception as error:
            self.seen.remove(keys)
            self._can_write(False, error)
            if not isinstance(error, LogError):
                _logger.exception("Events could not be kept.")
            for job in jobs:
                job.answer.set_exception(error)
            return
        if texts:
            self._can_write(True)
        for job, news in zip(jobs, fresh, strict=True):
            following = position + sum(news)
            places = iter(range(position, following))
            job.answer.set_result([next(places) if new else None for new in news])
            position = following


class _Gathering:
    """The calls of one event loop: those that come during a commit share the next one, and one way to the thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        submit: Callable[[Sequence[bytes], Sequence[bytes]], Future[Sequence[int | None]]],
    ) -> None:
        self._loop, self._submit = weakref.ref(loop), submit
        self._waiting: list[tuple[Sequence[bytes], Sequence[bytes], asyncio.Future[Sequence[int | None]]]] = []
        self._busy = False

    async def keep(self, texts: Sequence[bytes], keys: Sequence[bytes]) -> Sequence[int | None]:
        """Return the positions of the texts, once they are kept."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[int | None]] = loop.create_future()
        self._waiting.append((texts, keys, answer))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._flush)
        return await answer

    def _flush(self) -> None:
        calls, self._waiting = self._waiting, []
        texts = [text for texts, _, _ in calls for text in texts]
        keys = [key for _, keys, _ in calls for key in keys]
        sizes = [(len(texts), answer) for texts, _, answer in calls]
        self._submit(texts, keys).add_done_callback(lambda kept: self._tell(kept, sizes))

    def _tell(self, kept: Future[Sequence[int | None]], sizes: _Sizes) -> None:
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._done, kept, sizes)

    def _done(self, kept: Future[Sequence[int | None]], sizes: _Sizes) -> None:
        error, first = kept.exception(), 0
        for number, answer in sizes:
            if answer.done():  # nobody waits for it any more
                pass
            elif error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(kept.result()[first : first + number])
            first += number
        if self._waiting:
            self._flush()
        else:
            self._busy = False


_Sizes = Sequence[tuple[int, "asyncio.Future[Sequence[int | None]]"]]


def _kept(events: Sequence[Event | Refusal]) -> tuple[list[bytes], list[bytes]]:
    """Return the texts of the good events as they are kept, and their keys for deduplication."""
    good = [event for event in events if isinstance(event, Event)]
    keys = [key_of(event.write_key or event.project_id or "", event.message_id) for event in good]
    return [stored(event) for event in good], keys


def _receipts(events: Sequence[Event | Refusal], positions: Sequence[int | None]) -> list[Receipt]:
    found = iter(positions)
    receipts = []
    for event in events:
        if isinstance(event, Refusal):
            told = None if event.source is None else told_message_id(event.source, lambda _: None)
            receipts.append(Receipt(told, reason=event.reason))
        else:
            position = next(found)
            receipts.append(Receipt(event.message_id, position, position is None))
    return receipts


def stored(event: Event) -> bytes:
    """Return an event as the log keeps it: as it came, with the stamps that were made for it.

    Normalised again it is an equal event, whatever the clock says then. A key that the sender gave as well stands
    twice: the last one counts.
    """
    project = b"" if event.project_id is None else b',"projectId":' + compact(event.project_id)
    stamps = (_received(event.received_at), b',"messageId":', compact(event.message_id), project, b"}")
    return event.raw.rstrip()[:-1] + b"".join(stamps)


@lru_cache(maxsize=16)
def _received(time: datetime) -> bytes:
    """Return the stamp of an arrival, which the events of a batch share."""
    return b',"receivedAt":"%b"' % iso(time).encode()

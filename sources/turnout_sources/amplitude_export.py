"""The source `amplitude_export`: the events of an Amplitude project, hour by hour, for any other destination.

Facts are those of Amplitude's Export API: whole hours in UTC by the time of upload, both ends included; an hour is
there two hours after its end; 404 means that an hour has no events. Each hour is one request, the least that can be
asked for, kept in a temporary file and read a line at a time. How far it came is remembered, so that no hour is
exported twice: most destinations don't know an event again. For the same reason nothing is taken of an hour whose
archive is damaged: it is checked first, and the next pull asks for the hour again.

Property changes of users and groups, `$identify` and `$groupidentify`, are no events; `include_identify` asks for the
first. Every other event becomes a track call.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from turnout import (
    Checkpoint,
    Code,
    Config,
    Fetcher,
    FetchError,
    Found,
    Payload,
    Refusal,
    Section,
    SettingsError,
    Source,
    SourceSettings,
    decoded,
)
from turnout.settings import choice, flag, integer, names, text, url
from turnout_sources._exported_events import (
    context_of,
    ids_of,
    message_id_of,
    object_at,
    options_of,
    time_of,
    with_revenue,
)

__all__ = ["AmplitudeExport", "AmplitudeExportSettings", "PullOptions"]

_logger = logging.getLogger("turnout")
_BASES = {"standard": "https://amplitude.com", "EU": "https://analytics.eu.amplitude.com"}
_PATH = "/api/2/export"
_HOUR = timedelta(hours=1)
_HOUR_TOLD = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})[T ](\d{2})(?::?00)?Z?", re.ASCII)
_LONGEST_LINE = 16 * 1024 * 1024
_PIECE = 1 << 20
_LARGEST_ARCHIVE = 5_000_000_000
"""Bytes of what is kept on the disk for an hour; Amplitude exports 4 GB at most."""
_NOT_EVENTS = ("$identify", "$groupidentify")
_BROKEN = (
    zipfile.BadZipFile, OSError, EOFError, zlib.error, RuntimeError, NotImplementedError, ValueError, LookupError,
    struct.error,
)  # fmt: skip


class AmplitudeExportSettings(SourceSettings):
    """The settings of the source `amplitude_export`."""

    api_key = text("The project's API key.", secret=True)
    secret_key = text("The project's secret key.", secret=True)
    region = choice("Where the project's data is.", ["standard", "EU"], default="standard")
    base_url = url("Another address than that of the region, for simulators and proxies.")
    lag_hours = integer(
        "How long after its end an hour is complete; earlier it is not asked for.", default=3, minimum=0, maximum=72
    )
    property_fields = names(
        "Fields of the exported event that become properties, such as country; a user property of the same name wins."
    )
    include_identify = flag("Also yield `$identify` events, as identify calls; without it they are left out.")


class PullOptions(Section):
    """What one pull may be told."""

    from_ = text("The first hour in UTC, as in 2026-11-01T00; by default the one behind the last pull's.")
    to = text("The last hour, itself included; by default the last one that is complete.")
    lag_hours = integer("Hours of lag for this pull; 0: those of the setting lag_hours.", minimum=0, maximum=72)
    take_damaged = flag(
        "Take what can be read of an hour whose archive is damaged, and go on; without it, the pull ends there, and "
        "the next one asks for the hour again."
    )


class AmplitudeExport(Source):
    """Amplitude's Export API: the events of a project, by hours.

    A payload is a file of an export (JSON lines, also packed), or a list of exported events. Each becomes a track call.
    """

    name = "Amplitude Export"
    settings = AmplitudeExportSettings
    options = PullOptions

    def read(self, payload: Payload) -> Iterator[Found]:
        """Yield a track call for each exported event, and a refusal for each that can't be read."""
        if isinstance(payload, Mapping):
            yield from self._exported(decoded(payload), "", "")
            return
        if isinstance(payload, list):
            yield from self._listed(payload)
            return
        raw = payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else payload
        if not isinstance(raw, bytes):
            raise Refusal(Code.BAD_REQUEST, "The payload must be a file of an export, or a list of exported events.")
        with tempfile.TemporaryFile() as file:
            file.write(raw)
            file.seek(0)
            if raw.startswith(b"PK"):
                yield from self._archived(file)
            elif _first(file) == b"[":
                yield from self._listed(raw)
            else:
                yield from self._lines(file, "")

    def _listed(self, payload: Payload) -> Iterator[Found]:
        for index, one in enumerate(decoded(payload)):
            yield from self._exported(one, f"/{index}", "")

    async def pull(
        self, fetch: Fetcher, options: Config, state: Mapping[str, Any]
    ) -> AsyncIterator[Found | Checkpoint]:
        """Yield the events of each hour that is complete, with a checkpoint behind each hour.

        An archive that is damaged anywhere ends the pull before anything of its hour is taken, so that the hour is
        asked for again and nothing is there twice. With `take_damaged` what can be read of it is taken.
        """
        if not (self.config.api_key and self.config.secret_key):
            raise SettingsError(f"source '{self.id}': Settings 'api_key' and 'secret_key' are required to pull.")
        hours = self._hours(options, state, fetch.clock())
        before = str(state.get("hour") or "")
        for number, hour in enumerate(hours, 1):
            with tempfile.TemporaryFile() as file:
                if await self._fetched(fetch, hour, file):
                    if not options.take_damaged:
                        await _check(hour, file)
                    for found in self._archived(file):
                        yield found
            # Hours that are pulled again don't put the state back.
            yield Checkpoint({"hour": max(before, _named(hour))}, number, len(hours))

    def _hours(self, options: Config, state: Mapping[str, Any], clock: datetime) -> list[datetime]:
        """Return the hours to ask for: closed ones only, none before the first that is wanted."""
        now = clock.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        closed = now - _HOUR * (1 + int(options.lag_hours or self.config.lag_hours))
        if options.from_:
            first = self._hour(options.from_, "from")
        elif state.get("hour"):
            first = self._hour(str(state["hour"]), "hour") + _HOUR
        else:
            raise SettingsError(
                f"source '{self.id}': Say with --from where the first pull begins, as in 2026-11-01T00."
            )
        last = self._hour(options.to, "to") if options.to else closed
        if options.from_ and last < first and options.to:
            raise SettingsError(f"source '{self.id}': --to is {_named(last)}, before the first hour, {_named(first)}.")
        if last > closed:
            _logger.warning("The hours after %s are not complete yet; they are left to a later pull.", _named(closed))
            last = closed
        return [first + _HOUR * number for number in range(max(0, int((last - first) / _HOUR) + 1))]

    def _hour(self, told: str, name: str) -> datetime:
        found = _HOUR_TOLD.fullmatch(told.strip())
        try:
            if found:
                return datetime(*map(int, found.groups()), tzinfo=UTC)  # type: ignore[misc, arg-type]
        except ValueError:
            pass
        raise SettingsError(
            f"source '{self.id}': '{name}' must be an hour in UTC, as in 2026-11-01T00, not {told[:40]!r}."
        )

    async def _fetched(self, fetch: Fetcher, hour: datetime, file: IO[bytes]) -> bool:
        """Write the archive of an hour into a file, and return whether there is one."""
        base = (self.config.base_url or _BASES[self.config.region]).rstrip("/")
        asked = {"start": hour.strftime("%Y%m%dT%H"), "end": hour.strftime("%Y%m%dT%H")}
        auth = (self.config.api_key, self.config.secret_key)
        async with fetch.stream("GET", base + _PATH, params=asked, auth=auth) as (answer, pieces):
            if answer.status == 200:
                async for piece in pieces:
                    file.write(piece)
                    if file.tell() > _LARGEST_ARCHIVE:
                        raise FetchError(f"Amplitude's export of {_named(hour)} is too large: over 5 GB.")
                return True
            words = b"".join([piece async for piece in pieces])[:500].decode("utf-8", "replace")
        if answer.status == 404:
            return False
        raise FetchError(
            f"Amplitude's export of {_named(hour)} failed: {_why(answer.status)} {words}".strip(), answer.status
        )

    def _archived(self, file: IO[bytes]) -> Iterator[Found]:
        """Yield the events of an archive, entry by entry; a broken entry is told, and the others go on."""
        file.seek(0)
        try:
            archive = zipfile.ZipFile(file)
        except _BROKEN as error:
            message = f"The archive can't be opened: {_dotless(error)}. It is cut off, or no zip."
            yield Refusal(Code.BAD_REQUEST, message)
            return
        with archive:
            for entry in _files(archive):
                try:
                    packed = archive.open(entry)
                except _BROKEN as error:
                    yield Refusal(Code.BAD_REQUEST, f"{entry.filename} can't be read: {_dotless(error)}.")
                    continue
                with packed:
                    yield from self._lines(packed, entry.filename)

    def _lines(self, file: IO[bytes], place: str) -> Iterator[Found]:
        """Yield the events of a file of lines, packed or not, and a refusal where it can't be read any further."""
        lines = _numbered(file)
        number = 0
        while True:
            try:
                number, line = next(lines)
            except StopIteration:
                return
            except _BROKEN as error:
                name = place or "The payload"
                message = f"{name} can't be read behind line {number}: {_dotless(error)}. It is damaged or cut off."
                yield Refusal(Code.BAD_REQUEST, message)
                return
            where = f"{place}, line {number}" if place else f"line {number}"
            try:
                told = _told(line)
            except Refusal as refusal:
                yield Refusal(refusal.reason.code, f"{where}: {refusal.reason.message}", refusal.reason.path)
            else:
                yield from self._exported(told, "", where)

    def _exported(self, told: Any, path: str, where: str) -> Iterator[Found]:
        try:
            event = self._event(told, path)
        except Refusal as refusal:
            before = f"{where}: " if where else ""
            event = Refusal(refusal.reason.code, before + refusal.reason.message, refusal.reason.path)
        if event is not None:
            yield event

    def _event(self, told: Any, path: str) -> Found | None:
        if not isinstance(told, Mapping):
            raise Refusal(Code.BAD_REQUEST, "An exported event must be an object.", path)
        kind = told.get("event_type")
        if not isinstance(kind, str) or not kind:
            raise Refusal(Code.EVENT_NOT_DEFINED, "The event has no `event_type`.", f"{path}/event_type")
        if kind in _NOT_EVENTS and not (kind == "$identify" and self.config.include_identify):
            return None
        event = {
            "type": "identify" if kind == "$identify" else "track",
            **ids_of(told, path),
            "messageId": message_id_of(told),
            "timestamp": time_of(told, path),
            "context": context_of(told, path),
        }
        if kind == "$identify":
            return event | {"traits": object_at(told, "user_properties", path)}
        options = options_of(told)
        return (
            event
            | {"event": kind, "properties": self._properties(told, path)}
            | ({"integrations": {"Amplitude": options}} if options else {})
        )

    def _properties(self, told: Mapping[str, Any], path: str) -> dict[str, Any]:
        of_user = object_at(told, "user_properties", path)
        chosen = {name: of_user.get(name, told.get(name)) for name in self.config.property_fields}
        return {
            **{name: value for name, value in chosen.items() if value is not None},
            **with_revenue(object_at(told, "event_properties", path)),
        }


async def _check(hour: datetime, file: IO[bytes]) -> None:
    """Raise `FetchError` when the archive of an hour is damaged."""
    damage = await asyncio.to_thread(_damage, file)
    if damage:
        way_out = f"with --take-damaged, or go on behind it with --from {_named(hour + _HOUR)}"
        raise FetchError(
            f"Amplitude's export of {_named(hour)} is damaged: {damage}. Nothing of this hour was taken; the next pull "
            f"asks for it again. If it stays so, take what can be read {way_out}."
        )


def _damage(file: IO[bytes]) -> str:
    """Return what of an archive can't be read; nothing when all of it can."""
    name = "the archive"
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in _files(archive):
                name = entry.filename
                with archive.open(entry) as packed:
                    unpacked = _unpacking(packed)
                    while unpacked.read(_PIECE):
                        pass
    except _BROKEN as error:
        return f"{name} can't be read ({_dotless(error)})"
    return ""


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [entry for entry in archive.infolist() if not entry.filename.endswith("/")]


def _named(hour: datetime) -> str:
    return hour.strftime("%Y-%m-%dT%H")


def _dotless(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _unpacking(file: IO[bytes]) -> IO[bytes]:
    """Return the file from its start, unpacked if it is gzip."""
    file.seek(0)
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[return-value]


def _first(file: IO[bytes]) -> bytes:
    """Return the first byte that is no blank; nothing when there is none near the start, or it can't be read."""
    try:
        return _unpacking(file).read(4096).lstrip()[:1]
    except _BROKEN:
        return b""


def _numbered(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank with their numbers; of one that is too long, the beginning."""
    lines = _unpacking(file)
    number = 0
    while line := lines.readline(_LONGEST_LINE):
        number += 1
        rest = line
        while len(rest) == _LONGEST_LINE and not rest.endswith(b"\n"):
            rest = lines.readline(_LONGEST_LINE)
        if line.strip():
            yield number, line


def _told(line: bytes) -> Any:
    if len(line) == _LONGEST_LINE:
        raise Refusal(Code.BODY_TOO_LARGE, f"The line has more than {_LONGEST_LINE:,} bytes.")
    if line.startswith(b"\x1f\x8b"):
        raise Refusal(Code.BAD_REQUEST, "The line is no JSON.")
    return decoded(line)


def _why(status: int) -> str:
    reasons = {
        400: "it refused the hour, which is the least that can be asked for; over 4 GB are too much (HTTP 400).",
        401: "it refused the keys; compare api_key, secret_key and region (HTTP 401).",
        403: "it refused the keys; compare api_key, secret_key and region (HTTP 403).",
        504: "the hour is too large, or Amplitude too slow; try again later (HTTP 504).",
    }
    return reasons.get(status, f"it answered HTTP {status}.")

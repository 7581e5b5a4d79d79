"""The source `amplitude_export`: the events of an Amplitude project, hour by hour, for any other destination.

Facts are those of Amplitude's Export API: whole hours in UTC by the time of upload, both ends included; an hour is
there two hours after its end; 404 means that an hour has no events. Each hour is one request, kept in a temporary file
and read a line at a time. How far it came is remembered, so that no hour is exported twice: most destinations don't
know an event again.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import tempfile
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
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

__all__ = ["AmplitudeExport", "AmplitudeExportSettings", "PullOptions"]

_logger = logging.getLogger("turnout")
_BASES = {"standard": "https://amplitude.com", "EU": "https://analytics.eu.amplitude.com"}
_PATH = "/api/2/export"
_HOUR = timedelta(hours=1)
_LONGEST_LINE = 16 * 1024 * 1024
_LONGEST_ID = 100
_CONTEXT: dict[str, tuple[str, ...]] = {
    "ip_address": ("ip",),
    "os_name": ("os", "name"),
    "os_version": ("os", "version"),
    "device_id": ("device", "id"),
    "device_type": ("device", "type"),
    "device_model": ("device", "model"),
    "device_brand": ("device", "brand"),
    "device_manufacturer": ("device", "manufacturer"),
    "version_name": ("app", "version"),
    "city": ("location", "city"),
    "country": ("location", "country"),
    "region": ("location", "region"),
    "location_lat": ("location", "latitude"),
    "location_lng": ("location", "longitude"),
    "device_carrier": ("network", "carrier"),
}
"""Where a field of an exported event goes in `context`."""
_REST = ("amplitude_id", "app", "platform", "library", "language", "device_family", "dma", "event_id", "session_id")
"""Fields without a place in the common spec; they stand in `context.amplitude`."""


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


class AmplitudeExport(Source):
    """Amplitude's Export API: the events of a project, by hours.

    A payload is a file of an export (JSON lines, also packed), or a list of exported events. Each becomes a track call.
    """

    name = "Amplitude Export"
    settings = AmplitudeExportSettings
    options = PullOptions
    clock: Callable[[], datetime] = staticmethod(lambda: datetime.now(UTC))

    def read(self, payload: Payload) -> Iterator[Found]:
        """Yield a track call for each exported event, and a refusal for each that can't be read."""
        if isinstance(payload, list):
            for index, one in enumerate(payload):
                yield from self._exported(one, f"/{index}", "")
            return
        if isinstance(payload, Mapping):
            yield from self._exported(payload, "", "")
            return
        raw = payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else payload
        with tempfile.TemporaryFile() as file:
            file.write(raw)
            file.seek(0)
            if zipfile.is_zipfile(file):
                yield from self._archived(file)
            else:
                file.seek(0)
                yield from self._lines(file, "")

    async def pull(
        self, fetch: Fetcher, options: Config, state: Mapping[str, Any]
    ) -> AsyncIterator[Found | Checkpoint]:
        """Yield the events of each hour that is complete, with a checkpoint behind each hour."""
        if not (self.config.api_key and self.config.secret_key):
            raise SettingsError(f"source '{self.id}': Settings 'api_key' and 'secret_key' are required to pull.")
        hours = self._hours(options, state)
        for number, hour in enumerate(hours, 1):
            with tempfile.TemporaryFile() as file:
                if await self._fetched(fetch, hour, file):
                    for found in self._archived(file):
                        yield found
            yield Checkpoint({"hour": _named(hour)}, number, len(hours))

    def _hours(self, options: Config, state: Mapping[str, Any]) -> list[datetime]:
        """Return the hours to ask for: closed ones only, none before the first that is wanted."""
        now = self.clock().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        closed = now - _HOUR * (1 + int(self.config.lag_hours))
        if options.from_:
            first = self._hour(options.from_, "from")
        elif state.get("hour"):
            first = self._hour(str(state["hour"]), "hour") + _HOUR
        else:
            raise SettingsError(
                f"source '{self.id}': Say with --from where the first pull begins, as in 2026-11-01T00."
            )
        last = self._hour(options.to, "to") if options.to else closed
        if last > closed:
            _logger.warning("The hours after %s are not complete yet; they are left to a later pull.", _named(closed))
            last = closed
        return [first + _HOUR * number for number in range(max(0, int((last - first) / _HOUR) + 1))]

    def _hour(self, told: str, name: str) -> datetime:
        try:
            return datetime.strptime(told.replace("-", "").replace(":", "")[:11], "%Y%m%dT%H").replace(tzinfo=UTC)
        except ValueError:
            raise SettingsError(
                f"source '{self.id}': '{name}' must be an hour in UTC, as in 2026-11-01T00, not {told!r}."
            ) from None

    async def _fetched(self, fetch: Fetcher, hour: datetime, file: IO[bytes]) -> bool:
        """Write the archive of an hour into a file, and return whether there is one."""
        base = self.config.base_url or _BASES[self.config.region]
        asked = {"start": hour.strftime("%Y%m%dT%H"), "end": hour.strftime("%Y%m%dT%H")}
        auth = (self.config.api_key, self.config.secret_key)
        async with fetch.stream("GET", base + _PATH, params=asked, auth=auth) as (answer, pieces):
            if answer.status == 200:
                async for piece in pieces:
                    file.write(piece)
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
        except zipfile.BadZipFile as error:
            raise FetchError(f"The archive of an hour can't be read: {error}. It is cut off, or no zip.") from None
        with archive:
            for entry in archive.infolist():
                try:
                    with archive.open(entry) as packed:
                        yield from self._lines(packed, entry.filename)
                except (zipfile.BadZipFile, OSError, EOFError, zlib.error, RuntimeError, NotImplementedError) as error:
                    yield Refusal(Code.BAD_REQUEST, f"{entry.filename} can't be read to its end: {error}.")

    def _lines(self, packed: IO[bytes], place: str) -> Iterator[Found]:
        head = packed.read(2)
        packed.seek(0)
        with gzip.open(packed) if head == b"\x1f\x8b" else packed as lines:
            number = 0
            while line := lines.readline(_LONGEST_LINE):
                number += 1
                where = f"{place}, line {number}" if place else f"line {number}"
                if not line.strip():
                    continue
                try:
                    told = decoded(line)
                except Refusal as refusal:
                    yield Refusal(refusal.reason.code, f"{where}: {refusal.reason.message}", refusal.reason.path)
                    continue
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
        if kind.startswith("$") and not (kind == "$identify" and self.config.include_identify):
            return None
        event = {
            "type": "identify" if kind == "$identify" else "track",
            **_ids(told, path),
            "messageId": _message_id(told),
            "timestamp": _time(told, path),
            "context": _context(told, path),
        }
        if kind == "$identify":
            return event | {"traits": _object(told, "user_properties", path)}
        options = _options(told)
        return (
            event
            | {"event": kind, "properties": self._properties(told, path)}
            | ({"integrations": {"Amplitude": options}} if options else {})
        )

    def _properties(self, told: Mapping[str, Any], path: str) -> dict[str, Any]:
        of_user = _object(told, "user_properties", path)
        chosen = {name: of_user.get(name, told.get(name)) for name in self.config.property_fields}
        return {
            **{name: value for name, value in chosen.items() if value is not None},
            **_object(told, "event_properties", path),
        }


def _named(hour: datetime) -> str:
    return hour.strftime("%Y-%m-%dT%H")


def _why(status: int) -> str:
    reasons = {
        400: "an hour of more than 4 GB can't be exported (HTTP 400).",
        401: "it refused the keys (HTTP 401).",
        403: "it refused the keys (HTTP 403).",
        504: "the hour is too large, or Amplitude too slow (HTTP 504).",
    }
    return reasons.get(status, f"it answered HTTP {status}.")


def _ids(told: Mapping[str, Any], path: str) -> dict[str, str]:
    """Return the user's id and the device's; raises `Refusal` when there is neither."""
    found = {}
    for name, key in (("user_id", "userId"), ("device_id", "anonymousId")):
        value = told.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and value:
            found[key] = value
    if not found:
        raise Refusal(Code.NO_USER_ANON_ID, "The event has neither a `user_id` nor a `device_id`.", path)
    return found


def _message_id(told: Mapping[str, Any]) -> str:
    """Return what tells this event from every other, the same in every export."""
    for name in ("uuid", "$insert_id"):
        value = told.get(name)
        if isinstance(value, str) and 0 < len(value) <= _LONGEST_ID:
            return value
    return hashlib.sha256(repr(sorted(told.items(), key=lambda one: one[0])).encode("utf-8", "replace")).hexdigest()[
        :32
    ]


def _time(told: Mapping[str, Any], path: str) -> str:
    """Return the time of an event: UTC, with up to six digits of a second, of which three are kept."""
    for name in ("event_time", "client_event_time", "server_received_time", "server_upload_time"):
        value = told.get(name)
        if value is None:
            continue
        try:
            time = datetime.fromisoformat(str(value)).replace(tzinfo=UTC)
        except ValueError:
            raise Refusal(Code.TIMESTAMP_INVALID, f"`{name}` is no time.", f"{path}/{name}") from None
        return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise Refusal(Code.TIMESTAMP_INVALID, "The event has no `event_time`.", f"{path}/event_time")


def _object(told: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    value = told.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(Code.FIELD_INVALID, f"`{name}` must be an object.", f"{path}/{name}")
    return value


def _context(told: Mapping[str, Any], path: str) -> dict[str, Any]:
    context: dict[str, Any] = {"library": {"name": "amplitude-export"}}
    for name, place in _CONTEXT.items():
        value = told.get(name)
        if value in (None, ""):
            continue
        if len(place) == 1:
            context[place[0]] = str(value)
        else:
            number = place[1] in ("latitude", "longitude") and isinstance(value, int | float)
            context.setdefault(place[0], {})[place[1]] = value if number else str(value)
    traits = _object(told, "user_properties", path)
    if traits:
        context["traits"] = traits
    rest = {name: told[name] for name in _REST if told.get(name) is not None}
    return context | ({"amplitude": rest} if rest else {})


def _options(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an Amplitude destination needs to put the event back where it was."""
    options: dict[str, Any] = {}
    session = told.get("session_id")
    if isinstance(session, int) and not isinstance(session, bool) and session > 0:
        options["session_id"] = session
    groups = told.get("groups")
    if isinstance(groups, dict) and groups:
        options["groups"] = groups
    return options

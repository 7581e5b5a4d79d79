"""The source `amplitude_cohorts`: who enters and who leaves a cohort of Amplitude becomes an identify call.

Facts are those of Amplitude's Behavioral Cohorts API (request, look, file) and of its cohort webhook. Each call tells
of one user and one cohort as Segment's audiences do (`context.personas`), and as Amplitude's own cohort sync does
(`context.integration`, and a trait called `[Amplitude] <name> (<id>)`).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import IO, Any
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from turnout import (
    Answer,
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
    wanted,
)
from turnout.settings import choice, integer, mapping, names, text, url
from turnout_sources._cohort_members import Changes, Kept, Rows, state_of

__all__ = ["AmplitudeCohorts", "AmplitudeCohortsSettings", "PullOptions"]

_BASES = {"standard": "https://amplitude.com", "EU": "https://analytics.eu.amplitude.com"}
_SYNC = {"name": "Amplitude Cohort Sync", "version": "1.0.0"}
_AT_ONCE = 60
"""Cohorts in one pull: Amplitude takes 60 requests in ten minutes."""
_REDIRECTS = 3
_LARGEST_FILE = 2_000_000_000


class AmplitudeCohortsSettings(SourceSettings):
    """The settings of the source `amplitude_cohorts`."""

    api_key = text("The project's API key.", secret=True)
    secret_key = text("The project's secret key.", secret=True)
    region = choice("Where the project's data is.", ["standard", "EU"], default="standard")
    base_url = url("Another address than that of the region, for simulators and proxies.")
    cohorts = names("Ids of the cohorts to pull, when none is named on the command line.")
    id_column = text("The column that has the user id: `user_id`, or the name of a user property.", default="user_id")
    trait_names = mapping("Names of traits by ids of cohorts, instead of `[Amplitude] <name> (<id>)`.")
    most_members = integer(
        "How many members a cohort may have; nothing of a larger one is sent. A segment of Split takes 100,000.",
        default=2_000_000,
        minimum=1,
    )
    poll_seconds = integer("Seconds between two looks whether a cohort is there.", default=5, minimum=1, maximum=600)
    poll_minutes = integer("Minutes after which it is waited for no longer.", default=30, minimum=1, maximum=1440)


class PullOptions(Section):
    """What one pull may be told."""

    cohort = names("The id of a cohort; by default those of the setting cohorts.")


class AmplitudeCohorts(Source):
    """Amplitude's cohorts: who entered and who left since the last pull.

    A payload is what Amplitude's cohort webhook posts, or a list of such. The first pull of a cohort tells of all its
    members, each later one of the differences. A cohort keeps the trait that it had first, also when it gets a new
    name.
    """

    name = "Amplitude Cohorts"
    settings = AmplitudeCohortsSettings
    options = PullOptions

    def read(self, payload: Payload) -> Iterator[Found]:
        """Yield an identify call for each user of a webhook's request, and a refusal for each that can't be read."""
        told = decoded(payload)
        for path, one in _each(told):
            try:
                yield from self._posted(one, path)
            except Refusal as refusal:
                yield refusal

    def _posted(self, told: Any, path: str) -> Iterator[Found]:
        wanted(told, dict, path, "What the cohort webhook posts")
        cohort = _filled(told.get("cohort_id"), f"{path}/cohort_id", "The id of the cohort")
        name = _filled(told.get("cohort_name"), f"{path}/cohort_name", "The name of the cohort")
        inside = wanted(told.get("in_cohort"), bool, f"{path}/in_cohort", "`in_cohort`")
        users = wanted(told.get("users"), list, f"{path}/users", "The users")
        when = _computed(told.get("computed_time"), f"{path}/computed_time")
        parts = [told.get("message_id"), cohort, inside, told.get("computed_time")]
        for index, user in enumerate(users):
            place = f"{path}/users/{index}"
            try:
                wanted(user, dict, place, "A user")
                who = _filled(user.get("user_id"), f"{place}/user_id", "The user id")
            except Refusal as refusal:
                yield refusal
            else:
                change = {**self._change(cohort, self._trait(cohort, name), who, parts, inside=inside), **when}
                if parts[0] is None and not when:  # nothing tells it from the next time that this user enters
                    del change["messageId"]
                yield change

    async def pull(
        self, fetch: Fetcher, options: Config, state: Mapping[str, Any]
    ) -> AsyncIterator[Found | Checkpoint]:
        """Yield who entered and who left each cohort since the last pull, with a checkpoint behind each cohort."""
        cohorts = self._asked(options)
        kept = {key: Kept.read(told, self.id, key) for key, told in dict(state.get("cohorts") or {}).items()}
        known = await self._names(fetch, cohorts)
        for number, cohort in enumerate(cohorts, 1):
            before = kept.get(cohort) or Kept(self._trait(cohort, known[cohort]))
            with tempfile.TemporaryFile() as file:
                await self._downloaded(fetch, cohort, file)
                rows = Rows(file, self.config.id_column, cohort)
                members = rows.members()
            for refusal in rows.refused:
                yield refusal
            if len(members) > self.config.most_members:
                yield self._too_many(cohort, len(members))
            else:
                changes = Changes(before, members, complete=not rows.refused)
                if changes.begun is not None:
                    yield Checkpoint(state_of({**kept, cohort: changes.begun}), number - 1, len(cohorts))
                for who, inside in changes:
                    yield self._pulled(cohort, before, who, inside=inside, size=len(members))
                kept[cohort] = changes.done
            yield Checkpoint(state_of(kept), number, len(cohorts))

    def _asked(self, options: Config) -> list[str]:
        """Return the cohorts that are meant; raises `SettingsError` before anything is asked for."""
        cohorts = list(dict.fromkeys(options.cohort or self.config.cohorts))
        fault = None
        if not (self.config.api_key and self.config.secret_key):
            fault = "Settings 'api_key' and 'secret_key' are required to pull."
        elif not cohorts:
            fault = "Name a cohort with --cohort, or in the setting 'cohorts'."
        elif len(cohorts) > _AT_ONCE:
            fault = f"{len(cohorts)} cohorts are too many for one pull; Amplitude takes {_AT_ONCE} requests at a time."
        if fault:
            raise SettingsError(f"source '{self.id}': {fault}")
        return cohorts

    def _trait(self, cohort: str, name: str) -> str:
        return str(self.config.trait_names.get(cohort) or f"[Amplitude] {name} ({cohort})")

    def _pulled(self, cohort: str, before: Kept, who: str, *, inside: bool, size: int) -> dict[str, Any]:
        parts = [self.config.api_key, self.config.base_url, cohort, before.run + 1, inside]
        return self._change(cohort, before.trait, who, parts, inside=inside, computation_size=size)

    def _change(
        self, cohort: str, trait: str, who: str, parts: list[Any], *, inside: bool, **more: Any
    ) -> dict[str, Any]:
        """Return the call for a user who entered or left."""
        personas = {"computation_class": "audience", "computation_key": trait, "computation_id": cohort, **more}
        return {
            "type": "identify",
            "userId": who,
            "messageId": "cohort-" + _digest([*parts, who]),
            "traits": {trait: inside},
            "context": {"personas": personas, "integration": _SYNC},
        }

    def _too_many(self, cohort: str, count: int) -> Refusal:
        message = (
            f"Cohort {cohort!r} has {count:,} members; most_members allows {self.config.most_members:,}. "
            "Nothing of it is sent. Make the cohort smaller, or raise the setting."
        )
        return Refusal(Code.VENDOR_WOULD_REFUSE, message)

    # Amplitude's API

    async def _names(self, fetch: Fetcher, cohorts: Iterable[str]) -> dict[str, str]:
        """Return the names of cohorts by their ids; raises `FetchError` for one that is not there."""
        told = _json(await self._get(fetch, "/api/3/cohorts"))
        listed = told.get("cohorts")
        found = {
            str(one["id"]): str(one.get("name") or one["id"])
            for one in (listed if isinstance(listed, list) else [])
            if isinstance(one, dict) and one.get("id")
        }
        missing = [cohort for cohort in cohorts if cohort not in found]
        if missing:
            raise FetchError(
                f"Amplitude has no cohort {missing[0]!r} in this project. Compare its id, keys and region."
            )
        return found

    async def _downloaded(self, fetch: Fetcher, cohort: str, file: IO[bytes]) -> None:
        """Write the file of a cohort's members."""
        params: dict[str, str] = {}
        if self.config.id_column not in ("user_id", "amplitude_id"):
            params = {"props": "1", "propKeys": self.config.id_column}
        path = f"/api/5/cohorts/request/{quote(cohort, safe='')}"
        request = _json(await self._get(fetch, path, params=params)).get("request_id")
        if not isinstance(request, str) or not request:
            raise FetchError(f"Amplitude began no request for the cohort {cohort!r}.")
        own = quote(request, safe="")
        await self._done(fetch, cohort, f"/api/5/cohorts/request-status/{own}")
        await self._file(fetch, cohort, f"/api/5/cohorts/request/{own}/file", file)

    async def _done(self, fetch: Fetcher, cohort: str, path: str) -> None:
        """Return when a request is done; raises `FetchError` when it fails or takes too long."""
        waited, pause = 0, int(self.config.poll_seconds)
        while True:
            answer = await self._get(fetch, path)
            status = _json(answer).get("async_status")
            if answer.status == 200 and status == "JOB COMPLETED":
                return
            if status not in ("JOB COMPLETED", "JOB INPROGRESS", "JOB IN PROGRESS", "JOB PENDING", None):
                raise FetchError(f"Amplitude could not compute the cohort {cohort!r}: {str(status)[:100]}.")
            if waited >= self.config.poll_minutes * 60:
                raise FetchError(
                    f"Amplitude took more than {self.config.poll_minutes} minutes for the cohort {cohort!r}. "
                    "Raise poll_minutes, or try again later."
                )
            await fetch.wait(pause)
            waited += pause

    async def _file(self, fetch: Fetcher, cohort: str, path: str, file: IO[bytes]) -> None:
        """Write a file that may be on another host, which must not see the keys."""
        address, given = self._base() + path, self._auth()
        for _ in range(_REDIRECTS + 1):
            async with fetch.stream("GET", address, **given) as (answer, pieces):
                if answer.status == 200:
                    await _written(pieces, file, cohort)
                    return
                if not 300 <= answer.status < 400 or not answer.headers.get("location"):
                    words = b"".join([piece async for piece in pieces])
                    raise _failed(Answer(answer.status, answer.headers, words), f"the file of cohort {cohort!r}")
            elsewhere = urljoin(address, answer.headers["location"])
            if urlsplit(elsewhere).scheme != "https" and urlsplit(address).scheme == "https":
                raise FetchError(f"Amplitude names an address without encryption for the cohort {cohort!r}.")
            address, given = elsewhere, {}
        raise FetchError(f"Amplitude sends from one address to the next for the cohort {cohort!r}.")

    async def _get(self, fetch: Fetcher, path: str, **given: Any) -> Answer:
        answer = await fetch.get(self._base() + path, **given, **self._auth())
        if answer.status not in (200, 202):
            raise _failed(answer, "cohorts")
        return answer

    def _base(self) -> str:
        return str(self.config.base_url or _BASES[self.config.region]).rstrip("/")

    def _auth(self) -> dict[str, Any]:
        return {"auth": (self.config.api_key, self.config.secret_key)}


async def _written(pieces: AsyncIterator[bytes], file: IO[bytes], cohort: str) -> None:
    async for piece in pieces:
        file.write(piece)
        if file.tell() > _LARGEST_FILE:
            raise FetchError(f"The file of the cohort {cohort!r} is too large: over 2 GB.")


def _json(answer: Answer) -> dict[str, Any]:
    try:
        told = decoded(answer.body)
    except Refusal:
        told = None
    if not isinstance(told, dict):
        raise FetchError("Amplitude answered with something that is no JSON object. Compare base_url.", answer.status)
    return told


def _failed(answer: Answer, what: str) -> FetchError:
    """Return why Amplitude did not hand out what it was asked for."""
    reasons = {
        401: "it refused the keys; compare api_key, secret_key and region",
        403: "it refused the keys; compare api_key, secret_key and region",
        404: "it does not know this, or no longer",
        429: "one of its limits is reached (500 files a month, 60 requests in ten minutes); try again later",
    }
    why = reasons.get(answer.status, "it did not hand this out")
    return FetchError(f"Amplitude, asked for {what}: {why} (HTTP {answer.status}).", answer.status)


def _each(told: Any) -> list[tuple[str, Any]]:
    """Return each part of a payload with its place."""
    return [(f"/{index}", one) for index, one in enumerate(told)] if isinstance(told, list) else [("", told)]


def _filled(value: Any, path: str, what: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or value == "":
        raise Refusal(Code.VALUE_REQUIRED, f"{what} is missing.", path)
    found: str = wanted(value, str, path, what)
    return found


def _computed(value: Any, path: str) -> dict[str, str]:
    """Return the timestamp of a webhook's calls; its time is a text of seconds."""
    if value is None:
        return {}
    try:
        if isinstance(value, bool):
            raise ValueError
        time = datetime.fromtimestamp(int(value), UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        raise Refusal(Code.TIMESTAMP_INVALID, "`computed_time` must be a number of seconds.", path) from None
    return {"timestamp": time.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]

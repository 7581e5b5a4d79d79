"""What the simulator hands out: exports of events by hours, and the members of cohorts.

Assumed where the documentation leaves it open: an hour is there two hours after its end; a request for a cohort is done
at the second look; the pre-signed address refuses a request that brings other credentials, as S3 does; a limit that is
reached is told as other errors of cohorts are. What two requests do in parallel is not limited.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from turnout.testing import Answer, Call, Handler
from turnout_amplitude._simulator_deletions import wrong
from turnout_amplitude._simulator_limits import Window

__all__ = ["Cohorts", "Exports"]

_HOUR = re.compile(r"\d{8}T\d{2}")
_LAG = timedelta(hours=2)
_LONGEST = timedelta(days=365)
_LARGEST = 4_000_000_000
_REQUESTS, _REQUESTS_MS = 60, 600_000
_DOWNLOADS, _MONTH_MS = 500, 30 * 86_400_000
_SIGNED_MS = 60_000
"""How long a pre-signed address is good for."""

Line = Mapping[str, Any] | bytes
"""A line of an export: an event, or bytes as they are."""


class Exports:
    """The Export API: `GET /api/2/export?start=…&end=…`, hours in UTC, both included."""

    def __init__(
        self, authorize: Callable[[Call], Answer | None], now_ms: Callable[[], int], app: int = 271828
    ) -> None:
        self._authorize, self._now_ms, self._app = authorize, now_ms, app
        self._hours: dict[datetime, list[bytes]] = {}
        self.largest_bytes = _LARGEST
        """How large an archive may be; a larger one is refused."""

    def clear(self) -> None:
        """Forget every hour."""
        self._hours.clear()

    def routes(self) -> Mapping[str, Handler]:
        """Return the paths of exports; the second one puts events into an hour."""
        return {"GET /api/2/export": self.get, "PUT /simulator/exports/{hour}": self._put}

    def _put(self, call: Call) -> Answer:
        try:
            lines = call.json()
            if not isinstance(lines, list):
                raise ValueError("the body has to be a list of events")
            self.add(call.params["hour"], lines)
        except ValueError as error:
            return wrong(400, "Bad Request", str(error))
        return Answer(200, {"events": len(lines)})

    def add(self, hour: str, lines: Iterable[Line]) -> None:
        """Add a file to an hour such as `2026-11-01T05`."""
        texts = [line if isinstance(line, bytes) else msgspec.json.encode(line) for line in lines]
        self._hours.setdefault(_hour(hour.replace("-", "")), []).append(b"".join(text + b"\n" for text in texts))

    def get(self, call: Call) -> Answer:
        """Answer a request for some hours."""
        refused = self._authorize(call)
        if refused:
            return refused
        start, end = call.args().get("start", ""), call.args().get("end", "")
        try:
            first, last = _asked_hour(start), _asked_hour(end)
        except ValueError:
            return wrong(400, "Bad Request", "start and end must be YYYYMMDDTHH")
        if last < first or last - first > _LONGEST:
            return wrong(400, "Bad Request", "the time range is too long, or ends before it starts")
        now = datetime.fromtimestamp(self._now_ms() / 1000, UTC)
        there = {
            hour: files
            for hour, files in sorted(self._hours.items())
            if first <= hour <= last and hour + timedelta(hours=1) + _LAG <= now
        }
        if not there:
            return wrong(404, "Not Found", "Raw data files were not found.")
        archive = self._archive(there)
        if len(archive) > self.largest_bytes:
            return wrong(400, "Bad Request", "The file size of the exported data is too large. Shorten the time range.")
        return Answer(200, archive, {"content-type": "application/zip"}, {"hours": len(there)})

    def _archive(self, hours: Mapping[datetime, list[bytes]]) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
            for hour, files in hours.items():
                for number, lines in enumerate(files):
                    name = f"{self._app}/{self._app}_{hour:%Y-%m-%d}_{hour.hour}#{number}.json.gz"
                    archive.writestr(name, gzip.compress(lines))
        return made.getvalue()


class Cohorts:
    """The Behavioral Cohorts API: a request, a look whether it is done, and the file with the members."""

    def __init__(
        self,
        authorize: Callable[[Call], Answer | None],
        now_ms: Callable[[], int],
        looks: int = 1,
        *,
        limited: bool = False,
    ) -> None:
        self._knows, self._now_ms, self._looks, self._limited = authorize, now_ms, looks, limited
        self._cohorts: dict[str, tuple[str, list[dict[str, str]]]] = {}
        self.clear_requests()

    def clear(self) -> None:
        """Forget every cohort and request."""
        self._cohorts.clear()
        self.clear_requests()

    def clear_requests(self) -> None:
        """Forget every request, and what counts for the limits."""
        self._asked: dict[str, tuple[str, int]] = {}
        self._signed: dict[str, int] = {}
        self._requests, self._downloads = Window(_REQUESTS_MS), Window(_MONTH_MS)

    def _authorize(self, call: Call) -> Answer | None:
        refused = self._knows(call)
        return _error(403, "Invalid API/Secret Key combination") if refused and refused.status == 403 else refused

    def routes(self) -> Mapping[str, Handler]:
        """Return the paths of cohorts; the last one makes a cohort."""
        return {
            "GET /api/3/cohorts": self.list,
            "GET /api/5/cohorts/request/{id}": self.ask,
            "GET /api/5/cohorts/request-status/{request}": self.look,
            "GET /api/5/cohorts/request/{request}/file": self.file,
            "GET /s3/cohorts/{request}": self.download,
            "PUT /simulator/cohorts/{id}": self._put,
        }

    def _put(self, call: Call) -> Answer:
        try:
            body = call.json()
            self.put(call.params["id"], str(body["name"]), body["members"])
        except (ValueError, TypeError, KeyError) as error:
            return wrong(400, "Bad Request", f"a cohort has a name and members: {error}")
        return Answer(200, {"members": len(body["members"])})

    def put(self, cohort_id: str, name: str, members: Iterable[str | Mapping[str, str]]) -> None:
        """Make a cohort, or replace it; a member is a user id, or a row of the file."""
        rows = [{"user_id": one} if isinstance(one, str) else dict(one) for one in members]
        self._cohorts[cohort_id] = (name, rows)

    def list(self, call: Call) -> Answer:
        """Answer `GET /api/3/cohorts`."""
        told = [
            {"id": key, "name": name, "size": len(rows), "archived": False, "lastComputed": self._now_ms() // 1000}
            for key, (name, rows) in self._cohorts.items()
        ]
        return self._authorize(call) or Answer(200, {"cohorts": told})

    def ask(self, call: Call) -> Answer:
        """Answer `GET /api/5/cohorts/request/{id}`."""
        refused = self._authorize(call)
        if refused:
            return refused
        cohort = call.params["id"]
        if cohort not in self._cohorts:
            return _error(404, "Cohort not found")
        if self._limited and not self._requests.admit("", self._now_ms(), 1, _REQUESTS):
            return _error(429, "More than 60 requests in 10 minutes")
        request = f"req-{len(self._asked) + 1}"
        self._asked[request] = (cohort, self._looks)
        return Answer(202, {"request_id": request, "cohort_id": cohort}, effect={"requested": cohort})

    def look(self, call: Call) -> Answer:
        """Answer `GET /api/5/cohorts/request-status/{request}`."""
        refused = self._authorize(call)
        if refused:
            return refused
        request = call.params["request"]
        if request not in self._asked:
            return _error(404, "Request not found")
        cohort, looks = self._asked[request]
        self._asked[request] = (cohort, max(0, looks - 1))
        done = "JOB COMPLETED" if not looks else "JOB INPROGRESS"
        told = {"request_id": request, "cohort_id": cohort, "async_status": done}
        return Answer(202 if looks else 200, told)

    def file(self, call: Call) -> Answer:
        """Answer `GET /api/5/cohorts/request/{request}/file` with the way to the file."""
        refused = self._authorize(call)
        if refused:
            return refused
        request = call.params["request"]
        if request not in self._asked or self._asked[request][1]:
            return _error(404, "Request not found, or not completed")
        if self._limited and not self._downloads.admit("", self._now_ms(), 1, _DOWNLOADS):
            return _error(429, "More than 500 downloads in a month")
        self._signed[request] = self._now_ms()
        location = f"{_elsewhere(call.headers.get('host', ''))}/s3/cohorts/{request}?X-Amz-Expires=60"
        return Answer(302, None, {"location": location})

    def download(self, call: Call) -> Answer:
        """Answer the pre-signed address."""
        if "authorization" in call.headers:
            return Answer(400, "Only one auth mechanism allowed")
        request = call.params["request"]
        if self._signed.get(request, -_SIGNED_MS) + _SIGNED_MS <= self._now_ms():
            return Answer(403, "Request has expired")
        _, rows = self._cohorts[self._asked[request][0]]
        columns: Mapping[str, None] = dict.fromkeys(
            ["amplitude_id", "user_id", *(name for row in rows for name in row)]
        )
        text = io.StringIO()
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows({"amplitude_id": str(number + 1), **row} for number, row in enumerate(rows))
        return Answer(200, text.getvalue().encode(), {"content-type": "text/csv"})


def _asked_hour(told: str) -> datetime:
    """Return an hour of a request; raises `ValueError` for one that isn't written as it has to be."""
    if not _HOUR.fullmatch(told):
        raise ValueError(told)
    return _hour(told)


def _hour(told: str) -> datetime:
    return datetime.strptime(told, "%Y%m%dT%H").replace(tzinfo=UTC)


def _elsewhere(host: str) -> str:
    """Return another name of this machine, as the real files are on another host."""
    name, _, port = host.partition(":")
    if name in ("127.0.0.1", "localhost"):
        return f"http://{'localhost' if name == '127.0.0.1' else '127.0.0.1'}:{port}"
    return f"https://s3.{name}"


def _error(status: int, details: str) -> Answer:
    return Answer(status, {"error": {"http_code": status, "type": "unspecified", "metadata": {"details": details}}})

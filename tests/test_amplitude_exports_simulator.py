"""The simulator's Export API and Cohorts API: hours, ranges, keys, limits and the shape of what they hand out."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from turnout.testing import Answer
from turnout_amplitude.simulator import AmplitudeSimulator

NOW = datetime(2026, 11, 1, 12, 34, 56, tzinfo=UTC)
GOOD = {"authorization": "Basic " + base64.b64encode(b"k-1:s-1").decode()}
WRONG = {"authorization": "Basic " + base64.b64encode(b"k-1:s-2").decode()}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def amplitude(**given: Any) -> AmplitudeSimulator:
    """Return an Amplitude with four hours of events and a cohort of three."""
    simulator = AmplitudeSimulator(api_keys=["k-1"], secret_key="s-1", **{"clock": Clock(), **given})
    for hour in (7, 8, 9, 10):
        simulator.exports.add(f"2026-11-01T{hour:02}", [{"event_type": f"at {hour}", "user_id": f"user-{hour}"}])
    members: list[Any] = [
        "user-1",
        {"user_id": 'user "2", quoted', "plan": "pro"},
        {"user_id": "", "plan": "anonymous"},
    ]
    simulator.cohorts.put("9x4k2", "Frequent buyers", members)
    return simulator


def ask(simulator: AmplitudeSimulator, path: str, headers: dict[str, str] | None = None) -> Answer:
    return simulator.check("GET", path, GOOD if headers is None else headers)


def export(simulator: AmplitudeSimulator, start: str, end: str, headers: dict[str, str] | None = None) -> Answer:
    return ask(simulator, f"/api/2/export?start={start}&end={end}", headers)


def exported(answer: Answer) -> dict[str, list[Any]]:
    """Return the lines of each file of an archive."""
    assert isinstance(answer.body, bytes)
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        files = {name: gzip.decompress(archive.read(name)) for name in archive.namelist()}
    return {name: [json.loads(line) for line in text.splitlines()] for name, text in files.items()}


def test_an_export_is_a_zip_of_gzip_files_by_hour() -> None:
    """Both ends of the range are in it; the hour in a name has no zero in front, several files have numbers."""
    simulator = amplitude()
    simulator.exports.add("2026-11-01T08", [{"event_type": "later", "user_id": "user-80"}])
    answer = export(simulator, "20261101T07", "20261101T08")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/zip")
    files = exported(answer)
    day = "271828/271828_2026-11-01"
    assert list(files) == [f"{day}_7#0.json.gz", f"{day}_8#0.json.gz", f"{day}_8#1.json.gz"]
    assert [line["event_type"] for lines in files.values() for line in lines] == ["at 7", "at 8", "later"]


def test_an_hour_is_there_two_hours_after_its_end() -> None:
    """Before, it is as one without events: 404."""
    simulator = amplitude()
    assert export(simulator, "20261101T09", "20261101T09").status == 200
    assert export(simulator, "20261101T10", "20261101T10").status == 404
    assert export(simulator, "20261101T05", "20261101T06").status == 404
    assert list(exported(export(simulator, "20261101T09", "20261101T10"))) == ["271828/271828_2026-11-01_9#0.json.gz"]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("", ""),
        ("20261101T08", ""),
        ("20261101T09", "20261101T08"),
        ("20261101T24", "20261101T25"),
        ("20261301T08", "20261301T08"),
        ("2026-11-01T08", "2026-11-01T08"),
        ("20261101T0800", "20261101T0900"),
        ("20241101T08", "20261101T08"),
    ],
)
def test_a_range_that_is_none_is_refused(start: str, end: str) -> None:
    """With 400: hours are YYYYMMDDTHH, in order, and at most a year."""
    assert export(amplitude(), start, end).status == 400


def test_an_archive_that_is_too_large_is_refused() -> None:
    """With 400; a shorter range is there."""
    simulator = amplitude()
    simulator.exports.largest_bytes = 300
    assert export(simulator, "20261101T07", "20261101T09").status == 400
    assert export(simulator, "20261101T07", "20261101T07").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/2/export?start=20261101T07&end=20261101T07",
        "/api/3/cohorts",
        "/api/5/cohorts/request/9x4k2",
        "/api/5/cohorts/request-status/req-1",
        "/api/5/cohorts/request/req-1/file",
    ],
)
def test_both_keys_are_asked_for(path: str) -> None:
    """401 without them, 403 for a wrong one; cohorts say it in their own words."""
    simulator = amplitude()
    assert ask(simulator, path, {}).status == 401
    refused = ask(simulator, path, WRONG)
    assert refused.status == 403
    if "cohorts" in path:
        assert refused.body["error"]["metadata"] == {"details": "Invalid API/Secret Key combination"}


def test_a_cohort_is_asked_for_looked_for_and_fetched() -> None:
    """202, then 202 and 200, then 302 to another host; the file is CSV with a header."""
    simulator = amplitude()
    [told] = ask(simulator, "/api/3/cohorts").body["cohorts"]
    assert (told["id"], told["name"], told["size"]) == ("9x4k2", "Frequent buyers", 3)
    asked = ask(simulator, "/api/5/cohorts/request/9x4k2")
    assert (asked.status, asked.body["cohort_id"]) == (202, "9x4k2")
    request = asked.body["request_id"]
    status, file = f"/api/5/cohorts/request-status/{request}", f"/api/5/cohorts/request/{request}/file"
    assert ask(simulator, file).status == 404
    looks = [ask(simulator, status) for _ in range(2)]
    assert [(one.status, one.body["async_status"]) for one in looks] == [
        (202, "JOB INPROGRESS"),
        (200, "JOB COMPLETED"),
    ]
    found = ask(simulator, file)
    assert found.status == 302
    place = urlsplit(found.headers["location"])
    address = f"{place.path}?{place.query}"
    assert ask(simulator, address).status == 400
    rows = list(csv.DictReader(io.StringIO(ask(simulator, address, {}).body.decode())))
    assert [row["user_id"] for row in rows] == ["user-1", 'user "2", quoted', ""]
    assert [row["plan"] for row in rows] == ["", "pro", "anonymous"]


def fetched(simulator: AmplitudeSimulator) -> str:
    """Ask for the cohort, and return the address of its file."""
    request = ask(simulator, "/api/5/cohorts/request/9x4k2").body["request_id"]
    for _ in range(2):
        ask(simulator, f"/api/5/cohorts/request-status/{request}")
    place = urlsplit(ask(simulator, f"/api/5/cohorts/request/{request}/file").headers["location"])
    return f"{place.path}?{place.query}"


def test_the_address_of_a_file_is_good_for_a_minute() -> None:
    """Then 403, as one that nobody was given."""
    clock = Clock()
    simulator = amplitude(clock=clock)
    address = fetched(simulator)
    clock.now += timedelta(seconds=59)
    assert ask(simulator, address, {}).status == 200
    clock.now += timedelta(seconds=1)
    assert ask(simulator, address, {}).status == 403
    assert ask(simulator, "/s3/cohorts/req-7", {}).status == 403


@pytest.mark.parametrize(
    "path",
    ["/api/5/cohorts/request/none", "/api/5/cohorts/request-status/none", "/api/5/cohorts/request/none/file"],
)
def test_what_is_not_there_is_404(path: str) -> None:
    """An unknown cohort, an unknown request."""
    assert ask(amplitude(), path).status == 404


def test_the_limits_of_cohorts_are_counted_when_they_are_wanted() -> None:
    """60 requests in ten minutes; the next one is there when the first are ten minutes old."""
    clock = Clock()
    simulator = amplitude(clock=clock, rate_limits=True)
    assert [ask(simulator, "/api/5/cohorts/request/9x4k2").status for _ in range(61)] == [202] * 60 + [429]
    clock.now += timedelta(minutes=10)
    assert ask(simulator, "/api/5/cohorts/request/9x4k2").status == 202
    assert [ask(amplitude(), "/api/5/cohorts/request/9x4k2").status for _ in range(61)] == [202] * 61

"""The source `amplitude_export`: hours, what events become, and what is broken in an archive.

The defects of an older tool for the same work, amplitude2split, each have a test that turnout does not have them.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from click.testing import CliRunner

from turnout import Dispatcher, Fetcher, FetchError, Refusal, SettingsError, events_of, pull_async
from turnout.cli import main
from turnout.testing import Answer, SourceContract
from turnout_amplitude import Amplitude
from turnout_amplitude.simulator import AmplitudeSimulator
from turnout_sources.amplitude_export import AmplitudeExport
from turnout_split import Split
from turnout_split.simulator import SplitSimulator

NOW = datetime(2026, 11, 1, 12, 34, 56, tzinfo=UTC)
KEYS = {"api_key": "k-1", "secret_key": "s-1"}
FIRST: dict[str, Any] = {
    "$insert_id": "insert-71",
    "uuid": "11f4a5c2-0001",
    "event_type": "[Amplitude] Start Session",
    "event_time": "2026-11-01 05:06:07.891234",
    "user_id": "user-71",
    "device_id": "device-72",
    "event_properties": {"plan": "pro", "seats": 7, "trial": False, "tags": ["a", "b"]},
    "user_properties": {"tier": "gold", "address": {"zip": "1050"}},
    "platform": "Web",
    "os_name": "Chrome",
    "os_version": "130",
    "language": "Portuguese",
    "country": "Portugal",
    "city": "Lisbon",
    "ip_address": "192.0.2.73",
    "location_lat": 38.7,
    "session_id": 1793509567000,
    "amplitude_id": 900074,
    "groups": {"org": ["acme"]},
    "dma": None,
    "future_field": {"kept": "or not"},
}


def exported(number: int, **fields: Any) -> dict[str, Any]:
    """Return an exported event like no other."""
    told = {"uuid": f"uuid-{number}", "event_type": f"event {number}", "user_id": f"user-{number}"}
    return {**told, "event_time": f"2026-11-01 05:00:00.{number:06d}", "event_properties": {"n": number}, **fields}


def read_one(**fields: Any) -> Any:
    [found] = events_of(AmplitudeExport({}), [exported(81, **fields)])
    return found


def zipped(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"{name}.json.gz", data)
    return made.getvalue()


def lines(*events: Any) -> bytes:
    return b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in events)


class TestContract(SourceContract):
    """Exports keep the contract of sources."""

    source = "amplitude_export"
    payloads: ClassVar[Any] = [[FIRST, exported(75)], [exported(76, groups=None, user_properties=None)]]


# What an event becomes


def test_a_whole_event() -> None:
    """Name, properties with their types, ids, time to the millisecond, context; unknown fields are let go."""
    [event] = events_of(AmplitudeExport({}, id="export"), [FIRST])
    assert event == {
        "type": "track",
        "event": "[Amplitude] Start Session",
        "userId": "user-71",
        "anonymousId": "device-72",
        "messageId": "11f4a5c2-0001",
        "timestamp": "2026-11-01T05:06:07.891Z",
        "properties": {"plan": "pro", "seats": 7, "trial": False, "tags": ["a", "b"]},
        "context": {
            "library": {"name": "amplitude-export"},
            "ip": "192.0.2.73",
            "os": {"name": "Chrome", "version": "130"},
            "device": {"id": "device-72"},
            "location": {"city": "Lisbon", "country": "Portugal", "latitude": 38.7},
            "traits": {"tier": "gold", "address": {"zip": "1050"}},
            "amplitude": {
                "amplitude_id": 900074,
                "platform": "Web",
                "language": "Portuguese",
                "session_id": 1793509567000,
            },
        },
        "integrations": {"Amplitude": {"session_id": 1793509567000, "groups": {"org": ["acme"]}}},
        "projectId": "export",
    }


@pytest.mark.parametrize(
    ("told", "time"),
    [
        ("2026-11-01 05:06:07.123456", "2026-11-01T05:06:07.123Z"),
        ("2026-11-01 05:06:07.999999", "2026-11-01T05:06:07.999Z"),
        ("2026-11-01 05:06:07", "2026-11-01T05:06:07.000Z"),
        ("2026-11-01 05:06:07+02:00", "2026-11-01T03:06:07.000Z"),
    ],
)
def test_six_digits_are_microseconds_in_utc(told: str, time: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not milliseconds, which would make it minutes later; not the zone of this machine."""
    monkeypatch.setenv("TZ", "America/New_York")
    assert read_one(event_time=told)["timestamp"] == time


def test_a_missing_user_is_nobody_called_null() -> None:
    """The device's id stays; a number is its text; quotes in an id stay what they are."""
    found = read_one(user_id=None, device_id="device-82")
    assert "userId" not in found
    assert found["anonymousId"] == "device-82"
    assert read_one(user_id=830)["userId"] == "830"
    assert read_one(user_id='u"84"')["userId"] == 'u"84"'
    assert "neither" in str(read_one(user_id=None))


def test_revenue_has_the_names_that_others_know() -> None:
    """Beside Amplitude's own; a property that is there already stays."""
    found = read_one(event_properties={"$revenue": 12.5, "$price": 6.25, "$quantity": 2, "price": 7.0})
    assert found["properties"] == {
        "$revenue": 12.5, "$price": 6.25, "$quantity": 2, "revenue": 12.5, "quantity": 2, "price": 7.0
    }  # fmt: skip


def test_property_fields_stand_among_the_properties() -> None:
    """The user's property wins over the event's field, the event's property over both; types stay."""
    settings = {"property_fields": ["country", "dma", "tier", "plan"]}
    [found] = events_of(AmplitudeExport(settings), [{**FIRST, "user_properties": {"tier": 3, "country": "Spain"}}])
    assert isinstance(found, dict)
    assert found["properties"] == {
        "country": "Spain", "tier": 3, "plan": "pro", "seats": 7, "trial": False, "tags": ["a", "b"]
    }  # fmt: skip


def test_changes_of_users_are_no_events() -> None:
    """`$identify` becomes an identify call when it is asked for; `$groupidentify` nothing; others stay."""
    rows = [
        exported(91, event_type="$identify", user_properties={"tier": "t-91"}),
        exported(92, event_type="$groupidentify"),
        exported(93, event_type="$exposure"),
    ]
    assert [one["event"] for one in events_of(AmplitudeExport({}), rows)] == ["$exposure"]  # type: ignore[index, unused-ignore]
    found: Any = list(events_of(AmplitudeExport({"include_identify": True}), rows))
    assert [(one["type"], one.get("traits")) for one in found] == [("identify", {"tier": "t-91"}), ("track", None)]


def test_an_event_without_ids_of_its_own_has_the_same_id_in_each_export() -> None:
    """Made of its content, so that another event has another."""
    ids = [read_one(uuid=None, event_type=name)["messageId"] for name in ("a", "a", "b")]
    assert ids[0] == ids[1] != ids[2]
    assert read_one(uuid=None, **{"$insert_id": "insert-94"})["messageId"] == "insert-94"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"event_type": None}, "/0/event_type"),
        ({"event_type": 7}, "/0/event_type"),
        ({"event_properties": [1]}, "/0/event_properties"),
        ({"user_properties": "x"}, "/0/user_properties"),
        ({"user_id": ["u"]}, "/0/user_id"),
        ({"device_id": True}, "/0/device_id"),
        ({"event_time": 20261101}, "/0/event_time"),
        ({"event_time": "2026-13-01 00:00:00"}, "/0/event_time"),
        ({"event_time": None}, "/0/event_time"),
    ],
)
def test_a_wrong_type_is_told_with_its_place(fields: dict[str, Any], path: str) -> None:
    """And the next event goes on."""
    found = list(events_of(AmplitudeExport({}), [exported(95, **fields), exported(96)]))
    assert isinstance(found[0], Refusal)
    assert found[0].reason.path == path
    assert isinstance(found[1], dict)


# Archives


def test_one_of_ten_thousand_is_broken() -> None:
    """It is told with its file and line; the rest goes on."""
    rows: list[Any] = [exported(number) for number in range(10_000)]
    rows[6_543] = b'{"event_type": "cut'
    found = list(events_of(AmplitudeExport({}), zipped(hour=gzip.compress(lines(*rows)))))
    [refusal] = [one for one in found if isinstance(one, Refusal)]
    assert len(found) == 10_000
    assert refusal.reason.message.startswith("hour.json.gz, line 6544: ")


def test_a_broken_file_of_an_archive_costs_no_other() -> None:
    """What was before the damage counts, and the next file goes on."""
    rows = lines(*(exported(number, noise=str(hash(str(number)))) for number in range(3000)))
    packed = gzip.compress(rows)
    made = zipped(cut=packed[: len(packed) // 2], none=b"\x1f\x8bnonsense", good=gzip.compress(lines(exported(7001))))
    found = list(events_of(AmplitudeExport({}), made))
    told = [one.reason.message for one in found if isinstance(one, Refusal)]
    events: Any = [one for one in found if isinstance(one, dict)]
    assert [one.partition(" ")[0] for one in told] == ["cut.json.gz", "none.json.gz"]
    assert 100 < len(events) < 3001
    assert events[-1]["userId"] == "user-7001"


@pytest.mark.parametrize("cut", [2, 10, 60, -1, -30])
def test_a_truncated_archive_is_refused(cut: int) -> None:
    """As one refusal, not as many lines of nonsense."""
    made = zipped(hour=gzip.compress(lines(*(exported(number) for number in range(50)))))
    [found] = events_of(AmplitudeExport({}), made[:cut])
    assert isinstance(found, Refusal)
    assert "cut off" in found.reason.message


def test_a_damaged_archive_is_no_exception() -> None:
    """Whichever byte is another: events and refusals."""
    made = zipped(hour=gzip.compress(lines(exported(1), exported(2))))
    for place in range(len(made)):
        changed = made[:place] + bytes([made[place] ^ 0xFF]) + made[place + 1 :]
        for found in events_of(AmplitudeExport({}), changed):
            assert not isinstance(found, Refusal) or found.reason.code != "plugin_raised", (place, found)


def test_a_file_without_a_name_is_read() -> None:
    """A name that begins with a zero byte is none."""
    made = zipped(x=gzip.compress(lines(exported(7002)))).replace(b"x.json.gz", b"\0.json.gz")
    assert b"\0.json.gz" in made
    assert [one["userId"] for one in events_of(AmplitudeExport({}), made) if isinstance(one, dict)] == ["user-7002"]


def test_a_line_without_an_end_is_one_refusal() -> None:
    """A small file can unpack to a lot: it is read in pieces, and what comes behind it goes on."""
    rows = b'{"event_type": "' + b"x" * 40_000_000 + b"\n" + lines(exported(97))
    found = list(events_of(AmplitudeExport({}), zipped(hour=gzip.compress(rows, 1))))
    assert isinstance(found[0], Refusal)
    assert "line 1: The line has more than" in found[0].reason.message
    assert isinstance(found[1], dict)
    assert len(found) == 2


# Hours


async def patient(seconds: float) -> None:
    """Wait for nothing."""


def pulled(simulator: AmplitudeSimulator, state: Any = None, now: datetime = NOW, **given: Any) -> Any:
    """Pull from a simulator; return the events, what was refused, and the states that were saved."""
    options = {"to": given.pop("to", ""), "from_": given.pop("start", ""), "lag_hours": given.pop("lag", 0)}
    options["take_damaged"] = given.pop("damaged", False)
    source = AmplitudeExport({**KEYS, **given}, id="export")
    taken: list[Any] = []
    refused: list[Refusal] = []
    saved: list[Any] = []

    async def run() -> None:
        fetch = Fetcher(transport=httpx.ASGITransport(app=simulator), wait=patient, clock=lambda: now)
        await pull_async(
            source, taken.extend, options, state=state, refused=refused.append, fetch=fetch, save=saved.append
        )

    asyncio.run(run())
    return taken, refused, saved


def amplitude(*hours: int, now: datetime = NOW) -> AmplitudeSimulator:
    """Return an Amplitude with an event in each of these hours of 2026-11-01."""
    simulator = AmplitudeSimulator(api_keys=["k-1"], secret_key="s-1", clock=lambda: now)
    for hour in hours:
        simulator.exports.add(f"2026-11-01T{hour:02d}", [exported(hour)])
    return simulator


def asked(simulator: AmplitudeSimulator) -> list[Any]:
    return [call.query for call in simulator.ledger]


def test_only_closed_hours_are_asked_for() -> None:
    """At 12:34 with a lag of three hours the last one is 08; each once, both ends alike."""
    simulator = amplitude(7, 8, 9, 11)
    events, refused, saved = pulled(simulator, start="2026-11-01T06")
    assert asked(simulator) == [{"start": hour, "end": hour} for hour in ("20261101T06", "20261101T07", "20261101T08")]
    assert ([one["userId"] for one in events], refused) == (["user-7", "user-8"], [])
    assert saved == [{"hour": "2026-11-01T06"}, {"hour": "2026-11-01T07"}, {"hour": "2026-11-01T08"}]


def test_the_next_pull_goes_on_behind_the_last() -> None:
    """No hour twice, none left out; nothing when none is complete."""
    simulator = amplitude(7, 8, 9)
    _, _, saved = pulled(simulator, start="2026-11-01T07")
    later = datetime(2026, 11, 1, 13, 1, tzinfo=UTC)
    events, _, again = pulled(simulator, state=saved[-1], now=later)
    assert [one["userId"] for one in events] == ["user-9"]
    assert pulled(simulator, state=again[-1], now=later) == ([], [], [])


def test_hours_that_are_pulled_again_do_not_put_the_state_back() -> None:
    """Else the next pull would send everything since then once more."""
    _, _, saved = pulled(amplitude(4), state={"hour": "2026-11-01T08"}, start="2026-11-01T04", to="2026-11-01T04")
    assert saved == [{"hour": "2026-11-01T08"}]


def test_a_pull_may_be_repeated_with_the_same_end() -> None:
    """Once everything up to there is done, there is nothing to do, and that is no mistake."""
    assert pulled(amplitude(8), state={"hour": "2026-11-01T08"}, to="2026-11-01T08") == ([], [], [])


def test_the_lag_is_a_setting_and_an_option() -> None:
    """Amplitude has an hour two hours after its end at the earliest."""
    simulator = amplitude(9)
    assert [one["userId"] for one in pulled(simulator, start="2026-11-01T09", lag_hours=2)[0]] == ["user-9"]
    assert pulled(simulator, start="2026-11-01T09", lag_hours=3)[0] == []
    assert [one["userId"] for one in pulled(simulator, start="2026-11-01T09", lag=2)[0]] == ["user-9"]


def test_an_hour_without_events_is_none() -> None:
    """404 is no error, and the state moves on."""
    events, refused, saved = pulled(amplitude(), start="2026-11-01T03", to="2026-11-01T03")
    assert (events, refused, saved) == ([], [], [{"hour": "2026-11-01T03"}])


@pytest.mark.parametrize(
    ("status", "said"),
    [(400, "4 GB"), (401, "compare api_key"), (403, "compare api_key"), (504, "try again later"), (302, "HTTP 302")],
)
def test_any_other_answer_ends_the_pull(status: int, said: str) -> None:
    """It says which hour and why, without a secret, and the state stays behind the hour before."""
    simulator = amplitude(5, 6)
    simulator.script("/api/2/export", [None, *[status] * 9])
    saved: list[Any] = []
    source = AmplitudeExport(KEYS, id="export")

    async def run() -> None:
        fetch = Fetcher(transport=httpx.ASGITransport(app=simulator), wait=patient, clock=lambda: NOW)
        await pull_async(source, list, {"from_": "2026-11-01T05"}, save=saved.append, fetch=fetch)

    with pytest.raises(FetchError, match=said) as raised:
        asyncio.run(run())
    assert "2026-11-01T06" in str(raised.value)
    assert "s-1" not in str(raised.value)
    assert saved == [{"hour": "2026-11-01T05"}]


def test_wrong_keys_end_the_pull() -> None:
    """With what to compare."""
    with pytest.raises(FetchError, match="refused the keys"):
        pulled(amplitude(5), start="2026-11-01T05", secret_key="s-2")


def cut_off() -> bytes:
    return zipped(hour=b"x" * 99)[:80]


def one_file_cut_off() -> bytes:
    """Return an archive of which the second file ends in the middle of its gzip."""
    packed = gzip.compress(lines(*(exported(number, noise=str(hash(str(number)))) for number in range(600, 900))))
    first, last = (gzip.compress(lines(exported(number))) for number in (51, 52))
    return zipped(a=first, b=packed[: len(packed) // 2], c=last)


def wrong_sum() -> bytes:
    """Return an archive whose file unpacks to the wrong bytes, which only its checksum tells."""
    packed = bytearray(gzip.compress(lines(exported(53)), 0))
    packed[packed.index(b"user-53") + 5] ^= 1
    return zipped(a=bytes(packed))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (cut_off, "the archive can't be read (File is not a zip file)"),
        (one_file_cut_off, "b.json.gz can't be read (Compressed file ended before"),
        (wrong_sum, "a.json.gz can't be read (CRC check failed"),
    ],
)
def test_nothing_is_taken_of_a_damaged_hour_until_it_is_whole(made: Callable[[], bytes], said: str) -> None:
    """Not even what can be read: the pull ends with the hours before, and the next one has each event once."""
    simulator = amplitude(4, 5)
    simulator.script("/api/2/export", [None, Answer(200, made())])
    taken: list[Any] = []
    saved: list[Any] = []

    async def run() -> None:
        fetch = Fetcher(transport=httpx.ASGITransport(app=simulator), wait=patient, clock=lambda: NOW)
        source = AmplitudeExport(KEYS, id="export")
        await pull_async(source, taken.extend, {"from_": "2026-11-01T04"}, save=saved.append, fetch=fetch)

    with pytest.raises(FetchError) as raised:
        asyncio.run(run())
    assert str(raised.value).startswith(f"Amplitude's export of 2026-11-01T05 is damaged: {said}")
    assert "--take-damaged, or go on behind it with --from 2026-11-01T06." in str(raised.value)
    assert ([one["userId"] for one in taken], saved) == (["user-4"], [{"hour": "2026-11-01T04"}])
    events, refused, _ = pulled(simulator, state=saved[-1])
    assert ([one["userId"] for one in events], refused) == (["user-5"], [])


@pytest.mark.parametrize(
    ("made", "users", "said"),
    [
        (cut_off, [], "The archive can't be opened"),
        (one_file_cut_off, ["user-51", "user-52"], "b.json.gz can't be read behind line"),
    ],
)
def test_what_can_be_read_of_a_damaged_hour_is_taken_on_demand(
    made: Callable[[], bytes], users: list[str], said: str
) -> None:
    """For an hour that stays damaged: the rest is told, and the hour counts as read."""
    simulator = amplitude(5, 6)
    simulator.script("/api/2/export", [Answer(200, made())])
    events, [refusal], saved = pulled(simulator, start="2026-11-01T05", to="2026-11-01T06", damaged=True)
    found = [one["userId"] for one in events]
    assert [one for one in found if one in ("user-51", "user-52")] == users
    assert found[-1] == "user-6"
    assert said in refusal.reason.message
    assert saved == [{"hour": "2026-11-01T05"}, {"hour": "2026-11-01T06"}]


def test_several_files_in_an_hour_and_a_broken_line() -> None:
    """All are read; the broken line is told with the file it is in."""
    simulator = amplitude(5)
    simulator.exports.add("2026-11-01T05", [exported(61), b"{", exported(62)])
    events, [refusal], _ = pulled(simulator, start="2026-11-01T05", to="2026-11-01T05")
    assert [one["userId"] for one in events] == ["user-5", "user-61", "user-62"]
    assert "2026-11-01_5#1.json.gz, line 2:" in refusal.reason.message


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "--from"),
        ({"start": "yesterday"}, "'from' must be an hour in UTC"),
        ({"start": "2026-11-01"}, "'from' must be an hour"),
        ({"start": "2026-11-01T05:30"}, "'from' must be an hour"),
        ({"start": "2026-11-31T05"}, "'from' must be an hour"),
        ({"start": "2026-11-01T05", "to": "2026-11-01T04"}, "before the first hour"),
        ({"start": "2026-11-01T05", "api_key": ""}, "'api_key' and 'secret_key' are required"),
    ],
)
def test_a_wrong_wish_is_one_sentence(given: dict[str, Any], said: str) -> None:
    """And nothing is asked for."""
    simulator = amplitude()
    with pytest.raises(SettingsError, match=said):
        pulled(simulator, **given)
    assert simulator.ledger == []


@pytest.mark.parametrize(("region", "host"), [("standard", "amplitude.com"), ("EU", "analytics.eu.amplitude.com")])
def test_the_region_decides_the_host(region: str, host: str) -> None:
    """As Amplitude's page of the Export API has it."""
    simulator = amplitude(5)
    pulled(simulator, start="2026-11-01T05", to="2026-11-01T05", region=region)
    assert simulator.ledger[0].headers["host"] == host


# Where events go


def test_every_event_type_is_one_that_split_takes() -> None:
    """Blanks and brackets become `_`, numbers and booleans stay, null and objects break nothing."""
    rows = [FIRST, exported(98, user_properties=None, event_properties={"list": [1, 2], "deep": {"a": True}})]
    simulator = SplitSimulator()
    with simulator.serve() as url:
        settings = {"sdk_key": "sdk-1", "environment": "Prod-Default", "event_type_prefix": "amp.", "base_url": url}
        send(Split(settings), rows)
    sent = sorted(simulator.events, key=lambda one: str(one["key"]))
    assert [one["eventTypeId"] for one in sent] == ["amp._Amplitude_Start_Session", "amp.event_98"]
    assert sent[0]["properties"]["seats"] == 7
    assert sent[1]["properties"] == {"list": "[1,2]", "deep.a": True}
    assert sent[0]["timestamp"] == 1793509567891


def test_an_amplitude_gets_what_another_exported() -> None:
    """With the session, the groups, the ids and the properties."""
    simulator = AmplitudeSimulator()
    with simulator.serve() as url:
        send(Amplitude({"api_key": "k-2", "base_url": url}), [{**FIRST, "event_type": "Watched"}])
    [sent] = simulator.events
    assert sent["event_type"] == "Watched"
    assert (sent["user_id"], sent["device_id"], sent["session_id"]) == ("user-71", "device-72", 1793509567000)
    assert (sent["groups"], sent["country"]) == ({"org": ["acme"]}, "Portugal")


def send(destination: Any, rows: list[Any]) -> None:
    """Send exported events to a destination, which takes all of them."""
    with Dispatcher({"there": destination}) as dispatcher:
        settled = dispatcher.send(one for one in events_of(AmplitudeExport({}), rows) if isinstance(one, dict))
    assert not [one.reason for one in settled if one.reason]
    assert [one.outcome for one in settled] == ["delivered"] * len(rows)


# The command line


def test_pull_by_the_command_line(tmp_path: Path) -> None:
    """Lines on stdout, a state beside the configuration; 1 when a line was broken; the next pull has nothing."""
    simulator = AmplitudeSimulator(api_keys=["k-1"], secret_key="s-1")
    simulator.exports.add("2024-11-01T05", [exported(41), b"no json", exported(42)])
    with simulator.serve() as url:
        path = tmp_path / "turnout.toml"
        path.write_text(
            f'[sources.export]\nplugin = "amplitude_export"\napi_key = "k-1"\nsecret_key = "s-1"\nbase_url = "{url}"\n'
        )
        words = ["pull", "amplitude-export", "--config", str(path), "--to", "2024-11-01T06"]
        done = CliRunner().invoke(main, [*words, "--from", "2024-11-01T04"])
        again = CliRunner().invoke(main, words)
        wrong = CliRunner().invoke(main, [*words, "--from", "soon"])
    assert [json.loads(line)["userId"] for line in done.stdout.splitlines()] == ["user-41", "user-42"]
    assert (done.exit_code, "line 2" in done.stderr) == (1, True)
    assert json.loads((tmp_path / "export.state.json").read_text())["state"] == {"hour": "2024-11-01T06"}
    assert (again.exit_code, again.stdout) == (0, "")
    assert (wrong.exit_code, "must be an hour in UTC" in wrong.stderr) == (2, True)

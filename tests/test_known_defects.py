"""What older tools and samples get wrong, each shown to be right here: from Amplitude's export to Split, and back.

The first part is the tool that moves Amplitude's events to Split, the second the samples that tell Amplitude of Split's
impressions. Each test is named for the mistake that is not made.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from turnout import Dispatcher, Fetcher, FetchError, Refusal, TurnoutError, pull_async
from turnout.config import SendSettings
from turnout.pulling import Delivering
from turnout_amplitude import Amplitude
from turnout_amplitude.simulator import AmplitudeSimulator
from turnout_sources.amplitude_export import AmplitudeExport
from turnout_sources.split_lambda import handler
from turnout_sources.split_webhook import ImpressionsWebhook
from turnout_split import Split
from turnout_split.simulator import SplitSimulator

NOW = datetime(2026, 11, 1, 12, 34, 56, tzinfo=UTC)
AT = "2026-11-01T07"


def exported(number: int, **fields: Any) -> dict[str, Any]:
    """Return a line of an export like no other."""
    told = {"event_type": f"event_{number}", "user_id": f"user-{number}", "uuid": f"uuid-{number}"}
    return {**told, "device_id": f"device-{number}", "event_time": f"2026-11-01 07:08:{number:02}.000000", **fields}


class Move:
    """Amplitude's exports, Split's events, and what is between them."""

    def __init__(self) -> None:
        self.now = NOW
        self.amplitude = AmplitudeSimulator(clock=lambda: self.now)
        self.split = SplitSimulator()
        self.refused: list[Refusal] = []
        self.states: list[Any] = []
        self.settings: dict[str, Any] = {"sdk_key": "sdk-1", "environment": "Prod-Default", "event_type_prefix": "amp."}

    def pull(self, start: str = "", state: Any = None, **source: Any) -> None:
        """Pull what there is, and send it on; a state is kept behind each hour whose events Split has."""
        asyncio.run(self._pulled(start, state, source))

    async def _pulled(self, start: str, state: Any, source: dict[str, Any]) -> None:
        made = AmplitudeExport({"api_key": "k-1", "secret_key": "s-1", **source})
        send = SendSettings.configure({"attempts": 2}, owner="send")
        split = Split({"base_url": "http://split.example", **self.settings})
        dispatcher = Dispatcher({"split": split}, send=send, transport=httpx.ASGITransport(self.split))
        sink = Delivering(dispatcher, lambda *_: None)
        fetch = Fetcher(transport=httpx.ASGITransport(self.amplitude), wait=_at_once, clock=lambda: self.now)
        given = {"fetch": fetch, "state": state, "save": self.states.append, "refused": self.refused.append}
        await pull_async(made, sink, {"from_": start} if start else {}, **given)

    def moved(self, *lines: Any, start: str = AT, **source: Any) -> list[dict[str, Any]]:
        """Return what Split gets for the lines of one hour."""
        self.amplitude.exports.add(AT, lines)
        self.pull(start, **source)
        return self.split.events

    @property
    def hours(self) -> list[str]:
        """The hours that were asked for."""
        return [call.query["start"] for call in self.amplitude.ledger]


async def _at_once(_: float) -> None:
    """Wait for nothing."""


@pytest.fixture
def move() -> Move:
    """An Amplitude without events and a Split without any either."""
    return Move()


# Amplitude's events to Split


def test_six_digits_of_a_second_are_no_milliseconds(move: Move) -> None:
    """`.123456` is 123 ms, and not two minutes."""
    [event] = move.moved(exported(1, event_time="2026-11-01 07:08:09.123456"))
    assert event["timestamp"] == 1793516889123


def test_times_are_utc_wherever_this_runs(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hours that are asked for, and the time of an event."""
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        [event] = move.moved(exported(2, event_time="2026-11-01 07:08:09.000000"))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert event["timestamp"] == 1793516889000
    assert move.hours == ["20261101T07", "20261101T08"]


def test_hours_do_not_overlap_and_none_is_incomplete(move: Move) -> None:
    """Each hour once, over as many pulls as there are; nothing counts twice at Split, which drops no copies."""
    for hour in range(6, 12):
        move.amplitude.exports.add(f"2026-11-01T{hour:02}", [exported(hour)])
    move.pull("2026-11-01T06")
    for _ in range(3):
        move.pull(state=move.states[-1])
        move.now += timedelta(hours=1)
    assert move.hours == [f"20261101T{hour:02}" for hour in (6, 7, 8, 9, 10)]
    assert [event["key"] for event in move.split.events] == [f"user-{hour}" for hour in (6, 7, 8, 9, 10)]


def test_an_hour_is_asked_for_when_amplitude_has_it(move: Move) -> None:
    """Three hours after its end, as a setting says, and not while it is still being loaded."""
    move.pull("2026-11-01T07", lag_hours=5)
    assert move.hours == []
    move.pull("2026-11-01T07")
    assert move.hours == ["20261101T07", "20261101T08"]


def test_no_data_and_an_error_do_not_look_alike(move: Move) -> None:
    """404 moves the state on; wrong keys and a timeout end the pull where it was."""
    move.pull(AT)
    assert [state["hour"] for state in move.states] == ["2026-11-01T07", "2026-11-01T08"]
    for status in (401, 403, 504, 400):
        move.states.clear()
        move.amplitude.reset()
        move.amplitude.script("/api/2/export", [status] * 5)
        with pytest.raises(FetchError) as caught:
            move.pull(AT)
        assert caught.value.status == status
        assert move.states == []


def test_a_user_of_null_is_nobody_called_null(move: Move) -> None:
    """The device is the key where it has a traffic type; else there is none, and that is told."""
    lines = [exported(3, user_id=None), exported(4, user_id=None), exported(5, user_id='say "5"')]
    assert [event["key"] for event in move.moved(*lines)] == ['say "5"']
    move.split.reset()
    move.settings["anonymous_traffic_type"] = "anonymous"
    move.pull(AT)
    keys = {(event["trafficTypeName"], event["key"]) for event in move.split.events}
    assert keys == {*(("anonymous", f"device-{number}") for number in (3, 4, 5)), ("user", 'say "5"')}


def test_event_types_are_some_that_split_takes(move: Move) -> None:
    """Blanks and brackets become `_`, a long one is cut."""
    lines = [exported(6, event_type="[Amplitude] Start Session"), exported(7, event_type="x" * 100)]
    names = [event["eventTypeId"] for event in move.moved(*lines)]
    assert names == ["amp._Amplitude_Start_Session", "amp." + "x" * 59]


def test_null_objects_and_lists_lose_nothing_else(move: Move) -> None:
    """Neither the event nor the rest of its file."""
    lines = [
        exported(8, user_properties=None, event_properties=None),
        exported(9, user_properties={"deep": {"er": 1}}, event_properties={"list": ["a", "b"], "object": {"in": 9.5}}),
        exported(10, event_properties={"kept": "yes"}),
    ]
    found = {event["key"]: event.get("properties") for event in move.moved(*lines)}
    assert list(found) == ["user-8", "user-9", "user-10"]
    assert found["user-9"]["object.in"] == 9.5
    assert found["user-10"] == {"kept": "yes"}


def test_one_broken_line_loses_no_other(move: Move) -> None:
    """It is told with its file and line."""
    found = move.moved(exported(11), b'{"event_type": "cut of', exported(12), exported(13, event_time="noon"))
    assert [event["key"] for event in found] == ["user-11", "user-12"]
    assert [("line 2" in str(one), "line 4" in str(one)) for one in move.refused] == [(True, False), (False, True)]
    assert all("271828_2026-11-01_7#0.json.gz" in str(one) for one in move.refused)


def test_types_stay_what_they_are(move: Move) -> None:
    """Numbers, booleans and null are not made texts."""
    properties = {"number": 14.5, "whole": 15, "yes": True, "no": False, "none": None, "text": "16"}
    [event] = move.moved(exported(14, event_properties=properties))
    assert event["properties"] == properties


def test_a_property_field_that_is_missing_is_left_out(move: Move) -> None:
    """The user's property of that name wins, as in the older tool; a value is a number or none."""
    move.settings["value_properties"] = ["price"]
    fields = {"country": "Portugal", "city": None, "user_properties": {"country": "Spain"}}
    lines = [exported(17, **fields, event_properties={"price": "18.5"}), exported(19, event_properties={"price": "x"})]
    first, second = move.moved(*lines, property_fields=["country", "city", "region"])
    assert (first["properties"]["country"], first["value"]) == ("Spain", 18.5)
    assert "city" not in first["properties"]
    assert second.get("value") is None


def test_nothing_is_posted_when_there_is_nothing(move: Move) -> None:
    """No empty batch."""
    move.moved(exported(20, event_type="$identify"))
    assert move.split.ledger == []


def test_what_split_does_not_take_is_not_taken_for_sent(move: Move) -> None:
    """It is tried again; the hour is not noted as done before Split has it, and comes again with the next pull."""
    move.amplitude.exports.add(AT, [exported(21), exported(22)])
    move.split.script("/api/events/bulk", [503, None])
    move.pull(AT)
    assert [event["key"] for event in move.split.events] == ["user-21", "user-22"]
    move.split.reset()
    move.states.clear()
    move.split.script("/api/events/bulk", [503, 503])
    with pytest.raises(TurnoutError):
        move.pull(AT)
    assert move.states == []


# Split's impressions to Amplitude


class Service:
    """An Amplitude, and the carriers of impressions to it."""

    def __init__(self) -> None:
        self.amplitude = AmplitudeSimulator()
        send = SendSettings.configure({"attempts": 1}, owner="send")
        known = Amplitude({"api_key": "key-1", "base_url": "http://amplitude.example"})
        transport = httpx.ASGITransport(self.amplitude)
        self.dispatcher = Dispatcher({"amplitude": known}, send=send, transport=transport)
        self.function = handler(self.dispatcher, {"send_as": "identify"})
        self.app = ImpressionsWebhook(self.dispatcher, {"send_as": "identify", "hook_secret": "s-1"})

    def post(self, payload: Any, **headers: str) -> list[dict[str, Any]]:
        """Return everything that the webhook sends as its answer."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        sent: list[Any] = []
        told = [(b"x-turnout-secret", b"s-1"), *((name.encode(), value.encode()) for name, value in headers.items())]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": told, "query_string": b""}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        return [one for one in sent if one["type"] == "http.response.start"]


def impression(number: int, **fields: Any) -> dict[str, Any]:
    told = {"key": f"guest-{number}", "split": f"flag-{number}", "treatment": f"treatment-{number}"}
    return {**told, "time": 1767225600000 + number, "environmentId": f"env-{number}", **fields}


@pytest.fixture
def service() -> Iterator[Service]:
    """A service with an Amplitude that knows nobody."""
    one = Service()
    yield one
    one.dispatcher.close()


HOSTILE = ['"', "\\", "'", '","admin":"yes', "\n", "\u2028", "{}", "`${x}`", "ø⛴"]


@pytest.mark.parametrize("text", HOSTILE)
def test_quotes_and_backslashes_break_no_json(service: Service, text: str) -> None:
    """In key, flag and treatment: they arrive as they are, as one property of one user."""
    assert service.post([impression(1, key=f"guest {text}", split=f"flag {text}", treatment=f"on {text}")])
    [user] = service.amplitude.users
    assert user["user_id"] == f"guest {text}"
    assert {key: value for key, value in user["user_properties"].items() if key != "id"} == {
        f"flag {text}": f"on {text}"
    }


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_a_webhook_is_answered_once_however_many_impressions_it_has(service: Service, count: int) -> None:
    """Also an empty one; the status is 200, which is all that counts as success."""
    [answer] = service.post([impression(number) for number in range(count)])
    assert answer["status"] == 200


def test_an_error_is_not_answered_with_200(service: Service) -> None:
    """Split sends a batch once more only when it hears of the failure."""
    service.amplitude.fail(500)
    [answer] = service.post([impression(3)])
    assert answer["status"] == 503
    [answer] = service.post([impression(3)])
    assert answer["status"] == 200
    assert len(service.amplitude.users) == 1


def test_success_of_the_function_is_no_failure(service: Service) -> None:
    """200 for what was sent, 500 for what has to come again."""
    assert service.function([impression(4)], None)["statusCode"] == 200
    service.amplitude.fail(500)
    assert service.function([impression(5)], None)["statusCode"] == 500


def test_nobody_is_moved_to_another_country(service: Service) -> None:
    """A sample says "United States" of everybody, which also forgets region, city and area."""
    service.function([impression(6)], None)
    [sent] = [entry.body["identification"] for entry in service.amplitude.ledger]
    places = {"country", "region", "city", "dma"}
    assert not places & set(sent[0] if isinstance(sent, list) else sent)


def test_the_function_takes_the_envelope_of_an_api_gateway(service: Service) -> None:
    """With a body in base64, packed; the bare array too."""
    packed = base64.b64encode(gzip.compress(json.dumps([impression(7)]).encode())).decode()
    envelopes: list[Any] = [
        {"version": "2.0", "headers": {"content-encoding": "gzip"}, "body": packed, "isBase64Encoded": True},
        {"httpMethod": "POST", "headers": None, "body": json.dumps([impression(8)]), "isBase64Encoded": False},
        [impression(9)],
    ]
    assert [service.function(one, None)["statusCode"] for one in envelopes] == [200] * 3
    assert [user["user_id"] for user in service.amplitude.users] == ["guest-7", "guest-8", "guest-9"]


def test_gzip_is_unpacked_without_its_header(service: Service) -> None:
    """A proxy may have dropped it."""
    body = gzip.compress(json.dumps([impression(10)]).encode())
    for headers in ({}, {"content-encoding": "gzip"}):
        assert [one["status"] for one in service.post(body, **headers)] == [200]
    assert [user["user_id"] for user in service.amplitude.users] == ["guest-10"]


def test_a_batch_is_one_request_with_one_identification_for_each_key(service: Service) -> None:
    """The latest treatment of a flag wins, in whatever order they come."""
    batch = [impression(number, key=f"guest-{number % 3}", split=f"flag-{number % 2}") for number in range(60)]
    service.post(list(reversed(batch)))
    [entry] = service.amplitude.ledger
    assert len(entry.body["identification"]) == 3
    user = service.amplitude.user("guest-0")
    assert user is not None
    assert (user["user_properties"]["flag-0"], user["user_properties"]["flag-1"]) == ("treatment-54", "treatment-57")


def test_amplitude_is_given_the_pause_that_it_asks_for(service: Service) -> None:
    """429: Split is told to come again, and nothing is lost or counted twice."""
    service.amplitude.script("/identify", [429])
    assert [one["status"] for one in service.post([impression(11)])] == [503]
    assert [one["status"] for one in service.post([impression(11)])] == [200]
    assert [user["user_id"] for user in service.amplitude.users] == ["guest-11"]

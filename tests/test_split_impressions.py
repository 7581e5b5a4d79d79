"""Split's impressions: every shape, both mappings, and the three carriers; none of the mistakes of Split's samples."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from turnout import Dispatcher, Refusal, SettingsError
from turnout.config import LogSettings, SendSettings
from turnout.sqlite_log import SqliteLog
from turnout_amplitude import Amplitude
from turnout_amplitude.simulator import AmplitudeSimulator
from turnout_sources.split_impressions import SplitImpressions
from turnout_sources.split_lambda import handler
from turnout_sources.split_listener import ImpressionListener
from turnout_sources.split_webhook import ImpressionsWebhook

TIME = 1_795_348_800_123
WEBHOOK = {
    "key": "guest-41",
    "split": "new_checkout",
    "environmentId": "env-42",
    "environmentName": "Prod-Berlin",
    "treatment": "blue",
    "time": TIME,
    "bucketingKey": None,
    "label": "in segment testers",
    "machineName": "NA",
    "machineIp": "10.4.4.4",
    "splitVersionNumber": 177,
    "sdk": "java-client",
    "sdkVersion": "4.13.0",
    "properties": None,
}


def read(payload: Any, **settings: Any) -> list[Any]:
    """Return what the source makes of a payload; refusals as (code, path)."""
    found = SplitImpressions(settings).read(payload)
    return [(one.reason.code.value, one.reason.path) if isinstance(one, Refusal) else one for one in found]


# Events


def test_an_impression_becomes_an_event() -> None:
    """Named as Split's own integration does, at its time, with what the webhook tells."""
    (event,) = read([WEBHOOK], traffic_type="guest")
    message_id = event.pop("messageId")
    assert message_id.startswith("split-")
    assert event == {
        "type": "track",
        "event": "get_treatment",
        "userId": "guest-41",
        "timestamp": "2026-11-22T12:00:00.123Z",
        "properties": {
            "split": "new_checkout",
            "treatment": "blue",
            "label": "in segment testers",
            "environmentName": "Prod-Berlin",
            "environmentId": "env-42",
            "splitVersionNumber": 177,
            "sdk": "java-client",
            "sdkVersion": "4.13.0",
            "machineIp": "10.4.4.4",
            "trafficType": "guest",
        },
        "context": {"integration": {"name": "Split Impressions", "version": "1.0.0"}},
    }


LISTENER = {"key": "guest-41", "split": "new_checkout", "treatment": "blue", "label": "default rule", "time": TIME}
SHAPES: dict[str, Any] = {
    "webhook": [WEBHOOK | {"label": "default rule"}],
    "one object": LISTENER,
    "JS listener": {
        "impression": {
            "keyName": "guest-41",
            "feature": "new_checkout",
            "treatment": "blue",
            "label": "default rule",
            "time": TIME,
            "changeNumber": 177,
        },
        "attributes": {"key": "someone else"},
        "sdkLanguageVersion": "nodejs-10.22.0",
        "ip": False,
        "hostname": "web-7",
    },
    "bulk post": [
        {"f": "new_checkout", "i": [{"k": "guest-41", "t": "blue", "r": "default rule", "m": TIME, "c": 177}]}
    ],
    "older bulk post": [
        {
            "testName": "new_checkout",
            "keyImpressions": [{"keyName": "guest-41", "treatment": "blue", "label": "default rule", "time": TIME}],
        }
    ],
    "envelope": {"body": json.dumps([LISTENER]), "isBase64Encoded": False},
    "packed envelope": {
        "body": base64.b64encode(gzip.compress(json.dumps([LISTENER]).encode())).decode(),
        "isBase64Encoded": True,
    },
    "text": json.dumps([LISTENER]),
    "packed": gzip.compress(json.dumps([LISTENER]).encode()),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_says_the_same(shape: str) -> None:
    """Webhook, listeners, bulk posts, envelopes, and with gzip that no header tells of."""
    (event,) = read(SHAPES[shape])
    assert (event["userId"], event["timestamp"]) == ("guest-41", "2026-11-22T12:00:00.123Z")
    assert {name: event["properties"][name] for name in ("split", "treatment", "label")} == {
        "split": "new_checkout",
        "treatment": "blue",
        "label": "default rule",
    }


def test_an_empty_batch_is_nothing() -> None:
    """And no mistake."""
    assert read([]) == read({"body": "[]"}) == []


def test_the_same_impression_has_the_same_id_and_another_one_another() -> None:
    """So a webhook that comes twice counts once; whatever differs in an impression makes another id."""
    ids = {read([WEBHOOK])[0]["messageId"], read([dict(reversed(WEBHOOK.items()))])[0]["messageId"]}
    assert len(ids) == 1
    for name in ("key", "split", "environmentId", "treatment", "bucketingKey"):
        ids.add(read([WEBHOOK | {name: f"other {name}"}])[0]["messageId"])
    for name in ("time", "splitVersionNumber"):
        ids.add(read([WEBHOOK | {name: 5}])[0]["messageId"])
    assert len(ids) == 8


def test_a_key_is_a_user_or_a_device() -> None:
    """By default, by traffic type, and by environment; the environment wins."""
    ids = {"Prod-Berlin": "device_id", "anonymous": "device_id", "env-43": "user_id"}
    assert read([WEBHOOK], id_type="device_id")[0]["anonymousId"] == "guest-41"
    assert read([WEBHOOK], id_types=ids)[0]["anonymousId"] == "guest-41"
    other = WEBHOOK | {"environmentName": "Stage", "environmentId": "env-43"}
    assert read([other], id_types=ids, traffic_type="anonymous")[0]["userId"] == "guest-41"
    unknown = WEBHOOK | {"environmentName": None, "environmentId": None}
    assert read([unknown], id_types=ids, traffic_type="anonymous")[0]["anonymousId"] == "guest-41"
    assert read([unknown], id_types=ids, environment="Prod-Berlin")[0]["anonymousId"] == "guest-41"


def test_environments_and_control_are_left_out() -> None:
    """`control` says that a flag could not be evaluated; it can be wanted."""
    other = WEBHOOK | {"environmentName": "Stage", "environmentId": "env-43"}
    control = WEBHOOK | {"treatment": "control"}
    assert [one["properties"]["environmentId"] for one in read([WEBHOOK, other], environments=["Stage"])] == ["env-43"]
    assert [one["properties"]["environmentId"] for one in read([WEBHOOK, other], environments=["env-42"])] == ["env-42"]
    assert read([control]) == []
    assert read([control], skip_control=False)[0]["properties"]["treatment"] == "control"


def test_the_name_of_the_event_can_be_chosen() -> None:
    """Up to 1,024 characters."""
    assert read([WEBHOOK], event_name="x" * 1024)[0]["event"] == "x" * 1024
    with pytest.raises(SettingsError, match=r"'event_name' must have 1 to 1,024 characters, not 1,025\."):
        SplitImpressions({"event_name": "x" * 1025})


# Identify


def test_a_batch_becomes_one_identify_for_each_key() -> None:
    """One property for each flag; of several treatments the latest wins, wherever it stands."""
    batch = [
        WEBHOOK | {"treatment": "late", "time": TIME + 9},
        WEBHOOK | {"treatment": "early", "time": TIME},
        WEBHOOK | {"split": "banner", "treatment": "off", "time": TIME + 5},
        WEBHOOK | {"key": "guest-44", "treatment": "v2"},
    ]
    first, second = read(batch, send_as="identify")
    assert (first["type"], first["userId"], first["timestamp"]) == ("identify", "guest-41", "2026-11-22T12:00:00.132Z")
    assert first["traits"] == {"new_checkout": "late", "banner": "off"}
    assert (second["userId"], second["traits"]) == ("guest-44", {"new_checkout": "v2"})
    again = read([*reversed(batch)], send_as="identify")
    assert {one["messageId"] for one in again} == {first["messageId"], second["messageId"]}


# Bad input


@pytest.mark.parametrize(
    ("broken", "path"),
    [
        ({}, "/1/key"),
        (WEBHOOK | {"key": ""}, "/1/key"),
        (WEBHOOK | {"key": ["x"]}, "/1/key"),
        (WEBHOOK | {"split": None}, "/1/split"),
        (WEBHOOK | {"treatment": True}, "/1/treatment"),
        (WEBHOOK | {"time": "noon"}, "/1/time"),
        (WEBHOOK | {"time": 10**18}, "/1/time"),
        (WEBHOOK | {"time": 1.5}, "/1/time"),
        (WEBHOOK | {"properties": "{"}, "/1/properties"),
        ({"f": "x", "i": [{"k": "guest-41"}]}, "/1/i/0/treatment"),
        ("text", "/1"),
        (None, "/1"),
        ({"body": "%%%", "isBase64Encoded": True}, "/1/body"),
        ({"body": "{"}, "/1/body"),
    ],
)
def test_a_broken_impression_is_told_with_its_place(broken: Any, path: str) -> None:
    """And the others go on."""
    found = read([WEBHOOK, broken, WEBHOOK])
    assert [one[1] for one in found if isinstance(one, tuple)] == [path]
    assert len(found) == 3


def test_one_broken_impression_among_ten_thousand() -> None:
    """It is told, and 9,999 events come."""
    batch: list[Any] = [WEBHOOK | {"key": f"guest-{number}"} for number in range(10_000)]
    batch[7321] = {**batch[7321], "treatment": {}}
    found = read(batch)
    assert [one for one in found if isinstance(one, tuple)] == [("field_invalid", "/7321/treatment")]
    assert len(found) == 10_000


@pytest.mark.parametrize(
    "payload",
    [b"{", b"\xff", gzip.compress(b"[]")[:-4], b"\x1f\x8bxx", "[1e999]", b""],
    ids=["cut", "no text", "cut gzip", "no gzip", "a number", "nothing"],
)
def test_a_payload_that_can_not_be_read_is_refused(payload: Any) -> None:
    """As a whole."""
    with pytest.raises(Refusal):
        read(payload)


# Carriers


@pytest.fixture
def amplitude() -> Iterator[tuple[AmplitudeSimulator, str]]:
    simulator = AmplitudeSimulator()
    with simulator.serve() as url:
        yield simulator, url


def sending(url: str, **given: Any) -> Dispatcher:
    send = SendSettings.configure({"attempts": 1, "timeout_seconds": 2.0}, owner="send")
    return Dispatcher([Amplitude({"api_key": "key-45", "base_url": url})], send=send, **given)


QUOTED = WEBHOOK | {"key": 'guest "46\\', "split": 'flag\'s "name"', "treatment": "a\\b"}


def test_quotes_and_backslashes_arrive_as_they_are(amplitude: tuple[AmplitudeSimulator, str]) -> None:
    """A sample builds its JSON by hand, which they break."""
    simulator, url = amplitude
    sending(url).send(read([QUOTED], send_as="identify"))
    (user,) = simulator.users
    assert user["user_id"] == 'guest "46\\'
    assert user["user_properties"]['flag\'s "name"'] == "a\\b"
    assert "country" not in simulator.identifies[0]


def ask(app: Any, body: bytes, path: str = "/hook/s3cret-47", **given: Any) -> httpx.Response:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://hooks") as client:
            return await client.request(given.pop("method", "POST"), path, content=body, **given)

    return asyncio.run(main())


def test_the_webhook_hands_on_before_it_answers(amplitude: tuple[AmplitudeSimulator, str]) -> None:
    """200 once for a whole batch, packed with or without the header; an empty one and a single object too."""
    simulator, url = amplitude
    app = ImpressionsWebhook(sending(url), {"hook_secret": "s3cret-47"})
    packed = gzip.compress(json.dumps([WEBHOOK, QUOTED]).encode())
    for body, headers in ((packed, {"content-encoding": "gzip"}), (packed, {}), (b"[]", {}), (b"", {})):
        assert ask(app, body, headers=headers).status_code == 200
    assert ask(app, json.dumps(WEBHOOK).encode(), "/", headers={"x-turnout-secret": "s3cret-47"}).status_code == 200
    assert len(simulator.events) == 2  # Amplitude knows the copies by their ids


def test_the_webhook_asks_split_to_come_again(amplitude: tuple[AmplitudeSimulator, str]) -> None:
    """With another status than 200, when Amplitude could not be reached; then nothing counts twice."""
    simulator, url = amplitude
    app = ImpressionsWebhook(sending(url), {"hook_secret": "s3cret-47"})
    simulator.fail(503, after_store=True)
    body = json.dumps([WEBHOOK]).encode()
    assert ask(app, body).status_code == 503
    assert ask(app, body).status_code == 200
    assert len(simulator.events) == 1


def test_the_webhook_knows_who_sends() -> None:
    """By the secret in the path or the header; other methods and huge bodies are refused."""
    taken: list[Any] = []
    app = ImpressionsWebhook(taken.append, {"hook_secret": "s3cret-47"}, most=1000)
    assert [ask(app, b"[]", path).status_code for path in ("/", "/s3cret-4", "/s3cret-47/x")] == [401] * 3
    assert ask(app, b"[]", method="GET").status_code == 405
    assert ask(app, b" " * 1001).status_code == 413
    assert ask(app, b"{").status_code == 400
    answer = ask(app, json.dumps([WEBHOOK, {}]).encode())
    assert answer.json()["events"] == 1
    assert answer.json()["refused"][0]["path"] == "/1/key"
    assert len(taken) == 1
    with pytest.raises(SettingsError, match="A webhook needs a hook_secret"):
        ImpressionsWebhook(taken.append, {})


def test_the_webhook_keeps_in_a_log(tmp_path: Path) -> None:
    """When the dispatcher has one."""
    log = LogSettings.configure({"path": str(tmp_path / "turnout.log")}, owner="log")
    dispatcher = Dispatcher([], log=log)
    app = ImpressionsWebhook(dispatcher, {"hook_secret": "s3cret-47"})
    assert ask(app, json.dumps([WEBHOOK]).encode()).status_code == 200
    dispatcher.close()
    opened = SqliteLog(tmp_path / "turnout.log")
    assert opened.last() == 1
    opened.close()


class Deadline:
    """A function's context with so much time left, less at each look."""

    def __init__(self, *left: int) -> None:
        self.left = list(left)

    def get_remaining_time_in_millis(self) -> int:
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def test_the_function_answers_success_with_200(amplitude: tuple[AmplitudeSimulator, str]) -> None:
    """A sample answers 500 to success; and takes only the bare batch, not what an API gateway makes of it."""
    simulator, url = amplitude
    function = handler(sending(url), {"send_as": "identify"})
    envelope = {
        "requestContext": {},
        "headers": {"content-encoding": "gzip"},
        "body": base64.b64encode(gzip.compress(json.dumps([WEBHOOK, QUOTED]).encode())).decode(),
        "isBase64Encoded": True,
    }
    answer = function(envelope, Deadline(60_000))
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == {"events": 2, "refused": 0, "sent": 2, "failed": 0}
    assert len(simulator.users) == 2
    assert len(simulator.ledger) == 1  # one request for the batch
    assert function([WEBHOOK, QUOTED], None)["statusCode"] == 200
    assert function([], None)["statusCode"] == 200
    assert function({"body": "{"}, None)["statusCode"] == 400
    assert function("{", None)["statusCode"] == 400


def test_the_function_answers_500_when_it_has_to_come_again(amplitude: tuple[AmplitudeSimulator, str]) -> None:
    """What Amplitude refuses for good is no reason to."""
    simulator, url = amplitude
    function = handler(sending(url))
    simulator.fail(503)
    assert function([WEBHOOK], None)["statusCode"] == 500
    assert function([WEBHOOK], None)["statusCode"] == 200
    bad = WEBHOOK | {"key": "anonymous"}
    answer = function([bad], None)
    assert (answer["statusCode"], json.loads(answer["body"])["failed"]) == (200, 1)
    assert len(simulator.events) == 1


def test_the_function_stops_before_its_deadline(amplitude: tuple[AmplitudeSimulator, str]) -> None:
    """It answers 500, and what was sent by then counts once when Split comes again."""
    simulator, url = amplitude
    batch = [WEBHOOK | {"key": f"guest-{number}"} for number in range(6)]
    function = handler(sending(url), batch=2, reserve_ms=3000)
    answer = function(batch, Deadline(9000, 5000, 2999))
    assert (answer["statusCode"], json.loads(answer["body"])["sent"]) == (500, 4)
    assert function(batch, Deadline(60_000))["statusCode"] == 200
    assert len(simulator.events) == 6


def test_the_function_breaks_off_what_takes_too_long(amplitude: tuple[AmplitudeSimulator, str]) -> None:
    """A vendor that doesn't answer is left before the deadline, with 500; nothing counts twice then."""
    simulator, url = amplitude
    function = handler(sending(url), reserve_ms=3000)
    simulator.fail(hang=True)
    answer = function([WEBHOOK], Deadline(3001))
    assert (answer["statusCode"], json.loads(answer["body"])["sent"]) == (500, 0)
    assert function([WEBHOOK], Deadline(60_000))["statusCode"] == 200
    assert len(simulator.events) == 1


@pytest.mark.parametrize("body", ["%%", base64.b64encode(gzip.compress(b"[]")[:-9]).decode()], ids=["base64", "gzip"])
def test_the_function_takes_no_body_that_it_can_not_read(body: str) -> None:
    """Damage on the way is no success."""
    function = handler(sending("http://127.0.0.1:9"))
    assert function({"body": body, "isBase64Encoded": True}, None)["statusCode"] == 400


@pytest.mark.parametrize(
    "odd", [{"headers": ["s3cret-48"]}, {"headers": {"x-turnout-secret": "\ud800"}}, {"path": "/\ud800"}]
)
def test_the_function_refuses_odd_secrets(odd: dict[str, Any]) -> None:
    """Whatever stands where a secret should: 401."""
    function = handler(sending("http://127.0.0.1:9"), {"hook_secret": "s3cret-48"})
    assert function({"body": "[]", **odd}, None)["statusCode"] == 401


def test_the_function_knows_who_calls(amplitude: tuple[AmplitudeSimulator, str]) -> None:
    """With a secret in its settings."""
    _, url = amplitude
    function = handler(sending(url), {"hook_secret": "s3cret-48"})
    assert function({"body": "[]"}, None)["statusCode"] == 401
    assert function({"body": "[]", "rawPath": "/x/s3cret-48"}, None)["statusCode"] == 200
    assert function({"body": "[]", "headers": {"X-Turnout-Secret": "s3cret-48"}}, None)["statusCode"] == 200


def test_the_listener_hands_on_in_batches_and_at_the_end() -> None:
    """`flush` waits for it; `close` takes no more."""
    taken: list[list[Any]] = []
    listener = ImpressionListener(lambda events: taken.append([*events]), batch=3, linger=3600.0)
    for number in range(7):
        listener.log_impression({"impression": LISTENER | {"key": f"guest-{number}"}})
    assert listener.flush(20)
    assert [one["userId"] for batch in taken for one in batch] == [f"guest-{number}" for number in range(7)]
    assert max(map(len, taken)) <= 3
    listener.log_impression({"impression": LISTENER})
    listener.close()
    assert sum(map(len, taken)) == 8
    listener.log_impression({"impression": LISTENER})
    assert (listener.dropped, listener.failed) == (1, 0)


def test_the_listener_never_blocks_and_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    """What doesn't fit is counted, and so is what the sink does not take at a second try."""
    go_on, begun = threading.Event(), threading.Event()

    def stuck(_events: Any) -> None:
        begun.set()
        go_on.wait()
        raise OSError("no disk")

    listener = ImpressionListener(stuck, most=5, batch=5, linger=0.0, retry_seconds=0.0)
    listener.log_impression({"impression": LISTENER})
    begun.wait()
    for data in (None, 5, {"impression": {}}, *({"impression": LISTENER} for _ in range(10))):
        listener.log_impression(data)
    assert listener.dropped == 8
    go_on.set()
    with caplog.at_level(logging.WARNING):
        assert listener.flush(20)
    assert listener.failed == 6
    assert "could not be handed on: OSError: no disk" in caplog.text
    listener.close()


def test_the_listener_takes_whatever_was_evaluated_with(caplog: pytest.LogCaptureFixture) -> None:
    """Attributes may be sets or objects, and are not read; an impression that is none of JSON harms no other."""
    taken: list[Any] = []
    listener = ImpressionListener(taken.extend, linger=3600.0)
    listener.log_impression({"impression": LISTENER | {"key": "guest-61"}, "attributes": {"roles": {"a", "b"}}})
    listener.log_impression({"impression": LISTENER | {"key": {"guest-62"}}, "attributes": None})
    listener.log_impression({"impression": LISTENER | {"key": "guest-63"}, "attributes": {7: object()}})
    with caplog.at_level(logging.WARNING):
        assert listener.flush(20)
    assert [one["userId"] for one in taken] == ["guest-61", "guest-63"]
    assert "An impression can't be read" in caplog.text
    listener.close()


PROGRAM = """
import sys
from splitio import get_factory
from splitio.client.factory import _wrap_impression_listener
from splitio.client.util import get_metadata
from turnout_sources.split_listener import ImpressionListener

def sink(events):
    with open(sys.argv[2], "a") as file:
        for event in events:
            print(event["userId"], event["properties"]["split"], event["properties"]["treatment"], file=file)

listener = ImpressionListener(sink, {"skip_control": False}, linger=3600.0)
factory = get_factory("localhost", config={"splitFile": sys.argv[1]})
factory.block_until_ready(5)
# In localhost mode the SDK leaves the listener out; this is how its other factories attach it.
factory._recorder._listener = _wrap_impression_listener(listener, get_metadata({"machineName": "m", "machineIp": "i"}))
client = factory.client()
client.get_treatment("guest-49", "banner")
client.get_treatments("guest-50", ["banner", "nothing"])
factory.destroy()
"""


def test_the_real_sdk_tells_the_listener(tmp_path: Path) -> None:
    """splitio_client in localhost mode; what waits is handed on when the process ends."""
    (tmp_path / "splits.yaml").write_text("- banner:\n    treatment: 'on'\n")
    command = [sys.executable, "-c", PROGRAM, tmp_path / "splits.yaml", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert sorted((tmp_path / "out").read_text().splitlines()) == [
        "guest-49 banner on",
        "guest-50 banner on",
        "guest-50 nothing control",
    ]

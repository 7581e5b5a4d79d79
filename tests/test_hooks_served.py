"""Webhooks through `turnout serve` as its users run it: from the vendor's post to the request at the other vendor."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from served import LIMIT, Served, configured, reached, served, settled

from turnout import Dispatcher, Refusal, events_of
from turnout_amplitude import Amplitude
from turnout_amplitude.simulator import AmplitudeSimulator
from turnout_sources.amplitude_export import AmplitudeExport
from turnout_sources.flagsmith import Flagsmith
from turnout_sources.split_impressions import SplitImpressions
from turnout_split.simulator import SplitSimulator

CASES = Path(__file__).parent / "cases"
SECRET = "hook-{}-41"
IDENTITY = {
    "identifier": "flags-user-1",
    "flags": [["font size", True, 12], ["banner", True, 'He said "hi" \\'], ["off", False, "hidden"]],
}
IMPRESSION = {
    "key": "split-user-1", "split": "checkout", "treatment": "two steps", "time": 1767225600123,
    "label": "in segment all", "environmentId": "env-1", "environmentName": "Production", "splitVersionNumber": 51,
}  # fmt: skip
EXPORTED = {
    "event_type": "Report Exported", "user_id": "export-user-1", "device_id": "device-1", "uuid": "uuid-1",
    "event_time": "2026-01-02 03:04:05.678901", "event_properties": {"pages": 7}, "session_id": 1767323000000,
}  # fmt: skip
POSTED = {
    "cohort_name": "Frequent buyers", "cohort_id": "9x4k2", "in_cohort": True, "computed_time": "1793509567",
    "message_id": "7d1c::enter::0", "users": [{"user_id": "cohort-user-1"}, {"user_id": "cohort-user-2"}],
}  # fmt: skip


class Bench(NamedTuple):
    """A gateway that delivers, with a source of each kind, and the two vendors that it delivers to."""

    folder: Path
    gateway: Served
    amplitude: AmplitudeSimulator
    split: SplitSimulator

    def post(self, source: str, payload: Any, *, in_path: bool = True, **headers: str) -> httpx.Response:
        """Return the answer to a webhook with its secret in the path, or in the header."""
        path, secret = f"/v1/hooks/{source}", SECRET.format(source)
        if in_path:
            path = f"{path}/{secret}"
        else:
            headers["x-turnout-secret"] = secret
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return httpx.post(f"{self.gateway.url}{path}", content=body, headers=headers, timeout=LIMIT)

    def delivered(self, *destinations: str) -> None:
        reached(lambda: settled(self.folder, *destinations), f"the end of delivery; {self.gateway.output}")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One gateway for all tests, each of which has users of its own."""
    folder, amplitude, split = tmp_path_factory.mktemp("hooks"), AmplitudeSimulator(), SplitSimulator()
    sources: dict[str, Any] = {
        name: {"plugin": plugin, "hook_secret": SECRET.format(name), "destinations": [to]}
        for name, plugin, to in (
            ("flags", "flagsmith", "amplitude"),
            ("impressions", "split_impressions", "amplitude"),
            ("export", "amplitude_export", "amplitude"),
            ("cohorts", "amplitude_cohorts", "split"),
        )
    }
    sources["flags"]["flag_prefix"] = "flag "
    with amplitude.serve() as amplitude_url, split.serve() as split_url:
        destinations = {
            "amplitude": {"plugin": "amplitude", "api_key": "key-82", "base_url": amplitude_url},
            "split": {
                "plugin": "split", "base_url": split_url, "send_events": False, "sync_segments": True,
                "admin_api_key": "admin-1", "workspace_id": "ws-1", "environment_id": "env-1",
                "traffic_type_id": "tt-1",
            },
        }  # fmt: skip
        with served(configured(folder, sources=sources, destinations=destinations)) as gateway:
            yield Bench(folder, gateway, amplitude, split)


def test_flags_of_an_identity_are_identified(bench: Bench) -> None:
    """A response of Flagsmith that somebody posts."""
    assert bench.post("flags", IDENTITY).json() == {"success": True}
    bench.delivered("amplitude")
    user = bench.amplitude.user("flags-user-1")
    assert user is not None
    properties = {key: value for key, value in user["user_properties"].items() if key != "id"}
    assert properties == {"flag font size": 12, "flag banner": 'He said "hi" \\', "flag off": False}


def test_impressions_become_events_once(bench: Bench) -> None:
    """Split's batch, packed as Split does it; it comes twice when Split didn't hear the answer."""
    body = gzip.compress(json.dumps([IMPRESSION, {**IMPRESSION, "key": None}]).encode())
    for headers in ({"content-encoding": "gzip"}, {}):
        answer = bench.post("impressions", body, **headers, **{"content-type": "application/json"})
        assert answer.status_code == 200
        assert [one["path"] for one in answer.json()["rejected"]] == ["/1/key"]
    bench.delivered("amplitude")
    [event] = [one for one in bench.amplitude.events if one.get("user_id") == "split-user-1"]
    assert (event["event_type"], event["time"]) == ("get_treatment", 1767225600123)
    assert event["event_properties"]["treatment"] == "two steps"
    assert bench.amplitude.duplicates == 0


def test_exported_events_come_back(bench: Bench) -> None:
    """With the secret in the header."""
    assert bench.post("export", [EXPORTED], in_path=False).json() == {"success": True}
    bench.delivered("amplitude")
    [event] = [one for one in bench.amplitude.events if one.get("user_id") == "export-user-1"]
    assert (event["event_type"], event["time"], event["session_id"]) == (
        "Report Exported",
        1767323045678,
        1767323000000,
    )
    assert (event["device_id"], event["insert_id"]) == ("device-1", "uuid-1")


def test_a_cohort_webhook_fills_and_empties_a_segment(bench: Bench) -> None:
    """Who enters is a key of the segment, who leaves is none any more."""
    assert bench.post("cohorts", POSTED).json() == {"success": True}
    bench.delivered("split")
    segment = "Amplitude_Frequent_buyers_9x4k2"
    assert bench.split.keys("env-1", segment) == {"cohort-user-1", "cohort-user-2"}
    left = {**POSTED, "in_cohort": False, "message_id": "8e2d::leave::0", "users": [{"user_id": "cohort-user-1"}]}
    assert bench.post("cohorts", left, **{"user-agent": "Amplitude/Webhook/1.0"}).json() == {"success": True}
    bench.delivered("split")
    assert bench.split.keys("env-1", segment) == {"cohort-user-2"}


def test_the_example_takes_what_split_posts(tmp_path: Path) -> None:
    """`examples/split-impressions.toml`, with free ports: Split's webhook hears 200, and Amplitude knows the users.

    Those of an environment that the example does not name are left out.
    """
    amplitude, split = AmplitudeSimulator(), SplitSimulator()
    text = (CASES.parent.parent / "examples" / "split-impressions.toml").read_text(encoding="utf-8")
    batch = [
        {"key": "guest-51", "split": "checkout", "treatment": "blue", "environmentName": "Production", "time": 2000},
        {"key": "guest-51", "split": "checkout", "treatment": "red", "environmentName": "Production", "time": 1000},
        {"key": "guest-52", "split": "banner", "treatment": "on", "environmentName": "Staging"},
    ]
    with amplitude.serve() as url:
        moved = text.replace("http://127.0.0.1:8765", url).replace("8080", "0").replace("9090", "0")
        path = tmp_path / "turnout.toml"
        path.write_text(moved.replace("impressions.log", str(tmp_path / "turnout.log")), encoding="utf-8")
        with served(path) as gateway:
            posted = split.post_impressions(f"{gateway.url}/v1/hooks/split/example-secret", batch)
            assert posted.statuses == [200]
            reached(lambda: settled(tmp_path), "the end of delivery")
            wrong = split.post_impressions(f"{gateway.url}/v1/hooks/split/another-secret", batch)
            assert (wrong.statuses, wrong.lost) == ([401, 401], True)
    [user] = amplitude.users
    assert (user["user_id"], user["user_properties"]["checkout"]) == ("guest-51", "blue")


@pytest.mark.parametrize("name", ["flags", "impressions", "export", "cohorts"])
@pytest.mark.parametrize("body", [b"", b"{", b"[1e999]", b'["\\ud800"]', b"\x1f\x8bnonsense", b"\xff\xfe"])
def test_a_broken_payload_is_told_and_the_gateway_goes_on(bench: Bench, name: str, body: bytes) -> None:
    """Never 500, and an exception's traceback is nowhere."""
    answer = bench.post(name, body)
    refused = answer.status_code == 400 or bool(answer.json().get("rejected")) or not body
    assert answer.status_code in (200, 400)
    assert refused, answer.text
    assert bench.gateway.health("/livez").status_code == 200
    assert "Traceback" not in bench.gateway.output


def test_a_secret_of_another_source_is_none(bench: Bench) -> None:
    """401, as for no source at all."""
    answers = [
        httpx.post(f"{bench.gateway.url}/v1/hooks/{place}", content=b"[]", timeout=LIMIT)
        for place in (f"cohorts/{SECRET.format('flags')}", f"nobody/{SECRET.format('flags')}", "cohorts", "cohorts/")
    ]
    assert [answer.status_code for answer in answers] == [401] * 4
    assert len({answer.text for answer in answers}) == 1
    assert SECRET.format("flags") not in bench.gateway.output


# A chain of two


def _events() -> list[dict[str, Any]]:
    """Return events of each source, as they may pass through two turnouts."""
    found: list[Any] = [
        *events_of(Flagsmith({}), IDENTITY),
        *events_of(SplitImpressions({}), [IMPRESSION]),
        *events_of(AmplitudeExport({"include_identify": True}), [EXPORTED]),
    ]
    assert not [one for one in found if isinstance(one, Refusal)]
    call = {"userId": "chain-user-1", "anonymousId": "chain-device-1", "timestamp": "2026-02-03T04:05:06.789Z"}
    more = [
        {"type": "page", "name": "Pricing", "messageId": "chain-page", "context": {"page": {"path": "/pricing"}}},
        {"type": "group", "groupId": "group-1", "messageId": "chain-group", "traits": {"seats": 40}},
        {"type": "track", "event": "Order Completed", "messageId": "chain-order",
         "properties": {"order_id": "o-1", "revenue": 61, "products": [{"product_id": "p-1", "price": 30.5}]},
         "integrations": {"Amplitude": {"session_id": 1767323111000, "event_id": 64}}},
        {"type": "track", "event": "Kept Away", "messageId": "chain-away", "integrations": {"Amplitude": False}},
    ]  # fmt: skip
    first = [{key: value for key, value in one.items() if key != "projectId"} for one in found]
    named = [{"messageId": f"chain-{number}", **one} for number, one in enumerate(first)]
    return [*({"timestamp": "2026-02-03T04:05:05.432Z", **one} for one in named), *({**call, **one} for one in more)]


def test_a_chain_of_two_gives_the_vendor_what_one_would(tmp_path: Path) -> None:
    """Segment's destination into a second `turnout serve`, and from there to Amplitude: each item is the same.

    Ids, times and options of integrations included, and what is kept from a vendor stays kept from it.
    """
    events, amplitude = _events(), AmplitudeSimulator()
    settings = {"api_key": "key-83", "track_all_pages": True}
    wanted = _items(events, settings)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with amplitude.serve() as url:
        last = {"amplitude": {"plugin": "amplitude", "base_url": url, **settings}}
        with served(configured(tmp_path / "two", destinations=last)) as second:
            on = {"next": {"plugin": "segment", "write_key": "wk-web-81", "base_url": second.url}}
            with served(configured(tmp_path / "one", destinations=on)) as first:
                assert first.post("/v1/batch", {"batch": events}).json() == {"success": True}
                reached(lambda: settled(tmp_path / "one", "next"), "the end of the first delivery")
                reached(lambda: settled(tmp_path / "two"), "the end of the second delivery")
    sent = [one for entry in amplitude.ledger for one in _sent(entry.body)]
    assert sorted(sent) == sorted(wanted)
    assert not [text for text in sent if "Kept Away" in text]


def _items(events: list[dict[str, Any]], settings: dict[str, Any]) -> list[str]:
    """Return the items of the plans of events, as texts."""
    dispatcher = Dispatcher({"amplitude": Amplitude(settings)})
    plans = [plan.to_dict() for event in events for plan in dispatcher.plan(event)]
    return [text for plan in plans for request in plan["requests"] for text in _sent(request["body"])]


def _sent(body: Any) -> list[str]:
    """Return the items of a body."""
    found = next(body[name] for name in ("events", "identification", "mapping") if name in body)
    items = found if isinstance(found, list) else [found]
    return [json.dumps(one, sort_keys=True) for one in items]

"""The laws of the design, as far as planning and sending go; each test names its law."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout import (
    ITEMS,
    Batch,
    Destination,
    Dispatcher,
    Endpoint,
    Event,
    Item,
    Normaliser,
    Note,
    Outcome,
    Tally,
    json_body,
    load_destination,
    rule,
    setting,
)
from turnout.cases import Case
from turnout.cli import main
from turnout.errors import ConfigError
from turnout.settings import Settings, text
from turnout_amplitude.simulator import AmplitudeSimulator

Make = Callable[..., dict[str, Any]]
CASES = sorted((Path(__file__).parent / "cases" / "amplitude").glob("*.json"))


def amplitude(**given: Any) -> Destination:
    return load_destination("amplitude")({"api_key": "key-1234", **given})


# 1. Mapping is pure


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_law_1_mapping_is_a_function_of_event_and_settings(path: Path) -> None:
    """Mapped again, by another dispatcher, in the other order: the same plan; and the event is unchanged."""
    case = Case.load(path)
    first, second = case.dispatcher(), case.dispatcher()
    sources = [json.dumps(source).encode() for source in case.events]
    plans = {source: [plan.to_dict() for row in first.plan_body(source) for plan in row] for source in sources}
    for source in reversed(sources):
        assert [plan.to_dict() for row in second.plan_body(source) for plan in row] == plans[source]
        for event in first.read_body(source):
            if isinstance(event, Event):
                before = event.to_dict()
                first.plan(event)
                typed = (event.properties, event.traits, event.integrations, event.metadata)
                fresh = Normaliser(clock=lambda: case.now).event(event.raw)
                assert typed == (fresh.properties, fresh.traits, fresh.integrations, fresh.metadata)
                assert event.to_dict() == before


def test_law_1_a_mapping_caller_keeps_its_event(bench: Any, call: Make) -> None:
    """The dict that is planned and sent is not touched, nested values included."""
    event = call("m-1", nested={"list": [1, {"a": None}]}, integrations={"All": True})
    before = json.dumps(event)
    bench.dispatcher().plan(event)
    bench.dispatcher().send([event])
    assert json.dumps(event) == before


# 2. One path


def test_law_2_what_is_planned_is_what_is_sent(bench: Any, call: Make) -> None:
    """Method, URL, headers and body of each request, byte for byte, when events are sent one by one."""
    got: list[dict[str, Any]] = []

    async def vendor(scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        url = f"https://{headers['host']}{scope['path']}" + (
            f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
        )
        got.append({"method": scope["method"], "url": url, "headers": headers, "body": (await receive())["body"]})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    dispatcher = bench.dispatcher(transport=httpx.ASGITransport(app=vendor))
    for event in (
        call("m-1", copies=4),
        call("m-2", "identify", traits={"a": "ü &="}),
        call("m-3", do="drop"),
    ):
        (plan,) = dispatcher.plan(event)
        got.clear()
        dispatcher.send([event])
        assert [(one["method"], one["url"], one["body"]) for one in got] == [
            (request.method, request.url, request.body) for request in plan.requests
        ]
        for one, request in zip(got, plan.requests, strict=True):
            assert one["headers"].items() >= request.headers.items()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_law_2_cases_and_the_command_line_say_the_same(path: Path, tmp_path: Path) -> None:
    """`turnout plan` writes for a case what its snapshot is compared with."""
    case = Case.load(path)
    (tmp_path / "settings.json").write_text(json.dumps(case.settings), encoding="utf-8")
    source = b"\n".join(msgspec.json.encode(event) for event in case.events)
    args = [
        "plan",
        "-d",
        case.destination,
        "--settings",
        str(tmp_path / "settings.json"),
        "--now",
        case.now.isoformat(),
    ]
    result = CliRunner().invoke(main, args, input=source)
    shown = [json.loads(line) for line in result.stdout.splitlines()]
    assert [_placeless(plan) for plan in shown] == [_placeless(plan) for plan in case.plan()]


def _placeless(plan: dict[str, Any]) -> dict[str, Any]:
    """Return a plan without the line that the command line puts in front of a refusal."""
    reason = plan["reason"]
    return {
        **plan,
        "reason": reason and {**reason, "message": re.sub(r"^line \d+(, event \d+)?: ", "", reason["message"])},
    }


# 5. Exactly one outcome


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["track", "identify", "page", "screen", "nonsense"]),
        st.sampled_from([{}, {"do": "drop"}, {"do": "refuse"}, {"do": "raise"}, {"do": "nothing"}, {"copies": 4}]),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(EVENTS, st.lists(st.sampled_from([200, 400, 413, None]), max_size=6))
def test_law_5_every_event_has_one_outcome_at_every_destination(kinds: Any, answers: list[int | None]) -> None:
    """As many outcomes as events times destinations, in order, each with a code unless delivered."""
    from tests.conftest import Acme, Bench

    bench = Bench()
    bench.vendor.script("/v1/p-1/events", answers)
    tally = Tally()
    both = [Acme({"api_key": f"key-{name}"}, id=name) for name in ("one", "two")]
    events = [
        {"type": kind, "event": "E", "userId": "u", "messageId": f"m-{number}", "properties": given}
        for number, (kind, given) in enumerate(kinds)
    ]
    settled = bench.dispatcher(*both, hooks=[tally]).send(events)
    assert [(row.message_id, row.destination) for row in settled] == [
        (event["messageId"], name) for event in events for name in ("one", "two")
    ]
    for row in settled:
        assert row.outcome in (
            Outcome.DELIVERED,
            Outcome.DROPPED,
            Outcome.INVALID,
            Outcome.FAILED,
            Outcome.DEAD,
        )
        assert (row.reason is None) == (row.outcome is Outcome.DELIVERED)
    assert sum(row.times for row in tally.settled()) == len(settled)


# 6. A destination can harm nobody else


class Harmful(Destination):
    """Fails in the way that it is told to."""

    name = "Harmful"
    out = Endpoint("POST", "https://harm.example/in", body=json_body(ITEMS))
    way: Any = None

    @rule("track")
    def harmful(self, event: Event) -> Any:
        """Harm."""
        return self.way(event)


def deep(event: Event) -> Any:
    return deep(event)


def change(event: Event) -> Any:
    event.properties.clear()
    event.properties["spoiled"] = True


def freeze(event: Event) -> Any:
    event.user_id = "other"


def half(event: Event) -> Iterator[Any]:
    yield None
    raise KeyError("x")


def leave(event: Event) -> Any:
    raise SystemExit(1)


def surrogate(event: Event) -> Any:
    raise ValueError("\ud800")


@pytest.mark.parametrize("way", [deep, change, freeze, half, leave, surrogate, lambda event: 5, lambda event: object()])
def test_law_6_an_exception_stays_with_its_destination(bench: Any, acme: Any, call: Make, way: Any) -> None:
    """Whatever a plugin does to itself, the one behind it plans and delivers the event as it came."""

    class Mine(Harmful):
        """Harm in one way."""

    Mine.way = staticmethod(way)
    dispatcher = bench.dispatcher(Mine({}), acme({"api_key": "key-1234"}))
    harmed, fine = dispatcher.send([call("m-1", size=1)])
    assert harmed.outcome in (Outcome.FAILED, Outcome.DROPPED)
    assert fine.outcome is Outcome.DELIVERED
    _, plan = dispatcher.plan(call("m-2", size=1))
    assert plan.to_dict()["requests"][0]["body"]["events"] == [{"name": "Sold", "id": "m-2", "size": 1}]
    assert msgspec.json.encode([one.to_dict() for one in dispatcher.plan(call("m-3"))])


@pytest.mark.parametrize("status", [400, 401, 500])
def test_law_6_a_vendors_refusal_stays_with_its_destination(bench: Any, acme: Any, call: Make, status: int) -> None:
    """A vendor that refuses everything costs the other one nothing."""
    bad = acme({"api_key": "key-1", "project": "bad"}, id="bad")
    good = acme({"api_key": "key-2"}, id="good")
    bench.vendor.fail(status, times=None, path="/v1/bad/events", headers={"retry-after": "0"})
    settled = bench.dispatcher(bad, good).send([call(f"m-{number}") for number in range(5)])
    assert {row.outcome for row in settled if row.destination == "good"} == {Outcome.DELIVERED}
    assert {row.outcome for row in settled if row.destination == "bad"} == {Outcome.DEAD}


# 7. The vendor's answer belongs to items


def test_law_7_a_refused_item_is_alone_in_its_trouble() -> None:
    """Amplitude refuses one event of a batch by its index; the others of the same request are delivered."""
    simulator = AmplitudeSimulator(index_mode="first")
    dispatcher = Dispatcher([amplitude()], transport=httpx.ASGITransport(app=simulator))
    good = [{"type": "track", "messageId": f"m-{n}", "userId": f"user-{n}", "event": "E"} for n in range(6)]
    for silenced in (1, 4):
        good[silenced]["anonymousId"] = f"device-{silenced}"
        simulator.silenced_devices.add(f"device-{silenced}")
    settled = dispatcher.send(good)
    assert [row.outcome.value for row in settled] == [
        "delivered",
        "dead",
        "delivered",
        "delivered",
        "dead",
        "delivered",
    ]
    assert all(row.reason is not None and "400" in row.reason.message for row in (settled[1], settled[4]))
    assert {event["insert_id"] for event in simulator.events} == {"m-0", "m-2", "m-3", "m-5"}


def test_law_7_one_wrong_item_of_many_is_found_by_halving(bench: Any, call: Make) -> None:
    """Where a vendor doesn't say which item is too large, the request is halved until it is found."""

    async def vendor(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 413 if b"m-1" in body else 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    dispatcher = bench.dispatcher(transport=httpx.ASGITransport(app=vendor))
    settled = dispatcher.send([call(f"m-{number}") for number in range(3)])
    assert [row.outcome.value for row in settled] == ["delivered", "dead", "delivered"]


# 8. Secrets never show


class LoudSettings(Settings):
    """Secrets for every place of a request."""

    in_url = text("A.", secret=True, default="secret-url-1")
    in_query = text("B.", secret=True, default="secret query/2")
    in_header = text("C.", secret=True, default="secret-header-3")
    in_body = text("D.", secret=True, default='secret"body\\4')
    in_item = text("E.", secret=True, default="secret-item-ü-5")
    in_error = text("F.", secret=True, default="secret-error-6")


SECRETS = [
    "secret-url-1",
    "secret query/2",
    "secret%20query%2F2",
    "secret-header-3",
    "secret-item-",
    "secret-error-6",
]
SECRETS += ['secret"body\\4', 'secret\\"body\\\\4']


class Loud(Destination):
    """Puts a secret into every place where one can be."""

    name = "Loud"
    settings = LoudSettings
    out = Endpoint(
        "POST",
        "https://acme.example/{in_url}?k={in_query}",
        body=json_body({"k": setting("in_body"), "all": ITEMS}),
        headers={"x-k": setting("in_header")},
        batch=Batch(items=5),
    )

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """Say it all."""
        if event.event == "raise":
            raise ValueError(f"{self.config.in_error} {self.config.in_body} {dict(self.config)}")
        yield Note(f"a note on {self.config.in_error}")
        yield self.out.item(
            {"auth": self.config.in_item, "list": [{"deep": self.config.in_item}], "id": event.message_id}
        )


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Refuse with everything that was sent, as some vendors do."""
    body = (await receive())["body"]
    told = repr(scope["path"]).encode() + scope["query_string"] + dict(scope["headers"]).get(b"x-k", b"") + body
    await send({"type": "http.response.start", "status": 400, "headers": []})
    await send({"type": "http.response.body", "body": told})


def test_law_8_no_secret_is_shown_anywhere(call: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Not in plans, reasons, outcomes, `repr`s or the log; and all of them are in what is sent."""
    dispatcher = Dispatcher([Loud({})], transport=httpx.ASGITransport(app=echo))
    events = [call("m-1"), call("m-2", event="raise"), call("m-3", do=5)]
    with caplog.at_level(logging.DEBUG, logger="turnout"):
        plans = [dispatcher.plan(event)[0] for event in events]
        settled = dispatcher.send(events)
    shown = [json.dumps(plan.to_dict(), ensure_ascii=False) for plan in plans]
    shown += [json.dumps(row.to_dict(), ensure_ascii=False) for row in settled] + [repr(settled), caplog.text]
    shown += [repr(dispatcher.destinations), repr(plans[0].target.config)]
    assert [row.outcome.value for row in settled] == ["dead", "failed", "dead"]
    for text_ in shown:
        assert not [secret for secret in SECRETS if secret in text_], text_
    whole = json.dumps(plans[0].to_dict(show_secrets=True), ensure_ascii=False)
    assert all(word in whole for word in ("secret-url-1", "secret-header-3", "secret-item-ü-5"))


def test_law_8_wrong_settings_are_named_without_their_values() -> None:
    """A secret in the wrong place is not repeated by the error."""
    with pytest.raises(ConfigError) as caught:
        Loud({"in_body": 5, "in_url": "secret-url-9", "base_url": "secret-url-9", "unknown": "secret-url-9"})
    assert "secret-url-9" not in str(caught.value)


# 9. null means absent


TEXTS = ["anonymousId", "groupId", "previousId", "name", "category"]
ABSENT = [*((key, None) for key in (*TEXTS, "context", "integrations")), *((key, "") for key in TEXTS)]


@pytest.mark.parametrize(("key", "absent"), ABSENT)
def test_law_9_null_and_empty_text_are_absent(key: str, absent: Any) -> None:
    """For ids, names and objects: the plan is that of the event without the key."""
    event = {
        "type": "track",
        "messageId": "m",
        "userId": "u",
        "event": "E",
        "timestamp": "2026-01-01T00:00:00Z",
    }
    dispatcher = Dispatcher([amplitude()])
    assert dispatcher.plan({**event, key: absent})[0].to_dict() == dispatcher.plan(event)[0].to_dict()


def test_law_9_null_passes_through_inside_properties_and_traits(bench: Any, call: Make) -> None:
    """At any depth: there it says something."""
    dispatcher = bench.dispatcher()
    (tracked,) = dispatcher.plan(call("m-1", colour=None, nested={"a": [None]}))
    assert tracked.to_dict()["requests"][0]["body"]["events"][0] == {
        "name": "Sold",
        "id": "m-1",
        "colour": None,
        "nested": {"a": [None]},
    }
    (known,) = dispatcher.plan(call("m-2", "identify", traits={"email": None}))
    assert known.to_dict()["requests"][0]["body"]["people"]["email"] is None


# 10. Bad input gets a clear error (tests/test_bad_input.py has the whole list)


@pytest.mark.parametrize(
    ("source", "path", "words"),
    [
        (b'{"type": "track", "userId": "u"}', "/event", "Name what was done"),
        (b'{"type": "track", "event": "E"}', None, "Give `userId`, `anonymousId` or both"),
        (
            b'{"type": "page", "userId": "u", "context": {"os": 5}}',
            "/context/os",
            "Send it so, or leave it out",
        ),
        (b'{"type": "page", "userId": "u", "timestamp": "x"}', "/timestamp", "Write ISO 8601"),
        (b"{", None, "Send one JSON object for each event"),
    ],
)
def test_law_10_an_error_says_what_where_and_what_next(source: bytes, path: str | None, words: str) -> None:
    """A code, a sentence, a JSON Pointer where there is a place, and the way out."""
    (plan,) = Dispatcher([amplitude()]).plan(source)
    assert plan.outcome is Outcome.INVALID
    assert plan.reason is not None
    assert (plan.reason.path, words in plan.reason.message) == (path, True)


def test_law_10_no_exception_reaches_an_async_caller(bench: Any, call: Make) -> None:
    """Bad events among good ones, from asyncio."""
    events = [b"\xff", call("m-1"), {"type": 5}, "[", call("m-2", do="raise")]
    settled = asyncio.run(bench.dispatcher().send_async(events))
    assert [row.outcome.value for row in settled] == ["invalid", "delivered", "invalid", "invalid", "failed"]


def test_items_know_their_rule_and_key() -> None:
    """What delivery and snapshots rely on: the rule's id, and the vendor's key made of the message id."""
    (plan,) = Dispatcher([amplitude()]).plan({"type": "track", "userId": "u", "event": "E", "messageId": "m-1"})
    item: Item = plan.items[0]
    assert item.rule
    assert json.loads(item.data)["insert_id"] == "m-1"

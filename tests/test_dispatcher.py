"""The dispatcher: what becomes of an event at each destination, without state of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from turnout import (
    ITEMS,
    ConfigError,
    Destination,
    Dispatcher,
    Drop,
    Endpoint,
    Event,
    Item,
    Normaliser,
    Settings,
    SettingsError,
    Tally,
    TurnoutError,
    hookimpl,
    json_body,
    rule,
    setting,
)
from turnout.config import LogSettings
from turnout.settings import flag, text
from turnout_amplitude import Amplitude

Make = Callable[..., dict[str, Any]]


def outcome(plans: list[Any]) -> tuple[str, str | None]:
    (plan,) = plans
    return plan.outcome.value, plan.reason and plan.reason.code.value


@pytest.mark.parametrize("form", ["bytes", "text", "mapping", "event"])
def test_an_event_may_be_given_in_four_forms(bench: Any, call: Make, form: str) -> None:
    """JSON bytes, JSON text, a mapping and an `Event` make the same plan."""
    source: Any = call("m-1", size=3)
    text = json.dumps(source)
    given = {"bytes": text.encode(), "text": text, "mapping": source, "event": Normaliser().event(text)}[form]
    (plan,) = bench.dispatcher().plan(given)
    (request,) = plan.to_dict()["requests"]
    assert request["body"] == {"key": "***", "events": [{"name": "Sold", "id": "m-1", "size": 3}]}


def test_a_plan_has_exactly_the_keys_of_the_contract(bench: Any, call: Make) -> None:
    """The plan of contract 5.1, key by key, headers in lower case and secrets masked where they stand."""
    (plan,) = bench.dispatcher().plan(call("m-1", copies=1))
    assert plan.to_dict() == {
        "message_id": "m-1",
        "destination": "acme",
        "outcome": "planned",
        "reason": None,
        "requests": [
            {
                "endpoint": "events",
                "method": "POST",
                "url": "https://acme.example/v1/p-1/events",
                "headers": {
                    "content-type": "application/json",
                    "x-project": "p-1",
                    "authorization": "Bearer ***",
                },
                "rules": ["tracked", "counted"],
                "body": {
                    "key": "***",
                    "events": [{"name": "Sold", "id": "m-1", "copies": 1}, {"copy": 0, "id": "m-1"}],
                },
            }
        ],
    }


def test_form_bodies_are_shown_as_the_object_of_their_fields(bench: Any, call: Make) -> None:
    """A form's JSON-valued field is decoded; its other fields are text."""
    (plan,) = bench.dispatcher().plan(call("m-1", "identify", traits={"a&b": "ü=%"}))
    (request,) = plan.to_dict(show_secrets=True)["requests"]
    assert request["body"] == {"key": "key-1234", "people": {"user": "user-m-1", "id": "m-1", "a&b": "ü=%"}}
    assert request["url"] == "https://acme.example/v1/people?v=2"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"do": "drop"}, ("dropped", "filtered")),
        ({"do": "refuse"}, ("invalid", "value_invalid")),
        ({"do": "raise"}, ("failed", "plugin_raised")),
        ({"do": "exit"}, ("failed", "plugin_raised")),
        ({"do": "nothing"}, ("dropped", "nothing_to_map")),
        ({"do": "result", "give": 5}, ("failed", "plugin_bad_result")),
        ({"do": "result", "give": "text"}, ("failed", "plugin_bad_result")),
        ({"do": "result", "give": {"an": "object"}}, ("failed", "plugin_bad_result")),
        ({"do": "result", "give": [1]}, ("failed", "plugin_bad_result")),
        ({"do": "result", "give": []}, ("dropped", "nothing_to_map")),
    ],
)
def test_each_way_that_a_rule_can_end_has_its_outcome(
    bench: Any, call: Make, given: dict[str, Any], expected: tuple[str, str]
) -> None:
    """Whatever a rule does, the plan has one outcome with its code, and no requests beside it."""
    plans = bench.dispatcher().plan(call("m-1", **given))
    assert outcome(plans) == expected
    assert plans[0].requests == []


@pytest.mark.parametrize(
    "value", [{1, 2}, b"bytes", object(), {5j: 1}, "\ud800"], ids=lambda value: type(value).__name__
)
def test_an_item_that_is_not_json_is_a_bad_result(call: Make, value: Any) -> None:
    """The reason has the place in the item."""

    class Odd(Destination):
        name = "Odd"
        events = Endpoint("POST", "https://odd.example/", body=json_body(ITEMS))

        @rule("track")
        def tracked(self, event: Event) -> Iterator[Item]:
            """Makes what JSON can't say."""
            yield self.events.item({"size": 3, "odd": value})

    (plan,) = Dispatcher([Odd({}, id="odd")]).plan(call("m-1"))
    assert outcome([plan]) == ("failed", "plugin_bad_result")
    assert "rule 'tracked' of destination 'odd'" in plan.reason.message
    assert "(/odd" in plan.reason.message


@pytest.mark.parametrize("form", [dict, json.dumps, lambda event: json.dumps(event).encode(), Normaliser().event])
def test_one_event_alone_is_no_list_of_events(
    bench: Any, call: Make, tmp_path: Path, form: Callable[[dict[str, Any]], Any]
) -> None:
    """Its keys, or its letters, would be taken for events that are all wrong."""
    dispatcher = bench.dispatcher(log=LogSettings.configure({"path": str(tmp_path / "turnout.log")}))
    event = form(call("m-1"))

    async def accept() -> None:
        await dispatcher.accept_async(event)

    with dispatcher:
        for use in (dispatcher.send, dispatcher.accept, lambda _: asyncio.run(accept())):
            with pytest.raises(TurnoutError, match=r"Several events are expected, .* Give a list, as in \[event\]\."):
                use(event)
        assert [receipt.message_id for receipt in dispatcher.accept([event])] == ["m-1"]


@pytest.mark.parametrize("form", [dict, json.dumps, lambda event: json.dumps(event).encode()])
def test_a_receipt_names_what_was_refused(
    bench: Any, call: Make, tmp_path: Path, form: Callable[[dict[str, Any]], Any]
) -> None:
    """As an outcome does: by the message id of the event, whatever else is wrong with it, and however it is given."""
    dispatcher = bench.dispatcher(log=LogSettings.configure({"path": str(tmp_path / "turnout.log")}))
    bad = [{**call("m-1"), "userId": True}, {**call("m-2"), "context": 3}]
    bad.append({"batch": [{**call("m-3"), "type": "nap"}, call("m-4")]})
    with dispatcher:
        receipts = dispatcher.accept([*map(form, bad), form({"type": "track"}), call("m-5", price=float("nan"))])
    assert [receipt.message_id for receipt in receipts] == ["m-1", "m-2", "m-3", "m-4", None, "m-5"]
    assert [receipt.accepted for receipt in receipts] == [False, False, False, True, False, False]


def test_an_id_that_can_not_be_written_takes_no_other_receipt_along(bench: Any, call: Make, tmp_path: Path) -> None:
    """What was given with it is kept, and its sender is told so."""
    dispatcher = bench.dispatcher(log=LogSettings.configure({"path": str(tmp_path / "turnout.log")}))
    odd = call("m-1") | {"messageId": 10**5000}
    with dispatcher:
        receipts = dispatcher.accept([odd, call("m-2")])
    assert [(receipt.message_id, receipt.accepted) for receipt in receipts] == [(None, False), ("m-2", True)]
    assert outcome(dispatcher.plan(odd)) == ("invalid", "number_out_of_range")


def test_a_dispatcher_takes_destinations_alone(bench: Any) -> None:
    """Not their names, nor their classes."""
    for wrong in ("amplitude", Destination):
        with pytest.raises(ConfigError, match="A dispatcher takes destinations, such as Amplitude"):
            Dispatcher([wrong])


def test_what_ran_before_a_rule_raised_is_not_sent(bench: Any, call: Make) -> None:
    """Failed is all or nothing: the items of the rules before are thrown away."""
    (plan,) = bench.dispatcher().plan(call("m-1", copies="many"))
    assert outcome([plan]) == ("failed", "plugin_raised")
    assert plan.items == []
    assert "rule 'counted'" in plan.reason.message


def test_a_raised_exception_names_rule_plugin_and_version(
    widget: Path, call: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason names rule, destination, package and version; the secret stays out of it and the log."""
    from turnout import load_destination

    dispatcher = Dispatcher([load_destination("widget")({"token": "tok-en-9"}, id="w")])
    with caplog.at_level(logging.ERROR, logger="turnout"):
        (plan,) = dispatcher.plan(call("m-1", event="Explode"))
    assert plan.reason.message == (
        "rule 'tracked' of destination 'w' (turnout_widget of turnout-widget 3.2.1) "
        "raised LookupError: no such widget for ***"
    )
    assert "tok-en-9" not in caplog.text
    assert "Explode" not in caplog.text


def test_a_call_type_without_rules_is_told_from_one_that_is_switched_off(bench: Any, call: Make) -> None:
    """`call_type_unsupported` when there is no rule, `setting_off` with the setting's name when it is off."""
    dispatcher = bench.dispatcher()
    assert outcome(dispatcher.plan(call("m-1", "screen"))) == ("dropped", "call_type_unsupported")
    plans = dispatcher.plan(call("m-1", "page", name="Home"))
    assert outcome(plans) == ("dropped", "setting_off")
    assert "pages" in plans[0].reason.message


def test_a_refused_event_is_invalid_at_every_destination(bench: Any, acme: Any) -> None:
    """An event that can't be accepted has a plan for each destination, with the id that could be read."""
    dispatcher = bench.dispatcher(acme({"api_key": "k-1111"}, id="one"), acme({"api_key": "k-2222"}, id="two"))
    plans = dispatcher.plan({"type": "track", "messageId": "m-7", "userId": "u"})
    assert [(plan.destination, plan.outcome, plan.message_id) for plan in plans] == [
        ("one", "invalid", "m-7"),
        ("two", "invalid", "m-7"),
    ]


@pytest.mark.parametrize(
    ("text", "message_id"),
    [
        (b'{"type": "track", "messageId": 77}', "77"),
        (b'{"type": "track", "messageId": ""}', "made"),
        (b'{"type": "track", "messageId": null}', "made"),
        (b'{"type": "track"}', "made"),
        (b'{"type": ', None),
        (b"[]", None),
        (b"", None),
    ],
)
def test_a_refused_event_keeps_the_message_id_that_it_has(bench: Any, text: bytes, message_id: str | None) -> None:
    """It is read, else made of the text; what can't be parsed has none."""
    (plan,) = bench.dispatcher(new_id=lambda raw: "made").plan(text)
    assert plan.message_id == message_id


def test_a_batch_body_becomes_the_plans_of_its_events(bench: Any, call: Make) -> None:
    """One list of plans for each event, in order; a refused one keeps its id and stops nobody."""
    body = {"batch": [call("m-1"), {"type": "track", "messageId": "m-2"}, call("m-3"), 5]}
    rows = list(bench.dispatcher().plan_body(json.dumps(body).encode(), "line 4"))
    assert [(row[0].message_id, row[0].outcome.value) for row in rows] == [
        ("m-1", "planned"),
        ("m-2", "invalid"),
        ("m-3", "planned"),
        (None, "invalid"),
    ]
    assert rows[1][0].reason.message.startswith("line 4, event 2: ")


@pytest.mark.parametrize(
    ("body", "code"),
    [({"batch": []}, "empty_batch"), ({"batch": 5}, "bad_request"), ({"batch": None}, "bad_request")],
)
def test_a_batch_body_that_is_none_is_one_refusal(bench: Any, body: dict[str, Any], code: str) -> None:
    """An empty batch and one that is no list are refused once, given as a mapping and as text."""
    for source in (body, json.dumps(body)):
        (row,) = bench.dispatcher().plan_body(source)
        assert outcome(row) == ("invalid", code)


def test_plans_are_those_of_each_event(bench: Any, call: Make) -> None:
    """`plans` yields what `plan` returns, however many events there are, bad ones and batch bodies among them."""
    dispatcher = bench.dispatcher()
    many = [call(f"m-{number}", size=number) for number in range(70)]
    batch = {"batch": [call("b-1", size=71), {"type": "track"}, call("b-2", size=72)]}
    found = [*dispatcher.plans([*many, b"{", batch, {"type": "nap"}, json.dumps(call("m-70", size=73))])]
    assert [plan.to_dict() for row in found[:70] for plan in row] == [
        plan.to_dict() for event in many for plan in dispatcher.plan(event)
    ]
    last = [plan for row in found[70:] for plan in row]
    assert [plan.outcome.value for plan in last] == ["invalid", "planned", "invalid", "planned", "invalid", "planned"]
    assert [plan.message_id for plan in last[1::2]] == ["b-1", "b-2", "m-70"]
    assert not [plan.event for row in found for plan in row if plan.event]
    assert [*dispatcher.plans([])] == []
    with pytest.raises(TurnoutError, match="Several events"):
        next(dispatcher.plans(call("m-71", size=74)))


@pytest.mark.parametrize("way", ["plans", "send"])
def test_a_source_may_use_one_dict_for_all_its_events(bench: Any, call: Make, way: str) -> None:
    """Each event is read when it comes, and not looked at again."""

    def events() -> Iterator[dict[str, Any]]:
        one: dict[str, Any] = {}
        for number in range(5):
            one.clear()
            one.update(call(f"m-{number}", size=number))
            yield one

    dispatcher = bench.dispatcher()
    found = dispatcher.send(events()) if way == "send" else [plan for row in dispatcher.plans(events()) for plan in row]
    assert [one.message_id for one in found] == [f"m-{number}" for number in range(5)]


def test_plans_read_nothing_behind_a_batch_body(bench: Any, call: Make) -> None:
    """Its events may be many."""
    taken: list[int] = []

    def bodies() -> Iterator[dict[str, Any]]:
        for number in range(3):
            taken.append(number)
            yield {"batch": [call(f"b-{number}", size=number)]}

    assert [len(taken) for _ in bench.dispatcher().plans(bodies())] == [1, 2, 3]


def test_plans_carry_over_within_a_call() -> None:
    """Of two pages of a visit the first alone begins the session, also when nobody gives `inputs`."""
    pages = [
        {
            "type": "page",
            "messageId": f"p-{number}",
            "anonymousId": "visitor-1",
            "name": f"Page {number}",
            "timestamp": f"2026-04-10T07:01:0{number}.493Z",
            "context": {"library": {"name": "analytics.js"}, "page": {"search": "?utm_source=letter"}},
        }
        for number in range(2)
    ]
    settings = {"api_key": "k-1", "connection_mode": "device", "track_named_pages": True}
    dispatcher = Dispatcher([Amplitude(settings)])
    alone = [len(plan.items) for page in pages for plan in dispatcher.plan(page)]
    together = [len(plan.items) for row in dispatcher.plans(pages) for plan in row]
    assert alone[0] == alone[1] == together[0] > together[1]


def test_planning_keeps_no_state(bench: Any, call: Make) -> None:
    """The same event makes the same plan, however often and from however many threads it is asked."""
    dispatcher = bench.dispatcher()
    events = [call(f"m-{number}", copies=number % 4, size=number) for number in range(40)]
    expected = [dispatcher.plan(event)[0].to_dict() for event in events]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            assert [plans[0].to_dict() for plans in threads.map(dispatcher.plan, events)] == expected


def test_a_dispatcher_pickles(acme: Any, call: Make) -> None:
    """A worker gets an equal dispatcher, hooks, ids and send settings included."""
    dispatcher = Dispatcher([acme({"api_key": "key-1234"}, id="one")], hooks=[Tally()])
    again = pickle.loads(pickle.dumps(dispatcher))
    event = call("m-1", copies=2)
    assert again.plan(event)[0].to_dict() == dispatcher.plan(event)[0].to_dict()
    assert again.plan(event)[0].to_dict(show_secrets=True)["requests"][0]["body"]["key"] == "key-1234"
    assert dict(again.send_settings) == dict(dispatcher.send_settings)
    assert len(again.hooks.plugins) == 1


def test_a_plan_pickles(bench: Any, call: Make) -> None:
    """A plan can go from a worker to the process that sends it."""
    (plan,) = bench.dispatcher().plan(call("m-1"))
    assert pickle.loads(pickle.dumps(plan)).to_dict() == plan.to_dict()


def test_clock_and_ids_are_injected(bench: Any) -> None:
    """What is missing comes from the given clock and the given source of ids."""
    seen: list[bytes] = []
    dispatcher = bench.dispatcher(
        clock=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), new_id=lambda raw: seen.append(raw) or "made"
    )
    text = b'{"type":"track","event":"Sold","userId":"u"}'
    (plan,) = dispatcher.plan(text)
    assert (plan.message_id, seen) == ("made", [text])
    assert plan.event.timestamp == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_two_destinations_of_one_id_are_refused(acme: Any) -> None:
    """An id names one destination; the sentence says what to do."""
    with pytest.raises(ConfigError, match=r"'acme'.*another id="):
        Dispatcher([acme({"api_key": "k-1"}), acme({"api_key": "k-2"})])
    one = acme({"api_key": "k-1"})
    with pytest.raises(ConfigError, match="'a' and 'b' are one object"):
        Dispatcher({"a": one, "b": one})


class Stamp:
    """Changes every event before it is mapped."""

    @hookimpl
    def turnout_before_mapping(self, event: Event) -> dict[str, Any] | None:
        if event.event == "Secret":
            raise Drop("filtered", "kept inside", "/event")
        if event.event == "Broken":
            raise RuntimeError("the hook has a bug")
        return {**event.to_dict(), "event": "Stamped"}


def test_a_hook_changes_or_drops_events_before_mapping(bench: Any, call: Make) -> None:
    """What the hook returns is mapped; a `Drop` is the outcome of every destination."""
    dispatcher = bench.dispatcher(hooks=[Stamp()])
    (plan,) = dispatcher.plan(call("m-1"))
    assert plan.to_dict()["requests"][0]["body"]["events"][0]["name"] == "Stamped"
    assert outcome(dispatcher.plan(call("m-2", event="Secret"))) == ("dropped", "filtered")


def test_a_hook_that_raises_is_a_failure_not_the_events_fault(bench: Any, call: Make) -> None:
    """The outcome is `failed`, `plugin_raised`, and names the hook."""
    plans = bench.dispatcher(hooks=[Stamp()]).plan(call("m-1", event="Broken"))
    assert outcome(plans) == ("failed", "plugin_raised")
    assert "Stamp.turnout_before_mapping" in plans[0].reason.message


class Spoiler:
    """Gives back what is no event."""

    @hookimpl
    def turnout_before_mapping(self, event: Event) -> Any:
        return {"type": "nonsense"}


def test_a_hook_that_gives_back_no_event_has_failed(bench: Any, call: Make) -> None:
    """The sender is not blamed for what a hook made of the event."""
    plans = bench.dispatcher(hooks=[Spoiler()]).plan(call("m-1"))
    assert outcome(plans) == ("failed", "plugin_bad_result")
    assert plans[0].message_id == "m-1"


class Rude:
    """Raises whenever it observes."""

    @hookimpl
    def turnout_planned(self, plan: Any) -> None:
        raise RuntimeError("observer")

    @hookimpl
    def turnout_settled(self, outcome: Any) -> None:
        raise RuntimeError("observer")


def test_observers_see_every_outcome_and_harm_none(bench: Any, call: Make) -> None:
    """An observer that raises changes nothing; the one behind it counts each plan and outcome once."""
    tally = Tally()
    events = [call("m-1"), call("m-2", do="drop"), call("m-3", do="raise"), {"type": "track"}]
    settled = bench.dispatcher(hooks=[Rude(), tally]).send(events)
    assert [row.outcome.value for row in settled] == ["delivered", "dropped", "failed", "invalid"]
    assert sorted((row.outcome.value, row.times) for row in tally.planned()) == [
        ("dropped", 1),
        ("failed", 1),
        ("invalid", 1),
        ("planned", 1),
    ]
    assert sum(row.times for row in tally.settled()) == 4


CONFIG = """
[send]
attempts = 3

[hooks.filter]
block_events = ["Heartbeat"]

[destinations.one]
plugin = "widget"
token = "${WIDGET_TOKEN}"

[destinations.two]
plugin = "widget"
token = "two-token"
"""


@pytest.fixture
def config(widget: Path, tmp_path: Path) -> Path:
    path = tmp_path / "turnout.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_from_config_makes_what_the_file_says(config: Path, call: Make) -> None:
    """Destinations with their ids and environment, hooks, and the send settings."""
    dispatcher = Dispatcher.from_config(config, environ={"WIDGET_TOKEN": "one-token"})
    assert list(dispatcher.destinations) == ["one", "two"]
    assert dispatcher.destinations["one"].config.token == "one-token"
    assert dispatcher.send_settings.attempts == 3
    assert outcome(dispatcher.plan(call("m-1", event="Heartbeat"))[:1]) == ("dropped", "filtered")


def test_from_config_lays_settings_over_the_files(config: Path) -> None:
    """Given settings win over the file's, by their name and by Segment's key."""
    for key in ("token", "Token"):
        if key == "Token":
            with pytest.raises(SettingsError, match="Did you mean 'token'"):
                Dispatcher.from_config(config, only=["two"], settings={key: "x-token"})
            continue
        dispatcher = Dispatcher.from_config(config, only=["two"], settings={key: "x-token"})
        assert dispatcher.destinations["two"].config.token == "x-token"


def test_from_config_names_what_is_not_there(config: Path) -> None:
    """An unknown destination, a missing variable and a missing file are one sentence each."""
    with pytest.raises(ConfigError, match=r"no destination 'tow'.*Did you mean 'two'"):
        Dispatcher.from_config(config, only=["tow"], environ={})
    with pytest.raises(ConfigError, match="WIDGET_TOKEN"):
        Dispatcher.from_config(config, environ={})
    with pytest.raises(ConfigError, match="no such file"):
        Dispatcher.from_config(config.with_name("other.toml"))


def test_send_exists_sync_and_async(bench: Any, call: Make) -> None:
    """Both return the outcome of each event, in order."""
    dispatcher = bench.dispatcher()
    events = [call(f"m-{number}") for number in range(5)]
    plain = dispatcher.send(events)
    assert asyncio.run(dispatcher.send_async(events)) == plain
    assert [row.message_id for row in plain] == [event["messageId"] for event in events]
    assert bench.vendor.kept == [event["messageId"] for event in events] * 2


def test_send_takes_no_more_events_than_it_holds(bench: Any, call: Make) -> None:
    """`stream` reads on only when the chunk before has been settled."""
    taken: list[str] = []

    def events() -> Any:
        for number in range(10):
            taken.append(f"m-{number}")
            yield call(f"m-{number}")

    async def run() -> list[int]:
        return [len(taken) async for _ in bench.dispatcher().stream(events(), chunk=3)]

    assert asyncio.run(run()) == [3, 3, 3, 6, 6, 6, 9, 9, 9, 10]


def test_nothing_to_send_is_nothing(bench: Any) -> None:
    """No events, no outcomes, no requests; no destinations, no outcomes."""
    assert bench.dispatcher().send([]) == []
    assert Dispatcher({}).send([{"type": "track"}]) == []
    assert bench.vendor.ledger == []


def test_destinations_that_map_alike_are_mapped_once() -> None:
    """Instances whose settings differ in routing only share one mapping, and each keeps its own account and id."""
    made = []

    class CountedSettings(Settings):
        key = text("The key.", required=True, secret=True, routing=True)
        loud = flag("In capitals.")

    class Counted(Destination):
        name = "Counted"
        settings = CountedSettings
        events = Endpoint("POST", "https://counted.example/x", body=json_body({"key": setting("key"), "events": ITEMS}))

        @rule("track")
        def tracked(self, event: Event) -> Item:
            made.append(self.id)
            return self.events.item({"name": (event.event or "").upper() if self.config.loud else event.event})

    targets = [
        Counted({"key": "key-one"}, id="one"),
        Counted({"key": "key-two"}, id="two"),
        Counted({"key": "key-three", "loud": True}, id="three"),
    ]
    plans = Dispatcher(targets).plan({"type": "track", "event": "sung", "userId": "u"})
    assert made == ["one", "three"]
    assert [plan.destination for plan in plans] == ["one", "two", "three"]
    assert [plan.requests[0].body for plan in plans] == [
        b'{"key":"key-one","events":[{"name":"sung"}]}',
        b'{"key":"key-two","events":[{"name":"sung"}]}',
        b'{"key":"key-three","events":[{"name":"SUNG"}]}',
    ]


def test_an_endpoint_that_is_not_declared_harms_nobody() -> None:
    """Destinations that map alike are planned all the same: what such items are made of is the plugin's own fault."""

    class Hidden(Destination):
        name = "Hidden"

        def configured(self) -> None:
            aside = Endpoint("POST", "https://hidden.example/x", body=json_body(ITEMS))
            aside.name = "aside"
            self.aside = aside.bind(self.config, self.name)

        @rule("track")
        def tracked(self, event: Event) -> Item:
            return self.aside.item({"name": event.event})

    plans = Dispatcher([Hidden({}, id="one"), Hidden({}, id="two")]).plan(
        {"type": "track", "event": "sung", "userId": "u"}
    )
    assert [plan.outcome.value for plan in plans] == ["planned", "planned"]
    assert [plan.requests[0].body for plan in plans] == [b'[{"name":"sung"}]'] * 2

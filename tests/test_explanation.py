"""`explain`: what it takes, what it tells of events that are sent, and what would send those that aren't."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from turnout import (
    ITEM,
    ITEMS,
    ConfigError,
    Destination,
    Dispatcher,
    Drop,
    Endpoint,
    Event,
    Explanation,
    Inputs,
    Item,
    Outcome,
    PluginError,
    Settings,
    SettingsError,
    explain,
    form_body,
    hookimpl,
    json_body,
    load_destination,
    rule,
    setting,
)
from turnout.settings import choice, flag, names, text
from turnout.specimens import specimen

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = {"api_key": "key-1234"}
SOLD = {
    "type": "track",
    "messageId": "message-1",
    "userId": "user-2",
    "event": "Lamp Sold",
    "timestamp": "2026-01-02T03:04:05Z",
    "properties": {"colour": "teal"},
}


def edges(found: Explanation) -> dict[tuple[str, str], str]:
    return {(str(one.source), one.target.part + one.target.path): one.kind for one in found.edges}


# what it takes


@pytest.mark.parametrize(
    "give",
    [
        lambda: explain("amplitude", SOLD, KEY, now=NOW),
        lambda: explain(load_destination("amplitude"), SOLD, KEY, now=NOW),
        lambda: explain(load_destination("amplitude")(KEY), SOLD, now=NOW),
        lambda: explain(load_destination("amplitude")({"api_key": "other-key"}), SOLD, KEY, now=NOW),
        lambda: explain("amplitude", json.dumps(SOLD), KEY, now=NOW),
        lambda: explain("amplitude", json.dumps(SOLD, indent=2).encode(), KEY, now=NOW),
        lambda: explain("amplitude", Dispatcher({}).normaliser.event(SOLD), KEY, now=NOW),
        lambda: explain(Dispatcher([load_destination("amplitude")(KEY)]).plan(SOLD)[0]),
    ],
)
def test_a_destination_and_an_event_can_be_given_in_many_ways(give: Callable[[], Explanation]) -> None:
    """By name, as class, configured, or as a plan; as a dict, text, bytes or an event: the same explanation."""
    assert give() == explain("amplitude", SOLD, KEY, now=NOW)


def test_settings_are_laid_over_those_of_a_configured_destination() -> None:
    """Under whichever key they are given; what it was given otherwise stays."""
    destination = load_destination("amplitude")({**KEY, "trackNamedPages": False, "page_event_verb": "Viewed"})
    page = {"type": "page", "userId": "user-2", "name": "Prices"}
    assert explain(destination, page, now=NOW).outcome is Outcome.DROPPED
    found = explain(destination, page, {"track_named_pages": True}, now=NOW)
    assert {field.value for field in found.items[0].fields} >= {"Viewed Prices Page"}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: explain("amplitude"), ConfigError, r"explain\(\) needs an event: explain\(destination, event\)"),
        (
            lambda: explain(Dispatcher([load_destination("amplitude")(KEY)]).plan(SOLD)[0], SOLD),
            ConfigError,
            r"explain\(plan\) takes nothing else",
        ),
        (lambda: explain("amplitud", SOLD, KEY), PluginError, "Did you mean 'amplitude'"),
        (lambda: explain("amplitude", SOLD, {"api_kee": "key-1234"}), SettingsError, "Did you mean 'api_key'"),
        (lambda: explain("amplitude", SOLD, {}), SettingsError, "Setting 'api_key' is required"),
    ],
)
def test_what_does_not_fit_is_an_error(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    """One sentence that says what to give."""
    with pytest.raises(error, match=message):
        call()


def test_the_arguments_are_left_alone() -> None:
    """The caller's event and settings stay what they were."""
    event, settings = json.loads(json.dumps(SOLD)), dict(KEY)
    explain("amplitude", event, settings, now=NOW)
    assert (event, settings) == (SOLD, KEY)


def test_an_event_that_was_stamped_on_arrival_is_explained_as_it_was_mapped() -> None:
    """A time that nobody but the gateway knows counts as `receivedAt`."""
    dispatcher = Dispatcher([load_destination("amplitude")(KEY)])
    event = {**SOLD, "sentAt": "2026-01-02T03:04:06Z"}
    accepted = dispatcher.normaliser.event(event, datetime(2026, 1, 2, 3, 5, 6, tzinfo=UTC))
    (plan,) = dispatcher.plan(accepted)
    found = explain(plan)
    (time,) = (field for field in found.items[0].fields if field.path == "/time")
    assert time.value == accepted.timestamp_ms
    assert {str(edge.source) for edge in time.edges} == {"/timestamp", "/sentAt", "/receivedAt"}


# what it tells of an event that is sent


def test_an_explanation_is_plain_data() -> None:
    """The whole of it, for a small event."""
    found = explain("amplitude", SOLD, KEY, now=NOW).to_dict()
    (item,) = found.pop("items")
    assert found == {
        "message_id": "message-1",
        "destination": "amplitude",
        "outcome": "planned",
        "reason": None,
        "from": [
            {"event": "/type", "kind": "condition"},
            {"event": "/userId", "kind": "condition"},
            {"event": "/event", "kind": "condition"},
            {"event": "/timestamp", "kind": "condition"},
        ],
        "requests": [
            {
                "endpoint": "events",
                "fields": [
                    {"path": "/method", "value": "POST", "from": []},
                    {
                        "path": "/url",
                        "value": "https://api2.amplitude.com/2/httpapi",
                        "from": [
                            {"setting": "base_url", "kind": "derived"},
                            {"setting": "endpoint", "kind": "derived"},
                        ],
                    },
                    {"path": "/headers/content-type", "value": "application/json", "from": []},
                    {"path": "/body/api_key", "value": "***", "from": [{"setting": "api_key", "kind": "copied"}]},
                    {"path": "/body/options/min_id_length", "value": 1, "from": []},
                ],
            }
        ],
        "added": [{"rule": "identified", "from": [{"event": "/type", "kind": "condition"}]}],
        "unread": [],
        "unstable": [],
        "hanging": [],
        "remedy": None,
    }
    assert (item["rule"], item["number"], item["endpoint"]) == ("tracked", 1, "events")
    assert item["key"] == {
        "path": "",
        "value": "message-1",
        "from": [{"event": "/messageId", "kind": "copied"}],
    }
    assert {"path": "/event_type", "value": "Lamp Sold", "from": [{"event": "/event", "kind": "copied"}]} in item[
        "fields"
    ]
    assert {"path": "/library", "value": "turnout", "from": []} in item["fields"]
    assert item["from"] == [
        {"event": "/type", "kind": "condition"},
        {"setting": "send_to_batch_endpoint", "kind": "derived"},
    ]


def test_witnesses_are_told_on_request() -> None:
    """The value before and after, at the source and at the target; what isn't there has no key."""
    found = explain("amplitude", SOLD, KEY, now=NOW).to_dict(witnesses=True)
    (colour,) = (one for one in found["items"][0]["fields"] if one["path"] == "/event_properties/colour")
    (edge,) = colour["from"]
    assert (edge["before"], edge["output_before"]) == ("teal", "teal")
    assert edge["after"] == edge["output_after"] != "teal"
    (type_,) = (one for one in found["from"] if one["event"] == "/type")
    assert "after" not in type_


def test_every_edge_belongs_somewhere() -> None:
    """Items, requests, and what would be added hold all the edges there are."""
    event = {**SOLD, "context": {"device": {"id": "device-3"}, "userAgent": "Agent/5.0"}, "anonymousId": "visitor-4"}
    found = explain("amplitude", event, KEY, now=NOW)
    shown = [edge for one in found.requests for field in one.fields for edge in field.edges]
    for item in found.items:
        shown += [*item.edges, *item.absent, *(item.key.edges if item.key else ())]
        shown += [edge for field in item.fields for edge in field.edges]
    assert len(shown) + len(found.deciding) + len(found.added) == len(found.edges)


class Posted(Destination):
    """Takes a form with the fields of one event."""

    class Schema(Settings):
        """A list of the vendor, and how it is told."""

        mode = choice("How.", ["new", "all"], default="new")

    name = "Posted"
    settings = Schema
    events = Endpoint(
        "POST", "https://posted.example/{item.list}", body=form_body(ITEM, {"mode": setting("mode")}), keyed=False
    )

    @rule("track")
    def tracked(self, event: Event) -> Item:
        """A track call becomes a form."""
        return self.events.item({"list": event.user_id, "what": event.event, "colour": event.properties.get("colour")})


def test_a_form_of_an_items_fields_is_explained() -> None:
    """The fields lead to their sources, also the one in the URL; what stands beside leads to its setting."""
    found = explain(Posted, SOLD, {}, now=NOW)
    assert (
        edges(found).items()
        >= {
            ("/properties/colour", "item/colour"): "copied",
            ("/userId", "item/list"): "copied",
            ("setting mode", "request/body/mode"): "copied",
        }.items()
    )


def test_an_item_that_is_no_object_is_explained() -> None:
    """Its only field is the item itself."""
    found = explain("amplitude", {"type": "delete", "userId": "user-2"}, {**KEY, "secret_key": "sec-1"}, now=NOW)
    (field,) = found.items[0].fields
    assert (field.path, field.value) == ("", "user-2")
    assert [(str(edge.source), edge.kind) for edge in field.edges] == [("/userId", "copied")]


# events that are not sent


def remedies(event: Any, **settings: Any) -> list[dict[str, Any]]:
    """Return what would send an event to Amplitude."""
    found = explain("amplitude", event, {**KEY, **settings}, now=NOW)
    assert found.outcome is not Outcome.PLANNED
    assert found.remedy is not None
    return [one.to_dict() for one in found.remedy.changes]


PAGE = {"type": "page", "userId": "user-2", "name": "Settings", "category": "Merchant"}
MADE = specimen("track")
OFF = {"event": "/integrations/Amplitude", "before": False, "after": True}


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (PAGE, [{"setting": "track_named_pages", "before": False, "after": True}]),
        ({**SOLD, "integrations": {"Amplitude": False}}, [OFF]),
        ({**SOLD, "integrations": {"All": False}}, [{"event": "/integrations/Amplitude", "after": True}]),
        (
            {**SOLD, "_metadata": {"bundled": ["Amplitude", "Else"]}},
            [{"event": "/_metadata/bundled", "before": ["Amplitude", "Else"], "after": ["Else"]}],
        ),
        (
            {**PAGE, "integrations": {"Amplitude": False}},
            [OFF, {"setting": "track_named_pages", "before": False, "after": True}],
        ),
        ({"type": "delete", "userId": "user-2"}, [{"setting": "secret_key", "before": "", "after": "***"}]),
        ({**SOLD, "userId": None}, [{"event": "/userId", "before": None, "after": MADE["userId"]}]),
        ({**SOLD, "userId": True}, [{"event": "/userId", "before": True, "after": MADE["userId"]}]),
        ({**SOLD, "timestamp": "yesterday"}, [{"event": "/timestamp", "before": "yesterday"}]),
        ({**SOLD, "type": "trakc"}, [{"event": "/type", "before": "trakc", "after": "track"}]),
        (
            {"type": "alias", "userId": "user-2"},
            [
                {"setting": "enable_alias", "before": False, "after": True},
                {"event": "/previousId", "after": specimen("alias")["previousId"]},
            ],
        ),
        (
            {"type": "track", "properties": {"colour": "teal"}},
            [{"event": "/userId", "after": MADE["userId"]}, {"event": "/event", "after": MADE["event"]}],
        ),
    ],
)
def test_the_smallest_change_is_found(event: dict[str, Any], changes: list[dict[str, Any]]) -> None:
    """An entry of `integrations`, a setting, a value changed, deleted or added; one if one is enough, else two."""
    assert remedies(event) == changes


def test_what_would_be_sent_is_shown() -> None:
    """As `turnout plan` shows it, and what else would do."""
    found = explain("amplitude", {**PAGE, "messageId": "message-7"}, KEY, now=NOW)
    assert found.reason is not None
    assert found.reason.code.value == "setting_off"
    assert found.remedy is not None
    (request,) = found.remedy.requests
    assert request["body"]["events"][0]["event_type"] == "Loaded Merchant Settings Page"
    assert request["body"]["api_key"] == "***"
    assert [str(one.source) for one in found.remedy.others] == [
        "setting track_categorized_pages",
        "setting track_all_pages",
    ]


def test_a_secret_in_a_remedy_is_masked() -> None:
    """Neither what it was nor what it would be changed to is shown."""
    found = explain("amplitude", {"type": "delete", "userId": "user-2"}, KEY, now=NOW)
    assert "marker" not in json.dumps(found.to_dict(witnesses=True)) + repr(found)


class PickySettings(Settings):
    """Two settings that only together do anything."""

    mode = choice("A mode.", ["off", "near", "far"], default="off")
    sure = flag("Being sure.")
    never = names("Unused.")
    key = text("A key.")


class Picky(Destination):
    """Sends hardly anything."""

    name = "Picky"
    settings = PickySettings
    pure = True
    out = Endpoint("POST", "https://picky.example", body=json_body(ITEMS))

    @rule("track")
    def tracked(self, event: Event) -> Item | None:
        """An item, with both settings."""
        if event.properties.get("raise"):
            raise LookupError("no such thing")
        if event.properties.get("drop"):
            raise Drop("filtered", "not wanted", "/properties/drop")
        if self.config.mode == "far" and self.config.sure:
            return self.out.item({"is": event.event})
        return None


def test_two_settings_are_found_that_neither_alone_would_do() -> None:
    """When no single change is enough."""
    found = explain(Picky, SOLD, now=NOW)
    assert found.reason is not None
    assert found.reason.code.value == "nothing_to_map"
    assert found.remedy is not None
    assert [one.to_dict() for one in found.remedy.changes] == [
        {"setting": "mode", "before": "off", "after": "far"},
        {"setting": "sure", "before": False, "after": True},
    ]


@pytest.mark.parametrize(("name", "outcome"), [("raise", Outcome.FAILED), ("drop", Outcome.DROPPED)])
def test_a_rule_that_raises_or_drops_has_a_remedy(name: str, outcome: Outcome) -> None:
    """The value that it stumbled over."""
    found = explain(Picky, {**SOLD, "properties": {name: True}}, {"mode": "far", "sure": True}, now=NOW)
    assert found.outcome is outcome
    assert found.remedy is not None
    assert [one.to_dict() for one in found.remedy.changes] == [
        {"event": f"/properties/{name}", "before": True, "after": False}
    ]


def test_where_nothing_would_send_it_there_is_no_remedy() -> None:
    """A destination without a rule for the call: None, and the reason says why."""
    found = explain(Picky, {"type": "group", "userId": "user-2", "groupId": "group-5"}, now=NOW)
    assert found.reason is not None
    assert (found.reason.code.value, found.remedy) == ("call_type_unsupported", None)
    assert (found.items, found.unread) == ((), ())


@pytest.mark.parametrize("event", [b"nonsense", "", b"\xff", "[]", "5", '{"type": 1e999}', "null", '{"a": "\\ud800"}'])
def test_what_is_no_event_has_a_reason_and_nothing_else(event: Any) -> None:
    """Nothing is raised for input that can't be read."""
    found = explain("amplitude", event, KEY, now=NOW)
    assert (found.outcome, found.edges, found.remedy) == (Outcome.INVALID, (), None)
    assert found.reason is not None


def test_the_message_id_of_a_refused_event_is_that_of_its_plan() -> None:
    """Its own, where it has one."""
    event = {"type": "track", "messageId": "message-6"}
    (plan,) = Dispatcher([load_destination("amplitude")(KEY)]).plan(event)
    assert explain("amplitude", event, KEY, now=NOW).message_id == plan.message_id == "message-6"


# plans and inputs


class Marking:
    """A hook that adds a property, and drops what is secret."""

    @hookimpl
    def turnout_before_mapping(self, event: Event) -> dict[str, Any]:
        """Change the event."""
        if event.event == "Secret Sold":
            raise Drop("filtered", "not for others", "/event")
        made = event.to_dict()
        made["properties"]["marked"] = "by-hook"
        return made


def test_a_plan_is_explained_from_what_its_hooks_made_of_the_event() -> None:
    """The explained event is the one that was mapped."""
    dispatcher = Dispatcher([load_destination("amplitude")(KEY)], hooks=[Marking()])
    found = explain(dispatcher.plan(SOLD)[0])
    assert edges(found)["/properties/marked", "item/event_properties/marked"] == "copied"


def test_an_event_that_a_hook_dropped_has_its_reason() -> None:
    """Gate and rules had no part in it, so there is nothing to explain."""
    dispatcher = Dispatcher([load_destination("amplitude")(KEY)], hooks=[Marking()])
    found = explain(dispatcher.plan({**SOLD, "event": "Secret Sold"})[0])
    assert (found.outcome, found.edges, found.remedy) == (Outcome.DROPPED, (), None)
    assert found.reason is not None
    assert found.reason.code.value == "filtered"


def test_inputs_are_kept_from_event_to_event() -> None:
    """What an explained event leaves is there for the next one, as with plan."""
    destination = load_destination("amplitude")({**KEY, "connection_mode": "device"})
    inputs, planned = Inputs(), Inputs()
    dispatcher = Dispatcher([destination])
    for number in range(3):
        event = {
            "type": "page",
            "messageId": f"message-{number}",
            "anonymousId": "visitor-1",
            "timestamp": f"2026-01-02T03:0{number}:05Z",
            "context": {
                "library": {"name": "analytics.js"},
                "page": {"url": "https://a.example/?utm_source=mail", "referrer": "https://b.example/there"},
            },
        }
        found = explain(destination, event, None, inputs, now=NOW)
        (plan,) = dispatcher.plan(event, planned)
        assert found.outcome is plan.outcome
        assert [item.rule for item in found.items] == [item.rule for item in plan.items]
    assert inputs == planned


def test_explaining_changes_no_inputs_but_by_the_event_itself() -> None:
    """The many events that are tried leave nothing behind."""
    destination = load_destination("amplitude")({**KEY, "connection_mode": "device"})
    event = {**SOLD, "anonymousId": "visitor-1", "context": {"library": {"name": "analytics.js"}}}
    inputs = Inputs()
    explain(destination, event, None, inputs, now=NOW)
    (kept,) = inputs.to_dict()["destinations"].values()
    assert list(kept["sessions"]) == ["visitor-1"]

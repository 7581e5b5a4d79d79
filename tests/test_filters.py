"""The hook plugin `filter`: what it drops, what it takes out, and which settings it refuses."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from turnout.errors import Drop, SettingsError
from turnout.event import Event
from turnout.filters import EventFilter, FilterSettings
from turnout.hooks import Hooks
from turnout.normalise import Normaliser
from turnout.settings import describe


def event(**fields: Any) -> Event:
    base = {
        "type": "track",
        "event": "Order Completed",
        "userId": "u-1",
        "anonymousId": "a-1",
        "messageId": "m-1",
        "timestamp": "2024-05-06T07:08:09.010Z",
        "properties": {"products": [{"sku": "s-0"}, {"sku": "s-1"}, {"sku": "s-2"}], "a/b": {"c~d": 1}},
        "context": {"ip": "10.0.0.1", "locale": "de-DE"},
    }
    return Normaliser().event(base | fields)


def filtered(given: Event, **settings: Any) -> dict[str, Any] | None:
    return EventFilter(settings).turnout_before_mapping(given)


def dropped(given: Event, **settings: Any) -> tuple[str, str | None]:
    with pytest.raises(Drop) as caught:
        filtered(given, **settings)
    assert caught.value.reason.code == "filtered"
    return caught.value.reason.message, caught.value.reason.path


def test_without_settings_everything_passes_unchanged() -> None:
    """A filter that is switched on with nothing set keeps every event."""
    assert filtered(event()) is None
    assert filtered(event(type="identify", event=None)) is None


def test_blocked_events_are_dropped_by_exact_name() -> None:
    """The setting is named in the reason; another spelling is another event."""
    assert dropped(event(), block_events=["Order Completed"]) == (
        "The filter's block_events names 'Order Completed'.",
        "/event",
    )
    assert filtered(event(), block_events=["order completed"]) is None


def test_only_allowed_events_pass() -> None:
    """With a list of allowed names, other track calls are dropped; other call types are not its business."""
    assert dropped(event(), allow_events=["Signed Up"]) == (
        "The filter's allow_events doesn't name 'Order Completed'.",
        "/event",
    )
    assert filtered(event(), allow_events=["Order Completed"]) is None
    assert filtered(event(type="page", event=None), allow_events=["Signed Up"]) is None


def test_blocked_types_are_dropped() -> None:
    """A call type can be left out altogether."""
    message = "The filter's block_types names 'page'."
    assert dropped(event(type="page"), block_types=["page", "screen"]) == (message, "/type")
    assert filtered(event(), block_types=["page", "screen"]) is None


def test_parts_are_removed_from_a_copy() -> None:
    """What the pointers name is gone from the result and still in the event, which normalises as before."""
    given = event()
    changed = filtered(given, remove=["/context/ip", "/properties/a~1b/c~0d", "/anonymousId"])
    assert changed is not None
    assert given.to_dict()["context"]["ip"] == "10.0.0.1"
    again = Normaliser().event(changed)
    assert again.context.ip is None
    assert again.context.locale == "de-DE"
    assert again.properties["a/b"] == {}
    assert (again.anonymous_id, again.user_id, again.timestamp) == (None, "u-1", given.timestamp)


def test_items_of_a_list_are_removed_by_their_first_place() -> None:
    """Two items taken out of one list are those that the pointers meant, in whatever order they stand."""
    changed = filtered(event(), remove=["/properties/products/0", "/properties/products/1"])
    assert changed is not None
    assert changed["properties"]["products"] == [{"sku": "s-2"}]


NOWHERE = [
    "/context/nothing",
    "/nothing/at/all",
    "/properties/products/3",
    "/properties/products/-",
    "/properties/products/01",
    "/properties/products/x/sku",
    "/event/x",
]


@pytest.mark.parametrize("pointer", NOWHERE)
def test_what_is_not_there_changes_nothing(pointer: str) -> None:
    """A pointer to nothing leaves the event as it is."""
    assert filtered(event(), remove=[pointer]) is None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"block_types": ["pgae"]}, "must be a list of call types; 'pgae' is none. Did you mean 'page'?"),
    ({"block_types": ["x"]}, "There are: page, screen, identify, track, group, alias, delete."),
    ({"remove": ["context/ip"]}, "list of JSON Pointers such as '/context/ip'; 'context/ip' is none."),
    ({"remove": ["/a~2"]}, "'/a~2' is none."),
    ({"remove": ["/messageId"]}, "'remove' can't take out '/messageId': no event can do without it."),
    ({"remove": "/context/ip"}, "Setting 'remove' must be a list of texts, not '/context/ip'."),
    (
        {"allow_events": ["A"], "block_events": ["A"]},
        "Setting 'block_events' must not name 'A', which allow_events names: keep one.",
    ),
    ({"block_event": ["A"]}, "'block_event' is not a setting. Did you mean 'block_events'?"),
]


@pytest.mark.parametrize(("settings", "sentence"), WRONG)
def test_wrong_settings_are_told(settings: dict[str, Any], sentence: str) -> None:
    """Each wrong setting gets a sentence before any event is seen."""
    with pytest.raises(SettingsError) as caught:
        EventFilter(settings)
    assert str(caught.value).startswith("hook 'filter': ")
    assert str(caught.value).endswith(sentence)


def test_a_filter_is_a_hook_plugin() -> None:
    """It registers, pickles and works through the resolved hooks."""
    plugin = EventFilter({"block_events": ["Order Completed"]})
    hooks = pickle.loads(pickle.dumps(Hooks([plugin])))
    with pytest.raises(Drop):
        hooks.before_mapping[0](event=event())


def test_the_settings_are_documented() -> None:
    """Each setting has a text for the docs."""
    assert {entry.name for entry in describe(FilterSettings) if entry.doc} == {
        "allow_events",
        "block_events",
        "block_types",
        "remove",
    }

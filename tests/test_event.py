"""The event: what its fields say, and that nobody can change one that others hold."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from turnout.event import CALL_TYPES, Context, Event
from turnout.normalise import Normaliser
from turnout_specs import CALL_TYPES as DESCRIBED

FULL: dict[str, Any] = {
    "type": "track",
    "messageId": "m-1",
    "userId": "u-1",
    "anonymousId": "a-1",
    "event": "Order Completed",
    "channel": "server",
    "version": 2,
    "projectId": "p-1",
    "writeKey": "w-1",
    "timestamp": "2020-01-01T00:00:10.250Z",
    "sentAt": "2020-01-01T00:00:20.000Z",
    "receivedAt": "2020-01-01T00:00:25.000Z",
    "properties": {"revenue": 9.5, "products": [{"id": 1, "tags": ["a", None]}]},
    "traits": {"not": "owned"},
    "integrations": {"Amplitude": {"session_id": 5}},
    "_metadata": {"bundled": ["Segment.io"]},
    "context": {
        "active": True,
        "app": {"name": "shop", "version": "1.2", "build": "7", "namespace": "com.shop"},
        "campaign": {"name": "c-n", "source": "c-s", "medium": "c-m", "term": "c-t", "content": "c-c"},
        "device": {
            "id": "d-1",
            "advertisingId": "d-2",
            "adTrackingEnabled": False,
            "manufacturer": "d-3",
            "model": "d-4",
            "name": "d-5",
            "type": "ios",
            "token": "d-6",
            "version": "d-7",
            "brand": "d-8",
            "idfa": "d-9",
        },
        "ip": "8.8.8.8",
        "library": {"name": "analytics.js", "version": "2.1"},
        "locale": "nb-NO",
        "location": {
            "city": "Oslo",
            "country": "NO",
            "region": "03",
            "latitude": 59.9,
            "longitude": 10,
            "speed": 1.5,
        },
        "network": {"bluetooth": False, "cellular": True, "wifi": False, "carrier": "Telenor"},
        "os": {"name": "iOS", "version": "17.1"},
        "page": {
            "path": "/p",
            "referrer": "r",
            "search": "?q",
            "title": "t",
            "url": "https://shop.example/p",
        },
        "referrer": {"id": "r-1", "type": "r-2", "name": "r-3", "url": "r-4", "link": "r-5"},
        "screen": {"width": 320, "height": 568, "density": 2.5},
        "timezone": "Europe/Oslo",
        "groupId": "g-1",
        "traits": {"email": "e"},
        "userAgent": "Mozilla",
        "userAgentData": {
            "brands": [{"brand": "b-1", "version": "1"}],
            "mobile": True,
            "platform": "iOS",
            "architecture": "arm",
            "bitness": "64",
            "model": "m",
            "platformVersion": "17",
            "uaFullVersion": "120.0",
            "fullVersionList": [{"brand": "b-2", "version": "2"}],
            "wow64": False,
        },
        "channel": "mobile",
        "direct": True,
        "integration": {"name": "i-1", "version": "i-2"},
        "protocols": {"plan": 1},
        "consent": {"categoryPreferences": {"ads": False}},
        "amp": {"id": "amp-1"},
        "instanceId": "inst-1",
        "sessionId": "sess-1",
    },
}


def make(**keys: Any) -> Event:
    return Normaliser().event({"type": "track", "event": "Sold", "userId": "u-1", **keys})


@pytest.fixture(params=["quickly", "slowly"])
def full(request: pytest.FixtureRequest) -> Event:
    """An event with every key, read at once, and read the slow way because of an unknown key."""
    extra = {} if request.param == "quickly" else {"unknown": 1}
    return Normaliser().event(json.dumps({**FULL, **extra}))


def test_every_key_is_a_typed_attribute(full: Event) -> None:
    """Each field says what its key said, camelCase having become snake_case."""
    assert (full.type, full.message_id, full.user_id, full.anonymous_id) == ("track", "m-1", "u-1", "a-1")
    assert (full.event, full.name, full.category, full.group_id, full.previous_id) == (
        "Order Completed",
        *[None] * 4,
    )
    assert (full.channel, full.version, full.project_id, full.write_key) == ("server", 2, "p-1", "w-1")
    for name in ("properties", "traits", "integrations"):
        assert getattr(full, name) == FULL[name]
    assert full.metadata == FULL["_metadata"]
    assert full.timestamp == datetime(2020, 1, 1, 0, 0, 15, 250_000, tzinfo=UTC)
    assert full.timestamp_ms == 1577836815250


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.title() for word in rest)


def test_every_context_key_is_a_typed_attribute(full: Event) -> None:
    """`context.device.advertising_id` says what `context.device.advertisingId` said, and so do all others."""

    def compare(part: Any, given: Any) -> None:
        if isinstance(part, msgspec.Struct):
            fields = msgspec.structs.fields(part)
            assert {field.encode_name for field in fields} == set(given)
            for field in fields:
                assert field.encode_name == camel(field.name)
                compare(getattr(part, field.name), given[field.encode_name])
        elif isinstance(part, tuple):
            assert len(part) == len(given) == 1
            compare(part[0], given[0])
        else:
            assert part == given

    compare(full.context, FULL["context"])


@pytest.mark.parametrize("keys", [{}, {"context": None}, {"context": {}}, {"context": {"os": None, "unknown": 1}}])
def test_absent_parts_of_the_context_are_not_none(keys: dict[str, Any]) -> None:
    """`event.context.os.name` can always be asked, and is None when there is nothing."""
    context = make(**keys).context
    for field in msgspec.structs.fields(Context):
        value = getattr(context, field.name)
        if isinstance(value, msgspec.Struct):
            for inner in msgspec.structs.fields(value):
                assert getattr(value, inner.name) in (None, (), {})
        else:
            assert value in (None, {})


def test_an_event_cannot_be_changed(full: Event) -> None:
    """Setting an attribute of an event or of its context raises."""
    with pytest.raises(AttributeError):
        full.user_id = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        full.context.os.name = "other"  # type: ignore[misc]


def test_events_share_nothing() -> None:
    """Two events that lack the same keys have dicts of their own, or one that nobody can fill."""
    one, other = make(), make()
    for name in ("properties", "traits", "integrations", "metadata"):
        assert getattr(one, name) is not getattr(other, name)
    assert one.context.traits is not other.context.traits
    for change in ("__setitem__", "setdefault", "update"):
        with pytest.raises(TypeError, match="never changes"):
            getattr(one.context.consent.category_preferences, change)("advertising", True)
    assert other.context.consent.category_preferences == {}


def test_copy_shares_nothing_mutable(full: Event) -> None:
    """What is done to a copy's objects doesn't reach the event."""
    twin = full.copy()
    assert twin == full
    assert repr(twin.context) == repr(full.context)
    twin.properties["products"][0]["tags"].append("b")
    twin.integrations["Amplitude"]["session_id"] = 6
    twin.metadata["bundled"].clear()
    twin.context.traits["email"] = "f"
    twin.context.protocols.clear()
    twin.context.consent.category_preferences["ads"] = True
    assert full.properties == FULL["properties"]
    assert full.integrations == FULL["integrations"]
    assert full.metadata == FULL["_metadata"]
    assert full.context.traits == FULL["context"]["traits"]
    assert full.context.protocols == FULL["context"]["protocols"]
    assert full.context.consent.category_preferences == {"ads": False}


def test_to_dict_has_every_key_and_the_normalised_ones(full: Event) -> None:
    """The dict is what came, with the times and ids in their final form."""
    found = full.to_dict()
    found.pop("unknown", None)
    assert found == {
        **FULL,
        "timestamp": "2020-01-01T00:00:15.250Z",
        "originalTimestamp": "2020-01-01T00:00:10.250Z",
    }
    assert list(found)[: len(FULL)] == list(FULL)


def test_to_dict_is_new_each_time(full: Event) -> None:
    """Nobody sees what somebody else did to a dict."""
    full.to_dict()["properties"]["products"].clear()
    full.to_dict()["context"]["traits"]["email"] = "f"
    assert full.to_dict()["properties"] == FULL["properties"]
    assert full.to_dict()["context"] == FULL["context"]


def test_to_dict_makes_integrations_from_old_places_its_own() -> None:
    """Integrations read from an old place stand at the root, apart from the old place."""
    found = make(context={"integrations": {"A": {"x": 1}}}).to_dict()
    found["integrations"]["A"]["x"] = 2
    assert found["context"]["integrations"] == {"A": {"x": 1}}


def test_to_dict_writes_ids_as_text_and_keeps_nulls() -> None:
    """Integer ids become text; an explicit null stays."""
    found = make(userId=5, anonymousId=None, messageId=6).to_dict()
    assert (found["userId"], found["anonymousId"], found["messageId"]) == ("5", None, "6")


def test_forwarded_leaves_out_what_counts_here_alone(full: Event) -> None:
    """The key of the sender, the name of the project and the arrival stay here; all else goes on as it is."""
    found = full.forwarded()
    assert full.to_dict().keys() - found.keys() == {"receivedAt", "projectId", "writeKey"}
    assert full.to_dict() == {**found, "receivedAt": FULL["receivedAt"], "projectId": "p-1", "writeKey": "w-1"}
    found["properties"]["products"].clear()
    assert full.forwarded()["properties"] == FULL["properties"]


def test_forwarded_leaves_out_what_says_nothing() -> None:
    """null at the root, and empty ids and names; what is inside objects stays, and so does any other text."""
    found = make(
        userId="", anonymousId="a-1", name=None, category="", groupId=None, channel="", version=0,
        properties={"x": None, "y": ""}, context={"page": {"referrer": None}}, more=False,
    ).forwarded()  # fmt: skip
    assert found.keys() - {"timestamp", "originalTimestamp", "messageId", "type", "event"} == {
        "anonymousId", "channel", "version", "properties", "context", "more",
    }  # fmt: skip
    assert (found["properties"], found["context"]) == ({"x": None, "y": ""}, {"page": {"referrer": None}})


@pytest.mark.parametrize("year", ["0001", "0999", "9999"])
def test_times_are_written_with_four_digit_years(year: str) -> None:
    """Times are ISO 8601 with milliseconds and Z, in any year."""
    assert make(timestamp=f"{year}-05-06").to_dict()["timestamp"] == f"{year}-05-06T00:00:00.000Z"


def test_events_are_equal_when_they_say_the_same() -> None:
    """Blanks and the order of keys don't matter; values and their types do."""
    text = '{"type": "track", "event": "e", "userId": "u", "messageId": "m", "timestamp": "2020-01-01", "v": %s}'
    read = Normaliser(clock=lambda: datetime(2020, 1, 1, tzinfo=UTC)).event
    one = read(text % "1")
    assert one == read(json.dumps(dict(reversed(json.loads(text % "1").items()))))
    assert one != read(text % "2")
    assert one != read(text % "1.0")
    assert one != read(text % "true")
    assert one != one.to_dict()


def test_events_are_not_hashable() -> None:
    """An event holds dicts, so it can't be a key."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(make())


def test_events_pickle(full: Event) -> None:
    """A pickled event comes back with all of its fields."""
    again = pickle.loads(pickle.dumps(full))
    assert again == full
    assert (again.raw, again.timestamp_ms) == (full.raw, full.timestamp_ms)
    assert repr(again.context) == repr(full.context)


def test_repr_is_short_and_holds_no_personal_data(full: Event) -> None:
    """A log line names the event and keeps properties, traits and ids of people out."""
    assert repr(full) == "Event(type='track', message_id='m-1', event='Order Completed')"
    assert repr(make(type="identify", messageId="m")) == "Event(type='identify', message_id='m', event='Sold')"


def test_call_types_are_those_of_the_schemas() -> None:
    """Code and schemas know the same calls."""
    assert CALL_TYPES == DESCRIBED
    for call_type in CALL_TYPES:
        found = Normaliser().event({"type": call_type, "userId": "u", "event": "e", "groupId": "g"})
        assert found.type == call_type

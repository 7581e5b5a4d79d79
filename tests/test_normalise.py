"""The normaliser: what is accepted and how it is read, what is refused and why, times and batches."""

from __future__ import annotations

import ast
import json
import math
import pickle
import re
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnout.errors import Refusal
from turnout.event import Event
from turnout.normalise import Limits, Normaliser
from turnout.reasons import Code
from turnout.testing.strategies import good_events, json_values

NOW = datetime(2024, 5, 17, 8, 30, 0, 123456, tzinfo=UTC)
BASE: dict[str, Any] = {"type": "track", "event": "Sold", "userId": "u-1"}
DOC = Path(__file__).parent.parent / "docs" / "reference" / "input.md"


def clock() -> datetime:
    return NOW


def new_id(raw: bytes) -> str:
    return f"made-{len(raw)}"


NORMALISER = Normaliser(clock=clock, new_id=new_id)


def event(**keys: Any) -> Event:
    return NORMALISER.event({**BASE, **keys})


def refusal(source: Any, normaliser: Normaliser = NORMALISER) -> Refusal:
    with pytest.raises(Refusal) as caught:
        normaliser.event(source)
    return caught.value


def said(source: Any, normaliser: Normaliser = NORMALISER) -> tuple[str, str | None]:
    reason = refusal(source, normaliser).reason
    return str(reason.code), reason.path


# the documented table


def rows(title: str) -> list[list[str]]:
    section = DOC.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def source_of(cell: str) -> bytes:
    text = cell.strip().strip("`")
    if text.startswith("b'"):
        found = ast.literal_eval(text)
        assert isinstance(found, bytes)
        return found
    return json.dumps({**BASE, **json.loads(text)}).encode()


@pytest.mark.parametrize(("example", "says"), rows("Accepted"))
def test_documented_input_is_accepted(example: str, says: str) -> None:
    """What the table says is accepted is accepted, and read as it says."""
    expression = re.match(r"`([^`]+)`", says)
    assert expression
    found = Normaliser().event(source_of(example))
    assert eval(expression[1], {"event": found})


@pytest.mark.parametrize(("example", "code", "path"), [[*row, ""][:3] for row in rows("Refused")])
def test_documented_input_is_refused(example: str, code: str, path: str) -> None:
    """What the table says is refused is refused with that code and that pointer."""
    reason = refusal(source_of(example)).reason
    assert (str(reason.code), reason.path or "") == (code.strip("`"), path.strip("|` "))
    assert reason.message.endswith((".", "?")), reason.message
    assert "Traceback" not in reason.message


def test_documented_tables_name_every_spec_code() -> None:
    """Every code by which the normaliser refuses stands in the documentation."""
    text = DOC.read_text(encoding="utf-8")
    start, end = list(Code).index(Code.BAD_REQUEST), list(Code).index(Code.NESTING_TOO_DEEP)
    names = list(Code)[start : end + 1]
    assert [code for code in names if f"`{code}`" not in text] == []


# messages


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"properties": []},
            "`properties` must be an object or null, but is a list. Send it so, or leave it out.",
        ),
        (
            {"userId": 1.5},
            "`userId` must be a string, an integer or null, but is a number. Send ids as strings.",
        ),
        ({"type": "trak"}, "'trak' is no call type. Did you mean 'track'?"),
        (
            {"type": "x"},
            "'x' is no call type. Known are page, screen, identify, track, group, alias, delete.",
        ),
        ({"userId": None}, "A track call has neither a `userId` nor an `anonymousId`. Give `userId`, "),
        ({"event": None}, "A track call has no `event`. Name what was done, such as 'Order Completed'."),
        (
            {"timestamp": "x"},
            "`timestamp` must be a time that can be read, but is the text 'x'. Write ISO 8601",
        ),
        (
            {"timestamp": 5},
            "`timestamp` must be a string or null, but is a number. Write ISO 8601, such as 2024",
        ),
        (
            {"sentAt": "2015-02-29"},
            "`sentAt` is no possible time: '2015-02-29'. It is 29 February of a common year",
        ),
        (
            {"context": {"screen": {"width": "x"}}},
            "`context.screen.width` must be a number, but is the text 'x'.",
        ),
    ],
)
def test_refusals_say_what_is_wrong_and_what_to_do(keys: dict[str, Any], message: str) -> None:
    """A refusal names the key, what it must be, what it is, and the way out."""
    assert refusal({**BASE, **keys}).reason.message.startswith(message)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "The input is empty."),
        (b"  \n", "The input is empty."),
        (b"{", "The input is not JSON: it ends too early (byte 1)."),
        (b'{"type":}', "The input is not JSON: invalid character (byte 8)."),
        (b'{"type":"track\xff"}', "The input is not UTF-8 (byte 14)."),
        (b"\xef\xbb\xbf{}", "The input starts with a byte order mark (byte 0)."),
        (b'{"type":"\\ud800"}', "A \\u escape is half of a surrogate pair (byte 9)."),
        (b'{"type":"\\\\ud83d\\ud83d\\ude00\\udc00"}', "A \\u escape is half of a surrogate pair (byte 28)."),
        (b'{"type":"\\ud800x"}', "A \\u escape is half of a surrogate pair (byte 9)."),
        (b"[1]", "An event must be an object, but is a list."),
        (
            b'{"batch":[]}',
            "The object has no `type`, but a `batch`. Read a batch body with `Normaliser.batch`.",
        ),
    ],
)
def test_broken_text_is_located(raw: bytes, message: str) -> None:
    """Text that is no event says what is wrong and at which byte."""
    assert refusal(raw).reason.message.startswith(message)


def test_the_first_of_several_errors_is_always_the_same() -> None:
    """With several keys wrong, the code doesn't depend on their order in the text."""
    wrong = {"timestamp": 5, "context": 5, "properties": 5, "userId": True}
    backwards = dict(reversed(wrong.items()))
    assert said({**BASE, **wrong}) == said({**backwards, "type": "track", "event": "x"}) == ("id_not_string", "/userId")


# sources


def test_text_bytes_and_mappings_are_the_same_event() -> None:
    """bytes, str, bytearray, a dict and an Event give equal events."""
    raw = json.dumps({**BASE, "messageId": "m", "properties": {"é": [1, 2.5, None]}}).encode()
    first = NORMALISER.event(raw)
    assert first.raw == raw
    for source in (raw.decode(), bytearray(raw), json.loads(raw), first):
        assert NORMALISER.event(source) == first  # type: ignore[arg-type]


def test_an_event_is_returned_as_it_is() -> None:
    """An event that was normalised before is not touched."""
    first = event()
    assert NORMALISER.event(first) is first


@pytest.mark.parametrize("source", [None, 5, ["a"], object()])
def test_other_sources_are_refused(source: Any) -> None:
    """What is neither text nor a mapping is a bad request that names its type."""
    reason = refusal(source).reason
    assert reason.code is Code.BAD_REQUEST
    assert type(source).__name__ in reason.message


def test_a_text_with_a_lone_surrogate_is_refused() -> None:
    """A Python string that UTF-8 can't carry is a bad request with the position."""
    assert "(character 3)" in refusal('{"a\ud800":1}').reason.message


class Word(StrEnum):
    """A string of another class."""

    SOLD = "Sold"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ((1, 2), [1, 2]),
        (datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2024-01-02T03:04:05.000006+00:00"),
        (date(2024, 1, 2), "2024-01-02"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Word.SOLD, "Sold"),
        (2**70, 2**70),
        ({"a": {}}, {"a": {}}),
        (True, True),
    ],
)
def test_values_of_mappings_become_json(value: Any, read: Any) -> None:
    """Times and UUIDs become text, tuples lists; integers keep every digit."""
    assert event(properties={"v": value}).properties == {"v": read}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (math.nan, "number_out_of_range"),
        (-math.inf, "number_out_of_range"),
        pytest.param(10**5000, "number_out_of_range", id="an integer of 5001 digits"),
        ({1, 2}, "field_invalid"),
        (b"bytes", "field_invalid"),
        (object(), "field_invalid"),
        ("half \ud800", "field_invalid"),
    ],
)
def test_values_that_are_no_json_are_refused_with_a_pointer(value: Any, code: str) -> None:
    """A mapping may only hold what JSON can say."""
    assert said({**BASE, "properties": {"a/b": [0, value]}}) == (code, "/properties/a~1b/1")


def test_keys_that_are_no_strings_are_refused() -> None:
    """An integer key of a mapping doesn't silently become text."""
    assert said({**BASE, "properties": {"a": {5: 1}}}) == ("field_invalid", "/properties/a")


def test_a_mapping_that_contains_itself_is_refused() -> None:
    """A circle is nested too deeply, not endless."""
    circle: dict[str, Any] = {}
    circle["again"] = circle
    assert said({**BASE, "properties": circle})[0] == "nesting_too_deep"


# limits


def test_size_is_measured_in_bytes_of_the_text() -> None:
    """32,768 bytes are accepted, one more is not."""
    empty = len(json.dumps({**BASE, "properties": {"p": ""}}).encode())
    text = json.dumps({**BASE, "properties": {"p": "x" * (32_768 - empty)}})
    assert len(text) == 32_768
    assert NORMALISER.event(text).raw == text.encode()
    longer = json.dumps({**BASE, "properties": {"p": "x" * (32_769 - empty)}}, separators=(",", ":"))
    assert NORMALISER.event(longer)
    assert said({**BASE, "properties": {"p": "x" * 32_768}}) == ("event_too_large", "")
    assert "32,768 are allowed" in refusal({**BASE, "properties": {"p": "ü" * 16_384}}).reason.message


def test_blanks_around_values_are_not_counted() -> None:
    """A longer text counts as its compact form."""
    assert NORMALISER.event(json.dumps({**BASE, "properties": {"p": 1}}, indent=20_000)).properties == {"p": 1}


def test_message_id_has_a_hundred_characters() -> None:
    """100 characters (not bytes) are accepted, 101 are not."""
    assert event(messageId="ü" * 100).message_id == "ü" * 100
    assert said({**BASE, "messageId": "x" * 101}) == ("message_id_too_long", "/messageId")
    assert said({**BASE, "messageId": 10**100}) == ("message_id_too_long", "/messageId")


@pytest.mark.parametrize("key", ["properties", "traits"])
def test_keys_are_counted_before_bytes(key: str) -> None:
    """10,001 keys are too many, which is said rather than that the event is too large."""
    many = {**BASE, key: {str(number): number for number in range(10_001)}}
    assert said(many) == ("too_many_properties", f"/{key}")
    large = Normaliser(limits=Limits(event_bytes=10**7))
    assert said(many, large) == ("too_many_properties", f"/{key}")
    del many[key]["0"]
    assert said(many) == ("event_too_large", "")
    assert large.event(many)


def nested(levels: int, opening: str = '{"a":', closing: str = "}") -> bytes:
    inside = opening * levels + "1" + closing * levels
    return b'{"type":"track","event":"Sold","userId":"u","properties":{"a":' + inside.encode() + b"}}"


def test_nesting_is_counted_exactly() -> None:
    """The event is the first level: 62 objects inside properties are accepted, 63 are not."""
    assert NORMALISER.event(nested(62)).properties["a"]
    assert said(nested(63)) == ("nesting_too_deep", "/properties" + "/a" * 63)
    assert NORMALISER.event(nested(62, "[", "]"))
    assert said(nested(63, "[", "]")) == ("nesting_too_deep", "/properties/a" + "/0" * 62)
    assert said(nested(3), Normaliser(limits=Limits(depth=4))) == ("nesting_too_deep", "/properties/a/a/a")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("levels", [900, 1_100, 100_000])
def test_absurd_nesting_is_refused(levels: int, opening: str, closing: str) -> None:
    """Nesting that would overflow a stack is refused as such, known key or not."""
    large = Normaliser(limits=Limits(event_bytes=10**7))
    raw = nested(levels, opening, closing)
    assert said(raw, large)[0] == "nesting_too_deep"
    assert said(raw.replace(b"properties", b"unknown"), large)[0] == "nesting_too_deep"
    assert said(raw.replace(b'"properties":', b'"context":'), large)[0] == "nesting_too_deep"


# times


def times(**given: str) -> dict[str, Any]:
    found = event(**given).to_dict()
    return {key: found.get(key) for key in ("timestamp", "originalTimestamp", "sentAt", "receivedAt")}


def at(second: str) -> str:
    return f"2020-01-01T00:00:{second}Z"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # timestamp = receivedAt - (sentAt - originalTimestamp)
        ({"timestamp": "10.000", "sentAt": "20.000", "receivedAt": "25.500"},
         ("15.500", "10.000", "20.000", "25.500")),
        ({"timestamp": "10.000", "sentAt": "20.000"}, ("10.000", "10.000", "20.000", "20.000")),
        ({"timestamp": "10.000", "receivedAt": "25.000"}, ("10.000", "10.000", None, "25.000")),
        ({"sentAt": "20.000", "receivedAt": "25.000"}, ("25.000", "25.000", "20.000", "25.000")),
        ({"sentAt": "20.000"}, ("20.000", "20.000", "20.000", "20.000")),
        ({"receivedAt": "25.000"}, ("25.000", "25.000", None, "25.000")),
        # normalised already
        ({"timestamp": "10.000", "originalTimestamp": "05.000", "sentAt": "20.000", "receivedAt": "40.000"},
         ("10.000", "05.000", "20.000", "40.000")),
        ({"originalTimestamp": "05.000", "sentAt": "20.000", "receivedAt": "40.000"},
         ("25.000", "05.000", "20.000", "40.000")),
        ({"originalTimestamp": "05.000", "receivedAt": "40.000"}, ("05.000", "05.000", None, "40.000")),
        # digits after the millisecond are cut
        ({"timestamp": "10.0009", "sentAt": "10.0009"}, ("10.000", "10.000", "10.000", "10.000")),
    ],
)  # fmt: skip
def test_timestamp_formula_and_its_fallbacks(given: dict[str, str], expected: tuple[str | None, ...]) -> None:
    """The four times follow from those that were given."""
    found = times(**{key: at(second) for key, second in given.items()})
    assert tuple(found.values()) == tuple(second and at(second) for second in expected)


def test_without_any_time_the_clock_is_read() -> None:
    """The injected clock stands in, cut to the millisecond."""
    found = event()
    assert found.timestamp == found.original_timestamp == found.received_at == NOW.replace(microsecond=123_000)
    assert found.sent_at is None
    assert found.timestamp_ms == 1715934600123


def test_a_clock_may_have_any_zone() -> None:
    """What the clock says is brought to UTC."""
    eastern = NOW.astimezone(timezone(timedelta(hours=-5)))
    found = Normaliser(clock=lambda: eastern).event(BASE)
    assert found.received_at.tzinfo is UTC
    assert found.received_at == NOW.replace(microsecond=123_000)


def test_times_are_utc_whatever_zone_they_came_in() -> None:
    """Both ways of reading give aware UTC times."""
    for text in ("2020-01-01T02:00:00+02:00", "2020-01-01T02:00:00 +02", "2020-01-01T00:00:00"):
        found = event(timestamp=text, sentAt=text, receivedAt=text)
        for time in (found.timestamp, found.original_timestamp, found.sent_at, found.received_at):
            assert time == datetime(2020, 1, 1, tzinfo=UTC)
            assert time.tzinfo is UTC


def test_a_formula_out_of_the_calendar_is_refused() -> None:
    """Times that lead out of the years 1 to 9999 are refused, not an overflow."""
    wild = {"timestamp": "9999-12-31T23:00:00Z", "sentAt": at("00"), "receivedAt": "2020-01-02"}
    assert said({**BASE, **wild}) == ("timestamp_invalid", "/timestamp")


# message ids


def test_a_missing_message_id_is_made_from_the_text() -> None:
    """The injected source of ids gets the text as it came."""
    raw = json.dumps(BASE).encode()
    assert NORMALISER.event(raw).message_id == f"made-{len(raw)}"
    assert NORMALISER.event(raw[:-1] + b',"messageId":null}').message_id == f"made-{len(raw) + 17}"


def test_by_default_message_ids_are_unique() -> None:
    """The default makes a UUID 4 each time."""
    one, other = (uuid.UUID(Normaliser().event(BASE).message_id) for _ in range(2))
    assert one != other
    assert one.version == 4


# keys that a call does not own, old places, unknown keys


@pytest.mark.parametrize("call_type", ["page", "screen", "identify", "group", "alias", "delete"])
def test_keys_of_other_calls_are_never_wrong(call_type: str) -> None:
    """A key that the call type doesn't own is carried, whatever it holds."""
    owned = {
        "page": {"name", "category", "properties"},
        "screen": {"name", "category", "properties"},
        "identify": {"traits"},
        "group": {"groupId", "traits"},
        "alias": {"previousId"},
        "delete": set(),
    }[call_type]
    odd = dict.fromkeys(("event", "name", "category", "properties", "traits", "groupId", "previousId"), 5.5)
    foreign = {key: value for key, value in odd.items() if key not in owned}
    needed = {"groupId": "g"} if call_type == "group" else {}
    found = NORMALISER.event({"type": call_type, "userId": "u", **foreign, **needed})
    assert foreign.items() <= found.to_dict().items()
    assert found.event is None


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"context": {"integrations": {"A": False}}}, {"A": False}),
        ({"options": {"providers": {"A": False}}}, {"A": False}),
        ({"options": {"all": False}}, {"All": False}),
        ({"options": {"providers": {"all": True}, "all": False}}, {"all": True}),
        ({"options": {"providers": {"A": 1}}, "context": {"integrations": {"A": 2}}}, {"A": 2}),
        ({"options": 5, "context": {"integrations": []}}, {}),
        ({"integrations": {"B": True}, "options": {"all": False}}, {"B": True}),
        ({"integrations": None, "context": {"integrations": {"A": None}}}, {"A": None}),
    ],
)
def test_old_places_of_integrations(keys: dict[str, Any], expected: dict[str, Any]) -> None:
    """Without a root object, `integrations` is read from where old libraries wrote it."""
    found = event(**keys)
    assert found.integrations == expected
    assert found.to_dict().get("integrations") == (expected or keys.get("integrations"))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(good_events)
def test_normalising_again_changes_nothing(sent: dict[str, Any]) -> None:
    """The dict of a normalised event normalises to an equal event, with the same typed fields."""
    try:
        first = NORMALISER.event(sent)
    except Refusal:
        return
    again = Normaliser(clock=lambda: NOW + timedelta(days=1)).event(first.to_dict())
    assert again == first
    assert again.to_dict() == first.to_dict()
    for name in ("user_id", "timestamp", "timestamp_ms", "received_at", "properties", "integrations"):
        assert repr(getattr(again, name)) == repr(getattr(first, name))
    assert repr(again.context) == repr(first.context)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=4))
def test_nothing_that_came_is_lost(extra: dict[str, Any]) -> None:
    """Every unknown key, and every property, comes out as it went in."""
    keys = {f"x{key}": value for key, value in extra.items()}
    found = event(**keys, properties=extra, context=keys, messageId="m").to_dict()
    assert repr(found["properties"]) == repr(extra)
    assert repr(found["context"]) == repr(keys)
    assert repr({key: found[key] for key in keys}) == repr(keys)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=40) | st.text(max_size=40) | json_values)
def test_arbitrary_input_is_accepted_or_refused(source: Any) -> None:
    """Nothing raises anything but a Refusal."""
    for read in (NORMALISER.event, lambda given: list(NORMALISER.batch(given))):
        try:
            read(source)
        except Refusal as refused:
            assert refused.reason.message  # noqa: PT017


@pytest.mark.parametrize("key", [" raw", " timestampMs"])
@pytest.mark.parametrize("value", ["QUJD", 5, None, {"a": 1}])
def test_internal_fields_cannot_be_given(key: str, value: Any) -> None:
    """A key named as an internal field is an unknown key: carried, and without effect."""
    found = event(timestamp="2020-01-01", **{key: value})
    assert found.timestamp_ms == 1577836800000
    assert json.loads(found.raw)[key] == value
    assert found.to_dict()[key] == value


# batches


def batch(body: Any) -> list[Event | Refusal]:
    return list(NORMALISER.batch(body))


def both_ways(body: dict[str, Any]) -> list[Event | Refusal]:
    """Return what a batch becomes, after checking that text and mapping say the same."""
    text, mapping = batch(json.dumps(body).encode()), batch(body)
    assert len(text) == len(mapping)
    for one, other in zip(text, mapping, strict=True):
        if isinstance(one, Event) and isinstance(other, Event):
            assert one.to_dict() == other.to_dict()
        else:
            assert one.reason == other.reason  # type: ignore[union-attr]
    return text


ITEM = {**BASE, "messageId": "m-1"}


def test_batch_gives_each_item_its_root_keys() -> None:
    """sentAt, timestamp, receivedAt and writeKey go to the items that have none, null included."""
    root = {"sentAt": at("20"), "receivedAt": at("30"), "timestamp": at("10"), "writeKey": "root"}
    own = {"sentAt": at("21"), "receivedAt": at("31"), "timestamp": at("11"), "writeKey": "own"}
    nulls = dict.fromkeys(root)
    first, second, third = both_ways({"batch": [ITEM, {**ITEM, **own}, {**ITEM, **nulls}], **root})
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert isinstance(third, Event)
    assert first.to_dict() == third.to_dict()
    assert (first.write_key, first.to_dict()["timestamp"]) == ("root", "2020-01-01T00:00:20.000Z")
    assert (second.write_key, second.to_dict()["timestamp"]) == ("own", "2020-01-01T00:00:21.000Z")


def test_an_item_with_its_original_timestamp_keeps_to_it() -> None:
    """RudderStack's Node library gives an item that time alone, and the root's `timestamp` is when it was sent."""
    root = {"sentAt": at("20"), "receivedAt": at("30"), "timestamp": at("19")}
    items = [{**ITEM, "originalTimestamp": at("08")}, {**ITEM, "originalTimestamp": None}]
    first, second = both_ways({"batch": items, **root})
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert (first.to_dict()["timestamp"], first.to_dict()["originalTimestamp"]) == (
        "2020-01-01T00:00:18.000Z",
        "2020-01-01T00:00:08.000Z",
    )
    assert (second.to_dict()["timestamp"], second.to_dict()["originalTimestamp"]) == (
        "2020-01-01T00:00:29.000Z",
        "2020-01-01T00:00:19.000Z",
    )


@pytest.mark.parametrize(
    "own",
    [{}, {"sentAt": None}, {"sentAt": "2019-01-01"}, {"writeKey": "own"}, {"writeKey": None, "sentAt": 5}],
)
@pytest.mark.parametrize("root", [{"sentAt": at("20")}, {"writeKey": "w"}, {"sentAt": at("20"), "writeKey": "w"}])
def test_cheap_merge_says_what_the_careful_one_says(own: dict[str, Any], root: dict[str, Any]) -> None:
    """Whatever the item says of sentAt and writeKey, text and mapping agree, without duplicate keys."""
    (found,) = both_ways({"batch": [{**ITEM, **own}], **root})
    if isinstance(found, Event):
        pairs = json.loads(found.raw, object_pairs_hook=lambda pairs: [key for key, _ in pairs])
        assert len(pairs) == len(set(pairs))


def test_batch_merges_context_and_integrations() -> None:
    """Objects are merged key by key, and the item wins; its nulls are absent, but not inside traits."""
    root = {
        "context": {"app": {"name": "shop", "version": "1"}, "ip": "8.8.8.8", "traits": {"a": 1, "b": 2}},
        "integrations": {"All": False, "Amplitude": True},
    }
    own = {
        "context": {"app": {"version": "2"}, "ip": None, "traits": {"a": None}},
        "integrations": {"Amplitude": {"session_id": 5}},
    }
    first, second = both_ways({"batch": [ITEM, {**ITEM, **own}], **root})
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert first.to_dict()["context"] == root["context"]
    assert first.integrations == root["integrations"]
    assert second.to_dict()["context"] == {
        "app": {"name": "shop", "version": "2"},
        "ip": "8.8.8.8",
        "traits": {"a": None, "b": 2},
    }
    assert second.integrations == {"All": False, "Amplitude": {"session_id": 5}}


def test_an_item_that_needs_no_merging_keeps_its_text() -> None:
    """Blanks, key order and digits of an item stay as they came."""
    item = b'{ "type":"track",  "event":"Sold","userId":"u","properties":{"f":1.00} }'
    (found,) = batch(b'{"batch": [ ' + item + b" ]}")
    assert isinstance(found, Event)
    assert found.raw == item


def test_a_refused_item_does_not_stop_the_others() -> None:
    """Every item becomes an event or a refusal, in its place."""
    items = [ITEM, 5, None, "x", [], {}, {"type": "track"}, {**ITEM, "context": 5}, ITEM]
    for root in ({}, {"sentAt": at("20")}, {"context": {"ip": "8.8.8.8"}}, {"timestamp": at("20")}):
        found = both_ways({"batch": items, **root})
        codes = ["event" if isinstance(one, Event) else str(one.reason.code) for one in found]
        wrong = ["bad_request"] * 4 + ["type_not_defined", "event_not_defined", "context_not_object"]
        assert codes[:1] + codes[-1:] == ["event", "event"]
        assert codes[1:6] == wrong[:5]
        assert codes[6] in ("event_not_defined", "no_user_anon_id")
        assert codes[7] == "context_not_object"


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (b'{"type":"track","event":"\xff","userId":"u"}', "bad_request"),
        (b'{"type":"track","event":"Sold","userId":"u","x":1e999}', "number_out_of_range"),
        (b'{"type":"track","event":"Sold","userId":"u","context":{"x":1e999}}', "number_out_of_range"),
    ],
)
@pytest.mark.parametrize("root", [b"", b',"sentAt":"2020-01-01"', b',"context":{"ip":"8.8.8.8"}'])
def test_what_only_one_item_holds_refuses_only_that_item(item: bytes, code: str, root: bytes) -> None:
    """Invalid UTF-8 and numbers out of range are found item by item."""
    good = json.dumps(ITEM).encode()
    first, second = batch(b'{"batch":[' + item + b"," + good + b"]" + root + b"}")
    assert isinstance(first, Refusal)
    assert first.reason.code == code
    assert isinstance(second, Event)


def test_a_value_of_a_mapping_that_is_no_json_refuses_only_its_item() -> None:
    """A set in one item of a batch mapping leaves the others alone."""
    first, second = batch({"batch": [{**ITEM, "properties": {"a": {1}}}, ITEM], "sentAt": at("20")})
    assert isinstance(first, Refusal)
    assert (first.reason.code, first.reason.path) == (Code.FIELD_INVALID, "/properties/a")
    assert isinstance(second, Event)


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        (b"", "bad_request", None),
        (b'{"batch":[{]}', "bad_request", None),
        (b'{"batch":[{},,]}', "bad_request", None),
        (b"[]", "bad_request", ""),
        (b"{}", "bad_request", "/batch"),
        (b'{"batch":null}', "bad_request", "/batch"),
        (b'{"batch":{}}', "bad_request", "/batch"),
        (b'{"type":"track"}', "bad_request", "/batch"),
        (b'{"batch":[]}', "empty_batch", "/batch"),
        (b'{"batch":[{}],"context":5}', "context_not_object", "/context"),
        (b'{"batch":[{}],"integrations":[]}', "integrations_not_object", "/integrations"),
        (b'{"batch":[{}],"context":{"a":1e999}}', "number_out_of_range", "/context/a"),
        (
            b'{"batch":[{}],"context":' + b'{"a":' * 70 + b"1" + b"}" * 71,
            "nesting_too_deep",
            "/context" + "/a" * 63,
        ),
        (b'{"batch":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nesting_too_deep", None),
        ({}, "bad_request", "/batch"),
        ({"batch": "x"}, "bad_request", "/batch"),
        ({"batch": []}, "empty_batch", "/batch"),
        (None, "bad_request", None),
        ("{\ud800", "bad_request", None),
    ],
)
def test_a_body_that_is_no_batch_is_refused_at_once(body: Any, code: str, path: str | None) -> None:
    """The body itself is refused when it is read, not when the first item is taken."""
    with pytest.raises(Refusal) as caught:
        NORMALISER.batch(body)
    assert (caught.value.reason.code, caught.value.reason.path) == (code, path)


# the normaliser itself


def test_normaliser_pickles() -> None:
    """A worker of any engine can be handed a normaliser."""
    again = pickle.loads(pickle.dumps(NORMALISER))
    assert again.event(BASE) == NORMALISER.event(BASE)


def test_normaliser_serves_threads() -> None:
    """Threads that share a normaliser get their own events."""
    texts = [json.dumps({**BASE, "userId": f"u-{number}", "extra": number % 2 or None}) for number in range(400)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(NORMALISER.event, texts))
    assert [one.user_id for one in found] == [f"u-{number}" for number in range(400)]


def test_no_event_loads_a_validator() -> None:
    """Neither an accepted event nor a refused one needs jsonschema, which takes long to import."""
    program = (
        "import sys; from turnout.normalise import Normaliser\n"
        'Normaliser().event({"type": "track", "event": "e", "userId": 5, "context": None})\n'
        "try: Normaliser().event({'type': 'track', 'event': 'e'})\n"
        'except Exception as error: assert "userId" in str(error)\n'
        'else: raise SystemExit("accepted")\n'
        'assert "jsonschema" not in sys.modules, "loaded"\n'
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=path)

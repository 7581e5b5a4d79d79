"""The Split destination: limits at their edges, names made of anything, settings, and how answers are read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from turnout import Answer, Dispatcher, Fate, Plan, Reason, SettingsError, Verdict
from turnout.cli import main
from turnout.reasons import Code
from turnout_split import Split
from turnout_split.answers import read_activation, read_creation, read_events, read_keys
from turnout_split.names import event_type, is_segment_name, segment_name
from turnout_split.properties import first_number, flat

EVENTS = {"sdk_key": "sdk-1", "environment": "Prod"}
SEGMENTS = {
    "send_events": False,
    "sync_segments": True,
    "admin_api_key": "admin-1",
    "workspace_id": "ws-1",
    "environment_id": "env-1",
    "traffic_type_id": "tt-1",
}


def plan(event: dict[str, Any], **settings: Any) -> Plan:
    """Return the plan of an event with the settings for events."""
    [made] = Dispatcher([Split({**EVENTS, **settings})]).plan({"type": "track", "event": "e", "userId": "u", **event})
    return made


def body(made: Plan) -> Any:
    """Return the one event that a plan sends."""
    [request] = made.to_dict()["requests"]
    [event] = request["body"]
    return event


# Names


@given(st.text(), st.integers(1, 80))
def test_an_event_type_matches_splits_pattern_or_is_empty(name: str, most: int) -> None:
    """Whatever a name is; it is empty only when it has no ASCII letter or digit."""
    made = event_type(name, most)
    assert re.fullmatch(r"([a-zA-Z0-9][-_.a-zA-Z0-9]{0,79})?", made)
    assert len(made) <= most
    assert bool(made) is bool(re.search(r"[a-zA-Z0-9]", name))
    assert event_type(made, most) == made


def test_a_prefix_does_not_make_one_type_of_names_that_can_not_stand_in_any() -> None:
    """Without it such names are refused, and with it they would all be `amp._`."""
    made = plan({"event": "購入"}, event_type_prefix="amp.")
    assert (made.outcome.value, made.reason and made.reason.path) == ("invalid", "/event")
    assert body(plan({"event": "購入 2"}, event_type_prefix="amp."))["eventTypeId"] == "amp._2"


def test_a_prefix_has_to_leave_room() -> None:
    """Else the names would be cut away, and all events be of one type."""
    with pytest.raises(SettingsError, match="'event_type_prefix' leaves no room for names"):
        plan({}, event_type_prefix="p" * 63)
    assert body(plan({"event": "ab"}, event_type_prefix="p" * 62))["eventTypeId"] == "p" * 62 + "a"


@given(st.text())
def test_a_segment_name_is_one_or_is_empty(name: str) -> None:
    """Whatever a cohort is called; a name that Split takes stays as it is."""
    made = segment_name(name)
    assert is_segment_name(made) or (made == "" and not re.search(r"[a-zA-Z0-9]", name))
    assert segment_name(made) == made


# Properties and value

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
KEYS = st.text("ab.", max_size=3)
NESTED = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


def turned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: turned(inner) for key, inner in reversed(value.items())}
    return [turned(one) for one in value] if isinstance(value, list) else value


@given(NESTED)
def test_flat_properties_hold_what_split_takes(properties: dict[str, Any]) -> None:
    """Only text, numbers, booleans and null are left, whatever was nested; the order of keys means nothing."""
    made = flat(properties)
    assert all(value is None or isinstance(value, str | bool | int | float) for value in made.values())
    assert made == flat(turned(properties))
    scalars = {name: value for name, value in properties.items() if not isinstance(value, dict | list)}
    assert scalars.items() <= made.items()


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((0, 0), (-1.5, -1.5), (2**60 + 1, 2**60 + 1), ("7", 7), (" .5 ", 0.5), ("1e3", 1000), ("-0", 0)),
        *((True, None), (None, None), ("", None), ("12a", None), ("0x1f", None), ("1_000", None), ("1,5", None)),
        *(("NaN", None), ("Infinity", None), ("1e999", None), ("٣", None), ([1], None), ({"a": 1}, None)),
    ],
)
def test_a_value_is_a_number_or_a_text_that_is_one(value: Any, number: Any) -> None:
    """Booleans, parts of numbers and what no double holds are none."""
    assert first_number({"v": value}, ["v"]) == number
    assert first_number({"v": value, "w": 5}, ["v", "w"]) == (5 if number is None else number)


@pytest.mark.parametrize(("count", "left"), [(300, 300), (301, 300)])
def test_at_most_300_properties_go_out(count: int, left: int, caplog: pytest.LogCaptureFixture) -> None:
    """Of more, the first by name do, and a note says how many don't; properties of the context count as well."""
    properties = {f"p{number:04d}": number for number in range(count - 1)}
    context = {"properties": properties, "context": {"os": {"name": "iOS"}}}
    made = plan(context, context_properties={"context.os.name": "os"})
    assert len(body(made)["properties"]) == left
    assert [note.message for note in made.notes] == (
        [] if count == 300 else ["Split takes 300 properties; 1 were left out, from 'p0299' on."]
    )


@pytest.mark.parametrize("letter", ["x", "é", "漢", "😀"])
def test_properties_of_32_kb_fit_and_one_byte_more_does_not(letter: str) -> None:
    """32,768 bytes, counted as Split's SDKs do: 1,024, and the names and texts."""
    size = len(letter.encode())
    room = 32_768 - 1024 - len("name") - len("n")
    count, rest = divmod(room, size)
    fits = {"name": letter * count, "n" + "n" * rest: 1}
    made = plan({"properties": fits})
    assert body(made)["properties"] == fits
    over = plan({"properties": {"name": letter * count, "n" + "n" * (rest + 1): 1}})
    assert (over.outcome.value, over.requests) == ("invalid", [])
    assert over.reason == Reason(
        Code.VENDOR_WOULD_REFUSE,
        "The properties come to 32,769 bytes as Split counts; it takes 32,768. Send fewer or shorter.",
        "/properties",
    )


def test_what_flattening_adds_counts() -> None:
    """Names that grow by flattening can make properties too large that were small."""
    deep = {"a" * 1000: {f"{number:04d}": number for number in range(40)}}
    assert (made := plan({"properties": deep})).reason is not None
    assert made.reason.path == "/properties"


@pytest.mark.parametrize("when", ["1969-12-31T23:59:59Z", "1970-01-01T00:00:01Z", "2026-01-02T03:04:05.006Z"])
def test_times_are_milliseconds(when: str) -> None:
    """Also those that are as small as seconds."""
    expected = {"1969": -1000, "1970": 1000, "2026": 1_767_323_045_006}[when[:4]]
    assert body(plan({"timestamp": when}))["timestamp"] == expected


# Settings


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({}, "Setting 'sdk_key' is required for events: give it, or switch send_events off."),
        ({"sdk_key": "k"}, "Setting 'environment' is required for events"),
        ({**EVENTS, "traffic_type": " "}, "Setting 'traffic_type' is required for events, or anonymous_traffic_type"),
        ({**EVENTS, "event_type_length": 81}, "Setting 'event_type_length' must be a whole number from 1 to 80"),
        ({**EVENTS, "event_type_length": 0}, "Setting 'event_type_length' must be a whole number from 1 to 80"),
        (
            {**SEGMENTS, "admin_api_key": ""},
            "Setting 'admin_api_key' is required with sync_segments, or harness_api_key",
        ),
        ({**SEGMENTS, "harness_api_key": "h"}, "Setting 'harness_api_key' must not be given beside admin_api_key"),
        ({**SEGMENTS, "workspace_id": ""}, "Setting 'workspace_id' is required with sync_segments"),
        ({**SEGMENTS, "environment_id": ""}, "Setting 'environment_id' is required with sync_segments"),
        ({**SEGMENTS, "traffic_type_id": ""}, "Setting 'traffic_type_id' is required with sync_segments"),
        ({**SEGMENTS, "member_id": "email"}, "Setting 'member_id' must be one of 'user_id', 'anonymous_id'"),
        (
            {**SEGMENTS, "segment_names": {"Buyers": "1 buyers"}},
            "Setting 'segment_names' has the name '1 buyers' for 'Buyers', which Split refuses",
        ),
        ({**EVENTS, "trafic_type": "user"}, "Did you mean 'traffic_type'?"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], wrong: str) -> None:
    """The sentence names the setting, and says what to do."""
    with pytest.raises(SettingsError) as caught:
        Split(settings)
    assert wrong in str(caught.value)
    for secret in ("admin-1", "sdk-1"):
        assert secret not in str(caught.value)


def test_a_wrong_setting_is_one_sentence_on_the_command_line(tmp_path: Path) -> None:
    """Exit 2, and no traceback."""
    (tmp_path / "settings.json").write_text(json.dumps({"sync_segments": True, **EVENTS}), encoding="utf-8")
    done = CliRunner().invoke(main, ["plan", "-d", "split", "--settings", str(tmp_path / "settings.json")], input="")
    assert done.exit_code == 2
    assert done.stderr.startswith("turnout: destination 'split': Setting 'workspace_id' is required")
    assert "Traceback" not in done.stderr


def test_nothing_switched_on_is_said() -> None:
    """It is allowed, and probably not meant."""
    [warning] = Split({"send_events": False}).config.warnings
    assert warning == "send_events and sync_segments are both off: nothing is sent to Split."


# Answers

DELIVERED = Verdict(Fate.DELIVERED)
READERS = [read_events, read_creation, read_activation, read_keys]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("read", READERS)
def test_success_is_for_all_items(read: Any, status: int) -> None:
    """Both APIs answer for the request as a whole."""
    assert read(Answer(status, {}, b'{"code": 200}'), 3) == [DELIVERED] * 3


@pytest.mark.parametrize("read", READERS)
def test_a_page_of_html_is_no_answer_of_splits(read: Any) -> None:
    """A proxy's page with status 200 says nothing about the items."""
    [verdict] = read(Answer(200, {}, b" <html>Sign in</html>"), 1)
    assert (verdict.fate, verdict.reason.code) == (Fate.RETRY, Code.VENDOR_UNAVAILABLE)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(("read", "named"), [(read_events, "sdk_key"), *((one, "segments") for one in READERS[1:])])
def test_a_refused_key_is_a_matter_of_the_settings(read: Any, named: str, status: int) -> None:
    """The sentence says which of the keys, and that the two kinds are not the same."""
    [verdict] = read(Answer(status), 1)
    assert verdict.fate is Fate.SETUP
    assert named in verdict.reason.message
    assert f"(HTTP {status})" in verdict.reason.message


@pytest.mark.parametrize("status", [301, 307, 404, 405])
def test_a_wrong_address_is_a_matter_of_the_settings(status: int) -> None:
    """Else every event would be dead because of a base_url."""
    [verdict] = read_events(Answer(status), 1)
    assert verdict.fate is Fate.SETUP
    assert "compare base_url" in verdict.reason.message


def test_what_is_there_already_is_as_good_as_new() -> None:
    """409 for a segment that exists, and for one that is active; for keys it is a refusal."""
    assert read_creation(Answer(409), 2) == [DELIVERED] * 2
    assert read_activation(Answer(409), 2) == [DELIVERED] * 2
    assert [one.fate for one in read_keys(Answer(409), 2)] == [Fate.REFUSED] * 2


def test_an_unknown_workspace_is_a_matter_of_the_settings() -> None:
    """No event is at fault; a segment that isn't there is another thing."""
    [verdict] = read_creation(Answer(404), 1)
    assert verdict.fate is Fate.SETUP
    assert "workspace_id or traffic_type_id" in verdict.reason.message
    assert read_activation(Answer(404), 1)[0].fate is Fate.REFUSED
    assert read_keys(Answer(404), 1)[0].fate is Fate.REFUSED


def test_a_refused_batch_of_events_is_split_and_of_keys_is_not() -> None:
    """One bad event may be found so; keys are refused together, since a segment that is full refuses each of them."""
    assert [one.fate for one in read_events(Answer(400), 2)] == [Fate.SPLIT] * 2
    assert [one.fate for one in read_events(Answer(400), 1)] == [Fate.REFUSED]
    assert [one.fate for one in read_keys(Answer(400, {}, b"full"), 2)] == [Fate.REFUSED] * 2


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"x-ratelimit-reset-seconds-org": "12", "x-ratelimit-reset-seconds-ip": "7"}, 12),
        ({"x-ratelimit-reset-seconds-org": "3", "x-ratelimit-reset-seconds-ip": "8"}, 8),
        ({"x-ratelimit-reset-seconds-ip": " 9 "}, 9),
        ({"x-ratelimit-reset-seconds-org": "5", "retry-after": "6"}, 6),
        ({"x-ratelimit-reset-seconds-org": "soon", "x-ratelimit-reset-seconds-ip": "-1"}, None),
        ({"x-ratelimit-reset-seconds-org": "٣"}, None),
        ({"x-ratelimit-reset-seconds-org": "999999999999"}, 3600),
    ],
)
@pytest.mark.parametrize("read", READERS[1:])
def test_the_admin_api_says_how_long_to_wait(read: Any, headers: dict[str, str], wait: float | None) -> None:
    """The larger of the limits of organisation and address counts; what can't be read says nothing."""
    [verdict] = read(Answer(429, headers), 1)
    assert (verdict.fate, verdict.wait) == (Fate.RETRY, wait)

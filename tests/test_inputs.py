"""What carries over between events: sessions and made device ids, owned by the caller."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import (
    ITEMS,
    Carried,
    Destination,
    Dispatcher,
    Endpoint,
    Event,
    Inputs,
    Item,
    Normaliser,
    Settings,
    TurnoutError,
    json_body,
    platform_of,
    rule,
)
from turnout.settings import choice
from turnout_amplitude import Amplitude

HALF_AN_HOUR = 30 * 60 * 1000
LIBRARIES = {"browser": "analytics.js", "ios": "analytics-ios", "android": "analytics-android", "server": "other"}


class KeeperSettings(Settings):
    """As any destination that knows device mode."""

    connection_mode = choice("How events are mapped.", ["cloud", "device"], default="device")


class Keeper(Destination):
    """Says of each event what earlier ones left for it."""

    name = "Keeper"
    settings = KeeperSettings
    out = Endpoint("POST", "https://keeper.example/in", body=json_body(ITEMS))

    def wants_device_id(self, event: Event) -> bool:
        """From mobile devices only."""
        return platform_of(event) in ("ios", "android")

    def device_of(self, event: Event, carried: Carried) -> str | None:
        """The made id, else the anonymous one; group calls have no session."""
        return None if event.type == "group" else carried.device_id or event.anonymous_id

    def prepare(self, event: Event, carried: Carried | None) -> Any:
        """What is known."""
        return carried

    @rule("track", "group")
    def told(self, carried: Carried | None) -> Item:
        """What is known."""
        known = carried and [carried.device_id, carried.new_session, carried.session_start_ms]
        return self.out.item({"known": known})


def event(at: int, who: str | None = "anon-1", platform: str = "browser", kind: str = "track") -> Event:
    """Return an event `at` so many ms after 2026 began."""
    seconds, ms = divmod(at, 1000)
    stamp = f"2026-01-01T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}Z"
    return Normaliser().event(
        {
            "type": kind,
            "event": "Seen",
            "groupId": "g-1",
            "messageId": f"m-{at}",
            "anonymousId": who,
            "userId": "user-1",
            "timestamp": stamp,
            "context": {"library": {"name": LIBRARIES[platform]}},
        }
    )


START = event(0).timestamp_ms


def known(dispatcher: Dispatcher, one: Event, inputs: Inputs | None = None) -> Any:
    (plan,) = dispatcher.plan(one, inputs)
    assert plan.outcome.value == "planned", plan.reason
    return json.loads(plan.items[0].data)["known"]


def keeper(provider: Any = None, *, mode: str = "device", name: str = "keeper") -> Dispatcher:
    return Dispatcher([Keeper({"connection_mode": mode}, id=name)], device_id_provider=provider)


def test_a_session_ends_after_half_an_hour_of_silence() -> None:
    """Exactly 30 minutes are still the same session; a millisecond more begins one."""
    dispatcher, inputs = keeper(), Inputs()
    times = [0, HALF_AN_HOUR, 2 * HALF_AN_HOUR, 3 * HALF_AN_HOUR + 1]
    told = [known(dispatcher, event(at), inputs)[1:] for at in times]
    assert told == [[True, START], [False, START], [False, START], [True, START + times[3]]]


def test_a_late_event_neither_ends_nor_shortens_a_session() -> None:
    """An event from before belongs to the running session, which goes on from its newest event."""
    dispatcher, inputs = keeper(), Inputs()
    times = [4 * HALF_AN_HOUR, 0, 5 * HALF_AN_HOUR]
    assert [known(dispatcher, event(at), inputs)[1] for at in times] == [True, False, False]


def test_each_device_and_each_destination_has_its_own_sessions() -> None:
    """What one did begins nothing for another."""
    inputs = Inputs()
    one, two = keeper(name="one"), keeper(name="two")
    assert known(one, event(0), inputs)[1] is True
    assert known(one, event(1, who="anon-2"), inputs)[1] is True
    assert known(two, event(2), inputs)[1] is True
    assert known(one, event(3), inputs)[1] is False


def test_without_inputs_an_event_stands_alone() -> None:
    """Each event is then the first of a session, and nothing is remembered."""
    dispatcher = keeper()
    assert [known(dispatcher, event(at))[1] for at in (0, 1)] == [True, True]


def test_nothing_is_carried_in_cloud_mode_or_for_calls_without_a_session() -> None:
    """A destination that asks for nothing gets None; one that names no device gets no session."""
    inputs = Inputs()
    assert known(keeper(mode="cloud"), event(0), inputs) is None
    assert known(keeper(), event(0, kind="group"), inputs) == [None, True, 0]
    assert inputs.to_dict()["destinations"]["keeper"]["sessions"] == {}


def test_an_event_that_the_gate_keeps_away_leaves_nothing_behind() -> None:
    """It never reached the destination, so it begins no session there."""
    dispatcher, inputs = keeper(), Inputs()
    kept_away = Normaliser().event({**event(0).to_dict(), "integrations": {"Keeper": False}})
    assert dispatcher.plan(kept_away, inputs)[0].outcome.value == "dropped"
    assert known(dispatcher, event(1), inputs)[1] is True


def test_an_event_that_cannot_be_mapped_leaves_nothing_behind() -> None:
    """Nothing of it was sent, so the next event begins the session."""
    inputs, dispatcher = Inputs(), Dispatcher([Amplitude({"api_key": "k-1", "connection_mode": "device"})])
    library = {"library": {"name": "analytics.js"}}
    visit = {"type": "track", "anonymousId": "a-1", "context": library, "timestamp": "2026-03-02T06:00:00Z"}
    assert dispatcher.plan({**visit, "event": "[Amplitude] Revenue"}, inputs)[0].outcome.value == "invalid"
    assert inputs.to_dict()["destinations"]["amplitude"]["sessions"] == {}
    assert dispatcher.plan({**visit, "event": "Seat Booked"}, inputs)[0].outcome.value == "planned"
    assert [*inputs.to_dict()["destinations"]["amplitude"]["sessions"]] == ["a-1"]


def test_the_provider_is_asked_once_for_each_device() -> None:
    """Its id stays with the caller's inputs, so the same event gets the same id after a restart."""
    asked: list[str | None] = []

    def provider(one: Event) -> str | None:
        asked.append(one.anonymous_id)
        return f"made-{len(asked)}"

    dispatcher, inputs = keeper(provider), Inputs()
    phones = [event(at, who=who, platform="ios") for at, who in enumerate(["anon-1", "anon-2", "anon-1"])]
    assert [known(dispatcher, one, inputs)[0] for one in phones] == ["made-1", "made-2", "made-1"]
    again = Inputs.from_dict(json.loads(json.dumps(inputs.to_dict())))
    assert known(dispatcher, event(9, platform="ios"), again)[0] == "made-1"
    assert asked == ["anon-1", "anon-2"]


def test_the_provider_is_not_asked_where_no_id_is_wanted() -> None:
    """Of the little destination, only mobile events have a made id."""
    dispatcher = keeper(lambda one: pytest.fail("asked"))
    assert known(dispatcher, event(0), Inputs())[0] is None


@pytest.mark.parametrize("none", [None, ""])
def test_a_provider_without_an_id_yet_is_asked_again(none: str | None) -> None:
    """None and "" are no id."""
    answers: Iterator[Any] = iter([none, "made-2"])
    dispatcher, inputs = keeper(lambda one: next(answers)), Inputs()
    assert [known(dispatcher, event(at, platform="android"), inputs)[0] for at in (0, 1)] == [None, "made-2"]


@pytest.mark.parametrize(
    ("provider", "code", "words"),
    [
        (lambda one: 1 / 0, "plugin_raised", "device_id_provider raised ZeroDivisionError"),
        (lambda one: 17, "plugin_bad_result", "device_id_provider gave back int"),
    ],
)
def test_a_failing_provider_fails_the_event_and_nothing_else(provider: Any, code: str, words: str) -> None:
    """The event fails where the id is wanted; another destination has it."""
    dispatcher = Dispatcher(
        [Keeper({}, id="device"), Keeper({"connection_mode": "cloud"}, id="cloud")], device_id_provider=provider
    )
    failed, planned = dispatcher.plan(event(0, platform="ios"), Inputs())
    assert (failed.outcome.value, failed.reason and failed.reason.code.value) == ("failed", code)
    assert words in str(failed.reason and failed.reason.message)
    assert planned.outcome.value == "planned"


class Phone:
    """A host that keeps one device id."""

    def __init__(self) -> None:
        self.generation = 1

    def __call__(self, one: Event) -> str:
        """Return the id."""
        return f"phone-{self.generation}"

    def regenerate(self, anonymous_id: str) -> None:
        """Make another one."""
        self.generation += 1


def test_reset_forgets_the_user_and_has_a_new_id_made() -> None:
    """The next event has a new device id, and begins a session."""
    dispatcher, inputs = keeper(Phone()), Inputs()
    phone = [event(at, platform="ios") for at in (0, 1, 2)]
    assert [known(dispatcher, one, inputs)[:2] for one in phone[:2]] == [["phone-1", True], ["phone-1", False]]
    dispatcher.reset("anon-1", inputs)
    assert known(dispatcher, phone[2], inputs)[:2] == ["phone-2", True]


def test_reset_at_one_destination_leaves_the_others_alone() -> None:
    """Its made id and its session stay."""
    dispatcher = Dispatcher([Keeper({}, id="one"), Keeper({}, id="two")], device_id_provider=Phone())
    inputs = Inputs()
    dispatcher.plan(event(0, platform="ios"), inputs)
    dispatcher.reset("anon-1", inputs, "two")
    one, two = dispatcher.plan(event(1, platform="ios"), inputs)
    ids = [json.loads(plan.items[0].data)["known"][0] for plan in (one, two)]
    assert ids == ["phone-1", "phone-2"]


def test_reset_and_flush_know_their_destinations() -> None:
    """An unknown one is named, with what was probably meant."""
    act: list[Callable[[Dispatcher], None]] = [
        lambda one: one.flush("keper"),
        lambda one: one.reset("a", Inputs(), "keper"),
    ]
    for one in act:
        with pytest.raises(TurnoutError, match=r"no destination 'keper'.*Did you mean 'keeper'"):
            one(keeper())


def test_inputs_keep_a_bounded_number_of_devices() -> None:
    """The device that was silent longest is forgotten first."""
    dispatcher, inputs = keeper(), Inputs(limit=2)
    order = ["anon-1", "anon-2", "anon-1", "anon-3", "anon-1", "anon-2"]
    told = [known(dispatcher, event(at, who=who), inputs)[1] for at, who in enumerate(order)]
    assert told == [True, True, False, True, False, True]
    assert len(inputs.to_dict()["destinations"]["keeper"]["sessions"]) == 2


@pytest.mark.parametrize("limit", [0, -1])
def test_inputs_have_to_keep_something(limit: int) -> None:
    """A limit below one is refused."""
    with pytest.raises(TurnoutError, match="at least one device"):
        Inputs(limit=limit)


@pytest.mark.parametrize("data", [{}, {"limit": "x", "destinations": {}}, {"limit": 1, "destinations": {"a": 1}}, []])
def test_what_is_no_stored_inputs_is_refused(data: Any) -> None:
    """With a sentence, not a traceback of the decoder."""
    with pytest.raises(TurnoutError, match="no stored Inputs"):
        Inputs.from_dict(data)


STEPS = st.lists(
    st.tuples(st.integers(0, 4 * HALF_AN_HOUR), st.sampled_from(["a", "b", "c"]), st.sampled_from(list(LIBRARIES))),
    max_size=12,
)


@given(STEPS, st.integers(0, 12))
def test_stored_inputs_go_on_as_if_nothing_had_happened(steps: list[tuple[int, str, str]], cut: int) -> None:
    """Stored and read back (as JSON, as a pickle) anywhere in a stream, the rest is mapped the same."""
    events = [event(at, who=who, platform=platform) for at, who, platform in steps]
    dispatcher = keeper(lambda one: f"made-{one.anonymous_id}")
    whole = Inputs()
    expected = [known(dispatcher, one, whole) for one in events]
    first = Inputs()
    told = [known(dispatcher, one, first) for one in events[:cut]]
    stored = Inputs.from_dict(json.loads(json.dumps(first.to_dict())))
    assert pickle.loads(pickle.dumps(first)) == first == stored
    assert told + [known(dispatcher, one, stored) for one in events[cut:]] == expected
    assert stored == whole


@given(STEPS, st.lists(st.integers(0, 12), max_size=3))
def test_changes_together_make_the_whole(steps: list[tuple[int, str, str]], cuts: list[int]) -> None:
    """What changed, taken down again and again, restores the same inputs; here with few devices kept."""
    dispatcher, inputs = keeper(lambda one: f"made-{one.anonymous_id}"), Inputs(limit=2)
    stored: dict[str, Any] = {}
    for number, (at, who, platform) in enumerate(steps):
        known(dispatcher, event(at, who=who, platform=platform), inputs)
        if number in cuts:
            stored |= inputs.changes("keeper")
    stored |= inputs.changes("keeper")
    again = Inputs(limit=2)
    again.restore("keeper", {key: value for key, value in json.loads(json.dumps(stored)).items() if value is not None})
    assert again.to_dict()["destinations"].get("keeper", {}) == inputs.to_dict()["destinations"].get("keeper", EMPTY)


EMPTY: dict[str, Any] = {"device_ids": {}, "sessions": {}}


def test_what_is_no_stored_entry_is_refused() -> None:
    """With a sentence."""
    with pytest.raises(TurnoutError, match="no stored Inputs"):
        Inputs().restore("keeper", {"session:a": "x"})

"""The source `amplitude_cohorts`: who enters and who leaves, what is refused, and the way to segments of Split."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from click.testing import CliRunner

from turnout import Dispatcher, Fetcher, FetchError, Refusal, SettingsError, events_of, pull_async
from turnout.cli import main
from turnout.testing import Answer, SourceContract
from turnout_amplitude.simulator import AmplitudeSimulator
from turnout_sources.amplitude_cohorts import AmplitudeCohorts
from turnout_split import Split
from turnout_split.simulator import SplitSimulator

KEYS = {"api_key": "k-1", "secret_key": "s-1"}
TRAIT = "[Amplitude] Frequent buyers (9x4k2)"
POSTED: dict[str, Any] = {
    "cohort_name": "Frequent buyers",
    "cohort_id": "9x4k2",
    "in_cohort": True,
    "computed_time": "1793509567",
    "message_id": "7d1c::enter::0",
    "users": [{"user_id": "user-11"}, {"user_id": "user-12"}],
}
FILE = "/api/5/cohorts/request/{}/file"


class TestContract(SourceContract):
    """Cohorts keep the contract of sources."""

    source = "amplitude_cohorts"
    payloads: ClassVar[Any] = [POSTED, [{**POSTED, "in_cohort": False, "message_id": "8e2d::leave::0"}]]


async def patient(seconds: float) -> None:
    """Wait for nothing."""


def amplitude(*members: Any) -> AmplitudeSimulator:
    """Return an Amplitude with one cohort."""
    simulator = AmplitudeSimulator(api_keys=["k-1"], secret_key="s-1")
    simulator.cohorts.put("9x4k2", "Frequent buyers", members)
    return simulator


def pulled(simulator: AmplitudeSimulator, *cohorts: str, state: Any = None, **settings: Any) -> Any:
    """Pull cohorts from a simulator; return the events, what was refused, and the state."""
    source = AmplitudeCohorts({**KEYS, **settings}, id="cohorts")
    taken: list[Any] = []
    refused: list[Refusal] = []

    async def run() -> Any:
        fetch = Fetcher(transport=httpx.ASGITransport(app=simulator), wait=patient)
        options = {"cohort": list(cohorts or ("9x4k2",))}
        return await pull_async(source, taken.extend, options, state=state, refused=refused.append, fetch=fetch)

    return taken, refused, asyncio.run(run()).state


def moves(events: list[Any]) -> list[tuple[str, bool]]:
    return [(one["userId"], next(iter(one["traits"].values()))) for one in events]


# What is pulled


def test_everybody_enters_at_first() -> None:
    """One identify call each, with the trait, the computation, and the number of members."""
    [first, second], refused, _ = pulled(amplitude("user-1", "user-2"))
    assert refused == []
    assert first["messageId"] != second["messageId"]
    assert {name: value for name, value in first.items() if name != "messageId"} == {
        "type": "identify",
        "userId": "user-1",
        "traits": {TRAIT: True},
        "context": {
            "personas": {
                "computation_class": "audience",
                "computation_key": TRAIT,
                "computation_id": "9x4k2",
                "computation_size": 2,
            },
            "integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"},
        },
        "projectId": "cohorts",
    }


def test_later_only_the_differences() -> None:
    """Who left and who entered; nothing when nothing changed; who comes back has another message id."""
    simulator = amplitude("user-1", "user-2")
    first, _, state = pulled(simulator)
    simulator.cohorts.put("9x4k2", "Frequent buyers", ["user-2", "user-3"])
    second, _, state = pulled(simulator, state=state)
    assert moves(second) == [("user-1", False), ("user-3", True)]
    assert pulled(simulator, state=state)[0] == []
    simulator.cohorts.put("9x4k2", "Frequent buyers", ["user-1", "user-2", "user-3"])
    third, _, _ = pulled(simulator, state=state)
    assert moves(third) == [("user-1", True)]
    assert third[0]["messageId"] != first[0]["messageId"]


def test_a_pull_that_is_repeated_gives_the_same_ids() -> None:
    """So that what was sent before a crash is known again."""
    simulator = amplitude("user-1", "user-2")
    assert pulled(simulator)[0] == pulled(simulator)[0]


def test_who_leaves_between_two_attempts_leaves() -> None:
    """When a pull broke off, nobody knows of whom it told: the next one tells of all of them again."""
    simulator = amplitude("user-1", "user-2", "user-3")
    _, _, state = pulled(simulator)
    simulator.cohorts.put("9x4k2", "Frequent buyers", ["user-1", "user-4", "user-5"])
    states = broken_off(simulator, state)
    simulator.cohorts.put("9x4k2", "Frequent buyers", ["user-1", "user-2", "user-5"])
    events, _, state = pulled(simulator, state=states[-1])
    assert moves(events) == [("user-3", False), ("user-4", False), ("user-2", True), ("user-5", True)]
    assert pulled(simulator, state=state)[0] == []


def broken_off(simulator: AmplitudeSimulator, state: Any) -> list[Any]:
    """Pull into a sink that fails at once, and return the states that were saved."""
    saved: list[Any] = []

    def sink(events: list[Any]) -> None:
        raise OSError("disk")

    async def run() -> None:
        fetch = Fetcher(transport=httpx.ASGITransport(app=simulator), wait=patient)
        source = AmplitudeCohorts(KEYS, id="cohorts")
        await pull_async(source, sink, {"cohort": ["9x4k2"]}, state=state, save=saved.append, fetch=fetch)

    with pytest.raises(OSError, match="disk"):
        asyncio.run(run())
    return saved


def test_a_new_name_changes_no_trait() -> None:
    """Else everybody would stay in the segment of the old name."""
    simulator = amplitude("user-1")
    _, _, state = pulled(simulator)
    simulator.cohorts.put("9x4k2", "Renamed", [])
    [event], _, _ = pulled(simulator, state=state)
    assert event["traits"] == {TRAIT: False}


def test_a_trait_can_have_a_name_of_its_own() -> None:
    """By the setting trait_names."""
    [event], _, _ = pulled(amplitude("user-1"), trait_names={"9x4k2": "buyer"})
    assert event["traits"] == {"buyer": True}
    assert event["context"]["personas"]["computation_key"] == "buyer"


def test_columns_are_looked_up_by_name() -> None:
    """Quoted values, commas and line ends are values; empty and double ids are left out."""
    simulator = amplitude(
        {"user_id": 'a,"b"\nc', "note": "x"}, {"user_id": "", "note": "y"}, {"user_id": "d", "note": "z"}, "d"
    )
    assert moves(pulled(simulator)[0]) == [('a,"b"\nc', True), ("d", True)]


def test_another_column_is_asked_for() -> None:
    """A user property as the user id, as Amplitude's own sync to Split offers it."""
    simulator = amplitude({"user_id": "user-1", "crm_id": "crm-31"})
    assert moves(pulled(simulator, id_column="crm_id")[0]) == [("crm-31", True)]
    assert {"props": "1", "propKeys": "crm_id"} in [call.query for call in simulator.ledger]


def test_the_keys_stay_at_amplitude() -> None:
    """The file is on another host, which refuses a request with two kinds of credentials."""
    simulator = amplitude("user-1")
    pulled(simulator)
    there = {call.headers["host"]: "authorization" in call.headers for call in simulator.ledger}
    assert there == {"amplitude.com": True, "s3.amplitude.com": False}


def test_a_large_state_is_compact() -> None:
    """Ids of a kind take a few bytes each."""
    _, _, state = pulled(amplitude(*(f"user-{number:06d}" for number in range(20_000))))
    assert len(json.dumps(state)) < 20_000 * 5


# What is refused


def test_a_cohort_that_is_too_large_sends_nothing() -> None:
    """And its state stays; the others go on."""
    simulator = amplitude("user-1")
    _, _, state = pulled(simulator)
    simulator.cohorts.put("9x4k2", "Frequent buyers", [f"user-{number}" for number in range(11)])
    simulator.cohorts.put("7f3", "Others", ["user-44"])
    events, [refusal], after = pulled(simulator, "9x4k2", "7f3", state=state, most_members=10)
    assert moves(events) == [("user-44", True)]
    assert "'9x4k2' has 11 members; most_members allows 10. Nothing" in refusal.reason.message
    assert after["cohorts"]["9x4k2"] == state["cohorts"]["9x4k2"]


def test_nobody_leaves_by_a_file_with_a_broken_row() -> None:
    """The row is told with its line; who is in the others enters."""
    simulator = amplitude("user-1", "user-2")
    _, _, state = pulled(simulator)
    simulator.script(FILE.format("req-2"), [Answer(200, b"user_id,amplitude_id\nuser-2,7\nuser-1\nuser-3,8\n")])
    events, [refusal], state = pulled(simulator, state=state)
    assert moves(events) == [("user-3", True)]
    assert "line 3 has 1 columns instead of 2" in refusal.reason.message
    simulator.cohorts.put("9x4k2", "Frequent buyers", ["user-3"])
    assert moves(pulled(simulator, state=state)[0]) == [("user-1", False), ("user-2", False)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no column 'user_id'. There are: none"),
        (b"id,name\n1,2\n", "There are: id, name"),
        (b"user_id\nuser-\xff\n", "line 2 is not UTF-8"),
        (b'user_id,x\n"user-1,7\nuser-2,8\n', "no CSV"),
        (b"user_id\n" + b"x" * 200_000, "no CSV"),
        (b"user_id\n" + b"x" * 2_000_000, "line 2 is too long"),
    ],
)
def test_a_file_that_is_none_ends_the_pull(body: bytes, said: str) -> None:
    """Before anybody leaves by it."""
    simulator = amplitude("user-1")
    simulator.script(FILE.format("req-1"), [Answer(200, body)])
    with pytest.raises(FetchError, match=said):
        pulled(simulator)


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        ("/api/3/cohorts", 403, "refused the keys"),
        ("/api/3/cohorts", Answer(200, "<html>"), "no JSON object"),
        ("/api/3/cohorts", Answer(200, {"cohorts": 7}), "no cohort '9x4k2'"),
        ("/api/5/cohorts/request/9x4k2", 404, "does not know this"),
        ("/api/5/cohorts/request/9x4k2", 429, "500 files a month"),
        ("/api/5/cohorts/request/9x4k2", Answer(202, {}), "began no request"),
        ("/api/5/cohorts/request-status/req-1", Answer(200, {"async_status": "JOB FAILED"}), "could not compute"),
        ("/api/5/cohorts/request-status/req-1", Answer(202, {}), "more than 1 minutes"),
        (FILE.format("req-1"), Answer(302, None, {"location": "http://s3.example/x?secret=1"}), "without encryption"),
        (FILE.format("req-1"), Answer(302, None, {"location": FILE.format("req-1")}), "one address to the next"),
        (FILE.format("req-1"), 404, "file of cohort"),
    ],
)
def test_what_amplitude_answers_instead(path: str, answer: Any, said: str) -> None:
    """Ends the pull with a sentence, without a secret."""
    simulator = amplitude("user-1")
    simulator.script(path, [answer] * 20)
    with pytest.raises(FetchError, match=said) as raised:
        pulled(simulator, poll_minutes=1)
    assert "s-1" not in str(raised.value)
    assert "secret=1" not in str(raised.value)


@pytest.mark.parametrize(
    ("cohorts", "settings", "said"),
    [
        ([], {"secret_key": ""}, "'secret_key' are required"),
        ([f"c-{number}" for number in range(61)], {}, "61 cohorts are too many"),
    ],
)
def test_a_wrong_wish_is_one_sentence(cohorts: list[str], settings: dict[str, str], said: str) -> None:
    """And nothing is asked for."""
    simulator = amplitude()
    with pytest.raises(SettingsError, match=said):
        pulled(simulator, *cohorts, **settings)
    assert simulator.ledger == []


@pytest.mark.parametrize("told", [None, 7, {}, {"trait": "t", "run": 1, "members": "%%"}, {"trait": "t", "run": "x"}])
def test_a_damaged_state_is_told(told: Any) -> None:
    """Not taken for an empty one, by which everybody would enter again."""
    with pytest.raises(SettingsError, match="state of the cohort '9x4k2' is damaged"):
        pulled(amplitude("user-1"), state={"cohorts": {"9x4k2": told}})


# The webhook


def test_the_webhook_becomes_calls() -> None:
    """The trait, the time of the computation, and ids that a second delivery has as well."""
    found: Any = list(events_of(AmplitudeCohorts({}), json.dumps(POSTED)))
    assert moves(found) == [("user-11", True), ("user-12", True)]
    assert (found[0]["timestamp"], found[0]["traits"]) == ("2026-11-01T05:06:07.000Z", {TRAIT: True})
    assert found == list(events_of(AmplitudeCohorts({}), POSTED))
    left: Any = list(events_of(AmplitudeCohorts({}), {**POSTED, "in_cohort": False}))
    assert moves(left)[0] == ("user-11", False)
    assert left[0]["messageId"] != found[0]["messageId"]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"cohort_id": None}, "/cohort_id"),
        ({"cohort_name": ["x"]}, "/cohort_name"),
        ({"in_cohort": "true"}, "/in_cohort"),
        ({"users": {}}, "/users"),
        ({"computed_time": "soon"}, "/computed_time"),
        ({"users": [7]}, "/users/0"),
        ({"users": [{"user_id": ""}]}, "/users/0/user_id"),
    ],
)
def test_what_a_webhook_may_not_say(fields: dict[str, Any], path: str) -> None:
    """It is told with its place."""
    [refusal] = events_of(AmplitudeCohorts({}), {**POSTED, **fields})
    assert isinstance(refusal, Refusal)
    assert refusal.reason.path == path


# To Split


def split(url: str, **settings: Any) -> Split:
    ids = {"workspace_id": "ws-1", "environment_id": "env-1", "traffic_type_id": "tt-1"}
    keys = {"send_events": False, "sync_segments": True, "admin_api_key": "admin-1"}
    return Split({**ids, **keys, "base_url": url, **settings})


def test_a_cohort_becomes_a_segment() -> None:
    """Made and active with the members as keys; later who left is gone, and who entered is there."""
    source, segments = amplitude("user-1", "user-2"), SplitSimulator()
    with segments.serve() as url, Dispatcher({"split": split(url)}) as dispatcher:
        first, _, state = pulled(source)
        assert {one.outcome for one in dispatcher.send(first)} == {"delivered"}
        assert segments.keys("env-1", "Amplitude_Frequent_buyers_9x4k2") == {"user-1", "user-2"}
        source.cohorts.put("9x4k2", "Frequent buyers", ["user-2", "user-3"])
        second, _, _ = pulled(source, state=state)
        assert {one.outcome for one in dispatcher.send(second)} == {"delivered"}
    assert segments.keys("env-1", "Amplitude_Frequent_buyers_9x4k2") == {"user-2", "user-3"}


def test_split_refuses_a_cohort_that_no_segment_holds() -> None:
    """By the number of members that each call tells, before anything is sent."""
    [event], _, _ = pulled(amplitude("user-1"))
    event["context"]["personas"]["computation_size"] = 100_001
    segments = SplitSimulator()
    with segments.serve() as url, Dispatcher({"split": split(url)}) as dispatcher:
        [settled] = dispatcher.send([event])
    assert settled.outcome != "delivered"
    assert segments.ledger == []


def test_from_amplitude_to_split_by_the_command_line(tmp_path: Path) -> None:
    """`turnout pull amplitude-cohorts --send`; the next pull has nothing to send."""
    source, segments = amplitude("user-1", "user-2"), SplitSimulator()
    with source.serve() as amplitude_url, segments.serve() as split_url:
        path = tmp_path / "turnout.toml"
        path.write_text(
            f'[sources.cohorts]\nplugin = "amplitude_cohorts"\napi_key = "k-1"\nsecret_key = "s-1"\n'
            f'base_url = "{amplitude_url}"\ncohorts = ["9x4k2"]\npoll_seconds = 1\n'
            f'[destinations.split]\nplugin = "split"\nbase_url = "{split_url}"\nsend_events = false\n'
            'sync_segments = true\nadmin_api_key = "admin-1"\nworkspace_id = "ws-1"\nenvironment_id = "env-1"\n'
            'traffic_type_id = "tt-1"\nsegment_names = { "[Amplitude] Frequent buyers (9x4k2)" = "buyers" }\n'
        )
        done = CliRunner().invoke(main, ["pull", "amplitude-cohorts", "--config", str(path), "--send"])
        again = CliRunner().invoke(main, ["pull", "amplitude-cohorts", "--config", str(path)])
        wrong = CliRunner().invoke(main, ["pull", "amplitude-cohorts", "--config", str(path), "--cohort", "none"])
    assert done.exit_code == 0, done.output
    assert segments.keys("env-1", "buyers") == {"user-1", "user-2"}
    assert (again.exit_code, again.stdout) == (0, "")
    assert (wrong.exit_code, "no cohort 'none'" in wrong.stderr) == (1, True)


def test_the_example_works(tmp_path: Path) -> None:
    """Both its commands, with the addresses of two simulators instead of those in the file."""
    source, segments = AmplitudeSimulator(), SplitSimulator()
    source.cohorts.put("9x4k2", "Frequent buyers", ["user-1"])
    event = {"uuid": "0c1d", "event_type": "Tried", "event_time": "2024-11-01 05:06:07.000001", "user_id": "user-2"}
    source.exports.add("2024-11-01T05", [event])
    text = (Path(__file__).parent.parent / "examples" / "amplitude-to-split.toml").read_text(encoding="utf-8")
    path = tmp_path / "turnout.toml"
    with source.serve() as amplitude_url, segments.serve() as split_url:
        moved = text.replace("http://127.0.0.1:8765", amplitude_url).replace("http://127.0.0.1:8767", split_url)
        path.write_text(moved, encoding="utf-8")
        commands = [line.removeprefix("#   turnout ") for line in text.splitlines() if "#   turnout pull" in line]
        for words in commands:
            told = words.replace("examples/amplitude-to-split.toml", str(path)).split()
            done = CliRunner().invoke(main, told)
            assert done.exit_code == 0, done.output
    assert [one["eventTypeId"] for one in segments.events] == ["amp.Tried"]
    assert segments.keys("e5f6a7b8-environment", "Amplitude_Frequent_buyers_9x4k2") == {"user-1"}

"""The source `flagsmith`: what its payloads become, how it is pulled, and what leaves for the three vendors."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from click.testing import CliRunner

from turnout import Dispatcher, Event, Fetcher, FetchError, Normaliser, Refusal, SettingsError, events_of, pull_async
from turnout.cli import main
from turnout_amplitude import Amplitude
from turnout_amplitude.simulator import AmplitudeSimulator
from turnout_rudderstack import RudderStack
from turnout_rudderstack.simulator import RudderStackSimulator
from turnout_segment import Segment
from turnout_segment.simulator import SegmentSimulator
from turnout_sources.flagsmith import Flagsmith
from turnout_sources.flagsmith_simulator import DEMO_KEY, Feature, FlagsmithSimulator, Integration

CASES = Path(__file__).parent / "cases"
USER = "development_user_123456"


def flag(name: Any, enabled: Any, value: Any) -> dict[str, Any]:
    """Return a flag in the shape of the Edge API."""
    feature = {"id": 11, "name": name, "type": "STANDARD"}
    return {"feature": feature, "enabled": enabled, "feature_state_value": value}


def traits_of(*flags: Any, traits: Any = None, **settings: Any) -> dict[str, Any]:
    payload = {"identifier": USER, "flags": list(flags), "traits": traits}
    [event] = events_of(Flagsmith(settings), payload)
    assert isinstance(event, dict)
    return dict(event["traits"])


# The value of a flag


@pytest.mark.parametrize(
    ("enabled", "value", "not_null", "truthy"),
    [
        (True, "foo", "foo", "foo"),
        (True, 1, 1, 1),
        (True, 0, 0, True),
        (True, "", "", True),
        (True, False, False, True),
        (True, True, True, True),
        (True, None, True, True),
        (False, "foo", False, False),
        (False, 0, False, False),
        (False, None, False, False),
    ],
)
def test_the_value_rule(enabled: bool, value: Any, not_null: Any, truthy: Any) -> None:
    """A flag's value when it is enabled and has one, else its state; `truthy` as Flagsmith does it for RudderStack."""
    for rule, wanted in (("not_null", not_null), ("truthy", truthy)):
        found = traits_of(flag("one", enabled, value), value_rule=rule)["one"]
        assert (type(found), found) == (type(wanted), wanted)


def test_an_empty_text_may_stand_for_no_value() -> None:
    """As it mostly does in Flagsmith's pages; 0 and false stay values."""
    found = traits_of(flag("a", True, ""), flag("b", True, 0), flag("c", False, ""), empty_is_no_value=True)
    assert found == {"a": True, "b": 0, "c": False}


@pytest.mark.parametrize("name", ["font size", "a.b.c", "$set", "größe", "UPPER", "__proto__"])
def test_a_flag_keeps_its_name(name: str) -> None:
    """No change of case, blanks stay; a prefix stands in front when one is set."""
    assert traits_of(flag(name, True, "v")) == {name: "v"}
    assert traits_of(flag(name, True, "v"), flag_prefix="flag: ") == {f"flag: {name}": "v"}


def test_traits_come_along_when_they_are_wanted() -> None:
    """Off by default, as with Flagsmith's own integrations; a flag wins over a trait of its name."""
    rows = [{"id": 5, "trait_key": "plan", "trait_value": "pro"}, {"trait_key": "both", "trait_value": 1.5}]
    assert traits_of(flag("both", False, "x"), traits=rows) == {"both": False}
    assert traits_of(flag("both", False, "x"), traits=rows, include_traits=True) == {"plan": "pro", "both": False}


# The shapes of a payload


def test_both_shapes_of_the_api_and_the_list_form_say_the_same() -> None:
    """Core, Edge, and flags as lists of name, state and value."""
    core = FlagsmithSimulator().check("GET", f"/api/v1/identities/?identifier={USER}", {"x-environment-key": DEMO_KEY})
    edge = FlagsmithSimulator(edge=True)
    reduced = edge.check("GET", f"/api/v1/identities/?identifier={USER}", {"x-environment-key": DEMO_KEY})
    rows = [["font_size", True, "12"], ["new_checkout", True, None], ["dark_mode", False, "midnight"]]
    rows += [["max_items", True, 0], ["banner", True, "Welcome back"]]
    source = Flagsmith({})
    [first] = events_of(source, core.encoded()[1])
    assert [first] == list(events_of(source, reduced.encoded()[1]))
    assert [first] == list(events_of(source, {"identifier": USER, "flags": rows}))
    assert first == {
        "type": "identify",
        "userId": USER,
        "traits": {
            "font_size": "12", "new_checkout": True, "dark_mode": False, "max_items": 0, "banner": "Welcome back",
        },
        "projectId": "flagsmith",
    }  # fmt: skip


def test_several_identities_may_stand_in_one_payload() -> None:
    """As a list; one that can't be read doesn't hold up the others."""
    good = [{"identifier": name, "flags": []} for name in ("u-1", "u-2")]
    first, refusal, second = events_of(Flagsmith({}), [good[0], {"flags": []}, good[1]])
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert (first["userId"], second["userId"]) == ("u-1", "u-2")
    assert isinstance(refusal, Refusal)
    assert (refusal.reason.code, refusal.reason.path) == ("no_user_anon_id", "/1/identifier")


@pytest.mark.parametrize(
    ("broken", "path"),
    [
        (None, "/flags/1"),
        ("text", "/flags/1"),
        ({}, "/flags/1/feature"),
        (flag(7, True, None), "/flags/1/feature/name"),
        (flag("", True, None), "/flags/1/feature/name"),
        (flag("x", "true", None), "/flags/1/enabled"),
        (flag("x", None, None), "/flags/1/enabled"),
        (flag("x", True, {"a": 1}), "/flags/1/feature_state_value"),
        (flag("x", True, [1]), "/flags/1/feature_state_value"),
        ({"feature": {"name": "x"}, "enabled": True}, "/flags/1/feature_state_value"),
        (["x", True], "/flags/1"),
        (["x", 1, None], "/flags/1/1"),
    ],
)
def test_one_broken_flag_is_told_with_its_place(broken: Any, path: str) -> None:
    """The other flags of the identity go on."""
    payload = {"identifier": USER, "flags": [flag("a", True, "1"), broken, flag("b", True, "2")]}
    refusal, event = events_of(Flagsmith({}), payload)
    assert isinstance(refusal, Refusal)
    assert refusal.reason.path == path
    assert isinstance(event, dict)
    assert event["traits"] == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("payload", "path", "said"),
    [
        ({"detail": "Missing identifier"}, "", "Missing identifier"),
        ({"identifier": USER}, "/flags", "list"),
        ({"identifier": USER, "flags": {}}, "/flags", "list"),
        ({"identifier": "", "flags": []}, "/identifier", "no `identifier`"),
        ({"identifier": True, "flags": []}, "/identifier", "text"),
        ("null", "", "object"),
        ('"text"', "", "object"),
        ("{", None, "ends too early"),
    ],
)
def test_a_payload_that_is_no_identity_is_told(payload: Any, path: str | None, said: str) -> None:
    """Also Flagsmith's own way of saying no, an object with `detail`."""
    [refusal] = events_of(Flagsmith({}), payload)
    assert isinstance(refusal, Refusal)
    assert refusal.reason.path == path
    assert said in refusal.reason.message


def test_broken_traits_are_told_when_they_are_wanted() -> None:
    """And the flags go on."""
    payload = {"identifier": USER, "flags": [], "traits": [{"trait_key": "a", "trait_value": {}}, 3]}
    first, second, event = events_of(Flagsmith({"include_traits": True}), payload)
    assert isinstance(first, Refusal)
    assert isinstance(second, Refusal)
    assert [first.reason.path, second.reason.path] == ["/traits/0/trait_value", "/traits/1"]
    assert isinstance(event, dict)
    assert event["traits"] == {}
    assert len(list(events_of(Flagsmith({}), payload))) == 1


def test_flags_that_are_too_long_for_one_event_come_in_several() -> None:
    """Each is within the limit of an event, and together they have every flag once."""
    flags = [flag(f"flag {number}", True, f"{number} " + "ü" * 9000) for number in range(5)]
    flags += [flag(f"small {number}", True, number) for number in range(1500)]
    events = list(events_of(Flagsmith({}), {"identifier": USER, "flags": flags}))
    assert len(events) > 2
    assert all(isinstance(Normaliser().event(one), Event) for one in events if isinstance(one, dict))
    names = [name for one in events if isinstance(one, dict) for name in one["traits"]]
    assert names == [one["feature"]["name"] for one in flags]


# The live API


async def patient(seconds: float) -> None:
    """Wait for nothing."""


def pulled(
    simulator: FlagsmithSimulator, *identifiers: str, state: Any = None, key: str = DEMO_KEY, **given: Any
) -> Any:
    """Pull identities from a simulator, and return the events, what was refused, and the state."""
    options = {name: given.pop(name) for name in ("transient", "unchanged") if name in given}
    source = Flagsmith({"environment_key": key, **given}, id="flags")
    taken: list[Any] = []
    refused: list[Refusal] = []

    async def main() -> Any:
        fetch = Fetcher(transport=httpx.ASGITransport(app=simulator), wait=patient, timeout=2.0)
        asked = {"identifier": list(identifiers), **options}
        return await pull_async(source, taken.extend, asked, state=state, refused=refused.append, fetch=fetch)

    return taken, refused, asyncio.run(main()).state


def test_an_identity_is_pulled() -> None:
    """The key goes into its header, the identifier becomes the user id as it is."""
    simulator = FlagsmithSimulator()
    [event], refused, _ = pulled(simulator, "a b/ü&1")
    assert (event["userId"], event["projectId"], refused) == ("a b/ü&1", "flags", [])
    assert event["traits"]["banner"] == "Welcome back"
    assert list(simulator.identities) == ["a b/ü&1"]


@pytest.mark.parametrize("base", ["", "/", "/api/v1", "/api/v1/"])
def test_the_address_may_be_written_in_each_way(base: str) -> None:
    """With a slash at its end or without, and with Flagsmith's own `/api/v1`."""
    simulator = FlagsmithSimulator()
    assert len(pulled(simulator, "u-1", base_url=f"https://flags.example{base}")[0]) == 1
    assert simulator.ledger[0].path == "/api/v1/identities/"


def test_unchanged_identities_are_not_sent_again() -> None:
    """Unless they are asked for; the state names no identity and no key."""
    simulator = FlagsmithSimulator()
    first, _, state = pulled(simulator, "u-1", "u-2", "u-1")
    assert [one["userId"] for one in first] == ["u-1", "u-2"]
    simulator.override("u-2", "dark_mode", True, "dim")
    second, _, state = pulled(simulator, "u-1", "u-2", state=state)
    assert [(one["userId"], one["traits"]["dark_mode"]) for one in second] == [("u-2", "dim")]
    assert pulled(simulator, "u-1", "u-2", state=state)[0] == []
    assert len(pulled(simulator, "u-1", "u-2", state=state, unchanged=True)[0]) == 2
    assert not {"u-1", "u-2", DEMO_KEY} & set(json.dumps(state).replace('"', " ").split())


def test_message_ids_tell_changes_apart() -> None:
    """A pull that is repeated from the same state gives the same id; flags that change back give another one."""
    simulator = FlagsmithSimulator([Feature("one", True, "a")])
    ids, states = [], [None]
    for value in ("a", "b", "a"):
        simulator.features["one"].value = value
        [event], _, state = pulled(simulator, "u-1", state=states[-1])
        [again], _, _ = pulled(simulator, "u-1", state=states[-1])
        assert event["messageId"] == again["messageId"]
        ids.append(event["messageId"])
        states.append(state)
    assert len(set(ids)) == 3
    assert all(len(one) <= 100 for one in ids)


def test_the_pieces_of_a_long_identity_are_told_apart() -> None:
    """Each has a message id; when one flag changes, all of them come again."""
    simulator = FlagsmithSimulator([Feature(f"flag {number}", True, f"{number}" * 19_000) for number in range(3)])
    events, _, state = pulled(simulator, "u-1")
    simulator.features["flag 1"].value = "short"
    changed, _, _ = pulled(simulator, "u-1", state=state)
    assert [list(one["traits"]) for one in changed] == [["flag 0", "flag 1"], ["flag 2"]]
    assert len({one["messageId"] for one in events + changed}) == 5


def test_a_transient_identity_is_not_kept_at_flagsmith() -> None:
    """Its flags come all the same."""
    simulator = FlagsmithSimulator()
    assert len(pulled(simulator, "u-1", transient=True)[0]) == 1
    assert simulator.identities == {}


@pytest.mark.parametrize(
    ("fault", "said", "status"),
    [
        ({"status": 401}, "refuses the environment key", 401),
        ({"status": 403, "body": {"detail": "Organisation is disabled from serving flags."}}, "disabled from", 403),
        ({"status": 404}, "no identities at this address", 404),
        ({"status": 301}, "no identities at this address", 301),
        ({"status": 400}, "did not hand out the identity", 400),
        ({"status": 503, "times": 9}, "status 503", 503),
        ({"status": 200, "body": {"detail": "Missing identifier"}}, "Missing identifier", 200),
        ({"status": 200, "body": {"detail": "Invalid or missing Environment Key"}}, "the environment key", 200),
        ({"status": 200, "body": "<html>hello"}, "something that is no identity", 200),
        ({"status": 200, "body": [1]}, "something that is no identity", 200),
        ({"hang": True, "times": 9}, "did not answer within 2 s", 0),
        ({"drop_connection": True, "times": 9}, "can't be reached", 0),
    ],
)
def test_what_flagsmith_does_not_hand_out_is_told(fault: dict[str, Any], said: str, status: int) -> None:
    """In one sentence, with its status and its words."""
    simulator = FlagsmithSimulator()
    simulator.fail(**fault)
    with pytest.raises(FetchError, match=said) as caught:
        pulled(simulator, "u-1")
    assert caught.value.status == status
    assert DEMO_KEY not in str(caught.value)


def test_a_wrong_key_is_told_and_a_missing_one_too() -> None:
    """The first by Flagsmith, the second before anything is asked."""
    with pytest.raises(FetchError, match="Invalid or missing Environment Key"):
        pulled(FlagsmithSimulator(), "u-1", key="another-key")
    with pytest.raises(SettingsError, match="'environment_key' is required"):
        pulled(FlagsmithSimulator(), "u-1", key="")


def test_a_broken_flag_of_a_pulled_identity_names_it() -> None:
    """With its place in the response; the pull goes on."""
    simulator = FlagsmithSimulator()
    body = {"identifier": "u-1", "flags": [flag("a", True, {}), flag("b", True, "2")]}
    simulator.fail(200, body=body)
    events, [refusal], _ = pulled(simulator, "u-1", "u-2")
    assert [one["userId"] for one in events] == ["u-1", "u-2"]
    assert events[0]["traits"] == {"b": "2"}
    assert refusal.reason.path == "/flags/0/feature_state_value"
    assert "Identity 'u-1'" in refusal.reason.message


# What leaves, beside what Flagsmith's own integrations send


def both(kind: str, destination: Any, **settings: Any) -> tuple[Any, Any, Any, Any]:
    """Return the headers and body that Flagsmith's integration sends, and those that leave here, for one identity."""
    sent: list[Any] = []
    bases = {"amplitude": "https://api2.amplitude.com/", "segment": "https://api.segment.io/"}
    integration = Integration(kind, bases.get(kind, "https://plane.example/"), "key-4321")
    features = [Feature("font size", True, "12"), Feature("off", False, "x"), Feature("zero", True, 0)]
    features += [Feature("empty", True, ""), Feature("null", True)]
    simulator = FlagsmithSimulator(features, integrations=[integration], post=sent.append)
    path = f"/api/v1/identities/?identifier={USER}"
    answer = simulator.check("GET", path, {"x-environment-key": DEMO_KEY})
    [event] = events_of(Flagsmith(settings), answer.encoded()[1])
    assert isinstance(event, dict)
    [plan] = Dispatcher({kind: destination}).plan(event)
    [request] = plan.to_dict(show_secrets=True)["requests"]
    [theirs] = sent
    assert (request["method"], request["url"]) == ("POST", theirs.url)
    packed = theirs.headers.get("content-encoding") == "gzip"
    return theirs.headers, gzip.decompress(theirs.body) if packed else theirs.body, request["headers"], request["body"]


def test_amplitude_gets_what_flagsmith_would_send() -> None:
    """The same key, user and properties in the same form; beside them `id`, a time, an insert id, and short ids."""
    theirs, body, headers, ours = both("amplitude", Amplitude({"api_key": "key-4321"}))
    fields = dict(parse_qsl(body.decode()))
    [identification] = json.loads(fields["identification"])
    mine = ours["identification"]
    assert (ours["api_key"], headers["content-type"]) == (fields["api_key"], theirs["content-type"])
    assert mine["user_id"] == identification["user_id"] == USER
    assert mine["user_properties"] == {**identification["user_properties"], "id": USER}
    assert mine.keys() - identification.keys() == {"library", "time", "insert_id"}
    assert ours.keys() - fields.keys() == {"options"}


def test_segment_gets_what_flagsmith_would_send() -> None:
    """The same call; without Flagsmith's library, and with a message id that a repetition shares."""
    theirs, body, headers, ours = both("segment", Segment({"write_key": "key-4321"}))
    [call], [mine] = json.loads(body)["batch"], ours["batch"]
    assert headers["authorization"] == theirs["authorization"]
    same = ("type", "userId", "traits")
    assert [mine[key] for key in same] == [call[key] for key in same]
    assert mine.keys() - call.keys() == {"originalTimestamp"}
    assert call.keys() - mine.keys() == {"integrations", "anonymousId", "context"}


def test_rudderstack_gets_what_flagsmith_would_send() -> None:
    """With the value rule of that integration; the traits stand at the root as well."""
    destination = RudderStack({"write_key": "key-4321", "data_plane_url": "https://plane.example"})
    theirs, body, headers, ours = both("rudderstack", destination, value_rule="truthy")
    [call], [mine] = json.loads(body)["batch"], ours["batch"]
    for name in ("authorization", "content-encoding", "content-type"):
        assert headers[name] == theirs[name]
    assert (mine["type"], mine["userId"]) == (call["type"], call["userId"])
    assert mine["traits"] == mine["context"]["traits"] == call["context"]["traits"]
    assert mine["traits"] == {"font size": "12", "off": False, "zero": True, "empty": True, "null": True}


@pytest.mark.parametrize(
    ("vendor", "rule"), [("amplitude", "not_null"), ("segment", "not_null"), ("rudderstack", "truthy")]
)
def test_the_cases_of_the_destinations_are_what_the_source_reads(vendor: str, rule: str) -> None:
    """Each destination has a case with an identity of Flagsmith: its event is one that the source makes."""
    flags = [["font size", True, "12"], ["banner", True, "Welcome back"], ["off", False, "hidden"]]
    flags += [["zero", True, 0], ["empty", True, ""], ["bare", True, None]]
    [event] = events_of(Flagsmith({"value_rule": rule}, id="flags"), {"identifier": USER, "flags": flags})
    assert isinstance(event, dict)
    case = json.loads((CASES / vendor / "flagsmith_identity.json").read_text(encoding="utf-8"))["event"]
    assert {key: case[key] for key in event} == event
    assert case.keys() - event.keys() == {"messageId", "timestamp"}


def test_a_name_that_looks_like_an_operation_is_a_property_at_amplitude() -> None:
    """A flag `$add` changes no other property."""
    [event] = events_of(Flagsmith({}), {"identifier": USER, "flags": [flag("$add", True, "v")]})
    assert isinstance(event, dict)
    [plan] = Dispatcher({"amplitude": Amplitude({"api_key": "key-4321"})}).plan(event)
    properties = plan.to_dict()["requests"][0]["body"]["identification"]["user_properties"]
    assert properties == {"$set": {"$add": "v", "id": USER}}


# The command line


@pytest.fixture
def live(tmp_path: Path) -> Any:
    """A folder with a configuration for a Flagsmith that is served."""
    simulator = FlagsmithSimulator()
    with simulator.serve() as url:
        text = (
            '[log]\npath = "turnout.log"\n[sources.flags]\nplugin = "flagsmith"\ndestinations = ["one"]\n'
            f'environment_key = "{DEMO_KEY}"\nbase_url = "{url}"\n'
            f'[destinations.one]\nplugin = "amplitude"\napi_key = "key-one"\nbase_url = "{url}"\n'
            f'[destinations.two]\nplugin = "amplitude"\napi_key = "key-two"\nbase_url = "{url}"\n'
        )
        path = tmp_path / "turnout.toml"
        path.write_text(text.replace("turnout.log", str(tmp_path / "turnout.log")))
        yield simulator, path


def run(*words: str, text: str = "") -> Any:
    return CliRunner().invoke(main, words, input=text)


def test_pull_writes_lines_and_keeps_a_state(live: Any) -> None:
    """Beside the configuration, under the source's id; the next pull has nothing new."""
    _, path = live
    done = run("pull", "flagsmith", "--config", str(path), "--identifier", "u-1", "--identifier", "u-2")
    assert done.exit_code == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["userId"], one["projectId"]) for one in events] == [("u-1", "flags"), ("u-2", "flags")]
    assert path.with_name("flags.state.json").exists()
    again = run("pull", "flagsmith", "--config", str(path), "--identifier", "u-1")
    assert (again.exit_code, again.stdout) == (0, "")


def on_a_terminal(*words: str) -> str:
    """Return what a command writes to its standard error when that is a terminal."""
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "turnout", *words]
    environ = {**os.environ, "TERM": "dumb"}
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, check=False, env=environ)
    os.close(theirs)
    said = b""
    with suppress(OSError):  # which is how the end of a terminal is told
        while piece := os.read(ours, 65_536):
            said += piece
    os.close(ours)
    return said.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no terminals of this kind")
def test_a_terminal_is_told_how_much_there_was(live: Any) -> None:
    """Also that there is nothing new, which no output would not say; a pull that fails says nothing of the kind."""
    _, path = live
    words = ["pull", "flagsmith", "--config", str(path), "--identifier", "u-1"]
    assert "pulled: 1 event\r\n" in on_a_terminal(*words)
    assert "pulled: no new events" in on_a_terminal(*words)
    wrong = path.with_name("wrong.json")
    wrong.write_text('{"environment_key": "no"}')
    failed = on_a_terminal(*words, "--settings", str(wrong))
    assert "refuses the environment key" in failed
    assert "pulled:" not in failed


def test_pull_accepts_into_the_log(live: Any) -> None:
    """With --accept nothing is written; what is in the log goes to the destinations of the source."""
    from turnout.sqlite_log import SqliteLog

    _, path = live
    done = run("pull", "flagsmith", "--config", str(path), "--identifier", "u-1", "--accept")
    assert (done.exit_code, done.stdout) == (0, "")
    log = SqliteLog(path.with_name("turnout.log"))
    assert [json.loads(one.data)["userId"] for one in log.read(0)] == ["u-1"]
    log.close()


def test_pull_keeps_its_state_when_delivery_fails(live: Any) -> None:
    """The vendor here has no such path, so every event is refused for good; one that is down holds the state."""
    simulator, path = live
    simulator.fail(503, path="/identify", times=None)
    environ = {"TURNOUT_SEND_ATTEMPTS": "1"}
    words = ["pull", "flagsmith", "--config", str(path), "--identifier", "u-1", "--send"]
    done = CliRunner().invoke(main, words, env=environ)
    assert done.exit_code == 1
    assert "could not be delivered, as to 'one'" in done.stderr
    assert not path.with_name("flags.state.json").exists()
    assert "two" not in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--identifier", "u-1", "--id", "flgs"], 2, "no source 'flgs'. Did you mean 'flags'"),
        (["--identifier", "u-1", "--send", "--accept"], 2, "one of --accept, --gateway and --send"),
        ([], 2, "--identifier is required"),
        (["--identifer", "u-1"], 2, "Did you mean '--identifier'"),
        (["--identifier", "u-1", "--state", "/nonexistent/state.json"], 2, "can't be written"),
    ],
)
def test_mistakes_are_one_sentence(live: Any, words: list[str], code: int, said: str) -> None:
    """On stderr, and nothing is fetched."""
    simulator, path = live
    done = run("pull", "flagsmith", "--config", str(path), *words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert simulator.ledger == []


def test_a_vendor_that_says_no_ends_a_pull_with_1(live: Any) -> None:
    """With what was wrong, and where the next pull goes on."""
    simulator, path = live
    simulator.fail(403, body={"detail": "Organisation is disabled from serving flags."})
    done = run("pull", "flagsmith", "--config", str(path), "--identifier", "u-1")
    assert done.exit_code == 1
    assert "Organisation is disabled" in done.stderr


def test_read_writes_the_events_of_a_saved_payload(tmp_path: Path) -> None:
    """Also packed; what can't be read is told on stderr with its place, and the exit code is 1."""
    payload = {"identifier": "u-1", "flags": [flag("a", True, {}), flag("b", True, "2")]}
    file = tmp_path / "saved.json.gz"
    file.write_bytes(gzip.compress(json.dumps(payload).encode()))
    done = run("read", "flagsmith", str(file))
    assert done.exit_code == 1
    assert json.loads(done.stdout)["traits"] == {"b": "2"}
    assert done.stderr.startswith("turnout: /flags/0/feature_state_value: The value of a flag")


def test_read_takes_a_source_of_the_configuration(live: Any) -> None:
    """With its settings and its id, from standard input."""
    _, path = live
    done = run("read", "flags", "--config", str(path), text='{"identifier": 7, "flags": []}')
    assert json.loads(done.stdout) == {"type": "identify", "userId": "7", "traits": {}, "projectId": "flags"}
    assert run("read", "flag", "--config", str(path)).exit_code == 2


def test_ctrl_c_leaves_a_state_to_go_on_from(live: Any) -> None:
    """What was safe before the signal is noted; the next pull asks for the rest only."""
    simulator, path = live
    users = [f"u-{number}" for number in range(60)]
    waiting = [None] * 55 + [{"hang": True}]
    simulator.script("/api/v1/identities/", waiting)
    asked = [word for user in users for word in ("--identifier", user)]
    command = [sys.executable, "-m", "turnout", "pull", "flagsmith", "--config", str(path), *asked]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while len(simulator.ledger) < 56:
            assert time.monotonic() < until, "it never got so far"
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.startswith("Interrupted. The next pull goes on")
    assert len(out.splitlines()) == 50
    done = run("pull", "flagsmith", "--config", str(path), *asked)
    assert [json.loads(line)["userId"] for line in done.stdout.splitlines()] == users[50:]


def test_the_example_works_against_the_simulators(tmp_path: Path) -> None:
    """Two sources with a rule each; every destination gets the flags, RudderStack as Flagsmith would send them."""
    text = (Path(__file__).parent.parent / "examples" / "flagsmith.toml").read_text(encoding="utf-8")
    vendors = {8766: AmplitudeSimulator(), 8767: SegmentSimulator(), 8768: RudderStackSimulator()}
    with ExitStack() as stack:
        for port, vendor in {8765: FlagsmithSimulator(), **vendors}.items():
            text = text.replace(f"http://127.0.0.1:{port}", stack.enter_context(vendor.serve()))
        path = tmp_path / "flagsmith.toml"
        path.write_text(text)
        for name in ("flags", "flags_for_rudderstack"):
            words = ("--config", str(path), "--id", name, "--identifier", USER, "--send")
            done = run("pull", "flagsmith", *words)
            assert done.exit_code == 0, done.output
    assert vendors[8766].state()["users"][0]["user_properties"]["max_items"] == 0
    assert vendors[8767].state()["events"][0]["traits"]["max_items"] == 0
    assert vendors[8768].state()["events"][0]["traits"]["max_items"] is True


def test_one_of_several_sources_has_to_be_named(tmp_path: Path) -> None:
    """The sentence names them."""
    path = tmp_path / "turnout.toml"
    path.write_text('[sources.a]\nplugin = "flagsmith"\n[sources.b]\nplugin = "flagsmith"\n')
    done = run("pull", "flagsmith", "--config", str(path), "--identifier", "u-1")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Name one with --id: a, b." in done.stderr


# The simulator


def test_the_simulator_answers_as_documented() -> None:
    """200 for a missing identifier, 403 for a wrong key, 404 for an unknown feature, one flag for a known one."""
    simulator = FlagsmithSimulator([Feature("one", True, "a"), Feature("hidden", True, "b", server_only=True)])
    head = {"X-Environment-Key": DEMO_KEY}
    path = "/api/v1/identities/"
    assert simulator.check("GET", path, head).body == {"detail": "Missing identifier"}
    assert simulator.check("GET", f"{path}?identifier=u", {"x-environment-key": "no"}).status == 403
    assert simulator.check("GET", f"{path}?identifier=u&feature=none", head).status == 404
    assert simulator.check("GET", f"{path}?identifier=u&feature=one", head).body["feature_state_value"] == "a"
    assert [one["feature"]["name"] for one in simulator.check("GET", f"{path}?identifier=u", head).body["flags"]] == [
        "one"
    ]


def test_the_simulator_keeps_traits_and_overrides() -> None:
    """An identity's own state wins over a segment's; a trait of null is deleted; nobody gets a hash as its name."""
    simulator = FlagsmithSimulator([Feature("one", False)], hide_disabled=True)
    simulator.segment("plan", "pro", "one", True, "for pros")
    head = {"x-environment-key": DEMO_KEY}

    def post(**body: Any) -> Any:
        return simulator.check("POST", "/api/v1/identities/", head, json.dumps(body).encode()).body

    plan = [{"trait_key": "plan", "trait_value": "pro"}]
    assert post(identifier="u-1", traits=plan)["flags"][0]["feature_state_value"] == "for pros"
    simulator.override("u-1", "one", True, "for one")
    assert post(identifier="u-1")["flags"][0]["feature_state_value"] == "for one"
    assert post(identifier="u-1", traits=[{"trait_key": "plan", "trait_value": None}])["traits"] == []
    assert post(identifier="u-2")["flags"] == []
    assert len(post(traits=plan)["identifier"]) == 64
    assert list(simulator.identities) == ["u-1", "u-2"]

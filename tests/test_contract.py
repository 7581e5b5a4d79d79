"""The contract suite: a sound destination passes it, and each of its checks notices what it guards against."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from _pytest.outcomes import Failed, Skipped

from turnout._casefiles import snapshot_of
from turnout.cases import Case, dump
from turnout.errors import ConfigError
from turnout.testing import DestinationContract

CHECKS = [name.removeprefix("test_") for name in vars(DestinationContract) if name.startswith("test_")]


class Fault(NamedTuple):
    """A broken destination, the check that has to notice, words of its message, and which others may fail as well."""

    place: str
    check: str
    words: tuple[str, ...]
    others: tuple[str, ...] = ()


COMPARING = (
    *("gives_the_same_answer_twice", "gives_the_same_answer_elsewhere", "ignores_the_order_of_keys"),
    *("takes_null_as_absent", "survives_pickling", "cases_match_their_snapshots"),
)
"""Checks that compare two answers to one event."""
HOSTILE = ("survives_hostile_events",)
NOT_CONFIGURED = ("can_be_configured",)

FAULTS = [
    Fault("stated:Unsaid", "is_found_by_its_entry_point", ("the class Unsaid has no docstring",)),
    Fault("stated:Newer", "is_found_by_its_entry_point", ("plugin API 2", "pip install --upgrade turnout")),
    Fault("turnout_untyped:Untyped", "ships_its_types", ("package turnout_untyped", "py.typed is missing")),
    Fault("stated:Undocumented", "rules_are_documented", ("the rule 'seen' has no docstring", "docstring what")),
    Fault("stated:Doubled", "rules_are_documented", ("two rules have the id 'seen'",), ("every_rule_has_a_case",)),
    Fault("stated:Wordless", "settings_are_documented", ("setting 'verbose'",)),
    Fault("stated:Contrary", "settings_are_documented", ("default 0 is refused: it must be a whole number",)),
    Fault("stated:Open", "secrets_are_marked", ("'access_token' sounds secret", "secret=False")),
    Fault("stated:Account", "secrets_are_marked", ("'account' authenticates the endpoint 'events'",)),
    Fault("stated:Gullible", "wrong_settings_are_refused", ("'extras' takes anything",)),
    Fault("stated:Crashing", "wrong_settings_are_refused", ("setting 'extras'", "AttributeError")),
    Fault("stated:HalfConfigured", "can_be_configured", ("KeyError: 'EU'", "region = 'EU'")),
    Fault("stated:Misnamed", "conditions_name_settings", ("rule 'seen'", "'named_screens'"), NOT_CONFIGURED),
    Fault("stated:Mistyped", "conditions_name_settings", ("rule 'seen'", "named_page"), NOT_CONFIGURED),
    Fault("stated:Unmovable", "base_url_moves_every_endpoint", ("endpoint 'events'", "https://api.sound.example")),
    Fault("stated:Forgetful", "survives_pickling", ("/requests/0/body/events/0/name", "__init__")),
    Fault("stated:Idle", "every_rule_can_run", ("rule 'never'", "not named_pages"), ("every_rule_has_a_case",)),
    Fault("stated:Deserted", "every_endpoint_is_used", ("endpoint 'groups'",)),
    Fault("stated:Caseless", "every_rule_has_a_case", ("the rule seen", "cases/caseless/")),
    Fault("stated:Stale", "cases_match_their_snapshots", ("tracked", "/0/requests/0/body/events/0/name")),
    Fault("mapped:Grasping", "leaves_the_event_alone", ("/properties/price", "rule 'tracked'")),
    Fault("mapped:Remembering", "gives_the_same_answer_twice", ("/body/events/0/before", "rule 'tracked'"), COMPARING),
    Fault("mapped:Homely", "reads_nothing_but_the_event", ("os.environ", "broken.mapped, line", "in tracked")),
    Fault(
        "mapped:Today",
        "reads_nothing_but_the_event",
        ("date.today", "in tracked"),
        ("gives_the_same_answer_elsewhere",),
    ),
    Fault("mapped:Hurried", "reads_nothing_but_the_event", ("time.time", "in _era")),
    Fault("mapped:Gambling", "reads_nothing_but_the_event", ("random.random", "in tracked")),
    Fault("mapped:Reading", "reads_nothing_but_the_event", ("open", "in tracked")),
    Fault("mapped:Hashing", "gives_the_same_answer_elsewhere", ("/body/events/0/bucket", "hash()")),
    Fault("mapped:Local", "gives_the_same_answer_elsewhere", ("/body/events/0/local",)),
    Fault("mapped:Ordered", "ignores_the_order_of_keys", ("/body/events/0/first",)),
    Fault("mapped:Hollow", "takes_null_as_absent", ("endpoint 'events'", "/os")),
    Fault("mapped:Literal", "takes_null_as_absent", ("null at /anonymousId", "/body/events/0/known")),
    Fault(
        "mapped:Loose",
        "makes_clean_json",
        ("set is not a JSON value",),
        ("survives_hostile_events", "every_rule_has_a_case"),
    ),
    Fault("mapped:Textual", "makes_clean_json", ("rule 'tracked'", "an item is not clean JSON")),
    Fault("mapped:NotANumber", "makes_clean_json", ("'NaN' at /properties/price", "isfinite")),
    Fault("mapped:Twofold", "makes_clean_json", ("the key 'user' stands there twice", "rule 'tracked'")),
    Fault("mapped:HandMade", "items_fit_their_endpoints", ("the endpoint takes 20,000", "rule 'tracked'")),
    Fault("mapped:Elsewhere", "items_fit_their_endpoints", ("'hidden'", "rule 'named_page'")),
    Fault("mapped:Keyless", "keys_are_stable_and_distinct", ("no idempotency key", "keyed=False")),
    Fault("mapped:SameKeys", "keys_are_stable_and_distinct", ("two items of one event have the key",)),
    Fault("mapped:LateKeys", "keys_are_stable_and_distinct", ("sends an event once more",)),
    Fault("mapped:FewKeys", "keys_are_stable_and_distinct", ("another messageId gets the same key",)),
    Fault("mapped:SecretKeys", "keys_are_stable_and_distinct", ("the vendor never sees the key",)),
    Fault("mapped:ModestKeys", "keys_are_stable_and_distinct", ("endpoint 'people'", "says that it has none")),
    Fault("mapped:Trusting", "survives_hostile_events", ("rule 'tracked'", "/properties/price", "isinstance")),
    Fault("mapped:Silent", "says_why_nothing_is_sent", ("no sentence says why",)),
    Fault("mapped:Pointless", "says_why_nothing_is_sent", ('"event.groupId" is no JSON Pointer',)),
    Fault("mapped:Confused", "says_why_nothing_is_sent", ("'vendor_refused' is one of delivery",)),
    Fault("mapped:Renamed", "honours_the_gates", ('{"integrations": {"Sound": false}}', "attribute 'name'")),
    Fault("mapped:Demanding", "honours_the_gates", ('integrations {"Sound": true}', "/integrations/Sound"), HOSTILE),
    Fault("mapped:Encoded", "shows_no_secret", ("the secret 'api_key'", "rule 'tracked', endpoint 'events'")),
    Fault("mapped:Chatty", "shows_no_secret", ("writes the secret 'api_key' to a log",)),
    Fault("mapped:Proud", "shows_no_secret", ("the destination's repr shows the secret 'api_key'",)),
    Fault("mapped:Blabbing", "shows_no_secret", ("an error about wrong settings", "secret 'api_key'")),
    Fault("mapped:Showing", "shows_no_secret", ("endpoint 'events'", "secret 'api_key'")),
    Fault("answered:Unwary", "answers_become_outcomes", ("AttributeError", "HTTP 400 with", "endpoints: events")),
    Fault("answered:Sparing", "answers_become_outcomes", ("gave 1 verdicts for 2 items",), ("success_is_delivered",)),
    Fault("answered:Easy", "answers_become_outcomes", ("counts as delivered", "HTTP 400")),
    Fault("answered:Picky", "success_is_delivered", ("not very good", "accepted = {…}")),
    Fault("answered:Rash", "trouble_is_tried_again", ("HTTP 500", "refused")),
    Fault("answered:Pushing", "trouble_is_tried_again", ("HTTP 429", "7 seconds")),
]

UNTYPED = '''
from broken.sound import Sound

class Untyped(Sound):
    """A package with annotations, and without py.typed."""
'''
SETTINGS = {"api_key": "key-of-the-case", "named_pages": True}
EVENTS: dict[str, dict[str, Any]] = {
    "tracked": {"type": "track", "event": "Report Exported", "properties": {"format": "pdf"}},
    "named_page": {"type": "page", "name": "Pricing"},
    "identified": {"type": "identify", "traits": {"email": "jane@mail.example"}},
    "grouped": {"type": "group", "groupId": "group-of-the-case"},
    "seen": {"type": "screen", "name": "Settings"},
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the broken destinations are installed, each under the name of its class in small letters."""
    folder = tmp_path_factory.mktemp("site")
    about = folder / "turnout_broken-4.5.6.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: turnout-broken\nVersion: 4.5.6\n", encoding="utf-8")
    right = ["sound:Sound", *(f"unusual:{name.capitalize()}" for name in UNUSUAL)]
    places = [*right, *(fault.place for fault in FAULTS)]
    lines = [f"{name_of(place)} = {place if place.startswith('turnout_') else f'broken.{place}'}" for place in places]
    (folder / "turnout_untyped").mkdir()
    (folder / "turnout_untyped" / "__init__.py").write_text(UNTYPED, encoding="utf-8")
    (about / "entry_points.txt").write_text("\n".join(["[turnout.destinations]", *lines, ""]), encoding="utf-8")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def name_of(place: str) -> str:
    return place.partition(":")[2].lower()


def contract(folder: Path, name: str, **attributes: Any) -> type[DestinationContract]:
    """Return the contract tests of a destination as its author would write them, with cases of their own."""
    if name not in UNUSUAL:
        write_cases(folder, name)
    return type("TestIt", (DestinationContract,), {"destination": name, "cases": folder / "cases", **attributes})


def write_cases(folder: Path, name: str) -> None:
    for stem, event in EVENTS.items():
        if (name, stem) == ("caseless", "seen"):
            continue
        path = folder / "cases" / name / f"{stem}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {"messageId": f"message-{stem}", "userId": f"user-{stem}", "timestamp": "2026-01-02T03:04:05Z", **event}
        path.write_text(json.dumps({"settings": SETTINGS, "event": whole}), encoding="utf-8")
        snapshot = snapshot_of(path)
        snapshot.parent.mkdir(exist_ok=True)
        try:
            text = dump(Case.load(path).pinned())
        except (ConfigError, TypeError):
            continue  # one that can't be configured has no plans, and items of text can't be packed
        if name == "stale":
            text = text.replace("Report Exported", "Report Sent")
        snapshot.write_text(text, encoding="utf-8")


def result(kind: type[DestinationContract], check: str) -> tuple[str, str]:
    """Return what a check says: `passed`, `failed` or `skipped`, and its message."""
    try:
        getattr(kind(), f"test_{check}")()
    except (Failed, Skipped) as told:
        return type(told).__name__.lower(), str(told)
    return "passed", ""


def test_a_sound_destination_passes(installed: Path) -> None:
    """Every check passes, and none is skipped."""
    kind = contract(installed, "sound", examples=60)
    assert {check: told for check in CHECKS if (told := result(kind, check)) != ("passed", "")} == {}


def test_simulators_need_nothing_of_the_suite() -> None:
    """`turnout.testing` imports neither the suite nor pytest and hypothesis; nor does the suite before it runs."""
    code = (
        "import sys, turnout.testing; assert 'turnout.testing.contract' not in sys.modules; "
        "turnout.testing.DestinationContract; assert not {'pytest', 'hypothesis'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# What has no fault


UNUSUAL: dict[str, tuple[dict[str, Any], set[str]]] = {
    "bare": (
        {},
        {
            *("ships_its_types", "settings_are_documented", "secrets_are_marked", "conditions_name_settings"),
            *("leaves_the_event_alone", "keys_are_stable_and_distinct", "shows_no_secret"),
        },
    ),
    "forwarding": ({}, {"conditions_name_settings", "says_why_nothing_is_sent"}),
    "peculiar": ({"accepted": {"state": "stored"}}, {"leaves_the_event_alone"}),
}
"""Unusual destinations: what their authors say in the test class, and which checks have nothing to look at."""


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_and_right_passes(installed: Path, name: str) -> None:
    """Nothing fails but what asks for cases; a check that has nothing to look at is skipped, with a sentence."""
    attributes, skipped = UNUSUAL[name]
    kind = contract(installed, name, examples=60, **attributes)
    results = {check: result(kind, check) for check in CHECKS}
    assert results.pop("every_rule_has_a_case")[0] == "failed"
    assert results.pop("cases_match_their_snapshots")[0] == "skipped"
    assert {check: told for check, (found, told) in results.items() if found == "failed"} == {}
    assert {check for check, (found, _) in results.items() if found == "skipped"} == skipped
    assert all(len(results[check][1].split()) > 3 for check in skipped)


def test_what_cannot_be_loaded_fails_once(installed: Path) -> None:
    """One check says that there is no such destination; all others have nothing to look at, and say so."""
    kind = contract(installed, "soundd")
    results = {check: result(kind, check) for check in CHECKS}
    outcome, message = results.pop("is_found_by_its_entry_point")
    assert (outcome, "Did you mean 'sound'?" in message, "pyproject.toml" in message) == ("failed", True, True)
    assert {found for found, _ in results.values()} == {"skipped"}
    assert all("There is no destination plugin 'soundd'" in told for _, told in results.values())


def test_a_class_that_names_no_destination_says_what_to_write(installed: Path) -> None:
    """The entry-point name is what an author forgets first."""
    outcome, message = result(type("TestIt", (DestinationContract,), {}), "is_found_by_its_entry_point")
    assert (outcome, 'destination = "acme"' in message) == ("failed", True)


# What an author says in the class


def test_settings_are_taken_as_a_user_writes_them(installed: Path) -> None:
    """With Segment's keys too; wrong ones fail one check, which names the setting, and no secret is repeated."""
    kind = contract(installed, "sound", settings={"apiKey": "key-of-the-author", "region": "EU"})
    assert result(kind, "can_be_configured") == ("passed", "")
    assert kind.subject().configured(kind.subject().settings).config.region == "EU"
    kind = contract(installed, "sound", settings={"apiKey": "key-of-the-author", "regoin": "EU"})
    outcome, message = result(kind, "can_be_configured")
    assert (outcome, "Did you mean 'region'?" in message, "settings = {…}" in message) == ("failed", True, True)
    assert "key-of-the-author" not in message
    assert result(kind, "keys_are_stable_and_distinct")[0] == "skipped"


def test_settings_are_made_from_the_schema(installed: Path) -> None:
    """Required ones by pattern, length and choices; the others keep their defaults."""
    made = contract(installed, "peculiar").subject().settings
    assert re.fullmatch(r"[A-F]{2}-\d{4}", made["project_id"])
    assert len(made["secret_code"]) == 12
    assert set(made) == {"project_id", "secret_code"}


def test_a_secret_of_the_author_is_in_no_message(installed: Path) -> None:
    """Not even where the finding is in the header that holds it."""
    kind = contract(installed, "remembering", settings={"api_key": "key-of-the-author"})
    outcome, message = result(kind, "gives_the_same_answer_twice")
    assert (outcome, "key-of-the-author" in message) == ("failed", False)


def test_cases_are_found_beside_the_test_file_and_above(tmp_path: Path) -> None:
    """`cases = "tests/cases"` is a folder of the project, wherever pytest is started."""
    folder = tmp_path / "project" / "tests" / "unit"
    (tmp_path / "project" / "tests" / "cases").mkdir(parents=True)
    folder.mkdir()
    source = "from turnout.testing import DestinationContract\nclass TestIt(DestinationContract):\n    cases = {!r}\n"
    for number, given in enumerate(["tests/cases", "cases", None, "absent"]):
        path = folder / f"test_cases_{number}.py"
        path.write_text(source.format(given), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        found = module.TestIt.subject().folder
        assert found == (None if given == "absent" else tmp_path / "project" / "tests" / "cases")


# What is broken


FIRST = list({fault.check: fault for fault in reversed(FAULTS)}.values())[::-1]
FURTHER = [fault for fault in FAULTS if fault not in FIRST]


def test_every_check_has_a_fault() -> None:
    """For each check of the suite there is a destination that it has to notice."""
    assert {fault.check for fault in FIRST} == set(CHECKS)


@pytest.mark.parametrize("fault", FIRST, ids=lambda fault: fault.place)
def test_the_check_that_guards_against_it_fails(installed: Path, fault: Fault) -> None:
    """It says what, where and how to mend it; no other check fails but those that can't help it."""
    kind = contract(installed, name_of(fault.place), examples=20)
    results = {check: result(kind, check) for check in CHECKS}
    assert_noticed(fault, *results[fault.check])
    others = {check: told for check, (found, told) in results.items() if found == "failed" and check != fault.check}
    assert set(others) <= set(fault.others), others


@pytest.mark.parametrize("fault", FURTHER, ids=lambda fault: fault.place)
def test_a_check_fails_for_each_way_to_break_its_rule(installed: Path, fault: Fault) -> None:
    """The first fault is not the only one that it notices."""
    kind = contract(installed, name_of(fault.place), examples=20)
    assert_noticed(fault, *result(kind, fault.check))


def assert_noticed(fault: Fault, outcome: str, message: str) -> None:
    assert outcome == "failed", message
    for words in (*fault.words, "\n  plugin  ", "\n  found   ", "\n  mend    "):
        assert words in message, message


TEST = """
import pytest
from turnout.testing import DestinationContract

class TestTrusting(DestinationContract):
    destination = "trusting"

    def test_every_rule_has_a_case(self):
        pytest.skip("There are none in this test.")
"""


def test_pytest_shows_the_message_and_no_traceback(installed: Path, tmp_path: Path) -> None:
    """As an author sees it: the rule of the house and how to mend it; a check that was overridden stays so."""
    (tmp_path / "test_trusting.py").write_text(TEST, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(Path(__file__).parent)])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-k", "hostile or case or keys", "."],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1 failed, 2 passed, 2 skipped" in done.stdout, done.stdout
    assert "\nEvery event gets an outcome" in done.stdout
    assert "  mend    Ask what a value is" in done.stdout
    assert "There are none in this test." in done.stdout
    assert "Traceback" not in done.stdout
    assert "_contract_" not in done.stdout

"""Cases of sources: a payload, and what the source reads of it; each bundled source has them for all that it can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

# pytester forgets what was imported while it ran; these are imported once for all its runs.
import syrupy.extensions.single_file  # noqa: F401
from click.testing import CliRunner

import turnout_sources.flagsmith  # noqa: F401
from turnout.alike import alike
from turnout.casecoverage import coverage
from turnout.cases import Case
from turnout.checking import find
from turnout.cli import main
from turnout.errors import ConfigError
from turnout.mutation import mutate
from turnout.normalise import Normaliser
from turnout.settings import describe
from turnout.source import load_source
from turnout.sourcecases import SourceCase, destination_cases, load_case

CASES = Path(__file__).parent / "cases"
SOURCES = ("amplitude_cohorts", "amplitude_export", "flagsmith", "split_impressions")
NOT_READ = {
    "amplitude_cohorts": {
        "api_key", "base_url", "cohorts", "id_column", "most_members", "poll_minutes", "poll_seconds", "region",
        "secret_key",
    },
    "amplitude_export": {"api_key", "base_url", "lag_hours", "region", "secret_key"},
    "flagsmith": {"base_url", "environment_key"},
    "split_impressions": set(),
}  # fmt: skip
"""The settings of each source that only a pull is about."""
OF_ALL = {"hook_secret", "write_key"}
"""Those that are about the gateway."""
PAYLOAD = {"identifier": "user-1", "flags": [["size", True, 12], ["empty", True, ""], ["broken", "yes", 3]]}


def write(folder: Path, name: str, told: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(told if isinstance(told, str) else json.dumps(told), encoding="utf-8")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the cases of flagsmith, in the working directory."""
    monkeypatch.chdir(tmp_path)
    return Path("cases/flagsmith")


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*words], catch_exceptions=False)
    return done.exit_code, done.output


def test_a_snapshot_holds_events_and_what_is_refused(here: Path) -> None:
    """As `turnout read` writes them: the events with the id of the source, refusals with code and place."""
    write(here, "one.json", {"payload": PAYLOAD})
    assert run("check", "--update", "-q")[0] == 0
    kept = json.loads((here / "__snapshots__" / "one.json").read_text(encoding="utf-8"))
    traits = {"size": 12, "empty": ""}
    assert kept["events"] == [{"type": "identify", "userId": "user-1", "traits": traits, "projectId": "flagsmith"}]
    [refused] = kept["refused"]
    assert (refused["code"], refused["path"]) == ("field_invalid", "/flags/2/1")
    assert run("check") == (0, run("check")[1])


def test_a_change_is_shown_with_its_place(here: Path) -> None:
    """By `turnout check`, which ends with 1, as for destinations."""
    path = write(here, "one.json", {"payload": PAYLOAD})
    run("check", "--update")
    write(here, path.name, {"payload": PAYLOAD, "settings": {"value_rule": "truthy"}})
    code, shown = run("check")
    assert code == 1
    assert "/events/0/traits/empty" in shown


def test_pytest_runs_them_beside_those_of_destinations(pytester: pytest.Pytester) -> None:
    """With the same snapshots: what one has written the other finds unchanged."""
    folder = pytester.path / "cases" / "flagsmith"
    path = write(folder, "one.json", {"payload": PAYLOAD})
    options = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest")
    pytester.runpytest_inprocess(*options, "--snapshot-update").assert_outcomes(passed=1)
    assert run("check", str(pytester.path / "cases"))[0] == 0
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=1)
    write(folder, path.name, {"payload": {**PAYLOAD, "identifier": "user-2"}})
    pytester.runpytest_inprocess(*options).assert_outcomes(failed=1)


def test_the_source_may_be_named(tmp_path: Path) -> None:
    """Where the folder has another name."""
    case = load_case(write(tmp_path / "cases" / "flags", "a.json", {"source": "flagsmith", "payload": PAYLOAD}))
    assert isinstance(case, SourceCase)
    assert case.source == "flagsmith"
    assert len(case.read()["events"]) == 1


def test_settings_may_come_from_profiles(tmp_path: Path) -> None:
    """One, or several: then the snapshot has what is read with each by its name."""
    folder = tmp_path / "cases" / "flagsmith"
    profiles = {"plain": {"flag_prefix": "flag."}, "parity": {"extends": "plain", "value_rule": "truthy"}}
    write(folder, "profiles.json", profiles)
    one = load_case(write(folder, "one.json", {"profile": "parity", "payload": PAYLOAD}))
    both = load_case(write(folder, "both.json", {"profiles": ["plain", "parity"], "payload": PAYLOAD}))
    assert isinstance(one, SourceCase)
    assert isinstance(both, SourceCase)
    pinned: Any = both.pinned()
    traits = {name: told["events"][0]["traits"] for name, told in pinned.items()}
    assert traits == {"plain": {"flag.size": 12, "flag.empty": ""}, "parity": {"flag.size": 12, "flag.empty": True}}
    assert one.pinned() == pinned["parity"]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"payload": PAYLOAD, "event": {"type": "track"}}, "'event' is no key of a case of a source"),
        ({"source": "flagsmith"}, "has a 'payload'"),
        ({"payload": PAYLOAD, "setings": {}}, "Did you mean 'settings'?"),
        ({"payload": PAYLOAD, "settings": []}, "'settings' must be an object"),
        ({"payload": PAYLOAD, "doc": 7}, "'source' and 'doc' must be strings"),
        ({"payload": PAYLOAD, "source": 7}, "'source' and 'doc' must be strings"),
        ({"payload": PAYLOAD, "source": "flagsmiht"}, "Did you mean 'flagsmith'?"),
        ({"payload": PAYLOAD, "settings": {"value_rul": "truthy"}}, "Did you mean 'value_rule'?"),
        ({"payload": PAYLOAD, "settings": {"value_rule": "never"}}, "Setting 'value_rule'"),
        ({"payload": PAYLOAD, "profile": "eu"}, "there is no profiles.json"),
        ({"payload": PAYLOAD, "profile": "eu", "profiles": ["eu"]}, "either 'profile' or 'profiles'"),
        ({"payload": PAYLOAD, "profiles": []}, "at least one"),
        ({"paylod": PAYLOAD}, "Did you mean 'payload'?"),
        ('{"payload": 1e999}', "out of range"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_file(here: Path, told: Any, said: str) -> None:
    """By `turnout check`, which ends with 1 and goes on with the others."""
    write(here, "good.json", {"payload": PAYLOAD})
    run("check", "--update")
    write(here, "wrong.json", told)
    code, shown = run("check")
    assert code == 1
    assert "1 passed" in shown
    assert "1 wrong" in shown
    assert said in " ".join(shown.split())


def test_a_wrong_setting_names_the_profile(tmp_path: Path) -> None:
    """In which it stands."""
    folder = tmp_path / "cases" / "flagsmith"
    write(folder, "profiles.json", {"odd": {"value_rule": "never"}})
    case = load_case(write(folder, "one.json", {"profile": "odd", "payload": PAYLOAD}))
    with pytest.raises(ConfigError, match=r"With the profile 'odd': .*value_rule"):
        case.pinned()


def test_a_case_of_a_source_is_none_of_a_destination(tmp_path: Path) -> None:
    """Whoever wants a plan of it is told so."""
    path = write(tmp_path / "cases" / "flagsmith", "one.json", {"payload": PAYLOAD})
    with pytest.raises(ConfigError, match="is the case of a source"):
        Case.load(path)
    assert destination_cases([path]) == []


def test_coverage_and_mutants_are_those_of_destinations(here: Path) -> None:
    """Cases of sources are left out, and a suite of nothing else says so."""
    path = write(here, "one.json", {"payload": PAYLOAD})
    run("check", "--update")
    assert coverage([path]).destinations == ()
    assert mutate([path]).survivors == ()
    code, shown = run("check", "--coverage")
    assert code == 0
    assert "No case of a destination is good" in shown


def test_equal_values_in_a_payload_are_found(tmp_path: Path) -> None:
    """In each part of a list by itself; a payload that is a text has no parts."""
    folder = tmp_path / "cases" / "flagsmith"
    flags = [["size", True, "same"], ["width", True, "same"]]
    payload = [{"identifier": "one", "flags": [["size", True, "one too"]]}, {"identifier": "two", "flags": flags}]
    found = alike(load_case(write(folder, "list.json", {"payload": payload})))
    assert [(one.event, one.value, one.paths) for one in found] == [(2, "same", ("/flags/0/2", "/flags/1/2"))]
    assert alike(load_case(write(folder, "text.json", {"payload": json.dumps(payload)}))) == []


@pytest.mark.parametrize("name", SOURCES)
def test_each_setting_is_given_in_a_case(name: str) -> None:
    """Of those that reading is about."""
    given = {key for case in cases_of(name) for key in case.settings}
    assert {entry.name for entry in describe(load_source(name).settings)} - NOT_READ[name] - OF_ALL == given


@pytest.mark.parametrize("name", SOURCES)
def test_each_event_that_is_read_is_one_that_is_accepted(name: str) -> None:
    """And each case has either events or refusals, but for those that show that there is nothing."""
    normaliser, empty = Normaliser(), []
    for case in cases_of(name):
        told = case.read()
        for event in told["events"]:
            normaliser.event(event)
        if not told["events"] and not told["refused"]:
            empty.append(case.path.stem)
    assert empty == {"amplitude_cohorts": ["users_none"], "split_impressions": ["webhook_empty"]}.get(name, [])


def cases_of(name: str) -> list[SourceCase]:
    """Return the cases of a bundled source."""
    loaded = [load_case(path) for path in find([CASES / name]).cases]
    assert loaded
    return [case for case in loaded if isinstance(case, SourceCase)]

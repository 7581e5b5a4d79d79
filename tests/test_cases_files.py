"""Case files: collected by the pytest plugin, one snapshot each, strict and without orphans."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

# pytester forgets what was imported while it ran; these are imported once for all its runs.
import syrupy.extensions.single_file  # noqa: F401

import turnout_amplitude.destination  # noqa: F401
from turnout.cases import Case
from turnout.errors import ConfigError

EVENT = {"type": "track", "event": "Report Exported", "messageId": "m-1", "userId": "u-1"}
CASE = {"doc": "A track call.", "settings": {"api_key": "key-1"}, "event": EVENT}


@pytest.fixture
def cases(pytester: pytest.Pytester) -> Path:
    """A project with an empty folder `cases/amplitude`."""
    folder = pytester.path / "cases" / "amplitude"
    folder.mkdir(parents=True)
    return folder


def write(folder: Path, name: str, case: Any = CASE) -> Path:
    path = folder / name
    path.write_text(case if isinstance(case, str) else json.dumps(case), encoding="utf-8")
    return path


def run(pytester: pytest.Pytester, *args: Any) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest", *args)


def test_a_case_has_one_snapshot_of_its_whole_plan(pytester: pytest.Pytester, cases: Path) -> None:
    """`--snapshot-update` writes `__snapshots__/<name>.json`: what `turnout plan` says, secrets masked."""
    write(cases, "plain.json")
    run(pytester, "--snapshot-update").assert_outcomes(passed=1)
    (snapshot,) = (cases / "__snapshots__").iterdir()
    assert snapshot.name == "plain.json"
    (plan,) = json.loads(snapshot.read_text(encoding="utf-8"))
    assert (plan["message_id"], plan["outcome"]) == ("m-1", "planned")
    assert plan["requests"][0]["body"]["api_key"] == "***"
    assert "key-1" not in snapshot.read_text(encoding="utf-8")
    run(pytester).assert_outcomes(passed=1)


def test_a_case_without_a_snapshot_fails(pytester: pytest.Pytester, cases: Path) -> None:
    """A new case is not silently green."""
    write(cases, "plain.json")
    run(pytester).assert_outcomes(failed=1)
    assert not (cases / "__snapshots__").exists()


def test_a_plan_that_changed_fails_and_shows_both(pytester: pytest.Pytester, cases: Path) -> None:
    """The difference is printed."""
    write(cases, "plain.json")
    run(pytester, "--snapshot-update")
    write(cases, "plain.json", {**CASE, "event": {**EVENT, "event": "Report Deleted"}})
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Report Exported*", "*Report Deleted*"])


def test_several_events_make_one_snapshot(pytester: pytest.Pytester, cases: Path) -> None:
    """Their plans in order; an invalid one is part of it."""
    case = {key: value for key, value in CASE.items() if key != "event"} | {"events": [EVENT, {"type": "trak"}]}
    write(cases, "several.json", case)
    run(pytester, "--snapshot-update").assert_outcomes(passed=1)
    plans = json.loads((cases / "__snapshots__" / "several.json").read_text(encoding="utf-8"))
    assert [plan["outcome"] for plan in plans] == ["planned", "invalid"]


ORPHAN_RUNS = [
    [],
    ["cases"],
    ["cases/amplitude"],
    ["cases/amplitude/kept.json"],
    ["-k", "kept"],
    ["--collect-only"],
]


@pytest.mark.parametrize("args", ORPHAN_RUNS, ids=" ".join)
def test_an_orphaned_snapshot_fails_however_pytest_is_invoked(
    pytester: pytest.Pytester, cases: Path, args: list[str]
) -> None:
    """Deleting a case and leaving its snapshot is noticed, and named."""
    write(cases, "kept.json")
    write(cases, "gone.json")
    run(pytester, "--snapshot-update").assert_outcomes(passed=2)
    (cases / "gone.json").unlink()
    result = run(pytester, *args)
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*snapshots without a case: gone.json*"])


@pytest.mark.parametrize("args", [[], ["cases"], ["cases/amplitude"], ["cases/other"]], ids=" ".join)
def test_the_snapshot_of_a_folders_last_case_is_an_orphan_too(
    pytester: pytest.Pytester, cases: Path, args: list[str]
) -> None:
    """Also when no case is left that could notice it in its folder."""
    other = cases.parent / "other"
    other.mkdir()
    write(other, "mine.json", {**CASE, "destination": "amplitude"})
    write(cases, "gone.json")
    run(pytester, "--snapshot-update").assert_outcomes(passed=2)
    (cases / "gone.json").unlink()
    result = run(pytester, *args)
    if args == ["cases/other"]:
        result.assert_outcomes(passed=1)
    else:
        assert result.ret != 0
        result.stdout.fnmatch_lines(["*snapshots without a case: gone.json*"])


def test_updating_deletes_orphans(pytester: pytest.Pytester, cases: Path) -> None:
    """`--snapshot-update` makes the folder clean, also when the last case is gone."""
    write(cases, "gone.json")
    write(cases, "kept.json")
    run(pytester, "--snapshot-update")
    (cases / "gone.json").unlink()
    run(pytester, "--snapshot-update").assert_outcomes(passed=1)
    assert [path.name for path in (cases / "__snapshots__").iterdir()] == ["kept.json"]
    (cases / "kept.json").unlink()
    run(pytester, "--snapshot-update")
    assert list((cases / "__snapshots__").iterdir()) == []


@pytest.mark.parametrize("name", ["Order.json", "a-b.json", "a b.json", "_a.json", "ä.json", "a.b.json"])
def test_a_name_that_could_clash_is_refused(pytester: pytest.Pytester, cases: Path, name: str) -> None:
    """Small letters, digits and `_`: what every file system and syrupy keep apart."""
    write(cases, name)
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{name}: call a case in small letters, digits and _*"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"event": {"a": 1, "a": 2}}', '*the key "a" stands twice*'),
        ('{"doc": "x", "doc": "y", "event": {}}', '*the key "doc" stands twice*'),
        ('{"event": {"n": NaN}}', "*"),
        ('{"event": {"n": 1e999}}', "*out of range*"),
        ('{"event": ', "*is not JSON*line 1*"),
        ("[]", "*must be a JSON object*"),
        ("{}", "*either 'event' or 'events'*"),
        ('{"event": {}, "events": []}', "*either 'event' or 'events'*"),
        ('{"events": []}', "*at least one event*"),
        ('{"events": 5}', "*at least one event*"),
        ('{"evnt": {}}', "*'evnt' is no key of a case. Did you mean 'event'?*"),
        ('{"event": {}, "settings": {"api_kee": "k"}}', "*Did you mean 'api_key'?*"),
        ('{"event": {}, "settings": []}', "*"),
        ('{"event": {}, "settings": 5}', "*must be*object*"),
        ('{"event": {}, "now": "yesterday"}', "*'now' must be a time*"),
        ('{"event": {}, "now": 5}', "*'now' must be a time*"),
        ('{"event": {}, "destination": "amplitud"}', "*Did you mean 'amplitude'?*"),
        ('{"event": {}, "destination": 5}', "*must be strings*"),
        ('{"event": {}, "rules": "one"}', "*must be a list of strings*"),
        ("", "*"),
    ],
)
def test_a_case_that_is_wrong_says_so(tmp_path: Path, text: str, message: str) -> None:
    """One sentence names the file and what is wrong."""
    folder = tmp_path / "amplitude"
    folder.mkdir()
    path = write(folder, "wrong.json", text)
    with pytest.raises(ConfigError) as caught:
        Case.load(path).plan()
    assert fnmatch(str(caught.value), message), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ['{"events": 5}', '{"event": {}, "settings": {"api_kee": "k"}}'])
def test_a_wrong_case_fails_without_a_traceback(pytester: pytest.Pytester, cases: Path, text: str) -> None:
    """The test shows the sentence, none of our code, and writes no snapshot."""
    path = write(cases, "wrong.json", text)
    with pytest.raises(ConfigError) as caught:
        Case.load(path).plan()
    result = run(pytester, "--snapshot-update")
    result.assert_outcomes(failed=1)
    assert str(caught.value) in result.stdout.str().replace("\n", "")
    assert "Traceback" not in result.stdout.str()
    assert "cases.py" not in result.stdout.str()
    assert not (cases / "__snapshots__").exists()


def test_settings_of_a_case_read_nothing_from_the_environment(
    pytester: pytest.Pytester, cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot is the same on every machine."""
    monkeypatch.setenv("SOME_KEY", "from outside")
    write(cases, "plain.json", {**CASE, "settings": {"api_key": "${SOME_KEY}"}})
    result = run(pytester, "--snapshot-update")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*SOME_KEY*"])


def test_other_json_files_are_not_cases(pytester: pytest.Pytester, cases: Path) -> None:
    """Only `cases/<destination>/<name>.json`."""
    write(pytester.path, "data.json")
    write(cases.parent, "loose.json")
    write(cases, "readme.txt", "text")
    assert run(pytester).ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_case_knows_what_it_is_about(tmp_path: Path) -> None:
    """The folder names the destination unless the file does; the clock stands still."""
    folder = tmp_path / "amplitude"
    folder.mkdir()
    case = Case.load(write(folder, "one.json", {**CASE, "rules": ["tracked"], "now": "2026-02-03"}))
    assert (case.destination, case.doc, case.rules) == ("amplitude", "A track call.", ("tracked",))
    assert case.now.isoformat() == "2026-02-03T00:00:00+00:00"
    assert case.plan() == case.plan()


def test_a_missing_case_is_named(tmp_path: Path) -> None:
    """A path that isn't there, or is a folder."""
    with pytest.raises(ConfigError, match="no such file"):
        Case.load(tmp_path / "nothing.json")
    with pytest.raises(ConfigError, match="can't be read"):
        Case.load(tmp_path)

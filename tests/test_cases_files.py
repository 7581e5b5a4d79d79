"""Case files: what they may hold, and how the pytest plugin collects them: one snapshot each, strict, no orphans."""

from __future__ import annotations

import json
import sys
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


BROKEN_OFF = [
    ["-x"],
    ["--collect-only"],
    ["--setup-plan"],
    ["--maxfail=1", "cases/amplitude"],
    [],
]


@pytest.mark.parametrize("args", BROKEN_OFF, ids=" ".join)
@pytest.mark.parametrize("wrong", ["a_typo.json", "A Name.json"])
def test_a_run_that_fails_deletes_no_snapshot(
    pytester: pytest.Pytester, cases: Path, args: list[str], wrong: str
) -> None:
    """`--snapshot-update` keeps what did not get its turn: behind a failure, or a name that can't be."""
    for number in range(4):
        write(cases, f"kept_{number}.json")
    run(pytester, "--snapshot-update").assert_outcomes(passed=4)
    before = sorted((cases / "__snapshots__").iterdir())
    write(cases, wrong, {**CASE, "settings": {"api_key": "key-9", "typo": 1}})
    result = run(pytester, "--snapshot-update", *args)
    assert sorted((cases / "__snapshots__").iterdir()) == before
    assert result.ret != 0 or args[:1] in (["--collect-only"], ["--setup-plan"])


@pytest.mark.parametrize("args", [["--ignore"], ["-n", "2", "--ignore"], ["cases/amplitude", "--ignore"]], ids=" ".join)
def test_a_case_that_is_ignored_keeps_its_snapshot(pytester: pytest.Pytester, cases: Path, args: list[str]) -> None:
    """It is there, though pytest doesn't see it; one whose case is gone goes."""
    for name in ("hidden.json", "seen.json", "gone.json"):
        write(cases, name)
    run(pytester, "--snapshot-update").assert_outcomes(passed=3)
    (cases / "gone.json").unlink()
    pytester.runpytest_subprocess(*args, "cases/amplitude/hidden.json", "--snapshot-update").assert_outcomes(passed=1)
    assert sorted(one.name for one in (cases / "__snapshots__").iterdir()) == ["hidden.json", "seen.json"]


def test_workers_that_fail_delete_no_snapshot(pytester: pytest.Pytester, cases: Path) -> None:
    """The same with pytest-xdist, whose first process sees no case."""
    write(cases, "kept.json")
    run(pytester, "--snapshot-update").assert_outcomes(passed=1)
    write(cases, "A Name.json")
    assert pytester.runpytest_subprocess("-n", "2", "--snapshot-update").ret != 0
    assert [one.name for one in (cases / "__snapshots__").iterdir()] == ["kept.json"]


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


YAML = """
# A comment
doc: 'A track call.'
settings: &settings {api_key: key-1, track_named_pages: false}
now: 2026-02-03
event:
  type: track
  event: Report Exported
  userId: u-1
  messageId: m-1
  properties: {on: no, off: ~, at: 12:30, day: 2026-01-02, n: 0x1F, f: 1e3, big: 1_000, text: "12", again: *settings}
"""


def test_yaml_says_what_it_looks_like(tmp_path: Path) -> None:
    """`no`, dates and times stay text, numbers are JSON's; anchors are followed."""
    folder = tmp_path / "amplitude"
    folder.mkdir()
    case = Case.load(write(folder, "one.yaml", YAML))
    assert (case.doc, case.now.isoformat()) == ("A track call.", "2026-02-03T00:00:00+00:00")
    assert case.events[0]["properties"] == {
        "on": "no",
        "off": None,
        "at": "12:30",
        "day": "2026-01-02",
        "n": 31,
        "f": 1000.0,
        "big": "1_000",
        "text": "12",
        "again": {"api_key": "key-1", "track_named_pages": False},
    }
    assert case.plan()[0]["outcome"] == "planned"


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + last] * 9)}]\n" for last, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("event: {a: 1, a: 2}", "*the key 'a' stands twice in one object*(line 1, column 15)."),
        ("event: 1\nevent: 2", "*the key 'event' stands twice*(line 2, column 1)."),
        ("event: {zip: 0150}", "*0150 is a number with a leading zero. Put it in quotes*(line 1, column 14)."),
        ("event: {n: .inf}", "*.inf is no number of JSON*"),
        ("event: {n: .NaN}", "*.NaN is no number of JSON*"),
        ("event: {n: 1e999}", "*out of range*(/event/n)"),
        ("event: {n: " + "9" * 5000 + "}", "*more than 4,300 digits*"),
        ("event: {true: 1}", "*a key must be text, but 'true' is none. Put it in quotes*"),
        ("event: {12: 1}", "*a key must be text, but '12' is none*"),
        ("event: {[a]: 1}", "*a key must be text, but this is none*"),
        ("event: {<<: {a: 1}}", "*no merge key '<<'*profile*"),
        ("event: !!python/object/apply:os.getcwd []", "*the tag !!python/object/apply:os.getcwd can't be read*"),
        ("event: !!timestamp 2026-01-02", "*the tag !!timestamp can't be read*"),
        ("event: &e {a: *e}", "*an alias ([*]) stands in what it names*"),
        ("event: *nobody", "*is not YAML: found undefined alias 'nobody' (line 1, column 8)."),
        (LAUGHS + "event: *h", "*more than 100,000 values*"),
        ("[" * 5000, "*nested too deeply*"),
        ("event: [", "*is not YAML: *(line 1, column 9)."),
        ("event: 1\n---\nevent: 2", "*is not YAML: but found another document*"),
        ("\tevent: 1", "*is not YAML: *"),
        ("event: \x07", "*is not YAML: special characters are not allowed*"),
        ('event: "\\ud800"', "*half of a surrogate pair*"),
        ("- event", "*must be a YAML mapping*"),
        ("", "*must be a YAML mapping*"),
        ("evnt: {}", "*'evnt' is no key of a case. Did you mean 'event'?"),
    ],
)
def test_yaml_that_json_could_not_say_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """One sentence with the file, and the place where there is one."""
    folder = tmp_path / "amplitude"
    folder.mkdir()
    path = write(folder, "wrong.yaml", text)
    with pytest.raises(ConfigError) as caught:
        Case.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert fnmatch(str(caught.value), message), str(caught.value)
    assert "\n" not in str(caught.value)


def test_yaml_without_pyyaml_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON cases need nothing but turnout."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError, match=r"need PyYAML, which is not installed\. Run: pip install pyyaml"):
        Case.load(write(tmp_path, "one.yaml", YAML))
    assert Case.load(write(tmp_path, "two.json", CASE)).events == [EVENT]


def test_json_cases_may_hold_comments(tmp_path: Path) -> None:
    """To the end of the line, or between `/*` and `*/`; what looks so in a text is text."""
    text = """// About this case
    {"settings": {"api_key": "key-1" /* not
       real */}, "event": {"url": "https://x.example/*no*/", "q": "\\"// no", // yes "no": 1
       "last": 1} // }
    }"""
    case = Case.load(write(tmp_path, "one.json", text))
    assert case.events == [{"url": "https://x.example/*no*/", "q": '"// no', "last": 1}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"event": /* ö */ tru}', "*is not JSON: Expecting value (line 1, column 19)."),
        ('{// one\n "event": {}, /* two\n */ "event": {}}', '*the key "event" stands twice*(line 3, column 5)*'),
        ('{"event": {} /* open }', "*the comment that begins here has no end (line 1, column 14)."),
        ('{"event": 1 / 2}', "*is not JSON*(line 1, column 13)."),
        ('{"event": "open // text}', "*is not JSON*"),
        ('{"event": {"a": {"b": 1, "\\u0062": 2}}, "b": 3}', '*the key "b" stands twice*(line 1, column 26)*'),
        ("// nothing else", "*is not JSON*"),
        ('{"event": {}, # one\n}', "*is not JSON*"),
    ],
)
def test_comments_leave_places_where_they_are(tmp_path: Path, text: str, message: str) -> None:
    """Line and column are those of the file, also behind a comment."""
    with pytest.raises(ConfigError) as caught:
        Case.load(write(tmp_path, "wrong.json", text))
    assert fnmatch(str(caught.value), message), str(caught.value)


PROFILES = {
    "us": {"api_key": "key-us", "track_named_pages": True},
    "eu": {"extends": "us", "apiKey": "key-eu", "endpoint": "eu"},
    "quiet": {"extends": "eu", "track_named_pages": False},
}
PAGE = {"type": "page", "name": "Pricing", "messageId": "m-2", "userId": "u-2"}


def test_a_case_takes_its_settings_from_a_profile(cases: Path) -> None:
    """A profile extends another under either of a setting's keys; the case's own settings come last."""
    write(cases, "profiles.json", PROFILES)
    plain = Case.load(write(cases, "plain.json", {"profile": "eu", "event": PAGE}))
    assert plain.settings == {"track_named_pages": True, "apiKey": "key-eu", "endpoint": "eu"}
    assert (plain.profile, plain.each()) == ("eu", (plain,))
    assert plain.plan()[0]["requests"][0]["url"].startswith("https://api.eu.amplitude.com/")
    more = Case.load(write(cases, "more.json", {"profile": "eu", "settings": {"api_key": "key-own"}, "event": PAGE}))
    assert more.settings == {"track_named_pages": True, "api_key": "key-own", "endpoint": "eu"}


def test_a_case_with_several_profiles_has_one_snapshot_of_all(pytester: pytest.Pytester, cases: Path) -> None:
    """The plans of each stand under its name."""
    write(cases, "profiles.yaml", json.dumps(PROFILES))
    path = write(cases, "both.json", {"profiles": ["us", "quiet"], "events": [PAGE, EVENT]})
    run(pytester, "--snapshot-update").assert_outcomes(passed=1)
    run(pytester).assert_outcomes(passed=1)
    pinned = json.loads((cases / "__snapshots__" / "both.json").read_text(encoding="utf-8"))
    outcomes = {name: [plan["outcome"] for plan in plans] for name, plans in pinned.items()}
    assert outcomes == {"quiet": ["dropped", "planned"], "us": ["planned", "planned"]}
    case = Case.load(path)
    assert [one.profile for one in case.each()] == ["us", "quiet"]
    assert case.pinned() == pinned
    with pytest.raises(ConfigError, match="the case has several profiles"):
        case.plan()


def test_the_nearest_profiles_count(cases: Path) -> None:
    """Those beside the case, else those above it, as far as the folder `cases`."""
    write(cases.parent.parent, "profiles.json", {"far": {"api_key": "key-far"}})
    deep = cases / "pages"
    deep.mkdir()
    path = write(deep, "one.json", {"profile": "here", "event": PAGE})
    with pytest.raises(ConfigError, match=r"there is no profiles.json \(or .yaml\) in its folder, nor above"):
        Case.load(path)
    write(cases.parent, "profiles.json", {"here": {"api_key": "key-top"}})
    assert Case.load(path).settings == {"api_key": "key-top"}
    write(cases, "profiles.json", {"here": {"api_key": "key-middle"}})
    assert Case.load(path).settings == {"api_key": "key-middle"}
    assert Case.load(path).destination == "amplitude"


@pytest.mark.parametrize(
    ("profiles", "case", "message"),
    [
        (
            PROFILES,
            {"profile": "ue"},
            "*profiles.json: one.json names the profile 'ue', which is not there. There*",
        ),
        (PROFILES, {"profile": "quite"}, "*which is not there. Did you mean 'quiet'?"),
        ({"a": {"extends": "us"}}, {"profile": "a"}, "*the profile 'a' extends the profile 'us', which is not there*"),
        ({"a": {"extends": "b"}, "b": {"extends": "a"}}, {"profile": "a"}, "*'a' extends itself: a -> b -> a."),
        ({"a": {"extends": ["b"]}}, {"profile": "a"}, "*'extends' of the profile 'a' must be the name of a profile."),
        ({"a": 5}, {"profile": "a"}, "*the profile 'a' must be an object of settings."),
        ("[]", {"profile": "a"}, "*profiles.json: the profiles must be a JSON object."),
        ({"a": {"api_kee": "k"}}, {"profile": "a"}, "With the profile 'a': *'api_kee' is not a setting.*"),
        (PROFILES, {"profile": 5}, "*'profile' must be the name of a settings profile."),
        (PROFILES, {"profiles": "us"}, "*'profiles' must be a list of strings."),
        (PROFILES, {"profiles": []}, "*at least one settings profile, and none twice."),
        (PROFILES, {"profiles": ["us", "us"]}, "*at least one settings profile, and none twice."),
        (PROFILES, {"profiles": ["us"], "profile": "us"}, "*either 'profile' or 'profiles'."),
        (PROFILES, {"profile": "us", "destination": "amplitud"}, "*Did you mean 'amplitude'?*"),
    ],
)
def test_a_profile_that_is_wrong_says_so(cases: Path, profiles: Any, case: dict[str, Any], message: str) -> None:
    """One sentence, that names the file of the profiles when they are at fault."""
    write(cases, "profiles.json", profiles)
    path = write(cases, "one.json", {**case, "event": PAGE})
    with pytest.raises(ConfigError) as caught:
        Case.load(path).pinned()
    assert fnmatch(str(caught.value), message), str(caught.value)


def test_two_files_of_profiles_are_one_too_many(cases: Path) -> None:
    """Nobody could say which counts."""
    write(cases, "profiles.json", PROFILES)
    write(cases, "profiles.yml", "a: {}")
    with pytest.raises(ConfigError, match=r"profiles.json and profiles.yml are both there. Keep one of them."):
        Case.load(write(cases, "one.json", {"profile": "us", "event": PAGE}))


def test_cases_below_a_destinations_folder_are_collected(pytester: pytest.Pytester, cases: Path) -> None:
    """In deeper folders and in YAML; profiles and what is not below a destination are none."""
    deep = cases / "pages" / "long"
    deep.mkdir(parents=True)
    write(deep, "one.yml", YAML)
    write(cases, "two.json")
    write(cases, "profiles.json", {})
    run(pytester, "--snapshot-update").assert_outcomes(passed=2)
    assert (deep / "__snapshots__" / "one.json").is_file()
    run(pytester).assert_outcomes(passed=2)
    (deep / "one.yml").unlink()
    result = run(pytester)
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*long/__snapshots__ has snapshots without a case: one.json*"])


def test_two_cases_can_not_share_a_snapshot(pytester: pytest.Pytester, cases: Path) -> None:
    """`one.json` and `one.yaml` would; both fail."""
    write(cases, "one.json")
    write(cases, "one.yaml", YAML)
    result = run(pytester)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*one.json: one.yaml would share its snapshot. Give each case another name.*"])


def test_json_files_of_a_project_below_a_folder_called_cases_are_none(pytester: pytest.Pytester) -> None:
    """The folder `cases` has to be in the project, which its configuration file tells."""
    project = pytester.path / "cases" / "shop"
    (project / "data").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    write(project / "data", "prices.json", "no case")
    write(project, "package.json", "no case")
    assert run(pytester).ret == pytest.ExitCode.NO_TESTS_COLLECTED


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

"""`turnout check`: cases without pytest, what changed in each, and the same snapshots as pytest's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as Xml
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from turnout.alike import alike
from turnout.cases import Case
from turnout.checking import Status, Suite, check, find, prepared
from turnout.cli import main
from turnout.errors import ConfigError, TurnoutError

NOBODY = 65534
Run = Callable[..., Result]
EVENT = {
    "type": "track",
    "event": "Report Exported",
    "messageId": "m-1",
    "userId": "u-1",
    "properties": {"format": "pdf"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widget: Path) -> Path:
    """The folder `cases/widget` of a project that is the working folder; the plugin `widget` is installed."""
    made = tmp_path / "project" / "cases" / "widget"
    made.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    return made


@pytest.fixture
def run(folder: Path) -> Run:
    """Runs `turnout check` in this process."""

    def call(*args: str, width: str = "100") -> Result:
        result = CliRunner().invoke(main, ["check", *args], env={"COLUMNS": width, "NO_COLOR": "1"})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        return result

    return call


def write(folder: Path, name: str, case: Any = None, **more: Any) -> Path:
    """Write a case of `widget`: one event, or what is given."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {"settings": {"token": "tok-1234"}, "event": EVENT} if case is None else case
    text = made if isinstance(made, str) else json.dumps({**made, **more}, ensure_ascii=False)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def event(**given: Any) -> dict[str, Any]:
    """Return the usual event with other properties."""
    return {**EVENT, "properties": given}


# What comes of a case


def test_a_case_is_new_until_its_snapshot_is_written(run: Run, folder: Path) -> None:
    """Without a snapshot a case fails; --update writes it and says so; then the case passes."""
    write(folder, "one.json")
    first = run()
    assert first.exit_code == 1
    assert "new      cases/widget/one.json" in first.stdout
    assert not (folder / "__snapshots__").exists()
    second = run("--update")
    assert second.exit_code == 0
    assert "written  cases/widget/__snapshots__/one.json" in second.stdout
    third = run()
    assert (third.exit_code, third.stderr) == (0, "")
    assert third.stdout.startswith("cases/widget  1 passed\n1 case: 1 passed (")


def test_a_changed_case_shows_only_what_changed(run: Run, folder: Path) -> None:
    """Path, was and is; nothing of what stayed; the secret is masked."""
    write(folder, "one.json", doc="An export becomes a widget.")
    run("--update")
    write(folder, "one.json", doc="An export becomes a widget.", event=event(format="csv", pages=12))
    result = run()
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:7] == [
        "changed  cases/widget/one.json",
        "  An export becomes a widget.",
        "  ~ /0/requests/0/body/all/0/format",
        '      was "pdf"',
        '      is  "csv"',
        "  + /0/requests/0/body/all/0/pages",
        "      is  12",
    ]
    assert "m-1" not in result.output
    assert "tok-1234" not in result.output
    assert "--update" in result.stdout


def test_updating_renews_what_changed_and_nothing_else(run: Run, folder: Path) -> None:
    """The changed snapshot is renewed, the other is not written again."""
    write(folder, "changing.json")
    write(folder, "staying.json", event=event(format="odt"))
    run("--update")
    staying = folder / "__snapshots__" / "staying.json"
    os.utime(staying, ns=(1, 1))
    write(folder, "changing.json", event=event(format="csv"))
    result = run("--update")
    assert result.exit_code == 0
    assert "renewed  cases/widget/__snapshots__/changing.json" in result.stdout
    assert "staying" not in result.stdout
    assert staying.stat().st_mtime_ns == 1
    assert run().exit_code == 0


def test_a_wrong_case_fails_and_the_others_go_on(run: Run, folder: Path) -> None:
    """A wrong file, a wrong setting, a wrong name: one sentence each, also with --update."""
    write(folder, "a_setting.json", settings={"tokn": "t"})
    write(folder, "b_text.json", '{"event": \n  tru}')
    write(folder, "C.json")
    write(folder, "good.json")
    result = run("--update")
    assert result.exit_code == 1
    assert "wrong    cases/widget/a_setting.json\n  destination 'widget': 'tokn' is not a setting." in result.stdout
    assert "is not JSON: Expecting value (line 2, column 3)." in result.stdout
    assert "wrong    cases/widget/C.json\n  call a case in small letters, digits and _" in result.stdout
    assert "4 cases: 3 wrong, 1 written" in result.stdout
    assert [path.name for path in (folder / "__snapshots__").iterdir()] == ["good.json"]


def test_a_plugin_that_raises_is_an_outcome_and_says_nothing_on_stderr(run: Run, folder: Path) -> None:
    """What turnout would log is in the plan, so a case can pin it; the secret is not in it."""
    write(folder, "broken.json", event={**EVENT, "event": "Explode"})
    result = run("--update")
    assert (result.exit_code, result.stderr) == (0, "")
    (plan,) = json.loads((folder / "__snapshots__" / "broken.json").read_text(encoding="utf-8"))
    assert (plan["outcome"], plan["reason"]["code"]) == ("failed", "plugin_raised")
    assert "tok-1234" not in plan["reason"]["message"]


def test_a_plugin_that_is_not_installed_is_named(run: Run, folder: Path) -> None:
    """With what was probably meant."""
    write(folder.parent / "widgit", "one.json")
    result = run()
    assert result.exit_code == 1
    assert "There is no destination plugin 'widgit'. Did you mean 'widget'?" in result.stdout


@pytest.mark.parametrize("spoil", [b"[\n<<<<<<< HEAD\n", b"\xff\xfe", b"[" * 100_000], ids=["merge", "bytes", "depth"])
def test_a_spoilt_snapshot_is_a_change(run: Run, folder: Path, spoil: bytes) -> None:
    """It is said, and --update mends it."""
    write(folder, "one.json")
    run("--update")
    (folder / "__snapshots__" / "one.json").write_bytes(spoil)
    result = run()
    assert result.exit_code == 1
    assert "The snapshot is not JSON any more." in result.stdout
    assert run("--update").exit_code == 0
    assert run().exit_code == 0


def test_a_snapshot_that_is_only_written_otherwise_fails_as_in_pytest(run: Run, folder: Path) -> None:
    """The same values with other blanks: pytest would fail, so it is a change, and that is said."""
    write(folder, "one.json")
    run("--update")
    snapshot = folder / "__snapshots__" / "one.json"
    snapshot.write_text(json.dumps(json.loads(snapshot.read_text(encoding="utf-8"))), encoding="utf-8")
    result = run()
    assert result.exit_code == 1
    assert "The values are the same" in result.stdout


def test_a_snapshot_without_a_case_fails_until_it_is_deleted(run: Run, folder: Path) -> None:
    """However the folder is named, also when its last case is gone; --update deletes it and says so."""
    write(folder, "kept.json")
    write(folder, "gone.json")
    run("--update")
    (folder / "gone.json").unlink()
    for args in ([], ["cases"], ["cases/widget"], ["cases/widget/kept.json"], ["-k", "kept"], ["."]):
        result = run(*args)
        assert result.exit_code == 1, args
        assert "orphan   cases/widget/__snapshots__/gone.json" in result.stdout
    assert "1 case: 1 passed; 1 snapshot without a case (" in run().stdout
    (folder / "kept.json").unlink()
    result = run("--update")
    assert result.exit_code == 0
    assert "deleted  cases/widget/__snapshots__/kept.json" in result.stdout
    assert list((folder / "__snapshots__").iterdir()) == []
    assert run().exit_code == 2


# Which cases


def test_cases_lie_anywhere_below_a_destinations_folder(run: Run, folder: Path) -> None:
    """In order, in JSON and YAML; other files are none."""
    write(folder / "b" / "deep", "x.yaml", json.dumps({"settings": {"token": "t-2"}, "event": event(n=3)}))
    write(folder, "a.json")
    write(folder.parent, "loose.json", "no case")
    write(folder, "profiles.json", "{}")
    write(folder, "notes.txt", "no case")
    write(folder / ".hidden", "h.json", "no case")
    assert [path.as_posix() for path in find([Path("cases")]).cases] == [
        "cases/widget/a.json",
        "cases/widget/b/deep/x.yaml",
    ]
    assert run("--update").exit_code == 0
    assert (folder / "b" / "deep" / "__snapshots__" / "x.json").is_file()
    assert "2 cases: 2 passed" in run(".").stdout


def test_a_place_that_is_named_twice_counts_once(run: Run, folder: Path) -> None:
    """A folder and a file in it."""
    write(folder, "one.json")
    assert "1 case:" in run("cases", "cases/widget/one.json", str(folder)).stdout


def test_from_inside_a_folder_of_cases(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is above decides, not the working folder."""
    write(folder / "pages", "one.json")
    monkeypatch.chdir(folder / "pages")
    assert run(".", "--update").exit_code == 0
    assert "1 case: 1 passed" in run("one.json").stdout
    assert "1 case: 1 passed" in run("../pages").stdout


def test_a_folder_called_cases_above_the_project_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every JSON file of the project would be a case."""
    project = tmp_path / "cases" / "shop"
    write(project / "data", "prices.json", "no case")
    (project / "pyproject.toml").touch()
    assert find([project]).cases == ()
    write(project / "tests" / "cases" / "widget", "one.json")
    assert [path.name for path in find([project]).cases] == ["one.json"]


def test_tests_cases_comes_before_cases(run: Run, folder: Path) -> None:
    """Without a folder it is tests/cases, else cases."""
    write(folder, "one.json")
    write(Path("tests/cases/widget"), "two.json")
    assert "tests/cases/widget/two.json" in run().stdout
    assert "one.json" not in run().stdout


def test_k_keeps_the_cases_with_a_text_in_their_path(run: Run, folder: Path) -> None:
    """In any case; how many were left out is said."""
    write(folder, "order_split.json")
    write(folder, "page.json")
    result = run("-k", "ORDER")
    assert "order_split" in result.stdout
    assert "page.json" not in result.stdout
    assert "1 case left out (-k)." in result.stdout


def test_a_folder_that_can_not_be_read_is_named() -> None:
    """The cases in it are not left out in silence. Not in pytest's folders, which only their owner may enter."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    closed = place / "cases"
    closed.mkdir(mode=0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        with pytest.raises(ConfigError, match="cases: can't be read: Permission denied"):
            find([closed])
    finally:
        if root:
            os.seteuid(0)
        closed.chmod(0o755)
        shutil.rmtree(place)


def test_fail_fast_ends_with_the_first_that_is_not_good(run: Run, folder: Path) -> None:
    """And says so."""
    write(folder, "a.json")
    run("--update")
    write(folder, "b.json")
    write(folder, "c.json")
    result = run("-x")
    assert result.exit_code == 1
    assert "2 cases: 1 passed, 1 new" in result.stdout
    assert "Stopped" in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere"], "nowhere: there is no such file or folder."),
        (["cases/loose.json"], "cases/loose.json: is no case. A case lies in cases/<destination>/<name>.json."),
        (["cases/widget/__snapshots__/one.json"], "is no case. It is a snapshot: name its case."),
        (["empty"], "empty: there is no case."),
        (["-k", "zzz"], "-k: none of the 1 cases has 'zzz' in its path."),
        (["--junit", "nowhere/report.xml"], "nowhere/report.xml: can't be written: No such file or directory."),
        (["--jobs", "0"], "Invalid value for '-j' / '--jobs'"),
        (["--updat"], "No such option"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(run: Run, folder: Path, args: list[str], message: str) -> None:
    """On stderr, with exit code 2; nothing is checked."""
    write(folder, "one.json")
    write(folder.parent, "loose.json")
    Path("empty").mkdir()
    run("--update")
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_any_folder_of_cases(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence that names the two places."""
    (tmp_path / "bare").mkdir()
    monkeypatch.chdir(tmp_path / "bare")
    result = run()
    assert result.exit_code == 2
    assert result.stderr == (
        "turnout: There is no folder tests/cases or cases here. Name a folder or a file with cases.\n"
    )


# Other forms of the answer


def test_quiet_shows_names_and_counts(run: Run, folder: Path) -> None:
    """No differences; a good run is one line."""
    write(folder, "one.json")
    run("--update")
    assert run("-q").stdout.count("\n") == 1
    write(folder, "one.json", event=event(format="csv"))
    result = run("-q")
    assert result.stdout.startswith("changed  cases/widget/one.json\n1 case: 1 changed")
    assert "csv" not in result.stdout


def test_json_is_one_line_for_each_case_with_everything(run: Run, folder: Path) -> None:
    """Whole values, the snapshot, the message; the same lines at each run."""
    write(folder, "a.json", event=event(text="x" * 500 + "1"))
    write(folder, "z.json", event=event(text="kept"))
    run("--update")
    write(folder, "a.json", event=event(text="x" * 500 + "2"))
    (folder / "z.json").unlink()
    write(folder, "b.json", settings={})
    result = run("--json")
    assert result.exit_code == 1
    assert result.stdout == run("--json").stdout
    changed, wrong, orphan = (json.loads(line) for line in result.stdout.splitlines())
    assert changed == {
        "case": "cases/widget/a.json",
        "snapshot": "cases/widget/__snapshots__/a.json",
        "status": "changed",
        "message": None,
        "differences": [
            {
                "kind": "changed",
                "path": "/0/requests/0/body/all/0/text",
                "was": "x" * 500 + "1",
                "now": "x" * 500 + "2",
            }
        ],
        "alike": [],
    }
    assert (wrong["status"], wrong["differences"]) == ("wrong", [])
    assert "'token' is required" in wrong["message"]
    assert (orphan["case"], orphan["snapshot"], orphan["status"]) == (
        None,
        "cases/widget/__snapshots__/z.json",
        "orphan",
    )


def test_junit_has_a_suite_for_each_folder(run: Run, folder: Path) -> None:
    """Failures with what changed, errors for wrong cases; characters that XML can't hold are replaced."""
    write(folder, "changed.json", event=event(text="before"))
    write(folder / "deep", "good.json", event=event(text="good"))
    run("--update")
    write(folder, "changed.json", event=event(text="after <&> \x01\x7f\ufffe"))
    write(folder, "wrong.json", "[]")
    assert run("--junit", "report.xml").exit_code == 1
    root = Xml.parse("report.xml").getroot()
    assert root.attrib.items() >= {"tests": "3", "failures": "1", "errors": "1"}.items()
    assert [(suite.attrib["name"], suite.attrib["tests"]) for suite in root] == [
        ("cases/widget", "2"),
        ("cases/widget/deep", "1"),
    ]
    found = {case.attrib["name"]: case for case in root.iter("testcase")}
    assert found["changed"].attrib["file"] == "cases/widget/changed.json"
    (failure,) = found["changed"]
    assert (failure.tag, failure.attrib["type"]) == ("failure", "changed")
    assert '"after <&> \\u0001\\u007f' in str(failure.text)
    (error,) = found["wrong"]
    assert error.attrib["message"] == "the case must be a JSON object."
    assert list(found["good"]) == []


def test_a_long_value_is_cut_around_what_differs(run: Run, folder: Path) -> None:
    """Both cuts begin at the same place, and no line is longer than the screen."""
    write(folder, "one.json", event=event(text="a" * 300 + "old" + "b" * 300))
    run("--update")
    write(folder, "one.json", event=event(text="a" * 300 + "new" + "b" * 300))
    lines = run(width="60").stdout.splitlines()
    assert max(map(len, lines[:4])) < 60
    assert lines[2].startswith("      was …aaa")
    assert "aoldb" in lines[2]
    assert lines[3].index("new") == lines[2].index("old")


def test_text_of_an_event_moves_no_cursor(run: Run, folder: Path) -> None:
    """Control characters are shown as escapes."""
    write(folder, "one.json")
    run("--update")
    write(folder, "one.json", doc="\x1b[2J", event=event(format="\x1b]0;x\x07\u202e", **{"k\x9b": 1}))
    assert not any(one in run().stdout for one in "\x1b\x07\x9b\u202e")


def test_markup_in_an_event_is_text(run: Run, folder: Path) -> None:
    """Square brackets are shown as they are."""
    write(folder, "one.json")
    run("--update")
    write(folder, "one.json", event=event(format="[bold]x[/nothing]"))
    assert '"[bold]x[/nothing]"' in run().stdout


# The same as under pytest


def test_pytest_and_check_write_the_same_bytes(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For several events, profiles, YAML and deeper folders; what one wrote the other finds good."""
    write(folder, "profiles.json", '{"a": {"token": "t-a"}, /* b */ "b": {"extends": "a", "pages": true}}')
    write(folder, "one.json")
    write(folder, "several.json", {"settings": {"token": "t-s"}, "events": [event(ü="Ω\u2028"), {"type": "trak"}]})
    write(folder / "deep", "profiled.yaml", "profiles: [b, a]\nevent: {type: track, event: Ümlaut, userId: u-7}\n")
    assert run("--update").exit_code == 0
    snapshots = sorted(folder.rglob("__snapshots__/*.json"))
    ours = {path: path.read_bytes() for path in snapshots}
    assert len(ours) == 3
    assert _pytest(folder) == 0
    for path in snapshots:
        path.unlink()
    assert _pytest(folder, "--snapshot-update") == 0
    assert {path: path.read_bytes() for path in snapshots} == ours
    assert run().exit_code == 0


def _pytest(folder: Path, *args: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args, "cases"]
    path = os.pathsep.join([str(folder.parents[2] / "site"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False, capture_output=True, text=True)
    return done.returncode


def test_the_bundled_suite_passes() -> None:
    """Every case of the Amplitude destination, with several processes."""
    suite = find([Path(__file__).parent / "cases"])
    results = list(check(suite, jobs=2))
    assert [result.path for result in results] == list(suite.cases)
    assert {result.status for result in results} == {Status.PASSED}


# From Python


def test_several_processes_give_what_one_gives(folder: Path, run: Run) -> None:
    """The same results in the same order; what was written is the same."""
    for number in range(120):
        write(folder, f"case_{number:03}.json", event=event(n=number))
    write(folder, "case_050.json", "{}")
    assert run("--update", "-j", "2").exit_code == 1
    write(folder, "case_007.json", event=event(n="seven"))
    suite = find([Path("cases")])
    one = [result.to_dict() for result in check(suite, jobs=1)]
    two = [result.to_dict() for result in check(suite, jobs=2)]
    assert one == two
    assert [row["status"] for row in one].count("passed") == 118
    first = list(check(suite, jobs=2, fail_fast=True))
    assert [result.path.stem for result in first][-1] == "case_007"


def test_a_plugin_that_ends_the_process_is_no_hang(folder: Path, widget: Path) -> None:
    """With several processes the check ends with one sentence that says how to find the case."""
    with (widget / "turnout_widget.py").open("a", encoding="utf-8") as module:
        module.write("\nimport os\nWidget.prepare = lambda self, event, carried: os._exit(3)\n")
    for number in range(100):
        write(folder, f"case_{number:03}.json", event=event(n=number))
    with pytest.raises(TurnoutError, match=r"has died: a plugin ended it.*--jobs 1"):
        list(check(find([Path("cases")]), jobs=2))


def test_ctrl_c_ends_all_processes(folder: Path, widget: Path) -> None:
    """Also when a plugin never comes back: exit code 130, and nobody is left behind."""
    with (widget / "turnout_widget.py").open("a", encoding="utf-8") as module:
        module.write(
            "\nimport os, pathlib, time\n"
            "def wait(self, event, carried):\n"
            "    pathlib.Path(f'pid-{os.getpid()}').touch()\n"
            "    time.sleep(600)\n"
            "Widget.prepare = wait\n"
        )
    for number in range(100):
        write(folder, f"case_{number:03}.json", event=event(n=number))
    code = "import sys; from turnout.cli import main; sys.argv[0] = 'turnout'; main()"
    started = subprocess.Popen(
        [sys.executable, "-c", code, "check", "-j", "2"],
        env={**os.environ, "PYTHONPATH": str(widget)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while len(pids := list(Path().glob("pid-*"))) < 2:
        assert started.poll() is None, started.communicate()
    started.send_signal(signal.SIGINT)
    output, _ = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "Traceback" not in output
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.name.removeprefix("pid-")), 0)


def test_prepared_cases_share_a_dispatcher_when_they_can(folder: Path) -> None:
    """Equal destination, settings and clock: one dispatcher; a case with profiles comes once for each."""
    write(folder, "profiles.json", '{"p": {"token": "t-p"}, "q": {"token": "t-q"}}')
    write(folder, "a.json")
    write(folder, "b.json", event=event(n=2))
    write(folder, "c.json", now="2026-05-05")
    write(folder, "d.json", '{"profiles": ["p", "q"], "event": {}}')
    a, b, c, p, q = prepared(find([Path("cases")]).cases)
    assert a.dispatcher is b.dispatcher
    assert len({id(one.dispatcher) for one in (a, c, p, q)}) == 4
    assert [one.case.profile for one in (a, p, q)] == ["", "p", "q"]
    assert a.case.plan(a.dispatcher) == a.case.plan()


def test_prepared_cases_that_are_wrong_raise(folder: Path) -> None:
    """The error names the file."""
    write(folder, "a.json", "{}")
    with pytest.raises(ConfigError, match=r"a\.json: a case has either 'event' or 'events'"):
        list(prepared(find([Path("cases")]).cases))


def test_a_case_that_was_deleted_meanwhile_is_wrong(folder: Path) -> None:
    """Whoever keeps a suite gets an answer for each of its cases."""
    (result,) = check(Suite((folder / "gone.json",)))
    assert (result.status, result.message) == (Status.WRONG, "there is no such file.")


def test_a_snapshot_that_cannot_be_written_is_said(run: Run, folder: Path) -> None:
    """One sentence for the case, and exit code 1."""
    write(folder, "one.json")
    (folder / "__snapshots__").touch()
    result = run("--update")
    assert result.exit_code == 1
    assert "can't be" in result.stdout


# Values that are alike


def of_events(folder: Path, *events: Any) -> Case:
    return Case.load(write(folder, "alike.json", {"settings": {"token": "t-1"}, "events": events}))


def test_equal_leaves_of_an_event_are_alike(folder: Path) -> None:
    """Texts and numbers, a number and its text, in lists and deep inside; each value once, with all its places."""
    first = {
        "type": "track",
        "event": "Sold",
        "userId": "u-1",
        "properties": {"id": "u-1", "list": [1, {"n": 1.0}], "text": "1", "other": "o", "a/b": "o"},
    }
    found = alike(of_events(folder, first, {"type": "track", "userId": "u-2", "event": "u-2"}))
    assert [(one.event, one.value, one.paths) for one in found] == [
        (1, "u-1", ("/userId", "/properties/id")),
        (1, 1, ("/properties/list/0", "/properties/list/1/n", "/properties/text")),
        (1, "o", ("/properties/other", "/properties/a~1b")),
        (2, "u-2", ("/userId", "/event")),
    ]


def test_what_is_no_value_of_its_own_is_not_alike(folder: Path) -> None:
    """Booleans, null, empty texts, words of the spec, and equal values of different events."""
    one = {
        "type": "track",
        "userId": "u-1",
        "channel": "browser",
        "properties": {"a": True, "b": True, "c": None, "d": None, "e": "", "f": "", "kind": "track", "at": "browser"},
    }
    assert alike(of_events(folder, one, {**one, "properties": {"kind": "page"}})) == []
    assert [found.paths for found in alike(of_events(folder, {**one, "event": "u-1"}))] == [("/userId", "/event")]


def test_alike_is_a_warning(run: Run, folder: Path) -> None:
    """The case passes; with --alike the places are listed, without it nothing is said."""
    write(folder, "one.json", event=event(id="u-1"))
    run("--update")
    assert "alike" not in run().stdout
    result = run("--alike")
    assert result.exit_code == 0
    assert 'alike    cases/widget/one.json: /userId = /properties/id = "u-1"\n' in result.stdout
    assert "1 case with equal values in one event" in result.stdout
    (line,) = run("--alike", "--json").stdout.splitlines()
    assert json.loads(line)["alike"] == [{"event": 1, "value": "u-1", "paths": ["/userId", "/properties/id"]}]

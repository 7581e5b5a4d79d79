"""The pytest plugin: case files become tests, each with one JSON snapshot of its whole plan.

A case is a JSON or YAML file in a folder `cases/<destination>/`, or anywhere below it:

    {"doc": "what it shows", "settings": {"api_key": "…"}, "event": {…}}

`events` holds several; `destination` names another plugin than the folder does; `now` is the time that the clock
shows (default 2026-01-01T00:00:00Z). The plan is compared with `__snapshots__/<name>.json` beside it, as it is by
`turnout check`. To write or renew snapshots: `pytest --snapshot-update`, or `turnout check --update`; a snapshot
without a case fails the collection of its folder. A run with cases that fails, stops early or ignores files deletes no
other one.

The case of a source lies in `cases/<source>/` and has a `payload`; its snapshot holds the events that are read of it.

With `--turnout-coverage` the summary says what the cases that passed pin, and `--turnout-min-coverage 100` fails below
that; under pytest-xdist too.

The plugin is a module outside the package, with late imports, so that coverage of turnout stays true.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

__all__: list[str] = []

_SEEN = pytest.StashKey[dict[Path, list[Path]]]()
_CASES = pytest.StashKey[set[Path]]()
_CASE = "turnout_case"
"""The property of a report that says which case passed; with pytest-xdist it comes from a worker so."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for what cases pin."""
    group = parser.getgroup("turnout")
    group.addoption("--turnout-coverage", action="store_true", help="show what the cases that passed pin")
    group.addoption("--turnout-min-coverage", type=float, metavar="PERCENT", help="fail below so much coverage")


def pytest_configure(config: pytest.Config) -> None:
    """Watch which cases pass, in the process that reports."""
    if _wanted(config) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Coverage(config), "turnout-coverage")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Let syrupy delete nothing after a run that failed, or left out cases: what had no turn would count as unused."""
    option = session.config.option
    shared = getattr(option, "dist", "no") != "no"  # with pytest-xdist only the workers see cases
    cases = session.config.stash.get(_CASES, set())
    whole = exitstatus == pytest.ExitCode.OK and not (option.collectonly or option.setuponly or option.setupplan)
    whole = whole and _complete(session.config, cases)
    if (shared or cases) and not whole and getattr(option, "update_snapshots", False):
        option.update_snapshots = False
        option.disable_unused_snapshots = True
    return (yield)


def _complete(config: pytest.Config, cases: set[Path]) -> bool:
    """Return whether these are all the cases of their folders; syrupy doesn't hear of one that `--ignore` hides.

    Of single files that are asked for by name it does.
    """
    from turnout._casefiles import is_case

    named = {(config.invocation_params.dir / arg.partition("::")[0]).parent for arg in config.args}
    folders = {case.parent for case in cases} - named
    return all(one in cases for folder in folders for one in folder.iterdir() if is_case(one))


def _wanted(config: pytest.Config) -> bool:
    return bool(config.getoption("turnout_coverage")) or config.getoption("turnout_min_coverage") is not None


class Coverage:
    """Collects the cases that passed, wherever they ran, and reports at the end what they pin."""

    def __init__(self, config: pytest.Config) -> None:
        self.floor: float | None = config.getoption("turnout_min_coverage")
        self.passed: list[Path] = []
        self.lines: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the case of a test that passed."""
        if report.when == "call" and report.passed:
            self.passed += [Path(str(value)) for name, value in report.user_properties if name == _CASE]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Ask what the cases pin; too little of it fails the run."""
        from turnout._coveragescreen import coverage_lines
        from turnout._processes import cores
        from turnout.casecoverage import coverage
        from turnout.errors import TurnoutError

        try:
            found = coverage(sorted(self.passed), jobs=cores())
        except TurnoutError as error:
            self.lines, enough = [str(error)], False
        else:
            self.lines = [line.plain for line in coverage_lines(found, self.floor)]
            enough = self.floor is None or found.percent >= self.floor
        if not enough and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write it."""
        terminalreporter.section("what the cases pin")
        for line in self.lines:
            terminalreporter.write_line(line)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the cases, and look at the snapshots, so that none outlives its case."""
    if "cases" not in file_path.parts:
        return None
    from turnout._casefiles import is_case, is_snapshot

    if is_case(file_path):
        parent.config.stash.setdefault(_CASES, set()).add(file_path)
        return CaseFile.from_parent(parent, path=file_path)
    if is_snapshot(file_path):
        return SnapshotFile.from_parent(parent, path=file_path)
    return None


class CaseFile(pytest.File):
    """One case file."""

    def collect(self) -> Iterable[pytest.Item]:
        """Yield the test of this case; fail when its folder holds a snapshot without a case."""
        from turnout._casefiles import fault

        wrong = fault(self.path)
        if wrong is not None:
            raise self.CollectError(wrong)
        _check_orphans(self, self.path.parent)
        yield CaseTest.from_parent(self, name=self.path.stem, callobj=_make_test(self.path))


class SnapshotFile(pytest.File):
    """One snapshot; it has no test of its own."""

    def collect(self) -> Iterable[pytest.Item]:
        """Fail when this snapshot has no case, also when none is left in its folder that could notice."""
        folder = self.path.parent.parent
        if self.path in _orphans(self, folder):
            _check_orphans(self, folder)
        return []


def _check_orphans(collector: pytest.File, folder: Path) -> None:
    found = _orphans(collector, folder)
    if not found:
        return
    if collector.config.getoption("update_snapshots", default=False):
        for one in found:
            one.unlink(missing_ok=True)
        return
    listed = ", ".join(one.name for one in found)
    raise collector.CollectError(f"{found[0].parent} has snapshots without a case: {listed}. Delete them.")


def _orphans(collector: pytest.File, folder: Path) -> list[Path]:
    """Return the orphans of a folder; it is looked at once, however many cases it has."""
    from turnout._casefiles import orphans

    seen = collector.session.stash.setdefault(_SEEN, {})
    if folder not in seen:
        seen[folder] = orphans(folder)
    return seen[folder]


class CaseTest(pytest.Function):
    """The test of one case; its failure is shown without pytest's own frames."""

    def runtest(self) -> None:
        """Run the case; its report says which it was, when what cases pin is asked for."""
        if _wanted(self.config):
            self.user_properties.append((_CASE, str(self.path)))
        super().runtest()

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the case stands."""
        return self.path, 0, f"case {self.path.parent.name}/{self.name}"


def _make_test(path: Path) -> Any:
    def case(snapshot: Any) -> None:
        __tracebackhide__ = True
        from turnout._hang import patrolled
        from turnout.errors import ConfigError
        from turnout.sourcecases import load_case

        wrong = ""
        try:
            with patrolled():
                pinned = load_case(path).pinned()
        except ConfigError as error:
            wrong = str(error)
        if wrong:
            pytest.fail(wrong if str(path) in wrong else f"{path}: {wrong}", pytrace=False)
        assert pinned == snapshot(extension_class=_extension())

    return case


def _extension() -> type[Any]:
    """Return the syrupy extension that keeps one strict JSON file for each case."""
    from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

    class CaseSnapshot(SingleFileSnapshotExtension):
        _write_mode = WriteMode.TEXT
        file_extension = "json"

        def serialize(self, data: Any, **_options: Any) -> str:
            from turnout.cases import dump

            return dump(data)

        @classmethod
        def dirname(cls, *, test_location: Any) -> str:
            return str(_snapshot(test_location).parent)

        @classmethod
        def get_snapshot_name(cls, *, test_location: Any, index: Any = 0) -> str:
            return _snapshot(test_location).stem

    return CaseSnapshot


def _snapshot(test_location: Any) -> Path:
    from turnout._casefiles import snapshot_of

    return snapshot_of(Path(test_location.filepath))

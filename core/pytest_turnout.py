"""The pytest plugin: case files become tests, each with one JSON snapshot of its whole plan.

A case is a JSON or YAML file in a folder `cases/<destination>/`, or anywhere below it:

    {"doc": "what it shows", "settings": {"api_key": "…"}, "event": {…}}

`events` holds several; `destination` names another plugin than the folder does; `now` is the time that the clock
shows (default 2026-01-01T00:00:00Z). The plan is compared with `__snapshots__/<name>.json` beside it, as it is by
`turnout check`. To write or renew snapshots: `pytest --snapshot-update`, or `turnout check --update`; a snapshot
without a case fails the collection of its folder.

The plugin is a module outside the package, with late imports, so that coverage of turnout stays true.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

__all__: list[str] = []

_SEEN = pytest.StashKey[dict[Path, list[Path]]]()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the cases, and look at the snapshots, so that none outlives its case."""
    if "cases" not in file_path.parts:
        return None
    from turnout._casefiles import is_case, is_snapshot

    if is_case(file_path):
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

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the case stands."""
        return self.path, 0, f"case {self.path.parent.name}/{self.name}"


def _make_test(path: Path) -> Any:
    def case(snapshot: Any) -> None:
        __tracebackhide__ = True
        from turnout.cases import Case
        from turnout.errors import ConfigError

        wrong = ""
        try:
            plans = Case.load(path).pinned()
        except ConfigError as error:
            wrong = str(error)
        if wrong:
            pytest.fail(wrong if str(path) in wrong else f"{path}: {wrong}", pytrace=False)
        assert plans == snapshot(extension_class=_extension())

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

"""The pytest plugin: case files become tests, each with one JSON snapshot of its whole plan.

A case is a JSON file in a folder `cases/<destination>/`:

    {"doc": "what it shows", "settings": {"api_key": "…"}, "event": {…}}

`events` holds several; `destination` names another plugin than the folder does; `now` is the time that the clock
shows (default 2026-01-01T00:00:00Z). The plan is compared with `__snapshots__/<name>.json` beside it. To write or
renew snapshots: `pytest --snapshot-update`; a snapshot without a case fails the collection of its folder.

The plugin is a module outside the package, with late imports, so that coverage of turnout stays true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

__all__: list[str] = []

_FOLDER = "cases"
_SNAPSHOTS = "__snapshots__"
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect `cases/<destination>/<name>.json`, and look at the snapshots, so that none outlives its case."""
    folder = file_path.parent
    if file_path.suffix == ".json" and folder.parent.name == _FOLDER:
        return CaseFile.from_parent(parent, path=file_path)
    if folder.name == _SNAPSHOTS and folder.parent.parent.name == _FOLDER:
        return SnapshotFile.from_parent(parent, path=file_path)
    return None


class CaseFile(pytest.File):
    """One case file."""

    def collect(self) -> Iterable[pytest.Item]:
        """Yield the test of this case; fail when its folder holds a snapshot without a case."""
        if not _NAME.fullmatch(self.path.stem):
            raise self.CollectError(
                f"{self.path.name}: call a case in small letters, digits and _, as in order_split.json."
            )
        _check_orphans(self, self.path.parent)
        yield CaseTest.from_parent(self, name=self.path.stem, callobj=_make_test(self.path))


class SnapshotFile(pytest.File):
    """One snapshot; it has no test of its own."""

    def collect(self) -> Iterable[pytest.Item]:
        """Fail when this snapshot has no case, also when none is left in its folder that could notice."""
        if not (self.path.parent.parent / self.path.name).is_file():
            _check_orphans(self, self.path.parent.parent)
        return []


def _check_orphans(collector: pytest.File, folder: Path) -> None:
    orphans = [one for one in sorted((folder / _SNAPSHOTS).glob("*")) if not (folder / one.name).is_file()]
    if not orphans:
        return
    if collector.config.getoption("update_snapshots", default=False):
        for one in orphans:
            one.unlink(missing_ok=True)
        return
    listed = ", ".join(one.name for one in orphans)
    raise collector.CollectError(f"{folder / _SNAPSHOTS} has snapshots without a case: {listed}. Delete them.")


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
            plans = Case.load(path).plan()
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
            return str(Path(test_location.filepath).parent / _SNAPSHOTS)

        @classmethod
        def get_snapshot_name(cls, *, test_location: Any, index: Any = 0) -> str:
            return Path(test_location.filepath).stem

    return CaseSnapshot

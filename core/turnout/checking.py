"""Checking cases: which there are, whether each still gives what its snapshot says, and what changed in it if not.

A case is an event with the plan that a destination makes of it, or a payload with the events that a source makes of it.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import chain
from pathlib import Path

import msgspec

from turnout import _casefiles
from turnout._processes import shared_out
from turnout.alike import Alike, alike
from turnout.cases import Case, Pinned, dump
from turnout.destination import load_destination
from turnout.differences import Difference, differences
from turnout.dispatcher import Dispatcher
from turnout.errors import ConfigError, TurnoutError
from turnout.sourcecases import SourceCase, load_case
from turnout.watchdog import TooLong

__all__ = ["Prepared", "Result", "Status", "Suite", "check", "find", "prepared", "quiet"]

_MANY = 100
"""Fewer cases than this are done before other processes have begun."""
_CHUNK = 25
_KEPT = 500
_MOST_HANGS = 3
"""So many cases of a process are waited for at most whose mapping does not come back."""
_LEFT_OUT = {"build", "dist", "node_modules", "venv", "CVS", "_darcs", "__pycache__"}
"""Folders that pytest doesn't look into either; those that begin with a dot are left out too."""


class Status(StrEnum):
    """What came of one case, or of a snapshot without one."""

    PASSED = "passed"
    CHANGED = "changed"
    """The plan, or what is read, is not what the snapshot says."""
    NEW = "new"
    """There is no snapshot yet."""
    WRONG = "wrong"
    """The case can't be run: its file or its settings are wrong."""
    ORPHAN = "orphan"
    """A snapshot whose case is gone."""
    WRITTEN = "written"
    """The snapshot was written, on request."""
    RENEWED = "renewed"
    """The snapshot was replaced, on request."""
    DELETED = "deleted"
    """The snapshot had no case and was deleted, on request."""


_BAD = frozenset({Status.CHANGED, Status.NEW, Status.WRONG, Status.ORPHAN})


class Suite(msgspec.Struct, frozen=True):
    """The files of cases, the snapshots beside them that have no case, and how many cases a filter left out."""

    cases: tuple[Path, ...]
    orphans: tuple[Path, ...] = ()
    left_out: int = 0


class Prepared(msgspec.Struct, frozen=True):
    """A case, or one variant of a case with several profiles, with a dispatcher that is configured for it."""

    case: Case
    dispatcher: Dispatcher


class Result(msgspec.Struct, frozen=True):
    """What came of one case; of an orphan `path` is the snapshot."""

    path: Path
    status: Status
    message: str = ""
    """What is wrong, where it is not the plan that changed."""
    differences: tuple[Difference, ...] = ()
    doc: str = ""
    alike: tuple[Alike, ...] = ()
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing has to be done about it."""
        return self.status not in _BAD

    @property
    def is_orphan(self) -> bool:
        """Whether it is about a snapshot without a case."""
        return self.status in (Status.ORPHAN, Status.DELETED)

    @property
    def snapshot(self) -> Path:
        """The file of the snapshot."""
        if self.is_orphan:
            return self.path
        return _casefiles.snapshot_of(self.path)

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data; what it took is left out, so that the same cases give the same lines."""
        return {
            "case": None if self.is_orphan else self.path.as_posix(),
            "snapshot": self.snapshot.as_posix(),
            "status": self.status.value,
            "message": self.message or None,
            "differences": [one.to_dict() for one in self.differences],
            "alike": [{"event": one.event, "value": one.value, "paths": one.paths} for one in self.alike],
        }


# Which cases there are


def find(places: Iterable[Path], text: str = "") -> Suite:
    """Return the cases of folders and files, in order; `text` keeps those that have it in their path (in any case).

    The rules are pytest's. Raises `ConfigError` for a place that isn't there, and for a file that is no case.
    """
    cases: dict[Path, Path] = {}
    folders: dict[Path, Path] = {}
    for place in places:
        for path in _files(place):
            cases.setdefault(_casefiles.absolute(path), path)
            folders.setdefault(_casefiles.absolute(path.parent), path.parent)
        for folder in _with_snapshots(place):
            folders.setdefault(_casefiles.absolute(folder), folder)
    kept = [path for path in cases.values() if text.lower() in path.as_posix().lower()]
    orphans = [one for folder in folders.values() for one in _casefiles.orphans(folder)]
    return Suite(tuple(kept), tuple(orphans), len(cases) - len(kept))


def _files(place: Path) -> Iterator[Path]:
    if place.is_dir():
        for folder, names in _walk(place):
            yield from _casefiles.cases_in(folder, names)
        return
    if not place.exists():
        raise ConfigError(f"{place}: there is no such file or folder.")
    whole = _casefiles.absolute(place)
    if not _casefiles.is_case(whole):
        is_snapshot = _casefiles.is_snapshot(whole)
        advice = "It is a snapshot: name its case" if is_snapshot else "A case lies in cases/<destination>/<name>.json"
        raise ConfigError(f"{place}: is no case. {advice}.")
    yield place


def _with_snapshots(place: Path) -> Iterator[Path]:
    """Yield the folders below `place` that hold snapshots of cases, also when no case is left there."""
    if place.is_dir():
        for folder, _ in _walk(place):
            if (folder / _casefiles.SNAPSHOTS).is_dir() and _casefiles.holds_cases(_casefiles.absolute(folder)):
                yield folder


def _walk(place: Path) -> Iterator[tuple[Path, list[str]]]:
    for folder, inner, names in os.walk(place, onerror=_unreadable):
        inner[:] = sorted(name for name in inner if not _is_left_out(Path(folder, name)))
        yield Path(folder), names


def _unreadable(error: OSError) -> None:
    raise ConfigError(f"{error.filename}: can't be read: {error.strerror}.") from None


def _is_left_out(folder: Path) -> bool:
    name = folder.name
    return name.startswith(".") or name in _LEFT_OUT or name.endswith(".egg") or (folder / "pyvenv.cfg").is_file()


# Running them


def prepared(paths: Iterable[Path]) -> Iterator[Prepared]:
    """Yield each case (each variant of a case with several profiles) with its dispatcher.

    Cases with equal destination, settings and clock share one. Raises `ConfigError` for a case that is wrong.
    """
    shared = _Shared()
    for path in paths:
        for case in Case.load(path).each():
            yield Prepared(case, shared.dispatcher(case))


class _Shared:
    """The dispatchers of cases, made once for those with equal destination, settings, tracking plan and clock."""

    def __init__(self) -> None:
        self._load = functools.cache(load_destination)
        self._made: dict[tuple[str, bytes, Path | None, float], Dispatcher] = {}

    def dispatcher(self, case: Case) -> Dispatcher:
        settings = msgspec.json.encode(case.settings, order="sorted")
        key = (case.destination, settings, case.tracking_plan, case.now.timestamp())
        if key not in self._made:
            if len(self._made) >= _KEPT:
                self._made.clear()
            self._made[key] = case.dispatcher(self._load)
        return self._made[key]


def check(
    suite: Suite, *, update: bool = False, look_alike: bool = False, fail_fast: bool = False, jobs: int = 1
) -> Iterator[Result]:
    """Yield what came of each case of `suite`, in its order, and of each snapshot without a case.

    `update` writes the snapshots of new and changed cases and deletes those without a case; `look_alike` looks for
    equal values in each event; `fail_fast` ends with the first result that is not good. With `jobs` above 1 so many
    processes check a large suite. Raises `TurnoutError` when one of them dies.
    """
    checker = _Checker(update, look_alike)
    size = _CHUNK if len(suite.cases) >= _MANY else 1
    lots = [suite.cases[begin : begin + size] for begin in range(0, len(suite.cases), size)]
    results = shared_out(checker, lots, jobs if size > 1 else 1, "checked cases")
    for result in chain.from_iterable(results):
        yield result
        if fail_fast and not result.good:
            return
    for path in suite.orphans:
        result = _orphan(path, update)
        yield result
        if fail_fast and not result.good:
            return


def _orphan(path: Path, update: bool) -> Result:
    if not update:
        return Result(path, Status.ORPHAN, "The snapshot has no case. Delete it, or bring the case back.")
    try:
        path.unlink()
    except OSError as error:
        return Result(path, Status.ORPHAN, f"The snapshot has no case and can't be deleted: {error.strerror}.")
    return Result(path, Status.DELETED)


class _Checker:
    """Checks one case after the other, in this process."""

    def __init__(self, update: bool, look_alike: bool) -> None:
        self.update = update
        self.look_alike = look_alike
        self._shared = _Shared()
        self._hung = 0

    def __reduce__(self) -> tuple[type[_Checker], tuple[bool, bool]]:
        return _Checker, (self.update, self.look_alike)

    def __call__(self, paths: Iterable[Path]) -> list[Result]:
        """Return what came of each of these cases."""
        return [self.result(path) for path in paths]

    def result(self, path: Path) -> Result:
        """Return what came of the case in a file."""
        begin = time.perf_counter()
        try:
            with quiet():
                result = self._checked(path)
        except TooLong as error:
            result = self._interrupted(path, error)
        except TurnoutError as error:
            message = str(error).removeprefix(f"{path}: ").removeprefix(f"{path.name}: ")
            result = Result(path, Status.WRONG, message)
        return msgspec.structs.replace(result, seconds=time.perf_counter() - begin)

    def _interrupted(self, path: Path, error: TooLong) -> Result:
        """Return the result of a case whose mapping did not come back; raises the error where some did not before."""
        from turnout._hang import Hang

        if self._hung >= _MOST_HANGS:
            raise error
        self._hung += 1
        return Result(path, Status.WRONG, Hang.of(error).message)

    def _checked(self, path: Path) -> Result:
        wrong = _casefiles.fault(path)
        if wrong is not None:
            raise ConfigError(wrong)
        case = load_case(path)
        result = self._compared(path, dump(self._pinned(case)))
        found = tuple(alike(case)) if self.look_alike else ()
        return msgspec.structs.replace(result, doc=case.doc, alike=found)

    def _pinned(self, case: Case | SourceCase) -> Pinned:
        return case.pinned() if isinstance(case, SourceCase) else case.pinned(self._shared.dispatcher)

    def _compared(self, path: Path, now: str) -> Result:
        snapshot = _casefiles.snapshot_of(path)
        was = _text(snapshot)
        if was == now:
            return Result(path, Status.PASSED)
        if self.update:
            _write(snapshot, now)
            return Result(path, Status.WRITTEN if was is None else Status.RENEWED)
        if was is None:
            return Result(path, Status.NEW, "There is no snapshot yet.")
        return _changed(path, was, now)


def _text(snapshot: Path) -> str | None:
    """Return the text of a snapshot, None when there is none."""
    try:
        return snapshot.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return ""
    except OSError as error:
        raise ConfigError(f"{snapshot}: can't be read: {error.strerror}.") from None


def _write(snapshot: Path, text: str) -> None:
    try:
        snapshot.parent.mkdir(exist_ok=True)
        snapshot.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{snapshot}: can't be written: {error.strerror}.") from None


def _changed(path: Path, was: str, now: str) -> Result:
    try:
        found = tuple(differences(json.loads(was), json.loads(now)))
    except (ValueError, RecursionError):
        return Result(path, Status.CHANGED, "The snapshot is not JSON any more.")
    message = "" if found else "The values are the same, but the snapshot is not written as it would be."
    return Result(path, Status.CHANGED, message, found)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep turnout's log still inside: what it would say of an event is in the plan, and so in the snapshot."""
    logger = logging.getLogger("turnout")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)

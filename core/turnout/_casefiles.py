"""Which files are cases, and where their snapshots lie: one set of rules for pytest and for `turnout check`.

A case is a `.json`, `.yaml` or `.yml` file anywhere below a folder `cases/<destination>/`; its snapshot is
`__snapshots__/<name>.json` beside it. `profiles.json` (or `.yaml`) holds settings for cases and is none itself, nor is
`survivors.json`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "SNAPSHOTS",
    "SURVIVORS",
    "absolute",
    "cases_in",
    "destination_of",
    "fault",
    "holds_cases",
    "is_case",
    "is_snapshot",
    "orphans",
    "profiles_of",
    "snapshot_of",
    "suite_folders",
    "suite_of",
]

SNAPSHOTS = "__snapshots__"
_FOLDER = "cases"
_SUFFIXES = (".json", ".yaml", ".yml")
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
SURVIVORS = "survivors.json"
"""The file with mutants that no case has to notice."""
_PROFILES = "profiles"
_NO_CASES = (_PROFILES, "survivors")
# What tells the folder of a project: a folder `cases` above it has nothing to do with its files.
_PROJECT = (".git", "pyproject.toml", "setup.cfg", "setup.py", "pytest.ini", "tox.ini", "turnout.toml")


def absolute(path: Path) -> Path:
    """Return the path from the root, without `..`; links stay what they are called."""
    return Path(os.path.abspath(path))


def is_case(path: Path) -> bool:
    """Return whether a file is a case, by its suffix and its place; the path is absolute, as for all that follows."""
    return _looks_so(path.name) and holds_cases(path.parent)


def holds_cases(folder: Path) -> bool:
    """Return whether JSON and YAML files in this folder are cases."""
    suite = suite_of(folder)
    return suite is not None and SNAPSHOTS not in folder.relative_to(suite).parts


def cases_in(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return those of the files called `names` in a folder that are cases, in order."""
    found = sorted(name for name in names if _looks_so(name))
    return [folder / name for name in found] if found and holds_cases(absolute(folder)) else []


def _looks_so(name: str) -> bool:
    stem, dot, suffix = name.rpartition(".")
    return dot + suffix in _SUFFIXES and stem not in _NO_CASES


def is_snapshot(path: Path) -> bool:
    """Return whether a file is the snapshot of a case, or was."""
    return path.parent.name == SNAPSHOTS and suite_of(path.parent.parent) is not None


def suite_of(folder: Path) -> Path | None:
    """Return the folder `cases` that `folder` lies below, None when there is none in its project."""
    below: list[Path] = []
    for one in (folder, *folder.parents):
        if one.name == _FOLDER:
            outside = any(os.path.exists(f"{inner}/{mark}") for inner in below for mark in _PROJECT)
            return one if below and not outside else None
        below.append(one)
    return None


def destination_of(path: Path) -> str:
    """Return the destination that a case is for unless it says otherwise: the folder directly below `cases`."""
    folder = absolute(path).parent
    suite = suite_of(folder)
    return folder.name if suite is None else folder.relative_to(suite).parts[0]


def snapshot_of(path: Path) -> Path:
    """Return where the snapshot of a case lies."""
    return path.parent / SNAPSHOTS / f"{path.stem}.json"


def fault(path: Path) -> str | None:
    """Return what is wrong with the name of a case, None when nothing is."""
    if not _NAME.fullmatch(path.stem):
        return f"{path.name}: call a case in small letters, digits and _, as in order_split.json."
    others = [one.name for one in _called(path.parent, path.stem) if one.name != path.name]
    if others:
        return f"{path.name}: {' and '.join(others)} would share its snapshot. Give each case another name."
    return None


def orphans(folder: Path) -> list[Path]:
    """Return the snapshots beside the cases of `folder` that have no case (any more)."""
    kept = folder / SNAPSHOTS
    if not kept.is_dir():
        return []
    names = os.listdir(folder)
    wanted = {f"{Path(name).stem}.json" for name in names if name.endswith(_SUFFIXES)} - {
        f"{one}.json" for one in _NO_CASES
    }
    return [kept / name for name in sorted(os.listdir(kept)) if name not in wanted]


def profiles_of(path: Path) -> list[Path]:
    """Return the files of settings profiles in the nearest folder that has any: the case's own, or above to `cases`."""
    folder = absolute(path).parent
    suite = suite_of(folder) or folder
    for place in (folder, *folder.parents):
        found = _called(place, _PROFILES)
        if found or place == suite:
            return found
    return []


def suite_folders(path: Path) -> list[Path]:
    """Return the folder of a case and those above it, to `cases`."""
    folder = absolute(path).parent
    suite = suite_of(folder) or folder
    return [one for one in (folder, *folder.parents) if one.is_relative_to(suite)]


def _called(folder: Path, stem: str) -> list[Path]:
    return [one for suffix in _SUFFIXES if (one := folder / f"{stem}{suffix}").is_file()]

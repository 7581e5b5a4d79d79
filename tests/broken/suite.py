"""Destinations installed for the tests of the contract suite, with cases, and what its checks say of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.outcomes import Failed, Skipped

from broken.faults import FAULTS
from turnout._casefiles import snapshot_of
from turnout.cases import Case, dump
from turnout.errors import ConfigError
from turnout.testing import DestinationContract

CHECKS = [name.removeprefix("test_") for name in vars(DestinationContract) if name.startswith("test_")]
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

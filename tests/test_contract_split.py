"""Split keeps the rules of the house, and its simulator takes every request that its cases plan."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec
import pytest

from turnout.cases import Case
from turnout.settings import describe
from turnout.testing import DestinationContract
from turnout_split import SplitSettings
from turnout_split.simulator import SplitSimulator

FOLDER = Path(__file__).parent / "cases" / "split"
CASES = sorted(FOLDER.glob("*.json"))


class TestSplit(DestinationContract):
    """Split, as it is installed."""

    destination = "split"
    settings: ClassVar = {
        "sdk_key": "sdk-key-1",
        "environment": "Prod-Default",
        "sync_segments": True,
        "admin_api_key": "admin-key-2",
        "workspace_id": "workspace-3",
        "environment_id": "environment-4",
        "traffic_type_id": "traffic-type-5",
    }


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_simulator_takes_what_a_case_plans(path: Path) -> None:
    """Each request is answered with 200 or 202, and no event is dropped afterwards."""
    case = Case.load(path)
    simulator = SplitSimulator()
    simulator.strict = case.settings.get("event_type_length", 63) <= 63
    prepared: set[str] = set()
    for event in case.events:
        for plan in case.dispatcher().plan(msgspec.json.encode(event)):
            for request in plan.requests:
                parts = urlsplit(request.url)
                _prepare(simulator, parts.path, prepared)
                target = f"{parts.path}?{parts.query}" if parts.query else parts.path
                answer = simulator.check(request.method, target, request.headers, request.body)
                assert answer.status in (200, 202), answer
    assert simulator.dropped == []


def _prepare(simulator: SplitSimulator, path: str, prepared: set[str]) -> None:
    """Make the segment that a case takes for granted."""
    found = re.fullmatch(r"/internal/api/v2/segments/([^/]+)/([^/]+)/(uploadKeys|removeKeys)", path)
    if found and found[2] not in simulator.store.keys.get(found[1], {}):
        simulator.store.create("a workspace", {"id": "t", "name": "user"}, {"name": found[2]}, 0)
        simulator.store.activate(found[1], found[2])


def test_every_setting_has_a_case() -> None:
    """Each setting of the destination is given in at least one case."""
    given = {name for path in CASES for name in Case.load(path).settings}
    core = {"base_url", "max_requests_per_second", "max_events_per_second"}
    assert {one.name for one in describe(SplitSettings)} - core <= given


def test_values_of_a_case_differ() -> None:
    """Within an event of a case no two text values are alike, so that swapped fields would be noticed."""
    spoilt = {}
    for path in CASES:
        for event in Case.load(path).events:
            texts = [text for text in _texts(event) if text not in ("audience", event["type"], "")]
            spoilt.update({f"{path.stem}: {text}": 1 for text in texts if texts.count(text) > 1})
    assert spoilt == {}


def _texts(value: Any) -> list[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] if isinstance(value, str) else [text for one in inner for text in _texts(one)]

"""What every destination has to keep, kept by Segment's; and what its cases plan, kept by its simulator."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from turnout.cases import Case
from turnout.testing import DestinationContract
from turnout_segment.simulator import SegmentSimulator

CASES = sorted((Path(__file__).parent / "cases" / "segment").glob("*.json"))


class TestSegment(DestinationContract):
    """The contract suite."""

    destination = "segment"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_segment_keeps_what_a_case_plans(path: Path) -> None:
    """Every event of a request is kept; of a deletion Segment says nothing, and drops it."""
    simulator, sent, case = SegmentSimulator(), list[str](), Case.load(path)
    dispatcher = case.dispatcher()
    plans = [plan for event in case.events for row in dispatcher.plan_body(msgspec.json.encode(event)) for plan in row]
    for request in [request for plan in plans for request in plan.requests]:
        headers = {**request.headers, "host": urlsplit(request.url).netloc}
        answer = simulator.check(request.method, "/v1/batch", headers, request.body)
        assert (answer.status, answer.body) == (200, {"success": True})
        sent += [call["type"] for call in request.to_dict()["body"]["batch"]]
    assert [one["message"]["type"] for one in simulator.discarded] == [kind for kind in sent if kind == "delete"]
    assert [one["type"] for one in simulator.events] == [kind for kind in sent if kind != "delete"]

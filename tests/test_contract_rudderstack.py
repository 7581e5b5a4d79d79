"""What every destination has to keep, kept by RudderStack's; and what its cases plan, kept by its simulator."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from turnout.cases import Case
from turnout.testing import DestinationContract
from turnout_rudderstack.simulator import RudderStackSimulator

CASES = sorted((Path(__file__).parent / "cases" / "rudderstack").glob("*.json"))


class TestRudderStack(DestinationContract):
    """The contract suite."""

    destination = "rudderstack"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_rudderstack_stores_what_a_case_plans(path: Path) -> None:
    """Every request is answered OK, and every event of it stored."""
    simulator, sent, case = RudderStackSimulator(), 0, Case.load(path)
    dispatcher = case.dispatcher()
    plans = [plan for event in case.events for row in dispatcher.plan_body(msgspec.json.encode(event)) for plan in row]
    for request in [request for plan in plans for request in plan.requests]:
        answer = simulator.check(request.method, "/v1/batch", request.headers, request.body)
        assert (answer.status, answer.body) == (200, "OK")
        sent += len(request.items)
    assert len(simulator.events) == sent

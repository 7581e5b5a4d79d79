"""What the rules make is what the vendor takes, and what it refuses harms nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from turnout import Dispatcher, Outcome
from turnout.cases import Case

from turnout_acme_analytics import AcmeAnalytics
from turnout_acme_analytics.simulator import AcmeAnalyticsSimulator

CASES = sorted(Path(__file__).parent.glob("cases/acme_analytics/*.json"))


def dispatcher(simulator: AcmeAnalyticsSimulator, **settings: Any) -> Dispatcher:
    """Return a dispatcher whose requests reach the simulator in this process."""
    destination = AcmeAnalytics({"api_key": "key-1", **settings})
    return Dispatcher([destination], transport=httpx.ASGITransport(app=simulator))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_vendor_takes_what_a_case_plans(path: Path) -> None:
    """No request of a case is refused."""
    case = Case.load(path)
    settled = dispatcher(AcmeAnalyticsSimulator(), **case.settings).send(case.events)
    assert {one.outcome for one in settled} <= {Outcome.DELIVERED, Outcome.DROPPED, Outcome.INVALID}, settled


def test_a_refused_event_is_alone() -> None:
    """The others of its request are sent again without it."""
    simulator = AcmeAnalyticsSimulator()
    simulator.script("/v1/events", [{"status": 422, "body": {"error": "not today", "indexes": [1]}}])
    names = ["Report Exported", "Report Shared", "Report Deleted"]
    settled = dispatcher(simulator).send([{"type": "track", "userId": "u-1", "event": name} for name in names])
    assert [one.outcome for one in settled] == [Outcome.DELIVERED, Outcome.DEAD, Outcome.DELIVERED]
    assert [event["event"] for event in simulator.state()["events"]] == ["Report Exported", "Report Deleted"]


def test_an_answer_that_names_nobody_is_narrowed_down() -> None:
    """A 422 without indexes splits the request, so that good events are delivered all the same."""
    simulator = AcmeAnalyticsSimulator()
    simulator.script("/v1/events", [422, None, 422])
    names = ["Invoice Paid", "Invoice Sent"]
    settled = dispatcher(simulator).send([{"type": "track", "userId": "u-2", "event": name} for name in names])
    assert sorted(one.outcome for one in settled) == [Outcome.DEAD, Outcome.DELIVERED]

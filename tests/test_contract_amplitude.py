"""Amplitude keeps the contract; its simulator takes what the cases plan, and every rule of the book is pinned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from turnout.cases import Case
from turnout.docs import destination_page, rule_ids
from turnout.testing import DestinationContract
from turnout_amplitude import Amplitude
from turnout_amplitude.simulator import AmplitudeSimulator

FOLDER = Path(__file__).parent / "cases" / "amplitude"
CASES = sorted(FOLDER.glob("*.json"))

# How many rules each topic of the rule book has; this version implements every one.
RULES = {
    "GEN": 12,
    "HTTP": 12,
    "PAGE": 19,
    "IDENT": 19,
    "DEV": 14,
    "CTX": 27,
    "SESS": 5,
    "TRACK": 6,
    "REV": 24,
    "ORDER": 14,
    "GROUP": 9,
    "ALIAS": 5,
    "DEL": 2,
    "MOB": 4,
}
ALL = {f"AMP-{topic}-{number:02}" for topic, last in RULES.items() for number in range(1, last + 1)}
# Shown by tests, since no case can: a configuration error, purity, batches, how answers are read, flush and reset.
NO_CASE = {"AMP-GEN-02", "AMP-GEN-09", "AMP-HTTP-11", "AMP-HTTP-12", "AMP-MOB-01", "AMP-MOB-02"}


class TestAmplitude(DestinationContract):
    """Amplitude, as it is installed."""

    destination = "amplitude"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_simulator_takes_what_a_case_plans(path: Path) -> None:
    """Each request that a case plans is answered with 200, and holds no key that Amplitude doesn't know."""
    simulator = AmplitudeSimulator()
    dispatcher = Case.load(path).dispatcher()
    for event in Case.load(path).events:
        for plans in dispatcher.plan_body(msgspec.json.encode(event)):
            for plan in plans:
                for request in plan.requests:
                    headers = dict(request.headers)
                    _know_users(simulator, request.to_dict())
                    parts = urlsplit(request.url)
                    headers["host"] = parts.netloc
                    answer = simulator.check(request.method, parts.path, headers, request.body)
                    assert answer.status == 200, answer
    assert not simulator.unknown_keys


def _know_users(simulator: AmplitudeSimulator, shown: dict[str, Any]) -> None:
    for user in shown["body"].get("user_ids", []) if shown["endpoint"] == "deletions" else []:
        simulator.add_user(user_id=user)


def test_every_rule_has_a_case() -> None:
    """Each rule stands in the `rules` of at least one case."""
    pinned = {rule for path in CASES for rule in Case.load(path).rules}
    assert ALL - NO_CASE - pinned == set()


def test_every_rule_is_documented() -> None:
    """Each rule is named on the destination's page, by what implements it."""
    assert ALL - set(rule_ids(destination_page(Amplitude, "amplitude"))) == set()


def test_values_of_a_case_differ() -> None:
    """Within a case no two text values of the event are alike, so that swapped fields would be noticed.

    Names of cases about sameness say so: `same`, `several_lists`; words of the spec may stand twice.
    """
    spoilt = {}
    for path in CASES:
        case = Case.load(path)
        seen: dict[str, int] = {}
        for event in case.events:
            for text in _texts(event):
                seen[text] = seen.get(text, 0) + 1
        twice = sorted(text for text, times in seen.items() if times > 1 and not _WORDS.fullmatch(text))
        if twice and not re.search("same|several_lists|events?$", path.stem) and len(case.events) == 1:
            spoilt[path.stem] = twice
    assert spoilt == {}


_WORDS = re.compile(r"|track|page|screen|identify|group|alias|delete|iOS|Android|web|ios|android")


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) else []

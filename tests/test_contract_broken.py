"""Each check of the contract suite notices what it guards against, and says what, where, and how to mend it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from broken.faults import FAULTS, Fault
from broken.suite import CHECKS, contract, installed, name_of, result

__all__ = ["installed"]

FIRST = list({fault.check: fault for fault in reversed(FAULTS)}.values())[::-1]
FURTHER = [fault for fault in FAULTS if fault not in FIRST]


def test_every_check_has_a_fault() -> None:
    """For each check of the suite there is a destination that it has to notice."""
    assert {fault.check for fault in FIRST} == set(CHECKS)


SLOW = {"answers_become_outcomes", "success_is_delivered", "gives_the_same_answer_elsewhere"}
"""Checks that start a server or a process; faults in what is stated and mapped don't get there."""

HASTE = {"comes_back": {"seconds": 0.5}}
"""What the test class of a fault says, so that nobody waits for it."""


@pytest.mark.parametrize("fault", FIRST, ids=lambda fault: fault.place)
def test_the_check_that_guards_against_it_fails(installed: Path, fault: Fault) -> None:
    """It says what, where and how to mend it; no other check fails but those that can't help it."""
    kind = contract(installed, name_of(fault.place), examples=20, **HASTE.get(fault.check, {}))
    asked = CHECKS if fault.check in SLOW else [check for check in CHECKS if check not in SLOW]
    results = {check: result(kind, check) for check in asked}
    assert_noticed(fault, *results[fault.check])
    others = {check: told for check, (found, told) in results.items() if found == "failed" and check != fault.check}
    assert set(others) <= set(fault.others), others


@pytest.mark.parametrize("fault", FURTHER, ids=lambda fault: fault.place)
def test_a_check_fails_for_each_way_to_break_its_rule(installed: Path, fault: Fault) -> None:
    """The first fault is not the only one that it notices."""
    kind = contract(installed, name_of(fault.place), examples=20, **HASTE.get(fault.check, {}))
    assert_noticed(fault, *result(kind, fault.check))


def test_the_event_that_a_rule_hangs_on_is_small(installed: Path) -> None:
    """Nothing is left in it but what makes the rule hang; no other check waits for it again."""
    kind = contract(installed, "endless", seconds=0.5)
    outcome, message = result(kind, "comes_back")
    (event,) = (json.loads(line.removeprefix("  event   ")) for line in message.splitlines() if "  event   " in line)
    assert outcome == "failed"
    assert not event.keys() & {"context", "integrations", "traits", "projectId"}
    assert event["properties"].keys() == {"price"}
    assert list(kind.subject().hung) == ["tracked"]


def test_a_null_that_is_there_anyway_is_no_number_s_fault(installed: Path) -> None:
    """The check for NaN leaves it to the one for nulls, which says what to do."""
    assert result(contract(installed, "blank", examples=20), "makes_clean_json") == ("passed", "")


def assert_noticed(fault: Fault, outcome: str, message: str) -> None:
    assert outcome == "failed", message
    for words in (*fault.words, "\n  plugin  ", "\n  found   ", "\n  mend    "):
        assert words in message, message

"""Checks of a destination's cases: each rule has one, and each plan is the one that its snapshot keeps."""

from __future__ import annotations

from pathlib import Path

from turnout.checking import Result, Status, Suite, check
from turnout.destination import declared_rules
from turnout.testing._contract_subject import Subject
from turnout.testing._contract_words import Broken, NothingToSee, told_difference

__all__ = ["cases_match_their_snapshots", "every_rule_has_a_case"]

_UPDATE = "Run `turnout check --update`, read what has changed, and commit it."
_MEND = {
    Status.WRONG: "Mend the file.",
    Status.ORPHAN: "Delete it, or bring the case back.",
}


def every_rule_has_a_case(subject: Subject) -> None:
    """Look for rules that make no item in any case."""
    subject.configured(subject.settings)
    declared = [rule.id for rule in declared_rules(subject.kind)]
    ran = {rule for case in subject.cases for rule in case.rules}
    bare = [rule for rule in declared if rule not in ran]
    if bare:
        found = f"no case has an item of the {'rule' if len(bare) == 1 else 'rules'} {', '.join(bare)}"
        mend = (
            f"Write cases/{subject.name}/<name>.json with settings and an event for which the rule makes an item; or "
            f"take a recorded one: turnout case add events.jsonl -d {subject.name}."
        )
        raise Broken(found, mend, where=_place(subject))


def _place(subject: Subject) -> str:
    if subject.folder is None:
        return "there is no such folder of cases beside the test file or above it"
    return f"{len(subject.cases)} cases of {subject.name} in {subject.folder}"


def cases_match_their_snapshots(subject: Subject) -> None:
    """Compare the plans of every case with its snapshot."""
    subject.configured(subject.settings)
    mine = {case.path.parent for case in subject.cases}
    orphans = tuple(path for path in subject.suite.orphans if path.parent.parent in mine)
    if not subject.cases:
        raise NothingToSee("There are no cases.")
    for result in check(Suite(tuple(case.path for case in subject.cases), orphans)):
        if not result.good:
            raise _unlike(result, subject.folder)


def _unlike(result: Result, folder: Path | None) -> Broken:
    place = result.path.relative_to(folder) if folder and result.path.is_relative_to(folder) else result.path
    found = result.message
    if result.differences:
        found = f"the plan is not the one that its snapshot keeps, {told_difference(result.differences[0])}"
    return Broken(found, _MEND.get(result.status, _UPDATE), where=str(place))

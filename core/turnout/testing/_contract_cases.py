"""Checks of a destination's cases: each rule has one, and each plan is the one that its snapshot keeps."""

from __future__ import annotations

import json

from turnout._casefiles import snapshot_of
from turnout.destination import declared_rules
from turnout.testing._contract_subject import Pinned, Subject
from turnout.testing._contract_words import Broken, NothingToSee, difference

__all__ = ["cases_match_their_snapshots", "every_rule_has_a_case"]

_UPDATE = "Run `turnout check --update`, read what has changed, and commit the snapshot."


def every_rule_has_a_case(subject: Subject) -> None:
    """Look for rules that make no item in any case."""
    subject.configured(subject.settings)
    declared = [rule.id for rule in declared_rules(subject.kind)]
    if not declared:
        raise NothingToSee("The destination has no rule.")
    place = f"{subject.folder}" if subject.folder else "no folder `cases` beside the test file or above it"
    ran = {rule for pinned in subject.pinned for rule in pinned.rules}
    bare = [rule for rule in declared if rule not in ran]
    if bare:
        found = f"no case has an item of the {'rule' if len(bare) == 1 else 'rules'} {', '.join(bare)}"
        mend = (
            f"Write cases/{subject.name}/<name>.json with settings and an event for which the rule makes an item; or "
            f"take a recorded one: turnout case add events.jsonl -d {subject.name}."
        )
        where = f"{len(subject.pinned)} cases in {place}" if subject.folder else place
        raise Broken(found, mend, where=where)


def cases_match_their_snapshots(subject: Subject) -> None:
    """Compare the plans of every case with its snapshot."""
    subject.configured(subject.settings)
    if not subject.pinned:
        raise NothingToSee("There are no cases.")
    for pinned in subject.pinned:
        _check_snapshot(pinned)


def _check_snapshot(pinned: Pinned) -> None:
    where = f"{pinned.path}"
    if pinned.fault:
        raise Broken(f"a case can't be planned: {pinned.fault}", "Mend the file.", where=where)
    snapshot = snapshot_of(pinned.path)
    if not snapshot.is_file():
        raise Broken(f"the case {pinned.path.stem} has no snapshot", _UPDATE, where=where)
    try:
        kept = json.loads(snapshot.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Broken(f"the snapshot is no JSON: {error}", _UPDATE, where=str(snapshot)) from None
    if changed := difference(kept, pinned.pinned):
        found = f"the plan is not the one that its snapshot keeps, {changed} (snapshot and plan)"
        raise Broken(found, _UPDATE, where=where)

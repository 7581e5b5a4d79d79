"""Checks that nothing is declared in vain: every rule can run, and every endpoint gets items."""

from __future__ import annotations

from turnout.destination import declared_endpoints, declared_rules
from turnout.normalise import Normaliser
from turnout.testing._contract_subject import NOW, Subject
from turnout.testing._contract_words import Broken, NothingToSee

__all__ = ["every_endpoint_is_used", "every_rule_can_run"]


def every_rule_can_run(subject: Subject) -> None:
    """Ask for the rules of every event under every setting, and look for those that are never among them."""
    never = {rule.id: rule for rule in declared_rules(subject.kind)}
    if not never:
        raise NothingToSee("The destination has no rule.")
    for pinned in subject.cases:
        never = {name: rule for name, rule in never.items() if name not in pinned.rules}
    normaliser = Normaliser(clock=lambda: NOW)
    normalised = [normaliser.event(event) for _, event in subject.corpus]
    for _, _, dispatcher in subject.every:
        for destination in dispatcher.destinations.values():
            ran = {name for event in normalised for name, _ in destination.rules_for(event)}
            never = {name: rule for name, rule in never.items() if name not in ran}
    for name, rule in never.items():
        found = f"the rule '{name}' runs for no event under any settings"
        mend = (
            "See that its call types, its condition and its platforms can hold together; if it needs a certain event, "
            "write a case for it."
        )
        asked = (
            f"calls {', '.join(rule.call_types) or 'none'}; when {rule.when!r}; platforms {', '.join(rule.platforms)}"
        )
        raise Broken(found, mend, where=f"rule '{name}': {asked}")


def every_endpoint_is_used(subject: Subject) -> None:
    """Look for endpoints that no item goes to."""
    declared = [endpoint.name for endpoint in declared_endpoints(subject.kind)]
    if not declared:
        raise NothingToSee("The destination has no endpoint.")
    used = set(subject.covering)
    used |= {name for pinned in subject.cases for name in pinned.endpoints}
    for name in declared:
        if name not in used:
            found = f"no event becomes an item for the endpoint '{name}', under any settings"
            mend = "Take it out; or write a case with an event and settings for which a rule uses it."
            raise Broken(found, mend, where=f"endpoint '{name}'")

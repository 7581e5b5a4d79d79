"""Checks that every event gets an outcome: hostile ones, those that nothing is sent for, those kept away by gates."""

from __future__ import annotations

from typing import Any

import msgspec

from turnout._hang import Hang, patrol
from turnout._json import pointer
from turnout._trial import Trial
from turnout.plan import Plan
from turnout.reasons import Code, Outcome
from turnout.testing import _contract_events as events
from turnout.testing._contract_subject import NOW, Entry, Looked, Subject, rules_of
from turnout.testing._contract_words import Broken, NothingToSee, shown
from turnout.watchdog import TooLong

__all__ = ["comes_back", "honours_the_gates", "says_why_nothing_is_sent", "survives_hostile_events"]

_NO_REASONS = {
    *(Code.DELIVERED, Code.VENDOR_REFUSED, Code.VENDOR_UNAVAILABLE, Code.ENDPOINT_GONE, Code.RATE_LIMITED),
    *(Code.CREDENTIALS_REFUSED, Code.UNREACHABLE, Code.TIMED_OUT),
}
_SHORTEST = 8
_SOON, _MOST_WAITS = 0.05, 100
_FREE = ("properties", "traits", "integrations")


class _Fell(Exception):
    """An event that got no proper outcome."""

    def __init__(self, event: Any, found: str, mend: str = "") -> None:
        super().__init__(found)
        self.event = event
        self.found = found
        self.mend = mend


def comes_back(subject: Subject) -> None:
    """Map every event, and look for rules that are still at it after some seconds; no other check asks them again."""
    try:
        subject.planned  # noqa: B018 - it is made here, or has been made
    except NothingToSee:
        if not subject.hung:
            raise
    for hang in subject.hung.values():
        raise not_back(hang, _least(hang))


def _least(hang: Hang) -> Any:
    """Return the smallest event that a rule hangs on; while it is looked for, a rule counts as hanging much sooner."""
    trial = Trial(hang.destination, hang.given, NOW, hang.event.message_id)
    waited = 0

    def shows(event: dict[str, Any]) -> bool:
        nonlocal waited
        try:
            with patrol(min(_SOON, hang.seconds)):
                trial.plan(msgspec.json.encode(event))
        except TooLong as error:
            waited += 1
            return Hang.of(error).rule == hang.rule
        return False

    return events.smallest(hang.given, lambda event: waited < _MOST_WAITS and shows(event))


def not_back(hang: Hang, event: Any = None) -> Broken:
    """Return what is broken when a rule, or `prepare()`, does not come back."""
    mend = (
        "See that every loop ends whatever the event holds, and wait for nothing. A mapping takes microseconds; if "
        "yours needs longer, say so: seconds = 30 in the test class."
    )
    return Broken(hang.message, mend, where=hang.part, event=hang.given if event is None else event)


def survives_hostile_events(subject: Subject) -> None:
    """Put values that nobody expects into every place of an event, one at a time; then several, by hypothesis."""
    subject.each(lambda entry, plan, _: _check_survived(plan, entry.event), also_unplanned=True)
    _try_each_place(subject)
    _try_hostile(subject)


def _try_each_place(subject: Subject) -> None:
    """Try every odd value at every place that the event of a rule has."""
    looked: Looked = set()
    for entry, plan in subject.planned:
        rules = {item.rule for item in plan.items}
        for path in events.places(entry.event):
            new = {(rule, path) for rule in rules} - looked
            if new and _is_free(path):
                looked |= new
                _try_place(entry, path)


def _try_place(entry: Entry, path: events.Path) -> None:
    for odd in events.ODD_VALUES:
        event = events.replaced(entry.event, path, odd)
        plan = entry.plan(event)
        if plan.outcome is Outcome.FAILED:
            least = events.smallest(event, lambda less: entry.plan(less).outcome is Outcome.FAILED)
            raise _not_survived(_Fell(least, _words(plan), _mend(plan)), pointer(path)) from None


def _is_free(path: events.Path) -> bool:
    """Return whether any value is accepted at a place; of the elements of a list, only the first is looked at."""
    within = (path[0] in _FREE and len(path) > 1) or (path[:2] == ("context", "traits") and len(path) > 2)
    return within and not any(isinstance(part, int) and part > 0 for part in path)


def _check_survived(plan: Plan, event: Any, where: str = "") -> None:
    try:
        _survived(plan, event)
    except _Fell as fell:
        raise _not_survived(fell, where) from None


def _survived(plan: Plan, event: Any) -> None:
    if plan.outcome is Outcome.FAILED:
        raise _Fell(event, _words(plan), _mend(plan))
    try:
        msgspec.json.encode(plan.to_dict())
    except Exception as error:
        raise _Fell(event, f"its plan can't be shown: {type(error).__name__}: {error}") from None


def _words(plan: Plan) -> str:
    return plan.reason.message if plan.reason else "without a reason"


def _mend(plan: Plan) -> str:
    """Return how to mend a result that is none; empty for a rule that raised."""
    if plan.reason is None or plan.reason.code is not Code.PLUGIN_BAD_RESULT:
        return ""
    return "Give back what an endpoint's item() makes, a Note, or nothing; several as a list, or yield them."


def _not_survived(fell: _Fell, where: str = "") -> Broken:
    mend = (
        "Ask what a value is before you use it (isinstance), or raise turnout.Refusal with a code, a sentence and "
        "a JSON Pointer: properties and traits hold whatever a sender wrote."
    )
    return Broken(f"an event has no outcome but failed: {fell.found}", fell.mend or mend, where=where, event=fell.event)


def _try_hostile(subject: Subject) -> None:
    from hypothesis import HealthCheck, Phase, given, settings

    from turnout.testing.strategies import good_events, hostile_events

    fallen: list[_Fell] = []
    bases = [entry.event for entry, _ in subject.planned]
    dispatchers = list({id(entry.dispatcher): entry.dispatcher for entry, _ in subject.planned}.values())[:12]

    @settings(
        max_examples=subject.examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(hostile_events(bases) | good_events)
    def survive(event: dict[str, Any]) -> None:
        for dispatcher in dispatchers:
            entry = Entry("hostile", {}, dispatcher, event)
            try:
                if not subject.hangs(entry):
                    _survived(entry.plan(), event)
            except _Fell as fell:
                fallen.append(fell)
                raise

    try:
        survive()
    except Exception:
        if not fallen:
            raise
        raise _not_survived(fallen[-1]) from None  # the last one is the smallest that was found


def says_why_nothing_is_sent(subject: Subject) -> None:
    """Look at the reason of every event that comes to nothing: its code, its sentence, and its place."""
    subject.each(_check_reason, also_unplanned=True)
    if all(plan.outcome is Outcome.PLANNED for _, plan in subject.mapped(subject.entries)):
        raise NothingToSee("Every event that was looked at becomes items: there is no reason to read.")


def _check_reason(entry: Entry, plan: Plan, _: Looked) -> None:
    reason = plan.reason
    if plan.outcome not in (Outcome.DROPPED, Outcome.INVALID):
        return
    mend = (
        "Raise Drop or Refusal with a code, a sentence and a JSON Pointer, as in "
        'Refusal("value_required", "A profile at Acme needs a userId.", "/userId").'
    )
    if reason is None or len(reason.message.strip()) < _SHORTEST:
        found = f"the event is {plan.outcome}, and no sentence says why: {shown(reason.message if reason else None)}"
        raise Broken(found, mend, event=entry.event)
    if reason.code in _NO_REASONS:
        found = f"the code '{reason.code}' is one of delivery: {shown(reason.message)}"
        raise Broken(found, mend, event=entry.event)
    if reason.path is not None and not reason.path.startswith("/"):
        found = f"the path {shown(reason.path)} is no JSON Pointer: {shown(reason.message)}"
        raise Broken(found, mend, event=entry.event)


def honours_the_gates(subject: Subject) -> None:
    """Map events with every form of `integrations` and with `_metadata.bundled`."""
    looked: set[str] = set()
    for entry, plan in subject.planned:
        event = {key: value for key, value in entry.event.items() if key not in ("integrations", "_metadata")}
        if rules_of(plan) not in looked and entry.plan(event).outcome is Outcome.PLANNED:
            looked.add(rules_of(plan))
            _check_shut(entry, event, subject.kind.name)
            _check_open(entry, event, subject.kind.name)
    if not looked:
        raise NothingToSee("No event becomes an item without `integrations`: there is nothing that a gate could stop.")


def _check_shut(entry: Entry, event: dict[str, Any], name: str) -> None:
    shut: list[tuple[dict[str, Any], Code]] = [
        ({"integrations": {name: False}}, Code.INTEGRATION_DISABLED),
        ({"integrations": {"All": False}}, Code.INTEGRATION_DISABLED),
        ({"integrations": {"All": False, name: None}}, Code.INTEGRATION_DISABLED),
        ({"_metadata": {"bundled": [name]}}, Code.HANDLED_ON_DEVICE),
    ]
    for more, code in shut:
        plan = entry.plan({**event, **more})
        if plan.outcome is not Outcome.DROPPED or plan.reason is None or plan.reason.code is not code:
            found = f"{shown(more)} does not keep the event from '{name}': it is {plan.outcome}"
            mend = "Leave `name` what the class says: it is the destination's key in `integrations`."
            raise Broken(found, mend, where="attribute 'name'", event={**event, **more})


def _check_open(entry: Entry, event: dict[str, Any], name: str) -> None:
    options: list[Any] = [True, {}, {"an option": {"nobody": ["knows"]}}, 1, "yes", None]
    through = [{name: option} for option in options] + [{"All": False, name: True}, {"All": True}, {"Another": False}]
    for integrations in through:
        opened = {**event, "integrations": integrations}
        plan = entry.plan(opened)
        if plan.outcome is not Outcome.PLANNED:
            why = plan.reason.message if plan.reason else ""
            found = f"integrations {shown(integrations)} keeps the event away: it is {plan.outcome}. {why}"
            mend = f"Options of '{name}' may be any value: read them only where they are an object, and what they hold."
            raise Broken(found, mend, where=f"/integrations/{name}", event=opened)

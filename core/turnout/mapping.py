"""Gate, then map: what one event becomes at one destination. Every way through turnout runs this code."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from turnout.destination import Destination, origin
from turnout.endpoint import Item
from turnout.errors import Drop, Refusal
from turnout.event import Event
from turnout.plan import Note, Plan
from turnout.reasons import Code, Outcome, Reason
from turnout.settings import redact

__all__ = ["gate", "map_event", "showable"]

_logger = logging.getLogger("turnout")


def gate(name: str, event: Event) -> Reason | None:
    """Return why `integrations` or `_metadata` keep the event from the destination `name`, or None.

    Segment's rules: an entry of its own decides (false: no; true, an object or any other value: yes; null
    counts as missing); else `All` decides, read in any case, by default true. Keys are case sensitive. A
    destination that `_metadata.bundled` names has had the event on the device.
    """
    integrations = event.integrations
    if integrations:
        own = integrations.get(name)
        if own is False:
            return _disabled(f"integrations switches {name} off.", name)
        if own is None and (key := _all_key(integrations)) is not None and integrations[key] is False:
            return _disabled(f"integrations.{key} is false and there is no entry for {name}.", key)
    if event.metadata:
        bundled = event.metadata.get("bundled")
        if isinstance(bundled, list) and name in bundled:
            message = f"{name} is in _metadata.bundled: the device has sent the event itself."
            return Reason(Code.HANDLED_ON_DEVICE, message, "/_metadata/bundled")
    return None


def _disabled(message: str, key: str) -> Reason:
    return Reason(Code.INTEGRATION_DISABLED, message, "/integrations/" + key.replace("~", "~0").replace("/", "~1"))


def _all_key(integrations: dict[str, Any]) -> str | None:
    if "All" in integrations:
        return "All"
    return next((key for key in integrations if key.lower() == "all"), None)


def map_event(destination: Destination, event: Event) -> Plan:
    """Return the plan for one event at one destination; whatever the plugin raises becomes its outcome."""
    user = event.user_id or event.anonymous_id or ""
    plan = Plan(event.message_id, destination.id, Outcome.PLANNED, None, [], user, event, destination)
    reason = gate(destination.name, event)
    if reason is None:
        rules = destination.rules.get(event.type, ())
        reason = _run(destination, event, rules, plan) if rules else _no_rules(destination, event)
    if reason is not None:
        plan.outcome, plan.reason, plan.items = Outcome.DROPPED, reason, []
    return plan


def _run(destination: Destination, event: Event, rules: Iterable[tuple[str, Any]], plan: Plan) -> Reason | None:
    """Fill the plan with what the rules make; return a reason when that is nothing, on purpose."""
    items = plan.items
    rule = ""
    try:
        subject = destination.prepare(event if destination.pure else event.copy())
        for rule, method in rules:
            made = method(subject)
            if made is None:
                continue
            if made.__class__ is Item:
                made.rule = rule
                items.append(made)
            else:
                _collect(made, rule, items, destination, plan)
        _check_sizes(items)
    except Drop as drop:
        return drop.reason
    except Refusal as refusal:
        plan.outcome, plan.reason, plan.items = Outcome.INVALID, refusal.reason, []
        return None
    except (Exception, SystemExit) as error:
        plan.outcome, plan.items = Outcome.FAILED, []
        plan.reason = _blame(destination, rule, error)
        return None
    return None if items else _nothing(destination, event)


def _collect(made: Any, rule: str, items: list[Item], destination: Destination, plan: Plan) -> None:
    for one in made:
        if one.__class__ is Item:
            one.rule = rule
            items.append(one)
        elif isinstance(one, Note):
            text = redact(one.message, destination.config.secret_values)
            place = f" ({one.path})" if one.path else ""
            _logger.warning("%s at %s: %s%s", plan.message_id, destination.id, text, place)
        else:
            raise TypeError(f"a rule gives back items, not {type(one).__name__}; make them with an endpoint's item()")


def _check_sizes(items: Iterable[Item]) -> None:
    for item in items:
        endpoint = item.endpoint
        if len(item.data) > endpoint.roomy:
            size = len(endpoint.envelope.wire(item.data)) + endpoint.envelope.overhead
            if size > endpoint.batch.bytes:
                message = f"One item alone makes a request of {size} bytes; {endpoint.name} takes {endpoint.batch.bytes}."
                raise Refusal(Code.ITEM_TOO_LARGE, message + " Send less in one event.")


def showable(plan: Plan) -> list[Item]:
    """Return the items of a plan as they may be shown.

    Where a rule has put the value of a secret into an item, these are the items that the same rules make of
    the same event when every secret is `***`.
    """
    destination, event = plan.target, plan.event
    if destination is None or event is None:
        return plan.items
    secrets = destination.secret_bytes
    if not any(secret in item.data for item in plan.items for secret in secrets):
        return plan.items
    return map_event(destination.twin, event).items


def _no_rules(destination: Destination, event: Event) -> Reason:
    off = destination.switched_off.get(event.type, ())
    if not off:
        message = f"{destination.name} has no rule for {event.type} calls."
        return Reason(Code.CALL_TYPE_UNSUPPORTED, message, "/type")
    wanted = sorted({name for rule in off for name in rule.settings})
    message = f"{event.type} calls are switched off by the settings of '{destination.id}'"
    if wanted:
        message += f": {', '.join(wanted)}"
    return Reason(Code.SETTING_OFF, message + ".", "/type")


def _nothing(destination: Destination, event: Event) -> Reason:
    ran = ", ".join(rule for rule, _ in destination.rules[event.type])
    message = f"No rule had anything to send for this {event.type} call (tried: {ran})."
    return Reason(Code.NOTHING_TO_MAP, message)


def _blame(destination: Destination, rule: str, error: BaseException) -> Reason:
    where = f"rule '{rule}'" if rule else "prepare()"
    text = redact(f"{type(error).__name__}: {error}", destination.config.secret_values)
    message = f"{where} of destination '{destination.id}' ({origin(type(destination))}) raised {text}"
    _logger.error("%s", message)
    bad = isinstance(error, TypeError) and "a rule gives back items" in str(error)
    return Reason(Code.PLUGIN_BAD_RESULT if bad else Code.PLUGIN_RAISED, message)

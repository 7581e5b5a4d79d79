"""Gate, then map: what one event becomes at one destination. Every way through turnout runs this code."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from turnout._json import NotJsonError
from turnout.destination import Destination, Rule, declared_rules, origin
from turnout.endpoint import Item
from turnout.errors import Drop, Refusal
from turnout.event import Event
from turnout.inputs import Carried, DeviceIds, Inputs, ProviderError
from turnout.plan import Note, Plan
from turnout.platforms import platform_of
from turnout.reasons import Code, Outcome, Reason
from turnout.settings import redact

__all__ = ["gate", "map_event", "map_on", "quietly", "rebound", "showable"]

_logger = logging.getLogger("turnout")
_quiet: ContextVar[bool] = ContextVar("_quiet", default=False)
_PLANNED = Outcome.PLANNED  # reading a member of an enum costs as much as four calls


@contextmanager
def quietly() -> Iterator[None]:
    """Inside, what a mapping raises or leaves out stands in its plan and is not logged: it is only tried."""
    before = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(before)


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
    if integrations.get("All") is not None:
        return "All"
    return next((key for key, value in integrations.items() if key.lower() == "all" and value is not None), None)


def map_event(destination: Destination, event: Event, carried: Carried | None = None) -> Plan:
    """Return the plan for one event at one destination; whatever the plugin raises becomes its outcome.

    `carried` is what earlier events left for this one, for a destination that asks for it.
    """
    items: list[Item] = []
    user = event.user_id or event.anonymous_id or ""
    plan = Plan(event.message_id, destination.id, _PLANNED, None, items, user, event, destination)
    if carried is not None:
        plan.carried = carried
    if (event.integrations or event.metadata) and (reason := gate(destination.name, event)):
        return _without_items(plan, Outcome.DROPPED, reason)
    rule = ""
    try:
        subject = destination.prepare(event if destination.pure else event.copy(), carried)
        for rule, method in destination.rules_for(event):
            made = method(subject)
            if made.__class__ is Item:
                made.rule = rule
                items.append(made)
            elif made is not None:
                _collect(made, rule, items, destination, plan)
    except Drop as drop:
        return _without_items(plan, Outcome.DROPPED, drop.reason)
    except Refusal as refusal:
        return _without_items(plan, Outcome.INVALID, refusal.reason)
    except (Exception, SystemExit) as error:
        return _without_items(plan, Outcome.FAILED, _blame(destination, rule, error))
    return plan if items else _without_items(plan, Outcome.DROPPED, _nothing(destination, event))


def map_on(destination: Destination, event: Event, inputs: Inputs, provider: DeviceIds | None = None) -> Plan:
    """Return the plan for one event, with what earlier events left in `inputs`, where this one is remembered.

    An event that the gate keeps away leaves nothing behind, nor does one that can't be mapped.
    """
    if not destination.carries or gate(destination.name, event):
        return map_event(destination, event)
    try:
        carried = inputs.carry(destination, event, provider)
    except ProviderError as error:
        _logger.error("%s", error)
        plan = Plan(event.message_id, destination.id, Outcome.FAILED, None, [], "", event, destination)
        return _without_items(plan, Outcome.FAILED, error.reason)
    plan = map_event(destination, event, carried)
    if plan.outcome is _PLANNED or plan.outcome is Outcome.DROPPED:
        inputs.remember(destination, event, carried)
    return plan


def rebound(plan: Plan, destination: Destination) -> Plan:
    """Return the plan that `destination`, which maps like the destination of `plan`, has for the same event."""
    endpoints = destination.endpoints
    try:
        items = [Item(endpoints[item.endpoint.name], item.data, item.key, item.rule) for item in plan.items]
    except KeyError:  # a plugin that makes items for an endpoint which it doesn't declare
        return map_event(destination, plan.event) if plan.event else plan
    for note in plan.notes:
        _tell(note, destination, plan)
    return Plan(plan.message_id, destination.id, _PLANNED, None, items, plan.user, plan.event, destination, plan.notes)


def _without_items(plan: Plan, outcome: Outcome, reason: Reason) -> Plan:
    secrets = plan.target.config.secret_values if plan.target else ()
    plan.outcome, plan.items = outcome, []
    plan.reason = Reason(reason.code, redact(reason.message, secrets), reason.path)
    return plan


def _collect(made: Any, rule: str, items: list[Item], destination: Destination, plan: Plan) -> None:
    if made.__class__ is not list and (not isinstance(made, Iterable) or isinstance(made, str | bytes | Mapping)):
        raise _bad_result(made)
    for one in made:
        if one.__class__ is Item:
            one.rule = rule
            items.append(one)
        elif isinstance(one, Note):
            plan.notes = (*plan.notes, one)
            _tell(one, destination, plan)
        else:
            raise _bad_result(one)


def _tell(note: Note, destination: Destination, plan: Plan) -> None:
    if _quiet.get():
        return
    text = redact(note.message, destination.config.secret_values)
    place = f" ({note.path})" if note.path else ""
    _logger.warning("%s at %s: %s%s", plan.message_id, destination.id, text, place)


class _BadResult(TypeError):
    pass


def _bad_result(made: object) -> TypeError:
    return _BadResult(f"a rule gives back items, not {type(made).__name__}; make them with an endpoint's item()")


def showable(plan: Plan) -> list[Item]:
    """Return the items of a plan as they may be shown.

    Where a rule has put the value of a secret into an item, these are the items that the same rules make of
    the same event when every secret is `***`. Where they can't work with that, or the event was let go,
    the value is masked.
    """
    destination, event = plan.target, plan.event
    secrets = destination.secret_bytes if destination else ()
    if not any(secret in item.data for item in plan.items for secret in secrets):
        return plan.items
    try:
        made = map_event(destination.twin, event, plan.carried).items if destination and event else []
    except Exception:
        made = []
    return made if len(made) == len(plan.items) else [_without(secrets, item) for item in plan.items]


def _without(secrets: Iterable[bytes], item: Item) -> Item:
    data = item.data
    for secret in sorted(secrets, key=len, reverse=True):
        data = data.replace(secret, b"***")
    return msgspec.structs.replace(item, data=data)


def _nothing(destination: Destination, event: Event) -> Reason:
    """Return why no rule made anything: none for the call type, none switched on, or none that applied."""
    rules = destination.rule_set(event)
    aside = {rule.id for rule in declared_rules(type(destination)) if rule.aside}
    ran = [rule for rule, _ in destination.rules_for(event) if rule not in aside]
    off = _switched_off(rules.off[event.type])
    if ran:
        message = f"No rule had anything to send for this {event.type} call (tried: {', '.join(ran)})."
        return Reason(Code.NOTHING_TO_MAP, message if off is None else f"{message} Others are switched off{off}.")
    if off is None:
        where = f" from the platform {platform_of(event)}" if destination.device_mode else ""
        message = f"{destination.name} has no rule for {event.type} calls{where}."
        return Reason(Code.CALL_TYPE_UNSUPPORTED, message, "/type")
    message = f"{event.type} calls are switched off by the settings of '{destination.id}'{off}."
    return Reason(Code.SETTING_OFF, message, "/type")


def _switched_off(rules: Iterable[Rule]) -> str | None:
    """Return the settings that keep rules for a call type from running, None when no rule is kept."""
    off = [rule for rule in rules if not rule.aside]
    if not off:
        return None
    wanted = sorted({name for rule in off for name in rule.settings})
    return f": {', '.join(wanted)}" if wanted else ""


def _blame(destination: Destination, rule: str, error: BaseException) -> Reason:
    where = f"rule '{rule}'" if rule else "prepare()"
    bad = isinstance(error, _BadResult | NotJsonError)
    kind = "TypeError" if bad else type(error).__name__
    text = redact(f"{kind}: {error}", destination.config.secret_values)
    text = text.encode("utf-8", "replace").decode()  # a lone surrogate would break whatever writes the reason
    message = f"{where} of destination '{destination.id}' ({origin(type(destination))}) raised {text}"
    if not _quiet.get():
        _logger.error("%s", message)
    return Reason(Code.PLUGIN_BAD_RESULT if bad else Code.PLUGIN_RAISED, message)

"""Why an event becomes what it becomes at a destination: every field with what it depends on.

from turnout import explain

explanation = explain("amplitude", event, settings={"api_key": "..."})
explanation.items[0].fields[0]      # /user_id, its value, and that it is copied from /userId
explanation.unread                  # ["/context/timezone"]: nothing reads these
explanation.remedy                  # what would send a dropped event

How it is found, and for which set of changes it is complete, stands in `turnout.lineage`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from turnout._hang import Hang
from turnout._json import compact, pointer, read
from turnout._output import EVENT, Target, fields_of, request_of
from turnout._payload import Path
from turnout._redact import MASK
from turnout._trial import Trial, told, trial_of
from turnout.body import told_message_id
from turnout.destination import Destination, load_destination
from turnout.endpoint import BoundEndpoint, Item
from turnout.errors import ConfigError, Refusal
from turnout.inputs import Inputs
from turnout.lineage import CONDITION, Edge, Lineage, Remedy, trace
from turnout.mapping import map_on, quietly, showable
from turnout.normalise import EventLike, Normaliser
from turnout.plan import Plan, reason_dict
from turnout.reasons import Code, Outcome, Reason
from turnout.watchdog import TooLong

__all__ = ["ExplainedItem", "ExplainedRequest", "Explanation", "Field", "explain"]


class Field(msgspec.Struct, frozen=True):
    """One field: its JSON Pointer, its value (`***` where a secret has a part in it), and the edges that lead to it.

    Without edges it is the same whatever the event and the settings say.
    """

    path: str
    value: Any
    edges: tuple[Edge, ...]


class ExplainedItem(msgspec.Struct, frozen=True):
    """One item: the rule that made it, its endpoint, and its fields."""

    rule: str
    number: int
    """Which of the rule's items it is, from 1."""
    endpoint: str
    fields: tuple[Field, ...]
    key: Field | None
    """Its idempotency key."""
    edges: tuple[Edge, ...]
    """What decides that it is made, and where it goes."""
    absent: tuple[Edge, ...]
    """What would add fields to it."""


class ExplainedRequest(msgspec.Struct, frozen=True):
    """What surrounds the items of one endpoint: method, URL, headers and envelope."""

    endpoint: str
    fields: tuple[Field, ...]


class Explanation(msgspec.Struct, frozen=True):
    """Why one event becomes what it becomes at one destination; secrets are `***`."""

    message_id: str | None
    destination: str
    outcome: Outcome
    reason: Reason | None = None
    edges: tuple[Edge, ...] = ()
    """Everything that was found, in the order of the output; a superset of the edges of items and requests."""
    items: tuple[ExplainedItem, ...] = ()
    requests: tuple[ExplainedRequest, ...] = ()
    unread: tuple[str, ...] = ()
    """The JSON Pointers of values that nothing reads; empty for an event that isn't sent."""
    remedy: Remedy | None = None
    """The smallest change that would send an event that isn't sent; None when there is none among those tried."""
    unstable: tuple[str, ...] = ()
    """Places that differ when the event is mapped twice: the plugin is not pure, and they are not explained."""
    hanging: tuple[str, ...] = ()
    """Sentences: with which changes the mapping did not come back, where somebody watched. Of many it is given up."""

    @property
    def deciding(self) -> tuple[Edge, ...]:
        """Return what decides whether the event is sent at all."""
        return tuple(edge for edge in self.edges if edge.target == EVENT)

    @property
    def added(self) -> tuple[Edge, ...]:
        """Return what would add whole items."""
        return tuple(edge for edge in self.edges if edge.target.part == "new")

    def to_dict(self, *, witnesses: bool = False) -> dict[str, Any]:
        """Return it as plain data; with `witnesses` each edge has the two inputs and outputs that show it."""
        tell = _teller(witnesses)
        return {
            "message_id": self.message_id,
            "destination": self.destination,
            "outcome": self.outcome.value,
            "reason": reason_dict(self.reason),
            "from": tell(self.deciding),
            "items": [_item_dict(one, tell) for one in self.items],
            "requests": [{"endpoint": one.endpoint, "fields": _field_dicts(one.fields, tell)} for one in self.requests],
            "added": [{"rule": edge.target.rule, "from": tell([edge])} for edge in self.added],
            "unread": list(self.unread),
            "unstable": list(self.unstable),
            "hanging": list(self.hanging),
            "remedy": self.remedy and self.remedy.to_dict(),
        }


Tell = Callable[[Iterable[Edge]], list[dict[str, Any]]]


def _teller(witnesses: bool) -> Tell:
    def tell(edges: Iterable[Edge]) -> list[dict[str, Any]]:
        hidden = () if witnesses else ("before", "after", "output_before", "output_after")
        return [{key: value for key, value in one.to_dict().items() if key not in hidden} for one in edges]

    return tell


def _item_dict(item: ExplainedItem, tell: Tell) -> dict[str, Any]:
    absent: dict[str, list[Edge]] = {}
    for edge in item.absent:
        absent.setdefault(edge.target.path, []).append(edge)
    return {
        "rule": item.rule,
        "number": item.number,
        "endpoint": item.endpoint,
        "from": tell(item.edges),
        "key": item.key and _field_dicts([item.key], tell)[0],
        "fields": _field_dicts(item.fields, tell),
        "absent": [{"path": path, "from": tell(edges)} for path, edges in absent.items()],
    }


def _field_dicts(fields: Iterable[Field], tell: Tell) -> list[dict[str, Any]]:
    return [{"path": one.path, "value": one.value, "from": tell(one.edges)} for one in fields]


def explain(
    what: Plan | Destination | type[Destination] | str,
    event: EventLike | None = None,
    settings: Mapping[str, Any] | None = None,
    inputs: Inputs | None = None,
    *,
    now: datetime | None = None,
) -> Explanation:
    """Return why an event becomes what it becomes at a destination; nothing is sent.

    `what` is a plan of a dispatcher, or a destination: configured, its class, or the name of an installed plugin, with
    `settings` (for a configured one: laid over its own). `event` is JSON text, a mapping or an `Event`. `inputs` is
    what earlier events left behind, and gets what this one leaves; `now` is the time of the clock.

    Raises `SettingsError` and `PluginError` for what can't be configured, and `ConfigError` for arguments that don't
    fit together. A bad event raises nothing.
    """
    if isinstance(what, Plan):
        if event is not None or settings is not None or inputs is not None:
            raise ConfigError("explain(plan) takes nothing else: the plan has its event, its settings and its inputs.")
        return _of_plan(what)
    if event is None:
        raise ConfigError("explain() needs an event: explain(destination, event), or explain(plan).")
    destination = _configured(what, settings or {})
    normaliser = Normaliser(clock=None if now is None else lambda: now, new_id=_hash)
    try:
        accepted = normaliser.event(event)
    except Refusal as refusal:
        return _of_refused(destination, event, refusal, normaliser)
    carried = None
    if destination.carries:
        with quietly():
            carried = map_on(destination, accepted, Inputs() if inputs is None else inputs).carried
    return _of_trial(Trial(destination, told(accepted), accepted.received_at, accepted.message_id, carried))


def _configured(what: Destination | type[Destination] | str, settings: Mapping[str, Any]) -> Destination:
    if isinstance(what, str):
        return load_destination(what)(settings, id=what)
    if isinstance(what, type):
        return what(settings)
    if not settings:
        return what
    own = {name: what.config[name] for name in what.config if name in what.config.given}
    return type(what)(type(what).settings.overlay(own, settings), id=what.id)


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:32]


def _of_plan(plan: Plan) -> Explanation:
    trial = trial_of(plan)
    if trial is None or (plan.reason is not None and plan.reason.code is Code.PLUGIN_TOO_SLOW):
        return Explanation(plan.message_id, plan.destination, plan.outcome, plan.reason)
    explanation = _of_trial(trial)
    if explanation.outcome is plan.outcome:
        return explanation
    # Something else than gate and rules decided, such as a hook.
    return Explanation(plan.message_id, plan.destination, plan.outcome, plan.reason)


def _of_refused(destination: Destination, event: EventLike, refusal: Refusal, normaliser: Normaliser) -> Explanation:
    value, message_id = _object(event), told_message_id(event, normaliser.new_id)
    if value is None:
        return Explanation(message_id, destination.id, Outcome.INVALID, refusal.reason)
    return _of_trial(Trial(destination, value, normaliser.clock(), message_id or _hash(compact(value))))


def _object(event: EventLike) -> dict[str, Any] | None:
    """Return the JSON object that an event is given as, None when it is none."""
    try:
        value = read(
            event.encode() if isinstance(event, str) else event if isinstance(event, bytes) else compact(event)
        )
    except (Refusal, TypeError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _of_trial(trial: Trial) -> Explanation:
    trial.hanging = []
    try:
        explanation = _of_traced(trial)
    except TooLong as error:
        explanation = _given_up(trial, error)
    return msgspec.structs.replace(explanation, hanging=tuple(trial.hanging)) if trial.hanging else explanation


def _given_up(trial: Trial, error: TooLong) -> Explanation:
    """Return what can be said of an event whose mapping does not come back, or too often not when it is changed."""
    with quietly():
        plan = trial.plan(trial.payload.text) if trial.hanging else Hang.of(error).plan
    return Explanation(plan.message_id, plan.destination, plan.outcome, plan.reason)


def _of_traced(trial: Trial) -> Explanation:
    lineage = trace(trial)
    plan = lineage.plan
    if plan.outcome is Outcome.PLANNED:
        return _of_sent(lineage, plan)
    from turnout._remedy import remedy

    unstable = tuple(map(_place, lineage.unstable))
    found = remedy(trial)
    return Explanation(
        plan.message_id,
        plan.destination,
        plan.outcome,
        plan.reason,
        edges=lineage.edges,
        remedy=found,
        unstable=unstable,
    )


def _of_sent(lineage: Lineage, plan: Plan) -> Explanation:
    edges: dict[Target, list[Edge]] = {}
    for edge in lineage.edges:
        edges.setdefault(edge.target, []).append(edge)
    return Explanation(
        plan.message_id,
        plan.destination,
        plan.outcome,
        edges=lineage.edges,
        items=tuple(_items(plan, edges)),
        requests=tuple(_requests(plan, edges)),
        unread=lineage.unread,
        unstable=tuple(map(_place, lineage.unstable)),
    )


def _place(target: Target) -> str:
    where = f"{target.rule} {target.number}" if target.rule else target.endpoint
    return " ".join(filter(None, (target.part, where, target.path)))


def _items(plan: Plan, edges: Mapping[Target, list[Edge]]) -> Iterator[ExplainedItem]:
    numbers: dict[str, int] = {}
    by_item: dict[tuple[str, int], dict[Target, list[Edge]]] = {}
    for target, found in edges.items():
        by_item.setdefault((target.rule, target.number), {})[target] = found
    for item, shown in zip(plan.items, showable(plan), strict=True):
        number = numbers[item.rule] = numbers.get(item.rule, 0) + 1
        own = by_item.get((item.rule, number), {})
        fields = tuple(_fields(item, shown, number, own))
        paths = {one.path for one in fields}
        mine = own.items()
        about = (Target("item", item.rule, number), Target("endpoint", item.rule, number))
        yield ExplainedItem(
            item.rule,
            number,
            item.endpoint.name,
            fields,
            _key(item, number, own),
            tuple(edge for target, found in mine if target in about for edge in found if _decides(edge, paths)),
            tuple(
                edge
                for target, found in mine
                if target.part == "item" and target.path and target.path not in paths
                for edge in found
            ),
        )


def _decides(edge: Edge, paths: Collection[str]) -> bool:
    """Return whether an edge says that the item is made or where it goes; an item that is no object has a field ""."""
    return edge.target.part == "endpoint" or edge.kind == CONDITION or "" not in paths


def _fields(item: Item, shown: Item, number: int, edges: Mapping[Target, list[Edge]]) -> Iterator[Field]:
    """Yield the fields of an item; a list whose order depends on something stands before its elements."""
    masked = msgspec.json.decode(shown.data)
    mine = {one.path: found for one, found in edges.items() if one == Target("item", item.rule, number, one.path)}
    secret = [path for path, found in mine.items() if any(map(_of_secret, found))]
    for path in _paths(msgspec.json.decode(item.data), mine):
        place = pointer(path)
        found = [one for one in mine.get(place, []) if path or one.kind != CONDITION]
        hidden = any(one == place or one.startswith(place + "/") for one in secret)
        yield Field(place, MASK if hidden else _at(masked, path), tuple(found))


def _paths(value: Any, places: Collection[str]) -> list[Path]:
    """Return the paths of the leaves of a value, and of the lists in it that are among these places."""
    found: dict[Path, None] = {}
    for path, _ in fields_of(value):
        found |= dict.fromkeys(path[:end] for end in range(1, len(path)) if pointer(path[:end]) in places)
        found[path] = None
    return [*found]


def _at(value: Any, path: Path) -> Any:
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return MASK  # without its secrets the item has another form
    return value


def _of_secret(edge: Edge) -> bool:
    return edge.source.kind == "setting" and MASK in (edge.before, edge.after)


def _key(item: Item, number: int, edges: Mapping[Target, list[Edge]]) -> Field | None:
    if item.key is None:
        return None
    found = edges.get(Target("key", item.rule, number), [])
    return Field("", MASK if any(map(_of_secret, found)) else item.key, tuple(found))


def _requests(plan: Plan, edges: Mapping[Target, list[Edge]]) -> Iterator[ExplainedRequest]:
    endpoints: dict[str, BoundEndpoint] = {item.endpoint.name: item.endpoint for item in plan.items}
    for name, endpoint in endpoints.items():
        fields = (
            Field(path, value, tuple(edges.get(Target("request", path=path, endpoint=name), ())))
            for path, value in request_of(endpoint.masked).items()
        )
        yield ExplainedRequest(name, tuple(fields))

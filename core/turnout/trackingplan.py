"""The tracking plan: which events a product sends and what they must hold, as JSON Schemas, each with a mode.

    {"name": "Shop", "mode": "observe",
     "events": {"Order Completed": {"mode": "block", "properties": {"type": "object", "required": ["total"]}}}}

It judges each event once, after it is normalised and before hooks and destinations see it. Plans that Segment exports
are read as well. A check costs some 100 to 400 us an event; one for which there is no schema, a look into a dict.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from turnout._json import compact, pointer
from turnout._pointer import general, remove, steps
from turnout.event import Event
from turnout.normalise import EventLike, Normaliser
from turnout.plan import Judgement, Violation
from turnout.reasons import Code, Reason

if TYPE_CHECKING:
    from turnout._planfile import Part, Rule
    from turnout.config import Configuration

__all__ = ["Reporter", "TrackingPlan", "configured", "report"]

_logger = logging.getLogger("turnout")
_TOLD = 5
"""How many violations of one event are logged."""
_KINDS = 1000
"""How many kinds of violations are logged while a log is delivered."""

_OBJECTS = (("properties",), ("traits",), ("context", "traits"))
"""Where values can be taken out: the other names of an event belong to the spec."""
_KEPT = ("required", "")
"""What is wrong without there being a value to take out."""
_BLOCK = "block"


class _Words(NamedTuple):
    """What messages tell beside what is wrong."""

    hints: bool = False
    values: bool = False


class TrackingPlan:
    """What the events of a product must hold; it judges events and never changes one.

    `document` is what a plan's file holds, `file` its name for messages. `mode`, `unplanned` and
    `unplanned_properties` win over what the document says, for every event. A plan pickles, and threads may share it.
    Raises `ConfigError` with the JSON Pointer of what is wrong in the document.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        *,
        file: str = "tracking plan",
        mode: str = "",
        unplanned: str = "",
        unplanned_properties: str = "",
    ) -> None:
        self._document = document
        self._options = (mode, unplanned, unplanned_properties)
        self.file = file
        self._read(check=True)

    def _read(self, *, check: bool) -> None:
        from turnout._planfile import Options, read_rules

        rules = read_rules(self._document, self.file, Options(*self._options), check=check)
        self.name = rules.name or Path(self.file).stem
        self.version = rules.version
        self._by_name, self._by_version, self._others = rules.by_name, rules.by_version, rules.others

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, mode: str = "", unplanned: str = "", unplanned_properties: str = ""
    ) -> TrackingPlan:
        """Return the plan in a JSON or YAML file; the options are those of the constructor. Raises `ConfigError`."""
        from turnout.strictjson import load_file

        document = load_file(Path(path), "tracking plan")
        return cls(document, file=str(path), mode=mode, unplanned=unplanned, unplanned_properties=unplanned_properties)

    def check(self, event: EventLike, *, show_values: bool = False) -> list[Violation]:
        """Return what is wrong with an event, with the names that were probably meant; nothing is done about it.

        With `show_values` the messages hold the values at fault. Raises `Refusal` for what is no event at all.
        """
        found = Normaliser().event(event)
        rule = self._rule(found)
        return [] if rule is None else self._violations(found, rule, _Words(hints=True, values=show_values))

    def judge(self, event: Event) -> Judgement:
        """Return what is wrong with an event, and what goes on: all of it, a part of it, or (with a reason) nothing."""
        rule = self._rule(event)
        violations = self._violations(event, rule, _Words()) if rule else []
        if not violations:
            return Judgement(event, event)
        if any(one.mode == _BLOCK for one in violations):
            return Judgement(event, event, tuple(violations), self._blocked(violations))
        return Judgement(event, _without(event, violations), tuple(violations))

    def _rule(self, event: Event) -> Rule | None:
        call, name = event.type, _name(event) or ""
        rule = self._by_name.get((call, name))
        if rule is None:
            return self._others.get(call)
        if self._by_version:
            told = event.context.protocols.get("event_version")
            return self._by_version.get((call, name, str(told)), rule)
        return rule

    def _violations(self, event: Event, rule: Rule, words: _Words) -> list[Violation]:
        found = {} if not rule.unplanned else {("", ""): self._unplanned(event, rule, words)}
        if rule.unplanned != _BLOCK:
            values = _Values(event)
            for part in rule.parts:
                for one in _violated(part, values.at(part.place), _label(event), rule.mode, words):
                    # What the plan says twice, of the event and of all events, is told once.
                    found.setdefault((one.path or "", one.keyword), one)
        return list(found.values())

    def _unplanned(self, event: Event, rule: Rule, words: _Words) -> Violation:
        from turnout._planwords import meant

        call, name = event.type, _name(event)
        word = "event" if call == "track" else call
        told = f"no {word} {_plain(name)!r}" if name else f"no {word} without a name"
        known = tuple(planned for kind, planned in self._by_name if kind == call) if words.hints else ()
        hint = meant(name, known) if known and name else ""
        path = "/event" if call == "track" else "/name"
        message = f"There is {told} in the plan.{hint}"
        return Violation(message=message, path=path, code=_UNPLANNED, event=_label(event), mode=rule.unplanned)

    def _blocked(self, violations: list[Violation]) -> Reason:
        first, more = violations[0], len(violations) - 1
        rest = " There is 1 more violation." if more == 1 else f" There are {more} more violations." if more else ""
        told = f"{first.message}{rest}" if first.keyword else first.message
        return Reason(first.code, f"The tracking plan '{self.name}' blocks it: {told}", first.path)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self._document, self.file, self._options)

    def __repr__(self) -> str:
        return f"<TrackingPlan '{self.name}' of {self.file}>"


_UNPLANNED, _VIOLATION = Code.PLAN_UNPLANNED, Code.PLAN_VIOLATION


def _restored(
    kind: type[TrackingPlan], document: Mapping[str, Any], file: str, options: tuple[str, str, str]
) -> TrackingPlan:
    plan = object.__new__(kind)
    plan._document, plan.file, plan._options = document, file, options
    plan._read(check=False)
    return plan


def _label(event: Event) -> str:
    """Return what a call is named: the event's name, else `identify`, or `page Pricing`."""
    name = _name(event)
    return name or "" if event.type == "track" else f"{event.type} {name}" if name else event.type


def _name(event: Event) -> str | None:
    return event.event if event.type == "track" else event.name if event.type in ("page", "screen") else None


class _Values:
    """The places of an event that schemas describe; what is null is absent, and what is absent holds nothing."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self._whole: dict[str, Any] | None = None

    def at(self, place: tuple[str, ...]) -> Any:
        """Return what stands at a place."""
        if place == ("properties",):
            return self._event.properties
        if place == ("traits",):
            return self._event.traits
        whole = self._whole = self._whole or _document(self._event)
        return whole[place[0]] if place else whole


def _document(event: Event) -> dict[str, Any]:
    told = _present(event.to_dict())
    told["context"] = _present(told.get("context", {}))
    told.setdefault("traits" if event.type in ("identify", "group") else "properties", {})
    return told


def _present(told: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if value is not None}


def _raised(broken: BaseException) -> str:
    """Return what a schema raised; raises it again when it comes from elsewhere.

    Where the depth of calls ends inside the library of `referencing` that is written in Rust, that panics.
    """
    if isinstance(broken, Exception):
        return type(broken).__name__
    if type(broken).__module__ != "pyo3_runtime":
        raise broken
    return "RecursionError" if "RecursionError" in str(broken) else type(broken).__name__


def _violated(part: Part, value: Any, label: str, mode: str, words: _Words) -> Iterator[Violation]:
    """Yield what a schema finds wrong with the value at its place."""
    from turnout._planwords import complaint, hint

    try:
        errors = list(part.checker.iter_errors(value))
    except BaseException as broken:  # a number that no arithmetic can take, schemas that refer to each other for ever
        message = f"{_called(part.place)} can't be checked: its schema raised {_raised(broken)}."
        yield Violation(message=message, path=pointer(part.place), code=_VIOLATION, event=label, mode=mode)
        return
    for error in errors:
        path = (*part.place, *error.absolute_path)
        more = hint(error) if words.hints else ""
        keyword = str(error.validator or "false")
        yield Violation(
            message=f"{_called(path)} {_plain(complaint(error, value=words.values))}.{more}",
            path=pointer(path),
            code=_VIOLATION,
            event=label,
            keyword=keyword,
            mode=mode,
            stripped=mode == "strip" and keyword not in _KEPT and _removable(path),
        )


def _called(path: tuple[str | int, ...]) -> str:
    return f"`{_plain('.'.join(map(str, path)))}`" if path else "The event"


def _plain(text: str) -> str:
    """Return a text of an event without what could move a terminal's cursor or fake a line of a log."""
    return "".join(one if one.isprintable() else "?" for one in text)


def _removable(path: tuple[str | int, ...]) -> bool:
    return any(path[: len(place)] == place and len(path) > len(place) for place in _OBJECTS)


def _without(event: Event, violations: Iterable[Violation]) -> Event:
    """Return an event without the values that are to be taken out, neither in its objects nor in its text."""
    paths = [steps(one.path or "") for one in violations if one.stripped]
    if not paths:
        return event
    data = msgspec.json.decode(event.raw)
    remove(data, paths)
    changed: dict[str, Any] = {
        name: data[name] for name in ("properties", "traits") if isinstance(data.get(name), dict)
    }
    if any(path[0] == "context" for path in paths):
        changed["context"] = msgspec.structs.replace(event.context, traits=data["context"]["traits"])
    return msgspec.structs.replace(event, raw=compact(data), **changed)


def configured(configuration: Configuration) -> TrackingPlan:
    """Return the plan that the section `[tracking_plan]` of a configuration names."""
    section = configuration.tracking_plan
    return TrackingPlan.load(
        configuration.path.parent / section.path,
        mode=section.mode,
        unplanned=section.unplanned,
        unplanned_properties=section.unplanned_properties,
    )


def report(judged: Judgement, plan: TrackingPlan) -> None:
    """Log what is wrong with an event that goes on: the first violations, and how many more there are."""
    for one in judged.violations[:_TOLD]:
        _warn(judged, plan, f"{one.message}{_done(one)}")
    if (more := len(judged.violations) - _TOLD) > 0:
        _warn(judged, plan, f"there {'is 1 more violation' if more == 1 else f'are {more} more violations'}.")


def _warn(judged: Judgement, plan: TrackingPlan, text: str) -> None:
    _logger.warning("%s violates the tracking plan '%s': %s", judged.event.message_id, plan.name, text)


def _done(one: Violation) -> str:
    return " It is taken out." if one.stripped else " The event is blocked." if one.mode == _BLOCK else ""


class Reporter:
    """Judges events as a plan does, and logs each kind of violation once: more would only fill the disk.

    A kind is an event's name, a path (`*` for positions) and a keyword. The metrics count all of them.
    """

    def __init__(self, plan: TrackingPlan) -> None:
        self._plan = plan
        self._told: set[tuple[str, str, str]] = set()

    def judge(self, event: Event) -> Judgement:
        """Return what the plan says of an event."""
        judged = self._plan.judge(event)
        for one in judged.violations:
            kind = (one.event, general(one.path or ""), one.keyword)
            if kind not in self._told and len(self._told) < _KINDS:
                self._told.add(kind)
                _warn(judged, self._plan, f"{one.message}{_done(one)} More of this kind are only counted.")
        return judged

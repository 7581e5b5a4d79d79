"""What the contract suite looks at: an installed destination, configured in many ways, with events and cases for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from turnout._casefiles import destination_of, snapshot_of
from turnout._hang import Hang
from turnout.cases import Case
from turnout.checking import Suite, find
from turnout.destination import Destination
from turnout.dispatcher import Dispatcher
from turnout.endpoint import Item
from turnout.errors import ConfigError, PluginError, Refusal
from turnout.event import Event
from turnout.normalise import Normaliser
from turnout.plan import Plan
from turnout.plugins import DESTINATIONS, Plugin, installed, load
from turnout.reasons import Outcome
from turnout.settings import redact
from turnout.testing import _contract_events as events
from turnout.testing._contract_settings import main_variants, single_variants, valid_settings
from turnout.testing._contract_words import Broken, NothingToSee
from turnout.watchdog import TooLong

__all__ = ["NOW", "Entry", "Looked", "Pinned", "Subject", "place_of", "rules_of", "seen"]

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_CASES_OF_A_RULE = 3
_NONE = "No event becomes an item: neither a generated one nor one of a case. Write a case."

Looked = set[tuple[Any, ...]]
"""What a check has looked at already, under many entries alike."""


class Entry(msgspec.Struct, frozen=True):
    """One thing to look at: an event, mapped by a configured destination."""

    words: str
    """Where it comes from, for messages."""
    settings: dict[str, Any]
    dispatcher: Dispatcher
    event: dict[str, Any]

    @property
    def destination(self) -> Destination:
        """The destination."""
        return next(iter(self.dispatcher.destinations.values()))

    def plan(self, event: Mapping[str, Any] | Event | None = None) -> Plan:
        """Return what the destination makes of the event, or of another one."""
        source = self.event if event is None else event
        # As text, as events come: it is also read much quicker than a mapping, which may hold anything.
        return self.dispatcher.plan(source if isinstance(source, Event) else msgspec.json.encode(source))[0]


class Pinned(msgspec.Struct, frozen=True):
    """A case of the destination, and the ids of the rules that make an item in it."""

    path: Path
    case: Case | None
    """None when the file is wrong."""
    rules: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()


class Subject:
    """An installed destination, with what the checks need of it, each made once.

    What can't be made raises `NothingToSee`, since one check fails for it, and all others have nothing to look at.
    """

    def __init__(
        self, name: str, settings: Mapping[str, Any] | None, folder: Path | None, accepted: Any, examples: int
    ) -> None:
        self.name = name
        self.given = settings
        self.folder = folder
        self.accepted = accepted
        self.examples = examples
        self.hung: dict[str, Hang] = {}
        """The rules that don't come back (`prepare()`: by call type), as they were met first; none is asked again."""

    @cached_property
    def plugins(self) -> list[Plugin]:
        """The plugins of this name; one, when all is well."""
        return [plugin for plugin in installed(DESTINATIONS, refresh=True) if plugin.name == self.name]

    @property
    def told(self) -> str:
        """The destination as messages name it."""
        found = self.plugins
        return f"{found[0].value} of {found[0].distribution} {found[0].version}" if found else f"'{self.name}'"

    @cached_property
    def kind(self) -> type[Destination]:
        """The destination's class."""
        try:
            loaded: type[Destination] = load(DESTINATIONS, self.name)
        except PluginError as error:
            raise NothingToSee(f"The destination can't be loaded: {error}") from None
        return loaded

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Valid settings."""
        try:
            return valid_settings(self.kind, self.given)
        except PluginError as error:
            raise NothingToSee(f"The settings can't be read: {error}") from None

    def redacted(self, text: str) -> str:
        """Return a text without the secrets of the given settings."""
        if self.given is None:
            return text
        try:
            return redact(text, self.kind.settings.configure(self.settings).secret_values)
        except (NothingToSee, ConfigError):
            return text

    def configured(self, settings: Mapping[str, Any], **more: Any) -> Destination:
        """Return the destination with these settings, and with `more` of them laid over."""
        try:
            return self.kind(self.kind.settings.overlay(settings, more), id=self.name)
        except ConfigError as error:
            raise NothingToSee(f"The destination can't be configured: {error}") from None

    def dispatcher(self, settings: Mapping[str, Any], **more: Any) -> Dispatcher:
        """Return a dispatcher for the destination alone, whose clock stands still."""
        return Dispatcher([self.configured(settings, **more)], clock=_now)

    @cached_property
    def main(self) -> list[tuple[str, dict[str, Any], Dispatcher]]:
        """The settings under which every event is looked at; those that exclude each other are left out."""
        self.configured(self.settings)
        return list(self._possible(main_variants(self.kind, self.settings)))

    @cached_property
    def every(self) -> list[tuple[str, dict[str, Any], Dispatcher]]:
        """These, and each setting with each of its values."""
        return [*self.main, *self._possible(single_variants(self.kind, self.settings))]

    def _possible(self, variants: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any], Any]]:
        for words, settings in variants:
            try:
                yield words, settings, self.dispatcher(settings)
            except NothingToSee:
                continue

    @cached_property
    def corpus(self) -> list[tuple[str, dict[str, Any]]]:
        """Events of every call, with their names."""
        return list(events.corpus(self.configured(self.settings)))

    @cached_property
    def entries(self) -> list[Entry]:
        """What most checks look at: every event under the main settings, and some cases of each rule."""
        mapped = [
            Entry(f"{name}, with {words}", settings, dispatcher, event)
            for words, settings, dispatcher in self.main
            for name, event in self.corpus
        ]
        return [*mapped, *self._of_cases()]

    @property
    def planned(self) -> list[tuple[Entry, Plan]]:
        """The entries of which something would be sent, with their plans; without those of rules that hang."""
        found = [pair for pair in self._planned if not self.hangs(pair[0])] if self.hung else self._planned
        if not found:
            hung = ", ".join(hang.part for hang in self.hung.values())
            left = f"What doesn't come back is left out ({hung}), and no other event becomes an item."
            raise NothingToSee(left if hung else _NONE)
        return found

    @cached_property
    def _planned(self) -> list[tuple[Entry, Plan]]:
        made = self.mapped(self.entries)
        return [(entry, plan) for entry, plan in made if plan.outcome is Outcome.PLANNED and can_be_seen(plan)]

    def mapped(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Plan]]:
        """Yield entries with their plans; those of rules that don't come back are noted and left out."""
        for entry in entries:
            if self.hangs(entry):
                continue
            try:
                plan = entry.plan()
            except TooLong as error:
                self.note(error)
            else:
                yield entry, plan

    def note(self, error: TooLong) -> None:
        """Remember a rule that did not come back."""
        hang = Hang.of(error)
        self.hung.setdefault(hang.rule or _prepared(hang.event), hang)

    def hangs(self, entry: Entry) -> bool:
        """Return whether a rule that doesn't come back would be asked about an entry."""
        if not self.hung:
            return False
        try:
            event = Normaliser(clock=_now).event(msgspec.json.encode(entry.event))
        except Refusal:
            return False
        return _prepared(event) in self.hung or any(rule in self.hung for rule, _ in entry.destination.rules_for(event))

    def each(self, check: Callable[[Entry, Plan, Looked], None], *, also_unplanned: bool = False) -> None:
        """Have every entry checked; a broken rule is told with the smallest event that shows it."""
        looked: Looked = set()
        entries = self.mapped(self.entries) if also_unplanned else self.planned
        for entry, plan in entries:
            try:
                check(entry, plan, looked)
            except Broken as broken:
                least = _smallest(entry, plan, check, broken)
                least.where = f"{least.where} ({entry.words})".strip()
                raise least from None

    @cached_property
    def covering(self) -> dict[str, Entry]:
        """For each endpoint that can be reached, an entry that has an item for it."""
        found: dict[str, Entry] = {}
        for entry, plan in [*self.planned, *self._variants()]:
            for item in plan.items:
                if item.endpoint.name in entry.destination.endpoints:
                    found.setdefault(item.endpoint.name, entry)
        return found

    def _variants(self) -> Iterator[tuple[Entry, Plan]]:
        """Yield every event under the settings that are not the main ones, with its plan."""
        for words, settings, dispatcher in self.every[len(self.main) :]:
            for name, event in self.corpus:
                yield from self.mapped([Entry(f"{name}, with {words}", settings, dispatcher, event)])

    def _of_cases(self) -> Iterator[Entry]:
        times: dict[str, int] = {}
        for pinned in self.cases:
            new = [rule for rule in sorted(pinned.rules) if times.get(rule, 0) < _CASES_OF_A_RULE]
            times.update({rule: times.get(rule, 0) + 1 for rule in new})
            if pinned.case is not None and new:
                yield from _entries(pinned.case, self)

    @cached_property
    def suite(self) -> Suite:
        """All cases below the folder, of whatever destination."""
        return Suite(()) if self.folder is None else find([self.folder])

    @cached_property
    def cases(self) -> list[Pinned]:
        """The destination's cases."""
        found = (_pinned(path) for path in self.suite.cases)
        return [one for one in found if (one.case.destination if one.case else destination_of(one.path)) == self.name]


def _smallest(entry: Entry, plan: Plan, check: Callable[[Entry, Plan, Looked], None], broken: Broken) -> Broken:
    """Return the same finding, made with as little of the event as shows it."""
    found = broken

    def shows(event: dict[str, Any]) -> bool:
        nonlocal found
        less = msgspec.structs.replace(entry, event=event)
        made = less.plan()
        if made.outcome is not plan.outcome:
            return False
        try:
            check(less, made, set())
        except Broken as again:
            if again.mend == broken.mend:
                found = again
                return True
        return False

    events.smallest(entry.event, shows)
    return found


def _prepared(event: Event) -> str:
    return f"prepare() for {event.type}"


def _now() -> datetime:
    return NOW


def _entries(case: Case, subject: Subject) -> Iterator[Entry]:
    for variant in case.each():
        dispatcher = subject.dispatcher(variant.settings)
        for number, event in enumerate(variant.events):
            if isinstance(event, dict):
                stamped = events.stamped(event, f"{case.path.stem}-{number}"[:100])
                yield Entry(f"case {case.path.stem}", variant.settings, dispatcher, stamped)


def _pinned(path: Path) -> Pinned:
    """Return a case with what its snapshot says of it; without a snapshot, nothing is pinned."""
    try:
        case = Case.load(path)
    except ConfigError:
        return Pinned(path, None)
    try:
        kept = msgspec.json.decode(snapshot_of(path).read_bytes())
        plans = [plan for plans in kept.values() for plan in plans] if isinstance(kept, dict) else kept
        requests = [request for plan in plans for request in plan["requests"]]
        rules = frozenset(rule for request in requests for rule in request["rules"])
        return Pinned(path, case, rules, frozenset(request["endpoint"] for request in requests))
    except (OSError, msgspec.DecodeError, LookupError, TypeError):
        return Pinned(path, case)


def seen(plan: Plan) -> dict[str, Any]:
    """Return everything that a plan shows, as plain data, and its items' keys."""
    return {**plan.to_dict(), "keys": [item.key for item in plan.items]}


def can_be_seen(plan: Plan) -> bool:
    """Return whether requests can be made of the items; one check says so when they can't."""
    try:
        msgspec.json.encode(seen(plan))
    except Exception:
        return False
    return True


def rules_of(plan: Plan) -> str:
    """Return the rules that made the items of a plan, as messages name them."""
    rules = dict.fromkeys(item.rule for item in plan.items)
    return f"rules {', '.join(rules)}" if len(rules) > 1 else f"rule '{''.join(rules)}'"


def place_of(item: Item) -> str:
    """Return the rule and the endpoint of an item, as messages name them."""
    return f"rule '{item.rule}', endpoint '{item.endpoint.name}'"

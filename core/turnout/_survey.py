"""What decides what at a destination, as far as specimens show it: the links that cases can pin, and what they are of.

Each specimen is mapped with each of the settings that a suite is about. Where something comes up that was not seen
before (a field of a rule, or a rule with another value of a setting that matters to it), its lineage is traced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET

from turnout._json import compact, pointer, read
from turnout._links import Link, Names, is_free, is_open, platform_at, words_of
from turnout._output import Output, Target, differences, fields_of
from turnout._payload import Path
from turnout._perturb import other
from turnout._pointer import steps
from turnout._processes import shared_out
from turnout._shapes import kinds
from turnout._specimen_forms import LIBRARIES
from turnout._trial import Trial
from turnout._variants import ByValue
from turnout.destination import Destination, declared_rules
from turnout.event import CALL_TYPES
from turnout.lineage import CONDITION, Edge, Lineage, Source, applied, trace
from turnout.mapping import quietly
from turnout.settings import Settings
from turnout.specimens import Specimen, named, specimens

__all__ = ["Field", "Survey", "Witness", "chosen", "further", "survey", "trial_with"]

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_MESSAGE_ID = "made-message-id"
_FREE = ("properties", "traits")
_LIBRARY = Source("event", "/context/library/name")
_TIME = Source("event", "/timestamp")
_TIMES = (
    *(Source("event", f"/{name}") for name in ("originalTimestamp", "sentAt", "receivedAt")),
    Source("made", "clock"),
)
_MESSAGE = Source("event", "/messageId")
_CORE = frozenset(Settings().load_fields)
"""The settings that every destination has."""
_FEW = 2
_LONG = ("track", "page", "screen", "identify")


class Field(msgspec.Struct, frozen=True, order=True):
    """A field of the items that a rule makes on a platform; its path is named as in links."""

    platform: str
    rule: str
    path: str

    @property
    def place(self) -> tuple[str, str]:
        """Its platform and its rule."""
        return self.platform, self.rule


class Witness(msgspec.Struct, frozen=True):
    """What shows something: a specimen, mapped with the settings of a shape (its number), changed as an edge says."""

    specimen: str
    shape: int
    whole: Mapping[str, Any]
    """The specimen as it is."""
    edge: Edge | None = None

    @property
    def event(self) -> Mapping[str, Any]:
        """The event that shows it: the specimen, with what the edge has given."""
        return applied(self.whole, self.edge.given) if self.edge is not None and self.edge.given else self.whole


class Survey(msgspec.Struct):
    """What specimens show of a destination."""

    links: dict[Link, Witness] = {}
    fields: dict[Field, Witness] = {}
    kinds: dict[Field, set[str]] = {}
    """The kinds of the values that a field has, as names of Python's types."""
    taken: set[Field] = set()
    """The fields whose value is taken, or made, from something; any other is always the same."""
    chains: dict[tuple[Field, str], Witness] = {}
    """The fields that are taken from one of several places of the event, with each of these places."""
    keyed: set[tuple[str, str]] = set()
    """The platforms and rules whose items have an idempotency key."""
    values: set[tuple[str, str]] = set()
    """Each setting with those of its values (see `_shapes.kinds`) whose change is noticed."""

    def add(self, other: Survey) -> None:
        """Take over what another survey has and this one hasn't."""
        self.links = {**other.links, **self.links}
        self.fields = {**other.fields, **self.fields}
        for key, witness in other.chains.items():
            if key not in self.chains or self.chains[key].edge is None:
                self.chains[key] = witness
        for field, kinds_ in other.kinds.items():
            self.kinds.setdefault(field, set()).update(kinds_)
        self.taken |= other.taken
        self.values |= other.values
        self.keyed |= other.keyed

    def only(self, places: Collection[tuple[str, str]]) -> Survey:
        """Return what it has of the rules on these platforms, and of what is of no rule."""
        return Survey(
            {
                link: witness
                for link, witness in self.links.items()
                if not link.target.rule or (link.platform, link.target.rule) in places
            },
            {field: witness for field, witness in self.fields.items() if field.place in places},
            {field: kinds_ for field, kinds_ in self.kinds.items() if field.place in places},
            {field for field in self.taken if field.place in places},
            {key: witness for key, witness in self.chains.items() if key[0].place in places},
            self.keyed & set(places),
            self.values,
        )


def survey(shapes: Sequence[Destination], jobs: int = 1) -> Survey:
    """Return what specimens show of destinations of one class, whose settings differ; the last ones are kept."""
    return _survey(tuple(map(ByValue, shapes)), jobs)


@lru_cache(maxsize=8)
def _survey(shapes: tuple[ByValue, ...], jobs: int) -> Survey:
    made = Survey()
    # Those that take longest go first.
    lots = sorted(CALL_TYPES, key=lambda one: (one not in _LONG, one))
    for part in shared_out(Surveyor([one.base for one in shapes]), lots, jobs, "looked at specimens"):
        made.add(part)
    return _without_core(made)


def further(
    shown: Survey,
    shapes: Sequence[Destination],
    lots: Sequence[Sequence[Specimen]],
    places: Collection[tuple[str, str]],
    jobs: int = 1,
) -> Survey:
    """Return a survey with what further specimens show of the rules at `places`, which are platforms and rules."""
    made = Survey()
    made.add(shown)
    for part in shared_out(Onlooker(shapes), lots, jobs, "looked at events of cases"):
        made.add(part.only(places))
    return _without_core(made)


def _without_core(made: Survey) -> Survey:
    """Return a survey without what only says how turnout itself works out the time and the message id."""
    made.links = {link: witness for link, witness in made.links.items() if not _core_made(link, made.links)}
    made.chains = {key: witness for key, witness in made.chains.items() if key[1] not in {one.name for one in _TIMES}}
    return made


def _core_made(link: Link, links: Mapping[Link, Witness]) -> bool:
    """Return whether a link only says that turnout itself works out the time and the message id from several places."""
    known = _TIME if link.source in _TIMES else _MESSAGE if link.source == Source("made", "message_id") else None
    return known is not None and Link(link.platform, known, link.target) in links


class Surveyor:
    """Looks at the specimens of a call type with the settings of each shape."""

    def __init__(self, shapes: Sequence[Destination]) -> None:
        self.shapes = shapes

    def __reduce__(self) -> tuple[type[Surveyor], tuple[Sequence[Destination]]]:
        return Surveyor, (self.shapes,)

    def __call__(self, call_type: str) -> Survey:
        """Return what the specimens of this call type show."""
        looking = _Looking(self.shapes)
        with quietly():
            for number, (destination, each) in enumerate(chosen(self.shapes, call_type)):
                for one in each:
                    looking.look(number, destination, one)
        return looking.survey


class Onlooker:
    """Looks at given specimens with the settings of each shape."""

    def __init__(self, shapes: Sequence[Destination]) -> None:
        self.shapes = shapes

    def __reduce__(self) -> tuple[type[Onlooker], tuple[Sequence[Destination]]]:
        return Onlooker, (self.shapes,)

    def __call__(self, every: Sequence[Specimen]) -> Survey:
        """Return what these specimens show."""
        looking = _Looking(self.shapes)
        with quietly():
            for number, destination in enumerate(self.shapes):
                for one in every:
                    looking.look(number, destination, one)
        return looking.survey


def chosen(
    shapes: Sequence[Destination], call_type: str, own: Sequence[Specimen] = ()
) -> Iterator[tuple[Destination, list[Specimen]]]:
    """Yield each destination with its specimens of a call type, those with words of its settings too, and its `own`.

    Where platforms count, the specimens that come from none are also from each.
    """
    common = _of_type(specimens(destination=type(shapes[0]), parts=False), call_type)
    found: dict[tuple[bool, tuple[str, ...]], list[Specimen]] = {}
    for destination in shapes:
        key = destination.device_mode, tuple(sorted(words_of(destination)))
        if key not in found:
            each = [*common, *(_of_type(named(destination), call_type) if key[1] else ())]
            platforms = _from_platforms(each, destination) if destination.device_mode else ()
            found[key] = [*each, *platforms, *_of_type(own, call_type)]
        yield destination, found[key]


def _of_type(every: Iterable[Specimen], call_type: str) -> list[Specimen]:
    return [one for one in every if one.event["type"] == call_type]


def _from_platforms(every: Iterable[Specimen], destination: Destination) -> Iterator[Specimen]:
    """Yield specimens as they would come from each platform; of calls that the same rules are for only a few."""
    counts: Counter[tuple[bool, ...]] = Counter()
    for one in every:
        context = one.event.get("context")
        if isinstance(context, dict) and "_from_" not in one.name and one.name != one.event["type"]:
            kind = _rules_named(destination, one.event)
            counts[kind] += 1
            for platform, (name, *_) in LIBRARIES.items() if counts[kind] <= _FEW else ():
                library = {**context.get("library", {}), "name": name}
                event = {**one.event, "context": {**context, "library": library}}
                yield Specimen(f"{one.name}_from_{platform}", event)


def _rules_named(destination: Destination, event: Mapping[str, Any]) -> tuple[bool, ...]:
    """Return which rules for names of track calls are for this one."""
    name = event.get("event")
    filters = [one.event for one in declared_rules(type(destination)) if one.event is not None]
    return tuple(_is_for(one, name) for one in filters) if isinstance(name, str) else ()


def _is_for(fits: Callable[[str], bool], name: str) -> bool:
    try:
        return bool(fits(name))
    except Exception:
        return False


class _Looking:
    """What was seen so far."""

    def __init__(self, shapes: Sequence[Destination]) -> None:
        self.survey = Survey()
        self._trials: dict[str, Trial] = {}
        self._kinds = [kinds(one) for one in shapes]
        self._seen: set[Any] = set()
        self._mattering: dict[str, set[str]] = {}
        """For each rule the settings that are known to matter to it; under "" those that matter to no single one."""
        self._known: dict[tuple[Any, ...], _Known] = {}

    def look(self, number: int, destination: Destination, one: Specimen) -> None:
        """Map a specimen, and trace it when there is something in it that was not seen before."""
        if one.name not in self._trials:
            self._trials[one.name] = trial_with(destination, one.event)
        trial = self._trials[one.name]
        output = trial.output(trial.payload.text, destination)
        signs = set(_signs(destination, output, one.event))
        if not signs | self._settings_at(number, output) <= self._seen:
            self._trace(trial.otherwise(destination=destination), output, Witness(one.name, number, one.event))
            self._seen |= signs | self._settings_at(number, output)

    def _settings_at(self, number: int, output: Output) -> set[Any]:
        mine = self._kinds[number]
        rules = ("", *output.rules) if output.rules else ()
        return {(rule, name, mine[name]) for rule in rules for name in self._mattering.get(rule, ())}

    def _trace(self, trial: Trial, output: Output, witness: Witness) -> None:
        place = platform_at(trial.destination, output), tuple(output.rules)
        known = self._known.setdefault((witness.specimen, *place), _Known())
        trial = known.without_spare(trial, output)
        lineage = trace(trial, together=place not in self._seen, jointly=False)
        self._seen.add(place)
        known.spare |= set(lineage.unread)
        names = _Given(trial, trial.output(trial.payload.text), known)
        for edge in lineage.edges:
            link = names.link(edge)
            if link is not None:
                self.survey.links.setdefault(link, msgspec.structs.replace(witness, edge=edge))
                if edge.source.kind == "setting":
                    self._matters(edge, witness)
        self._note_fields(output, names.plain, witness)
        self._note_sources(lineage, names.plain, witness)

    def _matters(self, edge: Edge, witness: Witness) -> None:
        name, rule = edge.source.name, edge.target.rule
        self.survey.values.add((name, self._kinds[witness.shape][name]))
        # Core's own settings, such as base_url, move every request: a case of each of their values pins nothing.
        if rule or name not in _CORE:
            self._mattering.setdefault(rule, set()).add(name)

    def _note_fields(self, output: Output, names: Names, witness: Witness) -> None:
        for rule, items in output.rules.items():
            for number, item in enumerate(items, start=1):
                if item.key is not None:
                    self.survey.keyed.add((names.platform, rule))
                for path, value in fields_of(output.value(item)):
                    field = Field(names.platform, rule, names.target(Target("item", rule, number, pointer(path))).path)
                    self.survey.fields.setdefault(field, witness)
                    self.survey.kinds.setdefault(field, set()).add(type(value).__name__)

    def _note_sources(self, lineage: Lineage, names: Names, witness: Witness) -> None:
        """Keep which fields are taken from something, and which from one of several places of the event."""
        edges = [edge for edge in lineage.edges if edge.kind != CONDITION and edge.target.part == "item"]
        sources: dict[Target, set[Source]] = {}
        for edge in edges:
            sources.setdefault(edge.target, set()).add(edge.source)
        for edge in edges:
            field = Field(names.platform, edge.target.rule, names.target(edge.target).path)
            self.survey.taken.add(field)
            chain = {edge.source, *edge.without} & sources[edge.target]
            for source in sorted(chain) if len(chain) > 1 else ():
                shown = msgspec.structs.replace(witness, edge=edge) if source == edge.source else witness
                key = field, names.sources.get(source.name, "")
                known = self.survey.chains.setdefault(key, shown)
                # Only the edge of the source itself says what must be absent for it to be taken.
                if known.edge is None and shown.edge is not None:
                    self.survey.chains[key] = shown


class _Known:
    """What is known of a specimen and the rules that it runs on a platform; it spares asking again."""

    def __init__(self) -> None:
        self.spare: set[str] = set()
        """The JSON Pointers of values that nothing read."""
        self._closed: dict[frozenset[str], set[Path]] = {}
        self.given: dict[Any, Names] = {}

    def closed(self, destination: Destination) -> set[Path]:
        """Return the keys that are not open, of those that are the spec's; what settings name may open others."""
        return self._closed.setdefault(frozenset(words_of(destination)), set())

    def without_spare(self, trial: Trial, output: Output) -> Trial:
        """Return the trial of the event without the values that nothing reads, if nothing reads them now either."""
        payload = trial.payload
        paths = [path for path in payload.leaves() if isinstance(path[-1], str) and pointer(path) in self.spare]
        if not paths:
            return trial
        deleted = payload.altered(dict.fromkeys(paths, UNSET))
        changed = payload.altered({path: other(payload.places[path].value, 1) for path in paths})
        if any(differences(output, trial.output(text)) for text in (deleted, changed)):
            return trial
        return trial.otherwise(value=read(deleted))


class _Given:
    """The names of places, each in the event in which its edge shows itself."""

    def __init__(self, trial: Trial, output: Output, known: _Known) -> None:
        self._trial, self._known = trial, known
        self._closed = known.closed(trial.destination)
        self.plain = Names(trial, output, self._closed)
        self._opened = tuple(f"{pointer(path)}/" for path in self.plain.open)

    def link(self, edge: Edge) -> Link | None:
        """Return the link that an edge is."""
        return self._names(edge).link(edge.source, edge.target, edge.after)

    def _names(self, edge: Edge) -> Names:
        """Return the names without what is given, unless a key could be open, or the platform be another, then."""
        free = edge.source.kind == "event" and is_free(tuple(steps(edge.source.name)))
        if not edge.given or not (free or self._opens(edge) or any(one.source == _LIBRARY for one in edge.given)):
            return self.plain
        key = tuple((one.source, compact(None if one.after is UNSET else one.after)) for one in edge.given)
        if key not in self._known.given:
            trial = self._trial.otherwise(value=applied(self._trial.payload.value, edge.given))
            self._known.given[key] = Names(trial, trial.output(trial.payload.text), self._closed)
        return self._known.given[key]

    def _opens(self, edge: Edge) -> bool:
        below = f"{edge.source.name}/".startswith(self._opened)
        return below and not is_open(self.plain.target(edge.target).path)


def trial_with(destination: Destination, event: Mapping[str, Any]) -> Trial:
    """Return the trial of a specimen."""
    return Trial(destination, dict(event), _NOW, _MESSAGE_ID)


def _signs(destination: Destination, output: Output, event: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what is told of an output to know whether there is something new in it; open keys are guessed."""
    platform, words = platform_at(destination, output), words_of(destination)
    yield platform, output.state
    if not output.rules:
        return
    sent = _sent(event)
    for rule, items in output.rules.items():
        for item in items:
            yield platform, rule, item.endpoint.name
            for path, value in fields_of(output.value(item)):
                yield platform, rule, _guessed(path, value, sent, words)


def _guessed(path: tuple[str | int, ...], value: Any, sent: set[Any], words: Mapping[str, str]) -> tuple[str, ...]:
    told = ["*" if isinstance(one, int) else words.get(one, one) for one in path]
    key = next((one for one in reversed(path) if isinstance(one, str)), "")
    return (*told[:1], "{key}") if (key, compact(value)) in sent else tuple(told)


def _sent(event: Mapping[str, Any]) -> set[tuple[str, bytes]]:
    """Return the keys and values in what a sender is free to call as he likes."""
    context = event.get("context")
    parts = [event.get(name) for name in _FREE] + ([context.get("traits")] if isinstance(context, dict) else [])
    found = set()
    for part in parts:
        for path, value in fields_of(part):
            key = next((one for one in reversed(path) if isinstance(one, str)), "")
            found.add((key, compact(value)))
    return found

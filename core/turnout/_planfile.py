"""What a tracking plan's document says: its rules by call and name, in turnout's own form or as Segment exports it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from turnout._fields import shown
from turnout._json import pointer
from turnout._planschema import KEYWORDS, Path, Schema, check_schema, closed, validator
from turnout.errors import ConfigError, did_you_mean

__all__ = ["MODES", "UNPLANNED", "UNPLANNED_PROPERTIES", "Options", "Part", "Rule", "Rules", "read_rules"]

MODES = ("observe", "strip", "block")
UNPLANNED = ("observe", "block", "allow")
UNPLANNED_PROPERTIES = ("allow", "forbid")

_KEYS = ("name", "version", "description", "mode", "unplanned", "unplanned_properties")
_OWN = (*_KEYS, "definitions", "$defs", "events", "identify", "group", "page", "screen")
_ENTRY = ("mode", "description", "version", "context")
_HOLDS = {"track": "properties", "page": "properties", "screen": "properties", "identify": "traits", "group": "traits"}
_CALLS = ("track", "page", "screen", "identify", "group", "alias")
_LISTED = {
    "TRACK": "track",
    "IDENTIFY": "identify",
    "GROUP": "group",
    "PAGE": "page",
    "SCREEN": "screen",
    "COMMON": None,
}
_OBJECTS = (("properties",), ("traits",), ("context", "traits"))
"""What may be closed: where the names come from the sender, and not from the spec."""
_EVENT: tuple[str, ...] = ()
"""The place of a schema that describes the whole event."""


class Options(NamedTuple):
    """What stands above the file: empty texts leave what it says."""

    mode: str = ""
    unplanned: str = ""
    unplanned_properties: str = ""


class Part:
    """A schema, and the place in an event that it describes; what checks it is made at the first use."""

    __slots__ = ("_checker", "definitions", "place", "schema")

    def __init__(self, place: tuple[str, ...], schema: Schema, definitions: Mapping[str, Any]) -> None:
        self.place = place
        self.schema = schema
        self.definitions = definitions
        self._checker: Any = None

    @property
    def checker(self) -> Any:
        """Return the validator of the schema."""
        if self._checker is None:
            self._checker = validator(self.schema, self.definitions)
        return self._checker


class Rule(NamedTuple):
    """What holds for the calls of one name."""

    mode: str
    parts: tuple[Part, ...]
    unplanned: str = ""
    """The mode of a call that the plan doesn't have; empty for one that it has."""


class Rules(NamedTuple):
    """What a tracking plan says. A call for which neither table has a rule is not judged."""

    name: str
    version: str
    by_name: dict[tuple[str, str], Rule]
    by_version: dict[tuple[str, str, str], Rule]
    """Of events that stand there in several versions."""
    others: dict[str, Rule]
    """By call type: what holds for calls whose name has no rule."""


class _Entry(NamedTuple):
    """One rule as it is written: for the calls of a name, for all calls of a type (no name), or for all (no type)."""

    call: str | None
    name: str | None
    parts: list[Part]
    mode: str = ""
    version: str = ""


_NOTHING = _Entry(None, None, [])


def read_rules(document: Mapping[str, Any], file: str, options: Options, *, check: bool = True) -> Rules:
    """Return the rules of a document; raises `ConfigError` that names `file` and the JSON Pointer.

    Without `check` schemas are taken as they are, because they were checked before.
    """
    _check_options(options)
    reader = _Reader(document, file, check)
    usual = reader.options()
    entries = list(reader.segment() if "rules" in document else reader.own())
    usual = Options(usual.mode, options.unplanned or usual.unplanned, options.unplanned_properties or usual[2])
    table = _Table(entries, reader.named, usual, options.mode)
    name = reader.text("display_name") or reader.text("name")
    return Rules(name, reader.text("version"), *table.named(), table.others())


def _check_options(options: Options) -> None:
    for name, value, known in zip(Options._fields, options, (MODES, UNPLANNED, UNPLANNED_PROPERTIES), strict=True):
        if value and value not in known:
            words = ", ".join(map(repr, known))
            raise ConfigError(f"{name} must be one of {words}, not {shown(value)}.{did_you_mean(str(value), known)}")


class _Table:
    """Sorts entries into rules: what holds for a call is what its name, its type and the whole plan say."""

    def __init__(self, entries: list[_Entry], named: set[str], usual: Options, mode: str) -> None:
        self._entries = entries
        self._named = named
        self._usual = usual
        self._mode = mode
        self._common = [part for entry in entries if entry.call is None for part in entry.parts]
        self._whole = {entry.call: entry for entry in entries if entry.call and entry.name is None}

    def named(self) -> tuple[dict[tuple[str, str], Rule], dict[tuple[str, str, str], Rule]]:
        """Return the rules by name, and those of events in several versions by version as well."""
        newest: dict[tuple[str, str], tuple[str, Rule]] = {}
        by_version: dict[tuple[str, str, str], Rule] = {}
        for entry in self._entries:
            if entry.call is not None and entry.name is not None:
                rule = self._rule(entry)
                by_version[entry.call, entry.name, entry.version] = rule
                before = newest.get((entry.call, entry.name))
                if before is None or _rank(before[0]) <= _rank(entry.version):
                    newest[entry.call, entry.name] = entry.version, rule
        several = by_version if len(by_version) > len(newest) else {}
        return {key: rule for key, (_, rule) in newest.items()}, several

    def _rule(self, entry: _Entry) -> Rule:
        whole = self._whole.get(entry.call or "", _NOTHING)
        beside = [*whole.parts, *self._common]
        return Rule(self._chosen(entry.mode or whole.mode), (*self._closed(entry.parts, beside), *beside))

    def others(self) -> dict[str, Rule]:
        """Return by call type what holds for calls whose name has no rule of its own."""
        found = {call: self._other(call) for call in _CALLS}
        return {call: rule for call, rule in found.items() if rule.parts or rule.unplanned}

    def _other(self, call: str) -> Rule:
        whole = self._whole.get(call, _NOTHING)
        named = call in self._named
        unplanned = self._usual.unplanned if named and self._usual.unplanned != "allow" else ""
        parts = whole.parts if named else self._closed(whole.parts, self._common)
        return Rule(self._chosen(whole.mode), (*parts, *self._common), unplanned)

    def _chosen(self, mode: str) -> str:
        return self._mode or mode or self._usual.mode

    def _closed(self, parts: list[Part], beside: list[Part]) -> list[Part]:
        forbidden = self._usual.unplanned_properties == "forbid"
        return [_closed(part, beside) for part in parts] if forbidden else parts


def _rank(version: str) -> tuple[list[int], str]:
    """Return what versions are sorted by: their numbers, then their text."""
    return [int(number) for number in re.findall("[0-9]{1,18}", version)], version


def _closed(part: Part, beside: Iterable[Part]) -> Part:
    """Return a part that forbids properties and traits which neither it nor the parts beside it list."""
    schema = part.schema
    for place in _OBJECTS:
        inner = _within(part, place)
        if inner is not None:
            planned = {name for one in beside for name in _listed(_within(one, place))}
            schema = _put(schema, place[len(part.place) :], closed(inner, frozenset(planned)))
    return Part(part.place, schema, part.definitions)


def _within(part: Part, place: tuple[str, ...]) -> Schema | None:
    """Return what a part says of a place in the event, None for nothing."""
    if place[: len(part.place)] != part.place:
        return None
    schema: Any = part.schema
    for name in place[len(part.place) :]:
        schema = schema.get("properties", {}).get(name) if isinstance(schema, dict) else None
    return schema if isinstance(schema, dict) else None


def _listed(schema: Schema | None) -> Iterable[str]:
    return schema.get("properties", ()) if isinstance(schema, dict) else ()


def _put(schema: Any, place: tuple[str, ...], inner: Schema) -> Schema:
    if not place:
        return inner
    listed = schema["properties"]
    return {**schema, "properties": {**listed, place[0]: _put(listed[place[0]], place[1:], inner)}}


class _Reader:
    """Reads a document, and says where it is wrong."""

    def __init__(self, document: Mapping[str, Any], file: str, check: bool) -> None:
        self._document = document
        self._file = file
        self._check = check
        self._definitions: dict[str, Any] = {}
        self.named: set[str] = set()
        """The call types of which the plan names all calls that there may be."""

    def options(self) -> Options:
        """Return what the document says of modes."""
        said = self._document
        return Options(
            self._choice(said, "mode", MODES, ()) or "observe",
            self._choice(said, "unplanned", UNPLANNED, ()) or "observe",
            self._choice(said, "unplanned_properties", UNPLANNED_PROPERTIES, ()) or "allow",
        )

    def text(self, key: str) -> str:
        """Return a text or number of the document as text, empty when there is none."""
        return self._text(self._document, key, ())

    def own(self) -> Iterator[_Entry]:
        """Yield the rules of turnout's own form."""
        self._known(self._document, _OWN, ())
        for group in ("definitions", "$defs"):
            if group in self._document:
                self._definitions[group] = self._object(self._document, group, ())
        for group, members in self._definitions.items():
            for name, schema in members.items():
                self._schema(schema, (group, name))
        if "events" in self._document:
            yield from self._names("track", self._object(self._document, "events", ()), ("events",))
        for call in ("identify", "group", "page", "screen"):
            if call in self._document:
                yield from self._call(call, self._object(self._document, call, ()))

    def _call(self, call: str, told: Mapping[str, Any]) -> Iterator[_Entry]:
        names = ("names",) if call in ("page", "screen") else ()
        self._known(told, (*_ENTRY, _HOLDS[call], *names), (call,))
        yield self._entry(call, None, told, (call,))
        if "names" in told:
            yield from self._names(call, self._object(told, "names", (call,)), (call, "names"))

    def _names(self, call: str, told: Mapping[str, Any], path: Path) -> Iterator[_Entry]:
        self.named.add(call)
        for name in told:
            entry = self._object(told, name, path)
            self._known(entry, (*_ENTRY, _HOLDS[call]), (*path, name))
            yield self._entry(call, name, entry, (*path, name))

    def _entry(self, call: str, name: str | None, told: Mapping[str, Any], path: Path) -> _Entry:
        parts = [
            Part((key,), self._own_schema(told[key], (*path, key)), self._definitions)
            for key in (_HOLDS[call], "context")
            if key in told
        ]
        return _Entry(call, name, parts, self._choice(told, "mode", MODES, path))

    def segment(self) -> Iterator[_Entry]:
        """Yield the rules of Segment's export."""
        self.named.add("track")
        rules = self._document["rules"]
        if isinstance(rules, list):
            for index, rule in enumerate(rules):
                yield self._listed(rule, ("rules", index))
            return
        told = self._object(self._document, "rules", ())
        for key, call in (("global", None), ("identify", "identify"), ("group", "group")):
            if told.get(key):
                yield _Entry(call, None, [self._whole(told[key], ("rules", key))])
        events = told.get("events") or []
        if not isinstance(events, list):
            raise self._wrong(("rules", "events"), f"must be a list of events, not {shown(events)}")
        for index, event in enumerate(events):
            yield self._event(event, ("rules", "events", index))

    def _event(self, told: Any, path: Path) -> _Entry:
        """Return the rule of one of `rules.events`."""
        self._must(told, dict, "an object", path)
        self._must(told.get("name"), str, "the event's name", (*path, "name"))
        parts = [self._whole(told["rules"], (*path, "rules"))] if told.get("rules") else []
        return _Entry("track", told["name"], parts, "", self._text(told, "version", path))

    def _listed(self, told: Any, path: Path) -> _Entry:
        """Return the rule of one of `rules`, where that is a list."""
        self._must(told, dict, "an object", path)
        call = told.get("type")
        if call not in _LISTED:
            known = ", ".join(_LISTED)
            raise self._wrong((*path, "type"), f"must be one of {known}, not {shown(call)}")
        parts = [self._whole(told["jsonSchema"], (*path, "jsonSchema"))] if told.get("jsonSchema") else []
        if call == "TRACK":
            self._must(told.get("key"), str, "the event's name", (*path, "key"))
        key = told.get("key") if call in ("TRACK", "PAGE", "SCREEN") else None
        return _Entry(_LISTED[call], key or None, parts, "", self._text(told, "version", path))

    def _whole(self, schema: Any, path: Path) -> Part:
        return Part(_EVENT, self._schema(schema, path, own=False), {})

    def _own_schema(self, schema: Any, path: Path) -> Schema:
        names = schema if isinstance(schema, dict) and not KEYWORDS & schema.keys() else {}
        if names and all(isinstance(value, dict) for value in names.values()):
            advice = f'Write {{"type": "object", "properties": {{{json.dumps(next(iter(names)))}: …}}}}'
            raise self._wrong(path, f"is a list of names and no JSON Schema. {advice}")
        return self._schema(schema, path)

    def _schema(self, schema: Any, path: Path, *, own: bool = True) -> Schema:
        if not isinstance(schema, dict | bool):
            raise self._wrong(path, f"must be a JSON Schema, not {shown(schema)}")
        if self._check:
            check_schema(schema, self._file, path, self._definitions, own=own)
        return schema

    def _object(self, told: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
        self._must(told[key], dict, "an object", (*path, key))
        found: dict[str, Any] = told[key]
        return found

    def _must(self, value: Any, kind: type, what: str, path: Path) -> None:
        if not isinstance(value, kind) or value == "":
            raise self._wrong(path, f"must be {what}, not {shown(value)}")

    def _text(self, told: Mapping[str, Any], key: str, path: Path) -> str:
        value = told.get(key)
        if value is None or isinstance(value, str):
            return value or ""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong((*path, key), f"must be text, not {shown(value)}")
        return str(value)

    def _choice(self, told: Mapping[str, Any], key: str, known: Iterable[str], path: Path) -> str:
        value = told.get(key)
        if value is None:
            return ""
        if value in known:
            return str(value)
        words = ", ".join(map(repr, known))
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        raise self._wrong((*path, key), f"must be one of {words}, not {shown(value)}", hint)

    def _known(self, told: Mapping[str, Any], known: Iterable[str], path: Path) -> None:
        for key in told:
            if key not in known:
                hint = did_you_mean(key, known) or f" There are: {', '.join(known)}."
                raise self._wrong((*path, key), "is no key of a tracking plan", hint)

    def _wrong(self, path: Path, what: str, hint: str = "") -> ConfigError:
        place = f" {pointer(path)}:" if path else ""
        return ConfigError(f"{self._file}:{place} {what}.{hint}")

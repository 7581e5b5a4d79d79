"""Specimens: events made from the JSON Schemas of the spec, the same ones each time.

They are what a mapping is questioned with when nobody has given an event: each call with every known key filled, and
what is left of it without each of its parts. They fit the schemas, and within one event no two texts or numbers are
alike (there are only two booleans, and currencies are real ones), so that a value tells where it came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from turnout._specimen_forms import CALLS, FILLED, FORMS, LIBRARIES, OPTIONS
from turnout._times import iso
from turnout.destination import Destination
from turnout.event import CALL_TYPES

__all__ = ["Specimen", "named", "specimen", "specimens"]

_START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_COMMON = "urn:turnout:spec:common"
_NEEDED = {"group": ("groupId",), "track": ("event",)}


class Specimen(msgspec.Struct, frozen=True):
    """One event as a sender writes it; `name` says what is special, as in `track_without_context_device`."""

    name: str
    event: dict[str, Any]


def specimens(
    seed: int = 0, destination: Destination | type[Destination] | None = None, *, parts: bool = True
) -> Iterator[Specimen]:
    """Yield the specimens: the same ones for the same arguments, with other values for each `seed`.

    For each call type: every key filled (`track`), only what is required (`track_minimal`), as each platform's
    library sends it (`track_from_ios`), with options below `integrations` (`track_with_options`), and with `parts`
    without each optional key and each part of its context (`track_without_context_device`). Then the track calls that
    Segment's spec names (`track_order_completed`). With a `destination` the options are its own, and there are calls
    with the names that its settings hold: as event, as trait and as property (`track_named_…`, `identify_named_…`).
    """
    key = destination.name if destination is not None else "Example"
    for call_type in CALL_TYPES:
        whole = specimen(call_type, seed)
        yield Specimen(call_type, whole)
        yield Specimen(f"{call_type}_minimal", {name: whole[name] for name in _required(call_type)})
        for platform in LIBRARIES:
            yield Specimen(f"{call_type}_from_{platform}", _from(platform, call_type, seed))
        yield _with_options(call_type, seed, key)
        if parts:
            yield from _without_parts(call_type, whole)
    for name, properties in CALLS.items():
        values = _Values(seed)
        made = _filled("track", values) | {"event": name, "properties": values.fill(properties)}
        yield Specimen(f"track_{_word(name)}", made)
    if destination is not None:
        yield from named(destination, seed)


def specimen(call_type: str, seed: int = 0) -> dict[str, Any]:
    """Return an event of this call type with every key that the spec knows; raises `ValueError` for an unknown type."""
    return _filled(call_type, _Values(seed))


class _Values:
    """Gives values, no two alike."""

    def __init__(self, seed: int) -> None:
        self._last = 100 + 1000 * seed

    def next(self) -> int:
        self._last += 1
        return self._last

    def fill(self, form: Any) -> Any:
        """Return a form with its values."""
        if isinstance(form, dict):
            return {key: self.fill(inner) for key, inner in form.items()}
        if isinstance(form, list):
            return [self.fill(inner) for inner in form]
        if isinstance(form, bool) or form is None:
            return form
        number = self.next()
        if isinstance(form, str):
            return form.format(n=number, small=1 + number % 253)
        return number + form

    def time(self) -> str:
        number = self.next()
        return iso(_START + timedelta(minutes=number, milliseconds=number))

    def degrees(self) -> float:
        return round(10 + self.next() % 70_000 / 1000 + 0.0005, 4)


def _filled(call_type: str, values: _Values) -> dict[str, Any]:
    from turnout_specs import schema

    whole = schema(call_type)
    common = whole["$defs"][_COMMON]
    keys = {**common["properties"], **whole["properties"]}
    return {key: _value(part, f"/{key}", call_type, common["$defs"], values) for key, part in keys.items()}


def _value(part: Mapping[str, Any], path: str, call_type: str, known: Mapping[str, Any], values: _Values) -> Any:
    """Return a value for a part of the schema."""
    if "const" in part:
        return part["const"]
    key = path.rpartition("/")[2]
    form = FILLED.get(f"{call_type}{path}", FORMS.get(path))
    if form in ("latitude", "longitude"):
        return values.degrees()
    if form is not None:
        return values.fill(form)
    if "$ref" in part:
        part = known[part["$ref"].rpartition("/")[2]]
    if "properties" in part and "string" not in part["type"]:
        return {name: _value(inner, f"{path}/{name}", call_type, known, values) for name, inner in _keys(part)}
    kinds = part.get("type", ())
    if "array" in kinds:
        return [_value(part["items"], f"{path}/{number}", call_type, known, values) for number in (0, 1)]
    if "pattern" in part:
        return values.time() if "number" not in kinds else values.next()
    return values.fill(f"{key} {{n}}" if "string" in kinds else "boolean" not in kinds or True)


def _keys(part: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(part["properties"].items())


def _required(call_type: str) -> tuple[str, ...]:
    return ("type", "userId", *_NEEDED.get(call_type, ()))


def _without_parts(call_type: str, whole: dict[str, Any]) -> Iterator[Specimen]:
    required = _NEEDED.get(call_type, ()) + (("userId",) if call_type in ("alias", "delete") else ())
    for key in whole:
        if key not in ("type", *required):
            left = {name: value for name, value in whole.items() if name != key}
            yield Specimen(f"{call_type}_without_{_word(key)}", left)
    for key in whole["context"]:
        left = {name: value for name, value in whole["context"].items() if name != key}
        yield Specimen(f"{call_type}_without_context_{_word(key)}", {**whole, "context": left})


def _from(platform: str, call_type: str, seed: int) -> dict[str, Any]:
    """Return a call as the library of a platform sends it."""
    name, sure, keys = LIBRARIES[platform]
    event = specimen(call_type, seed)
    context = {key: value for key, value in event["context"].items() if key in keys}
    for key, inner in sure.items():
        context[key] = {**context[key], **inner}
    context["library"] = {**context["library"], "name": name}
    for key in ("originalTimestamp", "receivedAt", "projectId", "version", "channel", "_metadata"):
        event.pop(key, None)
    return {**event, "context": context}


def _with_options(call_type: str, seed: int, key: str) -> Specimen:
    values = _Values(seed)
    event = _filled(call_type, values)
    options = values.fill({**OPTIONS, "unmap": "unmap-{n}"} if call_type == "alias" else OPTIONS)
    return Specimen(f"{call_type}_with_options", {**event, "integrations": {"All": True, key: options}})


def named(destination: Destination | type[Destination], seed: int = 0) -> Iterator[Specimen]:
    """Yield those of the specimens that have a name from the settings, configured or by default."""
    for name in _names(destination):
        values = _Values(seed)
        track = _filled("track", values)
        track["properties"] = {**track["properties"], name: values.fill("{n}")}
        yield Specimen(f"track_named_{_word(name)}", {**track, "event": name})
        for call_type in ("identify", "group"):
            values = _Values(seed)
            event = _filled(call_type, values)
            event["traits"] = {**event["traits"], name: values.fill("{n}")}
            yield Specimen(f"{call_type}_named_{_word(name)}", event)


def _names(destination: Destination | type[Destination]) -> list[str]:
    """Return the words in the lists, objects and texts of the settings, except secrets, addresses and choices."""
    from turnout.settings import describe

    found: dict[str, None] = {}
    for one in describe(destination.settings):
        value = destination.config[one.name] if isinstance(destination, Destination) else one.default
        if one.secret or one.choices or one.name == "base_url":
            continue
        words = [value] if isinstance(value, str) else value if isinstance(value, list | dict) else ()
        found.update(dict.fromkeys(word for word in words if isinstance(word, str) and word))
    return list(found)


def _word(name: str) -> str:
    """Return a name as it stands in the name of a specimen: small letters, digits and `_`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", apart.lower()).strip("_") or "name"

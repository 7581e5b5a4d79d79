"""A case made of a recorded event: secrets and personal data become stand-ins, then case and snapshot are written."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from turnout import _casefiles
from turnout._configure import names_by_key, secrets_of, texts
from turnout._json import read, strict
from turnout._redact import redact
from turnout.cases import Case, Plans, Told, dump
from turnout.destination import Destination, load_destination
from turnout.errors import ConfigError, Refusal, SettingsError
from turnout.reading import Record, records
from turnout.source import Source, events_of, load_source
from turnout.sourcecases import SourceCase
from turnout.standins import StandIns, Stood

__all__ = ["NewCase", "make", "make_of_payload", "payload_of", "recorded"]

_PLACES = ("tests/cases", "cases")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LONGEST = 60


class NewCase(msgspec.Struct, frozen=True):
    """A case that is not written yet: its file, its text and plans, and where stand-ins stand."""

    path: Path
    text: str
    plans: Plans
    stood: tuple[Stood, ...]
    """Where stand-ins stand in the event."""
    settings: tuple[str, ...]
    """The keys of settings that have stand-ins."""
    told: Told | None = None
    """What a source reads of the payload, for a case of one; such a case has no plans."""

    def write(self) -> list[Path]:
        """Write the case and its snapshot, and return their paths.

        Raises `ConfigError` when one is there already or can't be written; nothing is left behind then.
        """
        snapshot = _casefiles.snapshot_of(self.path)
        written: list[Path] = []
        try:
            for path, text in (
                (self.path, self.text),
                (snapshot, dump(self.plans if self.told is None else self.told)),
            ):
                _create(path, text)
                written.append(path)
        except ConfigError:
            for path in written:
                path.unlink()
            raise
        return written


def recorded(stream: BinaryIO, name: str, line: int | None = None) -> tuple[Any, str]:
    """Return an event of a stream (JSON lines, or a JSON array) and its place: that of `line`, or the first.

    Raises `ConfigError` when there is none, or when it is not JSON; `name` is what the stream is called.
    """
    last = None
    for record in records(stream):
        last = record.place
        if line is None or _number(record) == line:
            return _event(record, f"{name}, {record.place}"), f"{name}, {record.place}"
    if last is None:
        raise ConfigError(f"{name}: there is no event in it.")
    raise ConfigError(f"{name}: there is no event in line {line}. The last one is in {last}.")


def _number(record: Record) -> int:
    return int(record.place.rpartition(" ")[2])


def _event(record: Record, place: str) -> Any:
    try:
        if record.refusal is not None:
            raise record.refusal
        return strict({"event": read(record.raw)})["event"]  # as deep as a case can be
    except Refusal as refusal:
        raise ConfigError(f"{place}: {refusal}") from None


def make(
    event: Any,
    destination: str,
    settings: Mapping[str, Any],
    *,
    name: str | None = None,
    into: Path | None = None,
    doc: str = "",
) -> NewCase:
    """Return a case of an event (or a batch body) at a plugin, with stand-ins for what is secret or personal.

    `into` is a folder of cases, one below it, or any other (then it is its folder `cases`); by default `tests/cases` or
    `cases`. `name` is made of the event's type and name by default. An event that can't be accepted is fine: the case
    shows how it is refused. Raises `ConfigError` for an unknown plugin, wrong settings, and a name that is wrong or
    taken.
    """
    kind = load_destination(destination)
    stand_ins, given, hidden = _settings(kind, destination, settings)
    replaced = stand_ins.replace(event)
    path = _path(into, destination, _called(replaced.event) if name is None else name)
    told: dict[str, Any] = {"doc": doc} if doc else {}
    if _casefiles.destination_of(path) != destination:
        told["destination"] = destination
    told |= {"settings": given, "event": replaced.event}
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return NewCase(path, text, Case.of(path, told).plan(), replaced.stood, hidden)


def payload_of(data: bytes, name: str) -> Any:
    """Return the JSON payload in a file, which `name` names; raises `ConfigError` when it is none."""
    try:
        return strict({"payload": read(data)})["payload"]
    except Refusal as refusal:
        advice = "A case is made of JSON; of a file of JSON lines, name the line with --line."
        raise ConfigError(f"{name}: {refusal} {advice}") from None


def make_of_payload(
    payload: Any,
    source: str,
    settings: Mapping[str, Any],
    *,
    name: str | None = None,
    into: Path | None = None,
    doc: str = "",
) -> NewCase:
    """Return a case of a payload (decoded JSON) of a source, with stand-ins for what is secret or personal.

    What the events have that the source reads of it says what is personal in the payload. The rest is as for `make`.
    """
    kind = load_source(source)
    stand_ins, given, hidden = _settings(kind, source, settings)
    events = [one for one in events_of(kind(settings, id=source), payload) if not isinstance(one, Refusal)]
    replaced = stand_ins.replace_payload(payload, [strict(one) for one in events])
    path = _path(into, source, _called(events[0] if events else "payload") if name is None else name)
    told: dict[str, Any] = {"doc": doc} if doc else {}
    if _casefiles.destination_of(path) != source:
        told["source"] = source
    told |= {"settings": given, "payload": replaced.event}
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return NewCase(path, text, [], replaced.stood, hidden, SourceCase.of(path, told).read())


# Settings


def _settings(
    kind: type[Destination] | type[Source], name: str, settings: Mapping[str, Any]
) -> tuple[StandIns, dict[str, Any], tuple[str, ...]]:
    """Return the stand-ins of a destination's secrets, the settings with them, and the keys that have them.

    A text `${NAME}` is read from the environment, which a case never does: a secret has a stand-in instead.
    """
    schema = kind.settings()
    names, secret = names_by_key(schema), secrets_of(schema)
    hidden = tuple(key for key, value in settings.items() if names.get(key) in secret and any(texts([value])))
    values = [_resolved(text) for text in texts(settings[key] for key in hidden)]
    stand_ins = StandIns(values)
    given = {key: _swapped(value, stand_ins) if key in hidden else value for key, value in settings.items()}
    try:
        configured = kind(given, id=name)
    except SettingsError as error:
        refused = {key for key in hidden if names[key] in error.errors}
        for text in texts(settings[key] for key in refused):
            stand_ins.patterned(_resolved(text))
        given |= {key: _swapped(settings[key], stand_ins) for key in refused}
        configured = kind(given, id=name)
    for key, value in given.items():
        if key not in hidden:
            given[key] = _without(_shown(value, configured.config[names[key]]), values)
    return stand_ins, given, hidden


def _resolved(text: str) -> str:
    found = _VARIABLE.fullmatch(text)
    return os.environ.get(found[1]) or text if found else text


def _swapped(value: Any, stand_ins: StandIns) -> Any:
    if isinstance(value, str):
        return stand_ins.of(_resolved(value), "key") if value else value
    if isinstance(value, Mapping):
        return {key: _swapped(inner, stand_ins) for key, inner in value.items()}
    return [_swapped(inner, stand_ins) for inner in value] if isinstance(value, list) else value


def _shown(value: Any, configured: Any) -> Any:
    return str(configured) if isinstance(value, str) and _VARIABLE.fullmatch(value) else value


def _without(value: Any, secrets: Iterable[str]) -> Any:
    """Return a setting with `***` for secrets that stand in it."""
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, Mapping):
        return {key: _without(inner, secrets) for key, inner in value.items()}
    return [_without(inner, secrets) for inner in value] if isinstance(value, list) else value


# Names and files


def _path(into: Path | None, destination: str, name: str) -> Path:
    path = _folder(into, destination) / f"{name}.json"
    if path.name != f"{name}.json":
        raise ConfigError(f"'{name}' is no name of a case. Name the folder with --into.")
    taken = next((one for one in (path, _casefiles.snapshot_of(path)) if one.exists()), None)
    if taken is not None:
        raise _taken(taken)
    if (wrong := _casefiles.fault(path)) is not None:
        raise ConfigError(wrong)
    if not _casefiles.is_case(_casefiles.absolute(path)):
        raise ConfigError(f"{path}: would be no case there. Name a folder of cases with --into.")
    return path


def _folder(into: Path | None, destination: str) -> Path:
    if into is None:
        there = next((Path(place) for place in _PLACES if Path(place).is_dir()), None)
        into = there or Path(_PLACES[0] if Path("tests").is_dir() else _PLACES[1])
    whole = _casefiles.absolute(into)
    if _casefiles.suite_of(whole) is not None:
        return into
    return into / destination if whole.name == "cases" else into / "cases" / destination


def _called(event: Any) -> str:
    """Return a name for the case of an event: its type and name, as in `track_order_completed`."""
    if not isinstance(event, dict):
        return "event"
    words = [event.get("type") or ("batch" if "batch" in event else "event"), event.get("event") or event.get("name")]
    text = " ".join(word for word in words if isinstance(word, str))
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain)[:_LONGEST].strip("_") or "event"


def _create(path: Path, text: str) -> None:
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise _taken(Path(error.filename or path)) from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}.") from None


def _taken(path: Path) -> ConfigError:
    return ConfigError(f"{path}: is there already. Give the case another name with --name.")

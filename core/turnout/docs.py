"""What a destination's page says, made from its code: settings, rules, fields, endpoints, and cases as examples.

`describe_destination` gives it as data, in a shape that stays (`DestinationDoc`); `destination_page` as Markdown.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from turnout.answer import read_status
from turnout.copies import Copy
from turnout.destination import Destination, Rule, declared_endpoints, declared_rules
from turnout.endpoint import Batch, Endpoint
from turnout.envelope import settings_in
from turnout.errors import ConfigError
from turnout.examples import ExampleDoc, examples, shipped_cases
from turnout.platforms import PLATFORMS
from turnout.plugins import DESTINATIONS, Plugin, installed
from turnout.settings import Config, SettingDoc, describe

__all__ = [
    "DestinationDoc",
    "EndpointDoc",
    "FieldDoc",
    "RuleDoc",
    "describe_destination",
    "destination_page",
    "rule_ids",
    "setting_doc",
]

_logger = logging.getLogger("turnout")

FORMAT = 1
"""The version of the shape of `DestinationDoc`; it grows when a key changes its meaning or goes."""

_WORD = r"[A-Z]+(?:-[A-Z]+)*"
_ID = re.compile(rf"\b({_WORD})-(\d\d)(?:\s+to\s+{_WORD}-(\d\d)|\s+to\s+-(\d\d)|((?:,\s+-\d\d)+))?")
_PLACE = re.compile(r"\{(\w+)\}")
_CAMEL = re.compile(r"_(\w)")
_T = TypeVar("_T")


class RuleDoc(msgspec.Struct, frozen=True):
    """One rule: what runs when."""

    id: str
    """The name by which plans show it."""
    calls: list[str]
    """The call types that it handles."""
    platforms: list[str]
    """The platforms that it runs on."""
    settings: list[str]
    """The settings that must be on, those that must be off with `not ` in front."""
    by_settings: bool
    """Whether a function of the settings decides instead."""
    events: str
    """For a rule of some track calls only: the function that decides by the event's name. Else empty."""
    aside: bool
    """Whether it only sends what goes beside a call."""
    doc: str
    """Its docstring, without the sentences that only name rules of a rule book."""
    rules: list[str]
    """The ids of a rule book that its docstring names."""


class FieldDoc(msgspec.Struct, frozen=True):
    """One row of the table of fields: what is copied from every event."""

    sources: list[str]
    """Places in the event as it is sent, such as `context.os.name`; none for a constant."""
    targets: list[str]
    """The vendor's keys."""
    doc: str
    """What happens on the way; empty when the value is copied as it is."""
    rules: list[str]
    """The ids of a rule book that ask for it."""


class EndpointDoc(msgspec.Struct, frozen=True):
    """One endpoint: where requests go, how much one may hold, and how answers are read."""

    name: str
    """The name by which plans show it."""
    method: str
    """The HTTP method."""
    url: str | None
    """The address with the default settings, `{name}` for a required one; null when they don't tell it."""
    url_by_settings: bool
    """Whether a function of the settings makes the address."""
    url_settings: list[str]
    """The settings that the address depends on, apart from `base_url`."""
    content_type: str
    """The media type of the body."""
    body_settings: list[str]
    """The settings that stand in the body, beside the items."""
    gzip: bool | None
    """Whether the body is compressed with gzip, with the default settings; null when they don't tell it."""
    gzip_by_settings: bool
    """Whether a function of the settings decides that."""
    auth: str
    """The scheme of the `authorization` header (`Basic`, `Bearer`); empty when there is none."""
    auth_settings: list[str]
    """The settings that the `authorization` header is made of."""
    headers: list[str]
    """The names of further headers."""
    header_settings: dict[str, str]
    """Those of them that a setting fills, each with its name."""
    items: int | None
    """How many items one request may hold, with the default settings; null when they don't tell it."""
    bytes: int | None
    """How many bytes its body may have, before compression."""
    item_bytes: int | None
    """How many bytes one item may have; 0 for as many as a request has room for."""
    linger_ms: int | None
    """How long an item may wait for others."""
    limits_by_settings: bool
    """Whether a function of the settings makes the limits."""
    keyed: bool
    """Whether the vendor has an idempotency key, by which it recognises an item that it gets twice."""
    answers: str
    """How answers are read: the first paragraph of the reader's docstring."""
    doc: str
    """What it is for."""


class DestinationDoc(msgspec.Struct, frozen=True):
    """What is known of a destination: the object that `turnout docs --json` writes."""

    format: int
    """The version of this shape, 1."""
    plugin: str
    """The name under which it is installed."""
    name: str
    """The key in an event's `integrations`."""
    distribution: str
    """The package that it comes with; empty when it is not installed as a plugin."""
    version: str
    """The version of that package."""
    api: int
    """The version of the plugin API that it was made for."""
    doc: str
    """Its docstring."""
    ignored: dict[str, list[str]]
    """The call types that a platform doesn't have."""
    settings: list[SettingDoc]
    """Its settings, core's own last."""
    rules: list[RuleDoc]
    """Its rules, in the order in which they run."""
    fields: list[FieldDoc]
    """What is copied from every event."""
    endpoints: list[EndpointDoc]
    """Its endpoints, in the order in which they are written."""
    examples: list[ExampleDoc]
    """Cases, one for each rule that has any; empty when there are no cases."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self, enc_hook=str))
        return plain


def describe_destination(kind: type[Destination], plugin: str, cases: Path | None = None) -> DestinationDoc:
    """Return what is known of a destination that is installed as `plugin`.

    Its examples are cases of the folder `cases`, by default those that its package ships in a folder `cases`.
    Raises `ConfigError` when the cases that `cases` names can't be used.
    """
    home = next((one for one in installed(DESTINATIONS) if one.name == plugin), Plugin(plugin, "", "", "", ""))
    return DestinationDoc(
        format=FORMAT,
        plugin=plugin,
        name=kind.name,
        distribution=home.distribution,
        version=home.version,
        api=kind.api,
        doc=inspect.cleandoc(kind.__doc__ or ""),
        ignored={platform: list(calls) for platform, calls in kind.ignored.items()},
        settings=[setting_doc(one) for one in describe(kind.settings)],
        rules=[_rule(one) for one in declared_rules(kind)],
        fields=_fields(kind),
        endpoints=[_endpoint(one, _likely(kind), describe(kind.settings)) for one in declared_endpoints(kind)],
        examples=_examples(kind, plugin, cases),
    )


def destination_page(kind: type[Destination], plugin: str, cases: Path | None = None) -> str:
    """Return the Markdown page of a destination that is installed as `plugin`; see `describe_destination`."""
    from turnout.markdown import page

    return page(describe_destination(kind, plugin, cases))


def rule_ids(text: str) -> list[str]:
    """Return the ids of a rule book that a docstring names; `AMP-CTX-01 to AMP-CTX-03` names three."""
    found: list[str] = []
    for match in _ID.finditer(text):
        word, first = match[1], int(match[2])
        last = int(match[3] or match[4] or first)
        numbers = [*range(first, last + 1), *(int(one) for one in re.findall(r"\d\d", match[5] or ""))]
        found += [f"{word}-{number:02}" for number in numbers]
    return list(dict.fromkeys(found))


def _examples(kind: type[Destination], plugin: str, cases: Path | None) -> list[ExampleDoc]:
    if cases is None:
        return _shipped(kind, plugin)
    found = examples(kind, plugin, cases)
    if not found:
        place = f"cases/{plugin}/<name>.json"
        raise ConfigError(f"{cases}: there is no case of '{plugin}' in it. A case is a file {place} with an event.")
    return found


def _shipped(kind: type[Destination], plugin: str) -> list[ExampleDoc]:
    """Return examples of the cases in the plugin's package; none, with a warning, when they need what isn't here."""
    folder = shipped_cases(kind)
    try:
        return [] if folder is None else examples(kind, plugin, folder)
    except ConfigError as error:
        # Who only uses a plugin needs no PyYAML; a case that is wrong is its author's to mend.
        if not isinstance(error.__context__, ModuleNotFoundError):
            raise
        _logger.warning("The examples of '%s' are left out: %s", plugin, error)
        return []


def setting_doc(told: SettingDoc) -> SettingDoc:
    """Return what is told of a setting without the default of a secret."""
    return msgspec.structs.replace(told, default="***") if told.secret and told.default else told


def _rule(told: Rule) -> RuleDoc:
    return RuleDoc(
        id=told.id,
        calls=list(told.call_types),
        platforms=[one for one in PLATFORMS if one in told.platforms],
        settings=list(told.settings),
        by_settings=callable(told.when),
        events=getattr(told.event, "__name__", "function") if told.event else "",
        aside=told.aside,
        doc=_prose(told.doc),
        rules=rule_ids(told.doc),
    )


def _prose(doc: str) -> str:
    """Return a docstring without the sentences that only name ids."""
    sentences = re.split(r"(?<=[.!?])\s+", " ".join(doc.split()))
    return " ".join(one for one in sentences if not _only_ids(one))


def _only_ids(sentence: str) -> bool:
    return bool(rule_ids(sentence)) and len(re.sub(rf"{_WORD}-\d\d|-\d\d|to|and|,|\.|\s|Revenue:", "", sentence)) == 0


def _fields(kind: type[Destination]) -> list[FieldDoc]:
    made = []
    for row in kind.table:
        sources = [_json_path(row.source)] if isinstance(row, Copy) else list(row.sources)
        targets = [row.target] if isinstance(row, Copy) else list(row.targets)
        made.append(FieldDoc(sources, targets, row.doc, list(row.rules)))
    return made


def _json_path(source: str) -> str:
    return ".".join(_CAMEL.sub(lambda found: found[1].upper(), part) for part in source.split("."))


def _endpoint(told: Endpoint, config: Config, settings: list[SettingDoc]) -> EndpointDoc:
    limits = _asked(told.limits, config, Batch)
    return EndpointDoc(
        name=told.name,
        method=told.method,
        url=_asked(told.url, config, str),
        url_by_settings=callable(told.url),
        url_settings=_in_url(told.url, config, settings),
        content_type=told.body.content_type,
        body_settings=list(dict.fromkeys(settings_in(told.body.template))),
        gzip=_asked(told.gzip, config, bool),
        gzip_by_settings=callable(told.gzip),
        auth=told.auth.scheme if told.auth else "",
        auth_settings=list(told.auth.names) if told.auth else [],
        headers=list(told.headers),
        header_settings={name: found for name, value in told.headers.items() for found in settings_in(value)},
        items=limits.items if limits else None,
        bytes=limits.bytes if limits else None,
        item_bytes=limits.item_bytes if limits else None,
        linger_ms=limits.linger_ms if limits else None,
        limits_by_settings=callable(told.limits),
        keyed=told.keyed,
        answers=_reading(told.read),
        doc=told.doc,
    )


def _in_url(url: str | Callable[[Config], str], config: Config, settings: list[SettingDoc]) -> list[str]:
    """Return the settings that a URL depends on; for a function, those that move what it makes."""
    if not callable(url):
        return list(dict.fromkeys(_PLACE.findall(url)))
    usual = _asked(url, config, str)
    tried = [(one.name, Config({**config, one.name: value})) for one in settings for value in _others(one)]
    return list(dict.fromkeys(name for name, other in tried if _asked(url, other, str) not in (None, usual)))


def _others(told: SettingDoc) -> list[Any]:
    """Return values that a setting may have beside its default."""
    if told.choices:
        return list(told.choices)
    if isinstance(told.default, bool):
        return [not told.default]
    if isinstance(told.default, int | float):
        return [told.default + 1]
    return [f"https://{told.name}.example"] if isinstance(told.default, str) or told.required else []


def _asked(value: _T | Callable[[Config], _T], config: Config, kind: type[_T]) -> _T | None:
    """Return a value, or what a function of the settings makes; None when it can't work with what is likely."""
    try:
        made = value(config) if callable(value) else value
    except Exception:
        return None
    return made if isinstance(made, kind) else None


def _likely(kind: type[Destination]) -> Config:
    """Return the default settings; for a required one its first choice, or `{name}`."""
    return Config({one.name: _first(one) if one.required else one.default for one in describe(kind.settings)})


def _first(told: SettingDoc) -> Any:
    return told.choices[0] if told.choices else f"{{{told.name}}}"


_BY_STATUS = "By the status alone: "


def _reading(read: object) -> str:
    doc = inspect.cleandoc(read.__doc__ or "") if inspect.isroutine(read) else ""
    paragraphs = [" ".join(part.split()) for part in doc.split("\n\n")]
    return _BY_STATUS + paragraphs[1] if read is read_status else paragraphs[0]

"""What a source's page says, made from its code: settings, the options of its pull, and cases as examples."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from turnout._json import compact
from turnout.checking import find
from turnout.docs import setting_doc
from turnout.errors import ConfigError
from turnout.examples import masked, shipped_cases
from turnout.markdown import block, line, pretty, span, table
from turnout.plugins import SOURCES, Plugin, installed
from turnout.settings import SettingDoc, describe
from turnout.source import Source
from turnout.sourcecases import SourceCase, load_case

__all__ = ["SourceDoc", "SourceExampleDoc", "describe_source", "source_page"]

FORMAT = 1
"""The version of the shape of `SourceDoc`; it grows when a key changes its meaning or goes."""


class SourceExampleDoc(msgspec.Struct, frozen=True):
    """A case as an example: a payload, the settings it is read with, and what it becomes."""

    name: str
    """The name of the case."""
    doc: str
    """What it shows."""
    settings: dict[str, Any]
    """The settings that it gives, each secret as `***`."""
    payload: Any
    """The payload, as it came in."""
    events: list[Any]
    """The events that it becomes."""
    refused: list[Any]
    """What of it can't be read: `code`, `message` and `path` of each part."""


class SourceDoc(msgspec.Struct, frozen=True):
    """What is known of a source: the object that `turnout docs --json` writes for one."""

    format: int
    """The version of this shape, 1."""
    plugin: str
    """The name under which it is installed."""
    name: str
    """Its name for people."""
    distribution: str
    """The package that it comes with; empty when it is not installed as a plugin."""
    version: str
    """The version of that package."""
    api: int
    """The version of the plugin API that it was made for."""
    doc: str
    """Its docstring."""
    settings: list[SettingDoc]
    """Its settings."""
    pulls: bool
    """Whether it fetches payloads itself."""
    options: list[SettingDoc]
    """What one pull may be told."""
    examples: list[SourceExampleDoc]
    """Cases: one without settings, and one for each setting that any has; empty when there are no cases."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self, enc_hook=str))
        return plain


def describe_source(kind: type[Source], plugin: str, cases: Path | None = None) -> SourceDoc:
    """Return what is known of a source that is installed as `plugin`.

    Its examples are cases of the folder `cases`, by default those that its package ships in a folder `cases`.
    Raises `ConfigError` when the cases that `cases` names can't be used.
    """
    home = next((one for one in installed(SOURCES) if one.name == plugin), Plugin(plugin, "", "", "", ""))
    return SourceDoc(
        format=FORMAT,
        plugin=plugin,
        name=kind.name,
        distribution=home.distribution,
        version=home.version,
        api=kind.api,
        doc=inspect.cleandoc(kind.__doc__ or ""),
        settings=[setting_doc(one) for one in describe(kind.settings)],
        pulls=kind.pulls(),
        options=[setting_doc(one) for one in describe(kind.options)] if kind.pulls() else [],
        examples=_examples(kind, plugin, cases),
    )


def _examples(kind: type[Source], plugin: str, cases: Path | None) -> list[SourceExampleDoc]:
    folder = shipped_cases(kind) if cases is None else cases
    if cases is not None and not cases.is_dir():
        raise ConfigError(f"{cases}: there is no such folder of cases.")
    loaded = [] if folder is None else [load_case(path) for path in find([folder]).cases]
    mine = [one for one in loaded if isinstance(one, SourceCase) and one.source == plugin and not one.variants]
    if cases is not None and not mine:
        place = f"cases/{plugin}/<name>.json"
        raise ConfigError(f"{cases}: there is no case of '{plugin}' in it. A case is a file {place} with a payload.")
    return [_example(one, kind) for one in _telling(mine, describe(kind.settings))]


def _telling(cases: list[SourceCase], settings: Iterable[SettingDoc]) -> list[SourceCase]:
    """Return the case without settings that says most, and for each setting the smallest, best not with its default.

    Cases of which something is refused, or nothing is read, are left out.
    """
    good = [case for case in cases if (told := case.read())["events"] and not told["refused"]]
    plain = [case for case in good if not case.settings and isinstance(case.payload, dict | list)]
    chosen = {case.path: case for case in sorted(plain, key=_for_each_event)[-1:]}
    for one in settings:
        having = [case for case in good if one.name in case.settings]
        if having:
            case = min(having, key=lambda case: (case.settings[one.name] == one.default, *_weight(case)))
            chosen.setdefault(case.path, case)
    return list(chosen.values())


def _for_each_event(case: SourceCase) -> tuple[float, Path]:
    return len(compact(case.payload)) / max(len(case.events), len(case.read()["events"])), case.path


def _weight(case: SourceCase) -> tuple[int, int, Path]:
    return len(case.settings), len(compact(case.payload)), case.path


def _example(case: SourceCase, kind: type[Source]) -> SourceExampleDoc:
    told = case.read()
    shown = [case.doc, case.payload, told["events"], told["refused"]]
    settings, (doc, payload, events, refused) = masked(kind.settings, case.settings, shown)
    return SourceExampleDoc(case.path.stem, doc, settings, payload, events, refused)


def source_page(kind: type[Source], plugin: str, cases: Path | None = None) -> str:
    """Return the Markdown page of a source that is installed as `plugin`; see `describe_source`."""
    told = describe_source(kind, plugin, cases)
    home = f" of `{told.distribution}`" if told.distribution else ""
    pulls = f", `turnout pull {plugin.replace('_', '-')}`" if told.pulls else ""
    ways = f"Payloads come through `turnout read`{pulls}, or a webhook to `/v1/hooks/<id>` of the gateway."
    parts = [
        f"# {told.name}",
        told.doc,
        f"Plugin `{plugin}`{home}. {ways} This page is generated from the code.",
        "## Settings",
        _settings(told.settings),
    ]
    if told.options:
        parts += ["## Options of a pull", _options(told.options)]
    if told.examples:
        parts += ["## Examples", "Each is a case that the source's tests compare with what it reads."]
        parts += [part for one in told.examples for part in _shown(one)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _shown(told: SourceExampleDoc) -> list[str]:
    words = f"Settings: {span(line(told.settings))}." if told.settings else ""
    is_text = isinstance(told.payload, str)
    payload = block("text" if is_text else "json", told.payload if is_text else pretty(told.payload))
    refused = [f"* `{one['path'] or ''}` is refused: {one['message']} (`{one['code']}`)" for one in told.refused]
    events = [block("json", pretty(event)) for event in told.events]
    return [f"### `{told.name}`", told.doc, words, payload, "becomes:", *events, "\n".join(refused)]


def _settings(settings: Iterable[SettingDoc]) -> str:
    rows = (
        (f"`{one.name}`", _kind(one), "" if one.required else f"`{json.dumps(one.default, default=str)}`", one.doc)
        for one in settings
    )
    return table(("setting", "type", "default", "meaning"), rows)


def _options(options: Iterable[SettingDoc]) -> str:
    rows = ((f"`--{one.name.rstrip('_').replace('_', '-')}`", _kind(one), one.doc) for one in options)
    return table(("option", "type", "meaning"), rows)


def _kind(one: SettingDoc) -> str:
    notes = [word for word, holds in (("required", one.required), ("secret", one.secret)) if holds]
    return ", ".join([one.type, *notes])

"""What a source's page says, made from its code: settings, how it takes payloads, and the options of its pull."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from turnout.docs import setting_doc
from turnout.markdown import table
from turnout.plugins import SOURCES, Plugin, installed
from turnout.settings import SettingDoc, describe
from turnout.source import Source

__all__ = ["SourceDoc", "describe_source", "source_page"]

FORMAT = 1
"""The version of the shape of `SourceDoc`; it grows when a key changes its meaning or goes."""


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

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self, enc_hook=str))
        return plain


def describe_source(kind: type[Source], plugin: str) -> SourceDoc:
    """Return what is known of a source that is installed as `plugin`."""
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
    )


def source_page(kind: type[Source], plugin: str) -> str:
    """Return the Markdown page of a source that is installed as `plugin`."""
    told = describe_source(kind, plugin)
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
    return "\n\n".join(part for part in parts if part) + "\n"


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

"""The page of a destination as Markdown, made from its code: settings, rules, context table, endpoints."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable

from turnout.copies import Copy
from turnout.destination import Destination, Rule, declared_endpoints, declared_rules
from turnout.endpoint import Endpoint
from turnout.platforms import PLATFORMS
from turnout.settings import Config, SettingDoc, describe

__all__ = ["destination_page", "rule_ids", "table"]

_WORD = r"[A-Z]+(?:-[A-Z]+)*"
_ID = re.compile(rf"\b({_WORD})-(\d\d)(?:\s+to\s+{_WORD}-(\d\d)|\s+to\s+-(\d\d)|((?:,\s+-\d\d)+))?")
_CAMEL = re.compile(r"_(\w)")


def destination_page(kind: type[Destination], plugin: str) -> str:
    """Return the Markdown page of a destination that is installed as `plugin`."""
    doc = inspect.getdoc(kind) or ""
    parts = [
        f"# {kind.name}",
        doc,
        f"Plugin `{plugin}`; the key in `integrations` is `{kind.name}`. This page is generated from the code.",
        "## Settings",
        "Every setting may be written with its name or with Segment's key. Platforms: S server (cloud mode), "
        "B browser, I iOS, A Android; a setting does nothing elsewhere.",
        _settings(describe(kind.settings)),
        "## Rules",
        "A rule maps one call to one or more items. It runs when its settings hold.",
        _rules(declared_rules(kind)),
    ]
    if kind.table:
        parts += ["## Fields", "What is copied from every event.", _fields(kind)]
    parts += ["## Endpoints", _endpoints(declared_endpoints(kind), kind)]
    return "\n\n".join(parts) + "\n"


def rule_ids(text: str) -> list[str]:
    """Return the ids of a rule book that a docstring names; `AMP-CTX-01 to AMP-CTX-03` names three."""
    found: list[str] = []
    for match in _ID.finditer(text):
        word, first = match[1], int(match[2])
        last = int(match[3] or match[4] or first)
        numbers = [*range(first, last + 1), *(int(one) for one in re.findall(r"\d\d", match[5] or ""))]
        found += [f"{word}-{number:02}" for number in numbers]
    return list(dict.fromkeys(found))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *([_cell(one) for one in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _settings(settings: Iterable[SettingDoc]) -> str:
    rows = []
    for one in settings:
        doc = one.doc + (f" Needs `{one.requires}`." if one.requires else "")
        notes = [word for word, holds in (("required", one.required), ("secret", one.secret)) if holds]
        default = "" if one.required else f"`{json.dumps(one.default)}`"
        rows.append(
            [
                f"`{one.name}`",
                f"`{one.key}`",
                ", ".join([one.type, *notes]),
                default,
                one.platforms,
                doc,
                ", ".join(one.rules),
            ]
        )
    return table(("setting", "Segment's key", "type", "default", "platforms", "meaning", "rule"), rows)


def _rules(rules: Iterable[Rule]) -> str:
    rules, rows = list(rules), []
    varied = any(one.platforms != PLATFORMS for one in rules)
    for one in rules:
        when = ", ".join(f"`{name}`" for name in one.settings) or ("by its settings" if one.when else "always")
        row = [f"`{one.id}`", ", ".join(one.call_types), when, _prose(one.doc), ", ".join(rule_ids(one.doc))]
        if varied:
            row.insert(2, _letters(one.platforms))
        rows.append(row)
    head = ["rule", "calls", "when", "what it does", "rule book"]
    return table([*head[:2], "platforms", *head[2:]] if varied else head, rows)


def _letters(platforms: Iterable[str]) -> str:
    """Return platforms as the settings table writes them: S, B, I, A."""
    return "".join(one[0].upper() for one in PLATFORMS if one in platforms)


def _prose(doc: str) -> str:
    """Return a docstring without the ids that it names."""
    sentences = re.split(r"(?<=[.!?])\s+", " ".join(doc.split()))
    return " ".join(one for one in sentences if not _only_ids(one))


def _only_ids(sentence: str) -> bool:
    return bool(rule_ids(sentence)) and len(re.sub(rf"{_WORD}-\d\d|-\d\d|to|and|,|\.|\s|Revenue:", "", sentence)) == 0


def _fields(kind: type[Destination]) -> str:
    rows = []
    for row in kind.table:
        copied = isinstance(row, Copy)
        sources = (_json_path(row.source),) if isinstance(row, Copy) else row.sources
        targets = (row.target,) if isinstance(row, Copy) else row.targets
        how = row.doc or ("As it is." if copied else "")
        rows.append([_code(sources), _code(targets), how, ", ".join(row.rules)])
    return table(("from", "to", "how", "rule"), rows)


def _json_path(source: str) -> str:
    return ".".join(_CAMEL.sub(lambda found: found[1].upper(), part) for part in source.split("."))


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words) or "(constant)"


def _endpoints(endpoints: Iterable[Endpoint], kind: type[Destination]) -> str:
    rows = []
    for one in endpoints:
        rows.append(
            [
                f"`{one.name}`",
                f"{one.method} `{_url(one, kind)}`",
                one.body.content_type,
                _limits(one, kind),
                one.doc,
            ]
        )
    return table(("endpoint", "request", "body", "limits", "what for"), rows)


def _limits(endpoint: Endpoint, kind: type[Destination]) -> str:
    batch = endpoint.limits(_defaults(kind)) if callable(endpoint.limits) else endpoint.limits
    by_settings = " (by its settings)" if callable(endpoint.limits) else ""
    return f"{batch.items} items, {batch.bytes:,} bytes{by_settings}"


def _url(endpoint: Endpoint, kind: type[Destination]) -> str:
    return endpoint.url if isinstance(endpoint.url, str) else endpoint.url(_defaults(kind))


def _defaults(kind: type[Destination]) -> Config:
    return Config({one.name: one.default for one in describe(kind.settings)})

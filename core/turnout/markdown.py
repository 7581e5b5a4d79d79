"""The page of a destination as Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from turnout.docs import DestinationDoc, EndpointDoc, FieldDoc, RuleDoc
from turnout.examples import ExampleDoc
from turnout.platforms import PLATFORMS
from turnout.settings import SettingDoc

__all__ = ["block", "line", "page", "pretty", "span", "table"]

_WIDTH = 110
_LETTERS = "Platforms: S server (cloud mode), B browser, I iOS, A Android"


def page(told: DestinationDoc) -> str:
    """Return the whole page, which ends with a line end."""
    home = f" of `{told.distribution}`" if told.distribution else ""
    letters = any(one.platforms for one in told.settings)
    parts = [
        f"# {told.name}",
        told.doc,
        f"Plugin `{told.plugin}`{home}; the key in `integrations` is `{told.name}`. "
        "This page is generated from the code.",
        "## Settings",
        "Every setting may be written with its name or with Segment's key."
        + (f" {_LETTERS}; a setting does nothing elsewhere." if letters else ""),
        _settings(told.settings),
        "## Rules",
        "A rule maps one call to one or more items. It runs when its settings hold."
        + (f" {_LETTERS}." if _varied(told.rules) and not letters else ""),
        _rules(told.rules),
    ]
    if told.fields:
        parts += ["## Fields", "What is copied from every event.", _fields(told.fields)]
    parts += ["## Endpoints", _endpoints(told.endpoints), _answers(told.endpoints)]
    if told.examples:
        parts += ["## Examples", "Each is a case that the destination's tests compare with its plan."]
        parts += [_example(one) for one in told.examples]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *([_cell(one) for one in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _some(rows: list[dict[str, str]]) -> str:
    """Return a table of those columns that are not empty all the way down."""
    head = [title for title in rows[0] if any(row[title] for row in rows)] if rows else []
    return table(head, ([row[title] for title in head] for row in rows))


def _settings(settings: Iterable[SettingDoc]) -> str:
    rows = []
    for one in settings:
        notes = [word for word, holds in (("required", one.required), ("secret", one.secret)) if holds]
        rows.append(
            {
                "setting": f"`{one.name}`",
                "Segment's key": f"`{one.key}`",
                "type": ", ".join([one.type, *notes]),
                "default": "" if one.required else f"`{json.dumps(one.default, default=str)}`",
                "platforms": one.platforms,
                "meaning": one.doc + (f" Needs `{one.requires}`." if one.requires else ""),
                "rule": ", ".join(one.rules),
            }
        )
    return _some(rows)


def _rules(rules: list[RuleDoc]) -> str:
    varied = _varied(rules)
    rows = [
        {
            "rule": f"`{one.id}`",
            "calls": ", ".join(one.calls) + (f" (if `{one.events}`)" if one.events else ""),
            "platforms": "".join(platform[0].upper() for platform in one.platforms) if varied else "",
            "when": _when(one),
            "what it does": one.doc,
            "rule book": ", ".join(one.rules),
        }
        for one in rules
    ]
    return _some(rows)


def _varied(rules: Iterable[RuleDoc]) -> bool:
    return any(len(one.platforms) < len(PLATFORMS) for one in rules)


def _when(rule: RuleDoc) -> str:
    return ", ".join(f"`{name}`" for name in rule.settings) or ("by its settings" if rule.by_settings else "always")


def _fields(fields: Iterable[FieldDoc]) -> str:
    rows = [
        {
            "from": _code(one.sources),
            "to": _code(one.targets),
            "how": one.doc or "As it is.",
            "rule": ", ".join(one.rules),
        }
        for one in fields
    ]
    return _some(rows)


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words) or "(constant)"


def _endpoints(endpoints: Iterable[EndpointDoc]) -> str:
    rows = [
        {
            "endpoint": f"`{one.name}`",
            "request": f"{one.method} `{one.url}`" if one.url else f"{one.method} (by its settings)",
            "body": one.content_type + _packing(one),
            "authorization": f"{one.auth} {_code(one.auth_settings)}" if one.auth else "",
            "settings in it": _places(one),
            "limits": _limits(one),
            "idempotency key": "" if one.keyed else "none",
            "what for": one.doc,
        }
        for one in endpoints
    ]
    return _some(rows)


def _places(endpoint: EndpointDoc) -> str:
    """Return where settings stand in a request, apart from its authorization."""
    places = [f"{_code(endpoint.url_settings)} in the URL"] if endpoint.url_settings else []
    places += [f"`{name}` in the header `{header}`" for header, name in endpoint.header_settings.items()]
    places += [f"{_code(endpoint.body_settings)} in the body"] if endpoint.body_settings else []
    return "; ".join(places)


def _packing(endpoint: EndpointDoc) -> str:
    if endpoint.gzip_by_settings:
        return ", gzip by its settings"
    return ", gzip" if endpoint.gzip else ""


def _limits(endpoint: EndpointDoc) -> str:
    by_settings = "(by its settings)" if endpoint.limits_by_settings else ""
    if endpoint.items is None or endpoint.bytes is None:
        return by_settings
    items = "1 item" if endpoint.items == 1 else f"{endpoint.items} items"
    each = f", {endpoint.item_bytes:,} an item" if endpoint.item_bytes else ""
    wait = f", waits {endpoint.linger_ms / 1000:g} s for others" if endpoint.linger_ms else ""
    return f"{items}, {endpoint.bytes:,} bytes{each}{wait} {by_settings}".strip()


def _answers(endpoints: Iterable[EndpointDoc]) -> str:
    """Return how answers are read, once for all endpoints that read them alike."""
    alike: dict[str, list[str]] = {}
    for one in endpoints:
        if one.answers:
            alike.setdefault(one.answers, []).append(one.name)
    if not alike:
        return ""
    rows = ({"endpoints": _code(names), "how an answer is read": words} for words, names in alike.items())
    return _some(list(rows))


def _example(told: ExampleDoc) -> str:
    parts = [f"### `{told.name}`", told.doc, f"Rules: {_code(told.rules)}. Settings: {span(line(told.settings))}."]
    whole = len(told.events) == len(told.plans)  # else an event is a batch, which has several plans
    for index, event in enumerate(told.events):
        parts += [block("json", pretty(event)), *(_plan(told.plans[index]) if whole else [])]
    parts += [] if whole else [part for plan in told.plans for part in _plan(plan)]
    return "\n\n".join(part for part in parts if part)


def _plan(plan: dict[str, Any]) -> list[str]:
    """Return the requests of a plan, or why it has none."""
    parts = []
    for request in plan["requests"]:
        parts += [f"becomes {request['method']} `{request['url']}`:", block("json", pretty(request["body"]))]
    reason = plan["reason"]
    return parts or [f"is {plan['outcome']}: {reason['message']} (`{reason['code']}`)"]


def block(kind: str, text: str) -> str:
    """Return a fenced block, whatever the text is."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{kind}\n{text}\n{fence}"


def span(text: str) -> str:
    """Return a text as code within a line."""
    fence = "`" * (_longest_run(text) + 1)
    return f"{fence}{text}{fence}"


def _longest_run(text: str) -> int:
    """Return how many backticks stand side by side in what is to stand between some."""
    return max(map(len, re.findall("`+", text)), default=0)


def line(value: Any) -> str:
    """Return JSON on one line."""
    return json.dumps(value, ensure_ascii=False)


def pretty(value: Any, indent: str = "") -> str:
    """Return JSON in which whatever fits into a line stands on one."""
    short = line(value)
    if len(indent) + len(short) <= _WIDTH or not isinstance(value, dict | list) or not value:
        return short
    deeper = indent + "  "
    if isinstance(value, dict):
        inner = [f"{line(key)}: {pretty(one, deeper)}" for key, one in value.items()]
        return "{\n" + ",\n".join(deeper + one for one in inner) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + pretty(one, deeper) for one in value) + f"\n{indent}]"

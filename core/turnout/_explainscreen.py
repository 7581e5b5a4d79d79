"""What `turnout explain` shows: each field of each item with its value and what it comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click
from msgspec import UNSET
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from turnout import _json
from turnout._output import EVENT
from turnout.explanation import ExplainedItem, Explanation, Field
from turnout.lineage import CONDITION, DERIVED, Change, Edge, Source
from turnout.reasons import Outcome

__all__ = ["Screen"]

_MARKS = {DERIVED: "~ ", CONDITION: "? "}
_LEGEND = (
    "No mark: the value itself. ~ made from it. ? there or not because of it. else: when those before it are missing."
)
_MANY = 6
"""A setting that has a part in more fields of an item is told once for all of them."""
_LISTED = 10
_LONG = 60


class Screen:
    """Shows one explanation after the other."""

    def __init__(self, *, witness: bool, as_json: bool) -> None:
        self.witness, self.as_json = witness, as_json
        self.console = Console(highlight=False)
        self.shown = 0
        self.tables = 0

    def show(self, one: Explanation) -> None:
        """Show an explanation, as JSON one line."""
        if self.as_json:
            click.echo(_json.compact(one.to_dict(witnesses=self.witness)))
            return
        if self.shown:
            self.console.print()
        self.shown += 1
        self._say((_plain(one.message_id or "An event"), "bold"), f" at {_plain(one.destination)}: {_outcome(one)}")
        if one.reason is not None:
            place = f" ({one.reason.path})" if one.reason.path else ""
            self._say(_plain(one.reason.message + place), indent=2)
        for item in one.items:
            self._item(item)
        self._requests(one)
        self._rest(one)
        if one.reason is not None:
            self._remedy(one)
        self._hanging(one)

    def finish(self) -> None:
        """Say what the marks mean, where there were any."""
        if self.tables:
            self.console.print()
            self._say(_LEGEND)

    def _say(self, *parts: str | tuple[str, str], indent: int = 0) -> None:
        """Write a line of texts, some of them with a style."""
        self.console.print(Padding(Text.assemble(*parts), (0, 0, 0, indent), expand=False))

    def _item(self, item: ExplainedItem) -> None:
        number = f" {item.number}" if item.number > 1 else ""
        self.console.print()
        self._say((_plain(item.endpoint), "bold"), f", rule {_plain(item.rule)}{number}")
        whole = _widespread(item)
        self._table([*item.fields, *([item.key] if item.key else [])], whole, len(item.fields))
        for label, part in (("made or not", "item"), ("where it goes", "endpoint")):
            edges = [edge for edge in item.edges if edge.target.part == part]
            if edges:
                self._say(f"{label}: {_listed(edges)}", indent=2)
        if whole:
            self._say(f"many of these fields: {', '.join(_named(one) for one in whole)}", indent=2)
        self._witnesses([*item.edges, *item.absent])
        self._could_have(item, whole)

    def _table(self, fields: Sequence[Field], whole: Iterable[Source], keyed: int) -> None:
        self.tables += 1
        table = Table(box=None, padding=(0, 1), pad_edge=False)
        table.add_column("field", overflow="fold", ratio=5)
        table.add_column("value", overflow="ellipsis", no_wrap=True, ratio=3)
        table.add_column("comes from", overflow="fold", ratio=6)
        table.expand = True
        for number, field in enumerate(fields):
            edges = [edge for edge in field.edges if edge.given or edge.source not in whole]
            name = field.path or ("(the item)" if number < keyed else "(idempotency key)")
            without = "settings, see below" if field.edges else "always"
            sources = Text("\n".join(_sources(edges))) if edges else Text(without, "dim")
            table.add_row(Text(_plain(name)), Text(_value(field.value)), sources)
        self.console.print(Padding(table, (0, 0, 0, 2)))
        self._witnesses(edge for field in fields for edge in field.edges)

    def _could_have(self, item: ExplainedItem, whole: Iterable[Source]) -> None:
        absent: dict[str, list[Edge]] = {}
        for edge in item.absent:
            if (edge.given or edge.source not in whole) and not edge.target.path.endswith("/-"):
                absent.setdefault(edge.target.path, []).append(edge)
        lines = [f"{_plain(path)}: {_listed(edges)}" for path, edges in absent.items()]
        for line in _some(lines):
            self._say(f"not there: {line}", indent=2)

    def _requests(self, one: Explanation) -> None:
        for request in one.requests:
            fields = [field for field in request.fields if field.edges or field.path == "/url"]
            self.console.print()
            self._say((f"request to {_plain(request.endpoint)}", "bold"))
            self._table(fields, (), len(fields))

    def _rest(self, one: Explanation) -> None:
        """Show what concerns the event as a whole."""
        if not one.items:
            return
        self.console.print()
        self._say(f"Sent or not: {_listed(one.deciding) or 'always'}")
        self._witnesses(one.deciding)
        for rule, edges in _by_rule(one.added[:_LISTED]).items():
            for told in dict.fromkeys(_sources(edges)):
                self._say(f"Not made: an item of the rule {_plain(rule)}: {told}")
        if one.unread:
            self._say(f"Nothing reads: {', '.join(map(_plain, one.unread))}")
        if one.unstable:
            self._say(f"Not the same each time, so the plugin is not pure: {', '.join(map(_plain, one.unstable))}")

    def _hanging(self, one: Explanation) -> None:
        """Say which changes the plugin does not come back from."""
        for told in one.hanging:
            self._say(_plain(told))
        if one.hanging and not one.edges:
            self._say("More changes are not tried, so the event is not explained.")

    def _witnesses(self, edges: Iterable[Edge]) -> None:
        if self.witness:
            for edge in edges:
                self._say((_witness(edge), "dim"), indent=4)

    def _remedy(self, one: Explanation) -> None:
        if one.remedy is None:
            if one.edges:  # it could be read
                self._say("No single change, and no two settings, would send it.", indent=2)
            return
        self._say(f"It would be sent with {' and '.join(map(_change, one.remedy.changes))}:", indent=2)
        for request in one.remedy.requests:
            rules = ", ".join(dict.fromkeys(request["rules"]))
            text = _json.compact(request["body"]).decode()
            self._say(f"{_plain(request['endpoint'])}, rule {_plain(rules)}: {_plain(text)}", indent=4)
        if one.remedy.others:
            self._say(f"or with {', or '.join(_some([_change(other) for other in one.remedy.others]))}", indent=2)


def _by_rule(edges: Iterable[Edge]) -> dict[str, list[Edge]]:
    found: dict[str, list[Edge]] = {}
    for edge in edges:
        found.setdefault(edge.target.rule, []).append(edge)
    return found


def _outcome(one: Explanation) -> str:
    return f"{one.outcome.value}" + (f" [{one.reason.code.value}]" if one.reason else "")


def _widespread(item: ExplainedItem) -> list[Source]:
    """Return the settings that have a part in many fields of an item."""
    edges = [*(edge for field in item.fields for edge in field.edges), *item.absent]
    counted = Counter(edge.source for edge in edges if edge.source.kind == "setting" and not edge.given)
    return [source for source, number in counted.items() if number > _MANY]


def _sources(edges: Sequence[Edge]) -> list[str]:
    """Return what edges of one place come from: what only counts together joined, and fallbacks behind."""
    first = [_mark(edge) + _named(edge.source) for edge in edges if not edge.given]
    joined = {_joined(edge) for edge in edges if _together(edge, edges)}
    behind = [_behind(edge) for edge in edges if edge.given and not _together(edge, edges)]
    return [*first, *sorted(joined), *behind]


def _joined(edge: Edge) -> str:
    """Return an edge with what its source counts together with: of what is lost without them one is enough."""
    lost = edge.output_after is UNSET or (edge.target == EVENT and edge.output_after["outcome"] != Outcome.PLANNED)
    return _mark(edge) + (" or " if lost else " and ").join(map(_named, sorted(_group(edge))))


def _group(edge: Edge) -> set[Source]:
    return {edge.source, *(one.source for one in edge.given)}


def _behind(edge: Edge) -> str:
    """Return a source that only counts when others are changed: a fallback, or one that they hide."""
    name = _mark(edge) + _named(edge.source)
    if all(one.after is UNSET for one in edge.given):
        return f"else {name}"
    return f"{name} (if {' and '.join(f'{_named(one.source)} = {_short(one.after)}' for one in edge.given)})"


def _listed(edges: Sequence[Edge]) -> str:
    return ", ".join(_sources(edges))


def _together(edge: Edge, edges: Sequence[Edge]) -> bool:
    """Return whether an edge is one of several whose sources only count together."""
    group = _group(edge)
    return len(group) > 1 and all(
        any(one.source == source and _group(one) == group for one in edges) for source in group
    )


def _mark(edge: Edge) -> str:
    return _MARKS.get(edge.kind, "")


def _named(source: Source) -> str:
    return _plain(str(source))


def _witness(edge: Edge) -> str:
    target = edge.target
    place = target.path or ("the idempotency key" if target.part == "key" else f"the {target.part}")
    given = f", given {', '.join(map(_change, edge.given))}" if edge.given else ""
    changed = f"{_named(edge.source)}{given}: {_short(edge.before)} -> {_short(edge.after)}"
    if target.part == "event":
        return f"{changed} makes it {_became(edge.output_before)} -> {_became(edge.output_after)}"
    return f"{changed} makes {_plain(place)} {_short(edge.output_before)} -> {_short(edge.output_after)}"


def _became(about: dict[str, Any]) -> str:
    return f"{about['outcome']} [{about['code']}]" if "code" in about else str(about["outcome"])


def _change(change: Change) -> str:
    name = _named(change.source)
    if change.after is UNSET:
        return f"{name} deleted"
    if change.before is UNSET:
        return f"{name} added, such as {_short(change.after)}"
    return f"{name} = {_short(change.after)} (now {_short(change.before)})"


def _value(value: Any) -> str:
    return _plain(value if isinstance(value, str) else _json.compact(value).decode())


def _short(value: Any) -> str:
    if value is UNSET:
        return "nothing"
    text = _json.compact(value).decode()
    return _plain(text if len(text) <= _LONG else text[: _LONG - 1] + "…")


def _some(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:_LISTED]
    if len(lines) > _LISTED:
        yield f"… and {len(lines) - _LISTED} more (--json)"


def _plain(text: str) -> str:
    """Return text without what moves a terminal's cursor."""
    return "".join(one if one.isprintable() else "?" for one in text)

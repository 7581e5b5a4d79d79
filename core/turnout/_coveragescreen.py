"""What `turnout check --coverage` and `--mutate` show: counts, what is missing, and what would show it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import groupby, islice
from typing import Any

from rich.console import Console
from rich.text import Text

from turnout._checkscreen import clean, many
from turnout.casecoverage import CaseCoverage, DestinationCoverage, EdgeUse, percent
from turnout.mutation import Score, Survivor

__all__ = ["coverage_lines", "score_lines", "show", "untried", "waiting"]

_MOST = 40
_LONGEST = 66
_KINDS = {
    "rule": "rule left out",
    "when": "settings ignored",
    "event": "event name ignored",
    "platforms": "platforms ignored",
    "swap": "two fields swapped",
    "field": "field left out",
    "fallback": "fallback lost",
    "constant": "constant changed",
    "key": "idempotency key changed",
    "endpoint": "other endpoint",
}


def waiting(what: str) -> AbstractContextManager[Any]:
    """Return a context in which a terminal shows that something takes its time."""
    return Console(stderr=True).status(what)


def show(lines: Iterable[Text]) -> None:
    """Write lines to standard output."""
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line)


def coverage_lines(found: CaseCoverage, floor: float | None) -> Iterator[Text]:
    """Yield what is shown of a coverage; `floor` is the least that is asked for, in percent."""
    for one in found.destinations:
        yield from _destination(one)
    if not found.destinations:
        told = "No case of a destination is good; what those of sources cover is not measured."
        yield Text(told, style="yellow")
    yield from _alike(found)
    yield _verdict(f"{_percent(found.percent)} is covered", found.percent, floor)


def _destination(one: DestinationCoverage) -> Iterator[Text]:
    yield Text(f"{clean(one.destination)}: what {many(one.cases, 'case')} cover{'s' if one.cases == 1 else ''}")
    for name, uses in one.parts.items():
        yield _count(name, sum(use.used for use in uses), len(uses), percent(uses))
    missing = [f"{use.rule} ({use.platform}){_when(use.when)}" for use in one.rules if not use.used]
    yield from _listed("never run", missing)
    values = [f"{use.setting}: {use.value}" for use in one.values if not use.used]
    yield from _listed("no plan of a case depends on", values)
    yield from _listed("no made event, nor one of a case alone, runs: edges and mutants don't count", one.unseen)
    edges = [use for use in one.edges if not use.used]
    if edges:
        yield Text("  no case pins", style="yellow")
        yield from _edges(edges)


def _count(name: str, done: int, of: int, share: float) -> Text:
    line = Text(f"  {name:24}{done:>7,} of {of:>6,}  ")
    return line.append(f"{_percent(share):>7}", style="green" if done == of else "yellow")


def _percent(share: float) -> str:
    return f"{share:g} %"


def _when(conditions: Iterable[str]) -> str:
    told = " and ".join(conditions)
    return f", which asks for {told}" if told else ""


def _listed(title: str, missing: Sequence[str]) -> Iterator[Text]:
    if missing:
        yield Text(f"  {title}", style="yellow")
        yield from (Text(f"    {clean(one)}") for one in missing)


def _edges(edges: list[EdgeUse]) -> Iterator[Text]:
    """Yield the edges that are not pinned, by output field."""
    shown = 0
    for (rule, platform), each in groupby(edges, key=lambda one: (one.link.target.rule, one.link.platform)):
        if shown >= _MOST:
            break
        yield Text(f"    {clean(rule) or 'any rule'}{f' ({platform})' if platform else ''}")
        for field, mine in groupby(islice(each, _MOST - shown), key=lambda one: one.link.field):
            uses = list(mine)
            shown += len(uses)
            yield Text(f"      {clean(field)}")
            for use in uses:
                yield Text(f"        <- {clean(str(use.link.source))}")
                yield Text(f"           {_shown_by(use)}", style="dim")
    if len(edges) > shown:
        yield Text(f"    … and {many(len(edges) - shown, 'edge')} more (--json shows all, each with an event)")


def _shown_by(one: EdgeUse) -> str:
    return _short(", ".join(filter(None, (one.specimen, *one.given, _settings(one.settings)))))


def _short(text: str) -> str:
    return clean(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items())


def _alike(found: CaseCoverage) -> Iterator[Text]:
    if found.alike:
        cases = len({one.path for one in found.alike})
        what = (
            f"{many(len(found.alike), 'value')} in {many(cases, 'case')} stand twice in an event (--alike lists them)."
        )
        yield Text(what)


def _verdict(told: str, share: float, floor: float | None) -> Text:
    if floor is None or share >= floor:
        return Text(f"{told}.", style="bold green" if share == 100 else "bold")
    return Text(f"{told}; at least {_percent(floor)} is asked for.", style="bold red")


def untried() -> Text:
    """Return why no mutant was tried."""
    return Text("No mutant is tried as long as a case is not good: mend those above first.", style="yellow")


def score_lines(score: Score, floor: float | None) -> Iterator[Text]:
    """Yield what is shown of a mutation score; `floor` is the least that is asked for, in percent."""
    yield Text("Mutants that a case notices")
    for kind, (killed, of) in score.by_kind.items():
        if of:
            yield _count(_KINDS[kind], killed, of, int(1000 * killed / of) / 10)
    for one in score.unexplained[:_MOST]:
        yield from _survivor(one)
    if len(score.unexplained) > _MOST:
        yield Text(f"… and {many(len(score.unexplained) - _MOST, 'survivor')} more (--json shows all).")
    for stale in score.stale:
        yield Text("stale    ", style="bold red").append(clean(stale.id))
        yield Text(f"  It is explained, but it doesn't survive. {clean(stale.why)}")
    yield from _rest(score)
    yield _verdict(f"{_percent(score.percent)} of the mutants are noticed", score.percent, floor)


def _survivor(one: Survivor) -> Iterator[Text]:
    yield Text("survived ", style="bold yellow").append(clean(one.mutant.id))
    shown = ", ".join(filter(None, (one.specimen, _settings(one.settings))))
    yield Text(f"  {clean(one.mutant.rule)} {clean(one.mutant.text)}.")
    yield Text(f"  What would notice: {clean(one.advice)}.")
    yield Text(f"  Shown by: {_short(shown)}", style="dim")


def _rest(score: Score) -> Iterator[Text]:
    explained = len(score.survivors) - len(score.unexplained)
    if explained:
        yield Text(f"{many(explained, 'survivor')} explained.")
    if score.equivalent:
        yield Text(f"{many(score.equivalent, 'mutant')} not counted: they change no plan of a case or a specimen.")

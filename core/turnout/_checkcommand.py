"""The command `turnout check`: cases, without pytest."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from turnout.errors import ConfigError

if TYPE_CHECKING:
    from turnout.checking import Result, Suite

__all__ = ["check"]

_PLACES = ("tests/cases", "cases")
_PERCENT = click.FloatRange(0, 100)


@click.command()
@click.argument("places", nargs=-1, metavar="[FOLDER|FILE]...")
@click.option("--update", is_flag=True, help="Write new and changed snapshots; delete those without a case.")
@click.option("-k", "text", default="", metavar="TEXT", help="Only cases with this text in their path.")
@click.option("-x", "--fail-fast", is_flag=True, help="End with the first case that is not good.")
@click.option("--alike", is_flag=True, help="Also list equal values in an event, which hide swapped fields.")
@click.option("-q", "--quiet", is_flag=True, help="Show no differences, only names and counts.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON line for each case.")
@click.option("--junit", metavar="FILE", help="Also write the results as JUnit XML, for CI.")
@click.option("--coverage", is_flag=True, help="Also show what the cases pin, and what they don't.")
@click.option("--min-coverage", metavar="PERCENT", type=_PERCENT, help="Fail below so much coverage.")
@click.option("--mutate", is_flag=True, help="Also break the mapping in many ways, and show what no case notices.")
@click.option("--min-score", metavar="PERCENT", type=_PERCENT, help="Fail when less of the mutants is noticed.")
@click.option(
    "--explained", metavar="FILE", help="The survivors that are known; by default survivors.json beside cases."
)
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="How many processes; by default one for each core.")
def check(
    places: tuple[str, ...],
    update: bool,
    text: str,
    fail_fast: bool,
    alike: bool,
    quiet: bool,
    as_json: bool,
    junit: str | None,
    coverage: bool,
    min_coverage: float | None,
    mutate: bool,
    min_score: float | None,
    explained: str | None,
    jobs: int | None,
) -> None:
    """Check that cases still plan what their snapshots say.

    Without a folder: tests/cases or cases. Exit 0 when all are as they were, or were updated; 1 when one has
    changed, is new, is wrong, or a snapshot has no case, and below a floor; 2 for a wrong command line.
    """
    from turnout._hang import patrolled
    from turnout._processes import cores
    from turnout.checking import check as checked

    known = _explained(explained)
    suite = _suite(places, text)
    begin, results = time.perf_counter(), []
    jobs = jobs or cores()
    with patrolled():
        with _opened(junit) as report:
            found = checked(suite, update=update, look_alike=alike, fail_fast=fail_fast, jobs=jobs)
            shown = _as_json(found) if as_json else _on_screen(found, suite, begin, quiet)
            results = list(shown)
            if report is not None:
                _report(results, report)
        good = passed = all(result.good for result in results)
        if coverage or min_coverage is not None:
            good = _cover(results, min_coverage, as_json, jobs) and good
        if mutate or min_score is not None:
            good = _mutate(results if passed else None, min_score, known, not text, as_json, jobs) and good
    sys.exit(0 if good else 1)


def _explained(path: str | None) -> Mapping[str, str] | None:
    from turnout.mutation import load_explained

    return None if path is None else load_explained(Path(path))


def _cover(results: list[Result], floor: float | None, as_json: bool, jobs: int) -> bool:
    """Show what the cases pin that are as their snapshots say; return whether it is enough."""
    from turnout._coveragescreen import coverage_lines, show, waiting
    from turnout.casecoverage import coverage

    with waiting("Asking what the cases pin …"):
        found = coverage((result.path for result in results if result.good and not result.is_orphan), jobs=jobs)
    if as_json:
        _write_line({"coverage": found.to_dict()})
    else:
        show(coverage_lines(found, floor))
    return floor is None or found.percent >= floor


def _mutate(
    results: list[Result] | None,
    floor: float | None,
    known: Mapping[str, str] | None,
    whole: bool,
    as_json: bool,
    jobs: int,
) -> bool:
    """Show which mutants no case notices; return whether few enough survive, and none is explained in vain.

    Without results, where cases are not as they should be, only that is said.
    """
    from turnout._coveragescreen import score_lines, show, untried, waiting
    from turnout.mutation import mutate

    if results is None:
        if not as_json:
            show([untried()])
        return False
    paths = [result.path for result in results if not result.is_orphan]
    with waiting("Trying mutants …"):
        score = mutate(paths, explained=known, jobs=jobs, whole=whole)
    if as_json:
        _write_line({"mutation": score.to_dict()})
    else:
        show(score_lines(score, floor))
    return (floor is None or score.percent >= floor) and not score.stale


def _write_line(told: dict[str, Any]) -> None:
    from turnout import _json
    from turnout.cli import standard_output

    out = standard_output()
    out.write(_json.compact(told) + b"\n")
    out.flush()


def _suite(places: tuple[str, ...], text: str) -> Suite:
    from turnout.checking import find

    named = places or tuple(place for place in _PLACES if Path(place).is_dir())[:1]
    if not named:
        raise ConfigError(f"There is no folder {' or '.join(_PLACES)} here. Name a folder or a file with cases.")
    suite = find(map(Path, named), text)
    if suite.left_out and not suite.cases:
        raise ConfigError(f"-k: none of the {suite.left_out:,} cases has '{text}' in its path.")
    if suite.cases or suite.orphans:
        return suite
    raise ConfigError(f"{', '.join(named)}: there is no case. One lies in cases/<destination>/<name>.json (or .yaml).")


def _as_json(found: Iterator[Result]) -> Iterator[Result]:
    from turnout import _json
    from turnout.cli import standard_output

    out = standard_output()
    for result in found:
        out.write(_json.compact(result.to_dict()) + b"\n")
        yield result
    out.flush()


def _on_screen(found: Iterator[Result], suite: Suite, begin: float, quiet: bool) -> Iterator[Result]:
    from turnout._checkscreen import Screen

    screen, number = Screen(suite, quiet=quiet), 0
    for number, result in enumerate(found, start=1):  # noqa: B007 - how many there were
        screen.show(result)
        yield result
    screen.finish(time.perf_counter() - begin, stopped=number < len(suite.cases) + len(suite.orphans))


@contextlib.contextmanager
def _opened(path: str | None) -> Iterator[BinaryIO | None]:
    """Yield the file for the report, None without one; it is opened before anything is checked."""
    if path is None:
        yield None
        return
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(Path(path).open("wb"))
        except OSError as error:
            raise ConfigError(f"{path}: can't be written: {error.strerror}.") from None
        yield stream


def _report(results: list[Result], stream: BinaryIO) -> None:
    from turnout._checkscreen import shown
    from turnout.junit import junit

    stream.write(junit((result, "" if result.good else shown(result)) for result in results))

"""The command `turnout check`: cases, without pytest."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from turnout.errors import ConfigError

if TYPE_CHECKING:
    from turnout.checking import Result, Suite

__all__ = ["check"]

_PLACES = ("tests/cases", "cases")


@click.command()
@click.argument("places", nargs=-1, metavar="[FOLDER|FILE]...")
@click.option("--update", is_flag=True, help="Write new and changed snapshots; delete those without a case.")
@click.option("-k", "text", default="", metavar="TEXT", help="Only cases with this text in their path.")
@click.option("-x", "--fail-fast", is_flag=True, help="End with the first case that is not good.")
@click.option("--alike", is_flag=True, help="Also list equal values in an event, which hide swapped fields.")
@click.option("-q", "--quiet", is_flag=True, help="Show no differences, only names and counts.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON line for each case.")
@click.option("--junit", metavar="FILE", help="Also write the results as JUnit XML, for CI.")
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
    jobs: int | None,
) -> None:
    """Check that cases still plan what their snapshots say.

    Without a folder: tests/cases or cases. Exit 0 when all are as they were, or were updated; 1 when one has
    changed, is new, is wrong, or a snapshot has no case; 2 for a wrong command line.
    """
    from turnout._processes import cores
    from turnout.checking import check as checked

    suite = _suite(places, text)
    begin, results = time.perf_counter(), []
    with _opened(junit) as report:
        found = checked(suite, update=update, look_alike=alike, fail_fast=fail_fast, jobs=jobs or cores())
        shown = _as_json(found) if as_json else _on_screen(found, suite, begin, quiet)
        results = list(shown)
        if report is not None:
            _report(results, report)
    sys.exit(0 if all(result.good for result in results) else 1)


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

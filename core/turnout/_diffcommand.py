"""The command `turnout diff`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from turnout.errors import ConfigError, SettingsError

if TYPE_CHECKING:
    from turnout.impact import Impact, Side

__all__ = ["diff"]

_MISSING = (
    "Say what to compare with: other settings (--against, --against-config), or another version of the plugin "
    "(--against-python, --against-package)."
)


@click.command()
@click.argument("corpus", nargs=-1, metavar="[CORPUS|-]...")
@click.option("-d", "--destination", required=True, help="A destination of the configuration; without one, a plugin.")
@click.option("--settings", metavar="FILE.json", help="The settings of the destination, as for turnout plan.")
@click.option("--config", metavar="turnout.toml", help="The configuration file.")
@click.option("--against", metavar="FILE.json", help="Other settings to compare with, instead of --settings.")
@click.option("--against-config", metavar="FILE.toml", help="Another configuration, instead of --config.")
@click.option(
    "--against-python",
    metavar="PATH",
    help="The interpreter of another environment, with another version of the plugin.",
)
@click.option(
    "--against-package",
    "packages",
    multiple=True,
    metavar="PACKAGE==VERSION",
    help="Have pip install this in an environment of its own, and compare with that; may be given several times.",
)
@click.option("--reverse", is_flag=True, help="The other way round: what --against names is what was before.")
@click.option("--now", metavar="ISO", help="The time that the clock shows.")
@click.option("--jobs", type=click.IntRange(1, 256), help="How many processes compare; by default one for each core.")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="How many ways are shown.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object with all of them.")
def diff(
    corpus: tuple[str, ...],
    destination: str,
    settings: str | None,
    config: str | None,
    against: str | None,
    against_config: str | None,
    against_python: str | None,
    packages: tuple[str, ...],
    reverse: bool,
    now: str | None,
    jobs: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show what other settings, or another plugin version, change for recorded events.

    Nothing is sent. CORPUS: files of JSON lines (events, or batch bodies) or of one JSON array, also packed with
    gzip or zstd. What is not given with --against… is the same on both sides. Changes of one shape stand together,
    with their number and the first event that has them; events that are no longer sent, or newly sent, come first.
    A destination that carries something over between events (sessions) is compared by one process.

    Exit 0 when nothing changes, 1 when something does, 2 for a wrong command line, configuration or corpus.
    """
    from turnout._diffscreen import following, show, show_json
    from turnout._hang import patrolled
    from turnout.corpus import Corpus
    from turnout.impact import diff

    if not (against or against_config or against_python or packages):
        raise click.UsageError(_MISSING)
    if against_python and packages:
        raise click.UsageError("--against-python and --against-package exclude each other.")
    read, clock = Corpus(corpus or ("-",)), _clock(now)
    sides = [
        _Given(destination, settings, config),
        _Given(destination, against or settings, against_config or config, against_python or "", packages),
    ]
    if reverse:
        sides.reverse()
    with ExitStack() as stack:
        made = [stack.enter_context(side.made(clock)) for side in sides]
        follow = stack.enter_context(following(read))
        stack.enter_context(patrolled())
        impact = diff(read, made[0], made[1], jobs=jobs or _cores(), now=clock, progress=follow)
    if impact.unreadable and not impact.events:
        raise ConfigError(_nothing(impact))
    labels = (sides[0].label, sides[1].label)
    if as_json:
        show_json(impact, labels)
    else:
        show(impact, labels, limit)
    sys.exit(1 if impact.changed else 0)


class _Given(NamedTuple):
    """What a command line says of one side."""

    destination: str
    settings: str | None
    config: str | None
    python: str = ""
    packages: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Return what tells this side from the other."""
        files = [file for file in (self.config, self.settings) if file]
        return ", ".join([*files, *(self.packages or ([self.python] if self.python else []))])

    @contextmanager
    def made(self, now: datetime) -> Iterator[Side]:
        """Yield the side; raises `ConfigError` that names its files."""
        from turnout.impact import Elsewhere
        from turnout.strictjson import load_object

        settings = {} if self.settings is None else load_object(Path(self.settings), "settings")
        if self.packages:
            with _environment(self.packages) as python:
                yield Elsewhere(python, self.destination, settings, self.config)
        elif self.python:
            yield Elsewhere(self.python, self.destination, settings, self.config)
        else:
            yield self._here(settings, now)

    def _here(self, settings: Mapping[str, Any], now: datetime) -> Side:
        from turnout._sides import made

        try:
            return made(self.destination, settings, self.config, now)
        except SettingsError as error:
            place = self.settings or self.config
            raise ConfigError(f"{place}: {error}" if place else str(error)) from None


@contextmanager
def _environment(packages: Sequence[str]) -> Iterator[str]:
    from turnout._environment import environment, kept

    if not kept(packages):
        click.echo(f"Building an environment with {', '.join(packages)} …", err=True)
    with environment(packages) as python:
        yield python


def _clock(now: str | None) -> datetime:
    """Return the time that the clock shows: the present unless another is given."""
    from turnout._times import parse

    if now is None:
        return datetime.now(UTC)
    fixed = parse(now)
    if fixed is None:
        raise ConfigError(f"--now: '{now}' is not a time. Write it as 2026-01-31T12:00:00Z.")
    return fixed


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _nothing(impact: Impact) -> str:
    first = impact.problems[0]
    return f"No event of the corpus can be read, so nothing was compared; {first.place}: {first.message}"

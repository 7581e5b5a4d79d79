"""The commands that look at a log and repeat what is in it: `dlq`, `replay` and `log`."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from turnout._group import Group
from turnout.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from turnout.config import Configuration
    from turnout.dispatcher import Dispatcher
    from turnout.log import DeadQuery, Log
    from turnout.settings import Config

__all__ = ["dlq", "log", "replay"]

_AGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d|w)")
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_NUMBER = click.IntRange(1, 2**63 - 1)
_HERE = "turnout.toml"


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decorator that adds options, in the order in which they are given."""

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_which_log = _options(
    click.option("--config", metavar="turnout.toml", help="The configuration; by default the turnout.toml here."),
    click.option("--log", "path", metavar="FILE", help="The log, instead of the one of the configuration."),
)
_filters = _options(
    click.option("-d", "--destination", help="Only letters of this destination."),
    click.option("--reason", metavar="CODE", help="Only letters with this reason code."),
    click.option("--since", metavar="TIME", help="Only those from then on: ISO 8601, or an age such as 2h or 3d."),
    click.option("--until", metavar="TIME", help="Only those before."),
    click.option("--id", "ids", multiple=True, type=_NUMBER, help="Only this one; may be given several times."),
)
_json = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
_yes = click.option("--yes", is_flag=True, help="Do it; without it, only say what would be done.")
_show_secrets = click.option("--show-secrets", is_flag=True, help="Show secrets instead of ***.")


@click.group(cls=Group)
def dlq() -> None:
    """List, show, export, replay and purge dead letters.

    A dead letter is an event that a destination will not get: it could not be mapped, the vendor refused it, or it
    was given up.
    """


@dlq.command("list")
@_which_log
@_filters
@click.option("--limit", type=click.IntRange(min=0), help="How many to list; by default 50, and with --json all.")
@_json
def list_(config: str | None, path: str | None, limit: int | None, as_json: bool, **filters: Any) -> None:
    """List dead letters, oldest first, with a summary by reason.

    One that can't be read is named on stderr, and the exit code is 1.
    """
    from turnout._logscreen import end, letters

    damaged: dict[int, str] = {}
    with _logged(config, path, read_only=True) as (log, configuration):
        found = log.dead(_query(log, configuration, **filters), damaged=damaged.__setitem__)
        letters(found, limit, as_json=as_json, damaged=damaged)
    end(damaged)


@dlq.command()
@click.argument("number", metavar="ID", type=_NUMBER)
@_which_log
@_show_secrets
@_json
def show(config: str | None, path: str | None, number: int, show_secrets: bool, as_json: bool) -> None:
    """Show one dead letter: its reason, its event and the items that the vendor doesn't have.

    Without a configuration nobody can tell what is secret: items are shown without their data then.
    """
    from turnout._logscreen import letter
    from turnout.deadletters import line, secrets

    with _logged(config, path, read_only=True) as (log, configuration):
        query = _query(log, configuration, ids=(number,))
        [found] = log.dead(query)
        dispatcher = None if show_secrets else _dispatcher(configuration)
        letter(line(found, () if show_secrets else secrets(dispatcher, found.destination)), as_json=as_json)


@dlq.command()
@_which_log
@_filters
@click.option("-o", "--output", metavar="FILE", help="Write to this file, which is replaced.")
@_show_secrets
def export(config: str | None, path: str | None, output: str | None, show_secrets: bool, **filters: Any) -> None:
    """Write one JSON line for each dead letter: its event, its items, its reason.

    Without a configuration nobody can tell what is secret: items are written without their data then. One that can't
    be read is named on stderr, and the exit code is 1.
    """
    from turnout import _json
    from turnout._logscreen import end
    from turnout.deadletters import line, secrets

    damaged: dict[int, str] = {}
    with _logged(config, path, read_only=True) as (log, configuration):
        query = _query(log, configuration, **filters)
        dispatcher = None if show_secrets else _dispatcher(configuration)
        with _written(output) as stream:
            for letter in log.dead(query, damaged=damaged.__setitem__):
                hide = () if show_secrets else secrets(dispatcher, letter.destination)
                stream.write(_json.compact(line(letter, hide)) + b"\n")
    end(damaged)


@dlq.command("replay")
@_which_log
@_filters
@_yes
@_json
def replay_letters(config: str | None, path: str | None, yes: bool, as_json: bool, **filters: Any) -> None:
    """Send dead letters to their destinations once more; by default only say what would be done.

    A delivery that runs, or the next one, picks them up. An event that could not be mapped is mapped again, with the
    settings of now; one that still can't be stays a dead letter, and so does one that can't be read, which is named on
    stderr: then the exit code is 1.
    """
    from turnout._logscreen import end, replayed
    from turnout.deadletters import replay

    with _logged(config, path) as (log, configuration):
        query = _query(log, configuration, **filters)
        done = replay(log, query, dispatcher=_dispatcher(configuration), dry=not yes)
        replayed(done, dry=not yes, as_json=as_json)
    end(done.damaged, 1 if done.stays else 0)


@dlq.command()
@_which_log
@_filters
@_yes
@_json
def purge(config: str | None, path: str | None, yes: bool, as_json: bool, **filters: Any) -> None:
    """Delete dead letters for good, damaged ones too; by default only say how many."""
    from turnout import deadletters
    from turnout._logscreen import purged

    with _logged(config, path) as (log, configuration):
        query = _query(log, configuration, **filters)
        number = deadletters.purge(log, query) if yes else log.count_dead(query)
    purged(number, dry=not yes, as_json=as_json)


@click.command()
@click.argument("file", required=False, metavar="[FILE|-]")
@_which_log
@click.option("-d", "--destination", help="Move the cursor of this destination back, instead of feeding a file.")
@click.option("--from", "position", type=_NUMBER, help="The first position that is delivered once more.")
@click.option("--since", metavar="TIME", help="From what was accepted then on: ISO 8601, or an age such as 2h or 3d.")
@click.option("--again", is_flag=True, help="Also accept events of the file that were accepted before.")
@_yes
@_json
def replay(
    file: str | None,
    config: str | None,
    path: str | None,
    destination: str | None,
    position: int | None,
    since: str | None,
    again: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Deliver events once more, or feed those of a file; by default only say what would be done.

    `turnout replay FILE` puts events (JSON lines, batch bodies, or one JSON array) into the log, from which `turnout
    deliver` takes them; copies of what was accepted within dedupe_hours are left out. `turnout replay -d DESTINATION`
    moves a cursor back, while no delivery runs. Exit 1 when events of the file were refused.
    """
    _check_either(file, destination, position, since, again)
    if destination is not None:
        _rewind(config, path, destination, position, since, yes, as_json)
    else:
        _feed(config, path, file or "-", again, yes, as_json)


def _check_either(
    file: str | None, destination: str | None, position: int | None, since: str | None, again: bool
) -> None:
    if (file is None) == (destination is None):
        raise ConfigError("Name a file to feed, or a destination (-d) whose cursor is to be moved back: one of them.")
    if file is not None and not (position is None and since is None):
        raise ConfigError("--from and --since are for a cursor that is moved back (-d), not for a file.")
    if destination is not None and again:
        raise ConfigError("--again is for a file: a cursor that is moved back delivers everything once more.")
    if destination is not None and (position is None) == (since is None):
        raise ConfigError("Say from where: --from POSITION, or --since TIME.")


def _rewind(
    config: str | None,
    path: str | None,
    destination: str,
    position: int | None,
    since: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    from turnout._logscreen import rewound
    from turnout.replaying import rewind

    since_ms = None if since is None else _time("--since", since)
    with _logged(config, path) as (log, _):
        done = rewind(log, destination, position=position, since_ms=since_ms, dry=not yes)
    rewound(done, dry=not yes, as_json=as_json)


def _feed(config: str | None, path: str | None, file: str, again: bool, yes: bool, as_json: bool) -> None:
    from turnout._logscreen import fed
    from turnout.cli import opened
    from turnout.log import open_log
    from turnout.reading import records
    from turnout.replaying import feed

    settings, _ = _place(config, path)
    with opened(file) as stream, contextlib.ExitStack() as stack:
        log = None
        if yes or Path(settings.path).exists():
            log = stack.enter_context(contextlib.closing(open_log(settings)))
        done = feed(log, settings, records(stream), again=again, dry=not yes)
    fed(done, dry=not yes, as_json=as_json)
    sys.exit(1 if done.refused else 0)


@click.group(cls=Group)
def log() -> None:
    """Look at a log, and take a destination out of it."""


@log.command("status")
@_which_log
@_json
def status(config: str | None, path: str | None, as_json: bool) -> None:
    """Show how a log stands: its size, and for each destination its cursor, what waits and what came of the rest.

    It changes nothing, and needs no right to write.
    """
    from turnout._logscreen import standing
    from turnout.logstatus import status

    settings, _ = _place(config, path)
    with _logged(config, path, read_only=True) as (log, configuration):
        found = status(log, configuration.destinations if configuration else ())
    standing({"path": settings.path, **found}, as_json=as_json)


@log.command("forget")
@click.argument("destination")
@_which_log
@_yes
@_json
def forget(destination: str, config: str | None, path: str | None, yes: bool, as_json: bool) -> None:
    """Take a destination out of a log, while no delivery runs; by default only say what that means.

    The log keeps every event until each destination has had it, also for one that the configuration has no more. Dead
    letters stay, until `turnout dlq purge`.
    """
    from turnout import logstatus
    from turnout._logscreen import forgotten

    with _logged(config, path) as (log, configuration):
        names = configuration.destinations if configuration else ()
        done = logstatus.forget(log, destination, configured=names, dry=not yes)
    forgotten(done, dry=not yes, as_json=as_json)


# What the options mean


def _place(config: str | None, path: str | None) -> tuple[Config, Configuration | None]:
    """Return the section `[log]` that the options name, and the configuration if there is one."""
    from turnout.config import LogSettings, load_config

    if config is None and path is None and not Path(_HERE).exists():
        raise ConfigError("There is no turnout.toml here. Name a configuration with --config, or a log with --log.")
    configuration = load_config(config or _HERE) if config or path is None else None
    given = {name: configuration.log[name] for name in configuration.log} if configuration else {}
    settings = LogSettings.configure(given | ({} if path is None else {"path": path}), owner="--log")
    if not settings.path:
        name = configuration.path if configuration else "--log"
        raise ConfigError(f'{name}: no log is configured. Add [log] and path = "turnout.log", or name one with --log.')
    return settings, configuration


@contextlib.contextmanager
def _logged(
    config: str | None, path: str | None, *, read_only: bool = False
) -> Iterator[tuple[Log, Configuration | None]]:
    """Yield the log that the options name, which has to be there."""
    from turnout.log import open_log

    settings, configuration = _place(config, path)
    if not Path(settings.path).exists():
        raise ConfigError(f"{settings.path}: there is no such log. It is made when the first event is accepted.")
    with contextlib.closing(open_log(settings, read_only=read_only)) as log:
        yield log, configuration


def _dispatcher(configuration: Configuration | None) -> Dispatcher | None:
    from turnout.dispatcher import Dispatcher

    return Dispatcher.from_config(configuration) if configuration else None


def _query(
    log: Log,
    configuration: Configuration | None,
    destination: str | None = None,
    reason: str | None = None,
    since: str | None = None,
    until: str | None = None,
    ids: tuple[int, ...] = (),
) -> DeadQuery:
    from turnout.log import DeadQuery

    query = DeadQuery(
        destination=destination,
        code=None if reason is None else _code(reason),
        since_ms=None if since is None else _time("--since", since),
        until_ms=None if until is None else _time("--until", until),
        ids=ids or None,
    )
    _check_destination(log, configuration, destination)
    for number in ids:
        if not log.count_dead(DeadQuery(ids=[number])):
            raise ConfigError(f"There is no dead letter {number}. Those that there are: turnout dlq list")
    return query


def _code(word: str) -> Any:
    from turnout.reasons import Code

    if word not in list(Code):
        hint = did_you_mean(word, Code) or " docs/reference/reasons.md lists them all."
        raise ConfigError(f"--reason: there is no reason code '{word}'.{hint}")
    return Code(word)


def _check_destination(log: Log, configuration: Configuration | None, name: str | None) -> None:
    from turnout.log import DeadQuery

    known = dict.fromkeys([*log.destinations(), *(configuration.destinations if configuration else ())])
    if name is None or name in known or log.count_dead(DeadQuery(destination=name)):
        return
    hint = did_you_mean(name, known) or f" There are: {', '.join(known) or 'none'}."
    raise ConfigError(f"There is no destination '{name}'.{hint}")


def _time(option: str, text: str) -> int:
    """Return the milliseconds since 1970 of an ISO time, or of an age."""
    from turnout._times import epoch_ms

    if found := _AGE.fullmatch(text):
        return max(0, time.time_ns() // 1_000_000 - int(float(found[1]) * _UNITS[found[2]]))
    at_ms = epoch_ms(text)
    if at_ms is None:
        raise ConfigError(
            f"{option}: '{text}' is no time. Write it as 2026-01-31T12:00:00Z, or as an age: 90s, 2h, 3d."
        )
    return at_ms


@contextlib.contextmanager
def _written(output: str | None) -> Iterator[BinaryIO]:
    """Yield the stream to write to."""
    from turnout.cli import standard_output

    if output is None:
        stream = standard_output()
        yield stream
        stream.flush()
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(Path(output).open("wb"))
        except OSError as error:
            raise ConfigError(f"{output}: can't be written: {error.strerror}.") from None
        yield file

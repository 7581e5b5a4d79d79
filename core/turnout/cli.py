"""The command line: everything it does is a call of the Python API."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from turnout._group import Group
from turnout.errors import ConfigError

if TYPE_CHECKING:
    from turnout.dispatcher import Dispatcher
    from turnout.inputs import Inputs
    from turnout.plan import Plan
    from turnout.reading import Record
    from turnout.watchdog import TooLong

__all__ = [
    "clock_at",
    "common_options",
    "dispatcher_of",
    "hashed_id",
    "input_records",
    "main",
    "opened",
    "standard_output",
]


_LAZY = {
    "case": "turnout._casecommand:case",
    "check": "turnout._checkcommand:check",
    "diff": "turnout._diffcommand:diff",
    "dlq": "turnout._logcommands:dlq",
    "docs": "turnout._docscommand:docs",
    "explain": "turnout._explaincommand:explain",
    "log": "turnout._logcommands:log",
    "new": "turnout._newcommand:new",
    "pull": "turnout._pullcommand:pull",
    "read": "turnout._readcommand:read",
    "replay": "turnout._logcommands:replay",
    "serve": "turnout._servecommand:serve",
    "validate": "turnout._validatecommand:validate",
}
"""Commands that are imported when they are asked for, each with its module and its name there."""


@click.group(cls=Group, lazy=_LAZY, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="turnout")
def main() -> None:
    """One event in, every destination right.

    Plan, send and check Segment-style events, with destinations as plugins.
    """
    logging.basicConfig(format="turnout: %(message)s", level=logging.WARNING)


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose settings and input."""
    options = (
        click.argument("file", default="-", metavar="[FILE|-]"),
        click.option(
            "--settings",
            metavar="FILE.json",
            help="A JSON object of the destination's settings, laid over those of the configuration.",
        ),
        click.option("--config", metavar="turnout.toml", help="The configuration file."),
    )
    for option in options:
        command = option(command)
    return command


@main.command()
@click.option("-d", "--destination", required=True, help="A destination of --config; without it, a plugin.")
@common_options
@click.option("--now", metavar="ISO", help="The time that the clock shows.")
@click.option("--show-secrets", is_flag=True, help="Show secrets instead of ***.")
def plan(
    destination: str, settings: str | None, config: str | None, now: str | None, show_secrets: bool, file: str
) -> None:
    """Show the requests that events would cause; send nothing.

    Input: JSON lines (events, or batch bodies), or one JSON array. Output: one JSON line for each event, in the same
    order; a missing messageId is a hash of the line here, while send makes a new one each time. Exit 0 when
    nothing was invalid or failed, 1 when something was, 2 for a wrong command line or configuration.
    """
    from turnout import _json
    from turnout._hang import patrolled
    from turnout.inputs import Inputs
    from turnout.reasons import Outcome

    dispatcher = dispatcher_of([destination], settings, config, clock=clock_at(now), new_id=hashed_id)
    bad, inputs = False, Inputs()
    out = standard_output()
    with patrolled():
        for record in input_records(file):
            for plans in _plans(dispatcher, record, inputs):
                for one in plans:
                    bad = bad or one.outcome in (Outcome.INVALID, Outcome.FAILED)
                    out.write(_json.compact(one.to_dict(show_secrets=show_secrets)) + b"\n")
            if file == "-":
                out.flush()
    out.flush()
    sys.exit(1 if bad else 0)


def standard_output() -> BinaryIO:
    """Return standard output for bytes; raises ConfigError when it is closed."""
    if sys.stdout is None:
        raise ConfigError("Standard output is closed. Send it to a file.")
    return sys.stdout.buffer


def _plans(dispatcher: Dispatcher, record: Record, inputs: Inputs) -> Iterator[list[Any]]:
    """Yield the plans of each event of a record; where a mapping does not come back, the event has failed."""
    from turnout.watchdog import TooLong

    if record.refusal:
        yield dispatcher.refused(record.refusal, record.place)
        return
    done, found = 0, dispatcher.plan_body(record.raw, record.place, inputs)
    while True:
        try:
            plans = next(found, None)
        except TooLong as error:
            plans, found = [_interrupted(error)], _rest(dispatcher, record, inputs, done + 1)
        if plans is None:
            return
        yield plans
        done += 1


def _interrupted(error: TooLong) -> Plan:
    from turnout._hang import Hang

    return Hang.of(error).plan


def _rest(dispatcher: Dispatcher, record: Record, inputs: Inputs, done: int) -> Iterator[list[Any]]:
    """Yield the plans of the events of a body behind so many."""
    from turnout.errors import Refusal

    for number, found in enumerate(dispatcher.read_body(record.raw), start=1):
        place = f"{record.place}, event {number}"
        if number <= done:
            continue
        if isinstance(found, Refusal):
            yield dispatcher.refused(found, place)
        else:
            yield from dispatcher.plan_body(found, place, inputs)


@main.command()
@click.option(
    "-d",
    "--destination",
    "destinations",
    multiple=True,
    help="Only this one of the configuration, or a plugin; may be given several times.",
)
@common_options
@click.option("--each", is_flag=True, help="Show every event, not only the summary.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON line for each event and destination.")
def send(
    destinations: tuple[str, ...],
    settings: str | None,
    config: str | None,
    each: bool,
    as_json: bool,
    file: str,
) -> None:
    """Deliver events now, and show what became of them.

    Nothing is kept for later: what can't be delivered is reported. Exit 0 when everything was delivered or
    dropped on purpose, 1 when something was refused or not delivered, 2 for a wrong command line or configuration.
    """
    from turnout._sendscreen import run

    if config is None and Path("turnout.toml").exists() and _names_all("turnout.toml", destinations):
        config = "turnout.toml"
    if config is None and len(destinations) != 1:
        raise ConfigError("There is no turnout.toml here. Name a configuration with --config, or a plugin with -d.")
    dispatcher = dispatcher_of(destinations or None, settings, config)
    if not dispatcher.destinations:
        raise ConfigError(f"{config}: there is no [destinations.…] table, so nothing would be sent. Add one.")
    with opened(file) as stream:
        sys.exit(run(dispatcher, stream, each=each, as_json=as_json))


@main.command()
@click.option("--config", metavar="turnout.toml", default="turnout.toml", show_default=True, help="The configuration.")
@click.option("-d", "--destination", "destinations", multiple=True, help="Only this one; may be given several times.")
@click.option("--until-empty", is_flag=True, help="End when everything in the log is delivered or dead.")
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), help="Serve Prometheus metrics on this port of loopback."
)
@click.option("--until-stdin-ends", is_flag=True, hidden=True)
def deliver(
    config: str, destinations: tuple[str, ...], until_empty: bool, metrics_port: int | None, until_stdin_ends: bool
) -> None:
    """Deliver the events of a log to its destinations, until it is stopped.

    Where it ends (Ctrl-C, SIGTERM, a crash), the next start goes on. Exit 0; with --until-empty 1 when there are dead
    letters that were not there before; 2 for a wrong command line or configuration, or when the log can't be used.
    """
    from turnout._deliverscreen import run
    from turnout.config import load_config
    from turnout.dispatcher import Dispatcher

    configuration = load_config(config)
    dispatcher = Dispatcher.from_config(configuration, only=destinations or None)
    if not dispatcher.destinations:
        raise ConfigError(f"{config}: there is no [destinations.…] table, so nothing would be delivered. Add one.")
    code = run(
        dispatcher,
        configured=configuration.destinations,
        until_empty=until_empty,
        metrics_port=metrics_port,
        until_stdin_ends=until_stdin_ends,
    )
    sys.exit(code)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Write them as JSON.")
def plugins(as_json: bool) -> None:
    """List what is installed: plugins, their distribution and version, and what is wrong with them.

    Exit 1 when a plugin has a problem.
    """
    from turnout import _json
    from turnout.destination import check_destination
    from turnout.plugins import DESTINATIONS, GROUPS, SOURCES, check, installed
    from turnout.source import check_source

    checks = {DESTINATIONS: check_destination, SOURCES: check_source}
    rows = []
    for group, word in GROUPS.items():
        for plugin in installed(group):
            problem = check(plugin, accepts=checks.get(group))
            rows.append(
                {
                    "kind": word,
                    "name": plugin.name,
                    "distribution": plugin.distribution,
                    "version": plugin.version,
                    "value": plugin.value,
                    "problem": problem,
                }
            )
    if as_json:
        click.echo(_json.compact(rows))
    else:
        _show_plugins(rows)
    sys.exit(1 if any(row["problem"] for row in rows) else 0)


def _show_plugins(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "name", "distribution", "version", "problem", box=None)
    for row in rows:
        table.add_row(row["kind"], row["name"], row["distribution"], row["version"], row["problem"] or "none")
    Console(highlight=False).print(table)


@main.command()
@click.argument("name")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="The port.")
def simulate(name: str, host: str, port: int) -> None:
    """Serve a vendor's simulator, for trying things without an account.

    What it received can be read at /_turnout/ledger and /_turnout/state.
    """
    from turnout import plugins as installed_plugins

    installed_plugins.load(installed_plugins.SIMULATORS, name)().run(host=host, port=port)


def dispatcher_of(names: Any, settings: str | None, config: str | None, **options: Any) -> Dispatcher:
    """Return the dispatcher for the destinations that a command line names."""
    from turnout.config import load_config
    from turnout.destination import load_destination
    from turnout.dispatcher import Dispatcher

    given = _settings(settings)
    if config is not None:
        configuration = load_config(config)
        chosen = list(names or configuration.destinations)
        if settings is not None and len(chosen) != 1:
            raise ConfigError("--settings are those of one destination: name it with -d.")
        return Dispatcher.from_config(configuration, only=chosen, settings=given, **options)
    name = names[0]
    return Dispatcher({name: load_destination(name)(given, id=name)}, **options)


def _names_all(config: str, destinations: tuple[str, ...]) -> bool:
    """Tell whether a configuration has all these destinations; a name that it doesn't have may be a plugin's."""
    from turnout.config import load_config

    return set(destinations) <= load_config(config).destinations.keys()


def _settings(path: str | None) -> Mapping[str, Any]:
    from turnout.strictjson import load_object

    return {} if path is None else load_object(Path(path), "settings")


def clock_at(now: str | None) -> Callable[[], Any] | None:
    """Return a clock that stands still at the time of `--now`; None without it. Raises ConfigError for no time."""
    if now is None:
        return None
    from turnout._times import parse

    fixed = parse(now)
    if fixed is None:
        raise ConfigError(f"--now: '{now}' is not a time. Write it as 2026-01-31T12:00:00Z.")
    return lambda: fixed


def hashed_id(raw: bytes) -> str:
    """Return the message id of an event that has none: a hash of its line."""
    import hashlib

    return hashlib.sha256(raw).hexdigest()[:32]


def input_records(file: str) -> Iterator[Record]:
    """Yield the records of a file, of standard input for `-`."""
    from turnout.reading import records

    with opened(file) as stream:
        yield from records(stream)


@contextlib.contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """Yield a file for reading, or standard input for `-`; raises ConfigError when it can't be read."""
    if file == "-":
        if sys.stdin is None:
            raise ConfigError("Standard input is closed. Name a file.")
        yield sys.stdin.buffer
        return
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(Path(file).open("rb"))
        except FileNotFoundError:
            raise ConfigError(f"{file}: there is no such file.") from None
        except OSError as error:
            raise ConfigError(f"{file}: can't be read: {error.strerror}.") from None
        yield stream

"""`turnout pull`: a command for each installed source that fetches its payloads itself."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from turnout._group import Group
from turnout._readcommand import HERE
from turnout.errors import ConfigError, PluginError, SettingsError, TurnoutError

if TYPE_CHECKING:
    from turnout._pullscreen import PullScreen
    from turnout.config import Configuration
    from turnout.pulling import Sink, StateFile
    from turnout.settings import SettingDoc
    from turnout.source import Source

__all__ = ["pull"]


class _Pulls(Group):
    """The installed sources that pull, by their names with dashes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the sources that pull; one that can't be loaded is left out."""
        return [name for name, kind in _kinds().items() if kind.pulls()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a source, None when there is none of that name."""
        from turnout.plugins import SOURCES, installed
        from turnout.source import load_source

        plugin = next((one.name for one in installed(SOURCES) if _dashed(one.name) == _dashed(cmd_name)), None)
        if plugin is None:
            return None
        kind = load_source(plugin)
        if not kind.pulls():
            advice = "Read what it has sent with turnout read, or let the gateway take its webhook"
            raise ConfigError(f"The source '{plugin}' fetches nothing by itself. {advice}.")
        return _command(plugin, kind)


@click.group(cls=_Pulls)
def pull() -> None:
    """Fetch events from a vendor: to stdout, into the log, or straight on.

    Each installed source that can fetch is a command with options of its own.
    """


def _kinds() -> dict[str, type[Source]]:
    from turnout.plugins import SOURCES, installed
    from turnout.source import load_source

    found = {}
    for plugin in installed(SOURCES):
        try:
            found[_dashed(plugin.name)] = load_source(plugin.name)
        except PluginError:
            continue
    return found


def _dashed(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _command(plugin: str, kind: type[Source]) -> click.Command:
    from turnout.settings import describe

    settings = describe(kind.options)

    def run(**given: Any) -> None:
        own = {entry.name: given.pop(entry.name) for entry in settings}
        _run(plugin, {name: value for name, value in own.items() if value not in (None, ())}, **given)

    return click.Command(
        _dashed(plugin),
        callback=run,
        params=[*(_option(entry) for entry in settings), *_common()],
        help=f"{(kind.__doc__ or kind.name).strip().partition(chr(10))[0]}\n\n{_HELP}",
    )


_HELP = """Events are written as JSON lines, or go where --accept, --gateway and --send say. How far it came is kept in
the state file whenever everything before is safe; the next pull goes on from there. Exit 1 when something could not be
read, fetched or delivered, 2 for a wrong command line or configuration."""


def _common() -> list[click.Parameter]:
    return [
        click.Option(["--config"], metavar="turnout.toml", help="The configuration; by default the turnout.toml here."),
        click.Option(["--id", "name"], metavar="ID", help="Which source of the configuration, when several are alike."),
        click.Option(["--settings"], metavar="FILE.json", help="A JSON object of the source's settings."),
        click.Option(
            ["--accept"],
            is_flag=True,
            help="Put the events into the log of the configuration; while a gateway runs on it, take --gateway.",
        ),
        click.Option(
            ["--gateway"],
            metavar="URL",
            help="Hand the events to the gateway that runs there, with the write_key of the source.",
        ),
        click.Option(
            ["--send"], is_flag=True, help="Deliver the events now, to the destinations of the configuration."
        ),
        click.Option(
            ["--state", "state_file"],
            metavar="FILE",
            help="Where to keep how far it came; by default <id>.state.json beside the configuration, if there is one.",
        ),
    ]


def _option(entry: SettingDoc) -> click.Option:
    """Return the option of one entry of a source's `options` schema."""
    flags = [f"--{_dashed(entry.name)}", entry.name]
    text = entry.doc if not entry.required else f"{entry.doc} [required]"
    if entry.type == "true or false":
        return click.Option(flags, is_flag=True, default=None, help=text)
    if entry.type == "a list of texts":
        return click.Option(flags, multiple=True, help=f"{text} May be given several times.")
    kind = float if entry.type.startswith("a number") else int if entry.type.startswith("a whole number") else str
    choices = f" One of: {', '.join(entry.choices)}." if entry.choices else ""
    return click.Option(flags, type=kind, metavar="TEXT" if kind is str else None, help=text + choices)


def _run(
    plugin: str,
    options: dict[str, Any],
    *,
    config: str | None,
    name: str | None,
    settings: str | None,
    accept: bool,
    gateway: str | None,
    send: bool,
    state_file: str | None,
) -> None:
    from turnout._pullscreen import PullScreen
    from turnout.config import load_config
    from turnout.pulling import StateFile, pull_async

    configuration = load_config(config or HERE) if config or Path(HERE).exists() else None
    source = _source(plugin, name, configuration, settings)
    _check_options(source, options)
    place = _state_path(state_file, configuration, source)
    file = None if place is None else StateFile(place, source.id)
    screen = PullScreen(writes=not (accept or send or gateway is not None))
    with screen, _sink(configuration, source, accept=accept, gateway=gateway, send=send, screen=screen) as sink:
        pulling = pull_async(
            source,
            sink,
            options,
            state=file.load() if file else None,
            save=file.save if file else None,
            refused=screen.refuse,
            progressed=screen.progress,
        )
        code = _ended(pulling, file)
    screen.finish(whole=not code)
    sys.exit(code or (1 if screen.bad else 0))


def _check_options(source: Source, options: dict[str, Any]) -> None:
    """Raise `ConfigError` for wrong options, under the names that they have on the command line."""
    try:
        source.options.configure(options, owner="", environ={})
    except SettingsError as error:
        told = [f"--{_dashed(name)} {_bare(sentence)}" for name, found in error.errors.items() for sentence in found]
        raise ConfigError(" ".join(told) or str(error)) from None


def _bare(sentence: str) -> str:
    return re.sub(r"^Setting '[^']*' ", "", sentence)


def _ended(pulling: Coroutine[Any, Any, object], file: StateFile | None) -> int:
    """Run a pull to its end, and return the exit code that this has."""
    try:
        asyncio.run(pulling)
    except KeyboardInterrupt:
        rest = "The next pull goes on behind what the state file tells." if file else "No state was kept."
        click.echo(f"Interrupted. {rest}", err=True)
        return 130
    except ConfigError:
        raise
    except TurnoutError as error:
        rest = f" What was safe before is noted in {file.path}." if file and file.path.exists() else ""
        click.echo(f"turnout: {error}{_way_out(error)}{rest}", err=True)
        return 1
    return 0


def _way_out(error: TurnoutError) -> str:
    from turnout.log import LogHeld

    return " A gateway that has it takes the events with --gateway." if isinstance(error, LogHeld) else ""


def _source(plugin: str, name: str | None, configuration: Configuration | None, settings: str | None) -> Source:
    """Return the source that the command line means: the one of the configuration, else the plugin by itself."""
    from turnout.source import configured_source
    from turnout.strictjson import load_object

    given = {} if settings is None else load_object(Path(settings), "settings")
    alike = [] if configuration is None else [i for i, one in configuration.sources.items() if one.plugin == plugin]
    if name is not None and (configuration is None or name in configuration.sources) and name not in alike:
        where = configuration.path if configuration else "--id"
        raise ConfigError(f"{where}: there is no source '{name}' with the plugin '{plugin}' in the configuration.")
    if name is None and len(alike) > 1:
        raise ConfigError(f"Several sources have the plugin '{plugin}'. Name one with --id: {', '.join(alike)}.")
    if name is None and not alike:
        return configured_source(plugin, None, given)
    return configured_source(name or alike[0], configuration, given)


def _state_path(given: str | None, configuration: Configuration | None, source: Source) -> Path | None:
    if given is not None:
        return Path(given).absolute()
    return configuration.path.absolute().with_name(f"{source.id}.state.json") if configuration else None


@contextmanager
def _sink(
    configuration: Configuration | None,
    source: Source,
    *,
    accept: bool,
    gateway: str | None,
    send: bool,
    screen: PullScreen,
) -> Iterator[Sink]:
    """Yield what takes the events: stdout, the log, a gateway, or the destinations."""
    from turnout.dispatcher import Dispatcher
    from turnout.pulling import Accepting, Delivering

    if accept + send + (gateway is not None) > 1:
        advice = "accepted events are delivered from the log anyway, and a gateway accepts what it is given"
        raise ConfigError(f"Name one of --accept, --gateway and --send: {advice}.")
    if gateway is not None:
        yield _posting(source, gateway, screen)
        return
    if not accept and not send:
        yield screen.write
        return
    if configuration is None:
        raise ConfigError("--accept and --send need a configuration: name it with --config.")
    origin = configuration.sources.get(source.id)
    with Dispatcher.from_config(configuration, only=origin.destinations if origin and send else None) as dispatcher:
        if send and not dispatcher.destinations:
            raise ConfigError(f"{configuration.path}: there is no [destinations.…] table, so nothing would be sent.")
        if accept and not configuration.log.path:
            raise ConfigError(f"{configuration.path}: there is no log. Give [log] a path.")
        yield Accepting(dispatcher, screen.refuse) if accept else Delivering(dispatcher, screen.settle)


def _posting(source: Source, gateway: str, screen: PullScreen) -> Sink:
    from turnout.posting import Posting

    key = source.config.write_key
    if not key:
        advice = "Give its table [sources.<id>] one, here and in the configuration of the gateway"
        raise ConfigError(f"--gateway: the source '{source.id}' has no write_key. {advice}.")
    try:
        return Posting(gateway, key, screen.refuse)
    except ConfigError as error:
        raise ConfigError(f"--gateway: {error}") from None

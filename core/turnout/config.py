"""The configuration file `turnout.toml`, read and checked.

    [send]
    timeout_seconds = 10.0

    [log]
    path = "turnout.log"               # accepted events wait here until every destination has them

    [tracking_plan]
    path = "tracking-plan.json"        # what events must hold, from the folder of this file

    [hooks.filter]                     # the name of a hook plugin; hooks run in the order of the file
    block_events = ["Heartbeat"]

    [destinations.amplitude]           # an id of your own, so that one plugin can stand here twice
    plugin = "amplitude"
    api_key = "${AMPLITUDE_API_KEY}"

    [sources.website]                  # who may send to the gateway
    write_key = "${WEBSITE_WRITE_KEY}"
    destinations = ["amplitude"]       # without it: all

    [sources.flags]                    # payloads for turnout read, pull, or a vendor's webhook
    plugin = "flagsmith"
    environment_key = "${FLAGSMITH_KEY}"

A destination's own settings stand beside `plugin`, a hook's in its table; they are checked by the plugin when
it is configured. `[send]`, `[log]`, `[deliver]`, `[gateway]` and `[tracking_plan]` are checked here;
`TURNOUT_SEND_TIMEOUT_SECONDS=3` in the environment wins over the file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from turnout._fields import shown
from turnout.errors import ConfigError, did_you_mean
from turnout.sections import GatewaySettings, HttpSourceSettings
from turnout.settings import Config, Section, choice, describe, integer, names, number, text

__all__ = [
    "HTTP",
    "SECTIONS",
    "Configuration",
    "DeliverSettings",
    "Instance",
    "LogSettings",
    "Origin",
    "SendSettings",
    "TrackingPlanSettings",
    "load_config",
]

_ID = re.compile(r"[a-z0-9][a-z0-9_-]*")
_TABLES = ("sources", "destinations", "hooks")
HTTP = "http"
"""The plugin of a source that sends to the gateway; it need not be named."""
_PREFIX = "TURNOUT_"
_NUMERAL = re.compile(r"[+-]?[0-9]{1,18}(?P<fraction>\.[0-9]{1,18})?")


class SendSettings(Section):
    """The section `[send]`: how requests are delivered."""

    timeout_seconds = number(
        "How long to wait for a vendor's answer, in seconds.", default=10.0, minimum=0.001, maximum=3600.0
    )
    attempts = integer("How often a request is tried in all.", default=5, minimum=1, maximum=100)


class LogSettings(Section):
    """The section `[log]`: where accepted events are kept until every destination has them."""

    path = text("The file of the log; without it there is none, and `send` is the only way.", default="")
    keep_hours = number(
        "How long an event stays in the log for `turnout replay`; one that a destination needs stays longer, and what "
        "all have had goes sooner when the log has 80 % of `max_megabytes`, or the disk is nearly full.",
        default=24.0,
        minimum=0.0,
    )
    max_megabytes = integer(
        "How large the file may become; then no more events are accepted. 0: as large as the disk.",
        default=0,
        minimum=0,
    )
    dedupe_hours = number(
        "How long the source and message id of an event are remembered, so that a second copy is not accepted.",
        default=24.0,
        minimum=0.0,
    )
    dedupe_megabytes = integer(
        "How much memory remembering them may take; then the oldest are forgotten sooner.", default=64, minimum=1
    )


class DeliverSettings(Section):
    """The section `[deliver]`: how destinations are served from the log."""

    timeout_seconds = number(
        "How long to wait for a vendor's answer, in seconds.", default=10.0, minimum=0.001, maximum=3600.0
    )
    lanes = integer(
        "How many requests to one destination are under way at a time; users are spread over them.",
        default=4,
        minimum=1,
        maximum=64,
    )
    events_at_once = integer(
        "How many events a lane takes at a time to pack them into requests.", default=1000, minimum=1, maximum=100_000
    )
    events_in_flight = integer(
        "How many events of one destination are read ahead of what is settled; each takes about 5 KB of memory and "
        "twice its own size.",
        default=2000,
        minimum=1,
        maximum=1_000_000,
    )
    max_age_hours = number(
        "How long an event is retried before it becomes a dead letter; pauses that the vendor asks for, or that follow "
        "a 429, don't count.",
        default=4.0,
        minimum=0.0,
    )
    min_attempts = integer("How often it is tried at least before that.", default=5, minimum=1, maximum=1000)
    max_dead_letters = integer(
        "About how many dead letters a destination may have; then it rests until some are replayed or purged. 0: any.",
        default=100_000,
        minimum=0,
    )
    grace_seconds = number("How long requests may still run when delivery is stopped.", default=10.0, minimum=0.0)
    poll_seconds = number("How often to look for new events when there are none.", default=0.05, minimum=0.001)
    mapping_seconds = number(
        "How long plugin code may take for the events that are read together; then it is interrupted. 0: for ever.",
        default=10.0,
        minimum=0.0,
    )
    setup_wait_seconds = number(
        "How long a destination rests after the vendor has refused its key.", default=60.0, minimum=0.001
    )


class TrackingPlanSettings(Section):
    """The section `[tracking_plan]`: what events must hold."""

    path = text("The file of the plan, from the folder of this one; without it no event is checked.", default="")
    mode = choice(
        "What becomes of an event that violates it; empty: what the plan says.", ["observe", "strip", "block"]
    )
    unplanned = choice(
        "What becomes of an event that it doesn't have; empty: what the plan says.", ["observe", "block", "allow"]
    )
    unplanned_properties = choice(
        "Whether properties and traits that it doesn't list are violations; empty: what the plan says.",
        ["allow", "forbid"],
    )
    exempt = names("Ids of destinations that get every event as it came.")


SECTIONS: dict[str, type[Section]] = {
    "send": SendSettings,
    "log": LogSettings,
    "deliver": DeliverSettings,
    "gateway": GatewaySettings,
    "tracking_plan": TrackingPlanSettings,
}
"""The schemas of the sections that belong to turnout itself, by name."""


class Instance(NamedTuple):
    """One destination of the file: its plugin's name and its settings as they are written.

    The settings are neither checked nor complete, and `${NAME}` is not yet replaced.
    """

    plugin: str
    settings: dict[str, Any]

    def __repr__(self) -> str:
        # Nobody knows yet which of the settings are secret.
        return f"Instance(plugin={self.plugin!r}, settings={sorted(self.settings)})"


class Origin(NamedTuple):
    """One source of the file: its plugin's name, the destinations of its events (None: all), and its settings."""

    plugin: str
    destinations: frozenset[str] | None
    settings: dict[str, Any]

    def __repr__(self) -> str:
        return f"Origin(plugin={self.plugin!r}, settings={sorted(self.settings)})"


class Configuration(msgspec.Struct, frozen=True):
    """What a `turnout.toml` says.

    `sources` and `destinations` by id and `hooks` (settings by plugin name) are in the file's order; `send`, `log`,
    `deliver`, `gateway` and `tracking_plan` are complete.
    """

    path: Path
    sources: dict[str, Origin]
    destinations: dict[str, Instance]
    hooks: dict[str, dict[str, Any]]
    send: Config
    log: Config
    deliver: Config
    gateway: Config
    tracking_plan: Config

    @property
    def routes(self) -> dict[str, frozenset[str]]:
        """Return the destinations of each source that does not go to all."""
        named = {name: origin.destinations for name, origin in self.sources.items()}
        return {name: destinations for name, destinations in named.items() if destinations is not None}

    def senders(self, environ: Mapping[str, str] | None = None) -> dict[str, Config]:
        """Return the checked settings of the sources that send to the gateway; raises SettingsError."""
        return {
            name: HttpSourceSettings.configure(origin.settings, owner=f"source '{name}'", environ=environ)
            for name, origin in self.sources.items()
            if origin.plugin == HTTP
        }

    def destination(self, identifier: str) -> Instance:
        """Return the destination of that id; raises ConfigError, with a suggestion, when there is none."""
        if identifier in self.destinations:
            return self.destinations[identifier]
        known = ", ".join(self.destinations) or "none"
        hint = did_you_mean(identifier, self.destinations)
        raise ConfigError(f"{self.path}: there is no destination '{identifier}'.{hint} There are: {known}.")

    def __repr__(self) -> str:
        hooks = {name: sorted(settings) for name, settings in self.hooks.items()}
        return f"Configuration({str(self.path)!r}, {self.destinations}, hooks={hooks}, send={self.send})"


def load_config(path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> Configuration:
    """Return the configuration in the TOML file at `path`, with `TURNOUT_*` overrides from `environ`.

    `environ` is the process's own environment when None. Raises ConfigError that names the file and the key.
    """
    place = Path(path)
    variables = os.environ if environ is None else environ
    document = _read(place)
    _check_sections(place, document)
    sections = {name: _section(place, name, document, variables) for name in SECTIONS}
    destinations = _destinations(place, _table(place, document, "destinations"))
    return Configuration(
        path=place,
        sources=_sources(place, _table(place, document, "sources"), destinations),
        destinations=destinations,
        hooks=_hooks(place, _table(place, document, "hooks")),
        **sections,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        # Editors on Windows put a byte order mark in front.
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        advice = "Write it, or name another one; docs/reference/configuration.md shows what stands in it"
        raise ConfigError(f"{path}: there is no such file. {advice}.") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}).") from None
    except RecursionError:
        raise ConfigError(f"{path}: is not valid TOML: nested too deeply.") from None
    except ValueError as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}.") from None


def _check_sections(path: Path, document: Mapping[str, Any]) -> None:
    known = (*SECTIONS, *_TABLES)
    for name in document:
        if name not in known:
            tables = ", ".join(f"[{word}]" for word in known)
            hint = did_you_mean(name, known) or f" There are: {tables}."
            raise ConfigError(f"{path}: '{name}' is not a section.{hint}")


def _table(path: Path, document: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: '{name}' must be a table, written [{name}], not {_what(table)}.")
    return table


def _section(path: Path, name: str, document: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    schema = SECTIONS[name]
    table = _table(path, document, name)
    overrides = _overrides(name, schema, environ)
    checked = schema.configure(table, owner=f"{path}, section [{name}]", environ=environ)
    given = {key: checked[key] for key in checked.given}
    return schema.configure(given | overrides, owner=f"section [{name}]", environ=environ)


def _overrides(section: str, schema: type[Section], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what variables such as TURNOUT_SEND_ATTEMPTS set; each is checked under its own name."""
    prefix = f"{_PREFIX}{section.upper()}_"
    known = {prefix + entry.name.upper(): entry for entry in describe(schema)}
    values = {}
    for variable in sorted(name for name in environ if name.startswith(prefix)):
        if variable not in known:
            hint = did_you_mean(variable, known) or f" There are: {', '.join(known)}."
            raise ConfigError(f"The environment variable {variable} is not a setting.{hint}")
        entry = known[variable]
        value = _typed(environ[variable], entry.default)
        schema.configure({entry.name: value}, owner=f"The environment variable {variable}", environ={})
        values[entry.name] = value
    return values


def _typed(text: str, default: object) -> Any:
    """Return what `text` stands for: a variable is always text, a setting need not be."""
    if isinstance(default, str):
        return text
    match = _NUMERAL.fullmatch(text)
    if match is None:
        return {"true": True, "false": False}.get(text.lower(), text)
    return float(text) if match["fraction"] else int(text)


def _destinations(path: Path, table: Mapping[str, Any]) -> dict[str, Instance]:
    return {name: _destination(path, name, entry) for name, entry in table.items()}


def _destination(path: Path, name: str, entry: object) -> Instance:
    settings = dict(_entry(path, "destinations", name, entry))
    if "plugin" not in settings:
        add = f'add the plugin\'s name, as in plugin = "{name}"'
        raise ConfigError(f"{path}: [destinations.{name}] has no 'plugin': {add}.")
    plugin = settings.pop("plugin")
    if not isinstance(plugin, str) or not plugin:
        fault = f"'plugin' must be the name of a plugin, not {shown(plugin)}"
        raise ConfigError(f"{path}: [destinations.{name}]: {fault}.")
    return Instance(plugin, settings)


def _sources(path: Path, table: Mapping[str, Any], destinations: Iterable[str]) -> dict[str, Origin]:
    return {name: _source(path, name, entry, destinations) for name, entry in table.items()}


def _source(path: Path, name: str, entry: object, known: Iterable[str]) -> Origin:
    settings = dict(_entry(path, "sources", name, entry))
    plugin, named = settings.pop("plugin", HTTP), settings.pop("destinations", None)
    if not isinstance(plugin, str) or not plugin:
        fault = f"'plugin' must be the name of a plugin, not {shown(plugin)}"
        raise ConfigError(f"{path}: [sources.{name}]: {fault}.")
    if named is None:
        return Origin(plugin, None, settings)
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named) or not named:
        raise ConfigError(f"{path}: [sources.{name}]: 'destinations' must be a list of ids; without it, all are meant.")
    for one in named:
        if one not in known:
            there = ", ".join(known) or "none"
            hint = did_you_mean(one, known)
            fault = f"there is no destination '{one}'.{hint} There are: {there}"
            raise ConfigError(f"{path}: [sources.{name}]: {fault}.")
    return Origin(plugin, frozenset(named), settings)


def _hooks(path: Path, table: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: _entry(path, "hooks", name, entry) for name, entry in table.items()}


def _entry(path: Path, section: str, name: str, entry: object) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ConfigError(f"{path}: '{section}.{name}' must be a table, written [{section}.<id>], not {_what(entry)}.")
    if not _ID.fullmatch(name):
        rule = "an id has small letters, digits, '-' and '_', and starts with a letter or digit"
        raise ConfigError(f"{path}: [{section}.{shown(name)}]: {rule}.")
    return entry


def _what(value: object) -> str:
    """Return what stands in the place of a table; not a text itself, which may be a key."""
    return "a text" if isinstance(value, str) else shown(value)

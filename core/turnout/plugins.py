"""Installed plugins, found by their entry points: listing imports nothing, loading names who is at fault.

A distribution offers a plugin with an entry point:

    [project.entry-points."turnout.destinations"]
    acme = "turnout_acme:Acme"
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from turnout.errors import ConfigError, PluginError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = [
    "DESTINATIONS",
    "GROUPS",
    "HOOKS",
    "PLUGIN_API",
    "SIMULATORS",
    "SOURCES",
    "Accepts",
    "Plugin",
    "check",
    "installed",
    "load",
    "load_hook",
]

PLUGIN_API = 1
"""The plugin API version of this turnout; a destination or source states the one it was made for as `api`."""

DESTINATIONS = "turnout.destinations"
HOOKS = "turnout.hooks"
SIMULATORS = "turnout.simulators"
SOURCES = "turnout.sources"

GROUPS = {DESTINATIONS: "destination", HOOKS: "hook", SIMULATORS: "simulator", SOURCES: "source"}
"""The entry-point groups, each with the word for one of its plugins."""

_VERSIONED = {DESTINATIONS, SOURCES}
_REQUIRED = {DESTINATIONS: ("name", "settings"), SOURCES: ("settings", "read")}
_REFERENCE = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<attribute>[\w.]+)\s*(\[.*\])?")

Accepts = Callable[[Any], str | None]
"""Says in a few words what is wrong with a loaded plugin, None when nothing is."""


class Plugin(msgspec.Struct, frozen=True):
    """A plugin that a distribution offers; `value` is its place, as in `turnout_acme:Acme`.

    `fault` says why its distribution's list of entry points can't be read; `name` is then the distribution's.
    """

    name: str
    value: str
    distribution: str
    version: str
    group: str
    fault: str | None = None

    def __str__(self) -> str:
        return f"{_kind(self.group)} '{self.name}' of {self.distribution} {self.version}"


def installed(group: str, *, refresh: bool = False) -> list[Plugin]:
    """Return the plugins of `group` ("turnout.destinations", ...), sorted by name; imports none of them.

    The answer is kept for as long as `sys.path` stays the same; `refresh` looks again.
    """
    if refresh:
        importlib.invalidate_caches()
        _found.cache_clear()
    return list(_found(group, tuple(sys.path)))


def load(group: str, name: str, *, accepts: Accepts | None = None) -> Any:
    """Return the class (or other object) that the plugin `name` of `group` stands for.

    Raises PluginError when there is none or more than one of that name, when it can't be imported, when it
    was made for another plugin API version, when it lacks what its group needs, or when `accepts` objects.
    """
    plugins = [plugin for plugin in installed(group) if plugin.name == name]
    if not plugins:
        plugins = [plugin for plugin in installed(group, refresh=True) if plugin.name == name]
    if not plugins:
        raise PluginError(_unknown(group, name))
    problem = _rivals(plugins)
    if problem:
        raise PluginError(problem)
    return _load(plugins[0], accepts)


def load_hook(name: str, settings: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> object:
    """Return the hook plugin `name`, made with `settings`.

    A hook class that has `settings` (a `Section` schema) is called as `Filter(settings, environ=environ)`,
    any other with nothing. Raises PluginError as `load` does, and ConfigError for wrong settings.
    """
    kind = load(HOOKS, name)
    if getattr(kind, "settings", None) is not None:
        return kind(settings, environ=environ)
    if settings:
        raise ConfigError(f"hook '{name}': It takes no settings: take out {', '.join(sorted(settings))}.")
    return kind()


def check(plugin: Plugin, *, accepts: Accepts | None = None) -> str | None:
    """Return what is wrong with `plugin`, as a sentence with the fix, or None; imports it."""
    same = [other for other in installed(plugin.group) if other.name == plugin.name]
    problem = _rivals(same)
    if problem:
        return problem
    try:
        _load(plugin, accepts)
    except PluginError as error:
        return str(error)
    return None


def _load(plugin: Plugin, accepts: Accepts | None) -> Any:
    if plugin.fault:
        raise _error(plugin, plugin.fault, _reinstall(plugin))
    match = _REFERENCE.fullmatch(plugin.value)
    if match is None:
        raise _error(plugin, f"its entry point is {plugin.value!r}, not 'module:Class'", _ask_author(plugin))
    loaded = _attribute(plugin, _module(plugin, match["module"]), match["attribute"])
    if plugin.group in GROUPS:
        _check_class(plugin, loaded)
    problem = accepts(loaded) if accepts else None
    if problem:
        raise _error(plugin, problem, _ask_author(plugin))
    return loaded


def _module(plugin: Plugin, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise _error(plugin, f"its module '{missing}' is not there", _reinstall(plugin)) from error
        advice = f"Install it, or run: pip install --upgrade {plugin.distribution}"
        raise _error(plugin, f"it needs the module '{missing}', which is not installed", advice) from error
    except (Exception, SystemExit) as error:
        fault = f"importing '{name}' raised {type(error).__name__}: {error}"
        raise _error(plugin, fault, _upgrade(plugin)) from error


def _attribute(plugin: Plugin, module: ModuleType, path: str) -> Any:
    found: Any = module
    for name in path.split("."):
        if not hasattr(found, name):
            hint = did_you_mean(name, [word for word in dir(found) if not word.startswith("_")])
            raise _error(plugin, f"'{plugin.value}': there is no '{name}'.{hint}", _ask_author(plugin))
        found = getattr(found, name)
    return found


def _check_class(plugin: Plugin, loaded: object) -> None:
    if not isinstance(loaded, type):
        fault = f"'{plugin.value}' is a {type(loaded).__name__}, not a class"
        raise _error(plugin, fault, _ask_author(plugin))
    _check_api(plugin, loaded)
    _check_required(plugin, loaded)


def _check_api(plugin: Plugin, loaded: object) -> None:
    if plugin.group not in _VERSIONED:
        return
    api = getattr(loaded, "api", None)
    if not isinstance(api, int) or isinstance(api, bool):
        fault = f"'{plugin.value}' doesn't state its plugin API version, as in 'api = {PLUGIN_API}'"
        raise _error(plugin, fault, _ask_author(plugin))
    if api != PLUGIN_API:
        newer = "Run: pip install --upgrade turnout"
        fault = f"it was made for plugin API {api}, this turnout has {PLUGIN_API}"
        raise _error(plugin, fault, newer if api > PLUGIN_API else _upgrade(plugin))


def _check_required(plugin: Plugin, loaded: type) -> None:
    absent = [name for name in _REQUIRED.get(plugin.group, ()) if not getattr(loaded, name, None)]
    if absent:
        fault = f"'{plugin.value}' has no {' and no '.join(repr(name) for name in absent)}"
        raise _error(plugin, fault, _ask_author(plugin))
    problem = _CHECKS[plugin.group](loaded) if plugin.group in _CHECKS else None
    if problem:
        raise _error(plugin, f"'{plugin.value}' {problem}", _ask_author(plugin))


def _not_destination(loaded: type) -> str | None:
    from turnout.destination import Destination, declared_rules

    if not issubclass(loaded, Destination):
        return "is not a subclass of turnout.Destination"
    return None if declared_rules(loaded) else "has no method that is marked with @turnout.rule"


def _not_hook(loaded: type) -> str | None:
    from turnout.hooks import implemented

    return None if implemented(loaded) else "has no method that is marked with @turnout.hookimpl"


_CHECKS: dict[str, Callable[[type], str | None]] = {DESTINATIONS: _not_destination, HOOKS: _not_hook}


def _unknown(group: str, name: str) -> str:
    known = sorted({plugin.name for plugin in installed(group)})
    there = f"Installed are: {', '.join(known)}." if known else "None is installed."
    hint = did_you_mean(name, known) or " Install the package that provides it."
    return f"There is no {_kind(group)} '{name}'.{hint} {there}"


def _rivals(plugins: list[Plugin]) -> str | None:
    """Return what is wrong when several distributions offer a plugin of one name, and how to mend it."""
    if len(plugins) < 2:
        return None
    first = plugins[0]
    owners = " and ".join(f"{plugin.distribution} {plugin.version} ({plugin.value})" for plugin in plugins)
    spare = next((plugin for plugin in reversed(plugins) if plugin.distribution != "turnout"), first)
    advice = f"Uninstall one of them, as in: pip uninstall {spare.distribution}"
    return f"The {_kind(first.group)} '{first.name}' is offered more than once, by {owners}. {advice}"


def _kind(group: str) -> str:
    return f"{GROUPS[group]} plugin" if group in GROUPS else f"plugin of the group {group}"


def _error(plugin: Plugin, fault: str, advice: str) -> PluginError:
    end = "" if fault.endswith((".", "?", "!")) else "."
    return PluginError(f"The {plugin} can't be loaded: {fault}{end} {advice}")


def _reinstall(plugin: Plugin) -> str:
    return f"Run: pip install --force-reinstall {plugin.distribution}"


def _upgrade(plugin: Plugin) -> str:
    return f"Run: pip install --upgrade {plugin.distribution}, or tell its author."


def _ask_author(plugin: Plugin) -> str:
    return f"That is for the author of {plugin.distribution} to mend."


@functools.lru_cache(maxsize=64)
def _found(group: str, path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """Return what is installed on `path`; the argument makes the cache forget when sys.path changes."""
    # Reading metadata costs more to import than the rest of this module.
    from importlib import metadata

    plugins = {plugin for found in metadata.distributions() for plugin in _offered(found, group)}
    return tuple(sorted(plugins, key=lambda plugin: (plugin.name, plugin.distribution, plugin.version)))


def _offered(distribution: Distribution, group: str) -> list[Plugin]:
    """Return one distribution's plugins; when its list of them is broken, one plugin that has a `fault`."""
    text = _entry_points(distribution)
    if f"[{group}]" not in text:
        return []
    owner, version = _identity(distribution)
    if _is_shadowed(owner, version):
        return []
    try:
        points = distribution.entry_points.select(group=group)
        return [Plugin(point.name, point.value, owner, version, group) for point in points]
    except (TypeError, ValueError) as error:
        return [Plugin(owner, "", owner, version, group, f"its entry_points.txt can't be read ({error})")]


def _entry_points(distribution: Distribution) -> str:
    try:
        return distribution.read_text("entry_points.txt") or ""
    except (OSError, UnicodeDecodeError):
        return ""


def _identity(distribution: Distribution) -> tuple[str, str]:
    """Return name and version, or words that say that the metadata has none."""
    about = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    found = dict(re.findall(r"^(Name|Version): *(\S+)", about, re.MULTILINE))
    return found.get("Name", "a distribution without a name"), found.get("Version", "without a version")


def _is_shadowed(owner: str, version: str) -> bool:
    """Return whether another version of the same distribution comes first on sys.path."""
    from importlib import metadata

    try:
        return _identity(metadata.distribution(owner)) != (owner, version)
    except (ValueError, metadata.PackageNotFoundError):
        return False

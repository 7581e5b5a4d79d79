"""Settings profiles of cases: `profiles.json` gives names to settings, so that many cases share them.

{"us": {"api_key": "key-1"}, "eu": {"extends": "us", "endpoint": "EU"}}
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from turnout._casefiles import profiles_of
from turnout.errors import ConfigError, did_you_mean
from turnout.settings import Section
from turnout.strictjson import load_file

__all__ = ["Profiles", "profiled"]

_EXTENDS = "extends"


class Profiles:
    """The settings profiles that the case in a file can name; raises `ConfigError` when there is no file of them."""

    def __init__(self, case: Path) -> None:
        found = profiles_of(case)
        if not found:
            raise ConfigError(f"{case}: there is no profiles.json (or .yaml) in its folder, nor above it in 'cases'.")
        if len(found) > 1:
            names = " and ".join(one.name for one in found)
            raise ConfigError(f"{found[0].parent}: {names} are both there. Keep one of them.")
        self.case = case
        self.path = found[0]
        self.by_name = load_file(self.path, "profiles")

    def settings(self, name: str, schema: type[Section]) -> dict[str, Any]:
        """Return the settings of a profile, laid over those of the profiles that it extends.

        Raises `ConfigError` for a profile that isn't there, is no object, or extends itself.
        """
        layers: list[dict[str, Any]] = []
        chain: list[str] = []
        extends: Any = name
        while extends is not None:
            layer = dict(self._profile(extends, chain))
            chain.append(extends)
            extends = layer.pop(_EXTENDS, None)
            layers.append(layer)
        made: dict[str, Any] = {}
        for layer in reversed(layers):
            made = schema.overlay(made, layer)
        return made

    def _profile(self, name: object, chain: list[str]) -> dict[str, Any]:
        if not isinstance(name, str):
            raise ConfigError(f"{self.path}: '{_EXTENDS}' of the profile '{chain[-1]}' must be the name of a profile.")
        if name in chain:
            raise ConfigError(f"{self.path}: the profile '{name}' extends itself: {' -> '.join([*chain, name])}.")
        if name not in self.by_name:
            named = f"the profile '{chain[-1]}' extends" if chain else f"{self.case.name} names"
            hint = did_you_mean(name, self.by_name) or f" There are: {', '.join(self.by_name) or 'none'}."
            raise ConfigError(f"{self.path}: {named} the profile '{name}', which is not there.{hint}")
        profile = self.by_name[name]
        if not isinstance(profile, dict):
            raise ConfigError(f"{self.path}: the profile '{name}' must be an object of settings.")
        return profile


def profiled(
    path: Path, told: dict[str, Any], given: dict[str, Any], schema: Callable[[], type[Section]]
) -> dict[str, dict[str, Any]]:
    """Return the settings of a case with each profile that it names, by its name; empty when it names none.

    `given` are the settings of the case itself, which are laid over those of a profile. Raises `ConfigError`.
    """
    if "profile" not in told and "profiles" not in told:
        return {}
    names, profiles, kind = _names(path, told), Profiles(path), schema()
    return {name: kind.overlay(profiles.settings(name, kind), given) for name in names}


def _names(path: Path, told: dict[str, Any]) -> list[str]:
    if "profile" in told and "profiles" in told:
        raise ConfigError(f"{path}: a case has either 'profile' or 'profiles'.")
    if "profile" in told:
        if not isinstance(told["profile"], str):
            raise ConfigError(f"{path}: 'profile' must be the name of a settings profile.")
        return [told["profile"]]
    names = told["profiles"]
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise ConfigError(f"{path}: 'profiles' must be a list of strings.")
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"{path}: 'profiles' must name at least one settings profile, and none twice.")
    return names

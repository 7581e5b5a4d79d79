"""What the contract suite looks at: an installed destination, made with valid settings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from turnout.destination import Destination
from turnout.errors import PluginError
from turnout.plugins import DESTINATIONS, Plugin, installed, load
from turnout.testing._contract_words import NothingToSee

__all__ = ["Subject"]


class Subject:
    """An installed destination, with what the checks need of it, each made once."""

    def __init__(self, name: str, settings: Mapping[str, Any] | None, folder: Path | None) -> None:
        self.name = name
        self.given = settings
        self.folder = folder

    @cached_property
    def plugins(self) -> list[Plugin]:
        """The plugins of this name; one, when all is well."""
        return [plugin for plugin in installed(DESTINATIONS, refresh=True) if plugin.name == self.name]

    @property
    def told(self) -> str:
        """The destination as messages name it."""
        found = self.plugins
        return f"{found[0].value} of {found[0].distribution} {found[0].version}" if found else f"'{self.name}'"

    @cached_property
    def kind(self) -> type[Destination]:
        """The destination's class; raises `NothingToSee` when it can't be loaded."""
        try:
            loaded: type[Destination] = load(DESTINATIONS, self.name)
        except PluginError as error:
            raise NothingToSee(f"The destination can't be loaded: {error}") from None
        return loaded

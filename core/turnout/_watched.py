"""Settings that tell which of them were read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from turnout.settings import Config

__all__ = ["Watched"]


class Watched(Config):
    """The same settings as others; `read` gets the name of each that is read, also by way of the masked ones."""

    __slots__ = ("read",)

    read: set[str]

    def __init__(self, config: Config, read: set[str]) -> None:
        object.__setattr__(self, "read", read)
        super().__init__(vars(config), config.secret_names, config.given, config.warnings)

    def masked(self) -> Config:
        """Return the same settings with secrets masked, which tell as well."""
        return Watched(Config.masked(Config(_values(self), self.secret_names, self.given, self.warnings)), self.read)

    def __getattribute__(self, name: str) -> Any:
        values = _values(self)
        if name == "__dict__":
            object.__getattribute__(self, "read").update(values)
        elif name in values:
            object.__getattribute__(self, "read").add(name)
        return super().__getattribute__(name)

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return _values(self)[name]

    def __iter__(self) -> Iterator[str]:
        values = _values(self)
        self.read.update(values)
        return iter(values)


def _values(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = object.__getattribute__(config, "__dict__")
    return found

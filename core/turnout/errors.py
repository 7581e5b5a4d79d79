"""Every exception that turnout raises on purpose.

    TurnoutError
    ├── ConfigError            a setting, a configuration file or a command line is wrong: nothing was done
    │   ├── SettingsError      one destination's settings; names the destination and each setting
    │   └── PluginError        a plugin can't be found or loaded; names its distribution, version and the fix
    ├── FetchError             a vendor did not hand out what a source asked for
    ├── Refusal                this event can't be accepted, or its destination would refuse it
    └── Drop                   a rule or hook decided, on purpose, to send nothing for this event

A message says what is wrong, where, and what to do next. It never holds the value of a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from turnout.reasons import Code, Reason

__all__ = [
    "ConfigError",
    "Drop",
    "FetchError",
    "PluginError",
    "Refusal",
    "SettingsError",
    "TurnoutError",
    "did_you_mean",
]


class TurnoutError(Exception):
    """The base of every error that turnout raises on purpose."""


class ConfigError(TurnoutError):
    """A setting, a configuration file or a command line is wrong; the message names it and says what to do."""


class SettingsError(ConfigError):
    """The settings of one destination are wrong.

    `errors` maps each setting's name to its sentences, so that a form can show them at their fields.
    """

    def __init__(self, message: str, errors: dict[str, list[str]] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or {}


class PluginError(ConfigError):
    """A plugin can't be found, can't be loaded, or was made for another plugin API version."""


class FetchError(TurnoutError):
    """A vendor did not hand out what a source asked for: what was asked, what it answered, and what to do.

    `status` is that of its answer, 0 when there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class _Reasoned(TurnoutError):
    """An exception that carries a `Reason`."""

    def __init__(self, code: Code | str, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.reason = Reason(Code(code), message, path)

    def __reduce__(self) -> tuple[type[_Reasoned], tuple[Code, str, str | None]]:
        return type(self), (self.reason.code, self.reason.message, self.reason.path)


class Refusal(_Reasoned):
    """This event can't be accepted, or the vendor would refuse what it maps to (outcome `invalid`).

    `path` is the JSON Pointer of the value at fault, for example `/properties/products/0/price`. `source` is the
    event, where it is at hand: its JSON text, or the mapping that it came as.
    """

    source: bytes | Mapping[str, Any] | None = None


class Drop(_Reasoned):
    """Send nothing for this event, deliberately (outcome `dropped`)."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the nearest known word, or an empty string."""
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return f" Did you mean '{lowered[near[0]]}'?" if near else ""

"""Cases of sources: a payload with settings, whose events are kept as a snapshot.

    {"doc": "what it shows", "source": "flagsmith", "settings": {…}, "payload": {…}}

They lie in `cases/<source>/` beside those of destinations, and run with them: under pytest and by `turnout check`. A
payload that is a text is read as it came.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from turnout._casefiles import destination_of
from turnout._json import strict
from turnout._profiles import profiled
from turnout.cases import Case, Told
from turnout.errors import ConfigError, Refusal, did_you_mean
from turnout.source import Payload, Source, events_of, load_source
from turnout.strictjson import load_file

__all__ = ["SourceCase", "destination_cases", "load_case"]

_KEYS = ("doc", "source", "settings", "profile", "profiles", "payload")


class SourceCase(msgspec.Struct, frozen=True):
    """One case of a source: `payload` as the plugin `source` reads it with `settings`."""

    path: Path
    source: str
    settings: dict[str, Any]
    """The settings, laid over those of the profile if the case names one."""
    payload: Payload
    doc: str = ""
    profile: str = ""
    """The name of the settings profile, empty when there is none."""
    variants: tuple[SourceCase, ...] = ()
    """The same case with each of its `profiles`; empty for a case that has not several."""

    @classmethod
    def of(cls, path: Path, told: dict[str, Any]) -> SourceCase:
        """Return the case that a file with the object `told` is; raises `ConfigError`."""
        _check_keys(path, told)
        source, doc = told.get("source", destination_of(path)), told.get("doc", "")
        if not isinstance(source, str) or not isinstance(doc, str):
            raise ConfigError(f"{path}: 'source' and 'doc' must be strings.")
        settings = told.get("settings", {})
        if not isinstance(settings, dict):
            raise ConfigError(f"{path}: 'settings' must be an object.")
        case = cls(path, source, settings, told["payload"], doc)
        found = profiled(path, told, settings, lambda: load_source(source).settings)
        variants = tuple(msgspec.structs.replace(case, settings=mine, profile=name) for name, mine in found.items())
        return variants[0] if "profile" in told else msgspec.structs.replace(case, variants=variants)

    @property
    def events(self) -> list[Any]:
        """Return the parts of the payload, each of which stands for itself; none of one that is a text."""
        parts = self.payload if isinstance(self.payload, list) else [self.payload]
        return [part for part in parts if isinstance(part, dict | list)]

    def read(self) -> Told:
        """Return the events of the payload as `turnout read` writes them, and what is refused of it."""
        found = list(events_of(self._configured(), self.payload))
        refused = [one.reason for one in found if isinstance(one, Refusal)]
        return {
            "events": [strict(one) for one in found if not isinstance(one, Refusal)],
            "refused": [{"code": one.code.value, "message": one.message, "path": one.path} for one in refused],
        }

    def pinned(self) -> Told | dict[str, Told]:
        """Return what the snapshot of this case has to hold; raises `ConfigError` for wrong settings."""
        return {one.profile: one.read() for one in self.variants} if self.variants else self.read()

    def _configured(self) -> Source:
        try:
            return load_source(self.source)(self.settings, id=self.source, environ={})
        except ConfigError as error:
            if not self.profile:
                raise
            raise ConfigError(f"With the profile '{self.profile}': {error}") from None


def load_case(path: Path) -> Case | SourceCase:
    """Return the case in a file, of a destination or of a source; raises `ConfigError` that names file and key."""
    told = load_file(path, "case")
    return SourceCase.of(path, told) if "payload" in told or "source" in told else Case.of(path, told)


def destination_cases(paths: Iterable[Path]) -> list[Case]:
    """Return the cases in files, without those of sources; raises `ConfigError`."""
    loaded = map(load_case, paths)
    return [one for one in loaded if isinstance(one, Case)]


def _check_keys(path: Path, told: dict[str, Any]) -> None:
    for key in told:
        if key not in _KEYS:
            hint = did_you_mean(key, _KEYS)
            raise ConfigError(f"{path}: '{key}' is no key of a case of a source, which has a 'payload'.{hint}")
    if "payload" not in told:
        raise ConfigError(f"{path}: a case of a source has a 'payload'. A case of a destination has no 'source'.")

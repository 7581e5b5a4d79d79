"""Who may send to the gateway: sources by their write keys, compared in constant time."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from turnout.errors import ConfigError
from turnout.sections import HttpSourceSettings
from turnout.settings import Config

if TYPE_CHECKING:
    from turnout.source import Source

__all__ = ["HttpSource", "WriteKeys", "pulling"]


class HttpSource(msgspec.Struct, frozen=True):
    """A source that sends to the gateway: its id in the configuration, and its settings."""

    id: str
    settings: Config

    def admits(self, token: str | None) -> bool:
        """Return whether a request with this bearer token (None: without one) may send."""
        wanted: str = self.settings.bearer_token
        return not wanted or (token is not None and hmac.compare_digest(token.encode(), wanted.encode()))


class WriteKeys:
    """Finds the source of a write key; how long that takes says nothing about the keys there are.

    `sources` are the settings of each by its id. Raises `ConfigError` when two have the same key.
    """

    def __init__(self, sources: Mapping[str, Config]) -> None:
        self._salt = secrets.token_bytes(32)
        self._sources: dict[bytes, HttpSource] = {}
        for name, settings in sources.items():
            digest = self._digest(settings.write_key)
            if digest in self._sources:
                other = self._sources[digest].id
                raise ConfigError(
                    f"The sources '{other}' and '{name}' have the same write_key. Give one a key of its own."
                )
            self._sources[digest] = HttpSource(name, settings)

    def source(self, key: str) -> HttpSource | None:
        """Return the source of a write key, None for one that is not known."""
        # What is looked up and compared is a digest under a secret of this process: nobody can steer how it begins.
        digest = self._digest(key)
        found = self._sources.get(digest)
        return found if found and hmac.compare_digest(self._digest(found.settings.write_key), digest) else None

    def _digest(self, key: str) -> bytes:
        return hmac.digest(self._salt, key.encode("utf-8", "surrogatepass"), "sha256")

    def __len__(self) -> int:
        return len(self._sources)


def pulling(sources: Mapping[str, Source]) -> dict[str, Config]:
    """Return the settings under which the gateway takes what sources with a `write_key` have pulled, by their ids.

    Such a call comes from no visitor, and its key is in no web page: it gets no address, and may delete users.
    """
    return {
        name: HttpSourceSettings.configure(
            {"write_key": source.config.write_key, "client_ip": False, "allow_delete": True},
            owner=f"source '{name}'",
            environ={},
        )
        for name, source in sources.items()
        if source.config.write_key
    }

"""Webhooks of vendors: payloads for the sources of the configuration that have a `hook_secret`.

A vendor posts to `/v1/hooks/<id of the source>/<secret>`, or without the last part and with the secret in the header
`x-turnout-secret`.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from turnout._json import encode
from turnout.accepting import stored
from turnout.dedupe import key_of
from turnout.errors import Refusal
from turnout.intake import Kept, Refused
from turnout.normalise import Normaliser
from turnout.reasons import Code, Reason
from turnout.source import Source, events_of

if TYPE_CHECKING:
    from turnout.config import Configuration

__all__ = ["HOOKS", "Webhooks", "configured_sources", "kept_of"]

HOOKS = "/v1/hooks/"
"""What the paths of webhooks begin with."""
_HEADER = b"x-turnout-secret"


class Webhooks:
    """Finds the source that a webhook is for; whether it is unknown or its secret wrong looks the same."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = {name: one for name, one in sources.items() if one.config.hook_secret}

    def __len__(self) -> int:
        return len(self._sources)

    def source(self, path: str, headers: Mapping[bytes, bytes]) -> Source | None:
        """Return the source that a path names, None when there is none or the secret is not its own."""
        name, _, in_path = path.removeprefix(HOOKS).rstrip("/").partition("/")
        given = in_path.encode("utf-8", "surrogatepass") or headers.get(_HEADER, b"")
        found = self._sources.get(name)
        wanted = found.config.hook_secret.encode() if found else b"-"
        right = hmac.compare_digest(given, wanted)
        return found if right and found else None


def configured_sources(configuration: Configuration, environ: Mapping[str, str] | None = None) -> dict[str, Source]:
    """Return the sources of a configuration that read payloads, configured; raises `ConfigError`."""
    from turnout.config import HTTP
    from turnout.source import configured_source

    named = [name for name, origin in configuration.sources.items() if origin.plugin != HTTP]
    return {name: configured_source(name, configuration, environ=environ) for name in named}


def kept_of(source: Source, payload: bytes, normaliser: Normaliser, arrival: datetime) -> tuple[Kept, Reason | None]:
    """Return what a payload leaves in the log and what is refused of it, by its place in the source's order.

    The second is why the payload is not taken: nothing of it could be read, or the plugin failed at it.
    """
    kept = Kept()
    for index, found in enumerate(events_of(source, payload)):
        try:
            if isinstance(found, Refusal):
                raise found
            event = normaliser.event(encode(found), arrival)
        except Refusal as refusal:
            kept.refused.append(Refused(index, refusal.reason))
        else:
            kept.texts.append(stored(event))
            kept.keys.append(key_of(source.id, event.message_id))
    return kept, _lost(kept)


def _lost(kept: Kept) -> Reason | None:
    if not kept.refused:
        return None
    last = kept.refused[-1].reason
    unread = not kept.texts and len(kept.refused) == 1 and not last.path
    return last if unread or last.code is Code.PLUGIN_RAISED else None

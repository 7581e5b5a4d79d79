"""What an author of a source writes: a `Source` that turns a foreign payload into events.

    class Flags(Source):
        name = "Flags"
        settings = FlagsSettings

        def read(self, payload):
            for user in decoded(payload)["users"]:
                yield {"type": "identify", "userId": user["id"], "traits": user["flags"]}

Reading is pure: no clock, no network, the same events for the same payload. A source that fetches its payloads itself
has `pull`, whose requests go through the `Fetcher` that it is given.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from turnout._json import article, read, strict
from turnout.errors import Refusal
from turnout.plugins import SOURCES, load
from turnout.reasons import Code
from turnout.settings import Config, Section, text

if TYPE_CHECKING:
    from turnout.sending import Fetcher

__all__ = [
    "Checkpoint",
    "Found",
    "Payload",
    "Source",
    "SourceSettings",
    "decoded",
    "load_source",
    "unpacked",
    "wanted",
]

Payload = bytes | str | Mapping[str, Any] | list[Any]
"""What a source reads: a text as it came (also gzip), or what it says when it is decoded."""

_MOST = 64_000_000
"""Bytes of a payload, unpacked."""


class Checkpoint(msgspec.Struct, frozen=True):
    """Stands in what `pull` yields behind events: when all of them are kept, `state` is what the next pull gets."""

    state: dict[str, Any]


Found = Mapping[str, Any] | Refusal
"""What a source makes of a part of its payload: an event as a mapping of the common spec, or why there is none."""


class SourceSettings(Section):
    """The base of a source's settings."""

    hook_secret = text(
        "What the path or the header x-turnout-secret of a webhook has to hold; without it, the gateway takes none.",
        secret=True,
    )


class Source:
    """A plugin that makes events of a foreign payload.

    Class attributes: `name` is for people; `api` the version of the plugin API that it was written for; `settings` a
    `SourceSettings` schema; `options` the schema of what one `pull` may be told (each is an option of `turnout pull`).

    Constructing one configures it: `Flagsmith({"environment_key": "…"})`. Raises `SettingsError`.
    """

    name: ClassVar[str] = ""
    api: ClassVar[int] = 1
    settings: ClassVar[type[SourceSettings]] = SourceSettings
    options: ClassVar[type[Section]] = Section

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the word of the configuration file
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.id = id or type(self).__name__.lower()
        self.config: Config = self.settings.configure(settings or {}, owner=f"source '{self.id}'", environ=environ)
        self.configured()

    def configured(self) -> None:
        """Do once, after the settings are known, what would otherwise cost time for every payload."""

    def read(self, payload: Payload) -> Iterable[Found]:
        """Yield the events of a payload, and a `Refusal` with its place for each part that can't be read.

        Raises `Refusal` for a payload that can't be read at all.
        """
        raise NotImplementedError

    def pull(self, fetch: Fetcher, options: Config, state: Mapping[str, Any]) -> AsyncIterator[Found | Checkpoint]:
        """Yield the events that are there to be fetched, with a `Checkpoint` wherever the next pull may go on.

        `state` is that of the last checkpoint whose events were kept, empty at first. Raises `FetchError`.
        """
        raise NotImplementedError

    @classmethod
    def pulls(cls) -> bool:
        """Return whether this source fetches by itself."""
        return cls.pull is not Source.pull

    def __repr__(self) -> str:
        return f"<{type(self).__name__} source '{self.id}'>"


def unpacked(payload: bytes, most: int = _MOST) -> bytes:
    """Return a text without the gzip around it, if there is one; raises `Refusal` when it is damaged or too large."""
    if not payload.startswith(b"\x1f\x8b"):
        return payload
    unpacker = zlib.decompressobj(wbits=31)
    try:
        found = unpacker.decompress(payload, most + 1)
    except zlib.error as error:
        raise Refusal(Code.BAD_REQUEST, f"The payload can't be unpacked as gzip: {error}.") from None
    if len(found) > most:
        raise Refusal(Code.BODY_TOO_LARGE, f"The payload has more than {most:,} bytes, unpacked.")
    if not unpacker.eof:
        raise Refusal(Code.BAD_REQUEST, "The payload can't be unpacked as gzip: it is cut off.")
    return found


def decoded(payload: Payload) -> Any:
    """Return what a payload says as plain JSON values; raises `Refusal` (not JSON, not UTF-8, a number too large)."""
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "surrogatepass")
    if isinstance(payload, bytes):
        return read(unpacked(payload))
    return strict(payload)


def wanted(value: object, kind: type, path: str, what: str) -> Any:
    """Return a value of the type that it must have; raises `Refusal` that names its place."""
    if isinstance(value, kind):
        return value
    word = "an object" if kind is dict else "a list" if kind is list else "a text" if kind is str else kind.__name__
    raise Refusal(Code.FIELD_INVALID, f"{what} must be {word}, but is {article(value)}.", path)


def load_source(name: str) -> type[Source]:
    """Return the source class that is installed under this name; raises `PluginError`."""
    found: type[Source] = load(SOURCES, name, accepts=_fault)
    return found


def _fault(loaded: Any) -> str | None:
    return None if issubclass(loaded, Source) else "it is no subclass of turnout.Source"

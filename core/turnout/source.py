"""What an author of a source writes: a `Source` that turns a foreign payload into events.

    class Flags(Source):
        name = "Flags"
        settings = FlagsSettings

        def read(self, payload):
            for user in decoded(payload)["users"]:
                yield {"type": "identify", "userId": user["id"], "traits": user["flags"]}

Reading is pure: no clock, no network, the same events for the same payload. A source that fetches its payloads itself
has `pull`, whose requests go through the `Fetcher` that it is given (see `pulling.py` for who calls it).

Whoever has a payload calls `events_of(source, payload)`: the events with the id of their source, whatever the payload
is and whatever the plugin does.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from turnout._json import article, read, strict
from turnout.errors import ConfigError, Refusal, did_you_mean
from turnout.plugins import SOURCES, load
from turnout.reasons import Code
from turnout.settings import Config, Section, redact, text

if TYPE_CHECKING:
    from turnout.config import Configuration
    from turnout.sending import Fetcher

__all__ = [
    "Checkpoint",
    "Found",
    "Payload",
    "Source",
    "SourceSettings",
    "check_source",
    "configured_source",
    "decoded",
    "events_of",
    "load_source",
    "stamped",
    "unpacked",
    "wanted",
]

_logger = logging.getLogger("turnout")

Payload = bytes | str | Mapping[str, Any] | list[Any]
"""What a source reads: a text as it came (also gzip), or what it says when it is decoded."""

_MOST = 64_000_000
"""Bytes of a payload, unpacked."""


class Checkpoint(msgspec.Struct, frozen=True):
    """Stands in what `pull` yields behind events: when all of them are kept, `state` is what the next pull gets.

    `done` of `total` is how far the pull is, in a unit of its own, where it knows; it moves the progress bar.
    """

    state: dict[str, Any]
    done: float | None = None
    total: float | None = None


Found = Mapping[str, Any] | Refusal
"""What a source makes of a part of its payload: an event as a mapping of the common spec, or why there is none."""


class SourceSettings(Section):
    """The base of a source's settings."""

    hook_secret = text(
        "What the path or the header x-turnout-secret of a webhook has to hold; without it, the gateway takes none.",
        secret=True,
    )
    write_key = text(
        "The write key by which a running gateway takes what `turnout pull --gateway` gives it.", secret=True
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
    found, rest = b"", payload
    while rest:  # gzip files may stand one behind another
        unpacker = zlib.decompressobj(wbits=31)
        try:
            found += unpacker.decompress(rest, most + 1 - len(found))
        except zlib.error as error:
            raise Refusal(Code.BAD_REQUEST, f"The payload can't be unpacked as gzip: {error}.") from None
        if len(found) > most:
            raise Refusal(Code.BODY_TOO_LARGE, f"The payload has more than {most:,} bytes, unpacked.")
        if not unpacker.eof:
            raise Refusal(Code.BAD_REQUEST, "The payload can't be unpacked as gzip: it is cut off.")
        rest = unpacker.unused_data
    return found


def decoded(payload: Payload) -> Any:
    """Return what a payload says as plain JSON values; raises `Refusal` (not JSON, not UTF-8, a number too large)."""
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "surrogatepass")
    if isinstance(payload, bytes):
        return read(unpacked(payload))
    return strict(payload)


_WORDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a whole number"}


def wanted(value: object, kind: type, path: str, what: str) -> Any:
    """Return a value of the type that it must have; raises `Refusal` that names its place."""
    if isinstance(value, kind):
        return value
    word = _WORDS.get(kind, kind.__name__)
    raise Refusal(Code.FIELD_INVALID, f"{what} must be {word}, but is {article(value)}.", path)


def events_of(source: Source, payload: Payload) -> Iterator[Found]:
    """Yield the events of a payload, each as a new mapping with the source's id as `projectId`, and the refusals.

    It raises nothing for a bad payload: one that can't be read at all, or at which the plugin fails, is one refusal.
    """
    try:
        for found in source.read(payload):
            yield found if isinstance(found, Refusal) else stamped(source, found)
    except Refusal as refusal:
        yield refusal
    except Exception as error:
        _logger.debug("The traceback:", exc_info=True)
        message = f"The source '{source.id}' raised {type(error).__name__} at this payload: {error}"
        yield Refusal(Code.PLUGIN_RAISED, redact(message, source.config.secret_values))


def stamped(source: Source, event: object) -> Found:
    """Return an event with the id of its source, by which it is routed and deduplicated; a refusal if it is none."""
    if not isinstance(event, Mapping):
        message = f"The source '{source.id}' gave {type(event).__name__} where an event has to be: a mapping."
        return Refusal(Code.PLUGIN_BAD_RESULT, message)
    try:
        plain: dict[str, Any] = strict(event)
    except Refusal as refusal:
        return refusal
    plain.pop("writeKey", None)
    return {**plain, "projectId": source.id}


def configured_source(
    name: str,
    configuration: Configuration | None = None,
    settings: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Source:
    """Return the source of that id in a configuration; without one, the plugin of that name.

    `settings` are laid over those of the configuration. Raises `ConfigError` when there is none, or it sends calls.
    """
    if configuration is None:
        return load_source(name)(settings, id=name, environ=environ)
    if name not in configuration.sources:
        known = ", ".join(configuration.sources) or "none"
        hint = did_you_mean(name, configuration.sources)
        raise ConfigError(f"{configuration.path}: there is no source '{name}'.{hint} There are: {known}.")
    origin = configuration.sources[name]
    if origin.plugin == "http":
        fault = "sends calls to the gateway and has no payloads to read. Name a 'plugin' in its table"
        raise ConfigError(f"{configuration.path}: the source '{name}' {fault}.")
    kind = load_source(origin.plugin)
    return kind(kind.settings.overlay(origin.settings, settings or {}), id=name, environ=environ)


def load_source(name: str) -> type[Source]:
    """Return the source class that is installed under this name; raises `PluginError`."""
    found: type[Source] = load(SOURCES, name, accepts=check_source)
    return found


def check_source(loaded: Any) -> str | None:
    """Say what is wrong with a loaded source plugin, None when nothing is."""
    return None if issubclass(loaded, Source) else "it is no subclass of turnout.Source"

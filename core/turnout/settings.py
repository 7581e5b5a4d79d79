"""Settings of destinations, sources and hooks: one schema gives validation, docs, forms and redaction.

class AcmeSettings(Settings):
    api_key = text("The project's API key.", required=True, secret=True)
    region = choice("Where the project lives.", ["US", "EU"], default="US")
    track_named_pages = flag("Send an event for every page that has a name.")

config = AcmeSettings.configure({"apiKey": "${ACME_KEY}", "track_named_pages": True})
config.region        # 'US'
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NoReturn

import marshmallow
import msgspec
from marshmallow import fields

from turnout._configure import blame, check_schema, checked, key_of, names_by_key, texts
from turnout._fields import (
    Options,
    Setting,
    choice,
    flag,
    integer,
    is_set,
    mapping,
    names,
    number,
    text,
    url,
)
from turnout._redact import MASK, redact
from turnout.errors import TurnoutError, did_you_mean

__all__ = [
    "Config",
    "Options",
    "Section",
    "SettingDoc",
    "Settings",
    "choice",
    "describe",
    "flag",
    "integer",
    "mapping",
    "names",
    "number",
    "redact",
    "text",
    "url",
]


class Config(Mapping[str, Any]):
    """Checked settings: `config.region` or `config["region"]`; frozen, picklable, and masked when shown.

    A pickle holds the secrets (a worker needs them); `repr`, `str` and so a log line never do.
    """

    # The instance's __dict__ holds the values and nothing else: reading one costs what any attribute costs.
    __slots__ = ("__dict__", "given", "secret_names", "warnings")

    given: frozenset[str]
    """The names of the settings that were given a value, rather than left at their default."""
    secret_names: frozenset[str]
    """The names of the settings that must never be shown."""
    warnings: tuple[str, ...]
    """What is allowed but probably not meant, as sentences from the schema."""

    def __init__(
        self,
        values: Mapping[str, Any],
        secret_names: Iterable[str] = (),
        given: Iterable[str] = (),
        warnings: Iterable[str] = (),
    ) -> None:
        self.__dict__.update(values)
        object.__setattr__(self, "secret_names", frozenset(secret_names))
        object.__setattr__(self, "given", frozenset(given))
        object.__setattr__(self, "warnings", tuple(warnings))

    @property
    def secret_values(self) -> frozenset[str]:
        """Every secret text that is set, for `redact`."""
        return frozenset(texts(self.__dict__[name] for name in self.secret_names))

    def masked(self) -> Config:
        """Return the same settings with `***` in place of every secret that is set."""
        hidden = {name: MASK for name in self.secret_names if is_set(self.__dict__[name])}
        return Config(self.__dict__ | hidden, self.secret_names, self.given, self.warnings)

    def __getitem__(self, name: str) -> Any:
        return self.__dict__[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __len__(self) -> int:
        return len(self.__dict__)

    def __getattr__(self, name: str) -> Any:
        hint = "" if name.startswith("_") else did_you_mean(name, self.__dict__)
        raise AttributeError(f"There is no setting '{name}'.{hint}")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Settings can't be changed: '{name}' keeps its value.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Settings can't be changed: '{name}' keeps its value.")

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={value!r}' for name, value in vars(self.masked()).items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Config, (self.__dict__, self.secret_names, self.given, self.warnings)


class Section(marshmallow.Schema):
    """The base of a settings schema that has no endpoint: hooks, and the sections of `turnout.toml`.

    Plain marshmallow fields, `@validates` and `@validates_schema` work as usual. A message that starts with
    a small letter goes on from the setting's name: `needs a region` is shown as `Setting 'x' needs a region.`
    """

    @classmethod
    def configure(
        cls,
        values: Mapping[str, Any],
        *,
        owner: str = "settings",
        environ: Mapping[str, str] | None = None,
    ) -> Config:
        """Return `values` checked and completed with defaults.

        Keys may be names (`api_key`) or Segment's (`apiKey`); null means absent; `${NAME}` as the whole value
        of a text is read from `environ` (the process's own when None).

        Raises SettingsError with one sentence for each problem, `owner` in front ("destination 'acme'"), and
        PluginError when the schema itself is at fault.
        """
        schema = _made(cls)
        check_schema(schema, _RESERVED, owner)
        config = Config(*checked(schema, values, owner, os.environ if environ is None else environ))
        return schema._warned(config, owner)

    @classmethod
    def overlay(cls, below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
        """Return `below` with the values of `above` laid over it, under whichever of its keys each is given.

        Nothing is checked; a null in `above` is absent, and so leaves what is below.
        """
        known = names_by_key(_made(cls))
        over = {key: value for key, value in above.items() if value is not None}
        hidden = {known.get(key, key) for key in over}
        return {key: value for key, value in below.items() if known.get(key, key) not in hidden} | over

    def warnings(self, config: Config) -> Iterable[str]:
        """Yield a sentence for each thing in `config` that is allowed but probably not meant."""
        return ()

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Word the message for a required setting that is missing."""
        example = field_name.upper()
        advice = (
            f'give it, for example as "${{{{{example}}}}}" from the environment'
            if field_obj.metadata.get("secret")
            else "give it a value"
        )
        field_obj.error_messages["required"] = f"is required: {advice}."

    def _warned(self, config: Config, owner: str) -> Config:
        try:
            warnings = tuple(self.warnings(config))
        except TurnoutError:
            raise
        except Exception as error:
            fault = f"warnings() raised {type(error).__name__}: {error}"
            blame(self, owner, redact(fault, config.secret_values))
        shown = [redact(str(line), config.secret_values) for line in warnings]
        return Config(config, config.secret_names, config.given, shown)


@lru_cache(maxsize=256)
def _made(kind: type[Section]) -> Section:
    """Return the schema, which takes longer to make than most settings to be checked; nothing changes it."""
    return kind()


_RESERVED = frozenset(dir(Config))


class Settings(Section):
    """The base of every destination's and source's settings schema."""

    base_url = url(
        "Replaces the scheme and host of every endpoint (http(s)://host[:port][/prefix]), for simulators and proxies.",
        routing=True,
    )
    max_requests_per_second = number(
        "At most so many requests a second go to the destination, when they come from a log; 0: no limit.",
        default=0.0,
        minimum=0.0,
        routing=True,
    )
    max_events_per_second = number(
        "At most so many items a second go to the destination, when they come from a log; 0: no limit.",
        default=0.0,
        minimum=0.0,
        routing=True,
    )


class SettingDoc(msgspec.Struct, frozen=True):
    """What documentation and a form need to know of one setting."""

    name: str
    """Its name, as in `api_key`."""
    key: str
    """Segment's key for it, as in `apiKey`."""
    type: str
    """What it takes, in words."""
    default: Any
    """Its value when none is given; null for a required one."""
    choices: tuple[str, ...]
    """The words that it takes; empty when it takes any."""
    secret: bool
    """Whether it is masked wherever it would show."""
    required: bool
    """Whether it must be given."""
    doc: str
    """What it does."""
    platforms: str
    """The platforms that it has an effect on, in the destination's own words; empty when it says nothing of them."""
    rules: tuple[str, ...]
    """The ids of a rule book that ask for it."""
    requires: str
    """The setting that must be set when this one is; empty when there is none."""


def describe(schema: type[marshmallow.Schema]) -> list[SettingDoc]:
    """Return one entry for each setting, in the order of the class, core's own settings last."""
    described = [_setting_doc(name, field) for name, field in schema().load_fields.items()]
    core = Settings._declared_fields
    return sorted(described, key=lambda entry: entry.name in core)


def _setting_doc(name: str, field: fields.Field[Any]) -> SettingDoc:
    about = field.metadata
    return SettingDoc(
        name=name,
        key=key_of(name, field),
        type=_type(field),
        default=_default(field),
        choices=tuple(getattr(field, "choices", ())),
        secret=bool(about.get("secret")),
        required=field.required,
        doc=about.get("doc") or about.get("description", ""),
        platforms=about.get("platforms", ""),
        rules=tuple(about.get("rules", ())),
        requires=about.get("requires", ""),
    )


def _type(field: fields.Field[Any]) -> str:
    if isinstance(field, Setting):
        return field.expected
    return type(field).__name__.lower()


def _default(field: fields.Field[Any]) -> Any:
    default = field.load_default
    if callable(default):
        return default()
    return None if default is marshmallow.missing else default

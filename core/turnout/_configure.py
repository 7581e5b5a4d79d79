"""How a settings schema checks values: keys, environment variables, fields, dependent settings, messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

import marshmallow
from marshmallow import ValidationError, fields

from turnout._fields import FromEnvironment, Setting, is_set, shown
from turnout._redact import redact
from turnout.errors import PluginError, SettingsError, did_you_mean

__all__ = ["Checked", "blame", "check_schema", "checked", "key_of", "names_by_key", "secrets_of", "texts"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
Checked = tuple[dict[str, Any], frozenset[str], frozenset[str]]
"""Values by name, the names of secrets, and the names that were given."""


class _Problems:
    """The sentences found so far, by setting."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.errors: dict[str, list[str]] = {}

    def add(self, name: str, sentence: str) -> None:
        self.errors.setdefault(name, []).append(sentence)

    def extend(self, name: str, messages: Any, path: str = "") -> None:
        """Add marshmallow's messages for one setting, which may be nested."""
        if isinstance(messages, Mapping):
            for key, inner in messages.items():
                self.extend(name, inner, f"{path}/{key}")
        elif isinstance(messages, list):
            for message in messages:
                self.extend(name, message, path)
        else:
            self.add(name, _sentence(name, f"{path}: {messages}" if path else str(messages)))

    def finish(self, secrets: Iterable[str]) -> None:
        if not self.errors:
            return
        hide = tuple(secrets)
        errors = {name: [redact(line, hide) for line in lines] for name, lines in self.errors.items()}
        sentences = [line for lines in errors.values() for line in lines]
        raise SettingsError(f"{self.owner}: {' '.join(sentences)}", errors)


def checked(schema: marshmallow.Schema, values: object, owner: str, environ: Mapping[str, str]) -> Checked:
    """Return what `values` come to under `schema`; raises SettingsError with every problem in it."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"{owner}: the settings must be an object, not {shown(values)}.")
    problems = _Problems(owner)
    given = _given(schema, values, problems)
    data = _expanded(schema, given, environ, problems)
    loaded = _load(schema, data, problems)
    if not problems.errors:
        _check_requires(schema, loaded, given, problems)
    secret_names = secrets_of(schema)
    problems.finish(texts(data[name] for name in secret_names & data.keys()))
    return dict.fromkeys(schema.load_fields) | loaded, secret_names, frozenset(given)


def check_schema(schema: marshmallow.Schema, reserved: Iterable[str], owner: str) -> None:
    """Raise PluginError for a setting that nobody could read, or that refers to one that isn't there."""
    owners: dict[str, str] = {}
    for name, field in schema.load_fields.items():
        needed = field.metadata.get("requires")
        if name in reserved:
            blame(schema, owner, f"no setting can be called '{name}'")
        if needed and needed not in schema.load_fields:
            hint = did_you_mean(needed, schema.load_fields)
            blame(schema, owner, f"'{name}' requires '{needed}', which is no setting.{hint}")
        for key in {name, key_of(name, field)}:
            if owners.setdefault(key, name) != name:
                blame(schema, owner, f"'{owners[key]}' and '{name}' share the key '{key}'")


def blame(schema: marshmallow.Schema, owner: str, fault: str) -> NoReturn:
    """Raise PluginError that says what is wrong with a schema itself."""
    end = "" if fault.endswith((".", "?")) else "."
    message = f"{owner}: its settings class {type(schema).__qualname__} is at fault, tell its author: "
    raise PluginError(message + fault + end)


def secrets_of(schema: marshmallow.Schema) -> frozenset[str]:
    """Return the names of the secret settings."""
    return frozenset(name for name, field in schema.load_fields.items() if field.metadata.get("secret"))


def key_of(name: str, field: fields.Field[Any]) -> str:
    """Return Segment's key for a setting: the one that the field states, else the name in camelCase."""
    first, *rest = name.split("_")
    camel = first + "".join(part.capitalize() for part in rest)
    return str(field.metadata.get("key") or field.data_key or camel)


def names_by_key(schema: marshmallow.Schema) -> dict[str, str]:
    """Return the name of the setting for every key under which one may be given."""
    names = {key_of(name, field): name for name, field in schema.load_fields.items()}
    return names | {name: name for name in schema.load_fields}


def texts(values: Iterable[Any]) -> Iterator[str]:
    """Yield every non-empty text in `values`, those in lists and objects included."""
    for value in values:
        if isinstance(value, str) and value:
            yield str(value)
        elif isinstance(value, Mapping):
            yield from texts(value.values())
        elif isinstance(value, list | tuple):
            yield from texts(value)


def _sentence(name: str, message: str) -> str:
    message = message if message.endswith((".", "?", "!")) else message + "."
    if name == "_schema":
        return message
    return f"Setting '{name}'{' ' if message[:1].islower() else ': '}{message}"


def _given(schema: marshmallow.Schema, values: Mapping[str, Any], problems: _Problems) -> dict[str, Any]:
    """Return the values that are not null, by setting name."""
    known = names_by_key(schema)
    given: dict[str, Any] = {}
    for key, value in values.items():
        name = known.get(key) if isinstance(key, str) else None
        if name is None:
            problems.add(key if isinstance(key, str) else shown(key), _unknown(key, schema, known))
        elif value is not None and name in given:
            both = f"'{name}' and '{key_of(name, schema.load_fields[name])}'"
            problems.add(name, f"Setting '{name}' is given twice, as {both}: keep one.")
        elif value is not None:
            given[name] = value
    return given


def _unknown(key: object, schema: marshmallow.Schema, known: Mapping[str, str]) -> str:
    hint = did_you_mean(key, known) if isinstance(key, str) else ""
    return f"{shown(key)} is not a setting." + (hint or f" There are: {', '.join(schema.load_fields)}.")


def _expanded(
    schema: marshmallow.Schema, given: Mapping[str, Any], environ: Mapping[str, str], problems: _Problems
) -> dict[str, Any]:
    """Return the values with `${NAME}` read from the environment; one that can't be read is left out."""
    data: dict[str, Any] = {}
    for name, value in given.items():
        variable = _variable(schema.load_fields[name], value)
        if variable is None:
            data[name] = value
        elif variable in environ:
            data[name] = FromEnvironment(environ[variable], variable)
        else:
            fault = f"reads the environment variable {variable}, which is not set: set it."
            problems.add(name, f"Setting '{name}' {fault}")
    return data


def _variable(field: fields.Field[Any], value: object) -> str | None:
    takes_text = isinstance(field, fields.String) or (isinstance(field, Setting) and field.takes_text)
    match = _VARIABLE.fullmatch(value) if takes_text and isinstance(value, str) else None
    return match[1] if match else None


def _load(schema: marshmallow.Schema, data: dict[str, Any], problems: _Problems) -> dict[str, Any]:
    """Return the settings as marshmallow loads them; every error that it finds goes to `problems`."""
    keys = {name: field.data_key or name for name, field in schema.load_fields.items()}
    broken = sorted(problems.errors)
    try:
        loaded = schema.load({keys[name]: value for name, value in data.items()}, partial=broken or None)
    except ValidationError as error:
        _collect(schema, error, broken, problems)
        return {}
    except Exception as error:
        # With a value left out above, a schema's own check may stumble over that alone.
        if not broken:
            fault = redact(f"it raised {type(error).__name__}: {error}", texts(data.values()))
            blame(schema, problems.owner, fault)
        return {}
    return dict(loaded)


def _collect(schema: marshmallow.Schema, error: ValidationError, broken: list[str], problems: _Problems) -> None:
    by_key = {field.data_key or name: name for name, field in schema.load_fields.items()}
    for key, messages in error.messages_dict.items():
        name = by_key.get(key, key)
        if not broken or name not in (*broken, "_schema"):
            problems.extend(name, messages)


def _check_requires(
    schema: marshmallow.Schema, loaded: Mapping[str, Any], given: Mapping[str, Any], problems: _Problems
) -> None:
    for name in given:
        needed = schema.load_fields[name].metadata.get("requires")
        if needed and is_set(loaded.get(name)) and not is_set(loaded.get(needed)):
            problems.add(name, f"Setting '{name}' needs setting '{needed}' as well: set it, or leave both out.")

"""The fields of a settings schema: strict types, one sentence per problem, no secret in a message.

Everything public here is imported from `turnout.settings`.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, TypeVar, Unpack
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields, missing

from turnout.errors import did_you_mean

__all__ = [
    "FromEnvironment",
    "Options",
    "Setting",
    "choice",
    "flag",
    "integer",
    "is_set",
    "mapping",
    "names",
    "number",
    "shown",
    "text",
    "url",
]

T = TypeVar("T")
_ADDRESS = re.compile(r"https?://[!-~]+", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{[^{}]*\}")


class Options(TypedDict, total=False):
    """What every field function takes by keyword."""

    required: bool
    """Missing, null or empty is an error."""
    secret: bool
    """Never shown: not in messages, plans, logs or `repr`."""
    key: str
    """Segment's key for the setting; without it the name in camelCase."""
    requires: str
    """The name of another setting that must be set when this one is."""
    routing: bool
    """The setting says where requests go and under which account, and no rule reads it."""
    platforms: str
    """For the documentation: the platforms that the setting has an effect on."""
    rules: tuple[str, ...]
    """For the documentation: the ids of the rules that read the setting."""


class FromEnvironment(str):
    """A text that came from an environment variable: messages name the variable and never show the text."""

    __slots__ = ("variable",)
    variable: str

    def __new__(cls, value: str, variable: str) -> FromEnvironment:
        self = super().__new__(cls, value)
        self.variable = variable
        return self


class Setting(fields.Field[T]):
    """A marshmallow field that knows its documentation and says what it expects (`expected`)."""

    expected = "a value"
    takes_text = False

    def __init__(self, doc: str, default: T, options: Options) -> None:
        required = options.get("required", False)
        super().__init__(
            load_default=missing if required else lambda: copy.deepcopy(default),
            required=required,
            allow_none=False,
            metadata={"doc": doc, **options},
        )

    def wrong(self, value: object, detail: str = "") -> ValidationError:
        """Return the error for `value`: what was expected, and what was given unless that is secret."""
        given = _kind(value) if self.metadata.get("secret") else shown(value)
        return ValidationError(f"must be {self.expected}, not {given}{detail}.")


class _Text(Setting[str]):
    expected = "text"
    takes_text = True

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise self.wrong(value)
        _check_unicode(value)
        if not value and self.required:
            raise ValidationError(_empty(value))
        if self.metadata.get("secret"):
            _check_secret(value)
        return self.read(value)

    def read(self, value: str) -> str:
        return str(value)


class _Url(_Text):
    expected = "an address as in https://host:port/prefix"

    def read(self, value: str) -> str:
        if not value:
            return ""
        if "@" in value:
            raise ValidationError(f"must be {self.expected}, without a user and password in it.")
        if not _is_address(value):
            raise self.wrong(value)
        return value.rstrip("/")


class _Choice(_Text):
    def __init__(
        self, doc: str, choices: Sequence[str], synonyms: Mapping[str, str], default: str, options: Options
    ) -> None:
        super().__init__(doc, default, options)
        self.choices = tuple(choices)
        self.expected = _one_of(choices)
        self._canonical = _canonical(choices, synonyms)
        if not options.get("required"):
            self._canonical.setdefault(default.lower(), default)

    def read(self, value: str) -> str:
        try:
            return self._canonical[value.strip().lower()]
        except KeyError:
            raise self.wrong(value) from None


class _Flag(Setting[bool]):
    expected = "true or false"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.wrong(value)
        return value


class _Number(Setting[Any]):
    def __init__(
        self, doc: str, default: float, minimum: float | None, maximum: float | None, options: Options
    ) -> None:
        super().__init__(doc, default, options)
        self.minimum, self.maximum = minimum, maximum
        self.types = (int, float) if isinstance(default, float) else (int,)
        noun = "a number" if float in self.types else "a whole number"
        self.expected = noun + _bounds(minimum, maximum)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, self.types):
            raise self.wrong(value)
        if not _within(value, self.minimum, self.maximum):
            raise self.wrong(value)
        return value


class _Names(Setting[list[str]]):
    expected = "a list of texts"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[str]:
        if not isinstance(value, list | tuple):
            raise self.wrong(value)
        for index, item in enumerate(value):
            _check_name(self, index, item)
        if not value and self.required:
            raise ValidationError(_empty(value))
        return [str(item) for item in value]


class _Mapping(Setting[dict[str, str]]):
    def __init__(self, doc: str, choices: Sequence[str], default: Mapping[str, str], options: Options) -> None:
        super().__init__(doc, dict(default), options)
        self.choices = tuple(choices)
        self.expected = "an object of name and text"
        if choices:
            self.expected = f"an object of name and {_one_of(choices)}"
        self._canonical = _canonical(choices, {})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise self.wrong(value)
        if not value and self.required:
            raise ValidationError(_empty(value))
        return {self._name(key): self._entry(key, item) for key, item in value.items()}

    def _name(self, key: object) -> str:
        if not isinstance(key, str) or not key:
            raise ValidationError(f"must be {self.expected}; {shown(key)} can't be a name.")
        _check_unicode(key)
        return key

    def _entry(self, key: object, item: object) -> str:
        if isinstance(item, str):
            _check_unicode(item)
            if not self.choices:
                return item
            if item.lower() in self._canonical:
                return self._canonical[item.lower()]
        given = _kind(item) if self.metadata.get("secret") else shown(item)
        near = did_you_mean(item, self.choices) if isinstance(item, str) else ""
        raise ValidationError(f"must be {self.expected}; the entry {shown(key)} is {given}.{near}")


def text(doc: str, *, default: str = "", **options: Unpack[Options]) -> fields.Field[str]:
    """Return a field for a text; `""` means not set. `${NAME}` as its whole value reads the environment.

    A secret text with control characters (a line end, for example) is refused: no key has them.
    """
    return _Text(doc, default, options)


def url(doc: str, *, default: str = "", **options: Unpack[Options]) -> fields.Field[str]:
    """Return a field for an address `http(s)://host[:port][/prefix]`; a closing slash is taken off."""
    return _Url(doc, default, options)


def choice(
    doc: str,
    choices: Sequence[str],
    *,
    default: str = "",
    synonyms: Mapping[str, str] | None = None,
    **options: Unpack[Options],
) -> fields.Field[str]:
    """Return a field for one of `choices`, in any case; the spelling of `choices` is kept.

    `synonyms` maps another word to a choice. A default of `""` means not set, and can then be given as well.
    Raises ValueError when the default or a synonym is none of the choices.
    """
    for word in [default, *(synonyms or {}).values()]:
        if word and word not in choices:
            raise ValueError(f"{word!r} is none of the choices {list(choices)}")
    return _Choice(doc, choices, synonyms or {}, default, options)


def flag(doc: str, *, default: bool = False, **options: Unpack[Options]) -> fields.Field[bool]:
    """Return a field for true or false; neither "true" nor 1 is taken."""
    return _Flag(doc, default, options)


def integer(
    doc: str,
    *,
    default: int = 0,
    minimum: int | None = None,
    maximum: int | None = None,
    **options: Unpack[Options],
) -> fields.Field[int]:
    """Return a field for a whole number within `minimum` and `maximum` (both included)."""
    return _Number(doc, default, minimum, maximum, options)


def number(
    doc: str,
    *,
    default: float = 0.0,
    minimum: float | None = None,
    maximum: float | None = None,
    **options: Unpack[Options],
) -> fields.Field[float]:
    """Return a field for a finite number within `minimum` and `maximum` (both included)."""
    return _Number(doc, float(default), minimum, maximum, options)


def names(doc: str, *, default: Sequence[str] = (), **options: Unpack[Options]) -> fields.Field[list[str]]:
    """Return a field for a list of texts, none of them empty."""
    return _Names(doc, list(default), options)


def mapping(
    doc: str,
    *,
    choices: Sequence[str] = (),
    default: Mapping[str, str] | None = None,
    **options: Unpack[Options],
) -> fields.Field[dict[str, str]]:
    """Return a field for an object that maps names to texts, or to `choices` (in any case)."""
    return _Mapping(doc, choices, default or {}, options)


def is_set(value: object) -> bool:
    """Return whether a setting's value counts as set: false, empty and null don't, zero does."""
    return value is not False and value not in (None, "", [], {})


def shown(value: object) -> str:
    """Return `value` as a message shows it: short, escaped, and never what an environment variable held."""
    if isinstance(value, FromEnvironment):
        return f"the value of the environment variable {value.variable}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    if isinstance(value, int | float):
        return str(value)
    return _kind(value)


def _kind(value: object) -> str:
    kinds: list[tuple[Any, str]] = [
        (bool, "true or false"),
        (str, "this text"),
        ((int, float), "a number"),
        (Mapping, "an object"),
        ((list, tuple), "a list"),
        (type(None), "null"),
    ]
    for types, word in kinds:
        if isinstance(value, types):
            return word
    return f"a {type(value).__name__}"


def _empty(value: object) -> str:
    empty = "is required and must not be empty"
    if isinstance(value, FromEnvironment):
        return f"{empty}: the environment variable {value.variable} is."
    return f"{empty}."


def _check_unicode(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValidationError("must be text that can be written as UTF-8.") from None


def _check_secret(value: str) -> None:
    if any(character < " " or character == "\x7f" for character in value):
        raise ValidationError("must not have control characters, such as a line end after the key.")
    if not isinstance(value, FromEnvironment) and _VARIABLE.search(value):
        alone = 'must be "${NAME}" alone, without other text, to be read from the environment'
        raise ValidationError(f"{alone}; a name has letters (A to Z), digits and '_'.")


def _check_name(field: _Names, index: int, item: object) -> None:
    if not isinstance(item, str):
        given = _kind(item) if field.metadata.get("secret") else shown(item)
        raise ValidationError(f"must be {field.expected}; item {index} is {given}.")
    if not item:
        raise ValidationError(f"must be {field.expected}; item {index} is empty.")
    _check_unicode(item)


def _is_address(value: str) -> bool:
    if not _ADDRESS.fullmatch(value) or "?" in value or "#" in value or "\\" in value or "$" in value:
        return False
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and parts.port != 0 and not parts.netloc.endswith(":")
    except ValueError:
        return False


def _canonical(choices: Sequence[str], synonyms: Mapping[str, str]) -> dict[str, str]:
    words = {word.lower(): word for word in choices}
    return words | {word.lower(): target for word, target in synonyms.items()}


def _one_of(choices: Sequence[str]) -> str:
    return "one of " + ", ".join(repr(word) for word in choices)


def _within(value: float, minimum: float | None, maximum: float | None) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return (minimum is None or value >= minimum) and (maximum is None or value <= maximum)


def _bounds(minimum: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f" from {minimum} to {maximum}"
    if minimum is not None:
        return f" of at least {minimum}"
    return f" of at most {maximum}" if maximum is not None else ""

"""The same destination with one setting changed: made quickly, and checked by its schema once it matters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from marshmallow import fields

from turnout._perturb import further_values, setting_values
from turnout._watched import Watched
from turnout.destination import Destination, declared_endpoints, rebuilt
from turnout.endpoint import BoundEndpoint
from turnout.errors import TurnoutError
from turnout.settings import Config, Settings

__all__ = ["ByValue", "Variant", "changed", "further_variants", "variants", "variants_of"]


class Variant:
    """A destination whose setting `name` has the value `after` instead of `before`.

    `quick` was not checked by the schema: it only tells whether the setting matters here. `checked` is the real one.
    """

    __slots__ = ("_base", "_checked", "_known", "after", "before", "name", "quick")

    def __init__(self, base: Destination, name: str, after: Any, quick: Destination) -> None:
        self.name, self.before, self.after = name, base.config[name], after
        self.quick = quick
        self._base = base
        self._known = False
        self._checked: Destination | None = None

    @property
    def checked(self) -> Destination | None:
        """Return the destination as its schema configures it; None when the schema refuses the value."""
        if not self._known:
            self._known = True
            self._checked = self.quick if _free(self._base.settings) else changed(self._base, {self.name: self.after})
        return self._checked

    @property
    def routing(self) -> bool:
        """Whether the setting only says where requests go, so that no rule reads it."""
        return bool(_fields(self._base.settings)[self.name].metadata.get("routing"))

    def upon(self, other: Destination) -> Destination | None:
        """Return another variant of the same destination with this value as well."""
        return _quick(other, self.name, self.after)


@lru_cache(maxsize=64)
def _fields(settings: type[Settings]) -> Mapping[str, fields.Field[Any]]:
    return settings().load_fields


@lru_cache(maxsize=64)
def _free(settings: type[Settings]) -> bool:
    """Return whether each setting can be checked by itself: nothing in the schema looks at several."""
    schema = settings()
    hooks: dict[Any, Any] = getattr(schema, "_hooks", {"": "unknown"})
    return not any(hooks.values()) and not any(one.metadata.get("requires") for one in schema.load_fields.values())


def variants(base: Destination, words: Sequence[str] = ()) -> Iterator[Variant]:
    """Yield the destination with each setting changed in each way that `_perturb.setting_values` declares.

    They are kept for the next event, except those with `words`, keys and paths of an event.
    """
    yield from _kept(ByValue(base))
    yield from further_variants(base, words, lambda _: True)


def further_variants(
    base: Destination, words: Sequence[str], matters: Callable[[Destination], bool]
) -> Iterator[Variant]:
    """Yield it with words of an event in each setting that may hold such, if all of them at once matter."""
    fields = _fields(base.settings).items()
    values = {name: [*further_values(name, field, base.config[name], words)] for name, field in fields}
    together: Destination | None = base
    for name, made in values.items():
        if made and together is not None:
            together = _quick(together, name, made[0])
    if together is None or matters(together):
        for name, made in values.items():
            yield from _made(base, name, made)


def variants_of(base: Destination, name: str, words: Sequence[str] = ()) -> Iterator[Variant]:
    """Yield those of them in which the setting `name` is changed, each made when it is asked for."""
    field, value = _fields(base.settings)[name], base.config[name]
    yield from _made(base, name, setting_values(name, field, value))
    yield from _made(base, name, further_values(name, field, value, words))


def combined(base: Destination, some: Iterable[Variant]) -> Destination:
    """Return a destination with several of its variants at once; the destination itself where it can't work so."""
    values = {one.name: one.after for one in some}
    return base if not values else _combined(ByValue(base), msgspec.json.encode(values)) or base


@lru_cache(maxsize=256)
def _combined(key: ByValue, told: bytes) -> Destination | None:
    return _quickly(key.base, msgspec.json.decode(told))


class ByValue:
    """A destination, equal to one of the same class, id and settings."""

    __slots__ = ("_key", "base")

    def __init__(self, base: Destination) -> None:
        self.base = base
        try:
            settings: Any = msgspec.json.encode(dict(base.config))
        except (TypeError, ValueError):
            settings = id(base)  # a setting that JSON can't say: this very object only
        self._key = (type(base), base.id, settings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByValue) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=4)
def _kept(key: ByValue) -> tuple[Variant, ...]:
    base = key.base
    fields = _fields(base.settings).items()
    return tuple(
        one for name, field in fields for one in _made(base, name, setting_values(name, field, base.config[name]))
    )


def _made(base: Destination, name: str, values: Iterable[Any]) -> Iterator[Variant]:
    for value in values:
        quick = _quick(base, name, value)
        if quick is not None:
            yield Variant(base, name, value, quick)


def _quick(base: Destination, name: str, value: Any) -> Destination | None:
    """Return the destination with a value; None when the field refuses it, or the plugin can't work with it."""
    return _quickly(base, {name: value})


def _quickly(base: Destination, changes: Mapping[str, Any]) -> Destination | None:
    fields, config = _fields(base.settings), base.config
    try:
        values = {**config, **{name: fields[name].deserialize(value) for name, value in changes.items()}}
        made = Config(values, config.secret_names, config.given | changes.keys())
        return rebuilt(type(base), base.id, made, _without(base, changes.keys()))
    except Exception:
        return None


def _without(base: Destination, names: Collection[str]) -> dict[str, BoundEndpoint]:
    """Return the endpoints that read none of these settings: they are the same whatever they say."""
    read = _read_by(ByValue(base))
    return {endpoint: bound for endpoint, bound in base.endpoints.items() if read[endpoint].isdisjoint(names)}


@lru_cache(maxsize=16)
def _read_by(key: ByValue) -> dict[str, set[str]]:
    """Return the settings that each endpoint of a destination reads."""
    base = key.base
    found: dict[str, set[str]] = {}
    for endpoint in declared_endpoints(type(base)):
        read = found[endpoint.name] = set()
        try:
            endpoint.bind(Watched(base.config, read), base.name)
        except Exception:
            read.update(base.config)  # it minds being watched: it is bound anew each time
    return found


def changed(base: Destination, values: dict[str, Any]) -> Destination | None:
    """Return the destination with other values for some settings, None when its schema refuses them."""
    given = {name: base.config[name] for name in base.config if name in base.config.given}
    try:
        return type(base)(given | values, id=base.id, environ={})
    except TurnoutError:
        return None

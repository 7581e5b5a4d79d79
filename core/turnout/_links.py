"""Links between places of the input and of the output, told so that they are the same for any event.

`/traits/plan` becomes `/properties/plan` in one event, `/traits/seats` becomes `/properties/seats` in another: both are
the link `/traits/{key}` -> `/properties/{key}`, because the mapping doesn't look at the name. Whether it does is asked:
a key is renamed, and if nothing but that name changes in the output, the key is *open*.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from turnout._json import compact, pointer
from turnout._output import EVENT, Output, Target, fields_of
from turnout._payload import Path
from turnout._perturb import other
from turnout._pointer import general, steps
from turnout._trial import Trial
from turnout.destination import Destination, rebuilt
from turnout.endpoint import Item
from turnout.lineage import Source
from turnout.platforms import SERVER, platform_of
from turnout.settings import Config, Settings, describe

__all__ = ["KEY", "VALUE", "Link", "Names", "is_free", "is_open", "platform_at", "words_of"]

KEY, VALUE = "{key}", "{value}"
"""In a path: an open key, and a key of the output that is a value of the event."""

_FREE = (("properties",), ("traits",), ("integrations",), ("context", "traits"))
"""Below these the keys of an event are its sender's."""
_MARKER = "marker-"
_NUMBER = re.compile(r"/[0-9]+(?=/|$)")
_decode = msgspec.json.Decoder().decode
_Place = tuple[str, int, tuple[str, ...]]
"""A place of the output: rule, number of the item, and path."""


class Link(msgspec.Struct, frozen=True, order=True):
    """One place of the output depends on one place of the input, in the rules of a platform.

    In `source` and `target` a position in a list is `*`, an open key `{key}`, a key that a setting names the setting's
    name in braces, and a key that is a value of the event `{value}`. The number of the item is left out.
    """

    platform: str
    source: Source
    target: Target

    @property
    def field(self) -> str:
        """The place of the output, in words for people."""
        part, path = self.target.part, self.target.path
        if part == "request":
            return f"{path} around the items of {self.target.endpoint}"
        if part == "item":
            return path or "whether there is an item"
        return "whether the event is sent" if self.target == EVENT else "the endpoint"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        told = {"platform": self.platform, "rule": self.target.rule, "part": self.target.part, "path": self.target.path}
        return told | {"endpoint": self.target.endpoint, "from": self.source.to_dict()}


def is_open(path: str) -> bool:
    """Return whether a path ends with, or leads through, a key that is not the same in every event."""
    return "{" in path


def platform_at(destination: Destination, output: Output) -> str:
    """Return the platform whose rules an output was made by."""
    event = output.plan.event
    return platform_of(event) if destination.device_mode and event is not None else SERVER


class Names:
    """The names that the places of one event, and of what it becomes, have in links.

    `closed` are keys of the spec that are known not to be open, and gets those that are found to be so.
    """

    def __init__(self, trial: Trial, base: Output, closed: set[Path] | None = None) -> None:
        self._trial, self._base = trial, base
        self._secret = trial.destination.config.secret_names
        self._texts = {place.value for place in trial.payload.places.values() if isinstance(place.value, str)}
        self._keys = {str(step) for path in trial.payload.places for step in path[1:]}
        words = words_of(trial.destination)
        self._words = {word: name for word, name in words.items() if word not in self._keys or self._is_word(word)}
        """The keys that are only known because a setting names them."""
        self._own = {str(step) for path in trial.payload.places if is_free(path) for step in path[1:]}
        self._there = set(_prefixes(base))
        self._copies: set[_Place] = set()
        """The places of the output whose last step is an open key."""
        self.platform = platform_at(trial.destination, base)
        self.open: set[Path] = set()
        """The paths of the event that end with an open key."""
        closed = set() if closed is None else closed
        for path in _asked(trial.payload.places, self.open, closed):
            if not self._ask(path) and not is_free(path):
                closed.add(path)
        self.sources = {pointer(path): self._source(path) for path in trial.payload.places}
        """The name of each place of the event, by its JSON Pointer."""

    def link(self, source: Source, target: Target, after: Any = None) -> Link | None:
        """Return the link of two places; None where no snapshot shows it. `after` is the new value of the source."""
        if target.part == "key" or (self._masked(source) and (target.part == "request" or target.path)):
            return None
        name = self._named(source.name) if source.kind == "event" else source.name
        platform = "" if target.part == "request" else self.platform
        return Link(platform, Source(source.kind, name), self.target(target, after))

    def _named(self, path: str) -> str:
        # Where an element of a list is gone, the others have other places.
        return self.sources.get(path) or self.sources.get(_NUMBER.sub("/0", path)) or general(path)

    def _masked(self, source: Source) -> bool:
        return source.kind == "setting" and source.name in self._secret

    def target(self, target: Target, after: Any = None) -> Target:
        """Return the name of a place of the output."""
        if target.part == "new":
            return Target("item", target.rule)
        if target.part != "item":
            return Target(target.part, target.rule, 0, target.path, target.endpoint)
        path = tuple(steps(target.path))
        made: list[str] = []
        for number, step in enumerate(path):
            if self._is_copy((target.rule, target.number, path[: number + 1])):
                made.append(f"/{KEY}")
                break
            made.append(f"/{self._step(step, after)}")
        return Target("item", target.rule, 0, "".join(made))

    def _is_copy(self, place: _Place) -> bool:
        """Return whether a step of the output is an open key; of what isn't there yet, by its name alone."""
        rule, number, path = place
        alike = rule, number, tuple("0" if step == "-" else step for step in path)
        if alike in self._there:
            return alike in self._copies
        return len(path) > 1 and path[-1] in self._own

    def _step(self, step: str, after: Any) -> str:
        if step == "-" or step.isdecimal():
            return "*"
        name = self._words.get(step) or (self._marked(step) if step.startswith(_MARKER) else "")
        if name:
            return f"{{{name}}}"
        return VALUE if step in self._texts or step == after else pointer((step,))[1:]

    def _marked(self, step: str) -> str:
        """Return the setting to which a perturbation has added this word."""
        told = step.removeprefix(_MARKER)
        return max((name for name in self._trial.destination.config if told.startswith(name)), key=len, default="")

    def _is_word(self, word: str) -> bool:
        """Return whether nothing but its name changes when a key, and what settings say of it, are called otherwise."""
        renamed = self._renamed(word, len(word))
        destination = _retold(self._trial.destination, word, renamed)
        output = self._trial.output(compact(_called(self._trial.payload.value, word, renamed)), destination)
        return _same_but(self._base, output, renamed, word)

    def _source(self, path: Path) -> str:
        made: list[str] = []
        for number, step in enumerate(path):
            if path[: number + 1] in self.open:
                made.append(f"/{KEY}")
                break
            word = self._words.get(str(step)) if is_free(path) else None
            made.append("/*" if isinstance(step, int) else f"/{{{word}}}" if word else pointer((step,)))
        return "".join(made)

    def _ask(self, path: Path) -> bool:
        """Rename a key, and keep it as open when nothing but its name changes in the output; return whether it is.

        Where that is not so, the same key may stand elsewhere, and hide or replace it: all of them are renamed then.
        """
        key, value = str(path[-1]), self._trial.payload.value
        renamed = self._renamed(key, len(path))
        if self._keep(path, renamed, _renamed(value, path, renamed)):
            return True
        return is_free(path) and self._keep(path, renamed, _called(value, key, renamed))

    def _renamed(self, key: str, number: int) -> str:
        """Return another key, one that doesn't stand in the output yet."""
        for turn in range(number, number + 8):
            made = str(other(key, turn, self._texts | self._keys))
            if not any(made.encode() in item.data for item in self._base.plan.items):
                break
        return made

    def _keep(self, path: Path, renamed: str, value: Any) -> bool:
        output = self._trial.output(compact(value))
        key = str(path[-1])
        new = _inner(renamed)
        if not any(new in item.data for item in output.plan.items) or not _same_but(self._base, output, renamed, key):
            return False
        self.open.add(path)
        for rule, items in output.rules.items():
            for number, item in enumerate(items, start=1):
                if new in item.data:
                    found = _with_step(output.value(item), renamed)
                    self._copies.update((rule, number, _named(one, renamed, key)) for one in found)
        return True


def is_free(path: Path) -> bool:
    """Return whether a path of the event leads to where its sender is free to call keys as he likes."""
    return any(path[: len(one)] == one for one in _FREE)


def _prefixes(output: Output) -> Iterator[_Place]:
    """Yield every place in the items of an output, objects and lists too."""
    for rule, items in output.rules.items():
        for number, item in enumerate(items, start=1):
            for path, _ in fields_of(output.value(item)):
                told = tuple(map(str, path))
                yield from ((rule, number, told[:end]) for end in range(1, len(told) + 1))


def _asked(paths: Iterable[Path], opened: set[Path], closed: set[Path]) -> Iterator[Path]:
    """Yield the keys that are not an event's own, outer ones first, without closed ones and those below an open one."""
    for path in paths:
        own = len(path) == 1 or not isinstance(path[-1], str)
        if not (own or path in closed or any(path[:end] in opened for end in range(2, len(path)))):
            yield path


def _same_but(base: Output, output: Output, renamed: str, key: str) -> bool:
    """Return whether two outputs are the same once a key is called again what it was."""
    if base.state != output.state or len(base.plan.items) != len(output.plan.items):
        return False
    new, old = _inner(renamed), _inner(key)
    return all(_same(one, two, new, old) for one, two in zip(base.plan.items, output.plan.items, strict=True))


def _inner(key: str) -> bytes:
    """Return a key as it stands in JSON between the quotes."""
    return compact(key)[1:-1]


def _same(one: Item, two: Item, new: bytes, old: bytes) -> bool:
    if one.rule != two.rule or one.key != two.key or one.endpoint.name != two.endpoint.name:
        return False
    data = two.data.replace(new, old)
    # A mapping may sort keys.
    return one.data == data or (len(one.data) == len(data) and _decode(one.data) == _decode(data))


def _renamed(value: Any, path: Path, key: str) -> Any:
    """Return a JSON value in which the key that a path ends with is called otherwise, and stands where it stood."""
    step, rest = path[0], path[1:]
    if isinstance(value, list):
        return [_renamed(one, rest, key) if number == step else one for number, one in enumerate(value)]
    if not rest:
        return {key if name == step else name: one for name, one in value.items()}
    return {name: _renamed(one, rest, key) if name == step else one for name, one in value.items()}


def _called(value: Any, word: str, renamed: str, path: Path = ()) -> Any:
    """Return a JSON value in which a key is called otherwise, wherever it stands among keys of the sender."""
    if isinstance(value, list):
        return [_called(one, word, renamed, (*path, number)) for number, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    mine = is_free(path)
    return {
        renamed if mine and name == word else name: _called(one, word, renamed, (*path, name))
        for name, one in value.items()
    }


def _retold(destination: Destination, word: str, renamed: str) -> Destination:
    """Return a destination whose settings say another word instead of one."""
    config = destination.config
    told = {name: _reworded(config[name], word, renamed) for name, _ in _wordy(destination.settings)}
    made = Config({**config, **told}, config.secret_names, config.given)
    return rebuilt(type(destination), destination.id, made)


def _reworded(value: Any, word: str, renamed: str) -> Any:
    if isinstance(value, dict):
        return {renamed if name == word else name: _reworded(one, word, renamed) for name, one in value.items()}
    if isinstance(value, list):
        return [_reworded(one, word, renamed) for one in value]
    return renamed if value == word else value


def _with_step(value: Any, part: str, path: Path = ()) -> Iterator[Path]:
    """Yield the paths in a value that end with a key which has this part."""
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for step, one in inner:
        if isinstance(step, str) and part in step:
            yield (*path, step)
        else:
            yield from _with_step(one, part, (*path, step))


def _named(path: Path, renamed: str, key: str) -> tuple[str, ...]:
    """Return a path of the output as it is with the key's own name."""
    return tuple(str(step).replace(renamed, key) for step in path)


def words_of(destination: Destination) -> Mapping[str, str]:
    """Return the words that settings hold, each with the name of its setting; choices, secrets and URLs are none."""
    found: dict[str, str] = {}
    for name, choices in _wordy(destination.settings):
        for word in _texts(destination.config[name]):
            if word and word not in choices:
                found.setdefault(word, name)
    return found


@lru_cache(maxsize=64)
def _wordy(schema: type[Settings]) -> tuple[tuple[str, frozenset[str]], ...]:
    """Return the settings that may hold words, each with the texts that are none."""
    fields = schema().load_fields
    return tuple(
        (one.name, frozenset((*one.choices, *getattr(fields[one.name], "choices", ()))))
        for one in describe(schema)
        if not one.secret and one.name != "base_url"
    )


def _texts(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else ()

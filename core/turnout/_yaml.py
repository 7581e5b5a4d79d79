"""YAML files that people write by hand, read as JSON would be: no dates, no `no` for false, no key twice.

Plain words are what they are in YAML 1.2: `true`, `null`, `12` and `1.5e3` mean what they do in JSON, all others are
text. What YAML could say and JSON can't (tags, keys that are no text, .inf, several documents) is refused with its
place; so is what people mean differently: a number with a leading zero, and the merge key `<<` of YAML 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from turnout._json import strict
from turnout.errors import ConfigError, Refusal
from turnout.strictjson import read_file

__all__ = ["load_yaml"]

_MOST = 100_000
_DEPTH = 200
_WORDS = dict.fromkeys(("", "~", "null", "Null", "NULL")) | {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?", re.ASCII)
_ENDLESS = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TAG = "tag:yaml.org,2002:"
_PLAIN = "plain"


def load_yaml(path: Path, what: str) -> dict[str, Any]:
    """Return the object in a YAML file, as plain JSON values; `what` is a word for it.

    Anchors and aliases are followed, to 100,000 values in all. Raises `ConfigError` that names the file, the line and
    the column, or says how to install PyYAML.
    """
    try:
        import yaml
    except ModuleNotFoundError:
        advice = "Run: pip install pyyaml (or 'turnout[testing]'), or write it as JSON."
        raise ConfigError(f"{path}: YAML files need PyYAML, which is not installed. {advice}") from None
    text = _text(path)
    try:
        root = yaml.compose(text, Loader=_loader(yaml))
        loaded = None if root is None else strict(_Reader(path).value(root))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{path}: is not YAML: {error.problem or error.context}{_place(mark)}.") from None
    except yaml.reader.ReaderError as error:
        raise ConfigError(f"{path}: is not YAML: {error.reason} (character {error.position}).") from None
    except RecursionError:
        raise ConfigError(f"{path}: objects and lists are nested too deeply to be read. Flatten them.") from None
    except Refusal as error:
        where = f" ({error.reason.path})" if error.reason.path else ""
        raise ConfigError(f"{path}: {error}{where}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: the {what} must be a YAML mapping, as in 'key: value'.")
    return loaded


def _loader(yaml: ModuleType) -> Any:
    """Return PyYAML's safe loader, which tells plain words from quoted ones instead of guessing what they mean."""
    tags = {yaml.ScalarNode: "str", yaml.SequenceNode: "seq", yaml.MappingNode: "map"}

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
            return _PLAIN if kind is yaml.ScalarNode and implicit[0] else _TAG + tags[kind]

    return Loader


def _text(path: Path) -> str:
    try:
        return read_file(path).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 (byte {error.start}). Save it as UTF-8.") from None


def _place(mark: Any) -> str:
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"


class _Reader:
    """Turns the nodes of a document into values, counting them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0

    def value(self, node: Any, depth: int = 0) -> Any:
        self.number += 1
        if self.number > _MOST:
            raise self._wrong(node, f"with its aliases followed it has more than {_MOST:,} values. Write fewer")
        if depth > _DEPTH:
            raise self._wrong(node, "objects and lists are nested too deeply, or an alias (*) stands in what it names")
        by_kind: dict[str, Callable[[Any, int], Any]] = {
            "scalar": self._scalar,
            "sequence": self._sequence,
            "mapping": self._mapping,
        }
        return by_kind[node.id](node, depth)

    def _sequence(self, node: Any, depth: int) -> list[Any]:
        self._check_tag(node, "seq")
        return [self.value(inner, depth + 1) for inner in node.value]

    def _mapping(self, node: Any, depth: int) -> dict[str, Any]:
        self._check_tag(node, "map")
        made: dict[str, Any] = {}
        for key_node, inner in node.value:
            key = self._key(key_node, depth)
            if key in made:
                raise self._wrong(key_node, f"the key '{key}' stands twice in one object. Keep one of them")
            made[key] = self.value(inner, depth + 1)
        return made

    def _key(self, node: Any, depth: int) -> str:
        if node.id == "scalar" and node.style is None and node.value == "<<":
            raise self._wrong(node, "YAML 1.2 has no merge key '<<'. Write the keys out, or use a settings profile")
        key = self.value(node, depth + 1)
        if not isinstance(key, str):
            shown = f"'{node.value}'" if node.id == "scalar" else "this"
            raise self._wrong(node, f"a key must be text, but {shown} is none. Put it in quotes")
        return key

    def _scalar(self, node: Any, _depth: int) -> Any:
        if node.tag == _PLAIN:
            return self._plain(node, node.value)
        self._check_tag(node, "str")
        return node.value

    def _plain(self, node: Any, text: str) -> Any:
        if text in _WORDS:
            return _WORDS[text]
        if _LEADING_ZERO.fullmatch(text):
            raise self._wrong(node, f"{text} is a number with a leading zero. Put it in quotes, or take the zero away")
        if _ENDLESS.fullmatch(text):
            raise self._wrong(node, f"{text} is no number of JSON. Put it in quotes if it is meant as text")
        if _INTEGER.fullmatch(text):
            return self._integer(node, text)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _integer(self, node: Any, text: str) -> int:
        try:
            return int(text, 10 if text[1:2] not in ("o", "x") else 0)
        except ValueError:
            raise self._wrong(node, "an integer has more than 4,300 digits. Put it in quotes") from None

    def _check_tag(self, node: Any, known: str) -> None:
        """Refuse a tag that was written out: what it would make is no JSON value, or not what stands there."""
        if node.tag != _TAG + known:
            shown = node.tag.replace(_TAG, "!!")
            raise self._wrong(node, f"the tag {shown} can't be read. Write the value as in JSON")

    def _wrong(self, node: Any, what: str) -> ConfigError:
        return ConfigError(f"{self.path}: {what}{_place(node.start_mark)}.")

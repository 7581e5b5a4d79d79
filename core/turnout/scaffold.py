"""A destination package of your own, written from a template that installs, passes its tests and is typed.

scaffold("Acme Analytics", Path("turnout-acme-analytics"))
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import turnout
from turnout.errors import ConfigError
from turnout.plugins import DESTINATIONS, SIMULATORS, installed

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["Names", "names_of", "scaffold"]

_LONGEST = 40
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[ ._-]+[A-Za-z0-9]+)*")
_VENDOR = re.compile(r"[^\W_][\w .,&'+!()/-]*")
_PREFIX = re.compile(r"turnout[ ._-]+", re.IGNORECASE)


class Names(msgspec.Struct, frozen=True):
    """What a destination package and its parts are called."""

    key: str
    """The plugin's name, as in `turnout plan -d acme_analytics`."""
    kind: str
    """The class, as in `AcmeAnalytics`."""
    vendor: str
    """The vendor's name for people, and the key in an event's `integrations`."""

    @property
    def distribution(self) -> str:
        """Return the package's name for pip, as in `turnout-acme-analytics`."""
        return f"turnout-{self.key.replace('_', '-')}"

    @property
    def module(self) -> str:
        """Return the package's name for `import`, as in `turnout_acme_analytics`."""
        return f"turnout_{self.key}"


_TEMPLATE = Names("acme_analytics", "AcmeAnalytics", "Acme Analytics")
"""The names that the template has; each is replaced wherever it stands, in files and in their paths."""
_TEMPLATE_RANGE = ">=0.1.0,<0.2"


def names_of(name: str, vendor: str | None = None) -> Names:
    """Return the names for a vendor: `Acme Analytics`, `acme-analytics` and `turnout-acme-analytics` are the same.

    `vendor` is the vendor's name for people, by default `name`, with capitals where it has none. Raises `ConfigError`
    for a name that can't be a package's, and for one that is taken.
    """
    words = _words(name)
    key = "_".join(words).lower()
    kind = "".join(word[:1].upper() + word[1:] for word in words)
    _check_free(name, key, kind)
    plain = _PREFIX.sub("", name.strip(), count=1)
    told = plain if vendor is None and plain != plain.lower() else " ".join(word.capitalize() for word in words)
    return Names(key, kind, _vendor(told if vendor is None else vendor))


def _words(name: str) -> list[str]:
    plain = _PREFIX.sub("", name.strip(), count=1)
    if not _NAME.fullmatch(plain):
        raise ConfigError(
            f"{_quoted(name)} can't be the name of a package: it begins with a letter (a to z), and letters, "
            "digits, dashes and blanks follow, as in acme-analytics. Any other name can be given with --vendor."
        )
    if len(plain) > _LONGEST:
        raise ConfigError(f"{_quoted(name)} is too long a name: take at most {_LONGEST} characters.")
    return re.split(r"[ ._-]+", plain)


def _check_free(name: str, key: str, kind: str) -> None:
    """Raise `ConfigError` for a name that means something else already."""
    taken = _taken(key, kind)
    if taken:
        raise ConfigError(f"{_quoted(name)} can't be the name of a destination: {taken}. Choose another name.")


def _taken(key: str, kind: str) -> str | None:
    """Return what a name stands for already, None when it is free."""
    module = f"turnout_{key}"
    for plugin in (*installed(DESTINATIONS), *installed(SIMULATORS)):
        if plugin.name == key:
            return f"{plugin.distribution} {plugin.version} has a plugin '{key}'"
    if keyword.iskeyword(key) or keyword.iskeyword(kind):
        return f"'{key}' is a word of Python's own"
    if key in sys.stdlib_module_names:
        return f"'{key}' is a module of Python's own library"
    if key == "turnout":
        return "this is turnout itself"
    if hasattr(builtins, kind) or kind in _imported():
        return f"its class would be called {kind}, as another one that it needs"
    return f"there is a module '{module}' already" if find_spec(module) else None


def _vendor(vendor: str) -> str:
    plain = " ".join(vendor.split())
    if not _VENDOR.fullmatch(plain) or len(plain) > _LONGEST:
        raise ConfigError(
            f"--vendor: {_quoted(vendor)} can't be a vendor's name: take at most {_LONGEST} letters, digits, blanks "
            "and . , & ' + ! ( ) / - and begin with a letter or a digit."
        )
    return plain


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def scaffold(name: str, folder: Path | None = None, vendor: str | None = None) -> list[Path]:
    """Write a destination package and return its files, sorted.

    `folder` is by default `turnout-<name>` in the current folder; it must not be there, or be empty. `name` and
    `vendor` are those of `names_of`. Raises `ConfigError` when a name is no good, and when the folder is in use or
    can't be written.
    """
    names = names_of(name, vendor)
    folder = folder or Path(names.distribution)
    _check_folder(folder, names)
    replace = _replacer(names)
    try:
        return sorted(_write(folder / replace(path), replace(text)) for path, text in _templates())
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: can't be written: {error.strerror}.") from None


def _check_folder(folder: Path, names: Names) -> None:
    try:
        there = sorted(path.name for path in folder.iterdir() if path.name != ".git")
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise ConfigError(f"{folder}: this is a file. Name a folder that is not there yet, with --into.") from None
    except OSError as error:
        raise ConfigError(f"{folder}: can't be read: {error.strerror}.") from None
    if there:
        new = folder / names.distribution
        raise ConfigError(f"{folder}: the folder is not empty ({there[0]} is in it). Name a new one: --into {new}")


def _imported() -> set[str]:
    """Return the names that the template's modules import: a class can't be called like one of them."""
    trees = [ast.parse(text) for path, text in _templates() if path.endswith(".py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in nodes for alias in node.names} - {_TEMPLATE.kind}


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def _templates() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file of the template; `dot_` stands for a leading dot."""
    for path, text in _files(files("turnout") / "templates" / "destination", ""):
        yield re.sub(r"(^|/)dot_", r"\1.", path), text


def _files(folder: Traversable, below: str) -> Iterator[tuple[str, str]]:
    for one in folder.iterdir():
        if one.name.startswith(("__pycache__", ".")):
            continue  # what pip and other tools have left there
        if one.is_dir():
            yield from _files(one, f"{below}{one.name}/")
        else:
            yield below + one.name, one.read_text(encoding="utf-8")


def _replacer(names: Names) -> Callable[[str], str]:
    """Return a function that puts these names in the place of the template's, and our version in that of its range."""
    old, new = _forms(_TEMPLATE), _forms(names)
    words = dict(zip(old, new, strict=True)) | {_TEMPLATE_RANGE: _range(turnout.__version__)}
    pattern = re.compile("|".join(map(re.escape, words)))
    return lambda text: pattern.sub(lambda found: words[found[0]], text)


def _forms(names: Names) -> tuple[str, ...]:
    slug = names.key.replace("_", "-")
    return names.key, slug, names.key.upper(), names.kind, names.vendor


def _range(version: str) -> str:
    """Return the versions that a package made with this one works with: those before the next that may break it."""
    public = version.partition("+")[0]
    major, minor = (int(part) for part in re.findall(r"\d+", public)[:2])
    return f">={public},<{major + 1}" if major else f">={public},<0.{minor + 1}"

"""The public names: listed, documented, typed, and cheap to import."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import turnout

CORE = Path(turnout.__file__).parent
PUBLIC = [name for name in turnout.__all__ if name != "__version__"]


def imported_by(statement: str) -> set[str]:
    """Return the top-level modules that a statement imports, in a fresh interpreter."""
    code = f"{statement}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def in_order(names: list[str]) -> list[str]:
    """Return names as ruff sorts them: constants, classes, the rest."""
    return sorted(set(names), key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def test_the_list_is_sorted_and_has_no_doubles() -> None:
    """So that a diff shows what was added."""
    assert turnout.__all__ == in_order(turnout.__all__)


@pytest.mark.parametrize("name", turnout.__all__)
def test_each_name_is_there(name: str) -> None:
    """`from turnout import name` works for each of them, and `dir` shows it."""
    assert getattr(turnout, name) is not None
    assert name in dir(turnout)


def test_a_type_checker_sees_the_same_names() -> None:
    """What is imported for type checkers equals the list: no name can be used without being announced."""
    tree = ast.parse((CORE / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("turnout")
        for alias in node.names
    }
    assert seen == set(PUBLIC)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As Python does it, also for `from turnout import`."""
    with pytest.raises(AttributeError, match="nonsense"):
        turnout.nonsense  # noqa: B018
    with pytest.raises(ImportError):
        exec("from turnout import nonsense")


def documented_constants() -> set[str]:
    """Return the names that some module assigns with a docstring right below."""
    found = set()
    for path in CORE.glob("*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for node, following in pairwise(body):
            target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
            told = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if isinstance(target, ast.Name) and told and isinstance(following.value.value, str):
                found.add(target.id)
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_is_documented(name: str) -> None:
    """A class or function by its docstring, a constant or alias by the text below it."""
    value = getattr(turnout, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert (value.__doc__ or "").strip(), name
        assert not (value.__doc__ or "").startswith(f"{name}("), "a generated docstring"
    else:
        assert name in documented_constants()


def public_methods() -> list[tuple[str, Any]]:
    found = []
    for name in PUBLIC:
        value = getattr(turnout, name)
        if inspect.isclass(value):
            for key, member in vars(value).items():
                plain = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                if not key.startswith("_") and inspect.isfunction(plain):
                    found.append((f"{name}.{key}", plain))
    return found


@pytest.mark.parametrize(("place", "method"), public_methods())
def test_each_public_method_is_documented_and_typed(place: str, method: Any) -> None:
    """Its docstring says what one gets, its signature what it takes and returns."""
    assert (method.__doc__ or "").strip(), place
    signature = inspect.signature(method)
    assert signature.return_annotation is not inspect.Signature.empty, place
    parameters = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    assert all(one.annotation is not inspect.Parameter.empty for one in parameters), place


MODULES = sorted(path.stem for path in CORE.glob("*.py") if not path.stem.startswith("_"))


@pytest.mark.parametrize("module", MODULES)
def test_each_module_lists_its_public_names_sorted(module: str) -> None:
    """`__all__` is sorted and true: each name is there."""
    loaded = importlib.import_module(f"turnout.{module}")
    assert loaded.__all__ == in_order(loaded.__all__)
    assert all(hasattr(loaded, name) for name in loaded.__all__)
    assert (loaded.__doc__ or "").strip()


HEAVY = {"httpx", "jsonschema", "click", "rich", "starlette", "uvicorn", "marshmallow", "pytest", "syrupy"}


def test_import_turnout_is_light() -> None:
    """Nothing heavy is imported before it is needed."""
    assert not imported_by("import turnout") & HEAVY


def test_making_a_plan_imports_neither_http_nor_screens() -> None:
    """A mapping worker needs no HTTP client, no command line and no slow validator."""
    code = (
        "from turnout import Dispatcher, load_destination\n"
        "amplitude = load_destination('amplitude')({'api_key': 'k'})\n"
        "plans = Dispatcher([amplitude]).plan({'type': 'track', 'event': 'E', 'userId': 'u'})\n"
        "assert plans[0].to_dict()['requests']"
    )
    assert not imported_by(code) & (HEAVY - {"marshmallow"})


def test_the_command_line_needs_no_server_and_no_http_to_show_its_help() -> None:
    """`turnout --help` stays quick."""
    assert not imported_by("import turnout.cli") & (HEAVY - {"click"})


def test_the_version_is_that_of_the_distribution() -> None:
    """One number in two places."""
    from importlib.metadata import version

    assert turnout.__version__ == version("turnout")


@pytest.mark.parametrize("package", ["turnout", "turnout_amplitude", "turnout_specs"])
def test_each_package_is_typed(package: str) -> None:
    """`py.typed` lets a type checker use our annotations."""
    loaded = importlib.import_module(package)
    assert (Path(str(loaded.__file__)).parent / "py.typed").is_file()


@pytest.mark.parametrize(
    "package", ["turnout_amplitude", "turnout_rudderstack", "turnout_segment", "turnout_sources", "turnout_split"]
)
def test_bundled_plugins_use_what_everybody_may(package: str) -> None:
    """They import public names of turnout only, as a plugin of somebody else does."""
    open_modules = {"turnout.settings", "turnout.testing"}
    for path in Path(importlib.import_module(package).__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not [one.name for one in node.names if one.name.split(".")[0] == "turnout"], path
            if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "turnout":
                continue
            assert node.module == "turnout" or node.module in open_modules, f"{path}: {node.module}"
            known = importlib.import_module(node.module).__all__
            assert {one.name for one in node.names} <= set(known), path

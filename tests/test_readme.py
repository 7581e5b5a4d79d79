"""The README is true: its commands and programs are run, what it shows is what they give, its names exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from test_guides import Block, blocks

from turnout import Dispatcher, Outcome
from turnout.cli import main
from turnout.config import load_config
from turnout.plugins import DESTINATIONS, installed

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = blocks(README)


def block(part: str) -> Block:
    """Return the only block of the README that holds `part`."""
    [found] = [one for one in BLOCKS if part in one.text]
    return found


def expected(shown: str) -> Any:
    """Return the JSON of a block in which a lone `…` stands for any value."""
    return json.loads(re.sub(r":…", ':"…"', shown))


def matches(shown: Any, real: Any) -> bool:
    """Return whether two values are equal, `…` being equal to everything."""
    if shown == "…":
        return True
    if isinstance(shown, dict) and isinstance(real, dict):
        return shown.keys() == real.keys() and all(matches(shown[key], real[key]) for key in shown)
    if isinstance(shown, list) and isinstance(real, list):
        return len(shown) == len(real) and all(map(matches, shown, real))
    return type(shown) is type(real) and bool(shown == real)


def test_every_block_is_checked_here() -> None:
    """A new block of the README needs a test of its own."""
    starts = [
        "make demo",
        "pip install 'turnout[server]'",
        '{"message_id":',
        "[destinations.amplitude]",
        "[log]",
        "from turnout import Dispatcher",
        "turnout new acme",
        "from turnout import ITEMS",
        '[project.entry-points."turnout.destinations"]',
    ]
    assert [one.text.splitlines()[0][: len(start)] for one, start in zip(BLOCKS, starts, strict=True)] == starts


def test_the_first_plan_is_the_one_that_is_shown(tmp_path: Path) -> None:
    """The shell block, without its installation, gives the line below it."""
    commands = block("pip install").text.splitlines()
    assert commands[0] == "pip install 'turnout[server]'"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", "\n".join(commands[1:])],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert matches(expected(block('{"message_id":').text), json.loads(done.stdout)), done.stdout


def test_the_commands_are_those_that_there_are() -> None:
    """The table names every command once, and nothing else."""
    named = re.findall(r"^\| `turnout (\w+)[^`]*` \|", README, re.MULTILINE)
    assert sorted(named) == sorted(main.list_commands(click.Context(main)))


def test_the_package_is_written(tmp_path: Path) -> None:
    """The command for a destination of one's own makes the folder that the README names."""
    words = shlex.split(block("turnout new").text)
    done = subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "turnout-acme" / "pyproject.toml").is_file()


def test_the_configuration_is_accepted(tmp_path: Path) -> None:
    """The block `turnout.toml` makes a dispatcher, its key from the environment."""
    path = tmp_path / "turnout.toml"
    path.write_text(block('plugin = "amplitude"').text, encoding="utf-8")
    dispatcher = Dispatcher.from_config(load_config(path), environ={"AMPLITUDE_API_KEY": "key-from-outside"})
    config = dispatcher.destinations["amplitude"].config
    assert (config.api_key, config.track_named_pages) == ("key-from-outside", True)


def test_the_sources_are_accepted(tmp_path: Path) -> None:
    """The block for SDKs names a log and a sender whose key comes from the environment."""
    path = tmp_path / "turnout.toml"
    path.write_text(block("[sources.website]").text, encoding="utf-8")
    configuration = load_config(path)
    assert configuration.log.path == "turnout.log"
    assert configuration.senders({"WEBSITE_WRITE_KEY": "wk-from-outside"})["website"].write_key == "wk-from-outside"


def test_the_python_block_runs() -> None:
    """It prints the outcome and the URL."""
    done = subprocess.run(
        [sys.executable, "-c", block("from turnout_amplitude import Amplitude").text],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("planned https://api2.amplitude.com/2/httpapi\n", "")


def test_the_destination_maps_as_its_docstring_says() -> None:
    """A named page becomes an event when the setting is on, nothing when it is off."""
    names: dict[str, Any] = {"__name__": "turnout_acme"}
    exec(block("class Acme(Destination)").text, names)
    page = {"type": "page", "userId": "u-1", "name": "Pricing"}
    [plan] = Dispatcher([names["Acme"]({"api_key": "k", "track_named_pages": True})]).plan(page)
    assert plan.to_dict()["requests"][0]["body"] == {"events": [{"event": "Viewed Pricing Page", "user": "u-1"}]}
    [plan] = Dispatcher([names["Acme"]({"api_key": "k"})]).plan(page)
    assert plan.outcome is Outcome.DROPPED


def test_the_entry_point_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with this table offers the destination `acme`."""
    table = tomllib.loads(block("acme = ").text)["project"]["entry-points"][DESTINATIONS]
    about = tmp_path / "turnout_acme-1.0.dist-info"
    about.mkdir()
    lines = "\n".join(f"{name} = {value}" for name, value in table.items())
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: turnout-acme\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[{DESTINATIONS}]\n{lines}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert ("acme", "turnout_acme:Acme") in [(plugin.name, plugin.value) for plugin in installed(DESTINATIONS)]


def test_make_knows_what_is_named() -> None:
    """Every `make` command of the README is a target of the Makefile."""
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"^make (\w+)$|`make (\w+)`", README, re.MULTILINE)
    assert {one or other for one, other in named} <= set(targets)


@pytest.mark.parametrize(
    ("shown", "real", "equal"),
    [
        ({"a": "…"}, {"a": [1]}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, {"b": 1}, False),
        ([1, "…"], [1], False),
        ({"a": 1}, {"a": True}, False),
    ],
)
def test_plans_are_compared_whole(shown: Any, real: Any, equal: bool) -> None:
    """Nothing that is not shown may be there, nothing shown may be missing."""
    assert matches(shown, real) is equal

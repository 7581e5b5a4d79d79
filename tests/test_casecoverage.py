"""What a suite of cases pins: rules, values of settings, and edges; in Python, and as a user asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from turnout.casecoverage import CaseCoverage, EdgeUse, coverage
from turnout.checking import find
from turnout.cli import main
from turnout.errors import ConfigError

Run = Callable[..., Result]

ORDER = {
    "type": "track",
    "messageId": "m-1",
    "userId": "u-1",
    "event": "Order Completed",
    "timestamp": "2026-01-02T03:04:05Z",
    "properties": {"depth": 12, "unit": "fathom"},
}
VISITOR = {
    "type": "track",
    "messageId": "m-2",
    "anonymousId": "a-2",
    "event": "Order Completed",
    "timestamp": "2026-01-02T03:04:06Z",
}
PAGE = {
    "type": "page",
    "messageId": "m-3",
    "userId": "u-3",
    "name": "Harbour",
    "timestamp": "2026-01-02T03:04:07Z",
    "context": {"locale": "nb-NO"},
}


def write(folder: Path, name: str, event: Any, **settings: Any) -> Path:
    """Write a case of the gauge with its snapshot."""
    case = {"settings": {"token": f"token-of-{name}", **settings}, "event": event}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(case), encoding="utf-8")
    done = CliRunner().invoke(main, ["check", "--update", str(path)])
    assert done.exit_code == 0, done.output
    return path


def write_all(folder: Path) -> None:
    """Write cases that pin all of the gauge."""
    write(folder, "order", ORDER)
    write(folder, "order_imperial", {**ORDER, "messageId": "m-4"}, scale="imperial", hidden=["unit"])
    write(folder, "visitor", VISITOR)
    write(folder, "page", PAGE, pages=True)
    write(folder, "page_off", {**PAGE, "messageId": "m-5"})
    write(
        folder, "page_visitor", {"type": "page", "messageId": "m-6", "anonymousId": "a-6", "name": "Quay"}, pages=True
    )
    write(folder, "elsewhere", {**ORDER, "messageId": "m-7", "integrations": {"All": False}})
    write(folder, "group", {"type": "group", "messageId": "m-8", "userId": "u-8", "groupId": "g-8"})


def covered(folder: Path, jobs: int = 1) -> CaseCoverage:
    return coverage(find([folder]), jobs=jobs)


def missing(found: CaseCoverage) -> list[EdgeUse]:
    return [one for one in found.destinations[0].edges if not one.used]


def test_a_suite_can_pin_everything(gauge: Path) -> None:
    """Rules, values of settings and edges are counted, and all of them are used."""
    write_all(gauge)
    found = covered(gauge)
    (one,) = found.destinations
    assert [edge.link for edge in missing(found)] == []
    assert (found.percent, one.percent, one.cases) == (100.0, 100.0, 8)
    assert {use.rule: use.when for use in one.rules} == {"ordered": (), "seen": ("pages",)}
    assert {(use.setting, use.value) for use in one.values} == {
        ("scale", "metric"),
        ("scale", "imperial"),
        ("pages", "on"),
        ("pages", "off"),
        ("hidden", "set"),
        ("hidden", "not set"),
        ("base_url", "not set"),
    }
    targets = {(use.link.target.rule, use.link.source.name, use.link.target.path) for use in one.edges}
    assert targets >= {
        ("ordered", "/userId", "/by"),
        ("ordered", "/anonymousId", "/by"),
        ("ordered", "scale", "/scale"),
        ("ordered", "/properties/{key}", "/given/{key}"),
        ("seen", "/name", "/where"),
        ("seen", "/context/locale", "/language"),
    }
    assert not any(use.link.source.name == "token" and use.link.target.path for use in one.edges), "a secret"


def test_what_is_missing_is_told_with_an_event_that_would_pin_it(gauge: Path) -> None:
    """A case of each event that it shows, with the settings that it shows, leaves nothing missing."""
    write(gauge, "order", ORDER)
    first = covered(gauge)
    assert 0 < first.percent < 100
    assert [use.rule for use in first.destinations[0].rules if not use.used] == ["seen"]
    for number, edge in enumerate(missing(first)):
        told = edge.to_dict()
        write(gauge, f"missing_{number}", told["event"], **{**told["settings"], "token": f"t-{number}"})
    assert missing(covered(gauge)) == []


def test_an_edge_is_pinned_where_the_snapshot_shows_it(gauge: Path) -> None:
    """The case of a visitor pins where `by` falls back to, and one with both ids doesn't."""
    write(gauge, "order", {**ORDER, "anonymousId": "a-1"})
    falls_back = ("/anonymousId", "/by")
    assert falls_back in [(use.link.source.name, use.link.target.path) for use in missing(covered(gauge))]
    write(gauge, "visitor", VISITOR)
    assert falls_back not in [(use.link.source.name, use.link.target.path) for use in missing(covered(gauge))]


def test_a_value_counts_only_where_it_decides(gauge: Path) -> None:
    """`pages: true` on an order decides on nothing."""
    write(gauge, "order", ORDER, pages=True, scale="imperial")
    used = {(use.setting, use.value) for use in covered(gauge).destinations[0].values if use.used}
    assert used == {("scale", "imperial"), ("hidden", "not set"), ("base_url", "not set")}


def test_a_value_that_only_moves_the_address_counts(gauge: Path) -> None:
    """Each choice of a setting that routes needs a case; `base_url`, which is core's, needs none."""
    folder = gauge.parent / "buoy"
    folder.mkdir()
    write(folder, "north", PAGE)
    values = {(use.setting, use.value): use.used for use in covered(folder).destinations[0].values}
    assert values == {("sea", "north"): True, ("sea", "south"): False, ("base_url", "not set"): True}
    write(folder, "south", {**PAGE, "messageId": "m-9"}, sea="south")
    assert all(use.used for use in covered(folder).destinations[0].values)


def test_a_rule_beyond_the_spec_is_known_by_its_cases(run: Run, gauge: Path) -> None:
    """No specimen has its event's name: without a case nothing is known of its edges, which is told; with one it is."""
    folder = gauge.parent / "buoy"
    folder.mkdir()
    write(folder, "north", PAGE)
    assert covered(folder).destinations[0].unseen == ("wrecked",)
    shown = run("--coverage", "-q", str(folder)).stdout.splitlines()
    told = "  no made event, nor one of a case alone, runs: edges and mutants don't count"
    assert shown[shown.index(told) + 1] == "    wrecked"
    write(folder, "wreck", {**ORDER, "event": "Wreck Seen"})
    (one,) = covered(folder).destinations
    assert one.unseen == ()
    assert {use.rule: use.used for use in one.rules} == {"sighted": True, "wrecked": True}
    links = {
        (use.link.source.name, use.link.target.path): use.used for use in one.edges if use.link.target.rule == "wrecked"
    }
    assert links[("/messageId", "/id")]


def test_values_that_are_alike_are_told(gauge: Path) -> None:
    """The file, the value and its places."""
    path = write(gauge, "order", {**ORDER, "properties": {"depth": "u-1"}})
    (one,) = covered(gauge).alike
    assert (one.path.name, one.alike.value, one.alike.paths) == (path.name, "u-1", ("/userId", "/properties/depth"))


def test_several_processes_find_the_same(gauge: Path) -> None:
    """Whatever their number."""
    write(gauge, "order", ORDER)
    write(gauge, "page", PAGE, pages=True)
    assert covered(gauge, jobs=2).to_dict() == covered(gauge).to_dict()


def test_no_case_covers_nothing(tmp_path: Path) -> None:
    """Nothing is 0 %, not 100 %."""
    assert coverage([]).percent == 0


def test_a_case_that_is_wrong_is_an_error(gauge: Path) -> None:
    """It names the file and the setting."""
    path = write(gauge, "order", ORDER)
    path.write_text(path.read_text().replace('"token"', '"tokn"'), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"order\.json.*'tokn' is not a setting\. Did you mean 'token'\?"):
        covered(gauge)


# As a user asks


@pytest.fixture
def run(gauge: Path) -> Run:
    """Runs `turnout check` in this process, at 80 columns."""

    def call(*args: str) -> Result:
        result = CliRunner().invoke(main, ["check", "-j", "1", *args], env={"COLUMNS": "80", "NO_COLOR": "1"})
        assert "Traceback" not in result.output
        assert all(len(line) <= 80 for line in result.stdout.splitlines() if "{" not in line)
        return result

    return call


def test_the_screen_says_what_no_case_pins(run: Run, gauge: Path) -> None:
    """Counts first, then each missing thing with what shows it; the exit code stays that of the cases."""
    write(gauge, "order", ORDER)
    done = run("--quiet", "--coverage")
    assert done.exit_code == 0
    for line in ("gauge: what 1 case covers", "    seen (server)", "        <- /context/locale"):
        assert line in done.stdout.splitlines()


def test_a_floor_fails_the_run(run: Run, gauge: Path) -> None:
    """Below it the exit code is 1 and the last line says what was asked for; at it the run is good."""
    write(gauge, "order", ORDER)
    low = run("--quiet", "--min-coverage", "99.5")
    assert low.exit_code == 1
    assert "is covered; at least 99.5 % is asked for." in low.stdout
    write_all(gauge)
    assert run("--quiet", "--min-coverage", "100").exit_code == 0


@pytest.mark.parametrize("percent", ["101", "-1", "all"])
def test_a_floor_is_a_percentage(run: Run, gauge: Path, percent: str) -> None:
    """Anything else is a usage error."""
    write(gauge, "order", ORDER)
    done = run("--min-coverage", percent)
    assert done.exit_code == 2
    assert "--min-coverage" in done.stderr


def test_json_has_it_in_one_line(run: Run, gauge: Path) -> None:
    """After the lines of the cases, with the event of what is missing."""
    write(gauge, "order", ORDER)
    *_, last = run("--json", "--coverage").stdout.splitlines()
    told = json.loads(last)["coverage"]
    assert told == covered(gauge).to_dict() | {"alike": []}
    edge = next(one for one in told["destinations"][0]["edges"] if not one["used"])
    assert edge["event"]["type"] in ("page", "track", "group", "identify", "alias", "screen", "delete")


@pytest.mark.parametrize(("words", "floor", "code"), [((), "30", 0), (("-n", "2"), "100", 1)], ids=["alone", "xdist"])
def test_pytest_shows_the_same(gauge: Path, words: tuple[str, ...], floor: str, code: int) -> None:
    """`--turnout-min-coverage` fails a run whose cases pin too little, also where workers run the cases."""
    write(gauge, "order", ORDER)
    write(gauge, "page", PAGE, pages=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *words]
    done = subprocess.run(
        [*command, "--turnout-min-coverage", floor, "cases"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "100"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert f"{covered(gauge).percent:g} % is covered" in done.stdout
    assert "2 passed" in done.stdout

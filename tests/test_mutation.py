"""Mutants: a mapping that is made wrong in one place after the other, and the cases that notice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from turnout.casecoverage import coverage
from turnout.checking import find
from turnout.cli import main
from turnout.errors import ConfigError
from turnout.mutation import Score, mutate

ROOT = Path(__file__).parent
Run = Callable[..., Result]

ORDER = {
    "type": "track",
    "messageId": "m-1",
    "userId": "u-1",
    "event": "Order Completed",
    "timestamp": "2026-01-02T03:04:05Z",
    "properties": {"depth": 12, "unit": "fathom"},
}
PAGE = {
    "type": "page",
    "messageId": "m-3",
    "userId": "u-3",
    "name": "Harbour",
    "timestamp": "2026-01-02T03:04:07Z",
    "context": {"locale": "nb-NO"},
}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "order": (ORDER, {}),
    "visitor": ({**ORDER, "messageId": "m-2", "userId": None, "anonymousId": "a-2", "properties": {}}, {}),
    "track": ({**ORDER, "messageId": "m-4", "event": "Depth Sounded"}, {}),
    "page": (PAGE, {"pages": True}),
    "page_off": ({**PAGE, "messageId": "m-5"}, {}),
}


def write(folder: Path, *names: str) -> None:
    """Write cases of the gauge with their snapshots, by default all."""
    for name in names or CASES:
        event, settings = CASES[name]
        write_case(folder, name, event, settings)


def write_case(folder: Path, name: str, event: Any, settings: Any) -> None:
    case = {"settings": {"token": f"token-of-{name}", **settings}, "event": event}
    (folder / f"{name}.json").write_text(json.dumps(case), encoding="utf-8")
    done = CliRunner().invoke(main, ["check", "--update", "-q", str(folder / f"{name}.json")])
    assert done.exit_code == 0, done.output


def score(folder: Path, **how: Any) -> Score:
    return mutate(find([folder]), **how)


def ids(found: Score) -> list[str]:
    return [one.mutant.id for one in found.survivors]


def test_every_kind_of_mutant_is_made_and_noticed(gauge: Path) -> None:
    """A rule left out, conditions ignored, fields swapped, left out or constant, fallbacks, keys and endpoints."""
    write(gauge)
    found = score(gauge)
    assert ids(found) == []
    assert found.percent == 100
    made = {kind for kind, (killed, of) in found.by_kind.items() if of}
    assert made == {"rule", "when", "event", "swap", "field", "fallback", "constant", "key", "endpoint"}
    assert sum(of for _, of in found.by_kind.values()) == found.killed


@pytest.mark.parametrize(
    ("left", "survivors"),
    [
        ("visitor", ["gauge ordered@server fallback /by /anonymousId"]),
        ("track", ["gauge ordered event"]),
        ("page_off", ["gauge seen when"]),
    ],
)
def test_what_only_one_case_notices_survives_without_it(gauge: Path, left: str, survivors: list[str]) -> None:
    """Each with words for what is wrong and for what would notice."""
    write(gauge, *(name for name in CASES if name != left))
    found = score(gauge)
    assert [one for one in ids(found) if one in survivors] == survivors
    assert 0 < found.percent < 100
    for one in found.survivors:
        assert one.mutant.text
        assert one.advice.startswith(("a case", "a track call"))


def test_a_fallback_in_the_middle_of_a_chain_can_be_lost(gauge: Path) -> None:
    """Of three places the second is taken when only the first is missing: a case without it notices nothing."""
    folder = gauge.parent / "buoy"
    folder.mkdir()
    lost = "buoy sighted@server fallback /by /context/traits/email"
    write_case(folder, "visitor", {**PAGE, "userId": None, "anonymousId": "a-6"}, {})
    assert lost in ids(score(folder))
    mailed = {**PAGE, "userId": None, "anonymousId": "a-7", "context": {"traits": {"email": "crew@buoy.example"}}}
    write_case(folder, "mailed", mailed, {})
    assert lost not in ids(score(folder))


def test_a_mutant_that_can_not_be_sent_is_noticed(gauge: Path) -> None:
    """Null, or an object, where the URL needs a text: there is no such request, and no traceback."""
    folder = gauge.parent / "pier"
    folder.mkdir()
    write_case(folder, "visitor", {**PAGE, "userId": None, "anonymousId": "a-8", "category": "Lee", "context": {}}, {})
    found = score(folder)
    assert found.killed
    assert [one for one in ids(found) if "/ship" in one] == []


CART = {
    "type": "track",
    "messageId": "m-8",
    "userId": "u-8",
    "event": "cart_lines",
    "timestamp": "2026-01-02T03:04:08Z",
    "properties": {"lines": 7, "crates": 7, "quay": "north quay", "harbour": "old harbour"},
}
HIRED = {"type": "identify", "messageId": "m-9", "userId": "u-9", "traits": {"berth": "9 b", "watch": "9 b"}}
BOARDED = {
    "type": "screen",
    "messageId": "m-10",
    "userId": "u-10",
    "name": "Car deck",
    "properties": {"ramp": "port", "side": "port"},
}


@pytest.fixture
def ferry(gauge: Path) -> Path:
    """The folder of cases of a destination whose rules no specimen of the spec runs, with a case of each rule."""
    folder = gauge.parent / "ferry"
    folder.mkdir()
    write_case(folder, "cart", CART, {})
    write_case(folder, "hired", HIRED, {})
    write_case(folder, "plain", {**BOARDED, "name": "Saloon"}, {"decks": ["Sun deck"]})
    write_case(folder, "boarded", BOARDED, {"decks": ["Car deck"]})
    return folder


HOLES = [
    "ferry loaded@server swap /crates /lines",
    "ferry loaded@server field /language",
    "ferry loaded@server fallback /by /anonymousId",
    "ferry loaded@server fallback /quay /properties/harbour",
    "ferry hired@server swap /berth /watch",
    "ferry boarded@server swap /ramp /side",
]


def test_holes_in_rules_that_the_spec_has_no_event_for_are_named(ferry: Path) -> None:
    """A name of one's own, a trait that only cases have, a name from the settings of one case: survivors name each."""
    assert set(HOLES) <= set(ids(score(ferry)))
    assert score(ferry, jobs=2).to_dict() == score(ferry).to_dict()
    (shown,) = coverage(find([ferry])).destinations
    assert shown.unseen == ()
    missing = {
        (one.link.target.rule, one.link.source.name, one.link.target.path) for one in shown.edges if not one.used
    }
    assert {
        ("loaded", "/anonymousId", "/by"),
        ("loaded", "/context/locale", "/language"),
        ("loaded", "/properties/harbour", "/quay"),
    } <= missing


def test_the_events_that_survivors_show_mend_such_rules_too(ferry: Path) -> None:
    """With a case of each, and values that are not alike, nothing survives, and every edge is pinned."""
    cart = {**CART, "properties": {**CART["properties"], "crates": 8}}
    write_case(ferry, "cart", cart, {})
    write_case(ferry, "hired", {**HIRED, "traits": {"berth": "9 b", "watch": "dog"}}, {})
    write_case(ferry, "boarded", {**BOARDED, "properties": {"ramp": "bow", "side": "port"}}, {"decks": ["Car deck"]})
    for number, one in enumerate(score(ferry).survivors):
        told = one.to_dict()
        write_case(ferry, f"told_{number}", told["event"], told["settings"])
    assert ids(score(ferry)) == []


def test_a_large_suite_of_such_a_rule_adds_only_a_few_events(ferry: Path) -> None:
    """Those that differ most are taken: one field that a single case has is among them."""
    for number in range(40):
        write_case(ferry, f"cart_{number}", {**CART, "messageId": f"m-{100 + number}"}, {})
    write_case(ferry, "odd", {**CART, "messageId": "m-99", "context": {"locale": "nn-NO"}}, {})
    (shown,) = coverage(find([ferry])).destinations
    assert ("/context/locale", "/language") in [
        (one.link.source.name, one.link.target.path) for one in shown.edges if one.used
    ]
    assert len({one.specimen for one in shown.edges if one.link.target.rule == "loaded"}) <= 5


def test_a_survivor_shows_an_event_that_would_notice(gauge: Path) -> None:
    """A case of the event and the settings that each tells leaves no survivor."""
    write(gauge, "page")
    found = score(gauge)
    assert len(found.survivors) > 5
    for number, one in enumerate(found.survivors):
        told = one.to_dict()
        write_case(gauge, f"told_{number}", told["event"], told["settings"])
    assert ids(score(gauge)) == []


def test_several_processes_find_the_same(gauge: Path) -> None:
    """Whatever their number."""
    write(gauge, "order", "page")
    assert score(gauge, jobs=2).to_dict() == score(gauge).to_dict()


# Survivors that are known


KNOWN = "gauge ordered@server fallback /by /anonymousId"


def test_an_explained_survivor_does_not_count(gauge: Path) -> None:
    """`survivors.json` beside the cases is read by itself, and another list when it is given."""
    write(gauge, "order", "track", "page", "page_off")
    before = score(gauge)
    (gauge / "survivors.json").write_text(json.dumps({KNOWN: "Visitors are counted elsewhere."}), encoding="utf-8")
    found = score(gauge)
    assert [one.why for one in found.survivors if one.mutant.id == KNOWN] == ["Visitors are counted elsewhere."]
    assert KNOWN not in [one.mutant.id for one in found.unexplained]
    assert found.percent > before.percent
    assert score(gauge, explained={}).percent == before.percent


def test_an_explanation_that_is_not_needed_is_stale(gauge: Path) -> None:
    """That of a mutant that a case notices, and that of no mutant; of a part of a suite only the first."""
    write(gauge)
    told = {KNOWN: "Not any more.", "gauge sen@server rule": "A word that is wrong.", "gauge unheard of": "A guess."}
    noticed, wrong, guess = score(gauge, explained=told).stale
    assert noticed.id == KNOWN
    assert re.fullmatch(r"\S+cases/gauge/\w+\.json notices it\. Take it out of the list\.", noticed.why)
    assert (wrong.id, wrong.why) == (
        "gauge sen@server rule",
        "There is no such mutant. Did you mean 'gauge seen@server rule'?",
    )
    assert (guess.id, guess.why) == ("gauge unheard of", "There is no such mutant. Take it out of the list.")
    assert [one.id for one in score(gauge, explained=told, whole=False).stale] == [KNOWN]


def test_of_two_ids_that_are_near_the_survivor_is_proposed(gauge: Path) -> None:
    """It is what lacks an explanation; a mutant that is explained is not proposed."""
    write(gauge, *(name for name in CASES if name != "visitor"))
    slip = "gauge ordred@server fallback /by /anonymousld"
    (stale,) = score(gauge, explained={slip: "Visitors are counted elsewhere."}).stale
    assert stale.why == f"There is no such mutant. Did you mean '{KNOWN}'?"
    (stale,) = score(gauge, explained={slip: "Once.", KNOWN: "Twice."}).stale
    assert (stale.id, KNOWN in stale.why) == (slip, False)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"gauge seen when": ""}', "needs a sentence"),
        ('{"gauge seen when": 5}', "needs a sentence"),
        ("[]", "object"),
        ('{"a": "one", "a": "two"}', "twice"),
        ("{", "survivors.json"),
    ],
)
def test_a_list_that_is_wrong_is_an_error(gauge: Path, text: str, why: str) -> None:
    """It says what is wrong with which file."""
    write(gauge, "order")
    (gauge / "survivors.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=why) as caught:
        score(gauge)
    assert "survivors.json" in str(caught.value)


# As a user asks


@pytest.fixture
def run(gauge: Path) -> Run:
    """Runs `turnout check` in this process."""

    def call(*args: str) -> Result:
        result = CliRunner().invoke(main, ["check", "-j", "1", *args], env={"COLUMNS": "80", "NO_COLOR": "1"})
        assert "Traceback" not in result.output
        return result

    return call


def test_the_screen_lists_survivors(run: Run, gauge: Path) -> None:
    """What is wrong, what would notice and what shows it; without a floor the run is good."""
    write(gauge, *(name for name in CASES if name != "visitor"))
    done = run("--quiet", "--mutate")
    assert done.exit_code == 0
    told = " ".join(done.stdout.split())
    assert (
        f"survived {KNOWN} ordered doesn't take /by from /anonymousId. What would notice: a case in which /by" in told
    )


def test_a_floor_and_a_stale_explanation_fail_the_run(run: Run, gauge: Path) -> None:
    """Exit 1, with the reason last."""
    write(gauge, "order", "page")
    low = run("--quiet", "--min-score", "100")
    assert low.exit_code == 1
    assert "of the mutants are noticed; at least 100 % is asked for." in low.stdout
    write(gauge)
    assert run("--quiet", "--min-score", "100").exit_code == 0
    Path("known.json").write_text(json.dumps({KNOWN: "Not any more."}), encoding="utf-8")
    stale = run("--quiet", "--mutate", "--explained", "known.json")
    assert stale.exit_code == 1
    assert f"stale    {KNOWN}" in stale.stdout
    assert "It is explained, but it doesn't survive. cases/gauge/" in stale.stdout


def test_no_mutant_is_tried_while_a_case_is_red(run: Run, gauge: Path) -> None:
    """That is said; too little coverage, on the other hand, keeps nobody from seeing survivors."""
    write(gauge, "order", "page")
    both = run("--quiet", "--min-coverage", "100", "--min-score", "10")
    assert both.exit_code == 1
    assert "of the mutants are noticed." in both.stdout
    write_text = json.dumps({"settings": {"token": "token-22"}, "event": PAGE})
    (gauge / "page.json").write_text(write_text, encoding="utf-8")
    red = run("--quiet", "--mutate")
    assert red.exit_code == 1
    assert "No mutant is tried as long as a case is not good: mend those above first." in red.stdout


def test_a_list_that_is_not_there_is_a_usage_error(run: Run, gauge: Path) -> None:
    """Exit 2, before anything is checked."""
    write(gauge, "order")
    done = run("--mutate", "--explained", "nowhere.json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "nowhere.json" in done.stderr


def test_json_has_the_score_in_one_line(run: Run, gauge: Path) -> None:
    """After the lines of the cases."""
    write(gauge, "order", "page")
    *_, last = run("--json", "--mutate").stdout.splitlines()
    assert json.loads(last)["mutation"] == score(gauge).to_dict()


# The destinations that come with turnout


@pytest.mark.parametrize("name", ["segment", "rudderstack", "split"])
def test_the_cases_of_a_bundled_destination_pin_everything(name: str) -> None:
    """Coverage and mutation score are 100 %, with nothing explained away. (Amplitude's: `make mutate`.)"""
    suite = find([ROOT / "cases" / name])
    found = coverage(suite)
    assert [one.link for one in found.destinations[0].edges if not one.used] == []
    assert found.percent == 100
    noticed = mutate(suite)
    assert ids(noticed) == []
    assert (noticed.percent, noticed.stale) == (100, ())

"""A mapping that hangs: every command says which rule of which plugin it is, and goes on with what it can."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from turnout import explain
from turnout._hang import patrol
from turnout.cli import main

PACKAGE = '''
import time

from turnout import ITEMS, Batch, Destination, Endpoint, Settings, json_body, rule
from turnout.settings import flag, text


class Wells(Settings):
    token = text("The token.", required=True, secret=True)
    deep = flag("Dig deeper.")


class Well(Destination):
    """A third party's destination, whose rule waits for a price that is a multiple of 5."""

    name = "Well"
    settings = Wells
    events = Endpoint("POST", "https://well.example/in", batch=Batch(items=10), body=json_body({"all": ITEMS}))

    def prepare(self, event, carried):
        """Wait for a page whose name begins with an a."""
        if event.type == "page" and not (event.name or "a").lower().startswith("a"):
            time.sleep(600)
        return event

    @rule("track")
    def tracked(self, event):
        """An event."""
        given = event.properties
        numbers = [parts(given.get(name, 0)) for name in ("price", "depth", "width")]
        return self.events.item({"name": event.event, "parts": numbers})

    @rule("page")
    def seen(self, event):
        """A page."""
        return self.events.item({"name": event.name})


def parts(price):
    while price % 5:
        time.sleep(600)
    return price // 5
'''
WHOLE = "rule 'tracked' of destination 'well' (turnout_well of turnout-well 0.9.1) did not come back within"
PLACE = "it was at turnout_well, line 41, in parts."


@pytest.fixture(autouse=True)
def well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which the destination `well` is installed."""
    about = tmp_path / "site" / "turnout_well-0.9.1.dist-info"
    about.mkdir(parents=True)
    (tmp_path / "site" / "turnout_well.py").write_text(PACKAGE, encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: turnout-well\nVersion: 0.9.1\n", encoding="utf-8")
    (about / "entry_points.txt").write_text("[turnout.destinations]\nwell = turnout_well:Well\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "turnout_well", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    (tmp_path / "settings.json").write_text('{"token": "token-of-the-well"}', encoding="utf-8")
    return tmp_path


def sold(message_id: str, price: int) -> dict[str, Any]:
    return {
        "type": "track",
        "messageId": message_id,
        "userId": f"user-of-{message_id}",
        "event": f"Bucket {message_id}",
        "timestamp": "2026-01-02T03:04:05Z",
        "properties": {"price": price},
    }


def run(*args: str, given: Any = None) -> Result:
    lines = "" if given is None else "".join(json.dumps(one) + "\n" for one in given)
    return CliRunner().invoke(main, [*args], input=lines)


def test_plan_says_that_an_event_failed_and_goes_on() -> None:
    """Also with those behind it in a batch body; each has its own line, in the order of the input."""
    bad = {"type": "identify", "messageId": "m-4"}
    batch = {"batch": [sold("m-2", 15), sold("m-3", 12), bad, sold("m-5", 25)]}
    result = run("plan", "-d", "well", "--settings", "settings.json", given=[sold("m-1", 10), batch, sold("m-6", 30)])
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["message_id"], one["outcome"]) for one in lines] == [
        *(("m-1", "planned"), ("m-2", "planned"), ("m-3", "failed")),
        *(("m-4", "invalid"), ("m-5", "planned"), ("m-6", "planned")),
    ]
    reason = lines[2]["reason"]
    assert (reason["code"], lines[2]["requests"], result.exit_code) == ("plugin_too_slow", [], 1)
    assert reason["message"] == f"{WHOLE} 5 s: {PLACE}"
    assert lines[3]["reason"]["message"].startswith("line 2, event 3: ")


def test_explain_says_which_event_hangs_and_goes_on() -> None:
    """In `prepare()` too; the others are explained, and the exit code is that of turnout plan."""
    page = {"type": "page", "messageId": "m-8", "userId": "user-8", "name": "Barn"}
    screen = {"type": "screen", "messageId": "m-9", "userId": "user-9", "name": "Attic"}
    result = run("explain", "-d", "well", "--settings", "settings.json", given=[page, screen])
    assert (result.exit_code, result.stderr) == (1, "")
    assert "m-8 at well: failed [plugin_too_slow]" in result.stdout
    assert "prepare() of destination 'well' (turnout_well of turnout-well 0.9.1) did not come back" in result.stdout
    assert "m-9 at well: dropped" in result.stdout


def test_a_change_that_a_rule_does_not_come_back_from_is_told() -> None:
    """The event is explained all the same, and the value that makes it hang decides whether it is sent."""
    with patrol(0.2):
        found = explain("well", sold("m-1", 10), {"token": "token-of-the-well"})
    assert found.outcome == "planned"
    assert found.hanging[0] == f"Where /properties/price is 17, {WHOLE} 0.2 s: {PLACE}"
    assert "/properties/price" in {edge.source.name for edge in found.deciding}
    assert found.to_dict()["hanging"] == list(found.hanging)
    fields = {field.path: field for item in found.items for field in item.fields}
    assert [edge.source.name for edge in fields["/name"].edges] == ["/event"]


def test_of_many_changes_that_hang_it_is_given_up() -> None:
    """So explaining has an end: what the event becomes is told, and four of the changes."""
    event = sold("m-1", 20) | {"properties": {"price": 20, "depth": 35, "width": 50}}
    with patrol(0.1):
        found = explain("well", event, {"token": "token-of-the-well"})
    assert (found.outcome, found.items, len(found.hanging)) == ("planned", (), 4)
    assert {one.split()[1] for one in found.hanging} == {"/properties/price", "/properties/depth"}


def test_an_event_that_hangs_as_it_is_fails() -> None:
    """It is not tried in any other way."""
    with patrol(0.1):
        found = explain("well", sold("m-1", 12), {"token": "token-of-the-well"})
    assert (found.outcome, found.reason and found.reason.code, found.hanging) == ("failed", "plugin_too_slow", ())
    assert found.reason is not None
    assert found.reason.message == f"{WHOLE} 0.1 s: {PLACE}"


def test_check_says_which_case_hangs(well: Path) -> None:
    """The others are checked, and the exit code is 1."""
    cases = well / "cases" / "well"
    cases.mkdir(parents=True)
    for name, price in (("fits", 35), ("hangs", 42), ("last", 45)):
        told = {"settings": {"token": "token-of-the-well"}, "event": sold(f"m-{price}", price)}
        (cases / f"{name}.json").write_text(json.dumps(told), encoding="utf-8")
    result = run("check", "--update", "--json", "cases")
    lines = {Path(one["case"]).stem: one for one in map(json.loads, result.stdout.splitlines())}
    assert {name: one["status"] for name, one in lines.items()} == {
        "fits": "written",
        "hangs": "wrong",
        "last": "written",
    }
    assert (lines["hangs"]["message"], result.exit_code) == (f"{WHOLE} 5 s: {PLACE}", 1)


def test_a_command_without_lines_says_it_in_a_sentence(well: Path) -> None:
    """`turnout case add` ends with exit code 2, and names the event."""
    (well / "events.jsonl").write_text(json.dumps(sold("m-1", 12)), encoding="utf-8")
    result = run("case", "add", "events.jsonl", "-d", "well", "--settings", "settings.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"turnout: The event 'x-1': {WHOLE} 5 s: {PLACE}\n"

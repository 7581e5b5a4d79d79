"""`turnout explain`: what it shows at 80 columns, as JSON and with witnesses; exit codes; bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from turnout import explain
from turnout.cli import main

Run = Callable[..., Result]

SOLD = {
    "type": "track",
    "messageId": "message-1",
    "userId": "user-2",
    "anonymousId": "visitor-3",
    "event": "Lamp Sold",
    "timestamp": "2026-01-02T03:04:05Z",
    "context": {"device": {"id": "device-4"}, "timezone": "Europe/Oslo"},
    "properties": {"colour": "teal", "price": 12.5},
}
PAGE = {"type": "page", "messageId": "message-2", "userId": "user-2", "name": "Settings", "category": "Merchant"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widget: Path) -> Path:
    """A folder with settings, 80 columns wide; the plugin `widget` is installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "settings.json").write_text('{"api_key": "key-1234"}', encoding="utf-8")
    (tmp_path / "token.json").write_text('{"token": "tok-1234"}', encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(home: Path) -> Run:
    """Runs `turnout explain` in this process; its input are events, or bytes."""

    def call(*args: str, given: Any = b"", amplitude: bool = True) -> Result:
        data = given if isinstance(given, bytes) else b"".join(json.dumps(one).encode() + b"\n" for one in given)
        chosen = ("-d", "amplitude", "--settings", "settings.json") if amplitude else ()
        result = CliRunner().invoke(main, ["explain", *chosen, *args], input=data)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        return result

    return call


def test_a_table_shows_where_each_field_comes_from(run: Run) -> None:
    """Field, value and sources; then what decides, what is not read, and what the marks mean; within 80 columns."""
    result = run("--now", "2026-01-01T00:00:00Z", given=[SOLD])
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "message-1 at amplitude: planned"
    assert "events, rule tracked" in lines
    assert "/user_id user-2 /userId" in lines
    assert "/time 1767323045000 ~ /timestamp" in lines
    assert "/device_id device-4 /context/device/id" in lines
    assert "else /anonymousId" in lines
    assert "/library turnout always" in lines
    assert "/event_properties/price 12.5 /properties/price" in lines
    assert "(idempotency key) message-1 /messageId" in lines
    assert "/body/api_key *** setting api_key" in lines
    assert "Nothing reads: /context/timezone" in lines
    assert "Sent or not: ? /type, ? /event, ? /timestamp, ? /anonymousId or /userId" in lines
    assert lines[-2].startswith("No mark: the value itself. ~ made from it.")
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "key-1234" not in result.output


def test_a_dropped_event_has_its_reason_and_the_smallest_change(run: Run) -> None:
    """The setting that is off, and what would be sent with it on."""
    result = run("--now", "2026-01-01T00:00:00Z", given=[PAGE])
    told = " ".join(result.stdout.split())
    assert result.exit_code == 0
    assert "message-2 at amplitude: dropped [setting_off]" in told
    assert "It would be sent with setting track_named_pages = true (now false):" in told
    assert '"event_type":"Loaded Merchant Settings Page"' in told.replace(
        "Merchant Settings Page", "Merchant Settings Page"
    )
    assert "or with setting track_categorized_pages = true (now false), or setting track_all_pages" in told
    assert "No mark" not in told


def test_witnesses_are_shown_on_request(run: Run) -> None:
    """One line for each edge: what was changed, and what became of the field."""
    event = {**SOLD, "properties": {"colour": "teal"}}
    told = " ".join(run("--witness", given=[event]).stdout.split())
    assert '/userId: "user-2" -> "' in told
    assert "/anonymousId, given /context/device/id deleted: " in told
    assert " makes /event_properties/colour " in told
    assert 'setting api_key: "***" -> "***" makes /body/api_key' in told
    assert "makes /event_properties/colour" not in run(given=[event]).stdout


def test_json_is_one_line_for_each_event(run: Run) -> None:
    """The same as in Python, with witnesses only on request."""
    result = run("--json", "--now", "2026-01-01T00:00:00Z", given=[SOLD, PAGE])
    first, second = map(json.loads, result.stdout.splitlines())
    assert first == explain("amplitude", SOLD, {"api_key": "key-1234"}).to_dict()
    assert (second["message_id"], second["outcome"]) == ("message-2", "dropped")
    assert '"output_before"' not in result.stdout
    assert '"output_before"' in run("--json", "--witness", given=[SOLD]).stdout


@pytest.mark.parametrize(
    ("event", "outcome", "code"),
    [
        ({**SOLD, "event": "Explode"}, "failed [plugin_raised]", 1),
        ({**SOLD, "event": None}, "invalid [event_not_defined]", 1),
        ({**SOLD, "integrations": {"All": False}}, "dropped [integration_disabled]", 0),
        (SOLD, "planned", 0),
    ],
)
def test_exit_codes_are_those_of_plan(run: Run, event: dict[str, Any], outcome: str, code: int) -> None:
    """1 when something was invalid or failed; a plugin's failure is one sentence, told once."""
    result = run("-d", "widget", "--settings", "token.json", given=[event, SOLD], amplitude=False)
    assert result.exit_code == code
    assert f"message-1 at widget: {outcome}" in result.stdout
    assert "message-1 at widget: planned" in result.stdout
    assert "tok-1234" not in result.output
    assert result.stderr.count("raised") <= 1


def test_input_that_is_no_event_has_its_line(run: Run) -> None:
    """And the others go on."""
    result = run(given=json.dumps(SOLD).encode() + b"\n{nonsense\n\n" + json.dumps(PAGE).encode())
    assert result.exit_code == 1
    assert "An event at amplitude: invalid [bad_request]" in result.stdout
    assert "line 2: The input is not JSON" in result.stdout
    assert "message-2 at amplitude: dropped" in result.stdout


def test_a_batch_body_is_explained_event_by_event(run: Run) -> None:
    """What is wrong with one of them has its line and its number."""
    body = {"batch": [SOLD, {**SOLD, "messageId": "message-5", "userId": 1.5}], "context": {"locale": "nb-NO"}}
    result = run(given=[body])
    assert result.exit_code == 1
    assert "/language                    nb-NO" in result.stdout
    assert "message-5 at amplitude: invalid [id_not_string]" in result.stdout
    assert "line 1, event 2: `userId` must be a string" in result.stdout
    assert "It would be sent with /userId" in " ".join(result.stdout.split())


def test_a_configuration_gives_the_destination_its_settings(run: Run, home: Path) -> None:
    """Under the id that it has there; the environment's secret doesn't show."""
    (home / "turnout.toml").write_text(
        '[destinations.shop]\nplugin = "amplitude"\napi_key = "${SHOP_KEY}"\ntrack_named_pages = true\n',
        encoding="utf-8",
    )
    result = CliRunner(env={"SHOP_KEY": "shop-secret"}).invoke(
        main, ["explain", "-d", "shop", "--config", "turnout.toml"], input=json.dumps(PAGE)
    )
    assert result.exit_code == 0
    assert "message-2 at shop: planned" in result.stdout
    assert "shop-secret" not in result.output


def test_sessions_are_kept_from_line_to_line(run: Run, home: Path) -> None:
    """As with plan: the second page of a session has no attribution."""
    (home / "settings.json").write_text('{"api_key": "key-1234", "connection_mode": "device"}', encoding="utf-8")
    page = {
        **PAGE,
        "anonymousId": "visitor-3",
        "timestamp": "2026-01-02T03:04:05Z",
        "context": {"library": {"name": "analytics.js"}, "page": {"url": "https://a.example/?utm_source=mail"}},
    }
    first, second = map(json.loads, run("--json", given=[page, {**page, "messageId": "message-6"}]).stdout.splitlines())
    assert [item["rule"] for item in first["items"]] == ["utm_captured"]
    assert (second["outcome"], second["items"]) == ("dropped", [])
    assert {"inputs": "new_session", "kind": "condition"} in second["from"]


def test_a_setting_that_moves_many_fields_is_told_once(run: Run, home: Path) -> None:
    """Below the table of the item, not at each of its fields."""
    traits = {f"trait_{number}": f"value {number}" for number in range(9)}
    event = {"type": "identify", "messageId": "message-8", "userId": "user-9", "traits": traits}
    lines = [" ".join(line.split()) for line in run(given=[event]).stdout.splitlines()]
    assert "/user_properties/trait_5 value 5 /traits/trait_5" in lines
    (many,) = (
        number for number, line in enumerate(lines) if line.startswith("many of these fields: setting traits_to_")
    )
    assert "traits_to_set_once" in " ".join(lines[many:])
    assert "traits_to_set_once" not in " ".join(lines[:many])


COPIER = '''
from turnout import ITEMS, Destination, Endpoint, Settings, json_body, rule

class Copier(Destination):
    """As many copies as an event asks for."""

    name = "Copier"
    settings = Settings
    copies = Endpoint("POST", "https://copier.example/copies", body=json_body(ITEMS), keyed=False)

    @rule("track")
    def copied(self, event):
        """Copies."""
        return [self.copies.item({"number": one}) for one in range(event.properties["copies"])]
'''


def test_items_that_are_not_made_for_one_reason_are_told_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that makes dozens of items is one line, as it says the same of each."""
    about = tmp_path / "turnout_copier-1.0.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: turnout-copier\nVersion: 1.0.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text("[turnout.destinations]\ncopier = copier:Copier\n", encoding="utf-8")
    (tmp_path / "copier.py").write_text(COPIER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    shown = run("-d", "copier", given=[{**SOLD, "properties": {"copies": 1}}], amplitude=False).stdout
    assert shown.count("Not made: an item of the rule copied: ? /properties/copies\n") == 1
    assert shown.count("Not made") == 1


def test_backslashes_and_brackets_are_shown_as_they_are(run: Run) -> None:
    """Nothing of an event is taken for markup."""
    event = {**SOLD, "properties": {"path\\": "C:\\", "[b]": "[/b]\\[c]"}}
    told = " ".join(run(given=[event]).stdout.split())
    assert "/event_properties/path\\ C:\\ /properties/path\\ /event_properties/[b] [/b]\\[c] /properties/[b]" in told


def test_a_terminal_is_not_moved_by_an_event(run: Run) -> None:
    """Control characters and markup of keys and values are shown, not obeyed."""
    event = {**SOLD, "properties": {"a\x1b[2Jb[bold]": "\x1b]0;title\x07[red]x", "[/]": 1}}
    result = run("--witness", given=[event])
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "?[2Jb[bold]" in "".join(result.stdout.split())
    assert "/event_properties/[~1]" in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["explain"], "turnout: Missing option '-d' / '--destination'."),
        (
            ["explain", "-d", "amplitud"],
            "turnout: There is no destination plugin 'amplitud'. Did you mean 'amplitude'?",
        ),
        (["explain", "-d", "amplitude"], "turnout: destination 'amplitude': Setting 'api_key' is required"),
        (["explain", "-d", "amplitude", "--settings", "none.json"], "turnout: none.json: there is no such file."),
        (
            ["explain", "-d", "amplitude", "--settings", "settings.json", "none.jsonl"],
            "turnout: none.jsonl: there is no such file.",
        ),
        (
            ["explain", "-d", "amplitude", "--settings", "settings.json", "--now", "soon"],
            "turnout: --now: 'soon' is not a time.",
        ),
        (["explan"], "turnout: No such command 'explan'. Did you mean 'explain'?"),
    ],
)
def test_a_mistake_is_one_sentence(home: Path, args: list[str], message: str) -> None:
    """On stderr, with exit code 2."""
    result = CliRunner().invoke(main, args, input="")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(message)


def test_nothing_to_explain_is_no_mistake(run: Run) -> None:
    """An empty input shows nothing."""
    result = run(given=b"")
    assert (result.exit_code, result.output) == (0, "")


COUPLE = '''
from turnout import ITEMS, Batch, Destination, Endpoint, Settings, json_body, rule
from turnout.settings import flag


class Flags(Settings):
    audit = flag("Tells who it was.", default=True)
    verbose = flag("Tells everything.", default=True)
    debug = flag("Tells of its inside.")
    deep = flag("Tells more of it.")
    always = flag("Sends a copy in any case.", default=True)


class Couple(Destination):
    """A third party's destination, of which nothing counts alone."""

    name = "Couple"
    settings = Flags
    events = Endpoint("POST", "https://couple.example/in", batch=Batch(items=10), body=json_body({"all": ITEMS}))

    @rule("track")
    def tracked(self, event):
        """An event."""
        config = self.config
        made = {"name": event.event}
        if config.audit or config.verbose:
            made["by"] = "somebody"
        if config.debug and config.deep:
            made["inside"] = "all of it"
        yield self.events.item(made)

    @rule("track")
    def copied(self, event):
        """A copy of it."""
        if self.config.always or event.properties.get("copy"):
            yield self.events.item({"copy": "of it"})
'''


def test_what_only_counts_together_stands_together(run: Run, widget: Path) -> None:
    """With `or` where one of them is enough, with `and` where both would have to change."""
    (widget / "turnout_widget.py").write_text(COUPLE + "\n\nWidget = Couple\n", encoding="utf-8")
    event = SOLD | {"properties": {"copy": True}}
    result = run("-d", "widget", given=[event], amplitude=False)
    assert (result.exit_code, result.stderr) == (0, "")
    told = " ".join(result.stdout.split())
    assert "/by somebody ? setting audit or setting verbose" in told
    assert "not there: /inside: ? setting debug and setting deep" in told
    assert "made or not: ? /properties/copy or setting always" in told
    shown = run("-d", "widget", "--witness", given=[event], amplitude=False).stdout
    assert "setting audit, given setting verbose = false (now true): true -> false makes" in " ".join(shown.split())
    found = json.loads(run("-d", "widget", "--json", given=[event], amplitude=False).stdout)
    (by,) = (field for field in found["items"][0]["fields"] if field["path"] == "/by")
    assert [(one["setting"], one["given"][0]["setting"]) for one in by["from"]] == [
        ("audit", "verbose"),
        ("verbose", "audit"),
    ]

"""The command line: contract 5.1, exit codes, and one sentence for each mistake."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from turnout.cli import main
from turnout.testing import Answer, Call, Simulator

Make = Callable[..., dict[str, Any]]
Run = Callable[..., Result]


class WidgetVendor(Simulator):
    """Takes widgets; those whose name is `Bad` it refuses."""

    def routes(self) -> dict[str, Any]:
        return {"POST /in": self.take}

    def take(self, call: Call) -> Answer:
        bad = any(widget["name"] == "Bad" for widget in call.json()["all"])
        return Answer(400, {"error": f"bad widget, {call.json()['t']}"}) if bad else Answer(200, {"ok": True})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widget: Path) -> Path:
    """An empty working folder; the plugin `widget` is installed."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "settings.json").write_text('{"token": "tok-1234"}', encoding="utf-8")
    return folder


@pytest.fixture
def run(home: Path) -> Run:
    """Runs the command line in this process."""

    def call(*args: str, given: bytes | str | None = None) -> Result:
        result = CliRunner().invoke(main, list(args), input=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        return result

    return call


def lines(*events: Any) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def told(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


TURNOUT = (sys.executable, "-c", "from turnout.cli import main; main(prog_name='turnout')")
PLAN = ("plan", "-d", "widget", "--settings", "settings.json")


# plan


def test_plan_writes_the_line_of_the_contract(run: Run, call: Make) -> None:
    """Contract 5.1, whole: one JSON line, its keys in that order, the secret masked."""
    result = run(*PLAN, given=lines(call("m-1", size=2)))
    assert result.stdout == (
        '{"message_id":"m-1","destination":"widget","outcome":"planned","reason":null,"requests":['
        '{"endpoint":"events","method":"POST","url":"https://widget.example/in",'
        '"headers":{"content-type":"application/json"},"rules":["tracked"],'
        '"body":{"t":"***","all":[{"name":"Sold","id":"m-1","size":2}]}}]}\n'
    )
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize("form", ["lines", "array", "file", "dash"])
def test_plan_reads_lines_or_an_array_from_a_file_or_standard_input(
    run: Run, home: Path, call: Make, form: str
) -> None:
    """One line for each event, in order."""
    events = [call(f"m-{number}") for number in range(3)]
    data = json.dumps(events, indent=2).encode() if form == "array" else lines(*events)
    (home / "in.jsonl").write_bytes(data)
    args = {"file": ["in.jsonl"], "dash": ["-"]}.get(form, [])
    result = run(*PLAN, *args, given=None if form == "file" else data)
    assert [plan["message_id"] for plan in told(result)] == ["m-0", "m-1", "m-2"]


def test_plan_of_nothing_is_nothing(run: Run) -> None:
    """An empty input is no mistake."""
    result = run(*PLAN, given=b"")
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize(
    ("event", "outcome", "code"),
    [
        ({"event": "Sold"}, "planned", 0),
        ({"type": "page"}, "dropped", 0),
        ({"integrations": {"All": False}}, "dropped", 0),
        ({"type": "trak"}, "invalid", 1),
        ({"event": "Explode"}, "failed", 1),
    ],
)
def test_plan_exits_1_when_something_was_invalid_or_failed(
    run: Run, call: Make, event: dict[str, Any], outcome: str, code: int
) -> None:
    """And 0 when everything was planned or dropped; the other events go on."""
    result = run(*PLAN, given=lines(call("m-1"), {**call("m-2"), **event}, call("m-3")))
    assert [plan["outcome"] for plan in told(result)] == ["planned", outcome, "planned"]
    assert result.exit_code == code
    if outcome != "planned":
        assert told(result)[1]["requests"] == []


def test_plan_fixes_the_clock_and_makes_ids_of_the_line(run: Run) -> None:
    """`--now` is the time of an event that has none; a missing messageId is a hash of its line."""
    event = {"type": "track", "event": "Sold", "userId": "u"}
    settings = Path("amplitude.json")
    settings.write_text('{"apiKey": "k"}', encoding="utf-8")
    args = ("plan", "-d", "amplitude", "--settings", "amplitude.json", "--now", "2026-01-02T03:04:05Z")
    first, second = (run(*args, given=lines(event, event)) for _ in range(2))
    assert first.stdout == second.stdout
    plan = told(first)[0]
    assert plan["message_id"] == hashlib.sha256(json.dumps(event).encode()).hexdigest()[:32]
    assert plan["requests"][0]["body"]["events"][0]["time"] == 1767323045000


def test_plan_shows_secrets_only_when_asked(run: Run, call: Make) -> None:
    """`--show-secrets` shows what would be sent."""
    assert "tok-1234" not in run(*PLAN, given=lines(call("m-1"))).output
    assert '"t":"tok-1234"' in run(*PLAN, "--show-secrets", given=lines(call("m-1"))).stdout


def test_a_refusal_names_its_line(run: Run, call: Make) -> None:
    """Blank lines count, and an event of a batch body has its number."""
    batch = {"batch": [call("m-1"), {**call("m-2"), "type": "trak"}]}
    result = run(*PLAN, given=b"\n" + lines(call("m-0")) + b"\n" + lines(batch) + b"{nonsense\n")
    messages = {plan["message_id"]: plan["reason"] and plan["reason"]["message"] for plan in told(result)}
    assert messages["m-0"] is None
    assert messages["m-2"].startswith("line 4, event 2: 'trak' is no call type. Did you mean 'track'?")
    assert messages[None].startswith("line 5: The input is not JSON")


def test_plan_streams(home: Path, widget: Path, call: Make) -> None:
    """A line that comes in is a line that goes out, before the input has ended."""
    command = [*TURNOUT, *PLAN]
    environ = {**os.environ, "PYTHONPATH": str(widget)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdin
        assert process.stdout
        for number in range(3):
            process.stdin.write(lines(call(f"m-{number}")))
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["message_id"] == f"m-{number}"
        process.stdin.close()
        assert process.wait() == 0


def test_a_reader_that_goes_away_is_no_traceback(home: Path, widget: Path, call: Make) -> None:
    """`turnout plan ... | head -1`."""
    (home / "in.jsonl").write_bytes(lines(*(call(f"m-{number}") for number in range(5000))))
    command = [*TURNOUT, *PLAN, "in.jsonl"]
    environ = {**os.environ, "PYTHONPATH": str(widget)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ) as process:
        assert process.stdout
        assert process.stderr
        assert json.loads(process.stdout.readline())["message_id"] == "m-0"
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait()


PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(home: Path, widget: Path, count: int, array: bool) -> int:
    """Return the memory that planning `count` events takes at most, in KB."""
    event = json.dumps({"type": "track", "event": "Sold", "userId": "u", "properties": {"filler": "x" * 400}})
    with (home / "many.json").open("w", encoding="utf-8") as file:
        file.write("[" if array else "")
        for number in range(count):
            file.write((",\n" if array else "\n") * bool(number) + event)
        file.write("]" if array else "\n")
    command = [sys.executable, "-c", PEAK, *TURNOUT, *PLAN, "many.json"]
    environ = {**os.environ, "PYTHONPATH": str(widget)}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=True)
    code, size = done.stdout.split()
    assert code == "0", done.stderr
    return int(size)


@pytest.mark.parametrize("array", [False, True])
def test_plan_holds_its_memory_flat(home: Path, widget: Path, array: bool) -> None:
    """Thirty times the events (27 MB of them) take no 8 MB more."""
    small = peak(home, widget, 2_000, array)
    assert peak(home, widget, 60_000, array) < small + 8_000
    assert small < 200_000


# mistakes


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["plan"], "Missing option '-d'"),
        (["plan", "-d", "widgte"], "There is no destination plugin 'widgte'. Did you mean 'widget'?"),
        (["plan", "-d", "widget"], "destination 'widget': Setting 'token' is required"),
        (["plan", "-d", "widget", "--settings", "nothing.json"], "nothing.json: there is no such file."),
        (["plan", "-d", "widget", "--settings", "."], ".: can't be read: Is a directory."),
        ([*PLAN, "nothing.jsonl"], "nothing.jsonl: there is no such file."),
        ([*PLAN, "."], ".: can't be read: Is a directory."),
        ([*PLAN, "--now", "tomorrow"], "--now: 'tomorrow' is not a time. Write it as 2026-01-31T12:00:00Z."),
        ([*PLAN, "--nwo", "x"], "No such option"),
        (["plan", "-d", "widget", "--config", "nothing.toml"], "nothing.toml: there is no such file."),
        (
            ["plan", "-d", "wigdet", "--config", "turnout.toml"],
            "there is no destination 'wigdet'. Did you mean 'one'?",
        ),
        (
            ["plan", "-d", "tow", "--config", "turnout.toml"],
            "there is no destination 'tow'. Did you mean 'two'?",
        ),
        (["plan", "-d", "two", "--config", "turnout.toml"], "Setting 'token' is required"),
        (["plan", "-d", "one", "--config", "broken.toml"], "broken.toml: is not valid TOML"),
        (["send", "in.jsonl"], "Name a configuration with --config, or a plugin with -d."),
        (["send", "-d", "widget", "--settings", "settings.json", "nothing.jsonl"], "there is no such file"),
        (["validate", "nothing.jsonl"], "nothing.jsonl: there is no such file."),
        (
            ["plan", "-d", "widget", "--settings", "nan.json"],
            "nan.json: is not JSON: it has no NaN. Write a number, or",
        ),
        (["plan", "-d", "widget", "--settings", "huge.json"], "huge.json: /size: A number is out of range"),
        (["log", "status", "--log", "x" * 300], "x: can't be used: File name too long. Check the path, and who may"),
        (["serve"], "turnout.toml: there is no such file. Write it, or name another one;"),
        (["validate", "one", "two"], "unexpected extra argument (two). Try '"),
        (["simulate", "amplitud"], "There is no simulator plugin 'amplitud'. Did you mean 'amplitude'?"),
        (["simulate", "amplitude", "--port", "99999"], "99999"),
        (["simluate"], "No such command 'simluate'"),
        (["simluate"], "simulate"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_2(run: Run, home: Path, args: list[str], message: str) -> None:
    """On standard error, naming what is wrong; nothing on standard output."""
    if "turnout.toml" in args:
        (home / "turnout.toml").write_text(
            '[destinations.one]\nplugin = "widget"\ntoken = "t"\n[destinations.two]\nplugin = "widget"\n',
            encoding="utf-8",
        )
    (home / "broken.toml").write_text("[destinations", encoding="utf-8")
    (home / "nan.json").write_text('{"size": NaN}', encoding="utf-8")
    (home / "huge.json").write_text('{"size": 1e999}', encoding="utf-8")
    result = run(*args, given=b"")
    if args[:3] == ["plan", "-d", "wigdet"]:
        message = "there is no destination 'wigdet'"
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "settings.json"),
        ("{", "is not JSON: Expecting property name"),
        ("[]", "must be a JSON object"),
        ("5", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ('{"token": "a", "token": "b"}', 'the key "token" stands twice'),
        ('{"token": NaN}', "settings.json"),
        ('{"token": 1e999}', "out of range"),
        ('{"token": "a", "n": ' + "9" * 5000 + "}", "out of range"),
        ('{"token": "\\ud800"}', "surrogate"),
        ('{"token": ' + "[" * 150 + "]" * 150 + "}", "'token'"),
        ('{"token": ' + "[" * 990 + "]" * 990 + "}", "settings.json"),
        ('{"token": ' + "[" * 100_000 + "]" * 100_000 + "}", "settings.json"),
        ('{"token": 5}', "Setting 'token'"),
        ('{"token": ["a"]}', "Setting 'token'"),
        ('{"token": null}', "Setting 'token' is required"),
        ('{"token": "a", "pages": "yes"}', "Setting 'pages'"),
        ('{"token": "a", "pages": 1}', "Setting 'pages'"),
        ('{"token": "a", "paegs": true}', "Did you mean 'pages'?"),
        ('{"token": "a", "base_url": "nowhere"}', "Setting 'base_url'"),
        ('{"token": "a", "base_url": 5}', "Setting 'base_url'"),
        ('{"token": "${NOT_SET_ANYWHERE}"}', "NOT_SET_ANYWHERE"),
    ],
)
def test_wrong_settings_are_one_sentence_and_exit_2(run: Run, home: Path, text: str, message: str) -> None:
    """The file or the setting is named; the events aren't read."""
    (home / "settings.json").write_text(text, encoding="utf-8")
    result = run(*PLAN, given=b"{}\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("data", [b"\xff\xfe{\x00}\x00", b'{"token": "\xff"}', bytes(range(256))])
def test_settings_that_are_no_utf8_are_one_sentence(run: Run, home: Path, data: bytes) -> None:
    """UTF-16, Latin-1, binary."""
    (home / "settings.json").write_bytes(data)
    result = run(*PLAN, given=b"{}\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "settings.json" in result.stderr


def test_settings_may_start_with_a_byte_order_mark(run: Run, home: Path, call: Make) -> None:
    """Editors on Windows put it there."""
    (home / "settings.json").write_bytes(b'\xef\xbb\xbf{"token": "t-1"}')
    assert run(*PLAN, given=lines(call("m-1"))).exit_code == 0


@pytest.mark.parametrize("key", ["api_key", "apiKey"])
def test_settings_win_over_the_configuration(run: Run, home: Path, call: Make, key: str) -> None:
    """Whichever of its two names a setting has in either file."""
    (home / "turnout.toml").write_text(
        '[destinations.mine]\nplugin = "amplitude"\napi_key = "from-config"\ntrack_all_pages = true\n',
        encoding="utf-8",
    )
    (home / "settings.json").write_text(json.dumps({key: "from-settings", "trackAllPages": False}), encoding="utf-8")
    args = ("plan", "-d", "mine", "--config", "turnout.toml", "--settings", "settings.json", "--show-secrets")
    result = run(*args, given=lines(call("m-1"), call("m-2", "page")))
    tracked, paged = told(result)
    assert tracked["requests"][0]["body"]["api_key"] == "from-settings"
    assert tracked["destination"] == "mine"
    assert paged["outcome"] == "dropped"


# send


@pytest.fixture
def vendor(home: Path) -> Iterator[WidgetVendor]:
    """A widget vendor on loopback, named in settings.json and turnout.toml."""
    simulator = WidgetVendor()
    with simulator.serve() as url:
        settings = {"token": "tok-1234", "base_url": url}
        (home / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        (home / "turnout.toml").write_text(
            '[send]\nattempts = 1\n[destinations.one]\nplugin = "widget"\ntoken = "tok-1111"\n'
            f'base_url = "{url}"\n[destinations.two]\nplugin = "widget"\ntoken = "tok-2222"\n'
            f'base_url = "{url}"\n',
            encoding="utf-8",
        )
        yield simulator


SEND = ("send", "-d", "widget", "--settings", "settings.json")


def test_send_delivers_and_sums_up(run: Run, vendor: WidgetVendor, call: Make) -> None:
    """The requests go out with the secret; the summary counts outcomes with their reasons."""
    result = run(*SEND, given=lines(call("m-1"), call("m-2"), call("m-3", "page")))
    assert result.exit_code == 0
    assert [widget["id"] for entry in vendor.ledger for widget in entry.body["all"]] == ["m-1", "m-2"]
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["widget", "delivered", "2"] in rows
    assert ["widget", "dropped", "call_type_unsupported", "1"] in rows


def test_send_exits_1_when_something_was_refused(run: Run, vendor: WidgetVendor, call: Make) -> None:
    """The vendor's words are shown, our secret in them is not."""
    result = run(*SEND, given=lines(call("m-1", event="Bad")))
    assert result.exit_code == 1
    assert "bad widget, ***" in result.output
    assert "tok-1234" not in result.output


def test_send_writes_json_lines(run: Run, vendor: WidgetVendor, call: Make) -> None:
    """`--json`: one line for each event and destination, in order."""
    result = run("send", "--json", given=lines(call("m-1"), {"type": "trak", "messageId": "m-2"}))
    assert [(row["message_id"], row["destination"], row["outcome"]) for row in told(result)] == [
        ("m-1", "one", "delivered"),
        ("m-1", "two", "delivered"),
        ("m-2", "one", "invalid"),
        ("m-2", "two", "invalid"),
    ]
    assert result.exit_code == 1
    assert told(result)[2]["reason"]["message"].startswith("line 2: ")


def test_send_shows_each_event(run: Run, vendor: WidgetVendor, call: Make) -> None:
    """`--each`: what went where, and why not; brackets and control characters are shown as text."""
    events = (
        call("m-1", event="[bold]Sold\x1b[2J"),
        call("m-2", event="Explode"),
        call("m-3", event="\\[/x] \\"),
    )
    result = run(*SEND, "--each", given=lines(*events))
    assert "[bold]Sold?[2J" in result.stdout
    assert "\\[/x] \\" in result.stdout
    assert "→ POST events" in result.stdout
    assert "raised LookupError: no such widget for ***" in result.output.replace("\n", " ").replace("  ", " ")
    assert "\x1b" not in result.output
    assert "tok-1234" not in result.output


def test_send_takes_the_configuration_of_this_folder(run: Run, vendor: WidgetVendor, call: Make) -> None:
    """`turnout.toml` beside you is found; `-d` picks from a configuration."""
    assert run("send", given=lines(call("m-1"))).exit_code == 0
    assert len(vendor.ledger) == 2
    result = run("send", "--config", "turnout.toml", "-d", "two", "--json", given=lines(call("m-1")))
    assert [row["destination"] for row in told(result)] == ["two"]


def test_settings_are_those_of_one_destination(run: Run, vendor: WidgetVendor) -> None:
    """Beside a configuration with several, `-d` has to say whose they are."""
    result = run("send", "--settings", "settings.json", given=b"")
    assert (result.exit_code, "name it with -d" in result.stderr) == (2, True)


def test_send_to_a_host_that_is_not_there(run: Run, home: Path, call: Make) -> None:
    """A clear sentence, exit 1, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (home / "turnout.toml").write_text(
        f'[send]\nattempts = 1\n[destinations.w]\nplugin = "widget"\ntoken = "tok-1"\nbase_url = "http://127.0.0.1:{port}"\n',
        encoding="utf-8",
    )
    result = run("send", given=lines(call("m-1")))
    assert result.exit_code == 1
    assert "The connection to 127.0.0.1:" in result.output


def test_send_of_nothing(run: Run, vendor: WidgetVendor) -> None:
    """No events, no requests, no mistake."""
    result = run(*SEND, given=b"")
    assert (result.exit_code, result.stdout, vendor.ledger) == (0, "No events.\n", [])


# validate


def test_validate_names_line_pointer_and_code(run: Run, call: Make) -> None:
    """One line for each problem, and a count."""
    bad = call("m-2") | {"properties": [], "context": {}}
    result = run("validate", given=lines(call("m-1"), bad) + b"\nnonsense\n")
    first, second, summary = result.stdout.splitlines()
    assert first.startswith("line 2: /properties: ")
    assert first.endswith("[properties_not_object]")
    assert second.startswith("line 4: The input is not JSON")
    assert summary == "3 events: 1 good, 2 refused"
    assert result.exit_code == 1


def test_validate_writes_json_lines(run: Run, call: Make) -> None:
    """`--json`: place, code, message and path."""
    result = run("validate", "--json", given=json.dumps([call("m-1"), call("m-2") | {"event": 5}]).encode())
    (problem,) = told(result)
    assert (problem["place"], problem["code"], problem["path"]) == ("element 2", "event_not_string", "/event")


def test_validate_of_good_events(run: Run, call: Make) -> None:
    """Exit 0; the events of a batch body count one by one, and a bad one is named by its number."""
    good = run("validate", given=lines(call("m-1"), {"batch": [call("m-2"), call("m-3")]}))
    assert (good.exit_code, good.stdout) == (0, "3 events: 3 good, 0 refused\n")
    bad = run("validate", given=lines({"batch": [call("m-2"), {}]}))
    assert bad.stdout.startswith("line 1, event 2: /type: ")


def test_validate_prints_no_control_characters(run: Run, call: Make) -> None:
    """A key of an event can't clear the screen or fake a line."""
    event = call("m-1") | {
        "context": {"traits": 5},
        "properties": {"a\x1b[2J\nline 9": 1},
        "integrations": {"\x07": 1},
    }
    deep: Any = {"x": 1}
    for _ in range(70):
        deep = {"\x1b[2J\n": deep}
    result = run("validate", given=lines(event, call("m-2", deep=deep)))
    assert result.exit_code == 1
    assert "\x1b" not in result.stdout
    assert len(result.stdout.splitlines()) == 3


# plugins, simulate and the rest


def test_plugins_lists_what_is_installed(run: Run) -> None:
    """Kind, name, distribution and version; `--json` for programs."""
    result = run("plugins", "--json")
    rows = {(row["kind"], row["name"]): row for row in json.loads(result.stdout)}
    widget = rows["destination", "widget"]
    assert (widget["distribution"], widget["version"], widget["problem"]) == ("turnout-widget", "3.2.1", None)
    assert rows["destination", "amplitude"]["distribution"] == "turnout"
    assert result.exit_code == 0
    assert "turnout-widget" in run("plugins").stdout


def test_plugins_names_a_broken_one_and_the_fix(run: Run, widget: Path) -> None:
    """The others are listed as well; exit 1."""
    (widget / "turnout_widget.py").write_text("import no_such_module_anywhere", encoding="utf-8")
    result = run("plugins", "--json")
    problems = {row["name"]: row["problem"] for row in json.loads(result.stdout)}
    assert "turnout-widget 3.2.1" in problems["widget"]
    assert "no_such_module_anywhere" in problems["widget"]
    assert problems["amplitude"] is None
    assert result.exit_code == 1


def test_a_broken_plugin_stops_only_who_asks_for_it(run: Run, widget: Path) -> None:
    """One sentence with distribution, version and fix; another destination works."""
    (widget / "turnout_widget.py").write_text("raise SystemExit(3)", encoding="utf-8")
    result = run(*PLAN, given=b"")
    assert result.exit_code == 2
    assert "turnout-widget 3.2.1" in result.stderr
    assert run("plan", "-d", "amplitude", "--settings", "settings.json", given=b"").exit_code == 2
    Path("settings.json").write_text('{"api_key": "k"}', encoding="utf-8")
    assert run("plan", "-d", "amplitude", "--settings", "settings.json", given=b"").exit_code == 0


def test_simulate_serves_a_vendor_on_loopback(home: Path) -> None:
    """It prints its URL, answers, and ends without a traceback when it is interrupted."""
    command = [*TURNOUT, "simulate", "amplitude", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        url = process.stdout.readline().split()[-1]
        assert httpx.get(f"{url}/_turnout/ledger").json() == []
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.stderr.read()
        process.wait()


def test_simulate_on_a_port_that_is_taken(run: Run) -> None:
    """A sentence that says what to do, exit 2."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = run("simulate", "amplitude", "--port", str(listener.getsockname()[1]))
    assert result.exit_code == 2
    assert "--port" in result.stderr or "another port" in result.stderr


@pytest.mark.parametrize("args", [[], ["plan"], ["send"], ["validate"], ["plugins"], ["simulate"]])
def test_each_command_has_help(run: Run, args: list[str]) -> None:
    """`-h` and `--help`, exit 0."""
    assert run(*args, "--help").exit_code == 0
    assert run(*args, "-h").stdout == run(*args, "--help").stdout


def test_version(run: Run) -> None:
    """`--version` says the version of the distribution."""
    from turnout import __version__

    assert __version__ in run("--version").stdout


def test_send_with_no_destination_at_all(run: Run, call: Make, tmp_path: Path) -> None:
    """A configuration that names no destination is a mistake: the events would go nowhere."""
    config = tmp_path / "empty.toml"
    config.write_text("[send]\nattempts = 1\n")
    result = run("send", "--config", str(config), given=lines(call("m-1")))
    assert result.exit_code == 2
    assert "no [destinations.…] table" in result.stderr


def test_the_bare_command_shows_the_help(run: Run) -> None:
    """`turnout` alone is no mistake."""
    result = run()
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_ctrl_c_ends_a_send_that_waits_for_input(call: Make, tmp_path: Path) -> None:
    """One Ctrl-C is enough; it says so, and the exit code is 130."""
    settings = tmp_path / "settings.json"
    settings.write_text('{"api_key": "k-1", "base_url": "http://127.0.0.1:9"}')
    command = [sys.executable, "-m", "turnout", "send", "-d", "amplitude", "--settings", str(settings), "--json", "-"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as process:
        # Alias calls are dropped by default, so a full chunk of them is settled without a request.
        process.stdin.write(lines(*[call(f"m-{number}", "alias", previousId="p-1") for number in range(500)]) + b"\n")
        process.stdin.flush()
        for _ in range(500):
            assert json.loads(process.stdout.readline())["outcome"] == "dropped"
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert process.returncode == 130
    assert b"Interrupted" in told


_INTERRUPTS = """
import os, signal, sys
sys.path.pop(0)
os.kill(os.getpid(), signal.SIGINT)
del sys.modules["click"]
import click
"""


def interrupted_early(folder: Path, *how: str) -> subprocess.CompletedProcess[bytes]:
    """Return how `turnout --version` ends, to which Ctrl-C comes while it is being imported."""
    (folder / "click.py").write_text(_INTERRUPTS)
    run = "runpy.run_module('turnout', run_name='__main__', alter_sys=True)"
    start = f"import sys, runpy; sys.path.insert(0, sys.argv.pop()); {run}"
    command = [*how, sys.executable, "-c", start, "--version", str(folder)]
    return subprocess.run(command, capture_output=True, check=False)


def test_ctrl_c_while_the_command_line_is_imported_shows_nothing(tmp_path: Path) -> None:
    """No traceback of a module that happened to be read just then, and the exit code is 130."""
    done = interrupted_early(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_ctrl_c_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As in a shell's background: the command goes on."""
    done = interrupted_early(tmp_path, "sh", "-c", 'trap "" INT; exec "$@"', "sh")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"turnout" in done.stdout


def test_the_script_is_what_python_m_runs() -> None:
    """So that `turnout` is guarded as early as `python -m turnout`."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"turnout": "turnout.__main__:main"}

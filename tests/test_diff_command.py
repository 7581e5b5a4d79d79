"""`turnout diff`: what it shows, its exit codes, other environments, Ctrl-C, and one sentence for each mistake."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import turnout
from turnout.cli import main

Make = Callable[..., dict[str, Any]]
Run = Callable[..., Result]

NEWER = '''
import os
from turnout import ITEMS, Batch, Destination, Endpoint, Settings, json_body, rule, setting
from turnout.settings import flag, text


class Widgets(Settings):
    token = text("The token.", required=True, secret=True)
    pages = flag("Send page calls.")
    noisy = flag("Print and end.")


class Widget(Destination):
    """A third party's destination, a version later."""

    name = "Widget"
    settings = Widgets
    events = Endpoint("POST", "https://widget.example/in", batch=Batch(items=100),
                      body=json_body({"t": setting("token"), "all": ITEMS}))

    @rule("track")
    def tracked(self, event):
        """A widget event, its name in capitals, and the token."""
        print("what a plugin prints harms nobody")
        if event.event == "Stop":
            os._exit(3)
        name = (event.event or "").upper()
        return self.events.item({"name": name, "id": event.message_id, "by": self.config.token, **event.properties})
'''
ENTRY = "[turnout.destinations]\nwidget = turnout_widget:Widget\n"


def metadata(name: str, version: str, needs: str = "") -> str:
    """Return the metadata of a distribution."""
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (f"Requires-Dist: {needs}\n" if needs else "")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment of its own, with this turnout and turnout-widget 4.0.0."""
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    about = site / "turnout_widget-4.0.0.dist-info"
    about.mkdir()
    (site / "ours.pth").write_text(ours(), encoding="utf-8")
    (site / "turnout_widget.py").write_text(NEWER, encoding="utf-8")
    (about / "METADATA").write_text(metadata("turnout-widget", "4.0.0"), encoding="utf-8")
    (about / "entry_points.txt").write_text(ENTRY, encoding="utf-8")
    return folder / "bin" / "python"


def ours() -> str:
    """Return the line of a .pth file that brings in everything which is installed here."""
    return f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widget: Path, call: Make) -> Path:
    """A working folder with two settings and a corpus of two events; turnout-widget 3.2.1 is installed."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    (folder / "old.json").write_text('{"api_key": "key-1234"}', encoding="utf-8")
    (folder / "new.json").write_text('{"api_key": "key-1234", "trackNamedPages": true}', encoding="utf-8")
    (folder / "widget.json").write_text('{"token": "tok-5678"}', encoding="utf-8")
    write(folder / "in.jsonl", call("m-1", "page", name="Pricing"), call("m-2", size=3))
    return folder


@pytest.fixture
def run(home: Path) -> Run:
    """Runs the command in this process."""

    def invoke(*args: str, given: bytes | None = None) -> Result:
        result = CliRunner().invoke(main, ["diff", *args], input=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        return result

    return invoke


def write(path: Path, *events: Any) -> None:
    path.write_bytes(b"".join(json.dumps(event).encode() + b"\n" for event in events))


AB = ("-d", "amplitude", "--settings", "old.json", "--against", "new.json")


def test_it_shows_the_sides_the_summary_and_each_way(run: Run) -> None:
    """At 80 columns, whole; and exits 1, for something changes."""
    result = run(*AB, "in.jsonl", "--now", "2026-01-02T03:04:05Z")
    version = turnout.__version__
    assert result.stdout == (
        f"before  old.json (turnout_amplitude of turnout {version})\n"
        f"after   new.json (turnout_amplitude of turnout {version})\n"
        "\n"
        "1 of 2 events changes, in 1 way; 1 would be sent that is not sent now\n"
        "\n"
        "1. 1 event: newly sent (before: dropped, setting_off at /type)\n"
        "   first: in.jsonl:1, message m-1\n"
        "   named_page → events\n"
        '     + item {"library":"turnout","user_id":"user-m-1","time":1767323045…\n'
    )
    assert (result.exit_code, result.stderr) == (1, "")


def test_nothing_changes_exits_0(run: Run) -> None:
    """Two files that say the same."""
    result = run(*AB[:-1], "old.json", "in.jsonl")
    assert result.exit_code == 0
    assert result.stdout.endswith("\nNone of 2 events changes\n")


def test_reverse_swaps_the_sides(run: Run) -> None:
    """What --against names was before: the event is lost."""
    result = run(*AB, "in.jsonl", "--reverse")
    assert "1 would no longer be sent" in result.stdout
    assert result.stdout.startswith("before  new.json ")


def test_json_is_one_object_with_everything(run: Run) -> None:
    """Its keys are always the same; --limit does not cut it."""
    told = json.loads(run(*AB, "in.jsonl", "--json", "--limit", "0").stdout)
    assert [*told] == [
        "summary", "before", "after", "events", "changed", "lost", "gained", "unreadable", "problems", "notes",
        "ways", "other",
    ]  # fmt: skip
    assert told["before"] == {
        "given": "old.json",
        "plugin": f"turnout_amplitude of turnout {turnout.__version__}",
        "turnout": turnout.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
    }
    (way,) = told["ways"]
    assert way["example"] == {"place": "in.jsonl:1", "message_id": "m-1"}
    assert way["before"] == {"outcome": "dropped", "code": "setting_off", "path": "/type"}
    assert way["changes"][0]["kind"] == "item_added"


def test_limit_says_how_many_ways_are_shown(run: Run, home: Path, call: Make) -> None:
    """The rest is counted."""
    write(home / "in.jsonl", call("m-1", "page", name="A"), call("m-2", "page", name="B") | {"category": "C"})
    (home / "new.json").write_text('{"api_key": "k-9", "track_named_pages": true, "track_categorized_pages": true}')
    assert "… and 1 more way (--limit, --json)" in run(*AB, "in.jsonl", "--limit", "1").stdout
    none = run(*AB, "in.jsonl", "--limit", "0").stdout
    assert "… and 2 more ways (--limit, --json)" in none
    assert "first:" not in none


def test_several_files_packed_ones_and_standard_input(run: Run, home: Path, call: Make) -> None:
    """Places name the file; a dash is standard input, and so is no name at all."""
    (home / "two.gz").write_bytes(gzip.compress((home / "in.jsonl").read_bytes()))
    page = json.dumps(call("m-9", "page", name="Docs")).encode()
    told = json.loads(run(*AB, "two.gz", "-", "in.jsonl", "--json", given=page).stdout)
    assert (told["changed"], told["ways"][0]["example"]["place"]) == (3, "two.gz:1")
    assert json.loads(run(*AB, "--json", given=page).stdout)["ways"][0]["example"]["place"] == "-:1"


def test_unreadable_lines_are_shown_and_the_rest_is_compared(run: Run, home: Path) -> None:
    """Their places and what to do; they don't decide the exit code."""
    (home / "bad.jsonl").write_bytes(b'{"type": "trak"}\n{"type"\n')
    result = run(*AB[:-1], "old.json", "bad.jsonl", "in.jsonl")
    assert "2 lines or events can't be read:\n   bad.jsonl:1: /type: 'trak' is no call type." in result.stdout
    assert (result.exit_code, "None of 2 events changes" in result.stdout) == (0, True)


def test_a_corpus_of_which_nothing_can_be_read_is_a_mistake(run: Run, home: Path) -> None:
    """A wrong file must not look like `nothing changes`."""
    (home / "bad.jsonl").write_bytes(b"message_id,event\nm-1,Sold\n")
    result = run(*AB, "bad.jsonl")
    assert result.exit_code == 2
    assert result.stderr.startswith("turnout: No event of the corpus can be read")
    assert "bad.jsonl:1: The input is not JSON" in result.stderr


def test_two_configurations_are_compared_at_one_destination(run: Run, home: Path) -> None:
    """Hooks of a configuration count; --settings lie over both."""
    (home / "a.toml").write_text('[destinations.product]\nplugin = "amplitude"\napi_key = "key-a"\n')
    (home / "b.toml").write_text(
        '[destinations.product]\nplugin = "amplitude"\napi_key = "key-a"\n[hooks.filter]\nblock_events = ["Sold"]\n'
    )
    args = ("-d", "product", "--config", "a.toml", "--against-config", "b.toml", "in.jsonl", "--json")
    told = json.loads(run(*args).stdout)
    assert (told["lost"], told["changed"], told["after"]["given"]) == (1, 1, "b.toml")
    assert told["ways"][0]["after"]["code"] == "filtered"
    over = json.loads(run(*args, "--settings", "new.json").stdout)
    assert (over["changed"], over["after"]["given"]) == (1, "b.toml, new.json")


# another environment


def test_another_environment_has_another_version(run: Run, elsewhere: Path) -> None:
    """Its plugin maps there; what it prints is no harm, and secrets stay masked."""
    result = run("-d", "widget", "--settings", "widget.json", "--against-python", str(elsewhere), "in.jsonl", "--json")
    told = json.loads(result.stdout)
    assert told["before"]["plugin"] == "turnout_widget of turnout-widget 3.2.1"
    assert told["after"]["plugin"] == "turnout_widget of turnout-widget 4.0.0"
    assert told["notes"] == []
    (way,) = told["ways"]
    assert [(one["kind"], one["path"], one["example"]["after"]) for one in way["changes"]] == [
        ("field_added", "/by", "***"),
        ("value", "/name", "SOLD"),
    ]
    assert "tok-5678" not in result.output


def test_another_environment_is_asked_by_each_process(run: Run, home: Path, elsewhere: Path, call: Make) -> None:
    """And the result is the same for any number of jobs."""
    bad = {"type": "trak"}
    write(home / "many.jsonl", *(bad if number == 700 else call(f"m-{number}", n=number) for number in range(2_600)))
    args = ("-d", "widget", "--settings", "widget.json", "--against-python", str(elsewhere), "many.jsonl", "--json")
    single, several = (run(*args, "--jobs", jobs).stdout for jobs in ("1", "3"))
    assert single == several
    told = json.loads(single)
    assert (told["events"], told["changed"], told["unreadable"]) == (2_599, 2_599, 1)
    assert told["problems"][0]["place"] == "many.jsonl:701"


def test_nothing_differs_between_two_environments_with_one_version(run: Run, home: Path, widget: Path) -> None:
    """The same plugin gives equal plans here and there, batches and times included."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "same"], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": "same", "platbase": "same"}))
    (site / "ours.pth").write_text(f"{ours()}{widget}\n", encoding="utf-8")
    batch = {"batch": [{"type": "track", "event": "E", "userId": "u-3"}, {"type": "page", "userId": "u-4"}]}
    write(home / "in.jsonl", batch, {"type": "track", "event": "Explode", "userId": "u-5"})
    result = run("-d", "widget", "--settings", "widget.json", "--against-python", "same/bin/python", "in.jsonl")
    assert "None of 3 events changes" in result.stdout
    assert result.exit_code == 0


def test_a_plugin_that_ends_the_process_is_one_sentence(run: Run, home: Path, elsewhere: Path, call: Make) -> None:
    """The other environment is gone, and which one it was is said."""
    write(home / "in.jsonl", call("m-1", event="Stop"))
    args = ("-d", "widget", "--settings", "widget.json", "--against-python", str(elsewhere), "in.jsonl")
    result = run(*args)
    assert result.exit_code == 2
    assert f"{elsewhere}: the process that maps with its plugin has ended" in result.stderr


def test_an_environment_without_the_plugin_or_with_other_settings_says_so(run: Run, elsewhere: Path) -> None:
    """In one sentence each, with its interpreter in front."""
    other = ("--against-python", str(elsewhere), "in.jsonl")
    result = run("-d", "widget", "--settings", "widget.json", "--against", "old.json", *other)
    assert (result.exit_code, result.stderr.startswith(f"turnout: {elsewhere}: destination 'widget'")) == (2, True)
    (elsewhere.parent.parent / "there.toml").write_text('[destinations.x]\nplugin = "gadget"\n', encoding="utf-8")
    args = ("-d", "x", "--config", "here.toml", "--against-config", str(elsewhere.parent.parent / "there.toml"))
    Path("here.toml").write_text('[destinations.x]\nplugin = "widget"\ntoken = "tok-9"\n', encoding="utf-8")
    result = run(*args, *other)
    assert f"{elsewhere}: There is no destination plugin 'gadget'. Did you mean 'widget'?" in result.stderr


def interpreter(folder: Path, version: str | None) -> Path:
    """Return the interpreter of an environment with a turnout that is too old, or with none."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    if version:
        site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
        (site / "turnout").mkdir()
        (site / "turnout" / "__init__.py").write_text(f'__version__ = "{version}"\n', encoding="utf-8")
    return folder / "bin" / "python"


def test_an_interpreter_that_can_not_take_part_is_one_sentence(run: Run, home: Path) -> None:
    """Without turnout, with one that is too old, no interpreter at all, or nothing there."""
    without, old = interpreter(home / "without", None), interpreter(home / "old", "0.0.3")
    broken = interpreter(home / "broken", "0.0.4")
    (init,) = (home / "broken").glob("lib/*/site-packages/turnout/__init__.py")
    (init.parent / "_diffworker.py").write_text("raise ValueError('what is this?')")
    expected = {
        str(without): "turnout is not installed there. Run: ",
        str(old): "turnout 0.0.3 there is too old to be compared with.",
        str(broken): "turnout 0.0.4 there can't be imported (ValueError: what is this?). Run: ",
        "/bin/cat": "is no interpreter of Python 3.11 or later: ",
        "nothing/python": "can't be run as a Python interpreter: No such file",
    }
    for python, sentence in expected.items():
        result = run("-d", "widget", "--settings", "widget.json", "--against-python", python, "in.jsonl")
        assert result.exit_code == 2
        assert f"turnout: {python}: {sentence}" in result.stderr


def wheel(folder: Path, name: str, version: str, files: dict[str, str], needs: str = "") -> None:
    """Write a wheel that holds these files."""
    module = name.replace("-", "_")
    about = f"{module}-{version}.dist-info"
    files |= {
        f"{about}/METADATA": metadata(name, version, needs),
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)


@pytest.fixture
def index(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from: turnout-widget 4.1.0, and a stand-in for turnout that leads here."""
    folder = home / "wheels"
    folder.mkdir()
    about = "turnout_widget-4.1.0.dist-info/entry_points.txt"
    wheel(folder, "turnout-widget", "4.1.0", {"turnout_widget.py": NEWER, about: ENTRY}, needs="turnout")
    wheel(folder, "turnout", "0.0.1", {"ours.pth": ours()})
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="the cache folder is set by XDG_CACHE_HOME")
def test_a_package_is_installed_in_an_environment_that_is_kept(run: Run, home: Path, index: Path) -> None:
    """By pip, with its own configuration. It is built anew when its interpreter is gone; else it is found again."""
    args = ("-d", "widget", "--settings", "widget.json", "--against-package", "turnout-widget==4.1.0", "in.jsonl")
    result = run(*args)
    assert "turnout-widget 4.1.0" in result.stdout
    assert (result.exit_code, result.stderr) == (
        1,
        "Building an environment with turnout-widget==4.1.0 …\n",
    )
    (kept,) = (home / "cache" / "turnout" / "environments").iterdir()
    assert kept.name.startswith("turnout-widget-4.1.0-")
    python = kept / "bin" / "python"
    python.unlink()
    python.symlink_to("nowhere")
    assert "Building an environment" in run(*args).stderr
    for file in index.iterdir():
        file.unlink()
    again = run(*args)
    assert (again.stdout, again.stderr) == (result.stdout, "")


@pytest.mark.skipif(sys.platform != "linux", reason="the cache folder is set by XDG_CACHE_HOME")
def test_a_package_that_can_not_be_installed_leaves_nothing_behind(run: Run, home: Path, index: Path) -> None:
    """pip's last word is told, and no half of an environment is kept."""
    result = run("-d", "widget", "--settings", "widget.json", "--against-package", "turnout-widget==9.9", "in.jsonl")
    assert result.exit_code == 2
    assert "turnout-widget==9.9 can't be installed: No matching distribution found" in result.stderr
    assert not list((home / "cache" / "turnout" / "environments").iterdir())


# mistakes


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (AB[:4], "Say what to compare with: other settings (--against, --against-config)"),
        (AB[2:], "Missing option '-d'"),
        ((*AB, "no.jsonl"), "no.jsonl: there is no such file."),
        ((*AB, "."), ".: can't be read: Is a directory."),
        ((*AB[:-1], "no.json", "in.jsonl"), "no.json: there is no such file."),
        ((*AB[:-1], "in.jsonl", "in.jsonl"), "in.jsonl: is not JSON"),
        ((*AB[:-1], "widget.json", "in.jsonl"), "widget.json: destination 'amplitude': "),
        (("-d", "amplitud", *AB[2:], "in.jsonl"), "Did you mean 'amplitude'?"),
        ((*AB, "in.jsonl", "--now", "noon"), "--now: 'noon' is not a time."),
        ((*AB, "in.jsonl", "--jobs", "0"), "'--jobs'"),
        ((*AB, "--against-package", "x==1", "--against-python", "y"), "exclude each other"),
        ((*AB, "in.jsonl", "--against-package", "-r secret"), "'-r secret' is no package."),
        ((*AB, "in.jsonl", "--against-config", "no.toml"), "no.toml: there is no such file."),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, args: tuple[str, ...], sentence: str) -> None:
    """On standard error, exit code 2, and nothing on standard output."""
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr


def test_a_broken_packed_file_is_a_mistake(run: Run, home: Path) -> None:
    """Half of the corpus must not look like all of it."""
    (home / "cut.gz").write_bytes(gzip.compress((home / "in.jsonl").read_bytes() * 100)[:-20])
    result = run(*AB, "cut.gz")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cut.gz: the packed data are broken after " in result.stderr


# the end


SPY = '''
import os, pathlib, time
from turnout import ITEMS, Destination, Endpoint, json_body, rule

pathlib.Path("pids", str(os.getpid())).touch()


class Spy(Destination):
    """Leaves a file for each process that it is loaded in, and can wait for ever."""

    name = "Spy"
    out = Endpoint("POST", "https://spy.example", body=json_body(ITEMS))

    @rule("track")
    def tracked(self, event):
        """Wait when it is told so."""
        while event.event == "Wait":
            time.sleep(0.01)
            pathlib.Path("waiting").touch()
        return self.out.item({"id": event.message_id})
'''


def spy(home: Path) -> dict[str, str]:
    """Install the spy in a folder, and return an environment that finds it."""
    site = home / "site"
    about = site / "turnout_spy-1.0.dist-info"
    about.mkdir(parents=True)
    (home / "pids").mkdir()
    (site / "turnout_spy.py").write_text(SPY, encoding="utf-8")
    (about / "METADATA").write_text(metadata("turnout-spy", "1.0"), encoding="utf-8")
    (about / "entry_points.txt").write_text("[turnout.destinations]\nspy = turnout_spy:Spy\n", encoding="utf-8")
    (home / "none.json").write_text("{}", encoding="utf-8")
    return os.environ | {"PYTHONPATH": str(site)}


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and is not waited for doesn't."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def patiently(true: Callable[[], bool]) -> bool:
    """Wait until something is true; only a failing test waits for long."""
    for _ in range(3_000):
        if true():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_its_processes_end_with_it(home: Path, call: Make, way: signal.Signals) -> None:
    """Ctrl-C, also while plugins hang; and a signal that leaves no time to tidy up, once they get to look."""
    environ = spy(home)
    hang = way == signal.SIGINT
    write(home / "many.jsonl", *(call(f"m-{number}", event="Wait" if hang else "Go") for number in range(3_000)))
    command = [sys.executable, "-c", "from turnout.cli import main; main(prog_name='turnout')", "diff", "-d", "spy"]
    started = subprocess.Popen(
        [*command, "--settings", "none.json", "--against", "none.json", "--jobs", "2", "many.jsonl", "-"],
        env=environ, cwd=home, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert patiently(lambda: len(list((home / "pids").iterdir())) == 3)
    if hang:
        assert patiently((home / "waiting").exists)
    os.killpg(started.pid, way)
    _, errors = started.communicate()
    assert started.returncode == (130 if hang else -way)
    assert b"Traceback" not in errors
    pids = [int(path.name) for path in (home / "pids").iterdir()]
    assert patiently(lambda: not any(map(alive, pids)))


def test_a_worker_that_dies_is_one_sentence(home: Path, call: Make) -> None:
    """With the lines that it had; the command ends with 2."""
    environ = spy(home)
    text = (home / "site" / "turnout_spy.py").read_text()
    (home / "site" / "turnout_spy.py").write_text(
        text.replace("while", "if event.event == 'Die': os._exit(9)\n        while")
    )
    write(
        home / "many.jsonl", *(call(f"m-{number}", event="Die" if number == 777 else "Go") for number in range(2_400))
    )
    command = [sys.executable, "-c", "from turnout.cli import main; main(prog_name='turnout')", "diff", "-d", "spy"]
    args = ["--settings", "none.json", "--against", "none.json", "--jobs", "2", "many.jsonl"]
    done = subprocess.run([*command, *args], env=environ, cwd=home, capture_output=True, check=False, text=True)
    assert done.returncode == 2
    sentence = "turnout: A worker process has ended while it compared many.jsonl:501 to many.jsonl:1000."
    assert done.stderr.startswith(sentence)

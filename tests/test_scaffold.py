"""`turnout new`: the package that it writes installs, passes its own tests and is typed, whatever it is called."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from click.testing import CliRunner

import turnout
from turnout.cli import main
from turnout.errors import ConfigError
from turnout.scaffold import names_of, scaffold

ROOT = Path(__file__).parent.parent
LONGEST = "Consolidated Worldwide Data 24 of Utrecht"[:40]


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    """Return what a command writes; fail with it when the command does."""
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=os.environ | environ, text=True, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def new(*words: str) -> tuple[int, str]:
    """Return the exit code of `turnout new` and all that it says."""
    done = CliRunner().invoke(main, ["new", *words])
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package for the vendor Globex & Sons."""
    folder = tmp_path_factory.mktemp("new") / "package"
    scaffold("globex-data", folder, "Globex & Sons")
    return folder


@pytest.fixture(scope="module")
def wheel(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the package, built from its source archive as for a publication."""
    away = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", away, package, cwd=ROOT)
    return next(away.glob("*.whl"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has nothing but the two wheels and what they ask for."""
    away = tmp_path_factory.mktemp("env")
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", away, ROOT, cwd=ROOT)
    run(sys.executable, "-m", "venv", "--without-pip", away / "env", cwd=away)
    programs = away / "env" / "bin"
    wheels = [f"{next(away.glob('*.whl'))}[testing]", f"{wheel}[testing]"]
    run(
        sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet", "--no-compile",
        "--disable-pip-version-check", "--constraint", ROOT / "constraints.txt", *wheels, "mypy", cwd=away,
    )  # fmt: skip
    return programs


def test_its_own_tests_pass_in_an_empty_environment(package: Path, programs: Path) -> None:
    """Cases, simulator and contract are green as they are written, with nothing but its testing extra installed."""
    told = run(programs / "python", "-m", "pytest", "-p", "no:cacheprovider", cwd=package)
    assert " passed" in told
    assert "failed" not in told


def test_its_cases_would_notice(package: Path, programs: Path) -> None:
    """They pin all that can be pinned of the mapping, no mutant survives, and CI asks for just that."""
    words = ["check", "--quiet", "--min-coverage", "100", "--min-score", "100"]
    told = run(programs / "turnout", *words, "--json", cwd=package)
    *_, covered, mutated = map(msgspec.json.decode, told.splitlines())
    assert covered["coverage"]["percent"] == mutated["mutation"]["percent"] == 100
    assert not mutated["mutation"]["survivors"]
    workflow = (package / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert f"- run: turnout {' '.join(words)}\n" in workflow


def test_it_is_typed(package: Path, programs: Path) -> None:
    """`mypy --strict` finds nothing, by its configuration and for the whole folder."""
    for words in ([], ["."]):
        assert "Success" in run(programs / "python", "-m", "mypy", "--strict", *words, cwd=package)


def test_it_is_found(package: Path, programs: Path) -> None:
    """`turnout plugins` lists its destination and its simulator, without a problem."""
    rows = msgspec.json.decode(run(programs / "turnout", "plugins", "--json", cwd=package))
    mine = [(row["kind"], row["problem"]) for row in rows if row["distribution"] == "turnout-globex-data"]
    assert mine == [("destination", None), ("simulator", None)]


def test_its_first_plan(package: Path, programs: Path) -> None:
    """The command that `turnout new` ends with shows a request, and keeps the key to itself."""
    words = ["plan", "--config", "examples/turnout.toml", "-d", "globex_data", "examples/events.jsonl"]
    done = subprocess.run([programs / "turnout", *words], cwd=package, capture_output=True, text=True, check=False)
    plans = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    assert [plan["outcome"] for plan in plans] == ["planned", "planned", "planned", "planned", "invalid"]
    assert plans[0]["requests"][0]["body"]["events"][0]["event"] == "Report Exported"
    assert plans[1]["requests"][0]["rules"] == ["ordered"] * 3
    assert "key-1" not in done.stdout + done.stderr


def test_the_installed_turnout_writes_the_same(programs: Path, tmp_path: Path) -> None:
    """The wheel of turnout holds the whole template: what it writes is what a checkout writes."""
    run(programs / "turnout", "new", "Blue Fin", cwd=tmp_path)
    scaffold("Blue Fin", tmp_path / "mine")
    theirs, mine = (_contents(tmp_path / name) for name in ("turnout-blue-fin", "mine"))
    assert theirs == mine


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def simulator(package: Path, programs: Path) -> Iterator[str]:
    """The address of its simulator, served by `turnout simulate`."""
    command = [programs / "turnout", "simulate", "globex_data", "--port", "0"]
    with subprocess.Popen(command, cwd=package, text=True, stdout=subprocess.PIPE) as serving:
        assert serving.stdout is not None
        yield serving.stdout.readline().strip()
        serving.terminate()


def test_its_simulator_takes_its_examples(package: Path, programs: Path, simulator: str) -> None:
    """What `turnout send` delivers to `turnout simulate` is kept there."""
    config = package / "examples" / "turnout.toml"
    mine = config.with_name("mine.toml")
    mine.write_text(config.read_text(encoding="utf-8").replace("http://127.0.0.1:8765", simulator), encoding="utf-8")
    words = ["send", "--config", str(mine), "--json", "examples/events.jsonl"]
    done = subprocess.run([programs / "turnout", *words], cwd=package, capture_output=True, text=True, check=False)
    mine.unlink()
    outcomes = [msgspec.json.decode(line)["outcome"] for line in done.stdout.splitlines()]
    assert sorted(outcomes) == ["delivered"] * 4 + ["invalid"], done.stdout + done.stderr
    kept = httpx.get(f"{simulator}/_turnout/state", trust_env=False).json()
    assert [event["event"] for event in kept["events"]][:2] == ["Report Exported", "Order Completed"]
    assert kept["profiles"] == {"u-1": {"plan": "team"}}


def test_its_wheel_holds_what_an_installation_needs(wheel: Path) -> None:
    """The wheel has the marker of typed packages, and the cases that `turnout docs` shows as examples."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"turnout_globex_data/py.typed", "turnout_globex_data/cases/globex_data/page_named.json"} <= names
    assert not [name for name in names if "acme" in name.lower()]


@pytest.mark.parametrize("name", ["Qq", LONGEST, LONGEST.upper()])
def test_it_is_formatted_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    """ruff finds nothing to mend or to format, with the shortest name and with the longest, under its own settings."""
    folder = tmp_path / "package"
    scaffold(name, folder)
    run(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=folder)
    run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".", cwd=folder)


def test_nothing_is_left_of_the_template(tmp_path: Path) -> None:
    """Every name of the template is replaced, in the files and in what they are called."""
    written = scaffold("globex-data", tmp_path / "package", "Globex & Sons")
    assert written == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for path in written:
        assert "acme" not in str(path.relative_to(tmp_path)).lower()
        assert "acme" not in path.read_text(encoding="utf-8").lower(), path


def test_it_asks_for_the_turnout_that_made_it(package: Path) -> None:
    """Its range of versions begins with the running one and ends before the next that may break it."""
    told = (package / "pyproject.toml").read_text(encoding="utf-8")
    assert told.count(f">={turnout.__version__},<0.{int(turnout.__version__.split('.')[1]) + 1}") == 2


@pytest.mark.parametrize(
    ("given", "key", "kind", "vendor"),
    [
        ("acme", "acme", "Acme", "Acme"),
        ("Acme Analytics", "acme_analytics", "AcmeAnalytics", "Acme Analytics"),
        ("acme-analytics", "acme_analytics", "AcmeAnalytics", "Acme Analytics"),
        ("acme_analytics", "acme_analytics", "AcmeAnalytics", "Acme Analytics"),
        ("turnout-acme", "acme", "Acme", "Acme"),
        ("turnout_acme", "acme", "Acme", "Acme"),
        ("HubSquare", "hubsquare", "HubSquare", "HubSquare"),
        ("customer.ixo", "customer_ixo", "CustomerIxo", "Customer Ixo"),
        ("Customer.ixo", "customer_ixo", "CustomerIxo", "Customer.ixo"),
        ("  acme  ", "acme", "Acme", "Acme"),
        ("b2b 2go", "b2b_2go", "B2b2go", "B2b 2go"),
        ("WWW", "www", "WWW", "WWW"),
    ],
)
def test_names(given: str, key: str, kind: str, vendor: str) -> None:
    """Dashes, underscores, dots, blanks and capitals are handled; the prefix may be given or not."""
    names = names_of(given)
    assert (names.key, names.kind, names.vendor) == (key, kind, vendor)
    assert names.distribution == f"turnout-{key.replace('_', '-')}"
    assert names.module == f"turnout_{key}"


def test_a_vendor_of_another_name() -> None:
    """`--vendor` is what people read; the package's names come from NAME."""
    names = names_of("sixth", "6th Süd & Co.")
    assert (names.key, names.kind, names.vendor) == ("sixth", "Sixth", "6th Süd & Co.")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "can't be the name of a package: it begins with a letter"),
        ("6sense", "it begins with a letter"),
        ("-acme", "it begins with a letter"),
        ("acme-", "it begins with a letter"),
        ("acme/evil", "it begins with a letter"),
        ("../acme", "it begins with a letter"),
        ("acmé", "it begins with a letter"),
        ("acme\nevil", "it begins with a letter"),
        ("turnout-", "it begins with a letter"),
        ("a" * 41, "is too long a name: take at most 40 characters"),
        ("class", "'class' is a word of Python's own"),
        ("None", "'none' is a word of Python's own"),
        ("json", "'json' is a module of Python's own library"),
        ("Email", "'email' is a module of Python's own library"),
        ("turnout", "this is turnout itself"),
        ("event", "its class would be called Event, as another one that it needs"),
        ("path", "its class would be called Path"),
        ("value-error", "its class would be called ValueError"),
        ("amplitude", "has a plugin 'amplitude'"),
        ("Amplitude", "has a plugin 'amplitude'"),
        ("specs", "there is a module 'turnout_specs' already"),
    ],
)
def test_a_name_that_is_no_good_is_refused(tmp_path: Path, name: str, why: str) -> None:
    """One sentence says what is wrong with a name, and nothing is written."""
    folder = tmp_path / "package"
    with pytest.raises(ConfigError, match=re.escape(why)):
        scaffold(name, folder)
    assert not folder.exists()


@pytest.mark.parametrize(
    "vendor", ["", "  ", 'Ac"me', "Ac\\me", "{acme}", "Ac`me", "|", "<b>", "-", "x" * 41, "\ud800"]
)
def test_a_vendor_that_would_break_a_file_is_refused(tmp_path: Path, vendor: str) -> None:
    """A vendor's name stands in Python, JSON, TOML and Markdown, so it has no quotes, braces and backslashes."""
    with pytest.raises(ConfigError, match=r"--vendor: .* can't be a vendor's name: take at most 40 letters"):
        scaffold("acme", tmp_path / "package", vendor)


def test_the_command_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes turnout-NAME into the current folder and ends with three commands."""
    monkeypatch.chdir(tmp_path)
    code, told = new("Blue Fin")
    assert code == 0
    assert told.splitlines()[0].startswith("turnout-blue-fin: wrote 36 files of turnout-blue-fin.")
    assert told.splitlines()[2:] == [
        "  cd turnout-blue-fin && pip install --editable '.[dev]'",
        "  pytest",
        "  turnout plan --config examples/turnout.toml -d blue_fin examples/events.jsonl",
    ]
    assert (tmp_path / "turnout-blue-fin" / ".github" / "workflows" / "ci.yml").is_file()


def test_into_a_folder_of_ones_own(tmp_path: Path) -> None:
    """`--into` is the package's folder; an empty one, or a fresh repository, is fine."""
    folder = tmp_path / "my repository"
    (folder / ".git").mkdir(parents=True)
    code, told = new("bluefin", "--into", str(folder))
    assert code == 0
    assert f"cd '{folder}' && pip" in told
    assert (folder / "src" / "turnout_bluefin" / "py.typed").is_file()


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    """A folder with anything in it is refused with the way out, and nothing in it changes."""
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    code, told = new("bluefin", "--into", str(tmp_path))
    new_one = tmp_path / "turnout-bluefin"
    assert (code, told) == (
        2,
        f"turnout: {tmp_path}: the folder is not empty (notes.txt is in it). Name a new one: --into {new_one}\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    """A file where the folder would be is refused with one sentence, also further up."""
    taken = tmp_path / "taken"
    taken.write_text("mine", encoding="utf-8")
    assert new("bluefin", "--into", str(taken)) == (
        2,
        f"turnout: {taken}: this is a file. Name a folder that is not there yet, with --into.\n",
    )
    code, told = new("bluefin", "--into", str(taken / "deeper"))
    assert code == 2
    assert told.startswith(f"turnout: {taken}")
    assert len(told.splitlines()) == 1


def test_no_name_at_all() -> None:
    """A missing argument is a sentence, not a traceback."""
    code, told = new()
    assert code == 2
    assert told.startswith("turnout: Missing argument 'NAME'.")

"""The contract suite: what is right passes it, and what an author says in the test class is taken."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from broken.suite import CHECKS, UNUSUAL, contract, installed, result

from turnout.testing import DestinationContract

__all__ = ["installed"]


def test_a_sound_destination_passes(installed: Path) -> None:
    """Every check passes, and none is skipped."""
    kind = contract(installed, "sound", examples=60)
    assert {check: told for check in CHECKS if (told := result(kind, check)) != ("passed", "")} == {}


def test_simulators_need_nothing_of_the_suite() -> None:
    """`turnout.testing` imports neither the suite nor pytest and hypothesis; nor does the suite before it runs."""
    code = (
        "import sys, turnout.testing; assert 'turnout.testing.contract' not in sys.modules; "
        "turnout.testing.DestinationContract; assert not {'pytest', 'hypothesis'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_and_right_passes(installed: Path, name: str) -> None:
    """Nothing fails but what asks for cases; a check that has nothing to look at is skipped, with a sentence."""
    attributes, skipped = UNUSUAL[name]
    kind = contract(installed, name, examples=60, **attributes)
    results = {check: result(kind, check) for check in CHECKS}
    assert results.pop("every_rule_has_a_case")[0] == "failed"
    assert results.pop("cases_match_their_snapshots")[0] == "skipped"
    assert {check: told for check, (found, told) in results.items() if found == "failed"} == {}
    assert {check for check, (found, _) in results.items() if found == "skipped"} == skipped
    assert all(len(results[check][1].split()) > 3 for check in skipped)


def test_what_cannot_be_loaded_fails_once(installed: Path) -> None:
    """One check says that there is no such destination; all others have nothing to look at, and say so."""
    kind = contract(installed, "soundd")
    results = {check: result(kind, check) for check in CHECKS}
    outcome, message = results.pop("is_found_by_its_entry_point")
    assert (outcome, "Did you mean 'sound'?" in message, "pyproject.toml" in message) == ("failed", True, True)
    assert {found for found, _ in results.values()} == {"skipped"}
    assert all("There is no destination plugin 'soundd'" in told for _, told in results.values())


def test_a_class_that_names_no_destination_says_what_to_write(installed: Path) -> None:
    """The entry-point name is what an author forgets first."""
    outcome, message = result(type("TestIt", (DestinationContract,), {}), "is_found_by_its_entry_point")
    assert (outcome, 'destination = "acme"' in message) == ("failed", True)


# What an author says in the class


def test_settings_are_taken_as_a_user_writes_them(installed: Path) -> None:
    """With Segment's keys too; wrong ones fail one check, which names the setting, and no secret is repeated."""
    kind = contract(installed, "sound", settings={"apiKey": "key-of-the-author", "region": "EU"})
    assert result(kind, "can_be_configured") == ("passed", "")
    assert kind.subject().configured(kind.subject().settings).config.region == "EU"
    kind = contract(installed, "sound", settings={"apiKey": "key-of-the-author", "regoin": "EU"})
    outcome, message = result(kind, "can_be_configured")
    assert (outcome, "Did you mean 'region'?" in message, "settings = {…}" in message) == ("failed", True, True)
    assert "key-of-the-author" not in message
    assert result(kind, "keys_are_stable_and_distinct")[0] == "skipped"


def test_settings_are_made_from_the_schema(installed: Path) -> None:
    """Required ones by pattern, length and choices, and what a check of the schema asks for; no others."""
    made = contract(installed, "peculiar").subject().settings
    assert re.fullmatch(r"[A-F]{2}-\d{4}", made["project_id"])
    assert len(made["secret_code"]) == 12
    assert set(made) == {"project_id", "secret_code", "zone"}


def test_a_secret_of_the_author_is_in_no_message(installed: Path) -> None:
    """Not even where the finding is in the header that holds it."""
    kind = contract(installed, "remembering", settings={"api_key": "key-of-the-author"})
    outcome, message = result(kind, "gives_the_same_answer_twice")
    assert (outcome, "key-of-the-author" in message) == ("failed", False)


def test_cases_are_found_beside_the_test_file_and_above(tmp_path: Path) -> None:
    """`cases = "tests/cases"` is a folder of the project, wherever pytest is started."""
    folder = tmp_path / "project" / "tests" / "unit"
    (tmp_path / "project" / "tests" / "cases").mkdir(parents=True)
    folder.mkdir()
    source = "from turnout.testing import DestinationContract\nclass TestIt(DestinationContract):\n    cases = {!r}\n"
    for number, given in enumerate(["tests/cases", "cases", None, "absent"]):
        path = folder / f"test_cases_{number}.py"
        path.write_text(source.format(given), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        found = module.TestIt.subject().folder
        assert found == (None if given == "absent" else tmp_path / "project" / "tests" / "cases")


@pytest.mark.parametrize(
    ("module", "check", "words"),
    [
        ("hypothesis", "survives_hostile_events", "needs hypothesis: install it with `pip install 'turnout[testing]'`"),
        ("turnout.testing._serve", "answers_become_outcomes", "install it with `pip install 'turnout[server]'`"),
    ],
)
def test_what_is_not_installed_is_named(
    installed: Path, monkeypatch: pytest.MonkeyPatch, module: str, check: str, words: str
) -> None:
    """Without the extra the check fails with what to install, and not with a traceback."""
    kind = contract(installed, "sound")
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delattr("turnout.testing._serve", raising=False)
    outcome, message = result(kind, check)
    assert (outcome, words in message) == ("failed", True), message


# What an author sees

TEST = """
import pytest
from turnout.testing import DestinationContract

class TestTrusting(DestinationContract):
    destination = "trusting"

    def test_every_rule_has_a_case(self):
        pytest.skip("There are none in this test.")
"""


def test_pytest_shows_the_message_and_no_traceback(installed: Path, tmp_path: Path) -> None:
    """As an author sees it: the rule of the house and how to mend it; a check that was overridden stays so."""
    (tmp_path / "test_trusting.py").write_text(TEST, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(Path(__file__).parent)])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-k", "hostile or case or keys", "."],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1 failed, 2 passed, 2 skipped" in done.stdout, done.stdout
    assert "\nEvery event gets an outcome" in done.stdout
    assert "  mend    Ask what a value is" in done.stdout
    assert "There are none in this test." in done.stdout
    assert "Traceback" not in done.stdout
    assert "_contract_" not in done.stdout

"""How the tests are spread over processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from spread import APART, LONG, place_of, unit_of


@pytest.mark.parametrize("name", [*LONG, *(name for name in APART if name not in LONG)])
def test_what_is_named_is_there(name: str) -> None:
    """A file that got another name would be forgotten silently."""
    assert (Path(__file__).parent / name).is_file()


def test_a_file_runs_in_one_process_unless_its_tests_stand_apart() -> None:
    """Fixtures of a module are made once."""
    assert unit_of("tests/test_chaos.py::test_a") == unit_of("tests/test_chaos.py::test_b[1]")
    assert unit_of("tests/test_guides.py::test_a[x]") != unit_of("tests/test_guides.py::test_a[y]")


def test_cases_run_in_parts() -> None:
    """Of the cases of a folder, each has its part, and there are few of them."""
    names = [f"tests/cases/acme/case_{number}.json::case_{number}" for number in range(500)]
    assert 8 < len({unit_of(name) for name in names}) < 20
    assert unit_of(names[0]) == unit_of(names[0])


def test_long_files_come_first() -> None:
    """The others stay as they were collected."""
    names = ["tests/test_answer.py::test_a", "tests/test_guides.py::test_b", "tests/test_body.py::test_c"]
    assert sorted(names, key=place_of) == [names[1], names[0], names[2]]
